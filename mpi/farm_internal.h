#ifndef LOB_FARM_INTERNAL_H
#define LOB_FARM_INTERNAL_H

#include "mpi/farm.h"

enum { TAG_WANT = 101, TAG_RESULT, TAG_STOPREQ, TAG_FATAL, TAG_BYE, TAG_TASK, TAG_END };

typedef struct LobCoordinator LobCoordinator;

typedef struct {
    GBytes *data;
    double came; /* lob_clock() */
} LobFarmTask;

struct LobFarm {
    const LobWorld *world;
    const LobFarmJob *job;
    MPI_Comm comm;
    LobCoordinator *coordinator; /* rank 0 */
    GQueue tasks;                /* of LobFarmTask: fetched, not begun */
    double came;                 /* when the task under way did */
    bool ended;                  /* END came: no more tasks */
    bool asked_to_stop;          /* STOPREQ is sent */
    LobRunState verdict;         /* what END said */
    char reason[64];
    double looked; /* lob_clock() of the last look at the messages */
    double started;
};

/* What END carries. */
typedef struct {
    int32_t state; /* LobRunState */
    char reason[64];
} LobFarmEnd;

/* What FATAL carries. */
typedef struct {
    int32_t code;
    char message[1000];
} LobFarmFatal;

void lob_farm_push_task(LobFarm *farm, GBytes *data); /* takes the reference */

LobCoordinator *lob_coordinator_new(LobFarm *farm, LobFarmStats *all);
void lob_coordinator_free(LobCoordinator *coordinator);
/* Takes messages, deals tasks; a fatal error ends the job. Whether there were messages. */
bool lob_coordinator_serve(LobCoordinator *coordinator);
bool lob_coordinator_is_over(const LobCoordinator *coordinator); /* every worker said BYE */
/* Rank 0's own worker, without messages. */
void lob_coordinator_want(LobCoordinator *coordinator, int tasks);
void lob_coordinator_result(LobCoordinator *coordinator, const void *data, size_t size);
/* Writes the reason down and ends the job. */
void lob_coordinator_fatal(LobCoordinator *coordinator, const GError *error) G_GNUC_NORETURN;
void lob_coordinator_bye(LobCoordinator *coordinator, const LobFarmStats *stats);

#endif
