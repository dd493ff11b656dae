/* How good a tile is, from its own pixels. */
#include "tissue/tissue.h"

#include <math.h>

#define BLUR_HALF 100.0 /* variance of the Laplacian at which blur is 50 % */
#define BURNT 254
#define GLASS_CHROMA 10 /* glass is grey ... */
#define GLASS_LEAST 200 /* ... and bright */

/* As OpenCV turns 8-bit RGB into grey: weights of 15 fractional bits. */
static int grey_of(const uint8_t *p) {
    return (9798 * p[0] + 19235 * p[1] + 3735 * p[2] + (1 << 14)) >> 15;
}

/* Neighbour of i on one side, mirrored about the border's own pixel. */
static int mirrored(int i, int size) {
    int last = size - 1;
    return size == 1 ? 0 : i < 0 ? -i : i > last ? 2 * last - i : i;
}

static double laplacian_variance(const int *grey, int size) {
    int64_t sum = 0, squares = 0;
    for (int y = 0; y < size; y++) {
        const int *row = grey + (ptrdiff_t)y * size;
        const int *above = grey + (ptrdiff_t)mirrored(y - 1, size) * size;
        const int *below = grey + (ptrdiff_t)mirrored(y + 1, size) * size;
        for (int x = 0; x < size; x++) {
            int beside = row[mirrored(x - 1, size)] + row[mirrored(x + 1, size)];
            int value = beside + above[x] + below[x] - 4 * row[x];
            sum += value;
            squares += (int64_t)value * value;
        }
    }
    double n = (double)size * size, mean = (double)sum / n;
    return (double)squares / n - mean * mean;
}

LobTileQuality lob_tile_quality(const uint8_t *rgb, int size) {
    size_t n = (size_t)size * (size_t)size, seen = 0, burnt = 0;
    g_autofree int *grey = g_new(int, n);
    for (size_t i = 0; i < n; i++) {
        const uint8_t *p = rgb + 3 * i;
        int high = MAX(MAX(p[0], p[1]), p[2]), low = MIN(MIN(p[0], p[1]), p[2]);
        bool glass = high - low < GLASS_CHROMA && low >= GLASS_LEAST;
        grey[i] = grey_of(p);
        seen += !glass;
        burnt += !glass && high >= BURNT;
    }
    double variance = laplacian_variance(grey, size);
    return (LobTileQuality){
        .blur = (uint8_t)lround(100 * BLUR_HALF / (BLUR_HALF + variance)),
        .overexposed = (uint8_t)lround(100 * (double)burnt / (double)MAX(seen, 1)),
    };
}
