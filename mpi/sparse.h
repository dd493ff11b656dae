/* Memory of a node of which only what is touched takes room, or a file that the kernel pages in and out. */
#ifndef LOB_SPARSE_H
#define LOB_SPARSE_H

#include "mpi/world.h"

typedef struct LobSparse LobSparse;
/* Collective over the node. Zeros, seen by all ranks of the node. dir: a folder of the node's own disk where
 * the bytes live, in a file that nobody sees; NULL: memory. Touching more than there is room for ends the
 * process, so who calls makes sure of that. IO error where it cannot be had. */
LobSparse *lob_sparse_new(const LobWorld *world, size_t size, const char *dir, GError **err);
void *lob_sparse_data(LobSparse *sparse);
void lob_sparse_free(LobSparse *sparse); /* local */

#endif
