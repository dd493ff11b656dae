/* Fuzzer of the two weights parsers; fuzz_weights.sh builds and runs it.
 *
 * The first byte of an input says which parser gets the rest, so that magic numbers need not be guessed; a
 * zip's pickle is also tried alone, behind a fixed archive made around it. */
#include "encoder/weights.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void append(GByteArray *to, const char *bytes, size_t size) {
    g_byte_array_append(to, (const guint8 *)bytes, (guint)size);
}

static void append_number(GByteArray *to, uint32_t value, int bytes) {
    for (int i = 0; i < bytes; i++) {
        const guint8 byte = (guint8)(value >> (8 * i));
        g_byte_array_append(to, &byte, 1);
    }
}

/* A stored entry; its central record goes to `directory`. */
static void append_entry(GByteArray *zip, GByteArray *directory, const char *name, const uint8_t *data,
                         size_t size) {
    const uint32_t at = zip->len, length = (uint32_t)strlen(name);
    append(zip, "PK\3\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 18);
    append_number(zip, (uint32_t)size, 4);
    append_number(zip, (uint32_t)size, 4);
    append_number(zip, length, 4);
    append(zip, name, length);
    g_byte_array_append(zip, data, (guint)size);
    append(directory, "PK\1\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
    append_number(directory, (uint32_t)size, 4);
    append_number(directory, (uint32_t)size, 4);
    append_number(directory, length, 4);
    append(directory, "\0\0\0\0\0\0\0\0\0\0", 10);
    append_number(directory, at, 4);
    append(directory, name, length);
}

static GByteArray *archive_around(const uint8_t *pickle, size_t size) {
    const uint8_t storage[64] = {0};
    GByteArray *zip = g_byte_array_new();
    g_autoptr(GByteArray) directory = g_byte_array_new();
    append_entry(zip, directory, "archive/data.pkl", pickle, size);
    append_entry(zip, directory, "archive/data/0", storage, sizeof storage);
    const uint32_t at = zip->len;
    g_byte_array_append(zip, directory->data, directory->len);
    append(zip, "PK\5\6\0\0\0\0\2\0\2\0", 12);
    append_number(zip, directory->len, 4);
    append_number(zip, at, 4);
    append_number(zip, 0, 2);
    return zip;
}

/* Every tensor that was accepted is read whole: a lying extent shows at once. */
static void read_all(LobWeights *weights) {
    GHashTableIter iter;
    void *value;
    g_hash_table_iter_init(&iter, weights->tensors);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const LobTensor *tensor = value;
        if (tensor->count < 1 << 20) {
            g_autofree float *out = g_new(float, tensor->count + 1);
            lob_tensor_floats(weights, tensor, out, NULL);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) {
        return 0;
    }
    g_autoptr(GError) err = NULL;
    g_autoptr(GByteArray) zip = data[0] % 2 ? archive_around(data + 1, size - 1) : NULL;
    /* a copy of exact size, so that reading beyond it is caught */
    const uint8_t *bytes = zip ? zip->data : data + 1;
    const size_t length = zip ? zip->len : size - 1;
    uint8_t *exact = g_memdup2(bytes, length);
    LobWeights *weights = lob_weights_from_bytes("fuzz", exact, length, &err);
    if (weights) {
        read_all(weights);
        weights->map = NULL;
        lob_weights_free(weights);
    } else if (!err) {
        g_error("refused without a message");
    }
    g_free(exact);
    return 0;
}
