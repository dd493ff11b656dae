/* Antialiased resampling by a triangle filter widened to the source's scale, in fixed point.
 *
 * The recipe is Pillow's, whose results the field's published features contain: columns first, then rows,
 * 8-bit values in between, weights of 22 fractional bits. All arithmetic on pixels is in integers, so the
 * fast form and the plain one give the same bytes on every machine. */
#include "slide/slide_internal.h"

#include <math.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define WEIGHT_BITS 22
#define HALF (1 << (WEIGHT_BITS - 1))

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define LOB_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define LOB_CLONES
#endif

/* The weights of one axis: output i is the sum over t < count[i] of weight[i][t] x input[first[i] + t]. */
typedef struct {
    int size, taps;
    int *first, *count; /* [size] */
    int32_t *weight;    /* [size][taps]; each row sums to 1 << WEIGHT_BITS up to rounding */
} Axis;

static void axis_clear(Axis *axis) {
    g_free(axis->first);
    g_free(axis->count);
    g_free(axis->weight);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Axis, axis_clear)

/* One output's weights over the inputs that its triangle, centred at `center`, covers. */
static void axis_fill(Axis *axis, int i, double center, double reach, int in_size, double *w) {
    int first = CLAMP((int)(center - reach + 0.5), 0, in_size - 1);
    int end = CLAMP((int)(center + reach + 0.5), first + 1, in_size);
    double sum = 0;
    for (int t = 0; t < end - first; t++) {
        w[t] = MAX(0.0, 1.0 - fabs((first + t - center + 0.5) * (1.0 / reach)));
        sum += w[t];
    }
    axis->first[i] = first;
    axis->count[i] = end - first;
    for (int t = 0; t < end - first; t++) {
        double share = sum > 0 ? w[t] * (1.0 / sum) : 1.0 / (end - first);
        axis->weight[(size_t)i * (size_t)axis->taps + (size_t)t] =
            (int32_t)(0.5 + share * (1 << WEIGHT_BITS));
    }
}

static void axis_init(Axis *axis, int in_size, double start, double length, int out_size) {
    double scale = length / out_size;
    double reach = MAX(scale, 1.0);
    axis->size = out_size;
    axis->taps = (int)ceil(reach) * 2 + 1;
    axis->first = g_new(int, (size_t)out_size);
    axis->count = g_new(int, (size_t)out_size);
    axis->weight = g_new0(int32_t, (size_t)out_size * (size_t)axis->taps);
    g_autofree double *w = g_new(double, (size_t)axis->taps);
    for (int i = 0; i < out_size; i++)
        axis_fill(axis, i, start + (i + 0.5) * scale, reach, in_size, w);
}

/* One row: src [width][4] to dst [axis->size][4]. */
static void columns_pass(const uint8_t *src, const Axis *axis, uint8_t *dst) {
    for (int i = 0; i < axis->size; i++) {
        const uint8_t *p = src + 4 * (size_t)axis->first[i];
        const int32_t *weight = axis->weight + (size_t)i * (size_t)axis->taps;
        int32_t sum[4] = {HALF, HALF, HALF, HALF};
        for (int t = 0; t < axis->count[i]; t++)
            for (int c = 0; c < 4; c++)
                sum[c] += weight[t] * p[4 * t + c];
        for (int c = 0; c < 4; c++)
            dst[4 * i + c] = (uint8_t)(sum[c] >> WEIGHT_BITS);
    }
}

#if defined(__x86_64__)
/* The same with a pixel's four bytes in one register, which compilers do not find by themselves. */
__attribute__((target("sse4.1"))) static void columns_pass_sse41(const uint8_t *src, const Axis *axis,
                                                                 uint8_t *dst) {
    for (int i = 0; i < axis->size; i++) {
        const uint8_t *p = src + 4 * (size_t)axis->first[i];
        const int32_t *weight = axis->weight + (size_t)i * (size_t)axis->taps;
        __m128i sum = _mm_set1_epi32(HALF);
        for (int t = 0; t < axis->count[i]; t++) {
            int32_t pixel;
            memcpy(&pixel, p + 4 * (size_t)t, sizeof pixel);
            __m128i wide = _mm_cvtepu8_epi32(_mm_cvtsi32_si128(pixel));
            sum = _mm_add_epi32(sum, _mm_mullo_epi32(wide, _mm_set1_epi32(weight[t])));
        }
        sum = _mm_srai_epi32(sum, WEIGHT_BITS);
        sum = _mm_packus_epi32(sum, sum);
        int32_t out = _mm_cvtsi128_si32(_mm_packus_epi16(sum, sum));
        memcpy(dst + 4 * (size_t)i, &out, sizeof out);
    }
}
#endif

typedef void (*ColumnsPass)(const uint8_t *src, const Axis *axis, uint8_t *dst);

static ColumnsPass choose_columns_pass(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.1"))
        return columns_pass_sse41;
#endif
    return columns_pass;
}

/* One output row of n bytes from the rows src[0], src[stride], ... sum [n] is scratch. */
LOB_CLONES static void rows_pass(const uint8_t *src, size_t stride, const int32_t *weight, int count,
                                 int32_t *restrict sum, uint8_t *restrict dst, size_t n) {
    for (size_t j = 0; j < n; j++)
        sum[j] = HALF;
    for (int t = 0; t < count; t++) {
        const uint8_t *row = src + (size_t)t * stride;
        for (size_t j = 0; j < n; j++)
            sum[j] += weight[t] * row[j];
    }
    for (size_t j = 0; j < n; j++)
        dst[j] = (uint8_t)(sum[j] >> WEIGHT_BITS);
}

static void pack_rgb(const uint8_t *rgbx, size_t n, uint8_t *rgb) {
    for (size_t i = 0; i < n; i++) {
        rgb[3 * i] = rgbx[4 * i];
        rgb[3 * i + 1] = rgbx[4 * i + 1];
        rgb[3 * i + 2] = rgbx[4 * i + 2];
    }
}

/* True where output pixels coincide with input pixels. */
static bool is_copy(double start, double length, int out_size, int in_size) {
    return length == out_size && start == floor(start) && start >= 0 && start + out_size <= in_size;
}

void lob_resample_rgbx(const uint8_t *src, int src_width, int src_height, size_t src_stride, double x0,
                       double y0, double w, double h, uint8_t *dst, int dst_width, int dst_height) {
    if (is_copy(x0, w, dst_width, src_width) && is_copy(y0, h, dst_height, src_height)) {
        for (int y = 0; y < dst_height; y++)
            pack_rgb(src + 4 * ((size_t)(y + (int)y0) * src_stride + (size_t)x0), (size_t)dst_width,
                     dst + 3 * (size_t)y * (size_t)dst_width);
        return;
    }
    g_auto(Axis) ax = {0}, ay = {0};
    axis_init(&ax, src_width, x0, w, dst_width);
    axis_init(&ay, src_height, y0, h, dst_height);
    int top = ay.first[0], bottom = ay.first[dst_height - 1] + ay.count[dst_height - 1];
    size_t row = 4 * (size_t)dst_width;
    g_autofree uint8_t *narrow = g_malloc((size_t)(bottom - top) * row);
    ColumnsPass pass = choose_columns_pass();
    for (int y = top; y < bottom; y++)
        pass(src + 4 * (size_t)y * src_stride, &ax, narrow + (size_t)(y - top) * row);
    g_autofree uint8_t *line = g_malloc(row);
    g_autofree int32_t *sum = g_new(int32_t, row);
    for (int y = 0; y < dst_height; y++) {
        rows_pass(narrow + (size_t)(ay.first[y] - top) * row, row, ay.weight + (size_t)y * (size_t)ay.taps,
                  ay.count[y], sum, line, row);
        pack_rgb(line, (size_t)dst_width, dst + 3 * (size_t)y * (size_t)dst_width);
    }
}

void lob_resample(const uint8_t *src, int src_width, int src_height, double x0, double y0, double w, double h,
                  uint8_t *dst, int dst_width, int dst_height) {
    size_t n = (size_t)src_width * (size_t)src_height;
    g_autofree uint8_t *rgbx = g_malloc(4 * n);
    for (size_t i = 0; i < n; i++) {
        memcpy(rgbx + 4 * i, src + 3 * i, 3);
        rgbx[4 * i + 3] = 0;
    }
    lob_resample_rgbx(rgbx, src_width, src_height, (size_t)src_width, x0, y0, w, h, dst, dst_width,
                      dst_height);
}

void lob_resample_reference(const uint8_t *src, int src_width, int src_height, double x0, double y0, double w,
                            double h, uint8_t *dst, int dst_width, int dst_height) {
    g_auto(Axis) ax = {0}, ay = {0};
    axis_init(&ax, src_width, x0, w, dst_width);
    axis_init(&ay, src_height, y0, h, dst_height);
    g_autofree uint8_t *narrow = g_malloc0(3 * (size_t)src_height * (size_t)dst_width);
    for (int y = 0; y < src_height; y++)
        for (int i = 0; i < dst_width; i++)
            for (int c = 0; c < 3; c++) {
                int64_t sum = HALF;
                for (int t = 0; t < ax.count[i]; t++)
                    sum += (int64_t)ax.weight[i * ax.taps + t] *
                           src[((size_t)y * (size_t)src_width + (size_t)(ax.first[i] + t)) * 3 + (size_t)c];
                narrow[((size_t)y * (size_t)dst_width + (size_t)i) * 3 + (size_t)c] =
                    (uint8_t)MIN(sum >> WEIGHT_BITS, 255);
            }
    for (int i = 0; i < dst_height; i++)
        for (size_t j = 0; j < 3 * (size_t)dst_width; j++) {
            int64_t sum = HALF;
            for (int t = 0; t < ay.count[i]; t++)
                sum += (int64_t)ay.weight[i * ay.taps + t] *
                       narrow[(size_t)(ay.first[i] + t) * 3 * (size_t)dst_width + j];
            dst[(size_t)i * 3 * (size_t)dst_width + j] = (uint8_t)MIN(sum >> WEIGHT_BITS, 255);
        }
}
