/* lobule predict: a locked model applied to another cohort. */
#include "jobs/common.h"
#include "jobs/jobs.h"
#include "jobs/provenance.h"
#include "mpi/world.h"
#include "report/report.h"

#include <jansson.h>
#include <string.h>

/* Takes the first argument that is neither an option nor an option's value out of argv. */
static char *take_model(int *argc, char **argv) {
    for (int i = 1; i < *argc; i++) {
        if (strcmp(argv[i], "--output") == 0 || strcmp(argv[i], "--walltime") == 0)
            i++;
        else if (argv[i][0] != '-') {
            char *model = argv[i];
            memmove(argv + i, argv + i + 1, (size_t)(*argc - i) * sizeof *argv);
            (*argc)--;
            return model;
        }
    }
    return NULL;
}

/* A validation's tables hold what models said of centers they never saw; a locked model's must not replace
 * them. */
static bool output_is_free(const LobJob *job, GError **err) {
    GError *mine = NULL;
    g_autofree char *lock = lob_study_out(job->study, "lock.json");
    if (job->world.rank == 0 && g_file_test(lock, G_FILE_TEST_EXISTS))
        lob_fail(&mine, LOB_ERROR_INPUT,
                 "%s: this folder holds a validation, whose held-out predictions would be overwritten; give "
                 "--output DIR",
                 lock);
    return lob_world_agree(&job->world, mine, err);
}

/* provenance.json, with the model that the predictions are from. */
static bool write_provenance(const LobJob *job, const char *sha256, GError **err) {
    if (job->world.rank != 0)
        return true;
    if (!lob_provenance_write(&job->world, job->cohort, err))
        return false;
    g_autofree char *path = lob_study_out(job->study, "provenance.json");
    json_t *root = json_load_file(path, 0, NULL);
    if (!root || json_object_set_new(root, "predicted_with_model_sha256", json_string(sha256)) != 0) {
        json_decref(root);
        return lob_fail(err, LOB_ERROR_INTERNAL, "%s: cannot be completed", path);
    }
    g_autofree char *text = json_dumps(root, JSON_INDENT(1));
    json_decref(root);
    return lob_file_replace(path, text, strlen(text), err);
}

/* The page, where there are outcomes to judge the model by: study and tables as `lobule report` reads them.
 */
static bool write_report(const LobJob *job, GError **err) {
    g_autofree char *metrics = lob_study_out(job->study, "metrics.csv");
    if (job->world.rank != 0 || !g_file_test(metrics, G_FILE_TEST_EXISTS))
        return true;
    g_autoptr(LobStudy) study = lob_study_read(job->study->path, job->study->output, err);
    lob_log_setup(LOB_LOG_ERROR, 0); /* the tables' own remarks were made before */
    g_autoptr(LobCohort) cohort =
        study && lob_external_study(study, err) ? lob_cohort_read(study, err) : NULL;
    lob_log_setup(job->loudness, 0);
    if (!cohort || !lob_report_write(cohort, err))
        return false;
    g_autofree char *page = lob_study_out(study, "report.html");
    lob_info("external validation: %s", page);
    return true;
}

int lob_cmd_predict(int argc, char **argv) {
    const LobJobSpec spec = {
        .name = "predict",
        .summary = "Scores the patients of STUDY with the locked model in the file MODEL; "
                   "nothing is fitted anew. Slides are embedded first where the study has slides. Writes "
                   "predictions.csv and benefit.csv; where outcomes of the model's endpoints are given, also "
                   "the external validation: metrics.csv, the verdict on the contrast in the model's lock, "
                   "and report.html. The study may have a single center, outcomes may be absent or in part "
                   "unknown.",
        .arguments = "MODEL STUDY",
        .readers = true,
        .predicts = true};
    LobJob job;
    int code = LOB_EXIT_OTHER;
    char sha256[65] = "";
    const char *model = take_model(&argc, argv);
    if (!lob_job_begin(&job, &spec, argc, argv, &code))
        return code;
    GError *err = NULL;
    if (output_is_free(&job, &err) && lob_job_predict(&job.world, job.cohort, model, sha256, &code, &err) &&
        (code == LOB_EXIT_DONE || code == LOB_EXIT_SLIDES_FAILED))
        (void)(write_provenance(&job, sha256, &err) && write_report(&job, &err));
    return lob_job_end(&job, code, err);
}
