/* Tiles and overviews: which pixels of which level, and how they become the wanted scale. */
#include "slide/slide_internal.h"

#include <math.h>
#include <string.h>

#define BLOCK_PIXELS 4096     /* side of the blocks an overview is read in, px of the level */
#define OVERVIEW_PIXELS 2.5e8 /* most px an overview may have */

/* The pixels of a level under a rectangle of level 0. */
typedef struct {
    int64_t column, row; /* first px of the level */
    int width, height;   /* px of the level */
    int64_t x, y;        /* level-0 px to ask the source for */
    double x0, y0, w, h; /* the rectangle in px, from the first pixel */
} Window;

/* The first pixel is placed on a whole pixel of the level, so that the source need not interpolate; what
 * rounding to level-0 pixels leaves over goes into x0, y0. */
static void window_of(const LobSlideInfo *info, int level, double x, double y, double w, double h,
                      Window *win) {
    double d = info->level[level].downsample;
    int64_t columns = info->level[level].width, rows = info->level[level].height;
    win->column = CLAMP((int64_t)floor(x / d + 1e-9), 0, columns - 1);
    win->row = CLAMP((int64_t)floor(y / d + 1e-9), 0, rows - 1);
    win->x = llround((double)win->column * d);
    win->y = llround((double)win->row * d);
    win->x0 = MAX((x - (double)win->x) / d, 0.0);
    win->y0 = MAX((y - (double)win->y) / d, 0.0);
    win->w = w / d;
    win->h = h / d;
    win->width = (int)CLAMP((int64_t)ceil(win->x0 + win->w - 1e-6), 1, columns - win->column);
    win->height = (int)CLAMP((int64_t)ceil(win->y0 + win->h - 1e-6), 1, rows - win->row);
}

/* One read a tile: rows of tiles read as one region cost OpenSlide as much or, being wider than the
 * processor's cache, more (tests/integration/read_speed.c). */
bool lob_slide_tile(LobSlide *slide, const LobTileSpec *spec, int64_t x, int64_t y, uint8_t *rgb,
                    GError **err) {
    const LobSlideInfo *info = lob_slide_info(slide);
    double tile_width, tile_height, step_x, step_y;
    if (!lob_tile_footprint(info, spec, &tile_width, &tile_height, &step_x, &step_y, err))
        return false;
    int level = lob_slide_best_level(info, spec->mpp);
    Window win;
    window_of(info, level, (double)x, (double)y, tile_width, tile_height, &win);
    const uint8_t *pixels = lob_slide_read_rgbx(slide, level, win.x, win.y, win.width, win.height, err);
    if (pixels == NULL)
        return false;
    lob_resample_rgbx(pixels, win.width, win.height, (size_t)win.width, win.x0, win.y0, win.w, win.h, rgb,
                      spec->size, spec->size);
    return true;
}

bool lob_overview_size(const LobSlideInfo *info, double mpp, int *width, int *height, double *scale_x,
                       double *scale_y, GError **err) {
    double w = (double)info->bounds_width, h = (double)info->bounds_height;
    double sx = MAX(64.0, MAX(w, h) / 2048), sy = sx;
    if (mpp > 0 && info->mpp_x > 0 && info->mpp_y > 0) {
        sx = mpp / info->mpp_x;
        sy = mpp / info->mpp_y;
    }
    double columns = MAX(1.0, round(w / sx)), rows = MAX(1.0, round(h / sy));
    if (columns * rows > OVERVIEW_PIXELS)
        return lob_fail(err, LOB_ERROR_SLIDE,
                        "an overview of %.0f x %.0f px would be needed at %g um per pixel: too large; is the "
                        "slide's scale of %g um per pixel right?",
                        columns, rows, mpp, info->mpp_x);
    *width = (int)columns;
    *height = (int)rows;
    *scale_x = w / columns;
    *scale_y = h / rows;
    return true;
}

/* Output columns [c0, c1) x rows [r0, r1): read with the filter's reach around, resampled into place. */
static bool overview_block(LobSlide *slide, const int block[4], const double scale[2], int level, int width,
                           uint8_t *rgb, GError **err) {
    const LobSlideInfo *info = lob_slide_info(slide);
    double d = info->level[level].downsample, bx = (double)info->bounds_x, by = (double)info->bounds_y;
    double reach_x = MAX(scale[0], d) + d, reach_y = MAX(scale[1], d) + d;
    double left = bx + block[0] * scale[0], top = by + block[1] * scale[1];
    double w = (block[2] - block[0]) * scale[0], h = (block[3] - block[1]) * scale[1];
    double x = MAX(left - reach_x, bx), y = MAX(top - reach_y, by);
    double right = MIN(left + w + reach_x, bx + (double)info->bounds_width);
    double bottom = MIN(top + h + reach_y, by + (double)info->bounds_height);
    Window win;
    window_of(info, level, x, y, right - x, bottom - y, &win);
    const uint8_t *pixels = lob_slide_read_rgbx(slide, level, win.x, win.y, win.width, win.height, err);
    if (pixels == NULL)
        return false;
    int columns = block[2] - block[0], rows = block[3] - block[1];
    g_autofree uint8_t *part = g_malloc(3 * (size_t)columns * (size_t)rows);
    lob_resample_rgbx(pixels, win.width, win.height, (size_t)win.width, (left - (double)win.x) / d,
                      (top - (double)win.y) / d, w / d, h / d, part, columns, rows);
    for (int r = 0; r < rows; r++)
        memcpy(rgb + 3 * ((size_t)(block[1] + r) * (size_t)width + (size_t)block[0]),
               part + 3 * (size_t)r * (size_t)columns, 3 * (size_t)columns);
    return true;
}

bool lob_overview_fill(LobSlide *slide, int width, int height, uint8_t *rgb, void (*beat)(void *), void *user,
                       GError **err) {
    const LobSlideInfo *info = lob_slide_info(slide);
    double scale[2] = {(double)info->bounds_width / width, (double)info->bounds_height / height};
    int level = lob_slide_level_for(info, MIN(scale[0], scale[1]));
    double d = info->level[level].downsample;
    int columns = (int)MAX(1.0, floor(BLOCK_PIXELS * d / scale[0]));
    int rows = (int)MAX(1.0, floor(BLOCK_PIXELS * d / scale[1]));
    for (int r = 0; r < height; r += rows)
        for (int c = 0; c < width; c += columns) {
            int block[4] = {c, r, MIN(c + columns, width), MIN(r + rows, height)};
            if (beat != NULL)
                beat(user);
            if (!overview_block(slide, block, scale, level, width, rgb, err))
                return false;
        }
    return true;
}

bool lob_slide_overview(LobSlide *slide, double mpp, LobImage *image, double *scale_x, double *scale_y,
                        GError **err) {
    int width = 0, height = 0;
    if (!lob_overview_size(lob_slide_info(slide), mpp, &width, &height, scale_x, scale_y, err))
        return false;
    lob_image_init(image, width, height, 3);
    if (lob_overview_fill(slide, width, height, image->data, NULL, NULL, err))
        return true;
    lob_image_clear(image);
    return false;
}
