/* lobule bench: speed against the machine's own ceiling, measured in the same run. One JSON line a result on
 * standard output, a table for people on standard error. */
#include "jobs/bench_internal.h"
#include "jobs/jobs.h"
#include "mpi/world.h"

#include <cblas.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LEAST_REPEATS = 6, MOST_REPEATS = 50 };
#define SIDE_BY_SIDE_SECONDS 0.5

/* ---- measuring ---- */

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const double *sorted, int n, double p) {
    const double at = p * (n - 1);
    const int low = (int)floor(at);
    return low + 1 < n ? sorted[low] + (at - low) * (sorted[low + 1] - sorted[low]) : sorted[n - 1];
}

static double cpu_seconds(void) {
    struct timespec used;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec + 1e-9 * (double)used.tv_nsec;
}

/* Order statistics whose ranks bound the median with 95 % by the normal approximation of the binomial. */
LobBenchRate lob_bench_summary(double *rates, int n) {
    qsort(rates, (size_t)n, sizeof *rates, by_value);
    const double half = 1.96 * sqrt(n) / 2;
    const int low = MAX((int)floor(n / 2.0 - half), 1), high = MIN((int)ceil(n / 2.0 + half) + 1, n);
    const double median = quantile(rates, n, 0.5);
    return (LobBenchRate){.rate = median,
                          .lower = rates[low - 1],
                          .upper = rates[high - 1],
                          .spread = (quantile(rates, n, 0.75) - quantile(rates, n, 0.25)) / median,
                          .repeats = n};
}

/* Ranks go side by side: they begin each repetition together, and rank 0 says whether there is another one,
 * so that none measures while its neighbour is idle. A rank that failed says so here. */
static bool again(const LobBench *bench, bool wanted, bool failed, GError **err) {
    double votes[] = {failed ? 1 : 0, wanted && bench->world->rank == 0 ? 1 : 0};
    if (!bench->world->has_mpi)
        return wanted && !failed;
    lob_mpi_allreduce_sum(lob_world_comm(bench->world), votes, G_N_ELEMENTS(votes));
    if (votes[0] > 0 && !failed)
        lob_fail(err, LOB_ERROR_INTERNAL, "another rank failed while measuring");
    return votes[0] == 0 && votes[1] > 0;
}

/* One repetition; with several ranks at least SIDE_BY_SIDE_SECONDS, beside which the start's jitter is small.
 */
static bool repeat(const LobBench *bench, LobBenchRun run, void *user, double *rate, GError **err) {
    const double start = lob_clock(), least = bench->world->has_mpi ? SIDE_BY_SIDE_SECONDS : 0;
    double units = 0, sum = 0, now = start;
    do {
        if (!run(user, &units, err))
            return false;
        sum += units;
        now = lob_clock();
    } while (now - start < least);
    *rate = sum / (now - start);
    return true;
}

bool lob_bench_measure(const LobBench *bench, LobBenchRun run, void *user, LobBenchRate *rate, GError **err) {
    double rates[MOST_REPEATS], units = 0, measured = 0, used = 0;
    const int least = bench->repeats > 0 ? bench->repeats : LEAST_REPEATS;
    GError *failure = NULL;
    int n = 0;
    bool ok = run(user, &units, &failure);
    while (again(bench, n < MOST_REPEATS && (n < least || measured < bench->seconds), !ok, &failure)) {
        const double start = lob_clock(), cpu = cpu_seconds();
        ok = repeat(bench, run, user, &rates[n], &failure);
        measured += lob_clock() - start;
        used += cpu_seconds() - cpu;
        n += ok ? 1 : 0;
    }
    if (failure) {
        g_propagate_error(err, failure);
        return false;
    }
    *rate = lob_bench_summary(rates, n);
    rate->cpu = used / measured;
    return true;
}

/* ---- telling ---- */

static char *cpu_model(void) {
    g_autofree char *text = NULL;
    if (!g_file_get_contents("/proc/cpuinfo", &text, NULL, NULL))
        return g_strdup("unknown");
    const char *line = strstr(text, "model name"), *colon = line ? strchr(line, ':') : NULL;
    return colon ? g_strndup(colon + 2, strcspn(colon + 2, "\n")) : g_strdup("unknown");
}

static void print_json(const LobBench *bench, const LobBenchResult *r, const double *sums) {
    g_autofree char *cpu = cpu_model();
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *time = g_date_time_format_iso8601(now);
    json_t *line =
        json_pack("{s:s, s:s, s:f, s:s, s:f, s:f, s:i, s:f, s:i, s:{s:s, s:s, s:s, s:s, s:s}}", "bench",
                  r->bench, "case", r->what, "rate", sums[0], "unit", r->unit, "lower", sums[1], "upper",
                  sums[2], "repeats", r->rate.repeats, "spread", r->rate.spread, "ranks", bench->world->size,
                  "provenance", "program", "lobule " LOB_VERSION, "compiler", __VERSION__, "cpu", cpu,
                  "openblas_core", openblas_get_corename(), "time", time);
    json_object_set_new(line, "ceiling", sums[3] > 0 ? json_real(sums[3]) : json_null());
    json_object_set_new(line, "ceiling_name", json_string(r->ceiling_name));
    json_object_set_new(line, "ratio", sums[3] > 0 ? json_real(sums[0] / sums[3]) : json_null());
    if (sums[4] > 0)
        json_object_set_new(line, "gflops", json_real(sums[4]));
    if (sums[5] > 0)
        json_object_set_new(line, "cpu_share", json_real(sums[5] / bench->world->size));
    if (r->more)
        json_object_update(line, r->more);
    json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    printf("\n");
    fflush(stdout);
    json_decref(line);
}

static void add_to_page(const LobBench *bench, const LobBenchResult *r, const double *sums) {
    const double ratio = sums[3] > 0 ? sums[0] / sums[3] : 0;
    g_autofree char *what = g_markup_escape_text(r->what, -1);
    g_string_append_printf(
        bench->page,
        "<tr><td>%s</td><td>%s</td><td class='n'>%.4g</td><td>%s</td><td class='n'>%.4g &ndash; "
        "%.4g</td><td class='n'>%.4g</td><td>%s</td><td><svg width='210' height='14'><rect width='200' "
        "height='14' fill='#e8e8e8'/><rect width='%.1f' height='14' fill='#1b6ca8'/></svg> %.3f</td></tr>\n",
        r->bench, what, sums[0], r->unit, sums[1], sums[2], sums[3], r->ceiling_name, 200 * fmin(ratio, 1),
        ratio);
}

void lob_bench_report(const LobBench *bench, const LobBenchResult *r) {
    double sums[] = {r->rate.rate, r->rate.lower, r->rate.upper, r->ceiling, r->gflops, r->rate.cpu};
    if (bench->world->has_mpi)
        lob_mpi_allreduce_sum(lob_world_comm(bench->world), sums, G_N_ELEMENTS(sums));
    if (bench->world->rank != 0)
        return;
    print_json(bench, r, sums);
    fprintf(stderr, "%-9s %-34s %11.4g %-10s [%.4g, %.4g]  ", r->bench, r->what, sums[0], r->unit, sums[1],
            sums[2]);
    if (sums[4] > 0)
        fprintf(stderr, "%.1f GFLOP/s  ", sums[4]);
    if (sums[3] > 0)
        fprintf(stderr, "%.3f of %s (%.4g)", sums[0] / sums[3], r->ceiling_name, sums[3]);
    fprintf(stderr, "\n");
    if (bench->page)
        add_to_page(bench, r, sums);
}

/* ---- the page ---- */

static bool write_page(const LobBench *bench, const char *path, GError **err) {
    g_autofree char *cpu = cpu_model();
    g_autofree char *cpu_text = g_markup_escape_text(cpu, -1);
    g_autofree char *page = g_strdup_printf(
        "<!DOCTYPE html><html lang='en'><meta charset='utf-8'><title>lobule "
        "bench</title><style>body{font:14px "
        "sans-serif;margin:2em}table{border-collapse:collapse}td,th{padding:4px 10px;border-bottom:1px solid "
        "#ddd;text-align:left}.n{text-align:right}</style><h1>Speed against the machine's own</h1><p>%s, "
        "OpenBLAS kernel %s, %d ranks, each single-threaded; rates and ceilings are sums over ranks, "
        "measured "
        "in the same run. Medians with their 95 %% confidence intervals (of each rank, summed).</p><table>"
        "<tr><th>bench</th><th>case</th><th>rate</th><th>unit</th><th>95 %% CI</th><th>ceiling</th><th>which "
        "is</th><th>rate over ceiling</th></tr>\n%s</table></html>\n",
        cpu_text, openblas_get_corename(), bench->world->size, bench->page->str);
    return lob_file_replace(path, page, strlen(page), err);
}

/* ---- the command ---- */

static const struct {
    const char *name;
    bool (*run)(const LobBench *bench, GError **err);
} benches[] = {
    {"encoder", lob_bench_encoder}, {"read", lob_bench_read},         {"store", lob_bench_store},
    {"train", lob_bench_train},     {"schedule", lob_bench_schedule}, {"stats", lob_bench_stats},
};

static bool run_all(LobBench *bench, const char *page, GError **err) {
    bool ok = true;
    bench->page = g_string_new(NULL);
    for (size_t i = 0; ok && i < G_N_ELEMENTS(benches); i++) {
        if (benches[i].run == lob_bench_read && !bench->slide) {
            lob_warning("read is left out: it needs --slide FILE");
            continue;
        }
        GError *mine = NULL;
        (void)benches[i].run(bench, &mine);
        ok = lob_world_agree(bench->world, mine, err);
    }
    GError *mine = NULL;
    if (ok && bench->world->rank == 0 && write_page(bench, page, &mine))
        lob_info("%s", page);
    ok = ok && lob_world_agree(bench->world, mine, err);
    g_string_free(bench->page, TRUE);
    return ok;
}

static bool run_one(LobBench *bench, const char *name, GError **err) {
    for (size_t i = 0; i < G_N_ELEMENTS(benches); i++) {
        if (strcmp(benches[i].name, name) != 0)
            continue;
        GError *mine = NULL;
        (void)benches[i].run(bench, &mine);
        return lob_world_agree(bench->world, mine, err);
    }
    return lob_fail(err, LOB_ERROR_INPUT,
                    "there is no bench '%s': encoder, read, store, train, schedule, "
                    "stats, all",
                    name);
}

int lob_cmd_bench(int argc, char **argv) {
    g_autofree char *precision = NULL, *slide = NULL, *dir = NULL, *page = NULL;
    int batch = 8, repeats = LEAST_REPEATS, ranks = 0;
    double seconds = 3;
    LobBench bench = {.train = {.bags = 24,
                                .tiles = 4000,
                                .dim = 1024,
                                .centers = 6,
                                .seeds = 5,
                                .hidden = 256,
                                .attention = 128,
                                .epochs = 1}};
    const GOptionEntry entries[] = {
        {"seconds", 0, 0, G_OPTION_ARG_DOUBLE, &seconds, "For each measurement (default 3)", "S"},
        {"precision", 0, 0, G_OPTION_ARG_STRING, &precision, "encoder, train: fp32 or bf16 (default fp32)",
         "P"},
        {"repeats", 0, 0, G_OPTION_ARG_INT, &repeats,
         "Least number of repetitions (default 6, which bound a median with 95 %; at most 50)", "N"},
        {"batch", 0, 0, G_OPTION_ARG_INT, &batch, "encoder: tiles a call (default 8)", "N"},
        {"ranks", 0, 0, G_OPTION_ARG_INT, &ranks,
         "Refuse to measure with another number of ranks (they come from mpirun or srun)", "N"},
        {"slide", 0, 0, G_OPTION_ARG_FILENAME, &slide, "read: a slide", "FILE"},
        {"dir", 0, 0, G_OPTION_ARG_FILENAME, &dir, "store: where to write (default .)", "DIR"},
        {"bags", 0, 0, G_OPTION_ARG_INT, &bench.train.bags, "train: patients (default 24)", "N"},
        {"tiles", 0, 0, G_OPTION_ARG_INT, &bench.train.tiles, "train: of a bag (default 4000)", "N"},
        {"dim", 0, 0, G_OPTION_ARG_INT, &bench.train.dim, "train: columns of a tile (default 1024)", "N"},
        {"centers", 0, 0, G_OPTION_ARG_INT, &bench.train.centers, "train: folds (default 6)", "N"},
        {"seeds", 0, 0, G_OPTION_ARG_INT, &bench.train.seeds, "train: models of a fold (default 5)", "N"},
        {"hidden", 0, 0, G_OPTION_ARG_INT, &bench.train.hidden, "train: first layer (default 256)", "N"},
        {"attention", 0, 0, G_OPTION_ARG_INT, &bench.train.attention, "train: gates (default 128)", "N"},
        {"epochs", 0, 0, G_OPTION_ARG_INT, &bench.train.epochs, "train: of each fold (default 1)", "N"},
        {"page", 0, 0, G_OPTION_ARG_FILENAME, &page, "all: the page (default bench.html)", "FILE"},
        {NULL, 0, 0, 0, NULL, NULL, NULL},
    };
    g_autoptr(GOptionContext) context =
        g_option_context_new("encoder [NAME]|read|store|train|schedule|stats|all");
    g_option_context_add_main_entries(context, entries, NULL);
    g_option_context_set_summary(context,
                                 "Speed against the machine's own ceiling, measured in the same run. "
                                 "Under mpirun each rank measures, and rates add up.");
    g_autoptr(GError) err = NULL;
    LobWorld world = {.size = 1};
    lob_log_setup(LOB_LOG_INFO, lob_launcher_rank());
    bool ok = g_option_context_parse(context, &argc, &argv, &err);
    if (ok && (argc < 2 || argc > 3 || batch < 1 || repeats < 1 || repeats > MOST_REPEATS || ranks < 0 ||
               !(seconds >= 0) || (argc == 3 && strcmp(argv[1], "encoder") != 0)))
        ok = lob_fail(&err, LOB_ERROR_INPUT, "expected one bench, see lobule bench --help");
    if (!ok) {
        fprintf(stderr, "lobule bench: %s\n", err->message);
        return LOB_EXIT_INPUT;
    }
    bench.world = &world;
    bench.seconds = seconds;
    bench.dir = dir ? dir : ".";
    bench.slide = slide;
    bench.encoder = argc == 3 ? argv[2] : "texture";
    bench.precision = precision ? precision : "fp32";
    bench.batch = batch;
    bench.repeats = repeats;
    ok = lob_world_start(&world, &argc, &argv, &err);
    lob_log_setup(LOB_LOG_INFO, world.rank);
    if (ok && ranks > 0 && ranks != world.size)
        ok = lob_fail(&err, LOB_ERROR_INPUT,
                      "--ranks %d, but there are %d: mpirun -n %d lobule bench ... starts them", ranks,
                      world.size, ranks);
    ok = ok && (strcmp(argv[1], "all") == 0 ? run_all(&bench, page ? page : "bench.html", &err)
                                            : run_one(&bench, argv[1], &err));
    if (!ok && world.rank == 0)
        lob_error_log("bench: %s", err->message);
    lob_world_end(&world);
    return world.rank == 0 ? lob_error_exit_code(err) : LOB_EXIT_DONE;
}
