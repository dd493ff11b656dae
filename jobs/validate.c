/* lobule validate: trains on all centers but one, in turn, and scores the one left out. */
#include "jobs/common.h"
#include "jobs/jobs.h"
#include "mpi/alone.h"

int lob_cmd_validate(int argc, char **argv) {
    int groups = 0;
    const GOptionEntry options[] = {
        {"groups", 0, 0, G_OPTION_ARG_INT, &groups,
         "Groups of ranks, each sharing the patients out (site.groups; default: as memory asks)", "N"},
        {NULL, 0, 0, 0, NULL, NULL, NULL},
    };
    const LobJobSpec spec = {.options = options,
                             .name = "validate",
                             .summary =
                                 "Trains each fold and seed on training centers alone, then scores the "
                                 "held-out ones: predictions.csv, metrics.csv, meta.csv. What is already "
                                 "trained is kept."};
    LobJob job;
    int code = LOB_EXIT_OTHER;
    if (!lob_job_begin(&job, &spec, argc, argv, &code))
        return code;
    GError *err = NULL;
    if (groups > 0)
        job.study->site.groups = groups;
    (void)lob_run_alone(lob_job_validate, &job.world, job.cohort, &code, &err);
    return lob_job_end(&job, code, err);
}
