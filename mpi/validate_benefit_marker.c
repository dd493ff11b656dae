/* The pre-specified biomarker: one number a patient, which nothing here fits. */
#include "mpi/validate_benefit.h"

#include <math.h>
#include <string.h>

static int column_of(char *const *columns, const char *name) {
    for (int j = 0; columns && columns[j]; j++)
        if (strcmp(columns[j], name) == 0)
            return j;
    return -1;
}

/* Mean of one column over a patient's tiles. */
static void from_features(LobBenefitStudy *s, const LobBagSums *sums, size_t column) {
    for (uint32_t p = 0; p < sums->n_patients; p++)
        s->marker[p] = sums->count[p] ? lob_bag_sums_mean(sums, p, column) : NAN;
}

static bool from_table(LobBenefitStudy *s, int column, GError **err) {
    const LobCohort *cohort = s->plan->cohort;
    for (size_t p = 0; p < cohort->n_patients; p++)
        if (!lob_table_number(cohort->patient_table, cohort->patients[p].row, column, &s->marker[p], err))
            return false;
    return true;
}

bool lob_benefit_marker(LobBenefitStudy *s, const LobBagSums *sums, char *const *columns, GError **err) {
    const LobStudy *study = s->plan->cohort->study;
    const char *name = study->model.biomarker ? study->model.biomarker : LOB_BENEFIT_MARKER;
    int feature = sums ? column_of(columns, name) : -1;
    int column = study->model.biomarker ? lob_table_find(s->plan->cohort->patient_table, name) : -1;
    s->columns = columns;
    s->sums = sums;
    if (feature < 0 && column < 0)
        return !study->model.biomarker ||
               lob_fail(
                   err, LOB_ERROR_INPUT,
                   "model.biomarker: '%s' is neither a column of the features nor of the patients' table",
                   name);
    s->marker = g_new(double, s->plan->cohort->n_patients + 1);
    s->marker_name = name;
    if (feature < 0)
        return from_table(s, column, err);
    from_features(s, sums, (size_t)feature);
    return true;
}
