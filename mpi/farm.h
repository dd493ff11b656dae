/* The farm: rank 0 deals tasks, workers do them and send results. It knows neither slides nor stores; plan
 * and embed (and whatever else is a bag of independent tasks) are tables of functions.
 *
 * Protocol. Worker -> rank 0: WANT (how many tasks it has room for), RESULT (also wants one more), STOPREQ
 * (a signal reached this rank), FATAL (an error that ends the job), BYE (its statistics; the last word). Rank
 * 0 -> worker: TASK, END (the last word). A worker leaves only after END and rank 0 only after every BYE, and
 * messages between two ranks keep their order: so no message of a farm is left behind when it ends. */
#ifndef LOB_FARM_H
#define LOB_FARM_H

#include "mpi/sched.h"
#include "mpi/world.h"

typedef struct LobFarm LobFarm;

typedef struct {
    double busy;    /* seconds inside work() */
    double reading; /* of these: waiting for a reader */
    double compute, writing;
    double wall; /* in the farm */
    uint64_t tasks, tiles;
} LobFarmStats;

typedef struct {
    void *user;
    int room; /* tasks a worker holds at once: the one it works on and those fetched ahead */

    /* Rank 0. The next task for a worker is appended to `task`; the answers mean what they mean in sched.h.
     */
    LobSchedAnswer (*next)(void *user, int worker, GByteArray *task);
    /* Rank 0. A result came. False ends the job. */
    bool (*result)(void *user, int worker, const void *data, size_t size, GError **err);
    /* Rank 0. What was learned becomes durable: before tasks leave, and often. False ends the job. */
    bool (*commit)(void *user, GError **err);
    /* Rank 0, about five times a second: progress, late leases, heartbeats. */
    bool (*pulse)(void *user, GError **err);

    /* Rank 0. The job is about to end for a known reason that is no task's fault: last chance to write it
     * down. May be NULL. */
    void (*explain)(void *user, const char *why);

    /* Workers. Does a task and appends its result. STOPPED where lob_farm_tick said so. Other errors end the
     * whole job: a slide's failure is a result. */
    bool (*work)(void *user, LobFarm *farm, const void *task, size_t size, GByteArray *result, GError **err);
    LobFarmStats *stats; /* of this rank; work() adds to reading, compute, writing and tiles */
} LobFarmJob;

/* Whether rank 0 works too: in small worlds. */
bool lob_farm_rank0_works(const LobWorld *world);
int lob_farm_workers(const LobWorld *world);

/* Collective. True when all tasks are done; on rank 0 `all` [size] gets every rank's statistics. STOPPED or
 * HALTED (on every rank) when the run was asked to stop; everything committed stays valid. */
bool lob_farm_run(const LobWorld *world, const LobFarmJob *job, LobFarmStats *all, GError **err);

/* Called often while working (as an encoder's tick): serves messages. False: abandon the task. `user` is the
 * LobFarm. */
bool lob_farm_tick(void *user);

/* lob_clock() when the task under way reached this rank: a task fetched ahead has waited since. */
double lob_farm_came(const LobFarm *farm);

/* The task after the one being worked on, if it is here already. Valid until the next tick. */
const void *lob_farm_peek(const LobFarm *farm, size_t *size);

#endif
