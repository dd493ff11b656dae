#include "jobs/check_cost.h"
#include "model/model.h"
#include "stats/stats.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Batches timed, while all of them take no longer than this. */
enum { BATCHES = 3 };
#define TIMING_SECONDS 10.0

/* ---- the machine ---- */

void lob_cost_defaults(LobCostAsk *ask) {
    *ask = (LobCostAsk){.machine = {.nodes = 1,
                                    .cores = (int)g_get_num_processors(),
                                    .node_gib = lob_proc_number("/proc/meminfo", "MemTotal") / 1048576,
                                    .plan_seconds = LOB_PLAN_SECONDS}};
}

bool lob_cost_check_machine(const LobMachine *m, GError **err) {
    return (m->nodes >= 1 && m->cores >= 1 && m->node_gib > 0 && !isinf(m->node_gib) &&
            (double)m->nodes * m->cores <= 1e7) ||
           lob_fail(err, LOB_ERROR_INPUT,
                    "--nodes, --cores and --node-gib must be above 0, and no more than 10 million cores are "
                    "planned with");
}

/* ---- the encoder ---- */

static bool from_bench(LobCost *cost, const LobEncoderInfo *encoder, GError **err) {
    LobMeasured how;
    if (!lob_capacity_measured(cost->ask.bench, encoder->name, encoder->precision, cost->ask.machine.cores,
                               LOB_ALL_CORES, &cost->cost, &how, NULL, err))
        return false;
    cost->how =
        g_strdup_printf("measured by %d ranks side by side%s", how.ranks,
                        how.slowdown > 1 ? ", slowed down for busy neighbours by an assumed factor" : "");
    return true;
}

static bool timed_here(LobCost *cost, const LobStudy *study, LobEncoder *encoder, GError **err) {
    const size_t pixels = (size_t)study->tiles.size * (size_t)study->tiles.size * 3;
    const size_t n = (size_t)study->encoder.batch;
    g_autofree uint8_t *rgb = g_malloc(n * pixels);
    g_autofree float *out = g_new(float, n *(size_t)lob_encoder_info(encoder)->dim);
    double seconds[BATCHES], all = 0;
    int timed = 0;
    LobRng rng;
    lob_rng_init(&rng, 1, "check");
    for (size_t i = 0; i < n * pixels; i++)
        rgb[i] = (uint8_t)(160 + lob_rng_below(&rng, 64));
    if (!lob_encoder_encode(encoder, rgb, 1, out, NULL, NULL, err))
        return false;
    do {
        const double start = lob_clock();
        if (!lob_encoder_encode(encoder, rgb, n, out, NULL, NULL, err))
            return false;
        seconds[timed] = lob_clock() - start;
        all += seconds[timed++];
    } while (timed < BATCHES && all * (timed + 1) / timed < TIMING_SECONDS);
    const double slower = lob_capacity_slowdown(1, cost->ask.machine.cores, LOB_ALL_CORES);
    cost->cost.seconds = slower * lob_quantile(seconds, (size_t)timed, 0.5) / (double)n;
    cost->how = g_strdup_printf(
        "%d batch%s timed on this machine%s; --bench takes what lobule bench measured", timed,
        timed > 1 ? "es" : "", slower > 1 ? ", slowed down for busy neighbours by an assumed factor" : "");
    return true;
}

bool lob_cost_of_encoder(LobCost *cost, const LobStudy *study, LobEncoder *encoder, GError **err) {
    const LobEncoderCost own = lob_encoder_cost(encoder);
    cost->embeds = true;
    cost->cost = (LobTileCost){
        .spread = lob_simulation_defaults.spread,
        .weights_gib = (double)own.weight_bytes / (1 << 30),
        .rank_gib =
            LOB_RANK_GIB + (own.working_bytes > 0 ? (double)own.working_bytes / (1 << 30) : LOB_WORKING_GIB),
        .dim = lob_encoder_info(encoder)->dim};
    return cost->ask.bench ? from_bench(cost, lob_encoder_info(encoder), err)
                           : timed_here(cost, study, encoder, err);
}

/* ---- embedding ---- */

void lob_cost_of_slides(LobCost *cost, const LobCohort *cohort, const double *tiles) {
    g_autofree uint32_t *sizes = g_new(uint32_t, cohort->n_slides),
                        *centers = g_new(uint32_t, cohort->n_slides);
    uint32_t n = 0;
    for (size_t s = 0; s < cohort->n_slides; s++) {
        cost->tiles += tiles[s];
        if (tiles[s] < 0.5)
            continue;
        sizes[n] = (uint32_t)CLAMP(tiles[s] + 0.5, 1, 4e9);
        centers[n++] = cohort->patients[cohort->slides[s].patient].center;
    }
    LobSimulation base = lob_simulation_defaults;
    base.node_mtbf_seconds = 3600 * LOB_NODE_MTBF_HOURS;
    if (cohort->study->site.lease_seconds > 0)
        base.sched.range_seconds = cohort->study->site.lease_seconds;
    base.sched.batch = (uint32_t)cohort->study->encoder.batch;
    g_autoptr(GError) problem = NULL;
    if (n == 0)
        cost->problem = g_strdup("no slide gives any tile");
    else if (!lob_capacity_embed(&cost->ask.machine, &cost->cost, &base, sizes, centers, n, &cost->need,
                                 &problem))
        cost->problem = g_strdup(problem->message);
}

/* ---- validation ---- */

bool lob_cost_of_training(LobCost *cost, const LobCohort *cohort, const uint64_t *rows, int dim,
                          GError **err) {
    const LobStudy *study = cohort->study;
    const char *kind = study->model.kind;
    if (study->n_endpoints == 0 || strcmp(kind, "clinical") == 0)
        return true;
    LobModelOptions model;
    g_autoptr(LobFolds) folds = lob_folds_make(cohort, err);
    if (!folds || !lob_model_options_from_study(&model, study, kind, study->endpoints[0].kind,
                                                study->validation.seed, err))
        return false;
    cost->training = (LobTraining){.rows = rows,
                                   .n_patients = cohort->n_patients,
                                   .dim = dim,
                                   .folds = folds->folds,
                                   .seeds = study->validation.seeds,
                                   .endpoints = (int)study->n_endpoints * folds->repeats,
                                   .comparators = study->n_covariates > 0,
                                   .epochs = model.epochs,
                                   .hidden = model.hidden,
                                   .attention = model.attention,
                                   .batch = model.batch,
                                   .max_tiles = model.max_tiles,
                                   .rounds = model.rounds,
                                   .groups = study->site.groups,
                                   .memory_gib = study->site.memory_gib,
                                   .streams = study->site.stream != NULL};
    if (!lob_capacity_train_speed(cost->ask.bench, &cost->training.gflops, &cost->gflops_measured, err))
        return false;
    cost->trains = true;
    g_autoptr(GError) problem = NULL;
    if (strcmp(kind, "abmil") != 0 && strcmp(kind, "clam") != 0)
        cost->training_problem = g_strdup_printf("the time of model.kind %s is not predicted", kind);
    else if (!lob_capacity_train(&cost->ask.machine, &cost->training, 1, &cost->training_need, &problem))
        cost->training_problem = g_strdup(problem->message);
    cost->training.rows = NULL; /* borrowed for as long as the call */
    return true;
}

/* ---- telling ---- */

static void print_training(const LobCost *cost, FILE *to) {
    const LobTrainingNeed *n = &cost->training_need;
    if (cost->training_problem) {
        fprintf(to, "  validation  %s\n", cost->training_problem);
        return;
    }
    fprintf(
        to,
        "  validation  %.3f GiB of features (a node has %.3g GiB for them), %d groups of up to %d ranks, "
        "%d models in %d bundles: %.0f of %d cores have work; %.2f core-hours, %.2f h (%.3g GFLOP/s a core, "
        "%s)\n",
        n->features_gib, n->memory_gib, n->groups, n->group_ranks, n->tasks, n->bundles, n->useful, n->ranks,
        n->core_hours, n->hours, cost->training.gflops,
        cost->gflops_measured ? "measured by bench train" : "assumed; --bench takes that of bench train");
}

void lob_cost_print(const LobCost *cost, FILE *to) {
    const LobMachine *m = &cost->ask.machine;
    const LobNeed *n = &cost->need;
    if (!cost->embeds && !cost->trains)
        return;
    if (cost->embeds) {
        fprintf(to, "  core-hours  %.2f (%.1f ms a tile: %s)\n", cost->tiles * cost->cost.seconds / 3600,
                1e3 * cost->cost.seconds, cost->how);
        fprintf(to, "  store       %.3f GiB\n",
                cost->tiles * lob_capacity_row_bytes(cost->cost.dim) / (1 << 30));
    }
    fprintf(to, "on %d node%s of %d cores and %.4g GiB (--nodes, --cores, --node-gib)\n", m->nodes,
            m->nodes > 1 ? "s" : "", m->cores, m->node_gib);
    if (cost->embeds && cost->problem)
        fprintf(to, "  embedding   %s\n", cost->problem);
    else if (cost->embeds)
        fprintf(to,
                "  embedding   %d ranks a node (%.3g GiB of it), efficiency %.3f as simulated: %.2f "
                "node-hours, %.2f h\n  walltime    %.0f h to ask for, %u time%s (planning, failures and a "
                "margin of a fifth counted; queueing is not)\n",
                n->ranks_node, n->node_gib, n->efficiency, n->node_hours, n->up_hours, n->walltime_hours,
                n->slices, n->slices > 1 ? "s" : "");
    if (cost->trains)
        print_training(cost, to);
}

static json_t *training_json(const LobCost *cost) {
    const LobTrainingNeed *n = &cost->training_need;
    if (cost->training_problem)
        return json_pack("{s:s}", "problem", cost->training_problem);
    return json_pack("{s:f, s:f, s:i, s:i, s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:b}", "features_gib",
                     n->features_gib, "node_gib_for_features", n->memory_gib, "groups", n->groups,
                     "ranks_a_group", n->group_ranks, "models", n->tasks, "bundles", n->bundles,
                     "useful_cores", n->useful, "core_hours", n->core_hours, "hours", n->hours, "node_hours",
                     n->node_hours, "gflops_core", cost->training.gflops, "gflops_measured",
                     cost->gflops_measured);
}

void lob_cost_json(const LobCost *cost, json_t *root) {
    const LobMachine *m = &cost->ask.machine;
    const LobNeed *n = &cost->need;
    json_object_set_new(root, "machine",
                        json_pack("{s:i, s:i, s:f, s:s?}", "nodes", m->nodes, "cores", m->cores, "node_gib",
                                  m->node_gib, "bench", cost->ask.bench));
    if (cost->embeds && cost->problem)
        json_object_set_new(root, "embedding", json_pack("{s:s}", "problem", cost->problem));
    else if (cost->embeds)
        json_object_set_new(root, "embedding",
                            json_pack("{s:f, s:f, s:s, s:i, s:f, s:f, s:f, s:f, s:f, s:i}", "seconds_a_tile",
                                      cost->cost.seconds, "spread", cost->cost.spread, "seconds_from",
                                      cost->how, "ranks_a_node", n->ranks_node, "node_gib", n->node_gib,
                                      "efficiency", n->efficiency, "node_hours", n->node_hours, "hours",
                                      n->up_hours, "walltime_hours", n->walltime_hours, "slices",
                                      (int)n->slices));
    if (cost->trains)
        json_object_set_new(root, "validation", training_json(cost));
}

void lob_cost_clear(LobCost *cost) {
    g_free(cost->how);
    g_free(cost->problem);
    g_free(cost->training_problem);
}
