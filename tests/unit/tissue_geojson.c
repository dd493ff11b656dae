/* GeoJSON: polygons that give their mask back, are valid, and hold what QuPath looks for. */
#include "tissue/tissue_internal.h"

#include <criterion/criterion.h>
#include <glib/gstdio.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH 41
#define HEIGHT 29

static void random_mask(LobMask *mask, const char *stream, double density) {
    LobRng rng;
    lob_rng_init(&rng, 11, stream);
    *mask = (LobMask){.scale_x = 15.97, .scale_y = 16.013, .origin_x = 1200, .origin_y = 77};
    lob_image_init(&mask->image, WIDTH, HEIGHT, 1);
    for (int i = 0; i < WIDTH * HEIGHT; i++)
        mask->image.data[i] = lob_rng_uniform(&rng) < density ? 255 : 0;
}

static double ring_area(const LobOutline *ring) {
    double sum = 0;
    for (size_t i = 0; i < ring->n; i++) {
        const int32_t *a = ring->xy[i], *b = ring->xy[(i + 1) % ring->n];
        sum += ((double)a[0] * b[1] - (double)b[0] * a[1]) / 2;
    }
    return sum;
}

/* Corners are distinct, turn at right angles, and every piece has its own area. */
static void check_rings(const LobImage *mask) {
    g_autoptr(GPtrArray) rings = lob_outlines_find(mask);
    double area = 0, pixels = 0;
    uint32_t part = 0;
    for (guint r = 0; r < rings->len; r++) {
        const LobOutline *ring = rings->pdata[r];
        g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
        for (size_t i = 0; i < ring->n; i++) {
            const int32_t *a = ring->xy[i], *b = ring->xy[(i + 1) % ring->n],
                          *c = ring->xy[(i + 2) % ring->n];
            cr_assert(g_hash_table_add(seen, GINT_TO_POINTER(a[1] * (WIDTH + 1) + a[0] + 1)),
                      "a corner occurs twice");
            cr_assert((a[0] == b[0]) != (a[1] == b[1]));
            cr_assert((a[0] == b[0]) == (b[1] == c[1]), "a corner that turns nowhere");
        }
        cr_assert_eq(ring->hole, ring_area(ring) < 0);
        cr_assert_eq(ring->hole, ring->part == part, "one outline a piece, before its holes");
        part = ring->part;
        area += ring_area(ring);
    }
    for (int i = 0; i < WIDTH * HEIGHT; i++)
        pixels += mask->data[i] != 0;
    cr_assert_float_eq(area, pixels, 1e-9);
}

static void read_back(const char *folder, const LobMask *mask, LobMask *again) {
    g_auto(LobImage) overview = {0};
    g_autoptr(GError) err = NULL;
    LobTissueOptions options = lob_tissue_defaults;
    options.method = LOB_TISSUE_MASKS;
    options.masks = folder;
    options.slide_id = "slide";
    options.origin_x = mask->origin_x;
    options.origin_y = mask->origin_y;
    lob_image_init(&overview, WIDTH, HEIGHT, 3);
    cr_assert(lob_tissue_mask(&overview, mask->scale_x, mask->scale_y, 0.25, 0.25, &options, again, &err),
              "%s", err ? err->message : "");
}

Test(tissue_geojson, a_mask_comes_back_to_the_pixel) {
    g_autofree char *folder = g_dir_make_tmp("lobule-geojson-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "slide.geojson", NULL);
    for (int i = 1; i < 20; i++) {
        g_auto(LobMask) mask = {0}, again = {0};
        g_autofree char *stream = g_strdup_printf("mask %d", i);
        random_mask(&mask, stream, i / 20.0);
        check_rings(&mask.image);
        g_autoptr(LobGeojson) geojson = lob_geojson_new();
        lob_geojson_add_mask(geojson, &mask, "Tissue");
        cr_assert(lob_geojson_save(geojson, path, NULL));
        read_back(folder, &mask, &again);
        cr_assert_arr_eq(mask.image.data, again.image.data, WIDTH * HEIGHT, "density %g", i / 20.0);
    }
}

Test(tissue_geojson, an_empty_and_a_full_mask) {
    g_auto(LobMask) none = {0}, all = {0};
    random_mask(&none, "none", 0);
    random_mask(&all, "all", 2);
    g_autoptr(LobGeojson) geojson = lob_geojson_new();
    lob_geojson_add_mask(geojson, &none, "Tissue");
    cr_expect_eq(lob_geojson_count(geojson), 0);
    lob_geojson_add_mask(geojson, &all, "Tissue");
    cr_expect_eq(lob_geojson_count(geojson), 1);
    check_rings(&none.image);
    check_rings(&all.image);
}

Test(tissue_geojson, tiles_hold_what_qupath_looks_for) {
    g_autofree char *folder = g_dir_make_tmp("lobule-geojson-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "tiles.geojson", NULL);
    static const char *const names[] = {"attention", "nothing"};
    const double scores[] = {0.25, NAN};
    static const uint8_t red[3] = {255, 0, 0};
    g_autoptr(LobGeojson) geojson = lob_geojson_new();
    LobGeojsonTile tile = {.x = 100,
                           .y = 200.5,
                           .width = 448,
                           .height = 447.9996,
                           .name = "a \"quoted\" name",
                           .class_name = "Top",
                           .colour = red,
                           .annotation = true,
                           .score_names = names,
                           .scores = scores,
                           .n_scores = 2};
    lob_geojson_add_tile(geojson, &tile);
    tile = (LobGeojsonTile){.width = 1, .height = 1};
    lob_geojson_add_tile(geojson, &tile);
    cr_assert(lob_geojson_save(geojson, path, NULL));
    json_t *root = json_load_file(path, 0, NULL);
    cr_assert_not_null(root);
    const json_t *features = json_object_get(root, "features");
    cr_assert_eq(json_array_size(features), 2);
    const json_t *feature = json_array_get(features, 0);
    const json_t *properties = json_object_get(feature, "properties");
    const json_t *ring =
        json_array_get(json_object_get(json_object_get(feature, "geometry"), "coordinates"), 0);
    cr_expect_str_eq(json_string_value(json_object_get(properties, "objectType")), "annotation");
    cr_expect_str_eq(json_string_value(json_object_get(properties, "name")), "a \"quoted\" name");
    const json_t *class = json_object_get(properties, "classification");
    cr_expect_str_eq(json_string_value(json_object_get(class, "name")), "Top");
    cr_expect_eq(json_integer_value(json_array_get(json_object_get(class, "color"), 0)), 255);
    const json_t *measured = json_object_get(properties, "measurements");
    cr_expect_eq(json_object_size(measured), 1);
    cr_expect_eq(json_number_value(json_object_get(measured, "attention")), 0.25);
    cr_assert_eq(json_array_size(ring), 5);
    cr_expect_eq(json_number_value(json_array_get(json_array_get(ring, 2), 0)), 548);
    cr_expect_eq(json_number_value(json_array_get(json_array_get(ring, 2), 1)), 648.5);
    const json_t *plain = json_object_get(json_array_get(features, 1), "properties");
    cr_expect_str_eq(json_string_value(json_object_get(plain, "objectType")), "tile");
    cr_expect_null(json_object_get(plain, "classification"));
    json_decref(root);
}
