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

/* Where the tokens of a batch stand in working memory: one tile behind another, or, where products take rows
 * in groups (gemm.h), each tile's whole groups one behind another and in front of them all what is left of
 * each, its tail. A tail has its first half in first halves of a group and the rest in second ones, so that
 * every tile's tokens have the same places in groups however many tiles there are; several tails share a
 * group. Behind a tile's rows its tail can be laid to have its tokens in one piece: over the next tile's. */
typedef struct {
    size_t tokens, group;
    size_t main, tail; /* tokens in whole groups; the others */
    size_t left;       /* of a tail in the first half of a group */
    size_t share;      /* tails that share a group */
} LobVitRows;

void lob_vit_rows_init(LobVitRows *rows, size_t tokens, size_t group); /* group 0: none */
/* Of a batch of n tiles: rows in all, whole groups; what memory for them has to hold, a last tail behind. */
size_t lob_vit_rows_all(const LobVitRows *rows, size_t n);
size_t lob_vit_rows_memory(const LobVitRows *rows, size_t n);
/* The row of tile b's first token in whole groups; of its token t. */
size_t lob_vit_rows_tile(const LobVitRows *rows, size_t n, size_t b);
size_t lob_vit_rows_token(const LobVitRows *rows, size_t n, size_t b, size_t t);
/* Of memory [lob_vit_rows_memory][width]: zeros where tails are, and are not; tile b's tail from behind its
 * rows to its place; and back, without leaving there. */
void lob_vit_rows_clear(const LobVitRows *rows, size_t n, float *memory, size_t width);
void lob_vit_rows_put_tail(const LobVitRows *rows, size_t n, size_t b, float *memory, size_t width);
void lob_vit_rows_take_tail(const LobVitRows *rows, size_t n, size_t b, float *memory, size_t width);

typedef struct {
    LobEncoder base;
    LobEncoderStage stages[LOB_VIT_STAGES];
    LobPreset *preset;
    LobTransform transform;
    LobPrepared prepared;
    size_t width, heads, head, hidden, wide;      /* D, heads, D / heads, hidden, F */
    size_t patch, grid, patches, leading, tokens; /* leading: class token and registers */
    LobVitRows rows_of;                           /* of a batch */
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
    /* working memory for one batch of B tiles of T tokens; R = lob_vit_rows_memory */
    float *x, *normed; /* [R][D] */
    float *qkv;        /* [R][3D], and for the MLP [R][F] */
    float *kept;       /* [tail][3D] of the next tile while a tail lies there */
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
