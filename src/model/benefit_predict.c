/* From the fitted log hazards to survival and restricted means of each arm, with their spread. A member of
 * the spread is a bootstrap refit within centers, seen from a center like one of the training centers: its
 * level of risk and its shift of the image's columns are theirs, drawn at random, since those of a new center
 * are not known. What the image does not show of a patient is in no spread. */
#include "model/benefit_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One set of coefficients: the fit itself or a bootstrap member. */
typedef struct {
    double *main, *gamma[LOB_PARTS];
    double *shift;                          /* [k] added to held-out patients' z */
    double hazard[2][LOB_BENEFIT_GRID + 1]; /* cumulative baseline: with effects, from main alone */
} Member;

/* Where the training centers lie. */
typedef struct {
    size_t n;      /* training centers */
    double *level; /* [n][2] log of observed over expected events: with effects, from main alone */
    double *shift; /* [n][k] mean z */
} Places;

static void member_init(Member *member, const LobBenefit *benefit) {
    member->main = g_memdup2(benefit->main, benefit->n_main * sizeof(double));
    for (int f = 0; f < LOB_PARTS; f++)
        member->gamma[f] = g_memdup2(benefit->part[f].gamma, (benefit->k + 1) * sizeof(double));
    member->shift = g_new0(double, benefit->k + 1);
}

static void member_clear(Member *member) {
    g_free(member->main);
    for (int f = 0; f < LOB_PARTS; f++)
        g_free(member->gamma[f]);
    g_free(member->shift);
}

static double eta_of(const LobBenefit *benefit, const Member *member, uint32_t p, const int *code,
                     bool effects) {
    double eta = lob_benefit_main_eta(benefit, member->main, p, code);
    for (int f = 0; effects && f < LOB_PARTS; f++)
        if (benefit->part[f].estimable)
            eta += (code[f] - 0.5) * lob_benefit_effect(benefit, member->gamma[f], p);
    return eta;
}

/* The same for a held-out patient, whose z the member shifts. */
static double held_out_eta(const LobBenefit *benefit, const Member *member, uint32_t p, const int *code,
                           bool effects) {
    double eta = eta_of(benefit, member, p, code, effects);
    for (size_t j = 0; j < benefit->k; j++) {
        double slope = member->main[benefit->view->n_covariates + j];
        for (int f = 0; effects && f < LOB_PARTS; f++)
            if (benefit->part[f].estimable)
                slope += (code[f] - 0.5) * member->gamma[f][j];
        eta += slope * member->shift[j];
    }
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

/* Cumulative hazard at t <= tau. */
static double hazard_at(const LobBenefit *benefit, const double *hazard, double t) {
    double at = t / benefit->tau * LOB_BENEFIT_GRID;
    size_t i = MIN((size_t)at, LOB_BENEFIT_GRID - 1);
    return hazard[i] + (at - (double)i) * (hazard[i + 1] - hazard[i]);
}

/* ---- how centers differ ---- */

static void place_center(const LobBenefit *benefit, const Member *fitted, uint32_t center, Places *places) {
    const LobView *view = benefit->view;
    double observed = 0, expected[2] = {0, 0}, n = 0, *shift = places->shift + places->n * benefit->k;
    for (size_t i = 0; i < benefit->n_train; i++) {
        uint32_t p = benefit->train[i];
        int code[LOB_PARTS] = {benefit->code[p * LOB_PARTS], benefit->code[p * LOB_PARTS + 1]};
        double time = fmin(view->time[p], benefit->tau);
        if (view->cohort->patients[p].center != center)
            continue;
        n++;
        observed += view->event[p] == 1 && view->time[p] <= benefit->tau;
        for (int risk = 0; risk < 2; risk++)
            expected[risk] += hazard_at(benefit, fitted->hazard[risk], time) *
                              exp(eta_of(benefit, fitted, p, code, risk == 0));
        for (size_t j = 0; j < benefit->k; j++)
            shift[j] += benefit->z[p * benefit->k + j];
    }
    if (n < 1)
        return;
    for (size_t j = 0; j < benefit->k; j++)
        shift[j] /= n;
    /* Half an event each keeps a center without events finite. */
    for (int risk = 0; risk < 2; risk++)
        places->level[2 * places->n + (size_t)risk] = log((observed + 0.5) / (expected[risk] + 0.5));
    places->n++;
}

static void places_init(Places *places, const LobBenefit *benefit, const Member *fitted) {
    size_t centers = benefit->view->cohort->n_centers;
    *places = (Places){0, g_new0(double, 2 * centers + 1), g_new0(double, centers * benefit->k + 1)};
    for (uint32_t c = 0; benefit->tau > 0 && c < centers; c++)
        place_center(benefit, fitted, c, places);
}

static void places_clear(Places *places) {
    g_free(places->level);
    g_free(places->shift);
}

/* The member is seen from a center of the level of one training center and the shift of one, not the same. */
static void move_member(const LobBenefit *benefit, const Places *places, size_t index, Member *member) {
    g_autofree char *stream = g_strdup_printf("benefit/place/%zu", index);
    LobRng rng;
    if (places->n == 0)
        return;
    lob_rng_init(&rng, benefit->options.seed, stream);
    size_t level = lob_rng_below(&rng, (uint32_t)places->n), shift = lob_rng_below(&rng, (uint32_t)places->n);
    for (size_t risk = 0; risk < 2; risk++)
        for (size_t i = 0; i <= LOB_BENEFIT_GRID; i++)
            member->hazard[risk][i] *= exp(places->level[2 * level + risk]);
    memcpy(member->shift, places->shift + shift * benefit->k, benefit->k * sizeof(double));
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
    return exp(-hazard_at(benefit, hazard, t) * exp(eta));
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
            out[i * study->n_arms + k] =
                arm_is_estimable(benefit, k)
                    ? restricted_mean(
                          benefit, member->hazard[effects ? 0 : 1],
                          held_out_eta(benefit, member, benefit->held_out[i], study->arms[k].code, effects))
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

static void spread(LobBenefit *benefit, const Places *places, LobBenefitPrediction *out) {
    size_t n = benefit->n_held_out * out->n_arms, members = benefit->options.members;
    g_autofree double *rmst = g_new(double, n + 1), *sums = g_new0(double, 4 * n + 1);
    for (size_t m = 0; m < members; m++) {
        Member member;
        member_init(&member, benefit);
        refit(benefit, m, &member);
        move_member(benefit, places, m, &member);
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
    Places places;
    places_init(&places, benefit, &member);
    member_clear(&member);
    spread(benefit, &places, out);
    places_clear(&places);
}

void lob_benefit_prediction_clear(LobBenefitPrediction *prediction) {
    g_free(prediction->rmst);
    g_free(prediction->rmst_risk);
    g_free(prediction->sd);
    g_free(prediction->sd_risk);
    g_free(prediction->survival);
    *prediction = (LobBenefitPrediction){0};
}
