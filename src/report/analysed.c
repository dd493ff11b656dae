/* Who is analysed: a patient without usable tiles, or of a fold that could not be trained, has no prediction
 * and counts nowhere. */
#include "report/report_internal.h"

#include <string.h>

static size_t endpoint_index(const LobStudy *study, const char *name) {
    size_t e = 0;
    while (e < study->n_endpoints && strcmp(study->endpoints[e].name, name) != 0)
        e++;
    return e;
}

bool lob_page_read_predicted(LobPage *page, GError **err) {
    const LobTable *t = page->predictions;
    const LobStudy *study = page->cohort->study;
    int endpoint, model, patient, lp;
    if (!t)
        return true;
    if ((endpoint = lob_table_require(t, "endpoint", err)) < 0 ||
        (model = lob_table_require(t, "model", err)) < 0 ||
        (patient = lob_table_require(t, "patient_id", err)) < 0 ||
        (lp = lob_table_require(t, "linear_predictor", err)) < 0)
        return false;
    const int class0 = lob_table_find(t, "p_class0");
    page->predicted = g_new0(uint8_t, study->n_endpoints * page->cohort->n_patients + 1);
    for (size_t r = 0; r < lob_table_rows(t); r++) {
        const size_t e = endpoint_index(study, lob_table_cell(t, r, endpoint));
        const gpointer at = g_hash_table_lookup(page->patients, lob_table_cell(t, r, patient));
        const bool has = lob_table_cell(t, r, lp)[0] || (class0 >= 0 && lob_table_cell(t, r, class0)[0]);
        if (e < study->n_endpoints && at && has &&
            strcmp(lob_table_cell(t, r, model), study->model.kind) == 0)
            page->predicted[e * page->cohort->n_patients + GPOINTER_TO_UINT(at) - 1] = 1;
    }
    return true;
}

bool lob_page_analysed(const LobPage *page, size_t endpoint, size_t patient) {
    return lob_cohort_usable(page->cohort, endpoint, patient) &&
           (!page->predicted || page->predicted[endpoint * page->cohort->n_patients + patient]);
}
