/* The benefit stage of the final model. Rank 0. */
#ifndef LOB_TRAIN_BENEFIT_H
#define LOB_TRAIN_BENEFIT_H

#include "model/benefit.h"
#include "model/registered.h"
#include "mpi/validate.h"

/* sums NULL: from covariates alone. columns: names of the features, NULL-terminated, or NULL. *model, owned
 * by the caller as the next, stays NULL where the study asks for no benefit or cannot. */
bool lob_train_benefit(const LobPlan *plan, const LobBagSums *sums, char *const *columns,
                       LobBenefitModel **model, LobRegistered **registered, GError **err);
/* fit NULL: the model has no benefit stage. */
bool lob_train_register(const LobPlan *plan, const LobBenefit *fit, const LobBagSums *sums,
                        char *const *columns, LobRegistered **registered, GError **err);

#endif
