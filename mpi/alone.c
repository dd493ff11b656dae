#include "mpi/alone.h"
#include "hdf5io/hdf5io.h"
#include "mpi/stop.h"
#include "mpi/world.h"

/* A job that was just killed may still be dying when it is started again. */
#define PATIENCE_SECONDS 5.0

bool lob_run_alone(LobStageRun run, const LobWorld *world, const LobCohort *cohort, int *exit_code,
                   GError **err) {
    g_autofree char *folder = lob_study_out(cohort->study, "train");
    g_autofree char *path = lob_study_out(cohort->study, "train/lock");
    GError *mine = NULL;
    LobLock *lock = NULL;
    if (world->rank == 0 && lob_make_dirs(folder, &mine))
        lock = lob_lock_wait(path, PATIENCE_SECONDS, lob_run_goes_on, &mine);
    if (!lob_world_agree(world, mine, err)) {
        if (lock)
            lob_lock_release(lock);
        return false;
    }
    if (lock)
        lob_lock_keep(lock);
    const bool ok = run(world, cohort, exit_code, err);
    if (lock)
        lob_lock_release(lock);
    return ok;
}
