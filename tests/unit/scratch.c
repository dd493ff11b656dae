/* Temporary files of a Criterion program: all lie in one folder of that program, which removes it at its end.
 * It is the parent that does so: a test that crashes, runs out of time or forgets leaves nothing behind,
 * either.
 */
#include "scratch.h"

#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <ftw.h>
#include <glib.h>
#include <stdio.h>

static char *folder;

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *place) {
    (void)info, (void)type, (void)place;
    return remove(path);
}

int scratch_remove(const char *path) {
    return nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Tests inherit the environment, so g_dir_make_tmp() and the like come here by themselves. */
ReportHook(PRE_ALL)(struct criterion_test_set *tests) {
    (void)tests;
    g_autoptr(GError) err = NULL;
    folder = g_dir_make_tmp("lobule-unit-XXXXXX", &err);
    if (folder == NULL)
        g_error("%s", err->message);
    g_setenv("TMPDIR", folder, TRUE);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats) {
    (void)stats;
    if (scratch_remove(folder) != 0)
        perror(folder);
    g_free(folder);
}
