/* Rules of the farm that the simulation keeps too. Pure. */
#ifndef LOB_FARM_RULES_H
#define LOB_FARM_RULES_H

#include <glib.h>

/* Up to this many ranks rank 0 computes between messages; above, it only deals. A rank that only deals costs
 * 1/ranks of the job. One that also computes answers when a layer of its encoder is through (a second or so
 * with a large one), which costs others nothing while they hold a range fetched ahead, and up to that long
 * for each at the end. Efficiency in the simulation of a ViT-L over 2,000 slides (`lobule simulate
 * --rank0-works-up-to`), dealing only and working: .899 and .999 at 10 ranks, .984 and .999 at 64; at 128
 * what is left to gain is below 1 %, and every worker's answers would hang on one rank's layers. */
#define LOB_RANK0_WORKS_UP_TO 64

/* Tasks are dealt in rounds, each of which makes the journal durable once. Rounds keep such a distance that
 * the syncs take no more than this share of rank 0's time, however slow the file system's are; a worker holds
 * a task fetched ahead meanwhile. */
#define LOB_SYNC_SHARE 0.1
#define LOB_LONGEST_PACE 0.5 /* seconds: one slow sync must not hold up everybody */

/* Seconds from the end of a round to the next one, where a sync takes `sync_seconds`. */
static inline double lob_round_pace(double sync_seconds) {
    return CLAMP(sync_seconds * (1 / LOB_SYNC_SHARE - 1), 0, LOB_LONGEST_PACE);
}

#endif
