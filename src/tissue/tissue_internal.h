/* Inside the room of tissue: binary morphology and masks from files. Binary images hold 0 and 255. */
#ifndef LOB_TISSUE_INTERNAL_H
#define LOB_TISSUE_INTERNAL_H

#include "tissue/tissue.h"

/* Median of a square of side 2 radius + 1, borders repeated. In place. */
void lob_median_filter(LobImage *image, int radius);

/* Closing (dilation, then erosion) by a disc of `diameter` px; outside the image is background for the
 * dilation and foreground for the erosion, so that the border takes no part. In place. */
void lob_close_disc(LobImage *mask, int diameter);

/* Connected parts of the pixels that equal `value`, 8-connected for 255, 4-connected for 0. label
 * [height*width]: 0 elsewhere, else 1 .. n; area[i]: px of part i; border[i]: whether it touches the image's
 * border. */
typedef struct {
    uint32_t n;
    uint32_t *label;
    uint64_t *area; /* [n + 1] */
    bool *border;   /* [n + 1] */
} LobParts;
void lob_parts_find(const LobImage *mask, uint8_t value, LobParts *parts);
void lob_parts_clear(LobParts *parts);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LobParts, lob_parts_clear)

/* Where ink is, and folds (255, else 0), of an overview; tissue [height][width]. */
void lob_ink_plane(const LobImage *overview, LobImage *plane);
void lob_fold_plane(const LobImage *overview, const uint8_t *tissue, LobImage *plane);

/* Ruderman's LMS of a pixel (0..255 each), and back; tissue absorbs at least LOB_STAIN_LEAST in a channel. */
#define LOB_STAIN_WHITE 240.0
#define LOB_STAIN_LEAST 0.15
extern const double lob_lms_from_rgb[3][3], lob_rgb_from_lms[3][3];
extern const double lob_lab_from_log_lms[3][3]; /* orthonormal: its transpose is its inverse */
/* Natural optical density of a channel's value. */
double lob_stain_density(uint8_t value);

/* The plain form of lob_stain_apply, from which the fast one differs by one grey level at most. */
void lob_stain_apply_reference(const LobStainMap *map, const uint8_t *in, size_t n, uint8_t *out);

/* Drops objects smaller than min_object px; fills holes smaller than min_hole px, or all where !keep_holes.
 */
void lob_clean_parts(LobImage *mask, double min_object, double min_hole, bool keep_holes);

/* A ring of corners between pixels, each of them once; it touches itself nowhere. */
typedef struct {
    uint32_t part; /* 1 .. : the piece of tissue (pixels joined by an edge) it belongs to */
    bool hole;     /* inside the piece; else the piece's outline, of which it has exactly one */
    size_t n;
    int32_t (*xy)[2]; /* [n] 0..width, 0..height; tissue lies to the right of the way */
} LobOutline;
/* Of LobOutline, owned by the array; a piece's outline stands first, its holes follow. */
GPtrArray *lob_outlines_find(const LobImage *mask);

/* Reads <folder>/<slide>.png or .geojson into a mask of the given size; scale_x, scale_y: level-0 px a mask
 * px. INPUT errors name the file. */
bool lob_mask_from_file(const char *folder, const char *slide, double scale_x, double scale_y,
                        int64_t origin_x, int64_t origin_y, LobImage *mask, GError **err);

#endif
