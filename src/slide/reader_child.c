/* The reader's side: opens, reads and resamples what it is told to, in a process of its own. */
#include "slide/reader_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct {
    int control;
    LobShared *shared;
    const LobReaderLimits *limits;
    LobSlide *slide;
    /* LOB_TEST_READER in parts; action "" where unset */
    char action[16], when[32], part[256];
} Reader;

static void parse_test(Reader *reader) {
    const char *text = g_getenv("LOB_TEST_READER");
    if (text == NULL)
        return;
    g_auto(GStrv) halves = g_strsplit(text, ":", 2);
    if (halves[0] == NULL || halves[1] == NULL)
        return;
    g_auto(GStrv) words = g_strsplit(halves[0], "@", 2);
    g_strlcpy(reader->action, words[0], sizeof reader->action);
    g_strlcpy(reader->when, words[1] != NULL ? words[1] : "tile", sizeof reader->when);
    g_strlcpy(reader->part, halves[1], sizeof reader->part);
}

/* What this process could still do: 16, plus 1: write a file, 2: make a socket, 4: use a descriptor not its
 * own. */
static int probe(void) {
    int code = 16;
    if (open("/tmp", O_RDWR | O_TMPFILE, 0600) >= 0)
        code |= 1;
    if (socket(AF_INET, SOCK_STREAM, 0) >= 0)
        code |= 2;
    for (int fd = 4; fd < 256; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            code |= 4;
    return code;
}

static void misbehave(const char *action) {
    if (strcmp(action, "segv") == 0) {
        raise(SIGSEGV);
    } else if (strcmp(action, "hang") == 0) {
        for (volatile unsigned turns = 0;; turns++)
            ;
    } else if (strcmp(action, "eat") == 0) {
        for (;;)
            memset(g_malloc(64 << 20), 1, 64 << 20);
    } else if (strcmp(action, "probe") == 0) {
        _exit(probe());
    } else if (strcmp(action, "orphan") == 0) {
        (void)kill(getppid(), SIGKILL);
        (void)pause();
    }
}

/* `xy` is the tile about to be read; NULL while opening. */
static void test_hook(Reader *reader, const int32_t *xy) {
    if (reader->action[0] == '\0' || strstr(reader->shared->path, reader->part) == NULL)
        return;
    int x, y;
    bool now = strcmp(reader->when, xy == NULL ? "open" : "tile") == 0;
    if (xy != NULL && strcmp(reader->when, "once") == 0)
        now = atomic_exchange(&reader->shared->test_fired, 1) == 0;
    if (xy != NULL && sscanf(reader->when, "%d,%d", &x, &y) == 2)
        now = xy[0] == x && xy[1] == y;
    if (now)
        misbehave(reader->action);
}

/* GLib ends the process where it cannot allocate; leaving by a code of our own tells the rank the cause. */
static void on_log(const char *domain, GLogLevelFlags level, const char *message, void *user) {
    (void)domain, (void)user;
    if ((level & G_LOG_FLAG_FATAL) != 0 && strstr(message, "failed to allocate") != NULL)
        _exit(LOB_READER_EXIT_MEMORY);
}

static void beat(void *user) {
    Reader *reader = user;
    atomic_store(&reader->shared->beat_ns, lob_monotonic_ns());
}

static bool open_slide(Reader *reader, GError **err) {
    LobShared *shared = reader->shared;
    g_clear_pointer(&reader->slide, lob_slide_close);
    test_hook(reader, NULL);
    LobSlideSpec spec = {shared->path, shared->mpp, (LobMppSource)shared->mpp_source};
    reader->slide = lob_slide_open(&spec, err);
    if (reader->slide == NULL)
        return false;
    shared->info = *lob_slide_info(reader->slide);
    return true;
}

/* One tile, tried twice. False only where the slide itself is lost. */
static bool read_tile(Reader *reader, const LobReaderOrder *order, LobTileBuffer *buffer, size_t i,
                      GError **err) {
    size_t bytes = 3 * (size_t)order->spec.size * (size_t)order->spec.size;
    g_autoptr(GError) reason = NULL;
    for (int attempt = 0; attempt < 2; attempt++) {
        g_clear_error(&reason);
        beat(reader);
        if (lob_slide_tile(reader->slide, &order->spec, buffer->xy[i][0], buffer->xy[i][1],
                           buffer->rgb + i * bytes, &reason)) {
            buffer->status[i] = LOB_TILE_OK;
            return true;
        }
        if (!lob_slide_reopen(reader->slide, err))
            return false;
    }
    buffer->status[i] = LOB_TILE_UNREADABLE;
    memset(buffer->rgb + i * bytes, 0, bytes);
    if (buffer->reason[0] == '\0')
        g_strlcpy(buffer->reason, reason->message, LOB_REASON_SIZE);
    return true;
}

static bool read_tiles(Reader *reader, const LobReaderOrder *order, GError **err) {
    LobTileBuffer buffer = lob_shared_buffer(reader->shared, reader->limits, order->buffer);
    atomic_store(&reader->shared->current, order->first);
    atomic_store(&reader->shared->buffer, order->buffer);
    for (uint32_t i = order->first; i < order->n; i++) {
        atomic_store(&reader->shared->current, i);
        beat(reader);
        test_hook(reader, buffer.xy[i]);
        if (!read_tile(reader, order, &buffer, i, err))
            return false;
    }
    return true;
}

static bool read_overview(Reader *reader, const LobReaderOrder *order, int memory, GError **err) {
    size_t n = (size_t)order->width * (size_t)order->height, size = 4 * n;
    uint8_t *pixels = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    if (pixels == MAP_FAILED)
        return lob_fail_errno(err, LOB_ERROR_SLIDE, errno,
                              "an overview of %d x %d px does not fit into the reader's memory", order->width,
                              order->height);
    LobOverviewSink sink = {order->width, order->height, pixels, NULL, beat, reader};
    if (order->tolerant)
        sink.unknown = pixels + 3 * n;
    bool ok = lob_overview_fill(reader->slide, &sink, err);
    munmap(pixels, size);
    return ok || (lob_slide_reopen(reader->slide, NULL) && false);
}

static bool obey(Reader *reader, const LobReaderOrder *order, int memory, GError **err) {
    beat(reader);
    if (order->op == LOB_ORDER_OPEN)
        return open_slide(reader, err);
    if (reader->slide == NULL)
        return lob_fail(err, LOB_ERROR_INTERNAL, "no slide is open");
    if (order->op == LOB_ORDER_TILES)
        return read_tiles(reader, order, err);
    return read_overview(reader, order, memory, err);
}

void lob_reader_main(int control, int memory, const LobReaderLimits *limits) {
    g_log_set_default_handler(on_log, NULL);
    LobShared *shared = mmap(NULL, lob_shared_size(limits), PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    if (shared == MAP_FAILED)
        _exit(LOB_READER_EXIT_MEMORY);
    close(memory);
    Reader reader = {.control = control, .shared = shared, .limits = limits};
    parse_test(&reader);
    lob_reader_limit(limits->memory_bytes);
    lob_reader_confine();
    for (;;) {
        LobReaderOrder order;
        int fds[1];
        if (lob_record_receive(control, &order, sizeof order, fds, 1) != (ssize_t)sizeof order)
            _exit(0);
        g_autoptr(GError) err = NULL;
        LobReaderAnswer answer = {.op = order.op, .buffer = order.buffer};
        answer.ok = obey(&reader, &order, fds[0], &err);
        if (fds[0] >= 0)
            close(fds[0]);
        if (!answer.ok)
            g_strlcpy(shared->message, err != NULL ? err->message : "unknown cause", sizeof shared->message);
        if (lob_record_send(control, &answer, sizeof answer, NULL, 0) < 0)
            _exit(0);
    }
}
