/* One patient's bag through a stack of models, forward and back. */
#include "model/sweep_internal.h"

#include <string.h>

/* ---- who takes part ---- */

static bool takes_part(const LobSweepStack *s, size_t r, uint32_t patient, uint8_t role) {
    return r < s->n_runs && s->runs[r].active && (s->runs[r].role[patient] & role);
}

/* The next stretch of runs that take part, from *begin on: one product. */
static bool next_stretch(const LobSweepStack *s, uint32_t patient, uint8_t role, size_t *begin, size_t *end) {
    while (*begin < s->n_runs && !takes_part(s, *begin, patient, role))
        (*begin)++;
    for (*end = *begin; takes_part(s, *end, patient, role); (*end)++)
        continue;
    return *begin < *end;
}

#define FOR_RUNS(s, r, patient, role)                                                                        \
    for (size_t r = 0; r < (s)->n_runs; r++)                                                                 \
        if (takes_part(s, r, patient, role))

/* ---- tiles ---- */

/* Rows [from, from + n) of the pass's bag, scaled. */
static const float *tiles(const LobSweepStack *s, uint32_t patient, size_t from, size_t n, bool kept) {
    float *x = s->x + (kept ? from * s->dim : 0);
    const uint16_t *bag = s->bags->features + s->bags->first[patient] * s->dim;
    for (size_t i = 0; i < n; i++)
        s->kernels->scale_row(bag + s->rows[from + i] * s->dim, s->scaler->mean, s->scaler->inverse, s->dim,
                              x + i * s->dim);
    return x;
}

/* ---- forward ---- */

static float *hidden_at(const LobSweepStack *s, size_t r, size_t row) {
    return s->h + r * s->h_step + row * s->h_stride;
}

static float *gates_at(const LobSweepStack *s, size_t r, size_t row) {
    return s->ts + r * s->ts_step + row * s->ts_stride;
}

/* h [n] rows from `place` on, before their bias. */
static void first_layers(LobSweepStack *s, uint32_t patient, uint8_t role, const float *x, size_t place,
                         size_t n) {
    if (s->bf16) {
        (void)lob_sweep_bf16_tiles(s, x, n, false);
        FOR_RUNS(s, r, patient, role)
        (void)lob_sweep_bf16_first(s, r, hidden_at(s, r, place), n);
        return;
    }
    for (size_t begin = 0, end; next_stretch(s, patient, role, &begin, &end); begin = end)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)((end - begin) * s->hidden),
                    (int)s->dim, 1, x, (int)s->dim, s->w + begin * s->hidden * s->dim, (int)s->dim, 0,
                    hidden_at(s, begin, place), (int)s->h_stride);
}

/* Adds a block's tiles to the pooled vector: score [n] holds their scores. */
static void pool(LobSweepStack *s, size_t r, const float *h, const float *score, size_t n) {
    LobSweepRun *run = &s->runs[r];
    float *z = s->z + r * s->hidden, top = run->top;
    for (size_t i = 0; i < n; i++)
        top = MAX(top, score[i]);
    if (top > run->top) {
        float shrink = expf(run->top - top);
        run->sum *= shrink;
        cblas_sscal((int)s->hidden, shrink, z, 1);
        run->top = top;
    }
    run->sum += s->kernels->exp_sum(score, top, n, s->dscore);
    cblas_sgemv(CblasRowMajor, CblasTrans, (int)n, (int)s->hidden, 1, h, (int)s->h_stride, s->dscore, 1, 1, z,
                1);
}

/* One run over a block: h [n][hidden] before its bias, ts [n][2 attention]; score [n] comes out. */
static void attend(LobSweepStack *s, size_t r, float *h, float *ts, float *score, size_t n) {
    const LobRun *run = &s->runs[r].run;
    const size_t gates = 2 * s->attention;
    LobAbmilBlocks at = lob_abmil_blocks(&run->net);
    s->kernels->bias_relu(h, s->h_stride, run->params + at.b, n, s->hidden);
    if (s->bf16)
        (void)lob_sweep_bf16_gates(s, r, h, ts, n);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)gates, (int)s->hidden, 1, h,
                    (int)s->h_stride, s->vu + r * gates * s->hidden, (int)s->hidden, 0, ts,
                    (int)s->ts_stride);
    s->kernels->gate(ts, s->ts_stride, s->bias + r * gates, run->params + at.c, n, s->attention, score);
    pool(s, r, h, score, n);
}

/* Forward over n rows of the bag. keep: hidden vectors and gates of the whole bag stay for the way back. */
static void forward(LobSweepStack *s, uint32_t patient, uint8_t role, size_t n, bool keep) {
    const bool kept = keep && n <= s->x_rows;
    FOR_RUNS(s, r, patient, role) {
        s->runs[r].top = -INFINITY;
        s->runs[r].sum = 0;
        memset(s->z + r * s->hidden, 0, s->hidden * sizeof *s->z);
    }
    for (size_t from = 0; from < n; from += s->block) {
        const size_t now = MIN(n - from, s->block), place = keep ? from : 0;
        first_layers(s, patient, role, tiles(s, patient, from, now, kept), place, now);
        FOR_RUNS(s, r, patient, role)
        attend(s, r, hidden_at(s, r, place), gates_at(s, r, place), s->score + r * s->score_rows + from, now);
    }
    FOR_RUNS(s, r, patient, role) {
        float *score = s->score + r * s->score_rows, part = 1 / s->runs[r].sum;
        (void)s->kernels->exp_sum(score, s->runs[r].top, n, score);
        cblas_sscal((int)n, part, score, 1);
        cblas_sscal((int)s->hidden, part, s->z + r * s->hidden, 1);
        memcpy(s->runs[r].run.work->zc, s->z + r * s->hidden, s->hidden * sizeof *s->z);
    }
}

/* ---- backward ---- */

/* The loss of run r's patient; leaves the pooled vector's gradient in its work. */
static void through_head(LobSweepRun *run, uint32_t patient, int epoch, float scale) {
    LobNetInput input;
    LobRng rng;
    LobNetWork *work = run->run.work;
    const double dropout = run->fit->options->dropout;
    lob_run_input(&run->run, run->fit, patient, &input);
    lob_fit_target(run->fit, patient, &input);
    lob_fit_dropout(run->fit, patient, epoch, &rng);
    lob_net_forward_head(&run->run.net, run->run.params, &input, dropout, dropout > 0 ? &rng : NULL, work);
    memset(work->dout, 0, run->run.net.outputs * sizeof *work->dout);
    run->loss += (double)lob_loss_patient(&run->run.net, run->run.params, &input, work->out, work->dout,
                                          run->run.grad, scale);
    lob_net_backward_head(&run->run.net, run->run.params, work, run->run.grad);
}

/* One run over a block: from the pooled vector's gradient to that of its hidden vectors, dh [n][hidden]. */
static void attend_back(LobSweepStack *s, size_t r, const float *h, float *ts, const float *weight, float *dh,
                        size_t n) {
    LobRun *run = &s->runs[r].run;
    const size_t gates = 2 * s->attention;
    const float *dz = run->work->dzc, *vu = s->vu + r * gates * s->hidden;
    const float mean = cblas_sdot((int)s->hidden, s->z + r * s->hidden, 1, dz, 1);
    LobAbmilBlocks at = lob_abmil_blocks(&run->net);
    cblas_sgemv(CblasRowMajor, CblasNoTrans, (int)n, (int)s->hidden, 1, h, (int)s->h_stride, dz, 1, 0,
                s->dscore, 1);
    for (size_t i = 0; i < n; i++)
        s->dscore[i] = weight[i] * (s->dscore[i] - mean);
    s->kernels->gate_back(ts, s->ts_stride, run->params + at.c, s->dscore, n, s->attention,
                          s->gbias + r * gates, run->grad + at.c);
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)gates, (int)s->hidden, (int)n, 1, ts,
                (int)s->ts_stride, h, (int)s->h_stride, 1, s->gvu + r * gates * s->hidden, (int)s->hidden);
    if (s->bf16)
        (void)lob_sweep_bf16_back(s, r, ts, dh, n);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n, (int)s->hidden, (int)gates, 1, ts,
                    (int)s->ts_stride, vu, (int)s->hidden, 0, dh, (int)s->h_stride);
    s->kernels->relu_back(dh, h, s->h_stride, weight, dz, n, s->hidden, run->grad + at.b);
}

/* Adds to the gradients of the first layers what a block gives: tiles x [n][dim], and dh. */
static void first_layers_back(LobSweepStack *s, uint32_t patient, uint8_t role, const float *x, size_t n) {
    if (s->bf16) {
        FOR_RUNS(s, r, patient, role)
        (void)lob_sweep_bf16_gradient(s, r, s->dh + r * s->dh_step, n);
        return;
    }
    for (size_t begin = 0, end; next_stretch(s, patient, role, &begin, &end); begin = end)
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)((end - begin) * s->hidden), (int)s->dim,
                    (int)n, 1, s->dh + begin * s->dh_step, (int)s->h_stride, x, (int)s->dim, 1,
                    s->gw + begin * s->hidden * s->dim, (int)s->dim);
}

static void backward(LobSweepStack *s, uint32_t patient, uint8_t role, size_t n) {
    const bool kept = n <= s->x_rows;
    for (size_t from = 0; from < n; from += s->block) {
        const size_t now = MIN(n - from, s->block);
        const float *x = kept ? s->x + from * s->dim : tiles(s, patient, from, now, false);
        if (s->bf16)
            (void)lob_sweep_bf16_tiles(s, x, now, true);
        FOR_RUNS(s, r, patient, role)
        attend_back(s, r, hidden_at(s, r, from), gates_at(s, r, from), s->score + r * s->score_rows + from,
                    s->dh + r * s->dh_step, now);
        first_layers_back(s, patient, role, x, now);
    }
}

/* ---- a patient ---- */

static bool any_takes_part(const LobSweepStack *s, uint32_t patient, uint8_t role) {
    size_t begin = 0, end;
    return next_stretch(s, patient, role, &begin, &end);
}

void lob_sweep_forward(LobSweepStack *s, uint32_t patient, uint8_t role) {
    LobNetInput input;
    if (!any_takes_part(s, patient, role))
        return;
    size_t n = lob_fit_rows(s->runs[0].fit, patient, -1, s->rows);
    forward(s, patient, role, n, false);
    FOR_RUNS(s, r, patient, role) {
        LobRun *run = &s->runs[r].run;
        lob_run_input(run, s->runs[r].fit, patient, &input);
        lob_net_forward_head(&run->net, run->params, &input, 0, NULL, run->work);
    }
}

const float *lob_sweep_attention(const LobSweepStack *s, size_t r) {
    return s->score + r * s->score_rows;
}

void lob_sweep_train(LobSweepStack *s, uint32_t patient, uint8_t role, int epoch, const float *scale) {
    if (!any_takes_part(s, patient, role))
        return;
    size_t n = lob_fit_rows(s->runs[0].fit, patient, epoch, s->rows);
    forward(s, patient, role, n, true);
    FOR_RUNS(s, r, patient, role)
    through_head(&s->runs[r], patient, epoch, scale[r]);
    backward(s, patient, role, n);
}
