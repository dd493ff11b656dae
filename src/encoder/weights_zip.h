/* The entries of a zip archive in memory, as far as PyTorch's files need: stored, never compressed. */
#ifndef LOB_ENCODER_WEIGHTS_ZIP_H
#define LOB_ENCODER_WEIGHTS_ZIP_H

#include "base/base.h"

typedef struct {
    const uint8_t *data;
    size_t size;
} LobZipEntry;

/* name -> LobZipEntry; NULL and an INPUT error that names `label` where the archive is damaged or truncated.
 */
GHashTable *lob_zip_entries(const char *label, const uint8_t *map, size_t size, GError **err);

#endif
