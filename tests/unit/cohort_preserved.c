/* Folds of whole centers: no center is cut, loads are even, and the study file's keys for them are checked.
 */
#include "cohort/cohort_internal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const char study[] = "study: s\ncohort: {patients: patients.csv}\nfeatures: /dev/null\n"
                            "endpoints: [{name: os, time: t, event: e}]\n";

static LobStudy *parse(const char *folder, const char *keys, GError **err) {
    g_autofree char *path = g_build_filename(folder, "study.yaml", NULL);
    g_autofree char *text = g_strconcat(study, keys, NULL);
    return lob_study_parse(path, text, strlen(text), NULL, err);
}

static void write_patients(const char *folder, const size_t *sizes, size_t n) {
    g_autofree char *path = g_build_filename(folder, "patients.csv", NULL);
    g_autoptr(GString) text = g_string_new("patient_id,center,t,e\n");
    for (size_t c = 0, p = 0; c < n; c++)
        for (size_t i = 0; i < sizes[c]; i++, p++)
            g_string_append_printf(text, "p%04zu,c%zu,%zu,%d\n", p, c, 10 + p, i % 2 == 0);
    cr_assert(lob_file_replace(path, text->str, text->len, NULL));
}

Test(cohort, preserved_folds_hold_whole_centers_in_balance) {
    static const size_t sizes[] = {60, 10, 30, 20, 50, 40, 30};
    g_autoptr(GError) err = NULL;
    g_autofree char *folder = g_dir_make_tmp("lob-preserved-XXXXXX", NULL);
    write_patients(folder, sizes, G_N_ELEMENTS(sizes));
    g_autoptr(LobStudy) s = parse(folder, "validation: {scheme: preserved, folds: 3}\n", &err);
    cr_assert(s, "%s", err ? err->message : "");
    g_autoptr(LobCohort) cohort = lob_cohort_read(s, &err);
    cr_assert(cohort, "%s", err ? err->message : "");
    g_autoptr(LobFolds) folds = lob_folds_make(cohort, &err);
    cr_assert(folds && folds->folds == 3 && folds->repeats == 1);
    int fold_of[7] = {-1, -1, -1, -1, -1, -1, -1};
    size_t load[3] = {0};
    for (size_t p = 0; p < cohort->n_patients; p++) {
        uint32_t c = cohort->patients[p].center;
        cr_expect(fold_of[c] < 0 || fold_of[c] == folds->fold[p], "center %u is cut", c);
        fold_of[c] = folds->fold[p];
        load[folds->fold[p]]++;
    }
    for (int f = 0; f < 3; f++)
        cr_expect_eq(load[f], 80, "fold %d (%s) has %zu of 240", f, folds->names[f], load[f]);
}

static void check_refused(const char *keys, const char *says) {
    static const size_t sizes[] = {4, 4};
    g_autoptr(GError) err = NULL;
    g_autofree char *folder = g_dir_make_tmp("lob-preserved-XXXXXX", NULL);
    write_patients(folder, sizes, G_N_ELEMENTS(sizes));
    g_autoptr(LobStudy) s = parse(folder, keys, &err);
    g_autoptr(LobCohort) cohort = s ? lob_cohort_read(s, &err) : NULL;
    g_autoptr(LobFolds) folds = cohort ? lob_folds_make(cohort, &err) : NULL;
    cr_expect(!folds && g_error_matches(err, LOB_ERROR, LOB_ERROR_INPUT) && strstr(err->message, says),
              "%s: %s", keys, err ? err->message : "taken");
}

Test(cohort, what_no_training_could_honour_is_refused) {
    check_refused("validation: {scheme: preserved}\n", "validation.folds: belongs to scheme: preserved");
    check_refused("validation: {folds: 3}\n", "validation.folds: belongs to scheme: preserved");
    check_refused("validation: {scheme: preserved, folds: 1}\n", "at least 2");
    check_refused("validation: {scheme: preserved, folds: 3}\n", "there are 2 centers");
    check_refused("model: {loss: breslow}\n", "expected one of hazards|cox");
    check_refused("model: {tune: {lr: [0.1, 0]}}\n", "above 0");
    check_refused("model: {tune: {lr: [1, 1, 1, 1, 1, 1, 1, 1, 1]}}\n", "at most 8");
    check_refused("imaging: [ct_*]\n", "no column of");
    check_refused("imaging: [t]\n", "is an outcome");
    check_refused("arms: {column: center, levels: {c0: [0, 0], c1: [1, 0]}}\nimaging: [x]\n", "benefit: no");
    check_refused("model: {tune: {hidden: [4]}}\n", "hidden");
}
