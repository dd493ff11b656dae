/* Random streams, checksums, half floats. Goldens: tests/oracles/base_goldens.py. */
#include "base/base.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

Test(base_rng, streams_are_those_of_the_oracle) {
    static const struct {
        uint64_t seed;
        const char *stream;
        uint64_t draws[3];
    } golden[] = {
        {1,
         "fold/2/seed/1",
         {UINT64_C(0x92CD8D2565D07B80), UINT64_C(0x99825F04338957C2), UINT64_C(0x49C491502B348884)}},
        {0, "", {UINT64_C(0x0D7293FE83B1A2BC), UINT64_C(0x764EDE80904BEE69), UINT64_C(0xD63B152C4E5372CD)}},
        {UINT64_MAX,
         "patient-\xC3\xA4",
         {UINT64_C(0x52E241F8A6FEDD96), UINT64_C(0xEB31932BE15C1D66), UINT64_C(0x7F6649BB79D8DB70)}},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(golden); i++) {
        LobRng rng;
        lob_rng_init(&rng, golden[i].seed, golden[i].stream);
        for (int k = 0; k < 3; k++)
            cr_assert(lob_rng_u64(&rng) == golden[i].draws[k], "stream %zu draw %d", i, k);
    }
}

Test(base_rng, normal_uniform_exponential) {
    LobRng rng;
    lob_rng_init(&rng, 7, "normal");
    const double first = lob_rng_normal(&rng), second = lob_rng_normal(&rng);
    cr_assert_float_eq(first, -0.7046381904592671, 1e-15);
    cr_assert_float_eq(second, 0.40271309570746927, 1e-15);
    lob_rng_init(&rng, 7, "normal");
    const double exponential = lob_rng_exponential(&rng), uniform = lob_rng_uniform(&rng);
    cr_assert_float_eq(exponential, 0.32934640845400187, 1e-15);
    cr_assert_float_eq(uniform, 0.4173646540494065, 1e-16);
}

/* 5 sigma of the sample moments; a broken generator misses by far more. */
Test(base_rng, moments) {
    LobRng rng;
    const int n = 200000;
    double sum = 0, square = 0, exponential = 0;
    lob_rng_init(&rng, 3, "moments");
    for (int i = 0; i < n; i++) {
        double x = lob_rng_normal(&rng);
        sum += x;
        square += x * x;
        exponential += lob_rng_exponential(&rng);
    }
    cr_assert_float_eq(sum / n, 0, 5 / sqrt(n));
    cr_assert_float_eq(square / n, 1, 5 * sqrt(2.0 / n));
    cr_assert_float_eq(exponential / n, 1, 5 / sqrt(n));
}

/* Chi-square over 7 cells, 6 degrees of freedom: the 1 - 1e-6 quantile is 38.3. */
Test(base_rng, below_is_even) {
    LobRng rng;
    double cells[7] = {0}, chi = 0;
    const int n = 70000;
    lob_rng_init(&rng, 4, "below");
    for (int i = 0; i < n; i++)
        cells[lob_rng_below(&rng, 7)]++;
    for (int k = 0; k < 7; k++)
        chi += (cells[k] - n / 7.0) * (cells[k] - n / 7.0) / (n / 7.0);
    cr_assert_lt(chi, 38.3);
    cr_assert_eq(lob_rng_below(&rng, 1), 0);
}

Test(base_rng, shuffle_is_a_permutation_and_depends_on_the_stream) {
    uint32_t a[100], b[100];
    bool seen[100] = {false};
    LobRng rng;
    for (uint32_t i = 0; i < 100; i++)
        a[i] = b[i] = i;
    lob_rng_init(&rng, 1, "a");
    lob_rng_shuffle(&rng, a, 100);
    lob_rng_init(&rng, 1, "b");
    lob_rng_shuffle(&rng, b, 100);
    for (int i = 0; i < 100; i++) {
        cr_assert(a[i] < 100 && !seen[a[i]]);
        seen[a[i]] = true;
    }
    cr_assert(memcmp(a, b, sizeof a) != 0);
    lob_rng_shuffle(&rng, a, 0);
}

Test(base_checksum, crc32c_vectors_and_chaining) {
    uint8_t bytes[32];
    cr_assert_eq(lob_crc32c(0, "123456789", 9), 0xE3069283U);
    memset(bytes, 0, sizeof bytes);
    cr_assert_eq(lob_crc32c(0, bytes, 32), 0x8A9136AAU);
    memset(bytes, 0xFF, sizeof bytes);
    cr_assert_eq(lob_crc32c(0, bytes, 32), 0x62A8AB43U);
    for (uint8_t i = 0; i < 32; i++)
        bytes[i] = i;
    cr_assert_eq(lob_crc32c(0, bytes, 32), 0x46DD794EU);
    cr_assert_eq(lob_crc32c(0, bytes, 0), 0U);
    for (size_t cut = 0; cut <= 32; cut++)
        cr_assert_eq(lob_crc32c(lob_crc32c(0, bytes, cut), bytes + cut, 32 - cut), 0x46DD794EU);
}

Test(base_checksum, crc32c_agrees_with_its_reference_at_every_alignment) {
    uint8_t bytes[300];
    LobRng rng;
    lob_rng_init(&rng, 1, "crc");
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)lob_rng_u64(&rng);
    for (size_t first = 0; first < 9; first++)
        for (size_t size = 0; size + first <= sizeof bytes; size++)
            cr_assert_eq(lob_crc32c(5, bytes + first, size), lob_crc32c_reference(5, bytes + first, size));
}

/* FIPS 180-4's example, and the empty message. */
Test(base_checksum, sha256) {
    g_autofree char *abc = lob_sha256_bytes("abc", 3);
    g_autofree char *empty = lob_sha256_bytes("", 0);
    cr_assert_str_eq(abc, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    cr_assert_str_eq(empty, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

Test(base_half, goldens) {
    static const struct {
        float value;
        uint16_t half;
    } golden[] = {
        {0.1f, 0x2E66},           {1.0f / 3.0f, 0x3555}, {65504.0f, 0x7BFF},       {65519.99f, 0x7BFF},
        {65520.0f, 0x7C00},       {1e30f, 0x7C00},       {6e-8f, 0x0001},          {0x1p-25f, 0x0000},
        {2.9805303e-08f, 0x0001}, {6.1e-5f, 0x03FF},     {1.00048828125f, 0x3C00}, {1.00146484375f, 0x3C02},
        {-2.5f, 0xC100},          {-0.0f, 0x8000},       {-INFINITY, 0xFC00},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(golden); i++)
        cr_assert_eq(lob_half_from_float(golden[i].value), golden[i].half, "%g gives %04x, expected %04x",
                     (double)golden[i].value, lob_half_from_float(golden[i].value), golden[i].half);
}

Test(base_half, every_half_survives_the_way_there_and_back) {
    for (uint32_t half = 0; half < 65536; half++) {
        float value = lob_float_from_half((uint16_t)half);
        if (isnan(value))
            cr_assert((half & 0x7C00U) == 0x7C00U && (half & 0x3FFU) != 0);
        else
            cr_assert_eq(lob_half_from_float(value), half);
    }
}

/* The F16C path against the portable one, to the bit, NaN payloads and odd lengths included. */
Test(base_half, vector_code_agrees_with_the_reference) {
    g_autofree uint16_t *halves = g_new(uint16_t, 65536);
    g_autofree float *floats = g_new(float, 65536);
    for (uint32_t i = 0; i < 65536; i++)
        halves[i] = (uint16_t)i;
    lob_floats_from_halves(floats, halves, 65535);
    for (uint32_t i = 0; i < 65535; i++) {
        float expected = lob_float_from_half((uint16_t)i);
        cr_assert(memcmp(&expected, &floats[i], sizeof expected) == 0, "half %04x", i);
    }
    LobRng rng;
    lob_rng_init(&rng, 2, "half");
    for (int round = 0; round < 40; round++) {
        for (uint32_t i = 0; i < 65536; i++) {
            uint32_t bits = (uint32_t)lob_rng_u64(&rng);
            memcpy(&floats[i], &bits, sizeof bits);
        }
        lob_halves_from_floats(halves, floats, 65533);
        for (uint32_t i = 0; i < 65533; i++)
            cr_assert_eq(halves[i], lob_half_from_float(floats[i]), "float %a", (double)floats[i]);
    }
}

Test(base_image, init_and_clear) {
    g_auto(LobImage) image = {0};
    lob_image_init(&image, 3, 2, 3);
    for (int i = 0; i < 18; i++)
        cr_assert_eq(image.data[i], 0);
    lob_image_clear(&image);
    cr_assert_null(image.data);
}
