#include "encoder/blas.h"
#include "encoder/encoder_internal.h"
#include "encoder/loader.h"

#include <string.h>

typedef struct {
    const char *name;
    LobEncoder *(*open)(const LobEncoderOptions *options, GError **err);
} LobEncoderEntry;

/* Encoders without weights. */
static const LobEncoderEntry ENCODERS[] = {
    {"texture", lob_texture_open},
};

typedef struct {
    const char *name;
    LobEncoder *(*open)(const LobEncoderOptions *options, LobPreset *preset, GError **err);
} LobNetworkEntry;

/* Networks that presets name. */
static const LobNetworkEntry NETWORKS[] = {
    {"vit", lob_vit_open},
    {"swin", lob_swin_open},
    {"resnet50", lob_resnet_open},
};

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static const char *const *collect_names(void) {
    GPtrArray *names = g_ptr_array_new(), *presets = g_ptr_array_new();
    const char *folder = lob_preset_folder();
    g_autoptr(GDir) dir = folder ? g_dir_open(folder, 0, NULL) : NULL;
    const char *file;
    for (size_t i = 0; i < G_N_ELEMENTS(ENCODERS); i++) {
        g_ptr_array_add(names, g_strdup(ENCODERS[i].name));
    }
    while (dir && (file = g_dir_read_name(dir)) != NULL) {
        if (g_str_has_suffix(file, ".yaml")) {
            g_ptr_array_add(presets, lob_path_stem(file, ".yaml"));
        }
    }
    g_ptr_array_sort(presets, compare_names);
    g_ptr_array_extend_and_steal(names, presets);
    g_ptr_array_add(names, NULL);
    return (const char *const *)g_ptr_array_free(names, FALSE);
}

const char *const *lob_encoder_names(void) {
    static gsize once;
    static const char *const *names;
    if (g_once_init_enter(&once)) {
        names = collect_names();
        g_once_init_leave(&once, 1);
    }
    return names;
}

/* A name beside a preset of one's own may say the network or repeat the preset; any other would be ignored.
 */
static bool check_name(const LobEncoderOptions *options, const LobPreset *preset, GError **err) {
    if (!options->config || !options->name || strcmp(options->name, preset->name) == 0 ||
        g_strcmp0(options->name, preset->network) == 0) {
        return true;
    }
    return lob_fail(err, LOB_ERROR_INPUT,
                    "encoder: name is %s, but config %s is a preset of network %s; leave name out, or give "
                    "the network's or the preset's (%s)",
                    options->name, options->config, preset->network ? preset->network : "(none)",
                    preset->name);
}

static bool check_options(const LobEncoderOptions *options, const LobPreset *preset, GError **err) {
    const bool plain = !options->precision || strcmp(options->precision, "fp32") == 0;
    if (!plain && g_strcmp0(preset->network, "vit") != 0) {
        return lob_fail(err, LOB_ERROR_INPUT,
                        "encoder %s: precision %s is for network vit; this one has fp32", preset->name,
                        options->precision);
    }
    if (!lob_blas_ready(err)) {
        return false;
    }
    const double advised = preset->recommended_mpp;
    if (advised > 0 && (options->mpp < 0.9 * advised || options->mpp > 1.1 * advised)) {
        lob_warning("encoder %s was made for %g um/px, tiles have %g", preset->name, advised, options->mpp);
    }
    return true;
}

/* Passes a node's memory on and remembers that it was asked for. */
typedef struct {
    const LobEncoderMemory *memory;
    bool asked;
} Asked;

static void *note_alloc(void *user, size_t size, bool *fill, GError **err) {
    Asked *asked = user;
    asked->asked = true;
    return asked->memory->alloc(asked->memory->user, size, fill, err);
}

static void note_ready(void *user) {
    const Asked *asked = user;
    if (asked->memory->ready) {
        asked->memory->ready(asked->memory->user);
    }
}

static LobEncoder *open_network(const LobEncoderOptions *options, const char *path, GError **err) {
    g_autoptr(LobPreset) preset = lob_preset_read(path, err);
    if (!preset || !check_name(options, preset, err) || !check_options(options, preset, err)) {
        return NULL;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(NETWORKS); i++) {
        if (g_strcmp0(preset->network, NETWORKS[i].name) == 0) {
            return NETWORKS[i].open(options, g_steal_pointer(&preset), err);
        }
    }
    lob_fail(err, LOB_ERROR_INPUT, "%s: no network is named, or one this build lacks", path);
    return NULL;
}

/* Getting a node's memory is collective: a process that fails earlier still takes part, or the others would
 * wait for ever. */
static LobEncoder *open_shared(const LobEncoderOptions *options, const char *path, GError **err) {
    Asked asked = {.memory = options->memory};
    const LobEncoderMemory memory = {note_alloc, note_ready, &asked};
    LobEncoderOptions passed = *options;
    GError *failure = NULL;
    passed.memory = &memory;
    LobEncoder *encoder = open_network(&passed, path, &failure);
    if (encoder) {
        return encoder;
    }
    if (!asked.asked) {
        lob_prepare_join(options->memory, failure);
    }
    g_propagate_error(err, failure);
    return NULL;
}

LobEncoder *lob_encoder_open(const LobEncoderOptions *options, GError **err) {
    for (size_t i = 0; !options->config && i < G_N_ELEMENTS(ENCODERS); i++) {
        if (strcmp(options->name, ENCODERS[i].name) == 0) {
            return ENCODERS[i].open(options, err);
        }
    }
    g_autofree char *path = options->config ? g_strdup(options->config) : lob_preset_find(options->name);
    if (path) {
        return options->memory ? open_shared(options, path, err) : open_network(options, path, err);
    }
    g_autofree char *known = g_strjoinv(", ", (char **)(void *)(uintptr_t)lob_encoder_names());
    lob_fail(err, LOB_ERROR_INPUT, "encoder %s is unknown; there are: %s; or give config: PRESET.yaml",
             options->name, known);
    return NULL;
}

size_t lob_encoder_batch(const LobEncoderOptions *options) {
    return options->describe ? 0 : MAX(options->batch, 1);
}

LobEncoderCost lob_encoder_cost(const LobEncoder *encoder) {
    return encoder->cost;
}

void lob_encoder_charge(LobEncoder *encoder, size_t stage) {
    const double now = lob_clock();
    encoder->stages[stage].seconds += now - encoder->charged;
    encoder->charged = now;
}

const LobEncoderInfo *lob_encoder_info(const LobEncoder *encoder) {
    return &encoder->info;
}

bool lob_encoder_encode(LobEncoder *encoder, const uint8_t *rgb, size_t n, float *out, LobEncoderTick tick,
                        void *user, GError **err) {
    if (encoder->batch == 0) {
        return lob_fail(err, LOB_ERROR_INTERNAL, "encoder %s was opened to be described, not to encode",
                        encoder->info.name);
    }
    if (n < 1 || n > encoder->batch) {
        return lob_fail(err, LOB_ERROR_INTERNAL, "encoder %s: a batch of %zu tiles where 1 to %zu are taken",
                        encoder->info.name, n, encoder->batch);
    }
    encoder->charged = lob_clock();
    return encoder->ops->encode(encoder, rgb, n, out, tick, user, err);
}

bool lob_encoder_probe(LobEncoder *encoder, const uint8_t *rgb, float *out, GError **err) {
    if (encoder->batch == 0 || !encoder->ops->probe) {
        return lob_encoder_encode(encoder, rgb, 1, out, NULL, NULL, err);
    }
    return encoder->ops->probe(encoder, rgb, out, err);
}

void lob_encoder_free(LobEncoder *encoder) {
    if (encoder) {
        encoder->ops->free(encoder);
    }
}
