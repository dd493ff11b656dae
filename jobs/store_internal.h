/* Only jobs/store*.c include this. */
#ifndef LOB_JOBS_STORE_INTERNAL_H
#define LOB_JOBS_STORE_INTERNAL_H

#include "hdf5io/hdf5io.h"

/* As lob_store_verify, its slides shared out over `processes`. Before this process has touched HDF5: it
 * forks. */
bool lob_store_verify_parallel(const char *path, int processes, LobStoreReport *report, GError **err);

#endif
