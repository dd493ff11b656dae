/* Tiles over a mask, the quality of a slide, and its picture. */
#include "tissue/tissue.h"

#include <criterion/criterion.h>
#include <glib/gstdio.h>
#include <math.h>
#include <png.h>
#include <string.h>
#include <unistd.h>

static void random_mask(LobMask *mask, int width, int height, double scale_x, double scale_y) {
    LobRng rng;
    lob_rng_init(&rng, 11, "grid");
    lob_image_init(&mask->image, width, height, 1);
    for (int i = 0; i < width * height; i++)
        mask->image.data[i] = lob_rng_uniform(&rng) < 0.4 ? 255 : 0;
    mask->scale_x = scale_x;
    mask->scale_y = scale_y;
}

static double overlap(double a0, double a1, double b0, double b1) {
    return fmax(0, fmin(a1, b1) - fmax(a0, b0));
}

/* Share of a tile that is tissue, by summing the overlap with every mask pixel. */
static double share_of(const LobMask *mask, double x, double y, double w, double h) {
    double area = 0;
    for (int i = 0; i < mask->image.width * mask->image.height; i++) {
        double px = (double)mask->origin_x + i % mask->image.width * mask->scale_x;
        double py = (double)mask->origin_y + (double)(i / mask->image.width) * mask->scale_y;
        if (mask->image.data[i])
            area += overlap(x, x + w, px, px + mask->scale_x) * overlap(y, y + h, py, py + mask->scale_y);
    }
    return area / (w * h);
}

Test(grid, keeps_the_tiles_with_enough_tissue_at_fractional_footprints) {
    g_auto(LobMask) mask = {0};
    g_auto(LobGrid) grid = {0};
    random_mask(&mask, 40, 30, 16.087, 16.0378);
    mask.origin_x = 50;
    mask.origin_y = 20;
    double w = 24.449, h = 24.3, step_x = 20.2, step_y = 24.3;
    cr_assert(lob_grid_make(&mask, 50, 20, 643, 481, w, h, step_x, step_y, 0.37, &grid, NULL));
    size_t k = 0;
    for (int r = 0; 20 + r * step_y + h <= 20 + 481; r++)
        for (int c = 0; 50 + c * step_x + w <= 50 + 643; c++) {
            int x = (int)lround(50 + c * step_x), y = (int)lround(20 + r * step_y);
            double share = share_of(&mask, x, y, w, h);
            if (share < 0.37)
                continue;
            cr_assert(k < grid.n && grid.xy[k][0] == x && grid.xy[k][1] == y, "tile %zu", k);
            cr_expect_eq(grid.tissue[k], (int)lround(100 * share));
            k++;
        }
    cr_expect_eq(k, grid.n);
    cr_expect(k > 100);
}

Test(grid, needs_whole_tiles_and_some_tissue) {
    g_auto(LobMask) mask = {0};
    g_auto(LobGrid) grid = {0}, none = {0}, small = {0}, far = {0};
    random_mask(&mask, 10, 10, 10, 10);
    memset(mask.image.data, 255, 100);
    cr_assert(lob_grid_make(&mask, 0, 0, 100, 100, 30, 50, 30, 50, 1, &grid, NULL));
    cr_expect_eq(grid.n, 6);
    cr_expect(grid.xy[5][0] == 60 && grid.xy[5][1] == 50 && grid.tissue[5] == 100);
    memset(mask.image.data, 0, 100);
    cr_assert(lob_grid_make(&mask, 0, 0, 100, 100, 30, 50, 30, 50, 0, &none, NULL));
    cr_expect_eq(none.n, 0);
    cr_assert(lob_grid_make(&mask, 0, 0, 20, 100, 30, 50, 30, 50, 0, &small, NULL));
    cr_expect_eq(small.n, 0);
    g_autoptr(GError) err = NULL;
    cr_expect_not(lob_grid_make(&mask, 0, 0, (int64_t)3000000000, 100, 30, 50, 30, 50, 0, &far, &err));
    cr_expect(g_error_matches(err, LOB_ERROR, LOB_ERROR_INPUT));
}

/* Left half pink tissue, of which a stripe is twice as thick; right half glass with ink of one colour. */
static void quality_of(const uint8_t ink[3], LobSlideQuality *quality) {
    static const uint8_t pink[3] = {220, 150, 190}, fold[3] = {189, 88, 141}, white[3] = {244, 244, 244};
    g_auto(LobImage) image = {0};
    g_auto(LobMask) mask = {.scale_x = 20, .scale_y = 20};
    lob_image_init(&image, 100, 100, 3);
    lob_image_init(&mask.image, 100, 100, 1);
    for (int i = 0; i < 10000; i++) {
        int x = i % 100;
        memcpy(image.data + 3 * i, x < 5 ? fold : x < 50 ? pink : x < 80 ? white : ink, 3);
        mask.image.data[i] = x < 50 ? 255 : 0;
    }
    lob_slide_quality(&image, &mask, 0.5, 0.25, quality);
}

Test(quality, sees_ink_and_folds_and_measures_tissue) {
    static const uint8_t inks[3][3] = {{40, 60, 150}, {40, 130, 80}, {30, 32, 35}},
                         white[3] = {244, 244, 244};
    LobSlideQuality quality;
    quality_of(white, &quality);
    cr_expect_eq(quality.pen_fraction, 0);
    cr_expect_float_eq(quality.tissue_mm2, 5000 * 10.0 * 5.0 / 1e6, 1e-12);
    double od = -log10(221 / 256.0) * 0.9 - log10(190 / 256.0) * 0.1;
    cr_expect_float_eq(quality.od_mean[0], od, 1e-9);
    cr_expect(quality.blur > 0);
    for (int i = 0; i < 3; i++) {
        quality_of(inks[i], &quality);
        cr_expect_float_eq(quality.pen_fraction, 0.2, 1e-12, "ink %d: %g", i, quality.pen_fraction);
    }
}

Test(quality, a_doubled_layer_counts_as_a_fold) {
    static const uint8_t pink[3] = {220, 150, 190}, doubled[3] = {150, 60, 120};
    g_auto(LobImage) image = {0};
    g_auto(LobMask) mask = {.scale_x = 1, .scale_y = 1};
    lob_image_init(&image, 50, 10, 3);
    lob_image_init(&mask.image, 50, 10, 1);
    memset(mask.image.data, 255, 500);
    for (int i = 0; i < 500; i++)
        memcpy(image.data + 3 * i, i % 50 < 5 ? doubled : pink, 3);
    LobSlideQuality quality;
    lob_slide_quality(&image, &mask, 1, 1, &quality);
    cr_expect_float_eq(quality.fold_fraction, 0.1, 1e-12, "%g", quality.fold_fraction);
}

/* What is drawn, read back: outline green, tiles blue, the rest as it was; the picture is twice the mask. */
Test(overlay, draws_outlines_and_tiles_and_keeps_the_other_pixels) {
    g_auto(LobImage) image = {0};
    g_auto(LobMask) mask = {0};
    g_auto(LobGrid) grid = {0};
    random_mask(&mask, 40, 30, 10, 10);
    memset(mask.image.data, 0, 40 * 30);
    memset(mask.image.data + 40 * 10, 255, 40 * 10);
    lob_image_init(&image, 80, 60, 3);
    memset(image.data, 200, 3 * 80 * 60);
    cr_assert(lob_grid_make(&mask, 0, 0, 400, 300, 100, 100, 100, 100, 0.5, &grid, NULL));
    cr_assert_eq(grid.n, 4);
    g_autofree char *path = g_strdup_printf("%s/lobule-overlay-%d.png", g_get_tmp_dir(), (int)getpid());
    g_autoptr(GError) err = NULL;
    cr_assert(lob_overlay_png(path, &image, &mask, &grid, 100, 100, &err));
    png_image png = {.version = PNG_IMAGE_VERSION};
    cr_assert(png_image_begin_read_from_file(&png, path));
    png.format = PNG_FORMAT_RGB;
    cr_assert(png.width == 80 && png.height == 60);
    g_autofree uint8_t *pixels = g_malloc(PNG_IMAGE_SIZE(png));
    cr_assert(png_image_finish_read(&png, NULL, pixels, 0, NULL));
    for (int y = 0; y < 60; y++)
        for (int x = 0; x < 80; x++) {
            bool outline = y >= 19 && y <= 40 && (y <= 20 || y >= 39 || x == 0 || x == 79);
            bool tile = y >= 20 && y <= 40 && (x % 20 == 0 || y % 20 == 0);
            int wanted = outline ? 160 : tile ? 90 : 200;
            cr_assert_eq(pixels[3 * (y * 80 + x) + 1], wanted, "at %d,%d: %d", x, y,
                         pixels[3 * (y * 80 + x) + 1]);
        }
    cr_expect_not(lob_overlay_png("/nowhere/at/all.png", &image, &mask, NULL, 100, 100, &err));
    cr_expect(g_error_matches(err, LOB_ERROR, LOB_ERROR_IO));
}
