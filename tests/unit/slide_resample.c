/* Resampling: the same bytes as Pillow's, and as the plain form. */
#include "slide_synthetic.h"

#include <criterion/criterion.h>
#include <string.h>

/* Made by tests/oracles/resample_pillow.py with Pillow 9.4. */
static const struct {
    int width, height;
    double x0, y0, x1, y1;
    int out_width, out_height;
    const char *sha256;
} cases[] = {
    {37, 29, 0, 0, 37, 29, 16, 12, "34d105db2159a7b15acd7edc83e2040c50741565dcd17bd1cf42a63a0f023b16"},
    {50, 40, 3.25, 2.75, 47.875, 38.25, 21, 20,
     "0f68be02ca5e6ae17547082ecdaca4e6c6366273df3fac02f14c6978708a1613"},
    {20, 20, 0, 0, 20, 20, 33, 31, "c15d7078636337bf5d9d90031c6bef76f0e4b0f54c068e061b9e686034f4ed4c"},
    {448, 448, 0, 0, 448, 448, 224, 224, "999e6a6f5d9324768313438a76dd9adf50ca77b994df2020527bf2543bb4ac42"},
    {226, 226, 0.25, 0.125, 224.75, 224.5, 224, 224,
     "037cb4195219fb95f73b3f66c89f9bc50af147dfb31a3c202c6f576496431eb7"},
    {300, 200, 10, 20, 290, 180, 7, 5, "ae95a7cb0bda8106077a0287bbcbdfb29d18665cccdd46d005e9724b1d1c97de"},
    {300, 200, 12, 7, 236, 107, 224, 100, "4551760dacd275671ed259eba28844baffb8fc9f737f6da3003a07f3657473a2"},
};

static uint8_t *picture(int width, int height) {
    size_t n = 3 * (size_t)width * (size_t)height;
    uint8_t *rgb = g_malloc(n);
    for (size_t i = 0; i < n; i++)
        rgb[i] = (uint8_t)(i * i * 31 + i * 17 + (i >> 5) * 3);
    return rgb;
}

Test(resample, equals_pillow_to_the_bit) {
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree uint8_t *src = picture(cases[i].width, cases[i].height);
        size_t n = 3 * (size_t)cases[i].out_width * (size_t)cases[i].out_height;
        g_autofree uint8_t *fast = g_malloc(n), *plain = g_malloc(n);
        double w = cases[i].x1 - cases[i].x0, h = cases[i].y1 - cases[i].y0;
        lob_resample(src, cases[i].width, cases[i].height, cases[i].x0, cases[i].y0, w, h, fast,
                     cases[i].out_width, cases[i].out_height);
        lob_resample_reference(src, cases[i].width, cases[i].height, cases[i].x0, cases[i].y0, w, h, plain,
                               cases[i].out_width, cases[i].out_height);
        g_autofree char *sha = lob_sha256_bytes(fast, n);
        cr_expect_str_eq(sha, cases[i].sha256, "case %zu differs from Pillow", i);
        cr_expect(memcmp(fast, plain, n) == 0, "case %zu: the fast form differs from the plain one", i);
    }
}

Test(resample, keeps_the_mean_and_a_flat_picture) {
    uint8_t flat[3 * 50 * 50], out[3 * 17 * 17];
    memset(flat, 203, sizeof flat);
    lob_resample(flat, 50, 50, 0.4, 0.7, 48.9, 49.1, out, 17, 17);
    for (size_t i = 0; i < sizeof out; i++)
        cr_assert_eq(out[i], 203);
}

Test(resample, a_window_over_the_edge_stays_inside) {
    uint8_t src[3 * 4 * 4], out[3 * 9 * 9];
    memset(src, 7, sizeof src);
    lob_resample(src, 4, 4, 3.2, 3.9, 2, 2, out, 9, 9);
    for (size_t i = 0; i < sizeof out; i++)
        cr_assert_eq(out[i], 7);
}
