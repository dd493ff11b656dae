/* Aggregators: bags of embeddings to a patient's risk; losses, optimiser, training of one fold. Local;
 * distribution is mpi/'s. Methods: gated attention after Ilse, Tomczak & Welling 2018; discrete-time hazards
 * after Zadeh & Schmid 2020. */
#ifndef LOB_MODEL_H
#define LOB_MODEL_H

#include "base/base.h"
#include "cohort/cohort.h"

/* Bags of all patients, resident, in the order of the cohort's patients. Rows of a patient's slides follow
 * each other. */
typedef struct {
    size_t n_patients, dim;
    const uint64_t *first;    /* [n_patients] row */
    const uint64_t *count;    /* [n_patients]; 0 = no usable tile */
    const uint16_t *features; /* [rows][dim] binary16, borrowed (may be shared by a node) */
} LobBags;

typedef struct {
    const char *kind; /* "mean" | "abmil" | "clinical" */
    int hidden, attention, intervals;
    int epochs, batch; /* patients a mini-batch */
    int max_tiles;     /* a bag is subsampled per epoch above this; 0 = never */
    double lr, weight_decay, dropout;
    int patience;        /* epochs without a better inner loss before stopping; 0 = run all epochs */
    bool use_covariates; /* fuse the view's covariates before the head */
    uint64_t seed;
} LobModelOptions;

extern const LobModelOptions lob_model_defaults;
void lob_model_options_from_study(LobModelOptions *options, const LobStudy *study, uint64_t seed);

/* What training one fold with one seed gives for its held-out patients, and for the training patients (from
 * which cut points are taken). */
typedef struct {
    size_t n_patients; /* of the cohort */
    float *lp;         /* [n_patients] linear predictor, NAN where not scored; higher = worse */
    float *survival;   /* [n_patients][n_horizons] S(t), NAN where not scored */
    size_t n_horizons;
    float *attention; /* [rows] attention of held-out patients' tiles, or NULL where the model has none */
    int best_epoch;
    double inner_loss, train_loss;
    double cut; /* median linear predictor of the training patients */
} LobModelResult;

/* The seam: kinds of aggregators are a table in model.c. stop may be NULL; STOPPED where it asked. */
bool lob_model_fit(const LobView *view, const LobBags *bags, const LobModelOptions *options,
                   LobModelResult *result, bool (*stop)(void *user), void *user, GError **err);
void lob_model_result_clear(LobModelResult *result);
const char *const *lob_model_kinds(void);

#endif
