#include "encoder/weights.h"

#include <jansson.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
    LobDtype dtype;
} DTYPES[] = {
    {"F32", 4, LOB_DTYPE_F32},    {"F16", 2, LOB_DTYPE_F16},   {"BF16", 2, LOB_DTYPE_BF16},
    {"F64", 8, LOB_DTYPE_OTHER},  {"I64", 8, LOB_DTYPE_OTHER}, {"I32", 4, LOB_DTYPE_OTHER},
    {"I16", 2, LOB_DTYPE_OTHER},  {"I8", 1, LOB_DTYPE_OTHER},  {"U8", 1, LOB_DTYPE_OTHER},
    {"BOOL", 1, LOB_DTYPE_OTHER}, {"U16", 2, LOB_DTYPE_OTHER}, {"U32", 4, LOB_DTYPE_OTHER},
    {"U64", 8, LOB_DTYPE_OTHER},
};

enum { MAX_HEADER = 100 << 20 };

/* Bytes [begin, end) of the data section that a tensor occupies. */
typedef struct {
    size_t begin, end;
    const char *name;
} Extent;

static bool read_dtype(const LobWeights *w, const char *name, json_t *entry, LobTensor *tensor,
                       size_t *element, GError **err) {
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    for (size_t i = 0; dtype && i < G_N_ELEMENTS(DTYPES); i++) {
        if (strcmp(dtype, DTYPES[i].name) == 0) {
            tensor->dtype = DTYPES[i].dtype;
            tensor->dtype_name = DTYPES[i].name;
            *element = DTYPES[i].size;
            return true;
        }
    }
    return lob_fail(err, LOB_ERROR_INPUT, "%s: tensor %s has the unknown type %s", w->path, name,
                    dtype ? dtype : "(none)");
}

static bool read_shape(const LobWeights *w, const char *name, json_t *entry, LobTensor *tensor,
                       GError **err) {
    json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape) || json_array_size(shape) > LOB_TENSOR_MAX_DIMS) {
        return lob_fail(err, LOB_ERROR_INPUT, "%s: tensor %s has no shape of at most %d lengths", w->path,
                        name, LOB_TENSOR_MAX_DIMS);
    }
    tensor->ndim = (int)json_array_size(shape);
    for (int i = 0; i < tensor->ndim; i++) {
        json_t *length = json_array_get(shape, (size_t)i);
        if (!json_is_integer(length)) {
            return lob_fail(err, LOB_ERROR_INPUT, "%s: tensor %s has a length that is no integer", w->path,
                            name);
        }
        tensor->shape[i] = json_integer_value(length);
    }
    if (!lob_shape_count(tensor->shape, tensor->ndim, &tensor->count)) {
        return lob_fail(err, LOB_ERROR_INPUT, "%s: tensor %s has an impossible shape", w->path, name);
    }
    return true;
}

static bool read_entry(LobWeights *w, const char *name, json_t *entry, size_t data, Extent *extent,
                       GError **err) {
    LobTensor tensor = {0};
    size_t element = 0;
    json_t *offsets = json_object_get(entry, "data_offsets");
    json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);

    if (!read_dtype(w, name, entry, &tensor, &element, err) || !read_shape(w, name, entry, &tensor, err)) {
        return false;
    }
    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(last) ||
        json_integer_value(first) < 0 || json_integer_value(last) < json_integer_value(first) ||
        (uint64_t)json_integer_value(last) > w->size - data) {
        return lob_fail(err, LOB_ERROR_INPUT, "%s: tensor %s lies outside the file (truncated?)", w->path,
                        name);
    }
    *extent = (Extent){(size_t)json_integer_value(first), (size_t)json_integer_value(last), name};
    if (extent->end - extent->begin != tensor.count * element) {
        return lob_fail(err, LOB_ERROR_INPUT, "%s: tensor %s has %zu bytes where its shape needs %zu",
                        w->path, name, extent->end - extent->begin, tensor.count * element);
    }
    tensor.data = w->map + data + extent->begin;
    lob_weights_add(w, g_strdup(name), tensor); /* JSON_REJECT_DUPLICATES saw to uniqueness */
    return true;
}

static int compare_extents(const void *a, const void *b) {
    const Extent *x = a, *y = b;
    if (x->begin != y->begin) {
        return x->begin < y->begin ? -1 : 1;
    }
    return (x->end > y->end) - (x->end < y->end);
}

static bool check_overlaps(const LobWeights *w, Extent *extents, size_t count, GError **err) {
    qsort(extents, count, sizeof *extents, compare_extents);
    for (size_t i = 1; i < count; i++) {
        if (extents[i].begin < extents[i - 1].end) {
            return lob_fail(err, LOB_ERROR_INPUT, "%s: tensors %s and %s overlap", w->path,
                            extents[i - 1].name, extents[i].name);
        }
    }
    return true;
}

static bool read_entries(LobWeights *w, json_t *header, size_t data, GError **err) {
    g_autofree Extent *extents = g_new(Extent, json_object_size(header) + 1);
    size_t count = 0;
    const char *name;
    json_t *entry;
    json_object_foreach(header, name, entry) {
        if (strcmp(name, "__metadata__") == 0) {
            continue;
        }
        if (!read_entry(w, name, entry, data, &extents[count], err)) {
            return false;
        }
        count++;
    }
    return check_overlaps(w, extents, count, err);
}

bool lob_safetensors_parse(LobWeights *w, GError **err) {
    uint64_t length = 0;
    json_error_t where;

    for (int i = 7; i >= 0 && w->size >= 8; i--) {
        length = length << 8 | w->map[i];
    }
    if (w->size < 8 || length > w->size - 8 || length > MAX_HEADER || length < 2) {
        return lob_fail(err, LOB_ERROR_INPUT,
                        "%s: neither a safetensors file nor a PyTorch one, or truncated (its header claims "
                        "%" G_GUINT64_FORMAT " bytes, the file has %zu)",
                        w->path, length, w->size);
    }
    json_t *header = json_loadb((const char *)w->map + 8, (size_t)length, JSON_REJECT_DUPLICATES, &where);
    if (!json_is_object(header)) {
        json_decref(header);
        return lob_fail(err, LOB_ERROR_INPUT, "%s: its safetensors header is no JSON object: %s", w->path,
                        header ? "another type" : where.text);
    }
    const bool ok = read_entries(w, header, 8 + (size_t)length, err);
    json_decref(header);
    return ok;
}
