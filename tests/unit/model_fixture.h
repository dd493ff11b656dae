/* A small cohort with one planted column, written as tables and read as a study's would be. */
#ifndef LOB_MODEL_FIXTURE_H
#define LOB_MODEL_FIXTURE_H

#include "model/model.h"

enum { PATIENTS = 80, CENTERS = 4, DIM = 6, TILES = 10 };

typedef struct {
    char *dir;
    LobStudy *study;
    LobCohort *cohort;
    LobFolds *folds;
    uint64_t first[PATIENTS], count[PATIENTS];
    uint16_t features[PATIENTS * TILES * DIM];
    LobBags bags;
} World;

/* What is changed against the plain cohort: of patients of a center, or of one patient. */
typedef struct {
    int center;  /* -1 none */
    int patient; /* -1 none */
} Change;

static const Change no_change = {-1, -1};

bool is_changed(Change change, int p);
World *world_new(Change change, const char *endpoint);
void world_free(World *w);
/* Concordance within the held-out center of what was planted in column 0; all others must be unscored. */
double held_out_c(const World *w, int fold, const LobModelResult *r);
LobModelOptions options_for(const World *w, const char *kind); /* small and short */

static const char survival[] =
    "{name: rfs, kind: survival, time: days, event: event, horizons: [100, 300, 90000]}";
static const char binary[] = "{name: lab, kind: binary, label: label}";

#endif
