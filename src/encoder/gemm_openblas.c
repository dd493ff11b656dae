/* Single precision, the reference: weights are taken as they are. */
#include "encoder/gemm.h"
#include "encoder/kernels.h"

#include <cblas.h>
#include <string.h>

struct LobGemm {
    LobGemmShape shape;
    size_t rows; /* of a call: of one block where blocks have to go one by one */
};

/* Rows that a kernel for AVX2 takes together, and rows of a call that are surely one piece to it. */
enum { GROUP = 12, MOST_ROWS = 8192 };

/* Whether this processor's kernels give a block of rows the same bits behind another block as alone. Those
 * for AVX-512 do; those for AVX2 sum a row by its place in a group of rows. */
static bool block_is_itself(size_t block, size_t n, size_t k) {
    g_autofree float *in = g_new(float, 2 * block * k), *weight = g_new(float, n *k);
    g_autofree float *both = g_new(float, 2 * block * n), *alone = g_new(float, block *n);
    LobRng rng;
    lob_rng_init(&rng, 1, "block");
    for (size_t i = 0; i < 2 * block * k; i++) {
        in[i] = (float)lob_rng_uniform(&rng) - 0.5f;
    }
    for (size_t i = 0; i < n * k; i++) {
        weight[i] = (float)lob_rng_uniform(&rng) - 0.5f;
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)(2 * block), (int)n, (int)k, 1, in, (int)k,
                weight, (int)k, 0, both, (int)n);
    for (size_t b = 0; b < 2; b++) {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)block, (int)n, (int)k, 1,
                    in + b * block * k, (int)k, weight, (int)k, 0, alone, (int)n);
        if (memcmp(alone, both + b * block * n, block * n * sizeof *alone) != 0) {
            return false;
        }
    }
    return true;
}

static size_t whole_groups(size_t rows) {
    enum { N = 64, K = 64 };
    const size_t padded = (rows + GROUP - 1) / GROUP * GROUP;
    return !block_is_itself(rows, N, K) && block_is_itself(padded, N, K) ? padded : rows;
}

static bool always(GError **err) {
    (void)err;
    return true;
}

static LobGemm *blas_open(const LobGemmShape *shape, GError **err) {
    (void)err;
    LobGemm *gemm = g_new0(LobGemm, 1);
    gemm->shape = *shape;
    gemm->shape.in_stride = shape->in_stride > 0 ? shape->in_stride : shape->k;
    gemm->rows = shape->block;
    if (block_is_itself(shape->block, MIN(shape->n, 64), shape->k)) {
        gemm->rows *= MAX(1, MOST_ROWS / shape->block);
    }
    return gemm;
}

static size_t as_it_is(const LobGemm *gemm) {
    (void)gemm;
    return 0;
}

static bool blas_prepare(const LobGemm *gemm, const float *weight, float *to, GError **err) {
    (void)err;
    memcpy(to, weight, gemm->shape.n * gemm->shape.k * sizeof *to);
    return true;
}

static bool blas_run(LobGemm *gemm, const float *weight, const float *bias, const void *in, void *out,
                     size_t m, GError **err) {
    const LobGemmShape *s = &gemm->shape;
    (void)err;
    for (size_t r = 0; r < m; r += gemm->rows) {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)MIN(gemm->rows, m - r), (int)s->n,
                    (int)s->k, 1, (const float *)in + r * s->in_stride, (int)s->in_stride, weight, (int)s->k,
                    s->after == LOB_GEMM_ADD ? 1 : 0, (float *)out + r * s->n, (int)s->n);
    }
    if (s->after == LOB_GEMM_BIAS_GELU) {
        lob_bias_gelu(out, bias, m, s->n);
    }
    return true;
}

static void blas_free(LobGemm *gemm) {
    g_free(gemm);
}

const LobGemmOps lob_gemm_fp32 = {"fp32",   always,       whole_groups, blas_open,
                                  as_it_is, blas_prepare, blas_run,     blas_free};
