#include "model/sweep_kernels.h"
#include "base/base.h"

#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

#define WIDTH 4
#define NAME(name) name##_4
#include "model/sweep_vector.h"

#ifdef __x86_64__
#pragma GCC push_options
#pragma GCC target("avx2,f16c")
#define WIDTH 8
#define NAME(name) name##_8
#include "model/sweep_vector.h"
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,prefer-vector-width=512")
#define WIDTH 16
#define NAME(name) name##_16
#include "model/sweep_vector.h"
#pragma GCC pop_options
#endif

static const LobSweepKernels *choose(void) {
#ifdef __x86_64__
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
        return &kernels_16;
    /* no CPU has AVX2 without F16C */
    if (__builtin_cpu_supports("avx2"))
        return &kernels_8;
#endif
    return &kernels_4;
}

const LobSweepKernels *lob_sweep_kernels(void) {
    static gsize once;
    static const LobSweepKernels *kernels;
    if (g_once_init_enter(&once)) {
        kernels = choose();
        g_once_init_leave(&once, 1);
    }
    return kernels;
}
