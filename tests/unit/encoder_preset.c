/* Presets: what does not fit is said with its place, and two networks never go by one identity. */
#include "encoder/preset.h"
#include "encoder_case.h"

#include <criterion/criterion.h>
#include <string.h>

static const char *const TINY = LOB_SOURCE_DIR "/tests/oracles/vit/tiny-timm";

/* Opens the tiny network with its preset's text changed. */
static LobEncoder *open_changed(const char *weights, const char *from, const char *to, GError **err) {
    size_t size;
    g_autofree char *text = case_file(TINY, "preset.yaml", &size),
                    *folder = g_dir_make_tmp("lobule-XXXXXX", NULL);
    g_autofree char *preset = g_build_filename(folder, "changed.yaml", NULL);
    g_autoptr(GString) changed = g_string_new(text);
    if (from) {
        cr_assert_gt(g_string_replace(changed, from, to, 1), 0, "%s", from);
    }
    cr_assert(g_file_set_contents(preset, changed->str, -1, NULL));
    const LobEncoderOptions options = {.name = "vit",
                                       .config = preset,
                                       .weights = weights,
                                       .precision = "fp32",
                                       .tile_size = 24,
                                       .mpp = 0.5,
                                       .batch = 2};
    return lob_encoder_open(&options, err);
}

static char *refusal(const char *weights, const char *from, const char *to) {
    g_autoptr(GError) err = NULL;
    LobEncoder *encoder = open_changed(weights, from, to, &err);
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
        {"mean: [0.5, 0.45, 0.4]\n", "", "mean must be given"},
        {"depth: 2", "depth: 2\npool_width: 8", "are for output: pool"},
        {"depth: 2", "depth: 2\nposition_resample: bicubic", "position_resample is given, but"},
        {"depth: 2", "depth: 2\nposition_grid: 6", "position_resample must say how"},
        {"depth: 2", "depth: 2\nposition_through: 2", "go together"},
        {"image: 16\npatch: 4", "image: 516\npatch: 4", "128 patches"},
        {"network: vit", "network: swin", "changed.yaml:2: layout: network swin does not have this"},
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
    g_autoptr(LobEncoder) encoder =
        open_changed(weights, "depth: 2", "ignore: [\"blocks.1.*\"]\ndepth: 1", &err);
    cr_assert_not_null(encoder, "%s", err ? err->message : "");
    cr_assert_str_eq(lob_encoder_info(encoder)->name, "changed");
}

/* Opens a preset given as text; NULL with an INPUT error where it is refused. */
static LobEncoder *open_text(const char *text, const char *name, GError **err) {
    g_autofree char *folder = g_dir_make_tmp("lobule-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "mine.yaml", NULL);
    cr_assert(g_file_set_contents(path, text, -1, NULL));
    const LobEncoderOptions options = {.name = name,
                                       .config = path,
                                       .precision = "fp32",
                                       .tile_size = 24,
                                       .mpp = 0.5,
                                       .batch = 1,
                                       .random_weights = true};
    LobEncoder *encoder = lob_encoder_open(&options, err);
    cr_assert(encoder || g_error_matches(*err, LOB_ERROR, LOB_ERROR_INPUT));
    return encoder;
}

#define REST "resize: 32\nfilter: bilinear\nmean: [0.5, 0.5, 0.5]\nsd: [0.5, 0.5, 0.5]\n"

/* Sizes for which there would be no memory or no picture left after the stages. */
Test(preset, images_of_impossible_sizes) {
    const struct {
        const char *text, *message;
    } bad[] = {
        {"network: resnet50\nimage: 4\n" REST, "an image of 32 to 2048 px, not 4"},
        {"network: resnet50\nimage: 31\n" REST, "an image of 32 to 2048 px"},
        {"network: resnet50\nimage: 4096\n" REST, "an image of 32 to 2048 px"},
        {"network: swin\nimage: 2240\neps: 1e-5\n" REST, "at most 2016"},
        {"network: swin\nimage: 112\neps: 1e-5\n" REST, "multiple of 224"},
        {"network: resnet50\nimage: 32\neps: 1e-5\n" REST,
         "mine.yaml:3: eps: network resnet50 does not have"},
        {"network: resnet50\nimage: 32\noutput: mean\n" REST,
         "mine.yaml:3: output: network resnet50 does not"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) err = NULL;
        cr_assert_null(open_text(bad[i].text, NULL, &err), "case %zu", i);
        cr_assert_not_null(strstr(err->message, bad[i].message), "case %zu: %s", i, err->message);
    }
    const uint8_t rgb[24 * 24 * 3] = {0};
    float out[1024];
    g_autoptr(GError) err = NULL;
    g_autoptr(LobEncoder) least = open_text("network: resnet50\nimage: 32\n" REST, NULL, &err);
    cr_assert(least && lob_encoder_encode(least, rgb, 1, out, NULL, NULL, &err), "%s",
              err ? err->message : "");
}

/* A name that says neither would be ignored. */
Test(preset, a_name_beside_a_config_must_fit) {
    const char *const text = "network: resnet50\nimage: 32\n" REST, *const fitting[] = {NULL, "mine",
                                                                                        "resnet50"};
    for (size_t i = 0; i < G_N_ELEMENTS(fitting); i++) {
        g_autoptr(GError) err = NULL;
        g_autoptr(LobEncoder) encoder = open_text(text, fitting[i], &err);
        cr_assert_not_null(encoder, "%s", err ? err->message : "");
        cr_assert_str_eq(lob_encoder_info(encoder)->name, "mine");
    }
    g_autoptr(GError) err = NULL;
    cr_assert_null(open_text(text, "uni", &err));
    cr_assert_not_null(strstr(err->message, "name is uni, but config"), "%s", err->message);
}

/* The tiny network with its preset changed, as a store would record it. */
static char *transform_with(const char *from, const char *to) {
    g_autoptr(GError) err = NULL;
    size_t size;
    g_autofree char *text = case_file(TINY, "preset.yaml", &size);
    g_autoptr(GString) changed = g_string_new(text);
    cr_assert(!from || g_string_replace(changed, from, to, 1) > 0, "%s", from);
    g_autoptr(LobEncoder) encoder = open_text(changed->str, "vit", &err);
    cr_assert_not_null(encoder, "%s", err ? err->message : "");
    return g_strdup(lob_encoder_info(encoder)->transform);
}

/* Presets of one name on the same weights, whose rows have the same length: what differs is recorded. */
Test(preset, networks_are_told_apart) {
    const char *const changes[][2] = {
        {"output: class+mean", "output: class"},
        {"output: class+mean", "output: mean"},
        {"eps: 1e-6", "eps: 1e-5"},
        {"heads: 2", "heads: 4"},
        {"position: all", "position: class+patches"},
        {"layer_scale: true", "layer_scale: false"},
        {"depth: 2", "depth: 1"},
        {"depth: 2", "depth: 2\nprefix: student."},
    };
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autofree char *first = transform_with(NULL, NULL);
    g_autofree char *same = transform_with("depth: 2", "licence: here\nrecommended_mpp: 0.5\ndepth: 2");
    cr_assert_str_eq(first, same);
    cr_assert_not_null(strstr(first, ",sd=0.2:0.25:0.3,output=class+mean,network="), "%s", first);
    g_hash_table_add(seen, g_strdup(first));
    for (size_t i = 0; i < G_N_ELEMENTS(changes); i++) {
        char *transform = transform_with(changes[i][0], changes[i][1]);
        /* without registers class+patches covers what all does, but nobody need prove it */
        cr_assert(g_hash_table_add(seen, transform), "%s", changes[i][1]);
    }
}
