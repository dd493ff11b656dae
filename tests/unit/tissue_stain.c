/* Stains: numpy's numbers, a fixed reference, and what normalising is for. */
#include "tissue/tissue_internal.h"
#include "tissue_golden.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { PIXELS = 6000 };

static uint32_t state;

static double number(void) {
    state = state * 1664525u + 1013904223u;
    return (double)(state >> 16 & 255) / 255;
}

/* The oracle's pixels; other stains make another center's. */
static void stained(const double hema[3], const double eosin[3], uint8_t *rgb) {
    state = 11;
    for (int i = 0; i < PIXELS; i++) {
        double h = number(), e = number();
        for (int c = 0; c < 3; c++) {
            double density = i % 8 ? 1.6 * h * h * hema[c] + (0.2 + 0.8 * e) * eosin[c] : 0;
            rgb[3 * i + c] = (uint8_t)floor(240 * exp(-density) + 0.5);
        }
    }
}

static const double hema[3] = {0.65, 0.70, 0.29}, eosin[3] = {0.18, 0.93, 0.31};
static uint8_t rgb[3 * PIXELS], out[3 * PIXELS], plain[3 * PIXELS];

Test(stain, estimates_are_numpys) {
    LobStains stains;
    stained(hema, eosin, rgb);
    lob_stains_estimate(rgb, PIXELS, &stains);
    cr_assert(lob_stains_known(&stains));
    for (int c = 0; c < 3; c++) {
        cr_expect_float_eq(stains.hema[c], golden_hema[c], 1e-9, "%.12g", stains.hema[c]);
        cr_expect_float_eq(stains.eosin[c], golden_eosin[c], 1e-9, "%.12g", stains.eosin[c]);
        cr_expect_float_eq(stains.mean[c], golden_mean[c], 1e-9);
        cr_expect_float_eq(stains.sd[c], golden_sd[c], 1e-9);
    }
    for (int s = 0; s < 2; s++)
        cr_expect_float_eq(stains.strength[s], golden_strength[s], 1e-9, "%.12g", stains.strength[s]);
}

static void normalise(LobStainMethod method) {
    LobStains stains;
    LobStainMap map;
    lob_stains_estimate(rgb, PIXELS, &stains);
    lob_stain_map_init(&map, method, &stains);
    lob_stain_apply(&map, rgb, PIXELS, out);
    lob_stain_apply_reference(&map, rgb, PIXELS, plain);
}

Test(stain, normalised_pixels_are_numpys) {
    static const double *const golden[] = {NULL, golden_macenko, golden_reinhard};
    stained(hema, eosin, rgb);
    for (int m = LOB_STAIN_MACENKO; m <= LOB_STAIN_REINHARD; m++) {
        normalise((LobStainMethod)m);
        for (size_t i = 0; i < sizeof plain; i++)
            cr_assert(abs(out[i] - plain[i]) <= 1, "method %d, value %zu: %d, plainly %d", m, i, out[i],
                      plain[i]);
        for (size_t i = 0; i < 120; i++)
            cr_expect_float_eq(out[i], golden[m][i], 1.01, "method %d, value %zu: %d, numpy %g", m, i, out[i],
                               golden[m][i]);
        for (int c = 0; c < 3; c++)
            cr_expect_geq(out[c], 230, "glass stays glass: %d", out[c]);
        memcpy(plain, rgb, sizeof plain);
    }
}

Test(stain, in_place_equals_from_here_to_there) {
    LobStains stains;
    LobStainMap map;
    stained(hema, eosin, rgb);
    lob_stains_estimate(rgb, PIXELS, &stains);
    for (int m = LOB_STAIN_NONE; m <= LOB_STAIN_REINHARD; m++) {
        stained(hema, eosin, rgb);
        lob_stain_map_init(&map, (LobStainMethod)m, &stains);
        lob_stain_apply(&map, rgb, PIXELS, out);
        cr_expect_eq(memcmp(out, rgb, sizeof out) == 0, m == LOB_STAIN_NONE);
        lob_stain_apply(&map, rgb, PIXELS, rgb);
        cr_expect_eq(memcmp(out, rgb, sizeof out), 0);
    }
}

static double distance(const uint8_t *a, const uint8_t *b) {
    double sum = 0;
    for (size_t i = 0; i < 3 * PIXELS; i++)
        sum += abs(a[i] - b[i]);
    return sum / (3 * PIXELS);
}

/* The same tissue stained in two laboratories. */
Test(stain, normalising_brings_two_laboratories_together) {
    static const double other_hema[3] = {0.50, 0.78, 0.38}, other_eosin[3] = {0.10, 0.62, 0.45};
    static uint8_t east[3 * PIXELS], west[3 * PIXELS], there[3 * PIXELS];
    stained(hema, eosin, east);
    stained(other_hema, other_eosin, west);
    double before = distance(east, west);
    for (int m = LOB_STAIN_MACENKO; m <= LOB_STAIN_REINHARD; m++) {
        memcpy(rgb, east, sizeof rgb);
        normalise((LobStainMethod)m);
        memcpy(there, out, sizeof there);
        memcpy(rgb, west, sizeof rgb);
        normalise((LobStainMethod)m);
        cr_expect_lt(distance(there, out), before / 2, "method %d: %g before, %g after", m, before,
                     distance(there, out));
    }
}

Test(stain, too_little_tissue_is_not_known) {
    LobStains stains;
    memset(rgb, 243, sizeof rgb);
    lob_stains_estimate(rgb, PIXELS, &stains);
    cr_expect_not(lob_stains_known(&stains));
    cr_expect(isnan(stains.hema[0]) && isnan(stains.sd[2]));
    lob_stains_estimate(NULL, 0, &stains);
    cr_expect_not(lob_stains_known(&stains));
    memset(rgb, 60, sizeof rgb);
    lob_stains_estimate(rgb, PIXELS, &stains);
    cr_expect_not(lob_stains_known(&stains), "one colour has no two stains");
}

Test(stain, methods_have_names_and_identities) {
    LobStainMethod method;
    cr_expect(lob_stain_method("macenko", &method) && method == LOB_STAIN_MACENKO);
    cr_expect(lob_stain_method("none", &method) && method == LOB_STAIN_NONE);
    cr_expect_not(lob_stain_method("vahadane", &method));
    cr_expect_str_eq(lob_stain_identity(LOB_STAIN_NONE), "");
    cr_expect_str_neq(lob_stain_identity(LOB_STAIN_MACENKO), lob_stain_identity(LOB_STAIN_REINHARD));
}
