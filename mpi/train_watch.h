/* Watching training, where ranks train apart for hours: how many models are done of all, how many epochs rank
 * 0 has trained, the time left; in the words of mpi/progress.h and in status.json. One training at a time. */
#ifndef LOB_TRAIN_WATCH_H
#define LOB_TRAIN_WATCH_H

#include "mpi/world.h"

/* Begins on rank 0; elsewhere nothing happens, here and below. done [n]: what earlier runs did; borrowed
 * until the end, as `user` is. path: the file in which a model is kept once it is trained, by whichever rank;
 * caller frees. That is how rank 0 learns of the others, who do not speak while they train. From here on,
 * waiting and lob_train_watch_tick keep status.json fresh. */
void lob_train_watch_begin(const LobWorld *world, const LobCohort *cohort, const char *stage, size_t n,
                           const uint8_t *done, char *(*path)(const void *user, size_t model),
                           const void *user);
/* Where a rank trains: called as often as one likes. */
void lob_train_watch_tick(void);
/* Training is over, and what follows (`words`, e.g. "writing the tables") may take hours without a tick:
 * status.json says so once. */
void lob_train_watch_follows(const char *words);
/* The last word; problem may be NULL. */
void lob_train_watch_end(const GError *problem);

#endif
