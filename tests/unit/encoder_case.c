#include "encoder_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

char *case_file(const char *folder, const char *name, size_t *size) {
    char *data = NULL;
    g_autofree char *path = g_build_filename(folder, name, NULL);
    cr_assert(g_file_get_contents(path, &data, size, NULL), "%s", path);
    return data;
}

Case case_read(const char *folder) {
    Case c;
    size_t bytes;
    g_autofree char *text = case_file(folder, "case.txt", &bytes);
    cr_assert_eq(sscanf(text, "%zu %d %d", &c.tiles, &c.size, &c.dim), 3);
    c.tile_bytes = (size_t)(3 * c.size * c.size);
    c.preset = g_build_filename(folder, "preset.yaml", NULL);
    c.tiles_data = case_file(folder, "tiles.bin", &bytes);
    cr_assert_eq(bytes, c.tiles * c.tile_bytes);
    c.expected = case_file(folder, "expected.bin", &bytes);
    cr_assert_eq(bytes, c.tiles * (size_t)c.dim * sizeof(float));
    return c;
}

void case_clear(Case *c) {
    g_free(c->preset);
    g_free(c->tiles_data);
    g_free(c->expected);
}

LobEncoder *case_open(const Case *c, const char *weights, const char *precision, GError **err) {
    const LobEncoderOptions options = {.config = c->preset,
                                       .weights = weights,
                                       .precision = precision,
                                       .tile_size = c->size,
                                       .mpp = 0.5,
                                       .batch = c->tiles};
    return lob_encoder_open(&options, err);
}

const char *case_full_depth(void) {
    return g_getenv("LOB_FULL_DEPTH");
}

static void assert_close(const float *out, const float *want, size_t n, const char *what) {
    double difference = 0, a = 0, b = 0, dot = 0;
    for (size_t i = 0; i < n; i++) {
        const double x = (double)out[i], y = (double)want[i];
        difference += (x - y) * (x - y);
        a += x * x;
        b += y * y;
        dot += x * y;
    }
    if (case_full_depth()) {
        fprintf(stderr, "%s: fp32 relative error %.3g, cosine %.9f\n", what, sqrt(difference / b),
                dot / sqrt(a * b));
    }
    cr_assert_lt(sqrt(difference / b), 1e-4, "%s: relative error %g", what, sqrt(difference / b));
    cr_assert_gt(dot / sqrt(a * b), 0.99999, "%s", what);
}

/* ---- weights from a recipe: a line "name type scale around length..." a tensor ---- */

/* tests/oracles/seeded.py has the same: SplitMix64 of the tensor's name and the element's number, uniform,
 * of unit variance. */
static double seeded(uint32_t name, uint64_t i) {
    uint64_t z = ((uint64_t)name << 32) + i * 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return ((double)((z ^ z >> 31) >> 40) / 16777216 - 0.5) * sqrt(12);
}

static uint32_t crc32_of(const char *text) {
    uint32_t crc = UINT32_MAX;
    for (; *text; text++) {
        crc ^= (uint8_t)*text;
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
        }
    }
    return ~crc;
}

/* Appends to header and data; `words` as above. */
static void cook_tensor(GString *header, GByteArray *data, char **words) {
    const guint count = g_strv_length(words);
    const bool half = strcmp(words[1], "F16") == 0;
    const double scale = g_ascii_strtod(words[2], NULL), around = g_ascii_strtod(words[3], NULL);
    cr_assert(count >= 4 && (half || strcmp(words[1], "I64") == 0), "%s", words[0]);
    size_t elements = 1;
    for (guint i = 4; i < count; i++) {
        elements *= (size_t)g_ascii_strtoull(words[i], NULL, 10);
    }
    g_autofree char *shape = g_strjoinv(",", words + 4);
    const size_t width = half ? 2 : 8, at = data->len;
    g_byte_array_set_size(data, (guint)(at + elements * width));
    memset(data->data + at, 0, elements * width);
    const uint32_t name = crc32_of(words[0]);
    for (size_t i = 0; half && i < elements; i++) {
        const uint16_t value = lob_half_from_float((float)(around + scale * seeded(name, i)));
        memcpy(data->data + at + 2 * i, &value, sizeof value);
    }
    g_string_append_printf(header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%u]}",
                           header->len > 1 ? "," : "", words[0], words[1], shape, at, data->len);
}

char *case_cook(const char *folder) {
    size_t size;
    g_autofree char *text = case_file(folder, "recipe.txt", &size);
    g_auto(GStrv) lines = g_strsplit(g_strchomp(text), "\n", -1);
    g_autoptr(GString) header = g_string_new("{");
    g_autoptr(GByteArray) data = g_byte_array_new();
    for (char **line = lines; *line; line++) {
        g_auto(GStrv) words = g_strsplit(*line, " ", -1);
        cook_tensor(header, data, words);
    }
    g_string_append_c(header, '}');
    const guint64 length = GUINT64_TO_LE((guint64)header->len);
    char *cooked = g_dir_make_tmp("lobule-recipe-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(cooked, "weights.safetensors", NULL);
    FILE *file = fopen(path, "wb");
    cr_assert(file && fwrite(&length, 8, 1, file) == 1 && fwrite(header->str, header->len, 1, file) == 1 &&
              fwrite(data->data, data->len, 1, file) == 1);
    cr_assert_eq(fclose(file), 0);
    return cooked;
}

/* ---- rows ---- */

void case_check(const char *folder, const char *weights) {
    g_autoptr(GError) err = NULL;
    Case c = case_read(folder);
    g_autoptr(LobEncoder) encoder = case_open(&c, weights, "fp32", &err);
    cr_assert_not_null(encoder, "%s: %s", folder, err ? err->message : "");
    const LobEncoderInfo *info = lob_encoder_info(encoder);
    cr_assert_eq(info->dim, c.dim);
    cr_assert_eq(strlen(info->weights_sha256), 64);
    const size_t dim = (size_t)c.dim;
    g_autofree float *out = g_new(float, c.tiles *dim), *single = g_new(float, dim);
    const uint8_t *tiles = (const uint8_t *)c.tiles_data;
    cr_assert(lob_encoder_encode(encoder, tiles, c.tiles, out, NULL, NULL, &err));
    assert_close(out, (const float *)(const void *)c.expected, c.tiles * dim, folder);
    for (size_t b = c.tiles; b-- > 0;) {
        cr_assert(lob_encoder_encode(encoder, tiles + b * c.tile_bytes, 1, single, NULL, NULL, &err));
        cr_assert_eq(memcmp(single, out + b * dim, dim * sizeof *single), 0, "%s: tile %zu alone differs",
                     folder, b);
    }
    case_clear(&c);
}

static double cosine(const float *a, const float *b, size_t n) {
    double aa = 0, bb = 0, ab = 0;
    for (size_t i = 0; i < n; i++) {
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
        ab += (double)a[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

char *case_bf16_missing(const char *folder, const char *weights) {
    g_autoptr(GError) err = NULL;
    Case c = case_read(folder);
    g_autoptr(LobEncoder) encoder = case_open(&c, weights, "bf16", &err);
    case_clear(&c);
    if (encoder) {
        return NULL;
    }
    cr_assert(g_error_matches(err, LOB_ERROR, LOB_ERROR_INPUT), "%s", err->message);
    cr_assert(strstr(err->message, "oneDNN") || strstr(err->message, "AVX512-BF16"), "%s", err->message);
    return g_strdup(err->message);
}

void case_check_bf16(const char *folder, const char *weights) {
    g_autoptr(GError) err = NULL;
    Case c = case_read(folder);
    g_autoptr(LobEncoder) encoder = case_open(&c, weights, "bf16", &err);
    cr_assert_not_null(encoder, "%s: %s", folder, err ? err->message : "");
    cr_assert_str_eq(lob_encoder_info(encoder)->precision, "bf16");
    const size_t dim = (size_t)c.dim;
    const float *expected = (const float *)(const void *)c.expected;
    g_autofree float *out = g_new(float, c.tiles *dim), *single = g_new(float, dim);
    const uint8_t *tiles = (const uint8_t *)c.tiles_data;
    cr_assert(lob_encoder_encode(encoder, tiles, c.tiles, out, NULL, NULL, &err));
    for (size_t b = c.tiles; b-- > 0;) {
        const double is = cosine(out + b * dim, expected + b * dim, dim);
        if (case_full_depth()) {
            fprintf(stderr, "%s: bf16 cosine of tile %zu %.6f\n", folder, b, is);
        }
        cr_assert_gt(is, 0.999, "%s: tile %zu: cosine %g", folder, b, is);
        cr_assert_neq(memcmp(out + b * dim, expected + b * dim, dim * sizeof *out), 0);
        cr_assert(lob_encoder_encode(encoder, tiles + b * c.tile_bytes, 1, single, NULL, NULL, &err));
        cr_assert_eq(memcmp(single, out + b * dim, dim * sizeof *single), 0, "%s: tile %zu alone differs",
                     folder, b);
    }
    case_clear(&c);
}
