/* Capacity on paper: what embedding a cohort takes with the large public encoders. */
#include "jobs/simulate_internal.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* gflop: two for each multiply-add of a 224 px tile; gigabytes: fp32 weights, held once a node. */
typedef struct {
    const char *name, *preset;
    double gflop;
    int dim;
    double gigabytes;
} Model;

static const Model models[] = {
    {"UNI (ViT-L/16)", "uni", 123, 1024, 1.2},
    {"H-optimus-1 (ViT-g/14)", "h-optimus-1", 592, 1536, 4.5},
};
static const char *const precisions[] = {"fp32", "bf16"};

#define GIGABYTES_A_RANK 0.35
#define RESTART_SECONDS 600.0

/* Tiles a second of one core from a bench file; 0: not measured there. The last line counts. */
static bool measured_rate(const char *path, const char *name, double *rate, GError **err) {
    *rate = 0;
    if (!path)
        return true;
    size_t size;
    g_autofree char *text = lob_file_read(path, 64 << 20, &size, err);
    if (!text)
        return false;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (size_t i = 0; lines[i]; i++) {
        const char *bench = NULL, *what = NULL, *unit = NULL;
        double value = 0;
        json_int_t ranks = 1;
        json_error_t problem;
        if (!*g_strstrip(lines[i]))
            continue;
        json_t *line = json_loads(lines[i], 0, &problem);
        if (!line)
            return lob_fail(err, LOB_ERROR_INPUT, "%s, line %zu: %s", path, i + 1, problem.text);
        if (json_unpack(line, "{s:s, s:s, s:s, s:F, s?I}", "bench", &bench, "case", &what, "unit", &unit,
                        "rate", &value, "ranks", &ranks) == 0 &&
            strcmp(bench, "encoder") == 0 && strcmp(what, name) == 0 && strcmp(unit, "tiles/s") == 0)
            *rate = value / (double)MAX(ranks, 1);
        json_decref(line);
    }
    return true;
}

typedef struct {
    double rate; /* tiles a second and core, all cores busy */
    double node_hours, days, slices, features_tb, memory;
    bool measured;
} Need;

static bool work_out(const LobCapacity *c, const Model *model, bool bf16, Need *need, GError **err) {
    g_autofree char *name = g_strdup_printf("%s %s", model->preset, precisions[bf16]);
    double alone;
    if (!measured_rate(c->bench, name, &alone, err))
        return false;
    need->measured = alone > 0;
    if (!need->measured)
        alone = c->gflops_core * (bf16 ? c->bf16_factor : 1) / model->gflop;
    need->rate = alone * c->all_cores;
    need->node_hours = c->tiles / (need->rate * c->cores * c->efficiency) / 3600;
    const double hours = need->node_hours / c->nodes;
    const double slice = c->walltime_seconds > 0 ? c->walltime_seconds / 3600 : 24;
    need->slices = ceil(hours / slice);
    need->days = (hours + (need->slices - 1) * RESTART_SECONDS / 3600) / 24;
    need->features_tb = c->tiles * model->dim * 2 / 1e12;
    need->memory = model->gigabytes * (bf16 ? 0.5 : 1) + GIGABYTES_A_RANK * c->cores;
    return true;
}

static void print_need(const LobCapacity *c, const Model *model, const char *precision, const Need *need) {
    if (!c->json) {
        printf("%-24s %-5s %10.3f %12.0f %9.1f %7.0f %9.2f %10.0f  %s\n", model->name, precision, need->rate,
               need->node_hours, need->days, need->slices, need->features_tb, need->memory,
               need->measured ? "measured" : "assumed");
        return;
    }
    json_t *line =
        json_pack("{s:s, s:s, s:s, s:f, s:f, s:f, s:i, s:f, s:f, s:f, s:b, s:f}", "capacity", model->preset,
                  "precision", precision, "unit", "tiles/s/core", "rate", need->rate, "node_hours",
                  need->node_hours, "days", need->days, "nodes", c->nodes, "slices", need->slices,
                  "features_tb", need->features_tb, "node_gigabytes", need->memory, "measured",
                  need->measured, "slides_tb", c->slides * c->gigabytes_slide / 1000);
    json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    printf("\n");
    json_decref(line);
}

static void print_assumptions(const LobCapacity *c) {
    fprintf(
        stderr,
        "Assumed: %.3g tiles of 224 px in %.0f slides; %d nodes of %d cores, one rank a core; rates read "
        "from --bench where it has them,\nelse %.0f GFLOP/s fp32 a core alone (measured for ViT-L on one "
        "AVX-512 core) and %.1f times that in bf16 (a ratio of\npeaks; needs AVX512-BF16 or AMX and a "
        "kernel that uses it); a core keeps %.0f %% of its speed when all are busy; job efficiency\n%.2f "
        "(simulate tells it for your sizes); slices of %.0f h, %.0f min between them; features as "
        "float16; %.2f GB a rank beside\nthe weights, which a node holds once. Slides themselves: %.1f TB "
        "at %.1f GB each. Queueing is not counted.\n",
        c->tiles, c->slides, c->nodes, c->cores, c->gflops_core, c->bf16_factor, 100 * c->all_cores,
        c->efficiency, c->walltime_seconds > 0 ? c->walltime_seconds / 3600 : 24, RESTART_SECONDS / 60,
        GIGABYTES_A_RANK, c->slides * c->gigabytes_slide / 1000, c->gigabytes_slide);
}

bool lob_simulate_capacity(const LobCapacity *c, GError **err) {
    if (c->cores < 1 || c->nodes < 1 || !(c->gflops_core > 0) || !(c->efficiency > 0) ||
        !(c->all_cores > 0) || !(c->bf16_factor > 0) || !(c->gigabytes_slide >= 0))
        return lob_fail(err, LOB_ERROR_INPUT, "cores, nodes, rates and shares must be above 0");
    print_assumptions(c);
    if (!c->json)
        printf("%-24s %-5s %10s %12s %9s %7s %9s %10s  %s\n", "encoder", "", "tiles/s/core", "node-hours",
               "days", "slices", "TB", "GB a node", "rate");
    for (size_t m = 0; m < G_N_ELEMENTS(models); m++) {
        for (int bf16 = 0; bf16 < 2; bf16++) {
            Need need;
            if (!work_out(c, &models[m], bf16, &need, err))
                return false;
            print_need(c, &models[m], precisions[bf16], &need);
        }
    }
    return true;
}
