/* A locked benefit stage judged on a cohort it was not made from. Rank 0. */
#ifndef LOB_PREDICT_EXTERNAL_H
#define LOB_PREDICT_EXTERNAL_H

#include "hdf5io/model_file.h"
#include "mpi/validate.h"

/* What the prediction has made of the new cohort. All borrowed. */
typedef struct {
    const LobPlan *plan;
    const LobModelFile *file;
    const LobTaskResult *results;
    const LobBagSums *sums;       /* NULL: vectors of covariates */
    char *const *columns;         /* names of the features, or NULL */
    size_t endpoint;              /* the benefit stage's */
    const float *covariates;      /* [patients][benefit's n_covariates] */
    const LobBenefitCases *cases; /* who is predicted for */
    const uint32_t *patients;     /* [cases->n] */
} LobExternal;

/* benefit_metrics.csv, benefit_scores.csv, benefit_draws.csv, verdict.json, from the contrast, statistic,
 * level, margin, thirds and biomarker scale of the model file: nothing is fitted or cut anew. Nothing is
 * written, with a word why, where no patient has a known outcome and arm.
 * INPUT error where this program computes another statistic than the model registered. */
bool lob_external_evaluate(const LobExternal *external, GError **err);

#endif
