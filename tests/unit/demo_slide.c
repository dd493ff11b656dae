/* Drawn slides: that OpenSlide takes them for Aperio's, that they are repeatable, and that they show what the
 * nuclei tables say. */
#include "demo/demo_internal.h"
#include "slide/slide.h"

#include <criterion/criterion.h>
#include <glib/gstdio.h>
#include <math.h>
#include <string.h>

static LobDemo *small(uint64_t seed) {
    LobDemoOptions options;
    lob_demo_defaults(&options, false);
    options.seed = seed;
    options.patients = 8;
    options.tiles = 24;
    LobDemo *demo = lob_demo_new(&options);
    for (size_t i = 0; i < demo->n_patients; i++) {
        demo->patients[i].n_slides = 1;
        demo->patients[i].grade = demo->patients[i].immune = 0.0;
    }
    return demo;
}

/* Draws one slide into a new folder; returns the slide's path. */
static char *draw(const LobDemo *demo, size_t patient, char **dir) {
    g_autoptr(GError) err = NULL;
    *dir = g_dir_make_tmp("lobule-draw-XXXXXX", &err);
    cr_assert_not_null(*dir);
    cr_assert(lob_demo_draw_slide(demo, patient, 0, *dir, &err), "%s", err ? err->message : "");
    return g_strdup_printf("%s/slides/%s.svs", *dir, demo->patients[patient].slide_id[0]);
}

static void drop(const LobDemo *demo, size_t patient, const char *dir) {
    const char *id = demo->patients[patient].slide_id[0];
    g_autofree char *svs = g_strdup_printf("%s/slides/%s.svs", dir, id);
    g_autofree char *csv = g_strdup_printf("%s/nuclei/%s.csv", dir, id);
    g_autofree char *slides = g_build_filename(dir, "slides", NULL),
                    *nuclei = g_build_filename(dir, "nuclei", NULL);
    cr_expect_eq(g_unlink(svs) + g_unlink(csv) + g_rmdir(slides) + g_rmdir(nuclei) + g_rmdir(dir), 0);
}

Test(demo_slide, openslide_takes_it_for_an_aperio_file_of_the_right_scale) {
    static const double mpp[] = {0.4990, 0.2526, 0.5021, 0.4942};
    g_autoptr(LobDemo) demo = small(1);
    for (size_t c = 0; c < 4; c++) {
        g_autofree char *dir = NULL, *path = draw(demo, c * 2, &dir);
        g_autoptr(GError) err = NULL;
        const LobSlideSpec spec = {.path = path};
        g_autoptr(LobSlide) slide = lob_slide_open(&spec, &err);
        cr_assert_not_null(slide, "%s", err ? err->message : "");
        const LobSlideInfo *info = lob_slide_info(slide);
        cr_expect_str_eq(info->vendor, "aperio");
        cr_expect_float_eq(info->mpp_x, mpp[c], 1e-9);
        cr_expect_float_eq(info->mpp_y, mpp[c], 1e-9);
        cr_expect_eq(info->mpp_source, LOB_MPP_VENDOR);
        cr_expect_eq((int)info->objective, mpp[c] < 0.35 ? 40 : 20);
        cr_expect_eq(info->levels, 3);
        cr_expect_float_eq(info->level[1].downsample, 4.0, 0.05);
        cr_expect_float_eq(info->level[2].downsample, 16.0, 0.5);
        cr_expect_gt(strlen(info->quickhash), 20);
        drop(demo, c * 2, dir);
    }
}

Test(demo_slide, bytes_depend_on_seed_and_slide_alone) {
    g_autoptr(LobDemo) a = small(1), b = small(1), c = small(2);
    g_autofree char *dir_a = NULL, *dir_b = NULL, *dir_c = NULL, *dir_o = NULL;
    g_autofree char *path_o = draw(b, 4, &dir_o); /* another slide first: no state may be left behind */
    g_autofree char *path_a = draw(a, 0, &dir_a), *path_b = draw(b, 0, &dir_b), *path_c = draw(c, 0, &dir_c);
    g_autofree char *sum_a = lob_sha256_file(path_a, NULL), *sum_b = lob_sha256_file(path_b, NULL);
    g_autofree char *sum_c = lob_sha256_file(path_c, NULL), *sum_o = lob_sha256_file(path_o, NULL);
    cr_expect_str_eq(sum_a, sum_b);
    cr_expect_str_neq(sum_a, sum_c);
    cr_expect_str_neq(sum_a, sum_o);
    drop(a, 0, dir_a);
    drop(b, 0, dir_b);
    drop(c, 0, dir_c);
    drop(b, 4, dir_o);
}

/* Mean red value in 3 x 3 px around each nucleus of a kind: nuclei absorb red, cytoplasm hardly does. */
static double red_at(LobSlide *slide, const LobTable *table, const char *kind) {
    double sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < lob_table_rows(table); i++) {
        double x, y;
        uint8_t rgb[27];
        if (strcmp(lob_table_cell(table, i, 3), kind) != 0)
            continue;
        cr_assert(lob_table_number(table, i, 0, &x, NULL) && lob_table_number(table, i, 1, &y, NULL));
        cr_assert(lob_slide_read(slide, 0, (int64_t)lround(x) - 1, (int64_t)lround(y) - 1, 3, 3, rgb, NULL));
        for (size_t k = 0; k < 27; k += 3)
            sum += rgb[k] / 9.0;
        n++;
    }
    cr_assert_gt(n, 5, "%zu nuclei of kind %s", n, kind);
    return sum / (double)n;
}

Test(demo_slide, nuclei_are_where_the_table_says) {
    g_autoptr(LobDemo) demo = small(1);
    for (size_t patient = 0; patient < 8; patient += 2) {
        g_autofree char *dir = NULL, *path = draw(demo, patient, &dir);
        g_autofree char *csv = g_strdup_printf("%s/nuclei/%s.csv", dir, demo->patients[patient].slide_id[0]);
        g_autoptr(LobTable) table = lob_table_read(csv, NULL);
        const LobSlideSpec spec = {.path = path};
        g_autoptr(LobSlide) slide = lob_slide_open(&spec, NULL);
        cr_assert(table != NULL && slide != NULL);
        /* The middle of the slide, which is tissue, as the yardstick. */
        const LobSlideInfo *info = lob_slide_info(slide);
        g_autofree uint8_t *middle = g_malloc(400 * 400 * 3);
        double tissue = 0;
        cr_assert(
            lob_slide_read(slide, 0, info->width / 2 - 200, info->height / 2 - 200, 400, 400, middle, NULL));
        for (size_t k = 0; k < 400 * 400; k++)
            tissue += middle[3 * k] / 160000.0;
        double lymphocyte = red_at(slide, table, "lymphocyte"), tumour = red_at(slide, table, "tumour");
        cr_expect_lt(lymphocyte, tissue - 70, "lymphocytes %.0f, tissue %.0f", lymphocyte, tissue);
        cr_expect_lt(tumour, tissue - 25, "tumour nuclei %.0f, tissue %.0f", tumour, tissue);
        cr_expect_lt(lymphocyte, tumour - 25);
        drop(demo, patient, dir);
    }
}

typedef struct {
    double tumour, area, in_tumour, in_liver; /* nuclei, their mean um2, lymphocytes on either side */
} Census;

static Census census(double grade, double immune) {
    Census c = {0};
    g_autoptr(LobDemo) demo = small(7);
    for (size_t p = 0; p < demo->n_patients; p++) {
        demo->patients[p].grade = grade;
        demo->patients[p].immune = immune;
        g_autoptr(LobDemoScene) scene = lob_demo_scene_new(demo, p, 0);
        for (guint i = 0; i < scene->nuclei->len; i++) {
            const LobDemoNucleus *n = &g_array_index(scene->nuclei, LobDemoNucleus, i);
            bool beyond = lob_demo_scene_tumour(scene, n->x, n->y) < 0.0F;
            c.tumour += n->kind == LOB_KIND_TUMOUR;
            c.area += n->kind == LOB_KIND_TUMOUR ? G_PI * (double)(n->a * n->b) : 0.0;
            c.in_tumour += n->kind == LOB_KIND_LYMPHOCYTE && !beyond;
            c.in_liver += n->kind == LOB_KIND_LYMPHOCYTE && beyond;
        }
    }
    c.area /= c.tumour;
    return c;
}

Test(demo_slide, grade_and_immune_show_in_the_tumour_only) {
    Census low = census(-1, -1), graded = census(1, -1), inflamed = census(-1, 1);
    cr_expect_gt(graded.area, 1.4 * low.area, "%.1f, %.1f um2", graded.area, low.area);
    cr_expect_float_eq(graded.tumour, low.tumour, 0.15 * low.tumour);
    cr_expect_gt(inflamed.in_tumour, 2.0 * low.in_tumour);
    cr_expect_float_eq(inflamed.area, low.area, 0.05 * low.area);
    cr_expect_float_eq(graded.in_tumour, low.in_tumour, 0.25 * low.in_tumour);
    /* The same draws, so the portal tracts' lymphocytes must be the same to the last one. */
    cr_expect_gt(low.in_liver, 20);
    cr_expect_float_eq(inflamed.in_liver, low.in_liver, 0);
    cr_expect_float_eq(graded.in_liver, low.in_liver, 0);
}

/* Mean absorbance of a painted scene in R, G, B. */
static void mean_absorbance(double grade, double immune, double out[3]) {
    g_autoptr(LobDemo) demo = small(7);
    demo->patients[0].grade = grade;
    demo->patients[0].immune = immune;
    g_autoptr(LobDemoScene) scene = lob_demo_scene_new(demo, 0, 0);
    g_autoptr(LobDemoPainter) painter = lob_demo_painter_new(scene);
    g_autofree uint8_t *rgb = g_malloc(LOB_DEMO_TILE * LOB_DEMO_TILE * 3);
    double n = 0;
    memset(out, 0, 3 * sizeof *out);
    for (int row = 0; row < scene->height / LOB_DEMO_TILE; row++) {
        for (int column = 0; column < scene->width / LOB_DEMO_TILE; column++) {
            lob_demo_paint(painter, column, row, rgb);
            for (int k = 0; k < LOB_DEMO_TILE * LOB_DEMO_TILE * 3; k++)
                out[k % 3] -= log(MAX(rgb[k], 1) / scene->scanner.white[k % 3]);
            n += LOB_DEMO_TILE * LOB_DEMO_TILE;
        }
    }
    for (int c = 0; c < 3; c++)
        out[c] /= n;
}

Test(demo_slide, the_amount_of_stain_tells_neither_grade_nor_immune) {
    double low[3], high[3], inflamed[3];
    mean_absorbance(-1.2, 0, low);
    mean_absorbance(1.2, 0, high);
    mean_absorbance(-1.2, 1.2, inflamed);
    for (int c = 0; c < 3; c++) {
        /* Staining itself varies by 8 % from slide to slide. */
        cr_expect_float_eq(high[c], low[c], 0.03 * low[c], "channel %d: %.4f, %.4f", c, low[c], high[c]);
        cr_expect_float_eq(inflamed[c], low[c], 0.03 * low[c], "channel %d: %.4f, %.4f", c, low[c],
                           inflamed[c]);
    }
}

Test(demo_slide, tissue_and_liver_take_the_shares_asked_for) {
    g_autoptr(LobDemo) demo = small(3);
    for (size_t p = 0; p < demo->n_patients; p++) {
        g_autoptr(LobDemoScene) scene = lob_demo_scene_new(demo, p, 0);
        double tissue = 0, liver = 0;
        for (float y = 2.0F; y < scene->height_um; y += 8.0F) {
            for (float x = 2.0F; x < scene->width_um; x += 8.0F) {
                bool in = lob_demo_scene_tissue(scene, x, y) > 0.0F;
                tissue += in;
                liver += in && lob_demo_scene_tumour(scene, x, y) < 0.0F;
            }
        }
        cr_expect(liver / tissue > 0.12 && liver / tissue < 0.33, "liver %.2f", liver / tissue);
        double tiles = tissue * 64.0 / (112.0 * 112.0);
        cr_expect(tiles > 0.62 * 24 && tiles < 1.20 * 24, "tissue of %.1f tiles", tiles);
    }
}
