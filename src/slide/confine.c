/* What a reader may not do. Decoders are where hostile files would take hold of a process. */
#include "slide/reader_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

void lob_close_from(int first) {
#ifdef SYS_close_range
    if (syscall(SYS_close_range, (unsigned)first, ~0U, 0) == 0)
        return;
#endif
    long most = sysconf(_SC_OPEN_MAX);
    for (int fd = first; fd < (most > 0 ? most : 1024); fd++)
        close(fd);
}

void lob_die_with(pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
}

static size_t address_space_in_use(void) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%lu", &pages) != 1)
        pages = 0;
    fclose(file);
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

void lob_reader_limit(size_t bytes) {
    rlim_t space = (rlim_t)address_space_in_use() + bytes;
    setrlimit(RLIMIT_AS, &(struct rlimit){space, space});
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){0, 0});
    prctl(PR_SET_DUMPABLE, 0);
}

#if defined(__x86_64__)
#define THIS_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define THIS_ARCH AUDIT_ARCH_AARCH64
#endif

#ifdef THIS_ARCH
#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, field))
#define REFUSE BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES)
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define REFUSE_CALL(name) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), REFUSE
/* Refuses call `name` where its 32-bit argument `arg` holds a flag by which a file could be changed. */
#define REFUSE_WRITING(name, arg)                                                                            \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 4), LOAD(args[arg]),                                  \
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_WRONLY | O_RDWR | O_CREAT | O_TRUNC, 0, 1), REFUSE, ALLOW

static void refuse_calls(void) {
    struct sock_filter filter[] = {
        LOAD(arch),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, THIS_ARCH, 1, 0),
        ALLOW,
        LOAD(nr),
        REFUSE_WRITING(openat, 2),
#ifdef SYS_open
        REFUSE_WRITING(open, 1),
        REFUSE_CALL(creat),
        REFUSE_CALL(unlink),
        REFUSE_CALL(rename),
        REFUSE_CALL(mkdir),
        REFUSE_CALL(chmod),
        REFUSE_CALL(symlink),
        REFUSE_CALL(link),
#endif
        REFUSE_CALL(unlinkat),
        REFUSE_CALL(renameat),
        REFUSE_CALL(renameat2),
        REFUSE_CALL(mkdirat),
        REFUSE_CALL(fchmodat),
        REFUSE_CALL(symlinkat),
        REFUSE_CALL(linkat),
        REFUSE_CALL(truncate),
        REFUSE_CALL(socket),
        REFUSE_CALL(connect),
        REFUSE_CALL(bind),
        REFUSE_CALL(execve),
        REFUSE_CALL(execveat),
        REFUSE_CALL(ptrace),
        ALLOW,
    };
    struct sock_fprog program = {G_N_ELEMENTS(filter), filter};
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}
#else
static void refuse_calls(void) {
}
#endif

void lob_reader_confine(void) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
        refuse_calls();
}
