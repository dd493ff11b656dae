/* Random-effects meta-analysis over centers. */
#include "stats/stats_internal.h"

#define MOST_STEPS 2000

typedef struct {
    double sum, sum2, sum3, mean, q;
} Weighted;

/* Sums over weights 1/(v + tau2). */
static Weighted weighted_sums(const double *y, const double *v, size_t k, double tau2) {
    Weighted w = {0};
    double wy = 0;
    for (size_t i = 0; i < k; i++) {
        double weight = 1 / (v[i] + tau2);
        w.sum += weight;
        w.sum2 += weight * weight;
        w.sum3 += weight * weight * weight;
        wy += weight * y[i];
    }
    w.mean = wy / w.sum;
    for (size_t i = 0; i < k; i++)
        w.q += (y[i] - w.mean) * (y[i] - w.mean) / (v[i] + tau2);
    return w;
}

static double tau2_dl(const double *y, const double *v, size_t k) {
    Weighted w = weighted_sums(y, v, k, 0);
    return fmax(0, (w.q - (double)(k - 1)) / (w.sum - w.sum2 / w.sum));
}

/* Fisher scoring, floored at 0 and shortened where it swings to and fro; y'PPy, tr P and tr PP in closed form
 * for an intercept alone. */
static double tau2_reml(const double *y, const double *v, size_t k, bool *converged) {
    double tau2 = tau2_dl(y, v, k), share = 1, last = 0;
    for (int step = 0; step < MOST_STEPS; step++) {
        Weighted w = weighted_sums(y, v, k, tau2);
        double ypp = 0, trace_p = w.sum - w.sum2 / w.sum;
        double trace_pp = w.sum2 - 2 * w.sum3 / w.sum + w.sum2 * w.sum2 / (w.sum * w.sum);
        for (size_t i = 0; i < k; i++) {
            double py = (y[i] - w.mean) / (v[i] + tau2);
            ypp += py * py;
        }
        double move = (ypp - trace_p) / trace_pp;
        if (move * last < 0 && fabs(move) > 0.5 * fabs(last))
            share *= 0.5;
        last = move;
        double next = fmax(0, tau2 + share * move);
        if (fabs(next - tau2) <= 1e-13 * (tau2 + 1e-300) || next == tau2) {
            *converged = true;
            return next;
        }
        tau2 = next;
    }
    *converged = false;
    return tau2;
}

static void add_prediction(LobMeta *meta) {
    double k = (double)meta->k;
    if (meta->k < 3)
        return;
    double plain = lob_t_quantile(0.975, k - 2) * sqrt(meta->tau2 + meta->se_plain * meta->se_plain);
    double knha = lob_t_quantile(0.975, k - 1) * sqrt(meta->tau2 + meta->se * meta->se);
    meta->prediction_lower = meta->mu - plain;
    meta->prediction_upper = meta->mu + plain;
    meta->prediction_knha_lower = meta->mu - knha;
    meta->prediction_knha_upper = meta->mu + knha;
}

static void add_heterogeneity(LobMeta *meta, const double *y, const double *v) {
    Weighted fixed = weighted_sums(y, v, meta->k, 0);
    double df = (double)(meta->k - 1);
    meta->q = fixed.q;
    meta->q_p = lob_chi2_upper(fixed.q, df);
    double typical = df * fixed.sum / (fixed.sum * fixed.sum - fixed.sum2);
    meta->i2 = meta->tau2 / (meta->tau2 + typical);
}

static void pool(LobMeta *meta, const double *y, const double *v, const LobMetaOptions *options) {
    size_t k = meta->k;
    meta->converged = true;
    meta->tau2 = 0;
    if (k > 1)
        meta->tau2 = options->tau2 == LOB_TAU2_DL ? tau2_dl(y, v, k) : tau2_reml(y, v, k, &meta->converged);
    Weighted w = weighted_sums(y, v, k, meta->tau2);
    meta->mu = w.mean;
    meta->se = meta->se_plain = 1 / sqrt(w.sum);
    bool adjusted = options->hartung_knapp && k > 1;
    double quantile = LOB_Z95;
    if (adjusted) {
        double factor = sqrt(w.q / (double)(k - 1));
        meta->se *= options->floor ? fmax(1, factor) : factor;
        quantile = lob_t_quantile(0.975, (double)(k - 1));
    }
    meta->lower = meta->mu - quantile * meta->se;
    meta->upper = meta->mu + quantile * meta->se;
    double z = meta->se > 0 ? fabs(meta->mu) / meta->se : INFINITY;
    meta->p = 2 * (adjusted ? lob_t_cdf(-z, (double)(k - 1)) : lob_normal_cdf(-z));
    if (k > 1)
        add_heterogeneity(meta, y, v);
    add_prediction(meta);
    if (k == 1)
        meta->reason = "one center: its own interval, no heterogeneity";
    else if (k == 2)
        meta->reason = "two centers: no prediction interval";
    else if (!meta->converged)
        meta->reason = "tau2 did not converge";
}

LobMeta lob_meta(const double *estimate, const double *se, size_t k, const LobMetaOptions *options) {
    LobMeta meta = {.mu = NAN,
                    .se = NAN,
                    .lower = NAN,
                    .upper = NAN,
                    .p = NAN,
                    .se_plain = NAN,
                    .tau2 = NAN,
                    .q = NAN,
                    .q_p = NAN,
                    .i2 = NAN,
                    .prediction_lower = NAN,
                    .prediction_upper = NAN,
                    .prediction_knha_lower = NAN,
                    .prediction_knha_upper = NAN};
    g_autofree double *y = g_new(double, k + 1);
    g_autofree double *v = g_new(double, k + 1);
    for (size_t i = 0; i < k; i++) {
        if (!isfinite(estimate[i]) || !isfinite(se[i]) || !(se[i] > 0)) {
            meta.dropped++;
            continue;
        }
        y[meta.k] = estimate[i];
        v[meta.k++] = se[i] * se[i];
    }
    if (meta.k == 0)
        meta.reason = "no center with an estimate and its variance";
    else
        pool(&meta, y, v, options);
    return meta;
}

double lob_logit(double p) {
    return p > 0 && p < 1 ? log(p) - log1p(-p) : NAN;
}

double lob_expit(double x) {
    return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}

LobMeta lob_meta_of_c(const double *c, const double *se, size_t k, const LobMetaOptions *options) {
    g_autofree double *y = g_new(double, k + 1);
    g_autofree double *s = g_new(double, k + 1);
    for (size_t i = 0; i < k; i++) {
        y[i] = lob_logit(c[i]);
        s[i] = se[i] / (c[i] * (1 - c[i]));
    }
    LobMeta meta = lob_meta(y, s, k, options);
    double *logits[] = {&meta.mu,
                        &meta.lower,
                        &meta.upper,
                        &meta.prediction_lower,
                        &meta.prediction_upper,
                        &meta.prediction_knha_lower,
                        &meta.prediction_knha_upper};
    for (size_t i = 0; i < G_N_ELEMENTS(logits); i++)
        *logits[i] = isnan(*logits[i]) ? NAN : lob_expit(*logits[i]);
    return meta;
}
