/* What the machine itself can do: bounds that the program's rates are held against. */
#include "jobs/bench_internal.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

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

bool lob_bench_sgemm(const LobBench *bench, double *flops, GError **err) {
    g_autofree float *a = random_floats((size_t)GEMM_M * GEMM_K), *b = random_floats((size_t)GEMM_K * GEMM_N);
    g_autofree float *c = g_new0(float, (size_t)GEMM_M *GEMM_N);
    float *matrices[] = {a, b, c};
    LobBenchRate rate;
    const bool ok = lob_bench_measure(bench, run_sgemm, matrices, &rate, err);
    *flops = ok ? rate.rate : 0;
    return ok;
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

bool lob_bench_memory(const LobBench *bench, double *bytes, GError **err) {
    g_autofree char *to = g_malloc(COPY_BYTES), *from = g_malloc(COPY_BYTES);
    char *both[] = {to, from};
    LobBenchRate rate;
    memset(to, 1, COPY_BYTES);
    memset(from, 2, COPY_BYTES);
    const bool ok = lob_bench_measure(bench, run_copy, both, &rate, err);
    *bytes = ok ? rate.rate : 0;
    return ok;
}

/* ---- bare JPEG decoding of the same pixels, quality 80; libjpeg's own errors end the process, and these
 * bytes are its own ---- */

typedef struct {
    unsigned char *data;
    unsigned long size;
    int side;
    uint8_t *rgb;
} Jpeg;

static void compress(Jpeg *jpeg, const uint8_t *rgb) {
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr errors;
    c.err = jpeg_std_error(&errors);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &jpeg->data, &jpeg->size);
    c.image_width = c.image_height = (JDIMENSION)jpeg->side;
    c.input_components = 3;
    c.in_color_space = JCS_RGB;
    jpeg_set_defaults(&c);
    jpeg_set_quality(&c, 80, TRUE);
    jpeg_start_compress(&c, TRUE);
    memcpy(jpeg->rgb, rgb, (size_t)jpeg->side * (size_t)jpeg->side * 3);
    while (c.next_scanline < c.image_height) {
        JSAMPROW row = jpeg->rgb + (size_t)c.next_scanline * (size_t)jpeg->side * 3;
        (void)jpeg_write_scanlines(&c, &row, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
}

enum { DECODES = 50 };

static bool run_decode(void *user, double *units, GError **err) {
    const Jpeg *jpeg = user;
    (void)err;
    for (int i = 0; i < DECODES; i++) {
        struct jpeg_decompress_struct d;
        struct jpeg_error_mgr errors;
        d.err = jpeg_std_error(&errors);
        jpeg_create_decompress(&d);
        jpeg_mem_src(&d, jpeg->data, jpeg->size);
        (void)jpeg_read_header(&d, TRUE);
        jpeg_start_decompress(&d);
        while (d.output_scanline < d.output_height) {
            JSAMPROW row = jpeg->rgb + (size_t)d.output_scanline * (size_t)jpeg->side * 3;
            (void)jpeg_read_scanlines(&d, &row, 1);
        }
        (void)jpeg_finish_decompress(&d);
        jpeg_destroy_decompress(&d);
    }
    *units = DECODES;
    return true;
}

bool lob_bench_jpeg(const LobBench *bench, const uint8_t *rgb, int size, double *tiles, GError **err) {
    g_autofree uint8_t *pixels = g_malloc((size_t)size * (size_t)size * 3);
    Jpeg jpeg = {.side = size, .rgb = pixels};
    LobBenchRate rate;
    compress(&jpeg, rgb);
    const bool ok = lob_bench_measure(bench, run_decode, &jpeg, &rate, err);
    free(jpeg.data);
    *tiles = ok ? rate.rate : 0;
    return ok;
}
