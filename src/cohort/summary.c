/* Centers x arms x events for people, and warnings. */
#include "cohort/cohort_internal.h"

#include <math.h>
#include <string.h>

static const size_t no_center = SIZE_MAX;

/* Usable patients of an endpoint; center no_center = all, arm -2 = all. *events: those with event 1 (class
 * 1). */
static size_t count(const LobCohort *cohort, size_t endpoint, size_t center, int arm, size_t *events) {
    size_t n = 0;
    *events = 0;
    for (size_t p = 0; p < cohort->n_patients; p++) {
        if ((center != no_center && cohort->patients[p].center != center) ||
            (arm != -2 && cohort->arm_at[endpoint][p] != arm) || !lob_cohort_usable(cohort, endpoint, p))
            continue;
        n++;
        *events += cohort->event[endpoint][p] == 1;
    }
    return n;
}

/* Fixed-width by characters, not bytes. */
static void pad(GString *text, const char *cell, size_t width, bool left) {
    size_t length = (size_t)g_utf8_strlen(cell, -1);
    size_t blanks = length < width ? width - length : 0;
    if (left)
        g_string_append(text, cell);
    for (size_t i = 0; i < blanks; i++)
        g_string_append_c(text, ' ');
    if (!left)
        g_string_append(text, cell);
}

static size_t center_width(const LobCohort *cohort) {
    size_t width = strlen("all centers");
    for (size_t c = 0; c < cohort->n_centers; c++)
        width = MAX(width, (size_t)g_utf8_strlen(cohort->centers[c], -1));
    return width;
}

static size_t column_width(const char *heading) {
    return MAX((size_t)g_utf8_strlen(heading, -1), strlen("10000/10000")) + 2;
}

static void append_row(const LobCohort *cohort, size_t endpoint, size_t center, GString *text) {
    const LobStudy *study = cohort->study;
    size_t slides = 0, events = 0;
    for (size_t p = 0; p < cohort->n_patients; p++)
        if ((center == no_center || cohort->patients[p].center == center) &&
            lob_cohort_usable(cohort, endpoint, p))
            slides += cohort->patients[p].n_slides;
    pad(text, center == no_center ? "all centers" : cohort->centers[center], center_width(cohort), true);
    size_t n = count(cohort, endpoint, center, -2, &events);
    g_string_append_printf(text, "  %8zu  %7zu  %7zu", n, events, slides);
    for (int arm = 0; study->arm_column != NULL && arm <= (int)study->n_arms; arm++) {
        bool missing = arm == (int)study->n_arms;
        n = count(cohort, endpoint, center, missing ? -1 : arm, &events);
        g_autofree char *cell = g_strdup_printf("%zu/%zu", n, events);
        pad(text, cell, column_width(missing ? "unknown" : study->arms[arm].name), false);
    }
    g_string_append_c(text, '\n');
}

static void append_endpoint(const LobCohort *cohort, size_t endpoint, GString *text) {
    const LobStudy *study = cohort->study;
    const LobEndpoint *e = &study->endpoints[endpoint];
    g_string_append_printf(text, "endpoint %s", e->name);
    if (e->kind == LOB_ENDPOINT_SURVIVAL && e->landmark > 0)
        g_string_append_printf(text, " (survival, at risk at day %g)", e->landmark);
    else if (e->kind == LOB_ENDPOINT_SURVIVAL)
        g_string_append(text, " (survival)");
    else
        g_string_append_printf(text, " (%zu classes; events = class '%s')",
                               (size_t)g_strv_length(cohort->labels[endpoint]), cohort->labels[endpoint][1]);
    g_string_append(text, study->arm_column != NULL ? "; arms: patients/events\n" : "\n");
    pad(text, "center", center_width(cohort), true);
    g_string_append(text, "  patients   events   slides");
    for (size_t arm = 0; study->arm_column != NULL && arm <= study->n_arms; arm++) {
        const char *heading = arm == study->n_arms ? "unknown" : study->arms[arm].name;
        pad(text, heading, column_width(heading), false);
    }
    g_string_append_c(text, '\n');
    for (size_t c = 0; c < cohort->n_centers; c++)
        append_row(cohort, endpoint, c, text);
    append_row(cohort, endpoint, no_center, text);
}

char *lob_cohort_summary(const LobCohort *cohort) {
    GString *text = g_string_new(NULL);
    g_string_append_printf(text, "%zu patients, %zu slides, %zu centers\n", cohort->n_patients,
                           cohort->n_slides, cohort->n_centers);
    g_string_append(text, cohort->flow);
    for (size_t e = 0; e < cohort->study->n_endpoints; e++) {
        g_string_append_c(text, '\n');
        append_endpoint(cohort, e, text);
    }
    return g_string_free(text, FALSE);
}

/* ---- warnings ---- */

static void warn_patients(const LobCohort *cohort) {
    size_t without = 0;
    const char *first = NULL;
    for (size_t p = 0; p < cohort->n_patients; p++)
        if (cohort->patients[p].n_slides == 0 && without++ == 0)
            first = cohort->patients[p].patient_id;
    if (without > 0)
        lob_warning("%zu of %zu patients have no slide (the first: '%s')", without, cohort->n_patients,
                    first);
}

/* Blocks of several patients on one slide, told apart by masks, are no fault. */
static void warn_shared_files(const LobCohort *cohort) {
    g_autoptr(GHashTable) of = g_hash_table_new(g_str_hash, g_str_equal);
    const LobCohortSlide *first = NULL, *second = NULL;
    size_t n = 0;
    for (size_t s = 0; s < cohort->n_slides; s++) {
        LobCohortSlide *slide = &cohort->slides[s];
        const LobCohortSlide *before = slide->path ? g_hash_table_lookup(of, slide->path) : NULL;
        if (slide->path && !before)
            g_hash_table_insert(of, slide->path, slide);
        if (!before || before->patient == slide->patient)
            continue;
        if (n++ == 0) {
            first = before;
            second = slide;
        }
    }
    if (n > 0)
        lob_warning("%zu of the slides: same file as a slide of another patient (the first: '%s' and '%s', "
                    "%s): without masks its tiles stand for both, maybe on both sides of a fold",
                    n, first->slide_id, second->slide_id, first->path);
}

static double longest_follow_up(const LobCohort *cohort, size_t endpoint) {
    double longest = 0;
    for (size_t p = 0; p < cohort->n_patients; p++)
        if (lob_cohort_usable(cohort, endpoint, p))
            longest = MAX(longest, cohort->time[endpoint][p]);
    return longest;
}

static void warn_outcomes(const LobCohort *cohort, size_t endpoint) {
    const LobEndpoint *e = &cohort->study->endpoints[endpoint];
    size_t half_known = 0, events = 0;
    for (size_t p = 0; e->kind == LOB_ENDPOINT_SURVIVAL && p < cohort->n_patients; p++)
        half_known += isnan(cohort->time[endpoint][p]) != (cohort->event[endpoint][p] < 0);
    if (half_known > 0)
        lob_warning("endpoint '%s': %zu patients have only one of time and event, and are left out", e->name,
                    half_known);
    const double longest = e->kind == LOB_ENDPOINT_SURVIVAL ? longest_follow_up(cohort, endpoint) : 0;
    for (size_t h = 0; longest > 0 && h < e->n_horizons; h++)
        if (e->horizons[h] > longest)
            lob_warning("endpoint '%s': horizon %g is beyond all follow-up; nothing can be estimated there",
                        e->name, e->horizons[h]);
    for (size_t c = 0; c < cohort->n_centers; c++) {
        size_t n = count(cohort, endpoint, c, -2, &events);
        if (n == 0)
            lob_warning("endpoint '%s': center '%s' has no usable patient", e->name, cohort->centers[c]);
        else if (events == 0 && e->kind == LOB_ENDPOINT_SURVIVAL)
            lob_warning("endpoint '%s': center '%s' has no event; nothing can be validated there", e->name,
                        cohort->centers[c]);
    }
}

static void warn_arms(const LobCohort *cohort, size_t endpoint) {
    const LobStudy *study = cohort->study;
    for (size_t arm = 0; arm < study->n_arms; arm++) {
        size_t centers = 0, last = 0, events = 0;
        for (size_t c = 0; c < cohort->n_centers; c++)
            if (count(cohort, endpoint, c, (int)arm, &events) > 0) {
                centers++;
                last = c;
            }
        if (centers == 0)
            lob_warning("endpoint '%s': no usable patient is in arm '%s'", study->endpoints[endpoint].name,
                        study->arms[arm].name);
        else if (centers == 1 && cohort->n_centers > 1)
            lob_warning("endpoint '%s': arm '%s' is present in center '%s' only; its effect cannot be told "
                        "from the center's",
                        study->endpoints[endpoint].name, study->arms[arm].name, cohort->centers[last]);
    }
}

/* Of patients whose course is still to come nothing is missing. */
static bool is_prospective(const LobCohort *cohort, size_t endpoint) {
    for (size_t p = 0; p < cohort->n_patients; p++)
        if (cohort->event[endpoint][p] >= 0 || !isnan(cohort->time[endpoint][p]))
            return false;
    return cohort->study->predicts;
}

void lob_cohort_warn(const LobCohort *cohort) {
    warn_patients(cohort);
    warn_shared_files(cohort);
    for (size_t e = 0; e < cohort->study->n_endpoints; e++) {
        if (is_prospective(cohort, e)) {
            lob_info("endpoint '%s': no outcome is known", cohort->study->endpoints[e].name);
            continue;
        }
        warn_outcomes(cohort, e);
        warn_arms(cohort, e);
    }
}
