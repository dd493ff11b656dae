/* Errors, log, files. */
#include "base/base.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

Test(base_error, codes) {
    static const struct {
        LobErrorCode code;
        int exit_code;
    } table[] = {{LOB_ERROR_INTERNAL, 1}, {LOB_ERROR_INPUT, 2},    {LOB_ERROR_SLIDE, 3},
                 {LOB_ERROR_IO, 1},       {LOB_ERROR_STOPPED, 75}, {LOB_ERROR_HALTED, 76}};
    for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autoptr(GError) error = NULL;
        cr_assert_not(lob_fail(&error, table[i].code, "100%% of %s", "it"));
        cr_assert_str_eq(error->message, "100% of it");
        cr_assert_eq(lob_error_exit_code(error), table[i].exit_code);
    }
    g_autoptr(GError) foreign = g_error_new(G_FILE_ERROR, G_FILE_ERROR_NOENT, "x");
    cr_assert_eq(lob_error_exit_code(foreign), 1);
    cr_assert_eq(lob_error_exit_code(NULL), 0);
    cr_assert_not(lob_fail(NULL, LOB_ERROR_INPUT, "nobody listens"));
}

Test(base_error, errno_text_is_appended) {
    g_autoptr(GError) error = NULL;
    cr_assert_not(lob_fail_errno(&error, LOB_ERROR_IO, ENOSPC, "store"));
    cr_assert_str_eq(error->message, "store: No space left on device");
}

Test(base_file, replace_is_whole_and_leaves_nothing_behind) {
    g_autofree char *folder = g_dir_make_tmp("lob-files-XXXXXX", NULL);
    g_autofree char *deep = g_build_filename(folder, "a", "b", NULL);
    g_autofree char *path = g_build_filename(deep, "f", NULL);
    g_autoptr(GError) error = NULL;
    cr_assert(lob_make_dirs(deep, NULL));
    cr_assert(lob_make_dirs(deep, NULL));
    cr_assert(lob_file_replace(path, "first, long", 11, NULL));
    cr_assert(lob_file_replace(path, "second", 6, NULL));
    size_t size = 0;
    g_autofree char *text = lob_file_read(path, 6, &size, NULL);
    cr_assert_str_eq(text, "second");
    cr_assert_null(lob_file_read(path, 5, &size, &error));
    cr_assert_eq(lob_error_exit_code(error), 2);
    g_autoptr(GDir) dir = g_dir_open(deep, 0, NULL);
    cr_assert_str_eq(g_dir_read_name(dir), "f");
    cr_assert_null(g_dir_read_name(dir));
    g_clear_error(&error);
    cr_assert_not(lob_file_replace("/nonexistent/f", "x", 1, &error));
    cr_assert(g_error_matches(error, LOB_ERROR, LOB_ERROR_IO));
    g_clear_error(&error);
    cr_assert_not(lob_make_dirs(path, &error));
}

Test(base_file, mode_follows_the_umask) {
    g_autofree char *folder = g_dir_make_tmp("lob-files-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "f", NULL);
    struct stat info;
    umask(027);
    cr_assert(lob_file_replace(path, "x", 1, NULL));
    cr_assert_eq(stat(path, &info), 0);
    cr_assert_eq(info.st_mode & 0777, 0640);
}

Test(base_file, numbers_of_the_kernels_tables) {
    char path[] = "/tmp/lob-proc-XXXXXX";
    close(g_mkstemp(path));
    static const char table[] = "MemTotal:   8 kB\nVmHWM:\t 12.5 kB\nempty:\nchar: 3\nrchar: 7";
    cr_assert(g_file_set_contents(path, table, -1, NULL));
    cr_expect_eq(lob_proc_number(path, "VmHWM"), 12.5);
    cr_expect_eq(lob_proc_number(path, "char"), 3);
    cr_expect_eq(lob_proc_number(path, "rchar"), 7);
    cr_expect(isnan(lob_proc_number(path, "Mem")) && isnan(lob_proc_number(path, "Total")));
    cr_expect(isnan(lob_proc_number(path, "empty")));
    (void)remove(path);
    cr_expect(isnan(lob_proc_number(path, "VmHWM")));
    cr_expect_gt(lob_proc_number("/proc/meminfo", "MemTotal"), 0);
}

Test(base_file, path_beside) {
    static const char *const cases[][3] = {{"/a/study.yaml", "x.csv", "/a/x.csv"},
                                           {"study.yaml", "x.csv", "x.csv"},
                                           {"dir/study.yaml", "/x.csv", "/x.csv"},
                                           {"dir/study.yaml", "../x.csv", "dir/../x.csv"}};
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = lob_path_beside(cases[i][0], cases[i][1]);
        cr_assert_str_eq(path, cases[i][2]);
    }
}

Test(base_file, path_stem) {
    static const char *const cases[][2] = {
        {"/a/own.yaml", "own"}, {"own.yaml", "own"}, {"a.b/own", "own"}, {"own.yaml.yaml", "own.yaml"}};
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *stem = lob_path_stem(cases[i][0], ".yaml");
        cr_assert_str_eq(stem, cases[i][1]);
    }
}

Test(base_checksum, sha256_of_a_file) {
    g_autofree char *folder = g_dir_make_tmp("lob-files-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "f", NULL);
    const size_t size = ((size_t)3 << 20) + 17; /* several read blocks */
    g_autofree char *data = g_malloc(size);
    memset(data, 'q', size);
    cr_assert(lob_file_replace(path, data, size, NULL));
    g_autofree char *of_file = lob_sha256_file(path, NULL);
    g_autofree char *of_bytes = lob_sha256_bytes(data, size);
    cr_assert_str_eq(of_file, of_bytes);
    g_autoptr(GError) error = NULL;
    cr_assert_null(lob_sha256_file("/nonexistent", &error));
    cr_assert_eq(lob_error_exit_code(error), 2);
    g_clear_error(&error);
    cr_assert_null(lob_sha256_file("/tmp", &error));
}

Test(base_log, json_lines_are_objects_and_ranks_keep_quiet) {
    g_autofree char *folder = g_dir_make_tmp("lob-files-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "log.jsonl", NULL);
    cr_assert(lob_log_open_json(path, NULL));
    lob_info("say \"hi\"\n100%%");
    lob_debug("not told");
    lob_log_setup(LOB_LOG_DEBUG, 3);
    lob_info("other ranks do not say this");
    lob_warning("not UTF-8: \xFF");
    cr_assert(lob_log_open_json(NULL, NULL));
    size_t size = 0;
    g_autofree char *text = lob_file_read(path, 1 << 20, &size, NULL);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    cr_assert_eq(g_strv_length(lines), 3); /* two lines and what follows the last line's end */
    json_t *first = json_loads(lines[0], 0, NULL), *second = json_loads(lines[1], 0, NULL);
    cr_assert_str_eq(json_string_value(json_object_get(first, "message")), "say \"hi\"\n100%");
    cr_assert_str_eq(json_string_value(json_object_get(first, "level")), "info");
    cr_assert_str_eq(json_string_value(json_object_get(second, "level")), "warning");
    cr_assert_eq(json_integer_value(json_object_get(second, "rank")), 3);
    json_decref(first);
    json_decref(second);
}
