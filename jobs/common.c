/* What the subcommands that work on a study share. */
#include "jobs/common.h"
#include "mpi/world.h"
#include "slide/slide.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The walltime is when the job is killed: stopping is asked for this much earlier. */
#define STOP_MARGIN_SECONDS 60.0
#define STOP_MARGIN_SHARE 0.1

typedef struct {
    char *output, *walltime, *share;
    gboolean verbose;
    bool predicts;     /* as in the spec */
    uint32_t part, of; /* of the slides; 0: all */
    double seconds;    /* until the walltime ends; <= 0: unknown */
} CommonOptions;

double lob_parse_duration(const char *text) {
    unsigned days = 0, part[3] = {0};
    char tail = 0;
    const char *clock = strchr(text, '-');
    if (clock && (sscanf(text, "%u-%c", &days, &tail) != 2 || !g_ascii_isdigit(tail)))
        return -1;
    clock = clock ? clock + 1 : text;
    if (!g_ascii_isdigit(*clock) || strspn(clock, "0123456789:") != strlen(clock))
        return -1;
    tail = 0;
    const int n = sscanf(clock, "%u:%u:%u%c", &part[0], &part[1], &part[2], &tail);
    size_t colons = 0;
    for (const char *c = clock; *c; c++)
        colons += *c == ':';
    if (tail || n != (int)colons + 1)
        return -1;
    const double day = 86400.0 * days;
    if (clock != text) /* D-HH, D-HH:MM, D-HH:MM:SS */
        return day + 3600.0 * part[0] + 60.0 * part[1] + part[2];
    return n == 1 ? part[0] : n == 2 ? 60.0 * part[0] + part[1] : 3600.0 * part[0] + 60.0 * part[1] + part[2];
}

static bool parse_share(CommonOptions *common, GError **err) {
    char tail = 0;
    if (sscanf(common->share, "%u/%u%c", &common->part, &common->of, &tail) == 2 && common->part >= 1 &&
        common->part <= common->of && common->of <= 1000000)
        return true;
    return lob_fail(err, LOB_ERROR_INPUT,
                    "--share %s: expected a part of the slides, A/B with 1 <= A <= B, e.g. 1/10",
                    common->share);
}

static bool parse_options(const LobJobSpec *spec, int *argc, char ***argv, CommonOptions *common,
                          GError **err) {
    const GOptionEntry entries[] = {
        {"output", 0, 0, G_OPTION_ARG_FILENAME, &common->output, "Output folder instead of the study's",
         "DIR"},
        {"walltime", 0, 0, G_OPTION_ARG_STRING, &common->walltime,
         "When the job will be killed (seconds, MM:SS, HH:MM:SS or D-HH:MM:SS from now); it stops in time "
         "with exit code 75",
         "T"},
        {"verbose", 0, 0, G_OPTION_ARG_NONE, &common->verbose, "Say more", NULL},
        {NULL, 0, 0, 0, NULL, NULL, NULL},
    };
    g_autoptr(GOptionContext) context = g_option_context_new(spec->arguments ? spec->arguments : "STUDY");
    g_option_context_add_main_entries(context, entries, NULL);
    const GOptionEntry share[] = {
        {"share", 0, 0, G_OPTION_ARG_STRING, &common->share,
         "Only part A of B of the slides, evenly over the centers, e.g. 1/10 for a trial. The same share "
         "must "
         "be given to plan and embed; without it later, the others are added",
         "A/B"},
        {NULL, 0, 0, 0, NULL, NULL, NULL},
    };
    if (spec->takes_share)
        g_option_context_add_main_entries(context, share, NULL);
    if (spec->options)
        g_option_context_add_main_entries(context, spec->options, NULL);
    g_option_context_set_summary(context, spec->summary);
    g_autoptr(GError) problem = NULL;
    if (!g_option_context_parse(context, argc, argv, &problem))
        return lob_fail(err, LOB_ERROR_INPUT, "%s", problem->message);
    if (*argc != 2)
        return lob_fail(err, LOB_ERROR_INPUT, "expected one study file, see lobule %s --help", spec->name);
    if (common->walltime) {
        common->seconds = lob_parse_duration(common->walltime);
        if (common->seconds <= 0)
            return lob_fail(err, LOB_ERROR_INPUT,
                            "--walltime %s: expected seconds, MM:SS, HH:MM:SS or D-HH:MM:SS",
                            common->walltime);
    } else if (getenv("SLURM_JOB_END_TIME")) {
        common->seconds = strtod(getenv("SLURM_JOB_END_TIME"), NULL) - (double)time(NULL);
    }
    return !common->share || parse_share(common, err);
}

static bool read_study(LobJob *job, const char *path, const CommonOptions *common, GError **err) {
    job->study = lob_study_read(path, common->output, err);
    if (!job->study)
        return false;
    job->study->predicts = common->predicts;
    /* Every rank reads the same tables: one voice is enough for what is merely suspicious. */
    lob_log_setup(job->world.rank == 0 ? LOB_LOG_INFO : LOB_LOG_ERROR, job->world.rank);
    job->cohort = lob_cohort_read(job->study, err);
    lob_log_setup(job->loudness, job->world.rank);
    if (job->cohort && common->part)
        lob_cohort_keep_share(job->cohort, common->part, common->of);
    return job->cohort != NULL;
}

static bool open_output(const LobJob *job, GError **err) {
    if (job->world.rank != 0)
        return true;
    g_autofree char *log = lob_study_out(job->study, "log.jsonl");
    return lob_make_dirs(job->study->output, err) && lob_log_open_json(log, err);
}

static void watch_for_stops(const LobJob *job, const CommonOptions *common) {
    if (common->seconds > 0)
        lob_run_set_deadline(common->seconds - MIN(STOP_MARGIN_SECONDS, STOP_MARGIN_SHARE * common->seconds));
    if (job->world.rank == 0) {
        g_autofree char *halt = lob_study_out(job->study, "halt");
        lob_run_set_halt_file(halt);
    }
}

/* Each step is agreed upon before the next, so that no rank waits for one that gave up. */
static bool begin(LobJob *job, const char *path, const CommonOptions *common, int argc, char **argv,
                  GError **err) {
    GError *mine = NULL;
    job->loudness = common->verbose ? LOB_LOG_DEBUG : LOB_LOG_INFO;
    if (!lob_world_start(&job->world, &argc, &argv, err))
        return false;
    lob_log_setup(job->loudness, job->world.rank);
    (void)(read_study(job, path, common, &mine) && open_output(job, &mine));
    if (!lob_world_agree(&job->world, mine, err))
        return false;
    watch_for_stops(job, common);
    return true;
}

bool lob_job_begin(LobJob *job, const LobJobSpec *spec, int argc, char **argv, int *code) {
    CommonOptions common = {.predicts = spec->predicts};
    const int rank = lob_launcher_rank();
    GError *err = NULL;
    *job = (LobJob){.world = {.rank = rank, .size = 1}};
    lob_log_setup(LOB_LOG_INFO, rank);
    bool ok = parse_options(spec, &argc, &argv, &common, &err);
    g_autofree char *path = ok ? g_strdup(argv[1]) : NULL, *output = common.output,
                    *walltime = common.walltime, *share = common.share;
    if (ok && spec->readers && !lob_zygote_start(&err)) {
        /* Other ranks may fare better and would wait in MPI_Init for this one: only a code other than 0 makes
         * the launcher end them. */
        lob_error_log("%s", err->message);
        g_clear_error(&err);
        *code = LOB_EXIT_OTHER;
        return false;
    }
    job->readers = ok && spec->readers;
    ok = ok && begin(job, path, &common, argc, argv, &err);
    if (!ok)
        *code = lob_job_end(job, LOB_EXIT_OTHER, err);
    return ok;
}

/* A launcher that kills a step at its first exit code other than 0 (srun -K) would return the code of a rank
 * that it met still on its way out: the others go first. */
static void linger(const LobWorld *world, int code) {
    const struct timespec patience = {.tv_nsec = 500000000};
    if (world->rank == 0 && world->size > 1 && code != LOB_EXIT_DONE)
        (void)nanosleep(&patience, NULL);
}

int lob_job_end(LobJob *job, int code, GError *error) {
    const int rank = job->world.rank;
    if (error) {
        code = lob_error_exit_code(error);
        if (rank == 0) {
            if (code == LOB_EXIT_STOPPED || code == LOB_EXIT_HALTED)
                lob_info("%s", error->message);
            else
                lob_error_log("%s", error->message);
        }
        g_error_free(error);
    }
    if (rank == 0 && code == LOB_EXIT_HALTED && job->study) {
        g_autofree char *halt = lob_study_out(job->study, "halt");
        if (remove(halt) != 0)
            lob_warning("%s could not be removed: the next run will halt at once", halt);
    }
    if (job->cohort)
        lob_cohort_free(job->cohort);
    if (job->study)
        lob_study_free(job->study);
    (void)lob_log_open_json(NULL, NULL);
    lob_world_leave_word(&job->world, code);
    lob_world_end(&job->world);
    if (job->readers)
        lob_zygote_stop();
    linger(&job->world, code);
    return rank == 0 ? code : LOB_EXIT_DONE;
}

int lob_job_in_groups(const char *name, const char *summary, LobStageRun run, int argc, char **argv) {
    int groups = 0;
    const GOptionEntry options[] = {
        {"groups", 0, 0, G_OPTION_ARG_INT, &groups,
         "Groups of ranks, each sharing the patients out (site.groups; default: as memory asks)", "N"},
        {NULL, 0, 0, 0, NULL, NULL, NULL},
    };
    const LobJobSpec spec = {.options = options, .name = name, .summary = summary};
    LobJob job;
    int code = LOB_EXIT_OTHER;
    if (!lob_job_begin(&job, &spec, argc, argv, &code))
        return code;
    GError *err = NULL;
    if (groups > 0)
        job.study->site.groups = groups;
    (void)lob_run_alone(run, &job.world, job.cohort, &code, &err);
    return lob_job_end(&job, code, err);
}
