/* The entry: picks the subcommand from a table. */
#include "base/base.h"
#include "encoder/blas.h"
#include "jobs/jobs.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *what;
    bool multiplies; /* matrices, whatever the encoder: told before anything is read */
} Command;

static const Command commands[] = {
    {"check", lob_cmd_check, "dry run: tables, slides, scale, arms x events, predicted cost", false},
    {"masks", lob_cmd_masks, "pictures and polygons of the slides' tissue", false},
    {"grid", lob_cmd_grid, "pictures and polygons of the slides' tiles, also of those most looked at", false},
    {"run", lob_cmd_run, "the whole pipeline, skipping what is done", true},
    {"plan", lob_cmd_plan, "find tissue, count tiles, create the store", false},
    {"embed", lob_cmd_embed, "compute the embeddings into the store", true},
    {"validate", lob_cmd_validate, "train and validate, leaving one center out at a time", true},
    {"train", lob_cmd_train, "lock a final model trained on all centers", true},
    {"predict", lob_cmd_predict, "predict MODEL STUDY: apply a locked model to a new cohort", true},
    {"report", lob_cmd_report, "write the page from the tables", false},
    {"status", lob_cmd_status, "what a running or ended job has done", false},
    {"store", lob_cmd_store, "ls, verify, export, import of feature stores", false},
    {"splits", lob_cmd_splits, "the study's folds as splits of STAMP or Patho-Bench", false},
    {"stats", lob_cmd_stats, "survival statistics of any table of predictions", false},
    {"bench", lob_cmd_bench, "speed against the machine's own ceiling", true},
    {"simulate", lob_cmd_simulate, "the same scheduler with virtual ranks: makespan, efficiency, work lost",
     false},
    {"demo", lob_cmd_demo, "make a synthetic multi-center cohort with known truth", false},
};

static void usage(FILE *to) {
    fprintf(
        to,
        "usage: lobule SUBCOMMAND [options] STUDY\n\n"
        "Does tumour morphology predict who benefits from adjuvant therapy? From whole-slide images and "
        "follow-up\n"
        "tables of several hospitals to leave-one-center-out evidence. Start ranks with mpirun or srun.\n\n");
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        fprintf(to, "  %-9s %s\n", commands[i].name, commands[i].what);
    fprintf(to,
            "\nlobule SUBCOMMAND --help tells a subcommand's options.\n"
            "Exit codes: 0 done, 2 bad usage or input, 3 done but slides failed, 75 stopped (submit again), "
            "76 halted, 1 anything else.\n");
}

/* A store that got the number of a closed standard stream would have log lines written into it. Standard
 * output is opened for reading, so that what is lost is noticed. */
static bool standard_streams_are_open(void) {
    static const int modes[] = {O_RDONLY, O_RDONLY, O_WRONLY};
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd]) != fd)
            return false;
    return true;
}

static int run_command(const Command *command, int argc, char **argv) {
    g_autoptr(GError) err = NULL;
    if (command->multiplies && !lob_blas_ready(&err)) {
        fprintf(stderr, "lobule: %s\n", err->message);
        return lob_error_exit_code(err);
    }
    g_autofree char *name = g_strdup_printf("lobule %s", command->name);
    g_set_prgname(name);
    const int code = command->run(argc, argv);
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    fprintf(stderr, "lobule: standard output: %s\n", g_strerror(errno));
    return code == LOB_EXIT_DONE || code == LOB_EXIT_SLIDES_FAILED ? LOB_EXIT_OTHER : code;
}

int main(int argc, char **argv) {
    setlocale(LC_ALL, "C.UTF-8");
    if (!standard_streams_are_open())
        return LOB_EXIT_OTHER;
    if (argc < 2) {
        usage(stderr);
        return LOB_EXIT_INPUT;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        usage(stdout);
        return LOB_EXIT_DONE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("lobule %s (%s)\n", LOB_VERSION, lob_version_commit());
        return LOB_EXIT_DONE;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return run_command(&commands[i], argc - 1, argv + 1);
    }
    fprintf(stderr, "lobule: there is no subcommand '%s'; lobule --help lists them\n", argv[1]);
    return LOB_EXIT_INPUT;
}
