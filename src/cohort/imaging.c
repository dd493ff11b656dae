/* A vector a patient from elsewhere, such as of a CT: numeric columns of the patient table that join the
 * image's vector and are no part of the clinical comparator. */
#include "cohort/cohort_internal.h"

#include <math.h>
#include <string.h>

#define VALUE_MAX 1e12

static bool is_taken(const LobCohort *cohort, const char *name) {
    const LobStudy *study = cohort->study;
    for (size_t c = 0; c < study->n_covariates; c++)
        if (strcmp(study->covariates[c], name) == 0)
            return true;
    for (size_t v = 0; v < cohort->n_imaging; v++)
        if (strcmp(cohort->imaging_names[v], name) == 0)
            return true;
    return lob_study_speaks_for(study, name);
}

static void add(LobCohort *cohort, const char *name, LobProblems *problems) {
    if (is_taken(cohort, name)) {
        lob_problem(problems, "%s: imaging: '%s' is an outcome, the arm, an identifier, or named already",
                    cohort->study->path, name);
        return;
    }
    cohort->imaging_names = g_renew(char *, cohort->imaging_names, cohort->n_imaging + 2);
    cohort->imaging_names[cohort->n_imaging++] = g_strdup(name);
    cohort->imaging_names[cohort->n_imaging] = NULL;
}

/* "ct_*" stands for all columns that begin so, in the table's order. */
static void add_entry(LobCohort *cohort, const char *entry, LobProblems *problems) {
    const LobTable *table = cohort->patient_table;
    const size_t stem = strlen(entry) - 1, before = cohort->n_imaging;
    if (entry[stem] != '*') {
        GError *error = NULL;
        if (lob_table_require(table, entry, &error) < 0)
            lob_problem_take(problems, error);
        else
            add(cohort, entry, problems);
        return;
    }
    for (size_t c = 0; c < lob_table_columns(table); c++)
        if (strncmp(lob_table_column_name(table, c), entry, stem) == 0)
            add(cohort, lob_table_column_name(table, c), problems);
    if (cohort->n_imaging == before)
        lob_problem(problems, "%s: imaging: no column of %s begins like '%s'", cohort->study->path,
                    lob_table_path(table), entry);
}

void lob_cohort_read_imaging(LobCohort *cohort, LobProblems *problems) {
    const LobTable *table = cohort->patient_table;
    for (size_t i = 0; i < cohort->study->n_imaging; i++)
        add_entry(cohort, cohort->study->imaging[i], problems);
    cohort->imaging = g_new(double, cohort->n_patients * cohort->n_imaging + 1);
    for (size_t p = 0; p < cohort->n_patients; p++)
        for (size_t v = 0; v < cohort->n_imaging; v++) {
            const size_t row = cohort->patients[p].row;
            const char *name = cohort->imaging_names[v];
            GError *error = NULL;
            double value = NAN;
            if (!lob_table_number(table, row, lob_table_find(table, name), &value, &error))
                lob_problem_take(problems, error);
            else if (fabs(value) > VALUE_MAX)
                lob_problem(problems, "%s:%zu: imaging '%s': %g; expected at most %g in size",
                            lob_table_path(table), lob_table_line(table, row), name, value, VALUE_MAX);
            cohort->imaging[p * cohort->n_imaging + v] = value;
        }
}
