/* A float32 matrix as torch.save writes a tensor, for CLAM, which trains from pt_files/<slide_id>.pt: a zip
 * archive (stored, not deflated) of a pickle that names the tensor's shape and of its bytes, aligned to 64.
 */
#include "hdf5io/feature_file.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ALIGNMENT 64
#define LOCAL_HEADER 30
#define MOST_BYTES ((uint64_t)UINT32_MAX - (1 << 20)) /* a plain zip's offsets are 32 bits */

/* CRC-32 of zip (IEEE 802.3, reflected), a byte at a time. */
static uint32_t zip_crc(const void *data, size_t size) {
    uint32_t table[256], crc = 0xffffffffu;
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320u : 0);
    }
    for (const uint8_t *byte = data, *end = byte + size; byte < end; byte++)
        crc = crc >> 8 ^ table[(crc ^ *byte) & 255];
    return ~crc;
}

static void put16(GByteArray *out, uint32_t value) {
    const guint8 bytes[2] = {(guint8)value, (guint8)(value >> 8)};
    g_byte_array_append(out, bytes, 2);
}

static void put32(GByteArray *out, uint32_t value) {
    put16(out, value & 0xffff);
    put16(out, value >> 16);
}

static void put_bytes(GByteArray *out, const char *bytes, size_t size) {
    g_byte_array_append(out, (const guint8 *)bytes, (guint)size);
}

static void put_name(GByteArray *out, const char *text) {
    put_bytes(out, text, strlen(text));
}

/* ---- the pickle (protocol 2): _rebuild_tensor_v2(storage, 0, (n, dim), (dim, 1), False, OrderedDict()) ----
 */

static void pickle_text(GByteArray *out, const char *text) {
    put_bytes(out, "X", 1);
    put32(out, (uint32_t)strlen(text));
    put_name(out, text);
}

/* LONG1 of eight bytes; below 2^63, so that the sign is positive. */
static void pickle_count(GByteArray *out, uint64_t value) {
    put_bytes(out, "\x8a\x08", 2);
    put32(out, (uint32_t)value);
    put32(out, (uint32_t)(value >> 32));
}

static GByteArray *pickle_tensor(uint64_t n, uint64_t dim) {
    GByteArray *out = g_byte_array_new();
    put_bytes(out, "\x80\x02", 2);
    put_name(out, "ctorch._utils\n_rebuild_tensor_v2\n((");
    pickle_text(out, "storage");
    put_name(out, "ctorch\nFloatStorage\n");
    pickle_text(out, "0");
    pickle_text(out, "cpu");
    pickle_count(out, n * dim);
    put_bytes(out, "tQK\0", 4);
    pickle_count(out, n);
    pickle_count(out, dim);
    put_bytes(out, "\x86", 1);
    pickle_count(out, dim);
    pickle_count(out, 1);
    put_bytes(out, "\x86\x89", 2);
    put_name(out, "ccollections\nOrderedDict\n)RtR.");
    return out;
}

/* ---- the archive ---- */

typedef struct {
    FILE *file;
    uint64_t at;
    GByteArray *directory;
    unsigned entries;
} Archive;

static void put_entry_facts(GByteArray *out, uint32_t crc, size_t size, size_t name, size_t extra) {
    put16(out, 20); /* version needed */
    put16(out, 0);  /* flags */
    put16(out, 0);  /* stored */
    put16(out, 0);  /* time and date: 1980-01-01, so that equal features are equal files */
    put16(out, 0x21);
    put32(out, crc);
    put32(out, (uint32_t)size);
    put32(out, (uint32_t)size);
    put16(out, (uint32_t)name);
    put16(out, (uint32_t)extra);
}

static bool add_entry(Archive *archive, const char *name, const void *data, size_t size) {
    g_autoptr(GByteArray) header = g_byte_array_new();
    size_t length = strlen(name);
    uint64_t start = archive->at + LOCAL_HEADER + length + 4; /* 4: id and length of the padding field */
    size_t padding = (ALIGNMENT - start % ALIGNMENT) % ALIGNMENT;
    uint32_t crc = zip_crc(data, size);
    put_bytes(header, "PK\3\4", 4);
    put_entry_facts(header, crc, size, length, padding + 4);
    put_name(header, name);
    put_bytes(header, "FB", 2);
    put16(header, (uint32_t)padding);
    g_byte_array_set_size(header, header->len + (guint)padding);
    memset(header->data + header->len - padding, 'Z', padding);

    put_bytes(archive->directory, "PK\1\2", 4);
    put16(archive->directory, 20); /* version made by */
    put_entry_facts(archive->directory, crc, size, length, 0);
    put16(archive->directory, 0); /* comment */
    put16(archive->directory, 0); /* disk */
    put16(archive->directory, 0); /* attributes */
    put32(archive->directory, 0);
    put32(archive->directory, (uint32_t)archive->at);
    put_name(archive->directory, name);
    archive->entries++;
    archive->at += header->len + size;
    return fwrite(header->data, 1, header->len, archive->file) == header->len &&
           (size == 0 || fwrite(data, 1, size, archive->file) == size);
}

static bool close_archive(Archive *archive) {
    uint32_t size = archive->directory->len;
    put_bytes(archive->directory, "PK\5\6", 4);
    put16(archive->directory, 0);
    put16(archive->directory, 0);
    put16(archive->directory, archive->entries);
    put16(archive->directory, archive->entries);
    put32(archive->directory, size);
    put32(archive->directory, (uint32_t)archive->at);
    put16(archive->directory, 0);
    return fwrite(archive->directory->data, 1, archive->directory->len, archive->file) ==
           archive->directory->len;
}

bool lob_torch_file_write(const char *path, const float *features, size_t n, size_t dim, GError **err) {
    g_autoptr(GByteArray) pickle = pickle_tensor(n, dim);
    g_autoptr(GByteArray) directory = g_byte_array_new();
    if (n * dim * sizeof *features > MOST_BYTES)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: %zu tiles of %zu features pass the 4 GiB of a .pt file",
                        path, n, dim);
    Archive archive = {.file = fopen(path, "wbe"), .directory = directory};
    if (!archive.file)
        return lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot create", path);
    bool ok = add_entry(&archive, "archive/data.pkl", pickle->data, pickle->len) &&
              add_entry(&archive, "archive/byteorder", "little", 6) &&
              add_entry(&archive, "archive/data/0", features, n * dim * sizeof *features) &&
              add_entry(&archive, "archive/version", "3\n", 2) && close_archive(&archive);
    int errnum = errno;
    if (fclose(archive.file) != 0 && ok) {
        ok = false;
        errnum = errno;
    }
    return ok || lob_fail_errno(err, LOB_ERROR_IO, errnum, "%s: cannot write", path);
}
