/* The texture encoder on tiles drawn here: nuclei of known place, size, shape and darkness under several
 * stains and white balances; co-occurrence and LBP against tests/oracles/texture.py. */
#include "encoder/encoder.h"
#include "encoder/texture_internal.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { SIZE = 224, MAX_DRAWN = 64 };
static const double MPP = 0.5;

typedef struct {
    double hema[3], eosin[3], white[3];
} Look;

static const Look LOOKS[] = {
    {{0.644, 0.717, 0.267}, {0.093, 0.954, 0.283}, {243, 243, 243}},
    {{0.65, 0.70, 0.29}, {0.07, 0.99, 0.11}, {238, 228, 215}},
    {{0.72, 0.62, 0.30}, {0.15, 0.92, 0.36}, {215, 218, 222}},
    {{0.55, 0.78, 0.30}, {0.05, 0.97, 0.22}, {250, 246, 249}},
};

typedef struct {
    double x, y, radius, stretch,
        darkness; /* px of the tile; axes are radius * stretch and radius / stretch */
} Disc;

/* Cytoplasm with discs of haematoxylin over it, each pixel the mean light of 4 x 4 samples. */
static void paint(uint8_t *rgb, int size, const Look *look, const Disc *discs, size_t count,
                  double strength) {
    for (int y = 0; y < size; y++) {
        for (int x = 0; x < size; x++) {
            double light[3] = {0, 0, 0};
            for (int s = 0; s < 16; s++) {
                const double px = x + (s % 4 + 0.5) / 4 - 0.5, py = y + (int)(s / 4) / 4.0 + 0.125 - 0.5;
                double hema = 0.08, eosin = 0.4;
                for (size_t k = 0; k < count; k++) {
                    const double u = (px - discs[k].x) / (discs[k].radius * discs[k].stretch);
                    const double v = (py - discs[k].y) / (discs[k].radius / discs[k].stretch);
                    if (u * u + v * v < 1) {
                        hema = discs[k].darkness;
                        eosin = 0.2;
                    }
                }
                for (int c = 0; c < 3; c++) {
                    light[c] += look->white[c] *
                                pow(10, -strength * (hema * look->hema[c] + eosin * look->eosin[c])) / 16;
                }
            }
            for (int c = 0; c < 3; c++) {
                rgb[3 * (y * size + x) + c] = (uint8_t)(light[c] + 0.5);
            }
        }
    }
}

/* Discs on a jittered 6 x 6 grid. */
static size_t grid_of_discs(Disc *discs, double radius, double stretch, double darkness) {
    LobRng rng;
    size_t count = 0;
    lob_rng_init(&rng, 7, "discs");
    for (int i = 0; i < 36; i++) {
        discs[count++] =
            (Disc){20 + 36 * (i % 6) + 6 * lob_rng_uniform(&rng),
                   20 + 36 * (int)(i / 6) + 6 * lob_rng_uniform(&rng), radius, stretch, darkness};
    }
    return count;
}

static LobEncoder *open_texture(int size, double mpp, size_t batch) {
    const LobEncoderOptions options = {
        .name = "texture", .precision = "fp32", .tile_size = size, .mpp = mpp, .batch = batch};
    g_autoptr(GError) err = NULL;
    LobEncoder *encoder = lob_encoder_open(&options, &err);
    cr_assert_not_null(encoder, "%s", err ? err->message : "no error set");
    return encoder;
}

static float column(const LobEncoder *encoder, const float *row, const char *name) {
    const LobEncoderInfo *info = lob_encoder_info(encoder);
    for (int i = 0; i < info->dim; i++) {
        if (strcmp(info->columns[i], name) == 0) {
            return row[i];
        }
    }
    cr_assert_fail("no column %s", name);
    return NAN;
}

static void encode(LobEncoder *encoder, const uint8_t *rgb, size_t n, float *out) {
    g_autoptr(GError) err = NULL;
    cr_assert(lob_encoder_encode(encoder, rgb, n, out, NULL, NULL, &err), "%s", err ? err->message : "");
}

Test(texture, finds_every_disc_under_every_stain) {
    Disc discs[MAX_DRAWN];
    LobNucleus found[256];
    g_autofree uint8_t *rgb = g_malloc(3 * SIZE * SIZE);
    const size_t count = grid_of_discs(discs, 8.5, 1, 0.45);
    for (size_t l = 0; l < G_N_ELEMENTS(LOOKS); l++) {
        for (double strength = 0.7; strength < 1.4; strength += 0.3) {
            paint(rgb, SIZE, &LOOKS[l], discs, count, strength);
            cr_assert_eq(lob_texture_nuclei(rgb, SIZE, MPP, found, 256), count, "look %zu, strength %g", l,
                         strength);
            for (size_t k = 0; k < count; k++) {
                double nearest = 1e9;
                for (size_t j = 0; j < count; j++) {
                    nearest =
                        MIN(nearest, hypot((double)found[k].x - discs[j].x, (double)found[k].y - discs[j].y));
                }
                cr_assert_lt(nearest, 1.0);
                cr_assert_float_eq(found[k].area_um2, G_PI * 4.25 * 4.25, 8, "area %g",
                                   (double)found[k].area_um2);
                cr_assert_lt(found[k].eccentricity, 0.4f);
                cr_assert_not(found[k].lymphocyte);
            }
        }
    }
}

Test(texture, measures_ellipses) {
    Disc discs[MAX_DRAWN];
    LobNucleus found[256];
    g_autofree uint8_t *rgb = g_malloc(3 * SIZE * SIZE);
    const size_t count = grid_of_discs(discs, 8, sqrt(1.8), 0.5);
    const double eccentricity = sqrt(1 - 1 / (1.8 * 1.8));
    paint(rgb, SIZE, &LOOKS[0], discs, count, 1);
    cr_assert_eq(lob_texture_nuclei(rgb, SIZE, MPP, found, 256), count);
    for (size_t k = 0; k < count; k++) {
        cr_assert_float_eq(found[k].eccentricity, eccentricity, 0.05);
        cr_assert_float_eq(found[k].darkness, 0.5, 0.08);
    }
}

Test(texture, tells_lymphocytes_from_other_cells) {
    Disc discs[MAX_DRAWN];
    const size_t count = grid_of_discs(discs, 8.5, 1, 0.42);
    float row[256];
    g_autofree uint8_t *rgb = g_malloc(3 * SIZE * SIZE);
    g_autoptr(LobEncoder) encoder = open_texture(SIZE, MPP, 1);
    for (size_t k = 0; k < 12; k++) {
        discs[k].radius = 6.5;
        discs[k].darkness = 0.8;
    }
    for (size_t l = 0; l < G_N_ELEMENTS(LOOKS); l++) {
        paint(rgb, SIZE, &LOOKS[l], discs, count, 1);
        encode(encoder, rgb, 1, row);
        cr_assert_float_eq(column(encoder, row, "lym_fraction"), 12.0 / 36, 1e-6, "look %zu: %g", l,
                           (double)column(encoder, row, "lym_fraction"));
        cr_assert_float_eq(column(encoder, row, "nuc_density"), 1000 * 36.0 / (112 * 112), 1e-3);
        cr_assert_gt(column(encoder, row, "cell_area_mean"), 1.4f * (float)(G_PI * 3.25 * 3.25));
    }
}

Test(texture, sees_lymphocytes_gather) {
    Disc discs[MAX_DRAWN];
    float together[256], apart[256];
    g_autofree uint8_t *rgb = g_malloc(3 * SIZE * SIZE);
    g_autoptr(LobEncoder) encoder = open_texture(SIZE, MPP, 1);
    for (int k = 0; k < 9; k++) {
        discs[k] = (Disc){90 + 17 * (k % 3), 90 + 17 * (int)(k / 3), 6.5, 1, 0.8};
    }
    paint(rgb, SIZE, &LOOKS[0], discs, 9, 1);
    encode(encoder, rgb, 1, together);
    for (int k = 0; k < 9; k++) {
        discs[k] = (Disc){30 + 80 * (k % 3), 30 + 80 * (int)(k / 3), 6.5, 1, 0.8};
    }
    paint(rgb, SIZE, &LOOKS[0], discs, 9, 1);
    encode(encoder, rgb, 1, apart);
    /* on a 3 x 3 grid of pitch 8.5 um the neighbours within 15 um are the 8-neighbourhood: 40 / 9 */
    cr_assert_float_eq(column(encoder, together, "lym_cluster"), 40.0 / 9, 1e-5);
    cr_assert_float_eq(column(encoder, together, "lym_hotspot"), 9, 1e-6);
    cr_assert_float_eq(column(encoder, apart, "lym_cluster"), 0, 1e-6);
    cr_assert_float_eq(column(encoder, apart, "lym_hotspot"), 1, 1e-6);
}

Test(texture, parts_touching_nuclei) {
    Disc discs[MAX_DRAWN];
    LobNucleus found[64];
    g_autofree uint8_t *rgb = g_malloc(3 * SIZE * SIZE);
    for (int k = 0; k < 9; k++) {
        discs[2 * k] = (Disc){35 + 65 * (k % 3), 35 + 65 * (int)(k / 3), 8, 1, 0.5};
        discs[2 * k + 1] = discs[2 * k];
        discs[2 * k + 1].x += 14;
    }
    paint(rgb, SIZE, &LOOKS[0], discs, 18, 1);
    cr_assert_eq(lob_texture_nuclei(rgb, SIZE, MPP, found, 64), 18);
}

Test(texture, size_in_micrometres_whatever_the_resolution) {
    Disc discs[MAX_DRAWN], scaled[MAX_DRAWN];
    LobNucleus found[256];
    const size_t count = grid_of_discs(discs, 8.5, 1, 0.45);
    const int sizes[] = {448, 224, 140};
    for (size_t s = 0; s < G_N_ELEMENTS(sizes); s++) {
        const double zoom = sizes[s] / (double)SIZE;
        double area = 0;
        g_autofree uint8_t *rgb = g_malloc((size_t)(3 * sizes[s] * sizes[s]));
        for (size_t k = 0; k < count; k++) {
            scaled[k] = discs[k];
            scaled[k].x *= zoom;
            scaled[k].y *= zoom;
            scaled[k].radius *= zoom;
        }
        paint(rgb, sizes[s], &LOOKS[1], scaled, count, 1);
        cr_assert_eq(lob_texture_nuclei(rgb, sizes[s], MPP / zoom, found, 256), count, "size %d", sizes[s]);
        for (size_t k = 0; k < count; k++) {
            area += (double)found[k].area_um2 / (double)count;
        }
        cr_assert_float_eq(area, G_PI * 4.25 * 4.25, 8, "size %d: %g", sizes[s], area);
    }
}

static bool all_finite(const float *row, int dim) {
    for (int i = 0; i < dim; i++) {
        /* and inside the range of half floats, in which stores keep them */
        if (!isfinite(row[i]) || fabsf(row[i]) > 60000) {
            return false;
        }
    }
    return true;
}

Test(texture, a_row_depends_on_its_tile_alone) {
    enum { N = 5 };
    Disc discs[MAX_DRAWN];
    const size_t tile = 3 * SIZE * SIZE;
    g_autofree uint8_t *rgb = g_malloc(N * tile);
    g_autoptr(LobEncoder) encoder = open_texture(SIZE, MPP, N);
    const size_t dim = (size_t)lob_encoder_info(encoder)->dim;
    g_autofree float *batch = g_new(float, N *dim), *single = g_new(float, dim);
    const size_t count = grid_of_discs(discs, 8, 1.2, 0.5);
    LobRng rng;
    paint(rgb, SIZE, &LOOKS[0], discs, count, 1);
    memset(rgb + tile, 255, tile);
    paint(rgb + 2 * tile, SIZE, &LOOKS[2], discs, count / 2, 1);
    memset(rgb + 3 * tile, 0, tile);
    lob_rng_init(&rng, 1, "noise");
    for (size_t i = 0; i < tile; i++) {
        rgb[4 * tile + i] = (uint8_t)lob_rng_below(&rng, 256);
    }
    encode(encoder, rgb, N, batch);
    for (size_t k = N; k-- > 0;) {
        encode(encoder, rgb + k * tile, 1, single);
        cr_assert_eq(memcmp(single, batch + k * dim, dim * sizeof *single), 0, "tile %zu", k);
        cr_assert(all_finite(single, (int)dim));
    }
}

Test(texture, empty_tiles_have_defined_values) {
    const uint8_t greys[] = {255, 243, 128, 0};
    float row[256];
    g_autofree uint8_t *rgb = g_malloc(3 * SIZE * SIZE);
    g_autoptr(LobEncoder) encoder = open_texture(SIZE, MPP, 1);
    for (size_t g = 0; g < G_N_ELEMENTS(greys); g++) {
        memset(rgb, greys[g], 3 * SIZE * SIZE);
        encode(encoder, rgb, 1, row);
        cr_assert(all_finite(row, lob_encoder_info(encoder)->dim));
        cr_assert_eq(column(encoder, row, "nuc_density"), 0);
        cr_assert_float_eq(column(encoder, row, "nuc_area_mean"), 40, 1e-6);
        cr_assert_float_eq(column(encoder, row, "white_fraction"), greys[g] > 200 ? 1 : 0, 1e-6);
        cr_assert_float_eq(column(encoder, row, "glcm_h1_correlation"), 1, 1e-6);
    }
}

Test(texture, lumen_is_enclosed_white) {
    const Look white_hole = LOOKS[0];
    float row[256];
    g_autofree uint8_t *rgb = g_malloc(3 * SIZE * SIZE);
    g_autoptr(LobEncoder) encoder = open_texture(SIZE, MPP, 1);
    paint(rgb, SIZE, &white_hole, NULL, 0, 1);
    for (int y = 0; y < SIZE; y++) {
        for (int x = 0; x < SIZE; x++) {
            if ((x >= 60 && x < 100 && y >= 60 && y < 100) || x >= 196) {
                memset(rgb + 3 * (y * SIZE + x), 243, 3);
            }
        }
    }
    encode(encoder, rgb, 1, row);
    cr_assert_float_eq(column(encoder, row, "lumen_fraction"), 1600.0 / (SIZE * SIZE), 1e-6);
    cr_assert_float_eq(column(encoder, row, "white_fraction"), (1600.0 + 28 * SIZE) / (SIZE * SIZE), 1e-6);
}

enum { GOLDEN = 48 };

static uint8_t golden_grey(int x, int y) {
    return (uint8_t)((x * x / 7 + 3 * y + (x ^ y)) % 16);
}

Test(texture, cooccurrence_as_in_numpy) {
    const struct {
        int distance;
        double contrast, correlation, energy, homogeneity;
    } golden[] = {{1, 39.9202688, -0.00729573789, 0.0784018944, 0.161169337},
                  {2, 41.1873265, -0.0388092623, 0.0919461494, 0.162979944},
                  {8, 29.6363636, 0.262079895, 0.124283847, 0.394545259}};
    uint8_t grey[GOLDEN * GOLDEN];
    for (int i = 0; i < GOLDEN * GOLDEN; i++) {
        grey[i] = golden_grey(i % GOLDEN, i / GOLDEN);
    }
    for (size_t k = 0; k < G_N_ELEMENTS(golden); k++) {
        const LobGlcm g = lob_glcm(grey, GOLDEN, golden[k].distance);
        cr_assert_float_eq(g.contrast, golden[k].contrast, 1e-5);
        cr_assert_float_eq(g.correlation, golden[k].correlation, 1e-6);
        cr_assert_float_eq(g.energy, golden[k].energy, 1e-6);
        cr_assert_float_eq(g.homogeneity, golden[k].homogeneity, 1e-6);
    }
}

Test(texture, local_binary_patterns_as_in_numpy) {
    const float golden1[] = {0.140831758f,  0.105387524f,  0.0434782609f, 0.0307183365f, 0.0056710775f,
                             0.0392249527f, 0.0335538752f, 0.124763705f,  0.0699432892f, 0.406427221f};
    const float golden2[] = {0.236570248f,  0.0940082645f, 0.00826446281f, 0.00516528926f, 0.00568181818f, 0,
                             0.0464876033f, 0.0919421488f, 0.055268595f,   0.45661157f};
    float grey[GOLDEN * GOLDEN], histogram[LOB_LBP_BINS];
    for (int i = 0; i < GOLDEN * GOLDEN; i++) {
        grey[i] = golden_grey(i % GOLDEN, i / GOLDEN) / 16.0f;
    }
    lob_lbp(grey, GOLDEN, 1, 0, histogram);
    for (int i = 0; i < LOB_LBP_BINS; i++) {
        cr_assert_float_eq(histogram[i], golden1[i], 1e-6);
    }
    lob_lbp(grey, GOLDEN, 2, 0.1f, histogram);
    for (int i = 0; i < LOB_LBP_BINS; i++) {
        cr_assert_float_eq(histogram[i], golden2[i], 1e-6);
    }
}

/* Fast filters against their definitions. */
Test(texture, filters_as_defined) {
    enum { S = 40 };
    LobTexture t;
    LobRng rng;
    float in[S * S], out[S * S];
    uint8_t mask[S * S];
    lob_texture_init(&t, S, 0.5);
    lob_rng_init(&rng, 3, "filters");
    for (int i = 0; i < S * S; i++) {
        in[i] = (float)lob_rng_uniform(&rng);
        mask[i] = lob_rng_uniform(&rng) < 0.9;
    }
    for (int radius = 1; radius < 50; radius += 12) {
        lob_filter_max(&t, in, out, radius);
        lob_filter_mean(&t, in, t.a, radius);
        for (int i = 0; i < S * S; i++) {
            const int x = i % S, y = i / S;
            double sum = 0, n = 0;
            float most = 0;
            for (int v = MAX(y - radius, 0); v <= MIN(y + radius, S - 1); v++) {
                for (int u = MAX(x - radius, 0); u <= MIN(x + radius, S - 1); u++) {
                    most = MAX(most, in[v * S + u]);
                    sum += (double)in[v * S + u];
                    n++;
                }
            }
            cr_assert_eq(out[i], most, "maximum, radius %d, (%d, %d)", radius, x, y);
            cr_assert_float_eq(t.a[i], sum / n, 1e-6, "mean, radius %d", radius);
        }
    }
    lob_filter_distance(&t, mask, out);
    for (int i = 0; i < S * S; i++) {
        double nearest = 1e9;
        for (int j = 0; j < S * S; j++) {
            if (!mask[j]) {
                nearest = MIN(nearest, hypot(i % S - j % S, (int)(i / S) - (int)(j / S)));
            }
        }
        cr_assert_float_eq(out[i], nearest, 1e-5, "distance at %d", i);
    }
    lob_texture_clear(&t);
}

static bool never(void *user) {
    (void)user;
    return false;
}

Test(texture, refuses_what_it_cannot_do) {
    const LobEncoderOptions bad[] = {
        {.name = "texture", .tile_size = 224, .mpp = 2, .batch = 1},
        {.name = "texture", .tile_size = 8, .mpp = 0.5, .batch = 1},
        {.name = "texture", .tile_size = 224, .mpp = 0.5, .batch = 1, .precision = "bf16"},
        {.name = "texture", .tile_size = 224, .mpp = 0.5, .batch = 1, .weights = "w.safetensors"},
        {.name = "textur", .tile_size = 224, .mpp = 0.5, .batch = 1},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) err = NULL;
        cr_assert_null(lob_encoder_open(&bad[i], &err));
        cr_assert(g_error_matches(err, LOB_ERROR, LOB_ERROR_INPUT), "case %zu", i);
    }
    float row[256];
    g_autoptr(GError) err = NULL;
    g_autofree uint8_t *rgb = g_malloc0(3 * SIZE * SIZE);
    g_autoptr(LobEncoder) encoder = open_texture(SIZE, MPP, 1);
    cr_assert_not(lob_encoder_encode(encoder, rgb, 1, row, never, NULL, &err));
    cr_assert(g_error_matches(err, LOB_ERROR, LOB_ERROR_STOPPED));
}
