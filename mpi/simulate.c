/* Discrete events. A worker computes a range, sends its result and goes on with the range it holds already;
 * the coordinator takes what has arrived in rounds, deals, syncs the journal once, and sends. A failure or
 * the walltime ends a slice: what is journalled stays, the next slice starts with a fresh scheduler. */
#include "mpi/simulate.h"
#include "mpi/farm_rules.h"

#include <math.h>
#include <string.h>
#include <time.h>

/* As the real farm and job have it: ranges a worker holds, naps while waiting, how often leases are looked
 * at, what part of a lease's patience a worker uses, and how long before the walltime a job stops. */
#define ROOM 2
#define NAP_SHARE 0.125
#define LONGEST_NAP 0.02
#define EXPIRE_SECONDS 1.0
#define PATIENCE_SHARE 0.9
#define STOP_MARGIN_SECONDS 60.0
#define STOP_MARGIN_SHARE 0.1
/* Slices in a row that finish nothing. */
#define MOST_BARREN_SLICES 100

const LobSimulation lob_simulation_defaults = {.ranks = 1,
                                               .rank0_works_up_to = LOB_RANK0_WORKS_UP_TO,
                                               .seed = 1,
                                               .seconds_per_tile = 1.4,
                                               .spread = 0.1,
                                               .open_seconds = 0.1,
                                               .write_seconds = 0.02,
                                               .straggler_factor = 1,
                                               .node_ranks = 128,
                                               .latency = 1e-4,
                                               .message_seconds = 13e-6,
                                               .sync_seconds = 5e-3,
                                               .serve_seconds = 1,
                                               .bytes_per_tile = 20e3,
                                               .restart_seconds = 600,
                                               .sched = {.batch = 16,
                                                         .range_seconds = 20,
                                                         .lease_factor = 5,
                                                         .min_lease_seconds = 120,
                                                         .max_tiles = 2048,
                                                         .workers = 1}};

typedef enum { EVENT_COMPUTED, EVENT_ARRIVED, EVENT_TASK, EVENT_ROUND, EVENT_EXPIRE } EventKind;

typedef struct {
    double time;
    uint64_t order; /* events at the same time happen as they were made */
    EventKind kind;
    int worker;
    LobLease lease;
    double seconds; /* EVENT_ARRIVED: how long the range took */
} Event;

typedef struct {
    LobLease held[ROOM]; /* the first is the one computed */
    int n_held;
    double started, idle_since;
    uint32_t slide;
    double slowness;
} Worker;

typedef struct {
    uint32_t first, end;
} Span;

typedef struct {
    const LobSimulation *o;
    LobSimulated *r;
    LobRng rng;
    Event *heap;
    size_t n_events, room;
    uint64_t order;
    Worker *workers;
    int computing;
    LobSched *sched;
    GArray **done;     /* [slide] of Span, ascending, merged: what is journalled */
    GArray *inbox;     /* of Event, arrived and not taken yet */
    GQueue waiting;    /* of worker numbers, one for each range wanted */
    bool round_due;    /* a round is among the events */
    double free_at;    /* the coordinator is through with its last round */
    double next_round; /* and deals no more before this */
    double stolen;     /* seconds that rounds took from rank 0's own range */
    double waited;     /* results' waiting for their next task, summed */
    double first_idle; /* < 0: every rank has work */
    uint64_t tiles_done;
} Sim;

/* ---- events: a binary heap, earliest first ---- */

static bool before(const Event *a, const Event *b) {
    return a->time < b->time || (a->time == b->time && a->order < b->order);
}

static void push(Sim *sim, Event event) {
    if (sim->n_events == sim->room) {
        sim->room = MAX(64, 2 * sim->room);
        sim->heap = g_renew(Event, sim->heap, sim->room);
    }
    event.order = sim->order++;
    size_t at = sim->n_events++;
    while (at > 0 && before(&event, &sim->heap[(at - 1) / 2])) {
        sim->heap[at] = sim->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    sim->heap[at] = event;
}

static Event pop(Sim *sim) {
    const Event top = sim->heap[0], last = sim->heap[--sim->n_events];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < sim->n_events; at = child) {
        if (child + 1 < sim->n_events && before(&sim->heap[child + 1], &sim->heap[child]))
            child++;
        if (!before(&sim->heap[child], &last))
            break;
        sim->heap[at] = sim->heap[child];
    }
    sim->heap[at] = last;
    return top;
}

/* ---- what is journalled ---- */

/* False: some of it was there before. */
static bool journal(Sim *sim, const LobLease *lease) {
    GArray *spans = sim->done[lease->slide];
    Span span = {lease->first, lease->first + lease->count};
    guint at = 0;
    while (at < spans->len && g_array_index(spans, Span, at).end < span.first)
        at++;
    const bool joins = at < spans->len && g_array_index(spans, Span, at).end == span.first;
    const guint next = at + joins;
    if (next < spans->len && g_array_index(spans, Span, next).first < span.end)
        return false;
    if (joins) {
        span.first = g_array_index(spans, Span, at).first;
        g_array_remove_index(spans, at);
    }
    if (at < spans->len && g_array_index(spans, Span, at).first == span.end) {
        span.end = g_array_index(spans, Span, at).end;
        g_array_remove_index(spans, at);
    }
    g_array_insert_val(spans, at, span);
    sim->tiles_done += lease->count;
    return true;
}

/* ---- workers ---- */

static double range_seconds(Sim *sim, const Worker *worker, const LobLease *lease) {
    const LobSimulation *o = sim->o;
    double seconds = lease->count * o->seconds_per_tile * worker->slowness;
    if (o->spread > 0) {
        const double sigma = sqrt(log1p(o->spread * o->spread));
        seconds *= exp(sigma * lob_rng_normal(&sim->rng) - sigma * sigma / 2);
    }
    /* Reading goes on beside computing: only the slower of the two shows. */
    if (o->bandwidth > 0)
        seconds = fmax(seconds, lease->count * o->bytes_per_tile * sim->computing / o->bandwidth);
    return seconds + o->write_seconds + (worker->slide == lease->slide ? 0 : o->open_seconds);
}

static void start(Sim *sim, int w, double now) {
    Worker *worker = &sim->workers[w];
    sim->computing++;
    double seconds = range_seconds(sim, worker, &worker->held[0]);
    if (w == 0) {
        seconds += sim->stolen;
        sim->stolen = 0;
    }
    worker->slide = worker->held[0].slide;
    worker->started = now;
    push(sim, (Event){.time = now + seconds, .kind = EVENT_COMPUTED, .worker = w});
}

static void computed(Sim *sim, const Event *event) {
    Worker *worker = &sim->workers[event->worker];
    push(sim, (Event){.time = event->time + sim->o->latency,
                      .kind = EVENT_ARRIVED,
                      .worker = event->worker,
                      .lease = worker->held[0],
                      .seconds = event->time - worker->started});
    sim->computing--;
    worker->n_held--;
    memmove(worker->held, worker->held + 1, (ROOM - 1) * sizeof *worker->held);
    worker->idle_since = event->time;
    if (worker->n_held > 0)
        start(sim, event->worker, event->time);
}

static double nap(double waited) {
    return fmin(waited * NAP_SHARE, LONGEST_NAP);
}

static void task_came(Sim *sim, const Event *event) {
    Worker *worker = &sim->workers[event->worker];
    worker->held[worker->n_held++] = event->lease;
    if (worker->n_held == 1)
        start(sim, event->worker, event->time + nap(event->time - worker->idle_since));
}

/* ---- coordinator ---- */

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool rank0_works(const LobSimulation *o) {
    return o->ranks <= o->rank0_works_up_to;
}

/* When rank 0 looks: at the end of a step of its encoder, or of a nap. */
static double looks_at(const Sim *sim, double now) {
    const double idle = now - sim->free_at, step = sim->o->serve_seconds;
    if (rank0_works(sim->o) && sim->workers[0].n_held > 0 && step > 0)
        return sim->workers[0].started + step * ceil((now - sim->workers[0].started) / step);
    return idle > 0 ? now + nap(idle) : sim->free_at;
}

static void want_round(Sim *sim, double now) {
    if (sim->round_due)
        return;
    sim->round_due = true;
    const double due = fmax(fmax(looks_at(sim, now), sim->free_at), sim->next_round);
    push(sim, (Event){.time = due, .kind = EVENT_ROUND});
}

static void take_result(Sim *sim, const Event *event, double now) {
    LobSimulated *r = sim->r;
    sim->waited += now - event->time;
    const bool late = event->seconds > PATIENCE_SHARE * event->lease.patience;
    r->messages++;
    g_queue_push_tail(&sim->waiting, GINT_TO_POINTER(event->worker));
    r->late += late;
    if (late || !lob_sched_done(sim->sched, event->worker, &event->lease, now, event->seconds)) {
        r->lost += event->seconds;
        return;
    }
    if (!journal(sim, &event->lease))
        r->twice++;
    r->work += event->seconds;
    r->ranges++;
}

static uint32_t deal(Sim *sim, GArray *dealt, double now) {
    while (!g_queue_is_empty(&sim->waiting)) {
        Event event = {.kind = EVENT_TASK, .worker = GPOINTER_TO_INT(g_queue_peek_head(&sim->waiting))};
        if (lob_sched_next(sim->sched, event.worker, now, &event.lease) != LOB_SCHED_LEASE) {
            if (sim->first_idle < 0)
                sim->first_idle = now;
            break;
        }
        (void)g_queue_pop_head(&sim->waiting);
        g_array_append_val(dealt, event);
    }
    return dealt->len;
}

static void do_round(Sim *sim, double now) {
    LobSimulated *r = sim->r;
    const uint64_t messages = r->messages;
    g_autoptr(GArray) dealt = g_array_new(FALSE, FALSE, sizeof(Event));
    sim->round_due = false;
    const double cpu = cpu_seconds();
    for (guint i = 0; i < sim->inbox->len; i++)
        take_result(sim, &g_array_index(sim->inbox, Event, i), now);
    g_array_set_size(sim->inbox, 0);
    r->messages += deal(sim, dealt, now);
    r->sched_seconds += cpu_seconds() - cpu;
    sim->free_at = now + (double)(r->messages - messages) * sim->o->message_seconds;
    if (dealt->len > 0) {
        sim->free_at += sim->o->sync_seconds;
        sim->next_round = sim->free_at + lob_round_pace(sim->o->sync_seconds);
        r->syncs++;
    }
    if (rank0_works(sim->o))
        sim->stolen += sim->free_at - now;
    for (guint i = 0; i < dealt->len; i++) {
        Event *event = &g_array_index(dealt, Event, i);
        event->time = sim->free_at + sim->o->latency;
        push(sim, *event);
    }
}

static void expire(Sim *sim, double now) {
    const double cpu = cpu_seconds();
    const int late = lob_sched_expire(sim->sched, now);
    sim->r->sched_seconds += cpu_seconds() - cpu;
    if (late > 0)
        want_round(sim, now);
    push(sim, (Event){.time = now + EXPIRE_SECONDS, .kind = EVENT_EXPIRE});
}

/* ---- a slice: from a start of the job to its end ---- */

static void begin_slice(Sim *sim, double now) {
    LobSchedOptions options = sim->o->sched;
    options.workers = sim->r->workers;
    lob_sched_free(sim->sched);
    sim->sched = lob_sched_new(&options);
    for (uint32_t s = 0; s < sim->o->n_slides; s++) {
        lob_sched_add(sim->sched, s, sim->o->tiles[s], sim->o->centers ? sim->o->centers[s] : 0, false);
        for (guint i = 0; i < sim->done[s]->len; i++) {
            const Span span = g_array_index(sim->done[s], Span, i);
            lob_sched_mark_done(sim->sched, s, span.first, span.end - span.first);
        }
    }
    sim->n_events = 0;
    sim->computing = 0;
    sim->round_due = false;
    sim->free_at = sim->next_round = now;
    sim->stolen = 0;
    sim->first_idle = -1;
    g_array_set_size(sim->inbox, 0);
    g_queue_clear(&sim->waiting);
    for (int w = 0; w < sim->r->workers; w++) {
        sim->workers[w].n_held = 0;
        sim->workers[w].idle_since = now;
        sim->workers[w].slide = UINT32_MAX;
        for (int k = 0; k < ROOM; k++)
            g_queue_push_tail(&sim->waiting, GINT_TO_POINTER(w));
    }
    sim->r->messages += (uint64_t)sim->r->workers;
    push(sim, (Event){.time = now + EXPIRE_SECONDS, .kind = EVENT_EXPIRE});
    want_round(sim, now);
}

/* Ranges being computed, and results that did not reach the journal. */
static void count_lost(Sim *sim, double now) {
    for (int w = 0; w < sim->r->workers; w++)
        if (sim->workers[w].n_held > 0)
            sim->r->lost += fmax(now - sim->workers[w].started, 0);
    for (size_t i = 0; i < sim->n_events; i++)
        if (sim->heap[i].kind == EVENT_ARRIVED)
            sim->r->lost += sim->heap[i].seconds;
    for (guint i = 0; i < sim->inbox->len; i++)
        sim->r->lost += g_array_index(sim->inbox, Event, i).seconds;
}

/* When this slice is cut off; INFINITY: never. */
static double plan_end(Sim *sim, double now, bool *failure) {
    const LobSimulation *o = sim->o;
    double end = INFINITY;
    if (o->walltime_seconds > 0)
        end = now + o->walltime_seconds - fmin(STOP_MARGIN_SECONDS, STOP_MARGIN_SHARE * o->walltime_seconds);
    *failure = false;
    if (o->mtbf_seconds > 0) {
        const double death = now + o->mtbf_seconds * lob_rng_exponential(&sim->rng);
        *failure = death < end;
        end = fmin(end, death);
    }
    return end;
}

/* Returns when the slice ended. */
static double run_slice(Sim *sim, double now) {
    bool failure;
    const double end = plan_end(sim, now, &failure);
    begin_slice(sim, now);
    while (sim->tiles_done < sim->r->tiles) {
        if (sim->heap[0].time >= end) {
            count_lost(sim, end);
            sim->r->failures += failure;
            return end;
        }
        const Event event = pop(sim);
        now = event.time;
        switch (event.kind) {
        case EVENT_COMPUTED:
            computed(sim, &event);
            break;
        case EVENT_ARRIVED:
            g_array_append_val(sim->inbox, event);
            want_round(sim, now);
            break;
        case EVENT_TASK:
            task_came(sim, &event);
            break;
        case EVENT_ROUND:
            do_round(sim, now);
            break;
        case EVENT_EXPIRE:
            expire(sim, now);
            break;
        }
    }
    return now;
}

/* ---- the whole job ---- */

static bool check(const LobSimulation *o, GError **err) {
    if (o->ranks < 1 || o->n_slides < 1 || o->node_ranks < 1 || o->rank0_works_up_to < 1)
        return lob_fail(err, LOB_ERROR_INPUT,
                        "ranks, slides, ranks a node and ranks up to which rank 0 works must be at least 1");
    if (!(o->seconds_per_tile > 0) || !(o->spread >= 0) || !(o->straggler_factor >= 1))
        return lob_fail(err, LOB_ERROR_INPUT,
                        "seconds per tile must be above 0, the spread not negative, the stragglers' factor "
                        "at least 1");
    if (!(o->straggler_share >= 0) || o->straggler_share > 1 || !(o->latency >= 0) || !(o->bandwidth >= 0) ||
        !(o->mtbf_seconds >= 0) || !(o->serve_seconds >= 0) || !(o->walltime_seconds >= 0) ||
        !(o->restart_seconds >= 0))
        return lob_fail(err, LOB_ERROR_INPUT, "shares must be within 0..1, times and rates not negative");
    return true;
}

static void make_workers(Sim *sim) {
    const LobSimulation *o = sim->o;
    LobRng rng;
    lob_rng_init(&rng, o->seed, "simulate/stragglers");
    sim->workers = g_new0(Worker, (size_t)sim->r->workers);
    double slowness = 1;
    for (int w = 0; w < sim->r->workers; w++) {
        if (w % o->node_ranks == 0)
            slowness = lob_rng_uniform(&rng) < o->straggler_share ? o->straggler_factor : 1;
        sim->workers[w].slowness = slowness;
    }
}

static void sim_begin(Sim *sim, const LobSimulation *o, LobSimulated *r, const char *stream) {
    *r = (LobSimulated){.workers = rank0_works(o) ? o->ranks : o->ranks - 1};
    *sim = (Sim){.o = o, .r = r, .first_idle = -1};
    lob_rng_init(&sim->rng, o->seed, stream);
    g_queue_init(&sim->waiting);
    sim->inbox = g_array_new(FALSE, FALSE, sizeof(Event));
    sim->done = g_new0(GArray *, o->n_slides);
    for (uint32_t s = 0; s < o->n_slides; s++) {
        sim->done[s] = g_array_new(FALSE, FALSE, sizeof(Span));
        r->tiles += o->tiles[s];
    }
    r->ideal = (double)r->tiles * o->seconds_per_tile / o->ranks;
    make_workers(sim);
}

static void sim_end(Sim *sim) {
    for (uint32_t s = 0; s < sim->o->n_slides; s++)
        g_array_unref(sim->done[s]);
    g_array_unref(sim->inbox);
    g_queue_clear(&sim->waiting);
    lob_sched_free(sim->sched);
    g_free(sim->done);
    g_free(sim->workers);
    g_free(sim->heap);
}

static void sum_up(const Sim *sim, double now) {
    LobSimulated *r = sim->r;
    const double up = now - r->down;
    r->makespan = now;
    r->efficiency = now > 0 ? r->ideal / now : 1;
    r->tail = sim->first_idle >= 0 ? now - sim->first_idle : 0;
    r->message_seconds = (double)r->messages * sim->o->message_seconds;
    if (up > 0) {
        r->coordinator_busy = (r->sched_seconds + r->message_seconds) / up;
        r->journal_busy = (double)r->syncs * sim->o->sync_seconds / up;
        r->requests_per_second = (double)r->ranges / up;
        r->answer_seconds = r->ranges > 0 ? sim->waited / (double)r->ranges : 0;
    }
}

bool lob_simulate(const LobSimulation *o, LobSimulated *r, GError **err) {
    Sim sim;
    double now = 0;
    bool ok = true;
    if (!check(o, err))
        return false;
    sim_begin(&sim, o, r, "simulate");
    for (int barren = 0; ok && sim.tiles_done < r->tiles;) {
        const uint64_t tiles_before = sim.tiles_done;
        if (r->slices++ > 0) {
            now += o->restart_seconds;
            r->down += o->restart_seconds;
        }
        now = run_slice(&sim, now);
        barren = sim.tiles_done > tiles_before ? 0 : barren + 1;
        if (barren == MOST_BARREN_SLICES)
            ok = lob_fail(err, LOB_ERROR_INPUT,
                          "no range came to its end in %d slices in a row: the walltime or the time between "
                          "failures is too short",
                          barren);
    }
    sum_up(&sim, now);
    sim_end(&sim);
    return ok;
}

bool lob_simulate_static(const LobSimulation *o, LobSimulated *r, GError **err) {
    Sim sim;
    if (!check(o, err))
        return false;
    sim_begin(&sim, o, r, "simulate/static");
    g_autofree double *busy = g_new0(double, (size_t)r->workers);
    sim.computing = r->workers;
    double first = INFINITY, last = 0;
    for (uint32_t s = 0; s < o->n_slides; s++) {
        const int w = (int)(s % (uint32_t)r->workers);
        for (uint32_t at = 0; at < o->tiles[s];) {
            LobLease lease = {.slide = s, .first = at, .count = MIN(o->sched.max_tiles, o->tiles[s] - at)};
            busy[w] += range_seconds(&sim, &sim.workers[w], &lease);
            sim.workers[w].slide = s;
            at += lease.count;
            r->ranges++;
        }
    }
    for (int w = 0; w < r->workers; w++) {
        first = fmin(first, busy[w]);
        last = fmax(last, busy[w]);
        r->work += busy[w];
    }
    r->slices = 1;
    sim.first_idle = first;
    sum_up(&sim, last);
    sim_end(&sim);
    return true;
}

uint32_t *lob_simulate_tiles(uint32_t n_slides, double median, double sigma, uint64_t seed) {
    uint32_t *tiles = g_new(uint32_t, n_slides);
    LobRng rng;
    lob_rng_init(&rng, seed, "simulate/tiles");
    for (uint32_t s = 0; s < n_slides; s++)
        tiles[s] = (uint32_t)CLAMP(median * exp(sigma * lob_rng_normal(&rng)), 1, 1e9);
    return tiles;
}
