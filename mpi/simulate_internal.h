/* Only mpi/simulate*.c include this. */
#ifndef LOB_SIMULATE_INTERNAL_H
#define LOB_SIMULATE_INTERNAL_H

#include "mpi/simulate.h"

typedef enum { EVENT_COMPUTED, EVENT_ARRIVED, EVENT_TASK, EVENT_ROUND, EVENT_EXPIRE } LobEventKind;

typedef struct {
    double time;
    uint64_t order; /* events at the same time happen as they were made */
    LobEventKind kind;
    int worker;
    LobLease lease;
    double seconds; /* EVENT_ARRIVED: how long the range took */
} LobEvent;

/* A binary heap, earliest first. */
typedef struct {
    LobEvent *heap;
    size_t n, room;
    uint64_t order;
} LobEvents;
void lob_events_push(LobEvents *events, LobEvent event); /* event.order is given here */
LobEvent lob_events_pop(LobEvents *events);              /* there must be one */
void lob_events_clear(LobEvents *events);

#endif
