/* Tiles decoded without OpenSlide: the same pixels, or left to it. */
#include "slide_synthetic.h"

#include <criterion/criterion.h>
#include <openslide.h>
#include <stdio.h>
#include <string.h>
#include <tiffio.h>

enum { WIDTH = 700, HEIGHT = 500 };

/* One directory of a tiled JPEG TIFF with shared tables, each pixel standing for scale x scale of level 0. */
static void write_directory(TIFF *tiff, int scale, bool ycbcr) {
    int w = WIDTH / scale, h = HEIGHT / scale;
    TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, w);
    TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, h);
    TIFFSetField(tiff, TIFFTAG_SUBFILETYPE, scale > 1 ? FILETYPE_REDUCEDIMAGE : 0);
    TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, 8);
    TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, 3);
    TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
    TIFFSetField(tiff, TIFFTAG_COMPRESSION, COMPRESSION_JPEG);
    TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, ycbcr ? PHOTOMETRIC_YCBCR : PHOTOMETRIC_RGB);
    TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    TIFFSetField(tiff, TIFFTAG_JPEGQUALITY, 70);
    TIFFSetField(tiff, TIFFTAG_TILEWIDTH, 128);
    TIFFSetField(tiff, TIFFTAG_TILELENGTH, 112);
    g_autofree uint8_t *tile = g_malloc0(128 * 112 * 3);
    for (int ty = 0; ty < h; ty += 112)
        for (int tx = 0; tx < w; tx += 128) {
            for (int y = 0; y < 112; y++)
                for (int x = 0; x < 128; x++)
                    draw_grid((tx + x) * 0.5 * scale, (ty + y) * 0.7 * scale, 0.5 * scale, 0.7 * scale,
                              tile + 3 * (y * 128 + x));
            cr_assert(TIFFWriteTile(tiff, tile, (uint32_t)tx, (uint32_t)ty, 0, 0) > 0);
        }
    cr_assert(TIFFWriteDirectory(tiff) == 1);
}

static char *write_pyramid(const char *name, bool ycbcr) {
    char *path = scratch_path(name);
    TIFF *tiff = TIFFOpen(path, "w");
    cr_assert_not_null(tiff);
    write_directory(tiff, 1, ycbcr);
    write_directory(tiff, 4, ycbcr);
    TIFFClose(tiff);
    return path;
}

/* Reads n regions both ways, inside and over the edges; returns how many were read directly. */
static int compare(const char *path, int n, int64_t step) {
    g_autoptr(LobSlide) slide = lob_slide_open(&(LobSlideSpec){path, 0, LOB_MPP_UNKNOWN}, NULL);
    cr_assert_not_null(slide);
    const LobSlideInfo *info = lob_slide_info(slide);
    LobTiffTiles *tiles = lob_tiff_tiles_open(path, info);
    cr_assert_not_null(tiles);
    openslide_t *os = openslide_open(path);
    g_autofree uint32_t *want = g_new(uint32_t, 300 * 300), *got = g_new(uint32_t, 300 * 300);
    uint64_t seed = 88172645463325252u;
    int direct = 0;
    for (int i = 0; i < n; i++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        int level = (int)(seed % (uint64_t)info->levels), w = 1 + (int)(seed >> 8) % 300;
        w = w < 1 ? 17 : w;
        int h = 1 + (int)((seed >> 20) % 300);
        int64_t x = ((int64_t)((seed >> 32) % (uint64_t)(info->width + 200)) - 100) / step * step;
        int64_t y = ((int64_t)((seed >> 16) % (uint64_t)(info->height + 200)) - 100) / step * step;
        memset(got, 0x55, sizeof *got * 300 * 300);
        if (!lob_tiff_tiles_read(tiles, level, x, y, w, h, got))
            continue;
        direct++;
        openslide_read_region(os, want, x, y, level, w, h);
        cr_assert_null(openslide_get_error(os));
        cr_assert(memcmp(want, got, (size_t)w * (size_t)h * sizeof *want) == 0,
                  "level %d, %d x %d px at %d,%d differs", level, w, h, (int)x, (int)y);
    }
    openslide_close(os);
    lob_tiff_tiles_close(tiles);
    return direct;
}

Test(tiff_tiles, equal_openslide_on_drawn_pyramids) {
    for (int ycbcr = 0; ycbcr < 2; ycbcr++) {
        g_autofree char *path = write_pyramid(ycbcr ? "ycbcr.tif" : "rgb.tif", ycbcr);
        cr_expect_eq(compare(path, 300, 4), 300);
        int odd = compare(path, 300, 1);
        cr_expect(odd > 100 && odd < 300, "%d: level 1 between its pixels is OpenSlide's", odd);
    }
}

Test(tiff_tiles, equal_openslide_on_a_real_slide) {
    g_autofree char *path = shared_file("slides/CMU-1-Small-Region.svs");
    if (path != NULL)
        cr_expect_eq(compare(path, 200, 1), 200);
}

Test(tiff_tiles, leave_what_does_not_decode) {
    g_autofree char *path = shared_file("broken/corrupt-tiles.svs");
    if (path == NULL)
        return;
    g_autoptr(LobSlide) slide = lob_slide_open(&(LobSlideSpec){path, 0, LOB_MPP_UNKNOWN}, NULL);
    const LobSlideInfo *info = lob_slide_info(slide);
    LobTiffTiles *tiles = lob_tiff_tiles_open(path, info);
    g_autofree uint32_t *want = g_new(uint32_t, 240 * 240), *got = g_new(uint32_t, 240 * 240);
    int left = 0, read = 0;
    for (int64_t y = 0; y + 240 <= info->height; y += 240)
        for (int64_t x = 0; x + 240 <= info->width; x += 240) {
            openslide_t *os = openslide_open(path);
            openslide_read_region(os, want, x, y, 0, 240, 240);
            if (!lob_tiff_tiles_read(tiles, 0, x, y, 240, 240, got)) {
                left++;
            } else {
                read++;
                cr_expect_null(openslide_get_error(os), "decoded at %d,%d what OpenSlide refuses", (int)x,
                               (int)y);
                cr_expect(memcmp(want, got, 240 * 240 * sizeof *want) == 0);
            }
            openslide_close(os);
        }
    cr_expect(left > 0 && read > left, "%d left, %d read", left, read);
    lob_tiff_tiles_close(tiles);
}

Test(tiff_tiles, are_not_for_other_files) {
    g_autofree char *path = scratch_path("plain.tif");
    slide_write_tiff(path, 300, 300, 0.5, 0.5, draw_pattern);
    g_autoptr(LobSlide) slide = lob_slide_open(&(LobSlideSpec){path, 0, LOB_MPP_UNKNOWN}, NULL);
    cr_expect_null(lob_tiff_tiles_open(path, lob_slide_info(slide)), "no JPEG in it");
    LobSlideInfo other = *lob_slide_info(slide);
    g_strlcpy(other.vendor, "mirax", sizeof other.vendor);
    cr_expect_null(lob_tiff_tiles_open(path, &other));
}
