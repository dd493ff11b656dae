/* RMST, competing risks, accuracy and calibration at a horizon. Goldens on the lung table: R's survival 3.5
 * (summary(survfit), survival:::brier on coxph(~ lp)), timeROC and dcurves by their published definitions. */
#include "stats_fixture.h"

#include <stdlib.h>
#include <string.h>

Test(stats_rmst, lung) {
    g_auto(Lung) lung = {0};
    lung_read(&lung);
    LobEstimate all = lob_rmst(&lung.followup, 365);
    expect_digits(all.estimate, "264.068658845", "RMST");
    expect_digits(all.se, "7.787107659", "RMST se");
    g_autofree uint8_t *female = g_new(uint8_t, lung.n);
    for (size_t i = 0; i < lung.n; i++)
        female[i] = lung.sex[i] == 2;
    LobRmstDifference d = lob_rmst_difference(&lung.followup, female, 365);
    expect_digits(d.arm[0].estimate, "242.739574865", "men");
    expect_digits(d.arm[0].se, "10.3588045776", "men se");
    expect_digits(d.arm[1].estimate, "297.465409532", "women");
    expect_digits(d.arm[1].se, "10.7913239788", "women se");
    expect_close(d.difference.se, hypot(d.arm[0].se, d.arm[1].se), 1e-15, "se");
    cr_expect(!d.tau_lowered && d.tau == 365 && d.p < 0.001);
}

Test(stats_rmst, tau_and_empty_arms) {
    static const double time[] = {1, 2, 3, 4, 6, 8};
    static const uint8_t event[] = {1, 0, 1, 1, 1, 0}, arm[] = {0, 0, 0, 1, 1, 1}, same[6] = {0};
    LobFollowUp data = {.n = 6, .time = time, .event = event};
    LobRmstDifference d = lob_rmst_difference(&data, arm, 100);
    cr_expect(d.tau_lowered && d.tau == 8, "arm 0 ends in an event and reaches 0, arm 1 is censored at 8");
    expect_close(d.arm[0].estimate, 1 + 2.0 / 3 * 2, 1e-15, "area of arm 0");
    LobRmstDifference empty = lob_rmst_difference(&data, same, 3);
    cr_expect(isnan(empty.difference.estimate) && empty.difference.reason);
    cr_expect(isnan(lob_rmst(&data, 9).estimate) && isfinite(lob_rmst(&data, 8).estimate));
    LobEstimate none = lob_rmst(&(LobFollowUp){.n = 0}, 3);
    cr_expect(isnan(none.estimate) && none.reason);
}

/* The definition: the whole curve again without each row, flat beyond its last time. */
static double area_without(const double *time, const uint8_t *event, size_t n, size_t left_out, double tau,
                           double *survival) {
    double *t = g_new(double, n);
    uint8_t *e = g_new(uint8_t, n);
    size_t m = 0;
    for (size_t i = 0; i < n; i++)
        if (i != left_out) {
            t[m] = time[i];
            e[m++] = event[i];
        }
    LobKm km;
    lob_km_fit(&km, &(LobFollowUp){.n = m, .time = t, .event = e});
    double area = 0, s = 1, from = 0;
    for (size_t k = 0; k < km.n_times && km.time[k] <= tau; k++) {
        area += s * (km.time[k] - from);
        from = km.time[k];
        s = km.survival[k];
    }
    *survival = s;
    lob_km_clear(&km);
    g_free(t);
    g_free(e);
    return area + s * (tau - from);
}

Test(stats_rmst, pseudo_observations_are_jackknife_values) {
    enum { MOST = 25 };
    double time[MOST], rmst[MOST], risk[MOST];
    uint8_t event[MOST];
    LobRng rng;
    lob_rng_init(&rng, 3, "pseudo");
    int compared = 0;
    for (int round = 0; round < 200; round++) {
        size_t n = 2 + lob_rng_below(&rng, MOST - 1);
        for (size_t i = 0; i < n; i++) {
            time[i] = lob_rng_below(&rng, 12);
            event[i] = lob_rng_uniform(&rng) < 0.6;
        }
        double tau = lob_rng_below(&rng, 12), s;
        LobFollowUp data = {.n = n, .time = time, .event = event};
        if (!lob_pseudo_rmst(&data, tau, rmst) || !lob_pseudo_risk(&data, tau, risk))
            continue;
        compared++;
        double whole = lob_rmst(&data, tau).estimate, at_tau;
        area_without(time, event, n, n, tau, &at_tau);
        for (size_t i = 0; i < n; i++) {
            double area = area_without(time, event, n, i, tau, &s), k = (double)n;
            expect_close(rmst[i], k * whole - (k - 1) * area, 1e-12, "pseudo RMST");
            expect_close(risk[i], k * (1 - at_tau) - (k - 1) * (1 - s), 1e-12, "pseudo risk");
        }
    }
    cr_expect_gt(compared, 100);
}

Test(stats_aalen_johansen, without_competitor_it_is_one_minus_km) {
    g_auto(Lung) lung = {0};
    lung_read(&lung);
    g_auto(LobKm) km = {0};
    lob_km_fit(&km, &lung.followup);
    g_auto(LobAalenJohansen) aj = {0};
    lob_aalen_johansen(&aj, &lung.followup, 2);
    for (size_t k = 0; k < km.n_times; k++) {
        expect_close(aj.incidence[k], 1 - km.survival[k], 1e-13, "incidence");
        if (km.survival[k] > 0)
            expect_close(aj.se[k], km.se[k], 1e-12, "se");
        cr_expect(aj.incidence[aj.n_times + k] == 0 && aj.se[aj.n_times + k] == 0);
    }
    cr_expect(isnan(lob_aalen_johansen_at(&aj, 1, 1e5).estimate));
    cr_expect(isnan(lob_aalen_johansen_at(&aj, 3, 1).estimate));
    cr_expect_eq(lob_aalen_johansen_at(&aj, 1, 0).estimate, 0);
}

Test(stats_horizon, auc) {
    g_auto(Lung) lung = {0};
    lung_read(&lung);
    static const double t[] = {180, 365, 730};
    static const char *golden[] = {".695353643", ".643412968", ".698186693"};
    for (size_t k = 0; k < 3; k++) {
        LobEstimate auc = lob_auc_at(&lung.followup, lung.lp, t[k]);
        expect_digits(auc.estimate, golden[k], "AUC(t)");
        g_auto(LobRoc) roc = {0};
        cr_assert(lob_roc_at(&roc, &lung.followup, lung.lp, t[k]));
        double area = 0;
        for (size_t i = 1; i < roc.n; i++)
            area += 0.5 * (roc.sensitivity[i] + roc.sensitivity[i - 1]) *
                    (roc.specificity[i - 1] - roc.specificity[i]);
        expect_close(area, auc.estimate, 1e-12, "area under the curve");
    }
    double mean = lob_auc_mean(&lung.followup, lung.lp, t, 3);
    cr_expect(mean > .64 && mean < .70);
    cr_expect_str_eq(lob_auc_at(&lung.followup, lung.lp, 1).reason, "no event by the horizon");
    cr_expect_str_eq(lob_auc_at(&lung.followup, lung.lp, 5000).reason, "nobody followed beyond the horizon");
}

/* Predicted survival of coxph(~ lp): [n][3] at 180, 365, 730. */
static double *predicted_survival(const Lung *lung, const double *t) {
    const LobCoxDesign design = {.p = 1, .x = lung->lp};
    g_auto(LobCox) fit = {0};
    lob_cox_fit(&fit, &lung->followup, &design);
    g_auto(LobBaseline) baseline = {0};
    lob_cox_baseline(&baseline, &fit, &lung->followup, &design);
    double *s = g_new(double, lung->n * 3);
    for (size_t i = 0; i < lung->n; i++)
        for (size_t k = 0; k < 3; k++)
            s[3 * i + k] = exp(-lob_baseline_at(&baseline, 0, t[k]) * exp(fit.beta[0] * lung->lp[i]));
    return s;
}

Test(stats_horizon, brier) {
    g_auto(Lung) lung = {0};
    lung_read(&lung);
    static const double t[] = {180, 365, 730};
    static const char *model[] = {".1787820042", ".2254712511", ".0994774572"};
    /* Null: Kaplan-Meier, as riskRegression::Score; survival:::brier takes exp(-H) with Efron steps. */
    static const char *null[] = {".199442558768", ".242086910302", ".102699678239"};
    static const char *null_hazard[] = {".1994429317", ".2420893711", ".1027117524"};
    g_auto(LobCox) empty = {0};
    lob_cox_fit(&empty, &lung.followup, &(LobCoxDesign){.p = 0});
    g_auto(LobBaseline) hazard = {0};
    lob_cox_baseline(&hazard, &empty, &lung.followup, &(LobCoxDesign){.p = 0});
    g_autofree double *s = predicted_survival(&lung, t);
    g_autofree double *at = g_new(double, lung.n);
    for (size_t k = 0; k < 3; k++) {
        for (size_t i = 0; i < lung.n; i++)
            at[i] = s[3 * i + k];
        LobBrier b = lob_brier_at(&lung.followup, at, t[k]);
        expect_digits(b.brier, model[k], "Brier");
        expect_digits(b.null_brier, null[k], "null Brier");
        expect_close(b.ipa, 1 - b.brier / b.null_brier, 1e-15, "IPA");
        expect_close(b.mean_weight, 1, 1e-12, "in-sample weights sum to n");
        for (size_t i = 0; i < lung.n; i++)
            at[i] = exp(-lob_baseline_at(&hazard, 0, t[k]));
        expect_digits(lob_brier_at(&lung.followup, at, t[k]).brier, null_hazard[k], "null of R's survival");
    }
    expect_digits(lob_integrated_brier(&lung.followup, s, t, 3), ".175811937", "IBS");
    LobBrier beyond = lob_brier_at(&lung.followup, at, 5000);
    cr_expect(isnan(beyond.brier) && beyond.reason);
}

Test(stats_horizon, calibration_and_net_benefit) {
    g_auto(Lung) lung = {0};
    lung_read(&lung);
    static const double t[] = {180, 365, 730};
    g_autofree double *s = predicted_survival(&lung, t);
    g_autofree double *risk = g_new(double, lung.n);
    for (size_t i = 0; i < lung.n; i++)
        risk[i] = 1 - s[3 * i + 1];
    g_auto(LobCalibration) c = {0};
    lob_calibration_at(&c, &lung.followup, risk, 365);
    expect_digits(c.oe.estimate, ".9998440533", "O/E");
    expect_close(c.slope.estimate, 1, 1e-9, "slope of the model's own predictions");
    cr_expect(c.ici > 0 && c.ici < c.e90 && c.e50 < c.e90 && c.e90 <= c.emax && !c.reason);
    LobNetBenefit nb = lob_net_benefit(&lung.followup, risk, 365, .5);
    expect_digits(nb.model, ".1973120826", "net benefit");
    expect_digits(nb.treat_all, ".177911098", "treat all");
    cr_expect_eq(nb.flagged, 147);
    LobNetBenefit nobody = lob_net_benefit(&lung.followup, risk, 365, .999);
    cr_expect(nobody.model == 0 && nobody.flagged == 0);
    LobCalibrationGroup groups[5];
    size_t made = lob_calibration_groups(&lung.followup, risk, 365, 5, groups), rows = 0;
    for (size_t g = 0; g < made; g++)
        rows += groups[g].n;
    cr_expect(made == 5 && rows == lung.n && groups[0].predicted < groups[4].predicted);
}

Test(stats_horizon, calibration_with_few_events) {
    static const double time[] = {1, 2, 3, 4}, risk[] = {.5, .5, .5, .5};
    static const uint8_t event[] = {1, 0, 1, 0}, none[4] = {0};
    g_auto(LobCalibration) few = {0}, nothing = {0}, beyond = {0};
    lob_calibration_at(&few, &(LobFollowUp){.n = 4, .time = time, .event = event}, risk, 3);
    cr_expect(isfinite(few.oe.lower) && isnan(few.ici) && few.reason && !few.smooth);
    lob_calibration_at(&nothing, &(LobFollowUp){.n = 4, .time = time, .event = none}, risk, 3);
    cr_expect(nothing.oe.estimate == 0 && isnan(nothing.oe.upper) && nothing.oe.reason);
    lob_calibration_at(&beyond, &(LobFollowUp){.n = 4, .time = time, .event = event}, risk, 9);
    cr_expect(isnan(beyond.observed) && beyond.reason);
}

Test(stats_horizon, calibration_in_the_large_and_slope) {
    g_auto(Lung) lung = {0};
    lung_read(&lung);
    LobEstimate slope = lob_calibration_slope(&lung.followup, lung.lp);
    g_autofree double *flat = g_new0(double, lung.n);
    cr_expect(slope.estimate > .9 && slope.se > 0);
    cr_expect_not_null(lob_calibration_slope(&lung.followup, flat).reason);
    for (size_t i = 0; i < lung.n; i++)
        flat[i] = 2 * 164.0 / 227;
    LobEstimate large = lob_calibration_in_the_large(&lung.followup, flat);
    expect_close(large.estimate, .5, 1e-14, "half as many events as expected");
    expect_close(large.se, 1 / sqrt(164), 1e-15, "se of the logarithm");
}

Test(stats_horizon, d_calibration_of_even_survival) {
    enum { N = 1000 };
    double time[N], s[N], bins[10];
    uint8_t event[N];
    for (size_t i = 0; i < N; i++) {
        time[i] = 1;
        event[i] = 1;
        s[i] = (double)i / N;
    }
    LobFollowUp data = {.n = N, .time = time, .event = event};
    LobTest even = lob_d_calibration(&data, s, bins);
    cr_expect(even.statistic < 1e-20 && even.df == 9 && even.p > .999999 && bins[0] == 100);
    memset(event, 0, sizeof event);
    for (size_t i = 0; i < N; i++)
        s[i] = 1;
    LobTest censored = lob_d_calibration(&data, s, bins);
    cr_expect(censored.statistic < 1e-20, "censored at once: spread evenly");
    cr_expect_not_null(lob_d_calibration(&(LobFollowUp){.n = 0}, s, NULL).reason);
}

Test(stats_binary, delong) {
    g_auto(Lung) lung = {0};
    lung_read(&lung);
    g_autofree uint8_t *outcome = g_new(uint8_t, lung.n);
    g_autofree double *lp = g_new(double, lung.n);
    g_autofree double *age = g_new(double, lung.n);
    size_t n = 0;
    for (size_t i = 0; i < lung.n; i++)
        if (lung.time[i] > 365 || lung.event[i]) {
            outcome[n] = lung.time[i] <= 365;
            lp[n] = lung.lp[i];
            age[n++] = lung.age[i];
        }
    g_auto(LobAuc) of_lp = {0}, of_age = {0};
    lob_auc_binary(&of_lp, outcome, lp, n);
    lob_auc_binary(&of_age, outcome, age, n);
    cr_expect(of_lp.n_cases == 120 && of_lp.n_controls == 65);
    expect_digits(of_lp.auc.estimate, ".6526282051", "AUC");
    expect_digits(of_lp.auc.se, ".0416278782", "DeLong se");
    expect_digits(of_age.auc.estimate, ".5398717949", "AUC of age");
    LobPairedDifference d = lob_auc_difference(n, &of_lp, &of_age);
    expect_digits(d.z, "2.490561646", "paired z");
    LobPairedDifference same = lob_auc_difference(n, &of_lp, &of_lp);
    cr_expect(same.z == 0 && same.p == 1);
}

/* glm(y ~ qlogis(p), binomial) and glm(y ~ offset(qlogis(p)), binomial) of R 4.2 on the same ten rows. */
Test(stats_binary, recalibration_and_edges) {
    static const uint8_t y[] = {0, 0, 1, 0, 1, 1, 0, 1, 1, 0}, ones[] = {1, 1, 1};
    static const double p[] = {.1, .2, .3, .4, .5, .6, .7, .8, .9, .35};
    LobBinaryCalibration c = lob_calibration_binary(y, p, 10);
    expect_digits(c.slope.estimate, "1.211096119028", "slope");
    expect_digits(c.slope.se, "0.81169493579", "slope se");
    expect_digits(c.intercept.estimate, "0.079797364269", "intercept");
    expect_digits(c.intercept.se, "0.729022817458", "intercept se");
    expect_digits(c.brier, "0.177250000000", "Brier");
    LobBinaryCalibration one_kind = lob_calibration_binary(ones, p, 3);
    cr_expect(isnan(one_kind.slope.estimate) && one_kind.reason && isfinite(one_kind.brier));
    g_auto(LobAuc) none = {0}, single = {0};
    lob_auc_binary(&none, ones, p, 3);
    cr_expect(isnan(none.auc.estimate) && none.auc.reason);
    lob_auc_binary(&single, y, p, 3);
    cr_expect(single.auc.estimate == 1 && isnan(single.auc.se) && single.auc.reason);
}
