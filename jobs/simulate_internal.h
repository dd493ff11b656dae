/* Only jobs/simulate*.c include this. */
#ifndef LOB_JOBS_SIMULATE_INTERNAL_H
#define LOB_JOBS_SIMULATE_INTERNAL_H

#include "mpi/simulate.h"

typedef struct {
    int ranks;
    LobSimulated dynamic, fixed;
    bool has_fixed;
} LobSimulatedPoint;

/* Speed-up over one rank against the ideal line, both axes logarithmic. */
bool lob_simulate_write_svg(const char *path, const LobSimulatedPoint *points, size_t n, GError **err);

typedef struct {
    double tiles, slides;
    int cores, nodes;        /* cores a node; nodes of the job */
    double gflops_core;      /* fp32, one core alone */
    double bf16_factor;      /* bf16 over fp32 */
    double all_cores;        /* speed of a core when all are busy over alone */
    double efficiency;       /* of the job, as simulated */
    double gigabytes_slide;  /* mean slide file */
    double walltime_seconds; /* a slice; 0: 24 h */
    const char *bench;       /* JSON lines of lobule bench encoder, or NULL */
    bool json;
} LobCapacity;
/* Prints node-hours, days and TB for the encoders a trial would take, with what was assumed. */
bool lob_simulate_capacity(const LobCapacity *capacity, GError **err);

#endif
