/* One fold: which epochs to train is found inside the training centers, then the held-out patients are
 * scored. Nothing here reads an outcome of a held-out patient: the view has none. */
#include "model/fit.h"

static uint32_t *with_tiles(const LobBags *bags, const uint32_t *patients, size_t n, size_t *kept) {
    uint32_t *out = g_new(uint32_t, MAX(n, 1));
    *kept = 0;
    for (size_t i = 0; i < n; i++)
        if (!bags || bags->count[patients[i]] > 0)
            out[(*kept)++] = patients[i];
    return out;
}

bool lob_fit_init(LobFit *fit, const LobView *view, const LobBags *bags, const LobModelOptions *options,
                  GError **err) {
    *fit = (LobFit){.view = view,
                    .bags = bags,
                    .options = options,
                    .aggregator = lob_aggregator_find(options->kind),
                    .classes = view->classes ? view->n_classes : 2};
    if (!fit->aggregator)
        return lob_fail(err, LOB_ERROR_INPUT, "model.kind: %s is not known", options->kind);
    if (fit->classes > LOB_MAX_CLASSES)
        return lob_fail(err, LOB_ERROR_INPUT, "endpoint %s: %zu classes, at most %d are possible",
                        view->cohort->study->endpoints[view->endpoint].name, fit->classes, LOB_MAX_CLASSES);
    if (view->n_cuts > LOB_MAX_INTERVALS)
        return lob_fail(err, LOB_ERROR_INPUT, "endpoint %s: %zu intervals, at most %d are possible",
                        view->cohort->study->endpoints[view->endpoint].name, view->n_cuts, LOB_MAX_INTERVALS);
    if (fit->aggregator->needs_bag && !bags)
        return lob_fail(err, LOB_ERROR_INPUT, "model.kind: %s needs features", options->kind);
    if (!fit->aggregator->needs_bag && view->n_clinical == 0)
        return lob_fail(err, LOB_ERROR_NOT_ESTIMABLE,
                        "model.kind: %s needs covariates, and none varies among the training patients",
                        options->kind);
    fit->train = with_tiles(bags, view->train, view->n_train, &fit->n_train);
    fit->inner = with_tiles(bags, view->inner, view->n_inner, &fit->n_inner);
    fit->held_out = with_tiles(bags, view->held_out, view->n_held_out, &fit->n_held_out);
    if (fit->n_train < 2)
        return lob_fail(err, LOB_ERROR_NOT_ESTIMABLE,
                        "%zu of %zu training patients have tiles, at least 2 are needed; the output folder's "
                        "slides.csv says which slides failed and why",
                        fit->n_train, view->n_train);
    if (!fit->aggregator->needs_bag)
        return true;
    for (size_t p = 0; p < bags->n_patients; p++)
        fit->max_rows = MAX(fit->max_rows, (size_t)bags->count[p]);
    for (size_t i = 0; i < fit->n_train; i++)
        fit->train_rows = MAX(fit->train_rows, (size_t)bags->count[fit->train[i]]);
    return true;
}

static bool goes_on(const void *user, size_t i, GError **err) {
    return lob_fit_goes_on(user, i, err);
}

bool lob_fit_scale(LobFit *fit, GError **err) {
    return lob_scaler_fit_while(&fit->scaler, fit->bags, fit->train, fit->n_train, goes_on, fit, err);
}

/* What training one model alone needs on top. */
static bool fit_alone(LobFit *fit, GError **err) {
    if (!fit->aggregator->needs_bag)
        return true;
    fit->x = g_new(float, MAX(fit->max_rows, 1) * fit->bags->dim);
    fit->rows = g_new(uint32_t, MAX(fit->max_rows, 1));
    fit->work_rows = fit->max_rows;
    return lob_fit_scale(fit, err);
}

void lob_fit_clear(LobFit *fit) {
    lob_scaler_clear(&fit->scaler);
    g_free(fit->train);
    g_free(fit->inner);
    g_free(fit->held_out);
    g_free(fit->x);
    g_free(fit->rows);
    *fit = (LobFit){0};
}

/* ---- how long to train ----
 * The losses of all rounds are added epoch by epoch (weighted by what they were judged on), so that every
 * training center has its say; the length found is then trained again on all of them. A round that stopped
 * early keeps its last loss. */

void lob_round_clear(LobRound *round) {
    g_free(round->learn);
    g_free(round->judge);
}

/* Splits the training patients by a mark: the marked judge. */
static LobRound split(const LobFit *fit, const bool *marked) {
    LobRound round = {g_new(uint32_t, fit->n_train), g_new(uint32_t, fit->n_train), 0, 0};
    for (size_t i = 0; i < fit->n_train; i++) {
        if (marked[i])
            round.judge[round.n_judge++] = fit->train[i];
        else
            round.learn[round.n_learn++] = fit->train[i];
    }
    return round;
}

/* Round r leaves out the training centers whose rank among them is r modulo the number of rounds. */
size_t lob_fit_rounds(const LobFit *fit, LobRound *rounds) {
    const LobCohort *cohort = fit->view->cohort;
    g_autofree size_t *rank = g_new(size_t, cohort->n_centers);
    g_autofree bool *there = g_new0(bool, cohort->n_centers), *marked = g_new0(bool, fit->n_train);
    size_t n_centers = 0, inner = 0;
    for (size_t i = 0; i < fit->n_train; i++)
        there[cohort->patients[fit->train[i]].center] = true;
    for (size_t c = 0; c < cohort->n_centers; c++)
        rank[c] = there[c] ? n_centers++ : 0;
    if (n_centers < 2) {
        for (size_t i = 0; i < fit->n_train; i++) {
            marked[i] = inner < fit->n_inner && fit->inner[inner] == fit->train[i];
            inner += marked[i];
        }
        rounds[0] = split(fit, marked);
        return 1;
    }
    size_t n = MIN((size_t)fit->options->rounds, n_centers);
    for (size_t r = 0; r < n; r++) {
        for (size_t i = 0; i < fit->n_train; i++)
            marked[i] = rank[cohort->patients[fit->train[i]].center] % n == r;
        rounds[r] = split(fit, marked);
    }
    return n;
}

/* What a loss among these patients rests on: their events, or each of them where there are several classes.
 */
static size_t telling(const LobFit *fit, const uint32_t *patients, size_t n) {
    const LobView *view = fit->view;
    size_t events = 0;
    if (view->cohort->study->endpoints[view->endpoint].kind == LOB_ENDPOINT_MULTICLASS)
        return n;
    for (size_t i = 0; i < n; i++)
        events += view->event[patients[i]] == 1;
    return events;
}

double lob_round_weight(const LobFit *fit, const LobRound *round) {
    return (double)telling(fit, round->judge, round->n_judge);
}

void lob_fit_learned(LobModelResult *result, int round, int epoch, double trained, double judged) {
    const size_t n = result->n_learning++;
    if ((n & (n - 1)) == 0)
        result->learning = g_renew(LobLearning, result->learning, MAX(2 * n, 1));
    result->learning[n] = (LobLearning){round, epoch, (float)trained, (float)judged};
}

/* One epoch of a round, then its loss among those who judge. */
static bool round_epoch(LobRun *run, LobFit *fit, const LobRound *round, int epoch, double *trained,
                        double *judged, GError **err) {
    *trained = NAN;
    return (epoch == 0 || lob_run_epoch(run, fit, round->learn, round->n_learn, epoch - 1, trained, err)) &&
           lob_run_judge(run, fit, round->judge, round->n_judge, judged, err) &&
           lob_fit_loss_is_sound(fit, epoch, *judged, err);
}

/* Adds the round's loss after each epoch to curve [epochs + 1], weighted by what they rest on. */
static bool run_round(LobFit *fit, const LobRound *round, int number, const char *name, double *curve,
                      LobModelResult *result, GError **err) {
    const LobModelOptions *o = fit->options;
    const size_t width = (size_t)o->epochs + 1;
    LobRun run, *runs[] = {&run};
    g_autofree double *losses = g_new0(double, 2 * width);
    LobSegment segment = {.losses = losses, .n_losses = 2 * width, .runs = runs, .n_runs = 1};
    double weight = lob_round_weight(fit, round), best = INFINITY, loss = 0;
    int best_epoch = 0;
    bool ok = true;
    g_strlcpy(segment.name, name, sizeof segment.name);
    lob_run_init(&run, fit, round->learn, round->n_learn);
    (void)lob_segment_resume(o->checkpoint, &segment);
    for (int e = 0; ok && e <= o->epochs; e++) {
        if (e - best_epoch <= o->patience) {
            if (e >= segment.next) {
                ok = round_epoch(&run, fit, round, e, &losses[width + (size_t)e], &losses[e], err);
                segment.next = e + 1;
                if (ok)
                    lob_segment_keep(o->checkpoint, &segment);
            }
            loss = losses[e];
            lob_fit_learned(result, number, e, losses[width + (size_t)e], loss);
            result->epochs_run = MAX(result->epochs_run, e);
        }
        if (loss < best) {
            best = loss;
            best_epoch = e;
        }
        curve[e] += weight * loss;
    }
    lob_run_clear(&run);
    return ok;
}

/* The loss of a model that tells nobody apart is defined wherever any model's is: a center whose only event
 * is its last patient's judges nothing. */
static bool has_risk_sets(const LobFit *fit, const LobRound *round) {
    const LobView *view = fit->view;
    if (view->cohort->study->endpoints[view->endpoint].kind != LOB_ENDPOINT_SURVIVAL)
        return true;
    g_autofree float *lp = g_new0(float, MAX(round->n_judge, 1));
    g_autofree uint32_t *center = g_new(uint32_t, MAX(round->n_judge, 1));
    for (size_t i = 0; i < round->n_judge; i++)
        center[i] = view->cohort->patients[round->judge[i]].center;
    return isfinite(lob_partial_loss(lp, view->time, view->event, center, round->judge, round->n_judge));
}

bool lob_round_can_judge(const LobFit *fit, const LobRound *round) {
    return telling(fit, round->judge, round->n_judge) > 0 && telling(fit, round->learn, round->n_learn) > 0 &&
           round->n_judge > 1 && has_risk_sets(fit, round);
}

void lob_fit_best_epoch(const double *curve, int epochs, double weight, LobModelResult *result) {
    for (int e = 0; e <= epochs; e++) {
        if (e > 0 && curve[e] >= curve[result->best_epoch])
            continue;
        result->best_epoch = e;
        result->inner_loss = curve[e] / weight;
    }
}

/* The number of epochs that was best for the rounds together; all of them where no round can judge. */
static bool find_epochs(LobFit *fit, size_t choice, LobModelResult *result, GError **err) {
    const LobModelOptions *o = fit->options;
    result->best_epoch = o->epochs;
    if (o->rounds <= 0)
        return true;
    g_autofree LobRound *rounds = g_new0(LobRound, (size_t)o->rounds);
    g_autofree double *curve = g_new0(double, (size_t)o->epochs + 1);
    size_t n = lob_fit_rounds(fit, rounds), judged = 0;
    double weight = 0;
    bool ok = true;
    for (size_t r = 0; ok && r < n; r++) {
        if (!lob_round_can_judge(fit, &rounds[r]))
            continue;
        judged++;
        weight += lob_round_weight(fit, &rounds[r]);
        g_autofree char *name =
            g_strdup_printf("seed %" G_GUINT64_FORMAT ", choice %zu, round %zu", o->seed, choice, r);
        ok = run_round(fit, &rounds[r], (int)r, name, curve, result, err);
    }
    if (ok && judged > 0)
        lob_fit_best_epoch(curve, o->epochs, weight, result);
    for (size_t r = 0; r < n; r++)
        lob_round_clear(&rounds[r]);
    return ok;
}

/* Of the grid's rates and decays those whose rounds inside the training centers had the least loss, with
 * their number of epochs; the first where no round can judge. */
static bool tune(LobFit *fit, LobModelResult *result, GError **err) {
    const LobModelOptions *given = fit->options;
    const size_t n_lr = MAX(given->n_tune_lr, 1), n_decay = MAX(given->n_tune_weight_decay, 1);
    LobModelOptions trial = *given;
    LobModelResult best = {.inner_loss = NAN};
    for (size_t k = 0; k < n_lr * n_decay; k++) {
        LobModelResult found = {.inner_loss = NAN};
        trial.lr = given->n_tune_lr ? given->tune_lr[k / n_decay] : given->lr;
        trial.weight_decay =
            given->n_tune_weight_decay ? given->tune_weight_decay[k % n_decay] : given->weight_decay;
        fit->options = &trial;
        if (!find_epochs(fit, k, &found, err)) {
            g_free(found.learning);
            g_free(best.learning);
            return false;
        }
        result->epochs_run = MAX(result->epochs_run, found.epochs_run);
        if (k > 0 && !(found.inner_loss < best.inner_loss)) {
            g_free(found.learning);
            continue;
        }
        g_free(best.learning);
        best = found;
        fit->tuned = trial;
    }
    result->learning = best.learning;
    result->n_learning = best.n_learning;
    fit->options = &fit->tuned;
    result->best_epoch = best.best_epoch;
    result->inner_loss = best.inner_loss;
    if (n_lr * n_decay > 1)
        lob_info("grid: lr %g, weight_decay %g, %d epochs chosen inside the training centers", fit->tuned.lr,
                 fit->tuned.weight_decay, best.best_epoch);
    return true;
}

static bool train(LobRun *run, LobFit *fit, LobModelResult *result, GError **err) {
    if (!tune(fit, result, err))
        return false;
    const size_t epochs = (size_t)result->best_epoch;
    g_autofree double *losses = g_new0(double, epochs + 1);
    LobSegment segment = {.losses = losses, .n_losses = epochs + 1, .runs = &run, .n_runs = 1};
    (void)g_snprintf(segment.name, sizeof segment.name, "seed %" G_GUINT64_FORMAT, fit->options->seed);
    lob_run_init(run, fit, fit->train, fit->n_train);
    (void)lob_segment_resume(fit->options->checkpoint, &segment);
    for (int e = segment.next; e < result->best_epoch; e++) {
        if (!lob_run_epoch(run, fit, fit->train, fit->n_train, e, &losses[e], err))
            return false;
        segment.next = e + 1;
        lob_segment_keep(fit->options->checkpoint, &segment);
    }
    for (size_t e = 0; e < epochs; e++)
        lob_fit_learned(result, -1, (int)e + 1, losses[e], NAN);
    if (epochs > 0)
        result->train_loss = losses[epochs - 1];
    if (fit->options->cox && !lob_run_cox_baseline(run, fit, err))
        return false;
    result->epochs_run = MAX(result->epochs_run, result->best_epoch);
    return true;
}

/* ---- scores ---- */

/* log(1 - h_b) of each interval for a center never seen (the average intercept). */
static void log_survivals(const LobRun *run, double lp, double *out) {
    const LobNet *net = &run->net;
    double shift = lp;
    for (size_t c = 0; c < net->centers; c++)
        shift += (double)run->params[net->center + c] / (double)net->centers;
    for (size_t b = 0; b < net->intervals; b++) {
        double x = (double)run->params[net->base + b] + shift;
        out[b] = -(MAX(x, 0) + log1p(exp(-fabs(x))));
    }
}

static void score_classes(const LobRun *run, float *lp, float *probability) {
    const LobNet *net = &run->net;
    double x[LOB_MAX_CLASSES], top = -INFINITY, sum = 0;
    for (size_t k = 0; k < net->outputs; k++) {
        x[k] = (double)run->work->out[k] + (double)run->params[net->base + k];
        for (size_t c = 0; c < net->centers; c++)
            x[k] += (double)run->params[net->center + c * net->outputs + k] / (double)net->centers;
        top = MAX(top, x[k]);
    }
    if (net->outputs == 1) {
        *lp = (float)x[0];
        probability[1] = (float)(1 / (1 + exp(-x[0])));
        probability[0] = (float)(1 / (1 + exp(x[0])));
        return;
    }
    for (size_t k = 0; k < net->outputs; k++)
        sum += exp(x[k] - top);
    for (size_t k = 0; k < net->outputs; k++)
        probability[k] = (float)(exp(x[k] - top) / sum);
    *lp = (float)(x[1] - x[0]);
}

void lob_fit_keep(const LobRun *run, const LobFit *fit, uint32_t p, const float *attention,
                  LobModelResult *result) {
    const LobView *view = fit->view;
    const LobEndpoint *endpoint = &view->cohort->study->endpoints[view->endpoint];
    const float *rival = run->net.rival ? run->params + run->net.rival : NULL;
    double log_survival[LOB_MAX_INTERVALS];
    if (endpoint->kind != LOB_ENDPOINT_SURVIVAL) {
        float own[LOB_MAX_CLASSES];
        score_classes(run, &result->lp[p], own);
        for (size_t k = 0; k < fit->classes; k++)
            result->probability[p * result->n_classes + (view->classes ? view->classes[k] : k)] = own[k];
    } else {
        result->lp[p] = run->work->out[0];
        log_survivals(run, (double)result->lp[p], log_survival);
        for (size_t h = 0; h < result->n_horizons; h++)
            result->survival[p * result->n_horizons + h] =
                (float)lob_event_free_at(view, log_survival, rival, endpoint->horizons[h]);
        for (size_t b = 0; b < result->n_ends; b++)
            result->curve[p * result->n_ends + b] =
                (float)lob_event_free_at(view, log_survival, rival, result->ends[b]);
    }
    if (result->attention && attention)
        memcpy(result->attention + fit->bags->first[p], attention, fit->bags->count[p] * sizeof(float));
}

/* One row of a table of floats [patient][width] for each held-out patient, from its owner to all. */
static void share_rows(const LobFit *fit, size_t width, float *table) {
    size_t n = fit->n_held_out;
    if (width == 0 || !table)
        return;
    g_autofree double *values = g_new(double, MAX(n * width, 1));
    for (size_t i = 0; i < n * width; i++)
        values[i] = (double)table[fit->held_out[i / width] * width + i % width];
    lob_group_gather(fit->bags->group, fit->bags->owner, fit->held_out, n, width, values);
    for (size_t i = 0; i < n * width; i++)
        table[fit->held_out[i / width] * width + i % width] = (float)values[i];
}

void lob_fit_share(const LobFit *fit, LobModelResult *result) {
    if (!fit->bags || !fit->bags->group)
        return;
    share_rows(fit, 1, result->lp);
    share_rows(fit, result->n_horizons, result->survival);
    share_rows(fit, result->n_ends, result->curve);
    share_rows(fit, result->n_classes, result->probability);
    for (size_t i = 0; result->attention && i < fit->n_held_out; i++)
        fit->bags->group->allreduce(fit->bags->group, result->attention + fit->bags->first[fit->held_out[i]],
                                    fit->bags->count[fit->held_out[i]]);
}

bool lob_fit_score(LobRun *run, LobFit *fit, LobModelResult *result, GError **err) {
    for (size_t i = 0; i < fit->n_held_out; i++) {
        if (!lob_fit_goes_on(fit, i, err))
            return false;
        if (!lob_fit_is_mine(fit, fit->held_out[i]))
            continue;
        lob_run_forward(run, fit, fit->held_out[i]);
        lob_fit_keep(run, fit, fit->held_out[i], run->work->weight, result);
    }
    lob_fit_share(fit, result);
    return true;
}

static int compare_double(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double lob_fit_risk(const LobRun *run, const LobFit *fit) {
    g_autofree float *unused = g_new(float, MAX(fit->classes, 2));
    float lp = run->work->out[0];
    if (run->net.endpoint != LOB_ENDPOINT_SURVIVAL)
        score_classes(run, &lp, unused);
    return (double)lp;
}

double lob_fit_cut(const LobFit *fit, double *risk) {
    size_t n = fit->n_train;
    if (fit->bags)
        lob_group_gather(fit->bags->group, fit->bags->owner, fit->train, n, 1, risk);
    qsort(risk, n, sizeof *risk, compare_double);
    return n % 2 ? risk[n / 2] : (risk[n / 2 - 1] + risk[n / 2]) / 2;
}

static bool training_cut(LobRun *run, LobFit *fit, double *cut, GError **err) {
    g_autofree double *risk = g_new0(double, fit->n_train);
    for (size_t i = 0; i < fit->n_train; i++) {
        if (!lob_fit_goes_on(fit, i, err))
            return false;
        if (!lob_fit_is_mine(fit, fit->train[i]))
            continue;
        lob_run_forward(run, fit, fit->train[i]);
        risk[i] = lob_fit_risk(run, fit);
    }
    *cut = lob_fit_cut(fit, risk);
    return true;
}

static float *filled(size_t n) {
    float *v = g_new(float, MAX(n, 1));
    for (size_t i = 0; i < n; i++)
        v[i] = NAN;
    return v;
}

void lob_fit_result_init(LobModelResult *result, const LobFit *fit) {
    const LobEndpoint *endpoint = &fit->view->cohort->study->endpoints[fit->view->endpoint];
    size_t n = fit->view->cohort->n_patients;
    *result = (LobModelResult){.n_patients = n, .inner_loss = NAN, .lp = filled(n)};
    if (endpoint->kind == LOB_ENDPOINT_SURVIVAL) {
        result->n_horizons = endpoint->n_horizons;
        result->survival = filled(n * endpoint->n_horizons);
        result->n_ends = fit->view->n_cuts;
        result->ends = g_memdup2(fit->view->cuts, result->n_ends * sizeof *result->ends);
        result->curve = filled(n * result->n_ends);
    } else {
        result->n_classes =
            fit->view->classes ? g_strv_length(fit->view->cohort->labels[fit->view->endpoint]) : fit->classes;
        result->probability = filled(n * result->n_classes);
    }
    if (fit->aggregator->has_attention) {
        uint64_t rows = 0;
        for (size_t p = 0; p < fit->bags->n_patients; p++)
            rows = MAX(rows, fit->bags->first[p] + fit->bags->count[p]);
        /* by calloc, so that only pages of scored patients take room */
        result->attention = g_new0(float, MAX(rows, 1));
    }
}

void lob_fit_keep_weights(const LobRun *run, const LobFit *fit, LobModelResult *result) {
    size_t d = fit->scaler.dim, n = run->net.n_params;
    result->n_weights = 2 * d + n;
    result->weights = g_new(float, result->n_weights);
    if (d) {
        memcpy(result->weights, fit->scaler.mean, d * sizeof(float));
        memcpy(result->weights + d, fit->scaler.inverse, d * sizeof(float));
    }
    memcpy(result->weights + 2 * d, run->params, n * sizeof(float));
}

bool lob_model_fit(const LobView *view, const LobBags *bags, const LobModelOptions *options,
                   LobModelResult *result, bool (*stop)(void *user), void *user, GError **err) {
    LobFit fit;
    LobRun run = {0};
    *result = (LobModelResult){0};
    bool ok = lob_fit_init(&fit, view, bags, options, err);
    fit.stop = stop;
    fit.user = user;
    if (ok) {
        lob_fit_result_init(result, &fit);
        ok = fit_alone(&fit, err) && train(&run, &fit, result, err) &&
             training_cut(&run, &fit, &result->cut, err) && lob_fit_score(&run, &fit, result, err);
    }
    if (ok)
        lob_fit_keep_weights(&run, &fit, result);
    lob_run_clear(&run);
    lob_fit_clear(&fit);
    if (!ok)
        lob_model_result_clear(result);
    return ok;
}

void lob_model_result_clear(LobModelResult *result) {
    g_free(result->lp);
    g_free(result->survival);
    g_free(result->ends);
    g_free(result->curve);
    g_free(result->probability);
    g_free(result->attention);
    g_free(result->weights);
    g_free(result->learning);
    *result = (LobModelResult){0};
}
