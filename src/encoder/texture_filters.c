#include "encoder/texture_internal.h"

#include <math.h>
#include <string.h>

enum { GAUSS_MAX_RADIUS = 24 };

static int gauss_kernel(float *kernel, double sigma) {
    int radius = (int)ceil(3 * sigma);
    double sum = 0;
    radius = CLAMP(radius, 1, GAUSS_MAX_RADIUS);
    for (int i = -radius; i <= radius; i++) {
        sum += exp(-0.5 * i * i / (sigma * sigma));
    }
    for (int i = -radius; i <= radius; i++) {
        kernel[i + radius] = (float)(exp(-0.5 * i * i / (sigma * sigma)) / sum);
    }
    return radius;
}

static void gauss_row(const float *restrict padded, float *restrict out, int size, const float *kernel,
                      int radius) {
    for (int x = 0; x < size; x++) {
        out[x] = 0;
    }
    for (int k = 0; k <= 2 * radius; k++) {
        const float weight = kernel[k];
        for (int x = 0; x < size; x++) {
            out[x] += weight * padded[x + k];
        }
    }
}

void lob_filter_gauss(LobTexture *t, const float *in, float *out, double sigma) {
    float kernel[2 * GAUSS_MAX_RADIUS + 1];
    const int size = t->size;
    const int radius = gauss_kernel(kernel, sigma);
    float *rows = t->b;

    for (int y = 0; y < size; y++) {
        const float *row = in + (size_t)y * (size_t)size;
        for (int x = 0; x < radius; x++) {
            t->line[x] = row[0];
            t->line[radius + size + x] = row[size - 1];
        }
        memcpy(t->line + radius, row, (size_t)size * sizeof *row);
        gauss_row(t->line, rows + (size_t)y * (size_t)size, size, kernel, radius);
    }
    for (int y = 0; y < size; y++) {
        float *restrict target = out + (size_t)y * (size_t)size;
        memset(target, 0, (size_t)size * sizeof *target);
        for (int k = -radius; k <= radius; k++) {
            const float *restrict row = rows + (size_t)CLAMP(y + k, 0, size - 1) * (size_t)size;
            const float weight = kernel[k + radius];
            for (int x = 0; x < size; x++) {
                target[x] += weight * row[x];
            }
        }
    }
}

/* Running sums in double: their drift over a line stays below 1e-12. */
static void mean_rows(const float *in, float *out, int size, int radius) {
    for (int y = 0; y < size; y++) {
        const float *row = in + (size_t)y * (size_t)size;
        float *target = out + (size_t)y * (size_t)size;
        double sum = 0;
        for (int x = 0; x < MIN(radius, size); x++) {
            sum += (double)row[x];
        }
        for (int x = 0; x < size; x++) {
            sum += x + radius < size ? (double)row[x + radius] : 0;
            sum -= x - radius - 1 >= 0 ? (double)row[x - radius - 1] : 0;
            target[x] = (float)sum / (float)(MIN(x + radius, size - 1) - MAX(x - radius, 0) + 1);
        }
    }
}

static void add_row(double *restrict sums, const float *restrict row, int size, double sign) {
    for (int x = 0; x < size; x++) {
        sums[x] += sign * (double)row[x];
    }
}

static void mean_columns(const float *in, float *out, double *sums, int size, int radius) {
    for (int x = 0; x < size; x++) {
        sums[x] = 0;
    }
    for (int y = 0; y < MIN(radius, size); y++) {
        add_row(sums, in + (size_t)y * (size_t)size, size, 1);
    }
    for (int y = 0; y < size; y++) {
        if (y + radius < size) {
            add_row(sums, in + (size_t)(y + radius) * (size_t)size, size, 1);
        }
        if (y - radius - 1 >= 0) {
            add_row(sums, in + (size_t)(y - radius - 1) * (size_t)size, size, -1);
        }
        const double count = MIN(y + radius, size - 1) - MAX(y - radius, 0) + 1;
        for (int x = 0; x < size; x++) {
            out[(size_t)y * (size_t)size + (size_t)x] = (float)(sums[x] / count);
        }
    }
}

void lob_filter_mean(LobTexture *t, const float *in, float *out, int radius) {
    mean_rows(in, t->b, t->size, radius);
    mean_columns(t->b, out, (double *)(void *)t->line, t->size, radius);
}

/* A maximum over `window` values as maxima over pairs: the covered length doubles until it is the window. */
static void max_line(float *restrict line, float *restrict spare, int length, int window) {
    int covered = 1;
    while (covered < window) {
        const int shift = MIN(covered, window - covered);
        for (int i = 0; i + shift < length; i++) {
            spare[i] = MAX(line[i], line[i + shift]);
        }
        memcpy(line, spare, (size_t)(length - shift) * sizeof *line);
        length -= shift;
        covered += shift;
    }
}

/* Row-wise maximum, written transposed, so that two calls make the square window. */
static void max_rows_transposed(LobTexture *t, const float *in, float *out, int radius) {
    const int size = t->size;
    const int length = size + 2 * radius;
    for (int y = 0; y < size; y++) {
        const float *row = in + (size_t)y * (size_t)size;
        for (int x = 0; x < radius; x++) {
            t->line[x] = row[0];
            t->line[radius + size + x] = row[size - 1];
        }
        memcpy(t->line + radius, row, (size_t)size * sizeof *row);
        max_line(t->line, t->line + length, length, 2 * radius + 1);
        for (int x = 0; x < size; x++) {
            out[(size_t)x * (size_t)size + (size_t)y] = t->line[x];
        }
    }
}

void lob_filter_max(LobTexture *t, const float *in, float *out, int radius) {
    max_rows_transposed(t, in, t->b, radius);
    max_rows_transposed(t, t->b, out, radius);
}

/* Lower envelope of parabolas over one line (Felzenszwalb and Huttenlocher 2012); f and d are squared
 * distances, site [length] and bound [length + 1] the envelope. */
static void distance_line(const float *f, float *d, int length, int *site, float *bound) {
    int k = 0;
    site[0] = 0;
    bound[0] = -G_MAXFLOAT;
    bound[1] = G_MAXFLOAT;
    for (int q = 1; q < length; q++) {
        float s;
        for (;;) {
            const int p = site[k];
            s = ((f[q] + (float)q * (float)q) - (f[p] + (float)p * (float)p)) / (float)(2 * (q - p));
            if (s > bound[k]) {
                break;
            }
            k--;
        }
        k++;
        site[k] = q;
        bound[k] = s;
        bound[k + 1] = G_MAXFLOAT;
    }
    k = 0;
    for (int q = 0; q < length; q++) {
        while (bound[k + 1] < (float)q) {
            k++;
        }
        const float step = (float)(q - site[k]);
        d[q] = step * step + f[site[k]];
    }
}

/* Squared distances within columns by one sweep down and one up. */
static void distance_columns(const uint8_t *mask, float *out, int size, float far) {
    const size_t width = (size_t)size;
    for (size_t x = 0; x < width; x++) {
        out[x] = mask[x] ? far : 0;
    }
    for (size_t i = width; i < width * width; i++) {
        out[i] = mask[i] ? MIN(out[i - width] + 1, far) : 0;
    }
    for (size_t i = width * (width - 1); i-- > 0;) {
        out[i] = MIN(out[i], out[i + width] + 1);
    }
    for (size_t i = 0; i < width * width; i++) {
        out[i] *= out[i];
    }
}

void lob_filter_distance(LobTexture *t, const uint8_t *mask, float *out) {
    const int size = t->size;
    float *bound = t->line;
    float *d = t->line + size + 1;
    int *site = (int *)(void *)t->queue;

    distance_columns(mask, out, size, (float)(2 * size));
    for (int y = 0; y < size; y++) {
        float *row = out + (size_t)y * (size_t)size;
        distance_line(row, d, size, site, bound);
        for (int x = 0; x < size; x++) {
            row[x] = sqrtf(d[x]);
        }
    }
}
