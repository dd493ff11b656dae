/* What made numbers: program, libraries, machine. */
#ifndef LOB_PROVENANCE_H
#define LOB_PROVENANCE_H

#include "cohort/cohort.h"
#include "mpi/mpi_jobs.h"

#include <jansson.h>

/* Local. Program, commit, compiler, libraries and CPU type; names neither host nor path. Caller owns it. */
json_t *lob_provenance_program(void);
/* Collective. The same with what a measurement depends on besides: CPU model, host, kernel, ranks of each
 * host, MPI-IO module, the file system of `dir`. NULL on ranks other than 0. */
json_t *lob_provenance_machine(const LobWorld *world, const char *dir);

/* Writes output/provenance.json: versions of program and libraries, CPU, ranks, hash of the study file, store
 * headers' encoder as the study names it. Local: call it on rank 0. No path and no host name is written,
 * since an output folder may be passed on. */
bool lob_provenance_write(const LobWorld *world, const LobCohort *cohort, GError **err);

#endif
