/* Pieces that aggregators share. */
#include "model/model_internal.h"

void lob_linear(const lob_real *x, size_t n, size_t in, const lob_real *w, const lob_real *b, size_t out,
                lob_real *y) {
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < out; j++)
            y[i * out + j] = b[j];
    LOB_GEMM(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)out, (int)in, 1, x, (int)in, w, (int)in, 1,
             y, (int)out);
}

void lob_linear_backward(const lob_real *x, size_t n, size_t in, const lob_real *w, size_t out,
                         const lob_real *dy, lob_real *dw, lob_real *db, lob_real *dx) {
    LOB_GEMM(CblasRowMajor, CblasTrans, CblasNoTrans, (int)out, (int)in, (int)n, 1, dy, (int)out, x, (int)in,
             1, dw, (int)in);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < out; j++)
            db[j] += dy[i * out + j];
    if (dx)
        LOB_GEMM(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n, (int)in, (int)out, 1, dy, (int)out, w,
                 (int)in, 1, dx, (int)in);
}

void lob_linear_init(LobRng *rng, size_t in, size_t out, lob_real *w, lob_real *b) {
    double bound = 1 / sqrt((double)in);
    for (size_t i = 0; i < in * out; i++)
        w[i] = (lob_real)((2 * lob_rng_uniform(rng) - 1) * bound);
    for (size_t j = 0; b && j < out; j++)
        b[j] = (lob_real)((2 * lob_rng_uniform(rng) - 1) * bound);
}

void lob_softmax(lob_real *v, size_t n) {
    lob_real top = v[0], sum = 0;
    for (size_t i = 1; i < n; i++)
        top = v[i] > top ? v[i] : top;
    for (size_t i = 0; i < n; i++)
        sum += v[i] = LOB_EXP(v[i] - top);
    for (size_t i = 0; i < n; i++)
        v[i] /= sum;
}
