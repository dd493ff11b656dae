/* A drawn cohort for the benefit stage: a latent that the tiles show changes what a treatment does. */
#ifndef MODEL_BENEFIT_WORLD_H
#define MODEL_BENEFIT_WORLD_H

#include "model/benefit_internal.h"
#include "model/model_internal.h"

enum { PATIENTS = 400, CENTERS = 4, DIM = 6, TILES = 4 };

typedef struct {
    uint64_t seed;
    double effect;      /* added log hazard of treatment per unit of the latent */
    double share;       /* of patients with tace */
    int only_center;    /* tace is given there alone; -1: everywhere */
    int changed_center; /* all of its data are replaced; -1: none */
} Plan;
static const Plan planted = {5, -1.2, 0.5, -1, -1};

typedef struct {
    char *dir;
    LobStudy *study;
    LobCohort *cohort;
    LobFolds *folds;
    double latent[PATIENTS];
    uint64_t first[PATIENTS], count[PATIENTS];
    uint16_t features[PATIENTS * TILES * DIM];
    LobBags bags;
} World;

typedef struct {
    LobView *view, *adverse;
    LobBenefit fit;
} Fold;

World *benefit_world_new(const Plan *plan);
void benefit_world_free(World *w);
/* The view of a fold, of its adverse events, and the fit with few components and members. */
void fold_fit(Fold *fold, const World *w, int index);
void fold_clear(Fold *fold);

#endif
