/* Before any result: how many events there are where, and which effects they could show. */
#include "report/report_internal.h"

#include <math.h>

static bool table_of_contrasts(LobPage *page, const GArray *contrasts, GError **err) {
    const LobStudy *study = page->cohort->study;
    LobSheet *sheet = lob_sheet_new(
        page, "Contrasts of arms: what could be found",
        (const char *[]){"endpoint", "arm", "reference", "#patients, arm", "#events, arm",
                         "#patients, reference", "#events, reference", "#largest center's share of the arm",
                         "#detectable log HR per SD", "estimable?", NULL},
        "contrasts");
    for (guint i = 0; i < contrasts->len; i++) {
        const LobContrast *c = &g_array_index(contrasts, LobContrast, i);
        lob_sheet_text(sheet, study->endpoints[c->endpoint].name);
        lob_sheet_text(sheet, study->arms[c->arm].name);
        lob_sheet_text(sheet, study->arms[0].name);
        lob_sheet_number(sheet, (double)c->n[1], 0);
        lob_sheet_number(sheet, c->events[1], 0);
        lob_sheet_number(sheet, (double)c->n[0], 0);
        lob_sheet_number(sheet, c->events[0], 0);
        lob_sheet_number(sheet, c->center_share, 2);
        lob_sheet_number(sheet, c->detectable, 2);
        lob_sheet_text(sheet, c->reason ? c->reason : "yes, by counts");
    }
    return lob_sheet_end(sheet, err);
}

typedef struct {
    size_t n, events;
} Count;

static Count count(const LobPage *page, size_t e, int64_t center) {
    const LobCohort *cohort = page->cohort;
    Count c = {0};
    for (size_t p = 0; p < cohort->n_patients; p++)
        if ((center < 0 || cohort->patients[p].center == (uint32_t)center) && lob_page_analysed(page, e, p)) {
            c.n++;
            c.events += cohort->event[e][p] == 1;
        }
    return c;
}

static bool table_of_events(LobPage *page, GError **err) {
    const LobCohort *cohort = page->cohort;
    LobSheet *sheet = lob_sheet_new(
        page, "Events for validation: at least 100, better 200, a validation set",
        (const char *[]){"endpoint", "center", "#patients", "#events", "enough?", NULL}, "events");
    for (size_t e = 0; e < cohort->study->n_endpoints; e++) {
        const char *endpoint = cohort->study->endpoints[e].name;
        size_t weak = 0;
        for (int64_t c = -1; c < (int64_t)cohort->n_centers; c++) {
            const Count k = count(page, e, c);
            lob_sheet_text(sheet, endpoint);
            lob_sheet_text(sheet, c < 0 ? LOB_ALL : cohort->centers[c]);
            lob_sheet_number(sheet, (double)k.n, 0);
            lob_sheet_number(sheet, (double)k.events, 0);
            lob_sheet_text(sheet, k.events < 20    ? "fewer than 20: O/E only"
                                  : k.events < 100 ? "fewer than 100"
                                  : k.events < 200 ? "100 to 199"
                                                   : "yes");
            weak += c >= 0 && k.events < 100;
        }
        if (weak)
            lob_page_caveat(page,
                            "Endpoint %s: %zu of %zu centers have fewer than 100 events; their own "
                            "figures are imprecise.",
                            endpoint, weak, cohort->n_centers);
    }
    return lob_sheet_end(sheet, err);
}

bool lob_page_power(LobPage *page, GError **err) {
    lob_html_section(
        page->html, "power", "What these data could show",
        "Events by center and arm, and the smallest effect they would find. It depends on counts "
        "alone, not on any result below.");
    if (!table_of_events(page, err))
        return false;
    g_autoptr(GArray) contrasts = lob_contrasts(page);
    if (contrasts->len && !table_of_contrasts(page, contrasts, err))
        return false;
    if (contrasts->len)
        g_string_append(
            page->html,
            "<p class=\"note\">Detectable: log hazard ratio per SD of an effect score that a test of "
            "interaction finds with 80 % power at one-sided 2.5 % (Schoenfeld). Estimable asks for 30 "
            "events an arm and no more than 80 % of the arm from one center.</p>\n");
    lob_html_section_end(page->html);
    return true;
}
