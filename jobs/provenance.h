/* provenance.json: what made an output folder's numbers. */
#ifndef LOB_PROVENANCE_H
#define LOB_PROVENANCE_H

#include "cohort/cohort.h"
#include "mpi/mpi_jobs.h"

/* Writes output/provenance.json: versions of program and libraries, CPU, ranks, hash of the study file, store
 * headers' encoder as the study names it. Local: call it on rank 0. No path and no host name is written,
 * since an output folder may be passed on. */
bool lob_provenance_write(const LobWorld *world, const LobCohort *cohort, GError **err);

#endif
