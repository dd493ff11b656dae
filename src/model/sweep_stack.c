/* What a stack of models needs, taken once: nothing is allocated while it trains. */
#include "model/sweep_internal.h"

#include <string.h>

size_t lob_sweep_capacity(const LobFit *fit) {
    size_t most = fit->options->max_tiles > 0 ? (size_t)fit->options->max_tiles : SIZE_MAX, rows = 1;
    for (size_t i = 0; i < fit->n_train; i++)
        if (lob_fit_is_mine(fit, fit->train[i]))
            rows = MAX(rows, MIN((size_t)fit->bags->count[fit->train[i]], most));
    return MAX(rows, LOB_SWEEP_BLOCK);
}

/* Whether the scaled bag is kept between forward and backward: up to 64 MiB. */
static size_t kept_rows(size_t capacity, size_t dim) {
    return capacity * dim * sizeof(float) <= (size_t)64 << 20 ? capacity : LOB_SWEEP_BLOCK;
}

size_t lob_sweep_bytes(const LobFit *fit, size_t runs) {
    size_t h = (size_t)fit->options->hidden, gates = 2 * (size_t)fit->options->attention,
           dim = fit->bags->dim;
    size_t most = fit->options->max_tiles > 0 ? (size_t)fit->options->max_tiles : SIZE_MAX;
    size_t rows = MAX(MIN(fit->train_rows, most), LOB_SWEEP_BLOCK);
    return sizeof(float) * (runs * (2 * h * dim + 2 * gates * h + LOB_SWEEP_BLOCK * h + rows * (h + gates) +
                                    fit->train_rows) +
                            kept_rows(rows, dim) * dim);
}

/* Where runs lie within a tile's row, or one after the other. */
static void lay_out(LobSweepStack *s, size_t gates, bool side_by_side) {
    s->h_step = side_by_side ? s->hidden : s->capacity * s->hidden;
    s->h_stride = side_by_side ? s->columns : s->hidden;
    s->ts_step = side_by_side ? gates : s->capacity * gates;
    s->ts_stride = side_by_side ? s->n_runs * gates : gates;
    s->dh_step = side_by_side ? s->hidden : s->block * s->hidden;
}

bool lob_sweep_stack_init(LobSweepStack *s, const LobFit *fit, const LobScaler *scaler, LobSweepRun *runs,
                          size_t n_runs, GError **err) {
    size_t rows = lob_sweep_capacity(fit), h = (size_t)fit->options->hidden;
    size_t gates = 2 * (size_t)fit->options->attention;
    const bool bf16 = fit->options->bf16;
    if (bf16)
        rows = lob_sweep_bf16_rows(rows);
    *s = (LobSweepStack){.bags = fit->bags,
                         .scaler = scaler,
                         .kernels = lob_sweep_kernels(),
                         .runs = runs,
                         .n_runs = n_runs,
                         .dim = fit->bags->dim,
                         .hidden = h,
                         .attention = (size_t)fit->options->attention,
                         .columns = n_runs * h,
                         .capacity = rows,
                         .x_rows = kept_rows(rows, fit->bags->dim),
                         .block = bf16 ? LOB_SWEEP_BLOCK / 2 : LOB_SWEEP_BLOCK,
                         .score_rows = MAX(fit->max_rows, 1)};
    lay_out(s, gates, !bf16);
    s->w = g_new0(float, s->columns * s->dim);
    s->gw = g_new0(float, s->columns * s->dim);
    s->vu = g_new0(float, n_runs *gates *h);
    s->gvu = g_new0(float, n_runs *gates *h);
    s->bias = g_new0(float, n_runs *gates);
    s->gbias = g_new0(float, n_runs *gates);
    s->x = g_new(float, s->x_rows * s->dim);
    s->h = g_new(float, rows * s->columns);
    s->ts = g_new(float, rows *n_runs *gates);
    s->dh = g_new(float, LOB_SWEEP_BLOCK * s->columns);
    s->score = g_new(float, n_runs * s->score_rows);
    s->z = g_new(float, s->columns);
    s->dscore = g_new(float, LOB_SWEEP_BLOCK);
    s->rows = g_new(uint32_t, s->score_rows);
    if (bf16 && !(s->bf16 = lob_sweep_bf16_new(s, err))) {
        lob_sweep_stack_clear(s);
        return false;
    }
    for (size_t r = 0; r < n_runs; r++)
        lob_sweep_load(s, r);
    return true;
}

void lob_sweep_stack_clear(LobSweepStack *s) {
    void *all[] = {s->w, s->gw, s->vu, s->gvu,   s->bias, s->gbias,  s->x,
                   s->h, s->ts, s->dh, s->score, s->z,    s->dscore, s->rows};
    for (size_t i = 0; i < G_N_ELEMENTS(all); i++)
        g_free(all[i]);
    lob_sweep_bf16_free(s->bf16);
    g_clear_error(&s->error);
    *s = (LobSweepStack){0};
}

/* Blocks of the gates' weights and biases, of a run's parameters or gradient: first tanh's, then sigmoid's.
 */
typedef struct {
    size_t at, n;   /* in the parameters */
    size_t to;      /* in the stack's array of the run */
    bool is_weight; /* else bias */
} GateBlock;

static void gate_blocks(const LobNet *net, GateBlock blocks[4]) {
    LobAbmilBlocks at = lob_abmil_blocks(net);
    size_t h = net->hidden, a = net->attention;
    blocks[0] = (GateBlock){at.v, a * h, 0, true};
    blocks[1] = (GateBlock){at.u, a * h, a * h, true};
    blocks[2] = (GateBlock){at.bv, a, 0, false};
    blocks[3] = (GateBlock){at.bu, a, a, false};
}

void lob_sweep_load(LobSweepStack *s, size_t r) {
    const LobRun *run = &s->runs[r].run;
    const size_t h = s->hidden, gates = 2 * s->attention;
    GateBlock blocks[4];
    gate_blocks(&run->net, blocks);
    memcpy(s->w + r * h * s->dim, run->params + lob_abmil_blocks(&run->net).w, h * s->dim * sizeof(float));
    for (size_t b = 0; b < G_N_ELEMENTS(blocks); b++) {
        float *to = blocks[b].is_weight ? s->vu + r * gates * h : s->bias + r * gates;
        memcpy(to + blocks[b].to, run->params + blocks[b].at, blocks[b].n * sizeof(float));
    }
    if (s->bf16)
        (void)lob_sweep_bf16_load(s, r);
}

void lob_sweep_take_gradient(LobSweepStack *s, size_t r) {
    LobRun *run = &s->runs[r].run;
    const size_t h = s->hidden, gates = 2 * s->attention, first = h * s->dim;
    GateBlock blocks[4];
    gate_blocks(&run->net, blocks);
    memcpy(run->grad + lob_abmil_blocks(&run->net).w, s->gw + r * first, first * sizeof(float));
    memset(s->gw + r * first, 0, first * sizeof(float));
    for (size_t b = 0; b < G_N_ELEMENTS(blocks); b++) {
        float *from = (blocks[b].is_weight ? s->gvu + r * gates * h : s->gbias + r * gates) + blocks[b].to;
        memcpy(run->grad + blocks[b].at, from, blocks[b].n * sizeof(float));
        memset(from, 0, blocks[b].n * sizeof(float));
    }
}
