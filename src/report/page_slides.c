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

static bool table_of_scale(LobPage *page, const Columns *c, GError **err) {
    const size_t rows = lob_table_rows(page->slides);
    g_autofree double *mpp = g_new(double, rows + 1);
    lob_html_table_begin(
        page->html, "Scale by center: um per pixel at level 0, and where it was read",
        (const char *[]){"center", "slides", "done", "median", "least", "most", "sources", "tiles", NULL});
    for (size_t k = 0; k < page->cohort->n_centers; k++) {
        size_t n = 0, slides = 0, done = 0;
        double tiles = 0;
        g_autoptr(GHashTable) sources = g_hash_table_new(g_str_hash, g_str_equal);
        for (size_t r = 0; r < rows; r++) {
            if (strcmp(lob_table_cell(page->slides, r, c->center), page->cohort->centers[k]) != 0)
                continue;
            double value, count;
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
        lob_html_row_begin(page->html);
        lob_html_cell(page->html, page->cohort->centers[k]);
        lob_html_cell_number(page->html, (double)slides, 0);
        lob_html_cell_number(page->html, (double)done, 0);
        lob_html_cell_number(page->html, n ? mpp[n / 2] : NAN, 4);
        lob_html_cell_number(page->html, n ? mpp[0] : NAN, 4);
        lob_html_cell_number(page->html, n ? mpp[n - 1] : NAN, 4);
        lob_html_cell(page->html, names->str);
        lob_html_cell_number(page->html, tiles, 0);
        lob_html_row_end(page->html);
    }
    lob_html_table_end(page->html);
    return true;
}

static void table_of_failures(LobPage *page, const Columns *c) {
    const size_t rows = lob_table_rows(page->slides);
    size_t failed = 0;
    for (size_t r = 0; r < rows; r++)
        failed += strcmp(lob_table_cell(page->slides, r, c->state), "done") != 0;
    if (failed == 0) {
        lob_html_printf(page->html, "<p>All %zu slides were read and embedded.</p>\n", rows);
        return;
    }
    lob_html_printf(page->html, "<p>%zu of %zu slides are not in the analysis.</p>\n", failed, rows);
    lob_html_table_begin(page->html, "Slides left out, and why",
                         (const char *[]){"slide", "patient", "center", "state", "reason", NULL});
    for (size_t r = 0; r < rows; r++) {
        if (strcmp(lob_table_cell(page->slides, r, c->state), "done") == 0)
            continue;
        const int columns[] = {c->id, c->patient, c->center, c->state, c->reason};
        lob_html_row_begin(page->html);
        for (size_t i = 0; i < G_N_ELEMENTS(columns); i++)
            lob_html_cell(page->html, lob_table_cell(page->slides, r, columns[i]));
        lob_html_row_end(page->html);
    }
    lob_html_table_end(page->html);
}

bool lob_page_slides(LobPage *page, GError **err) {
    if (!page->slides)
        return true;
    Columns columns;
    if (!find_columns(page->slides, &columns, err))
        return false;
    lob_html_section(page->html, "slides", "Slides",
                     "What was read, at which scale, and what could not be read.");
    if (!table_of_scale(page, &columns, err))
        return false;
    table_of_failures(page, &columns);
    g_string_append(page->html, "</section>\n");
    return true;
}
