/* Attention over whole slides of a few patients, and the lymphocyte-like density of all slides where the
 * encoder counts it: tables from which the report draws. */
#include "mpi/atlas.h"
#include "mpi/validate.h"
#include "report/report.h"

#include <math.h>
#include <string.h>

#define LYMPHOCYTES "lym_density" /* the texture encoder's, per 1000 um2 of tissue */
#define PER_MM2 1000.0            /* of the above */

/* ---- which patients ---- */

typedef struct {
    uint32_t patient, center;
    float lp;
} Candidate;

static int by_center_and_risk(const void *a, const void *b) {
    const Candidate *x = a, *y = b;
    if (x->center != y->center)
        return x->center < y->center ? -1 : 1;
    if (x->lp != y->lp)
        return x->lp > y->lp ? -1 : 1;
    return (x->patient > y->patient) - (x->patient < y->patient);
}

/* So many of each center's highest and lowest; in a small center the halves do not meet. */
static uint32_t choice(const Candidate *all, size_t n, size_t i, const LobStudy *study) {
    size_t first = i, end = i;
    while (first > 0 && all[first - 1].center == all[i].center)
        first--;
    while (end < n && all[end].center == all[i].center)
        end++;
    const size_t each = MIN((size_t)study->report.heatmaps, (end - first) / 2);
    return (i - first < each ? LOB_MAP_HIGH : 0U) | (end - i <= each ? LOB_MAP_LOW : 0U);
}

LobAttentionMap *lob_maps_choose(const LobPlan *plan, size_t task, const LobTaskResult *r,
                                 const LobBags *bags, uint64_t *n) {
    const LobTask *t = &plan->tasks[task];
    const LobCohort *cohort = plan->cohort;
    const LobStudy *study = cohort->study;
    *n = 0;
    if (t->seed != 0 || t->repeat != 0 || t->model != 0 || t->endpoint != 0)
        return NULL;
    g_autofree Candidate *all = g_new(Candidate, MAX(r->n, 1));
    for (size_t i = 0; i < r->n; i++)
        all[i] = (Candidate){r->patient[i], cohort->patients[r->patient[i]].center, r->lp[i]};
    qsort(all, r->n, sizeof *all, by_center_and_risk);
    LobAttentionMap *maps = g_new(LobAttentionMap, r->n + 1);
    for (size_t i = 0; i < r->n; i++) {
        const uint32_t p = all[i].patient;
        LobAttentionMap map = {p, choice(all, r->n, i, study), bags->count[p]};
        if (study->report.patients &&
            g_strv_contains((const char *const *)study->report.patients, cohort->patients[p].patient_id))
            map.why |= LOB_MAP_ASKED;
        if (map.why)
            maps[(*n)++] = map;
    }
    return maps;
}

void lob_task_keep_maps(const LobPlan *plan, size_t task, const LobModelResult *fit, const LobBags *bags,
                        LobTaskResult *r) {
    if (!fit->attention)
        return;
    g_autoptr(GArray) values = g_array_new(FALSE, FALSE, sizeof(float));
    r->maps = lob_maps_choose(plan, task, r, bags, &r->n_maps);
    for (size_t i = 0; i < r->n_maps; i++)
        g_array_append_vals(values, fit->attention + bags->first[r->maps[i].patient], (guint)r->maps[i].n);
    r->n_map_values = values->len;
    r->map_values = (float *)(void *)g_array_free(g_steal_pointer(&values), FALSE);
}

/* ---- tables ---- */

typedef struct {
    const LobPlan *plan;
    const LobResident *resident;
    LobAtlas *atlas;
    LobCsv *index; /* maps.csv */
    char *dir;
    size_t files;
} Atelier;

/* <number>-<id>, with what could lead out of the folder or trouble a shell made an underscore. */
static char *file_name(Atelier *a, const char *slide_id) {
    g_autofree char *safe = g_strndup(slide_id, 60);
    for (char *c = safe; *c; c++)
        if (!g_ascii_isalnum(*c) && !strchr("-_.", *c))
            *c = '_';
    return g_strdup_printf("%04zu-%s.csv", ++a->files, safe);
}

/* A drawing that cannot be read is told and counts as none: it should not cost a validation. */
static LobRegions *regions_of(const LobStudy *study, const LobAtlasSlide *at) {
    g_autofree char *path = study->report.regions
                                ? g_strdup_printf("%s/%s.geojson", study->report.regions, at->slide->slide_id)
                                : NULL;
    if (!path || !g_file_test(path, G_FILE_TEST_IS_REGULAR))
        return NULL;
    g_autoptr(GError) problem = NULL;
    LobRegions *regions = lob_regions_read(path, at->slide->mpp_x, at->slide->mpp_y, &problem);
    if (!regions)
        lob_warning("%s; the slide counts as without regions", problem->message);
    return regions;
}

static double side_px(const LobAtlasSlide *at, double mpp) {
    return at->header->tile_size * at->header->tile_mpp / mpp;
}

/* Centers of the tiles in um. Caller frees. */
static double (*centers_um(const LobAtlasSlide *at))[2] {
    const double half = at->header->tile_size * at->header->tile_mpp / 2;
    double(*um)[2] = g_malloc(MAX(at->n, 1) * sizeof *um);
    for (size_t i = 0; i < at->n; i++) {
        um[i][0] = at->xy[i][0] * at->slide->mpp_x + half;
        um[i][1] = at->xy[i][1] * at->slide->mpp_y + half;
    }
    return um;
}

/* Per mm2, [n]; NULL (and true) where the encoder does not count. */
static bool densities(const LobAtlasSlide *at, double **per_mm2, GError **err) {
    g_autofree float *column = NULL;
    *per_mm2 = NULL;
    if (!lob_atlas_column(at, LYMPHOCYTES, &column, err))
        return false;
    if (!column)
        return true;
    *per_mm2 = g_new(double, at->n + 1);
    for (size_t i = 0; i < at->n; i++)
        (*per_mm2)[i] = PER_MM2 * (double)column[i];
    return true;
}

/* attention [n]: NAN for tiles that repeat another one of the patient. */
static bool write_tiles(Atelier *a, const LobAtlasSlide *at, const float *attention, const char *name,
                        GError **err) {
    g_autofree double *density = NULL;
    if (!densities(at, &density, err))
        return false;
    g_autoptr(LobRegions) regions = regions_of(a->plan->cohort->study, at);
    g_autofree double(*um)[2] = centers_um(at);
    g_autoptr(LobCsv) csv = lob_csv_new(
        (const char *[]){"tile", "x", "y", "attention", "lymphocytes_per_mm2", "from_margin_um", NULL});
    for (size_t i = 0; i < at->n; i++) {
        lob_csv_integer(csv, (int64_t)i);
        lob_csv_integer(csv, at->xy[i][0]);
        lob_csv_integer(csv, at->xy[i][1]);
        lob_csv_number(csv, (double)attention[i]);
        lob_csv_number(csv, density ? density[i] : NAN);
        lob_csv_number(csv, regions ? lob_regions_distance(regions, um[i][0], um[i][1]) : NAN);
        lob_csv_end_row(csv);
    }
    g_autofree char *path = g_build_filename(a->dir, name, NULL);
    return lob_csv_save(csv, path, err);
}

static void index_row(Atelier *a, const LobAttentionMap *map, double lp, const char *slide_id,
                      const LobAtlasSlide *at, const char *name) {
    const LobCohortPatient *patient = &a->plan->cohort->patients[map->patient];
    static const char *const why[] = {
        "",      "high risk",        "low risk",        "high and low risk",
        "asked", "asked, high risk", "asked, low risk", "asked, high and low risk"};
    lob_csv_text(a->index, patient->patient_id);
    lob_csv_text(a->index, a->plan->cohort->centers[patient->center]);
    lob_csv_text(a->index, slide_id);
    lob_csv_text(a->index, why[map->why & 7]);
    lob_csv_number(a->index, lp);
    lob_csv_number(a->index, at ? (double)at->n : NAN);
    lob_csv_number(a->index, at ? side_px(at, at->slide->mpp_x) : NAN);
    lob_csv_number(a->index, at ? side_px(at, at->slide->mpp_y) : NAN);
    lob_csv_number(a->index, at ? at->slide->mpp_x : NAN);
    lob_csv_number(a->index, at ? (double)at->slide->width : NAN);
    lob_csv_number(a->index, at ? (double)at->slide->height : NAN);
    lob_csv_text(a->index, name);
    lob_csv_end_row(a->index);
}

/* One slide of a patient, whose bag has the rows [first, first + map->n) and the attention `values`. */
static bool draw_slide(Atelier *a, const LobAttentionMap *map, double lp, const float *values, size_t slide,
                       GError **err) {
    const LobResident *resident = a->resident;
    const char *slide_id = a->plan->cohort->slides[resident->set.slides[slide].slide].slide_id;
    const uint64_t from = resident->set.slides[slide].first, end = from + resident->set.slides[slide].count;
    const LobAtlasSlide *at;
    if (!lob_atlas_slide(a->atlas, slide_id, &at, err))
        return false;
    if (!at || at->n != end - from) {
        index_row(a, map, lp, slide_id, NULL, "");
        return true;
    }
    g_autofree float *attention = g_new(float, at->n + 1);
    for (size_t i = 0; i < at->n; i++)
        attention[i] = NAN;
    const uint64_t first = resident->bags.first[map->patient];
    for (uint64_t i = 0; i < map->n; i++)
        if (resident->origin[first + i] >= from && resident->origin[first + i] < end)
            attention[resident->origin[first + i] - from] = values[i];
    g_autofree char *name = file_name(a, slide_id);
    index_row(a, map, lp, slide_id, at, name);
    return write_tiles(a, at, attention, name, err);
}

static double lp_of(const LobTaskResult *r, uint32_t patient) {
    for (size_t i = 0; i < r->n; i++)
        if (r->patient[i] == patient)
            return (double)r->lp[i];
    return NAN;
}

static bool draw_task(Atelier *a, const LobTaskResult *r, GError **err) {
    const float *values = r->map_values;
    for (size_t m = 0; m < r->n_maps; values += r->maps[m++].n)
        for (size_t s = 0; s < a->resident->set.n_slides; s++)
            if (a->plan->cohort->slides[a->resident->set.slides[s].slide].patient == r->maps[m].patient &&
                !draw_slide(a, &r->maps[m], lp_of(r, r->maps[m].patient), values, s, err))
                return false;
    return true;
}

/* ---- immune.csv: every slide ---- */

static bool immune_row(LobCsv *csv, const LobPlan *plan, size_t slide, const LobAtlasSlide *at,
                       GError **err) {
    const LobCohort *cohort = plan->cohort;
    g_autofree double *density = NULL;
    if (!densities(at, &density, err))
        return false;
    if (!density)
        return true;
    g_autoptr(LobRegions) regions = regions_of(cohort->study, at);
    g_autofree double(*um)[2] = centers_um(at);
    const LobImmune m = lob_immune_map(regions, (const double(*)[2])um, density, at->n);
    const LobCohortPatient *patient = &cohort->patients[cohort->slides[slide].patient];
    lob_csv_text(csv, at->slide->slide_id);
    lob_csv_text(csv, patient->patient_id);
    lob_csv_text(csv, cohort->centers[patient->center]);
    for (int z = 0; z < LOB_ZONES; z++) {
        lob_csv_integer(csv, (int64_t)m.tiles[z]);
        lob_csv_number(csv, m.density[z]);
    }
    lob_csv_text(csv, m.phenotype ? m.phenotype : "");
    lob_csv_text(csv, m.reason ? m.reason : "");
    lob_csv_end_row(csv);
    return true;
}

static bool counts_lymphocytes(const LobResident *resident) {
    return resident->set.columns && g_strv_contains((const char *const *)resident->set.columns, LYMPHOCYTES);
}

static bool immune_write(const LobPlan *plan, const LobResident *resident, LobAtlas *atlas, GError **err) {
    g_autofree char *path = lob_study_out(plan->cohort->study, "immune.csv");
    if (!counts_lymphocytes(resident))
        return lob_remove_stale(path, err);
    g_autoptr(LobCsv) csv = lob_csv_new((const char *[]){
        "slide_id", "patient_id", "center", "tiles", "lymphocytes_per_mm2", "tiles_core", "core_per_mm2",
        "tiles_margin", "margin_per_mm2", "tiles_outside", "outside_per_mm2", "phenotype", "note", NULL});
    for (size_t s = 0; s < plan->cohort->n_slides; s++) {
        const LobAtlasSlide *at;
        if (!lob_atlas_slide(atlas, plan->cohort->slides[s].slide_id, &at, err) ||
            (at && !immune_row(csv, plan, s, at, err)))
            return false;
    }
    return lob_csv_save(csv, path, err);
}

bool lob_maps_write(const LobPlan *plan, const LobTaskResult *results, const LobResident *resident,
                    GError **err) {
    if (!resident->origin)
        return true;
    Atelier a = {.plan = plan, .resident = resident, .dir = lob_study_out(plan->cohort->study, "attention")};
    g_autofree char *dir = a.dir;
    g_autoptr(LobAtlas) atlas = lob_atlas_new(plan->sources, err);
    g_autoptr(LobCsv) index =
        lob_csv_new((const char *[]){"patient_id", "center", "slide_id", "why", "linear_predictor", "tiles",
                                     "tile_width", "tile_height", "mpp", "width", "height", "file", NULL});
    a.atlas = atlas;
    a.index = index;
    bool ok = atlas && lob_make_dirs(dir, err) && lob_maps_remove(dir, err);
    for (size_t t = 0; ok && t < plan->n_tasks; t++)
        ok = draw_task(&a, &results[t], err);
    g_autofree char *path = g_build_filename(dir, "maps.csv", NULL);
    return ok && lob_csv_save(index, path, err) && immune_write(plan, resident, atlas, err);
}
