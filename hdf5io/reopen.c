/* Opening a finished part again, which only repair does: the rows of damaged slides are to be written anew.
 * Everything else of the part stays as it is, so that it ends as the same file. */
#include "hdf5io/hdf5io_internal.h"
#include <errno.h>

static bool write_column(hid_t file, const char *name, hid_t type, const LobPartRedo *redo,
                         const void *values, GError **err) {
    g_auto(LobHid) dataset = H5Dopen2(file, name, H5P_DEFAULT);
    return LOB_H5(err, LOB_ERROR_IO, dataset, "cannot open %s", name) &&
           lob_h5_write_rows(dataset, type, redo->first, redo->count, values, name, err);
}

/* A part made before there were sums gets none. */
static bool write_sum(hid_t file, const LobPartRedo *redo, GError **err) {
    if (!lob_h5_has(file, LOB_TILE_SUMS))
        return true;
    const uint32_t sum = lob_tiles_crc(redo->tiles.coords, redo->tiles.tissue, redo->count);
    g_auto(LobHid) dataset = H5Dopen2(file, LOB_TILE_SUMS, H5P_DEFAULT);
    return LOB_H5(err, LOB_ERROR_IO, dataset, "cannot open %s", LOB_TILE_SUMS) &&
           lob_h5_write_rows(dataset, H5T_STD_U32LE, redo->slide, 1, &sum, LOB_TILE_SUMS, err);
}

static bool write_tiles(hid_t file, const LobPartRedo *redo, GError **err) {
    const LobPartTiles *tiles = &redo->tiles;
    return write_sum(file, redo, err) &&
           write_column(file, "coords", H5T_STD_I32LE, redo, tiles->coords, err) &&
           write_column(file, "tissue", H5T_STD_U8LE, redo, tiles->tissue, err) &&
           (!lob_h5_has(file, "quality") ||
            (write_column(file, "quality/pen", H5T_STD_U8LE, redo, tiles->pen, err) &&
             write_column(file, "quality/fold", H5T_STD_U8LE, redo, tiles->fold, err)));
}

static bool take_mark(hid_t file, GError **err) {
    const uint8_t no = 0;
    g_auto(LobHid) mark = H5Dopen2(file, "clean", H5P_DEFAULT);
    return LOB_H5(err, LOB_ERROR_IO, mark, "cannot open clean") &&
           lob_h5_write_rows(mark, H5T_STD_U8LE, 0, 1, &no, "clean", err);
}

bool lob_part_reopen(const char *path, const LobPartRedo *redo, size_t n, GError **err) {
    lob_h5_quiet();
    g_auto(LobHid) fapl = lob_h5_access(MPI_COMM_NULL, err);
    g_auto(LobHid) file = fapl < 0 ? LOB_NO_HID : H5Fopen(path, H5F_ACC_RDWR, fapl);
    bool ok = fapl >= 0 && LOB_H5(err, LOB_ERROR_IO, file, "%s: cannot open for writing", path);
    for (size_t i = 0; ok && i < n; i++)
        ok = write_tiles(file, &redo[i], err);
    return ok && take_mark(file, err) &&
           LOB_H5(err, LOB_ERROR_IO, H5Fflush(file, H5F_SCOPE_GLOBAL), "%s: cannot flush", path) &&
           (lob_sync_file(path) ||
            lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot be made durable", path));
}
