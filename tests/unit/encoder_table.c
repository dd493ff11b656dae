/* The table of encoders: names, presets by name, refusals. */
#include "encoder/encoder.h"

#include <criterion/criterion.h>
#include <string.h>

static bool contains(const char *const *names, const char *name) {
    return g_strv_contains(names, name);
}

Test(table, lists_texture_and_presets) {
    cr_assert(g_setenv("LOB_CONFIGS", LOB_SOURCE_DIR "/configs", TRUE));
    const char *const *names = lob_encoder_names();
    cr_assert_str_eq(names[0], "texture");
    cr_assert(contains(names, "uni") && contains(names, "virchow2") && contains(names, "ctranspath"));
    cr_assert_not(contains(names, "README"));
}

Test(table, works_without_any_preset) {
    cr_assert(g_setenv("LOB_CONFIGS", "/no/such/folder", TRUE));
    const char *const *names = lob_encoder_names();
    cr_assert_str_eq(names[0], "texture");
    cr_assert_null(names[1]);
}

Test(table, refuses_clearly) {
    const struct {
        LobEncoderOptions options;
        const char *message;
    } bad[] = {
        {{.name = "unii"}, "encoder unii is unknown; there are: texture, "},
        {{.name = "../encoders/uni"}, "is unknown"},
        {{.name = "uni"}, "encoder uni needs weights"},
        {{.name = "uni", .precision = "fp8", .random_weights = true}, "precision fp8 is unknown"},
        {{.name = "x", .config = "/no/such.yaml"}, "/no/such.yaml"},
    };
    cr_assert(g_setenv("LOB_CONFIGS", LOB_SOURCE_DIR "/configs", TRUE));
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) err = NULL;
        LobEncoderOptions options = bad[i].options;
        options.tile_size = 224;
        options.mpp = 0.5;
        options.batch = 1;
        cr_assert_null(lob_encoder_open(&options, &err), "case %zu", i);
        cr_assert(g_error_matches(err, LOB_ERROR, LOB_ERROR_INPUT), "case %zu", i);
        cr_assert_not_null(strstr(err->message, bad[i].message), "case %zu: %s", i, err->message);
    }
}

/* By name, with the true shapes of the smallest shipped vision transformer, as a bench opens it. */
Test(table, opens_a_preset_by_name) {
    const LobEncoderOptions options = {.name = "kaiko-s16",
                                       .precision = "fp32",
                                       .tile_size = 256,
                                       .mpp = 0.5,
                                       .batch = 1,
                                       .random_weights = true};
    g_autoptr(GError) err = NULL;
    cr_assert(g_setenv("LOB_CONFIGS", LOB_SOURCE_DIR "/configs", TRUE));
    g_autoptr(LobEncoder) encoder = lob_encoder_open(&options, &err);
    cr_assert_not_null(encoder, "%s", err ? err->message : "");
    cr_assert_eq(lob_encoder_info(encoder)->dim, 384);
    cr_assert_str_eq(lob_encoder_info(encoder)->name, "kaiko-s16");
    cr_assert(g_str_has_prefix(
        lob_encoder_info(encoder)->transform,
        "resize=bilinear:224,crop=224,mean=0.5:0.5:0.5,sd=0.5:0.5:0.5,output=class,network="));
}
