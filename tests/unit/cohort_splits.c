/* Published splits in and out: STAMP's JSON, Patho-Bench's table, CLAM's folder. */
#include "cohort/cohort_internal.h"

#include <criterion/criterion.h>
#include <glib/gstdio.h>
#include <string.h>

typedef struct {
    char *folder;
    LobStudy *study;
    LobCohort *cohort;
    LobFolds *folds;
    GError *error;
} Fixture;

static void put(const char *folder, const char *name, const char *text) {
    g_autofree char *path = g_build_filename(folder, name, NULL);
    cr_assert(lob_file_replace(path, text, strlen(text), NULL));
}

static const char patients[] =
    "patient_id,center,t,e,label\n"
    "p1,A,100,1,x\np2,A,200,1,y\np3,B,300,1,x\np4,B,400,1,y\np5,C,50,0,x\np6,C,,,\n";
static const char slides[] = "slide_id,patient_id,center,path\n"
                             "s1,p1,A,1\ns1b,p1,A,2\ns2,p2,A,3\ns3,p3,B,4\ns4,p4,B,5\ns5,p5,C,6\ns6,p6,C,7\n";

/* `splits`: text of the file `validation` names, or NULL for leaving centers out. */
static Fixture load(const char *splits) {
    Fixture f = {.folder = g_dir_make_tmp("lob-splits-XXXXXX", NULL)};
    g_autofree char *study =
        g_strconcat("study: s\ncohort: {patients: patients.csv, slides: slides.csv}\n"
                    "endpoints: [{name: os, time: t, event: e}, {name: kind, kind: binary, label: label}]\n",
                    splits ? "validation: {scheme: folds, file: splits}\n" : "", NULL);
    g_autofree char *path = g_build_filename(f.folder, "study.yaml", NULL);
    put(f.folder, "study.yaml", study);
    put(f.folder, "patients.csv", patients);
    put(f.folder, "slides.csv", slides);
    put(f.folder, "splits", splits ? splits : "");
    f.study = lob_study_read(path, NULL, &f.error);
    cr_assert_not_null(f.study, "%s", f.error ? f.error->message : "");
    f.cohort = lob_cohort_read(f.study, &f.error);
    cr_assert_not_null(f.cohort, "%s", f.error ? f.error->message : "");
    f.folds = lob_folds_make(f.cohort, &f.error);
    return f;
}

static void unload(Fixture *f) {
    g_clear_pointer(&f->folds, lob_folds_free);
    lob_cohort_free(f->cohort);
    lob_study_free(f->study);
    g_clear_error(&f->error);
    g_free(f->folder);
}

static void expect_folds(const Fixture *f, int repeats, int n_folds, const int16_t *fold) {
    cr_assert_not_null(f->folds, "%s", f->error ? f->error->message : "");
    cr_assert(f->folds->repeats == repeats && f->folds->folds == n_folds, "%d x %d", f->folds->repeats,
              f->folds->folds);
    for (int i = 0; i < repeats * 6; i++)
        cr_expect_eq(f->folds->fold[i], fold[i], "repeat %d, patient %d: %d", i / 6, i % 6,
                     f->folds->fold[i]);
}

static void expect_refused(const char *splits, const char *part) {
    Fixture f = load(splits);
    cr_assert_null(f.folds, "accepted, expected: %s", part);
    cr_expect(g_error_matches(f.error, LOB_ERROR, LOB_ERROR_INPUT));
    cr_expect_not_null(strstr(f.error->message, part), "'%s' lacks '%s'", f.error->message, part);
    unload(&f);
}

#define SPLIT(train, test) "{\"train_patients\":[" train "],\"test_patients\":[" test "]}"

Test(cohort_splits, stamp_partition_becomes_folds_of_repeats) {
    Fixture f = load("\xef\xbb\xbf {\"splits\":[" SPLIT("\"p3\",\"p4\"", "\"p1\",\"p2\"") "," SPLIT(
        "\"p1\",\"p2\"", "\"p3\",\"p4\"") "," SPLIT("\"p2\",\"p4\"",
                                                    "\"p1\",\"p5\"") "," SPLIT("\"p1\",\"p5\"",
                                                                               "\"p2\",\"p4\"") "]}");
    expect_folds(&f, 2, 2, (const int16_t[]){0, 0, 1, 1, -1, -1, 0, 1, -1, 1, 0, -1});
    unload(&f);
}

Test(cohort_splits, other_splits_are_repeats_of_one_fold) {
    Fixture f = load(
        "{\"splits\":[" SPLIT("\"p1\",\"p2\"", "\"p3\"") "," SPLIT("\"p2\",\"p4\"", "\"p3\",\"p5\"") "]}");
    expect_folds(&f, 2, 1, (const int16_t[]){1, 1, 0, -1, -1, -1, -1, 1, 0, 1, 0, -1});
    g_autoptr(LobView) view = lob_view_new(f.cohort, f.folds, 0, 1, 0, 1, &f.error);
    cr_assert_not_null(view, "%s", f.error ? f.error->message : "");
    cr_expect(view->n_train == 2 && view->train[0] == 1 && view->train[1] == 3);
    cr_expect(view->n_held_out == 2 && view->held_out[0] == 2 && view->held_out[1] == 4);
    unload(&f);
}

Test(cohort_splits, stamp_refusals) {
    expect_refused("{\"splits\":[" SPLIT("\"p1\"", "\"nobody\"") "]}", "patient 'nobody' is not in");
    expect_refused("{\"splits\":[" SPLIT("\"p1\",\"p2\"", "\"p2\"") "]}", "in training and held out at once");
    expect_refused("{\"splits\":[" SPLIT("\"p1\"", "") "]}", "0 to test on");
    expect_refused("{\"splits\":[]}", "1 to 10000 splits");
    expect_refused("{\"splits\":[{\"train_patients\":[\"p1\"]}]}", "train_patients and test_patients");
    expect_refused("{\"splits\":[{\"train_patients\":[1],\"test_patients\":[\"p1\"]}]}", "of ids");
    expect_refused(
        "{\"splits\":[{\"train_patients\":[\"p2\"],\"test_patients\":[\"p1\"],\"val_patients\":[]}]}",
        "nothing else");
    expect_refused("{\"splits\":", "not JSON");
}

Test(cohort_splits, pathobench_tables) {
    Fixture f = load("case_id\tslide_id\ttask\tfold_0\tfold_1\n"
                     "p1\ts1\t0\ttest\ttrain\np1\ts1b\t0\ttest\ttrain\np2\ts2\t0\ttrain\ttest\r\n"
                     "p3\tunknown\t1\ttrain\ttest\np4\ts4\t1\ttest\tval\n");
    expect_folds(&f, 1, 2, (const int16_t[]){0, 1, 1, 0, -1, -1});
    unload(&f);
    f = load("case_id\tslide_id\tfold_0\np1\ts1\ttrain\np2\ts2\tval\np3\ts3\ttest\np4\ts4\t-1\n");
    expect_folds(&f, 1, 1, (const int16_t[]){1, 1, 0, -1, -1, -1});
    unload(&f);
}

Test(cohort_splits, pathobench_refusals) {
    const char *header = "case_id\tslide_id\tfold_0\n";
    g_autofree char *disagree = g_strconcat(header, "p1\ts1\ttrain\np1\ts1b\ttest\np2\ts2\ttest\n", NULL);
    g_autofree char *foreign = g_strconcat(header, "p1\ts2\ttrain\np2\ts3\ttest\n", NULL);
    g_autofree char *word = g_strconcat(header, "p1\ts1\tTRAIN\np2\ts2\ttest\n", NULL);
    g_autofree char *ragged = g_strconcat(header, "p1\ts1\n", NULL);
    g_autofree char *quoted = g_strconcat(header, "\"p1\"\ts1\ttrain\n", NULL);
    expect_refused(disagree, "the rows of patient 'p1' do not agree");
    expect_refused(foreign, "slide 's2' is of patient 'p2'");
    expect_refused(word, "'TRAIN'; expected train, val, test or -1");
    expect_refused(ragged, ":2: 2 cells where the header has 3");
    expect_refused(quoted, "quoted cells");
    expect_refused("case_id\tslide_id\tfold_1\np1\ts1\ttrain\n", "side by side, fold_0");
    expect_refused(header, "a header and rows");
}

Test(cohort_splits, clam_folder) {
    Fixture f = load(NULL);
    g_autofree char *folder = g_build_filename(f.folder, "clam", NULL);
    cr_assert(lob_make_dirs(folder, NULL));
    put(folder, "splits_0.csv", ",train,val,test\n0,s1,s2,s3\n1,s1b,,s4\n");
    put(folder, "splits_1.csv", ",train,val,test\n0,s3,s4,s1\n1,,,s2\n");
    g_free(f.study->validation.file);
    f.study->validation.file = g_strdup(folder);
    f.study->validation.scheme = LOB_SCHEME_FOLDS;
    lob_folds_free(f.folds);
    f.folds = lob_folds_make(f.cohort, &f.error);
    expect_folds(&f, 1, 2, (const int16_t[]){1, 1, 0, 0, -1, -1});
    put(folder, "splits_1.csv", ",train,val,test\n0,s1,s4,s1b\n");
    lob_folds_free(f.folds);
    f.folds = lob_folds_make(f.cohort, &f.error);
    cr_expect_null(f.folds);
    cr_expect_not_null(strstr(f.error->message, "'p1' is in training and held out"), "%s", f.error->message);
    unload(&f);
}

/* What we write, we read back as what it was; `again` must not lose or add a split. */
static void expect_round_trip(bool (*write)(const LobFolds *, const LobCohort *, const char *, GError **),
                              const char *splits) {
    Fixture f = load(splits);
    cr_assert_not_null(f.folds, "%s", f.error ? f.error->message : "");
    g_autofree char *path = g_build_filename(f.folder, "written", NULL);
    cr_assert(write(f.folds, f.cohort, path, &f.error), "%s", f.error ? f.error->message : "");
    size_t size;
    g_autofree char *text = lob_file_read(path, 1 << 20, &size, NULL);
    Fixture g = load(text);
    expect_folds(&g, f.folds->repeats, f.folds->folds, f.folds->fold);
    unload(&g);
    unload(&f);
}

static bool write_task(const LobFolds *folds, const LobCohort *cohort, const char *path, GError **err) {
    return lob_splits_save_pathobench(folds, cohort, 1, path, err);
}

Test(cohort_splits, written_splits_read_back) {
    static const char partial[] =
        "patient_id,repeat,fold\np1,0,0\np2,0,train\np3,0,1\np5,0,train\np1,1,1\np2,1,0\n"
        "p3,1,train\n";
    static const char once[] = "{\"splits\":[" SPLIT("\"p1\",\"p2\"", "\"p3\"") "]}";
    static const char kfold[] = "patient_id,repeat,fold\np1,0,0\np2,0,1\np3,0,2\np4,0,0\np5,0,1\n"
                                "p1,1,2\np2,1,1\np3,1,0\np4,1,2\np5,1,1\n";
    expect_round_trip(lob_folds_save, partial);
    expect_round_trip(lob_folds_save, kfold);
    expect_round_trip(lob_splits_save_stamp, kfold);
    expect_round_trip(lob_splits_save_stamp, once);
    expect_round_trip(write_task, kfold);
    expect_round_trip(write_task, once);
}

Test(cohort_splits, leaving_centers_out_as_others_read_it) {
    Fixture f = load(NULL);
    g_autofree char *path = g_build_filename(f.folder, "written", NULL);
    size_t size;
    cr_assert(lob_splits_save_pathobench(f.folds, f.cohort, 0, path, &f.error));
    g_autofree char *table = lob_file_read(path, 1 << 20, &size, NULL);
    /* events at 100, 200, 300, 400: quartiles 175, 250, 325; p6 has no outcome */
    cr_expect_str_eq(table, "case_id\tslide_id\tos\tos_event\tos_days\tfold_0\tfold_1\tfold_2\n"
                            "p1\ts1\t4\t1\t100\ttest\ttrain\ttrain\np1\ts1b\t4\t1\t100\ttest\ttrain\ttrain\n"
                            "p2\ts2\t5\t1\t200\ttest\ttrain\ttrain\np3\ts3\t6\t1\t300\ttrain\ttest\ttrain\n"
                            "p4\ts4\t7\t1\t400\ttrain\ttest\ttrain\np5\ts5\t0\t0\t50\ttrain\ttrain\ttest\n");
    cr_assert(lob_splits_save_stamp(f.folds, f.cohort, path, &f.error));
    g_autofree char *json = lob_file_read(path, 1 << 20, &size, NULL);
    g_autoptr(GRegex) blanks = g_regex_new("\\s+", 0, 0, NULL);
    g_autofree char *dense = g_regex_replace_literal(blanks, json, -1, 0, "", 0, NULL);
    cr_expect_str_eq(dense,
                     "{\"splits\":[" SPLIT("\"p3\",\"p4\",\"p5\",\"p6\"", "\"p1\",\"p2\"") "," SPLIT(
                         "\"p1\",\"p2\",\"p5\",\"p6\"",
                         "\"p3\",\"p4\"") "," SPLIT("\"p1\",\"p2\",\"p3\",\"p4\"", "\"p5\",\"p6\"") "]}");
    unload(&f);
}
