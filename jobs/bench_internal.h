/* Only jobs/bench*.c include this. */
#ifndef LOB_JOBS_BENCH_INTERNAL_H
#define LOB_JOBS_BENCH_INTERNAL_H

#include "mpi/mpi_jobs.h"

#include <jansson.h>

enum {
    LOB_BENCH_LEAST = 6, /* repetitions that bound a median with 95 % */
    LOB_BENCH_MOST = 50,
    LOB_BENCH_VALUES = 4 /* of a repetition */
};

typedef struct {
    const LobWorld *world;
    double seconds;    /* wanted for each measurement */
    int repeats;       /* least number of repetitions, 1 to LOB_BENCH_MOST */
    const char *dir;   /* where files are written */
    const char *slide; /* or NULL: one is drawn */
    char **encoders;   /* NULL-terminated */
    const char *precision;
    int batch;
    struct {
        int bags, tiles, dim, centers, seeds, hidden, attention, epochs;
    } train;
    json_t *provenance, *options; /* of every line; rank 0 */
    json_t *lines;                /* array of all lines so far; rank 0 */
} LobBench;

/* ---- measuring ---- */

/* Of all ranks together: what they reached in one repetition is added up before medians are taken. */
typedef struct {
    double rate;         /* median */
    double lower, upper; /* 95 % confidence interval of the median; NAN for fewer than LOB_BENCH_LEAST */
    double spread;       /* (upper quartile - lower quartile) / median; NAN for one */
    int repeats;
    double cpu; /* a rank's processor time over wall time while measuring (0: not known): below 1, others had
                   the core */
} LobBenchRate;

/* Of n values, at most LOB_BENCH_MOST. */
LobBenchRate lob_bench_summary(const double *values, int n);
double lob_bench_cpu_seconds(void); /* of this process so far */

/* One repetition: values [LOB_BENCH_VALUES] of this rank, which may leave those it has no use for. */
typedef bool (*LobBenchTurn)(void *user, double *values, GError **err);
typedef struct {
    int n;
    double values[LOB_BENCH_VALUES][LOB_BENCH_MOST]; /* of each repetition, summed over ranks */
} LobBenchSeries;
/* Collective. Once to warm up, which counts for nothing, then at least bench->repeats and at most
 * LOB_BENCH_MOST times until bench->seconds are measured. Ranks begin each repetition together. */
bool lob_bench_repeat(const LobBench *bench, LobBenchTurn turn, void *user, LobBenchSeries *series,
                      GError **err);

/* Of each repetition's value `which`, times `scale`, over its value `against`. */
LobBenchRate lob_bench_paired(const LobBenchSeries *series, int which, int against, double scale);

/* The same for a single rate: a repetition is `run` once, or with several ranks as often as fills half a
 * second. *units it got through. */
typedef bool (*LobBenchRun)(void *user, double *units, GError **err);
/* Local: `run` as often as fills so many seconds: units a second, and processor time over wall time. */
bool lob_bench_pace(LobBenchRun run, void *user, double seconds, double *rate, double *share, GError **err);
bool lob_bench_measure(const LobBench *bench, LobBenchRun run, void *user, LobBenchRate *rate, GError **err);

/* ---- telling ---- */

typedef enum {
    LOB_BENCH_UNBOUND,   /* nothing to hold it against */
    LOB_BENCH_BOUND,     /* the machine itself does no more */
    LOB_BENCH_REFERENCE, /* something known to compare with, which may be passed */
    LOB_BENCH_BUDGET     /* what it may take: less is better */
} LobBenchKind;

typedef struct {
    const char *bench, *what, *unit;
    LobBenchRate rate;
    LobBenchKind kind;
    const char *ceiling_name;
    double ceiling;     /* in the same unit, of all ranks */
    LobBenchRate ratio; /* where each repetition had a ceiling of its own; rate 0: rate over ceiling */
    double gflops;      /* 0: unknown */
    json_t *more;       /* members for the line, or NULL; rank 0's count; borrowed */
} LobBenchResult;
/* Rank 0 prints, the others' calls do nothing. */
void lob_bench_report(const LobBench *bench, const LobBenchResult *result);
/* The lines as a page with plots. Local. */
bool lob_bench_page(const json_t *lines, const char *path, GError **err);

/* The most memory this process ever had is counted from here on, where the kernel does that. */
void lob_bench_forget_peak(void);
double lob_bench_peak_bytes(void); /* shared memory included; 0: not known */

/* ---- the machine's own speed, one thread a rank; collective ---- */

/* A product that bounds what networks reach: the best of a few large ones, as a layer of ViT-L over eight
 * tiles has them, by the encoders' own code; precision NULL: sgemm itself. *flops a second, of all ranks; or
 * NULL. */
typedef struct LobBenchBound LobBenchBound;
LobBenchBound *lob_bench_bound_new(const LobBench *bench, const char *precision, LobBenchRate *flops,
                                   GError **err);
/* Local: a turn's work, and *pace, this rank's flops a second of the product for `seconds` before it and
 * after: a shared machine's speed drifts by more than what is looked for. */
bool lob_bench_bound_turn(LobBenchBound *bound, double seconds, LobBenchTurn work, void *user, double *values,
                          double *pace, GError **err);
void lob_bench_bound_free(LobBenchBound *bound);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LobBenchBound, lob_bench_bound_free)

bool lob_bench_memory(const LobBench *bench, LobBenchRate *bytes, GError **err); /* read and written */

/* JPEGs in memory. */
typedef struct LobBenchJpegs LobBenchJpegs;
/* The JPEG tiles of a TIFF's full resolution (width x height px) that lie under squares of `side` px, as they
 * are in the file. NULL: it is no such file. */
LobBenchJpegs *lob_bench_jpegs_of(const char *path, int64_t width, int64_t height, int side,
                                  const int32_t (*xy)[2], size_t n);
/* One picture [side][side][3], compressed as slides usually are. */
LobBenchJpegs *lob_bench_jpegs_from(const uint8_t *rgb, int side, GError **err);
void lob_bench_jpegs_free(LobBenchJpegs *jpegs);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LobBenchJpegs, lob_bench_jpegs_free)
/* Decoding them alone: squares of `side` px a second. */
bool lob_bench_jpegs_measure(const LobBench *bench, LobBenchJpegs *jpegs, int side, LobBenchRate *rate,
                             GError **err);

/* ---- benches; collective ---- */

bool lob_bench_machine(const LobBench *bench, GError **err);
bool lob_bench_encoder(const LobBench *bench, GError **err);
bool lob_bench_read(const LobBench *bench, GError **err); /* lob_zygote_start came before */
bool lob_bench_store(const LobBench *bench, GError **err);
bool lob_bench_train(const LobBench *bench, GError **err);
bool lob_bench_schedule(const LobBench *bench, GError **err);
/* Rank 0 of a real farm, asked by all other ranks; needs several. */
bool lob_bench_farm(const LobBench *bench, GError **err);
bool lob_bench_stats(const LobBench *bench, GError **err);

#endif
