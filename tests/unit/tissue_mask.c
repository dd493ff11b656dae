/* Masks: each filter against its definition, blank and full slides, masks drawn elsewhere. */
#include "tissue/tissue_internal.h"

#include <criterion/criterion.h>
#include <glib/gstdio.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void random_image(LobImage *image, int width, int height, bool binary, double density) {
    LobRng rng;
    lob_rng_init(&rng, 7, "tissue");
    lob_image_init(image, width, height, 1);
    for (int i = 0; i < width * height; i++)
        image->data[i] =
            binary ? (lob_rng_uniform(&rng) < density ? 255 : 0) : (uint8_t)lob_rng_below(&rng, 256);
}

static int at(const LobImage *image, int x, int y) {
    return image->data[CLAMP(y, 0, image->height - 1) * image->width + CLAMP(x, 0, image->width - 1)];
}

static int compare_int(const void *a, const void *b) {
    return *(const int *)a - *(const int *)b;
}

Test(tissue, median_is_the_middle_of_the_sorted_window) {
    g_auto(LobImage) image = {0}, out = {0};
    random_image(&image, 23, 17, false, 0);
    random_image(&out, 23, 17, false, 0);
    lob_median_filter(&out, 2);
    for (int y = 0; y < 17; y++)
        for (int x = 0; x < 23; x++) {
            int window[25], n = 0;
            for (int dy = -2; dy <= 2; dy++)
                for (int dx = -2; dx <= 2; dx++)
                    window[n++] = at(&image, x + dx, y + dy);
            qsort(window, 25, sizeof *window, compare_int);
            cr_assert_eq(out.data[y * 23 + x], window[12], "at %d,%d", x, y);
        }
}

/* Whether a pixel within the disc around x, y has the value; pixels outside never have. */
static bool near(const LobImage *image, int x, int y, int value, double radius) {
    for (int v = 0; v < image->height; v++)
        for (int u = 0; u < image->width; u++)
            if ((u - x) * (u - x) + (v - y) * (v - y) <= radius * radius &&
                image->data[v * image->width + u] == value)
                return true;
    return false;
}

Test(tissue, closing_is_dilation_then_erosion_by_a_disc) {
    for (int diameter = 2; diameter <= 7; diameter++) {
        g_auto(LobImage) image = {0}, grown = {0}, out = {0};
        random_image(&image, 31, 27, true, 0.05);
        random_image(&grown, 31, 27, true, 0.05);
        random_image(&out, 31, 27, true, 0.05);
        for (int i = 0; i < 31 * 27; i++)
            grown.data[i] = near(&image, i % 31, i / 31, 255, diameter / 2.0) ? 255 : 0;
        lob_close_disc(&out, diameter);
        for (int i = 0; i < 31 * 27; i++)
            cr_assert_eq(out.data[i], near(&grown, i % 31, i / 31, 0, diameter / 2.0) ? 0 : 255,
                         "diameter %d, pixel %d", diameter, i);
    }
}

static void from_rows(LobImage *image, const char *const *rows, int height) {
    lob_image_init(image, (int)strlen(rows[0]), height, 1);
    for (int i = 0; i < image->width * height; i++)
        image->data[i] = rows[i / image->width][i % image->width] == '#' ? 255 : 0;
}

static void expect_rows(const LobImage *image, const char *const *rows) {
    for (int y = 0; y < image->height; y++) {
        g_autoptr(GString) row = g_string_new(NULL);
        for (int x = 0; x < image->width; x++)
            g_string_append_c(row, image->data[y * image->width + x] ? '#' : '.');
        cr_expect_str_eq(row->str, rows[y], "row %d", y);
    }
}

Test(tissue, objects_join_by_corners_holes_do_not) {
    static const char *const rows[] = {"#...####", ".#..#.##", "....##.#", "....####", "#......."};
    g_auto(LobImage) image = {0};
    g_auto(LobParts) objects = {0}, gaps = {0};
    from_rows(&image, rows, 5);
    lob_parts_find(&image, 255, &objects);
    cr_expect_eq(objects.n, 3);
    cr_expect(objects.area[1] == 2 && objects.area[2] == 14 && objects.area[3] == 1);
    lob_parts_find(&image, 0, &gaps);
    cr_expect_eq(gaps.n, 3);
    cr_expect(gaps.border[1] && gaps.area[2] == 1 && gaps.area[3] == 1 && !gaps.border[2]);
}

Test(tissue, small_objects_go_and_small_holes_are_filled) {
    static const char *const rows[] = {"#.......", "..######", "..#.#..#", "..###..#", "..######"};
    static const char *const kept[] = {"........", "..######", "..###..#", "..###..#", "..######"};
    static const char *const filled[] = {"........", "..######", "..######", "..######", "..######"};
    g_auto(LobImage) a = {0}, b = {0};
    from_rows(&a, rows, 5);
    from_rows(&b, rows, 5);
    lob_clean_parts(&a, 2, 2, true);
    expect_rows(&a, kept);
    lob_clean_parts(&b, 2, 2, false);
    expect_rows(&b, filled);
}

Test(tissue, otsu_maximises_the_variance_between_classes) {
    uint64_t histogram[256] = {0};
    cr_expect_eq(lob_otsu_threshold(histogram), -1);
    histogram[90] = 12;
    cr_expect_eq(lob_otsu_threshold(histogram), -1);
    LobRng rng;
    lob_rng_init(&rng, 3, "otsu");
    for (int i = 0; i < 20000; i++)
        histogram[CLAMP((int)(lob_rng_normal(&rng) * 9 + (i % 3 ? 60 : 150)), 0, 255)]++;
    double best = -1;
    int want = -1;
    for (int t = 0; t < 255; t++) {
        double n[2] = {0}, sum[2] = {0};
        for (int v = 0; v < 256; v++) {
            n[v > t] += (double)histogram[v];
            sum[v > t] += (double)histogram[v] * v;
        }
        double between = n[0] > 0 && n[1] > 0 ? n[0] * n[1] * pow(sum[0] / n[0] - sum[1] / n[1], 2) : -1;
        if (between > best * (1 + 1e-12)) {
            best = between;
            want = t;
        }
    }
    cr_expect_eq(lob_otsu_threshold(histogram), want);
}

typedef void (*Colour)(int x, int y, LobRng *rng, uint8_t rgb[3]);

static uint8_t noisy(double value, double sd, LobRng *rng) {
    return (uint8_t)CLAMP(lround(value + sd * lob_rng_normal(rng)), 0, 255);
}

static void glass(int x, int y, LobRng *rng, uint8_t rgb[3]) {
    (void)x, (void)y;
    static const double tint[3] = {243, 241, 238};
    for (int c = 0; c < 3; c++)
        rgb[c] = noisy(tint[c], 2, rng);
}

/* Eosin with darker, bluer patches. */
static void tissue(int x, int y, LobRng *rng, uint8_t rgb[3]) {
    static const double eosin[3] = {225, 150, 190}, nuclei[3] = {110, 70, 150};
    for (int c = 0; c < 3; c++)
        rgb[c] = noisy((x / 5 + y / 7) % 3 ? eosin[c] : nuclei[c], 8, rng);
}

/* A round piece of tissue of 500 um at 8 um per px, with grey dust beside it. */
static void piece(int x, int y, LobRng *rng, uint8_t rgb[3]) {
    int dx = x - 100, dy = y - 80;
    glass(x, y, rng, rgb);
    if (dx * dx + dy * dy < 62 * 62)
        tissue(x, y, rng, rgb);
    else if (x > 180 && y > 140)
        memset(rgb, 90, 3);
}

static double mask_of(Colour colour, int width, int height, LobTissueMethod method, LobMask *mask) {
    g_auto(LobImage) rgb = {0};
    LobRng rng;
    LobTissueOptions options = lob_tissue_defaults;
    options.method = method;
    options.origin_x = 11;
    lob_rng_init(&rng, 5, "overview");
    lob_image_init(&rgb, width, height, 3);
    for (int i = 0; i < width * height; i++)
        colour(i % width, i / width, &rng, rgb.data + 3 * i);
    cr_assert(lob_tissue_mask(&rgb, 32, 32, 0.25, 0.25, &options, mask, NULL));
    cr_expect(mask->scale_x == 32 && mask->origin_x == 11 && mask->image.width == width);
    double share = 0;
    for (int i = 0; i < width * height; i++)
        share += mask->image.data[i] == 255;
    return share / (width * height);
}

Test(tissue, a_blank_slide_has_none_and_a_full_one_is_all_tissue) {
    for (int method = LOB_TISSUE_OTSU; method <= LOB_TISSUE_HSV; method++) {
        g_auto(LobMask) blank = {0}, full = {0};
        cr_expect_eq(mask_of(glass, 200, 160, (LobTissueMethod)method, &blank), 0, "method %d", method);
        cr_expect_eq(mask_of(tissue, 200, 160, (LobTissueMethod)method, &full), 1, "method %d", method);
    }
}

Test(tissue, a_piece_is_found_and_grey_dust_is_not) {
    g_auto(LobMask) mask = {0};
    double share = mask_of(piece, 200, 160, LOB_TISSUE_OTSU, &mask);
    cr_expect_float_eq(share, G_PI * 62 * 62 / (200 * 160), 0.01, "%g", share);
    cr_expect_eq(mask.image.data[150 * 200 + 190], 0);
}

Test(tissue, a_single_pixel_is_no_trouble) {
    g_auto(LobMask) mask = {0};
    cr_expect_eq(mask_of(glass, 1, 1, LOB_TISSUE_OTSU, &mask), 0);
}

static bool holes_kept = true;

static bool from_file(const char *folder, const char *slide, LobMask *mask, GError **err) {
    g_auto(LobImage) overview = {0};
    LobTissueOptions options = lob_tissue_defaults;
    options.method = LOB_TISSUE_MASKS;
    options.masks = folder;
    options.slide_id = slide;
    options.origin_x = 100;
    options.keep_holes = holes_kept;
    lob_image_init(&overview, 20, 10, 3);
    return lob_tissue_mask(&overview, 10, 10, 0.5, 0.5, &options, mask, err);
}

Test(tissue, masks_come_from_polygons_and_pictures) {
    g_autofree char *folder = g_dir_make_tmp("lobule-masks-XXXXXX", NULL);
    g_autofree char *json = g_build_filename(folder, "a.geojson", NULL);
    g_autofree char *png = g_build_filename(folder, "b.png", NULL);
    g_autofree char *bad = g_build_filename(folder, "c.geojson", NULL);
    g_auto(LobMask) polygons = {0}, picture = {0}, none = {0};
    g_autoptr(GError) err = NULL;
    /* a square of 8 x 6 mask px with a hole of 2 x 2, and a second one, level-0 px, slide bounds from x = 100
     */
    static const char text[] =
        "[{\"type\":\"Feature\",\"geometry\":{\"type\":\"Polygon\",\"coordinates\":[[[120,10],[200,10],[200,"
        "70],"
        "[120,70],[120,10]],[[140,30],[160,30],[160,50],[140,50],[140,30]]]}},{\"type\":\"Feature\","
        "\"geometry\":{\"type\":\"MultiPolygon\",\"coordinates\":[[[[250,0],[270,0],[270,20],[250,20]]]]}}]";
    cr_assert(g_file_set_contents(json, text, -1, NULL));
    cr_assert(from_file(folder, "a", &polygons, &err), "%s", err != NULL ? err->message : "");
    for (int y = 0; y < 10; y++)
        for (int x = 0; x < 20; x++) {
            bool hole = x >= 4 && x < 6 && y >= 3 && y < 5;
            bool in = (x >= 2 && x < 10 && y >= 1 && y < 7 && !hole) || (x >= 15 && x < 17 && y < 2);
            cr_expect_eq(polygons.image.data[y * 20 + x], in ? 255 : 0, "at %d,%d", x, y);
        }
    g_auto(LobImage) drawn = {0};
    lob_image_init(&drawn, 40, 20, 1);
    memset(drawn.data + 40 * 10, 1, 40 * 10);
    cr_assert(lob_image_save_png(png, &drawn, NULL));
    cr_assert(from_file(folder, "b", &picture, &err));
    for (int i = 0; i < 200; i++)
        cr_expect_eq(picture.image.data[i], i < 100 ? 0 : 255);
    cr_assert(g_file_set_contents(bad, "{\"type\":\"Point\",\"coordinates\":[1,2]}", -1, NULL));
    cr_expect_not(from_file(folder, "c", &none, &err));
    cr_expect(g_error_matches(err, LOB_ERROR, LOB_ERROR_SLIDE) && strstr(err->message, "c.geojson") != NULL);
    g_clear_error(&err);
    cr_expect_not(from_file(folder, "missing", &none, &err));
    cr_expect_not_null(strstr(err->message, "missing.png"));
}

/* As QuPath 0.4 exports: classes with names, an ignored one, a multipart class, a point; holes by option. */
Test(tissue, masks_with_classes_and_holes) {
    g_autofree char *folder = g_dir_make_tmp("lobule-masks-XXXXXX", NULL);
    g_autofree char *json = g_build_filename(folder, "a.geojson", NULL);
    g_autofree char *png = g_build_filename(folder, "b.png", NULL);
    g_autofree char *only = g_build_filename(folder, "c.geojson", NULL);
#define ANNOTATION(class, ring)                                                                              \
    "{\"type\":\"Feature\",\"id\":\"x\",\"geometry\":{\"type\":\"Polygon\",\"coordinates\":[" ring           \
    "]},\"properties\":{\"objectType\":\"annotation\",\"classification\":{" class "}}}"
    static const char text[] = "{\"type\":\"FeatureCollection\",\"features\":[" ANNOTATION(
        "\"name\":\"Ignore*\",\"color\":[0,0,0]",
        "[[180,10],[200,10],[200,20],[180,20]]") "," ANNOTATION("\"name\":\"Tumor\"",
                                                                "[[120,10],[200,10],[200,70],[120,70]"
                                                                "],"
                                                                "[[140,30],[160,30],[160,50],[140,50]"
                                                                "]") "," ANNOTATION("\"names\":["
                                                                                    "\"Stroma\","
                                                                                    "\"Necrosis*\"]",
                                                                                    "[[120,60],[140,"
                                                                                    "60],[140,70],["
                                                                                    "120,70]]") ","
                                                                                                "{\"t"
                                                                                                "ype"
                                                                                                "\":"
                                                                                                "\"Fe"
                                                                                                "atur"
                                                                                                "e\","
                                                                                                "\"ge"
                                                                                                "omet"
                                                                                                "ry\""
                                                                                                ":{"
                                                                                                "\"ty"
                                                                                                "pe\""
                                                                                                ":\"P"
                                                                                                "oint"
                                                                                                "\","
                                                                                                "\"co"
                                                                                                "ordi"
                                                                                                "nate"
                                                                                                "s\":"
                                                                                                "[1,"
                                                                                                "2]}}"
                                                                                                "]}";
    static const char ignored[] =
        "[" ANNOTATION("\"name\":\"Ignore*\"", "[[120,10],[200,10],[200,70],[120,70]]") "]";
    cr_assert(g_file_set_contents(json, text, -1, NULL) && g_file_set_contents(only, ignored, -1, NULL));
    g_auto(LobImage) ring = {0};
    lob_image_init(&ring, 20, 10, 1);
    memset(ring.data + 40, 7, 100);
    memset(ring.data + 85, 0, 5);
    cr_assert(lob_image_save_png(png, &ring, NULL));
    for (int kept = 0; kept < 2; kept++) {
        g_auto(LobMask) polygons = {0}, picture = {0};
        holes_kept = kept;
        cr_assert(from_file(folder, "a", &polygons, NULL) && from_file(folder, "b", &picture, NULL));
        for (int y = 0; y < 10; y++)
            for (int x = 0; x < 20; x++) {
                bool hole = x >= 4 && x < 6 && y >= 3 && y < 5, cut = x >= 8 && x < 10 && y == 1;
                bool necrosis = x >= 2 && x < 4 && y == 6;
                bool in = x >= 2 && x < 10 && y >= 1 && y < 7 && !cut && !necrosis && !(hole && kept);
                cr_expect_eq(polygons.image.data[y * 20 + x], in ? 255 : 0, "at %d,%d", x, y);
                bool drawn = y >= 2 && y < 7 && !(kept && y == 4 && x >= 5 && x < 10);
                cr_expect_eq(picture.image.data[y * 20 + x], drawn ? 255 : 0, "PNG at %d,%d", x, y);
            }
    }
    g_auto(LobMask) none = {0};
    cr_expect_not(from_file(folder, "c", &none, NULL), "a file of ignored annotations alone is no mask");
}
