/* Only jobs/simulate*.c include this. */
#ifndef LOB_JOBS_SIMULATE_INTERNAL_H
#define LOB_JOBS_SIMULATE_INTERNAL_H

#include "jobs/capacity.h"

#include <jansson.h>

typedef struct {
    uint32_t *tiles, *centers, n; /* [n]; centers NULL: one */
    uint64_t total;
    double median, sigma; /* that they were drawn with, or that fit them */
} LobSizes;

/* What the command line says; defaults where it does not. */
typedef struct {
    LobSimulation sim;
    LobMachine machine;
    char *ranks, *plan, *svg, *bench, *encoder, *precision;
    int slides;
    gint64 seed;
    double median, sigma, mtbf_hours, node_mtbf_hours, restart_minutes, walltime_hours, gigabytes_second,
        weights_gib, gigabytes_slide;
    gboolean fixed, json, fit, wants_capacity;
    double gflops_core, bf16_factor, all_cores; /* assumptions about cores */
    struct {
        int patients, centers, seeds, epochs, groups, dim;
        double gflops, tiles; /* tiles of a patient; 0: as the slides have */
    } train;
} LobSimulateOptions;

/* Options that do not go together, or would have no effect. argv as it was given. */
bool lob_simulate_options_agree(char *const *argv, GError **err);
/* All that decides a result. New reference. */
json_t *lob_simulate_options_json(const LobSimulateOptions *options);

/* Sizes as the options want them: of a run's slides that are done, drawn, or drawn as those are distributed.
 */
bool lob_simulate_sizes(const LobSimulateOptions *options, LobSizes *sizes, GError **err);
void lob_simulate_sizes_clear(LobSizes *sizes);
/* CPU seconds that writing out a journal record takes here. */
bool lob_simulate_record_cost(double *seconds, GError **err);

typedef struct {
    int ranks;
    LobSimulated dynamic, fixed;
    bool has_fixed;
} LobSimulatedPoint;

/* Speed-up over one rank against the ideal line, both axes logarithmic. */
bool lob_simulate_write_svg(const char *path, const LobSimulatedPoint *points, size_t n, GError **err);

/* Prints what embedding takes with the encoders of a trial (or the one that is named), and what validation
 * takes, with what was assumed. */
bool lob_simulate_capacity(const LobSimulateOptions *options, const LobSizes *sizes, GError **err);

#endif
