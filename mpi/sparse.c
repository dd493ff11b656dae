#include "mpi/sparse.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/mman.h>
#include <unistd.h>

struct LobSparse {
    void *data;
    size_t size;
};

enum { NAME_BYTES = 4096 };

static void node_bcast(const LobWorld *world, void *data, int bytes) {
    MPI_Request request;
    MPI_Ibcast(data, bytes, MPI_BYTE, 0, lob_world_node_comm(world), &request);
    lob_mpi_wait(&request, MPI_STATUS_IGNORE);
}

/* The file of a node, of its full size and yet without a block; its name goes into name, empty on error. */
static int create(char *name, size_t size, const char *dir, GError **err) {
    g_autofree char *path = g_build_filename(dir ? dir : "/dev/shm", "lobule-bags-XXXXXX", NULL);
    name[0] = '\0';
    const int fd = g_mkstemp(path);
    if (fd < 0 || ftruncate(fd, (off_t)size) != 0) {
        lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: no file of %zu bytes can be made there", path, size);
        if (fd >= 0) {
            close(fd);
            unlink(path);
        }
        return -1;
    }
    g_strlcpy(name, path, NAME_BYTES);
    return fd;
}

/* On every rank of the node, the file of its first; it has no name any more when this returns. */
static int open_together(const LobWorld *world, size_t size, const char *dir, GError **err) {
    char name[NAME_BYTES] = "";
    const bool alone = !world->has_mpi || world->node_size == 1;
    int fd = world->node_rank == 0 ? create(name, size, dir, err) : -1;
    if (!alone)
        node_bcast(world, name, NAME_BYTES);
    if (world->node_rank != 0 && name[0] != '\0' && (fd = g_open(name, O_RDWR, 0)) < 0)
        lob_fail_errno(err, LOB_ERROR_IO, errno, "%s", name);
    if (world->node_rank != 0 && name[0] == '\0')
        lob_fail(err, LOB_ERROR_IO, "the node's first rank could not make a file for the features");
    if (!alone)
        lob_mpi_barrier(lob_world_node_comm(world));
    if (world->node_rank == 0 && name[0] != '\0')
        unlink(name);
    return fd;
}

LobSparse *lob_sparse_new(const LobWorld *world, size_t size, const char *dir, GError **err) {
    const bool memory = !dir && (!world->has_mpi || world->node_size == 1);
    const int fd = memory ? -1 : open_together(world, size, dir, err);
    if (!memory && fd < 0)
        return NULL;
    void *data =
        mmap(NULL, size, PROT_READ | PROT_WRITE,
             memory ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED | MAP_NORESERVE, fd, 0);
    const int problem = errno;
    if (fd >= 0)
        close(fd);
    if (data == MAP_FAILED) {
        lob_fail_errno(err, LOB_ERROR_IO, problem, "%zu bytes of address space for the features", size);
        return NULL;
    }
    LobSparse *sparse = g_new(LobSparse, 1);
    *sparse = (LobSparse){data, size};
    return sparse;
}

void *lob_sparse_data(LobSparse *sparse) {
    return sparse->data;
}

void lob_sparse_free(LobSparse *sparse) {
    if (!sparse)
        return;
    munmap(sparse->data, sparse->size);
    g_free(sparse);
}
