/* Does the image rank held-out patients by risk? Where covariates are joined to it, what ranks may be theirs
 * alone: the image's own is what the model has beyond the comparator from covariates. */
#include "mpi/validate_benefit.h"

#include <math.h>
#include <string.h>

void lob_benefit_say(LobBenefitStudy *s, char *text) {
    g_ptr_array_add(s->reasons, text);
}

double *lob_benefit_predictors(const LobScores *scores, size_t n_patients) {
    double *lp = g_new(double, n_patients + 1);
    for (size_t p = 0; p < n_patients; p++)
        lp[p] = NAN;
    for (size_t i = 0; i < scores->n; i++)
        if (scores->scores[i].repeat == 0)
            lp[scores->scores[i].patient] = scores->scores[i].lp;
    return lp;
}

typedef struct {
    double *c, *c_se, *gain, *gain_se; /* by center */
    size_t n, n_gain;
} Centers;

static void rank_center(const LobBenefitStudy *s, uint32_t center, const double *lp, const double *clinical,
                        Centers *out) {
    const LobCohort *cohort = s->plan->cohort;
    g_autofree double *time = g_new(double, cohort->n_patients + 1);
    g_autofree double *ours = g_new(double, cohort->n_patients + 1);
    g_autofree double *theirs = g_new(double, cohort->n_patients + 1);
    g_autofree uint8_t *event = g_new(uint8_t, cohort->n_patients + 1);
    size_t n = 0;
    for (size_t p = 0; p < cohort->n_patients; p++) {
        if (cohort->patients[p].center != center || isnan(lp[p]) || (clinical && isnan(clinical[p])))
            continue;
        time[n] = cohort->time[s->endpoint][p];
        event[n] = cohort->event[s->endpoint][p] == 1;
        theirs[n] = clinical ? clinical[p] : 0;
        ours[n++] = lp[p];
    }
    const LobFollowUp data = {.n = n, .time = time, .event = event};
    g_auto(LobConcordance) a = {0}, b = {0};
    lob_concordance(&a, &data, ours, NULL);
    out->c[out->n] = a.c;
    out->c_se[out->n++] = a.se;
    if (!clinical)
        return;
    lob_concordance(&b, &data, theirs, NULL);
    const LobEstimate d = lob_concordance_difference(&data, &a, &b).difference;
    if (!isfinite(d.estimate) || !(d.se > 0))
        return;
    out->gain[out->n_gain] = d.estimate;
    out->gain_se[out->n_gain++] = d.se;
}

void lob_benefit_prognosis(LobBenefitStudy *s) {
    const LobCohort *cohort = s->plan->cohort;
    const size_t k = cohort->n_centers;
    const LobMetaOptions options = {LOB_TAU2_REML, true, true};
    g_autofree double *room = g_new(double, 4 * k + 1);
    g_autofree double *clinical =
        s->plan->n_models > 1 ? lob_benefit_predictors(&s->clinical, cohort->n_patients) : NULL;
    Centers centers = {room, room + k, room + 2 * k, room + 3 * k, 0, 0};
    for (uint32_t c = 0; c < k; c++)
        rank_center(s, c, s->lp, clinical, &centers);
    s->prognosis = lob_meta_of_c(centers.c, centers.c_se, centers.n, &options);
    s->image_gain = lob_meta(centers.gain, centers.gain_se, centers.n_gain, &options);
    const bool ranks = s->prognosis.lower > 0.5;
    if (strcmp(s->plan->models[0], "clinical") == 0)
        s->prognostic = false;
    else if (clinical)
        s->prognostic = ranks && s->image_gain.k >= (s->locked && k == 1 ? 1 : 2) && s->image_gain.lower > 0;
    else
        s->prognostic = ranks;
}

static char *with_interval(const LobMeta *meta) {
    if (isnan(meta->mu))
        return g_strdup("not estimable in any center");
    if (isnan(meta->lower) || isnan(meta->upper))
        return g_strdup_printf("%.3f (no interval)", meta->mu);
    return g_strdup_printf("%.3f (%.3f to %.3f)", meta->mu, meta->lower, meta->upper);
}

void lob_benefit_say_prognosis(LobBenefitStudy *s) {
    const bool ranks = s->prognosis.lower > 0.5;
    const char *where = !s->locked                        ? "over held-out centers"
                        : s->plan->cohort->n_centers == 1 ? "in the one center of this cohort"
                                                          : "over the centers of this cohort";
    g_autofree char *c = with_interval(&s->prognosis);
    lob_benefit_say(s, g_strdup_printf("concordance %s %s, conditional on the trained models", where, c));
    if (strcmp(s->plan->models[0], "clinical") == 0)
        lob_benefit_say(s, g_strdup_printf("%sthe model has covariates alone: nothing is said of the image",
                                           ranks ? "prognosis from covariates: " : ""));
    else if (s->plan->n_models > 1) {
        g_autofree char *gain = with_interval(&s->image_gain);
        lob_benefit_say(s, g_strdup_printf("of it the image's own, over covariates alone: %s%s", gain,
                                           s->prognostic ? ""
                                           : ranks
                                               ? "; prognosis from covariates, that of the image is not shown"
                                               : ""));
    } else
        lob_benefit_say(s, g_strdup("the model has the image alone"));
}
