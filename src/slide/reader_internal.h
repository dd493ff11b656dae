/* Inside the isolated readers: what a rank, the zygote and a reader say to each other.
 *
 * Three processes. The zygote is forked from main before MPI_Init and only forks and reaps readers when asked
 * to. A reader owns one end of a socket of records (orders in, answers out) and a piece of shared memory made
 * by the rank, which holds the slide's name, its properties and two buffers of tiles. It may neither write
 * files nor open sockets.
 *
 * Tests make a reader misbehave by the environment variable LOB_TEST_READER = ACTION[@WHEN]:PATHPART, read
 * when a reader starts. ACTION: segv (SIGSEGV), hang (loops for ever), eat (allocates without end),
 * probe (leaves with a code that tells what it was not denied, see probe()), orphan (kills the zygote, and so
 * itself). WHEN: open (while opening), once
 * (before the first tile, and only in the first reader that comes there), X,Y (before the tile at that
 * position), otherwise before every tile. It applies to slides whose path contains PATHPART.
 * LOB_TEST_READER_STDERR, if set, lets readers keep standard error.
 */
#ifndef LOB_READER_INTERNAL_H
#define LOB_READER_INTERNAL_H

#include "slide/slide_internal.h"

#include <stdatomic.h>
#include <sys/types.h>

#define LOB_READER_EXIT_MEMORY 64 /* GLib could not allocate */

enum { LOB_ORDER_OPEN = 1, LOB_ORDER_TILES, LOB_ORDER_OVERVIEW };

typedef struct {
    uint32_t op, buffer;
    uint32_t first, n; /* tiles [first, n) of the buffer */
    LobTileSpec spec;
    int32_t width, height; /* of an overview, whose memory (RGB, then a plane of unknown px) comes along */
    uint32_t tolerant;     /* of an overview: blocks may be unknown */
} LobReaderOrder;

typedef struct {
    uint32_t op, buffer;
    uint32_t ok; /* 0: the slide failed, LobShared.message says why */
} LobReaderAnswer;

/* At the start of the shared memory. */
typedef struct {
    char path[4096];
    double mpp;
    int32_t mpp_source;
    LobSlideInfo info;
    char message[1024];
    _Atomic uint64_t beat_ns; /* CLOCK_MONOTONIC when the step now under way began */
    _Atomic uint32_t buffer;  /* of the order under way */
    _Atomic uint32_t current; /* the tile of it being read */
    _Atomic uint32_t test_fired;
} LobShared;

/* A buffer's tiles; the arrays lie one after the other, sizes follow from the limits. */
typedef struct {
    int32_t (*xy)[2]; /* [max_tiles] */
    uint8_t *status;  /* [max_tiles] */
    char *reason;     /* [LOB_REASON_SIZE], of the first unreadable tile */
    uint8_t *rgb;     /* [max_tiles][tile_size][tile_size][3] */
} LobTileBuffer;
#define LOB_REASON_SIZE 1024

size_t lob_shared_size(const LobReaderLimits *limits);
LobTileBuffer lob_shared_buffer(void *shared, const LobReaderLimits *limits, uint32_t buffer);
uint64_t lob_monotonic_ns(void);

/* Asks the zygote for a reader that owns (copies of) the two descriptors; its pid, or -1. */
pid_t lob_zygote_fork(int control, int memory, const LobReaderLimits *limits, GError **err);
/* Kills the reader if it still runs and reaps it. `cause` says how it ended; `*gone` is false where the
 * kernel would not let it die within two seconds. */
bool lob_zygote_reap(pid_t pid, int *wait_status, bool *gone, GError **err);

/* Sends or receives one record with at most two descriptors. -1 with errno; 0 at the end. */
ssize_t lob_record_send(int fd, const void *record, size_t size, const int *fds, int n_fds);
ssize_t lob_record_receive(int fd, void *record, size_t size, int *fds, int n_fds);

/* A reader's life, in the process forked for it: never returns. */
_Noreturn void lob_reader_main(int control, int memory, const LobReaderLimits *limits);
/* Gives up what a reader does not need: files to write, sockets, new privileges. Best effort. */
void lob_reader_confine(void);
/* Sets the address space limit to `bytes` over what is in use, no core file, no file growth. */
void lob_reader_limit(size_t bytes);
/* Closes all descriptors from `first` on. */
void lob_close_from(int first);
/* Dies with the parent, which must still be `parent`. */
void lob_die_with(pid_t parent);

#endif
