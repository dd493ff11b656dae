/* What lobule bench wrote, read back: the JSON lines that check and simulate take for their --bench. */
#ifndef LOB_JOBS_BENCH_LINES_H
#define LOB_JOBS_BENCH_LINES_H

#include "base/base.h"

typedef struct {
    double rate;   /* tiles a second of one rank, beside its neighbours */
    double spread; /* standard deviation over mean of its repetitions, from their quartiles; negative: not
                    told */
    double weights_mib;  /* once a node; 0: not told */
    double working_mib;  /* of a rank; 0: not told */
    double gflop_a_tile; /* 0: not told */
    int ranks;           /* that measured side by side */
} LobBenchEncoderLine;

/* The last line of `bench encoder` for this encoder and precision. *found is false where there is none. INPUT
 * error: the file cannot be read, a line is no JSON object or such a line lacks a rate. */
bool lob_bench_lines_encoder(const char *path, const char *encoder, const char *precision,
                             LobBenchEncoderLine *line, bool *found, GError **err);
/* GFLOP/s of one rank, from the last line of `bench train` that has them; 0 where there is none. */
bool lob_bench_lines_train(const char *path, double *gflops, GError **err);

#endif
