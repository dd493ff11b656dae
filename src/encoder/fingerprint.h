/* What weights files are known by. Only src/encoder and its tests include this. */
#ifndef LOB_ENCODER_FINGERPRINT_H
#define LOB_ENCODER_FINGERPRINT_H

#include "base/base.h"

/* The file's SHA-256, 64 hex digits; caller frees. A large file that was hashed before and has the same
 * device, inode, size and times of change is not read again: the user's cache folder remembers it (one small
 * file, lobule/weights.sha256; without it, or where it cannot be written, every process hashes). */
char *lob_fingerprint(const char *path, GError **err);

#endif
