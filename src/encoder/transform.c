#include "encoder/transform.h"

#include <math.h>
#include <string.h>

/* Pillow's resize works on bytes with coefficients rounded to 22 binary places, first along rows, then along
 * columns, each pass rounded back to bytes. */
enum { PLACES = 22 };

/* For each output position: the first input position, how many, and their weights. */
typedef struct {
    int length, taps;
    int *first, *count; /* [length] */
    int32_t *weight;    /* [length][taps] */
} Axis;

struct LobResize {
    int in_width, in_height, out_width, out_height;
    Axis across, down;
    uint8_t *middle; /* [in_height][out_width][3] */
};

static double bilinear(double x) {
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

/* Keys's cubic with a = -1/2. */
static double bicubic(double x) {
    const double a = -0.5;
    x = fabs(x);
    if (x < 1) {
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    }
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

static void axis_init(Axis *axis, int in, int out, LobFilter filter) {
    double (*const kernel)(double) = filter == LOB_FILTER_BICUBIC ? bicubic : bilinear;
    const double scale = (double)in / out, stretch = MAX(scale, 1);
    const double support = (filter == LOB_FILTER_BICUBIC ? 2 : 1) * stretch;
    *axis = (Axis){.length = out, .taps = 2 * (int)ceil(support) + 1};
    axis->first = g_new(int, (size_t)out);
    axis->count = g_new(int, (size_t)out);
    axis->weight = g_new0(int32_t, (size_t)out * (size_t)axis->taps);
    g_autofree double *exact = g_new(double, (size_t)axis->taps);
    for (int i = 0; i < out; i++) {
        const double centre = (i + 0.5) * scale;
        const int first = MAX((int)(centre - support + 0.5), 0);
        const int count = MIN((int)(centre + support + 0.5), in) - first;
        double sum = 0;
        for (int k = 0; k < count; k++) {
            exact[k] = kernel((k + first - centre + 0.5) / stretch);
            sum += exact[k];
        }
        for (int k = 0; k < count; k++) {
            const double w = exact[k] / sum * (1 << PLACES);
            axis->weight[i * axis->taps + k] = (int32_t)(w < 0 ? w - 0.5 : w + 0.5);
        }
        axis->first[i] = first;
        axis->count[i] = count;
    }
}

static void axis_clear(Axis *axis) {
    g_free(axis->first);
    g_free(axis->count);
    g_free(axis->weight);
}

LobResize *lob_resize_new(int in_width, int in_height, int out_width, int out_height, LobFilter filter) {
    LobResize *r = g_new0(LobResize, 1);
    r->in_width = in_width;
    r->in_height = in_height;
    r->out_width = out_width;
    r->out_height = out_height;
    axis_init(&r->across, in_width, out_width, filter);
    axis_init(&r->down, in_height, out_height, filter);
    r->middle = g_malloc((size_t)in_height * (size_t)out_width * 3);
    return r;
}

void lob_resize_free(LobResize *r) {
    if (r) {
        axis_clear(&r->across);
        axis_clear(&r->down);
        g_free(r->middle);
        g_free(r);
    }
}

static uint8_t to_byte(int32_t sum) {
    return (uint8_t)CLAMP(sum >> PLACES, 0, 255);
}

static void resize_row(const Axis *axis, const uint8_t *in, uint8_t *out) {
    for (int x = 0; x < axis->length; x++) {
        const int32_t *weight = axis->weight + (size_t)x * (size_t)axis->taps;
        const uint8_t *p = in + 3 * axis->first[x];
        int32_t sum[3] = {1 << (PLACES - 1), 1 << (PLACES - 1), 1 << (PLACES - 1)};
        for (int k = 0; k < axis->count[x]; k++) {
            for (int c = 0; c < 3; c++) {
                sum[c] += p[3 * k + c] * weight[k];
            }
        }
        for (int c = 0; c < 3; c++) {
            out[3 * x + c] = to_byte(sum[c]);
        }
    }
}

static void resize_columns(const Axis *axis, const uint8_t *in, uint8_t *out, size_t row, int y) {
    const int32_t *weight = axis->weight + (size_t)y * (size_t)axis->taps;
    const uint8_t *p = in + (size_t)axis->first[y] * row;
    for (size_t x = 0; x < row; x++) {
        int32_t sum = 1 << (PLACES - 1);
        for (int k = 0; k < axis->count[y]; k++) {
            sum += p[(size_t)k * row + x] * weight[k];
        }
        out[x] = to_byte(sum);
    }
}

void lob_resize_run(LobResize *r, const uint8_t *in, uint8_t *out) {
    const size_t in_row = 3 * (size_t)r->in_width, row = 3 * (size_t)r->out_width;
    const uint8_t *middle = in;
    if (r->in_width != r->out_width) {
        for (int y = 0; y < r->in_height; y++) {
            resize_row(&r->across, in + (size_t)y * in_row, r->middle + (size_t)y * row);
        }
        middle = r->middle;
    }
    if (r->in_height == r->out_height) {
        memcpy(out, middle, row * (size_t)r->out_height);
        return;
    }
    for (int y = 0; y < r->out_height; y++) {
        resize_columns(&r->down, middle, out + (size_t)y * row, row, y);
    }
}

static char *describe(const LobTransform *t, const LobPreset *p) {
    g_autofree char *resize =
        t->resize ? g_strdup_printf("resize=%s:%d,", p->filter, t->scaled) : g_strdup("");
    g_autofree char *identity = lob_preset_identity(p);
    return g_strdup_printf("%scrop=%d,mean=%g:%g:%g,sd=%g:%g:%g,%s", resize, t->image, p->mean[0], p->mean[1],
                           p->mean[2], p->sd[0], p->sd[1], p->sd[2], identity);
}

bool lob_transform_init(LobTransform *t, const LobPreset *preset, int tile, GError **err) {
    *t = (LobTransform){.tile = tile, .scaled = (int)preset->resize, .image = (int)preset->image};
    if (preset->resize < preset->image || preset->image < 1 || preset->resize > 4096 || !preset->filter) {
        return lob_fail(err, LOB_ERROR_INPUT,
                        "%s: resize (%d) must be at least image (%d), both positive, and filter be given",
                        preset->path, t->scaled, t->image);
    }
    if (tile < 1 || tile > 16384) {
        return lob_fail(err, LOB_ERROR_INPUT, "encoder %s: tiles of %d px", preset->name, tile);
    }
    for (int c = 0; c < 3; c++) {
        if (isnan(preset->mean[c]) || !(preset->sd[c] > 0)) {
            return lob_fail(err, LOB_ERROR_INPUT, "%s: mean must be given, and sd, which must be positive",
                            preset->path);
        }
        for (int v = 0; v < 256; v++) {
            t->value[c][v] = ((float)v / 255 - (float)preset->mean[c]) / (float)preset->sd[c];
        }
    }
    if (tile != t->scaled) {
        const LobFilter filter =
            strcmp(preset->filter, "bicubic") == 0 ? LOB_FILTER_BICUBIC : LOB_FILTER_BILINEAR;
        t->resize = lob_resize_new(tile, tile, t->scaled, t->scaled, filter);
        t->pixels = g_malloc(3 * (size_t)t->scaled * (size_t)t->scaled);
    }
    t->description = describe(t, preset);
    return true;
}

void lob_transform_clear(LobTransform *t) {
    lob_resize_free(t->resize);
    g_free(t->pixels);
    g_free(t->description);
    memset(t, 0, sizeof *t);
}

const uint8_t *lob_transform_pixels(LobTransform *t, const uint8_t *rgb, size_t *stride) {
    /* the crop's corner is rounded half to even, as torchvision does */
    const size_t corner = (size_t)lrint((t->scaled - t->image) / 2.0);
    const uint8_t *pixels = rgb;
    if (t->resize) {
        lob_resize_run(t->resize, rgb, t->pixels);
        pixels = t->pixels;
    }
    *stride = 3 * (size_t)t->scaled;
    return pixels + corner * *stride + 3 * corner;
}

void lob_transform_patches(LobTransform *t, const uint8_t *rgb, int patch, float *out) {
    size_t stride;
    const uint8_t *pixels = lob_transform_pixels(t, rgb, &stride);
    const int grid = t->image / patch;
    for (int p = 0; p < grid * grid; p++) {
        const uint8_t *corner =
            pixels + (size_t)(p / grid * patch) * stride + (size_t)(3 * patch * (p % grid));
        for (int c = 0; c < 3; c++) {
            for (int y = 0; y < patch; y++) {
                const uint8_t *row = corner + (size_t)y * stride + c;
                for (int x = 0; x < patch; x++) {
                    *out++ = t->value[c][row[3 * x]];
                }
            }
        }
    }
}
