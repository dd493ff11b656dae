/* The store's bench; it makes a file of its own and removes it. */
#include "hdf5io/hdf5io.h"
#include "jobs/bench_internal.h"

#include <stdio.h>
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
