/* Groups of ranks that train together where a node cannot hold the cohort, or a study asks for them: who sits
 * where, and the group's functions over MPI. */
#ifndef LOB_VALIDATE_GROUP_H
#define LOB_VALIDATE_GROUP_H

#include "model/group.h"
#include "mpi/world.h"

/* Ranks on their nodes. */
typedef struct {
    int n_ranks, n_nodes;
    int *node, *local; /* [n_ranks] which node; which of its ranks */
    double memory;     /* bytes that bags may take on the poorest node */
} LobLayout;

/* gib: what bags may take on a node; 0: four fifths of what is available now. Collective. */
void lob_layout_init(LobLayout *layout, const LobWorld *world, double gib);
void lob_layout_clear(LobLayout *layout);

typedef struct {
    int group, rank, size; /* the rank within its group; patients are shared out by rank */
} LobSeat;

/* groups > 0: that many, of neighbouring ranks. 0: each rank alone where a node holds `bytes`, else as few
 * nodes as hold it make a set, and their ranks pair up across them. INPUT error that says how many nodes
 * would do where there are too few, or where there are more groups than ranks. seats [n_ranks]; *n_groups.
 * Local: every rank finds the same. */
bool lob_seats_assign(const LobLayout *layout, int groups, double bytes, LobSeat *seats, int *n_groups,
                      GError **err);
/* INPUT error where what a node's ranks own does not fit it; rows [n_patients] of dim halves. streams: then
 * nothing has to. wanted [n_patients] becomes 1 for what `node` holds. */
bool lob_seats_fit(const LobLayout *layout, const LobSeat *seats, const uint64_t *rows, size_t n_patients,
                   size_t dim, bool streams, int node, uint8_t *wanted, GError **err);
/* Which rank of a group of `size` works on each patient: largest bag first, to who has least so far. */
void lob_seats_share_out(const uint64_t *rows, size_t n_patients, int size, uint32_t *owner);

/* The functions of model/group.h over MPI. Collective over the world; size 1: table is NULL. */
typedef struct LobMpiGroup LobMpiGroup;
LobMpiGroup *lob_mpi_group_new(const LobWorld *world, const LobSeat *seat);
const LobGroup *lob_mpi_group_table(const LobMpiGroup *group);
void lob_mpi_group_free(LobMpiGroup *group); /* collective over the group; NULL does nothing */

#endif
