#include "mpi/heap.h"

static bool before(const LobHeap *heap, uint32_t a, uint32_t b) {
    return heap->keys[a] != heap->keys[b] ? heap->keys[a] > heap->keys[b] : a < b;
}

static void put(LobHeap *heap, size_t place, uint32_t item) {
    heap->items[place] = item;
    heap->places[item] = place;
}

static void rise(LobHeap *heap, size_t place) {
    const uint32_t item = heap->items[place];
    while (place > 0 && before(heap, item, heap->items[(place - 1) / 2])) {
        put(heap, place, heap->items[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    put(heap, place, item);
}

static void sink(LobHeap *heap, size_t place) {
    const uint32_t item = heap->items[place];
    for (;;) {
        size_t child = 2 * place + 1;
        if (child >= heap->n)
            break;
        if (child + 1 < heap->n && before(heap, heap->items[child + 1], heap->items[child]))
            child++;
        if (!before(heap, heap->items[child], item))
            break;
        put(heap, place, heap->items[child]);
        place = child;
    }
    put(heap, place, item);
}

void lob_heap_push(LobHeap *heap, uint32_t item) {
    if (heap->n == heap->capacity) {
        heap->capacity = MAX(16, 2 * heap->capacity);
        heap->items = g_renew(uint32_t, heap->items, heap->capacity);
    }
    heap->items[heap->n] = item;
    rise(heap, heap->n++);
}

void lob_heap_rekeyed(LobHeap *heap, uint32_t item) {
    rise(heap, heap->places[item]);
    sink(heap, heap->places[item]);
}

void lob_heap_remove(LobHeap *heap, uint32_t item) {
    const size_t place = heap->places[item];
    const uint32_t last = heap->items[--heap->n];
    heap->places[item] = LOB_HEAP_NOWHERE;
    if (last == item)
        return;
    put(heap, place, last);
    lob_heap_rekeyed(heap, last);
}

void lob_heap_clear(LobHeap *heap) {
    g_free(heap->items);
    *heap = (LobHeap){0};
}
