/* The arms side by side: what was seen, and after weighting for what was measured. Descriptive: who got which
 * treatment was not drawn by lot. */
#include "report/report_internal.h"

#include <math.h>
#include <string.h>

static bool curves(LobPage *page, const LobSample *s, GError **err) {
    const LobStudy *study = page->cohort->study;
    g_autofree const char **names = g_new0(const char *, study->n_arms + 1);
    for (size_t a = 0; a < study->n_arms; a++)
        names[a] = study->arms[a].name;
    g_autofree char *title =
        g_strdup_printf("Kaplan-Meier curves by arm, endpoint %s: confounded", s->endpoint);
    g_autofree char *csv = g_strdup_printf("km_arms_%zu", s->index + 1);
    const LobCurves c = {.sample = s,
                         .group = s->arm,
                         .names = names,
                         .n_groups = study->n_arms,
                         .title = title,
                         .desc = "Event-free share over time by the treatment received."};
    lob_html_heading(page->html, title);
    lob_figure_begin(page);
    if (!lob_curves(page, &c, csv, err))
        return false;
    lob_figure_end(page, csv,
                   "Descriptive only: patients were not randomised, so differences between these curves mix "
                   "treatment and indication. Arm: what was started by the landmark.");
    return true;
}

static bool weighted_curves(LobPage *page, const LobPropensity *r, GError **err) {
    g_autofree const char **names = g_new0(const char *, r->n_arms + 1);
    for (size_t a = 0; a < r->n_arms; a++)
        names[a] = page->cohort->study->arms[r->arm_of[a]].name;
    g_autofree char *title =
        g_strdup_printf("Overlap-weighted Kaplan-Meier curves by arm, endpoint %s", r->sample.endpoint);
    g_autofree char *csv = g_strdup_printf("km_arms_weighted_%zu", r->sample.index + 1);
    const LobCurves c = {.sample = &r->sample,
                         .group = r->arm,
                         .names = names,
                         .n_groups = r->n_arms,
                         .weight = r->weight,
                         .title = title,
                         .desc = "Event-free share over time by arm, after overlap weighting."};
    lob_html_heading(page->html, title);
    lob_figure_begin(page);
    if (!lob_curves(page, &c, csv, err))
        return false;
    lob_figure_end(page, csv,
                   "Weighted for the covariates and the center (multinomial model, ridge 1 on standardised "
                   "columns, missing values as the median; overlap weights). What was not measured still "
                   "confounds. No bands: the curves' variance would need the propensity model refitted.");
    return true;
}

/* ---- balance ---- */

static void love_row(LobPlot *plot, size_t i, const char *name, double before, double after) {
    const double y = (double)i + 0.5;
    g_autofree char *label = lob_plot_fit(name, plot->left - 16);
    lob_plot_text(plot, 8, lob_plot_y(plot, y) + 4, "start", "", label);
    lob_plot_line(plot, fmin(before, plot->x1), y, fmin(after, plot->x1), y, "grid");
    lob_plot_dot(plot, fmin(before, plot->x1), y, 5, "d1");
    lob_plot_dot(plot, fmin(after, plot->x1), y, 4.5, "d0");
}

static bool balance(LobPage *page, const LobPropensity *r, GError **err) {
    const size_t n = r->sample.n, k = r->n_covariates;
    g_autofree double *before = g_new(double, k + 1), *after = g_new(double, k + 1);
    double most = 0.3;
    bool without_scale = false;
    for (size_t v = 0; v < k; v++) {
        before[v] = lob_max_smd(r->covariate + v * n, r->arm, n, r->n_arms, NULL);
        after[v] = lob_max_smd(r->covariate + v * n, r->arm, n, r->n_arms, r->weight);
        most = fmax(most, fmax(isnan(before[v]) ? 0 : before[v], isnan(after[v]) ? 0 : after[v]));
        without_scale = without_scale || isnan(before[v]);
    }
    g_autofree char *title =
        g_strdup_printf("Balance of covariates between arms, endpoint %s", r->sample.endpoint);
    g_autofree char *csv = g_strdup_printf("balance_%zu", r->sample.index + 1);
    LobPlot plot = {.left = 150,
                    .right = 150,
                    .top = 12,
                    .bottom = 46,
                    .x0 = 0,
                    .x1 = most * 1.05,
                    .y0 = (double)k,
                    .y1 = 0};
    double ticks[8];
    lob_html_heading(page->html, title);
    lob_figure_begin(page);
    lob_plot_begin(&plot, page->html, 620, 66 + 24 * (double)k, title,
                   "Largest standardised mean difference between arms before and after weighting.");
    lob_plot_x_axis(&plot, ticks, lob_plot_ticks(0, plot.x1, ticks, 6), 1,
                    "largest standardised mean difference");
    lob_plot_line(&plot, 0.1, plot.y0, 0.1, plot.y1, "ref");
    for (size_t v = 0; v < k; v++)
        if (!isnan(before[v]) && !isnan(after[v]))
            love_row(&plot, v, r->names[v], before[v], after[v]);
    lob_html_printf(page->html,
                    "<circle cx=\"490\" cy=\"20\" r=\"5\" class=\"d1\"/><circle cx=\"490\" cy=\"42\" "
                    "r=\"4.5\" class=\"d0\"/>\n");
    lob_plot_text(&plot, 502, 24, "start", "", "before");
    lob_plot_text(&plot, 502, 46, "start", "", "after weighting");
    lob_plot_end(&plot);
    g_autofree char *caption = g_strdup_printf(
        "Between the compared arms, n %zu. Dashed: 0.1, below which a difference is called small.%s", n,
        without_scale ? " A covariate that differs between arms and varies within none has no such "
                        "difference and is not drawn: the arms have nobody in common by it."
                      : "");
    lob_figure_end(page, csv, caption);
    LobSheet *sheet =
        lob_sheet_new(page, title, (const char *[]){"covariate", "#before", "#after", NULL}, "%s", csv);
    for (size_t v = 0; v < k; v++) {
        lob_sheet_text(sheet, r->names[v]);
        lob_sheet_number(sheet, before[v], 3);
        lob_sheet_number(sheet, after[v], 3);
    }
    return lob_sheet_end(sheet, err);
}

static bool sizes(LobPage *page, const LobPropensity *r, GError **err) {
    LobSheet *sheet = lob_sheet_new(page, "Effective sizes after weighting",
                                    (const char *[]){"arm", "#patients", "#events", "#effective size",
                                                     "#smallest propensity of any patient",
                                                     "#share of patients with a propensity below 0.05", NULL},
                                    "overlap_%zu", r->sample.index + 1);
    for (uint32_t a = 0; a < r->n_arms; a++) {
        double n = 0, events = 0;
        for (size_t i = 0; i < r->sample.n; i++) {
            n += r->arm[i] == a;
            events += r->arm[i] == a && r->sample.event[i];
        }
        lob_sheet_text(sheet, page->cohort->study->arms[r->arm_of[a]].name);
        lob_sheet_number(sheet, n, 0);
        lob_sheet_number(sheet, events, 0);
        lob_sheet_number(sheet, r->ess[a], 1);
        lob_sheet_number(sheet, r->positivity.least, 3);
        lob_sheet_number(sheet, r->positivity.share_weak, 3);
        if (r->ess[a] < LOB_LEAST_ESS)
            lob_page_caveat(page, "Endpoint %s: after weighting, arm %s has an effective size below 50.",
                            r->sample.endpoint, page->cohort->study->arms[r->arm_of[a]].name);
    }
    return lob_sheet_end(sheet, err);
}

/* ---- hazard ratios and interaction ---- */

static LobEstimate coefficient(const LobPropensity *r, uint32_t a, const double *weight) {
    const size_t n = r->sample.n, p = r->n_arms - 1;
    g_autofree double *x = g_new0(double, n *p + 1);
    for (size_t i = 0; i < n; i++)
        if (r->arm[i] > 0)
            x[i * p + r->arm[i] - 1] = 1;
    LobFollowUp data = lob_sample_follow_up(&r->sample, true);
    data.weight = weight;
    g_auto(LobCox) fit = {0};
    lob_cox_fit(&fit, &data, &(LobCoxDesign){.p = p, .x = x, .robust = true});
    const double z = lob_normal_quantile(0.975), beta = fit.beta[a - 1];
    const double se = fit.robust_se ? fit.robust_se[a - 1] : NAN;
    if (fit.reason || fit.separated)
        return lob_estimate_bare(NAN, fit.reason ? fit.reason : "separated");
    return (LobEstimate){exp(beta), se, exp(beta - z * se), exp(beta + z * se), NULL};
}

static bool hazard_ratios(LobPage *page, const LobPropensity *r, GError **err) {
    const LobStudy *study = page->cohort->study;
    LobSheet *sheet = lob_sheet_new(page, "Hazard ratios between arms, stratified by center (descriptive)",
                                    (const char *[]){"contrast", "adjustment", "#hazard ratio", "#lower",
                                                     "#upper", "#E-value", "#n", "#events", NULL},
                                    "arms_hazard_%zu", r->sample.index + 1);
    for (uint32_t a = 1; a < r->n_arms; a++) {
        g_autofree char *contrast =
            g_strdup_printf("%s / %s", study->arms[r->arm_of[a]].name, study->arms[r->arm_of[0]].name);
        for (int weighted = 0; weighted < 2; weighted++) {
            const LobEstimate hr = coefficient(r, a, weighted ? r->weight : NULL);
            lob_sheet_text(sheet, contrast);
            lob_sheet_text(sheet, weighted ? "overlap weights" : "none");
            lob_sheet_number(sheet, hr.estimate, 2);
            lob_sheet_number(sheet, hr.lower, 2);
            lob_sheet_number(sheet, hr.upper, 2);
            lob_sheet_number(sheet, isnan(hr.estimate) ? NAN : lob_e_value(hr.estimate, true), 2);
            lob_sheet_number(sheet, (double)r->sample.n, 0);
            lob_sheet_number(sheet, r->sample.events, 0);
        }
    }
    return lob_sheet_end(sheet, err);
}

/* Mean 0 and SD 1 within each center: the folds' scores differ in scale. */
static void standardise(const LobSample *s, size_t n_centers, double *v) {
    for (uint32_t c = 0; c < n_centers; c++) {
        double n = 0, sum = 0, square = 0;
        for (size_t i = 0; i < s->n; i++)
            if (s->center[i] == c) {
                n++;
                sum += v[i];
            }
        for (size_t i = 0; i < s->n; i++)
            if (s->center[i] == c) {
                v[i] -= sum / n;
                square += v[i] * v[i];
            }
        const double sd = n > 1 ? sqrt(square / (n - 1)) : 0;
        for (size_t i = 0; i < s->n; i++)
            if (s->center[i] == c)
                v[i] = sd > 0 ? v[i] / sd : 0;
    }
}

static void interaction_rows(LobPage *page, const LobPropensity *r, double *modifier, const char *what,
                             const char *note, LobSheet *sheet) {
    standardise(&r->sample, page->cohort->n_centers, modifier);
    const LobFollowUp data = lob_sample_follow_up(&r->sample, true);
    g_auto(LobInteraction) test = {0};
    lob_interaction(&test, &data, r->arm, r->n_arms, modifier, NULL, 0);
    for (uint32_t a = 1; a < r->n_arms; a++) {
        const LobEstimate e = test.interaction[a - 1];
        lob_sheet_text(sheet, what);
        lob_sheet_text(sheet, page->cohort->study->arms[r->arm_of[a]].name);
        lob_sheet_number(sheet, e.estimate, 3);
        lob_sheet_number(sheet, e.lower, 3);
        lob_sheet_number(sheet, e.upper, 3);
        lob_sheet_p(sheet, 2 * lob_normal_cdf(-fabs(e.estimate / e.se)));
        lob_sheet_number(sheet, (double)r->sample.n, 0);
        lob_sheet_number(sheet, r->sample.events, 0);
        lob_sheet_text(sheet, test.reason ? test.reason : e.reason ? e.reason : note);
    }
}

/* The pre-specified biomarker, where the patients table has it. */
static bool biomarker(const LobPage *page, const LobPropensity *r, double *value, const char **name,
                      GError **err) {
    static const char *const names[] = {"lymphocyte_density", "immune_score"};
    const LobTable *t = page->cohort->patient_table;
    int column = -1;
    *name = NULL;
    for (size_t i = 0; t && i < G_N_ELEMENTS(names) && column < 0; i++) {
        column = lob_table_find(t, names[i]);
        *name = column >= 0 ? names[i] : NULL;
    }
    for (size_t i = 0; column >= 0 && i < r->sample.n; i++) {
        const uint32_t p = r->sample.patient[i];
        if (p == LOB_NO_INDEX || !lob_table_number(t, page->cohort->patients[p].row, column, &value[i], err))
            return p == LOB_NO_INDEX ? lob_fail(err, LOB_ERROR_INPUT, "predictions.csv: unknown patient")
                                     : false;
        if (isnan(value[i]))
            *name = NULL;
    }
    return true;
}

static bool interaction(LobPage *page, const LobPropensity *r, GError **err) {
    g_autofree double *value = g_new(double, r->sample.n + 1);
    const char *name;
    if (!biomarker(page, r, value, &name, err))
        return false;
    LobSheet *sheet = lob_sheet_new(
        page, "Does the arm's hazard ratio change with a score? Log hazard ratio per SD within centers",
        (const char *[]){"score", "arm", "#interaction", "#lower", "#upper", "#p", "#n", "#events", "note",
                         NULL},
        "interaction_%zu", r->sample.index + 1);
    if (name)
        interaction_rows(page, r, value, name, "pre-specified, one degree of freedom a contrast", sheet);
    for (size_t i = 0; i < r->sample.n; i++)
        value[i] = r->sample.lp[i];
    interaction_rows(page, r, value, "predicted risk", "exploratory, not adjusted; no claim rests on it",
                     sheet);
    if (!lob_sheet_end(sheet, err))
        return false;
    if (!name)
        g_string_append(
            page->html,
            "<p class=\"note\">The pre-specified biomarker interaction (lymphocyte score with arm) is "
            "not available: the patients table has no complete column lymphocyte_density or "
            "immune_score.</p>\n");
    return true;
}

static bool arms_of_endpoint(LobPage *page, size_t e, GError **err) {
    g_auto(LobSample) s = {0};
    if (!lob_sample_read(&s, page, e, page->cohort->study->model.kind, err))
        return false;
    if (s.n == 0)
        return true;
    if (!curves(page, &s, err))
        return false;
    g_auto(LobPropensity) r = {0};
    lob_propensity(&r, page, &s);
    if (r.reason) {
        g_string_append(page->html, "<p>Weighted comparison: not estimable, ");
        lob_html_text(page->html, r.reason);
        g_string_append(page->html, ".</p>\n");
        return true;
    }
    return weighted_curves(page, &r, err) && balance(page, &r, err) && sizes(page, &r, err) &&
           hazard_ratios(page, &r, err) && interaction(page, &r, err);
}

bool lob_page_arms(LobPage *page, GError **err) {
    const LobStudy *study = page->cohort->study;
    if (!page->predictions || !study->arm_column)
        return true;
    lob_html_section(page->html, "arms", "Treatment arms",
                     "What happened in each arm. Treatment was chosen by physicians, so nothing here is the "
                     "effect of a treatment; arms with fewer than 30 events are shown but not compared.");
    for (size_t e = 0; e < study->n_endpoints; e++)
        if (lob_study_immortal_time(study, e))
            lob_page_caveat(page, "Endpoint %s: %s.", study->endpoints[e].name,
                            lob_study_immortal_time(study, e));
    for (size_t e = 0; e < study->n_endpoints; e++)
        if (study->endpoints[e].kind == LOB_ENDPOINT_SURVIVAL && !arms_of_endpoint(page, e, err))
            return false;
    lob_html_section_end(page->html);
    return true;
}
