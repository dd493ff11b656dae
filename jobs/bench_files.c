/* Benches of the store and of training; both make files of their own and remove them. */
#include "cohort/cohort.h"
#include "hdf5io/hdf5io.h"
#include "jobs/bench_internal.h"
#include "model/model.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- store: ranges of 512 rows, each made durable, as embed writes them ---- */

enum { DIM = 1024, RANGE = 512, RANGES = 32, ROWS = RANGE * RANGES };

typedef struct {
    LobPart *part;
    const float *rows;
} Storing;

static bool run_store(void *user, double *units, GError **err) {
    const Storing *s = user;
    for (uint64_t k = 0; k < RANGES; k++) {
        uint32_t crc;
        if (!lob_part_write_rows(s->part, k * RANGE, RANGE, s->rows, &crc, err))
            return false;
    }
    *units = 2.0 * ROWS * DIM;
    return true;
}

static LobPart *make_part(const char *path, GError **err) {
    LobStoreHeader header = {.encoder = (char *)"bench",
                             .weights_sha256 = (char *)"",
                             .transform = (char *)"none",
                             .precision = (char *)"fp32",
                             .dim = DIM,
                             .tile_size = 224,
                             .tile_mpp = 0.5,
                             .tissue = (char *)"none",
                             .cpu = (char *)"",
                             .openslide = (char *)""};
    const LobStoreSlide slide = {.slide_id = (char *)"s",
                                 .patient_id = (char *)"p",
                                 .center = (char *)"c",
                                 .count = ROWS,
                                 .mpp_x = 0.5,
                                 .mpp_y = 0.5,
                                 .width = 100000,
                                 .height = 100000,
                                 .mpp_source = (char *)"vendor",
                                 .quickhash = (char *)""};
    g_autofree int32_t(*coords)[2] = g_malloc0(ROWS * sizeof *coords);
    g_autofree uint8_t *tissue = g_malloc0(ROWS);
    return lob_part_create(path, MPI_COMM_NULL, &header, &slide, 1, (const int32_t(*)[2])coords, tissue, err);
}

bool lob_bench_store(const LobBench *bench, GError **err) {
    g_autofree char *path = g_strdup_printf("%s/lobule-bench-%d.h5", bench->dir, (int)getpid());
    g_autofree float *rows = g_new(float, (size_t)RANGE *DIM);
    LobRng rng;
    lob_rng_init(&rng, 1, "bench/store");
    for (size_t i = 0; i < (size_t)RANGE * DIM; i++)
        rows[i] = (float)lob_rng_normal(&rng);
    Storing storing = {.part = make_part(path, err), .rows = rows};
    if (!storing.part)
        return false;
    LobBenchResult r = {.bench = "store",
                        .what = "ranges of 512 x 1024 float16, durable",
                        .unit = "B/s",
                        .ceiling_name = "pwrite and fdatasync of the same bytes"};
    const bool ok = lob_bench_measure(bench, run_store, &storing, &r.rate, err) &&
                    lob_bench_pwrite(bench, (size_t)2 * RANGE * DIM, RANGES, &r.ceiling, err);
    lob_part_close(storing.part);
    (void)remove(path);
    if (ok)
        lob_bench_report(bench, &r);
    return ok;
}

/* ---- training: one fold of gated attention ---- */

enum { PATIENTS = 200, CENTERS = 4, BAG = 200, WIDTH = 384, EPOCHS = 2 };

static const char *const study_files[] = {"study.yaml", "patients.csv", "slides.csv"};

static bool write_study(const char *dir, GError **err) {
    g_autoptr(GString) patients = g_string_new("patient_id,center,days,event\n");
    g_autoptr(GString) slides = g_string_new("slide_id,patient_id,center,path\n");
    g_autofree char *features = g_build_filename(dir, "features", NULL);
    LobRng rng;
    lob_rng_init(&rng, 1, "bench/train");
    for (int p = 0; p < PATIENTS; p++) {
        g_string_append_printf(patients, "p%d,c%d,%.0f,%d\n", p, p % CENTERS,
                               ceil(800 * lob_rng_exponential(&rng)), lob_rng_uniform(&rng) < 0.6);
        g_string_append_printf(slides, "s%d,p%d,c%d,s%d.h5\n", p, p, p % CENTERS, p);
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

typedef struct {
    LobView *view;
    LobBags bags;
    LobModelOptions options;
} Training;

static bool run_train(void *user, double *units, GError **err) {
    const Training *t = user;
    LobModelResult result = {0};
    const bool ok = lob_model_fit(t->view, &t->bags, &t->options, &result, NULL, NULL, err);
    if (ok)
        *units = (double)t->view->n_train * BAG * result.epochs_run;
    lob_model_result_clear(&result);
    return ok;
}

/* Operations of a tile in a pass forward and back: embedding, the two gates, three products each. */
static double flops_a_tile(const LobModelOptions *o) {
    return 3.0 * (2.0 * WIDTH * o->hidden + 4.0 * o->hidden * o->attention);
}

static bool measure_training(const LobBench *bench, LobView *view, GError **err) {
    uint64_t first[PATIENTS], count[PATIENTS];
    g_autofree uint16_t *features = g_new(uint16_t, (size_t)PATIENTS * BAG * WIDTH);
    LobRng rng;
    lob_rng_init(&rng, 1, "bench/bags");
    for (size_t i = 0; i < (size_t)PATIENTS * BAG * WIDTH; i++)
        features[i] = lob_half_from_float((float)lob_rng_normal(&rng));
    for (uint64_t p = 0; p < PATIENTS; p++) {
        first[p] = p * BAG;
        count[p] = BAG;
    }
    Training t = {.view = view, .bags = {PATIENTS, WIDTH, first, count, features, NULL, NULL}};
    if (!lob_model_defaults_of("abmil", LOB_ENDPOINT_SURVIVAL, &t.options, err))
        return false;
    t.options.epochs = EPOCHS;
    t.options.rounds = 0;
    t.options.use_covariates = false;
    t.options.seed = 1;
    LobBenchResult r = {.bench = "train",
                        .what = "abmil, 200 bags of 200 x 384",
                        .unit = "tiles/s",
                        .ceiling_name = "fp32 sgemm alone"};
    if (!lob_bench_measure(bench, run_train, &t, &r.rate, err) || !lob_bench_sgemm(bench, &r.ceiling, err))
        return false;
    r.ceiling /= flops_a_tile(&t.options);
    r.gflops = r.rate.rate * flops_a_tile(&t.options) / 1e9;
    lob_bench_report(bench, &r);
    return true;
}

static bool train_in(const LobBench *bench, const char *dir, GError **err) {
    g_autofree char *path = g_build_filename(dir, study_files[0], NULL);
    bool ok = false;
    LobStudy *study = write_study(dir, err) ? lob_study_read(path, NULL, err) : NULL;
    LobCohort *cohort = study ? lob_cohort_read(study, err) : NULL;
    LobFolds *folds = cohort ? lob_folds_make(cohort, err) : NULL;
    LobView *view = folds ? lob_view_new(cohort, folds, 0, 0, 0, 1, err) : NULL;
    if (view) {
        ok = measure_training(bench, view, err);
        lob_view_free(view);
    }
    if (folds)
        lob_folds_free(folds);
    if (cohort)
        lob_cohort_free(cohort);
    if (study)
        lob_study_free(study);
    return ok;
}

bool lob_bench_train(const LobBench *bench, GError **err) {
    g_autofree char *dir = g_dir_make_tmp("lobule-bench-XXXXXX", err);
    if (!dir)
        return false;
    const bool ok = train_in(bench, dir, err);
    remove_study(dir);
    return ok;
}
