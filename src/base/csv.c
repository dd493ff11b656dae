/* Writing CSV. */
#include "base/base.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct LobCsv {
    GString *text;
    size_t columns, filled;
};

LobCsv *lob_csv_new(const char *const *columns) {
    LobCsv *csv = g_new0(LobCsv, 1);
    csv->text = g_string_new(NULL);
    while (columns[csv->columns] != NULL)
        csv->columns++;
    g_assert(csv->columns > 0);
    for (size_t i = 0; i < csv->columns; i++)
        lob_csv_text(csv, columns[i]);
    lob_csv_end_row(csv);
    return csv;
}

static void begin_cell(LobCsv *csv) {
    if (csv->filled > 0)
        g_string_append_c(csv->text, ',');
    csv->filled++;
}

/* Readers trim bare blanks, so a cell with blanks at an end is quoted. A lone empty cell is quoted, or its
 * row would be a blank line, which readers skip. */
static bool needs_quotes(const char *cell, size_t columns) {
    size_t length = strlen(cell);
    if (length == 0)
        return columns == 1;
    return strpbrk(cell, ",\"\r\n") != NULL || strchr(" \t", cell[0]) != NULL ||
           strchr(" \t", cell[length - 1]) != NULL;
}

void lob_csv_text(LobCsv *csv, const char *cell) {
    begin_cell(csv);
    if (!needs_quotes(cell, csv->columns)) {
        g_string_append(csv->text, cell);
        return;
    }
    g_string_append_c(csv->text, '"');
    for (const char *p = cell; *p != '\0'; p++) {
        if (*p == '"')
            g_string_append_c(csv->text, '"');
        g_string_append_c(csv->text, *p);
    }
    g_string_append_c(csv->text, '"');
}

void lob_csv_number(LobCsv *csv, double value) {
    char text[G_ASCII_DTOSTR_BUF_SIZE];
    if (isnan(value)) {
        lob_csv_text(csv, "");
        return;
    }
    if (isinf(value)) {
        lob_csv_text(csv, value > 0 ? "inf" : "-inf");
        return;
    }
    /* A normal number that 15 digits cannot carry needs 16 or 17; %g drops trailing zeros. Subnormal ones
     * carry fewer digits, so there the search starts at one. */
    int first = fabs(value) < DBL_MIN && value != 0.0 ? 1 : 15;
    for (int digits = first; digits <= 17; digits++) {
        char format[8];
        g_snprintf(format, sizeof format, "%%.%dg", digits);
        g_ascii_formatd(text, sizeof text, format, value);
        if (g_ascii_strtod(text, NULL) == value)
            break;
    }
    lob_csv_text(csv, text);
}

void lob_csv_integer(LobCsv *csv, int64_t value) {
    char text[32];
    g_snprintf(text, sizeof text, "%" G_GINT64_FORMAT, (gint64)value);
    lob_csv_text(csv, text);
}

void lob_csv_end_row(LobCsv *csv) {
    if (csv->filled != csv->columns)
        g_error("CSV row of %zu cells under a header of %zu", csv->filled, csv->columns);
    csv->filled = 0;
    g_string_append_c(csv->text, '\n');
}

const char *lob_csv_data(const LobCsv *csv, size_t *size) {
    if (csv->filled != 0)
        g_error("CSV taken in the middle of a row");
    *size = csv->text->len;
    return csv->text->str;
}

bool lob_csv_save(LobCsv *csv, const char *path, GError **err) {
    if (csv->filled != 0)
        g_error("%s: CSV saved in the middle of a row", path);
    return lob_file_replace(path, csv->text->str, csv->text->len, err);
}

void lob_csv_free(LobCsv *csv) {
    if (csv == NULL)
        return;
    g_string_free(csv->text, TRUE);
    g_free(csv);
}
