#include "base/base.h"

#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

/* These two are the reference; the vector code below must agree to the bit, NaN payloads included. */
uint16_t lob_half_from_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t sign = (bits >> 16) & 0x8000U;
    uint32_t magnitude = bits & 0x7FFFFFFFU;
    if (magnitude > 0x7F800000U) /* NaN: quiet, upper payload kept */
        return (uint16_t)(sign | 0x7E00U | ((magnitude >> 13) & 0x3FFU));
    if (magnitude >= 0x47800000U) /* 65536 and above; 65520 .. 65536 round up to infinity by the carry */
        return (uint16_t)(sign | 0x7C00U);
    uint32_t mantissa, shift, half;
    if (magnitude >= 0x38800000U) { /* normal half: rebias the exponent from 127 to 15 */
        mantissa = magnitude - (112U << 23);
        shift = 13;
    } else {
        uint32_t exponent = magnitude >> 23;
        if (exponent < 102U) /* below half of the least subnormal */
            return (uint16_t)sign;
        mantissa = (magnitude & 0x7FFFFFU) | 0x800000U;
        shift = 126U - exponent;
    }
    half = mantissa >> shift;
    uint32_t rest = mantissa & ((1U << shift) - 1U);
    uint32_t middle = 1U << (shift - 1U);
    if (rest > middle || (rest == middle && (half & 1U)))
        half++;
    return (uint16_t)(sign | half);
}

float lob_float_from_half(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000U) << 16;
    uint32_t exponent = (half >> 10) & 0x1FU;
    uint32_t mantissa = half & 0x3FFU;
    uint32_t bits;
    if (exponent == 31U) {
        bits = sign | 0x7F800000U | (mantissa << 13) | (mantissa ? 0x400000U : 0U);
    } else if (exponent != 0) {
        bits = sign | ((exponent + 112U) << 23) | (mantissa << 13);
    } else {
        float magnitude = (float)mantissa * 0x1.0p-24f;
        memcpy(&bits, &magnitude, sizeof bits);
        bits |= sign;
    }
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#if defined(__x86_64__)
static bool cpu_has_f16c(void) {
    static gsize answer; /* 1 no, 2 yes */
    if (g_once_init_enter(&answer)) {
        unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
        /* "avx" also asks whether the operating system saves the registers. */
        bool has =
            __builtin_cpu_supports("avx") && __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C) != 0;
        g_once_init_leave(&answer, has ? 2 : 1);
    }
    return answer == 2;
}

__attribute__((target("avx,f16c"))) static size_t halves_f16c(uint16_t *out, const float *in, size_t n) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m128i halves = _mm256_cvtps_ph(_mm256_loadu_ps(in + i), _MM_FROUND_TO_NEAREST_INT);
        _mm_storeu_si128((__m128i *)(void *)(out + i), halves);
    }
    return i;
}

__attribute__((target("avx,f16c"))) static size_t floats_f16c(float *out, const uint16_t *in, size_t n) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m128i halves = _mm_loadu_si128((const __m128i *)(const void *)(in + i));
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(halves));
    }
    return i;
}
#endif

void lob_halves_from_floats(uint16_t *out, const float *in, size_t n) {
    size_t i = 0;
#if defined(__x86_64__)
    if (cpu_has_f16c())
        i = halves_f16c(out, in, n);
#endif
    for (; i < n; i++)
        out[i] = lob_half_from_float(in[i]);
}

void lob_floats_from_halves(float *out, const uint16_t *in, size_t n) {
    size_t i = 0;
#if defined(__x86_64__)
    if (cpu_has_f16c())
        i = floats_f16c(out, in, n);
#endif
    for (; i < n; i++)
        out[i] = lob_float_from_half(in[i]);
}
