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

static bool from_table(const LobCohort *cohort, int column, double *marker, GError **err) {
    for (size_t p = 0; p < cohort->n_patients; p++)
        if (!lob_table_number(cohort->patient_table, cohort->patients[p].row, column, &marker[p], err))
            return false;
    return true;
}

/* Where the biomarker is: in a column of the features, or else of the patients' table. Both -1 where none is
 * asked for and the features have not the usual one. */
typedef struct {
    const char *name;
    int feature, column;
} Marker;

static bool find(const LobCohort *cohort, char *const *columns, Marker *m, GError **err) {
    const char *asked = cohort->study->model.biomarker;
    m->name = asked ? asked : LOB_BENEFIT_MARKER;
    m->feature = column_of(columns, m->name);
    m->column = asked && m->feature < 0 ? lob_table_find(cohort->patient_table, m->name) : -1;
    return !asked || m->feature >= 0 || m->column >= 0 ||
           lob_fail(err, LOB_ERROR_INPUT,
                    "model.biomarker: '%s' is neither a column of the features nor of the patients' table",
                    m->name);
}

static bool can_be_read(const LobPlan *plan, char *const *columns, GError **err) {
    Marker m;
    if (!find(plan->cohort, columns, &m, err))
        return false;
    g_autofree double *unused = g_new(double, plan->cohort->n_patients + 1);
    return m.column < 0 || from_table(plan->cohort, m.column, unused, err);
}

bool lob_benefit_marker_check(const LobWorld *world, const LobPlan *plan, char *const *columns,
                              GError **err) {
    GError *problem = NULL;
    if (world->rank == 0 && lob_plan_asks_benefit(plan))
        (void)can_be_read(plan, columns, &problem);
    return lob_world_agree(world, problem, err);
}

bool lob_benefit_marker(LobBenefitStudy *s, const LobBagSums *sums, char *const *columns, GError **err) {
    const LobCohort *cohort = s->plan->cohort;
    Marker m;
    s->columns = columns;
    s->sums = sums;
    if (!find(cohort, sums ? columns : NULL, &m, err))
        return false;
    if (m.feature < 0 && m.column < 0)
        return true;
    s->marker = g_new(double, cohort->n_patients + 1);
    s->marker_name = m.name;
    if (m.feature < 0)
        return from_table(cohort, m.column, s->marker, err);
    from_features(s, sums, (size_t)m.feature);
    return true;
}
