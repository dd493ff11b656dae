/* lobule stats: the survival statistics of any table of predictions. No MPI. */
#include "stats/stats.h"
#include "base/base.h"
#include "jobs/jobs.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    char *time, *event, *score, *center, *arm, *reference, *horizons, *risks;
    char **only; /* COL=VALUE */
    int bootstrap;
    gint64 seed;
    gboolean json;
} Options;

typedef struct {
    double *time, *score, *horizons, *risk;
    uint8_t *event;
    uint32_t *center, *arm;
    GPtrArray *centers, *arms;
    bool *keep; /* [rows of the table] */
    size_t n, n_horizons, dropped;
} Input;

static void input_clear(Input *in) {
    void *owned[] = {in->time, in->score, in->horizons, in->risk, in->event, in->center, in->arm, in->keep};
    for (size_t i = 0; i < G_N_ELEMENTS(owned); i++)
        g_free(owned[i]);
    if (in->centers)
        g_ptr_array_unref(in->centers);
    if (in->arms)
        g_ptr_array_unref(in->arms);
}

/* ---- reading ---- */
static bool parse_horizons(Input *in, const char *text, GError **err) {
    if (!text)
        return true;
    g_auto(GStrv) parts = g_strsplit(text, ",", -1);
    in->horizons = g_new(double, g_strv_length(parts) + 1);
    for (size_t i = 0; parts[i]; i++) {
        char *end;
        double t = g_ascii_strtod(parts[i], &end);
        if (end == parts[i] || *end != '\0' || !(t > 0) || !isfinite(t))
            return lob_fail(err, LOB_ERROR_INPUT, "--horizons: '%s' is no positive number", parts[i]);
        in->horizons[in->n_horizons++] = t;
    }
    return true;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool keep_only(Input *in, const LobTable *table, char *const *only, GError **err) {
    in->keep = g_new(bool, lob_table_rows(table) + 1);
    for (size_t r = 0; r < lob_table_rows(table); r++)
        in->keep[r] = true;
    for (char *const *wanted = only; wanted && *wanted; wanted++) {
        const char *equals = strchr(*wanted, '=');
        if (!equals)
            return lob_fail(err, LOB_ERROR_INPUT, "--only %s: expected COLUMN=VALUE", *wanted);
        g_autofree char *name = g_strndup(*wanted, (size_t)(equals - *wanted));
        const int column = lob_table_require(table, name, err);
        if (column < 0)
            return false;
        for (size_t r = 0; r < lob_table_rows(table); r++)
            in->keep[r] = in->keep[r] && strcmp(lob_table_cell(table, r, column), equals + 1) == 0;
    }
    return true;
}

/* Rows of several models, endpoints or repeats would count a patient several times. */
static bool once_a_patient(const Input *in, const LobTable *table, GError **err) {
    const int patient = lob_table_find(table, "patient_id");
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    for (size_t r = 0; patient >= 0 && r < lob_table_rows(table); r++) {
        char *id = (char *)lob_table_cell(table, r, patient);
        if (in->keep[r] && id[0] != '\0' && !g_hash_table_add(seen, id))
            return lob_fail(
                err, LOB_ERROR_INPUT,
                "%s:%zu: column patient_id: '%s' has a row already, and statistics need one row a "
                "patient; where model, endpoint or repeat differ, choose with --only model=NAME, "
                "--only endpoint=NAME, --only repeat=NUMBER",
                lob_table_path(table), lob_table_line(table, r), id);
    }
    return true;
}

/* The distinct cells of a column in the order of their bytes, `first` ahead of the others. */
static GPtrArray *labels_of(const LobTable *table, const bool *keep, int column, const char *first,
                            GError **err) {
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GPtrArray) labels = g_ptr_array_new();
    for (size_t i = 0; i < lob_table_rows(table); i++) {
        char *cell = (char *)lob_table_cell(table, i, column);
        if (keep[i] && cell[0] != '\0' && g_hash_table_add(seen, cell))
            g_ptr_array_add(labels, cell);
    }
    g_ptr_array_sort(labels, by_text);
    for (guint i = 0; first && i < labels->len; i++)
        if (strcmp(labels->pdata[i], first) == 0) {
            void *found = g_ptr_array_steal_index(labels, i);
            g_ptr_array_insert(labels, 0, found);
            return g_steal_pointer(&labels);
        }
    if (first) {
        lob_fail(err, LOB_ERROR_INPUT, "--reference: no row of %s has '%s' in column %s",
                 lob_table_path(table), first, lob_table_column_name(table, (size_t)column));
        return NULL;
    }
    return g_steal_pointer(&labels);
}

static uint32_t index_of(const GPtrArray *labels, const char *cell) {
    for (guint i = 0; i < labels->len; i++)
        if (strcmp(labels->pdata[i], cell) == 0)
            return i;
    g_assert_not_reached();
}

typedef struct {
    int time, event, score, center, arm;
    int *risk; /* [n_horizons] or NULL */
} Columns;

static bool find_columns(Columns *c, const LobTable *table, const Options *options, const Input *in,
                         GError **err) {
    *c = (Columns){.center = -1, .arm = -1};
    if ((c->time = lob_table_require(table, options->time, err)) < 0 ||
        (c->event = lob_table_require(table, options->event, err)) < 0 ||
        (c->score = lob_table_require(table, options->score, err)) < 0 ||
        (options->center && (c->center = lob_table_require(table, options->center, err)) < 0) ||
        (options->arm && (c->arm = lob_table_require(table, options->arm, err)) < 0))
        return false;
    if (!options->risks)
        return true;
    g_auto(GStrv) names = g_strsplit(options->risks, ",", -1);
    if (g_strv_length(names) != in->n_horizons)
        return lob_fail(err, LOB_ERROR_INPUT, "--risks: %u columns for %zu horizons", g_strv_length(names),
                        in->n_horizons);
    c->risk = g_new(int, in->n_horizons + 1);
    for (size_t k = 0; k < in->n_horizons; k++)
        if ((c->risk[k] = lob_table_require(table, names[k], err)) < 0)
            return false;
    return true;
}

static bool bad_cell(const LobTable *table, size_t row, int column, const char *wanted, GError **err) {
    return lob_fail(err, LOB_ERROR_INPUT, "%s:%zu: column %s: '%s' is not %s", lob_table_path(table),
                    lob_table_line(table, row), lob_table_column_name(table, (size_t)column),
                    lob_table_cell(table, row, column), wanted);
}

/* Takes over one row unless a cell it needs is empty. */
static bool read_row(Input *in, const LobTable *table, const Columns *c, size_t row, GError **err) {
    double time, event, score, risk;
    size_t n = in->n;
    bool missing = (c->center >= 0 && lob_table_cell(table, row, c->center)[0] == '\0') ||
                   (c->arm >= 0 && lob_table_cell(table, row, c->arm)[0] == '\0');
    if (!lob_table_number(table, row, c->time, &time, err) ||
        !lob_table_number(table, row, c->event, &event, err) ||
        !lob_table_number(table, row, c->score, &score, err))
        return false;
    if (time < 0)
        return bad_cell(table, row, c->time, "a time >= 0", err);
    if (!isnan(event) && event != 0 && event != 1)
        return bad_cell(table, row, c->event, "0 (censored) or 1 (event)", err);
    for (size_t k = 0; c->risk && k < in->n_horizons; k++) {
        if (!lob_table_number(table, row, c->risk[k], &risk, err))
            return false;
        if (risk < 0 || risk > 1)
            return bad_cell(table, row, c->risk[k], "a probability", err);
        missing |= isnan(risk);
        in->risk[n * in->n_horizons + k] = risk;
    }
    if (missing || isnan(time) || isnan(event) || isnan(score)) {
        in->dropped++;
        return true;
    }
    in->time[n] = time;
    in->event[n] = event == 1;
    in->score[n] = score;
    if (c->center >= 0)
        in->center[n] = index_of(in->centers, lob_table_cell(table, row, c->center));
    if (c->arm >= 0)
        in->arm[n] = index_of(in->arms, lob_table_cell(table, row, c->arm));
    in->n++;
    return true;
}

static bool read_rows(Input *in, const LobTable *table, const Columns *c, const Options *options,
                      GError **err) {
    size_t rows = lob_table_rows(table);
    in->time = g_new(double, rows + 1);
    in->event = g_new(uint8_t, rows + 1);
    in->score = g_new(double, rows + 1);
    in->risk = c->risk ? g_new(double, rows * in->n_horizons + 1) : NULL;
    if (c->center >= 0) {
        in->center = g_new(uint32_t, rows + 1);
        in->centers = labels_of(table, in->keep, c->center, NULL, err);
    }
    if (c->arm >= 0) {
        in->arm = g_new(uint32_t, rows + 1);
        in->arms = labels_of(table, in->keep, c->arm, options->reference, err);
        if (!in->arms)
            return false;
        if (in->arms->len < 2)
            return lob_fail(err, LOB_ERROR_INPUT, "%s: column %s has %u level(s); arms need at least two",
                            lob_table_path(table), options->arm, in->arms->len);
    }
    for (size_t row = 0; row < rows; row++)
        if (in->keep[row] && !read_row(in, table, c, row, err))
            return false;
    if (in->n == 0)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: no row is complete in the columns asked for",
                        lob_table_path(table));
    return true;
}

/* ---- writing ---- */
static bool write_stdout(const char *text, size_t size, GError **err) {
    if (fwrite(text, 1, size, stdout) != size || fflush(stdout) != 0)
        return lob_fail_errno(err, LOB_ERROR_IO, errno, "standard output");
    return true;
}

static bool print_csv(const LobPanel *panel, GError **err) {
    static const char *const columns[] = {"metric", "center", "estimate", "lower", "upper",
                                          "n",      "events", "note",     NULL};
    g_autoptr(LobCsv) csv = lob_csv_new(columns);
    for (size_t i = 0; i < panel->n_rows; i++) {
        const LobPanelRow *row = &panel->row[i];
        lob_csv_text(csv, row->metric);
        lob_csv_text(csv, row->center);
        lob_csv_number(csv, row->estimate);
        lob_csv_number(csv, row->lower);
        lob_csv_number(csv, row->upper);
        lob_csv_integer(csv, (int64_t)row->n);
        lob_csv_integer(csv, (int64_t)row->events);
        lob_csv_text(csv, row->note ? row->note : "");
        lob_csv_end_row(csv);
    }
    size_t size;
    const char *text = lob_csv_data(csv, &size);
    return write_stdout(text, size, err);
}

static void set_number(json_t *object, const char *key, double value) {
    json_object_set_new(object, key, isfinite(value) ? json_real(value) : json_null());
}

static bool print_json(const LobPanel *panel, GError **err) {
    json_t *rows = json_array();
    for (size_t i = 0; i < panel->n_rows; i++) {
        const LobPanelRow *row = &panel->row[i];
        json_t *object = json_object();
        json_object_set_new(object, "metric", json_string(row->metric));
        json_object_set_new(object, "center", json_string(row->center));
        set_number(object, "estimate", row->estimate);
        set_number(object, "lower", row->lower);
        set_number(object, "upper", row->upper);
        json_object_set_new(object, "n", json_integer((json_int_t)row->n));
        json_object_set_new(object, "events", json_integer((json_int_t)row->events));
        json_object_set_new(object, "note", row->note ? json_string(row->note) : json_null());
        json_array_append_new(rows, object);
    }
    char *text = json_dumps(rows, JSON_INDENT(1));
    json_decref(rows);
    g_autofree char *line = g_strdup_printf("%s\n", text);
    free(text);
    return write_stdout(line, strlen(line), err);
}

static char *interval_text(double lower, double upper) {
    if (isnan(lower) && isnan(upper))
        return g_strdup("");
    g_autofree char *from = isnan(lower) ? g_strdup("?") : g_strdup_printf("%.4g", lower);
    g_autofree char *to = isnan(upper) ? g_strdup("?") : g_strdup_printf("%.4g", upper);
    return g_strdup_printf("%s to %s", from, to);
}

/* The figures of all rows and the pooled ones, for people. */
static void print_for_people(const LobPanel *panel, const Input *in) {
    fprintf(stderr, "%zu rows", in->n);
    if (in->centers)
        fprintf(stderr, " of %u centers", in->centers->len);
    fprintf(stderr, ", %zu left out for an empty cell\n\n%-38s %12s %25s  %s\n", in->dropped, "", "estimate",
            "95 % interval", "note");
    const char *last = "";
    for (size_t i = 0; i < panel->n_rows; i++) {
        const LobPanelRow *row = &panel->row[i];
        if (row->center[0] != '(')
            continue;
        if (strcmp(last, row->center) != 0)
            fprintf(stderr, "%s\n", row->center);
        last = row->center;
        g_autofree char *interval = interval_text(row->lower, row->upper);
        g_autofree char *estimate =
            isnan(row->estimate) ? g_strdup("-") : g_strdup_printf("%.4g", row->estimate);
        fprintf(stderr, "  %-36s %12s %25s  %s\n", row->metric, estimate, interval,
                row->note ? row->note : "");
    }
}

static bool compute(const Input *in, const Options *options, GError **err) {
    const LobPanelInput panel_input = {
        .data = {.n = in->n, .time = in->time, .event = in->event, .stratum = in->center},
        .score = in->score,
        .centers = in->centers ? (const char *const *)in->centers->pdata : NULL,
        .n_centers = in->centers ? in->centers->len : 0,
        .arm = in->arm,
        .arms = in->arms ? (const char *const *)in->arms->pdata : NULL,
        .n_arms = in->arms ? in->arms->len : 0,
        .horizons = in->horizons,
        .n_horizons = in->n_horizons,
        .risk = in->risk,
        .n_bootstrap = (size_t)options->bootstrap,
        .seed = (uint64_t)options->seed};
    g_auto(LobPanel) panel = {0};
    lob_panel(&panel, &panel_input);
    print_for_people(&panel, in);
    return options->json ? print_json(&panel, err) : print_csv(&panel, err);
}

static bool run(const char *path, const Options *options, GError **err) {
    if (!options->time || !options->event || !options->score)
        return lob_fail(err, LOB_ERROR_INPUT, "--time, --event and --score are needed");
    if (options->reference && !options->arm)
        return lob_fail(err, LOB_ERROR_INPUT, "--reference needs --arm");
    if (options->bootstrap < 0)
        return lob_fail(err, LOB_ERROR_INPUT, "--bootstrap: a number >= 0 is needed");
    g_autoptr(LobTable) table = lob_table_read(path, err);
    if (!table)
        return false;
    Input in = {0};
    Columns columns = {0};
    bool ok = keep_only(&in, table, options->only, err) && once_a_patient(&in, table, err) &&
              parse_horizons(&in, options->horizons, err) &&
              find_columns(&columns, table, options, &in, err) &&
              read_rows(&in, table, &columns, options, err) && compute(&in, options, err);
    g_free(columns.risk);
    input_clear(&in);
    return ok;
}

static void options_clear(Options *o) {
    char *owned[] = {o->time, o->event, o->score, o->center, o->arm, o->reference, o->horizons, o->risks};
    for (size_t i = 0; i < G_N_ELEMENTS(owned); i++)
        g_free(owned[i]);
    g_strfreev(o->only);
}

int lob_cmd_stats(int argc, char **argv) {
    Options o = {.seed = 1};
    const GOptionEntry entries[] = {
        {"time", 0, 0, G_OPTION_ARG_STRING, &o.time, "Column of the time (whole days)", "COL"},
        {"event", 0, 0, G_OPTION_ARG_STRING, &o.event, "Column of the event: 1, or 0 where censored", "COL"},
        {"score", 0, 0, G_OPTION_ARG_STRING, &o.score, "Column of the score; higher is worse", "COL"},
        {"center", 0, 0, G_OPTION_ARG_STRING, &o.center, "Column of the center: stratifies, also by center",
         "COL"},
        {"arm", 0, 0, G_OPTION_ARG_STRING, &o.arm, "Column of the treatment arm", "COL"},
        {"reference", 0, 0, G_OPTION_ARG_STRING, &o.reference,
         "Arm the others are compared with (default: first in order)", "ARM"},
        {"horizons", 0, 0, G_OPTION_ARG_STRING, &o.horizons, "Times to predict for, as 365,730", "DAYS"},
        {"risks", 0, 0, G_OPTION_ARG_STRING, &o.risks,
         "Columns of the predicted event probability at each horizon", "COLS"},
        {"only", 0, 0, G_OPTION_ARG_STRING_ARRAY, &o.only,
         "Rows with this value, as model=abmil; may be given again for another column", "COL=VALUE"},
        {"bootstrap", 0, 0, G_OPTION_ARG_INT, &o.bootstrap,
         "Draws within centers for an interval of C (default 0)", "N"},
        {"seed", 0, 0, G_OPTION_ARG_INT64, &o.seed, "Seed of the draws (default 1)", "S"},
        {"json", 0, 0, G_OPTION_ARG_NONE, &o.json, "JSON on standard output instead of CSV", NULL},
        {NULL, 0, 0, 0, NULL, NULL, NULL},
    };
    g_autoptr(GOptionContext) context = g_option_context_new("FILE.csv");
    g_option_context_add_main_entries(context, entries, NULL);
    g_option_context_set_summary(context, "Survival statistics of a table of predictions, one row a patient. "
                                          "Figures go to standard output\nas CSV (metric, center, estimate, "
                                          "lower, upper, n, events, note), a summary to standard error.");
    g_autoptr(GError) err = NULL;
    int code = LOB_EXIT_DONE;
    if (!g_option_context_parse(context, &argc, &argv, &err))
        code = LOB_EXIT_INPUT;
    else if (argc != 2)
        code = lob_error_exit_code(
            (lob_fail(&err, LOB_ERROR_INPUT, "expected one CSV file, see lobule stats --help"), err));
    else if (!run(argv[1], &o, &err))
        code = lob_error_exit_code(err);
    if (err)
        fprintf(stderr, "lobule stats: %s\n", err->message);
    options_clear(&o);
    return code;
}
