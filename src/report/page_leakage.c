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

/* Scaled by all slides: the scale knows nothing of the centers. Missing: the mean. */
static void scale(Slides *s) {
    for (size_t k = 0; k < N_NUISANCES; k++) {
        double n = 0, sum = 0, square = 0;
        for (size_t i = 0; i < s->n; i++)
            if (!isnan(s->x[i * N_NUISANCES + k])) {
                n++;
                sum += s->x[i * N_NUISANCES + k];
                square += s->x[i * N_NUISANCES + k] * s->x[i * N_NUISANCES + k];
            }
        const double mean = n > 0 ? sum / n : 0, sd = n > 0 ? sqrt(fmax(0, square / n - mean * mean)) : 0;
        for (size_t i = 0; i < s->n; i++) {
            double *v = &s->x[i * N_NUISANCES + k];
            *v = isnan(*v) || sd < 1e-12 ? 0 : (*v - mean) / sd;
        }
    }
}

/* Slides of the left-out patients put into the center their look fits best; how many rightly. */
static bool right_in_fold(const Slides *s, size_t n_centers, uint32_t fold, size_t *right, size_t *total) {
    g_autofree double *x = g_new(double, s->n *N_NUISANCES + 1), *held = g_new(double, s->n *N_NUISANCES + 1);
    g_autofree uint32_t *center = g_new(uint32_t, s->n + 1), *truth = g_new(uint32_t, s->n + 1);
    size_t n = 0, n_held = 0;
    for (size_t i = 0; i < s->n; i++) {
        const bool out = s->patient[i] % FOLDS == fold;
        memcpy((out ? held + n_held * N_NUISANCES : x + n * N_NUISANCES), s->x + i * N_NUISANCES,
               N_NUISANCES * sizeof *x);
        if (out)
            truth[n_held++] = s->center[i];
        else
            center[n++] = s->center[i];
    }
    g_auto(LobMultinomial) fit = {0};
    lob_multinomial_fit(&fit, x, n, N_NUISANCES, center, n_centers, NULL, 1);
    if (fit.reason || !fit.converged)
        return false;
    g_autofree double *chance = g_new(double, n_held *n_centers + 1);
    lob_multinomial_predict(&fit, held, n_held, chance);
    for (size_t i = 0; i < n_held; i++) {
        size_t best = 0;
        for (size_t c = 1; c < n_centers; c++)
            best = chance[i * n_centers + c] > chance[i * n_centers + best] ? c : best;
        *right += best == truth[i];
        (*total)++;
    }
    return true;
}

static bool probe(LobPage *page, Slides *s, GError **err) {
    const size_t n_centers = page->cohort->n_centers;
    size_t right = 0, total = 0, largest = 0;
    bool ok = s->n > 0;
    scale(s);
    for (uint32_t f = 0; ok && f < FOLDS; f++)
        ok = right_in_fold(s, n_centers, f, &right, &total);
    for (uint32_t c = 0; c < n_centers; c++) {
        size_t n = 0;
        for (size_t i = 0; i < s->n; i++)
            n += s->center[i] == c;
        largest = MAX(largest, n);
    }
    const double accuracy = ok && total ? (double)right / (double)total : NAN;
    LobSheet *sheet =
        lob_sheet_new(page, "Center probe: a slide's center guessed from scale, size, sharpness and stain",
                      (const char *[]){"probe", "#share guessed rightly", "#share of the largest center",
                                       "#slides", "note", NULL},
                      "center_probe");
    lob_sheet_text(sheet, "multinomial, patients in five folds");
    lob_sheet_number(sheet, accuracy, 3);
    lob_sheet_number(sheet, s->n ? (double)largest / (double)s->n : NAN, 3);
    lob_sheet_number(sheet, (double)s->n, 0);
    lob_sheet_text(sheet, isnan(accuracy) ? "not estimable: a center without slides in some fold"
                                          : "of summary columns, not of the model's features");
    return lob_sheet_end(sheet, err);
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

bool lob_page_leakage(LobPage *page, GError **err) {
    if (!page->slides || !page->predictions)
        return true;
    g_auto(Slides) slides = {0};
    if (!slides_read(&slides, page, err))
        return false;
    lob_html_section(
        page->html, "leakage", "Leakage audit",
        "Patients are whole within folds, every fitted step sees training centers alone, and C is "
        "taken within centers, so a center's signature cannot raise it. This shows how strong that "
        "signature is, and whether a summary of the slide alone ranks the outcome (0.5: it does not). Scale "
        "and size should "
        "not; sharpness and stain density also carry the density of cells, so they may.");
    if (!shortcuts(page, &slides, err) || !probe(page, &slides, err))
        return false;
    lob_html_section_end(page->html);
    return true;
}
