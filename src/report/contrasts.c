/* What each arm can show against the reference, from counts alone. */
#include "report/report_internal.h"

#include <math.h>

static LobContrast contrast_of(const LobPage *page, size_t e, uint32_t arm) {
    const LobCohort *cohort = page->cohort;
    LobContrast c = {.endpoint = e, .arm = arm};
    g_autofree size_t *by_center = g_new0(size_t, cohort->n_centers);
    for (size_t p = 0; p < cohort->n_patients; p++) {
        const int at = cohort->arm_at[e][p];
        if (!lob_page_analysed(page, e, p) || (at != 0 && at != (int)arm))
            continue;
        c.n[at != 0]++;
        c.events[at != 0] += cohort->event[e][p] == 1;
        if (at != 0)
            by_center[cohort->patients[p].center]++;
    }
    size_t most = 0;
    for (size_t k = 0; k < cohort->n_centers; k++)
        most = MAX(most, by_center[k]);
    c.center_share = c.n[1] ? (double)most / (double)c.n[1] : NAN;
    const double share = (double)c.n[1] / (double)(c.n[0] + c.n[1]);
    c.detectable =
        c.n[0] && c.n[1] ? lob_detectable_interaction(c.events[0] + c.events[1], share, 0.025, 0.8) : NAN;
    if (c.n[0] == 0 || c.n[1] == 0)
        c.reason = "an arm is absent";
    else if (c.events[0] < LOB_LEAST_EVENTS || c.events[1] < LOB_LEAST_EVENTS)
        c.reason = "fewer than 30 events in an arm";
    else if (c.center_share > 0.8)
        c.reason = "more than 80 % of the arm come from one center";
    return c;
}

GArray *lob_contrasts(const LobPage *page) {
    GArray *rows = g_array_new(FALSE, FALSE, sizeof(LobContrast));
    const LobStudy *study = page->cohort->study;
    for (size_t e = 0; study->arm_column && e < study->n_endpoints; e++)
        for (uint32_t a = 1; study->endpoints[e].kind == LOB_ENDPOINT_SURVIVAL && a < study->n_arms; a++) {
            const LobContrast c = contrast_of(page, e, a);
            g_array_append_val(rows, c);
        }
    return rows;
}
