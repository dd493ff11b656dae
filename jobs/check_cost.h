/* What a study will cost on given nodes, for check. */
#ifndef LOB_JOBS_CHECK_COST_H
#define LOB_JOBS_CHECK_COST_H

#include "cohort/cohort.h"
#include "encoder/encoder.h"
#include "jobs/capacity.h"

#include <jansson.h>

typedef struct {
    const char *bench; /* lines of lobule bench, or NULL */
    LobMachine machine;
} LobCostAsk;

typedef struct {
    LobCostAsk ask;
    bool embeds; /* cost, how, need and tiles hold */
    double tiles;
    LobTileCost cost;
    char *how; /* where the seconds of a tile come from */
    LobNeed need;
    char *problem; /* the machine is too small: there is no need */
    bool trains;   /* training holds */
    LobTraining training;
    LobTrainingNeed training_need;
    bool gflops_measured;
    char *training_problem; /* why there is no training_need; or NULL */
} LobCost;

/* One node: this machine. */
void lob_cost_defaults(LobCostAsk *ask);
/* INPUT error: numbers without sense. What such nodes cannot do is no error, it is told as a problem. */
bool lob_cost_check_machine(const LobMachine *machine, GError **err);
/* Seconds of a tile: from the bench file, which must have the study's encoder (it may then be opened to
 * describe), else timed here: one tile to warm up, then whole batches, the median of up to three while they
 * are quick. */
bool lob_cost_of_encoder(LobCost *cost, const LobStudy *study, LobEncoder *encoder, GError **err);
/* tiles [n_slides], 0 where a slide gives none. */
void lob_cost_of_slides(LobCost *cost, const LobCohort *cohort, const double *tiles);
/* rows [n_patients] of dim values each; where the study trains on tiles. */
bool lob_cost_of_training(LobCost *cost, const LobCohort *cohort, const uint64_t *rows, int dim,
                          GError **err);
void lob_cost_print(const LobCost *cost, FILE *to);
void lob_cost_json(const LobCost *cost, json_t *root); /* adds members */
void lob_cost_clear(LobCost *cost);

#endif
