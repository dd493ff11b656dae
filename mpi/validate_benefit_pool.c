/* Held-out patients of all folds as one table, the statistic on it, and its permutation. */
#include "mpi/stop.h"
#include "mpi/validate_benefit.h"

#include <math.h>
#include <string.h>

void lob_benefit_pool_clear(LobBenefitPool *pool) {
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

/* What the contrast is judged by, for each held-out patient of a fold; NAN: unknown. */
static double *modifiers(const LobBenefitStudy *s, const LobBenefitContrast *c, size_t fold,
                         const uint32_t *source) {
    const LobBenefitFold *f = &s->folds[fold];
    const LobBenefit *fit = &f->fit;
    double *score = g_new(double, fit->n_held_out + 1);
    if (!c->marker && s->locked)
        lob_benefit_score_exchanged(fit, c->part, source, score);
    else if (!c->marker && source)
        lob_benefit_score_permuted(fit, c->part, source, score);
    else if (!c->marker)
        lob_benefit_score(fit, c->part, true, score);
    for (size_t i = 0; c->marker && i < fit->n_held_out; i++) {
        uint32_t p = fit->held_out[i];
        score[i] =
            f->marker_sd > 0 ? -(s->marker[source ? source[p] : p] - f->marker_mean) / f->marker_sd : 0;
    }
    return score;
}

static void pool_add(LobBenefitPool *pool, const LobBenefitStudy *s, const LobBenefitContrast *c, size_t fold,
                     uint32_t p, double score, double lp) {
    const LobCohort *cohort = s->plan->cohort;
    const LobBenefit *fit = &s->folds[fold].fit;
    size_t at = pool->n++;
    pool->time[at] = cohort->time[s->endpoint][p];
    pool->event[at] = cohort->event[s->endpoint][p] == 1;
    pool->center[at] = cohort->patients[p].center;
    pool->stratum[at] = (uint32_t)(fold * cohort->n_centers) + pool->center[at];
    pool->cluster[at] = p;
    pool->arm[at] = (uint32_t)fit->code[p * LOB_PARTS + (size_t)c->part];
    pool->weight[at] = fit->part[c->part].weight[p];
    pool->score[at] = score;
    pool->columns[2 * at] = lp;
    pool->columns[2 * at + 1] = fit->code[p * LOB_PARTS + (size_t)(1 - c->part)];
}

void lob_benefit_pool_fill(LobBenefitPool *pool, const LobBenefitStudy *s, const LobBenefitContrast *c,
                           const uint32_t *source) {
    const double *lp = s->lp;
    pool_init(pool, s->plan->cohort->n_patients);
    for (size_t f = 0; f < s->n_folds; f++) {
        const LobBenefit *fit = &s->folds[f].fit;
        const LobBenefitPart *part = &fit->part[c->part];
        if (!part->estimable)
            continue;
        g_autofree double *score = modifiers(s, c, f, source);
        g_autofree double *risk = g_new(double, fit->n_held_out + 1);
        if (s->own_risk)
            lob_benefit_risk(fit, risk);
        for (size_t i = 0; i < fit->n_held_out; i++) {
            uint32_t p = fit->held_out[i];
            const double prognosis = s->own_risk ? risk[i] : lp[p];
            if (fit->code[p * LOB_PARTS] >= 0 && !isnan(prognosis) && !isnan(part->weight[p]) &&
                !isnan(score[i]))
                pool_add(pool, s, c, f, p, score[i], prognosis);
        }
    }
}

static void copy_row(LobBenefitPool *out, const LobBenefitPool *pool, size_t i) {
    const size_t at = out->n++;
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

void lob_benefit_pool_center(LobBenefitPool *out, const LobBenefitPool *pool, uint32_t center) {
    pool_init(out, pool->n);
    for (size_t i = 0; i < pool->n; i++)
        if (pool->center[i] == center)
            copy_row(out, pool, i);
}

void lob_benefit_pool_period(LobBenefitPool *out, const LobBenefitPool *pool, double from, double to) {
    pool_init(out, pool->n);
    for (size_t i = 0; i < pool->n; i++) {
        if (!(pool->time[i] > from))
            continue;
        copy_row(out, pool, i);
        out->event[out->n - 1] = pool->event[i] && pool->time[i] <= to;
        out->time[out->n - 1] = fmin(pool->time[i], to);
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

LobEstimate lob_benefit_interaction(const LobBenefitPool *pool) {
    LobFollowUp data = follow_up(pool);
    g_auto(LobInteraction) result = {0};
    lob_interaction(&result, &data, pool->arm, 2, pool->score, pool->columns, 2);
    return result.interaction[0];
}

LobEstimate lob_benefit_average(const LobBenefitPool *pool) {
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

/* Who takes part: held-out patients whose modifier is known. */
static bool *known_modifiers(const LobBenefitStudy *s, const LobBenefitContrast *c) {
    bool *known = g_new0(bool, s->plan->cohort->n_patients + 1);
    for (size_t f = 0; f < s->n_folds; f++)
        for (size_t i = 0; i < s->folds[f].fit.n_held_out; i++) {
            uint32_t p = s->folds[f].fit.held_out[i];
            known[p] = !c->marker || !isnan(s->marker[p]);
        }
    return known;
}

static void draw_source(const LobBenefitStudy *s, const LobBenefitContrast *c, int draw, uint32_t *source) {
    const LobCohort *cohort = s->plan->cohort;
    size_t n = cohort->n_patients, n_arms = cohort->study->n_arms;
    g_autofree char *stream =
        g_strdup_printf("benefit/permutation/%s%d/%d", c->marker ? "marker/" : "", c->part, draw);
    g_autofree uint32_t *members = g_new(uint32_t, n + 1), *shuffled = g_new(uint32_t, n + 1);
    g_autofree bool *known = known_modifiers(s, c);
    LobRng rng;
    lob_rng_init(&rng, cohort->study->validation.seed, stream);
    for (uint32_t p = 0; p < n; p++)
        source[p] = p;
    for (size_t cell = 0; cell < cohort->n_centers * n_arms; cell++) {
        size_t k = 0;
        for (uint32_t p = 0; p < n; p++)
            if (known[p] && cohort->patients[p].center == cell / n_arms &&
                cohort->arm_at[s->endpoint][p] == (int8_t)(cell % n_arms))
                members[k++] = p;
        memcpy(shuffled, members, k * sizeof *members);
        lob_rng_shuffle(&rng, shuffled, k);
        for (size_t i = 0; i < k; i++)
            source[members[i]] = shuffled[i];
    }
}

bool lob_benefit_draws(const LobBenefitStudy *s, LobBenefitContrast *c, int first, int step, GError **err) {
    g_autofree uint32_t *source = g_new(uint32_t, s->plan->cohort->n_patients + 1);
    for (int draw = first; draw < LOB_BENEFIT_PERMUTATIONS; draw += step) {
        if (lob_run_state() != LOB_RUN_ON)
            return lob_run_stop_error(err);
        draw_source(s, c, draw, source);
        g_auto(LobBenefitPool) pool = {0};
        lob_benefit_pool_fill(&pool, s, c, source);
        LobEstimate e = lob_benefit_interaction(&pool);
        c->draw[draw] = e.estimate / e.se;
    }
    return true;
}

bool lob_benefit_permute(const LobBenefitStudy *s, LobBenefitContrast *c, GError **err) {
    int as_large = 0;
    if (!lob_benefit_draws_shared(s, c, err))
        return false;
    /* A draw without an answer counts against the claim. */
    for (int draw = 0; draw < LOB_BENEFIT_PERMUTATIONS; draw++)
        as_large += !(c->draw[draw] < c->z);
    c->p_permutation = (1.0 + as_large) / (1.0 + LOB_BENEFIT_PERMUTATIONS);
    return true;
}
