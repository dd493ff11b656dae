#include "cohort/cohort_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LEVELS_MAX 50
#define VALUE_MAX 1e12
#define MEASURED_VALUES 10

static int compare_texts(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "1,5", "<20", "2020-01-31": meant as a number or date, and none. */
static bool looks_numeric(const char *cell) {
    return g_ascii_isdigit(cell[0]) || (strchr("+-.<>", cell[0]) != NULL && g_ascii_isdigit(cell[1]));
}

/* Numbers with so many different values that they are measurements, not the names of levels. */
static bool is_measured(const LobCohort *cohort, int column) {
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    size_t numbers = 0, texts = 0;
    for (size_t p = 0; p < cohort->n_patients; p++) {
        const char *cell = lob_table_cell(cohort->patient_table, cohort->patients[p].row, column);
        double value = 0;
        if (cell[0] == '\0')
            continue;
        if (!lob_text_number(cell, &value)) {
            texts++;
            continue;
        }
        numbers++;
        g_hash_table_add(seen, (gpointer)(uintptr_t)cell);
    }
    return g_hash_table_size(seen) >= MEASURED_VALUES && numbers > texts;
}

/* Whether the column is text; a cell that spoils a column of numbers, or stands for missing, is a problem. */
static bool column_is_text(const LobCohort *cohort, int column, LobProblems *problems) {
    const LobTable *table = cohort->patient_table;
    const bool measured = is_measured(cohort, column);
    bool text = false;
    for (size_t p = 0; p < cohort->n_patients; p++) {
        const char *cell = lob_table_cell(table, cohort->patients[p].row, column);
        double value = 0;
        if (cell[0] == '\0' || lob_text_number(cell, &value))
            continue;
        text = true;
        const char *fault = NULL;
        if (lob_is_missing_marker(cell) && g_ascii_strcasecmp(cell, "none") != 0)
            fault = "a missing value is an empty cell";
        else if (looks_numeric(cell))
            fault = "expected a number with a decimal point, or a text level not beginning like a number";
        else if (measured)
            fault = "a text in a column of measured numbers; a missing value is an empty cell";
        if (fault != NULL)
            lob_problem(problems, "%s:%zu: covariate '%s': '%.60s'; %s", lob_table_path(table),
                        lob_table_line(table, cohort->patients[p].row),
                        lob_table_column_name(table, (size_t)column), cell, fault);
    }
    return text;
}

static char **collect_levels(const LobCohort *cohort, int column, size_t *n_levels) {
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (size_t p = 0; p < cohort->n_patients; p++) {
        const char *cell = lob_table_cell(cohort->patient_table, cohort->patients[p].row, column);
        if (cell[0] != '\0' && g_hash_table_add(seen, (gpointer)(uintptr_t)cell))
            g_ptr_array_add(names, g_strdup(cell));
    }
    *n_levels = names->len;
    qsort(names->pdata, names->len, sizeof *names->pdata, compare_texts);
    g_ptr_array_add(names, NULL);
    return (char **)g_ptr_array_steal(names, NULL);
}

static void read_column(LobCohort *cohort, size_t covariate, int column, LobProblems *problems) {
    const LobStudy *study = cohort->study;
    size_t n_levels = 0, missing = 0;
    char **levels = NULL;
    const size_t before = problems->count;
    if (column_is_text(cohort, column, problems))
        levels = cohort->levels[covariate] = collect_levels(cohort, column, &n_levels);
    if (n_levels > LEVELS_MAX && problems->count == before)
        lob_problem(problems, "%s: covariate '%s' has %zu different texts; over %d is free text, not a level",
                    study->patients, study->covariates[covariate], n_levels, LEVELS_MAX);
    for (size_t p = 0; p < cohort->n_patients; p++) {
        const char *cell = lob_table_cell(cohort->patient_table, cohort->patients[p].row, column);
        double value = NAN;
        if (cell[0] == '\0') {
            missing++;
        } else if (levels != NULL) {
            char **level = bsearch(&cell, levels, n_levels, sizeof *levels, compare_texts);
            value = (double)(level - levels);
        } else if (!lob_text_number(cell, &value)) {
            g_assert_not_reached();
        } else if (fabs(value) > VALUE_MAX) {
            lob_problem(problems, "%s:%zu: covariate '%s': %g; expected at most %g in size", study->patients,
                        lob_table_line(cohort->patient_table, cohort->patients[p].row),
                        study->covariates[covariate], value, VALUE_MAX);
        }
        cohort->covariates[p * study->n_covariates + covariate] = value;
    }
    if (missing == cohort->n_patients)
        lob_problem(problems, "%s: covariate '%s' is empty in every row", study->patients,
                    study->covariates[covariate]);
}

bool lob_study_speaks_for(const LobStudy *study, const char *name) {
    bool taken = strcmp(name, "patient_id") == 0 || strcmp(name, "center") == 0 ||
                 g_strcmp0(name, study->arm_column) == 0;
    for (size_t e = 0; e < study->n_endpoints; e++)
        taken = taken || g_strcmp0(name, study->endpoints[e].time) == 0 ||
                g_strcmp0(name, study->endpoints[e].event) == 0 ||
                g_strcmp0(name, study->endpoints[e].competing) == 0 ||
                g_strcmp0(name, study->endpoints[e].label) == 0;
    for (size_t a = 0; a < study->n_arms; a++)
        taken = taken || g_strcmp0(name, study->arms[a].start_column) == 0;
    return taken;
}

void lob_cohort_read_covariates(LobCohort *cohort, LobProblems *problems) {
    const LobStudy *study = cohort->study;
    cohort->levels = g_new0(char **, study->n_covariates);
    cohort->covariates = g_new0(double, cohort->n_patients * study->n_covariates);
    for (size_t c = 0; c < study->n_covariates; c++) {
        GError *error = NULL;
        const char *name = study->covariates[c];
        int column = lob_table_require(cohort->patient_table, name, &error);
        if (column < 0)
            lob_problem_take(problems, error);
        else if (lob_study_speaks_for(study, name))
            lob_problem(problems, "%s: covariates: '%s' is an outcome, the arm or an identifier", study->path,
                        name);
        else
            read_column(cohort, c, column, problems);
    }
}
