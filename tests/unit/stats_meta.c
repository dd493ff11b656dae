/* Meta-analysis against metafor's BCG example (13 trials of log risk ratios, dat.bcg), and distributions
 * against R's p and q functions. */
#include "stats_fixture.h"

/* Counts of Colditz et al. 1994: tuberculosis and none, vaccinated and control. */
static const double bcg[13][4] = {{4, 119, 11, 128},       {6, 300, 29, 274},        {3, 228, 11, 209},
                                  {62, 13536, 248, 12619}, {33, 5036, 47, 5761},     {180, 1361, 372, 1079},
                                  {8, 2537, 10, 619},      {505, 87886, 499, 87892}, {29, 7470, 45, 7232},
                                  {17, 1699, 65, 1600},    {186, 50448, 141, 27197}, {5, 2493, 3, 2338},
                                  {27, 16886, 29, 17825}};

static void bcg_effects(double *y, double *se) {
    for (int i = 0; i < 13; i++) {
        double treated = bcg[i][0] + bcg[i][1], control = bcg[i][2] + bcg[i][3];
        y[i] = log(bcg[i][0] / treated) - log(bcg[i][2] / control);
        se[i] = sqrt(1 / bcg[i][0] - 1 / treated + 1 / bcg[i][2] - 1 / control);
    }
}

Test(stats_meta, bcg) {
    double y[13], se[13];
    bcg_effects(y, se);
    LobMeta dl = lob_meta(y, se, 13, &(LobMetaOptions){.tau2 = LOB_TAU2_DL});
    expect_digits(dl.q, "152.2330081", "Q");
    expect_digits(dl.tau2, ".3087602629", "DL tau2");
    expect_digits(dl.mu, "-.7141172221", "DL mu");
    expect_digits(dl.se, ".1787420895", "DL se");
    LobMeta reml = lob_meta(y, se, 13, &(LobMetaOptions){.tau2 = LOB_TAU2_REML, .hartung_knapp = true});
    expect_digits(reml.tau2, ".3132432581", "REML tau2");
    expect_digits(reml.mu, "-.7145323422", "REML mu");
    expect_digits(reml.se_plain, ".1797815161", "REML se");
    expect_digits(reml.se, ".1807917441", "HK se");
    expect_digits(reml.i2 * 100, "92.2213845", "I2");
    expect_digits(reml.prediction_lower, "-2.0083759", "PI t(k-2)");
    expect_digits(reml.prediction_upper, ".5793112", "PI t(k-2)");
    /* rma() with threshold = 1e-14; its default 1e-5 leaves the 7th digit open (.56695227). */
    expect_digits(reml.prediction_knha_lower, "-1.99601683420", "PI knha");
    expect_digits(reml.prediction_knha_upper, ".56695214988", "PI knha");
    cr_expect(reml.converged);
}

Test(stats_meta, few_centers_and_bad_ones) {
    static const double y[] = {.5, .7, 1, .6}, se[] = {.1, .2, 0, NAN}, same[] = {.5, .5, .5, .5};
    static const double even[] = {.1, .1, .1, .1};
    const LobMetaOptions options = {.tau2 = LOB_TAU2_REML, .hartung_knapp = true, .floor = true};
    LobMeta none = lob_meta(y, se, 0, &options);
    cr_expect(isnan(none.mu) && none.reason);
    LobMeta one = lob_meta(y, se, 1, &options);
    cr_expect(one.mu == .5 && one.tau2 == 0 && one.k == 1 && isnan(one.prediction_lower) && one.reason);
    expect_close(one.lower, .5 - .1959963984540054, 1e-15, "its own interval");
    LobMeta two = lob_meta(y, se, 4, &options);
    cr_expect(two.k == 2 && two.dropped == 2 && isnan(two.prediction_upper) && isfinite(two.lower));
    LobMeta flat = lob_meta(same, even, 4, &options);
    cr_expect(flat.tau2 == 0 && flat.i2 == 0 && flat.q == 0);
    expect_close(flat.se, .05, 1e-15, "floored at the plain se");
    LobMeta unfloored = lob_meta(same, even, 4, &(LobMetaOptions){.hartung_knapp = true});
    cr_expect_eq(unfloored.se, 0);
}

Test(stats_meta, concordances_on_the_logit_scale) {
    static const double c[] = {.7, .6, 1, .65}, se[] = {.03, .04, .01, .05};
    LobMeta meta = lob_meta_of_c(c, se, 4, &(LobMetaOptions){.tau2 = LOB_TAU2_REML});
    cr_expect(meta.k == 3 && meta.dropped == 1, "C = 1 has no logit");
    cr_expect(meta.mu > .6 && meta.mu < .7 && meta.lower < meta.mu && meta.mu < meta.upper);
    cr_expect(meta.prediction_lower > 0 && meta.prediction_upper < 1);
}

/* R 4.2: qnorm, pt, qt, pchisq(lower = FALSE), pf(lower = FALSE). */
Test(stats_distributions, equal_r) {
    expect_close(lob_normal_quantile(.975), 1.95996398454005449, 1e-15, "qnorm");
    expect_close(lob_normal_quantile(1e-10), -6.3613409024040557, 1e-14, "qnorm tail");
    cr_expect(isinf(lob_normal_quantile(0)) && isnan(lob_normal_quantile(2)));
    expect_close(lob_t_quantile(.975, 11), 2.2009851600916388, 1e-13, "qt");
    expect_close(lob_t_quantile(.975, 1), 12.706204736174694, 1e-13, "qt df 1");
    expect_close(lob_t_quantile(.025, 2), -4.3026527297494637, 1e-13, "qt df 2");
    expect_close(lob_t_cdf(-3, 4), 0.019970984035859413, 1e-13, "pt");
    static const double chi2[][3] = {{.1, 3, 9.9183742373187644e-01},   {1, 3, 8.0125195690120077e-01},
                                     {5, 3, 1.7179714429673321e-01},    {30, 3, 1.3800570312932547e-06},
                                     {200, 3, 4.2185411071920418e-43},  {.3, 1, 0.58388242077036522915},
                                     {12, 1, 0.00053200550513924966},   {100, 100, 0.48119168452795668678},
                                     {150, 100, 0.00090393204235400938}};
    for (size_t i = 0; i < G_N_ELEMENTS(chi2); i++)
        expect_close(lob_chi2_upper(chi2[i][0], chi2[i][1]) / chi2[i][2], 1, 1e-12, "pchisq");
    expect_close(lob_f_upper(.5, 3, 7), 0.69403638756881380623, 1e-13, "pf");
    expect_close(lob_f_upper(3, 3, 7), 0.10457022123528914026, 1e-13, "pf");
    expect_close(lob_f_upper(20, 3, 7) / 0.00082257924660751472, 1, 1e-12, "pf");
    cr_expect_eq(lob_t_quantile(.5, 3), 0);
}
