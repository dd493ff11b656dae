/* The sweep's kernels for one instruction set: sweep_kernels.c includes this file once for each, with WIDTH
 * and NAME defined. No include guard: that is the point. */
#define part NAME(part)
#define put NAME(put)
#define widen NAME(widen)
#define vector_tanh NAME(vector_tanh)
#define vector_sigmoid NAME(vector_sigmoid)
#include "base/vector_lanes.h"

/* A vector of which n lanes count; the others are 0, and are not written back. */
INLINE Vector part(const float *p, size_t n) {
    return n == WIDTH ? load(p) : load_part(p, n, 0);
}

INLINE void put(float *p, Vector v, size_t n) {
    if (n == WIDTH)
        store(p, v);
    else
        store_part(p, v, n);
}

INLINE Vector widen(const uint16_t *p) {
#if WIDTH == 16
    return (Vector)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
#elif WIDTH == 8
    return (Vector)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
#else
    float lanes[WIDTH];
    lob_floats_from_halves(lanes, p, WIDTH);
    return load(lanes);
#endif
}

INLINE Vector vector_sigmoid(Vector v) {
    return 1 / (1 + vector_exp(-v));
}

/* By exp where that loses nothing; below |v| = 0.25 by its series, whose next term is under 5e-8 of v. */
INLINE Vector vector_tanh(Vector v) {
    const Vector by_exp = 1 - 2 / (vector_exp(2 * v) + 1), q = v * v;
    Vector series = q * (-1382.0f / 155925) + 62.0f / 2835;
    series = series * q - 17.0f / 315;
    series = series * q + 2.0f / 15;
    series = series * q - 1.0f / 3;
    series = v + v * q * series;
    const Integers small = q < 0.0625f;
    return (Vector)(((Integers)series & small) | ((Integers)by_exp & ~small));
}

static void NAME(scale_row)(const uint16_t *halves, const float *mean, const float *inverse, size_t n,
                            float *out) {
    const size_t whole = n - n % WIDTH;
    for (size_t j = 0; j < whole; j += WIDTH)
        store(out + j, (widen(halves + j) - load(mean + j)) * load(inverse + j));
    for (size_t j = whole; j < n; j++)
        out[j] = (lob_float_from_half(halves[j]) - mean[j]) * inverse[j];
}

static void NAME(bias_relu)(float *h, size_t stride, const float *bias, size_t rows, size_t n) {
    for (size_t i = 0; i < rows; i++, h += stride)
        for (size_t j = 0; j < n; j += WIDTH) {
            const size_t k = n - j < WIDTH ? n - j : WIDTH;
            put(h + j, at_least(part(h + j, k) + part(bias + j, k), 0), k);
        }
}

static void NAME(gate)(float *ts, size_t stride, const float *bias, const float *c, size_t rows, size_t n,
                       float *score) {
    for (size_t i = 0; i < rows; i++, ts += stride) {
        Vector sum = {0};
        for (size_t j = 0; j < n; j += WIDTH) {
            const size_t k = n - j < WIDTH ? n - j : WIDTH;
            const Vector t = vector_tanh(part(ts + j, k) + part(bias + j, k));
            const Vector s = vector_sigmoid(part(ts + n + j, k) + part(bias + n + j, k));
            put(ts + j, t, k);
            put(ts + n + j, s, k);
            sum += part(c + j, k) * t * s;
        }
        score[i] = sum_lanes(sum);
    }
}

static void NAME(gate_back)(float *ts, size_t stride, const float *c, const float *dscore, size_t rows,
                            size_t n, float *gbias, float *gc) {
    for (size_t j = 0; j < n; j += WIDTH) {
        const size_t k = n - j < WIDTH ? n - j : WIDTH;
        const Vector own = part(c + j, k);
        Vector gt = {0}, gs = {0}, g = {0};
        float *at = ts + j;
        for (size_t i = 0; i < rows; i++, at += stride) {
            const Vector t = part(at, k), s = part(at + n, k), dg = dscore[i] * own;
            const Vector dt = dg * s * (1 - t * t), ds = dg * t * s * (1 - s);
            g += dscore[i] * t * s;
            gt += dt;
            gs += ds;
            put(at, dt, k);
            put(at + n, ds, k);
        }
        put(gc + j, part(gc + j, k) + g, k);
        put(gbias + j, part(gbias + j, k) + gt, k);
        put(gbias + n + j, part(gbias + n + j, k) + gs, k);
    }
}

static void NAME(relu_back)(float *dh, const float *h, size_t stride, const float *weight, const float *dz,
                            size_t rows, size_t n, float *gbias) {
    for (size_t j = 0; j < n; j += WIDTH) {
        const size_t k = n - j < WIDTH ? n - j : WIDTH;
        const Vector own = part(dz + j, k);
        Vector g = {0};
        for (size_t i = 0; i < rows; i++) {
            const Vector d = part(dh + i * stride + j, k) + weight[i] * own;
            const Integers live = part(h + i * stride + j, k) > 0;
            const Vector v = (Vector)((Integers)d & live);
            put(dh + i * stride + j, v, k);
            g += v;
        }
        put(gbias + j, part(gbias + j, k) + g, k);
    }
}

static float NAME(exp_sum)(const float *v, float top, size_t n, float *out) {
    const size_t whole = n - n % WIDTH, rest = n % WIDTH;
    Vector sum = {0};
    for (size_t i = 0; i < whole; i += WIDTH) {
        const Vector e = vector_exp(load(v + i) - top);
        store(out + i, e);
        sum += e;
    }
    float total = sum_lanes(sum);
    if (rest) {
        store_part(out + whole, vector_exp(load_part(v + whole, rest, top) - top), rest);
        for (size_t i = whole; i < n; i++)
            total += out[i];
    }
    return total;
}

static const LobSweepKernels NAME(kernels) = {NAME(scale_row), NAME(bias_relu), NAME(gate),
                                              NAME(gate_back), NAME(relu_back), NAME(exp_sum)};

#undef part
#undef put
#undef widen
#undef vector_tanh
#undef vector_sigmoid
#include "base/vector_lanes_end.h"
