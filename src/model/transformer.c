/* transformer: tiles as a set of tokens, a class token before them, two pre-norm layers of multi-head
 * self-attention (Vaswani et al. 2017; pre-norm after Xiong et al. 2020). In the first layer every token sees
 * every other, in the second only the class token looks: its normalised output is the patient vector, and its
 * attention to the tiles, averaged over heads, is reported. relu(x W' + b) makes the tokens, as in TransMIL;
 * there is no position, so the order of tiles changes nothing. LobNet's `attention` is the number of heads.
 *
 * Attention is exact but never held whole: a block of query rows is weighed against all keys at a time, and
 * weighed again in the backward pass. Memory grows with the number of tiles, time with its square. */
#include "model/model_internal.h"

#define LAYERS 2
#define BLOCK ((size_t)64) /* query rows weighed at a time */
#define LN_EPS 1e-5

/* ---- parameters ---- */

typedef struct {
    size_t g1, b1, qkv, bqkv, o, bo, g2, b2, up, bup, down, bdown;
} LayerBlocks;

typedef struct {
    size_t w, b, token, g, gb, end;
    LayerBlocks layer[LAYERS];
} Blocks;

static size_t inner_width(const LobNet *net) {
    return 2 * net->hidden;
}

static Blocks blocks_of(const LobNet *net) {
    size_t h = net->hidden, f = inner_width(net);
    Blocks at = {.w = 0, .b = h * net->dim};
    size_t next = at.token = at.b + h;
    next += h;
    for (size_t l = 0; l < LAYERS; l++) {
        LayerBlocks *b = &at.layer[l];
        b->g1 = next;
        b->b1 = b->g1 + h;
        b->qkv = b->b1 + h;
        b->bqkv = b->qkv + 3 * h * h;
        b->o = b->bqkv + 3 * h;
        b->bo = b->o + h * h;
        b->g2 = b->bo + h;
        b->b2 = b->g2 + h;
        b->up = b->b2 + h;
        b->bup = b->up + f * h;
        b->down = b->bup + f;
        b->bdown = b->down + h * f;
        next = b->bdown + h;
    }
    at.g = next;
    at.gb = at.g + h;
    at.end = at.gb + h;
    return at;
}

static size_t transformer_z(const LobNet *net) {
    return net->hidden;
}

static size_t transformer_n_params(const LobNet *net) {
    return blocks_of(net).end;
}

static void ones(lob_real *v, size_t n) {
    for (size_t i = 0; i < n; i++)
        v[i] = 1;
}

static void transformer_init(const LobNet *net, LobRng *rng, lob_real *params) {
    Blocks at = blocks_of(net);
    size_t h = net->hidden, f = inner_width(net);
    lob_linear_init(rng, net->dim, h, params + at.w, params + at.b);
    for (size_t j = 0; j < h; j++)
        params[at.token + j] = (lob_real)(0.02 * lob_rng_normal(rng));
    for (size_t l = 0; l < LAYERS; l++) {
        const LayerBlocks *b = &at.layer[l];
        ones(params + b->g1, h);
        ones(params + b->g2, h);
        lob_linear_init(rng, h, 3 * h, params + b->qkv, params + b->bqkv);
        lob_linear_init(rng, h, h, params + b->o, params + b->bo);
        lob_linear_init(rng, h, f, params + b->up, params + b->bup);
        lob_linear_init(rng, f, h, params + b->down, params + b->bdown);
    }
    ones(params + at.g, h);
}

static void transformer_decay(const LobNet *net, uint8_t *mask) {
    Blocks at = blocks_of(net);
    memset(mask + at.w, 1, at.b - at.w);
    for (size_t l = 0; l < LAYERS; l++) {
        const LayerBlocks *b = &at.layer[l];
        memset(mask + b->qkv, 1, b->bqkv - b->qkv);
        memset(mask + b->o, 1, b->bo - b->o);
        memset(mask + b->up, 1, b->bup - b->up);
        memset(mask + b->down, 1, b->bdown - b->down);
    }
}

/* ---- scratch ---- */

typedef struct {
    const lob_real *in;         /* [tokens][h] */
    size_t rows;                /* the first ones, which look */
    lob_real *norm1, *inverse1; /* [tokens][h] normalised input; [tokens] 1 / sd */
    lob_real *qkv;              /* [tokens][3 h] */
    lob_real *peak;             /* [heads][rows] log of the sum of exponentials */
    lob_real *o, *mid;          /* [rows][h] what was looked up; input plus its projection */
    lob_real *norm2, *inverse2; /* [rows][h], [rows] */
    lob_real *up;               /* [rows][2 h] before its nonlinearity */
    lob_real *out;              /* [rows][h] */
} Layer;

typedef struct {
    size_t tokens;
    lob_real *x; /* [tokens][h] */
    Layer layer[LAYERS];
    lob_real *norm, *inverse;               /* [h], [1] of the class token's output */
    lob_real *weigh, *dweigh;               /* [BLOCK][tokens] */
    lob_real *affine, *wide, *dwide, *dqkv; /* [tokens][h], [2 h], [2 h], [3 h] */
    lob_real *dx, *dmid, *dnorm, *dlooked;  /* [tokens][h] */
} Scratch;

static lob_real *slice(lob_real **at, size_t n) {
    lob_real *v = *at;
    if (v)
        *at += n;
    return v;
}

/* Lays the scratch of n tiles out from `at`; counts how much it takes. */
static size_t lay_out(const LobNet *net, size_t n, lob_real *own, Scratch *s) {
    size_t h = net->hidden, t = n + 1, total = 0;
    lob_real *at = own;
#define TAKE(field, size) (field = slice(&at, (size)), total += (size))
    *s = (Scratch){.tokens = t};
    TAKE(s->x, t * h);
    for (size_t l = 0; l < LAYERS; l++) {
        Layer *y = &s->layer[l];
        size_t r = y->rows = l + 1 < LAYERS ? t : 1;
        TAKE(y->norm1, t * h), TAKE(y->inverse1, t), TAKE(y->qkv, t * 3 * h);
        TAKE(y->peak, net->attention * r), TAKE(y->o, r * h), TAKE(y->mid, r * h);
        TAKE(y->norm2, r * h), TAKE(y->inverse2, r), TAKE(y->up, r * 2 * h), TAKE(y->out, r * h);
        y->in = l ? s->layer[l - 1].out : s->x;
    }
    TAKE(s->norm, h), TAKE(s->inverse, 1);
    TAKE(s->weigh, BLOCK * t), TAKE(s->dweigh, BLOCK * t);
    TAKE(s->affine, t * h), TAKE(s->wide, t * 2 * h), TAKE(s->dwide, t * 2 * h), TAKE(s->dqkv, t * 3 * h);
    TAKE(s->dx, t * h), TAKE(s->dmid, t * h), TAKE(s->dnorm, t * h), TAKE(s->dlooked, t * h);
#undef TAKE
    g_assert(!own || at == own + total);
    return total;
}

static size_t transformer_scratch(const LobNet *net, size_t n) {
    Scratch s;
    return lay_out(net, n, NULL, &s);
}

/* ---- layer norm and GELU ---- */

static void normalise(const lob_real *x, size_t n, size_t h, lob_real *norm, lob_real *inverse) {
    for (size_t i = 0; i < n; i++) {
        lob_real mean = 0, square = 0;
        for (size_t j = 0; j < h; j++)
            mean += x[i * h + j];
        mean /= (lob_real)h;
        for (size_t j = 0; j < h; j++) {
            lob_real d = x[i * h + j] - mean;
            square += d * d;
        }
        inverse[i] = 1 / LOB_SQRT(square / (lob_real)h + (lob_real)LN_EPS);
        for (size_t j = 0; j < h; j++)
            norm[i * h + j] = (x[i * h + j] - mean) * inverse[i];
    }
}

static void affine(const lob_real *norm, size_t n, size_t h, const lob_real *g, const lob_real *b,
                   lob_real *y) {
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < h; j++)
            y[i * h + j] = norm[i * h + j] * g[j] + b[j];
}

/* Adds to dx. */
static void norm_backward(const lob_real *norm, const lob_real *inverse, size_t n, size_t h,
                          const lob_real *g, const lob_real *dy, lob_real *dg, lob_real *db, lob_real *dx) {
    for (size_t i = 0; i < n; i++) {
        lob_real mean = 0, along = 0;
        for (size_t j = 0; j < h; j++) {
            lob_real d = dy[i * h + j], x = norm[i * h + j];
            dg[j] += d * x;
            db[j] += d;
            mean += d * g[j] / (lob_real)h;
            along += d * g[j] * x / (lob_real)h;
        }
        for (size_t j = 0; j < h; j++)
            dx[i * h + j] += inverse[i] * (dy[i * h + j] * g[j] - mean - norm[i * h + j] * along);
    }
}

static const double root_half = 0.70710678118654752440, root_half_pi = 0.39894228040143267794;

static void gelu(const lob_real *x, size_t n, lob_real *y) {
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * (1 + LOB_ERF(x[i] * (lob_real)root_half)) / 2;
}

static void gelu_backward(const lob_real *x, size_t n, lob_real *d) {
    for (size_t i = 0; i < n; i++) {
        lob_real below = (1 + LOB_ERF(x[i] * (lob_real)root_half)) / 2;
        d[i] *= below + x[i] * (lob_real)root_half_pi * LOB_EXP(-x[i] * x[i] / 2);
    }
}

/* ---- attention ---- */

/* A block of query rows of one head against all keys. */
typedef struct {
    const Layer *layer;
    size_t tokens, hidden, width, head, first, rows;
    lob_real scale;
} Look;

static Look look_at(const LobNet *net, const Scratch *s, const Layer *layer, size_t head, size_t first) {
    size_t width = net->hidden / net->attention;
    return (Look){layer,
                  s->tokens,
                  net->hidden,
                  width,
                  head,
                  first,
                  MIN(BLOCK, layer->rows - first),
                  1 / LOB_SQRT((lob_real)width)};
}

/* part 0 queries, 1 keys, 2 values, of rows from `row` on. */
static size_t qkv_at(const Look *look, size_t part, size_t row) {
    return row * 3 * look->hidden + part * look->hidden + look->head * look->width;
}

static void raw_weights(const Look *k, lob_real *weigh) {
    const lob_real *qkv = k->layer->qkv;
    LOB_GEMM(CblasRowMajor, CblasNoTrans, CblasTrans, (int)k->rows, (int)k->tokens, (int)k->width, k->scale,
             qkv + qkv_at(k, 0, k->first), (int)(3 * k->hidden), qkv + qkv_at(k, 1, 0), (int)(3 * k->hidden),
             0, weigh, (int)k->tokens);
}

static void look_forward(const Look *k, lob_real *weigh, lob_real *peak) {
    raw_weights(k, weigh);
    for (size_t i = 0; i < k->rows; i++) {
        lob_real *w = weigh + i * k->tokens, top = w[0], sum = 0;
        for (size_t j = 1; j < k->tokens; j++)
            top = w[j] > top ? w[j] : top;
        for (size_t j = 0; j < k->tokens; j++)
            sum += w[j] = LOB_EXP(w[j] - top);
        for (size_t j = 0; j < k->tokens; j++)
            w[j] /= sum;
        peak[k->first + i] = top + LOB_LOG(sum);
    }
    LOB_GEMM(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)k->rows, (int)k->width, (int)k->tokens, 1, weigh,
             (int)k->tokens, k->layer->qkv + qkv_at(k, 2, 0), (int)(3 * k->hidden), 0,
             k->layer->o + k->first * k->hidden + k->head * k->width, (int)k->hidden);
}

/* With p the weights and o what they looked up: dv += p' do; dp = do v'; dw = p (dp - do.o). */
static void look_backward(const Look *k, const Scratch *s, const lob_real *peak) {
    const lob_real *qkv = k->layer->qkv;
    const int wide = (int)(3 * k->hidden), n = (int)k->tokens, r = (int)k->rows, w = (int)k->width;
    const size_t at = k->first * k->hidden + k->head * k->width;
    raw_weights(k, s->weigh);
    for (size_t i = 0; i < k->rows; i++)
        for (size_t j = 0; j < k->tokens; j++)
            s->weigh[i * k->tokens + j] = LOB_EXP(s->weigh[i * k->tokens + j] - peak[k->first + i]);
    LOB_GEMM(CblasRowMajor, CblasTrans, CblasNoTrans, n, w, r, 1, s->weigh, n, s->dlooked + at,
             (int)k->hidden, 1, s->dqkv + qkv_at(k, 2, 0), wide);
    LOB_GEMM(CblasRowMajor, CblasNoTrans, CblasTrans, r, n, w, 1, s->dlooked + at, (int)k->hidden,
             qkv + qkv_at(k, 2, 0), wide, 0, s->dweigh, n);
    for (size_t i = 0; i < k->rows; i++) {
        lob_real along = 0;
        for (size_t j = 0; j < k->width; j++)
            along += s->dlooked[at + i * k->hidden + j] * k->layer->o[at + i * k->hidden + j];
        for (size_t j = 0; j < k->tokens; j++)
            s->dweigh[i * k->tokens + j] =
                s->weigh[i * k->tokens + j] * (s->dweigh[i * k->tokens + j] - along);
    }
    LOB_GEMM(CblasRowMajor, CblasNoTrans, CblasNoTrans, r, w, n, k->scale, s->dweigh, n,
             qkv + qkv_at(k, 1, 0), wide, 0, s->dqkv + qkv_at(k, 0, k->first), wide);
    LOB_GEMM(CblasRowMajor, CblasTrans, CblasNoTrans, n, w, r, k->scale, s->dweigh, n,
             qkv + qkv_at(k, 0, k->first), wide, 1, s->dqkv + qkv_at(k, 1, 0), wide);
}

/* ---- a layer ---- */

static void layer_forward(const LobNet *net, const lob_real *params, const LayerBlocks *b, const Scratch *s,
                          const Layer *y) {
    size_t h = net->hidden, f = inner_width(net), r = y->rows;
    normalise(y->in, s->tokens, h, y->norm1, y->inverse1);
    affine(y->norm1, s->tokens, h, params + b->g1, params + b->b1, s->affine);
    lob_linear(s->affine, s->tokens, h, params + b->qkv, params + b->bqkv, 3 * h, y->qkv);
    for (size_t head = 0; head < net->attention; head++)
        for (size_t first = 0; first < r; first += BLOCK) {
            Look look = look_at(net, s, y, head, first);
            look_forward(&look, s->weigh, y->peak + head * r);
        }
    lob_linear(y->o, r, h, params + b->o, params + b->bo, h, y->mid);
    for (size_t i = 0; i < r * h; i++)
        y->mid[i] += y->in[i];
    normalise(y->mid, r, h, y->norm2, y->inverse2);
    affine(y->norm2, r, h, params + b->g2, params + b->b2, s->affine);
    lob_linear(s->affine, r, h, params + b->up, params + b->bup, f, y->up);
    gelu(y->up, r * f, s->wide);
    lob_linear(s->wide, r, f, params + b->down, params + b->bdown, h, y->out);
    for (size_t i = 0; i < r * h; i++)
        y->out[i] += y->mid[i];
}

static void clear(lob_real *v, size_t n) {
    memset(v, 0, n * sizeof *v);
}

/* s->dx holds the gradient of the layer's output rows, and then of its input. */
static void layer_backward(const LobNet *net, const lob_real *params, const LayerBlocks *b, const Scratch *s,
                           const Layer *y, lob_real *grad) {
    size_t h = net->hidden, f = inner_width(net), r = y->rows, t = s->tokens;
    memcpy(s->dmid, s->dx, r * h * sizeof *s->dx);
    gelu(y->up, r * f, s->wide);
    clear(s->dwide, r * f);
    lob_linear_backward(s->wide, r, f, params + b->down, h, s->dx, grad + b->down, grad + b->bdown, s->dwide);
    gelu_backward(y->up, r * f, s->dwide);
    affine(y->norm2, r, h, params + b->g2, params + b->b2, s->affine);
    clear(s->dnorm, r * h);
    lob_linear_backward(s->affine, r, h, params + b->up, f, s->dwide, grad + b->up, grad + b->bup, s->dnorm);
    norm_backward(y->norm2, y->inverse2, r, h, params + b->g2, s->dnorm, grad + b->g2, grad + b->b2, s->dmid);

    clear(s->dlooked, r * h);
    lob_linear_backward(y->o, r, h, params + b->o, h, s->dmid, grad + b->o, grad + b->bo, s->dlooked);
    clear(s->dqkv, t * 3 * h);
    for (size_t head = 0; head < net->attention; head++)
        for (size_t first = 0; first < r; first += BLOCK) {
            Look look = look_at(net, s, y, head, first);
            look_backward(&look, s, y->peak + head * r);
        }
    affine(y->norm1, t, h, params + b->g1, params + b->b1, s->affine);
    clear(s->dnorm, t * h);
    lob_linear_backward(s->affine, t, h, params + b->qkv, 3 * h, s->dqkv, grad + b->qkv, grad + b->bqkv,
                        s->dnorm);
    memcpy(s->dx, s->dmid, r * h * sizeof *s->dx);
    clear(s->dx + r * h, (t - r) * h);
    norm_backward(y->norm1, y->inverse1, t, h, params + b->g1, s->dnorm, grad + b->g1, grad + b->b1, s->dx);
}

/* ---- whole ---- */

/* The class token's attention to the tiles in the last layer, averaged over heads; its look at itself is left
 * out and the rest sums to 1. */
static void report_attention(const LobNet *net, const Scratch *s, size_t n, lob_real *weight) {
    const Layer *last = &s->layer[LAYERS - 1];
    lob_real sum = 0;
    clear(weight, n);
    for (size_t head = 0; head < net->attention; head++) {
        Look look = look_at(net, s, last, head, 0);
        raw_weights(&look, s->weigh);
        for (size_t i = 0; i < n; i++)
            weight[i] += LOB_EXP(s->weigh[i + 1] - last->peak[head]);
    }
    for (size_t i = 0; i < n; i++)
        sum += weight[i];
    for (size_t i = 0; i < n; i++)
        weight[i] = sum > 0 ? weight[i] / sum : 1 / (lob_real)n;
}

static void transformer_forward(const LobNet *net, const lob_real *params, const lob_real *x, size_t n,
                                LobNetWork *work, lob_real *z) {
    Blocks at = blocks_of(net);
    Scratch s;
    size_t h = net->hidden;
    lay_out(net, n, work->own, &s);
    memcpy(s.x, params + at.token, h * sizeof *s.x);
    lob_linear(x, n, net->dim, params + at.w, params + at.b, h, s.x + h);
    for (size_t i = h; i < (n + 1) * h; i++)
        s.x[i] = s.x[i] > 0 ? s.x[i] : 0;
    for (size_t l = 0; l < LAYERS; l++)
        layer_forward(net, params, &at.layer[l], &s, &s.layer[l]);
    report_attention(net, &s, n, work->weight);
    normalise(s.layer[LAYERS - 1].out, 1, h, s.norm, s.inverse);
    affine(s.norm, 1, h, params + at.g, params + at.gb, z);
}

static void transformer_backward(const LobNet *net, const lob_real *params, const lob_real *x, size_t n,
                                 LobNetWork *work, const lob_real *dz, lob_real *grad) {
    Blocks at = blocks_of(net);
    Scratch s;
    size_t h = net->hidden;
    lay_out(net, n, work->own, &s);
    clear(s.dx, h);
    norm_backward(s.norm, s.inverse, 1, h, params + at.g, dz, grad + at.g, grad + at.gb, s.dx);
    for (size_t l = LAYERS; l-- > 0;)
        layer_backward(net, params, &at.layer[l], &s, &s.layer[l], grad);
    for (size_t j = 0; j < h; j++)
        grad[at.token + j] += s.dx[j];
    for (size_t i = h; i < (n + 1) * h; i++)
        s.dx[i] = s.x[i] > 0 ? s.dx[i] : 0;
    lob_linear_backward(x, n, net->dim, params + at.w, h, s.dx + h, grad + at.w, grad + at.b, NULL);
}

static bool transformer_takes(size_t hidden, size_t attention) {
    return hidden % attention == 0;
}

const LobAggregator lob_transformer = {.kind = "transformer",
                                       .needs_bag = true,
                                       .has_attention = true,
                                       .takes = transformer_takes,
                                       .z = transformer_z,
                                       .n_params = transformer_n_params,
                                       .init = transformer_init,
                                       .forward = transformer_forward,
                                       .backward = transformer_backward,
                                       .decay = transformer_decay,
                                       .scratch = transformer_scratch};
