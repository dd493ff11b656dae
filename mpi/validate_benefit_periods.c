/* Early and late recurrence may differ in what prevents them: the contrast in periods of follow-up, each
 * among those still at risk at its start. No part of the claim. */
#include "mpi/validate_benefit.h"

#include <math.h>

static void rows_of(const LobBenefitSheet *sheet, const LobBenefitPool *pool, double from, double to) {
    static const char *const names[] = {"interaction_per_sd", "average_log_hazard_ratio"};
    g_autofree char *period =
        isinf(to) ? g_strdup_printf("from_%g", from) : g_strdup_printf("period_%g_%g", from, to);
    g_auto(LobBenefitPool) own = {0};
    size_t events[2] = {0, 0};
    lob_benefit_pool_period(&own, pool, from, to);
    for (size_t i = 0; i < own.n; i++)
        events[own.arm[i]] += own.event[i];
    g_autofree char *few = g_strdup_printf("%zu events without and %zu with it in this period, %d are needed",
                                           events[0], events[1], LOB_BENEFIT_PERIOD_EVENTS);
    for (size_t k = 0; k < G_N_ELEMENTS(names); k++) {
        g_autofree char *metric = g_strdup_printf("%s_%s", names[k], period);
        LobEstimate e = {NAN, NAN, NAN, NAN, few};
        if (MIN(events[0], events[1]) >= LOB_BENEFIT_PERIOD_EVENTS) {
            e = k ? lob_benefit_average(&own) : lob_benefit_interaction(&own);
            if (!e.reason)
                e.reason = "those at risk at the period's start; no part of the claim";
        }
        lob_benefit_row(sheet, "pooled", metric, e, own.n, events[0] + events[1]);
    }
}

void lob_benefit_period_rows(const LobBenefitSheet *sheet, const LobBenefitStudy *s) {
    const LobBenefitWish *wish = &s->plan->cohort->study->model.wish;
    g_auto(LobBenefitPool) pool = {0};
    if (wish->n_periods == 0)
        return;
    lob_benefit_pool_fill(&pool, s, sheet->contrast, NULL);
    for (size_t i = 0; i <= wish->n_periods; i++)
        rows_of(sheet, &pool, i ? wish->periods[i - 1] : 0,
                i < wish->n_periods ? wish->periods[i] : INFINITY);
}
