/* lobule embed: computes the embeddings into the store. */
#include "jobs/common.h"
#include "jobs/jobs.h"

int lob_cmd_embed(int argc, char **argv) {
    const LobJobSpec spec = {.name = "embed",
                             .summary =
                                 "Computes the embeddings of all planned tiles into the store. What is "
                                 "already done is kept; needs lobule plan before.",
                             .readers = true};
    LobJob job;
    int code = LOB_EXIT_OTHER;
    if (!lob_job_begin(&job, &spec, argc, argv, &code))
        return code;
    GError *err = NULL;
    (void)lob_job_embed(&job.world, job.cohort, &code, &err);
    return lob_job_end(&job, code, err);
}
