/* Private to hdf5io/: handles that close themselves, checked calls, the layout's names. */
#ifndef LOB_HDF5IO_INTERNAL_H
#define LOB_HDF5IO_INTERNAL_H

#include "hdf5io/hdf5io.h"
#include <hdf5.h>

#if G_BYTE_ORDER != G_LITTLE_ENDIAN
#error "the store's checksums are taken over little-endian bytes in memory"
#endif

/* A handle that closes itself: g_auto(LobHid) x = LOB_NO_HID; */
typedef hid_t LobHid;
#define LOB_NO_HID ((hid_t)-1)
void lob_hid_close(hid_t id);
static inline void lob_hid_release(hid_t *id) {
    lob_hid_close(*id);
    *id = LOB_NO_HID;
}
static inline hid_t lob_hid_steal(hid_t *id) {
    hid_t kept = *id;
    *id = LOB_NO_HID;
    return kept;
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LobHid, lob_hid_release)

/* Every call into HDF5 passes through this: true, or an error with HDF5's own innermost message appended. */
#define LOB_H5(err, code, call, ...) ((call) >= 0 || lob_h5_fail((err), (code), __VA_ARGS__))
bool lob_h5_fail(GError **err, LobErrorCode code, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* Stops HDF5 from printing its error stack; each public entry calls it first. */
void lob_h5_quiet(void);

/* File access: comm MPI_COMM_NULL = POSIX driver. */
hid_t lob_h5_access(MPI_Comm comm, GError **err);
hid_t lob_h5_half_type(GError **err);                /* IEEE binary16, little-endian */
hid_t lob_h5_string_type(size_t size, GError **err); /* fixed length, UTF-8, null-padded */

/* Moves rows first..first+n of a dataset of rank 1 or 2, at most LOB_IO_CALL_BYTES a call. `what` names file
 * and dataset in messages. */
bool lob_h5_write_rows(hid_t dataset, hid_t type, uint64_t first, uint64_t n, const void *data,
                       const char *what, GError **err);
bool lob_h5_read_rows(hid_t dataset, hid_t type, uint64_t first, uint64_t n, void *data, const char *what,
                      GError **err);

/* Attributes. Reading: the text of any string attribute, any integer or float as a double. `found` may be
 * NULL, then a missing attribute is an INPUT error. */
bool lob_h5_write_text(hid_t object, const char *name, const char *text, GError **err);
bool lob_h5_write_number(hid_t object, const char *name, hid_t file_type, double value, GError **err);
bool lob_h5_read_text(hid_t object, const char *name, const char *path, char **text, bool *found,
                      GError **err);
bool lob_h5_read_number(hid_t object, const char *name, const char *path, double *value, bool *found,
                        GError **err);

/* A dataset that lies wholly in this file (no soft or external link, no external or virtual storage). rank 1
 * or 2; dims[1] = 1 for rank 1. INPUT errors name path and dataset. */
hid_t lob_h5_open_dataset(hid_t file, const char *name, const char *path, int rank, hsize_t dims[2],
                          GError **err);
bool lob_h5_is_float(hid_t dataset, size_t *size); /* little-endian IEEE of 2, 4 or 8 bytes */
/* All strings of a one-dimensional dataset of fixed-length strings; NULL-terminated, valid UTF-8. */
char **lob_h5_read_strings(hid_t dataset, hsize_t n, const char *what, GError **err);
bool lob_h5_has(hid_t file, const char *name);

/* header.c */
bool lob_store_header_write(hid_t file, const LobStoreHeader *header, GError **err);
bool lob_store_header_read(hid_t file, const char *path, LobStoreHeader *header, GError **err);

/* The column of the slide table with the sums of what a part's making lays down for every tile. */
#define LOB_TILE_SUMS "slides/tiles_crc32c"
uint32_t lob_tiles_crc(const int32_t (*coords)[2], const uint8_t *tissue, size_t n);

/* slides.c: the table's columns, one place for names and types */
void lob_store_slides_clear(LobStoreSlide *slides, size_t n);
bool lob_store_slides_create(hid_t file, hid_t dcpl, const LobStoreSlide *slides, size_t n, bool fill,
                             GError **kept, GError **err);
bool lob_store_slides_read(hid_t file, const char *path, LobStoreSlide **slides, size_t *n, GError **err);
uint32_t lob_store_slides_crc(const LobStoreSlide *slides, size_t n); /* of ids and row ranges */

/* store.c: rows as binary16 together with the CRC-32C of them as stored */
bool lob_store_read_halves_crc(LobStore *store, uint64_t first, size_t n, uint16_t *out, uint32_t *crc,
                               GError **err);

/* fsync of the file of that name; false: errno says why */
bool lob_sync_file(const char *path);
/* fsync of the folder that holds path, so that a created or renamed name survives power loss */
bool lob_sync_folder(const char *path, GError **err);

#endif
