#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct {
    GMutex lock;
    LobLogLevel threshold;
    int rank, json_fd;
} state = {.threshold = LOB_LOG_INFO, .rank = 0, .json_fd = -1};

static const char *const level_names[] = {"debug", "info", "warning", "error"};

void lob_log_setup(LobLogLevel threshold, int rank) {
    g_mutex_lock(&state.lock);
    state.threshold = threshold;
    state.rank = rank;
    g_mutex_unlock(&state.lock);
}

bool lob_log_open_json(const char *path, GError **err) {
    int fd = -1;
    if (path != NULL) {
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        if (fd < 0)
            return lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot open the log for appending", path);
    }
    g_mutex_lock(&state.lock);
    int old = state.json_fd;
    state.json_fd = fd;
    g_mutex_unlock(&state.lock);
    if (old >= 0 && close(old) != 0)
        return lob_fail_errno(err, LOB_ERROR_IO, errno, "cannot close the former log");
    return true;
}

/* One write call a line, so that lines of several processes appending to one file do not mix. A log that
 * cannot be written must not end the job, so a failure is told once on stderr. */
static void write_json_line(LobLogLevel level, const char *message) {
    char stamp[64];
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    if (gmtime_r(&now.tv_sec, &utc) == NULL || strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc) == 0)
        stamp[0] = '\0';
    size_t used = strlen(stamp);
    snprintf(stamp + used, sizeof stamp - used, ".%03dZ", (int)(now.tv_nsec / 1000000));
    g_autofree char *valid = g_utf8_make_valid(message, -1);
    json_t *line = json_pack("{s:s, s:s, s:i, s:s}", "time", stamp, "level", level_names[level], "rank",
                             state.rank, "message", valid);
    char *text = line != NULL ? json_dumps(line, JSON_COMPACT) : NULL;
    if (text != NULL) {
        g_autofree char *out = g_strconcat(text, "\n", NULL);
        size_t size = strlen(out);
        if (write(state.json_fd, out, size) != (ssize_t)size) {
            fprintf(stderr, "lobule: warning: the JSON log cannot be written: %s\n", g_strerror(errno));
            close(state.json_fd);
            state.json_fd = -1;
        }
    }
    free(text);
    json_decref(line);
}

void lob_log(LobLogLevel level, const char *format, ...) {
    g_mutex_lock(&state.lock);
    LobLogLevel threshold = state.threshold;
    if (state.rank != 0 && threshold < LOB_LOG_WARNING)
        threshold = LOB_LOG_WARNING;
    if (level >= threshold) {
        va_list args;
        va_start(args, format);
        g_autofree char *message = g_strdup_vprintf(format, args);
        va_end(args);
        const char *label = level == LOB_LOG_INFO ? "" : level_names[level];
        const char *colon = level == LOB_LOG_INFO ? "" : ": ";
        if (state.rank == 0)
            fprintf(stderr, "lobule: %s%s%s\n", label, colon, message);
        else
            fprintf(stderr, "lobule[%d]: %s%s%s\n", state.rank, label, colon, message);
        if (state.json_fd >= 0)
            write_json_line(level, message);
    }
    g_mutex_unlock(&state.lock);
}

double lob_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double lob_thread_cpu_seconds(void) {
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (double)used.tv_sec + 1e-9 * (double)used.tv_nsec;
}
