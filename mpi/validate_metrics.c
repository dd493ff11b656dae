/* How well held-out patients were ranked: each center by itself, all of them with pairs taken within centers,
 * and the centers' values pooled by a random-effects model. */
#include "mpi/validate.h"
#include "stats/stats.h"

#include <math.h>
#include <string.h>

#define PERMUTATIONS 999
#define PERMUTATION_SEED 1

/* The rows of one endpoint and model as the statistics want them. A label is follow-up with cases at 0 and
 * controls at 1: comparable pairs are then case against control, and C is the AUC. */
typedef struct {
    size_t n;
    double *time, *score;
    uint8_t *event;
    uint32_t *stratum, *cluster, *center;
    const LobScore **from;
    size_t unscorable; /* left out: of a label that training never saw, or ranked for one */
} Sample;

static void sample_clear(Sample *s) {
    g_free(s->time);
    g_free(s->score);
    g_free(s->event);
    g_free(s->stratum);
    g_free(s->cluster);
    g_free(s->center);
    g_free(s->from);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Sample, sample_clear)

typedef struct {
    const LobPlan *plan;
    const LobScores *scores;
    const char *endpoint, *model;
    LobCsv *metrics, *meta;
} Sheet;

static const LobEndpoint *endpoint_of(const LobPlan *plan, const LobScores *scores) {
    return &plan->cohort->study->endpoints[scores->endpoint];
}

/* center < 0: all. positive: the class that counts as case (labels); < 0: whichever the patient has. */
static void sample_take(Sample *s, const LobPlan *plan, const LobScores *scores, int center, int positive) {
    const LobCohort *cohort = plan->cohort;
    size_t e = scores->endpoint, n = MAX(scores->n, 1);
    bool survival = endpoint_of(plan, scores)->kind == LOB_ENDPOINT_SURVIVAL;
    *s = (Sample){0,
                  g_new(double, n),
                  g_new(double, n),
                  g_new(uint8_t, n),
                  g_new(uint32_t, n),
                  g_new(uint32_t, n),
                  g_new(uint32_t, n),
                  g_new(const LobScore *, n),
                  0};
    for (size_t i = 0; i < scores->n; i++) {
        const LobScore *score = &scores->scores[i];
        uint32_t p = score->patient, c = cohort->patients[p].center;
        if (center >= 0 && c != (uint32_t)center)
            continue;
        int8_t event = cohort->event[e][p];
        if (!survival && (!lob_score_is_scorable(scores, score, cohort) ||
                          (positive >= 0 && isnan(score->probability[positive])))) {
            s->unscorable++;
            continue;
        }
        size_t at = s->n++;
        s->event[at] = survival || positive < 0 ? event == 1 : event == positive;
        s->time[at] = survival ? cohort->time[e][p] : s->event[at] ? 0 : 1;
        s->score[at] =
            survival || scores->n_classes == 2 || positive < 0 ? score->lp : score->probability[positive];
        s->center[at] = c;
        s->cluster[at] = p;
        s->stratum[at] = ((uint32_t)score->repeat * (uint32_t)plan->folds->folds + (uint32_t)score->fold) *
                             (uint32_t)cohort->n_centers +
                         c;
        s->from[at] = score;
    }
}

static LobFollowUp follow_up(const Sample *s) {
    return (LobFollowUp){
        .n = s->n, .time = s->time, .event = s->event, .stratum = s->stratum, .cluster = s->cluster};
}

static void put_row(const Sheet *sheet, const char *center, const char *metric, double estimate, double lower,
                    double upper, size_t n, size_t events, const char *note) {
    lob_csv_text(sheet->metrics, sheet->endpoint);
    lob_csv_text(sheet->metrics, sheet->model);
    lob_csv_text(sheet->metrics, center);
    lob_csv_text(sheet->metrics, metric);
    lob_csv_number(sheet->metrics, estimate);
    lob_csv_number(sheet->metrics, lower);
    lob_csv_number(sheet->metrics, upper);
    lob_csv_integer(sheet->metrics, (int64_t)n);
    lob_csv_integer(sheet->metrics, (int64_t)events);
    lob_csv_text(sheet->metrics, note ? note : "");
    lob_csv_end_row(sheet->metrics);
}

static void put_meta(const Sheet *sheet, const char *metric, const double *c, const double *se, size_t k) {
    LobMetaOptions options = {LOB_TAU2_REML, true, true};
    LobMeta meta = lob_meta_of_c(c, se, k, &options);
    lob_csv_text(sheet->meta, sheet->endpoint);
    lob_csv_text(sheet->meta, sheet->model);
    lob_csv_text(sheet->meta, metric);
    lob_csv_integer(sheet->meta, (int64_t)meta.k);
    lob_csv_number(sheet->meta, meta.mu);
    lob_csv_number(sheet->meta, meta.lower);
    lob_csv_number(sheet->meta, meta.upper);
    lob_csv_number(sheet->meta, meta.tau2);
    lob_csv_number(sheet->meta, meta.i2);
    lob_csv_number(sheet->meta, meta.prediction_lower);
    lob_csv_number(sheet->meta, meta.prediction_upper);
    lob_csv_end_row(sheet->meta);
}

static size_t count_events(const Sample *s) {
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        n += s->event[i];
    return n;
}

static LobConcordance concordance_row(const Sheet *sheet, const Sample *s, const char *center,
                                      const char *metric) {
    LobFollowUp data = follow_up(s);
    LobConcordance c;
    lob_concordance(&c, &data, s->score, NULL);
    const bool survival = endpoint_of(sheet->plan, sheet->scores)->kind == LOB_ENDPOINT_SURVIVAL;
    const bool one_class = !survival && (count_events(s) == 0 || count_events(s) == s->n);
    put_row(sheet, center, metric, c.c, c.lower, c.upper, s->n, count_events(s),
            one_class ? "not estimable: the known labels are of one class" : c.reason);
    return c;
}

/* Scores dealt out anew within centers (and folds), models as they are. A patient's repeats are no further
 * patients, and draws that dealt them out apart would spread too little: the first repeat alone, which stands
 * first. */
static void permutation_row(const Sheet *sheet, const Sample *s, const char *center, const char *metric) {
    const LobFolds *folds = sheet->plan->folds;
    Sample first = *s;
    for (first.n = 0; first.n < s->n && s->from[first.n]->repeat == 0;)
        first.n++;
    const LobFollowUp data = follow_up(&first);
    const LobTest test = lob_concordance_permutation(&data, first.score, PERMUTATIONS, PERMUTATION_SEED);
    bool joins_folds = false;
    for (size_t i = 0; i < first.n; i++)
        joins_folds = joins_folds || s->from[i]->fold != s->from[0]->fold;
    g_autofree char *name = g_strdup_printf("%s_permutation_p", metric);
    g_autofree char *note =
        g_strdup_printf("one-sided, %d draws within centers; conditional on the trained "
                        "models%s%s",
                        PERMUTATIONS, joins_folds ? ", too small because folds share training patients" : "",
                        folds->repeats > 1 ? "; first repeat alone" : "");
    put_row(sheet, center, name, test.p, NAN, NAN, first.n, count_events(&first),
            test.reason ? test.reason : note);
}

/* A center without a score says why. */
static void reason_row(const Sheet *sheet, size_t center, const char *metric) {
    const LobCohort *cohort = sheet->plan->cohort;
    for (size_t p = 0; p < cohort->n_patients; p++) {
        int16_t fold = sheet->plan->folds->fold[p];
        if (cohort->patients[p].center != center || fold < 0 || fold >= sheet->plan->folds->folds ||
            !sheet->scores->reason[fold])
            continue;
        g_autofree char *note = g_strconcat("not estimable: ", sheet->scores->reason[fold], NULL);
        put_row(sheet, cohort->centers[center], metric, NAN, NAN, NAN, 0, 0, note);
        return;
    }
}

/* Ranking of every center and of all; positive is the class counted as case. */
static void ranking(const Sheet *sheet, const char *metric, int positive) {
    const LobCohort *cohort = sheet->plan->cohort;
    g_autofree double *c = g_new(double, cohort->n_centers), *se = g_new(double, cohort->n_centers);
    size_t k = 0;
    for (size_t i = 0; i < cohort->n_centers; i++) {
        g_auto(Sample) sample;
        sample_take(&sample, sheet->plan, sheet->scores, (int)i, positive);
        if (sample.n == 0 && sample.unscorable > 0)
            put_row(sheet, cohort->centers[i], metric, NAN, NAN, NAN, 0, 0,
                    "not scorable: a class that training never saw");
        else if (sample.n == 0)
            reason_row(sheet, i, metric);
        if (sample.n == 0)
            continue;
        g_auto(LobConcordance) result = concordance_row(sheet, &sample, cohort->centers[i], metric);
        permutation_row(sheet, &sample, cohort->centers[i], metric);
        c[k] = result.c;
        se[k++] = result.se;
    }
    g_auto(Sample) all;
    sample_take(&all, sheet->plan, sheet->scores, -1, positive);
    g_auto(LobConcordance) pooled = concordance_row(sheet, &all, "pooled", metric);
    (void)pooled;
    permutation_row(sheet, &all, "pooled", metric);
    put_meta(sheet, metric, c, se, k);
}

/* The spread over seeds: one pooled row a seed. */
static void seed_rows(const Sheet *sheet, const char *metric) {
    g_auto(Sample) all;
    sample_take(&all, sheet->plan, sheet->scores, -1, 1);
    for (int seed = 0; seed < sheet->scores->seeds; seed++) {
        for (size_t i = 0; i < all.n; i++)
            all.score[i] = all.from[i]->seed_lp[seed];
        g_autofree char *name = g_strdup_printf("%s_seed%d", metric, seed + 1);
        g_auto(LobConcordance) c = concordance_row(sheet, &all, "pooled", name);
        (void)c;
    }
}

/* ---- prediction at the horizons ---- */

/* Who has had a competing event never has the event: their time is put behind every horizon, so that they
 * count as free of it (Wolbers et al. 2009). Whether the endpoint has competing events. */
static bool outlive(const Sheet *sheet, const Sample *s, double *time) {
    const int8_t *event = sheet->plan->cohort->event[sheet->scores->endpoint];
    for (size_t i = 0; i < s->n; i++)
        if (event[s->cluster[i]] == 2)
            time[i] = 1e9;
    return endpoint_of(sheet->plan, sheet->scores)->competing != NULL;
}

/* Observed (Aalen-Johansen) over expected incidence of the event, with the interval of 1 / sqrt(events). */
static LobEstimate incidence_ratio(const Sheet *sheet, const Sample *s, const double *risk, double t) {
    const int8_t *event = sheet->plan->cohort->event[sheet->scores->endpoint];
    g_autofree uint8_t *cause = g_new(uint8_t, MAX(s->n, 1));
    double expected = 0, events = 0, z = lob_normal_quantile(0.975);
    for (size_t i = 0; i < s->n; i++) {
        cause[i] = (uint8_t)event[s->cluster[i]];
        expected += risk ? risk[i] / (double)s->n : NAN;
        events += cause[i] == 1 && s->time[i] <= t;
    }
    if (!risk || events == 0)
        return (LobEstimate){NAN, NAN, NAN, NAN, risk ? "no event by the horizon" : "no prediction"};
    const LobFollowUp data = {.n = s->n, .time = s->time, .event = cause};
    g_auto(LobAalenJohansen) aj;
    lob_aalen_johansen(&aj, &data, 2);
    const LobEstimate observed = lob_aalen_johansen_at(&aj, 1, t);
    double ratio = observed.estimate / expected, spread = exp(z / sqrt(events));
    return (LobEstimate){ratio, NAN, ratio / spread, ratio * spread, observed.reason};
}

/* All figures of one horizon in one center. Where the horizon lies beyond the last interval of training there
 * is no prediction, and the rows say so. */
static void horizon_rows(const Sheet *sheet, const Sample *s, const char *center, size_t h) {
    const double t = endpoint_of(sheet->plan, sheet->scores)->horizons[h];
    g_autofree double *risk = g_new(double, s->n);
    bool known = true;
    size_t events = 0;
    for (size_t i = 0; i < s->n; i++) {
        risk[i] = 1 - s->from[i]->survival[h];
        known = known && !isnan(risk[i]);
        events += s->event[i] && s->time[i] <= t;
    }
    g_autofree double *time = g_memdup2(s->time, s->n * sizeof *s->time);
    bool competes = outlive(sheet, s, time);
    const LobFollowUp data = {.n = s->n, .time = time, .event = s->event};
    LobNamedEstimate rows[LOB_HORIZON_ROWS];
    lob_horizon_rows(&data, s->score, known ? risk : NULL, t, rows);
    for (size_t i = 0; i < LOB_HORIZON_ROWS; i++) {
        bool ratio = competes && strcmp(rows[i].name, "observed_expected") == 0;
        const LobEstimate e = ratio ? incidence_ratio(sheet, s, known ? risk : NULL, t) : rows[i].value;
        g_autofree char *name = g_strdup_printf("%s_%g", rows[i].name, t);
        put_row(sheet, center, name, e.estimate, e.lower, e.upper, s->n, events, e.reason);
    }
}

/* Repeats would count patients several times over, and centers are not thrown together: scales differ. */
static void prediction_rows(const Sheet *sheet) {
    const LobCohort *cohort = sheet->plan->cohort;
    if (sheet->plan->folds->repeats > 1)
        return;
    for (size_t c = 0; c < cohort->n_centers; c++) {
        g_auto(Sample) s;
        sample_take(&s, sheet->plan, sheet->scores, (int)c, 1);
        if (s.n == 0)
            continue;
        LobFollowUp data = {.n = s.n, .time = s.time, .event = s.event};
        LobEstimate slope = lob_calibration_slope(&data, s.score);
        put_row(sheet, cohort->centers[c], "calibration_slope", slope.estimate, slope.lower, slope.upper, s.n,
                count_events(&s), slope.reason);
        for (size_t h = 0; h < sheet->scores->n_horizons; h++)
            horizon_rows(sheet, &s, cohort->centers[c], h);
    }
}

/* ---- against covariates alone ---- */

static void delta_row(const Sheet *sheet, const LobScores *clinical, int center, const char *name,
                      const char *metric) {
    g_auto(Sample) ours, theirs;
    sample_take(&ours, sheet->plan, sheet->scores, center, 1);
    sample_take(&theirs, sheet->plan, clinical, center, 1);
    if (ours.n == 0 || ours.n != theirs.n ||
        memcmp(ours.cluster, theirs.cluster, ours.n * sizeof *ours.cluster) != 0)
        return;
    LobFollowUp data = follow_up(&ours);
    g_auto(LobConcordance) a, b;
    lob_concordance(&a, &data, ours.score, NULL);
    lob_concordance(&b, &data, theirs.score, NULL);
    LobPairedDifference d = lob_concordance_difference(&data, &a, &b);
    put_row(sheet, name, metric, d.difference.estimate, d.difference.lower, d.difference.upper, ours.n,
            count_events(&ours), d.difference.reason);
}

static void delta(const Sheet *sheet, const LobScores *clinical, const char *metric) {
    const LobCohort *cohort = sheet->plan->cohort;
    for (size_t c = 0; c < cohort->n_centers; c++)
        delta_row(sheet, clinical, (int)c, cohort->centers[c], metric);
    delta_row(sheet, clinical, -1, "pooled", metric);
}

/* ---- labels ---- */

/* Wilson's interval. Repeats count as further trials of the same patients: it is then too narrow, and only
 * the estimate is given. */
static void accuracy_row(const Sheet *sheet, int center, const char *name) {
    const LobCohort *cohort = sheet->plan->cohort;
    g_auto(Sample) s;
    sample_take(&s, sheet->plan, sheet->scores, center, -1);
    size_t right = 0;
    for (size_t i = 0; i < s.n; i++) {
        const double *probability = s.from[i]->probability;
        size_t best = 0;
        for (size_t k = 1; k < sheet->scores->n_classes; k++)
            best = isnan(probability[best]) || probability[k] > probability[best] ? k : best;
        right += cohort->event[sheet->scores->endpoint][s.cluster[i]] == (int8_t)best;
    }
    if (s.n == 0)
        return;
    g_autoptr(GString) note = g_string_new(NULL);
    if (s.unscorable)
        g_string_printf(note, "%zu patients of a class that training never saw are not scorable%s",
                        s.unscorable, sheet->plan->folds->repeats == 1 ? "" : "; ");
    double n = (double)s.n, p = (double)right / n, z = lob_normal_quantile(0.975);
    double middle = (p + z * z / (2 * n)) / (1 + z * z / n);
    double half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n);
    bool once = sheet->plan->folds->repeats == 1;
    if (!once)
        g_string_append(note, "patients count once a repeat: no interval");
    put_row(sheet, name, "accuracy", p, once ? middle - half : NAN, once ? middle + half : NAN, s.n,
            count_events(&s), note->str);
}

static void label_rows(const Sheet *sheet) {
    const LobCohort *cohort = sheet->plan->cohort;
    char **labels = cohort->labels[sheet->scores->endpoint];
    if (sheet->scores->n_classes == 2)
        ranking(sheet, "auc", 1);
    else
        for (int k = 0; k < (int)sheet->scores->n_classes; k++) {
            g_autofree char *metric = g_strdup_printf("auc_%s", labels[k]);
            ranking(sheet, metric, k);
        }
    for (size_t c = 0; c < cohort->n_centers; c++)
        accuracy_row(sheet, (int)c, cohort->centers[c]);
    accuracy_row(sheet, -1, "pooled");
}

void lob_metrics_rows(const LobPlan *plan, const LobScores *models, LobCsv *metrics, LobCsv *meta) {
    const LobStudy *study = plan->cohort->study;
    for (size_t e = 0; e < study->n_endpoints; e++) {
        for (size_t m = 0; m < plan->n_models; m++) {
            const LobScores *scores = &models[e * plan->n_models + m];
            Sheet sheet = {plan, scores, study->endpoints[e].name, plan->models[m], metrics, meta};
            bool survival = study->endpoints[e].kind == LOB_ENDPOINT_SURVIVAL;
            const char *metric = survival ? "harrell_c" : "auc";
            if (survival) {
                ranking(&sheet, metric, 1);
                prediction_rows(&sheet);
            } else {
                label_rows(&sheet);
            }
            if (!survival && scores->n_classes != 2)
                continue;
            seed_rows(&sheet, metric);
            if (m == 0 && plan->n_models > 1) {
                g_autofree char *name = g_strdup_printf("delta_%s_vs_clinical", metric);
                delta(&sheet, &models[e * plan->n_models + 1], name);
            }
        }
    }
}
