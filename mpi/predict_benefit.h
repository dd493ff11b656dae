/* The locked benefit stage applied to a new cohort. Rank 0. */
#ifndef LOB_PREDICT_BENEFIT_H
#define LOB_PREDICT_BENEFIT_H

#include "hdf5io/model_file.h"
#include "mpi/validate.h"

/* benefit.csv, and the advice into predictions.csv, where the model has a benefit stage; nothing is fitted.
 */
bool lob_predict_benefit(const LobPlan *plan, const LobModelFile *file, const LobBags *bags, GError **err);

#endif
