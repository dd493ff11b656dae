/* The vision transformer: prepared weights, working memory, stages. Only src/encoder includes this. */
#ifndef LOB_ENCODER_VIT_INTERNAL_H
#define LOB_ENCODER_VIT_INTERNAL_H

#include "encoder/encoder_internal.h"
#include "encoder/gemm.h"
#include "encoder/loader.h"
#include "encoder/transform.h"

/* Folded at loading: layer scale into the matrices before the residual sum, the value bias into the
 * projection's (attention rows sum to one). The key bias shifts every score of a row alike and drops out of
 * the softmax. The four matrices are as the precision's products want them (gemm.h). */
typedef struct {
    float *norm1_gain, *norm1_shift; /* [D] */
    float *qkv, *q_bias;             /* [3D][D] rows q, k, v, each head-major; [D] */
    float *proj, *proj_bias;         /* [D][D], [D] */
    float *norm2_gain, *norm2_shift; /* [D] */
    float *fc1, *fc1_bias;           /* [F][D], [F]; F = hidden, or 2 hidden where gated */
    float *fc2, *fc2_bias;           /* [D][hidden], [D] */
} LobVitLayer;

/* One query over all tokens (as in CoCa). */
typedef struct {
    float *key_gain, *key_shift; /* [D] */
    float *query;                /* [pool width], through its norm and projection, scaled */
    float *kv;                   /* [2 pool width][D] */
    float *out;                  /* [pool width][pool width] */
    float *gain, *shift;         /* [pool width] */
} LobVitPool;

typedef enum {
    LOB_VIT_PATCHES,
    LOB_VIT_NORMS,
    LOB_VIT_QKV,
    LOB_VIT_ATTENTION,
    LOB_VIT_PROJECTION,
    LOB_VIT_MLP_IN, /* with its activation */
    LOB_VIT_MLP_OUT,
    LOB_VIT_OUTPUT,
    LOB_VIT_STAGES
} LobVitStage;

enum { LOB_VIT_PROBE_LAYERS = 3 };

/* A layer's products behind its attention. */
typedef struct {
    LobGemm *proj, *fc1, *fc2;
} LobVitProducts;

typedef struct {
    LobEncoder base;
    LobEncoderStage stages[LOB_VIT_STAGES];
    LobPreset *preset;
    LobTransform transform;
    LobPrepared prepared;
    size_t width, heads, head, hidden, wide;      /* D, heads, D / heads, hidden, F */
    size_t patch, grid, patches, leading, tokens; /* leading: class token and registers */
    size_t spacing; /* rows of a tile in working memory, at least its tokens; those behind are nobody's */
    size_t pool_width, pool_heads;
    float eps;
    bool gated, class_alone; /* class_alone: of the last layer only the class token is asked for */
    const LobGemmOps *gemm;
    LobGemm *to_qkv;
    LobVitProducts all, one; /* over all rows of a tile; over its class token, where class_alone */
    float *patch_weight;     /* [D][3 patch patch] */
    float *lead;             /* [leading][D], position added */
    float *position;         /* [patches][D], the patches' bias added */
    LobVitLayer *layers;     /* [depth] */
    float *norm_gain, *norm_shift;
    LobVitPool pool;
    /* working memory for one batch of B tiles, T tokens and S = spacing rows each */
    float *x, *normed; /* [B S][D] */
    float *qkv;        /* [B S][3D], and for the MLP [B S][F] */
    float *scores;     /* [T][T] */
    float *sums;       /* [T] */
    float *rows;       /* [patches][3 patch patch] */
} LobVit;

/* What a layer's weights are prepared for and run through. */
const LobVitProducts *lob_vit_products(const LobVit *v, int64_t layer);
/* The network as LobLoaderBuild. */
void lob_vit_build(LobLoader *loader, void *network);
/* A [from][from][D] grid of position embeddings resampled to [to][to][D], as PyTorch's interpolate does with
 * align_corners=False. */
void lob_position_resample(const float *in, size_t from, float *out, size_t to, size_t width,
                           const char *filter);

#endif
