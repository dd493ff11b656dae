/* lobule validate: trains on all centers but one, in turn, and scores the one left out. */
#include "jobs/common.h"
#include "jobs/jobs.h"

int lob_cmd_validate(int argc, char **argv) {
    return lob_job_in_groups("validate",
                             "Trains each fold and seed on training centers alone, then scores the held-out "
                             "ones: predictions.csv, metrics.csv, meta.csv. What is already trained is kept.",
                             lob_job_validate, argc, argv);
}
