/* Pictures of an overview, its mask and its tiles. */
#include "tissue/tissue.h"

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

static void paint(LobImage *image, int x, int y, const uint8_t colour[3]) {
    if (x >= 0 && y >= 0 && x < image->width && y < image->height)
        memcpy(image->data + 3 * ((size_t)y * (size_t)image->width + (size_t)x), colour, 3);
}

static void draw_box(LobImage *image, int x0, int y0, int x1, int y1, const uint8_t colour[3]) {
    for (int x = x0; x <= x1; x++) {
        paint(image, x, y0, colour);
        paint(image, x, y1, colour);
    }
    for (int y = y0; y <= y1; y++) {
        paint(image, x0, y, colour);
        paint(image, x1, y, colour);
    }
}

/* Mask pixels with a neighbour that is not tissue. */
static void draw_outline(LobImage *image, const LobImage *mask, const uint8_t colour[3]) {
    int width = mask->width;
    for (int y = 0; y < mask->height; y++)
        for (int x = 0; x < width; x++) {
            const uint8_t *p = mask->data + (size_t)y * (size_t)width + (size_t)x;
            bool edge = x == 0 || y == 0 || x + 1 == width || y + 1 == mask->height || !p[-1] || !p[1] ||
                        !p[-width] || !p[width];
            if (*p && edge)
                paint(image, x, y, colour);
        }
}

bool lob_overlay_png(const char *path, const LobImage *overview, const LobMask *mask, const LobGrid *grid,
                     double tile_w, double tile_h, GError **err) {
    static const uint8_t blue[3] = {30, 90, 220}, green[3] = {0, 160, 60};
    g_auto(LobImage) picture = {0};
    lob_image_init(&picture, overview->width, overview->height, 3);
    memcpy(picture.data, overview->data, 3 * (size_t)overview->width * (size_t)overview->height);
    for (size_t i = 0; i < grid->n; i++) {
        double x = (double)(grid->xy[i][0] - mask->origin_x) / mask->scale_x;
        double y = (double)(grid->xy[i][1] - mask->origin_y) / mask->scale_y;
        draw_box(&picture, (int)lround(x), (int)lround(y), (int)lround(x + tile_w / mask->scale_x),
                 (int)lround(y + tile_h / mask->scale_y), blue);
    }
    draw_outline(&picture, &mask->image, green);
    return lob_image_save_png(path, &picture, err);
}
