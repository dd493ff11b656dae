/* Discrete events. A worker computes a range, sends its result and goes on with the range it holds already;
 * the coordinator takes what has arrived in rounds, deals, syncs the journal once, and sends. A failure or
 * the walltime ends a slice: what is journalled stays, the next slice starts with a fresh scheduler. */
#include "mpi/simulate.h"
#include "mpi/farm_rules.h"
#include "mpi/simulate_internal.h"
#include "mpi/simulate_share.h"

#include <math.h>
#include <string.h>

/* As the real farm and job have it: ranges a worker holds, naps while waiting, how often leases are looked
 * at, what part of a lease's patience a worker uses, and how long before the walltime a job stops. */
#define ROOM 2
#define NAP_SHARE 0.125
#define LONGEST_NAP 0.02
#define EXPIRE_SECONDS 1.0
/* Where ranges are simulated larger than a run's, that is seldom enough too. */
#define EXPIRE_SHARE 0.05
#define PATIENCE_SHARE 0.9
#define STOP_MARGIN_SECONDS 60.0
#define STOP_MARGIN_SHARE 0.1
/* Slices in a row that finish nothing. */
#define MOST_BARREN_SLICES 100

typedef enum { DISK_NOT, DISK_READS, DISK_WRITES } DiskUse;

typedef struct {
    LobLease held[ROOM]; /* the first is the one computed */
    int n_held;
    bool computing;
    DiskUse
        disk; /* beside computing it reads, then it writes; without a limit of bandwidth neither is seen */
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
    LobEvents events;
    Worker *workers;
    LobShare *share;     /* or NULL: the file system has no limit */
    uint64_t unverified; /* tiles journalled since the last clean end */
    LobSched *sched;
    GArray **done;     /* [slide] of Span, ascending, merged: what is journalled */
    GArray *inbox;     /* of LobEvent, arrived and not taken yet */
    GQueue waiting;    /* of worker numbers, one for each range wanted */
    bool round_due;    /* a round is among the events */
    double free_at;    /* the coordinator is through with its last round */
    double next_round; /* and deals no more before this */
    double stolen;     /* seconds that rounds took from rank 0's own range */
    double waited;     /* results' waiting for their next task, summed */
    double first_idle; /* < 0: every rank has work */
    uint64_t tiles_done;
} Sim;

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

/* Computing, opening and writing, without what the file system's limit adds. */
static double range_seconds(Sim *sim, const Worker *worker, const LobLease *lease) {
    const LobSimulation *o = sim->o;
    double seconds = lease->count * o->seconds_per_tile * worker->slowness;
    if (o->spread > 0) {
        const double sigma = sqrt(log1p(o->spread * o->spread));
        seconds *= exp(sigma * lob_rng_normal(&sim->rng) - sigma * sigma / 2);
    }
    return seconds + o->write_seconds + (worker->slide == lease->slide ? 0 : o->open_seconds);
}

/* Reading goes on beside computing: only the slower of the two shows. */
static void start(Sim *sim, int w, double now, double napped) {
    Worker *worker = &sim->workers[w];
    double seconds = range_seconds(sim, worker, &worker->held[0]);
    if (w == 0) {
        seconds += sim->stolen;
        sim->stolen = 0;
    }
    worker->slide = worker->held[0].slide;
    worker->started = now + napped;
    worker->computing = true;
    lob_events_push(&sim->events,
                    (LobEvent){.time = worker->started + seconds, .kind = EVENT_COMPUTED, .worker = w});
    if (sim->share && sim->o->bytes_per_tile > 0) {
        worker->disk = DISK_READS;
        lob_share_begin(sim->share, (uint32_t)w, worker->held[0].count * sim->o->bytes_per_tile, now);
    }
}

static void finish(Sim *sim, int w, double now) {
    Worker *worker = &sim->workers[w];
    lob_events_push(&sim->events, (LobEvent){.time = now + sim->o->latency,
                                             .kind = EVENT_ARRIVED,
                                             .worker = w,
                                             .lease = worker->held[0],
                                             .seconds = now - worker->started});
    worker->n_held--;
    memmove(worker->held, worker->held + 1, (ROOM - 1) * sizeof *worker->held);
    worker->idle_since = now;
    if (worker->n_held > 0)
        start(sim, w, now, 0);
}

/* A worker is through with computing or with a transfer. */
static void go_on(Sim *sim, int w, double now) {
    Worker *worker = &sim->workers[w];
    const bool wrote = worker->disk == DISK_WRITES;
    if (worker->computing)
        return;
    if (!sim->share || !(sim->o->row_bytes > 0) || wrote) {
        worker->disk = DISK_NOT;
        finish(sim, w, now);
        return;
    }
    worker->disk = DISK_WRITES;
    lob_share_begin(sim->share, (uint32_t)w, worker->held[0].count * sim->o->row_bytes, now);
}

static void computed(Sim *sim, const LobEvent *event) {
    Worker *worker = &sim->workers[event->worker];
    worker->computing = false;
    if (worker->disk == DISK_NOT)
        go_on(sim, event->worker, event->time);
}

static void transferred(Sim *sim, double now) {
    const int w = (int)lob_share_end(sim->share);
    if (sim->workers[w].disk == DISK_READS)
        sim->workers[w].disk = DISK_NOT;
    go_on(sim, w, now);
}

static double nap(double waited) {
    return fmin(waited * NAP_SHARE, LONGEST_NAP);
}

static void task_came(Sim *sim, const LobEvent *event) {
    Worker *worker = &sim->workers[event->worker];
    worker->held[worker->n_held++] = event->lease;
    if (worker->n_held == 1)
        start(sim, event->worker, event->time, nap(event->time - worker->idle_since));
}

/* ---- coordinator ---- */

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
    lob_events_push(&sim->events, (LobEvent){.time = due, .kind = EVENT_ROUND});
}

static void take_result(Sim *sim, const LobEvent *event, double now) {
    LobSimulated *r = sim->r;
    sim->waited += now - event->time;
    const bool late = event->seconds > PATIENCE_SHARE * event->lease.patience;
    r->messages++;
    g_queue_push_tail(&sim->waiting, GINT_TO_POINTER(event->worker));
    r->late += late;
    r->records += !late;
    if (late || !lob_sched_done(sim->sched, event->worker, &event->lease, now, event->seconds)) {
        r->lost += event->seconds;
        return;
    }
    if (!journal(sim, &event->lease))
        r->twice++;
    sim->unverified += event->lease.count;
    r->work += event->seconds;
    r->ranges++;
}

static uint32_t deal(Sim *sim, GArray *dealt, double now) {
    while (!g_queue_is_empty(&sim->waiting)) {
        LobEvent event = {.kind = EVENT_TASK, .worker = GPOINTER_TO_INT(g_queue_peek_head(&sim->waiting))};
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
    g_autoptr(GArray) dealt = g_array_new(FALSE, FALSE, sizeof(LobEvent));
    sim->round_due = false;
    const double cpu = lob_thread_cpu_seconds();
    for (guint i = 0; i < sim->inbox->len; i++)
        take_result(sim, &g_array_index(sim->inbox, LobEvent, i), now);
    g_array_set_size(sim->inbox, 0);
    const uint32_t n_dealt = deal(sim, dealt, now);
    r->messages += n_dealt;
    r->records += n_dealt;
    r->sched_seconds += lob_thread_cpu_seconds() - cpu;
    sim->free_at = now + (double)(r->messages - messages) * sim->o->message_seconds;
    if (dealt->len > 0) {
        sim->free_at += sim->o->sync_seconds;
        sim->next_round = sim->free_at + lob_round_pace(sim->o->sync_seconds);
        r->syncs++;
    }
    if (rank0_works(sim->o))
        sim->stolen += sim->free_at - now;
    for (guint i = 0; i < dealt->len; i++) {
        LobEvent *event = &g_array_index(dealt, LobEvent, i);
        event->time = sim->free_at + sim->o->latency;
        lob_events_push(&sim->events, *event);
    }
}

static double next_expiry(const Sim *sim, double now) {
    return now + fmax(EXPIRE_SECONDS, EXPIRE_SHARE * sim->o->sched.range_seconds);
}

static void expire(Sim *sim, double now) {
    const double cpu = lob_thread_cpu_seconds();
    const int late = lob_sched_expire(sim->sched, now);
    sim->r->sched_seconds += lob_thread_cpu_seconds() - cpu;
    if (late > 0)
        want_round(sim, now);
    lob_events_push(&sim->events, (LobEvent){.time = next_expiry(sim, now), .kind = EVENT_EXPIRE});
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
    sim->events.n = 0;
    if (sim->share)
        lob_share_clear(sim->share, now);
    sim->round_due = false;
    sim->free_at = sim->next_round = now;
    sim->stolen = 0;
    sim->first_idle = -1;
    g_array_set_size(sim->inbox, 0);
    g_queue_clear(&sim->waiting);
    for (int w = 0; w < sim->r->workers; w++) {
        sim->workers[w].n_held = 0;
        sim->workers[w].computing = false;
        sim->workers[w].disk = DISK_NOT;
        sim->workers[w].idle_since = now;
        sim->workers[w].slide = UINT32_MAX;
        for (int k = 0; k < ROOM; k++)
            g_queue_push_tail(&sim->waiting, GINT_TO_POINTER(w));
    }
    sim->r->messages += (uint64_t)sim->r->workers;
    lob_events_push(&sim->events, (LobEvent){.time = next_expiry(sim, now), .kind = EVENT_EXPIRE});
    want_round(sim, now);
}

/* Rank-seconds of ranges being computed, and of results that did not reach the journal. */
static double in_flight(const Sim *sim, double now) {
    double lost = 0;
    for (int w = 0; w < sim->r->workers; w++)
        if (sim->workers[w].n_held > 0)
            lost += fmax(now - sim->workers[w].started, 0);
    for (size_t i = 0; i < sim->events.n; i++)
        if (sim->events.heap[i].kind == EVENT_ARRIVED)
            lost += sim->events.heap[i].seconds;
    for (guint i = 0; i < sim->inbox->len; i++)
        lost += g_array_index(sim->inbox, LobEvent, i).seconds;
    return lost;
}

static int nodes(const LobSimulation *o) {
    return (o->ranks + o->node_ranks - 1) / o->node_ranks;
}

/* When this slice is cut off; INFINITY: never. */
static double plan_end(Sim *sim, double now, bool *failure) {
    const LobSimulation *o = sim->o;
    double end = INFINITY, deaths = 0;
    if (o->walltime_seconds > 0)
        end = now + o->walltime_seconds - fmin(STOP_MARGIN_SECONDS, STOP_MARGIN_SHARE * o->walltime_seconds);
    *failure = false;
    if (o->mtbf_seconds > 0)
        deaths += 1 / o->mtbf_seconds;
    if (o->node_mtbf_seconds > 0)
        deaths += nodes(o) / o->node_mtbf_seconds;
    if (deaths > 0) {
        const double death = now + lob_rng_exponential(&sim->rng) / deaths;
        *failure = death < end;
        end = fmin(end, death);
    }
    return end;
}

/* A slice was cut off at `now`. */
static double cut(Sim *sim, double now, bool failure, double lost) {
    LobSimulated *r = sim->r;
    r->lost += lost;
    if (failure) {
        r->failures++;
        r->lost_to_failures += lost + sim->o->restart_seconds * r->workers;
    } else {
        sim->unverified = 0;
    }
    return now;
}

/* Every node reads the weights, and after an unclean end the rows written since the last clean one are read
 * again. */
static double starting(Sim *sim, double now) {
    const LobSimulation *o = sim->o;
    LobSimulated *r = sim->r;
    if (!sim->share)
        return now;
    const double load = nodes(o) * o->weight_bytes / o->bandwidth;
    const double verify = (double)sim->unverified * o->row_bytes / o->bandwidth;
    r->loading += load;
    r->verifying += verify;
    r->lost_to_failures += verify * r->workers;
    return now + load + verify;
}

static void happen(Sim *sim, const LobEvent *event) {
    switch (event->kind) {
    case EVENT_COMPUTED:
        computed(sim, event);
        break;
    case EVENT_ARRIVED:
        g_array_append_val(sim->inbox, *event);
        want_round(sim, event->time);
        break;
    case EVENT_TASK:
        task_came(sim, event);
        break;
    case EVENT_ROUND:
        do_round(sim, event->time);
        break;
    case EVENT_EXPIRE:
        expire(sim, event->time);
        break;
    }
}

/* Returns when the slice ended. */
static double run_slice(Sim *sim, double now) {
    bool failure;
    const double end = plan_end(sim, now, &failure);
    now = starting(sim, now);
    if (now >= end)
        return cut(sim, end, failure, 0);
    begin_slice(sim, now);
    while (sim->tiles_done < sim->r->tiles) {
        const double transfer = sim->share ? lob_share_next(sim->share) : INFINITY;
        const bool moves = transfer < sim->events.heap[0].time;
        if (fmin(transfer, sim->events.heap[0].time) >= end)
            return cut(sim, end, failure, in_flight(sim, end));
        if (moves) {
            now = transfer;
            transferred(sim, now);
        } else {
            const LobEvent event = lob_events_pop(&sim->events);
            now = event.time;
            happen(sim, &event);
        }
    }
    return now;
}

/* ---- the whole job ---- */

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
    sim->inbox = g_array_new(FALSE, FALSE, sizeof(LobEvent));
    sim->done = g_new0(GArray *, o->n_slides);
    for (uint32_t s = 0; s < o->n_slides; s++) {
        sim->done[s] = g_array_new(FALSE, FALSE, sizeof(Span));
        r->tiles += o->tiles[s];
    }
    r->ideal = (double)r->tiles * o->seconds_per_tile / o->ranks;
    make_workers(sim);
    if (o->bandwidth > 0)
        sim->share = lob_share_new(o->bandwidth, (size_t)r->workers);
}

static void sim_end(Sim *sim) {
    for (uint32_t s = 0; s < sim->o->n_slides; s++)
        g_array_unref(sim->done[s]);
    g_array_unref(sim->inbox);
    g_queue_clear(&sim->waiting);
    lob_sched_free(sim->sched);
    lob_share_free(sim->share);
    g_free(sim->done);
    g_free(sim->workers);
    lob_events_clear(&sim->events);
}

static void sum_up(const Sim *sim, double now) {
    LobSimulated *r = sim->r;
    const double up = now - r->down;
    r->makespan = now;
    r->efficiency = now > 0 ? r->ideal / now : 1;
    r->tail = sim->first_idle >= 0 ? now - sim->first_idle : 0;
    r->message_seconds = (double)r->messages * sim->o->message_seconds;
    r->record_seconds = (double)r->records * sim->o->record_seconds;
    if (up > 0) {
        r->coordinator_busy = (r->sched_seconds + r->message_seconds + r->record_seconds) / up;
        r->journal_busy = (double)r->syncs * sim->o->sync_seconds / up;
        r->requests_per_second = (double)r->ranges / up;
        r->answer_seconds = r->ranges > 0 ? sim->waited / (double)r->ranges : 0;
    }
}

bool lob_simulate(const LobSimulation *o, LobSimulated *r, GError **err) {
    Sim sim;
    double now = 0;
    bool ok = true;
    if (!lob_simulate_check(o, err))
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
    if (!lob_simulate_check(o, err))
        return false;
    sim_begin(&sim, o, r, "simulate/static");
    g_autofree double *busy = g_new0(double, (size_t)r->workers);
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
    if (o->bandwidth > 0)
        last = fmax(last, (double)r->tiles * (o->bytes_per_tile + o->row_bytes) / o->bandwidth);
    r->slices = 1;
    sim.first_idle = first;
    sum_up(&sim, last);
    sim_end(&sim);
    return true;
}
