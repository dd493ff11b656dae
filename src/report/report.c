#include "report/report.h"
#include "report/report_internal.h"

#include <string.h>

bool lob_page_save_data(const LobPage *page, LobCsv *csv, const char *name, GError **err) {
    g_autofree char *dir = g_build_filename(page->out, "figures", NULL);
    g_autofree char *path = g_strdup_printf("%s/%s.csv", dir, name);
    return lob_make_dirs(dir, err) && lob_csv_save(csv, path, err);
}

bool lob_page_provenance(LobPage *page, GError **err) {
    g_autofree char *path = g_build_filename(page->out, "provenance.json", NULL);
    g_autofree char *text = NULL;
    lob_html_section(page->html, "provenance", "Provenance", "What made these numbers.");
    if (g_file_test(path, G_FILE_TEST_EXISTS)) {
        g_autoptr(GError) problem = NULL;
        if (!g_file_get_contents(path, &text, NULL, &problem))
            return lob_fail(err, LOB_ERROR_IO, "%s", problem->message);
        g_string_append(page->html, "<pre class=\"scroll\">");
        lob_html_text(page->html, text);
        g_string_append(page->html, "</pre>");
    } else {
        g_string_append(page->html, "<p>There is no provenance.json beside this page.</p>");
    }
    g_string_append(page->html, "</section>\n");
    return true;
}

static void head(LobPage *page) {
    const LobStudy *study = page->cohort->study;
    g_string_append(page->html, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                                "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
                                "<link rel=\"icon\" href=\"data:,\"><title>");
    lob_html_text(page->html, study->name);
    g_string_append(page->html, "</title><style>\n");
    g_string_append(page->html, lob_html_style);
    g_string_append(page->html, "</style></head><body><header><h1>");
    lob_html_text(page->html, study->name);
    lob_html_printf(page->html, "</h1><p class=\"lead\">%zu patients, %zu slides, %zu centers; encoder ",
                    page->cohort->n_patients, page->cohort->n_slides, page->cohort->n_centers);
    lob_html_text(page->html, study->features ? "as in the given features" : study->encoder.name);
    g_string_append(page->html, ", model ");
    lob_html_text(page->html, study->model.kind);
    lob_html_printf(
        page->html,
        ", %d seeds. Made by lobule %s.</p><nav><a href=\"#cohort\">Cohort</a><a href=\"#slides\">Slides</a>"
        "<a href=\"#discrimination\">Discrimination</a><a href=\"#survival\">Outcome</a>"
        "<a href=\"#provenance\">Provenance</a></nav></header><main>\n",
        study->validation.seeds, LOB_VERSION);
}

static bool read_if_there(const char *out, const char *name, LobTable **table, GError **err) {
    g_autofree char *path = g_build_filename(out, name, NULL);
    if (!g_file_test(path, G_FILE_TEST_EXISTS))
        return true;
    *table = lob_table_read(path, err);
    return *table != NULL;
}

static bool write_sections(LobPage *page, GError **err) {
    head(page);
    if (!lob_page_cohort(page, err) || !lob_page_slides(page, err) || !lob_page_discrimination(page, err) ||
        !lob_page_survival(page, err) || !lob_page_provenance(page, err))
        return false;
    g_string_append(page->html,
                    "</main><footer><p class=\"note\">Research use. Data of every figure: the folder figures "
                    "beside this page.</p></footer><script>\n");
    g_string_append(page->html, lob_html_script);
    g_string_append(page->html, "</script></body></html>\n");
    return true;
}

bool lob_report_write(const LobCohort *cohort, GError **err) {
    LobPage page = {.cohort = cohort, .out = cohort->study->output, .html = g_string_new(NULL)};
    g_autofree char *path = g_build_filename(page.out, "report.html", NULL);
    bool ok = read_if_there(page.out, "slides.csv", &page.slides, err) &&
              read_if_there(page.out, "metrics.csv", &page.metrics, err) &&
              read_if_there(page.out, "meta.csv", &page.meta, err) &&
              read_if_there(page.out, "predictions.csv", &page.predictions, err);
    if (ok && !page.metrics)
        ok = lob_fail(err, LOB_ERROR_INPUT, "%s: there is no metrics.csv; run `lobule validate` first",
                      page.out);
    ok = ok && write_sections(&page, err) && lob_file_replace(path, page.html->str, page.html->len, err);
    g_string_free(page.html, TRUE);
    lob_table_free(page.slides);
    lob_table_free(page.metrics);
    lob_table_free(page.meta);
    lob_table_free(page.predictions);
    return ok;
}
