/* lobule embed: computes the embeddings into the store. */
#include "jobs/common.h"
#include "jobs/jobs.h"

int lob_cmd_embed(int argc, char **argv) {
    gboolean verify = FALSE;
    const GOptionEntry options[] = {
        {"verify", 0, 0, G_OPTION_ARG_NONE, &verify,
         "Read what is stored again first; slides that are not as they were written are made again", NULL},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};
    const LobJobSpec spec = {.name = "embed",
                             .summary =
                                 "Computes the embeddings of all planned tiles into the store. What is "
                                 "already done is kept; slides that are new or have come back since they "
                                 "failed are planned first.",
                             .options = options,
                             .readers = true,
                             .takes_share = true};
    LobJob job;
    int code = LOB_EXIT_OTHER, planned = LOB_EXIT_OTHER;
    if (!lob_job_begin(&job, &spec, argc, argv, &code))
        return code;
    GError *err = NULL;
    if (lob_job_plan(&job.world, job.cohort, &planned, &err) &&
        (!verify || lob_job_verify(&job.world, job.cohort, &err)))
        (void)lob_job_embed(&job.world, job.cohort, &code, &err);
    return lob_job_end(&job, code, err);
}
