#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

/* The Castagnoli polynomial 0x1EDC6F41, bits reversed. */
#define CRC32C_POLYNOMIAL UINT32_C(0x82F63B78)

static const uint32_t *crc_table(void) {
    static uint32_t table[256];
    static gsize ready;
    if (g_once_init_enter(&ready)) {
        for (uint32_t byte = 0; byte < 256; byte++) {
            uint32_t crc = byte;
            for (int bit = 0; bit < 8; bit++)
                crc = (crc >> 1) ^ ((crc & 1U) ? CRC32C_POLYNOMIAL : 0U);
            table[byte] = crc;
        }
        g_once_init_leave(&ready, 1);
    }
    return table;
}

uint32_t lob_crc32c_reference(uint32_t crc, const void *data, size_t size) {
    const uint32_t *table = crc_table();
    const uint8_t *p = data;
    crc = ~crc;
    for (size_t i = 0; i < size; i++)
        crc = (crc >> 8) ^ table[(crc ^ p[i]) & 0xFFU];
    return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, const void *data, size_t size) {
    const uint8_t *p = data;
    uint64_t state = ~crc;
    for (; size >= 8; size -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, sizeof word);
        state = _mm_crc32_u64(state, word);
    }
    uint32_t tail = (uint32_t)state;
    for (; size > 0; size--, p++)
        tail = _mm_crc32_u8(tail, *p);
    return ~tail;
}
#endif

uint32_t lob_crc32c(uint32_t crc, const void *data, size_t size) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return crc32c_sse42(crc, data, size);
#endif
    return lob_crc32c_reference(crc, data, size);
}

static char *hex(const unsigned char *digest, unsigned size) {
    GString *text = g_string_sized_new(2 * size + 1);
    for (unsigned i = 0; i < size; i++)
        g_string_append_printf(text, "%02x", digest[i]);
    return g_string_free(text, FALSE);
}

typedef EVP_MD_CTX DigestContext;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DigestContext, EVP_MD_CTX_free)

char *lob_sha256_bytes(const void *data, size_t size) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if (EVP_Digest(data, size, digest, &length, EVP_sha256(), NULL) != 1)
        g_error("libcrypto offers no SHA-256");
    return hex(digest, length);
}

static bool digest_descriptor(int fd, const char *path, EVP_MD_CTX *context, GError **err) {
    const size_t block = (size_t)1 << 20;
    g_autofree unsigned char *buffer = g_malloc(block);
    for (;;) {
        ssize_t got = read(fd, buffer, block);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot read", path);
        if (got == 0)
            return true;
        if (EVP_DigestUpdate(context, buffer, (size_t)got) != 1)
            return lob_fail(err, LOB_ERROR_INTERNAL, "%s: libcrypto cannot compute SHA-256", path);
    }
}

char *lob_sha256_file(const char *path, GError **err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        lob_fail_errno(err, LOB_ERROR_INPUT, errno, "%s: cannot open", path);
        return NULL;
    }
    g_autoptr(DigestContext) context = EVP_MD_CTX_new();
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    char *text = NULL;
    if (context == NULL || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1)
        lob_fail(err, LOB_ERROR_INTERNAL, "libcrypto offers no SHA-256");
    else if (digest_descriptor(fd, path, context, err)) {
        if (EVP_DigestFinal_ex(context, digest, &length) == 1)
            text = hex(digest, length);
        else
            lob_fail(err, LOB_ERROR_INTERNAL, "%s: libcrypto cannot compute SHA-256", path);
    }
    close(fd);
    return text;
}
