#include "encoder/encoder_internal.h"

#include <string.h>

typedef struct {
    const char *name;
    LobEncoder *(*open)(const LobEncoderOptions *options, GError **err);
} LobEncoderEntry;

static const LobEncoderEntry ENCODERS[] = {
    {"texture", lob_texture_open},
};

const char *const *lob_encoder_names(void) {
    static const char *names[G_N_ELEMENTS(ENCODERS) + 1];
    for (size_t i = 0; i < G_N_ELEMENTS(ENCODERS); i++) {
        names[i] = ENCODERS[i].name;
    }
    return names;
}

LobEncoder *lob_encoder_open(const LobEncoderOptions *options, GError **err) {
    for (size_t i = 0; i < G_N_ELEMENTS(ENCODERS); i++) {
        if (strcmp(options->name, ENCODERS[i].name) == 0) {
            return ENCODERS[i].open(options, err);
        }
    }
    g_autofree char *known = g_strjoinv(", ", (char **)(void *)lob_encoder_names());
    lob_fail(err, LOB_ERROR_INPUT, "encoder %s is unknown; there are: %s", options->name, known);
    return NULL;
}

const LobEncoderInfo *lob_encoder_info(const LobEncoder *encoder) {
    return &encoder->info;
}

bool lob_encoder_encode(LobEncoder *encoder, const uint8_t *rgb, size_t n, float *out, LobEncoderTick tick,
                        void *user, GError **err) {
    if (n < 1 || n > encoder->batch) {
        return lob_fail(err, LOB_ERROR_INTERNAL, "encoder %s: a batch of %zu tiles where 1 to %zu are taken",
                        encoder->info.name, n, encoder->batch);
    }
    return encoder->ops->encode(encoder, rgb, n, out, tick, user, err);
}

void lob_encoder_free(LobEncoder *encoder) {
    if (encoder) {
        encoder->ops->free(encoder);
    }
}
