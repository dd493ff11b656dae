/* Can the center be read off the slides, and does what should not matter rank the outcome? */
#include "report/report_internal.h"

#include <math.h>
#include <string.h>

#define MOST_SLIDES 4000
#define FOLDS 5
static const char *const nuisances[] = {"mpp",    "tiles",    "tissue_mm2", "blur",
                                        "od_red", "od_green", "od_blue"};
#define N_NUISANCES G_N_ELEMENTS(nuisances)

/* One row a slide that was read, of an evenly spaced share where there are very many. */
typedef struct {
    size_t n;
    double *x; /* [n][N_NUISANCES] NAN: not known */
    uint32_t *center, *patient;
} Slides;

static void slides_clear(Slides *s) {
    g_free(s->x);
    g_free(s->center);
    g_free(s->patient);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Slides, slides_clear)

static bool slides_read(Slides *s, const LobPage *page, GError **err) {
    const LobTable *t = page->slides;
    const size_t rows = lob_table_rows(t), step = rows / MOST_SLIDES + 1;
    int column[N_NUISANCES];
    const int c_patient = lob_table_require(t, "patient_id", err),
              c_state = lob_table_require(t, "state", err);
    *s = (Slides){.x = g_new(double, rows *N_NUISANCES + 1),
                  .center = g_new(uint32_t, rows + 1),
                  .patient = g_new(uint32_t, rows + 1)};
    if (c_patient < 0 || c_state < 0)
        return false;
    for (size_t k = 0; k < N_NUISANCES; k++)
        column[k] = lob_table_find(t, nuisances[k]);
    for (size_t r = 0; r < rows; r += step) {
        const gpointer at = g_hash_table_lookup(page->patients, lob_table_cell(t, r, c_patient));
        if (!at || strcmp(lob_table_cell(t, r, c_state), "done") != 0)
            continue;
        s->patient[s->n] = GPOINTER_TO_UINT(at) - 1;
        s->center[s->n] = page->cohort->patients[s->patient[s->n]].center;
        for (size_t k = 0; k < N_NUISANCES; k++) {
            s->x[s->n * N_NUISANCES + k] = NAN;
            if (column[k] >= 0 && !lob_table_number(t, r, column[k], &s->x[s->n * N_NUISANCES + k], err))
                return false;
        }
        s->n++;
    }
    return true;
}

static void probe_row(LobSheet *sheet, const char *what, double accuracy, double largest, double n,
                      const char *note) {
    lob_sheet_text(sheet, what);
    lob_sheet_number(sheet, accuracy, 3);
    lob_sheet_number(sheet, largest, 3);
    lob_sheet_number(sheet, n, 0);
    lob_sheet_text(sheet, note);
}

/* From center_probe.csv, which validation leaves: the page itself sees no features. */
static bool probe_of_embeddings(const LobPage *page, LobSheet *sheet, GError **err) {
    g_autofree char *path = g_build_filename(page->out, "center_probe.csv", NULL);
    const char *what = "patients' mean embeddings";
    if (!g_file_test(path, G_FILE_TEST_EXISTS)) {
        probe_row(sheet, what, NAN, NAN, NAN, "not available: there is no center_probe.csv");
        return true;
    }
    g_autoptr(LobTable) t = lob_table_read(path, err);
    const int column[] = {t ? lob_table_require(t, "accuracy", err) : -1,
                          t ? lob_table_find(t, "largest_center") : -1,
                          t ? lob_table_find(t, "patients") : -1, t ? lob_table_find(t, "note") : -1};
    double value[3];
    for (int k = 0; k < 4; k++)
        if (column[k] < 0)
            return !t || column[0] < 0 ? false
                                       : lob_fail(err, LOB_ERROR_INPUT, "%s: columns are missing", path);
    for (size_t r = 0; r < lob_table_rows(t); r++) {
        for (int k = 0; k < 3; k++)
            if (!lob_table_number(t, r, column[k], &value[k], err))
                return false;
        probe_row(sheet, what, value[0], value[1], value[2], lob_table_cell(t, r, column[3]));
    }
    return true;
}

static bool probe(LobPage *page, const Slides *s, GError **err) {
    g_autofree uint32_t *fold = g_new(uint32_t, s->n + 1);
    for (size_t i = 0; i < s->n; i++)
        fold[i] = s->patient[i] % FOLDS;
    const LobProbe found =
        lob_class_probe(s->x, s->n, N_NUISANCES, s->center, page->cohort->n_centers, fold, FOLDS);
    LobSheet *sheet = lob_sheet_new(
        page, "Center probe: the center guessed from what the slides look like, patients in five folds",
        (const char *[]){"from", "#share guessed rightly", "#share of the largest center", "#n", "note",
                         NULL},
        "center_probe");
    if (page->slides)
        probe_row(sheet, "slides' scale, size, sharpness and stain", found.accuracy, found.largest,
                  (double)s->n, found.reason ? found.reason : "");
    const bool ok = probe_of_embeddings(page, sheet, err);
    return lob_sheet_end(sheet, ok ? err : NULL) && ok;
}

/* Within centers, on the patient's mean: what a shortcut through image quality could gain. */
static bool shortcuts(LobPage *page, const Slides *s, GError **err) {
    g_auto(LobSample) sample = {0};
    if (!lob_sample_read(&sample, page, 0, page->cohort->study->model.kind, err))
        return false;
    LobSheet *sheet = lob_sheet_new(
        page, "Concordance of single summary columns of the slides, pairs within centers",
        (const char *[]){"column", "#concordance", "#lower", "#upper", "#n", "#events", NULL}, "shortcuts");
    const size_t patients = page->cohort->n_patients;
    g_autofree double *sum = g_new(double, patients + 1), *count = g_new(double, patients + 1);
    for (size_t k = 0; k < N_NUISANCES; k++) {
        memset(sum, 0, patients * sizeof *sum);
        memset(count, 0, patients * sizeof *count);
        for (size_t i = 0; i < s->n; i++)
            if (!isnan(s->x[i * N_NUISANCES + k])) {
                sum[s->patient[i]] += s->x[i * N_NUISANCES + k];
                count[s->patient[i]]++;
            }
        g_autofree uint8_t *keep = g_new0(uint8_t, sample.n + 1);
        for (size_t i = 0; i < sample.n; i++)
            keep[i] = sample.patient[i] != LOB_NO_INDEX && count[sample.patient[i]] > 0;
        g_auto(LobSample) rows = {0};
        lob_sample_take(&rows, &sample, keep);
        for (size_t i = 0; i < rows.n; i++)
            rows.lp[i] = sum[rows.patient[i]] / count[rows.patient[i]];
        const LobFollowUp data = lob_sample_follow_up(&rows, true);
        g_auto(LobConcordance) c;
        lob_concordance(&c, &data, rows.lp, NULL);
        lob_sheet_text(sheet, nuisances[k]);
        lob_sheet_number(sheet, c.c, 3);
        lob_sheet_number(sheet, c.lower, 3);
        lob_sheet_number(sheet, c.upper, 3);
        lob_sheet_number(sheet, (double)rows.n, 0);
        lob_sheet_number(sheet, rows.events, 0);
    }
    return lob_sheet_end(sheet, err);
}

/* Nothing was trained here, so nothing can have leaked from here into the model. */
static bool audit_of_locked(LobPage *page, const Slides *slides, GError **err) {
    lob_html_section(
        page->html, "leakage", "Leakage audit",
        "No fold was made and nothing was trained on these patients: the model was locked before. "
        "What is left to the study group is that no patient and no slide of this cohort was among "
        "those trained on. How strong a center's signature was in training stands on the page of "
        "the validation.");
    if (!lob_page_openings(page, err) || (page->slides && !shortcuts(page, slides, err)))
        return false;
    lob_html_section_end(page->html);
    return true;
}

bool lob_page_leakage(LobPage *page, GError **err) {
    g_autofree char *embeddings = g_build_filename(page->out, "center_probe.csv", NULL);
    if (!page->predictions ||
        (!page->locked.sha256 && !page->slides && !g_file_test(embeddings, G_FILE_TEST_EXISTS)))
        return true;
    g_auto(Slides) slides = {0};
    if (page->slides && !slides_read(&slides, page, err))
        return false;
    if (page->locked.sha256)
        return audit_of_locked(page, &slides, err);
    lob_html_section(
        page->html, "leakage", "Leakage audit",
        "Patients are whole within folds, every fitted step sees training centers alone, and C is "
        "taken within centers, so a center's signature cannot raise it. This shows how strong that "
        "signature is, and whether a summary of the slide alone ranks the outcome (0.5: it does not). Scale "
        "and size should "
        "not; sharpness and stain density also carry the density of cells, so they may.");
    if ((page->slides && !shortcuts(page, &slides, err)) || !probe(page, &slides, err))
        return false;
    lob_html_section_end(page->html);
    return true;
}
