/* One writer a store. The lock file appears at once with all its content (written under another name, then
 * linked). Whether its holder lives is decided by the process table where that can be seen (same boot, same
 * pid namespace), by Slurm's restart count, and else by the heartbeat, the file's mtime. */
#include "hdf5io/hdf5io_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STALE_SECONDS 600
#define GUARD_SECONDS 30
#define BEAT_SECONDS 60
/* Who lost a race for a stale lock finds out within this time. */
#define SETTLE_SECONDS 0.1
/* Between two looks at a lock that is waited for: at first, and later. */
#define LOOK_SECONDS 0.25
#define LATER_LOOK_SECONDS 2.0

typedef struct {
    char *host, *boot, *pid_namespace, *job;
    int64_t pid, start, restart;
} Holder;

struct LobLock {
    char *path;
    int fd; /* of our own lock file; held open so that its inode number cannot come back under the name */
    GThread *keeper; /* or NULL; ends once `released` is set */
    GMutex mutex;
    GCond cond;
    bool released;
    gint lost; /* atomic: another process has it */
};

/* Why a lock was not given: what was seen of its holder. */
typedef struct {
    bool by_heartbeat; /* nothing but its heartbeat tells whether it lives */
    ino_t file;
    struct timespec beat;
    int64_t silent; /* seconds */
} Refusal;

static void holder_clear(Holder *holder) {
    g_free(holder->host);
    g_free(holder->boot);
    g_free(holder->pid_namespace);
    g_free(holder->job);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Holder, holder_clear)

/* State letter and start time (clock ticks since boot) of a process; false where there is none. The name
 * in parentheses may hold anything, so fields are counted from the last ')'. */
static bool process_start(int64_t pid, char *state, int64_t *start) {
    g_autofree char *path = g_strdup_printf("/proc/%" PRId64 "/stat", pid);
    g_autofree char *text = NULL;
    if (!g_file_get_contents(path, &text, NULL, NULL))
        return false;
    const char *after = strrchr(text, ')');
    g_auto(GStrv) field =
        g_strsplit(after ? after + 1 : "", " ", -1); /* "", state, ppid, ... start is 20th */
    if (g_strv_length(field) < 21)
        return false;
    *state = field[1][0];
    *start = g_ascii_strtoll(field[20], NULL, 10);
    return true;
}

const char *lob_job_id(int64_t *restart) {
    /* A batch script that cannot be requeued submits itself anew: the chain keeps its first job's number.
     * Other schedulers keep a job's number too, but do not count its restarts. */
    static const char *const names[] = {"LOBULE_CHAIN", "SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID"};
    static const char *const counts[] = {"LOBULE_CHAIN_RESTARTS", "SLURM_RESTART_COUNT", NULL, NULL};
    *restart = 0;
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        const char *job = g_getenv(names[i]), *count = counts[i] ? g_getenv(counts[i]) : NULL;
        if (!job)
            continue;
        *restart = count ? g_ascii_strtoll(count, NULL, 10) : 0;
        return job;
    }
    return "";
}

static Holder this_process(void) {
    Holder self = {.pid = getpid()};
    char state = 0;
    self.host = g_strdup(g_get_host_name());
    if (!g_file_get_contents("/proc/sys/kernel/random/boot_id", &self.boot, NULL, NULL))
        self.boot = g_strdup("");
    g_strstrip(self.boot);
    self.pid_namespace = g_file_read_link("/proc/self/ns/pid", NULL);
    if (!self.pid_namespace)
        self.pid_namespace = g_strdup("");
    self.job = g_strdup(lob_job_id(&self.restart));
    process_start(self.pid, &state, &self.start);
    return self;
}

static char *holder_text(const Holder *holder) {
    return g_strdup_printf("lobule-lock 1\nhost %s\nboot %s\nns %s\npid %" PRId64 "\nstart %" PRId64
                           "\njob %s\nrestart %" PRId64 "\n",
                           holder->host, holder->boot, holder->pid_namespace, holder->pid, holder->start,
                           holder->job, holder->restart);
}

static Holder parse_holder(const char *text) {
    Holder holder = {0};
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        char *value = strchr(*line, ' ');
        if (!value)
            continue;
        *value++ = '\0';
        char **texts[] = {&holder.host, &holder.boot, &holder.pid_namespace, &holder.job};
        int64_t *numbers[] = {&holder.pid, &holder.start, &holder.restart};
        static const char *const text_keys[] = {"host", "boot", "ns", "job"};
        static const char *const number_keys[] = {"pid", "start", "restart"};
        for (size_t i = 0; i < G_N_ELEMENTS(text_keys); i++)
            if (strcmp(*line, text_keys[i]) == 0 && !*texts[i])
                *texts[i] = g_strdup(value);
        for (size_t i = 0; i < G_N_ELEMENTS(number_keys); i++)
            if (strcmp(*line, number_keys[i]) == 0)
                *numbers[i] = g_ascii_strtoll(value, NULL, 10);
    }
    return holder;
}

static bool same_text(const char *a, const char *b) {
    return a && b && *a && strcmp(a, b) == 0;
}

/* NULL: the holder lives, or may (*by_heartbeat). Otherwise why the lock is stale. */
static char *why_stale(const Holder *holder, const Holder *self, int64_t silent, bool *by_heartbeat) {
    *by_heartbeat = false;
    if (same_text(holder->job, self->job) && self->restart > holder->restart)
        return g_strdup_printf("its job %s has since been restarted", holder->job);
    if (same_text(holder->boot, self->boot) && same_text(holder->pid_namespace, self->pid_namespace)) {
        char state = 0;
        int64_t start = 0;
        if (!process_start(holder->pid, &state, &start) || state == 'Z' || state == 'X')
            return g_strdup_printf("its process %" PRId64 " is gone", holder->pid);
        if (start != holder->start)
            return g_strdup_printf("process %" PRId64 " is another one by now", holder->pid);
        return NULL;
    }
    *by_heartbeat = true;
    if (silent > STALE_SECONDS)
        return g_strdup_printf("it was silent for %" PRId64 " min", silent / 60);
    return NULL;
}

/* Puts our lock under its name unless there is one: 1 done, 0 taken by another, -1 error (errno). */
static int link_name(const char *own, const char *path) {
    if (link(own, path) == 0)
        return unlink(own) == 0 ? 1 : -1;
    if (errno == EEXIST)
        return 0;
    if (errno != EPERM && errno != ENOTSUP && errno != ENOSYS)
        return -1;
    if (renameat2(AT_FDCWD, own, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
        return 1;
    return errno == EEXIST ? 0 : -1;
}

/* Returns the descriptor, or -1. */
static int write_own(const char *own, const Holder *self, struct stat *status, GError **err) {
    g_autofree char *text = holder_text(self);
    int fd = open(own, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    size_t length = strlen(text);
    if (fd >= 0 && write(fd, text, length) == (ssize_t)length && fsync(fd) == 0 && fstat(fd, status) == 0)
        return fd;
    lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot write the lock", own);
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool refuse(const char *path, const Holder *holder, int64_t silent, GError **err) {
    g_autofree char *job =
        holder->job && *holder->job ? g_strdup_printf(", job %s", holder->job) : g_strdup("");
    return lob_fail(err, LOB_ERROR_INPUT,
                    "%s: the store is in use by process %" PRId64 " on %s%s (last sign of life %" PRId64
                    " s ago); wait for it or stop it. If it is certainly dead, remove this file",
                    path, holder->pid, holder->host ? holder->host : "an unknown host", job, MAX(silent, 0));
}

static bool same_file(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Takes the file away that `judged` is open on, and no other: one that took its name meanwhile is put back.
 * 1: gone, 0: it was another one, -1: error (errno). */
static int remove_judged(const char *path, const char *own, int judged) {
    g_autofree char *away = g_strconcat(own, ".away", NULL);
    struct stat moved, wanted;
    if (rename(path, away) != 0)
        return errno == ENOENT ? 1 : -1;
    if (fstat(judged, &wanted) != 0 || stat(away, &moved) != 0)
        return -1;
    if (same_file(&moved, &wanted))
        return unlink(away) == 0 ? 1 : -1;
    if (link_name(away, path) != 1)
        (void)unlink(away); /* a third one came first: whose file this is sees that it lost */
    return 0;
}

/* Only one process at a time takes a stale lock away; a guard left by a crash expires soon. */
static int take_guard(const char *guard, const char *own, int64_t now) {
    struct stat status;
    int fd = open(guard, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0 || errno != EEXIST)
        return fd;
    int old = open(guard, O_RDONLY | O_CLOEXEC);
    if (old < 0)
        return -1;
    const bool expired = fstat(old, &status) == 0 && now - status.st_mtime > GUARD_SECONDS;
    if (expired && remove_judged(guard, own, old) == 1)
        fd = open(guard, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    close(old);
    return fd;
}

static void drop_guard(const char *guard, int fd) {
    struct stat named, own;
    if (stat(guard, &named) == 0 && fstat(fd, &own) == 0 && same_file(&named, &own))
        (void)unlink(guard);
    close(fd);
}

/* LOB_TEST_LOCK=SECONDS: this process is held up between judging a lock and taking it away. */
static void test_hook(void) {
    const char *hook = g_getenv("LOB_TEST_LOCK");
    if (hook)
        g_usleep((gulong)(g_ascii_strtod(hook, NULL) * G_USEC_PER_SEC));
}

static bool remove_stale(const char *path, const char *own, int judged, const Holder *holder, const char *why,
                         GError **err) {
    test_hook();
    const int removed = remove_judged(path, own, judged);
    if (removed < 0)
        return lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot remove a stale lock", path);
    if (removed == 0)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: another process took the store at the same moment", path);
    lob_warning("%s: taking over the lock of process %" PRId64 " on %s: %s", path, holder->pid,
                holder->host ? holder->host : "an unknown host", why);
    return true;
}

static char *read_whole(int fd) {
    char text[4096];
    const ssize_t n = pread(fd, text, sizeof text - 1, 0);
    return g_strndup(text, (gsize)MAX(n, 0));
}

/* Removes a lock that is stale. False and an error where it lives. */
static bool judge(const char *path, const char *own, const Holder *self, int64_t now, Refusal *refusal,
                  GError **err) {
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0) {
        const int cause = errno;
        if (fd >= 0)
            close(fd);
        return cause == ENOENT || lob_fail_errno(err, LOB_ERROR_IO, cause, "%s: cannot read the lock", path);
    }
    g_autofree char *text = read_whole(fd);
    g_auto(Holder) holder = parse_holder(text);
    *refusal = (Refusal){.file = status.st_ino, .beat = status.st_mtim, .silent = now - status.st_mtime};
    g_autofree char *why = why_stale(&holder, self, refusal->silent, &refusal->by_heartbeat);
    const bool ok =
        why ? remove_stale(path, own, fd, &holder, why, err) : refuse(path, &holder, refusal->silent, err);
    close(fd);
    return ok;
}

static bool clear_stale(const char *path, const char *own, const Holder *self, int64_t now, Refusal *refusal,
                        GError **err) {
    g_autofree char *guard = g_strconcat(path, ".takeover", NULL);
    int fd = take_guard(guard, own, now);
    if (fd < 0)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: another process is taking the store over just now", path);
    const bool ok = judge(path, own, self, now, refusal, err);
    drop_guard(guard, fd);
    return ok;
}

static bool has_name(const char *path, int fd) {
    struct stat named, own;
    return stat(path, &named) == 0 && fstat(fd, &own) == 0 && same_file(&named, &own);
}

/* Puts our own file, open as fd, under the lock's name, past a stale lock if need be. */
static bool take_name(const char *own, int fd, const char *path, const Holder *self, int64_t now,
                      Refusal *refusal, GError **err) {
    int linked = link_name(own, path);
    if (linked == 0) {
        if (!clear_stale(path, own, self, now, refusal, err))
            return false;
        linked = link_name(own, path);
        if (linked == 1)
            g_usleep((gulong)(SETTLE_SECONDS * G_USEC_PER_SEC));
        if (linked == 1 && !has_name(path, fd))
            linked = 0;
    }
    if (linked == 0)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: another process took the store at the same moment", path);
    return linked == 1 || lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot take the lock", path);
}

static LobLock *try_take(const char *path, Refusal *refusal, GError **err) {
    g_auto(Holder) self = this_process();
    g_autofree char *own = g_strdup_printf("%s.%s.%" PRId64, path, self.host, self.pid);
    struct stat status;
    int fd = write_own(own, &self, &status, err);
    /* The file system's own clock, as just seen on our file, so that skewed clocks do not matter. */
    if (fd < 0 || !take_name(own, fd, path, &self, status.st_mtime, refusal, err)) {
        unlink(own);
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    LobLock *lock = g_new0(LobLock, 1);
    lock->path = g_strdup(path);
    lock->fd = fd;
    g_mutex_init(&lock->mutex);
    g_cond_init(&lock->cond);
    return lock;
}

LobLock *lob_lock_take(const char *path, GError **err) {
    Refusal refusal = {0};
    return try_take(path, &refusal, err);
}

/* Whether the holder that was seen first has given a sign of life since. */
static bool has_beaten(const Refusal *first, const Refusal *now) {
    return first->file == now->file &&
           (first->beat.tv_sec != now->beat.tv_sec || first->beat.tv_nsec != now->beat.tv_nsec);
}

static void announce(const char *path, const Refusal *refusal) {
    lob_warning("%s: another job has the store, and only its heartbeat tells from here whether it lives: "
                "waiting for that, %d s if it lives; it counts as dead in %" PRId64 " s",
                path, BEAT_SECONDS, MAX(STALE_SECONDS + 1 - refusal->silent, 0));
}

static bool pause_for(double seconds, bool (*go_on)(GError **err), GError **err) {
    for (double slept = 0; slept < seconds; slept += LOOK_SECONDS) {
        if (go_on && !go_on(err))
            return false;
        g_usleep((gulong)(LOOK_SECONDS * G_USEC_PER_SEC));
    }
    return true;
}

LobLock *lob_lock_wait(const char *path, double seconds, bool (*go_on)(GError **err), GError **err) {
    const double start = lob_clock();
    Refusal first = {0};
    for (bool said = false;;) {
        g_autoptr(GError) refused = NULL;
        Refusal refusal = {0};
        LobLock *lock = try_take(path, &refusal, &refused);
        if (lock)
            return lock;
        if (first.file != refusal.file)
            first = refusal;
        const bool early = lob_clock() - start <= seconds;
        const bool may_be_dead = refusal.by_heartbeat && !has_beaten(&first, &refusal);
        if (refused->code != LOB_ERROR_INPUT || !(early || may_be_dead)) {
            g_propagate_error(err, g_steal_pointer(&refused));
            return NULL;
        }
        if (!early && !said)
            announce(path, &refusal);
        said = said || !early;
        if (!pause_for(early ? LOOK_SECONDS : LATER_LOOK_SECONDS, go_on, err))
            return NULL;
    }
}

/* Who takes a stale lock away may have moved ours for a moment by mistake. */
static bool is_ours(const LobLock *lock) {
    for (int look = 0; look < 5; look++) {
        if (has_name(lock->path, lock->fd))
            return true;
        g_usleep(G_USEC_PER_SEC / 50);
    }
    return false;
}

bool lob_lock_check(LobLock *lock, GError **err) {
    if (!g_atomic_int_get(&lock->lost) && is_ours(lock))
        return true;
    g_atomic_int_set(&lock->lost, 1);
    return lob_fail(err, LOB_ERROR_IO,
                    "%s: the lock was taken away from this process, which was taken for dead; it ends "
                    "without writing anything more",
                    lock->path);
}

static bool renew(LobLock *lock, GError **err) {
    return lob_lock_check(lock, err) &&
           (futimens(lock->fd, NULL) == 0 ||
            lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot renew the lock", lock->path));
}

static gpointer beat_on(gpointer user) {
    LobLock *lock = user;
    g_mutex_lock(&lock->mutex);
    while (!lock->released) {
        g_autoptr(GError) err = NULL;
        if (g_cond_wait_until(&lock->cond, &lock->mutex,
                              g_get_monotonic_time() + BEAT_SECONDS * G_TIME_SPAN_SECOND))
            continue;
        if (!renew(lock, &err))
            lob_warning("%s", err->message);
        if (g_atomic_int_get(&lock->lost))
            break;
    }
    g_mutex_unlock(&lock->mutex);
    return NULL;
}

void lob_lock_keep(LobLock *lock) {
    if (!lock->keeper)
        lock->keeper = g_thread_new("lock", beat_on, lock);
}

static void end_keeper(LobLock *lock) {
    g_mutex_lock(&lock->mutex);
    lock->released = true;
    g_cond_signal(&lock->cond);
    g_mutex_unlock(&lock->mutex);
    if (lock->keeper)
        (void)g_thread_join(lock->keeper);
    g_mutex_clear(&lock->mutex);
    g_cond_clear(&lock->cond);
}

void lob_lock_release(LobLock *lock) {
    if (!lock)
        return;
    end_keeper(lock);
    if (is_ours(lock) && unlink(lock->path) != 0)
        lob_warning("%s: cannot remove the lock: %s", lock->path, g_strerror(errno));
    close(lock->fd);
    g_free(lock->path);
    g_free(lock);
}
