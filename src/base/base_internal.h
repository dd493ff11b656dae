#ifndef LOB_BASE_INTERNAL_H
#define LOB_BASE_INTERNAL_H

#include "base/base.h"

/* A table from bytes; `path` is only for messages. The seam for fuzzing. */
LobTable *lob_table_parse(const char *path, const char *data, size_t size, GError **err);

#endif
