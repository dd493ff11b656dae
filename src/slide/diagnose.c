/* Why a file is not a slide, in words of use to whoever has to repair or replace it. */
#include "slide/slide_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Unsigned integer of `size` bytes. */
static uint64_t integer(const uint8_t *p, int size, bool big_endian) {
    uint64_t value = 0;
    for (int i = 0; i < size; i++)
        value |= (uint64_t)p[big_endian ? size - 1 - i : i] << (8 * i);
    return value;
}

/* Offset of a TIFF's first directory; 0: not a TIFF. */
static uint64_t tiff_directory(const uint8_t head[16]) {
    bool big_endian = head[0] == 'M' && head[1] == 'M';
    if (!big_endian && !(head[0] == 'I' && head[1] == 'I'))
        return 0;
    uint64_t magic = integer(head + 2, 2, big_endian);
    if (magic == 42)
        return integer(head + 4, 4, big_endian);
    return magic == 43 ? integer(head + 8, 8, big_endian) : 0;
}

static const char *picture_name(const uint8_t head[16]) {
    if (memcmp(head, "\xFF\xD8\xFF", 3) == 0)
        return "JPEG";
    if (memcmp(head, "\x89PNG", 4) == 0)
        return "PNG";
    if (memcmp(head, "BM", 2) == 0)
        return "BMP";
    if (memcmp(head, "%PDF", 4) == 0)
        return "PDF";
    if (memcmp(head, "PK\x03\x04", 4) == 0)
        return "ZIP";
    return NULL;
}

bool lob_slide_diagnose(const char *path, int64_t size, GError **err) {
    uint8_t head[16] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return lob_fail_errno(err, LOB_ERROR_SLIDE, errno, "the file cannot be read");
    ssize_t got = read(fd, head, sizeof head);
    int cause = errno;
    close(fd);
    if (got < 0)
        return lob_fail_errno(err, LOB_ERROR_SLIDE, cause, "the file cannot be read");
    const char *picture = picture_name(head);
    if (picture != NULL)
        return lob_fail(
            err, LOB_ERROR_SLIDE,
            "not a slide: a %s file, whatever its name says; convert it to a tiled pyramidal TIFF", picture);
    uint64_t directory = tiff_directory(head);
    if (directory == 0)
        return lob_fail(err, LOB_ERROR_SLIDE, "not a slide in any format that OpenSlide recognises");
    if (directory + 2 > (uint64_t)size)
        return lob_fail(err, LOB_ERROR_SLIDE,
                        "truncated: the TIFF's directory should be at byte %" G_GUINT64_FORMAT
                        " but the file ends at %" G_GINT64_FORMAT "; copy it again",
                        directory, size);
    return lob_fail(
        err, LOB_ERROR_SLIDE,
        "a TIFF, but not one that OpenSlide reads as a slide: damaged, truncated, or not tiled; copy "
        "it again, or convert it to a tiled pyramidal TIFF");
}
