/* An indexed binary heap of slides: the largest key first, the smaller index where keys are equal. Keys may
 * change while inside. Every operation is O(log n). */
#ifndef LOB_HEAP_H
#define LOB_HEAP_H

#include "base/base.h"

typedef struct {
    uint32_t *items;
    size_t n, capacity;
    uint64_t *keys; /* [slide], shared by all heaps of a scheduler; borrowed */
    size_t *places; /* [slide] index in items, borrowed; a slide is in one heap at most */
} LobHeap;

#define LOB_HEAP_NOWHERE SIZE_MAX

void lob_heap_push(LobHeap *heap, uint32_t item);
void lob_heap_remove(LobHeap *heap, uint32_t item);  /* must be inside */
void lob_heap_rekeyed(LobHeap *heap, uint32_t item); /* after keys[item] changed */
void lob_heap_clear(LobHeap *heap);

#endif
