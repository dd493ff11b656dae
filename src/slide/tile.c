/* Tiles and overviews: which pixels of which level, and how they become the wanted scale. */
#include "slide/slide_internal.h"

#include <math.h>
#include <string.h>

#define BLOCK_PIXELS 4096      /* side of the blocks an overview is read in, px of the level */
#define LEAST_BLOCK_PIXELS 256 /* unreadable blocks are halved down to this */
#define MOST_FAILURES 1000     /* after so many unreadable blocks no more are halved */
#define OVERVIEW_PIXELS 2.5e8  /* most px an overview may have */

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
 * processor's cache, more; and where tiles are decoded without it, a cache keeps what neighbours share. */
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

typedef struct {
    LobSlide *slide;
    const LobOverviewSink *sink;
    double scale[2];
    int level, failures;
    bool any; /* a block was read */
    GError *reason;
} Filling;

/* Reads one block at a level; after an error the slide is open again. False without an error only where
 * blocks may be missing. */
static bool try_block(Filling *f, const int block[4], int level, GError **err) {
    g_autoptr(GError) reason = NULL;
    if (f->sink->beat != NULL)
        f->sink->beat(f->sink->user);
    if (overview_block(f->slide, block, f->scale, level, f->sink->width, f->sink->rgb, &reason)) {
        f->any = true;
        return true;
    }
    if (f->sink->unknown == NULL) {
        g_propagate_error(err, g_steal_pointer(&reason));
        return false;
    }
    f->failures++;
    if (f->reason == NULL)
        f->reason = g_steal_pointer(&reason);
    lob_slide_reopen(f->slide, err);
    return false;
}

/* Finer levels hold the same place, in other tiles. */
static bool try_finer(Filling *f, const int block[4], GError **err) {
    const LobSlideInfo *info = lob_slide_info(f->slide);
    double side = MAX((block[2] - block[0]) * f->scale[0], (block[3] - block[1]) * f->scale[1]);
    for (int l = f->level - 1; l >= 0 && side / info->level[l].downsample <= BLOCK_PIXELS; l--) {
        GError *lost = NULL;
        if (try_block(f, block, l, &lost))
            return true;
        if (lost != NULL) {
            g_propagate_error(err, lost);
            return false;
        }
    }
    return false;
}

static void mark_unknown(const Filling *f, const int block[4]) {
    size_t width = (size_t)f->sink->width, columns = (size_t)(block[2] - block[0]);
    for (int r = block[1]; r < block[3]; r++) {
        size_t at = (size_t)r * width + (size_t)block[0];
        memset(f->sink->unknown + at, 255, columns);
        memset(f->sink->rgb + 3 * at, 255, 3 * columns);
    }
}

/* What cannot be read is halved until it is small, then marked. False: the slide is lost, or where nothing
 * may be missing. */
static bool fill_block(Filling *f, const int block[4], GError **err) {
    GError *lost = NULL;
    if (try_block(f, block, f->level, &lost))
        return true;
    double d = lob_slide_info(f->slide)->level[f->level].downsample;
    int columns = block[2] - block[0], rows = block[3] - block[1];
    double across = columns * f->scale[0] / d, down = rows * f->scale[1] / d;
    bool small = MAX(across, down) <= LEAST_BLOCK_PIXELS || (columns == 1 && rows == 1);
    if (lost == NULL && (small || f->failures > MOST_FAILURES)) {
        if (f->failures <= MOST_FAILURES && try_finer(f, block, &lost))
            return true;
        if (lost == NULL) {
            mark_unknown(f, block);
            return true;
        }
    }
    if (lost != NULL) {
        g_propagate_error(err, lost);
        return false;
    }
    bool upright = rows > 1 && (down >= across || columns == 1);
    int middle = upright ? block[1] + rows / 2 : block[0] + columns / 2;
    int first[4] = {block[0], block[1], upright ? block[2] : middle, upright ? middle : block[3]};
    int second[4] = {upright ? block[0] : middle, upright ? middle : block[1], block[2], block[3]};
    return fill_block(f, first, err) && fill_block(f, second, err);
}

bool lob_overview_fill(LobSlide *slide, const LobOverviewSink *sink, GError **err) {
    const LobSlideInfo *info = lob_slide_info(slide);
    Filling f = {.slide = slide, .sink = sink};
    if (sink->unknown != NULL)
        memset(sink->unknown, 0, (size_t)sink->width * (size_t)sink->height);
    f.scale[0] = (double)info->bounds_width / sink->width;
    f.scale[1] = (double)info->bounds_height / sink->height;
    f.level = lob_slide_level_for(info, MIN(f.scale[0], f.scale[1]));
    double d = info->level[f.level].downsample;
    int columns = (int)MAX(1.0, floor(BLOCK_PIXELS * d / f.scale[0]));
    int rows = (int)MAX(1.0, floor(BLOCK_PIXELS * d / f.scale[1]));
    bool ok = true;
    for (int r = 0; ok && r < sink->height; r += rows)
        for (int c = 0; ok && c < sink->width; c += columns) {
            int block[4] = {c, r, MIN(c + columns, sink->width), MIN(r + rows, sink->height)};
            ok = fill_block(&f, block, err);
        }
    if (ok && !f.any) {
        g_propagate_error(err, g_steal_pointer(&f.reason));
        ok = false;
    }
    g_clear_error(&f.reason);
    return ok;
}

bool lob_slide_overview(LobSlide *slide, double mpp, LobImage *image, double *scale_x, double *scale_y,
                        GError **err) {
    int width = 0, height = 0;
    if (!lob_overview_size(lob_slide_info(slide), mpp, &width, &height, scale_x, scale_y, err))
        return false;
    lob_image_init(image, width, height, 3);
    LobOverviewSink sink = {.width = width, .height = height, .rgb = image->data};
    if (lob_overview_fill(slide, &sink, err))
        return true;
    lob_image_clear(image);
    return false;
}
