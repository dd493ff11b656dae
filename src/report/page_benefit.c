/* Who would gain from which treatment: the registered contrast in held-out centers, and what is recommended.
 */
#include "report/report_internal.h"

#include <math.h>
#include <string.h>

typedef struct {
    int contrast, center, metric, estimate, lower, upper, n, events, note;
} Columns;

static bool find_columns(const LobTable *table, Columns *c, GError **err) {
    const struct {
        int *column;
        const char *name;
    } wanted[] = {{&c->contrast, "contrast"},
                  {&c->center, "center"},
                  {&c->metric, "metric"},
                  {&c->estimate, "estimate"},
                  {&c->lower, "lower"},
                  {&c->upper, "upper"},
                  {&c->n, "n"},
                  {&c->events, "events"},
                  {&c->note, "note"}};
    for (size_t i = 0; i < G_N_ELEMENTS(wanted); i++)
        if ((*wanted[i].column = lob_table_require(table, wanted[i].name, err)) < 0)
            return false;
    return true;
}

static bool read_row(const LobTable *t, const Columns *c, size_t r, LobForestRow *row, GError **err) {
    *row = (LobForestRow){.center = lob_table_cell(t, r, c->center)};
    row->pooled = strcmp(row->center, "pooled") == 0;
    return lob_table_number(t, r, c->estimate, &row->estimate, err) &&
           lob_table_number(t, r, c->lower, &row->lower, err) &&
           lob_table_number(t, r, c->upper, &row->upper, err) && lob_table_number(t, r, c->n, &row->n, err) &&
           lob_table_number(t, r, c->events, &row->events, err);
}

static bool is_p_value(const char *metric) {
    return g_str_has_suffix(metric, "_p") || g_str_has_suffix(metric, "_p_holm");
}

static bool table(LobPage *page, const Columns *c, GError **err) {
    const LobTable *t = page->benefit_metrics;
    LobSheet *sheet = lob_sheet_new(page, "Does a treatment's effect change with the image's effect score?",
                                    (const char *[]){"contrast", "center", "metric", "#estimate", "#lower",
                                                     "#upper", "#n", "#events", "note", NULL},
                                    "benefit_metrics");
    bool ok = true;
    for (size_t r = 0; ok && r < lob_table_rows(t); r++) {
        LobForestRow row;
        if (!(ok = read_row(t, c, r, &row, err)))
            break;
        lob_sheet_text(sheet, lob_table_cell(t, r, c->contrast));
        lob_sheet_text(sheet, row.center);
        lob_sheet_text(sheet, lob_table_cell(t, r, c->metric));
        if (is_p_value(lob_table_cell(t, r, c->metric)))
            lob_sheet_p(sheet, row.estimate);
        else
            lob_sheet_number(sheet, row.estimate, 3);
        lob_sheet_number(sheet, row.lower, 3);
        lob_sheet_number(sheet, row.upper, 3);
        lob_sheet_number(sheet, row.n, 0);
        lob_sheet_number(sheet, row.events, 0);
        lob_sheet_text(sheet, lob_table_cell(t, r, c->note));
    }
    return lob_sheet_end(sheet, ok ? err : NULL) && ok;
}

/* The rows of one contrast that an interaction per SD has. */
static GArray *interactions(const LobTable *t, const Columns *c, const char *contrast, GError **err) {
    g_autoptr(GArray) rows = g_array_new(FALSE, FALSE, sizeof(LobForestRow));
    for (size_t r = 0; r < lob_table_rows(t); r++) {
        const char *metric = lob_table_cell(t, r, c->metric);
        const bool knapp = strcmp(metric, "interaction_per_sd_hartung_knapp") == 0;
        LobForestRow row;
        if (strcmp(lob_table_cell(t, r, c->contrast), contrast) != 0 ||
            (!knapp && strcmp(metric, "interaction_per_sd") != 0))
            continue;
        if (!read_row(t, c, r, &row, err))
            return NULL;
        if (knapp)
            row.center = "random effects";
        g_array_append_val(rows, row);
    }
    return g_steal_pointer(&rows);
}

static bool forests(LobPage *page, const Columns *c, GError **err) {
    const LobTable *t = page->benefit_metrics;
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    for (size_t r = 0; r < lob_table_rows(t); r++) {
        const char *contrast = lob_table_cell(t, r, c->contrast);
        if (!g_hash_table_add(seen, (gpointer)contrast))
            continue;
        g_autoptr(GArray) rows = interactions(t, c, contrast, err);
        if (!rows)
            return false;
        if (rows->len == 0)
            continue;
        const char *by = strstr(contrast, "_by_"); /* the registered biomarker instead of the learned score */
        g_autofree char *part = by ? g_strndup(contrast, (gsize)(by - contrast)) : g_strdup(contrast);
        g_autofree char *title =
            g_strdup_printf("Interaction of %s with %s", part, by ? by + strlen("_by_") : "the effect score");
        const LobForestKind kind = {
            .axis = "log hazard ratio per SD (above 0: as predicted)", .low = -0.5, .high = 0.5};
        lob_html_heading(page->html, title);
        lob_figure_begin(page);
        lob_forest(page, rows, title, &kind);
        lob_figure_end(
            page, "benefit_metrics",
            lob_page_either(
                page,
                "Held-out patients, overlap weights with propensities from training centers. Diamonds: "
                "all centers together, and random effects with Hartung-Knapp. Intervals are conditional "
                "on the trained models; the permutation test below refits the effect stage.",
                "Overlap weights with the model's propensities. Diamonds: all centers together, and, where "
                "there are two centers or more, random effects with Hartung-Knapp. The permutation test "
                "below "
                "exchanges scores within center and arm; the model stays as it was locked."));
    }
    return true;
}

/* Patients by center and recommendation. */
static bool recommendations(LobPage *page, GError **err) {
    const LobTable *t = page->benefit;
    const int c_center = lob_table_require(t, "center", err),
              c_what = lob_table_require(t, "recommendation", err);
    if (c_center < 0 || c_what < 0)
        return false;
    LobSheet *sheet = lob_sheet_new(page, "What would be recommended to held-out patients",
                                    (const char *[]){"center", "recommendation", "#patients", "#share", NULL},
                                    "recommendations");
    for (size_t k = 0; k < page->cohort->n_centers; k++) {
        g_autoptr(GHashTable) count = g_hash_table_new(g_str_hash, g_str_equal);
        guint n = 0;
        for (size_t r = 0; r < lob_table_rows(t); r++)
            if (strcmp(lob_table_cell(t, r, c_center), page->cohort->centers[k]) == 0) {
                const char *what = lob_table_cell(t, r, c_what);
                const guint so_far = GPOINTER_TO_UINT(g_hash_table_lookup(count, what));
                g_hash_table_insert(count, (gpointer)what, GUINT_TO_POINTER(so_far + 1));
                n++;
            }
        g_autoptr(GList) names = g_list_sort(g_hash_table_get_keys(count), (GCompareFunc)strcmp);
        for (GList *name = names; name; name = name->next) {
            const guint of = GPOINTER_TO_UINT(g_hash_table_lookup(count, name->data));
            lob_sheet_text(sheet, page->cohort->centers[k]);
            lob_sheet_text(sheet, *(char *)name->data ? name->data : "not estimable");
            lob_sheet_number(sheet, of, 0);
            lob_sheet_number(sheet, (double)of / n, 3);
        }
    }
    if (!lob_sheet_end(sheet, err))
        return false;
    g_string_append(page->html,
                    "<p class=\"note\">A treatment is recommended where it gains at least 30 days of "
                    "restricted mean time beyond its spread; from effect scores where relative effect "
                    "modification is the verdict, else from risk and the average effect alone. Single "
                    "patients: benefit.csv.</p>\n");
    return true;
}

/* Benefit is of the first survival endpoint. */
static bool benefit_endpoint_competes(const LobStudy *study) {
    for (size_t e = 0; e < study->n_endpoints; e++)
        if (study->endpoints[e].kind == LOB_ENDPOINT_SURVIVAL)
            return study->endpoints[e].competing != NULL;
    return false;
}

bool lob_page_benefit(LobPage *page, GError **err) {
    Columns c;
    if (!page->benefit_metrics || !page->cohort->study->model.benefit)
        return true;
    if (!find_columns(page->benefit_metrics, &c, err))
        return false;
    if (benefit_endpoint_competes(page->cohort->study))
        lob_page_caveat(page,
                        "Treatment benefit: competing events are counted as censoring. Effects are on the "
                        "hazard of the event itself; risks, restricted means and gains in days are those "
                        "there would be without competing events, and so overstated.");
    lob_html_section(
        page->html, "benefit", "Treatment benefit",
        lob_page_either(page,
                        "One contrast and one statistic were registered before a held-out center "
                        "was opened. Treatment was not assigned at random: what is found is a "
                        "hypothesis for a trial.",
                        "The contrast, its statistic, level and thresholds stand in the model's "
                        "lock; effect scores, propensities, thirds and the biomarker's scale are "
                        "those of training. Where treatment was not assigned at random, what is "
                        "found is a hypothesis for a trial."));
    if (!forests(page, &c, err) || !lob_page_targeting(page, err) || !table(page, &c, err) ||
        (page->benefit && !recommendations(page, err)))
        return false;
    lob_html_section_end(page->html);
    return true;
}
