/* What a simulation is fed with: sizes of slides, the cost of a record; and which options go together. */
#include "hdf5io/hdf5io.h"
#include "jobs/simulate_internal.h"

#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- options ---- */

enum { SIMULATES = 1, PLANS_CAPACITY = 2 };

static const struct {
    const char *name;
    int only; /* mode */
} modes[] = {
    {"--ranks", SIMULATES},
    {"--rank0-works-up-to", SIMULATES},
    {"--svg", SIMULATES},
    {"--static", SIMULATES},
    {"--seconds-per-tile", SIMULATES},
    {"--node-ranks", SIMULATES},
    {"--weights-gib", SIMULATES},
    {"--row-bytes", SIMULATES},
    {"--record-seconds", SIMULATES},
    {"--cores", PLANS_CAPACITY},
    {"--nodes", PLANS_CAPACITY},
    {"--node-gib", PLANS_CAPACITY},
    {"--gflops-core", PLANS_CAPACITY},
    {"--bf16-factor", PLANS_CAPACITY},
    {"--gigabytes-slide", PLANS_CAPACITY},
    {"--plan-seconds", PLANS_CAPACITY},
    {"--patients", PLANS_CAPACITY},
    {"--folds", PLANS_CAPACITY},
    {"--train-seeds", PLANS_CAPACITY},
    {"--epochs", PLANS_CAPACITY},
    {"--groups", PLANS_CAPACITY},
    {"--train-dim", PLANS_CAPACITY},
    {"--train-tiles", PLANS_CAPACITY},
    {"--train-gflops", PLANS_CAPACITY},
};

/* The first must not come with (or, negated, without) the second. */
static const struct {
    const char *option, *other;
    bool needs;
} pairs[] = {
    {"--fit", "--plan", true},          {"--precision", "--encoder", true},
    {"--encoder", "--bench", true},     {"--tiles-median", "--plan", false},
    {"--tiles-sigma", "--plan", false}, {"--bench", "--seconds-per-tile", false},
    {"--bench", "--spread", false},
};

static bool given(char *const *argv, const char *option) {
    const size_t length = strlen(option);
    for (size_t i = 1; argv[i] && strcmp(argv[i], "--") != 0; i++)
        if (strncmp(argv[i], option, length) == 0 && (argv[i][length] == '\0' || argv[i][length] == '='))
            return true;
    return false;
}

bool lob_simulate_options_agree(char *const *argv, GError **err) {
    const bool capacity = given(argv, "--capacity");
    for (size_t i = 0; i < G_N_ELEMENTS(modes); i++)
        if (given(argv, modes[i].name) && (modes[i].only == PLANS_CAPACITY) != capacity)
            return lob_fail(err, LOB_ERROR_INPUT, "%s has no effect %s --capacity", modes[i].name,
                            capacity ? "with" : "without");
    for (size_t i = 0; i < G_N_ELEMENTS(pairs); i++)
        if (given(argv, pairs[i].option) && given(argv, pairs[i].other) != pairs[i].needs)
            return lob_fail(err, LOB_ERROR_INPUT, "%s %s %s", pairs[i].option,
                            pairs[i].needs ? "needs" : "does not go with", pairs[i].other);
    if (given(argv, "--slides") && given(argv, "--plan") && !given(argv, "--fit"))
        return lob_fail(err, LOB_ERROR_INPUT,
                        "--slides does not go with --plan: the run says how many there are (--fit draws as "
                        "many as you like of their distribution)");
    if (!capacity && given(argv, "--bench") && !given(argv, "--encoder"))
        return lob_fail(err, LOB_ERROR_INPUT,
                        "--bench needs --encoder NAME, whose seconds a tile and spread are taken from it");
    if (!capacity && given(argv, "--all-cores") && !given(argv, "--bench"))
        return lob_fail(err, LOB_ERROR_INPUT, "--all-cores has no effect without --bench or --capacity");
    return true;
}

static void add_machine(const LobSimulateOptions *o, json_t *all) {
    json_t *machine = json_pack(
        "{s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f}", "nodes",
        o->machine.nodes, "cores", o->machine.cores, "node_gib", o->machine.node_gib, "plan_seconds",
        o->machine.plan_seconds, "gflops_core", o->gflops_core, "bf16_factor", o->bf16_factor,
        "gigabytes_slide", o->gigabytes_slide, "patients", o->train.patients, "folds", o->train.centers,
        "train_seeds", o->train.seeds, "epochs", o->train.epochs, "groups", o->train.groups, "train_dim",
        o->train.dim, "train_tiles", o->train.tiles, "train_gflops", o->train.gflops);
    json_object_update(all, machine);
    json_decref(machine);
}

json_t *lob_simulate_options_json(const LobSimulateOptions *o) {
    const LobSimulation *s = &o->sim;
    json_t *all =
        json_pack("{s:s?, s:b, s:i, s:f, s:f, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:i, s:i}",
                  "plan", o->plan, "fit", o->fit, "slides", o->slides, "tiles_median", o->median,
                  "tiles_sigma", o->sigma, "seed", (json_int_t)o->seed, "seconds_per_tile",
                  s->seconds_per_tile, "spread", s->spread, "open_seconds", s->open_seconds, "write_seconds",
                  s->write_seconds, "range_seconds", s->sched.range_seconds, "latency", s->latency,
                  "message_seconds", s->message_seconds, "sync_seconds", s->sync_seconds, "serve_seconds",
                  s->serve_seconds, "rank0_works_up_to", s->rank0_works_up_to, "node_ranks", s->node_ranks);
    json_t *rest = json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:s?, s:s?, s:s?, s:f}",
                             "fs_bandwidth_gb", o->gigabytes_second, "bytes_per_tile", s->bytes_per_tile,
                             "row_bytes", s->row_bytes, "weights_gib", o->weights_gib, "straggler_share",
                             s->straggler_share, "straggler_factor", s->straggler_factor, "mtbf_hours",
                             o->mtbf_hours, "node_mtbf_hours", o->node_mtbf_hours, "restart_minutes",
                             o->restart_minutes, "walltime_hours", o->walltime_hours, "bench", o->bench,
                             "encoder", o->encoder, "precision", o->precision, "all_cores", o->all_cores);
    json_object_update(all, rest);
    json_decref(rest);
    if (o->wants_capacity)
        add_machine(o, all);
    else
        json_object_set_new(all, "record_seconds", json_real(s->record_seconds));
    return all;
}

/* ---- sizes ---- */

static bool read_plan(const char *dir, LobSizes *sizes, GError **err) {
    g_autofree char *path = g_build_filename(dir, "slides.csv", NULL);
    g_autoptr(LobTable) table = lob_table_read(path, err);
    if (!table)
        return false;
    const int column = lob_table_require(table, "tiles", err);
    const int center = column < 0 ? -1 : lob_table_require(table, "center", err);
    const int state = center < 0 ? -1 : lob_table_require(table, "state", err);
    if (state < 0)
        return false;
    g_autoptr(GHashTable) numbers = g_hash_table_new(g_str_hash, g_str_equal);
    sizes->tiles = g_new0(uint32_t, lob_table_rows(table));
    sizes->centers = g_new0(uint32_t, lob_table_rows(table));
    for (size_t row = 0; row < lob_table_rows(table); row++) {
        double tiles;
        char *name = (char *)(gpointer)lob_table_cell(table, row, center);
        const char *how = lob_table_cell(table, row, state);
        if (!lob_table_number(table, row, column, &tiles, err))
            return false;
        if (strcmp(how, "failed") == 0 || strcmp(how, "quarantined") == 0 || !(tiles >= 1) ||
            tiles > UINT32_MAX)
            continue;
        if (!g_hash_table_contains(numbers, name))
            g_hash_table_insert(numbers, name, GUINT_TO_POINTER(g_hash_table_size(numbers)));
        sizes->centers[sizes->n] = GPOINTER_TO_UINT(g_hash_table_lookup(numbers, name));
        sizes->tiles[sizes->n++] = (uint32_t)tiles;
    }
    return sizes->n > 0 || lob_fail(err, LOB_ERROR_INPUT, "%s: no slide that did not fail has tiles", path);
}

static void draw(LobSizes *sizes, uint32_t n, uint64_t seed) {
    g_free(sizes->tiles);
    g_clear_pointer(&sizes->centers, g_free);
    sizes->n = n;
    sizes->tiles = lob_simulate_tiles(n, sizes->median, sizes->sigma, seed);
}

bool lob_simulate_sizes(const LobSimulateOptions *o, LobSizes *sizes, GError **err) {
    sizes->median = o->median;
    sizes->sigma = o->sigma;
    if (o->slides < 1 || o->slides > 100000000 || !(o->median >= 1 && o->median < 1e9) ||
        !(o->sigma >= 0 && o->sigma < 10))
        return lob_fail(err, LOB_ERROR_INPUT,
                        "slides and their median of tiles must be at least 1, the sigma within 0..10");
    if (o->plan && !read_plan(o->plan, sizes, err))
        return false;
    if (o->plan)
        lob_simulate_fit(sizes->tiles, sizes->n, &sizes->median, &sizes->sigma);
    if (!o->plan || o->fit)
        draw(sizes, (uint32_t)o->slides, (uint64_t)o->seed);
    for (uint32_t s = 0; s < sizes->n; s++)
        sizes->total += sizes->tiles[s];
    return true;
}

void lob_simulate_sizes_clear(LobSizes *sizes) {
    g_free(sizes->tiles);
    g_free(sizes->centers);
    *sizes = (LobSizes){0};
}

/* ---- a record ---- */

/* A lease and a range in turn, as embed has them. */
static bool append_records(LobJournal *journal, int n, GError **err) {
    g_autofree char *text = lob_journal_quality_text(0x12345678);
    for (int i = 0; i < n; i++) {
        const LobJournalRecord record = {.kind = i % 2 ? LOB_J_RANGE : LOB_J_LEASE,
                                         .slide_id = (char *)"hospital-07-0123456-A",
                                         .first = (uint64_t)i * 16,
                                         .count = 16,
                                         .crc = 0x9abcdef0,
                                         .seconds = 20.125,
                                         .text = i % 2 ? text : (char *)""};
        if (!lob_journal_append(journal, &record, err))
            return false;
    }
    return true;
}

bool lob_simulate_record_cost(double *seconds, GError **err) {
    enum { RECORDS = 20000 };
    g_autofree char *dir = g_dir_make_tmp("lobule-simulate-XXXXXX", err);
    if (!dir)
        return false;
    g_autofree char *path = g_build_filename(dir, "records.journal", NULL);
    LobJournal *journal = lob_journal_open(path, NULL, NULL, err);
    const double start = lob_thread_cpu_seconds();
    const bool ok = journal && append_records(journal, RECORDS, err);
    *seconds = (lob_thread_cpu_seconds() - start) / RECORDS;
    if (journal)
        lob_journal_close(journal);
    (void)remove(path);
    (void)g_rmdir(dir);
    return ok;
}
