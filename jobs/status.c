/* lobule status: what a running or ended job has done, from status.json and the journals. No MPI. */
#include "hdf5io/hdf5io.h"
#include "jobs/jobs.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* A running job writes every few seconds; one that has been silent this long is gone or hangs. */
#define SILENT_SECONDS 120

/* What the journals of the unfinished and finished parts add up to. */
typedef struct {
    uint64_t ranges, tiles, failures, quarantined, starts, ends, parts;
} JournalSums;

static void visit(const LobJournalRecord *record, void *user) {
    JournalSums *sums = user;
    switch (record->kind) {
    case LOB_J_RANGE:
        if (strcmp(record->text, "void") != 0) {
            sums->ranges++;
            sums->tiles += record->count;
        }
        break;
    case LOB_J_FAILED:
        sums->failures++;
        break;
    case LOB_J_QUARANTINE:
        sums->quarantined++;
        break;
    case LOB_J_START:
        sums->starts++;
        break;
    case LOB_J_END:
        sums->ends++;
        break;
    case LOB_J_PLAN:
    case LOB_J_LEASE:
        break;
    }
}

static bool read_journals(const char *dir, JournalSums *sums, GError **err) {
    for (int number = 1;; number++) {
        g_autofree char *path = g_strdup_printf("%s/store/part-%04d.journal", dir, number);
        if (!g_file_test(path, G_FILE_TEST_EXISTS))
            return true;
        sums->parts++;
        if (!lob_journal_read(path, visit, sums, err))
            return false;
    }
}

static json_int_t whole(const json_t *object, const char *key) {
    return json_integer_value(json_object_get(object, key));
}

static const char *text_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* "running" is only believed while the file is fresh, or where it says that the next word may take long. */
static const char *believed_state(const json_t *status) {
    const char *state = text_of(status, "state");
    if (json_is_true(json_object_get(status, "quiet")))
        return state;
    return strcmp(state, "running") == 0 && (json_int_t)time(NULL) - whole(status, "time") > SILENT_SECONDS
               ? "silent"
               : state;
}

static void print_counts(const char *name, const json_t *c) {
    if (whole(c, "models") > 0) {
        printf("  models %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT
               " trained, rank 0 trained %" JSON_INTEGER_FORMAT " epochs\n",
               whole(c, "models_done"), whole(c, "models"), whole(c, "epochs"));
        return;
    }
    if (whole(c, "slides") == 0) {
        printf("  nothing was left for it to do\n");
        return;
    }
    printf("  %-20s slides %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT
           ", failed %" JSON_INTEGER_FORMAT,
           name, whole(c, "slides_done"), whole(c, "slides"), whole(c, "slides_failed"));
    if (whole(c, "tiles") > 0)
        printf(", tiles %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " (%.1f %%)",
               whole(c, "tiles_done"), whole(c, "tiles"),
               100.0 * (double)whole(c, "tiles_done") / (double)whole(c, "tiles"));
    printf("\n");
}

/* Validation and report leave no counts, only what they made. */
static void print_results(const char *dir) {
    g_autofree char *metrics = g_build_filename(dir, "metrics.csv", NULL);
    g_autofree char *page = g_build_filename(dir, "report.html", NULL);
    printf("  validation: %s; report: %s\n",
           g_file_test(metrics, G_FILE_TEST_EXISTS) ? metrics : "no tables yet",
           g_file_test(page, G_FILE_TEST_EXISTS) ? page : "none yet");
}

static void print_for_people(const json_t *status, const JournalSums *sums) {
    const double left = json_number_value(json_object_get(status, "seconds_left"));
    const char *state = believed_state(status), *center;
    const json_t *counts;
    printf("study %s, stage %s: %s%s%s\n", text_of(status, "study"), text_of(status, "stage"), state,
           text_of(status, "reason")[0] ? ", " : "", text_of(status, "reason"));
    printf("  %" JSON_INTEGER_FORMAT " ranks, rank 0 on %s, last word %" JSON_INTEGER_FORMAT " s ago\n",
           whole(status, "ranks"), text_of(status, "host"), (json_int_t)time(NULL) - whole(status, "time"));
    print_counts("all", json_object_get(status, "total"));
    json_object_foreach(json_object_get(status, "centers"), center, counts) {
        if (whole(counts, "slides") > 0)
            print_counts(center, counts);
    }
    if (strcmp(state, "running") == 0)
        printf("  %.3g a second, %s%.0f s left\n", json_number_value(json_object_get(status, "per_second")),
               left < 0 ? "unknown, " : "", fmax(left, 0));
    if (strcmp(state, "silent") == 0)
        printf("  it says running but has been silent: it died or hangs; starting it again goes on from the "
               "journal\n");
    if (sums->parts > 0)
        printf("  journals: %" G_GUINT64_FORMAT " parts, %" G_GUINT64_FORMAT " ranges with %" G_GUINT64_FORMAT
               " tiles, %" G_GUINT64_FORMAT " starts, %" G_GUINT64_FORMAT " quarantined\n",
               sums->parts, sums->ranges, sums->tiles, sums->starts, sums->quarantined);
}

static void print_json(json_t *status, const JournalSums *sums) {
    json_object_set_new(status, "state", json_string(believed_state(status)));
    json_object_set_new(status, "journals",
                        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "parts", (json_int_t)sums->parts,
                                  "ranges", (json_int_t)sums->ranges, "tiles", (json_int_t)sums->tiles,
                                  "starts", (json_int_t)sums->starts, "ends", (json_int_t)sums->ends,
                                  "failures", (json_int_t)sums->failures, "quarantined",
                                  (json_int_t)sums->quarantined));
    json_dumpf(status, stdout, JSON_INDENT(1));
    printf("\n");
}

static bool show(const char *dir, bool json, GError **err) {
    g_autofree char *path = g_build_filename(dir, "status.json", NULL);
    JournalSums sums = {0};
    json_error_t problem;
    if (!read_journals(dir, &sums, err))
        return false;
    json_t *status = json_load_file(path, 0, &problem);
    if (!status)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: %s (expected the output folder of a job)", path,
                        problem.text);
    if (json) {
        print_json(status, &sums);
    } else {
        print_for_people(status, &sums);
        print_results(dir);
    }
    json_decref(status);
    return true;
}

int lob_cmd_status(int argc, char **argv) {
    gboolean json = FALSE;
    const GOptionEntry entries[] = {
        {"json", 0, 0, G_OPTION_ARG_NONE, &json, "Print one JSON object", NULL},
        {NULL, 0, 0, 0, NULL, NULL, NULL},
    };
    g_autoptr(GOptionContext) context = g_option_context_new("OUT");
    g_option_context_add_main_entries(context, entries, NULL);
    g_option_context_set_summary(context,
                                 "Says what a running or ended job has done. OUT is its output folder.");
    g_autoptr(GError) err = NULL;
    if (!g_option_context_parse(context, &argc, &argv, &err) || argc != 2) {
        fprintf(stderr, "lobule status: %s\n", err ? err->message : "expected one output folder");
        return LOB_EXIT_INPUT;
    }
    lob_log_setup(LOB_LOG_INFO, 0);
    if (show(argv[1], json, &err))
        return LOB_EXIT_DONE;
    fprintf(stderr, "lobule status: %s\n", err->message);
    return lob_error_exit_code(err);
}
