#ifndef LOB_EMBED_INTERNAL_H
#define LOB_EMBED_INTERNAL_H

#include "encoder/encoder.h"
#include "mpi/stage.h"

/* ---- what the journal says of a part (rank 0) ---- */

typedef struct {
    uint32_t first, count, crc, unreadable, quality_crc;
    bool has_quality; /* quality_crc is of the tiles' quality; false: an earlier version wrote none */
    bool verified;    /* journalled by a run that ended in an explained way, or read again since */
} LobDoneRange;

typedef struct {
    uint32_t first, deaths; /* unexplained ends with the range that starts here in flight */
} LobSuspect;

typedef struct {
    GArray *done;     /* of LobDoneRange: ascending, disjoint */
    GArray *suspects; /* of LobSuspect */
    GArray *leases;   /* of LobDoneRange (first, count): dealt in the session being read */
    bool leased_alone;
    uint32_t lone_deaths; /* in a row, without a range done between */
    uint32_t unreadable;
    bool quarantined, failed, lasting;
    double seconds;
} LobSlideRecord;

typedef struct {
    const LobCatalogPart *part;
    LobSlideRecord *slides; /* [part->n_slides] */
    GHashTable *index;      /* slide_id -> index + 1 */
    bool open;              /* inside a session that has not ended */
    char *session;          /* text of the last start */
} LobPartRecord;

LobPartRecord *lob_part_record_new(const LobCatalogPart *part);
void lob_part_record_free(LobPartRecord *record);
void lob_part_record_visit(const LobJournalRecord *line, void *part_record);
/* After the last line: a session still open died unexplained, unless by the text of the `next` one (or NULL)
 * the scheduler restarted it. */
void lob_part_record_close(LobPartRecord *record, const char *next);
void lob_slide_record_add(LobSlideRecord *slide, const LobDoneRange *range); /* drops what it overlaps */
void lob_slide_record_void(LobSlideRecord *slide, uint32_t first, uint32_t count);
uint64_t lob_slide_record_tiles(const LobSlideRecord *slide);
/* Was in flight at two unexplained ends, and is not done yet. */
bool lob_slide_record_is_suspect(const LobSlideRecord *slide);
/* CRCs of the whole slide's rows and of its tiles' quality; valid where all of it is done. */
uint32_t lob_slide_record_crc(const LobSlideRecord *slide, uint64_t row_bytes);
uint32_t lob_slide_record_quality_crc(const LobSlideRecord *slide);

/* ---- messages ---- */

typedef struct {
    LobLease lease;
    uint32_t cohort_slide; /* index */
    uint64_t row;          /* of the range's first tile in the part */
    LobPlanFacts facts;
} LobEmbedTask;

typedef enum { LOB_RANGE_WRITTEN, LOB_RANGE_LATE, LOB_RANGE_SLIDE_FAILED } LobRangeOutcome;

typedef struct {
    LobLease lease;
    int32_t outcome;
    uint32_t crc, unreadable, quality_crc;
    bool has_quality, crashed; /* crashed: the slide's readers did, each time */
    double seconds;
    char reason[600]; /* of failing, or of the first unreadable tile */
} LobEmbedResult;

/* Rows written under a lease that another rank had by then: whoever wrote last, they may not be what the
 * journal says. */
typedef struct {
    uint32_t slide, first, count;
} LobLateWrite;

/* ---- the job ---- */

typedef struct LobEmbedder LobEmbedder;

typedef struct {
    LobStage stage;
    LobFarmStats stats;
    LobPart *part; /* of the part under way, every rank */

    /* rank 0, of the part under way */
    LobCatalogPart *catalog_part;
    LobPartRecord *record;
    LobJournal *journal;
    LobSched *sched;
    GArray *late; /* of LobLateWrite */
    bool dirty, explained;
    LobProgressCounts total, *centers;
    uint64_t tiles_before; /* done by earlier runs */
    double expired_at;

    LobEmbedder *embedder; /* every rank that works */
} LobEmbed;

/* Collective over the node where weights are shared, and so is lob_embedder_free: *embedder is made in any
 * case, so that ranks first agree whether all succeeded, then free it together. */
bool lob_embedder_new(LobEmbed *embed, LobEmbedder **embedder, GError **err);
void lob_embedder_free(LobEmbedder *embedder);
/* The row [dim] of a tile that is the same on every rank and in every run. Local. */
bool lob_embedder_probe(LobEmbedder *embedder, float *row, GError **err);
bool lob_embed_work(void *user, LobFarm *farm, const void *task, size_t size, GByteArray *result,
                    GError **err);

/* Rank 0's callbacks and what surrounds them. */
bool lob_embed_open_journal(LobEmbed *embed, GError **err);
bool lob_embed_make_sched(LobEmbed *embed, GError **err);
LobSchedAnswer lob_embed_next(void *user, int worker, GByteArray *task);
bool lob_embed_result(void *user, int worker, const void *data, size_t size, GError **err);
bool lob_embed_commit(void *user, GError **err);
bool lob_embed_pulse(void *user, GError **err);
void lob_embed_explain(void *user, const char *why);
bool lob_embed_write_end(LobEmbed *embed, const char *why, GError **err);
/* Fills states and CRCs of the part's slides, and the catalog. */
bool lob_embed_settle_slides(LobEmbed *embed, GError **err);

/* Rows of a slide, and what they must add up to: their features, quality, and coords and tissue. */
typedef struct {
    uint64_t row; /* of the part */
    uint32_t slide, first, count, crc, quality_crc, tiles_crc;
    bool has_features, has_quality, has_tiles;
} LobRowCheck;
/* Collective, no one has the part open: rank 0's `checks` (of LobRowCheck) are read again, shared out over
 * the ranks; those that do not hold are what is left of them. *n: how many there were, on every rank. */
bool lob_embed_check_rows(const LobWorld *world, const char *path, GArray *checks, uint64_t *n, GError **err);
/* Collective: ranges journalled by a run that did not end cleanly are read again, shared out over the ranks;
 * those that differ are voided. */
bool lob_embed_verify(LobEmbed *embed, const char *path, GError **err);
/* Collective, between two farms, the part closed: the same with ranges that late writes touched, if there are
 * any. *again: some were voided. */
bool lob_embed_verify_late(LobEmbed *embed, const char *path, bool *again, GError **err);
/* Rank 0: voids them unread. */
bool lob_embed_void_late(LobEmbed *embed, GError **err);

#endif
