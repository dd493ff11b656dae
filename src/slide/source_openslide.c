/* OpenSlide as a source of pixels. Floor: 3.4.1. Plain tiles are decoded without it (tiff_tiles.c). */
#include "slide/slide_internal.h"

#include <inttypes.h>
#include <openslide.h>

typedef struct {
    openslide_t *os;
    LobTiffTiles *tiles; /* NULL: none */
} Handle;

static bool fill_levels(openslide_t *os, LobSlideInfo *info, GError **err) {
    int levels = openslide_get_level_count(os);
    if (levels < 1)
        return lob_fail(err, LOB_ERROR_SLIDE, "the slide has no image level");
    info->levels = MIN(levels, LOB_SLIDE_MAX_LEVELS);
    for (int i = 0; i < info->levels; i++) {
        openslide_get_level_dimensions(os, i, &info->level[i].width, &info->level[i].height);
        info->level[i].downsample = openslide_get_level_downsample(os, i);
        if (info->level[i].width < 1 || info->level[i].height < 1 || !(info->level[i].downsample > 0))
            return lob_fail(err, LOB_ERROR_SLIDE, "level %d of the slide has no pixels", i);
    }
    info->width = info->level[0].width;
    info->height = info->level[0].height;
    return true;
}

static void fill_bounds(openslide_t *os, LobSlideInfo *info) {
    static const char *const names[] = {OPENSLIDE_PROPERTY_NAME_BOUNDS_X, OPENSLIDE_PROPERTY_NAME_BOUNDS_Y,
                                        OPENSLIDE_PROPERTY_NAME_BOUNDS_WIDTH,
                                        OPENSLIDE_PROPERTY_NAME_BOUNDS_HEIGHT};
    const char *texts[4];
    for (size_t i = 0; i < 4; i++)
        texts[i] = openslide_get_property_value(os, names[i]);
    lob_bounds_from_texts(texts, info);
}

static void fill_properties(openslide_t *os, LobSlideInfo *info) {
    LobMppTexts texts = {
        .mpp_x = openslide_get_property_value(os, OPENSLIDE_PROPERTY_NAME_MPP_X),
        .mpp_y = openslide_get_property_value(os, OPENSLIDE_PROPERTY_NAME_MPP_Y),
        .aperio_mpp = openslide_get_property_value(os, "aperio.MPP"),
        .x_resolution = openslide_get_property_value(os, "tiff.XResolution"),
        .y_resolution = openslide_get_property_value(os, "tiff.YResolution"),
        .unit = openslide_get_property_value(os, "tiff.ResolutionUnit"),
    };
    lob_mpp_from_texts(&texts, info);
    const char *objective = openslide_get_property_value(os, OPENSLIDE_PROPERTY_NAME_OBJECTIVE_POWER);
    info->objective = objective != NULL ? g_ascii_strtod(objective, NULL) : 0;
    const char *vendor = openslide_get_property_value(os, OPENSLIDE_PROPERTY_NAME_VENDOR);
    g_strlcpy(info->vendor, vendor != NULL ? vendor : "", sizeof info->vendor);
    const char *hash = openslide_get_property_value(os, OPENSLIDE_PROPERTY_NAME_QUICKHASH1);
    g_strlcpy(info->quickhash, hash != NULL ? hash : "", sizeof info->quickhash);
}

static void *source_open(const char *path, LobSlideInfo *info, GError **err) {
    openslide_t *os = openslide_open(path);
    if (os == NULL)
        return NULL;
    const char *text = openslide_get_error(os);
    if (text != NULL) {
        lob_fail(err, LOB_ERROR_SLIDE, "OpenSlide cannot open it: %s", text);
        openslide_close(os);
        return NULL;
    }
    if (!fill_levels(os, info, err)) {
        openslide_close(os);
        return NULL;
    }
    fill_bounds(os, info);
    fill_properties(os, info);
    Handle *handle = g_new(Handle, 1);
    *handle = (Handle){os, lob_tiff_tiles_open(path, info)};
    return handle;
}

/* OpenSlide's errors stick to the handle: whatever is read after one is empty pixels. */
static bool source_read(void *data, int level, int64_t x, int64_t y, int width, int height, uint32_t *argb,
                        GError **err) {
    Handle *handle = data;
    if (handle->tiles != NULL && lob_tiff_tiles_read(handle->tiles, level, x, y, width, height, argb))
        return true;
    openslide_read_region(handle->os, argb, x, y, level, width, height);
    const char *text = openslide_get_error(handle->os);
    if (text != NULL)
        return lob_fail(err, LOB_ERROR_SLIDE, "cannot decode level %d at %" PRId64 ",%" PRId64 ": %s", level,
                        x, y, text);
    return true;
}

static void source_close(void *data) {
    Handle *handle = data;
    lob_tiff_tiles_close(handle->tiles);
    openslide_close(handle->os);
    g_free(handle);
}

const LobSlideSource lob_source_openslide = {"openslide", source_open, source_read, source_close};
