/* The world as the distributed code sees it: communicators, sleeping waits, agreement on errors. */
#ifndef LOB_WORLD_H
#define LOB_WORLD_H

#include "mpi/mpi_jobs.h"

#include <mpi.h>

/* MPI_COMM_NULL without MPI. */
MPI_Comm lob_world_comm(const LobWorld *world);
/* The farm's own: it takes messages of any tag. */
MPI_Comm lob_world_farm_comm(const LobWorld *world);
MPI_Comm lob_world_node_comm(const LobWorld *world); /* ranks that share memory; MPI_COMM_NULL without MPI */

/* Completes a request, sleeping between tests: an eighth of the time waited so far, 20 us to 20 ms. Finished
 * quickly where the answer is near, a fraction of a percent of a core where it is far. */
void lob_mpi_wait(MPI_Request *request, MPI_Status *status); /* status may be MPI_STATUS_IGNORE */
void lob_mpi_barrier(MPI_Comm comm);
void lob_mpi_allreduce_sum(MPI_Comm comm, double *values, int n); /* in place */
/* The nap before the next test; *waited (seconds, start with 0) grows. */
void lob_nap(double *waited);
/* Called at every nap, so often and so shortly; NULL: nothing is. */
void lob_nap_set_hook(void (*hook)(void));

/* Collective. Every rank brings its own error or NULL (taken over); where any has one, all return false with
 * the error of the lowest rank, which is named if it is not 0. */
bool lob_world_agree(const LobWorld *world, GError *mine, GError **err);
/* Collective. Agrees on `mine` (taken over) as lob_world_agree does; then rank 0 gets every rank's outbox,
 * end to end in rank order, and their bytes in all. Free *all with g_free; elsewhere it is NULL and *total 0.
 */
bool lob_world_collect(const LobWorld *world, const GByteArray *outbox, GError *mine, void **all,
                       size_t *total, GError **err);

/* Where LOBULE_EXIT_FILE names a file, rank 0 leaves its exit code there, and whether anything new was
 * finished ("1 nothing", "75 new"): a launcher may return the code of a rank that it killed on the way out.
 */
void lob_world_leave_word(const LobWorld *world, int code);

/* A fatal error on one rank while others work: logs it with rank and host and ends the whole job with its
 * exit code. Without MPI, ends the process. */
void lob_world_abort(const LobWorld *world, const GError *error) G_GNUC_NORETURN;

/* Bytes that all ranks of a node see (plain memory where a node has one rank). Collective over the node,
 * as is freeing. */
typedef struct LobShared LobShared;
LobShared *lob_shared_new(const LobWorld *world, size_t size, GError **err);
void *lob_shared_data(LobShared *shared);
void lob_shared_free(LobShared *shared);

/* Collective over a node. Removes the names of the memory MPI shares between ranks, so that nothing is left
 * of a job whose launcher is killed. */
void lob_world_unname_segments(const LobWorld *world);
/* Local. Before MPI_Finalize, which removes them itself; a barrier follows. */
void lob_world_rename_segments(void);

#endif
