/* The vector kernels for one instruction set: kernels.c includes this file once for each, with WIDTH (floats
 * a vector) and NAME (makes names of their own) defined. No include guard: that is the point. */
#define vector_erf NAME(vector_erf)
#define vector_gelu NAME(vector_gelu)
#define vector_silu NAME(vector_silu)
#define row_moments NAME(row_moments)
#include "base/vector_lanes.h"

/* erf(z) = z P(z^2) / Q(z^2) on |z| <= 3.92, beyond which it is 1 to single precision; largest error 3.3e-7.
 * Own fit by reweighted least squares on Chebyshev nodes. */
INLINE Vector vector_erf(Vector z) {
    z = at_most(at_least(z, -3.92f), 3.92f);
    const Vector t = z * z;
    Vector p = t * 2.03482625e-06f + 0.000287470171f;
    p = p * t + 0.00386787912f;
    p = p * t + 0.0530591059f;
    p = p * t + 0.192753437f;
    p = p * t + 1.12837902f;
    Vector q = t * 3.80711108e-05f + 0.00118800801f;
    q = q * t + 0.0151714f;
    q = q * t + 0.115080253f;
    q = q * t + 0.504154956f;
    q = q * t + 1;
    return z * p / q;
}

/* The factor is held at -6, below which erf's last bits would grow with v; GELU is -6e-9 there. */
INLINE Vector vector_gelu(Vector v) {
    return 0.5f * at_least(v, -6) * (1 + vector_erf(v * 0.707106781f));
}

INLINE Vector vector_silu(Vector v) {
    return v / (1 + vector_exp(-v));
}

/* Adds the bias and gives the row's mean and inverse deviation. */
INLINE void row_moments(float *x, const float *bias, size_t n, float eps, float *mean, float *inverse) {
    const size_t whole = n - n % WIDTH, rest = n % WIDTH;
    Vector sum = {0}, squares = {0};
    for (size_t i = 0; i < whole; i += WIDTH) {
        const Vector v = bias ? load(x + i) + load(bias + i) : load(x + i);
        store(x + i, v);
        sum += v;
    }
    for (size_t i = whole; i < n; i++) {
        x[i] += bias ? bias[i] : 0;
    }
    sum += rest ? load_part(x + whole, rest, 0) : all(0);
    *mean = sum_lanes(sum) / (float)n;
    for (size_t i = 0; i < whole; i += WIDTH) {
        const Vector d = load(x + i) - *mean;
        squares += d * d;
    }
    if (rest) {
        const Vector d = load_part(x + whole, rest, *mean) - *mean;
        squares += d * d;
    }
    *inverse = 1 / sqrtf(sum_lanes(squares) / (float)n + eps);
}

static void NAME(layer_norm)(float *x, const float *bias, const float *gain, const float *shift, float eps,
                             size_t rows, size_t n, float *out) {
    for (size_t r = 0; r < rows; r++, x += n, out += n) {
        float mean, inverse;
        row_moments(x, bias, n, eps, &mean, &inverse);
        for (size_t i = 0; i < n - n % WIDTH; i += WIDTH) {
            store(out + i, (load(x + i) - mean) * inverse * load(gain + i) + load(shift + i));
        }
        for (size_t i = n - n % WIDTH; i < n; i++) {
            out[i] = (x[i] - mean) * inverse * gain[i] + shift[i];
        }
    }
}

static void NAME(bias_gelu)(float *x, const float *bias, size_t rows, size_t n) {
    const size_t whole = n - n % WIDTH, rest = n % WIDTH;
    for (size_t r = 0; r < rows; r++, x += n) {
        for (size_t i = 0; i < whole; i += WIDTH) {
            store(x + i, vector_gelu(load(x + i) + load(bias + i)));
        }
        if (rest) {
            store_part(x + whole,
                       vector_gelu(load_part(x + whole, rest, 0) + load_part(bias + whole, rest, 0)), rest);
        }
    }
}

static void NAME(bias_swiglu)(float *x, const float *bias, size_t rows, size_t n) {
    const size_t whole = n - n % WIDTH, rest = n % WIDTH;
    const float *bias2 = bias + n;
    for (size_t r = 0; r < rows; r++, x += 2 * n) {
        float *b = x + n;
        for (size_t i = 0; i < whole; i += WIDTH) {
            store(x + i, vector_silu(load(x + i) + load(bias + i)) * (load(b + i) + load(bias2 + i)));
        }
        if (rest) {
            const Vector gate = load_part(x + whole, rest, 0) + load_part(bias + whole, rest, 0);
            const Vector value = load_part(b + whole, rest, 0) + load_part(bias2 + whole, rest, 0);
            store_part(x + whole, vector_silu(gate) * value, rest);
        }
    }
}

static void NAME(softmax_exp)(float *x, size_t rows, size_t n, float *sums) {
    const size_t whole = n - n % WIDTH, rest = n % WIDTH;
    for (size_t r = 0; r < rows; r++, x += n) {
        Vector most = all(-INFINITY), sum = {0};
        for (size_t i = 0; i < whole; i += WIDTH) {
            const Vector v = load(x + i);
            most = larger(v, most);
        }
        const Vector last = rest ? load_part(x + whole, rest, -INFINITY) : all(-INFINITY);
        most = larger(last, most);
        const float top = max_lanes(most);
        for (size_t i = 0; i < whole; i += WIDTH) {
            const Vector v = vector_exp(load(x + i) - top);
            store(x + i, v);
            sum += v;
        }
        sums[r] = 0;
        if (rest) {
            store_part(x + whole, vector_exp(last - top), rest);
            sum += load_part(x + whole, rest, 0);
        }
        sums[r] = sum_lanes(sum);
    }
}

static void NAME(divide_rows)(float *x, size_t stride, const float *divisor, size_t rows, size_t n) {
    for (size_t r = 0; r < rows; r++, x += stride) {
        const float factor = 1 / divisor[r];
        for (size_t i = 0; i < n; i++) {
            x[i] *= factor;
        }
    }
}

static void NAME(bias_scale)(float *x, size_t stride, const float *bias, float scale, size_t rows, size_t n) {
    for (size_t r = 0; r < rows; r++, x += stride) {
        for (size_t i = 0; i < n; i++) {
            x[i] = (x[i] + bias[i]) * scale;
        }
    }
}

static const Kernels NAME(kernels) = {NAME(layer_norm),  NAME(bias_gelu),   NAME(bias_swiglu),
                                      NAME(softmax_exp), NAME(divide_rows), NAME(bias_scale)};

#undef vector_erf
#undef vector_gelu
#undef vector_silu
#undef row_moments
#include "base/vector_lanes_end.h"
