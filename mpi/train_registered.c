/* The lock and the cuts of training, into the model file. */
#include "mpi/train_benefit.h"
#include "mpi/validate_benefit.h"

#include <math.h>
#include <string.h>

static bool take_lock(const LobPlan *plan, LobRegistered *r, GError **err) {
    size_t size;
    g_autofree char *path = lob_study_out(plan->cohort->study, "lock.json");
    r->text = lob_file_read(path, 1 << 24, &size, err);
    if (!r->text)
        return false;
    r->lock = lob_sha256_bytes(r->text, strlen(r->text));
    return strcmp(r->lock, plan->lock) == 0 ||
           lob_fail(err, LOB_ERROR_INPUT, "%s: was changed while the model was trained", path);
}

static bool take_marker(const LobPlan *plan, const LobBenefit *fit, const LobBagSums *sums,
                        char *const *columns, LobRegistered *r, GError **err) {
    LobBenefitStudy study = {.plan = plan, .endpoint = fit->view->endpoint};
    LobBenefitFold fold = {.fit = *fit};
    const bool ok = lob_benefit_marker(&study, sums, columns, err);
    if (ok && study.marker) {
        lob_benefit_scale_marker(&study, &fold);
        r->marker = g_strdup(study.marker_name);
        r->marker_mean = fold.marker_mean;
        r->marker_sd = fold.marker_sd;
    }
    g_free(study.marker);
    return ok;
}

bool lob_train_register(const LobPlan *plan, const LobBenefit *fit, const LobBagSums *sums,
                        char *const *columns, LobRegistered **registered, GError **err) {
    LobRegistered *r = *registered = g_new0(LobRegistered, 1);
    if (!take_lock(plan, r, err) || (fit && !take_marker(plan, fit, sums, columns, r, err)))
        return false;
    for (int f = 0; fit && f < LOB_PARTS; f++) {
        r->has_thirds[f] = fit->part[f].estimable;
        if (r->has_thirds[f])
            lob_benefit_third_cuts(fit, f, fit->model.tau, r->third[f]);
    }
    return lob_registered_check(r, err);
}
