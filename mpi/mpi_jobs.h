/* The distributed jobs: plan, embed, validation, demo drawing. Each is collective over the world; a single
 * process runs them without MPI_Init. Rank 0 coordinates; it also computes where ranks are few. Only rank 0
 * returns a code other than LOB_EXIT_DONE. */
#ifndef LOB_MPI_JOBS_H
#define LOB_MPI_JOBS_H

#include "base/base.h"
#include "cohort/cohort.h"
#include "demo/demo.h"

typedef struct {
    int rank, size;
    bool has_mpi; /* false: a single process without MPI_Init */
    int node_rank, node_size;
} LobWorld;

/* The rank a launcher gave this process, before MPI_Init; 0 without a launcher. */
int lob_launcher_rank(void);
/* Initialises MPI where a launcher started this process (OMPI_COMM_WORLD_SIZE, PMI_SIZE, PMIX_RANK,
 * SLURM_STEP_ID with tasks > 1), else not. Installs the stop signals. INPUT error where the world's size is
 * not what the launcher said (singletons under srun). */
bool lob_world_start(LobWorld *world, int *argc, char ***argv, GError **err);
/* Nothing may be written afterwards. Waits without polling for the other ranks. */
void lob_world_end(LobWorld *world);

/* Why the run should stop, if it should: set by USR1, TERM, INT, the walltime given, or output/halt. */
typedef enum { LOB_RUN_ON = 0, LOB_RUN_STOP, LOB_RUN_HALT } LobRunState;
LobRunState lob_run_state(void);
/* What asked for it in words ("signal USR1", "walltime", "file out/halt"); "" while the run goes on. */
const char *lob_run_reason(void);
/* Asks this process's run to stop, as a signal would. */
void lob_run_stop(const char *reason);
void lob_run_set_deadline(double seconds_from_now); /* <= 0: none */
void lob_run_set_halt_file(const char *path);

/* Barrier, broadcast and the like that sleep between tests (>= 1 ms, up to 20 ms) instead of burning a core.
 * No-ops without MPI. Bytes may pass INT_MAX. */
void lob_world_barrier(const LobWorld *world);
void lob_world_bcast(const LobWorld *world, void *data, size_t bytes);
/* Gathers each rank's bytes on rank 0 in rank order; *all and *sizes are allocated there. */
void lob_world_gather(const LobWorld *world, const void *data, size_t bytes, void **all, size_t **sizes);

/* Each sets *exit_code on rank 0. */
bool lob_job_plan(const LobWorld *world, const LobCohort *cohort, int *exit_code, GError **err);
bool lob_job_embed(const LobWorld *world, const LobCohort *cohort, int *exit_code, GError **err);
/* Reads every finished part again. One in which slides are damaged becomes unfinished without them, and
 * lob_job_embed makes them anew. INPUT error, and nothing is changed, where one cannot be made. */
bool lob_job_verify(const LobWorld *world, const LobCohort *cohort, GError **err);
bool lob_job_validate(const LobWorld *world, const LobCohort *cohort, int *exit_code, GError **err);
/* Trains on all usable patients and locks the result in output/model.h5. */
bool lob_job_train(const LobWorld *world, const LobCohort *cohort, int *exit_code, GError **err);
/* Applies a model file to the cohort, embedding its slides first where it has any: predictions.csv, and
 * metrics.csv where outcomes are given. On rank 0 sha256 becomes the model's. */
bool lob_job_predict(const LobWorld *world, const LobCohort *cohort, const char *model_path, char sha256[65],
                     int *exit_code, GError **err);
bool lob_job_demo(const LobWorld *world, const LobDemoOptions *options, const char *dir, int *exit_code,
                  GError **err);

#endif
