/* Folds as splits that other tools read. */
#include "cohort/cohort_internal.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_held_out(const LobFolds *folds, int repeat, int fold, size_t patient) {
    return folds->fold[(size_t)repeat * folds->n_patients + patient] == fold;
}

static bool is_trained_on(const LobFolds *folds, int repeat, int fold, size_t patient) {
    const int16_t own = folds->fold[(size_t)repeat * folds->n_patients + patient];
    return own >= 0 && own != fold;
}

/* ---- STAMP ---- */

static json_t *stamp_list(const LobFolds *folds, const LobCohort *cohort, int repeat, int fold,
                          bool (*belongs)(const LobFolds *, int, int, size_t)) {
    json_t *list = json_array();
    for (size_t p = 0; p < folds->n_patients; p++)
        if (belongs(folds, repeat, fold, p))
            json_array_append_new(list, json_string(cohort->patients[p].patient_id));
    return list;
}

bool lob_splits_save_stamp(const LobFolds *folds, const LobCohort *cohort, const char *path, GError **err) {
    json_t *splits = json_array();
    for (int r = 0; r < folds->repeats; r++)
        for (int f = 0; f < folds->folds; f++)
            json_array_append_new(splits,
                                  json_pack("{s:o, s:o}", "train_patients",
                                            stamp_list(folds, cohort, r, f, is_trained_on), "test_patients",
                                            stamp_list(folds, cohort, r, f, is_held_out)));
    json_t *root = json_pack("{s:o}", "splits", splits);
    char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    const bool ok = text ? lob_file_replace(path, text, strlen(text), err)
                         : lob_fail(err, LOB_ERROR_INPUT, "%s: an id is not UTF-8", path);
    free(text);
    json_decref(root);
    return ok;
}

/* ---- Patho-Bench ---- */

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Quartiles of the uncensored times (linear interpolation between order statistics, as numpy's default). */
static bool quartiles(const LobCohort *cohort, size_t endpoint, double cut[3], GError **err) {
    g_autofree double *time = g_new(double, cohort->n_patients);
    size_t n = 0;
    for (size_t p = 0; p < cohort->n_patients; p++)
        if (lob_cohort_usable(cohort, endpoint, p) && cohort->event[endpoint][p] == 1)
            time[n++] = cohort->time[endpoint][p];
    if (n == 0)
        return lob_fail(err, LOB_ERROR_INPUT, "endpoint '%s' has no event, so there are no quartiles of time",
                        cohort->study->endpoints[endpoint].name);
    qsort(time, n, sizeof *time, by_value);
    for (int q = 0; q < 3; q++) {
        const double at = (double)(n - 1) * (q + 1) / 4;
        const size_t below = (size_t)at;
        cut[q] = time[below] + (at - (double)below) * (time[MIN(below + 1, n - 1)] - time[below]);
    }
    return true;
}

static void put_task(GString *text, const LobCohort *cohort, size_t endpoint, size_t patient,
                     const double cut[3]) {
    const int event = cohort->event[endpoint][patient];
    if (cohort->study->endpoints[endpoint].kind != LOB_ENDPOINT_SURVIVAL) {
        g_string_append_printf(text, "\t%d", event);
        return;
    }
    char days[G_ASCII_DTOSTR_BUF_SIZE];
    const double time = cohort->time[endpoint][patient];
    int quartile = 0;
    while (quartile < 3 && time >= cut[quartile])
        quartile++;
    g_string_append_printf(text, "\t%d\t%d\t%s", quartile + (event == 1 ? 4 : 0), event == 1,
                           g_ascii_dtostr(days, sizeof days, time));
}

static void put_patient(GString *text, const LobFolds *folds, const LobCohort *cohort, size_t endpoint,
                        size_t patient, const double cut[3]) {
    const LobCohortPatient *entry = &cohort->patients[patient];
    for (size_t s = 0; s < entry->n_slides; s++) {
        g_string_append_printf(text, "%s\t%s", entry->patient_id, cohort->slides[entry->slides[s]].slide_id);
        put_task(text, cohort, endpoint, patient, cut);
        for (int r = 0; r < folds->repeats; r++)
            for (int f = 0; f < folds->folds; f++)
                g_string_append(text, is_held_out(folds, r, f, patient)     ? "\ttest"
                                      : is_trained_on(folds, r, f, patient) ? "\ttrain"
                                                                            : "\t-1");
        g_string_append_c(text, '\n');
    }
}

/* A tab or a quote in an id would need quoting, which not all readers of these tables undo. */
static bool ids_are_plain(const LobCohort *cohort, GError **err) {
    for (size_t s = 0; s < cohort->n_slides; s++) {
        const char *slide = cohort->slides[s].slide_id;
        const char *patient = cohort->patients[cohort->slides[s].patient].patient_id;
        if (strpbrk(slide, "\t\r\n\"") || strpbrk(patient, "\t\r\n\""))
            return lob_fail(
                err, LOB_ERROR_INPUT,
                "slide '%s' of patient '%s': a tab, a quote or a line's end in an id has no place in "
                "a table of splits",
                slide, patient);
    }
    return true;
}

bool lob_splits_save_pathobench(const LobFolds *folds, const LobCohort *cohort, size_t endpoint,
                                const char *path, GError **err) {
    const LobEndpoint *of = &cohort->study->endpoints[endpoint];
    const bool survival = of->kind == LOB_ENDPOINT_SURVIVAL;
    double cut[3] = {0};
    if (!ids_are_plain(cohort, err) || (survival && !quartiles(cohort, endpoint, cut, err)))
        return false;
    g_autoptr(GString) text = g_string_new("case_id\tslide_id");
    g_string_append_printf(text, "\t%s", of->name);
    if (survival)
        g_string_append_printf(text, "\t%s_event\t%s_days", of->name, of->name);
    for (int i = 0; i < folds->repeats * folds->folds; i++)
        g_string_append_printf(text, "\tfold_%d", i);
    g_string_append_c(text, '\n');
    for (size_t p = 0; p < cohort->n_patients; p++)
        if (lob_cohort_usable(cohort, endpoint, p))
            put_patient(text, folds, cohort, endpoint, p, cut);
    return lob_file_replace(path, text->str, text->len, err);
}
