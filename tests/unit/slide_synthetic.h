/* Slides drawn for tests, and where the real ones lie. */
#ifndef SLIDE_SYNTHETIC_H
#define SLIDE_SYNTHETIC_H

#include "slide/slide_internal.h"

/* Colour of the point at x, y um, averaged over a pixel of mpp_x x mpp_y. */
typedef void (*DrawPixel)(double x, double y, double mpp_x, double mpp_y, uint8_t rgb[3]);

/* A tiled TIFF (256 px, no compression) of w x h px with a resolution in px per cm; without one where mpp is
 * 0. */
void slide_write_tiff(const char *path, int w, int h, double mpp_x, double mpp_y, DrawPixel draw);
/* Dark lines 4 um wide, 20 um apart in both directions, on pink. */
void draw_grid(double x, double y, double mpp_x, double mpp_y, uint8_t rgb[3]);
/* A pattern without symmetry that tells every place from every other. */
void draw_pattern(double x, double y, double mpp_x, double mpp_y, uint8_t rgb[3]);

char *scratch_path(const char *name); /* in a folder of this process; caller frees */
/* A real slide, or NULL after saying that the test is skipped; caller frees. */
char *shared_file(const char *name);
/* All tiles of a slide on a grid from 0,0; *n of them. */
int32_t (*all_tiles(const LobSlideInfo *info, const LobTileSpec *spec, size_t *n))[2];

#endif
