/* Waiting for a lock, and keeping one. */
#include "hdf5io/hdf5io.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A child that holds the lock for a while, and says through a pipe that it has it. */
static pid_t hold(const char *path, unsigned milliseconds) {
    int ends[2];
    char byte = 0;
    cr_assert_eq(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
        LobLock *lock = lob_lock_take(path, NULL);
        if (!lock || write(ends[1], "x", 1) != 1)
            _exit(1);
        lob_lock_keep(lock);
        g_usleep(milliseconds * 1000UL);
        lob_lock_release(lock);
        _exit(0);
    }
    cr_assert_eq(read(ends[0], &byte, 1), 1);
    (void)close(ends[0]);
    (void)close(ends[1]);
    return child;
}

static void await_child(pid_t child) {
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

Test(hdf5io_lock, patience_outlasts_a_short_holder) {
    g_autofree char *dir = g_dir_make_tmp("lob-lock-XXXXXX", NULL),
                    *path = g_build_filename(dir, "lock", NULL);
    g_autoptr(GError) err = NULL;
    pid_t child = hold(path, 700);
    LobLock *lock = lob_lock_wait(path, 20, NULL, &err);
    cr_assert_not_null(lock, "%s", err ? err->message : "");
    await_child(child);
    lob_lock_release(lock);

    child = hold(path, 1500);
    cr_assert_null(lob_lock_wait(path, 0.3, NULL, &err));
    cr_assert(g_error_matches(err, LOB_ERROR, LOB_ERROR_INPUT));
    await_child(child);
    cr_assert(!g_file_test(path, G_FILE_TEST_EXISTS), "a kept lock is released as any other");
    cr_assert_eq(rmdir(dir), 0);
}

/* Another host's lock that has been silent for so many seconds. */
static void write_foreign(const char *path, int silent) {
    const struct timespec then[2] = {{.tv_sec = time(NULL) - silent}, {.tv_sec = time(NULL) - silent}};
    cr_assert(g_file_set_contents(
        path, "lobule-lock 1\nhost node17\nboot other\nns other\npid 7\nstart 7\njob \nrestart 0\n", -1,
        NULL));
    cr_assert_eq(utimensat(AT_FDCWD, path, then, 0), 0);
}

Test(hdf5io_lock, where_only_a_heartbeat_tells_it_is_waited_for) {
    g_autofree char *dir = g_dir_make_tmp("lob-lock-XXXXXX", NULL),
                    *path = g_build_filename(dir, "lock", NULL);
    g_autoptr(GError) err = NULL;
    write_foreign(path, 598);
    LobLock *lock = lob_lock_wait(path, 0.3, NULL, &err);
    cr_assert_not_null(lock, "a silent one is succeeded: %s", err ? err->message : "");
    lob_lock_release(lock);

    write_foreign(path, 30);
    const pid_t child = fork();
    if (child == 0) {
        g_usleep(1200000);
        _exit(utimensat(AT_FDCWD, path, NULL, 0) == 0 ? 0 : 1);
    }
    const double start = lob_clock();
    cr_assert_null(lob_lock_wait(path, 0.3, NULL, &err));
    cr_assert(g_error_matches(err, LOB_ERROR, LOB_ERROR_INPUT) && strstr(err->message, "node17"));
    const double took = lob_clock() - start;
    cr_assert(took > 1 && took < 10, "%.1f s", took);
    await_child(child);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(rmdir(dir), 0);
}

static bool stop_now(GError **err) {
    return lob_fail(err, LOB_ERROR_STOPPED, "stopped");
}

Test(hdf5io_lock, waiting_can_be_stopped) {
    g_autofree char *dir = g_dir_make_tmp("lob-lock-XXXXXX", NULL),
                    *path = g_build_filename(dir, "lock", NULL);
    g_autoptr(GError) err = NULL;
    write_foreign(path, 30);
    cr_assert_null(lob_lock_wait(path, 0.3, stop_now, &err));
    cr_assert(g_error_matches(err, LOB_ERROR, LOB_ERROR_STOPPED));
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(rmdir(dir), 0);
}
