#include "mpi/predict_external.h"
#include "mpi/validate_benefit.h"

#include <math.h>
#include <string.h>

/* ---- what was registered ---- */

/* The model is judged by what it registered; where that is not what this program computes, by nothing. */
static bool same_statistic(const LobExternal *x, const json_t *registered, GError **err) {
    static const char *const keys[] = {
        "statistic", "claim", "level", "permutations", "margin_days", "min_events", "min_effective_size"};
    json_t *own = lob_plan_benefit_lock(x->plan);
    const char *differs = NULL;
    for (size_t i = 0; i < G_N_ELEMENTS(keys) && !differs; i++)
        if (!json_equal(json_object_get(own, keys[i]), json_object_get(registered, keys[i])))
            differs = keys[i];
    json_decref(own);
    return !differs ||
           lob_fail(err, LOB_ERROR_INPUT,
                    "the model's lock registers another '%s' of the benefit analysis than this lobule (%s) "
                    "computes: evaluate it with the version that trained it (%s)",
                    differs, LOB_VERSION, x->file->model.program);
}

/* What the lock says is asked of the benefit. Texts are borrowed from it. */
static void take_wish(LobBenefitWish *wish, const json_t *registered, const LobBenefitModel *model) {
    const char *contrast = json_string_value(json_object_get(registered, "contrast"));
    const json_t *periods = json_object_get(registered, "periods");
    *wish = (LobBenefitWish){.contrast = (char *)(uintptr_t)contrast,
                             .margin_days = model->margin_days,
                             .penalty_days = model->penalty_days,
                             .n_periods = MIN(json_array_size(periods), LOB_PERIODS_MAX)};
    for (size_t i = 0; i < wish->n_periods; i++)
        wish->periods[i] = json_number_value(json_array_get(periods, i));
}

/* The clinicians' rule, "column op value" each; said where this cohort's table cannot answer it. */
static void take_rule(LobBenefitStudy *s, LobBenefitWish *wish, const json_t *registered) {
    const LobCohort *cohort = s->plan->cohort;
    const json_t *rule = json_object_get(registered, "rule");
    const size_t n = json_array_size(rule);
    g_autofree int8_t *meets = g_new(int8_t, cohort->n_patients + 1);
    g_autoptr(GError) problem = NULL;
    LobFilter *filters = g_new0(LobFilter, n + 1);
    for (size_t i = 0; i < n; i++) {
        g_auto(GStrv) words = g_strsplit(json_string_value(json_array_get(rule, i)), " ", 3);
        if (g_strv_length(words) == 3)
            filters[i] = (LobFilter){g_strdup(words[0]), g_strdup(words[1]), g_strdup(words[2])};
    }
    wish->rule = filters;
    wish->n_rule = n;
    if (n == 0 || lob_cohort_meets_any(cohort, filters, n, meets, &problem))
        return;
    wish->n_rule = 0;
    lob_benefit_say(s, g_strdup_printf("the registered clinicians' rule: %s", problem->message));
}

static void clear_rule(LobBenefitWish *wish, const json_t *registered) {
    for (size_t i = 0; wish->rule && i < json_array_size(json_object_get(registered, "rule")); i++) {
        g_free(wish->rule[i].column);
        g_free(wish->rule[i].op);
        g_free(wish->rule[i].value);
    }
    g_free(wish->rule);
}

/* ---- the cohort as the one fold of the locked fit ---- */

static void place_patients(LobBenefit *fit, const LobExternal *x) {
    const LobCohort *cohort = x->plan->cohort;
    const size_t k = fit->k;
    for (size_t i = 0; i < x->cases->n; i++) {
        const uint32_t p = x->patients[i];
        const int arm = cohort->arm_at[x->endpoint][p];
        for (size_t f = 0; f < LOB_PARTS; f++)
            fit->code[p * LOB_PARTS + f] = arm < 0 ? (int8_t)-1 : (int8_t)cohort->study->arms[arm].code[f];
        memcpy(fit->z + p * k, x->cases->z + i * k, k * sizeof *fit->z);
        fit->tiles[p] = (uint64_t)x->cases->tiles[i];
        if (lob_cohort_usable(cohort, x->endpoint, p))
            fit->held_out[fit->n_held_out++] = p;
    }
}

/* By the locked log odds. */
static void weigh(LobBenefitPart *part, const LobBenefitModel *model, const LobExternal *x, int f,
                  const int8_t *code) {
    const size_t c = model->n_covariates;
    const double *beta = model->propensity_beta[f];
    for (size_t i = 0; part->estimable && i < x->cases->n; i++) {
        const uint32_t p = x->patients[i];
        const int8_t a = code[p * LOB_PARTS + (size_t)f], other = code[p * LOB_PARTS + (size_t)(1 - f)];
        double odds = beta[0] + beta[c + 1] * MAX(other, 0);
        for (size_t j = 0; j < c; j++)
            odds += beta[1 + j] * (double)x->covariates[p * c + j];
        const double e = 1 / (1 + exp(-odds));
        part->propensity[p] = a < 0 ? NAN : e;
        part->weight[p] = a < 0 ? NAN : a ? 1 - e : e;
    }
}

static void fit_init(LobBenefit *fit, LobView *view, const LobExternal *x) {
    const LobBenefitModel *model = x->file->benefit;
    const size_t n = x->plan->cohort->n_patients;
    *view = (LobView){.cohort = x->plan->cohort,
                      .endpoint = x->endpoint,
                      .n_covariates = model->n_covariates,
                      .covariates = (float *)(uintptr_t)x->covariates};
    *fit = (LobBenefit){.view = view,
                        .options = lob_benefit_defaults(model->seed),
                        .n_patients = n,
                        .k = model->basis.k,
                        .model = *model,
                        .tau = model->tau,
                        .use_product = model->use_product,
                        .z = g_new0(double, n * model->basis.k + 1),
                        .tiles = g_new0(uint64_t, n + 1),
                        .code = g_malloc(n * LOB_PARTS + 1),
                        .held_out = g_new(uint32_t, n + 1)};
    memset(fit->code, -1, n * LOB_PARTS);
    place_patients(fit, x);
    for (int f = 0; f < LOB_PARTS; f++) {
        LobBenefitPart *part = &fit->part[f];
        *part = (LobBenefitPart){.asked = true,
                                 .estimable = model->estimable[f],
                                 .reason = model->reason[f],
                                 .propensity = g_new(double, n + 1),
                                 .weight = g_new(double, n + 1),
                                 .gamma = model->gamma[f],
                                 .sd = model->sd[f]};
        for (size_t p = 0; p < n; p++)
            part->propensity[p] = part->weight[p] = NAN;
        weigh(part, model, x, f, fit->code);
    }
}

/* The rest is the model's. */
static void fit_clear(LobBenefit *fit) {
    for (int f = 0; f < LOB_PARTS; f++) {
        g_free(fit->part[f].propensity);
        g_free(fit->part[f].weight);
    }
    g_free(fit->z);
    g_free(fit->tiles);
    g_free(fit->code);
    g_free(fit->held_out);
}

/* ---- the evaluation ---- */

/* The registered biomarker under its registered scale; absent in the new cohort, it is said to be so. */
static bool take_marker(LobBenefitStudy *s, LobBenefitFold *fold, const LobExternal *x, GError **err) {
    const LobRegistered *r = x->file->registered;
    g_autoptr(GError) absent = NULL;
    s->sums = x->sums;
    s->columns = x->columns;
    if (!r->marker)
        return true;
    if (!lob_benefit_marker(s, x->sums, x->columns, &absent)) {
        if (!g_error_matches(absent, LOB_ERROR, LOB_ERROR_INPUT) || s->marker) {
            g_propagate_error(err, g_steal_pointer(&absent));
            return false;
        }
        lob_benefit_say(s, g_strdup_printf("registered biomarker %s: neither the features nor the patients' "
                                           "table of this cohort have it",
                                           r->marker));
    }
    fold->marker_mean = r->marker_mean;
    fold->marker_sd = r->marker_sd;
    return true;
}

static void predict_held_out(LobBenefitFold *fold) {
    LobBenefitCases cases;
    lob_benefit_own_cases(&fold->fit, fold->fit.held_out, fold->fit.n_held_out, &cases);
    lob_benefit_model_predict(&fold->fit.model, &cases, &fold->prediction);
    lob_benefit_cases_clear(&cases);
}

static bool judge(LobBenefitStudy *s, LobBenefitFold *fold, const LobExternal *x, const json_t *registered,
                  GError **err) {
    const char *contrast = json_string_value(json_object_get(registered, "contrast"));
    s->folds = fold;
    s->n_folds = 1;
    s->competing = x->plan->cohort->study->endpoints[x->endpoint].competing != NULL;
    s->registered_part = lob_plan_registered_part(x->plan);
    lob_scores_collect(&s->scores, x->plan, x->results, x->endpoint, 0);
    s->lp = lob_benefit_predictors(&s->scores, x->plan->cohort->n_patients);
    if (x->plan->n_models > 1)
        lob_scores_collect(&s->clinical, x->plan, x->results, x->endpoint, 1);
    predict_held_out(fold);
    lob_benefit_say(s,
                    g_strdup_printf("external validation of the locked model %.16s: contrast %s, statistic, "
                                    "level and thresholds as registered before it was trained",
                                    x->file->sha256, contrast ? contrast : "none"));
    if (s->registered_part < 0)
        lob_benefit_say(s, g_strdup_printf("registered contrast %s: no arm of this cohort is that treatment "
                                           "alone",
                                           contrast ? contrast : "none"));
    if (!take_marker(s, fold, x, err) || !lob_benefit_judge(s, err))
        return false;
    lob_benefit_say(s,
                    g_strdup("what recommendations follow is fixed in the model file, whatever this cohort "
                             "shows"));
    return lob_benefit_tables(s, err);
}

static size_t count_known(const LobBenefit *fit) {
    size_t n = 0;
    for (size_t i = 0; i < fit->n_held_out; i++)
        n += fit->code[fit->held_out[i] * LOB_PARTS] >= 0;
    return n;
}

bool lob_external_evaluate(const LobExternal *x, GError **err) {
    const LobRegistered *r = x->file->registered;
    json_t *lock = json_loads(r->text, 0, NULL);
    const json_t *registered = json_object_get(lock, "benefit");
    /* The study as the lock has it: the new one's own wishes are none of this analysis. */
    LobStudy study = *x->plan->cohort->study;
    LobCohort cohort = *x->plan->cohort;
    LobPlan plan = *x->plan;
    LobExternal seen = *x;
    take_wish(&study.model.wish, registered, x->file->benefit);
    study.model.biomarker = r->marker;
    cohort.study = &study;
    plan.cohort = &cohort;
    seen.plan = &plan;
    LobView view;
    LobBenefitFold fold = {.view = &view};
    LobBenefitStudy s = {.plan = &plan,
                         .locked = r,
                         .endpoint = x->endpoint,
                         .reasons = g_ptr_array_new_with_free_func(g_free)};
    const double start = lob_clock();
    bool ok = same_statistic(&seen, registered, err);
    take_rule(&s, &study.model.wish, registered);
    fit_init(&fold.fit, &view, &seen);
    if (ok && count_known(&fold.fit) == 0)
        lob_info("no external verdict: no patient has a known outcome of endpoint %s and a known arm",
                 x->file->benefit->endpoint);
    else if (ok && (ok = judge(&s, &fold, &seen, registered, err)))
        lob_info("external validation of benefit: %s, %.1f s", s.verdict, lob_clock() - start);
    s.folds = NULL;
    s.n_folds = 0;
    lob_benefit_study_clear(&s);
    lob_benefit_prediction_clear(&fold.prediction);
    fit_clear(&fold.fit);
    clear_rule(&study.model.wish, registered);
    json_decref(lock);
    return ok;
}
