/* The prediction job: a locked model applied to a new cohort. Nothing is fitted: scale, medians, cuts and
 * thresholds are the file's. Patients are shared out over ranks, each scored by one, so that the number of
 * ranks changes nothing and a node holds the features of its own. */
#include "mpi/benefit_sums.h"
#include "mpi/predict_benefit.h"
#include "mpi/predict_external.h"
#include "mpi/predict_scores.h"
#include "mpi/predict_setting.h"
#include "mpi/stop.h"
#include "report/report.h"

#include <string.h>

#define MOST_BYTES ((size_t)2 << 30)

typedef struct {
    const LobWorld *world;
    const LobCohort *given;
    LobModelFile file;
    LobSetting setting;
    LobResident resident;
    bool resident_loaded;
    LobBagSums sums;        /* rank 0, for the benefit stage */
    LobTaskResult *results; /* [n_tasks] on rank 0: all */
} Job;

/* ---- the model, read once and handed to all ---- */

/* A validation's tables are of patients held out; predictions in their place could be mistaken for them. */
static bool output_is_free(const LobStudy *study, GError **err) {
    g_autofree char *lock = lob_study_out(study, "lock.json");
    return !g_file_test(lock, G_FILE_TEST_EXISTS) ||
           lob_fail(err, LOB_ERROR_INPUT,
                    "%s holds a validation or a trained model, whose tables predictions do not replace; give "
                    "another folder by --output",
                    study->output);
}

static bool load_model(Job *job, const char *path, GError **err) {
    GError *problem = NULL;
    size_t size = 0;
    g_autofree char *bytes = NULL;
    if (job->world->rank == 0 && output_is_free(job->given->study, &problem))
        bytes = lob_file_read(path, MOST_BYTES, &size, &problem);
    if (!lob_world_agree(job->world, problem, err))
        return false;
    lob_world_bcast(job->world, &size, sizeof size);
    if (!bytes)
        bytes = g_malloc(MAX(size, 1));
    lob_world_bcast(job->world, bytes, size);
    problem = NULL;
    (void)lob_model_file_parse(path, bytes, size, &job->file, &problem);
    return lob_world_agree(job->world, problem, err);
}

/* ---- features ---- */

typedef bool (*Stage)(const LobWorld *world, const LobCohort *cohort, int *exit_code, GError **err);

/* Runs a stage; false where the job ends here, with its code or an error. */
static bool run_stage(Job *job, Stage stage, int *exit_code, GError **err) {
    GError *problem = NULL;
    int code = LOB_EXIT_DONE;
    (void)stage(job->world, job->given, &code, &problem);
    if (!lob_world_agree(job->world, problem, err))
        return false;
    lob_world_bcast(job->world, &code, sizeof code);
    if (code != LOB_EXIT_DONE)
        *exit_code = code;
    return code == LOB_EXIT_DONE || code == LOB_EXIT_SLIDES_FAILED;
}

static bool make_features(Job *job, int *exit_code, GError **err) {
    if (job->given->study->features || !lob_saved_needs_bags(&job->file.model))
        return true;
    return lob_setting_check_encoder(job->given->study, &job->file, err) &&
           run_stage(job, lob_job_plan, exit_code, err) && run_stage(job, lob_job_embed, exit_code, err);
}

static bool load_features(Job *job, GError **err) {
    GError *problem = NULL;
    if (!lob_saved_needs_bags(&job->file.model))
        return true;
    if (job->world->rank == 0)
        (void)lob_setting_check_features(&job->setting, &job->file, &problem);
    if (!lob_world_agree(job->world, problem, err))
        return false;
    job->resident_loaded = lob_resident_load(&job->resident, job->world, &job->setting.plan, err);
    return job->resident_loaded;
}

static bool score_all(Job *job, GError **err) {
    const LobScoring scoring = {job->world, &job->setting.plan, &job->file.model,
                                job->resident_loaded ? &job->resident : NULL};
    return lob_scoring_run(&scoring, job->results, err);
}

/* ---- tables, on rank 0 ---- */

/* Of the scored patients those whose outcome is known, and who were at risk at the landmark. */
static LobScores with_outcome(const LobScores *scores, const LobCohort *cohort) {
    LobScores kept = *scores;
    kept.scores = g_new(LobScore, MAX(scores->n, 1));
    kept.n = 0;
    for (size_t i = 0; i < scores->n; i++)
        if (lob_cohort_usable(cohort, scores->endpoint, scores->scores[i].patient))
            kept.scores[kept.n++] = scores->scores[i];
    return kept;
}

static bool evaluate_benefit(Job *job, const LobPredictedBenefit *benefit, GError **err) {
    const LobExternal external = {.plan = &job->setting.plan,
                                  .file = &job->file,
                                  .results = job->results,
                                  .sums = job->resident_loaded ? &job->sums : NULL,
                                  .columns = job->resident_loaded ? job->resident.set.columns : NULL,
                                  .endpoint = benefit->endpoint,
                                  .covariates = benefit->covariates,
                                  .cases = &benefit->cases,
                                  .patients = benefit->patients};
    return !job->file.benefit || lob_external_evaluate(&external, err);
}

static bool write_metrics(Job *job, const LobScores *scores, size_t n, const LobPredictedBenefit *benefit,
                          GError **err) {
    const LobPlan *plan = &job->setting.plan;
    g_autofree LobScores *known = g_new0(LobScores, n);
    size_t total = 0;
    for (size_t i = 0; i < n; i++) {
        known[i] = with_outcome(&scores[i], plan->cohort);
        total += known[i].n;
    }
    if (total == 0)
        lob_info("no outcome of the model's endpoints is given: predictions.csv alone, no metrics.csv");
    bool ok = total == 0 || (lob_opening_record(plan, err) && lob_metrics_write(plan, known, err) &&
                             evaluate_benefit(job, benefit, err));
    for (size_t i = 0; i < n; i++)
        g_free(known[i].scores);
    return ok;
}

/* What an earlier prediction left that this one may not write anew, its outcomes being unknown. */
static bool remove_evaluation(const LobStudy *study, GError **err) {
    static const char *const tables[] = {
        "metrics.csv",       "meta.csv",     "benefit.csv",  "benefit_metrics.csv", "benefit_scores.csv",
        "benefit_draws.csv", "verdict.json", "evidence.csv", "evidence.json",       "report.html"};
    for (size_t i = 0; i < G_N_ELEMENTS(tables); i++) {
        g_autofree char *path = lob_study_out(study, tables[i]);
        if (!lob_remove_stale(path, err))
            return false;
    }
    return true;
}

static bool write_tables(Job *job, GError **err) {
    const LobPlan *plan = &job->setting.plan;
    size_t n = plan->cohort->study->n_endpoints * plan->n_models;
    g_autofree LobScores *scores = g_new0(LobScores, n);
    for (size_t i = 0; i < n; i++)
        lob_scores_collect(&scores[i], plan, job->results, i / plan->n_models, i % plan->n_models);
    LobPredictedBenefit benefit = {0};
    bool ok = remove_evaluation(plan->cohort->study, err) &&
              lob_setting_record(&job->setting, &job->file, err) &&
              lob_predicted_benefit_make(&benefit, plan, &job->file, job->resident_loaded ? &job->sums : NULL,
                                         err) &&
              lob_predictions_write(plan, scores, err) &&
              lob_predicted_benefit_write(&benefit, plan, &job->file, err) &&
              lob_top_tiles_write(plan, job->results, &job->resident, err) &&
              lob_maps_write(plan, job->results, &job->resident, err) &&
              write_metrics(job, scores, n, &benefit, err);
    if (ok)
        lob_info("predicted %zu patients with model %s", scores[0].n, job->file.sha256);
    lob_predicted_benefit_clear(&benefit);
    for (size_t i = 0; i < n; i++)
        lob_scores_clear(&scores[i]);
    return ok;
}

/* ---- the job ---- */

static bool work(Job *job, const char *model_path, int *exit_code, GError **err) {
    *exit_code = LOB_EXIT_DONE;
    if (!load_model(job, model_path, err))
        return false;
    GError *problem = NULL;
    if (!make_features(job, exit_code, &problem)) {
        /* Without an error: a stage ended with a code of its own, such as a stop. */
        bool ended = problem == NULL;
        if (problem)
            g_propagate_error(err, problem);
        return ended;
    }
    (void)lob_setting_init(&job->setting, job->given, &job->file, &problem);
    if (!lob_world_agree(job->world, problem, err))
        return false;
    job->results = g_new0(LobTaskResult, job->setting.plan.n_tasks);
    if (!load_features(job, err))
        return false;
    if (!score_all(job, err))
        return false;
    if (job->resident_loaded && job->file.benefit &&
        !lob_benefit_sums_gather(job->world, &job->resident, &job->sums, err))
        return false;
    problem = NULL;
    if (job->world->rank == 0)
        (void)write_tables(job, &problem);
    return lob_world_agree(job->world, problem, err);
}

bool lob_job_predict(const LobWorld *world, const LobCohort *cohort, const char *model_path, char sha256[65],
                     int *exit_code, GError **err) {
    Job job = {.world = world, .given = cohort};
    bool ok = work(&job, model_path, exit_code, err);
    g_strlcpy(sha256, job.file.sha256, 65);
    for (size_t t = 0; job.results && t < job.setting.plan.n_tasks; t++)
        lob_task_result_clear(&job.results[t]);
    g_free(job.results);
    lob_bag_sums_clear(&job.sums);
    lob_resident_clear(&job.resident);
    lob_setting_clear(&job.setting);
    lob_model_file_clear(&job.file);
    return ok;
}
