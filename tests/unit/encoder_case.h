/* Cases of the encoders' goldens, as tests/oracles/vit_torch.py and conv_torch.py write them: a folder with
 * preset.yaml, tiles.bin, expected.bin, case.txt, and either weights files or their recipe. */
#ifndef LOB_TEST_ENCODER_CASE_H
#define LOB_TEST_ENCODER_CASE_H

#include "encoder/encoder.h"

typedef struct {
    size_t tiles, tile_bytes;
    int size, dim;
    char *preset, *tiles_data, *expected;
} Case;

/* Everything fails the test where it goes wrong; strings are the caller's. */
char *case_file(const char *folder, const char *name, size_t *size);
Case case_read(const char *folder);
void case_clear(Case *c);
LobEncoder *case_open(const Case *c, const char *weights, const char *precision, GError **err);
/* FOLDER/recipe.txt as a safetensors file in a new folder; returns that folder. */
char *case_cook(const char *folder);
/* fp32 rows as PyTorch's (relative error below 1e-4, cosine above 0.99999), and the same bytes for a tile
 * alone. */
void case_check(const char *folder, const char *weights);
/* Each tile's cosine with the fp32 rows above 0.999. */
void case_check_bf16(const char *folder, const char *weights);
/* Why this build or CPU has no bf16, or NULL where it has; the message must name what is missing. */
char *case_bf16_missing(const char *folder, const char *weights);
/* LOB_FULL_DEPTH=NAME,...: these presets at their full depth; figures are told. Minutes and gigabytes. */
const char *case_full_depth(void);

#endif
