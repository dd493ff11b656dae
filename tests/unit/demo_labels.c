/* What is planted beside recurrence-free survival, and the ways a cohort can be made harder. */
#include "demo/demo.h"

#include <criterion/criterion.h>
#include <glib/gstdio.h>
#include <math.h>

static LobDemoOptions large(void) {
    LobDemoOptions options;
    lob_demo_defaults(&options, true);
    options.patients = 20000;
    options.seed = 4;
    return options;
}

/* Probability that a patient with the label has the larger value than one without. */
typedef struct {
    double value;
    int label;
} Ranked;

static int by_value(const void *a, const void *b) {
    const Ranked *x = a, *y = b;
    return (x->value > y->value) - (x->value < y->value);
}

static double auc(Ranked *rows, size_t n) {
    double above = 0, negatives = 0, positives = 0;
    qsort(rows, n, sizeof *rows, by_value);
    for (size_t i = 0; i < n; i++) {
        positives += rows[i].label == 1;
        negatives += rows[i].label == 0;
        above += rows[i].label == 1 ? negatives : 0;
    }
    return above / positives / negatives;
}

Test(demo_labels, immune_labels_follow_the_immune_latent) {
    LobDemoOptions options = large();
    g_autoptr(LobDemo) demo = lob_demo_new(&options);
    g_autofree Ranked *rows = g_new(Ranked, demo->n_patients);
    double high[2] = {0}, area[2];
    for (int label = 0; label < 2; label++) {
        for (size_t i = 0; i < demo->n_patients; i++) {
            const LobDemoPatient *p = &demo->patients[i];
            rows[i] = (Ranked){p->immune, label ? p->pdl1_high : p->cd8_high};
            high[label] += rows[i].label / (double)demo->n_patients;
        }
        area[label] = auc(rows, demo->n_patients);
    }
    cr_expect(fabs(high[0] - 0.5) < 0.015, "CD8 high in %.3f", high[0]);
    cr_expect(fabs(high[1] - 0.309) < 0.015, "PD-L1 high in %.3f", high[1]);
    cr_expect(area[0] > 0.97, "AUC of immune for CD8 %.3f", area[0]);
    cr_expect(area[1] > 0.88 && area[1] < area[0], "AUC of immune for PD-L1 %.3f", area[1]);
}

Test(demo_labels, response_and_adverse_events_are_of_the_treated) {
    LobDemoOptions options = large();
    g_autoptr(LobDemo) demo = lob_demo_new(&options);
    double expected[2] = {0}, seen[2] = {0}, n = 0;
    for (size_t i = 0; i < demo->n_patients; i++) {
        const LobDemoPatient *p = &demo->patients[i];
        cr_assert_eq(p->response < 0, p->arm == 0);
        cr_assert_eq(p->ae34 < 0, p->arm == 0);
        if (p->arm == 0)
            continue;
        n++;
        expected[0] += p->p_response[p->arm];
        expected[1] += p->p_ae[p->arm];
        seen[0] += p->response;
        seen[1] += p->ae34;
    }
    for (int k = 0; k < 2; k++)
        cr_expect(fabs(seen[k] - expected[k]) < 3.5 * sqrt(n * 0.25), "%.0f of %.0f", seen[k], expected[k]);
    cr_expect(seen[0] / n > 0.25 && seen[0] / n < 0.6, "responses %.2f", seen[0] / n);
    cr_expect(seen[1] / n > 0.1 && seen[1] / n < 0.35, "adverse events %.2f", seen[1] / n);
}

Test(demo_labels, death_comes_after_recurrence_or_instead_of_it) {
    LobDemoOptions options = large();
    g_autoptr(LobDemo) demo = lob_demo_new(&options);
    int deaths = 0, first = 0, events = 0;
    for (size_t i = 0; i < demo->n_patients; i++) {
        const LobDemoPatient *p = &demo->patients[i];
        cr_assert(p->os_days >= p->time_days && p->os_days <= p->censor_days);
        cr_assert(!p->os_event || p->event);
        cr_assert_eq(p->relapse == 0, p->event == 0);
        cr_assert(p->relapse != 2 || (p->os_event && p->os_days <= p->time_days));
        cr_assert(p->os_event || p->os_days >= p->censor_days);
        deaths += p->os_event;
        first += p->relapse == 2;
        events += p->event;
    }
    cr_expect(deaths > events / 4 && deaths < events * 3 / 4, "%d deaths, %d first events", deaths, events);
    cr_expect(fabs(first / (double)events - 0.08) < 0.01);
}

Test(demo_labels, labels_move_nothing_else) {
    LobDemoOptions options = large(), other = large();
    options.patients = other.patients = 50;
    other.missing = LOB_DEMO_MISSING_RANDOM;
    other.endpoints = LOB_DEMO_OS | LOB_DEMO_CD8;
    g_autoptr(LobDemo) a = lob_demo_new(&options), b = lob_demo_new(&other);
    for (size_t i = 0; i < 50; i++) {
        cr_assert_float_eq(a->patients[i].time_days, b->patients[i].time_days, 0);
        cr_assert_float_eq(a->patients[i].immune, b->patients[i].immune, 0);
        cr_assert_eq(a->patients[i].cd8_high, b->patients[i].cd8_high);
    }
}

/* Log odds ratio of TACE between patients above and below average. */
static double leaning(const LobDemo *demo, bool grade) {
    double n[2][2] = {{0}};
    for (size_t i = 0; i < demo->n_patients; i++) {
        const LobDemoPatient *p = &demo->patients[i];
        n[grade ? p->grade > 0 : p->tumor_size_cm > 5][p->arm & 1]++;
    }
    return log(n[1][1] * n[0][0] / n[1][0] / n[0][1]);
}

Test(demo_labels, indication_can_be_measured_or_hidden) {
    LobDemoOptions plain = large(), none = large(), hidden = large();
    plain.null = none.null = hidden.null = true; /* no link of size and grade */
    none.indication = 0;
    hidden.hidden_indication = 0.8;
    g_autoptr(LobDemo) a = lob_demo_new(&plain), b = lob_demo_new(&none), c = lob_demo_new(&hidden);
    cr_expect(leaning(a, false) > 0.7 && fabs(leaning(b, false)) < 0.15);
    cr_expect(fabs(leaning(a, true)) < 0.15 && leaning(c, true) > 0.7);
}

Test(demo_labels, one_center_can_give_most_of_an_arm_and_effects_differ) {
    LobDemoOptions options = large();
    options.center_lean = 2;
    options.center_effect_sd = 0.3;
    g_autoptr(LobDemo) demo = lob_demo_new(&options);
    double treated = 0, first = 0, least = INFINITY, most = -INFINITY;
    for (size_t i = 0; i < demo->n_patients; i++) {
        const LobDemoPatient *p = &demo->patients[i];
        treated += p->arm & 1;
        first += p->center == 0 && (p->arm & 1);
        least = fmin(least, p->center_tace);
        most = fmax(most, p->center_tace);
        cr_assert_float_eq(p->lp_arm[1] - p->lp_arm[0], -0.10 - 0.70 * p->immune + p->center_tace, 1e-12);
    }
    cr_expect(first / treated > 0.5, "%.2f of the arm in the first center", first / treated);
    cr_expect(most - least > 0.2);
}

/* Events per year at risk of the treated against the untreated, on the log scale, in a window of years. */
static double window_ratio(const LobDemo *demo, double from, double to) {
    double events[2] = {0}, years[2] = {0};
    for (size_t i = 0; i < demo->n_patients; i++) {
        const LobDemoPatient *p = &demo->patients[i];
        double t = (p->time_days - LOB_DEMO_LANDMARK_DAYS) / 365.25;
        if (p->arm > 1)
            continue;
        years[p->arm] += fmax(fmin(t, to) - from, 0);
        events[p->arm] += p->event && t > from && t <= to;
    }
    return log(events[1] / years[1] / (events[0] / years[0]));
}

Test(demo_labels, an_early_effect_ends_after_two_years) {
    LobDemoOptions options = large();
    options.centers = 1; /* else centers confound a crude rate */
    options.early = true;
    options.indication = 0;
    options.grade_effect = options.covariate_effect = options.tace_immune_effect = 0;
    options.tace_effect = -0.8;
    g_autoptr(LobDemo) demo = lob_demo_new(&options);
    cr_expect(fabs(window_ratio(demo, 0, 2) + 0.8) < 0.1, "%.3f", window_ratio(demo, 0, 2));
    cr_expect(fabs(window_ratio(demo, 2, 6)) < 0.15, "%.3f", window_ratio(demo, 2, 6));
    const LobDemoPatient *p = &demo->patients[0];
    double sum = 0, early = exp(p->lp_arm[1]), late = exp(p->lp_arm[0]);
    enum { N = 100000 };
    for (int k = 0; k < N; k++) {
        double t = 5.0 * (k + 0.5) / N, base = pow(0.3 * fmin(t, 2), 0.9);
        sum += exp(-base * early - (pow(0.3 * fmax(t, 2), 0.9) - pow(0.6, 0.9)) * late);
    }
    cr_expect_float_eq(p->rmst_arm[1], sum / N * 5.0 * 365.25, 0.5);
}

/* Empty cells of a column of patients.csv, by center or by whether the true value is large. */
static void count_holes(LobDemoMissing missing, const char *column, double share[2], double *last_center) {
    LobDemoOptions options = large();
    g_autoptr(GError) err = NULL;
    g_autofree char *dir = g_dir_make_tmp("lobule-holes-XXXXXX", &err);
    options.patients = 4000;
    options.missing = missing;
    g_autoptr(LobDemo) demo = lob_demo_new(&options);
    cr_assert(lob_demo_write_tables(demo, dir, &err), "%s", err ? err->message : "");
    g_autofree char *path = g_build_filename(dir, "patients.csv", NULL);
    g_autoptr(LobTable) table = lob_table_read(path, &err);
    int c = lob_table_find(table, column);
    double n[2] = {0}, in_last = 0;
    share[0] = share[1] = *last_center = 0;
    for (size_t i = 0; i < demo->n_patients; i++) {
        const LobDemoPatient *p = &demo->patients[i];
        int side = p->tumor_size_cm > 5;
        double value;
        cr_assert(lob_table_number(table, i, c, &value, &err));
        n[side]++;
        share[side] += isnan(value);
        in_last += p->center == 5;
        *last_center += p->center == 5 && isnan(value);
    }
    share[0] /= n[0];
    share[1] /= n[1];
    *last_center /= in_last;
}

Test(demo_labels, cells_are_missing_at_random_by_value_or_by_center) {
    double share[2], last;
    count_holes(LOB_DEMO_COMPLETE, "tumor_size_cm", share, &last);
    cr_expect(share[0] <= 0 && share[1] <= 0);
    count_holes(LOB_DEMO_MISSING_RANDOM, "mvi", share, &last);
    cr_expect(fabs(share[0] - 0.2) < 0.04 && fabs(share[1] - 0.2) < 0.04);
    count_holes(LOB_DEMO_MISSING_VALUE, "tumor_size_cm", share, &last);
    cr_expect(share[1] > share[0] + 0.1, "%.2f of the large, %.2f of the small", share[1], share[0]);
    count_holes(LOB_DEMO_MISSING_COLUMN, "mvi", share, &last);
    cr_expect(last >= 1 && share[0] < 0.3);
}
