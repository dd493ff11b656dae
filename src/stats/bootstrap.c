/* Patients drawn with replacement within centers. */
#include "stats/stats_internal.h"

#include <stdio.h>

/* Rows grouped by stratum, so that a replicate draws without sorting. */
typedef struct {
    size_t n, n_strata;
    uint32_t *rows;  /* [n] */
    size_t *first;   /* [n_strata + 1] */
    uint32_t *label; /* [n_strata] */
} Strata;

static void strata_prepare(Strata *s, const uint32_t *stratum, size_t n) {
    *s = (Strata){.n = n, .rows = g_new(uint32_t, n + 1)};
    g_autofree uint32_t *compact = g_new0(uint32_t, n + 1);
    s->n_strata = stratum ? lob_compact_labels(stratum, n, compact) : (n > 0 ? 1 : 0);
    s->first = g_new0(size_t, s->n_strata + 2);
    s->label = g_new0(uint32_t, s->n_strata + 1);
    for (size_t i = 0; i < n; i++) {
        s->first[compact[i] + 2]++;
        s->label[compact[i]] = stratum ? stratum[i] : 0;
    }
    for (size_t k = 0; k < s->n_strata; k++)
        s->first[k + 2] += s->first[k + 1];
    for (size_t i = 0; i < n; i++)
        s->rows[s->first[compact[i] + 1]++] = (uint32_t)i;
}

static void strata_clear(Strata *s) {
    g_free(s->rows);
    g_free(s->first);
    g_free(s->label);
}

static void draw(const Strata *s, size_t replicate, uint64_t seed, double *count) {
    for (size_t i = 0; i < s->n; i++)
        count[i] = 0;
    for (size_t k = 0; k < s->n_strata; k++) {
        char stream[64];
        snprintf(stream, sizeof stream, "bootstrap/%zu/%u", replicate, s->label[k]);
        LobRng rng;
        lob_rng_init(&rng, seed, stream);
        size_t size = s->first[k + 1] - s->first[k];
        for (size_t i = 0; i < size; i++)
            count[s->rows[s->first[k] + lob_rng_below(&rng, (uint32_t)size)]]++;
    }
}

void lob_bootstrap_counts(const uint32_t *stratum, size_t n, size_t replicate, uint64_t seed, double *count) {
    Strata s;
    strata_prepare(&s, stratum, n);
    draw(&s, replicate, seed, count);
    strata_clear(&s);
}

/* Percentile interval and SD of the replicates that could be computed. */
static LobEstimate summarise(double estimate, const double *replicate, size_t n, size_t *degenerate) {
    g_autofree double *valid = g_new(double, n + 1);
    size_t m = 0;
    double mean = 0, square = 0;
    for (size_t b = 0; b < n; b++)
        if (!isnan(replicate[b])) {
            valid[m++] = replicate[b];
            double d = replicate[b] - mean;
            mean += d / (double)m;
            square += d * (replicate[b] - mean);
        }
    *degenerate = n - m;
    LobEstimate e = {.estimate = estimate, .se = NAN, .lower = NAN, .upper = NAN};
    if (m < 2) {
        e.reason = n < 2 ? "no bootstrap was asked for" : "no replicate could be computed";
        return e;
    }
    e.se = sqrt(square / (double)(m - 1));
    e.lower = lob_quantile(valid, m, 0.025);
    e.upper = lob_quantile(valid, m, 0.975);
    return e;
}

void lob_bootstrap(LobBootstrap *result, const uint32_t *stratum, size_t n, size_t n_replicates, size_t first,
                   uint64_t seed, size_t n_statistics, LobStatistic statistic, void *user) {
    *result = (LobBootstrap){.n_replicates = n_replicates,
                             .estimate = g_new0(LobEstimate, n_statistics + 1),
                             .degenerate = g_new0(size_t, n_statistics + 1),
                             .replicate = g_new(double, n_statistics *n_replicates + 1)};
    Strata s;
    strata_prepare(&s, stratum, n);
    g_autofree double *count = g_new(double, n + 1);
    g_autofree double *full = g_new(double, n_statistics + 1);
    g_autofree double *out = g_new(double, n_statistics + 1);
    for (size_t i = 0; i < n; i++)
        count[i] = 1;
    statistic(count, n, full, user);
    for (size_t b = 0; b < n_replicates; b++) {
        draw(&s, first + b, seed, count);
        statistic(count, n, out, user);
        for (size_t k = 0; k < n_statistics; k++)
            result->replicate[k * n_replicates + b] = out[k];
    }
    for (size_t k = 0; k < n_statistics; k++)
        result->estimate[k] =
            summarise(full[k], result->replicate + k * n_replicates, n_replicates, &result->degenerate[k]);
    strata_clear(&s);
}

void lob_bootstrap_clear(LobBootstrap *result) {
    g_free(result->estimate);
    g_free(result->degenerate);
    g_free(result->replicate);
    *result = (LobBootstrap){0};
}
