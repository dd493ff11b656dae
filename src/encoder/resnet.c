/* ResNet-50 up to its third stage and the mean over positions: 1024 values, as CLAM and many others use it.
 * Tensors are named as torchvision's. */
#include "encoder/conv.h"
#include "encoder/encoder_internal.h"

#include <stdlib.h>
#include <string.h>

enum { STAGES = 3, MOST_BLOCKS = 6, OUTPUT = 1024 };
enum { CHARGED_STEM, CHARGED_STAGE, CHARGED = CHARGED_STAGE + STAGES }; /* the mean counts to the last */
static const size_t BLOCKS[STAGES] = {3, 4, 6};

typedef struct {
    LobConv narrow, spatial, wide, shortcut; /* shortcut only in a stage's first block */
} Block;

typedef struct {
    LobEncoder base;
    LobEncoderStage stages[CHARGED];
    LobPreset *preset;
    LobTransform transform;
    LobPrepared prepared;
    LobConv stem;
    Block blocks[STAGES][MOST_BLOCKS];
    float *x, *y, *z, *w, *columns;
} ResNet;

static void build_conv(LobLoader *l, LobConv *conv, const char *block, const char *name, const char *norm,
                       size_t in, size_t out, size_t kernel, size_t stride) {
    g_autofree char *full = g_strconcat(block, name, NULL), *full_norm = g_strconcat(block, norm, NULL);
    lob_conv_build(l, conv, full, full_norm, in, out, kernel, stride);
}

static void resnet_build(LobLoader *l, void *network) {
    ResNet *r = network;
    size_t in = 64;
    build_conv(l, &r->stem, "", "conv1", "bn1", 3, 64, 7, 2);
    for (size_t s = 0; s < STAGES; s++) {
        const size_t width = (size_t)64 << s, out = 4 * width;
        for (size_t b = 0; b < BLOCKS[s]; b++) {
            Block *block = &r->blocks[s][b];
            const size_t stride = s > 0 && b == 0 ? 2 : 1;
            g_autofree char *name = g_strdup_printf("layer%zu.%zu.", s + 1, b);
            build_conv(l, &block->narrow, name, "conv1", "bn1", in, width, 1, 1);
            build_conv(l, &block->spatial, name, "conv2", "bn2", width, width, 3, stride);
            build_conv(l, &block->wide, name, "conv3", "bn3", width, out, 1, 1);
            if (b == 0) {
                build_conv(l, &block->shortcut, name, "downsample.0", "downsample.1", in, out, 1, stride);
            }
            in = out;
        }
    }
}

/* x in r->x; the result is there again. Returns the side. */
static size_t run_block(ResNet *r, const Block *block, size_t side, bool first) {
    const size_t after = lob_conv_side(&block->spatial, side);
    float *sum = r->x;
    lob_conv_run(&block->narrow, r->x, side, r->y, r->columns, LOB_CONV_RELU);
    lob_conv_run(&block->spatial, r->y, side, r->z, r->columns, LOB_CONV_RELU);
    if (first) {
        lob_conv_run(&block->shortcut, r->x, side, r->w, r->columns, LOB_CONV_PLAIN);
        sum = r->w;
        r->w = r->x;
        r->x = sum;
    }
    lob_conv_run(&block->wide, r->z, after, sum, r->columns, LOB_CONV_ADD_RELU);
    return after;
}

static void mean_of(const float *x, size_t positions, float *out) {
    memset(out, 0, OUTPUT * sizeof *out);
    for (size_t p = 0; p < positions; p++) {
        for (size_t i = 0; i < OUTPUT; i++) {
            out[i] += x[p * OUTPUT + i];
        }
    }
    for (size_t i = 0; i < OUTPUT; i++) {
        out[i] /= (float)positions;
    }
}

static bool encode_tile(ResNet *r, const uint8_t *rgb, float *out, LobEncoderTick tick, void *user) {
    size_t side = (size_t)r->transform.image;
    lob_transform_image(&r->transform, rgb, r->x);
    lob_conv_run(&r->stem, r->x, side, r->y, r->columns, LOB_CONV_RELU);
    side = lob_conv_side(&r->stem, side);
    lob_max_pool(r->y, side, 64, r->x);
    side = (side - 1) / 2 + 1;
    lob_encoder_charge(&r->base, CHARGED_STEM);
    for (size_t s = 0; s < STAGES; s++) {
        for (size_t b = 0; b < BLOCKS[s]; b++) {
            side = run_block(r, &r->blocks[s][b], side, b == 0);
        }
        lob_encoder_charge(&r->base, CHARGED_STAGE + s);
        if (tick && !tick(user)) {
            return false;
        }
    }
    mean_of(r->x, side * side, out);
    lob_encoder_charge(&r->base, CHARGED - 1);
    return true;
}

static bool resnet_encode(LobEncoder *encoder, const uint8_t *rgb, size_t n, float *out, LobEncoderTick tick,
                          void *user, GError **err) {
    ResNet *r = (ResNet *)encoder;
    const size_t tile = 3 * (size_t)r->transform.tile * (size_t)r->transform.tile;
    for (size_t b = 0; b < n; b++) {
        if (!encode_tile(r, rgb + b * tile, out + b * OUTPUT, tick, user)) {
            return lob_fail(err, LOB_ERROR_STOPPED, "encoder %s: stopped inside a batch", encoder->info.name);
        }
    }
    return true;
}

static void resnet_free(LobEncoder *encoder) {
    ResNet *r = (ResNet *)encoder;
    free(r->x);
    free(r->y);
    free(r->z);
    free(r->w);
    free(r->columns);
    lob_transform_clear(&r->transform);
    lob_prepared_clear(&r->prepared);
    lob_preset_free(r->preset);
    g_free(r);
}

/* The largest planes: the stem's output, a stage's wide one, and the gathered neighbourhoods of either. */
static size_t plane_size(const ResNet *r, size_t *columns) {
    const size_t half = ((size_t)r->preset->image + 1) / 2, quarter = (half + 1) / 2;
    *columns = MAX(half * half * 147, quarter * quarter * 9 * 64);
    return MAX(MAX(half * half * 64, quarter * quarter * 256), 3 * 4 * half * half);
}

static bool allocate_all(ResNet *r, GError **err) {
    size_t columns;
    const size_t plane = plane_size(r, &columns);
    return lob_allocate_floats(&r->x, plane, err) && lob_allocate_floats(&r->y, plane, err) &&
           lob_allocate_floats(&r->z, plane, err) && lob_allocate_floats(&r->w, plane, err) &&
           lob_allocate_floats(&r->columns, columns, err);
}

static double count_flop(const ResNet *r) {
    size_t side = lob_conv_side(&r->stem, (size_t)r->preset->image);
    double flop = lob_conv_flop(&r->stem, (size_t)r->preset->image);
    side = (side - 1) / 2 + 1;
    for (size_t s = 0; s < STAGES; s++) {
        for (size_t b = 0; b < BLOCKS[s]; b++) {
            const Block *block = &r->blocks[s][b];
            const size_t after = lob_conv_side(&block->spatial, side);
            flop += lob_conv_flop(&block->narrow, side) + lob_conv_flop(&block->spatial, side) +
                    lob_conv_flop(&block->wide, after) + (b == 0 ? lob_conv_flop(&block->shortcut, side) : 0);
            side = after;
        }
    }
    return flop;
}

static void set_cost(ResNet *r) {
    static const char *const names[CHARGED] = {"stem", "stage 1", "stage 2", "stage 3"};
    size_t columns;
    const size_t plane = plane_size(r, &columns);
    for (size_t i = 0; i < CHARGED; i++) {
        r->stages[i].name = names[i];
    }
    r->base.stages = r->stages;
    r->base.cost = (LobEncoderCost){.flop = count_flop(r),
                                    .weight_bytes = r->prepared.size,
                                    .working_bytes = sizeof(float) * (4 * plane + columns),
                                    .stages = r->stages,
                                    .n_stages = CHARGED};
}

static bool check_preset(const LobPreset *p, GError **err) {
    if (p->image < 32 || p->image > 2048) {
        return lob_fail(err, LOB_ERROR_INPUT, "%s: a resnet50 needs an image of 32 to 2048 px, not %d",
                        p->path, (int)p->image);
    }
    return true;
}

LobEncoder *lob_resnet_open(const LobEncoderOptions *options, LobPreset *preset, GError **err) {
    static const LobEncoderOps ops = {.encode = resnet_encode, .free = resnet_free};
    ResNet *r = g_new0(ResNet, 1);
    r->preset = preset;
    r->base.ops = &ops;
    r->base.batch = lob_encoder_batch(options);
    if (!check_preset(preset, err) || !lob_transform_init(&r->transform, preset, options->tile_size, err) ||
        !lob_prepare(&r->prepared, options, preset, resnet_build, r, err) ||
        (!options->describe && !allocate_all(r, err))) {
        resnet_free(&r->base);
        return NULL;
    }
    set_cost(r);
    r->base.info = (LobEncoderInfo){.name = preset->name,
                                    .weights_sha256 = r->prepared.sha256,
                                    .transform = r->transform.description,
                                    .precision = "fp32",
                                    .dim = OUTPUT,
                                    .columns = NULL};
    return &r->base;
}
