/* What treating by the effect score is worth in held-out centers: doubly robust values of policies, targeting
 * curves, and whether predicted benefit is observed by tertile. Outcomes are pseudo-observations of the
 * restricted mean, made within a center; everything else (expected restricted means, propensities, cuts of
 * tertiles) is of the training centers. */
#include "mpi/validate_benefit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HALVES 200         /* half samples behind the targeting curves' errors */
#define LEAST_CENTER 20    /* patients of a center */
#define WEAK_OVERLAP 0.05  /* of a propensity */
#define LEAST_OVERLAP 0.02 /* where it is trimmed */
#define MANY_CENTERS 5     /* from here on errors are clustered by center */

typedef struct {
    size_t n, weak, dropped;
    double tau;
    double *time, *y;
    uint8_t *event;
    uint32_t *center, *arm, *tertile, *patient;
    int8_t *advised;           /* the program's recommendation: with the part, without it, -1 undecided */
    double *price;             /* days that the part's adverse events cost */
    double *mean, *propensity; /* [n][2] expected restricted means and probabilities without and with */
    double *gain, *gain_risk;  /* predicted benefit: with effects, from risk alone */
    double *scores;            /* [n][2] doubly robust */
} Pool;

static void pool_init(Pool *pool, size_t n, double tau) {
    n = MAX(n, 1);
    *pool = (Pool){.tau = tau,
                   .time = g_new(double, n),
                   .y = g_new(double, n),
                   .event = g_new(uint8_t, n),
                   .center = g_new(uint32_t, n),
                   .arm = g_new(uint32_t, n),
                   .tertile = g_new(uint32_t, n),
                   .patient = g_new(uint32_t, n),
                   .advised = g_new(int8_t, n),
                   .price = g_new(double, n),
                   .mean = g_new(double, 2 * n),
                   .propensity = g_new(double, 2 * n),
                   .gain = g_new(double, n),
                   .gain_risk = g_new(double, n),
                   .scores = g_new(double, 2 * n)};
}

static void pool_clear(Pool *pool) {
    g_free(pool->time);
    g_free(pool->y);
    g_free(pool->event);
    g_free(pool->center);
    g_free(pool->arm);
    g_free(pool->tertile);
    g_free(pool->patient);
    g_free(pool->advised);
    g_free(pool->price);
    g_free(pool->mean);
    g_free(pool->propensity);
    g_free(pool->gain);
    g_free(pool->gain_risk);
    g_free(pool->scores);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Pool, pool_clear)

static int arm_with(const LobBenefitModel *model, int part, int with, int other) {
    for (size_t a = 0; a < model->n_arms; a++)
        if (model->arms[a].code[part] == with && model->arms[a].code[1 - part] == other)
            return (int)a;
    return -1;
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void lob_benefit_third_cuts(const LobBenefit *fit, int part, double tau, double cut[2]) {
    LobBenefitCases cases;
    size_t arms = fit->model.n_arms, n = fit->n_train;
    int with = arm_with(&fit->model, part, 1, 0), without = arm_with(&fit->model, part, 0, 0);
    g_autofree double *rmst = g_new(double, n *arms + 1), *gain = g_new(double, n + 1);
    lob_benefit_own_cases(fit, fit->train, n, &cases);
    lob_benefit_model_rmst(&fit->model, &cases, tau, true, rmst);
    for (size_t i = 0; i < n; i++)
        gain[i] = rmst[i * arms + (size_t)with] - rmst[i * arms + (size_t)without];
    qsort(gain, n, sizeof *gain, compare_doubles);
    cut[0] = gain[n / 3];
    cut[1] = gain[2 * n / 3];
    lob_benefit_cases_clear(&cases);
}

/* Whether the program's own recommendation has the part in it. */
static int8_t advice_of(const LobBenefitStudy *s, const LobBenefitFold *fold, int part, size_t i) {
    const LobAdviceFrame frame = lob_benefit_frame(s);
    LobAdvice advice = {.earned = lob_benefit_is_earned(s)};
    lob_advice_take(&advice, &fold->prediction, i);
    const char *arm = lob_advice_recommend(&frame, &advice);
    for (size_t a = 0; a < frame.n_arms; a++)
        if (strcmp(arm, frame.arms[a].name) == 0)
            return (int8_t)frame.arms[a].code[part];
    return -1;
}

/* An unknown probability costs as if it were certain: as in recommending. */
static double price_of(const LobBenefitStudy *s, const double *adverse, int with, int without) {
    const double more = adverse[with] - adverse[without];
    return s->plan->cohort->study->model.wish.penalty_days * (isnan(more) ? 1 : more);
}

static void pool_add(Pool *pool, const LobBenefitStudy *s, const LobBenefitFold *fold, int part, size_t i,
                     const double *rmst, const double *risk, const double cut[2]) {
    const LobBenefit *fit = &fold->fit;
    uint32_t p = fit->held_out[i];
    size_t arms = fit->model.n_arms, at = pool->n;
    int other = fit->code[p * LOB_PARTS + (size_t)(1 - part)];
    int with = arm_with(&fit->model, part, 1, other), without = arm_with(&fit->model, part, 0, other);
    double e = fit->part[part].propensity[p];
    if (other < 0 || with < 0 || without < 0 || isnan(e) || isnan(rmst[i * arms + (size_t)with]))
        return;
    const double *own = rmst + i * arms, *by_risk = risk + i * arms;
    pool->n++;
    pool->weak += e < WEAK_OVERLAP || e > 1 - WEAK_OVERLAP;
    e = CLAMP(e, LEAST_OVERLAP, 1 - LEAST_OVERLAP);
    pool->time[at] = s->plan->cohort->time[s->endpoint][p];
    pool->event[at] = s->plan->cohort->event[s->endpoint][p] == 1;
    pool->center[at] = s->plan->cohort->patients[p].center;
    pool->arm[at] = (uint32_t)fit->code[p * LOB_PARTS + (size_t)part];
    pool->patient[at] = p;
    pool->advised[at] = advice_of(s, fold, part, i);
    pool->price[at] = price_of(s, fold->prediction.adverse + i * arms, with, without);
    pool->mean[2 * at] = own[without];
    pool->mean[2 * at + 1] = own[with];
    pool->propensity[2 * at] = 1 - e;
    pool->propensity[2 * at + 1] = e;
    pool->gain[at] = own[with] - own[without];
    pool->gain_risk[at] = by_risk[with] - by_risk[without];
    pool->tertile[at] = pool->gain[at] >= cut[1] ? 2 : pool->gain[at] >= cut[0] ? 1 : 0;
}

static void pool_fill(Pool *pool, const LobBenefitStudy *s, int part) {
    double tau = INFINITY;
    for (size_t f = 0; f < s->n_folds; f++)
        if (s->folds[f].fit.part[part].estimable)
            tau = fmin(tau, s->folds[f].fit.tau);
    pool_init(pool, s->plan->cohort->n_patients, tau);
    for (size_t f = 0; f < s->n_folds; f++) {
        const LobBenefit *fit = &s->folds[f].fit;
        LobBenefitCases cases;
        double cut[2];
        if (!fit->part[part].estimable)
            continue;
        size_t n = fit->n_held_out * fit->model.n_arms + 1;
        g_autofree double *rmst = g_new(double, n), *risk = g_new(double, n);
        if (s->locked)
            memcpy(cut, s->locked->third[part], sizeof cut);
        else
            lob_benefit_third_cuts(fit, part, tau, cut);
        lob_benefit_own_cases(fit, fit->held_out, fit->n_held_out, &cases);
        lob_benefit_model_rmst(&fit->model, &cases, tau, true, rmst);
        lob_benefit_model_rmst(&fit->model, &cases, tau, false, risk);
        for (size_t i = 0; i < fit->n_held_out; i++)
            if (lob_cohort_usable(s->plan->cohort, s->endpoint, fit->held_out[i]))
                pool_add(pool, s, &s->folds[f], part, i, rmst, risk, cut);
        lob_benefit_cases_clear(&cases);
    }
}

/* Pseudo-observations of one center, NAN where its follow-up does not reach tau. */
static void center_outcomes(Pool *pool, uint32_t center) {
    g_autofree size_t *row = g_new(size_t, pool->n + 1);
    g_autofree double *time = g_new(double, pool->n + 1), *y = g_new(double, pool->n + 1);
    g_autofree uint8_t *event = g_new(uint8_t, pool->n + 1);
    size_t n = 0;
    for (size_t i = 0; i < pool->n; i++)
        if (pool->center[i] == center) {
            time[n] = pool->time[i];
            event[n] = pool->event[i];
            row[n++] = i;
        }
    LobFollowUp data = {.n = n, .time = time, .event = event};
    bool known = n >= LEAST_CENTER && lob_pseudo_rmst(&data, pool->tau, y);
    for (size_t i = 0; i < n; i++)
        pool->y[row[i]] = known ? y[i] : NAN;
}

static void move_row(Pool *pool, size_t to, size_t from) {
    pool->time[to] = pool->time[from];
    pool->event[to] = pool->event[from];
    pool->y[to] = pool->y[from];
    pool->center[to] = pool->center[from];
    pool->arm[to] = pool->arm[from];
    pool->tertile[to] = pool->tertile[from];
    pool->patient[to] = pool->patient[from];
    pool->advised[to] = pool->advised[from];
    pool->price[to] = pool->price[from];
    pool->gain[to] = pool->gain[from];
    pool->gain_risk[to] = pool->gain_risk[from];
    memmove(pool->mean + 2 * to, pool->mean + 2 * from, 2 * sizeof(double));
    memmove(pool->propensity + 2 * to, pool->propensity + 2 * from, 2 * sizeof(double));
}

static void pool_score(Pool *pool, size_t n_centers) {
    size_t n = 0;
    for (uint32_t c = 0; c < n_centers; c++)
        center_outcomes(pool, c);
    for (size_t i = 0; i < pool->n; i++)
        if (!isnan(pool->y[i]))
            move_row(pool, n++, i);
    pool->dropped = pool->n - n;
    pool->n = n;
    lob_aipw_scores(pool->y, pool->arm, pool->mean, pool->propensity, n, 2, pool->scores);
}

/* ---- rows ---- */

typedef struct {
    const LobBenefitSheet *sheet;
    const Pool *pool;
    size_t events, n_centers;
    char *note;
} Writer;

static void write_row(const Writer *w, const char *metric, LobEstimate e, size_t n) {
    if (!e.reason)
        e.reason = w->note;
    lob_benefit_row(w->sheet, "pooled", metric, e, n, w->events);
}

/* Mean over the rows that are taken (all where NULL). */
static LobEstimate mean_of(const Writer *w, const double *value, const bool *taken, size_t *n) {
    g_autofree double *v = g_new(double, w->pool->n + 1);
    g_autofree uint32_t *policy = g_new0(uint32_t, w->pool->n + 1);
    g_autofree uint32_t *center = g_new(uint32_t, w->pool->n + 1);
    *n = 0;
    for (size_t i = 0; i < w->pool->n; i++)
        if (!taken || taken[i]) {
            v[*n] = value[i];
            center[(*n)++] = w->pool->center[i];
        }
    return lob_policy_value(v, policy, *n, 1, w->n_centers >= MANY_CENTERS ? center : NULL);
}

static void value_row(const Writer *w, const char *metric, const double *value) {
    size_t n;
    LobEstimate e = mean_of(w, value, NULL, &n);
    write_row(w, metric, e, n);
}

/* Values of policies, and what the program's recommendation gains over the others. Where it is undecided,
 * what was done is left. */
static void policies(const Writer *w, const LobBenefitStudy *s, const int8_t *rule) {
    const Pool *pool = w->pool;
    const double margin = s->plan->cohort->study->model.wish.margin_days;
    enum { NONE, ALL, OBSERVED, SCORE, RISK, RULE, ADVICE, POLICIES };
    static const char *const names[POLICIES] = {"value_treat_none",       "value_treat_all", "value_observed",
                                                "value_by_effect_score",  "value_by_risk",   "value_by_rule",
                                                "value_by_recommendation"};
    static const char *const over[POLICIES] = {"gain_over_treat_none",
                                               "gain_over_treat_all",
                                               "gain_over_observed",
                                               NULL,
                                               NULL,
                                               "gain_over_rule",
                                               NULL};
    static const LobEstimate not_given = {NAN, NAN, NAN, NAN, "model.benefit.rule is not given"};
    g_autofree double *v = g_new(double, POLICIES * pool->n + 1), *gain = g_new(double, pool->n + 1);
    for (size_t i = 0; i < pool->n; i++) {
        const double *scores = pool->scores + 2 * i;
        const bool treat[POLICIES] = {false,
                                      true,
                                      pool->arm[i] == 1,
                                      pool->gain[i] - pool->price[i] > margin,
                                      pool->gain_risk[i] - pool->price[i] > margin,
                                      rule && rule[pool->patient[i]] == 1,
                                      pool->advised[i] < 0 ? pool->arm[i] == 1 : pool->advised[i] == 1};
        for (size_t k = 0; k < POLICIES; k++)
            v[k * pool->n + i] = scores[treat[k]];
    }
    for (size_t k = 0; k < POLICIES; k++)
        if (k == RULE && !rule)
            write_row(w, names[k], not_given, pool->n);
        else
            value_row(w, names[k], v + k * pool->n);
    for (size_t from = SCORE; from <= ADVICE; from += ADVICE - SCORE)
        for (size_t k = 0; k < POLICIES; k++) {
            g_autofree char *name = !over[k]        ? NULL
                                    : from == SCORE ? g_strdup(over[k])
                                                    : g_strdup_printf("recommendation_%s", over[k]);
            for (size_t i = 0; i < pool->n; i++)
                gain[i] = v[from * pool->n + i] - v[k * pool->n + i];
            if (name && (k != RULE || rule))
                value_row(w, name, gain);
        }
    for (size_t i = 0; i < pool->n; i++)
        gain[i] = v[SCORE * pool->n + i] - v[RISK * pool->n + i];
    value_row(w, "gain_over_risk", gain);
}

/* Secondary: pairs of treated and untreated by rank of predicted benefit, of those whose status at the
 * horizon is known. */
static void concordance(const Writer *w, uint64_t seed) {
    const Pool *pool = w->pool;
    g_autofree uint8_t *treated = g_new(uint8_t, pool->n + 1), *outcome = g_new(uint8_t, pool->n + 1);
    g_autofree double *risk = g_new(double, 2 * pool->n + 1);
    size_t n = 0;
    for (size_t i = 0; i < pool->n; i++) {
        const bool bad = pool->event[i] && pool->time[i] <= pool->tau;
        if (!bad && pool->time[i] < pool->tau)
            continue;
        treated[n] = pool->arm[i] == 1;
        outcome[n] = bad;
        risk[n] = 1 - pool->mean[2 * i] / pool->tau;
        risk[pool->n + n++] = 1 - pool->mean[2 * i + 1] / pool->tau;
    }
    LobEstimate e = lob_c_for_benefit(treated, outcome, risk, risk + pool->n, n, HALVES, seed);
    if (!e.reason)
        e.reason =
            "secondary: depends on the matching, is no proper rule, leaves out who is censored earlier";
    lob_benefit_row(w->sheet, "pooled", "c_for_benefit", e, n, w->events);
}

static void targeting(const Writer *w, uint64_t seed) {
    const Pool *pool = w->pool;
    g_autofree double *contrast = g_new(double, pool->n + 1);
    g_autofree bool *taken = g_new(bool, pool->n + 1);
    for (size_t i = 0; i < pool->n; i++)
        contrast[i] = pool->scores[2 * i + 1] - pool->scores[2 * i];
    write_row(w, "autoc", lob_rate(LOB_RATE_AUTOC, contrast, pool->gain, pool->n, HALVES, seed), pool->n);
    write_row(w, "qini", lob_rate(LOB_RATE_QINI, contrast, pool->gain, pool->n, HALVES, seed), pool->n);
    for (uint32_t third = 0; third < 3; third++) {
        static const char *const observed[] = {"benefit_lowest_third", "benefit_middle_third",
                                               "benefit_highest_third"};
        static const char *const predicted[] = {"predicted_lowest_third", "predicted_middle_third",
                                                "predicted_highest_third"};
        size_t n;
        for (size_t i = 0; i < pool->n; i++)
            taken[i] = pool->tertile[i] == third;
        LobEstimate e = mean_of(w, contrast, taken, &n);
        write_row(w, observed[third], e, n);
        e = mean_of(w, pool->gain, taken, &n);
        write_row(w, predicted[third], e, n);
    }
}

/* What figures are drawn from: the rows behind the values, overlap weights, thirds 1 to 3. */
static void score_rows(const LobBenefitSheet *sheet, const LobBenefitStudy *s, const Pool *pool) {
    for (size_t i = 0; i < pool->n; i++) {
        lob_csv_text(sheet->scores, sheet->contrast->name);
        lob_csv_text(sheet->scores, s->plan->cohort->centers[pool->center[i]]);
        lob_csv_integer(sheet->scores, pool->arm[i]);
        lob_csv_number(sheet->scores, pool->time[i]);
        lob_csv_integer(sheet->scores, pool->event[i]);
        lob_csv_integer(sheet->scores, pool->tertile[i] + 1);
        lob_csv_number(sheet->scores, pool->propensity[2 * i + !pool->arm[i]]);
        lob_csv_number(sheet->scores, pool->gain[i]);
        lob_csv_number(sheet->scores, pool->scores[2 * i + 1] - pool->scores[2 * i]);
        lob_csv_number(sheet->scores, pool->tau);
        lob_csv_end_row(sheet->scores);
    }
}

/* Who meets the clinicians' rule, which speaks of the registered treatment; NULL where none is given. */
static int8_t *rule_of(const LobBenefitSheet *sheet, const LobBenefitStudy *s) {
    const LobCohort *cohort = s->plan->cohort;
    const LobBenefitWish *wish = &cohort->study->model.wish;
    if (wish->n_rule == 0 || sheet->contrast->part != s->registered_part)
        return NULL;
    g_autofree int8_t *meets = g_new(int8_t, cohort->n_patients + 1);
    return lob_cohort_meets_any(cohort, wish->rule, wish->n_rule, meets, NULL) ? g_steal_pointer(&meets)
                                                                               : NULL;
}

void lob_benefit_policy_rows(const LobBenefitSheet *sheet, const LobBenefitStudy *s) {
    int part = sheet->contrast->part;
    g_autofree int8_t *rule = rule_of(sheet, s);
    g_auto(Pool) pool = {0};
    pool_fill(&pool, s, part);
    pool_score(&pool, s->plan->cohort->n_centers);
    Writer w = {.sheet = sheet, .pool = &pool};
    g_autofree bool *seen = g_new0(bool, s->plan->cohort->n_centers + 1);
    for (size_t i = 0; i < pool.n; i++) {
        w.events += pool.event[i];
        w.n_centers += !seen[pool.center[i]];
        seen[pool.center[i]] = true;
    }
    g_autofree char *note = g_strdup_printf("days to %.0f, doubly robust with nuisances from the training "
                                            "centers; %zu patients with a propensity "
                                            "beyond %g; %zu of centers whose follow-up is too short left out",
                                            pool.tau, pool.weak, WEAK_OVERLAP, pool.dropped);
    w.note = note;
    if (pool.n < LEAST_CENTER) {
        write_row(&w, "value_by_effect_score",
                  (LobEstimate){NAN, NAN, NAN, NAN, "no center's follow-up reaches the horizon"}, pool.n);
        return;
    }
    score_rows(sheet, s, &pool);
    policies(&w, s, rule);
    targeting(&w, s->plan->cohort->study->validation.seed);
    concordance(&w, s->plan->cohort->study->validation.seed);
}
