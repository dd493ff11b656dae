#include "report/report.h"
#include "report/report_internal.h"

#include <string.h>

bool lob_page_provenance(LobPage *page, GError **err) {
    g_autofree char *path = g_build_filename(page->out, "provenance.json", NULL);
    g_autofree char *text = NULL;
    lob_html_section(page->html, "provenance", "Provenance", "What made these numbers.");
    if (g_file_test(path, G_FILE_TEST_EXISTS)) {
        g_autoptr(GError) problem = NULL;
        if (!g_file_get_contents(path, &text, NULL, &problem))
            return lob_fail(err, LOB_ERROR_IO, "%s", problem->message);
        g_string_append(page->html, "<pre>");
        lob_html_text(page->html, text);
        g_string_append(page->html, "</pre>");
    } else {
        g_string_append(page->html, "<p>There is no provenance.json beside this page.</p>");
    }
    lob_html_section_end(page->html);
    return true;
}

/* ---- the page around its sections ---- */

static const struct {
    bool (*write)(LobPage *page, GError **err);
    const char *anchor, *name;
} sections[] = {
    {lob_page_cohort, "cohort", "Cohort"},
    {lob_page_slides, "slides", "Slides"},
    {lob_page_power, "power", "Power"},
    {lob_page_discrimination, "discrimination", "Discrimination"},
    {lob_page_calibration, "calibration", "Calibration"},
    {lob_page_utility, "utility", "Utility"},
    {lob_page_risk_groups, "survival", "Outcome"},
    {lob_page_subgroups, "subgroups", "Subgroups"},
    {lob_page_arms, "arms", "Arms"},
    {lob_page_benefit, "benefit", "Benefit"},
    {lob_page_maps, "maps", "Attention"},
    {lob_page_immune, "immune", "Immune map"},
    {lob_page_leakage, "leakage", "Leakage"},
    {lob_page_training, "training", "Training"},
    {lob_page_patients, "patients", "Patients"},
    {lob_page_checklist, "checklist", "Checklist"},
    {lob_page_provenance, "provenance", "Provenance"},
};

/* Nothing from outside may be fetched or run, whatever a table holds. */
static const char policy[] = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                             "style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">";

static void head(LobPage *page, const char *body) {
    const LobStudy *study = page->cohort->study;
    GString *out = page->html;
    g_string_append(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                         "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">");
    g_string_append(out, policy);
    g_string_append(out, "<link rel=\"icon\" href=\"data:,\"><title>");
    lob_html_text(out, study->name);
    if (page->locked.sha256) {
        g_string_append(out, ": external validation of locked model ");
        lob_html_text(out, page->locked.sha256);
    }
    g_string_append(out, "</title><style>\n");
    g_string_append(out, lob_html_style);
    g_string_append(out, "</style></head><body><header><h1>");
    lob_html_text(out, study->name);
    g_string_append(out, "</h1>");
    lob_page_external_heading(page, out);
    lob_html_printf(out, "<p class=\"lead\">%zu patients, %zu slides, %zu centers; encoder ",
                    page->cohort->n_patients, page->cohort->n_slides, page->cohort->n_centers);
    lob_html_text(out, study->features ? "as in the given features" : study->encoder.stored);
    g_string_append(out, ", model ");
    lob_html_text(out, study->model.kind);
    lob_html_printf(out, ", %d seed%s. Made by lobule %s.</p><nav aria-label=\"sections\">",
                    study->validation.seeds, study->validation.seeds == 1 ? "" : "s", LOB_VERSION);
    for (size_t i = 0; i < G_N_ELEMENTS(sections); i++) {
        g_autofree char *id = g_strdup_printf("id=\"%s\"", sections[i].anchor);
        if (strstr(body, id))
            lob_html_printf(out, "<a href=\"#%s\">%s</a>", sections[i].anchor, sections[i].name);
    }
    g_string_append(out, "</nav></header><main>\n");
}

/* The sections come first, since they find out what the verdict and the caveats say. */
static bool write_page(LobPage *page, GError **err) {
    g_autoptr(GString) body = g_string_new(NULL);
    page->html = body;
    for (size_t i = 0; i < G_N_ELEMENTS(sections); i++)
        if (!sections[i].write(page, err))
            return false;
    g_autoptr(GString) whole = g_string_new(NULL);
    page->html = whole;
    head(page, body->str);
    if (!lob_page_verdict(page, err))
        return false;
    g_string_append_len(whole, body->str, (gssize)body->len);
    g_string_append(
        whole, "</main><footer><p class=\"note\">Research use. The folder figures holds the data of every "
               "figure and table; evidence.csv every computed figure; recompute.R does the headline "
               "figures again in R.</p></footer><script>\n");
    g_string_append(whole, lob_html_script);
    g_string_append(whole, "</script></body></html>\n");
    g_autofree char *path = g_build_filename(page->out, "report.html", NULL);
    return lob_file_replace(path, whole->str, whole->len, err) && lob_page_remove_stale(page, err);
}

/* ---- its tables ---- */

static bool read_if_there(const char *out, const char *name, LobTable **table, GError **err) {
    g_autofree char *path = g_build_filename(out, name, NULL);
    if (!g_file_test(path, G_FILE_TEST_EXISTS))
        return true;
    *table = lob_table_read(path, err);
    return *table != NULL;
}

/* The study's own model first, then the others in order of appearance. */
static bool find_models(LobPage *page, GError **err) {
    const LobTable *t = page->predictions ? page->predictions : page->metrics;
    const int column = lob_table_require(t, "model", err);
    if (column < 0)
        return false;
    g_ptr_array_add(page->models, page->cohort->study->model.kind);
    for (size_t r = 0; r < lob_table_rows(t); r++) {
        const char *model = lob_table_cell(t, r, column);
        if (!g_ptr_array_find_with_equal_func(page->models, model, g_str_equal, NULL))
            g_ptr_array_add(page->models, (gpointer)model);
    }
    return true;
}

static bool page_read(LobPage *page, GError **err) {
    if (!read_if_there(page->out, "slides.csv", &page->slides, err) ||
        !read_if_there(page->out, "metrics.csv", &page->metrics, err) ||
        !read_if_there(page->out, "meta.csv", &page->meta, err) ||
        !read_if_there(page->out, "predictions.csv", &page->predictions, err) ||
        !read_if_there(page->out, "benefit.csv", &page->benefit, err) ||
        !read_if_there(page->out, "benefit_metrics.csv", &page->benefit_metrics, err))
        return false;
    if (!lob_page_read_external(page, err))
        return false;
    if (!page->metrics && page->locked.sha256)
        return lob_fail(err, LOB_ERROR_INPUT,
                        "%s: no outcome was known when the locked model was applied, so there is nothing to "
                        "report; predictions.csv and benefit.csv hold what it predicts",
                        page->out);
    if (!page->metrics)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: there is no metrics.csv; run `lobule validate` first",
                        page->out);
    for (size_t p = 0; p < page->cohort->n_patients; p++)
        g_hash_table_insert(page->patients, page->cohort->patients[p].patient_id, GUINT_TO_POINTER(p + 1));
    return lob_page_read_predicted(page, err) && find_models(page, err);
}

static void page_clear(LobPage *page) {
    lob_table_free(page->slides);
    lob_table_free(page->metrics);
    lob_table_free(page->meta);
    lob_table_free(page->predictions);
    lob_table_free(page->benefit);
    lob_table_free(page->benefit_metrics);
    g_ptr_array_unref(page->models);
    g_ptr_array_unref(page->caveats);
    g_hash_table_unref(page->patients);
    g_free(page->predicted);
    g_array_unref(page->evidence);
    g_string_chunk_free(page->strings);
    g_hash_table_unref(page->saved);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LobPage, page_clear)

bool lob_report_write_formats(const LobCohort *cohort, unsigned formats, GError **err) {
    g_auto(LobPage) page = {.cohort = cohort,
                            .out = cohort->study->output,
                            .models = g_ptr_array_new(),
                            .patients = g_hash_table_new(g_str_hash, g_str_equal),
                            .evidence = g_array_new(FALSE, FALSE, sizeof(LobEvidence)),
                            .caveats = g_ptr_array_new_with_free_func(g_free),
                            .strings = g_string_chunk_new(4096),
                            .saved = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL)};
    if (!page_read(&page, err) || !lob_evidence_compute(&page, err))
        return false;
    if ((formats & LOB_REPORT_CSV) && (!lob_evidence_save(&page, err) || !lob_recompute_save(&page, err)))
        return false;
    if ((formats & LOB_REPORT_JSON) && !lob_evidence_save_json(&page, err))
        return false;
    return !(formats & LOB_REPORT_HTML) || write_page(&page, err);
}

bool lob_report_write(const LobCohort *cohort, GError **err) {
    return lob_report_write_formats(cohort, LOB_REPORT_CSV | LOB_REPORT_HTML, err);
}
