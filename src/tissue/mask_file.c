/* Masks drawn elsewhere: pictures, and polygons as QuPath writes them. */
#include "tissue/tissue_internal.h"

#include <cairo.h>
#include <jansson.h>
#include <math.h>
#include <png.h>
#include <string.h>

typedef struct {
    cairo_t *cairo; /* in mask px */
    double origin[2], scale[2];
    bool cutting; /* ignored annotations are being cut out; else the others are being filled */
    size_t polygons;
} Canvas;

/* One ring [[x, y], ...] in level-0 px as a closed path. */
static bool add_ring(Canvas *canvas, const json_t *ring) {
    if (!json_is_array(ring) || json_array_size(ring) < 3)
        return false;
    for (size_t i = 0; i < json_array_size(ring); i++) {
        const json_t *point = json_array_get(ring, i);
        const json_t *x = json_array_get(point, 0), *y = json_array_get(point, 1);
        if (!json_is_number(x) || !json_is_number(y))
            return false;
        cairo_line_to(canvas->cairo, (json_number_value(x) - canvas->origin[0]) / canvas->scale[0],
                      (json_number_value(y) - canvas->origin[1]) / canvas->scale[1]);
    }
    cairo_close_path(canvas->cairo);
    return true;
}

/* [outer ring, holes ...] */
static bool fill_polygon(Canvas *canvas, const json_t *rings) {
    if (!json_is_array(rings) || json_array_size(rings) == 0)
        return false;
    cairo_new_path(canvas->cairo);
    for (size_t i = 0; i < json_array_size(rings); i++) {
        cairo_new_sub_path(canvas->cairo);
        if (!add_ring(canvas, json_array_get(rings, i)))
            return false;
    }
    cairo_fill(canvas->cairo);
    canvas->polygons++;
    return true;
}

/* QuPath ignores classes whose name ends in an asterisk ("Ignore*"). */
static bool is_ignored(const json_t *feature) {
    const json_t *class = json_object_get(json_object_get(feature, "properties"), "classification");
    const json_t *names = json_object_get(class, "names");
    const char *name = json_string_value(json_object_get(class, "name"));
    bool ignored = name && g_str_has_suffix(name, "*");
    for (size_t i = 0; i < json_array_size(names); i++) {
        name = json_string_value(json_array_get(names, i));
        ignored = ignored || (name && g_str_has_suffix(name, "*"));
    }
    return ignored;
}

/* A FeatureCollection, an array of features (QuPath's default), a feature, or a geometry; points and lines
 * have no area and are passed over. */
static bool fill_geometry(Canvas *canvas, const json_t *node, bool in_feature, int depth) {
    if (depth > 8)
        return false;
    const json_t *list = json_is_array(node) ? node : json_object_get(node, "features");
    if (list == NULL)
        list = json_object_get(node, "geometries");
    if (json_is_array(list)) {
        for (size_t i = 0; i < json_array_size(list); i++)
            if (!fill_geometry(canvas, json_array_get(list, i), in_feature, depth + 1))
                return false;
        return true;
    }
    const char *type = json_string_value(json_object_get(node, "type"));
    if (type == NULL)
        return false;
    if (strcmp(type, "Feature") == 0)
        return is_ignored(node) != canvas->cutting ||
               fill_geometry(canvas, json_object_get(node, "geometry"), true, depth + 1);
    if (canvas->cutting && !in_feature)
        return true;
    const json_t *coordinates = json_object_get(node, "coordinates");
    if (strcmp(type, "Polygon") == 0)
        return fill_polygon(canvas, coordinates);
    if (strcmp(type, "MultiPolygon") == 0) {
        for (size_t i = 0; i < json_array_size(coordinates); i++)
            if (!fill_polygon(canvas, json_array_get(coordinates, i)))
                return false;
        return json_is_array(coordinates);
    }
    return true;
}

static void copy_surface(cairo_surface_t *surface, LobImage *mask) {
    cairo_surface_flush(surface);
    const uint8_t *pixels = cairo_image_surface_get_data(surface);
    size_t stride = (size_t)cairo_image_surface_get_stride(surface), width = (size_t)mask->width;
    for (size_t y = 0; y < (size_t)mask->height; y++)
        for (size_t x = 0; x < width; x++)
            mask->data[y * width + x] = pixels[y * stride + x] > 127 ? 255 : 0;
}

static bool read_geojson(const char *path, const double scale[2], const double origin[2], LobImage *mask,
                         GError **err) {
    json_error_t where;
    json_t *root = json_load_file(path, 0, &where);
    if (root == NULL)
        return lob_fail(err, LOB_ERROR_SLIDE, "%s:%d: not JSON: %s", path, where.line, where.text);
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_A8, mask->width, mask->height);
    Canvas canvas = {
        .cairo = cairo_create(surface), .origin = {origin[0], origin[1]}, .scale = {scale[0], scale[1]}};
    cairo_set_antialias(canvas.cairo, CAIRO_ANTIALIAS_NONE);
    cairo_set_fill_rule(canvas.cairo, CAIRO_FILL_RULE_EVEN_ODD);
    bool ok = fill_geometry(&canvas, root, false, 0) && canvas.polygons > 0;
    canvas.cutting = true;
    cairo_set_operator(canvas.cairo, CAIRO_OPERATOR_CLEAR);
    ok = ok && fill_geometry(&canvas, root, false, 0) && cairo_status(canvas.cairo) == CAIRO_STATUS_SUCCESS;
    if (ok)
        copy_surface(surface, mask);
    else
        lob_fail(err, LOB_ERROR_SLIDE, "%s: no mask: polygons (GeoJSON as QuPath writes it) were expected",
                 path);
    cairo_destroy(canvas.cairo);
    cairo_surface_destroy(surface);
    json_decref(root);
    return ok;
}

/* Anything but black is tissue; the picture covers what the overview covers, at any resolution. */
static bool read_png(const char *path, LobImage *mask, GError **err) {
    png_image png = {.version = PNG_IMAGE_VERSION};
    if (!png_image_begin_read_from_file(&png, path))
        return lob_fail(err, LOB_ERROR_SLIDE, "%s: not a PNG mask: %s", path, png.message);
    png.format = PNG_FORMAT_GRAY;
    double w = png.width, h = png.height;
    double off_x = fabs(w / h * mask->height / mask->width - 1) * MIN(w, mask->width);
    double off_y = fabs(w / h * mask->height / mask->width - 1) * MIN(h, mask->height);
    if (MIN(off_x, off_y) > 2 && fabs(w / h * mask->height / mask->width - 1) > 0.02) {
        png_image_free(&png);
        return lob_fail(err, LOB_ERROR_SLIDE, "%s: a mask of %.0f x %.0f px has another shape than the slide",
                        path, w, h);
    }
    g_autofree uint8_t *pixels = g_try_malloc(PNG_IMAGE_SIZE(png));
    png_color black = {0};
    if (pixels == NULL) {
        png_image_free(&png);
        return lob_fail(err, LOB_ERROR_SLIDE, "%s: a mask of %.0f x %.0f px is too large", path, w, h);
    }
    if (!png_image_finish_read(&png, &black, pixels, 0, NULL))
        return lob_fail(err, LOB_ERROR_SLIDE, "%s: damaged PNG mask: %s", path, png.message);
    size_t width = (size_t)mask->width;
    for (size_t y = 0; y < (size_t)mask->height; y++)
        for (size_t x = 0; x < width; x++) {
            size_t from_x = MIN((size_t)(((double)x + 0.5) * w / mask->width), (size_t)w - 1);
            size_t from_y = MIN((size_t)(((double)y + 0.5) * h / mask->height), (size_t)h - 1);
            mask->data[y * width + x] = pixels[from_y * (size_t)w + from_x] > 0 ? 255 : 0;
        }
    return true;
}

bool lob_mask_from_file(const char *folder, const char *slide, double scale_x, double scale_y,
                        int64_t origin_x, int64_t origin_y, LobImage *mask, GError **err) {
    if (folder == NULL || slide == NULL)
        return lob_fail(err, LOB_ERROR_INTERNAL, "masks from files need a folder and a slide's id");
    g_autofree char *png = g_strdup_printf("%s/%s.png", folder, slide);
    g_autofree char *geojson = g_strdup_printf("%s/%s.geojson", folder, slide);
    bool have_png = g_file_test(png, G_FILE_TEST_IS_REGULAR);
    bool have_geojson = g_file_test(geojson, G_FILE_TEST_IS_REGULAR);
    if (have_png && have_geojson)
        return lob_fail(err, LOB_ERROR_SLIDE, "slide %s has two masks, %s and %s: keep one", slide, png,
                        geojson);
    if (have_png)
        return read_png(png, mask, err);
    if (have_geojson)
        return read_geojson(geojson, (double[]){scale_x, scale_y},
                            (double[]){(double)origin_x, (double)origin_y}, mask, err);
    return lob_fail(err, LOB_ERROR_SLIDE, "slide %s has no mask: neither %s nor %s is there", slide, png,
                    geojson);
}
