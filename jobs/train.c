/* lobule train: the final model, trained on all centers and locked. */
#include "jobs/common.h"
#include "jobs/jobs.h"
#include "mpi/alone.h"

int lob_cmd_train(int argc, char **argv) {
    int groups = 0;
    const GOptionEntry options[] = {
        {"groups", 0, 0, G_OPTION_ARG_INT, &groups,
         "Groups of ranks, each sharing the patients out (site.groups; default: as memory asks)", "N"},
        {NULL, 0, 0, 0, NULL, NULL, NULL},
    };
    const LobJobSpec spec = {.options = options,
                             .name = "train",
                             .summary =
                                 "Trains the study's model on all usable patients, with the options and "
                                 "seeds of the validation, and locks it in output/model.h5, which is "
                                 "never overwritten. What is already trained is kept. Needs the features: "
                                 "run lobule plan and embed "
                                 "first, or give features: in the study file."};
    LobJob job;
    int code = LOB_EXIT_OTHER;
    if (!lob_job_begin(&job, &spec, argc, argv, &code))
        return code;
    GError *err = NULL;
    if (groups > 0)
        job.study->site.groups = groups;
    (void)lob_run_alone(lob_job_train, &job.world, job.cohort, &code, &err);
    return lob_job_end(&job, code, err);
}
