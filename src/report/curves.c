/* Kaplan-Meier curves by group, with numbers at risk under the axis. */
#include "report/report_internal.h"

#include <math.h>

#define COLOURS 6

static void km_of_group(const LobCurves *c, uint32_t group, LobKm *km) {
    const LobSample *s = c->sample;
    g_autofree double *time = g_new(double, s->n + 1), *weight = g_new(double, s->n + 1);
    g_autofree uint8_t *event = g_new(uint8_t, s->n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        if (c->group[i] == group) {
            time[n] = s->time[i];
            weight[n] = c->weight ? c->weight[i] : 1;
            event[n++] = s->event[i];
        }
    lob_km_fit(km, &(LobFollowUp){.n = n, .time = time, .event = event, .weight = c->weight ? weight : NULL});
}

static void draw_band(LobPlot *plot, const LobKm *km, uint32_t group) {
    double last = 1;
    size_t end = km->n_times;
    while (end > 0 && (isnan(km->lower[end - 1]) || km->time[end - 1] > plot->x1))
        end--;
    if (end == 0)
        return;
    lob_html_printf(plot->svg, "<path class=\"b%u\" d=\"M%.1f %.1f", group % COLOURS, lob_plot_x(plot, 0),
                    lob_plot_y(plot, 1));
    for (size_t i = 0; i < end; i++, last = km->upper[i - 1])
        lob_html_printf(plot->svg, "L%.1f %.1fV%.1f", lob_plot_x(plot, km->time[i]), lob_plot_y(plot, last),
                        lob_plot_y(plot, km->upper[i]));
    for (size_t i = end; i-- > 0;)
        lob_html_printf(plot->svg, "L%.1f %.1fH%.1f", lob_plot_x(plot, km->time[i]),
                        lob_plot_y(plot, km->lower[i]), lob_plot_x(plot, km->time[i]));
    g_string_append(plot->svg, "Z\"/>\n");
}

static void draw_curve(LobPlot *plot, const LobKm *km, uint32_t group) {
    lob_html_printf(plot->svg, "<path class=\"s%u\" d=\"M%.1f %.1f", group % COLOURS, lob_plot_x(plot, 0),
                    lob_plot_y(plot, 1));
    for (size_t i = 0; i < km->n_times && km->time[i] <= plot->x1; i++)
        if (km->events[i] > 0 || i + 1 == km->n_times)
            lob_html_printf(plot->svg, "H%.1fV%.1f", lob_plot_x(plot, km->time[i]),
                            lob_plot_y(plot, km->survival[i]));
    g_string_append(plot->svg, "\"/>\n");
}

static void numbers_at_risk(LobPlot *plot, const LobKm *km, const char *name, uint32_t group, size_t line,
                            const double *ticks, size_t n) {
    const double py = plot->height - plot->bottom + 74 + 17 * (double)line;
    g_autofree char *css = g_strdup_printf("t%u", group % COLOURS);
    g_autofree char *label = lob_plot_fit(name, plot->left - 14);
    lob_plot_text(plot, 6, py, "start", css, label);
    for (size_t i = 0; i < n; i++) {
        g_autofree char *text = g_strdup_printf("%g", lob_km_at_risk(km, ticks[i]));
        lob_plot_text(plot, lob_plot_x(plot, ticks[i]), py, "middle", "", text);
    }
}

static void legend(LobPlot *plot, const LobCurves *c, const LobKm *km, uint32_t group, size_t line) {
    g_autofree char *name = lob_plot_fit(c->names[group], 120);
    g_autofree char *text = c->weight
                                ? g_strdup_printf("%s, n %zu (weighted)", name, km->n)
                                : g_strdup_printf("%s, n %zu, events %g", name, km->n, km->total_events);
    g_autofree char *css = g_strdup_printf("s%u", group % COLOURS);
    lob_plot_key(plot, plot->width - plot->right - 250, plot->top + 12 + 18 * (double)line, css, text);
}

static void save_curve(LobCsv *csv, const char *name, const LobKm *km) {
    for (size_t i = 0; i < km->n_times; i++) {
        lob_csv_text(csv, name);
        lob_csv_number(csv, km->time[i]);
        lob_csv_number(csv, km->at_risk[i]);
        lob_csv_number(csv, km->events[i]);
        lob_csv_number(csv, km->survival[i]);
        lob_csv_number(csv, km->lower[i]);
        lob_csv_number(csv, km->upper[i]);
        lob_csv_end_row(csv);
    }
}

static void axes(LobPlot *plot, const double *years, size_t n_years, bool counts) {
    double levels[6];
    const size_t n_levels = lob_plot_ticks(0, 1, levels, 6);
    lob_plot_y_axis(plot, levels, n_levels, 1, "event-free");
    lob_plot_x_axis(plot, years, n_years, 365.25, "years from time zero");
    if (counts)
        lob_plot_text(plot, 6, plot->height - plot->bottom + 56, "start", "soft", "at risk");
}

bool lob_curves(LobPage *page, const LobCurves *c, const char *name, GError **err) {
    g_autoptr(LobCsv) csv = lob_csv_new(
        (const char *[]){"group", "time", "at_risk", "events", "survival", "lower", "upper", NULL});
    double last = 1, years[12];
    for (size_t i = 0; i < c->sample->n; i++)
        last = fmax(last, c->sample->time[i]);
    LobPlot plot = {.left = 92, .right = 20, .top = 14, .bottom = 50, .x0 = 0, .x1 = last, .y0 = 0, .y1 = 1};
    if (!c->weight)
        plot.bottom = 74 + 17 * (double)c->n_groups;
    lob_plot_begin(&plot, page->html, 620, 290 + plot.bottom, c->title, c->desc);
    const size_t n_years = lob_plot_ticks(0, last / 365.25, years, 9);
    for (size_t i = 0; i < n_years; i++)
        years[i] *= 365.25;
    axes(&plot, years, n_years, c->weight == NULL);
    size_t line = 0;
    for (uint32_t g = 0; g < c->n_groups; g++) {
        g_auto(LobKm) km = {0};
        km_of_group(c, g, &km);
        if (km.n == 0)
            continue;
        if (!c->weight) {
            draw_band(&plot, &km, g);
            numbers_at_risk(&plot, &km, c->names[g], g, line, years, n_years);
        }
        draw_curve(&plot, &km, g);
        legend(&plot, c, &km, g, line++);
        save_curve(csv, c->names[g], &km);
    }
    lob_plot_end(&plot);
    return lob_page_save_data(page, csv, name, err);
}
