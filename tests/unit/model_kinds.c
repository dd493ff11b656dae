/* Every kind of model, loss and grid as a whole: nothing of a held-out center gets in, what is planted is
 * found, a group of batches is one batch. */
#include "model/fit.h"
#include "model_fixture.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static const char multiclass[] = "{name: lab, kind: multiclass, label: label}";
static const char classes[] = "{name: cls, kind: multiclass, label: class}";

typedef struct {
    LobView *view;
    LobModelResult result;
} Fitted;

static Fitted fit(const World *w, int fold, const LobModelOptions *options) {
    g_autoptr(GError) err = NULL;
    Fitted f = {.view = lob_view_new(w->cohort, w->folds, 0, 0, fold, options->seed, &err)};
    cr_assert(f.view, "%s", err ? err->message : "");
    cr_assert(lob_model_fit(f.view, &w->bags, options, &f.result, NULL, NULL, &err), "%s",
              err ? err->message : "");
    return f;
}

static void fitted_clear(Fitted *f) {
    lob_view_free(f->view);
    lob_model_result_clear(&f->result);
}

/* All that was fitted: weights with scaler and intercepts, threshold, length of training, bins, who judged,
 * and how covariates are imputed, scaled and coded. */
static bool same(const Fitted *a, const Fitted *b) {
    const LobView *x = a->view, *y = b->view;
    if (a->result.n_weights != b->result.n_weights || a->result.best_epoch != b->result.best_epoch ||
        memcmp(a->result.weights, b->result.weights, a->result.n_weights * sizeof(float)) != 0 ||
        a->result.cut != b->result.cut || x->n_cuts != y->n_cuts || x->n_inner != y->n_inner ||
        x->n_covariates != y->n_covariates ||
        (x->n_cuts && memcmp(x->cuts, y->cuts, x->n_cuts * sizeof *x->cuts) != 0) ||
        memcmp(x->inner, y->inner, x->n_inner * sizeof *x->inner) != 0)
        return false;
    for (size_t c = 0; c < x->n_covariates; c++)
        if (strcmp(x->names[c], y->names[c]) != 0 || x->design[c].median != y->design[c].median ||
            x->design[c].mean != y->design[c].mean || x->design[c].sd != y->design[c].sd)
            return false;
    return true;
}

static void check_leakage(const char *endpoint, const char *what, LobModelOptions options) {
    World *plain = world_new(no_change, endpoint), *changed = world_new((Change){2, -1}, endpoint);
    Fitted a = fit(plain, 2, &options), b = fit(changed, 2, &options);
    cr_expect(same(&a, &b), "%s: the held-out center moved what was fitted", what);
    Fitted c = fit(plain, 1, &options), d = fit(changed, 1, &options);
    cr_expect_not(same(&c, &d), "%s: a training center must move what is fitted", what);
    Fitted *all[] = {&a, &b, &c, &d};
    for (size_t i = 0; i < G_N_ELEMENTS(all); i++)
        fitted_clear(all[i]);
    world_free(plain);
    world_free(changed);
}

static LobModelOptions small(const char *kind, LobEndpointKind endpoint) {
    LobModelOptions options;
    cr_assert(lob_model_defaults_of(kind, endpoint, &options, NULL));
    options.hidden = 8;
    options.attention = 4;
    options.epochs = 12;
    options.max_tiles = 7;
    options.seed = options.order_seed = 5;
    return options;
}

Test(model, held_out_center_cannot_reach_any_kind) {
    check_leakage(survival, "clam, survival", small("clam", LOB_ENDPOINT_SURVIVAL));
    check_leakage(binary, "clam, binary", small("clam", LOB_ENDPOINT_BINARY));
    check_leakage(multiclass, "clam, multiclass", small("clam", LOB_ENDPOINT_MULTICLASS));
    check_leakage(classes, "clam, a class of the held-out center's own",
                  small("clam", LOB_ENDPOINT_MULTICLASS));
    check_leakage(survival, "transformer, survival", small("transformer", LOB_ENDPOINT_SURVIVAL));
    check_leakage(binary, "transformer, binary", small("transformer", LOB_ENDPOINT_BINARY));
}

/* A class that training never saw has no probability, whoever is scored; the others' add up to one. */
Test(model, a_class_of_the_held_out_center_is_not_predicted) {
    World *w = world_new((Change){2, -1}, classes);
    LobModelOptions options = small("mean", LOB_ENDPOINT_MULTICLASS);
    Fitted f = fit(w, 2, &options);
    cr_assert_eq(f.result.n_classes, 4);
    cr_assert_eq(f.view->n_classes, 3);
    cr_assert_str_eq(w->cohort->labels[0][0], "alien");
    for (int p = 2; p < PATIENTS; p += CENTERS) {
        const float *probability = f.result.probability + p * 4;
        cr_expect(isnan(probability[0]));
        cr_expect_float_eq(probability[1] + probability[2] + probability[3], 1, 1e-5);
    }
    fitted_clear(&f);
    world_free(w);
}

/* Events are what rounds are weighted by, but no class of several is more of an event than another. */
Test(model, rounds_of_several_classes_are_weighted_by_patients) {
    g_autoptr(GError) err = NULL;
    World *w = world_new(no_change, classes);
    LobModelOptions options = small("mean", LOB_ENDPOINT_MULTICLASS);
    options.rounds = CENTERS - 1;
    LobView *view = lob_view_new(w->cohort, w->folds, 0, 0, 2, options.seed, &err);
    LobFit fit;
    LobRound rounds[CENTERS] = {0};
    cr_assert(view && lob_fit_init(&fit, view, &w->bags, &options, &err), "%s", err ? err->message : "");
    const size_t n = lob_fit_rounds(&fit, rounds);
    cr_assert_eq(n, CENTERS - 1);
    for (size_t r = 0; r < n; r++) {
        cr_expect_eq(lob_round_weight(&fit, &rounds[r]), (double)rounds[r].n_judge);
        size_t kept = 0;
        for (size_t i = 0; i < rounds[r].n_judge; i++)
            if (view->event[rounds[r].judge[i]] != 1)
                rounds[r].judge[kept++] = rounds[r].judge[i];
        cr_assert(kept > 1 && kept < rounds[r].n_judge);
        rounds[r].n_judge = kept;
        cr_expect(lob_round_can_judge(&fit, &rounds[r]), "none of class 1 among those who judge");
        lob_round_clear(&rounds[r]);
    }
    lob_fit_clear(&fit);
    lob_view_free(view);
    world_free(w);
}

static LobModelOptions with_cox(const char *kind) {
    LobModelOptions options = small(kind, LOB_ENDPOINT_SURVIVAL);
    options.cox = true;
    options.batch = 40;
    options.lr = 1e-2;
    return options;
}

static const double rates[] = {1e-3, 1e-2}, decays[] = {0.1, 1};

static LobModelOptions with_grid(LobModelOptions options) {
    options.tune_lr = rates;
    options.n_tune_lr = G_N_ELEMENTS(rates);
    options.tune_weight_decay = decays;
    options.n_tune_weight_decay = G_N_ELEMENTS(decays);
    return options;
}

Test(model, held_out_center_cannot_reach_any_loss_or_grid) {
    check_leakage(survival, "abmil, cox", with_cox("abmil"));
    check_leakage(survival, "clinical, cox", with_cox("clinical"));
    check_leakage(survival, "clam, cox", with_cox("clam"));
    check_leakage(survival, "abmil, grid", with_grid(small("abmil", LOB_ENDPOINT_SURVIVAL)));
    check_leakage(survival, "mean, cox, grid", with_grid(with_cox("mean")));
}

static void check_finds(const char *endpoint, const char *what, LobModelOptions options) {
    World *w = world_new(no_change, endpoint);
    double sum = 0;
    for (int fold = 0; fold < CENTERS; fold++) {
        Fitted f = fit(w, fold, &options);
        sum += held_out_c(w, fold, &f.result) / CENTERS;
        fitted_clear(&f);
    }
    cr_expect_gt(sum, 0.68, "%s: mean held-out C %.3f", what, sum);
    world_free(w);
}

Test(model, every_kind_and_loss_finds_what_is_planted) {
    LobModelOptions clam = small("clam", LOB_ENDPOINT_SURVIVAL), cox = with_cox("abmil");
    LobModelOptions labels = small("clam", LOB_ENDPOINT_MULTICLASS);
    LobModelOptions transformer = small("transformer", LOB_ENDPOINT_SURVIVAL);
    clam.epochs = labels.epochs = cox.epochs = transformer.epochs = 60;
    check_finds(survival, "clam", clam);
    check_finds(multiclass, "clam, classes", labels);
    check_finds(survival, "transformer", transformer);
    check_finds(survival, "abmil, cox", cox);
    check_finds(survival, "abmil, grid", with_grid(small("abmil", LOB_ENDPOINT_SURVIVAL)));
}

/* The hazards fitted behind a Cox loss predict about as many events as there were in training. */
Test(model, cox_gets_a_baseline_that_fits) {
    World *w = world_new(no_change, survival);
    LobModelOptions options = with_cox("abmil");
    options.epochs = 60;
    double expected = 0, at_risk = 0;
    for (int fold = 0; fold < CENTERS; fold++) {
        Fitted f = fit(w, fold, &options);
        for (int p = fold; p < PATIENTS; p += CENTERS) {
            float s = f.result.survival[p * 3];
            cr_assert(s > 0 && s < 1 && s > f.result.survival[p * 3 + 1]);
            expected += 1 - (double)s;
            at_risk++;
        }
        fitted_clear(&f);
    }
    double observed = 0;
    for (int p = 0; p < PATIENTS; p++)
        observed += w->cohort->event[0][p] == 1 && w->cohort->time[0][p] <= 100;
    cr_expect_float_eq(expected / at_risk, observed / at_risk, 0.1, "%g expected, %g observed", expected,
                       observed);
    world_free(w);
}
