#include "encoder/conv.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool filling(const LobLoader *l) {
    return l->base && l->fill && !l->error;
}

static float *part(LobLoader *l, const char *name, const char *what, size_t n) {
    g_autofree char *full = g_strconcat(name, what, NULL);
    return lob_loader_vector(l, full, n);
}

/* [out][in][k][k] to [out][k][k][in], each output's weights times its scale. */
static void reorder(const LobConv *c, const float *from, const double *scale) {
    const size_t area = c->kernel * c->kernel;
    for (size_t o = 0; o < c->out; o++) {
        for (size_t i = 0; i < c->in; i++) {
            for (size_t p = 0; p < area; p++) {
                c->weight[(o * area + p) * c->in + i] =
                    (float)((double)from[(o * c->in + i) * area + p] * scale[o]);
            }
        }
    }
}

static void fold_norm(LobLoader *l, LobConv *c, const char *norm, double *scale) {
    const float *gain = part(l, norm, ".weight", c->out), *shift = part(l, norm, ".bias", c->out);
    g_autofree char *name = g_strconcat(norm, ".running_var", NULL);
    const float *mean = part(l, norm, ".running_mean", c->out),
                *variance = lob_loader_variances(l, name, c->out);
    c->bias = lob_loader_take(l, c->out);
    for (size_t o = 0; filling(l) && o < c->out; o++) {
        scale[o] = (double)gain[o] / sqrt((double)variance[o] + 1e-5);
        c->bias[o] = (float)((double)shift[o] - (double)mean[o] * scale[o]);
    }
}

void lob_conv_build(LobLoader *l, LobConv *c, const char *name, const char *norm, size_t in, size_t out,
                    size_t kernel, size_t stride) {
    const size_t count = out * in * kernel * kernel;
    g_autofree char *full = g_strconcat(name, ".weight", NULL);
    g_autofree double *scale = g_new(double, out);
    float *stored = lob_loader_take(l, count);
    *c = (LobConv){.in = in, .out = out, .kernel = kernel, .stride = stride};
    for (size_t o = 0; o < out; o++) {
        scale[o] = 1;
    }
    c->weight = lob_loader_take(l, count);
    lob_loader_tensor(l, stored, full, 4, out, in, kernel, kernel);
    if (norm) {
        fold_norm(l, c, norm, scale);
    } else {
        c->bias = part(l, name, ".bias", out);
    }
    if (filling(l)) {
        reorder(c, stored, scale);
    }
}

size_t lob_conv_side(const LobConv *c, size_t side) {
    return (side + 2 * (c->kernel / 2) - c->kernel) / c->stride + 1;
}

double lob_conv_flop(const LobConv *c, size_t side) {
    const double s = (double)lob_conv_side(c, side);
    return 2 * s * s * (double)(c->kernel * c->kernel * c->in) * (double)c->out;
}

/* Row (y, x) holds the kernel's neighbourhood, zeros beyond the edge. */
static void gather(const LobConv *c, const float *x, size_t side, float *columns) {
    const size_t s = lob_conv_side(c, side);
    const ptrdiff_t pad = (ptrdiff_t)(c->kernel / 2), last = (ptrdiff_t)side - 1;
    for (size_t oy = 0; oy < s; oy++) {
        for (size_t ox = 0; ox < s; ox++) {
            for (size_t ky = 0; ky < c->kernel; ky++) {
                for (size_t kx = 0; kx < c->kernel; kx++) {
                    const ptrdiff_t y = (ptrdiff_t)(oy * c->stride + ky) - pad;
                    const ptrdiff_t u = (ptrdiff_t)(ox * c->stride + kx) - pad;
                    if (y < 0 || u < 0 || y > last || u > last) {
                        memset(columns, 0, c->in * sizeof *columns);
                    } else {
                        memcpy(columns, x + ((size_t)y * side + (size_t)u) * c->in, c->in * sizeof *columns);
                    }
                    columns += c->in;
                }
            }
        }
    }
}

static void finish(float *restrict x, const float *restrict bias, size_t rows, size_t n, bool relu) {
    for (size_t r = 0; r < rows; r++, x += n) {
        for (size_t i = 0; i < n; i++) {
            const float v = x[i] + bias[i];
            x[i] = relu && v < 0 ? 0 : v;
        }
    }
}

void lob_conv_run(const LobConv *c, const float *x, size_t side, float *out, float *columns,
                  LobConvAfter after) {
    const size_t s = lob_conv_side(c, side), depth = c->kernel * c->kernel * c->in;
    const float *rows = x;
    if (c->kernel > 1 || c->stride > 1) {
        gather(c, x, side, columns);
        rows = columns;
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)(s * s), (int)c->out, (int)depth, 1, rows,
                (int)depth, c->weight, (int)depth, after == LOB_CONV_ADD_RELU ? 1 : 0, out, (int)c->out);
    finish(out, c->bias, s * s, c->out, after != LOB_CONV_PLAIN);
}

void lob_max_pool(const float *x, size_t side, size_t channels, float *out) {
    const size_t s = (side - 1) / 2 + 1;
    for (size_t oy = 0; oy < s; oy++) {
        for (size_t ox = 0; ox < s; ox++, out += channels) {
            const size_t y0 = oy ? 2 * oy - 1 : 0, x0 = ox ? 2 * ox - 1 : 0;
            memcpy(out, x + (y0 * side + x0) * channels, channels * sizeof *out);
            for (size_t y = y0; y <= MIN(2 * oy + 1, side - 1); y++) {
                for (size_t u = x0; u <= MIN(2 * ox + 1, side - 1); u++) {
                    const float *p = x + (y * side + u) * channels;
                    for (size_t c = 0; c < channels; c++) {
                        out[c] = MAX(out[c], p[c]);
                    }
                }
            }
        }
    }
}

void lob_transform_image(LobTransform *t, const uint8_t *rgb, float *out) {
    size_t stride;
    const uint8_t *pixels = lob_transform_pixels(t, rgb, &stride);
    for (int y = 0; y < t->image; y++) {
        const uint8_t *row = pixels + (size_t)y * stride;
        for (int i = 0; i < 3 * t->image; i++) {
            *out++ = t->value[i % 3][row[i]];
        }
    }
}

bool lob_allocate_floats(float **to, size_t count, GError **err) {
    void *memory = NULL;
    if (posix_memalign(&memory, 64, count * sizeof **to) != 0) {
        return lob_fail(err, LOB_ERROR_INTERNAL, "no memory for %zu MiB of activations", count >> 18);
    }
    *to = memory;
    return true;
}
