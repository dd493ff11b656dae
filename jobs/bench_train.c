/* Training's bench: folds of gated attention, the seeds of each in one sweep, over bags that all ranks of a
 * node see. A tile counts once for each model that it goes through, forward and back. */
#include "cohort/cohort.h"
#include "jobs/bench_internal.h"
#include "model/sweep.h"
#include "mpi/world.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

static const char *const study_files[] = {"study.yaml", "patients.csv", "slides.csv"};

/* ---- a study of random outcomes ---- */

static bool write_study(const LobBench *bench, const char *dir, GError **err) {
    g_autoptr(GString) patients = g_string_new("patient_id,center,days,event\n");
    g_autoptr(GString) slides = g_string_new("slide_id,patient_id,center,path\n");
    g_autofree char *features = g_build_filename(dir, "features", NULL);
    LobRng rng;
    lob_rng_init(&rng, 1, "bench/train");
    for (int p = 0; p < bench->train.bags; p++) {
        int c = p % bench->train.centers;
        g_string_append_printf(patients, "p%06d,c%d,%.0f,%d\n", p, c, ceil(800 * lob_rng_exponential(&rng)),
                               lob_rng_uniform(&rng) < 0.6);
        g_string_append_printf(slides, "s%06d,p%06d,c%d,s%d.h5\n", p, p, c, p);
    }
    const char *const texts[] = {
        "study: bench\ncohort: {slides: slides.csv, patients: patients.csv}\nfeatures: features\nendpoints:\n"
        "  - {name: os, kind: survival, time: days, event: event, horizons: [365]}\noutput: out\n",
        patients->str, slides->str};
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autofree char *path = g_build_filename(dir, study_files[i], NULL);
        if (!lob_file_replace(path, texts[i], strlen(texts[i]), err))
            return false;
    }
    return lob_make_dirs(features, err);
}

static void remove_study(const char *dir) {
    g_autofree char *features = g_build_filename(dir, "features", NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(study_files); i++) {
        g_autofree char *path = g_build_filename(dir, study_files[i], NULL);
        (void)remove(path);
    }
    (void)remove(features);
    (void)remove(dir);
}

/* ---- bags ---- */

typedef struct {
    const LobBench *bench;
    LobCohort *cohort;
    LobFolds *folds;
    LobShared *shared;
    uint64_t *first, *count;
    LobBags bags;
    double tiles, seconds; /* through models so far, and in how long */
} Training;

enum { POOL = 1 << 20 };

/* Normal numbers from a pool: no two tiles begin at the same place of it. */
static void fill(uint16_t *features, size_t n) {
    g_autofree uint16_t *pool = g_new(uint16_t, POOL);
    LobRng rng;
    lob_rng_init(&rng, 1, "bench/bags");
    for (size_t i = 0; i < POOL; i++)
        pool[i] = lob_half_from_float((float)lob_rng_normal(&rng));
    for (size_t at = 0, step = POOL - 4099; at < n; at += step)
        memcpy(features + at, pool + at / step % 4096, MIN(step, n - at) * sizeof *pool);
}

static bool make_bags(Training *t, GError **err) {
    const LobBench *bench = t->bench;
    size_t bags = (size_t)bench->train.bags, tiles = (size_t)bench->train.tiles;
    size_t values = bags * tiles * (size_t)bench->train.dim;
    GError *mine = NULL;
    t->shared = lob_shared_new(bench->world, values * sizeof(uint16_t), &mine);
    if (!lob_world_agree(bench->world, mine, err))
        return false;
    if (bench->world->node_rank == 0)
        fill(lob_shared_data(t->shared), values);
    lob_world_barrier(bench->world);
    t->first = g_new(uint64_t, bags);
    t->count = g_new(uint64_t, bags);
    for (size_t p = 0; p < bags; p++) {
        t->first[p] = p * tiles;
        t->count[p] = tiles;
    }
    t->bags = (LobBags){.n_patients = bags,
                        .dim = (size_t)bench->train.dim,
                        .first = t->first,
                        .count = t->count,
                        .features = lob_shared_data(t->shared)};
    return true;
}

/* ---- measuring ---- */

static bool make_options(const LobBench *bench, LobModelOptions *options, GError **err) {
    if (!lob_model_defaults_of("abmil", LOB_ENDPOINT_SURVIVAL, options, err))
        return false;
    options->epochs = bench->train.epochs;
    options->hidden = bench->train.hidden;
    options->attention = bench->train.attention;
    options->rounds = 0;
    options->max_tiles = 0;
    options->use_covariates = false;
    options->bf16 = strcmp(bench->precision, "bf16") == 0;
    options->seed = 1;
    return true;
}

/* All seeds of one fold; *rate is tiles a second in training passes. */
static bool train_fold(Training *t, int fold, double *rate, GError **err) {
    size_t n = (size_t)t->bench->train.seeds;
    g_autofree LobModelOptions *options = g_new0(LobModelOptions, n);
    g_autofree LobModelResult *results = g_new0(LobModelResult, n);
    g_autofree LobView **views = g_new0(LobView *, n);
    bool ok = true;
    double seconds = 0, tiles = 0;
    for (size_t k = 0; ok && k < n; k++) {
        ok = make_options(t->bench, &options[k], err);
        options[k].seed += k;
        views[k] = ok ? lob_view_new(t->cohort, t->folds, 0, 0, fold, options[k].seed, err) : NULL;
        ok = ok && views[k];
    }
    ok = ok && lob_sweep_fit((const LobView *const *)views, &t->bags, options, n, results, NULL, NULL, err);
    for (size_t k = 0; ok && k < n; k++) {
        seconds += results[k].pass_seconds;
        tiles += (double)views[k]->n_train * t->bench->train.tiles * results[k].best_epoch;
    }
    for (size_t k = 0; k < n; k++) {
        lob_model_result_clear(&results[k]);
        if (views[k])
            lob_view_free(views[k]);
    }
    *rate = tiles / seconds;
    t->tiles += tiles;
    t->seconds += seconds;
    return ok;
}

/* Operations of a tile, forward and back, two for each multiply-add: the first layer has no gradient to hand
 * on. */
static double flops_a_tile(const LobBench *bench) {
    double h = bench->train.hidden, a = bench->train.attention;
    return 4 * bench->train.dim * h + 3 * 4 * h * a;
}

static double peak_bytes(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? 1024.0 * (double)usage.ru_maxrss : 0;
}

static void report(const Training *t, const LobBenchRate *rate, double whole, double ceiling) {
    const LobBench *bench = t->bench;
    double features = 2.0 * bench->train.bags * bench->train.tiles * bench->train.dim;
    double most = fmax(peak_bytes() - features, 0);
    g_autofree char *what =
        g_strdup_printf("abmil %d/%d %s, %d bags of %d x %d, %d folds x %d seeds", bench->train.hidden,
                        bench->train.attention, bench->precision, bench->train.bags, bench->train.tiles,
                        bench->train.dim, bench->train.centers, bench->train.seeds);
    LobBenchResult r = {.bench = "train",
                        .what = what,
                        .unit = "tiles/s",
                        .rate = *rate,
                        .ceiling_name = "fp32 sgemm alone",
                        .ceiling = ceiling,
                        .gflops = rate->rate * flops_a_tile(bench) / 1e9};
    lob_bench_report(bench, &r);
    r.rate = (LobBenchRate){.rate = whole, .lower = whole, .upper = whole, .repeats = 1};
    r.bench = "train-all";
    r.gflops = 0;
    lob_bench_report(bench, &r);
    lob_bench_report(bench, &(LobBenchResult){.bench = "train-mem",
                                              .what = what,
                                              .unit = "B",
                                              .rate = {most, most, most, 0, 1},
                                              .ceiling_name = "500 MB beside the features",
                                              .ceiling = 5e8});
}

/* The folds are dealt round the ranks, as validation does; the ceiling is the better of before and after. */
static bool measure(Training *t, GError **err) {
    const LobBench *bench = t->bench;
    const int folds = bench->train.centers;
    g_autofree double *rates = g_new0(double, (size_t)folds);
    double before, after = 0, start, all[1] = {0};
    int n = 0;
    bool ok = lob_bench_sgemm(bench, &before, err);
    lob_world_barrier(bench->world);
    start = lob_clock();
    for (int f = bench->world->rank; ok && f < folds; f += bench->world->size)
        ok = train_fold(t, f, &rates[n++], err);
    lob_world_barrier(bench->world);
    double wall = lob_clock() - start;
    ok = ok && lob_bench_sgemm(bench, &after, err);
    all[0] = t->tiles;
    if (bench->world->has_mpi)
        lob_mpi_allreduce_sum(lob_world_comm(bench->world), all, 1);
    if (!ok)
        return false;
    LobBenchRate rate = {0};
    if (n > 0)
        rate = lob_bench_summary(rates, n);
    report(t, &rate, all[0] / wall / bench->world->size, fmax(before, after) / flops_a_tile(bench));
    return true;
}

static bool train_in(Training *t, const char *dir, GError **err) {
    g_autofree char *path = g_build_filename(dir, study_files[0], NULL);
    GError *mine = NULL;
    LobStudy *study = write_study(t->bench, dir, &mine) ? lob_study_read(path, NULL, &mine) : NULL;
    t->cohort = study ? lob_cohort_read(study, &mine) : NULL;
    t->folds = t->cohort ? lob_folds_make(t->cohort, &mine) : NULL;
    bool ok = lob_world_agree(t->bench->world, mine, err) && make_bags(t, err) && measure(t, err);
    lob_shared_free(t->shared);
    g_free(t->first);
    g_free(t->count);
    if (t->folds)
        lob_folds_free(t->folds);
    if (t->cohort)
        lob_cohort_free(t->cohort);
    if (study)
        lob_study_free(study);
    return ok;
}

bool lob_bench_train(const LobBench *bench, GError **err) {
    const int numbers[] = {bench->train.bags,  bench->train.tiles,  bench->train.dim,
                           bench->train.seeds, bench->train.hidden, bench->train.attention,
                           bench->train.epochs};
    Training training = {.bench = bench};
    for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++)
        if (numbers[i] < 1)
            return lob_fail(err, LOB_ERROR_INPUT, "train: bags, tiles, sizes and epochs must be positive");
    if (bench->train.centers < 2 || bench->train.bags < 2 * bench->train.centers)
        return lob_fail(err, LOB_ERROR_INPUT, "train: at least 2 centers, and 2 bags in each");
    g_autofree char *dir = g_dir_make_tmp("lobule-bench-XXXXXX", err);
    if (!dir)
        return false;
    const bool ok = train_in(&training, dir, err);
    remove_study(dir);
    return ok;
}
