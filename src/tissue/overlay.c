/* Pictures of an overview, its mask and its tiles. */
#include "tissue/tissue_internal.h"

#include <math.h>
#include <png.h>
#include <string.h>

bool lob_image_save_png(const char *path, const LobImage *image, GError **err) {
    png_image png = {.version = PNG_IMAGE_VERSION,
                     .width = (png_uint_32)image->width,
                     .height = (png_uint_32)image->height,
                     .format = image->channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY};
    png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(png);
    g_autofree uint8_t *bytes = g_try_malloc(size);
    if (bytes == NULL || !png_image_write_to_memory(&png, bytes, &size, 0, image->data, 0, NULL))
        return lob_fail(err, LOB_ERROR_INTERNAL, "%s: cannot write a PNG of %d x %d px: %s", path,
                        image->width, image->height, bytes != NULL ? png.message : "out of memory");
    return lob_file_replace(path, bytes, size, err);
}

/* A filled rectangle, both corners in. */
static void paint(LobImage *image, int x0, int y0, int x1, int y1, const uint8_t colour[3]) {
    for (int y = MAX(y0, 0); y <= MIN(y1, image->height - 1); y++)
        for (int x = MAX(x0, 0); x <= MIN(x1, image->width - 1); x++)
            memcpy(image->data + 3 * ((size_t)y * (size_t)image->width + (size_t)x), colour, 3);
}

static void draw_box(LobImage *image, int x0, int y0, int x1, int y1, const uint8_t colour[3]) {
    paint(image, x0, y0, x1, y0, colour);
    paint(image, x0, y1, x1, y1, colour);
    paint(image, x0, y0, x0, y1, colour);
    paint(image, x1, y0, x1, y1, colour);
}

/* Outlines and holes run along mask px; factor: picture px a mask px. */
static void draw_outlines(LobImage *picture, const LobMask *mask, const double factor[2], int pen,
                          const uint8_t colour[3]) {
    g_autoptr(GPtrArray) rings = lob_outlines_find(&mask->image);
    for (guint r = 0; r < rings->len; r++) {
        const LobOutline *ring = rings->pdata[r];
        for (size_t i = 0; i < ring->n; i++) {
            const int32_t *a = ring->xy[i], *b = ring->xy[(i + 1) % ring->n];
            int x0 = (int)lround(MIN(a[0], b[0]) * factor[0]), x1 = (int)lround(MAX(a[0], b[0]) * factor[0]);
            int y0 = (int)lround(MIN(a[1], b[1]) * factor[1]), y1 = (int)lround(MAX(a[1], b[1]) * factor[1]);
            paint(picture, x0 - pen, y0 - pen, x1 + pen - 1, y1 + pen - 1, colour);
        }
    }
}

bool lob_overlay_png(const char *path, const LobImage *overview, const LobMask *mask, const LobGrid *grid,
                     double tile_w, double tile_h, GError **err) {
    static const uint8_t blue[3] = {30, 90, 220}, green[3] = {0, 160, 60};
    const double factor[2] = {(double)overview->width / mask->image.width,
                              (double)overview->height / mask->image.height};
    const double scale_x = mask->scale_x / factor[0], scale_y = mask->scale_y / factor[1];
    g_auto(LobImage) picture = {0};
    lob_image_init(&picture, overview->width, overview->height, 3);
    memcpy(picture.data, overview->data, 3 * (size_t)overview->width * (size_t)overview->height);
    for (size_t i = 0; grid && i < grid->n; i++) {
        double x = (double)(grid->xy[i][0] - mask->origin_x) / scale_x;
        double y = (double)(grid->xy[i][1] - mask->origin_y) / scale_y;
        draw_box(&picture, (int)lround(x), (int)lround(y), (int)lround(x + tile_w / scale_x),
                 (int)lround(y + tile_h / scale_y), blue);
    }
    draw_outlines(&picture, mask, factor, 1, green);
    return lob_image_save_png(path, &picture, err);
}
