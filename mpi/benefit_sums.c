/* One pass over the tiles for the benefit stage: every rank sums up patients whose tiles it holds, rank 0
 * gathers the sums. After it the tiles are not asked for any more. */
#include "mpi/benefit_sums.h"
#include "mpi/stop.h"

#include <string.h>

/* Every group of ranks holds all patients: the groups take turns, and within one the owner does it. */
static bool is_mine(const LobResident *resident, uint32_t p) {
    return p % (uint32_t)resident->n_groups == (uint32_t)resident->seat.group &&
           (!resident->owner || resident->owner[p] == (uint32_t)resident->seat.rank);
}

static void sum_mine(const LobWorld *world, const LobResident *resident, LobBagSums *sums, GByteArray *outbox,
                     GError **err) {
    const LobBags *bags = &resident->bags;
    const size_t width = LOB_BAG_SUMS * bags->dim;
    g_autofree double *own = g_new(double, width + 1);
    for (uint32_t p = 0; p < bags->n_patients; p++) {
        if (!is_mine(resident, p) || bags->count[p] == 0)
            continue;
        if (lob_run_state() != LOB_RUN_ON) {
            (void)lob_run_stop_error(err);
            return;
        }
        const uint64_t patient = p;
        lob_bag_sums_patient(bags, p, world->rank == 0 ? lob_bag_sums_at(sums, p) : own);
        if (world->rank == 0)
            continue;
        g_byte_array_append(outbox, (const guint8 *)&patient, sizeof patient);
        g_byte_array_append(outbox, (const guint8 *)own, (guint)(width * sizeof *own));
    }
}

bool lob_benefit_sums_gather(const LobWorld *world, const LobResident *resident, LobBagSums *sums,
                             GError **err) {
    const LobBags *bags = &resident->bags;
    const size_t width = LOB_BAG_SUMS * bags->dim * sizeof(double);
    g_autoptr(GByteArray) outbox = g_byte_array_new();
    g_autofree void *all = NULL;
    size_t total = 0;
    GError *problem = NULL;
    *sums = (LobBagSums){0};
    if (world->rank == 0) {
        lob_bag_sums_init(sums, bags->n_patients, bags->dim);
        memcpy(sums->count, bags->count, bags->n_patients * sizeof *sums->count);
    }
    sum_mine(world, resident, sums, outbox, &problem);
    if (!lob_world_collect(world, outbox, problem, &all, &total, err))
        return false;
    for (const char *at = all, *end = at ? at + total : at; at < end; at += width) {
        uint64_t patient;
        memcpy(&patient, at, sizeof patient);
        at += sizeof patient;
        memcpy(lob_bag_sums_at(sums, (uint32_t)patient), at, width);
    }
    return true;
}
