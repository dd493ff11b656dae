/* Concordance against R's survival 3.5 and against its definition, pair by pair. */
#include "stats_fixture.h"

Test(stats_concordance, lung_harrell_and_uno) {
    g_auto(Lung) lung = {0};
    lung_read(&lung);
    g_auto(LobConcordance) c = {0};
    lob_concordance(&c, &lung.followup, lung.lp, NULL);
    expect_digits(c.c, ".634583312276", "C");
    expect_digits(c.se, ".024933033", "se");
    cr_expect(c.concordant == 12476 && c.discordant == 7150 && c.tied_score == 161 && c.tied_time == 28 &&
              c.tied_both == 0);
    g_auto(LobConcordance) uno = {0};
    lob_concordance(&uno, &lung.followup, lung.lp, &(LobConcordanceOptions){.uno = true});
    expect_digits(uno.c, ".622989726266", "Uno");
    expect_digits(uno.se, ".0234925518", "Uno se");
    g_auto(LobConcordance) bounded = {0};
    lob_concordance(&bounded, &lung.followup, lung.lp, &(LobConcordanceOptions){.uno = true, .tau = 730});
    expect_digits(bounded.c, ".624299062638", "Uno tau");
    expect_digits(bounded.se, ".0236833946", "Uno tau se");
}

Test(stats_concordance, toy_with_every_kind_of_tie) {
    static const double time[] = {1, 2, 2, 2, 3, 4, 4, 4, 5, 2}, x[] = {5, 5, 4, 4, 3, 3, 7, 6, 5, 4};
    static const uint8_t event[] = {1, 0, 1, 0, 1, 0, 1, 1, 0, 1};
    LobFollowUp data = {.n = 10, .time = time, .event = event};
    g_auto(LobConcordance) c = {0};
    lob_concordance(&c, &data, x, NULL);
    cr_expect(c.concordant == 13 && c.discordant == 13 && c.tied_score == 5 && c.tied_time == 1 &&
              c.tied_both == 1);
    cr_expect_eq(c.c, 0.5);
    g_auto(LobConcordance) uno = {0};
    lob_concordance(&uno, &data, x, &(LobConcordanceOptions){.uno = true});
    expect_digits(uno.c, ".512409513961", "Uno");
}

Test(stats_concordance, lung_stratified_and_paired) {
    g_auto(Lung) lung = {0};
    lung_read(&lung);
    LobFollowUp by_sex = lung.followup;
    by_sex.stratum = lung.sex_label;
    g_auto(LobConcordance) c = {0};
    lob_concordance(&c, &by_sex, lung.lp, NULL);
    expect_digits(c.c, ".605849182835", "stratified C");
    expect_digits(c.se, ".0265238851", "stratified se");
    cr_expect(c.concordant == 6276 && c.discordant == 4061 && c.tied_score == 126 && c.tied_time == 17 &&
              c.tied_both == 0);
    g_auto(LobConcordance) of_lp = {0}, of_age = {0};
    lob_concordance(&of_lp, &lung.followup, lung.lp, NULL);
    lob_concordance(&of_age, &lung.followup, lung.age, NULL);
    expect_digits(of_age.c, ".551144690959", "C of age");
    LobPairedDifference d = lob_concordance_difference(&lung.followup, &of_lp, &of_age);
    expect_digits(d.difference.estimate, ".083438621317", "difference");
    expect_digits(d.difference.se, ".0264550581", "its se");
    LobPairedDifference same = lob_concordance_difference(&lung.followup, &of_lp, &of_lp);
    cr_expect(same.z == 0 && same.p == 1);
}

static void random_rows(LobRng *rng, size_t n, double *time, uint8_t *event, double *weight, double *score,
                        uint32_t *stratum, uint32_t *cluster) {
    uint32_t times = 2 + lob_rng_below(rng, 30), scores = 1 + lob_rng_below(rng, 40);
    double death = 0.05 + 0.9 * lob_rng_uniform(rng);
    for (size_t i = 0; i < n; i++) {
        time[i] = lob_rng_below(rng, times);
        event[i] = lob_rng_uniform(rng) < death;
        weight[i] = lob_rng_uniform(rng) < 0.2 ? 0 : lob_rng_uniform(rng) * 3;
        score[i] = lob_rng_below(rng, scores) * 0.25;
        stratum[i] = 100 * lob_rng_below(rng, 3);
        cluster[i] = lob_rng_below(rng, 9);
    }
}

static void expect_same(const LobConcordance *a, const LobConcordance *b) {
    cr_assert_eq(isnan(a->c), isnan(b->c));
    if (isnan(a->c)) {
        cr_expect_not_null(a->reason);
        return;
    }
    double x[] = {a->c, a->se, a->concordant, a->discordant, a->tied_score, a->tied_time, a->tied_both};
    double y[] = {b->c, b->se, b->concordant, b->discordant, b->tied_score, b->tied_time, b->tied_both};
    for (size_t k = 0; k < G_N_ELEMENTS(x); k++)
        cr_expect(fabs(x[k] - y[k]) <= 1e-11 * fmax(1, fabs(y[k])), "figure %zu: %.17g, wanted %.17g", k,
                  x[k], y[k]);
}

Test(stats_concordance, trees_equal_the_definition) {
    enum { MOST = 60 };
    double time[MOST], weight[MOST], score[MOST];
    uint8_t event[MOST];
    uint32_t stratum[MOST], cluster[MOST];
    LobRng rng;
    lob_rng_init(&rng, 7, "concordance");
    for (int round = 0; round < 300; round++) {
        size_t n = lob_rng_below(&rng, MOST + 1);
        random_rows(&rng, n, time, event, weight, score, stratum, cluster);
        LobFollowUp data = {.n = n,
                            .time = time,
                            .event = event,
                            .weight = round % 2 ? weight : NULL,
                            .stratum = round % 3 ? stratum : NULL,
                            .cluster = round % 5 ? cluster : NULL};
        LobConcordanceOptions options = {.uno = round % 4 == 0, .tau = round % 7 == 0 ? 10 : 0};
        g_auto(LobConcordance) fast = {0}, slow = {0};
        lob_concordance(&fast, &data, score, &options);
        lob_concordance_reference(&slow, &data, score, &options);
        expect_same(&fast, &slow);
        if (!options.uno && options.tau == 0) {
            g_autoptr(LobConcordancePlan) plan = lob_concordance_plan_new(&data, score);
            for (size_t i = 0; i < n; i++)
                weight[i] = data.weight ? weight[i] : 1;
            double c = lob_concordance_plan_c(plan, weight);
            cr_expect((isnan(c) && isnan(slow.c)) || fabs(c - slow.c) < 1e-12, "plan %.17g, wanted %.17g", c,
                      slow.c);
        }
    }
}

/* R: concordance(Surv(t, e) ~ x + strata(s), reverse = TRUE, timewt = "n/G2"), each stratum with its own G.
 */
Test(stats_concordance, uno_within_strata) {
    static const double time[] = {5, 3, 8, 2, 9, 4, 7, 7, 1, 6}, x[] = {3, 2, 1, 5, 4, 3, 2, 6, 7, 1};
    static const uint8_t event[] = {1, 1, 0, 1, 1, 0, 1, 0, 1, 1};
    static const uint32_t stratum[] = {1, 1, 1, 1, 1, 2, 2, 2, 2, 2};
    LobFollowUp data = {.n = 10, .time = time, .event = event, .stratum = stratum};
    g_auto(LobConcordance) own = {0};
    lob_concordance(&own, &data, x, &(LobConcordanceOptions){.uno = true});
    expect_digits(own.c, ".54545454545455", "stratified Uno");
    expect_digits(own.se, ".21656046707372", "its se");
    cr_expect_not(own.pooled_censoring);
}

Test(stats_concordance, uno_pools_censoring_where_a_stratum_has_none_left) {
    enum { N = 60 };
    double time[N], score[N];
    uint8_t event[N];
    uint32_t stratum[N];
    for (size_t i = 0; i < N; i++) {
        stratum[i] = i < N / 2;
        time[i] = (double)(i % (N / 2));
        score[i] = (double)((i * 7) % 11);
        /* Stratum 1 dies on its first and its last day; in between everybody is censored. */
        event[i] = stratum[i] == 0 || i == 0 || i == N / 2 - 2;
    }
    LobFollowUp data = {.n = N, .time = time, .event = event, .stratum = stratum};
    g_auto(LobConcordance) all = {0}, early = {0};
    lob_concordance(&all, &data, score, &(LobConcordanceOptions){.uno = true});
    lob_concordance(&early, &data, score, &(LobConcordanceOptions){.uno = true, .tau = 10});
    cr_expect(all.pooled_censoring && isfinite(all.c));
    cr_expect(!early.pooled_censoring && isfinite(early.c));
}

/* Of six patients in their right order one of the 6! = 720 orders reaches C = 1. */
Test(stats_concordance, permutation) {
    static const double time[] = {1, 2, 3, 4, 5, 6}, right[] = {6, 5, 4, 3, 2, 1}, tied[6] = {0};
    static const uint8_t event[] = {1, 1, 1, 1, 1, 1};
    static const uint32_t two[] = {0, 0, 0, 1, 1, 1};
    LobFollowUp data = {.n = 6, .time = time, .event = event};
    LobTest test = lob_concordance_permutation(&data, right, 20000, 3);
    cr_expect(test.statistic == 1 && fabs(test.p - 1 / 720.0) < 4 * sqrt(1 / 720.0 / 20000), "p %g", test.p);
    data.stratum = two; /* (1 / 3!)^2: strata are dealt apart */
    test = lob_concordance_permutation(&data, right, 20000, 3);
    cr_expect(fabs(test.p - 1 / 36.0) < 4 * sqrt(1 / 36.0 / 20000), "p %g within strata", test.p);
    test = lob_concordance_permutation(&data, tied, 10, 3);
    cr_expect(isnan(test.p) && test.reason);
}

Test(stats_concordance, edges) {
    static const double time[] = {1, 2, 3, 4}, tied[] = {1, 1, 1, 1}, up[] = {4, 3, 2, 1};
    static const uint8_t none[] = {0, 0, 0, 0}, all[] = {1, 1, 1, 1};
    LobFollowUp no_events = {.n = 4, .time = time, .event = none};
    LobFollowUp every = {.n = 4, .time = time, .event = all};
    LobFollowUp one = {.n = 1, .time = time, .event = all};
    g_auto(LobConcordance) a = {0}, b = {0}, c = {0}, d = {0};
    lob_concordance(&a, &no_events, up, NULL);
    cr_expect(isnan(a.c) && isnan(a.se));
    cr_expect_str_eq(a.reason, "no event");
    lob_concordance(&b, &one, up, NULL);
    cr_expect(isnan(b.c));
    cr_expect_str_eq(b.reason, "no comparable pair");
    lob_concordance(&c, &every, tied, NULL);
    cr_expect(isnan(c.c) && isnan(c.se) && c.tied_score == 6 && c.reason,
              "all scores tied: nothing is ranked");
    lob_concordance(&d, &every, up, NULL);
    cr_expect(d.c == 1 && d.se == 0 && d.upper == 1, "perfect: 1, without variance");
    LobPairedDifference with_missing = lob_concordance_difference(&every, &a, &d);
    cr_expect(isnan(with_missing.p) && with_missing.difference.reason);
}
