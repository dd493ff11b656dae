/* Convolutions on images with channels last, as products with rows of gathered neighbourhoods. Only
 * src/encoder includes this. */
#ifndef LOB_ENCODER_CONV_H
#define LOB_ENCODER_CONV_H

#include "encoder/loader.h"
#include "encoder/transform.h"

/* A batch norm behind it is folded into weight and bias at loading. Padding is kernel / 2. */
typedef struct {
    size_t in, out, kernel, stride;
    float *weight; /* [out][kernel][kernel][in] */
    float *bias;   /* [out] */
} LobConv;

typedef enum { LOB_CONV_PLAIN, LOB_CONV_RELU, LOB_CONV_ADD_RELU } LobConvAfter;

/* Tensors conv.weight ([out][in][k][k]) and either norm.* or, where norm is NULL, conv.bias. */
void lob_conv_build(LobLoader *loader, LobConv *conv, const char *name, const char *norm, size_t in,
                    size_t out, size_t kernel, size_t stride);
size_t lob_conv_side(const LobConv *conv, size_t side);
/* Multiply-adds for an input of that side, two each. */
double lob_conv_flop(const LobConv *conv, size_t side);
/* x [side][side][in] to out [s][s][out], s = lob_conv_side; ADD adds to what is in out. `columns` has room
 * for s * s * kernel * kernel * in floats (unused where kernel and stride are 1). */
void lob_conv_run(const LobConv *conv, const float *x, size_t side, float *out, float *columns,
                  LobConvAfter after);
/* 3 x 3 maximum at stride 2, padding 1. */
void lob_max_pool(const float *x, size_t side, size_t channels, float *out);
/* The normalised tile, channels last: [image][image][3]. */
void lob_transform_image(LobTransform *t, const uint8_t *rgb, float *out);
bool lob_allocate_floats(float **to, size_t count, GError **err);

#endif
