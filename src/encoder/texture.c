#include "encoder/encoder_internal.h"
#include "encoder/texture_internal.h"

#include <string.h>

typedef struct {
    LobEncoder base;
    LobTexture tile;
} TextureEncoder;

bool lob_texture_supported(int size, double mpp, GError **err) {
    if (!(mpp >= 0.2 && mpp <= 1.2)) {
        return lob_fail(err, LOB_ERROR_INPUT,
                        "encoder texture: tiles of %g um/px; nuclei need 0.2 to 1.2 (set tiles: mpp, 0.5 is "
                        "usual)",
                        mpp);
    }
    if (size < 32 || size > 4096) {
        return lob_fail(err, LOB_ERROR_INPUT,
                        "encoder texture: tiles of %d px; 32 to 4096 are possible (set tiles: size)", size);
    }
    return true;
}

void lob_texture_init(LobTexture *t, int size, double mpp) {
    const size_t n = (size_t)size * (size_t)size;
    *t = (LobTexture){.size = size, .pixels = n, .mpp = mpp, .nucleus_capacity = n / 16 + 16};
    t->tissue = g_new0(uint8_t, n);
    t->mask = g_new0(uint8_t, n);
    t->scratch8 = g_new0(uint8_t, n);
    t->hema = g_new0(float, n);
    t->eosin = g_new0(float, n);
    t->grey = g_new0(float, n);
    t->smooth = g_new0(float, n);
    t->background = g_new0(float, n);
    t->a = g_new0(float, n);
    t->b = g_new0(float, n);
    t->line = g_new0(float, 4 * (size_t)size + 256);
    t->label = g_new0(int32_t, n);
    t->order = g_new0(uint32_t, n);
    t->queue = g_new0(uint32_t, n);
    t->basin_peak = g_new0(float, n);
    t->basin_parent = g_new0(int32_t, n);
    t->nuclei = g_new0(LobTextureNucleus, t->nucleus_capacity);
    t->moments = g_new0(LobTextureMoments, t->nucleus_capacity);
    t->values = g_new0(float, t->nucleus_capacity);
}

void lob_texture_clear(LobTexture *t) {
    g_free(t->tissue);
    g_free(t->mask);
    g_free(t->scratch8);
    g_free(t->hema);
    g_free(t->eosin);
    g_free(t->grey);
    g_free(t->smooth);
    g_free(t->background);
    g_free(t->a);
    g_free(t->b);
    g_free(t->line);
    g_free(t->label);
    g_free(t->order);
    g_free(t->queue);
    g_free(t->basin_peak);
    g_free(t->basin_parent);
    g_free(t->nuclei);
    g_free(t->moments);
    g_free(t->values);
    memset(t, 0, sizeof *t);
}

static void find_nuclei(LobTexture *t, const uint8_t *rgb) {
    lob_texture_stains(t, rgb);
    lob_texture_segment(t);
    lob_texture_measure(t);
}

static bool texture_encode(LobEncoder *encoder, const uint8_t *rgb, size_t n, float *out, LobEncoderTick tick,
                           void *user, GError **err) {
    TextureEncoder *self = (TextureEncoder *)encoder;
    LobTexture *t = &self->tile;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *tile = rgb + i * 3 * t->pixels;
        if (tick && !tick(user)) {
            return lob_fail(err, LOB_ERROR_STOPPED, "encoder texture: stopped inside a batch");
        }
        find_nuclei(t, tile);
        lob_texture_features(t, tile, out + i * (size_t)encoder->info.dim);
    }
    return true;
}

static void texture_free(LobEncoder *encoder) {
    TextureEncoder *self = (TextureEncoder *)encoder;
    lob_texture_clear(&self->tile);
    g_free(self);
}

LobEncoder *lob_texture_open(const LobEncoderOptions *options, GError **err) {
    static const LobEncoderOps ops = {.encode = texture_encode, .free = texture_free};
    if (options->weights) {
        lob_fail(err, LOB_ERROR_INPUT, "encoder texture has no weights, yet %s is given (set weights: null)",
                 options->weights);
        return NULL;
    }
    if (options->precision && strcmp(options->precision, "fp32") != 0) {
        lob_fail(err, LOB_ERROR_INPUT, "encoder texture knows precision fp32, not %s", options->precision);
        return NULL;
    }
    if (!lob_texture_supported(options->tile_size, options->mpp, err)) {
        return NULL;
    }
    TextureEncoder *self = g_new0(TextureEncoder, 1);
    self->base = (LobEncoder){.ops = &ops,
                              .info = {.name = "texture",
                                       .weights_sha256 = "",
                                       .transform = "none",
                                       .precision = "fp32",
                                       .dim = (int)lob_texture_column_count(),
                                       .columns = lob_texture_columns},
                              .batch = MAX(options->batch, 1)};
    lob_texture_init(&self->tile, options->tile_size, options->mpp);
    return &self->base;
}

size_t lob_texture_nuclei(const uint8_t *rgb, int size, double mpp, LobNucleus *nuclei, size_t max) {
    LobTexture t;
    if (!lob_texture_supported(size, mpp, NULL)) {
        return 0;
    }
    lob_texture_init(&t, size, mpp);
    find_nuclei(&t, rgb);
    const size_t count = t.nucleus_count;
    for (size_t i = 0; i < MIN(count, max); i++) {
        const LobTextureNucleus *n = &t.nuclei[i];
        nuclei[i] = (LobNucleus){.x = n->x,
                                 .y = n->y,
                                 .area_um2 = n->area,
                                 .eccentricity = n->eccentricity,
                                 .darkness = n->darkness,
                                 .lymphocyte = n->lympho >= 0.5f};
    }
    lob_texture_clear(&t);
    return count;
}
