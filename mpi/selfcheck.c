#include "mpi/selfcheck.h"
#include "hdf5io/hdf5io.h"
#include "mpi/space.h"

#include <cblas.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

/* No multiple of a page: neighbours share one. */
#define BLOCK_BYTES 4099
#define HANG_SECONDS 120
/* Rows of two kinds of CPU differ in their last bits; a wrong kernel is wrong in the first. */
#define MOST_DIFFERENCE 0.02

/* ---- files ---- */

static void on_hang(int number) {
    static const char text[] =
        "lobule: writing and reading a small file through MPI-IO in output/store hangs; try another MPI-IO "
        "module (mpiio: romio321 or ompio under site: in the study file), or another file system\n";
    (void)number;
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    _exit(LOB_EXIT_OTHER);
}

static void watch(unsigned seconds) {
    struct sigaction action = {.sa_handler = seconds > 0 ? on_hang : SIG_DFL};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGALRM, &action, NULL);
    (void)alarm(seconds);
}

static void fill(uint8_t *block, int rank) {
    LobRng rng;
    lob_rng_init(&rng, (uint64_t)rank, "selfcheck/block");
    for (size_t i = 0; i < BLOCK_BYTES; i++)
        block[i] = (uint8_t)lob_rng_below(&rng, 256);
}

static char *mpi_text(int rc) {
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    (void)MPI_Error_string(rc, text, &length);
    return g_strndup(text, (gsize)length);
}

static bool mpi_ok(int rc, const char *doing, const char *path, GError **err) {
    if (rc == MPI_SUCCESS)
        return true;
    g_autofree char *text = mpi_text(rc);
    return lob_fail(err, LOB_ERROR_IO,
                    "%s: %s through MPI-IO fails (%s); try another module (mpiio: under site: in the study "
                    "file)",
                    path, doing, text);
}

/* As rows are written: through MPI-IO, then made durable by the file's own descriptor. */
static bool put_block(MPI_File file, const char *path, int rank, GError **err) {
    uint8_t block[BLOCK_BYTES];
    fill(block, rank);
    if (!mpi_ok(MPI_File_write_at(file, (MPI_Offset)rank * BLOCK_BYTES, block, BLOCK_BYTES, MPI_BYTE,
                                  MPI_STATUS_IGNORE),
                "writing", path, err))
        return false;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const bool ok = fd >= 0 && fdatasync(fd) == 0;
    const int problem = errno;
    if (fd >= 0)
        close(fd);
    return ok || lob_fail_errno(err, LOB_ERROR_IO, problem, "%s: cannot be made durable", path);
}

static bool see_block(MPI_File file, const char *path, int rank, GError **err) {
    uint8_t wanted[BLOCK_BYTES], seen[BLOCK_BYTES];
    fill(wanted, rank);
    if (!mpi_ok(MPI_File_read_at(file, (MPI_Offset)rank * BLOCK_BYTES, seen, BLOCK_BYTES, MPI_BYTE,
                                 MPI_STATUS_IGNORE),
                "reading", path, err))
        return false;
    return memcmp(wanted, seen, BLOCK_BYTES) == 0 ||
           lob_fail(
               err, LOB_ERROR_IO,
               "%s (%s): what rank %d wrote is not what is read: this file system or MPI-IO module loses "
               "data; a store there would be wrong",
               path, lob_space_kind(path), rank);
}

/* The count of stripes in what Lustre tells of a file (extended attribute lustre.lov); -1 where it does not
 * say. */
int lob_stripes_of(const uint8_t *lov, size_t size) {
    enum { V1 = 0x0BD10BD0, V3 = 0x0BD30BD0, COUNT_AT = 28 };
    uint32_t magic = 0;
    uint16_t count = 0;
    if (size < COUNT_AT + sizeof count)
        return -1;
    memcpy(&magic, lov, sizeof magic);
    memcpy(&count, lov + COUNT_AT, sizeof count);
    return magic == V1 || magic == V3 ? count : -1;
}

/* A hint is a wish: not every module knows of Lustre. */
static void check_stripes(const char *path, int wanted) {
    uint8_t lov[4096];
    if (wanted <= 0 || strcmp(lob_space_kind(path), "Lustre") != 0)
        return;
    const ssize_t size = getxattr(path, "lustre.lov", lov, sizeof lov);
    const int stripes = lob_stripes_of(lov, size > 0 ? (size_t)size : 0);
    if (stripes != wanted)
        lob_warning(
            "%s: stripe_count %d was asked for, and the file has %d (-1: not told): this MPI-IO module does "
            "not pass it on; use lfs setstripe -c %d on the folder before the first run",
            path, wanted, stripes, wanted);
}

static bool round_trip(const LobWorld *world, const LobStudy *study, const char *path, GError **err) {
    MPI_File file = MPI_FILE_NULL;
    MPI_Info info = lob_store_mpiio_info();
    GError *mine = NULL;
    const bool opened =
        mpi_ok(MPI_File_open(lob_world_comm(world), path,
                             MPI_MODE_CREATE | MPI_MODE_RDWR | MPI_MODE_DELETE_ON_CLOSE, info, &file),
               "opening", path, &mine);
    if (info != MPI_INFO_NULL)
        MPI_Info_free(&info);
    if (!lob_world_agree(world, mine, err))
        return false; /* opening fails on all ranks or on none */
    mine = NULL;
    if (world->rank == 0)
        check_stripes(path, study->site.stripe_count);
    if (opened)
        (void)put_block(file, path, world->rank, &mine);
    bool ok = lob_world_agree(world, mine, err);
    mine = NULL;
    if (ok)
        (void)see_block(file, path, (world->rank + 1) % world->size, &mine);
    ok = ok && lob_world_agree(world, mine, err);
    (void)MPI_File_close(&file);
    return ok;
}

bool lob_selfcheck_files(const LobWorld *world, const LobStudy *study, GError **err) {
    g_autofree char *store = lob_study_out(study, "store"),
                    *path = g_build_filename(store, "selfcheck", NULL);
    const int nodes = (world->size + world->node_size - 1) / world->node_size;
    GError *mine = NULL;
    if (world->rank == 0)
        (void)lob_space_suits(store, nodes, study->site.shared_writes, &mine);
    if (!lob_world_agree(world, mine, err))
        return false;
    if (!world->has_mpi)
        return true;
    watch(HANG_SECONDS);
    const bool ok = round_trip(world, study, path, err);
    watch(0);
    return ok;
}

/* ---- computing ---- */

bool lob_selfcheck_sgemm(GError **err) {
    enum { M = 37, N = 53, K = 41 };
    float a[M * K], b[N * K], c[M * N];
    LobRng rng;
    lob_rng_init(&rng, 1, "selfcheck/sgemm");
    for (size_t i = 0; i < G_N_ELEMENTS(a); i++)
        a[i] = (float)lob_rng_uniform(&rng) - 0.5F;
    for (size_t i = 0; i < G_N_ELEMENTS(b); i++)
        b[i] = (float)lob_rng_uniform(&rng) - 0.5F;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, M, N, K, 1, a, K, b, K, 0, c, N);
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) {
            double sum = 0;
            for (int k = 0; k < K; k++)
                sum += (double)a[i * K + k] * (double)b[j * K + k];
            if (!(fabs(sum - (double)c[i * N + j]) <= 1e-5))
                return lob_fail(err, LOB_ERROR_INTERNAL,
                                "OpenBLAS (kernel %s) multiplies matrices wrongly on this CPU: set "
                                "OPENBLAS_CORETYPE to a plainer kernel (Haswell), or use a newer OpenBLAS",
                                openblas_get_corename());
        }
    return true;
}

double lob_rows_differ(const float *a, const float *b, size_t dim) {
    double norm = 0, difference = 0;
    for (size_t d = 0; d < dim; d++) {
        const double x = (double)a[d], y = (double)b[d];
        if (isnan(x) && isnan(y))
            continue;
        norm += x * x;
        difference += (x - y) * (x - y);
    }
    if (!isfinite(norm) || !isfinite(difference))
        return INFINITY;
    return difference == 0 ? 0 : sqrt(difference / norm);
}

/* ---- the row that a store's first run kept ---- */

static bool read_kept(const char *path, const char *identity, float *row, size_t dim) {
    g_autofree char *data = NULL;
    gsize size = 0;
    const size_t head = strlen(identity) + 1;
    if (!g_file_get_contents(path, &data, &size, NULL) || size != head + dim * sizeof *row ||
        memcmp(data, identity, head - 1) != 0 || data[head - 1] != '\n')
        return false;
    memcpy(row, data + head, dim * sizeof *row);
    return true;
}

static bool keep(const char *path, const char *identity, const float *row, size_t dim, GError **err) {
    g_autoptr(GByteArray) data = g_byte_array_new();
    g_byte_array_append(data, (const guint8 *)identity, (guint)strlen(identity));
    g_byte_array_append(data, (const guint8 *)"\n", 1);
    g_byte_array_append(data, (const guint8 *)row, (guint)(dim * sizeof *row));
    return lob_file_replace(path, data->data, data->len, err);
}

static bool compare_kept(const float *row, size_t dim, const char *identity, const char *path, GError **err) {
    g_autofree float *before = g_new(float, dim);
    if (!read_kept(path, identity, before, dim))
        return keep(path, identity, row, dim, err);
    const double difference = lob_rows_differ(before, row, dim);
    return difference <= MOST_DIFFERENCE ||
           lob_fail(err, LOB_ERROR_INTERNAL,
                    "the encoder makes another row of the test tile than in the run that began this store "
                    "(%.3g apart, as a share of its norm): libraries or CPU have changed and one of them is "
                    "wrong; rows would be mixed. Remove %s to go on all the same",
                    difference, path);
}

bool lob_selfcheck_rows(const LobWorld *world, const float *row, size_t dim, const char *identity,
                        const char *kept, GError **err) {
    g_autofree float *first = g_memdup2(row, dim * sizeof *row);
    GError *mine = NULL;
    if (world->rank == 0)
        (void)compare_kept(row, dim, identity, kept, &mine);
    if (!lob_world_agree(world, mine, err))
        return false;
    lob_world_bcast(world, first, dim * sizeof *first);
    const double difference = lob_rows_differ(first, row, dim);
    mine = NULL;
    if (!(difference <= MOST_DIFFERENCE))
        lob_fail(
            &mine, LOB_ERROR_INTERNAL,
            "its encoder makes another row of the test tile than rank 0's (%.3g apart, as a share of its "
            "norm): this host computes wrongly",
            difference);
    return lob_world_agree(world, mine, err);
}
