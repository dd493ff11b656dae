#include "jobs/bench_lines.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

/* The quartiles of a normal distribution are so many standard deviations apart. */
#define QUARTILES_APART 1.349

typedef bool (*Take)(const json_t *line, void *user);

/* Calls `take` for each line in turn, which says false of one that it cannot use. */
static bool for_lines(const char *path, Take take, void *user, GError **err) {
    size_t size;
    g_autofree char *text = lob_file_read(path, 64 << 20, &size, err);
    if (!text)
        return false;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (size_t i = 0; lines[i]; i++) {
        json_error_t problem;
        if (!*g_strstrip(lines[i]))
            continue;
        json_t *line = json_loads(lines[i], 0, &problem);
        const bool ok = json_is_object(line) && take(line, user);
        const bool parsed = json_is_object(line);
        json_decref(line);
        if (!ok)
            return lob_fail(err, LOB_ERROR_INPUT, "%s, line %zu: %s; expected a line that lobule bench wrote",
                            path, i + 1,
                            parsed ? "rate, ranks or spread is missing or makes no sense" : "no JSON object");
    }
    return true;
}

static const char *text_of(const json_t *line, const char *key) {
    const char *text = json_string_value(json_object_get(line, key));
    return text ? text : "";
}

static bool told(const json_t *line, const char *key) {
    const json_t *value = json_object_get(line, key);
    return value && !json_is_null(value);
}

/* 0 where it is null or not there; NAN where it is no number of at least 0. */
static double number_of(const json_t *line, const char *key) {
    const json_t *value = json_object_get(line, key);
    if (!told(line, key))
        return 0;
    const double number = json_is_number(value) ? json_number_value(value) : NAN;
    return number >= 0 ? number : NAN;
}

/* ---- encoder ---- */

typedef struct {
    const char *what;
    LobBenchEncoderLine *line;
    bool found;
} Wanted;

static bool take_encoder(const json_t *line, void *user) {
    Wanted *w = user;
    if (strcmp(text_of(line, "bench"), "encoder") != 0 || strcmp(text_of(line, "case"), w->what) != 0 ||
        strcmp(text_of(line, "unit"), "tiles/s") != 0)
        return true;
    const double ranks = fmax(number_of(line, "ranks"), 1);
    *w->line = (LobBenchEncoderLine){
        .rate = number_of(line, "rate") / ranks,
        .spread = told(line, "spread") ? number_of(line, "spread") / QUARTILES_APART : -1,
        .weights_mib = number_of(line, "weights_mib"),
        .working_mib = number_of(line, "working_mib"),
        .gflop_a_tile = number_of(line, "gflop_a_tile"),
        .ranks = (int)fmin(ranks, 1e9)};
    w->found = true;
    return w->line->rate > 0 && !isnan(w->line->spread) && w->line->weights_mib >= 0 &&
           w->line->working_mib >= 0 && w->line->gflop_a_tile >= 0;
}

bool lob_bench_lines_encoder(const char *path, const char *encoder, const char *precision,
                             LobBenchEncoderLine *line, bool *found, GError **err) {
    g_autofree char *what = g_strdup_printf("%s %s", encoder, precision);
    Wanted wanted = {.what = what, .line = line};
    const bool ok = for_lines(path, take_encoder, &wanted, err);
    *found = wanted.found;
    return ok;
}

/* ---- training ---- */

static bool take_train(const json_t *line, void *user) {
    double *gflops = user;
    if (strcmp(text_of(line, "bench"), "train") != 0 || !json_object_get(line, "gflops"))
        return true;
    *gflops = number_of(line, "gflops") / fmax(number_of(line, "ranks"), 1);
    return *gflops > 0;
}

bool lob_bench_lines_train(const char *path, double *gflops, GError **err) {
    *gflops = 0;
    return for_lines(path, take_train, gflops, err);
}
