/* Polygons and tiles as GeoJSON, in the words QuPath reads: objectType, classification, measurements. */
#include "tissue/tissue_internal.h"

#include <jansson.h>
#include <math.h>

struct LobGeojson {
    GString *text; /* the features, with commas between them */
    size_t count;
};

LobGeojson *lob_geojson_new(void) {
    LobGeojson *geojson = g_new0(LobGeojson, 1);
    geojson->text = g_string_new(NULL);
    return geojson;
}

void lob_geojson_free(LobGeojson *geojson) {
    if (!geojson)
        return;
    g_string_free(geojson->text, true);
    g_free(geojson);
}

size_t lob_geojson_count(const LobGeojson *geojson) {
    return geojson->count;
}

/* A thousandth of a pixel is finer than any slide; whole numbers stay short. */
static void put_number(GString *text, double value) {
    char digits[G_ASCII_DTOSTR_BUF_SIZE];
    double rounded = round(value * 1000) / 1000;
    g_string_append(text, g_ascii_formatd(digits, sizeof digits,
                                          fabs(rounded) < 1e15 && rounded == round(rounded) ? "%.0f" : "%.3f",
                                          rounded + 0.0)); /* + 0.0: no -0 */
}

static void put_text(GString *text, const char *value) {
    json_t *string = json_string(value);
    char *quoted = string ? json_dumps(string, JSON_ENCODE_ANY) : NULL;
    g_string_append(text, quoted ? quoted : "\"?\""); /* not UTF-8, which no JSON can hold */
    free(quoted);
    json_decref(string);
}

static void put_point(GString *text, double x, double y) {
    g_string_append_c(text, '[');
    put_number(text, x);
    g_string_append_c(text, ',');
    put_number(text, y);
    g_string_append_c(text, ']');
}

static void begin_polygon(LobGeojson *geojson) {
    g_string_append(geojson->text, geojson->count++ ? ",\n" : "");
    g_string_append(geojson->text,
                    "{\"type\":\"Feature\",\"geometry\":{\"type\":\"Polygon\",\"coordinates\":[");
}

static void end_polygon(LobGeojson *geojson, const char *object_type) {
    g_string_append_printf(geojson->text, "]},\"properties\":{\"objectType\":\"%s\"", object_type);
}

static void put_class(GString *text, const char *name, const uint8_t *colour) {
    g_string_append(text, ",\"classification\":{\"name\":");
    put_text(text, name);
    if (colour)
        g_string_append_printf(text, ",\"color\":[%d,%d,%d]", colour[0], colour[1], colour[2]);
    g_string_append_c(text, '}');
}

static void put_scores(GString *text, const LobGeojsonTile *tile) {
    char digits[G_ASCII_DTOSTR_BUF_SIZE];
    bool any = false;
    g_string_append(text, ",\"measurements\":{");
    for (size_t i = 0; i < tile->n_scores; i++) {
        if (!isfinite(tile->scores[i]))
            continue;
        g_string_append(text, any ? "," : "");
        any = true;
        put_text(text, tile->score_names[i]);
        g_string_append_c(text, ':');
        g_string_append(text, g_ascii_formatd(digits, sizeof digits, "%.9g", tile->scores[i]));
    }
    g_string_append_c(text, '}');
}

void lob_geojson_add_tile(LobGeojson *geojson, const LobGeojsonTile *tile) {
    GString *text = geojson->text;
    const double x1 = tile->x + tile->width, y1 = tile->y + tile->height;
    const double corner[5][2] = {
        {tile->x, tile->y}, {x1, tile->y}, {x1, y1}, {tile->x, y1}, {tile->x, tile->y}};
    begin_polygon(geojson);
    for (size_t i = 0; i < 5; i++) {
        g_string_append_c(text, i ? ',' : '[');
        put_point(text, corner[i][0], corner[i][1]);
    }
    g_string_append_c(text, ']');
    end_polygon(geojson, tile->annotation ? "annotation" : "tile");
    if (tile->name) {
        g_string_append(text, ",\"name\":");
        put_text(text, tile->name);
    }
    if (tile->class_name)
        put_class(text, tile->class_name, tile->colour);
    if (tile->n_scores)
        put_scores(text, tile);
    g_string_append(text, "}}");
}

/* The first ring is the outline, the others are holes. */
static void add_piece(LobGeojson *geojson, const LobMask *mask, const LobOutline *const *ring, size_t n,
                      const char *name) {
    GString *text = geojson->text;
    begin_polygon(geojson);
    for (size_t r = 0; r < n; r++) {
        g_string_append(text, r ? ",[" : "[");
        for (size_t i = 0; i <= ring[r]->n; i++) {
            const int32_t *corner = ring[r]->xy[i % ring[r]->n];
            g_string_append(text, i ? "," : "");
            put_point(text, (double)mask->origin_x + corner[0] * mask->scale_x,
                      (double)mask->origin_y + corner[1] * mask->scale_y);
        }
        g_string_append_c(text, ']');
    }
    end_polygon(geojson, "annotation");
    put_class(text, name, NULL);
    g_string_append(text, "}}");
}

void lob_geojson_add_mask(LobGeojson *geojson, const LobMask *mask, const char *name) {
    g_autoptr(GPtrArray) rings = lob_outlines_find(&mask->image);
    for (guint from = 0; from < rings->len;) {
        const LobOutline *const *ring = (const LobOutline *const *)rings->pdata + from;
        size_t n = 1;
        while (from + n < rings->len && ring[n]->part == ring[0]->part)
            n++;
        add_piece(geojson, mask, ring, n, name);
        from += (guint)n;
    }
}

bool lob_geojson_save(const LobGeojson *geojson, const char *path, GError **err) {
    g_autoptr(GString) file = g_string_new("{\"type\":\"FeatureCollection\",\"features\":[\n");
    g_string_append_len(file, geojson->text->str, (gssize)geojson->text->len);
    g_string_append(file, "\n]}\n");
    return lob_file_replace(path, file->str, file->len, err);
}
