/* Does the effect score of a fold find, among patients it has not seen, those whom the treatment helps? */
#include "mpi/validate_benefit.h"
#include "mpi/stop.h"
#include "report/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is registered ---- */

bool lob_plan_asks_benefit(const LobPlan *plan) {
    return plan->cohort->study->model.benefit && plan->cohort->study->n_arms > 0;
}

int lob_plan_benefit_endpoint(const LobPlan *plan) {
    const LobStudy *study = plan->cohort->study;
    for (size_t e = 0; e < study->n_endpoints; e++)
        if (study->endpoints[e].kind == LOB_ENDPOINT_SURVIVAL)
            return (int)e;
    return -1;
}

/* The study registers the biomarker without the effect score beside it. */
static bool marker_alone(const LobPlan *plan) {
    const char *contrast = plan->cohort->study->model.wish.contrast;
    return contrast && strstr(contrast, "_by_");
}

static int part_of(const LobStudy *study, const char *contrast) {
    const char *by = strstr(contrast, "_by_");
    g_autofree char *arm = by ? g_strndup(contrast, (gsize)(by - contrast)) : g_strdup(contrast);
    for (int f = 0; f < LOB_PARTS; f++)
        if (g_strcmp0(lob_benefit_part_name(study, f), arm) == 0)
            return f;
    return -1;
}

/* As the study says, or the part whose rarer side is the larger: it has the most power, and no outcome is
 * asked. */
int lob_plan_registered_part(const LobPlan *plan) {
    const LobCohort *cohort = plan->cohort;
    size_t most = 0;
    int best = -1;
    if (cohort->study->model.wish.contrast)
        return part_of(cohort->study, cohort->study->model.wish.contrast);
    for (int f = 0; f < LOB_PARTS; f++) {
        size_t side[2] = {0, 0};
        for (size_t p = 0; p < cohort->n_patients; p++)
            if (cohort->patients[p].eligible && cohort->patients[p].arm >= 0)
                side[cohort->study->arms[cohort->patients[p].arm].code[f] == 1]++;
        size_t rarer = MIN(side[0], side[1]);
        if (lob_benefit_part_name(cohort->study, f) && (best < 0 || rarer > most)) {
            best = f;
            most = rarer;
        }
    }
    return best;
}

json_t *lob_plan_benefit_lock(const LobPlan *plan) {
    int endpoint = lob_plan_benefit_endpoint(plan), part = lob_plan_registered_part(plan);
    const LobStudy *study = plan->cohort->study;
    LobBenefitOptions o = lob_benefit_defaults(study->validation.seed);
    const LobBenefitWish *wish = &study->model.wish;
    const char *name = wish->contrast ? wish->contrast
                       : part >= 0    ? lob_benefit_part_name(study, part)
                                      : NULL;
    json_t *lock = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:f, s:i, s:f, s:i, s:i, s:f, s:f, s:f}", "endpoint",
        endpoint >= 0 ? study->endpoints[endpoint].name : "none", "contrast", name ? name : "none",
        "biomarker",
        study->model.biomarker ? study->model.biomarker : LOB_BENEFIT_MARKER " where features have it",
        "statistic",
        "interaction of treatment and effect score, log hazard ratio per training SD of the score, "
        "in held-out centers: Cox, center-stratified, overlap weights, adjusted for the linear "
        "predictor; z by the robust variance. The biomarker is a second such score, treatment expected to "
        "help more "
        "where it is high",
        "claim",
        "above 0, with p of a permutation of the modifier within center and arm at or below the level "
        "and the 95 % Hartung-Knapp interval over centers above 0; Holm over score and biomarker, further "
        "contrasts after Holm over all",
        "level", LOB_BENEFIT_LEVEL, "permutations", LOB_BENEFIT_PERMUTATIONS, "margin_days",
        wish->margin_days, "components", (int)o.components, "members", (int)o.members, "min_events",
        o.min_events, "min_effective_size", o.min_size, "max_center_share", o.max_share);
    json_t *periods = json_array(), *rule = json_array();
    for (size_t i = 0; i < wish->n_periods; i++)
        json_array_append_new(periods, json_real(wish->periods[i]));
    for (size_t i = 0; i < wish->n_rule; i++)
        json_array_append_new(
            rule, json_sprintf("%s %s %s", wish->rule[i].column, wish->rule[i].op, wish->rule[i].value));
    json_object_set_new(lock, "chosen_by", json_string(wish->contrast ? "the study" : "most power by arms"));
    json_object_set_new(lock, "adverse", wish->adverse ? json_string(wish->adverse) : json_null());
    json_object_set_new(lock, "penalty_days", json_real(wish->penalty_days));
    json_object_set_new(lock, "periods", periods);
    json_object_set_new(lock, "rule", rule);
    return lock;
}

/* ---- one contrast ---- */

static void by_center(LobBenefitStudy *s, LobBenefitContrast *c, const LobBenefitPool *pool) {
    size_t n_centers = s->plan->cohort->n_centers, k = 0;
    g_autofree double *estimate = g_new(double, n_centers), *se = g_new(double, n_centers);
    for (uint32_t i = 0; i < n_centers; i++) {
        size_t events[2] = {0, 0};
        g_auto(LobBenefitPool) own = {0};
        lob_benefit_pool_center(&own, pool, i);
        for (size_t r = 0; r < own.n; r++)
            events[own.arm[r]] += own.event[r];
        c->center_n[i] = own.n;
        c->center_events[i] = events[0] + events[1];
        c->center[i] = (LobEstimate){NAN, NAN, NAN, NAN, "too few events in an arm"};
        if (MIN(events[0], events[1]) < LOB_BENEFIT_CENTER_EVENTS)
            continue;
        c->center[i] = lob_benefit_interaction(&own);
        if (!isfinite(c->center[i].estimate) || c->center[i].reason)
            continue;
        estimate[k] = c->center[i].estimate;
        se[k++] = c->center[i].se;
    }
    LobMetaOptions options = {LOB_TAU2_REML, true, true};
    c->meta = lob_meta(estimate, se, k, &options);
}

static char *first_reason(const LobBenefitStudy *s, int part) {
    if (s->locked)
        return g_strdup(s->folds[0].fit.part[part].reason ? s->folds[0].fit.part[part].reason
                                                          : "not estimable in training");
    for (size_t f = 0; f < s->n_folds; f++)
        if (s->folds[f].fit.part[part].reason)
            return g_strdup_printf("without %s: %s", s->plan->folds->names[s->folds[f].view->fold],
                                   s->folds[f].fit.part[part].reason);
    return g_strdup("no held-out patient could be scored");
}

char *lob_benefit_folds_guard(const LobBenefitStudy *s, LobBenefitContrast *c) {
    c->n_folds = 0;
    for (size_t f = 0; f < s->n_folds; f++)
        c->n_folds += s->folds[f].fit.part[c->part].estimable;
    return 2 * c->n_folds <= (size_t)s->plan->folds->folds ? first_reason(s, c->part) : NULL;
}

char *lob_benefit_pool_guard(LobBenefitContrast *c, const LobBenefitPool *pool, const LobBenefitOptions *o) {
    size_t events[2] = {0, 0};
    g_autofree double *weight = g_new(double, pool->n + 1);
    for (uint32_t side = 0; side < 2; side++) {
        size_t n = 0;
        for (size_t i = 0; i < pool->n; i++)
            if (pool->arm[i] == side) {
                events[side] += pool->event[i];
                weight[n++] = pool->weight[i];
            }
        c->size[side] = n ? lob_effective_size(weight, n) : 0;
    }
    c->n = pool->n;
    c->events = events[0] + events[1];
    c->detectable =
        lob_detectable_interaction((double)c->events, c->size[1] / (c->size[0] + c->size[1]), 0.025, 0.8);
    for (uint32_t side = 0; side < 2; side++)
        if ((double)events[side] < o->min_events || c->size[side] < o->min_size)
            return g_strdup_printf("%zu events and an effective size of %.1f %s it among held-out patients",
                                   events[side], c->size[side], side ? "with" : "without");
    return NULL;
}

static bool judge(LobBenefitStudy *s, LobBenefitContrast *c, GError **err) {
    size_t n_centers = s->plan->cohort->n_centers;
    c->center = g_new0(LobEstimate, n_centers);
    c->center_n = g_new0(size_t, n_centers);
    c->center_events = g_new0(size_t, n_centers);
    c->p_permutation = c->p_holm = NAN;
    if (!c->name)
        return true;
    if ((c->reason = lob_benefit_folds_guard(s, c)))
        return true;
    g_auto(LobBenefitPool) pool = {0};
    lob_benefit_pool_fill(&pool, s, c, NULL);
    c->reason = lob_benefit_pool_guard(c, &pool, &s->folds[0].fit.options);
    if (c->reason)
        return true;
    lob_info(
        "benefit, %s: with %zu events an interaction of %.2f log hazard per SD would be found in 80 %% of "
        "studies",
        c->name, c->events, c->detectable);
    c->pooled = lob_benefit_interaction(&pool);
    c->average = lob_benefit_average(&pool);
    by_center(s, c, &pool);
    if (!isfinite(c->pooled.estimate) || !(c->pooled.se > 0)) {
        c->reason = g_strdup(c->pooled.reason ? c->pooled.reason
                             : c->marker      ? "the biomarker does not vary"
                                              : "the effect score does not vary");
        return true;
    }
    c->z = c->pooled.estimate / c->pooled.se;
    c->estimable = true;
    return lob_benefit_permute(s, c, err);
}

/* ---- the verdict ---- */

static int by_p(const void *a, const void *b) {
    const LobBenefitContrast *const *x = a, *const *y = b;
    return ((*x)->p_permutation > (*y)->p_permutation) - ((*x)->p_permutation < (*y)->p_permutation);
}

/* Holm's step-down over the estimable contrasts; registered: over the registered pair alone. */
static void holm(LobBenefitStudy *s, bool registered) {
    LobBenefitContrast *in[LOB_CONTRASTS];
    size_t n = 0;
    double p = 0;
    for (int i = 0; i < LOB_CONTRASTS; i++)
        if (s->contrast[i].estimable && (!registered || s->contrast[i].registered))
            in[n++] = &s->contrast[i];
    qsort(in, n, sizeof *in, by_p);
    for (size_t i = 0; i < n; i++) {
        p = fmin(1, fmax(p, (double)(n - i) * in[i]->p_permutation));
        in[i]->p_holm = p;
    }
}

/* Where a locked model meets a single center there is no interval over centers to ask for, and what is
 * claimed is of that center. */
static bool holds_over_centers(const LobBenefitStudy *s, const LobBenefitContrast *c) {
    return (s->locked && s->plan->cohort->n_centers == 1) || (c->meta.k >= 2 && c->meta.lower > 0);
}

/* The registered pair is judged among itself, whatever else is looked at. */
static void adjust(LobBenefitStudy *s) {
    holm(s, false);
    holm(s, true);
    for (int i = 0; i < LOB_CONTRASTS; i++) {
        LobBenefitContrast *c = &s->contrast[i];
        c->claimed = c->estimable && c->p_holm <= LOB_BENEFIT_LEVEL && c->pooled.estimate > 0 &&
                     holds_over_centers(s, c);
    }
}

static void say_contrast(LobBenefitStudy *s, const LobBenefitContrast *c) {
    if (!c->name || !c->registered)
        return;
    if (!c->estimable) {
        lob_benefit_say(s, g_strdup_printf("%s: not estimable, %s", c->name, c->reason));
        return;
    }
    g_autofree char *over =
        c->meta.k >= 2 ? g_strdup_printf("Hartung-Knapp over %zu centers %.3f to %.3f", c->meta.k,
                                         c->meta.lower, c->meta.upper)
        : s->plan->cohort->n_centers == 1
            ? g_strdup("one center, so no Hartung-Knapp interval: this is of that center alone")
            : g_strdup_printf("no Hartung-Knapp interval: %zu center%s enough events in both arms", c->meta.k,
                              c->meta.k == 1 ? " has" : "s have");
    lob_benefit_say(s, g_strdup_printf("%s: interaction %.3f per SD (%.3f to %.3f), one-sided p %.2g, "
                                       "permutation p %.3f, after Holm %.3f; %s: the registered claim is %s",
                                       c->name, c->pooled.estimate, c->pooled.lower, c->pooled.upper,
                                       lob_normal_cdf(-c->z), c->p_permutation, c->p_holm, over,
                                       c->claimed ? "met" : "not met"));
}

/* first: the registered effect score, or the biomarker alone; marker: beside the score, or NULL. */
static void decide(LobBenefitStudy *s, const LobBenefitContrast *first, const LobBenefitContrast *marker) {
    LobVerdict verdict;
    lob_benefit_say_prognosis(s);
    if (!first || !first->estimable) {
        s->verdict = lob_verdict_names[LOB_VERDICT_NOT_ESTIMABLE];
        lob_benefit_say(s, g_strdup_printf("%s: %s", first ? first->name : "treatment",
                                           first ? first->reason : "no contrast in the arms"));
        return;
    }
    say_contrast(s, first);
    if (marker)
        say_contrast(s, marker);
    lob_benefit_say(s, g_strdup_printf("%s: average log hazard ratio %.3f (%.3f to %.3f)", first->name,
                                       first->average.estimate, first->average.lower, first->average.upper));
    if (first->claimed || (marker && marker->claimed))
        verdict = LOB_VERDICT_MODIFICATION;
    else if (s->prognostic && first->average.upper < 0 && !s->competing)
        verdict = LOB_VERDICT_RISK;
    else
        verdict = s->prognostic ? LOB_VERDICT_PROGNOSTIC : LOB_VERDICT_NOTHING;
    s->verdict = lob_verdict_names[verdict];
    if (s->competing)
        lob_benefit_say(
            s, g_strdup("competing events are counted as censoring: effects are on the hazard of the event "
                        "itself, and restricted means and risks are those there would be without competing "
                        "events, so that an absolute benefit is overstated and none is claimed"));
}

/* ---- the whole ---- */

void lob_benefit_scale_marker(const LobBenefitStudy *s, LobBenefitFold *fold) {
    double n = 0, sum = 0, square = 0;
    for (size_t i = 0; s->marker && i < fold->fit.n_train; i++) {
        double v = s->marker[fold->fit.train[i]];
        if (isnan(v))
            continue;
        n++;
        sum += v;
        square += v * v;
    }
    fold->marker_mean = n > 0 ? sum / n : 0;
    fold->marker_sd = n > 1 ? sqrt(fmax(0, square / n - fold->marker_mean * fold->marker_mean)) : 0;
}

bool lob_benefit_adverse_view(const LobPlan *plan, int fold, LobView **view, GError **err) {
    const LobStudy *study = plan->cohort->study;
    const char *name = study->model.wish.adverse;
    g_autoptr(GError) problem = NULL;
    *view = NULL;
    for (size_t e = 0; name && e < study->n_endpoints; e++)
        if (strcmp(study->endpoints[e].name, name) == 0)
            *view = lob_view_new(plan->cohort, plan->folds, e, 0, fold, study->validation.seed, &problem);
    if (!problem || g_error_matches(problem, LOB_ERROR, LOB_ERROR_NOT_ESTIMABLE))
        return true;
    g_propagate_error(err, g_steal_pointer(&problem));
    return false;
}

bool lob_benefit_wants_stop(void) {
    return lob_run_state() != LOB_RUN_ON;
}

bool lob_benefit_fit_folds(LobBenefitStudy *s, bool predict, GError **err) {
    const LobPlan *plan = s->plan;
    uint64_t seed = plan->cohort->study->validation.seed;
    LobBenefitOptions options = lob_benefit_defaults(seed);
    options.stop = lob_benefit_wants_stop;
    s->folds = g_new0(LobBenefitFold, (size_t)plan->folds->folds);
    for (int f = 0; f < plan->folds->folds; f++) {
        LobBenefitFold *fold = &s->folds[s->n_folds];
        if (lob_run_state() != LOB_RUN_ON)
            return lob_run_stop_error(err);
        g_autoptr(GError) problem = NULL;
        fold->view = lob_view_new(plan->cohort, plan->folds, s->endpoint, 0, f, seed, &problem);
        if (!fold->view && problem && g_error_matches(problem, LOB_ERROR, LOB_ERROR_NOT_ESTIMABLE)) {
            lob_warning("benefit: %s", problem->message);
            continue;
        }
        if (!fold->view) {
            g_propagate_error(err, g_steal_pointer(&problem));
            return false;
        }
        s->n_folds++;
        if (!lob_benefit_adverse_view(plan, fold->view->fold, &fold->adverse, err))
            return false;
        options.adverse = fold->adverse;
        if (!lob_benefit_fit(&fold->fit, fold->view, s->sums, &options, err))
            return false;
        lob_benefit_scale_marker(s, fold);
        if (predict && !lob_benefit_predict(&fold->fit, &fold->prediction, err))
            return false;
    }
    return true;
}

void lob_benefit_folds_clear(LobBenefitStudy *s) {
    for (size_t f = 0; f < s->n_folds; f++) {
        lob_benefit_prediction_clear(&s->folds[f].prediction);
        lob_benefit_clear(&s->folds[f].fit);
        lob_view_free(s->folds[f].view);
        lob_view_free(s->folds[f].adverse);
    }
    g_free(s->folds);
    s->folds = NULL;
    s->n_folds = 0;
}

void lob_benefit_study_clear(LobBenefitStudy *s) {
    lob_benefit_folds_clear(s);
    for (int f = 0; f < LOB_CONTRASTS; f++) {
        g_free(s->contrast[f].name);
        g_free(s->contrast[f].reason);
        g_free(s->contrast[f].center);
        g_free(s->contrast[f].center_n);
        g_free(s->contrast[f].center_events);
    }
    g_free(s->marker);
    g_free(s->lp);
    lob_scores_clear(&s->scores);
    lob_scores_clear(&s->clinical);
    g_ptr_array_free(s->reasons, TRUE);
}

/* The parts' effect scores, then the biomarker's, in this order. */
static void name_contrasts(LobBenefitStudy *s, int registered) {
    for (int i = 0; i < LOB_CONTRASTS; i++) {
        LobBenefitContrast *c = &s->contrast[i];
        const char *part = lob_benefit_part_name(s->plan->cohort->study, i % LOB_PARTS);
        c->part = i % LOB_PARTS;
        c->marker = i >= LOB_PARTS;
        if (!part || (c->marker && !s->marker))
            continue;
        c->name = c->marker ? g_strdup_printf("%s_by_%s", part, s->marker_name) : g_strdup(part);
        c->registered = c->part == registered && (c->marker || !marker_alone(s->plan));
    }
}

bool lob_benefit_judge(LobBenefitStudy *s, GError **err) {
    const int registered = s->registered_part;
    name_contrasts(s, registered);
    for (int i = 0; i < LOB_CONTRASTS; i++)
        if (!judge(s, &s->contrast[i], err))
            return false;
    lob_benefit_prognosis(s);
    adjust(s);
    LobBenefitContrast *score = registered >= 0 ? &s->contrast[registered] : NULL;
    LobBenefitContrast *marker = score && s->marker ? &s->contrast[LOB_PARTS + registered] : NULL;
    if (marker_alone(s->plan))
        decide(s, marker, NULL);
    else
        decide(s, score, marker);
    return true;
}

bool lob_benefit_evaluate(const LobWorld *world, const LobPlan *plan, const LobTaskResult *results,
                          const LobBagSums *sums, char *const *columns, GError **err) {
    int endpoint = lob_plan_benefit_endpoint(plan), registered = lob_plan_registered_part(plan);
    LobBenefitStudy s = {.world = world,
                         .plan = plan,
                         .registered_part = registered,
                         .reasons = g_ptr_array_new_with_free_func(g_free)};
    g_autoptr(GError) refused = NULL;
    bool ok = true, can = false;
    double start = lob_clock();
    if (endpoint >= 0) {
        s.endpoint = (size_t)endpoint;
        s.competing = plan->cohort->study->endpoints[endpoint].competing != NULL;
        lob_scores_collect(&s.scores, plan, results, s.endpoint, 0);
        s.lp = lob_benefit_predictors(&s.scores, plan->cohort->n_patients);
        if (plan->n_models > 1)
            lob_scores_collect(&s.clinical, plan, results, s.endpoint, 1);
        can = lob_benefit_can(plan->cohort->study, s.endpoint, &refused);
    }
    if (can)
        ok = lob_benefit_marker(&s, sums, columns, err) && lob_benefit_fit_folds(&s, true, err) &&
             lob_benefit_judge(&s, err);
    else {
        s.verdict = lob_verdict_names[LOB_VERDICT_NOT_ESTIMABLE];
        lob_benefit_say(&s, g_strdup(refused ? refused->message : "no survival endpoint"));
    }
    ok = ok && lob_benefit_tables(&s, err);
    if (ok)
        lob_info("benefit: %s, %.1f s", s.verdict, lob_clock() - start);
    lob_benefit_study_clear(&s);
    return ok;
}
