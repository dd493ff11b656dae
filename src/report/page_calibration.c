/* Do predicted probabilities come true in held-out centers? Curve, groups, histogram, and the table. */
#include "report/report_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define GROUPS 10
#define BINS 20

static void save_point(LobCsv *csv, const char *kind, double predicted, double observed, double lower,
                       double upper, double n, double events) {
    lob_csv_text(csv, kind);
    lob_csv_number(csv, predicted);
    lob_csv_number(csv, observed);
    lob_csv_number(csv, lower);
    lob_csv_number(csv, upper);
    lob_csv_number(csv, n);
    lob_csv_number(csv, events);
    lob_csv_end_row(csv);
}

typedef struct {
    double x, y;
} Point;

static int by_x(const void *a, const void *b) {
    const Point *p = a, *q = b;
    return (p->x > q->x) - (p->x < q->x);
}

static void draw_smooth(LobPlot *plot, const LobCalibration *c, const double *risk, size_t n, LobCsv *csv) {
    if (!c->smooth)
        return;
    g_autofree Point *points = g_new(Point, n + 1);
    g_autofree double *x = g_new(double, n + 1), *y = g_new(double, n + 1);
    for (size_t i = 0; i < n; i++)
        points[i] = (Point){risk[i], c->smooth[i]};
    qsort(points, n, sizeof *points, by_x);
    /* The curve is smooth: some hundred points of many thousand are enough. */
    const size_t step = n / 400 + 1;
    size_t k = 0;
    for (size_t i = 0; i < n; i += step, k++) {
        x[k] = points[i].x;
        y[k] = points[i].y;
        save_point(csv, "curve", x[k], y[k], NAN, NAN, NAN, NAN);
    }
    lob_plot_path(plot, x, y, k, false, "s0");
}

static void draw_groups(LobPlot *plot, const LobFollowUp *data, const double *risk, double t, double events,
                        LobCsv *csv) {
    LobCalibrationGroup groups[GROUPS];
    /* Fewer groups where events are few: ten a group. */
    const size_t wanted = (size_t)fmin(GROUPS, fmax(2, floor(events / 10)));
    const size_t n = lob_calibration_groups(data, risk, t, wanted, groups);
    for (size_t i = 0; i < n; i++) {
        const LobCalibrationGroup *g = &groups[i];
        save_point(csv, "group", g->predicted, g->observed.estimate, g->observed.lower, g->observed.upper,
                   (double)g->n, g->events);
        if (isnan(g->observed.estimate))
            continue;
        if (!isnan(g->observed.lower))
            lob_plot_line(plot, g->predicted, fmax(0, g->observed.lower), g->predicted,
                          fmin(1, g->observed.upper), "e1");
        lob_plot_dot(plot, g->predicted, g->observed.estimate, 4, "d1");
    }
}

/* Under the axis of the curve, with its own height. */
static void draw_histogram(LobPlot *plot, const double *risk, size_t n, LobCsv *csv) {
    size_t count[BINS] = {0}, most = 1;
    for (size_t i = 0; i < n; i++) {
        const size_t b = (size_t)fmin(BINS - 1, fmax(0, risk[i] * (double)BINS));
        most = MAX(most, ++count[b]);
    }
    const double base = plot->height - 6, room = plot->bottom - 56;
    for (size_t b = 0; b < BINS; b++) {
        const double xa = lob_plot_x(plot, (double)b / BINS), xb = lob_plot_x(plot, ((double)b + 1) / BINS);
        const double height = room * (double)count[b] / (double)most;
        save_point(csv, "histogram", ((double)b + 0.5) / BINS, NAN, NAN, NAN, (double)count[b], NAN);
        lob_html_printf(plot->svg,
                        "<rect class=\"bar\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n",
                        xa + 1, base - height, xb - xa - 2, height);
    }
    g_autofree char *label = g_strdup_printf("n, most %zu", most);
    lob_plot_text(plot, plot->width - plot->right + 10, base - 4, "start", "soft", label);
}

static void keys(LobPlot *plot, const LobSample *s, double events) {
    const double px = lob_plot_x(plot, 1) + 12;
    lob_plot_key(plot, px, plot->top + 14, "ref", "ideal");
    lob_plot_key(plot, px, plot->top + 34, "s0", "smooth (Cox spline)");
    lob_plot_key(plot, px, plot->top + 54, "e1", "groups, 95 % interval");
    g_autofree char *text = g_strdup_printf("n %zu, events %g", s->n, events);
    lob_plot_text(plot, px, plot->top + 78, "start", "soft", text);
}

static bool figure(LobPage *page, const LobSample *s, size_t h, guint model, GError **err) {
    const double t = s->spec->horizons[h];
    const double *risk = lob_sample_risk(s, h);
    if (!risk) {
        g_string_append(page->html, "<p>Model ");
        lob_html_text(page->html, s->model);
        lob_html_printf(page->html,
                        ": no prediction at %g days, which lies beyond the last training event of "
                        "%s, so calibration there is not estimable.</p>\n",
                        t, lob_page_either(page, "some fold", "the model"));
        return true;
    }
    double events = 0;
    for (size_t i = 0; i < s->n; i++)
        events += s->event[i] && s->time[i] <= t;
    const LobFollowUp data = lob_sample_follow_up(s, false);
    g_auto(LobCalibration) c = {0};
    lob_calibration_at(&c, &data, risk, t);
    g_autoptr(LobCsv) csv =
        lob_csv_new((const char *[]){"kind", "predicted", "observed", "lower", "upper", "n", "events", NULL});
    g_autofree char *title =
        g_strdup_printf("Calibration at %g days, endpoint %s, model %s", t, s->endpoint, s->model);
    g_autofree char *name = g_strdup_printf("calibration_%zu_%u_%g", s->index + 1, model + 1, t);
    LobPlot plot = {.left = 54, .right = 190, .top = 12, .bottom = 112, .x0 = 0, .x1 = 1, .y0 = 0, .y1 = 1};
    const double ticks[] = {0, 0.2, 0.4, 0.6, 0.8, 1};
    lob_figure_begin(page);
    lob_plot_begin(
        &plot, page->html, 620, 500, title,
        "Observed against predicted event probability; the histogram below shows the predictions.");
    lob_plot_y_axis(&plot, ticks, 6, 1, "observed (1 - Kaplan-Meier)");
    lob_plot_x_axis(&plot, ticks, 6, 1, "predicted probability of an event");
    lob_plot_line(&plot, 0, 0, 1, 1, "ref");
    draw_smooth(&plot, &c, risk, s->n, csv);
    draw_groups(&plot, &data, risk, t, events, csv);
    draw_histogram(&plot, risk, s->n, csv);
    keys(&plot, s, events);
    lob_plot_end(&plot);
    g_autofree char *caption =
        g_strdup_printf("%s. All patients together, each predicted by a model that was made without them: "
                        "predictions are probabilities, so centers share the scale.%s%s",
                        title, c.smooth ? "" : " No smooth curve: ",
                        c.smooth   ? ""
                        : c.reason ? c.reason
                                   : "not estimable");
    lob_figure_end(page, name, caption);
    return lob_page_save_data(page, csv, name, err);
}

static bool any_prediction(const LobSample *s, size_t h) {
    for (size_t i = 0; i < s->n; i++)
        if (!isnan(s->risk[h * s->n + i]))
            return true;
    return false;
}

/* One line a center with the measures side by side; the notes of evidence.csv say why a cell is empty. */
static bool table(LobPage *page, const char *endpoint, size_t e, const char *model, guint m, double t,
                  GError **err) {
    static const struct {
        const char *metric, *column;
        int decimals;
    } cells[] = {{"observed_risk", "#observed", 3},
                 {"expected_risk", "#expected", 3},
                 {"observed_expected", "#O/E", 2},
                 {"calibration_slope", "#slope", 2},
                 {"ici", "#ICI", 3},
                 {"e50", "#E50", 3},
                 {"e90", "#E90", 3},
                 {"brier", "#Brier", 3},
                 {"ipa", "#IPA", 3}};
    g_autoptr(GPtrArray) columns = g_ptr_array_new(), centers = g_ptr_array_new();
    g_ptr_array_add(columns, (gpointer) "center");
    for (size_t i = 0; i < G_N_ELEMENTS(cells); i++) {
        g_ptr_array_add(columns, (gpointer)cells[i].column);
        if (strcmp(cells[i].metric, "observed_expected") == 0) {
            g_ptr_array_add(columns, (gpointer) "#O/E lower");
            g_ptr_array_add(columns, (gpointer) "#O/E upper");
        }
    }
    static const char *const rest[] = {"#n", "#events", "note", NULL};
    for (size_t i = 0; i < G_N_ELEMENTS(rest); i++)
        g_ptr_array_add(columns, (gpointer)rest[i]);
    for (size_t c = 0; c < page->cohort->n_centers; c++)
        g_ptr_array_add(centers, page->cohort->centers[c]);
    static const char *const over[] = {LOB_ALL, LOB_POOLED, LOB_NEW};
    for (size_t i = 0; i < G_N_ELEMENTS(over); i++)
        g_ptr_array_add(centers, (gpointer)over[i]);
    g_autofree char *caption =
        g_strdup_printf("Calibration and error at %g days, endpoint %s, model %s", t, endpoint, model);
    LobSheet *sheet = lob_sheet_new(page, caption, (const char *const *)columns->pdata,
                                    "calibration_table_%zu_%u_%g", e + 1, m + 1, t);
    for (guint c = 0; c < centers->len; c++) {
        const char *center = centers->pdata[c];
        const LobEvidence *oe = lob_evidence_find(page, endpoint, model, center, "observed_expected", t);
        if (!oe)
            continue;
        const char *note = oe->note;
        lob_sheet_text(sheet, center);
        for (size_t i = 0; i < G_N_ELEMENTS(cells); i++) {
            const LobEvidence *one = lob_evidence_find(page, endpoint, model, center, cells[i].metric, t);
            lob_sheet_number(sheet, one ? one->estimate : NAN, cells[i].decimals);
            if (one == oe) {
                lob_sheet_number(sheet, oe->lower, 2);
                lob_sheet_number(sheet, oe->upper, 2);
            }
            if (one && isnan(one->estimate) && !*note)
                note = one->note;
        }
        lob_sheet_number(sheet, (double)oe->n, 0);
        lob_sheet_number(sheet, oe->events, 0);
        lob_sheet_text(sheet, note);
    }
    return lob_sheet_end(sheet, err);
}

/* Over all follow-up rather than at a horizon. */
static bool table_overall(LobPage *page, const char *endpoint, size_t e, GError **err) {
    static const char *const metrics[] = {"calibration_slope", "calibration_in_the_large", "d_calibration_p",
                                          "brier"};
    g_autofree char *caption = g_strdup_printf("Calibration over all follow-up, endpoint %s", endpoint);
    LobSheet *sheet = lob_sheet_new(page, caption,
                                    (const char *[]){"model", "center", "metric", "#estimate", "#lower",
                                                     "#upper", "#n", "#events", "note", NULL},
                                    "calibration_overall_%zu", e + 1);
    for (guint i = 0; i < page->evidence->len; i++) {
        const LobEvidence *row = &g_array_index(page->evidence, LobEvidence, i);
        bool wanted = false;
        for (size_t k = 0; k < G_N_ELEMENTS(metrics); k++)
            wanted = wanted || strcmp(row->metric, metrics[k]) == 0;
        if (!wanted || !isnan(row->horizon) || strcmp(row->endpoint, endpoint) != 0)
            continue;
        lob_sheet_text(sheet, row->model);
        lob_sheet_text(sheet, row->center);
        lob_sheet_text(sheet, row->metric);
        lob_sheet_number(sheet, row->estimate, 3);
        lob_sheet_number(sheet, row->lower, 3);
        lob_sheet_number(sheet, row->upper, 3);
        lob_sheet_number(sheet, (double)row->n, 0);
        lob_sheet_number(sheet, row->events, 0);
        lob_sheet_text(sheet, row->note);
    }
    return lob_sheet_end(sheet, err);
}

bool lob_page_calibration(LobPage *page, GError **err) {
    const LobStudy *study = page->cohort->study;
    if (!page->predictions)
        return true;
    g_autofree char *title = g_strdup_printf("Calibration in %s", lob_page_where(page));
    lob_html_section(
        page->html, "calibration", title,
        "Whether predicted probabilities come true. O/E: observed over expected events (1 is "
        "ideal). Slope: 1 is ideal, below 1 predictions are too extreme. ICI, E50, E90: mean, median "
        "and 90 % quantile of the distance between smooth curve and prediction. IPA: share of the "
        "Brier score of a prediction by Kaplan-Meier alone that the model removes.");
    for (size_t e = 0; e < study->n_endpoints; e++) {
        for (guint m = 0; m < page->models->len; m++) {
            g_auto(LobSample) s = {0};
            if (!lob_sample_read(&s, page, e, page->models->pdata[m], err))
                return false;
            if (study->endpoints[e].kind != LOB_ENDPOINT_SURVIVAL || s.n == 0)
                continue;
            for (size_t h = 0; h < s.spec->n_horizons; h++)
                if (!figure(page, &s, h, m, err) ||
                    (any_prediction(&s, h) &&
                     !table(page, s.endpoint, e, s.model, m, s.spec->horizons[h], err)))
                    return false;
        }
        if (study->endpoints[e].kind != LOB_ENDPOINT_MULTICLASS &&
            !table_overall(page, study->endpoints[e].name, e, err))
            return false;
    }
    lob_html_section_end(page->html);
    return true;
}
