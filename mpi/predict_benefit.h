/* The locked benefit stage applied to a new cohort. Rank 0. */
#ifndef LOB_PREDICT_BENEFIT_H
#define LOB_PREDICT_BENEFIT_H

#include "hdf5io/model_file.h"
#include "mpi/validate.h"

/* Whom the stage predicts for: eligible patients with tiles. */
typedef struct {
    size_t endpoint; /* index */
    float *covariates;
    uint32_t *patients; /* [cases.n] */
    LobBenefitCases cases;
} LobPredictedBenefit;

/* Empty, and true, where the model has no benefit stage. sums NULL: there are no features. */
bool lob_predicted_benefit_make(LobPredictedBenefit *b, const LobPlan *plan, const LobModelFile *file,
                                const LobBagSums *sums, GError **err);
/* benefit.csv, and the advice into predictions.csv; nothing is fitted. */
bool lob_predicted_benefit_write(const LobPredictedBenefit *b, const LobPlan *plan, const LobModelFile *file,
                                 GError **err);
void lob_predicted_benefit_clear(LobPredictedBenefit *b);

#endif
