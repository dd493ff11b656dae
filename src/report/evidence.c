/* The statistics of held-out predictions that metrics.csv does not hold: at horizons, calibration, utility.
 * Per center; over the rows of all held-out centers, where predictions are probabilities and so share a
 * scale; and pooled over centers by random effects. */
#include "report/report_internal.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

LobEstimate lob_estimate_bare(double value, const char *reason) {
    return (LobEstimate){value, NAN, NAN, NAN, reason};
}

static const char *kept(LobPage *page, const char *text) {
    return text ? g_string_chunk_insert_const(page->strings, text) : "";
}

void lob_evidence_add(LobPage *page, const LobSample *s, const char *center, const char *metric,
                      double horizon, double events, LobEstimate value) {
    const double ends[] = {value.estimate, value.se, value.lower, value.upper};
    const bool finite = !isinf(ends[0]) && !isinf(ends[1]) && !isinf(ends[2]) && !isinf(ends[3]);
    if (!finite)
        value = lob_estimate_bare(NAN, value.reason ? value.reason : "infinite");
    const LobEvidence row = {.endpoint = kept(page, s->endpoint),
                             .model = kept(page, s->model),
                             .center = kept(page, center),
                             .metric = kept(page, metric),
                             .note = kept(page, value.reason),
                             .horizon = horizon,
                             .estimate = value.estimate,
                             .se = value.se,
                             .lower = value.lower,
                             .upper = value.upper,
                             .events = events,
                             .n = s->n};
    g_array_append_val(page->evidence, row);
}

const LobEvidence *lob_evidence_find(const LobPage *page, const char *endpoint, const char *model,
                                     const char *center, const char *metric, double horizon) {
    for (guint i = 0; i < page->evidence->len; i++) {
        const LobEvidence *e = &g_array_index(page->evidence, LobEvidence, i);
        if (strcmp(e->metric, metric) == 0 && strcmp(e->center, center) == 0 &&
            strcmp(e->model, model) == 0 && strcmp(e->endpoint, endpoint) == 0 &&
            (e->horizon == horizon || (isnan(e->horizon) && isnan(horizon))))
            return e;
    }
    return NULL;
}

/* ---- one scope: a center, or all rows ---- */

static double events_by(const LobSample *s, double t) {
    double events = 0;
    for (size_t i = 0; i < s->n; i++)
        events += s->event[i] && s->time[i] <= t;
    return events;
}

static double longest(const LobSample *s) {
    return s->spec->n_horizons ? s->spec->horizons[s->spec->n_horizons - 1] : INFINITY;
}

static void follow_up_rows(LobPage *page, const LobSample *s, const char *center) {
    const LobFollowUp data = lob_sample_follow_up(s, false);
    lob_evidence_add(page, s, center, "median_follow_up", NAN, s->events, lob_followup_median(&data));
    const LobFollowUp within = lob_sample_follow_up(s, true);
    lob_evidence_add(page, s, center, "uno_c", NAN, s->events, lob_uno_estimate(&within, s->lp, longest(s)));
    lob_evidence_add(page, s, center, "calibration_slope", NAN, s->events,
                     s->events < LOB_LEAST_CALIBRATED
                         ? lob_estimate_bare(NAN, "fewer than 20 events: O/E only")
                         : lob_calibration_slope(&within, s->lp));
}

/* Both need each patient's survival at the patient's own last day. */
static void own_survival_rows(LobPage *page, const LobSample *s, const char *center) {
    LobEstimate large = lob_estimate_bare(
        NAN, "predictions.csv has no columns s_own, event_own (S at each patient's own time)");
    LobEstimate d = large;
    bool whole = s->own != NULL;
    for (size_t i = 0; whole && i < s->n; i++)
        whole = !isnan(s->own[i]);
    if (s->own && !whole)
        large.reason = d.reason = "some patients have no prediction at their own time";
    if (whole) {
        LobFollowUp data = lob_sample_follow_up(s, false);
        data.event = s->own_event;
        g_autofree double *hazard = g_new(double, s->n + 1);
        for (size_t i = 0; i < s->n; i++)
            hazard[i] = -log(fmax(s->own[i], 1e-10));
        large = lob_calibration_in_the_large(&data, hazard);
        const LobTest test = lob_d_calibration(&data, s->own, NULL);
        d = lob_estimate_bare(test.p,
                              test.reason ? test.reason : "descriptive: conservative under censoring");
    }
    const bool all = strcmp(center, LOB_ALL) == 0;
    if (s->own || all) /* what is missing everywhere is said once */
        lob_evidence_add(page, s, center, "calibration_in_the_large", NAN, s->events, large);
    if (all)
        lob_evidence_add(page, s, center, "d_calibration_p", NAN, s->events, d);
}

static void survival_rows(LobPage *page, const LobSample *s, const char *center) {
    const bool all = strcmp(center, LOB_ALL) == 0;
    const LobFollowUp data = lob_sample_follow_up(s, false);
    follow_up_rows(page, s, center);
    own_survival_rows(page, s, center);
    for (size_t h = 0; h < s->spec->n_horizons; h++) {
        const double t = s->spec->horizons[h], events = events_by(s, t);
        const double *risk = lob_sample_risk(s, h);
        LobNamedEstimate rows[LOB_HORIZON_ROWS], benefit[LOB_NET_BENEFIT_ROWS];
        lob_horizon_rows(&data, s->lp, risk, t, rows);
        for (size_t i = 0; i < LOB_HORIZON_ROWS; i++)
            if (!all ||
                strcmp(rows[i].name, "auc") != 0) /* every center's model has its own scale of scores */
                lob_evidence_add(page, s, center, rows[i].name, t, events, rows[i].value);
        if (!all || !risk)
            continue;
        lob_net_benefit_rows(&data, risk, t, benefit); /* the figure has the whole curve */
        for (size_t i = 0; i < LOB_NET_BENEFIT_ROWS; i++)
            lob_evidence_add(page, s, center, benefit[i].name, t, events, benefit[i].value);
    }
}

static void binary_rows(LobPage *page, const LobSample *s, const char *center) {
    if (!s->probability)
        return;
    const LobBinaryCalibration c = lob_calibration_binary(s->event, s->probability, s->n);
    lob_evidence_add(page, s, center, "brier", NAN, s->events, lob_estimate_bare(c.brier, c.reason));
    lob_evidence_add(page, s, center, "calibration_in_the_large", NAN, s->events, c.intercept);
    lob_evidence_add(page, s, center, "calibration_slope", NAN, s->events,
                     s->events < LOB_LEAST_CALIBRATED ? lob_estimate_bare(NAN, "fewer than 20 events")
                                                      : c.slope);
}

/* ---- over centers ---- */

typedef enum { PLAIN, LOGIT, LOGARITHM } Scale;

static void pool(LobPage *page, const LobSample *s, const char *metric, double horizon, Scale scale) {
    const LobCohort *cohort = page->cohort;
    g_autofree double *estimate = g_new(double, cohort->n_centers), *se = g_new(double, cohort->n_centers);
    size_t k = 0;
    for (size_t c = 0; c < cohort->n_centers; c++) {
        const LobEvidence *e =
            lob_evidence_find(page, s->endpoint, s->model, cohort->centers[c], metric, horizon);
        if (!e || isnan(e->estimate) || isnan(e->se))
            continue;
        estimate[k] = scale == LOGARITHM ? log(e->estimate) : e->estimate;
        se[k++] = e->se;
    }
    const LobMetaOptions options = {.tau2 = LOB_TAU2_REML, .hartung_knapp = true, .floor = true};
    LobMeta m =
        scale == LOGIT ? lob_meta_of_c(estimate, se, k, &options) : lob_meta(estimate, se, k, &options);
    if (scale == LOGARITHM) {
        m.mu = exp(m.mu);
        m.lower = exp(m.lower);
        m.upper = exp(m.upper);
        m.prediction_lower = exp(m.prediction_lower);
        m.prediction_upper = exp(m.prediction_upper);
    }
    g_autoptr(GString) how = g_string_new(NULL);
    g_string_printf(how, "random effects (REML, Hartung-Knapp), k = %zu", m.k);
    if (!isnan(m.tau2))
        g_string_append_printf(how, ", tau2 = %.3g", m.tau2);
    if (m.reason)
        g_string_append_printf(how, "; %s", m.reason);
    const double events = isnan(horizon) ? s->events : events_by(s, horizon);
    lob_evidence_add(page, s, LOB_POOLED, metric, horizon, events,
                     (LobEstimate){m.mu, m.se, m.lower, m.upper, how->str});
    lob_evidence_add(page, s, LOB_NEW, metric, horizon, events,
                     (LobEstimate){m.mu, NAN, m.prediction_lower, m.prediction_upper,
                                   m.k < 3 ? "fewer than 3 centers: no prediction interval"
                                           : "95 % prediction interval for one more center"});
}

static void pool_all(LobPage *page, const LobSample *s) {
    if (s->spec->kind != LOB_ENDPOINT_SURVIVAL)
        return;
    pool(page, s, "uno_c", NAN, LOGIT);
    pool(page, s, "calibration_slope", NAN, PLAIN);
    for (size_t h = 0; h < s->spec->n_horizons; h++) {
        pool(page, s, "auc", s->spec->horizons[h], LOGIT);
        pool(page, s, "observed_expected", s->spec->horizons[h], LOGARITHM);
    }
}

static void scope_rows(LobPage *page, const LobSample *s, const char *center) {
    if (s->n == 0)
        return;
    if (s->spec->kind == LOB_ENDPOINT_SURVIVAL)
        survival_rows(page, s, center);
    else
        binary_rows(page, s, center);
}

bool lob_evidence_compute(LobPage *page, GError **err) {
    if (!page->predictions)
        return true;
    for (size_t e = 0; e < page->cohort->study->n_endpoints; e++)
        for (guint m = 0; m < page->models->len; m++) {
            g_auto(LobSample) all = {0};
            if (!lob_sample_read(&all, page, e, page->models->pdata[m], err))
                return false;
            if (m == 0 && all.repeats > 1)
                lob_page_caveat(
                    page,
                    "Endpoint %s: of %zu repeats of the folds, evidence.csv and the figures use the "
                    "first; metrics.csv counts all.",
                    all.endpoint, all.repeats);
            for (uint32_t c = 0; c < page->cohort->n_centers; c++) {
                g_auto(LobSample) one = {0};
                lob_sample_of_center(&one, &all, c);
                scope_rows(page, &one, page->cohort->centers[c]);
            }
            scope_rows(page, &all, LOB_ALL);
            if (all.n)
                pool_all(page, &all);
        }
    return true;
}

/* ---- saved ---- */

bool lob_evidence_save(const LobPage *page, GError **err) {
    g_autoptr(LobCsv) csv =
        lob_csv_new((const char *[]){"endpoint", "model", "center", "horizon", "metric", "estimate", "lower",
                                     "upper", "n", "events", "note", NULL});
    for (guint i = 0; i < page->evidence->len; i++) {
        const LobEvidence *e = &g_array_index(page->evidence, LobEvidence, i);
        lob_csv_text(csv, e->endpoint);
        lob_csv_text(csv, e->model);
        lob_csv_text(csv, e->center);
        lob_csv_number(csv, e->horizon);
        lob_csv_text(csv, e->metric);
        lob_csv_number(csv, e->estimate);
        lob_csv_number(csv, e->lower);
        lob_csv_number(csv, e->upper);
        lob_csv_integer(csv, (int64_t)e->n);
        lob_csv_number(csv, e->events);
        lob_csv_text(csv, e->note);
        lob_csv_end_row(csv);
    }
    g_autofree char *path = g_build_filename(page->out, "evidence.csv", NULL);
    return lob_csv_save(csv, path, err);
}

static json_t *number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

bool lob_evidence_save_json(const LobPage *page, GError **err) {
    json_t *rows = json_array();
    int bad = rows == NULL;
    for (guint i = 0; !bad && i < page->evidence->len; i++) {
        const LobEvidence *e = &g_array_index(page->evidence, LobEvidence, i);
        json_t *row =
            json_pack("{s:s, s:s, s:s, s:o, s:s, s:o, s:o, s:o, s:I, s:o, s:s}", "endpoint", e->endpoint,
                      "model", e->model, "center", e->center, "horizon", number(e->horizon), "metric",
                      e->metric, "estimate", number(e->estimate), "lower", number(e->lower), "upper",
                      number(e->upper), "n", (json_int_t)e->n, "events", number(e->events), "note", e->note);
        bad = row == NULL || json_array_append_new(rows, row) != 0;
    }
    g_autofree char *text = bad ? NULL : json_dumps(rows, JSON_INDENT(1));
    json_decref(rows);
    g_autofree char *path = g_build_filename(page->out, "evidence.json", NULL);
    if (!text)
        return lob_fail(err, LOB_ERROR_INTERNAL, "evidence.json: text that is not UTF-8");
    return lob_file_replace(path, text, strlen(text), err);
}
