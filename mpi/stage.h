/* What plan and embed share: the lock, rank 0's catalog, the store's description, progress. */
#ifndef LOB_STAGE_H
#define LOB_STAGE_H

#include "encoder/encoder.h"
#include "mpi/catalog.h"
#include "mpi/farm.h"
#include "mpi/progress.h"
#include "tissue/tissue.h"

typedef struct {
    const LobWorld *world;
    const LobCohort *cohort;
    const char *name;      /* "plan", "embed" */
    LobLock *lock;         /* rank 0 */
    LobCatalog *catalog;   /* rank 0 */
    LobStoreHeader header; /* every rank: what this study's parts are described as */
    LobProgress *progress; /* rank 0 */
} LobStage;

/* Collective. Takes the lock, loads the catalog, refuses a store of another encoder or tiling. On failure
 * nothing is held. */
bool lob_stage_begin(LobStage *stage, const char *name, const LobWorld *world, const LobCohort *cohort,
                     GError **err);
void lob_stage_end(LobStage *stage); /* local */
/* Rank 0, before a job ends itself: the next one, perhaps on another host, need not wait for a stale lock. */
void lob_stage_unlock(LobStage *stage);
/* Rank 0, before anything is written into the store: IO error where another job has taken it over. */
bool lob_stage_owns(LobStage *stage, GError **err);
/* The same, then the journal's sync. Lines that a job which was taken for dead wrote meanwhile are cut off.
 */
bool lob_stage_sync(LobStage *stage, LobJournal *journal, GError **err);
/* Rank 0, asked to stop: whether that explains the run's end at once. TERM and INT reach rank 0 also when the
 * launcher kills the job because a rank died: with those the end is explained only when every rank has
 * answered. */
bool lob_stage_stop_is_plain(const LobStage *stage);
/* The processor's name: rows are the same to the bit on one type only. Caller frees. */
char *lob_cpu_type(void);
/* "done", "stopped", "halted" or "failed": what an outcome is called in status.json. */
const char *lob_stage_state_word(const GError *error);
/* After a farm: rank 0 prints each rank's use. */
void lob_stage_report_use(const LobStage *stage, const LobFarmStats *all);

/* LOB_TEST_KILL=STAGE:TEXT: this rank kills itself when it begins a slide whose id holds TEXT. */
void lob_stage_test_kill(const char *stage, const char *slide_id);

LobEncoderOptions lob_stage_encoder_options(const LobStudy *study); /* strings are the study's */
/* Opens it; an INPUT error names the line of the study file. */
LobEncoder *lob_stage_encoder(const LobStudy *study, const LobEncoderOptions *options, GError **err);
LobTileSpec lob_stage_tile_spec(const LobStudy *study);
LobSlideSpec lob_stage_slide_spec(const LobCohortSlide *slide);
bool lob_stage_stain(const LobStudy *study, LobStainMethod *method, GError **err);
LobReader *lob_stage_reader(const LobStudy *study, size_t max_tiles, GError **err);
/* Tiling and tissue options in words: a plan made with others is not used. Caller frees. */
char *lob_stage_plan_spec(const LobStudy *study);

/* Collective. A packed value from rank 0 to all; takes a floating or owned reference on rank 0. */
GVariant *lob_world_bcast_variant(const LobWorld *world, GVariant *value, const GVariantType *type);

#endif
