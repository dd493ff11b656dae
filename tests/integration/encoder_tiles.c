/* Tiles of a slide as the readers give them, for other programs to encode.
 *
 * usage: encoder_tiles SLIDE MPP TILE_MPP SIZE <COORDS >TILES      (MPP 0: the file's own)
 * COORDS: a line "x y" a tile, level-0 px; TILES: u8 [n][SIZE][SIZE][3]. */
#include "slide/slide.h"

#include <stdio.h>
#include <stdlib.h>

static bool write_tiles(char **argv, GError **err) {
    const LobSlideSpec spec = {argv[1], g_ascii_strtod(argv[2], NULL), LOB_MPP_MANIFEST};
    const LobTileSpec tiles = {
        .mpp = g_ascii_strtod(argv[3], NULL), .size = atoi(argv[4]), .max_enlarge = 1.1};
    g_autoptr(LobSlide) slide = lob_slide_open(&spec, err);
    const size_t bytes = 3 * (size_t)tiles.size * (size_t)tiles.size;
    g_autofree uint8_t *rgb = g_malloc(bytes);
    long x, y;
    while (slide && scanf("%ld %ld", &x, &y) == 2) {
        if (!lob_slide_tile(slide, &tiles, x, y, rgb, err))
            return false;
        if (fwrite(rgb, 1, bytes, stdout) != bytes)
            return lob_fail(err, LOB_ERROR_IO, "the tiles cannot be written");
    }
    return slide != NULL;
}

int main(int argc, char **argv) {
    g_autoptr(GError) err = NULL;
    if (argc != 5) {
        fprintf(stderr, "usage: encoder_tiles SLIDE MPP TILE_MPP SIZE <COORDS >TILES\n");
        return LOB_EXIT_INPUT;
    }
    if (write_tiles(argv, &err))
        return LOB_EXIT_DONE;
    fprintf(stderr, "encoder_tiles: %s\n", err->message);
    return lob_error_exit_code(err);
}
