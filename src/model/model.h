/* Aggregators: bags of embeddings to a patient's risk; losses, optimiser, training of one fold. Local;
 * distribution is mpi/'s. Methods: gated attention after Ilse, Tomczak & Welling 2018; discrete-time hazards
 * after Zadeh & Schmid 2020. */
#ifndef LOB_MODEL_H
#define LOB_MODEL_H

#include "base/base.h"
#include "cohort/cohort.h"
#include "model/checkpoint.h"
#include "model/group.h"

/* Bags of all patients, resident, in the order of the cohort's patients. Rows of a patient's slides follow
 * each other. Training wants them without unreadable (NaN) and without repeated rows: see lob_bags_compact.
 */
typedef struct {
    size_t n_patients, dim;
    const uint64_t *first;    /* [n_patients] row */
    const uint64_t *count;    /* [n_patients]; 0 = no usable tile */
    const uint16_t *features; /* [rows][dim] binary16, borrowed (may be shared by a node) */
    /* Where a group of ranks shares the patients out: which rank works on each [n_patients], so that only
     * there first and features need hold. first and count are known everywhere. NULL, NULL: one rank has
     * all. */
    const LobGroup *group;
    const uint32_t *owner;
} LobBags;

/* Drops, within each patient, rows holding a value that is not finite and rows whose bytes repeat an earlier
 * row: the same slide given twice then changes no pooling, whatever the aggregator. Rows move up within the
 * patient's range (first stays, count shrinks). origin [rows] may be NULL; else origin[r] is where row r came
 * from. Returns how many rows went. */
uint64_t lob_bags_compact(uint16_t *features, size_t dim, size_t n_patients, const uint64_t *first,
                          uint64_t *count, uint64_t *origin);

typedef struct {
    const char *kind;      /* "abmil" | "clam" | "transformer" | "mean" | "clinical" */
    int hidden, attention; /* widths; of the transformer, attention is the number of heads */
    /* Survival: train by Cox's partial likelihood, stratified by center, exact over a mini-batch; the
     * hazards' intercepts are fitted afterwards. Else by the hazards' likelihood. */
    bool cox;
    int epochs, batch; /* patients a mini-batch */
    int max_tiles;     /* a bag is subsampled per epoch above this; 0 = never */
    double lr, weight_decay, dropout;
    bool cosine; /* the learning rate falls to 0 along a half cosine; else constant */
    /* How many epochs: all of them on all training patients (0), or as many as were best for patients not
     * trained on, found in up to this many rounds that each leave out some training centers (with fewer than
     * two of them: the view's inner patients), and then trained again on all training patients. */
    int rounds;
    /* Values tried in such rounds (each lr with each weight_decay), borrowed; none: lr and weight_decay hold.
     */
    const double *tune_lr, *tune_weight_decay;
    size_t n_tune_lr, n_tune_weight_decay;
    int patience;        /* a round ends after this many epochs without a better loss */
    bool use_covariates; /* fuse the view's covariates before the head */
    bool bf16;           /* products of tiles in bf16, sums in fp32; abmil alone */
    uint64_t seed;
    /* Draws the order of patients and the tiles of a bag: models that are trained in one sweep share it and
     * differ in their first weights and what is dropped. */
    uint64_t order_seed;
    LobCheckpoint *checkpoint; /* where unfinished training is kept; borrowed; NULL: nowhere */
} LobModelOptions;

/* What suits the kind; values a study file leaves at 0 (dropout: below 0) are taken from here. */
bool lob_model_defaults_of(const char *kind, LobEndpointKind endpoint, LobModelOptions *options,
                           GError **err);
bool lob_model_options_from_study(LobModelOptions *options, const LobStudy *study, const char *kind,
                                  LobEndpointKind endpoint, uint64_t seed, GError **err);
/* One line naming every option, for lock files and logs. Caller frees. */
char *lob_model_options_text(const LobModelOptions *options);

/* Losses after an epoch: of those it trained on, in passing (NAN before the first), and of those who judge.
 */
typedef struct {
    int32_t round, epoch; /* round < 0: the model itself, which nobody judges */
    float trained, judged;
} LobLearning;

/* What training one fold with one seed gives for its held-out patients, and for the training patients (from
 * which cut points are taken). */
typedef struct {
    size_t n_patients; /* of the cohort */
    float *lp; /* [n_patients] linear predictor, NAN where not scored; higher = worse. Survival: without
                  any baseline. Binary: log odds with the average intercept. Multiclass: of class 1. */
    /* Where the endpoint has competing events, 1 - its cumulative incidence, here and at the ends. */
    float *survival; /* [n_patients][n_horizons] S(t), NAN where not scored or beyond the last interval */
    size_t n_horizons;
    /* Survival: the same at the ends of the intervals, between which log S falls along a line. No patient's
     * own time is read: whoever knows it finds S there. */
    double *ends; /* [n_ends] days, ascending; NULL else, as the next */
    float *curve; /* [n_patients][n_ends] */
    size_t n_ends;
    /* [n_patients][n_classes] binary and multiclass, else NULL; NAN for a label that training never saw */
    float *probability;
    size_t n_classes; /* labels of the cohort */
    float
        *attention; /* [rows] attention of held-out patients' tiles, else 0; NULL where the model has none */
    LobLearning *learning; /* [n_learning] by round and epoch; of a grid, of the choice that was made */
    size_t n_learning;
    int best_epoch, epochs_run;
    double inner_loss, train_loss;
    double pass_seconds; /* in training passes; of models trained together each its share */
    double cut;          /* median linear predictor of the training patients */
    float *weights;      /* [n_weights] everything fitted but the view's own: scaler, network, intercepts */
    size_t n_weights;
} LobModelResult;

/* The seam: kinds of aggregators are a table in aggregate.c. stop may be NULL; STOPPED where it asked. bags
 * may be NULL for "clinical". Patients without a tile are neither trained on nor scored where bags are given.
 */
bool lob_model_fit(const LobView *view, const LobBags *bags, const LobModelOptions *options,
                   LobModelResult *result, bool (*stop)(void *user), void *user, GError **err);
void lob_model_result_clear(LobModelResult *result);
const char *const *lob_model_kinds(void); /* NULL-terminated */
bool lob_model_has_attention(const char *kind);

/* Epochs this process has trained so far, each model's counted. */
uint64_t lob_model_epochs_trained(void);

#endif
