/* A saved model scores a center left out of training as the fit that held it out did, whatever its other
 * contents; what cannot be a model is refused. */
#include "model/saved.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PATIENTS = 60, CENTERS = 3, DIM = 4, TILES = 6 };

typedef struct {
    char *dir;
    LobStudy *study;
    LobCohort *cohort;
    LobFolds *folds;
    uint64_t first[PATIENTS], count[PATIENTS];
    uint16_t features[PATIENTS * TILES * DIM];
    LobBags bags;
    int patients;
} World;

/* Center c2's patients come last, so that leaving them out keeps every other patient's number and rows. */
static int center_of(int p) {
    return p / (PATIENTS / CENTERS);
}

static void write_tables(const World *w) {
    g_autoptr(GString) patients = g_string_new("patient_id,center,age,grade,days,event,label\n");
    g_autoptr(GString) slides = g_string_new("slide_id,patient_id,center,path\n");
    LobRng rng;
    lob_rng_init(&rng, 3, "outcomes");
    for (int p = 0; p < PATIENTS; p++) {
        double latent = sin(p * 2.4), t = ceil(400 * lob_rng_exponential(&rng) / exp(latent));
        double age = 60 + 8 * lob_rng_normal(&rng);
        static const char *const grades[] = {"low", "mid", "high", ""};
        char age_cell[32];
        g_snprintf(age_cell, sizeof age_cell, p % 7 ? "%.2f" : "", age);
        /* A level of its own in the last center. */
        const char *grade = p >= 50 && p % 3 == 0 ? "odd" : grades[p % 4];
        if (p >= w->patients)
            continue;
        g_string_append_printf(patients, "p%03d,c%d,%s,%s,%.0f,%d,%d\n", p, center_of(p), age_cell, grade,
                               MAX(t, 1), p % 3 != 0, latent > 0);
        g_string_append_printf(slides, "s%03d,p%03d,c%d,s%03d.h5\n", p, p, center_of(p), p);
    }
    g_autofree char *a = g_build_filename(w->dir, "patients.csv", NULL);
    g_autofree char *b = g_build_filename(w->dir, "slides.csv", NULL);
    cr_assert(g_file_set_contents(a, patients->str, -1, NULL) &&
              g_file_set_contents(b, slides->str, -1, NULL));
}

static World *world_new(int patients, const char *endpoint) {
    World *w = g_new0(World, 1);
    g_autoptr(GError) err = NULL;
    w->patients = patients;
    w->dir = g_dir_make_tmp("lob-saved-XXXXXX", &err);
    cr_assert(w->dir, "%s", err ? err->message : "");
    g_autofree char *path = g_build_filename(w->dir, "study.yaml", NULL);
    g_autofree char *features = g_build_filename(w->dir, "features", NULL);
    g_autofree char *text = g_strdup_printf("study: t\ncohort: {slides: slides.csv, patients: patients.csv}\n"
                                            "features: features\nendpoints:\n  - %s\n"
                                            "covariates: [age, grade]\noutput: out\n",
                                            endpoint);
    cr_assert(lob_make_dirs(features, &err) && g_file_set_contents(path, text, -1, NULL));
    write_tables(w);
    w->study = lob_study_read(path, NULL, &err);
    cr_assert(w->study, "%s", err ? err->message : "");
    w->cohort = lob_cohort_read(w->study, &err);
    cr_assert(w->cohort, "%s", err ? err->message : "");
    w->folds = lob_folds_make(w->cohort, &err);
    cr_assert(w->folds, "%s", err ? err->message : "");
    LobRng rng;
    lob_rng_init(&rng, 4, "tiles");
    for (int p = 0; p < PATIENTS; p++) {
        w->first[p] = (uint64_t)p * TILES;
        w->count[p] = TILES;
        for (int i = 0; i < TILES * DIM; i++)
            w->features[p * TILES * DIM + i] =
                lob_half_from_float((float)(lob_rng_normal(&rng) + (i % DIM == 0 ? 1.5 * sin(p * 2.4) : 0)));
    }
    w->bags = (LobBags){(size_t)patients, DIM, w->first, w->count, w->features, NULL, NULL};
    return w;
}

static void world_free(World *w) {
    lob_folds_free(w->folds);
    lob_cohort_free(w->cohort);
    lob_study_free(w->study);
    g_free(w->dir);
    g_free(w);
}

static LobModelOptions options_for(const World *w, const char *kind) {
    LobModelOptions options;
    cr_assert(lob_model_defaults_of(kind, w->study->endpoints[0].kind, &options, NULL));
    options.seed = 7;
    options.epochs = MIN(options.epochs, 8);
    options.hidden = MIN(options.hidden, 8);
    options.attention = MIN(options.attention, 4);
    return options;
}

static LobModelResult fit(const World *w, int fold, const LobModelOptions *options, LobSavedNet *net) {
    g_autoptr(GError) err = NULL;
    g_autoptr(LobView) view = lob_view_new(w->cohort, w->folds, 0, 0, fold, options->seed, &err);
    cr_assert(view, "%s", err ? err->message : "");
    LobModelResult result;
    cr_assert(lob_model_fit(view, &w->bags, options, &result, NULL, NULL, &err), "%s",
              err ? err->message : "");
    if (net) {
        lob_saved_net_init(net, view, options, strcmp(options->kind, "clinical") == 0 ? 0 : DIM, 1);
        cr_assert(
            lob_saved_net_add(net, 0, result.weights, result.n_weights, result.cut, result.best_epoch, &err),
            "%s", err ? err->message : "");
    }
    return result;
}

static const char survival[] = "{name: rfs, kind: survival, time: days, event: event, horizons: [100, 300]}";
static const char binary[] = "{name: lab, kind: binary, label: label}";

/* Fold c2 of all patients, against a final model of a cohort that never had c2. */
static void agrees_with_its_fold(const char *kind, const char *endpoint) {
    World *whole = world_new(PATIENTS, endpoint), *rest = world_new(2 * PATIENTS / CENTERS, endpoint);
    LobModelOptions options = options_for(whole, kind);
    LobSavedNet net;
    LobModelResult held_out = fit(whole, 2, &options, NULL);
    LobModelResult final = fit(rest, LOB_FOLD_FINAL, &options, &net), scored;
    g_autoptr(GError) err = NULL;
    g_autofree float *covariates = lob_saved_covariates(&net, whole->cohort, &err);
    cr_assert(covariates, "%s", err ? err->message : "");
    uint32_t patients[PATIENTS / CENTERS];
    for (size_t i = 0; i < G_N_ELEMENTS(patients); i++)
        patients[i] = (uint32_t)(2 * PATIENTS / CENTERS + i);
    cr_assert(lob_saved_score(&net, 0, whole->cohort, 0, &whole->bags, covariates, patients,
                              G_N_ELEMENTS(patients), &scored, &err));
    cr_assert_eq(held_out.cut, scored.cut);
    for (size_t i = 0; i < G_N_ELEMENTS(patients); i++) {
        uint32_t p = patients[i];
        cr_assert(isfinite(held_out.lp[p]));
        cr_assert_eq(held_out.lp[p], scored.lp[p], "%s: %g, %g", kind, (double)held_out.lp[p],
                     (double)scored.lp[p]);
        for (size_t h = 0; h < scored.n_horizons; h++)
            cr_assert(held_out.survival[p * scored.n_horizons + h] ==
                          scored.survival[p * scored.n_horizons + h] ||
                      (isnan(held_out.survival[p * scored.n_horizons + h]) &&
                       isnan(scored.survival[p * scored.n_horizons + h])));
        for (size_t k = 0; k < scored.n_classes; k++)
            cr_assert_eq(held_out.probability[p * scored.n_classes + k],
                         scored.probability[p * scored.n_classes + k]);
    }
    cr_assert(isnan(scored.lp[0]), "only who was asked for is scored");
    lob_model_result_clear(&held_out);
    lob_model_result_clear(&final);
    lob_model_result_clear(&scored);
    lob_saved_net_clear(&net);
    world_free(whole);
    world_free(rest);
}

Test(saved, scores_as_the_fold_that_held_the_center_out) {
    agrees_with_its_fold("abmil", survival);
    agrees_with_its_fold("mean", survival);
    agrees_with_its_fold("clinical", survival);
    agrees_with_its_fold("abmil", binary);
    agrees_with_its_fold("clam", survival);
    agrees_with_its_fold("clam", binary);
    agrees_with_its_fold("transformer", survival);
}

Test(saved, final_training_uses_everybody) {
    World *w = world_new(PATIENTS, survival);
    g_autoptr(GError) err = NULL;
    g_autoptr(LobView) view = lob_view_new(w->cohort, w->folds, 0, 0, LOB_FOLD_FINAL, 1, &err);
    cr_assert(view);
    cr_assert_eq(view->n_train, PATIENTS);
    cr_assert_eq(view->n_held_out, 0);
    world_free(w);
}

/* The design reads cells as the view did. */
Test(saved, covariates_are_the_views) {
    World *w = world_new(PATIENTS, survival);
    LobModelOptions options = options_for(w, "clinical");
    LobSavedNet net;
    g_autoptr(GError) err = NULL;
    g_autoptr(LobView) view = lob_view_new(w->cohort, w->folds, 0, 0, 2, options.seed, &err);
    LobModelResult result = fit(w, 2, &options, &net);
    g_autofree float *x = lob_saved_covariates(&net, w->cohort, &err);
    cr_assert(x, "%s", err ? err->message : "");
    cr_assert_eq(net.n_columns, view->n_covariates);
    cr_assert_gt(net.n_columns, 3);
    cr_assert_arr_eq(x, view->covariates, PATIENTS * net.n_columns * sizeof(float));
    g_free(net.columns[0].covariate);
    net.columns[0].covariate = g_strdup("not there");
    g_autofree float *none = lob_saved_covariates(&net, w->cohort, &err);
    cr_assert_null(none);
    cr_assert(g_error_matches(err, LOB_ERROR, LOB_ERROR_INPUT));
    cr_assert(strstr(err->message, "not there"));
    lob_model_result_clear(&result);
    lob_saved_net_clear(&net);
    world_free(w);
}

typedef void (*Spoil)(LobSavedNet *net);
static void spoil_weight(LobSavedNet *net) {
    net->params[net->n_params / 2] = NAN;
}
static void spoil_shape(LobSavedNet *net) {
    net->n_params--;
}
static void spoil_kind(LobSavedNet *net) {
    net->kind[0] = 'x';
}
static void spoil_cuts(LobSavedNet *net) {
    net->cuts[0] = net->cuts[1];
}
static void spoil_scale(LobSavedNet *net) {
    net->columns[0].sd = 0;
}
static void spoil_width(LobSavedNet *net) {
    net->hidden = -1;
}

Test(saved, what_no_training_gives_is_refused) {
    static const Spoil spoils[] = {spoil_weight, spoil_shape, spoil_kind,
                                   spoil_cuts,   spoil_scale, spoil_width};
    World *w = world_new(PATIENTS, survival);
    LobModelOptions options = options_for(w, "abmil");
    for (size_t i = 0; i <= G_N_ELEMENTS(spoils); i++) {
        g_autoptr(GError) err = NULL;
        LobSavedModel model = {.seeds = 1, .n_endpoints = 1, .n_kinds = 1, .nets = g_new0(LobSavedNet, 1)};
        LobModelResult result = fit(w, 0, &options, &model.nets[0]);
        if (i < G_N_ELEMENTS(spoils))
            spoils[i](&model.nets[0]);
        bool ok = lob_saved_check(&model, &err);
        cr_assert_eq(ok, i == G_N_ELEMENTS(spoils), "%zu: %s", i, err ? err->message : "");
        lob_model_result_clear(&result);
        lob_saved_clear(&model);
    }
    world_free(w);
}
