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
        batch_scales(stack, batch, sweep->scale);
        if (lob_fit_is_mine(fit, patient))
            lob_sweep_train(stack, patient, LEARN, epoch, sweep->scale);
        for (size_t r = 0; r < stack->n_runs; r++) {
            LobSweepRun *run = &stack->runs[r];
            if (learns(run, patient) && (++run->at % batch == 0 || run->at == run->n))
                step(stack, sweep, r, epoch);
        }
        if (((i + 1) % batch == 0 || i + 1 == fit->n_train) && lob_fit_wants_stop(fit))
            return lob_fail(err, LOB_ERROR_STOPPED, "training stopped in epoch %d", epoch + 1);
    }
    sweep->seconds += lob_clock() - start;
    return epoch_end(stack, sweep, epoch, err);
}

/* ---- how long to train: the rounds of every seed, as find_epochs of one model does ---- */

typedef struct {
    LobRound round;
    size_t seed;
    double best, loss, weight;
    int best_epoch;
} Trial;

/* Losses of the patients that judge, from one forward pass over them. */
static void judge(LobSweepStack *stack, const Sweep *sweep, Trial *trials) {
    const LobFit *fit = &sweep->fits[0];
    const LobBags *bags = fit->bags;
    g_autofree double **out = g_new0(double *, stack->n_runs);
    g_autofree size_t *at = g_new0(size_t, stack->n_runs);
    for (size_t r = 0; r < stack->n_runs; r++)
        out[r] = g_new0(double, MAX(trials[r].round.n_judge * stack->runs[r].run.net.outputs, 1));
    for (size_t i = 0; i < fit->n_train; i++) {
        uint32_t p = fit->train[i];
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
    for (size_t r = 0; r < stack->n_runs; r++) {
        const LobRun *run = &stack->runs[r].run;
        const LobRound *round = &trials[r].round;
        if (stack->runs[r].active) {
            lob_group_gather(bags->group, bags->owner, round->judge, round->n_judge, run->net.outputs,
                             out[r]);
            trials[r].loss = lob_fit_judge(run, stack->runs[r].fit, round->judge, round->n_judge, out[r]);
        }
        g_free(out[r]);
    }
}

/* Trains n trials together; adds their losses to curves [seeds][epochs + 1]. */
static bool run_trials(Sweep *sweep, Trial *trials, size_t n, double *curves, int *epochs_run, GError **err) {
    const LobModelOptions *o = sweep->options;
    g_autofree LobSweepRun *runs = g_new0(LobSweepRun, n);
    LobSweepStack stack;
    bool ok = true, going = true;
    for (size_t t = 0; t < n; t++) {
        run_begin(&runs[t], &sweep->fits[trials[t].seed], trials[t].round.learn, trials[t].round.n_learn);
        mark(&runs[t], trials[t].round.judge, trials[t].round.n_judge, JUDGE);
    }
    ok = lob_sweep_stack_init(&stack, &sweep->fits[0], &sweep->fits[0].scaler, runs, n, err);
    for (int e = 0; ok && e <= o->epochs; e++) {
        for (size_t t = 0, active = 0; t < n; t++) {
            runs[t].active = e - trials[t].best_epoch <= o->patience;
            active += runs[t].active;
            going = active > 0;
            if (runs[t].active)
                epochs_run[trials[t].seed] = MAX(epochs_run[trials[t].seed], e);
        }
        ok = !going || e == 0 || train_epoch(&stack, sweep, e - 1, err);
        if (ok && going)
            judge(&stack, sweep, trials);
        for (size_t t = 0; ok && t < n; t++) {
            if (trials[t].loss < trials[t].best) {
                trials[t].best = trials[t].loss;
                trials[t].best_epoch = e;
            }
            if (isfinite(trials[t].loss))
                curves[trials[t].seed * ((size_t)o->epochs + 1) + (size_t)e] +=
                    trials[t].weight * trials[t].loss;
        }
    }
    lob_sweep_stack_clear(&stack);
    runs_end(runs, n);
    return ok;
}

/* Round by round, the seeds of a round side by side: they use the same bags. */
static Trial *make_trials(const Sweep *sweep, size_t *n, double *events) {
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
            *trial = (Trial){*round, k, INFINITY, 0, lob_round_events(&sweep->fits[k], round), 0};
            events[k] += trial->weight;
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
    g_autofree double *curves = g_new0(double, sweep->n *width), *events = g_new0(double, sweep->n);
    g_autofree int *epochs_run = g_new0(int, sweep->n);
    size_t n, most = stack_size(sweep);
    g_autofree Trial *trials = make_trials(sweep, &n, events);
    bool ok = true;
    for (size_t t = 0; ok && t < n; t += most)
        ok = run_trials(sweep, trials + t, MIN(most, n - t), curves, epochs_run, err);
    for (size_t k = 0; ok && k < sweep->n; k++) {
        results[k].epochs_run = epochs_run[k];
        if (events[k] > 0)
            lob_fit_best_epoch(curves + k * width, o->epochs, events[k], &results[k]);
    }
    for (size_t t = 0; t < n; t++)
        lob_round_clear(&trials[t].round);
    return ok;
}

/* ---- the models themselves ---- */

/* Cut points from the training patients, scores of the held-out ones. */
static void score(LobSweepStack *stack, const Sweep *sweep, size_t first, LobModelResult *results) {
    const LobFit *fit = &sweep->fits[0];
    g_autofree double *risk = g_new0(double, stack->n_runs * fit->n_train);
    for (size_t i = 0; i < fit->n_train; i++) {
        if (!lob_fit_is_mine(fit, fit->train[i]))
            continue;
        lob_sweep_forward(stack, fit->train[i], LEARN);
        for (size_t r = 0; r < stack->n_runs; r++)
            risk[r * fit->n_train + i] = lob_fit_risk(&stack->runs[r].run, fit);
    }
    for (size_t i = 0; i < fit->n_held_out; i++) {
        uint32_t p = fit->held_out[i];
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
}

/* Seeds [first, first + n). */
static bool train(Sweep *sweep, size_t first, size_t n, LobModelResult *results, GError **err) {
    g_autofree LobSweepRun *runs = g_new0(LobSweepRun, n);
    LobSweepStack stack;
    int last = 0;
    bool ok = true;
    for (size_t k = 0; k < n; k++) {
        LobFit *fit = &sweep->fits[first + k];
        run_begin(&runs[k], fit, fit->train, fit->n_train);
        mark(&runs[k], fit->held_out, fit->n_held_out, HELD_OUT);
        last = MAX(last, results[first + k].best_epoch);
    }
    ok = lob_sweep_stack_init(&stack, &sweep->fits[0], &sweep->fits[0].scaler, runs, n, err);
    for (int e = 0; ok && e < last; e++) {
        for (size_t k = 0; k < n; k++)
            runs[k].active = e < results[first + k].best_epoch;
        ok = train_epoch(&stack, sweep, e, err);
        for (size_t k = 0; k < n; k++)
            if (runs[k].active)
                results[first + k].train_loss = runs[k].loss;
    }
    for (size_t k = 0; ok && k < n; k++) {
        runs[k].active = true;
        results[first + k].epochs_run = MAX(results[first + k].epochs_run, results[first + k].best_epoch);
    }
    if (ok)
        score(&stack, sweep, first, results);
    lob_sweep_stack_clear(&stack);
    runs_end(runs, n);
    return ok;
}

static bool work(Sweep *sweep, LobModelResult *results, GError **err) {
    LobFit *first = &sweep->fits[0];
    size_t most = stack_size(sweep);
    bool ok = true;
    lob_scaler_fit(&first->scaler, first->bags, first->train, first->n_train);
    sweep->order = g_new(uint32_t, first->n_train);
    sweep->scale = g_new(float, most);
    for (size_t k = 0; k < sweep->n; k++)
        lob_fit_result_init(&results[k], &sweep->fits[k]);
    ok = find_epochs(sweep, results, err);
    for (size_t k = 0; ok && k < sweep->n; k += most)
        ok = train(sweep, k, MIN(most, sweep->n - k), results, err);
    for (size_t k = 0; k < sweep->n; k++)
        results[k].pass_seconds = sweep->seconds / (double)sweep->n;
    g_free(sweep->order);
    g_free(sweep->scale);
    return ok;
}

static bool one_at_a_time(const LobView *const *views, const LobBags *bags, const LobModelOptions *options,
                          size_t n, LobModelResult *results, bool (*stop)(void *user), void *user,
                          GError **err) {
    for (size_t k = 0; k < n; k++)
        if (!lob_model_fit(views[k], bags, &options[k], &results[k], stop, user, err))
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
    for (size_t k = 0; !ok && k < n; k++)
        lob_model_result_clear(&results[k]);
    return ok;
}
