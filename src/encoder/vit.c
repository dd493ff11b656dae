#include "encoder/conv.h"
#include "encoder/kernels.h"
#include "encoder/vit_internal.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* out[m][n] = in[m][k] weight[n][k]^T (+ out where it accumulates); strides of in and out given. */
static void multiply(const float *in, size_t in_stride, const float *weight, float *out, size_t m, size_t n,
                     size_t k, bool accumulate) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, (int)k, 1, in, (int)in_stride,
                weight, (int)k, accumulate ? 1 : 0, out, (int)n);
}

static void embed_tile(LobVit *v, const uint8_t *rgb, float *x) {
    const size_t values = 3 * v->patch * v->patch, lead = v->leading * v->width;
    memcpy(x, v->lead, lead * sizeof *x);
    memcpy(x + lead, v->position, v->patches * v->width * sizeof *x);
    lob_transform_patches(&v->transform, rgb, (int)v->patch, v->rows);
    multiply(v->rows, values, v->patch_weight, x + lead, v->patches, v->width, values, true);
    memset(x + v->tokens * v->width, 0, (v->spacing - v->tokens) * v->width * sizeof *x);
}

/* One head of one tile, for its first `queries` tokens: q, k, v are columns of the tile's [T][3D]; the result
 * goes to columns of [queries][D]. */
static void attend(const LobVit *v, const float *q, size_t queries, float *out) {
    const int t = (int)v->tokens, d = (int)v->head, stride = (int)(3 * v->width), m = (int)queries;
    const float *k = q + v->width, *value = k + v->width;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, t, d, 1, q, stride, k, stride, 0, v->scores, t);
    lob_softmax_exp(v->scores, queries, v->tokens, v->sums);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, d, t, 1, v->scores, t, value, stride, 0, out,
                (int)v->width);
    lob_divide_rows(out, v->width, v->sums, queries, v->head);
}

/* Rows of a tile of which `queries` are asked for: its class token, or all and what is behind them. */
static size_t rows_of(const LobVit *v, size_t queries) {
    return queries < v->tokens ? queries : v->spacing;
}

/* x, with one row a tile left of it: the class tokens. */
static void keep_class_tokens(LobVit *v, size_t n) {
    for (size_t b = 1; b < n; b++) {
        memcpy(v->x + b * v->width, v->x + b * v->spacing * v->width, v->width * sizeof *v->x);
    }
}

/* x[n rows][D] becomes x + attention of each tile's `queries`: all its tokens or its class token alone, which
 * looks at all of them all the same. */
static bool attention(LobVit *v, const LobVitLayer *layer, const LobVitProducts *to, const float *pending,
                      size_t n, size_t queries, GError **err) {
    const size_t rows = n * v->spacing, d = v->width;
    lob_layer_norm(v->x, pending, layer->norm1_gain, layer->norm1_shift, v->eps, rows, d, v->normed);
    lob_encoder_charge(&v->base, LOB_VIT_NORMS);
    if (!v->gemm->run(v->to_qkv, layer->qkv, NULL, v->normed, v->qkv, rows, err)) {
        return false;
    }
    lob_encoder_charge(&v->base, LOB_VIT_QKV);
    lob_bias_scale(v->qkv, 3 * d, layer->q_bias, 1 / sqrtf((float)v->head), rows, d);
    for (size_t b = 0; b < n; b++) {
        for (size_t h = 0; h < v->heads; h++) {
            attend(v, v->qkv + b * v->spacing * 3 * d + h * v->head, queries,
                   v->normed + b * rows_of(v, queries) * d + h * v->head);
        }
    }
    lob_encoder_charge(&v->base, LOB_VIT_ATTENTION);
    if (queries < v->tokens) {
        keep_class_tokens(v, n);
    }
    const bool ok = v->gemm->run(to->proj, layer->proj, NULL, v->normed, v->x, n * rows_of(v, queries), err);
    lob_encoder_charge(&v->base, LOB_VIT_PROJECTION);
    return ok;
}

static bool mlp(LobVit *v, const LobVitLayer *layer, const LobVitProducts *to, size_t rows, GError **err) {
    const size_t d = v->width;
    lob_layer_norm(v->x, layer->proj_bias, layer->norm2_gain, layer->norm2_shift, v->eps, rows, d, v->normed);
    lob_encoder_charge(&v->base, LOB_VIT_NORMS);
    if (!v->gemm->run(to->fc1, layer->fc1, layer->fc1_bias, v->normed, v->qkv, rows, err)) {
        return false;
    }
    if (v->gated) {
        lob_bias_swiglu(v->qkv, layer->fc1_bias, rows, v->hidden);
    }
    lob_encoder_charge(&v->base, LOB_VIT_MLP_IN);
    const bool ok = v->gemm->run(to->fc2, layer->fc2, NULL, v->qkv, v->x, rows, err);
    lob_encoder_charge(&v->base, LOB_VIT_MLP_OUT);
    return ok;
}

/* Attentional pooling of one tile's tokens [T][D] into [pool width]. */
static void pool_tile(LobVit *v, float *tokens, float *out) {
    const LobVitPool *pool = &v->pool;
    const size_t p = v->pool_width, head = p / v->pool_heads;
    float *kv = v->qkv, *mixed = v->rows;
    lob_layer_norm(tokens, NULL, pool->key_gain, pool->key_shift, 1e-5f, v->tokens, v->width, tokens);
    multiply(tokens, v->width, pool->kv, kv, v->tokens, 2 * p, v->width, false);
    for (size_t h = 0; h < v->pool_heads; h++) {
        cblas_sgemv(CblasRowMajor, CblasNoTrans, (int)v->tokens, (int)head, 1, kv + h * head, (int)(2 * p),
                    pool->query + h * head, 1, 0, v->scores, 1);
        lob_softmax_exp(v->scores, 1, v->tokens, v->sums);
        cblas_sgemv(CblasRowMajor, CblasTrans, (int)v->tokens, (int)head, 1 / v->sums[0], kv + p + h * head,
                    (int)(2 * p), v->scores, 1, 0, mixed + h * head, 1);
    }
    cblas_sgemv(CblasRowMajor, CblasNoTrans, (int)p, (int)p, 1, pool->out, (int)p, mixed, 1, 0, out, 1);
    lob_layer_norm(out, NULL, pool->gain, pool->shift, 1e-5f, 1, p, out);
}

static float *write_mean(const LobVit *v, const float *tokens, float *out) {
    const float *patches = tokens + v->leading * v->width;
    memset(out, 0, v->width * sizeof *out);
    for (size_t p = 0; p < v->patches; p++) {
        for (size_t i = 0; i < v->width; i++) {
            out[i] += patches[p * v->width + i];
        }
    }
    for (size_t i = 0; i < v->width; i++) {
        out[i] /= (float)v->patches;
    }
    return out + v->width;
}

static void write_tile(LobVit *v, float *tokens, float *out) {
    const char *what = v->preset->output;
    if (strcmp(what, "pool") == 0) {
        pool_tile(v, tokens, out);
        return;
    }
    if (strcmp(what, "mean") != 0) {
        memcpy(out, tokens, v->width * sizeof *out);
        out += v->width;
    }
    if (strcmp(what, "class") != 0) {
        write_mean(v, tokens, out);
    }
}

static bool go_on(const LobVit *v, LobEncoderTick tick, void *user, GError **err) {
    return !tick || tick(user) ||
           lob_fail(err, LOB_ERROR_STOPPED, "encoder %s: stopped inside a batch", v->base.info.name);
}

/* Tokens a tile whose values a layer has to give: all, but where the last layer is asked for one. */
static size_t queries_of(const LobVit *v, int64_t layer) {
    return v->class_alone && layer == v->preset->depth - 1 ? 1 : v->tokens;
}

const LobVitProducts *lob_vit_products(const LobVit *v, int64_t layer) {
    return queries_of(v, layer) == 1 ? &v->one : &v->all;
}

static bool encode_through(LobVit *v, int64_t layers, const uint8_t *rgb, size_t n, float *out,
                           LobEncoderTick tick, void *user, GError **err) {
    LobEncoder *encoder = &v->base;
    const size_t tile = 3 * (size_t)v->transform.tile * (size_t)v->transform.tile;
    size_t rows = v->spacing;    /* of a tile */
    const float *pending = NULL; /* the last MLP's bias, added with the next norm */
    for (size_t b = 0; b < n; b++) {
        embed_tile(v, rgb + b * tile, v->x + b * v->spacing * v->width);
    }
    lob_encoder_charge(encoder, LOB_VIT_PATCHES);
    for (int64_t i = 0; i < layers; i++) {
        const LobVitProducts *to = lob_vit_products(v, i);
        rows = rows_of(v, queries_of(v, i));
        if (!attention(v, &v->layers[i], to, pending, n, queries_of(v, i), err) ||
            !go_on(v, tick, user, err) || !mlp(v, &v->layers[i], to, n * rows, err) ||
            !go_on(v, tick, user, err)) {
            return false;
        }
        pending = v->layers[i].fc2_bias;
    }
    lob_layer_norm(v->x, pending, v->norm_gain, v->norm_shift, v->eps, n * rows, v->width, v->normed);
    for (size_t b = 0; b < n; b++) {
        write_tile(v, v->normed + b * rows * v->width, out + b * (size_t)encoder->info.dim);
    }
    lob_encoder_charge(encoder, LOB_VIT_OUTPUT);
    return true;
}

static bool vit_encode(LobEncoder *encoder, const uint8_t *rgb, size_t n, float *out, LobEncoderTick tick,
                       void *user, GError **err) {
    LobVit *v = (LobVit *)encoder;
    return encode_through(v, v->preset->depth, rgb, n, out, tick, user, err);
}

static bool vit_probe(LobEncoder *encoder, const uint8_t *rgb, float *out, GError **err) {
    LobVit *v = (LobVit *)encoder;
    return encode_through(v, MIN(v->preset->depth, LOB_VIT_PROBE_LAYERS), rgb, 1, out, NULL, NULL, err);
}

static void vit_free(LobEncoder *encoder) {
    LobVit *v = (LobVit *)encoder;
    float *const memory[] = {v->x, v->normed, v->qkv, v->scores, v->sums, v->rows};
    for (size_t i = 0; i < G_N_ELEMENTS(memory); i++) {
        free(memory[i]);
    }
    LobGemm *const products[] = {v->to_qkv,   v->all.proj, v->all.fc1, v->all.fc2,
                                 v->one.proj, v->one.fc1,  v->one.fc2};
    for (size_t i = 0; i < G_N_ELEMENTS(products); i++) {
        if (products[i]) {
            v->gemm->free(products[i]);
        }
    }
    lob_transform_clear(&v->transform);
    lob_prepared_clear(&v->prepared);
    lob_preset_free(v->preset);
    g_free(v->layers);
    g_free(v);
}

static bool bad_preset(const LobPreset *p, GError **err, const char *what) {
    return lob_fail(err, LOB_ERROR_INPUT, "%s: %s", p->path, what);
}

static bool check_position(const LobPreset *p, GError **err) {
    const int64_t grid = p->image / p->patch, stored = p->position_grid ? p->position_grid : grid;
    const int64_t last = p->position_through ? p->position_through : stored;
    if (!p->position_through != !p->position_through_resample) {
        return bad_preset(p, err, "position_through and position_through_resample go together");
    }
    if (last != grid && !p->position_resample) {
        return bad_preset(p, err, "position_grid differs from image / patch: position_resample must say how");
    }
    if (last == grid && stored == grid && p->position_resample) {
        return bad_preset(p, err, "position_resample is given, but the stored grid is image / patch");
    }
    return true;
}

static bool check_pool(const LobPreset *p, GError **err) {
    if (strcmp(p->output, "pool") != 0) {
        return (!p->pool_width && !p->pool_heads && !p->pool_prefix) ||
               bad_preset(p, err, "pool_width, pool_heads and pool_prefix are for output: pool");
    }
    if (p->pool_width < 1 || p->pool_heads < 1 || p->pool_width % p->pool_heads != 0 ||
        2 * p->pool_width > 3 * p->width) {
        return bad_preset(p, err,
                          "output pool needs pool_width, a multiple of pool_heads, at most 1.5 width");
    }
    return true;
}

static bool check_preset(const LobPreset *p, GError **err) {
    if (!p->layout || !p->mlp || !p->position || !p->output) {
        return bad_preset(p, err, "a vit needs layout, mlp, position and output");
    }
    if (p->patch < 1 || p->patch > p->image || p->image % p->patch != 0 || p->depth < 1 || p->depth > 200 ||
        p->heads < 1 || p->width < 1 || p->width > 8192 || p->width % p->heads != 0 || p->hidden < 1 ||
        p->hidden > 65536 || p->registers > 64) {
        return bad_preset(
            p, err, "image must be a multiple of patch, width of heads, and depth, heads, hidden positive");
    }
    if (p->image > 1024 || p->image / p->patch > 128 || p->position_grid > 128 || p->position_through > 128) {
        return bad_preset(p, err,
                          "image is at most 1024 px; it, position_grid and position_through 128 patches");
    }
    if (!(p->eps > 0)) {
        return bad_preset(p, err, "eps must be given");
    }
    if (strcmp(p->layout, "hf-vit") == 0 &&
        (p->layer_scale || p->registers > 0 || strcmp(p->mlp, "gelu") != 0)) {
        return bad_preset(p, err, "layout hf-vit has neither layer_scale, registers nor swiglu");
    }
    return check_position(p, err) && check_pool(p, err);
}

static void set_sizes(LobVit *v) {
    const LobPreset *p = v->preset;
    v->width = (size_t)p->width;
    v->heads = (size_t)p->heads;
    v->head = v->width / v->heads;
    v->hidden = (size_t)p->hidden;
    v->gated = strcmp(p->mlp, "swiglu") == 0;
    v->wide = v->gated ? 2 * v->hidden : v->hidden;
    v->patch = (size_t)p->patch;
    v->grid = (size_t)(p->image / p->patch);
    v->patches = v->grid * v->grid;
    v->leading = 1 + (size_t)p->registers;
    v->tokens = v->leading + v->patches;
    v->eps = (float)p->eps;
    if (strcmp(p->output, "pool") == 0) {
        v->pool_width = (size_t)p->pool_width;
        v->pool_heads = (size_t)p->pool_heads;
    }
    v->layers = g_new0(LobVitLayer, (size_t)p->depth);
}

static size_t widest(const LobVit *v) {
    return MAX(3 * v->width, v->wide);
}

static bool allocate_all(LobVit *v, size_t batch, GError **err) {
    const size_t rows = batch * v->spacing, values = 3 * v->patch * v->patch;
    return lob_allocate_floats(&v->x, rows * v->width, err) &&
           lob_allocate_floats(&v->normed, rows * v->width, err) &&
           lob_allocate_floats(&v->qkv, rows * widest(v), err) &&
           lob_allocate_floats(&v->scores, v->tokens * v->tokens, err) &&
           lob_allocate_floats(&v->sums, v->tokens, err) &&
           lob_allocate_floats(&v->rows, MAX(v->patches * values, v->pool_width), err);
}

/* The products behind attention, over `block` rows a tile. In a gated MLP the activation stands between
 * them, in fp32. */
static bool open_behind_attention(const LobVit *v, size_t block, LobVitProducts *to, GError **err) {
    const size_t d = v->width;
    const LobGemmShape proj = {.block = block, .n = d, .k = d, .after = LOB_GEMM_ADD},
                       fc1 = {.block = block,
                              .n = v->wide,
                              .k = d,
                              .after = v->gated ? LOB_GEMM_STORE : LOB_GEMM_BIAS_GELU},
                       fc2 = {.block = block,
                              .n = d,
                              .k = v->hidden,
                              .after = LOB_GEMM_ADD,
                              .chained = !v->gated,
                              .in_stride = v->wide};
    return (to->proj = v->gemm->open(&proj, err)) && (to->fc1 = v->gemm->open(&fc1, err)) &&
           (to->fc2 = v->gemm->open(&fc2, err));
}

static bool open_products(LobVit *v, const char *precision, GError **err) {
    v->gemm = lob_gemm_find(precision, err);
    v->spacing = v->gemm ? v->gemm->spacing(v->tokens) : v->tokens;
    const LobGemmShape qkv = {.block = v->spacing, .n = 3 * v->width, .k = v->width};
    /* bf16 keeps all rows: its products of single rows have been measured on no machine yet. */
    v->class_alone = v->gemm == &lob_gemm_fp32 && strcmp(v->preset->output, "class") == 0;
    return v->gemm && (v->to_qkv = v->gemm->open(&qkv, err)) &&
           open_behind_attention(v, v->spacing, &v->all, err) &&
           (!v->class_alone || open_behind_attention(v, 1, &v->one, err));
}

/* Of one tile's products: patches, then a layer's qkv and attention and what stands behind it, then the
 * pooler's keys and values. */
static double count_flop(const LobVit *v) {
    const double t = (double)v->tokens, d = (double)v->width, p = (double)v->pool_width;
    double products = (double)v->patches * d * 3 * (double)(v->patch * v->patch) + t * d * 2 * p;
    for (int64_t i = 0; i < v->preset->depth; i++) {
        const double queries = (double)queries_of(v, i);
        products +=
            t * d * 3 * d + 2 * queries * t * d + queries * d * (d + (double)v->wide + (double)v->hidden);
    }
    return 2 * products;
}

static void set_cost(LobVit *v, size_t batch) {
    static const char *const names[LOB_VIT_STAGES] = {
        [LOB_VIT_PATCHES] = "patches",     [LOB_VIT_NORMS] = "norms",           [LOB_VIT_QKV] = "qkv",
        [LOB_VIT_ATTENTION] = "attention", [LOB_VIT_PROJECTION] = "projection", [LOB_VIT_MLP_IN] = "mlp in",
        [LOB_VIT_MLP_OUT] = "mlp out",     [LOB_VIT_OUTPUT] = "output",
    };
    for (size_t i = 0; i < LOB_VIT_STAGES; i++) {
        v->stages[i].name = names[i];
    }
    v->base.stages = v->stages;
    v->base.cost =
        (LobEncoderCost){.flop = count_flop(v),
                         .weight_bytes = v->prepared.size,
                         .working_bytes = sizeof(float) * (batch * v->spacing * (2 * v->width + widest(v)) +
                                                           v->tokens * v->tokens + v->tokens +
                                                           3 * v->patches * v->patch * v->patch),
                         .stages = v->stages,
                         .n_stages = LOB_VIT_STAGES};
}

static int output_width(const LobVit *v) {
    if (v->pool_width > 0) {
        return (int)v->pool_width;
    }
    return (int)(strcmp(v->preset->output, "class+mean") == 0 ? 2 * v->width : v->width);
}

LobEncoder *lob_vit_open(const LobEncoderOptions *options, LobPreset *preset, GError **err) {
    static const LobEncoderOps ops = {.encode = vit_encode, .free = vit_free, .probe = vit_probe};
    LobVit *v = g_new0(LobVit, 1);
    v->preset = preset;
    v->base.ops = &ops;
    v->base.batch = lob_encoder_batch(options);
    if (!check_preset(preset, err) || !lob_transform_init(&v->transform, preset, options->tile_size, err)) {
        vit_free(&v->base);
        return NULL;
    }
    set_sizes(v);
    const char *precision = options->precision ? options->precision : "fp32";
    if (!open_products(v, precision, err) ||
        !lob_prepare(&v->prepared, options, preset, lob_vit_build, v, err) ||
        (!options->describe && !allocate_all(v, v->base.batch, err))) {
        vit_free(&v->base);
        return NULL;
    }
    set_cost(v, MAX(options->batch, 1));
    v->base.info = (LobEncoderInfo){.name = preset->name,
                                    .weights_sha256 = v->prepared.sha256,
                                    .transform = v->transform.description,
                                    .precision = v->gemm->precision,
                                    .dim = output_width(v),
                                    .columns = NULL};
    return &v->base;
}
