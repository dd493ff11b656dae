/* What a file system has room for, asked before a job spends its hours. Local. */
#ifndef LOB_SPACE_H
#define LOB_SPACE_H

#include "base/base.h"

/* "ext4", "Lustre", "NFS" ...; "of an unknown kind" where it is not in the table. */
const char *lob_space_kind(const char *folder);

/* Whether a folder suits one file that `nodes` hosts write at once. INPUT error on a file system whose
 * clients keep pages of their own (NFS, SMB, AFS): two hosts that write into one page would undo each other's
 * rows, unnoticed. `insist` makes that a warning. One host is fine. */
bool lob_space_suits(const char *folder, int nodes, bool insist, GError **err);

/* Whether `bytes` and `files` more fit: free space, the user's quota and, as a trial, the reserving of the
 * bytes in a file that is removed at once (which knows of every quota, also those that cannot be asked for).
 * IO error with what is missing. What could not be asked is logged. */
bool lob_space_fits(const char *folder, uint64_t bytes, uint64_t files, GError **err);

#endif
