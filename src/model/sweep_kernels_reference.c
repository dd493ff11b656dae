#include "base/base.h"
#include "model/sweep_kernels.h"

#include <math.h>

static void scale_row(const uint16_t *halves, const float *mean, const float *inverse, size_t n, float *out) {
    for (size_t j = 0; j < n; j++)
        out[j] = (lob_float_from_half(halves[j]) - mean[j]) * inverse[j];
}

static void bias_relu(float *h, size_t stride, const float *bias, size_t rows, size_t n) {
    for (size_t i = 0; i < rows; i++, h += stride)
        for (size_t j = 0; j < n; j++)
            h[j] = h[j] + bias[j] > 0 ? h[j] + bias[j] : 0;
}

static void gate(float *ts, size_t stride, const float *bias, const float *c, size_t rows, size_t n,
                 float *score) {
    for (size_t i = 0; i < rows; i++, ts += stride) {
        score[i] = 0;
        for (size_t j = 0; j < n; j++) {
            ts[j] = tanhf(ts[j] + bias[j]);
            ts[n + j] = 1 / (1 + expf(-(ts[n + j] + bias[n + j])));
            score[i] += c[j] * ts[j] * ts[n + j];
        }
    }
}

static void gate_back(float *ts, size_t stride, const float *c, const float *dscore, size_t rows, size_t n,
                      float *gbias, float *gc) {
    for (size_t i = 0; i < rows; i++, ts += stride) {
        for (size_t j = 0; j < n; j++) {
            const float t = ts[j], s = ts[n + j], dg = dscore[i] * c[j];
            gc[j] += dscore[i] * t * s;
            ts[j] = dg * s * (1 - t * t);
            ts[n + j] = dg * t * s * (1 - s);
            gbias[j] += ts[j];
            gbias[n + j] += ts[n + j];
        }
    }
}

static void relu_back(float *dh, const float *h, size_t stride, const float *weight, const float *dz,
                      size_t rows, size_t n, float *gbias) {
    for (size_t i = 0; i < rows; i++, dh += stride, h += stride) {
        for (size_t j = 0; j < n; j++) {
            dh[j] = h[j] > 0 ? dh[j] + weight[i] * dz[j] : 0;
            gbias[j] += dh[j];
        }
    }
}

static float exp_sum(const float *v, float top, size_t n, float *out) {
    float sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += out[i] = expf(v[i] - top);
    return sum;
}

const LobSweepKernels lob_sweep_kernels_reference = {scale_row, bias_relu, gate,
                                                     gate_back, relu_back, exp_sum};
