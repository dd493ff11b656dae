/* What treating by the effect score is worth, drawn: the permutation null, the targeting curve, arms by third
 * of predicted benefit, and the decision curve of benefit. */
#include "report/report_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BINS 24
#define REPLICATES 200
#define STEPS 60 /* of the decision curve */

/* ---- rows of benefit_scores.csv of one contrast ---- */

typedef struct {
    size_t n;
    double *time, *weight, *gain, *doubly, tau;
    uint8_t *event, *treated;
    uint32_t *third, *center;
} Scores;

static void scores_clear(Scores *s) {
    g_free(s->time);
    g_free(s->weight);
    g_free(s->gain);
    g_free(s->doubly);
    g_free(s->event);
    g_free(s->treated);
    g_free(s->third);
    g_free(s->center);
    *s = (Scores){0};
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Scores, scores_clear)

static uint32_t center_of(const LobCohort *cohort, const char *name) {
    for (uint32_t c = 0; c < cohort->n_centers; c++)
        if (strcmp(cohort->centers[c], name) == 0)
            return c;
    return LOB_NO_INDEX;
}

static bool scores_read(Scores *s, const LobPage *page, const LobTable *t, const char *contrast,
                        GError **err) {
    static const char *const names[] = {
        "treated", "time", "event", "third", "weight", "predicted_gain", "doubly_robust_gain", "tau"};
    int column[G_N_ELEMENTS(names)];
    const size_t rows = lob_table_rows(t);
    const int c_contrast = lob_table_require(t, "contrast", err),
              c_center = lob_table_require(t, "center", err);
    *s = (Scores){.time = g_new(double, rows + 1),
                  .weight = g_new(double, rows + 1),
                  .gain = g_new(double, rows + 1),
                  .doubly = g_new(double, rows + 1),
                  .event = g_new(uint8_t, rows + 1),
                  .treated = g_new(uint8_t, rows + 1),
                  .third = g_new(uint32_t, rows + 1),
                  .center = g_new(uint32_t, rows + 1)};
    if (c_contrast < 0 || c_center < 0)
        return false;
    for (size_t k = 0; k < G_N_ELEMENTS(names); k++)
        if ((column[k] = lob_table_require(t, names[k], err)) < 0)
            return false;
    for (size_t r = 0; r < rows; r++) {
        double v[G_N_ELEMENTS(names)];
        if (strcmp(lob_table_cell(t, r, c_contrast), contrast) != 0)
            continue;
        for (size_t k = 0; k < G_N_ELEMENTS(names); k++)
            if (!lob_table_number(t, r, column[k], &v[k], err))
                return false;
        s->treated[s->n] = v[0] == 1;
        s->time[s->n] = v[1];
        s->event[s->n] = v[2] == 1;
        s->third[s->n] = (uint32_t)v[3] - 1;
        s->weight[s->n] = v[4];
        s->gain[s->n] = v[5];
        s->doubly[s->n] = v[6];
        s->tau = v[7];
        s->center[s->n++] = center_of(page->cohort, lob_table_cell(t, r, c_center));
    }
    return true;
}

/* ---- the targeting curve ---- */

static bool targeting_curve(LobPage *page, const Scores *s, const char *contrast, size_t k, GError **err) {
    g_autofree double *toc = g_new(double, s->n + 1), *share = g_new(double, s->n + 1);
    g_autofree char *title = g_strdup_printf("Targeting curve of %s (its area is AUTOC)", contrast);
    g_autofree char *name = g_strdup_printf("targeting_%zu", k + 1);
    g_autoptr(LobCsv) csv = lob_csv_new((const char *[]){"share_treated", "gain_over_mean_days", NULL});
    lob_toc_curve(s->doubly, s->gain, s->n, toc);
    double low = 0, high = 0, ticks[8], levels[8];
    for (size_t i = 0; i < s->n; i++) {
        share[i] = (double)(i + 1) / (double)s->n;
        if (share[i] >= 0.05) { /* the mean over very few says nothing and sets the scale */
            low = fmin(low, toc[i]);
            high = fmax(high, toc[i]);
        }
        lob_csv_number(csv, share[i]);
        lob_csv_number(csv, toc[i]);
        lob_csv_end_row(csv);
    }
    const double room = fmax(1, 0.08 * (high - low));
    LobPlot plot = {
        .left = 70, .right = 20, .top = 14, .bottom = 50, .x1 = 1, .y0 = low - room, .y1 = high + room};
    lob_html_heading(page->html, title);
    lob_figure_begin(page);
    lob_plot_begin(&plot, page->html, 620, 320, title,
                   "Gain of the patients treated first over the mean gain, by the share that is treated.");
    lob_plot_y_axis(&plot, levels, lob_plot_ticks(plot.y0, plot.y1, levels, 7), 0,
                    "gain over the mean gain, days");
    lob_plot_x_axis(&plot, ticks, lob_plot_ticks(0, 1, ticks, 6), 1,
                    "share treated, highest predicted benefit first");
    lob_plot_line(&plot, 0, 0, 1, 0, "ref");
    lob_plot_path(&plot, share, toc, s->n, false, "s0");
    lob_plot_end(&plot);
    g_autofree char *caption = g_strdup_printf(
        "n %zu held-out patients; doubly robust gains in restricted mean time to %.0f days. Above the line: "
        "those put first gain more than the average. Its start rests on few patients; interval and test of "
        "its area are in the table below.",
        s->n, s->tau);
    lob_figure_end(page, name, caption);
    return lob_page_save_data(page, csv, name, err);
}

/* ---- arms by third ---- */

static const char *const thirds[] = {"lowest", "middle", "highest"};

static bool curves_of_third(LobPage *page, const Scores *s, const char *contrast, size_t k, uint32_t third,
                            GError **err) {
    const char *names[] = {"without", "with"};
    g_autofree uint32_t *group = g_new(uint32_t, s->n + 1);
    for (size_t i = 0; i < s->n; i++)
        group[i] = s->third[i] == third ? s->treated[i] : LOB_NO_INDEX;
    g_autofree char *title =
        g_strdup_printf("With and without %s in the %s third of predicted benefit", contrast, thirds[third]);
    g_autofree char *name = g_strdup_printf("km_benefit_%zu_%s", k + 1, thirds[third]);
    const LobSample sample = {.n = s->n, .time = s->time, .event = s->event};
    const LobCurves curves = {.sample = &sample,
                              .group = group,
                              .names = names,
                              .n_groups = 2,
                              .weight = s->weight,
                              .title = title,
                              .desc = "Overlap-weighted event-free share over time by treatment."};
    lob_html_heading(page->html, title);
    lob_figure_begin(page);
    if (!lob_curves(page, &curves, name, err))
        return false;
    lob_figure_end(
        page, name,
        "Overlap weights with propensities from the training centers, which also set the thirds. What "
        "was not measured still confounds.");
    return true;
}

typedef struct {
    const Scores *s;
    double tau;
} Differences;

/* Weighted difference of restricted means with and without, by third. */
static void differences(const double *count, size_t n, double *out, void *user) {
    const Differences *d = user;
    g_autofree double *time = g_new(double, n + 1), *weight = g_new(double, n + 1);
    g_autofree uint8_t *event = g_new(uint8_t, n + 1);
    for (uint32_t third = 0; third < 3; third++) {
        LobEstimate mean[2];
        for (int arm = 0; arm < 2; arm++) {
            size_t m = 0;
            for (size_t i = 0; i < n; i++)
                if (count[i] > 0 && d->s->third[i] == third && d->s->treated[i] == arm) {
                    time[m] = d->s->time[i];
                    event[m] = d->s->event[i];
                    weight[m++] = count[i] * d->s->weight[i];
                }
            mean[arm] =
                lob_rmst(&(LobFollowUp){.n = m, .time = time, .event = event, .weight = weight}, d->tau);
        }
        out[third] = mean[1].estimate - mean[0].estimate;
    }
}

static bool table_of_thirds(LobPage *page, const Scores *s, const char *contrast, size_t k, GError **err) {
    g_auto(LobBootstrap) b = {0};
    Differences d = {s, s->tau};
    lob_bootstrap(&b, s->center, s->n, REPLICATES, 0, page->cohort->study->validation.seed, 3, differences,
                  &d);
    g_autofree char *caption = g_strdup_printf(
        "Is predicted benefit observed? %s, restricted mean days to %.0f, by third of predicted benefit",
        contrast, s->tau);
    LobSheet *sheet =
        lob_sheet_new(page, caption,
                      (const char *[]){"third", "#predicted gain", "#weighted difference", "#lower", "#upper",
                                       "#doubly robust gain", "#n", "#events", "note", NULL},
                      "benefit_thirds_%zu", k + 1);
    for (uint32_t third = 0; third < 3; third++) {
        double n = 0, events = 0, gain = 0, doubly = 0;
        for (size_t i = 0; i < s->n; i++)
            if (s->third[i] == third) {
                n++;
                events += s->event[i];
                gain += s->gain[i];
                doubly += s->doubly[i];
            }
        const LobEstimate e = b.estimate[third];
        lob_sheet_text(sheet, thirds[third]);
        lob_sheet_number(sheet, gain / n, 1);
        lob_sheet_number(sheet, e.estimate, 1);
        lob_sheet_number(sheet, e.lower, 1);
        lob_sheet_number(sheet, e.upper, 1);
        lob_sheet_number(sheet, doubly / n, 1);
        lob_sheet_number(sheet, n, 0);
        lob_sheet_number(sheet, events, 0);
        lob_sheet_text(sheet, isnan(e.estimate)
                                  ? "an arm's follow-up ends before"
                                  : "percentiles of 200 draws within centers, weights as they are");
    }
    return lob_sheet_end(sheet, err);
}

/* ---- decision curve of benefit ---- */

static bool decision_curve(LobPage *page, const Scores *s, const char *contrast, size_t k, GError **err) {
    double threshold[STEPS], score[STEPS], all[STEPS], mean = 0, low = 0, high = 1, ticks[8], levels[8];
    g_autoptr(LobCsv) csv =
        lob_csv_new((const char *[]){"threshold_days", "by_score", "treat_all", "treated", "n", NULL});
    for (size_t i = 0; i < s->n; i++)
        mean += s->doubly[i] / (double)s->n;
    const double most = fmax(30, lob_quantile(s->gain, s->n, 0.95));
    for (int j = 0; j < STEPS; j++) {
        size_t treated = 0;
        threshold[j] = most * j / (STEPS - 1);
        all[j] = mean - threshold[j];
        score[j] = 0;
        for (size_t i = 0; i < s->n; i++)
            if (s->gain[i] >= threshold[j]) {
                score[j] += (s->doubly[i] - threshold[j]) / (double)s->n;
                treated++;
            }
        low = fmin(low, score[j]);
        high = fmax(high, fmax(score[j], all[j]));
        lob_csv_number(csv, threshold[j]);
        lob_csv_number(csv, score[j]);
        lob_csv_number(csv, all[j]);
        lob_csv_integer(csv, (int64_t)treated);
        lob_csv_integer(csv, (int64_t)s->n);
        lob_csv_end_row(csv);
    }
    const double room = 0.08 * (high - low);
    LobPlot plot = {
        .left = 70, .right = 190, .top = 14, .bottom = 50, .x1 = most, .y0 = low - room, .y1 = high + room};
    g_autofree char *title = g_strdup_printf("Decision curve of benefit from %s", contrast);
    g_autofree char *name = g_strdup_printf("benefit_decision_%zu", k + 1);
    lob_html_heading(page->html, title);
    lob_figure_begin(page);
    lob_plot_begin(&plot, page->html, 620, 320, title,
                   "Net gain per patient of treating those predicted to gain at least the threshold.");
    lob_plot_y_axis(&plot, levels, lob_plot_ticks(plot.y0, plot.y1, levels, 7), 0,
                    "net gain per patient, days");
    lob_plot_x_axis(&plot, ticks, lob_plot_ticks(0, most, ticks, 6), 1,
                    "least gain worth the treatment's harm, days");
    lob_plot_line(&plot, 0, 0, most, 0, "ref");
    lob_plot_path(&plot, threshold, all, STEPS, false, "s4");
    lob_plot_path(&plot, threshold, score, STEPS, false, "s0");
    const double px = plot.width - plot.right + 12;
    lob_plot_key(&plot, px, plot.top + 14, "ref", "treat nobody");
    lob_plot_key(&plot, px, plot.top + 34, "s4", "treat everybody");
    lob_plot_key(&plot, px, plot.top + 54, "s0", "by predicted benefit");
    lob_plot_end(&plot);
    g_autofree char *caption = g_strdup_printf(
        "n %zu held-out patients, doubly robust gains in restricted mean time to %.0f days, less the "
        "threshold "
        "for everyone treated. Without an interval: the table below has those of the policies' values.",
        s->n, s->tau);
    lob_figure_end(page, name, caption);
    return lob_page_save_data(page, csv, name, err);
}

/* ---- the permutation null ---- */

typedef struct {
    double *z, observed, low, high; /* low, high: of all, the observed one too */
    size_t n;
} Draws;

static bool draws_read(Draws *d, const LobTable *t, const char *contrast, GError **err) {
    const int c_contrast = lob_table_require(t, "contrast", err), c_draw = lob_table_require(t, "draw", err),
              c_z = lob_table_require(t, "z", err);
    *d = (Draws){g_new(double, lob_table_rows(t) + 1), NAN, INFINITY, -INFINITY, 0};
    if (c_contrast < 0 || c_draw < 0 || c_z < 0)
        return false;
    for (size_t r = 0; r < lob_table_rows(t); r++) {
        double draw, value;
        if (strcmp(lob_table_cell(t, r, c_contrast), contrast) != 0)
            continue;
        if (!lob_table_number(t, r, c_draw, &draw, err) || !lob_table_number(t, r, c_z, &value, err))
            return false;
        if (isnan(value))
            continue;
        if (draw > 0)
            d->z[d->n++] = value;
        else
            d->observed = value;
        d->low = fmin(d->low, value);
        d->high = fmax(d->high, value);
    }
    return true;
}

/* Counts by bin; the highest. */
static size_t bins_of(const Draws *d, double width, size_t count[BINS]) {
    size_t top = 1;
    memset(count, 0, BINS * sizeof *count);
    for (size_t i = 0; i < d->n; i++) {
        const size_t bin = MIN((size_t)((d->z[i] - d->low) / width), BINS - 1);
        top = MAX(top, ++count[bin]);
    }
    return top;
}

static void draw_bins(LobPlot *plot, const Draws *d, double width, const size_t count[BINS], LobCsv *csv) {
    for (size_t b = 0; b < BINS; b++) {
        const double from = d->low + (double)b * width, x = lob_plot_x(plot, from);
        const double top = lob_plot_y(plot, (double)count[b]);
        lob_html_printf(plot->svg,
                        "<rect class=\"bar\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n", x,
                        top, lob_plot_x(plot, from + width) - x, lob_plot_y(plot, 0) - top);
        lob_csv_number(csv, from);
        lob_csv_number(csv, from + width);
        lob_csv_integer(csv, (int64_t)count[b]);
        lob_csv_end_row(csv);
    }
    const double px = lob_plot_x(plot, d->observed);
    g_autofree char *label = g_strdup_printf("observed (%.2f)", d->observed);
    lob_plot_line(plot, d->observed, 0, d->observed, plot->y1, "s1");
    lob_plot_text(plot, px, 20, px > 540 ? "end" : px < 90 ? "start" : "middle", "t1", label);
}

static bool null_figure(LobPage *page, const Draws *d, const char *contrast, size_t k, GError **err) {
    const double width = fmax((d->high - d->low) / BINS, 1e-6);
    size_t count[BINS];
    const size_t top = bins_of(d, width, count);
    g_autofree char *title = g_strdup_printf("Permutation null of the interaction of %s", contrast);
    g_autofree char *name = g_strdup_printf("permutation_null_%zu", k + 1);
    g_autoptr(LobCsv) csv = lob_csv_new((const char *[]){"from_z", "to_z", "draws", NULL});
    LobPlot plot = {.left = 60,
                    .right = 20,
                    .top = 30,
                    .bottom = 50,
                    .x0 = d->low - width,
                    .x1 = d->high + width,
                    .y1 = (double)top * 1.1};
    double ticks[10], levels[8];
    lob_html_heading(page->html, title);
    lob_figure_begin(page);
    lob_plot_begin(
        &plot, page->html, 620, 300, title,
        "How often each size of interaction came up where there can be none, and the observed one.");
    lob_plot_y_axis(&plot, levels, lob_plot_ticks(0, plot.y1, levels, 6), 0, "draws");
    lob_plot_x_axis(&plot, ticks, lob_plot_ticks(plot.x0, plot.x1, ticks, 9), 1,
                    "interaction / its standard error");
    draw_bins(&plot, d, width, count, csv);
    lob_plot_end(&plot);
    g_autofree char *caption = g_strdup_printf(
        "n %zu draws: what modifies was exchanged within center and arm, so that there is no interaction but "
        "the arms' average effects stay%s.",
        d->n,
        lob_page_either(page, ", and what is fitted to it was fitted again",
                        "; the model stays as it was locked"));
    lob_figure_end(page, name, caption);
    return lob_page_save_data(page, csv, name, err);
}

static bool null_of(LobPage *page, const LobTable *t, const char *contrast, size_t k, GError **err) {
    Draws d;
    const bool ok = draws_read(&d, t, contrast, err) &&
                    (d.n == 0 || isnan(d.observed) || null_figure(page, &d, contrast, k, err));
    g_free(d.z);
    return ok;
}

/* ---- together ---- */

static bool read_beside(const LobPage *page, const char *name, LobTable **t, GError **err) {
    g_autofree char *path = g_build_filename(page->out, name, NULL);
    *t = NULL;
    return !g_file_test(path, G_FILE_TEST_EXISTS) || (*t = lob_table_read(path, err)) != NULL;
}

/* The contrasts of a table in order of appearance. */
static GPtrArray *contrasts_of(const LobTable *t, GError **err) {
    const int column = lob_table_require(t, "contrast", err);
    if (column < 0)
        return NULL;
    GPtrArray *names = g_ptr_array_new();
    for (size_t r = 0; r < lob_table_rows(t); r++) {
        const char *name = lob_table_cell(t, r, column);
        if (!g_ptr_array_find_with_equal_func(names, name, g_str_equal, NULL))
            g_ptr_array_add(names, (gpointer)name);
    }
    return names;
}

static bool figures_of_scores(LobPage *page, const LobTable *t, GError **err) {
    g_autoptr(GPtrArray) names = contrasts_of(t, err);
    if (!names)
        return false;
    if (names->len == 0)
        g_string_append(page->html,
                        "<p>Targeting curve, arms by third of benefit and decision curve of benefit: "
                        "not estimable; the table below has the reasons.</p>\n");
    for (guint k = 0; k < names->len; k++) {
        g_auto(Scores) s = {0};
        const char *contrast = names->pdata[k];
        if (!scores_read(&s, page, t, contrast, err) || !targeting_curve(page, &s, contrast, k, err) ||
            !table_of_thirds(page, &s, contrast, k, err))
            return false;
        for (uint32_t third = 0; third < 3; third++)
            if (!curves_of_third(page, &s, contrast, k, third, err))
                return false;
        if (!decision_curve(page, &s, contrast, k, err))
            return false;
    }
    return true;
}

bool lob_page_targeting(LobPage *page, GError **err) {
    g_autoptr(LobTable) draws = NULL, scores = NULL;
    if (!read_beside(page, "benefit_draws.csv", &draws, err) ||
        !read_beside(page, "benefit_scores.csv", &scores, err))
        return false;
    g_autoptr(GPtrArray) names = draws ? contrasts_of(draws, err) : NULL;
    if (draws && !names)
        return false;
    for (guint k = 0; names && k < names->len; k++)
        if (!null_of(page, draws, names->pdata[k], k, err))
            return false;
    if (!scores)
        g_string_append(page->html,
                        "<p>Targeting curve, arms by third of benefit: not available, there is no "
                        "benefit_scores.csv.</p>\n");
    return !scores || figures_of_scores(page, scores, err);
}
