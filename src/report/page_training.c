/* How the models were trained: losses by epoch, and when held-out centers were looked at. */
#include "report/report_internal.h"

#include <math.h>
#include <string.h>

/* ---- learning curves ---- */

typedef struct {
    double *sum[2]; /* [epochs] of the losses of learning and of judging patients; then means */
    double *n[2];
    size_t epochs;
} Curve;

/* Mean losses by epoch over folds, seeds and rounds, of one endpoint and model: the rounds' where there are
 * any, else the models' own. */
static bool mean_curve(const LobTable *t, const int column[6], const char *endpoint, const char *model,
                       bool rounds, Curve *c, GError **err) {
    for (size_t r = 0; r < lob_table_rows(t); r++) {
        double epoch, loss;
        const bool own = strcmp(lob_table_cell(t, r, column[2]), "model") == 0;
        if (own == rounds || strcmp(lob_table_cell(t, r, column[0]), endpoint) != 0 ||
            strcmp(lob_table_cell(t, r, column[1]), model) != 0)
            continue;
        if (!lob_table_number(t, r, column[3], &epoch, err))
            return false;
        for (int k = 0; k < 2; k++) {
            if (!lob_table_number(t, r, column[4 + k], &loss, err))
                return false;
            if (isnan(loss) || !(epoch >= 0 && epoch < (double)c->epochs))
                continue;
            c->sum[k][(size_t)epoch] += loss;
            c->n[k][(size_t)epoch]++;
        }
    }
    return true;
}

static void draw(LobPage *page, const Curve *c, const char *title, LobCsv *csv) {
    static const char *const classes[] = {"s0", "s1"}, *const names[] = {"learning patients",
                                                                         "judging patients"};
    double low = INFINITY, high = -INFINITY, ticks[8];
    g_autofree double *x = g_new(double, c->epochs), *y = g_new(double, c->epochs);
    for (int k = 0; k < 2; k++)
        for (size_t e = 0; e < c->epochs; e++) {
            if (c->n[k][e] == 0)
                continue;
            low = fmin(low, c->sum[k][e] / c->n[k][e]);
            high = fmax(high, c->sum[k][e] / c->n[k][e]);
        }
    LobPlot plot = {.left = 60,
                    .right = 170,
                    .top = 12,
                    .bottom = 44,
                    .x0 = 0,
                    .x1 = (double)c->epochs - 1,
                    .y0 = low - 0.05 * (high - low),
                    .y1 = high + 0.05 * (high - low) + 1e-9};
    lob_plot_begin(&plot, page->html, 620, 280, title, "Mean loss after each epoch.");
    lob_plot_y_axis(&plot, ticks, lob_plot_ticks(low, high, ticks, 6), 3, "loss");
    lob_plot_x_axis(&plot, ticks, lob_plot_ticks(0, (double)c->epochs - 1, ticks, 8), 1, "epoch");
    for (int k = 0, shown = 0; k < 2; k++) {
        double any = 0;
        for (size_t e = 0; e < c->epochs; e++) {
            x[e] = (double)e;
            y[e] = c->n[k][e] > 0 ? c->sum[k][e] / c->n[k][e] : NAN;
            any += c->n[k][e];
            lob_csv_text(csv, names[k]);
            lob_csv_integer(csv, (int64_t)e);
            lob_csv_number(csv, y[e]);
            lob_csv_number(csv, c->n[k][e]);
            lob_csv_end_row(csv);
        }
        if (any == 0)
            continue;
        lob_plot_path(&plot, x, y, c->epochs, false, classes[k]);
        lob_plot_key(&plot, plot.width - plot.right + 12, plot.top + 14 + 20 * shown++, classes[k], names[k]);
    }
    g_autofree char *text =
        g_strdup_printf("n %g trainings at first", fmax(c->n[0][MIN(c->epochs - 1, 1)], c->n[1][0]));
    lob_plot_text(&plot, plot.width - plot.right + 12, plot.top + 60, "start", "soft", text);
    lob_plot_end(&plot);
}

static bool figure(LobPage *page, const LobTable *t, const int column[6], size_t endpoint, guint model,
                   size_t epochs, GError **err) {
    const char *name = page->cohort->study->endpoints[endpoint].name, *kind = page->models->pdata[model];
    g_autofree double *room = g_new0(double, 4 * epochs);
    Curve c = {{room, room + epochs}, {room + 2 * epochs, room + 3 * epochs}, epochs};
    bool found = false;
    for (int rounds = 1; rounds >= 0 && !found; rounds--) {
        if (!mean_curve(t, column, name, kind, rounds, &c, err))
            return false;
        for (size_t e = 0; e < epochs; e++)
            found = found || c.n[0][e] > 0 || c.n[1][e] > 0;
    }
    if (!found)
        return true;
    while (c.epochs > 1 && c.n[0][c.epochs - 1] == 0 && c.n[1][c.epochs - 1] == 0)
        c.epochs--;
    g_autoptr(LobCsv) csv = lob_csv_new((const char *[]){"patients", "epoch", "loss", "trainings", NULL});
    g_autofree char *title = g_strdup_printf("Losses by epoch, endpoint %s, model %s", name, kind);
    g_autofree char *file = g_strdup_printf("learning_%zu_%u", endpoint + 1, model + 1);
    lob_figure_begin(page);
    draw(page, &c, title, csv);
    g_autofree char *caption = g_strdup_printf(
        "%s: means over folds, seeds and the rounds inside the training centers that find how long "
        "to train (every one is in learning.csv). A training that has ended early is missing from "
        "later epochs, which bends the means.",
        title);
    lob_figure_end(page, file, caption);
    return lob_page_save_data(page, csv, file, err);
}

static bool curves(LobPage *page, GError **err) {
    static const char *const names[] = {"endpoint", "model", "round", "epoch", "train_loss", "inner_loss"};
    g_autofree char *path = g_build_filename(page->out, "learning.csv", NULL);
    int column[G_N_ELEMENTS(names)];
    size_t epochs = 1;
    if (!g_file_test(path, G_FILE_TEST_EXISTS))
        return true;
    g_autoptr(LobTable) t = lob_table_read(path, err);
    for (size_t k = 0; k < G_N_ELEMENTS(names); k++)
        if (!t || (column[k] = lob_table_require(t, names[k], err)) < 0)
            return false;
    for (size_t r = 0; r < lob_table_rows(t); r++) {
        double epoch;
        if (!lob_table_number(t, r, column[3], &epoch, err))
            return false;
        if (epoch >= 0 && epoch < 1e6)
            epochs = MAX(epochs, (size_t)epoch + 1);
    }
    for (size_t e = 0; e < page->cohort->study->n_endpoints; e++)
        for (guint m = 0; m < page->models->len; m++)
            if (!figure(page, t, column, e, m, epochs, err))
                return false;
    return true;
}

bool lob_page_training(LobPage *page, GError **err) {
    if (!page->predictions || page->locked.sha256) /* a locked model's page has its own ledger */
        return true;
    lob_html_section(
        page->html, "training", "Training",
        "How the models learned, without a look at the centers held out, and when those were opened.");
    if (!curves(page, err) || !lob_page_openings(page, err))
        return false;
    lob_html_section_end(page->html);
    return true;
}
