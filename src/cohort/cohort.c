/* Patients and slides: identifiers, centers, and that the tables agree. */
#include "cohort/cohort_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ID_BYTES_MAX 200

/* Slide ids and center names become file names; all of them become fixed-length strings in a store. */
static const char *id_fault(const char *id, bool becomes_file_name) {
    if (id[0] == '\0')
        return "is empty";
    if (strlen(id) > ID_BYTES_MAX)
        return "is longer than 200 bytes";
    for (const char *p = id; *p != '\0'; p = g_utf8_next_char(p))
        if (g_unichar_iscntrl(g_utf8_get_char(p)))
            return "holds a control character";
    if (becomes_file_name && (strchr(id, '/') != NULL || strcmp(id, ".") == 0 || strcmp(id, "..") == 0))
        return "becomes a file name, so it may hold no '/' and be neither '.' nor '..'";
    return NULL;
}

static bool check_id(const LobTable *table, size_t row, const char *what, const char *id, bool file_name,
                     LobProblems *problems) {
    const char *fault = id_fault(id, file_name);
    if (fault != NULL)
        lob_problem(problems, "%s:%zu: %s '%.60s' %s", lob_table_path(table), lob_table_line(table, row),
                    what, id, fault);
    return fault == NULL;
}

static int compare_patients(const void *a, const void *b) {
    return strcmp(((const LobCohortPatient *)a)->patient_id, ((const LobCohortPatient *)b)->patient_id);
}

static int compare_slides(const void *a, const void *b) {
    return strcmp(((const LobCohortSlide *)a)->slide_id, ((const LobCohortSlide *)b)->slide_id);
}

static int compare_texts(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static uint32_t center_index(const LobCohort *cohort, const char *center) {
    char **found =
        bsearch(&center, cohort->centers, cohort->n_centers, sizeof *cohort->centers, compare_texts);
    g_assert(found != NULL);
    return (uint32_t)(found - cohort->centers);
}

static void collect_centers(LobCohort *cohort, int center_column) {
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (size_t row = 0; row < lob_table_rows(cohort->patient_table); row++) {
        const char *center = lob_table_cell(cohort->patient_table, row, center_column);
        if (g_hash_table_add(seen, (gpointer)(uintptr_t)center))
            g_ptr_array_add(names, g_strdup(center));
    }
    cohort->n_centers = names->len;
    cohort->centers = g_new0(char *, names->len + 1);
    for (guint i = 0; i < names->len; i++)
        cohort->centers[i] = names->pdata[i];
    qsort(cohort->centers, cohort->n_centers, sizeof *cohort->centers, compare_texts);
}

static void add_patient(LobCohort *cohort, size_t row, int id_column, int center_column,
                        GHashTable *first_row, LobProblems *problems) {
    const LobTable *table = cohort->patient_table;
    const char *id = lob_table_cell(table, row, id_column);
    const char *center = lob_table_cell(table, row, center_column);
    if (!check_id(table, row, "patient_id", id, false, problems) ||
        !check_id(table, row, "center", center, true, problems))
        return;
    gpointer before = NULL;
    if (g_hash_table_lookup_extended(first_row, id, NULL, &before)) {
        size_t other = GPOINTER_TO_SIZE(before);
        const char *other_center = lob_table_cell(table, other, center_column);
        if (strcmp(center, other_center) != 0)
            lob_problem(problems, "%s:%zu: patient '%s' is in two centers, '%s' here and '%s' in line %zu",
                        lob_table_path(table), lob_table_line(table, row), id, center, other_center,
                        lob_table_line(table, other));
        else
            lob_problem(problems, "%s:%zu: patient '%s' stands in line %zu already", lob_table_path(table),
                        lob_table_line(table, row), id, lob_table_line(table, other));
        return;
    }
    g_hash_table_insert(first_row, (gpointer)(uintptr_t)id, GSIZE_TO_POINTER(row));
    cohort->patients[cohort->n_patients++] = (LobCohortPatient){
        .patient_id = g_strdup(id), .center = center_index(cohort, center), .row = (uint32_t)row, .arm = -1};
}

static bool read_patients(LobCohort *cohort, LobProblems *problems, GError **err) {
    LobTable *table = lob_table_read(cohort->study->patients, err);
    cohort->patient_table = table;
    if (table == NULL)
        return false;
    int id_column = lob_table_require(table, "patient_id", err);
    int center_column = id_column < 0 ? -1 : lob_table_require(table, "center", err);
    if (center_column < 0)
        return false;
    if (lob_table_rows(table) == 0)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: no patients under the header", lob_table_path(table));
    if (lob_table_rows(table) > INT32_MAX)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: too many rows", lob_table_path(table));
    collect_centers(cohort, center_column);
    cohort->patients = g_new0(LobCohortPatient, lob_table_rows(table));
    g_autoptr(GHashTable) first_row = g_hash_table_new(g_str_hash, g_str_equal);
    for (size_t row = 0; row < lob_table_rows(table); row++)
        add_patient(cohort, row, id_column, center_column, first_row, problems);
    qsort(cohort->patients, cohort->n_patients, sizeof *cohort->patients, compare_patients);
    return true;
}

/* ---- slides ---- */

typedef struct {
    LobTable *table;
    int id, patient, center, path, mpp; /* columns; path and mpp may be -1 */
} SlideTable;

static const LobCenterOverride *override_of(const LobStudy *study, const char *center) {
    for (size_t i = 0; i < study->n_centers; i++)
        if (strcmp(study->centers[i].center, center) == 0)
            return &study->centers[i];
    return NULL;
}

static LobCohortPatient *find_patient(const LobCohort *cohort, const char *id) {
    LobCohortPatient key = {.patient_id = (char *)(uintptr_t)id};
    return bsearch(&key, cohort->patients, cohort->n_patients, sizeof key, compare_patients);
}

static void read_slide_mpp(const SlideTable *slides, size_t row, const LobCenterOverride *override,
                           LobCohortSlide *slide, LobProblems *problems) {
    GError *error = NULL;
    double mpp = NAN;
    if (slides->mpp >= 0 && !lob_table_number(slides->table, row, slides->mpp, &mpp, &error))
        lob_problem_take(problems, error);
    else if (!isnan(mpp) && !(mpp >= 0.01 && mpp <= 100))
        lob_problem(problems, "%s:%zu: column 'mpp': %g; expected 0.01 to 100 microns per pixel",
                    lob_table_path(slides->table), lob_table_line(slides->table, row), mpp);
    else if (!isnan(mpp))
        slide->mpp = mpp;
    if (isnan(mpp) && override != NULL && override->mpp > 0) {
        slide->mpp = override->mpp;
        slide->mpp_from_center = true;
    }
}

static void add_slide(LobCohort *cohort, const SlideTable *slides, size_t row, GHashTable *lines,
                      LobProblems *problems) {
    const LobTable *table = slides->table;
    const char *file = lob_table_path(table);
    size_t line = lob_table_line(table, row);
    const char *id = lob_table_cell(table, row, slides->id);
    const char *patient_id = lob_table_cell(table, row, slides->patient);
    const char *center = lob_table_cell(table, row, slides->center);
    const char *path = slides->path >= 0 ? lob_table_cell(table, row, slides->path) : "";
    if (!check_id(table, row, "slide_id", id, true, problems))
        return;
    gpointer before = NULL;
    if (g_hash_table_lookup_extended(lines, id, NULL, &before)) {
        lob_problem(problems, "%s:%zu: slide '%s' stands in line %zu already", file, line, id,
                    GPOINTER_TO_SIZE(before));
        return;
    }
    g_hash_table_insert(lines, (gpointer)(uintptr_t)id, GSIZE_TO_POINTER(line));
    const LobCohortPatient *patient = find_patient(cohort, patient_id);
    if (patient == NULL) {
        lob_problem(problems, "%s:%zu: slide '%s': patient '%s' is not in %s", file, line, id, patient_id,
                    cohort->study->patients);
        return;
    }
    if (strcmp(center, cohort->centers[patient->center]) != 0)
        lob_problem(problems, "%s:%zu: slide '%s': center '%s', but its patient's is '%s'", file, line, id,
                    center, cohort->centers[patient->center]);
    const LobCenterOverride *override = override_of(cohort->study, center);
    LobCohortSlide *slide = &cohort->slides[cohort->n_slides++];
    *slide = (LobCohortSlide){.slide_id = g_strdup(id), .patient = (uint32_t)(patient - cohort->patients)};
    read_slide_mpp(slides, row, override, slide, problems);
    if (path[0] == '\0') {
        if (cohort->study->features == NULL)
            lob_problem(problems, "%s:%zu: slide '%s' has no path", file, line, id);
    } else if (override != NULL && override->path_root != NULL && !g_path_is_absolute(path)) {
        slide->path = g_build_filename(override->path_root, path, NULL);
    } else {
        slide->path = lob_path_beside(file, path);
    }
}

static bool read_slides(LobCohort *cohort, LobProblems *problems, GError **err) {
    g_autoptr(LobTable) table = lob_table_read(cohort->study->slides, err);
    if (table == NULL)
        return false;
    SlideTable slides = {.table = table, .path = -1, .mpp = lob_table_find(table, "mpp")};
    if ((slides.id = lob_table_require(table, "slide_id", err)) < 0 ||
        (slides.patient = lob_table_require(table, "patient_id", err)) < 0 ||
        (slides.center = lob_table_require(table, "center", err)) < 0)
        return false;
    slides.path = lob_table_find(table, "path");
    if (slides.path < 0 && cohort->study->features == NULL)
        return lob_table_require(table, "path", err) >= 0;
    if (lob_table_rows(table) == 0)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: no slides under the header", lob_table_path(table));
    cohort->slides = g_new0(LobCohortSlide, lob_table_rows(table));
    g_autoptr(GHashTable) lines = g_hash_table_new(g_str_hash, g_str_equal);
    for (size_t row = 0; row < lob_table_rows(table); row++)
        add_slide(cohort, &slides, row, lines, problems);
    qsort(cohort->slides, cohort->n_slides, sizeof *cohort->slides, compare_slides);
    return true;
}

/* Features alone: a patient is one bag of the patient's own id. */
static void slides_from_patients(LobCohort *cohort, LobProblems *problems) {
    cohort->slides = g_new0(LobCohortSlide, cohort->n_patients);
    for (size_t p = 0; p < cohort->n_patients; p++) {
        check_id(cohort->patient_table, cohort->patients[p].row, "patient_id (used as slide_id)",
                 cohort->patients[p].patient_id, true, problems);
        cohort->slides[cohort->n_slides++] =
            (LobCohortSlide){.slide_id = g_strdup(cohort->patients[p].patient_id), .patient = (uint32_t)p};
    }
}

static void link_slides(LobCohort *cohort) {
    for (size_t s = 0; s < cohort->n_slides; s++)
        cohort->patients[cohort->slides[s].patient].n_slides++;
    for (size_t p = 0; p < cohort->n_patients; p++) {
        cohort->patients[p].slides = g_new0(uint32_t, cohort->patients[p].n_slides);
        cohort->patients[p].n_slides = 0;
    }
    for (size_t s = 0; s < cohort->n_slides; s++) {
        LobCohortPatient *patient = &cohort->patients[cohort->slides[s].patient];
        patient->slides[patient->n_slides++] = (uint32_t)s;
    }
}

static void slide_clear(LobCohortSlide *slide) {
    g_free(slide->slide_id);
    g_free(slide->path);
}

void lob_cohort_keep_share(LobCohort *cohort, uint32_t part, uint32_t of) {
    const uint64_t n = cohort->n_slides, most = MAX(n * part / of, n > 0);
    g_autofree bool *kept = g_new0(bool, n + 1);
    uint64_t k = 0;
    for (size_t c = 0; c < cohort->n_centers; c++)
        for (size_t s = 0; s < n; s++)
            if (cohort->patients[cohort->slides[s].patient].center == c) {
                kept[s] = (k + 1) * most / n > k * most / n;
                k++;
            }
    cohort->n_slides = 0;
    for (size_t s = 0; s < n; s++) {
        if (kept[s])
            cohort->slides[cohort->n_slides++] = cohort->slides[s];
        else
            slide_clear(&cohort->slides[s]);
    }
    for (size_t p = 0; p < cohort->n_patients; p++) {
        g_free(cohort->patients[p].slides);
        cohort->patients[p].n_slides = 0;
    }
    link_slides(cohort);
}

static void check_centers(const LobCohort *cohort, LobProblems *problems) {
    const LobStudy *study = cohort->study;
    for (size_t i = 0; i < study->n_centers; i++) {
        const char *name = study->centers[i].center;
        if (bsearch(&name, cohort->centers, cohort->n_centers, sizeof name, compare_texts) == NULL)
            lob_problem(problems, "%s: centers.%s: %s has no such center", study->path, name,
                        study->patients);
    }
    /* Without endpoints nothing is validated: a hospital may make its store at home. */
    if (!study->predicts && study->validation.scheme == LOB_SCHEME_LOCO && cohort->n_centers < 2 &&
        study->n_endpoints > 0)
        lob_problem(problems,
                    "%s: validation.scheme: loco needs at least 2 centers, %s has %zu; use scheme: folds, or "
                    "leave endpoints out to plan and embed alone",
                    study->path, study->patients, cohort->n_centers);
}

LobCohort *lob_cohort_read(const LobStudy *study, GError **err) {
    g_autoptr(LobCohort) cohort = g_new0(LobCohort, 1);
    LobProblems problems = {0};
    cohort->study = study;
    bool ok = read_patients(cohort, &problems, err);
    if (ok && study->slides != NULL)
        ok = read_slides(cohort, &problems, err);
    else if (ok)
        slides_from_patients(cohort, &problems);
    if (!ok) {
        if (problems.text != NULL)
            g_string_free(problems.text, TRUE);
        return NULL;
    }
    link_slides(cohort);
    check_centers(cohort, &problems);
    lob_cohort_read_outcomes(cohort, &problems);
    lob_cohort_read_covariates(cohort, &problems);
    lob_cohort_read_imaging(cohort, &problems);
    lob_cohort_apply_filters(cohort, &problems);
    if (!lob_problems_check(&problems, "the tables do not fit together", err))
        return NULL;
    lob_cohort_warn(cohort);
    return g_steal_pointer(&cohort);
}

void lob_cohort_free(LobCohort *cohort) {
    if (cohort == NULL)
        return;
    const LobStudy *study = cohort->study;
    for (size_t s = 0; s < cohort->n_slides; s++)
        slide_clear(&cohort->slides[s]);
    for (size_t p = 0; p < cohort->n_patients; p++) {
        g_free(cohort->patients[p].patient_id);
        g_free(cohort->patients[p].slides);
    }
    for (size_t e = 0; e < study->n_endpoints && cohort->time != NULL; e++) {
        g_free(cohort->time[e]);
        g_free(cohort->event[e]);
        g_free(cohort->arm_at[e]);
        g_strfreev(cohort->labels[e]);
    }
    g_free(cohort->imaging);
    g_strfreev(cohort->imaging_names);
    for (size_t c = 0; c < study->n_covariates && cohort->levels != NULL; c++)
        g_strfreev(cohort->levels[c]);
    g_free(cohort->slides);
    g_free(cohort->patients);
    g_strfreev(cohort->centers);
    g_free(cohort->time);
    g_free(cohort->event);
    g_free(cohort->arm_at);
    g_free(cohort->labels);
    g_free(cohort->levels);
    g_free(cohort->covariates);
    lob_table_free(cohort->patient_table);
    g_free(cohort->flow);
    g_free(cohort);
}
