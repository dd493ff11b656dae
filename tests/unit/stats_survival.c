/* Kaplan-Meier, log-rank and their edge cases. Goldens: R's survival 3.5, tests/oracles/stats_lung.R. */
#include "stats_fixture.h"

Test(stats_km, lung_curve_and_interval) {
    g_auto(Lung) lung = {0};
    lung_read(&lung);
    g_auto(LobKm) km = {0};
    lob_km_fit(&km, &lung.followup);
    static const struct {
        double t;
        const char *s, *lower, *upper;
    } golden[] = {{180, ".724849819", ".661487811", ".778361094"},
                  {365, ".411044451", ".340264170", ".480367974"},
                  {730, ".116202760", ".067928077", ".178580728"}};
    for (size_t i = 0; i < G_N_ELEMENTS(golden); i++) {
        LobEstimate s = lob_km_at(&km, golden[i].t);
        expect_digits(s.estimate, golden[i].s, "S");
        expect_digits(s.lower, golden[i].lower, "lower");
        expect_digits(s.upper, golden[i].upper, "upper");
    }
    cr_expect_eq(km.median, 310);
    cr_expect_eq(km.median_lower, 284);
    cr_expect_eq(km.median_upper, 361);
    cr_expect_eq(km.total_events, 164);
    cr_expect_eq(lob_km_at_risk(&km, 0), 227);
    cr_expect_eq(lob_km_at_risk(&km, 5), 227);
    cr_expect_eq(lob_km_at_risk(&km, 5.5), 226);
    cr_expect_eq(lob_km_at_risk(&km, 1e6), 0);
}

static LobKm km_of(const double *time, const uint8_t *event, size_t n) {
    LobKm km;
    LobFollowUp data = {.n = n, .time = time, .event = event};
    lob_km_fit(&km, &data);
    return km;
}

/* Answers of survfit(conf.type = "log-log") and quantile() for the same rows. */
Test(stats_km, medians_at_the_edges) {
    static const struct {
        size_t n;
        double time[8];
        uint8_t event[8];
        double median, lower, upper;
    } c[] = {{4, {1, 2, 3, 4}, {1, 1, 0, 0}, 3, 1, NAN},
             {4, {1, 2, 3, 4}, {1, 1, 1, 1}, 2.5, 1, NAN},
             {8, {1, 2, 3, 4, 5, 6, 7, 8}, {1, 1, 1, 1, 1, 1, 1, 1}, 4.5, 1, 7},
             {6, {1, 2, 3, 4, 5, 6}, {1, 1, 1, 0, 0, 0}, 4.5, 1, NAN},
             {4, {0, 0, 0, 3}, {1, 1, 0, 1}, 1.5, 0, NAN},
             {1, {5}, {1}, 5, NAN, NAN},
             {1, {5}, {0}, NAN, NAN, NAN},
             {0, {0}, {0}, NAN, NAN, NAN}};
    for (size_t i = 0; i < G_N_ELEMENTS(c); i++) {
        g_auto(LobKm) km = km_of(c[i].time, c[i].event, c[i].n);
        double got[] = {km.median, km.median_lower, km.median_upper};
        double wanted[] = {c[i].median, c[i].lower, c[i].upper};
        for (int k = 0; k < 3; k++)
            cr_expect(got[k] == wanted[k] || (isnan(got[k]) && isnan(wanted[k])),
                      "case %zu.%d: %g, wanted %g", i, k, got[k], wanted[k]);
    }
}

Test(stats_km, values_at_the_edges) {
    static const double time[] = {2, 4, 4, 6};
    static const uint8_t all[] = {1, 1, 1, 1}, none[] = {0, 0, 0, 0}, tied[] = {0, 1, 0, 0};
    g_auto(LobKm) every = km_of(time, all, 4);
    cr_expect_eq(lob_km_at(&every, 100).estimate, 0, "the curve stays at 0");
    cr_expect(isnan(lob_km_at(&every, 100).lower), "no interval at S = 0");
    g_auto(LobKm) nobody = km_of(time, none, 4);
    LobEstimate flat = lob_km_at(&nobody, 5);
    cr_expect(flat.estimate == 1 && flat.lower == 1 && flat.upper == 1 && flat.se == 0);
    cr_expect(isnan(lob_km_at(&nobody, 7).estimate), "nothing is known beyond the last follow-up");
    cr_expect_not_null(lob_km_at(&nobody, 7).reason);
    g_auto(LobKm) both = km_of(time, tied, 4);
    expect_close(lob_km_at(&both, 4).estimate, 2.0 / 3, 1e-15, "a tied censoring is still at risk");
    g_auto(LobKm) one = km_of(time, all, 1);
    cr_expect_eq(lob_km_at(&one, 1).estimate, 1);
    cr_expect_eq(lob_km_at(&one, 2).estimate, 0);
    g_auto(LobKm) empty = km_of(time, all, 0);
    cr_expect(isnan(lob_km_at(&empty, 1).estimate));
}

Test(stats_km, weights_repeat_rows) {
    static const double time[] = {1, 2, 2, 3, 5}, twice[] = {1, 1, 2, 2, 3, 5, 5, 5};
    static const uint8_t event[] = {1, 0, 1, 0, 1}, events[] = {1, 1, 0, 1, 0, 1, 1, 1};
    static const double weight[] = {2, 1, 1, 1, 3};
    LobFollowUp data = {.n = 5, .time = time, .event = event, .weight = weight};
    g_auto(LobKm) a = {0};
    lob_km_fit(&a, &data);
    g_auto(LobKm) b = km_of(twice, events, 8);
    cr_assert_eq(a.n_times, b.n_times);
    for (size_t k = 0; k < a.n_times; k++) {
        expect_close(a.survival[k], b.survival[k], 1e-15, "S");
        cr_expect(a.se[k] == b.se[k] || (isnan(a.se[k]) && isnan(b.se[k])));
    }
}

Test(stats_log_rank, lung_by_sex) {
    g_auto(Lung) lung = {0};
    lung_read(&lung);
    g_autofree uint32_t *group = g_new(uint32_t, lung.n);
    for (size_t i = 0; i < lung.n; i++)
        group[i] = lung.sex_label[i] - 1;
    g_auto(LobLogRank) plain = {0};
    lob_log_rank(&plain, &lung.followup, group, 2);
    expect_digits(plain.test.statistic, "10.0081738057", "log-rank");
    cr_expect_eq(plain.test.df, 1);
    LobFollowUp stratified = lung.followup;
    stratified.stratum = lung.ecog_label;
    g_auto(LobLogRank) by_ecog = {0};
    lob_log_rank(&by_ecog, &stratified, group, 2);
    expect_digits(by_ecog.test.statistic, "10.7950596335", "stratified log-rank");
    g_auto(LobLogRank) with_empty = {0};
    for (size_t i = 0; i < lung.n; i++)
        group[i] *= 2;
    lob_log_rank(&with_empty, &lung.followup, group, 3);
    expect_close(with_empty.test.statistic, plain.test.statistic, 1e-12, "an empty group changes nothing");
    cr_expect_eq(with_empty.test.df, 1);
}

Test(stats_log_rank, nothing_to_compare) {
    static const double time[] = {1, 2, 3};
    static const uint8_t none[] = {0, 0, 0}, all[] = {1, 1, 1};
    static const uint32_t group[] = {0, 1, 0}, same[] = {0, 0, 0};
    LobFollowUp no_events = {.n = 3, .time = time, .event = none};
    LobFollowUp one_group = {.n = 3, .time = time, .event = all};
    LobFollowUp one_patient = {.n = 1, .time = time, .event = all};
    struct {
        const LobFollowUp *data;
        const uint32_t *group;
    } c[] = {{&no_events, group}, {&one_group, same}, {&one_patient, group}};
    for (size_t i = 0; i < G_N_ELEMENTS(c); i++) {
        g_auto(LobLogRank) result = {0};
        lob_log_rank(&result, c[i].data, c[i].group, 2);
        cr_expect(isnan(result.test.statistic) && result.test.reason, "case %zu", i);
    }
}
