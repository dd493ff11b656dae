/* Treatment benefit in the validation job: one contrast and one statistic, registered in the lock, judged on
 * the held-out patients, and what the verdict is. Rank 0; everything follows from the seed. */
#ifndef LOB_VALIDATE_BENEFIT_H
#define LOB_VALIDATE_BENEFIT_H

#include "model/benefit.h"
#include "mpi/validate.h"
#include "stats/stats.h"
#include <jansson.h>

#define LOB_BENEFIT_PERMUTATIONS 199
#define LOB_BENEFIT_LEVEL 0.025      /* one-sided */
#define LOB_BENEFIT_MARGIN_DAYS 30.0 /* a treatment is recommended for at least this much */
#define LOB_BENEFIT_CENTER_EVENTS 10 /* an arm of a center needs these for an interaction of its own */

bool lob_plan_asks_benefit(const LobPlan *plan);
/* The first survival endpoint, or -1. */
int lob_plan_benefit_endpoint(const LobPlan *plan);
/* What is registered before a held-out center is opened. From the tables' arms alone, no outcome. */
json_t *lob_plan_benefit_lock(const LobPlan *plan);
/* After lob_tables_write's opening: benefit.csv, benefit_metrics.csv, verdict.json. */
bool lob_benefit_evaluate(const LobPlan *plan, const LobTaskResult *results, const LobBags *bags,
                          GError **err);

/* ---- between the two files ---- */
typedef struct {
    LobView *view;
    LobBenefit fit;
    LobBenefitPrediction prediction;
} LobBenefitFold;

/* Held-out patients of all folds in whose fold the part is estimable. */
typedef struct {
    size_t n;
    double *time, *weight, *score, *columns; /* columns [n][2]: linear predictor, other part */
    uint8_t *event;
    uint32_t *stratum, *center, *arm, *cluster;
} LobBenefitPool;

typedef struct {
    const char *name; /* of the part; NULL: no such part */
    bool registered, estimable, claimed;
    char *reason; /* why not estimable */
    size_t n, events, n_folds;
    double size[2]; /* effective sizes without and with */
    double detectable, z, p_permutation, p_holm;
    LobEstimate pooled, average; /* interaction per SD; average log hazard ratio */
    LobMeta meta;
    LobEstimate *center; /* [n_centers] */
    size_t *center_n, *center_events;
} LobBenefitContrast;

typedef struct {
    const LobPlan *plan;
    size_t endpoint;
    LobScores scores;
    LobBenefitFold *folds;
    size_t n_folds;
    LobBenefitContrast contrast[LOB_PARTS];
    LobMeta prognosis; /* concordance of held-out centers, on the scale of C */
    const char *verdict;
    GPtrArray *reasons; /* of char * */
} LobBenefitStudy;

bool lob_benefit_tables(const LobBenefitStudy *study, GError **err);

#endif
