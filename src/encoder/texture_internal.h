/* Inside the texture encoder: its working memory and stages. Only src/encoder and its tests include this. */
#ifndef LOB_TEXTURE_INTERNAL_H
#define LOB_TEXTURE_INTERNAL_H

#include "encoder/encoder.h"

enum { LOB_GLCM_LEVELS = 16, LOB_LBP_BINS = 10 };

/* One nucleus with everything measured on it. Lengths in px of the tile, areas in um2, darkness in optical
 * density (base 10). */
typedef struct {
    float x, y, area, eccentricity;
    float breadth;   /* minor axis of that ellipse, um */
    float fill;      /* area over that of the ellipse with the same second moments: 1 for an ellipse */
    float darkness;  /* mean haematoxylin */
    float contrast;  /* darkness above the local background */
    float roughness; /* SD of haematoxylin inside the nucleus over its contrast: coarse chromatin is high */
    float lympho;    /* 0 .. 1: small, round, dark */
    bool at_border;  /* touches the tile's edge: counted, but not measured */
} LobTextureNucleus;

/* Sums over a nucleus's pixels. */
typedef struct {
    double n, x, y, xx, yy, xy, hema, hema2, eosin, background;
    bool at_border;
} LobTextureMoments;

/* Working memory of one tile; all planes are [size][size]. */
typedef struct {
    int size;
    size_t pixels; /* size * size */
    double mpp;
    uint8_t *tissue, *mask, *scratch8; /* tissue and mask are 0 or 1 */
    float *hema, *eosin, *grey;        /* optical densities: haematoxylin, eosin, mean over the channels */
    float *smooth; /* light absorbed by haematoxylin (1 - transmittance), lightly smoothed: blur is linear in
                      it */
    float *background;   /* the same, local, outside nuclei */
    float *a, *b, *line; /* free for the stage at work; line [4 * size + 256] */
    int32_t *label;      /* 0 = background, k = nucleus k - 1 */
    uint32_t *order, *queue;
    float *basin_peak;
    int32_t *basin_parent;
    LobTextureNucleus *nuclei;  /* [nucleus_capacity] */
    LobTextureMoments *moments; /* [nucleus_capacity] */
    size_t nucleus_count, nucleus_capacity, tissue_count;
    float *values; /* [nucleus_capacity], for percentiles */
    float white[3];
    float level_background, level_strong; /* low and high levels of the absorbed light inside tissue */
    float level_eosin;                    /* mean inside tissue */
} LobTexture;

typedef struct {
    float contrast, correlation, energy, homogeneity;
} LobGlcm;

/* Texture of a tile side from 16 to 4096 px at 0.2 to 1.2 um/px; INPUT errors otherwise. */
bool lob_texture_supported(int size, double mpp, GError **err);
void lob_texture_init(LobTexture *t, int size, double mpp);
void lob_texture_clear(LobTexture *t);

/* Stages, in this order. */
void lob_texture_stains(LobTexture *t, const uint8_t *rgb);
void lob_texture_segment(LobTexture *t);
void lob_texture_measure(LobTexture *t);
void lob_texture_features(LobTexture *t, const uint8_t *rgb, float *out);
extern const char *const lob_texture_columns[];
size_t lob_texture_column_count(void);

/* Filters. Windows are cut at the tile's edge (mean, maximum) or repeat it (Gauss). */
void lob_filter_gauss(LobTexture *t, const float *in, float *out, double sigma);
void lob_filter_mean(LobTexture *t, const float *in, float *out, int radius);
void lob_filter_max(LobTexture *t, const float *in, float *out, int radius);
/* Euclidean distance of each pixel of the mask to the nearest pixel outside it; the tile's edge is no
 * outside.
 */
void lob_filter_distance(LobTexture *t, const uint8_t *mask, float *out);

/* Takes the 4-connected component of zeros of `mask` around `start` into `queue` and marks it 2; returns its
 * size. `edge` tells whether it reaches the tile's border. */
size_t lob_texture_flood(LobTexture *t, size_t start, bool *edge);

/* Grey-level co-occurrence at `distance` px in the four directions 0, 45, 90, 135 degrees, symmetric, summed;
 * grey [size][size] below LOB_GLCM_LEVELS. Correlation of a constant image is 1. */
LobGlcm lob_glcm(const uint8_t *grey, int size, int distance);
/* Rotation-invariant uniform local binary patterns, 8 neighbours at `radius` px (diagonals at the nearest
 * pixel); a neighbour counts as brighter where it exceeds the centre by `tolerance`. Shares of all pixels
 * that have all neighbours. */
void lob_lbp(const float *grey, int size, int radius, float tolerance, float histogram[LOB_LBP_BINS]);

#endif
