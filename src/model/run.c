/* A run: random weights, mini-batches, AdamW. Every draw comes from a stream named by seed, epoch and
 * patient, so a run depends neither on ranks nor on the order in which runs are made. */
#include "model/fit.h"

static int compare_u32(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint32_t *distinct_centers(const LobCohort *cohort, const uint32_t *patients, size_t n,
                                  size_t *count) {
    uint32_t *c = g_new(uint32_t, MAX(n, 1));
    for (size_t i = 0; i < n; i++)
        c[i] = cohort->patients[patients[i]].center;
    qsort(c, n, sizeof *c, compare_u32);
    *count = 0;
    for (size_t i = 0; i < n; i++)
        if (i == 0 || c[i] != c[i - 1])
            c[(*count)++] = c[i];
    return c;
}

static int center_index(const LobRun *run, uint32_t center) {
    const uint32_t *at = bsearch(&center, run->centers, run->net.centers, sizeof center, compare_u32);
    return at ? (int)(at - run->centers) : -1;
}

void lob_fit_target(const LobFit *fit, uint32_t patient, LobNetInput *input) {
    const LobView *view = fit->view;
    input->event = view->event[patient] == 1;
    if (fit->view->cohort->study->endpoints[view->endpoint].kind != LOB_ENDPOINT_SURVIVAL) {
        input->target = view->event[patient];
        return;
    }
    double t = view->time[patient];
    size_t b = 0;
    /* An event at a cut belongs to the interval it ends; a censored patient survived what ended by then. */
    while (b < view->n_cuts && (input->event ? view->cuts[b] < t : view->cuts[b] <= t))
        b++;
    if (b == view->n_cuts)
        input->event = false;
    input->target = (int)b;
}

/* Intercepts start where they fit without any predictor: the smoothed log odds of the whole set. */
static void init_base(LobRun *run, const LobFit *fit, const uint32_t *patients, size_t n) {
    const LobNet *net = &run->net;
    size_t width = net->center - net->base;
    g_autofree double *hit = g_new0(double, width), *tried = g_new0(double, width);
    for (size_t i = 0; i < n; i++) {
        LobNetInput input = {0};
        lob_fit_target(fit, patients[i], &input);
        if (net->endpoint == LOB_ENDPOINT_SURVIVAL) {
            for (size_t b = 0; b < (size_t)input.target; b++)
                tried[b]++;
            if (input.event)
                hit[input.target]++, tried[input.target]++;
            continue;
        }
        for (size_t k = 0; k < width; k++) {
            tried[k]++;
            hit[k] += width == 1 ? input.target != 0 : (size_t)input.target == k;
        }
    }
    for (size_t k = 0; k < width; k++) {
        double p = (hit[k] + 0.5) / (tried[k] + 1);
        run->params[net->base + k] =
            (float)(net->endpoint == LOB_ENDPOINT_MULTICLASS ? log(p) : log(p / (1 - p)));
    }
}

void lob_run_init(LobRun *run, const LobFit *fit, const uint32_t *patients, size_t n) {
    const LobView *view = fit->view;
    const LobModelOptions *o = fit->options;
    size_t n_centers;
    *run = (LobRun){0};
    run->centers = distinct_centers(view->cohort, patients, n, &n_centers);
    bool fuse = o->use_covariates || !fit->aggregator->needs_bag;
    lob_net_init_shape(&run->net, fit->aggregator, view->cohort->study->endpoints[view->endpoint].kind,
                       fit->aggregator->needs_bag ? fit->bags->dim : 0, (size_t)o->hidden,
                       (size_t)o->attention, fuse ? view->n_covariates : 0, fit->classes, view->n_cuts,
                       n_centers);
    run->work = lob_net_work_new(&run->net, fit->max_rows);
    lob_adam_init(&run->adam, run->net.n_params);
    lob_net_decay_mask(&run->net, run->adam.decay);
    run->params = g_new(float, run->net.n_params);
    run->grad = g_new(float, run->net.n_params);
    LobRng rng;
    lob_rng_init(&rng, o->seed, "weights");
    lob_net_init_params(&run->net, &rng, run->params);
    init_base(run, fit, patients, n);
}

void lob_run_clear(LobRun *run) {
    g_free(run->centers);
    lob_net_work_free(run->work);
    lob_adam_clear(&run->adam);
    g_free(run->params);
    g_free(run->grad);
    *run = (LobRun){0};
}

/* The rows of a bag used in this epoch, scaled into fit->x. epoch < 0: all. */
static size_t take_bag(LobFit *fit, uint32_t patient, int epoch) {
    const LobBags *bags = fit->bags;
    uint64_t first = bags->first[patient], count = bags->count[patient];
    size_t most = fit->options->max_tiles > 0 ? (size_t)fit->options->max_tiles : 0;
    if (epoch < 0 || most == 0 || count <= most) {
        lob_scaler_apply(&fit->scaler, bags->features + first * bags->dim, count, fit->x);
        return count;
    }
    LobRng rng;
    g_autofree char *name =
        g_strdup_printf("tiles/%d/%s", epoch, fit->view->cohort->patients[patient].patient_id);
    lob_rng_init(&rng, fit->options->seed, name);
    g_autofree uint32_t *order = g_new(uint32_t, count);
    for (uint32_t i = 0; i < count; i++)
        order[i] = i;
    for (uint32_t i = 0; i < most; i++) {
        uint32_t j = i + lob_rng_below(&rng, (uint32_t)count - i), t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
    qsort(order, most, sizeof *order, compare_u32);
    for (size_t i = 0; i < most; i++)
        lob_scaler_apply(&fit->scaler, bags->features + (first + order[i]) * bags->dim, 1,
                         fit->x + i * bags->dim);
    return most;
}

static LobNetInput input_of(const LobRun *run, LobFit *fit, uint32_t patient, int epoch) {
    const LobView *view = fit->view;
    LobNetInput input = {.center = center_index(run, view->cohort->patients[patient].center)};
    if (view->n_covariates)
        input.covariates = view->covariates + patient * view->n_covariates;
    if (fit->aggregator->needs_bag) {
        input.n = take_bag(fit, patient, epoch);
        input.x = fit->x;
    }
    return input;
}

void lob_run_forward(LobRun *run, LobFit *fit, uint32_t patient) {
    LobNetInput input = input_of(run, fit, patient, -1);
    lob_net_forward(&run->net, run->params, &input, 0, NULL, run->work);
}

/* Adds the patient's share of the batch gradient. */
static double train_patient(LobRun *run, LobFit *fit, uint32_t patient, int epoch, float scale) {
    LobNetInput input = input_of(run, fit, patient, epoch);
    lob_fit_target(fit, patient, &input);
    LobRng rng;
    g_autofree char *name =
        g_strdup_printf("dropout/%d/%s", epoch, fit->view->cohort->patients[patient].patient_id);
    lob_rng_init(&rng, fit->options->seed, name);
    double dropout = fit->options->dropout;
    lob_net_forward(&run->net, run->params, &input, dropout, dropout > 0 ? &rng : NULL, run->work);
    return (double)lob_net_backward(&run->net, run->params, &input, scale, run->work, run->grad);
}

bool lob_run_epoch(LobRun *run, LobFit *fit, const uint32_t *patients, size_t n, int epoch, double *loss,
                   GError **err) {
    const LobModelOptions *o = fit->options;
    double progress = (double)epoch / o->epochs;
    double lr = o->cosine ? o->lr * (1 + cos(G_PI * progress)) / 2 : o->lr;
    g_autofree uint32_t *order = g_new(uint32_t, n);
    memcpy(order, patients, n * sizeof *order);
    g_autofree char *name = g_strdup_printf("order/%d", epoch);
    LobRng rng;
    lob_rng_init(&rng, o->seed, name);
    lob_rng_shuffle(&rng, order, n);
    *loss = 0;
    for (size_t i = 0; i < n; i += (size_t)o->batch) {
        size_t end = MIN(i + (size_t)o->batch, n);
        memset(run->grad, 0, run->net.n_params * sizeof *run->grad);
        for (size_t k = i; k < end; k++)
            *loss += train_patient(run, fit, order[k], epoch, 1 / (float)(end - i)) / (double)n;
        lob_adam_step(&run->adam, lr, o->weight_decay, run->grad, run->params);
        if (fit->stop && fit->stop(fit->user))
            return lob_fail(err, LOB_ERROR_STOPPED, "training stopped in epoch %d", epoch + 1);
    }
    if (!isfinite(*loss))
        return lob_fail(err, LOB_ERROR_INPUT,
                        "training diverged in epoch %d (loss is not finite): lower model.lr (%g)", epoch + 1,
                        o->lr);
    return true;
}

double lob_run_judge(LobRun *run, LobFit *fit, const uint32_t *patients, size_t n) {
    const LobView *view = fit->view;
    bool survival = run->net.endpoint == LOB_ENDPOINT_SURVIVAL;
    g_autofree float *lp = g_new(float, MAX(n, 1));
    g_autofree uint32_t *stratum = g_new(uint32_t, MAX(n, 1));
    double loss = 0;
    for (size_t i = 0; i < n; i++) {
        lob_run_forward(run, fit, patients[i]);
        lp[i] = run->work->out[0];
        stratum[i] = view->cohort->patients[patients[i]].center;
        if (survival)
            continue;
        LobNetInput input = {.center = center_index(run, stratum[i])};
        lob_fit_target(fit, patients[i], &input);
        loss += (double)lob_loss_patient(&run->net, run->params, &input, run->work->out, NULL, NULL, 0) /
                (double)n;
    }
    return survival ? lob_partial_loss(lp, view->time, view->event, stratum, patients, n) : loss;
}
