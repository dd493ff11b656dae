/* Only jobs/bench*.c include this. */
#ifndef LOB_JOBS_BENCH_INTERNAL_H
#define LOB_JOBS_BENCH_INTERNAL_H

#include "mpi/mpi_jobs.h"

#include <jansson.h>

typedef struct {
    double rate, lower, upper; /* median and 95 % confidence interval of the median */
    double spread;             /* (upper quartile - lower quartile) / median */
    int repeats;
    double
        cpu; /* processor time over wall time while measuring (0: not known): below 1, others had the core */
} LobBenchRate;

/* One repetition; *units it got through. */
typedef bool (*LobBenchRun)(void *user, double *units, GError **err);

typedef struct {
    const LobWorld *world;
    double seconds;    /* wanted for each measurement */
    GString *page;     /* rows of the page's table, or NULL */
    const char *dir;   /* where files are written */
    const char *slide; /* or NULL */
    const char *encoder, *precision;
    int batch;
    int repeats; /* least number; 0: as many as bound a median with 95 % */
    struct {
        int bags, tiles, dim, centers, seeds, hidden, attention, epochs;
    } train;
} LobBench;

/* Collective. Once to warm up, then at least bench->repeats and at most 50 times until `seconds` are
 * measured; six are the fewest that bound a median with 95 %. Ranks begin each repetition together. */
bool lob_bench_measure(const LobBench *bench, LobBenchRun run, void *user, LobBenchRate *rate, GError **err);

/* From n rates, which are sorted. */
LobBenchRate lob_bench_summary(double *rates, int n);

typedef struct {
    const char *bench, *what, *unit;
    LobBenchRate rate;
    const char *ceiling_name; /* what the machine itself does, in the same unit */
    double ceiling;           /* 0: none */
    double gflops;            /* 0: unknown */
    json_t *more;             /* members for the line, or NULL; rank 0's count; borrowed */
} LobBenchResult;
/* Collective: rates and ceilings of all ranks are summed; rank 0 prints. */
void lob_bench_report(const LobBench *bench, const LobBenchResult *result);

/* The machine's own speed, one thread. */
bool lob_bench_sgemm(const LobBench *bench, double *flops, GError **err);  /* a second */
bool lob_bench_memory(const LobBench *bench, double *bytes, GError **err); /* read and written, a second */
bool lob_bench_jpeg(const LobBench *bench, const uint8_t *rgb, int size, double *tiles, GError **err);

bool lob_bench_encoder(const LobBench *bench, GError **err);
bool lob_bench_read(const LobBench *bench, GError **err);
bool lob_bench_store(const LobBench *bench, GError **err);
bool lob_bench_train(const LobBench *bench, GError **err);
bool lob_bench_schedule(const LobBench *bench, GError **err);
/* Rank 0 of a real farm, asked by all other ranks; needs several. */
bool lob_bench_farm(const LobBench *bench, GError **err);
bool lob_bench_stats(const LobBench *bench, GError **err);

#endif
