/* Vision transformers against PyTorch (tests/oracles/vit_torch.py): tiny checked-in networks always,
 * presets at true width and reduced depth where Python has torch. encoder_seeded.c has true widths without
 * it. */
#include "encoder_case.h"
#include "scratch.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const ORACLES = LOB_SOURCE_DIR "/tests/oracles/vit";

/* Every case of a folder; with both files where there are two. */
static void check_folders(const char *parent, void (*check)(const char *folder, const char *weights)) {
    const char *const files[] = {"weights.safetensors", "pytorch_model.bin"};
    const char *name;
    size_t checked = 0;
    g_autoptr(GDir) dir = g_dir_open(parent, 0, NULL);
    cr_assert_not_null(dir);
    while ((name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *folder = g_build_filename(parent, name, NULL);
        for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
            g_autofree char *weights = g_build_filename(folder, files[i], NULL);
            if (i == 0 || g_file_test(weights, G_FILE_TEST_EXISTS)) {
                check(folder, weights);
                checked++;
            }
        }
    }
    cr_assert_gt(checked, 0, "%s", parent);
}

/* Why there is no bf16 here, or NULL; told by any case. */
static char *bf16_missing(const char *parent) {
    g_autoptr(GDir) dir = g_dir_open(parent, 0, NULL);
    cr_assert_not_null(dir);
    g_autofree char *folder = g_build_filename(parent, g_dir_read_name(dir), NULL);
    g_autofree char *weights = g_build_filename(folder, "weights.safetensors", NULL);
    return case_bf16_missing(folder, weights);
}

Test(vit, tiny_networks_as_in_pytorch) {
    check_folders(ORACLES, case_check);
}

Test(vit, tiny_networks_in_bf16) {
    g_autofree char *missing = bf16_missing(ORACLES);
    if (missing) {
        cr_skip_test("%s", missing);
    }
    check_folders(ORACLES, case_check_bf16);
}

static bool python_has_torch(void) {
    const char *argv[] = {"/usr/bin/python3", "-c", "import torch, PIL, numpy", NULL};
    int status = 1;
    return g_spawn_sync(NULL, (char **)(void *)(uintptr_t)argv, NULL,
                        G_SPAWN_STDERR_TO_DEV_NULL | G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL, NULL,
                        &status, NULL) &&
           status == 0;
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
    check_folders(folder, case_check);
    g_autofree char *missing = bf16_missing(folder);
    if (missing) {
        fprintf(stderr, "%s: without bf16: %s\n", preset, missing);
    } else {
        check_folders(folder, case_check_bf16);
    }
    scratch_remove(folder);
}

/* Beside encoder_seeded.c: weights in float32, also as a PyTorch file. LOB_ALL_PRESETS=1 takes every shipped
 * preset. */
static bool in_short_list(const char *file) {
    const char *const names[] = {"kaiko-s16.yaml", "kaiko-l14-dinov2.yaml", "phikon.yaml"};
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
        cr_skip_test("no python3-torch, Pillow, numpy here");
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
    if (!case_full_depth() || !python_has_torch()) {
        cr_skip_test("LOB_FULL_DEPTH=PRESET,... asks for it, and it needs python3-torch");
    }
    g_auto(GStrv) names = g_strsplit(case_full_depth(), ",", -1);
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
        cr_skip_test("no python3-torch, Pillow, numpy here");
    }
    cr_assert(g_spawn_sync(NULL, (char **)(void *)(uintptr_t)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL,
                           NULL, &status, NULL) &&
              status == 0);
    check_folders(folder, case_check);
    scratch_remove(folder);
}

Test(networks, truncated_resnet_as_in_pytorch) {
    check_convolutional("resnet50");
}

Test(networks, swin_as_in_pytorch) {
    check_convolutional("ctranspath");
}

static const char *const TINY = LOB_SOURCE_DIR "/tests/oracles/vit/tiny-timm";

static LobEncoder *open_tiny(const Case *c, GError **err) {
    return case_open(c, LOB_SOURCE_DIR "/tests/oracles/vit/tiny-timm/weights.safetensors", "fp32", err);
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
    LobEncoderOptions options = {.name = "vit",
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
    const LobEncoderOptions options = {.name = "vit",
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
    LobEncoderOptions options = {.name = "vit",
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
    const LobEncoderCost full = lob_encoder_cost(whole), told = lob_encoder_cost(described);
    cr_assert(full.working_bytes > c.tiles && told.working_bytes == full.working_bytes);
    cr_assert(full.weight_bytes > 0 && told.weight_bytes == full.weight_bytes);
    cr_assert_eq(node.allocated, 0);
    cr_assert_not(lob_encoder_encode(described, (uint8_t *)c.tiles_data, 1, out, NULL, NULL, &err));
    case_clear(&c);
}

/* A NaN in the last tensor, and a file cut short, are seen without loading; the SHA-256 follows the file. */
Test(vit, describing_sees_damage) {
    size_t size;
    g_autofree char *data = case_file(TINY, "weights.safetensors", &size);
    g_autofree char *preset = g_build_filename(TINY, "preset.yaml", NULL);
    g_autofree char *folder = g_dir_make_tmp("lobule-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "weights.safetensors", NULL);
    const LobEncoderOptions options = {.name = "vit",
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
}

static bool count_down(void *user) {
    int *left = user;
    return (*left)-- > 0;
}

Test(vit, stops_between_layers) {
    Case c = case_read(TINY);
    g_autoptr(GError) err = NULL;
    g_autoptr(LobEncoder) encoder = open_tiny(&c, &err);
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
    const LobEncoderOptions options = {.name = "vit",
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
