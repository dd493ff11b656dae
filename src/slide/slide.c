/* Opening, reading and closing a slide, over whatever source recognises it. */
#include "slide/slide_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct LobSlide {
    const LobSlideSource *source;
    void *handle;      /* NULL after a failed reopening */
    bool failed;       /* the last read failed; the handle is no good any more */
    LobSlideSpec spec; /* path owned */
    LobSlideInfo info;
    uint32_t *pixels; /* the last read */
    size_t capacity;  /* px */
};

/* Only regular files are opened: a FIFO would wait for a writer for ever. */
static bool look_at_file(const char *path, LobSlideInfo *info, GError **err) {
    struct stat st;
    if (stat(path, &st) != 0)
        return lob_fail_errno(err, LOB_ERROR_SLIDE, errno, "%s: the slide's file is not there", path);
    if (S_ISDIR(st.st_mode))
        return lob_fail(err, LOB_ERROR_SLIDE, "%s: a folder, not a slide's file", path);
    if (!S_ISREG(st.st_mode))
        return lob_fail(err, LOB_ERROR_SLIDE, "%s: not a regular file (a pipe, socket or device)", path);
    if (st.st_size == 0)
        return lob_fail(err, LOB_ERROR_SLIDE, "%s: the file is empty", path);
    if (access(path, R_OK) != 0)
        return lob_fail_errno(err, LOB_ERROR_SLIDE, errno, "%s: the file may not be read", path);
    info->file_size = st.st_size;
    info->file_mtime = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    return true;
}

static bool open_source(LobSlide *slide, GError **err) {
    LobSlideInfo info = {0};
    if (!look_at_file(slide->spec.path, &info, err))
        return false;
    for (size_t i = 0; lob_slide_sources[i] != NULL; i++) {
        g_autoptr(GError) reason = NULL;
        void *handle = lob_slide_sources[i]->open(slide->spec.path, &info, &reason);
        if (handle != NULL) {
            slide->source = lob_slide_sources[i];
            slide->handle = handle;
            slide->failed = false;
            slide->info = info;
            return true;
        }
        if (reason != NULL) {
            g_propagate_prefixed_error(err, g_steal_pointer(&reason), "%s: ", slide->spec.path);
            return false;
        }
    }
    if (!lob_slide_diagnose(slide->spec.path, info.file_size, err))
        g_prefix_error(err, "%s: ", slide->spec.path);
    return false;
}

static int64_t integer_or(const char *text, int64_t fallback) {
    int64_t value;
    if (text == NULL || !g_ascii_string_to_signed(text, 10, INT64_MIN, INT64_MAX, &value, NULL))
        return fallback;
    return value;
}

void lob_bounds_from_texts(const char *const texts[4], LobSlideInfo *info) {
    int64_t x = integer_or(texts[0], 0), y = integer_or(texts[1], 0);
    int64_t w = integer_or(texts[2], info->width), h = integer_or(texts[3], info->height);
    bool inside = x >= 0 && y >= 0 && x < info->width && y < info->height && w > 0 && h > 0 &&
                  w <= info->width - x && h <= info->height - y;
    info->bounds_x = inside ? x : 0;
    info->bounds_y = inside ? y : 0;
    info->bounds_width = inside ? w : info->width;
    info->bounds_height = inside ? h : info->height;
}

/* The manifest's or the center's word comes before the file's. */
static void apply_given_mpp(LobSlide *slide) {
    if (slide->spec.mpp > 0) {
        slide->info.mpp_x = slide->info.mpp_y = slide->spec.mpp;
        slide->info.mpp_source =
            slide->spec.mpp_source != LOB_MPP_UNKNOWN ? slide->spec.mpp_source : LOB_MPP_MANIFEST;
    }
}

LobSlide *lob_slide_open(const LobSlideSpec *spec, GError **err) {
    g_autoptr(LobSlide) slide = g_new0(LobSlide, 1);
    slide->spec = *spec;
    slide->spec.path = g_strdup(spec->path);
    if (!open_source(slide, err))
        return NULL;
    apply_given_mpp(slide);
    return g_steal_pointer(&slide);
}

const LobSlideInfo *lob_slide_info(const LobSlide *slide) {
    return &slide->info;
}

void lob_slide_close(LobSlide *slide) {
    if (slide == NULL)
        return;
    if (slide->handle != NULL)
        slide->source->close(slide->handle);
    g_free((char *)slide->spec.path);
    g_free(slide->pixels);
    g_free(slide);
}

bool lob_slide_reopen(LobSlide *slide, GError **err) {
    if (slide->handle != NULL)
        slide->source->close(slide->handle);
    slide->handle = NULL;
    LobSlideInfo before = slide->info;
    if (!open_source(slide, err))
        return false;
    apply_given_mpp(slide);
    if (slide->info.file_size != before.file_size || slide->info.file_mtime != before.file_mtime)
        return lob_fail(err, LOB_ERROR_SLIDE, "%s: the file was changed while it was being read",
                        slide->spec.path);
    return true;
}

/* Premultiplied ARGB over white, as bytes R, G, B and a fourth without meaning, in place. */
static void over_white(uint32_t *pixels, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint32_t p = pixels[i], white = 255 - (p >> 24);
        uint32_t r = MIN(((p >> 16) & 255) + white, 255);
        uint32_t g = MIN(((p >> 8) & 255) + white, 255);
        uint32_t b = MIN((p & 255) + white, 255);
        pixels[i] = GUINT32_TO_LE(r | g << 8 | b << 16);
    }
}

const uint8_t *lob_slide_read_rgbx(LobSlide *slide, int level, int64_t x, int64_t y, int width, int height,
                                   GError **err) {
    if (slide->handle == NULL || slide->failed) {
        lob_fail(err, LOB_ERROR_INTERNAL, "%s: read after an error without reopening", slide->spec.path);
        return NULL;
    }
    if (level < 0 || level >= slide->info.levels || width < 1 || height < 1) {
        lob_fail(err, LOB_ERROR_INTERNAL, "%s: no region of %d x %d px at level %d", slide->spec.path, width,
                 height, level);
        return NULL;
    }
    size_t n = (size_t)width * (size_t)height;
    if (n > slide->capacity) {
        g_free(slide->pixels);
        slide->pixels = g_new(uint32_t, n);
        slide->capacity = n;
    }
    if (!slide->source->read(slide->handle, level, x, y, width, height, slide->pixels, err)) {
        slide->failed = true;
        g_prefix_error(err, "%s: ", slide->spec.path);
        return NULL;
    }
    over_white(slide->pixels, n);
    return (const uint8_t *)slide->pixels;
}

bool lob_slide_read(LobSlide *slide, int level, int64_t x, int64_t y, int width, int height, uint8_t *rgb,
                    GError **err) {
    const uint8_t *rgbx = lob_slide_read_rgbx(slide, level, x, y, width, height, err);
    if (rgbx == NULL)
        return false;
    size_t n = (size_t)width * (size_t)height;
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < 3; c++)
            rgb[3 * i + c] = rgbx[4 * i + c];
    return true;
}
