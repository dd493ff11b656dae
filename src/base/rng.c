/* Finaliser: Steele, Lea & Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014 (variant 13
 * of Stafford's mixers). The stream's text enters through FNV-1a (64 bit). */
#include "base/base.h"

#include <math.h>

static const uint64_t golden_gamma = UINT64_C(0x9E3779B97F4A7C15);

static uint64_t mix64(uint64_t z) {
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

void lob_rng_init(LobRng *rng, uint64_t seed, const char *stream) {
    uint64_t hash = UINT64_C(0xCBF29CE484222325);
    for (const unsigned char *p = (const unsigned char *)stream; *p != '\0'; p++)
        hash = (hash ^ *p) * UINT64_C(0x100000001B3);
    /* Mixed twice, so that neighbouring seeds of one stream share no run of counters. */
    *rng = (LobRng){.key = mix64(mix64(seed + golden_gamma) ^ hash)};
}

uint64_t lob_rng_u64(LobRng *rng) {
    rng->counter++;
    return mix64(rng->key + rng->counter * golden_gamma);
}

double lob_rng_uniform(LobRng *rng) {
    return (double)(lob_rng_u64(rng) >> 11) * 0x1.0p-53;
}

double lob_rng_normal(LobRng *rng) {
    if (rng->has_spare) {
        rng->has_spare = false;
        return rng->spare;
    }
    /* 1 - u lies in (0, 1], so the logarithm is finite. */
    double radius = sqrt(-2.0 * log(1.0 - lob_rng_uniform(rng)));
    double angle = 2.0 * G_PI * lob_rng_uniform(rng);
    rng->spare = radius * sin(angle);
    rng->has_spare = true;
    return radius * cos(angle);
}

double lob_rng_exponential(LobRng *rng) {
    return -log(1.0 - lob_rng_uniform(rng));
}

/* Lemire, "Fast random integer generation in an interval", 2019: the product's low half tells which draws
 * would favour small results. */
uint32_t lob_rng_below(LobRng *rng, uint32_t bound) {
    g_assert(bound > 0);
    uint32_t reject_below = (uint32_t)(-bound) % bound;
    for (;;) {
        uint64_t product = (lob_rng_u64(rng) >> 32) * (uint64_t)bound;
        if ((uint32_t)product >= reject_below)
            return (uint32_t)(product >> 32);
    }
}

void lob_rng_shuffle(LobRng *rng, uint32_t *v, size_t n) {
    g_assert(n <= UINT32_MAX);
    for (size_t i = n; i > 1; i--) {
        size_t j = lob_rng_below(rng, (uint32_t)i);
        uint32_t swap = v[i - 1];
        v[i - 1] = v[j];
        v[j] = swap;
    }
}
