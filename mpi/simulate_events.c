#include "mpi/simulate_internal.h"

static bool before(const LobEvent *a, const LobEvent *b) {
    return a->time < b->time || (a->time == b->time && a->order < b->order);
}

void lob_events_push(LobEvents *events, LobEvent event) {
    if (events->n == events->room) {
        events->room = MAX(64, 2 * events->room);
        events->heap = g_renew(LobEvent, events->heap, events->room);
    }
    event.order = events->order++;
    size_t at = events->n++;
    while (at > 0 && before(&event, &events->heap[(at - 1) / 2])) {
        events->heap[at] = events->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    events->heap[at] = event;
}

LobEvent lob_events_pop(LobEvents *events) {
    const LobEvent top = events->heap[0], last = events->heap[--events->n];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < events->n; at = child) {
        if (child + 1 < events->n && before(&events->heap[child + 1], &events->heap[child]))
            child++;
        if (!before(&events->heap[child], &last))
            break;
        events->heap[at] = events->heap[child];
    }
    events->heap[at] = last;
    return top;
}

void lob_events_clear(LobEvents *events) {
    g_free(events->heap);
    *events = (LobEvents){0};
}
