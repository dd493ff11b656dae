#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

char *lob_file_read(const char *path, size_t limit, size_t *size, GError **err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        lob_fail_errno(err, LOB_ERROR_INPUT, errno, "%s: cannot open", path);
        return NULL;
    }
    g_autoptr(GString) text = g_string_new(NULL);
    char block[1 << 16];
    ssize_t got = 0;
    int errnum = 0;
    while (text->len <= limit && (got = read(fd, block, sizeof block)) != 0) {
        if (got > 0)
            g_string_append_len(text, block, got);
        else if ((errnum = errno) != EINTR)
            break;
    }
    close(fd);
    if (got < 0) {
        lob_fail_errno(err, LOB_ERROR_INPUT, errnum, "%s: cannot read", path);
        return NULL;
    }
    if (text->len > limit) {
        lob_fail(err, LOB_ERROR_INPUT, "%s: over %zu bytes, too large to be what is expected here", path,
                 limit);
        return NULL;
    }
    *size = text->len;
    return g_string_free(g_steal_pointer(&text), FALSE);
}

/* O_EXCL with the process's umask: mkstemp would force 0600 on files a group means to share. */
static int open_temporary(const char *path, char **name) {
    for (int attempt = 0; attempt < 100; attempt++) {
        char *candidate = g_strdup_printf("%s.%08x.tmp", path, g_random_int());
        int fd = open(candidate, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0) {
            *name = candidate;
            return fd;
        }
        int errnum = errno;
        g_free(candidate);
        errno = errnum;
        if (errnum != EEXIST)
            return -1;
    }
    return -1;
}

static bool write_all(int fd, const char *data, size_t size) {
    while (size > 0) {
        ssize_t done = write(fd, data, size);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return false;
        data += done;
        size -= (size_t)done;
    }
    return true;
}

/* Makes a rename durable. Some network file systems refuse fsync on a folder (EINVAL): their renames are
 * synchronous on the server. */
static bool sync_folder_of(const char *path) {
    g_autofree char *folder = g_path_get_dirname(path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = fsync(fd) == 0 || errno == EINVAL;
    int errnum = errno;
    close(fd);
    errno = errnum;
    return ok;
}

bool lob_file_replace(const char *path, const void *data, size_t size, GError **err) {
    g_autofree char *temporary = NULL;
    int fd = open_temporary(path, &temporary);
    if (fd < 0)
        return lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot create a file beside it", path);
    bool ok = write_all(fd, data, size) && fsync(fd) == 0;
    int errnum = ok ? 0 : errno;
    if (close(fd) != 0 && errnum == 0)
        errnum = errno;
    if (errnum == 0 && rename(temporary, path) != 0)
        errnum = errno;
    if (errnum != 0) {
        unlink(temporary);
        return lob_fail_errno(err, LOB_ERROR_IO, errnum, "%s: cannot write", path);
    }
    if (!sync_folder_of(path))
        return lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: written, but its folder cannot be synced", path);
    return true;
}

/* A path that can be no folder is the study's mistake, a disk that fails is not. */
static LobErrorCode folder_error(int errnum) {
    static const int input[] = {EACCES, EPERM, EROFS, EEXIST, ENOTDIR, ENAMETOOLONG, ELOOP};
    for (size_t i = 0; i < G_N_ELEMENTS(input); i++)
        if (errnum == input[i])
            return LOB_ERROR_INPUT;
    return LOB_ERROR_IO;
}

bool lob_make_dirs(const char *path, GError **err) {
    if (g_mkdir_with_parents(path, 0777) != 0)
        return lob_fail_errno(err, folder_error(errno), errno, "%s: cannot make this folder", path);
    if (!g_file_test(path, G_FILE_TEST_IS_DIR))
        return lob_fail(err, LOB_ERROR_INPUT, "%s: exists and is not a folder", path);
    return true;
}

char *lob_path_beside(const char *base_file, const char *name) {
    if (g_path_is_absolute(name))
        return g_strdup(name);
    g_autofree char *folder = g_path_get_dirname(base_file);
    return g_strcmp0(folder, ".") == 0 ? g_strdup(name) : g_build_filename(folder, name, NULL);
}

char *lob_path_stem(const char *path, const char *suffix) {
    char *stem = g_path_get_basename(path);
    if (g_str_has_suffix(stem, suffix))
        stem[strlen(stem) - strlen(suffix)] = '\0';
    return stem;
}
