/* Reading one store file, which may come from another hospital: nothing in it is believed unchecked. */
#include "hdf5io/hdf5io_internal.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

#define MOST_ROWS ((uint64_t)1 << 40)
#define MOST_DIM ((uint64_t)1 << 20)
#define SCRATCH_BYTES ((size_t)16 << 20)

struct LobStore {
    char *path, *what;
    hid_t file, features, coords, tissue, type;
    hid_t quality[LOB_QUALITIES]; /* LOB_NO_HID where the store has none */
    LobStoreHeader header;
    LobStoreSlide *slides;
    size_t n_slides;
    uint64_t rows;
    bool finished;
    void *scratch;
    size_t scratch_rows;
};

void lob_store_close(LobStore *store) {
    if (!store)
        return;
    lob_hid_close(store->features);
    lob_hid_close(store->coords);
    lob_hid_close(store->tissue);
    for (int q = 0; q < LOB_QUALITIES; q++)
        lob_hid_close(store->quality[q]);
    lob_hid_close(store->type);
    lob_hid_close(store->file);
    lob_store_header_clear(&store->header);
    lob_store_slides_clear(store->slides, store->n_slides);
    g_free(store->scratch);
    g_free(store->what);
    g_free(store->path);
    g_free(store);
}

static bool has_type(hid_t dataset, hid_t type) {
    g_auto(LobHid) stored = H5Dget_type(dataset);
    return stored >= 0 && H5Tequal(stored, type) > 0;
}

static bool open_features(LobStore *store, GError **err) {
    hsize_t dims[2];
    size_t size = 0;
    store->features = lob_h5_open_dataset(store->file, "features", store->path, 2, dims, err);
    if (store->features < 0)
        return false;
    if (!lob_h5_is_float(store->features, &size) || size == 8)
        return lob_fail(err, LOB_ERROR_INPUT, "%s should be float16 or float32, little-endian", store->what);
    if (dims[0] > MOST_ROWS || dims[1] == 0 || dims[1] > MOST_DIM)
        return lob_fail(err, LOB_ERROR_INPUT, "%s has an impossible shape: %" PRIu64 " x %" PRIu64,
                        store->what, (uint64_t)dims[0], (uint64_t)dims[1]);
    if (H5Dget_storage_size(store->features) != dims[0] * dims[1] * size)
        return lob_fail(err, LOB_ERROR_INPUT, "%s is not stored whole and plain", store->what);
    store->rows = dims[0];
    store->header.dim = (int)dims[1];
    store->header.float32 = size == 4;
    store->type = H5Dget_type(store->features);
    store->scratch_rows = MAX(SCRATCH_BYTES / (dims[1] * size), 1);
    if (store->header.columns && g_strv_length(store->header.columns) != (guint)dims[1])
        return lob_fail(err, LOB_ERROR_INPUT, "%s: %u names in /columns for %d features", store->path,
                        g_strv_length(store->header.columns), store->header.dim);
    return LOB_H5(err, LOB_ERROR_INPUT, store->type, "%s has no readable type", store->what);
}

static bool open_tiles(LobStore *store, GError **err) {
    hsize_t xy[2], percent[2], mark[2];
    store->coords = lob_h5_open_dataset(store->file, "coords", store->path, 2, xy, err);
    if (store->coords < 0)
        return false;
    store->tissue = lob_h5_open_dataset(store->file, "tissue", store->path, 1, percent, err);
    if (store->tissue < 0)
        return false;
    if (!has_type(store->coords, H5T_STD_I32LE) || xy[1] != 2 || xy[0] != store->rows)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: /coords should be int32 [%" PRIu64 "][2]", store->path,
                        store->rows);
    if (!has_type(store->tissue, H5T_STD_U8LE) || percent[0] != store->rows)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: /tissue should be uint8 [%" PRIu64 "]", store->path,
                        store->rows);
    g_auto(LobHid) clean = lob_h5_open_dataset(store->file, "clean", store->path, 1, mark, err);
    if (clean < 0)
        return false;
    uint8_t value = 0;
    if (mark[0] != 1 || !has_type(clean, H5T_STD_U8LE))
        return lob_fail(err, LOB_ERROR_INPUT, "%s: /clean should be uint8 [1]", store->path);
    if (!lob_h5_read_rows(clean, H5T_STD_U8LE, 0, 1, &value, "/clean", err))
        return false;
    if (value > 1)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: /clean is %u, neither 0 nor 1", store->path, value);
    store->finished = value == 1;
    return true;
}

/* All columns of quality or none: older stores and imported ones have none. */
static bool open_quality(LobStore *store, GError **err) {
    store->header.quality = lob_h5_has(store->file, "quality");
    for (int q = 0; store->header.quality && q < LOB_QUALITIES; q++) {
        hsize_t dims[2];
        g_autofree char *name = g_strdup_printf("quality/%s", lob_quality_names[q]);
        store->quality[q] = lob_h5_open_dataset(store->file, name, store->path, 1, dims, err);
        if (store->quality[q] < 0)
            return false;
        if (!has_type(store->quality[q], H5T_STD_U8LE) || dims[0] != store->rows)
            return lob_fail(err, LOB_ERROR_INPUT, "%s: /%s should be uint8 [%" PRIu64 "]", store->path, name,
                            store->rows);
    }
    return true;
}

static bool open_slides(LobStore *store, GError **err) {
    store->header.tile_sums = lob_h5_has(store->file, LOB_TILE_SUMS);
    return lob_store_slides_read(store->file, store->path, &store->slides, &store->n_slides, err);
}

static bool check_slide(const LobStore *store, const LobStoreSlide *slide, size_t i, GError **err) {
    if (!*slide->slide_id)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: slide %zu has no id", store->path, i);
    if (slide->first > store->rows || slide->count > store->rows - slide->first)
        return lob_fail(err, LOB_ERROR_INPUT,
                        "%s: slide %s claims %" PRIu64 " rows from row %" PRIu64 " on, outside the %" PRIu64
                        " there are",
                        store->path, slide->slide_id, slide->count, slide->first, store->rows);
    if (slide->state > LOB_STATE_QUARANTINED || slide->unreadable > slide->count)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: slide %s has state %u and %u unreadable tiles of %" PRIu64,
                        store->path, slide->slide_id, slide->state, slide->unreadable, slide->count);
    if (!(isfinite(slide->mpp_x) && isfinite(slide->mpp_y) && slide->mpp_x >= 0 && slide->mpp_y >= 0))
        return lob_fail(err, LOB_ERROR_INPUT, "%s: slide %s has mpp %g x %g", store->path, slide->slide_id,
                        slide->mpp_x, slide->mpp_y);
    if (store->finished && slide->state == LOB_STATE_PENDING)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: slide %s is pending in a finished store", store->path,
                        slide->slide_id);
    return true;
}

static int by_first(const void *a, const void *b) {
    const LobStoreSlide *x = *(const LobStoreSlide *const *)a, *y = *(const LobStoreSlide *const *)b;
    return x->first != y->first ? (x->first > y->first) - (x->first < y->first)
                                : (x->count > y->count) - (x->count < y->count);
}

static bool check_slides(const LobStore *store, GError **err) {
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    g_autofree const LobStoreSlide **order = g_new(const LobStoreSlide *, store->n_slides + 1);
    for (size_t i = 0; i < store->n_slides; i++) {
        order[i] = &store->slides[i];
        if (!check_slide(store, order[i], i, err))
            return false;
        if (!g_hash_table_add(seen, store->slides[i].slide_id))
            return lob_fail(err, LOB_ERROR_INPUT, "%s: slide %s occurs twice", store->path,
                            store->slides[i].slide_id);
    }
    qsort(order, store->n_slides, sizeof *order, by_first);
    for (size_t i = 1; i < store->n_slides; i++)
        if (order[i - 1]->first + order[i - 1]->count > order[i]->first)
            return lob_fail(err, LOB_ERROR_INPUT, "%s: slides %s and %s claim the same rows", store->path,
                            order[i - 1]->slide_id, order[i]->slide_id);
    return true;
}

static bool open_all(LobStore *store, GError **err) {
    if (!g_file_test(store->path, G_FILE_TEST_IS_REGULAR))
        return lob_fail(err, LOB_ERROR_INPUT, "%s: %s", store->path,
                        g_file_test(store->path, G_FILE_TEST_EXISTS) ? "not a file" : "no such file");
    g_auto(LobHid) fapl = lob_h5_access(MPI_COMM_NULL, err);
    if (fapl < 0)
        return false;
    store->file = H5Fopen(store->path, H5F_ACC_RDONLY, fapl);
    return LOB_H5(err, LOB_ERROR_INPUT, store->file, "%s: not a readable HDF5 file", store->path) &&
           lob_store_header_read(store->file, store->path, &store->header, err) &&
           open_features(store, err) && open_tiles(store, err) && open_quality(store, err) &&
           open_slides(store, err) && check_slides(store, err);
}

LobStore *lob_store_open(const char *path, GError **err) {
    LobStore *store = g_new0(LobStore, 1);
    store->path = g_strdup(path);
    store->what = g_strdup_printf("%s: /features", path);
    store->file = store->features = store->coords = store->tissue = store->type = LOB_NO_HID;
    for (int q = 0; q < LOB_QUALITIES; q++)
        store->quality[q] = LOB_NO_HID;
    lob_h5_quiet();
    if (!open_all(store, err)) {
        lob_store_close(store);
        return NULL;
    }
    return store;
}

const LobStoreHeader *lob_store_header(const LobStore *store) {
    return &store->header;
}

const LobStoreSlide *lob_store_slides(const LobStore *store, size_t *n) {
    *n = store->n_slides;
    return store->slides;
}

uint64_t lob_store_rows(const LobStore *store) {
    return store->rows;
}

bool lob_store_finished(const LobStore *store) {
    return store->finished;
}

/* Hands rows as stored to `take`, a piece at a time. */
typedef void (*TakeRows)(const LobStore *store, const void *rows, size_t done, size_t n, void *user);

static bool scan_rows(LobStore *store, uint64_t first, size_t n, TakeRows take, void *user, GError **err) {
    if (!store->scratch)
        store->scratch = g_malloc(store->scratch_rows * (size_t)store->header.dim * H5Tget_size(store->type));
    for (size_t done = 0; done < n;) {
        size_t now = MIN(store->scratch_rows, n - done);
        if (!lob_h5_read_rows(store->features, store->type, first + done, now, store->scratch, store->what,
                              err))
            return false;
        take(store, store->scratch, done, now, user);
        done += now;
    }
    return true;
}

static void take_halves(const LobStore *store, const void *rows, size_t done, size_t n, void *user) {
    size_t dim = (size_t)store->header.dim;
    lob_halves_from_floats((uint16_t *)user + done * dim, rows, n * dim);
}

static void take_floats(const LobStore *store, const void *rows, size_t done, size_t n, void *user) {
    size_t dim = (size_t)store->header.dim;
    lob_floats_from_halves((float *)user + done * dim, rows, n * dim);
}

static void take_crc(const LobStore *store, const void *rows, size_t done, size_t n, void *user) {
    (void)done;
    uint32_t *crc = user;
    *crc = lob_crc32c(*crc, rows, n * (size_t)store->header.dim * (store->header.float32 ? 4 : 2));
}

struct halves_and_crc {
    uint16_t *out;
    uint32_t *crc;
};

static void take_both(const LobStore *store, const void *rows, size_t done, size_t n, void *user) {
    struct halves_and_crc *both = user;
    take_halves(store, rows, done, n, both->out);
    take_crc(store, rows, done, n, both->crc);
}

bool lob_store_read_halves(LobStore *store, uint64_t first, size_t n, uint16_t *out, GError **err) {
    if (store->header.float32)
        return scan_rows(store, first, n, take_halves, out, err);
    return lob_h5_read_rows(store->features, store->type, first, n, out, store->what, err);
}

bool lob_store_read_halves_crc(LobStore *store, uint64_t first, size_t n, uint16_t *out, uint32_t *crc,
                               GError **err) {
    *crc = 0;
    if (store->header.float32) {
        struct halves_and_crc both = {out, crc};
        return scan_rows(store, first, n, take_both, &both, err);
    }
    if (!lob_store_read_halves(store, first, n, out, err))
        return false;
    *crc = lob_crc32c(0, out, n * (size_t)store->header.dim * sizeof *out);
    return true;
}

bool lob_store_read_floats(LobStore *store, uint64_t first, size_t n, float *out, GError **err) {
    if (!store->header.float32)
        return scan_rows(store, first, n, take_floats, out, err);
    return lob_h5_read_rows(store->features, store->type, first, n, out, store->what, err);
}

bool lob_store_read_coords(LobStore *store, uint64_t first, size_t n, int32_t (*xy)[2], GError **err) {
    return lob_h5_read_rows(store->coords, H5T_STD_I32LE, first, n, xy, "/coords", err);
}

bool lob_store_read_tissue(LobStore *store, uint64_t first, size_t n, uint8_t *tissue, GError **err) {
    return lob_h5_read_rows(store->tissue, H5T_STD_U8LE, first, n, tissue, "/tissue", err);
}

bool lob_store_read_quality(LobStore *store, uint64_t first, size_t n, uint8_t (*quality)[LOB_QUALITIES],
                            GError **err) {
    if (!store->header.quality)
        return lob_fail(err, LOB_ERROR_INPUT, "%s has no columns of tile quality", store->path);
    g_autofree uint8_t *column = g_malloc(MAX(n, 1));
    for (int q = 0; q < LOB_QUALITIES; q++) {
        if (!lob_h5_read_rows(store->quality[q], H5T_STD_U8LE, first, n, column, lob_quality_names[q], err))
            return false;
        for (size_t i = 0; i < n; i++)
            quality[i][q] = column[i];
    }
    return true;
}

bool lob_store_crc_quality(LobStore *store, uint64_t first, size_t n, uint32_t *crc, GError **err) {
    const size_t step = SCRATCH_BYTES / LOB_QUALITIES;
    g_autofree uint8_t(*quality)[LOB_QUALITIES] = g_malloc(MAX(MIN(n, step), 1) * sizeof *quality);
    *crc = 0;
    for (size_t done = 0; done < n; done += step) {
        const size_t now = MIN(step, n - done);
        if (!lob_store_read_quality(store, first + done, now, quality, err))
            return false;
        *crc = lob_crc32c(*crc, quality, now * sizeof *quality);
    }
    return true;
}

bool lob_store_crc_tiles(LobStore *store, uint64_t first, size_t n, uint32_t *crc, GError **err) {
    const size_t step = SCRATCH_BYTES / sizeof(int32_t[2]);
    g_autofree int32_t(*piece)[2] = g_malloc(MAX(MIN(n, step), 1) * sizeof *piece);
    *crc = 0;
    for (size_t done = 0; done < n; done += step) {
        const size_t now = MIN(step, n - done);
        if (!lob_store_read_coords(store, first + done, now, piece, err))
            return false;
        *crc = lob_crc32c(*crc, piece, now * sizeof *piece);
    }
    for (size_t done = 0; done < n; done += step) {
        const size_t now = MIN(step, n - done);
        if (!lob_store_read_tissue(store, first + done, now, (uint8_t *)piece, err))
            return false;
        *crc = lob_crc32c(*crc, piece, now);
    }
    return true;
}

bool lob_store_crc_rows(LobStore *store, uint64_t first, size_t n, uint32_t *crc, GError **err) {
    *crc = 0;
    return scan_rows(store, first, n, take_crc, crc, err);
}
