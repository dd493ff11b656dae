#include "encoder/kernels.h"

#include <glib.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    void (*layer_norm)(float *x, const float *bias, const float *gain, const float *shift, float eps,
                       size_t rows, size_t n, float *out);
    void (*bias_gelu)(float *x, const float *bias, size_t rows, size_t n);
    void (*bias_swiglu)(float *x, const float *bias, size_t rows, size_t n);
    void (*softmax_exp)(float *x, size_t rows, size_t n, float *sums);
    void (*divide_rows)(float *x, size_t stride, const float *divisor, size_t rows, size_t n);
    void (*bias_scale)(float *x, size_t stride, const float *bias, float scale, size_t rows, size_t n);
} Kernels;

#define WIDTH 4
#define NAME(name) name##_4
#include "encoder/kernels_vector.h"

#ifdef __x86_64__
#pragma GCC push_options
#pragma GCC target("avx2")
#define WIDTH 8
#define NAME(name) name##_8
#include "encoder/kernels_vector.h"
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,prefer-vector-width=512")
#define WIDTH 16
#define NAME(name) name##_16
#include "encoder/kernels_vector.h"
#pragma GCC pop_options
#endif

static const Kernels *choose(void) {
#ifdef __x86_64__
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")) {
        return &kernels_16;
    }
    if (__builtin_cpu_supports("avx2")) {
        return &kernels_8;
    }
#endif
    return &kernels_4;
}

static const Kernels *chosen(void) {
    static gsize once;
    static const Kernels *kernels;
    if (g_once_init_enter(&once)) {
        kernels = choose();
        g_once_init_leave(&once, 1);
    }
    return kernels;
}

void lob_layer_norm(float *x, const float *bias, const float *gain, const float *shift, float eps,
                    size_t rows, size_t n, float *out) {
    chosen()->layer_norm(x, bias, gain, shift, eps, rows, n, out);
}

void lob_bias_gelu(float *x, const float *bias, size_t rows, size_t n) {
    chosen()->bias_gelu(x, bias, rows, n);
}

void lob_bias_swiglu(float *x, const float *bias, size_t rows, size_t n) {
    chosen()->bias_swiglu(x, bias, rows, n);
}

void lob_softmax_exp(float *x, size_t rows, size_t n, float *sums) {
    chosen()->softmax_exp(x, rows, n, sums);
}

void lob_divide_rows(float *x, size_t stride, const float *divisor, size_t rows, size_t n) {
    chosen()->divide_rows(x, stride, divisor, rows, n);
}

void lob_bias_scale(float *x, size_t stride, const float *bias, float scale, size_t rows, size_t n) {
    chosen()->bias_scale(x, stride, bias, scale, rows, n);
}
