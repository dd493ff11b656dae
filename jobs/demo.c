/* lobule demo: a synthetic multi-center cohort with known truth. */
#include "demo/demo.h"
#include "jobs/jobs.h"
#include "mpi/world.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    gint patients, centers, tiles, dim;
    gint64 seed;
    gboolean null, bags, immortal, early, json, tables_only;
    gdouble grade, tace, tace_immune, covariate, systemic, vessel;
    gdouble indication, hidden, lean, center_sd, center_effect, systemic_share;
    gchar *missing, *endpoints;
} Wanted;

#define UNSET (-1e300)

static bool parse(int *argc, char ***argv, Wanted *w, GError **err) {
    const GOptionEntry entries[] = {
        {"patients", 0, 0, G_OPTION_ARG_INT, &w->patients, "Patients in all (160; bags: 2000)", "N"},
        {"centers", 0, 0, G_OPTION_ARG_INT, &w->centers, "Hospitals (4; bags: 6)", "N"},
        {"tiles", 0, 0, G_OPTION_ARG_INT, &w->tiles,
         "Tissue tiles a patient at 0.5 um/px (80), or rows of a bag (32)", "N"},
        {"seed", 0, 0, G_OPTION_ARG_INT64, &w->seed, "Seed of everything (1)", "N"},
        {"bags", 0, 0, G_OPTION_ARG_NONE, &w->bags,
         "Feature files instead of slides, with the larger benefit cohort's numbers", NULL},
        {"dim", 0, 0, G_OPTION_ARG_INT, &w->dim, "Columns of a bag (48)", "N"},
        {"null", 0, 0, G_OPTION_ARG_NONE, &w->null, "Nothing an image shows has to do with the outcome",
         NULL},
        {"immortal", 0, 0, G_OPTION_ARG_NONE, &w->immortal,
         "At risk from surgery, treatment works from its start day: plants immortal time", NULL},
        {"grade-effect", 0, 0, G_OPTION_ARG_DOUBLE, &w->grade, "Log hazard ratio per SD of grade", "X"},
        {"tace-effect", 0, 0, G_OPTION_ARG_DOUBLE, &w->tace, "Of TACE at average immune", "X"},
        {"tace-immune-effect", 0, 0, G_OPTION_ARG_DOUBLE, &w->tace_immune, "Added per SD of immune", "X"},
        {"covariate-effect", 0, 0, G_OPTION_ARG_DOUBLE, &w->covariate, "Of clinical covariates per SD", "X"},
        {"systemic-effect", 0, 0, G_OPTION_ARG_DOUBLE, &w->systemic, "Of systemic therapy", "X"},
        {"vessel-effect", 0, 0, G_OPTION_ARG_DOUBLE, &w->vessel, "Added where vessels encapsulate", "X"},
        {"indication", 0, 0, G_OPTION_ARG_DOUBLE, &w->indication,
         "Confounding: how much size and MVI decide on treatment (1)", "X"},
        {"hidden-indication", 0, 0, G_OPTION_ARG_DOUBLE, &w->hidden,
         "Confounding by the image alone: log odds of treatment per SD of grade (0)", "X"},
        {"center-lean", 0, 0, G_OPTION_ARG_DOUBLE, &w->lean,
         "Log odds of TACE: more in the first center, less in the others (0)", "X"},
        {"center-sd", 0, 0, G_OPTION_ARG_DOUBLE, &w->center_sd,
         "SD between centers of the log baseline hazard (0.3)", "X"},
        {"center-effect-sd", 0, 0, G_OPTION_ARG_DOUBLE, &w->center_effect,
         "SD between centers of TACE's log hazard ratio (0)", "X"},
        {"systemic-share", 0, 0, G_OPTION_ARG_DOUBLE, &w->systemic_share,
         "Share given systemic therapy (0.06; bags: 0.20)", "X"},
        {"early", 0, 0, G_OPTION_ARG_NONE, &w->early,
         "Treatment works in the first two years only: hazards are not proportional", NULL},
        {"missing", 0, 0, G_OPTION_ARG_STRING, &w->missing,
         "Empty cells of covariates: at random, by their value, or a column absent in a whole center",
         "random|value|column"},
        {"endpoints", 0, 0, G_OPTION_ARG_STRING, &w->endpoints,
         "Endpoints of the study file (rfs), any of rfs,os,relapse,cd8,pdl1,response,ae34", "LIST"},
        {"tables-only", 0, 0, G_OPTION_ARG_NONE, &w->tables_only,
         "Tables and study file without slides or bags, for studies of the numbers alone", NULL},
        {"json", 0, 0, G_OPTION_ARG_NONE, &w->json, "A summary on stdout", NULL},
        {NULL, 0, 0, 0, NULL, NULL, NULL},
    };
    g_autoptr(GOptionContext) context = g_option_context_new("DIR");
    g_option_context_add_main_entries(context, entries, NULL);
    g_option_context_set_summary(
        context, "Draws a cohort of several hospitals whose truth is known (truth.csv) into DIR: study.yaml, "
                 "tables, slides.\nSlides that are there already are kept. Start ranks with mpirun or srun.");
    g_autoptr(GError) problem = NULL;
    if (!g_option_context_parse(context, argc, argv, &problem))
        return lob_fail(err, LOB_ERROR_INPUT, "%s", problem->message);
    if (*argc != 2)
        return lob_fail(err, LOB_ERROR_INPUT, "expected one folder, see lobule demo --help");
    return true;
}

static bool number_in(const char *name, gint given, int low, int high, int *value, GError **err) {
    if (given == G_MININT)
        return true;
    if (given < low || given > high)
        return lob_fail(err, LOB_ERROR_INPUT, "--%s %d: expected %d to %d", name, given, low, high);
    *value = given;
    return true;
}

static bool effect_in(const char *name, gdouble given, double *value, GError **err) {
    if (given <= UNSET)
        return true;
    if (!isfinite(given) || fabs(given) > 5.0)
        return lob_fail(err, LOB_ERROR_INPUT, "--%s %g: expected -5 to 5 on the log hazard", name, given);
    *value = given;
    return true;
}

static bool share_in(const char *name, gdouble given, double *value, GError **err) {
    if (given <= UNSET)
        return true;
    if (!(given > 0.0 && given < 1.0))
        return lob_fail(err, LOB_ERROR_INPUT, "--%s %g: expected a share between 0 and 1", name, given);
    *value = given;
    return true;
}

static bool missing_in(const Wanted *w, LobDemoOptions *o, GError **err) {
    static const char *const names[] = {"", "random", "value", "column", NULL};
    for (int i = 1; w->missing != NULL && names[i] != NULL; i++)
        if (strcmp(w->missing, names[i]) == 0) {
            o->missing = (LobDemoMissing)i;
            return true;
        }
    if (w->missing != NULL)
        return lob_fail(err, LOB_ERROR_INPUT, "--missing %s: expected random, value or column", w->missing);
    return true;
}

static bool endpoints_in(const Wanted *w, LobDemoOptions *o, GError **err) {
    static const char *const names[] = {"rfs", "os", "relapse", "cd8", "pdl1", "response", "ae34"};
    if (w->endpoints == NULL)
        return true;
    g_auto(GStrv) asked = g_strsplit(w->endpoints, ",", -1);
    o->endpoints = 0;
    for (size_t i = 0; asked[i] != NULL; i++) {
        unsigned flag = 0;
        for (size_t k = 0; k < G_N_ELEMENTS(names); k++)
            flag |= strcmp(asked[i], names[k]) == 0 ? 1U << k : 0;
        if (flag == 0)
            return lob_fail(err, LOB_ERROR_INPUT, "--endpoints: unknown endpoint '%s'", asked[i]);
        o->endpoints |= flag;
    }
    if (o->endpoints == 0)
        return lob_fail(err, LOB_ERROR_INPUT, "--endpoints: none given");
    return true;
}

static bool options_from(const Wanted *w, LobDemoOptions *o, GError **err) {
    lob_demo_defaults(o, w->bags);
    o->seed = (uint64_t)w->seed;
    o->null = w->null;
    o->immortal = w->immortal;
    o->early = w->early;
    if (w->early && w->immortal)
        return lob_fail(err, LOB_ERROR_INPUT, "--early and --immortal cannot be planted together");
    if (w->dim != G_MININT && !w->bags)
        return lob_fail(err, LOB_ERROR_INPUT, "--dim is for --bags: slides have no columns");
    if (w->seed < 0)
        return lob_fail(err, LOB_ERROR_INPUT, "--seed %" G_GINT64_FORMAT ": expected 0 or more", w->seed);
    if (!number_in("centers", w->centers, 1, 99, &o->centers, err) ||
        !number_in("patients", w->patients, o->centers, 99999, &o->patients, err) ||
        !number_in("tiles", w->tiles, 4, w->bags ? 1000000 : 20000, &o->tiles, err) ||
        !number_in("dim", w->dim, 8, 4096, &o->dim, err))
        return false;
    return effect_in("grade-effect", w->grade, &o->grade_effect, err) &&
           effect_in("tace-effect", w->tace, &o->tace_effect, err) &&
           effect_in("tace-immune-effect", w->tace_immune, &o->tace_immune_effect, err) &&
           effect_in("covariate-effect", w->covariate, &o->covariate_effect, err) &&
           effect_in("systemic-effect", w->systemic, &o->systemic_effect, err) &&
           effect_in("vessel-effect", w->vessel, &o->vessel_effect, err) &&
           effect_in("indication", w->indication, &o->indication, err) &&
           effect_in("hidden-indication", w->hidden, &o->hidden_indication, err) &&
           effect_in("center-lean", w->lean, &o->center_lean, err) &&
           effect_in("center-sd", w->center_sd, &o->center_sd, err) &&
           effect_in("center-effect-sd", w->center_effect, &o->center_effect_sd, err) &&
           share_in("systemic-share", w->systemic_share, &o->systemic_share, err) && missing_in(w, o, err) &&
           endpoints_in(w, o, err);
}

static void print_summary(const LobDemoOptions *options, const char *dir, double seconds) {
    g_autoptr(LobDemo) demo = lob_demo_new(options);
    int events = 0, treated = 0;
    for (size_t i = 0; i < demo->n_patients; i++) {
        events += demo->patients[i].event;
        treated += demo->patients[i].arm & 1;
    }
    g_autofree char *study = g_build_filename(dir, "study.yaml", NULL);
    json_t *object = json_pack("{s:s, s:I, s:i, s:I, s:i, s:i, s:I, s:f}", "study", study, "patients",
                               (json_int_t)demo->n_patients, "centers", options->centers, "slides",
                               (json_int_t)demo->n_slides, "events", events, "tace", treated, "seed",
                               (json_int_t)options->seed, "seconds", seconds);
    g_assert(object != NULL);
    if (json_dumpf(object, stdout, 0) == 0)
        (void)putchar('\n');
    json_decref(object);
}

static bool make(const LobWorld *world, const LobDemoOptions *options, bool tables_only, const char *dir,
                 int *code, GError **err) {
    if (!tables_only)
        return lob_job_demo(world, options, dir, code, err);
    *code = LOB_EXIT_DONE;
    if (world->rank != 0)
        return true;
    g_autoptr(LobDemo) demo = lob_demo_new(options);
    return lob_demo_write_tables(demo, dir, err);
}

int lob_cmd_demo(int argc, char **argv) {
    Wanted w = {.patients = G_MININT,
                .centers = G_MININT,
                .tiles = G_MININT,
                .dim = G_MININT,
                .seed = 1,
                .grade = UNSET,
                .tace = UNSET,
                .tace_immune = UNSET,
                .covariate = UNSET,
                .systemic = UNSET,
                .vessel = UNSET,
                .indication = UNSET,
                .hidden = UNSET,
                .lean = UNSET,
                .center_sd = UNSET,
                .center_effect = UNSET,
                .systemic_share = UNSET};
    LobDemoOptions options;
    LobWorld world = {.size = 1};
    GError *error = NULL;
    int rank = lob_launcher_rank(), code = LOB_EXIT_OTHER;
    double start = lob_clock();
    lob_log_setup(LOB_LOG_INFO, rank);
    if (parse(&argc, &argv, &w, &error) && options_from(&w, &options, &error) &&
        lob_world_start(&world, &argc, &argv, &error)) {
        rank = world.rank;
        lob_log_setup(LOB_LOG_INFO, rank);
        if (make(&world, &options, w.tables_only, argv[1], &code, &error) && rank == 0 && w.json)
            print_summary(&options, argv[1], lob_clock() - start);
    }
    if (error != NULL) {
        code = lob_error_exit_code(error);
        if (rank == 0)
            lob_error_log("%s", error->message);
        g_error_free(error);
    }
    g_free(w.missing);
    g_free(w.endpoints);
    lob_world_end(&world);
    return rank == 0 ? code : LOB_EXIT_DONE;
}
