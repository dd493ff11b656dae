/* abmil: relu(x W' + b) pooled by gated attention (Ilse, Tomczak & Welling 2018). */
#include "model/model_internal.h"

LobAbmilBlocks lob_abmil_blocks(const LobNet *net) {
    size_t h = net->hidden, a = net->attention;
    LobAbmilBlocks at = {.w = 0};
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

size_t lob_abmil_n_params(const LobNet *net) {
    return lob_abmil_blocks(net).end;
}

void lob_abmil_init(const LobNet *net, LobRng *rng, lob_real *params) {
    LobAbmilBlocks at = lob_abmil_blocks(net);
    lob_linear_init(rng, net->dim, net->hidden, params + at.w, params + at.b);
    lob_linear_init(rng, net->hidden, net->attention, params + at.v, params + at.bv);
    lob_linear_init(rng, net->hidden, net->attention, params + at.u, params + at.bu);
    lob_linear_init(rng, net->attention, 1, params + at.c, NULL);
}

void lob_abmil_forward(const LobNet *net, const lob_real *params, const lob_real *x, size_t n,
                       LobNetWork *work, lob_real *z) {
    LobAbmilBlocks at = lob_abmil_blocks(net);
    size_t h = net->hidden, a = net->attention;
    lob_linear(x, n, net->dim, params + at.w, params + at.b, h, work->h);
    for (size_t i = 0; i < n * h; i++)
        work->h[i] = work->h[i] > 0 ? work->h[i] : 0;
    lob_linear(work->h, n, h, params + at.v, params + at.bv, a, work->ta);
    lob_linear(work->h, n, h, params + at.u, params + at.bu, a, work->sb);
    for (size_t i = 0; i < n * a; i++) {
        work->ta[i] = LOB_TANH(work->ta[i]);
        work->sb[i] = 1 / (1 + LOB_EXP(-work->sb[i]));
        work->g[i] = work->ta[i] * work->sb[i];
    }
    LOB_GEMV(CblasRowMajor, CblasNoTrans, (int)n, (int)a, 1, work->g, (int)a, params + at.c, 1, 0,
             work->weight, 1);
    lob_softmax(work->weight, n);
    LOB_GEMV(CblasRowMajor, CblasTrans, (int)n, (int)h, 1, work->h, (int)h, work->weight, 1, 0, z, 1);
}

/* With p the softmax weights: dp_k = h_k.dz, de = p (dp - sum p dp), and de runs back through the gate. */
void lob_abmil_backward(const LobNet *net, const lob_real *params, const lob_real *x, size_t n,
                        LobNetWork *work, const lob_real *dz, lob_real *grad) {
    LobAbmilBlocks at = lob_abmil_blocks(net);
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
    for (size_t k = 0; k < work->n_picked; k++)
        for (size_t j = 0; j < h; j++)
            work->dh[work->picked[k] * h + j] += work->dpicked[k * h + j];
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
    lob_linear_backward(work->h, n, h, params + at.v, a, work->ta, grad + at.v, grad + at.bv, work->dh);
    lob_linear_backward(work->h, n, h, params + at.u, a, work->sb, grad + at.u, grad + at.bu, work->dh);
    for (size_t i = 0; i < n * h; i++)
        work->dh[i] = work->h[i] > 0 ? work->dh[i] : 0;
    lob_linear_backward(x, n, net->dim, params + at.w, h, work->dh, grad + at.w, grad + at.b, NULL);
}

void lob_abmil_decay(const LobNet *net, uint8_t *mask) {
    LobAbmilBlocks at = lob_abmil_blocks(net);
    memset(mask + at.w, 1, at.b - at.w);
    memset(mask + at.v, 1, at.bv - at.v);
    memset(mask + at.u, 1, at.bu - at.u);
    memset(mask + at.c, 1, at.end - at.c);
}

const LobAggregator lob_abmil = {.kind = "abmil",
                                 .needs_bag = true,
                                 .has_attention = true,
                                 .z = abmil_z,
                                 .n_params = lob_abmil_n_params,
                                 .init = lob_abmil_init,
                                 .forward = lob_abmil_forward,
                                 .backward = lob_abmil_backward,
                                 .decay = lob_abmil_decay};
