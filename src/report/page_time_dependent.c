/* Discrimination at the horizons: ROC curves, a line a held-out center, and the table of AUC and Uno's C. */
#include "report/report_internal.h"

#include <math.h>
#include <string.h>

#define MOST_NAMED 6

static void save_roc(LobCsv *csv, const char *center, const LobRoc *roc) {
    for (size_t i = 0; i < roc->n; i++) {
        lob_csv_text(csv, center);
        lob_csv_number(csv, isfinite(roc->threshold[i]) ? roc->threshold[i] : NAN);
        lob_csv_number(csv, roc->sensitivity[i]);
        lob_csv_number(csv, 1 - roc->specificity[i]);
        lob_csv_end_row(csv);
    }
}

static void key_of_center(LobPage *page, LobPlot *plot, const LobSample *all, uint32_t c, double t,
                          size_t line, const char *css) {
    const char *center = page->cohort->centers[c];
    const LobEvidence *auc = lob_evidence_find(page, all->endpoint, all->model, center, "auc", t);
    g_autofree char *name = lob_plot_fit(center, 92);
    g_autofree char *text =
        auc ? g_strdup_printf("%s %.2f, n %zu, events %g", name, auc->estimate, auc->n, auc->events)
            : g_strdup(name);
    lob_plot_key(plot, lob_plot_x(plot, 1) + 14, plot->top + 14 + 20 * (double)line, css, text);
}

static bool roc_figure(LobPage *page, const LobSample *all, size_t h, GError **err) {
    const LobCohort *cohort = page->cohort;
    const double t = all->spec->horizons[h];
    g_autofree char *title =
        g_strdup_printf("ROC at %g days, endpoint %s, model %s", t, all->endpoint, all->model);
    g_autofree char *name = g_strdup_printf("roc_%zu_%g", all->index + 1, t);
    g_autoptr(LobCsv) csv =
        lob_csv_new((const char *[]){"center", "threshold", "sensitivity", "false_positive_rate", NULL});
    GString *whole = page->html, *svg = g_string_new(NULL);
    LobPlot plot = {.left = 54, .right = 275, .top = 12, .bottom = 46, .x0 = 0, .x1 = 1, .y0 = 0, .y1 = 1};
    const double ticks[] = {0, 0.2, 0.4, 0.6, 0.8, 1};
    lob_plot_begin(&plot, svg, 645, 370, title, "Sensitivity against false positive rate, a line a center.");
    lob_plot_y_axis(&plot, ticks, 6, 1, "sensitivity");
    lob_plot_x_axis(&plot, ticks, 6, 1, "1 - specificity");
    lob_plot_line(&plot, 0, 0, 1, 1, "ref");
    size_t drawn = 0;
    for (uint32_t c = 0; c < cohort->n_centers; c++) {
        g_auto(LobSample) s = {0};
        lob_sample_of_center(&s, all, c);
        const LobFollowUp data = lob_sample_follow_up(&s, false);
        g_auto(LobRoc) roc = {0};
        const LobEvidence *auc =
            lob_evidence_find(page, all->endpoint, all->model, cohort->centers[c], "auc", t);
        if (!auc || isnan(auc->estimate) || !lob_roc_at(&roc, &data, s.lp, t))
            continue;
        g_autofree double *fpr = g_new(double, roc.n + 1);
        for (size_t i = 0; i < roc.n; i++)
            fpr[i] = 1 - roc.specificity[i];
        g_autofree char *css =
            cohort->n_centers > MOST_NAMED ? g_strdup("s4 thin") : g_strdup_printf("s%u", c);
        lob_plot_path(&plot, fpr, roc.sensitivity, roc.n, false, css);
        if (cohort->n_centers <= MOST_NAMED)
            key_of_center(page, &plot, all, c, t, drawn, css);
        save_roc(csv, cohort->centers[c], &roc);
        drawn++;
    }
    lob_plot_end(&plot);
    if (drawn == 0) {
        g_string_free(svg, TRUE);
        lob_html_printf(whole,
                        "<p>ROC at %g days: no center has five patients with the event by then and five "
                        "followed longer without.</p>\n",
                        t);
        return true;
    }
    lob_figure_begin(page);
    g_string_append(whole, svg->str);
    g_string_free(svg, TRUE);
    lob_figure_end(
        page, name,
        lob_page_either(page,
                        "Cumulative cases, dynamic controls; censoring by inverse probability weights within "
                        "the center. Beside the names: AUC, patients, events by then. A line a center: the "
                        "models of different folds have different scales.",
                        "Cumulative cases, dynamic controls; censoring by inverse probability weights within "
                        "the center. Beside the names: AUC, patients, events by then. A line a center."));
    return lob_page_save_data(page, csv, name, err);
}

static void evidence_row(LobSheet *sheet, const LobEvidence *e, const char *what, int decimals) {
    lob_sheet_text(sheet, e->model);
    lob_sheet_text(sheet, e->center);
    lob_sheet_text(sheet, what);
    lob_sheet_number(sheet, e->horizon, 0);
    lob_sheet_number(sheet, e->estimate, decimals);
    lob_sheet_number(sheet, e->lower, decimals);
    lob_sheet_number(sheet, e->upper, decimals);
    lob_sheet_number(sheet, (double)e->n, 0);
    lob_sheet_number(sheet, e->events, 0);
    lob_sheet_text(sheet, e->note);
}

static bool table(LobPage *page, const char *endpoint, size_t e, GError **err) {
    g_autofree char *caption =
        g_strdup_printf("AUC at the horizons, Uno's C and median follow-up, endpoint %s", endpoint);
    LobSheet *sheet =
        lob_sheet_new(page, caption,
                      (const char *[]){"model", "center", "metric", "#horizon, days", "#estimate", "#lower",
                                       "#upper", "#n", "#events", "note", NULL},
                      "time_dependent_%zu", e + 1);
    for (guint i = 0; i < page->evidence->len; i++) {
        const LobEvidence *row = &g_array_index(page->evidence, LobEvidence, i);
        const bool follow_up = strcmp(row->metric, "median_follow_up") == 0;
        if (strcmp(row->endpoint, endpoint) != 0 ||
            (follow_up && strcmp(row->model, page->models->pdata[0]) != 0))
            continue;
        if (strcmp(row->metric, "auc") == 0)
            evidence_row(sheet, row, "AUC", 3);
        else if (strcmp(row->metric, "uno_c") == 0)
            evidence_row(sheet, row, "Uno's C", 3);
        else if (follow_up)
            evidence_row(sheet, row, "median follow-up, days", 0);
    }
    return lob_sheet_end(sheet, err);
}

bool lob_page_time_dependent(LobPage *page, GError **err) {
    const LobStudy *study = page->cohort->study;
    for (size_t e = 0; page->predictions && e < study->n_endpoints; e++) {
        g_auto(LobSample) all = {0};
        if (study->endpoints[e].kind != LOB_ENDPOINT_SURVIVAL)
            continue;
        if (!lob_sample_read(&all, page, e, study->model.kind, err))
            return false;
        if (all.n == 0)
            continue;
        lob_html_heading(page->html, "Discrimination at the horizons");
        for (size_t h = 0; h < all.spec->n_horizons; h++)
            if (!roc_figure(page, &all, h, err))
                return false;
        if (!table(page, all.endpoint, e, err))
            return false;
    }
    return true;
}
