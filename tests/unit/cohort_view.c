/* The training view: what it fits, and that it sees training patients only. */
#include "cohort/cohort.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    LobStudy *study;
    LobCohort *cohort;
    LobFolds *folds;
} Loaded;

static Loaded load(const char *keys, const char *patients) {
    Loaded l = {0};
    g_autoptr(GError) error = NULL;
    g_autofree char *folder = g_dir_make_tmp("lob-view-XXXXXX", NULL);
    g_autofree char *study =
        g_strconcat("study: s\ncohort: {patients: patients.csv}\nfeatures: /dev/null\n", keys, NULL);
    g_autofree char *study_path = g_build_filename(folder, "study.yaml", NULL);
    g_autofree char *patients_path = g_build_filename(folder, "patients.csv", NULL);
    cr_assert(lob_file_replace(study_path, study, strlen(study), NULL));
    cr_assert(lob_file_replace(patients_path, patients, strlen(patients), NULL));
    l.study = lob_study_read(study_path, NULL, &error);
    cr_assert_not_null(l.study, "%s", error != NULL ? error->message : "");
    l.cohort = lob_cohort_read(l.study, &error);
    cr_assert_not_null(l.cohort, "%s", error != NULL ? error->message : "");
    l.folds = lob_folds_make(l.cohort, &error);
    cr_assert_not_null(l.folds, "%s", error != NULL ? error->message : "");
    return l;
}

static void unload(Loaded *l) {
    lob_folds_free(l->folds);
    lob_cohort_free(l->cohort);
    lob_study_free(l->study);
}

static LobView *view_of(const Loaded *l, int fold, uint64_t seed) {
    g_autoptr(GError) error = NULL;
    LobView *view = lob_view_new(l->cohort, l->folds, 0, 0, fold, seed, &error);
    cr_assert_not_null(view, "%s", error != NULL ? error->message : "");
    return view;
}

static const char golden_patients[] = "patient_id,center,t,e,age,sex,flat,gap\n"
                                      "a00,A,100,1,50,m,3,1\na01,A,250,1,61,f,3,2\na02,A,300,0,,m,3,1\n"
                                      "a03,A,410,1,47.5,m,3,4\na04,A,55,1,70,,3,1\na05,A,720,1,66,f,3,1\n"
                                      "b00,B,90,1,58,m,3,\nb01,B,640,0,,m,3,\nb02,B,205,1,39,d,3,\n"
                                      "b03,B,333,1,81,m,3,\nb04,B,510,1,55,f,3,\nb05,B,150,1,62.5,m,3,\n"
                                      "c00,C,10,1,40,x,9,7\nc01,C,20,0,,f,1,\nc02,C,30,1,44,m,3,5\n";

/* Goldens: tests/oracles/cohort_view.py. Center C is held out; its sex 'x' is unknown to training, its
 * varying 'flat' does not save a column that is constant in training, and 'gap' is absent in training center
 * B. */
Test(cohort_view, golden) {
    Loaded l = load("endpoints: [{name: os, time: t, event: e}]\ncovariates: [age, sex, flat, gap]\n",
                    golden_patients);
    g_autoptr(LobView) view = view_of(&l, 2, 1);
    static const float age[] = {-0.872390919f, 0.184082487f,  0.0400179321f, -1.11249851f,  1.04846982f,
                                0.664297672f,  -0.104046623f, 0.0400179321f, -1.92886432f,  2.10494323f,
                                -0.392175734f, 0.328147043f,  -1.83282129f,  0.0400179321f, -1.44864914f};
    static const char *const names[] = {"age", "age missing", "sex=d", "sex=f", "sex missing"};
    cr_assert_eq(view->n_train, 12);
    cr_assert_eq(view->n_held_out, 3);
    cr_assert_eq(view->n_covariates, 5);
    for (size_t i = 0; i < 5; i++)
        cr_assert_str_eq(view->names[i], names[i]);
    for (size_t p = 0; p < 15; p++)
        cr_assert_float_eq(view->covariates[5 * p], age[p], 1e-6, "patient %zu", p);
    static const float rest[][4] = {{0, 0, 0, 0}, {0, 0, 1, 0}, {1, 0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 1}};
    for (size_t p = 0; p < 5; p++)
        cr_assert(memcmp(&view->covariates[5 * p + 1], rest[p], sizeof rest[p]) == 0, "patient %zu", p);
    const float *unseen = &view->covariates[5 * 12];
    cr_assert(unseen[1] == 0 && unseen[2] == 0 && unseen[3] == 0 && unseen[4] == 0);
    cr_assert_eq(view->n_cuts, 2);
    cr_assert_float_eq(view->cuts[0], 227.5, 1e-9);
    cr_assert_float_eq(view->cuts[1], 720, 0);
    for (size_t i = 0; i < view->n_held_out; i++) {
        cr_assert(isnan(view->time[view->held_out[i]]));
        cr_assert_eq(view->event[view->held_out[i]], -1);
    }
    unload(&l);
}

/* ---- a larger cohort, drawn by the repository's own generator ---- */

enum { N = 240, CENTERS = 4, HELD_OUT = 2 };

/* perturb != 0 rewrites outcomes, covariates and missingness of the held-out center alone. */
static char *draw_patients(uint64_t perturb) {
    GString *text = g_string_new("patient_id,center,t,e,age,stage,arm,td\n");
    for (int i = 0; i < N; i++) {
        int center = i % CENTERS;
        g_autofree char *stream = g_strdup_printf("patient/%d", i);
        LobRng rng;
        lob_rng_init(&rng, center == HELD_OUT ? perturb : 0, stream);
        double age = 60 + 10 * lob_rng_normal(&rng) * (center == HELD_OUT && perturb ? 7 : 1);
        g_string_append_printf(text, "p%03d,c%d,%.0f,%u,", i, center, 1500 * lob_rng_exponential(&rng),
                               lob_rng_below(&rng, 2));
        if (lob_rng_uniform(&rng) < (center == HELD_OUT && perturb ? 0.7 : 0.1))
            g_string_append(text, ",");
        else
            g_string_append_printf(text, "%.3f,", age);
        g_string_append_printf(text, "%c,%s,%s\n",
                               center == HELD_OUT && perturb ? 'X' : (int)('A' + lob_rng_below(&rng, 3)),
                               lob_rng_below(&rng, 2) ? "tace" : "none", lob_rng_below(&rng, 2) ? "30" : "");
    }
    return g_string_free(text, FALSE);
}

static const char large_keys[] =
    "endpoints: [{name: os, time: t, event: e, landmark: 60}]\n"
    "covariates: [age, stage]\n"
    "arms: {column: arm, levels: {none: [0,0], tace: [1,0]}, start: {tace: td}}\n";

static Loaded load_drawn(uint64_t perturb) {
    g_autofree char *patients = draw_patients(perturb);
    return load(large_keys, patients);
}

/* Every fitted thing is compared to the bit. */
Test(cohort_view, held_out_patients_change_nothing_that_is_fitted) {
    Loaded before = load_drawn(0);
    g_autoptr(LobView) a = view_of(&before, HELD_OUT, 9);
    cr_assert_gt(a->n_covariates, 3);
    cr_assert_gt(a->n_cuts, 5);
    for (uint64_t perturb = 1; perturb <= 5; perturb++) {
        Loaded after = load_drawn(perturb);
        g_autoptr(LobView) b = view_of(&after, HELD_OUT, 9);
        cr_assert(b->n_train == a->n_train && b->n_inner == a->n_inner && b->n_cuts == a->n_cuts &&
                  b->n_covariates == a->n_covariates);
        cr_assert(memcmp(a->train, b->train, a->n_train * sizeof *a->train) == 0);
        cr_assert(memcmp(a->inner, b->inner, a->n_inner * sizeof *a->inner) == 0);
        cr_assert(memcmp(a->cuts, b->cuts, a->n_cuts * sizeof *a->cuts) == 0);
        for (size_t c = 0; c < a->n_covariates; c++)
            cr_assert_str_eq(a->names[c], b->names[c]);
        for (size_t i = 0; i < a->n_train; i++) {
            size_t p = a->train[i], width = a->n_covariates;
            cr_assert(memcmp(&a->covariates[p * width], &b->covariates[p * width], width * sizeof(float)) ==
                      0);
        }
        cr_assert(memcmp(a->time, b->time, N * sizeof *a->time) == 0);
        cr_assert(memcmp(a->event, b->event, N * sizeof *a->event) == 0);
        /* The perturbation did reach the held-out patients' inputs. */
        size_t p = HELD_OUT, width = a->n_covariates;
        cr_assert(memcmp(&a->covariates[p * width], &b->covariates[p * width],
                         (N - p) * width * sizeof(float)) != 0);
        unload(&after);
    }
    unload(&before);
}

/* The counterpart: a training patient's values must matter, or the test above proves nothing. */
Test(cohort_view, training_patients_do_change_it) {
    Loaded before = load_drawn(0), after = load_drawn(1);
    g_autoptr(LobView) a = view_of(&before, 0, 9);
    g_autoptr(LobView) b = view_of(&after, 0, 9);
    cr_assert(a->n_cuts != b->n_cuts || memcmp(a->cuts, b->cuts, a->n_cuts * sizeof *a->cuts) != 0);
    cr_assert(a->n_covariates != b->n_covariates || a->covariates[1] != b->covariates[1] ||
              memcmp(a->covariates, b->covariates, a->n_covariates * sizeof(float)) != 0);
    unload(&before);
    unload(&after);
}

Test(cohort_view, outcomes_outside_training_are_blank) {
    Loaded l = load_drawn(0);
    g_autoptr(LobView) view = view_of(&l, HELD_OUT, 9);
    g_autofree bool *in_train = g_new0(bool, N);
    for (size_t i = 0; i < view->n_train; i++)
        in_train[view->train[i]] = true;
    for (size_t p = 0; p < N; p++) {
        cr_assert_eq(in_train[p], view->event[p] >= 0);
        cr_assert_eq(in_train[p], !isnan(view->time[p]));
        cr_assert(!in_train[p] || l.cohort->patients[p].center != HELD_OUT);
        for (size_t c = 0; c < view->n_covariates; c++)
            cr_assert(isfinite(view->covariates[p * view->n_covariates + c]));
    }
    unload(&l);
}

/* A fifth, in every training center and for both outcomes; another seed draws others; patients who join the
 * table do not change anybody's draw. */
Test(cohort_view, inner_patients) {
    Loaded l = load_drawn(0);
    g_autoptr(LobView) view = view_of(&l, HELD_OUT, 9);
    g_autoptr(LobView) again = view_of(&l, HELD_OUT, 9);
    g_autoptr(LobView) other = view_of(&l, HELD_OUT, 10);
    double groups[CENTERS][2] = {{0}}, drawn[CENTERS][2] = {{0}};
    cr_assert_float_eq((double)view->n_inner, 0.2 * (double)view->n_train, 1);
    for (size_t i = 0; i < view->n_train; i++)
        groups[l.cohort->patients[view->train[i]].center][view->event[view->train[i]]]++;
    for (size_t i = 0; i < view->n_inner; i++) {
        cr_assert(i == 0 || view->inner[i] > view->inner[i - 1]);
        cr_assert_neq(view->event[view->inner[i]], -1);
        drawn[l.cohort->patients[view->inner[i]].center][view->event[view->inner[i]]]++;
    }
    for (size_t c = 0; c < CENTERS; c++)
        for (size_t e = 0; e < 2; e++)
            cr_assert_float_eq(drawn[c][e], 0.2 * groups[c][e], 1.0);
    cr_assert(again->n_inner == view->n_inner &&
              memcmp(view->inner, again->inner, view->n_inner * sizeof *view->inner) == 0);
    cr_assert(memcmp(view->inner, other->inner, MIN(view->n_inner, other->n_inner) * sizeof *view->inner) !=
              0);
    unload(&l);
}

/* A text in the held-out center makes the table's column one of levels; the training centers' numbers stay
 * numbers, and the text counts as missing. */
Test(cohort_view, held_out_text_does_not_change_a_columns_kind) {
    static const char keys[] = "endpoints: [{name: g, kind: binary, label: g}]\ncovariates: [stage]\n";
    Loaded plain =
        load(keys, "patient_id,center,g,stage\np1,A,x,1\np2,A,y,2\np3,A,x,4\np4,B,y,2\np5,B,x,3\n");
    Loaded text =
        load(keys, "patient_id,center,g,stage\np1,A,x,1\np2,A,y,2\np3,A,x,4\np4,B,y,II\np5,B,x,3\n");
    g_autoptr(LobView) a = lob_view_new(plain.cohort, plain.folds, 0, 0, 1, 1, NULL);
    g_autoptr(LobView) b = lob_view_new(text.cohort, text.folds, 0, 0, 1, 1, NULL);
    cr_assert(a->n_covariates == 1 && b->n_covariates == 1);
    cr_expect(b->design[0].kind == LOB_COLUMN_NUMBER && b->design[0].median == 2);
    cr_expect(a->design[0].mean == b->design[0].mean && a->design[0].sd == b->design[0].sd);
    cr_expect_eq(b->covariates[3], lob_design_number(&b->design[0], NAN));
    cr_expect_eq(a->covariates[4], b->covariates[4]);
    /* In training it is what the table says it is. */
    g_autoptr(LobView) c = lob_view_new(text.cohort, text.folds, 0, 0, 0, 1, NULL);
    cr_expect(c->n_covariates == 1 && c->design[0].kind == LOB_COLUMN_LEVEL);
    unload(&plain);
    unload(&text);
}

/* Columns of a per-patient vector come after the covariates, scaled by the training patients, and are counted
 * apart; stems expand in the table's order. */
Test(cohort_view, imaging_follows_the_covariates) {
    Loaded l =
        load("endpoints: [{name: g, kind: binary, label: g}]\ncovariates: [age]\nimaging: [pet, ct_*]\n",
             "patient_id,center,g,age,ct_a,ct_b,pet\np1,A,x,50,1,7,0.5\np2,A,y,60,3,7,\np3,A,x,70,5,8,1\n"
             "p4,B,y,55,900,-3,2\np5,B,x,65,,8,3\n");
    cr_assert_eq(l.cohort->n_imaging, 3);
    cr_expect_str_eq(l.cohort->imaging_names[0], "pet");
    cr_expect_str_eq(l.cohort->imaging_names[2], "ct_b");
    g_autoptr(LobView) view = lob_view_new(l.cohort, l.folds, 0, 0, 1, 1, NULL);
    static const char *const names[] = {"age", "pet", "pet missing", "ct_a", "ct_b"};
    cr_assert(view->n_covariates == G_N_ELEMENTS(names) && view->n_clinical == 1);
    for (size_t c = 0; c < G_N_ELEMENTS(names); c++)
        cr_expect_str_eq(view->names[c], names[c]);
    cr_expect_float_eq(view->design[3].mean, 3, 1e-12);
    cr_expect_eq(view->covariates[4 * 5 + 3], 0, "a missing value is the training median");
    unload(&l);
}

Test(cohort_view, nothing_to_train_on) {
    Loaded l = load("endpoints: [{name: os, time: t, event: e}]\n",
                    "patient_id,center,t,e\np1,A,5,0\np2,A,7,0\np3,B,5,1\n");
    g_autoptr(GError) error = NULL;
    cr_assert_null(lob_view_new(l.cohort, l.folds, 0, 0, 1, 1, &error));
    cr_assert(g_error_matches(error, LOB_ERROR, LOB_ERROR_NOT_ESTIMABLE));
    cr_assert_not_null(strstr(error->message, "fold 'B' held out: no event among the 2 training patients"));
    g_autoptr(LobView) view = lob_view_new(l.cohort, l.folds, 0, 0, 0, 1, NULL);
    cr_assert_not_null(view);
    cr_assert(view->n_cuts == 1 && view->cuts[0] == 5 && view->n_inner == 0);
    unload(&l);
    Loaded classes = load("endpoints: [{name: g, kind: binary, label: g}]\n",
                          "patient_id,center,g\np1,A,x\np2,B,y\np3,A,x\n");
    g_clear_error(&error);
    cr_assert_null(lob_view_new(classes.cohort, classes.folds, 0, 0, 1, 1, &error));
    cr_assert_not_null(strstr(error->message, "fewer than two classes"));
    unload(&classes);
}
