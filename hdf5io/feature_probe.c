/* Reading others' files once in a process of its own: HDF5 1.10 dies of many a damaged file, and a file
 * from elsewhere should cost an error, not the job. */
#include "hdf5io/feature_file.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECONDS_A_FILE 600
#define PIECE_BYTES ((size_t)64 << 20)
#define MOST_FILES 400 /* names on a command line */

/* What the parent will do with the file; its errors are the parent's to tell. */
static void read_all(const char *path, const char *encoder) {
    g_autoptr(LobStore) store = lob_store_open(path, NULL);
    if (store)
        return; /* of a store all but its rows, which lie in one plain piece */
    g_autoptr(LobFeatureFile) file = lob_feature_file_open_as(path, encoder, NULL);
    if (!file || file->rows == 0)
        return;
    const size_t dim = (size_t)file->dim, step = MAX(PIECE_BYTES / (dim * sizeof(float)), 1);
    g_autofree float *floats = g_try_new(float, MIN(step, file->rows) * dim);
    g_autofree int32_t(*xy)[2] = g_try_malloc(file->rows * sizeof *xy);
    for (uint64_t at = 0; floats && at < file->rows; at += step)
        if (!lob_feature_file_read_floats(file, at, MIN(step, file->rows - at), floats, NULL))
            break;
    if (xy)
        (void)lob_feature_file_read_coords(file, 1, xy, NULL);
}

static void run_child(const char *const *paths, size_t n, const char *encoder, volatile uint64_t *at) {
    const struct rlimit no_core = {0, 0};
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setrlimit(RLIMIT_CORE, &no_core);
    if (nowhere >= 0)
        (void)dup2(nowhere, STDERR_FILENO); /* what a dying library prints */
    for (size_t i = 0; i < n; i++) {
        *at = i;
        alarm(SECONDS_A_FILE);
        read_all(paths[i], encoder);
    }
    _exit(0);
}

static bool judge(int status, const char *path, GError **err) {
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: cannot be read within %d s: damaged?", path,
                        SECONDS_A_FILE);
    return lob_fail(err, LOB_ERROR_INPUT, "%s: is damaged: the library that reads it dies of it (%s)", path,
                    WIFSIGNALED(status) ? g_strsignal(WTERMSIG(status)) : "it gave up");
}

static bool probe_in_fork(const char *const *paths, size_t n, const char *encoder, GError **err) {
    int status = 0;
    uint64_t *at = mmap(NULL, sizeof *at, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return lob_fail_errno(err, LOB_ERROR_INTERNAL, errno, "cannot share a page with a process");
    const pid_t pid = fork();
    if (pid == 0)
        run_child(paths, n, encoder, at);
    bool ok = pid > 0;
    while (ok && waitpid(pid, &status, 0) < 0)
        ok = errno == EINTR;
    const uint64_t last = *at;
    munmap(at, sizeof *at);
    return ok ? judge(status, paths[last], err)
              : lob_fail_errno(err, LOB_ERROR_INTERNAL, errno, "cannot start a process to probe files");
}

static GPtrArray *probe_command(const char *const *paths, size_t n, const char *encoder) {
    static const char *const verb[] = {"store", "probe"};
    GPtrArray *argv = g_ptr_array_new_with_free_func(g_free);
    g_ptr_array_add(argv, g_file_read_link("/proc/self/exe", NULL));
    for (size_t i = 0; i < G_N_ELEMENTS(verb); i++)
        g_ptr_array_add(argv, g_strdup(verb[i]));
    if (encoder)
        g_ptr_array_add(argv, g_strdup_printf("--encoder=%s", encoder));
    g_ptr_array_add(argv, g_strdup("--"));
    for (size_t i = 0; i < n; i++)
        g_ptr_array_add(argv, g_strdup(paths[i]));
    g_ptr_array_add(argv, NULL);
    return argv;
}

/* Beside a fast network's memory a process may start another program, but not go on as a copy of itself. */
static bool probe_by_program(const char *const *paths, size_t n, const char *encoder, GError **err) {
    g_autoptr(GError) cause = NULL;
    g_autofree char *said = NULL;
    int status = 0;
    g_autoptr(GPtrArray) argv = probe_command(paths, n, encoder);
    if (!g_spawn_sync(NULL, (char **)argv->pdata, NULL, G_SPAWN_LEAVE_DESCRIPTORS_OPEN, NULL, NULL, &said,
                      NULL, &status, &cause))
        return lob_fail(err, LOB_ERROR_INTERNAL, "cannot start a process to probe files: %s", cause->message);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    return lob_fail(err, LOB_ERROR_INPUT, "%s", said && *said ? g_strchomp(said) : "files cannot be probed");
}

bool lob_feature_files_probe(const char *const *paths, size_t n, const char *encoder, GError **err) {
    int has_mpi = 0;
    MPI_Initialized(&has_mpi);
    if (!has_mpi)
        return n == 0 || probe_in_fork(paths, n, encoder, err);
    for (size_t i = 0; i < n; i += MOST_FILES)
        if (!probe_by_program(paths + i, MIN(MOST_FILES, n - i), encoder, err))
            return false;
    return true;
}

bool lob_feature_files_open(const char *const *paths, const char *encoder, GError **err) {
    for (; *paths; paths++) {
        g_autoptr(LobStore) store = lob_store_open(*paths, NULL);
        g_autoptr(LobFeatureFile) file = store ? NULL : lob_feature_file_open_as(*paths, encoder, err);
        if (!store && !file)
            return false;
    }
    return true;
}
