/* Benches of computing: scheduler, statistics. */
#include "jobs/bench_internal.h"
#include "mpi/sched.h"
#include "stats/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the scheduler ---- */

enum { WORKERS = 10000, REQUESTS = 100000, SLIDES = 30000 };

typedef struct {
    LobSched *sched;
    LobLease *held; /* [WORKERS] */
    double now;
    size_t at;
} Dealing;

static LobSched *filled_sched(void) {
    LobSchedOptions options = lob_sched_defaults;
    options.workers = WORKERS;
    LobSched *sched = lob_sched_new(&options);
    LobRng rng;
    lob_rng_init(&rng, 1, "bench/slides");
    for (uint32_t s = 0; s < SLIDES; s++)
        lob_sched_add(sched, s, (uint32_t)(8000 * exp(0.8 * lob_rng_normal(&rng))) + 1, s % 20, false);
    return sched;
}

/* A request: a range comes back and the next one is dealt. */
static bool run_schedule(void *user, double *units, GError **err) {
    Dealing *d = user;
    for (int i = 0; i < REQUESTS; i++, d->at++) {
        const int w = (int)(d->at % WORKERS);
        d->now += 22.4 / WORKERS;
        if (d->held[w].lease && !lob_sched_done(d->sched, w, &d->held[w], d->now, 1.4 * d->held[w].count))
            return lob_fail(err, LOB_ERROR_INTERNAL, "the scheduler forgot a lease");
        if (lob_sched_next(d->sched, w, d->now, &d->held[w]) != LOB_SCHED_LEASE)
            return lob_fail(err, LOB_ERROR_INTERNAL, "the scheduler has nothing left to deal");
    }
    *units = REQUESTS;
    return true;
}

static bool run_table(void *user, double *units, GError **err) {
    GHashTable *table = user;
    (void)err;
    for (guint i = 1; i <= REQUESTS; i++) {
        g_hash_table_insert(table, GUINT_TO_POINTER(i), g_malloc(64));
        g_hash_table_remove(table, GUINT_TO_POINTER(i));
    }
    *units = REQUESTS;
    return true;
}

bool lob_bench_schedule(const LobBench *bench, GError **err) {
    g_autoptr(LobSched) sched = filled_sched();
    g_autofree LobLease *held = g_new0(LobLease, WORKERS);
    g_autoptr(GHashTable) table = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, g_free);
    Dealing dealing = {.sched = sched, .held = held};
    LobBenchResult r = {.bench = "schedule",
                        .what = "10000 workers, 30000 slides",
                        .unit = "requests/s",
                        .kind = LOB_BENCH_REFERENCE,
                        .ceiling_name = "one hash table entry made and removed"};
    LobBenchRate plain;
    if (!lob_bench_measure(bench, run_schedule, &dealing, &r.rate, err) ||
        !lob_bench_measure(bench, run_table, table, &plain, err))
        return false;
    r.ceiling = plain.rate;
    lob_bench_report(bench, &r);
    return !bench->world->has_mpi || lob_bench_farm(bench, err);
}

/* ---- statistics ---- */

enum { PATIENTS = 10000 };

typedef struct {
    double time[PATIENTS], score[PATIENTS], sorted[PATIENTS];
    uint8_t event[PATIENTS];
} Table;

static bool run_concordance(void *user, double *units, GError **err) {
    const Table *t = user;
    const LobFollowUp data = {.n = PATIENTS, .time = t->time, .event = t->event};
    LobConcordance result = {0};
    lob_concordance(&result, &data, t->score, NULL);
    *units = PATIENTS;
    const bool ok = isfinite(result.c) || lob_fail(err, LOB_ERROR_INTERNAL, "concordance: %s", result.reason);
    lob_concordance_clear(&result);
    return ok;
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool run_sort(void *user, double *units, GError **err) {
    Table *t = user;
    (void)err;
    memcpy(t->sorted, t->time, sizeof t->sorted);
    qsort(t->sorted, PATIENTS, sizeof *t->sorted, by_value);
    *units = PATIENTS;
    return true;
}

bool lob_bench_stats(const LobBench *bench, GError **err) {
    g_autofree Table *t = g_new0(Table, 1);
    LobRng rng;
    LobBenchRate sorting;
    lob_rng_init(&rng, 1, "bench/stats");
    for (size_t i = 0; i < PATIENTS; i++) {
        t->score[i] = lob_rng_normal(&rng);
        t->time[i] = ceil(1000 * lob_rng_exponential(&rng) * exp(-0.5 * t->score[i]));
        t->event[i] = lob_rng_uniform(&rng) < 0.6;
    }
    LobBenchResult r = {.bench = "stats",
                        .what = "concordance with se, 10000 patients",
                        .unit = "patients/s",
                        .kind = LOB_BENCH_REFERENCE,
                        .ceiling_name = "sorting the times once"};
    if (!lob_bench_measure(bench, run_concordance, t, &r.rate, err) ||
        !lob_bench_measure(bench, run_sort, t, &sorting, err))
        return false;
    r.ceiling = sorting.rate;
    lob_bench_report(bench, &r);
    return true;
}
