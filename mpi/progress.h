/* How far a stage is: one bar on a terminal, a line now and then in a log, and status.json for whoever asks.
 * Rank 0 only. */
#ifndef LOB_PROGRESS_H
#define LOB_PROGRESS_H

#include "cohort/cohort.h"

typedef struct {
    uint32_t slides, slides_done, slides_failed;
    uint64_t tiles, tiles_done;
    /* Training counts models instead (slides and tiles are 0 then); epochs are rank 0's own. */
    uint32_t models, models_done;
    uint64_t epochs;
} LobProgressCounts;

typedef struct LobProgress LobProgress;
LobProgress *lob_progress_new(const LobCohort *cohort, const char *stage, int ranks);
/* by_center [n_centers], may be NULL. Called as often as one likes; says little. The first call's tiles_done
 * is what earlier runs did: the rate counts from there. */
void lob_progress_update(LobProgress *progress, const LobProgressCounts *total,
                         const LobProgressCounts *by_center);
/* What comes next (`words`) may take hours without an update: status.json says so, and nobody is to take the
 * silence for a death. */
void lob_progress_goes_quiet(LobProgress *progress, const char *words);
/* The last word: state is "done", "stopped", "halted" or "failed"; status.json is written at once. */
void lob_progress_end(LobProgress *progress, const char *state, const char *reason);
void lob_progress_free(LobProgress *progress);
/* Whether any stage of this process got on since its first update: a start that finishes nothing new will do
 * no better next time. */
bool lob_progress_made(void);

#endif
