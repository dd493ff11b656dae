/* The zygote: a small process, forked before MPI and threads exist, that forks readers on request. */
#include "slide/reader_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define REAP_SECONDS                                                                                         \
    2.0 /* how long a killed reader may take to go: the kernel lets none die in a dead disk's wait */

enum { ASK_FORK = 1, ASK_REAP };

typedef struct {
    int op;
    pid_t pid;
    LobReaderLimits limits;
} Question;

typedef struct {
    pid_t pid; /* -1: errnum says why */
    int errnum, wait_status, gone;
} Reply;

static struct {
    int socket;
    pid_t pid; /* 0: none */
    pid_t owner;
} zygote = {.socket = -1};

static void ignore_stop_signals(void) {
    static const int ignored[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE};
    static const int normal[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGTRAP, SIGCHLD, SIGALRM};
    for (size_t i = 0; i < G_N_ELEMENTS(ignored); i++)
        signal(ignored[i], SIG_IGN);
    for (size_t i = 0; i < G_N_ELEMENTS(normal); i++)
        signal(normal[i], SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Holding the launcher's pipes open would keep it waiting; a decoder's chatter would flood the log. */
static void silence(void) {
    int null = open("/dev/null", O_RDWR);
    if (null < 0)
        _exit(1);
    dup2(null, 0);
    dup2(null, 1);
    if (g_getenv("LOB_TEST_READER_STDERR") == NULL)
        dup2(null, 2);
    if (null > 2)
        close(null);
}

/* Moves the descriptors to 3 and 4 and closes all others. */
static void keep_descriptors(int *a, int *b) {
    int high_a = fcntl(*a, F_DUPFD, 10), high_b = b != NULL ? fcntl(*b, F_DUPFD, 10) : -1;
    if (high_a < 0 || (b != NULL && high_b < 0) || dup2(high_a, 3) < 0 || (b != NULL && dup2(high_b, 4) < 0))
        _exit(1);
    *a = 3;
    if (b != NULL)
        *b = 4;
    lob_close_from(b != NULL ? 5 : 4);
}

static Reply fork_reader(const Question *question, int control, int memory) {
    pid_t self = getpid(), pid = fork();
    if (pid == 0) {
        lob_die_with(self);
        keep_descriptors(&control, &memory);
        lob_reader_main(control, memory, &question->limits);
    }
    return (Reply){.pid = pid, .errnum = errno};
}

static Reply reap_reader(pid_t pid) {
    Reply reply = {.pid = pid};
    kill(pid, SIGKILL);
    for (double start = lob_clock(); lob_clock() - start < REAP_SECONDS; g_usleep(2000)) {
        pid_t got = waitpid(pid, &reply.wait_status, WNOHANG);
        if (got == pid || (got < 0 && errno == ECHILD)) {
            reply.gone = 1;
            return reply;
        }
    }
    return reply;
}

_Noreturn static void zygote_main(int socket) {
    keep_descriptors(&socket, NULL);
    for (;;) {
        Question question;
        int fds[2];
        if (lob_record_receive(socket, &question, sizeof question, fds, 2) != (ssize_t)sizeof question)
            _exit(0);
        Reply reply = {.pid = -1, .errnum = EINVAL};
        if (question.op == ASK_FORK && fds[0] >= 0 && fds[1] >= 0)
            reply = fork_reader(&question, fds[0], fds[1]);
        else if (question.op == ASK_REAP && question.pid > 0)
            reply = reap_reader(question.pid);
        for (int i = 0; i < 2; i++)
            if (fds[i] >= 0)
                close(fds[i]);
        if (lob_record_send(socket, &reply, sizeof reply, NULL, 0) < 0)
            _exit(0);
    }
}

bool lob_zygote_start(GError **err) {
    if (zygote.pid > 0 && zygote.owner == getpid())
        return true;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return lob_fail_errno(err, LOB_ERROR_INTERNAL, errno, "cannot make a socket for the slide readers");
    pid_t self = getpid(), pid = fork();
    if (pid < 0) {
        int cause = errno;
        close(pair[0]);
        close(pair[1]);
        return lob_fail_errno(err, LOB_ERROR_INTERNAL, cause, "cannot fork the slide readers' zygote");
    }
    if (pid == 0) {
        lob_die_with(self);
        ignore_stop_signals();
        silence();
        zygote_main(pair[1]);
    }
    close(pair[1]);
    zygote.socket = pair[0];
    zygote.pid = pid;
    zygote.owner = self;
    return true;
}

void lob_zygote_stop(void) {
    if (zygote.pid <= 0 || zygote.owner != getpid())
        return;
    close(zygote.socket);
    zygote.socket = -1;
    kill(zygote.pid, SIGKILL);
    while (waitpid(zygote.pid, NULL, 0) < 0 && errno == EINTR)
        ;
    zygote.pid = 0;
}

static bool ask(const Question *question, const int *fds, int n_fds, Reply *reply, GError **err) {
    if (zygote.pid <= 0)
        return lob_fail(err, LOB_ERROR_INTERNAL, "the slide readers' zygote was not started");
    if (lob_record_send(zygote.socket, question, sizeof *question, fds, n_fds) < 0 ||
        lob_record_receive(zygote.socket, reply, sizeof *reply, NULL, 0) != (ssize_t)sizeof *reply)
        return lob_fail(err, LOB_ERROR_INTERNAL, "the slide readers' zygote is gone: something killed it");
    return true;
}

pid_t lob_zygote_fork(int control, int memory, const LobReaderLimits *limits, GError **err) {
    Question question = {.op = ASK_FORK, .limits = *limits};
    Reply reply;
    if (!ask(&question, (int[]){control, memory}, 2, &reply, err))
        return -1;
    if (reply.pid < 0)
        lob_fail_errno(err, LOB_ERROR_INTERNAL, reply.errnum, "cannot fork a slide reader");
    return reply.pid;
}

bool lob_zygote_reap(pid_t pid, int *wait_status, bool *gone, GError **err) {
    Question question = {.op = ASK_REAP, .pid = pid};
    Reply reply;
    if (!ask(&question, NULL, 0, &reply, err))
        return false;
    *wait_status = reply.wait_status;
    *gone = reply.gone != 0;
    return true;
}
