/* lobule plan: finds tissue, counts tiles, creates the store. */
#include "jobs/common.h"
#include "jobs/jobs.h"

int lob_cmd_plan(int argc, char **argv) {
    const LobJobSpec spec = {
        .name = "plan",
        .summary = "Finds the tissue of every slide, counts its tiles and creates the store at its final "
                   "size. What is already planned is kept.",
        .readers = true,
        .takes_share = true};
    LobJob job;
    int code = LOB_EXIT_OTHER;
    if (!lob_job_begin(&job, &spec, argc, argv, &code))
        return code;
    GError *err = NULL;
    (void)lob_job_plan(&job.world, job.cohort, &code, &err);
    return lob_job_end(&job, code, err);
}
