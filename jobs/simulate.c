/* lobule simulate: the real scheduler, virtual ranks. No MPI. */
#include "jobs/jobs.h"
#include "jobs/simulate_internal.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>

typedef struct {
    LobSimulation sim;
    LobCapacity capacity;
    char *ranks, *plan, *svg, *bench;
    int slides;
    gint64 seed;
    double median, sigma, mtbf_hours, restart_minutes, walltime_hours, gigabytes_second, range_seconds;
    gboolean fixed, json, wants_capacity;
} Options;

#define NUMBER(name, place, text, what)                                                                      \
    { name, 0, 0, G_OPTION_ARG_DOUBLE, place, text, what }

static bool parse(Options *o, int *argc, char ***argv, GError **err) {
    LobSimulation *s = &o->sim;
    const GOptionEntry entries[] = {
        {"ranks", 0, 0, G_OPTION_ARG_STRING, &o->ranks, "Numbers of ranks (default 1,10,100,1000,10000)",
         "N,N,..."},
        {"plan", 0, 0, G_OPTION_ARG_FILENAME, &o->plan, "Sizes from OUT/slides.csv of a real run", "OUT"},
        {"slides", 0, 0, G_OPTION_ARG_INT, &o->slides, "Else drawn: how many (default 30000)", "N"},
        NUMBER("tiles-median", &o->median, "Median tiles a slide (default 8000)", "M"),
        NUMBER("tiles-sigma", &o->sigma, "Sigma of their logarithm (default 0.8)", "S"),
        NUMBER("seconds-per-tile", &s->seconds_per_tile, "On one core (default 1.4: ViT-L, fp32)", "X"),
        NUMBER("spread", &s->spread, "Coefficient of variation of a range's time (default 0.1)", "CV"),
        NUMBER("open-seconds", &s->open_seconds, "Turning to another slide (default 0.1)", "X"),
        NUMBER("write-seconds", &s->write_seconds, "Writing a range (default 0.02)", "X"),
        NUMBER("range-seconds", &o->range_seconds, "Work in a range (default 20, as in a real run)", "X"),
        NUMBER("latency", &s->latency, "Seconds a message travels (default 1e-4)", "X"),
        NUMBER("message-seconds", &s->message_seconds, "Rank 0's cost of a message (default 1.3e-5: TCP)",
               "X"),
        NUMBER("sync-seconds", &s->sync_seconds, "Making the journal durable (default 5e-3)", "X"),
        NUMBER("serve-seconds", &s->serve_seconds,
               "While rank 0 computes it answers this often (default 1: a layer of ViT-L)", "X"),
        {"rank0-works-up-to", 0, 0, G_OPTION_ARG_INT, &s->rank0_works_up_to,
         "With more ranks rank 0 only deals (default: as in a real run)", "N"},
        {"node-ranks", 0, 0, G_OPTION_ARG_INT, &s->node_ranks, "Ranks a node (default 128)", "N"},
        NUMBER("fs-bandwidth", &o->gigabytes_second, "GB/s shared by all ranks (default: no limit)", "X"),
        NUMBER("bytes-per-tile", &s->bytes_per_tile, "Read from it (default 20000)", "B"),
        NUMBER("straggler-share", &s->straggler_share, "Share of slow nodes (default 0)", "P"),
        NUMBER("straggler-factor", &s->straggler_factor, "How much slower they are (default 1)", "F"),
        NUMBER("mtbf-hours", &o->mtbf_hours, "Mean time between failures of the whole job (default: none)",
               "H"),
        NUMBER("restart-minutes", &o->restart_minutes, "From an end to working again (default 10)", "M"),
        NUMBER("walltime", &o->walltime_hours, "A slice (default: no limit)", "HOURS"),
        {"static", 0, 0, G_OPTION_ARG_NONE, &o->fixed, "Also slides dealt beforehand, for comparison", NULL},
        {"seed", 0, 0, G_OPTION_ARG_INT64, &o->seed, "Default 1", "S"},
        {"json", 0, 0, G_OPTION_ARG_NONE, &o->json, "One JSON object a line on standard output", NULL},
        {"svg", 0, 0, G_OPTION_ARG_FILENAME, &o->svg, "Plot against the ideal line", "FILE"},
        {"capacity", 0, 0, G_OPTION_ARG_NONE, &o->wants_capacity,
         "Instead: node-hours, days and TB of embedding these slides with large encoders", NULL},
        {"bench", 0, 0, G_OPTION_ARG_FILENAME, &o->bench, "Its rates from lines of lobule bench encoder",
         "FILE"},
        {"cores", 0, 0, G_OPTION_ARG_INT, &o->capacity.cores, "Cores a node (default 128)", "N"},
        {"nodes", 0, 0, G_OPTION_ARG_INT, &o->capacity.nodes, "Nodes of the job (default 32)", "N"},
        NUMBER("gflops-core", &o->capacity.gflops_core, "fp32, one core alone (default 90)", "X"),
        NUMBER("bf16-factor", &o->capacity.bf16_factor, "bf16 over fp32 (default 2)", "X"),
        NUMBER("all-cores", &o->capacity.all_cores, "A core's speed when all are busy (default 0.8)", "P"),
        NUMBER("efficiency", &o->capacity.efficiency, "Of the job (default 0.95)", "P"),
        NUMBER("gigabytes-slide", &o->capacity.gigabytes_slide, "Mean slide file (default 1)", "X"),
        {NULL, 0, 0, 0, NULL, NULL, NULL},
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_option_context_add_main_entries(context, entries, NULL);
    g_option_context_set_summary(context, "Drives the scheduler of a real run with virtual ranks: makespan, "
                                          "efficiency, work lost, load of rank 0.");
    g_autoptr(GError) problem = NULL;
    if (!g_option_context_parse(context, argc, argv, &problem))
        return lob_fail(err, LOB_ERROR_INPUT, "%s", problem->message);
    return *argc == 1 || lob_fail(err, LOB_ERROR_INPUT, "'%s' is not understood", (*argv)[1]);
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

/* ---- sizes ---- */

typedef struct {
    uint32_t *tiles, *centers, n;
    uint64_t total;
} Sizes;

static bool read_plan(const char *dir, Sizes *sizes, GError **err) {
    g_autofree char *path = g_build_filename(dir, "slides.csv", NULL);
    g_autoptr(LobTable) table = lob_table_read(path, err);
    if (!table)
        return false;
    const int column = lob_table_require(table, "tiles", err);
    const int center = column < 0 ? -1 : lob_table_require(table, "center", err);
    if (center < 0)
        return false;
    g_autoptr(GHashTable) numbers = g_hash_table_new(g_str_hash, g_str_equal);
    sizes->tiles = g_new0(uint32_t, lob_table_rows(table));
    sizes->centers = g_new0(uint32_t, lob_table_rows(table));
    for (size_t row = 0; row < lob_table_rows(table); row++) {
        double tiles;
        char *name = (char *)(gpointer)lob_table_cell(table, row, center);
        if (!lob_table_number(table, row, column, &tiles, err))
            return false;
        if (!(tiles >= 1) || tiles > UINT32_MAX)
            continue;
        if (!g_hash_table_contains(numbers, name))
            g_hash_table_insert(numbers, name, GUINT_TO_POINTER(g_hash_table_size(numbers)));
        sizes->centers[sizes->n] = GPOINTER_TO_UINT(g_hash_table_lookup(numbers, name));
        sizes->tiles[sizes->n++] = (uint32_t)tiles;
    }
    return sizes->n > 0 || lob_fail(err, LOB_ERROR_INPUT, "%s: no slide has tiles", path);
}

static bool get_sizes(const Options *o, Sizes *sizes, GError **err) {
    if (o->plan) {
        if (!read_plan(o->plan, sizes, err))
            return false;
    } else {
        if (o->slides < 1 || o->slides > 100000000 || !(o->median >= 1) || !(o->sigma >= 0))
            return lob_fail(err, LOB_ERROR_INPUT, "slides and their median must be at least 1");
        sizes->n = (uint32_t)o->slides;
        sizes->tiles = lob_simulate_tiles(sizes->n, o->median, o->sigma, (uint64_t)o->seed);
    }
    for (uint32_t s = 0; s < sizes->n; s++)
        sizes->total += sizes->tiles[s];
    return true;
}

/* ---- results ---- */

static double lost_share(const LobSimulated *r) {
    return r->work + r->lost > 0 ? r->lost / (r->work + r->lost) : 0;
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
    printf("%7d %12.2f %10.4f %8.1f %9.3f %8.2f %10.1f %10.3f %9.1f %8.3f %5u %5u", p->ranks,
           r->makespan / 3600, r->efficiency, r->tail, 100 * lost_share(r), r->down / 3600,
           r->requests_per_second, 100 * r->coordinator_busy, 100 * r->journal_busy, r->answer_seconds,
           r->failures, r->slices);
    if (p->has_fixed)
        printf(" %10.4f", p->fixed.efficiency);
    printf("\n");
}

static void print_head(const Options *o, const Sizes *sizes) {
    fprintf(stderr,
            "%u slides, %" G_GUINT64_FORMAT
            " tiles, %g s a tile (spread %g): %.0f core-hours. Above %d ranks "
            "rank 0 only deals.\nrank 0 busy: CPU time of the real scheduler, measured here, and %.1f us a "
            "message; journal: waiting for its syncs, %.1f ms each; answer: "
            "from a result to the task dealt for it.\n",
            sizes->n, sizes->total, o->sim.seconds_per_tile, o->sim.spread,
            (double)sizes->total * o->sim.seconds_per_tile / 3600, o->sim.rank0_works_up_to,
            1e6 * o->sim.message_seconds, 1e3 * o->sim.sync_seconds);
    if (!o->json)
        printf("%7s %12s %10s %8s %9s %8s %10s %10s %9s %8s %5s %5s%s\n", "ranks", "makespan h", "efficiency",
               "tail s", "lost %", "down h", "ranges/s", "rank 0 %", "journal %", "answer s", "fail", "slice",
               o->fixed ? "     static" : "");
}

static bool simulate(Options *o, const Sizes *sizes, GError **err) {
    g_autoptr(GArray) ranks = g_array_new(FALSE, FALSE, sizeof(int));
    if (!parse_ranks(o->ranks ? o->ranks : "1,10,100,1000,10000", ranks, err))
        return false;
    g_autofree LobSimulatedPoint *points = g_new0(LobSimulatedPoint, ranks->len);
    o->sim.tiles = sizes->tiles;
    o->sim.centers = sizes->centers;
    o->sim.n_slides = sizes->n;
    o->sim.seed = (uint64_t)o->seed;
    o->sim.bandwidth = 1e9 * o->gigabytes_second;
    o->sim.mtbf_seconds = 3600 * o->mtbf_hours;
    o->sim.walltime_seconds = 3600 * o->walltime_hours;
    o->sim.restart_seconds = 60 * o->restart_minutes;
    o->sim.sched.range_seconds = o->range_seconds;
    print_head(o, sizes);
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

int lob_cmd_simulate(int argc, char **argv) {
    Options o = {.sim = lob_simulation_defaults,
                 .capacity = {.cores = 128,
                              .nodes = 32,
                              .gflops_core = 90,
                              .bf16_factor = 2,
                              .all_cores = 0.8,
                              .efficiency = 0.95,
                              .gigabytes_slide = 1},
                 .slides = 30000,
                 .seed = 1,
                 .median = 8000,
                 .sigma = 0.8,
                 .restart_minutes = 10,
                 .range_seconds = lob_sched_defaults.range_seconds};
    Sizes sizes = {0};
    g_autoptr(GError) err = NULL;
    o.sim.sched = lob_sched_defaults;
    bool ok = parse(&o, &argc, &argv, &err) && get_sizes(&o, &sizes, &err);
    o.capacity.tiles = (double)sizes.total;
    o.capacity.slides = sizes.n;
    o.capacity.bench = o.bench;
    o.capacity.json = o.json;
    o.capacity.walltime_seconds = 3600 * o.walltime_hours;
    ok = ok && (o.wants_capacity ? lob_simulate_capacity(&o.capacity, &err) : simulate(&o, &sizes, &err));
    if (!ok)
        fprintf(stderr, "lobule simulate: %s\n", err->message);
    g_free(sizes.tiles);
    g_free(sizes.centers);
    g_free(o.ranks);
    g_free(o.plan);
    g_free(o.svg);
    g_free(o.bench);
    return lob_error_exit_code(err);
}
