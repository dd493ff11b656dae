/* Training that is stopped and taken up again gives the same model to the bit, wherever it was stopped; a
 * file that is damaged or another's is none. */
#include "model/checkpoint.h"
#include "model/sweep.h"
#include "model_fixture.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { SEEDS = 2 };

typedef struct {
    LobView *views[SEEDS];
    LobModelOptions options[SEEDS];
    LobModelResult results[SEEDS];
} Models;

static bool stops_after(void *user) {
    int *left = user;
    return (*left)-- <= 0;
}

/* Whether training came to its end within so many questions whether to stop. */
static bool train(const World *w, Models *m, LobModelOptions options, const char *path, const char *identity,
                  int questions) {
    g_autoptr(LobCheckpoint) checkpoint = path ? lob_checkpoint_open(path, identity, NULL) : NULL;
    g_autoptr(GError) err = NULL;
    for (int k = 0; k < SEEDS; k++) {
        m->options[k] = options;
        m->options[k].seed += (uint64_t)k;
        m->options[k].checkpoint = checkpoint;
        m->views[k] = lob_view_new(w->cohort, w->folds, 0, 0, 1, m->options[k].seed, NULL);
    }
    bool ok = lob_sweep_fit((const LobView *const *)m->views, &w->bags, m->options, SEEDS, m->results,
                            stops_after, &questions, &err);
    cr_assert(ok || g_error_matches(err, LOB_ERROR, LOB_ERROR_STOPPED), "%s", ok ? "" : err->message);
    if (ok)
        lob_checkpoint_remove(checkpoint);
    for (int k = 0; k < SEEDS; k++)
        lob_view_free(m->views[k]);
    return ok;
}

static void clear(Models *m) {
    for (int k = 0; k < SEEDS; k++)
        lob_model_result_clear(&m->results[k]);
}

static void expect_same(const Models *a, const Models *b, const char *what) {
    for (int k = 0; k < SEEDS; k++) {
        const LobModelResult *x = &a->results[k], *y = &b->results[k];
        cr_assert_eq(x->n_weights, y->n_weights);
        cr_expect(memcmp(x->weights, y->weights, x->n_weights * sizeof(float)) == 0, "%s: weights", what);
        cr_expect(memcmp(x->lp, y->lp, PATIENTS * sizeof(float)) == 0, "%s: lp", what);
        cr_expect_eq(x->cut, y->cut, "%s: cut", what);
        cr_expect_eq(x->best_epoch, y->best_epoch, "%s: best epoch", what);
        cr_expect_eq(x->epochs_run, y->epochs_run, "%s: epochs run", what);
        cr_expect_eq(x->train_loss, y->train_loss, "%s: train loss", what);
        cr_expect(x->n_learning > 0 && x->n_learning == y->n_learning, "%s: learning", what);
        cr_expect(memcmp(x->learning, y->learning, x->n_learning * sizeof *x->learning) == 0, "%s: learning",
                  what);
        cr_expect(x->inner_loss == y->inner_loss || (isnan(x->inner_loss) && isnan(y->inner_loss)),
                  "%s: inner loss", what);
    }
}

/* Stopped every `questions` until it is through, against a training that nobody stopped. It has to get on
 * each time, or it would never end. */
static void check(const char *endpoint, LobModelOptions options, int questions, const char *what) {
    World *w = world_new(no_change, endpoint);
    g_autofree char *path = g_build_filename(w->dir, "features", "unfinished.part", NULL);
    Models whole = {0}, pieces = {0};
    int stops = 0;
    cr_assert(train(w, &whole, options, NULL, "", G_MAXINT));
    while (!train(w, &pieces, options, path, "a job", questions))
        cr_assert(g_file_test(path, G_FILE_TEST_EXISTS) && ++stops < 1000, "%s", what);
    cr_expect_gt(stops, 3, "%s: stopped %d times", what, stops);
    cr_expect_not(g_file_test(path, G_FILE_TEST_EXISTS));
    expect_same(&whole, &pieces, what);
    clear(&whole);
    clear(&pieces);
    world_free(w);
}

static LobModelOptions small(const char *kind, LobEndpointKind endpoint) {
    LobModelOptions options;
    cr_assert(lob_model_defaults_of(kind, endpoint, &options, NULL));
    options.hidden = MIN(options.hidden, 8);
    options.attention = MIN(options.attention, 4);
    options.epochs = MIN(options.epochs, 9);
    options.seed = options.order_seed = 5;
    options.patience = 3;
    return options;
}

/* An epoch asks 60 times, judging and scoring 60 and 20 times more. */
Test(model, training_is_taken_up_again) {
    LobModelOptions cox = small("clam", LOB_ENDPOINT_SURVIVAL);
    static const double rates[] = {1e-3, 1e-2};
    check(survival, small("abmil", LOB_ENDPOINT_SURVIVAL), 400, "sweep");
    check(binary, small("abmil", LOB_ENDPOINT_BINARY), 150, "sweep, label");
    cox.cox = true;
    cox.tune_lr = rates;
    cox.n_tune_lr = 2;
    check(survival, cox, 2500, "clam, cox, grid");
    check(survival, small("clinical", LOB_ENDPOINT_SURVIVAL), 170, "clinical");
}

/* Seeds that do not fit into one stack are several segments. */
Test(model, a_wide_sweep_is_taken_up_again) {
    LobModelOptions wide = small("abmil", LOB_ENDPOINT_SURVIVAL);
    wide.hidden = 700;
    wide.epochs = 4;
    check(survival, wide, 300, "one run a stack");
}

Test(model, unfinished_training_of_another_job_is_none) {
    World *w = world_new(no_change, survival);
    LobModelOptions options = small("abmil", LOB_ENDPOINT_SURVIVAL), other = options;
    g_autofree char *path = g_build_filename(w->dir, "features", "unfinished.part", NULL);
    Models whole = {0}, m = {0};
    other.lr *= 2;
    cr_assert(train(w, &whole, options, NULL, "", G_MAXINT));
    cr_assert_not(train(w, &m, other, path, "one", 500));
    cr_assert(train(w, &m, options, path, "two", G_MAXINT));
    expect_same(&whole, &m, "another job's");
    clear(&m);
    cr_assert_not(train(w, &m, other, path, "one", 500));
    g_autofree char *bytes = NULL;
    size_t size;
    cr_assert(g_file_get_contents(path, &bytes, &size, NULL));
    for (size_t at = 100; at < size; at += size / 7) {
        bytes[at] ^= 1;
        cr_assert(g_file_set_contents(path, bytes, (gssize)size, NULL));
        bytes[at] ^= 1;
        cr_assert(train(w, &m, options, path, "one", G_MAXINT));
        expect_same(&whole, &m, "damaged");
        clear(&m);
    }
    for (size_t cut = 0; cut < size; cut += size / 5) {
        cr_assert(g_file_set_contents(path, bytes, (gssize)cut, NULL));
        cr_assert(train(w, &m, options, path, "one", G_MAXINT));
        expect_same(&whole, &m, "cut off");
        clear(&m);
    }
    clear(&whole);
    world_free(w);
}

/* Rounds whose patients cannot judge (the one event of a center is its last patient's) do not choose 0
 * epochs. */
Test(model, rounds_without_risk_sets_choose_nothing) {
    World *w = world_new(no_change, survival);
    LobModelOptions options = small("abmil", LOB_ENDPOINT_SURVIVAL);
    for (int swept = 0; swept < 2; swept++) {
        g_autoptr(LobView) view = lob_view_new(w->cohort, w->folds, 0, 0, 1, 5, NULL);
        double last[CENTERS] = {0};
        g_autoptr(GError) err = NULL;
        LobModelResult result;
        for (size_t i = 0; i < view->n_train; i++)
            last[view->train[i] % CENTERS] = MAX(last[view->train[i] % CENTERS], view->time[view->train[i]]);
        for (size_t i = 0; i < view->n_train; i++)
            view->event[view->train[i]] = view->time[view->train[i]] == last[view->train[i] % CENTERS];
        const LobView *views[] = {view};
        cr_assert(swept ? lob_sweep_fit(views, &w->bags, &options, 1, &result, NULL, NULL, &err)
                        : lob_model_fit(view, &w->bags, &options, &result, NULL, NULL, &err),
                  "%s", err ? err->message : "");
        cr_expect_eq(result.best_epoch, options.epochs);
        cr_expect(isnan(result.inner_loss));
        lob_model_result_clear(&result);
    }
    world_free(w);
}
