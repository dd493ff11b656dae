/* CSV in and out, with the files hospitals send. */
#include "base/base.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *write_file(const char *data, size_t size) {
    g_autoptr(GError) error = NULL;
    char *path = NULL;
    int fd = g_file_open_tmp("lob-table-XXXXXX.csv", &path, &error);
    cr_assert(fd >= 0);
    cr_assert_eq(write(fd, data, size), (ssize_t)size);
    close(fd);
    return path;
}

static LobTable *read_bytes(const char *data, size_t size, GError **error) {
    g_autofree char *path = write_file(data, size);
    return lob_table_read(path, error);
}

static LobTable *read_text(const char *text, GError **error) {
    return read_bytes(text, strlen(text), error);
}

static void assert_refused(const char *data, size_t size, const char *place, const char *part) {
    g_autoptr(GError) error = NULL;
    LobTable *table = read_bytes(data, size, &error);
    cr_assert_null(table, "accepted, expected: %s", part);
    cr_assert(g_error_matches(error, LOB_ERROR, LOB_ERROR_INPUT));
    cr_assert_not_null(strstr(error->message, place), "'%s' lacks '%s'", error->message, place);
    cr_assert_not_null(strstr(error->message, part), "'%s' lacks '%s'", error->message, part);
}

Test(base_table, bom_crlf_quotes_blank_lines) {
    g_autoptr(GError) error = NULL;
    g_autoptr(LobTable) table = read_text(
        "\xEF\xBB\xBFid, note ,x\r\n\r\na,\"say \"\"hi\"\",\r\nthere\",1.5\r\n  \r\nb,,\r\n", &error);
    cr_assert_not_null(table, "%s", error != NULL ? error->message : "");
    cr_assert_eq(lob_table_rows(table), 2);
    cr_assert_eq(lob_table_columns(table), 3);
    cr_assert_str_eq(lob_table_column_name(table, 0), "id");
    cr_assert_eq(lob_table_find(table, "note"), 1);
    cr_assert_eq(lob_table_find(table, "Note"), -1);
    cr_assert_str_eq(lob_table_cell(table, 0, 1), "say \"hi\",\r\nthere");
    cr_assert_str_eq(lob_table_cell(table, 1, 1), "");
    cr_assert_eq(lob_table_line(table, 0), 3);
    cr_assert_eq(lob_table_line(table, 1), 6);
}

Test(base_table, last_line_without_end_and_old_mac_ends) {
    g_autoptr(LobTable) bare = read_text("a,b\n1,2", NULL);
    g_autoptr(LobTable) mac = read_text("a,b\r1,2\r3,4", NULL);
    cr_assert_not_null(bare);
    cr_assert_str_eq(lob_table_cell(bare, 0, 1), "2");
    cr_assert_not_null(mac);
    cr_assert_eq(lob_table_rows(mac), 2);
    cr_assert_eq(lob_table_line(mac, 1), 3);
}

Test(base_table, header_alone_is_an_empty_table) {
    g_autoptr(LobTable) table = read_text("a,b\n", NULL);
    cr_assert_not_null(table);
    cr_assert_eq(lob_table_rows(table), 0);
}

Test(base_table, refusals_name_the_line) {
    assert_refused("", 0, ":1:", "empty");
    assert_refused("\n \n", 3, ":1:", "empty");
    assert_refused("a,b\n1,2\n\n1,2,3\n", 15, ":4:", "3 cells where the header has 2");
    assert_refused("a,b\n1\n", 6, ":2:", "1 cells where the header has 2");
    assert_refused("a,b,a\n", 6, ":1:", "'a' twice");
    assert_refused("a,,b\n", 5, ":1:", "column 2 has no name");
    assert_refused("a\nx\xFFy\n", 6, ":2:", "not UTF-8");
    assert_refused("a\nx\0y\n", 6, ":2:", "zero byte");
    assert_refused("\xFF\xFE"
                   "a\0",
                   4, ":1:", "UTF-16");
    assert_refused("a,b\n1,\"2\n3\n", 11, ":2:", "never closed");
    assert_refused("a,b\n1,x\"y\n", 10, ":2:", "quote inside");
}

Test(base_table, folder_and_absent_file) {
    g_autoptr(GError) folder = NULL, absent = NULL;
    cr_assert_null(lob_table_read("/tmp", &folder));
    cr_assert_eq(lob_error_exit_code(folder), LOB_EXIT_INPUT);
    cr_assert_null(lob_table_read("/nonexistent/x.csv", &absent));
    cr_assert_not_null(strstr(absent->message, "/nonexistent/x.csv"));
}

Test(base_table, require_lists_what_there_is) {
    g_autoptr(GError) error = NULL;
    g_autoptr(LobTable) table = read_text("alpha,beta\n1,2\n", NULL);
    cr_assert_eq(lob_table_require(table, "beta", &error), 1);
    cr_assert_null(error);
    cr_assert_eq(lob_table_require(table, "gamma", &error), -1);
    cr_assert_not_null(strstr(error->message, "alpha, beta"));
}

Test(base_table, numbers) {
    static const char *const refused[] = {"inf",  "-inf",  "nan",        "NA",  "1,5", "1.5 cm",
                                          "0x10", "1e999", "2020-01-31", "--1", "1e",  "."};
    g_autoptr(LobTable) good = read_text("x\n-1.5e2\n\"\"\n+7\n.5\n", NULL);
    double value = 0;
    cr_assert(lob_table_number(good, 0, 0, &value, NULL) && value == -150);
    cr_assert(lob_table_number(good, 1, 0, &value, NULL) && isnan(value));
    cr_assert(lob_table_number(good, 2, 0, &value, NULL) && value == 7);
    cr_assert(lob_table_number(good, 3, 0, &value, NULL) && value == 0.5);
    for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *text = g_strdup_printf("y,x\n1,\"%s\"\n", refused[i]);
        g_autoptr(LobTable) table = read_text(text, NULL);
        cr_assert_not(lob_table_number(table, 0, 1, &value, &error), "'%s' was taken as %g", refused[i],
                      value);
        cr_assert_not_null(strstr(error->message, ":2: column 'x'"), "%s", error->message);
        cr_assert_not_null(strstr(error->message, refused[i]));
    }
}

Test(base_csv, what_is_written_reads_back) {
    static const double values[] = {0.1,     1.0 / 3.0, 1e300, 5e-324, -0.0,     123456789012345678.0,
                                    DBL_MAX, DBL_MIN,   1e-5,  100,    2.5e-310, 0.1 + 0.2};
    static const char *const texts[] = {"plain", "a,b",  "say \"hi\"", " edge ", "two\nlines", "\xC3\xA4",
                                        "",      "=1+1", "\t",         "x",      "y",          "z"};
    g_autofree char *path = write_file("", 0);
    g_autoptr(LobCsv) csv = lob_csv_new((const char *const[]){"text", "number", "count", NULL});
    for (size_t i = 0; i < G_N_ELEMENTS(values); i++) {
        lob_csv_text(csv, texts[i]);
        lob_csv_number(csv, values[i]);
        lob_csv_integer(csv, INT64_MIN + (int64_t)i);
        lob_csv_end_row(csv);
    }
    cr_assert(lob_csv_save(csv, path, NULL));
    g_autoptr(LobTable) table = lob_table_read(path, NULL);
    cr_assert_not_null(table);
    for (size_t i = 0; i < G_N_ELEMENTS(values); i++) {
        double value = NAN;
        cr_assert_str_eq(lob_table_cell(table, i, 0), texts[i]);
        cr_assert(lob_table_number(table, i, 1, &value, NULL));
        cr_assert(memcmp(&value, &values[i], sizeof value) == 0, "%a became %a", values[i], value);
    }
    cr_assert_str_eq(lob_table_cell(table, 0, 1), "0.1");
    cr_assert_str_eq(lob_table_cell(table, 3, 1), "5e-324");
    cr_assert_str_eq(lob_table_cell(table, 0, 2), "-9223372036854775808");
}

Test(base_csv, missing_and_lone_empty_cells) {
    g_autofree char *path = write_file("", 0);
    g_autoptr(LobCsv) csv = lob_csv_new((const char *const[]){"x", NULL});
    lob_csv_number(csv, NAN);
    lob_csv_end_row(csv);
    lob_csv_number(csv, -INFINITY);
    lob_csv_end_row(csv);
    cr_assert(lob_csv_save(csv, path, NULL));
    g_autoptr(LobTable) table = lob_table_read(path, NULL);
    cr_assert_eq(lob_table_rows(table), 2);
    cr_assert_str_eq(lob_table_cell(table, 0, 0), "");
    cr_assert_str_eq(lob_table_cell(table, 1, 0), "-inf");
}
