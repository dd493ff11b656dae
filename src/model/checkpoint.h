/* Unfinished training on disk, so that a job that ends in the middle of a model goes on from there. Training
 * is made of named segments (a round, the model itself); each is kept after every epoch in memory, and all of
 * them every few minutes in one file. Whoever goes through the same segments again with the file in hand
 * finds what was done as if it had just been done: to the bit. */
#ifndef LOB_CHECKPOINT_H
#define LOB_CHECKPOINT_H

#include "base/base.h"
#include "model/group.h"

typedef struct LobCheckpoint LobCheckpoint;

/* What an earlier run left at `path` under the same identity (at most 200 characters); a file that is damaged
 * or another's counts as none. Collective over the group (NULL: alone): rank 0 writes, and where ranks read
 * different files, none is used. */
LobCheckpoint *lob_checkpoint_open(const char *path, const char *identity, const LobGroup *group);
/* Writes now what is kept in memory, as before an orderly stop. A file that cannot be written is a warning:
 * training goes on without. */
void lob_checkpoint_flush(LobCheckpoint *checkpoint);
/* Once the results are safe elsewhere: the file goes. */
void lob_checkpoint_remove(LobCheckpoint *checkpoint);
void lob_checkpoint_free(LobCheckpoint *checkpoint); /* NULL does nothing */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LobCheckpoint, lob_checkpoint_free)

#endif
