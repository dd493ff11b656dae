/* Verifying a store with several processes: each reads every n-th slide and tells what it found through a
 * pipe. */
#include "jobs/store_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Code and message of an error (0: none), slides, rows, bytes, finished, damage: slide, first, count, what.
 */
#define REPORT_TYPE "(istttba(stts))"

typedef struct {
    pid_t pid;
    int fd;
} Child;

static GVariant *pack(const LobStoreReport *report, const GError *error) {
    GVariantBuilder damage;
    g_variant_builder_init(&damage, G_VARIANT_TYPE("a(stts)"));
    for (size_t i = 0; i < report->n_damage; i++) {
        const LobStoreDamage *d = &report->damage[i];
        g_variant_builder_add(&damage, "(stts)", d->slide_id, d->first, d->count, d->what);
    }
    return g_variant_ref_sink(g_variant_new("(istttba(stts))", error ? error->code : -1,
                                            error ? error->message : "", (guint64)report->slides_checked,
                                            report->rows_checked, report->bytes_checked, report->finished,
                                            &damage));
}

static bool write_all(int fd, const char *data, size_t size) {
    while (size > 0) {
        const ssize_t now = write(fd, data, size);
        if (now < 0 && errno == EINTR)
            continue;
        if (now <= 0)
            return false;
        data += now;
        size -= (size_t)now;
    }
    return true;
}

static void run_child(const char *path, int share, int shares, int fd) {
    LobStoreReport report = {0};
    g_autoptr(GError) err = NULL;
    (void)lob_store_verify_share(path, (size_t)share, (size_t)shares, &report, &err);
    GVariant *packed = pack(&report, err);
    const bool sent = write_all(fd, g_variant_get_data(packed), g_variant_get_size(packed));
    _exit(sent ? 0 : 1);
}

static bool start(Child *child, const char *path, int share, int shares, GError **err) {
    int ends[2];
    if (pipe(ends) != 0)
        return lob_fail_errno(err, LOB_ERROR_INTERNAL, errno, "cannot make a pipe");
    child->pid = fork();
    if (child->pid == 0) {
        close(ends[0]);
        run_child(path, share, shares, ends[1]);
    }
    close(ends[1]);
    child->fd = ends[0];
    return child->pid > 0 || lob_fail_errno(err, LOB_ERROR_INTERNAL, errno, "cannot start a process");
}

static void add(LobStoreReport *report, GArray *damage, GVariant *told) {
    guint64 slides, rows, bytes, first, count;
    gboolean finished;
    const char *slide, *what;
    g_autoptr(GVariantIter) list = NULL;
    g_variant_get(told, "(i&stttba(stts))", NULL, NULL, &slides, &rows, &bytes, &finished, &list);
    report->slides_checked += slides;
    report->rows_checked += rows;
    report->bytes_checked += bytes;
    report->finished = finished;
    while (g_variant_iter_next(list, "(&stt&s)", &slide, &first, &count, &what)) {
        const LobStoreDamage d = {g_strdup(slide), g_strdup(what), first, count};
        g_array_append_val(damage, d);
    }
}

/* Takes a child's word and its end. */
static bool finish(const Child *child, const char *path, LobStoreReport *report, GArray *damage,
                   GError **err) {
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    guint8 piece[65536];
    ssize_t now;
    int status = 0, code = 0;
    const char *message = NULL;
    while ((now = read(child->fd, piece, sizeof piece)) > 0 || (now < 0 && errno == EINTR))
        g_byte_array_append(bytes, piece, now > 0 ? (guint)now : 0);
    close(child->fd);
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return lob_fail(err, LOB_ERROR_IO, "%s: a process that read it ended with %s %d", path,
                        WIFSIGNALED(status) ? "signal" : "code",
                        WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    g_autoptr(GVariant) told = g_variant_ref_sink(
        g_variant_new_from_data(G_VARIANT_TYPE(REPORT_TYPE), bytes->data, bytes->len, FALSE, NULL, NULL));
    g_variant_get_child(told, 0, "i", &code);
    g_variant_get_child(told, 1, "&s", &message);
    if (code >= 0)
        return lob_fail(err, (LobErrorCode)code, "%s", message);
    add(report, damage, told);
    return true;
}

static int by_row(const void *a, const void *b) {
    const LobStoreDamage *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

bool lob_store_verify_parallel(const char *path, int processes, LobStoreReport *report, GError **err) {
    *report = (LobStoreReport){0};
    if (processes < 2)
        return lob_store_verify(path, report, err);
    g_autofree Child *children = g_new0(Child, processes);
    GArray *damage = g_array_new(FALSE, FALSE, sizeof(LobStoreDamage));
    g_autoptr(GError) first = NULL;
    int started = 0;
    while (started < processes && start(&children[started], path, started, processes, &first))
        started++;
    for (int c = 0; c < started; c++) {
        GError *problem = NULL;
        if (finish(&children[c], path, report, damage, &problem))
            continue;
        if (first)
            g_error_free(problem);
        else
            first = problem;
    }
    g_array_sort(damage, by_row);
    report->n_damage = damage->len;
    report->damage = (LobStoreDamage *)(void *)g_array_free(damage, FALSE);
    if (!first)
        return true;
    lob_store_report_clear(report);
    g_propagate_error(err, g_steal_pointer(&first));
    return false;
}
