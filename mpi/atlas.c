#include "mpi/atlas.h"

#include <math.h>
#include <string.h>

#define ROWS_AT_ONCE 8192

typedef struct {
    LobStore *store;
    const LobStoreSlide *slide;
} Place;

struct LobAtlas {
    GPtrArray *stores;
    GHashTable *places; /* slide_id -> Place */
    LobAtlasSlide at;
};

static void close_store(gpointer store) {
    lob_store_close(store);
}

LobAtlas *lob_atlas_new(char **sources, GError **err) {
    g_autoptr(LobAtlas) atlas = g_new0(LobAtlas, 1);
    atlas->stores = g_ptr_array_new_with_free_func(close_store);
    atlas->places = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, g_free);
    for (char **source = sources; *source; source++) {
        if (g_file_test(*source, G_FILE_TEST_IS_DIR))
            continue;
        LobStore *store = lob_store_open(*source, err);
        if (!store)
            return NULL;
        g_ptr_array_add(atlas->stores, store);
        size_t n;
        const LobStoreSlide *slides = lob_store_slides(store, &n);
        for (size_t i = 0; i < n; i++) {
            if (slides[i].state != LOB_STATE_DONE)
                continue;
            Place *place = g_new(Place, 1);
            *place = (Place){store, &slides[i]};
            g_hash_table_insert(atlas->places, slides[i].slide_id, place);
        }
    }
    return g_steal_pointer(&atlas);
}

static void leave_slide(LobAtlas *atlas) {
    g_free(atlas->at.xy);
    g_free(atlas->at.row);
    atlas->at = (LobAtlasSlide){0};
}

void lob_atlas_free(LobAtlas *atlas) {
    if (!atlas)
        return;
    leave_slide(atlas);
    g_hash_table_unref(atlas->places);
    g_ptr_array_unref(atlas->stores);
    g_free(atlas);
}

/* The rows that were read: an unreadable tile's row is NaN throughout. */
static bool readable_rows(LobAtlasSlide *at, GError **err) {
    const size_t dim = (size_t)at->header->dim;
    const uint64_t count = at->slide->count;
    g_autofree uint16_t *rows = at->slide->unreadable ? g_new(uint16_t, ROWS_AT_ONCE * dim) : NULL;
    at->row = g_new(uint64_t, MAX(count, 1));
    for (uint64_t from = 0; from < count; from += ROWS_AT_ONCE) {
        const size_t n = (size_t)MIN(ROWS_AT_ONCE, count - from);
        if (rows && !lob_store_read_halves(at->store, at->slide->first + from, n, rows, err))
            return false;
        for (size_t i = 0; i < n; i++)
            if (!rows || !isnan(lob_float_from_half(rows[i * dim])))
                at->row[at->n++] = at->slide->first + from + i;
    }
    return true;
}

bool lob_atlas_slide(LobAtlas *atlas, const char *slide_id, const LobAtlasSlide **found, GError **err) {
    LobAtlasSlide *at = &atlas->at;
    const Place *place = g_hash_table_lookup(atlas->places, slide_id);
    *found = NULL;
    if (!place)
        return true;
    *found = at;
    if (at->slide == place->slide)
        return true;
    leave_slide(atlas);
    *at = (LobAtlasSlide){
        .slide = place->slide, .header = lob_store_header(place->store), .store = place->store};
    const uint64_t count = place->slide->count;
    g_autofree int32_t(*all)[2] = g_malloc(MAX(count, 1) * sizeof *all);
    if (!readable_rows(at, err) ||
        !lob_store_read_coords(place->store, place->slide->first, count, all, err)) {
        leave_slide(atlas);
        return false;
    }
    at->xy = g_malloc(MAX(at->n, 1) * sizeof *at->xy);
    for (size_t i = 0; i < at->n; i++)
        memcpy(at->xy[i], all[at->row[i] - place->slide->first], sizeof *at->xy);
    return true;
}

bool lob_atlas_column(const LobAtlasSlide *at, const char *column, float **values, GError **err) {
    const size_t dim = (size_t)at->header->dim;
    size_t k = 0;
    *values = NULL;
    while (at->header->columns && at->header->columns[k] && strcmp(at->header->columns[k], column) != 0)
        k++;
    if (!at->header->columns || !at->header->columns[k])
        return true;
    g_autofree uint16_t *rows = g_new(uint16_t, ROWS_AT_ONCE * dim);
    g_autofree float *out = g_new(float, MAX(at->n, 1));
    size_t done = 0;
    const uint64_t end = at->slide->first + at->slide->count;
    for (uint64_t from = at->slide->first; from < end; from += ROWS_AT_ONCE) {
        const uint64_t n = MIN(ROWS_AT_ONCE, end - from);
        if (!lob_store_read_halves(at->store, from, (size_t)n, rows, err))
            return false;
        for (; done < at->n && at->row[done] < from + n; done++)
            out[done] = lob_float_from_half(rows[(at->row[done] - from) * dim + k]);
    }
    *values = g_steal_pointer(&out);
    return true;
}
