#include "encoder/vit_internal.h"

#include <math.h>
#include <string.h>

/* How a layout names its tensors; NULL where it has none of its own. */
typedef struct {
    const char *name, *class_token, *registers, *position, *patch, *layer;
    const char *norm1, *qkv, *q, *k, *v, *proj, *scale1, *norm2, *fc1, *fc2, *fc1_gated, *fc2_gated, *scale2;
    const char *norm;
} Layout;

static const Layout LAYOUTS[] = {
    {.name = "timm",
     .class_token = "cls_token",
     .registers = "reg_token",
     .position = "pos_embed",
     .patch = "patch_embed.proj",
     .layer = "blocks",
     .norm1 = "norm1",
     .qkv = "attn.qkv",
     .proj = "attn.proj",
     .scale1 = "ls1.gamma",
     .norm2 = "norm2",
     .fc1 = "mlp.fc1",
     .fc2 = "mlp.fc2",
     .fc1_gated = "mlp.fc1",
     .fc2_gated = "mlp.fc2",
     .scale2 = "ls2.gamma",
     .norm = "norm"},
    {.name = "dinov2",
     .class_token = "cls_token",
     .registers = "register_tokens",
     .position = "pos_embed",
     .patch = "patch_embed.proj",
     .layer = "blocks",
     .norm1 = "norm1",
     .qkv = "attn.qkv",
     .proj = "attn.proj",
     .scale1 = "ls1.gamma",
     .norm2 = "norm2",
     .fc1 = "mlp.fc1",
     .fc2 = "mlp.fc2",
     .fc1_gated = "mlp.w12",
     .fc2_gated = "mlp.w3",
     .scale2 = "ls2.gamma",
     .norm = "norm"},
    {.name = "hf-dinov2",
     .class_token = "embeddings.cls_token",
     .registers = "embeddings.register_tokens",
     .position = "embeddings.position_embeddings",
     .patch = "embeddings.patch_embeddings.projection",
     .layer = "encoder.layer",
     .norm1 = "norm1",
     .q = "attention.attention.query",
     .k = "attention.attention.key",
     .v = "attention.attention.value",
     .proj = "attention.output.dense",
     .scale1 = "layer_scale1.lambda1",
     .norm2 = "norm2",
     .fc1 = "mlp.fc1",
     .fc2 = "mlp.fc2",
     .fc1_gated = "mlp.weights_in",
     .fc2_gated = "mlp.weights_out",
     .scale2 = "layer_scale2.lambda1",
     .norm = "layernorm"},
    {.name = "hf-vit",
     .class_token = "embeddings.cls_token",
     .position = "embeddings.position_embeddings",
     .patch = "embeddings.patch_embeddings.projection",
     .layer = "encoder.layer",
     .norm1 = "layernorm_before",
     .q = "attention.attention.query",
     .k = "attention.attention.key",
     .v = "attention.attention.value",
     .proj = "attention.output.dense",
     .norm2 = "layernorm_after",
     .fc1 = "intermediate.dense",
     .fc2 = "output.dense",
     .norm = "layernorm"},
};

static const Layout *find_layout(const char *name) {
    for (size_t i = 0; i < G_N_ELEMENTS(LAYOUTS); i++) {
        if (strcmp(LAYOUTS[i].name, name) == 0) {
            return &LAYOUTS[i];
        }
    }
    return &LAYOUTS[0];
}

/* "module.weight" or "module.bias" of a layer, or of the whole network where layer < 0. */
static char *name_of(const Layout *layout, int layer, const char *module, const char *part) {
    g_autofree char *place = layer < 0 ? g_strdup("") : g_strdup_printf("%s.%d.", layout->layer, layer);
    return g_strconcat(place, module, part, NULL);
}

static float *vector(LobLoader *l, const Layout *layout, int layer, const char *module, const char *part,
                     size_t n) {
    g_autofree char *name = name_of(layout, layer, module, part);
    return lob_loader_vector(l, name, n);
}

static void into(LobLoader *l, float *to, const Layout *layout, int layer, const char *module,
                 const char *part, size_t rows, size_t columns) {
    g_autofree char *name = name_of(layout, layer, module, part);
    if (columns > 0) {
        lob_loader_tensor(l, to, name, 2, rows, columns);
    } else {
        lob_loader_tensor(l, to, name, 1, rows);
    }
}

static bool filling(const LobLoader *l) {
    return l->base && l->fill && !l->error;
}

static void scale_rows(float *weight, float *bias, const float *scale, size_t rows, size_t columns) {
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < columns; c++) {
            weight[r * columns + c] *= scale[r];
        }
        bias[r] *= scale[r];
    }
}

/* Layer scale into the matrix before it; the file's vector stays behind in the block, unused. */
static void fold_scale(LobLoader *l, const LobVit *v, const Layout *layout, int layer, const char *module,
                       float *weight, float *bias, size_t columns) {
    if (!v->preset->layer_scale) {
        return;
    }
    const float *scale = vector(l, layout, layer, module, "", v->width);
    if (filling(l)) {
        scale_rows(weight, bias, scale, v->width, columns);
    }
}

/* Memory for a matrix of a product: in the block, or aside where the product wants it in another form. */
static float *take_matrix(LobLoader *l, const LobVit *v, const LobGemm *gemm, size_t count) {
    return v->gemm->prepared(gemm) > 0 ? lob_loader_scratch(l, count) : lob_loader_take(l, count);
}

static float *load_matrix(LobLoader *l, const LobVit *v, const LobGemm *gemm, const Layout *layout, int layer,
                          const char *module, size_t rows, size_t columns) {
    float *to = take_matrix(l, v, gemm, rows * columns);
    into(l, to, layout, layer, module, ".weight", rows, columns);
    return to;
}

/* The loaded and folded matrix as its product wants it. */
static float *prepare_matrix(LobLoader *l, const LobVit *v, const LobGemm *gemm, float *matrix) {
    const size_t size = v->gemm->prepared(gemm);
    if (size == 0) {
        return matrix;
    }
    float *prepared = lob_loader_take(l, size);
    if (filling(l)) {
        (void)v->gemm->prepare(gemm, matrix, prepared, &l->error);
    }
    return prepared;
}

static void build_attention(LobLoader *l, LobVit *v, const Layout *layout, int i, LobVitLayer *layer) {
    const size_t d = v->width;
    float *bias = lob_loader_take(l, 3 * d);
    layer->qkv = take_matrix(l, v, v->to_qkv, 3 * d * d);
    if (layout->qkv) {
        into(l, layer->qkv, layout, i, layout->qkv, ".weight", 3 * d, d);
        into(l, bias, layout, i, layout->qkv, ".bias", 3 * d, 0);
    } else {
        const char *const parts[] = {layout->q, layout->k, layout->v};
        for (size_t p = 0; p < 3; p++) {
            into(l, l->base ? layer->qkv + p * d * d : NULL, layout, i, parts[p], ".weight", d, d);
            into(l, l->base ? bias + p * d : NULL, layout, i, parts[p], ".bias", d, 0);
        }
    }
    layer->q_bias = bias;
    layer->proj = load_matrix(l, v, lob_vit_products(v, i)->proj, layout, i, layout->proj, d, d);
    layer->proj_bias = vector(l, layout, i, layout->proj, ".bias", d);
    if (filling(l)) {
        for (size_t r = 0; r < d; r++) {
            double sum = (double)layer->proj_bias[r];
            for (size_t c = 0; c < d; c++) {
                sum += (double)layer->proj[r * d + c] * (double)bias[2 * d + c];
            }
            layer->proj_bias[r] = (float)sum;
        }
    }
    fold_scale(l, v, layout, i, layout->scale1, layer->proj, layer->proj_bias, d);
    layer->qkv = prepare_matrix(l, v, v->to_qkv, layer->qkv);
    layer->proj = prepare_matrix(l, v, lob_vit_products(v, i)->proj, layer->proj);
}

static void build_layer(LobLoader *l, LobVit *v, const Layout *layout, int i, LobVitLayer *layer) {
    const size_t d = v->width;
    const char *fc1 = v->gated ? layout->fc1_gated : layout->fc1;
    const char *fc2 = v->gated ? layout->fc2_gated : layout->fc2;
    const LobVitProducts *to = lob_vit_products(v, i);
    lob_loader_scratch_reset(l, 4 * d * d + v->wide * d + d * v->hidden);
    layer->norm1_gain = vector(l, layout, i, layout->norm1, ".weight", d);
    layer->norm1_shift = vector(l, layout, i, layout->norm1, ".bias", d);
    build_attention(l, v, layout, i, layer);
    layer->norm2_gain = vector(l, layout, i, layout->norm2, ".weight", d);
    layer->norm2_shift = vector(l, layout, i, layout->norm2, ".bias", d);
    layer->fc1 = load_matrix(l, v, to->fc1, layout, i, fc1, v->wide, d);
    layer->fc1_bias = vector(l, layout, i, fc1, ".bias", v->wide);
    layer->fc2 = load_matrix(l, v, to->fc2, layout, i, fc2, d, v->hidden);
    layer->fc2_bias = vector(l, layout, i, fc2, ".bias", d);
    fold_scale(l, v, layout, i, layout->scale2, layer->fc2, layer->fc2_bias, v->hidden);
    layer->fc1 = prepare_matrix(l, v, to->fc1, layer->fc1);
    layer->fc2 = prepare_matrix(l, v, to->fc2, layer->fc2);
}

static void add(float *to, const float *what, size_t n) {
    for (size_t i = 0; i < n; i++) {
        to[i] += what[i];
    }
}

/* Some networks were fed a grid that had been resampled to another size before: what that lost stays lost. */
static void fill_position(const LobVit *v, const float *table, size_t from) {
    const LobPreset *p = v->preset;
    const size_t through = (size_t)p->position_through;
    g_autofree float *middle = g_new(float, through *through * v->width);
    if (through > 0) {
        lob_position_resample(table, from, middle, through, v->width, p->position_through_resample);
        table = middle;
        from = through;
    }
    lob_position_resample(table, from, v->position, v->grid, v->width, p->position_resample);
}

/* Tokens before the patches and everything's position: `covered` of the leading tokens have one. */
static void build_tokens(LobLoader *l, LobVit *v, const Layout *layout) {
    const size_t d = v->width, registers = (size_t)v->preset->registers;
    const size_t from = v->preset->position_grid ? (size_t)v->preset->position_grid : v->grid;
    const bool all = strcmp(v->preset->position, "all") == 0;
    const size_t covered = all ? v->leading : strcmp(v->preset->position, "patches") == 0 ? 0 : 1;
    float *table = lob_loader_take(l, (covered + from * from) * d);
    float *bias = vector(l, layout, -1, layout->patch, ".bias", d);
    g_autofree char *patch = name_of(layout, -1, layout->patch, ".weight");

    v->patch_weight = lob_loader_take(l, d * 3 * v->patch * v->patch);
    lob_loader_tensor(l, v->patch_weight, patch, 4, d, (size_t)3, v->patch, v->patch);
    v->lead = lob_loader_take(l, v->leading * d);
    lob_loader_tensor(l, v->lead, layout->class_token, 3, (size_t)1, (size_t)1, d);
    if (registers > 0) {
        lob_loader_tensor(l, l->base ? v->lead + d : NULL, layout->registers, 3, (size_t)1, registers, d);
    }
    lob_loader_tensor(l, table, layout->position, 3, (size_t)1, covered + from * from, d);
    v->position = lob_loader_take(l, v->patches * d);
    if (!filling(l)) {
        return;
    }
    add(v->lead, table, covered * d);
    fill_position(v, table + covered * d, from);
    for (size_t p = 0; p < v->patches; p++) {
        add(v->position + p * d, bias, d);
    }
}

/* The query does not depend on the tile: its norm, projection and scale are done here, once. */
static void fold_query(const LobVit *v, float *query, const float *gain, const float *shift,
                       const float *to_q, const float *raw) {
    const size_t p = v->pool_width;
    double mean = 0, variance = 0;
    for (size_t i = 0; i < p; i++) {
        mean += (double)raw[i] / (double)p;
    }
    for (size_t i = 0; i < p; i++) {
        variance += ((double)raw[i] - mean) * ((double)raw[i] - mean) / (double)p;
    }
    for (size_t r = 0; r < p; r++) {
        double sum = 0;
        for (size_t i = 0; i < p; i++) {
            const double normed =
                ((double)raw[i] - mean) / sqrt(variance + 1e-5) * (double)gain[i] + (double)shift[i];
            sum += normed * (double)to_q[r * p + i];
        }
        query[r] = (float)(sum / sqrt((double)(p / v->pool_heads)));
    }
}

static char *pool_name(const LobVit *v, const char *name) {
    return g_strconcat(v->preset->pool_prefix ? v->preset->pool_prefix : "", name, NULL);
}

static float *pool_vector(LobLoader *l, const LobVit *v, const char *name, size_t n) {
    g_autofree char *full = pool_name(v, name);
    return lob_loader_vector(l, full, n);
}

static float *pool_matrix(LobLoader *l, const LobVit *v, const char *name, size_t rows, size_t columns) {
    g_autofree char *full = pool_name(v, name);
    return lob_loader_matrix(l, full, rows, columns);
}

/* The pooler's tensors stand beside the trunk's, so the trunk's prefix does not apply to them. */
static void build_pool(LobLoader *l, LobVit *v) {
    const LobPreset *trunk = l->preset;
    LobPreset beside = *trunk;
    LobVitPool *pool = &v->pool;
    const size_t p = v->pool_width, d = v->width;
    beside.prefix = NULL;
    l->preset = &beside;
    const float *raw = pool_matrix(l, v, "attn_pool_contrast.query", 1, p);
    const float *gain = pool_vector(l, v, "attn_pool_contrast.ln_q.weight", p);
    const float *shift = pool_vector(l, v, "attn_pool_contrast.ln_q.bias", p);
    const float *to_q = pool_matrix(l, v, "attn_pool_contrast.to_q.weight", p, p);
    pool->key_gain = pool_vector(l, v, "attn_pool_contrast.ln_k.weight", d);
    pool->key_shift = pool_vector(l, v, "attn_pool_contrast.ln_k.bias", d);
    pool->kv = pool_matrix(l, v, "attn_pool_contrast.to_kv.weight", 2 * p, d);
    pool->out = pool_matrix(l, v, "attn_pool_contrast.to_out.weight", p, p);
    pool->gain = pool_vector(l, v, "ln_contrast.weight", p);
    pool->shift = pool_vector(l, v, "ln_contrast.bias", p);
    pool->query = lob_loader_take(l, p);
    l->preset = trunk;
    if (filling(l)) {
        fold_query(v, pool->query, gain, shift, to_q, raw);
    }
}

void lob_vit_build(LobLoader *loader, void *network) {
    LobVit *v = network;
    const Layout *layout = find_layout(v->preset->layout);
    build_tokens(loader, v, layout);
    for (int i = 0; i < (int)v->preset->depth; i++) {
        build_layer(loader, v, layout, i, &v->layers[i]);
    }
    v->norm_gain = vector(loader, layout, -1, layout->norm, ".weight", v->width);
    v->norm_shift = vector(loader, layout, -1, layout->norm, ".bias", v->width);
    if (v->pool_width > 0) {
        build_pool(loader, v);
    }
}
