#include "report/picture.h"
#include "slide/jpeg.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define QUALITY 82
#define PLAIN 0.93 /* grey of what is not drawn */

void lob_picture_init(LobPicture *p, double x, double y, double width, double height, int most) {
    const double scale = fmax(fmax(width, height) / most, 1e-9);
    *p = (LobPicture){.x = x,
                      .y = y,
                      .scale = scale,
                      .width = MAX(1, (int)ceil(width / scale)),
                      .height = MAX(1, (int)ceil(height / scale))};
    p->surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, p->width, p->height);
    cairo_t *cairo = cairo_create(p->surface);
    cairo_set_source_rgb(cairo, PLAIN, PLAIN, PLAIN);
    cairo_paint(cairo);
    cairo_destroy(cairo);
}

void lob_picture_clear(LobPicture *p) {
    if (p->surface)
        cairo_surface_destroy(p->surface);
    *p = (LobPicture){0};
}

/* Drawing in level-0 px. */
static cairo_t *brush(const LobPicture *p) {
    cairo_t *cairo = cairo_create(p->surface);
    cairo_scale(cairo, 1 / p->scale, 1 / p->scale);
    cairo_translate(cairo, -p->x, -p->y);
    return cairo;
}

static cairo_surface_t *surface_of(const LobImage *image) {
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, image->width, image->height);
    if (cairo_surface_status(surface) != CAIRO_STATUS_SUCCESS)
        return surface;
    uint8_t *pixels = cairo_image_surface_get_data(surface);
    const size_t stride = (size_t)cairo_image_surface_get_stride(surface), width = (size_t)image->width;
    for (size_t y = 0; y < (size_t)image->height; y++)
        for (size_t x = 0; x < width; x++) {
            const uint8_t *rgb = image->data + 3 * (y * width + x);
            const uint32_t pixel = (uint32_t)rgb[0] << 16 | (uint32_t)rgb[1] << 8 | rgb[2];
            memcpy(pixels + y * stride + 4 * x, &pixel, sizeof pixel);
        }
    cairo_surface_mark_dirty(surface);
    return surface;
}

void lob_picture_paint(LobPicture *p, const LobImage *image, double x, double y, double scale_x,
                       double scale_y) {
    cairo_surface_t *ground = surface_of(image);
    cairo_t *cairo = brush(p);
    cairo_translate(cairo, x, y);
    cairo_scale(cairo, scale_x, scale_y);
    cairo_set_source_surface(cairo, ground, 0, 0);
    cairo_pattern_set_filter(cairo_get_source(cairo), CAIRO_FILTER_GOOD);
    cairo_paint(cairo);
    cairo_destroy(cairo);
    cairo_surface_destroy(ground);
}

void lob_picture_colour(double value, double rgb[3]) {
    static const double stops[][3] = {
        {0.13, 0.11, 0.36}, {0.16, 0.35, 0.56}, {0.10, 0.58, 0.55}, {0.45, 0.78, 0.33}, {0.99, 0.91, 0.15}};
    const double at = CLAMP(value, 0, 1) * (G_N_ELEMENTS(stops) - 1);
    const size_t k = MIN((size_t)at, G_N_ELEMENTS(stops) - 2);
    for (int c = 0; c < 3; c++)
        rgb[c] = stops[k][c] + (at - (double)k) * (stops[k + 1][c] - stops[k][c]);
}

void lob_picture_tile(LobPicture *p, double x, double y, double width, double height, double value,
                      double opacity) {
    if (isnan(value))
        return;
    double rgb[3];
    lob_picture_colour(value, rgb);
    cairo_t *cairo = brush(p);
    cairo_set_antialias(cairo, CAIRO_ANTIALIAS_NONE); /* or neighbours show a seam */
    cairo_set_source_rgba(cairo, rgb[0], rgb[1], rgb[2], opacity);
    cairo_rectangle(cairo, x, y, width, height);
    cairo_fill(cairo);
    cairo_destroy(cairo);
}

void lob_picture_frame(LobPicture *p, double x, double y, double width, double height) {
    cairo_t *cairo = brush(p);
    cairo_rectangle(cairo, x, y, width, height);
    cairo_set_source_rgb(cairo, 1, 1, 1);
    cairo_set_line_width(cairo, 4 * p->scale);
    cairo_stroke_preserve(cairo);
    cairo_set_source_rgb(cairo, 0.7, 0, 0.1);
    cairo_set_line_width(cairo, 2 * p->scale);
    cairo_stroke(cairo);
    cairo_destroy(cairo);
}

static cairo_status_t append(void *closure, const unsigned char *data, unsigned int length) {
    g_byte_array_append(closure, data, length);
    return CAIRO_STATUS_SUCCESS;
}

bool lob_picture_save_png(const LobPicture *p, const char *path, GError **err) {
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    const cairo_status_t status = cairo_surface_write_to_png_stream(p->surface, append, bytes);
    if (status != CAIRO_STATUS_SUCCESS)
        return lob_fail(err, LOB_ERROR_INTERNAL, "%s: %s", path, cairo_status_to_string(status));
    return lob_file_replace(path, bytes->data, bytes->len, err);
}

/* ---- JPEG, for the page: photographs as PNG would make it ten times as large ---- */

bool lob_image_append_uri(GString *out, const uint8_t *rgb, int width, int height, GError **err) {
    unsigned char *data = NULL;
    unsigned long size = 0;
    const bool ok = lob_jpeg_compress(rgb, width, height, QUALITY, &data, &size, err);
    if (ok) {
        g_autofree char *text = g_base64_encode(data, size);
        g_string_append(out, "data:image/jpeg;base64,");
        g_string_append(out, text);
    }
    free(data);
    return ok;
}

bool lob_picture_append_uri(GString *out, const LobPicture *p, GError **err) {
    cairo_surface_flush(p->surface);
    const uint8_t *pixels = cairo_image_surface_get_data(p->surface);
    const size_t stride = (size_t)cairo_image_surface_get_stride(p->surface), width = (size_t)p->width;
    if (!pixels)
        return lob_fail(err, LOB_ERROR_INTERNAL, "a picture of %d x %d px could not be made", p->width,
                        p->height);
    g_autofree uint8_t *rgb = g_new(uint8_t, 3 * width * (size_t)p->height);
    for (size_t y = 0; y < (size_t)p->height; y++)
        for (size_t x = 0; x < width; x++) {
            uint32_t pixel;
            memcpy(&pixel, pixels + y * stride + 4 * x, sizeof pixel);
            uint8_t *at = rgb + 3 * (y * width + x);
            at[0] = (uint8_t)(pixel >> 16);
            at[1] = (uint8_t)(pixel >> 8);
            at[2] = (uint8_t)pixel;
        }
    return lob_image_append_uri(out, rgb, p->width, p->height, err);
}
