/* The vector kernels for one instruction set: kernels.c includes this file once for each, with WIDTH (floats
 * a vector) and NAME (makes names of their own) defined. No include guard: that is the point. */
#define load NAME(load)
#define store NAME(store)
#define load_part NAME(load_part)
#define store_part NAME(store_part)
#define sum_lanes NAME(sum_lanes)
#define max_lanes NAME(max_lanes)
#define all NAME(all)
#define larger NAME(larger)
#define at_least NAME(at_least)
#define at_most NAME(at_most)
#define vector_exp NAME(vector_exp)
#define vector_erf NAME(vector_erf)
#define vector_gelu NAME(vector_gelu)
#define vector_silu NAME(vector_silu)
#define row_moments NAME(row_moments)
#define Vector NAME(Vector)
#define Integers NAME(Integers)

typedef float Vector __attribute__((vector_size(4 * WIDTH)));
typedef int32_t Integers __attribute__((vector_size(4 * WIDTH)));

INLINE Vector load(const float *p) {
    Vector v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void store(float *p, Vector v) {
    memcpy(p, &v, sizeof v);
}

/* The last, short vector of a row; lanes beyond it are `fill`. */
INLINE Vector load_part(const float *p, size_t n, float fill) {
    float lanes[WIDTH];
    for (size_t i = 0; i < WIDTH; i++) {
        lanes[i] = i < n ? p[i] : fill;
    }
    return load(lanes);
}

INLINE void store_part(float *p, Vector v, size_t n) {
    float lanes[WIDTH];
    store(lanes, v);
    memcpy(p, lanes, n * sizeof *p);
}

INLINE float sum_lanes(Vector v) {
    float lanes[WIDTH];
    store(lanes, v);
    for (size_t half = WIDTH / 2; half > 0; half /= 2) {
        for (size_t i = 0; i < half; i++) {
            lanes[i] += lanes[i + half];
        }
    }
    return lanes[0];
}

INLINE float max_lanes(Vector v) {
    float lanes[WIDTH], most;
    store(lanes, v);
    most = lanes[0];
    for (size_t i = 1; i < WIDTH; i++) {
        most = lanes[i] > most ? lanes[i] : most;
    }
    return most;
}

INLINE Vector all(float value) {
    return (Vector){0} + value;
}

INLINE Vector larger(Vector a, Vector b) {
    const Integers mask = a > b;
    return (Vector)(((Integers)a & mask) | ((Integers)b & ~mask));
}

INLINE Vector at_least(Vector v, float low) {
    return larger(v, all(low));
}

INLINE Vector at_most(Vector v, float high) {
    return -larger(-v, all(-high));
}

/* exp: 2^n times a polynomial on |r| <= ln 2 / 2, two ulp. Arguments are kept within +-87, where the result
 * is a normal number. */
INLINE Vector vector_exp(Vector x) {
    const float magic = 12582912; /* 1.5 * 2^23: adding it rounds to an integer */
    x = at_most(at_least(x, -87), 87);
    const Vector rounded = x * 1.44269504f + magic;
    const Vector n = rounded - magic;
    const Vector r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    Vector p = r * (1.0f / 5040) + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r * r + r + 1;
    return (Vector)((Integers)p + (__builtin_convertvector(n, Integers) << 23));
}

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

#undef load
#undef store
#undef load_part
#undef store_part
#undef sum_lanes
#undef max_lanes
#undef all
#undef larger
#undef at_least
#undef at_most
#undef vector_exp
#undef vector_erf
#undef vector_gelu
#undef vector_silu
#undef row_moments
#undef Vector
#undef Integers
#undef WIDTH
#undef NAME
