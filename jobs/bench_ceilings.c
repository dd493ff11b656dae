/* What the machine itself can do: bounds that the program's rates are held against, and lines of their own.
 */
#include "encoder/encoder.h"
#include "jobs/bench_internal.h"

#include <cblas.h>
#include <string.h>

/* ---- sgemm: the shape of a ViT-L layer over a batch of 8 ---- */

enum { GEMM_M = 1576, GEMM_N = 1024, GEMM_K = 1024 };

static bool run_sgemm(void *user, double *units, GError **err) {
    float *const *m = user;
    (void)err;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, GEMM_M, GEMM_N, GEMM_K, 1, m[0], GEMM_K, m[1],
                GEMM_N, 0, m[2], GEMM_N);
    *units = 2.0 * GEMM_M * GEMM_N * GEMM_K;
    return true;
}

static float *random_floats(size_t n) {
    float *v = g_new(float, n);
    LobRng rng;
    lob_rng_init(&rng, 1, "bench");
    for (size_t i = 0; i < n; i++)
        v[i] = (float)lob_rng_uniform(&rng) - 0.5F;
    return v;
}

bool lob_bench_sgemm(const LobBench *bench, LobBenchRate *flops, GError **err) {
    g_autofree float *a = random_floats((size_t)GEMM_M * GEMM_K), *b = random_floats((size_t)GEMM_K * GEMM_N);
    g_autofree float *c = g_new0(float, (size_t)GEMM_M *GEMM_N);
    float *matrices[] = {a, b, c};
    return lob_bench_measure(bench, run_sgemm, matrices, flops, err);
}

/* ---- the product of an encoder's precision ---- */

typedef struct {
    LobEncoderProduct *product;
    double flop;
} Product;

static bool run_product(void *user, double *units, GError **err) {
    const Product *p = user;
    *units = p->flop;
    return lob_encoder_product_run(p->product, err);
}

bool lob_bench_product(const LobBench *bench, const char *precision, LobBenchRate *flops, GError **err) {
    static const size_t shapes[][3] = {{1576, 1024, 1024}, {1576, 4096, 1024}, {1576, 1024, 4096}};
    *flops = (LobBenchRate){0};
    for (size_t i = 0; i < G_N_ELEMENTS(shapes); i++) {
        const size_t m = shapes[i][0], n = shapes[i][1], k = shapes[i][2];
        LobBenchRate rate;
        g_autoptr(LobEncoderProduct) product = lob_encoder_product_new(precision, m, n, k, err);
        Product p = {product, 2.0 * (double)m * (double)n * (double)k};
        if (!product || !lob_bench_measure(bench, run_product, &p, &rate, err))
            return false;
        if (rate.rate > flops->rate)
            *flops = rate;
    }
    return true;
}

/* ---- memory ---- */

#define COPY_BYTES ((size_t)128 << 20)

static bool run_copy(void *user, double *units, GError **err) {
    char *const *m = user;
    (void)err;
    memcpy(m[0], m[1], COPY_BYTES);
    *units = 2.0 * (double)COPY_BYTES;
    return true;
}

bool lob_bench_memory(const LobBench *bench, LobBenchRate *bytes, GError **err) {
    g_autofree char *to = g_malloc(COPY_BYTES), *from = g_malloc(COPY_BYTES);
    char *both[] = {to, from};
    memset(to, 1, COPY_BYTES);
    memset(from, 2, COPY_BYTES);
    return lob_bench_measure(bench, run_copy, both, bytes, err);
}

/* ---- on their own ---- */

static void tell(const LobBench *bench, const char *what, const char *unit, const LobBenchRate *rate,
                 double gflops) {
    lob_bench_report(
        bench,
        &(LobBenchResult){.bench = "machine", .what = what, .unit = unit, .rate = *rate, .gflops = gflops});
}

static bool tell_product(const LobBench *bench, const char *precision, GError **err) {
    g_autofree char *what = g_strdup_printf("product of 1576 rows, %s", precision);
    LobBenchRate rate;
    if (!lob_bench_product(bench, precision, &rate, err))
        return false;
    tell(bench, what, "FLOP/s", &rate, 1e-9 * rate.rate);
    return true;
}

static bool tell_jpeg(const LobBench *bench, GError **err) {
    enum { SIDE = 256 };
    g_autofree uint8_t *rgb = g_malloc((size_t)SIDE * SIDE * 3);
    LobRng rng;
    LobBenchRate rate;
    lob_rng_init(&rng, 1, "bench/jpeg");
    for (int i = 0; i < SIDE * SIDE * 3; i++)
        rgb[i] = (uint8_t)(160 + (i / 24 + i / (SIDE * 24)) % 64 + (int)lob_rng_below(&rng, 16));
    g_autoptr(LobBenchJpegs) jpegs = lob_bench_jpegs_from(rgb, SIDE, err);
    if (!jpegs || !lob_bench_jpegs_measure(bench, jpegs, SIDE, &rate, err))
        return false;
    tell(bench, "JPEG decoding, a painted 256 px tile", "tiles/s", &rate, 0);
    return true;
}

/* Plain MPI-IO is measured beside the store, a turn each. */
bool lob_bench_machine(const LobBench *bench, GError **err) {
    LobBenchRate rate;
    if (!lob_bench_memory(bench, &rate, err))
        return false;
    tell(bench, "memory: 128 MiB copied, read and written", "B/s", &rate, 0);
    if (!lob_bench_sgemm(bench, &rate, err))
        return false;
    tell(bench, "sgemm 1576 x 1024 x 1024", "FLOP/s", &rate, 1e-9 * rate.rate);
    return (strcmp(bench->precision, "fp32") == 0 || tell_product(bench, bench->precision, err)) &&
           tell_jpeg(bench, err);
}
