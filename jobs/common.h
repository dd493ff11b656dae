/* What the subcommands that work on a study share: options, world, study and cohort, the way out. */
#ifndef LOB_JOBS_COMMON_H
#define LOB_JOBS_COMMON_H

#include "base/base.h"
#include "cohort/cohort.h"
#include "mpi/alone.h"

typedef struct {
    const char *name;            /* subcommand */
    const char *summary;         /* for --help */
    const char *arguments;       /* for --help; NULL = "STUDY" */
    const GOptionEntry *options; /* own options beside the common ones, NULL-terminated, or NULL */
    bool readers;                /* starts the zygote of the slide readers (before MPI_Init) */
    bool takes_share;            /* --share: a part of the slides, for trials and scaling sweeps */
    bool predicts;               /* applies a locked model: see LobStudy */
} LobJobSpec;

typedef struct {
    LobWorld world;
    LobStudy *study;
    LobCohort *cohort;
    bool readers;
    LobLogLevel loudness; /* as asked for on the command line */
} LobJob;

/* Parses `--output DIR --walltime T --verbose` (and `--share A/B` where the spec takes it) and the spec's own
 * options, starts zygote and world, reads study and cohort on every rank, makes the output folder, opens
 * log.jsonl, sets deadline and halt file. True: go on, and call lob_job_end. False: return *code from the
 * subcommand at once; all is cleaned up. */
bool lob_job_begin(LobJob *job, const LobJobSpec *spec, int argc, char **argv, int *code);

/* Collective. Logs `error` (taken over, may be NULL), frees everything, ends world and zygote. Returns the
 * process's exit code: `code` or the error's on rank 0, 0 elsewhere. */
int lob_job_end(LobJob *job, int code, GError *error);

/* A whole subcommand that trains in groups of ranks, alone in its output folder: its own option is --groups.
 */
int lob_job_in_groups(const char *name, const char *summary, LobStageRun run, int argc, char **argv);

/* What the tables and the study file alone can tell of validation, told before a core-hour is spent: there is
 * an endpoint, the model is known, no scan is two patients', each fold's training patients have events (or
 * two classes), and a covariate where the clinical model needs one. INPUT error. */
bool lob_preflight(const LobCohort *cohort, GError **err);

/* Seconds in "90", "15:00", "2:30:00" or "1-12:00:00"; -1 where the text is none of these. */
double lob_parse_duration(const char *text);

#endif
