/* Would decisions by the model do more good than treating everybody or nobody? Decision curves. */
#include "report/report_internal.h"

#include <math.h>

#define THRESHOLDS 99

typedef struct {
    double threshold[THRESHOLDS], benefit[THRESHOLDS], all[THRESHOLDS];
} Curve;

static void curve_of(const LobSample *s, size_t h, const double *risk, Curve *curve, LobCsv *csv) {
    const LobFollowUp data = lob_sample_follow_up(s, false);
    for (int i = 0; i < THRESHOLDS; i++) {
        const LobNetBenefit nb = lob_net_benefit(&data, risk, s->spec->horizons[h], (i + 1) / 100.0);
        curve->threshold[i] = nb.threshold;
        curve->benefit[i] = nb.model;
        curve->all[i] = nb.treat_all;
        lob_csv_text(csv, s->model);
        lob_csv_number(csv, nb.threshold);
        lob_csv_number(csv, nb.model);
        lob_csv_number(csv, nb.treat_all);
        lob_csv_integer(csv, (int64_t)nb.flagged);
        lob_csv_integer(csv, (int64_t)s->n);
        lob_csv_end_row(csv);
    }
}

/* Models that predict at the horizon: study's own first. */
static bool draw_models(LobPage *page, LobPlot *plot, size_t e, size_t h, LobCsv *csv, size_t *drawn,
                        GError **err) {
    const double px = plot->width - plot->right + 12;
    for (guint m = 0; m < page->models->len; m++) {
        g_auto(LobSample) s = {0};
        if (!lob_sample_read(&s, page, e, page->models->pdata[m], err))
            return false;
        const double *risk = lob_sample_risk(&s, h);
        if (!risk)
            continue;
        Curve curve;
        curve_of(&s, h, risk, &curve, csv);
        if (*drawn == 0) {
            double top = 0.05;
            for (int i = 0; i < THRESHOLDS; i++)
                top = fmax(top, fmax(isnan(curve.benefit[i]) ? 0 : curve.benefit[i], curve.all[i]));
            plot->y0 = -0.1;
            plot->y1 = fmin(1, top + 0.05);
            double levels[8], ticks[6];
            const size_t n_levels = lob_plot_ticks(plot->y0, plot->y1, levels, 8);
            lob_plot_y_axis(plot, levels, n_levels, 1, "net benefit per patient");
            lob_plot_x_axis(plot, ticks, lob_plot_ticks(0, 1, ticks, 6), 1, "threshold probability");
            lob_plot_line(plot, 0, 0, 1, 0, "ref");
            lob_plot_path(plot, curve.threshold, curve.all, THRESHOLDS, false, "s4");
            lob_plot_key(plot, px, plot->top + 14, "ref", "treat nobody");
            lob_plot_key(plot, px, plot->top + 34, "s4", "treat everybody");
        }
        g_autofree char *css = g_strdup_printf("s%u", m % 4), *model = lob_plot_fit(s.model, 100);
        g_autofree char *name = g_strdup_printf("%s, n %zu", model, s.n);
        lob_plot_path(plot, curve.threshold, curve.benefit, THRESHOLDS, false, css);
        lob_plot_key(plot, px, plot->top + 54 + 20 * (double)(*drawn)++, css, name);
    }
    return true;
}

static bool figure(LobPage *page, size_t e, size_t h, GError **err) {
    const LobEndpoint *spec = &page->cohort->study->endpoints[e];
    g_autofree char *title =
        g_strdup_printf("Decision curve at %g days, endpoint %s", spec->horizons[h], spec->name);
    g_autofree char *name = g_strdup_printf("decision_%zu_%g", e + 1, spec->horizons[h]);
    g_autoptr(LobCsv) csv =
        lob_csv_new((const char *[]){"model", "threshold", "net_benefit", "treat_all", "flagged", "n", NULL});
    GString *whole = page->html, *svg = g_string_new(NULL);
    LobPlot plot = {.left = 54, .right = 190, .top = 12, .bottom = 46, .x0 = 0, .x1 = 1, .y0 = -0.1, .y1 = 1};
    size_t drawn = 0;
    lob_plot_begin(&plot, svg, 620, 360, title,
                   "Net benefit of acting on the prediction, by the probability at which one would act.");
    const bool ok = draw_models(page, &plot, e, h, csv, &drawn, err);
    lob_plot_end(&plot);
    if (ok && drawn > 0) {
        lob_figure_begin(page);
        g_string_append(whole, svg->str);
        lob_figure_end(page, name,
                       "Patients of all centers, each predicted by a model made without them; net benefit = "
                       "true positives less false positives "
                       "weighed by the odds of the threshold, per patient. It weighs acting on risk, not the "
                       "effect of a treatment. A gap: flagged patients are not followed so long.");
    } else if (ok) {
        lob_html_printf(whole, "<p>Decision curve at %g days: no model predicts so far.</p>\n",
                        spec->horizons[h]);
    }
    g_string_free(svg, TRUE);
    return ok && (drawn == 0 || lob_page_save_data(page, csv, name, err));
}

bool lob_page_utility(LobPage *page, GError **err) {
    const LobStudy *study = page->cohort->study;
    bool any = false;
    for (size_t e = 0; e < study->n_endpoints; e++)
        any = any || (study->endpoints[e].kind == LOB_ENDPOINT_SURVIVAL && study->endpoints[e].n_horizons);
    if (!page->predictions || !any)
        return true;
    lob_html_section(page->html, "utility", "Clinical utility",
                     "Whether acting on the prediction would do better than treating everybody or nobody.");
    for (size_t e = 0; e < study->n_endpoints; e++)
        for (size_t h = 0;
             study->endpoints[e].kind == LOB_ENDPOINT_SURVIVAL && h < study->endpoints[e].n_horizons; h++)
            if (!figure(page, e, h, err))
                return false;
    lob_html_section_end(page->html);
    return true;
}
