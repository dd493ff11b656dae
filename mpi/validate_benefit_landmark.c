/* Sensitivity to time zero: every contrast where who is treated, and who is at risk, is decided on another
 * day. Everything of the benefit stage is fitted anew, under the same guards. The trained model has no
 * prognosis of who left before its own landmark, so what is adjusted for is the benefit stage's own, which
 * everybody has; for comparison, so it is at the study's landmark, too. */
#include "mpi/validate_benefit.h"

#include <math.h>

static bool has_start_days(const LobStudy *study) {
    for (size_t k = 0; k < study->n_arms; k++)
        if (study->arms[k].start_column)
            return true;
    return false;
}

static void put_rows(const LobBenefitSheet *sheet, double landmark, const LobEstimate estimate[2], size_t n,
                     size_t events) {
    g_autofree char *effect = g_strdup_printf("interaction_per_sd_landmark_%g", landmark);
    g_autofree char *average = g_strdup_printf("average_log_hazard_ratio_landmark_%g", landmark);
    lob_benefit_row(sheet, "pooled", effect, estimate[0], n, events);
    lob_benefit_row(sheet, "pooled", average, estimate[1], n, events);
}

static void contrast_at(const LobBenefitSheet *sheet, const LobBenefitStudy *moved, double landmark) {
    LobBenefitContrast c = {
        .name = sheet->contrast->name, .part = sheet->contrast->part, .marker = sheet->contrast->marker};
    LobEstimate estimate[2];
    g_auto(LobBenefitPool) pool = {0};
    g_autofree char *reason = lob_benefit_folds_guard(moved, &c);
    if (!reason) {
        lob_benefit_pool_fill(&pool, moved, &c, NULL);
        reason = lob_benefit_pool_guard(&c, &pool, &moved->folds[0].fit.options);
    }
    if (!reason) {
        estimate[0] = lob_benefit_interaction(&pool);
        estimate[1] = lob_benefit_average(&pool);
    } else
        estimate[0] = estimate[1] = (LobEstimate){NAN, NAN, NAN, NAN, reason};
    g_autofree char *note = g_strdup_printf("benefit stage refitted at this landmark, estimable in %zu of %d "
                                            "folds, adjusted for its own prognosis; no part of the claim",
                                            c.n_folds, moved->plan->folds->folds);
    for (size_t k = 0; k < 2; k++)
        if (!estimate[k].reason)
            estimate[k].reason = note;
    put_rows(sheet, landmark, estimate, c.n, c.events);
}

/* false: stopped. */
static bool rows_at(const LobBenefitSheet *sheet, const LobBenefitStudy *s, double landmark, GError **err) {
    LobStudy study = *s->plan->cohort->study;
    g_autofree LobEndpoint *endpoints = g_memdup2(study.endpoints, study.n_endpoints * sizeof *endpoints);
    g_autoptr(GError) problem = NULL;
    endpoints[s->endpoint].landmark = landmark;
    study.endpoints = endpoints;
    g_autoptr(LobCohort) cohort = lob_cohort_read(&study, &problem);
    LobPlan plan = *s->plan;
    LobBenefitStudy moved = *s;
    LobBenefitSheet each = *sheet;
    plan.cohort = cohort;
    moved.plan = &plan;
    moved.folds = NULL;
    moved.n_folds = 0;
    moved.own_risk = true;
    const bool fitted = cohort && lob_benefit_fit_folds(&moved, false, &problem);
    const bool stopped = problem && g_error_matches(problem, LOB_ERROR, LOB_ERROR_STOPPED);
    const LobEstimate refused = {NAN, NAN, NAN, NAN, problem ? problem->message : "not estimable"};
    for (int i = 0; i < LOB_CONTRASTS && !stopped; i++) {
        each.contrast = &s->contrast[i];
        if (each.contrast->name && fitted)
            contrast_at(&each, &moved, landmark);
        else if (each.contrast->name)
            put_rows(&each, landmark, (const LobEstimate[2]){refused, refused}, 0, 0);
    }
    lob_benefit_folds_clear(&moved);
    if (stopped)
        g_propagate_error(err, g_steal_pointer(&problem));
    return !stopped;
}

bool lob_benefit_landmark_rows(const LobBenefitSheet *sheet, const LobBenefitStudy *s, GError **err) {
    static const double days[] = {60, 90, 120, 180};
    const LobStudy *study = s->plan->cohort->study;
    const double own = s->n_folds ? study->endpoints[s->endpoint].landmark : 0;
    bool others = true, listed = false;
    if (s->n_folds == 0 || !has_start_days(study))
        return true;
    for (size_t i = 0; others && i < G_N_ELEMENTS(days); i++) {
        others = rows_at(sheet, s, days[i], err);
        listed = listed || fabs(days[i] - own) < 0.5;
    }
    return others && (listed || rows_at(sheet, s, own, err));
}
