/* Rank 0's knowledge of every slide of the cohort, from the plan's journal, the parts and their journals; and
 * slides.csv, written from it. */
#ifndef LOB_CATALOG_H
#define LOB_CATALOG_H

#include "mpi/plan_facts.h"

/* Unexplained ends of runs while a slide was being planned. A dead rank takes the job down with all that is
 * under way, so only ends of runs in which nothing else was count. */
typedef struct {
    bool dealt, alone; /* in the run being read */
    uint32_t deaths, lone_deaths;
} LobPlanAttempts;

/* A suspect (this often in flight at an unexplained end) runs last and alone; one that died alone this often
 * in a row is given up: a killed healthy slide makes progress between kills. */
#define LOB_DEATHS_TO_SUSPECT 2
#define LOB_LONE_DEATHS_TO_QUARANTINE 3

typedef struct {
    LobPlanAttempts attempts;
    bool planned;   /* facts are valid */
    bool same_spec; /* and were taken with the study's present options */
    LobPlanFacts facts;
    int part; /* 1-based number of the part that holds it; 0: none yet */
    LobSlideState state;
    bool lasting; /* failed for what is in the file: not tried again until the file changes */
    char *reason; /* of failing, or NULL */
    uint32_t unreadable;
    double seconds;                            /* of embedding */
    bool judged;                               /* the tiles' quality was counted */
    uint64_t flagged[LOB_QUALITIES], left_out; /* tiles, as lob_quality_flags and lob_filters_drop say */
} LobCatalogSlide;

typedef struct {
    int number;
    char *path, *journal;
    bool finished;
    LobStoreHeader header;
    LobStoreSlide *slides;
    size_t n_slides;
    bool keep; /* holds a slide that is done or quarantined, or is unfinished */
} LobCatalogPart;

typedef struct {
    const LobCohort *cohort;
    LobCatalogSlide *slides; /* [cohort->n_slides] */
    LobCatalogPart *parts;
    size_t n_parts;
    GHashTable *index; /* slide_id (borrowed) -> cohort index + 1 */
    char *spec;
    bool same_spec, open; /* while the plan's journal is read */
    char *session;        /* the text of the last run's start in it */
} LobCatalog;

/* plan_spec: tiling and tissue options in words, as plans of this study are made with. */
LobCatalog *lob_catalog_load(const LobCohort *cohort, const char *plan_spec, GError **err);
void lob_catalog_free(LobCatalog *catalog);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LobCatalog, lob_catalog_free)
/* Index in the cohort, or -1. */
int64_t lob_catalog_find(const LobCatalog *catalog, const char *slide_id);
/* The text of a run's first record: `head`, a line of its own, and what it runs as. Caller frees.
 * Our batch script comes back after crashes too: of its starts only those count as restarts that followed an
 * end by the scheduler or a word to stop (LOBULE_CHAIN_EXPLAINED). */
char *lob_session_text(const char *head, int ranks);
/* Whether, by two runs' texts, the later one is the earlier one's job, started again by the scheduler (a
 * failed node, a preemption, a time limit): why the earlier one ended is then known. */
bool lob_session_was_restarted(const char *before, const char *after);

/* A slide's error without the path it may begin with: tables that travel name slides by their ids. */
const char *lob_catalog_reason(const LobCohort *cohort, size_t i, const char *message);
void lob_catalog_set_failed(LobCatalogSlide *slide, LobSlideState state, const char *reason, bool lasting);
/* INPUT error naming the differences where a part was made with another encoder, transform or tiling. */
bool lob_catalog_agree(const LobCatalog *catalog, const LobStoreHeader *wanted, GError **err);
bool lob_catalog_write_csv(LobCatalog *catalog, GError **err); /* output/slides.csv */
/* Counts the tile quality of done slides out of their parts; once is enough. */
bool lob_catalog_judge(LobCatalog *catalog, GError **err);
/* Logs a slide's failure, once a process. */
void lob_catalog_tell(const char *slide_id, LobSlideState state, const char *reason);
/* DONE, or SLIDES_FAILED after listing failures in the log. */
int lob_catalog_verdict(const LobCatalog *catalog);

char *lob_part_path(const LobStudy *study, int number, const char *ending); /* ".h5", ".journal" */
char *lob_plan_journal_path(const LobStudy *study);

#endif
