#include "encoder/texture_internal.h"

#include <math.h>
#include <string.h>

/* Pairs (pixel, pixel + offset), counted once; four tables keep successive increments apart. */
static void count_pairs(const uint8_t *grey, int size, int dx, int dy,
                        uint32_t counts[4][LOB_GLCM_LEVELS * LOB_GLCM_LEVELS]) {
    const int from = MAX(0, -dx), to = MIN(size, size - dx);
    for (int y = 0; y + dy < size; y++) {
        const uint8_t *p = grey + (size_t)y * (size_t)size;
        const uint8_t *q = grey + (size_t)(y + dy) * (size_t)size + dx;
        for (int x = from; x < to; x++) {
            counts[x & 3][p[x] * LOB_GLCM_LEVELS + q[x]]++;
        }
    }
}

static LobGlcm glcm_properties(const double p[LOB_GLCM_LEVELS][LOB_GLCM_LEVELS]) {
    double mean = 0, variance = 0, covariance = 0, contrast = 0, energy = 0, homogeneity = 0;
    for (int i = 0; i < LOB_GLCM_LEVELS; i++) {
        for (int j = 0; j < LOB_GLCM_LEVELS; j++) {
            mean += p[i][j] * i;
        }
    }
    for (int i = 0; i < LOB_GLCM_LEVELS; i++) {
        for (int j = 0; j < LOB_GLCM_LEVELS; j++) {
            const double d = (i - j) * (i - j);
            variance += p[i][j] * (i - mean) * (i - mean);
            covariance += p[i][j] * (i - mean) * (j - mean);
            contrast += p[i][j] * d;
            homogeneity += p[i][j] / (1 + d);
            energy += p[i][j] * p[i][j];
        }
    }
    return (LobGlcm){.contrast = (float)contrast,
                     .correlation = variance > 1e-12 ? (float)(covariance / variance) : 1,
                     .energy = (float)sqrt(energy),
                     .homogeneity = (float)homogeneity};
}

LobGlcm lob_glcm(const uint8_t *grey, int size, int distance) {
    uint32_t counts[4][LOB_GLCM_LEVELS * LOB_GLCM_LEVELS];
    double p[LOB_GLCM_LEVELS][LOB_GLCM_LEVELS];
    double total = 0;

    memset(counts, 0, sizeof counts);
    count_pairs(grey, size, distance, 0, counts);
    count_pairs(grey, size, distance, distance, counts);
    count_pairs(grey, size, 0, distance, counts);
    count_pairs(grey, size, -distance, distance, counts);
    for (int i = 0; i < LOB_GLCM_LEVELS; i++) {
        for (int j = 0; j < LOB_GLCM_LEVELS; j++) {
            p[i][j] = 0;
            for (int k = 0; k < 4; k++) {
                p[i][j] += counts[k][i * LOB_GLCM_LEVELS + j] + counts[k][j * LOB_GLCM_LEVELS + i];
            }
            total += p[i][j];
        }
    }
    for (int i = 0; i < LOB_GLCM_LEVELS; i++) {
        for (int j = 0; j < LOB_GLCM_LEVELS; j++) {
            p[i][j] /= total;
        }
    }
    return glcm_properties((const double(*)[LOB_GLCM_LEVELS])p);
}

/* Bin of each of the 256 patterns: the number of ones where they are one run around the circle, else 9. */
static void lbp_bins(uint8_t bins[256]) {
    for (unsigned pattern = 0; pattern < 256; pattern++) {
        const unsigned turned = (pattern >> 1 | pattern << 7) & 255;
        const int changes = __builtin_popcount(pattern ^ turned);
        bins[pattern] = changes <= 2 ? (uint8_t)__builtin_popcount(pattern) : 9;
    }
}

void lob_lbp(const float *grey, int size, int radius, float tolerance, float histogram[LOB_LBP_BINS]) {
    const int diagonal = MAX(1, (int)lround(radius * G_SQRT2 / 2));
    const int circle[8][2] = {{radius, 0},  {diagonal, diagonal},   {0, radius},  {-diagonal, diagonal},
                              {-radius, 0}, {-diagonal, -diagonal}, {0, -radius}, {diagonal, -diagonal}};
    uint32_t counts[256] = {0};
    uint8_t bins[256];
    ptrdiff_t offset[8];
    const double total = (double)(size - 2 * radius) * (size - 2 * radius);

    for (int k = 0; k < 8; k++) {
        offset[k] = circle[k][1] * (ptrdiff_t)size + circle[k][0];
    }
    for (int y = radius; y < size - radius; y++) {
        for (int x = radius; x < size - radius; x++) {
            const float *p = grey + (ptrdiff_t)y * size + x;
            const float level = *p + tolerance;
            unsigned pattern = 0;
            for (int k = 0; k < 8; k++) {
                pattern |= (unsigned)(p[offset[k]] > level) << k;
            }
            counts[pattern]++;
        }
    }
    lbp_bins(bins);
    memset(histogram, 0, LOB_LBP_BINS * sizeof *histogram);
    for (int i = 0; i < 256; i++) {
        histogram[bins[i]] += (float)(counts[i] / total);
    }
}
