#include "cohort/cohort_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FOLDS_MAX LOB_FOLDS_MAX
#define ALWAYS_TRAINS "train"

LobFolds *lob_folds_new(const LobCohort *cohort, int repeats, int n_folds) {
    LobFolds *folds = g_new0(LobFolds, 1);
    folds->repeats = repeats;
    folds->folds = n_folds;
    folds->n_patients = cohort->n_patients;
    folds->names = g_new0(char *, (size_t)n_folds + 1);
    folds->fold = g_new(int16_t, (size_t)repeats * cohort->n_patients);
    for (size_t i = 0; i < (size_t)repeats * cohort->n_patients; i++)
        folds->fold[i] = -1;
    return folds;
}

static LobFolds *loco_folds(const LobCohort *cohort, GError **err) {
    if (cohort->n_centers > FOLDS_MAX) {
        lob_fail(err, LOB_ERROR_INPUT, "%s: %zu centers are too many", cohort->study->patients,
                 cohort->n_centers);
        return NULL;
    }
    LobFolds *folds = lob_folds_new(cohort, 1, (int)cohort->n_centers);
    for (size_t c = 0; c < cohort->n_centers; c++)
        folds->names[c] = g_strdup(cohort->centers[c]);
    for (size_t p = 0; p < cohort->n_patients; p++)
        if (cohort->patients[p].eligible)
            folds->fold[p] = (int16_t)cohort->patients[p].center;
    return folds;
}

typedef struct {
    LobTable *table;
    int columns[3];    /* patient_id, repeat, fold */
    int *repeat_of;    /* [row] */
    int *fold_of;      /* [row] */
    uint32_t *patient; /* [row] */
    int repeats, folds;
} FoldTable;

static int whole_number(const FoldTable *file, size_t row, int column, LobProblems *problems) {
    GError *error = NULL;
    double value = NAN;
    if (!lob_table_number(file->table, row, column, &value, &error)) {
        lob_problem_take(problems, error);
        return 0;
    }
    if (!(value >= 0 && value < FOLDS_MAX) || value != floor(value)) {
        lob_problem(problems, "%s:%zu: column '%s': '%s'; expected a whole number from 0 to %d",
                    lob_table_path(file->table), lob_table_line(file->table, row),
                    lob_table_column_name(file->table, (size_t)column),
                    lob_table_cell(file->table, row, column), FOLDS_MAX - 1);
        return 0;
    }
    return (int)value;
}

static int compare_id(const void *key, const void *patient) {
    return strcmp(key, ((const LobCohortPatient *)patient)->patient_id);
}

static void read_fold_rows(FoldTable *file, const LobCohort *cohort, LobProblems *problems) {
    for (size_t row = 0; row < lob_table_rows(file->table); row++) {
        const char *id = lob_table_cell(file->table, row, file->columns[0]);
        const LobCohortPatient *found =
            bsearch(id, cohort->patients, cohort->n_patients, sizeof *found, compare_id);
        if (found == NULL)
            lob_problem(problems, "%s:%zu: patient '%s' is not in %s", lob_table_path(file->table),
                        lob_table_line(file->table, row), id, cohort->study->patients);
        file->patient[row] = found != NULL ? (uint32_t)(found - cohort->patients) : 0;
        file->repeat_of[row] = whole_number(file, row, file->columns[1], problems);
        file->fold_of[row] = strcmp(lob_table_cell(file->table, row, file->columns[2]), ALWAYS_TRAINS) == 0
                                 ? -1
                                 : whole_number(file, row, file->columns[2], problems);
        file->repeats = MAX(file->repeats, file->repeat_of[row] + 1);
        file->folds = MAX(file->folds, file->fold_of[row] + 1);
    }
    for (size_t row = 0; row < lob_table_rows(file->table); row++)
        if (file->fold_of[row] < 0)
            file->fold_of[row] = file->folds;
}

/* Every repeat must hold patients of at least two folds, or nothing is left to train on. */
static void check_repeats(const FoldTable *file, const LobFolds *folds, LobProblems *problems) {
    for (int repeat = 0; repeat < folds->repeats; repeat++) {
        const int16_t *fold = folds->fold + (size_t)repeat * folds->n_patients;
        int first = -1;
        bool two = false;
        for (size_t p = 0; p < folds->n_patients; p++) {
            if (fold[p] >= 0 && first < 0)
                first = fold[p];
            two = two || (fold[p] >= 0 && fold[p] != first);
        }
        if (!two)
            lob_problem(problems, "%s: repeat %d has %s; expected at least 2 folds, repeats counted from 0",
                        lob_table_path(file->table), repeat, first < 0 ? "no patient" : "one fold");
    }
}

void lob_folds_drop_ineligible(LobFolds *folds, const LobCohort *cohort) {
    size_t absent = 0, ineligible = 0;
    for (size_t i = 0; i < (size_t)folds->repeats * folds->n_patients; i++) {
        bool eligible = cohort->patients[i % folds->n_patients].eligible;
        absent += folds->fold[i] < 0 && eligible;
        ineligible += folds->fold[i] >= 0 && !eligible;
        if (!eligible)
            folds->fold[i] = -1;
    }
    if (absent > 0 || ineligible > 0)
        lob_warning(
            "%s: %zu times an eligible patient has no fold in a repeat; %zu times one with a fold is not "
            "eligible",
            cohort->study->validation.file, absent, ineligible);
}

static LobFolds *fill_folds(const FoldTable *file, const LobCohort *cohort, LobProblems *problems) {
    LobFolds *folds = lob_folds_new(cohort, file->repeats, file->folds);
    for (int f = 0; f < folds->folds; f++)
        folds->names[f] = g_strdup_printf("fold %d", f);
    for (size_t row = 0; row < lob_table_rows(file->table); row++) {
        size_t p = file->patient[row];
        int16_t *fold = &folds->fold[(size_t)file->repeat_of[row] * folds->n_patients + p];
        if (*fold >= 0)
            lob_problem(problems, "%s:%zu: patient '%s' stands in repeat %d already",
                        lob_table_path(file->table), lob_table_line(file->table, row),
                        cohort->patients[p].patient_id, file->repeat_of[row]);
        *fold = (int16_t)file->fold_of[row];
    }
    lob_folds_drop_ineligible(folds, cohort);
    check_repeats(file, folds, problems);
    return folds;
}

static LobFolds *table_folds(const LobCohort *cohort, GError **err) {
    static const char *const names[3] = {"patient_id", "repeat", "fold"};
    g_autoptr(LobTable) table = lob_table_read(cohort->study->validation.file, err);
    if (table == NULL)
        return NULL;
    FoldTable file = {.table = table};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        if ((file.columns[i] = lob_table_require(table, names[i], err)) < 0)
            return NULL;
    g_autofree int *repeat_of = file.repeat_of = g_new0(int, lob_table_rows(table));
    g_autofree int *fold_of = file.fold_of = g_new0(int, lob_table_rows(table));
    g_autofree uint32_t *patient = file.patient = g_new0(uint32_t, lob_table_rows(table));
    LobProblems problems = {0};
    read_fold_rows(&file, cohort, &problems);
    if (!lob_problems_check(&problems, "the folds do not fit", err))
        return NULL;
    if (file.repeats == 0 || (size_t)file.repeats > lob_table_rows(table)) {
        lob_fail(err, LOB_ERROR_INPUT, "%s: expected rows, with repeats counted from 0",
                 cohort->study->validation.file);
        return NULL;
    }
    g_autoptr(LobFolds) folds = fill_folds(&file, cohort, &problems);
    return lob_problems_check(&problems, "the folds do not fit", err) ? g_steal_pointer(&folds) : NULL;
}

static LobFolds *file_folds(const LobCohort *cohort, GError **err) {
    LobSplitFormat format;
    if (!lob_split_format_of(cohort->study->validation.file, &format, err))
        return NULL;
    return format == LOB_SPLIT_TABLE ? table_folds(cohort, err) : lob_splits_read(cohort, format, err);
}

LobFolds *lob_folds_make(const LobCohort *cohort, GError **err) {
    switch (cohort->study->validation.scheme) {
    case LOB_SCHEME_LOCO:
        return loco_folds(cohort, err);
    case LOB_SCHEME_PRESERVED:
        return lob_folds_preserved(cohort, err);
    case LOB_SCHEME_FOLDS:
        break;
    }
    return file_folds(cohort, err);
}

bool lob_folds_save(const LobFolds *folds, const LobCohort *cohort, const char *path, GError **err) {
    g_assert(folds->n_patients == cohort->n_patients);
    g_autoptr(LobCsv) csv = lob_csv_new((const char *const[]){"patient_id", "repeat", "fold", "name", NULL});
    for (int repeat = 0; repeat < folds->repeats; repeat++)
        for (size_t p = 0; p < folds->n_patients; p++) {
            int fold = folds->fold[(size_t)repeat * folds->n_patients + p];
            if (fold < 0)
                continue;
            lob_csv_text(csv, cohort->patients[p].patient_id);
            lob_csv_integer(csv, repeat);
            if (fold == folds->folds)
                lob_csv_text(csv, ALWAYS_TRAINS);
            else
                lob_csv_integer(csv, fold);
            lob_csv_text(csv, fold == folds->folds ? "" : folds->names[fold]);
            lob_csv_end_row(csv);
        }
    return lob_csv_save(csv, path, err);
}

void lob_folds_free(LobFolds *folds) {
    if (folds == NULL)
        return;
    g_strfreev(folds->names);
    g_free(folds->fold);
    g_free(folds);
}
