/* How many lymphocyte-like nuclei the slides hold, by center, and where they lie where tumour was drawn. */
#include "report/report_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_DOTS 400 /* a center */

typedef struct {
    const LobTable *table;
    int slide, center, tiles, density, core, margin, phenotype, note;
} Immune;

static bool find_columns(Immune *m, GError **err) {
    const struct {
        int *column;
        const char *name;
    } wanted[] = {{&m->slide, "slide_id"},      {&m->center, "center"},
                  {&m->tiles, "tiles"},         {&m->density, "lymphocytes_per_mm2"},
                  {&m->core, "core_per_mm2"},   {&m->margin, "margin_per_mm2"},
                  {&m->phenotype, "phenotype"}, {&m->note, "note"}};
    for (size_t i = 0; i < G_N_ELEMENTS(wanted); i++)
        if ((*wanted[i].column = lob_table_require(m->table, wanted[i].name, err)) < 0)
            return false;
    return true;
}

/* Densities of a center's slides, ascending; n. */
static bool of_center(const Immune *m, const char *center, double *density, size_t *n, GError **err) {
    *n = 0;
    for (size_t r = 0; r < lob_table_rows(m->table); r++)
        if (strcmp(lob_table_cell(m->table, r, m->center), center) == 0) {
            if (!lob_table_number(m->table, r, m->density, &density[*n], err))
                return false;
            *n += isnan(density[*n]) ? 0 : 1;
        }
    return true;
}

static double count(const Immune *m, const char *center, const char *phenotype) {
    double n = 0;
    for (size_t r = 0; r < lob_table_rows(m->table); r++)
        n += strcmp(lob_table_cell(m->table, r, m->center), center) == 0 &&
             strcmp(lob_table_cell(m->table, r, m->phenotype), phenotype) == 0;
    return n;
}

static size_t with_phenotype(const Immune *m) {
    size_t n = 0;
    for (size_t r = 0; r < lob_table_rows(m->table); r++)
        n += *lob_table_cell(m->table, r, m->phenotype) != '\0';
    return n;
}

static bool table_of_centers(LobPage *page, const Immune *m, GError **err) {
    static const char *const phenotypes[] = {"inflamed", "excluded", "desert"};
    const bool drawn = with_phenotype(m) > 0;
    g_autofree double *density = g_new(double, lob_table_rows(m->table) + 1);
    LobSheet *sheet = lob_sheet_new(
        page,
        "Lymphocyte-like nuclei per mm\xc2\xb2 of tissue, by center; phenotypes of slides with drawn tumour",
        (const char *[]){"center", "#slides", "#lower quartile", "#median", "#upper quartile", "#inflamed",
                         "#excluded", "#desert", NULL},
        "immune_centers");
    bool ok = true;
    for (size_t k = 0; ok && k < page->cohort->n_centers; k++) {
        const char *center = page->cohort->centers[k];
        size_t n;
        ok = of_center(m, center, density, &n, err);
        lob_sheet_text(sheet, center);
        lob_sheet_number(sheet, (double)n, 0);
        for (int q = 1; q < 4; q++)
            lob_sheet_number(sheet, ok ? lob_quantile(density, n, q / 4.0) : NAN, 0);
        for (size_t i = 0; i < G_N_ELEMENTS(phenotypes); i++)
            lob_sheet_number(sheet, drawn ? count(m, center, phenotypes[i]) : NAN, 0);
    }
    return lob_sheet_end(sheet, ok ? err : NULL) && ok;
}

static void draw_center(LobPlot *plot, const char *center, size_t k, const double *density, size_t n) {
    const double y = (double)k + 0.5;
    const size_t step = n / MOST_DOTS + 1;
    g_autofree char *name = lob_plot_fit(center, plot->left - 16), *label = g_strdup_printf("n %zu", n);
    lob_plot_text(plot, 8, lob_plot_y(plot, y) + 4, "start", "", name);
    lob_plot_text(plot, plot->width - plot->right + 12, lob_plot_y(plot, y) + 4, "start", "soft", label);
    for (size_t i = 0; i < n; i += step) /* neighbours in the table step aside from each other */
        lob_plot_dot(plot, density[i], y + 0.28 * ((double)(i * 7 % 11) / 5 - 1), 2.5, "mark dim");
    if (n)
        lob_plot_line(plot, lob_quantile(density, n, 0.5), y - 0.38, lob_quantile(density, n, 0.5), y + 0.38,
                      "s1");
}

static bool figure(LobPage *page, const Immune *m, GError **err) {
    const size_t centers = page->cohort->n_centers;
    g_autofree double *density = g_new(double, lob_table_rows(m->table) + 1);
    g_autoptr(LobCsv) csv = lob_csv_new((const char *[]){"center", "lymphocytes_per_mm2", NULL});
    double most = 1, ticks[8];
    for (size_t k = 0; k < centers; k++) {
        size_t n;
        if (!of_center(m, page->cohort->centers[k], density, &n, err))
            return false;
        for (size_t i = 0; i < n; i++)
            most = fmax(most, density[i]);
    }
    LobPlot plot = {
        .left = 150, .right = 90, .top = 8, .bottom = 44, .x1 = most * 1.03, .y0 = (double)centers};
    const char *title = "Lymphocyte-like nuclei per mm\xc2\xb2 of tissue, one dot a slide";
    lob_html_heading(page->html, title);
    lob_figure_begin(page);
    lob_plot_begin(&plot, page->html, 700, 60 + 34 * (double)centers, title,
                   "Dots by center; the upright line is the center's median.");
    lob_plot_x_axis(&plot, ticks, lob_plot_ticks(0, plot.x1, ticks, 7), 1, "nuclei per mm\xc2\xb2");
    for (size_t k = 0; k < centers; k++) {
        size_t n;
        if (!of_center(m, page->cohort->centers[k], density, &n, err))
            return false;
        draw_center(&plot, page->cohort->centers[k], k, density, n);
        for (size_t i = 0; i < n; i++) {
            lob_csv_text(csv, page->cohort->centers[k]);
            lob_csv_number(csv, density[i]);
            lob_csv_end_row(csv);
        }
    }
    lob_plot_end(&plot);
    lob_figure_end(page, "immune_density",
                   "Upright: median of the center's slides. Centers that stain or scan "
                   "otherwise also count otherwise.");
    return lob_page_save_data(page, csv, "immune_density", err);
}

/* Slides with drawn tumour. */
static bool table_of_slides(LobPage *page, const Immune *m, GError **err) {
    if (with_phenotype(m) == 0) {
        g_string_append(
            page->html,
            "<p class=\"note\">No tumour regions were drawn (report.regions of the study file), so "
            "inflamed, excluded and desert cannot be told apart: the density alone.</p>\n");
        return true;
    }
    LobSheet *sheet = lob_sheet_new(
        page, "Slides with drawn tumour",
        (const char *[]){"slide", "center", "#tiles", "#all", "#core", "#margin", "phenotype", "note", NULL},
        "immune_slides");
    bool ok = true;
    for (size_t r = 0; ok && r < lob_table_rows(m->table); r++) {
        const int columns[] = {m->tiles, m->density, m->core, m->margin};
        double value[G_N_ELEMENTS(columns)];
        for (size_t i = 0; ok && i < G_N_ELEMENTS(columns); i++)
            ok = lob_table_number(m->table, r, columns[i], &value[i], err);
        if (!ok || *lob_table_cell(m->table, r, m->phenotype) == '\0')
            continue;
        lob_sheet_text(sheet, lob_table_cell(m->table, r, m->slide));
        lob_sheet_text(sheet, lob_table_cell(m->table, r, m->center));
        for (size_t i = 0; i < G_N_ELEMENTS(columns); i++)
            lob_sheet_number(sheet, value[i], 0);
        lob_sheet_text(sheet, lob_table_cell(m->table, r, m->phenotype));
        lob_sheet_text(sheet, lob_table_cell(m->table, r, m->note));
    }
    return lob_sheet_end(sheet, ok ? err : NULL) && ok;
}

bool lob_page_immune(LobPage *page, GError **err) {
    g_autofree char *path = g_build_filename(page->out, "immune.csv", NULL);
    if (!g_file_test(path, G_FILE_TEST_EXISTS))
        return true;
    g_autoptr(LobTable) table = lob_table_read(path, err);
    Immune m = {.table = table};
    if (!table || !find_columns(&m, err))
        return false;
    if (lob_table_rows(table) == 0)
        return true;
    lob_html_section(page->html, "immune", "Lymphocyte-like nuclei",
                     "Small, round, dark nuclei on H&E as the texture encoder counts them. No marker was "
                     "stained, so which cells they are is not claimed.");
    if (!figure(page, &m, err) || !table_of_centers(page, &m, err) || !table_of_slides(page, &m, err))
        return false;
    lob_html_printf(
        page->html,
        "<p class=\"note\">Margin: %.0f \xc2\xb5m on either side of the drawn border, or drawn as "
        "such; core: deeper inside. Inflamed: %.0f per mm\xc2\xb2 or more in the core; excluded: in "
        "the margin but not in the core; desert: in neither. The limits are conventions of this "
        "program; immune.csv has the densities, so that others can be tried.</p>\n",
        LOB_MARGIN_UM, LOB_DENSE_PER_MM2);
    lob_html_section_end(page->html);
    return true;
}
