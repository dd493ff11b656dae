/* lobule report: the page again, from the tables of an earlier validation. No ranks. */
#include "report/report.h"
#include "jobs/jobs.h"
#include "slide/slide.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static bool read_formats(const char *text, unsigned *formats, GError **err) {
    static const struct {
        const char *name;
        unsigned format;
    } known[] = {{"csv", LOB_REPORT_CSV}, {"html", LOB_REPORT_HTML}, {"json", LOB_REPORT_JSON}};
    g_auto(GStrv) names = g_strsplit(text, ",", -1);
    *formats = 0;
    for (size_t i = 0; names[i]; i++) {
        size_t k = 0;
        while (k < G_N_ELEMENTS(known) && strcmp(known[k].name, names[i]) != 0)
            k++;
        if (k == G_N_ELEMENTS(known))
            return lob_fail(err, LOB_ERROR_INPUT, "--format: expected some of csv,html,json, found '%s'",
                            names[i]);
        *formats |= known[k].format;
    }
    return *formats || lob_fail(err, LOB_ERROR_INPUT, "--format: expected some of csv,html,json");
}

/* The page takes its settings from the study file and its numbers from the tables: the two should be of one
 * time. */
static void warn_of_changed_study(const LobStudy *study) {
    g_autofree char *path = lob_study_out(study, "lock.json");
    json_t *lock = json_load_file(path, 0, NULL);
    const char *then = json_string_value(json_object_get(lock, "study_file"));
    if (then && strcmp(then, study->text_sha256) != 0)
        lob_warning(
            "%s was changed after the validation that %s holds: what the page says of settings is new, its "
            "numbers are old",
            study->path, study->output);
    json_decref(lock);
}

int lob_cmd_report(int argc, char **argv) {
    g_autofree char *output = NULL, *format = NULL;
    const GOptionEntry entries[] = {
        {"output", 0, 0, G_OPTION_ARG_FILENAME, &output, "Output folder instead of the study's", "DIR"},
        {"format", 0, 0, G_OPTION_ARG_STRING, &format, "Some of csv,html,json (default csv,html)", "LIST"},
        {NULL, 0, 0, 0, NULL, NULL, NULL},
    };
    g_autoptr(GOptionContext) context = g_option_context_new("STUDY");
    g_option_context_add_main_entries(context, entries, NULL);
    g_option_context_set_summary(
        context, "Writes report.html, evidence.csv and the data of all figures from the tables that validate "
                 "left in the output folder, or those of predict, where outcomes were given: then it is the "
                 "external validation of the locked model.");
    g_autoptr(GError) err = NULL;
    unsigned formats = 0;
    if (!g_option_context_parse(context, &argc, &argv, &err) || argc != 2) {
        fprintf(stderr, "lobule report: %s\n",
                err ? err->message : "expected one study file, see lobule report --help");
        return LOB_EXIT_INPUT;
    }
    lob_log_setup(LOB_LOG_INFO, 0);
    const bool known = read_formats(format ? format : "csv,html", &formats, &err);
    g_autoptr(LobStudy) study = known ? lob_study_read(argv[1], output, &err) : NULL;
    g_autoptr(LobCohort) cohort =
        study && lob_external_study(study, &err) ? lob_cohort_read(study, &err) : NULL;
    if (cohort)
        warn_of_changed_study(study);
    const bool ok = cohort && lob_zygote_start(&err) && lob_report_write_formats(cohort, formats, &err);
    lob_zygote_stop();
    if (!ok)
        fprintf(stderr, "lobule report: %s\n", err->message);
    return ok ? LOB_EXIT_DONE : lob_error_exit_code(err);
}
