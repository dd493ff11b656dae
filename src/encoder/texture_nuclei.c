#include "encoder/texture_internal.h"

#include <math.h>
#include <string.h>

/* A nucleus is what stands above half the height of the local haematoxylin peak over the local background:
 * blur moves such a border little, and a pale nucleus is judged by its own height, not by a dark neighbour's.
 */
static const double SMOOTH_UM = 0.55;     /* SD of the first smoothing: chromatin texture goes, nuclei stay */
static const double PEAK_RADIUS_UM = 3.5; /* about a nucleus's radius */
static const double BACKGROUND_UM = 20;   /* radius over which the background is taken to be even */
static const double HOLE_UM2 = 18;        /* pale chromatin inside a nucleus, filled */
static const double OPENING_UM = 0.5;     /* threads thinner than twice this go */
/* Nuclei part along the valleys of a relief: distance to the outside, plus a height for absorption. */
static const double RELIEF_UM = 3;       /* height of full absorption */
static const double SADDLE_UM = 0.25;    /* two summits that stand less above their saddle are one ... */
static const double SADDLE_SHARE = 0.08; /* ... plus this share of the lower summit */
static const double MIN_CONTRAST = 0.11; /* share of light absorbed */
static const double MAX_CONTRAST = 0.22; /* a nucleus of this contrast always counts */

static int px(const LobTexture *t, double um) {
    return MAX(1, (int)lround(um / t->mpp));
}

/* The least contrast of a nucleus follows the tile's strongest, between two fixed bounds. */
static float least_contrast(const LobTexture *t) {
    const float span = t->level_strong - t->level_background;
    return CLAMP(0.32f * span, (float)MIN_CONTRAST, (float)MAX_CONTRAST);
}

/* Where the first guess at the background is taken: tissue of no more than the tile's own low level. */
static void mark_pale(LobTexture *t) {
    const float limit = t->level_background + least_contrast(t);
    for (size_t i = 0; i < t->pixels; i++) {
        t->mask[i] = t->smooth[i] >= limit;
    }
}

/* Mean absorption of the tissue outside the mask within `radius`, drawn to `prior` where there is little. */
static void find_background(LobTexture *t, int radius, const float *prior) {
    const float share = 0.05f;
    float *weight = t->a, *sum = t->background;

    for (size_t i = 0; i < t->pixels; i++) {
        const float level = prior ? prior[i] : t->level_background;
        weight[i] = t->tissue[i] && !t->mask[i] ? 1 : 0;
        sum[i] = weight[i] * t->smooth[i] + share * level;
    }
    lob_filter_mean(t, sum, sum, radius);
    lob_filter_mean(t, weight, weight, radius);
    for (size_t i = 0; i < t->pixels; i++) {
        t->background[i] = sum[i] / (weight[i] + share);
    }
}

static void threshold(LobTexture *t) {
    const float least = least_contrast(t);
    float *peak = t->a;
    lob_filter_max(t, t->smooth, peak, px(t, PEAK_RADIUS_UM));
    lob_filter_mean(t, peak, peak, px(t, PEAK_RADIUS_UM / 2));
    for (size_t i = 0; i < t->pixels; i++) {
        const float height = peak[i] - t->background[i];
        t->mask[i] = height > least && t->smooth[i] - t->background[i] > 0.5f * height;
    }
}

/* One step of erosion (invert 0) or dilation (invert 1) by the 4-neighbourhood; outside the tile is what the
 * edge pixel is. */
static void erode(const uint8_t *restrict in, uint8_t *restrict out, int size, uint8_t invert) {
    const size_t width = (size_t)size;
    for (size_t y = 0; y < width; y++) {
        const uint8_t *row = in + y * width;
        const uint8_t *up = y > 0 ? row - width : row;
        const uint8_t *down = y + 1 < width ? row + width : row;
        uint8_t *target = out + y * width;
        for (size_t x = 1; x + 1 < width; x++) {
            const uint8_t all = (uint8_t)((row[x] ^ invert) & (row[x - 1] ^ invert) & (row[x + 1] ^ invert) &
                                          (up[x] ^ invert) & (down[x] ^ invert));
            target[x] = all ^ invert;
        }
        for (size_t side = 0; side < 2; side++) {
            const size_t x = side ? width - 1 : 0;
            const size_t inner = side ? width - 2 : 1;
            const uint8_t all =
                (uint8_t)((row[x] ^ invert) & (row[inner] ^ invert) & (up[x] ^ invert) & (down[x] ^ invert));
            target[x] = all ^ invert;
        }
    }
}

static void open_mask(LobTexture *t) {
    const int steps = px(t, OPENING_UM);
    for (int i = 0; i < 2 * steps; i++) {
        erode(t->mask, t->scratch8, t->size, i >= steps);
        memcpy(t->mask, t->scratch8, t->pixels);
    }
}

size_t lob_texture_flood(LobTexture *t, size_t start, bool *edge) {
    const uint32_t width = (uint32_t)t->size, last = width - 1;
    size_t head = 0, tail = 0;
    *edge = false;
    t->queue[tail++] = (uint32_t)start;
    t->mask[start] = 2;
    while (head < tail) {
        const uint32_t i = t->queue[head++];
        const uint32_t x = i % width, y = i / width;
        if (x == 0 || y == 0 || x == last || y == last) {
            *edge = true;
        }
        const uint32_t next[4] = {x > 0 ? i - 1 : i, x < last ? i + 1 : i, y > 0 ? i - width : i,
                                  y < last ? i + width : i};
        for (int k = 0; k < 4; k++) {
            if (t->mask[next[k]] == 0) {
                t->mask[next[k]] = 2;
                t->queue[tail++] = next[k];
            }
        }
    }
    return tail;
}

static void fill_holes(LobTexture *t) {
    const double limit = HOLE_UM2 / (t->mpp * t->mpp);
    for (size_t i = 0; i < t->pixels; i++) {
        bool edge;
        if (t->mask[i] != 0) {
            continue;
        }
        const size_t count = lob_texture_flood(t, i, &edge);
        if (!edge && (double)count <= limit) {
            for (size_t k = 0; k < count; k++) {
                t->mask[t->queue[k]] = 1;
            }
        }
    }
    for (size_t i = 0; i < t->pixels; i++) {
        t->mask[i] = t->mask[i] == 1;
    }
}

/* Pixels of the mask by falling relief (counting sort, ties by index); returns their number. */
static size_t sort_by_relief(LobTexture *t, const float *relief) {
    enum { BINS = 4096, PER_PX = 16 };
    uint32_t start[BINS + 1] = {0};
    size_t count = 0;
    for (size_t i = 0; i < t->pixels; i++) {
        if (t->mask[i]) {
            const int bin = MIN((int)(relief[i] * PER_PX), BINS - 1);
            start[BINS - bin]++;
            count++;
        }
    }
    for (int b = 1; b <= BINS; b++) {
        start[b] += start[b - 1];
    }
    for (size_t i = 0; i < t->pixels; i++) {
        if (t->mask[i]) {
            const int bin = MIN((int)(relief[i] * PER_PX), BINS - 1);
            t->order[start[BINS - 1 - bin]++] = (uint32_t)i;
        }
    }
    return count;
}

static int32_t root_of(LobTexture *t, int32_t basin) {
    while (t->basin_parent[basin] != basin) {
        t->basin_parent[basin] = t->basin_parent[t->basin_parent[basin]];
        basin = t->basin_parent[basin];
    }
    return basin;
}

/* Joins a pixel's neighbouring basins where the lower summit stands less than the persistence above the
 * saddle; returns the basin with the highest summit. */
static int32_t meet(LobTexture *t, const int32_t *basins, int count, float level) {
    int32_t best = basins[0];
    for (int k = 1; k < count; k++) {
        int32_t other = basins[k];
        if (other == best) {
            continue;
        }
        if (t->basin_peak[other] > t->basin_peak[best]) {
            const int32_t swap = best;
            best = other;
            other = swap;
        }
        const float low = t->basin_peak[other];
        const float persistence = (float)(SADDLE_UM / t->mpp) + (float)SADDLE_SHARE * low;
        if (low - level < persistence) {
            t->basin_parent[other] = best;
        }
    }
    return best;
}

/* Watershed of the relief with merging of shallow summits: touching nuclei part at their waist. Labels
 * are basins + 1 afterwards; returns the number of basins before merging. */
static int32_t split(LobTexture *t, const float *relief) {
    const int32_t width = t->size;
    const size_t count = sort_by_relief(t, relief);
    int32_t basins = 0;

    memset(t->label, 0, t->pixels * sizeof *t->label);
    for (size_t k = 0; k < count; k++) {
        const int32_t i = (int32_t)t->order[k], x = i % width, y = i / width;
        int32_t near[8];
        int found = 0;
        for (int32_t dy = y > 0 ? -1 : 0; dy <= (y + 1 < width ? 1 : 0); dy++) {
            for (int32_t dx = x > 0 ? -1 : 0; dx <= (x + 1 < width ? 1 : 0); dx++) {
                const int32_t label = t->label[i + dy * width + dx];
                if (label > 0) {
                    near[found++] = root_of(t, label - 1);
                }
            }
        }
        if (found == 0) {
            t->basin_peak[basins] = relief[i];
            t->basin_parent[basins] = basins;
            t->label[i] = ++basins;
        } else {
            t->label[i] = meet(t, near, found, relief[i]) + 1;
        }
    }
    return basins;
}

/* Labels become 1 .. nucleus_count in the order of basins. */
static void number(LobTexture *t, int32_t basins) {
    int32_t *final = (int32_t *)(void *)t->queue;
    t->nucleus_count = 0;
    for (int32_t b = 0; b < basins; b++) {
        final[b] = 0;
        if (t->basin_parent[b] == b && t->nucleus_count < t->nucleus_capacity) {
            final[b] = (int32_t)++t->nucleus_count;
        }
    }
    for (size_t i = 0; i < t->pixels; i++) {
        if (t->label[i] > 0) {
            t->label[i] = final[root_of(t, t->label[i] - 1)];
        }
    }
}

void lob_texture_segment(LobTexture *t) {
    lob_filter_gauss(t, t->smooth, t->smooth, MAX(SMOOTH_UM / t->mpp, 0.4));
    mark_pale(t);
    find_background(t, px(t, BACKGROUND_UM), NULL);
    threshold(t);
    find_background(t, px(t, BACKGROUND_UM / 2), t->background);
    threshold(t);
    fill_holes(t);
    open_mask(t);
    lob_filter_distance(t, t->mask, t->a);
    for (size_t i = 0; i < t->pixels; i++) {
        t->a[i] += (float)(RELIEF_UM / t->mpp) * t->smooth[i];
    }
    number(t, split(t, t->a));
}
