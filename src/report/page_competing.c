/* Where something else can happen first: cumulative incidence of the event and of what competes with it. */
#include "report/report_internal.h"

#include <math.h>

static const char *const causes[] = {"event", "competing"};
static const char *const groups[] = {"low risk", "high risk"};

typedef struct {
    LobPage *page;
    const LobSample *s;
    LobPlot *plot;
    LobCsv *csv;
} Drawing;

/* The cause of each row's end: 0 none, 1 the event, 2 what competes. */
static uint8_t *causes_of(const LobPage *page, const LobSample *s, size_t *competing) {
    uint8_t *cause = g_new(uint8_t, s->n + 1);
    *competing = 0;
    for (size_t i = 0; i < s->n; i++) {
        const bool known = s->patient[i] != LOB_NO_INDEX;
        cause[i] = known && page->cohort->event[s->index][s->patient[i]] == 2 ? 2 : s->event[i];
        *competing += cause[i] == 2;
    }
    return cause;
}

static void draw_group(const Drawing *d, const uint8_t *cause, uint8_t high, size_t line) {
    const LobSample *s = d->s;
    g_autofree double *time = g_new(double, s->n + 1);
    g_autofree uint8_t *event = g_new(uint8_t, s->n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        if (s->high[i] == high) {
            time[n] = s->time[i];
            event[n++] = cause[i];
        }
    if (n == 0)
        return;
    g_auto(LobAalenJohansen) aj = {0};
    lob_aalen_johansen(&aj, &(LobFollowUp){.n = n, .time = time, .event = event}, 2);
    for (size_t c = 0; c < 2; c++) {
        g_autofree char *css = g_strdup_printf("s%zu", 2 * c + high);
        g_autofree char *label = g_strdup_printf("%s, %s, n %zu", groups[high], causes[c], n);
        lob_plot_path(d->plot, aj.time, aj.incidence + c * aj.n_times, aj.n_times, true, css);
        lob_plot_key(d->plot, d->plot->left + 16, d->plot->top + 14 + 18 * (double)(line + c), css, label);
        for (size_t i = 0; i < aj.n_times; i++) {
            lob_csv_text(d->csv, groups[high]);
            lob_csv_text(d->csv, causes[c]);
            lob_csv_number(d->csv, aj.time[i]);
            lob_csv_number(d->csv, aj.at_risk[i]);
            lob_csv_number(d->csv, aj.incidence[c * aj.n_times + i]);
            lob_csv_number(d->csv, aj.se[c * aj.n_times + i]);
            lob_csv_end_row(d->csv);
        }
    }
}

bool lob_page_competing(LobPage *page, const LobSample *s, GError **err) {
    size_t competing;
    g_autofree uint8_t *cause = causes_of(page, s, &competing);
    if (!s->spec->competing)
        return true;
    if (competing == 0) {
        g_string_append(page->html, "<p>Cumulative incidence: no competing event happened.</p>\n");
        return true;
    }
    g_autofree char *title = g_strdup_printf("Cumulative incidence by risk group, endpoint %s", s->endpoint);
    g_autofree char *name = g_strdup_printf("incidence_%zu", s->index + 1);
    g_autoptr(LobCsv) csv =
        lob_csv_new((const char *[]){"group", "cause", "time", "at_risk", "incidence", "se", NULL});
    double last = 1, years[12], levels[6];
    for (size_t i = 0; i < s->n; i++)
        last = fmax(last, s->time[i]);
    LobPlot plot = {.left = 60, .right = 20, .top = 14, .bottom = 50, .x1 = last, .y1 = 1};
    lob_html_heading(page->html, title);
    lob_figure_begin(page);
    lob_plot_begin(&plot, page->html, 620, 340, title,
                   "Share of patients with the event, and with what competes with it, over time.");
    lob_plot_y_axis(&plot, levels, lob_plot_ticks(0, 1, levels, 6), 1, "cumulative incidence");
    const size_t n_years = lob_plot_ticks(0, last / 365.25, years, 9);
    for (size_t i = 0; i < n_years; i++)
        years[i] *= 365.25;
    lob_plot_x_axis(&plot, years, n_years, 365.25, "years from time zero");
    const Drawing d = {page, s, &plot, csv};
    draw_group(&d, cause, 1, 0);
    draw_group(&d, cause, 0, 2);
    lob_plot_end(&plot);
    g_autofree char *caption =
        g_strdup_printf("n %zu held-out patients, events %g, competing %zu (Aalen-Johansen). Kaplan-Meier "
                        "curves above take what competes for censoring and so overstate the incidence.",
                        s->n, s->events, competing);
    lob_figure_end(page, name, caption);
    return lob_page_save_data(page, csv, name, err);
}
