#include "mpi/validate_group.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- nodes ---- */

void lob_layout_init(LobLayout *layout, const LobWorld *world, double gib) {
    const size_t n = (size_t)world->size;
    g_autofree double *all = g_new0(double, 3 * n);
    int first = world->rank;
    *layout = (LobLayout){.n_ranks = world->size, .node = g_new0(int, n), .local = g_new0(int, n)};
    if (world->has_mpi)
        MPI_Bcast(&first, 1, MPI_INT, 0, lob_world_node_comm(world));
    /* a rank's node goes by the world's number of its first rank */
    all[3 * (size_t)world->rank] = first;
    all[3 * (size_t)world->rank + 1] = world->node_rank;
    /* what can be had without swapping; NAN where the kernel does not say */
    const double available = 1024 * lob_proc_number("/proc/meminfo", "MemAvailable");
    all[3 * (size_t)world->rank + 2] = gib > 0 ? gib * (1 << 30) : 0.8 * available;
    if (world->has_mpi)
        lob_mpi_allreduce_sum(lob_world_comm(world), all, 3 * world->size);
    layout->memory = G_MAXDOUBLE;
    for (size_t r = 0; r < n; r++) {
        const size_t head = (size_t)all[3 * r];
        layout->node[r] = head == r ? layout->n_nodes++ : layout->node[head];
        layout->local[r] = (int)all[3 * r + 1];
        if (all[3 * r + 2] > 0)
            layout->memory = MIN(layout->memory, all[3 * r + 2]);
    }
}

void lob_layout_clear(LobLayout *layout) {
    g_free(layout->node);
    g_free(layout->local);
    *layout = (LobLayout){0};
}

/* ---- seats ---- */

static bool too_small(const LobLayout *layout, double bytes, GError **err) {
    const double gib = 1 << 30;
    return lob_fail(err, LOB_ERROR_INPUT,
                    "the features of the cohort take %.1f GiB, and a node has %.1f GiB for them: %d nodes "
                    "would do, this job has %d. Ask for more nodes, let features stream from a local disk "
                    "(site.stream), or say what a node has (site.memory_gib)",
                    bytes / gib, layout->memory / gib, (int)(bytes / layout->memory) + 1, layout->n_nodes);
}

static void in_ranges(const LobLayout *layout, int groups, LobSeat *seats) {
    const int n = layout->n_ranks;
    for (int g = 0; g < groups; g++) {
        const int begin = (int)((long)g * n / groups), end = (int)((long)(g + 1) * n / groups);
        for (int r = begin; r < end; r++)
            seats[r] = (LobSeat){g, r - begin, end - begin};
    }
}

static int ranks_of_node(const LobLayout *layout, int node) {
    int n = 0;
    for (int r = 0; r < layout->n_ranks; r++)
        n += layout->node[r] == node;
    return n;
}

/* Nodes [begin, end) hold the cohort together. Ranks with the same place on their nodes form a group; where
 * nodes have unlike numbers of ranks, all of the set are one. Returns the next free group. */
static int seat_set(const LobLayout *layout, int begin, int end, int group, LobSeat *seats) {
    const int each = ranks_of_node(layout, begin);
    int together = 0;
    bool alike = true;
    for (int node = begin; node < end; node++) {
        alike = alike && ranks_of_node(layout, node) == each;
        together += ranks_of_node(layout, node);
    }
    for (int r = 0, at = 0; r < layout->n_ranks; r++) {
        if (layout->node[r] < begin || layout->node[r] >= end)
            continue;
        seats[r] = alike ? (LobSeat){group + layout->local[r], layout->node[r] - begin, end - begin}
                         : (LobSeat){group, at++, together};
    }
    return group + (alike ? each : 1);
}

bool lob_seats_assign(const LobLayout *layout, int groups, double bytes, LobSeat *seats, int *n_groups,
                      GError **err) {
    if (groups > layout->n_ranks)
        return lob_fail(err, LOB_ERROR_INPUT, "%d groups are asked for, and the job has %d ranks", groups,
                        layout->n_ranks);
    if (groups == 0 && bytes <= layout->memory)
        groups = layout->n_ranks;
    if (groups > 0) {
        *n_groups = groups;
        in_ranges(layout, groups, seats);
        return true;
    }
    const double nodes = bytes / layout->memory;
    if (nodes > layout->n_nodes)
        return too_small(layout, bytes, err);
    const int each = (int)nodes + ((int)nodes < nodes), sets = layout->n_nodes / each;
    *n_groups = 0;
    for (int s = 0; s < sets; s++)
        *n_groups =
            seat_set(layout, s * each, s + 1 < sets ? (s + 1) * each : layout->n_nodes, *n_groups, seats);
    return true;
}

typedef struct {
    uint64_t rows;
    size_t patient;
} Bag;

static int larger_first(const void *a, const void *b) {
    const Bag *x = a, *y = b;
    if (x->rows != y->rows)
        return x->rows < y->rows ? 1 : -1;
    return (x->patient > y->patient) - (x->patient < y->patient);
}

void lob_seats_share_out(const uint64_t *rows, size_t n_patients, int size, uint32_t *owner) {
    g_autofree Bag *bags = g_new(Bag, MAX(n_patients, 1));
    g_autofree uint64_t *load = g_new0(uint64_t, (size_t)size);
    for (size_t p = 0; p < n_patients; p++)
        bags[p] = (Bag){rows[p], p};
    qsort(bags, n_patients, sizeof *bags, larger_first);
    for (size_t i = 0; i < n_patients; i++) {
        uint32_t least = 0;
        for (uint32_t r = 1; r < (uint32_t)size; r++)
            if (load[r] < load[least])
                least = r;
        owner[bags[i].patient] = least;
        load[least] += bags[i].rows;
    }
}

bool lob_seats_fit(const LobLayout *layout, const LobSeat *seats, const uint64_t *rows, size_t n_patients,
                   size_t dim, bool streams, int node, uint8_t *wanted, GError **err) {
    g_autofree uint32_t *owner = g_new(uint32_t, MAX(n_patients, 1));
    double bytes = 0, all = 0;
    memset(wanted, 0, n_patients);
    for (int r = 0, known = 0; r < layout->n_ranks; r++) {
        if (layout->node[r] != node)
            continue;
        if (known != seats[r].size)
            lob_seats_share_out(rows, n_patients, known = seats[r].size, owner);
        for (size_t p = 0; p < n_patients; p++)
            wanted[p] |= owner[p] == (uint32_t)seats[r].rank;
    }
    for (size_t p = 0; p < n_patients; p++) {
        bytes += wanted[p] ? 2.0 * (double)rows[p] * (double)dim : 0;
        all += 2.0 * (double)rows[p] * (double)dim;
    }
    /* shares are even but for the largest bags */
    return streams || bytes <= 1.1 * layout->memory || too_small(layout, all, err);
}

/* ---- a group over MPI ---- */

struct LobMpiGroup {
    LobGroup table;
    MPI_Comm comm;
};

enum { PIECE = 1 << 24 }; /* values a message */

static void mpi_allgather(const LobGroup *group, const double *mine, const size_t *n, double *all) {
    const LobMpiGroup *own = group->user;
    g_autofree int *counts = g_new(int, group->size), *offsets = g_new0(int, group->size);
    MPI_Request request;
    for (int r = 0; r < group->size; r++) {
        counts[r] = (int)n[r];
        offsets[r] = r ? offsets[r - 1] + counts[r - 1] : 0;
    }
    MPI_Iallgatherv(mine, counts[group->rank], MPI_DOUBLE, all, counts, offsets, MPI_DOUBLE, own->comm,
                    &request);
    lob_mpi_wait(&request, MPI_STATUS_IGNORE);
}

/* Summed on one rank and sent to all: the same bits everywhere, whatever algorithm MPI takes for a sum. */
static void sum_pieces(const LobGroup *group, void *values, size_t n, size_t width, MPI_Datatype type) {
    const LobMpiGroup *own = group->user;
    for (size_t at = 0; at < n; at += PIECE) {
        MPI_Request request;
        char *piece = (char *)values + at * width;
        const int now = (int)MIN(PIECE, n - at);
        MPI_Ireduce(group->rank == 0 ? MPI_IN_PLACE : piece, piece, now, type, MPI_SUM, 0, own->comm,
                    &request);
        lob_mpi_wait(&request, MPI_STATUS_IGNORE);
        MPI_Ibcast(piece, now, type, 0, own->comm, &request);
        lob_mpi_wait(&request, MPI_STATUS_IGNORE);
    }
}

static void mpi_allreduce(const LobGroup *group, float *values, size_t n) {
    sum_pieces(group, values, n, sizeof *values, MPI_FLOAT);
}

static void mpi_allreduce_double(const LobGroup *group, double *values, size_t n) {
    sum_pieces(group, values, n, sizeof *values, MPI_DOUBLE);
}

LobMpiGroup *lob_mpi_group_new(const LobWorld *world, const LobSeat *seat) {
    if (!world->has_mpi)
        return NULL;
    LobMpiGroup *group = g_new0(LobMpiGroup, 1);
    MPI_Comm_split(lob_world_comm(world), seat->group, seat->rank, &group->comm);
    group->table = (LobGroup){.rank = seat->rank,
                              .size = seat->size,
                              .user = group,
                              .allgather = mpi_allgather,
                              .allreduce = mpi_allreduce,
                              .allreduce_double = mpi_allreduce_double};
    return group;
}

const LobGroup *lob_mpi_group_table(const LobMpiGroup *group) {
    return group && group->table.size > 1 ? &group->table : NULL;
}

void lob_mpi_group_free(LobMpiGroup *group) {
    if (!group)
        return;
    MPI_Comm_free(&group->comm);
    g_free(group);
}
