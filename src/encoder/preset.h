/* Presets: one small YAML file an encoder says what the network is, what it is fed and what it gives. Only
 * src/encoder and its tests include this. */
#ifndef LOB_ENCODER_PRESET_H
#define LOB_ENCODER_PRESET_H

#include "base/base.h"

/* Every key of the file; configs/encoders/README.md explains them. Zero or NULL where a key is absent. */
typedef struct {
    char *name; /* the file's, without .yaml */
    char *path;
    char *network;           /* vit | swin | resnet50 */
    char *layout;            /* how the weights are named: timm | hf-dinov2 | hf-vit */
    char *mlp;               /* gelu | swiglu */
    char *position;          /* tokens the position embedding covers: all | class+patches | patches */
    char *position_resample; /* bilinear | bicubic | bicubic-antialias, needed where position_grid is not
                                native */
    char *output;            /* class | mean | class+mean | pool */
    char *prefix;            /* before every tensor's name */
    char *pool_prefix;       /* attentional pooling: before the pooler's tensors */
    char *filter;            /* bilinear | bicubic */
    char *licence;
    char **ignore; /* tensors of the file that the network does not use: names, '*' for any text */
    int64_t image, patch, depth, width, heads, hidden, registers, position_grid, resize, pool_width,
        pool_heads;
    bool layer_scale;
    double eps, recommended_mpp;
    double mean[3], sd[3];
} LobPreset;

/* INPUT errors name file and line. */
LobPreset *lob_preset_read(const char *path, GError **err);
void lob_preset_free(LobPreset *preset);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LobPreset, lob_preset_free)

/* The folder of presets: $LOB_CONFIGS/encoders, else beside the executable, else the installed or the source
 * tree's; NULL where there is none. Owned by the library. */
const char *lob_preset_folder(void);
/* Path of a preset by name, NULL where there is none; caller frees. */
char *lob_preset_find(const char *name);

#endif
