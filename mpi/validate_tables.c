/* From the results of all models to predictions.csv, metrics.csv, meta.csv, training.csv and the most
 * attended tiles. This is where outcomes of held-out patients are first looked at. */
#include "mpi/validate.h"

#include <math.h>
#include <string.h>

/* ---- scores: seeds joined ---- */

static int compare_scores(const void *a, const void *b) {
    const LobScore *x = a, *y = b;
    if (x->repeat != y->repeat)
        return x->repeat < y->repeat ? -1 : 1;
    return (x->patient > y->patient) - (x->patient < y->patient);
}

/* S at t of a curve that starts at 1 and falls along straight lines of its logarithm; t <= the last end. */
static double survival_on_curve(const double *ends, const float *curve, size_t n, double t) {
    double start = 0, log_start = 0;
    for (size_t b = 0; b < n; b++) {
        const double log_end = log((double)curve[b]);
        if (t <= ends[b])
            return t == ends[b] ? (double)curve[b]
                                : exp(log_start + (log_end - log_start) * (t - start) / (ends[b] - start));
        start = ends[b];
        log_start = log_end;
    }
    return NAN;
}

/* All seeds of a fold have the same intervals: they follow from its training patients. */
static void own_survival(LobScore *score, const LobTaskResult *r, size_t i, int seeds,
                         const LobCohort *cohort, size_t endpoint) {
    const int8_t event = cohort->event[endpoint][score->patient];
    score->own = NAN;
    score->own_event = -1;
    const double time = cohort->time[endpoint][score->patient];
    /* With competing events this is no distribution function of the time, and nothing to test one by. */
    if (cohort->study->endpoints[endpoint].competing || r->n_ends == 0 || event < 0 || !(time >= 0))
        return;
    const double last = r->ends[r->n_ends - 1];
    score->own_event = event == 1 && time <= last;
    score->own = 0;
    for (int s = 0; s < seeds; s++)
        score->own +=
            survival_on_curve(r[s].ends, r[s].curve + i * r[s].n_ends, r[s].n_ends, MIN(time, last)) / seeds;
}

static void score_add(LobScore *score, const LobTaskResult *r, size_t i, int seed, int seeds) {
    score->seed_lp[seed] = (double)r->lp[i];
    score->lp += (double)r->lp[i] / seeds;
    for (size_t h = 0; h < r->n_horizons; h++)
        score->survival[h] += (double)r->survival[i * r->n_horizons + h] / seeds;
    for (size_t k = 0; k < r->n_classes; k++)
        score->probability[k] += (double)r->probability[i * r->n_classes + k] / seeds;
}

/* All seeds of one repeat and fold; `r` points at the first seed's result. Every seed scores the same
 * patients. */
static void collect_fold(LobScores *scores, const LobPlan *plan, const LobTaskResult *r, int repeat,
                         int fold) {
    const int seeds = plan->cohort->study->validation.seeds;
    double cut = 0;
    for (int s = 0; s < seeds; s++)
        cut += r[s].cut / seeds;
    for (size_t i = 0; i < r->n; i++) {
        LobScore *score = &scores->scores[scores->n++];
        *score = (LobScore){.patient = r->patient[i],
                            .repeat = repeat,
                            .fold = fold,
                            .seed_lp = g_new0(double, (size_t)seeds),
                            .survival = g_new0(double, MAX(r->n_horizons, 1)),
                            .probability = g_new0(double, MAX(r->n_classes, 1))};
        for (int s = 0; s < seeds; s++)
            score_add(score, &r[s], i, s, seeds);
        own_survival(score, r, i, seeds, plan->cohort, scores->endpoint);
        score->high = score->lp > cut;
        scores->n_horizons = r->n_horizons;
        scores->n_classes = r->n_classes;
    }
}

void lob_scores_collect(LobScores *scores, const LobPlan *plan, const LobTaskResult *results, size_t endpoint,
                        size_t model) {
    int seeds = plan->cohort->study->validation.seeds;
    size_t most = 0;
    *scores = (LobScores){.endpoint = endpoint, .model = model, .seeds = seeds};
    for (size_t t = 0; t < plan->n_tasks; t++)
        if (plan->tasks[t].endpoint == endpoint && plan->tasks[t].model == model && plan->tasks[t].seed == 0)
            most += results[t].n;
    scores->scores = g_new(LobScore, MAX(most, 1));
    scores->reason = g_new0(const char *, (size_t)(plan->folds->repeats * plan->folds->folds));
    for (size_t t = 0; t < plan->n_tasks; t++) {
        const LobTask *task = &plan->tasks[t];
        if (task->endpoint != endpoint || task->model != model || task->seed != 0)
            continue;
        if (results[t].reason[0])
            scores->reason[task->repeat * plan->folds->folds + task->fold] = results[t].reason;
        else
            collect_fold(scores, plan, &results[t], task->repeat, task->fold);
    }
    qsort(scores->scores, scores->n, sizeof *scores->scores, compare_scores);
}

bool lob_score_is_scorable(const LobScores *scores, const LobScore *score, const LobCohort *cohort) {
    const int8_t event = cohort->event[scores->endpoint][score->patient];
    return scores->n_classes == 0 || event < 0 || !isnan(score->probability[event]);
}

void lob_scores_clear(LobScores *scores) {
    for (size_t i = 0; i < scores->n; i++) {
        g_free(scores->scores[i].seed_lp);
        g_free(scores->scores[i].survival);
        g_free(scores->scores[i].probability);
    }
    g_free(scores->scores);
    g_free(scores->reason);
    *scores = (LobScores){0};
}

/* ---- predictions.csv ---- */

static int compare_double(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The horizons of all endpoints, each once. */
static double *all_horizons(const LobStudy *study, size_t *n) {
    GArray *days = g_array_new(FALSE, FALSE, sizeof(double));
    for (size_t e = 0; e < study->n_endpoints; e++)
        g_array_append_vals(days, study->endpoints[e].horizons, (guint)study->endpoints[e].n_horizons);
    g_array_sort(days, compare_double);
    double *v = (double *)(void *)g_array_free(g_steal_pointer(&days), FALSE);
    size_t total = 0;
    for (size_t e = 0; e < study->n_endpoints; e++)
        total += study->endpoints[e].n_horizons;
    *n = 0;
    for (size_t i = 0; i < total; i++)
        if (*n == 0 || v[*n - 1] != v[i])
            v[(*n)++] = v[i];
    return v;
}

static size_t most_classes(const LobStudy *study, const LobCohort *cohort) {
    size_t most = 0;
    for (size_t e = 0; e < study->n_endpoints; e++)
        if (study->endpoints[e].kind != LOB_ENDPOINT_SURVIVAL && cohort->labels[e])
            most = MAX(most, g_strv_length(cohort->labels[e]));
    return most;
}

static LobCsv *new_predictions(const LobCohort *cohort, const double *horizons, size_t n_horizons,
                               size_t n_classes) {
    static const char *const fixed[] = {
        "endpoint", "model", "patient_id", "center", "repeat",           "fold",
        "arm",      "time",  "event",      "label",  "linear_predictor", "risk_group"};
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    for (size_t i = 0; i < G_N_ELEMENTS(fixed); i++)
        g_ptr_array_add(names, g_strdup(fixed[i]));
    for (size_t h = 0; h < n_horizons; h++)
        g_ptr_array_add(names, g_strdup_printf("s_%g", horizons[h]));
    g_ptr_array_add(names, g_strdup("s_own"));
    g_ptr_array_add(names, g_strdup("event_own"));
    for (size_t k = 0; k < n_classes; k++)
        g_ptr_array_add(names, g_strdup_printf("p_class%zu", k));
    for (int s = 0; s < cohort->study->validation.seeds; s++)
        g_ptr_array_add(names, g_strdup_printf("lp_seed%d", s + 1));
    g_ptr_array_add(names, NULL);
    return lob_csv_new((const char *const *)names->pdata);
}

static void outcome_cells(LobCsv *csv, const LobCohort *cohort, size_t e, uint32_t p) {
    const LobStudy *study = cohort->study;
    int arm = study->arm_column ? cohort->arm_at[e][p] : -1;
    int8_t event = cohort->event[e][p];
    bool survival = study->endpoints[e].kind == LOB_ENDPOINT_SURVIVAL;
    lob_csv_text(csv, arm >= 0 ? study->arms[arm].name : "");
    lob_csv_number(csv, survival ? cohort->time[e][p] : NAN);
    lob_csv_number(csv, survival && event >= 0 ? event : NAN);
    lob_csv_text(csv, !survival && event >= 0 ? cohort->labels[e][event] : "");
}

static void prediction_row(LobCsv *csv, const LobPlan *plan, const LobScores *scores, const LobScore *score,
                           const double *horizons, size_t n_horizons, size_t n_classes) {
    const LobCohort *cohort = plan->cohort;
    const LobEndpoint *endpoint = &cohort->study->endpoints[scores->endpoint];
    const LobCohortPatient *patient = &cohort->patients[score->patient];
    lob_csv_text(csv, endpoint->name);
    lob_csv_text(csv, plan->models[scores->model]);
    lob_csv_text(csv, patient->patient_id);
    lob_csv_text(csv, cohort->centers[patient->center]);
    lob_csv_integer(csv, score->repeat);
    lob_csv_integer(csv, score->fold);
    outcome_cells(csv, cohort, scores->endpoint, score->patient);
    lob_csv_number(csv, score->lp);
    lob_csv_text(csv, score->high ? "high" : "low");
    for (size_t h = 0, own = 0; h < n_horizons; h++) {
        bool has = own < scores->n_horizons && endpoint->horizons[own] == horizons[h];
        lob_csv_number(csv, has ? score->survival[own] : NAN);
        own += has;
    }
    lob_csv_number(csv, score->own);
    lob_csv_number(csv, score->own_event >= 0 ? score->own_event : NAN);
    const bool scorable = lob_score_is_scorable(scores, score, cohort);
    for (size_t k = 0; k < n_classes; k++)
        lob_csv_number(csv, scorable && k < scores->n_classes ? score->probability[k] : NAN);
    for (int s = 0; s < scores->seeds; s++)
        lob_csv_number(csv, score->seed_lp[s]);
    lob_csv_end_row(csv);
}

bool lob_predictions_write(const LobPlan *plan, const LobScores *models, GError **err) {
    const LobStudy *study = plan->cohort->study;
    size_t n_horizons, n_classes = most_classes(study, plan->cohort);
    g_autofree double *horizons = all_horizons(study, &n_horizons);
    g_autoptr(LobCsv) csv = new_predictions(plan->cohort, horizons, n_horizons, n_classes);
    for (size_t i = 0; i < study->n_endpoints * plan->n_models; i++)
        for (size_t k = 0; k < models[i].n; k++)
            prediction_row(csv, plan, &models[i], &models[i].scores[k], horizons, n_horizons, n_classes);
    g_autofree char *path = lob_study_out(study, "predictions.csv");
    return lob_csv_save(csv, path, err);
}

/* ---- the other tables ---- */

bool lob_metrics_write(const LobPlan *plan, const LobScores *models, GError **err) {
    const LobStudy *study = plan->cohort->study;
    g_autoptr(LobCsv) metrics = lob_csv_new((const char *[]){
        "endpoint", "model", "center", "metric", "estimate", "lower", "upper", "n", "events", "note", NULL});
    g_autoptr(LobCsv) meta =
        lob_csv_new((const char *[]){"endpoint", "model", "metric", "centers", "pooled", "lower", "upper",
                                     "tau2", "i2", "prediction_lower", "prediction_upper", NULL});
    lob_metrics_rows(plan, models, metrics, meta);
    g_autofree char *metrics_path = lob_study_out(study, "metrics.csv");
    g_autofree char *meta_path = lob_study_out(study, "meta.csv");
    return lob_csv_save(meta, meta_path, err) && lob_csv_save(metrics, metrics_path, err);
}

/* One line a trained model: how long, how well, and the weights' hash. */
static bool write_training(const LobPlan *plan, const LobTaskResult *results, GError **err) {
    const LobStudy *study = plan->cohort->study;
    g_autoptr(LobCsv) csv = lob_csv_new(
        (const char *[]){"endpoint", "model", "repeat", "fold", "seed", "held_out", "epochs", "best_epoch",
                         "train_loss", "inner_loss", "cut", "weights_sha256", "note", NULL});
    for (size_t t = 0; t < plan->n_tasks; t++) {
        const LobTask *task = &plan->tasks[t];
        lob_csv_text(csv, study->endpoints[task->endpoint].name);
        lob_csv_text(csv, plan->models[task->model]);
        lob_csv_integer(csv, task->repeat);
        lob_csv_integer(csv, task->fold);
        lob_csv_integer(csv, task->seed + 1);
        lob_csv_integer(csv, (int64_t)results[t].n);
        lob_csv_integer(csv, results[t].epochs_run);
        lob_csv_integer(csv, results[t].best_epoch);
        lob_csv_number(csv, results[t].train_loss);
        lob_csv_number(csv, results[t].inner_loss);
        lob_csv_number(csv, results[t].cut);
        lob_csv_text(csv, results[t].digest);
        lob_csv_text(csv, results[t].reason);
        lob_csv_end_row(csv);
    }
    g_autofree char *path = lob_study_out(study, "training.csv");
    return lob_csv_save(csv, path, err);
}

/* Losses by epoch: of every seed's rounds inside the training centers, and of the models themselves. */
static bool write_learning(const LobPlan *plan, const LobTaskResult *results, GError **err) {
    g_autoptr(LobCsv) csv = lob_csv_new((const char *[]){"endpoint", "model", "repeat", "fold", "seed",
                                                         "round", "epoch", "train_loss", "inner_loss", NULL});
    for (size_t t = 0; t < plan->n_tasks; t++) {
        const LobTask *task = &plan->tasks[t];
        for (size_t i = 0; i < results[t].n_learning; i++) {
            const LobLearning *l = &results[t].learning[i];
            lob_csv_text(csv, plan->cohort->study->endpoints[task->endpoint].name);
            lob_csv_text(csv, plan->models[task->model]);
            lob_csv_integer(csv, task->repeat);
            lob_csv_integer(csv, task->fold);
            lob_csv_integer(csv, task->seed + 1);
            if (l->round < 0)
                lob_csv_text(csv, "model");
            else
                lob_csv_integer(csv, l->round + 1);
            lob_csv_integer(csv, l->epoch);
            lob_csv_number(csv, (double)l->trained);
            lob_csv_number(csv, (double)l->judged);
            lob_csv_end_row(csv);
        }
    }
    g_autofree char *path = lob_study_out(plan->cohort->study, "learning.csv");
    return lob_csv_save(csv, path, err);
}

bool lob_tables_write(const LobPlan *plan, const LobTaskResult *results, const LobResident *resident,
                      GError **err) {
    size_t n = plan->cohort->study->n_endpoints * plan->n_models;
    g_autofree LobScores *models = g_new0(LobScores, n);
    for (size_t i = 0; i < n; i++)
        lob_scores_collect(&models[i], plan, results, i / plan->n_models, i % plan->n_models);
    bool ok = lob_predictions_write(plan, models, err) && write_training(plan, results, err) &&
              write_learning(plan, results, err) && lob_top_tiles_write(plan, results, resident, err) &&
              lob_maps_write(plan, results, resident, err) &&
              lob_attention_gather(plan, results, resident, err) && lob_probe_write(plan, resident, err) &&
              lob_metrics_write(plan, models, err);
    for (size_t i = 0; i < n; i++)
        lob_scores_clear(&models[i]);
    return ok;
}
