/* Validation on paper: who would sit where, and how much of the machine would have work. */
#include "jobs/capacity.h"
#include "model/sweep.h"
#include "mpi/validate.h"

#include <math.h>

/* Mini-batches drawn to find how unevenly their patients lie on the ranks of a group. */
#define DRAWS 2000

static double tiles_seen(const LobTraining *t, size_t p) {
    return t->max_tiles > 0 ? fmin((double)t->rows[p], t->max_tiles) : (double)t->rows[p];
}

/* How much faster a group is than one of its ranks: each works on the patients of a mini-batch that it holds,
 * and the step ends with the slowest. */
static double group_speedup(const LobTraining *t, int size, uint64_t seed) {
    g_autofree uint32_t *owner = g_new(uint32_t, t->n_patients);
    g_autofree double *load = g_new(double, (size_t)size);
    double all = 0, slowest = 0;
    LobRng rng;
    lob_rng_init(&rng, seed, "capacity/batches");
    lob_seats_share_out(t->rows, t->n_patients, size, owner);
    for (int draw = 0; draw < DRAWS; draw++) {
        double most = 0;
        for (int r = 0; r < size; r++)
            load[r] = 0;
        for (int b = 0; b < t->batch; b++) {
            const size_t p = (size_t)lob_rng_below(&rng, (uint32_t)t->n_patients);
            load[owner[p]] += tiles_seen(t, p);
            all += tiles_seen(t, p);
            most = fmax(most, load[owner[p]]);
        }
        slowest += most;
    }
    return slowest > 0 ? all / slowest : 1;
}

/* Ranks placed node after node, as a launcher does, each with a core. */
static LobLayout layout_of(const LobMachine *m, double gib) {
    const int n = m->nodes * m->cores;
    LobLayout layout = {.n_ranks = n,
                        .n_nodes = m->nodes,
                        .node = g_new(int, (size_t)n),
                        .local = g_new(int, (size_t)n),
                        .memory = gib * (1 << 30)};
    for (int r = 0; r < n; r++) {
        layout.node[r] = r / m->cores;
        layout.local[r] = r % m->cores;
    }
    return layout;
}

/* The first and the last node, between which the others' shares lie. */
static bool fits(const LobLayout *layout, const LobSeat *seats, const LobTraining *t, GError **err) {
    g_autofree uint8_t *wanted = g_new(uint8_t, t->n_patients);
    return lob_seats_fit(layout, seats, t->rows, t->n_patients, (size_t)t->dim, t->streams, 0, wanted, err) &&
           lob_seats_fit(layout, seats, t->rows, t->n_patients, (size_t)t->dim, t->streams,
                         layout->n_nodes - 1, wanted, err);
}

static bool seat(const LobMachine *m, const LobTraining *t, LobTrainingNeed *need, GError **err) {
    LobLayout layout = layout_of(m, need->memory_gib);
    g_autofree LobSeat *seats = g_new0(LobSeat, (size_t)layout.n_ranks);
    const double bytes = t->streams ? 0 : need->features_gib * (1 << 30);
    const bool ok = lob_seats_assign(&layout, t->groups, bytes, seats, &need->groups, err) &&
                    fits(&layout, seats, t, err);
    need->ranks = layout.n_ranks;
    for (int r = 0; ok && r < layout.n_ranks; r++)
        need->group_ranks = MAX(need->group_ranks, seats[r].size);
    lob_layout_clear(&layout);
    return ok;
}

/* A round leaves out its share of the centers; then all are trained on. */
static double passes(const LobTraining *t) {
    return t->rounds > 0 ? t->rounds * (1 - 1.0 / t->rounds) + 1 : 1;
}

bool lob_capacity_train(const LobMachine *machine, const LobTraining *t, uint64_t seed, LobTrainingNeed *need,
                        GError **err) {
    double rows = 0, seen = 0;
    *need = (LobTrainingNeed){0};
    if (t->n_patients < 1 || t->dim < 1 || t->folds < 1 || t->seeds < 1 || t->endpoints < 1 ||
        t->epochs < 1 || t->batch < 1 || !(t->gflops > 0) || t->groups < 0 || !(t->memory_gib >= 0))
        return lob_fail(err, LOB_ERROR_INPUT,
                        "patients, folds, seeds, epochs and the speed of training must be above 0");
    for (size_t p = 0; p < t->n_patients; p++) {
        rows += (double)t->rows[p];
        seen += tiles_seen(t, p);
    }
    need->features_gib = rows * t->dim * 2 / (1 << 30);
    need->memory_gib = t->memory_gib > 0 ? t->memory_gib : 0.8 * machine->node_gib;
    if (!seat(machine, t, need, err))
        return false;
    need->tasks = t->endpoints * t->folds * t->seeds;
    const size_t all = (size_t)need->tasks * (size_t)(1 + t->comparators);
    need->width = (int)lob_bundle_width(all, (size_t)t->seeds, need->groups);
    need->bundles = need->tasks / need->width;
    need->busy_groups = MIN(need->bundles, need->groups);
    need->turns = (need->bundles + need->groups - 1) / need->groups;
    need->speedup = need->group_ranks > 1 ? group_speedup(t, need->group_ranks, seed) : 1;
    need->useful = need->busy_groups * need->speedup;
    const double flop = need->tasks * passes(t) * (t->folds - 1) / t->folds * t->epochs * seen *
                        lob_sweep_flops_a_tile(t->dim, t->hidden, t->attention);
    need->core_hours = flop / (1e9 * t->gflops) / 3600;
    need->hours = need->core_hours / need->bundles * need->turns / need->speedup;
    need->node_hours = need->hours * machine->nodes;
    return true;
}
