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
};

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

static Holder this_process(void) {
    Holder self = {.pid = getpid()};
    char state = 0;
    /* A batch script that cannot be requeued submits itself anew: the chain keeps its first job's number. */
    const bool chain = g_getenv("LOBULE_CHAIN") != NULL;
    const char *restart = g_getenv(chain ? "LOBULE_CHAIN_RESTARTS" : "SLURM_RESTART_COUNT");
    const char *job = g_getenv(chain ? "LOBULE_CHAIN" : "SLURM_JOB_ID");
    self.host = g_strdup(g_get_host_name());
    if (!g_file_get_contents("/proc/sys/kernel/random/boot_id", &self.boot, NULL, NULL))
        self.boot = g_strdup("");
    g_strstrip(self.boot);
    self.pid_namespace = g_file_read_link("/proc/self/ns/pid", NULL);
    if (!self.pid_namespace)
        self.pid_namespace = g_strdup("");
    self.job = g_strdup(job ? job : "");
    self.restart = restart ? g_ascii_strtoll(restart, NULL, 10) : 0;
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

/* NULL: the holder lives, or may. Otherwise why the lock is stale. */
static char *why_stale(const Holder *holder, const Holder *self, int64_t silent) {
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

/* Only one process at a time may take a stale lock away; a guard left by a crash expires soon. */
static int take_guard(const char *guard, int64_t now) {
    struct stat status;
    int fd = open(guard, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0 && errno == EEXIST && stat(guard, &status) == 0 && now - status.st_mtime > GUARD_SECONDS) {
        unlink(guard);
        fd = open(guard, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    }
    return fd;
}

/* Removes a lock that is stale; under the guard it is looked at again. False and an error where it lives. */
static bool clear_stale(const char *path, const Holder *self, int64_t now, GError **err) {
    struct stat status;
    g_autofree char *text = NULL;
    g_autofree char *guard = g_strconcat(path, ".takeover", NULL);
    int fd = take_guard(guard, now);
    if (fd < 0)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: another process is taking the store over just now", path);
    close(fd);
    bool ok = true;
    if (stat(path, &status) == 0 && g_file_get_contents(path, &text, NULL, NULL)) {
        g_auto(Holder) holder = parse_holder(text);
        int64_t silent = now - status.st_mtime;
        g_autofree char *why = why_stale(&holder, self, silent);
        if (!why)
            ok = refuse(path, &holder, silent, err);
        else if (unlink(path) != 0 && errno != ENOENT)
            ok = lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot remove a stale lock", path);
        else
            lob_warning("%s: taking over the lock of process %" PRId64 " on %s: %s", path, holder.pid,
                        holder.host ? holder.host : "an unknown host", why);
    }
    unlink(guard);
    return ok;
}

/* Puts our own file under the lock's name, past a stale lock if need be. */
static bool take_name(const char *own, const char *path, const Holder *self, int64_t now, GError **err) {
    int linked = link_name(own, path);
    if (linked == 0) {
        if (!clear_stale(path, self, now, err))
            return false;
        linked = link_name(own, path);
    }
    if (linked == 0)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: another process took the store at the same moment", path);
    return linked == 1 || lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot take the lock", path);
}

LobLock *lob_lock_take(const char *path, GError **err) {
    g_auto(Holder) self = this_process();
    g_autofree char *own = g_strdup_printf("%s.%s.%" PRId64, path, self.host, self.pid);
    struct stat status;
    int fd = write_own(own, &self, &status, err);
    /* The file system's own clock, as just seen on our file, so that skewed clocks do not matter. */
    if (fd < 0 || !take_name(own, path, &self, status.st_mtime, err)) {
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

LobLock *lob_lock_wait(const char *path, double seconds, GError **err) {
    const double start = lob_clock();
    for (;;) {
        g_autoptr(GError) refused = NULL;
        LobLock *lock = lob_lock_take(path, &refused);
        if (lock)
            return lock;
        if (refused->code != LOB_ERROR_INPUT || lob_clock() - start > seconds) {
            g_propagate_error(err, g_steal_pointer(&refused));
            return NULL;
        }
        g_usleep(G_USEC_PER_SEC / 4);
    }
}

static bool is_ours(const LobLock *lock) {
    struct stat named, own;
    return stat(lock->path, &named) == 0 && fstat(lock->fd, &own) == 0 && named.st_dev == own.st_dev &&
           named.st_ino == own.st_ino;
}

bool lob_lock_beat(LobLock *lock, GError **err) {
    if (!is_ours(lock))
        return lob_fail(err, LOB_ERROR_IO, "%s: the lock was taken away from this process", lock->path);
    return futimens(lock->fd, NULL) == 0 ||
           lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot renew the lock", lock->path);
}

static gpointer beat_on(gpointer user) {
    LobLock *lock = user;
    g_mutex_lock(&lock->mutex);
    while (!lock->released) {
        g_autoptr(GError) err = NULL;
        if (g_cond_wait_until(&lock->cond, &lock->mutex,
                              g_get_monotonic_time() + BEAT_SECONDS * G_TIME_SPAN_SECOND))
            continue;
        if (!lob_lock_beat(lock, &err)) {
            lob_warning("%s", err->message);
            break;
        }
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
