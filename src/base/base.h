/* What every room uses: errors, log, random numbers, tables, files, checksums, half floats.
 *
 * Everything here is local (no call is collective) and knows neither MPI nor HDF5. Strings are UTF-8.
 * Memory is GLib's: allocation never fails (it aborts), g_free releases. */
#ifndef LOB_BASE_H
#define LOB_BASE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- errors ----
 * Functions that can fail return bool (or NULL) and fill a trailing GError **. The code says who has to act
 * and hence the process's exit code. Messages are one line: file, place, what was expected, hint. */
#define LOB_ERROR (lob_error_quark())
GQuark lob_error_quark(void);

typedef enum {
    LOB_ERROR_INTERNAL = 1, /* this program or the machine is at fault: exit 1 */
    LOB_ERROR_INPUT,        /* the user's input or command line is at fault: exit 2 */
    LOB_ERROR_SLIDE,        /* one slide is at fault: it is recorded, the job goes on, exit 3 */
    LOB_ERROR_IO,           /* the file system refused (full, read-only, vanished): exit 1 */
    LOB_ERROR_STOPPED,      /* USR1, TERM or walltime: state saved, exit 75 */
    LOB_ERROR_HALTED,       /* the file output/halt: exit 76 */
    /* Data are as they should be and too few for this. Recorded where it is one of several; else exit 2. */
    LOB_ERROR_NOT_ESTIMABLE,
} LobErrorCode;

enum {
    LOB_EXIT_DONE = 0,
    LOB_EXIT_OTHER = 1,
    LOB_EXIT_INPUT = 2,
    LOB_EXIT_SLIDES_FAILED = 3,
    LOB_EXIT_STOPPED = 75,
    LOB_EXIT_HALTED = 76,
};

/* The exit code an error stands for; LOB_EXIT_DONE for NULL. */
int lob_error_exit_code(const GError *error);

/* Sets a LOB_ERROR and returns false, so that a check is one line: return lob_fail(err, LOB_ERROR_INPUT,
 * ...). */
bool lob_fail(GError **err, LobErrorCode code, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* The same with errno's text appended. */
bool lob_fail_errno(GError **err, LobErrorCode code, int errnum, const char *format, ...) G_GNUC_PRINTF(4, 5);

/* ---- version ---- */
/* The commit this program was built from: 40 hex digits, "-changed" appended where tracked files differed
 * from it; "unknown" where it was built from files without a repository. */
const char *lob_version_commit(void);

/* ---- log ----
 * Human text goes to stderr; where a JSON log is open each line also goes there as one object
 * {"time","level","rank","message"}. Ranks other than 0 print warnings and errors only. */
typedef enum { LOB_LOG_DEBUG, LOB_LOG_INFO, LOB_LOG_WARNING, LOB_LOG_ERROR } LobLogLevel;

void lob_log_setup(LobLogLevel threshold, int rank);
bool lob_log_open_json(const char *path, GError **err); /* appends; NULL closes */
void lob_log(LobLogLevel level, const char *format, ...) G_GNUC_PRINTF(2, 3);
#define lob_debug(...) lob_log(LOB_LOG_DEBUG, __VA_ARGS__)
#define lob_info(...) lob_log(LOB_LOG_INFO, __VA_ARGS__)
#define lob_warning(...) lob_log(LOB_LOG_WARNING, __VA_ARGS__)
#define lob_error_log(...) lob_log(LOB_LOG_ERROR, __VA_ARGS__)

/* Seconds since an arbitrary start, monotonic. */
double lob_clock(void);
/* Processor time of the calling thread so far. */
double lob_thread_cpu_seconds(void);

/* ---- the kernel's tables ---- */
/* The number behind "name:" at the beginning of a line of one of them ("/proc/meminfo", "MemTotal"), in the
 * table's unit; NAN where there is none. */
double lob_proc_number(const char *path, const char *name);

/* ---- random numbers ----
 * Counter-based: a stream is named by a seed and a text (a patient's id, "fold/2/seed/1"), so a draw depends
 * on neither the number of ranks nor the order of work. SplitMix64 finaliser over (key, counter); not for
 * cryptography. */
typedef struct {
    uint64_t key, counter;
    double spare; /* second value of the last Box-Muller pair */
    bool has_spare;
} LobRng;

void lob_rng_init(LobRng *rng, uint64_t seed, const char *stream);
uint64_t lob_rng_u64(LobRng *rng);
double lob_rng_uniform(LobRng *rng);                      /* [0, 1) */
double lob_rng_normal(LobRng *rng);                       /* mean 0, sd 1 */
double lob_rng_exponential(LobRng *rng);                  /* mean 1 */
uint32_t lob_rng_below(LobRng *rng, uint32_t bound);      /* 0 .. bound-1, unbiased; bound > 0 */
void lob_rng_shuffle(LobRng *rng, uint32_t *v, size_t n); /* Fisher-Yates, in place */

/* ---- tables (CSV) ----
 * RFC 4180 with header, UTF-8; BOM and CRLF tolerated, blank lines skipped, blanks around a bare (unquoted)
 * cell trimmed. Cells are owned by the table. An empty cell is missing. */
typedef struct LobTable LobTable;

/* Errors (INPUT) name file and line: not readable, not UTF-8, no header, duplicate or empty column name, a
 * row with another number of cells than the header. */
LobTable *lob_table_read(const char *path, GError **err);
void lob_table_free(LobTable *table);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LobTable, lob_table_free)
size_t lob_table_rows(const LobTable *table);
size_t lob_table_columns(const LobTable *table);
const char *lob_table_path(const LobTable *table);
const char *lob_table_column_name(const LobTable *table, size_t column);
int lob_table_find(const LobTable *table, const char *column); /* -1: no such column */
int lob_table_require(const LobTable *table, const char *column,
                      GError **err); /* -1 and an INPUT error naming what there is */
const char *lob_table_cell(const LobTable *table, size_t row, int column); /* "" is missing */
size_t lob_table_line(const LobTable *table, size_t row);                  /* 1-based line in the file */
/* A number; NAN where missing. Errors name file, line, column and the text. Infinities and trailing text are
 * errors. */
bool lob_table_number(const LobTable *table, size_t row, int column, double *value, GError **err);

/* Writing: rows collect in memory and appear at once (temporary file, fsync, rename). */
typedef struct LobCsv LobCsv;
LobCsv *lob_csv_new(const char *const *columns); /* NULL-terminated */
void lob_csv_text(LobCsv *csv, const char *cell);
void lob_csv_number(LobCsv *csv,
                    double value); /* shortest text that reads back the same; NAN as an empty cell */
void lob_csv_integer(LobCsv *csv, int64_t value);
void lob_csv_end_row(LobCsv *csv); /* aborts where the row's length differs from the header's */
/* The text so far, whole rows; valid until the next call on csv. */
const char *lob_csv_data(const LobCsv *csv, size_t *size);
bool lob_csv_save(LobCsv *csv, const char *path, GError **err);
void lob_csv_free(LobCsv *csv);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LobCsv, lob_csv_free)

/* ---- files ----
 * New files get 0666 less the process's umask. */
/* The whole file, closed by a zero that *size does not count; INPUT error where it cannot be read or holds
 * more than `limit` bytes. Caller frees. */
char *lob_file_read(const char *path, size_t limit, size_t *size, GError **err);
bool lob_file_replace(const char *path, const void *data, size_t size, GError **err); /* atomic, fsync'd */
bool lob_make_dirs(const char *path, GError **err);
/* `name` as seen from the folder of `base_file`; absolute names are kept. Caller frees. */
char *lob_path_beside(const char *base_file, const char *name);
/* The file's name without its folder and, where it ends so, `suffix`. Caller frees. */
char *lob_path_stem(const char *path, const char *suffix);

/* ---- checksums ---- */
/* CRC-32C (Castagnoli), as iSCSI and ext4 use it; start with 0, chain by passing the last value. SSE4.2 where
 * the CPU has it. */
uint32_t lob_crc32c(uint32_t crc, const void *data, size_t size);
uint32_t lob_crc32c_reference(uint32_t crc, const void *data, size_t size); /* table-driven oracle */
char *lob_sha256_file(const char *path, GError **err);                      /* 64 hex digits; caller frees */
char *lob_sha256_bytes(const void *data, size_t size);

/* ---- half floats (IEEE 754 binary16), round to nearest even; overflow becomes infinity ---- */
uint16_t lob_half_from_float(float value);
float lob_float_from_half(uint16_t half);
void lob_halves_from_floats(uint16_t *out, const float *in, size_t n);
void lob_floats_from_halves(float *out, const uint16_t *in, size_t n);

/* ---- images: 8-bit, interleaved, no padding ---- */
typedef struct {
    int width, height, channels; /* pixels; channels 1 or 3 */
    uint8_t *data;               /* [height][width][channels], owned */
} LobImage;

void lob_image_init(LobImage *image, int width, int height, int channels); /* zeroed */
void lob_image_clear(LobImage *image);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LobImage, lob_image_clear)

#endif
