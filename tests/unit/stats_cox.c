/* Cox regression against R's coxph (survival 3.5) with coxph.control(eps = 1e-14): its default 1e-9 stops one
 * Newton step short of the ninth digit. And edge cases. */
#include "stats_fixture.h"

static double *columns_of(const Lung *lung, size_t p, const double *const *columns) {
    double *x = g_new(double, lung->n *p);
    for (size_t i = 0; i < lung->n; i++)
        for (size_t j = 0; j < p; j++)
            x[i * p + j] = columns[j][i];
    return x;
}

Test(stats_cox, lung_three_columns) {
    g_auto(Lung) lung = {0};
    lung_read(&lung);
    g_autofree double *x = columns_of(&lung, 3, (const double *[]){lung.age, lung.sex, lung.ecog});
    const LobCoxDesign design = {.p = 3, .x = x, .robust = true};
    g_auto(LobCox) fit = {0};
    lob_cox_fit(&fit, &lung.followup, &design);
    static const char *beta[] = {"0.0110667645961", "-0.5526123955318", "0.4637284751157"};
    static const char *se[] = {".0092674110144", ".1677390537834", ".1135772661614"};
    static const char *robust[] = {".00988139278006", ".1647484279499", ".1241588486023"};
    for (size_t j = 0; j < 3; j++) {
        expect_digits(fit.beta[j], beta[j], "beta");
        expect_digits(fit.se[j], se[j], "se");
        expect_digits(fit.robust_se[j], robust[j], "robust se");
    }
    expect_digits(fit.loglik_null, "-744.480455761", "null");
    expect_digits(fit.loglik, "-729.230121375", "loglik");
    expect_digits(fit.likelihood_ratio.statistic, "30.5006688", "LR");
    expect_digits(fit.score.statistic, "30.49992270495", "score");
    expect_digits(fit.wald.statistic, "29.92925119758", "Wald");
    cr_expect(fit.converged && !fit.separated && fit.rank == 3 && fit.n_events == 164);
    g_auto(LobProportionality) ph = {0};
    lob_cox_proportionality(&ph, &fit, &lung.followup, &design);
    static const char *p[] = {".66459676319", ".12892199886", ".15178209893"};
    for (size_t j = 0; j < 3; j++)
        expect_digits(ph.column[j].p, p[j], "cox.zph");
    expect_digits(ph.global.p, ".21555494540", "cox.zph");
}

Test(stats_cox, weights_strata_and_clusters) {
    g_auto(Lung) lung = {0};
    lung_read(&lung);
    g_autofree double *weight = g_new(double, lung.n);
    for (size_t i = 0; i < lung.n; i++)
        weight[i] = .5 + fmod(lung.age[i], 7) / 7;
    LobFollowUp weighted = lung.followup;
    weighted.weight = weight;
    const LobCoxDesign of_sex = {.p = 1, .x = lung.sex, .robust = true};
    g_auto(LobCox) fit = {0}, clustered = {0}, stratified = {0};
    lob_cox_fit(&fit, &weighted, &of_sex);
    expect_digits(fit.beta[0], "-.5876748388429", "weighted");
    expect_digits(fit.robust_se[0], ".1620746099893", "weighted robust se");
    weighted.cluster = lung.age_mod_10;
    lob_cox_fit(&clustered, &weighted, &of_sex);
    expect_digits(clustered.robust_se[0], ".1794294497185", "clustered se");
    LobFollowUp by_sex = lung.followup;
    by_sex.stratum = lung.sex_label;
    lob_cox_fit(&stratified, &by_sex, &(LobCoxDesign){.p = 1, .x = lung.lp});
    expect_digits(stratified.beta[0], ".936745728798", "stratified");
    expect_digits(stratified.loglik, "-628.779834801", "stratified loglik");
    cr_expect_null(stratified.robust_se);
    cr_expect_not_null(stratified.robust_wald.reason);
}

Test(stats_cox, interaction_of_sex_and_score) {
    g_auto(Lung) lung = {0};
    lung_read(&lung);
    g_autofree uint32_t *arm = g_new(uint32_t, lung.n);
    for (size_t i = 0; i < lung.n; i++)
        arm[i] = lung.sex_label[i] - 1;
    g_auto(LobInteraction) result = {0};
    lob_interaction(&result, &lung.followup, arm, 2, lung.lp, NULL, 0);
    expect_digits(result.likelihood_ratio.statistic, ".00946840837", "LR sex x lp");
    cr_expect_eq(result.likelihood_ratio.df, 1);
    cr_expect(isfinite(result.interaction[0].se) && !result.reason);
}

Test(stats_cox, units_and_offsets_do_not_matter) {
    g_auto(Lung) lung = {0};
    lung_read(&lung);
    g_autofree double *x = columns_of(&lung, 2, (const double *[]){lung.age, lung.ecog});
    g_auto(LobCox) plain = {0}, scaled = {0}, shifted = {0};
    lob_cox_fit(&plain, &lung.followup, &(LobCoxDesign){.p = 2, .x = x, .robust = true});
    g_autofree double *offset = g_new(double, lung.n);
    for (size_t i = 0; i < lung.n; i++) {
        offset[i] = 700 + plain.beta[0] * lung.age[i];
        x[2 * i] = 5e8 + 1e6 * x[2 * i];
    }
    lob_cox_fit(&scaled, &lung.followup, &(LobCoxDesign){.p = 2, .x = x, .robust = true});
    expect_close(scaled.beta[0] * 1e6, plain.beta[0], 1e-9, "beta");
    expect_close(scaled.robust_se[0] * 1e6, plain.robust_se[0], 1e-9, "robust se");
    expect_close(scaled.loglik, plain.loglik, 1e-12, "loglik");
    lob_cox_fit(&shifted, &lung.followup, &(LobCoxDesign){.p = 1, .x = lung.ecog, .offset = offset});
    expect_close(shifted.beta[0], plain.beta[1], 1e-7, "beta with the other one as offset");
    expect_close(shifted.loglik, plain.loglik, 1e-12, "loglik with offset");
}

Test(stats_cox, baseline_is_nelson_aalen_without_columns) {
    static const double time[] = {1, 2, 2, 3}, x[] = {0, 0, 0, 0};
    static const uint8_t event[] = {1, 1, 1, 0};
    static const uint32_t stratum[] = {7, 7, 7, 7};
    LobFollowUp data = {.n = 4, .time = time, .event = event, .stratum = stratum};
    const LobCoxDesign design = {.p = 1, .x = x};
    g_auto(LobCox) fit = {0};
    lob_cox_fit(&fit, &data, &design);
    cr_expect(isnan(fit.beta[0]) && fit.rank == 0 && fit.wald.reason);
    g_auto(LobBaseline) baseline = {0};
    lob_cox_baseline(&baseline, &fit, &data, &design);
    cr_expect_eq(lob_baseline_at(&baseline, 7, 0.5), 0);
    expect_close(lob_baseline_at(&baseline, 7, 1), 0.25, 1e-15, "first step");
    expect_close(lob_baseline_at(&baseline, 7, 9), 0.25 + 1.0 / 3 + 1.0 / 2, 1e-15, "Efron steps");
    cr_expect_eq(lob_baseline_at(&baseline, 8, 9), 0);
}

Test(stats_cox, edges) {
    static const double time[] = {1, 2, 3, 4, 5, 6}, split[] = {1, 1, 1, 0, 0, 0},
                        twice[12] = {1, 2, 3, 6, 2, 4, 5, 10, 4, 8, 9, 18};
    static const uint8_t event[] = {1, 1, 1, 0, 0, 0}, none[6] = {0};
    LobFollowUp data = {.n = 6, .time = time, .event = event},
                no_events = {.n = 6, .time = time, .event = none};
    LobFollowUp one = {.n = 1, .time = time, .event = event};
    g_auto(LobCox) separated = {0}, nothing = {0}, single = {0}, aliased = {0}, empty = {0};
    lob_cox_fit(&separated, &data, &(LobCoxDesign){.p = 1, .x = split});
    cr_expect(separated.separated && separated.reason);
    lob_cox_fit(&nothing, &no_events, &(LobCoxDesign){.p = 1, .x = split, .robust = true});
    cr_expect(isnan(nothing.beta[0]) && isnan(nothing.se[0]) && isnan(nothing.wald.p));
    cr_expect_str_eq(nothing.reason, "no event");
    lob_cox_fit(&single, &one, &(LobCoxDesign){.p = 1, .x = split});
    cr_expect(isnan(single.beta[0]) && single.rank == 0);
    lob_cox_fit(&aliased, &data, &(LobCoxDesign){.p = 2, .x = twice, .robust = true});
    cr_expect(isfinite(aliased.beta[0]) && isnan(aliased.beta[1]) && aliased.rank == 1);
    cr_expect(isnan(aliased.robust_se[1]) && aliased.wald.df == 1);
    lob_cox_fit(&empty, &data, &(LobCoxDesign){.p = 0});
    cr_expect(empty.loglik == empty.loglik_null && empty.rank == 0);
}

Test(stats_cox, detectable_effects_and_e_values) {
    expect_close(lob_detectable_interaction(400, .5, .025, .8), (1.959963984540054 + .8416212335729143) / 10,
                 1e-14, "Schoenfeld");
    cr_expect(isnan(lob_detectable_interaction(0, .5, .025, .8)));
    /* VanderWeele & Ding 2017: RR 3.9 gives 7.26; HR 0.8 of a common outcome by their conversion. */
    expect_digits(lob_e_value(3.9, false), "7.26", "E-value");
    cr_expect_eq(lob_e_value(1, true), 1);
    expect_close(lob_e_value(.5, false), lob_e_value(2, false), 1e-15, "symmetric");
}
