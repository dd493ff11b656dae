/* The benefit stage: a planted effect is found in centers never seen, none is found where none is, nothing of
 * a held-out center gets into the fit, and what cannot be estimated is said so. */
#include "model_benefit_world.h"
#include "stats/stats.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- the ridge fit itself ---- */

Test(benefit, ridge_is_cox_where_it_vanishes) {
    enum { N = 120, P = 3 };
    LobRidgeRows rows;
    LobRng rng;
    lob_rng_init(&rng, 2, "rows");
    lob_ridge_rows_init(&rows, N, P);
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j < P; j++)
            rows.x[i * P + j] = lob_rng_normal(&rng);
        rows.time[i] = lob_rng_exponential(&rng) * exp(-rows.x[i * P]);
        rows.event[i] = lob_rng_uniform(&rng) < 0.8;
        rows.weight[i] = 0.2 + lob_rng_uniform(&rng);
        rows.offset[i] = 0.3 * lob_rng_normal(&rng);
        rows.stratum[i] = (uint32_t)(i % 3);
    }
    lob_ridge_rows_sort(&rows);
    LobFollowUp data = {
        .n = N, .time = rows.time, .event = rows.event, .weight = rows.weight, .stratum = rows.stratum};
    g_auto(LobCox) cox = {0};
    lob_cox_fit(&cox, &data, &(LobCoxDesign){.p = P, .x = rows.x, .offset = rows.offset});
    double beta[P] = {0}, shrunk[P] = {0};
    lob_ridge_fit(&rows, (bool[P]){true, true, true}, 0, beta);
    lob_ridge_fit(&rows, (bool[P]){true, false, false}, 1e6, shrunk);
    for (size_t j = 0; j < P; j++)
        cr_assert_float_eq(beta[j], cox.beta[j], 2e-4, "%zu: %g against %g", j, beta[j], cox.beta[j]);
    cr_assert_lt(fabs(shrunk[0]), 1e-3);
    cr_assert_gt(fabs(beta[0]), 0.5);
    lob_ridge_rows_clear(&rows);
}

Test(benefit, principal_directions_of_a_known_spread) {
    enum { N = 200, D = 5 };
    double x[N * D], bases[2 * D];
    LobRng rng;
    lob_rng_init(&rng, 3, "spread");
    for (int i = 0; i < N; i++) {
        double a = 5 * lob_rng_normal(&rng), b = 3 * lob_rng_normal(&rng);
        for (int j = 0; j < D; j++)
            x[i * D + j] = 0.1 * lob_rng_normal(&rng) + (j < 2 ? a * M_SQRT1_2 : j == 4 ? b : 0);
    }
    cr_assert_eq(lob_principal(x, N, D, 2, bases), 2);
    cr_assert_gt(fabs(bases[0] + bases[1]) * M_SQRT1_2, 0.99);
    cr_assert_gt(fabs(bases[D + 4]), 0.99);
}

/* ---- how well z is known ---- */

Test(benefit, shared_factors_are_told_from_noise) {
    enum { N = 600, D = 20, K = 8, SHARED = 3 };
    static double x[N * D];
    double bases[K * D], variance[K] = {0}, total = 0, noise, loading[D * SHARED];
    LobRng rng;
    lob_rng_init(&rng, 4, "factors");
    for (int i = 0; i < D * SHARED; i++)
        loading[i] = 0.7 * lob_rng_normal(&rng);
    for (int i = 0; i < N; i++) {
        double factor[SHARED];
        for (int f = 0; f < SHARED; f++)
            factor[f] = lob_rng_normal(&rng);
        for (int j = 0; j < D; j++) {
            x[i * D + j] = 0.5 * lob_rng_normal(&rng);
            for (int f = 0; f < SHARED; f++)
                x[i * D + j] += loading[j * SHARED + f] * factor[f];
            total += x[i * D + j] * x[i * D + j] / N;
        }
    }
    cr_assert_eq(lob_principal(x, N, D, K, bases), K);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < K; k++) {
            double z = 0;
            for (int j = 0; j < D; j++)
                z += bases[k * D + j] * x[i * D + j];
            variance[k] += z * z / N;
        }
    cr_expect_eq(lob_shared_factors(variance, K, D, total, N, &noise), SHARED);
    cr_expect_float_eq(noise, 0.25, 0.02, "noise %g", noise);
}

/* ---- sums in place of tiles ---- */

/* The plain way: tiles scaled one by one, their means projected. */
static void plain_vector(const World *w, const LobBasis *basis, uint32_t p, double *z, double *half) {
    float rows[TILES * DIM];
    double pooled[DIM] = {0}, split[DIM] = {0};
    const uint64_t n = w->count[p], odd = n / 2, even = n - odd;
    LobScaler scaler = {DIM, basis->mean, basis->inverse};
    lob_scaler_apply(&scaler, w->features + w->first[p] * DIM, n, rows);
    for (uint64_t r = 0; r < n; r++)
        for (int j = 0; j < DIM; j++) {
            pooled[j] += (double)rows[r * DIM + (size_t)j] / (double)n;
            split[j] += (double)rows[r * DIM + (size_t)j] / (r % 2 ? -2.0 * (double)odd : 2.0 * (double)even);
        }
    for (size_t k = 0; k < basis->k; k++) {
        double sum = 0;
        half[k] = 0;
        for (int j = 0; j < DIM; j++) {
            sum += pooled[j] * basis->bases[k * DIM + (size_t)j];
            half[k] += split[j] * basis->bases[k * DIM + (size_t)j] * basis->factor;
        }
        z[k] = (sum - basis->center[k]) * basis->factor;
    }
}

Test(benefit, sums_say_what_tiles_say) {
    World *w = benefit_world_new(&planted);
    Fold fold;
    LobScaler scaler;
    fold_fit(&fold, w, 1);
    const LobBenefit *fit = &fold.fit;
    lob_scaler_fit(&scaler, &w->bags, fit->train, fit->n_train);
    for (size_t j = 0; j < DIM; j++) {
        cr_expect_float_eq(scaler.mean[j], fit->basis.mean[j], 1e-6);
        cr_expect_float_eq(scaler.inverse[j], fit->basis.inverse[j], 1e-6);
    }
    double z[DIM], half[DIM], blur[DIM] = {0};
    for (size_t i = 0; i < fit->n_train + fit->n_held_out; i++) {
        uint32_t p = i < fit->n_train ? fit->train[i] : fit->held_out[i - fit->n_train];
        plain_vector(w, &fit->basis, p, z, half);
        for (size_t k = 0; k < fit->k; k++) {
            cr_assert_float_eq(z[k], fit->z[p * fit->k + k], 1e-5);
            if (i < fit->n_train)
                blur[k] += TILES * half[k] * half[k] / (double)fit->n_train;
        }
    }
    for (size_t k = 0; k < fit->k; k++)
        cr_expect_float_eq(blur[k], fit->basis.blur[k], 1e-5);
    lob_scaler_clear(&scaler);
    fold_clear(&fold);
    benefit_world_free(w);
}

/* ---- what is found ---- */

static double correlation(const double *x, const double *y, size_t n) {
    double mx = 0, my = 0, xy = 0, xx = 0, yy = 0;
    for (size_t i = 0; i < n; i++) {
        mx += x[i] / (double)n;
        my += y[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        xy += (x[i] - mx) * (y[i] - my);
        xx += (x[i] - mx) * (x[i] - mx);
        yy += (y[i] - my) * (y[i] - my);
    }
    return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 0;
}

/* Held-out patients of all folds. */
typedef struct {
    size_t n;
    double time[PATIENTS], score[PATIENTS], weight[PATIENTS];
    uint8_t event[PATIENTS];
    uint32_t stratum[PATIENTS], arm[PATIENTS];
} Held;

static void hold(Held *held, const World *w, const Fold *fold, const uint32_t *source) {
    double score[PATIENTS];
    if (source)
        lob_benefit_score_permuted(&fold->fit, 0, source, score);
    else
        lob_benefit_score(&fold->fit, 0, true, score);
    for (size_t i = 0; i < fold->fit.n_held_out; i++) {
        uint32_t p = fold->fit.held_out[i];
        size_t at = held->n++;
        held->time[at] = w->cohort->time[0][p];
        held->event[at] = w->cohort->event[0][p] == 1;
        held->score[at] = score[i];
        held->weight[at] = fold->fit.part[0].weight[p];
        held->stratum[at] = w->cohort->patients[p].center;
        held->arm[at] = (uint32_t)fold->fit.code[p * LOB_PARTS];
    }
}

static double held_z(const Held *held) {
    LobFollowUp data = {.n = held->n,
                        .time = held->time,
                        .event = held->event,
                        .weight = held->weight,
                        .stratum = held->stratum};
    g_auto(LobInteraction) result = {0};
    lob_interaction(&result, &data, held->arm, 2, held->score, NULL, 0);
    return result.interaction[0].estimate / result.interaction[0].se;
}

/* z of the held-out interaction, of the fitted scores and of a draw of modifiers exchanged within center and
 * arm. */
static void run_world(const Plan *plan, double *z, double *permuted, double *r) {
    World *w = benefit_world_new(plan);
    uint32_t source[PATIENTS];
    LobRng rng;
    Held fitted = {0}, drawn = {0};
    lob_rng_init(&rng, plan->seed, "exchange");
    for (uint32_t cell = 0; cell < 2 * CENTERS; cell++) {
        uint32_t members[PATIENTS], shuffled[PATIENTS];
        size_t n = 0;
        for (uint32_t p = 0; p < PATIENTS; p++)
            if (w->cohort->patients[p].center == cell / 2 && w->cohort->patients[p].arm == (int)(cell % 2))
                members[n++] = p;
        memcpy(shuffled, members, sizeof members);
        lob_rng_shuffle(&rng, shuffled, n);
        for (size_t i = 0; i < n; i++)
            source[members[i]] = shuffled[i];
    }
    *r = 0;
    for (int f = 0; f < CENTERS; f++) {
        Fold fold;
        double score[PATIENTS], latent[PATIENTS];
        fold_fit(&fold, w, f);
        cr_assert(fold.fit.part[0].estimable, "%s", fold.fit.part[0].reason);
        lob_benefit_score(&fold.fit, 0, true, score);
        for (size_t i = 0; i < fold.fit.n_held_out; i++)
            latent[i] = w->latent[fold.fit.held_out[i]];
        *r -= correlation(score, latent, fold.fit.n_held_out) / CENTERS;
        hold(&fitted, w, &fold, NULL);
        hold(&drawn, w, &fold, source);
        fold_clear(&fold);
    }
    *z = held_z(&fitted);
    *permuted = held_z(&drawn);
    benefit_world_free(w);
}

Test(benefit, planted_effect_is_found_in_unseen_centers) {
    double z, permuted, r;
    run_world(&planted, &z, &permuted, &r);
    cr_assert_gt(r, 0.5, "correlation with the latent %g", r);
    cr_assert_gt(z, 4, "z %g", z);
    cr_assert_lt(permuted, 2.6, "z after exchanging modifiers %g", permuted);
}

Test(benefit, no_effect_is_claimed_where_there_is_none) {
    for (uint64_t seed = 1; seed <= 4; seed++) {
        Plan plan = planted;
        double z, permuted, r;
        plan.seed = seed;
        plan.effect = 0;
        run_world(&plan, &z, &permuted, &r);
        cr_assert_lt(z, 2.6, "seed %d: z %g", (int)seed, z);
    }
}

/* ---- predictions ---- */

Test(benefit, predictions_are_ordered_and_repeat) {
    World *w = benefit_world_new(&planted);
    Fold fold;
    LobBenefitPrediction a, b;
    fold_fit(&fold, w, 1);
    cr_assert(lob_benefit_predict(&fold.fit, &a, NULL));
    cr_assert(lob_benefit_predict(&fold.fit, &b, NULL));
    size_t n = fold.fit.n_held_out, helped = 0;
    double gain[PATIENTS], latent[PATIENTS];
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < a.n_arms; k++) {
            const double *s = a.survival + (i * a.n_arms + k) * a.n_horizons;
            cr_assert(a.rmst[i * 2 + k] > 0 && a.rmst[i * 2 + k] <= fold.fit.tau);
            cr_assert(s[0] <= 1 && s[1] <= s[0] && s[1] >= 0);
        }
        gain[i] = a.rmst[i * 2 + 1] - a.rmst[i * 2];
        latent[i] = w->latent[fold.fit.held_out[i]];
        helped += gain[i] > 0;
        cr_assert(a.sd[i * 2 + 1] > 0 && a.sd[i * 2] <= 0);
    }
    cr_assert_gt(correlation(gain, latent, n), 0.5);
    cr_assert(helped > n / 10 && helped < n - n / 10, "%zu of %zu", helped, n);
    cr_assert_arr_eq(a.rmst, b.rmst, n * 2 * sizeof(double));
    cr_assert_arr_eq(a.sd, b.sd, n * 2 * sizeof(double));
    lob_benefit_prediction_clear(&a);
    lob_benefit_prediction_clear(&b);
    fold_clear(&fold);
    benefit_world_free(w);
}

/* Mean spread of the gain of tace in a fold. */
static double mean_spread(const World *w) {
    Fold fold;
    LobBenefitPrediction out;
    double sum = 0;
    fold_fit(&fold, w, 1);
    fold.fit.options.members = 12;
    cr_assert(lob_benefit_predict(&fold.fit, &out, NULL));
    for (size_t i = 0; i < fold.fit.n_held_out; i++)
        sum += out.sd[2 * i + 1] / (double)fold.fit.n_held_out;
    lob_benefit_prediction_clear(&out);
    fold_clear(&fold);
    return sum;
}

Test(benefit, few_tiles_widen_the_spread) {
    World *w = benefit_world_new(&planted);
    double all = mean_spread(w);
    for (int p = 0; p < PATIENTS; p++)
        w->count[p] = p % CENTERS == 1 ? 1 : w->count[p];
    double one = mean_spread(w);
    cr_expect_gt(one, 1.1 * all, "one tile %g, all tiles %g", one, all);
    benefit_world_free(w);
}

Test(benefit, a_model_predicts_as_its_fold_did) {
    World *w = benefit_world_new(&planted);
    Fold fold;
    LobBenefitPrediction fitted, applied;
    LobBenefitCases cases;
    fold_fit(&fold, w, 2);
    size_t n = fold.fit.n_held_out, kept[PATIENTS];
    double score[PATIENTS], again[PATIENTS];
    cr_assert(lob_benefit_predict(&fold.fit, &fitted, NULL));
    lob_benefit_score(&fold.fit, 0, false, score);
    cr_assert(lob_benefit_model_check(&fold.fit.model, NULL));
    LobBagSums sums;
    lob_bag_sums_of(&sums, &w->bags);
    lob_benefit_cases(&cases, &fold.fit.model, w->cohort, &sums, fold.view->covariates, fold.fit.held_out, n,
                      kept);
    lob_bag_sums_clear(&sums);
    cr_assert_eq(cases.n, n);
    lob_benefit_model_predict(&fold.fit.model, &cases, &applied);
    lob_benefit_model_score(&fold.fit.model, &cases, 0, again);
    for (size_t i = 0; i < 2 * n; i++) {
        cr_assert_float_eq(fitted.rmst[i], applied.rmst[i], 1e-9 * fitted.rmst[i]);
        cr_assert_float_eq(fitted.sd[i], applied.sd[i], 1e-9 * (1 + fitted.sd[i]));
        cr_assert_float_eq(fitted.survival[i], applied.survival[i], 1e-12);
    }
    for (size_t i = 0; i < n; i++)
        cr_assert_float_eq(score[i], again[i], 1e-12);
    fold.fit.model.hazard[3] = NAN;
    cr_assert_not(lob_benefit_model_check(&fold.fit.model, NULL));
    lob_benefit_cases_clear(&cases);
    lob_benefit_prediction_clear(&applied);
    lob_benefit_prediction_clear(&fitted);
    fold_clear(&fold);
    benefit_world_free(w);
}

/* What shrinkage hides counts as unknown: without any information the spread of an effect is its prior's. */
Test(benefit, shrinkage_is_part_of_the_spread) {
    World *w = benefit_world_new(&planted);
    Fold fold;
    double gamma[2][4] = {{0}}, prior[4] = {0.3, -0.2, 0.1, 0.4}, ridge = 1e7, none = 1e7;
    fold_fit(&fold, w, 1);
    lob_benefit_fit_effect(&fold.fit, 0, &(LobBenefitRefit){.main = fold.fit.main}, &none, gamma[0]);
    lob_benefit_fit_effect(&fold.fit, 0, &(LobBenefitRefit){.main = fold.fit.main, .prior = prior}, &ridge,
                           gamma[1]);
    for (int j = 0; j < 4; j++) {
        cr_expect_float_eq(gamma[0][j], 0, 1e-3);
        cr_expect_float_eq(gamma[1][j], prior[j], 1e-3);
    }
    fold_clear(&fold);
    benefit_world_free(w);
}

/* ---- leakage ---- */

Test(benefit, nothing_of_the_held_out_center_gets_in) {
    enum { HELD_OUT = 2 };
    Plan other = planted;
    other.changed_center = HELD_OUT;
    World *plain = benefit_world_new(&planted), *changed = benefit_world_new(&other);
    Fold a, b, control_a, control_b;
    fold_fit(&a, plain, HELD_OUT);
    fold_fit(&b, changed, HELD_OUT);
    cr_assert_eq(a.fit.k, b.fit.k);
    cr_assert_eq(a.fit.n_train, b.fit.n_train);
    cr_assert_arr_eq(a.fit.main, b.fit.main, a.fit.n_main * sizeof(double));
    cr_assert(a.fit.adverse && b.fit.adverse);
    cr_assert_arr_eq(a.fit.adverse, b.fit.adverse, a.fit.n_main * sizeof(double));
    cr_assert_arr_eq(a.fit.basis.bases, b.fit.basis.bases, a.fit.k * DIM * sizeof(double));
    const LobBenefitPart *x = &a.fit.part[0], *y = &b.fit.part[0];
    cr_assert(x->estimable && y->estimable);
    cr_assert_arr_eq(x->gamma, y->gamma, a.fit.k * sizeof(double));
    cr_assert(memcmp(&x->ridge, &y->ridge, sizeof x->ridge) == 0 &&
              memcmp(&x->sd, &y->sd, sizeof x->sd) == 0);
    cr_assert(memcmp(&a.fit.tau, &b.fit.tau, sizeof a.fit.tau) == 0);
    cr_assert_arr_eq(x->events, y->events, sizeof x->events);
    cr_assert_arr_eq(x->size, y->size, sizeof x->size);
    for (size_t i = 0; i < a.fit.n_train; i++) {
        uint32_t p = a.fit.train[i];
        cr_assert_eq(p, b.fit.train[i]);
        cr_assert(memcmp(&x->propensity[p], &y->propensity[p], sizeof(double)) == 0);
        cr_assert_arr_eq(a.fit.z + p * a.fit.k, b.fit.z + p * a.fit.k, a.fit.k * sizeof(double));
    }
    /* The same change does move a fold that trains on that center. */
    fold_fit(&control_a, plain, 0);
    fold_fit(&control_b, changed, 0);
    cr_assert_arr_neq(control_a.fit.main, control_b.fit.main, control_a.fit.n_main * sizeof(double));
    cr_assert_arr_neq(control_a.fit.adverse, control_b.fit.adverse, control_a.fit.n_main * sizeof(double));
    fold_clear(&a);
    fold_clear(&b);
    fold_clear(&control_a);
    fold_clear(&control_b);
    benefit_world_free(plain);
    benefit_world_free(changed);
}

/* ---- guards ---- */

static void assert_refused(const Plan *plan, const char *why) {
    World *w = benefit_world_new(plan);
    Fold fold;
    LobBenefitPrediction out;
    fold_fit(&fold, w, 3);
    cr_assert_not(fold.fit.part[0].estimable);
    cr_assert(strstr(fold.fit.part[0].reason, why), "%s", fold.fit.part[0].reason);
    cr_assert_not(fold.fit.part[1].asked);
    cr_assert(lob_benefit_predict(&fold.fit, &out, NULL));
    for (size_t i = 0; i < fold.fit.n_held_out; i++)
        cr_assert(isfinite(out.rmst[2 * i]) && isnan(out.rmst[2 * i + 1]));
    lob_benefit_prediction_clear(&out);
    fold_clear(&fold);
    benefit_world_free(w);
}

/* Planted: log odds -1 + 1.5 size. */
Test(benefit, adverse_events_are_predicted_under_treatment_alone) {
    World *w = benefit_world_new(&planted);
    Fold fold;
    LobBenefitPrediction out;
    fold_fit(&fold, w, 0);
    cr_assert(lob_benefit_predict(&fold.fit, &out, NULL));
    cr_assert_str_eq(w->study->arms[0].name, "none");
    const size_t n = fold.fit.n_held_out;
    double size[PATIENTS], predicted[PATIENTS], mean = 0, true_mean = 0;
    for (size_t i = 0; i < n; i++) {
        size[i] = w->cohort->covariates[fold.fit.held_out[i]];
        predicted[i] = log(out.adverse[2 * i + 1] / (1 - out.adverse[2 * i + 1]));
        cr_assert_float_eq(out.adverse[2 * i], 0, 0);
        mean += out.adverse[2 * i + 1] / (double)n;
        true_mean += 1 / (1 + exp(1 - 1.5 * size[i])) / (double)n;
    }
    cr_expect_gt(correlation(size, predicted, n), 0.8);
    cr_expect_float_eq(mean, true_mean, 0.08, "%g against %g", mean, true_mean);
    lob_benefit_prediction_clear(&out);
    /* Nothing to learn from is said, and the probability is not known. */
    LobBenefitOptions options = lob_benefit_defaults(11);
    LobBenefit blind;
    LobBagSums sums;
    lob_bag_sums_of(&sums, &w->bags);
    cr_assert(lob_benefit_fit(&blind, fold.view, &sums, &options, NULL));
    cr_assert_not_null(blind.adverse_reason);
    cr_assert(lob_benefit_predict(&blind, &out, NULL));
    cr_assert(isnan(out.adverse[1]));
    lob_benefit_prediction_clear(&out);
    lob_benefit_clear(&blind);
    lob_bag_sums_clear(&sums);
    fold_clear(&fold);
    benefit_world_free(w);
}

Test(benefit, a_rare_arm_is_not_estimable) {
    Plan plan = planted;
    plan.share = 0.05;
    assert_refused(&plan, "at least 30 are needed");
}

Test(benefit, an_arm_of_one_center_is_not_estimable) {
    Plan plan = planted;
    plan.share = 0.6;
    plan.only_center = 1;
    World *w = benefit_world_new(&plan);
    Fold fold;
    fold_fit(&fold, w, 3);
    cr_assert_not(fold.fit.part[0].estimable);
    fold_clear(&fold);
    benefit_world_free(w);
}

Test(benefit, a_study_without_contrast_is_refused) {
    World *w = benefit_world_new(&planted);
    g_autoptr(GError) err = NULL;
    cr_assert(lob_benefit_can(w->study, 0, NULL));
    w->study->arms[0].code[0] = 1; /* no arm without treatment is left */
    w->study->arms[1].code[0] = 1;
    cr_assert_not(lob_benefit_can(w->study, 0, &err));
    cr_assert(g_error_matches(err, LOB_ERROR, LOB_ERROR_INPUT));
    benefit_world_free(w);
}
