/* Treatment benefit in the validation job: one contrast and one statistic, registered in the lock, judged on
 * the held-out patients, and what the verdict is. Rank 0; everything follows from the seed. */
#ifndef LOB_VALIDATE_BENEFIT_H
#define LOB_VALIDATE_BENEFIT_H

#include "model/registered.h"
#include "mpi/benefit_rows.h"
#include "mpi/validate.h"
#include "stats/stats.h"
#include <jansson.h>

#define LOB_BENEFIT_PERMUTATIONS 199
#define LOB_BENEFIT_LEVEL 0.025      /* one-sided */
#define LOB_BENEFIT_CENTER_EVENTS 10 /* an arm of a center needs these for an interaction of its own */

bool lob_plan_asks_benefit(const LobPlan *plan);
/* The first survival endpoint, or -1. */
int lob_plan_benefit_endpoint(const LobPlan *plan);
/* What is registered before a held-out center is opened. From the tables' arms alone, no outcome. */
json_t *lob_plan_benefit_lock(const LobPlan *plan);
int lob_plan_registered_part(const LobPlan *plan); /* -1: none */
/* For LobBenefitOptions. */
bool lob_benefit_wants_stop(void);
/* Collective, before anything is trained. INPUT error where benefit is asked for and the study's biomarker is
 * in neither of the features' columns (rank 0's: NULL-terminated, or NULL) and patients.csv, or is no number
 * there. */
bool lob_benefit_marker_check(const LobWorld *world, const LobPlan *plan, char *const *columns, GError **err);
/* After lob_tables_write's opening: benefit.csv, benefit_metrics.csv, verdict.json. sums: of the tiles, or
 * NULL; columns: of the features, NULL-terminated, or NULL. INPUT error where the study's biomarker is
 * neither of them nor of patients.csv.
 */
bool lob_benefit_evaluate(const LobWorld *world, const LobPlan *plan, const LobTaskResult *results,
                          const LobBagSums *sums, char *const *columns, GError **err);

/* While rank 0 is in lob_benefit_evaluate, the others are here and take draws; until rank 0, which owes them
 * that, dismisses them. */
void lob_benefit_help(const LobWorld *world, const LobPlan *plan);
void lob_benefit_dismiss(const LobWorld *world);

/* ---- between the files ---- */
typedef struct {
    LobView *view, *adverse; /* adverse: of the study's adverse events, or NULL */
    LobBenefit fit;
    LobBenefitPrediction prediction;
    double marker_mean, marker_sd; /* of the biomarker over training patients */
} LobBenefitFold;

#define LOB_CONTRASTS (2 * LOB_PARTS)

/* Held-out patients of all folds in whose fold the part is estimable. */
typedef struct {
    size_t n;
    double *time, *weight, *score, *columns; /* columns [n][2]: linear predictor, other part */
    uint8_t *event;
    uint32_t *stratum, *center, *arm, *cluster;
} LobBenefitPool;

void lob_benefit_pool_clear(LobBenefitPool *pool);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LobBenefitPool, lob_benefit_pool_clear)

typedef struct {
    char *name;  /* "tace", "tace_by_lym_density"; NULL: no such contrast */
    int part;    /* of the treatment */
    bool marker; /* by the biomarker instead of the effect score */
    bool registered, estimable, claimed;
    char *reason; /* why not estimable */
    size_t n, events, n_folds;
    double size[2]; /* effective sizes without and with */
    double detectable, z, p_permutation, p_holm;
    double draw[LOB_BENEFIT_PERMUTATIONS]; /* z of the permutations, NAN: no answer */
    LobEstimate pooled, average;           /* interaction per SD; average log hazard ratio */
    LobMeta meta;
    LobEstimate *center; /* [n_centers] */
    size_t *center_n, *center_events;
} LobBenefitContrast;

typedef struct {
    const LobWorld *world; /* whose ranks help; NULL: none does */
    const LobPlan *plan;
    /* A locked model's evaluation on another cohort, which is its one fold: nothing is fitted, cut or drawn
     * anew, and permutations exchange the modifiers alone. NULL: a validation. */
    const LobRegistered *locked;
    size_t endpoint;
    int registered_part; /* -1: none */
    bool competing;      /* the endpoint has competing events */
    bool own_risk;   /* adjust for the stage's own prognosis, which everybody has, instead of the model's */
    bool prognostic; /* the image ranks, of its own */
    LobScores scores, clinical; /* of the model; of covariates alone, where there are both */
    double *lp;                 /* [n_patients] linear predictor of the model, NAN where none */
    LobBenefitFold *folds;
    size_t n_folds;
    LobBenefitContrast contrast[LOB_CONTRASTS]; /* the parts' effect scores, then the biomarker's */
    const char *marker_name;                    /* borrowed */
    double *marker;                             /* [n_patients] NAN missing; NULL: none */
    const LobBagSums *sums;                     /* borrowed, or NULL */
    char *const *columns;                       /* names of features, or NULL */
    LobMeta prognosis;                          /* concordance of held-out centers, on the scale of C */
    LobMeta image_gain; /* of it over covariates alone; k 0 where there are not both */
    const char *verdict;
    GPtrArray *reasons; /* of char * */
} LobBenefitStudy;

void lob_benefit_say(LobBenefitStudy *study, char *reason); /* owns it */
/* Fills prognosis, image_gain, prognostic; then says them. */
void lob_benefit_prognosis(LobBenefitStudy *study);
void lob_benefit_say_prognosis(LobBenefitStudy *study);
/* Why a contrast is not estimable, or NULL: too few folds (fills n_folds); too few patients (fills n, events,
 * size, detectable). Caller frees. */
char *lob_benefit_folds_guard(const LobBenefitStudy *study, LobBenefitContrast *contrast);
char *lob_benefit_pool_guard(LobBenefitContrast *contrast, const LobBenefitPool *pool,
                             const LobBenefitOptions *options);
/* The fold's view of the study's adverse events, NULL where it asks for none or none can be learned from. */
bool lob_benefit_adverse_view(const LobPlan *plan, int fold, LobView **view, GError **err);
/* Linear predictor by patient of the first repeat, NAN where none. Caller frees. */
double *lob_benefit_predictors(const LobScores *scores, size_t n_patients);
/* source NULL: the fitted scores; else those of a refit with modifiers exchanged (biomarker: exchanged). */
void lob_benefit_pool_fill(LobBenefitPool *pool, const LobBenefitStudy *study,
                           const LobBenefitContrast *contrast, const uint32_t *source);
void lob_benefit_pool_center(LobBenefitPool *out, const LobBenefitPool *pool, uint32_t center);
/* Those at risk after `from`, followed until `to`. */
void lob_benefit_pool_period(LobBenefitPool *out, const LobBenefitPool *pool, double from, double to);
LobEstimate lob_benefit_interaction(const LobBenefitPool *pool);
/* Log hazard ratio of the part at the same linear predictor. */
LobEstimate lob_benefit_average(const LobBenefitPool *pool);
/* Every fold's fit and, where asked for, its predictions. */
bool lob_benefit_fit_folds(LobBenefitStudy *study, bool predict, GError **err);
void lob_benefit_folds_clear(LobBenefitStudy *study);
/* Fills draw[first], draw[first + step] ... */
bool lob_benefit_draws(const LobBenefitStudy *study, LobBenefitContrast *contrast, int first, int step,
                       GError **err);
bool lob_benefit_draws_shared(const LobBenefitStudy *study, LobBenefitContrast *contrast, GError **err);
/* Fills draw and p_permutation. */
bool lob_benefit_permute(const LobBenefitStudy *study, LobBenefitContrast *contrast, GError **err);
/* Fills marker, if the study or its features have one. */
bool lob_benefit_marker(LobBenefitStudy *study, const LobBagSums *sums, char *const *columns, GError **err);
/* Mean and SD over the fold's training patients. */
void lob_benefit_scale_marker(const LobBenefitStudy *study, LobBenefitFold *fold);
/* Days to tau: where thirds of the gain by the part alone end among the fit's training patients. */
void lob_benefit_third_cuts(const LobBenefit *fit, int part, double tau, double cut[2]);
/* Every contrast and the verdict, from folds, scores, marker and registered_part. */
bool lob_benefit_judge(LobBenefitStudy *study, GError **err);
void lob_benefit_study_clear(LobBenefitStudy *study);
bool lob_benefit_tables(const LobBenefitStudy *study, GError **err);

/* Rows of benefit_metrics.csv. */
typedef struct {
    LobCsv *csv;
    LobCsv *scores; /* benefit_scores.csv */
    const LobBenefitContrast *contrast;
} LobBenefitSheet;
#define LOB_BENEFIT_PERIOD_EVENTS 10 /* an arm needs these for an interaction of a period */
void lob_benefit_row(const LobBenefitSheet *sheet, const char *center, const char *metric, LobEstimate e,
                     size_t n, size_t events);
void lob_benefit_explained_row(const LobBenefitSheet *sheet, const LobBenefitStudy *study);
void lob_benefit_policy_rows(const LobBenefitSheet *sheet, const LobBenefitStudy *study);
void lob_benefit_period_rows(const LobBenefitSheet *sheet, const LobBenefitStudy *study);
/* Of all contrasts; sheet's own is not read. STOPPED. */
bool lob_benefit_landmark_rows(const LobBenefitSheet *sheet, const LobBenefitStudy *study, GError **err);
/* The registered effect score itself is proven: the biomarker's proof is none of the score. */
bool lob_benefit_is_earned(const LobBenefitStudy *study);
LobAdviceFrame lob_benefit_frame(const LobBenefitStudy *study);

#endif
