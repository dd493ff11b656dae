/* A trained model apart from its cohort: everything that scoring a new patient needs, and nothing fitted
 * anew. */
#ifndef LOB_SAVED_H
#define LOB_SAVED_H

#include "model/model.h"

/* One endpoint and kind of model, all seeds: they share everything but weights and risk cut. */
typedef struct {
    LobEndpoint endpoint;
    char **classes; /* NULL-terminated, of binary and multiclass; else NULL */
    char *kind;     /* of the aggregator */
    char *options;  /* how it was trained, in words */
    int hidden, attention;
    bool use_covariates;
    size_t dim;               /* columns of a tile; 0 where no image is used */
    size_t n_columns, n_cuts; /* of the covariates' design; intervals of the hazard */
    size_t n_centers;         /* trained on; a new center gets their average intercept */
    size_t n_params;          /* of the network, intercepts included */
    int seeds;
    LobDesignColumn *columns; /* [n_columns] */
    double *cuts;             /* [n_cuts] ends of the intervals, days */
    float *mean, *inverse;    /* [dim] standardisation of tiles */
    float *params;            /* [seeds][n_params] */
    double *risk_cut;         /* [seeds] */
    int64_t *epochs;          /* [seeds] */
} LobSavedNet;

typedef struct {
    char *program, *study, *study_sha256; /* lobule's version; name and hash of the study trained on */
    uint64_t seed;                        /* of the first; the others follow */
    int seeds;
    size_t n_endpoints, n_kinds;
    LobSavedNet *nets; /* [n_endpoints][n_kinds] */
} LobSavedModel;

/* What every seed of a view and options shares; dim 0 = no bags. */
void lob_saved_net_init(LobSavedNet *net, const LobView *view, const LobModelOptions *options, size_t dim,
                        int seeds);
/* Takes a seed's weights (as in LobModelResult). INTERNAL error where they do not fit the other seeds'. */
bool lob_saved_net_add(LobSavedNet *net, int seed, const float *weights, size_t n_weights, double cut,
                       int64_t epochs, GError **err);
/* INPUT error where sizes do not fit each other or a number is not finite: whatever a file may hold. */
bool lob_saved_check(const LobSavedModel *model, GError **err);
/* Appends all content in one fixed order, for hashing. */
void lob_saved_append(const LobSavedModel *model, GByteArray *bytes);
void lob_saved_net_clear(LobSavedNet *net);
void lob_saved_clear(LobSavedModel *model);
bool lob_saved_needs_bags(const LobSavedModel *model);
bool lob_saved_needs_bag(const LobSavedNet *net);

/* The design's columns [patient][n_columns] from the cohort's table, by the names the model knows: medians
 * fill what is missing, a level that training never saw counts as the reference (with a warning). INPUT error
 * where the table lacks a column or a cell should be a number. NULL on error. */
float *lob_saved_covariates(const LobSavedNet *net, const LobCohort *cohort, GError **err);

/* Scores patients (ascending) with one seed's weights. The cohort's study holds the net's endpoint at index
 * `endpoint`. Patients without a tile are not scored where bags are given. */
bool lob_saved_score(const LobSavedNet *net, int seed, const LobCohort *cohort, size_t endpoint,
                     const LobBags *bags, float *covariates, const uint32_t *patients, size_t n,
                     LobModelResult *result, GError **err);

#endif
