/* Why a run should stop: signals, the walltime, the halt file. The handler only sets a flag. */
#include "mpi/stop.h"
#include "mpi/mpi_jobs.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

/* The halt file lies on a shared file system: one look every so often is enough. */
#define HALT_POLL_SECONDS 1.0

static volatile sig_atomic_t caught_signal;
static double deadline;    /* lob_clock() time; 0: none */
static char *halt_path;    /* watched on rank 0 alone */
static double halt_looked; /* when the file was last looked for */
static LobRunState state;
static char reason[128];

static void on_signal(int number) {
    caught_signal = number;
}

static const char *signal_name(int number) {
    return number == SIGUSR1 ? "signal USR1" : number == SIGTERM ? "signal TERM" : "signal INT";
}

static void become(LobRunState wanted, const char *why) {
    if (state != LOB_RUN_ON)
        return;
    state = wanted;
    g_strlcpy(reason, why, sizeof reason);
}

void lob_stop_install(void) {
    static const int numbers[] = {SIGUSR1, SIGTERM, SIGINT};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    (void)sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++)
        if (sigaction(numbers[i], &action, NULL) != 0)
            lob_warning("cannot catch %s: stopping early will lose what is in flight",
                        signal_name(numbers[i]));
}

LobRunState lob_run_state(void) {
    if (state != LOB_RUN_ON)
        return state;
    const int number = (int)caught_signal;
    if (number != 0)
        become(LOB_RUN_STOP, signal_name(number));
    const double now = lob_clock();
    if (deadline > 0 && now >= deadline)
        become(LOB_RUN_STOP, "walltime");
    if (halt_path && now - halt_looked >= HALT_POLL_SECONDS) {
        halt_looked = now;
        if (access(halt_path, F_OK) == 0)
            become(LOB_RUN_HALT, "file halt");
    }
    return state;
}

const char *lob_run_reason(void) {
    return reason;
}

void lob_run_stop(const char *why) {
    become(LOB_RUN_STOP, why);
}

void lob_run_adopt(LobRunState wanted, const char *why) {
    if (wanted != LOB_RUN_ON)
        become(wanted, why);
}

void lob_run_set_deadline(double seconds_from_now) {
    deadline = seconds_from_now > 0 ? lob_clock() + seconds_from_now : 0;
}

void lob_run_set_halt_file(const char *path) {
    g_free(halt_path);
    halt_path = g_strdup(path);
    halt_looked = -HALT_POLL_SECONDS;
}

bool lob_run_stop_error(GError **err) {
    if (lob_run_state() == LOB_RUN_HALT)
        return lob_fail(err, LOB_ERROR_HALTED, "halted on request (%s)", reason);
    return lob_fail(err, LOB_ERROR_STOPPED, "stopped (%s); submit again to go on", reason);
}

bool lob_run_goes_on(GError **err) {
    return lob_run_state() == LOB_RUN_ON || lob_run_stop_error(err);
}
