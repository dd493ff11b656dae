/* Element-wise kernels of the networks, each beside a plain reference. Only src/encoder and its tests include
 * this.
 *
 * Vectors of 16 floats are compiled for each instruction set; since nothing is contracted or reordered beyond
 * what is written here, results do not depend on which one runs. Matrices are row-major with a stride in
 * elements. */
#ifndef LOB_ENCODER_KERNELS_H
#define LOB_ENCODER_KERNELS_H

#include <stddef.h>

/* x[rows][n] += bias[n] (bias may be NULL), then out = (x - mean) / sqrt(var + eps) * gain + shift per row. x
 * keeps the sum. */
void lob_layer_norm(float *x, const float *bias, const float *gain, const float *shift, float eps,
                    size_t rows, size_t n, float *out);
void lob_layer_norm_reference(float *x, const float *bias, const float *gain, const float *shift, float eps,
                              size_t rows, size_t n, float *out);

/* x[rows][n] = gelu(x + bias), gelu(v) = v / 2 (1 + erf(v / sqrt 2)). */
void lob_bias_gelu(float *x, const float *bias, size_t rows, size_t n);
void lob_bias_gelu_reference(float *x, const float *bias, size_t rows, size_t n);

/* x[rows][2n] with stride 2n: the first half of a row becomes silu(a + bias) * (b + bias'), a and b its
 * halves. */
void lob_bias_swiglu(float *x, const float *bias, size_t rows, size_t n);
void lob_bias_swiglu_reference(float *x, const float *bias, size_t rows, size_t n);

/* x[rows][n] = exp(x - row maximum); the rows' sums go to sums[rows]. */
void lob_softmax_exp(float *x, size_t rows, size_t n, float *sums);
void lob_softmax_exp_reference(float *x, size_t rows, size_t n, float *sums);

/* x[rows][n] with `stride`: each row by scale[row]'s inverse; or every value (x + bias) * scale. */
void lob_divide_rows(float *x, size_t stride, const float *divisor, size_t rows, size_t n);
void lob_bias_scale(float *x, size_t stride, const float *bias, float scale, size_t rows, size_t n);

#endif
