/* Does the image say whom a treatment helps? A linear stage behind one fold, fitted on its training view
 * alone.
 *
 *   z      the mean of a patient's standardised tiles, reduced to a few principal components of the spread
 *          between patients of one training center (no bags: the view's covariates)
 *   main   log hazard of covariates, z, the parts of the treatment and their product: ridge Cox, centers as
 * strata effect log hazard (a_f - 1/2) * z'gamma_f for each part f of the factorial code, on top of main,
 * with overlap weights of that part. The centered code makes the effect's column nearly orthogonal to main
 *          (Tian et al. 2014), so that errors of main count in second order only.
 *
 * Where this differs from a network with effect heads: at realistic sizes the effect heads decide over a few
 * numbers, which a ridge fit finds exactly and a permutation can refit hundreds of times. The weights are
 * those of one part of the treatment given the other, not generalised overlap weights over all arms: a rare
 * arm "both" would make the latter almost zero for everybody else. Ridges are chosen by leaving out one
 * training center at a time, on the quadratic expansion of the partial likelihood at 0, which is a sum over
 * centers. */
#ifndef LOB_BENEFIT_H
#define LOB_BENEFIT_H

#include "model/model.h"

#define LOB_PARTS 2

typedef struct {
    size_t components; /* of z, at most */
    size_t members;    /* bootstrap refits behind the spread */
    double min_events, min_size,
        max_share; /* guards: events and effective size of an arm; share of one center */
    uint64_t seed;
    bool (*stop)(void); /* asked now and then; NULL: never */
    /* The same fold's view of the study's adverse events, where it asks for their price. Borrowed; NULL: not
     * asked, or nothing to learn from. */
    const LobView *adverse;
} LobBenefitOptions;

LobBenefitOptions lob_benefit_defaults(uint64_t seed);

/* Sums over each patient's tiles. */
#define LOB_BAG_SUMS 3 /* of even tiles, of odd tiles, of squares */
typedef struct {
    size_t n_patients, dim;
    uint64_t *count; /* [n_patients] tiles */
    double *sums;    /* [n_patients][LOB_BAG_SUMS][dim] */
} LobBagSums;

void lob_bag_sums_init(LobBagSums *sums, size_t n_patients, size_t dim); /* all 0 */
/* own [LOB_BAG_SUMS][dim], of one patient that this rank holds. */
void lob_bag_sums_patient(const LobBags *bags, uint32_t patient, double *own);
double *lob_bag_sums_at(const LobBagSums *sums, uint32_t patient);
/* Of all patients, where one rank holds them all. */
void lob_bag_sums_of(LobBagSums *sums, const LobBags *bags);
double lob_bag_sums_mean(const LobBagSums *sums, uint32_t patient, size_t column); /* of tiles */
void lob_bag_sums_clear(LobBagSums *sums);

/* From a patient's tiles (or covariates, where there are no bags) to z, and how well z is known. */
typedef struct {
    size_t k, dim;
    bool of_tiles;          /* else of covariates, which count as known without error */
    float *mean, *inverse;  /* [dim] standardisation of tiles; NULL for covariates */
    double *bases;          /* [k][dim] components over scaled columns */
    double *center, factor; /* z = (bases x - center) * factor; center [k] */
    size_t factors;         /* components that several columns share: probabilistic PCA by BIC */
    double *variance;       /* [k] of z between patients of one center */
    double *blur;           /* [k] variance of one tile's z about its patient's; 0 for covariates */
    double specific;        /* variance of z that is of single columns (probabilistic PCA's noise) */
} LobBasis;

/* One part of the treatment. */
typedef struct {
    bool asked; /* some arm has it and some has it not */
    bool estimable;
    char *reason;       /* why not */
    double *propensity; /* [n_patients] of the part given covariates and the other part; training patients'
                           from the other training centers. NAN where the arm is unknown */
    double *weight;     /* [n_patients] overlap weight */
    double *propensity_beta; /* [1 + covariates + 1] intercept, covariates, other part: log odds of the part,
                                from all training patients; that of held-out ones */
    double *gamma;           /* [k] log hazard ratio of the part per unit of z */
    double ridge, sd;        /* sd: of z'gamma over training patients */
    size_t events[2];        /* in training, without and with the part */
    double size[2];          /* effective sizes */
} LobBenefitPart;

/* What of a fit is needed to predict for anybody: no patient's data. Draw 0 is the fit, the others are its
 * spread. */
typedef struct {
    char *endpoint;
    size_t n_covariates, n_arms, n_horizons, n_draws;
    LobArmLevel *arms; /* [n_arms] names and codes */
    double *horizons;
    LobBasis basis;
    bool use_product, estimable[LOB_PARTS];
    bool earned;                        /* a validation has proven the effect score: advice may follow it */
    char *reason[LOB_PARTS];            /* why not */
    double sd[LOB_PARTS];               /* of the effect score over training patients */
    double *propensity_beta[LOB_PARTS]; /* [n_covariates + 2], NULL where not estimable */
    double tau;                         /* days */
    double margin_days;                 /* a treatment is recommended for at least this much */
    double penalty_days;                /* what an adverse event costs; 0: not asked */
    double *adverse;          /* [n_covariates + k + 3] log odds of one in an arm with treatment: intercept,
                                 covariates,          z, part 2, both parts; NULL: not asked, or not estimable */
    uint64_t seed;            /* of the spread of what the image does not show */
    double *main;             /* [n_draws][n_covariates + k + 3] */
    double *gamma[LOB_PARTS]; /* [n_draws][k] */
    double *shift;            /* [n_draws][k] where the draw's center lies */
    double *hazard; /* [n_draws][2][LOB_BENEFIT_GRID + 1] cumulative baseline to tau: with effects, from main
                       alone */
} LobBenefitModel;
#define LOB_BENEFIT_GRID 64 /* steps to tau */

typedef struct {
    const LobView *view; /* borrowed, must outlive this */
    LobBenefitOptions options;
    size_t n_patients, k;
    double *z; /* [n_patients][k]; 0 for patients without tile */
    LobBasis basis;
    LobBenefitModel model;
    uint64_t *tiles;            /* [n_patients] */
    int8_t *code;               /* [n_patients][LOB_PARTS]; -1 arm unknown */
    uint32_t *train, *held_out; /* with tiles; training ones with a known arm */
    size_t n_train, n_held_out;
    size_t n_main; /* columns: covariates, z, part 1, part 2, both */
    double *main;  /* [n_main] */
    double main_ridge;
    LobBenefitPart part[LOB_PARTS];
    bool use_product;     /* enough events of patients with both parts */
    double *adverse;      /* as in the model */
    char *adverse_reason; /* why it was asked and is not there */
    double tau;           /* days, of the restricted mean */
} LobBenefit;

/* Whom to predict for. */
typedef struct {
    size_t n;
    const char **id;    /* [n] borrowed: the spread of what an image does not show follows from it */
    double *covariates; /* [n][n_covariates] the view's columns */
    double *z;          /* [n][k] */
    double *tiles;      /* [n] */
} LobBenefitCases;

/* INPUT error where benefit cannot be asked of this study and endpoint: not survival, arms without contrast.
 */
bool lob_benefit_can(const LobStudy *study, size_t endpoint, GError **err);
/* sums NULL: from covariates alone. false: INPUT where no effect can be asked at all (not survival, no arms),
 * with the reason; STOPPED. */
bool lob_benefit_fit(LobBenefit *benefit, const LobView *view, const LobBagSums *sums,
                     const LobBenefitOptions *options, GError **err);
void lob_benefit_clear(LobBenefit *benefit);

/* Log hazard ratio of a part beyond the average one, for each held-out patient; scaled: in SDs of the
 * training patients (0 where the SD is 0). score [n_held_out]. */
void lob_benefit_score(const LobBenefit *benefit, int part, bool scaled, double *score);
/* In SDs of the training patients, each patient with the modifier of source[p] [n_patients] (NULL: its own),
 * nothing fitted anew. */
void lob_benefit_score_exchanged(const LobBenefit *benefit, int part, const uint32_t *source, double *score);
/* The same from a refit in which patient p's modifier is that of source[p] (within center and arm, so that
 * the relation of modifier and effect is broken and nothing else). source [n_patients]. */
void lob_benefit_score_permuted(const LobBenefit *benefit, int part, const uint32_t *source, double *score);

/* Log hazard without treatment, from main alone, of each held-out patient: [n_held_out]. */
void lob_benefit_risk(const LobBenefit *benefit, double *risk);

/* What lob_benefit_score_permuted needs, apart from the view, for another rank of the same job; of what is
 * unpacked nothing else may be asked. view: that of the packed fit. *at moves behind what was read. */
void lob_benefit_pack(const LobBenefit *benefit, GByteArray *bytes);
void lob_benefit_unpack(LobBenefit *benefit, const LobView *view, const char **at);

/* What is predicted for a held-out patient, one value an arm of the study. */
typedef struct {
    size_t n_arms, n_horizons;
    double *rmst;          /* [n_held_out][n_arms] days to tau; NAN where the arm's effect is not estimable */
    double *rmst_risk;     /* the same from main alone: benefit through risk only */
    double *sd, *sd_risk;  /* [n_held_out][n_arms] spread of the difference to the arm without treatment */
    double *survival;      /* [n_held_out][n_arms][n_horizons] NAN beyond training's follow-up */
    double *survival_risk; /* the same from main alone */
    double *adverse;       /* [n_held_out][n_arms] probability of an adverse event: 0 without treatment or
                              where not asked, NAN where not estimable */
} LobBenefitPrediction;
/* false: STOPPED. */
bool lob_benefit_predict(LobBenefit *benefit, LobBenefitPrediction *prediction, GError **err);
void lob_benefit_prediction_clear(LobBenefitPrediction *prediction);

/* Draws the spread; fit->model then holds it. lob_benefit_predict does so where it is not there yet. */
bool lob_benefit_draw(LobBenefit *benefit, GError **err); /* false: STOPPED */
/* A patient's numbers do not depend on who else is asked for. Those of `patients` that have a tile; kept [n]
 * their positions. covariates [cohort's patients][n_covariates]; sums NULL where the model's vectors are of
 * covariates. */
void lob_benefit_cases(LobBenefitCases *cases, const LobBenefitModel *model, const LobCohort *cohort,
                       const LobBagSums *sums, const float *covariates, const uint32_t *patients, size_t n,
                       size_t *kept);
/* Patients of the fold itself: training or held-out ones. */
void lob_benefit_own_cases(const LobBenefit *benefit, const uint32_t *patients, size_t n,
                           LobBenefitCases *cases);
void lob_benefit_cases_clear(LobBenefitCases *cases);
/* Restricted means to `tau` days (at most the model's), [n][n_arms]; with effects or from main alone. */
void lob_benefit_model_rmst(const LobBenefitModel *model, const LobBenefitCases *cases, double tau,
                            bool effects, double *rmst);
void lob_benefit_model_predict(const LobBenefitModel *model, const LobBenefitCases *cases,
                               LobBenefitPrediction *prediction);
/* Probability of an adverse event, [n][n_arms], as in LobBenefitPrediction. */
void lob_benefit_model_adverse(const LobBenefitModel *model, const LobBenefitCases *cases, double *out);
/* Effect scores, not scaled: [n]. */
void lob_benefit_model_score(const LobBenefitModel *model, const LobBenefitCases *cases, int part,
                             double *score);
/* INPUT error where sizes do not fit each other or a number is not finite: whatever a file may hold. */
bool lob_benefit_model_check(const LobBenefitModel *model, GError **err);
void lob_benefit_model_append(const LobBenefitModel *model, GByteArray *bytes); /* for hashing */
void lob_benefit_model_clear(LobBenefitModel *model);

/* Name of a part: of the arm that is this part alone; NULL where there is none. */
size_t lob_benefit_reference_arm(const LobStudy *study); /* the arm with code [0, 0] */
const char *lob_benefit_part_name(const LobStudy *study, int part);

#endif
