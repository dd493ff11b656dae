/* Quality of tiles: OpenCV's numbers, and drawn faults told from sound tiles. */
#include "tissue/tissue_internal.h"
#include "tissue_golden.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static uint32_t state;

static int number(void) {
    state = state * 1664525u + 1013904223u;
    return (int)(state >> 16 & 255);
}

/* The oracle's picture: noise averaged over squares cut at the border. */
static void noise(int size, int radius, uint8_t *out) {
    g_autofree int *raw = g_new(int, 3 * size * size);
    state = 7;
    for (int i = 0; i < 3 * size * size; i++)
        raw[i] = number();
    for (int y = 0; y < size; y++)
        for (int x = 0; x < size; x++)
            for (int c = 0; c < 3; c++) {
                int sum = 0, n = 0;
                for (int v = MAX(y - radius, 0); v <= MIN(y + radius, size - 1); v++)
                    for (int u = MAX(x - radius, 0); u <= MIN(x + radius, size - 1); u++, n++)
                        sum += raw[3 * (v * size + u) + c];
                out[3 * (y * size + x) + c] = (uint8_t)(sum / n);
            }
}

Test(tile_quality, blur_is_of_opencvs_laplacian) {
    static const int radii[] = {0, 1, 2, 4, 8};
    uint8_t picture[3 * 48 * 48];
    for (size_t i = 0; i < G_N_ELEMENTS(radii); i++) {
        noise(48, radii[i], picture);
        double wanted = 100 / (1 + golden_laplacian[i] / 100);
        cr_expect_eq(lob_tile_quality(picture, 48).blur, lround(wanted), "radius %d: %d, wanted %g", radii[i],
                     lob_tile_quality(picture, 48).blur, wanted);
    }
    uint8_t one[3] = {200, 120, 180};
    cr_expect_eq(lob_tile_quality(one, 1).blur, 100, "a tile of one pixel has no detail");
}

/* Share of pairs (bad, good) in which the bad one has the higher value. */
static double auc(const double *bad, size_t n_bad, const double *good, size_t n_good) {
    double pairs = 0;
    for (size_t i = 0; i < n_bad; i++)
        for (size_t j = 0; j < n_good; j++)
            pairs += bad[i] > good[j] ? 1 : bad[i] == good[j] ? 0.5 : 0;
    return pairs / (double)(n_bad * n_good);
}

enum { SIDE = 112, TILES = 40 };

/* Pink stroma with fibres, and dark round nuclei. */
static void draw_tissue(uint8_t *rgb) {
    for (int i = 0; i < SIDE * SIDE; i++) {
        int fibre = number() % 24 + (i / SIDE + i % SIDE) % 9;
        rgb[3 * i] = (uint8_t)(205 + fibre);
        rgb[3 * i + 1] = (uint8_t)(130 + fibre);
        rgb[3 * i + 2] = (uint8_t)(175 + fibre);
    }
    for (int k = 0; k < 12 + number() % 30; k++) {
        int cx = number() % SIDE, cy = number() % SIDE, r = 3 + number() % 4;
        for (int y = MAX(cy - r, 0); y < MIN(cy + r, SIDE); y++)
            for (int x = MAX(cx - r, 0); x < MIN(cx + r, SIDE); x++)
                if ((x - cx) * (x - cx) + (y - cy) * (y - cy) < r * r)
                    memcpy(rgb + 3 * (y * SIDE + x), (uint8_t[]){95, 60, 140}, 3);
    }
}

static void smear(uint8_t *rgb, int radius) {
    g_autofree uint8_t *sharp = g_memdup2(rgb, 3 * SIDE * SIDE);
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++)
            for (int c = 0; c < 3; c++) {
                int sum = 0, n = 0;
                for (int v = MAX(y - radius, 0); v <= MIN(y + radius, SIDE - 1); v++)
                    for (int u = MAX(x - radius, 0); u <= MIN(x + radius, SIDE - 1); u++, n++)
                        sum += sharp[3 * (v * SIDE + u) + c];
                rgb[3 * (y * SIDE + x) + c] = (uint8_t)(sum / n);
            }
}

Test(tile_quality, tells_blurred_and_burnt_tiles_from_sound_ones) {
    double blur[2][TILES], burnt[2][TILES];
    g_autofree uint8_t *rgb = g_malloc(3 * SIDE * SIDE);
    state = 3;
    for (int i = 0; i < TILES; i++) {
        draw_tissue(rgb);
        LobTileQuality sound = lob_tile_quality(rgb, SIDE);
        blur[0][i] = sound.blur;
        burnt[0][i] = sound.overexposed;
        g_autofree uint8_t *bright = g_memdup2(rgb, 3 * SIDE * SIDE);
        double gain = 1.3 + 0.002 * number();
        for (int k = 0; k < 3 * SIDE * SIDE; k++)
            bright[k] = (uint8_t)fmin(gain * bright[k], 255);
        burnt[1][i] = lob_tile_quality(bright, SIDE).overexposed;
        smear(rgb, 2);
        smear(rgb, 2);
        blur[1][i] = lob_tile_quality(rgb, SIDE).blur;
        cr_expect(blur[0][i] <= 50 && blur[1][i] > 50, "tile %d: blur %g, %g", i, blur[0][i], blur[1][i]);
        cr_expect(burnt[0][i] <= 50 && burnt[1][i] > 50, "tile %d: burnt %g, %g", i, burnt[0][i],
                  burnt[1][i]);
    }
    cr_expect(auc(blur[1], TILES, blur[0], TILES) > 0.99);
    cr_expect(auc(burnt[1], TILES, burnt[0], TILES) > 0.99);
}

Test(tile_quality, glass_is_not_burnt) {
    uint8_t glass[3 * 16 * 16];
    memset(glass, 255, sizeof glass);
    cr_expect_eq(lob_tile_quality(glass, 16).overexposed, 0);
    memset(glass, 200, 3 * 8);
    glass[0] = 255;
    cr_expect_eq(lob_tile_quality(glass, 16).overexposed, 100, "the one pixel that is not glass is burnt");
}

enum { WIDE = 240, CELL = 12, CELLS = (WIDE / CELL) * (WIDE / CELL) };

typedef struct {
    LobImage image;
    LobMask mask;
    LobGrid grid;
    bool drawn[CELLS]; /* at least half of the tile is drawn over */
} Slide;

/* Tissue all over, in tiles of 12 px of the overview; a stroke of `colour`, or a fold (NULL: three layers of
 * tissue) along some rows of tiles. */
static void draw_slide(Slide *slide, const uint8_t *colour) {
    *slide = (Slide){.mask = {.scale_x = 16, .scale_y = 16}};
    lob_image_init(&slide->image, WIDE, WIDE, 3);
    lob_image_init(&slide->mask.image, WIDE, WIDE, 1);
    memset(slide->mask.image.data, 255, WIDE * WIDE);
    state = 5;
    for (int i = 0; i < WIDE * WIDE; i++) {
        int wobble = number() % 31, x = i % WIDE, y = i / WIDE;
        uint8_t pixel[3] = {(uint8_t)(195 + wobble), (uint8_t)(125 + wobble), (uint8_t)(170 + wobble)};
        int row = y / CELL;
        bool stroke = row % 4 == 1 && x >= 2 * CELL && abs(y - (row * CELL + CELL / 2) - (x / 9) % 3) < 5;
        for (int c = 0; stroke && c < 3; c++) {
            if (colour)
                pixel[c] = (uint8_t)(colour[c] + wobble / 3);
            else
                pixel[c] = (uint8_t)(pixel[c] * pixel[c] * pixel[c] / (243 * 243));
        }
        memcpy(slide->image.data + 3 * i, pixel, 3);
        if (stroke && x % CELL == CELL / 2)
            slide->drawn[row * (WIDE / CELL) + x / CELL] = true;
    }
    cr_assert(lob_grid_make(&slide->mask, 0, 0, 16 * WIDE, 16 * WIDE, 16 * CELL, 16 * CELL, 16 * CELL,
                            16 * CELL, 0.5, &slide->grid, NULL));
    cr_assert_eq(slide->grid.n, CELLS);
    lob_grid_judge(&slide->grid, &slide->image, &slide->mask, 16 * CELL, 16 * CELL);
}

static void clear_slide(Slide *slide) {
    lob_image_clear(&slide->image);
    lob_mask_clear(&slide->mask);
    lob_grid_clear(&slide->grid);
}

static void expect_told(const Slide *slide, const uint8_t *percent, double limit) {
    double bad[CELLS], good[CELLS];
    size_t n_bad = 0, n_good = 0;
    for (int i = 0; i < CELLS; i++) {
        if (slide->drawn[i])
            bad[n_bad++] = percent[i];
        else
            good[n_good++] = percent[i];
        cr_expect((percent[i] > limit) == slide->drawn[i], "tile %d: %d %%", i, percent[i]);
    }
    cr_assert(n_bad > 50 && n_good > 200);
    cr_expect(auc(bad, n_bad, good, n_good) > 0.99);
}

Test(tile_quality, tells_drawn_strokes_of_every_ink) {
    static const uint8_t inks[3][3] = {{40, 60, 150}, {40, 130, 80}, {25, 28, 30}};
    for (int i = 0; i < 3; i++) {
        Slide slide;
        draw_slide(&slide, inks[i]);
        expect_told(&slide, slide.grid.pen, 10);
        clear_slide(&slide);
    }
}

Test(tile_quality, tells_drawn_folds) {
    Slide slide;
    draw_slide(&slide, NULL);
    expect_told(&slide, slide.grid.fold, 30);
    for (int i = 0; i < CELLS; i++)
        cr_expect_eq(slide.grid.pen[i], 0, "a fold is no ink");
    clear_slide(&slide);
}

Test(tile_quality, what_was_not_seen_is_not_judged) {
    static const uint8_t blue[3] = {40, 60, 150};
    Slide slide;
    draw_slide(&slide, blue);
    lob_image_init(&slide.mask.unknown, WIDE, WIDE, 1);
    for (int y = 0; y < WIDE; y++)
        memset(slide.mask.unknown.data + y * WIDE, 255, CELL);
    lob_grid_judge(&slide.grid, &slide.image, &slide.mask, 16 * CELL, 16 * CELL);
    for (int i = 0; i < CELLS; i++)
        cr_expect_eq(slide.grid.pen[i] == LOB_TILE_UNKNOWN, i % (WIDE / CELL) == 0, "tile %d", i);
    clear_slide(&slide);
}

Test(tissue, what_could_not_be_read_counts_as_tissue_and_sets_no_threshold) {
    g_auto(LobImage) image = {0}, unknown = {0};
    g_auto(LobMask) plain = {0}, mask = {0};
    lob_image_init(&image, 100, 100, 3);
    lob_image_init(&unknown, 100, 100, 1);
    LobTissueOptions options = lob_tissue_defaults;
    for (int i = 0; i < 10000; i++) {
        bool tissue = i % 100 >= 50 && i / 100 >= 40;
        memcpy(image.data + 3 * i, tissue ? (uint8_t[]){200, 130, 180} : (uint8_t[]){243, 243, 243}, 3);
        unknown.data[i] = i % 100 < 10 && i / 100 < 10 ? 255 : 0;
    }
    cr_assert(lob_tissue_mask(&image, 16, 16, 0.5, 0.5, &options, &plain, NULL));
    options.unknown = &unknown;
    cr_assert(lob_tissue_mask(&image, 16, 16, 0.5, 0.5, &options, &mask, NULL));
    for (int i = 0; i < 10000; i++)
        cr_assert_eq(mask.image.data[i], unknown.data[i] ? 255 : plain.image.data[i], "at %d", i);
    LobSlideQuality with, without;
    lob_slide_quality(&image, &mask, 0.5, 0.5, &with);
    lob_slide_quality(&image, &plain, 0.5, 0.5, &without);
    cr_expect_float_eq(with.unknown, 0.01, 1e-12);
    cr_expect(with.tissue_mm2 == without.tissue_mm2 && with.od_mean[1] == without.od_mean[1]);
    cr_expect_eq(without.unknown, 0);
}
