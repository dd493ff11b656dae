/* Single precision, the reference: weights are taken as they are. */
#include "encoder/gemm.h"
#include "encoder/kernels.h"

#include <cblas.h>
#include <string.h>

struct LobGemm {
    LobGemmShape shape;
};

static bool always(GError **err) {
    (void)err;
    return true;
}

static LobGemm *blas_open(const LobGemmShape *shape, GError **err) {
    (void)err;
    LobGemm *gemm = g_new0(LobGemm, 1);
    gemm->shape = *shape;
    gemm->shape.in_stride = shape->in_stride > 0 ? shape->in_stride : shape->k;
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
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)s->n, (int)s->k, 1, in,
                (int)s->in_stride, weight, (int)s->k, s->after == LOB_GEMM_ADD ? 1 : 0, out, (int)s->n);
    if (s->after == LOB_GEMM_BIAS_GELU) {
        lob_bias_gelu(out, bias, m, s->n);
    }
    return true;
}

static void blas_free(LobGemm *gemm) {
    g_free(gemm);
}

const LobGemmOps lob_gemm_fp32 = {"fp32", always, blas_open, as_it_is, blas_prepare, blas_run, blas_free};
