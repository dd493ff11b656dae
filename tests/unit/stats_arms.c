/* Propensities, weights, policy value, targeting and the bootstrap. Goldens: nnet::multinom (reltol 1e-16) on
 * the lung table with arm = age mod 4. */
#include "stats/stats_internal.h"
#include "stats_fixture.h"

#include <stdlib.h>
#include <string.h>

Test(stats_arms, multinomial_and_overlap_weights) {
    g_auto(Lung) lung = {0};
    lung_read(&lung);
    g_autofree uint32_t *arm = g_new(uint32_t, lung.n);
    g_autofree double *x = g_new(double, 2 * lung.n);
    g_autofree double *weight = g_new(double, lung.n);
    g_autofree double *again = g_new(double, 4 * lung.n);
    for (size_t i = 0; i < lung.n; i++) {
        arm[i] = (uint32_t)lung.age[i] % 4;
        x[2 * i] = lung.sex[i];
        x[2 * i + 1] = lung.ecog[i];
    }
    g_auto(LobMultinomial) fit = {0};
    lob_multinomial_fit(&fit, x, lung.n, 2, arm, 4, NULL, 0);
    cr_assert(fit.converged && !fit.reason);
    expect_digits(fit.loglik, "-310.245575206", "loglik");
    lob_propensity_weights(LOB_WEIGHTS_OVERLAP, fit.probability, arm, lung.n, 4, weight);
    double sum = 0, of_arm[4][227];
    size_t n_of[4] = {0};
    for (size_t i = 0; i < lung.n; i++) {
        sum += weight[i];
        of_arm[arm[i]][n_of[arm[i]]++] = weight[i];
        cr_assert(weight[i] > 0 && weight[i] < 1);
    }
    /* nnet's quasi-Newton stops at 1e-9 or so of the maximum; that ours is one, the score says. */
    expect_close(sum / 54.6404066, 1, 2e-9, "sum of weights");
    for (size_t k = 1; k < 4; k++)
        for (size_t j = 0; j < 3; j++) {
            double score = 0;
            for (size_t i = 0; i < lung.n; i++)
                score += ((arm[i] == k) - fit.probability[4 * i + k]) * (j == 0 ? 1 : x[2 * i + j - 1]);
            cr_expect(fabs(score) < 1e-9, "score %zu %zu: %g", k, j, score);
        }
    static const char *ess[] = {"61.9946884", "54.6559870", "54.7773464", "48.7906488"};
    for (size_t k = 0; k < 4; k++)
        expect_close(lob_effective_size(of_arm[k], n_of[k]) / strtod(ess[k], NULL), 1, 3e-8, "ESS");
    lob_multinomial_predict(&fit, x, lung.n, again);
    for (size_t k = 0; k < 4 * lung.n; k++)
        expect_close(again[k], fit.probability[k], 1e-13, "prediction of the same rows");
    cr_expect_lt(lob_max_smd(lung.ecog, arm, lung.n, 4, weight),
                 lob_max_smd(lung.ecog, arm, lung.n, 4, NULL));
}

Test(stats_arms, overlap_weights_of_two_arms_balance_exactly) {
    g_auto(Lung) lung = {0};
    lung_read(&lung);
    g_autofree uint32_t *arm = g_new(uint32_t, lung.n);
    g_autofree double *weight = g_new(double, lung.n);
    for (size_t i = 0; i < lung.n; i++)
        arm[i] = lung.sex_label[i] - 1;
    g_auto(LobMultinomial) fit = {0};
    lob_multinomial_fit(&fit, lung.age, lung.n, 1, arm, 2, NULL, 0);
    lob_propensity_weights(LOB_WEIGHTS_OVERLAP, fit.probability, arm, lung.n, 2, weight);
    cr_expect_gt(lob_max_smd(lung.age, arm, lung.n, 2, NULL), 0.1);
    cr_expect_lt(lob_max_smd(lung.age, arm, lung.n, 2, weight), 1e-9);
    lob_propensity_weights(LOB_WEIGHTS_STABILIZED, fit.probability, arm, lung.n, 2, weight);
    double sum = 0;
    for (size_t i = 0; i < lung.n; i++)
        sum += weight[i];
    expect_close(sum / 227, 1, 0.01, "stabilised weights average 1");
}

/* More columns than are solved together, of which one repeats another. */
Test(stats_arms, inverse_of_many_columns) {
    enum { P = 19, N = 40, TWIN = 11 };
    double x[N][P], a[P * P], inverse[P * P];
    bool aliased[P];
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < P; j++)
            x[i][j] = j == TWIN ? x[i][3] : (double)((i * 37 + j * j * 11 + i * j * 5) % 101) / 50;
    for (size_t j = 0; j < P; j++)
        for (size_t k = 0; k < P; k++) {
            a[j * P + k] = 0;
            for (size_t i = 0; i < N; i++)
                a[j * P + k] += x[i][j] * x[i][k];
        }
    memcpy(inverse, a, sizeof a);
    cr_assert_eq(lob_invert_psd(inverse, P, aliased), P - 1);
    for (size_t j = 0; j < P; j++) {
        cr_expect_eq(aliased[j], j == TWIN);
        for (size_t k = 0; k < P; k++) {
            double sum = 0;
            for (size_t l = 0; l < P; l++)
                sum += inverse[j * P + l] * a[l * P + k];
            if (j == TWIN)
                cr_expect_eq(inverse[j * P + k], 0);
            else if (k != TWIN)
                cr_expect_float_eq(sum, j == k, 1e-8);
        }
    }
}

Test(stats_arms, a_covariate_without_spread_has_no_standardised_difference) {
    static const double alike[] = {0.1, 0.1, 0.1, 0.1, 0.1, 0.1}, apart[] = {0.1, 0.1, 0.1, 0.3, 0.3, 0.3};
    static const double weight[] = {0.3, 0.7, 0.11, 0.6, 0.13, 0.9};
    static const uint32_t arm[] = {0, 0, 0, 1, 1, 1};
    cr_expect_eq(lob_max_smd(alike, arm, 6, 2, NULL), 0);
    cr_expect_eq(lob_max_smd(alike, arm, 6, 2, weight), 0);
    cr_expect(isnan(lob_max_smd(apart, arm, 6, 2, NULL)));
    cr_expect(isnan(lob_max_smd(apart, arm, 6, 2, weight)));
}

Test(stats_arms, impossible_and_missing_arms) {
    static const double x[] = {1, 2, 3, 10, 11, 12};
    static const uint32_t arm[] = {0, 0, 0, 1, 1, 1}, one[6] = {0};
    g_auto(LobMultinomial) separated = {0}, penalised = {0}, missing = {0};
    lob_multinomial_fit(&separated, x, 6, 1, arm, 2, NULL, 0);
    cr_expect_not_null(separated.reason);
    lob_multinomial_fit(&penalised, x, 6, 1, arm, 2, NULL, 1);
    cr_expect(penalised.converged && !penalised.reason);
    lob_multinomial_fit(&missing, x, 6, 1, one, 2, NULL, 0);
    cr_expect_str_eq(missing.reason, "an arm without a row");
    cr_expect(isnan(missing.probability[0]) && isnan(missing.loglik));
    static const double e[] = {.5, .5, .96, .04, 1, 0};
    LobPositivity p = lob_positivity(e, 3, 2);
    cr_expect(p.least == 0 && p.refused);
    expect_close(p.share_weak, 2.0 / 3, 1e-15, "weak");
    cr_expect(!lob_positivity(e, 2, 2).refused);
}

Test(stats_arms, doubly_robust_scores_and_value) {
    static const double y[] = {1, 2, 3, 4}, mu[] = {1, 2, 1, 2, 1, 2, 1, 2},
                        e[] = {.5, .5, .5, .5, .2, .8, .2, .8};
    static const uint32_t arm[] = {0, 1, 0, 1}, policy[] = {0, 1, 1, 1}, cluster[] = {5, 5, 9, 9},
                          all[4] = {0};
    double s[8];
    lob_aipw_scores(y, arm, mu, e, 4, 2, s);
    static const double wanted[] = {1, 2, 1, 2, 11, 2, 1, 4.5};
    for (size_t k = 0; k < 8; k++)
        expect_close(s[k], wanted[k], 1e-14, "score");
    LobEstimate v = lob_policy_value(s, policy, 4, 2, NULL);
    expect_close(v.estimate, 9.5 / 4, 1e-15, "value");
    double m = 9.5 / 4, squares = pow(1 - m, 2) + 2 * pow(2 - m, 2) + pow(4.5 - m, 2);
    expect_close(v.se, sqrt(squares / 3 / 4), 1e-15, "sd / sqrt(n)");
    LobEstimate c = lob_policy_value(s, policy, 4, 2, cluster);
    double first = 3 - 2 * m, second = 6.5 - 2 * m;
    expect_close(c.se, sqrt(2 * (first * first + second * second)) / 4, 1e-15, "clustered");
    cr_expect_not_null(lob_policy_value(s, policy, 4, 2, all).reason);
    cr_expect_not_null(lob_policy_value(s, policy, 0, 2, NULL).reason);
}

Test(stats_rate, definition_and_ties) {
    static const double contrast[] = {4, 0, 2, 2}, rule[] = {9, 1, 5, 5}, flat[] = {3, 3, 3, 3};
    double toc[4];
    lob_toc_curve(contrast, rule, 4, toc);
    static const double wanted[] = {2, 1, 8.0 / 3 - 2, 0};
    for (size_t k = 0; k < 4; k++)
        expect_close(toc[k], wanted[k], 1e-15, "TOC");
    LobEstimate autoc = lob_rate(LOB_RATE_AUTOC, contrast, rule, 4, 50, 1);
    expect_close(autoc.estimate, (2 + 1 + 2.0 / 3) / 4, 1e-15, "AUTOC");
    LobEstimate qini = lob_rate(LOB_RATE_QINI, contrast, rule, 4, 50, 1);
    expect_close(qini.estimate, (2 * .25 + 1 * .5 + 2.0 / 3 * .75) / 4, 1e-15, "Qini");
    LobEstimate none = lob_rate(LOB_RATE_AUTOC, contrast, flat, 4, 50, 1);
    expect_close(none.estimate, 0, 1e-15, "a rule without a preference");
    cr_expect_not_null(lob_rate(LOB_RATE_AUTOC, contrast, rule, 3, 50, 1).reason);
    cr_expect(isnan(lob_rate(LOB_RATE_AUTOC, contrast, rule, 4, 0, 1).se));
}

/* With a worthless rule the statistic over its se is nearly standard normal. */
Test(stats_rate, half_sample_error_is_calibrated) {
    enum { N = 400, ROUNDS = 200 };
    double contrast[N], rule[N], sum = 0, square = 0;
    LobRng rng;
    lob_rng_init(&rng, 11, "rate test");
    for (uint64_t round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < N; i++) {
            contrast[i] = 1 + lob_rng_normal(&rng);
            rule[i] = lob_rng_uniform(&rng);
        }
        LobEstimate r = lob_rate(LOB_RATE_AUTOC, contrast, rule, N, 100, round);
        double z = r.estimate / r.se;
        sum += z;
        square += z * z;
    }
    cr_expect_lt(fabs(sum / ROUNDS), 0.3);
    double sd = sqrt(square / ROUNDS);
    cr_expect(sd > .85 && sd < 1.2, "sd of z: %g", sd);
}

Test(stats_benefit, concordance_of_pairs) {
    /* Pairs by rank of predicted benefit: (.1, 0), (.3, 1), (.5, 1), (.5, -1): of 5 unequal pairs of pairs
     * the first beats none: .1-.3 +, .1-.5 +, .1-.5(-1) -, .3-.5(-1) -, .5-.5 tied. */
    static const uint8_t treated[] = {1, 1, 1, 1, 0, 0, 0, 0}, outcome[] = {1, 0, 0, 1, 1, 1, 1, 0};
    static const double without[] = {.5, .5, .5, .5, .5, .5, .5, .5}, with[] = {.4, .2, 0, 0, .4, .2, 0, 0};
    LobEstimate c = lob_c_for_benefit(treated, outcome, without, with, 8, 200, 1);
    expect_close(c.estimate, 2.5 / 5, 1e-15, "C-for-benefit");
    cr_expect(c.lower < .5 && c.upper > .5);
    static const uint8_t nobody[8] = {0};
    cr_expect_not_null(lob_c_for_benefit(nobody, outcome, without, with, 8, 10, 1).reason);
    cr_expect_not_null(lob_c_for_benefit(treated, nobody, without, with, 8, 10, 1).reason);
}

static void mean_of(const double *count, size_t n, double *out, void *user) {
    const double *x = user;
    double sum = 0, total = 0;
    for (size_t i = 0; i < n; i++) {
        sum += count[i] * x[i];
        total += count[i];
    }
    out[0] = sum / total;
    out[1] = count[0] > 0 ? 1 : NAN;
}

Test(stats_bootstrap, stays_within_centers_and_repeats) {
    static const uint32_t center[] = {7, 3, 7, 3, 7, 3, 3};
    double count[7], again[7], alone[4];
    lob_bootstrap_counts(center, 7, 5, 42, count);
    lob_bootstrap_counts(center, 7, 5, 42, again);
    cr_expect_eq(memcmp(count, again, sizeof count), 0);
    cr_expect(count[0] + count[2] + count[4] == 3 && count[1] + count[3] + count[5] + count[6] == 4);
    lob_bootstrap_counts((const uint32_t[]){3, 3, 3, 3}, 4, 5, 42, alone);
    cr_expect(alone[0] == count[1] && alone[1] == count[3] && alone[2] == count[5] && alone[3] == count[6],
              "a center's draws do not depend on the others");
}

Test(stats_bootstrap, mean_and_degenerate_replicates) {
    enum { N = 200, B = 2000 };
    double x[N];
    LobRng rng;
    lob_rng_init(&rng, 1, "bootstrap test");
    for (size_t i = 0; i < N; i++)
        x[i] = lob_rng_normal(&rng);
    g_auto(LobBootstrap) all = {0}, half = {0};
    lob_bootstrap(&all, NULL, N, B, 0, 9, 2, mean_of, x);
    lob_bootstrap(&half, NULL, N, B / 2, B / 2, 9, 2, mean_of, x);
    cr_expect_eq(memcmp(all.replicate + B / 2, half.replicate, B / 2 * sizeof(double)), 0,
                 "replicates can be shared out");
    double square = 0, mean = all.estimate[0].estimate;
    for (size_t i = 0; i < N; i++)
        square += (x[i] - mean) * (x[i] - mean);
    expect_close(all.estimate[0].se / sqrt(square / N / N), 1, 0.08, "se of a mean");
    cr_expect(all.estimate[0].lower < mean && mean < all.estimate[0].upper && all.degenerate[0] == 0);
    double share = (double)all.degenerate[1] / B;
    cr_expect(share > .33 && share < .41, "a row is missing from exp(-1) of the replicates: %g", share);
    g_auto(LobBootstrap) none = {0};
    lob_bootstrap(&none, NULL, N, 0, 0, 9, 2, mean_of, x);
    cr_expect(isnan(none.estimate[0].se) && none.estimate[0].reason);
}
