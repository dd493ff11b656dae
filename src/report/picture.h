/* Private to the report room: pictures of slides under coloured tiles. */
#ifndef LOB_PICTURE_H
#define LOB_PICTURE_H

#include "base/base.h"

#include <cairo.h>

/* A part of a slide, drawn. */
typedef struct {
    cairo_surface_t *surface; /* RGB24 */
    double x, y;              /* level-0 px of the top-left */
    double scale;             /* level-0 px per px */
    int width, height;        /* px */
} LobPicture;

/* The part [x, x + width) x [y, y + height) of level 0, its longer side `most` px, plain. */
void lob_picture_init(LobPicture *picture, double x, double y, double width, double height, int most);
void lob_picture_clear(LobPicture *picture);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LobPicture, lob_picture_clear)
/* An RGB image under it, whose top-left is at x, y (level-0 px). */
void lob_picture_paint(LobPicture *picture, const LobImage *image, double x, double y, double scale_x,
                       double scale_y);
/* One tile; value 0..1 by the scale of colours, NAN: left as it is. */
void lob_picture_tile(LobPicture *picture, double x, double y, double width, double height, double value,
                      double opacity);
/* A frame about a tile, dark within light, so that it is seen on any ground. */
void lob_picture_frame(LobPicture *picture, double x, double y, double width, double height);
/* From dark blue over green to yellow, lighter with every step: told apart without colour too. rgb 0..1. */
void lob_picture_colour(double value, double rgb[3]);

bool lob_picture_save_png(const LobPicture *picture, const char *path, GError **err);
/* Appends data:image/jpeg;base64,... */
bool lob_picture_append_uri(GString *out, const LobPicture *picture, GError **err);
bool lob_image_append_uri(GString *out, const uint8_t *rgb, int width, int height, GError **err);

#endif
