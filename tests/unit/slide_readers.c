/* Isolated readers: the same bytes as in this process, and what is left when one crashes, hangs, eats memory.
 */
#include "slide_synthetic.h"

#include <criterion/criterion.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(readers, .timeout = 60);

static const LobTileSpec spec = {0.5, 64, 0, 1.1};
static LobReaderLimits limits = {3, 1, (size_t)256 << 20, 256, 64};
enum { BYTES = 3 * 64 * 64 };

/* A slide of 1000 x 600 px: 15 x 9 tiles of 64. */
static char *make_slide(const char *name) {
    char *path = scratch_path(name);
    slide_write_tiff(path, 1000, 600, 0.5, 0.5, draw_pattern);
    return path;
}

static LobReader *start(const char *hook) {
    g_autoptr(GError) err = NULL;
    if (hook != NULL)
        g_setenv("LOB_TEST_READER", hook, TRUE);
    cr_assert(lob_zygote_start(&err));
    LobReader *reader = lob_reader_new(&limits, &err);
    cr_assert_not_null(reader, "%s", err != NULL ? err->message : "");
    return reader;
}

static void open_in(LobReader *reader, const char *path, LobSlideInfo *info) {
    g_autoptr(GError) err = NULL;
    cr_assert(lob_reader_open(reader, &(LobSlideSpec){path, 0, LOB_MPP_UNKNOWN}, info, &err), "%s",
              err != NULL ? err->message : "");
}

static void expect_tiles(const char *path, const int32_t (*xy)[2], size_t n, const uint8_t *rgb,
                         const uint8_t *status, size_t unreadable) {
    g_autoptr(LobSlide) slide = lob_slide_open(&(LobSlideSpec){path, 0, LOB_MPP_UNKNOWN}, NULL);
    uint8_t want[BYTES];
    size_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        bad += status[i] == LOB_TILE_UNREADABLE;
        if (status[i] == LOB_TILE_UNREADABLE)
            continue;
        cr_assert(lob_slide_tile(slide, &spec, xy[i][0], xy[i][1], want, NULL));
        cr_assert(memcmp(want, rgb + i * BYTES, BYTES) == 0, "tile %zu differs", i);
    }
    cr_expect_eq(bad, unreadable, "%zu tiles unreadable", bad);
}

/* Reads all tiles as two overlapping requests; `reason` of the last that had one. */
static bool read_all(LobReader *reader, const char *path, size_t unreadable, char **reason, GError **err) {
    LobSlideInfo info;
    size_t n;
    const uint8_t *rgb, *status;
    open_in(reader, path, &info);
    g_autofree int32_t(*tiles)[2] = all_tiles(&info, &spec, &n);
    const int32_t(*xy)[2] = (const int32_t(*)[2])tiles;
    size_t half = n / 2;
    cr_assert(lob_reader_request(reader, &spec, xy, half, err));
    cr_assert(lob_reader_request(reader, &spec, xy + half, n - half, err));
    cr_assert_not(lob_reader_request(reader, &spec, xy, 1, NULL));
    g_autofree char *first = NULL, *second = NULL;
    g_autofree uint8_t *all = g_malloc(n * BYTES), *states = g_malloc(n);
    if (!lob_reader_collect(reader, &rgb, &status, &first, err))
        return false;
    memcpy(all, rgb, half * BYTES);
    memcpy(states, status, half);
    if (!lob_reader_collect(reader, &rgb, &status, &second, err))
        return false;
    memcpy(all + half * BYTES, rgb, (n - half) * BYTES);
    memcpy(states + half, status, n - half);
    expect_tiles(path, xy, n, all, states, unreadable);
    if (reason != NULL)
        *reason = first != NULL ? g_steal_pointer(&first) : g_steal_pointer(&second);
    return true;
}

static void expect_one_lost(const char *hook, const char *words) {
    g_autofree char *path = make_slide("sick.tif"), *reason = NULL;
    g_autoptr(GError) err = NULL;
    g_autoptr(LobReader) reader = start(hook);
    cr_assert(read_all(reader, path, 1, &reason, &err), "%s", err != NULL ? err->message : "");
    cr_assert_not_null(reason);
    cr_expect_not_null(strstr(reason, words), "%s", reason);
    cr_expect_not_null(strstr(reason, "192,128"), "%s", reason);
}

static void expect_slide_lost(const char *hook, bool at_open, const char *words) {
    g_autofree char *sick = make_slide("sick.tif"), *well = make_slide("well.tif");
    g_autoptr(GError) err = NULL;
    g_autoptr(LobReader) reader = start(hook);
    LobSlideInfo info;
    if (at_open)
        cr_assert_not(lob_reader_open(reader, &(LobSlideSpec){sick, 0, LOB_MPP_UNKNOWN}, &info, &err));
    else
        cr_assert_not(read_all(reader, sick, 0, NULL, &err));
    cr_expect(g_error_matches(err, LOB_ERROR, LOB_ERROR_SLIDE));
    cr_expect_not_null(strstr(err->message, words), "%s", err->message);
    cr_expect_eq(lob_reader_crashed(reader), !strstr(words, "limit"));
    g_clear_error(&err);
    cr_expect(read_all(reader, well, 0, NULL, &err), "%s", err != NULL ? err->message : "");
}

Test(readers, give_the_bytes_of_reading_in_process) {
    g_autofree char *path = make_slide("plain.tif");
    g_autoptr(LobReader) reader = start(NULL);
    cr_expect(read_all(reader, path, 0, NULL, NULL));
    cr_expect(read_all(reader, path, 0, NULL, NULL));
    lob_zygote_stop();
    lob_zygote_stop();
}

Test(readers, give_the_overview_of_reading_in_process) {
    g_autofree char *path = make_slide("overview.tif");
    g_autoptr(LobReader) reader = start(NULL);
    g_autoptr(LobSlide) slide = lob_slide_open(&(LobSlideSpec){path, 0, LOB_MPP_UNKNOWN}, NULL);
    g_auto(LobImage) here = {0}, there = {0};
    LobSlideInfo info;
    double a[2], b[2];
    open_in(reader, path, &info);
    cr_expect(memcmp(info.quickhash, lob_slide_info(slide)->quickhash, sizeof info.quickhash) == 0);
    cr_assert(lob_slide_overview(slide, 8, &here, &a[0], &a[1], NULL));
    cr_assert(lob_reader_overview(reader, 8, &there, NULL, &b[0], &b[1], NULL));
    cr_assert(here.width == there.width && here.height == there.height && a[0] == b[0] && a[1] == b[1]);
    cr_expect(memcmp(here.data, there.data, 3 * (size_t)here.width * (size_t)here.height) == 0);
}

Test(readers, one_crash_costs_nothing) {
    g_autofree char *path = make_slide("sick.tif");
    g_autoptr(LobReader) reader = start("segv@once:sick");
    cr_expect(read_all(reader, path, 0, NULL, NULL));
}

Test(readers, a_crashing_tile_costs_that_tile) {
    expect_one_lost("segv@192,128:sick", "signal 11");
}

Test(readers, a_hanging_tile_costs_that_tile) {
    expect_one_lost("hang@192,128:sick", "time limit of 1 s");
}

Test(readers, a_tile_that_eats_memory_costs_that_tile) {
#ifndef __SANITIZE_ADDRESS__
    limits.tile_seconds = 30;
    expect_one_lost("eat@192,128:sick", "memory limit of 256 MiB");
#else
    fprintf(stderr, "skipped: the sanitizer ends a process that cannot allocate in its own way\n");
#endif
}

Test(readers, a_slide_that_always_crashes_is_lost_alone) {
    expect_slide_lost("segv:sick", false, "signal 11");
}

Test(readers, a_slide_that_always_hangs_is_lost_alone) {
    expect_slide_lost("hang:sick", false, "time limit");
}

Test(readers, a_crash_while_opening_is_told) {
    expect_slide_lost("segv@open:sick", true, "signal 11");
}

Test(readers, a_hang_while_opening_is_told) {
    expect_slide_lost("hang@open:sick", true, "time limit of 3 s");
}

static bool until(void *deadline) {
    return lob_clock() < *(const double *)deadline;
}

static void expect_stopped(const char *hook, bool opening) {
    g_autofree char *path = make_slide("sick.tif"), *well = make_slide("well.tif");
    g_autoptr(GError) err = NULL;
    g_autoptr(LobReader) reader = start(hook);
    const int32_t xy[1][2] = {{0, 0}};
    const uint8_t *rgb, *status;
    LobSlideInfo info;
    if (!opening) {
        open_in(reader, path, &info);
        cr_assert(lob_reader_request(reader, &spec, xy, 1, NULL));
    }
    const double begun = lob_clock();
    double deadline = begun + 0.3;
    lob_reader_set_tick(reader, until, &deadline);
    if (opening)
        cr_expect_not(lob_reader_open(reader, &(LobSlideSpec){path, 0, LOB_MPP_UNKNOWN}, &info, &err));
    else
        cr_expect_not(lob_reader_collect(reader, &rgb, &status, NULL, &err));
    const double took = lob_clock() - begun;
    lob_reader_set_tick(reader, NULL, NULL);
    cr_expect(g_error_matches(err, LOB_ERROR, LOB_ERROR_STOPPED), "%s", err ? err->message : "");
    cr_expect(took > 0.25 && took < 0.9, "%.2f s", took);
    cr_expect_not(lob_reader_crashed(reader));
    g_clear_error(&err);
    cr_expect(read_all(reader, well, 0, NULL, &err), "%s", err ? err->message : "");
}

/* Long before the limits of three seconds for opening and one for a tile. */
Test(readers, waiting_for_one_that_hangs_at_opening_can_be_stopped) {
    expect_stopped("hang@open:sick", true);
}

Test(readers, waiting_for_one_that_hangs_at_a_tile_can_be_stopped) {
    expect_stopped("hang:sick", false);
}

Test(readers, may_not_write_connect_or_see_foreign_descriptors) {
    expect_slide_lost("probe@open:sick", true, "left with code 16");
}

Test(readers, a_file_that_vanishes_is_told) {
    g_autofree char *path = make_slide("vanish.tif");
    g_autoptr(GError) err = NULL;
    g_autoptr(LobReader) reader = start(NULL);
    LobSlideInfo info;
    const uint8_t *rgb, *status;
    size_t n;
    open_in(reader, path, &info);
    g_autofree int32_t(*xy)[2] = all_tiles(&info, &spec, &n);
    cr_assert(truncate(path, 10) == 0 && g_unlink(path) == 0);
    cr_assert(lob_reader_request(reader, &spec, (const int32_t(*)[2])xy, n, NULL));
    cr_expect_not(lob_reader_collect(reader, &rgb, &status, NULL, &err));
    cr_assert_not_null(err);
    cr_expect_not_null(strstr(err->message, "not there"), "%s", err->message);
}

Test(readers, undecodable_tiles_are_told_and_the_others_read) {
    g_autofree char *whole = shared_file("slides/CMU-1-Small-Region.svs");
    g_autofree char *damaged = shared_file("broken/corrupt-tiles.svs");
    if (whole == NULL || damaged == NULL)
        return;
    cr_assert(lob_zygote_start(NULL));
    g_autoptr(LobReader) reader = lob_reader_new(&lob_reader_default_limits, NULL);
    LobTileSpec large = {0.5, 224, 0, 1.1};
    LobSlideInfo info;
    const uint8_t *rgb, *status;
    g_autofree char *reason = NULL;
    size_t n, bad = 0, bytes = 3 * 224 * 224;
    open_in(reader, damaged, &info);
    g_autofree int32_t(*xy)[2] = all_tiles(&info, &large, &n);
    cr_assert(lob_reader_request(reader, &large, (const int32_t(*)[2])xy, n, NULL));
    cr_assert(lob_reader_collect(reader, &rgb, &status, &reason, NULL));
    g_autoptr(LobSlide) slide = lob_slide_open(&(LobSlideSpec){whole, 0, LOB_MPP_UNKNOWN}, NULL);
    g_autofree uint8_t *want = g_malloc(bytes);
    for (size_t i = 0; i < n; i++) {
        bad += status[i] == LOB_TILE_UNREADABLE;
        cr_assert(lob_slide_tile(slide, &large, xy[i][0], xy[i][1], want, NULL));
        cr_expect(status[i] == LOB_TILE_UNREADABLE || memcmp(want, rgb + i * bytes, bytes) == 0,
                  "tile %zu is neither unreadable nor right", i);
    }
    cr_expect(bad > 0 && bad < n / 4, "%zu of %zu tiles", bad, n);
    cr_assert_not_null(reason);
    cr_expect_not_null(strstr(reason, "JPEG"), "%s", reason);
}

/* One bad tile of a slide of one level: the overview is that of the undamaged slide but for a few blocks. */
Test(readers, an_overview_tells_what_it_could_not_read) {
    g_autofree char *whole = shared_file("slides/CMU-1-Small-Region.svs");
    g_autofree char *damaged = shared_file("broken/corrupt-tiles.svs");
    if (whole == NULL || damaged == NULL)
        return;
    cr_assert(lob_zygote_start(NULL));
    g_autoptr(LobReader) reader = lob_reader_new(&lob_reader_default_limits, NULL);
    g_auto(LobImage) want = {0}, got = {0}, unknown = {0}, none = {0};
    g_autoptr(GError) err = NULL;
    LobSlideInfo info;
    double x, y;
    open_in(reader, whole, &info);
    cr_assert(lob_reader_overview(reader, 8, &want, &none, &x, &y, NULL));
    cr_expect(memchr(none.data, 255, (size_t)none.width * (size_t)none.height) == NULL);
    open_in(reader, damaged, &info);
    cr_assert(lob_reader_overview(reader, 8, &got, &unknown, &x, &y, &err), "%s", err ? err->message : "");
    size_t n = (size_t)got.width * (size_t)got.height, missing = 0;
    for (size_t i = 0; i < n; i++) {
        missing += unknown.data[i] == 255;
        cr_assert(unknown.data[i] == 255 || memcmp(want.data + 3 * i, got.data + 3 * i, 3) == 0, "px %zu", i);
    }
    cr_expect(missing > 0 && missing < n / 20, "%zu of %zu px", missing, n);
    g_auto(LobImage) strict = {0};
    open_in(reader, damaged, &info);
    cr_expect_not(lob_reader_overview(reader, 8, &strict, NULL, &x, &y, &err));
    cr_expect_not_null(strstr(err->message, "JPEG"), "%s", err->message);
}

Test(readers, an_overview_of_nothing_readable_is_an_error) {
    g_autofree char *path = shared_file("broken/unreadable-tile.svs");
    if (path == NULL)
        return;
    g_autoptr(LobReader) reader = start(NULL);
    g_auto(LobImage) image = {0}, unknown = {0};
    g_autoptr(GError) err = NULL;
    LobSlideInfo info;
    double x, y;
    cr_assert(lob_reader_open(reader, &(LobSlideSpec){path, 0.5, LOB_MPP_MANIFEST}, &info, NULL));
    cr_expect_not(lob_reader_overview(reader, 8, &image, &unknown, &x, &y, &err));
    cr_expect(g_error_matches(err, LOB_ERROR, LOB_ERROR_SLIDE));
    cr_expect_not_null(strstr(err->message, "cannot decode"), "%s", err->message);
}

/* pids of this process's children and theirs. */
static GArray *descendants(pid_t of) {
    GArray *pids = g_array_new(FALSE, FALSE, sizeof(pid_t));
    g_array_append_val(pids, of);
    for (guint i = 0; i < pids->len; i++) {
        pid_t pid = g_array_index(pids, pid_t, i);
        g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/children", (int)pid, (int)pid),
                        *text = NULL;
        if (!g_file_get_contents(path, &text, NULL, NULL))
            continue;
        g_auto(GStrv) words = g_strsplit(g_strstrip(text), " ", -1);
        for (size_t w = 0; words[w] != NULL && words[w][0] != '\0'; w++) {
            pid_t child = atoi(words[w]);
            g_array_append_val(pids, child);
        }
    }
    g_array_remove_index(pids, 0);
    return pids;
}

Test(readers, outlive_the_signals_that_stop_a_job) {
    g_autofree char *path = make_slide("signals.tif");
    g_autoptr(LobReader) reader = start(NULL);
    g_autoptr(GArray) pids = descendants(getpid());
    cr_assert_eq(pids->len, 2, "%u children", pids->len);
    static const int signals[] = {SIGTERM, SIGINT, SIGUSR1, SIGHUP};
    for (guint i = 0; i < pids->len; i++)
        for (size_t s = 0; s < G_N_ELEMENTS(signals); s++)
            cr_assert(kill(g_array_index(pids, pid_t, i), signals[s]) == 0);
    g_usleep(50000);
    cr_expect(read_all(reader, path, 0, NULL, NULL));
    g_autoptr(GArray) after = descendants(getpid());
    cr_expect(after->len == 2 && memcmp(after->data, pids->data, 2 * sizeof(pid_t)) == 0);
}

/* Whatever it was killed for, the slide is not to blame: opening and the overview have a second chance. */
Test(readers, being_killed_while_idle_costs_nothing) {
    g_autofree char *path = make_slide("idle.tif");
    g_autoptr(LobReader) reader = start(NULL);
    g_autoptr(GArray) first = descendants(getpid());
    cr_assert(kill(g_array_index(first, pid_t, 1), SIGKILL) == 0);
    LobSlideInfo info;
    open_in(reader, path, &info);
    g_autoptr(GArray) second = descendants(getpid());
    cr_assert(kill(g_array_index(second, pid_t, 1), SIGKILL) == 0);
    g_auto(LobImage) image = {0};
    g_autoptr(GError) err = NULL;
    double x, y;
    cr_assert(lob_reader_overview(reader, 8, &image, NULL, &x, &y, &err), "%s",
              err != NULL ? err->message : "");
    cr_expect(read_all(reader, path, 0, NULL, NULL));
}

/* Gone, or a zombie that nobody reaps. */
static bool is_dead(pid_t pid) {
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)pid), *text = NULL;
    return !g_file_get_contents(path, &text, NULL, NULL) || strstr(text, ") Z") != NULL;
}

Test(readers, die_with_their_rank) {
    pid_t rank = fork();
    if (rank == 0) {
        start(NULL);
        pause();
        _exit(0);
    }
    g_autoptr(GArray) pids = NULL;
    for (int i = 0; i < 200 && (pids == NULL || pids->len < 2); i++) {
        g_usleep(10000);
        g_clear_pointer(&pids, g_array_unref);
        pids = descendants(rank);
    }
    cr_assert_eq(pids->len, 2);
    kill(rank, SIGKILL);
    waitpid(rank, NULL, 0);
    bool dead = false;
    for (int i = 0; i < 300 && !dead; i++) {
        g_usleep(10000);
        dead = is_dead(g_array_index(pids, pid_t, 0)) && is_dead(g_array_index(pids, pid_t, 1));
    }
    cr_expect(dead);
}

Test(readers, an_idle_descriptor_shows_when_a_request_is_done) {
    g_autofree char *path = make_slide("poll.tif");
    g_autoptr(LobReader) reader = start(NULL);
    LobSlideInfo info;
    const uint8_t *rgb, *status;
    open_in(reader, path, &info);
    struct pollfd fd = {.fd = lob_reader_fd(reader), .events = POLLIN};
    cr_expect_eq(poll(&fd, 1, 0), 0);
    int32_t xy[1][2] = {{64, 64}};
    cr_assert(lob_reader_request(reader, &spec, (const int32_t(*)[2])xy, 1, NULL));
    cr_expect_eq(poll(&fd, 1, 5000), 1);
    cr_expect(lob_reader_collect(reader, &rgb, &status, NULL, NULL));
    expect_tiles(path, (const int32_t(*)[2])xy, 1, rgb, status, 0);
}
