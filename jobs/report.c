/* lobule report: the page again, from the tables of an earlier validation. No ranks. */
#include "report/report.h"
#include "jobs/jobs.h"

#include <stdio.h>

int lob_cmd_report(int argc, char **argv) {
    g_autofree char *output = NULL;
    const GOptionEntry entries[] = {
        {"output", 0, 0, G_OPTION_ARG_FILENAME, &output, "Output folder instead of the study's", "DIR"},
        {NULL, 0, 0, 0, NULL, NULL, NULL},
    };
    g_autoptr(GOptionContext) context = g_option_context_new("STUDY");
    g_option_context_add_main_entries(context, entries, NULL);
    g_option_context_set_summary(
        context, "Writes report.html from the tables that validate left in the output folder.");
    g_autoptr(GError) err = NULL;
    if (!g_option_context_parse(context, &argc, &argv, &err) || argc != 2) {
        fprintf(stderr, "lobule report: %s\n",
                err ? err->message : "expected one study file, see lobule report --help");
        return LOB_EXIT_INPUT;
    }
    lob_log_setup(LOB_LOG_INFO, 0);
    g_autoptr(LobStudy) study = lob_study_read(argv[1], output, &err);
    g_autoptr(LobCohort) cohort = study ? lob_cohort_read(study, &err) : NULL;
    if (!cohort || !lob_report_write(cohort, &err)) {
        fprintf(stderr, "lobule report: %s\n", err->message);
        return lob_error_exit_code(err);
    }
    return LOB_EXIT_DONE;
}
