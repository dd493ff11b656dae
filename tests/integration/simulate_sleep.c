/* The real farm and scheduler over MPI with workers that sleep instead of computing: what simulate is held
 * against. Usage: simulate_sleep SLIDES MEDIAN SIGMA SECONDS_PER_TILE RANGE_SECONDS WRITE_SECONDS
 * SYNC_SECONDS; each range is written for so long, and what rank 0 dealt and took is made durable for so long
 * a round. */
#include "mpi/farm.h"
#include "mpi/simulate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    LobSched *sched;
    double seconds_per_tile, write_seconds, sync_seconds;
    uint64_t ranges, syncs;
    bool dirty; /* something was dealt or taken since the last sync */
} Sleep;

typedef struct {
    LobLease lease;
    double seconds;
} Result;

static LobSchedAnswer deal(void *user, int worker, GByteArray *task) {
    Sleep *s = user;
    LobLease lease;
    const LobSchedAnswer answer = lob_sched_next(s->sched, worker, lob_clock(), &lease);
    if (answer == LOB_SCHED_LEASE) {
        g_byte_array_append(task, (const guint8 *)&lease, sizeof lease);
        s->dirty = true;
    }
    return answer;
}

static bool take(void *user, int worker, const void *data, size_t size, GError **err) {
    Sleep *s = user;
    Result r;
    if (size != sizeof r)
        return lob_fail(err, LOB_ERROR_INTERNAL, "a result of %zu bytes", size);
    memcpy(&r, data, sizeof r);
    s->dirty = true;
    s->ranges += lob_sched_done(s->sched, worker, &r.lease, lob_clock(), r.seconds);
    return true;
}

static bool sync_journal(void *user, GError **err) {
    Sleep *s = user;
    (void)err;
    if (s->dirty && s->sync_seconds > 0) {
        g_usleep((gulong)(1e6 * s->sync_seconds));
        s->syncs++;
    }
    s->dirty = false;
    return true;
}

static bool nothing(void *user, GError **err) {
    (void)user;
    (void)err;
    return true;
}

static bool doze(void *user, LobFarm *farm, const void *task, size_t size, GByteArray *result, GError **err) {
    const Sleep *s = user;
    Result r = {0};
    if (size != sizeof r.lease)
        return lob_fail(err, LOB_ERROR_INTERNAL, "a task of %zu bytes", size);
    memcpy(&r.lease, task, sizeof r.lease);
    const double start = lob_clock(), end = start + r.lease.count * s->seconds_per_tile + s->write_seconds;
    for (double now = start; now < end; now = lob_clock()) {
        g_usleep((gulong)(1e6 * MIN(end - now, 0.05)));
        if (!lob_farm_tick(farm))
            return lob_fail(err, LOB_ERROR_STOPPED, "stopped");
    }
    r.seconds = lob_clock() - start;
    g_byte_array_append(result, (const guint8 *)&r, sizeof r);
    return true;
}

int main(int argc, char **argv) {
    LobWorld world = {.size = 1};
    g_autoptr(GError) err = NULL;
    if (argc != 8 || !lob_world_start(&world, &argc, &argv, &err))
        return LOB_EXIT_INPUT;
    const uint32_t n = (uint32_t)atoi(argv[1]);
    g_autofree uint32_t *tiles = lob_simulate_tiles(n, atof(argv[2]), atof(argv[3]), 1);
    LobSchedOptions options = lob_sched_defaults;
    options.workers = lob_farm_workers(&world);
    options.range_seconds = atof(argv[5]);
    Sleep s = {.sched = lob_sched_new(&options),
               .seconds_per_tile = atof(argv[4]),
               .write_seconds = atof(argv[6]),
               .sync_seconds = atof(argv[7])};
    for (uint32_t i = 0; i < n; i++)
        lob_sched_add(s.sched, i, tiles[i], 0, false);
    LobFarmStats stats = {0};
    g_autofree LobFarmStats *all = g_new0(LobFarmStats, (size_t)world.size);
    const LobFarmJob job = {.user = &s,
                            .room = 2,
                            .next = deal,
                            .result = take,
                            .commit = sync_journal,
                            .pulse = nothing,
                            .work = doze,
                            .stats = &stats};
    lob_world_barrier(&world);
    const double start = lob_clock();
    const bool ok = lob_farm_run(&world, &job, all, &err);
    if (ok && world.rank == 0)
        printf("{\"makespan\":%.3f,\"ranges\":%" G_GUINT64_FORMAT ",\"syncs\":%" G_GUINT64_FORMAT "}\n",
               lob_clock() - start, s.ranges, s.syncs);
    lob_sched_free(s.sched);
    fflush(stdout);
    lob_world_end(&world);
    return ok || world.rank > 0 ? LOB_EXIT_DONE : lob_error_exit_code(err);
}
