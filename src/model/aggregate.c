/* The aggregators: how a bag of tiles becomes one vector. A new one is a block of functions here (or in a
 * file of its own) and a line in the table at the end. Backward passes are derived by hand; each is checked
 * against central differences. */
#include "model/model_internal.h"

/* ---- shared pieces ---- */

/* y [n][out] = x [n][in] w' + b, w [out][in] */
static void linear(const lob_real *x, size_t n, size_t in, const lob_real *w, const lob_real *b, size_t out,
                   lob_real *y) {
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < out; j++)
            y[i * out + j] = b[j];
    LOB_GEMM(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)out, (int)in, 1, x, (int)in, w, (int)in, 1,
             y, (int)out);
}

/* dw += dy' x; db += sum dy; where dx is wanted it is dx += dy w */
static void linear_backward(const lob_real *x, size_t n, size_t in, const lob_real *w, size_t out,
                            const lob_real *dy, lob_real *dw, lob_real *db, lob_real *dx) {
    LOB_GEMM(CblasRowMajor, CblasTrans, CblasNoTrans, (int)out, (int)in, (int)n, 1, dy, (int)out, x, (int)in,
             1, dw, (int)in);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < out; j++)
            db[j] += dy[i * out + j];
    if (dx)
        LOB_GEMM(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n, (int)in, (int)out, 1, dy, (int)out, w,
                 (int)in, 1, dx, (int)in);
}

/* Uniform on +-1/sqrt(in), as PyTorch's Linear starts. */
static void init_linear(LobRng *rng, size_t in, size_t out, lob_real *w, lob_real *b) {
    double bound = 1 / sqrt((double)in);
    for (size_t i = 0; i < in * out; i++)
        w[i] = (lob_real)((2 * lob_rng_uniform(rng) - 1) * bound);
    for (size_t j = 0; j < out; j++)
        b[j] = (lob_real)((2 * lob_rng_uniform(rng) - 1) * bound);
}

static void softmax(lob_real *v, size_t n) {
    lob_real top = v[0], sum = 0;
    for (size_t i = 1; i < n; i++)
        top = v[i] > top ? v[i] : top;
    for (size_t i = 0; i < n; i++)
        sum += v[i] = LOB_EXP(v[i] - top);
    for (size_t i = 0; i < n; i++)
        v[i] /= sum;
}

/* ---- clinical: covariates only ---- */

static size_t zero_of(const LobNet *net) {
    (void)net;
    return 0;
}

static void init_nothing(const LobNet *net, LobRng *rng, lob_real *params) {
    (void)net, (void)rng, (void)params;
}

static void forward_nothing(const LobNet *net, const lob_real *params, const lob_real *x, size_t n,
                            LobNetWork *work, lob_real *z) {
    (void)net, (void)params, (void)x, (void)n, (void)work, (void)z;
}

static void backward_nothing(const LobNet *net, const lob_real *params, const lob_real *x, size_t n,
                             LobNetWork *work, const lob_real *dz, lob_real *grad) {
    (void)net, (void)params, (void)x, (void)n, (void)work, (void)dz, (void)grad;
}

static void decay_nothing(const LobNet *net, uint8_t *mask) {
    (void)net, (void)mask;
}

/* ---- mean: the average tile ---- */

static size_t mean_z(const LobNet *net) {
    return net->dim;
}

static void mean_forward(const LobNet *net, const lob_real *params, const lob_real *x, size_t n,
                         LobNetWork *work, lob_real *z) {
    (void)params, (void)work;
    for (size_t j = 0; j < net->dim; j++)
        z[j] = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < net->dim; j++)
            z[j] += x[i * net->dim + j];
    for (size_t j = 0; j < net->dim; j++)
        z[j] /= (lob_real)n;
}

/* ---- abmil: relu(x W' + b) pooled by gated attention ---- */

typedef struct {
    size_t w, b, v, bv, u, bu, c, end; /* offsets; c [attention] scores a tile (a bias would cancel) */
} AbmilBlocks;

static AbmilBlocks abmil_blocks(const LobNet *net) {
    size_t h = net->hidden, a = net->attention;
    AbmilBlocks at = {.w = 0};
    at.b = at.w + h * net->dim;
    at.v = at.b + h;
    at.bv = at.v + a * h;
    at.u = at.bv + a;
    at.bu = at.u + a * h;
    at.c = at.bu + a;
    at.end = at.c + a;
    return at;
}

static size_t abmil_z(const LobNet *net) {
    return net->hidden;
}

static size_t abmil_n_params(const LobNet *net) {
    return abmil_blocks(net).end;
}

static void abmil_init(const LobNet *net, LobRng *rng, lob_real *params) {
    AbmilBlocks at = abmil_blocks(net);
    init_linear(rng, net->dim, net->hidden, params + at.w, params + at.b);
    init_linear(rng, net->hidden, net->attention, params + at.v, params + at.bv);
    init_linear(rng, net->hidden, net->attention, params + at.u, params + at.bu);
    double bound = 1 / sqrt((double)net->attention);
    for (size_t j = 0; j < net->attention; j++)
        params[at.c + j] = (lob_real)((2 * lob_rng_uniform(rng) - 1) * bound);
}

static void abmil_forward(const LobNet *net, const lob_real *params, const lob_real *x, size_t n,
                          LobNetWork *work, lob_real *z) {
    AbmilBlocks at = abmil_blocks(net);
    size_t h = net->hidden, a = net->attention;
    linear(x, n, net->dim, params + at.w, params + at.b, h, work->h);
    for (size_t i = 0; i < n * h; i++)
        work->h[i] = work->h[i] > 0 ? work->h[i] : 0;
    linear(work->h, n, h, params + at.v, params + at.bv, a, work->ta);
    linear(work->h, n, h, params + at.u, params + at.bu, a, work->sb);
    for (size_t i = 0; i < n * a; i++) {
        work->ta[i] = LOB_TANH(work->ta[i]);
        work->sb[i] = 1 / (1 + LOB_EXP(-work->sb[i]));
        work->g[i] = work->ta[i] * work->sb[i];
    }
    LOB_GEMV(CblasRowMajor, CblasNoTrans, (int)n, (int)a, 1, work->g, (int)a, params + at.c, 1, 0,
             work->weight, 1);
    softmax(work->weight, n);
    LOB_GEMV(CblasRowMajor, CblasTrans, (int)n, (int)h, 1, work->h, (int)h, work->weight, 1, 0, z, 1);
}

/* With p the softmax weights: dp_k = h_k.dz, de = p (dp - sum p dp), and de runs back through the gate. */
static void abmil_backward(const LobNet *net, const lob_real *params, const lob_real *x, size_t n,
                           LobNetWork *work, const lob_real *dz, lob_real *grad) {
    AbmilBlocks at = abmil_blocks(net);
    size_t h = net->hidden, a = net->attention;
    LOB_GEMV(CblasRowMajor, CblasNoTrans, (int)n, (int)h, 1, work->h, (int)h, dz, 1, 0, work->dweight, 1);
    lob_real mean = 0;
    for (size_t i = 0; i < n; i++)
        mean += work->weight[i] * work->dweight[i];
    for (size_t i = 0; i < n; i++) {
        work->dweight[i] = work->weight[i] * (work->dweight[i] - mean);
        for (size_t j = 0; j < h; j++)
            work->dh[i * h + j] = work->weight[i] * dz[j];
    }
    LOB_GEMV(CblasRowMajor, CblasTrans, (int)n, (int)a, 1, work->g, (int)a, work->dweight, 1, 1, grad + at.c,
             1);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < a; j++) {
            lob_real t = work->ta[i * a + j], s = work->sb[i * a + j];
            lob_real dg = work->dweight[i] * params[at.c + j];
            work->ta[i * a + j] = dg * s * (1 - t * t);
            work->sb[i * a + j] = dg * t * s * (1 - s);
        }
    }
    linear_backward(work->h, n, h, params + at.v, a, work->ta, grad + at.v, grad + at.bv, work->dh);
    linear_backward(work->h, n, h, params + at.u, a, work->sb, grad + at.u, grad + at.bu, work->dh);
    for (size_t i = 0; i < n * h; i++)
        work->dh[i] = work->h[i] > 0 ? work->dh[i] : 0;
    linear_backward(x, n, net->dim, params + at.w, h, work->dh, grad + at.w, grad + at.b, NULL);
}

static void abmil_decay(const LobNet *net, uint8_t *mask) {
    AbmilBlocks at = abmil_blocks(net);
    memset(mask + at.w, 1, at.b - at.w);
    memset(mask + at.v, 1, at.bv - at.v);
    memset(mask + at.u, 1, at.bu - at.u);
    memset(mask + at.c, 1, at.end - at.c);
}

/* ---- the table ---- */

static const LobAggregator aggregators[] = {
    {"abmil", true, true, abmil_z, abmil_n_params, abmil_init, abmil_forward, abmil_backward, abmil_decay},
    {"mean", true, false, mean_z, zero_of, init_nothing, mean_forward, backward_nothing, decay_nothing},
    {"clinical", false, false, zero_of, zero_of, init_nothing, forward_nothing, backward_nothing,
     decay_nothing},
};

const LobAggregator *lob_aggregator_find(const char *kind) {
    for (size_t i = 0; i < G_N_ELEMENTS(aggregators); i++)
        if (g_strcmp0(aggregators[i].kind, kind) == 0)
            return &aggregators[i];
    return NULL;
}

const char *const *lob_aggregator_names(void) {
    static const char *names[G_N_ELEMENTS(aggregators) + 1];
    for (size_t i = 0; i < G_N_ELEMENTS(aggregators); i++)
        names[i] = aggregators[i].kind;
    return names;
}
