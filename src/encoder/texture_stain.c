#include "encoder/texture_internal.h"
#include "tissue/tissue.h"

#include <math.h>

/* Absorption of haematoxylin and eosin in R, G, B (unit vectors), about which each tile's own are sought. */
static const double HEMA[3] = {0.644, 0.717, 0.267};
static const double EOSIN[3] = {0.093, 0.954, 0.283};
enum { STEP = 2 };                     /* every STEP-th px in both directions is looked at for the stains */
static const double WHITE_PRIOR = 243; /* a scanner's white where a tile has none of its own */
static const double TISSUE_DENSITY = .06; /* the densest channel of tissue is above it */

static void normalise(double v[3]) {
    const double length = sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
    for (int c = 0; c < 3; c++) {
        v[c] /= length;
    }
}

/* White per channel: the mean of bright unsaturated pixels, drawn to the prior where there are few. */
static void find_white(LobTexture *t, const uint8_t *rgb) {
    double sum[3] = {0, 0, 0}, count = 0;
    for (size_t i = 0; i < t->pixels; i += STEP) {
        const uint8_t *p = rgb + 3 * i;
        const int low = MIN(MIN(p[0], p[1]), p[2]);
        const int high = MAX(MAX(p[0], p[1]), p[2]);
        if (low >= 205 && high - low <= 22) {
            sum[0] += p[0];
            sum[1] += p[1];
            sum[2] += p[2];
            count++;
        }
    }
    const double prior = (double)t->pixels / 200;
    for (int c = 0; c < 3; c++) {
        t->white[c] = (float)((sum[c] + prior * WHITE_PRIOR) / (count + prior));
    }
}

static void density_table(const LobTexture *t, float table[3][256]) {
    for (int c = 0; c < 3; c++) {
        for (int v = 0; v < 256; v++) {
            table[c][v] = (float)MAX(0, -log10((v + 1) / ((double)t->white[c] + 1)));
        }
    }
}

typedef struct {
    double sum[3], count;
} StainSum;

/* The mean direction, drawn to the reference by its count and dropped where it leaves the reference's
 * neighbourhood, gradually, so that similar tiles get similar stains. */
static void drawn_to(const StainSum *found, const double reference[3], double stain[3]) {
    double own[3] = {found->sum[0], found->sum[1], found->sum[2]};
    for (int c = 0; c < 3; c++) {
        stain[c] = reference[c];
    }
    if (found->count < 1) {
        return;
    }
    normalise(own);
    const double cosine = own[0] * reference[0] + own[1] * reference[1] + own[2] * reference[2];
    const double near = CLAMP((cosine - 0.88) / 0.06, 0, 1);
    const double weight = 0.7 * near * found->count / (found->count + 400);
    for (int c = 0; c < 3; c++) {
        stain[c] = weight * own[c] + (1 - weight) * reference[c];
    }
    normalise(stain);
}

static double quantile(const uint32_t histogram[256], double share) {
    double total = 0, sum = 0;
    for (int i = 0; i < 256; i++) {
        total += histogram[i];
    }
    for (int i = 0; i < 256; i++) {
        sum += histogram[i];
        if (sum >= share * total) {
            return i;
        }
    }
    return 255;
}

static int bin_of(double density) {
    return (int)CLAMP(density * 170, 0, 255);
}

/* The tile's own stains: eosin from the paler half of the tissue, haematoxylin from its densest 6 %. */
static void find_stains(const LobTexture *t, const uint8_t *rgb, float table[3][256], double hema[3],
                        double eosin[3]) {
    double unmix[2][3];
    uint32_t histogram[256] = {0};
    StainSum blue = {{0}, 0}, pink = {{0}, 0};
    double low = 0, high = 0;

    lob_stain_unmixing(HEMA, EOSIN, unmix);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t y = 0; y < (size_t)t->size; y += STEP) {
            for (size_t x = 0; x < (size_t)t->size; x += STEP) {
                const uint8_t *p = rgb + 3 * (y * (size_t)t->size + x);
                const double r = (double)table[0][p[0]], g = (double)table[1][p[1]],
                             b = (double)table[2][p[2]];
                if (MAX(r, g) < TISSUE_DENSITY) {
                    continue;
                }
                const int bin = bin_of(unmix[0][0] * r + unmix[0][1] * g + unmix[0][2] * b);
                if (pass == 0) {
                    histogram[bin]++;
                    continue;
                }
                StainSum *stain = bin >= high ? &blue : bin <= low ? &pink : NULL;
                if (stain) {
                    stain->sum[0] += r;
                    stain->sum[1] += g;
                    stain->sum[2] += b;
                    stain->count++;
                }
            }
        }
        low = quantile(histogram, 0.5);
        high = MAX(quantile(histogram, 0.94), low + bin_of(0.15));
    }
    drawn_to(&blue, HEMA, hema);
    drawn_to(&pink, EOSIN, eosin);
}

/* The background's and the darkest structures' level inside tissue, and the mean eosin. */
static void find_levels(LobTexture *t) {
    enum { BINS = 256 };
    uint32_t histogram[BINS] = {0};
    double eosin = 0;
    for (size_t i = 0; i < t->pixels; i++) {
        if (t->tissue[i]) {
            histogram[(int)(t->smooth[i] * (BINS - 1))]++;
            eosin += (double)t->eosin[i];
        }
    }
    t->level_background = (float)(quantile(histogram, 0.25) / (BINS - 1));
    t->level_eosin = (float)(eosin / (double)MAX(t->tissue_count, 1));
    t->level_strong = (float)(quantile(histogram, 0.99) / (BINS - 1));
}

/* Absorbed light from density, by a table of steps of 1/512. */
static void absorb(LobTexture *t) {
    enum { STEPS = 1024, PER_DENSITY = 512 };
    float table[STEPS];
    for (int i = 0; i < STEPS; i++) {
        table[i] = (float)(1 - pow(10, -(double)i / PER_DENSITY));
    }
    for (size_t i = 0; i < t->pixels; i++) {
        t->smooth[i] = table[(int)MIN(t->hema[i] * PER_DENSITY + 0.5f, (float)(STEPS - 1))];
    }
}

void lob_texture_stains(LobTexture *t, const uint8_t *rgb) {
    float table[3][256];
    double hema[3], eosin[3], unmix[2][3];
    float h[3], e[3];

    find_white(t, rgb);
    density_table(t, table);
    find_stains(t, rgb, table, hema, eosin);
    lob_stain_unmixing(hema, eosin, unmix);
    for (int c = 0; c < 3; c++) {
        h[c] = (float)unmix[0][c];
        e[c] = (float)unmix[1][c];
    }
    t->tissue_count = 0;
    for (size_t i = 0; i < t->pixels; i++) {
        const float r = table[0][rgb[3 * i]], g = table[1][rgb[3 * i + 1]], b = table[2][rgb[3 * i + 2]];
        t->hema[i] = MAX(0, h[0] * r + h[1] * g + h[2] * b);
        t->eosin[i] = MAX(0, e[0] * r + e[1] * g + e[2] * b);
        t->grey[i] = (r + g + b) / 3;
        t->tissue[i] = MAX(r, g) >= (float)TISSUE_DENSITY;
        t->tissue_count += t->tissue[i];
    }
    absorb(t);
    find_levels(t);
}
