/* Do predicted risks agree with what was observed? And what are decisions by them worth? */
#include "stats/stats_internal.h"

#include <string.h>

/* Fewer events by the horizon than this: the ratio O/E alone. */
#define LEAST_EVENTS 20
#define CLIP 1e-10

static double weight_of(const LobFollowUp *data, size_t i) {
    return data->weight ? data->weight[i] : 1;
}

static void complementary_log_log(const double *risk, size_t n, double *out) {
    for (size_t i = 0; i < n; i++)
        out[i] = log(-log1p(-CLAMP(risk[i], CLIP, 1 - CLIP)));
}

/* Restricted cubic spline with 3 knots: x and its nonlinear part (Harrell). Equal knots leave the line. */
static size_t spline_columns(const double *x, size_t n, double *columns) {
    double a = lob_quantile(x, n, 0.1), b = lob_quantile(x, n, 0.5), c = lob_quantile(x, n, 0.9);
    if (!(a < b && b < c)) {
        memcpy(columns, x, n * sizeof *x);
        return 1;
    }
    double scale = (c - a) * (c - a);
    for (size_t i = 0; i < n; i++) {
        double u = fmax(x[i] - a, 0), v = fmax(x[i] - b, 0), w = fmax(x[i] - c, 0);
        columns[2 * i] = x[i];
        columns[2 * i + 1] =
            (u * u * u - v * v * v * (c - a) / (c - b) + w * w * w * (b - a) / (c - b)) / scale;
    }
    return 2;
}

/* Observed risk at t as a smooth function of the predicted one. false: the model could not be fitted. */
static bool smooth_risk(const LobFollowUp *data, const double *cloglog, double t, double *smooth) {
    LobFollowUp together = *data;
    together.stratum = NULL;
    g_autofree double *x = g_new(double, 2 * data->n + 1);
    LobCoxDesign design = {.x = x, .p = spline_columns(cloglog, data->n, x)};
    g_auto(LobCox) fit = {0};
    lob_cox_fit(&fit, &together, &design);
    if (fit.reason)
        return false;
    g_auto(LobBaseline) baseline = {0};
    lob_cox_baseline(&baseline, &fit, &together, &design);
    double h = lob_baseline_at(&baseline, 0, t);
    for (size_t i = 0; i < data->n; i++) {
        double eta = 0;
        for (size_t j = 0; j < design.p; j++)
            eta += isnan(fit.beta[j]) ? 0 : fit.beta[j] * x[i * design.p + j];
        smooth[i] = -expm1(-h * exp(eta));
    }
    return true;
}

static void summarise_smooth(LobCalibration *result, const LobFollowUp *data, const double *risk) {
    g_autofree double *gap = g_new(double, data->n + 1);
    double sum = 0, weights = 0;
    result->emax = 0;
    for (size_t i = 0; i < data->n; i++) {
        gap[i] = fabs(result->smooth[i] - risk[i]);
        sum += weight_of(data, i) * gap[i];
        weights += weight_of(data, i);
        result->emax = fmax(result->emax, gap[i]);
    }
    result->ici = sum / weights;
    result->e50 = lob_quantile(gap, data->n, 0.5);
    result->e90 = lob_quantile(gap, data->n, 0.9);
}

static LobEstimate slope_of(const LobFollowUp *data, const double *x) {
    const bool robust = data->weight || data->cluster;
    g_auto(LobCox) fit = {0};
    lob_cox_fit(&fit, data, &(LobCoxDesign){.p = 1, .x = x, .robust = robust});
    if (isnan(fit.beta[0]))
        return lob_not_available(fit.reason ? fit.reason : "all predictions are equal");
    LobEstimate slope = lob_normal_estimate(fit.beta[0], robust ? fit.robust_se[0] : fit.se[0]);
    slope.reason = fit.reason;
    return slope;
}

static LobEstimate ratio_estimate(double observed, double expected, double events) {
    if (!(expected > 0))
        return lob_not_available("no risk was predicted");
    if (!(events > 0))
        return (LobEstimate){observed / expected, NAN, NAN, NAN, "no event: no interval"};
    double se = 1 / sqrt(events), ratio = observed / expected;
    return (LobEstimate){ratio, se, ratio * exp(-LOB_Z95 * se), ratio * exp(LOB_Z95 * se), NULL};
}

void lob_calibration_at(LobCalibration *result, const LobFollowUp *data, const double *risk, double t) {
    *result =
        (LobCalibration){.observed = NAN, .expected = NAN, .ici = NAN, .e50 = NAN, .e90 = NAN, .emax = NAN};
    result->slope = result->oe = lob_not_available("beyond the last follow-up");
    g_auto(LobKm) km = {0};
    lob_km_fit(&km, data);
    double sum = 0, weights = 0;
    for (size_t i = 0; i < data->n; i++) {
        sum += weight_of(data, i) * risk[i];
        weights += weight_of(data, i);
        result->n_events += data->event[i] && data->time[i] <= t && weight_of(data, i) > 0;
    }
    result->expected = weights > 0 ? sum / weights : NAN;
    LobEstimate s = lob_km_at(&km, t);
    if (s.reason) {
        result->reason = s.reason;
        return;
    }
    result->observed = 1 - s.estimate;
    result->oe = ratio_estimate(result->observed, result->expected, (double)result->n_events);
    if (result->n_events < LEAST_EVENTS) {
        result->reason = "fewer than 20 events by the horizon: O/E alone";
        result->slope = lob_not_available(result->reason);
        return;
    }
    g_autofree double *cloglog = g_new(double, data->n + 1);
    complementary_log_log(risk, data->n, cloglog);
    result->slope = slope_of(data, cloglog);
    result->smooth = g_new(double, data->n + 1);
    if (smooth_risk(data, cloglog, t, result->smooth)) {
        summarise_smooth(result, data, risk);
    } else {
        g_clear_pointer(&result->smooth, g_free);
        result->reason = "the smooth curve could not be fitted";
    }
}

void lob_calibration_clear(LobCalibration *result) {
    g_free(result->smooth);
    *result = (LobCalibration){0};
}

LobEstimate lob_calibration_in_the_large(const LobFollowUp *data, const double *hazard) {
    double events = 0, expected = 0, count = 0;
    for (size_t i = 0; i < data->n; i++) {
        expected += weight_of(data, i) * hazard[i];
        events += data->event[i] ? weight_of(data, i) : 0;
        count += data->event[i] && weight_of(data, i) > 0;
    }
    return ratio_estimate(events, expected, count);
}

LobEstimate lob_calibration_slope(const LobFollowUp *data, const double *linear_predictor) {
    return slope_of(data, linear_predictor);
}

LobTest lob_d_calibration(const LobFollowUp *data, const double *own_survival, double *bins) {
    double count[10] = {0}, total = 0, chi2 = 0;
    for (size_t i = 0; i < data->n; i++) {
        double s = CLAMP(own_survival[i], 0, 1), w = weight_of(data, i);
        size_t bin = MIN((size_t)(s * 10), (size_t)9);
        total += w;
        if (data->event[i]) {
            count[bin] += w;
            continue;
        }
        /* A censored row lies anywhere below its own S, evenly. */
        count[bin] += s > 0 ? w * (s - (double)bin / 10) / s : w;
        for (size_t b = 0; b < bin; b++)
            count[b] += w * 0.1 / s;
    }
    for (size_t b = 0; b < 10; b++) {
        double expected = total / 10;
        chi2 += total > 0 ? (count[b] - expected) * (count[b] - expected) / expected : 0;
        if (bins)
            bins[b] = count[b];
    }
    return total > 0 ? lob_chi2_test(chi2, 9) : (LobTest){NAN, 9, NAN, "no rows"};
}

/* Kaplan-Meier of the rows that are marked. */
static void km_of_marked(LobKm *km, const LobFollowUp *data, const bool *marked) {
    g_autofree double *weight = g_new(double, data->n + 1);
    for (size_t i = 0; i < data->n; i++)
        weight[i] = marked[i] ? weight_of(data, i) : 0;
    LobFollowUp part = *data;
    part.weight = weight;
    lob_km_fit(km, &part);
}

size_t lob_calibration_groups(const LobFollowUp *data, const double *risk, double t, size_t n_groups,
                              LobCalibrationGroup *groups) {
    size_t n = data->n, made = 0;
    g_autofree uint32_t *order = lob_order_of(risk, n);
    g_autofree bool *marked = g_new(bool, n + 1);
    for (size_t begin = 0, end; begin < n; begin = end) {
        /* Ties stay together, so that the order of the rows cannot matter. */
        size_t group = begin * n_groups / n;
        for (end = begin + 1;
             end < n && (end * n_groups / n == group || risk[order[end]] == risk[order[end - 1]]);)
            end++;
        memset(marked, 0, n * sizeof *marked);
        double sum = 0, weights = 0;
        for (size_t i = begin; i < end; i++) {
            marked[order[i]] = true;
            sum += weight_of(data, order[i]) * risk[order[i]];
            weights += weight_of(data, order[i]);
        }
        g_auto(LobKm) km = {0};
        km_of_marked(&km, data, marked);
        LobEstimate s = lob_km_at(&km, t);
        groups[made++] =
            (LobCalibrationGroup){.predicted = sum / weights,
                                  .observed = {1 - s.estimate, s.se, 1 - s.upper, 1 - s.lower, s.reason},
                                  .n = end - begin,
                                  .events = lob_km_events_by(&km, t)};
    }
    return made;
}

static double net_benefit(double share, double observed, double threshold) {
    return share * (observed - (1 - observed) * threshold / (1 - threshold));
}

LobNetBenefit lob_net_benefit(const LobFollowUp *data, const double *risk, double t, double threshold) {
    LobNetBenefit result = {.threshold = threshold};
    g_autofree bool *marked = g_new(bool, data->n + 1);
    double flagged = 0, weights = 0;
    for (size_t i = 0; i < data->n; i++) {
        marked[i] = risk[i] >= threshold;
        result.flagged += marked[i];
        flagged += marked[i] ? weight_of(data, i) : 0;
        weights += weight_of(data, i);
    }
    g_auto(LobKm) of_flagged = {0}, of_all = {0};
    km_of_marked(&of_flagged, data, marked);
    lob_km_fit(&of_all, data);
    result.treat_all = net_benefit(1, 1 - lob_km_at(&of_all, t).estimate, threshold);
    if (flagged > 0)
        result.model = net_benefit(flagged / weights, 1 - lob_km_at(&of_flagged, t).estimate, threshold);
    return result;
}
