/* Weights files: good ones read, bad ones refused with one clear message. */
#include "encoder/weights.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A safetensors file in memory: header, then `data` zero bytes unless given. */
static GByteArray *safetensors(const char *header, const void *data, size_t size) {
    GByteArray *bytes = g_byte_array_new();
    const guint64 length = GUINT64_TO_LE((guint64)strlen(header));
    g_byte_array_append(bytes, (const guint8 *)&length, 8);
    g_byte_array_append(bytes, (const guint8 *)header, (guint)strlen(header));
    g_byte_array_append(bytes, data, (guint)size);
    return bytes;
}

/* The tensors' names and places only; the label stands for a path. Bytes must outlive the result. */
static LobWeights *parse(const GByteArray *bytes, GError **err) {
    return lob_weights_from_bytes("file", bytes->data, bytes->len, err);
}

static void forget(LobWeights *weights) {
    weights->map = NULL; /* not a mapping */
    lob_weights_free(weights);
}

Test(weights, safetensors_of_three_types) {
    const float single[2] = {1.5f, -2};
    const uint16_t half[2] = {0x3c00, 0xc100}, brain[2] = {0x3f80, 0xc020};
    uint8_t data[16];
    memcpy(data, single, 8);
    memcpy(data + 8, half, 4);
    memcpy(data + 12, brain, 4);
    g_autoptr(GError) err = NULL;
    g_autoptr(GByteArray) bytes = safetensors(
        "{\"__metadata__\":{\"a\":\"b\"},\"s\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
        "\"h\":{\"dtype\":\"F16\",\"shape\":[1,2],\"data_offsets\":[8,12]},"
        "\"b\":{\"dtype\":\"BF16\",\"shape\":[2,1],\"data_offsets\":[12,16]}}",
        data, sizeof data);
    LobWeights *weights = parse(bytes, &err);
    float out[2];
    cr_assert_not_null(weights, "%s", err ? err->message : "");
    cr_assert_eq(g_hash_table_size(weights->tensors), 3);
    cr_assert(lob_tensor_floats(weights, lob_weights_find(weights, "s"), out, &err));
    cr_assert(out[0] == 1.5f && out[1] == -2);
    cr_assert(lob_tensor_floats(weights, lob_weights_find(weights, "h"), out, &err));
    cr_assert(out[0] == 1 && out[1] == -2.5f);
    cr_assert(lob_tensor_floats(weights, lob_weights_find(weights, "b"), out, &err));
    cr_assert(out[0] == 1 && out[1] == -2.5f);
    forget(weights);
}

#define TENSOR(offsets) "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":" offsets "}}"

Test(weights, bad_safetensors) {
    const uint8_t zeros[64] = {0};
    const struct {
        const char *header, *message;
    } bad[] = {
        {"[1,2]", "no JSON object"},
        {"{\"a\":", "no JSON object"},
        {"{\"a\":1}", "unknown type (none)"},
        {"{\"a\":{\"dtype\":\"F8\",\"shape\":[2],\"data_offsets\":[0,8]}}", "unknown type F8"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", "impossible shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,8]}}",
         "impossible shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2.5],\"data_offsets\":[0,8]}}", "no integer"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", "no shape"},
        {TENSOR("[0,4]"), "has 4 bytes where its shape needs 8"},
        {TENSOR("[60,68]"), "outside the file"},
        {TENSOR("[8,0]"), "outside the file"},
        {TENSOR("[-8,0]"), "outside the file"},
        {TENSOR("[0,9223372036854775807]"), "outside the file"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
         "tensors a and b overlap"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
         "duplicate"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) err = NULL;
        g_autoptr(GByteArray) bytes = safetensors(bad[i].header, zeros, sizeof zeros);
        cr_assert_null(parse(bytes, &err), "case %zu", i);
        cr_assert(g_error_matches(err, LOB_ERROR, LOB_ERROR_INPUT), "case %zu", i);
        cr_assert_not_null(strstr(err->message, bad[i].message), "case %zu: %s", i, err->message);
    }
}

Test(weights, header_lengths_that_lie) {
    const guint64 lengths[] = {0, 1, 1000, G_GUINT64_CONSTANT(1) << 63, G_MAXUINT64};
    for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
        g_autoptr(GError) err = NULL;
        g_autoptr(GByteArray) bytes = safetensors("{}", NULL, 0);
        const guint64 length = GUINT64_TO_LE(lengths[i]);
        memcpy(bytes->data, &length, 8);
        cr_assert_null(parse(bytes, &err));
        cr_assert_not_null(strstr(err->message, "truncated"), "%s", err->message);
    }
}

Test(weights, values_must_be_finite) {
    const float values[2] = {1, NAN};
    g_autoptr(GError) err = NULL;
    g_autoptr(GByteArray) bytes = safetensors(TENSOR("[0,8]"), values, sizeof values);
    LobWeights *weights = parse(bytes, &err);
    float out[2];
    cr_assert_not_null(weights);
    cr_assert_not(lob_tensor_floats(weights, lob_weights_find(weights, "a"), out, &err));
    cr_assert_not_null(strstr(err->message, "tensor a has a value that is not finite (element 1)"), "%s",
                       err->message);
    forget(weights);
}

/* A file's mapping of whole pages with another one right behind it, as the kernel lays them out. */
static uint8_t *map_with_neighbour(const GByteArray *bytes, size_t size, uint8_t **neighbour, size_t extra) {
    g_autofree char *path = NULL;
    const int fd = g_file_open_tmp("lobule-weights-XXXXXX", &path, NULL);
    cr_assert(fd >= 0 && write(fd, bytes->data, bytes->len) == (ssize_t)bytes->len);
    uint8_t *map = mmap(NULL, size + extra, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert(map != MAP_FAILED && mmap(map, size, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0) == map);
    close(fd);
    *neighbour = map + size;
    memset(*neighbour, 7, extra);
    return map;
}

/* The last tensor fills the file to its end. Letting its pages go must neither touch what lies behind the
 * file nor, where it is of floats, change what it reads as. */
static void drop_last(const char *dtype, size_t width) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), size = 4 * page;
    g_autoptr(GError) err = NULL;
    g_autoptr(GString) header = g_string_new(NULL);
    const size_t room = 256, count = (size - 8 - room) / width;
    g_string_printf(header, "{\"t\":{\"dtype\":\"%s\",\"shape\":[%zu],\"data_offsets\":[0,%zu]}}", dtype,
                    count, count * width);
    while (header->len < room) {
        g_string_append_c(header, ' ');
    }
    g_autofree uint8_t *data = g_malloc(count * width);
    memset(data, 0x3d, count * width);
    g_autoptr(GByteArray) bytes = safetensors(header->str, data, count * width);
    cr_assert_eq(bytes->len, size);
    uint8_t *neighbour, *map = map_with_neighbour(bytes, size, &neighbour, size);
    LobWeights *weights = lob_weights_from_bytes("file", map, size, &err);
    cr_assert_not_null(weights, "%s", err ? err->message : "");
    const LobTensor *tensor = lob_weights_find(weights, "t");
    lob_tensor_drop(weights, tensor);
    for (size_t i = 0; i < size; i++) {
        cr_assert_eq(neighbour[i], 7, "%s: byte %zu behind the file", dtype, i);
    }
    cr_assert_eq(memcmp(tensor->data, data, count * width), 0);
    forget(weights);
    munmap(map, 2 * size);
}

Test(weights, dropping_a_tensor_stays_in_the_file) {
    drop_last("U8", 1);
    drop_last("BOOL", 1);
    drop_last("F16", 2);
    drop_last("F32", 4);
}

Test(weights, integers_are_no_weights) {
    const uint8_t zeros[8] = {0};
    g_autoptr(GError) err = NULL;
    g_autoptr(GByteArray) bytes =
        safetensors("{\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]}}", zeros, 8);
    LobWeights *weights = parse(bytes, &err);
    cr_assert_not_null(weights);
    cr_assert_not(lob_tensor_check(weights, lob_weights_find(weights, "a"), &err));
    cr_assert_not_null(strstr(err->message, "tensor a is of type U8"), "%s", err->message);
    forget(weights);
}

static size_t find(const GByteArray *bytes, const char *text) {
    const uint8_t *at = memmem(bytes->data, bytes->len, text, strlen(text));
    cr_assert_not_null(at, "%s", text);
    return (size_t)(at - bytes->data);
}

static GByteArray *pytorch_file(void) {
    char *data = NULL;
    size_t size = 0;
    cr_assert(g_file_get_contents(LOB_SOURCE_DIR "/tests/oracles/vit/tiny-timm/pytorch_model.bin", &data,
                                  &size, NULL));
    return g_byte_array_new_take((guint8 *)data, size);
}

Test(weights, pytorch_file_reads) {
    g_autoptr(GError) err = NULL;
    g_autoptr(GByteArray) bytes = pytorch_file();
    LobWeights *weights = parse(bytes, &err);
    cr_assert_not_null(weights, "%s", err ? err->message : "");
    const LobTensor *qkv = lob_weights_find(weights, "blocks.1.attn.qkv.weight");
    cr_assert(qkv && qkv->ndim == 2 && qkv->shape[0] == 48 && qkv->shape[1] == 16 &&
              qkv->dtype == LOB_DTYPE_F16);
    forget(weights);
}

/* Whatever the cut, a message, never a crash or half a network. */
Test(weights, truncated_pytorch_files) {
    g_autoptr(GByteArray) bytes = pytorch_file();
    for (guint cut = 4; cut < bytes->len; cut += 97) {
        g_autoptr(GError) err = NULL;
        g_autofree uint8_t *copy = g_memdup2(bytes->data, cut);
        cr_assert_null(lob_weights_from_bytes("file", copy, cut, &err), "cut at %u", cut);
        cr_assert(g_error_matches(err, LOB_ERROR, LOB_ERROR_INPUT));
    }
}

/* The archive's pickle with some bytes replaced, as an attacker would. */
Test(weights, pickles_cannot_run_code) {
    const struct {
        const char *from, *to, *message;
    } attacks[] = {
        {"ccollections\nOrderedDict", "cposix     \nsystem     ", "asks for posix"},
        {"ctorch\nHalfStorage", "cbuiltins\neval    \n", "asks for builtins eval"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(attacks); i++) {
        g_autoptr(GError) err = NULL;
        g_autoptr(GByteArray) bytes = pytorch_file();
        memcpy(bytes->data + find(bytes, attacks[i].from), attacks[i].to, strlen(attacks[i].to));
        cr_assert_null(parse(bytes, &err));
        cr_assert_not_null(strstr(err->message, attacks[i].message), "%s", err->message);
    }
    const char opcodes[] = {'i', 'o', '\x81', '\x92', 'P', '\x82', 'S', 'I', 'B', '0'};
    for (size_t i = 0; i < sizeof opcodes; i++) {
        g_autoptr(GError) err = NULL;
        g_autoptr(GByteArray) bytes = pytorch_file();
        const size_t at = find(bytes, "ctorch._utils\n_rebuild_tensor_v2");
        bytes->data[at] = (guint8)opcodes[i];
        cr_assert_null(parse(bytes, &err));
        cr_assert_not_null(strstr(err->message, "it is not run"), "%s", err->message);
    }
}

static void append_number(GByteArray *to, uint32_t value, int bytes) {
    for (int i = 0; i < bytes; i++) {
        const guint8 byte = (guint8)(value >> (8 * i));
        g_byte_array_append(to, &byte, 1);
    }
}

/* A zip whose one entry is a pickle of `count` times the instruction, each of which makes or keeps a value.
 */
static GByteArray *pickle_of(const char *instruction, size_t count) {
    static const char name[] = "a/data.pkl";
    const size_t length = strlen(instruction);
    const uint32_t size = (uint32_t)(count * length + 1), names = sizeof name - 1;
    GByteArray *zip = g_byte_array_new();
    g_byte_array_append(zip, (const guint8 *)"PK\3\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 18);
    append_number(zip, size, 4);
    append_number(zip, size, 4);
    append_number(zip, names, 4);
    g_byte_array_append(zip, (const guint8 *)name, names);
    g_byte_array_append(zip, (const guint8 *)"N", 1);
    for (size_t i = 0; i < count; i++) {
        g_byte_array_append(zip, (const guint8 *)instruction, (guint)length);
    }
    const uint32_t directory = zip->len;
    g_byte_array_append(zip, (const guint8 *)"PK\1\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
    append_number(zip, size, 4);
    append_number(zip, size, 4);
    append_number(zip, names, 4);
    append_number(zip, 0, 4);
    append_number(zip, 0, 4);
    append_number(zip, 0, 4);
    append_number(zip, 0, 2);
    g_byte_array_append(zip, (const guint8 *)name, names);
    const uint32_t end = zip->len;
    g_byte_array_append(zip, (const guint8 *)"PK\5\6\0\0\0\0\1\0\1\0", 12);
    append_number(zip, end - directory, 4);
    append_number(zip, directory, 4);
    append_number(zip, 0, 2);
    return zip;
}

/* A byte of pickle may make a value of a hundred: 64 MB must not become gigabytes. */
Test(weights, pickles_of_endless_values) {
    const char *const instructions[] = {"N", ")", "}"};
    for (size_t i = 0; i < G_N_ELEMENTS(instructions); i++) {
        g_autoptr(GError) err = NULL;
        g_autoptr(GByteArray) few = pickle_of(instructions[i], 1000);
        g_autoptr(GByteArray) many = pickle_of(instructions[i], 3 << 20);
        cr_assert_null(parse(few, &err));
        cr_assert_not_null(strstr(err->message, "damaged: no end"), "%s", err->message);
        g_clear_error(&err);
        cr_assert_null(parse(many, &err));
        cr_assert(g_error_matches(err, LOB_ERROR, LOB_ERROR_INPUT));
        cr_assert_not_null(strstr(err->message, "makes more than 2097152 values"), "%s", err->message);
    }
}

Test(weights, old_and_foreign_files) {
    const struct {
        const char *bytes;
        size_t size;
        const char *message;
    } files[] = {
        {"\x80\x02\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.", 15, "before 1.6"},
        {"PK\x03\x04", 4, "zip archive without its directory"},
        {"\x89HDF\r\n\x1a\n....", 12, "neither a safetensors file nor a PyTorch one"},
        {"x", 1, "neither"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autoptr(GError) err = NULL;
        cr_assert_null(lob_weights_from_bytes("file", (const uint8_t *)files[i].bytes, files[i].size, &err));
        cr_assert_not_null(strstr(err->message, files[i].message), "%s", err->message);
    }
}
