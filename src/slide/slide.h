/* Slides: opening, true scale, reading; and the isolated reader processes that do all decoding.
 *
 * Level-0 pixels are the unit of every position; um per pixel (mpp) of every scale. Nothing is collective. */
#ifndef LOB_SLIDE_H
#define LOB_SLIDE_H

#include "base/base.h"

#define LOB_SLIDE_MAX_LEVELS 32

typedef enum { LOB_MPP_UNKNOWN, LOB_MPP_MANIFEST, LOB_MPP_CENTER, LOB_MPP_VENDOR, LOB_MPP_TIFF } LobMppSource;
const char *lob_mpp_source_name(LobMppSource source); /* "unknown", "manifest", "center", "vendor", "tiff" */

typedef struct {
    int64_t width, height; /* level 0, px */
    int levels;
    struct {
        int64_t width, height; /* px of the level */
        double downsample;     /* level-0 px per px of the level; not an exact power of two */
    } level[LOB_SLIDE_MAX_LEVELS];
    double mpp_x, mpp_y; /* um/px at level 0; 0 where unknown */
    LobMppSource mpp_source;
    int64_t bounds_x, bounds_y, bounds_width,
        bounds_height; /* the scanned part, level-0 px; whole slide where absent */
    double objective;  /* 0 where unknown */
    char vendor[32];
    char quickhash[72]; /* "" where the library gives none */
    int64_t file_size;  /* bytes */
    int64_t file_mtime; /* ns since 1970 */
} LobSlideInfo;

/* One slide as the study names it. mpp 0 = take it from the file. Strings are borrowed. */
typedef struct {
    const char *path;
    double mpp;
    LobMppSource mpp_source; /* where a given mpp came from */
} LobSlideSpec;

/* ---- the seam: a source of pixels ----
 * A new format is a new table in slide_sources.c. All failures are LOB_ERROR_SLIDE with a reason a user
 * understands. */
typedef struct LobSlide LobSlide;

/* Opens with the first source that recognises the file and fills mpp by the chain manifest, vendor property,
 * TIFF resolution. A slide without mpp opens (mpp_source unknown): whether that is fatal is the caller's
 * decision. */
LobSlide *lob_slide_open(const LobSlideSpec *spec, GError **err);
const LobSlideInfo *lob_slide_info(const LobSlide *slide);
/* RGB (alpha over white), [height][width][3]; x, y in level-0 px, width, height in px of `level`. Outside the
 * slide is white. A decoder error is an error, never white; the slide then needs lob_slide_reopen before the
 * next read. */
bool lob_slide_read(LobSlide *slide, int level, int64_t x, int64_t y, int width, int height, uint8_t *rgb,
                    GError **err);
bool lob_slide_reopen(LobSlide *slide, GError **err);
void lob_slide_close(LobSlide *slide);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LobSlide, lob_slide_close)

/* ---- tiles and overviews ---- */
typedef struct {
    double mpp;  /* wanted um/px */
    int size;    /* px a side */
    int overlap; /* px shared by neighbours, 0 <= overlap < size */
    double
        max_enlarge; /* refuse a slide whose level 0 would have to be enlarged by more than this, e.g. 1.1 */
} LobTileSpec;

/* Side lengths of a tile and of the grid step in level-0 px (not integers: mpp is not). SLIDE error where mpp
 * is unknown (names the remedy: column mpp in slides.csv, or centers: {NAME: {mpp: ...}}), implausible
 * (outside 0.05..20 um/px), or too coarse for max_enlarge. */
bool lob_tile_footprint(const LobSlideInfo *info, const LobTileSpec *spec, double *width, double *height,
                        double *step_x, double *step_y, GError **err);

/* The level to read for a target scale: the coarsest whose scale is not coarser than the target (2 %
 * tolerance), else level 0. */
int lob_slide_best_level(const LobSlideInfo *info, double mpp);

/* One tile whose top-left is (x, y): reads the footprint at the best level and resamples it with an
 * antialiased area/bilinear filter to spec->size. rgb [size][size][3]. */
bool lob_slide_tile(LobSlide *slide, const LobTileSpec *spec, int64_t x, int64_t y, uint8_t *rgb,
                    GError **err);

/* The whole slide (its bounds) at about `mpp` um/px, in strips so memory is bounded; mask and thumbnails are
 * made from it. scale_x, scale_y: level-0 px per px of the image. Works without a known mpp when `mpp` is <=
 * 0: then 1/64 of level 0 or at most 2048 px. */
bool lob_slide_overview(LobSlide *slide, double mpp, LobImage *image, double *scale_x, double *scale_y,
                        GError **err);

/* Antialiased resampling of an RGB image by a triangle filter widened to the source's scale (as Pillow's
 * BILINEAR does it). The source window [x0, x0+w) x [y0, y0+h) in px may be fractional. */
void lob_resample(const uint8_t *src, int src_width, int src_height, double x0, double y0, double w, double h,
                  uint8_t *dst, int dst_width, int dst_height);

/* ---- isolated readers ----
 * All decoding runs
 * in child processes forked from a zygote, so a decoder that crashes, hangs or eats memory costs a slide, not
 * a rank. The zygote must be forked before MPI_Init and before any thread; it and its readers ignore TERM,
 * INT and USR1, die with their parent, hold no other descriptors and dump no core. */
typedef struct LobReader LobReader;

typedef struct {
    double open_seconds; /* limits; a reader that passes one is killed */
    double tile_seconds; /* for each tile of a request, each read of an overview (10 x open_seconds in all) */
    size_t memory_bytes; /* address space over what the process has at start */
    size_t max_tiles;    /* most tiles a request may ask for: sizes the shared memory */
    int tile_size;       /* px */
} LobReaderLimits;

extern const LobReaderLimits lob_reader_default_limits; /* 60 s, 20 s, 4 GiB, 256, 224 */

bool lob_zygote_start(GError **err); /* once, from main, before MPI_Init */
void lob_zygote_stop(void);          /* idempotent; reaps */

LobReader *lob_reader_new(const LobReaderLimits *limits, GError **err);
void lob_reader_free(LobReader *reader);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LobReader, lob_reader_free)

/* From now on `tick` is called every 50 ms or so while the reader is waited for; where it says false, what is
 * under way fails as STOPPED and the reader's process is ended. NULL: no tick. */
void lob_reader_set_tick(LobReader *reader, bool (*tick)(void *user), void *user);
/* Whether the last call failed because its process crashed, and new ones too: the slide's own doing, unlike a
 * time or memory limit or being killed from outside. */
bool lob_reader_crashed(const LobReader *reader);

/* Opens a slide in the reader (a fresh process where the last one died, which may also happen once under way:
 * whatever killed it need not be the slide). SLIDE errors name the cause: signal, limit, or the library's
 * words. IO/INTERNAL errors mean the reader itself cannot be had. */
bool lob_reader_open(LobReader *reader, const LobSlideSpec *spec, LobSlideInfo *info, GError **err);
/* As lob_slide_overview. unknown: one channel, 255 where the slide cannot be read (blocks of at most 256 px
 * of the level, after halving); a SLIDE error only where nothing at all can be read. NULL: any block that
 * cannot be read is an error. A reader that died is replaced once. */
bool lob_reader_overview(LobReader *reader, double mpp, LobImage *image, LobImage *unknown, double *scale_x,
                         double *scale_y, GError **err);

typedef enum { LOB_TILE_OK = 0, LOB_TILE_UNREADABLE = 1 } LobTileStatus;

/* Starts reading n tiles of the open slide; returns at once. xy: level-0 top-left, [n][2]. One request may be
 * under way while another is being collected: two buffers alternate. */
bool lob_reader_request(LobReader *reader, const LobTileSpec *spec, const int32_t (*xy)[2], size_t n,
                        GError **err);
/* Waits (sleeping) for the oldest request. rgb [n][size][size][3] and status [n] (LobTileStatus) stay valid
 * until the next-but-one request. An unreadable tile has been tried twice and `reasons` (may be NULL) gets
 * the first tile's text. A dead reader is a SLIDE error; `lob_reader_open` then starts a new one. A tile that
 * killed its reader is UNREADABLE after one retry in a new process. */
bool lob_reader_collect(LobReader *reader, const uint8_t **rgb, const uint8_t **status, char **reason,
                        GError **err);
int lob_reader_fd(const LobReader *reader); /* readable when collect will not wait; for poll() */

#endif
