/* lobule splits: a study's folds as other tools read them. No MPI. */
#include "base/base.h"
#include "cohort/cohort.h"
#include "jobs/jobs.h"

#include <string.h>

static bool find_endpoint(const LobStudy *study, const char *name, size_t *endpoint, GError **err) {
    for (*endpoint = 0; *endpoint < study->n_endpoints; ++*endpoint)
        if (!name || strcmp(study->endpoints[*endpoint].name, name) == 0)
            return true;
    return name ? lob_fail(err, LOB_ERROR_INPUT, "%s: no endpoint is called '%s'", study->path, name)
                : lob_fail(err, LOB_ERROR_INPUT, "%s: names no endpoint, which Patho-Bench's table needs",
                           study->path);
}

static bool save(const LobFolds *folds, const LobCohort *cohort, const char *format,
                 const char *endpoint_name, const char *to, GError **err) {
    size_t endpoint;
    if (strcmp(format, "stamp") == 0)
        return lob_splits_save_stamp(folds, cohort, to, err);
    if (strcmp(format, "folds") == 0)
        return lob_folds_save(folds, cohort, to, err);
    if (strcmp(format, "pathobench") == 0)
        return find_endpoint(cohort->study, endpoint_name, &endpoint, err) &&
               lob_splits_save_pathobench(folds, cohort, endpoint, to, err);
    return lob_fail(err, LOB_ERROR_INPUT, "no such format: %s (there are stamp, pathobench and folds)",
                    format);
}

static bool export_splits(const char *path, const char *format, const char *endpoint, const char *to,
                          GError **err) {
    g_autoptr(LobStudy) study = lob_study_read(path, NULL, err);
    if (!study)
        return false;
    g_autoptr(LobCohort) cohort = lob_cohort_read(study, err);
    if (!cohort)
        return false;
    g_autoptr(LobFolds) folds = lob_folds_make(cohort, err);
    if (!folds || !save(folds, cohort, format, endpoint, to, err))
        return false;
    lob_info("%s: %d repeats of %d folds", to, folds->repeats, folds->folds);
    return true;
}

int lob_cmd_splits(int argc, char **argv) {
    g_autofree char *format = NULL, *to = NULL, *endpoint = NULL;
    const GOptionEntry entries[] = {
        {"format", 0, 0, G_OPTION_ARG_STRING, &format,
         "stamp: splits.json; pathobench: k=all.tsv; folds: patient_id,repeat,fold",
         "stamp|pathobench|folds"},
        {"to", 0, 0, G_OPTION_ARG_FILENAME, &to, "The file to write", "FILE"},
        {"endpoint", 0, 0, G_OPTION_ARG_STRING, &endpoint,
         "pathobench: the task's endpoint (default: the study's first)", "NAME"},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};
    g_autoptr(GOptionContext) context = g_option_context_new("STUDY");
    g_autoptr(GError) err = NULL, problem = NULL;
    g_option_context_add_main_entries(context, entries, NULL);
    g_option_context_set_summary(
        context,
        "Writes the folds that validate uses (leave one center out, or the study's own file) as splits "
        "of STAMP or Patho-Bench.\nThe other way, validation: {scheme: folds, file: FILE} takes STAMP's "
        "splits.json, Patho-Bench's k=all.tsv and a folder of CLAM's splits_0.csv ... by their content.");
    lob_log_setup(LOB_LOG_INFO, 0);
    if (!g_option_context_parse(context, &argc, &argv, &problem))
        lob_fail(&err, LOB_ERROR_INPUT, "%s", problem->message);
    else if (argc != 2 || !format || !to)
        lob_fail(&err, LOB_ERROR_INPUT, "splits: a study, --format and --to are needed; see --help");
    else if (export_splits(argv[1], format, endpoint, to, &err))
        return LOB_EXIT_DONE;
    lob_error_log("%s", err->message);
    return lob_error_exit_code(err);
}
