/* What would end a validation after all slides are embedded, found before. */
#include "jobs/common.h"
#include "model/model.h"

#include <string.h>

static bool check_view(const LobCohort *cohort, const LobFolds *folds, size_t endpoint, int repeat, int fold,
                       GError **err) {
    const LobStudy *study = cohort->study;
    g_autoptr(LobView) view =
        lob_view_new(cohort, folds, endpoint, repeat, fold, study->validation.seed, err);
    if (!view)
        return false;
    return study->n_covariates == 0 || view->n_clinical > 0 ||
           lob_fail(
               err, LOB_ERROR_NOT_ESTIMABLE,
               "endpoint '%s', fold '%s' held out: no covariate varies among the training patients, so the "
               "clinical model has nothing to learn from; take them out of covariates",
               study->endpoints[endpoint].name, folds->names[fold]);
}

static bool check_endpoint(const LobCohort *cohort, const LobFolds *folds, size_t endpoint, GError **err) {
    const LobStudy *study = cohort->study;
    LobModelOptions options;
    if (!lob_model_options_from_study(&options, study, study->model.kind, study->endpoints[endpoint].kind,
                                      study->validation.seed, err))
        return false;
    g_autoptr(GError) first = NULL;
    bool any = false;
    for (int repeat = 0; repeat < folds->repeats; repeat++)
        for (int fold = 0; fold < folds->folds; fold++) {
            g_autoptr(GError) problem = NULL;
            if (check_view(cohort, folds, endpoint, repeat, fold, &problem)) {
                any = true;
                continue;
            }
            if (!g_error_matches(problem, LOB_ERROR, LOB_ERROR_NOT_ESTIMABLE)) {
                g_propagate_error(err, g_steal_pointer(&problem));
                return false;
            }
            lob_warning("%s; it will be reported as not estimable", problem->message);
            if (!first)
                first = g_steal_pointer(&problem);
        }
    if (!any && first)
        g_propagate_error(err, g_steal_pointer(&first));
    return any;
}

/* One scan under two patients would be trained on and held out at once. */
static bool check_shared_files(const LobCohort *cohort, GError **err) {
    g_autoptr(GHashTable) files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (size_t i = 0; i < cohort->n_slides && !cohort->study->features; i++) {
        const LobCohortSlide *slide = &cohort->slides[i];
        g_autofree char *path = g_canonicalize_filename(slide->path, NULL);
        const LobCohortSlide *other = g_hash_table_lookup(files, path);
        if (!other)
            g_hash_table_insert(files, g_steal_pointer(&path), (gpointer)(uintptr_t)slide);
        else if (other->patient != slide->patient)
            return lob_fail(err, LOB_ERROR_INPUT,
                            "%s: slide '%s' of patient '%s' is the same file as slide '%s' of patient '%s'",
                            cohort->study->slides, slide->slide_id,
                            cohort->patients[slide->patient].patient_id, other->slide_id,
                            cohort->patients[other->patient].patient_id);
    }
    return true;
}

bool lob_preflight(const LobCohort *cohort, GError **err) {
    const LobStudy *study = cohort->study;
    if (study->n_endpoints == 0)
        return lob_fail(
            err, LOB_ERROR_INPUT,
            "%s: no endpoint is given, so there is nothing to validate; lobule plan and lobule embed "
            "need none",
            study->path);
    if (!check_shared_files(cohort, err))
        return false;
    if (study->n_arms == 0)
        lob_info("the study names no arms, so nothing is asked about benefit of treatment");
    g_autoptr(LobFolds) folds = lob_folds_make(cohort, err);
    if (!folds)
        return false;
    for (size_t e = 0; e < study->n_endpoints; e++)
        if (!check_endpoint(cohort, folds, e, err))
            return false;
    return true;
}
