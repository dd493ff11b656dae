/* Bare JPEG decoding: a slide's own tiles where it is a tiled TIFF, or a picture compressed here. */
#include "jobs/bench_internal.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tiffio.h>

#include <jpeglib.h>

#define MOST_BYTES ((size_t)256 << 20)
enum { QUALITY = 80, DECODES = 50 };

typedef struct {
    uint8_t *data;
    size_t size;
} Jpeg;

struct LobBenchJpegs {
    GArray *jpegs; /* of Jpeg */
    Jpeg tables;   /* quantisation and Huffman tables of all, or empty */
    bool ycbcr;
    int width, height; /* px of each */
    uint8_t *rgb;
    size_t at;
    int side; /* px of the squares that are counted */
};

static LobBenchJpegs *jpegs_new(int width, int height) {
    LobBenchJpegs *j = g_new0(LobBenchJpegs, 1);
    j->jpegs = g_array_new(FALSE, TRUE, sizeof(Jpeg));
    j->ycbcr = true;
    j->width = width;
    j->height = height;
    j->rgb = g_malloc((size_t)width * (size_t)height * 3);
    return j;
}

void lob_bench_jpegs_free(LobBenchJpegs *j) {
    if (!j)
        return;
    for (guint i = 0; i < j->jpegs->len; i++)
        g_free(g_array_index(j->jpegs, Jpeg, i).data);
    g_array_unref(j->jpegs);
    g_free(j->tables.data);
    g_free(j->rgb);
    g_free(j);
}

/* ---- from a picture ---- */

LobBenchJpegs *lob_bench_jpegs_from(const uint8_t *rgb, int side) {
    LobBenchJpegs *j = jpegs_new(side, side);
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr errors;
    unsigned char *data = NULL;
    unsigned long size = 0;
    memcpy(j->rgb, rgb, (size_t)side * (size_t)side * 3);
    c.err = jpeg_std_error(&errors);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &data, &size);
    c.image_width = c.image_height = (JDIMENSION)side;
    c.input_components = 3;
    c.in_color_space = JCS_RGB;
    jpeg_set_defaults(&c);
    jpeg_set_quality(&c, QUALITY, TRUE);
    jpeg_start_compress(&c, TRUE);
    while (c.next_scanline < c.image_height) {
        JSAMPROW row = j->rgb + (size_t)c.next_scanline * (size_t)side * 3;
        (void)jpeg_write_scanlines(&c, &row, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    const Jpeg jpeg = {g_memdup2(data, size), size};
    g_array_append_val(j->jpegs, jpeg);
    free(data);
    return j;
}

/* ---- from a slide ---- */

/* Goes to the directory of that size whose tiles are plain JPEG. */
static bool find_directory(TIFF *tiff, int64_t width, int64_t height, bool *ycbcr) {
    do {
        uint32_t w = 0, h = 0;
        uint16_t compression = 0, photometric = 0, samples = 0;
        TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &w);
        TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &h);
        TIFFGetFieldDefaulted(tiff, TIFFTAG_COMPRESSION, &compression);
        TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &samples);
        TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &photometric);
        *ycbcr = photometric == PHOTOMETRIC_YCBCR;
        if (w == width && h == height && TIFFIsTiled(tiff))
            return compression == COMPRESSION_JPEG && samples == 3;
    } while (TIFFReadDirectory(tiff) == 1);
    return false;
}

static void take_tile(TIFF *tiff, LobBenchJpegs *j, uint32_t tile, size_t *bytes) {
    const uint64_t size = TIFFGetStrileByteCount(tiff, tile);
    if (size == 0 || size > MOST_BYTES - *bytes)
        return;
    Jpeg jpeg = {g_malloc(size), size};
    if (TIFFReadRawTile(tiff, tile, jpeg.data, (tmsize_t)size) != (tmsize_t)size) {
        g_free(jpeg.data);
        return;
    }
    *bytes += size;
    g_array_append_val(j->jpegs, jpeg);
}

/* Each tile under a square once, in the squares' order. */
static void take_under(TIFF *tiff, LobBenchJpegs *j, int64_t across, int side, const int32_t (*xy)[2],
                       size_t n) {
    g_autoptr(GHashTable) taken = g_hash_table_new(g_direct_hash, g_direct_equal);
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        for (int64_t ty = xy[i][1] / j->height; ty * j->height < xy[i][1] + side; ty++)
            for (int64_t tx = xy[i][0] / j->width; tx * j->width < xy[i][0] + side; tx++) {
                const int64_t tile = ty * across + tx;
                if (g_hash_table_add(taken, GSIZE_TO_POINTER(tile + 1)))
                    take_tile(tiff, j, (uint32_t)tile, &bytes);
            }
}

static LobBenchJpegs *take_from(TIFF *tiff, int64_t width, int64_t height, int side, const int32_t (*xy)[2],
                                size_t n) {
    uint32_t tile_width = 0, tile_height = 0, size = 0;
    void *tables = NULL;
    bool ycbcr;
    if (!find_directory(tiff, width, height, &ycbcr) ||
        TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &tile_width) != 1 ||
        TIFFGetField(tiff, TIFFTAG_TILELENGTH, &tile_height) != 1 || tile_width > 4096 || tile_height > 4096)
        return NULL;
    LobBenchJpegs *j = jpegs_new((int)tile_width, (int)tile_height);
    j->ycbcr = ycbcr;
    if (TIFFGetField(tiff, TIFFTAG_JPEGTABLES, &size, &tables) == 1 && size > 0)
        j->tables = (Jpeg){g_memdup2(tables, size), size};
    take_under(tiff, j, (width + tile_width - 1) / tile_width, side, xy, n);
    if (j->jpegs->len > 0)
        return j;
    lob_bench_jpegs_free(j);
    return NULL;
}

LobBenchJpegs *lob_bench_jpegs_of(const char *path, int64_t width, int64_t height, int side,
                                  const int32_t (*xy)[2], size_t n) {
    TIFFErrorHandler errors = TIFFSetErrorHandler(NULL), warnings = TIFFSetWarningHandler(NULL);
    TIFF *tiff = TIFFOpen(path, "rm");
    LobBenchJpegs *j = tiff ? take_from(tiff, width, height, side, xy, n) : NULL;
    if (tiff)
        TIFFClose(tiff);
    TIFFSetErrorHandler(errors);
    TIFFSetWarningHandler(warnings);
    return j;
}

/* ---- decoding, with the settings that slides are read with ---- */

typedef struct {
    struct jpeg_error_mgr base;
    jmp_buf escape;
} Errors;

_Noreturn static void on_error(j_common_ptr jpeg) {
    longjmp(((Errors *)(void *)jpeg->err)->escape, 1);
}

static bool begin(struct jpeg_decompress_struct *d, const LobBenchJpegs *j, const Jpeg *jpeg) {
    if (j->tables.size > 0) {
        jpeg_mem_src(d, j->tables.data, j->tables.size);
        if (jpeg_read_header(d, FALSE) != JPEG_HEADER_TABLES_ONLY)
            return false;
    }
    jpeg_mem_src(d, jpeg->data, jpeg->size);
    if (jpeg_read_header(d, TRUE) != JPEG_HEADER_OK || d->num_components != 3)
        return false;
    d->jpeg_color_space = j->ycbcr ? JCS_YCbCr : JCS_RGB;
    d->out_color_space = JCS_RGB;
    return jpeg_start_decompress(d) && d->output_width == (JDIMENSION)j->width &&
           d->output_height == (JDIMENSION)j->height;
}

static bool decode(LobBenchJpegs *j, const Jpeg *jpeg) {
    struct jpeg_decompress_struct d;
    Errors errors;
    d.err = jpeg_std_error(&errors.base);
    errors.base.error_exit = on_error;
    if (setjmp(errors.escape) != 0) {
        jpeg_destroy_decompress(&d);
        return false;
    }
    jpeg_create_decompress(&d);
    bool ok = begin(&d, j, jpeg);
    while (ok && d.output_scanline < d.output_height) {
        JSAMPROW row = j->rgb + (size_t)d.output_scanline * (size_t)j->width * 3;
        ok = jpeg_read_scanlines(&d, &row, 1) == 1;
    }
    jpeg_destroy_decompress(&d);
    return ok;
}

static bool run_decode(void *user, double *units, GError **err) {
    LobBenchJpegs *j = user;
    for (int i = 0; i < DECODES; i++)
        if (!decode(j, &g_array_index(j->jpegs, Jpeg, j->at++ % j->jpegs->len)))
            return lob_fail(err, LOB_ERROR_SLIDE, "a tile does not decode");
    *units = DECODES * (double)j->width * j->height / ((double)j->side * j->side);
    return true;
}

bool lob_bench_jpegs_measure(const LobBench *bench, LobBenchJpegs *jpegs, int side, LobBenchRate *rate,
                             GError **err) {
    jpegs->side = side;
    return lob_bench_measure(bench, run_decode, jpegs, rate, err);
}
