/* The kernels by their definitions, in double: what the fast ones are tested against. */
#include "encoder/kernels.h"

#include <math.h>

void lob_layer_norm_reference(float *x, const float *bias, const float *gain, const float *shift, float eps,
                              size_t rows, size_t n, float *out) {
    for (size_t r = 0; r < rows; r++, x += n, out += n) {
        double mean = 0, variance = 0;
        for (size_t i = 0; i < n; i++) {
            x[i] += bias ? bias[i] : 0;
            mean += (double)x[i] / (double)n;
        }
        for (size_t i = 0; i < n; i++) {
            variance += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)n;
        }
        for (size_t i = 0; i < n; i++) {
            out[i] = (float)(((double)x[i] - mean) / sqrt(variance + (double)eps) * (double)gain[i] +
                             (double)shift[i]);
        }
    }
}

void lob_bias_gelu_reference(float *x, const float *bias, size_t rows, size_t n) {
    for (size_t i = 0; i < rows * n; i++) {
        const double v = (double)x[i] + (double)bias[i % n];
        x[i] = (float)(v / 2 * (1 + erf(v / sqrt(2))));
    }
}

void lob_bias_swiglu_reference(float *x, const float *bias, size_t rows, size_t n) {
    for (size_t r = 0; r < rows; r++, x += 2 * n) {
        for (size_t i = 0; i < n; i++) {
            const double a = (double)x[i] + (double)bias[i], b = (double)x[n + i] + (double)bias[n + i];
            x[i] = (float)(a / (1 + exp(-a)) * b);
        }
    }
}

void lob_softmax_exp_reference(float *x, size_t rows, size_t n, float *sums) {
    for (size_t r = 0; r < rows; r++, x += n) {
        double most = (double)x[0], sum = 0;
        for (size_t i = 1; i < n; i++) {
            most = fmax(most, (double)x[i]);
        }
        for (size_t i = 0; i < n; i++) {
            x[i] = (float)exp((double)x[i] - most);
            sum += (double)x[i];
        }
        sums[r] = (float)sum;
    }
}
