/* The table of precisions, and a bare product of one of them. */
#include "encoder/gemm.h"
#include "encoder/encoder.h"

#include <stdlib.h>
#include <string.h>

const LobGemmOps *lob_gemm_find(const char *precision, GError **err) {
    const LobGemmOps *const tables[] = {&lob_gemm_fp32, &lob_gemm_bf16};
    for (size_t i = 0; i < G_N_ELEMENTS(tables); i++) {
        if (strcmp(precision, tables[i]->precision) == 0) {
            return tables[i]->usable(err) ? tables[i] : NULL;
        }
    }
    lob_fail(err, LOB_ERROR_INPUT, "encoder: precision %s is unknown; there are fp32 and bf16", precision);
    return NULL;
}

struct LobEncoderProduct {
    const LobGemmOps *ops;
    LobGemm *gemm;
    size_t m;
    float *in, *weight, *out;
};

/* Both halves of a value are the same bfloat16 in [-0.5, 0.5): it can be read as one float or as two of
 * those. */
static float *seeded(size_t n, LobRng *rng) {
    float *values = g_new(float, n);
    for (size_t i = 0; i < n; i++) {
        const float value = (float)(lob_rng_u64(rng) >> 40) * (1.0f / 16777216) - 0.5f;
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        bits = (bits & 0xffff0000) | bits >> 16;
        memcpy(values + i, &bits, sizeof bits);
    }
    return values;
}

static bool prepare(LobEncoderProduct *product, size_t n, size_t k, LobRng *rng, GError **err) {
    const size_t size = product->ops->prepared(product->gemm);
    g_autofree float *plain = seeded(n * k, rng);
    void *memory = NULL;
    if (posix_memalign(&memory, 64, (size > 0 ? size : n * k) * sizeof(float)) != 0) {
        return lob_fail(err, LOB_ERROR_INTERNAL, "no memory for a product of %zu x %zu", n, k);
    }
    product->weight = memory;
    return product->ops->prepare(product->gemm, plain, product->weight, err);
}

LobEncoderProduct *lob_encoder_product_new(const char *precision, size_t m, size_t n, size_t k,
                                           GError **err) {
    /* chained: bf16 rows come in as such, nothing is rounded on the way */
    const LobGemmShape shape = {.block = m, .n = n, .k = k, .after = LOB_GEMM_STORE, .chained = true};
    g_autoptr(LobEncoderProduct) product = g_new0(LobEncoderProduct, 1);
    LobRng rng;
    lob_rng_init(&rng, 1, "product");
    product->m = m;
    product->ops = lob_gemm_find(precision, err);
    if (!product->ops || !(product->gemm = product->ops->open(&shape, err)) ||
        !prepare(product, n, k, &rng, err)) {
        return NULL;
    }
    product->in = seeded(m * k, &rng);
    product->out = g_new0(float, m *n);
    return g_steal_pointer(&product);
}

bool lob_encoder_product_run(LobEncoderProduct *product, GError **err) {
    return product->ops->run(product->gemm, product->weight, NULL, product->in, product->out, product->m,
                             err);
}

void lob_encoder_product_free(LobEncoderProduct *product) {
    if (!product) {
        return;
    }
    if (product->gemm) {
        product->ops->free(product->gemm);
    }
    free(product->weight);
    g_free(product->in);
    g_free(product->out);
    g_free(product);
}
