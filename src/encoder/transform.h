/* From tiles to what networks are fed: Pillow's antialiased 8-bit resize, centre crop, mean and SD. Only
 * src/encoder and its tests include this. */
#ifndef LOB_ENCODER_TRANSFORM_H
#define LOB_ENCODER_TRANSFORM_H

#include "encoder/preset.h"

typedef struct LobResize LobResize;

typedef enum { LOB_FILTER_BILINEAR, LOB_FILTER_BICUBIC } LobFilter;

/* Interleaved RGB of in_width x in_height to out_width x out_height; bit-identical to Pillow's Image.resize.
 */
LobResize *lob_resize_new(int in_width, int in_height, int out_width, int out_height, LobFilter filter);
void lob_resize_run(LobResize *resize, const uint8_t *in, uint8_t *out);
void lob_resize_free(LobResize *resize);

typedef struct {
    LobResize *resize; /* NULL: the tile already has the size */
    int tile, scaled, image;
    uint8_t *pixels;     /* [scaled][scaled][3] */
    float value[3][256]; /* (v / 255 - mean) / sd */
    char *description;   /* as recorded in stores, with what decides the features beside it */
} LobTransform;

/* The preset's transform for tiles of `tile` px a side; INPUT where the preset's sizes do not fit together.
 */
bool lob_transform_init(LobTransform *t, const LobPreset *preset, int tile, GError **err);
void lob_transform_clear(LobTransform *t);
/* The tile as [image][image][3] bytes (t->image), pointing into `rgb` or into t. `stride` is in bytes. */
const uint8_t *lob_transform_pixels(LobTransform *t, const uint8_t *rgb, size_t *stride);
/* Rows of patches [grid * grid][3 * patch * patch], each channel, row, column as a convolution's weights are.
 */
void lob_transform_patches(LobTransform *t, const uint8_t *rgb, int patch, float *out);

#endif
