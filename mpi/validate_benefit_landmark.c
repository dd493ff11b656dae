/* Sensitivity to time zero: the registered contrast where who is treated, and who is at risk, is decided on
 * another day. Everything of the benefit stage is fitted anew; the prognosis adjusted for stays the trained
 * one. */
#include "mpi/validate_benefit.h"

#include <math.h>

static bool has_start_days(const LobStudy *study) {
    for (size_t k = 0; k < study->n_arms; k++)
        if (study->arms[k].start_column)
            return true;
    return false;
}

static LobEstimate refused(const GError *error, char **note) {
    g_free(*note);
    *note = g_strdup(error ? error->message : "not estimable");
    return (LobEstimate){NAN, NAN, NAN, NAN, *note};
}

static void rows_at(const LobBenefitSheet *sheet, const LobBenefitStudy *s, double landmark) {
    const LobBenefitContrast *c = sheet->contrast;
    LobStudy study = *s->plan->cohort->study;
    g_autofree LobEndpoint *endpoints = g_memdup2(study.endpoints, study.n_endpoints * sizeof *endpoints);
    g_autofree char *effect = g_strdup_printf("interaction_per_sd_landmark_%g", landmark);
    g_autofree char *average = g_strdup_printf("average_log_hazard_ratio_landmark_%g", landmark);
    g_autofree char *note = g_strdup("benefit stage refitted at this landmark; no part of the claim");
    g_autoptr(GError) error = NULL;
    endpoints[s->endpoint].landmark = landmark;
    study.endpoints = endpoints;
    g_autoptr(LobCohort) cohort = lob_cohort_read(&study, &error);
    LobPlan plan = *s->plan;
    LobBenefitStudy moved = *s;
    g_auto(LobBenefitPool) pool = {0};
    plan.cohort = cohort;
    moved.plan = &plan;
    moved.folds = NULL;
    moved.n_folds = 0;
    LobEstimate estimate[2];
    size_t events = 0;
    if (cohort && lob_benefit_fit_folds(&moved, false, &error)) {
        lob_benefit_pool_fill(&pool, &moved, c, NULL);
        estimate[0] = lob_benefit_interaction(&pool);
        estimate[1] = lob_benefit_average(&pool);
    } else
        estimate[0] = estimate[1] = refused(error, &note);
    for (size_t i = 0; i < pool.n; i++)
        events += pool.event[i];
    for (size_t k = 0; k < 2; k++) {
        if (!estimate[k].reason)
            estimate[k].reason = note;
        lob_benefit_row(sheet, "pooled", k ? average : effect, estimate[k], pool.n, events);
    }
    lob_benefit_folds_clear(&moved);
}

void lob_benefit_landmark_rows(const LobBenefitSheet *sheet, const LobBenefitStudy *s) {
    static const double days[] = {60, 90, 120, 180};
    const LobStudy *study = s->plan->cohort->study;
    if (!sheet->contrast->registered || !has_start_days(study))
        return;
    for (size_t i = 0; i < G_N_ELEMENTS(days); i++)
        if (study->endpoints[s->endpoint].landmark < days[i] ||
            study->endpoints[s->endpoint].landmark > days[i])
            rows_at(sheet, s, days[i]);
}
