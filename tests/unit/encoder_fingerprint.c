/* A weights file's SHA-256 is remembered for as long as nothing about the file has changed. */
#include "encoder/fingerprint.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *in(const char *folder, const char *name) {
    return g_build_filename(folder, name, NULL);
}

/* A file of `size` zero bytes with `first` at its start; sparse. */
static void write_file(const char *path, char first, off_t size) {
    const int fd = open(path, O_WRONLY | O_CREAT, 0600);
    cr_assert(fd >= 0 && pwrite(fd, &first, 1, 0) == 1 && ftruncate(fd, size) == 0);
    cr_assert_eq(close(fd), 0);
}

static char *fingerprint(const char *path) {
    g_autoptr(GError) err = NULL;
    char *digits = lob_fingerprint(path, &err);
    cr_assert_not_null(digits, "%s", err ? err->message : "");
    return digits;
}

static char *hash(const char *path) {
    char *digits = lob_sha256_file(path, NULL);
    cr_assert_not_null(digits);
    return digits;
}

static char *scratch_folder(void) {
    char *folder = g_dir_make_tmp("lobule-XXXXXX", NULL);
    cr_assert_not_null(folder);
    cr_assert_eq(setenv("XDG_CACHE_HOME", folder, 1), 0);
    return folder;
}

Test(fingerprint, is_remembered_until_the_file_changes) {
    g_autofree char *folder = scratch_folder(), *path = in(folder, "weights"),
                    *cache = in(folder, "lobule/weights.sha256"), *text = NULL;
    write_file(path, 'a', (off_t)64 << 20);
    g_autofree char *whole = hash(path), *first = fingerprint(path);
    cr_assert_str_eq(first, whole);
    cr_assert(g_file_get_contents(cache, &text, NULL, NULL));
    char *kept = strstr(text, whole);
    cr_assert_not_null(kept);
    kept[0] = kept[0] == '0' ? '1' : '0'; /* what is kept is what is told: the file was not read again */
    cr_assert(g_file_set_contents(cache, text, -1, NULL));
    g_autofree char *again = fingerprint(path);
    cr_assert_eq(strncmp(again, kept, 64), 0);
    write_file(path, 'b', (off_t)64 << 20);
    g_autofree char *other = hash(path), *changed = fingerprint(path), *recalled = fingerprint(path);
    cr_assert_str_eq(changed, other);
    cr_assert_str_eq(recalled, other);
    cr_assert_str_neq(other, whole);
}

Test(fingerprint, needs_no_cache) {
    g_autofree char *folder = scratch_folder(), *path = in(folder, "weights"),
                    *blocked = in(folder, "lobule");
    cr_assert(g_file_set_contents(blocked, "a file where the folder should be", -1, NULL));
    write_file(path, 'a', (off_t)64 << 20);
    g_autofree char *whole = hash(path), *first = fingerprint(path), *again = fingerprint(path);
    cr_assert_str_eq(first, whole);
    cr_assert_str_eq(again, whole);
}

Test(fingerprint, small_files_are_hashed_each_time) {
    g_autofree char *folder = scratch_folder(), *path = in(folder, "weights"),
                    *cache = in(folder, "lobule/weights.sha256");
    write_file(path, 'a', 100);
    g_autofree char *whole = hash(path), *first = fingerprint(path);
    cr_assert_str_eq(first, whole);
    cr_assert_not(g_file_test(cache, G_FILE_TEST_EXISTS));
    g_autoptr(GError) err = NULL;
    cr_assert_null(lob_fingerprint(folder, &err));
    g_clear_error(&err);
    cr_assert_null(lob_fingerprint("/no/such/weights", &err));
    cr_assert(g_error_matches(err, LOB_ERROR, LOB_ERROR_INPUT));
}
