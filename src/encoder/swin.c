/* Swin-T with a convolutional stem (CTransPath): 7 x 7 windows, every second layer shifted by 3; 768 values,
 * the mean over the last stage's tokens. Tensors are named as timm before 0.9 did. */
#include "encoder/conv.h"
#include "encoder/encoder_internal.h"
#include "encoder/kernels.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    STAGES = 4,
    MOST_LAYERS = 6,
    WINDOW = 7,
    AREA = WINDOW * WINDOW,
    TABLE = 2 * WINDOW - 1,
    SHIFT = 3,
    HEAD = 32
};
enum { WIDTH = 96, OUTPUT = 768 };
static const size_t LAYERS[STAGES] = {2, 2, 6, 2};
enum { CHARGED_STEM, CHARGED_ATTENTION, CHARGED_MLP, CHARGED_OUTPUT, CHARGED }; /* output: and merges */

typedef struct {
    float *norm1_gain, *norm1_shift, *qkv, *qkv_bias, *proj, *proj_bias;
    float *norm2_gain, *norm2_shift, *fc1, *fc1_bias, *fc2, *fc2_bias;
    float *bias; /* [heads][AREA][AREA], looked up from the table of relative positions */
} Layer;

typedef struct {
    Layer layers[MOST_LAYERS];
    float *merge_gain, *merge_shift, *merge; /* to the next stage: norm over 4C, [2C][4C] */
} Stage;

typedef struct {
    LobEncoder base;
    LobEncoderStage charged[CHARGED];
    LobPreset *preset;
    LobTransform transform;
    LobPrepared prepared;
    float eps;
    LobConv stem[3];
    float *stem_gain, *stem_shift, *norm_gain, *norm_shift;
    Stage stages[STAGES];
    float *x, *normed, *wide, *windows, *columns;
    float scores[AREA * AREA], sums[AREA];
} Swin;

static char *name_of(const char *place, const char *name) {
    return g_strconcat(place, name, NULL);
}

static float *vector(LobLoader *l, const char *place, const char *name, size_t n) {
    g_autofree char *full = name_of(place, name);
    return lob_loader_vector(l, full, n);
}

static float *matrix(LobLoader *l, const char *place, const char *name, size_t rows, size_t columns) {
    g_autofree char *full = name_of(place, name);
    return lob_loader_matrix(l, full, rows, columns);
}

/* The bias of a query and a key is the table's row for their offset. */
static void look_up(const float *table, float *bias, size_t heads) {
    for (int q = 0; q < AREA; q++) {
        for (int k = 0; k < AREA; k++) {
            const int dy = q / WINDOW - k / WINDOW + WINDOW - 1, dx = q % WINDOW - k % WINDOW + WINDOW - 1;
            for (size_t h = 0; h < heads; h++) {
                bias[(h * AREA + (size_t)q) * AREA + (size_t)k] =
                    table[(size_t)(dy * TABLE + dx) * heads + h];
            }
        }
    }
}

static void build_layer(LobLoader *l, Layer *layer, const char *place, size_t c) {
    const size_t heads = c / HEAD;
    const float *table = matrix(l, place, "attn.relative_position_bias_table", TABLE * TABLE, heads);
    layer->bias = lob_loader_take(l, heads * AREA * AREA);
    layer->norm1_gain = vector(l, place, "norm1.weight", c);
    layer->norm1_shift = vector(l, place, "norm1.bias", c);
    layer->qkv = matrix(l, place, "attn.qkv.weight", 3 * c, c);
    layer->qkv_bias = vector(l, place, "attn.qkv.bias", 3 * c);
    layer->proj = matrix(l, place, "attn.proj.weight", c, c);
    layer->proj_bias = vector(l, place, "attn.proj.bias", c);
    layer->norm2_gain = vector(l, place, "norm2.weight", c);
    layer->norm2_shift = vector(l, place, "norm2.bias", c);
    layer->fc1 = matrix(l, place, "mlp.fc1.weight", 4 * c, c);
    layer->fc1_bias = vector(l, place, "mlp.fc1.bias", 4 * c);
    layer->fc2 = matrix(l, place, "mlp.fc2.weight", c, 4 * c);
    layer->fc2_bias = vector(l, place, "mlp.fc2.bias", c);
    if (l->base && l->fill && !l->error) {
        look_up(table, layer->bias, heads);
    }
}

static void swin_build(LobLoader *l, void *network) {
    Swin *s = network;
    lob_conv_build(l, &s->stem[0], "patch_embed.proj.0", "patch_embed.proj.1", 3, WIDTH / 8, 3, 2);
    lob_conv_build(l, &s->stem[1], "patch_embed.proj.3", "patch_embed.proj.4", WIDTH / 8, WIDTH / 4, 3, 2);
    lob_conv_build(l, &s->stem[2], "patch_embed.proj.6", NULL, WIDTH / 4, WIDTH, 1, 1);
    s->stem_gain = vector(l, "", "patch_embed.norm.weight", WIDTH);
    s->stem_shift = vector(l, "", "patch_embed.norm.bias", WIDTH);
    for (size_t i = 0; i < STAGES; i++) {
        const size_t c = (size_t)WIDTH << i;
        for (size_t j = 0; j < LAYERS[i]; j++) {
            g_autofree char *place = g_strdup_printf("layers.%zu.blocks.%zu.", i, j);
            build_layer(l, &s->stages[i].layers[j], place, c);
        }
        if (i + 1 < STAGES) {
            g_autofree char *place = g_strdup_printf("layers.%zu.downsample.", i);
            s->stages[i].merge_gain = vector(l, place, "norm.weight", 4 * c);
            s->stages[i].merge_shift = vector(l, place, "norm.bias", 4 * c);
            s->stages[i].merge = matrix(l, place, "reduction.weight", 2 * c, 4 * c);
        }
    }
    s->norm_gain = vector(l, "", "norm.weight", OUTPUT);
    s->norm_shift = vector(l, "", "norm.bias", OUTPUT);
}

static void multiply(const float *in, const float *weight, float *out, size_t m, size_t n, size_t k,
                     float keep) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, (int)k, 1, in, (int)k, weight,
                (int)k, keep, out, (int)n);
}

/* Row of the image that a place in a window stands for; shifted windows wrap around the edge. */
static size_t place_of(size_t window, size_t position, size_t side, size_t shift) {
    const size_t across = side / WINDOW;
    const size_t y = (window / across * WINDOW + position / WINDOW + shift) % side;
    const size_t x = (window % across * WINDOW + position % WINDOW + shift) % side;
    return y * side + x;
}

/* Which of the (up to nine) parts of the shifted image a place belongs to; places of different parts must not
 * see each other. */
static size_t part_of(size_t window, size_t position, size_t side) {
    const size_t across = side / WINDOW;
    const size_t y = window / across * WINDOW + position / WINDOW,
                 x = window % across * WINDOW + position % WINDOW;
    const size_t part_y = y < side - WINDOW ? 0 : y < side - SHIFT ? 1 : 2;
    const size_t part_x = x < side - WINDOW ? 0 : x < side - SHIFT ? 1 : 2;
    return 3 * part_y + part_x;
}

static void add_bias_and_mask(Swin *s, const float *bias, size_t window, size_t side, bool shifted) {
    for (size_t q = 0; q < AREA; q++) {
        for (size_t k = 0; k < AREA; k++) {
            s->scores[q * AREA + k] += bias[q * AREA + k];
            if (shifted && part_of(window, q, side) != part_of(window, k, side)) {
                s->scores[q * AREA + k] -= 100;
            }
        }
    }
}

/* One window's head: columns of the window's [AREA][3C]; the result to columns of [AREA][C]. */
static void attend(Swin *s, const float *q, const float *bias, size_t c, size_t window, size_t side,
                   bool shifted, float *out) {
    const float *k = q + c, *v = k + c;
    const int stride = (int)(3 * c);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, AREA, AREA, HEAD, 1 / sqrtf(HEAD), q, stride, k,
                stride, 0, s->scores, AREA);
    add_bias_and_mask(s, bias, window, side, shifted);
    lob_softmax_exp(s->scores, AREA, AREA, s->sums);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, AREA, HEAD, AREA, 1, s->scores, AREA, v, stride, 0,
                out, (int)c);
    lob_divide_rows(out, c, s->sums, AREA, HEAD);
}

static void add_bias(float *x, const float *bias, size_t rows, size_t n) {
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < n; i++) {
            x[r * n + i] += bias[i];
        }
    }
}

static void run_attention(Swin *s, const Layer *layer, size_t side, size_t c, size_t shift) {
    const size_t tokens = side * side, windows = tokens / AREA;
    lob_layer_norm(s->x, NULL, layer->norm1_gain, layer->norm1_shift, s->eps, tokens, c, s->normed);
    for (size_t w = 0; w < windows; w++) {
        for (size_t p = 0; p < AREA; p++) {
            memcpy(s->windows + (w * AREA + p) * c, s->normed + place_of(w, p, side, shift) * c,
                   c * sizeof(float));
        }
    }
    multiply(s->windows, layer->qkv, s->wide, tokens, 3 * c, c, 0);
    add_bias(s->wide, layer->qkv_bias, tokens, 3 * c);
    for (size_t w = 0; w < windows; w++) {
        for (size_t h = 0; h < c / HEAD; h++) {
            attend(s, s->wide + w * AREA * 3 * c + h * HEAD, layer->bias + h * AREA * AREA, c, w, side,
                   shift > 0, s->windows + w * AREA * c + h * HEAD);
        }
    }
    multiply(s->windows, layer->proj, s->normed, tokens, c, c, 0);
    for (size_t w = 0; w < windows; w++) {
        for (size_t p = 0; p < AREA; p++) {
            add_bias(s->x + place_of(w, p, side, shift) * c, s->normed + (w * AREA + p) * c, 1, c);
        }
    }
}

static void run_layer(Swin *s, const Layer *layer, size_t side, size_t c, bool odd) {
    const size_t tokens = side * side;
    run_attention(s, layer, side, c, odd && side > WINDOW ? SHIFT : 0);
    lob_encoder_charge(&s->base, CHARGED_ATTENTION);
    lob_layer_norm(s->x, layer->proj_bias, layer->norm2_gain, layer->norm2_shift, s->eps, tokens, c,
                   s->normed);
    multiply(s->normed, layer->fc1, s->wide, tokens, 4 * c, c, 0);
    lob_bias_gelu(s->wide, layer->fc1_bias, tokens, 4 * c);
    multiply(s->wide, layer->fc2, s->x, tokens, c, 4 * c, 1);
    add_bias(s->x, layer->fc2_bias, tokens, c);
    lob_encoder_charge(&s->base, CHARGED_MLP);
}

/* 2 x 2 neighbours side by side (down first, then right), normed and projected to twice the width. */
static void run_merge(Swin *s, const Stage *stage, size_t side, size_t c) {
    const size_t half = side / 2;
    for (size_t i = 0; i < half * half; i++) {
        for (size_t part = 0; part < 4; part++) {
            const size_t y = 2 * (i / half) + part % 2, x = 2 * (i % half) + part / 2;
            memcpy(s->wide + (4 * i + part) * c, s->x + (y * side + x) * c, c * sizeof(float));
        }
    }
    lob_layer_norm(s->wide, NULL, stage->merge_gain, stage->merge_shift, s->eps, half * half, 4 * c,
                   s->normed);
    multiply(s->normed, stage->merge, s->x, half * half, 2 * c, 4 * c, 0);
}

static void write_mean(Swin *s, size_t tokens, float *out) {
    lob_layer_norm(s->x, NULL, s->norm_gain, s->norm_shift, s->eps, tokens, OUTPUT, s->normed);
    memset(out, 0, OUTPUT * sizeof *out);
    for (size_t t = 0; t < tokens; t++) {
        add_bias(out, s->normed + t * OUTPUT, 1, OUTPUT);
    }
    for (size_t i = 0; i < OUTPUT; i++) {
        out[i] /= (float)tokens;
    }
}

static bool encode_tile(Swin *s, const uint8_t *rgb, float *out, LobEncoderTick tick, void *user) {
    size_t side = (size_t)s->transform.image, c = WIDTH;
    lob_transform_image(&s->transform, rgb, s->x);
    lob_conv_run(&s->stem[0], s->x, side, s->wide, s->columns, LOB_CONV_RELU);
    lob_conv_run(&s->stem[1], s->wide, side / 2, s->normed, s->columns, LOB_CONV_RELU);
    lob_conv_run(&s->stem[2], s->normed, side / 4, s->wide, s->columns, LOB_CONV_PLAIN);
    side /= 4;
    lob_layer_norm(s->wide, NULL, s->stem_gain, s->stem_shift, s->eps, side * side, c, s->x);
    lob_encoder_charge(&s->base, CHARGED_STEM);
    for (size_t i = 0; i < STAGES; i++) {
        for (size_t j = 0; j < LAYERS[i]; j++) {
            run_layer(s, &s->stages[i].layers[j], side, c, j % 2 == 1);
        }
        if (tick && !tick(user)) {
            return false;
        }
        if (i + 1 < STAGES) {
            run_merge(s, &s->stages[i], side, c);
            lob_encoder_charge(&s->base, CHARGED_OUTPUT);
            side /= 2;
            c *= 2;
        }
    }
    write_mean(s, side * side, out);
    lob_encoder_charge(&s->base, CHARGED_OUTPUT);
    return true;
}

static bool swin_encode(LobEncoder *encoder, const uint8_t *rgb, size_t n, float *out, LobEncoderTick tick,
                        void *user, GError **err) {
    Swin *s = (Swin *)encoder;
    const size_t tile = 3 * (size_t)s->transform.tile * (size_t)s->transform.tile;
    for (size_t b = 0; b < n; b++) {
        if (!encode_tile(s, rgb + b * tile, out + b * OUTPUT, tick, user)) {
            return lob_fail(err, LOB_ERROR_STOPPED, "encoder %s: stopped inside a batch", encoder->info.name);
        }
    }
    return true;
}

static void swin_free(LobEncoder *encoder) {
    Swin *s = (Swin *)encoder;
    free(s->x);
    free(s->normed);
    free(s->wide);
    free(s->windows);
    free(s->columns);
    lob_transform_clear(&s->transform);
    lob_prepared_clear(&s->prepared);
    lob_preset_free(s->preset);
    g_free(s);
}

/* Floats of x, normed, wide, windows, columns. The first stage is the widest: a 4 C-wide MLP over
 * (image / 4)^2 tokens. */
static void working_sizes(const Swin *s, size_t sizes[5]) {
    const size_t image = (size_t)s->preset->image, tokens = image / 4 * (image / 4);
    sizes[0] = MAX(tokens * WIDTH, 3 * image * image);
    sizes[1] = sizes[3] = tokens * WIDTH;
    sizes[2] = tokens * WIDTH * 4;
    sizes[4] = 4 * tokens * 9 * (WIDTH / 8);
}

static bool allocate_all(Swin *s, GError **err) {
    size_t sizes[5];
    working_sizes(s, sizes);
    return lob_allocate_floats(&s->x, sizes[0], err) && lob_allocate_floats(&s->normed, sizes[1], err) &&
           lob_allocate_floats(&s->wide, sizes[2], err) && lob_allocate_floats(&s->windows, sizes[3], err) &&
           lob_allocate_floats(&s->columns, sizes[4], err);
}

/* A layer: qkv, projection and MLP are 12 C^2 a token, scores and their sums 2 AREA C. */
static double count_flop(const Swin *s) {
    size_t side = (size_t)s->preset->image, c = WIDTH;
    double flop = lob_conv_flop(&s->stem[0], side) + lob_conv_flop(&s->stem[1], side / 2) +
                  lob_conv_flop(&s->stem[2], side / 4);
    side /= 4;
    for (size_t i = 0; i < STAGES; i++, side /= 2, c *= 2) {
        const double tokens = (double)(side * side), width = (double)c;
        flop += 2 * (double)LAYERS[i] * tokens * (12 * width * width + 2 * AREA * width);
        flop += i + 1 < STAGES ? 2 * tokens / 4 * 8 * width * width : 0;
    }
    return flop;
}

static void set_cost(Swin *s) {
    static const char *const names[CHARGED] = {"stem", "attention", "mlp", "output and merges"};
    size_t sizes[5], floats = 0;
    working_sizes(s, sizes);
    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        floats += sizes[i];
    }
    for (size_t i = 0; i < CHARGED; i++) {
        s->charged[i].name = names[i];
    }
    s->base.stages = s->charged;
    s->base.cost = (LobEncoderCost){.flop = count_flop(s),
                                    .weight_bytes = s->prepared.size,
                                    .working_bytes = sizeof(float) * floats,
                                    .stages = s->charged,
                                    .n_stages = CHARGED};
}

static bool check_preset(const LobPreset *p, GError **err) {
    if (p->image < 224 || p->image > 2016 || p->image % 224 != 0 || !(p->eps > 0)) {
        return lob_fail(err, LOB_ERROR_INPUT,
                        "%s: a swin needs eps and an image of a multiple of 224 px, at most 2016", p->path);
    }
    return true;
}

LobEncoder *lob_swin_open(const LobEncoderOptions *options, LobPreset *preset, GError **err) {
    static const LobEncoderOps ops = {.encode = swin_encode, .free = swin_free};
    Swin *s = g_new0(Swin, 1);
    s->preset = preset;
    s->eps = (float)preset->eps;
    s->base.ops = &ops;
    s->base.batch = lob_encoder_batch(options);
    if (!check_preset(preset, err) || !lob_transform_init(&s->transform, preset, options->tile_size, err) ||
        !lob_prepare(&s->prepared, options, preset, swin_build, s, err) ||
        (!options->describe && !allocate_all(s, err))) {
        swin_free(&s->base);
        return NULL;
    }
    set_cost(s);
    s->base.info = (LobEncoderInfo){.name = preset->name,
                                    .weights_sha256 = s->prepared.sha256,
                                    .transform = s->transform.description,
                                    .precision = "fp32",
                                    .dim = OUTPUT,
                                    .columns = NULL};
    return &s->base;
}
