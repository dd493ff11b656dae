/* Training in lock-step: the seeds of one fold, and the rounds that find how long to train, take every bag
 * together. The order of patients is one for all, so a model that leaves patients out keeps the order of the
 * others, and its mini-batches, as if it were trained alone. */
#include "model/sweep_internal.h"

#include <string.h>

enum { LEARN = 1, JUDGE = 2, HELD_OUT = 4 };

/* Runs in a stack: products are wide enough from here on, and memory stays within bounds. */
#define MOST_COLUMNS 1280
#define MOST_BYTES ((size_t)320 << 20)

typedef struct {
    LobFit *fits; /* [n] one a seed */
    size_t n;
    const LobModelOptions *options; /* of the first */
    uint32_t *order;                /* [n_train] */
    float *scale;                   /* [runs of a stack] */
    double seconds;                 /* in training passes */
} Sweep;

double lob_sweep_flops_a_tile(double dim, double hidden, double attention) {
    return 4 * dim * hidden + 12 * hidden * attention;
}

bool lob_sweep_serves(const LobModelOptions *options) {
    return strcmp(options->kind, "abmil") == 0 && !options->cox && options->n_tune_lr == 0 &&
           options->n_tune_weight_decay == 0;
}

static const LobGroup *group_of(const Sweep *sweep) {
    return sweep->fits[0].bags->group;
}

/* ---- runs and stacks ---- */

static void mark(LobSweepRun *run, const uint32_t *patients, size_t n, uint8_t role) {
    for (size_t i = 0; i < n; i++)
        run->role[patients[i]] |= role;
}

static void run_begin(LobSweepRun *run, LobFit *fit, const uint32_t *patients, size_t n) {
    *run = (LobSweepRun){.fit = fit, .active = true};
    lob_run_init(&run->run, fit, patients, n);
    memset(run->run.grad, 0, run->run.net.n_params * sizeof(float));
    run->role = g_new0(uint8_t, fit->view->cohort->n_patients);
    mark(run, patients, n, LEARN);
}

static void runs_end(LobSweepRun *runs, size_t n) {
    for (size_t r = 0; r < n; r++) {
        lob_run_clear(&runs[r].run);
        g_free(runs[r].role);
    }
}

/* How many runs go into a stack. */
static size_t stack_size(const Sweep *sweep) {
    size_t most = MAX(MOST_COLUMNS / (size_t)sweep->options->hidden, 1);
    while (most > 1 && lob_sweep_bytes(&sweep->fits[0], most) > MOST_BYTES)
        most--;
    return most;
}

/* ---- an epoch ---- */

static void step(LobSweepStack *stack, const Sweep *sweep, size_t r, int epoch) {
    LobRun *run = &stack->runs[r].run;
    const LobGroup *group = group_of(sweep);
    lob_sweep_take_gradient(stack, r);
    if (group)
        group->allreduce(group, run->grad, run->net.n_params);
    lob_adam_step(&run->adam, lob_fit_rate(&sweep->fits[0], epoch), sweep->options->weight_decay, run->grad,
                  run->params);
    memset(run->grad, 0, run->net.n_params * sizeof *run->grad);
    lob_sweep_load(stack, r);
}

static bool learns(const LobSweepRun *run, uint32_t patient) {
    return run->active && (run->role[patient] & LEARN);
}

/* One over the size of the mini-batch that each run is in. */
static void batch_scales(const LobSweepStack *stack, size_t batch, float *scale) {
    for (size_t r = 0; r < stack->n_runs; r++) {
        const LobSweepRun *run = &stack->runs[r];
        size_t begin = run->at - run->at % batch;
        scale[r] = run->at < run->n ? 1 / (float)MIN(batch, run->n - begin) : 0;
    }
}

static void epoch_begin(LobSweepStack *stack, const Sweep *sweep, int epoch) {
    const LobFit *fit = &sweep->fits[0];
    memcpy(sweep->order, fit->train, fit->n_train * sizeof *sweep->order);
    lob_fit_order(fit, epoch, sweep->order, fit->n_train);
    for (size_t r = 0; r < stack->n_runs; r++) {
        LobSweepRun *run = &stack->runs[r];
        run->n = run->at = 0;
        run->loss = 0;
        for (size_t i = 0; i < fit->n_train; i++)
            run->n += learns(run, fit->train[i]);
    }
}

/* Mean losses of the epoch, over the group. */
static bool epoch_end(LobSweepStack *stack, const Sweep *sweep, int epoch, GError **err) {
    const LobGroup *group = group_of(sweep);
    if (stack->error) {
        g_propagate_error(err, g_steal_pointer(&stack->error));
        return false;
    }
    for (size_t r = 0; r < stack->n_runs; r++) {
        LobSweepRun *run = &stack->runs[r];
        if (!run->active)
            continue;
        if (group)
            group->allreduce_double(group, &run->loss, 1);
        run->loss /= (double)run->n;
        if (!lob_fit_loss_is_sound(run->fit, epoch, run->loss, err))
            return false;
    }
    return true;
}

static bool train_epoch(LobSweepStack *stack, Sweep *sweep, int epoch, GError **err) {
    const LobFit *fit = &sweep->fits[0];
    const size_t batch = (size_t)sweep->options->batch;
    const double start = lob_clock();
    epoch_begin(stack, sweep, epoch);
    for (size_t i = 0; i < fit->n_train; i++) {
        uint32_t patient = sweep->order[i];
        if (!lob_fit_goes_on(fit, i, err))
            return false;
        batch_scales(stack, batch, sweep->scale);
        if (lob_fit_is_mine(fit, patient))
            lob_sweep_train(stack, patient, LEARN, epoch, sweep->scale);
        for (size_t r = 0; r < stack->n_runs; r++) {
            LobSweepRun *run = &stack->runs[r];
            if (learns(run, patient) && (++run->at % batch == 0 || run->at == run->n))
                step(stack, sweep, r, epoch);
        }
    }
    sweep->seconds += lob_clock() - start;
    return epoch_end(stack, sweep, epoch, err);
}

/* ---- how long to train: the rounds of every seed, as find_epochs of one model does ---- */

typedef struct {
    LobRound round;
    size_t seed;
    int number; /* of the round */
    double best, loss, weight;
    int best_epoch;
} Trial;

/* The head's outputs for the patients that judge, out [runs][judging patients of the run][outputs]. */
static bool judged_outputs(LobSweepStack *stack, const Sweep *sweep, double **out, GError **err) {
    const LobFit *fit = &sweep->fits[0];
    g_autofree size_t *at = g_new0(size_t, stack->n_runs);
    for (size_t i = 0; i < fit->n_train; i++) {
        uint32_t p = fit->train[i];
        if (!lob_fit_goes_on(fit, i, err))
            return false;
        bool mine = lob_fit_is_mine(fit, p);
        if (mine)
            lob_sweep_forward(stack, p, JUDGE);
        for (size_t r = 0; r < stack->n_runs; r++) {
            const LobRun *run = &stack->runs[r].run;
            if (!stack->runs[r].active || !(stack->runs[r].role[p] & JUDGE))
                continue;
            for (size_t k = 0; mine && k < run->net.outputs; k++)
                out[r][at[r] * run->net.outputs + k] = (double)run->work->out[k];
            at[r]++;
        }
    }
    return true;
}

/* Losses of the patients that judge, from one forward pass over them. */
static bool judge(LobSweepStack *stack, const Sweep *sweep, Trial *trials, int epoch, GError **err) {
    const LobBags *bags = sweep->fits[0].bags;
    g_autofree double **out = g_new0(double *, stack->n_runs);
    for (size_t r = 0; r < stack->n_runs; r++)
        out[r] = g_new0(double, MAX(trials[r].round.n_judge * stack->runs[r].run.net.outputs, 1));
    bool ok = judged_outputs(stack, sweep, out, err);
    for (size_t r = 0; r < stack->n_runs; r++) {
        const LobRun *run = &stack->runs[r].run;
        const LobRound *round = &trials[r].round;
        if (ok && stack->runs[r].active) {
            lob_group_gather(bags->group, bags->owner, round->judge, round->n_judge, run->net.outputs,
                             out[r]);
            trials[r].loss = lob_fit_judge(run, stack->runs[r].fit, round->judge, round->n_judge, out[r]);
            ok = lob_fit_loss_is_sound(stack->runs[r].fit, epoch, trials[r].loss, err);
        }
        g_free(out[r]);
    }
    return ok;
}

/* Of a segment: losses by run and epoch, of the patients that judge and then of those that learn. */
typedef struct {
    LobSegment segment;
    double *judged, *trained; /* [n][width] */
    size_t width;
} Stretch;

static void stretch_begin(Stretch *s, const char *what, size_t first, LobSweepRun *runs, size_t n,
                          size_t width) {
    *s = (Stretch){.width = width};
    (void)g_snprintf(s->segment.name, sizeof s->segment.name, "%s %zu, %zu together", what, first, n);
    s->segment.n_losses = 2 * n * width;
    s->segment.losses = s->judged = g_new0(double, MAX(s->segment.n_losses, 1));
    s->trained = s->judged + n * width;
    s->segment.n_runs = n;
    s->segment.runs = g_new0(LobRun *, n);
    for (size_t r = 0; r < n; r++)
        s->segment.runs[r] = &runs[r].run;
}

static void stretch_end(Stretch *s) {
    g_free(s->segment.losses);
    g_free(s->segment.runs);
}

static void resume(Stretch *s, Sweep *sweep, LobSweepStack *stack) {
    if (!lob_segment_resume(sweep->options->checkpoint, &s->segment))
        return;
    sweep->seconds = MAX(sweep->seconds, s->segment.seconds);
    for (size_t r = 0; r < stack->n_runs; r++)
        lob_sweep_load(stack, r);
}

static void keep(Stretch *s, const Sweep *sweep, int next) {
    s->segment.next = next;
    s->segment.seconds = sweep->seconds;
    lob_segment_keep(sweep->options->checkpoint, &s->segment);
}

/* Trials that have not waited too long for a better loss go on in epoch e; whether any does. */
static bool choose_active(LobSweepRun *runs, const Trial *trials, size_t n, int e, const LobModelOptions *o,
                          int *epochs_run) {
    bool any = false;
    for (size_t t = 0; t < n; t++) {
        runs[t].active = e - trials[t].best_epoch <= o->patience;
        any = any || runs[t].active;
        if (runs[t].active)
            epochs_run[trials[t].seed] = MAX(epochs_run[trials[t].seed], e);
    }
    return any;
}

/* What the trials have lost in epoch e, trained now or kept from an earlier run. */
static bool trial_epoch(LobSweepStack *stack, Sweep *sweep, Trial *trials, Stretch *s, int e, GError **err) {
    const size_t at = (size_t)e;
    if (e < s->segment.next) {
        for (size_t t = 0; t < stack->n_runs; t++)
            trials[t].loss = s->judged[t * s->width + at];
        return true;
    }
    if ((e > 0 && !train_epoch(stack, sweep, e - 1, err)) || !judge(stack, sweep, trials, e, err))
        return false;
    for (size_t t = 0; t < stack->n_runs; t++) {
        s->judged[t * s->width + at] = trials[t].loss;
        s->trained[t * s->width + at] = e > 0 && stack->runs[t].active ? stack->runs[t].loss : NAN;
    }
    keep(s, sweep, e + 1);
    return true;
}

/* Trains n trials together; adds their losses to curves [seeds][epochs + 1]. A trial that stopped early keeps
 * its last loss. */
static bool run_trials(Sweep *sweep, size_t first, Trial *trials, size_t n, double *curves, int *epochs_run,
                       LobModelResult *results, GError **err) {
    const LobModelOptions *o = sweep->options;
    const size_t width = (size_t)o->epochs + 1;
    g_autofree LobSweepRun *runs = g_new0(LobSweepRun, n);
    LobSweepStack stack;
    Stretch stretch;
    for (size_t t = 0; t < n; t++) {
        run_begin(&runs[t], &sweep->fits[trials[t].seed], trials[t].round.learn, trials[t].round.n_learn);
        mark(&runs[t], trials[t].round.judge, trials[t].round.n_judge, JUDGE);
    }
    stretch_begin(&stretch, "trials", first, runs, n, width);
    bool ok = lob_sweep_stack_init(&stack, &sweep->fits[0], &sweep->fits[0].scaler, runs, n, err);
    if (ok)
        resume(&stretch, sweep, &stack);
    for (int e = 0; ok && e <= o->epochs; e++) {
        if (choose_active(runs, trials, n, e, o, epochs_run))
            ok = trial_epoch(&stack, sweep, trials, &stretch, e, err);
        for (size_t t = 0; ok && t < n; t++) {
            if (trials[t].loss < trials[t].best) {
                trials[t].best = trials[t].loss;
                trials[t].best_epoch = e;
            }
            curves[trials[t].seed * width + (size_t)e] += trials[t].weight * trials[t].loss;
        }
    }
    for (size_t t = 0; ok && t < n; t++)
        for (size_t e = 0; e < width && (int)e - trials[t].best_epoch <= o->patience; e++)
            lob_fit_learned(&results[trials[t].seed], trials[t].number, (int)e,
                            stretch.trained[t * width + e], stretch.judged[t * width + e]);
    stretch.segment.n_runs = 0; /* their weights have done their work */
    if (ok)
        keep(&stretch, sweep, o->epochs + 1);
    stretch_end(&stretch);
    lob_sweep_stack_clear(&stack);
    runs_end(runs, n);
    return ok;
}

/* Round by round, the seeds of a round side by side: they use the same bags. */
static Trial *make_trials(const Sweep *sweep, size_t *n, double *weights) {
    size_t rounds = (size_t)sweep->options->rounds;
    Trial *trials = g_new0(Trial, rounds * sweep->n);
    g_autofree LobRound *all = g_new0(LobRound, rounds * sweep->n);
    size_t made = 0;
    for (size_t k = 0; k < sweep->n; k++)
        made = lob_fit_rounds(&sweep->fits[k], all + k * rounds);
    *n = 0;
    for (size_t r = 0; r < made; r++)
        for (size_t k = 0; k < sweep->n; k++) {
            LobRound *round = &all[k * rounds + r];
            if (!lob_round_can_judge(&sweep->fits[k], round)) {
                lob_round_clear(round);
                continue;
            }
            Trial *trial = &trials[(*n)++];
            *trial = (Trial){*round, k, (int)r, INFINITY, 0, lob_round_weight(&sweep->fits[k], round), 0};
            weights[k] += trial->weight;
        }
    return trials;
}

static bool find_epochs(Sweep *sweep, LobModelResult *results, GError **err) {
    const LobModelOptions *o = sweep->options;
    const size_t width = (size_t)o->epochs + 1;
    for (size_t k = 0; k < sweep->n; k++)
        results[k].best_epoch = o->epochs;
    if (o->rounds <= 0)
        return true;
    g_autofree double *curves = g_new0(double, sweep->n *width), *weights = g_new0(double, sweep->n);
    g_autofree int *epochs_run = g_new0(int, sweep->n);
    size_t n, most = stack_size(sweep);
    g_autofree Trial *trials = make_trials(sweep, &n, weights);
    bool ok = true;
    for (size_t t = 0; ok && t < n; t += most)
        ok = run_trials(sweep, t, trials + t, MIN(most, n - t), curves, epochs_run, results, err);
    for (size_t k = 0; ok && k < sweep->n; k++) {
        results[k].epochs_run = epochs_run[k];
        if (weights[k] > 0)
            lob_fit_best_epoch(curves + k * width, o->epochs, weights[k], &results[k]);
    }
    for (size_t t = 0; t < n; t++)
        lob_round_clear(&trials[t].round);
    return ok;
}

/* ---- the models themselves ---- */

/* Cut points from the training patients, scores of the held-out ones. */
static bool score(LobSweepStack *stack, const Sweep *sweep, size_t first, LobModelResult *results,
                  GError **err) {
    const LobFit *fit = &sweep->fits[0];
    g_autofree double *risk = g_new0(double, stack->n_runs * fit->n_train);
    for (size_t i = 0; i < fit->n_train; i++) {
        if (!lob_fit_goes_on(fit, i, err))
            return false;
        if (!lob_fit_is_mine(fit, fit->train[i]))
            continue;
        lob_sweep_forward(stack, fit->train[i], LEARN);
        for (size_t r = 0; r < stack->n_runs; r++)
            risk[r * fit->n_train + i] = lob_fit_risk(&stack->runs[r].run, fit);
    }
    for (size_t i = 0; i < fit->n_held_out; i++) {
        uint32_t p = fit->held_out[i];
        if (!lob_fit_goes_on(fit, i, err))
            return false;
        if (!lob_fit_is_mine(fit, p))
            continue;
        lob_sweep_forward(stack, p, HELD_OUT);
        for (size_t r = 0; r < stack->n_runs; r++)
            lob_fit_keep(&stack->runs[r].run, fit, p, lob_sweep_attention(stack, r), &results[first + r]);
    }
    for (size_t r = 0; r < stack->n_runs; r++) {
        LobModelResult *result = &results[first + r];
        result->cut = lob_fit_cut(fit, risk + r * fit->n_train);
        lob_fit_share(fit, result);
        lob_fit_keep_weights(&stack->runs[r].run, fit, result);
    }
    return true;
}

/* Seeds [first, first + n). */
static bool train(Sweep *sweep, size_t first, size_t n, LobModelResult *results, GError **err) {
    g_autofree LobSweepRun *runs = g_new0(LobSweepRun, n);
    LobSweepStack stack;
    Stretch stretch;
    int last = 0;
    for (size_t k = 0; k < n; k++) {
        LobFit *fit = &sweep->fits[first + k];
        run_begin(&runs[k], fit, fit->train, fit->n_train);
        mark(&runs[k], fit->held_out, fit->n_held_out, HELD_OUT);
        last = MAX(last, results[first + k].best_epoch);
    }
    stretch_begin(&stretch, "models", first, runs, n, (size_t)last);
    bool ok = lob_sweep_stack_init(&stack, &sweep->fits[0], &sweep->fits[0].scaler, runs, n, err);
    if (ok)
        resume(&stretch, sweep, &stack);
    for (int e = stretch.segment.next; ok && e < last; e++) {
        for (size_t k = 0; k < n; k++)
            runs[k].active = e < results[first + k].best_epoch;
        ok = train_epoch(&stack, sweep, e, err);
        for (size_t k = 0; k < n; k++)
            stretch.trained[k * stretch.width + (size_t)e] = runs[k].active ? runs[k].loss : NAN;
        if (ok)
            keep(&stretch, sweep, e + 1);
    }
    for (size_t k = 0; ok && k < n; k++) {
        runs[k].active = true;
        LobModelResult *result = &results[first + k];
        const size_t epochs = (size_t)result->best_epoch;
        result->epochs_run = MAX(result->epochs_run, result->best_epoch);
        for (size_t e = 0; e < epochs; e++)
            lob_fit_learned(result, -1, (int)e + 1, stretch.trained[k * stretch.width + e], NAN);
        if (epochs > 0)
            result->train_loss = stretch.trained[k * stretch.width + epochs - 1];
    }
    ok = ok && score(&stack, sweep, first, results, err);
    stretch_end(&stretch);
    lob_sweep_stack_clear(&stack);
    runs_end(runs, n);
    return ok;
}

static bool work(Sweep *sweep, LobModelResult *results, GError **err) {
    LobFit *first = &sweep->fits[0];
    size_t most = stack_size(sweep);
    bool ok = lob_fit_scale(first, err);
    sweep->order = g_new(uint32_t, first->n_train);
    sweep->scale = g_new(float, most);
    for (size_t k = 0; k < sweep->n; k++)
        lob_fit_result_init(&results[k], &sweep->fits[k]);
    ok = ok && find_epochs(sweep, results, err);
    for (size_t k = 0; ok && k < sweep->n; k += most)
        ok = train(sweep, k, MIN(most, sweep->n - k), results, err);
    for (size_t k = 0; k < sweep->n; k++)
        results[k].pass_seconds = sweep->seconds / (double)sweep->n;
    g_free(sweep->order);
    g_free(sweep->scale);
    return ok;
}

/* Whether the seed decides anything: weights that start at zero, no dropout and a fixed length leave it
 * nothing. */
static bool draws_anything(const LobModelOptions *o) {
    return strcmp(o->kind, "clinical") != 0 || o->dropout > 0 || o->rounds > 0;
}

static void *copied(const void *from, size_t size) {
    return from ? g_memdup2(from, MAX(size, 1)) : NULL;
}

/* Of a model without attention. */
static void copy_result(LobModelResult *to, const LobModelResult *from) {
    const size_t n = from->n_patients;
    *to = *from;
    to->lp = copied(from->lp, n * sizeof *from->lp);
    to->survival = copied(from->survival, n * from->n_horizons * sizeof *from->survival);
    to->ends = copied(from->ends, from->n_ends * sizeof *from->ends);
    to->curve = copied(from->curve, n * from->n_ends * sizeof *from->curve);
    to->probability = copied(from->probability, n * from->n_classes * sizeof *from->probability);
    to->weights = copied(from->weights, from->n_weights * sizeof *from->weights);
    to->learning = copied(from->learning, from->n_learning * sizeof *from->learning);
}

static bool one_at_a_time(const LobView *const *views, const LobBags *bags, const LobModelOptions *options,
                          size_t n, LobModelResult *results, bool (*stop)(void *user), void *user,
                          GError **err) {
    const bool drawn = draws_anything(options);
    if (n > 1 && !drawn)
        lob_info("%s draws nothing by its seed: one training stands for all %zu seeds", options->kind, n);
    for (size_t k = 0; k < n; k++)
        if (k > 0 && !drawn)
            copy_result(&results[k], &results[0]);
        else if (!lob_model_fit(views[k], bags, &options[k], &results[k], stop, user, err))
            return false;
    return true;
}

bool lob_sweep_fit(const LobView *const *views, const LobBags *bags, const LobModelOptions *options, size_t n,
                   LobModelResult *results, bool (*stop)(void *user), void *user, GError **err) {
    Sweep sweep = {.n = n, .options = options};
    bool ok = true;
    memset(results, 0, n * sizeof *results);
    if (!lob_sweep_serves(options)) {
        ok = one_at_a_time(views, bags, options, n, results, stop, user, err);
    } else {
        sweep.fits = g_new0(LobFit, n);
        for (size_t k = 0; ok && k < n; k++) {
            ok = lob_fit_init(&sweep.fits[k], views[k], bags, &options[k], err);
            sweep.fits[k].stop = stop;
            sweep.fits[k].user = user;
            sweep.fits[k].work_rows = 1;
        }
        ok = ok && work(&sweep, results, err);
        for (size_t k = 0; k < n; k++)
            lob_fit_clear(&sweep.fits[k]);
        g_free(sweep.fits);
    }
    if (!ok)
        lob_checkpoint_flush(options->checkpoint);
    for (size_t k = 0; !ok && k < n; k++)
        lob_model_result_clear(&results[k]);
    return ok;
}
