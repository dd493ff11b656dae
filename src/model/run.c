/* A run: random weights, mini-batches, AdamW. Every draw comes from a stream named by seed, epoch and
 * patient, so a run depends neither on ranks nor on the order in which runs are made. The order of patients
 * and the tiles of an epoch are drawn from a seed that the models of a sweep share: leaving patients out does
 * not change the order of the others. */
#include "model/fit.h"

#define STOP_PATIENTS 16 /* between two questions of a group whether to stop */

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
    /* Clinical is the covariates', so that what imaging adds shows against it. */
    size_t joined = !fit->aggregator->needs_bag ? view->n_clinical
                    : o->use_covariates         ? view->n_covariates
                                                : 0;
    lob_net_init_shape(&run->net, fit->aggregator, view->cohort->study->endpoints[view->endpoint].kind,
                       fit->aggregator->needs_bag ? fit->bags->dim : 0, (size_t)o->hidden,
                       (size_t)o->attention, joined, fit->classes, view->n_cuts, n_centers);
    bool rivals = run->net.endpoint == LOB_ENDPOINT_SURVIVAL &&
                  view->cohort->study->endpoints[view->endpoint].competing != NULL;
    if (rivals)
        lob_net_add_rivals(&run->net);
    run->work = lob_net_work_new(&run->net, fit->work_rows);
    lob_adam_init(&run->adam, run->net.n_params);
    lob_net_decay_mask(&run->net, run->adam.decay);
    run->params = g_new(float, run->net.n_params);
    run->grad = g_new(float, run->net.n_params);
    LobRng rng;
    lob_rng_init(&rng, o->seed, "weights");
    lob_net_init_params(&run->net, &rng, run->params);
    init_base(run, fit, patients, n);
    if (rivals)
        lob_run_rivals(run, fit, patients, n);
}

void lob_run_clear(LobRun *run) {
    g_free(run->centers);
    lob_net_work_free(run->work);
    lob_adam_clear(&run->adam);
    g_free(run->params);
    g_free(run->grad);
    *run = (LobRun){0};
}

size_t lob_fit_rows(const LobFit *fit, uint32_t patient, int epoch, uint32_t *rows) {
    size_t count = fit->bags->count[patient];
    size_t most = fit->options->max_tiles > 0 ? (size_t)fit->options->max_tiles : count;
    for (uint32_t i = 0; i < count; i++)
        rows[i] = i;
    if (epoch < 0 || count <= most)
        return count;
    LobRng rng;
    g_autofree char *name =
        g_strdup_printf("tiles/%d/%s", epoch, fit->view->cohort->patients[patient].patient_id);
    lob_rng_init(&rng, fit->options->order_seed, name);
    for (uint32_t i = 0; i < most; i++) {
        uint32_t j = i + lob_rng_below(&rng, (uint32_t)count - i), t = rows[i];
        rows[i] = rows[j];
        rows[j] = t;
    }
    qsort(rows, most, sizeof *rows, compare_u32);
    return most;
}

/* The rows of a bag used in this epoch, scaled into fit->x. epoch < 0: all. */
static size_t take_bag(LobFit *fit, uint32_t patient, int epoch) {
    const LobBags *bags = fit->bags;
    uint64_t first = bags->first[patient], count = bags->count[patient];
    if (epoch < 0 || fit->options->max_tiles <= 0 || count <= (uint64_t)fit->options->max_tiles) {
        lob_scaler_apply(&fit->scaler, bags->features + first * bags->dim, count, fit->x);
        return count;
    }
    size_t n = lob_fit_rows(fit, patient, epoch, fit->rows);
    for (size_t i = 0; i < n; i++)
        lob_scaler_apply(&fit->scaler, bags->features + (first + fit->rows[i]) * bags->dim, 1,
                         fit->x + i * bags->dim);
    return n;
}

/* ---- the order of patients ---- */

typedef struct {
    uint64_t key;
    uint32_t patient;
} Place;

static int by_key(const void *a, const void *b) {
    const Place *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return (x->patient > y->patient) - (x->patient < y->patient);
}

void lob_fit_order(const LobFit *fit, int epoch, uint32_t *patients, size_t n) {
    g_autofree Place *places = g_new(Place, MAX(n, 1));
    g_autoptr(GString) name = g_string_new(NULL);
    for (size_t i = 0; i < n; i++) {
        LobRng rng;
        g_string_printf(name, "order/%d/%s", epoch, fit->view->cohort->patients[patients[i]].patient_id);
        lob_rng_init(&rng, fit->options->order_seed, name->str);
        places[i] = (Place){lob_rng_u64(&rng), patients[i]};
    }
    qsort(places, n, sizeof *places, by_key);
    for (size_t i = 0; i < n; i++)
        patients[i] = places[i].patient;
}

bool lob_fit_is_mine(const LobFit *fit, uint32_t patient) {
    const LobBags *bags = fit->bags;
    return !bags || !bags->owner || bags->owner[patient] == (uint32_t)bags->group->rank;
}

bool lob_fit_goes_on(const LobFit *fit, size_t i, GError **err) {
    const LobGroup *group = fit->bags ? fit->bags->group : NULL;
    if (group && i % STOP_PATIENTS != 0)
        return true;
    double asked = fit->stop && fit->stop(fit->user);
    if (group)
        group->allreduce_double(group, &asked, 1);
    return !(asked > 0) || lob_fail(err, LOB_ERROR_STOPPED, "training stopped");
}

double lob_fit_rate(const LobFit *fit, int epoch) {
    const LobModelOptions *o = fit->options;
    double progress = (double)epoch / o->epochs;
    return o->cosine ? o->lr * (1 + cos(G_PI * progress)) / 2 : o->lr;
}

void lob_fit_dropout(const LobFit *fit, uint32_t patient, int epoch, LobRng *rng) {
    g_autofree char *name =
        g_strdup_printf("dropout/%d/%s", epoch, fit->view->cohort->patients[patient].patient_id);
    lob_rng_init(rng, fit->options->seed, name);
}

/* ---- one patient ---- */

void lob_run_input(const LobRun *run, const LobFit *fit, uint32_t patient, LobNetInput *input) {
    const LobView *view = fit->view;
    *input = (LobNetInput){.center = center_index(run, view->cohort->patients[patient].center)};
    if (view->n_covariates)
        input->covariates = view->covariates + patient * view->n_covariates;
}

static LobNetInput input_of(const LobRun *run, LobFit *fit, uint32_t patient, int epoch) {
    LobNetInput input;
    lob_run_input(run, fit, patient, &input);
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

void lob_run_forward_in(LobRun *run, LobFit *fit, uint32_t patient, int epoch, LobNetInput *input) {
    *input = input_of(run, fit, patient, epoch);
    lob_fit_target(fit, patient, input);
    LobRng rng;
    lob_fit_dropout(fit, patient, epoch, &rng);
    double dropout = fit->options->dropout;
    lob_net_forward(&run->net, run->params, input, dropout, dropout > 0 ? &rng : NULL, run->work);
}

/* Adds the patient's share of the batch gradient. */
static double train_patient(LobRun *run, LobFit *fit, uint32_t patient, int epoch, float scale) {
    LobNetInput input;
    lob_run_forward_in(run, fit, patient, epoch, &input);
    return (double)lob_net_backward(&run->net, run->params, &input, scale, run->work, run->grad);
}

/* What an epoch's mean loss says of how training goes. */
static uint64_t epochs_trained;

uint64_t lob_model_epochs_trained(void) {
    return epochs_trained;
}

bool lob_fit_loss_is_sound(const LobFit *fit, int epoch, double loss, GError **err) {
    epochs_trained++;
    return isfinite(loss) ||
           lob_fail(err, LOB_ERROR_INPUT,
                    "training diverged in epoch %d (loss is not finite): lower model.lr (%g)", epoch + 1,
                    fit->options->lr);
}

/* The gradient of a batch over the group; *taught: whether there is one. Adds to *loss its part of
 * the mean over n patients: this rank's, or where the loss couples patients the batch's divided by ranks. */
static bool batch_gradient(LobRun *run, LobFit *fit, const uint32_t *batch, size_t width, size_t n, int epoch,
                           double *loss, bool *taught, GError **err) {
    const LobGroup *group = fit->bags ? fit->bags->group : NULL;
    memset(run->grad, 0, run->net.n_params * sizeof *run->grad);
    *taught = true;
    if (fit->options->cox) {
        double coupled;
        if (!lob_run_cox_batch(run, fit, batch, width, epoch, &coupled, taught, err))
            return false;
        *loss += coupled * (double)width / (double)n / (group ? group->size : 1);
    } else {
        for (size_t k = 0; k < width; k++) {
            if (!lob_fit_goes_on(fit, k, err))
                return false;
            if (lob_fit_is_mine(fit, batch[k]))
                *loss += train_patient(run, fit, batch[k], epoch, 1 / (float)width) / (double)n;
        }
    }
    if (group && *taught)
        group->allreduce(group, run->grad, run->net.n_params);
    return true;
}

bool lob_run_epoch(LobRun *run, LobFit *fit, const uint32_t *patients, size_t n, int epoch, double *loss,
                   GError **err) {
    const LobModelOptions *o = fit->options;
    const LobGroup *group = fit->bags ? fit->bags->group : NULL;
    g_autofree uint32_t *order = g_memdup2(patients, n * sizeof *patients);
    lob_fit_order(fit, epoch, order, n);
    *loss = 0;
    for (size_t i = 0; i < n; i += (size_t)o->batch) {
        size_t end = MIN(i + (size_t)o->batch, n);
        bool taught;
        if (!batch_gradient(run, fit, order + i, end - i, n, epoch, loss, &taught, err))
            return false;
        if (taught)
            lob_adam_step(&run->adam, lob_fit_rate(fit, epoch), o->weight_decay, run->grad, run->params);
    }
    if (group)
        group->allreduce_double(group, loss, 1);
    return lob_fit_loss_is_sound(fit, epoch, *loss, err);
}

double lob_fit_judge(const LobRun *run, const LobFit *fit, const uint32_t *patients, size_t n,
                     const double *out) {
    const LobView *view = fit->view;
    g_autofree float *lp = g_new(float, MAX(n, 1));
    g_autofree uint32_t *stratum = g_new(uint32_t, MAX(n, 1));
    float outputs[LOB_MAX_CLASSES];
    double loss = 0;
    for (size_t i = 0; i < n; i++) {
        lp[i] = (float)out[i * run->net.outputs];
        stratum[i] = view->cohort->patients[patients[i]].center;
        if (run->net.endpoint == LOB_ENDPOINT_SURVIVAL)
            continue;
        LobNetInput input = {.center = center_index(run, stratum[i])};
        lob_fit_target(fit, patients[i], &input);
        for (size_t k = 0; k < run->net.outputs; k++)
            outputs[k] = (float)out[i * run->net.outputs + k];
        loss += (double)lob_loss_patient(&run->net, run->params, &input, outputs, NULL, NULL, 0) / (double)n;
    }
    return run->net.endpoint == LOB_ENDPOINT_SURVIVAL
               ? lob_partial_loss(lp, view->time, view->event, stratum, patients, n)
               : loss;
}

bool lob_run_outputs(LobRun *run, LobFit *fit, const uint32_t *patients, size_t n, double *out,
                     GError **err) {
    const size_t width = run->net.outputs;
    for (size_t i = 0; i < n; i++) {
        if (!lob_fit_goes_on(fit, i, err))
            return false;
        if (!lob_fit_is_mine(fit, patients[i]))
            continue;
        lob_run_forward(run, fit, patients[i]);
        for (size_t k = 0; k < width; k++)
            out[i * width + k] = (double)run->work->out[k];
    }
    if (fit->bags)
        lob_group_gather(fit->bags->group, fit->bags->owner, patients, n, width, out);
    return true;
}

bool lob_run_judge(LobRun *run, LobFit *fit, const uint32_t *patients, size_t n, double *loss, GError **err) {
    g_autofree double *out = g_new0(double, MAX(n * run->net.outputs, 1));
    if (!lob_run_outputs(run, fit, patients, n, out, err))
        return false;
    *loss = lob_fit_judge(run, fit, patients, n, out);
    return true;
}
