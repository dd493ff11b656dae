/* lobule train: the final model, trained on all centers and locked. */
#include "jobs/common.h"
#include "jobs/jobs.h"

int lob_cmd_train(int argc, char **argv) {
    return lob_job_in_groups("train",
                             "Trains the study's model on all usable patients, with the options and seeds of "
                             "the validation, and locks it in output/model.h5, which is never overwritten. "
                             "What is already trained is kept. Needs the features: run lobule plan and embed "
                             "first, or give features: in the study file.",
                             lob_job_train, argc, argv);
}
