/* Endpoints known for every row: AUC after DeLong, logistic recalibration. */
#include "stats/stats_internal.h"

#define CLIP 1e-10
#define MOST_ITERATIONS 50

/* Share of the other kind that a row of this kind beats, ties half. */
static void placements(const uint8_t *outcome, const uint32_t *rank, uint32_t n_ranks, size_t n, double cases,
                       double controls, double *v) {
    g_autofree double *at = g_new0(double, 2 * ((size_t)n_ranks + 2));
    double *control = at, *positive = at + n_ranks + 2, below = 0, above = cases;
    for (size_t i = 0; i < n; i++)
        *(outcome[i] ? &positive[rank[i]] : &control[rank[i]]) += 1;
    g_autofree double *win = g_new(double, n_ranks + 2);
    g_autofree double *loss = g_new(double, n_ranks + 2);
    for (uint32_t r = 1; r <= n_ranks; r++) {
        above -= positive[r];
        win[r] = (below + 0.5 * control[r]) / controls;
        loss[r] = (above + 0.5 * positive[r]) / cases;
        below += control[r];
    }
    for (size_t i = 0; i < n; i++)
        v[i] = outcome[i] ? win[rank[i]] : loss[rank[i]];
}

void lob_auc_binary(LobAuc *auc, const uint8_t *outcome, const double *score, size_t n) {
    *auc = (LobAuc){0};
    for (size_t i = 0; i < n; i++)
        *(outcome[i] ? &auc->n_cases : &auc->n_controls) += 1;
    if (auc->n_cases == 0 || auc->n_controls == 0) {
        auc->auc = lob_not_available("both outcomes are needed");
        return;
    }
    double m = (double)auc->n_cases, k = (double)auc->n_controls, sum = 0;
    g_autofree uint32_t *rank = g_new(uint32_t, n + 1);
    g_autofree double *v = g_new(double, n + 1);
    placements(outcome, rank, lob_dense_ranks(score, n, rank), n, m, k, v);
    for (size_t i = 0; i < n; i++)
        sum += outcome[i] ? v[i] : 0;
    double estimate = sum / m;
    if (auc->n_cases < 2 || auc->n_controls < 2) {
        auc->auc = lob_not_available("a single case or control: no variance");
        auc->auc.estimate = estimate;
        return;
    }
    /* Scaled so that the sum of squares is S10/m + S01/n. */
    auc->influence = g_new(double, n + 1);
    for (size_t i = 0; i < n; i++)
        auc->influence[i] = (v[i] - estimate) / sqrt(outcome[i] ? m * (m - 1) : k * (k - 1));
    auc->auc = lob_clipped_estimate(estimate, sqrt(lob_clustered_square(auc->influence, NULL, n)), 0, 1);
}

void lob_auc_clear(LobAuc *auc) {
    g_free(auc->influence);
    *auc = (LobAuc){0};
}

LobPairedDifference lob_auc_difference(size_t n, const LobAuc *first, const LobAuc *second) {
    return lob_paired_difference(first->auc.estimate, second->auc.estimate, first->influence,
                                 second->influence, NULL, n);
}

/* Logistic regression on an intercept and, where x is given, one column, with an offset; b and its
 * covariance. false: no maximum (separation, one outcome only). */
static bool logistic(const uint8_t *y, const double *x, const double *offset, size_t n, double b[2],
                     double v[4]) {
    size_t p = x ? 2 : 1;
    b[0] = b[1] = 0;
    for (int step = 0; step < MOST_ITERATIONS; step++) {
        double u[2] = {0}, a[4] = {0};
        for (size_t i = 0; i < n; i++) {
            double xi = x ? x[i] : 0, fitted = lob_expit((offset ? offset[i] : 0) + b[0] + b[1] * xi);
            double w = fitted * (1 - fitted), r = (y[i] ? 1 : 0) - fitted;
            u[0] += r;
            u[1] += r * xi;
            a[0] += w;
            a[p] += p == 2 ? w * xi : 0;
            a[p * p - 1] += p == 2 ? w * xi * xi : 0;
        }
        if (lob_invert_psd(a, p, NULL) < p)
            return false;
        double largest = 0;
        for (size_t j = 0; j < p; j++) {
            double move = 0;
            for (size_t k = 0; k < p; k++)
                move += a[j * p + k] * u[k];
            b[j] += move;
            largest = fmax(largest, fabs(move) / (1 + fabs(b[j])));
        }
        if (!isfinite(largest) || fabs(b[0]) > 500)
            return false;
        if (largest < 1e-12) {
            for (size_t j = 0; j < p; j++)
                v[j] = a[j * p + j];
            return true;
        }
    }
    return false;
}

LobBinaryCalibration lob_calibration_binary(const uint8_t *outcome, const double *probability, size_t n) {
    const char *why = "no finite fit: one outcome only, or predictions that separate or are all equal";
    LobBinaryCalibration result = {.intercept = lob_not_available(why),
                                   .slope = lob_not_available(why),
                                   .brier = NAN,
                                   .reason = n == 0 ? "no rows" : NULL};
    g_autofree double *logit = g_new(double, n + 1);
    double squares = 0, b[2], v[4];
    for (size_t i = 0; i < n; i++) {
        double error = probability[i] - (outcome[i] ? 1 : 0);
        squares += error * error;
        logit[i] = lob_logit(CLAMP(probability[i], CLIP, 1 - CLIP));
    }
    if (n == 0)
        return result;
    result.brier = squares / (double)n;
    if (logistic(outcome, NULL, logit, n, b, v))
        result.intercept = lob_normal_estimate(b[0], sqrt(v[0]));
    if (logistic(outcome, logit, NULL, n, b, v))
        result.slope = lob_normal_estimate(b[1], sqrt(v[1]));
    if (result.intercept.reason || result.slope.reason)
        result.reason = why;
    return result;
}
