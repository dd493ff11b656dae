/* Training as a whole: nothing of a held-out center gets into the model, what is planted is found, and odd
 * data do no harm. Cohorts are written as tables and read as a study's would be. */
#include "model_fixture.h"
#include "stats/stats.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static LobModelResult fit_with(const World *w, int fold, const LobModelOptions *options) {
    g_autoptr(GError) err = NULL;
    g_autoptr(LobView) view = lob_view_new(w->cohort, w->folds, 0, 0, fold, options->seed, &err);
    cr_assert(view, "%s", err ? err->message : "");
    LobModelResult result;
    cr_assert(lob_model_fit(view, &w->bags, options, &result, NULL, NULL, &err), "%s",
              err ? err->message : "");
    return result;
}

static LobModelResult fit(const World *w, int fold, const char *kind) {
    LobModelOptions options = options_for(w, kind);
    return fit_with(w, fold, &options);
}

static bool same_model(const LobModelResult *a, const LobModelResult *b) {
    return a->n_weights == b->n_weights && a->best_epoch == b->best_epoch &&
           memcmp(a->weights, b->weights, a->n_weights * sizeof(float)) == 0 && a->cut == b->cut;
}

/* Outcomes, covariates, a factor level of its own, missing cells, features and tile counts of the held-out
 * center are all replaced: not a bit of the model moves. */
static void check_leakage(const char *kind, const char *endpoint) {
    World *plain = world_new(no_change, endpoint), *changed = world_new((Change){2, -1}, endpoint);
    LobModelResult a = fit(plain, 2, kind), b = fit(changed, 2, kind);
    cr_expect(same_model(&a, &b), "%s: the held-out center moved the model", kind);
    LobModelResult c = fit(plain, 1, kind), d = fit(changed, 1, kind);
    cr_expect_not(same_model(&c, &d), "%s: a training center must move the model", kind);
    LobModelResult *all[] = {&a, &b, &c, &d};
    for (size_t i = 0; i < G_N_ELEMENTS(all); i++)
        lob_model_result_clear(all[i]);
    world_free(plain);
    world_free(changed);
}

Test(model, held_out_center_cannot_reach_the_model) {
    check_leakage("abmil", survival);
    check_leakage("mean", survival);
    check_leakage("clinical", survival);
    check_leakage("abmil", binary);
}

Test(model, one_training_patient_moves_the_model) {
    World *plain = world_new(no_change, survival), *changed = world_new((Change){-1, 3}, survival);
    LobModelResult a = fit(plain, 2, "abmil"), b = fit(changed, 2, "abmil");
    cr_expect_not(same_model(&a, &b));
    lob_model_result_clear(&a);
    lob_model_result_clear(&b);
    world_free(plain);
    world_free(changed);
}

/* Same seed, same bits; another seed, another model. */
Test(model, a_seed_is_a_model) {
    World *w = world_new(no_change, survival);
    LobModelResult a = fit(w, 0, "abmil"), b = fit(w, 0, "abmil");
    LobModelOptions options = options_for(w, "abmil");
    options.seed = 8;
    LobModelResult c = fit_with(w, 0, &options);
    cr_expect(same_model(&a, &b));
    cr_expect_not(same_model(&a, &c));
    lob_model_result_clear(&a);
    lob_model_result_clear(&b);
    lob_model_result_clear(&c);
    world_free(w);
}

static void check_finds(const char *kind, const char *endpoint) {
    World *w = world_new(no_change, endpoint);
    LobModelOptions options = options_for(w, kind);
    options.epochs = 60;
    double sum = 0;
    for (int fold = 0; fold < CENTERS; fold++) {
        LobModelResult r = fit_with(w, fold, &options);
        sum += held_out_c(w, fold, &r) / CENTERS;
        lob_model_result_clear(&r);
    }
    cr_expect_gt(sum, 0.68, "%s: mean held-out C %.3f", kind, sum);
    world_free(w);
}

Test(model, finds_what_is_planted) {
    check_finds("abmil", survival);
    check_finds("mean", survival);
    check_finds("abmil", binary);
    check_finds("mean", binary);
}

/* S(t) falls with t and with risk, is absent beyond the last interval, and attention adds up to one. */
Test(model, predictions_are_probabilities) {
    World *w = world_new(no_change, survival);
    LobModelResult r = fit(w, 1, "abmil");
    cr_assert_eq(r.n_horizons, 3);
    for (int p = 1; p < PATIENTS; p += CENTERS) {
        const float *s = r.survival + p * 3;
        double sum = 0;
        cr_expect(s[0] > s[1] && s[0] < 1 && s[1] > 0 && isnan(s[2]));
        for (int q = 1; q < PATIENTS; q += CENTERS)
            cr_expect(!(r.lp[p] > r.lp[q]) || s[1] < r.survival[q * 3 + 1]);
        for (uint64_t i = w->first[p]; i < w->first[p] + w->count[p]; i++)
            sum += (double)r.attention[i];
        cr_expect_float_eq(sum, 1, 1e-5);
    }
    lob_model_result_clear(&r);
    world_free(w);
}

/* A patient without a tile is not scored and does no harm; one tile is enough; a column of one value counts
 * for nothing. */
Test(model, odd_bags_do_no_harm) {
    World *w = world_new(no_change, survival);
    w->count[0] = 0;
    w->count[1] = 1;
    w->count[4] = 0;
    for (int fold = 0; fold < 2; fold++) {
        LobModelResult r = fit(w, fold, "abmil");
        for (int p = fold; p < PATIENTS; p += CENTERS)
            cr_expect_eq(isnan(r.lp[p]), w->count[p] == 0, "patient %d", p);
        for (size_t i = 0; i < r.n_weights; i++)
            cr_assert(isfinite(r.weights[i]));
        lob_model_result_clear(&r);
    }
    world_free(w);
}

/* The same slide twice, and tiles that could not be read, change nothing at all. */
Test(model, repeated_and_unreadable_rows_do_not_count) {
    enum { WIDE = 2 * TILES + 1 };
    World *w = world_new(no_change, survival);
    g_autofree uint16_t *twice = g_new(uint16_t, PATIENTS * WIDE * DIM);
    uint64_t first[PATIENTS], count[PATIENTS];
    g_autofree uint64_t *origin = g_new0(uint64_t, PATIENTS * WIDE);
    for (int p = 0; p < PATIENTS; p++) {
        size_t bytes = TILES * DIM * sizeof(uint16_t);
        uint16_t *to = twice + (size_t)p * WIDE * DIM;
        first[p] = (uint64_t)p * WIDE;
        count[p] = WIDE;
        for (int j = 0; j < DIM; j++)
            to[j] = j == 2 ? 0x7e00 : 0x3c00;
        memcpy(to + DIM, w->features + p * TILES * DIM, bytes);
        memcpy(to + DIM + TILES * DIM, w->features + p * TILES * DIM, bytes);
    }
    cr_expect_eq(lob_bags_compact(twice, DIM, PATIENTS, first, count, origin), PATIENTS * (TILES + 1));
    cr_expect_eq(count[5], TILES);
    cr_expect_eq(origin[first[5]], first[5] + 1);
    LobModelResult a = fit(w, 0, "abmil");
    w->bags = (LobBags){PATIENTS, DIM, first, count, twice, NULL, NULL};
    LobModelResult b = fit(w, 0, "abmil");
    cr_expect(same_model(&a, &b));
    for (int p = 0; p < PATIENTS; p += CENTERS)
        cr_expect_eq(a.lp[p], b.lp[p]);
    lob_model_result_clear(&a);
    lob_model_result_clear(&b);
    world_free(w);
}

static bool stop_at_once(void *user) {
    (*(int *)user)++;
    return true;
}

Test(model, stops_where_asked) {
    World *w = world_new(no_change, survival);
    LobModelOptions options = options_for(w, "mean");
    g_autoptr(LobView) view = lob_view_new(w->cohort, w->folds, 0, 0, 0, 1, NULL);
    g_autoptr(GError) err = NULL;
    LobModelResult result;
    int asked = 0;
    cr_expect_not(lob_model_fit(view, &w->bags, &options, &result, stop_at_once, &asked, &err));
    cr_expect(g_error_matches(err, LOB_ERROR, LOB_ERROR_STOPPED));
    cr_expect_eq(asked, 1);
    world_free(w);
}

Test(model, unknown_kind_is_an_input_error) {
    LobModelOptions options;
    g_autoptr(GError) err = NULL;
    cr_expect_not(lob_model_defaults_of("magic", LOB_ENDPOINT_SURVIVAL, &options, &err));
    cr_expect(g_error_matches(err, LOB_ERROR, LOB_ERROR_INPUT));
    cr_expect(strstr(err->message, "abmil"));
}
