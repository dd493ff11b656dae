/* How well risk is ranked in centers the model never saw: forest plot and table of concordance. */
#include "report/report_internal.h"

#include <math.h>
#include <string.h>

typedef struct {
    int endpoint, model, center, metric, estimate, lower, upper, n, events;
} Columns;

static bool find_columns(const LobTable *table, Columns *c, GError **err) {
    struct {
        int *column;
        const char *name;
    } wanted[] = {
        {&c->endpoint, "endpoint"}, {&c->model, "model"}, {&c->center, "center"}, {&c->metric, "metric"},
        {&c->estimate, "estimate"}, {&c->lower, "lower"}, {&c->upper, "upper"},   {&c->n, "n"},
        {&c->events, "events"}};
    for (size_t i = 0; i < G_N_ELEMENTS(wanted); i++)
        if ((*wanted[i].column = lob_table_require(table, wanted[i].name, err)) < 0)
            return false;
    return true;
}

static bool read_row(const LobTable *table, const Columns *c, size_t r, LobForestRow *row, GError **err) {
    row->center = lob_table_cell(table, r, c->center);
    row->pooled = strcmp(row->center, "pooled") == 0;
    row->prediction = false;
    return lob_table_number(table, r, c->estimate, &row->estimate, err) &&
           lob_table_number(table, r, c->lower, &row->lower, err) &&
           lob_table_number(table, r, c->upper, &row->upper, err) &&
           lob_table_number(table, r, c->n, &row->n, err) &&
           lob_table_number(table, r, c->events, &row->events, err);
}

/* The rows of one endpoint, model and metric; the pooled one last. Free with g_array_unref. */
static GArray *rows_of(const LobPage *page, const Columns *c, const char *endpoint, const char *model,
                       const char *metric, GError **err) {
    g_autoptr(GArray) rows = g_array_new(FALSE, FALSE, sizeof(LobForestRow));
    for (int pooled = 0; pooled < 2; pooled++)
        for (size_t r = 0; r < lob_table_rows(page->metrics); r++) {
            LobForestRow row;
            if (strcmp(lob_table_cell(page->metrics, r, c->endpoint), endpoint) != 0 ||
                strcmp(lob_table_cell(page->metrics, r, c->model), model) != 0 ||
                strcmp(lob_table_cell(page->metrics, r, c->metric), metric) != 0)
                continue;
            if (!read_row(page->metrics, c, r, &row, err))
                return NULL;
            if (row.pooled == (pooled == 1))
                g_array_append_val(rows, row);
        }
    return g_steal_pointer(&rows);
}

static const LobForestKind kinds[] = {
    {"harrell_c", "concordance (0.5 = chance)", "Concordance (Harrell's C)", 0.4, 0.9, 0.5, true, NULL},
    {"auc", "area under the ROC curve (0.5 = chance)", "AUC", 0.4, 0.9, 0.5, true, NULL},
    {"delta_harrell_c_vs_clinical", "difference of concordance (0 = no gain)",
     "Gain of concordance over the clinical model, same patients", -0.1, 0.3, 0, false, NULL},
    {"delta_auc_vs_clinical", "difference of AUC (0 = no gain)",
     "Gain of AUC over the clinical model, same patients", -0.1, 0.3, 0, false, NULL},
};

static void draw_interval(LobPlot *plot, double low, double high, double y, const char *css) {
    lob_plot_line(plot, fmax(low, plot->x0), y, fmin(high, plot->x1), y, css);
}

static void draw_row(LobPlot *plot, const LobForestRow *row, size_t i) {
    const double y = (double)i + 0.5, py = lob_plot_y(plot, y);
    g_autofree char *name = lob_plot_fit(row->center, plot->left - 16);
    lob_plot_text(plot, 8, py + 4, "start", row->pooled ? "bold" : "", name);
    if (isnan(row->estimate)) {
        lob_plot_text(plot, plot->width - plot->right + 12, py + 4, "start", "soft", "not estimable");
        return;
    }
    g_autofree char *text = isnan(row->n)
                                ? g_strdup_printf("%.3f (%.3f, %.3f)", row->estimate, row->lower, row->upper)
                                : g_strdup_printf("%.3f (%.3f, %.3f), n %g, events %g", row->estimate,
                                                  row->lower, row->upper, row->n, row->events);
    lob_plot_text(plot, plot->width - plot->right + 12, py + 4, "start", row->pooled ? "bold" : "", text);
    const double lower = fmax(row->lower, plot->x0), upper = fmin(row->upper, plot->x1);
    const double px = lob_plot_x(plot, row->estimate);
    if (row->prediction)
        draw_interval(plot, row->lower, row->upper, y, "pi");
    else if (row->pooled)
        lob_html_printf(plot->svg,
                        "<polygon class=\"mark\" points=\"%.1f,%.1f %.1f,%.1f %.1f,%.1f %.1f,%.1f\"/>\n",
                        lob_plot_x(plot, lower), py, px, py - 7, lob_plot_x(plot, upper), py, px, py + 7);
    else {
        const double side = 4 + 4 * sqrt(fmin(row->events, 200) / 200);
        draw_interval(plot, row->lower, row->upper, y, "s0");
        lob_html_printf(plot->svg,
                        "<rect class=\"mark\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n",
                        px - side / 2, py - side / 2, side, side);
    }
}

void lob_forest(LobPage *page, const GArray *rows, const char *title, const LobForestKind *kind) {
    double low = kind->low, high = kind->high;
    for (size_t i = 0; i < rows->len; i++) {
        const LobForestRow *row = &g_array_index(rows, LobForestRow, i);
        if (!isnan(row->lower))
            low = fmin(low, row->lower);
        if (!isnan(row->upper))
            high = fmax(high, row->upper);
    }
    LobPlot plot = {.left = 150, .right = 345, .top = 8, .bottom = 44, .x0 = low - 0.02, .x1 = high + 0.02};
    if (kind->bounded) {
        plot.x0 = fmax(0, plot.x0);
        plot.x1 = fmin(1, plot.x1);
    }
    plot.y0 = (double)rows->len; /* rows run downwards */
    plot.y1 = 0;
    lob_plot_begin(&plot, page->html, 793, 60 + 26 * (double)rows->len, title,
                   "One line a center with its 95 % interval; diamonds are values over centers, the "
                   "dashed line is the prediction interval.");
    double ticks[12];
    const size_t n = lob_plot_ticks(plot.x0, plot.x1, ticks, 7);
    lob_plot_x_axis(&plot, ticks, n, 1, kind->axis);
    lob_plot_line(&plot, kind->chance, plot.y0, kind->chance, plot.y1, "ref");
    for (size_t i = 0; i < rows->len; i++)
        draw_row(&plot, &g_array_index(rows, LobForestRow, i), i);
    lob_plot_end(&plot);
}

static bool table_of_rows(LobPage *page, const GArray *rows, const char *caption, const LobForestKind *kind,
                          size_t e, size_t m, GError **err) {
    LobSheet *sheet = lob_sheet_new(
        page, caption, (const char *[]){"center", "#estimate", "#lower", "#upper", "#n", "#events", NULL},
        "forest_%s_%zu_%zu", kind->file ? kind->file : kind->metric, e + 1, m + 1);
    for (size_t i = 0; i < rows->len; i++) {
        const LobForestRow *row = &g_array_index(rows, LobForestRow, i);
        lob_sheet_text(sheet, row->center);
        lob_sheet_number(sheet, row->estimate, 3);
        lob_sheet_number(sheet, row->lower, 3);
        lob_sheet_number(sheet, row->upper, 3);
        lob_sheet_number(sheet, row->n, 0);
        lob_sheet_number(sheet, row->events, 0);
    }
    return lob_sheet_end(sheet, err);
}

/* From meta.csv: the centers' values pooled, and what to expect in one more center. */
static bool add_meta(const LobPage *page, GArray *rows, const char *endpoint, const char *model,
                     const char *metric, GError **err) {
    LobPooled v;
    if (!lob_pooled_read(&v, page, endpoint, model, metric, err))
        return false;
    const LobForestRow pooled = {"random effects", v.estimate, v.lower, v.upper, NAN, NAN, true, false};
    const LobForestRow next = {"new center", v.estimate, v.next_lower, v.next_upper, NAN, NAN, false, true};
    if (v.centers > 0)
        g_array_append_val(rows, pooled);
    if (!isnan(v.next_lower))
        g_array_append_val(rows, next);
    return true;
}

static bool figure(LobPage *page, const Columns *c, size_t e, const char *endpoint, guint m,
                   const LobForestKind *kind, GError **err) {
    const char *model = page->models->pdata[m];
    g_autoptr(GArray) rows = rows_of(page, c, endpoint, model, kind->metric, err);
    if (!rows || (rows->len > 0 && !add_meta(page, rows, endpoint, model, kind->metric, err)))
        return false;
    if (rows->len == 0)
        return true;
    g_autofree char *title = g_strdup_printf("%s, endpoint %s, model %s", kind->what, endpoint, model);
    g_autofree char *csv =
        g_strdup_printf("forest_%s_%zu_%u", kind->file ? kind->file : kind->metric, e + 1, m + 1);
    lob_html_heading(page->html, title);
    lob_figure_begin(page);
    lob_forest(page, rows, title, kind);
    g_autofree char *caption = g_strdup_printf(
        "Squares: %s, size by events, 95 %% intervals. Diamond \xe2\x80\x9cpooled\xe2\x80\x9d: pairs of "
        "patients compared within centers only, all pairs counted together.%s Intervals are conditional on "
        "the trained models%s",
        lob_page_where(page),
        kind->bounded
            ? " Diamond \xe2\x80\x9crandom effects\xe2\x80\x9d: the centers\xe2\x80\x99 values pooled on the "
              "logit scale (REML, Hartung-Knapp). Dashed: 95 % prediction interval for one more center."
            : "",
        lob_page_either(
            page,
            ": folds share training centers, and what is pooled is less certain than its interval "
            "says.",
            kind->bounded ? ". The table of permutations below tests the ranking against chance." : "."));
    lob_figure_end(page, csv, caption);
    return table_of_rows(page, rows, title, kind, e, m, err);
}

static void say_what_is_tested(LobPage *page) {
    g_string_append(
        page->html,
        lob_page_either(
            page,
            "<p>What these p cover: a center that one model held out. Nothing of its outcomes was in the "
            "training, so that dealing the scores out anew is an exact test of that model there. What they "
            "do not cover: rows that join models, above all the pooled one. Folds share training patients, "
            "and without any effect pooled values spread more widely than these draws (about 1.4 times in "
            "simulations, where a pooled p of 0.05 is then worth about 0.12). A test of the whole would "
            "exchange outcomes within centers and train all models anew in every draw; it was not done. "
            "Where patients were predicted in several repeats, the first alone is tested.</p>\n",
            "<p>The model was locked before these patients were seen, so that dealing its scores out anew "
            "within centers is an exact test of every row.</p>\n"));
}

/* Beside the intervals, which do not test against chance: scores dealt out anew within centers. */
static bool permutations(LobPage *page, const Columns *c, size_t e, guint m, bool *any, GError **err) {
    static const char *const metrics[] = {"harrell_c_permutation_p", "auc_permutation_p"};
    const char *endpoint = page->cohort->study->endpoints[e].name, *model = page->models->pdata[m];
    for (size_t k = 0; k < G_N_ELEMENTS(metrics); k++) {
        g_autoptr(GArray) rows = rows_of(page, c, endpoint, model, metrics[k], err);
        if (!rows)
            return false;
        if (rows->len == 0)
            continue;
        g_autofree char *caption = g_strdup_printf(
            "Permutation test of ranking against chance, endpoint %s, model %s: one-sided, 999 "
            "draws of the scores within centers, the trained models as they are",
            endpoint, model);
        LobSheet *sheet =
            lob_sheet_new(page, caption, (const char *[]){"center", "#p", "#n", "#events", NULL},
                          "permutation_%zu_%u", e + 1, m + 1);
        for (guint i = 0; i < rows->len; i++) {
            const LobForestRow *row = &g_array_index(rows, LobForestRow, i);
            lob_sheet_text(sheet, row->center);
            lob_sheet_p(sheet, row->estimate);
            lob_sheet_number(sheet, row->n, 0);
            lob_sheet_number(sheet, row->events, 0);
        }
        if (!lob_sheet_end(sheet, err))
            return false;
        *any = true;
    }
    return true;
}

/* Each class against the rest. */
static bool class_figures(LobPage *page, const Columns *c, size_t e, guint m, GError **err) {
    char **labels = page->cohort->labels[e];
    for (size_t k = 0; labels && labels[k]; k++) {
        g_autofree char *metric = g_strdup_printf("auc_%s", labels[k]);
        g_autofree char *what = g_strdup_printf("AUC of class %s against the rest", labels[k]);
        g_autofree char *file = g_strdup_printf("auc_class%zu", k);
        const LobForestKind kind = {metric, kinds[1].axis, what, 0.4, 0.9, 0.5, true, file};
        if (!figure(page, c, e, page->cohort->study->endpoints[e].name, m, &kind, err))
            return false;
    }
    return true;
}

bool lob_page_discrimination(LobPage *page, GError **err) {
    Columns c;
    bool tested = false;
    if (!find_columns(page->metrics, &c, err))
        return false;
    g_autofree char *title = g_strdup_printf("Discrimination in %s", lob_page_where(page));
    lob_html_section(
        page->html, "discrimination", title,
        lob_page_either(page,
                        page->cohort->study->validation.scheme == LOB_SCHEME_FOLDS
                            ? "Each patient was scored by models trained on other folds of the given file. "
                              "Folds may share centers: what holds in them need not hold in a new center."
                            : "Each center's patients were scored by models trained on other centers alone.",
                        "Each patient was scored by the locked model."));
    for (size_t e = 0; e < page->cohort->study->n_endpoints; e++)
        for (guint m = 0; m < page->models->len; m++) {
            for (size_t k = 0; k < G_N_ELEMENTS(kinds); k++)
                if (!figure(page, &c, e, page->cohort->study->endpoints[e].name, m, &kinds[k], err))
                    return false;
            if (page->cohort->study->endpoints[e].kind == LOB_ENDPOINT_MULTICLASS &&
                !class_figures(page, &c, e, m, err))
                return false;
            if (!permutations(page, &c, e, m, &tested, err))
                return false;
        }
    if (tested)
        say_what_is_tested(page);
    if (!lob_page_time_dependent(page, err))
        return false;
    lob_html_section_end(page->html);
    return true;
}
