/* Weights files: named tensors, mapped, never executed. Beside src/encoder and its tests only hdf5io/
 * includes this, for feature files that are tensors.
 *
 * safetensors: u64 length, JSON header, raw data. pytorch_model.bin: a zip of stored entries, one of them a
 * pickle read by an interpreter that can build dictionaries, numbers, strings and tensors and nothing else; a
 * tensor that stands alone has the name "".
 */
#ifndef LOB_ENCODER_WEIGHTS_H
#define LOB_ENCODER_WEIGHTS_H

#include "base/base.h"

enum { LOB_TENSOR_MAX_DIMS = 8 };

typedef enum { LOB_DTYPE_F32, LOB_DTYPE_F16, LOB_DTYPE_BF16, LOB_DTYPE_OTHER } LobDtype;

typedef struct {
    char *name;
    LobDtype dtype;
    const char *dtype_name; /* as the file calls it, for messages */
    int ndim;
    int64_t shape[LOB_TENSOR_MAX_DIMS];
    size_t count;        /* elements; 1 for a scalar */
    const uint8_t *data; /* row-major, little-endian, in the mapping, of any alignment */
} LobTensor;

typedef struct {
    char *path;
    const uint8_t *map;
    size_t size;
    GHashTable *tensors; /* name -> LobTensor */
} LobWeights;

/* INPUT errors name the file and what is wrong with it. */
LobWeights *lob_weights_open(const char *path, GError **err);
void lob_weights_free(LobWeights *weights);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LobWeights, lob_weights_free)
const LobTensor *lob_weights_find(const LobWeights *weights, const char *name);

/* The tensor's values as floats; an INPUT error where one of them is NaN or infinite or the type is no float.
 */
bool lob_tensor_floats(const LobWeights *weights, const LobTensor *tensor, float *out, GError **err);

/* The same check alone. */
bool lob_tensor_check(const LobWeights *weights, const LobTensor *tensor, GError **err);
/* Of a mapped file: the tensor's pages leave this process's memory; where they are read again, they come
 * back. A tensor whose type is no float is left alone. */
void lob_tensor_drop(const LobWeights *weights, const LobTensor *tensor);

/* "[3, 4]"; caller frees. */
char *lob_shape_text(const int64_t *shape, int ndim);

/* Readers of the two formats on bytes in memory, apart for the fuzzers; they fill weights->tensors. */
bool lob_safetensors_parse(LobWeights *weights, GError **err);
bool lob_torch_parse(LobWeights *weights, GError **err);
/* Takes ownership of `name`; false where the name is already there. */
bool lob_weights_add(LobWeights *weights, char *name, LobTensor tensor);
/* Product of the shape, checked; false where it overflows or a length is negative. */
bool lob_shape_count(const int64_t *shape, int ndim, size_t *count);
LobWeights *lob_weights_from_bytes(const char *label, const uint8_t *data, size_t size, GError **err);

#endif
