/* What a simulation is given: its defaults, what makes no sense, sizes of slides. */
#include "mpi/farm_rules.h"
#include "mpi/simulate_internal.h"

#include <math.h>

const LobSimulation lob_simulation_defaults = {.ranks = 1,
                                               .rank0_works_up_to = LOB_RANK0_WORKS_UP_TO,
                                               .seed = 1,
                                               .seconds_per_tile = 1.4,
                                               .spread = 0.1,
                                               .open_seconds = 0.1,
                                               .write_seconds = 0.02,
                                               .straggler_factor = 1,
                                               .node_ranks = 128,
                                               .latency = 1e-4,
                                               .message_seconds = 13e-6,
                                               .sync_seconds = 5e-3,
                                               .serve_seconds = 1,
                                               .bytes_per_tile = 20e3,
                                               .row_bytes = 2052,
                                               .weight_bytes = 1.2e9,
                                               .restart_seconds = 600,
                                               .sched = {.batch = 16,
                                                         .range_seconds = 20,
                                                         .lease_factor = 5,
                                                         .min_lease_seconds = 120,
                                                         .max_tiles = 2048,
                                                         .workers = 1}};

bool lob_simulate_check(const LobSimulation *o, GError **err) {
    const struct {
        const char *name;
        double value;
    } amounts[] = {
        {"the spread", o->spread},
        {"the seconds of opening a slide", o->open_seconds},
        {"the seconds of writing a range", o->write_seconds},
        {"the latency", o->latency},
        {"the seconds of a message", o->message_seconds},
        {"the seconds of a record", o->record_seconds},
        {"the seconds of a sync", o->sync_seconds},
        {"the seconds between looks at messages", o->serve_seconds},
        {"the bandwidth", o->bandwidth},
        {"the bytes read for a tile", o->bytes_per_tile},
        {"the bytes written for a tile", o->row_bytes},
        {"the bytes of the weights", o->weight_bytes},
        {"the job's time between failures", o->mtbf_seconds},
        {"a node's time between failures", o->node_mtbf_seconds},
        {"the walltime", o->walltime_seconds},
        {"the time of a restart", o->restart_seconds},
        {"the share of stragglers", o->straggler_share},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(amounts); i++)
        if (!(amounts[i].value >= 0) || isinf(amounts[i].value))
            return lob_fail(err, LOB_ERROR_INPUT, "%s cannot be %g: expected a number of at least 0",
                            amounts[i].name, amounts[i].value);
    if (o->ranks < 1 || o->n_slides < 1 || o->node_ranks < 1 || o->rank0_works_up_to < 1)
        return lob_fail(err, LOB_ERROR_INPUT,
                        "ranks, slides, ranks a node and ranks up to which rank 0 works must be at least 1");
    if (!(o->seconds_per_tile > 0) || isinf(o->seconds_per_tile) || !(o->sched.range_seconds > 0) ||
        isinf(o->sched.range_seconds))
        return lob_fail(err, LOB_ERROR_INPUT,
                        "the seconds of a tile and the work in a range must be above 0");
    if (o->straggler_share > 1 || !(o->straggler_factor >= 1) || isinf(o->straggler_factor))
        return lob_fail(err, LOB_ERROR_INPUT,
                        "the share of stragglers must be within 0..1, their factor at least 1");
    return true;
}

uint32_t *lob_simulate_tiles(uint32_t n_slides, double median, double sigma, uint64_t seed) {
    uint32_t *tiles = g_new(uint32_t, n_slides);
    LobRng rng;
    lob_rng_init(&rng, seed, "simulate/tiles");
    for (uint32_t s = 0; s < n_slides; s++)
        tiles[s] = (uint32_t)CLAMP(median * exp(sigma * lob_rng_normal(&rng)), 1, 1e9);
    return tiles;
}

void lob_simulate_fit(const uint32_t *tiles, uint32_t n_slides, double *median, double *sigma) {
    double sum = 0, squares = 0;
    for (uint32_t s = 0; s < n_slides; s++)
        sum += log(tiles[s]);
    const double mean = sum / n_slides;
    for (uint32_t s = 0; s < n_slides; s++)
        squares += (log(tiles[s]) - mean) * (log(tiles[s]) - mean);
    *median = exp(mean);
    *sigma = n_slides > 1 ? sqrt(squares / (n_slides - 1)) : 0;
}
