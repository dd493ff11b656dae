/* Tables, arms, landmarks, eligibility, folds. */
#include "cohort/cohort_internal.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    char *folder;
    LobStudy *study;
    LobCohort *cohort;
    GError *error;
} Fixture;

static void put(const char *folder, const char *name, const char *text) {
    g_autofree char *path = g_build_filename(folder, name, NULL);
    cr_assert(lob_file_replace(path, text, strlen(text), NULL));
}

/* keys: what follows "study" and "cohort" in study.yaml. */
static Fixture load(const char *keys, const char *patients, const char *slides, const char *folds) {
    Fixture f = {.folder = g_dir_make_tmp("lob-cohort-XXXXXX", NULL)};
    g_autofree char *study = g_strconcat("study: s\ncohort: {patients: patients.csv",
                                         slides != NULL ? ", slides: slides.csv}\n" : "}\n",
                                         slides == NULL ? "features: /dev/null\n" : "", keys, NULL);
    g_autofree char *path = g_build_filename(f.folder, "study.yaml", NULL);
    put(f.folder, "study.yaml", study);
    put(f.folder, "patients.csv", patients);
    put(f.folder, "slides.csv", slides != NULL ? slides : "");
    put(f.folder, "folds.csv", folds != NULL ? folds : "");
    f.study = lob_study_read(path, NULL, &f.error);
    cr_assert_not_null(f.study, "%s", f.error != NULL ? f.error->message : "");
    f.cohort = lob_cohort_read(f.study, &f.error);
    return f;
}

static void unload(Fixture *f) {
    lob_cohort_free(f->cohort);
    lob_study_free(f->study);
    g_clear_error(&f->error);
    g_free(f->folder);
}

static void assert_loaded(const Fixture *f) {
    cr_assert_not_null(f->cohort, "%s", f->error != NULL ? f->error->message : "");
}

static void assert_says(const Fixture *f, const char *part) {
    cr_assert_null(f->cohort, "accepted, expected: %s", part);
    cr_assert(g_error_matches(f->error, LOB_ERROR, LOB_ERROR_INPUT));
    cr_assert_not_null(strstr(f->error->message, part), "'%s' lacks '%s'", f->error->message, part);
}

#define SURVIVAL "endpoints: [{name: rfs, time: t, event: e}]\n"

/* Ten slides of A (one patient has two) and five of B: a fifth is two of A and one of B. */
Test(cohort_tables, a_share_of_the_slides_keeps_the_centers_proportions) {
    g_autoptr(GString) patients = g_string_new("patient_id,center\n");
    g_autoptr(GString) slides = g_string_new("slide_id,patient_id,center,path\n");
    for (int i = 0; i < 14; i++) {
        g_string_append_printf(patients, "p%02d,%c\n", i, i < 9 ? 'A' : 'B');
        g_string_append_printf(slides, "s%02d,p%02d,%c,x%d\n", i, i, i < 9 ? 'A' : 'B', i);
    }
    g_string_append(slides, "s99,p00,A,y\n");
    Fixture f = load("", patients->str, slides->str, NULL);
    assert_loaded(&f);
    lob_cohort_keep_share(f.cohort, 1, 1);
    cr_assert_eq(f.cohort->n_slides, 15);
    lob_cohort_keep_share(f.cohort, 1, 5);
    cr_assert_eq(f.cohort->n_slides, 3);
    size_t in_a = 0, linked = 0;
    for (size_t s = 0; s < 3; s++) {
        cr_assert(s == 0 || strcmp(f.cohort->slides[s - 1].slide_id, f.cohort->slides[s].slide_id) < 0);
        const LobCohortPatient *patient = &f.cohort->patients[f.cohort->slides[s].patient];
        in_a += patient->center == 0;
        cr_assert_eq(patient->n_slides, 1);
        cr_assert_eq(patient->slides[0], s);
    }
    for (size_t p = 0; p < f.cohort->n_patients; p++)
        linked += f.cohort->patients[p].n_slides;
    cr_assert_eq(in_a, 2);
    cr_assert_eq(linked, 3);
    lob_cohort_keep_share(f.cohort, 1, 1000);
    cr_assert_eq(f.cohort->n_slides, 1, "at least one slide stays");
    unload(&f);
}

Test(cohort_tables, order_paths_and_mpp) {
    Fixture f = load("centers: {B: {mpp: 0.3, path_root: /dev}}\n", "patient_id,center\np2,B\np1,A\n",
                     "slide_id,patient_id,center,path,mpp\ns3,p2,B,x.svs,\ns1,p1,A,/abs/y.svs,0.25\n"
                     "s2,p2,B,z.svs,0.5\n",
                     NULL);
    assert_loaded(&f);
    const LobCohort *c = f.cohort;
    cr_assert_eq(c->n_patients, 2);
    cr_assert_str_eq(c->patients[0].patient_id, "p1");
    cr_assert_eq(c->patients[0].row, 1);
    cr_assert_eq(c->patients[1].n_slides, 2);
    cr_assert_str_eq(c->centers[c->patients[1].center], "B");
    cr_assert_str_eq(c->slides[0].path, "/abs/y.svs");
    cr_assert_float_eq(c->slides[0].mpp, 0.25, 0);
    cr_assert_str_eq(c->slides[1].slide_id, "s2");
    cr_assert(c->slides[1].mpp == 0.5 && !c->slides[1].mpp_from_center);
    cr_assert(c->slides[2].mpp == 0.3 && c->slides[2].mpp_from_center);
    cr_assert_str_eq(c->slides[2].path, "/dev/x.svs");
    unload(&f);
}

Test(cohort_tables, all_problems_are_told_together) {
    Fixture f = load(SURVIVAL "centers: {Z: {mpp: 1}}\n",
                     "patient_id,center,t,e\n"
                     "p1,A,1e7,1\np1,A,10,1\np2,A,-5,0\np2,B,5,0\np3,B,5,2\np4,B,x,1\n,B,1,1\n",
                     "slide_id,patient_id,center,path\n"
                     "s1,p1,A,a\ns1,p1,A,a\ns2,nobody,A,a\ns3,p3,A,a\na/b,p3,B,a\n..,p3,B,a\ns4,p3,B,\n",
                     NULL);
    static const char *const parts[] = {
        "patients.csv:3: patient 'p1' stands in line 2 already",
        "patients.csv:5: patient 'p2' is in two centers, 'B' here and 'A' in line 4",
        "patients.csv:2: column 't': 10000000; expected days from time zero, at most 1e+06",
        "patients.csv:4: column 't': negative time -5",
        "patients.csv:6: column 'e': event code 2; endpoint 'rfs' declares 0 (censored), 1 (event)",
        "patients.csv:7: column 't': 'x' is not a finite number",
        "patients.csv:8: patient_id '' is empty",
        "slides.csv:3: slide 's1' stands in line 2 already",
        "slides.csv:4: slide 's2': patient 'nobody' is not in",
        "slides.csv:5: slide 's3': center 'A', but its patient's is 'B'",
        "slides.csv:6: slide_id 'a/b' becomes a file name",
        "slides.csv:7: slide_id '..' becomes a file name",
        "slides.csv:8: slide 's4' has no path",
        "study.yaml: centers.Z:",
    };
    for (size_t i = 0; i < G_N_ELEMENTS(parts); i++)
        assert_says(&f, parts[i]);
    assert_says(&f, ": 14 problems:");
    unload(&f);
}

Test(cohort_tables, twenty_problems_are_told_and_the_rest_counted) {
    g_autoptr(GString) patients = g_string_new("patient_id,center,t,e\np0,A,1,1\np1,B,1,1\n");
    for (int i = 0; i < 25; i++)
        g_string_append(patients, "p0,A,1,1\n");
    Fixture f = load(SURVIVAL, patients->str, NULL, NULL);
    assert_says(&f, "25 problems");
    assert_says(&f, "... and 5 more");
    unload(&f);
}

Test(cohort_tables, ids_fit_a_store) {
    g_autofree char *longest = g_strnfill(200, 'x');
    g_autofree char *good = g_strdup_printf("patient_id,center\n%s,A\np/1,B\n", longest);
    g_autofree char *bad = g_strdup_printf("patient_id,center\n%sy,A\n\"p\t1\",B\np2,\"C/D\"\n", longest);
    Fixture f = load("", good, "slide_id,patient_id,center,path\ns,p/1,B,x\n", NULL);
    assert_loaded(&f);
    unload(&f);
    Fixture g = load("", bad, "slide_id,patient_id,center,path\ns,p2,B,x\n", NULL);
    assert_says(&g, "patients.csv:2: patient_id");
    assert_says(&g, "is longer than 200 bytes");
    assert_says(&g, "patients.csv:3: patient_id 'p\t1' holds a control character");
    assert_says(&g, "patients.csv:4: center 'C/D' becomes a file name");
    unload(&g);
}

Test(cohort_tables, loco_needs_two_centers) {
    const char *slides = "slide_id,patient_id,center,path\ns,p1,A,x\n";
    Fixture f = load(SURVIVAL, "patient_id,center,t,e\np1,A,1,1\n", slides, NULL);
    assert_says(&f, "loco needs at least 2 centers");
    unload(&f);
    Fixture g = load("", "patient_id,center\np1,A\n", slides, NULL);
    assert_loaded(&g);
    unload(&g);
}

Test(cohort_tables, a_text_among_measurements_makes_no_levels) {
    g_autoptr(GString) patients = g_string_new("patient_id,center,age\nq,A,inf\n");
    for (int i = 0; i < 20; i++)
        g_string_append_printf(patients, "p%d,B,%d\n", i, 40 + i);
    Fixture f = load("covariates: [age]\n", patients->str, NULL, NULL);
    assert_says(&f, "patients.csv:2: covariate 'age': 'inf'; a text in a column of measured numbers");
    unload(&f);
    Fixture g = load("covariates: [stage]\n", "patient_id,center,stage\na,A,1\nb,A,2\nc,B,T3\n", NULL, NULL);
    assert_loaded(&g);
    unload(&g);
}

Test(cohort_tables, absent_columns) {
    Fixture f = load("endpoints: [{name: r, time: t, event: e}]\ncovariates: [age]\neligible: [r0 == 1]\n"
                     "arms: {column: arm, levels: {n: [0,0], y: [1,0]}}\n",
                     "patient_id,center\np1,A\np2,B\n", NULL, NULL);
    assert_says(&f, "no column 't'; there is: patient_id, center");
    assert_says(&f, "no column 'e'");
    assert_says(&f, "no column 'age'");
    assert_says(&f, "no column 'r0'");
    assert_says(&f, "no column 'arm'");
    unload(&f);
}

/* Landmark 90. tace in [1,0], systemic in [0,1]; starts decide. */
Test(cohort_tables, landmark_moves_time_zero_and_arms) {
    Fixture f = load("endpoints:\n  - {name: rfs, time: t, event: e, landmark: 90}\n"
                     "  - {name: os, time: t, event: e}\n"
                     "arms: {column: arm, levels: {none: [0,0], tace: [1,0], systemic: [0,1], both: [1,1]},\n"
                     "       start: {tace: td, systemic: sd}}\n",
                     "patient_id,center,t,e,arm,td,sd\n"
                     "a,A,100,1,tace,30,\n"    /* started in time */
                     "b,A,100,0,tace,91,\n"    /* started too late: none */
                     "c,A,90,1,none,,\n"       /* not at risk any more */
                     "d,A,50,0,none,,\n"       /* censored before */
                     "e,B,400,1,both,90,200\n" /* tace by the landmark, systemic later */
                     "f,B,400,1,both,10,20\n"  /* both */
                     "g,B,400,1,tace,,\n"      /* no start day: unknown */
                     "h,B,400,1,none,10,\n"    /* started although the column says none */
                     "i,B,,1,none,,\n"         /* no time */
                     "j,B,0,1,,,\n",           /* event at time zero; no arm */
                     NULL, NULL);
    assert_loaded(&f);
    const LobCohort *c = f.cohort;
    static const int arm_at[] = {1, 0, 0, 0, 1, 3, -1, 1, 0, -1};
    static const int arm[] = {1, 1, 0, 0, 3, 3, 1, 0, 0, -1};
    static const bool usable[] = {true, true, false, false, true, true, true, true, false, false};
    static const bool usable_from_zero[] = {true, true, true, true, true, true, true, true, false, true};
    for (size_t p = 0; p < 10; p++) {
        cr_assert_eq(c->arm_at[0][p], arm_at[p], "patient %zu: %d", p, c->arm_at[0][p]);
        cr_assert_eq(c->arm_at[1][p], arm[p], "patient %zu: %d", p, c->arm_at[1][p]);
        cr_assert_eq(lob_cohort_usable(c, 0, p), usable[p], "patient %zu", p);
        cr_assert_eq(lob_cohort_usable(c, 1, p), usable_from_zero[p], "patient %zu", p);
    }
    cr_assert_float_eq(c->time[0][0], 10, 0);
    cr_assert_float_eq(c->time[1][0], 100, 0);
    cr_assert_not_null(strstr(c->flow, "rfs, outcome known: 9 left (1 unknown)\n"));
    cr_assert_not_null(strstr(c->flow, "rfs, at risk at day 90: 6 left (3 event or censoring before)\n"),
                       "%s", c->flow);
    unload(&f);
}

Test(cohort_tables, unknown_arm) {
    Fixture f = load("arms: {column: arm, levels: {n: [0,0], y: [1,0]}}\n",
                     "patient_id,center,arm\np1,A,yes\np2,B,n\n", NULL, NULL);
    assert_says(&f, "patients.csv:2: column 'arm': unknown arm 'yes'; arms.levels has n, y");
    unload(&f);
}

Test(cohort_tables, competing_events) {
    static const char table[] = "patient_id,center,t,e,d\np1,A,1,0,1\np2,A,1,1,0\np3,B,1,0,\np4,B,1,,0\n";
    Fixture f = load("endpoints: [{name: r, time: t, event: e, competing: d}]\n", table, NULL, NULL);
    assert_loaded(&f);
    static const int expected[] = {2, 1, 0, -1};
    for (size_t p = 0; p < 4; p++)
        cr_assert_eq(f.cohort->event[0][p], expected[p]);
    unload(&f);
    Fixture own = load("endpoints: [{name: r, time: t, event: e, competing: e}]\n",
                       "patient_id,center,t,e\np1,A,1,2\np2,B,1,1\n", NULL, NULL);
    assert_loaded(&own);
    cr_assert_eq(own.cohort->event[0][0], 2);
    unload(&own);
    Fixture both = load("endpoints: [{name: r, time: t, event: e, competing: d}]\n",
                        "patient_id,center,t,e,d\np1,A,1,1,1\np2,B,1,1,0\n", NULL, NULL);
    assert_says(&both, "'e' and the competing 'd' are both 1");
    unload(&both);
}

Test(cohort_tables, classes) {
    Fixture f =
        load("endpoints: [{name: g, kind: multiclass, label: g}, {name: b, kind: binary, label: b}]\n",
             "patient_id,center,g,b\np1,A,10,no\np2,A,2,yes\np3,B,,no\np4,B,1,\n", NULL, NULL);
    assert_loaded(&f);
    cr_assert_str_eq(f.cohort->labels[0][1], "2"); /* numbers in their own order */
    cr_assert_str_eq(f.cohort->labels[0][2], "10");
    cr_assert_null(f.cohort->labels[0][3]);
    cr_assert_eq(f.cohort->event[0][0], 2);
    cr_assert_eq(f.cohort->event[0][2], -1);
    cr_assert_eq(f.cohort->event[1][1], 1);
    cr_assert(!lob_cohort_usable(f.cohort, 0, 2) && lob_cohort_usable(f.cohort, 0, 3));
    unload(&f);
    Fixture three = load("endpoints: [{name: b, kind: binary, label: b}]\n",
                         "patient_id,center,b\np1,A,x\np2,B,y\np3,B,z\n", NULL, NULL);
    assert_says(&three, "has 3 classes; endpoint 'b' needs exactly 2");
    unload(&three);
    Fixture marker = load("endpoints: [{name: b, kind: binary, label: b}]\n",
                          "patient_id,center,b\np1,A,x\np2,B,y\np3,B,NA\n", NULL, NULL);
    assert_says(&marker, "patients.csv:4: column 'b': 'NA'; a missing label is an empty cell");
    unload(&marker);
}

/* What a locked model is applied to need not have outcomes, nor two centers. */
Test(cohort_tables, a_predicted_cohort_may_lack_classes_and_outcomes) {
    const char *endpoints = "endpoints: [{name: b, kind: binary, label: b}, {name: r, time: t, event: e}]\n";
    static const char *const tables[] = {"patient_id,center,b,t,e\np1,A,,,\np2,A,,,\n",
                                         "patient_id,center,b,t,e\np1,A,yes,,\np2,A,,,\n",
                                         "patient_id,center,b,t,e\np1,A,yes,,\np2,A,odd,,\n"};
    for (size_t i = 0; i < G_N_ELEMENTS(tables); i++) {
        Fixture strict = load(endpoints, tables[i], NULL, NULL);
        assert_says(&strict, "loco needs at least 2 centers");
        strict.study->predicts = true;
        g_clear_error(&strict.error);
        strict.cohort = lob_cohort_read(strict.study, &strict.error);
        assert_loaded(&strict);
        cr_assert_eq(g_strv_length(strict.cohort->labels[0]), i);
        lob_cohort_free(g_steal_pointer(&strict.cohort));
        strict.study->endpoints[0].classes = g_strsplit("no,yes", ",", -1);
        strict.cohort = lob_cohort_read(strict.study, &strict.error);
        assert_loaded(&strict);
        cr_assert_str_eq(strict.cohort->labels[0][1], "yes");
        cr_assert_eq(strict.cohort->event[0][0], i == 0 ? -1 : 1);
        cr_assert_eq(strict.cohort->event[0][1], -1); /* empty, or no class of the model */
        unload(&strict);
    }
}

Test(cohort_tables, covariates_numbers_and_levels) {
    Fixture f = load("covariates: [age, stage]\n",
                     "patient_id,center,age,stage\np1,A,50,C\np2,A,,0\np3,B,-1.5,\np4,B,7,B\n", NULL, NULL);
    assert_loaded(&f);
    const double *x = f.cohort->covariates;
    cr_assert_null(f.cohort->levels[0]);
    cr_assert(x[0] == 50 && isnan(x[2]) && x[4] == -1.5);
    cr_assert_str_eq(f.cohort->levels[1][0], "0");
    cr_assert_str_eq(f.cohort->levels[1][2], "C");
    cr_assert(x[1] == 2 && x[3] == 0 && isnan(x[5]) && x[7] == 1);
    unload(&f);
    Fixture bad = load("covariates: [age, size, date, huge, empty, center]\n",
                       "patient_id,center,age,size,date,huge,empty\np1,A,50,\"1,5\",2020-01-31,1e13,\n"
                       "p2,B,NA,2,3,1,\n",
                       NULL, NULL);
    assert_says(&bad, "patients.csv:3: covariate 'age': 'NA'; a missing value is an empty cell");
    assert_says(&bad, "patients.csv:2: covariate 'size': '1,5'");
    assert_says(&bad, "patients.csv:2: covariate 'date': '2020-01-31'");
    assert_says(&bad, "patients.csv:2: covariate 'huge': 1e+13");
    assert_says(&bad, "covariate 'empty' is empty in every row");
    assert_says(&bad, "'center' is an outcome, the arm or an identifier");
    assert_says(&bad, ": 6 problems:"); /* one a column, no consequences of it */
    unload(&bad);
}

Test(cohort_tables, free_text_is_no_covariate) {
    g_autoptr(GString) text = g_string_new("patient_id,center,note\n");
    for (int i = 0; i < 51; i++)
        g_string_append_printf(text, "p%d,c%d,note %d\n", i, i % 2, i);
    Fixture f = load("covariates: [note]\n", text->str, NULL, NULL);
    assert_says(&f, "covariate 'note' has 51 different texts");
    unload(&f);
}

Test(cohort_tables, eligibility_and_flow) {
    Fixture f = load("eligible: [age >= 18, stage != C, r0 == 1]\n",
                     "patient_id,center,age,stage,r0\np1,A,17.9,A,1\np2,A,18,A,1.0\np3,B,,A,1\np4,B,40,C,1\n"
                     "p5,B,40,A,0\n",
                     NULL, NULL);
    assert_loaded(&f);
    for (size_t p = 0; p < 5; p++)
        cr_assert_eq(f.cohort->patients[p].eligible, p == 1);
    cr_assert_str_eq(f.cohort->flow, "patients in the table: 5\n"
                                     "age >= 18: 3 left (1 not met, 1 unknown)\n"
                                     "stage != C: 2 left (1 not met, 0 unknown)\n"
                                     "r0 == 1: 1 left (1 not met, 0 unknown)\n");
    unload(&f);
    Fixture bad = load("eligible: [age >= 18]\n", "patient_id,center,age\np1,A,old\np2,B,20\n", NULL, NULL);
    assert_says(&bad, "patients.csv:2: column 'age': 'old' is not a number");
    unload(&bad);
}

Test(cohort_tables, summary_counts_centers_by_arms_by_events) {
    Fixture f = load(SURVIVAL "arms: {column: arm, levels: {none: [0,0], tace: [1,0]}}\n",
                     "patient_id,center,t,e,arm\np1,A,5,1,none\np2,A,5,0,tace\np3,M\xC3\xBCnchen,5,1,tace\n"
                     "p4,A,5,1,\n",
                     NULL, NULL);
    assert_loaded(&f);
    g_autofree char *text = lob_cohort_summary(f.cohort);
    cr_assert_not_null(
        strstr(text, "\nA                   3        2        3          1/1          1/0          1/1\n"),
        "%s", text);
    cr_assert_not_null(
        strstr(text,
               "\nM\xC3\xBCnchen             1        1        1          0/0          1/1          0/0\n"),
        "%s", text);
    cr_assert_not_null(
        strstr(text, "\nall centers         4        3        4          1/1          2/1          1/1\n"),
        "%s", text);
    unload(&f);
}

Test(cohort_folds, loco_saves_and_reads_back) {
    static const char patients[] = "patient_id,center,age\np1,A,1\np2,B,1\np3,C,1\np4,B,0\n";
    Fixture f = load("eligible: [age == 1]\n", patients, NULL, NULL);
    assert_loaded(&f);
    g_autoptr(LobFolds) folds = lob_folds_make(f.cohort, NULL);
    cr_assert(folds->repeats == 1 && folds->folds == 3);
    cr_assert_str_eq(folds->names[1], "B");
    cr_assert(folds->fold[0] == 0 && folds->fold[1] == 1 && folds->fold[2] == 2 && folds->fold[3] == -1);
    g_autofree char *path = g_build_filename(f.folder, "saved.csv", NULL);
    cr_assert(lob_folds_save(folds, f.cohort, path, NULL));
    size_t size = 0;
    g_autofree char *text = lob_file_read(path, 1 << 20, &size, NULL);
    cr_assert_str_eq(text, "patient_id,repeat,fold,name\np1,0,0,A\np2,0,1,B\np3,0,2,C\n");
    Fixture g =
        load("validation: {scheme: folds, file: folds.csv}\neligible: [age == 1]\n", patients, NULL, text);
    assert_loaded(&g);
    g_autoptr(LobFolds) again = lob_folds_make(g.cohort, NULL);
    cr_assert(memcmp(again->fold, folds->fold, 4 * sizeof *folds->fold) == 0);
    unload(&g);
    unload(&f);
}

static void assert_folds_refused(const char *folds, const char *part) {
    Fixture f = load("validation: {scheme: folds, file: folds.csv}\n", "patient_id,center\np1,A\np2,A\n",
                     NULL, folds);
    assert_loaded(&f);
    cr_assert_null(lob_folds_make(f.cohort, &f.error), "accepted, expected: %s", part);
    cr_assert_not_null(strstr(f.error->message, part), "'%s' lacks '%s'", f.error->message, part);
    unload(&f);
}

Test(cohort_folds, refusals) {
    assert_folds_refused("patient_id,repeat\np1,0\n", "no column 'fold'");
    assert_folds_refused("patient_id,repeat,fold\n", "expected rows");
    assert_folds_refused("patient_id,repeat,fold\nnobody,0,0\n", ":2: patient 'nobody' is not in");
    assert_folds_refused("patient_id,repeat,fold\np1,0,-1\n", ":2: column 'fold': '-1'; expected a whole");
    assert_folds_refused("patient_id,repeat,fold\np1,0,1.5\n", "whole number");
    assert_folds_refused("patient_id,repeat,fold\np1,0,0\np1,0,1\np2,0,1\n",
                         ":3: patient 'p1' stands in repeat 0");
    assert_folds_refused("patient_id,repeat,fold\np1,0,0\np2,0,0\n", "repeat 0 has one fold");
    assert_folds_refused("patient_id,repeat,fold\np1,1,0\np2,1,1\n", "repeat 0 has no patient");
    assert_folds_refused("patient_id,repeat,fold\np1,9999,0\np2,0,1\n", "repeats counted from 0");
}

/* The published benchmark, where it is there. */
Test(cohort_folds, musk1) {
    const char *shared = g_getenv("LOB_SHARED");
    g_autofree char *folder =
        g_build_filename(shared != NULL ? shared : LOB_SOURCE_DIR "/../shared", "data/mil/musk1", NULL);
    if (!g_file_test(folder, G_FILE_TEST_IS_DIR))
        cr_skip_test("MUSK1 is not here (%s)", folder);
    size_t size = 0;
    g_autoptr(GError) error = NULL;
    g_autofree char *text = lob_file_read(LOB_SOURCE_DIR "/configs/musk1.yaml", 1 << 20, &size, NULL);
    g_autofree char *path = g_build_filename(folder, "study.yaml", NULL);
    g_autoptr(LobStudy) study = lob_study_parse(path, text, size, "/tmp/out", &error);
    cr_assert_not_null(study, "%s", error != NULL ? error->message : "");
    g_autoptr(LobCohort) cohort = lob_cohort_read(study, &error);
    cr_assert_not_null(cohort, "%s", error != NULL ? error->message : "");
    cr_assert_eq(cohort->n_patients, 92);
    size_t positive = 0;
    for (size_t p = 0; p < 92; p++)
        positive += cohort->event[0][p] == 1;
    cr_assert_eq(positive, 47);
    g_autoptr(LobFolds) folds = lob_folds_make(cohort, &error);
    cr_assert_not_null(folds, "%s", error != NULL ? error->message : "");
    cr_assert(folds->repeats == 5 && folds->folds == 10);
    g_autoptr(LobView) view = lob_view_new(cohort, folds, 0, 4, 9, 1, &error);
    cr_assert_eq(view->n_train + view->n_held_out, 92);
}
