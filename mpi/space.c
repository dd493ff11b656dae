#include "mpi/space.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/quota.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#define GIB 1073741824.0

/* Numbers of statfs(2) and of the file systems' own headers. */
static const struct {
    uint32_t magic;
    const char *name;
    bool private_pages; /* clients cache pages without asking each other */
} kinds[] = {
    {0x6969, "NFS", true},          {0xFF534D42, "SMB", true},       {0xFE534D42, "SMB", true},
    {0x5346414F, "AFS", true},      {0x6B414653, "AFS", true},       {0x01021997, "9P", true},
    {0x0BD00BD0, "Lustre", false},  {0x47504653, "GPFS", false},     {0x19830326, "BeeGFS", false},
    {0x00C36400, "Ceph", false},    {0x20030528, "OrangeFS", false}, {0xAAD7AAEA, "PanFS", false},
    {0x65735546, "FUSE", false},    {0xEF53, "ext4", false},         {0x58465342, "XFS", false},
    {0x9123683E, "btrfs", false},   {0x2FC12FC1, "ZFS", false},      {0x01021994, "tmpfs", false},
    {0x794C7630, "overlay", false},
};

/* Index in the table, or -1. LOB_TEST_FILESYSTEM=NAME: as if every folder lay on that. */
static int kind_of(const char *folder) {
    struct statfs type;
    const char *hook = getenv("LOB_TEST_FILESYSTEM");
    for (size_t i = 0; hook && i < G_N_ELEMENTS(kinds); i++)
        if (strcmp(kinds[i].name, hook) == 0)
            return (int)i;
    if (statfs(folder, &type) != 0)
        return -1;
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
        if (kinds[i].magic == (uint32_t)type.f_type)
            return (int)i;
    return -1;
}

const char *lob_space_kind(const char *folder) {
    const int kind = kind_of(folder);
    return kind < 0 ? "of an unknown kind" : kinds[kind].name;
}

bool lob_space_suits(const char *folder, int nodes, bool insist, GError **err) {
    const int kind = kind_of(folder);
    if (nodes < 2 || kind < 0 || !kinds[kind].private_pages)
        return true;
    const char *name = kinds[kind].name;
    if (!insist)
        return lob_fail(err, LOB_ERROR_INPUT,
                        "%s lies on %s, and %d hosts would write one file there: their caches overwrite each "
                        "other's rows without a word. Put output on a parallel file system (Lustre, GPFS, "
                        "BeeGFS, CephFS), or run on one host, or, where the mount has no cache (noac) or "
                        "locks for MPI-IO, set shared_writes: true under site: in the study file",
                        folder, name, nodes);
    lob_warning("%s lies on %s and %d hosts write one file there, as site.shared_writes asks; run lobule "
                "store verify when it is done",
                folder, name, nodes);
    return true;
}

/* ---- quota ---- */

/* The device of the mount that holds a folder, from /proc/self/mountinfo; NULL where there is none. */
static char *device_of(const char *folder) {
    struct stat status;
    g_autofree char *text = NULL;
    if (stat(folder, &status) != 0 || !g_file_get_contents("/proc/self/mountinfo", &text, NULL, NULL))
        return NULL;
    g_autofree char *wanted = g_strdup_printf("%u:%u", major(status.st_dev), minor(status.st_dev));
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        g_auto(GStrv) field = g_strsplit(*line, " ", -1);
        guint n = g_strv_length(field), dash = 0;
        while (dash < n && strcmp(field[dash], "-") != 0)
            dash++;
        if (n > 2 && dash + 2 < n && strcmp(field[2], wanted) == 0 && field[dash + 2][0] == '/')
            return g_strdup(field[dash + 2]);
    }
    return NULL;
}

static bool within(const char *folder, const char *whose, const struct dqblk *q, uint64_t bytes,
                   uint64_t files, GError **err) {
    const uint64_t blocks = q->dqb_bsoftlimit > 0 ? q->dqb_bsoftlimit : q->dqb_bhardlimit;
    const uint64_t inodes = q->dqb_isoftlimit > 0 ? q->dqb_isoftlimit : q->dqb_ihardlimit;
    const double limit = (double)blocks * 1024, used = (double)q->dqb_curspace;
    if (blocks > 0 && used + (double)bytes > limit)
        return lob_fail(
            err, LOB_ERROR_IO,
            "%s: %.3f GiB are needed, but the %s quota of %.3f GiB has %.3f GiB left: ask for more, "
            "or set output elsewhere",
            folder, (double)bytes / GIB, whose, limit / GIB, MAX(limit - used, 0) / GIB);
    if (inodes > 0 && q->dqb_curinodes + files > inodes)
        return lob_fail(err, LOB_ERROR_IO,
                        "%s: %" PRIu64 " files are needed, but the %s quota of %" PRIu64 " files has %" PRIu64
                        " left: ask for more, or set output elsewhere",
                        folder, files, whose, inodes,
                        inodes > q->dqb_curinodes ? inodes - (uint64_t)q->dqb_curinodes : 0);
    return true;
}

static bool within_quota(const char *folder, uint64_t bytes, uint64_t files, GError **err) {
    g_autofree char *device = device_of(folder);
    const struct {
        int type;
        int id;
        const char *whose;
    } owners[] = {{USRQUOTA, (int)geteuid(), "user's"}, {GRPQUOTA, (int)getegid(), "group's"}};
    for (size_t i = 0; device && i < G_N_ELEMENTS(owners); i++) {
        struct dqblk quota = {0};
        if (quotactl(QCMD(Q_GETQUOTA, owners[i].type), device, owners[i].id, (caddr_t)&quota) == 0 &&
            !within(folder, owners[i].whose, &quota, bytes, files, err))
            return false;
    }
    return true;
}

/* ---- a trial ---- */

/* Reserving costs nothing where blocks are only accounted for; in memory they would be taken. */
static bool can_reserve(const char *folder) {
    return strcmp(lob_space_kind(folder), "tmpfs") != 0;
}

static bool reserve(const char *folder, uint64_t bytes, GError **err) {
    if (bytes == 0 || !can_reserve(folder))
        return true;
    g_autofree char *path = g_build_filename(folder, ".lobule-room-XXXXXX", NULL);
    const int fd = g_mkstemp(path);
    if (fd < 0)
        return lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot make a file", folder);
    const int problem = fallocate(fd, 0, 0, (off_t)bytes) == 0 ? 0 : errno;
    close(fd);
    (void)unlink(path);
    if (problem == EOPNOTSUPP || problem == ENOSYS || problem == EINVAL) {
        lob_info("%s (%s): quotas that only the file system's own tools know were not checked", folder,
                 lob_space_kind(folder));
        return true;
    }
    return problem == 0 ||
           lob_fail_errno(err, LOB_ERROR_IO, problem,
                          "%s: %.3f GiB cannot be reserved; make room (or raise the quota), or set output "
                          "elsewhere",
                          folder, (double)bytes / GIB);
}

bool lob_space_fits(const char *folder, uint64_t bytes, uint64_t files, GError **err) {
    struct statvfs space;
    if (statvfs(folder, &space) != 0)
        return lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: free space cannot be asked for", folder);
    const double needed = (double)bytes / GIB;
    const double there = (double)space.f_bavail * (double)space.f_frsize / GIB;
    if (needed > there)
        return lob_fail(err, LOB_ERROR_IO,
                        "%.3f GiB are needed, but %s has %.3f GiB free: make room, or set output elsewhere",
                        needed, folder, there);
    /* Some file systems make inodes as they go and say 0 of 0. */
    if (space.f_files > 0 && files > space.f_favail)
        return lob_fail(err, LOB_ERROR_IO,
                        "%" PRIu64 " files are needed, but %s has room for %" PRIu64
                        " (inodes): make room, or set output elsewhere",
                        files, folder, (uint64_t)space.f_favail);
    return within_quota(folder, bytes, files, err) && reserve(folder, bytes, err);
}
