/* Outcome of held-out patients by predicted risk; the cut is each fold's training median. */
#include "report/report_internal.h"

#include <math.h>

static const char *const group_names[] = {"low", "high"};

/* The log-rank test and the hazard ratio between the groups, both within centers. */
static bool compare(LobPage *page, const LobSample *s, const uint32_t *group, GError **err) {
    const LobFollowUp data = lob_sample_follow_up(s, true);
    g_auto(LobLogRank) test = {0};
    lob_log_rank(&test, &data, group, 2);
    g_autofree double *x = g_new(double, s->n + 1);
    for (size_t i = 0; i < s->n; i++)
        x[i] = group[i];
    g_auto(LobCox) fit = {0};
    lob_cox_fit(&fit, &data, &(LobCoxDesign){.p = 1, .x = x});
    const double z = lob_normal_quantile(0.975), beta = fit.beta[0], se = fit.se[0];
    LobSheet *sheet =
        lob_sheet_new(page, "High against low risk, stratified by center",
                      (const char *[]){"comparison", "#hazard ratio", "#lower", "#upper",
                                       "#log-rank chi-squared", "#df", "#p", "#n", "#events", "note", NULL},
                      "risk_groups_test_%zu", s->index + 1);
    const double numbers[] = {exp(beta), exp(beta - z * se), exp(beta + z * se)};
    lob_sheet_text(sheet, "high / low");
    for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++)
        lob_sheet_number(sheet, fit.separated ? NAN : numbers[i], 2);
    lob_sheet_number(sheet, test.test.statistic, 2);
    lob_sheet_number(sheet, test.test.df, 0);
    lob_sheet_p(sheet, test.test.p);
    lob_sheet_number(sheet, (double)s->n, 0);
    lob_sheet_number(sheet, s->events, 0);
    lob_sheet_text(sheet, fit.reason         ? fit.reason
                          : test.test.reason ? test.test.reason
                          : isnan(beta)      ? "all patients are in one group"
                                             : "conditional on the trained models");
    return lob_sheet_end(sheet, err);
}

static bool groups_of_endpoint(LobPage *page, size_t e, GError **err) {
    g_auto(LobSample) s = {0};
    if (!lob_sample_read(&s, page, e, page->cohort->study->model.kind, err))
        return false;
    if (s.n == 0) {
        g_string_append(page->html, "<p>No held-out patient has a prediction.</p>");
        return true;
    }
    g_autofree uint32_t *group = g_new(uint32_t, s.n);
    for (size_t i = 0; i < s.n; i++)
        group[i] = s.high[i];
    g_autofree char *title = g_strdup_printf("Kaplan-Meier curves by risk group, endpoint %s", s.endpoint);
    g_autofree char *csv = g_strdup_printf("km_risk_%zu", e + 1);
    lob_html_heading(page->html, title);
    lob_figure_begin(page);
    const LobCurves curves = {.sample = &s,
                              .group = group,
                              .names = group_names,
                              .n_groups = 2,
                              .title = title,
                              .desc =
                                  "Event-free share over time of held-out patients of low and high risk."};
    if (!lob_curves(page, &curves, csv, err))
        return false;
    lob_figure_end(
        page, csv,
        lob_page_either(page,
                        "Held-out patients of all centers. The cut between groups is the median of "
                        "each fold's training patients, never of the patients shown. Bands: 95 % "
                        "intervals (log-log).",
                        "Patients of all centers. The cut between groups is the model file's: the "
                        "median of its training patients, never of the patients shown. Bands: 95 % "
                        "intervals (log-log)."));
    return compare(page, &s, group, err) && lob_page_competing(page, &s, err);
}

bool lob_page_risk_groups(LobPage *page, GError **err) {
    const LobStudy *study = page->cohort->study;
    bool any = false;
    for (size_t e = 0; e < study->n_endpoints; e++)
        any = any || study->endpoints[e].kind == LOB_ENDPOINT_SURVIVAL;
    if (!page->predictions || !any)
        return true;
    lob_html_section(page->html, "survival", "Outcome by risk group",
                     lob_page_either(page, "Held-out patients of all centers, by predicted risk.",
                                     "Patients of all centers, by predicted risk and the model's own cut."));
    for (size_t e = 0; e < study->n_endpoints; e++)
        if (study->endpoints[e].kind == LOB_ENDPOINT_SURVIVAL && !groups_of_endpoint(page, e, err))
            return false;
    lob_html_section_end(page->html);
    return true;
}
