/* The slide table: one dataset a column, so that it reads as plain arrays in h5py. */
#include "hdf5io/hdf5io_internal.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

#define MOST_SLIDES 100000000
#define STAIN_OFFSET(i) (offsetof(LobStoreSlide, stain) + (i) * sizeof(double))

const char *const lob_quality_names[LOB_QUALITIES] = {"pen", "fold", "blur", "overexposed"};
const char *const lob_stain_names[LOB_STORE_STAINS] = {"hema_red",      "hema_green",    "hema_blue",
                                                       "eosin_red",     "eosin_green",   "eosin_blue",
                                                       "hema_strength", "eosin_strength"};

typedef enum { TEXT, U8, U32, U64, I64, F64 } ColumnType;

/* Stores made before a `late` column was thought of lack it: then numbers are 0, of type F64 NaN. */
static const struct {
    const char *name;
    ColumnType type;
    size_t offset;
    bool late;
} columns[] = {
    {"slides/slide_id", TEXT, offsetof(LobStoreSlide, slide_id), false},
    {"slides/patient_id", TEXT, offsetof(LobStoreSlide, patient_id), false},
    {"slides/center", TEXT, offsetof(LobStoreSlide, center), false},
    {"slides/first", U64, offsetof(LobStoreSlide, first), false},
    {"slides/count", U64, offsetof(LobStoreSlide, count), false},
    {"slides/mpp_x", F64, offsetof(LobStoreSlide, mpp_x), false},
    {"slides/mpp_y", F64, offsetof(LobStoreSlide, mpp_y), false},
    {"slides/width", I64, offsetof(LobStoreSlide, width), false},
    {"slides/height", I64, offsetof(LobStoreSlide, height), false},
    {"slides/mpp_source", TEXT, offsetof(LobStoreSlide, mpp_source), false},
    {"slides/quickhash", TEXT, offsetof(LobStoreSlide, quickhash), false},
    {"slides/file_size", I64, offsetof(LobStoreSlide, file_size), false},
    {"slides/file_mtime", I64, offsetof(LobStoreSlide, file_mtime), false},
    {"slides/state", U8, offsetof(LobStoreSlide, state), false},
    {"slides/crc32c", U32, offsetof(LobStoreSlide, crc32c), false},
    {"slides/unreadable", U32, offsetof(LobStoreSlide, unreadable), false},
    {"slides/quality_crc32c", U32, offsetof(LobStoreSlide, quality_crc32c), true},
    {LOB_TILE_SUMS, U32, offsetof(LobStoreSlide, tiles_crc32c), true},
    {"slides/hema_red", F64, STAIN_OFFSET(0), true},
    {"slides/hema_green", F64, STAIN_OFFSET(1), true},
    {"slides/hema_blue", F64, STAIN_OFFSET(2), true},
    {"slides/eosin_red", F64, STAIN_OFFSET(3), true},
    {"slides/eosin_green", F64, STAIN_OFFSET(4), true},
    {"slides/eosin_blue", F64, STAIN_OFFSET(5), true},
    {"slides/hema_strength", F64, STAIN_OFFSET(6), true},
    {"slides/eosin_strength", F64, STAIN_OFFSET(7), true},
};

const char *lob_slide_state_name(LobSlideState state) {
    static const char *const names[] = {"pending", "done", "failed", "quarantined"};
    return (unsigned)state < G_N_ELEMENTS(names) ? names[state] : "unknown";
}

static hid_t number_type(ColumnType type) {
    switch (type) {
    case U8:
        return H5T_STD_U8LE;
    case U32:
        return H5T_STD_U32LE;
    case U64:
        return H5T_STD_U64LE;
    case I64:
        return H5T_STD_I64LE;
    default:
        return H5T_IEEE_F64LE;
    }
}

static const char *text_at(const LobStoreSlide *slide, size_t offset) {
    const char *text = NULL;
    memcpy(&text, (const char *)slide + offset, sizeof text);
    return text ? text : "";
}

/* The column's values side by side as the file wants them; *type is the file's type. */
static void *gather(const LobStoreSlide *slides, size_t n, size_t column, hid_t *type, GError **err) {
    size_t offset = columns[column].offset, longest = 1;
    if (columns[column].type == TEXT) {
        for (size_t i = 0; i < n; i++)
            longest = MAX(longest, strlen(text_at(&slides[i], offset)));
        *type = lob_h5_string_type(longest, err);
    } else {
        *type = H5Tcopy(number_type(columns[column].type));
    }
    if (*type < 0)
        return NULL;
    size_t size = H5Tget_size(*type);
    char *values = g_malloc0(MAX(n * size, 1));
    for (size_t i = 0; i < n; i++) {
        if (columns[column].type == TEXT) {
            const char *text = text_at(&slides[i], offset);
            memcpy(values + i * size, text, strlen(text));
        } else {
            memcpy(values + i * size, (const char *)&slides[i] + offset, size);
        }
    }
    return values;
}

/* kept: as in part.c, a failure to fill is kept so that this rank stays in step with the others. */
static bool create_column(hid_t file, hid_t dcpl, const char *name, hid_t type, const void *values, size_t n,
                          bool fill, GError **kept, GError **err) {
    hsize_t dims[1] = {n};
    g_auto(LobHid) space = H5Screate_simple(1, dims, NULL);
    g_auto(LobHid) dataset =
        space < 0 ? LOB_NO_HID : H5Dcreate2(file, name, type, space, H5P_DEFAULT, dcpl, H5P_DEFAULT);
    if (!LOB_H5(err, LOB_ERROR_IO, dataset, "cannot make dataset %s", name))
        return false;
    if (fill && !*kept)
        lob_h5_write_rows(dataset, type, 0, n, values, name, kept);
    return true;
}

bool lob_store_slides_create(hid_t file, hid_t dcpl, const LobStoreSlide *slides, size_t n, bool fill,
                             GError **kept, GError **err) {
    g_auto(LobHid) gcpl = H5Pcreate(H5P_GROUP_CREATE);
    if (!LOB_H5(err, LOB_ERROR_INTERNAL, H5Pset_obj_track_times(gcpl, false), "cannot switch times off"))
        return false;
    g_auto(LobHid) group = H5Gcreate2(file, "slides", H5P_DEFAULT, gcpl, H5P_DEFAULT);
    if (!LOB_H5(err, LOB_ERROR_IO, group, "cannot make group slides"))
        return false;
    for (size_t c = 0; c < G_N_ELEMENTS(columns); c++) {
        g_auto(LobHid) type = LOB_NO_HID;
        g_autofree void *values = gather(slides, n, c, &type, err);
        if (!values || !create_column(file, dcpl, columns[c].name, type, values, n, fill, kept, err))
            return false;
    }
    g_autofree double *mpp = g_new0(double, n + 1);
    for (size_t i = 0; i < n; i++)
        mpp[i] = (slides[i].mpp_x + slides[i].mpp_y) / 2;
    return create_column(file, dcpl, "slides/mpp", H5T_IEEE_F64LE, mpp, n, fill, kept, err);
}

uint32_t lob_tiles_crc(const int32_t (*coords)[2], const uint8_t *tissue, size_t n) {
    return lob_crc32c(lob_crc32c(0, coords, n * sizeof *coords), tissue, n);
}

uint32_t lob_store_slides_crc(const LobStoreSlide *slides, size_t n) {
    uint32_t crc = 0;
    for (size_t i = 0; i < n; i++) {
        crc = lob_crc32c(crc, slides[i].slide_id, strlen(slides[i].slide_id) + 1);
        crc = lob_crc32c(crc, &slides[i].first, sizeof slides[i].first);
        crc = lob_crc32c(crc, &slides[i].count, sizeof slides[i].count);
    }
    return crc;
}

void lob_store_slides_clear(LobStoreSlide *slides, size_t n) {
    for (size_t i = 0; slides && i < n; i++) {
        g_free(slides[i].slide_id);
        g_free(slides[i].patient_id);
        g_free(slides[i].center);
        g_free(slides[i].mpp_source);
        g_free(slides[i].quickhash);
    }
    g_free(slides);
}

static bool read_texts(hid_t dataset, const char *what, size_t offset, LobStoreSlide *slides, size_t n,
                       GError **err) {
    char **texts = lob_h5_read_strings(dataset, n, what, err);
    for (size_t i = 0; texts && i < n; i++)
        memcpy((char *)&slides[i] + offset, &texts[i], sizeof texts[i]);
    g_free(texts); /* the table owns the texts now */
    return texts != NULL;
}

static bool read_numbers(hid_t dataset, const char *what, ColumnType type, size_t offset,
                         LobStoreSlide *slides, size_t n, GError **err) {
    g_auto(LobHid) stored = H5Dget_type(dataset);
    if (stored < 0 || H5Tequal(stored, number_type(type)) <= 0)
        return lob_fail(err, LOB_ERROR_INPUT, "%s has the wrong type", what);
    size_t size = H5Tget_size(stored);
    g_autofree char *values = g_malloc0(MAX(n * size, 1));
    if (!lob_h5_read_rows(dataset, stored, 0, n, values, what, err))
        return false;
    for (size_t i = 0; i < n; i++)
        memcpy((char *)&slides[i] + offset, values + i * size, size);
    return true;
}

static void fill_late(LobStoreSlide *slides, size_t n, size_t column) {
    const double unknown = NAN;
    for (size_t i = 0; columns[column].type == F64 && i < n; i++)
        memcpy((char *)&slides[i] + columns[column].offset, &unknown, sizeof unknown);
}

bool lob_store_slides_read(hid_t file, const char *path, LobStoreSlide **slides, size_t *n, GError **err) {
    if (!lob_h5_has(file, "slides"))
        return lob_fail(err, LOB_ERROR_INPUT, "%s: group slides is missing", path);
    for (size_t c = 0; c < G_N_ELEMENTS(columns); c++) {
        hsize_t dims[2];
        if (columns[c].late && !lob_h5_has(file, columns[c].name)) {
            fill_late(*slides, *n, c);
            continue;
        }
        g_autofree char *what = g_strdup_printf("%s: /%s", path, columns[c].name);
        g_auto(LobHid) dataset = lob_h5_open_dataset(file, columns[c].name, path, 1, dims, err);
        if (dataset < 0)
            return false;
        if (c == 0) {
            if (dims[0] > MOST_SLIDES)
                return lob_fail(err, LOB_ERROR_INPUT, "%s: too many slides: %" PRIu64, path,
                                (uint64_t)dims[0]);
            *n = dims[0];
            *slides = g_new0(LobStoreSlide, *n + 1);
        }
        if (dims[0] != *n)
            return lob_fail(err, LOB_ERROR_INPUT, "%s has %" PRIu64 " entries where /slides/slide_id has %zu",
                            what, (uint64_t)dims[0], *n);
        bool ok = columns[c].type == TEXT
                      ? read_texts(dataset, what, columns[c].offset, *slides, *n, err)
                      : read_numbers(dataset, what, columns[c].type, columns[c].offset, *slides, *n, err);
        if (!ok)
            return false;
    }
    return true;
}
