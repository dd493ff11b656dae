/* How well risk is ranked in centers the model never saw: forest plot and table of concordance. */
#include "report/report_internal.h"

#include <math.h>
#include <string.h>

typedef struct {
    const char *center;
    double estimate, lower, upper, n, events;
    bool pooled;
} Row;

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

static bool read_row(const LobTable *table, const Columns *c, size_t r, Row *row, GError **err) {
    row->center = lob_table_cell(table, r, c->center);
    row->pooled = strcmp(row->center, "pooled") == 0;
    return lob_table_number(table, r, c->estimate, &row->estimate, err) &&
           lob_table_number(table, r, c->lower, &row->lower, err) &&
           lob_table_number(table, r, c->upper, &row->upper, err) &&
           lob_table_number(table, r, c->n, &row->n, err) &&
           lob_table_number(table, r, c->events, &row->events, err);
}

/* The rows of one endpoint, model and metric; the pooled one last. Free with g_array_unref. */
static GArray *rows_of(const LobPage *page, const Columns *c, const char *endpoint, const char *model,
                       const char *metric, GError **err) {
    g_autoptr(GArray) rows = g_array_new(FALSE, FALSE, sizeof(Row));
    for (int pooled = 0; pooled < 2; pooled++)
        for (size_t r = 0; r < lob_table_rows(page->metrics); r++) {
            Row row;
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

static void draw_row(LobPlot *plot, const Row *row, size_t i) {
    const double y = (double)i + 0.5, py = lob_plot_y(plot, y);
    lob_plot_text(plot, 8, py + 4, "start", row->pooled ? "bold" : "", row->center);
    if (isnan(row->estimate)) {
        lob_plot_text(plot, lob_plot_x(plot, 0.5), py + 4, "middle", "soft", "not estimable");
        return;
    }
    g_autofree char *text = g_strdup_printf("%.3f (%.3f, %.3f)  n %g, events %g", row->estimate, row->lower,
                                            row->upper, row->n, row->events);
    lob_plot_text(plot, plot->width - plot->right + 12, py + 4, "start", row->pooled ? "bold" : "", text);
    const double lower = fmax(row->lower, plot->x0), upper = fmin(row->upper, plot->x1);
    const double px = lob_plot_x(plot, row->estimate);
    if (row->pooled) {
        lob_html_printf(plot->svg,
                        "<polygon class=\"mark\" points=\"%.1f,%.1f %.1f,%.1f %.1f,%.1f %.1f,%.1f\"/>\n",
                        lob_plot_x(plot, lower), py, px, py - 7, lob_plot_x(plot, upper), py, px, py + 7);
        return;
    }
    lob_plot_line(plot, lower, y, upper, y, "s0");
    const double side = 4 + 4 * sqrt(fmin(row->events, 200) / 200);
    lob_html_printf(plot->svg,
                    "<rect class=\"mark\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n",
                    px - side / 2, py - side / 2, side, side);
}

static void forest(LobPage *page, const GArray *rows, const char *title) {
    double low = 0.4, high = 0.9;
    for (size_t i = 0; i < rows->len; i++) {
        const Row *row = &g_array_index(rows, Row, i);
        if (!isnan(row->lower))
            low = fmin(low, row->lower);
        if (!isnan(row->upper))
            high = fmax(high, row->upper);
    }
    LobPlot plot = {.left = 150,
                    .right = 290,
                    .top = 8,
                    .bottom = 44,
                    .x0 = fmax(0, low - 0.02),
                    .x1 = fmin(1, high + 0.02)};
    plot.y0 = (double)rows->len; /* rows run downwards */
    plot.y1 = 0;
    lob_plot_begin(
        &plot, page->html, 760, 60 + 26 * (double)rows->len, title,
        "One line a held-out center: concordance with its 95 % interval; the diamond is the pooled value.");
    double ticks[12];
    const size_t n = lob_plot_ticks(plot.x0, plot.x1, ticks, G_N_ELEMENTS(ticks));
    lob_plot_x_axis(&plot, ticks, n, 1, "concordance (0.5 = chance)");
    lob_plot_line(&plot, 0.5, plot.y0, 0.5, plot.y1, "ref");
    for (size_t i = 0; i < rows->len; i++)
        draw_row(&plot, &g_array_index(rows, Row, i), i);
    lob_plot_end(&plot);
}

static void table_of_rows(LobPage *page, const GArray *rows, const char *caption, LobCsv *csv,
                          const char *endpoint, const char *model) {
    lob_html_table_begin(page->html, caption,
                         (const char *[]){"center", "concordance", "lower", "upper", "n", "events", NULL});
    for (size_t i = 0; i < rows->len; i++) {
        const Row *row = &g_array_index(rows, Row, i);
        lob_html_row_begin(page->html);
        lob_html_cell(page->html, row->center);
        lob_html_cell_number(page->html, row->estimate, 3);
        lob_html_cell_number(page->html, row->lower, 3);
        lob_html_cell_number(page->html, row->upper, 3);
        lob_html_cell_number(page->html, row->n, 0);
        lob_html_cell_number(page->html, row->events, 0);
        lob_html_row_end(page->html);
        lob_csv_text(csv, endpoint);
        lob_csv_text(csv, model);
        lob_csv_text(csv, row->center);
        lob_csv_number(csv, row->estimate);
        lob_csv_number(csv, row->lower);
        lob_csv_number(csv, row->upper);
        lob_csv_number(csv, row->n);
        lob_csv_number(csv, row->events);
        lob_csv_end_row(csv);
    }
    lob_html_table_end(page->html);
}

/* Distinct values of a column, in order of appearance. */
static GPtrArray *distinct(const LobTable *table, int column) {
    GPtrArray *values = g_ptr_array_new();
    for (size_t r = 0; r < lob_table_rows(table); r++) {
        const char *cell = lob_table_cell(table, r, column);
        if (!g_ptr_array_find_with_equal_func(values, cell, g_str_equal, NULL))
            g_ptr_array_add(values, (gpointer)cell);
    }
    return values;
}

bool lob_page_discrimination(LobPage *page, GError **err) {
    Columns c;
    if (!find_columns(page->metrics, &c, err))
        return false;
    lob_html_section(page->html, "discrimination", "Discrimination in held-out centers",
                     "Each center's patients were scored by models trained on the other centers alone.");
    g_autoptr(LobCsv) csv = lob_csv_new(
        (const char *[]){"endpoint", "model", "center", "estimate", "lower", "upper", "n", "events", NULL});
    g_autoptr(GPtrArray) endpoints = distinct(page->metrics, c.endpoint);
    g_autoptr(GPtrArray) models = distinct(page->metrics, c.model);
    static const char *const shown[] = {"harrell_c", "auc"};
    for (size_t e = 0; e < endpoints->len; e++)
        for (size_t m = 0; m < models->len; m++)
            for (size_t k = 0; k < G_N_ELEMENTS(shown); k++) {
                g_autoptr(GArray) rows =
                    rows_of(page, &c, endpoints->pdata[e], models->pdata[m], shown[k], err);
                if (!rows)
                    return false;
                if (rows->len == 0)
                    continue;
                g_autofree char *title = g_strdup_printf("Endpoint %s, model %s", (char *)endpoints->pdata[e],
                                                         (char *)models->pdata[m]);
                g_string_append(page->html, "<h3>");
                lob_html_text(page->html, title);
                g_string_append(page->html, "</h3><figure>");
                forest(page, rows, title);
                g_string_append(
                    page->html,
                    "<figcaption>Squares: held-out centers, size by events. Diamond: pairs "
                    "compared within centers only. Intervals are conditional on the trained models."
                    "</figcaption></figure>\n");
                table_of_rows(page, rows, title, csv, endpoints->pdata[e], models->pdata[m]);
            }
    g_string_append(page->html, "</section>\n");
    return lob_page_save_data(page, csv, "forest", err);
}
