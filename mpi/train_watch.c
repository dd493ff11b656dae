#include "mpi/train_watch.h"
#include "model/model.h"
#include "mpi/progress.h"
#include "mpi/stage.h"

#include <sys/stat.h>

/* Each look asks the file system for every model that is not done. */
#define LOOK_SECONDS 5.0
#define TICK_SECONDS 0.25

static struct {
    LobProgress *progress; /* NULL: nothing is watched */
    size_t n;
    char **paths; /* [n] */
    uint8_t *done;
    ino_t *inodes; /* of what lay there at the beginning and does not count; 0: nothing did */
    LobProgressCounts counts;
    uint64_t epochs_before;
    double looked, ticked;
} watch;

static ino_t inode_of(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 ? info.st_ino : 0;
}

/* A model that is trained anew replaces its file by another one. */
static void look(void) {
    for (size_t m = 0; m < watch.n; m++) {
        if (watch.done[m])
            continue;
        const ino_t now = inode_of(watch.paths[m]);
        watch.done[m] = now != 0 && now != watch.inodes[m];
        watch.counts.models_done += watch.done[m];
    }
}

void lob_train_watch_begin(const LobWorld *world, const LobCohort *cohort, const char *stage, size_t n,
                           const uint8_t *done, char *(*path)(const void *user, size_t model),
                           const void *user) {
    if (world->rank != 0 || n == 0)
        return;
    watch.progress = lob_progress_new(cohort, stage, world->size);
    watch.n = n;
    watch.paths = g_new0(char *, n + 1);
    watch.done = g_memdup2(done, n);
    watch.inodes = g_new0(ino_t, n);
    watch.counts = (LobProgressCounts){.models = (uint32_t)n};
    watch.epochs_before = lob_model_epochs_trained();
    watch.looked = watch.ticked = lob_clock();
    for (size_t m = 0; m < n; m++) {
        watch.paths[m] = path(user, m);
        watch.inodes[m] = inode_of(watch.paths[m]);
        watch.counts.models_done += done[m] != 0;
    }
    lob_progress_update(watch.progress, &watch.counts, NULL);
    lob_nap_set_hook(lob_train_watch_tick);
}

static void tell(void) {
    watch.counts.epochs = lob_model_epochs_trained() - watch.epochs_before;
    lob_progress_update(watch.progress, &watch.counts, NULL);
}

void lob_train_watch_tick(void) {
    const double now = lob_clock();
    if (!watch.progress || now - watch.ticked < TICK_SECONDS)
        return;
    watch.ticked = now;
    if (now - watch.looked >= LOOK_SECONDS) {
        watch.looked = now;
        look();
    }
    tell();
}

static void catch_up(void) {
    look();
    tell();
}

void lob_train_watch_follows(const char *words) {
    if (!watch.progress)
        return;
    catch_up();
    lob_progress_goes_quiet(watch.progress, words);
}

void lob_train_watch_end(const GError *problem) {
    if (!watch.progress)
        return;
    lob_nap_set_hook(NULL);
    catch_up();
    lob_progress_end(watch.progress, lob_stage_state_word(problem), problem ? problem->message : "");
    lob_progress_free(g_steal_pointer(&watch.progress));
    g_strfreev(g_steal_pointer(&watch.paths));
    g_free(g_steal_pointer(&watch.done));
    g_free(g_steal_pointer(&watch.inodes));
}
