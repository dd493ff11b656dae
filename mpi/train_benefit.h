/* The benefit stage of the final model. Rank 0. */
#ifndef LOB_TRAIN_BENEFIT_H
#define LOB_TRAIN_BENEFIT_H

#include "model/benefit.h"
#include "mpi/validate.h"

/* sums NULL: from covariates alone. *model, owned by the caller, stays NULL where the study asks for no
 * benefit or cannot. */
bool lob_train_benefit(const LobPlan *plan, const LobBagSums *sums, LobBenefitModel **model, GError **err);

#endif
