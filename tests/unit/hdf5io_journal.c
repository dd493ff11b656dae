/* The journal under torn ends and damage, and the lock against the living and the dead. */
#include "hdf5io_fixture.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
    size_t n;
    uint64_t sum;
    char *last_text, *last_slide;
    LobJournalRecord last;
} Seen;

static void see(const LobJournalRecord *record, void *user) {
    Seen *seen = user;
    seen->n++;
    seen->sum += record->first;
    g_free(seen->last_text);
    g_free(seen->last_slide);
    seen->last_text = g_strdup(record->text);
    seen->last_slide = g_strdup(record->slide_id);
    seen->last = *record;
}

static void seen_clear(Seen *seen) {
    g_free(seen->last_text);
    g_free(seen->last_slide);
    *seen = (Seen){0};
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Seen, seen_clear)

static void append(LobJournal *journal, uint64_t first) {
    LobJournalRecord record = {.kind = LOB_J_RANGE,
                               .slide_id = "slide\tone",
                               .first = first,
                               .count = 16,
                               .crc = 0xdeadbeef,
                               .unreadable = 2,
                               .seconds = 1.25,
                               .text = "a\\b\nc"};
    FIX_OK(lob_journal_append(journal, &record, err));
    FIX_OK(lob_journal_sync(journal, err));
}

static void make_journal(const char *path, uint64_t records) {
    LobJournal *journal = lob_journal_open(path, NULL, NULL, NULL);
    cr_assert(journal != NULL);
    for (uint64_t i = 0; i < records; i++)
        append(journal, i);
    lob_journal_close(journal);
}

Test(hdf5io_journal, records_come_back_as_they_went_in) {
    g_autofree char *folder = fix_folder();
    g_autofree char *path = g_build_filename(folder, "part.journal", NULL);
    make_journal(path, 3);
    g_auto(Seen) seen = {0};
    FIX_OK(lob_journal_read(path, see, &seen, err));
    cr_expect(seen.n == 3 && seen.sum == 3);
    cr_expect_str_eq(seen.last_slide, "slide\tone");
    cr_expect_str_eq(seen.last_text, "a\\b\nc");
    cr_expect(seen.last.crc == 0xdeadbeef && seen.last.unreadable == 2 && seen.last.seconds == 1.25);
    cr_expect(seen.last.kind == LOB_J_RANGE && seen.last.count == 16);
}

Test(hdf5io_journal, what_was_not_synced_does_not_count) {
    g_autofree char *folder = fix_folder();
    g_autofree char *path = g_build_filename(folder, "part.journal", NULL);
    LobJournal *journal = lob_journal_open(path, NULL, NULL, NULL);
    LobJournalRecord end = {.kind = LOB_J_END, .text = "done"};
    FIX_OK(lob_journal_append(journal, &end, err));
    lob_journal_close(journal);
    g_auto(Seen) seen = {0};
    FIX_OK(lob_journal_read(path, see, &seen, err));
    cr_expect(seen.n == 0);
}

/* A crash can cut anywhere: exactly the whole lines count, and appending goes on after them. */
/* A job that was taken for dead wakes up: what the next one wrote meanwhile stays as it is. */
Test(hdf5io_journal, one_that_was_taken_over_writes_nothing_more) {
    g_autofree char *folder = fix_folder();
    g_autofree char *path = g_build_filename(folder, "part.journal", NULL);
    make_journal(path, 2);
    LobJournal *old = lob_journal_open(path, NULL, NULL, NULL), *next = NULL;
    cr_assert(old != NULL);
    const LobJournalRecord record = {.kind = LOB_J_RANGE, .slide_id = "late", .count = 16, .text = ""};
    FIX_OK(lob_journal_append(old, &record, err));
    FIX_OK((next = lob_journal_open(path, NULL, NULL, err)) != NULL);
    append(next, 7);
    FIX_FAILS(lob_journal_sync(old, err), LOB_ERROR_IO, "taken over");
    FIX_FAILS(lob_journal_sync(old, err), LOB_ERROR_IO, "part.journal");
    append(next, 8);
    lob_journal_close(old);
    lob_journal_close(next);
    g_auto(Seen) seen = {0};
    FIX_OK(lob_journal_read(path, see, &seen, err));
    cr_expect(seen.n == 4 && seen.sum == 0 + 1 + 7 + 8, "%zu records", seen.n);
    cr_expect_str_eq(seen.last_slide, "slide\tone");
}

/* A job that was held up between its look at the lock and its write: the next one takes that line away. */
Test(hdf5io_journal, who_holds_the_store_cuts_off_a_late_line) {
    g_autofree char *folder = fix_folder();
    g_autofree char *path = g_build_filename(folder, "part.journal", NULL);
    make_journal(path, 2);
    LobJournal *next = lob_journal_open(path, NULL, NULL, NULL), *old = NULL;
    cr_assert(next != NULL);
    append(next, 7);
    FIX_FAILS(lob_journal_cut_foreign(next, err), LOB_ERROR_IO, "cannot be undone");
    FIX_OK((old = lob_journal_open(path, NULL, NULL, err)) != NULL);
    append(old, 100);
    const LobJournalRecord record = {.kind = LOB_J_RANGE, .slide_id = "own", .first = 8, .text = ""};
    FIX_OK(lob_journal_append(next, &record, err));
    FIX_FAILS(lob_journal_sync(next, err), LOB_ERROR_IO, "taken over");
    FIX_OK(lob_journal_cut_foreign(next, err));
    FIX_OK(lob_journal_sync(next, err));
    g_auto(Seen) seen = {0};
    FIX_OK(lob_journal_read(path, see, &seen, err));
    cr_expect(seen.n == 4 && seen.sum == 0 + 1 + 7 + 8, "%zu records", seen.n);
    /* The late line stands between two of ours: cutting would tear the later one. */
    g_autofree char *text = NULL;
    gsize size = 0;
    cr_assert(g_file_get_contents(path, &text, &size, NULL));
    g_autofree char *moved = g_strdup_printf("%.*slate\n%s", (int)(size - 10), text, text + size - 10);
    FILE *file = fopen(path, "r+");
    cr_assert(file && fputs(moved, file) >= 0 && fclose(file) == 0);
    FIX_OK(lob_journal_append(next, &record, err));
    FIX_FAILS(lob_journal_sync(next, err), LOB_ERROR_IO, "taken over");
    FIX_FAILS(lob_journal_cut_foreign(next, err), LOB_ERROR_IO, "cannot be undone");
    lob_journal_close(old);
    lob_journal_close(next);
}

Test(hdf5io_journal, a_failed_write_is_repeated_whole) {
    g_autofree char *folder = fix_folder();
    g_autofree char *path = g_build_filename(folder, "part.journal", NULL);
    make_journal(path, 1);
    LobJournal *journal = lob_journal_open(path, NULL, NULL, NULL);
    struct stat before;
    struct rlimit limit, old;
    cr_assert(journal != NULL && stat(path, &before) == 0 && getrlimit(RLIMIT_FSIZE, &old) == 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    limit = old;
    limit.rlim_cur = (rlim_t)before.st_size + 5;
    const LobJournalRecord record = {.kind = LOB_J_RANGE, .slide_id = "whole", .first = 9, .text = ""};
    FIX_OK(lob_journal_append(journal, &record, err));
    cr_assert(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    for (int i = 0; i < 2; i++)
        FIX_FAILS(lob_journal_sync(journal, err), LOB_ERROR_IO, "cannot append");
    cr_assert(setrlimit(RLIMIT_FSIZE, &old) == 0);
    FIX_OK(lob_journal_sync(journal, err));
    lob_journal_close(journal);
    g_auto(Seen) seen = {0};
    FIX_OK(lob_journal_read(path, see, &seen, err));
    cr_expect(seen.n == 2 && seen.last.first == 9);
}

Test(hdf5io_journal, torn_at_every_byte_of_its_last_200) {
    g_autofree char *folder = fix_folder();
    g_autofree char *path = g_build_filename(folder, "part.journal", NULL);
    make_journal(path, 6);
    lob_log_setup(LOB_LOG_ERROR, 0);
    g_autofree char *data = NULL;
    size_t size = 0;
    cr_assert(g_file_get_contents(path, &data, &size, NULL));
    cr_assert(size > 300);
    for (size_t cut = size - 200; cut <= size; cut++) {
        size_t whole = 0;
        for (size_t i = 0; i < cut; i++)
            whole += data[i] == '\n';
        cr_assert(g_file_set_contents(path, data, (gssize)cut, NULL));
        g_auto(Seen) reading = {0}, resuming = {0}, after = {0};
        FIX_OK(lob_journal_read(path, see, &reading, err));
        cr_expect(reading.n == whole - 1, "cut at %zu: %zu records of %zu", cut, reading.n, whole - 1);
        LobJournal *journal = lob_journal_open(path, see, &resuming, NULL);
        cr_assert(journal != NULL);
        cr_expect(resuming.n == whole - 1);
        append(journal, 1000);
        lob_journal_close(journal);
        FIX_OK(lob_journal_read(path, see, &after, err));
        cr_expect(after.n == whole && after.last.first == 1000);
    }
}

Test(hdf5io_journal, a_torn_first_line_is_a_new_journal) {
    g_autofree char *folder = fix_folder();
    g_autofree char *path = g_build_filename(folder, "part.journal", NULL);
    cr_assert(g_file_set_contents(path, "lobule-jour", -1, NULL));
    make_journal(path, 1);
    g_auto(Seen) seen = {0};
    FIX_OK(lob_journal_read(path, see, &seen, err));
    cr_expect(seen.n == 1);
}

Test(hdf5io_journal, every_flipped_byte_is_found) {
    g_autofree char *folder = fix_folder();
    g_autofree char *path = g_build_filename(folder, "part.journal", NULL);
    make_journal(path, 4);
    g_autofree char *data = NULL;
    size_t size = 0, last_line = 0;
    cr_assert(g_file_get_contents(path, &data, &size, NULL));
    for (size_t i = 0; i + 1 < size; i++)
        if (data[i] == '\n')
            last_line = i + 1;
    for (size_t i = 0; i < size; i++) {
        data[i] ^= 4;
        cr_assert(g_file_set_contents(path, data, (gssize)size, NULL));
        data[i] ^= 4;
        g_auto(Seen) seen = {0};
        if (i + 1 >= last_line) { /* like a torn end: its record is lost (two where they run together) */
            FIX_OK(lob_journal_read(path, see, &seen, err));
            cr_expect(seen.n == (i >= last_line ? 3 : 2));
        } else {
            FIX_FAILS(lob_journal_read(path, see, &seen, err), LOB_ERROR_INPUT, "line ");
        }
    }
}

Test(hdf5io_journal, other_files_are_left_alone) {
    g_autofree char *folder = fix_folder();
    g_autofree char *path = g_build_filename(folder, "notes.txt", NULL);
    cr_assert(g_file_set_contents(path, "my notes\n", -1, NULL));
    FIX_FAILS(lob_journal_open(path, NULL, NULL, err), LOB_ERROR_INPUT, "line 1: not a lobule journal");
    g_autofree char *data = NULL;
    cr_assert(g_file_get_contents(path, &data, NULL, NULL));
    cr_expect_str_eq(data, "my notes\n");
}

/* ---- lock ---- */

static char *lock_name(const char *folder) {
    return g_build_filename(folder, "lock", NULL);
}

static void replace_line(const char *path, const char *key, const char *value) {
    g_autofree char *text = NULL;
    struct stat before;
    cr_assert(stat(path, &before) == 0);
    cr_assert(g_file_get_contents(path, &text, NULL, NULL));
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++)
        if (g_str_has_prefix(*line, key) && (*line)[strlen(key)] == ' ') {
            g_free(*line);
            *line = g_strdup_printf("%s %s", key, value);
        }
    g_autofree char *joined = g_strjoinv("\n", lines);
    cr_assert(g_file_set_contents(path, joined, -1, NULL));
}

Test(hdf5io_lock, a_living_holder_is_named) {
    g_autofree char *folder = fix_folder();
    g_autofree char *path = lock_name(folder);
    LobLock *lock = lob_lock_take(path, NULL);
    cr_assert(lock != NULL);
    g_autofree char *who = g_strdup_printf("in use by process %d on ", (int)getpid());
    FIX_FAILS(lob_lock_take(path, err), LOB_ERROR_INPUT, who);
    FIX_OK(lob_lock_check(lock, err));
    lob_lock_release(lock);
    cr_expect(!g_file_test(path, G_FILE_TEST_EXISTS));
    lock = lob_lock_take(path, NULL);
    cr_assert(lock != NULL);
    lob_lock_release(lock);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    cr_expect(g_dir_read_name(dir) == NULL, "nothing is left behind");
}

Test(hdf5io_lock, a_dead_holder_is_succeeded) {
    g_autofree char *folder = fix_folder();
    g_autofree char *path = lock_name(folder);
    pid_t child = fork();
    if (child == 0)
        _exit(lob_lock_take(path, NULL) ? 0 : 1);
    int status = 1;
    cr_assert(waitpid(child, &status, 0) == child && status == 0);
    cr_assert(g_file_test(path, G_FILE_TEST_EXISTS));
    LobLock *lock = NULL;
    FIX_OK((lock = lob_lock_take(path, err)) != NULL);
    lob_lock_release(lock);
}

Test(hdf5io_lock, a_zombie_and_a_reused_pid_are_dead) {
    g_autofree char *folder = fix_folder();
    g_autofree char *path = lock_name(folder);
    pid_t child = fork();
    if (child == 0)
        _exit(lob_lock_take(path, NULL) ? 0 : 1);
    siginfo_t info;
    cr_assert(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT) == 0);
    LobLock *lock = NULL;
    FIX_OK((lock = lob_lock_take(path, err)) != NULL);
    cr_assert(waitpid(child, NULL, 0) == child);
    replace_line(path, "start", "1");
    LobLock *second = NULL;
    FIX_OK((second = lob_lock_take(path, err)) != NULL);
    FIX_FAILS(lob_lock_check(lock, err), LOB_ERROR_IO, "taken away");
    lob_lock_release(lock);
    cr_expect(g_file_test(path, G_FILE_TEST_EXISTS), "another's lock is not removed");
    lob_lock_release(second);
}

/* Elsewhere the process table says nothing: a beating heart is respected, silence of 10 minutes is not. */
Test(hdf5io_lock, another_host_lives_by_its_heartbeat) {
    g_autofree char *folder = fix_folder();
    g_autofree char *path = lock_name(folder);
    LobLock *lock = lob_lock_take(path, NULL);
    cr_assert(lock != NULL);
    replace_line(path, "boot", "another");
    replace_line(path, "host", "node17");
    FIX_FAILS(lob_lock_take(path, err), LOB_ERROR_INPUT, "on node17");
    struct timeval silent[2] = {{.tv_sec = time(NULL) - 660}, {.tv_sec = time(NULL) - 660}};
    cr_assert(utimes(path, silent) == 0);
    LobLock *second = NULL;
    FIX_OK((second = lob_lock_take(path, err)) != NULL);
    lob_lock_release(second);
    lob_lock_release(lock);
}

/* Another host's fresh lock of job 77, which `restarts` then says has been restarted. */
static void expect_succession(const char *job, const char *restarts) {
    g_autofree char *folder = fix_folder();
    g_autofree char *path = lock_name(folder);
    g_setenv(job, "77", true);
    LobLock *lock = lob_lock_take(path, NULL);
    cr_assert(lock != NULL);
    replace_line(path, "boot", "another");
    FIX_FAILS(lob_lock_take(path, err), LOB_ERROR_INPUT, "job 77");
    g_setenv(restarts, "1", true);
    LobLock *second = NULL;
    FIX_OK((second = lob_lock_take(path, err)) != NULL);
    lob_lock_release(second);
    lob_lock_release(lock);
}

Test(hdf5io_lock, other_schedulers_jobs_are_named) {
    g_autofree char *folder = fix_folder();
    g_autofree char *path = lock_name(folder);
    g_setenv("PBS_JOBID", "4711.head", true);
    LobLock *lock = lob_lock_take(path, NULL);
    cr_assert(lock != NULL);
    FIX_FAILS(lob_lock_take(path, err), LOB_ERROR_INPUT, "job 4711.head");
    replace_line(path, "boot", "another");
    FIX_FAILS(lob_lock_take(path, err), LOB_ERROR_INPUT, "job 4711.head");
    lob_lock_release(lock);
}

Test(hdf5io_lock, a_requeued_job_succeeds_itself) {
    expect_succession("SLURM_JOB_ID", "SLURM_RESTART_COUNT");
}

Test(hdf5io_lock, a_job_submitted_anew_succeeds_the_first_of_its_chain) {
    g_setenv("SLURM_JOB_ID", "78", true);
    expect_succession("LOBULE_CHAIN", "LOBULE_CHAIN_RESTARTS");
}

/* How many of `n` processes that start at once take the lock; each keeps it while the others try. */
static int winners_of(int n, const char *path) {
    int go[2], winners = 0;
    pid_t children[16];
    cr_assert(n <= 16 && pipe(go) == 0);
    for (int i = 0; i < n; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            char byte;
            close(go[1]);
            while (read(go[0], &byte, 1) > 0)
                ;
            LobLock *lock = lob_lock_take(path, NULL);
            g_usleep(300000);
            _exit(lock && lob_lock_check(lock, NULL) ? 1 : 0);
        }
    }
    close(go[0]);
    close(go[1]);
    for (int i = 0; i < n; i++) {
        int status = 0;
        cr_assert(waitpid(children[i], &status, 0) == children[i] && WIFEXITED(status));
        winners += WEXITSTATUS(status);
    }
    return winners;
}

/* Also past a guard that a crash left behind, which all of them find expired. */
Test(hdf5io_lock, of_many_takers_of_a_stale_lock_one_wins, .timeout = 60) {
    g_autofree char *folder = fix_folder();
    g_autofree char *path = lock_name(folder), *guard = g_strconcat(path, ".takeover", NULL);
    const struct timeval old[2] = {{.tv_sec = time(NULL) - 100}, {.tv_sec = time(NULL) - 100}};
    LobLock *dead = lob_lock_take(path, NULL);
    cr_assert(dead != NULL);
    replace_line(path, "start", "1");
    for (int round = 0; round < 12; round++) {
        cr_assert(g_file_set_contents(guard, "", 0, NULL) && utimes(guard, old) == 0);
        const int winners = winners_of(16, path);
        cr_expect(winners == 1, "round %d: %d of 16 hold the lock", round, winners);
    }
    lob_lock_release(dead);
}

/* One that judged a lock to be stale and is held up then must not take away the lock of who came meanwhile.
 */
Test(hdf5io_lock, who_is_held_up_takes_no_living_lock_away, .timeout = 60) {
    g_autofree char *folder = fix_folder();
    g_autofree char *path = lock_name(folder), *guard = g_strconcat(path, ".takeover", NULL);
    const struct timeval old[2] = {{.tv_sec = time(NULL) - 100}, {.tv_sec = time(NULL) - 100}};
    LobLock *dead = lob_lock_take(path, NULL), *living = NULL;
    cr_assert(dead != NULL);
    replace_line(path, "start", "1");
    const pid_t slow = fork();
    if (slow == 0) {
        g_setenv("LOB_TEST_LOCK", "2", true);
        _exit(lob_lock_take(path, NULL) ? 1 : 0);
    }
    while (!g_file_test(guard, G_FILE_TEST_EXISTS))
        g_usleep(10000);
    g_usleep(200000);
    cr_assert(utimes(guard, old) == 0);
    FIX_OK((living = lob_lock_take(path, err)) != NULL);
    int status = 1;
    cr_assert(waitpid(slow, &status, 0) == slow);
    cr_expect(status == 0, "it has no lock");
    FIX_OK(lob_lock_check(living, err));
    lob_lock_release(living);
    lob_lock_release(dead);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    cr_expect(g_dir_read_name(dir) == NULL, "nothing is left behind");
}

Test(hdf5io_lock, a_folder_that_is_not_there_is_an_io_error) {
    FIX_FAILS(lob_lock_take("/nonexistent-folder/lock", err), LOB_ERROR_IO, "cannot write the lock");
}
