/* lobule store ls|verify|export|import|probe: looks into feature stores, checks them, exchanges them. No MPI.
 */
#include "base/base.h"
#include "hdf5io/hdf5io.h"
#include "jobs/jobs.h"
#include "jobs/store_internal.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define USAGE                                                                                                \
    "usage: lobule store ls|verify|export|import|probe ... (each has --help)\n"                              \
    "  ls PATH...      the slides of stores: state, tiles, mpp\n"                                            \
    "  verify PATH...  reads all rows again and checks them; 1 where any is damaged\n"                       \
    "  export PATH... --format trident|clam|stamp --to DIR\n"                                                \
    "  import FILE|DIR... --to STORE.h5 --slides CSV [--encoder NAME]\n"                                     \
    "  probe FILE...   whether other tools' feature files can be read without harm\n"                        \
    "PATH is a store file, or a folder with parts (a run's output)\n"

/* More readers of one file only queue before its disks. */
#define MOST_READERS 16

static int fail_with(GError *error) {
    int code = lob_error_exit_code(error);
    lob_error_log("%s", error->message);
    g_error_free(error);
    return code;
}

/* Parses options; leaves the arguments after argv[0] in argv. */
static bool parse(int *argc, char ***argv, const char *arguments, const char *summary,
                  const GOptionEntry *entries, GError **err) {
    g_autoptr(GError) cause = NULL;
    g_autofree char *program = g_strdup_printf("lobule store %s", (*argv)[0]);
    g_set_prgname(program);
    g_autoptr(GOptionContext) context = g_option_context_new(arguments);
    g_option_context_set_summary(context, summary);
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, argc, argv, &cause))
        return lob_fail(err, LOB_ERROR_INPUT, "%s", cause->message);
    return *argc > 1 || lob_fail(err, LOB_ERROR_INPUT, "%s: nothing is named; see --help", (*argv)[0]);
}

/* All parts behind the arguments. */
static GPtrArray *find_parts(char **arguments, GError **err) {
    g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
    for (char **argument = arguments; *argument; argument++) {
        g_autoptr(GError) cause = NULL;
        g_auto(GStrv) parts = lob_store_find(*argument, &cause);
        if (!parts) {
            if (cause)
                g_propagate_error(err, g_steal_pointer(&cause));
            else
                lob_fail(err, LOB_ERROR_INPUT, "%s: no part-*.h5 in this folder or its store/", *argument);
            return NULL;
        }
        for (char **part = parts; *part; part++)
            g_ptr_array_add(paths, g_strdup(*part));
    }
    return g_steal_pointer(&paths);
}

static int print_json(json_t *json) {
    g_autofree char *text = json ? json_dumps(json, JSON_INDENT(1) | JSON_SORT_KEYS) : NULL;
    int code = text && printf("%s\n", text) > 0 && fflush(stdout) == 0 ? LOB_EXIT_DONE : LOB_EXIT_OTHER;
    json_decref(json);
    if (code != LOB_EXIT_DONE)
        lob_error_log("cannot write JSON to standard output");
    return code;
}

/* Takes `value` over; where it is NULL (a path that is not UTF-8) the list becomes NULL. */
static void append(json_t **list, json_t *value) {
    if (*list && json_array_append_new(*list, value) != 0)
        g_clear_pointer(list, json_decref);
}

/* ---- ls ---- */

static json_t *slide_json(const LobStoreSlide *slide, uint64_t done) {
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:f, s:s, s:I, s:I, s:I}", "slide_id",
                     slide->slide_id, "patient_id", slide->patient_id, "center", slide->center, "state",
                     lob_slide_state_name(slide->state), "first", (json_int_t)slide->first, "tiles",
                     (json_int_t)slide->count, "tiles_done", (json_int_t)done, "mpp",
                     (slide->mpp_x + slide->mpp_y) / 2, "mpp_source", slide->mpp_source, "width",
                     (json_int_t)slide->width, "height", (json_int_t)slide->height, "unreadable",
                     (json_int_t)slide->unreadable);
}

static json_t *store_json(const char *path, const LobStore *store, const uint64_t *done) {
    const LobStoreHeader *h = lob_store_header(store);
    size_t n = 0;
    const LobStoreSlide *slides = lob_store_slides(store, &n);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        append(&list, slide_json(&slides[i], done[i]));
    return json_pack("{s:s, s:b, s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:i, s:i, s:f, s:I, s:o}", "store", path,
                     "finished", lob_store_finished(store), "encoder", h->encoder, "weights_sha256",
                     h->weights_sha256, "transform", h->transform, "precision", h->precision, "cpu", h->cpu,
                     "features", h->dim, "type", h->float32 ? "float32" : "float16", "tile_size",
                     h->tile_size, "tile_overlap", h->overlap, "tile_mpp", h->tile_mpp, "rows",
                     (json_int_t)lob_store_rows(store), "slides", list);
}

static void list_store(const char *path, const LobStore *store, const uint64_t *done) {
    const LobStoreHeader *h = lob_store_header(store);
    size_t n = 0;
    const LobStoreSlide *slides = lob_store_slides(store, &n);
    fprintf(stderr,
            "%s: %s, encoder %s, %d x %s features a tile, %d px at %g um/px, %zu slides, %" PRIu64 " tiles\n",
            path, lob_store_finished(store) ? "finished" : "not finished", h->encoder, h->dim,
            h->float32 ? "float32" : "float16", h->tile_size, h->tile_mpp, n, lob_store_rows(store));
    for (size_t i = 0; i < n; i++)
        printf("%s\t%s\t%s\t%s\t%" PRIu64 "\t%" PRIu64 "\t%u\t%.4f\t%s\n", slides[i].slide_id,
               slides[i].patient_id, slides[i].center, lob_slide_state_name(slides[i].state), slides[i].count,
               done[i], slides[i].unreadable, (slides[i].mpp_x + slides[i].mpp_y) / 2, slides[i].mpp_source);
}

static int store_ls(int argc, char **argv) {
    gboolean json = false;
    const GOptionEntry entries[] = {{"json", 0, 0, G_OPTION_ARG_NONE, &json, "JSON on standard output", NULL},
                                    {NULL, 0, 0, 0, NULL, NULL, NULL}};
    GError *err = NULL;
    if (!parse(&argc, &argv, "PATH...", "Lists the slides of feature stores.", entries, &err))
        return fail_with(err);
    g_autoptr(GPtrArray) paths = find_parts(argv + 1, &err);
    if (!paths)
        return fail_with(err);
    json_t *all = json_array();
    if (!json)
        printf("slide_id\tpatient_id\tcenter\tstate\ttiles\tdone\tunreadable\tmpp\tmpp_source\n");
    for (guint p = 0; p < paths->len; p++) {
        const char *path = paths->pdata[p];
        size_t n = 0;
        g_autoptr(LobStore) store = lob_store_open(path, &err);
        if (store)
            lob_store_slides(store, &n);
        g_autofree uint64_t *done = g_new0(uint64_t, n + 1);
        if (!store || !lob_store_rows_done(path, store, done, &err)) {
            json_decref(all);
            return fail_with(err);
        }
        if (json)
            append(&all, store_json(path, store, done));
        else
            list_store(path, store, done);
    }
    if (json)
        return print_json(all);
    json_decref(all);
    return LOB_EXIT_DONE;
}

/* ---- verify ---- */

static json_t *report_json(const char *path, const LobStoreReport *report) {
    json_t *damage = json_array();
    for (size_t i = 0; i < report->n_damage; i++)
        json_array_append_new(damage,
                              json_pack("{s:s, s:I, s:I, s:s}", "slide_id", report->damage[i].slide_id,
                                        "first", (json_int_t)report->damage[i].first, "count",
                                        (json_int_t)report->damage[i].count, "what", report->damage[i].what));
    return json_pack("{s:s, s:b, s:I, s:I, s:I, s:o}", "store", path, "finished", report->finished, "slides",
                     (json_int_t)report->slides_checked, "rows", (json_int_t)report->rows_checked, "bytes",
                     (json_int_t)report->bytes_checked, "damage", damage);
}

static void print_report(const char *path, const LobStoreReport *report, double seconds) {
    for (size_t i = 0; i < report->n_damage; i++)
        printf("%s\t%s\t%" PRIu64 "\t%" PRIu64 "\t%s\n", path, report->damage[i].slide_id,
               report->damage[i].first, report->damage[i].first + report->damage[i].count,
               report->damage[i].what);
    fprintf(stderr, "%s: %s, %zu slides, %" PRIu64 " rows read in %.1f s: %s", path,
            report->finished ? "finished" : "not finished, by its journal", report->slides_checked,
            report->rows_checked, seconds, report->n_damage ? "" : "all well\n");
    if (report->n_damage)
        fprintf(stderr,
                "%zu damaged range%s\n"
                "  restore the file from a copy, or make these slides again with lobule embed --verify "
                "STUDY\n",
                report->n_damage, report->n_damage == 1 ? "" : "s");
}

static int store_verify(int argc, char **argv) {
    gboolean json = false;
    int processes = (int)MIN(g_get_num_processors(), MOST_READERS);
    const GOptionEntry entries[] = {{"json", 0, 0, G_OPTION_ARG_NONE, &json, "JSON on standard output", NULL},
                                    {"processes", 'j', 0, G_OPTION_ARG_INT, &processes,
                                     "that read at the same time (default: one a core, at most 16)", "N"},
                                    {NULL, 0, 0, 0, NULL, NULL, NULL}};
    GError *err = NULL;
    if (!parse(&argc, &argv, "PATH...",
               "Reads every row again and compares it with its checksum. Damage is listed as store, slide, "
               "first row, row after the last, reason.",
               entries, &err))
        return fail_with(err);
    g_autoptr(GPtrArray) paths = find_parts(argv + 1, &err);
    if (!paths)
        return fail_with(err);
    if (processes < 1) {
        lob_fail(&err, LOB_ERROR_INPUT, "store verify: --processes must be at least 1");
        return fail_with(err);
    }
    bool damaged = false;
    json_t *all = json_array();
    for (guint p = 0; p < paths->len; p++) {
        LobStoreReport report;
        double start = lob_clock();
        if (!lob_store_verify_parallel(paths->pdata[p], processes, &report, &err)) {
            json_decref(all);
            return fail_with(err);
        }
        damaged |= report.n_damage > 0;
        if (json)
            append(&all, report_json(paths->pdata[p], &report));
        else
            print_report(paths->pdata[p], &report, lob_clock() - start);
        lob_store_report_clear(&report);
    }
    int code = json ? print_json(all) : LOB_EXIT_DONE;
    if (!json)
        json_decref(all);
    return code == LOB_EXIT_DONE && damaged ? LOB_EXIT_OTHER : code;
}

/* ---- export ---- */

static int store_export(int argc, char **argv) {
    g_autofree char *format_name = NULL, *to = NULL;
    gboolean replace = false;
    const GOptionEntry entries[] = {
        {"format", 0, 0, G_OPTION_ARG_STRING, &format_name, "layout of the files", "trident|clam|stamp"},
        {"to", 0, 0, G_OPTION_ARG_FILENAME, &to, "folder for the files", "DIR"},
        {"replace", 0, 0, G_OPTION_ARG_NONE, &replace, "replace files that are there", NULL},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};
    GError *err = NULL;
    LobFeatureFormat format;
    if (!parse(&argc, &argv, "PATH...", "Writes one feature file a slide, as other tools write them.",
               entries, &err))
        return fail_with(err);
    if (!format_name || !to) {
        lob_fail(&err, LOB_ERROR_INPUT, "store export: --format and --to are needed");
        return fail_with(err);
    }
    g_autoptr(GPtrArray) paths =
        lob_feature_format_parse(format_name, &format, &err) ? find_parts(argv + 1, &err) : NULL;
    if (!paths)
        return fail_with(err);
    for (guint p = 0; p < paths->len; p++) {
        size_t slides = 0;
        uint64_t left_out = 0;
        g_autoptr(LobStore) store = lob_store_open(paths->pdata[p], &err);
        if (!store || !lob_store_export(store, format, to, replace, &slides, &left_out, &err)) {
            g_prefix_error(&err, "%s: ", (char *)paths->pdata[p]);
            return fail_with(err);
        }
        fprintf(stderr, "%s: %zu slides written to %s\n", (char *)paths->pdata[p], slides, to);
        if (left_out)
            lob_warning("%" PRIu64 " unreadable tiles are left out: the files have no word for them",
                        left_out);
    }
    return LOB_EXIT_DONE;
}

/* ---- import ---- */

static int store_import(int argc, char **argv) {
    g_autofree char *to = NULL, *slides = NULL, *encoder = NULL;
    double mpp = 0, tile_mpp = 0;
    int tile_size = 0;
    gboolean float16 = false;
    const GOptionEntry entries[] = {
        {"to", 0, 0, G_OPTION_ARG_FILENAME, &to, "the new store", "STORE.h5"},
        {"slides", 0, 0, G_OPTION_ARG_FILENAME, &slides, "whose slides: slide_id,patient_id,center[,mpp]",
         "CSV"},
        {"encoder", 0, 0, G_OPTION_ARG_STRING, &encoder, "needed where the files do not name it", "NAME"},
        {"mpp", 0, 0, G_OPTION_ARG_DOUBLE, &mpp, "of level 0, where the CSV has none", "UM"},
        {"tile-size", 0, 0, G_OPTION_ARG_INT, &tile_size, "px, needed where the files do not say", "PX"},
        {"tile-mpp", 0, 0, G_OPTION_ARG_DOUBLE, &tile_mpp, "of the tiles, likewise", "UM"},
        {"float16", 0, 0, G_OPTION_ARG_NONE, &float16, "store float16 though the files hold float32", NULL},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};
    GError *err = NULL;
    if (!parse(&argc, &argv, "FILE|DIR...", "Makes a store of feature files by TRIDENT, CLAM or STAMP.",
               entries, &err))
        return fail_with(err);
    if (!to || !(mpp >= 0) || !(tile_mpp >= 0) || tile_size < 0) {
        lob_fail(&err, LOB_ERROR_INPUT, "store import: %s", to ? "sizes must be positive" : "--to is needed");
        return fail_with(err);
    }
    const LobImportOptions options = {.slides = slides,
                                      .encoder = encoder,
                                      .mpp = mpp,
                                      .tile_size = tile_size,
                                      .tile_mpp = tile_mpp,
                                      .float16 = float16};
    size_t n = 0;
    uint64_t rows = 0;
    if (!lob_store_import((const char *const *)argv + 1, &options, to, &n, &rows, &err))
        return fail_with(err);
    fprintf(stderr, "%s: %zu slides, %" PRIu64 " tiles\n", to, n, rows);
    return LOB_EXIT_DONE;
}

/* ---- probe ---- */

/* What is wrong goes to standard output: a job that may not fork reads it there. It tells by itself what
 * cannot be opened. */
static int store_probe(int argc, char **argv) {
    g_autofree char *encoder = NULL;
    const GOptionEntry entries[] = {
        {"encoder", 0, 0, G_OPTION_ARG_STRING, &encoder, "which one of files that hold several", "NAME"},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};
    g_autoptr(GError) damage = NULL;
    GError *err = NULL;
    if (!parse(&argc, &argv, "FILE...", "Reads feature files of other tools in a process of its own.",
               entries, &err))
        return fail_with(err);
    const bool by_hand = strcmp(argv[1], "--") != 0;
    char **files = argv + (by_hand ? 1 : 2);
    if (lob_feature_files_probe((const char *const *)files, g_strv_length(files), encoder, &damage) &&
        (!by_hand || lob_feature_files_open((const char *const *)files, encoder, &damage)))
        return LOB_EXIT_DONE;
    printf("%s\n", damage->message);
    return lob_error_exit_code(damage);
}

int lob_cmd_store(int argc, char **argv) {
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } verbs[] = {{"ls", store_ls},
                 {"verify", store_verify},
                 {"export", store_export},
                 {"import", store_import},
                 {"probe", store_probe}};
    lob_log_setup(LOB_LOG_INFO, 0);
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(USAGE, stdout);
        return LOB_EXIT_DONE;
    }
    for (size_t i = 0; argc > 1 && i < G_N_ELEMENTS(verbs); i++)
        if (strcmp(argv[1], verbs[i].name) == 0)
            return verbs[i].run(argc - 1, argv + 1);
    if (argc > 1)
        lob_error_log("store: no such verb: %s", argv[1]);
    fputs(USAGE, stderr);
    return LOB_EXIT_INPUT;
}
