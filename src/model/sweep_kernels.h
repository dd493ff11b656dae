/* The element-wise work of gated attention, fused: each value is read and written once. Private to the sweep
 * and its tests; a plain reference is in sweep_kernels_reference.c. Matrices are row-major; `stride` counts
 * floats between rows. */
#ifndef LOB_SWEEP_KERNELS_H
#define LOB_SWEEP_KERNELS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    /* out[n] = (half - mean) * inverse: one tile. */
    void (*scale_row)(const uint16_t *halves, const float *mean, const float *inverse, size_t n, float *out);
    /* h[rows][n] = max(h + bias, 0). */
    void (*bias_relu)(float *h, size_t stride, const float *bias, size_t rows, size_t n);
    /* ts[rows][2 n]: both gates before their bias [2 n] become tanh and sigmoid; score[rows] is the sum of
     * c tanh sigmoid. */
    void (*gate)(float *ts, size_t stride, const float *bias, const float *c, size_t rows, size_t n,
                 float *score);
    /* From tanh and sigmoid in ts and the gradient of the score: ts becomes the gradient before the bias;
     * adds to gbias[2 n] and gc[n]. */
    void (*gate_back)(float *ts, size_t stride, const float *c, const float *dscore, size_t rows, size_t n,
                      float *gbias, float *gc);
    /* dh[rows][n] = dh + weight[row] dz where h > 0, else 0; adds the columns' sums to gbias[n]. */
    void (*relu_back)(float *dh, const float *h, size_t stride, const float *weight, const float *dz,
                      size_t rows, size_t n, float *gbias);
    /* v[n] = exp(v - top); returns the sum. */
    float (*exp_sum)(const float *v, float top, size_t n, float *out);
} LobSweepKernels;

/* For this CPU. */
const LobSweepKernels *lob_sweep_kernels(void);
extern const LobSweepKernels lob_sweep_kernels_reference;

#endif
