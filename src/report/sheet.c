/* Tables that stand on the page and, with all digits, in a CSV beside it. */
#include "report/report_internal.h"

#include <math.h>
#include <stdarg.h>

struct LobSheet {
    LobPage *page;
    LobCsv *csv;
    char *name;
    size_t n_columns, at;
};

LobSheet *lob_sheet_new(LobPage *page, const char *caption, const char *const *columns, const char *name,
                        ...) {
    LobSheet *sheet = g_new0(LobSheet, 1);
    va_list args;
    va_start(args, name);
    sheet->name = g_strdup_vprintf(name, args);
    va_end(args);
    sheet->page = page;
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    GString *out = page->html;
    lob_html_printf(out,
                    "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"table %s\"><table "
                    "class=\"sortable\" data-csv=\"figures/%s.csv\"><caption>",
                    sheet->name, sheet->name);
    lob_html_text(out, caption);
    g_string_append(out, "</caption><thead><tr>");
    for (; columns[sheet->n_columns]; sheet->n_columns++) {
        const char *column = columns[sheet->n_columns];
        const bool number = *column == '#';
        g_ptr_array_add(names, (gpointer)(column + number));
        lob_html_printf(out, "<th scope=\"col\"%s><button type=\"button\">", number ? " class=\"n\"" : "");
        lob_html_text(out, column + number);
        g_string_append(out, "</button></th>");
    }
    g_ptr_array_add(names, NULL);
    sheet->csv = lob_csv_new((const char *const *)names->pdata);
    g_string_append(out, "</tr></thead><tbody>\n");
    return sheet;
}

static void cell_begin(LobSheet *sheet) {
    if (sheet->at == 0)
        g_string_append(sheet->page->html, "<tr>");
    sheet->at++;
}

static void cell_end(LobSheet *sheet) {
    g_string_append(sheet->page->html, "</td>");
    if (sheet->at < sheet->n_columns)
        return;
    g_string_append(sheet->page->html, "</tr>\n");
    lob_csv_end_row(sheet->csv);
    sheet->at = 0;
}

/* Short texts stay on one line; a long word may be broken anywhere; other texts get room to wrap well. */
static const char *cell_class(const char *text) {
    const glong length = g_utf8_strlen(text, -1);
    if (length <= 20)
        return " class=\"w\"";
    size_t run = 0, most = 0;
    for (const char *p = text; *p; p++) {
        run = *p == ' ' ? 0 : run + 1;
        most = MAX(most, run);
    }
    return most > 24      ? " class=\"long\""
           : length > 100 ? " class=\"wider\""
           : length > 40  ? " class=\"wide\""
                          : "";
}

void lob_sheet_text(LobSheet *sheet, const char *text) {
    cell_begin(sheet);
    lob_html_printf(sheet->page->html, "<td%s>", cell_class(text));
    lob_html_text(sheet->page->html, *text ? text : "\xe2\x80\x93");
    lob_csv_text(sheet->csv, text);
    cell_end(sheet);
}

void lob_sheet_number(LobSheet *sheet, double value, int decimals) {
    cell_begin(sheet);
    if (isnan(value))
        g_string_append(sheet->page->html, "<td class=\"n\">\xe2\x80\x93");
    else
        lob_html_printf(sheet->page->html, "<td class=\"n\">%.*f", decimals, value);
    lob_csv_number(sheet->csv, value);
    cell_end(sheet);
}

void lob_sheet_p(LobSheet *sheet, double p) {
    if (!(p < 1e-4)) {
        lob_sheet_number(sheet, p, 4);
        return;
    }
    cell_begin(sheet);
    g_string_append(sheet->page->html, "<td class=\"n\">&lt; 0.0001");
    lob_csv_number(sheet->csv, p);
    cell_end(sheet);
}

bool lob_sheet_end(LobSheet *sheet, GError **err) {
    g_string_append(sheet->page->html, "</tbody></table></div>\n");
    const bool ok = lob_page_save_data(sheet->page, sheet->csv, sheet->name, err);
    lob_csv_free(sheet->csv);
    g_free(sheet->name);
    g_free(sheet);
    return ok;
}

bool lob_page_save_data(const LobPage *page, LobCsv *csv, const char *name, GError **err) {
    g_autofree char *dir = g_build_filename(page->out, "figures", NULL);
    g_autofree char *path = g_strdup_printf("%s/%s.csv", dir, name);
    g_hash_table_add(page->saved, g_strdup_printf("%s.csv", name));
    return lob_make_dirs(dir, err) && lob_csv_save(csv, path, err);
}

void lob_figure_begin(LobPage *page) {
    g_string_append(page->html,
                    "<figure><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"figure\">");
}

void lob_figure_end(LobPage *page, const char *csv, const char *caption) {
    g_string_append(page->html, "</div><figcaption>");
    lob_html_text(page->html, caption);
    lob_html_printf(page->html, " <span class=\"source\">Data: figures/%s.csv</span></figcaption></figure>\n",
                    csv);
}
