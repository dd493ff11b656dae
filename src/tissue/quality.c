/* How good a slide is, seen from its overview. */
#include "tissue/tissue_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int luma(const uint8_t *p) {
    return (299 * p[0] + 587 * p[1] + 114 * p[2]) / 1000;
}

static int chroma(const uint8_t *p) {
    return MAX(MAX(p[0], p[1]), p[2]) - MIN(MIN(p[0], p[1]), p[2]);
}

/* Ink. Haematoxylin is blue too, but there green is the least of the three; in blue ink red is. */
static bool is_pen(const uint8_t *p) {
    bool blue = p[2] > p[0] + 50 && p[1] >= p[0] && p[2] > p[1] + 15;
    bool green = p[1] > p[0] + 30 && p[1] > p[2] + 10;
    bool black = p[0] < 60 && p[1] < 60 && p[2] < 60 && chroma(p) < 30;
    return blue || green || black;
}

/* Half of the mass of a histogram lies at or below. */
static int median_of(const uint64_t histogram[256]) {
    uint64_t total = 0, sum = 0;
    for (int v = 0; v < 256; v++)
        total += histogram[v];
    for (int v = 0; v < 256; v++) {
        sum += histogram[v];
        if (2 * sum >= total)
            return v;
    }
    return 255;
}

void lob_ink_plane(const LobImage *overview, LobImage *plane) {
    lob_image_init(plane, overview->width, overview->height, 1);
    for (size_t i = 0; i < (size_t)overview->width * (size_t)overview->height; i++)
        plane->data[i] = is_pen(overview->data + 3 * i) ? 255 : 0;
}

/* Tissue that is, against this slide's own tissue, much darker and no less coloured: lying double. */
void lob_fold_plane(const LobImage *overview, const uint8_t *tissue, LobImage *plane) {
    uint64_t light[256] = {0}, colour[256] = {0};
    size_t n = (size_t)overview->width * (size_t)overview->height;
    lob_image_init(plane, overview->width, overview->height, 1);
    for (size_t i = 0; i < n; i++)
        if (tissue[i]) {
            light[luma(overview->data + 3 * i)]++;
            colour[chroma(overview->data + 3 * i)]++;
        }
    int typical_light = median_of(light), typical_colour = median_of(colour);
    for (size_t i = 0; i < n; i++) {
        const uint8_t *p = overview->data + 3 * i;
        bool folded = tissue[i] && 10 * luma(p) < 6 * typical_light && chroma(p) >= typical_colour;
        plane->data[i] = folded ? 255 : 0;
    }
}

static double fold_share(const LobImage *rgb, const uint8_t *tissue, size_t n) {
    g_auto(LobImage) folds = {0};
    size_t all = 0, folded = 0;
    lob_fold_plane(rgb, tissue, &folds);
    for (size_t i = 0; i < n; i++) {
        all += tissue[i] != 0;
        folded += folds.data[i] != 0;
    }
    return all > 0 ? (double)folded / (double)all : 0;
}

static double laplacian_variance(const LobImage *rgb, const uint8_t *mask) {
    double sum = 0, squares = 0, count = 0;
    ptrdiff_t width = rgb->width;
    for (ptrdiff_t y = 1; y + 1 < rgb->height; y++)
        for (ptrdiff_t x = 1; x + 1 < width; x++) {
            ptrdiff_t i = y * width + x;
            if (!mask[i])
                continue;
            const uint8_t *p = rgb->data + 3 * i;
            int value = luma(p - 3) + luma(p + 3) + luma(p - 3 * width) + luma(p + 3 * width) - 4 * luma(p);
            sum += value;
            squares += (double)value * value;
            count++;
        }
    return count > 0 ? squares / count - sum / count * (sum / count) : 0;
}

void lob_slide_quality(const LobImage *overview, const LobMask *mask, double mpp_x, double mpp_y,
                       LobSlideQuality *quality) {
    *quality = (LobSlideQuality){0};
    size_t n = (size_t)overview->width * (size_t)overview->height, tissue = 0, pen = 0, known = 0;
    g_assert(mask->image.width == overview->width && mask->image.height == overview->height);
    g_autofree uint8_t *seen = g_memdup2(mask->image.data, n); /* tissue that was really read */
    for (size_t i = 0; i < n; i++) {
        const uint8_t *p = overview->data + 3 * i;
        if (mask->unknown.data != NULL && mask->unknown.data[i]) {
            seen[i] = 0;
            continue;
        }
        known++;
        pen += is_pen(p);
        if (!seen[i])
            continue;
        tissue++;
        for (int c = 0; c < 3; c++)
            quality->od_mean[c] -= log10((p[c] + 1) / 256.0);
    }
    for (int c = 0; c < 3; c++)
        quality->od_mean[c] /= (double)MAX(tissue, 1);
    quality->tissue_mm2 = (double)tissue * mask->scale_x * mpp_x * mask->scale_y * mpp_y / 1e6;
    quality->pen_fraction = (double)pen / (double)MAX(known, 1);
    quality->fold_fraction = fold_share(overview, seen, n);
    quality->blur = laplacian_variance(overview, seen);
    quality->unknown = 1 - (double)known / (double)n;
}
