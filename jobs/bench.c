/* lobule bench: speed against the machine's own ceiling, measured in the same run. One JSON line a result on
 * standard output, a table for people on standard error, all of it with plots on a page. */
#include "jobs/bench_internal.h"
#include "jobs/jobs.h"
#include "jobs/provenance.h"
#include "mpi/world.h"
#include "slide/slide.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    bool (*run)(const LobBench *bench, GError **err);
} benches[] = {
    {"machine", lob_bench_machine}, {"encoder", lob_bench_encoder}, {"read", lob_bench_read},
    {"store", lob_bench_store},     {"train", lob_bench_train},     {"schedule", lob_bench_schedule},
    {"stats", lob_bench_stats},
};

/* ---- options ---- */

typedef struct {
    char *precision, *slide, *dir, *page, **encoders;
    int batch, repeats, ranks;
    double seconds;
} Wanted;

static bool parse(int *argc, char ***argv, Wanted *w, LobBench *bench, GError **err) {
    const GOptionEntry entries[] = {
        {"seconds", 0, 0, G_OPTION_ARG_DOUBLE, &w->seconds, "For each measurement (default 3)", "S"},
        {"repeats", 0, 0, G_OPTION_ARG_INT, &w->repeats,
         "Least number of repetitions (default 6, which bound a median with 95 %; at most 50)", "N"},
        {"ranks", 0, 0, G_OPTION_ARG_INT, &w->ranks,
         "Refuse to measure with another number of ranks (they come from mpirun or srun)", "N"},
        {"encoder", 0, 0, G_OPTION_ARG_STRING_ARRAY, &w->encoders,
         "encoder, all: which (default texture); several with commas or by repeating", "NAME"},
        {"precision", 0, 0, G_OPTION_ARG_STRING, &w->precision,
         "encoder, train, machine: fp32 or bf16 (default fp32)", "P"},
        {"batch", 0, 0, G_OPTION_ARG_INT, &w->batch, "encoder: tiles a call (default 8)", "N"},
        {"slide", 0, 0, G_OPTION_ARG_FILENAME, &w->slide, "read, all: a slide (default: one is drawn in DIR)",
         "FILE"},
        {"dir", 0, 0, G_OPTION_ARG_FILENAME, &w->dir, "store, schedule, read: where to write (default .)",
         "DIR"},
        {"bags", 0, 0, G_OPTION_ARG_INT, &bench->train.bags, "train: patients (default 24)", "N"},
        {"tiles", 0, 0, G_OPTION_ARG_INT, &bench->train.tiles, "train: of a bag (default 4000)", "N"},
        {"dim", 0, 0, G_OPTION_ARG_INT, &bench->train.dim, "train: columns of a tile (default 1024)", "N"},
        {"centers", 0, 0, G_OPTION_ARG_INT, &bench->train.centers, "train: folds (default 6)", "N"},
        {"seeds", 0, 0, G_OPTION_ARG_INT, &bench->train.seeds, "train: models of a fold (default 5)", "N"},
        {"hidden", 0, 0, G_OPTION_ARG_INT, &bench->train.hidden, "train: first layer (default 256)", "N"},
        {"attention", 0, 0, G_OPTION_ARG_INT, &bench->train.attention, "train: gates (default 128)", "N"},
        {"epochs", 0, 0, G_OPTION_ARG_INT, &bench->train.epochs, "train: of each fold (default 1)", "N"},
        {"page", 0, 0, G_OPTION_ARG_FILENAME, &w->page,
         "A page with plots of what was measured (default with all: bench.html)", "FILE"},
        {NULL, 0, 0, 0, NULL, NULL, NULL},
    };
    g_autoptr(GOptionContext) context =
        g_option_context_new("machine|encoder [NAME]|read|store|train|schedule|stats|all");
    g_option_context_add_main_entries(context, entries, NULL);
    g_option_context_set_summary(
        context,
        "Speed against the machine's own ceiling, measured in the same run. Under mpirun each rank "
        "measures, and rates add up.\nA repetition of train is a fold on each rank; the first of every "
        "measurement is thrown away.");
    GError *problem = NULL;
    if (g_option_context_parse(context, argc, argv, &problem))
        return true;
    lob_fail(err, LOB_ERROR_INPUT, "%s", problem->message);
    g_error_free(problem);
    return false;
}

/* NAME behind "encoder" and each --encoder, split at commas. */
static char **encoder_names(const Wanted *w, const char *positional) {
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (char **given = w->encoders; given && *given; given++) {
        g_auto(GStrv) parts = g_strsplit(*given, ",", -1);
        for (char **part = parts; *part; part++)
            g_ptr_array_add(names, g_strdup(g_strstrip(*part)));
    }
    if (positional || names->len == 0)
        g_ptr_array_add(names, g_strdup(positional ? positional : "texture"));
    g_ptr_array_add(names, NULL);
    return (char **)g_ptr_array_steal(names, NULL);
}

static bool applies(const char *name, const char *to) {
    return strcmp(name, to) == 0 || strcmp(name, "all") == 0;
}

static bool check(const Wanted *w, int argc, char **argv, GError **err) {
    if (argc < 2 || argc > 3 || (argc == 3 && strcmp(argv[1], "encoder") != 0))
        return lob_fail(err, LOB_ERROR_INPUT, "expected one bench, see lobule bench --help");
    bool known = strcmp(argv[1], "all") == 0;
    for (size_t i = 0; i < G_N_ELEMENTS(benches); i++)
        known |= strcmp(benches[i].name, argv[1]) == 0;
    if (!known)
        return lob_fail(err, LOB_ERROR_INPUT,
                        "there is no bench '%s': machine, encoder, read, store, train, schedule, stats, all",
                        argv[1]);
    if (w->repeats < 1 || w->repeats > LOB_BENCH_MOST)
        return lob_fail(err, LOB_ERROR_INPUT, "--repeats %d: expected 1 to %d", w->repeats, LOB_BENCH_MOST);
    if (w->batch < 1 || w->ranks < 0 || !(w->seconds >= 0))
        return lob_fail(err, LOB_ERROR_INPUT, "--batch, --ranks and --seconds cannot be negative");
    if (w->encoders && (argc == 3 || !applies(argv[1], "encoder")))
        return lob_fail(err, LOB_ERROR_INPUT, "--encoder is for the benches encoder and all%s",
                        argc == 3 ? ", without a name behind encoder" : "");
    if (w->slide && !applies(argv[1], "read"))
        return lob_fail(err, LOB_ERROR_INPUT, "--slide is for the benches read and all");
    return true;
}

static json_t *options_json(const LobBench *b) {
    json_t *encoders = json_array();
    for (char **name = b->encoders; *name; name++)
        json_array_append_new(encoders, json_string(*name));
    g_autofree char *slide = b->slide ? g_path_get_basename(b->slide) : NULL;
    return json_pack("{s:f, s:i, s:o, s:s, s:i, s:s?, s:s, s:{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i}}",
                     "seconds", b->seconds, "repeats", b->repeats, "encoders", encoders, "precision",
                     b->precision, "batch", b->batch, "slide", slide, "dir", b->dir, "train", "bags",
                     b->train.bags, "tiles", b->train.tiles, "dim", b->train.dim, "centers", b->train.centers,
                     "seeds", b->train.seeds, "hidden", b->train.hidden, "attention", b->train.attention,
                     "epochs", b->train.epochs);
}

/* ---- the command ---- */

/* Collective. Those named, or all. */
static bool run(const LobBench *bench, const char *name, GError **err) {
    for (size_t i = 0; i < G_N_ELEMENTS(benches); i++) {
        GError *mine = NULL;
        if (!applies(name, benches[i].name))
            continue;
        (void)benches[i].run(bench, &mine);
        if (!lob_world_agree(bench->world, mine, err))
            return false;
    }
    return true;
}

/* Collective. */
static bool measure(LobBench *bench, const char *name, const char *page, GError **err) {
    GError *mine = NULL;
    bench->provenance = lob_provenance_machine(bench->world, bench->dir);
    bench->options = options_json(bench);
    bench->lines = json_array();
    bool ok = run(bench, name, err);
    if (ok && page && bench->world->rank == 0 && lob_bench_page(bench->lines, page, &mine))
        lob_info("%s", page);
    ok = ok && lob_world_agree(bench->world, mine, err);
    json_decref(bench->provenance);
    json_decref(bench->options);
    json_decref(bench->lines);
    return ok;
}

/* Readers are forked before MPI starts. */
static bool start(const char *name, int ranks, LobWorld *world, int *argc, char ***argv, GError **err) {
    if ((applies(name, "read") && !lob_zygote_start(err)) || !lob_world_start(world, argc, argv, err))
        return false;
    /* Nothing is to be saved: Ctrl-C and TERM end it at once. */
    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGTERM, SIG_DFL);
    return ranks == 0 || ranks == world->size ||
           lob_fail(err, LOB_ERROR_INPUT,
                    "--ranks %d, but there are %d: mpirun -n %d lobule bench ... starts them", ranks,
                    world->size, ranks);
}

static void wanted_clear(Wanted *w) {
    g_free(w->precision);
    g_free(w->slide);
    g_free(w->dir);
    g_free(w->page);
    g_strfreev(w->encoders);
}

int lob_cmd_bench(int argc, char **argv) {
    Wanted w = {.batch = 8, .repeats = LOB_BENCH_LEAST, .seconds = 3};
    LobBench bench = {.train = {.bags = 24,
                                .tiles = 4000,
                                .dim = 1024,
                                .centers = 6,
                                .seeds = 5,
                                .hidden = 256,
                                .attention = 128,
                                .epochs = 1}};
    LobWorld world = {.size = 1};
    g_autoptr(GError) err = NULL;
    lob_log_setup(LOB_LOG_INFO, lob_launcher_rank());
    if (!parse(&argc, &argv, &w, &bench, &err) || !check(&w, argc, argv, &err)) {
        fprintf(stderr, "lobule bench: %s\n", err->message);
        wanted_clear(&w);
        return LOB_EXIT_INPUT;
    }
    g_autofree char *name = g_strdup(argv[1]);
    bench.world = &world;
    bench.seconds = w.seconds;
    bench.dir = w.dir ? w.dir : ".";
    bench.slide = w.slide;
    bench.encoders = encoder_names(&w, argc == 3 ? argv[2] : NULL);
    bench.precision = w.precision ? w.precision : "fp32";
    bench.batch = w.batch;
    bench.repeats = w.repeats;
    bool ok = start(name, w.ranks, &world, &argc, &argv, &err);
    lob_log_setup(LOB_LOG_INFO, world.rank);
    const char *page = w.page ? w.page : strcmp(name, "all") == 0 ? "bench.html" : NULL;
    ok = ok && measure(&bench, name, page, &err);
    if (!ok && world.rank == 0)
        lob_error_log("bench: %s", err->message);
    lob_zygote_stop();
    lob_world_end(&world);
    g_strfreev(bench.encoders);
    wanted_clear(&w);
    return world.rank == 0 ? lob_error_exit_code(err) : LOB_EXIT_DONE;
}
