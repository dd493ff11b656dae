/* Inside the room of slides: the table a source of pixels fills in, and resampling on padded pixels. */
#ifndef LOB_SLIDE_INTERNAL_H
#define LOB_SLIDE_INTERNAL_H

#include "slide/slide.h"

/* Window in um/px inside which a scale can be that of a slide scanner. */
#define LOB_MPP_MIN 0.05
#define LOB_MPP_MAX 20.0

/* A source of pixels. */
typedef struct {
    const char *name;
    /* Fills everything of `info` but file_size and file_mtime. NULL without error: not this source's format.
     */
    void *(*open)(const char *path, LobSlideInfo *info, GError **err);
    /* argb [height][width], premultiplied, transparent outside the slide; x, y level-0 px. */
    bool (*read)(void *handle, int level, int64_t x, int64_t y, int width, int height, uint32_t *argb,
                 GError **err);
    void (*close)(void *handle);
} LobSlideSource;

extern const LobSlideSource *const lob_slide_sources[]; /* NULL-terminated, tried in order */
extern const LobSlideSource lob_source_openslide;

/* Tiles of plain TIFF pyramids without OpenSlide's blending: the same pixels, several times as fast. NULL
 * where nothing of the file can be read so. */
typedef struct LobTiffTiles LobTiffTiles;
LobTiffTiles *lob_tiff_tiles_open(const char *path, const LobSlideInfo *info);
/* As LobSlideSource.read; false: this region cannot be read so (argb is then undefined), OpenSlide may. */
bool lob_tiff_tiles_read(LobTiffTiles *tiles, int level, int64_t x, int64_t y, int width, int height,
                         uint32_t *argb);
void lob_tiff_tiles_close(LobTiffTiles *tiles);

/* True mpp from the text of properties, by the chain vendor, TIFF resolution. Implausible values are skipped.
 * Any text may be NULL. */
typedef struct {
    const char *mpp_x, *mpp_y;                      /* openslide.mpp-x, openslide.mpp-y */
    const char *aperio_mpp;                         /* aperio.MPP */
    const char *x_resolution, *y_resolution, *unit; /* tiff.XResolution ...: px per `unit` */
} LobMppTexts;
void lob_mpp_from_texts(const LobMppTexts *texts, LobSlideInfo *info);

/* Bounds of the scanned part from the text of the properties x, y, width, height (any may be NULL); those
 * that do not lie inside the slide's width and height are not believed. */
void lob_bounds_from_texts(const char *const texts[4], LobSlideInfo *info);

/* Sets an error that says what is wrong with a file no source recognised: a picture with a slide's name, a
 * TIFF that ends too early, something else. Always returns false. */
bool lob_slide_diagnose(const char *path, int64_t size, GError **err);

/* As lob_slide_read, but four bytes a pixel (the fourth without meaning) in the slide's own buffer, valid
 * until the next read. */
const uint8_t *lob_slide_read_rgbx(LobSlide *slide, int level, int64_t x, int64_t y, int width, int height,
                                   GError **err);

/* Coarsest level whose downsample is at most `downsample` (2 % tolerance). */
int lob_slide_level_for(const LobSlideInfo *info, double downsample);

/* Size and scale of the overview; SLIDE error where it would be too large to hold. */
bool lob_overview_size(const LobSlideInfo *info, double mpp, int *width, int *height, double *scale_x,
                       double *scale_y, GError **err);
/* Where an overview goes. */
typedef struct {
    int width, height;
    uint8_t *rgb;     /* [height][width][3]; white where unknown */
    uint8_t *unknown; /* [height][width]: 255 where the slide cannot be read, else 0; NULL: that fails */
    void (*beat)(void *user); /* before every read; may be NULL */
    void *user;
} LobOverviewSink;
/* Fails where nothing at all can be read, or anything cannot and `unknown` is NULL. */
bool lob_overview_fill(LobSlide *slide, const LobOverviewSink *sink, GError **err);

/* Resampling of [src_height][src_stride] pixels of four bytes into packed RGB; see lob_resample. */
void lob_resample_rgbx(const uint8_t *src, int src_width, int src_height, size_t src_stride, double x0,
                       double y0, double w, double h, uint8_t *dst, int dst_width, int dst_height);
/* The plain form of lob_resample, which the fast one must equal to the bit. */
void lob_resample_reference(const uint8_t *src, int src_width, int src_height, double x0, double y0, double w,
                            double h, uint8_t *dst, int dst_width, int dst_height);

#endif
