/* study.yaml: what the report is asked to draw. */
#include "cohort/cohort_internal.h"

#include <criterion/criterion.h>
#include <string.h>

#define BASE "study: s\ncohort: {slides: /dev/null, patients: /dev/null}\n"

static LobStudy *parse(const char *text, GError **error) {
    return lob_study_parse("/dev/study.yaml", text, strlen(text), NULL, error);
}

Test(cohort_report, defaults_and_given) {
    g_autoptr(GError) error = NULL;
    g_autoptr(LobStudy)
        plain = parse(BASE, &error),
        given = parse(
            BASE "report: {heatmaps: 0, patients: [P1, \"P 2\"], regions: /tmp, attention: false}\n", &error);
    cr_assert(plain && given, "%s", error ? error->message : "");
    cr_expect(plain->report.heatmaps == 1 && !plain->report.patients && !plain->report.regions);
    cr_expect(given->report.heatmaps == 0 && g_strv_length(given->report.patients) == 2);
    cr_expect_str_eq(given->report.patients[1], "P 2");
    cr_expect_str_eq(given->report.regions, "/tmp");
    cr_expect(plain->report.attention == -1 && given->report.attention == 0);
}

Test(cohort_report, refused) {
    static const char *const bad[] = {"{heatmaps: -1}",      "{heatmaps: some}", "{patients: P1}",
                                      "{regions: /no/such}", "{heatmap: 1}",     "{attention: 1}"};
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autofree char *text = g_strdup_printf(BASE "report: %s\n", bad[i]);
        g_autoptr(GError) error = NULL;
        cr_expect_null(parse(text, &error), "accepted: %s", bad[i]);
        cr_expect(error && strstr(error->message, "report"), "%s", error ? error->message : "");
    }
}
