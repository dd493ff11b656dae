/* What is predicted and advised for a patient, as tables have it: shared by validation and prediction. */
#ifndef LOB_BENEFIT_ROWS_H
#define LOB_BENEFIT_ROWS_H

#include "model/benefit.h"

/* As verdict.json says where recommendations come from. */
#define LOB_ADVICE_EARNED "effect scores"
#define LOB_ADVICE_RISK "risk and average effect"

/* What the rows of a table share. All borrowed. */
typedef struct {
    const char *endpoint, *model; /* rows of predictions.csv that get the advice are of these */
    const LobArmLevel *arms;
    size_t n_arms, n_horizons;
    const double *horizons;
    const char *part[LOB_PARTS];      /* names; NULL: no such part */
    double margin_days, penalty_days; /* penalty 0: adverse events are not asked for */
} LobAdviceFrame;

/* One patient. Everything borrowed; numbers as in LobBenefitPrediction, of this patient. */
typedef struct {
    const char *patient_id, *center, *arm; /* arm "": not known */
    int fold;
    double effect[LOB_PARTS]; /* NAN: not estimable */
    const double *rmst, *rmst_risk, *sd, *sd_risk, *survival, *survival_risk, *adverse;
    bool earned; /* the effect score is proven: advice may follow it */
} LobAdvice;

/* Points an advice at patient i of a prediction. */
void lob_advice_take(LobAdvice *advice, const LobBenefitPrediction *prediction, size_t i);
/* Gains are less the price of an adverse event times its probability. The arm that gains most, where it gains
 * more than the margin by more than its spread; the arm without treatment where every other one falls short
 * by as much; "undecided"; "" where nothing is estimable. A probability that is not known may be anything. */
const char *lob_advice_recommend(const LobAdviceFrame *frame, const LobAdvice *advice);
/* benefit.csv: one row a patient. */
bool lob_advice_write(const char *path, const LobAdviceFrame *frame, const LobAdvice *advice, size_t n,
                      GError **err);
/* Adds to predictions.csv the risk under each arm at each horizon, benefit over no treatment with its SD, all
 * of what the recommendation follows, that recommendation, and where it comes from; empty in rows of other
 * endpoints and models. */
bool lob_advice_join(const char *path, const LobAdviceFrame *frame, const LobAdvice *advice, size_t n,
                     GError **err);

#endif
