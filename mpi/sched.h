/* The scheduler's core: which rank gets which tile range next. Pure (no MPI, no clock of its own), so that
 * the coordinator and the simulator drive the same code. Largest slide first; a rank keeps the slide it has
 * open; ranges shrink near the end; late leases are dealt again. */
#ifndef LOB_SCHED_H
#define LOB_SCHED_H

#include "base/base.h"

typedef struct {
    uint32_t slide;        /* index given at add */
    uint32_t first, count; /* tiles within the slide; first is a multiple of the batch */
    uint32_t lease;        /* identity, never reused */
    uint32_t attempt;      /* how often this range was dealt before */
    double patience;       /* seconds from now until the lease is late */
} LobLease;

typedef struct LobSched LobSched;

typedef struct {
    uint32_t batch;       /* ranges are multiples of it (but a slide's tail) */
    double range_seconds; /* wanted work in a range */
    double lease_factor;  /* a lease is late after this many times its expected work (and at least
                             min_lease_seconds) */
    double min_lease_seconds;
    uint32_t max_tiles; /* most tiles in a range */
    int workers;
} LobSchedOptions;
extern const LobSchedOptions lob_sched_defaults; /* batch 16, 20 s, 5, 120 s, 2048 */

LobSched *lob_sched_new(const LobSchedOptions *options);
void lob_sched_free(LobSched *sched);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LobSched, lob_sched_free)

/* A slide with `tiles` tiles; done ranges are marked before the first deal. alone: a suspect, dealt last,
 * with nothing else in flight. */
void lob_sched_add(LobSched *sched, uint32_t slide, uint32_t tiles, uint32_t center, bool alone);
void lob_sched_mark_done(LobSched *sched, uint32_t slide, uint32_t first, uint32_t count);

typedef enum { LOB_SCHED_LEASE, LOB_SCHED_WAIT, LOB_SCHED_FINISHED } LobSchedAnswer;
/* Next range for a worker at `now` seconds. WAIT: nothing to deal at present (all in flight); ask again
 * later. */
LobSchedAnswer lob_sched_next(LobSched *sched, int worker, double now, LobLease *lease);
/* A range came back. False: the lease was not held any more (late, already done by another): its result may
 * be dropped. */
bool lob_sched_done(LobSched *sched, int worker, const LobLease *lease, double now, double seconds);
/* A slide failed: nothing more of it is dealt; what is in flight is void. */
void lob_sched_fail_slide(LobSched *sched, uint32_t slide);
/* Puts late leases back; returns how many. */
int lob_sched_expire(LobSched *sched, double now);
/* Leases put back late whose workers have not answered yet: they may still write. */
int lob_sched_late(const LobSched *sched);
bool lob_sched_holds(const LobSched *sched, int worker, uint32_t lease);

/* A suspect came through: the rest of it is dealt like any other slide. */
void lob_sched_clear_suspect(LobSched *sched, uint32_t slide);

typedef struct {
    uint64_t tiles_total, tiles_done, tiles_in_flight;
    uint32_t slides_total, slides_done, slides_failed;
    double seconds_per_tile;
} LobSchedProgress;
void lob_sched_progress(const LobSched *sched, LobSchedProgress *progress);

#endif
