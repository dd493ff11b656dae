/* Pictures and figures from tables that mean no good: hostile ids in maps, slides that are not there,
 * competing events, tables of an earlier run. */
#include "report/maps.h"

#include <criterion/criterion.h>
#include <glib/gstdio.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#define PATIENTS 90
#define HOSTILE "<img src=x onerror=alert(1)>"

typedef struct {
    char *dir, *out;
    LobStudy *study;
    LobCohort *cohort;
} Fixture;

static void put(const char *dir, const char *name, const char *text) {
    g_autofree char *path = g_build_filename(dir, name, NULL);
    g_autofree char *folder = g_path_get_dirname(path);
    cr_assert(lob_make_dirs(folder, NULL) && g_file_set_contents(path, text, -1, NULL));
}

/* Patients P00 .. of two centers, event codes 0, 1 and 2; the first patient's slide has a hostile id. */
static Fixture fixture(void) {
    Fixture f = {.dir = g_dir_make_tmp("lobule-maps-XXXXXX", NULL)};
    g_autoptr(GString)
        patients = g_string_new("patient_id,center,t,e\n"),
        slides = g_string_new("slide_id,patient_id,center,path\n"),
        predictions = g_string_new("endpoint,model,patient_id,center,repeat,fold,arm,time,event,"
                                   "label,linear_predictor,risk_group,s_365\n"),
        slides_out = g_string_new("slide_id,patient_id,center,state,reason,mpp,mpp_source,tiles,"
                                  "tiles_pen,tiles_left_out,hema_red\n");
    for (int i = 0; i < PATIENTS; i++) {
        const int e = i % 3, t = 100 + 37 * i % 1500;
        g_string_append_printf(patients, "P%02d,%c,%d,%d\n", i, 'a' + i % 2, t, e);
        g_string_append_printf(slides, "%s%02d,P%02d,%c,none.svs\n", i ? "S" : HOSTILE, i, i, 'a' + i % 2);
        g_string_append_printf(predictions, "rfs,abmil,P%02d,%c,0,%d,,%d,%d,,%g,%s,0.5\n", i, 'a' + i % 2,
                               i % 2, t, e, (double)(i * 7 % 13), i % 4 < 2 ? "high" : "low");
        g_string_append_printf(slides_out, "%s%02d,P%02d,%c,done,,0.5,vendor,10,1,2,0.65\n",
                               i ? "S" : HOSTILE, i, i, 'a' + i % 2);
    }
    put(f.dir, "study.yaml",
        "study: maps\ncohort: {slides: slides.csv, patients: patients.csv}\n"
        "endpoints:\n  - {name: rfs, kind: survival, time: t, event: e, competing: e, horizons: [365]}\n"
        "model: {kind: abmil}\noutput: out\n");
    put(f.dir, "patients.csv", patients->str);
    put(f.dir, "slides.csv", slides->str);
    g_autofree char *path = g_build_filename(f.dir, "study.yaml", NULL);
    GError *err = NULL;
    f.study = lob_study_read(path, NULL, &err);
    cr_assert_not_null(f.study, "%s", err ? err->message : "");
    f.cohort = lob_cohort_read(f.study, &err);
    cr_assert_not_null(f.cohort, "%s", err ? err->message : "");
    f.out = f.study->output;
    put(f.out, "predictions.csv", predictions->str);
    put(f.out, "slides.csv", slides_out->str);
    put(f.out, "metrics.csv",
        "endpoint,model,center,metric,estimate,lower,upper,n,events\n"
        "rfs,abmil,a,harrell_c,0.7,0.6,0.8,45,15\n"
        "rfs,abmil,a,harrell_c_permutation_p,0.00005,,,45,15\n");
    return f;
}

static void fixture_clear(Fixture *f) {
    lob_cohort_free(f->cohort);
    lob_study_free(f->study);
    g_free(f->dir);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Fixture, fixture_clear)

static char *page_of(const Fixture *f) {
    GError *err = NULL;
    cr_assert(lob_report_write(f->cohort, &err), "%s", err ? err->message : "");
    g_autofree char *path = g_build_filename(f->out, "report.html", NULL);
    char *text = NULL;
    cr_assert(g_file_get_contents(path, &text, NULL, NULL));
    return text;
}

static void put_map(const Fixture *f, const char *file, const char *tiles) {
    g_autofree char *index = g_strdup_printf(
        "patient_id,center,slide_id,why,linear_predictor,tiles,tile_width,tile_height,mpp,width,"
        "height,file\nP00,a," HOSTILE "00,high risk,1.5,3,100,100,0.5,1000,900,%s\n"
        "P01,b,S01,low risk,-1,,,,,,,\n",
        file);
    g_autofree char *name = g_strdup_printf("attention/%s", file);
    put(f->out, "attention/maps.csv", index);
    put(f->out, name, tiles);
}

#define TILES "tile,x,y,attention,lymphocytes_per_mm2,from_margin_um\n"

Test(report_maps, hostile_ids_and_absent_slides) {
    g_auto(Fixture) f = fixture();
    put_map(&f, "0001-x.csv", TILES "0,100,100,0.2,500,\n1,200,100,0.7,0,\n2,200,200,,100,\n");
    g_autofree char *page = page_of(&f);
    cr_assert_null(strstr(page, "<img"));
    cr_assert_not_null(strstr(page, "&lt;img src=x onerror=alert(1)&gt;00"));
    cr_assert_not_null(strstr(page, "No thumbnail (the slide is not here)"));
    cr_assert_not_null(strstr(page, "no place on the slide is known"));
    cr_assert_not_null(strstr(page, "data:image/jpeg;base64,"));
    g_autofree char *path = g_build_filename(f.out, "attention/0001-x.geojson", NULL);
    json_t *geojson = json_load_file(path, 0, NULL);
    cr_assert_eq(json_array_size(json_object_get(geojson, "features")), 3);
    json_decref(geojson);
    g_autofree char *png = g_build_filename(f.out, "attention/0001-x-lymphocytes.png", NULL);
    cr_assert(g_file_test(png, G_FILE_TEST_EXISTS));
}

Test(report_maps, percentiles_share_ties_and_skip_repeated_tiles) {
    g_auto(Fixture) f = fixture();
    put_map(&f, "0001-x.csv",
            TILES "0,0,0,0.1,,\n1,100,0,0.4,,\n2,0,100,0.1,,\n3,100,100,,,\n4,0,200,0.3,,\n");
    g_autofree char *path = g_build_filename(f.out, "attention/maps.csv", NULL);
    GError *err = NULL;
    g_autoptr(LobTable) index = lob_table_read(path, &err);
    const LobPage page = {.cohort = f.cohort, .out = f.out};
    g_auto(LobMap) map;
    cr_assert(lob_map_read(&map, &page, index, 0, &err), "%s", err ? err->message : "");
    cr_expect(map.n == 5 && map.n_top == 4 && map.top[0] == 1 && map.top[1] == 4 && map.top[2] == 0);
    cr_expect_float_eq(map.percentile[1], 1, 1e-12);
    cr_expect_float_eq(map.percentile[4], 2.0 / 3, 1e-12);
    cr_expect_float_eq(map.percentile[0], 1.0 / 6, 1e-12);
    cr_expect_float_eq(map.percentile[2], 1.0 / 6, 1e-12);
    cr_expect(isnan(map.percentile[3]) && !map.density);
}

Test(report_maps, a_damaged_map_is_an_error_that_names_it) {
    g_auto(Fixture) f = fixture();
    put_map(&f, "0001-x.csv", TILES "0,a,100,0.2,500,\n");
    g_autoptr(GError) err = NULL;
    cr_assert_not(lob_report_write(f.cohort, &err));
    cr_assert(strstr(err->message, "0001-x.csv:2:") && strstr(err->message, "'a'"), "%s", err->message);
}

/* By hand from the table: R's survfit with factor status gives the same; the two incidences and the
 * event-free share add up to one. */
Test(report_maps, competing_events_are_drawn) {
    g_auto(Fixture) f = fixture();
    g_autofree char *page = page_of(&f);
    cr_assert_not_null(strstr(page, "Cumulative incidence by risk group"));
    g_autofree char *path = g_build_filename(f.out, "figures/incidence_1.csv", NULL);
    GError *err = NULL;
    g_autoptr(LobTable) t = lob_table_read(path, &err);
    cr_assert_not_null(t, "%s", err ? err->message : "");
    double last[2] = {0, 0};
    const int group = lob_table_find(t, "group"), cause = lob_table_find(t, "cause"),
              incidence = lob_table_find(t, "incidence");
    for (size_t r = 0; r < lob_table_rows(t); r++) {
        double v;
        cr_assert(lob_table_number(t, r, incidence, &v, &err) && v >= 0 && v <= 1);
        if (strcmp(lob_table_cell(t, r, group), "high risk") == 0)
            last[strcmp(lob_table_cell(t, r, cause), "competing") == 0] = v;
    }
    cr_expect(last[0] > 0.1 && last[1] > 0.1 && last[0] + last[1] <= 1 + 1e-12);
    cr_expect_not_null(strstr(page, "&lt; 0.0001"), "the permutation p");
}

Test(report_maps, quality_by_center_and_stale_tables) {
    g_auto(Fixture) f = fixture();
    put(f.out, "figures/of_an_earlier_run.csv", "a\n1\n");
    put(f.out, "figures/notes.txt", "mine\n");
    g_autofree char *page = page_of(&f), *path = g_build_filename(f.out, "figures/quality.csv", NULL),
                    *stale = g_build_filename(f.out, "figures/of_an_earlier_run.csv", NULL),
                    *mine = g_build_filename(f.out, "figures/notes.txt", NULL), *text = NULL;
    cr_assert(g_file_get_contents(path, &text, NULL, NULL));
    cr_expect_str_eq(text, "center,pen,left out,hematoxylin R\na,0.1,0.2,0.65\nb,0.1,0.2,0.65\n");
    cr_expect_not(g_file_test(stale, G_FILE_TEST_EXISTS));
    cr_expect(g_file_test(mine, G_FILE_TEST_EXISTS), "files that are no tables stay");
}

Test(report_maps, phenotypes_by_center) {
    g_auto(Fixture) f = fixture();
    put(f.out, "immune.csv",
        "slide_id,patient_id,center,tiles,lymphocytes_per_mm2,tiles_core,core_per_mm2,tiles_margin,margin_"
        "per_mm2,"
        "tiles_outside,outside_per_mm2,phenotype,note\nS01,P01,b,40,350.5,20,400,20,300,0,,inflamed,\n"
        "S03,P03,b,40,20,20,10,20,30,0,,desert,\nS02,P02,a,9,100,0,,0,,0,,,no tumour region drawn: density "
        "alone\n");
    g_autofree char *page = page_of(&f), *path = g_build_filename(f.out, "figures/immune_centers.csv", NULL),
                    *text = NULL;
    cr_assert(g_file_get_contents(path, &text, NULL, NULL));
    cr_expect_not_null(strstr(text, "\na,1,100,100,100,0,0,0\n"));
    cr_expect_not_null(strstr(text, "\nb,2,102.625,185.25,267.875,1,0,1\n"));
    cr_expect_null(strstr(page, "CD8"));
}
