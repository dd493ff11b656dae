/* Tiles of plain tiled TIFF pyramids, decoded straight into the asked region.
 *
 * OpenSlide blends every tile over the region by cairo's slowest operator, which takes four times as long as
 * decoding it. Where tiles neither overlap nor need interpolation, copying gives the same pixels: that is so
 * at whole pixels of a level of Aperio's and generic TIFFs whose tiles are JPEG. Whatever is not so, and
 * whatever does not decode, is left to OpenSlide, whose word on errors counts. The JPEG decoder and its
 * settings are the ones that OpenSlide uses. */
#include "slide/jpeg.h"
#include "slide/slide_internal.h"

#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <tiffio.h>
#include <unistd.h>

#define CACHE_BYTES ((size_t)32 << 20)
#define MOST_DIRECTORIES 256
#define MOST_SIDE 4096                       /* px of a tile */
#define MOST_TILE_BYTES ((uint64_t)64 << 20) /* compressed */

typedef struct {
    bool found, usable;
    int64_t width, height, across;
    LobTiffJpeg tile;
    uint64_t n, *offset, *size; /* [n] */
} Level;

typedef struct {
    int level;
    uint64_t tile;
    uint32_t *pixels; /* NULL: empty */
} Slot;

struct LobTiffTiles {
    int fd;
    uint64_t file_size;
    int n_levels;
    Level level[LOB_SLIDE_MAX_LEVELS];
    double downsample[LOB_SLIDE_MAX_LEVELS];
    Slot *slots;
    size_t n_slots, slot_pixels;
    uint8_t *compressed;
    size_t capacity;
};

#if defined(JCS_ALPHA_EXTENSIONS) && G_BYTE_ORDER == G_LITTLE_ENDIAN

/* ---- the directories ---- */

static uint64_t *copy_numbers(TIFF *tiff, uint32_t tag, uint64_t n) {
    uint64_t *numbers = NULL;
    if (TIFFGetField(tiff, tag, &numbers) != 1 || numbers == NULL)
        return NULL;
    return g_memdup2(numbers, n * sizeof *numbers);
}

static void take_tables(TIFF *tiff, Level *level) {
    uint32_t size = 0;
    void *tables = NULL;
    if (TIFFGetField(tiff, TIFFTAG_JPEGTABLES, &size, &tables) == 1 && tables != NULL && size > 0) {
        level->tile.tables = g_memdup2(tables, size);
        level->tile.tables_size = size;
    }
}

static bool is_plain_jpeg(TIFF *tiff, bool *ycbcr) {
    uint16_t compression = 0, bits = 0, samples = 0, planar = 0, photometric = 0;
    TIFFGetFieldDefaulted(tiff, TIFFTAG_COMPRESSION, &compression);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &bits);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &samples);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &planar);
    if (TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &photometric) != 1)
        return false;
    *ycbcr = photometric == PHOTOMETRIC_YCBCR;
    return compression == COMPRESSION_JPEG && bits == 8 && samples == 3 && planar == PLANARCONFIG_CONTIG &&
           (photometric == PHOTOMETRIC_RGB || photometric == PHOTOMETRIC_YCBCR);
}

static bool fill_level(TIFF *tiff, Level *level) {
    uint32_t tile_width = 0, tile_height = 0;
    if (!is_plain_jpeg(tiff, &level->tile.ycbcr) || TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &tile_width) != 1 ||
        TIFFGetField(tiff, TIFFTAG_TILELENGTH, &tile_height) != 1 || tile_width < 1 ||
        tile_width > MOST_SIDE || tile_height < 1 || tile_height > MOST_SIDE)
        return false;
    level->tile.width = (int)tile_width;
    level->tile.height = (int)tile_height;
    level->across = (level->width + tile_width - 1) / tile_width;
    level->n = (uint64_t)level->across * (uint64_t)((level->height + tile_height - 1) / tile_height);
    if (TIFFNumberOfTiles(tiff) != level->n)
        return false;
    level->offset = copy_numbers(tiff, TIFFTAG_TILEOFFSETS, level->n);
    level->size = copy_numbers(tiff, TIFFTAG_TILEBYTECOUNTS, level->n);
    take_tables(tiff, level);
    return level->offset != NULL && level->size != NULL;
}

/* A level is the one tiled directory of its size; two of one size are not told apart here. */
static void visit_directory(TIFF *tiff, LobTiffTiles *tiles) {
    uint32_t width = 0, height = 0;
    if (!TIFFIsTiled(tiff) || TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width) != 1 ||
        TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height) != 1)
        return;
    for (int i = 0; i < tiles->n_levels; i++) {
        Level *level = &tiles->level[i];
        if (level->width != width || level->height != height)
            continue;
        level->usable = !level->found && fill_level(tiff, level);
        level->found = true;
    }
}

static bool read_directories(const char *path, LobTiffTiles *tiles) {
    TIFFErrorHandler errors = TIFFSetErrorHandler(NULL), warnings = TIFFSetWarningHandler(NULL);
    TIFF *tiff = TIFFOpen(path, "rm");
    bool any = false;
    for (int i = 0; tiff != NULL && i < MOST_DIRECTORIES; i++) {
        visit_directory(tiff, tiles);
        if (TIFFReadDirectory(tiff) != 1)
            break;
    }
    if (tiff != NULL)
        TIFFClose(tiff);
    TIFFSetErrorHandler(errors);
    TIFFSetWarningHandler(warnings);
    for (int i = 0; i < tiles->n_levels; i++) {
        const Level *level = &tiles->level[i];
        any |= level->usable;
        if (level->usable)
            tiles->slot_pixels =
                MAX(tiles->slot_pixels, (size_t)level->tile.width * (size_t)level->tile.height);
    }
    return any;
}

/* ---- one tile ---- */

static bool load_compressed(LobTiffTiles *tiles, uint64_t offset, uint64_t size) {
    if (size == 0 || size > MOST_TILE_BYTES || offset > tiles->file_size || size > tiles->file_size - offset)
        return false;
    if (size > tiles->capacity) {
        g_free(tiles->compressed);
        tiles->capacity = size;
        tiles->compressed = g_malloc(size);
    }
    for (size_t done = 0; done < size;) {
        ssize_t got = pread(tiles->fd, tiles->compressed + done, size - done, (off_t)(offset + done));
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return true;
}

/* The tile's pixels, valid until the next call; NULL: leave it to OpenSlide. */
static const uint32_t *tile_pixels(LobTiffTiles *tiles, int l, uint64_t tile) {
    const Level *level = &tiles->level[l];
    Slot *slot = &tiles->slots[(tile + (uint64_t)l * 7919) % tiles->n_slots];
    if (slot->pixels != NULL && slot->level == l && slot->tile == tile)
        return slot->pixels;
    if (!load_compressed(tiles, level->offset[tile], level->size[tile]))
        return NULL;
    uint32_t *pixels = slot->pixels != NULL ? slot->pixels : g_new(uint32_t, tiles->slot_pixels);
    if (!lob_tiff_jpeg_decode(&level->tile, tiles->compressed, level->size[tile], JCS_EXT_BGRA,
                              (uint8_t *)pixels)) {
        g_free(pixels);
        slot->pixels = NULL;
        return NULL;
    }
    *slot = (Slot){l, tile, pixels};
    return pixels;
}

/* ---- regions ---- */

/* The part of one tile that lies in the region at (column, row) of the level. */
static bool copy_tile(LobTiffTiles *tiles, int l, int64_t tx, int64_t ty, int64_t column, int64_t row,
                      int width, int height, uint32_t *argb) {
    const Level *level = &tiles->level[l];
    const uint32_t *pixels = tile_pixels(tiles, l, (uint64_t)(ty * level->across + tx));
    if (pixels == NULL)
        return false;
    int64_t left = tx * level->tile.width, top = ty * level->tile.height;
    int64_t x0 = MAX(left, column), x1 = MIN(MIN(left + level->tile.width, column + width), level->width);
    int64_t y0 = MAX(top, row), y1 = MIN(MIN(top + level->tile.height, row + height), level->height);
    for (int64_t y = y0; x0 < x1 && y < y1; y++)
        memcpy(argb + (y - row) * width + (x0 - column), pixels + (y - top) * level->tile.width + (x0 - left),
               (size_t)(x1 - x0) * sizeof *argb);
    return true;
}

bool lob_tiff_tiles_read(LobTiffTiles *tiles, int l, int64_t x, int64_t y, int width, int height,
                         uint32_t *argb) {
    if (l < 0 || l >= tiles->n_levels || !tiles->level[l].usable)
        return false;
    const Level *level = &tiles->level[l];
    double exact_column = (double)x / tiles->downsample[l], exact_row = (double)y / tiles->downsample[l];
    if (exact_column != floor(exact_column) || exact_row != floor(exact_row))
        return false;
    int64_t column = (int64_t)exact_column, row = (int64_t)exact_row;
    if (column < 0 || row < 0 || column + width > level->width || row + height > level->height)
        memset(argb, 0, (size_t)width * (size_t)height * sizeof *argb);
    int64_t right = MIN(column + width, level->width), bottom = MIN(row + height, level->height);
    for (int64_t ty = MAX(row, 0) / level->tile.height; ty * level->tile.height < bottom; ty++)
        for (int64_t tx = MAX(column, 0) / level->tile.width; tx * level->tile.width < right; tx++)
            if (!copy_tile(tiles, l, tx, ty, column, row, width, height, argb))
                return false;
    return true;
}

LobTiffTiles *lob_tiff_tiles_open(const char *path, const LobSlideInfo *info) {
    struct stat st;
    if (strcmp(info->vendor, "aperio") != 0 && strcmp(info->vendor, "generic-tiff") != 0)
        return NULL;
    LobTiffTiles *tiles = g_new0(LobTiffTiles, 1);
    tiles->fd = open(path, O_RDONLY | O_CLOEXEC);
    tiles->n_levels = info->levels;
    for (int i = 0; i < info->levels; i++) {
        tiles->level[i].width = info->level[i].width;
        tiles->level[i].height = info->level[i].height;
        tiles->downsample[i] = info->level[i].downsample;
    }
    if (tiles->fd < 0 || fstat(tiles->fd, &st) != 0 || !read_directories(path, tiles)) {
        lob_tiff_tiles_close(tiles);
        return NULL;
    }
    tiles->file_size = (uint64_t)st.st_size;
    tiles->n_slots = MAX(CACHE_BYTES / (tiles->slot_pixels * sizeof(uint32_t)), 4);
    tiles->slots = g_new0(Slot, tiles->n_slots);
    return tiles;
}

#else /* a JPEG library without output in OpenSlide's pixel format: everything is left to OpenSlide */

bool lob_tiff_tiles_read(LobTiffTiles *tiles, int l, int64_t x, int64_t y, int width, int height,
                         uint32_t *argb) {
    (void)tiles, (void)l, (void)x, (void)y, (void)width, (void)height, (void)argb;
    return false;
}

LobTiffTiles *lob_tiff_tiles_open(const char *path, const LobSlideInfo *info) {
    (void)path, (void)info;
    return NULL;
}

#endif

void lob_tiff_tiles_close(LobTiffTiles *tiles) {
    if (tiles == NULL)
        return;
    if (tiles->fd >= 0)
        close(tiles->fd);
    for (int i = 0; i < tiles->n_levels; i++) {
        g_free(tiles->level[i].offset);
        g_free(tiles->level[i].size);
        g_free(tiles->level[i].tile.tables);
    }
    for (size_t i = 0; tiles->slots != NULL && i < tiles->n_slots; i++)
        g_free(tiles->slots[i].pixels);
    g_free(tiles->slots);
    g_free(tiles->compressed);
    g_free(tiles);
}
