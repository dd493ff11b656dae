/* The benefit stage of the final model: fitted on all usable patients as each fold of a validation is. */
#include "mpi/train_benefit.h"
#include "mpi/validate_benefit.h"

#include <string.h>

/* Whether a validation under the same lock, in the same folder, has proven the effect score. */
static bool is_earned(const LobPlan *plan) {
    g_autofree char *path = lob_study_out(plan->cohort->study, "verdict.json");
    json_t *verdict = json_load_file(path, 0, NULL);
    const char *lock = json_string_value(json_object_get(verdict, "lock"));
    const char *from = json_string_value(json_object_get(verdict, "recommendations_from"));
    bool earned = lock && from && strcmp(lock, plan->lock) == 0 && strcmp(from, LOB_ADVICE_EARNED) == 0;
    json_decref(verdict);
    return earned;
}

bool lob_train_benefit(const LobPlan *plan, const LobBagSums *sums, char *const *columns,
                       LobBenefitModel **model, LobRegistered **registered, GError **err) {
    uint64_t seed = plan->cohort->study->validation.seed;
    int endpoint = lob_plan_benefit_endpoint(plan);
    LobBenefitOptions options = lob_benefit_defaults(seed);
    options.stop = lob_benefit_wants_stop;
    g_autoptr(GError) refused = NULL;
    *model = NULL;
    if (!lob_plan_asks_benefit(plan))
        return lob_train_register(plan, NULL, NULL, NULL, registered, err);
    if (endpoint < 0 || !lob_benefit_can(plan->cohort->study, (size_t)endpoint, &refused)) {
        lob_info("the model has no benefit stage: %s", refused ? refused->message : "no survival endpoint");
        return lob_train_register(plan, NULL, NULL, NULL, registered, err);
    }
    g_autoptr(LobView) view =
        lob_view_new(plan->cohort, plan->folds, (size_t)endpoint, 0, LOB_FOLD_FINAL, seed, err);
    g_autoptr(LobView) adverse = NULL;
    LobBenefit fit = {0};
    bool ok = view && lob_benefit_adverse_view(plan, LOB_FOLD_FINAL, &adverse, err);
    options.adverse = adverse;
    ok = ok && lob_benefit_fit(&fit, view, sums, &options, err) && lob_benefit_draw(&fit, err) &&
         lob_train_register(plan, &fit, sums, columns, registered, err);
    if (ok) {
        *model = g_new(LobBenefitModel, 1);
        **model = fit.model;
        (*model)->earned = is_earned(plan);
        fit.model = (LobBenefitModel){0};
        if (fit.adverse_reason)
            lob_warning(
                "benefit stage: adverse events are not estimable: %s; a treatment is then recommended "
                "only where it gains enough at any risk of them",
                fit.adverse_reason);
        lob_info("benefit stage: recommendations will follow %s",
                 (*model)->earned
                     ? "the effect score, as a validation has proven it"
                     : "risk and the average effect: no validation in this folder has proven the "
                       "effect score");
    }
    lob_benefit_clear(&fit);
    return ok;
}
