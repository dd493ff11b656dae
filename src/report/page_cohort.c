/* Who is in the study: flow, centers, arms, events, covariates. */
#include "report/report_internal.h"

#include <math.h>
#include <stdlib.h>

typedef struct {
    size_t patients, slides, usable, events;
    double person_years;
} Tally;

static Tally tally(const LobPage *page, size_t endpoint, uint32_t center, int arm) {
    const LobCohort *cohort = page->cohort;
    Tally t = {0};
    for (size_t p = 0; p < cohort->n_patients; p++) {
        const LobCohortPatient *patient = &cohort->patients[p];
        if (!patient->eligible || patient->center != center ||
            (arm >= 0 && cohort->arm_at[endpoint][p] != arm))
            continue;
        t.patients++;
        t.slides += patient->n_slides;
        if (!lob_page_analysed(page, endpoint, p))
            continue;
        t.usable++;
        t.events += cohort->event[endpoint][p] == 1;
        if (cohort->study->endpoints[endpoint].kind == LOB_ENDPOINT_SURVIVAL)
            t.person_years += cohort->time[endpoint][p] / 365.25;
    }
    return t;
}

static bool table_of_centers(LobPage *page, size_t endpoint, GError **err) {
    const LobCohort *cohort = page->cohort;
    const LobStudy *study = cohort->study;
    const bool survival = study->endpoints[endpoint].kind == LOB_ENDPOINT_SURVIVAL;
    g_autofree char *caption =
        g_strdup_printf("Centers and arms, endpoint %s", study->endpoints[endpoint].name);
    LobSheet *sheet = lob_sheet_new(page, caption,
                                    (const char *[]){"center", "arm", "#patients", "#slides", "#analysed",
                                                     "#events", "#person-years", NULL},
                                    "cohort_%zu", endpoint + 1);
    for (uint32_t c = 0; c < cohort->n_centers; c++)
        for (int arm = -1; arm < (int)study->n_arms; arm++) {
            const Tally t = tally(page, endpoint, c, arm);
            if (arm >= 0 && t.patients == 0)
                continue;
            lob_sheet_text(sheet, cohort->centers[c]);
            lob_sheet_text(sheet, arm < 0 ? "all" : study->arms[arm].name);
            lob_sheet_number(sheet, (double)t.patients, 0);
            lob_sheet_number(sheet, (double)t.slides, 0);
            lob_sheet_number(sheet, (double)t.usable, 0);
            lob_sheet_number(sheet, (double)t.events, 0);
            lob_sheet_number(sheet, survival ? t.person_years : NAN, 1);
        }
    return lob_sheet_end(sheet, err);
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Who stands in a column of table 1: a center's patients, or an arm's under the first endpoint. */
typedef struct {
    bool by_arm;
    uint32_t index;
} Group;

static bool in_group(const LobCohort *cohort, size_t p, Group group) {
    return cohort->patients[p].eligible && (group.by_arm ? cohort->arm_at[0][p] == (int8_t)group.index
                                                         : cohort->patients[p].center == group.index);
}

static bool is_yes_no(const double *value, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (value[i] != 0 && value[i] != 1)
            return false;
    return true;
}

/* Number: median [quartiles]; 0/1: count of 1; text: count of each level. Missing counted apart. */
static char *describe(const LobCohort *cohort, size_t covariate, Group group) {
    const size_t n_cov = cohort->study->n_covariates;
    g_autofree double *value = g_new(double, cohort->n_patients);
    size_t n = 0, missing = 0;
    for (size_t p = 0; p < cohort->n_patients; p++) {
        if (!in_group(cohort, p, group))
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
    } else if (n > 0 && is_yes_no(value, n)) {
        size_t ones = 0;
        for (size_t i = 0; i < n; i++)
            ones += value[i] == 1;
        g_string_append_printf(text, "%zu (%.0f %%)", ones, 100.0 * (double)ones / (double)n);
    } else if (n > 0) {
        qsort(value, n, sizeof *value, by_value);
        g_string_append_printf(text, "%.3g [%.3g, %.3g]", value[n / 2], value[n / 4], value[3 * n / 4]);
    }
    if (missing)
        g_string_append_printf(text, "%smissing %zu", text->len ? "; " : "", missing);
    return g_string_free(text, FALSE);
}

static size_t group_size(const LobCohort *cohort, Group group) {
    size_t n = 0;
    for (size_t p = 0; p < cohort->n_patients; p++)
        n += in_group(cohort, p, group);
    return n;
}

static bool table_one(LobPage *page, bool by_arm, GError **err) {
    const LobCohort *cohort = page->cohort;
    const size_t groups = by_arm ? cohort->study->n_arms : cohort->n_centers;
    g_autoptr(GPtrArray) columns = g_ptr_array_new();
    g_ptr_array_add(columns, (gpointer) "covariate");
    for (size_t g = 0; g < groups; g++)
        g_ptr_array_add(columns, by_arm ? cohort->study->arms[g].name : cohort->centers[g]);
    g_ptr_array_add(columns, NULL);
    LobSheet *sheet =
        lob_sheet_new(page,
                      by_arm ? "Table 1 by arm: median [quartiles], or count (of 1 where coded 0/1)"
                             : "Table 1 by center: median [quartiles], or count (of 1 where coded 0/1)",
                      (const char *const *)columns->pdata, "table1_by_%s", by_arm ? "arm" : "center");
    lob_sheet_text(sheet, "patients");
    for (uint32_t g = 0; g < groups; g++) {
        g_autofree char *size = g_strdup_printf("%zu", group_size(cohort, (Group){by_arm, g}));
        lob_sheet_text(sheet, size);
    }
    for (size_t v = 0; v < cohort->study->n_covariates; v++) {
        lob_sheet_text(sheet, cohort->study->covariates[v]);
        for (uint32_t g = 0; g < groups; g++) {
            g_autofree char *text = describe(cohort, v, (Group){by_arm, g});
            lob_sheet_text(sheet, text);
        }
    }
    return lob_sheet_end(sheet, err);
}

static void flow_of_predicted(LobPage *page, size_t endpoint) {
    size_t usable = 0, analysed = 0;
    for (size_t p = 0; p < page->cohort->n_patients; p++) {
        usable += lob_cohort_usable(page->cohort, endpoint, p);
        analysed += lob_page_analysed(page, endpoint, p);
    }
    g_string_append(page->html, "<li>");
    lob_html_text(page->html, page->cohort->study->endpoints[endpoint].name);
    lob_html_printf(page->html, ", with usable tiles and a prediction: %zu left (%zu without)</li>", analysed,
                    usable - analysed);
}

static void flow(LobPage *page) {
    const LobCohort *cohort = page->cohort;
    if (!cohort->flow || !*cohort->flow)
        return;
    lob_html_heading(page->html, "Flow");
    g_string_append(page->html, "<ul>");
    g_auto(GStrv) lines = g_strsplit(cohort->flow, "\n", -1);
    for (size_t i = 0; lines[i]; i++)
        if (*lines[i]) {
            g_string_append(page->html, "<li>");
            lob_html_text(page->html, lines[i]);
            g_string_append(page->html, "</li>");
        }
    for (size_t e = 0; page->predicted && e < cohort->study->n_endpoints; e++)
        flow_of_predicted(page, e);
    g_string_append(page->html, "</ul>\n");
}

bool lob_page_cohort(LobPage *page, GError **err) {
    const LobStudy *study = page->cohort->study;
    lob_html_section(page->html, "cohort", "Cohort",
                     "Who takes part, by center and arm, and what was observed.");
    flow(page);
    for (size_t e = 0; e < study->n_endpoints; e++)
        if (!table_of_centers(page, e, err))
            return false;
    if (study->n_covariates && !table_one(page, false, err))
        return false;
    if (study->n_covariates && study->arm_column && !table_one(page, true, err))
        return false;
    lob_html_section_end(page->html);
    return true;
}
