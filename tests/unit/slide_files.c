/* Opening: what is refused and why, true scale and its sources, tiles that measure what they should. */
#include "slide_synthetic.h"

#include <criterion/criterion.h>
#include <glib/gstdio.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void expect_refused(const char *path, const char *words) {
    g_autoptr(GError) err = NULL;
    g_autoptr(LobSlide) slide = lob_slide_open(&(LobSlideSpec){path, 0, LOB_MPP_UNKNOWN}, &err);
    cr_assert_null(slide, "%s opened", path);
    cr_expect(g_error_matches(err, LOB_ERROR, LOB_ERROR_SLIDE));
    cr_expect_not_null(strstr(err->message, words), "%s: %s", path, err->message);
    cr_expect_not_null(strstr(err->message, path), "no path in: %s", err->message);
}

static char *file_with(const char *name, const void *bytes, size_t size) {
    char *path = scratch_path(name);
    cr_assert(g_file_set_contents(path, bytes, (gssize)size, NULL));
    return path;
}

Test(slide, refuses_what_is_no_slide_with_a_reason) {
    g_autofree char *empty = file_with("empty.svs", "", 0);
    g_autofree char *jpeg = file_with("photo.svs", "\xFF\xD8\xFF\xE0 a photo", 12);
    g_autofree char *text = file_with("text.svs", "hello, this is text", 19);
    g_autofree char *cut = file_with("cut.tif", "II*\0\0\0\1\0 and then nothing", 24);
    g_autofree char *fifo = scratch_path("fifo.svs"), *gone = scratch_path("gone.svs");
    g_autofree char *folder = g_path_get_dirname(empty);
    cr_assert(mkfifo(fifo, 0600) == 0);
    expect_refused(empty, "is empty");
    expect_refused(jpeg, "a JPEG file");
    expect_refused(text, "not a slide");
    expect_refused(cut, "truncated");
    expect_refused(fifo, "not a regular file");
    expect_refused(gone, "not there");
    expect_refused(folder, "a folder");
    if (getuid() == 0) {
        fprintf(stderr, "skipped: root may read every file\n");
        return;
    }
    cr_assert(g_chmod(text, 0) == 0);
    expect_refused(text, "may not be read");
}

Test(slide, refuses_the_broken_files_with_their_own_reasons) {
    static const char *const expected[][2] = {{"broken/not-a-slide.svs", "not a slide"},
                                              {"broken/truncated.svs", "truncated"},
                                              {"broken/unopenable.tiff", "compression"}};
    for (size_t i = 0; i < G_N_ELEMENTS(expected); i++) {
        g_autofree char *path = shared_file(expected[i][0]);
        if (path != NULL)
            expect_refused(path, expected[i][1]);
    }
}

Test(slide, an_undecodable_tile_is_an_error_until_reopened) {
    g_autofree char *path = shared_file("broken/unreadable-tile.svs");
    if (path == NULL)
        return;
    g_autoptr(GError) err = NULL;
    uint8_t rgb[3 * 16 * 16];
    g_autoptr(LobSlide) slide = lob_slide_open(&(LobSlideSpec){path, 0, LOB_MPP_UNKNOWN}, &err);
    cr_assert_not_null(slide);
    cr_expect_not(lob_slide_read(slide, 0, 0, 0, 16, 16, rgb, &err));
    cr_expect(g_error_matches(err, LOB_ERROR, LOB_ERROR_SLIDE));
    g_clear_error(&err);
    cr_expect_not(lob_slide_read(slide, 0, 0, 0, 16, 16, rgb, &err));
    cr_expect(g_error_matches(err, LOB_ERROR, LOB_ERROR_INTERNAL));
    cr_expect(lob_slide_reopen(slide, NULL));
}

Test(mpp, comes_by_the_chain_and_must_be_plausible) {
    LobSlideInfo info = {0};
    lob_mpp_from_texts(&(LobMppTexts){.mpp_x = "0.25", .mpp_y = "0.26", .aperio_mpp = "0.5"}, &info);
    cr_expect(info.mpp_x == 0.25 && info.mpp_y == 0.26 && info.mpp_source == LOB_MPP_VENDOR);
    lob_mpp_from_texts(&(LobMppTexts){.mpp_x = "0", .aperio_mpp = "0.5"}, &info);
    cr_expect(info.mpp_x == 0.5 && info.mpp_source == LOB_MPP_VENDOR);
    lob_mpp_from_texts(&(LobMppTexts){.x_resolution = "40000", .y_resolution = "20000", .unit = "centimeter"},
                       &info);
    cr_expect(info.mpp_x == 0.25 && info.mpp_y == 0.5 && info.mpp_source == LOB_MPP_TIFF);
    lob_mpp_from_texts(&(LobMppTexts){.x_resolution = "50800", .y_resolution = "50800", .unit = "inch"},
                       &info);
    cr_expect(info.mpp_x == 0.5 && info.mpp_source == LOB_MPP_TIFF);
    lob_mpp_from_texts(&(LobMppTexts){.x_resolution = "72", .y_resolution = "72", .unit = "inch"}, &info);
    cr_expect(info.mpp_x == 0 && info.mpp_source == LOB_MPP_UNKNOWN, "72 dpi is no scanner's scale");
    lob_mpp_from_texts(&(LobMppTexts){.x_resolution = "40000", .y_resolution = "40000", .unit = "none"},
                       &info);
    cr_expect(info.mpp_source == LOB_MPP_UNKNOWN);
    lob_mpp_from_texts(&(LobMppTexts){.mpp_x = "0.25 um", .mpp_y = "nan"}, &info);
    cr_expect(info.mpp_source == LOB_MPP_UNKNOWN);
}

Test(mpp, footprint_names_the_remedy) {
    LobTileSpec spec = {0.5, 224, 0, 1.1};
    LobSlideInfo info = {.levels = 1};
    double v[4];
    g_autoptr(GError) err = NULL;
    cr_expect_not(lob_tile_footprint(&info, &spec, v, v + 1, v + 2, v + 3, &err));
    cr_expect_not_null(strstr(err->message, "slides.csv"));
    cr_expect_not_null(strstr(err->message, "centers: {NAME: {mpp:"));
    g_clear_error(&err);
    info.mpp_x = info.mpp_y = 0.7;
    cr_expect_not(lob_tile_footprint(&info, &spec, v, v + 1, v + 2, v + 3, &err));
    cr_expect(g_error_matches(err, LOB_ERROR, LOB_ERROR_SLIDE));
    g_clear_error(&err);
    info.mpp_x = info.mpp_y = 30;
    cr_expect_not(lob_tile_footprint(&info, &spec, v, v + 1, v + 2, v + 3, &err));
    cr_expect_not_null(strstr(err->message, "implausible"));
    g_clear_error(&err);
    info.mpp_x = 0.25;
    info.mpp_y = 0.5;
    spec.overlap = 24;
    cr_expect(lob_tile_footprint(&info, &spec, v, v + 1, v + 2, v + 3, &err));
    cr_expect(v[0] == 448 && v[1] == 224 && v[2] == 400 && v[3] == 200);
}

Test(mpp, level_choice_never_reads_a_coarser_level_than_wanted) {
    LobSlideInfo info = {.mpp_x = 0.25, .mpp_y = 0.25, .levels = 3};
    info.level[0].downsample = 1;
    info.level[1].downsample = 4.0003;
    info.level[2].downsample = 16.01;
    cr_expect_eq(lob_slide_best_level(&info, 0.5), 0);
    cr_expect_eq(lob_slide_best_level(&info, 0.99), 1);
    cr_expect_eq(lob_slide_best_level(&info, 0.97), 0);
    cr_expect_eq(lob_slide_best_level(&info, 8), 2);
    cr_expect_eq(lob_slide_best_level(&info, 0.1), 0);
}

/* Distance of neighbouring lines in px along one axis of a tile: from the centroids of the dark runs that do
 * not touch the tile's edge. */
static double pitch_of(const uint8_t *rgb, int size, bool along_x) {
    g_autofree double *dark = g_new0(double, (size_t)size);
    for (int y = 0; y < size; y++)
        for (int x = 0; x < size; x++)
            dark[along_x ? x : y] += (240.0 - rgb[3 * (y * size + x)]) / size;
    double low = dark[0], first = -1, last = -1;
    int lines = 0;
    for (int i = 0; i < size; i++)
        low = fmin(low, dark[i]);
    for (int i = 1; i < size; i++) {
        double weight = 0, moment = 0;
        int start = i;
        for (; i < size && dark[i] > low + 1; i++) {
            weight += dark[i] - low;
            moment += (dark[i] - low) * i;
        }
        if (weight == 0 || start == 1 || i == size)
            continue;
        last = moment / weight;
        first = lines == 0 ? last : first;
        lines++;
    }
    cr_assert(lines >= 3, "only %d lines", lines);
    return (last - first) / (lines - 1);
}

static void expect_pitch(double mpp_x, double mpp_y) {
    g_autofree char *path = scratch_path("grid.tif");
    slide_write_tiff(path, 1024, 1024, mpp_x, mpp_y, draw_grid);
    g_autoptr(GError) err = NULL;
    g_autoptr(LobSlide) slide = lob_slide_open(&(LobSlideSpec){path, 0, LOB_MPP_UNKNOWN}, &err);
    cr_assert_not_null(slide, "%s", err != NULL ? err->message : "");
    cr_expect_eq(lob_slide_info(slide)->mpp_source, LOB_MPP_TIFF);
    LobTileSpec spec = {0.5, 224, 0, 1.5};
    uint8_t *rgb = g_malloc(3 * 224 * 224);
    cr_assert(lob_slide_tile(slide, &spec, 131, 77, rgb, &err), "%s", err != NULL ? err->message : "");
    cr_expect_float_eq(pitch_of(rgb, 224, true), 40, 0.2, "%g um/px: %g px", mpp_x, pitch_of(rgb, 224, true));
    cr_expect_float_eq(pitch_of(rgb, 224, false), 40, 0.2);
    g_free(rgb);
}

Test(scale, a_drawn_micrometre_grid_measures_the_same_from_every_scanner) {
    static const double scales[] = {0.25, 0.265, 0.5, 0.7};
    for (size_t i = 0; i < G_N_ELEMENTS(scales); i++)
        expect_pitch(scales[i], scales[i]);
    expect_pitch(0.25, 0.5);
}

Test(scale, the_manifest_comes_before_the_file) {
    g_autofree char *path = scratch_path("manifest.tif");
    slide_write_tiff(path, 300, 300, 0.25, 0.25, draw_pattern);
    g_autoptr(LobSlide) slide = lob_slide_open(&(LobSlideSpec){path, 0.4, LOB_MPP_CENTER}, NULL);
    cr_assert_not_null(slide);
    cr_expect_float_eq(lob_slide_info(slide)->mpp_x, 0.4, 0);
    cr_expect_eq(lob_slide_info(slide)->mpp_source, LOB_MPP_CENTER);
}

Test(slide, reads_exact_pixels_and_white_outside) {
    g_autofree char *path = scratch_path("exact.tif");
    slide_write_tiff(path, 300, 280, 0.5, 0.5, draw_pattern);
    g_autoptr(LobSlide) slide = lob_slide_open(&(LobSlideSpec){path, 0, LOB_MPP_UNKNOWN}, NULL);
    cr_assert_not_null(slide);
    uint8_t rgb[3 * 40 * 30], want[3];
    cr_assert(lob_slide_read(slide, 0, 280, 260, 40, 30, rgb, NULL));
    for (int y = 0; y < 30; y++)
        for (int x = 0; x < 40; x++) {
            memset(want, 255, 3);
            if (280 + x < 300 && 260 + y < 280)
                draw_pattern((280 + x) * 0.5, (260 + y) * 0.5, 0.5, 0.5, want);
            cr_assert(memcmp(want, rgb + 3 * (40 * y + x), 3) == 0, "at %d,%d", x, y);
        }
}

Test(slide, an_overview_read_in_blocks_equals_one_resampling) {
    g_autofree char *path = scratch_path("overview.tif");
    slide_write_tiff(path, 5000, 600, 0.5, 0.5, draw_pattern);
    g_autoptr(LobSlide) slide = lob_slide_open(&(LobSlideSpec){path, 0, LOB_MPP_UNKNOWN}, NULL);
    g_auto(LobImage) image = {0};
    double sx, sy;
    cr_assert(lob_slide_overview(slide, 4, &image, &sx, &sy, NULL));
    cr_assert(image.width == 625 && image.height == 75 && sx == 8 && sy == 8);
    g_autofree uint8_t *whole = g_malloc(3 * 5000 * 600), *want = g_malloc(3 * 625 * 75);
    cr_assert(lob_slide_read(slide, 0, 0, 0, 5000, 600, whole, NULL));
    lob_resample(whole, 5000, 600, 0, 0, 5000, 600, want, 625, 75);
    cr_expect(memcmp(want, image.data, 3 * 625 * 75) == 0);
}

Test(slide, a_slide_of_one_pixel_opens_and_has_an_overview) {
    g_autofree char *path = scratch_path("pixel.tif");
    slide_write_tiff(path, 1, 1, 0.5, 0.5, draw_pattern);
    g_autoptr(GError) err = NULL;
    g_autoptr(LobSlide) slide = lob_slide_open(&(LobSlideSpec){path, 0, LOB_MPP_UNKNOWN}, &err);
    cr_assert_not_null(slide, "%s", err != NULL ? err->message : "");
    g_auto(LobImage) image = {0};
    double sx, sy;
    cr_expect(lob_slide_overview(slide, 8, &image, &sx, &sy, &err));
    cr_expect(image.width == 1 && image.height == 1);
}

Test(bounds, are_believed_inside_the_slide_only) {
    static const struct {
        const char *texts[4];
        int64_t x, y, width, height;
    } cases[] = {
        {{"100", "200", "300", "400"}, 100, 200, 300, 400},
        {{NULL, NULL, NULL, NULL}, 0, 0, 1000, 900},
        {{"0", "0", "1000", "900"}, 0, 0, 1000, 900},
        {{"-1", "0", "10", "10"}, 0, 0, 1000, 900},
        {{"900", "0", "101", "10"}, 0, 0, 1000, 900},
        {{"5", "5", "0", "10"}, 0, 0, 1000, 900},
        {{"9223372036854775807", "1", "9223372036854775807", "1"}, 0, 0, 1000, 900},
        {{"1.5", "2", "10", "10"}, 0, 2, 10, 10},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        LobSlideInfo info = {.width = 1000, .height = 900};
        lob_bounds_from_texts(cases[i].texts, &info);
        cr_expect(info.bounds_x == cases[i].x && info.bounds_y == cases[i].y &&
                      info.bounds_width == cases[i].width && info.bounds_height == cases[i].height,
                  "case %zu: %d,%d %d x %d", i, (int)info.bounds_x, (int)info.bounds_y,
                  (int)info.bounds_width, (int)info.bounds_height);
    }
}

/* As a MIRAX slide says where in its large canvas it was scanned. */
Test(bounds, an_overview_shows_the_scanned_part_only) {
    g_autofree char *path = scratch_path("bounds.tif");
    slide_write_tiff(path, 1200, 1000, 0.5, 0.5, draw_pattern);
    g_autoptr(LobSlide) slide = lob_slide_open(&(LobSlideSpec){path, 0, LOB_MPP_UNKNOWN}, NULL);
    LobSlideInfo *info = (LobSlideInfo *)lob_slide_info(slide);
    lob_bounds_from_texts((const char *const[]){"200", "104", "800", "640"}, info);
    g_auto(LobImage) image = {0};
    double sx, sy;
    cr_assert(lob_slide_overview(slide, 4, &image, &sx, &sy, NULL));
    cr_assert(image.width == 100 && image.height == 80 && sx == 8 && sy == 8);
    g_autofree uint8_t *part = g_malloc(3 * 800 * 640), *want = g_malloc(3 * 100 * 80);
    cr_assert(lob_slide_read(slide, 0, 200, 104, 800, 640, part, NULL));
    lob_resample(part, 800, 640, 0, 0, 800, 640, want, 100, 80);
    cr_expect(memcmp(want, image.data, 3 * 100 * 80) == 0);
}
