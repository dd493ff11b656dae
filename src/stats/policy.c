/* What treating by a rule is worth: doubly robust values, targeting curves, concordance for benefit. */
#include "stats/stats_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void lob_aipw_scores(const double *y, const uint32_t *arm, const double *mu, const double *propensity,
                     size_t n, size_t n_arms, double *out) {
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < n_arms; k++)
            out[i * n_arms + k] = mu[i * n_arms + k];
        size_t own = i * n_arms + arm[i];
        out[own] += (y[i] - mu[own]) / propensity[own];
    }
}

LobEstimate lob_policy_value(const double *scores, const uint32_t *policy, size_t n, size_t n_arms,
                             const uint32_t *cluster) {
    if (n == 0)
        return lob_not_available("no rows");
    g_autofree double *gap = g_new(double, n);
    g_autofree uint32_t *compact = g_new(uint32_t, n);
    double sum = 0, groups = (double)lob_compact_labels(cluster, n, compact);
    for (size_t i = 0; i < n; i++)
        sum += gap[i] = scores[i * n_arms + policy[i]];
    double mean = sum / (double)n;
    if (groups < 2) {
        LobEstimate single = lob_not_available("a single cluster: no variance");
        single.estimate = mean;
        return single;
    }
    for (size_t i = 0; i < n; i++)
        gap[i] -= mean;
    double variance = lob_clustered_square(gap, cluster, n) * groups / (groups - 1);
    return lob_normal_estimate(mean, sqrt(variance) / (double)n);
}

/* ---- targeting ---- */
/* Order of priority, highest first; same[i] = as high as the one before. */
static uint32_t *priority_order(const double *priority, size_t n, bool *same) {
    uint32_t *order = lob_order_of(priority, n);
    for (size_t i = 0; i < n / 2; i++) {
        uint32_t swap = order[i];
        order[i] = order[n - 1 - i];
        order[n - 1 - i] = swap;
    }
    for (size_t i = 0; i < n; i++)
        same[i] = i > 0 && priority[order[i]] == priority[order[i - 1]];
    return order;
}

/* Over the rows in `order` that are kept (all where NULL): mean over j of TOC(j), or of j/n TOC(j). */
static double rate_of(LobRateKind kind, const double *contrast, const uint32_t *order, const bool *same,
                      const bool *kept, size_t n, double *toc) {
    double total = 0, m = 0, taken = 0, sum = 0, area = 0;
    for (size_t i = 0; i < n; i++)
        if (!kept || kept[order[i]]) {
            total += contrast[order[i]];
            m++;
        }
    for (size_t begin = 0, end; begin < n; begin = end) {
        double tied = 0, count = 0;
        for (end = begin; end < n && (end == begin || same[end]); end++)
            if (!kept || kept[order[end]]) {
                tied += contrast[order[end]];
                count++;
            }
        for (double c = 0; c < count; c++) {
            sum += tied / count;
            taken++;
            double value = sum / taken - total / m;
            if (toc)
                toc[(size_t)taken - 1] = value;
            area += kind == LOB_RATE_QINI ? value * taken / m : value;
        }
    }
    return m > 0 ? area / m : NAN;
}

LobEstimate lob_rate(LobRateKind kind, const double *contrast, const double *priority, size_t n,
                     size_t n_bootstrap, uint64_t seed) {
    if (n < 4)
        return lob_not_available("fewer than four rows");
    g_autofree bool *same = g_new(bool, n);
    g_autofree bool *kept = g_new(bool, n);
    g_autofree uint32_t *order = priority_order(priority, n, same);
    g_autofree uint32_t *deck = g_new(uint32_t, n);
    double estimate = rate_of(kind, contrast, order, same, NULL, n, NULL), mean = 0, square = 0;
    for (size_t b = 0; b < n_bootstrap; b++) {
        char stream[40];
        snprintf(stream, sizeof stream, "rate/%zu", b);
        LobRng rng;
        lob_rng_init(&rng, seed, stream);
        for (size_t i = 0; i < n; i++)
            deck[i] = (uint32_t)i;
        memset(kept, 0, n * sizeof *kept);
        for (size_t i = 0; i < n / 2; i++) {
            size_t j = i + lob_rng_below(&rng, (uint32_t)(n - i));
            uint32_t chosen = deck[j];
            deck[j] = deck[i];
            kept[chosen] = true;
        }
        double value = rate_of(kind, contrast, order, same, kept, n, NULL), d = value - mean;
        mean += d / (double)(b + 1);
        square += d * (value - mean);
    }
    if (n_bootstrap < 2)
        return (LobEstimate){estimate, NAN, NAN, NAN, "no bootstrap was asked for"};
    return lob_normal_estimate(estimate, sqrt(square / (double)(n_bootstrap - 1)));
}

void lob_toc_curve(const double *contrast, const double *priority, size_t n, double *toc) {
    g_autofree bool *same = g_new(bool, n + 1);
    g_autofree uint32_t *order = priority_order(priority, n, same);
    rate_of(LOB_RATE_AUTOC, contrast, order, same, NULL, n, toc);
}

/* ---- concordance for benefit ---- */
typedef struct {
    double predicted;
    int observed; /* -1, 0, 1 */
} Pair;

/* Rows of one arm by predicted benefit; `wanted` of them, thinned at random. */
static uint32_t *thinned_arm(const uint8_t *treated, bool which, const double *benefit, size_t n,
                             size_t wanted, LobRng *rng) {
    g_autofree uint32_t *order = lob_order_of(benefit, n);
    uint32_t *rows = g_new(uint32_t, n + 1);
    size_t left = 0, taken = 0;
    for (size_t i = 0; i < n; i++)
        left += (treated[i] != 0) == which;
    for (size_t i = 0; i < n && taken < wanted; i++) {
        if ((treated[order[i]] != 0) != which)
            continue;
        /* Each of the `left` remaining is kept with the chance that fills the sample. */
        if (lob_rng_below(rng, (uint32_t)left--) < wanted - taken)
            rows[taken++] = order[i];
    }
    return rows;
}

static int by_prediction(const void *a, const void *b) {
    const Pair *x = a, *y = b;
    if (x->predicted != y->predicted)
        return x->predicted < y->predicted ? -1 : 1;
    return (x->observed > y->observed) - (x->observed < y->observed);
}

static double c_of_pairs(const Pair *pairs, const double *count, size_t n) {
    double below[3] = {0}, concordant = 0, discordant = 0, tied = 0;
    for (size_t begin = 0, end; begin < n; begin = end) {
        double here[3] = {0};
        for (end = begin; end < n && pairs[end].predicted == pairs[begin].predicted; end++)
            here[pairs[end].observed + 1] += count[end];
        concordant += here[1] * below[0] + here[2] * (below[0] + below[1]);
        discordant += here[1] * below[2] + here[0] * (below[2] + below[1]);
        tied += here[0] * here[1] + here[0] * here[2] + here[1] * here[2];
        for (int k = 0; k < 3; k++)
            below[k] += here[k];
    }
    double usable = concordant + discordant + tied;
    return usable > 0 ? (concordant + 0.5 * tied) / usable : NAN;
}

static void c_statistic(const double *count, size_t n, double *out, void *user) {
    *out = c_of_pairs(user, count, n);
}

LobEstimate lob_c_for_benefit(const uint8_t *treated, const uint8_t *outcome, const double *risk_control,
                              const double *risk_treated, size_t n, size_t n_bootstrap, uint64_t seed) {
    size_t n_treated = 0;
    g_autofree double *benefit = g_new(double, n + 1);
    for (size_t i = 0; i < n; i++) {
        n_treated += treated[i] != 0;
        benefit[i] = risk_control[i] - risk_treated[i];
    }
    size_t m = MIN(n_treated, n - n_treated);
    if (m < 2)
        return lob_not_available("fewer than two pairs of a treated and an untreated row");
    LobRng rng;
    lob_rng_init(&rng, seed, "c-for-benefit");
    g_autofree uint32_t *with = thinned_arm(treated, true, benefit, n, m, &rng);
    g_autofree uint32_t *without = thinned_arm(treated, false, benefit, n, m, &rng);
    g_autofree Pair *pairs = g_new(Pair, m);
    for (size_t i = 0; i < m; i++)
        pairs[i] = (Pair){risk_control[without[i]] - risk_treated[with[i]],
                          (outcome[without[i]] != 0) - (outcome[with[i]] != 0)};
    qsort(pairs, m, sizeof *pairs, by_prediction);
    g_auto(LobBootstrap) bootstrap = {0};
    lob_bootstrap(&bootstrap, NULL, m, n_bootstrap, 0, seed, 1, c_statistic, pairs);
    LobEstimate c = bootstrap.estimate[0];
    if (isnan(c.estimate))
        c.reason = "every pair has the same observed benefit";
    return c;
}
