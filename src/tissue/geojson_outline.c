/* Outlines of a mask's pieces along pixel edges. */
#include "tissue/tissue_internal.h"

#include <string.h>

enum { EAST, SOUTH, WEST, NORTH };

typedef struct {
    int32_t xy[2];
} Corner;

/* A trace runs with tissue on its right. */
typedef struct {
    const LobImage *mask;
    uint8_t *seen;       /* [height][width] 1: the edge above this pixel has been run along */
    GArray *ring;        /* of Corner: the trace under way, a stack */
    GHashTable *pinches; /* of those in it: corner's number -> place in ring + 1 */
    GPtrArray *outlines;
} Tracer;

static bool tissue_at(const LobImage *mask, int x, int y) {
    return x >= 0 && y >= 0 && x < mask->width && y < mask->height &&
           mask->data[(size_t)y * (size_t)mask->width + (size_t)x] != 0;
}

/* Where two pixels of tissue meet in this corner alone, a trace may come by twice. */
static bool is_pinch(const LobImage *mask, int x, int y) {
    bool nw = tissue_at(mask, x - 1, y - 1), ne = tissue_at(mask, x, y - 1);
    bool sw = tissue_at(mask, x - 1, y), se = tissue_at(mask, x, y);
    return nw == se && ne == sw && nw != ne;
}

static double twice_area(const Corner *corner, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        const int32_t *a = corner[i].xy, *b = corner[(i + 1) % n].xy;
        sum += (double)a[0] * b[1] - (double)b[0] * a[1];
    }
    return sum;
}

static gpointer number_of(const LobImage *mask, const Corner *corner) {
    return GSIZE_TO_POINTER((size_t)corner->xy[1] * ((size_t)mask->width + 1) + (size_t)corner->xy[0]);
}

/* Takes the corners from `from` to the top off the stack: they are a ring of their own. */
static void close_ring(Tracer *tracer, guint from, uint32_t part) {
    size_t n = tracer->ring->len - from;
    const Corner *corner = (const Corner *)(void *)tracer->ring->data + from;
    LobOutline *outline = g_new(LobOutline, 1);
    *outline = (LobOutline){.part = part, .hole = twice_area(corner, n) < 0, .n = n};
    outline->xy = g_malloc(n * sizeof *outline->xy);
    for (size_t i = 0; i < n; i++) {
        memcpy(outline->xy[i], corner[i].xy, sizeof corner[i].xy);
        g_hash_table_remove(tracer->pinches, number_of(tracer->mask, &corner[i]));
    }
    g_ptr_array_add(tracer->outlines, outline);
    g_array_set_size(tracer->ring, from);
}

/* A ring that touches itself in a corner is cut into rings that do not: only those are valid polygons. */
static void add_corner(Tracer *tracer, int x, int y, uint32_t part) {
    const Corner corner = {{x, y}};
    if (is_pinch(tracer->mask, x, y)) {
        gpointer number = number_of(tracer->mask, &corner);
        guint before = GPOINTER_TO_UINT(g_hash_table_lookup(tracer->pinches, number));
        if (before > 0)
            close_ring(tracer, before - 1, part);
        g_hash_table_insert(tracer->pinches, number, GUINT_TO_POINTER(tracer->ring->len + 1));
    }
    g_array_append_val(tracer->ring, corner);
}

/* From the edge above pixel (x, y) eastward until it comes back. Keeping to its own pixel where pieces touch
 * in a corner, it goes around pixels joined by edges. */
static void trace(Tracer *tracer, int x, int y, uint32_t part) {
    static const int step[4][2] = {{1, 0}, {0, 1}, {-1, 0}, {0, -1}};
    /* pixels ahead of a corner: to the right and to the left of the way */
    static const int right[4][2] = {{0, 0}, {-1, 0}, {-1, -1}, {0, -1}};
    static const int left[4][2] = {{0, -1}, {0, 0}, {-1, 0}, {-1, -1}};
    const LobImage *mask = tracer->mask;
    int at[2] = {x, y}, way = EAST;
    do {
        if (way == EAST)
            tracer->seen[(size_t)at[1] * (size_t)mask->width + (size_t)at[0]] = 1;
        at[0] += step[way][0];
        at[1] += step[way][1];
        int turned = !tissue_at(mask, at[0] + right[way][0], at[1] + right[way][1]) ? (way + 1) % 4
                     : tissue_at(mask, at[0] + left[way][0], at[1] + left[way][1])  ? (way + 3) % 4
                                                                                    : way;
        if (turned != way)
            add_corner(tracer, at[0], at[1], part);
        way = turned;
    } while (at[0] != x || at[1] != y || way != EAST);
    close_ring(tracer, 0, part);
}

static void outline_free(void *data) {
    LobOutline *outline = data;
    g_free(outline->xy);
    g_free(outline);
}

static int by_part(const void *a, const void *b) {
    const LobOutline *x = *(const LobOutline *const *)a, *y = *(const LobOutline *const *)b;
    if (x->part != y->part)
        return x->part < y->part ? -1 : 1;
    if (x->hole != y->hole)
        return x->hole ? 1 : -1;
    return x->xy[0][1] != y->xy[0][1] ? x->xy[0][1] - y->xy[0][1] : x->xy[0][0] - y->xy[0][0];
}

GPtrArray *lob_outlines_find(const LobImage *mask) {
    size_t pixels = (size_t)mask->width * (size_t)mask->height;
    g_auto(LobImage) inverse = {0};
    g_auto(LobParts) parts = {0};
    lob_image_init(&inverse, mask->width, mask->height, 1);
    for (size_t i = 0; i < pixels; i++)
        inverse.data[i] = mask->data[i] ? 0 : 255;
    lob_parts_find(&inverse, 0, &parts); /* parts of value 0 are joined by edges */
    g_autofree uint8_t *seen = g_malloc0(MAX(pixels, 1));
    g_autoptr(GArray) ring = g_array_new(FALSE, FALSE, sizeof(Corner));
    g_autoptr(GHashTable) pinches = g_hash_table_new(NULL, NULL);
    Tracer tracer = {mask, seen, ring, pinches, g_ptr_array_new_with_free_func(outline_free)};
    for (int y = 0; y < mask->height; y++)
        for (int x = 0; x < mask->width; x++) {
            size_t i = (size_t)y * (size_t)mask->width + (size_t)x;
            if (mask->data[i] && !tissue_at(mask, x, y - 1) && !seen[i])
                trace(&tracer, x, y, parts.label[i]);
        }
    g_ptr_array_sort(tracer.outlines, by_part);
    return tracer.outlines;
}
