/* lobule check: the dry run. Reads tables and slide headers, never MPI; says what a run would meet and cost.
 */
#include "base/base.h"
#include "cohort/cohort.h"
#include "encoder/encoder.h"
#include "hdf5io/hdf5io.h"
#include "jobs/check_cost.h"
#include "jobs/common.h"
#include "jobs/jobs.h"
#include "mpi/stage.h"
#include "slide/slide.h"
#include "stats/stats.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Share of a resection slide's area that is tissue: an assumption, printed as one; `plan` counts. */
#define ASSUMED_TISSUE 0.35
/* More of other tools' feature files is read only where everything is to be looked at. */
#define MOST_FOREIGN_GIB 4.0

typedef struct {
    const LobCohort *cohort;
    LobSlideInfo *info; /* [n_slides] */
    char **problem;     /* [n_slides] NULL = fine or not looked at */
    bool *looked_at;
    size_t n_looked, n_failed;
    double *tiles; /* [n_slides] predicted; of slides not looked at: as the others' mean */
    char *encoder; /* as a store would name it */
    LobCost cost;
} Survey;

static void survey_clear(Survey *survey) {
    for (size_t i = 0; survey->problem && i < survey->cohort->n_slides; i++)
        g_free(survey->problem[i]);
    g_free(survey->problem);
    g_free(survey->info);
    g_free(survey->looked_at);
    g_free(survey->tiles);
    g_free(survey->encoder);
    lob_cost_clear(&survey->cost);
}

static bool probe_slide(Survey *survey, LobReader *reader, size_t i, GError **err) {
    const LobCohortSlide *slide = &survey->cohort->slides[i];
    const LobSlideSpec spec = lob_stage_slide_spec(slide);
    const LobTileSpec tile = lob_stage_tile_spec(survey->cohort->study);
    double w, h, step_x, step_y;
    g_autoptr(GError) problem = NULL;
    survey->looked_at[i] = true;
    survey->n_looked++;
    if (!lob_reader_open(reader, &spec, &survey->info[i], &problem) ||
        !lob_tile_footprint(&survey->info[i], &tile, &w, &h, &step_x, &step_y, &problem)) {
        if (problem->code != LOB_ERROR_SLIDE) {
            g_propagate_error(err, g_steal_pointer(&problem));
            return false;
        }
        survey->problem[i] = g_strdup(problem->message);
        survey->n_failed++;
        return true;
    }
    const double area = (double)survey->info[i].bounds_width * (double)survey->info[i].bounds_height;
    survey->tiles[i] = ASSUMED_TISSUE * area / (step_x * step_y);
    return true;
}

/* Every slide where they are few, else an even sample of the sorted list; the prediction is scaled up. */
static bool probe_slides(Survey *survey, size_t most, GError **err) {
    const LobCohort *cohort = survey->cohort;
    LobReaderLimits limits = lob_reader_default_limits;
    limits.open_seconds = 15;
    limits.tile_size = cohort->study->tiles.size;
    g_autoptr(LobReader) reader = lob_reader_new(&limits, err);
    if (!reader)
        return false;
    const size_t n = cohort->n_slides, wanted = MIN(n, most);
    for (size_t k = 0; k < wanted; k++)
        if (!probe_slide(survey, reader, k * n / wanted, err))
            return false;
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += survey->tiles[i];
    for (size_t i = 0; i < n; i++)
        if (!survey->looked_at[i])
            survey->tiles[i] = sum / (double)wanted;
    return true;
}

/* Opens the study's encoder, which checks its weights; they are loaded only where it is to be timed. */
static bool probe_encoder(Survey *survey, GError **err) {
    const LobStudy *study = survey->cohort->study;
    LobEncoderOptions options = lob_stage_encoder_options(study);
    options.describe = survey->cost.ask.bench != NULL;
    g_autoptr(LobEncoder) encoder = lob_stage_encoder(study, &options, err);
    if (!encoder)
        return false;
    survey->encoder = g_strdup(lob_encoder_info(encoder)->name);
    return lob_cost_of_encoder(&survey->cost, study, encoder, err);
}

static bool predict(Survey *survey, GError **err) {
    const LobCohort *cohort = survey->cohort;
    g_autofree uint64_t *rows = g_new0(uint64_t, cohort->n_patients);
    for (size_t s = 0; s < cohort->n_slides; s++)
        rows[cohort->slides[s].patient] += (uint64_t)survey->tiles[s];
    lob_cost_of_slides(&survey->cost, cohort, survey->tiles);
    return lob_cost_of_training(&survey->cost, cohort, rows, survey->cost.cost.dim, err);
}

/* One line a center: how many slides were looked at, the spread of mpp and where it came from. */
static void print_scale_audit(const Survey *survey, FILE *to) {
    const LobCohort *cohort = survey->cohort;
    g_autofree double *mpp = g_new(double, cohort->n_slides);
    fprintf(to, "\nscale by center (um/px at level 0)\n  %-20s %6s %8s %8s %8s  %s\n", "center", "known",
            "median", "least", "most", "source");
    for (size_t c = 0; c < cohort->n_centers; c++) {
        size_t n = 0, sources[LOB_MPP_TIFF + 1] = {0};
        for (size_t i = 0; i < cohort->n_slides; i++) {
            if (!survey->looked_at[i] || cohort->patients[cohort->slides[i].patient].center != c)
                continue;
            sources[survey->info[i].mpp_source]++;
            if (survey->info[i].mpp_x > 0)
                mpp[n++] = survey->info[i].mpp_x;
        }
        g_autoptr(GString) names = g_string_new(NULL);
        for (int s = 0; s <= LOB_MPP_TIFF; s++)
            if (sources[s])
                g_string_append_printf(names, "%s%s %zu", names->len ? ", " : "",
                                       lob_mpp_source_name((LobMppSource)s), sources[s]);
        if (n)
            fprintf(to, "  %-20s %6zu %8.4f %8.4f %8.4f  %s\n", cohort->centers[c], n,
                    lob_quantile(mpp, n, 0.5), lob_quantile(mpp, n, 0), lob_quantile(mpp, n, 1), names->str);
        else
            fprintf(to, "  %-20s %6d %8s %8s %8s  %s\n", cohort->centers[c], 0, "-", "-", "-", names->str);
    }
}

static void print_for_people(const Survey *survey, FILE *to) {
    const LobCohort *cohort = survey->cohort;
    g_autofree char *summary = lob_cohort_summary(cohort);
    fprintf(to, "%s\n", summary);
    if (cohort->study->features) {
        if (survey->cost.trains)
            fprintf(to, "\npredicted\n");
        lob_cost_print(&survey->cost, to);
        return;
    }
    print_scale_audit(survey, to);
    fprintf(to, "\nslides: %zu, looked at %zu%s, %zu with a problem\n", cohort->n_slides, survey->n_looked,
            survey->n_looked < cohort->n_slides ? " (an even sample; --all looks at each)" : "",
            survey->n_failed);
    for (size_t i = 0; i < cohort->n_slides; i++)
        if (survey->problem[i])
            fprintf(to, "  %s: %s\n", cohort->slides[i].slide_id, survey->problem[i]);
    fprintf(to, "\npredicted (assuming that %.0f %% of a slide's area is tissue; plan counts)\n",
            100 * ASSUMED_TISSUE);
    fprintf(to, "  tiles       %.0f, for %s\n", survey->cost.tiles, survey->encoder);
    lob_cost_print(&survey->cost, to);
}

static void print_json(const Survey *survey) {
    const LobCohort *cohort = survey->cohort;
    json_t *problems = json_object();
    for (size_t i = 0; i < cohort->n_slides; i++)
        if (survey->problem[i])
            json_object_set_new(problems, cohort->slides[i].slide_id, json_string(survey->problem[i]));
    json_t *root = json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:o}", "study", cohort->study->name, "patients",
        (json_int_t)cohort->n_patients, "centers", (json_int_t)cohort->n_centers, "slides",
        (json_int_t)cohort->n_slides, "slides_looked_at", (json_int_t)survey->n_looked,
        "slides_with_a_problem", (json_int_t)survey->n_failed, "predicted_tiles", survey->cost.tiles,
        "predicted_core_hours", survey->cost.tiles * survey->cost.cost.seconds / 3600, "predicted_gib",
        survey->cost.tiles * lob_capacity_row_bytes(survey->cost.cost.dim) / (1 << 30), "problems", problems);
    lob_cost_json(&survey->cost, root);
    json_dumpf(root, stdout, JSON_INDENT(1) | JSON_SORT_KEYS);
    printf("\n");
    json_decref(root);
}

/* A study without endpoints is for planning and embedding alone. */
static bool check_validation(const LobCohort *cohort, GError **err) {
    if (cohort->study->n_endpoints > 0)
        return lob_preflight(cohort, err);
    lob_info("no endpoint is given: plan and embed will work, run and validate will not");
    return true;
}

/* Rows as a run would load them; what a run would refuse is refused here. */
static bool predict_from_features(Survey *survey, bool all, GError **err) {
    const LobCohort *cohort = survey->cohort;
    const LobStudy *study = cohort->study;
    const bool loads = study->n_endpoints > 0 && strcmp(study->model.kind, "clinical") != 0;
    g_autofree uint64_t *rows = g_new0(uint64_t, cohort->n_patients);
    int dim;
    double bytes;
    if (!lob_bags_count(cohort, (const char *const *)study->features,
                        all ? INFINITY : MOST_FOREIGN_GIB * (1 << 30), loads ? rows : NULL, &dim, &bytes,
                        err))
        return false;
    if (dim > 0)
        return lob_cost_of_training(&survey->cost, cohort, rows, dim, err);
    survey->cost.trains = loads;
    if (loads)
        survey->cost.training_problem =
            g_strdup_printf("not predicted: counting the tiles of other tools' files reads them, %.0f GiB; "
                            "--all does",
                            bytes / (1 << 30));
    return true;
}

static bool check_study(const char *path, const char *output, size_t most, bool json, const LobCostAsk *ask,
                        bool *all_fine, GError **err) {
    g_autoptr(LobStudy) study = lob_study_read(path, output, err);
    if (!study)
        return false;
    g_autoptr(LobCohort) cohort = lob_cohort_read(study, err);
    if (!cohort)
        return false;
    if (!check_validation(cohort, err))
        return false;
    Survey survey = {.cohort = cohort, .cost.ask = *ask};
    survey.info = g_new0(LobSlideInfo, cohort->n_slides);
    survey.problem = g_new0(char *, cohort->n_slides);
    survey.looked_at = g_new0(bool, cohort->n_slides);
    survey.tiles = g_new0(double, cohort->n_slides);
    /* the encoder first: bad weights are said at once, not after hours of opening slides */
    const bool ok = study->features ? predict_from_features(&survey, most == SIZE_MAX, err)
                                    : probe_encoder(&survey, err) && probe_slides(&survey, most, err) &&
                                          predict(&survey, err);
    if (ok) {
        print_for_people(&survey, stderr);
        if (json)
            print_json(&survey);
        *all_fine = survey.n_failed == 0;
    }
    survey_clear(&survey);
    return ok;
}

int lob_cmd_check(int argc, char **argv) {
    gboolean all = FALSE, json = FALSE;
    g_autofree char *output = NULL, *bench = NULL, *walltime = NULL;
    LobCostAsk ask;
    lob_cost_defaults(&ask);
    const GOptionEntry entries[] = {
        {"all", 0, 0, G_OPTION_ARG_NONE, &all, "Look at every slide and feature file, however many there are",
         NULL},
        {"json", 0, 0, G_OPTION_ARG_NONE, &json, "Also print the findings as JSON on stdout", NULL},
        {"output", 0, 0, G_OPTION_ARG_FILENAME, &output, "Output folder instead of the study's", "DIR"},
        {"bench", 0, 0, G_OPTION_ARG_FILENAME, &bench,
         "Speed, spread and memory from lines of lobule bench encoder and train", "FILE"},
        {"nodes", 0, 0, G_OPTION_ARG_INT, &ask.machine.nodes, "Nodes to plan with (default 1)", "N"},
        {"cores", 0, 0, G_OPTION_ARG_INT, &ask.machine.cores, "Cores of a node (default: as here)", "N"},
        {"node-gib", 0, 0, G_OPTION_ARG_DOUBLE, &ask.machine.node_gib, "Memory of a node (default: as here)",
         "GIB"},
        {"walltime", 0, 0, G_OPTION_ARG_STRING, &walltime, "Most that a job may ask for (default 24:00:00)",
         "T"},
        {NULL, 0, 0, 0, NULL, NULL, NULL},
    };
    g_autoptr(GOptionContext) context = g_option_context_new("STUDY");
    g_option_context_add_main_entries(context, entries, NULL);
    g_option_context_set_summary(context, "Checks tables and slides and predicts tiles, core-hours, GiB, and "
                                          "what given nodes need. Starts no ranks.");
    g_autoptr(GError) err = NULL;
    bool all_fine = true;
    bool ok = g_option_context_parse(context, &argc, &argv, &err);
    if (ok && argc != 2)
        ok = lob_fail(&err, LOB_ERROR_INPUT, "expected one study file, see lobule check --help");
    if (ok && walltime && (ask.machine.walltime_seconds = lob_parse_duration(walltime)) <= 0)
        ok = lob_fail(&err, LOB_ERROR_INPUT, "--walltime %s: expected seconds, H:M:S or D-H:M:S above 0",
                      walltime);
    ok = ok && lob_cost_check_machine(&ask.machine, &err);
    if (!ok) {
        fprintf(stderr, "lobule check: %s\n", err->message);
        return LOB_EXIT_INPUT;
    }
    ask.bench = bench;
    lob_log_setup(LOB_LOG_INFO, 0);
    ok = lob_zygote_start(&err) &&
         check_study(argv[1], output, all ? SIZE_MAX : 500, json, &ask, &all_fine, &err);
    lob_zygote_stop();
    if (!ok) {
        fprintf(stderr, "lobule check: %s\n", err->message);
        return lob_error_exit_code(err);
    }
    return all_fine ? LOB_EXIT_DONE : LOB_EXIT_SLIDES_FAILED;
}
