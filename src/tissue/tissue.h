/* Where the tissue is: mask of a low-resolution overview, tile grid over it, picture overlays. Local; no
 * slide library needed. */
#ifndef LOB_TISSUE_H
#define LOB_TISSUE_H

#include "base/base.h"

typedef enum { LOB_TISSUE_OTSU, LOB_TISSUE_HSV, LOB_TISSUE_MASKS } LobTissueMethod;

typedef struct {
    LobTissueMethod method;
    double mpp;            /* um/px of the overview the mask is made from, e.g. 8 */
    double median_um;      /* median filter's side */
    double close_um;       /* closing's diameter */
    double min_object_um2; /* smaller pieces are dropped */
    double min_hole_um2;   /* smaller holes are filled */
    bool keep_holes;       /* true: larger holes stay holes (not tissue) */
    const char *masks;     /* method masks: folder of <slide_id>.png or .geojson; borrowed */
    /* of the slide at hand; set before lob_tissue_mask */
    const char *slide_id;       /* method masks: names the file; borrowed */
    int64_t origin_x, origin_y; /* level-0 px of the overview's top-left (the slide's bounds) */
    const LobImage *unknown;    /* one channel, 255 where the overview could not be read; borrowed, or NULL.
                                 * Counts as tissue (but for method masks), so that its tiles are tried */
} LobTissueOptions;

extern const LobTissueOptions lob_tissue_defaults; /* otsu at 8 um/px, slide_id NULL, origin 0, 0 */

/* A mask over the slide (or its bounds): 255 tissue, 0 not. */
typedef struct {
    LobImage image;             /* one channel */
    LobImage unknown;           /* one channel, as the options'; no data where all is known */
    double scale_x, scale_y;    /* level-0 px per mask px */
    int64_t origin_x, origin_y; /* level-0 px of the mask's top-left */
} LobMask;

void lob_mask_clear(LobMask *mask);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LobMask, lob_mask_clear)

/* overview: RGB at scale_x, scale_y level-0 px a pixel, of a slide with mpp_x, mpp_y um/px at level 0 (so
 * that um options can be turned into px). A blank slide gives an empty mask, not an error. The mask's scale
 * is the overview's, its origin the options'. Method masks: a missing, broken or misshapen mask is a SLIDE
 * error. */
bool lob_tissue_mask(const LobImage *overview, double scale_x, double scale_y, double mpp_x, double mpp_y,
                     const LobTissueOptions *options, LobMask *mask, GError **err);

/* Otsu's threshold of a 256-bin histogram; -1 where all mass is in one bin. */
int lob_otsu_threshold(const uint64_t histogram[256]);

/* ---- grid ---- */
typedef struct {
    size_t n;
    int32_t (*xy)[2];    /* [n] level-0 px, top-left; sorted by (y, x) */
    uint8_t *tissue;     /* [n] percent of the tile's footprint that is tissue, rounded */
    uint8_t *pen, *fold; /* [n] percent of the footprint, by lob_grid_judge; NULL before */
} LobGrid;

void lob_grid_clear(LobGrid *grid);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LobGrid, lob_grid_clear)

/* All tiles of tile_w x tile_h (level-0 px, fractional), stepped by step_x, step_y from (origin), that lie
 * wholly in width x height and whose tissue fraction is at least min_tissue (0..1) and above 0. Positions are
 * rounded to integers. INPUT error where a position passes INT32_MAX. */
bool lob_grid_make(const LobMask *mask, int64_t origin_x, int64_t origin_y, int64_t width, int64_t height,
                   double tile_w, double tile_h, double step_x, double step_y, double min_tissue,
                   LobGrid *grid, GError **err);

/* ---- GeoJSON as QuPath reads it: one file a slide, positions in level-0 px ---- */
typedef struct LobGeojson LobGeojson;
LobGeojson *lob_geojson_new(void);
void lob_geojson_free(LobGeojson *geojson);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LobGeojson, lob_geojson_free)

/* One annotation a connected piece of tissue (pixels joined by an edge), outline and holes along the mask's
 * pixel edges: filled again by the even-odd rule they give the mask back. `name` is the annotations'
 * classification. */
void lob_geojson_add_mask(LobGeojson *geojson, const LobMask *mask, const char *name);

typedef struct {
    double x, y, width, height; /* level-0 px */
    const char *name;           /* shown beside the tile; NULL = none */
    const char *class_name;     /* classification; NULL = none */
    const uint8_t *colour;      /* [3] R, G, B of the classification; NULL = QuPath chooses */
    bool annotation;            /* false: a QuPath tile object, which suits thousands of them */
    /* measurements, which QuPath maps to colours: [n_scores]; one that is not finite is left out */
    const char *const *score_names;
    const double *scores;
    size_t n_scores;
} LobGeojsonTile;
void lob_geojson_add_tile(LobGeojson *geojson, const LobGeojsonTile *tile);

size_t lob_geojson_count(const LobGeojson *geojson); /* features added */
/* A FeatureCollection, by rename. More may be added and saved again. */
bool lob_geojson_save(const LobGeojson *geojson, const char *path, GError **err);

/* ---- quality of a slide, from its overview and mask ---- */
typedef struct {
    double tissue_mm2;
    double pen_fraction;  /* of the overview: saturated blue, green, or black ink */
    double fold_fraction; /* of the tissue: dark and saturated at once */
    double blur;          /* variance of the Laplacian over tissue, at the overview's scale */
    double od_mean[3];    /* mean optical density of tissue in R, G, B */
    double unknown;       /* share of the overview that could not be read; no other measure looks at it */
} LobSlideQuality;
void lob_slide_quality(const LobImage *overview, const LobMask *mask, double mpp_x, double mpp_y,
                       LobSlideQuality *quality);

/* ---- quality of tiles: percent, or LOB_TILE_UNKNOWN ---- */
#define LOB_TILE_UNKNOWN 255

/* Fills the grid's pen and fold from the overview the mask was made of: how much of each tile's footprint is
 * ink (blue, green or black), and how much is folded tissue (much darker than this slide's own and no less
 * coloured). Unknown where half of the footprint could not be read. */
void lob_grid_judge(LobGrid *grid, const LobImage *overview, const LobMask *mask, double tile_w,
                    double tile_h);

/* Of the pixels of one tile, rgb [size][size][3]. blur: 100 / (1 + V / 100) for V the variance of the
 * Laplacian of grey, as OpenCV computes both (Pech-Pacheco et al. 2000): above 50 is out of focus at 0.5 um
 * per pixel. overexposed: percent of the pixels that are not glass in which a channel is burnt out. */
typedef struct {
    uint8_t blur, overexposed;
} LobTileQuality;
LobTileQuality lob_tile_quality(const uint8_t *rgb, int size);

/* ---- stains ---- */
typedef enum { LOB_STAIN_NONE, LOB_STAIN_MACENKO, LOB_STAIN_REINHARD } LobStainMethod;

/* What a slide's own tissue looks like; NaN throughout where there is too little to tell. */
typedef struct {
    double hema[3], eosin[3]; /* absorption in R, G, B: unit vectors */
    double strength[2];       /* of haematoxylin, eosin: 99th percentile of the concentration, natural log */
    double mean[3], sd[3];    /* of l, alpha, beta over tissue (Ruderman's space, natural log) */
} LobStains;

/* From n pixels [n][3] sampled over the slide: stains by Macenko et al. 2009 (plane of the two largest
 * eigenvectors of optical density, 1st and 99th percentile of the angle in it), colour by Reinhard et al.
 * 2001. White is taken as 240. */
void lob_stains_estimate(const uint8_t *rgb, size_t n, LobStains *stains);
bool lob_stains_known(const LobStains *stains);

/* Rows of the pseudo-inverse of two stains: haematoxylin = unmix[0] . density, eosin = unmix[1] . density. */
void lob_stain_unmixing(const double hema[3], const double eosin[3], double unmix[2][3]);

/* Brings pixels to the fixed reference: for Macenko the stains and strengths of the method's published code,
 * for Reinhard the means and deviations of region TCGA-A2-A3XS-DX1 (Amgad et al. 2019). The reference is part
 * of the program, never of a cohort. */
typedef struct {
    LobStainMethod method;
    double to[3][3], shift[3]; /* on optical density (Macenko) or log LMS (Reinhard) */
} LobStainMap;
/* stains must be known. */
void lob_stain_map_init(LobStainMap *map, LobStainMethod method, const LobStains *stains);
/* n pixels; in and out may be the same. Glass stays glass. */
void lob_stain_apply(const LobStainMap *map, const uint8_t *in, size_t n, uint8_t *out);
/* The method by its name in a study file: "none", "macenko", "reinhard". */
bool lob_stain_method(const char *name, LobStainMethod *method);
/* What a store says of the normalisation: method and reference; "" for none. */
const char *lob_stain_identity(LobStainMethod method);

/* Writes the overview, a picture of any size of the part that the mask covers, with the mask's outlines and
 * the tiles (grid; NULL = none) drawn over it. */
bool lob_overlay_png(const char *path, const LobImage *overview, const LobMask *mask, const LobGrid *grid,
                     double tile_w, double tile_h, GError **err);
bool lob_image_save_png(const char *path, const LobImage *image, GError **err);

#endif
