/* What a job looks at before it spends a core-hour: that its ranks write and read one file as they must, and
 * that all of them compute the same. All are collective. */
#ifndef LOB_SELFCHECK_H
#define LOB_SELFCHECK_H

#include "cohort/cohort.h"
#include "mpi/world.h"

/* Each rank writes a block through MPI-IO, makes it durable and reads its neighbour's; blocks share pages.
 * INPUT error on a file system whose clients overwrite each other (space.h); IO error where what is read is
 * not what was written, or where opening fails. A call that hangs ends the job with a hint. */
bool lob_selfcheck_files(const LobWorld *world, const LobStudy *study, GError **err);

/* Count of stripes in the extended attribute lustre.lov of a file; -1 where it does not say. Local. */
int lob_stripes_of(const uint8_t *lov, size_t size);

/* Every rank brings the row its encoder makes of one and the same tile. All must agree with rank 0's, and
 * that with the row kept in the file `kept` by the first run of this store; `identity` is one line of what
 * the encoder is: a row kept for another one is replaced. INTERNAL error naming rank and host. */
bool lob_selfcheck_rows(const LobWorld *world, const float *row, size_t dim, const char *identity,
                        const char *kept, GError **err);

/* This rank's sgemm against plain loops: a wrong kernel would be fast and wrong for days. Local. */
bool lob_selfcheck_sgemm(GError **err);

/* Norm of the difference over the norm of `a`; INFINITY where a value is not finite. NaN pairs agree: texture
 * has columns without a value. */
double lob_rows_differ(const float *a, const float *b, size_t dim);

#endif
