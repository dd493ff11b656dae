/* Whether the ranking holds in every kind of patient: concordance within centers, by arm and by covariate. */
#include "report/report_internal.h"

#include <math.h>

#define LEAST_EVENTS 10
#define MOST_LEVELS 8

typedef struct {
    LobPage *page;
    const LobSample *all;
    LobSheet *sheet;
} Subgroups;

static void row(const Subgroups *g, const char *what, const char *level, const uint8_t *keep) {
    g_auto(LobSample) s = {0};
    lob_sample_take(&s, g->all, keep);
    if (s.n == 0)
        return;
    const LobFollowUp data = lob_sample_follow_up(&s, true);
    g_auto(LobConcordance) c = {0};
    lob_concordance(&c, &data, s.lp, NULL);
    const bool few = s.events < LEAST_EVENTS;
    lob_sheet_text(g->sheet, what);
    lob_sheet_text(g->sheet, level);
    lob_sheet_number(g->sheet, few ? NAN : c.c, 3);
    lob_sheet_number(g->sheet, few ? NAN : c.lower, 3);
    lob_sheet_number(g->sheet, few ? NAN : c.upper, 3);
    lob_sheet_number(g->sheet, (double)s.n, 0);
    lob_sheet_number(g->sheet, s.events, 0);
    lob_sheet_text(g->sheet, few ? "fewer than 10 events" : c.reason ? c.reason : "");
}

static double covariate_of(const Subgroups *g, size_t v, size_t i) {
    const LobCohort *cohort = g->page->cohort;
    const uint32_t p = g->all->patient[i];
    return p == LOB_NO_INDEX ? NAN : cohort->covariates[p * cohort->study->n_covariates + v];
}

/* Numbers are split at the cohort's median, or above the least value where that is the median (0/1). */
static void by_number(const Subgroups *g, size_t v, uint8_t *keep) {
    const size_t n = g->all->n;
    g_autofree double *known = g_new(double, n + 1);
    size_t k = 0;
    double least = INFINITY, most = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        const double x = covariate_of(g, v, i);
        if (isnan(x))
            continue;
        known[k++] = x;
        least = fmin(least, x);
        most = fmax(most, x);
    }
    if (k == 0 || least == most)
        return;
    double cut = lob_quantile(known, k, 0.5);
    cut = cut >= most ? least : cut;
    for (int above = 0; above < 2; above++) {
        for (size_t i = 0; i < n; i++) {
            const double x = covariate_of(g, v, i);
            keep[i] = !isnan(x) && (x > cut) == (above == 1);
        }
        g_autofree char *level = g_strdup_printf(above ? "above %g" : cut > least ? "at most %g" : "%g", cut);
        row(g, g->page->cohort->study->covariates[v], level, keep);
    }
}

static void by_text(const Subgroups *g, size_t v, uint8_t *keep) {
    char **levels = g->page->cohort->levels[v];
    for (size_t l = 0; levels[l] && l < MOST_LEVELS; l++) {
        for (size_t i = 0; i < g->all->n; i++)
            keep[i] = covariate_of(g, v, i) == (double)l;
        row(g, g->page->cohort->study->covariates[v], levels[l], keep);
    }
}

static bool table(LobPage *page, const LobSample *all, GError **err) {
    const LobStudy *study = page->cohort->study;
    g_autofree char *caption = g_strdup_printf(
        "Concordance by subgroup, pairs within centers, endpoint %s, model %s", all->endpoint, all->model);
    Subgroups g = {page, all,
                   lob_sheet_new(page, caption,
                                 (const char *[]){"subgroup of", "level", "#concordance", "#lower", "#upper",
                                                  "#n", "#events", "note", NULL},
                                 "subgroups_%zu", all->index + 1)};
    g_autofree uint8_t *keep = g_new(uint8_t, all->n + 1);
    for (uint32_t a = 0; study->arm_column && a < study->n_arms; a++) {
        for (size_t i = 0; i < all->n; i++)
            keep[i] = all->arm[i] == a;
        row(&g, "arm", study->arms[a].name, keep);
    }
    for (size_t v = 0; v < study->n_covariates; v++)
        if (page->cohort->levels[v])
            by_text(&g, v, keep);
        else
            by_number(&g, v, keep);
    return lob_sheet_end(g.sheet, err);
}

bool lob_page_subgroups(LobPage *page, GError **err) {
    const LobStudy *study = page->cohort->study;
    if (!page->predictions || (study->n_covariates == 0 && !study->arm_column))
        return true;
    lob_html_section(
        page->html, "subgroups", "Subgroups",
        "Whether held-out patients of every kind are ranked equally well. Descriptive: numbers are "
        "split at the cohort's median, and no test is corrected for looking at several groups.");
    for (size_t e = 0; e < study->n_endpoints; e++) {
        g_auto(LobSample) all = {0};
        if (study->endpoints[e].kind == LOB_ENDPOINT_MULTICLASS)
            continue;
        if (!lob_sample_read(&all, page, e, study->model.kind, err))
            return false;
        if (all.n && !table(page, &all, err))
            return false;
    }
    lob_html_section_end(page->html);
    return true;
}
