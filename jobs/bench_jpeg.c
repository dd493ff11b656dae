/* Bare JPEG decoding: a slide's own tiles where it is a tiled TIFF, or a picture compressed here. */
#include "jobs/bench_internal.h"
#include "slide/jpeg.h"

#include <stdlib.h>
#include <tiffio.h>

#define MOST_BYTES ((size_t)256 << 20)
enum { QUALITY = 80, DECODES = 50 };

typedef struct {
    uint8_t *data;
    size_t size;
} Jpeg;

struct LobBenchJpegs {
    GArray *jpegs; /* of Jpeg */
    LobTiffJpeg form;
    uint8_t *rgb;
    size_t at;
    int side; /* px of the squares that are counted */
};

static LobBenchJpegs *jpegs_new(int width, int height) {
    LobBenchJpegs *j = g_new0(LobBenchJpegs, 1);
    j->jpegs = g_array_new(FALSE, TRUE, sizeof(Jpeg));
    j->form = (LobTiffJpeg){.ycbcr = true, .width = width, .height = height};
    j->rgb = g_malloc((size_t)width * (size_t)height * 3);
    return j;
}

void lob_bench_jpegs_free(LobBenchJpegs *j) {
    if (!j)
        return;
    for (guint i = 0; i < j->jpegs->len; i++)
        g_free(g_array_index(j->jpegs, Jpeg, i).data);
    g_array_unref(j->jpegs);
    g_free(j->form.tables);
    g_free(j->rgb);
    g_free(j);
}

/* ---- from a picture ---- */

LobBenchJpegs *lob_bench_jpegs_from(const uint8_t *rgb, int side, GError **err) {
    g_autoptr(LobBenchJpegs) j = jpegs_new(side, side);
    unsigned char *data = NULL;
    unsigned long size = 0;
    const bool ok = lob_jpeg_compress(rgb, side, side, QUALITY, &data, &size, err);
    const Jpeg jpeg = {ok ? g_memdup2(data, size) : NULL, size};
    free(data);
    if (!ok)
        return NULL;
    g_array_append_val(j->jpegs, jpeg);
    return g_steal_pointer(&j);
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
        for (int64_t ty = xy[i][1] / j->form.height; ty * j->form.height < xy[i][1] + side; ty++)
            for (int64_t tx = xy[i][0] / j->form.width; tx * j->form.width < xy[i][0] + side; tx++) {
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
    j->form.ycbcr = ycbcr;
    if (TIFFGetField(tiff, TIFFTAG_JPEGTABLES, &size, &tables) == 1 && size > 0)
        j->form.tables = g_memdup2(tables, size), j->form.tables_size = size;
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

static bool run_decode(void *user, double *units, GError **err) {
    LobBenchJpegs *j = user;
    for (int i = 0; i < DECODES; i++) {
        const Jpeg *jpeg = &g_array_index(j->jpegs, Jpeg, j->at++ % j->jpegs->len);
        if (!lob_tiff_jpeg_decode(&j->form, jpeg->data, jpeg->size, JCS_RGB, j->rgb))
            return lob_fail(err, LOB_ERROR_SLIDE, "a tile does not decode");
    }
    *units = DECODES * (double)j->form.width * j->form.height / ((double)j->side * j->side);
    return true;
}

bool lob_bench_jpegs_measure(const LobBench *bench, LobBenchJpegs *jpegs, int side, LobBenchRate *rate,
                             GError **err) {
    jpegs->side = side;
    return lob_bench_measure(bench, run_decode, jpegs, rate, err);
}
