#include "slide_synthetic.h"

#include <criterion/criterion.h>
#include <glib/gstdio.h>
#include <math.h>
#include <stdio.h>
#include <tiffio.h>
#include <unistd.h>

char *scratch_path(const char *name) {
    g_autofree char *folder = g_strdup_printf("%s/%d", g_get_tmp_dir(), (int)getpid());
    g_mkdir_with_parents(folder, 0700);
    return g_build_filename(folder, name, NULL);
}

char *shared_file(const char *name) {
    const char *folder = g_getenv("LOB_SHARED");
    char *path = g_build_filename(folder != NULL ? folder : LOB_SOURCE_DIR "/../shared", "data", name, NULL);
    if (g_file_test(path, G_FILE_TEST_EXISTS))
        return path;
    fprintf(stderr, "skipped: %s is not there (set LOB_SHARED)\n", path);
    g_free(path);
    return NULL;
}

static void set_tags(TIFF *tiff, int w, int h, double mpp_x, double mpp_y) {
    TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, w);
    TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, h);
    TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, 8);
    TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, 3);
    TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
    TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_RGB);
    TIFFSetField(tiff, TIFFTAG_COMPRESSION, COMPRESSION_NONE);
    TIFFSetField(tiff, TIFFTAG_TILEWIDTH, 256);
    TIFFSetField(tiff, TIFFTAG_TILELENGTH, 256);
    if (mpp_x > 0) {
        TIFFSetField(tiff, TIFFTAG_RESOLUTIONUNIT, RESUNIT_CENTIMETER);
        TIFFSetField(tiff, TIFFTAG_XRESOLUTION, 10000 / mpp_x);
        TIFFSetField(tiff, TIFFTAG_YRESOLUTION, 10000 / mpp_y);
    }
}

void slide_write_tiff(const char *path, int w, int h, double mpp_x, double mpp_y, DrawPixel draw) {
    TIFF *tiff = TIFFOpen(path, "w");
    cr_assert_not_null(tiff);
    set_tags(tiff, w, h, mpp_x, mpp_y);
    double um_x = mpp_x > 0 ? mpp_x : 1, um_y = mpp_y > 0 ? mpp_y : 1;
    g_autofree uint8_t *tile = g_malloc0(256 * 256 * 3);
    for (int ty = 0; ty < h; ty += 256)
        for (int tx = 0; tx < w; tx += 256) {
            for (int y = 0; y < 256; y++)
                for (int x = 0; x < 256; x++)
                    draw((tx + x) * um_x, (ty + y) * um_y, um_x, um_y, tile + 3 * (y * 256 + x));
            cr_assert(TIFFWriteTile(tiff, tile, (uint32_t)tx, (uint32_t)ty, 0, 0) > 0);
        }
    TIFFClose(tiff);
}

/* Share of [at, at + length) covered by lines: the primitive of the line pattern at both ends. */
static double covered(double at, double length) {
    double ends[2] = {at, at + length};
    for (int i = 0; i < 2; i++) {
        double whole = floor(ends[i] / 20);
        ends[i] = whole * 4 + fmin(ends[i] - whole * 20, 4);
    }
    return (ends[1] - ends[0]) / length;
}

void draw_grid(double x, double y, double mpp_x, double mpp_y, uint8_t rgb[3]) {
    double light = (1 - covered(x, mpp_x)) * (1 - covered(y, mpp_y));
    rgb[0] = (uint8_t)lround(40 + 200 * light);
    rgb[1] = (uint8_t)lround(20 + 150 * light);
    rgb[2] = (uint8_t)lround(60 + 150 * light);
}

void draw_pattern(double x, double y, double mpp_x, double mpp_y, uint8_t rgb[3]) {
    uint32_t i = (uint32_t)lround(x / mpp_x), j = (uint32_t)lround(y / mpp_y);
    rgb[0] = (uint8_t)(i * 7 + j * 3);
    rgb[1] = (uint8_t)((i >> 3) * 31 + j * 5);
    rgb[2] = (uint8_t)(i * j + (i >> 8));
}

int32_t (*all_tiles(const LobSlideInfo *info, const LobTileSpec *spec, size_t *n))[2] {
    double w, h, step_x, step_y;
    cr_assert(lob_tile_footprint(info, spec, &w, &h, &step_x, &step_y, NULL));
    GArray *xy = g_array_new(FALSE, FALSE, sizeof(int32_t[2]));
    for (double y = 0; y + h <= (double)info->height; y += step_y)
        for (double x = 0; x + w <= (double)info->width; x += step_x) {
            int32_t at[2] = {(int32_t)lround(x), (int32_t)lround(y)};
            g_array_append_val(xy, at);
        }
    *n = xy->len;
    return (int32_t(*)[2])(void *)g_array_free(xy, FALSE);
}
