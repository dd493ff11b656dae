/* lobule run: the whole pipeline, each stage skipping what is already done. */
#include "jobs/common.h"
#include "jobs/jobs.h"
#include "jobs/provenance.h"
#include "mpi/alone.h"
#include "mpi/world.h"
#include "report/report.h"

/* The page is made by one rank from the tables of the others; the others wait asleep. */
static bool report_stage(const LobWorld *world, const LobCohort *cohort, int *exit_code, GError **err) {
    *exit_code = LOB_EXIT_DONE;
    if (world->rank != 0)
        return true;
    if (!lob_provenance_write(world, cohort, err) || !lob_report_write(cohort, err))
        return false;
    g_autofree char *page = lob_study_out(cohort->study, "report.html");
    lob_info("report: %s", page);
    return true;
}

static bool validate_stage(const LobWorld *world, const LobCohort *cohort, int *exit_code, GError **err) {
    return lob_run_alone(lob_job_validate, world, cohort, exit_code, err);
}

static const struct {
    LobStageRun run;
    bool needs_slides;
} stages[] = {
    {lob_job_plan, true},
    {lob_job_embed, true},
    {validate_stage, false},
    {report_stage, false},
};

/* Collective. The code on which every rank agrees: the first rank's that is not DONE, by rank order; an error
 * on any rank ends the run on all of them. */
static int agree(const LobWorld *world, int code) {
    g_autofree void *all = NULL;
    g_autofree size_t *sizes = NULL;
    lob_world_gather(world, &code, sizeof code, &all, &sizes);
    for (int r = 0; world->rank == 0 && r < world->size && code == LOB_EXIT_DONE; r++)
        code = ((const int *)all)[r];
    lob_world_bcast(world, &code, sizeof code);
    return code;
}

/* Rank 0 looks; all agree. The views' own remarks come again, once, when they are trained. */
static bool preflight(const LobJob *job, GError **err) {
    GError *mine = NULL;
    lob_log_setup(LOB_LOG_ERROR, job->world.rank);
    if (job->world.rank == 0)
        (void)lob_preflight(job->cohort, &mine);
    lob_log_setup(job->loudness, job->world.rank);
    return lob_world_agree(&job->world, mine, err);
}

int lob_cmd_run(int argc, char **argv) {
    const LobJobSpec spec = {.name = "run",
                             .summary =
                                 "Plan, embed, validate and report; what is already done is not done again. "
                                 "Under mpirun or srun all ranks work.",
                             .readers = true};
    LobJob job;
    int code;
    if (!lob_job_begin(&job, &spec, argc, argv, &code))
        return code;
    GError *error = NULL;
    int worst = LOB_EXIT_DONE;
    if (!preflight(&job, &error))
        return lob_job_end(&job, LOB_EXIT_OTHER, error);
    for (size_t i = 0; i < G_N_ELEMENTS(stages); i++) {
        if (stages[i].needs_slides && job.study->features)
            continue;
        int stage_code = LOB_EXIT_DONE;
        if (!stages[i].run(&job.world, job.cohort, &stage_code, &error))
            stage_code = lob_error_exit_code(error);
        stage_code = agree(&job.world, stage_code);
        /* Failed slides are a warning that lasts; anything else that is not DONE ends the run here, on every
         * rank. */
        if (stage_code != LOB_EXIT_DONE)
            worst = stage_code;
        if (stage_code != LOB_EXIT_DONE && stage_code != LOB_EXIT_SLIDES_FAILED)
            break;
    }
    return lob_job_end(&job, worst, error);
}
