#include "model_benefit_world.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static void draw_patient(World *w, const Plan *plan, int p, GString *table) {
    g_autofree char *stream = g_strdup_printf("patient/%d", p);
    LobRng rng;
    lob_rng_init(&rng, plan->seed, stream);
    int center = p % CENTERS;
    double size = lob_rng_normal(&rng), grade = lob_rng_normal(&rng);
    w->latent[p] = lob_rng_normal(&rng);
    double wish = log(plan->share / (1 - plan->share)) + 0.5 * size;
    bool tace = lob_rng_uniform(&rng) < 1 / (1 + exp(-wish));
    tace = tace && (plan->only_center < 0 || plan->only_center == center);
    double eta = 0.4 * size + 0.5 * grade + 0.2 * center + (tace ? -0.1 + plan->effect * w->latent[p] : 0);
    double time = ceil(600 * lob_rng_exponential(&rng) / exp(eta)),
           limit = 400 + 1500 * lob_rng_uniform(&rng);
    int event = time <= limit;
    time = fmin(time, limit);
    if (center == plan->changed_center) {
        time = 5 * p + 2;
        event = p % 3 == 0;
        tace = p % 8 < 4;
        size = 900 - size;
    }
    g_autofree char *own = g_strdup_printf("adverse/%d", p);
    LobRng adverse;
    lob_rng_init(&adverse, plan->seed, own);
    const bool suffers = lob_rng_uniform(&adverse) < 1 / (1 + exp(1 - 1.5 * size));
    g_string_append_printf(table, "p%03d,c%d,%.4f,%s,%.0f,%d,%s\n", p, center, size, tace ? "tace" : "none",
                           fmax(time, 1), event,
                           !tace     ? ""
                           : suffers ? "1"
                                     : "0");
    w->first[p] = (uint64_t)p * TILES;
    w->count[p] = center == plan->changed_center ? TILES / 2 : TILES;
    for (int i = 0; i < TILES * DIM; i++) {
        double x = 0.5 * lob_rng_normal(&rng) + (i % DIM < 3 ? w->latent[p] : grade) + 0.3 * center;
        x = center == plan->changed_center ? 40 - 7 * x : x;
        w->features[p * TILES * DIM + i] = lob_half_from_float((float)x);
    }
}

static void write_file(const World *w, const char *name, const char *text) {
    g_autofree char *path = g_build_filename(w->dir, name, NULL);
    cr_assert(g_file_set_contents(path, text, -1, NULL));
}

World *benefit_world_new(const Plan *plan) {
    World *w = g_new0(World, 1);
    g_autoptr(GError) err = NULL;
    g_autoptr(GString) patients = g_string_new("patient_id,center,size,arm,days,event,ae\n");
    w->dir = g_dir_make_tmp("lob-benefit-XXXXXX", &err);
    cr_assert(w->dir, "%s", err ? err->message : "");
    for (int p = 0; p < PATIENTS; p++)
        draw_patient(w, plan, p, patients);
    w->bags = (LobBags){PATIENTS, DIM, w->first, w->count, w->features, NULL, NULL};
    g_autofree char *features = g_build_filename(w->dir, "features", NULL);
    g_autofree char *study = g_build_filename(w->dir, "study.yaml", NULL);
    cr_assert(lob_make_dirs(features, &err));
    write_file(w, "patients.csv", patients->str);
    write_file(
        w, "study.yaml",
        "study: t\ncohort: {patients: patients.csv}\nfeatures: features\n"
        "endpoints:\n  - {name: rfs, kind: survival, time: days, event: event, horizons: [365, 1000]}\n"
        "  - {name: ae, kind: binary, label: ae}\n"
        "model: {benefit: {adverse: ae, penalty_days: 40}}\n"
        "arms: {column: arm, levels: {none: [0, 0], tace: [1, 0]}}\n"
        "covariates: [size]\noutput: out\n");
    w->study = lob_study_read(study, NULL, &err);
    cr_assert(w->study, "%s", err ? err->message : "");
    w->cohort = lob_cohort_read(w->study, &err);
    cr_assert(w->cohort, "%s", err ? err->message : "");
    w->folds = lob_folds_make(w->cohort, &err);
    cr_assert(w->folds, "%s", err ? err->message : "");
    return w;
}

void benefit_world_free(World *w) {
    lob_folds_free(w->folds);
    lob_cohort_free(w->cohort);
    lob_study_free(w->study);
    g_free(w->dir);
    g_free(w);
}

void fold_fit(Fold *fold, const World *w, int index) {
    g_autoptr(GError) err = NULL;
    LobBenefitOptions options = lob_benefit_defaults(11);
    options.components = 4;
    options.members = 4;
    fold->view = lob_view_new(w->cohort, w->folds, 0, 0, index, 11, &err);
    cr_assert(fold->view, "%s", err ? err->message : "");
    LobBagSums sums;
    fold->adverse = lob_view_new(w->cohort, w->folds, 1, 0, index, 11, &err);
    cr_assert(fold->adverse, "%s", err ? err->message : "");
    options.adverse = fold->adverse;
    lob_bag_sums_of(&sums, &w->bags);
    cr_assert(lob_benefit_fit(&fold->fit, fold->view, &sums, &options, &err), "%s", err ? err->message : "");
    lob_bag_sums_clear(&sums);
}

void fold_clear(Fold *fold) {
    lob_benefit_clear(&fold->fit);
    lob_view_free(fold->view);
    lob_view_free(fold->adverse);
}
