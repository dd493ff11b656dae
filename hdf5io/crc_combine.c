/* CRC-32C of two stretches from those of each: advancing a CRC over a run of zero bytes is a linear map over
 * GF(2), whose powers of two are made by squaring (the method is Mark Adler's). */
#include "hdf5io/hdf5io.h"

#define CASTAGNOLI 0x82f63b78u /* reflected */

typedef struct {
    uint32_t column[32]; /* image of each bit */
} Map;

static uint32_t apply(const Map *map, uint32_t vector) {
    uint32_t sum = 0;
    for (int bit = 0; vector; bit++, vector >>= 1)
        if (vector & 1)
            sum ^= map->column[bit];
    return sum;
}

static Map squared(const Map *map) {
    Map square;
    for (int bit = 0; bit < 32; bit++)
        square.column[bit] = apply(map, map->column[bit]);
    return square;
}

uint32_t lob_crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t length_b) {
    Map map = {{CASTAGNOLI}}; /* one zero bit */
    for (int bit = 1; bit < 32; bit++)
        map.column[bit] = 1u << (bit - 1);
    for (int doubling = 0; doubling < 3; doubling++)
        map = squared(&map); /* one zero byte */
    for (; length_b; length_b >>= 1, map = squared(&map))
        if (length_b & 1)
            crc_a = apply(&map, crc_a);
    return crc_a ^ crc_b;
}
