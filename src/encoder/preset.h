/* Presets: one small YAML file an encoder says what the network is, what it is fed and what it gives. Only
 * src/encoder and its tests include this. */
#ifndef LOB_ENCODER_PRESET_H
#define LOB_ENCODER_PRESET_H

#include "base/base.h"

/* Every key of the file; configs/encoders/README.md explains them. Zero or NULL where a key is absent, unless
 * said. */
typedef struct {
    char *name; /* the file's, without .yaml */
    char *path;
    char *network;           /* vit | swin | resnet50 */
    char *layout;            /* how the weights are named: timm | hf-dinov2 | hf-vit */
    char *mlp;               /* gelu | swiglu */
    char *position;          /* tokens the position embedding covers: all | class+patches | patches */
    char *position_resample; /* bilinear | bicubic | bicubic-antialias | bicubic-dino, needed where the grid
                                that is resampled is not native */
    char *position_through_resample; /* the same, from position_grid to position_through */
    char *output;                    /* class | mean | class+mean | pool */
    char *prefix;                    /* before every tensor's name */
    char *pool_prefix;               /* attentional pooling: before the pooler's tensors */
    char *filter;                    /* bilinear | bicubic */
    char *licence;
    char **ignore; /* tensors of the file that the network does not use: names, '*' for any text */
    int64_t image, patch, depth, width, heads, hidden, registers, position_grid, position_through, resize,
        pool_width, pool_heads;
    bool layer_scale;
    double eps, recommended_mpp;
    double mean[3], sd[3]; /* mean: NaN where absent */
} LobPreset;

/* INPUT errors name file and line; a key that the network does not use is one. */
LobPreset *lob_preset_read(const char *path, GError **err);
void lob_preset_free(LobPreset *preset);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LobPreset, lob_preset_free)

/* "output=class,network=0123456789ab": all that decides the features beside weights, transform and precision;
 * the number is a hash of the keys that describe the network. Caller frees. */
char *lob_preset_identity(const LobPreset *preset);

/* The folder of presets: $LOB_CONFIGS/encoders, else beside the executable, else the installed or the source
 * tree's; NULL where there is none. Owned by the library. */
const char *lob_preset_folder(void);
/* Path of a preset by name, NULL where there is none; caller frees. */
char *lob_preset_find(const char *name);

#endif
