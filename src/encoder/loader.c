#include "encoder/loader.h"
#include "encoder/fingerprint.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 16, MAX_NAMED = 6 };

/* At the block's start: how filling went, for the processes that did not fill. */
typedef struct {
    int failed_code; /* a LobErrorCode, or 0 */
    char sha256[65];
    char message[512];
} Header;

enum { HEADER_BYTES = 1024 };
G_STATIC_ASSERT(sizeof(Header) <= HEADER_BYTES);

float *lob_loader_take(LobLoader *loader, size_t count) {
    float *memory = loader->base ? loader->base + loader->used : NULL;
    loader->used += (count + LINE - 1) / LINE * LINE;
    return memory;
}

void lob_loader_scratch_reset(LobLoader *loader, size_t size) {
    loader->scratch_used = 0;
    if (loader->base && size > loader->scratch_size) {
        g_free(loader->scratch);
        loader->scratch = g_new(float, size);
        loader->scratch_size = size;
    }
}

float *lob_loader_scratch(LobLoader *loader, size_t count) {
    if (!loader->base) {
        return NULL;
    }
    g_assert(loader->scratch_used + count <= loader->scratch_size);
    float *memory = loader->scratch + loader->scratch_used;
    loader->scratch_used += count;
    return memory;
}

static void check_tensor(LobLoader *loader, const char *name, int ndim, const int64_t *shape) {
    const LobTensor *tensor = lob_weights_find(loader->weights, name);
    if (!tensor) {
        g_ptr_array_add(loader->missing, g_strdup(name));
        return;
    }
    if (tensor->ndim != ndim || memcmp(tensor->shape, shape, (size_t)ndim * sizeof *shape) != 0) {
        g_autofree char *has = lob_shape_text(tensor->shape, tensor->ndim);
        g_autofree char *needs = lob_shape_text(shape, ndim);
        g_ptr_array_add(loader->misshapen, g_strdup_printf("%s is %s, not %s", name, has, needs));
        return;
    }
    if (loader->check_values && !loader->error) {
        if (lob_tensor_check(loader->weights, tensor, &loader->error)) {
            lob_tensor_drop(loader->weights, tensor);
        }
    }
}

/* Small values of mixed sign, gains near one: as a bench needs them, neither denormal nor exploding. */
static void invent(LobLoader *loader, float *to, size_t count, bool gain) {
    for (size_t i = 0; i < count; i++) {
        const float value = (float)(lob_rng_u64(&loader->rng) >> 40) * (1.0f / 16777216) - 0.5f;
        to[i] = gain ? 1 + 0.1f * value : 0.06f * value;
    }
}

void lob_loader_tensor(LobLoader *loader, float *to, const char *name, int ndim, ...) {
    g_autofree char *full = g_strconcat(loader->preset->prefix ? loader->preset->prefix : "", name, NULL);
    int64_t shape[LOB_TENSOR_MAX_DIMS];
    size_t count = 1;
    va_list lengths;
    va_start(lengths, ndim);
    for (int i = 0; i < ndim; i++) {
        const size_t length = va_arg(lengths, size_t);
        shape[i] = (int64_t)length;
        count *= length;
    }
    va_end(lengths);
    g_hash_table_add(loader->seen, g_strdup(full));
    if (!loader->base) {
        if (loader->weights) {
            check_tensor(loader, full, ndim, shape);
        }
        return;
    }
    if (!loader->fill || loader->error) {
        return;
    }
    if (loader->weights) {
        const LobTensor *tensor = lob_weights_find(loader->weights, full);
        if (lob_tensor_floats(loader->weights, tensor, to, &loader->error)) {
            lob_tensor_drop(loader->weights, tensor);
        }
    } else {
        invent(loader, to, count, ndim == 1 && !g_str_has_suffix(name, "bias"));
    }
}

float *lob_loader_vector(LobLoader *loader, const char *name, size_t n) {
    float *to = lob_loader_take(loader, n);
    lob_loader_tensor(loader, to, name, 1, n);
    return to;
}

float *lob_loader_variances(LobLoader *loader, const char *name, size_t n) {
    float *to = lob_loader_vector(loader, name, n);
    g_autofree char *full = g_strconcat(loader->preset->prefix ? loader->preset->prefix : "", name, NULL);
    const LobTensor *tensor = loader->weights ? lob_weights_find(loader->weights, full) : NULL;
    const bool looks = loader->base ? loader->fill : loader->check_values;
    if (!looks || loader->error || !tensor || tensor->count != n) {
        return to;
    }
    g_autofree float *values = g_new(float, n);
    if (lob_tensor_floats(loader->weights, tensor, values, &loader->error)) {
        for (size_t i = 0; i < n && !loader->error; i++) {
            if (values[i] < 0) {
                lob_fail(&loader->error, LOB_ERROR_INPUT,
                         "weights %s: tensor %s is a variance and has a negative value (element %zu: %g)",
                         loader->weights->path, full, i, (double)values[i]);
            }
        }
    }
    return to;
}

float *lob_loader_matrix(LobLoader *loader, const char *name, size_t rows, size_t columns) {
    float *to = lob_loader_take(loader, rows * columns);
    lob_loader_tensor(loader, to, name, 2, rows, columns);
    return to;
}

static bool ignored(const LobPreset *preset, const char *name) {
    for (char **p = preset->ignore; p && *p; p++) {
        if (g_pattern_match_simple(*p, name)) {
            return true;
        }
    }
    return false;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static GPtrArray *surplus(const LobLoader *loader) {
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    GHashTableIter iter;
    void *name;
    g_hash_table_iter_init(&iter, loader->weights->tensors);
    while (g_hash_table_iter_next(&iter, &name, NULL)) {
        if (!g_hash_table_contains(loader->seen, name) && !ignored(loader->preset, name)) {
            g_ptr_array_add(names, g_strdup(name));
        }
    }
    g_ptr_array_sort(names, compare_names);
    return names;
}

static void append_names(GString *text, const char *what, const GPtrArray *names) {
    if (names->len == 0) {
        return;
    }
    g_string_append_printf(text, "%s%u %s: ", text->len ? "; " : "", names->len, what);
    for (guint i = 0; i < MIN(names->len, MAX_NAMED); i++) {
        g_string_append_printf(text, "%s%s", i ? ", " : "", (char *)g_ptr_array_index(names, i));
    }
    g_string_append(text, names->len > MAX_NAMED ? " ..." : "");
}

static bool check_names(const LobLoader *loader, GError **err) {
    if (!loader->weights) {
        return true;
    }
    g_autoptr(GPtrArray) extra = surplus(loader);
    if (loader->missing->len + loader->misshapen->len + extra->len == 0) {
        return true;
    }
    g_autoptr(GString) text = g_string_new(NULL);
    append_names(text, "missing", loader->missing);
    append_names(text, "of another shape", loader->misshapen);
    append_names(text, "unknown to the network (ignore: in the preset lists what is not needed)", extra);
    return lob_fail(err, LOB_ERROR_INPUT, "weights %s are not those of encoder %s: tensors %s",
                    loader->weights->path, loader->preset->name, text->str);
}

static bool get_block(LobPrepared *prepared, const LobEncoderMemory *memory, bool *fill, GError **err) {
    if (memory) {
        prepared->block = memory->alloc(memory->user, prepared->size, fill, err);
        return prepared->block != NULL;
    }
    *fill = true;
    prepared->owned = true;
    if (posix_memalign(&prepared->block, 64, prepared->size) != 0) {
        prepared->block = NULL;
        return lob_fail(err, LOB_ERROR_INTERNAL, "no memory for %zu MiB of weights", prepared->size >> 20);
    }
    return true;
}

/* The process that fills also writes how it went into the block, before anybody waits for it. */
static void note_outcome(const LobLoader *loader, Header *header) {
    g_autoptr(GError) err = NULL;
    g_autofree char *sha = NULL;
    memset(header, 0, sizeof *header);
    if (!loader->error && loader->weights) {
        sha = lob_fingerprint(loader->weights->path, &err);
    }
    const GError *failure = loader->error ? loader->error : err;
    if (failure) {
        header->failed_code = failure->code;
        g_strlcpy(header->message, failure->message, sizeof header->message);
    }
    g_strlcpy(header->sha256, sha ? sha : "", sizeof header->sha256);
}

void lob_prepare_join(const LobEncoderMemory *memory, const GError *failure) {
    bool fill = false;
    Header *header = memory->alloc(memory->user, HEADER_BYTES, &fill, NULL);
    if (header && fill) {
        memset(header, 0, sizeof *header);
        header->failed_code = failure->code;
        g_strlcpy(header->message, failure->message, sizeof header->message);
    }
    if (header && memory->ready) {
        memory->ready(memory->user);
    }
}

static bool fill_block(LobPrepared *prepared, LobLoader *loader, const LobEncoderMemory *memory,
                       LobLoaderBuild build, void *network, GError **err) {
    Header *header = prepared->block;
    loader->base = (float *)(void *)((char *)prepared->block + HEADER_BYTES);
    loader->used = 0;
    build(loader, network);
    if (loader->fill) {
        note_outcome(loader, header);
    }
    if (memory && memory->ready) {
        memory->ready(memory->user);
    }
    if (header->failed_code) {
        return lob_fail(err, (LobErrorCode)header->failed_code, "%s", header->message);
    }
    g_strlcpy(prepared->sha256, header->sha256, sizeof prepared->sha256);
    return true;
}

/* What is said about the weights without having them in memory. */
static bool describe(LobPrepared *prepared, LobLoader *loader, GError **err) {
    if (loader->error) {
        g_propagate_error(err, g_steal_pointer(&loader->error));
        return false;
    }
    g_autofree char *sha = loader->weights ? lob_fingerprint(loader->weights->path, err) : g_strdup("");
    g_strlcpy(prepared->sha256, sha ? sha : "", sizeof prepared->sha256);
    return sha != NULL;
}

static void loader_clear(LobLoader *loader) {
    lob_weights_free(loader->weights);
    g_hash_table_unref(loader->seen);
    g_ptr_array_unref(loader->missing);
    g_ptr_array_unref(loader->misshapen);
    g_free(loader->scratch);
    g_clear_error(&loader->error);
}

bool lob_prepare(LobPrepared *prepared, const LobEncoderOptions *options, const LobPreset *preset,
                 LobLoaderBuild build, void *network, GError **err) {
    LobLoader loader = {.preset = preset, .check_values = options->describe};
    memset(prepared, 0, sizeof *prepared);
    if (!options->random_weights) {
        if (!options->weights) {
            return lob_fail(err, LOB_ERROR_INPUT,
                            "encoder %s needs weights: set encoder: weights: to its safetensors or "
                            "pytorch_model.bin file%s%s",
                            preset->name, preset->licence ? "; licence and download: " : "",
                            preset->licence ? preset->licence : "");
        }
        loader.weights = lob_weights_open(options->weights, err);
        if (!loader.weights) {
            return false;
        }
    }
    loader.seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    loader.missing = g_ptr_array_new_with_free_func(g_free);
    loader.misshapen = g_ptr_array_new_with_free_func(g_free);
    lob_rng_init(&loader.rng, 1, preset->name);
    build(&loader, network);
    prepared->size = HEADER_BYTES + loader.used * sizeof(float);
    const bool ok =
        check_names(&loader, err) &&
        (options->describe ? describe(prepared, &loader, err)
                           : get_block(prepared, options->memory, &loader.fill, err) &&
                                 fill_block(prepared, &loader, options->memory, build, network, err));
    loader_clear(&loader);
    return ok;
}

void lob_prepared_clear(LobPrepared *prepared) {
    if (prepared->owned) {
        free(prepared->block);
    }
    prepared->block = NULL;
}
