#include "mpi/plan_stain.h"

#include <string.h>

enum { SAMPLED_TILES = 16, STEP = 4 };

static void add_pixels(const uint8_t *rgb, size_t side, GByteArray *pixels) {
    for (size_t y = STEP / 2; y < side; y += STEP)
        for (size_t x = STEP / 2; x < side; x += STEP)
            g_byte_array_append(pixels, rgb + 3 * (y * side + x), 3);
}

static bool read_some(LobReader *reader, const LobTileSpec *spec, const int32_t (*xy)[2], size_t n,
                      GByteArray *pixels, GError **err) {
    const uint8_t *rgb = NULL, *status = NULL;
    const size_t side = (size_t)spec->size;
    if (!lob_reader_request(reader, spec, xy, n, err) ||
        !lob_reader_collect(reader, &rgb, &status, NULL, err))
        return false;
    for (size_t t = 0; t < n; t++)
        if (status[t] == LOB_TILE_OK)
            add_pixels(rgb + 3 * t * side * side, side, pixels);
    return true;
}

bool lob_stain_sample(LobReader *reader, const LobTileSpec *spec, const LobGrid *grid, size_t batch,
                      LobStains *stains, GError **err) {
    int32_t xy[SAMPLED_TILES][2];
    const size_t n = MIN(grid->n, (size_t)SAMPLED_TILES);
    g_autoptr(GByteArray) pixels = g_byte_array_new();
    for (size_t i = 0; i < n; i++)
        memcpy(xy[i], grid->xy[(2 * i + 1) * grid->n / (2 * n)], sizeof xy[i]);
    bool ok = true;
    for (size_t i = 0; ok && i < n; i += batch)
        ok = read_some(reader, spec, (const int32_t(*)[2])(xy + i), MIN(batch, n - i), pixels, err);
    lob_stains_estimate(pixels->data, ok ? pixels->len / 3 : 0, stains);
    return ok;
}
