/* Products in bfloat16 by oneDNN: weights are reordered once into the library's own layout, activations are
 * rounded a block of rows at a time, sums are fp32. Each block is one call of one fixed shape, so that its
 * values cannot depend on how many tiles a batch has.
 *
 * Why this library: over ViT-L's shapes on Zen 4, libxsmm 1.17's batch-reduce kernels measured from 7 %
 * slower to 5 % faster than it, without bias and GELU in the product and without its layouts for AMX. */
#include "encoder/gemm.h"

#ifndef LOB_HAVE_ONEDNN

static bool unusable(GError **err) {
    return lob_fail(err, LOB_ERROR_INPUT,
                    "encoder: precision bf16 needs oneDNN 2 or 3 (Debian: libdnnl-dev), and this lobule was "
                    "built without it; use fp32 or build again");
}

const LobGemmOps lob_gemm_bf16 = {.precision = "bf16", .usable = unusable};

#else

#include <dnnl.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ARGUMENTS = 4 };

struct LobGemm {
    LobGemmShape shape;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_desc_t described;
    dnnl_primitive_t product;
    dnnl_memory_t in, weight, bias, out;
    uint16_t *rounded; /* [block][k] bf16; NULL where chained */
};

static bool failed(dnnl_status_t status, const char *what, GError **err) {
    return status != dnnl_success &&
           !lob_fail(err, LOB_ERROR_INTERNAL, "oneDNN: %s failed with status %d", what, (int)status);
}

static bool bf16_usable(GError **err) {
#ifdef __x86_64__
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512bf16")) {
        /* the library would start a thread a core; a rank has one */
        omp_set_num_threads(1);
        return true;
    }
#endif
    return lob_fail(err, LOB_ERROR_INPUT,
                    "encoder: precision bf16 needs a CPU with AVX512-BF16 (or AMX), and this one has not; "
                    "use fp32");
}

/* Blocks go one by one. */
static size_t close_together(size_t rows) {
    return rows;
}

#ifdef __x86_64__
__attribute__((target("avx512f,avx512bw,avx512vl"), optimize("O3")))
#endif
static void
round_rows(const float *in, uint16_t *out, size_t n) {
    uint32_t bits;
    for (size_t i = 0; i < n; i++) {
        memcpy(&bits, in + i, sizeof bits);
        /* to the nearest, ties to even; the sum below would carry a NaN into the sign */
        const uint32_t nearest = bits + 0x7fff + ((bits >> 16) & 1);
        out[i] = (uint16_t)(((bits & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : nearest) >> 16);
    }
}

/* ---- what versions 2 and 3 of the library say differently ---- */

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t Layout;
typedef const_dnnl_memory_desc_t KnownLayout;

static dnnl_status_t layout_new(Layout *to, const dnnl_dims_t dims, dnnl_data_type_t type,
                                dnnl_format_tag_t tag) {
    return dnnl_memory_desc_create_with_tag(to, 2, dims, type, tag);
}

static void layout_free(Layout layout) {
    dnnl_memory_desc_destroy(layout);
}

static dnnl_status_t append_sum(dnnl_post_ops_t ops) {
    return dnnl_post_ops_append_sum(ops, 1, 0, dnnl_data_type_undef);
}

static dnnl_status_t append_gelu(dnnl_post_ops_t ops) {
    return dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_gelu_erf, 0, 0);
}

static dnnl_status_t matmul(dnnl_primitive_desc_t *to, dnnl_engine_t engine, Layout in, Layout weight,
                            Layout bias, Layout out, dnnl_primitive_attr_t attributes) {
    return dnnl_matmul_primitive_desc_create(to, engine, in, weight, bias, out, attributes);
}
#else
typedef dnnl_memory_desc_t *Layout;
typedef const dnnl_memory_desc_t *KnownLayout;

static dnnl_status_t layout_new(Layout *to, const dnnl_dims_t dims, dnnl_data_type_t type,
                                dnnl_format_tag_t tag) {
    *to = g_new0(dnnl_memory_desc_t, 1);
    return dnnl_memory_desc_init_by_tag(*to, 2, dims, type, tag);
}

static void layout_free(Layout layout) {
    g_free(layout);
}

static dnnl_status_t append_sum(dnnl_post_ops_t ops) {
    return dnnl_post_ops_append_sum(ops, 1);
}

static dnnl_status_t append_gelu(dnnl_post_ops_t ops) {
    return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_gelu_erf, 0, 0);
}

static dnnl_status_t matmul(dnnl_primitive_desc_t *to, dnnl_engine_t engine, Layout in, Layout weight,
                            Layout bias, Layout out, dnnl_primitive_attr_t attributes) {
    dnnl_matmul_desc_t product;
    const dnnl_status_t status = dnnl_matmul_desc_init(&product, in, weight, bias, out);
    return status != dnnl_success ? status
                                  : dnnl_primitive_desc_create(to, &product, attributes, engine, NULL);
}
#endif

/* ---- a product ---- */

static bool matrix(Layout *to, size_t rows, size_t columns, dnnl_data_type_t type, dnnl_format_tag_t tag,
                   GError **err) {
    const dnnl_dims_t dims = {(dnnl_dim_t)rows, (dnnl_dim_t)columns};
    return !failed(layout_new(to, dims, type, tag), "layout", err);
}

static bool describe_after(LobGemmAfter after, dnnl_primitive_attr_t attributes, GError **err) {
    dnnl_post_ops_t ops = NULL;
    if (failed(dnnl_post_ops_create(&ops), "post-ops", err)) {
        return false;
    }
    dnnl_status_t status = dnnl_success;
    if (after == LOB_GEMM_ADD) {
        status = append_sum(ops);
    } else if (after == LOB_GEMM_BIAS_GELU) {
        status = append_gelu(ops);
    }
    if (status == dnnl_success) {
        status = dnnl_primitive_attr_set_post_ops(attributes, ops);
    }
    dnnl_post_ops_destroy(ops);
    return !failed(status, "post-ops", err);
}

static bool describe(LobGemm *gemm, GError **err) {
    const LobGemmShape *s = &gemm->shape;
    const bool gelu = s->after == LOB_GEMM_BIAS_GELU;
    Layout in = NULL, weight = NULL, bias = NULL, out = NULL;
    dnnl_primitive_attr_t attributes = NULL;
    const bool ok = matrix(&in, s->block, s->k, dnnl_bf16, dnnl_ab, err) &&
                    matrix(&weight, s->k, s->n, dnnl_bf16, dnnl_format_tag_any, err) &&
                    (!gelu || matrix(&bias, 1, s->n, dnnl_f32, dnnl_ab, err)) &&
                    matrix(&out, s->block, s->n, gelu ? dnnl_bf16 : dnnl_f32, dnnl_ab, err) &&
                    !failed(dnnl_primitive_attr_create(&attributes), "attributes", err) &&
                    describe_after(s->after, attributes, err) &&
                    !failed(matmul(&gemm->described, gemm->engine, in, weight, bias, out, attributes),
                            "bf16 matmul", err);
    const Layout layouts[] = {in, weight, bias, out};
    for (size_t i = 0; i < G_N_ELEMENTS(layouts); i++) {
        if (layouts[i]) {
            layout_free(layouts[i]);
        }
    }
    if (attributes) {
        dnnl_primitive_attr_destroy(attributes);
    }
    return ok;
}

static bool memory(LobGemm *gemm, dnnl_query_t which, dnnl_memory_t *to, GError **err) {
    const int index = which == dnnl_query_weights_md && to == &gemm->bias ? 1 : 0;
    return !failed(dnnl_memory_create(to, dnnl_primitive_desc_query_md(gemm->described, which, index),
                                      gemm->engine, DNNL_MEMORY_NONE),
                   "memory", err);
}

static void bf16_free(LobGemm *gemm) {
    const dnnl_memory_t memories[] = {gemm->in, gemm->weight, gemm->bias, gemm->out};
    for (size_t i = 0; i < G_N_ELEMENTS(memories); i++) {
        if (memories[i]) {
            dnnl_memory_destroy(memories[i]);
        }
    }
    if (gemm->product) {
        dnnl_primitive_destroy(gemm->product);
    }
    if (gemm->described) {
        dnnl_primitive_desc_destroy(gemm->described);
    }
    if (gemm->stream) {
        dnnl_stream_destroy(gemm->stream);
    }
    if (gemm->engine) {
        dnnl_engine_destroy(gemm->engine);
    }
    free(gemm->rounded);
    g_free(gemm);
}

static bool allocate(LobGemm *gemm, GError **err) {
    void *rows = NULL;
    if (gemm->shape.chained) {
        return true;
    }
    if (posix_memalign(&rows, 64, gemm->shape.block * gemm->shape.k * sizeof *gemm->rounded) != 0) {
        return lob_fail(err, LOB_ERROR_INTERNAL, "no memory for rounded activations");
    }
    gemm->rounded = rows;
    return true;
}

static LobGemm *bf16_open(const LobGemmShape *shape, GError **err) {
    LobGemm *gemm = g_new0(LobGemm, 1);
    gemm->shape = *shape;
    gemm->shape.in_stride = shape->in_stride > 0 && !shape->chained ? shape->in_stride : shape->k;
    if (!failed(dnnl_engine_create(&gemm->engine, dnnl_cpu, 0), "engine", err) &&
        !failed(dnnl_stream_create(&gemm->stream, gemm->engine, dnnl_stream_default_flags), "stream", err) &&
        describe(gemm, err) &&
        !failed(dnnl_primitive_create(&gemm->product, gemm->described), "primitive", err) &&
        memory(gemm, dnnl_query_src_md, &gemm->in, err) &&
        memory(gemm, dnnl_query_weights_md, &gemm->weight, err) &&
        (shape->after != LOB_GEMM_BIAS_GELU || memory(gemm, dnnl_query_weights_md, &gemm->bias, err)) &&
        memory(gemm, dnnl_query_dst_md, &gemm->out, err) && allocate(gemm, err)) {
        return gemm;
    }
    bf16_free(gemm);
    return NULL;
}

static size_t bf16_prepared(const LobGemm *gemm) {
    const KnownLayout desc = dnnl_primitive_desc_query_md(gemm->described, dnnl_query_weights_md, 0);
    return (dnnl_memory_desc_get_size(desc) + sizeof(float) - 1) / sizeof(float);
}

static bool reorder(const LobGemm *gemm, dnnl_memory_t from, dnnl_memory_t to, GError **err) {
    KnownLayout source = NULL, target = NULL;
    dnnl_primitive_desc_t described = NULL;
    dnnl_primitive_t primitive = NULL;
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    dnnl_memory_get_memory_desc(from, &source);
    dnnl_memory_get_memory_desc(to, &target);
    const bool ok =
        !failed(
            dnnl_reorder_primitive_desc_create(&described, source, gemm->engine, target, gemm->engine, NULL),
            "reorder", err) &&
        !failed(dnnl_primitive_create(&primitive, described), "reorder", err) &&
        !failed(dnnl_primitive_execute(primitive, gemm->stream, G_N_ELEMENTS(args), args), "reorder", err) &&
        !failed(dnnl_stream_wait(gemm->stream), "reorder", err);
    if (primitive) {
        dnnl_primitive_destroy(primitive);
    }
    if (described) {
        dnnl_primitive_desc_destroy(described);
    }
    return ok;
}

static bool bf16_prepare(const LobGemm *gemm, const float *weight, float *to, GError **err) {
    /* [n][k] row-major is [k][n] with its columns contiguous */
    Layout plain = NULL;
    dnnl_memory_t from = NULL, into = NULL;
    const bool ok =
        matrix(&plain, gemm->shape.k, gemm->shape.n, dnnl_f32, dnnl_ba, err) &&
        !failed(dnnl_memory_create(&from, plain, gemm->engine, (void *)(uintptr_t)weight), "memory", err) &&
        !failed(dnnl_memory_create(&into,
                                   dnnl_primitive_desc_query_md(gemm->described, dnnl_query_weights_md, 0),
                                   gemm->engine, to),
                "memory", err) &&
        reorder(gemm, from, into, err);
    if (from) {
        dnnl_memory_destroy(from);
    }
    if (into) {
        dnnl_memory_destroy(into);
    }
    if (plain) {
        layout_free(plain);
    }
    return ok;
}

static bool run_block(LobGemm *gemm, const void *in, void *out, GError **err) {
    const LobGemmShape *s = &gemm->shape;
    dnnl_exec_arg_t args[MOST_ARGUMENTS] = {
        {DNNL_ARG_SRC, gemm->in}, {DNNL_ARG_WEIGHTS, gemm->weight}, {DNNL_ARG_DST, gemm->out}};
    int n = 3;
    if (gemm->bias) {
        args[n++] = (dnnl_exec_arg_t){DNNL_ARG_BIAS, gemm->bias};
    }
    if (!s->chained) {
        for (size_t r = 0; r < s->block; r++) {
            round_rows((const float *)in + r * s->in_stride, gemm->rounded + r * s->k, s->k);
        }
        in = gemm->rounded;
    }
    return !failed(dnnl_memory_set_data_handle(gemm->in, (void *)(uintptr_t)in), "input", err) &&
           !failed(dnnl_memory_set_data_handle(gemm->out, out), "output", err) &&
           !failed(dnnl_primitive_execute(gemm->product, gemm->stream, n, args), "product", err);
}

static bool bf16_run(LobGemm *gemm, const float *weight, const float *bias, const void *in, void *out,
                     size_t m, GError **err) {
    const LobGemmShape *s = &gemm->shape;
    const size_t in_bytes = s->block * s->in_stride * (s->chained ? sizeof(uint16_t) : sizeof(float));
    const size_t out_bytes =
        s->block * s->n * (s->after == LOB_GEMM_BIAS_GELU ? sizeof(uint16_t) : sizeof(float));
    if (failed(dnnl_memory_set_data_handle(gemm->weight, (void *)(uintptr_t)weight), "weight", err) ||
        (gemm->bias &&
         failed(dnnl_memory_set_data_handle(gemm->bias, (void *)(uintptr_t)bias), "bias", err))) {
        return false;
    }
    for (size_t b = 0; b < m / s->block; b++) {
        if (!run_block(gemm, (const char *)in + b * in_bytes, (char *)out + b * out_bytes, err)) {
            return false;
        }
    }
    return !failed(dnnl_stream_wait(gemm->stream), "product", err);
}

const LobGemmOps lob_gemm_bf16 = {"bf16",        bf16_usable,  close_together, bf16_open,
                                  bf16_prepared, bf16_prepare, bf16_run,       bf16_free};

#endif
