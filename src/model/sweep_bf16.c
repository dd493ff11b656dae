/* The sweep's products of tiles in bf16, by the encoder's table of products. Whatever changes is rounded when
 * it changes: weights after a step, tiles once a block for all runs. */
#include "encoder/gemm.h"
#include "model/sweep_internal.h"

#include <string.h>

enum { ROWS = 128 }; /* of a product: blocks are filled up to a multiple */

struct LobSweepBf16 {
    const LobGemmOps *ops;
    LobGemm *first, *gates, *back, *gradient;
    float *w, *vu, *uv;              /* [runs] prepared weights: first layers, gates, gates turned round */
    size_t w_size, vu_size, uv_size; /* floats a run */
    float *turned, *tiles;           /* a block of tiles turned round [dim][block], and prepared */
    float *vu_turned;                /* [hidden][2 attention] */
    uint16_t *x, *dh;                /* [block][dim]; [hidden][block] */
};

size_t lob_sweep_bf16_rows(size_t rows) {
    const size_t block = LOB_SWEEP_BLOCK / 2;
    return (rows + block - 1) / block * block;
}

static bool failed(LobSweepStack *s, bool ok, GError *error) {
    if (ok)
        return false;
    if (s->error)
        g_clear_error(&error);
    else
        s->error = error;
    return true;
}

/* ---- rounding and turning ---- */

/* To the nearest, ties to even. Nothing here is NaN: a loss that is not finite ends training. */
static uint16_t rounded(float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

static void round_rows(const float *in, size_t n, uint16_t *out) {
    for (size_t i = 0; i < n; i++)
        out[i] = rounded(in[i]);
}

enum { STRIP = 16 };

/* out[j][i] = in[i][j]: columns in strips that fit the cache's lines. */
static void turn(const float *in, size_t rows, size_t columns, float *out, size_t stride) {
    for (size_t from = 0; from < columns; from += STRIP) {
        const size_t end = MIN(from + STRIP, columns);
        for (size_t i = 0; i < rows; i++)
            for (size_t j = from; j < end; j++)
                out[j * stride + i] = in[i * columns + j];
    }
}

static void turn_rounded(const float *in, size_t rows, size_t columns, uint16_t *out, size_t stride) {
    for (size_t from = 0; from < columns; from += STRIP) {
        const size_t end = MIN(from + STRIP, columns);
        for (size_t i = 0; i < rows; i++)
            for (size_t j = from; j < end; j++)
                out[j * stride + i] = rounded(in[i * columns + j]);
    }
}

/* ---- life ---- */

static bool open_products(LobSweepBf16 *b, const LobSweepStack *s, GError **err) {
    const size_t gates = 2 * s->attention;
    const LobGemmShape first = {.block = ROWS, .n = s->hidden, .k = s->dim, .chained = true};
    const LobGemmShape gate = {.block = ROWS, .n = gates, .k = s->hidden};
    const LobGemmShape back = {.block = ROWS, .n = s->hidden, .k = gates};
    const LobGemmShape gradient = {
        .block = s->hidden, .n = s->dim, .k = s->block, .after = LOB_GEMM_ADD, .chained = true};
    return (b->ops = lob_gemm_find("bf16", err)) && (b->first = b->ops->open(&first, err)) &&
           (b->gates = b->ops->open(&gate, err)) && (b->back = b->ops->open(&back, err)) &&
           (b->gradient = b->ops->open(&gradient, err));
}

static float *aligned(size_t n) {
    void *p = NULL;
    if (posix_memalign(&p, 64, MAX(n, 1) * sizeof(float)) != 0)
        g_error("%zu bytes of memory cannot be had", n * sizeof(float));
    memset(p, 0, MAX(n, 1) * sizeof(float));
    return p;
}

/* To whole cache lines. */
static size_t lines(size_t floats) {
    return (floats + 15) / 16 * 16;
}

LobSweepBf16 *lob_sweep_bf16_new(const LobSweepStack *s, GError **err) {
    LobSweepBf16 *b = g_new0(LobSweepBf16, 1);
    if (!open_products(b, s, err)) {
        lob_sweep_bf16_free(b);
        return NULL;
    }
    b->w_size = lines(b->ops->prepared(b->first));
    b->vu_size = lines(b->ops->prepared(b->gates));
    b->uv_size = lines(b->ops->prepared(b->back));
    b->w = aligned(s->n_runs * b->w_size);
    b->vu = aligned(s->n_runs * b->vu_size);
    b->uv = aligned(s->n_runs * b->uv_size);
    b->tiles = aligned(b->ops->prepared(b->gradient));
    b->turned = aligned(s->dim * s->block);
    b->vu_turned = aligned(s->hidden * 2 * s->attention);
    b->x = (uint16_t *)(void *)aligned(s->block * s->dim / 2 + 1);
    b->dh = (uint16_t *)(void *)aligned(s->hidden * s->block / 2 + 1);
    return b;
}

void lob_sweep_bf16_free(LobSweepBf16 *b) {
    if (!b)
        return;
    LobGemm *products[] = {b->first, b->gates, b->back, b->gradient};
    void *memory[] = {b->w, b->vu, b->uv, b->tiles, b->turned, b->vu_turned, b->x, b->dh};
    for (size_t i = 0; i < G_N_ELEMENTS(products); i++)
        if (products[i])
            b->ops->free(products[i]);
    for (size_t i = 0; i < G_N_ELEMENTS(memory); i++)
        free(memory[i]);
    g_free(b);
}

/* ---- steps ---- */

bool lob_sweep_bf16_load(LobSweepStack *s, size_t r) {
    LobSweepBf16 *b = s->bf16;
    const size_t gates = 2 * s->attention;
    const float *vu = s->vu + r * gates * s->hidden;
    GError *error = NULL;
    turn(vu, gates, s->hidden, b->vu_turned, gates);
    bool ok = b->ops->prepare(b->first, s->w + r * s->hidden * s->dim, b->w + r * b->w_size, &error) &&
              b->ops->prepare(b->gates, vu, b->vu + r * b->vu_size, &error) &&
              b->ops->prepare(b->back, b->vu_turned, b->uv + r * b->uv_size, &error);
    return !failed(s, ok, error);
}

/* Rows of a product that n tiles take. */
static size_t filled(size_t n) {
    return (n + ROWS - 1) / ROWS * ROWS;
}

bool lob_sweep_bf16_tiles(LobSweepStack *s, const float *x, size_t n, bool gradient) {
    LobSweepBf16 *b = s->bf16;
    GError *error = NULL;
    if (s->error)
        return false;
    if (!gradient) {
        round_rows(x, n * s->dim, b->x);
        memset(b->x + n * s->dim, 0, (filled(n) - n) * s->dim * sizeof *b->x);
        return true;
    }
    if (n < s->block)
        memset(b->turned, 0, s->dim * s->block * sizeof *b->turned);
    turn(x, n, s->dim, b->turned, s->block);
    return !failed(s, b->ops->prepare(b->gradient, b->turned, b->tiles, &error), error);
}

bool lob_sweep_bf16_first(LobSweepStack *s, size_t r, float *h, size_t n) {
    LobSweepBf16 *b = s->bf16;
    GError *error = NULL;
    return !s->error &&
           !failed(s, b->ops->run(b->first, b->w + r * b->w_size, NULL, b->x, h, filled(n), &error), error);
}

bool lob_sweep_bf16_gates(LobSweepStack *s, size_t r, const float *h, float *ts, size_t n) {
    LobSweepBf16 *b = s->bf16;
    GError *error = NULL;
    return !s->error &&
           !failed(s, b->ops->run(b->gates, b->vu + r * b->vu_size, NULL, h, ts, filled(n), &error), error);
}

bool lob_sweep_bf16_back(LobSweepStack *s, size_t r, const float *ts, float *dh, size_t n) {
    LobSweepBf16 *b = s->bf16;
    GError *error = NULL;
    return !s->error &&
           !failed(s, b->ops->run(b->back, b->uv + r * b->uv_size, NULL, ts, dh, filled(n), &error), error);
}

bool lob_sweep_bf16_gradient(LobSweepStack *s, size_t r, const float *dh, size_t n) {
    LobSweepBf16 *b = s->bf16;
    GError *error = NULL;
    if (s->error)
        return false;
    if (n < s->block)
        memset(b->dh, 0, s->hidden * s->block * sizeof *b->dh);
    turn_rounded(dh, n, s->hidden, b->dh, s->block);
    return !failed(
        s, b->ops->run(b->gradient, b->tiles, NULL, b->dh, s->gw + r * s->hidden * s->dim, s->hidden, &error),
        error);
}
