/* From the fitted log hazards to survival and restricted means of each arm, with a bootstrap spread. */
#include "model/benefit_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One set of coefficients: the fit itself or a bootstrap member. */
typedef struct {
    double *main, *gamma[LOB_PARTS];
    double hazard[2][LOB_BENEFIT_GRID + 1]; /* cumulative baseline: with effects, from main alone */
} Member;

static void member_init(Member *member, const LobBenefit *benefit) {
    member->main = g_memdup2(benefit->main, benefit->n_main * sizeof(double));
    for (int f = 0; f < LOB_PARTS; f++)
        member->gamma[f] = g_memdup2(benefit->part[f].gamma, (benefit->k + 1) * sizeof(double));
}

static void member_clear(Member *member) {
    g_free(member->main);
    for (int f = 0; f < LOB_PARTS; f++)
        g_free(member->gamma[f]);
}

static double eta_of(const LobBenefit *benefit, const Member *member, uint32_t p, const int *code,
                     bool effects) {
    double eta = lob_benefit_main_eta(benefit, member->main, p, code);
    for (int f = 0; effects && f < LOB_PARTS; f++)
        if (benefit->part[f].estimable)
            eta += (code[f] - 0.5) * lob_benefit_effect(benefit, member->gamma[f], p);
    return eta;
}

/* ---- baseline of an average center (Breslow over all training patients) ---- */

static int compare_times(const void *a, const void *b, void *user) {
    const LobBenefit *benefit = user;
    size_t i = *(const size_t *)a, j = *(const size_t *)b;
    double x = benefit->view->time[benefit->train[i]], y = benefit->view->time[benefit->train[j]];
    return x < y ? 1 : x > y ? -1 : (i > j) - (i < j);
}

static void baseline(const LobBenefit *benefit, const Member *member, const double *counts, bool effects,
                     double *hazard) {
    const LobView *view = benefit->view;
    size_t n = benefit->n_train;
    g_autofree size_t *order = g_new(size_t, n + 1);
    double at_risk = 0;
    for (size_t i = 0; i < n; i++)
        order[i] = i;
    qsort_r(order, n, sizeof *order, compare_times, (void *)benefit);
    memset(hazard, 0, (LOB_BENEFIT_GRID + 1) * sizeof *hazard);
    for (size_t at = 0; at < n;) {
        double time = view->time[benefit->train[order[at]]], deaths = 0;
        for (; at < n && view->time[benefit->train[order[at]]] >= time; at++) {
            uint32_t p = benefit->train[order[at]];
            double weight = counts ? counts[order[at]] : 1;
            int code[LOB_PARTS] = {benefit->code[p * LOB_PARTS], benefit->code[p * LOB_PARTS + 1]};
            at_risk += weight * exp(eta_of(benefit, member, p, code, effects));
            deaths += view->event[p] == 1 ? weight : 0;
        }
        double slot = benefit->tau > 0 ? ceil(time / benefit->tau * LOB_BENEFIT_GRID) : INFINITY;
        if (slot <= LOB_BENEFIT_GRID && at_risk > 0)
            hazard[(size_t)fmax(slot, 0)] += deaths / at_risk;
    }
    for (size_t i = 1; i <= LOB_BENEFIT_GRID; i++)
        hazard[i] += hazard[i - 1];
}

/* ---- bootstrap ---- */

/* How often each training patient is drawn, within centers. */
static void draw_counts(const LobBenefit *benefit, size_t member, double *counts) {
    const LobCohort *cohort = benefit->view->cohort;
    g_autofree char *stream = g_strdup_printf("benefit/member/%zu", member);
    g_autofree size_t *own = g_new(size_t, benefit->n_train + 1);
    LobRng rng;
    lob_rng_init(&rng, benefit->options.seed, stream);
    memset(counts, 0, benefit->n_train * sizeof *counts);
    for (uint32_t c = 0; c < cohort->n_centers; c++) {
        size_t n = 0;
        for (size_t i = 0; i < benefit->n_train; i++)
            if (cohort->patients[benefit->train[i]].center == c)
                own[n++] = i;
        for (size_t draw = 0; draw < n; draw++)
            counts[own[lob_rng_below(&rng, (uint32_t)n)]] += 1;
    }
}

static void refit(LobBenefit *benefit, size_t index, Member *member) {
    g_autofree double *counts = g_new(double, benefit->n_train + 1);
    draw_counts(benefit, index, counts);
    lob_benefit_fit_main(benefit, counts, false, member->main);
    for (int f = 0; f < LOB_PARTS; f++) {
        double ridge = benefit->part[f].ridge;
        if (benefit->part[f].estimable)
            lob_benefit_fit_effect(benefit, f, &(LobBenefitRefit){member->main, NULL, counts}, &ridge,
                                   member->gamma[f]);
    }
    baseline(benefit, member, counts, true, member->hazard[0]);
    baseline(benefit, member, counts, false, member->hazard[1]);
}

/* ---- predictions ---- */

static double restricted_mean(const LobBenefit *benefit, const double *hazard, double eta) {
    double sum = 0, risk = exp(eta), before = 1;
    for (size_t i = 1; i <= LOB_BENEFIT_GRID; i++) {
        double now = exp(-hazard[i] * risk);
        sum += (before + now) / 2;
        before = now;
    }
    return sum * benefit->tau / LOB_BENEFIT_GRID;
}

static double survival_at(const LobBenefit *benefit, const double *hazard, double eta, double t) {
    if (!(t <= benefit->tau) || !(benefit->tau > 0))
        return NAN;
    double at = t / benefit->tau * LOB_BENEFIT_GRID;
    size_t i = MIN((size_t)at, LOB_BENEFIT_GRID - 1);
    double h = hazard[i] + (at - (double)i) * (hazard[i + 1] - hazard[i]);
    return exp(-h * exp(eta));
}

/* An arm is predicted where all its parts are estimable. */
static bool arm_is_estimable(const LobBenefit *benefit, size_t arm) {
    const LobArmLevel *level = &benefit->view->cohort->study->arms[arm];
    for (int f = 0; f < LOB_PARTS; f++)
        if (level->code[f] && !benefit->part[f].estimable)
            return false;
    return true;
}

/* out [n_held_out][n_arms] */
static void means(const LobBenefit *benefit, const Member *member, bool effects, double *out) {
    const LobStudy *study = benefit->view->cohort->study;
    for (size_t i = 0; i < benefit->n_held_out; i++)
        for (size_t k = 0; k < study->n_arms; k++)
            out[i * study->n_arms + k] = arm_is_estimable(benefit, k)
                                             ? restricted_mean(benefit, member->hazard[effects ? 0 : 1],
                                                               eta_of(benefit, member, benefit->held_out[i],
                                                                      study->arms[k].code, effects))
                                             : NAN;
}

size_t lob_benefit_reference_arm(const LobStudy *study) {
    for (size_t k = 0; k < study->n_arms; k++)
        if (study->arms[k].code[0] == 0 && study->arms[k].code[1] == 0)
            return k;
    return 0;
}

static void add_moments(const LobBenefit *benefit, const double *rmst, double *sum, double *square) {
    size_t arms = benefit->view->cohort->study->n_arms;
    size_t reference = lob_benefit_reference_arm(benefit->view->cohort->study);
    for (size_t i = 0; i < benefit->n_held_out * arms; i++) {
        double difference = rmst[i] - rmst[i / arms * arms + reference];
        sum[i] += difference;
        square[i] += difference * difference;
    }
}

static void spread(LobBenefit *benefit, LobBenefitPrediction *out) {
    size_t n = benefit->n_held_out * out->n_arms, members = benefit->options.members;
    g_autofree double *rmst = g_new(double, n + 1), *sums = g_new0(double, 4 * n + 1);
    for (size_t m = 0; m < members; m++) {
        Member member;
        member_init(&member, benefit);
        refit(benefit, m, &member);
        for (int risk = 0; risk < 2; risk++) {
            means(benefit, &member, risk == 0, rmst);
            add_moments(benefit, rmst, sums + (size_t)(2 * risk) * n, sums + (size_t)(2 * risk + 1) * n);
        }
        member_clear(&member);
    }
    for (size_t i = 0; i < n; i++) {
        double *const sd[2] = {out->sd, out->sd_risk};
        for (size_t r = 0; r < 2; r++) {
            double mean = sums[2 * r * n + i] / (double)members;
            double variance = sums[(2 * r + 1) * n + i] / (double)members - mean * mean;
            sd[r][i] = members > 1 ? sqrt(fmax(variance, 0) * (double)members / (double)(members - 1)) : NAN;
        }
    }
}

static void survivals(const LobBenefit *benefit, const Member *member, LobBenefitPrediction *out) {
    const LobStudy *study = benefit->view->cohort->study;
    const LobEndpoint *endpoint = &study->endpoints[benefit->view->endpoint];
    for (size_t i = 0; i < benefit->n_held_out; i++)
        for (size_t k = 0; k < out->n_arms; k++) {
            double eta = eta_of(benefit, member, benefit->held_out[i], study->arms[k].code, true);
            for (size_t h = 0; h < out->n_horizons; h++)
                out->survival[(i * out->n_arms + k) * out->n_horizons + h] =
                    arm_is_estimable(benefit, k)
                        ? survival_at(benefit, member->hazard[0], eta, endpoint->horizons[h])
                        : NAN;
        }
}

void lob_benefit_predict(LobBenefit *benefit, LobBenefitPrediction *out) {
    const LobStudy *study = benefit->view->cohort->study;
    size_t arms = study->n_arms, n = benefit->n_held_out * arms + 1;
    *out = (LobBenefitPrediction){.n_arms = arms,
                                  .n_horizons = study->endpoints[benefit->view->endpoint].n_horizons,
                                  .rmst = g_new(double, n),
                                  .rmst_risk = g_new(double, n),
                                  .sd = g_new(double, n),
                                  .sd_risk = g_new(double, n)};
    out->survival = g_new(double, n *MAX(out->n_horizons, 1));
    Member member;
    member_init(&member, benefit);
    baseline(benefit, &member, NULL, true, member.hazard[0]);
    baseline(benefit, &member, NULL, false, member.hazard[1]);
    means(benefit, &member, true, out->rmst);
    means(benefit, &member, false, out->rmst_risk);
    survivals(benefit, &member, out);
    member_clear(&member);
    spread(benefit, out);
}

void lob_benefit_prediction_clear(LobBenefitPrediction *prediction) {
    g_free(prediction->rmst);
    g_free(prediction->rmst_risk);
    g_free(prediction->sd);
    g_free(prediction->sd_risk);
    g_free(prediction->survival);
    *prediction = (LobBenefitPrediction){0};
}
