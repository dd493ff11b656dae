/* Resize against Pillow to the bit (tests/oracles/resize_pillow.py), crop and normalisation, presets. */
#include "encoder/preset.h"
#include "encoder/transform.h"

#include <criterion/criterion.h>
#include <glib/gstdio.h>
#include <math.h>
#include <string.h>

static uint8_t picture(uint32_t x, uint32_t y, uint32_t c) {
    uint32_t value = (x * 2654435761u) ^ (y * 2246822519u) ^ (c * 3266489917u);
    value ^= value >> 15;
    value *= 2246822519u;
    value ^= value >> 13;
    return (uint8_t)((x / 16 + y / 16) % 2 == 0 ? value : x * 3 + y * 2 + c * 40);
}

static uint8_t *draw(int width, int height) {
    uint8_t *rgb = g_malloc((size_t)(3 * width * height));
    for (int i = 0; i < width * height; i++) {
        for (int c = 0; c < 3; c++) {
            rgb[3 * i + c] = picture((uint32_t)(i % width), (uint32_t)(i / width), (uint32_t)c);
        }
    }
    return rgb;
}

static const struct {
    LobFilter filter;
    int in_width, in_height, out_width, out_height;
    const char *digest;
} GOLDEN[] = {
#include "encoder_resize_golden.h"
};

Test(transform, resize_is_pillows_to_the_bit) {
    cr_assert_eq(G_N_ELEMENTS(GOLDEN), 200);
    for (size_t k = 0; k < G_N_ELEMENTS(GOLDEN); k++) {
        const size_t bytes = (size_t)(3 * GOLDEN[k].out_width * GOLDEN[k].out_height);
        g_autofree uint8_t *in = draw(GOLDEN[k].in_width, GOLDEN[k].in_height), *out = g_malloc(bytes);
        LobResize *resize = lob_resize_new(GOLDEN[k].in_width, GOLDEN[k].in_height, GOLDEN[k].out_width,
                                           GOLDEN[k].out_height, GOLDEN[k].filter);
        lob_resize_run(resize, in, out);
        lob_resize_free(resize);
        g_autofree char *digest = lob_sha256_bytes(out, bytes);
        cr_assert(g_str_has_prefix(digest, GOLDEN[k].digest), "case %zu: %dx%d to %dx%d", k,
                  GOLDEN[k].in_width, GOLDEN[k].in_height, GOLDEN[k].out_width, GOLDEN[k].out_height);
    }
}

static LobPreset *preset_from(const char *text, GError **err) {
    g_autofree char *path = NULL;
    const int fd = g_file_open_tmp("lobule-XXXXXX.yaml", &path, NULL);
    cr_assert(fd >= 0 && g_file_set_contents(path, text, -1, NULL) && g_close(fd, NULL));
    return lob_preset_read(path, err);
}

static const char *const SMALL = "network: vit\nimage: 8\nresize: 11\nfilter: bicubic\nmean: [0.5, 0.25, 0]\n"
                                 "sd: [0.5, 0.25, 2]\n";

Test(transform, crops_the_centre_and_normalises) {
    g_autoptr(GError) err = NULL;
    g_autoptr(LobPreset) preset = preset_from(SMALL, &err);
    LobTransform t;
    float patches[4][3][4][4];
    g_autofree uint8_t *rgb = draw(11, 11);
    cr_assert_not_null(preset, "%s", err ? err->message : "");
    cr_assert(lob_transform_init(&t, preset, 11, &err));
    cr_assert_null(t.resize);
    cr_assert(g_str_has_prefix(t.description, "crop=8,mean=0.5:0.25:0,sd=0.5:0.25:2,output="), "%s",
              t.description);
    lob_transform_patches(&t, rgb, 4, &patches[0][0][0][0]);
    /* (11 - 8) / 2 = 1.5 rounds half to even: 2 */
    for (int y = 0; y < 8; y++) {
        for (int x = 0; x < 8; x++) {
            for (int c = 0; c < 3; c++) {
                const double mean[] = {0.5, 0.25, 0}, sd[] = {0.5, 0.25, 2};
                const double v = picture((uint32_t)(x + 2), (uint32_t)(y + 2), (uint32_t)c) / 255.0;
                cr_assert_float_eq(patches[y / 4 * 2 + x / 4][c][y % 4][x % 4], (v - mean[c]) / sd[c], 1e-6);
            }
        }
    }
    lob_transform_clear(&t);
}

Test(preset, errors_name_file_and_line) {
    const struct {
        const char *text, *message;
    } bad[] = {
        {"network: vit\nimages: 224\n", ":2: images: unknown key"},
        {"network: vit\n\nimage: 22x\n", ":3: image: a whole number is needed"},
        {"image: -1\n", ":1: image: a whole number is needed"},
        {"network: rnn\n", ":1: network: 'rnn' is none of |vit|swin|resnet50|"},
        {"mean: [0.5, 0.5]\n", ":1: mean: three numbers are needed"},
        {"image: 1\nimage: 2\n", ":2: image: given twice"},
        {"layer_scale: yes\n", ":1: layer_scale: true or false is needed"},
        {"- a\n", ":1: preset: lines of 'key: value' are needed"},
        {"image: {a: 1}\n", ":1: image: a value or a list of values is needed"},
        {"image: [1\n", ":"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) err = NULL;
        cr_assert_null(preset_from(bad[i].text, &err), "case %zu", i);
        cr_assert(g_error_matches(err, LOB_ERROR, LOB_ERROR_INPUT), "case %zu", i);
        cr_assert_not_null(strstr(err->message, bad[i].message), "case %zu: %s", i, err->message);
    }
}

/* Every preset that is shipped reads, and says what it needs to. */
Test(preset, shipped_ones_are_whole) {
    g_autoptr(GDir) dir = g_dir_open(LOB_SOURCE_DIR "/configs/encoders", 0, NULL);
    const char *file;
    int count = 0;
    cr_assert_not_null(dir);
    while ((file = g_dir_read_name(dir)) != NULL) {
        if (!g_str_has_suffix(file, ".yaml")) {
            continue;
        }
        g_autoptr(GError) err = NULL;
        g_autofree char *path = g_build_filename(LOB_SOURCE_DIR "/configs/encoders", file, NULL);
        g_autoptr(LobPreset) preset = lob_preset_read(path, &err);
        cr_assert_not_null(preset, "%s", err ? err->message : "");
        cr_assert(preset->network && preset->licence && preset->filter && preset->recommended_mpp > 0, "%s",
                  file);
        cr_assert(preset->image > 0 && preset->resize >= preset->image, "%s", file);
        count++;
    }
    cr_assert_geq(count, 20);
}
