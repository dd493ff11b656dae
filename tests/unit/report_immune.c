/* Drawn tumour regions: signed distance to the border, and what is called inflamed, excluded or desert. */
#include "report/report.h"

#include <criterion/criterion.h>
#include <glib/gstdio.h>
#include <math.h>

#define FEATURE(class, rings)                                                                                \
    "{\"type\":\"Feature\",\"properties\":{\"classification\":{\"name\":\"" class "\"}},\"geometry\":{"      \
                                                                                  "\"type\":\"Polygon\","    \
                                                                                  "\"coordinates\":" rings   \
                                                                                  "}}"
/* In px of half a um: a square from 1,000 to 9,000 um with a hole from 4,000 to 6,000. */
#define SQUARE                                                                                               \
    "[[[2000,2000],[18000,2000],[18000,18000],[2000,18000],[2000,2000]],"                                    \
    "[[8000,8000],[12000,8000],[12000,12000],[8000,12000],[8000,8000]]]"

static char *put(const char *text) {
    char *path = NULL;
    GError *err = NULL;
    const int fd = g_file_open_tmp("lobule-regions-XXXXXX", &path, &err);
    cr_assert(fd >= 0);
    close(fd);
    cr_assert(g_file_set_contents(path, text, -1, NULL));
    return path;
}

static LobRegions *read_regions(const char *text) {
    g_autofree char *path = put(text);
    GError *err = NULL;
    LobRegions *r = lob_regions_read(path, 0.5, 0.5, &err);
    cr_assert_not_null(r, "%s", err ? err->message : "");
    return r;
}

Test(report_immune, distance_is_negative_inside_and_holes_are_outside) {
    g_autoptr(LobRegions) r =
        read_regions("{\"type\":\"FeatureCollection\",\"features\":[" FEATURE("Tumor", SQUARE) "]}");
    const struct {
        double x, y, d;
    } known[] = {{1300, 5000, -300}, {700, 5000, 300},   {0, 0, sqrt(2) * 1000}, {5000, 5000, 1000},
                 {5000, 4200, 200},  {5000, 3500, -500}, {2500, 2500, -1500},    {9000, 9400, 400}};
    for (size_t i = 0; i < G_N_ELEMENTS(known); i++)
        cr_expect_float_eq(lob_regions_distance(r, known[i].x, known[i].y), known[i].d, 1e-9, "%g, %g",
                           known[i].x, known[i].y);
}

Test(report_immune, two_polygons_and_other_classes) {
    g_autoptr(LobRegions) r =
        read_regions("[" FEATURE("tumour", "[[[0,0],[2000,0],[2000,2000],[0,2000]]]") "," FEATURE(
            "Necrosis",
            "[[[4000,0],[6000,0],[6000,2000],[4000,2000]]]") ","
                                                             "{\"type\":\"Feature\",\"properties\":{"
                                                             "\"classification\":{\"name\":\"Tumor\"}},"
                                                             "\"geometry\":{\"type\":"
                                                             "\"MultiPolygon\",\"coordinates\":[[[[8000,0],["
                                                             "10000,0],[10000,2000],[8000,2000]]]]}}]");
    cr_expect_float_eq(lob_regions_distance(r, 500, 500), -500, 1e-9);
    cr_expect_float_eq(lob_regions_distance(r, 4500, 500), -500, 1e-9);
    cr_expect_float_eq(lob_regions_distance(r, 2500, 500), 1500, 1e-9, "other classes are passed over");
}

Test(report_immune, what_is_no_drawing_is_refused) {
    static const char *const bad[] = {"",
                                      "{",
                                      "{}",
                                      "[]",
                                      "[" FEATURE("Stroma", SQUARE) "]",
                                      "[" FEATURE("Tumor", "[[[0,0],[1,1]]]") "]",
                                      "[" FEATURE("Tumor", "[[[0,0],[1,\"a\"],[2,2]]]") "]",
                                      "[" FEATURE("Tumor", "7") "]"};
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autofree char *path = put(bad[i]);
        g_autoptr(GError) err = NULL;
        cr_expect_null(lob_regions_read(path, 0.5, 0.5, &err), "%s", bad[i]);
        cr_expect(err && strstr(err->message, path), "the error names the file");
    }
}

/* A grid of tiles 200 um apart over 10 x 10 mm, with the density each zone is given. */
static LobImmune map_of(const LobRegions *r, double core, double margin, double outside) {
    enum { SIDE = 50 };
    static double um[SIDE * SIDE][2], density[SIDE * SIDE];
    for (int i = 0; i < SIDE * SIDE; i++) {
        um[i][0] = 200 * (i % SIDE) + 100;
        um[i][1] = 200 * (i / SIDE) + 100;
        const double d = r ? lob_regions_distance(r, um[i][0], um[i][1]) : 0;
        density[i] = fabs(d) <= 500 ? margin : d < 0 ? core : outside;
    }
    return lob_immune_map(r, (const double(*)[2])um, density, SIDE * SIDE);
}

Test(report_immune, phenotypes_follow_from_core_and_margin) {
    g_autoptr(LobRegions) r = read_regions("[" FEATURE("Tumor", SQUARE) "]");
    const LobImmune hot = map_of(r, 800, 100, 50), held = map_of(r, 40, 900, 50),
                    cold = map_of(r, 40, 60, 900);
    cr_expect_str_eq(hot.phenotype, "inflamed");
    cr_expect_str_eq(held.phenotype, "excluded");
    cr_expect_str_eq(cold.phenotype, "desert", "lymphocytes far from the tumour do not count");
    cr_expect(hot.tiles[LOB_ZONE_CORE] + hot.tiles[LOB_ZONE_MARGIN] + hot.tiles[LOB_ZONE_OUTSIDE] ==
              hot.tiles[LOB_ZONE_ALL]);
    cr_expect(hot.density[LOB_ZONE_CORE] == 800 && hot.density[LOB_ZONE_MARGIN] == 100 &&
              hot.density[LOB_ZONE_OUTSIDE] == 50);
    /* By hand: 34 x 34 tiles deeper than 500 um inside the border, less the 16 x 16 about the hole, of which
     * 5 at each corner are farther than 500 um. */
    cr_expect_eq(hot.tiles[LOB_ZONE_CORE], 34 * 34 - 16 * 16 + 4 * 5);
}

Test(report_immune, without_regions_the_density_alone) {
    const LobImmune m = map_of(NULL, 0, 70, 0);
    cr_expect(m.density[LOB_ZONE_ALL] == 70 && isnan(m.density[LOB_ZONE_CORE]) && !m.phenotype && m.reason);
    const double one[1][2] = {{0, 0}}, none = 0;
    const LobImmune empty = lob_immune_map(NULL, one, &none, 0);
    cr_expect(isnan(empty.density[LOB_ZONE_ALL]) && !empty.phenotype);
}

Test(report_immune, a_small_tumour_has_no_core) {
    g_autoptr(LobRegions) r =
        read_regions("[" FEATURE("Tumor", "[[[4000,4000],[5600,4000],[5600,5600],[4000,5600]]]") "]");
    const LobImmune m = map_of(r, 900, 900, 0);
    cr_expect(!m.phenotype && m.reason && m.tiles[LOB_ZONE_CORE] == 0);
}

Test(report_immune, a_drawn_margin_is_margin) {
    g_autoptr(LobRegions) r = read_regions("[" FEATURE("Tumor", SQUARE) "," FEATURE(
        "Margin", "[[[0,0],[20000,0],[20000,20000],[0,20000]]]") "]");
    const LobImmune m = map_of(r, 800, 100, 50);
    cr_expect_eq(m.tiles[LOB_ZONE_MARGIN], m.tiles[LOB_ZONE_ALL]);
}
