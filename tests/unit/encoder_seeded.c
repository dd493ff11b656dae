/* The presets' networks at their true widths against PyTorch, without PyTorch: the weights are made from a
 * recipe (tests/oracles/seeded.py), expected rows are checked in. Vision transformers have one layer, the
 * other networks are whole. */
#include "encoder_case.h"
#include "scratch.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static void check_seeded(const char *name) {
    g_autofree char *folder = g_build_filename(LOB_SOURCE_DIR "/tests/oracles/seeded", name, NULL);
    g_autofree char *cooked = case_cook(folder);
    g_autofree char *weights = g_build_filename(cooked, "weights.safetensors", NULL);
    case_check(folder, weights);
    scratch_remove(cooked);
}

static void check_seeded_bf16(const char *name) {
    g_autofree char *folder = g_build_filename(LOB_SOURCE_DIR "/tests/oracles/seeded", name, NULL);
    g_autofree char *cooked = case_cook(folder);
    g_autofree char *weights = g_build_filename(cooked, "weights.safetensors", NULL);
    g_autofree char *missing = case_bf16_missing(folder, weights);
    if (!missing) {
        case_check_bf16(folder, weights);
    }
    scratch_remove(cooked);
    if (missing) {
        cr_skip_test("%s", missing);
    }
}

/* timm's names: plain; with registers and resampled positions; heads of 80, gated. */
Test(seeded, timm) {
    check_seeded("kaiko-s16");
    check_seeded("kaiko-l14");
    check_seeded("h0-mini-mean");
    check_seeded("virchow2");
}

Test(seeded, hugging_face) {
    check_seeded("phikon");
    check_seeded("phikon-v2");
    check_seeded("hibou-b");
}

/* 785 tokens, an attentional pooler, positions resampled twice and once. */
Test(seeded, conch) {
    check_seeded("conch-v1.5");
    check_seeded("conch-v1.5-titan");
}

Test(seeded, truncated_resnet) {
    check_seeded("resnet50");
}

Test(seeded, swin) {
    check_seeded("ctranspath");
}

Test(seeded, bf16) {
    check_seeded_bf16("virchow2");
    check_seeded_bf16("phikon");
}

/* What a preset file says now is what its rows were made with. */
Test(seeded, presets_are_the_shipped_ones) {
    const char *const names[] = {"kaiko-s16",        "kaiko-l14", "h0-mini-mean", "virchow2",
                                 "phikon",           "phikon-v2", "hibou-b",      "conch-v1.5",
                                 "conch-v1.5-titan", "resnet50",  "ctranspath"};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        size_t size;
        g_autofree char *file = g_strconcat(names[i], ".yaml", NULL);
        g_autofree char *shipped = case_file(LOB_SOURCE_DIR "/configs/encoders", file, &size);
        g_autofree char *folder = g_build_filename(LOB_SOURCE_DIR "/tests/oracles/seeded", names[i], NULL);
        g_autofree char *used = case_file(folder, "preset.yaml", &size);
        g_auto(GStrv) a = g_strsplit(shipped, "\n", -1), b = g_strsplit(used, "\n", -1);
        cr_assert_eq(g_strv_length(a), g_strv_length(b), "%s", names[i]);
        for (size_t k = 0; a[k]; k++) {
            cr_assert(strcmp(a[k], b[k]) == 0 || a[k][0] == '#' || g_str_has_prefix(a[k], "depth:") ||
                          g_str_has_prefix(a[k], "licence:"),
                      "%s: %s", names[i], a[k]);
        }
    }
}

/* Folded away with its sign at the wrong place, it would give numbers that look like features. */
Test(seeded, negative_variances_are_refused) {
    const char *const source = LOB_SOURCE_DIR "/tests/oracles/seeded/resnet50";
    size_t size;
    g_autofree char *text = case_file(source, "recipe.txt", &size);
    g_autoptr(GString) recipe = g_string_new(text);
    cr_assert_eq(g_string_replace(recipe, "layer1.0.bn2.running_var F16 0.28 1.0",
                                  "layer1.0.bn2.running_var F16 0.28 -1.0", 0),
                 1);
    g_autofree char *folder = g_dir_make_tmp("lobule-XXXXXX", NULL);
    g_autofree char *file = g_build_filename(folder, "recipe.txt", NULL);
    cr_assert(g_file_set_contents(file, recipe->str, -1, NULL));
    g_autofree char *cooked = case_cook(folder);
    g_autofree char *weights = g_build_filename(cooked, "weights.safetensors", NULL);
    LobEncoderOptions options = {.config = LOB_SOURCE_DIR "/configs/encoders/resnet50.yaml",
                                 .weights = weights,
                                 .precision = "fp32",
                                 .tile_size = 32,
                                 .mpp = 0.5,
                                 .batch = 1};
    for (int describe = 0; describe < 2; describe++) {
        g_autoptr(GError) err = NULL;
        options.describe = describe;
        cr_assert_null(lob_encoder_open(&options, &err), "described: %d", describe);
        cr_assert(g_error_matches(err, LOB_ERROR, LOB_ERROR_INPUT));
        cr_assert_not_null(strstr(err->message, "layer1.0.bn2.running_var is a variance and has a negative"),
                           "%s", err->message);
    }
    scratch_remove(cooked);
}
