#ifndef LOB_PLAN_INTERNAL_H
#define LOB_PLAN_INTERNAL_H

#include "mpi/stage.h"

/* A worker's answer: slide, whether its readers crashed each time, reason of failing or "", facts. */
#define LOB_PLAN_RESULT "(ubs" LOB_PLAN_FACTS_TYPE ")"

typedef struct {
    LobStage stage;
    GArray *todo;         /* of uint32_t: slides to look at (rank 0) */
    uint32_t n_unsuspect; /* the first of them; the others run one at a time */
    uint32_t dealt, answered, failed;
    LobJournal *journal; /* rank 0 */
    bool dirty, explained;
    LobReader *reader; /* workers */
} LobPlan;

bool lob_plan_work(void *user, LobFarm *farm, const void *task, size_t size, GByteArray *result,
                   GError **err);
/* Whether planning has nothing to say on a slide: done, given up, or waiting in an unfinished part. */
bool lob_plan_settled(const LobCatalog *catalog, size_t i);
/* Collective. Creates the part of all slides that are planned and in no part yet, if there are any. */
bool lob_plan_make_part(LobPlan *plan, GError **err);

#endif
