/* What the machine itself can do: bounds that the program's rates are held against, and lines of their own.
 */
#include "encoder/encoder.h"
#include "jobs/bench_internal.h"

#include <cblas.h>
#include <string.h>

/* ---- products ---- */

struct LobBenchBound {
    float *a, *b, *c;           /* of plain sgemm; NULL where it is */
    LobEncoderProduct *product; /* one of an encoder's */
    double flop;
};

/* Shapes of a ViT-L's layers over a batch of 8; sgemm's is the first. */
static const size_t shapes[][3] = {{1576, 1024, 1024}, {1576, 4096, 1024}, {1576, 1024, 4096}};

static float *random_floats(size_t n) {
    float *v = g_new(float, n);
    LobRng rng;
    lob_rng_init(&rng, 1, "bench");
    for (size_t i = 0; i < n; i++)
        v[i] = (float)lob_rng_uniform(&rng) - 0.5F;
    return v;
}

static LobBenchBound *bound_new(const char *precision, const size_t shape[3], GError **err) {
    const size_t m = shape[0], n = shape[1], k = shape[2];
    LobBenchBound *bound = g_new0(LobBenchBound, 1);
    bound->flop = 2.0 * (double)m * (double)n * (double)k;
    if (!precision) {
        bound->a = random_floats(m * k);
        bound->b = random_floats(k * n);
        bound->c = g_new0(float, m *n);
    } else if (!(bound->product = lob_encoder_product_new(precision, m, n, k, err))) {
        g_clear_pointer(&bound, lob_bench_bound_free);
    }
    return bound;
}

void lob_bench_bound_free(LobBenchBound *bound) {
    if (!bound)
        return;
    g_free(bound->a);
    g_free(bound->b);
    g_free(bound->c);
    lob_encoder_product_free(bound->product);
    g_free(bound);
}

static bool run_bound(void *user, double *units, GError **err) {
    const LobBenchBound *bound = user;
    const int m = (int)shapes[0][0], n = (int)shapes[0][1], k = (int)shapes[0][2];
    *units = bound->flop;
    if (bound->product)
        return lob_encoder_product_run(bound->product, err);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1, bound->a, k, bound->b, n, 0, bound->c,
                n);
    return true;
}

LobBenchBound *lob_bench_bound_new(const LobBench *bench, const char *precision, LobBenchRate *flops,
                                   GError **err) {
    g_autoptr(LobBenchBound) best = NULL;
    LobBenchRate most = {0};
    for (size_t i = 0; i < (precision ? G_N_ELEMENTS(shapes) : 1); i++) {
        LobBenchRate rate;
        g_autoptr(LobBenchBound) bound = bound_new(precision, shapes[i], err);
        if (!bound || !lob_bench_measure(bench, run_bound, bound, &rate, err))
            return NULL;
        if (rate.rate > most.rate) {
            most = rate;
            lob_bench_bound_free(best);
            best = g_steal_pointer(&bound);
        }
    }
    if (flops)
        *flops = most;
    return g_steal_pointer(&best);
}

bool lob_bench_bound_turn(LobBenchBound *bound, double seconds, LobBenchTurn work, void *user, double *values,
                          double *pace, GError **err) {
    double before, after, share;
    if (!lob_bench_pace(run_bound, bound, seconds, &before, &share, err) || !work(user, values, err) ||
        !lob_bench_pace(run_bound, bound, seconds, &after, &share, err))
        return false;
    *pace = (before + after) / 2;
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

static bool tell_product(const LobBench *bench, const char *precision, const char *what, GError **err) {
    LobBenchRate rate;
    g_autoptr(LobBenchBound) bound = lob_bench_bound_new(bench, precision, &rate, err);
    if (!bound)
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
    g_autofree char *what = g_strdup_printf("product of 1576 rows, %s", bench->precision);
    return tell_product(bench, NULL, "sgemm 1576 x 1024 x 1024", err) &&
           (strcmp(bench->precision, "fp32") == 0 || tell_product(bench, bench->precision, what, err)) &&
           tell_jpeg(bench, err);
}
