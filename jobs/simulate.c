/* lobule simulate: the real scheduler, virtual ranks. No MPI. */
#include "jobs/jobs.h"
#include "jobs/simulate_internal.h"

#include <math.h>
#include <stdio.h>

typedef LobSimulateOptions Options;

#define NUMBER(name, place, text, what)                                                                      \
    { name, 0, 0, G_OPTION_ARG_DOUBLE, place, text, what }

static bool parse(Options *o, int *argc, char ***argv, GError **err) {
    LobSimulation *s = &o->sim;
    const GOptionEntry entries[] = {
        {"ranks", 0, 0, G_OPTION_ARG_STRING, &o->ranks, "Numbers of ranks (default 1,10,100,1000,10000)",
         "N,N,..."},
        {"plan", 0, 0, G_OPTION_ARG_FILENAME, &o->plan, "Sizes from OUT/slides.csv of a real run", "OUT"},
        {"slides", 0, 0, G_OPTION_ARG_INT, &o->slides, "Else drawn: how many (default 30000)", "N"},
        NUMBER("tiles-median", &o->median, "Median tiles a slide (default 8000, an assumption)", "M"),
        NUMBER("tiles-sigma", &o->sigma, "Sigma of their logarithm (default 0.8, an assumption)", "S"),
        {"fit", 0, 0, G_OPTION_ARG_NONE, &o->fit,
         "Draw --slides sizes from the lognormal that fits those of --plan", NULL},
        NUMBER("seconds-per-tile", &s->seconds_per_tile, "On one core (default 1.4: ViT-L, fp32)", "X"),
        NUMBER("spread", &s->spread, "Coefficient of variation of a range's time (default 0.1)", "CV"),
        NUMBER("open-seconds", &s->open_seconds, "Turning to another slide (default 0.1)", "X"),
        NUMBER("write-seconds", &s->write_seconds, "Writing a range (default 0.02)", "X"),
        NUMBER("range-seconds", &s->sched.range_seconds, "Work in a range (default 20, as in a real run)",
               "X"),
        NUMBER("latency", &s->latency, "Seconds a message travels (default 1e-4)", "X"),
        NUMBER("message-seconds", &s->message_seconds, "Rank 0's cost of a message (default 1.3e-5: TCP)",
               "X"),
        NUMBER("record-seconds", &s->record_seconds,
               "Rank 0's cost of a journal record (default: measured here)", "X"),
        NUMBER("sync-seconds", &s->sync_seconds, "Making the journal durable (default 5e-3)", "X"),
        NUMBER("serve-seconds", &s->serve_seconds,
               "While rank 0 computes it answers this often (default 1: a layer of ViT-L)", "X"),
        {"rank0-works-up-to", 0, 0, G_OPTION_ARG_INT, &s->rank0_works_up_to,
         "With more ranks rank 0 only deals (default: as in a real run)", "N"},
        {"node-ranks", 0, 0, G_OPTION_ARG_INT, &s->node_ranks, "Ranks a node (default 128)", "N"},
        NUMBER("fs-bandwidth", &o->gigabytes_second, "GB/s shared by all ranks (default: no limit)", "X"),
        NUMBER("bytes-per-tile", &s->bytes_per_tile, "Read from it (default 20000)", "B"),
        NUMBER("row-bytes", &s->row_bytes, "Written to it for a tile (default 2052: 1,024 halves)", "B"),
        NUMBER("weights-gib", &o->weights_gib, "That each node reads from it at a start (default 1.1)",
               "GIB"),
        NUMBER("straggler-share", &s->straggler_share, "Share of slow nodes (default 0)", "P"),
        NUMBER("straggler-factor", &s->straggler_factor, "How much slower they are (default 1)", "F"),
        NUMBER("mtbf-hours", &o->mtbf_hours,
               "Mean time between failures of the whole job whatever its size (default: none)", "H"),
        NUMBER("node-mtbf-hours", &o->node_mtbf_hours,
               "And of each node (default: none; with --capacity 43800, an assumption)", "H"),
        NUMBER("restart-minutes", &o->restart_minutes, "From an end to working again (default 10)", "M"),
        NUMBER("walltime", &o->walltime_hours, "A slice (default: no limit)", "HOURS"),
        {"static", 0, 0, G_OPTION_ARG_NONE, &o->fixed, "Also slides dealt beforehand, for comparison", NULL},
        {"seed", 0, 0, G_OPTION_ARG_INT64, &o->seed, "Default 1", "S"},
        {"json", 0, 0, G_OPTION_ARG_NONE, &o->json, "One JSON object a line on standard output", NULL},
        {"svg", 0, 0, G_OPTION_ARG_FILENAME, &o->svg, "Plot against the ideal line", "FILE"},
        {"capacity", 0, 0, G_OPTION_ARG_NONE, &o->wants_capacity,
         "Instead: node-hours, walltime, ranks a node, days and disk of a trial with these slides", NULL},
        {"bench", 0, 0, G_OPTION_ARG_FILENAME, &o->bench,
         "Costs from lines of lobule bench encoder (and, for --capacity, train)", "FILE"},
        {"encoder", 0, 0, G_OPTION_ARG_STRING, &o->encoder, "Which of them (--capacity: that one alone)",
         "NAME"},
        {"precision", 0, 0, G_OPTION_ARG_STRING, &o->precision, "And at which precision (default fp32)", "P"},
        NUMBER("all-cores", &o->all_cores,
               "A core's speed when all are busy, for rates that fewer ranks measured (default 0.8)", "P"),
        {"cores", 0, 0, G_OPTION_ARG_INT, &o->machine.cores, "Cores a node (default 128)", "N"},
        {"nodes", 0, 0, G_OPTION_ARG_INT, &o->machine.nodes, "Nodes of the job (default 32)", "N"},
        NUMBER("node-gib", &o->machine.node_gib, "Memory of a node (default 256)", "GIB"),
        NUMBER("gflops-core", &o->gflops_core, "fp32, one core alone (default 90)", "X"),
        NUMBER("bf16-factor", &o->bf16_factor, "bf16 over fp32 (default 2)", "X"),
        NUMBER("gigabytes-slide", &o->gigabytes_slide, "Mean slide file (default 1)", "X"),
        NUMBER("plan-seconds", &o->machine.plan_seconds, "Planning a slide on a core (default 10)", "X"),
        {"patients", 0, 0, G_OPTION_ARG_INT, &o->train.patients, "Of the validation (default: slides / 3)",
         "N"},
        {"folds", 0, 0, G_OPTION_ARG_INT, &o->train.centers, "Centers left out in turn (default 20)", "N"},
        {"train-seeds", 0, 0, G_OPTION_ARG_INT, &o->train.seeds, "Models of a fold (default 5)", "N"},
        {"epochs", 0, 0, G_OPTION_ARG_INT, &o->train.epochs, "Of training (default: the model's own)", "N"},
        {"groups", 0, 0, G_OPTION_ARG_INT, &o->train.groups,
         "Of ranks that train together, as site.groups (default: as memory asks)", "N"},
        {"train-dim", 0, 0, G_OPTION_ARG_INT, &o->train.dim, "Values a tile (default: the encoder's)", "N"},
        NUMBER("train-tiles", &o->train.tiles, "Tiles of each patient (default: as the slides have)", "N"),
        NUMBER("train-gflops", &o->train.gflops, "Speed of a core (default: from --bench, else 10)", "X"),
        {NULL, 0, 0, 0, NULL, NULL, NULL},
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_option_context_add_main_entries(context, entries, NULL);
    g_option_context_set_summary(context, "Drives the scheduler of a real run with virtual ranks: makespan, "
                                          "efficiency, work lost, load of rank 0.");
    g_autoptr(GError) problem = NULL;
    g_auto(GStrv) raw = g_strdupv(*argv);
    if (!g_option_context_parse(context, argc, argv, &problem))
        return lob_fail(err, LOB_ERROR_INPUT, "%s", problem->message);
    if (*argc > 1)
        return lob_fail(err, LOB_ERROR_INPUT, "'%s' is not understood", (*argv)[1]);
    return lob_simulate_options_agree(raw, err);
}

static bool parse_ranks(const char *text, GArray *ranks, GError **err) {
    g_auto(GStrv) parts = g_strsplit(text, ",", -1);
    for (size_t i = 0; parts[i]; i++) {
        guint64 n;
        if (!g_ascii_string_to_unsigned(parts[i], 10, 1, 10000000, &n, NULL))
            return lob_fail(err, LOB_ERROR_INPUT, "--ranks %s: expected numbers from 1 up", text);
        const int count = (int)n;
        g_array_append_val(ranks, count);
    }
    return ranks->len > 0 || lob_fail(err, LOB_ERROR_INPUT, "--ranks names none");
}

/* Seconds a tile and the spread from what was measured; `how` says so to people. */
static bool take_bench(Options *o, char **how, GError **err) {
    LobTileCost cost = {.spread = o->sim.spread, .weights_gib = o->weights_gib};
    LobMeasured measured;
    if (!o->bench)
        return true;
    if (!(o->all_cores > 0))
        return lob_fail(err, LOB_ERROR_INPUT, "--all-cores must be above 0");
    if (!lob_capacity_measured(o->bench, o->encoder, o->precision ? o->precision : "fp32", o->sim.node_ranks,
                               o->all_cores, &cost, &measured, NULL, err))
        return false;
    o->sim.seconds_per_tile = cost.seconds;
    o->sim.spread = cost.spread;
    o->weights_gib = cost.weights_gib;
    *how = g_strdup_printf("Measured with %d ranks of %d a node, each %.4g s a tile%s.\n", measured.ranks,
                           o->sim.node_ranks, cost.seconds / measured.slowdown,
                           measured.slowdown > 1 ? "; slowed down by --all-cores" : "");
    return true;
}

/* ---- results ---- */

static double lost_share(const LobSimulated *r) {
    return r->work + r->lost > 0 ? r->lost / (r->work + r->lost) : 0;
}

/* Of all rank-hours. */
static double failure_share(const LobSimulated *r) {
    return r->makespan > 0 ? r->lost_to_failures / (r->makespan * r->workers) : 0;
}

static void print_json(const LobSimulatedPoint *p, const Options *o) {
    const LobSimulated *r = &p->dynamic;
    json_t *line = json_pack("{s:i, s:i, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, "
                             "s:I, s:I, s:i, s:i, s:I}",
                             "simulate", p->ranks, "workers", r->workers, "tiles", (json_int_t)r->tiles,
                             "ranges", (json_int_t)r->ranges, "makespan", r->makespan, "ideal", r->ideal,
                             "efficiency", r->efficiency, "tail", r->tail, "lost_share", lost_share(r),
                             "down", r->down, "coordinator_busy", r->coordinator_busy, "scheduler_seconds",
                             r->sched_seconds, "journal_busy", r->journal_busy, "requests_per_second",
                             r->requests_per_second, "answer_seconds", r->answer_seconds, "late",
                             (json_int_t)r->late, "twice", (json_int_t)r->twice, "failures", (int)r->failures,
                             "slices", (int)r->slices, "seed", (json_int_t)o->seed);
    json_object_set_new(line, "lost_to_failures", json_real(failure_share(r)));
    json_object_set_new(line, "loading", json_real(r->loading));
    json_object_set_new(line, "verifying", json_real(r->verifying));
    json_object_set_new(line, "record_seconds", json_real(r->record_seconds));
    json_object_set_new(line, "inputs", lob_simulate_options_json(o));
    if (p->has_fixed) {
        json_object_set_new(line, "static_makespan", json_real(p->fixed.makespan));
        json_object_set_new(line, "static_efficiency", json_real(p->fixed.efficiency));
    }
    json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
    printf("\n");
    json_decref(line);
}

static void print_row(const LobSimulatedPoint *p) {
    const LobSimulated *r = &p->dynamic;
    printf("%7d %12.2f %10.4f %8.1f %9.3f %8.3f %8.2f %10.1f %10.3f %9.1f %8.3f %5u %5u", p->ranks,
           r->makespan / 3600, r->efficiency, r->tail, 100 * lost_share(r), 100 * failure_share(r),
           r->down / 3600, r->requests_per_second, 100 * r->coordinator_busy, 100 * r->journal_busy,
           r->answer_seconds, r->failures, r->slices);
    if (p->has_fixed)
        printf(" %10.4f", p->fixed.efficiency);
    printf("\n");
}

static void print_sizes(const Options *o, const LobSizes *sizes) {
    if (!o->plan)
        fprintf(stderr,
                "Sizes drawn: lognormal, median %g and sigma %g tiles. The defaults are assumptions, near "
                "3e8 tiles in 30,000 slides;\n--plan OUT takes those of a run, --fit draws more like them.\n",
                sizes->median, sizes->sigma);
    else
        fprintf(stderr, "Sizes of %s: lognormal fit with median %.4g and sigma %.4g tiles%s.\n", o->plan,
                sizes->median, sizes->sigma, o->fit ? ", drawn from that fit" : "");
}

static void print_head(const Options *o, const LobSizes *sizes, const char *how) {
    print_sizes(o, sizes);
    fprintf(stderr,
            "%s%u slides, %" G_GUINT64_FORMAT
            " tiles, %g s a tile (spread %g): %.0f core-hours. Above %d ranks "
            "rank 0 only deals.\nrank 0 busy: CPU time of the real scheduler, measured here, %.1f us a "
            "message and %.1f us a journal record; journal: waiting for\nits syncs, %.1f ms each; answer: "
            "from a result to the task dealt for it; failed: what failures cost of all rank-hours.\n",
            how ? how : "", sizes->n, sizes->total, o->sim.seconds_per_tile, o->sim.spread,
            (double)sizes->total * o->sim.seconds_per_tile / 3600, o->sim.rank0_works_up_to,
            1e6 * o->sim.message_seconds, 1e6 * o->sim.record_seconds, 1e3 * o->sim.sync_seconds);
    if (!o->json)
        printf("%7s %12s %10s %8s %9s %8s %8s %10s %10s %9s %8s %5s %5s%s\n", "ranks", "makespan h",
               "efficiency", "tail s", "lost %", "failed %", "down h", "ranges/s", "rank 0 %", "journal %",
               "answer s", "fail", "slice", o->fixed ? "     static" : "");
}

static bool simulate(Options *o, const LobSizes *sizes, GError **err) {
    g_autoptr(GArray) ranks = g_array_new(FALSE, FALSE, sizeof(int));
    g_autofree char *how = NULL;
    if (!parse_ranks(o->ranks ? o->ranks : "1,10,100,1000,10000", ranks, err) || !take_bench(o, &how, err))
        return false;
    g_autofree LobSimulatedPoint *points = g_new0(LobSimulatedPoint, ranks->len);
    o->sim.weight_bytes = o->weights_gib * (1 << 30);
    o->sim.tiles = sizes->tiles;
    o->sim.centers = sizes->centers;
    o->sim.n_slides = sizes->n;
    o->sim.ranks = g_array_index(ranks, int, 0);
    const bool measures = isnan(o->sim.record_seconds);
    if (measures)
        o->sim.record_seconds = 0;
    if (!lob_simulate_check(&o->sim, err) ||
        (measures && !lob_simulate_record_cost(&o->sim.record_seconds, err)))
        return false;
    print_head(o, sizes, how);
    for (guint i = 0; i < ranks->len; i++) {
        LobSimulatedPoint *p = &points[i];
        p->ranks = o->sim.ranks = g_array_index(ranks, int, i);
        p->has_fixed = o->fixed;
        if (!lob_simulate(&o->sim, &p->dynamic, err) ||
            (o->fixed && !lob_simulate_static(&o->sim, &p->fixed, err)))
            return false;
        if (o->json)
            print_json(p, o);
        else
            print_row(p);
        fflush(stdout);
    }
    return !o->svg || lob_simulate_write_svg(o->svg, points, ranks->len, err);
}

/* From the units of the command line to those of the simulation. */
static void take_units(Options *o) {
    LobSimulation *s = &o->sim;
    if (isnan(o->node_mtbf_hours)) /* not given */
        o->node_mtbf_hours = o->wants_capacity && !(o->mtbf_hours > 0) ? LOB_NODE_MTBF_HOURS : 0;
    s->seed = (uint64_t)o->seed;
    s->bandwidth = 1e9 * o->gigabytes_second;
    s->mtbf_seconds = 3600 * o->mtbf_hours;
    s->node_mtbf_seconds = 3600 * o->node_mtbf_hours;
    s->walltime_seconds = o->machine.walltime_seconds = 3600 * o->walltime_hours;
    s->restart_seconds = 60 * o->restart_minutes;
    if (o->wants_capacity) /* which does not ask how busy rank 0 is */
        s->record_seconds = 0;
}

static void clear(Options *o) {
    char *const texts[] = {o->ranks, o->plan, o->svg, o->bench, o->encoder, o->precision};
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
        g_free(texts[i]);
}

int lob_cmd_simulate(int argc, char **argv) {
    Options o = {.sim = lob_simulation_defaults,
                 .machine = {.cores = 128, .nodes = 32, .node_gib = 256, .plan_seconds = LOB_PLAN_SECONDS},
                 .gflops_core = 90,
                 .bf16_factor = 2,
                 .all_cores = LOB_ALL_CORES,
                 .gigabytes_slide = 1,
                 .weights_gib = 1.1,
                 .node_mtbf_hours = NAN,
                 .train = {.centers = 20, .seeds = 5},
                 .slides = 30000,
                 .seed = 1,
                 .median = 8000,
                 .sigma = 0.8,
                 .restart_minutes = 10};
    LobSizes sizes = {0};
    g_autoptr(GError) err = NULL;
    o.sim.sched = lob_sched_defaults;
    o.sim.record_seconds = NAN; /* not given */
    bool ok = parse(&o, &argc, &argv, &err);
    take_units(&o);
    ok = ok && lob_simulate_sizes(&o, &sizes, &err) &&
         (o.wants_capacity ? lob_simulate_capacity(&o, &sizes, &err) : simulate(&o, &sizes, &err));
    if (!ok)
        fprintf(stderr, "lobule simulate: %s\n", err->message);
    lob_simulate_sizes_clear(&sizes);
    clear(&o);
    return lob_error_exit_code(err);
}
