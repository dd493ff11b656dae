/* What became of the slides: states and reasons, and the audit of scale by center. */
#include "report/report_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int id, patient, center, state, reason, mpp, source, tiles;
} Columns;

static bool find_columns(const LobTable *table, Columns *c, GError **err) {
    struct {
        int *column;
        const char *name;
    } wanted[] = {{&c->id, "slide_id"},       {&c->patient, "patient_id"}, {&c->center, "center"},
                  {&c->state, "state"},       {&c->reason, "reason"},      {&c->mpp, "mpp"},
                  {&c->source, "mpp_source"}, {&c->tiles, "tiles"}};
    for (size_t i = 0; i < G_N_ELEMENTS(wanted); i++)
        if ((*wanted[i].column = lob_table_require(table, wanted[i].name, err)) < 0)
            return false;
    return true;
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* What one center's slides look like. mpp: room for every slide of the table. */
static bool scale_of_center(LobPage *page, const Columns *c, const char *center, double *mpp, LobSheet *sheet,
                            GError **err) {
    size_t n = 0, slides = 0, done = 0;
    double tiles = 0;
    g_autoptr(GHashTable) sources = g_hash_table_new(g_str_hash, g_str_equal);
    for (size_t r = 0; r < lob_table_rows(page->slides); r++) {
        double value, count;
        if (strcmp(lob_table_cell(page->slides, r, c->center), center) != 0)
            continue;
        if (!lob_table_number(page->slides, r, c->mpp, &value, err) ||
            !lob_table_number(page->slides, r, c->tiles, &count, err))
            return false;
        slides++;
        done += strcmp(lob_table_cell(page->slides, r, c->state), "done") == 0;
        tiles += isnan(count) ? 0 : count;
        if (!isnan(value))
            mpp[n++] = value;
        if (*lob_table_cell(page->slides, r, c->source))
            g_hash_table_add(sources, (gpointer)lob_table_cell(page->slides, r, c->source));
    }
    qsort(mpp, n, sizeof *mpp, by_value);
    g_autoptr(GList) keys = g_list_sort(g_hash_table_get_keys(sources), (GCompareFunc)strcmp);
    g_autoptr(GString) names = g_string_new(NULL);
    for (GList *key = keys; key; key = key->next)
        g_string_append_printf(names, "%s%s", names->len ? ", " : "", (const char *)key->data);
    lob_sheet_text(sheet, center);
    lob_sheet_number(sheet, (double)slides, 0);
    lob_sheet_number(sheet, (double)done, 0);
    lob_sheet_number(sheet, n ? mpp[n / 2] : NAN, 4);
    lob_sheet_number(sheet, n ? mpp[0] : NAN, 4);
    lob_sheet_number(sheet, n ? mpp[n - 1] : NAN, 4);
    lob_sheet_text(sheet, names->str);
    lob_sheet_number(sheet, tiles, 0);
    return true;
}

static bool table_of_scale(LobPage *page, const Columns *c, GError **err) {
    g_autofree double *mpp = g_new(double, lob_table_rows(page->slides) + 1);
    LobSheet *sheet =
        lob_sheet_new(page, "Scale by center: \xc2\xb5m per pixel at level 0, and where it was read",
                      (const char *[]){"center", "#slides", "#done", "#median", "#least", "#most", "sources",
                                       "#tiles", NULL},
                      "scale");
    bool ok = true;
    for (size_t k = 0; ok && k < page->cohort->n_centers; k++)
        ok = scale_of_center(page, c, page->cohort->centers[k], mpp, sheet, err);
    return lob_sheet_end(sheet, ok ? err : NULL) && ok;
}

/* What planning saw of tiles and stains, where slides.csv tells it: shares of tiles, medians of slides. */
static const struct {
    const char *column, *heading;
    int decimals;
    bool of_tiles; /* counted in tiles: a share of them; else the median over slides */
} qualities[] = {{"tiles_pen", "#pen", 4, true},
                 {"tiles_fold", "#folds", 4, true},
                 {"tiles_blur", "#blurred", 4, true},
                 {"tiles_overexposed", "#overexposed", 4, true},
                 {"tiles_left_out", "#left out", 4, true},
                 {"blur", "#sharpness", 1, false},
                 {"hema_red", "#hematoxylin R", 3, false},
                 {"hema_green", "#hematoxylin G", 3, false},
                 {"hema_blue", "#hematoxylin B", 3, false},
                 {"eosin_red", "#eosin R", 3, false},
                 {"eosin_green", "#eosin G", 3, false},
                 {"eosin_blue", "#eosin B", 3, false},
                 {"hema_strength", "#hematoxylin", 3, false},
                 {"eosin_strength", "#eosin", 3, false}};

/* One column over the done slides of a center; NAN where it is not known. value: room for all slides. */
static bool quality_of_center(const LobPage *page, const Columns *c, const char *center, int column,
                              bool of_tiles, double *value, double *out, GError **err) {
    double sum = 0, tiles = 0;
    size_t n = 0;
    for (size_t r = 0; r < lob_table_rows(page->slides); r++) {
        double count;
        if (strcmp(lob_table_cell(page->slides, r, c->center), center) != 0 ||
            strcmp(lob_table_cell(page->slides, r, c->state), "done") != 0)
            continue;
        if (!lob_table_number(page->slides, r, column, &value[n], err) ||
            !lob_table_number(page->slides, r, c->tiles, &count, err))
            return false;
        if (isnan(value[n]))
            continue;
        sum += value[n++];
        tiles += isnan(count) ? 0 : count;
    }
    *out = of_tiles ? (tiles > 0 ? sum / tiles : NAN) : n ? lob_quantile(value, n, 0.5) : NAN;
    return true;
}

static bool table_of_quality(LobPage *page, const Columns *c, GError **err) {
    const char *headings[G_N_ELEMENTS(qualities) + 2] = {"center"};
    int column[G_N_ELEMENTS(qualities)];
    size_t which[G_N_ELEMENTS(qualities)], n = 0;
    for (size_t k = 0; k < G_N_ELEMENTS(qualities); k++)
        if ((column[n] = lob_table_find(page->slides, qualities[k].column)) >= 0) {
            which[n++] = k;
            headings[n] = qualities[k].heading;
        }
    if (n == 0)
        return true;
    g_autofree double *value = g_new(double, lob_table_rows(page->slides) + 1);
    LobSheet *sheet =
        lob_sheet_new(page,
                      "Quality by center: shares of tiles with pen, folds, blur, overexposure, and "
                      "left out for it; medians of sharpness and of the stains' optical densities",
                      headings, "quality");
    bool ok = true;
    for (size_t i = 0; ok && i < page->cohort->n_centers; i++) {
        lob_sheet_text(sheet, page->cohort->centers[i]);
        for (size_t k = 0; k < n; k++) {
            double out = NAN;
            ok = ok && quality_of_center(page, c, page->cohort->centers[i], column[k],
                                         qualities[which[k]].of_tiles, value, &out, err);
            lob_sheet_number(sheet, out, qualities[which[k]].decimals);
        }
    }
    return lob_sheet_end(sheet, ok ? err : NULL) && ok;
}

static bool table_of_failures(LobPage *page, const Columns *c, GError **err) {
    const size_t rows = lob_table_rows(page->slides);
    size_t failed = 0;
    for (size_t r = 0; r < rows; r++)
        failed += strcmp(lob_table_cell(page->slides, r, c->state), "done") != 0;
    if (failed == 0) {
        lob_html_printf(page->html, "<p>All %zu slides were read and embedded.</p>\n", rows);
        return true;
    }
    lob_page_caveat(page, "%zu of %zu slides could not be used.", failed, rows);
    lob_html_printf(page->html, "<p>%zu of %zu slides are not in the analysis.</p>\n", failed, rows);
    LobSheet *sheet = lob_sheet_new(page, "Slides left out, and why",
                                    (const char *[]){"slide", "patient", "center", "state", "reason", NULL},
                                    "slides_left_out");
    for (size_t r = 0; r < rows; r++) {
        if (strcmp(lob_table_cell(page->slides, r, c->state), "done") == 0)
            continue;
        const int columns[] = {c->id, c->patient, c->center, c->state, c->reason};
        for (size_t i = 0; i < G_N_ELEMENTS(columns); i++)
            lob_sheet_text(sheet, lob_table_cell(page->slides, r, columns[i]));
    }
    return lob_sheet_end(sheet, err);
}

bool lob_page_slides(LobPage *page, GError **err) {
    if (!page->slides)
        return true;
    Columns columns;
    if (!find_columns(page->slides, &columns, err))
        return false;
    lob_html_section(page->html, "slides", "Slides",
                     "What was read, at which scale, and what could not be read.");
    if (!table_of_scale(page, &columns, err) || !table_of_quality(page, &columns, err) ||
        !table_of_failures(page, &columns, err))
        return false;
    lob_html_section_end(page->html);
    return true;
}
