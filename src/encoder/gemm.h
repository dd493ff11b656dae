/* Products of activations with prepared weights, one table a precision. Only src/encoder and its tests
 * include this.
 *
 * fp32 is OpenBLAS and the reference; bf16 is oneDNN, where the build has it and the CPU can. A row of a
 * product depends on its own block of rows alone, to the bit, however many blocks a call has. */
#ifndef LOB_ENCODER_GEMM_H
#define LOB_ENCODER_GEMM_H

#include "base/base.h"

typedef enum {
    LOB_GEMM_STORE,    /* out = product */
    LOB_GEMM_ADD,      /* out += product */
    LOB_GEMM_BIAS_GELU /* out = gelu(product + bias), in the form that a chained product reads */
} LobGemmAfter;

/* out[m][n] from in[m][k] and weight[n][k]. */
typedef struct {
    size_t block; /* m is always a multiple of this: a tile's rows */
    size_t n, k;
    LobGemmAfter after;
    bool chained;     /* `in` was written by a BIAS_GELU product of the same table */
    size_t in_stride; /* floats between rows of in; 0 = k. A chained product has none. */
} LobGemmShape;

typedef struct LobGemm LobGemm;

typedef struct {
    const char *precision;
    /* INPUT error where this build or this CPU cannot do it. */
    bool (*usable)(GError **err);
    /* Rows from one tile's first to the next's, at least `rows`, that let all tiles of a batch go through one
     * call: behind a tile's own rows the caller keeps finite values, and reads nothing there. */
    size_t (*spacing)(size_t rows);
    LobGemm *(*open)(const LobGemmShape *shape, GError **err);
    /* Memory of a prepared weight in floats; 0 where it is taken as it is, unprepared. */
    size_t (*prepared)(const LobGemm *gemm);
    bool (*prepare)(const LobGemm *gemm, const float *weight, float *to, GError **err);
    bool (*run)(LobGemm *gemm, const float *weight, const float *bias, const void *in, void *out, size_t m,
                GError **err);
    void (*free)(LobGemm *gemm);
} LobGemmOps;

extern const LobGemmOps lob_gemm_fp32, lob_gemm_bf16;
/* NULL and an INPUT error where there is none of that name or it is not usable here. */
const LobGemmOps *lob_gemm_find(const char *precision, GError **err);

#endif
