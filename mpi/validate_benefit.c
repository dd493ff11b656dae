/* Does the effect score of a fold find, among patients it has not seen, those whom the treatment helps? */
#include "mpi/validate_benefit.h"
#include "mpi/stop.h"

#include <math.h>
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

/* The part whose rarer side is the larger: it has the most power, and no outcome is asked. */
static int registered_part(const LobPlan *plan) {
    const LobCohort *cohort = plan->cohort;
    size_t most = 0;
    int best = -1;
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
    int endpoint = lob_plan_benefit_endpoint(plan), part = registered_part(plan);
    const LobStudy *study = plan->cohort->study;
    LobBenefitOptions o = lob_benefit_defaults(study->validation.seed);
    const char *name = part >= 0 ? lob_benefit_part_name(study, part) : NULL;
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:f, s:i, s:f, s:i, s:i, s:f, s:f, s:f}", "endpoint",
        endpoint >= 0 ? study->endpoints[endpoint].name : "none", "contrast", name ? name : "none",
        "statistic",
        "interaction of treatment and effect score, log hazard ratio per training SD of the score, "
        "in held-out centers: Cox, center-stratified, overlap weights, adjusted for the linear "
        "predictor; z by the robust variance",
        "claim",
        "above 0, with p of a permutation of the modifier within center and arm at or below the level "
        "and the 95 % Hartung-Knapp interval over centers above 0; further contrasts after Holm",
        "level", LOB_BENEFIT_LEVEL, "permutations", LOB_BENEFIT_PERMUTATIONS, "margin_days",
        LOB_BENEFIT_MARGIN_DAYS, "components", (int)o.components, "members", (int)o.members, "min_events",
        o.min_events, "min_effective_size", o.min_size, "max_center_share", o.max_share);
}

/* ---- held-out patients of one part ---- */

static void pool_clear(LobBenefitPool *pool) {
    g_free(pool->time);
    g_free(pool->weight);
    g_free(pool->score);
    g_free(pool->columns);
    g_free(pool->event);
    g_free(pool->stratum);
    g_free(pool->center);
    g_free(pool->arm);
    g_free(pool->cluster);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LobBenefitPool, pool_clear)

static void pool_init(LobBenefitPool *pool, size_t n) {
    n = MAX(n, 1);
    *pool = (LobBenefitPool){0,
                             g_new(double, n),
                             g_new(double, n),
                             g_new(double, n),
                             g_new(double, 2 * n),
                             g_new(uint8_t, n),
                             g_new(uint32_t, n),
                             g_new(uint32_t, n),
                             g_new(uint32_t, n),
                             g_new(uint32_t, n)};
}

/* Linear predictor by patient, NAN where none. */
static double *predictors(const LobBenefitStudy *s) {
    double *lp = g_new(double, s->plan->cohort->n_patients);
    for (size_t p = 0; p < s->plan->cohort->n_patients; p++)
        lp[p] = NAN;
    for (size_t i = 0; i < s->scores.n; i++)
        if (s->scores.scores[i].repeat == 0)
            lp[s->scores.scores[i].patient] = s->scores.scores[i].lp;
    return lp;
}

/* source NULL: the fitted scores; else those of a refit with modifiers exchanged. */
static void pool_fill(LobBenefitPool *pool, const LobBenefitStudy *s, int part, const uint32_t *source) {
    const LobCohort *cohort = s->plan->cohort;
    g_autofree double *lp = predictors(s);
    pool_init(pool, cohort->n_patients);
    for (size_t f = 0; f < s->n_folds; f++) {
        const LobBenefit *fit = &s->folds[f].fit;
        if (!fit->part[part].estimable)
            continue;
        g_autofree double *score = g_new(double, fit->n_held_out + 1);
        if (source)
            lob_benefit_score_permuted(fit, part, source, score);
        else
            lob_benefit_score(fit, part, true, score);
        for (size_t i = 0; i < fit->n_held_out; i++) {
            uint32_t p = fit->held_out[i];
            size_t at = pool->n;
            if (fit->code[p * LOB_PARTS] < 0 || isnan(lp[p]) || isnan(fit->part[part].weight[p]))
                continue;
            pool->n++;
            pool->time[at] = cohort->time[s->endpoint][p];
            pool->event[at] = cohort->event[s->endpoint][p] == 1;
            pool->center[at] = cohort->patients[p].center;
            pool->stratum[at] = (uint32_t)(f * cohort->n_centers) + pool->center[at];
            pool->cluster[at] = p;
            pool->arm[at] = (uint32_t)fit->code[p * LOB_PARTS + (size_t)part];
            pool->weight[at] = fit->part[part].weight[p];
            pool->score[at] = score[i];
            pool->columns[2 * at] = lp[p];
            pool->columns[2 * at + 1] = fit->code[p * LOB_PARTS + (size_t)(1 - part)];
        }
    }
}

/* Rows of one center. */
static void pool_center(LobBenefitPool *out, const LobBenefitPool *pool, uint32_t center) {
    pool_init(out, pool->n);
    for (size_t i = 0; i < pool->n; i++) {
        size_t at = out->n;
        if (pool->center[i] != center)
            continue;
        out->n++;
        out->time[at] = pool->time[i];
        out->event[at] = pool->event[i];
        out->center[at] = pool->center[i];
        out->stratum[at] = pool->stratum[i];
        out->cluster[at] = pool->cluster[i];
        out->arm[at] = pool->arm[i];
        out->weight[at] = pool->weight[i];
        out->score[at] = pool->score[i];
        out->columns[2 * at] = pool->columns[2 * i];
        out->columns[2 * at + 1] = pool->columns[2 * i + 1];
    }
}

static LobFollowUp follow_up(const LobBenefitPool *pool) {
    return (LobFollowUp){.n = pool->n,
                         .time = pool->time,
                         .event = pool->event,
                         .weight = pool->weight,
                         .stratum = pool->stratum,
                         .cluster = pool->cluster};
}

static LobEstimate interaction_of(const LobBenefitPool *pool) {
    LobFollowUp data = follow_up(pool);
    g_auto(LobInteraction) result = {0};
    lob_interaction(&result, &data, pool->arm, 2, pool->score, pool->columns, 2);
    return result.interaction[0];
}

/* Log hazard ratio of the part at the same linear predictor. */
static LobEstimate average_of(const LobBenefitPool *pool) {
    LobFollowUp data = follow_up(pool);
    g_autofree double *x = g_new(double, 3 * pool->n + 1);
    for (size_t i = 0; i < pool->n; i++) {
        x[3 * i] = pool->arm[i];
        x[3 * i + 1] = pool->columns[2 * i];
        x[3 * i + 2] = pool->columns[2 * i + 1];
    }
    g_auto(LobCox) fit = {0};
    lob_cox_fit(&fit, &data, &(LobCoxDesign){.p = 3, .x = x, .robust = true});
    if (isnan(fit.beta[0]))
        return (LobEstimate){NAN, NAN, NAN, NAN, fit.reason ? fit.reason : "one arm only"};
    double se = fit.robust_se[0], z = lob_normal_quantile(0.975);
    return (LobEstimate){fit.beta[0], se, fit.beta[0] - z * se, fit.beta[0] + z * se, NULL};
}

/* ---- the permutation: modifiers exchanged within center and arm ---- */

static void draw_source(const LobBenefitStudy *s, int part, int draw, uint32_t *source) {
    const LobCohort *cohort = s->plan->cohort;
    size_t n = cohort->n_patients, n_arms = cohort->study->n_arms;
    g_autofree char *stream = g_strdup_printf("benefit/permutation/%d/%d", part, draw);
    g_autofree uint32_t *members = g_new(uint32_t, n + 1), *shuffled = g_new(uint32_t, n + 1);
    g_autofree bool *scored = g_new0(bool, n + 1);
    LobRng rng;
    lob_rng_init(&rng, cohort->study->validation.seed, stream);
    for (uint32_t p = 0; p < n; p++)
        source[p] = p;
    for (size_t f = 0; f < s->n_folds; f++)
        for (size_t i = 0; i < s->folds[f].fit.n_held_out; i++)
            scored[s->folds[f].fit.held_out[i]] = true;
    for (size_t cell = 0; cell < cohort->n_centers * n_arms; cell++) {
        size_t k = 0;
        for (uint32_t p = 0; p < n; p++)
            if (scored[p] && cohort->patients[p].center == cell / n_arms &&
                cohort->arm_at[s->endpoint][p] == (int8_t)(cell % n_arms))
                members[k++] = p;
        memcpy(shuffled, members, k * sizeof *members);
        lob_rng_shuffle(&rng, shuffled, k);
        for (size_t i = 0; i < k; i++)
            source[members[i]] = shuffled[i];
    }
}

static bool permute(LobBenefitStudy *s, int part, GError **err) {
    LobBenefitContrast *c = &s->contrast[part];
    g_autofree uint32_t *source = g_new(uint32_t, s->plan->cohort->n_patients + 1);
    int as_large = 0;
    for (int draw = 0; draw < LOB_BENEFIT_PERMUTATIONS; draw++) {
        if (lob_run_state() != LOB_RUN_ON)
            return lob_run_stop_error(err);
        draw_source(s, part, draw, source);
        g_auto(LobBenefitPool) pool = {0};
        pool_fill(&pool, s, part, source);
        LobEstimate e = interaction_of(&pool);
        /* A draw without an answer counts against the claim. */
        as_large += !(e.estimate / e.se < c->z);
    }
    c->p_permutation = (1.0 + as_large) / (1.0 + LOB_BENEFIT_PERMUTATIONS);
    return true;
}

/* ---- one contrast ---- */

static void by_center(LobBenefitStudy *s, LobBenefitContrast *c, const LobBenefitPool *pool) {
    size_t n_centers = s->plan->cohort->n_centers, k = 0;
    g_autofree double *estimate = g_new(double, n_centers), *se = g_new(double, n_centers);
    for (uint32_t i = 0; i < n_centers; i++) {
        size_t events[2] = {0, 0};
        g_auto(LobBenefitPool) own = {0};
        pool_center(&own, pool, i);
        for (size_t r = 0; r < own.n; r++)
            events[own.arm[r]] += own.event[r];
        c->center_n[i] = own.n;
        c->center_events[i] = events[0] + events[1];
        c->center[i] = (LobEstimate){NAN, NAN, NAN, NAN, "too few events in an arm"};
        if (MIN(events[0], events[1]) < LOB_BENEFIT_CENTER_EVENTS)
            continue;
        c->center[i] = interaction_of(&own);
        if (!isfinite(c->center[i].estimate) || c->center[i].reason)
            continue;
        estimate[k] = c->center[i].estimate;
        se[k++] = c->center[i].se;
    }
    LobMetaOptions options = {LOB_TAU2_REML, true, true};
    c->meta = lob_meta(estimate, se, k, &options);
}

static char *first_reason(const LobBenefitStudy *s, int part) {
    for (size_t f = 0; f < s->n_folds; f++)
        if (s->folds[f].fit.part[part].reason)
            return g_strdup_printf("without %s: %s", s->plan->folds->names[s->folds[f].view->fold],
                                   s->folds[f].fit.part[part].reason);
    return g_strdup("no held-out patient could be scored");
}

static char *pool_guard(LobBenefitContrast *c, const LobBenefitPool *pool, const LobBenefitOptions *o) {
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

static bool judge(LobBenefitStudy *s, int part, GError **err) {
    LobBenefitContrast *c = &s->contrast[part];
    size_t n_centers = s->plan->cohort->n_centers;
    c->center = g_new0(LobEstimate, n_centers);
    c->center_n = g_new0(size_t, n_centers);
    c->center_events = g_new0(size_t, n_centers);
    c->p_permutation = c->p_holm = NAN;
    if (!c->name)
        return true;
    for (size_t f = 0; f < s->n_folds; f++)
        c->n_folds += s->folds[f].fit.part[part].estimable;
    if (2 * c->n_folds <= s->n_folds) {
        c->reason = first_reason(s, part);
        return true;
    }
    g_auto(LobBenefitPool) pool = {0};
    pool_fill(&pool, s, part, NULL);
    c->reason = pool_guard(c, &pool, &s->folds[0].fit.options);
    if (c->reason)
        return true;
    lob_info(
        "benefit of %s: with %zu events an interaction of %.2f log hazard per SD would be found in 80 %% of "
        "studies",
        c->name, c->events, c->detectable);
    c->pooled = interaction_of(&pool);
    c->average = average_of(&pool);
    by_center(s, c, &pool);
    if (!isfinite(c->pooled.estimate) || !(c->pooled.se > 0)) {
        c->reason = g_strdup(c->pooled.reason ? c->pooled.reason : "the effect score does not vary");
        return true;
    }
    c->z = c->pooled.estimate / c->pooled.se;
    c->estimable = true;
    return permute(s, part, err);
}

/* ---- the verdict ---- */

static void prognosis(LobBenefitStudy *s) {
    const LobCohort *cohort = s->plan->cohort;
    g_autofree double *lp = predictors(s);
    g_autofree double *c = g_new(double, cohort->n_centers), *se = g_new(double, cohort->n_centers);
    g_autofree double *time = g_new(double, cohort->n_patients), *score = g_new(double, cohort->n_patients);
    g_autofree uint8_t *event = g_new(uint8_t, cohort->n_patients);
    size_t k = 0;
    for (size_t center = 0; center < cohort->n_centers; center++) {
        size_t n = 0;
        for (size_t p = 0; p < cohort->n_patients; p++) {
            if (cohort->patients[p].center != center || isnan(lp[p]))
                continue;
            time[n] = cohort->time[s->endpoint][p];
            event[n] = cohort->event[s->endpoint][p] == 1;
            score[n++] = lp[p];
        }
        LobFollowUp data = {.n = n, .time = time, .event = event};
        g_auto(LobConcordance) result = {0};
        lob_concordance(&result, &data, score, NULL);
        c[k] = result.c;
        se[k++] = result.se;
    }
    LobMetaOptions options = {LOB_TAU2_REML, true, true};
    s->prognosis = lob_meta_of_c(c, se, k, &options);
}

/* Holm over the contrasts: of two, the smaller p counts twice. */
static void adjust(LobBenefitStudy *s) {
    size_t n = 0;
    double smaller = NAN;
    for (int f = 0; f < LOB_PARTS; f++)
        if (s->contrast[f].estimable) {
            n++;
            smaller = fmin(smaller, s->contrast[f].p_permutation);
        }
    for (int f = 0; f < LOB_PARTS; f++) {
        LobBenefitContrast *c = &s->contrast[f];
        if (!c->estimable)
            continue;
        bool first = c->p_permutation <= smaller;
        c->p_holm =
            fmin(1, first ? (double)n * c->p_permutation : fmax((double)n * smaller, c->p_permutation));
        double p = c->registered ? c->p_permutation : c->p_holm;
        c->claimed = p <= LOB_BENEFIT_LEVEL && c->pooled.estimate > 0 && c->meta.k >= 2 && c->meta.lower > 0;
    }
}

static void say(LobBenefitStudy *s, char *text) {
    g_ptr_array_add(s->reasons, text);
}

static void decide(LobBenefitStudy *s, const LobBenefitContrast *c) {
    bool prognostic = s->prognosis.lower > 0.5;
    say(s,
        g_strdup_printf("concordance over held-out centers %.3f (%.3f to %.3f), conditional on the trained "
                        "models",
                        s->prognosis.mu, s->prognosis.lower, s->prognosis.upper));
    if (!c || !c->estimable) {
        s->verdict = "not estimable";
        say(s,
            g_strdup_printf("%s: %s", c ? c->name : "treatment", c ? c->reason : "no contrast in the arms"));
        return;
    }
    say(s, g_strdup_printf(
               "%s: interaction %.3f per SD (%.3f to %.3f), permutation p %.3f; Hartung-Knapp over %zu "
               "centers %.3f to %.3f",
               c->name, c->pooled.estimate, c->pooled.lower, c->pooled.upper, c->p_permutation, c->meta.k,
               c->meta.lower, c->meta.upper));
    say(s, g_strdup_printf("%s: average log hazard ratio %.3f (%.3f to %.3f)", c->name, c->average.estimate,
                           c->average.lower, c->average.upper));
    if (c->claimed)
        s->verdict = "relative effect modification";
    else if (prognostic && c->average.upper < 0)
        s->verdict = "absolute benefit through risk only";
    else
        s->verdict = prognostic ? "prognostic" : "nothing shown";
}

/* ---- the whole ---- */

static bool fit_folds(LobBenefitStudy *s, const LobBags *bags, GError **err) {
    const LobPlan *plan = s->plan;
    uint64_t seed = plan->cohort->study->validation.seed;
    LobBenefitOptions options = lob_benefit_defaults(seed);
    s->folds = g_new0(LobBenefitFold, (size_t)plan->folds->folds);
    for (int f = 0; f < plan->folds->folds; f++) {
        LobBenefitFold *fold = &s->folds[s->n_folds];
        if (lob_run_state() != LOB_RUN_ON)
            return lob_run_stop_error(err);
        fold->view = lob_view_new(plan->cohort, plan->folds, s->endpoint, 0, f, seed, err);
        if (!fold->view)
            return false;
        s->n_folds++;
        options.seed = seed + (uint64_t)f;
        if (!lob_benefit_fit(&fold->fit, fold->view, bags, &options, err))
            return false;
        lob_benefit_predict(&fold->fit, &fold->prediction);
    }
    return true;
}

static void study_clear(LobBenefitStudy *s) {
    for (size_t f = 0; f < s->n_folds; f++) {
        lob_benefit_prediction_clear(&s->folds[f].prediction);
        lob_benefit_clear(&s->folds[f].fit);
        lob_view_free(s->folds[f].view);
    }
    for (int f = 0; f < LOB_PARTS; f++) {
        g_free(s->contrast[f].reason);
        g_free(s->contrast[f].center);
        g_free(s->contrast[f].center_n);
        g_free(s->contrast[f].center_events);
    }
    g_free(s->folds);
    lob_scores_clear(&s->scores);
    g_ptr_array_free(s->reasons, TRUE);
}

bool lob_benefit_evaluate(const LobPlan *plan, const LobTaskResult *results, const LobBags *bags,
                          GError **err) {
    int endpoint = lob_plan_benefit_endpoint(plan), registered = registered_part(plan);
    LobBenefitStudy s = {.plan = plan, .reasons = g_ptr_array_new_with_free_func(g_free)};
    g_autoptr(GError) refused = NULL;
    bool ok = true, can = false;
    double start = lob_clock();
    if (endpoint >= 0) {
        s.endpoint = (size_t)endpoint;
        lob_scores_collect(&s.scores, plan, results, s.endpoint, 0);
        can = lob_benefit_can(plan->cohort->study, s.endpoint, &refused);
    }
    if (can)
        ok = fit_folds(&s, bags, err);
    for (int f = 0; ok && can && f < LOB_PARTS; f++) {
        s.contrast[f].name = lob_benefit_part_name(plan->cohort->study, f);
        s.contrast[f].registered = f == registered;
        ok = judge(&s, f, err);
    }
    if (ok && can) {
        prognosis(&s);
        adjust(&s);
        decide(&s, registered >= 0 ? &s.contrast[registered] : NULL);
    } else if (ok) {
        s.verdict = "not estimable";
        say(&s, g_strdup(refused ? refused->message : "no survival endpoint"));
    }
    ok = ok && lob_benefit_tables(&s, err);
    if (ok)
        lob_info("benefit: %s, %.1f s", s.verdict, lob_clock() - start);
    study_clear(&s);
    return ok;
}
