/* Capacity on paper: what a cohort takes with the large public encoders, or with the one that was measured.
 */
#include "encoder/encoder.h"
#include "hdf5io/hdf5io.h"
#include "jobs/simulate_internal.h"
#include "model/model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* gflop: two for each multiply-add of a 224 px tile; gib: fp32 weights. */
typedef struct {
    const char *preset, *name;
    double gflop, gib;
    int dim;
} Model;

static const Model models[] = {
    {"uni", "UNI (ViT-L/16)", 123, 1.12, 1024},
    {"h-optimus-1", "H-optimus-1 (ViT-g/14)", 592, 4.2, 1536},
};
static const char *const precisions[] = {"fp32", "bf16"};

/* ---- costs ---- */

typedef struct {
    const char *preset, *precision;
    LobTileCost cost;
    char *how; /* where its rate comes from */
    bool measured;
} Case;

/* From the bench file; without found it must have this encoder. */
static bool measured_cost(const LobSimulateOptions *o, Case *c, bool *found, GError **err) {
    LobMeasured how;
    if (!lob_capacity_measured(o->bench, c->preset, c->precision, o->machine.cores, o->all_cores, &c->cost,
                               &how, found, err))
        return false;
    c->measured = !found || *found;
    if (c->measured)
        c->how = how.slowdown > 1 ? g_strdup_printf("measured, %d of %d cores busy, x%.2f", how.ranks,
                                                    o->machine.cores, 1 / how.slowdown)
                                  : g_strdup_printf("measured, all %d cores busy", o->machine.cores);
    return true;
}

static bool trial_case(const LobSimulateOptions *o, const Model *model, bool bf16, Case *c, GError **err) {
    bool found = false;
    *c = (Case){.preset = model->preset, .precision = precisions[bf16]};
    c->cost =
        (LobTileCost){.seconds = model->gflop / (o->gflops_core * (bf16 ? o->bf16_factor : 1) * o->all_cores),
                      .spread = o->sim.spread,
                      .weights_gib = model->gib * (bf16 ? 0.5 : 1),
                      .rank_gib = LOB_RANK_GIB + LOB_WORKING_GIB,
                      .dim = model->dim};
    if (o->bench && !measured_cost(o, c, &found, err))
        return false;
    if (!found)
        c->how = g_strdup_printf("assumed, x%.2f", o->all_cores);
    return true;
}

/* Any encoder that the program knows; its values a tile are asked of it without loading it. */
static bool named_case(const LobSimulateOptions *o, Case *c, GError **err) {
    *c = (Case){.preset = o->encoder, .precision = o->precision ? o->precision : "fp32"};
    const LobEncoderOptions options = {.name = o->encoder,
                                       .precision = c->precision,
                                       .tile_size = 224,
                                       .mpp = 0.5,
                                       .batch = 1,
                                       .random_weights = strcmp(o->encoder, "texture") != 0,
                                       .describe = true};
    g_autoptr(LobEncoder) encoder = lob_encoder_open(&options, err);
    if (!encoder)
        return false;
    c->cost = (LobTileCost){.spread = o->sim.spread,
                            .rank_gib = LOB_RANK_GIB + LOB_WORKING_GIB,
                            .dim = lob_encoder_info(encoder)->dim};
    return measured_cost(o, c, NULL, err);
}

/* ---- embedding ---- */

static void print_need(const LobSimulateOptions *o, const Case *c, const LobNeed *n, double slides) {
    const double rate = 1 / c->cost.seconds;
    if (!o->json) {
        printf("%-12s %-5s %8.3f %6d %8.0f %7.3f %11.0f %8.1f %8.0f %7u %9.2f  %s\n", c->preset, c->precision,
               rate, n->ranks_node, n->node_gib, n->efficiency, n->node_hours, n->days, n->walltime_hours,
               n->slices, n->store_gib * (1 << 30) / 1e12, c->how);
        return;
    }
    LobSimulateOptions used = *o;
    used.sim.seconds_per_tile = c->cost.seconds;
    used.sim.spread = c->cost.spread;
    used.sim.node_ranks = n->ranks_node;
    used.sim.row_bytes = 2.0 * c->cost.dim + LOB_QUALITIES;
    used.weights_gib = c->cost.weights_gib;
    json_t *line = json_pack("{s:s, s:s, s:s, s:f, s:f, s:f, s:f, s:i, s:i, s:i, s:f, s:f, s:f}", "capacity",
                             c->preset, "precision", c->precision, "unit", "tiles/s/core", "rate", rate,
                             "node_hours", n->node_hours, "days", n->days, "walltime_hours",
                             n->walltime_hours, "nodes", o->machine.nodes, "ranks_a_node", n->ranks_node,
                             "slices", (int)n->slices, "efficiency", n->efficiency, "node_gigabytes",
                             n->node_gib, "features_tb", n->store_gib * (1 << 30) / 1e12);
    json_t *more =
        json_pack("{s:b, s:s, s:f, s:f, s:f, s:f, s:i, s:f, s:f, s:f, s:o}", "measured", c->measured,
                  "rate_from", c->how, "slides_tb", slides * o->gigabytes_slide / 1000, "plan_hours",
                  n->plan_hours, "up_hours", n->up_hours, "lost_to_failures", n->lost_to_failures, "failures",
                  (int)n->failures, "simulated_coarser", n->coarser, "weights_gib", c->cost.weights_gib,
                  "rank_gib", c->cost.rank_gib, "inputs", lob_simulate_options_json(&used));
    json_object_update(line, more);
    json_decref(more);
    json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    printf("\n");
    json_decref(line);
}

static bool embed(const LobSimulateOptions *o, const LobSizes *sizes, const Case *c, double *coarser,
                  GError **err) {
    LobNeed need;
    if (!lob_capacity_embed(&o->machine, &c->cost, &o->sim, sizes->tiles, sizes->centers, sizes->n, &need,
                            err))
        return false;
    print_need(o, c, &need, sizes->n);
    fflush(stdout);
    *coarser = fmax(*coarser, need.coarser);
    return true;
}

/* ---- validation ---- */

/* Slides dealt round the patients, or as many tiles each as was asked for. */
static uint64_t *patients_rows(const LobSimulateOptions *o, const LobSizes *sizes, size_t n) {
    uint64_t *rows = g_new0(uint64_t, n);
    for (uint32_t s = 0; s < sizes->n; s++)
        rows[s % n] += sizes->tiles[s];
    for (size_t p = 0; o->train.tiles > 0 && p < n; p++)
        rows[p] = (uint64_t)o->train.tiles;
    return rows;
}

static void print_training(const LobSimulateOptions *o, const LobTraining *t, const LobTrainingNeed *n,
                           const char *problem) {
    if (o->json) {
        json_t *line = json_pack("{s:s, s:i, s:I, s:i, s:i, s:i, s:i, s:f, s:f, s:f, s:s?}", "capacity",
                                 "validation", "dim", t->dim, "patients", (json_int_t)t->n_patients, "folds",
                                 t->folds, "seeds", t->seeds, "epochs", t->epochs, "nodes", o->machine.nodes,
                                 "gflops_core", t->gflops, "features_gib", n->features_gib,
                                 "node_gib_for_features", n->memory_gib, "problem", problem);
        json_t *more = json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:f, s:f, s:f}", "ranks",
                                 n->ranks, "groups", n->groups, "ranks_a_group", n->group_ranks, "models",
                                 n->tasks, "bundles", n->bundles, "busy_groups", n->busy_groups, "turns",
                                 n->turns, "group_speedup", n->speedup, "useful_cores", n->useful,
                                 "core_hours", n->core_hours, "hours", n->hours, "node_hours", n->node_hours);
        if (!problem)
            json_object_update(line, more);
        json_decref(more);
        json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
        printf("\n");
        json_decref(line);
    } else if (problem) {
        printf("validation, %d values: %s\n", t->dim, problem);
    } else {
        printf("validation, %d values: features %.0f GiB (a node has %.0f for them): %d groups of up to %d "
               "ranks, %d models in %d bundles, %d groups with work, %d turns; a group is %.1f times as fast "
               "as a rank, %.0f of %d cores are of use: %.0f core-hours, %.1f h, %.0f node-hours\n",
               t->dim, n->features_gib, n->memory_gib, n->groups, n->group_ranks, n->tasks, n->bundles,
               n->busy_groups, n->turns, n->speedup, n->useful, n->ranks, n->core_hours, n->hours,
               n->node_hours);
    }
}

/* The nodes being too few for the features is an answer, not a failure. */
static bool train(const LobSimulateOptions *o, const LobSizes *sizes, int dim, GError **err) {
    LobModelOptions model;
    LobTrainingNeed need;
    const size_t n = o->train.patients > 0 ? (size_t)o->train.patients : MAX(sizes->n / 3, 1);
    g_autofree uint64_t *rows = patients_rows(o, sizes, n);
    LobTraining t = {.rows = rows,
                     .n_patients = n,
                     .dim = o->train.dim > 0 ? o->train.dim : dim,
                     .folds = o->train.centers,
                     .seeds = o->train.seeds,
                     .endpoints = 1,
                     .groups = o->train.groups,
                     .gflops = o->train.gflops};
    bool measured;
    if (!lob_model_defaults_of("abmil", LOB_ENDPOINT_SURVIVAL, &model, err) ||
        (t.gflops == 0 && !lob_capacity_train_speed(o->bench, &t.gflops, &measured, err)))
        return false;
    t.epochs = o->train.epochs != 0 ? o->train.epochs : model.epochs;
    t.hidden = model.hidden;
    t.attention = model.attention;
    t.batch = model.batch;
    t.max_tiles = model.max_tiles;
    t.rounds = model.rounds;
    g_autoptr(GError) problem = NULL;
    if (!lob_capacity_train(&o->machine, &t, (uint64_t)o->seed, &need, &problem) && need.ranks == 0) {
        g_propagate_error(err, g_steal_pointer(&problem));
        return false;
    }
    print_training(o, &t, &need, problem ? problem->message : NULL);
    return true;
}

/* ---- the command ---- */

static void print_assumptions(const LobSimulateOptions *o, const LobSizes *sizes) {
    const LobMachine *m = &o->machine;
    fprintf(
        stderr,
        "Assumed: %.3g tiles of 224 px in %u slides (%s); %d nodes of %d cores and %.4g GiB; as many ranks a "
        "node as it has\ncores and memory for: the weights once, for each rank %.2f GiB beside the encoder's "
        "working memory (%.2f GiB where --bench\nlacks it). Rates and spreads of --bench where it has them, "
        "else %.0f GFLOP/s fp32 a core alone (measured for ViT-L on one\nAVX-512 core), %.1f times that in "
        "bf16 (a ratio of peaks; needs AVX512-BF16 or AMX and a kernel that uses it); rates that\nfewer "
        "ranks "
        "than cores measured, and assumed ones, times %.2f for busy neighbours. Efficiency: simulated. A "
        "slide's plan: %.3g s\nof a core. Failures: every %.0f h a node%s; slices of at most %.0f h, %.0f "
        "min "
        "between them; a walltime is a fifth above\nwhat is predicted. Store: float16 features, 9 bytes and "
        "%.0f percentages a tile. Slides themselves: %.1f TB at %.1f GB each.\nValidation: one survival "
        "endpoint, gated attention with the model's own sizes, %d centers left out in turn, %d seeds, the "
        "run's own\nseating of ranks on features held in memory. Queueing is not counted.\n",
        (double)sizes->total, sizes->n,
        o->plan ? (o->fit ? "drawn from the fit of --plan" : "of --plan") : "drawn, lognormal", m->nodes,
        m->cores, m->node_gib, LOB_RANK_GIB, LOB_WORKING_GIB, o->gflops_core, o->bf16_factor, o->all_cores,
        m->plan_seconds, o->node_mtbf_hours, o->mtbf_hours > 0 ? " and of the job as given" : "",
        m->walltime_seconds > 0 ? m->walltime_seconds / 3600 : 24.0, o->restart_minutes,
        lob_capacity_row_bytes(0) - 9, sizes->n * o->gigabytes_slide / 1000, o->gigabytes_slide,
        o->train.centers, o->train.seeds);
}

static bool check_numbers(const LobSimulateOptions *o, GError **err) {
    return (o->gflops_core > 0 && o->all_cores > 0 && o->bf16_factor > 0 && o->gigabytes_slide >= 0 &&
            o->train.patients >= 0 && o->train.tiles >= 0 && o->train.dim >= 0 && o->train.gflops >= 0 &&
            o->train.epochs >= 0 && o->train.centers >= 2) ||
           lob_fail(err, LOB_ERROR_INPUT,
                    "rates and shares must be above 0, numbers not negative, folds at least 2");
}

static bool all_trial_cases(const LobSimulateOptions *o, const LobSizes *sizes, double *coarser,
                            GError **err) {
    bool ok = true, any = false;
    for (size_t m = 0; ok && m < G_N_ELEMENTS(models); m++)
        for (int bf16 = 0; ok && bf16 < 2; bf16++) {
            Case c;
            ok = trial_case(o, &models[m], bf16, &c, err) && embed(o, sizes, &c, coarser, err);
            any = any || c.measured;
            g_free(c.how);
        }
    if (ok && o->bench && !any)
        lob_warning("%s has none of these encoders: their rates are the assumed ones", o->bench);
    for (size_t m = 0; ok && m < (o->train.dim > 0 ? 1 : G_N_ELEMENTS(models)); m++)
        ok = train(o, sizes, models[m].dim, err);
    return ok;
}

bool lob_simulate_capacity(const LobSimulateOptions *o, const LobSizes *sizes, GError **err) {
    double coarser = 1;
    if (!check_numbers(o, err))
        return false;
    print_assumptions(o, sizes);
    if (!o->json) {
        printf("%-12s %-5s %8s %6s %8s %7s %11s %8s %8s %7s %9s  %s\n", "encoder", "", "tiles/s", "ranks",
               "GiB", "effi-", "node-", "days", "walltime", "slices", "store", "rate");
        printf("%-12s %-5s %8s %6s %8s %7s %11s %8s %8s %7s %9s\n", "", "", "a core", "a node", "a node",
               "ciency", "hours", "", "h", "", "TB");
    }
    bool ok;
    if (o->encoder) {
        Case c;
        ok = named_case(o, &c, err) && embed(o, sizes, &c, &coarser, err) && train(o, sizes, c.cost.dim, err);
        g_free(c.how);
    } else {
        ok = all_trial_cases(o, sizes, &coarser, err);
    }
    if (ok && coarser > 1)
        fprintf(stderr,
                "Simulated with ranges up to %.0f times as large as a run's: the efficiency is a "
                "lower bound.\n",
                coarser);
    return ok;
}
