/* Reading CSV: libcsv splits cells, this file checks everything around them. */
#include "base/base_internal.h"

#include <csv.h>
#include <math.h>
#include <string.h>

/* Cohort tables have at most some ten thousand rows; anything this large is a mistake (a slide, a core dump).
 */
#define TABLE_BYTES_MAX ((size_t)1 << 30)

struct LobTable {
    char *path;
    GString *text; /* all cells, each closed by a zero */
    size_t *cells; /* offsets into text, header first: [1 + rows][columns] */
    size_t *lines; /* [1 + rows] */
    size_t n_cells, cells_size;
    size_t n_lines, lines_size; /* header included */
    size_t columns;
    GHashTable *index; /* column name -> column + 1 */
};

typedef struct {
    LobTable *table;
    GError *error;
    size_t row_line;  /* where the row being read began */
    size_t row_cells; /* of it so far */
    bool row_begun;
} Reader;

static size_t line_of(const char *data, size_t offset) {
    size_t line = 1;
    for (size_t i = 0; i < offset; i++)
        if (data[i] == '\n' || (data[i] == '\r' && data[i + 1] != '\n'))
            line++;
    return line;
}

static void push(size_t **values, size_t *n, size_t *size, size_t value) {
    if (*n == *size) {
        *size = *size == 0 ? 256 : 2 * *size;
        *values = g_renew(size_t, *values, *size);
    }
    (*values)[(*n)++] = value;
}

static void on_cell(void *cell, size_t size, void *user) {
    Reader *reader = user;
    LobTable *table = reader->table;
    push(&table->cells, &table->n_cells, &table->cells_size, table->text->len);
    if (size > 0)
        g_string_append_len(table->text, cell, (gssize)size);
    g_string_append_c(table->text, '\0');
    reader->row_cells++;
}

static bool accept_header(LobTable *table, size_t line, GError **err) {
    for (size_t i = 0; i < table->columns; i++) {
        char *name = table->text->str + table->cells[i];
        if (name[0] == '\0')
            return lob_fail(err, LOB_ERROR_INPUT, "%s:%zu: column %zu has no name in the header", table->path,
                            line, i + 1);
        if (!g_hash_table_insert(table->index, g_strdup(name), GSIZE_TO_POINTER(i + 1)))
            return lob_fail(err, LOB_ERROR_INPUT, "%s:%zu: the header names column '%s' twice", table->path,
                            line, name);
    }
    return true;
}

static void on_row(int terminator, void *user) {
    (void)terminator;
    Reader *reader = user;
    LobTable *table = reader->table;
    if (reader->error == NULL) {
        if (table->n_lines == 0) {
            table->columns = reader->row_cells;
            accept_header(table, reader->row_line, &reader->error);
        } else if (reader->row_cells != table->columns) {
            lob_fail(&reader->error, LOB_ERROR_INPUT,
                     "%s:%zu: %zu cells where the header has %zu; a text with a comma needs quotes",
                     table->path, reader->row_line, reader->row_cells, table->columns);
        }
        push(&table->lines, &table->n_lines, &table->lines_size, reader->row_line);
    }
    reader->row_cells = 0;
    reader->row_begun = false;
}

/* Length of the first physical line, its end included. */
static size_t physical_line(const char *data, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (data[i] == '\n')
            return i + 1;
        if (data[i] == '\r')
            return i + 1 < size && data[i + 1] == '\n' ? i + 2 : i + 1;
    }
    return size;
}

static bool is_blank(const char *data, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (strchr(" \t\r\n", data[i]) == NULL)
            return false;
    return true;
}

/* Fed one physical line at a time, because libcsv does not say where a row began. */
static bool feed(struct csv_parser *parser, Reader *reader, const char *data, size_t size, GError **err) {
    const char *path = reader->table->path;
    size_t line = 0;
    while (size > 0) {
        size_t length = physical_line(data, size);
        line++;
        if (!reader->row_begun)
            reader->row_line = line;
        /* Before the call: on_row clears it. */
        reader->row_begun = reader->row_begun || !is_blank(data, length);
        if (csv_parse(parser, data, length, on_cell, on_row, reader) != length) {
            if (csv_error(parser) == CSV_EPARSE)
                return lob_fail(err, LOB_ERROR_INPUT,
                                "%s:%zu: a quote inside a cell; quote the whole cell and double the quotes "
                                "in it",
                                path, line);
            return lob_fail(err, LOB_ERROR_INTERNAL, "%s:%zu: %s", path, line,
                            csv_strerror(csv_error(parser)));
        }
        if (reader->error != NULL) {
            g_propagate_error(err, g_steal_pointer(&reader->error));
            return false;
        }
        data += length;
        size -= length;
    }
    if (csv_fini(parser, on_cell, on_row, reader) != 0)
        return lob_fail(err, LOB_ERROR_INPUT, "%s:%zu: a quote is opened and never closed", path,
                        reader->row_line);
    if (reader->error != NULL) {
        g_propagate_error(err, g_steal_pointer(&reader->error));
        return false;
    }
    return true;
}

static bool check_encoding(const char *path, const char *data, size_t size, GError **err) {
    if (size >= 2 && (memcmp(data, "\xFF\xFE", 2) == 0 || memcmp(data, "\xFE\xFF", 2) == 0))
        return lob_fail(err, LOB_ERROR_INPUT, "%s:1: this is UTF-16; save it as CSV in UTF-8", path);
    const char *nul = memchr(data, '\0', size);
    if (nul != NULL)
        return lob_fail(err, LOB_ERROR_INPUT, "%s:%zu: a zero byte; this is no CSV text", path,
                        line_of(data, (size_t)(nul - data)));
    const char *bad = NULL;
    if (!g_utf8_validate_len(data, size, &bad))
        return lob_fail(err, LOB_ERROR_INPUT, "%s:%zu: not UTF-8 (byte 0x%02x); save it as CSV in UTF-8",
                        path, line_of(data, (size_t)(bad - data)), (unsigned)(unsigned char)*bad);
    return true;
}

LobTable *lob_table_parse(const char *path, const char *data, size_t size, GError **err) {
    if (!check_encoding(path, data, size, err))
        return NULL;
    if (size >= 3 && memcmp(data, "\xEF\xBB\xBF", 3) == 0) {
        data += 3;
        size -= 3;
    }
    g_autoptr(LobTable) table = g_new0(LobTable, 1);
    table->path = g_strdup(path);
    table->text = g_string_sized_new(size + 1);
    table->index = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    struct csv_parser parser;
    if (csv_init(&parser, CSV_STRICT | CSV_STRICT_FINI) != 0) {
        lob_fail(err, LOB_ERROR_INTERNAL, "%s: libcsv cannot start", path);
        return NULL;
    }
    csv_set_blk_size(&parser, (size_t)64 << 10);
    Reader reader = {.table = table};
    bool ok = feed(&parser, &reader, data, size, err);
    csv_free(&parser);
    g_clear_error(&reader.error);
    if (!ok)
        return NULL;
    if (table->n_lines == 0) {
        lob_fail(err, LOB_ERROR_INPUT, "%s:1: empty; expected a header line with column names", path);
        return NULL;
    }
    return g_steal_pointer(&table);
}

LobTable *lob_table_read(const char *path, GError **err) {
    size_t size = 0;
    g_autofree char *data = lob_file_read(path, TABLE_BYTES_MAX, &size, err);
    return data != NULL ? lob_table_parse(path, data, size, err) : NULL;
}

void lob_table_free(LobTable *table) {
    if (table == NULL)
        return;
    g_free(table->path);
    if (table->text != NULL)
        g_string_free(table->text, TRUE);
    g_clear_pointer(&table->index, g_hash_table_unref);
    g_free(table->cells);
    g_free(table->lines);
    g_free(table);
}

size_t lob_table_rows(const LobTable *table) {
    return table->n_lines - 1;
}

size_t lob_table_columns(const LobTable *table) {
    return table->columns;
}

const char *lob_table_path(const LobTable *table) {
    return table->path;
}

const char *lob_table_column_name(const LobTable *table, size_t column) {
    g_assert(column < table->columns);
    return table->text->str + table->cells[column];
}

int lob_table_find(const LobTable *table, const char *column) {
    return (int)GPOINTER_TO_SIZE(g_hash_table_lookup(table->index, column)) - 1;
}

int lob_table_require(const LobTable *table, const char *column, GError **err) {
    int found = lob_table_find(table, column);
    if (found >= 0)
        return found;
    g_autoptr(GString) names = g_string_new(NULL);
    for (size_t i = 0; i < table->columns && i < 40; i++)
        g_string_append_printf(names, "%s%s", i > 0 ? ", " : "", lob_table_column_name(table, i));
    if (table->columns > 40)
        g_string_append(names, " ...");
    lob_fail(err, LOB_ERROR_INPUT, "%s:%zu: no column '%s'; there is: %s", table->path, table->lines[0],
             column, names->str);
    return -1;
}

const char *lob_table_cell(const LobTable *table, size_t row, int column) {
    g_assert(column >= 0 && (size_t)column < table->columns && row < lob_table_rows(table));
    return table->text->str + table->cells[(row + 1) * table->columns + (size_t)column];
}

size_t lob_table_line(const LobTable *table, size_t row) {
    g_assert(row < lob_table_rows(table));
    return table->lines[row + 1];
}

bool lob_table_number(const LobTable *table, size_t row, int column, double *value, GError **err) {
    const char *cell = lob_table_cell(table, row, column);
    *value = NAN;
    if (cell[0] == '\0')
        return true;
    /* The set shuts out what strtod would also take: hexadecimal, "inf", "nan". */
    bool plain = cell[strspn(cell, "0123456789+-.eE")] == '\0';
    char *end = NULL;
    double number = plain ? g_ascii_strtod(cell, &end) : NAN;
    if (!plain || end == cell || *end != '\0' || !isfinite(number))
        return lob_fail(err, LOB_ERROR_INPUT,
                        "%s:%zu: column '%s': '%.80s' is not a finite number with a decimal point (a missing "
                        "value is an empty cell)",
                        table->path, lob_table_line(table, row), lob_table_column_name(table, (size_t)column),
                        cell);
    *value = number;
    return true;
}
