/* Private to hdf5io/: other tools' per-slide feature files (TRIDENT, CLAM, STAMP; AtlasPatch and Slideflow
 * are read only). */
#ifndef LOB_FEATURE_FILE_H
#define LOB_FEATURE_FILE_H

#include "encoder/weights.h"
#include "hdf5io/hdf5io_internal.h"

/* What a feature file says about itself; 0 or NULL = it does not say. */
typedef struct {
    char *encoder;
    int tile_size, overlap; /* px at the encoder's scale */
    double tile_mpp;        /* um a pixel of the tile: nominal under TRIDENT, which keeps magnifications */
    int64_t level0_tile;    /* tile edge in level-0 px */
    int64_t width, height;  /* of level 0 */
    bool micrometres;       /* coords are in um, not level-0 px */
    double coord_scale;     /* factor that brings coords to that unit */
    double centre_um;       /* > 0: coords are centres of tiles with this edge, else top-left corners */
    double mpp;             /* of level 0 */
    char *stain;            /* method of stain normalisation */
} LobFeatureFacts;

typedef struct {
    char *path;
    LobFeatureFormat format;
    LobFeatureFacts facts;
    hid_t file, features, coords; /* coords: LOB_NO_HID where there are none */
    int coord_columns;            /* the first two are x and y */
    /* a tensor file (.pt) instead: features, and places [rows][2] or NULL */
    LobWeights *weights;
    const LobTensor *tensor;
    double *places;
    uint64_t rows;
    int dim;   /* 0 where an empty file does not say */
    bool half; /* features are float16 */
} LobFeatureFile;

LobFeatureFile *lob_feature_file_open(const char *path, GError **err);
/* encoder: which one to take of a file that holds several; NULL = such a file is refused. */
LobFeatureFile *lob_feature_file_open_as(const char *path, const char *encoder, GError **err);
/* A slide's file in a folder: <slide_id>.h5 or <slide_id>.pt; NULL where there is none. Caller frees. */
char *lob_feature_file_find(const char *folder, const char *slide_id);
/* feature_tensor.c: opens a tensor file's features, places and facts into a file without handles. */
bool lob_feature_tensor_open(LobFeatureFile *file, GError **err);
bool lob_feature_tensor_floats(const LobFeatureFile *file, uint64_t first, size_t n, float *out,
                               GError **err);
void lob_feature_file_close(LobFeatureFile *file);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LobFeatureFile, lob_feature_file_close)
/* [n][dim]; a NaN or an infinity is an INPUT error that names file and row. */
bool lob_feature_file_read_floats(LobFeatureFile *file, uint64_t first, size_t n, float *out, GError **err);
/* The same as binary16; a value beyond its range is an INPUT error too. */
bool lob_feature_file_read_halves(LobFeatureFile *file, uint64_t first, size_t n, uint16_t *out,
                                  GError **err);
/* [rows] level-0 px; mpp is needed where the file keeps micrometres, else it may be 0. */
bool lob_feature_file_read_coords(LobFeatureFile *file, double mpp, int32_t (*xy)[2], GError **err);

/* Writes one slide's file under path by rename. */
typedef struct {
    const char *slide_id, *encoder;
    int tile_size, overlap, dim;
    double tile_mpp, mpp; /* mpp: of level 0 */
    int64_t width, height;
    size_t n;
    const float *features;      /* [n][dim] */
    const int32_t (*coords)[2]; /* [n] level-0 px */
} LobFeatureSlide;
bool lob_feature_slide_write(const char *path, LobFeatureFormat format, const LobFeatureSlide *slide,
                             GError **err);
/* Replaces path by a .pt file of the slide's features, which CLAM trains from. */
bool lob_feature_slide_write_torch(const char *path, const LobFeatureSlide *slide, GError **err);
/* torch_file.c: writes path itself. */
bool lob_torch_file_write(const char *path, const float *features, size_t n, size_t dim, GError **err);

#endif
