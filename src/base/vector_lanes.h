/* Vectors of WIDTH floats and what kernels build on. Included once for each instruction set, between a target
 * pragma and the kernels, with WIDTH and NAME (makes names of their own) defined; base/vector_lanes_end.h
 * takes the names back. Nothing is contracted or reordered beyond what is written, so results do not depend
 * on the instruction set where a kernel adds in an order of its own. No include guard: that is the point. */
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline, unused))
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
