/* Random data sets (ties, heavy censoring, tiny groups, weights) computed here and again in R by
 * tests/oracles/stats_live.R, which prints the largest difference. LOB_STATS_LIVE=200 asks for more sets. */
#include "stats_fixture.h"

#include <glib/gstdio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { MOST = 120 };

typedef struct {
    size_t n;
    double time[MOST], weight[MOST], score[MOST], score2[MOST], x[3 * MOST], risk[MOST], t0;
    uint8_t event[MOST], cause[MOST], outcome[MOST];
    uint32_t stratum[MOST], cluster[MOST], arm[MOST];
} Set;

static void draw_set(Set *s, uint64_t number) {
    LobRng rng;
    lob_rng_init(&rng, number, "live");
    s->n = 12 + lob_rng_below(&rng, MOST - 12);
    uint32_t times = 5 + lob_rng_below(&rng, 60), scores = 3 + lob_rng_below(&rng, 100);
    double death = .08 + .85 * lob_rng_uniform(&rng);
    s->t0 = 1 + lob_rng_below(&rng, times / 2);
    for (size_t i = 0; i < s->n; i++) {
        s->score[i] = (double)lob_rng_below(&rng, scores) / scores;
        s->score2[i] = lob_rng_normal(&rng) + s->score[i];
        double late = lob_rng_exponential(&rng) / (.5 + s->score[i]);
        s->time[i] = fmin(floor(late * times / 2), times);
        s->event[i] = lob_rng_uniform(&rng) < death;
        s->cause[i] = (uint8_t)(s->event[i] ? 1 + lob_rng_below(&rng, 2) : 0);
        s->weight[i] = .25 * (1 + lob_rng_below(&rng, 12));
        s->x[3 * i] = s->score[i];
        s->x[3 * i + 1] = lob_rng_below(&rng, 2);
        s->x[3 * i + 2] = 10 * lob_rng_normal(&rng);
        s->risk[i] = .02 + .96 * lob_expit(3 * (s->score[i] - .5) + .1 * s->score2[i]);
        s->outcome[i] = lob_rng_uniform(&rng) < s->risk[i];
        s->stratum[i] = lob_rng_below(&rng, 3);
        s->cluster[i] = lob_rng_below(&rng, 15);
        s->arm[i] = lob_rng_uniform(&rng) < .1 ? 2 : lob_rng_below(&rng, 2);
    }
}

static void write_set(const Set *s, const char *folder, uint64_t number) {
    g_autofree char *path = g_strdup_printf("%s/set%03" G_GUINT64_FORMAT ".csv", folder, number);
    FILE *f = fopen(path, "w");
    cr_assert(f);
    fprintf(f, "time,event,cause,outcome,weight,score,score2,x1,x2,x3,risk,stratum,cluster,arm,t0\n");
    for (size_t i = 0; i < s->n; i++)
        fprintf(f, "%.17g,%d,%d,%d,%.17g,%.17g,%.17g,%.17g,%.17g,%.17g,%.17g,%u,%u,%u,%.17g\n", s->time[i],
                s->event[i], s->cause[i], s->outcome[i], s->weight[i], s->score[i], s->score2[i], s->x[3 * i],
                s->x[3 * i + 1], s->x[3 * i + 2], s->risk[i], s->stratum[i], s->cluster[i], s->arm[i], s->t0);
    cr_assert(fclose(f) == 0);
}

static void put(FILE *f, const char *name, double value) {
    if (isnan(value))
        fprintf(f, "%s,NA\n", name);
    else
        fprintf(f, "%s,%.17g\n", name, value);
}

static void put_curves(FILE *f, const Set *s, const LobFollowUp *plain) {
    g_auto(LobKm) km = {0}, weighted = {0};
    lob_km_fit(&km, plain);
    LobEstimate at = lob_km_at(&km, s->t0), rmst = lob_rmst(plain, s->t0);
    put(f, "km.surv", at.estimate);
    put(f, "km.se", at.se);
    put(f, "km.lower", at.lower);
    put(f, "km.upper", at.upper);
    put(f, "km.median", km.median);
    put(f, "km.median.lower", km.median_lower);
    put(f, "km.median.upper", km.median_upper);
    put(f, "followup.median", lob_followup_median(plain).estimate);
    put(f, "rmst", rmst.estimate);
    put(f, "rmst.se", rmst.se);
    LobFollowUp w = *plain;
    w.weight = s->weight;
    lob_km_fit(&weighted, &w);
    put(f, "km.weighted", lob_km_at(&weighted, s->t0).estimate);
    LobFollowUp causes = *plain;
    causes.event = s->cause;
    g_auto(LobAalenJohansen) aj = {0};
    lob_aalen_johansen(&aj, &causes, 2);
    LobEstimate incidence = lob_aalen_johansen_at(&aj, 1, s->t0);
    put(f, "aj.incidence", incidence.estimate);
    put(f, "aj.se", incidence.se);
    LobFollowUp strata = *plain;
    strata.stratum = s->stratum;
    g_auto(LobLogRank) lr = {0}, stratified = {0};
    lob_log_rank(&lr, plain, s->arm, 3);
    lob_log_rank(&stratified, &strata, s->arm, 3);
    put(f, "logrank", lr.test.statistic);
    put(f, "logrank.strata", stratified.test.statistic);
}

static void put_cox(FILE *f, const Set *s, const LobFollowUp *plain) {
    const LobCoxDesign design = {.p = 3, .x = s->x, .robust = true};
    LobFollowUp full = *plain;
    full.weight = s->weight;
    full.stratum = s->stratum;
    full.cluster = s->cluster;
    g_auto(LobCox) a = {0}, b = {0};
    lob_cox_fit(&a, plain, &design);
    lob_cox_fit(&b, &full, &design);
    /* An infinite coefficient has no digits to compare. */
    if (!a.reason) {
        put(f, "cox.loglik", a.loglik);
        put(f, "cox.lr", a.likelihood_ratio.statistic);
        put(f, "cox.wald", a.wald.statistic);
        put(f, "cox.score", a.score.statistic);
        g_auto(LobBaseline) baseline = {0};
        lob_cox_baseline(&baseline, &a, plain, &design);
        put(f, "cox.hazard", lob_baseline_at(&baseline, 0, s->t0));
    }
    for (size_t j = 0; j < 3; j++) {
        char name[40];
        if (!a.reason) {
            snprintf(name, sizeof name, "cox.beta%zu", j + 1);
            put(f, name, a.beta[j]);
            snprintf(name, sizeof name, "cox.robust%zu", j + 1);
            put(f, name, a.robust_se[j]);
        }
        if (!b.reason) {
            snprintf(name, sizeof name, "coxw.beta%zu", j + 1);
            put(f, name, b.beta[j]);
            snprintf(name, sizeof name, "coxw.robust%zu", j + 1);
            put(f, name, b.robust_se[j]);
        }
    }
    g_auto(LobProportionality) ph = {0};
    lob_cox_proportionality(&ph, &b, &full, &design);
    if (!b.reason) {
        put(f, "coxw.zph1", ph.column[0].statistic);
        put(f, "coxw.zph", ph.global.statistic);
    }
    LobFollowUp strata = *plain;
    strata.stratum = s->stratum;
    g_auto(LobInteraction) interaction = {0};
    lob_interaction(&interaction, &strata, s->arm, 3, s->score2, NULL, 0);
    if (!interaction.reason) {
        put(f, "interaction.lr", interaction.likelihood_ratio.statistic);
        put(f, "interaction.wald", interaction.robust_wald.statistic);
    }
}

static void put_concordance(FILE *f, const Set *s, const LobFollowUp *plain) {
    LobFollowUp full = *plain;
    full.weight = s->weight;
    full.stratum = s->stratum;
    full.cluster = s->cluster;
    g_auto(LobConcordance) c = {0}, w = {0}, uno = {0}, other = {0};
    lob_concordance(&c, plain, s->score, NULL);
    lob_concordance(&other, plain, s->score2, NULL);
    lob_concordance(&w, &full, s->score, NULL);
    lob_concordance(&uno, plain, s->score, &(LobConcordanceOptions){.uno = true, .tau = s->t0});
    LobPairedDifference d = lob_concordance_difference(plain, &c, &other);
    put(f, "c", c.c);
    put(f, "c.se", c.se);
    put(f, "c.weighted", w.c);
    put(f, "c.weighted.se", w.se);
    put(f, "c.uno", uno.c);
    put(f, "c.uno.se", uno.se);
    put(f, "c.difference", d.difference.estimate);
    put(f, "c.difference.se", d.difference.se);
}

static void put_horizon(FILE *f, const Set *s, const LobFollowUp *plain) {
    put(f, "auc", lob_auc_at(plain, s->score, s->t0).estimate);
    double survival[MOST];
    for (size_t i = 0; i < s->n; i++)
        survival[i] = 1 - s->risk[i];
    LobBrier b = lob_brier_at(plain, survival, s->t0);
    put(f, "brier", b.brier);
    put(f, "brier.null", b.null_brier);
    g_auto(LobCalibration) c = {0};
    lob_calibration_at(&c, plain, s->risk, s->t0);
    put(f, "oe", c.oe.estimate);
    if (!c.reason) {
        put(f, "calibration.slope", c.slope.estimate);
        put(f, "ici", c.ici);
        put(f, "e90", c.e90);
    }
    put(f, "net.benefit", lob_net_benefit(plain, s->risk, s->t0, .5).model);
}

static void put_rest(FILE *f, const Set *s) {
    g_auto(LobAuc) a = {0}, b = {0};
    lob_auc_binary(&a, s->outcome, s->score, s->n);
    lob_auc_binary(&b, s->outcome, s->score2, s->n);
    LobPairedDifference d = lob_auc_difference(s->n, &a, &b);
    put(f, "delong.auc", a.auc.estimate);
    put(f, "delong.se", a.auc.se);
    put(f, "delong.z", d.z);
    LobBinaryCalibration c = lob_calibration_binary(s->outcome, s->risk, s->n);
    if (!c.reason) {
        put(f, "logistic.slope", c.slope.estimate);
        put(f, "logistic.intercept", c.intercept.estimate);
    }
    g_auto(LobMultinomial) fit = {0};
    lob_multinomial_fit(&fit, s->x, s->n, 3, s->arm, 3, NULL, 0);
    if (!fit.reason)
        put(f, "multinomial.loglik", fit.loglik);
    double y[12], se[12];
    size_t k = 3 + s->n % 10;
    for (size_t i = 0; i < k; i++) {
        y[i] = s->score2[i];
        se[i] = .2 + s->score[i];
    }
    LobMeta meta = lob_meta(y, se, k, &(LobMetaOptions){.tau2 = LOB_TAU2_REML, .hartung_knapp = true});
    put(f, "meta.tau2", meta.tau2);
    put(f, "meta.mu", meta.mu);
    put(f, "meta.se", meta.se);
    put(f, "meta.pi", meta.prediction_knha_upper);
    put(f, "meta.dl", lob_meta(y, se, k, &(LobMetaOptions){.tau2 = LOB_TAU2_DL}).mu);
}

static void compute_set(const char *folder, uint64_t number) {
    Set s;
    draw_set(&s, number);
    write_set(&s, folder, number);
    g_autofree char *path = g_strdup_printf("%s/figures%03" G_GUINT64_FORMAT ".csv", folder, number);
    FILE *f = fopen(path, "w");
    cr_assert(f);
    fprintf(f, "name,value\n");
    const LobFollowUp plain = {.n = s.n, .time = s.time, .event = s.event};
    put_curves(f, &s, &plain);
    put_cox(f, &s, &plain);
    put_concordance(f, &s, &plain);
    put_horizon(f, &s, &plain);
    put_rest(f, &s);
    cr_assert(fclose(f) == 0);
}

Test(stats_live, random_sets_in_r, .timeout = 300) {
    g_autofree char *rscript = g_find_program_in_path("Rscript");
    if (!rscript)
        cr_skip_test("Rscript is not installed: no live comparison");
    const char *wanted = g_getenv("LOB_STATS_LIVE");
    uint64_t sets = wanted ? g_ascii_strtoull(wanted, NULL, 10) : 20;
    g_autoptr(GError) err = NULL;
    g_autofree char *folder = g_dir_make_tmp("lobule-live-XXXXXX", &err);
    cr_assert(folder, "%s", err ? err->message : "");
    for (uint64_t k = 1; k <= sets; k++)
        compute_set(folder, k);
    char script[] = LOB_SOURCE_DIR "/tests/oracles/stats_live.R";
    char *argv[] = {rscript, script, folder, NULL};
    g_autofree char *out = NULL;
    g_autofree char *complaint = NULL;
    int status = -1;
    cr_assert(g_spawn_sync(NULL, argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, &out, &complaint, &status, &err),
              "%s", err ? err->message : "");
    if (g_spawn_check_wait_status(status, NULL)) {
        const char *last_line = strstr(out, "largest difference of all");
        cr_assert(last_line);
        fprintf(stderr, "%" G_GUINT64_FORMAT " random data sets in R: %s", sets, wanted ? out : last_line);
    } else if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        cr_skip_test("%s", out);
    else
        cr_assert_fail("R disagrees:\n%s%s", out, complaint);
}
