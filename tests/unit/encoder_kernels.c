/* Vector kernels against the plain ones, over odd lengths. */
#include "base/base.h"
#include "encoder/kernels.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static const size_t LENGTHS[] = {1, 3, 4, 7, 8, 15, 16, 17, 31, 33, 64, 197, 257, 768, 3416};
enum { ROWS = 3, MOST = 3416 };

static float *numbers(size_t n, double spread, const char *stream) {
    LobRng rng;
    float *values = g_new(float, n);
    lob_rng_init(&rng, 5, stream);
    for (size_t i = 0; i < n; i++) {
        values[i] = (float)(spread * lob_rng_normal(&rng));
    }
    return values;
}

static void assert_near(const float *a, const float *b, size_t n, double absolute, double relative,
                        const char *what) {
    for (size_t i = 0; i < n; i++) {
        const double bound = absolute + relative * fabs((double)b[i]);
        cr_assert(fabs((double)a[i] - (double)b[i]) <= bound, "%s: element %zu of %zu: %.9g, not %.9g", what,
                  i, n, (double)a[i], (double)b[i]);
    }
}

Test(kernels, layer_norm) {
    for (size_t k = 0; k < G_N_ELEMENTS(LENGTHS); k++) {
        const size_t n = LENGTHS[k];
        g_autofree float *x = numbers(ROWS * n, 3, "x"), *y = g_memdup2(x, ROWS * n * sizeof *x);
        g_autofree float *bias = numbers(n, 1, "bias"), *gain = numbers(n, 1, "gain"),
                         *shift = numbers(n, 1, "s");
        g_autofree float *out = g_new(float, ROWS *n), *want = g_new(float, ROWS *n);
        lob_layer_norm(x, k % 2 ? bias : NULL, gain, shift, 1e-6f, ROWS, n, out);
        lob_layer_norm_reference(y, k % 2 ? bias : NULL, gain, shift, 1e-6f, ROWS, n, want);
        assert_near(x, y, ROWS * n, 0, 0, "sum");
        /* one value alone has no variance: what remains is rounding over sqrt(eps) */
        assert_near(out, want, ROWS * n, n == 1 ? 1e-3 : 1e-5, 1e-5, "norm");
    }
}

Test(kernels, gelu_and_swiglu) {
    for (size_t k = 0; k < G_N_ELEMENTS(LENGTHS); k++) {
        const size_t n = LENGTHS[k];
        g_autofree float *x = numbers(ROWS * n, 4, "x"), *y = g_memdup2(x, ROWS * n * sizeof *x);
        g_autofree float *z = numbers(ROWS * 2 * n, 5, "z"), *w = g_memdup2(z, ROWS * 2 * n * sizeof *z);
        g_autofree float *bias = numbers(2 * n, 1, "bias");
        lob_bias_gelu(x, bias, ROWS, n);
        lob_bias_gelu_reference(y, bias, ROWS, n);
        assert_near(x, y, ROWS * n, 2e-6, 1e-6, "gelu");
        lob_bias_swiglu(z, bias, ROWS, n);
        lob_bias_swiglu_reference(w, bias, ROWS, n);
        for (size_t r = 0; r < ROWS; r++) {
            assert_near(z + 2 * r * n, w + 2 * r * n, n, 1e-7, 2e-6, "swiglu");
        }
    }
}

/* The whole range, far tails included, where GELU must neither rise again nor become NaN. */
Test(kernels, gelu_over_its_range) {
    const float zero[16] = {0};
    for (double v = -200; v < 200; v += 0.003) {
        float x[16], y[16];
        for (int i = 0; i < 16; i++) {
            x[i] = y[i] = (float)(v + i * 0.0002);
        }
        lob_bias_gelu(x, zero, 1, 16);
        lob_bias_gelu_reference(y, zero, 1, 16);
        assert_near(x, y, 16, 2e-6, 1e-6, "gelu");
    }
}

Test(kernels, softmax) {
    for (size_t k = 0; k < G_N_ELEMENTS(LENGTHS); k++) {
        const size_t n = LENGTHS[k];
        float sums[ROWS], want[ROWS];
        g_autofree float *x = numbers(ROWS * n, 20, "x");
        x[0] = 90; /* a far outlier: the others underflow to almost nothing, not to garbage */
        g_autofree float *y = g_memdup2(x, ROWS * n * sizeof *x);
        lob_softmax_exp(x, ROWS, n, sums);
        lob_softmax_exp_reference(y, ROWS, n, want);
        /* the difference to the maximum, up to 150, is rounded to single precision before exp */
        assert_near(x, y, ROWS * n, 1e-30, 1e-5, "exp");
        assert_near(sums, want, ROWS, 0, 1e-6, "sum");
    }
}

Test(kernels, strided_helpers) {
    float x[2][8] = {{1, 2, 3, 4, 5, 6, 7, 8}, {1, 2, 3, 4, 5, 6, 7, 8}};
    const float bias[3] = {1, 0, -1}, divisor[2] = {2, 4};
    lob_bias_scale(&x[0][0], 8, bias, 10, 2, 3);
    cr_assert_float_eq(x[1][0], 20, 1e-6);
    cr_assert_float_eq(x[1][2], 20, 1e-6);
    cr_assert_float_eq(x[1][3], 4, 1e-6);
    lob_divide_rows(&x[0][1], 8, divisor, 2, 2);
    cr_assert_float_eq(x[0][1], 10, 1e-6);
    cr_assert_float_eq(x[1][1], 5, 1e-6);
    cr_assert_float_eq(x[1][3], 4, 1e-6);
}
