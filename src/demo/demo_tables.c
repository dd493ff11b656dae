/* The tables beside the slides: what a study would have (patients, slides, study file) and what it would not
 * (truth). */
#include "demo/demo_internal.h"

#include <math.h>
#include <string.h>

static const char *const arm_names[4] = {"none", "tace", "systemic", "both"};

typedef struct {
    bool size, mvi, afp; /* left empty */
} Holes;

static double logistic(double x) {
    return 1.0 / (1.0 + exp(-x));
}

/* From a stream of their own: a cohort with holes is else the one without. */
static Holes holes_of(const LobDemo *demo, size_t i) {
    const LobDemoPatient *p = &demo->patients[i];
    g_autofree char *stream = g_strdup_printf("holes/%zu", i + 1);
    LobRng rng;
    lob_rng_init(&rng, demo->options.seed, stream);
    double size = lob_rng_uniform(&rng), mvi = lob_rng_uniform(&rng), afp = lob_rng_uniform(&rng);
    switch (demo->options.missing) {
    case LOB_DEMO_MISSING_RANDOM:
        return (Holes){size < 0.2, mvi < 0.2, afp < 0.2};
    case LOB_DEMO_MISSING_VALUE:
        return (Holes){size < logistic(-1.8 + 0.6 * (p->tumor_size_cm - 5.0)), false,
                       afp < logistic(-1.8 + 1.2 * (p->afp_log10 - 2.0))};
    case LOB_DEMO_MISSING_COLUMN:
        return (Holes){.mvi = p->center == demo->options.centers - 1};
    case LOB_DEMO_COMPLETE:
        break;
    }
    return (Holes){0};
}

/* Empty where -1. */
static void label_cell(LobCsv *csv, int label) {
    lob_csv_number(csv, label < 0 ? NAN : (double)label);
}

static void outcome_cells(LobCsv *csv, const LobDemoPatient *p) {
    lob_csv_number(csv, p->time_days);
    lob_csv_integer(csv, p->event);
    lob_csv_number(csv, p->os_days);
    lob_csv_integer(csv, p->os_event);
    lob_csv_integer(csv, p->relapse);
    label_cell(csv, p->cd8_high);
    label_cell(csv, p->pdl1_high);
    label_cell(csv, p->response);
    label_cell(csv, p->ae34);
    lob_csv_number(csv, p->til_score);
}

static bool write_patients(const LobDemo *demo, const char *dir, GError **err) {
    g_autoptr(LobCsv) csv = lob_csv_new((const char *const[]){
        "patient_id", "center",   "age",          "sex",      "tumor_size_cm", "mvi",       "afp_log10",
        "arm",        "tace_day", "systemic_day", "rfs_days", "rfs_event",     "os_days",   "os_event",
        "relapse",    "cd8_high", "pdl1_high",    "response", "ae34",          "til_score", NULL});
    for (size_t i = 0; i < demo->n_patients; i++) {
        const LobDemoPatient *p = &demo->patients[i];
        g_autofree char *center = lob_demo_center_name(p->center);
        lob_csv_text(csv, p->patient_id);
        lob_csv_text(csv, center);
        lob_csv_number(csv, p->age);
        lob_csv_integer(csv, p->sex);
        Holes holes = holes_of(demo, i);
        lob_csv_number(csv, holes.size ? NAN : p->tumor_size_cm);
        lob_csv_number(csv, holes.mvi ? NAN : (double)p->mvi);
        lob_csv_number(csv, holes.afp ? NAN : p->afp_log10);
        lob_csv_text(csv, arm_names[p->arm]);
        lob_csv_number(csv, p->tace_day);
        lob_csv_number(csv, p->systemic_day);
        outcome_cells(csv, p);
        lob_csv_end_row(csv);
    }
    g_autofree char *path = g_build_filename(dir, "patients.csv", NULL);
    return lob_csv_save(csv, path, err);
}

static bool write_slides(const LobDemo *demo, const char *dir, GError **err) {
    g_autoptr(LobCsv) csv =
        lob_csv_new((const char *const[]){"slide_id", "patient_id", "center", "path", NULL});
    for (size_t i = 0; i < demo->n_patients; i++) {
        const LobDemoPatient *p = &demo->patients[i];
        g_autofree char *center = lob_demo_center_name(p->center);
        for (int s = 0; s < p->n_slides; s++) {
            g_autofree char *path = demo->options.bags ? g_strdup_printf("features/%s.h5", p->slide_id[s])
                                                       : g_strdup_printf("slides/%s.svs", p->slide_id[s]);
            lob_csv_text(csv, p->slide_id[s]);
            lob_csv_text(csv, p->patient_id);
            lob_csv_text(csv, center);
            lob_csv_text(csv, path);
            lob_csv_end_row(csv);
        }
    }
    g_autofree char *path = g_build_filename(dir, "slides.csv", NULL);
    return lob_csv_save(csv, path, err);
}

static bool write_truth(const LobDemo *demo, const char *dir, GError **err) {
    g_autoptr(LobCsv) csv = lob_csv_new((const char *const[]){"patient_id",
                                                              "center",
                                                              "grade",
                                                              "immune",
                                                              "vessel",
                                                              "center_effect",
                                                              "lp_inputs",
                                                              "lp_none",
                                                              "lp_tace",
                                                              "lp_systemic",
                                                              "lp_both",
                                                              "rmst_none",
                                                              "rmst_tace",
                                                              "rmst_systemic",
                                                              "rmst_both",
                                                              "benefit_tace",
                                                              "benefit_systemic",
                                                              "benefit_both",
                                                              "intended_arm",
                                                              "arm",
                                                              "tace_day",
                                                              "systemic_day",
                                                              "center_tace",
                                                              "cd8_score",
                                                              "pdl1_score",
                                                              "p_response_tace",
                                                              "p_response_systemic",
                                                              "p_response_both",
                                                              "p_ae34_tace",
                                                              "p_ae34_systemic",
                                                              "p_ae34_both",
                                                              NULL});
    for (size_t i = 0; i < demo->n_patients; i++) {
        const LobDemoPatient *p = &demo->patients[i];
        g_autofree char *center = lob_demo_center_name(p->center);
        lob_csv_text(csv, p->patient_id);
        lob_csv_text(csv, center);
        lob_csv_number(csv, p->grade);
        lob_csv_number(csv, p->immune);
        lob_csv_number(csv, p->vessel);
        lob_csv_number(csv, p->center_effect);
        lob_csv_number(csv, p->lp_inputs);
        for (int arm = 0; arm < 4; arm++)
            lob_csv_number(csv, p->lp_arm[arm]);
        for (int arm = 0; arm < 4; arm++)
            lob_csv_number(csv, p->rmst_arm[arm]);
        for (int arm = 1; arm < 4; arm++)
            lob_csv_number(csv, p->rmst_arm[arm] - p->rmst_arm[0]);
        lob_csv_text(csv, arm_names[p->intended]);
        lob_csv_text(csv, arm_names[p->arm]);
        lob_csv_number(csv, p->tace_day);
        lob_csv_number(csv, p->systemic_day);
        lob_csv_number(csv, p->center_tace);
        lob_csv_number(csv, p->cd8_score);
        lob_csv_number(csv, p->pdl1_score);
        for (int arm = 1; arm < 4; arm++)
            lob_csv_number(csv, p->p_response[arm]);
        for (int arm = 1; arm < 4; arm++)
            lob_csv_number(csv, p->p_ae[arm]);
        lob_csv_end_row(csv);
    }
    g_autofree char *path = g_build_filename(dir, "truth.csv", NULL);
    return lob_csv_save(csv, path, err);
}

/* A line of the study file for each endpoint asked for. */
static void endpoint_lines(const LobDemoOptions *o, GString *text) {
    static const struct {
        unsigned flag;
        const char *line; /* %s: landmark and horizons */
    } known[] = {
        {LOB_DEMO_RFS, "{name: rfs, kind: survival, time: rfs_days, event: rfs_event%s}"},
        {LOB_DEMO_OS, "{name: os, kind: survival, time: os_days, event: os_event%s}"},
        {LOB_DEMO_RELAPSE,
         "{name: relapse, kind: survival, time: rfs_days, event: relapse, competing: relapse%s}"},
        {LOB_DEMO_CD8, "{name: cd8, kind: binary, label: cd8_high}"},
        {LOB_DEMO_PDL1, "{name: pdl1, kind: binary, label: pdl1_high}"},
        {LOB_DEMO_RESPONSE, "{name: response, kind: binary, label: response}"},
        {LOB_DEMO_AE, "{name: ae34, kind: binary, label: ae34}"},
    };
    g_autofree char *clock = g_strdup_printf(", landmark: %d, horizons: [730, 1825]", LOB_DEMO_LANDMARK_DAYS);
    for (size_t i = 0; i < G_N_ELEMENTS(known); i++) {
        if ((o->endpoints & known[i].flag) == 0)
            continue;
        const char *mark = strstr(known[i].line, "%s");
        g_string_append(text, "  - ");
        g_string_append_len(text, known[i].line,
                            mark != NULL ? mark - known[i].line : (gssize)strlen(known[i].line));
        if (mark != NULL)
            g_string_append_printf(text, "%s%s", clock, mark + 2);
        g_string_append_c(text, '\n');
    }
}

static bool write_study(const LobDemo *demo, const char *dir, GError **err) {
    const LobDemoOptions *o = &demo->options;
    g_autoptr(GString) text = g_string_new(NULL);
    g_string_append_printf(text,
                           "# A synthetic cohort with known truth (seed %" G_GUINT64_FORMAT
                           "); truth.csv is for the judge only.\n"
                           "study: demo-%s\n"
                           "cohort:   {slides: slides.csv, patients: patients.csv}\n",
                           o->seed, o->bags ? "bags" : "slides");
    if (o->bags)
        g_string_append(text, "features: features\n");
    else
        g_string_append(text, "tiles:    {mpp: 0.5, size: 224}\n"
                              "encoder:  {name: texture}\n");
    g_string_append_printf(
        text,
        "endpoints:\n"
        "  # Time zero is day %d, the first imaging after surgery: treatments start before it%s.\n",
        LOB_DEMO_LANDMARK_DAYS, o->immortal ? ", but for some late ones" : "");
    endpoint_lines(o, text);
    g_string_append_printf(
        text,
        "arms:     {column: arm, levels: {none: [0, 0], tace: [1, 0], systemic: [0, 1], both: [1, 1]}, "
        "start: {tace: tace_day, systemic: systemic_day}}\n"
        "covariates: [age, sex, tumor_size_cm, mvi, afp_log10]\n"
        "model:    {kind: abmil, benefit: %s}\n"
        "validation: {scheme: loco, seeds: 5}\n"
        "output:   out\n",
        o->bags ? "true, biomarker: til_score" : "false");
    g_autofree char *path = g_build_filename(dir, "study.yaml", NULL);
    return lob_file_replace(path, text->str, text->len, err);
}

bool lob_demo_write_tables(const LobDemo *demo, const char *dir, GError **err) {
    return lob_make_dirs(dir, err) && write_patients(demo, dir, err) && write_slides(demo, dir, err) &&
           write_truth(demo, dir, err) && write_study(demo, dir, err);
}
