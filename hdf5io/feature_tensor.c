/* Features that are one PyTorch tensor a slide: CLAM's pt_files, and Slideflow's bags with <slide>.index.npz
 * (or .npy) of the tiles' centres and, for the whole folder, bags_config.json. */
#include "encoder/weights_zip.h"
#include "hdf5io/feature_file.h"
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_INDEX ((size_t)4 << 30)
#define MOST_CONFIG ((size_t)1 << 20)

/* ---- numpy's array files ---- */

typedef struct {
    char kind; /* i, u, f */
    size_t bytes;
    uint64_t rows;
    const uint8_t *data;
} Array;

/* The text behind `'key':` of the header, which is a Python dictionary of three entries. */
static const char *entry_of(const char *header, const char *key) {
    const char *at = strstr(header, key);
    return at ? at + strlen(key) + strspn(at + strlen(key), " ") : NULL;
}

/* [rows][2], C order, little-endian. */
static bool parse_header(const char *header, Array *array) {
    const char *descr = entry_of(header, "'descr':"), *order = entry_of(header, "'fortran_order':"),
               *shape = entry_of(header, "'shape':");
    char *end = NULL;
    if (!descr || !order || !shape || strncmp(order, "False", 5) != 0 || strncmp(descr, "'<", 2) != 0 ||
        !strchr("iuf", descr[2]) || !strchr("248", descr[3]) || descr[4] != '\'' || *shape != '(')
        return false;
    array->kind = descr[2];
    array->bytes = (size_t)(descr[3] - '0');
    array->rows = g_ascii_strtoull(shape + 1, &end, 10);
    return end != shape + 1 && strncmp(end + strspn(end, ", "), "2)", 2) == 0 &&
           !(array->kind == 'f' && array->bytes == 2);
}

static bool parse_array(const char *path, const uint8_t *bytes, size_t size, Array *array, GError **err) {
    const bool wide = size > 6 && bytes[6] >= 2; /* version 2: a length of four bytes */
    const size_t start = wide ? 12 : 10;
    bool ok = size > start && memcmp(bytes, "\x93NUMPY", 6) == 0;
    size_t length = ok ? (size_t)bytes[8] | (size_t)bytes[9] << 8 : 0;
    if (ok && wide)
        length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    ok = ok && length <= size - start;
    g_autofree char *header = g_strndup((const char *)bytes + start, ok ? length : 0);
    if (!ok || !parse_header(header, array))
        return lob_fail(err, LOB_ERROR_INPUT, "%s: expected an array of numbers with two columns (numpy)",
                        path);
    const size_t left = size - start - length;
    array->data = bytes + start + length;
    return array->rows <= left / (2 * array->bytes) || lob_fail(err, LOB_ERROR_INPUT, "%s: is cut off", path);
}

static double number_at(const Array *array, uint64_t i) {
    union {
        uint64_t u;
        int64_t i;
        double f8;
        float f4;
    } value = {0};
    memcpy(&value, array->data + i * array->bytes, array->bytes);
    if (array->kind == 'f')
        return array->bytes == 8 ? value.f8 : (double)value.f4;
    if (array->kind == 'u')
        return (double)value.u;
    const int unused = 64 - 8 * (int)array->bytes;
    return (double)((int64_t)(value.u << unused) >> unused);
}

static bool read_array(LobFeatureFile *file, const char *path, const uint8_t *bytes, size_t size,
                       GError **err) {
    Array array = {0};
    if (!parse_array(path, bytes, size, &array, err))
        return false;
    if (array.rows != file->rows)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: %" PRIu64 " rows of features but places of %" PRIu64, path,
                        file->rows, array.rows);
    file->places = g_new(double, 2 * array.rows + 1);
    for (uint64_t i = 0; i < 2 * array.rows; i++)
        file->places[i] = number_at(&array, i);
    return true;
}

static bool read_index(LobFeatureFile *file, const char *path, GError **err) {
    size_t size = 0;
    g_autofree char *text = lob_file_read(path, MOST_INDEX, &size, err);
    if (!text)
        return false;
    const uint8_t *bytes = (const uint8_t *)text;
    if (g_str_has_suffix(path, ".npy"))
        return read_array(file, path, bytes, size, err);
    g_autoptr(GHashTable) entries = lob_zip_entries(path, bytes, size, err);
    if (!entries)
        return false;
    const LobZipEntry *entry = g_hash_table_lookup(entries, "arr_0.npy");
    return entry ? read_array(file, path, entry->data, entry->size, err)
                 : lob_fail(err, LOB_ERROR_INPUT, "%s: holds no array arr_0", path);
}

/* ---- bags_config.json ---- */

/* tile_um may be a magnification ("20x"), which is no size. */
static bool take_config(LobFeatureFile *file, const json_t *root, const char *path, GError **err) {
    LobFeatureFacts *facts = &file->facts;
    const json_t *px = json_object_get(root, "tile_px"), *um = json_object_get(root, "tile_um");
    const json_t *extractor = json_object_get(root, "extractor"),
                 *normalizer = json_object_get(root, "normalizer");
    const char *name = json_string_value(json_object_get(extractor, "class"));
    const char *stain = json_string_value(json_object_get(normalizer, "method"));
    if (!json_is_integer(px) || json_integer_value(px) < 1 || json_integer_value(px) > 1 << 20)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: expected a whole number tile_px", path);
    if (!json_is_number(um) || !(json_number_value(um) > 0) || !(json_number_value(um) < 1e6))
        return lob_fail(err, LOB_ERROR_INPUT,
                        "%s: expected a number of micrometres in tile_um; a magnification says no size",
                        path);
    facts->tile_size = (int)json_integer_value(px);
    facts->tile_mpp = json_number_value(um) / facts->tile_size;
    facts->centre_um = json_number_value(um);
    facts->encoder = g_strdup(name);
    facts->stain = g_strdup(stain ? stain : json_is_object(normalizer) ? "unknown" : NULL);
    return true;
}

static bool read_config(LobFeatureFile *file, const char *path, GError **err) {
    size_t size = 0;
    json_error_t where;
    g_autofree char *text = lob_file_read(path, MOST_CONFIG, &size, err);
    if (!text)
        return false;
    json_t *root = json_loadb(text, size, 0, &where);
    if (!root)
        return lob_fail(err, LOB_ERROR_INPUT, "%s:%d: not JSON: %s", path, where.line, where.text);
    const bool ok = take_config(file, root, path, err);
    json_decref(root);
    return ok;
}

/* ---- the tensor ---- */

static bool take_tensor(LobFeatureFile *file, GError **err) {
    const LobTensor *tensor = lob_weights_find(file->weights, "");
    if (!tensor)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: is no single tensor", file->path);
    if (tensor->ndim != 2 || tensor->shape[0] > UINT32_MAX || tensor->shape[1] < 1 ||
        tensor->shape[1] > 1 << 20 || (tensor->dtype != LOB_DTYPE_F32 && tensor->dtype != LOB_DTYPE_F16)) {
        g_autofree char *shape = lob_shape_text(tensor->shape, tensor->ndim);
        return lob_fail(err, LOB_ERROR_INPUT,
                        "%s: a tensor %s of %s; expected float32 or float16, a row a tile", file->path, shape,
                        tensor->dtype_name);
    }
    file->tensor = tensor;
    file->rows = (uint64_t)tensor->shape[0];
    file->dim = (int)tensor->shape[1];
    file->half = tensor->dtype == LOB_DTYPE_F16;
    return true;
}

bool lob_feature_tensor_open(LobFeatureFile *file, GError **err) {
    static const char *const endings[] = {".index.npz", ".index.npy"};
    g_autofree char *stem = g_strndup(file->path, strlen(file->path) - strlen(".pt"));
    g_autofree char *folder = g_path_get_dirname(file->path);
    g_autofree char *config = g_build_filename(folder, "bags_config.json", NULL);
    file->format = LOB_FORMAT_TENSOR;
    file->weights = lob_weights_open(file->path, err);
    if (!file->weights || !take_tensor(file, err))
        return false;
    if (!g_file_test(config, G_FILE_TEST_EXISTS))
        return true; /* centres without the size of a tile cannot be used, so they are not read either */
    if (!read_config(file, config, err))
        return false;
    for (size_t i = 0; i < G_N_ELEMENTS(endings); i++) {
        g_autofree char *index = g_strconcat(stem, endings[i], NULL);
        if (g_file_test(index, G_FILE_TEST_EXISTS))
            return read_index(file, index, err);
    }
    return true;
}

bool lob_feature_tensor_floats(const LobFeatureFile *file, uint64_t first, size_t n, float *out,
                               GError **err) {
    const size_t dim = (size_t)file->dim, from = first * dim;
    if (first > file->rows || n > file->rows - first)
        return lob_fail(err, LOB_ERROR_INTERNAL, "%s: rows beyond its end", file->path);
    if (!file->half) {
        memcpy(out, file->tensor->data + from * sizeof *out, n * dim * sizeof *out);
        return true;
    }
    for (size_t i = 0; i < n * dim; i++) {
        uint16_t half;
        memcpy(&half, file->tensor->data + (from + i) * sizeof half, sizeof half);
        out[i] = lob_float_from_half(half);
    }
    return true;
}
