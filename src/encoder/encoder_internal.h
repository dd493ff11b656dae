/* The encoders' table of functions. Only src/encoder includes this. */
#ifndef LOB_ENCODER_INTERNAL_H
#define LOB_ENCODER_INTERNAL_H

#include "encoder/encoder.h"
#include "encoder/preset.h"

typedef struct {
    bool (*encode)(LobEncoder *encoder, const uint8_t *rgb, size_t n, float *out, LobEncoderTick tick,
                   void *user, GError **err);
    void (*free)(LobEncoder *encoder);
    bool (*probe)(LobEncoder *encoder, const uint8_t *rgb, float *out, GError **err); /* NULL: encode */
} LobEncoderOps;

/* Every encoder's struct begins with this. */
struct LobEncoder {
    const LobEncoderOps *ops;
    LobEncoderInfo info;
    size_t batch; /* 0: opened to describe */
    LobEncoderCost cost;
    LobEncoderStage *stages; /* cost.stages, to be written */
    double charged;          /* lob_clock() until which time is charged to stages */
};

/* Charges the time since the last call (or since encoding began) to a stage. */
void lob_encoder_charge(LobEncoder *encoder, size_t stage);
/* Tiles a call, 0 where it is opened to describe. */
size_t lob_encoder_batch(const LobEncoderOptions *options);

LobEncoder *lob_texture_open(const LobEncoderOptions *options, GError **err);
/* Networks take ownership of the preset, also where they fail. */
LobEncoder *lob_vit_open(const LobEncoderOptions *options, LobPreset *preset, GError **err);
LobEncoder *lob_swin_open(const LobEncoderOptions *options, LobPreset *preset, GError **err);
LobEncoder *lob_resnet_open(const LobEncoderOptions *options, LobPreset *preset, GError **err);

#endif
