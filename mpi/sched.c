/* The scheduler's core. Every slide with tiles still to deal is in exactly one heap: that of its center while
 * no worker has it, the shared one while some have it. Suspects wait in a queue of their own until nothing
 * else is left. */
#include "mpi/sched.h"
#include "mpi/heap.h"

#include <math.h>
#include <string.h>

const LobSchedOptions lob_sched_defaults = {.batch = 16,
                                            .range_seconds = 20,
                                            .lease_factor = 5,
                                            .min_lease_seconds = 120,
                                            .max_tiles = 2048,
                                            .workers = 1};

/* The first ranges, dealt before anything is measured, are this many batches. */
#define FIRST_BATCHES 2
/* While nothing is measured, patience is this many times the least: a first batch of a large encoder may take
 * minutes. */
#define FIRST_PATIENCE 10
/* Near the end a range is at most this share of what is left for each worker. */
#define END_SHARE 0.5
/* Weight of the newest range in the running seconds a tile. */
#define RATE_MEMORY 0.1
#define NO_SLIDE UINT32_MAX

typedef struct {
    uint32_t first, count, attempt;
} Gap;

typedef struct {
    uint32_t tiles, done;
    uint32_t center;
    uint32_t workers; /* whose current slide this is */
    GArray *gaps;     /* of Gap, ascending: tiles nobody works on and nobody has done */
    bool alone, failed, added;
    LobHeap *heap; /* where it waits; NULL: nowhere */
} Slide;

typedef struct {
    uint32_t slide; /* NO_SLIDE: none */
    double busy_until;
} Worker;

typedef struct {
    LobLease lease;
    int worker;
    bool alone;
    double deadline;
} Flight;

typedef struct {
    LobHeap fresh;
    uint64_t total, dealt; /* tiles */
} Center;

struct LobSched {
    LobSchedOptions options;
    Slide *slides;
    uint64_t *keys; /* [slide] tiles in its gaps */
    size_t *places; /* [slide] in its heap */
    size_t n_slides, capacity;
    Center *centers;
    size_t n_centers;
    LobHeap shared;
    GArray *suspects; /* of uint32_t, dealt from the back; the last stays until it has no gap left */
    Worker *workers;
    int n_workers;
    GHashTable *flights;     /* lease -> Flight */
    GHashTable *void_leases; /* leases put back late: lease -> Flight, until their result comes or is void */
    uint32_t next_lease;
    bool alone_in_flight;
    uint64_t undealt; /* tiles in gaps */
    LobSchedProgress progress;
};

LobSched *lob_sched_new(const LobSchedOptions *options) {
    LobSched *sched = g_new0(LobSched, 1);
    sched->options = *options;
    sched->options.batch = MAX(options->batch, 1);
    sched->options.workers = MAX(options->workers, 1);
    sched->suspects = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    sched->flights = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, g_free);
    sched->void_leases = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, g_free);
    sched->next_lease = 1;
    return sched;
}

void lob_sched_free(LobSched *sched) {
    if (!sched)
        return;
    for (size_t i = 0; i < sched->n_slides; i++)
        if (sched->slides[i].gaps)
            g_array_unref(sched->slides[i].gaps);
    for (size_t c = 0; c < sched->n_centers; c++)
        lob_heap_clear(&sched->centers[c].fresh);
    lob_heap_clear(&sched->shared);
    g_array_unref(sched->suspects);
    g_hash_table_unref(sched->flights);
    g_hash_table_unref(sched->void_leases);
    g_free(sched->slides);
    g_free(sched->keys);
    g_free(sched->places);
    g_free(sched->centers);
    g_free(sched->workers);
    g_free(sched);
}

/* ---- where a slide waits ---- */

/* Heaps point at keys and places, which may have moved while slides were added. */
static void push(LobSched *sched, LobHeap *heap, uint32_t index) {
    heap->keys = sched->keys;
    heap->places = sched->places;
    lob_heap_push(heap, index);
    sched->slides[index].heap = heap;
}

/* Puts a slide where it belongs after its gaps or its workers changed. */
static void settle(LobSched *sched, uint32_t index) {
    Slide *slide = &sched->slides[index];
    LobHeap *wanted = NULL;
    if (!slide->failed && !slide->alone && sched->keys[index] > 0)
        wanted = slide->workers > 0 ? &sched->shared : &sched->centers[slide->center].fresh;
    if (slide->heap == wanted) {
        if (wanted)
            lob_heap_rekeyed(wanted, index);
        return;
    }
    if (slide->heap)
        lob_heap_remove(slide->heap, index);
    slide->heap = NULL;
    if (wanted)
        push(sched, wanted, index);
}

static void change_undealt(LobSched *sched, uint32_t index, int64_t tiles) {
    sched->keys[index] = (uint64_t)((int64_t)sched->keys[index] + tiles);
    sched->undealt = (uint64_t)((int64_t)sched->undealt + tiles);
}

static void grow(LobSched *sched, size_t n) {
    if (n <= sched->n_slides)
        return;
    if (n > sched->capacity) {
        sched->capacity = MAX(n, 2 * sched->capacity);
        sched->slides = g_renew(Slide, sched->slides, sched->capacity);
        sched->keys = g_renew(uint64_t, sched->keys, sched->capacity);
        sched->places = g_renew(size_t, sched->places, sched->capacity);
    }
    for (size_t i = sched->n_slides; i < n; i++) {
        sched->slides[i] = (Slide){0};
        sched->keys[i] = 0;
        sched->places[i] = LOB_HEAP_NOWHERE;
    }
    sched->n_slides = n;
}

/* Slides point at their center's heap: both move with the table. */
static void grow_centers(LobSched *sched, size_t n) {
    if (n <= sched->n_centers)
        return;
    sched->centers = g_renew(Center, sched->centers, n);
    memset(sched->centers + sched->n_centers, 0, (n - sched->n_centers) * sizeof *sched->centers);
    sched->n_centers = n;
    for (size_t i = 0; i < sched->n_slides; i++)
        if (sched->slides[i].heap && sched->slides[i].heap != &sched->shared)
            sched->slides[i].heap = &sched->centers[sched->slides[i].center].fresh;
}

static void point_heaps(LobSched *sched) {
    for (size_t c = 0; c < sched->n_centers; c++) {
        sched->centers[c].fresh.keys = sched->keys;
        sched->centers[c].fresh.places = sched->places;
    }
    sched->shared.keys = sched->keys;
    sched->shared.places = sched->places;
}

void lob_sched_add(LobSched *sched, uint32_t index, uint32_t tiles, uint32_t center, bool alone) {
    grow(sched, (size_t)index + 1);
    grow_centers(sched, (size_t)center + 1);
    point_heaps(sched);
    Slide *slide = &sched->slides[index];
    g_return_if_fail(!slide->added);
    *slide = (Slide){.tiles = tiles, .center = center, .alone = alone, .added = true};
    slide->gaps = g_array_new(FALSE, FALSE, sizeof(Gap));
    sched->progress.slides_total++;
    sched->progress.tiles_total += tiles;
    sched->centers[center].total += tiles;
    if (tiles == 0) {
        sched->progress.slides_done++;
        return;
    }
    const Gap all = {.first = 0, .count = tiles};
    g_array_append_val(slide->gaps, all);
    change_undealt(sched, index, tiles);
    if (alone)
        g_array_append_val(sched->suspects, index);
    settle(sched, index);
}

/* ---- gaps ---- */

/* Cuts [first, first + count) out of the gaps; returns how many tiles that were. */
static uint32_t cut(LobSched *sched, uint32_t index, uint32_t first, uint32_t count) {
    GArray *gaps = sched->slides[index].gaps;
    const uint64_t end = (uint64_t)first + count;
    uint32_t taken = 0;
    for (guint i = 0; i < gaps->len; i++) {
        const Gap gap = g_array_index(gaps, Gap, i);
        const uint64_t gap_end = (uint64_t)gap.first + gap.count;
        const uint64_t from = MAX(gap.first, first), to = MIN(gap_end, end);
        if (from >= to)
            continue;
        taken += (uint32_t)(to - from);
        g_array_remove_index(gaps, i);
        const Gap right = {(uint32_t)to, (uint32_t)(gap_end - to), gap.attempt};
        const Gap left = {gap.first, (uint32_t)(from - gap.first), gap.attempt};
        if (right.count > 0)
            g_array_insert_val(gaps, i, right);
        if (left.count > 0)
            g_array_insert_val(gaps, i, left);
        i += (left.count > 0);
        i -= (right.count == 0);
    }
    change_undealt(sched, index, -(int64_t)taken);
    return taken;
}

static void put_back(LobSched *sched, const LobLease *lease) {
    GArray *gaps = sched->slides[lease->slide].gaps;
    const Gap gap = {.first = lease->first, .count = lease->count, .attempt = lease->attempt + 1};
    guint at = 0;
    while (at < gaps->len && g_array_index(gaps, Gap, at).first < gap.first)
        at++;
    g_array_insert_val(gaps, at, gap);
    change_undealt(sched, lease->slide, gap.count);
    sched->centers[sched->slides[lease->slide].center].dealt -= gap.count;
    settle(sched, lease->slide);
}

static void count_done(LobSched *sched, Slide *slide, uint32_t tiles) {
    slide->done += tiles;
    sched->progress.tiles_done += tiles;
    if (slide->done == slide->tiles)
        sched->progress.slides_done++;
}

void lob_sched_mark_done(LobSched *sched, uint32_t index, uint32_t first, uint32_t count) {
    Slide *slide = &sched->slides[index];
    const uint32_t taken = cut(sched, index, first, count);
    sched->centers[slide->center].dealt += taken;
    if (taken > 0)
        count_done(sched, slide, taken);
    settle(sched, index);
}

/* ---- dealing ---- */

static Worker *worker_at(LobSched *sched, int worker) {
    if (worker >= sched->n_workers) {
        sched->workers = g_renew(Worker, sched->workers, worker + 1);
        for (int w = sched->n_workers; w <= worker; w++)
            sched->workers[w] = (Worker){.slide = NO_SLIDE};
        sched->n_workers = worker + 1;
    }
    return &sched->workers[worker];
}

static void take_up(LobSched *sched, Worker *worker, uint32_t index) {
    const uint32_t old = worker->slide;
    if (old == index)
        return;
    worker->slide = index;
    sched->slides[index].workers++;
    settle(sched, index);
    if (old != NO_SLIDE) {
        sched->slides[old].workers--;
        settle(sched, old);
    }
}

/* The center that is furthest behind, by the share of its tiles that were dealt; the one with the largest
 * slide among equals. Centers are few. */
static uint32_t largest_fresh_slide(const LobSched *sched) {
    uint32_t best = NO_SLIDE;
    double best_share = 2;
    for (size_t c = 0; c < sched->n_centers; c++) {
        const Center *center = &sched->centers[c];
        if (center->fresh.n == 0)
            continue;
        const double share = (double)center->dealt / (double)center->total;
        const uint32_t top = center->fresh.items[0];
        if (share < best_share || (share == best_share && sched->keys[top] > sched->keys[best])) {
            best = top;
            best_share = share;
        }
    }
    return best;
}

static uint32_t choose_slide(LobSched *sched, const Worker *worker) {
    if (worker->slide != NO_SLIDE && sched->slides[worker->slide].heap)
        return worker->slide;
    const uint32_t fresh = largest_fresh_slide(sched);
    if (fresh != NO_SLIDE)
        return fresh;
    if (sched->shared.n > 0)
        return sched->shared.items[0];
    if (g_hash_table_size(sched->flights) > 0)
        return NO_SLIDE;
    while (sched->suspects->len > 0) {
        const uint32_t index = g_array_index(sched->suspects, uint32_t, sched->suspects->len - 1);
        if (!sched->slides[index].failed && sched->keys[index] > 0)
            return index;
        g_array_set_size(sched->suspects, sched->suspects->len - 1);
    }
    return NO_SLIDE;
}

static uint32_t range_tiles(const LobSched *sched, const Gap *gap, bool alone) {
    const LobSchedOptions *o = &sched->options;
    double wanted = (double)o->batch * FIRST_BATCHES;
    if (sched->progress.seconds_per_tile > 0)
        wanted = o->range_seconds / sched->progress.seconds_per_tile;
    if (!alone)
        wanted = MIN(wanted, (double)sched->undealt * END_SHARE / o->workers);
    wanted = CLAMP(wanted, (double)o->batch, (double)MAX(o->max_tiles, o->batch));
    /* Ranges end on multiples of the batch even where a gap does not start on one. */
    const uint64_t end = (gap->first + (uint64_t)wanted) / o->batch * o->batch;
    const uint64_t least = ((uint64_t)gap->first / o->batch + 1) * o->batch;
    return (uint32_t)MIN(MAX(end, least) - gap->first, gap->count);
}

/* A lease starts when its worker is through with those it has; each earlier try doubles the patience. */
static double lease_deadline(LobSched *sched, Worker *worker, const LobLease *lease, double now) {
    const double expected = lease->count * sched->progress.seconds_per_tile;
    const double start = MAX(now, worker->busy_until);
    const double least = sched->options.min_lease_seconds * (expected > 0 ? 1 : FIRST_PATIENCE);
    worker->busy_until = start + expected;
    return start +
           MAX(least, sched->options.lease_factor * expected) * ldexp(1, (int)MIN(lease->attempt, 10));
}

LobSchedAnswer lob_sched_next(LobSched *sched, int rank, double now, LobLease *lease) {
    if (sched->alone_in_flight)
        return LOB_SCHED_WAIT;
    Worker *worker = worker_at(sched, rank);
    const uint32_t index = choose_slide(sched, worker);
    if (index == NO_SLIDE)
        return g_hash_table_size(sched->flights) > 0 ? LOB_SCHED_WAIT : LOB_SCHED_FINISHED;
    Slide *slide = &sched->slides[index];
    const Gap gap = g_array_index(slide->gaps, Gap, 0);
    *lease = (LobLease){.slide = index,
                        .first = gap.first,
                        .count = range_tiles(sched, &gap, slide->alone),
                        .lease = sched->next_lease++,
                        .attempt = gap.attempt};
    cut(sched, index, lease->first, lease->count);
    take_up(sched, worker, index);
    settle(sched, index);
    sched->alone_in_flight = slide->alone;
    sched->centers[slide->center].dealt += lease->count;
    sched->progress.tiles_in_flight += lease->count;
    Flight *flight = g_new(Flight, 1);
    *flight = (Flight){
        .worker = rank, .alone = slide->alone, .deadline = lease_deadline(sched, worker, lease, now)};
    lease->patience = flight->deadline - now;
    flight->lease = *lease;
    g_hash_table_insert(sched->flights, GUINT_TO_POINTER(lease->lease), flight);
    return LOB_SCHED_LEASE;
}

/* ---- results ---- */

static void land(LobSched *sched, const Flight *flight) {
    sched->progress.tiles_in_flight -= flight->lease.count;
    if (flight->alone)
        sched->alone_in_flight = false;
}

static void learn_rate(LobSched *sched, uint32_t tiles, double seconds) {
    const double rate = seconds / tiles;
    double *known = &sched->progress.seconds_per_tile;
    *known = *known > 0 ? (1 - RATE_MEMORY) * *known + RATE_MEMORY * rate : rate;
}

/* A late result still counts where nobody took the whole of its range since. */
static bool late_result(LobSched *sched, const LobLease *lease) {
    const Slide *slide = &sched->slides[lease->slide];
    bool whole = false;
    for (guint i = 0; i < slide->gaps->len && !whole; i++) {
        const Gap *gap = &g_array_index(slide->gaps, Gap, i);
        whole = gap->first <= lease->first &&
                (uint64_t)lease->first + lease->count <= (uint64_t)gap->first + gap->count;
    }
    if (whole && !slide->failed)
        lob_sched_mark_done(sched, lease->slide, lease->first, lease->count);
    return whole && !slide->failed;
}

bool lob_sched_done(LobSched *sched, int rank, const LobLease *lease, double now, double seconds) {
    const gpointer key = GUINT_TO_POINTER(lease->lease);
    Worker *worker = worker_at(sched, rank);
    Flight *flight = g_hash_table_lookup(sched->flights, key);
    if (!flight) {
        flight = g_hash_table_lookup(sched->void_leases, key);
        const bool counts = flight && flight->worker == rank && late_result(sched, &flight->lease);
        g_hash_table_remove(sched->void_leases, key);
        return counts;
    }
    if (flight->worker != rank)
        return false;
    land(sched, flight);
    count_done(sched, &sched->slides[lease->slide], flight->lease.count);
    learn_rate(sched, flight->lease.count, seconds);
    worker->busy_until = MIN(worker->busy_until, now + sched->options.range_seconds);
    g_hash_table_remove(sched->flights, key);
    return true;
}

static gboolean is_of_slide(gpointer key, gpointer value, gpointer user) {
    (void)key;
    return ((const Flight *)value)->lease.slide == *(const uint32_t *)user;
}

void lob_sched_fail_slide(LobSched *sched, uint32_t index) {
    Slide *slide = &sched->slides[index];
    if (slide->failed)
        return;
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, sched->flights);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        if (is_of_slide(NULL, value, &index))
            land(sched, value);
    g_hash_table_foreach_remove(sched->flights, is_of_slide, &index);
    g_hash_table_foreach_remove(sched->void_leases, is_of_slide, &index);
    if (slide->done == slide->tiles)
        sched->progress.slides_done--;
    sched->progress.slides_failed++;
    sched->progress.tiles_total -= slide->tiles - slide->done;
    sched->centers[slide->center].total -= sched->keys[index];
    change_undealt(sched, index, -(int64_t)sched->keys[index]);
    g_array_set_size(slide->gaps, 0);
    slide->failed = true;
    settle(sched, index);
}

void lob_sched_clear_suspect(LobSched *sched, uint32_t index) {
    sched->slides[index].alone = false;
    settle(sched, index);
}

int lob_sched_expire(LobSched *sched, double now) {
    GHashTableIter iter;
    gpointer key, value;
    int late = 0;
    g_hash_table_iter_init(&iter, sched->flights);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        Flight *flight = value;
        if (flight->deadline > now)
            continue;
        g_hash_table_iter_steal(&iter);
        land(sched, flight);
        put_back(sched, &flight->lease);
        g_hash_table_insert(sched->void_leases, key, flight);
        late++;
    }
    return late;
}

int lob_sched_late(const LobSched *sched) {
    return (int)g_hash_table_size(sched->void_leases);
}

bool lob_sched_holds(const LobSched *sched, int worker, uint32_t lease) {
    const Flight *flight = g_hash_table_lookup(sched->flights, GUINT_TO_POINTER(lease));
    return flight && flight->worker == worker;
}

void lob_sched_progress(const LobSched *sched, LobSchedProgress *progress) {
    *progress = sched->progress;
}
