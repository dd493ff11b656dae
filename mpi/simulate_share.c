#include "mpi/simulate_share.h"
#include "mpi/heap.h"

#include <math.h>
#include <string.h>

/* A transfer of b bytes that begins when each has had `had` bytes ends when each has had had + b. */
struct LobShare {
    double bandwidth, now, had;
    LobHeap heap; /* the one that ends first on top */
    uint64_t *keys;
    size_t *places;
    double *until; /* [id] */
};

LobShare *lob_share_new(double bandwidth, size_t n) {
    LobShare *share = g_new0(LobShare, 1);
    share->bandwidth = bandwidth;
    share->keys = g_new0(uint64_t, n);
    share->places = g_new(size_t, n);
    share->until = g_new0(double, n);
    for (size_t i = 0; i < n; i++)
        share->places[i] = LOB_HEAP_NOWHERE;
    share->heap.keys = share->keys;
    share->heap.places = share->places;
    return share;
}

void lob_share_free(LobShare *share) {
    if (!share)
        return;
    lob_heap_clear(&share->heap);
    g_free(share->keys);
    g_free(share->places);
    g_free(share->until);
    g_free(share);
}

/* Numbers that are not negative are ordered as their bits are; the heap has its largest on top. */
static uint64_t key_of(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return ~bits;
}

static void advance(LobShare *share, double now) {
    if (share->heap.n > 0)
        share->had += (now - share->now) * share->bandwidth / (double)share->heap.n;
    share->now = now;
}

void lob_share_begin(LobShare *share, uint32_t id, double bytes, double now) {
    advance(share, now);
    share->until[id] = share->had + bytes;
    share->keys[id] = key_of(share->until[id]);
    lob_heap_push(&share->heap, id);
}

double lob_share_next(const LobShare *share) {
    if (share->heap.n == 0)
        return INFINITY;
    const double left = fmax(share->until[share->heap.items[0]] - share->had, 0);
    return share->now + left * (double)share->heap.n / share->bandwidth;
}

uint32_t lob_share_end(LobShare *share) {
    const uint32_t id = share->heap.items[0];
    share->now = lob_share_next(share);
    share->had = fmax(share->until[id], share->had);
    lob_heap_remove(&share->heap, id);
    return id;
}

void lob_share_clear(LobShare *share, double now) {
    while (share->heap.n > 0)
        lob_heap_remove(&share->heap, share->heap.items[0]);
    share->now = now;
    share->had = 0;
}
