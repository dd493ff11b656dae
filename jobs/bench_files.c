/* The store's bench against plain MPI-IO: the same bytes in the same ranges, each made durable, the two
 * taking turns; it makes files of its own and removes them. Raw: H5Dwrite and fdatasync alone. Observed: with
 * turning floats into float16 and their checksum, and, for the whole, with creating and finishing the part.
 */
#include "hdf5io/hdf5io.h"
#include "jobs/bench_internal.h"
#include "mpi/world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { DIM = 1024, RANGE = 512, RANGES = 32, ROWS = RANGE * RANGES };
#define RANGE_BYTES ((size_t)2 * RANGE * DIM)
#define ALL_BYTES ((double)RANGE_BYTES * RANGES)

typedef struct {
    const LobBench *bench;
    MPI_Comm comm;
    bool own_mpi; /* started for this bench, since a single process runs without */
    uint64_t first_row;
    float *rows;      /* [RANGE][DIM] */
    uint16_t *halves; /* the same */
    char *store_path, *plain_path;
    LobStoreSlide slide;
    LobPart *part;
    LobStore *store;
    double extra; /* of a turn: plain writing's seconds for float16 and checksum */
    uint32_t crc;
    MPI_File plain;
    int plain_fd;
} Files;

static LobPart *make_part(Files *f, GError **err) {
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
    const size_t rows = (size_t)ROWS * (size_t)f->bench->world->size;
    f->slide = (LobStoreSlide){.slide_id = (char *)"s",
                               .patient_id = (char *)"p",
                               .center = (char *)"c",
                               .count = rows,
                               .mpp_x = 0.5,
                               .mpp_y = 0.5,
                               .width = 100000,
                               .height = 100000,
                               .mpp_source = (char *)"vendor",
                               .quickhash = (char *)""};
    g_autofree int32_t(*coords)[2] = g_malloc0(rows * sizeof *coords);
    g_autofree uint8_t *tissue = g_malloc0(rows);
    return lob_part_create(f->store_path, f->comm, &header, &f->slide, 1, (const int32_t(*)[2])coords, tissue,
                           err);
}

/* ---- a range of each kind ---- */

static bool write_store(Files *f, uint64_t k, GError **err) {
    uint32_t crc;
    return lob_part_write_rows(f->part, f->first_row + k * RANGE, RANGE, f->rows, &crc, err);
}

/* The rows are made ready as the store makes them, so that both write from caches in the same state; that
 * time goes to `extra`, not to the writing. */
static bool write_plain(Files *f, uint64_t k, GError **err) {
    const MPI_Offset at = (MPI_Offset)((f->first_row + k * RANGE) * DIM * 2);
    const double start = lob_clock();
    lob_halves_from_floats(f->halves, f->rows, (size_t)RANGE * DIM);
    f->crc = lob_crc32c(f->crc, f->halves, RANGE_BYTES);
    f->extra += lob_clock() - start;
    return (MPI_File_write_at(f->plain, at, f->halves, (int)RANGE_BYTES, MPI_BYTE, MPI_STATUS_IGNORE) ==
                MPI_SUCCESS &&
            fdatasync(f->plain_fd) == 0) ||
           lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot be written", f->plain_path);
}

static bool read_store(Files *f, uint64_t k, GError **err) {
    return lob_store_read_halves(f->store, f->first_row + k * RANGE, RANGE, f->halves, err);
}

static bool read_plain(Files *f, uint64_t k, GError **err) {
    const MPI_Offset at = (MPI_Offset)((f->first_row + k * RANGE) * DIM * 2);
    return MPI_File_read_at(f->plain, at, f->halves, (int)RANGE_BYTES, MPI_BYTE, MPI_STATUS_IGNORE) ==
               MPI_SUCCESS ||
           lob_fail(err, LOB_ERROR_IO, "%s: cannot be read", f->plain_path);
}

typedef bool (*Range)(Files *f, uint64_t k, GError **err);

/* A turn: all ranges once each way, range by range, the order changing (ABBA), so that a disk whose speed
 * drifts favours neither. Seconds of each. */
static bool turn(Files *f, Range store, Range plain, double seconds[2], GError **err) {
    const Range both[] = {store, plain};
    seconds[0] = seconds[1] = f->extra = 0;
    for (uint64_t k = 0; k < RANGES; k++)
        for (uint64_t n = 0; n < 2; n++) {
            const uint64_t which = (k + n) % 2;
            const double start = lob_clock();
            if (!both[which](f, k, err))
                return false;
            seconds[which] += lob_clock() - start;
        }
    seconds[1] -= f->extra;
    return true;
}

/* ---- measuring ---- */

enum { RAW, OBSERVED, PREPARED, PLAIN };

static bool writing_turn(void *user, double *values, GError **err) {
    Files *f = user;
    double seconds[2];
    const double before = lob_part_preparing_seconds(f->part);
    if (!turn(f, write_store, write_plain, seconds, err))
        return false;
    const double preparing = lob_part_preparing_seconds(f->part) - before;
    values[RAW] = ALL_BYTES / (seconds[0] - preparing);
    values[OBSERVED] = ALL_BYTES / seconds[0];
    values[PREPARED] = ALL_BYTES / preparing;
    values[PLAIN] = ALL_BYTES / seconds[1];
    return true;
}

static bool reading_turn(void *user, double *values, GError **err) {
    double seconds[2];
    if (!turn(user, read_store, read_plain, seconds, err))
        return false;
    values[OBSERVED] = ALL_BYTES / seconds[0];
    values[PLAIN] = ALL_BYTES / seconds[1];
    return true;
}

/* Each turn's rate is held against its neighbour's: a disk's speed drifts from turn to turn. */
static void report(const Files *f, const char *what, const LobBenchSeries *turns, int which,
                   const char *against) {
    lob_bench_report(f->bench,
                     &(LobBenchResult){.bench = "store",
                                       .what = what,
                                       .unit = "B/s",
                                       .rate = lob_bench_summary(turns->values[which], turns->n),
                                       .kind = LOB_BENCH_BOUND,
                                       .ceiling_name = against,
                                       .ceiling = lob_bench_summary(turns->values[PLAIN], turns->n).rate,
                                       .ratio = lob_bench_paired(turns, which, PLAIN, 1)});
}

static void report_unbound(const Files *f, const char *what, const LobBenchRate *rate) {
    lob_bench_report(f->bench,
                     &(LobBenchResult){.bench = "store", .what = what, .unit = "B/s", .rate = *rate});
}

static bool measure_writing(Files *f, GError **err) {
    LobBenchSeries turns;
    if (!lob_bench_repeat(f->bench, writing_turn, f, &turns, err))
        return false;
    report(f, "writing 1 MiB ranges, raw", &turns, RAW, "MPI_File_write_at and fdatasync");
    report(f, "writing 1 MiB ranges, observed", &turns, OBSERVED, "MPI_File_write_at and fdatasync");
    const LobBenchRate plain = lob_bench_summary(turns.values[PLAIN], turns.n);
    report_unbound(f, "plain MPI_File_write_at and fdatasync", &plain);
    const LobBenchRate cost = lob_bench_summary(turns.values[PREPARED], turns.n);
    report_unbound(f, "float16 and checksum of these rows", &cost);
    return true;
}

static bool measure_reading(Files *f, GError **err) {
    LobBenchSeries turns;
    f->store = lob_store_open(f->store_path, err);
    if (!f->store || !lob_bench_repeat(f->bench, reading_turn, f, &turns, err))
        return false;
    report(f, "reading 1 MiB ranges, cached", &turns, OBSERVED, "MPI_File_read_at");
    return true;
}

/* ---- the bench ---- */

static bool open_plain(Files *f, GError **err) {
    if (MPI_File_open(f->comm, f->plain_path, MPI_MODE_CREATE | MPI_MODE_RDWR, MPI_INFO_NULL, &f->plain) !=
        MPI_SUCCESS)
        return lob_fail(err, LOB_ERROR_IO, "%s: cannot be opened through MPI-IO", f->plain_path);
    f->plain_fd = open(f->plain_path, O_RDONLY | O_CLOEXEC);
    return f->plain_fd >= 0 || lob_fail_errno(err, LOB_ERROR_IO, errno, "%s", f->plain_path);
}

static bool measure(Files *f, GError **err) {
    const double start = lob_clock();
    f->part = make_part(f, err);
    const double made = lob_clock();
    if (!f->part || !open_plain(f, err) || !measure_writing(f, err))
        return false;
    const double again = lob_clock();
    for (uint64_t k = 0; k < RANGES; k++)
        if (!write_store(f, k, err))
            return false;
    f->slide.state = LOB_STATE_DONE;
    if (!lob_part_finish(g_steal_pointer(&f->part), &f->slide, 1, err))
        return false;
    const double whole = ALL_BYTES * f->bench->world->size / (made - start + lob_clock() - again);
    const LobBenchRate once = lob_bench_summary(&whole, 1);
    report_unbound(f, "a whole part: created, written, finished", &once);
    return measure_reading(f, err);
}

static void fill_rows(Files *f) {
    LobRng rng;
    lob_rng_init(&rng, 1, "bench/store");
    f->rows = g_new(float, (size_t)RANGE *DIM);
    f->halves = g_new(uint16_t, (size_t)RANGE * DIM);
    for (size_t i = 0; i < (size_t)RANGE * DIM; i++)
        f->rows[i] = (float)lob_rng_normal(&rng);
    lob_halves_from_floats(f->halves, f->rows, (size_t)RANGE * DIM);
}

static void clear(Files *f) {
    if (f->part)
        lob_part_close(f->part);
    lob_store_close(f->store);
    if (f->plain != MPI_FILE_NULL)
        (void)MPI_File_close(&f->plain);
    if (f->plain_fd >= 0)
        close(f->plain_fd);
    if (f->bench->world->rank == 0) {
        (void)remove(f->store_path);
        (void)remove(f->plain_path);
    }
    g_free(f->store_path);
    g_free(f->plain_path);
    g_free(f->rows);
    g_free(f->halves);
    if (f->own_mpi)
        MPI_Finalize();
}

bool lob_bench_store(const LobBench *bench, GError **err) {
    Files f = {.bench = bench, .comm = lob_world_comm(bench->world), .plain = MPI_FILE_NULL, .plain_fd = -1};
    int started = 0;
    int id = (int)getpid();
    lob_world_bcast(bench->world, &id, sizeof id);
    f.store_path = g_strdup_printf("%s/lobule-bench-%d.h5", bench->dir, id);
    f.plain_path = g_strdup_printf("%s/lobule-bench-%d.bin", bench->dir, id);
    f.first_row = (uint64_t)bench->world->rank * ROWS;
    if (!bench->world->has_mpi && MPI_Initialized(&started) == MPI_SUCCESS && !started) {
        if (MPI_Init(NULL, NULL) != MPI_SUCCESS)
            return lob_fail(err, LOB_ERROR_INTERNAL, "MPI_Init failed");
        f.own_mpi = true;
        f.comm = MPI_COMM_SELF;
    }
    fill_rows(&f);
    const bool ok = measure(&f, err);
    clear(&f);
    return ok;
}
