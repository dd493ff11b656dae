/* The planted numbers: over seeds for what is random, in closed form for the truth columns. */
#include "cohort/cohort.h"
#include "demo/demo.h"

#include <criterion/criterion.h>
#include <glib/gstdio.h>
#include <math.h>
#include <string.h>

static LobDemo *cohort(bool bags, uint64_t seed, int patients, bool null) {
    LobDemoOptions options;
    lob_demo_defaults(&options, bags);
    options.seed = seed;
    options.null = null;
    if (patients > 0)
        options.patients = patients;
    return lob_demo_new(&options);
}

static double correlation(const double *x, const double *y, size_t n) {
    double sx = 0, sy = 0, sxx = 0, syy = 0, sxy = 0;
    for (size_t i = 0; i < n; i++) {
        sx += x[i];
        sy += y[i];
        sxx += x[i] * x[i];
        syy += y[i] * y[i];
        sxy += x[i] * y[i];
    }
    double m = (double)n;
    return (sxy - sx * sy / m) / sqrt((sxx - sx * sx / m) * (syy - sy * sy / m));
}

Test(demo_cohort, slide_cohort_has_about_117_events_in_four_equal_centers) {
    double events = 0;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        g_autoptr(LobDemo) demo = cohort(false, seed, 0, false);
        int in_center[4] = {0}, two = 0;
        cr_assert_eq(demo->n_patients, 160);
        for (size_t i = 0; i < demo->n_patients; i++) {
            events += demo->patients[i].event;
            in_center[demo->patients[i].center]++;
            two += demo->patients[i].n_slides == 2;
        }
        for (int c = 0; c < 4; c++)
            cr_expect_eq(in_center[c], 40);
        cr_expect(two >= 20 && two <= 62, "%d patients with two slides", two);
        cr_expect_eq(demo->n_slides, (size_t)(160 + two));
    }
    cr_expect(fabs(events / 30 - 117) < 5, "%.1f events a cohort", events / 30);
}

Test(demo_cohort, bag_cohort_has_the_six_centers_of_480_to_200) {
    static const int wanted[] = {480, 420, 360, 300, 240, 200};
    g_autoptr(LobDemo) demo = cohort(true, 3, 0, false);
    int size[6] = {0}, tace = 0, vessel = 0;
    for (size_t i = 0; i < demo->n_patients; i++) {
        size[demo->patients[i].center]++;
        tace += demo->patients[i].arm & 1;
        vessel += demo->patients[i].vessel > 0.5;
    }
    for (int c = 0; c < 6; c++)
        cr_expect_eq(size[c], wanted[c], "center %d has %d", c, size[c]);
    cr_expect(abs(tace - 940) < 150, "%d treated", tace);
    cr_expect(vessel >= 300 && vessel <= 400, "%d with the vessel pattern", vessel);
}

Test(demo_cohort, indication_confounds_treatment) {
    g_autoptr(LobDemo) demo = cohort(false, 5, 20000, false);
    double size[2] = {0}, mvi[2] = {0}, n[2] = {0};
    for (size_t i = 0; i < demo->n_patients; i++) {
        const LobDemoPatient *p = &demo->patients[i];
        int t = p->arm & 1;
        size[t] += p->tumor_size_cm;
        mvi[t] += p->mvi;
        n[t]++;
    }
    double size_smd = (size[1] / n[1] - size[0] / n[0]) / 2.0, mvi_more = mvi[1] / n[1] - mvi[0] / n[0];
    cr_expect(size_smd > 0.4 && size_smd < 1.0, "size differs by %.2f SD between arms", size_smd);
    cr_expect(mvi_more > 0.1 && mvi_more < 0.4, "MVI share differs by %.2f", mvi_more);
}

Test(demo_cohort, treatment_starts_before_time_zero_and_everybody_is_at_risk_there) {
    g_autoptr(LobDemo) demo = cohort(true, 9, 5000, false);
    for (size_t i = 0; i < demo->n_patients; i++) {
        const LobDemoPatient *p = &demo->patients[i];
        cr_assert_eq(isnan(p->tace_day), (p->arm & 1) == 0);
        cr_assert_eq(isnan(p->systemic_day), (p->arm & 2) == 0);
        cr_assert(isnan(p->tace_day) || (p->tace_day >= 20 && p->tace_day <= 80));
        cr_assert(p->time_days > LOB_DEMO_LANDMARK_DAYS);
        cr_assert_eq(p->arm, p->intended);
    }
}

Test(demo_cohort, immortal_time_leaves_early_relapses_untreated) {
    LobDemoOptions options;
    lob_demo_defaults(&options, true);
    options.immortal = true;
    g_autoptr(LobDemo) demo = lob_demo_new(&options);
    int missed = 0, late = 0;
    for (size_t i = 0; i < demo->n_patients; i++) {
        const LobDemoPatient *p = &demo->patients[i];
        missed += p->arm != p->intended;
        late += (p->arm & 1) != 0 && p->tace_day > LOB_DEMO_LANDMARK_DAYS;
        cr_assert_eq(p->arm & ~p->intended, 0);
        cr_assert(isnan(p->tace_day) || p->tace_day <= p->time_days);
    }
    cr_expect(missed > 20, "%d recurred before their treatment", missed);
    cr_expect(late > 100, "%d started after the landmark", late);
}

Test(demo_cohort, exponential_rmst_is_the_closed_form) {
    g_autoptr(LobDemo) demo = cohort(false, 2, 0, false);
    for (size_t i = 0; i < demo->n_patients; i++) {
        for (int arm = 0; arm < 4; arm++) {
            double rate = 0.6 * exp(demo->patients[i].lp_arm[arm]);
            double wanted = (1.0 - exp(-5.0 * rate)) / rate * 365.25;
            cr_assert_float_eq(demo->patients[i].rmst_arm[arm], wanted, 1e-3 * wanted);
        }
    }
}

Test(demo_cohort, weibull_rmst_agrees_with_a_midpoint_sum) {
    g_autoptr(LobDemo) demo = cohort(true, 2, 60, false);
    for (size_t i = 0; i < demo->n_patients; i++) {
        double lp = demo->patients[i].lp_arm[1], sum = 0;
        enum { N = 100000 };
        for (int k = 0; k < N; k++)
            sum += exp(-pow(0.30 * 5.0 * (k + 0.5) / N, 0.9) * exp(lp));
        cr_assert_float_eq(demo->patients[i].rmst_arm[1], sum / N * 5.0 * 365.25, 0.5);
    }
}

Test(demo_cohort, predictors_are_the_planted_sums) {
    g_autoptr(LobDemo) demo = cohort(true, 4, 300, false);
    for (size_t i = 0; i < demo->n_patients; i++) {
        const LobDemoPatient *p = &demo->patients[i];
        cr_assert_float_eq(p->lp_arm[1] - p->lp_arm[0], -0.10 - 0.70 * p->immune, 1e-12);
        cr_assert_float_eq(p->lp_arm[3] - p->lp_arm[1], -0.10 - 0.60 * p->vessel, 1e-12);
        cr_assert_float_eq(p->lp_arm[0] - p->center_effect, p->lp_inputs, 1e-12);
        double inputs = 0.7 * p->grade + 0.3 * (p->tumor_size_cm - 5.0) / 2.0 + 0.4 * (p->mvi - 0.4);
        cr_assert_float_eq(p->lp_inputs, inputs, 1e-12);
    }
}

/* Correlations of a latent with the outcome, which is time where the event was seen. */
static double latent_outcome(const LobDemo *demo, bool immune_in_treated) {
    g_autofree double *x = g_new(double, demo->n_patients);
    g_autofree double *y = g_new(double, demo->n_patients);
    size_t n = 0;
    for (size_t i = 0; i < demo->n_patients; i++) {
        const LobDemoPatient *p = &demo->patients[i];
        if (immune_in_treated && (p->arm & 1) == 0)
            continue;
        x[n] = immune_in_treated ? p->immune : p->grade;
        y[n++] = log(p->time_days);
    }
    return correlation(x, y, n);
}

Test(demo_cohort, sharp_null_has_no_path_from_image_to_outcome) {
    for (int bags = 0; bags < 2; bags++) {
        g_autoptr(LobDemo) null = cohort(bags, 11, 20000, true), planted = cohort(bags, 11, 20000, false);
        cr_expect(fabs(latent_outcome(null, false)) < 0.022);
        cr_expect(fabs(latent_outcome(null, true)) < 0.032);
        cr_expect(latent_outcome(planted, false) < -0.3);
        cr_expect(latent_outcome(planted, true) > 0.1);
        g_autofree double *grade = g_new(double, null->n_patients), *size = g_new(double, null->n_patients);
        for (size_t i = 0; i < null->n_patients; i++) {
            const LobDemoPatient *p = &null->patients[i];
            grade[i] = p->grade;
            size[i] = p->tumor_size_cm;
            for (int arm = 1; arm < 4; arm++)
                cr_assert_float_eq(p->lp_arm[arm], p->lp_arm[0], 1e-15);
        }
        cr_expect(fabs(correlation(grade, size, null->n_patients)) < 0.022);
    }
}

Test(demo_cohort, a_seed_names_one_cohort) {
    g_autoptr(LobDemo) a = cohort(false, 21, 0, false), b = cohort(false, 21, 0, false);
    g_autoptr(LobDemo) c = cohort(false, 22, 0, false);
    cr_expect_eq(memcmp(&a->patients[7].grade, &b->patients[7].grade, sizeof(double)), 0);
    cr_expect_float_eq(a->patients[159].time_days, b->patients[159].time_days, 0);
    cr_expect(a->patients[7].grade < c->patients[7].grade || a->patients[7].grade > c->patients[7].grade);
}

static void check_tables(bool bags) {
    g_autoptr(GError) err = NULL;
    g_autofree char *dir = g_dir_make_tmp("lobule-demo-XXXXXX", &err);
    g_autoptr(LobDemo) demo = cohort(bags, 1, 0, false);
    cr_assert(lob_demo_write_tables(demo, dir, &err), "%s", err ? err->message : "");
    g_autofree char *study_path = g_build_filename(dir, "study.yaml", NULL);
    g_autofree char *features = g_build_filename(dir, "features", NULL);
    cr_assert_eq(g_mkdir(features, 0700), 0);
    g_autoptr(LobStudy) study = lob_study_read(study_path, NULL, &err);
    cr_assert_not_null(study, "%s", err ? err->message : "");
    g_autoptr(LobCohort) read = lob_cohort_read(study, &err);
    cr_assert_not_null(read, "%s", err ? err->message : "");
    cr_expect_eq(read->n_patients, demo->n_patients);
    cr_expect_eq(read->n_slides, demo->n_slides);
    cr_expect_eq(read->n_centers, (size_t)demo->options.centers);
    for (size_t i = 0; i < read->n_patients; i++) {
        cr_assert(lob_cohort_usable(read, 0, i));
        cr_assert_eq(read->event[0][i], demo->patients[i].event);
    }
    static const char *const names[] = {"study.yaml", "slides.csv", "patients.csv", "truth.csv"};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(dir, names[i], NULL);
        cr_expect_eq(g_unlink(path), 0);
    }
    cr_expect_eq(g_rmdir(features) + g_rmdir(dir), 0);
}

Test(demo_cohort, the_study_reads_its_own_tables) {
    check_tables(false);
    check_tables(true);
}

Test(demo_cohort, patients_table_leaks_no_truth) {
    static const char *const wanted[] = {"patient_id", "center",    "age",      "sex",      "tumor_size_cm",
                                         "mvi",        "afp_log10", "arm",      "tace_day", "systemic_day",
                                         "rfs_days",   "rfs_event", "os_days",  "os_event", "relapse",
                                         "cd8_high",   "pdl1_high", "response", "ae34",     "til_score"};
    g_autoptr(GError) err = NULL;
    g_autofree char *dir = g_dir_make_tmp("lobule-demo-XXXXXX", &err);
    g_autoptr(LobDemo) demo = cohort(false, 1, 0, false);
    cr_assert(lob_demo_write_tables(demo, dir, &err));
    g_autofree char *path = g_build_filename(dir, "patients.csv", NULL);
    g_autoptr(LobTable) table = lob_table_read(path, &err);
    cr_assert_eq(lob_table_columns(table), G_N_ELEMENTS(wanted));
    for (size_t c = 0; c < G_N_ELEMENTS(wanted); c++)
        cr_expect_str_eq(lob_table_column_name(table, c), wanted[c]);
}
