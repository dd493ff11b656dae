#include "encoder/weights.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void tensor_free(void *data) {
    LobTensor *tensor = data;
    g_free(tensor->name);
    g_free(tensor);
}

static LobWeights *weights_new(const char *path, const uint8_t *map, size_t size) {
    LobWeights *weights = g_new0(LobWeights, 1);
    weights->path = g_strdup(path);
    weights->map = map;
    weights->size = size;
    weights->tensors = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, tensor_free);
    return weights;
}

bool lob_weights_add(LobWeights *weights, char *name, LobTensor tensor) {
    if (g_hash_table_contains(weights->tensors, name)) {
        g_free(name);
        return false;
    }
    LobTensor *kept = g_new(LobTensor, 1);
    *kept = tensor;
    kept->name = name;
    g_hash_table_insert(weights->tensors, kept->name, kept);
    return true;
}

bool lob_shape_count(const int64_t *shape, int ndim, size_t *count) {
    size_t product = 1;
    for (int i = 0; i < ndim; i++) {
        if (shape[i] < 0 || __builtin_mul_overflow(product, (size_t)shape[i], &product)) {
            return false;
        }
    }
    *count = product;
    return product <= SIZE_MAX / 16;
}

char *lob_shape_text(const int64_t *shape, int ndim) {
    GString *text = g_string_new("[");
    for (int i = 0; i < ndim; i++) {
        g_string_append_printf(text, "%s%" G_GINT64_FORMAT, i ? ", " : "", shape[i]);
    }
    return g_string_free(g_string_append_c(text, ']'), FALSE);
}

static bool parse(LobWeights *weights, GError **err) {
    static const uint8_t zip[4] = {'P', 'K', 3, 4};
    if (weights->size >= 4 && memcmp(weights->map, zip, 4) == 0) {
        return lob_torch_parse(weights, err);
    }
    if (weights->size >= 2 && weights->map[0] == 0x80 && weights->map[1] <= 5) {
        return lob_fail(
            err, LOB_ERROR_INPUT,
            "%s: PyTorch's file format from before 1.6; save it again with a newer PyTorch, or as "
            "safetensors",
            weights->path);
    }
    return lob_safetensors_parse(weights, err);
}

LobWeights *lob_weights_from_bytes(const char *label, const uint8_t *data, size_t size, GError **err) {
    LobWeights *weights = weights_new(label, data, size);
    if (!parse(weights, err)) {
        weights->map = NULL;
        lob_weights_free(weights);
        return NULL;
    }
    return weights;
}

static const uint8_t *map_file(const char *path, size_t *size, GError **err) {
    struct stat st;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        lob_fail_errno(err, LOB_ERROR_INPUT, errno, "weights %s cannot be opened", path);
        return NULL;
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size <= 0) {
        lob_fail(err, LOB_ERROR_INPUT, "weights %s: not a file, or empty", path);
        close(fd);
        return NULL;
    }
    *size = (size_t)st.st_size;
    void *map = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, fd, 0);
    const int errnum = errno;
    close(fd);
    if (map == MAP_FAILED) {
        lob_fail_errno(err, LOB_ERROR_IO, errnum, "weights %s cannot be mapped", path);
        return NULL;
    }
    return map;
}

LobWeights *lob_weights_open(const char *path, GError **err) {
    size_t size = 0;
    const uint8_t *map = map_file(path, &size, err);
    if (!map) {
        return NULL;
    }
    g_autoptr(LobWeights) weights = weights_new(path, map, size);
    return parse(weights, err) ? g_steal_pointer(&weights) : NULL;
}

void lob_weights_free(LobWeights *weights) {
    if (!weights) {
        return;
    }
    if (weights->map) {
        munmap((void *)(uintptr_t)weights->map, weights->size);
    }
    g_hash_table_unref(weights->tensors);
    g_free(weights->path);
    g_free(weights);
}

const LobTensor *lob_weights_find(const LobWeights *weights, const char *name) {
    return g_hash_table_lookup(weights->tensors, name);
}

static void floats_from_bfloat16(float *out, const uint8_t *in, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint16_t half;
        memcpy(&half, in + 2 * i, sizeof half);
        const uint32_t bits = (uint32_t)half << 16;
        memcpy(&out[i], &bits, sizeof bits);
    }
}

static void floats_from_float16(float *out, const uint8_t *in, size_t n) {
    enum { CHUNK = 4096 };
    uint16_t halves[CHUNK];
    for (size_t i = 0; i < n; i += CHUNK) {
        const size_t count = MIN((size_t)CHUNK, n - i);
        memcpy(halves, in + 2 * i, count * sizeof *halves);
        lob_floats_from_halves(out + i, halves, count);
    }
}

/* Whether a value's exponent has all its bits set: NaN or infinite. */
static bool any_bad32(const uint8_t *in, size_t n) {
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, in + 4 * i, sizeof bits);
        bad |= (bits & 0x7f800000) == 0x7f800000;
    }
    return bad;
}

static bool any_bad16(const uint8_t *in, size_t n, uint16_t exponent) {
    uint16_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint16_t bits;
        memcpy(&bits, in + 2 * i, sizeof bits);
        bad = (uint16_t)(bad | ((bits & exponent) == exponent));
    }
    return bad;
}

static bool any_bad(const LobTensor *tensor, size_t from, size_t n) {
    switch (tensor->dtype) {
    case LOB_DTYPE_F32:
        return any_bad32(tensor->data + 4 * from, n);
    case LOB_DTYPE_F16:
        return any_bad16(tensor->data + 2 * from, n, 0x7c00);
    case LOB_DTYPE_BF16:
        return any_bad16(tensor->data + 2 * from, n, 0x7f80);
    case LOB_DTYPE_OTHER:
        break;
    }
    return true;
}

bool lob_tensor_check(const LobWeights *weights, const LobTensor *tensor, GError **err) {
    enum { CHUNK = 4096 };
    if (tensor->dtype == LOB_DTYPE_OTHER) {
        return lob_fail(err, LOB_ERROR_INPUT,
                        "weights %s: tensor %s is of type %s; F32, F16 or BF16 is needed", weights->path,
                        tensor->name, tensor->dtype_name);
    }
    for (size_t i = 0; i < tensor->count; i += CHUNK) {
        if (any_bad(tensor, i, MIN((size_t)CHUNK, tensor->count - i))) {
            while (!any_bad(tensor, i, 1)) {
                i++;
            }
            return lob_fail(err, LOB_ERROR_INPUT,
                            "weights %s: tensor %s has a value that is not finite (element %zu); the file is "
                            "damaged or its training diverged",
                            weights->path, tensor->name, i);
        }
    }
    return true;
}

bool lob_tensor_floats(const LobWeights *weights, const LobTensor *tensor, float *out, GError **err) {
    if (!lob_tensor_check(weights, tensor, err)) {
        return false;
    }
    if (tensor->dtype == LOB_DTYPE_F32) {
        memcpy(out, tensor->data, tensor->count * sizeof *out);
    } else if (tensor->dtype == LOB_DTYPE_F16) {
        floats_from_float16(out, tensor->data, tensor->count);
    } else {
        floats_from_bfloat16(out, tensor->data, tensor->count);
    }
    return true;
}

void lob_tensor_drop(const LobWeights *weights, const LobTensor *tensor) {
    if (tensor->dtype == LOB_DTYPE_OTHER || tensor->count == 0) {
        return; /* never read, and of a width that is not known here */
    }
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), width = tensor->dtype == LOB_DTYPE_F32 ? 4 : 2;
    const size_t offset = (size_t)(tensor->data - weights->map), from = offset / page * page;
    /* beyond the mapping lies somebody else's memory */
    const size_t end = MIN(offset + tensor->count * width, weights->size);
    /* advice: where it is refused, the pages stay */
    (void)madvise((void *)(uintptr_t)(weights->map + from), end - from, MADV_DONTNEED);
}
