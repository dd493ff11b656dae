/* JPEG in memory: a TIFF's tiles decoded as OpenSlide does it, and pictures compressed. */
#ifndef LOB_JPEG_H
#define LOB_JPEG_H

#include "base/base.h"

#include <stdio.h>

#include <jpeglib.h>

/* What the JPEG tiles of a TIFF's directory have in common. */
typedef struct {
    uint8_t *tables; /* quantisation and Huffman tables of all tiles; NULL: each has its own */
    size_t tables_size;
    bool ycbcr;        /* or RGB */
    int width, height; /* px of a tile */
} LobTiffJpeg;

/* One tile in the libraries' colour space `space`, rows without padding. false: it is damaged, a decoder's
 * warning counts as such, or not of this form. */
bool lob_tiff_jpeg_decode(const LobTiffJpeg *form, const uint8_t *data, size_t size, J_COLOR_SPACE space,
                          uint8_t *pixels);

/* rgb [height][width][3], quality 1 to 100; *data begins as NULL and goes to free(), after a failure too.
 * INTERNAL error. */
bool lob_jpeg_compress(const uint8_t *rgb, int width, int height, int quality, unsigned char **data,
                       unsigned long *size, GError **err);

#endif
