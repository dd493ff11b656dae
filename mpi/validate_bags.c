/* All patients' tiles, loaded once a node into memory its ranks share, and read-only from then on. */
#include "mpi/validate.h"

#include <string.h>

/* What the node's other ranks must know to follow the first one. */
typedef struct {
    uint64_t bytes; /* of the features; NO_BYTES: loading failed before there were any */
    uint64_t dim;
} Announcement;
#define NO_BYTES UINT64_MAX

typedef struct {
    const LobWorld *world;
    LobResident *resident;
    bool announced;
    GError *error;
} Loader;

static void node_bcast(const LobWorld *world, void *data, size_t bytes) {
    if (!world->has_mpi || world->node_size == 1)
        return;
    MPI_Request request;
    MPI_Ibcast(data, (int)bytes, MPI_BYTE, 0, lob_world_node_comm(world), &request);
    lob_mpi_wait(&request, MPI_STATUS_IGNORE);
}

/* The loader asks for memory when it knows how much; getting it is a step of all ranks of the node. */
static void *shared_alloc(void *user, size_t size) {
    Loader *loader = user;
    Announcement announcement = {.bytes = size};
    loader->announced = true;
    node_bcast(loader->world, &announcement, sizeof announcement);
    loader->resident->features = lob_shared_new(loader->world, size, &loader->error);
    return loader->resident->features ? lob_shared_data(loader->resident->features) : NULL;
}

static void load_first(LobResident *resident, const LobPlan *plan, Loader *loader) {
    g_autoptr(GError) problem = NULL;
    bool ok = lob_bags_load(plan->cohort, (const char *const *)plan->sources, shared_alloc, loader,
                            &resident->set, &problem);
    if (!loader->announced) {
        Announcement none = {.bytes = NO_BYTES};
        node_bcast(loader->world, &none, sizeof none);
    }
    if (!ok && !loader->error)
        loader->error = g_steal_pointer(&problem);
}

static void load_follower(LobResident *resident, Loader *loader) {
    Announcement announcement;
    node_bcast(loader->world, &announcement, sizeof announcement);
    if (announcement.bytes != NO_BYTES)
        resident->features = lob_shared_new(loader->world, announcement.bytes, &loader->error);
}

/* Repeated and unreadable rows go, once a node; rank 0 remembers where the others came from. */
static void compact(LobResident *resident, const LobWorld *world, size_t n_patients) {
    LobBagSet *set = &resident->set;
    if (world->rank == 0) {
        uint64_t rows = 0;
        for (size_t p = 0; p < n_patients; p++)
            rows = MAX(rows, set->first[p] + set->count[p]);
        resident->origin = g_new0(uint64_t, MAX(rows, 1));
    }
    uint64_t gone = lob_bags_compact(lob_shared_data(resident->features), set->bags.dim, n_patients,
                                     set->first, set->count, resident->origin);
    if (gone > 0 && world->rank == 0)
        lob_info("%llu tiles are unreadable or repeat another tile of their patient: left out",
                 (unsigned long long)gone);
}

/* first and count of every patient, behind the shared memory's own table. */
static void share_index(LobResident *resident, const LobWorld *world, size_t n_patients) {
    uint64_t *index = lob_shared_data(resident->index), dim = 0;
    if (world->node_rank == 0) {
        memcpy(index, resident->set.first, n_patients * sizeof *index);
        memcpy(index + n_patients, resident->set.count, n_patients * sizeof *index);
        dim = resident->set.bags.dim;
    }
    node_bcast(world, &dim, sizeof dim);
    resident->bags = (LobBags){
        n_patients, dim, index, index + n_patients, lob_shared_data(resident->features), NULL, NULL};
}

bool lob_resident_load(LobResident *resident, const LobWorld *world, const LobPlan *plan, GError **err) {
    size_t n = plan->cohort->n_patients;
    *resident = (LobResident){0};
    Loader loader = {.world = world, .resident = resident};
    if (world->node_rank == 0)
        load_first(resident, plan, &loader);
    else
        load_follower(resident, &loader);
    if (!lob_world_agree(world, loader.error, err))
        return false;
    GError *problem = NULL;
    resident->index = lob_shared_new(world, MAX(n, 1) * 2 * sizeof(uint64_t), &problem);
    if (!lob_world_agree(world, problem, err))
        return false;
    if (world->node_rank == 0)
        compact(resident, world, n);
    share_index(resident, world, n);
    lob_world_barrier(world);
    return true;
}

void lob_resident_clear(LobResident *resident) {
    lob_bag_set_clear(&resident->set);
    lob_shared_free(resident->features);
    lob_shared_free(resident->index);
    g_free(resident->origin);
    *resident = (LobResident){0};
}
