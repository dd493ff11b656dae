#include "encoder/vit_internal.h"

#include <math.h>
#include <string.h>

static double triangle(double x) {
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

/* Keys's cubic; PyTorch takes a = -3/4 without antialiasing, -1/2 with it. */
static double cubic(double x, double a) {
    x = fabs(x);
    if (x < 1) {
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    }
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

/* weights [to][from]: each output as a mixture of inputs; beyond the edge the edge's value counts (without
 * antialiasing) or nothing does (with it). DINO's code asks for a tenth of a patch more than it needs, and
 * PyTorch takes the step between places from what was asked for. */
static void axis_weights(double *weights, size_t from, size_t to, const char *filter) {
    const bool dino = strcmp(filter, "bicubic-dino") == 0;
    const double scale = (double)from / ((double)to + (dino ? 0.1 : 0));
    const bool antialias = strcmp(filter, "bicubic-antialias") == 0;
    const bool linear = strcmp(filter, "bilinear") == 0;
    const double stretch = antialias ? MAX(scale, 1) : 1;
    const long reach = (long)ceil(2 * stretch) + 1, last = (long)from - 1;
    memset(weights, 0, from * to * sizeof *weights);
    for (size_t i = 0; i < to; i++) {
        const double centre = ((double)i + 0.5) * scale - 0.5;
        double sum = 0;
        for (long k = (long)floor(centre) - reach; k <= (long)floor(centre) + reach; k++) {
            const double x = ((double)k - centre) / stretch;
            const double w = linear ? triangle(x) : cubic(x, antialias ? -0.5 : -0.75);
            if (!antialias || (k >= 0 && k <= last)) {
                weights[i * from + (size_t)CLAMP(k, 0, last)] += w;
                sum += w;
            }
        }
        for (size_t k = 0; k < from; k++) {
            weights[i * from + k] /= sum;
        }
    }
}

void lob_position_resample(const float *in, size_t from, float *out, size_t to, size_t width,
                           const char *filter) {
    if (from == to) {
        memcpy(out, in, from * from * width * sizeof *out);
        return;
    }
    g_autofree double *weights = g_new(double, from *to), *sum = g_new(double, width);
    axis_weights(weights, from, to, filter);
    for (size_t y = 0; y < to; y++) {
        for (size_t x = 0; x < to; x++) {
            memset(sum, 0, width * sizeof *sum);
            for (size_t v = 0; v < from; v++) {
                for (size_t u = 0; u < from; u++) {
                    const double w = weights[y * from + v] * weights[x * from + u];
                    const float *p = in + (v * from + u) * width;
                    for (size_t c = 0; w != 0 && c < width; c++) {
                        sum[c] += w * (double)p[c];
                    }
                }
            }
            for (size_t c = 0; c < width; c++) {
                out[(y * to + x) * width + c] = (float)sum[c];
            }
        }
    }
}
