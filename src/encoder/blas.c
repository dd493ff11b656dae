#include "encoder/blas.h"

#include <cblas.h>
#include <errno.h>
#include <sys/mman.h>

#define BLAS_BUFFER_MIB 128
#define SPARE_MIB 64 /* threads and tables beside it */

/* One worker a core: a BLAS with threads of its own would oversubscribe the node, and its threads would be
 * forked. */
static bool is_single_threaded(GError **err) {
    openblas_set_num_threads(1);
    return openblas_get_num_threads() == 1 ||
           lob_fail(
               err, LOB_ERROR_INTERNAL,
               "OpenBLAS does not accept one thread; set OPENBLAS_NUM_THREADS=1 or link its serial build");
}

static bool has_room(GError **err) {
    const size_t size = (size_t)(BLAS_BUFFER_MIB + SPARE_MIB) << 20;
    void *buffer = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (buffer == MAP_FAILED) {
        return lob_fail(err, LOB_ERROR_INTERNAL,
                        "OpenBLAS needs a buffer of %d MiB, all else at least %d MiB: %s; give the job more "
                        "memory, or raise the shell's limit (ulimit -v)",
                        BLAS_BUFFER_MIB, SPARE_MIB, g_strerror(errno));
    }
    munmap(buffer, size);
    return true;
}

/* OpenBLAS takes its buffer at its first product, which is large enough not to go without. */
static void take_buffer(void) {
    enum { N = 128 };
    g_autofree float *zeros = g_new0(float, 2 * N * N);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, N, N, N, 1, zeros, N, zeros, N, 0, zeros + N * N, N);
}

bool lob_blas_ready(GError **err) {
    static bool taken;
    if (!is_single_threaded(err) || (!taken && !has_room(err))) {
        return false;
    }
    if (!taken) {
        take_buffer();
    }
    taken = true;
    return true;
}
