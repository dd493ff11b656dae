/* Single precision, the reference: weights are taken as they are. */
#include "encoder/gemm.h"
#include "encoder/kernels.h"

#include <cblas.h>
#include <string.h>

struct LobGemm {
    LobGemmShape shape;
    bool apart; /* blocks one by one */
};

/* Whether this processor's kernels give a block of rows the same bits behind another block as alone. Those
 * for AVX-512 do; those for AVX2 sum the last rows of a call in another order. */
static bool block_is_itself(size_t block) {
    enum { N = 64, K = 64 };
    g_autofree float *in = g_new(float, 2 * block * K), *weight = g_new(float, N *K);
    g_autofree float *both = g_new(float, 2 * block * N), *alone = g_new(float, block *N);
    LobRng rng;
    lob_rng_init(&rng, 1, "block");
    for (size_t i = 0; i < 2 * block * K; i++) {
        in[i] = (float)lob_rng_uniform(&rng) - 0.5f;
    }
    for (size_t i = 0; i < (size_t)N * K; i++) {
        weight[i] = (float)lob_rng_uniform(&rng) - 0.5f;
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)(2 * block), N, K, 1, in, K, weight, K, 0, both,
                N);
    for (size_t b = 0; b < 2; b++) {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)block, N, K, 1, in + b * block * K, K,
                    weight, K, 0, alone, N);
        if (memcmp(alone, both + b * block * N, block * N * sizeof *alone) != 0) {
            return false;
        }
    }
    return true;
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
    gemm->apart = !block_is_itself(shape->block);
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
    const size_t rows = gemm->apart ? s->block : m;
    (void)err;
    for (size_t r = 0; r < m; r += rows) {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)s->n, (int)s->k, 1,
                    (const float *)in + r * s->in_stride, (int)s->in_stride, weight, (int)s->k,
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

const LobGemmOps lob_gemm_fp32 = {"fp32", always, blas_open, as_it_is, blas_prepare, blas_run, blas_free};
