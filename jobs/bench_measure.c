/* Measuring: repetitions that ranks begin together, and what can be said of so many. */
#include "jobs/bench_internal.h"
#include "mpi/world.h"
#include "stats/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SIDE_BY_SIDE_SECONDS 0.5

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The interval is between order statistics whose ranks bound the median with at least 95 %, by the normal
 * approximation of the binomial. */
LobBenchRate lob_bench_summary(const double *values, int n) {
    double sorted[LOB_BENCH_MOST];
    memcpy(sorted, values, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    const double half = 1.96 * sqrt(n) / 2, median = lob_quantile(sorted, (size_t)n, 0.5);
    const int low = MAX((int)floor(n / 2.0 - half), 1), high = MIN((int)ceil(n / 2.0 + half) + 1, n);
    const bool bounded = n >= LOB_BENCH_LEAST;
    const double quartiles = lob_quantile(sorted, (size_t)n, 0.75) - lob_quantile(sorted, (size_t)n, 0.25);
    return (LobBenchRate){.rate = median,
                          .lower = bounded ? sorted[low - 1] : NAN,
                          .upper = bounded ? sorted[high - 1] : NAN,
                          .spread = n > 1 ? quartiles / median : NAN,
                          .repeats = n};
}

double lob_bench_cpu_seconds(void) {
    struct timespec used;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec + 1e-9 * (double)used.tv_nsec;
}

/* Ranks go side by side: they begin each repetition together, and rank 0 says whether there is another one,
 * so that none measures while its neighbour is idle. A rank that failed says so here. */
static bool again(const LobBench *bench, bool wanted, bool failed, GError **err) {
    double votes[] = {failed ? 1 : 0, wanted && bench->world->rank == 0 ? 1 : 0};
    if (!bench->world->has_mpi)
        return wanted && !failed;
    lob_mpi_allreduce_sum(lob_world_comm(bench->world), votes, G_N_ELEMENTS(votes));
    if (votes[0] > 0 && !failed)
        lob_fail(err, LOB_ERROR_INTERNAL, "another rank failed while measuring");
    return votes[0] == 0 && votes[1] > 0;
}

bool lob_bench_repeat(const LobBench *bench, LobBenchTurn turn, void *user, LobBenchSeries *series,
                      GError **err) {
    double values[LOB_BENCH_VALUES] = {0}, measured = 0;
    GError *failure = NULL;
    *series = (LobBenchSeries){0};
    bool ok = turn(user, values, &failure);
    while (again(bench,
                 series->n < LOB_BENCH_MOST && (series->n < bench->repeats || measured < bench->seconds), !ok,
                 &failure)) {
        const double start = lob_clock();
        ok = turn(user, values, &failure);
        measured += lob_clock() - start;
        for (size_t v = 0; v < LOB_BENCH_VALUES; v++)
            series->values[v][series->n] = values[v];
        series->n++;
    }
    if (failure) {
        g_propagate_error(err, failure);
        return false;
    }
    if (bench->world->has_mpi)
        lob_mpi_allreduce_sum(lob_world_comm(bench->world), &series->values[0][0],
                              LOB_BENCH_VALUES * LOB_BENCH_MOST);
    return true;
}

LobBenchRate lob_bench_paired(const LobBenchSeries *series, int which, int against, double scale) {
    double ratios[LOB_BENCH_MOST];
    for (int t = 0; t < series->n; t++)
        ratios[t] = scale * series->values[which][t] / series->values[against][t];
    return lob_bench_summary(ratios, series->n);
}

/* ---- one rate ---- */

bool lob_bench_pace(LobBenchRun run, void *user, double seconds, double *rate, double *share, GError **err) {
    const double start = lob_clock(), cpu = lob_bench_cpu_seconds();
    double units = 0, sum = 0, now = start;
    do {
        if (!run(user, &units, err))
            return false;
        sum += units;
        now = lob_clock();
    } while (now - start < seconds);
    *rate = sum / (now - start);
    *share = (lob_bench_cpu_seconds() - cpu) / (now - start);
    return true;
}

typedef struct {
    const LobBench *bench;
    LobBenchRun run;
    void *user;
} Single;

enum { RATE, SHARE };

/* With several ranks at least SIDE_BY_SIDE_SECONDS, beside which the start's jitter is small. */
static bool single_turn(void *user, double *values, GError **err) {
    const Single *s = user;
    const double least = s->bench->world->has_mpi ? SIDE_BY_SIDE_SECONDS : 0;
    return lob_bench_pace(s->run, s->user, least, &values[RATE], &values[SHARE], err);
}

bool lob_bench_measure(const LobBench *bench, LobBenchRun run, void *user, LobBenchRate *rate, GError **err) {
    Single single = {bench, run, user};
    LobBenchSeries series;
    if (!lob_bench_repeat(bench, single_turn, &single, &series, err))
        return false;
    *rate = lob_bench_summary(series.values[RATE], series.n);
    rate->cpu = lob_bench_summary(series.values[SHARE], series.n).rate / bench->world->size;
    return true;
}
