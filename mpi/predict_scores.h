/* Scoring patients with a locked model: they are shared out over all ranks, since nothing is trained
 * together. */
#ifndef LOB_PREDICT_SCORES_H
#define LOB_PREDICT_SCORES_H

#include "hdf5io/model_file.h"
#include "mpi/validate.h"

/* All borrowed. */
typedef struct {
    const LobWorld *world;
    const LobPlan *plan;
    const LobSavedModel *model;
    const LobResident *resident; /* NULL: no features are used */
} LobScoring;

/* Collective. results [n_tasks]: rank 0 gets every eligible patient's scores, most attended tiles and the
 * maps that the study asks for, in the order of patients; other ranks get none. What a patient gets does not
 * depend on the number of ranks. */
bool lob_scoring_run(const LobScoring *scoring, LobTaskResult *results, GError **err);

#endif
