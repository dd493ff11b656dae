#include "encoder/weights_zip.h"

#include <string.h>

enum {
    END_SIZE = 22,
    END64_LOCATOR_SIZE = 20,
    END64_SIZE = 56,
    CENTRAL_SIZE = 46,
    LOCAL_SIZE = 30,
    MAX_COMMENT = 65535,
};
static const uint32_t END_MAGIC = 0x06054b50, END64_LOCATOR_MAGIC = 0x07064b50, END64_MAGIC = 0x06064b50,
                      CENTRAL_MAGIC = 0x02014b50, LOCAL_MAGIC = 0x04034b50;

typedef struct {
    const char *label;
    const uint8_t *map;
    size_t size;
} Zip;

static uint64_t number(const uint8_t *p, int bytes) {
    uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; i--) {
        value = value << 8 | p[i];
    }
    return value;
}

static uint32_t u32(const uint8_t *p) {
    return (uint32_t)number(p, 4);
}

static uint16_t u16(const uint8_t *p) {
    return (uint16_t)number(p, 2);
}

/* `count` bytes at `at`, or NULL where they are not all inside the file. */
static const uint8_t *bytes_at(const Zip *zip, uint64_t at, uint64_t count) {
    return at <= zip->size && count <= zip->size - at ? zip->map + at : NULL;
}

/* Where the central directory begins and how many entries it has. */
static bool find_directory(const Zip *zip, uint64_t *at, uint64_t *entries) {
    const size_t least = zip->size > END_SIZE + MAX_COMMENT ? zip->size - END_SIZE - MAX_COMMENT : 0;
    for (size_t end = zip->size >= END_SIZE ? zip->size - END_SIZE + 1 : 0; end-- > least;) {
        const uint8_t *p = zip->map + end;
        if (u32(p) != END_MAGIC) {
            continue;
        }
        *entries = u16(p + 10);
        *at = u32(p + 16);
        if (*entries != 0xffff && *at != 0xffffffff) {
            return true;
        }
        const uint8_t *locator = end >= END64_LOCATOR_SIZE ? p - END64_LOCATOR_SIZE : NULL;
        if (!locator || u32(locator) != END64_LOCATOR_MAGIC) {
            return false;
        }
        const uint8_t *wide = bytes_at(zip, number(locator + 8, 8), END64_SIZE);
        if (!wide || u32(wide) != END64_MAGIC) {
            return false;
        }
        *entries = number(wide + 32, 8);
        *at = number(wide + 48, 8);
        return true;
    }
    return false;
}

typedef struct {
    uint64_t packed, unpacked, offset;
    uint16_t method;
} Central;

/* Values that do not fit 32 bits are in the extra field with tag 1, in this order. */
static bool read_wide(const uint8_t *extra, size_t length, Central *c) {
    while (length >= 4) {
        const size_t size = u16(extra + 2);
        if (size > length - 4) {
            return false;
        }
        if (u16(extra) == 1) {
            uint64_t *fields[] = {&c->unpacked, &c->packed, &c->offset};
            size_t used = 0;
            for (size_t i = 0; i < G_N_ELEMENTS(fields); i++) {
                if (*fields[i] == 0xffffffff) {
                    if (used + 8 > size) {
                        return false;
                    }
                    *fields[i] = number(extra + 4 + used, 8);
                    used += 8;
                }
            }
            return true;
        }
        extra += 4 + size;
        length -= 4 + size;
    }
    return c->packed != 0xffffffff && c->unpacked != 0xffffffff && c->offset != 0xffffffff;
}

static bool read_entry(const Zip *zip, uint64_t *at, GHashTable *entries, GError **err) {
    const uint8_t *p = bytes_at(zip, *at, CENTRAL_SIZE);
    if (!p || u32(p) != CENTRAL_MAGIC) {
        return lob_fail(err, LOB_ERROR_INPUT, "%s: its zip directory is damaged", zip->label);
    }
    const size_t name = u16(p + 28), extra = u16(p + 30), comment = u16(p + 32);
    const uint8_t *text = bytes_at(zip, *at + CENTRAL_SIZE, name + extra + comment);
    Central c = {
        .method = u16(p + 10), .packed = u32(p + 20), .unpacked = u32(p + 24), .offset = u32(p + 42)};
    if (!text || !read_wide(text + name, extra, &c)) {
        return lob_fail(err, LOB_ERROR_INPUT, "%s: its zip directory is damaged", zip->label);
    }
    g_autofree char *key = g_strndup((const char *)text, name);
    const uint8_t *local = bytes_at(zip, c.offset, LOCAL_SIZE);
    if (c.method != 0 || c.packed != c.unpacked) {
        return lob_fail(err, LOB_ERROR_INPUT, "%s: entry %s is compressed; PyTorch stores its entries",
                        zip->label, key);
    }
    const uint64_t begin = local ? c.offset + LOCAL_SIZE + u16(local + 26) + u16(local + 28) : 0;
    const uint8_t *data = local && u32(local) == LOCAL_MAGIC ? bytes_at(zip, begin, c.unpacked) : NULL;
    if (!data) {
        return lob_fail(err, LOB_ERROR_INPUT, "%s: entry %s lies outside the file (truncated?)", zip->label,
                        key);
    }
    LobZipEntry *entry = g_new(LobZipEntry, 1);
    *entry = (LobZipEntry){data, (size_t)c.unpacked};
    g_hash_table_insert(entries, g_steal_pointer(&key), entry);
    *at += CENTRAL_SIZE + name + extra + comment;
    return true;
}

GHashTable *lob_zip_entries(const char *label, const uint8_t *map, size_t size, GError **err) {
    const Zip zip = {label, map, size};
    uint64_t at = 0, count = 0;
    if (!find_directory(&zip, &at, &count)) {
        lob_fail(err, LOB_ERROR_INPUT, "%s: a zip archive without its directory (truncated?)", label);
        return NULL;
    }
    g_autoptr(GHashTable) entries = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    for (uint64_t i = 0; i < count; i++) {
        if (!read_entry(&zip, &at, entries, err)) {
            return NULL;
        }
    }
    return g_steal_pointer(&entries);
}
