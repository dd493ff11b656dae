#include "jobs/capacity.h"
#include "hdf5io/hdf5io.h"
#include "jobs/bench_lines.h"

#include <math.h>

/* So many ranges are simulated at most: a cohort of 3e8 tiles has 2e7 of them, which would take minutes. */
#define MOST_RANGES 500000.0
#define DEFAULT_WALLTIME_SECONDS (24 * 3600.0)
/* A job asks for so much more than is predicted, in whole hours. */
#define WALLTIME_MARGIN 1.2

double lob_capacity_slowdown(int measured_ranks, int cores, double all_cores) {
    return measured_ranks < cores ? 1 / all_cores : 1;
}

bool lob_capacity_measured(const char *bench, const char *encoder, const char *precision, int cores,
                           double all_cores, LobTileCost *cost, LobMeasured *how, bool *found, GError **err) {
    LobBenchEncoderLine line;
    bool has;
    if (!lob_bench_lines_encoder(bench, encoder, precision, &line, &has, err))
        return false;
    if (found)
        *found = has;
    if (!has)
        return found || lob_fail(err, LOB_ERROR_INPUT,
                                 "%s: no result of encoder %s in %s; lobule bench encoder %s --precision %s "
                                 "measures it",
                                 bench, encoder, precision, encoder, precision);
    *how = (LobMeasured){line.ranks, lob_capacity_slowdown(line.ranks, cores, all_cores)};
    cost->seconds = how->slowdown / line.rate;
    if (line.spread >= 0)
        cost->spread = line.spread;
    if (line.weights_mib > 0)
        cost->weights_gib = line.weights_mib / 1024;
    if (line.working_mib > 0)
        cost->rank_gib = LOB_RANK_GIB + line.working_mib / 1024;
    return true;
}

bool lob_capacity_train_speed(const char *bench, double *gflops, bool *measured, GError **err) {
    *gflops = 0;
    if (bench && !lob_bench_lines_train(bench, gflops, err))
        return false;
    *measured = *gflops > 0;
    if (!*measured)
        *gflops = LOB_TRAIN_GFLOPS;
    return true;
}

double lob_capacity_row_bytes(int dim) {
    return 2.0 * dim + 2 * sizeof(int32_t) + 1 + LOB_QUALITIES;
}

static bool seat_ranks(const LobMachine *m, const LobTileCost *cost, LobNeed *need, GError **err) {
    const double fit = floor((m->node_gib - cost->weights_gib) / cost->rank_gib);
    if (fit < 1)
        return lob_fail(err, LOB_ERROR_INPUT,
                        "a node of %.3g GiB holds no rank: the weights take %.3g GiB and a rank %.3g beside "
                        "them; expected nodes with more memory (--node-gib)",
                        m->node_gib, cost->weights_gib, cost->rank_gib);
    need->ranks_node = (int)fmin(fit, m->cores);
    need->ranks = need->ranks_node * m->nodes;
    need->node_gib = cost->weights_gib + need->ranks_node * cost->rank_gib;
    return true;
}

/* Ranges of the wanted work, larger where there would be too many of them. */
static double coarsen(LobSimulation *sim) {
    const double wanted = fmax(sim->sched.range_seconds / sim->seconds_per_tile, sim->sched.batch);
    const double range = fmin(wanted, sim->sched.max_tiles);
    double ranges = 0;
    for (uint32_t s = 0; s < sim->n_slides; s++)
        ranges += ceil(sim->tiles[s] / range);
    const double coarser = fmax(1, ceil(ranges / MOST_RANGES));
    sim->sched.batch = (uint32_t)(sim->sched.batch * coarser);
    sim->sched.max_tiles = (uint32_t)(sim->sched.max_tiles * coarser);
    sim->sched.range_seconds *= coarser;
    sim->sched.min_lease_seconds *= coarser;
    sim->write_seconds *= coarser;
    return coarser;
}

static double whole_hours(double seconds, double most) {
    return fmin(fmax(ceil(WALLTIME_MARGIN * seconds / 3600), 1), most / 3600);
}

bool lob_capacity_embed(const LobMachine *machine, const LobTileCost *cost, const LobSimulation *base,
                        const uint32_t *tiles, const uint32_t *centers, uint32_t n_slides, LobNeed *need,
                        GError **err) {
    LobSimulation sim = *base;
    LobSimulated r;
    *need = (LobNeed){0};
    if (machine->nodes < 1 || machine->cores < 1 || !(machine->node_gib > 0) ||
        !(machine->plan_seconds >= 0) || !(cost->seconds > 0) || !(cost->rank_gib > 0) ||
        (double)machine->nodes * machine->cores > 1e7)
        return lob_fail(err, LOB_ERROR_INPUT,
                        "nodes, cores, memory and seconds of a tile must be above 0, the seconds of a plan "
                        "not negative, and no more than 10 million cores are planned with");
    if (!seat_ranks(machine, cost, need, err))
        return false;
    const double most = machine->walltime_seconds > 0 ? machine->walltime_seconds : DEFAULT_WALLTIME_SECONDS;
    sim.ranks = need->ranks;
    sim.node_ranks = need->ranks_node;
    sim.tiles = tiles;
    sim.centers = centers;
    sim.n_slides = n_slides;
    sim.seconds_per_tile = cost->seconds;
    sim.spread = cost->spread;
    sim.walltime_seconds = most;
    sim.row_bytes = 2.0 * cost->dim + LOB_QUALITIES;
    sim.weight_bytes = cost->weights_gib * (1 << 30);
    need->coarser = coarsen(&sim);
    if (!lob_simulate(&sim, &r, err))
        return false;
    const double plan = ceil((double)n_slides / need->ranks) * machine->plan_seconds;
    need->efficiency = r.ideal / (r.makespan - r.down);
    need->plan_hours = plan / 3600;
    need->up_hours = (plan + r.makespan - r.down) / 3600;
    need->node_hours = need->up_hours * machine->nodes;
    need->days = (plan + r.makespan) / 86400;
    need->slices = r.slices;
    need->failures = r.failures;
    need->lost_to_failures = r.lost_to_failures / (r.makespan * r.workers);
    need->walltime_hours = whole_hours(plan + r.makespan - r.down, most);
    need->store_gib = (double)r.tiles * lob_capacity_row_bytes(cost->dim) / (1 << 30);
    return true;
}
