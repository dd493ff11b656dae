/* All patients' tiles, loaded once into memory that a node's ranks share, and read-only from then on. Where a
 * node does not hold the cohort, or the study asks for groups, ranks share the patients out, and a node holds
 * what its ranks work on; every patient keeps the place that it has in the whole. */
#include "mpi/sparse.h"
#include "mpi/stop.h"
#include "mpi/validate.h"

#include <math.h>
#include <string.h>

/* What the node's other ranks must know to follow the first one. */
typedef struct {
    uint64_t bytes; /* of the features; NO_BYTES: loading failed before there were any */
    uint64_t sparse;
} Announcement;
#define NO_BYTES UINT64_MAX

typedef struct {
    const LobWorld *world;
    const LobStudy *study;
    LobResident *resident;
    LobLayout layout;
    bool may_share; /* groups, streaming */
    bool one_group; /* of all ranks */
    bool announced, sparse;
    uint64_t *rows;  /* [n_patients] as the stores have them */
    uint8_t *wanted; /* [n_patients] on this node */
    GError *error;
} Loader;

static void node_bcast(const LobWorld *world, void *data, size_t bytes) {
    if (!world->has_mpi || world->node_size == 1)
        return;
    MPI_Request request;
    MPI_Ibcast(data, (int)bytes, MPI_BYTE, 0, lob_world_node_comm(world), &request);
    lob_mpi_wait(&request, MPI_STATUS_IGNORE);
}

static bool streams(const Loader *loader) {
    return loader->may_share && loader->study->site.stream != NULL;
}

/* ---- who has what ---- */

/* Every rank's seat, from what all know; the same on all ranks. */
static LobSeat *take_seats(const Loader *loader, const uint64_t *rows, size_t n, size_t dim, int *n_groups,
                           GError **err) {
    double bytes = 0;
    for (size_t p = 0; p < n; p++)
        bytes += 2.0 * (double)rows[p] * (double)dim;
    g_autofree LobSeat *seats = g_new0(LobSeat, loader->layout.n_ranks);
    const int groups = loader->one_group   ? 1
                       : loader->may_share ? loader->study->site.groups
                                           : loader->layout.n_ranks;
    return lob_seats_assign(&loader->layout, groups, streams(loader) ? 0 : bytes, seats, n_groups, err)
               ? g_steal_pointer(&seats)
               : NULL;
}

/* From the loader of the node's first rank, when it knows how many rows there are. */
static bool choose(void *user, const uint64_t *rows, size_t dim, uint8_t *wanted, GError **err) {
    Loader *loader = user;
    const size_t n = loader->resident->n_patients;
    int unused;
    memcpy(loader->rows, rows, n * sizeof *rows);
    g_autofree LobSeat *seats = take_seats(loader, rows, n, dim, &unused, err);
    if (!seats || !lob_seats_fit(&loader->layout, seats, rows, n, dim, streams(loader) || !loader->may_share,
                                 loader->layout.node[loader->world->rank], wanted, err))
        return false;
    loader->sparse = streams(loader) || memchr(wanted, 0, n) != NULL;
    memcpy(loader->wanted, wanted, n);
    return true;
}

static bool take_memory(Loader *loader, size_t size) {
    LobResident *r = loader->resident;
    if (loader->sparse)
        r->sparse = lob_sparse_new(loader->world, size, streams(loader) ? loader->study->site.stream : NULL,
                                   &loader->error);
    else
        r->features = lob_shared_new(loader->world, size, &loader->error);
    return r->sparse || r->features;
}

static void *features_of(LobResident *r) {
    return r->sparse ? lob_sparse_data(r->sparse) : r->features ? lob_shared_data(r->features) : NULL;
}

/* The loader asks for memory when it knows how much; getting it is a step of all ranks of the node. */
static void *shared_alloc(void *user, size_t size) {
    Loader *loader = user;
    Announcement announcement = {.bytes = size, .sparse = loader->sparse};
    loader->announced = true;
    node_bcast(loader->world, &announcement, sizeof announcement);
    return take_memory(loader, size) ? features_of(loader->resident) : NULL;
}

static void load_first(LobResident *resident, const LobPlan *plan, Loader *loader) {
    g_autoptr(GError) problem = NULL;
    bool ok = lob_bags_load_some(plan->cohort, (const char *const *)plan->sources, choose, lob_run_goes_on,
                                 shared_alloc, loader, &resident->set, &problem);
    if (!loader->announced) {
        Announcement none = {.bytes = NO_BYTES};
        node_bcast(loader->world, &none, sizeof none);
    }
    if (!ok && !loader->error)
        loader->error = g_steal_pointer(&problem);
}

static void load_follower(Loader *loader) {
    Announcement announcement;
    node_bcast(loader->world, &announcement, sizeof announcement);
    loader->sparse = announcement.sparse != 0;
    if (announcement.bytes != NO_BYTES)
        (void)take_memory(loader, announcement.bytes);
}

/* ---- rows that do not count ---- */

/* Repeated and unreadable rows go, once a node; where the others came from is remembered by rank 0, and by
 * each node's first rank where nodes hold different patients. */
static uint64_t compact(LobResident *resident, Loader *loader, bool spread) {
    LobBagSet *set = &resident->set;
    const size_t n = resident->n_patients;
    uint64_t rows = 0;
    for (size_t p = 0; p < n; p++) {
        rows = MAX(rows, set->first[p] + set->count[p]);
        set->count[p] = loader->wanted[p] ? set->count[p] : 0;
    }
    resident->n_rows = rows;
    if (loader->world->rank == 0 || spread)
        resident->origin = g_new0(uint64_t, MAX(rows, 1));
    uint64_t gone = 0;
    for (size_t p = 0; p < n && lob_run_goes_on(&loader->error); p++)
        gone += lob_bags_compact(features_of(resident), set->bags.dim, 1, set->first + p, set->count + p,
                                 resident->origin);
    return gone;
}

enum { PIECE = 1 << 20 };

/* Counts and origins of patients from the nodes that hold them: all get the counts, rank 0 the origins. Who
 * holds none of a patient brings 0. */
static void exchange(LobResident *resident, const LobWorld *world) {
    const size_t n = resident->n_patients;
    g_autofree uint64_t *counts = g_new0(uint64_t, MAX(n, 1)), *piece = g_new(uint64_t, PIECE);
    const bool first = world->node_rank == 0;
    uint64_t rows = resident->n_rows;
    MPI_Request request;
    if (first)
        memcpy(counts, resident->set.count, n * sizeof *counts);
    MPI_Iallreduce(MPI_IN_PLACE, counts, (int)n, MPI_UINT64_T, MPI_MAX, lob_world_comm(world), &request);
    lob_mpi_wait(&request, MPI_STATUS_IGNORE);
    if (first)
        memcpy(resident->set.count, counts, n * sizeof *counts);
    lob_world_bcast(world, &rows, sizeof rows);
    for (uint64_t at = 0; at < rows; at += PIECE) {
        const size_t now = MIN(PIECE, rows - at);
        memset(piece, 0, PIECE * sizeof *piece);
        if (first)
            memcpy(piece, resident->origin + at, now * sizeof *piece);
        MPI_Ireduce(world->rank == 0 ? MPI_IN_PLACE : piece, piece, (int)now, MPI_UINT64_T, MPI_MAX, 0,
                    lob_world_comm(world), &request);
        lob_mpi_wait(&request, MPI_STATUS_IGNORE);
        if (world->rank == 0)
            memcpy(resident->origin + at, piece, now * sizeof *piece);
    }
    if (world->rank != 0)
        g_clear_pointer(&resident->origin, g_free);
}

/* ---- the index ---- */

/* first, count and rows of every patient, in the node's own table. */
static size_t share_index(LobResident *resident, const Loader *loader) {
    const size_t n = resident->n_patients;
    uint64_t *index = lob_shared_data(resident->index), dim = 0;
    if (loader->world->node_rank == 0) {
        memcpy(index, resident->set.first, n * sizeof *index);
        memcpy(index + n, resident->set.count, n * sizeof *index);
        memcpy(index + 2 * n, loader->rows, n * sizeof *index);
        dim = resident->set.bags.dim;
    }
    node_bcast(loader->world, &dim, sizeof dim);
    resident->bags = (LobBags){n, dim, index, index + n, features_of(resident), NULL, NULL};
    return dim;
}

/* This rank's seat, and what its group works on. */
static bool sit_down(LobResident *resident, const Loader *loader, size_t dim, GError **err) {
    const size_t n = resident->n_patients;
    const uint64_t *rows = (const uint64_t *)lob_shared_data(resident->index) + 2 * n;
    g_autofree LobSeat *seats = take_seats(loader, rows, n, dim, &resident->n_groups, err);
    if (!seats)
        return false;
    resident->seat = seats[loader->world->rank];
    resident->group = lob_mpi_group_new(loader->world, &resident->seat);
    resident->bags.group = lob_mpi_group_table(resident->group);
    if (resident->bags.group) {
        resident->owner = g_new(uint32_t, MAX(n, 1));
        lob_seats_share_out(rows, n, resident->seat.size, resident->owner);
        resident->bags.owner = resident->owner;
        if (loader->world->rank == 0 && loader->one_group)
            lob_info("patients are shared out over %d ranks", resident->seat.size);
        else if (loader->world->rank == 0)
            lob_info("%d groups of ranks train, each sharing the patients out over %d", resident->n_groups,
                     resident->seat.size);
    }
    return true;
}

static bool load(LobResident *resident, const LobPlan *plan, Loader *loader, GError **err) {
    const LobWorld *world = loader->world;
    const size_t n = resident->n_patients;
    if (world->node_rank == 0)
        load_first(resident, plan, loader);
    else
        load_follower(loader);
    if (!lob_world_agree(world, g_steal_pointer(&loader->error), err))
        return false;
    GError *problem = NULL;
    resident->index = lob_shared_new(world, MAX(n, 1) * 3 * sizeof(uint64_t), &problem);
    if (!lob_world_agree(world, problem, err))
        return false;
    double spread = world->node_rank == 0 && memchr(loader->wanted, 0, n) != NULL;
    if (world->has_mpi)
        lob_mpi_allreduce_sum(lob_world_comm(world), &spread, 1);
    resident->spread = spread > 0;
    double gone = world->node_rank == 0 ? (double)compact(resident, loader, resident->spread) : 0;
    if (!lob_world_agree(world, g_steal_pointer(&loader->error), err))
        return false;
    if (resident->spread)
        exchange(resident, world);
    if (gone > 0 && world->rank == 0)
        lob_info("%.0f tiles are unreadable or repeat another tile of their patient: left out", gone);
    problem = NULL;
    (void)sit_down(resident, loader, share_index(resident, loader), &problem);
    return lob_world_agree(world, problem, err);
}

bool lob_resident_load(LobResident *resident, const LobWorld *world, const LobPlan *plan, GError **err) {
    *resident = (LobResident){.n_patients = plan->cohort->n_patients};
    const size_t n = resident->n_patients;
    Loader loader = {.world = world,
                     .study = plan->cohort->study,
                     .resident = resident,
                     .may_share = plan->may_share,
                     .one_group = plan->one_group,
                     .rows = g_new0(uint64_t, MAX(n, 1)),
                     .wanted = g_new0(uint8_t, MAX(n, 1))};
    lob_layout_init(&loader.layout, world, loader.study->site.memory_gib);
    const bool ok = load(resident, plan, &loader, err);
    lob_layout_clear(&loader.layout);
    g_free(loader.rows);
    g_free(loader.wanted);
    return ok;
}

void lob_resident_log(const LobResident *resident) {
    const double mb = 1e6;
    lob_info("features of %.1f MB are resident; rank 0 has read %.1f MB in all, and held %.1f MB at most",
             (double)resident->n_rows * (double)resident->bags.dim * 2 / mb,
             lob_proc_number("/proc/self/io", "rchar") / mb,
             lob_proc_number("/proc/self/status", "VmHWM") * 1024 / mb);
}

void lob_resident_clear(LobResident *resident) {
    lob_mpi_group_free(resident->group);
    lob_bag_set_clear(&resident->set);
    lob_shared_free(resident->features);
    lob_sparse_free(resident->sparse);
    lob_shared_free(resident->index);
    g_free(resident->owner);
    g_free(resident->origin);
    *resident = (LobResident){0};
}
