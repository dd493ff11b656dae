/* The tables beside the slides: what a study would have (patients, slides, study file) and what it would not
 * (truth). */
#include "demo/demo_internal.h"

#include <math.h>
#include <string.h>

static const char *const arm_names[4] = {"none", "tace", "systemic", "both"};

static bool write_patients(const LobDemo *demo, const char *dir, GError **err) {
    g_autoptr(LobCsv) csv = lob_csv_new(
        (const char *const[]){"patient_id", "center", "age", "sex", "tumor_size_cm", "mvi", "afp_log10",
                              "arm", "tace_day", "systemic_day", "rfs_days", "rfs_event", NULL});
    for (size_t i = 0; i < demo->n_patients; i++) {
        const LobDemoPatient *p = &demo->patients[i];
        g_autofree char *center = lob_demo_center_name(p->center);
        lob_csv_text(csv, p->patient_id);
        lob_csv_text(csv, center);
        lob_csv_number(csv, p->age);
        lob_csv_integer(csv, p->sex);
        lob_csv_number(csv, p->tumor_size_cm);
        lob_csv_integer(csv, p->mvi);
        lob_csv_number(csv, p->afp_log10);
        lob_csv_text(csv, arm_names[p->arm]);
        lob_csv_number(csv, p->tace_day);
        lob_csv_number(csv, p->systemic_day);
        lob_csv_number(csv, p->time_days);
        lob_csv_integer(csv, p->event);
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
        lob_csv_end_row(csv);
    }
    g_autofree char *path = g_build_filename(dir, "truth.csv", NULL);
    return lob_csv_save(csv, path, err);
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
        "  # Time zero is day %d, the first imaging after surgery: treatments start before it%s.\n"
        "  - {name: rfs, kind: survival, time: rfs_days, event: rfs_event, landmark: %d, horizons: [730, "
        "1825]}\n"
        "arms:     {column: arm, levels: {none: [0, 0], tace: [1, 0], systemic: [0, 1], both: [1, 1]}, "
        "start: {tace: tace_day, systemic: systemic_day}}\n"
        "covariates: [age, sex, tumor_size_cm, mvi, afp_log10]\n"
        "model:    {kind: abmil, benefit: %s}\n"
        "validation: {scheme: loco, seeds: 5}\n"
        "output:   out\n",
        LOB_DEMO_LANDMARK_DAYS, o->immortal ? ", but for some late ones" : "", LOB_DEMO_LANDMARK_DAYS,
        o->bags ? "true" : "false");
    g_autofree char *path = g_build_filename(dir, "study.yaml", NULL);
    return lob_file_replace(path, text->str, text->len, err);
}

bool lob_demo_write_tables(const LobDemo *demo, const char *dir, GError **err) {
    return lob_make_dirs(dir, err) && write_patients(demo, dir, err) && write_slides(demo, dir, err) &&
           write_truth(demo, dir, err) && write_study(demo, dir, err);
}
