/* Kaplan-Meier curves of held-out patients by risk group; the cut is each fold's training median. */
#include "report/report_internal.h"
#include "stats/stats.h"

#include <math.h>
#include <string.h>

#define MAX_GROUPS 3
static const char *const group_names[MAX_GROUPS] = {"low", "high", "middle"};

typedef struct {
    GArray *time, *event, *stratum, *group; /* double, uint8, uint32, uint32 */
} Sample;

static void sample_init(Sample *s) {
    s->time = g_array_new(FALSE, FALSE, sizeof(double));
    s->event = g_array_new(FALSE, FALSE, sizeof(uint8_t));
    s->stratum = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    s->group = g_array_new(FALSE, FALSE, sizeof(uint32_t));
}

static void sample_clear(Sample *s) {
    g_array_unref(s->time);
    g_array_unref(s->event);
    g_array_unref(s->stratum);
    g_array_unref(s->group);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Sample, sample_clear)

static bool center_index(const LobCohort *cohort, const char *name, uint32_t *index) {
    for (uint32_t c = 0; c < cohort->n_centers; c++)
        if (strcmp(cohort->centers[c], name) == 0) {
            *index = c;
            return true;
        }
    return false;
}

/* Rows of one endpoint with a risk group and a known outcome, of the study's own model. */
static bool sample_read(const LobPage *page, const char *endpoint, Sample *s, GError **err) {
    const LobTable *t = page->predictions;
    const int c_endpoint = lob_table_require(t, "endpoint", err),
              c_model = lob_table_require(t, "model", err), c_center = lob_table_require(t, "center", err),
              c_time = lob_table_require(t, "time", err), c_event = lob_table_require(t, "event", err),
              c_group = lob_table_require(t, "risk_group", err);
    if (c_endpoint < 0 || c_model < 0 || c_center < 0 || c_time < 0 || c_event < 0 || c_group < 0)
        return false;
    for (size_t r = 0; r < lob_table_rows(t); r++) {
        double time, event;
        uint32_t stratum, group = 0;
        if (strcmp(lob_table_cell(t, r, c_endpoint), endpoint) != 0 ||
            strcmp(lob_table_cell(t, r, c_model), page->cohort->study->model.kind) != 0 ||
            !center_index(page->cohort, lob_table_cell(t, r, c_center), &stratum))
            continue;
        if (!lob_table_number(t, r, c_time, &time, err) || !lob_table_number(t, r, c_event, &event, err))
            return false;
        while (group < MAX_GROUPS && strcmp(lob_table_cell(t, r, c_group), group_names[group]) != 0)
            group++;
        if (group == MAX_GROUPS || isnan(time) || isnan(event))
            continue;
        const uint8_t happened = event == 1;
        g_array_append_val(s->time, time);
        g_array_append_val(s->event, happened);
        g_array_append_val(s->stratum, stratum);
        g_array_append_val(s->group, group);
    }
    return true;
}

/* The curve of one group; at_risk gets the numbers under the ticks. */
static void km_of_group(const Sample *s, uint32_t group, LobKm *km) {
    g_autofree double *time = g_new(double, s->time->len + 1);
    g_autofree uint8_t *event = g_new(uint8_t, s->time->len + 1);
    size_t n = 0;
    for (size_t i = 0; i < s->time->len; i++)
        if (g_array_index(s->group, uint32_t, i) == group) {
            time[n] = g_array_index(s->time, double, i);
            event[n++] = g_array_index(s->event, uint8_t, i);
        }
    lob_km_fit(km, &(LobFollowUp){.n = n, .time = time, .event = event});
}

static void draw_band(LobPlot *plot, const LobKm *km, uint32_t group) {
    if (km->n_times == 0)
        return;
    lob_html_printf(plot->svg, "<path class=\"b%u\" d=\"M%.1f %.1f", group, lob_plot_x(plot, 0),
                    lob_plot_y(plot, 1));
    double last = 1;
    size_t end = km->n_times;
    while (end > 0 && (isnan(km->lower[end - 1]) || km->time[end - 1] > plot->x1))
        end--;
    for (size_t i = 0; i < end; i++, last = km->upper[i - 1])
        lob_html_printf(plot->svg, "L%.1f %.1fV%.1f", lob_plot_x(plot, km->time[i]), lob_plot_y(plot, last),
                        lob_plot_y(plot, km->upper[i]));
    for (size_t i = end; i-- > 0;)
        lob_html_printf(plot->svg, "L%.1f %.1fH%.1f", lob_plot_x(plot, km->time[i]),
                        lob_plot_y(plot, km->lower[i]), lob_plot_x(plot, km->time[i]));
    g_string_append(plot->svg, "Z\"/>\n");
}

static void draw_curve(LobPlot *plot, const LobKm *km, uint32_t group) {
    lob_html_printf(plot->svg, "<path class=\"s%u\" d=\"M%.1f %.1f", group, lob_plot_x(plot, 0),
                    lob_plot_y(plot, 1));
    for (size_t i = 0; i < km->n_times && km->time[i] <= plot->x1; i++)
        lob_html_printf(plot->svg, "H%.1fV%.1f", lob_plot_x(plot, km->time[i]),
                        lob_plot_y(plot, km->survival[i]));
    g_string_append(plot->svg, "\"/>\n");
}

static void numbers_at_risk(LobPlot *plot, const LobKm *km, uint32_t group, size_t line, const double *ticks,
                            size_t n) {
    const double py = plot->height - plot->bottom + 56 + 16 * (double)line;
    g_autofree char *css = g_strdup_printf("t%u", group);
    lob_plot_text(plot, 8, py, "start", css, group_names[group]);
    for (size_t i = 0; i < n; i++) {
        g_autofree char *text = g_strdup_printf("%g", lob_km_at_risk(km, ticks[i]));
        lob_plot_text(plot, lob_plot_x(plot, ticks[i]), py, "middle", "", text);
    }
}

static void save_curve(LobCsv *csv, const char *endpoint, uint32_t group, const LobKm *km) {
    for (size_t i = 0; i < km->n_times; i++) {
        lob_csv_text(csv, endpoint);
        lob_csv_text(csv, group_names[group]);
        lob_csv_number(csv, km->time[i]);
        lob_csv_number(csv, km->at_risk[i]);
        lob_csv_number(csv, km->events[i]);
        lob_csv_number(csv, km->survival[i]);
        lob_csv_number(csv, km->lower[i]);
        lob_csv_number(csv, km->upper[i]);
        lob_csv_end_row(csv);
    }
}

static void figure(LobPage *page, const Sample *s, const char *endpoint, LobCsv *csv) {
    double last = 0;
    for (size_t i = 0; i < s->time->len; i++)
        last = fmax(last, g_array_index(s->time, double, i));
    LobPlot plot = {
        .left = 70, .right = 20, .top = 14, .bottom = 110, .x0 = 0, .x1 = fmax(last, 1), .y0 = 0, .y1 = 1};
    g_autofree char *title = g_strdup_printf("Kaplan-Meier curves by risk group, endpoint %s", endpoint);
    g_string_append(page->html, "<figure>");
    lob_plot_begin(&plot, page->html, 720, 430, title,
                   "Event-free share over time of held-out patients, by risk group.");
    double years[12], levels[6];
    size_t n_years = lob_plot_ticks(0, plot.x1 / 365.25, years, 9),
           n_levels = lob_plot_ticks(0, 1, levels, 6);
    for (size_t i = 0; i < n_years; i++)
        years[i] *= 365.25;
    lob_plot_y_axis(&plot, levels, n_levels, 1, "event-free");
    lob_plot_x_axis(&plot, years, n_years, 365.25, "years");
    lob_plot_text(&plot, 8, plot.height - plot.bottom + 40, "start", "soft", "at risk");
    size_t line = 0;
    for (uint32_t g = 0; g < MAX_GROUPS; g++) {
        g_auto(LobKm) km = {0};
        km_of_group(s, g, &km);
        if (km.n == 0)
            continue;
        draw_band(&plot, &km, g);
        draw_curve(&plot, &km, g);
        numbers_at_risk(&plot, &km, g, line, years, n_years);
        g_autofree char *css = g_strdup_printf("t%u bold", g);
        g_autofree char *label =
            g_strdup_printf("%s risk, n %zu, events %g", group_names[g], km.n, km.total_events);
        lob_plot_text(&plot, plot.width - plot.right - 6, plot.top + 14 + 16 * (double)line++, "end", css,
                      label);
        save_curve(csv, endpoint, g, &km);
    }
    lob_plot_end(&plot);
    const LobFollowUp data = {.n = s->time->len,
                              .time = (const double *)(void *)s->time->data,
                              .event = (const uint8_t *)s->event->data,
                              .stratum = (const uint32_t *)(void *)s->stratum->data};
    g_auto(LobLogRank) test = {0};
    lob_log_rank(&test, &data, (const uint32_t *)(void *)s->group->data, MAX_GROUPS);
    if (isnan(test.test.p))
        g_string_append(page->html, "<figcaption>Log-rank test: not estimable.");
    else
        lob_html_printf(
            page->html,
            "<figcaption>Log-rank test stratified by center: chi-squared %.2f on %g df, p %s%.3g.",
            test.test.statistic, test.test.df, test.test.p < 1e-4 ? "&lt; " : "", fmax(test.test.p, 1e-4));
    g_string_append(page->html,
                    " The cut between groups is the median of each fold's training patients, never of the "
                    "patients shown. Bands: 95 % intervals (log-log).</figcaption></figure>\n");
}

bool lob_page_survival(LobPage *page, GError **err) {
    if (!page->predictions)
        return true;
    const LobStudy *study = page->cohort->study;
    g_autoptr(LobCsv) csv = lob_csv_new((const char *[]){"endpoint", "group", "time", "at_risk", "events",
                                                         "survival", "lower", "upper", NULL});
    lob_html_section(page->html, "survival", "Outcome by risk group",
                     "Held-out patients of all centers, by predicted risk.");
    for (size_t e = 0; e < study->n_endpoints; e++) {
        if (study->endpoints[e].kind != LOB_ENDPOINT_SURVIVAL)
            continue;
        g_auto(Sample) sample;
        sample_init(&sample);
        if (!sample_read(page, study->endpoints[e].name, &sample, err))
            return false;
        if (sample.time->len == 0)
            g_string_append(page->html, "<p>No held-out patient has a prediction.</p>");
        else
            figure(page, &sample, study->endpoints[e].name, csv);
    }
    g_string_append(page->html, "</section>\n");
    return lob_page_save_data(page, csv, "km", err);
}
