/* Where lymphocyte-like nuclei lie: density of a slide, and of tumour core, margin and surroundings where
 * tumour regions were drawn. */
#include "report/report.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#define DEEPEST 8 /* collections within collections */

typedef struct {
    GArray *points; /* double[2], um; the last joins the first */
    uint32_t polygon;
    bool margin;
} Ring;

struct LobRegions {
    GArray *rings;
    uint32_t polygons, tumours;
    double mpp[2];
};

static void ring_clear(gpointer data) {
    g_array_unref(((Ring *)data)->points);
}

void lob_regions_free(LobRegions *regions) {
    if (!regions)
        return;
    g_array_unref(regions->rings);
    g_free(regions);
}

/* ---- reading ---- */

static bool add_ring(LobRegions *r, const json_t *points, bool margin) {
    Ring ring = {g_array_new(FALSE, FALSE, 2 * sizeof(double)), r->polygons, margin};
    for (size_t i = 0; i < json_array_size(points); i++) {
        const json_t *x = json_array_get(json_array_get(points, i), 0),
                     *y = json_array_get(json_array_get(points, i), 1);
        const double um[2] = {json_number_value(x) * r->mpp[0], json_number_value(y) * r->mpp[1]};
        if (!json_is_number(x) || !json_is_number(y)) {
            ring_clear(&ring);
            return false;
        }
        g_array_append_val(ring.points, um);
    }
    if (ring.points->len < 3) {
        ring_clear(&ring);
        return false;
    }
    g_array_append_val(r->rings, ring);
    return true;
}

static bool add_polygon(LobRegions *r, const json_t *rings, bool margin) {
    bool ok = json_array_size(rings) > 0;
    for (size_t i = 0; ok && i < json_array_size(rings); i++)
        ok = add_ring(r, json_array_get(rings, i), margin);
    r->polygons++;
    r->tumours += !margin;
    return ok;
}

static bool add_geometry(LobRegions *r, const json_t *geometry, bool margin) {
    const char *type = json_string_value(json_object_get(geometry, "type"));
    const json_t *coordinates = json_object_get(geometry, "coordinates");
    if (g_strcmp0(type, "Polygon") == 0)
        return add_polygon(r, coordinates, margin);
    bool ok = true;
    for (size_t i = 0; g_strcmp0(type, "MultiPolygon") == 0 && ok && i < json_array_size(coordinates); i++)
        ok = add_polygon(r, json_array_get(coordinates, i), margin);
    return ok;
}

/* What class a drawn region has; others are passed over. */
static bool class_of(const json_t *feature, bool *margin) {
    const json_t *properties = json_object_get(feature, "properties");
    const char *name =
        json_string_value(json_object_get(json_object_get(properties, "classification"), "name"));
    *margin =
        name && (g_ascii_strcasecmp(name, "margin") == 0 || g_ascii_strcasecmp(name, "invasive margin") == 0);
    return *margin ||
           (name && (g_ascii_strcasecmp(name, "tumor") == 0 || g_ascii_strcasecmp(name, "tumour") == 0));
}

static bool add_node(LobRegions *r, const json_t *node, int depth) {
    const json_t *list = json_is_array(node) ? node : json_object_get(node, "features");
    bool ok = depth < DEEPEST, margin;
    if (json_is_array(list)) {
        for (size_t i = 0; ok && i < json_array_size(list); i++)
            ok = add_node(r, json_array_get(list, i), depth + 1);
        return ok;
    }
    return ok && (!class_of(node, &margin) || add_geometry(r, json_object_get(node, "geometry"), margin));
}

LobRegions *lob_regions_read(const char *path, double mpp_x, double mpp_y, GError **err) {
    json_error_t where;
    json_t *root = json_load_file(path, 0, &where);
    if (!root) {
        lob_fail(err, LOB_ERROR_INPUT, "%s:%d: not JSON: %s", path, where.line, where.text);
        return NULL;
    }
    g_autoptr(LobRegions) r = g_new0(LobRegions, 1);
    r->rings = g_array_new(FALSE, FALSE, sizeof(Ring));
    g_array_set_clear_func(r->rings, ring_clear);
    r->mpp[0] = mpp_x;
    r->mpp[1] = mpp_y;
    const bool ok = add_node(r, root, 0);
    json_decref(root);
    if (ok && r->tumours > 0)
        return g_steal_pointer(&r);
    lob_fail(err, LOB_ERROR_INPUT,
             ok ? "%s: no polygon of class Tumor" : "%s: polygons as QuPath writes them were expected", path);
    return NULL;
}

/* ---- geometry ---- */

static double squared_distance(const double a[2], const double b[2], double x, double y) {
    const double dx = b[0] - a[0], dy = b[1] - a[1], length = dx * dx + dy * dy;
    const double along = length > 0 ? CLAMP(((x - a[0]) * dx + (y - a[1]) * dy) / length, 0, 1) : 0;
    const double ex = x - a[0] - along * dx, ey = y - a[1] - along * dy;
    return ex * ex + ey * ey;
}

static bool crosses(const double a[2], const double b[2], double x, double y) {
    return (a[1] > y) != (b[1] > y) && x < a[0] + (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0]);
}

/* Rings of one polygon follow each other: inside by the even-odd rule, so that holes are outside. */
static bool inside_some(const LobRegions *r, bool margin, double x, double y, double *nearest) {
    bool inside = false, within = false;
    uint32_t polygon = UINT32_MAX;
    for (guint k = 0; k < r->rings->len; k++) {
        const Ring *ring = &g_array_index(r->rings, Ring, k);
        if (ring->margin != margin)
            continue;
        if (ring->polygon != polygon)
            within = false;
        polygon = ring->polygon;
        const double(*p)[2] = (const double(*)[2])(void *)ring->points->data;
        for (guint i = 0, j = ring->points->len - 1; i < ring->points->len; j = i++) {
            within ^= crosses(p[j], p[i], x, y);
            *nearest = fmin(*nearest, squared_distance(p[j], p[i], x, y));
        }
        const bool last = k + 1 == r->rings->len || g_array_index(r->rings, Ring, k + 1).polygon != polygon;
        inside = inside || (last && within);
    }
    return inside;
}

double lob_regions_distance(const LobRegions *regions, double x, double y) {
    double nearest = INFINITY;
    const bool inside = inside_some(regions, false, x, y, &nearest);
    return inside ? -sqrt(nearest) : sqrt(nearest);
}

/* ---- density ---- */

static int zone_of(const LobRegions *regions, double x, double y) {
    const double d = lob_regions_distance(regions, x, y);
    double unused = INFINITY;
    if (fabs(d) <= LOB_MARGIN_UM || inside_some(regions, true, x, y, &unused))
        return LOB_ZONE_MARGIN;
    return d < 0 ? LOB_ZONE_CORE : LOB_ZONE_OUTSIDE;
}

static void classify(LobImmune *m) {
    if (m->tiles[LOB_ZONE_CORE] < LOB_LEAST_ZONE || m->tiles[LOB_ZONE_MARGIN] < LOB_LEAST_ZONE)
        m->reason = "fewer than 10 tiles in tumour core or margin";
    else if (m->density[LOB_ZONE_CORE] >= LOB_DENSE_PER_MM2)
        m->phenotype = "inflamed";
    else
        m->phenotype = m->density[LOB_ZONE_MARGIN] >= LOB_DENSE_PER_MM2 ? "excluded" : "desert";
}

LobImmune lob_immune_map(const LobRegions *regions, const double (*um)[2], const double *density, size_t n) {
    LobImmune m = {0};
    for (size_t i = 0; i < n; i++) {
        const int zone = regions ? zone_of(regions, um[i][0], um[i][1]) : LOB_ZONE_ALL;
        m.tiles[LOB_ZONE_ALL]++;
        m.density[LOB_ZONE_ALL] += density[i];
        if (zone != LOB_ZONE_ALL) {
            m.tiles[zone]++;
            m.density[zone] += density[i];
        }
    }
    for (int z = 0; z < LOB_ZONES; z++)
        m.density[z] = m.tiles[z] ? m.density[z] / (double)m.tiles[z] : NAN;
    if (regions)
        classify(&m);
    else
        m.reason = "no tumour region drawn: density alone";
    return m;
}
