/* Writes a scene as an Aperio-style file: tiled JPEG base image, a stripped thumbnail, tiled levels at 1/4
 * and 1/16; and the list of its nuclei. */
#include "demo/demo_internal.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <math.h>
#include <string.h>
#include <tiffio.h>

#define JPEG_QUALITY 80
#define VERSION_LINE "Aperio Image Library v12.0.16 \r\n"

static void describe(TIFF *tif, const LobDemoScene *scene, int width, int height, bool tiled) {
    double mpp = scene->scanner.mpp;
    g_autoptr(GString) text = g_string_new(VERSION_LINE);
    g_string_append_printf(text, "%dx%d [0,0 %dx%d] ", scene->width, scene->height, scene->width,
                           scene->height);
    if (tiled)
        g_string_append_printf(text, "(%dx%d) ", LOB_DEMO_TILE, LOB_DEMO_TILE);
    if (width != scene->width)
        g_string_append_printf(text, "-> %dx%d ", width, height);
    g_string_append_printf(text, "JPEG/RGB Q=%d|AppMag = %d|MPP = %.4f", JPEG_QUALITY, mpp < 0.35 ? 40 : 20,
                           mpp);
    TIFFSetField(tif, TIFFTAG_IMAGEDESCRIPTION, text->str);
}

static void set_fields(TIFF *tif, const LobDemoScene *scene, int width, int height, bool tiled) {
    TIFFSetField(tif, TIFFTAG_IMAGEWIDTH, (uint32_t)width);
    TIFFSetField(tif, TIFFTAG_IMAGELENGTH, (uint32_t)height);
    TIFFSetField(tif, TIFFTAG_BITSPERSAMPLE, 8);
    TIFFSetField(tif, TIFFTAG_SAMPLESPERPIXEL, 3);
    TIFFSetField(tif, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
    TIFFSetField(tif, TIFFTAG_COMPRESSION, COMPRESSION_JPEG);
    TIFFSetField(tif, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_YCBCR);
    TIFFSetField(tif, TIFFTAG_YCBCRSUBSAMPLING, 2, 2);
    TIFFSetField(tif, TIFFTAG_JPEGQUALITY, JPEG_QUALITY);
    TIFFSetField(tif, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    if (tiled) {
        TIFFSetField(tif, TIFFTAG_TILEWIDTH, LOB_DEMO_TILE);
        TIFFSetField(tif, TIFFTAG_TILELENGTH, LOB_DEMO_TILE);
    } else {
        TIFFSetField(tif, TIFFTAG_ROWSPERSTRIP, 16);
    }
    describe(tif, scene, width, height, tiled);
}

/* Averages factor x factor px of `from` (whose sides may exceed a multiple of factor) into `to`. */
static void shrink(const LobImage *from, LobImage *to, int factor) {
    lob_image_init(to, from->width / factor, from->height / factor, 3);
    for (int y = 0; y < to->height; y++) {
        for (int x = 0; x < to->width; x++) {
            int sum[3] = {0};
            for (int j = 0; j < factor; j++) {
                const uint8_t *px =
                    from->data + ((size_t)(y * factor + j) * (size_t)from->width + (size_t)(x * factor)) * 3;
                for (int i = 0; i < factor * 3; i++)
                    sum[i % 3] += px[i];
            }
            uint8_t *out = to->data + ((size_t)y * (size_t)to->width + (size_t)x) * 3;
            for (int c = 0; c < 3; c++)
                out[c] = (uint8_t)((sum[c] + factor * factor / 2) / (factor * factor));
        }
    }
}

/* The part of a painted block that lies in the image, averaged 4 x 4 into `quarter`. */
static void quarter_block(const uint8_t *rgb, int column, int row, LobImage *quarter) {
    enum { N = LOB_DEMO_TILE / 4, LINE = LOB_DEMO_TILE * 3 };
    for (int y = 0; y < N && row * N + y < quarter->height; y++) {
        for (int x = 0; x < N && column * N + x < quarter->width; x++) {
            const uint8_t *px = rgb + y * 4 * LINE + x * 12;
            int sum[3] = {8, 8, 8};
            for (int j = 0; j < 4; j++) {
                for (int i = 0; i < 12; i += 3) {
                    sum[0] += px[j * LINE + i];
                    sum[1] += px[j * LINE + i + 1];
                    sum[2] += px[j * LINE + i + 2];
                }
            }
            uint8_t *out = quarter->data +
                           ((size_t)(row * N + y) * (size_t)quarter->width + (size_t)(column * N + x)) * 3;
            for (int c = 0; c < 3; c++)
                out[c] = (uint8_t)(sum[c] / 16);
        }
    }
}

static bool write_base(TIFF *tif, const LobDemoScene *scene, LobImage *quarter) {
    g_autoptr(LobDemoPainter) painter = lob_demo_painter_new(scene);
    g_autofree uint8_t *rgb = g_malloc(LOB_DEMO_TILE * LOB_DEMO_TILE * 3);
    int columns = (scene->width + LOB_DEMO_TILE - 1) / LOB_DEMO_TILE;
    int rows = (scene->height + LOB_DEMO_TILE - 1) / LOB_DEMO_TILE;
    set_fields(tif, scene, scene->width, scene->height, true);
    lob_image_init(quarter, scene->width / 4, scene->height / 4, 3);
    for (int row = 0; row < rows; row++) {
        for (int column = 0; column < columns; column++) {
            lob_demo_paint(painter, column, row, rgb);
            quarter_block(rgb, column, row, quarter);
            if (TIFFWriteTile(tif, rgb, (uint32_t)(column * LOB_DEMO_TILE), (uint32_t)(row * LOB_DEMO_TILE),
                              0, 0) < 0)
                return false;
        }
    }
    return TIFFWriteDirectory(tif) == 1;
}

static bool write_strips(TIFF *tif, const LobDemoScene *scene, const LobImage *image) {
    set_fields(tif, scene, image->width, image->height, false);
    for (int y = 0; y < image->height; y++) {
        if (TIFFWriteScanline(tif, image->data + (size_t)y * (size_t)image->width * 3, (uint32_t)y, 0) != 1)
            return false;
    }
    return TIFFWriteDirectory(tif) == 1;
}

/* Edge tiles repeat the last column and row, as encoders do. */
static bool write_level(TIFF *tif, const LobDemoScene *scene, const LobImage *image) {
    g_autofree uint8_t *rgb = g_malloc(LOB_DEMO_TILE * LOB_DEMO_TILE * 3);
    set_fields(tif, scene, image->width, image->height, true);
    for (int y0 = 0; y0 < image->height; y0 += LOB_DEMO_TILE) {
        for (int x0 = 0; x0 < image->width; x0 += LOB_DEMO_TILE) {
            for (int y = 0; y < LOB_DEMO_TILE; y++) {
                const uint8_t *line =
                    image->data + (size_t)MIN(y0 + y, image->height - 1) * (size_t)image->width * 3;
                for (int x = 0; x < LOB_DEMO_TILE; x++)
                    memcpy(rgb + (y * LOB_DEMO_TILE + x) * 3, line + MIN(x0 + x, image->width - 1) * 3, 3);
            }
            if (TIFFWriteTile(tif, rgb, (uint32_t)x0, (uint32_t)y0, 0, 0) < 0)
                return false;
        }
    }
    return TIFFWriteDirectory(tif) == 1;
}

static bool write_pyramid(TIFF *tif, const LobDemoScene *scene) {
    g_auto(LobImage) quarter = {0}, sixteenth = {0};
    if (!write_base(tif, scene, &quarter))
        return false;
    shrink(&quarter, &sixteenth, 4);
    return write_strips(tif, scene, &sixteenth) && write_level(tif, scene, &quarter) &&
           write_level(tif, scene, &sixteenth);
}

/* libtiff's words go to the caller's error, not to stderr. */
static void keep_message(thandle_t file, const char *module, const char *format, va_list arguments) {
    (void)file;
    (void)module;
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    lob_debug("libtiff: %s", text);
}

static bool write_slide(const LobDemoScene *scene, const char *path, GError **err) {
    g_autofree char *partial = g_strdup_printf("%s.part", path);
    TIFFSetErrorHandlerExt(keep_message);
    TIFFSetErrorHandler(NULL);
    TIFF *tif = TIFFOpen(partial, "w");
    if (tif == NULL)
        return lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot be created", partial);
    errno = 0;
    bool good = write_pyramid(tif, scene);
    int reason = errno;
    TIFFClose(tif);
    if (!good) {
        g_unlink(partial);
        return lob_fail_errno(err, LOB_ERROR_IO, reason, "%s: cannot be written (disk full?)", partial);
    }
    if (g_rename(partial, path) != 0)
        return lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot be renamed from %s", path, partial);
    return true;
}

static double shape_area(const LobDemoNucleus *n) {
    double ragged = (double)(n->w3c * n->w3c + n->w3s * n->w3s + n->w4c * n->w4c + n->w4s * n->w4s);
    return G_PI * (double)n->a * (double)n->b * (1.0 + 0.5 * ragged);
}

static bool write_nuclei(const LobDemoScene *scene, const char *path, GError **err) {
    g_autoptr(LobCsv) csv = lob_csv_new((const char *const[]){"x", "y", "area_um2", "kind", NULL});
    for (guint i = 0; i < scene->nuclei->len; i++) {
        const LobDemoNucleus *n = &g_array_index(scene->nuclei, LobDemoNucleus, i);
        /* A pixel's index names its centre: the painter samples there. */
        lob_csv_number(csv, round((double)n->x / scene->scanner.mpp * 10.0) / 10.0);
        lob_csv_number(csv, round((double)n->y / scene->scanner.mpp * 10.0) / 10.0);
        lob_csv_number(csv, round(shape_area(n) * 10.0) / 10.0);
        lob_csv_text(csv, lob_demo_kind_name((LobDemoKind)n->kind));
        lob_csv_end_row(csv);
    }
    return lob_csv_save(csv, path, err);
}

bool lob_demo_draw_slide(const LobDemo *demo, size_t patient, int slide, const char *dir, GError **err) {
    const char *id = demo->patients[patient].slide_id[slide];
    g_autofree char *slides = g_build_filename(dir, "slides", NULL);
    g_autofree char *nuclei = g_build_filename(dir, "nuclei", NULL);
    if (!lob_make_dirs(slides, err) || !lob_make_dirs(nuclei, err))
        return false;
    g_autofree char *svs = g_strdup_printf("%s/%s.svs", slides, id);
    g_autofree char *csv = g_strdup_printf("%s/%s.csv", nuclei, id);
    g_autoptr(LobDemoScene) scene = lob_demo_scene_new(demo, patient, slide);
    /* The slide comes last: where it exists, all of it is there. */
    return write_nuclei(scene, csv, err) && write_slide(scene, svs, err);
}
