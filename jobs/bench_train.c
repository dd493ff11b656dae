/* Training's bench: folds of gated attention, the seeds of each in one sweep, over bags that all ranks of a
 * node see. A tile counts once for each model that it goes through, forward and back. */
#include "cohort/cohort.h"
#include "jobs/bench_internal.h"
#include "model/sweep.h"
#include "mpi/world.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

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
    int turns; /* so far */
    LobBenchBound *bound;
    double pace_seconds;
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

enum { IN_PASSES, IN_ALL, PACE }; /* of a turn */

/* All seeds of a fold, which another rank or turn does not have: tiles a second in training passes, and with
 * what goes before and after them. */
static bool train_fold(void *user, double *values, GError **err) {
    Training *t = user;
    const int fold = (t->turns++ * t->bench->world->size + t->bench->world->rank) % t->bench->train.centers;
    const double start = lob_clock();
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
    values[IN_PASSES] = tiles / seconds;
    values[IN_ALL] = tiles / (lob_clock() - start);
    return ok;
}

static double flops_a_tile(const LobBench *bench) {
    return lob_sweep_flops_a_tile(bench->train.dim, bench->train.hidden, bench->train.attention);
}

/* Each fold begins and ends with the product that bounds it. */
static bool training_turn(void *user, double *values, GError **err) {
    const Training *t = user;
    return lob_bench_bound_turn(t->bound, t->pace_seconds, train_fold, user, values, &values[PACE], err);
}

static void report(const Training *t, const LobBenchSeries *turns, double most) {
    const LobBench *bench = t->bench;
    const double flop = flops_a_tile(bench);
    g_autofree char *what =
        g_strdup_printf("abmil %d/%d %s, %d bags of %d x %d, %d folds x %d seeds", bench->train.hidden,
                        bench->train.attention, bench->precision, bench->train.bags, bench->train.tiles,
                        bench->train.dim, bench->train.centers, bench->train.seeds);
    g_autofree char *product = g_strdup_printf("%s product alone", bench->precision);
    LobBenchResult r = {.bench = "train",
                        .what = what,
                        .unit = "tiles/s",
                        .rate = lob_bench_summary(turns->values[IN_PASSES], turns->n),
                        .kind = LOB_BENCH_BOUND,
                        .ceiling_name = product,
                        .ceiling = lob_bench_summary(turns->values[PACE], turns->n).rate / flop,
                        .ratio = lob_bench_paired(turns, IN_PASSES, PACE, flop)};
    r.gflops = r.rate.rate * flop / 1e9;
    lob_bench_report(bench, &r);
    r.rate = lob_bench_summary(turns->values[IN_ALL], turns->n);
    r.ratio = lob_bench_paired(turns, IN_ALL, PACE, flop);
    r.bench = "train-all";
    r.gflops = 0;
    lob_bench_report(bench, &r);
    lob_bench_report(bench, &(LobBenchResult){.bench = "train-mem",
                                              .what = what,
                                              .unit = "B",
                                              .rate = lob_bench_summary(&most, 1),
                                              .kind = LOB_BENCH_BUDGET,
                                              .ceiling_name = "500 MB a rank beside the features",
                                              .ceiling = 5e8 * bench->world->size});
}

/* Folds go round the ranks. */
static bool measure(Training *t, GError **err) {
    const LobBench *bench = t->bench;
    const double features = 2.0 * bench->train.bags * bench->train.tiles * bench->train.dim;
    LobBenchSeries turns;
    LobBench brief = *bench;
    brief.seconds = fmin(bench->seconds, 1);
    t->pace_seconds = brief.seconds / 2;
    const bool fp32 = strcmp(bench->precision, "fp32") == 0;
    t->bound = lob_bench_bound_new(&brief, fp32 ? NULL : bench->precision, NULL, err);
    const bool ok = t->bound && lob_bench_repeat(bench, training_turn, t, &turns, err);
    g_clear_pointer(&t->bound, lob_bench_bound_free);
    if (!ok)
        return false;
    double most = fmax(lob_bench_peak_bytes() - features, 0);
    if (bench->world->has_mpi)
        lob_mpi_allreduce_sum(lob_world_comm(bench->world), &most, 1);
    report(t, &turns, most);
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
    lob_bench_forget_peak();
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
