/* The rank's side of isolated readers: orders, deadlines, and what follows when a reader dies. */
#include "slide/reader_internal.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_KILLED_TILES 16 /* tiles of one slide that may kill readers before the slide is given up */
#define MOST_KILLED_RUN 4    /* ... one after the other */
#define OVERVIEW_FACTOR                                                                                      \
    10               /* a whole overview may take this many times open_seconds: a damaged header can         \
                      * claim a slide without end of which every single read is quick */
#define GRACE_MS 100 /* least time waited before a limit counts as passed, e.g. after a suspension */

#define TICK_MS 50

const LobReaderLimits lob_reader_default_limits = {60, 20, (size_t)4 << 30, 256, 224};

typedef enum { ANSWERED, DIED, LATE, ABANDONED } Outcome;

/* A request not yet collected. */
typedef struct {
    LobReaderOrder order;
    uint64_t sent_ns;
} Pending;

struct LobReader {
    LobReaderLimits limits;
    int control, memory; /* -1: none */
    pid_t pid;           /* 0: no process */
    LobShared *shared;
    GPtrArray *left_behind; /* shared memory of processes that would not die */
    bool open;
    char *path;
    LobSlideSpec spec; /* path above */
    LobSlideInfo info;
    Pending pending[2];
    int n_pending;
    uint32_t next_buffer;
    uint32_t suspect; /* tile of the oldest request that has killed a reader; UINT32_MAX: none */
    int killed, run;  /* tiles given up, and how many of them without a good one between */
    uint32_t last_killed;
    Outcome outcome; /* of the last order_once */
    bool crashed;    /* the process that ended last did so by itself */
    bool (*tick)(void *user);
    void *user;
};

static bool make_memory(LobReader *reader, GError **err) {
    size_t size = lob_shared_size(&reader->limits);
    reader->memory = memfd_create("lobule-tiles", MFD_CLOEXEC);
    if (reader->memory < 0 || ftruncate(reader->memory, (off_t)size) != 0)
        return lob_fail_errno(err, LOB_ERROR_INTERNAL, errno,
                              "cannot make %zu MiB of shared memory for tiles", size >> 20);
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, reader->memory, 0);
    if (map == MAP_FAILED)
        return lob_fail_errno(err, LOB_ERROR_INTERNAL, errno, "cannot map %zu MiB of shared memory for tiles",
                              size >> 20);
    reader->shared = map;
    return true;
}

static bool spawn(LobReader *reader, GError **err) {
    if (reader->shared == NULL && !make_memory(reader, err))
        return false;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return lob_fail_errno(err, LOB_ERROR_INTERNAL, errno, "cannot make a socket for a slide reader");
    atomic_store(&reader->shared->buffer, UINT32_MAX);
    reader->pid = lob_zygote_fork(pair[1], reader->memory, &reader->limits, err);
    close(pair[1]);
    if (reader->pid < 0) {
        reader->pid = 0;
        close(pair[0]);
        return false;
    }
    reader->control = pair[0];
    return true;
}

/* How a process ended, in words that follow "the reader". */
static char *describe_end(const LobReader *reader, Outcome outcome, double limit, int status) {
    if (outcome == LATE)
        return g_strdup_printf("passed its time limit of %g s", limit);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return g_strdup("was killed from outside (SIGKILL), most likely for want of memory on this machine");
    if (WIFSIGNALED(status))
        return g_strdup_printf("was ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    if (WIFEXITED(status) && WEXITSTATUS(status) == LOB_READER_EXIT_MEMORY)
        return g_strdup_printf("passed its memory limit of %zu MiB", reader->limits.memory_bytes >> 20);
    return g_strdup_printf("left with code %d", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

/* The memory limit is the study's: a larger one may do. */
static bool ended_by_itself(int status) {
    return WIFSIGNALED(status) ? WTERMSIG(status) != SIGKILL
                               : WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != LOB_READER_EXIT_MEMORY;
}

/* Ends the process and tells how it ended. A process that will not die may still write into its shared
 * memory, so that is then left behind. */
static char *end_process(LobReader *reader, Outcome outcome, double limit) {
    if (reader->control >= 0)
        close(reader->control);
    reader->control = -1;
    if (reader->pid == 0)
        return g_strdup("was not running");
    int status = 0;
    bool gone = false;
    g_autoptr(GError) err = NULL;
    bool asked = lob_zygote_reap(reader->pid, &status, &gone, &err);
    reader->pid = 0;
    reader->crashed = outcome == DIED && asked && gone && ended_by_itself(status);
    if (!asked)
        return g_strdup_printf("is lost: %s", err->message);
    if (!gone) {
        g_ptr_array_add(reader->left_behind, reader->shared);
        close(reader->memory);
        reader->memory = -1;
        reader->shared = NULL;
    }
    return describe_end(reader, outcome, limit, status);
}

/* Waits, asleep, for the next answer, as long as the reader takes at most `limit` seconds a step and `total`
 * seconds (0: any) altogether. */
static Outcome await(LobReader *reader, double limit, double total, uint64_t since, LobReaderAnswer *answer) {
    if (reader->control < 0)
        return DIED;
    int64_t allowed = (int64_t)(limit * 1e9);
    for (bool waited = false;;) {
        uint64_t begun = MAX(atomic_load(&reader->shared->beat_ns), since);
        uint64_t now = lob_monotonic_ns();
        int64_t left = allowed - (int64_t)(now - begun);
        if (total > 0)
            left = MIN(left, (int64_t)(total * 1e9) - (int64_t)(now - since));
        if (left <= 0 && waited)
            return LATE;
        int ms = left > 0 ? (int)MIN(left / 1000000 + 1, reader->tick ? TICK_MS : 1000) : GRACE_MS;
        struct pollfd fd = {.fd = reader->control, .events = POLLIN};
        int ready = poll(&fd, 1, ms);
        if (ready > 0)
            return lob_record_receive(reader->control, answer, sizeof *answer, NULL, 0) ==
                           (ssize_t)sizeof *answer
                       ? ANSWERED
                       : DIED;
        if (reader->tick && !reader->tick(reader->user))
            return ABANDONED;
        waited = ready == 0;
    }
}

/* A reader that is gone shows when its answer is awaited. */
static uint64_t send_order(LobReader *reader, const LobReaderOrder *order, int memory) {
    if (reader->control >= 0)
        lob_record_send(reader->control, order, sizeof *order, &memory, memory >= 0 ? 1 : 0);
    return lob_monotonic_ns();
}

static bool abandon(LobReader *reader, GError **err) {
    g_free(end_process(reader, ABANDONED, 0));
    return lob_fail(err, LOB_ERROR_STOPPED, "stopped");
}

/* An order that is answered as a whole. */
static bool order_once(LobReader *reader, const LobReaderOrder *order, int memory, double limit, double total,
                       const char *doing, GError **err) {
    LobReaderAnswer answer;
    uint64_t sent = send_order(reader, order, memory);
    const Outcome outcome = reader->outcome = await(reader, limit, total, sent, &answer);
    reader->crashed = false;
    if (outcome == ANSWERED && answer.op == order->op && answer.ok)
        return true;
    reader->open = false;
    if (outcome == ABANDONED)
        return abandon(reader, err);
    if (outcome == ANSWERED) {
        reader->shared->message[sizeof reader->shared->message - 1] = '\0';
        return lob_fail(err, LOB_ERROR_SLIDE, "%s", reader->shared->message);
    }
    bool too_long = total > 0 && (double)(lob_monotonic_ns() - sent) > total * 1e9;
    g_autofree char *cause = end_process(reader, outcome, too_long ? total : limit);
    return lob_fail(err, LOB_ERROR_SLIDE, "%s: the reader %s while %s", reader->path, cause, doing);
}

static bool open_once(LobReader *reader, GError **err) {
    LobShared *shared = reader->shared;
    g_strlcpy(shared->path, reader->path, sizeof shared->path);
    shared->mpp = reader->spec.mpp;
    shared->mpp_source = (int32_t)reader->spec.mpp_source;
    LobReaderOrder order = {.op = LOB_ORDER_OPEN};
    if (!order_once(reader, &order, -1, reader->limits.open_seconds, 0, "opening the slide", err))
        return false;
    reader->info = shared->info;
    reader->info.vendor[sizeof reader->info.vendor - 1] = '\0';
    reader->info.quickhash[sizeof reader->info.quickhash - 1] = '\0';
    reader->info.levels = CLAMP(reader->info.levels, 1, LOB_SLIDE_MAX_LEVELS);
    reader->open = true;
    return true;
}

/* A process that died may have done so for another reason than this slide (killed from outside, say): the
 * slide has a second chance in a new one. What is late or answered is the slide's. */
static bool second_chance(LobReader *reader, GError *first, GError **err) {
    if (reader->outcome != DIED) {
        g_propagate_error(err, first);
        return false;
    }
    g_error_free(first);
    return spawn(reader, err);
}

static bool open_in_process(LobReader *reader, GError **err) {
    GError *first = NULL;
    return open_once(reader, &first) || (second_chance(reader, first, err) && open_once(reader, err));
}

static bool overview_once(LobReader *reader, const LobReaderOrder *order, int memory, GError **err) {
    return order_once(reader, order, memory, reader->limits.tile_seconds,
                      OVERVIEW_FACTOR * reader->limits.open_seconds, "reading the overview", err);
}

static bool order_overview(LobReader *reader, const LobReaderOrder *order, int memory, GError **err) {
    GError *first = NULL;
    return overview_once(reader, order, memory, &first) ||
           (second_chance(reader, first, err) && open_in_process(reader, err) &&
            overview_once(reader, order, memory, err));
}

LobReader *lob_reader_new(const LobReaderLimits *limits, GError **err) {
    g_autoptr(LobReader) reader = g_new0(LobReader, 1);
    reader->limits = *limits;
    reader->control = reader->memory = -1;
    reader->left_behind = g_ptr_array_new();
    if (!spawn(reader, err))
        return NULL;
    return g_steal_pointer(&reader);
}

void lob_reader_set_tick(LobReader *reader, bool (*tick)(void *user), void *user) {
    reader->tick = tick;
    reader->user = user;
}

bool lob_reader_crashed(const LobReader *reader) {
    return reader->crashed;
}

void lob_reader_free(LobReader *reader) {
    if (reader == NULL)
        return;
    if (reader->pid > 0)
        g_free(end_process(reader, DIED, 0));
    if (reader->shared != NULL)
        g_ptr_array_add(reader->left_behind, reader->shared);
    for (guint i = 0; i < reader->left_behind->len; i++)
        munmap(g_ptr_array_index(reader->left_behind, i), lob_shared_size(&reader->limits));
    g_ptr_array_unref(reader->left_behind);
    if (reader->memory >= 0)
        close(reader->memory);
    g_free(reader->path);
    g_free(reader);
}

/* Forgets all requests; a process still busy with one is ended. */
static void drop_requests(LobReader *reader) {
    if (reader->n_pending > 0)
        g_free(end_process(reader, DIED, 0));
    reader->n_pending = 0;
    reader->suspect = UINT32_MAX;
    reader->killed = reader->run = 0;
}

bool lob_reader_open(LobReader *reader, const LobSlideSpec *spec, LobSlideInfo *info, GError **err) {
    drop_requests(reader);
    reader->open = reader->crashed = false;
    if (strlen(spec->path) >= sizeof reader->shared->path)
        return lob_fail(err, LOB_ERROR_SLIDE, "%s: the path is too long", spec->path);
    g_free(reader->path);
    reader->path = g_strdup(spec->path);
    reader->spec = *spec;
    reader->spec.path = reader->path;
    if (reader->pid == 0 && !spawn(reader, err))
        return false;
    atomic_store(&reader->shared->test_fired, 0);
    if (!open_in_process(reader, err))
        return false;
    *info = reader->info;
    return true;
}

/* Pixels [n][3] and flags [n] out of the shared memory. */
static bool take_overview(int memory, size_t n, LobImage *image, LobImage *unknown, GError **err) {
    uint8_t *pixels = mmap(NULL, 4 * n, PROT_READ, MAP_SHARED, memory, 0);
    if (pixels == MAP_FAILED)
        return lob_fail_errno(err, LOB_ERROR_INTERNAL, errno, "cannot map the overview");
    memcpy(image->data, pixels, 3 * n);
    if (unknown != NULL)
        memcpy(unknown->data, pixels + 3 * n, n);
    munmap(pixels, 4 * n);
    return true;
}

bool lob_reader_overview(LobReader *reader, double mpp, LobImage *image, LobImage *unknown, double *scale_x,
                         double *scale_y, GError **err) {
    if (!reader->open || reader->n_pending > 0)
        return lob_fail(err, LOB_ERROR_INTERNAL, "an overview needs an open slide and no request under way");
    LobReaderOrder order = {.op = LOB_ORDER_OVERVIEW, .tolerant = unknown != NULL};
    if (!lob_overview_size(&reader->info, mpp, &order.width, &order.height, scale_x, scale_y, err))
        return false;
    size_t n = (size_t)order.width * (size_t)order.height;
    int memory = memfd_create("lobule-overview", MFD_CLOEXEC);
    if (memory < 0 || ftruncate(memory, (off_t)(4 * n)) != 0) {
        lob_fail_errno(err, LOB_ERROR_INTERNAL, errno, "cannot make shared memory for an overview");
        if (memory >= 0)
            close(memory);
        return false;
    }
    bool ok = order_overview(reader, &order, memory, err);
    if (ok) {
        lob_image_init(image, order.width, order.height, 3);
        if (unknown != NULL)
            lob_image_init(unknown, order.width, order.height, 1);
        ok = take_overview(memory, n, image, unknown, err);
    }
    close(memory);
    return ok;
}

bool lob_reader_request(LobReader *reader, const LobTileSpec *spec, const int32_t (*xy)[2], size_t n,
                        GError **err) {
    size_t side = (size_t)reader->limits.tile_size;
    if (!reader->open)
        return lob_fail(err, LOB_ERROR_INTERNAL, "no slide is open in the reader");
    if (reader->n_pending == 2)
        return lob_fail(err, LOB_ERROR_INTERNAL, "two requests are under way already");
    if (n > reader->limits.max_tiles || spec->size < 1 ||
        n * (size_t)spec->size * (size_t)spec->size > reader->limits.max_tiles * side * side)
        return lob_fail(err, LOB_ERROR_INTERNAL, "%zu tiles of %d px are more than the reader has room for",
                        n, spec->size);
    double footprint[4];
    if (!lob_tile_footprint(&reader->info, spec, &footprint[0], &footprint[1], &footprint[2], &footprint[3],
                            err))
        return false;
    LobTileBuffer buffer = lob_shared_buffer(reader->shared, &reader->limits, reader->next_buffer);
    memcpy(buffer.xy, xy, n * sizeof *xy);
    memset(buffer.status, LOB_TILE_UNREADABLE, n);
    buffer.reason[0] = '\0';
    Pending *pending = &reader->pending[reader->n_pending++];
    pending->order = (LobReaderOrder){
        .op = LOB_ORDER_TILES, .buffer = reader->next_buffer, .n = (uint32_t)n, .spec = *spec};
    pending->sent_ns = send_order(reader, &pending->order, -1);
    reader->next_buffer ^= 1;
    return true;
}

/* A tile that killed two readers: given up, the rest goes on. */
static void give_up_tile(LobReader *reader, LobReaderOrder *order, uint32_t tile, const char *cause) {
    LobTileBuffer buffer = lob_shared_buffer(reader->shared, &reader->limits, order->buffer);
    size_t bytes = 3 * (size_t)order->spec.size * (size_t)order->spec.size;
    buffer.status[tile] = LOB_TILE_UNREADABLE;
    memset(buffer.rgb + tile * bytes, 0, bytes);
    if (buffer.reason[0] == '\0')
        g_snprintf(buffer.reason, LOB_REASON_SIZE, "%s: the reader %s at the tile at %d,%d, twice",
                   reader->path, cause, buffer.xy[tile][0], buffer.xy[tile][1]);
    reader->run = reader->killed > 0 && tile == reader->last_killed + 1 ? reader->run + 1 : 1;
    reader->last_killed = tile;
    reader->killed++;
    order->first = tile + 1;
}

/* Where the oldest request goes on after its reader died: at the tile that was being read, past it if it had
 * its second chance. */
static void blame(LobReader *reader, const char *cause) {
    LobReaderOrder *order = &reader->pending[0].order;
    uint32_t current = atomic_load(&reader->shared->current);
    if (atomic_load(&reader->shared->buffer) != order->buffer || current < order->first ||
        current >= order->n)
        return;
    order->first = current;
    if (reader->suspect == current)
        give_up_tile(reader, order, current, cause);
    reader->suspect = current;
}

/* A new process for the open slide and what is still to be read of its requests. */
static bool recover(LobReader *reader, Outcome outcome, int *restarts, GError **err) {
    g_autofree char *cause = end_process(reader, outcome, reader->limits.tile_seconds);
    reader->open = false;
    if (reader->shared == NULL)
        return lob_fail(err, LOB_ERROR_SLIDE, "%s: the reader %s and cannot be ended: is its disk dead?",
                        reader->path, cause);
    blame(reader, cause);
    bool too_many = reader->killed >= MOST_KILLED_TILES || reader->run >= MOST_KILLED_RUN;
    if (too_many || ++*restarts > 2 * MOST_KILLED_TILES + 2)
        return lob_fail(err, LOB_ERROR_SLIDE, "%s: the reader %s, again and again (%d tiles)", reader->path,
                        cause, reader->killed);
    if (!spawn(reader, err) || !open_in_process(reader, err))
        return false;
    for (int i = 0; i < reader->n_pending; i++)
        reader->pending[i].sent_ns = send_order(reader, &reader->pending[i].order, -1);
    return true;
}

static bool collected(LobReader *reader, const uint8_t **rgb, const uint8_t **status, char **reason) {
    const LobReaderOrder *order = &reader->pending[0].order;
    LobTileBuffer buffer = lob_shared_buffer(reader->shared, &reader->limits, order->buffer);
    buffer.reason[LOB_REASON_SIZE - 1] = '\0';
    *rgb = buffer.rgb;
    *status = buffer.status;
    if (reason != NULL)
        *reason = buffer.reason[0] != '\0' ? g_strdup(buffer.reason) : NULL;
    reader->pending[0] = reader->pending[1];
    reader->n_pending--;
    reader->suspect = UINT32_MAX;
    return true;
}

bool lob_reader_collect(LobReader *reader, const uint8_t **rgb, const uint8_t **status, char **reason,
                        GError **err) {
    if (reader->n_pending == 0)
        return lob_fail(err, LOB_ERROR_INTERNAL, "no request is under way");
    for (int restarts = 0;;) {
        LobReaderAnswer answer;
        Outcome outcome = await(reader, reader->limits.tile_seconds, 0, reader->pending[0].sent_ns, &answer);
        if (outcome == ANSWERED && answer.ok)
            return collected(reader, rgb, status, reason);
        if (outcome == ANSWERED) {
            reader->shared->message[sizeof reader->shared->message - 1] = '\0';
            reader->crashed = false;
            lob_fail(err, LOB_ERROR_SLIDE, "%s", reader->shared->message);
        }
        if (outcome == ANSWERED || (outcome == ABANDONED && !abandon(reader, err)) ||
            !recover(reader, outcome, &restarts, err)) {
            const bool crashed = reader->crashed;
            drop_requests(reader);
            reader->open = false;
            reader->crashed = crashed;
            return false;
        }
    }
}

int lob_reader_fd(const LobReader *reader) {
    return reader->control;
}
