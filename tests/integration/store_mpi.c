/* The store under several ranks: store_mpi write|die|resume|check|bench PATH.
 *   write   create, each rank writes its ranges, finish
 *   die     the same, but every rank kills itself (SIGKILL) after half of its ranges
 *   resume  open the unfinished part again, write the other half, finish
 *   check   one process: finished, and every row right
 *   half    one process: unfinished, and the rows of the first half right
 *   bench   rows through the store against MPI_File_write_at, same sizes and fdatasync cadence; JSON line */
#include "hdf5io/hdf5io.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DIM 64
#define SLIDES 12
#define RANGE 32
#define BENCH_DIM 1024
#define BENCH_RANGE 2048
#define BENCH_RANGES 12 /* a rank and round */
#define BENCH_ROUNDS 7

static int rank, size;

static void die_of(GError *error) {
    fprintf(stderr, "rank %d: %s\n", rank, error ? error->message : "failed without a reason");
    if (size > 1)
        MPI_Abort(MPI_COMM_WORLD, 1);
    exit(1);
}

static uint64_t slide_count(size_t i) {
    return i % 5 == 4 ? 0 : 40 + 37 * i;
}

static uint64_t make_slides(LobStoreSlide slides[SLIDES]) {
    static char ids[SLIDES][8];
    uint64_t rows = 0;
    for (size_t i = 0; i < SLIDES; i++) {
        g_snprintf(ids[i], sizeof ids[i], "s%zu", i);
        slides[i] = (LobStoreSlide){.slide_id = ids[i],
                                    .patient_id = ids[i],
                                    .center = i % 2 ? "east" : "west",
                                    .first = rows,
                                    .count = slide_count(i),
                                    .mpp_x = 0.5,
                                    .mpp_y = 0.5};
        rows += slide_count(i);
    }
    return rows;
}

static void fill_rows(float *out, uint64_t first, uint64_t n) {
    for (uint64_t r = 0; r < n; r++)
        for (uint64_t d = 0; d < DIM; d++)
            out[r * DIM + d] =
                (float)((first + r) % 1000) + (float)d / 64; /* not exact in float16: rounded */
}

/* Ranges of all slides in turn; half 0 or 1 picks every other, 2 all. */
static void write_ranges(LobPart *part, LobStoreSlide slides[SLIDES], int half) {
    g_autoptr(GError) err = NULL;
    g_autofree float *rows = g_new(float, RANGE *DIM);
    int k = 0;
    for (size_t i = 0; i < SLIDES; i++)
        for (uint64_t at = 0; at < slides[i].count; at += RANGE, k++) {
            if (k % size != rank || (half < 2 && k / size % 2 != half))
                continue;
            uint64_t n = MIN(RANGE, slides[i].count - at);
            fill_rows(rows, slides[i].first + at, n);
            if (!lob_part_write_rows(part, slides[i].first + at, n, rows, NULL, &err))
                die_of(err);
        }
}

static void finish(LobPart *part, LobStoreSlide slides[SLIDES]) {
    g_autoptr(GError) err = NULL;
    for (size_t i = 0; i < SLIDES; i++) {
        g_autofree float *rows = g_new(float, slides[i].count *DIM + 1);
        g_autofree uint16_t *halves = g_new(uint16_t, slides[i].count * DIM + 1);
        fill_rows(rows, slides[i].first, slides[i].count);
        lob_halves_from_floats(halves, rows, slides[i].count * DIM);
        slides[i].crc32c = lob_crc32c(0, halves, slides[i].count * DIM * 2);
        slides[i].state = LOB_STATE_DONE;
    }
    if (!lob_part_finish(part, slides, SLIDES, &err))
        die_of(err);
}

static LobPart *create(const char *path, LobStoreSlide slides[SLIDES]) {
    g_autoptr(GError) err = NULL;
    uint64_t n = make_slides(slides);
    LobStoreHeader header = {.encoder = "test", .dim = DIM, .tile_size = 224, .tile_mpp = 0.5};
    g_autofree int32_t *coords = g_new0(int32_t, 2 * n);
    g_autofree uint8_t *tissue = g_new0(uint8_t, n);
    for (uint64_t i = 0; i < n; i++)
        coords[2 * i] = coords[2 * i + 1] = (int32_t)i;
    LobPart *part =
        lob_part_create(path, size > 1 ? MPI_COMM_WORLD : MPI_COMM_NULL, &header, slides, SLIDES,
                        rank == 0 ? (const int32_t(*)[2])coords : NULL, rank == 0 ? tissue : NULL, &err);
    if (!part)
        die_of(err);
    return part;
}

static void resume(const char *path) {
    g_autoptr(GError) err = NULL;
    LobStoreSlide slides[SLIDES];
    make_slides(slides);
    LobPart *part = lob_part_open(path, size > 1 ? MPI_COMM_WORLD : MPI_COMM_NULL, &err);
    if (!part)
        die_of(err);
    write_ranges(part, slides, 1);
    finish(part, slides);
}

static bool rows_right(LobStore *store, uint64_t first, uint64_t n) {
    g_autoptr(GError) err = NULL;
    g_autofree float *wanted = g_new(float, n *DIM);
    g_autofree uint16_t *halves = g_new(uint16_t, n * DIM), *found = g_new(uint16_t, n * DIM);
    fill_rows(wanted, first, n);
    lob_halves_from_floats(halves, wanted, n * DIM);
    if (!lob_store_read_halves(store, first, n, found, &err))
        die_of(err);
    return memcmp(halves, found, n * DIM * 2) == 0;
}

static int check(const char *path, bool all, int writers) {
    g_autoptr(GError) err = NULL;
    g_autoptr(LobStore) store = lob_store_open(path, &err);
    if (!store)
        die_of(err);
    size_t n = 0;
    const LobStoreSlide *slides = lob_store_slides(store, &n);
    int wrong = n != SLIDES || lob_store_finished(store) != all, k = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t crc = 0;
        if (all && (!lob_store_crc_rows(store, slides[i].first, slides[i].count, &crc, &err) ||
                    crc != slides[i].crc32c))
            wrong++;
        for (uint64_t at = 0; at < slides[i].count; at += RANGE, k++)
            if (all || k / writers % 2 == 0)
                wrong += !rows_right(store, slides[i].first + at, MIN(RANGE, slides[i].count - at));
    }
    printf("%s: %d of %d ranges checked wrong\n", path, wrong, k);
    return wrong != 0;
}

/* ---- speed ---- */

static double bench_store(LobPart *part, const float *rows, int round) {
    g_autoptr(GError) err = NULL;
    MPI_Barrier(MPI_COMM_WORLD);
    double start = MPI_Wtime();
    for (int i = 0; i < BENCH_RANGES; i++) {
        uint64_t first = (uint64_t)((round * BENCH_RANGES + i) * size + rank) * BENCH_RANGE;
        if (!lob_part_write_rows(part, first, BENCH_RANGE, rows, NULL, &err))
            die_of(err);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    return MPI_Wtime() - start;
}

static double bench_plain(MPI_File file, int fd, const void *rows, int round) {
    const size_t bytes = (size_t)BENCH_RANGE * BENCH_DIM * 2;
    MPI_Barrier(MPI_COMM_WORLD);
    double start = MPI_Wtime();
    for (int i = 0; i < BENCH_RANGES; i++) {
        MPI_Offset at = (MPI_Offset)bytes * ((round * BENCH_RANGES + i) * size + rank);
        MPI_Status status;
        if (MPI_File_write_at(file, at, rows, (int)bytes, MPI_BYTE, &status) != MPI_SUCCESS ||
            fdatasync(fd) != 0)
            die_of(NULL);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    return MPI_Wtime() - start;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* What the store does to rows beyond writing them: conversion and checksum. */
static double bench_convert(const float *rows, uint16_t *halves) {
    double start = MPI_Wtime();
    volatile uint32_t crc = 0;
    for (int i = 0; i < BENCH_RANGES; i++) {
        lob_halves_from_floats(halves, rows, (size_t)BENCH_RANGE * BENCH_DIM);
        crc = crc ^ lob_crc32c(0, halves, (size_t)BENCH_RANGE * BENCH_DIM * 2);
    }
    return MPI_Wtime() - start;
}

static void bench(const char *path) {
    g_autoptr(GError) err = NULL;
    g_autofree char *plain_path = g_strconcat(path, ".plain", NULL);
    LobStoreHeader header = {.encoder = "bench", .dim = BENCH_DIM};
    LobStoreSlide slide = {.slide_id = "s",
                           .count = (uint64_t)BENCH_ROUNDS * BENCH_RANGES * BENCH_RANGE * (uint64_t)size};
    g_autofree int32_t *coords = g_new0(int32_t, 2 * slide.count);
    g_autofree uint8_t *tissue = g_new0(uint8_t, slide.count);
    g_autofree float *rows = g_new(float, BENCH_RANGE *BENCH_DIM);
    g_autofree uint16_t *halves = g_new(uint16_t, BENCH_RANGE * BENCH_DIM);
    for (size_t i = 0; i < (size_t)BENCH_RANGE * BENCH_DIM; i++)
        rows[i] = (float)(i % 2039) / 7;
    LobPart *part =
        lob_part_create(path, MPI_COMM_WORLD, &header, &slide, 1, (const int32_t(*)[2])coords, tissue, &err);
    if (!part)
        die_of(err);
    MPI_File file = MPI_FILE_NULL;
    int fd = -1;
    if (MPI_File_open(MPI_COMM_WORLD, plain_path, MPI_MODE_CREATE | MPI_MODE_RDWR, MPI_INFO_NULL, &file) !=
            MPI_SUCCESS ||
        MPI_File_set_size(file, (MPI_Offset)slide.count * BENCH_DIM * 2) !=
            MPI_SUCCESS || /* as the store's */
        (fd = open(plain_path, O_RDWR | O_CLOEXEC)) < 0)
        die_of(NULL);
    double ratio[BENCH_ROUNDS], ratio_bare[BENCH_ROUNDS], store[BENCH_ROUNDS], plain[BENCH_ROUNDS];
    for (int round = 0; round < BENCH_ROUNDS; round++) {
        double first = round % 2 ? bench_plain(file, fd, halves, round) : 0;
        store[round] = bench_store(part, rows, round);
        plain[round] = round % 2 ? first : bench_plain(file, fd, halves, round);
        ratio[round] = plain[round] / store[round];
        ratio_bare[round] = plain[round] / (store[round] - bench_convert(rows, halves));
    }
    lob_part_close(part);
    MPI_File_close(&file);
    close(fd);
    double mib = (double)size * BENCH_RANGES * BENCH_RANGE * BENCH_DIM * 2 / (1 << 20);
    qsort(ratio, BENCH_ROUNDS, sizeof *ratio, by_value);
    qsort(ratio_bare, BENCH_ROUNDS, sizeof *ratio_bare, by_value);
    qsort(store, BENCH_ROUNDS, sizeof *store, by_value);
    qsort(plain, BENCH_ROUNDS, sizeof *plain, by_value);
    const int mid = BENCH_ROUNDS / 2;
    if (rank == 0)
        printf("{\"bench\":\"store\",\"case\":\"write, %d "
               "ranks\",\"rate\":%.0f,\"unit\":\"MiB/s\",\"ceiling\":%.0f,"
               "\"ratio\":%.3f,\"ratio_min\":%.3f,\"ratio_max\":%.3f,\"ratio_without_crc_and_conversion\":%."
               "3f}\n",
               size, mib / store[mid], mib / plain[mid], ratio[mid], ratio[0], ratio[BENCH_ROUNDS - 1],
               ratio_bare[mid]);
}

int main(int argc, char **argv) {
    if (argc < 3)
        return 2;
    const char *what = argv[1], *path = argv[2];
    size = 1;
    if (strcmp(what, "check") == 0 || strcmp(what, "half") == 0)
        return check(path, strcmp(what, "check") == 0, argc > 3 ? atoi(argv[3]) : 1);
    if (g_getenv("OMPI_COMM_WORLD_SIZE") || strcmp(what, "bench") == 0) {
        MPI_Init(&argc, &argv);
        MPI_Comm_rank(MPI_COMM_WORLD, &rank);
        MPI_Comm_size(MPI_COMM_WORLD, &size);
    }
    if (strcmp(what, "bench") == 0) {
        bench(path);
    } else if (strcmp(what, "resume") == 0) {
        resume(path);
    } else {
        LobStoreSlide slides[SLIDES];
        LobPart *part = create(path, slides);
        bool dies = strcmp(what, "die") == 0;
        write_ranges(part, slides, dies ? 0 : 2);
        if (dies) {
            if (size > 1)
                MPI_Barrier(MPI_COMM_WORLD);
            kill(getpid(), SIGKILL);
        }
        finish(part, slides);
    }
    int initialised = 0;
    MPI_Initialized(&initialised);
    if (initialised)
        MPI_Finalize();
    return 0;
}
