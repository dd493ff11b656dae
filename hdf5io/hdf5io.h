/* The feature store (one HDF5 file a part), its journal and lock, and other tools' feature files.
 *
 * Metadata is frozen before work: lob_part_create makes every dataset at its final size and flushes once;
 * afterwards only raw rows are written. Until the part is finished, the journal says which rows are valid;
 * afterwards /slides/state does. Unwritten rows are whatever the file system returns: readers trust states,
 * never zeros. No call into HDF5 moves more than 512 MiB. */
#ifndef LOB_HDF5IO_H
#define LOB_HDF5IO_H

#include "base/base.h"
#include "cohort/cohort.h"
#include "model/model.h"
#include <mpi.h>

#define LOB_STORE_VERSION 1
#define LOB_IO_CALL_BYTES ((size_t)512 << 20)

typedef enum {
    LOB_STATE_PENDING = 0, /* rows not all written */
    LOB_STATE_DONE = 1,
    LOB_STATE_FAILED = 2,      /* the slide could not be read; rows, if any, are not to be used */
    LOB_STATE_QUARANTINED = 3, /* crashed its rank repeatedly, alone */
} LobSlideState;
const char *lob_slide_state_name(LobSlideState state);

/* ---- a part's frozen description ---- */
typedef struct {
    char *encoder, *weights_sha256, *transform, *precision; /* as LobEncoderInfo */
    char **columns;                                         /* [dim] or NULL */
    int dim;
    bool float32; /* /features is float32 instead of float16 */
    int tile_size, overlap;
    double tile_mpp, min_tissue;
    char *tissue;    /* method and options in words */
    char *stain;     /* stain normalisation in words; NULL or "" = none, as in stores that do not say */
    char *filters;   /* of a model: which tiles were left out of its training, in words; NULL in stores */
    bool quality;    /* there are columns of tile quality (not compared) */
    bool tile_sums;  /* a store that is read has slides' tiles_crc32c (not compared) */
    char *cpu;       /* CPU type that created the part */
    char *openslide; /* version of the library that reads the slides; NULL or "" = none (not compared) */
} LobStoreHeader;
void lob_store_header_clear(LobStoreHeader *header);
/* INPUT error printing every difference ("encoder: store texture, study uni") where two are not the same. */
bool lob_store_header_agree(const LobStoreHeader *a, const LobStoreHeader *b, const char *name_a,
                            const char *name_b, GError **err);

/* Columns of tile quality, uint8 percent; what could not be measured is LOB_QUALITY_UNKNOWN. */
enum { LOB_Q_PEN, LOB_Q_FOLD, LOB_Q_BLUR, LOB_Q_OVEREXPOSED, LOB_QUALITIES };
extern const char *const lob_quality_names[LOB_QUALITIES]; /* "pen" ... */
#define LOB_QUALITY_UNKNOWN 255

/* A slide's stains: absorption of haematoxylin in R, G, B, of eosin in R, G, B (unit vectors), strength of
 * both (99th percentile of the concentration in tissue, natural logarithm). */
enum { LOB_STORE_STAINS = 8 };
extern const char *const lob_stain_names[LOB_STORE_STAINS]; /* "hema_red" ... "eosin_strength" */

typedef struct {
    char *slide_id, *patient_id, *center;
    uint64_t first, count; /* rows */
    double mpp_x, mpp_y;
    int64_t width, height;
    char *mpp_source;
    char *quickhash;
    int64_t file_size, file_mtime;
    uint8_t state;                  /* LobSlideState */
    uint32_t crc32c;                /* of the slide's feature rows */
    uint32_t unreadable;            /* tiles recorded as unreadable: their rows are NaN */
    uint32_t quality_crc32c;        /* of the slide's quality, tile after tile, in the columns' order */
    uint32_t tiles_crc32c;          /* of the slide's coords, then its tissue; taken when the part is made */
    double stain[LOB_STORE_STAINS]; /* NaN where not known */
} LobStoreSlide;

/* ---- writing ----
 * comm
 * MPI_COMM_NULL = one process, no MPI (MPI_Init not needed). */
typedef struct LobPart LobPart;

/* How MPI-IO opens parts from now on; before the first is opened. NULL and 0 leave module (Open MPI: "ompio",
 * "romio321" ...) and stripes (a hint that Lustre's modules honour in new files) to the site. */
void lob_store_set_mpiio(const char *module, int stripe_count);
/* The hints that stand for that, MPI_INFO_NULL where there are none. Caller frees. */
MPI_Info lob_store_mpiio_info(void);
/* Name of the hint for the count of stripes; module NULL: the default one. */
const char *lob_store_stripe_hint(const char *module);

/* Collective over comm. Creates path (must not exist; it appears by rename when it is whole) with all
 * datasets; coords [n][2] and tissue [n], n = sum of the slides' counts, are read on rank 0 only (others may
 * pass NULL); slides' rows follow each other in the order given (first of one = end of the one before);
 * header and slides must be the same everywhere. One flush at the end; on return every rank holds the part
 * open for writing. */
LobPart *lob_part_create(const char *path, MPI_Comm comm, const LobStoreHeader *header,
                         const LobStoreSlide *slides, size_t n_slides, const int32_t (*coords)[2],
                         const uint8_t *tissue, GError **err);
/* What rank 0 knows of the tiles when the part is laid out; other ranks may pass NULLs. */
typedef struct {
    const int32_t (*coords)[2]; /* [n] */
    const uint8_t *tissue;      /* [n] */
    const uint8_t *pen,
        *fold; /* [n], used where the header says quality; blur and over-exposure come later */
} LobPartTiles;
/* As lob_part_create, with columns of quality where header->quality. */
LobPart *lob_part_create_tiles(const char *path, MPI_Comm comm, const LobStoreHeader *header,
                               const LobStoreSlide *slides, size_t n_slides, const LobPartTiles *tiles,
                               GError **err);
/* Collective. Opens an unfinished part again for writing. */
LobPart *lob_part_open(const char *path, MPI_Comm comm, GError **err);
/* Local. rows [n][dim] as floats are converted to the part's type; durable (fdatasync) on return. *crc:
 * CRC-32C of the bytes as stored, chained over the range alone. */
bool lob_part_write_rows(LobPart *part, uint64_t first, size_t n, const float *rows, uint32_t *crc,
                         GError **err);
/* Local. What lob_part_write_rows has spent so far on the part's type and checksum, not on writing. */
double lob_part_preparing_seconds(const LobPart *part);
bool lob_part_has_quality(const LobPart *part);
/* Local. Blur and over-exposure [n][2] of the rows; durable when the lob_part_write_rows that follows is. */
bool lob_part_write_quality(LobPart *part, uint64_t first, size_t n, const uint8_t (*quality)[2],
                            GError **err);
/* Collective. States, CRCs and unreadable counts of slides (from rank 0; no slide may be pending any more) go
 * in, then the clean-end mark; closes in any case. Errors leave the part unfinished. */
bool lob_part_finish(LobPart *part, const LobStoreSlide *slides, size_t n_slides, GError **err);
/* Collective. Closes without finishing. */
void lob_part_close(LobPart *part);

/* A slide's rows that are to be written anew, and what was known of their tiles when the part was laid out.
 */
typedef struct {
    size_t slide;          /* which of the part's slides these are */
    uint64_t first, count; /* rows of the part */
    LobPartTiles tiles;    /* of these rows alone; pen and fold are needed where the part has quality */
} LobPartRedo;
/* Local; nobody has the part open. Makes a finished part unfinished: from then on its journal says what of it
 * counts. The columns of the tiles named, and their sums, are laid down again, nothing else is touched. */
bool lob_part_reopen(const char *path, const LobPartRedo *redo, size_t n, GError **err);

/* ---- reading (local, serial) ---- */
typedef struct LobStore LobStore;
LobStore *lob_store_open(const char *path, GError **err); /* INPUT errors say what is wrong and where */
void lob_store_close(LobStore *store);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LobStore, lob_store_close)
const LobStoreHeader *lob_store_header(const LobStore *store);
const LobStoreSlide *lob_store_slides(const LobStore *store, size_t *n);
uint64_t lob_store_rows(const LobStore *store);
bool lob_store_finished(const LobStore *store);
bool lob_store_read_halves(LobStore *store, uint64_t first, size_t n, uint16_t *out,
                           GError **err); /* [n][dim]; float32 stores are converted */
bool lob_store_read_floats(LobStore *store, uint64_t first, size_t n, float *out, GError **err);
bool lob_store_read_coords(LobStore *store, uint64_t first, size_t n, int32_t (*xy)[2], GError **err);
bool lob_store_read_tissue(LobStore *store, uint64_t first, size_t n, uint8_t *tissue, GError **err);
/* All columns of quality, tile after tile. INPUT error where the store has none. */
bool lob_store_read_quality(LobStore *store, uint64_t first, size_t n, uint8_t (*quality)[LOB_QUALITIES],
                            GError **err);
bool lob_store_crc_quality(LobStore *store, uint64_t first, size_t n, uint32_t *crc, GError **err);
/* CRC-32C of coords, then of tissue, chained, as stored. */
bool lob_store_crc_tiles(LobStore *store, uint64_t first, size_t n, uint32_t *crc, GError **err);
/* CRC-32C of rows as stored (for verify and resume). */
bool lob_store_crc_rows(LobStore *store, uint64_t first, size_t n, uint32_t *crc, GError **err);
/* CRC of a whole slide from those of its consecutive ranges would need combination; ranges are kept in the
 * journal and this combines them: crc(A||B) from crc(A), crc(B), length of B in bytes. */
uint32_t lob_crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t length_b);

/* The parts behind a path: a store file itself, or part-*.h5 in a folder or in its store/, sorted. Caller
 * g_strfreev's; NULL and no error where a folder has none. */
char **lob_store_find(const char *path, GError **err);
/* The parts behind all of these paths, in their order; empty where none has any. Caller g_strfreev's; NULL
 * with lob_store_find's error. */
char **lob_store_find_all(char *const *paths, GError **err);
/* <part>.journal beside <part>.h5. Caller frees. */
char *lob_journal_path(const char *part_path);

/* ---- every tile's attention ----
 * Local. A file of its own, since finished parts are opened for writing only to mend damage; it appears by
 * rename when it is whole. */
typedef struct {
    const char *slide_id, *patient_id;
    const char *fold;      /* the center or fold whose models scored it; "": none did, all is NaN */
    const char *part;      /* name of the store's file; "": other tools' files */
    uint64_t first, count; /* rows of /attention; slides follow each other */
    uint64_t row;          /* the first of them in the part's /features */
} LobAttentionSlide;
typedef struct {
    const char *study, *endpoint, *model, *lock;
    int seeds;
} LobAttentionFacts;
typedef struct LobAttentionFile LobAttentionFile;
LobAttentionFile *lob_attention_create(const char *path, const LobAttentionFacts *facts,
                                       const LobAttentionSlide *slides, size_t n, GError **err);
/* Rows first..first+n; those never written are NaN. */
bool lob_attention_write(LobAttentionFile *file, uint64_t first, uint64_t n, const float *values,
                         GError **err);
/* Makes it durable and gives it its name; closes in any case. */
bool lob_attention_finish(LobAttentionFile *file, GError **err);
void lob_attention_close(LobAttentionFile *file); /* without finishing: nothing is left. NULL does nothing */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LobAttentionFile, lob_attention_close)

/* ---- verifying: every slide's rows against its checksum; of an unfinished part the journal's ranges ---- */
typedef struct {
    char *slide_id, *what;
    uint64_t first, count; /* rows of the part */
} LobStoreDamage;
typedef struct {
    LobStoreDamage *damage;
    size_t n_damage;
    uint64_t rows_checked, bytes_checked;
    size_t slides_checked;
    bool finished;
} LobStoreReport;
/* Damage is no error: it is in the report. */
bool lob_store_verify(const char *path, LobStoreReport *report, GError **err);
/* Every `shares`-th slide, from the `share`-th on. */
bool lob_store_verify_share(const char *path, size_t share, size_t shares, LobStoreReport *report,
                            GError **err);
void lob_store_report_clear(LobStoreReport *report);
/* done[n_slides]: rows that count; of an unfinished part those the journal vouches for. */
bool lob_store_rows_done(const char *path, const LobStore *store, uint64_t *done, GError **err);

/* ---- journal: append-only text lines, each closed by its own CRC ----
 * One process (rank 0) appends. A record counts if
 * its line is whole and its CRC is right; a torn tail is cut off on open, damage before the tail is an error
 * naming the line. Kinds: session start/end, plan of a slide, range done, slide failed, attempt, suspect,
 * quarantine. */
typedef enum {
    LOB_J_START,      /* a run began: text = host, pid, job id, ranks, CPU */
    LOB_J_END,        /* it ended in an explained way: text = why (done, stopped, halted, signal) */
    LOB_J_PLAN,       /* slide planned: value = tiles; text = plan file's facts */
    LOB_J_RANGE,      /* rows first..first+count of slide written: crc */
    LOB_J_FAILED,     /* slide failed: text = reason */
    LOB_J_LEASE,      /* range handed out (before it is worked on) */
    LOB_J_QUARANTINE, /* slide given up: text = reason */
} LobJournalKind;

/* A LOB_J_RANGE with this text takes back what was said of the range: its rows turned out wrong. */
#define LOB_J_VOID "void"

/* Text of a LOB_J_RANGE whose tiles' quality was written too: its CRC, as in LobStoreSlide. Caller frees.
 * Parsing is false for any other text. */
char *lob_journal_quality_text(uint32_t crc);
bool lob_journal_quality_parse(const char *text, uint32_t *crc);

typedef struct {
    LobJournalKind kind;
    char *slide_id;        /* "" where none */
    uint64_t first, count; /* tile range within the slide */
    uint32_t crc;
    uint32_t unreadable;
    double seconds;
    char *text; /* free text, one line */
} LobJournalRecord;

typedef struct LobJournal LobJournal;
typedef void (*LobJournalVisit)(const LobJournalRecord *record, void *user);
/* Opens for appending, creates where absent, after handing every valid record to visit (or NULL). Local (rank
 * 0). */
LobJournal *lob_journal_open(const char *path, LobJournalVisit visit, void *user, GError **err);
/* Read only, for status and verify; a torn tail is ignored. */
bool lob_journal_read(const char *path, LobJournalVisit visit, void *user, GError **err);
bool lob_journal_append(LobJournal *journal, const LobJournalRecord *record, GError **err); /* buffered */
bool lob_journal_sync(LobJournal *journal, GError **err); /* group commit: fdatasync */
/* For the holder of the store's lock alone, after a sync that failed: cuts off what another process appended
 * behind this one's last records, which are kept for the next sync. IO error where that was not the reason.
 */
bool lob_journal_cut_foreign(LobJournal *journal, GError **err);
void lob_journal_close(LobJournal *journal);
/* Puts a new journal of these records in the place of the one at path, or of none: the old one or the whole
 * new one is there at any time. */
bool lob_journal_replace(const char *path, const LobJournalRecord *records, size_t n, GError **err);

/* ---- lock: O_EXCL file with host, pid, pid start time, job id, restart count, heartbeat ---- */
typedef struct LobLock LobLock;
/* INPUT error (exit 2) naming the holder where it is alive; a stale one (same host and the pid is gone or is
 * another process; same Slurm job id with a higher restart count; heartbeat older than 10 min) is taken over
 * with a warning. */
LobLock *lob_lock_take(const char *path, GError **err);
/* The same, asking again for `seconds`: a job that was just killed may still be dying. Where nothing but a
 * heartbeat tells whether the holder lives, until it beats (INPUT error) or is stale, at most 10 minutes,
 * which is said. go_on (or NULL) is asked several times a second; where it fails, so does this. */
LobLock *lob_lock_wait(const char *path, double seconds, bool (*go_on)(GError **err), GError **err);
/* From now on a thread of its own beats every minute, whatever this process is busy with. */
void lob_lock_keep(LobLock *lock);
/* IO error where another process has taken the lock: to be asked before anything is written. One stat. */
bool lob_lock_check(LobLock *lock, GError **err);
/* The scheduler's number of this job ("" without one), and how often it was restarted as far as it counts. */
const char *lob_job_id(int64_t *restart);
void lob_lock_release(LobLock *lock);

/* ---- tiles that a study leaves out (tiles: max_pen, max_fold, max_blur, max_overexposed; model:
 * max_tiles_slide) ----
 * Of training and scoring, not of the store: other limits need no new embedding. A quality that is not known
 * leaves no tile out. */
char *lob_filters_text(
    const LobStudy *study); /* in words; NULL where there is no filter, or no study. Caller frees */
bool lob_filters_ask_quality(const LobStudy *study); /* whether any of them is of quality */
bool lob_filters_drop(const LobStudy *study, const uint8_t quality[LOB_QUALITIES]);
/* Bit q: the tile is above the study's limit of quality q, or above the usual one (pen 10, fold 30, blur 50,
 * over-exposure 50 %) where the study has none or a laxer one. For counts. */
unsigned lob_quality_flags(const LobStudy *study, const uint8_t quality[LOB_QUALITIES]);

/* ---- bags: all patients' rows, from stores or other tools' feature files ----
 * Local: called on one rank a node; `alloc` gives the
 * (shared) memory. Slides that are not DONE are left out (listed in the log). Patients without rows have
 * count 0. features: a folder of <slide_id>.h5 in TRIDENT, CLAM or STAMP layout, or lobule stores. */
typedef struct {
    LobBags bags;
    uint64_t *first, *count;
    char *encoder;  /* identity as far as it is known */
    char **columns; /* [dim] or NULL */
    struct {
        uint32_t slide;
        uint64_t first, count;
    } * slides;
    size_t n_slides; /* rows of each cohort slide within bags */
} LobBagSet;
bool lob_bags_load(const LobCohort *cohort, const char *const *sources,
                   void *(*alloc)(void *user, size_t size), void *user, LobBagSet *set, GError **err);
/* The same where not all is read here: `choose` (NULL: all) is called once, before alloc, with the rows of
 * every patient, and sets to 1 which of wanted [n_patients] are read; the others keep their place in
 * features, untouched. `go_on` (NULL: nobody) is asked before each slide is read, which may take minutes in
 * all: where it fails, so does the loading. */
bool lob_bags_load_some(const LobCohort *cohort, const char *const *sources,
                        bool (*choose)(void *user, const uint64_t *rows, size_t dim, uint8_t *wanted,
                                       GError **err),
                        bool (*go_on)(GError **err), void *(*alloc)(void *user, size_t size), void *user,
                        LobBagSet *set, GError **err);
/* What a load would find: rows [n_patients] and dim, with its errors and without features. Other tools' files
 * are read for that: where those of the cohort's slides have more than most_bytes, *bytes in all, nothing is
 * counted and dim is 0. rows NULL: only the sources are opened, which finds stores that are not finished or
 * do not go together. */
bool lob_bags_count(const LobCohort *cohort, const char *const *sources, double most_bytes, uint64_t *rows,
                    int *dim, double *bytes, GError **err);
void lob_bag_set_clear(LobBagSet *set); /* not the features' memory */

/* ---- other tools' feature files ---- */
typedef enum {
    LOB_FORMAT_TRIDENT,
    LOB_FORMAT_CLAM,
    LOB_FORMAT_STAMP,
    LOB_FORMAT_ATLASPATCH, /* read only */
    LOB_FORMAT_TENSOR,     /* read only: Slideflow's bags, CLAM's pt_files */
} LobFeatureFormat;
const char *lob_feature_format_name(LobFeatureFormat format); /* "trident" ... */
/* Of those that can be written. */
bool lob_feature_format_parse(const char *name, LobFeatureFormat *format, GError **err);

/* One file a done slide: DIR/<slide_id>.h5 (CLAM: DIR/h5_files/ and DIR/pt_files/<slide_id>.pt). Rows of
 * unreadable tiles (NaN) are left out and counted. Existing files are an INPUT error unless replace. */
bool lob_store_export(LobStore *store, LobFeatureFormat format, const char *folder, bool replace,
                      size_t *slides, uint64_t *left_out, GError **err);

typedef struct {
    const char *slides;  /* CSV: slide_id, patient_id, center[, mpp] */
    const char *encoder; /* NULL = as the files say; needed where they do not */
    double mpp;          /* of level 0, for slides without one in the table; 0 = not given */
    int tile_size;       /* 0 = as the files say; needed where they do not */
    double tile_mpp;
    bool float16; /* store float16 though files hold more */
} LobImportOptions;
/* Reads stores and other tools' files once in a process of its own: INPUT error where it dies or does not
 * end, which damaged HDF5 metadata brings about in the library. What a file says of itself is not judged.
 * Beside an initialised MPI the process is this program's `store probe`. encoder as for an import. */
bool lob_feature_files_probe(const char *const *paths, size_t n, const char *encoder, GError **err);
/* Whether each of the NULL-terminated is a store or a feature file that opens; INPUT error. Probed before. */
bool lob_feature_files_open(const char *const *paths, const char *encoder, GError **err);
/* files: NULL-terminated feature files or folders of them. INPUT errors: whatever is contradictory or not
 * said anywhere. */
bool lob_store_import(const char *const *files, const LobImportOptions *options, const char *path,
                      size_t *slides, uint64_t *rows, GError **err);

/* Writes <path> in TRIDENT's layout (features [N,D] float32, coords [N,2] int64 and attributes), by rename.
 */
bool lob_feature_file_write(const char *path, const float *features, size_t n, int dim,
                            const int32_t (*coords)[2], const char *encoder, int patch_size, GError **err);

#endif
