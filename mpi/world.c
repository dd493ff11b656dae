/* Start and end of the world, and collectives that sleep while they wait. */
#include "mpi/world.h"
#include "mpi/progress.h"
#include "mpi/stop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Counts of MPI 3 are ints: larger buffers travel in pieces. */
#define PIECE_BYTES ((size_t)1 << 30)
#define NAP_LEAST 20e-6
#define NAP_MOST 20e-3
#define TAG_GATHER 71

static MPI_Comm world_comm = MPI_COMM_NULL, farm_comm = MPI_COMM_NULL, node_comm = MPI_COMM_NULL;

static int env_int(const char *name) {
    const char *text = getenv(name);
    char *end = NULL;
    if (!text || !*text)
        return -1;
    const long value = strtol(text, &end, 10);
    return *end || value < 0 || value > 1 << 30 ? -1 : (int)value;
}

/* Ranks the launcher says it started; -1: no launcher. Under mpirun inside Slurm the step's own numbers
 * count Open MPI's daemons, so mpirun's word comes first. */
static int launched_size(void) {
    static const char *const sizes[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS"};
    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++)
        if (env_int(sizes[i]) > 0)
            return env_int(sizes[i]);
    if (getenv("SLURM_STEP_ID") && env_int("SLURM_STEP_NUM_TASKS") > 0 && env_int("SLURM_PROCID") >= 0)
        return env_int("SLURM_STEP_NUM_TASKS");
    return getenv("PMIX_RANK") ? 0 : -1;
}

int lob_launcher_rank(void) {
    static const char *const ranks[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"};
    for (size_t i = 0; i < G_N_ELEMENTS(ranks); i++)
        if (env_int(ranks[i]) >= 0)
            return env_int(ranks[i]);
    return getenv("SLURM_STEP_ID") && env_int("SLURM_PROCID") > 0 ? env_int("SLURM_PROCID") : 0;
}

/* For tests on one machine: LOB_TEST_NODE_RANKS ranks count as a node of their own. */
static void pretend_nodes(const LobWorld *world) {
    const int ranks = env_int("LOB_TEST_NODE_RANKS");
    if (ranks < 1)
        return;
    MPI_Comm whole = node_comm;
    MPI_Comm_split(whole, world->rank / ranks, world->rank, &node_comm);
    MPI_Comm_free(&whole);
}

static void split_node(LobWorld *world) {
    MPI_Comm_dup(MPI_COMM_WORLD, &world_comm);
    MPI_Comm_dup(MPI_COMM_WORLD, &farm_comm);
    MPI_Comm_split_type(world_comm, MPI_COMM_TYPE_SHARED, world->rank, MPI_INFO_NULL, &node_comm);
    pretend_nodes(world);
    MPI_Comm_rank(node_comm, &world->node_rank);
    MPI_Comm_size(node_comm, &world->node_size);
}

bool lob_world_start(LobWorld *world, int *argc, char ***argv, GError **err) {
    const int expected = launched_size();
    *world = (LobWorld){.size = 1, .node_size = 1};
    lob_stop_install();
    if (expected < 0 || expected == 1) {
        if (expected < 0 && env_int("SLURM_NTASKS") > 1)
            lob_warning("this job has %d tasks, but the program was started without srun or mpirun: one rank "
                        "does all the work",
                        env_int("SLURM_NTASKS"));
        return true;
    }
    if (MPI_Init(argc, argv) != MPI_SUCCESS)
        return lob_fail(err, LOB_ERROR_INTERNAL, "MPI_Init failed");
    world->has_mpi = true;
    MPI_Comm_rank(MPI_COMM_WORLD, &world->rank);
    MPI_Comm_size(MPI_COMM_WORLD, &world->size);
    split_node(world);
    lob_world_unname_segments(world);
    /* MPI_Init may have put its own handlers in place. */
    lob_stop_install();
    if (expected > 1 && world->size != expected)
        return lob_fail(err, LOB_ERROR_INPUT,
                        "the launcher started %d ranks, but MPI sees %d: launcher and MPI library do not fit "
                        "together (try srun --mpi=pmix, or mpirun of the same MPI)",
                        expected, world->size);
    return true;
}

void lob_world_end(LobWorld *world) {
    if (!world->has_mpi)
        return;
    lob_world_rename_segments();
    lob_world_barrier(world);
    (void)fflush(NULL);
    MPI_Comm_free(&node_comm);
    MPI_Comm_free(&farm_comm);
    MPI_Comm_free(&world_comm);
    MPI_Finalize();
    world->has_mpi = false;
}

MPI_Comm lob_world_comm(const LobWorld *world) {
    return world->has_mpi ? world_comm : MPI_COMM_NULL;
}

MPI_Comm lob_world_farm_comm(const LobWorld *world) {
    return world->has_mpi ? farm_comm : MPI_COMM_NULL;
}

MPI_Comm lob_world_node_comm(const LobWorld *world) {
    return world->has_mpi ? node_comm : MPI_COMM_NULL;
}

static void (*nap_hook)(void);

void lob_nap_set_hook(void (*hook)(void)) {
    nap_hook = hook;
}

void lob_nap(double *waited) {
    const double seconds = CLAMP(*waited / 8, NAP_LEAST, NAP_MOST);
    const struct timespec nap = {.tv_nsec = (long)(seconds * 1e9)};
    (void)nanosleep(&nap, NULL);
    *waited += seconds;
    if (nap_hook)
        nap_hook();
}

void lob_mpi_wait(MPI_Request *request, MPI_Status *status) {
    int done = 0;
    double waited = 0;
    MPI_Test(request, &done, status);
    while (!done) {
        lob_nap(&waited);
        MPI_Test(request, &done, status);
    }
}

void lob_mpi_barrier(MPI_Comm comm) {
    MPI_Request request;
    MPI_Ibarrier(comm, &request);
    lob_mpi_wait(&request, MPI_STATUS_IGNORE);
}

void lob_mpi_allreduce_sum(MPI_Comm comm, double *values, int n) {
    MPI_Request request;
    MPI_Iallreduce(MPI_IN_PLACE, values, n, MPI_DOUBLE, MPI_SUM, comm, &request);
    lob_mpi_wait(&request, MPI_STATUS_IGNORE);
}

void lob_world_barrier(const LobWorld *world) {
    if (world->has_mpi)
        lob_mpi_barrier(world_comm);
}

void lob_world_bcast(const LobWorld *world, void *data, size_t bytes) {
    for (size_t at = 0; world->has_mpi && at < bytes; at += PIECE_BYTES) {
        MPI_Request request;
        MPI_Ibcast((char *)data + at, (int)MIN(PIECE_BYTES, bytes - at), MPI_BYTE, 0, world_comm, &request);
        lob_mpi_wait(&request, MPI_STATUS_IGNORE);
    }
}

/* Pieces of one message follow each other in order on one tag. */
static void receive_bytes(char *data, size_t bytes, int from) {
    for (size_t at = 0; at < bytes; at += PIECE_BYTES) {
        MPI_Request request;
        MPI_Irecv(data + at, (int)MIN(PIECE_BYTES, bytes - at), MPI_BYTE, from, TAG_GATHER, world_comm,
                  &request);
        lob_mpi_wait(&request, MPI_STATUS_IGNORE);
    }
}

static void send_bytes(const char *data, size_t bytes) {
    for (size_t at = 0; at < bytes; at += PIECE_BYTES) {
        MPI_Request request;
        MPI_Isend(data + at, (int)MIN(PIECE_BYTES, bytes - at), MPI_BYTE, 0, TAG_GATHER, world_comm,
                  &request);
        lob_mpi_wait(&request, MPI_STATUS_IGNORE);
    }
}

void lob_world_gather(const LobWorld *world, const void *data, size_t bytes, void **all, size_t **sizes) {
    const uint64_t mine = bytes;
    g_autofree uint64_t *counts = g_new0(uint64_t, (size_t)world->size);
    counts[0] = mine;
    if (world->has_mpi) {
        MPI_Request request;
        MPI_Igather(&mine, 1, MPI_UINT64_T, counts, 1, MPI_UINT64_T, 0, world_comm, &request);
        lob_mpi_wait(&request, MPI_STATUS_IGNORE);
    }
    if (world->rank != 0) {
        send_bytes(data, bytes);
        return;
    }
    size_t total = 0;
    *sizes = g_new(size_t, (size_t)world->size);
    for (int r = 0; r < world->size; r++)
        total += (*sizes)[r] = counts[r];
    *all = g_malloc(MAX(total, 1));
    if (bytes > 0)
        memcpy(*all, data, bytes);
    size_t at = bytes;
    for (int r = 1; r < world->size; r++) {
        receive_bytes((char *)*all + at, (*sizes)[r], r);
        at += (*sizes)[r];
    }
}

/* ---- agreement on errors ---- */

/* One rank's error on its way: code 0 is none. */
typedef struct {
    int32_t code, rank;
    char message[1000];
} Verdict;

static void host_name(char *name, size_t size) {
    if (gethostname(name, size) != 0)
        g_strlcpy(name, "unknown host", size);
    name[size - 1] = '\0';
}

/* The lowest rank with an error, or the world's size, on every rank. */
static int first_failing_rank(const LobWorld *world, bool failed) {
    int mine = failed ? world->rank : world->size, lowest = mine;
    if (world->has_mpi) {
        MPI_Request request;
        MPI_Iallreduce(&mine, &lowest, 1, MPI_INT, MPI_MIN, world_comm, &request);
        lob_mpi_wait(&request, MPI_STATUS_IGNORE);
    }
    return lowest;
}

bool lob_world_agree(const LobWorld *world, GError *mine, GError **err) {
    g_autoptr(GError) own = mine;
    const int rank = first_failing_rank(world, own != NULL);
    if (rank == world->size)
        return true;
    Verdict verdict = {.rank = rank};
    if (own && world->rank == rank) {
        char host[128];
        host_name(host, sizeof host);
        verdict.code = own->domain == LOB_ERROR ? own->code : LOB_ERROR_INTERNAL;
        if (rank == 0)
            g_strlcpy(verdict.message, own->message, sizeof verdict.message);
        else
            (void)snprintf(verdict.message, sizeof verdict.message, "rank %d on %s: %.850s", rank, host,
                           own->message);
    }
    if (world->has_mpi) {
        MPI_Request request;
        MPI_Ibcast(&verdict, (int)sizeof verdict, MPI_BYTE, rank, world_comm, &request);
        lob_mpi_wait(&request, MPI_STATUS_IGNORE);
    }
    return lob_fail(err, (LobErrorCode)verdict.code, "%s", verdict.message);
}

void lob_world_leave_word(const LobWorld *world, int code) {
    const char *path = getenv("LOBULE_EXIT_FILE");
    if (world->rank != 0 || !path || !*path)
        return;
    g_autofree char *word = g_strdup_printf("%d %s\n", code, lob_progress_made() ? "new" : "nothing");
    g_autoptr(GError) err = NULL;
    if (!lob_file_replace(path, word, strlen(word), &err))
        lob_warning("%s", err->message);
}

void lob_world_abort(const LobWorld *world, const GError *error) {
    char host[128];
    host_name(host, sizeof host);
    lob_error_log("rank %d on %s: %s; the job ends, what is journalled stays, start it again", world->rank,
                  host, error->message);
    (void)fflush(NULL);
    const int code = lob_error_exit_code(error);
    lob_world_leave_word(world, code);
    if (world->has_mpi)
        MPI_Abort(MPI_COMM_WORLD, code);
    _exit(code);
}

/* ---- memory shared by a node ---- */

struct LobShared {
    MPI_Win window;
    void *data;
    bool is_window;
};

LobShared *lob_shared_new(const LobWorld *world, size_t size, GError **err) {
    g_autofree LobShared *shared = g_new0(LobShared, 1);
    if (!world->has_mpi || world->node_size == 1) {
        shared->data = g_malloc0(MAX(size, 1));
        return g_steal_pointer(&shared);
    }
    const MPI_Aint mine = world->node_rank == 0 ? (MPI_Aint)MAX(size, 1) : 0;
    MPI_Comm_set_errhandler(node_comm, MPI_ERRORS_RETURN);
    const int rc = MPI_Win_allocate_shared(mine, 1, MPI_INFO_NULL, node_comm, &shared->data, &shared->window);
    MPI_Comm_set_errhandler(node_comm, MPI_ERRORS_ARE_FATAL);
    if (rc != MPI_SUCCESS) {
        lob_fail(err, LOB_ERROR_IO,
                 "no room for %zu bytes of memory shared by the ranks of a node: enlarge /dev/shm or the "
                 "session folder of MPI",
                 size);
        return NULL;
    }
    MPI_Aint whole = 0;
    int unit = 0;
    MPI_Win_shared_query(shared->window, 0, &whole, &unit, &shared->data);
    shared->is_window = true;
    return g_steal_pointer(&shared);
}

void *lob_shared_data(LobShared *shared) {
    return shared->data;
}

void lob_shared_free(LobShared *shared) {
    if (!shared)
        return;
    if (shared->is_window)
        MPI_Win_free(&shared->window);
    else
        g_free(shared->data);
    g_free(shared);
}

bool lob_world_collect(const LobWorld *world, const GByteArray *outbox, GError *mine, void **all,
                       size_t *total, GError **err) {
    g_autofree size_t *sizes = NULL;
    *all = NULL;
    *total = 0;
    if (!lob_world_agree(world, mine, err))
        return false;
    lob_world_gather(world, outbox->data, outbox->len, all, &sizes);
    for (int r = 0; world->rank == 0 && r < world->size; r++)
        *total += sizes[r];
    return true;
}
