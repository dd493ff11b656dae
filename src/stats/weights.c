/* Weights from propensities: how they balance, and what they leave. */
#include "stats/stats_internal.h"

void lob_propensity_weights(LobWeightKind kind, const double *probability, const uint32_t *arm, size_t n,
                            size_t n_arms, double *weight) {
    g_autofree double *share = g_new0(double, n_arms);
    for (size_t i = 0; i < n; i++)
        share[arm[i]] += 1 / (double)n;
    for (size_t i = 0; i < n; i++) {
        const double *e = probability + i * n_arms;
        double own = 1 / e[arm[i]], sum = 0;
        for (size_t k = 0; k < n_arms; k++)
            sum += 1 / e[k];
        /* Where another arm is impossible for this row, it overlaps with nobody there. */
        weight[i] = kind == LOB_WEIGHTS_OVERLAP      ? (isinf(own) ? 1 : own / sum)
                    : kind == LOB_WEIGHTS_STABILIZED ? share[arm[i]] * own
                                                     : own;
    }
}

double lob_effective_size(const double *weight, size_t n) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        sum += weight[i];
        squares += weight[i] * weight[i];
    }
    return squares > 0 ? sum * sum / squares : 0;
}

double lob_max_smd(const double *covariate, const uint32_t *arm, size_t n, size_t n_arms,
                   const double *weight) {
    g_autofree double *buffer = g_new0(double, 5 * n_arms + 1);
    double *count = buffer, *plain = count + n_arms, *square = plain + n_arms, *sum = square + n_arms,
           *weights = sum + n_arms;
    for (size_t i = 0; i < n; i++) {
        double w = weight ? weight[i] : 1;
        count[arm[i]]++;
        plain[arm[i]] += covariate[i];
        sum[arm[i]] += w * covariate[i];
        weights[arm[i]] += w;
    }
    for (size_t i = 0; i < n; i++) {
        double d = covariate[i] - plain[arm[i]] / count[arm[i]];
        square[arm[i]] += d * d;
    }
    double variance = 0, arms = 0, least = INFINITY, most = -INFINITY;
    for (size_t k = 0; k < n_arms; k++) {
        if (count[k] < 2 || !(weights[k] > 0))
            continue;
        variance += square[k] / (count[k] - 1);
        arms++;
        least = fmin(least, sum[k] / weights[k]);
        most = fmax(most, sum[k] / weights[k]);
    }
    if (arms < 2)
        return NAN;
    /* Means of a constant differ by rounding alone. */
    const double sd = sqrt(variance / arms), rounding = 1e-12 * fmax(fabs(most), fabs(least));
    if (most - least <= rounding)
        return 0;
    return sd > rounding ? (most - least) / sd : NAN;
}

LobPositivity lob_positivity(const double *probability, size_t n, size_t n_arms) {
    LobPositivity result = {.least = n ? 1 : NAN};
    size_t weak = 0;
    for (size_t i = 0; i < n; i++) {
        double least = 1;
        for (size_t k = 0; k < n_arms; k++) {
            double e = probability[i * n_arms + k];
            least = fmin(least, e);
            result.refused |= !(e > 0 && e < 1);
        }
        weak += least < 0.05;
        result.least = fmin(result.least, least);
    }
    result.share_weak = n ? (double)weak / (double)n : NAN;
    return result;
}
