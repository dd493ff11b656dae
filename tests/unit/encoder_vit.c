/* Vision transformers against PyTorch (tests/oracles/vit_torch.py): three tiny checked-in networks always,
 * every shipped preset at true width and reduced depth where Python has torch. */
#include "encoder/encoder.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    size_t tiles, tile_bytes;
    int size, dim;
    char *preset, *tiles_data, *expected;
} Case;

static char *read_file(const char *folder, const char *name, size_t *size) {
    char *data = NULL;
    g_autofree char *path = g_build_filename(folder, name, NULL);
    cr_assert(g_file_get_contents(path, &data, size, NULL), "%s", path);
    return data;
}

static Case case_read(const char *folder) {
    Case c;
    size_t bytes;
    g_autofree char *text = read_file(folder, "case.txt", &bytes);
    cr_assert_eq(sscanf(text, "%zu %d %d", &c.tiles, &c.size, &c.dim), 3);
    c.tile_bytes = (size_t)(3 * c.size * c.size);
    c.preset = g_build_filename(folder, "preset.yaml", NULL);
    c.tiles_data = read_file(folder, "tiles.bin", &bytes);
    cr_assert_eq(bytes, c.tiles * c.tile_bytes);
    c.expected = read_file(folder, "expected.bin", &bytes);
    cr_assert_eq(bytes, c.tiles * (size_t)c.dim * sizeof(float));
    return c;
}

static void case_clear(Case *c) {
    g_free(c->preset);
    g_free(c->tiles_data);
    g_free(c->expected);
}

static LobEncoder *open_case(const Case *c, const char *folder, const char *weights, const char *precision,
                             GError **err) {
    g_autofree char *path = g_build_filename(folder, weights, NULL);
    const LobEncoderOptions options = {.name = "case",
                                       .config = c->preset,
                                       .weights = path,
                                       .precision = precision,
                                       .tile_size = c->size,
                                       .mpp = 0.5,
                                       .batch = c->tiles};
    return lob_encoder_open(&options, err);
}

/* LOB_FULL_DEPTH=NAME,...: these presets at their full depth; figures are told. Minutes and gigabytes. */
static const char *full_depth(void) {
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
    if (full_depth()) {
        fprintf(stderr, "%s: fp32 relative error %.3g, cosine %.9f\n", what, sqrt(difference / b),
                dot / sqrt(a * b));
    }
    cr_assert_lt(sqrt(difference / b), 1e-4, "%s: relative error %g", what, sqrt(difference / b));
    cr_assert_gt(dot / sqrt(a * b), 0.99999, "%s", what);
}

static void check_case(const char *folder, const char *weights) {
    g_autoptr(GError) err = NULL;
    Case c = case_read(folder);
    g_autoptr(LobEncoder) encoder = open_case(&c, folder, weights, "fp32", &err);
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

/* Why this build or CPU has no bf16, or NULL where it has; the message must name what is missing. */
static char *bf16_missing(const Case *c, const char *folder) {
    g_autoptr(GError) err = NULL;
    g_autoptr(LobEncoder) encoder = open_case(c, folder, "weights.safetensors", "bf16", &err);
    if (encoder) {
        return NULL;
    }
    cr_assert(g_error_matches(err, LOB_ERROR, LOB_ERROR_INPUT), "%s", err->message);
    cr_assert(strstr(err->message, "oneDNN") || strstr(err->message, "AVX512-BF16"), "%s", err->message);
    return g_strdup(err->message);
}

/* Against PyTorch's fp32 rows: each tile's cosine, and the same bytes for a tile alone. */
static void check_bf16(const char *folder) {
    g_autoptr(GError) err = NULL;
    Case c = case_read(folder);
    g_autofree char *missing = bf16_missing(&c, folder);
    if (missing) {
        fprintf(stderr, "skipped: bf16 (%s)\n", missing);
        case_clear(&c);
        return;
    }
    g_autoptr(LobEncoder) encoder = open_case(&c, folder, "weights.safetensors", "bf16", &err);
    cr_assert_not_null(encoder, "%s: %s", folder, err ? err->message : "");
    cr_assert_str_eq(lob_encoder_info(encoder)->precision, "bf16");
    const size_t dim = (size_t)c.dim;
    const float *expected = (const float *)(const void *)c.expected;
    g_autofree float *out = g_new(float, c.tiles *dim), *single = g_new(float, dim);
    const uint8_t *tiles = (const uint8_t *)c.tiles_data;
    cr_assert(lob_encoder_encode(encoder, tiles, c.tiles, out, NULL, NULL, &err));
    for (size_t b = c.tiles; b-- > 0;) {
        const double is = cosine(out + b * dim, expected + b * dim, dim);
        if (full_depth()) {
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

typedef enum { VIT, CONVOLUTIONAL } Networks;

static void check_folders(const char *parent, Networks networks) {
    const char *name;
    g_autoptr(GDir) dir = g_dir_open(parent, 0, NULL);
    cr_assert_not_null(dir);
    while ((name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *folder = g_build_filename(parent, name, NULL);
        g_autofree char *pickle = g_build_filename(folder, "pytorch_model.bin", NULL);
        check_case(folder, "weights.safetensors");
        if (networks == VIT) {
            check_bf16(folder);
        }
        if (g_file_test(pickle, G_FILE_TEST_EXISTS)) {
            check_case(folder, "pytorch_model.bin");
        }
    }
}

Test(vit, tiny_networks_as_in_pytorch) {
    check_folders(LOB_SOURCE_DIR "/tests/oracles/vit", VIT);
}

static bool python_has_torch(void) {
    const char *argv[] = {"/usr/bin/python3", "-c", "import torch, PIL, numpy", NULL};
    int status = 1;
    return g_spawn_sync(NULL, (char **)(void *)(uintptr_t)argv, NULL,
                        G_SPAWN_STDERR_TO_DEV_NULL | G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL, NULL,
                        &status, NULL) &&
           status == 0;
}

static void remove_tree(const char *path) {
    const char *argv[] = {"rm", "-rf", "--", path, NULL};
    g_spawn_sync(NULL, (char **)(void *)(uintptr_t)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL,
                 NULL, NULL);
}

/* One preset at a depth, made, checked and removed: at depth 1 the widest needs 120 MB. */
static void check_preset(const char *preset, const char *depth) {
    g_autofree char *folder = g_dir_make_tmp("lobule-vit-XXXXXX", NULL);
    const char *argv[] = {"/usr/bin/python3",
                          LOB_SOURCE_DIR "/tests/oracles/vit_torch.py",
                          folder,
                          "--depth",
                          depth,
                          "--tiles",
                          "3",
                          "--size",
                          "240",
                          preset,
                          NULL};
    int status = 1;
    cr_assert(g_spawn_sync(NULL, (char **)(void *)(uintptr_t)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL,
                           NULL, &status, NULL) &&
              status == 0);
    check_folders(folder, VIT);
    remove_tree(folder);
}

/* One of each kind; the others differ from these in size alone. LOB_ALL_PRESETS=1 takes every shipped one. */
static bool in_short_list(const char *file) {
    const char *const names[] = {"kaiko-s16.yaml", "kaiko-l14.yaml", "phikon.yaml",   "phikon-v2.yaml",
                                 "hibou-b.yaml",   "h0-mini.yaml",   "virchow2.yaml", "conch-v1.5.yaml"};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (strcmp(names[i], file) == 0) {
            return true;
        }
    }
    return g_getenv("LOB_ALL_PRESETS") != NULL && strcmp(file, "resnet50.yaml") != 0 &&
           strcmp(file, "ctranspath.yaml") != 0;
}

Test(vit, presets_as_in_pytorch, .timeout = 300) {
    const char *file;
    if (!python_has_torch()) {
        fprintf(stderr,
                "skipped: the presets' networks against PyTorch (no python3-torch, Pillow, numpy here)\n");
        return;
    }
    g_autoptr(GDir) dir = g_dir_open(LOB_SOURCE_DIR "/configs/encoders", 0, NULL);
    cr_assert_not_null(dir);
    while ((file = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = g_build_filename(LOB_SOURCE_DIR "/configs/encoders", file, NULL);
        if (g_str_has_suffix(file, ".yaml") && in_short_list(file)) {
            check_preset(path, "1");
        }
    }
}

/* The preset's own depth, from its file. */
static char *depth_of(const char *preset) {
    size_t size;
    g_autofree char *text = NULL;
    cr_assert(g_file_get_contents(preset, &text, &size, NULL), "%s", preset);
    const char *line = strstr(text, "\ndepth:");
    cr_assert_not_null(line);
    return g_strdup_printf("%d", (int)g_ascii_strtoll(line + strlen("\ndepth:"), NULL, 10));
}

/* The oracle's blocks change the residual stream as trained ones do: layer scales around 0.7, gains of one.
 */
Test(vit, full_depth_as_in_pytorch, .timeout = 1800) {
    if (!full_depth() || !python_has_torch()) {
        return;
    }
    g_auto(GStrv) names = g_strsplit(full_depth(), ",", -1);
    for (char **name = names; *name; name++) {
        g_autofree char *path = g_strdup_printf("%s/configs/encoders/%s.yaml", LOB_SOURCE_DIR, *name);
        g_autofree char *depth = depth_of(path);
        check_preset(path, depth);
    }
}

static void check_convolutional(const char *name) {
    g_autofree char *folder = g_dir_make_tmp("lobule-conv-XXXXXX", NULL);
    const char *argv[] = {"/usr/bin/python3", LOB_SOURCE_DIR "/tests/oracles/conv_torch.py", folder, name,
                          NULL};
    int status = 1;
    if (!python_has_torch()) {
        fprintf(stderr, "skipped: %s against PyTorch (no python3-torch, Pillow, numpy here)\n", name);
    } else {
        cr_assert(g_spawn_sync(NULL, (char **)(void *)(uintptr_t)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL,
                               NULL, NULL, &status, NULL) &&
                  status == 0);
        check_folders(folder, CONVOLUTIONAL);
    }
    remove_tree(folder);
}

Test(networks, truncated_resnet_as_in_pytorch) {
    check_convolutional("resnet50");
}

Test(networks, swin_as_in_pytorch) {
    check_convolutional("ctranspath");
}

/* ---- refusals ---- */

static const char *const TINY = LOB_SOURCE_DIR "/tests/oracles/vit/tiny-timm";

/* Opens the tiny network with its preset's text changed; returns the error's message. */
static char *refusal(const char *weights, const char *from, const char *to) {
    g_autoptr(GError) err = NULL;
    size_t size;
    g_autofree char *text = read_file(TINY, "preset.yaml", &size),
                    *folder = g_dir_make_tmp("lobule-XXXXXX", NULL);
    g_autofree char *preset = g_build_filename(folder, "changed.yaml", NULL);
    g_autoptr(GString) changed = g_string_new(text);
    if (from) {
        cr_assert_gt(g_string_replace(changed, from, to, 1), 0, "%s", from);
    }
    cr_assert(g_file_set_contents(preset, changed->str, -1, NULL));
    const LobEncoderOptions options = {.name = "x",
                                       .config = preset,
                                       .weights = weights,
                                       .precision = "fp32",
                                       .tile_size = 24,
                                       .mpp = 0.5,
                                       .batch = 2};
    LobEncoder *encoder = lob_encoder_open(&options, &err);
    remove_tree(folder);
    cr_assert_null(encoder, "accepted with %s", to ? to : "nothing changed");
    cr_assert(g_error_matches(err, LOB_ERROR, LOB_ERROR_INPUT), "%s", err->message);
    return g_strdup(err->message);
}

Test(vit, says_what_does_not_fit) {
    const struct {
        const char *from, *to, *message;
    } cases[] = {
        {"depth: 2", "depth: 3", "14 missing: blocks.2.norm1.weight"},
        {"depth: 2", "depth: 1", "14 unknown to the network"},
        {"hidden: 64", "hidden: 32", "blocks.0.mlp.fc1.weight is [64, 16], not [32, 16]"},
        {"layout: timm", "layout: hf-dinov2", "42 missing: embeddings.patch_embeddings.projection.bias"},
        {"heads: 2", "heads: 3", "width of heads"},
        {"mlp: gelu\n", "", "a vit needs layout, mlp"},
        {"eps: 1e-6", "eps: 0", "eps must be given"},
    };
    g_autofree char *weights = g_build_filename(TINY, "weights.safetensors", NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *message = refusal(weights, cases[i].from, cases[i].to);
        cr_assert_not_null(strstr(message, cases[i].message), "case %zu: %s", i, message);
    }
    g_autofree char *none = refusal(NULL, NULL, NULL);
    cr_assert_not_null(strstr(none, "needs weights"), "%s", none);
    g_autofree char *absent = refusal("/no/such/file", NULL, NULL);
    cr_assert_not_null(strstr(absent, "/no/such/file"), "%s", absent);
}

Test(vit, ignores_what_the_preset_says) {
    g_autofree char *weights = g_build_filename(TINY, "weights.safetensors", NULL);
    g_autofree char *message =
        refusal(weights, "depth: 2", "ignore: [\"blocks.1.*\", other]\npatch_: 1\ndepth: 1");
    cr_assert_not_null(strstr(message, "patch_: unknown key"), "%s", message);
    g_autoptr(GError) err = NULL;
    size_t size;
    g_autofree char *text = read_file(TINY, "preset.yaml", &size),
                    *folder = g_dir_make_tmp("lobule-XXXXXX", NULL);
    g_autofree char *preset = g_build_filename(folder, "shallow.yaml", NULL);
    g_autoptr(GString) changed = g_string_new(text);
    g_string_replace(changed, "depth: 2", "ignore: [\"blocks.1.*\"]\ndepth: 1", 1);
    cr_assert(g_file_set_contents(preset, changed->str, -1, NULL));
    const LobEncoderOptions options = {.name = "x",
                                       .config = preset,
                                       .weights = weights,
                                       .precision = "fp32",
                                       .tile_size = 24,
                                       .mpp = 0.5,
                                       .batch = 2};
    g_autoptr(LobEncoder) encoder = lob_encoder_open(&options, &err);
    remove_tree(folder);
    cr_assert_not_null(encoder, "%s", err ? err->message : "");
    cr_assert_str_eq(lob_encoder_info(encoder)->name, "shallow");
}

/* ---- shared memory, ticks, benches ---- */

typedef struct {
    void *block;
    int allocated, ready;
} Node;

static void *node_alloc(void *user, size_t size, bool *fill, GError **err) {
    Node *node = user;
    (void)err;
    *fill = node->block == NULL;
    node->allocated++;
    if (!node->block) {
        node->block = g_malloc0(size);
    }
    return node->block;
}

static void node_ready(void *user) {
    ((Node *)user)->ready++;
}

/* The rank that fills has no weights: it takes part all the same, and the other hears why. */
Test(vit, ranks_of_a_node_share_failure) {
    Node node = {0};
    const LobEncoderMemory memory = {node_alloc, node_ready, &node};
    g_autofree char *preset = g_build_filename(TINY, "preset.yaml", NULL);
    g_autofree char *weights = g_build_filename(TINY, "weights.safetensors", NULL);
    LobEncoderOptions options = {.name = "x",
                                 .config = preset,
                                 .weights = "/no/such/weights",
                                 .precision = "fp32",
                                 .tile_size = 24,
                                 .mpp = 0.5,
                                 .batch = 2,
                                 .memory = &memory};
    g_autoptr(GError) first = NULL, second = NULL;
    cr_assert_null(lob_encoder_open(&options, &first));
    options.weights = weights;
    cr_assert_null(lob_encoder_open(&options, &second));
    cr_assert_eq(node.allocated, 2);
    cr_assert_eq(node.ready, 2);
    cr_assert_str_eq(first->message, second->message);
    cr_assert(g_error_matches(second, LOB_ERROR, LOB_ERROR_INPUT));
    g_free(node.block);
}

/* Two ranks of a node: the second takes the first's weights, and both give the same. */
Test(vit, ranks_of_a_node_share_weights) {
    Node node = {0};
    const LobEncoderMemory memory = {node_alloc, node_ready, &node};
    Case c = case_read(TINY);
    g_autofree char *path = g_build_filename(TINY, "weights.safetensors", NULL);
    const LobEncoderOptions options = {.name = "case",
                                       .config = c.preset,
                                       .weights = path,
                                       .precision = "fp32",
                                       .tile_size = c.size,
                                       .mpp = 0.5,
                                       .batch = c.tiles,
                                       .memory = &memory};
    g_autofree float *a = g_new(float, c.tiles *(size_t)c.dim), *b = g_new(float, c.tiles *(size_t)c.dim);
    {
        g_autoptr(GError) err = NULL;
        g_autoptr(LobEncoder) first = lob_encoder_open(&options, &err),
                              second = lob_encoder_open(&options, &err);
        cr_assert(first && second, "%s", err ? err->message : "");
        cr_assert_eq(node.allocated, 2);
        cr_assert_eq(node.ready, 2);
        cr_assert_str_eq(lob_encoder_info(first)->weights_sha256, lob_encoder_info(second)->weights_sha256);
        cr_assert(lob_encoder_encode(first, (uint8_t *)c.tiles_data, c.tiles, a, NULL, NULL, &err));
        cr_assert(lob_encoder_encode(second, (uint8_t *)c.tiles_data, c.tiles, b, NULL, NULL, &err));
    }
    cr_assert_eq(memcmp(a, b, c.tiles * (size_t)c.dim * sizeof *a), 0);
    g_free(node.block);
    case_clear(&c);
}

/* As the ranks' coordinator looks at weights before they are shared: the same facts and refusals, no network.
 */
Test(vit, is_described_without_being_loaded) {
    Case c = case_read(TINY);
    Node node = {0};
    const LobEncoderMemory memory = {node_alloc, node_ready, &node};
    g_autoptr(GError) err = NULL;
    g_autofree char *path = g_build_filename(TINY, "weights.safetensors", NULL);
    LobEncoderOptions options = {.name = "case",
                                 .config = c.preset,
                                 .weights = path,
                                 .precision = "fp32",
                                 .tile_size = c.size,
                                 .mpp = 0.5,
                                 .batch = c.tiles};
    g_autoptr(LobEncoder) whole = lob_encoder_open(&options, &err);
    options.describe = true;
    options.memory = &memory;
    g_autoptr(LobEncoder) described = lob_encoder_open(&options, &err);
    g_autofree float *out = g_new(float, c.tiles *(size_t)c.dim);
    cr_assert(whole && described, "%s", err ? err->message : "");
    const LobEncoderInfo *a = lob_encoder_info(whole), *b = lob_encoder_info(described);
    cr_assert_str_eq(a->name, b->name);
    cr_assert_str_eq(a->weights_sha256, b->weights_sha256);
    cr_assert_str_eq(a->transform, b->transform);
    cr_assert_eq(a->dim, b->dim);
    cr_assert_eq(strlen(b->weights_sha256), 64);
    cr_assert_eq(node.allocated, 0);
    cr_assert_not(lob_encoder_encode(described, (uint8_t *)c.tiles_data, 1, out, NULL, NULL, &err));
    case_clear(&c);
}

/* A NaN in the last tensor, and a file cut short, are seen without loading; the SHA-256 follows the file. */
Test(vit, describing_sees_damage) {
    size_t size;
    g_autofree char *data = read_file(TINY, "weights.safetensors", &size);
    g_autofree char *preset = g_build_filename(TINY, "preset.yaml", NULL);
    g_autofree char *folder = g_dir_make_tmp("lobule-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "weights.safetensors", NULL);
    const LobEncoderOptions options = {.name = "x",
                                       .config = preset,
                                       .weights = path,
                                       .precision = "fp32",
                                       .tile_size = 24,
                                       .mpp = 0.5,
                                       .batch = 2,
                                       .describe = true};
    g_autoptr(GError) err = NULL;
    cr_assert(g_file_set_contents(path, data, (gssize)size, NULL));
    g_autoptr(LobEncoder) good = lob_encoder_open(&options, &err);
    cr_assert_not_null(good, "%s", err ? err->message : "");
    data[size - 4] = 0; /* half floats: the least of bits, and the file is another one */
    cr_assert(g_file_set_contents(path, data, (gssize)size, NULL));
    g_autoptr(LobEncoder) other = lob_encoder_open(&options, &err);
    cr_assert_not_null(other, "%s", err ? err->message : "");
    cr_assert_str_neq(lob_encoder_info(good)->weights_sha256, lob_encoder_info(other)->weights_sha256);
    memcpy(data + size - 2, "\x00\x7e", 2);
    cr_assert(g_file_set_contents(path, data, (gssize)size, NULL));
    cr_assert_null(lob_encoder_open(&options, &err));
    cr_assert(g_error_matches(err, LOB_ERROR, LOB_ERROR_INPUT));
    cr_assert_not_null(strstr(err->message, "not finite"), "%s", err->message);
    g_clear_error(&err);
    cr_assert(g_file_set_contents(path, data, (gssize)size / 2, NULL));
    cr_assert_null(lob_encoder_open(&options, &err));
    cr_assert(g_error_matches(err, LOB_ERROR, LOB_ERROR_INPUT));
    remove_tree(folder);
}

static bool count_down(void *user) {
    int *left = user;
    return (*left)-- > 0;
}

Test(vit, stops_between_layers) {
    Case c = case_read(TINY);
    g_autoptr(GError) err = NULL;
    g_autoptr(LobEncoder) encoder = open_case(&c, TINY, "weights.safetensors", "fp32", &err);
    g_autofree float *out = g_new(float, c.tiles *(size_t)c.dim);
    int left = 1;
    cr_assert_not(
        lob_encoder_encode(encoder, (uint8_t *)c.tiles_data, c.tiles, out, count_down, &left, &err));
    cr_assert(g_error_matches(err, LOB_ERROR, LOB_ERROR_STOPPED));
    g_clear_error(&err);
    left = 100;
    cr_assert(lob_encoder_encode(encoder, (uint8_t *)c.tiles_data, c.tiles, out, count_down, &left, &err));
    cr_assert_eq(left, 100 - 2 * 2, "two ticks a layer");
    case_clear(&c);
}

Test(vit, random_weights_for_benches) {
    Case c = case_read(TINY);
    g_autoptr(GError) err = NULL;
    const LobEncoderOptions options = {.name = "case",
                                       .config = c.preset,
                                       .precision = "fp32",
                                       .tile_size = c.size,
                                       .mpp = 0.5,
                                       .batch = c.tiles,
                                       .random_weights = true};
    g_autoptr(LobEncoder) encoder = lob_encoder_open(&options, &err);
    g_autofree float *out = g_new(float, c.tiles *(size_t)c.dim);
    cr_assert_not_null(encoder, "%s", err ? err->message : "");
    cr_assert_str_eq(lob_encoder_info(encoder)->weights_sha256, "");
    cr_assert(lob_encoder_encode(encoder, (uint8_t *)c.tiles_data, c.tiles, out, NULL, NULL, &err));
    for (size_t i = 0; i < c.tiles * (size_t)c.dim; i++) {
        cr_assert(isfinite(out[i]));
    }
    case_clear(&c);
}
