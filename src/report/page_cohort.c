/* Who is in the study: flow, centers, arms, events, covariates. */
#include "report/report_internal.h"

#include <math.h>
#include <stdlib.h>

typedef struct {
    size_t patients, slides, usable, events;
    double person_years;
} Tally;

static Tally tally(const LobCohort *cohort, size_t endpoint, uint32_t center, int arm) {
    Tally t = {0};
    for (size_t p = 0; p < cohort->n_patients; p++) {
        const LobCohortPatient *patient = &cohort->patients[p];
        if (patient->center != center || (arm >= 0 && cohort->arm_at[endpoint][p] != arm))
            continue;
        t.patients++;
        t.slides += patient->n_slides;
        if (!lob_cohort_usable(cohort, endpoint, p))
            continue;
        t.usable++;
        t.events += cohort->event[endpoint][p] == 1;
        if (cohort->study->endpoints[endpoint].kind == LOB_ENDPOINT_SURVIVAL)
            t.person_years += cohort->time[endpoint][p] / 365.25;
    }
    return t;
}

static void table_of_centers(LobPage *page, size_t endpoint, LobCsv *csv) {
    const LobCohort *cohort = page->cohort;
    const bool survival = cohort->study->endpoints[endpoint].kind == LOB_ENDPOINT_SURVIVAL;
    g_autofree char *caption =
        g_strdup_printf("Centers, endpoint %s", cohort->study->endpoints[endpoint].name);
    lob_html_table_begin(
        page->html, caption,
        (const char *[]){"center", "arm", "patients", "slides", "analysed", "events", "person-years", NULL});
    for (uint32_t c = 0; c < cohort->n_centers; c++)
        for (int arm = -1; arm < (int)cohort->study->n_arms; arm++) {
            const Tally t = tally(cohort, endpoint, c, arm);
            const char *name = arm < 0 ? "all" : cohort->study->arms[arm].name;
            if (arm >= 0 && t.patients == 0)
                continue;
            lob_html_row_begin(page->html);
            lob_html_cell(page->html, cohort->centers[c]);
            lob_html_cell(page->html, name);
            lob_html_cell_number(page->html, (double)t.patients, 0);
            lob_html_cell_number(page->html, (double)t.slides, 0);
            lob_html_cell_number(page->html, (double)t.usable, 0);
            lob_html_cell_number(page->html, (double)t.events, 0);
            lob_html_cell_number(page->html, survival ? t.person_years : NAN, 1);
            lob_html_row_end(page->html);
            lob_csv_text(csv, cohort->study->endpoints[endpoint].name);
            lob_csv_text(csv, cohort->centers[c]);
            lob_csv_text(csv, name);
            lob_csv_integer(csv, (int64_t)t.patients);
            lob_csv_integer(csv, (int64_t)t.slides);
            lob_csv_integer(csv, (int64_t)t.usable);
            lob_csv_integer(csv, (int64_t)t.events);
            lob_csv_number(csv, survival ? t.person_years : NAN);
            lob_csv_end_row(csv);
        }
    lob_html_table_end(page->html);
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Number: median [quartiles]; text: count of each level. Missing counted apart. */
static char *describe(const LobCohort *cohort, size_t covariate, uint32_t center) {
    const size_t n_cov = cohort->study->n_covariates;
    g_autofree double *value = g_new(double, cohort->n_patients);
    size_t n = 0, missing = 0;
    for (size_t p = 0; p < cohort->n_patients; p++) {
        if (cohort->patients[p].center != center)
            continue;
        const double v = cohort->covariates[p * n_cov + covariate];
        if (isnan(v))
            missing++;
        else
            value[n++] = v;
    }
    GString *text = g_string_new(NULL);
    if (cohort->levels[covariate]) {
        for (size_t l = 0; cohort->levels[covariate][l]; l++) {
            size_t count = 0;
            for (size_t i = 0; i < n; i++)
                count += value[i] == (double)l;
            g_string_append_printf(text, "%s%s %zu", l ? ", " : "", cohort->levels[covariate][l], count);
        }
    } else if (n > 0) {
        qsort(value, n, sizeof *value, by_value);
        g_string_append_printf(text, "%.3g [%.3g, %.3g]", value[n / 2], value[n / 4], value[3 * n / 4]);
    }
    if (missing)
        g_string_append_printf(text, "%smissing %zu", text->len ? "; " : "", missing);
    return g_string_free(text, FALSE);
}

static void table_of_covariates(LobPage *page) {
    const LobCohort *cohort = page->cohort;
    g_autoptr(GPtrArray) columns = g_ptr_array_new();
    g_ptr_array_add(columns, (gpointer) "covariate");
    for (size_t c = 0; c < cohort->n_centers; c++)
        g_ptr_array_add(columns, cohort->centers[c]);
    g_ptr_array_add(columns, NULL);
    lob_html_table_begin(page->html, "Covariates by center: median [quartiles] or counts",
                         (const char *const *)columns->pdata);
    for (size_t v = 0; v < cohort->study->n_covariates; v++) {
        lob_html_row_begin(page->html);
        lob_html_cell(page->html, cohort->study->covariates[v]);
        for (uint32_t c = 0; c < cohort->n_centers; c++) {
            g_autofree char *text = describe(cohort, v, c);
            lob_html_cell(page->html, text);
        }
        lob_html_row_end(page->html);
    }
    lob_html_table_end(page->html);
}

bool lob_page_cohort(LobPage *page, GError **err) {
    const LobCohort *cohort = page->cohort;
    lob_html_section(page->html, "cohort", "Cohort",
                     "Who takes part, by center and arm, and what was observed.");
    if (cohort->flow && *cohort->flow) {
        g_string_append(page->html, "<h3>Flow</h3><ul>");
        g_auto(GStrv) lines = g_strsplit(cohort->flow, "\n", -1);
        for (size_t i = 0; lines[i]; i++)
            if (*lines[i]) {
                g_string_append(page->html, "<li>");
                lob_html_text(page->html, lines[i]);
                g_string_append(page->html, "</li>");
            }
        g_string_append(page->html, "</ul>\n");
    }
    g_autoptr(LobCsv) csv = lob_csv_new((const char *[]){"endpoint", "center", "arm", "patients", "slides",
                                                         "analysed", "events", "person_years", NULL});
    for (size_t e = 0; e < cohort->study->n_endpoints; e++)
        table_of_centers(page, e, csv);
    if (cohort->study->n_covariates)
        table_of_covariates(page);
    g_string_append(page->html, "</section>\n");
    return lob_page_save_data(page, csv, "cohort", err);
}
