/* One training or validation at a time on an output: two would write each other's lock and results. */
#ifndef LOB_ALONE_H
#define LOB_ALONE_H

#include "mpi/mpi_jobs.h"

typedef bool (*LobStageRun)(const LobWorld *world, const LobCohort *cohort, int *exit_code, GError **err);

/* Collective. Runs a stage while rank 0 holds output/train/lock, which a thread keeps fresh. INPUT error
 * naming the holder where another job has it. */
bool lob_run_alone(LobStageRun run, const LobWorld *world, const LobCohort *cohort, int *exit_code,
                   GError **err);

#endif
