#include "report/maps.h"
#include "tissue/tissue.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PICTURE 900   /* px, longer side of what is saved */
#define OVERVIEW 3000 /* px, of the whole slide at most */
#define RIM 1.5       /* tiles about the outermost ones */
#define VEIL 0.5      /* opacity of colours over a thumbnail */

/* ---- reading ---- */

static bool read_column(const LobTable *t, const char *name, double **out, GError **err) {
    const int column = lob_table_require(t, name, err);
    if (column < 0)
        return false;
    *out = g_new(double, lob_table_rows(t) + 1);
    for (size_t r = 0; r < lob_table_rows(t); r++)
        if (!lob_table_number(t, r, column, &(*out)[r], err))
            return false;
    return true;
}

typedef struct {
    double value;
    size_t tile;
} Ranked;

static int by_value(const void *a, const void *b) {
    const Ranked *x = a, *y = b;
    if (x->value != y->value)
        return x->value > y->value ? -1 : 1;
    return (x->tile > y->tile) - (x->tile < y->tile);
}

/* Percentiles and the most attended tiles. */
static void rank(LobMap *map) {
    g_autofree Ranked *order = g_new(Ranked, map->n + 1);
    size_t n = 0;
    map->percentile = g_new(double, map->n + 1);
    for (size_t i = 0; i < map->n; i++) {
        map->percentile[i] = NAN;
        if (!isnan(map->attention[i]))
            order[n++] = (Ranked){map->attention[i], i};
    }
    qsort(order, n, sizeof *order, by_value);
    for (size_t from = 0, to; from < n; from = to) {
        for (to = from; to < n && order[to].value == order[from].value; to++)
            ;
        for (size_t i = from; i < to; i++)
            map->percentile[order[i].tile] = n > 1 ? 1 - (double)(from + to - 1) / 2 / (double)(n - 1) : 0.5;
    }
    map->n_top = MIN(n, LOB_MAP_TOP);
    for (size_t i = 0; i < MIN(map->n_top, LOB_MAP_TOP); i++)
        map->top[i] = order[i].tile;
}

static bool read_tiles(LobMap *map, const LobPage *page, GError **err) {
    g_autofree char *path = g_build_filename(page->out, "attention", map->file, NULL);
    g_autoptr(LobTable) t = lob_table_read(path, err);
    if (!t)
        return false;
    map->n = lob_table_rows(t);
    if (!read_column(t, "x", &map->x, err) || !read_column(t, "y", &map->y, err) ||
        !read_column(t, "attention", &map->attention, err) ||
        !read_column(t, "lymphocytes_per_mm2", &map->density, err))
        return false;
    if (map->n == 0 || isnan(map->density[0]))
        g_clear_pointer(&map->density, g_free);
    rank(map);
    return true;
}

bool lob_map_read(LobMap *map, const LobPage *page, const LobTable *t, size_t r, GError **err) {
    *map = (LobMap){0};
    const struct {
        const char *name;
        const char **text;
        double *number;
    } columns[] = {{"patient_id", &map->patient, NULL},
                   {"center", &map->center, NULL},
                   {"slide_id", &map->slide, NULL},
                   {"why", &map->why, NULL},
                   {"file", &map->file, NULL},
                   {"linear_predictor", NULL, &map->lp},
                   {"tile_width", NULL, &map->tile_width},
                   {"tile_height", NULL, &map->tile_height},
                   {"mpp", NULL, &map->mpp},
                   {"width", NULL, &map->width},
                   {"height", NULL, &map->height}};
    for (size_t i = 0; i < G_N_ELEMENTS(columns); i++) {
        const int column = lob_table_require(t, columns[i].name, err);
        if (column < 0 || (columns[i].number && !lob_table_number(t, r, column, columns[i].number, err)))
            return false;
        if (columns[i].text)
            *columns[i].text = lob_table_cell(t, r, column);
    }
    return *map->file == '\0' || read_tiles(map, page, err);
}

void lob_map_clear(LobMap *map) {
    g_free(map->x);
    g_free(map->y);
    g_free(map->attention);
    g_free(map->percentile);
    g_free(map->density);
    *map = (LobMap){0};
}

/* ---- the slide under the tiles ---- */

static const LobCohortSlide *slide_of(const LobCohort *cohort, const char *id) {
    for (size_t i = 0; i < cohort->n_slides; i++)
        if (strcmp(cohort->slides[i].slide_id, id) == 0)
            return &cohort->slides[i];
    return NULL;
}

static bool open_reader(LobStudio *studio, GError **err) {
    LobReaderLimits limits = lob_reader_default_limits;
    const LobStudy *study = studio->cohort->study;
    limits.max_tiles = LOB_MAP_TOP;
    limits.tile_size = study->tiles.size;
    if (study->site.reader_seconds > 0)
        limits.tile_seconds = study->site.reader_seconds;
    if (study->site.reader_gib > 0)
        limits.memory_bytes = (size_t)(study->site.reader_gib * 1073741824.0);
    if (!studio->reader && !studio->refused)
        studio->reader = lob_reader_new(&limits, err);
    studio->refused = studio->reader == NULL;
    return studio->reader || (err && *err) || lob_fail(err, LOB_ERROR_SLIDE, "slides cannot be read here");
}

static bool open_slide(LobStudio *studio, const LobMap *map, LobSlideInfo *info, GError **err) {
    const LobCohortSlide *slide = slide_of(studio->cohort, map->slide);
    if (!slide || !slide->path)
        return lob_fail(err, LOB_ERROR_SLIDE, "features were given, not slides");
    if (!g_file_test(slide->path, G_FILE_TEST_IS_REGULAR))
        return lob_fail(err, LOB_ERROR_SLIDE, "the slide is not here");
    const LobSlideSpec spec = {.path = slide->path,
                               .mpp = slide->mpp,
                               .mpp_source = slide->mpp_from_center ? LOB_MPP_CENTER
                                             : slide->mpp > 0       ? LOB_MPP_MANIFEST
                                                                    : LOB_MPP_UNKNOWN};
    if (!open_reader(studio, err) || !studio->reader || !lob_reader_open(studio->reader, &spec, info, err))
        return false;
    if (info->width != (int64_t)map->width || info->height != (int64_t)map->height)
        return lob_fail(err, LOB_ERROR_SLIDE, "the slide is not the one that was embedded");
    return true;
}

/* The part of the slide with tiles. */
static void frame_of(const LobMap *map, double frame[4]) {
    double low[2] = {INFINITY, INFINITY}, high[2] = {-INFINITY, -INFINITY};
    for (size_t i = 0; i < map->n; i++) {
        low[0] = fmin(low[0], map->x[i]);
        low[1] = fmin(low[1], map->y[i]);
        high[0] = fmax(high[0], map->x[i] + map->tile_width);
        high[1] = fmax(high[1], map->y[i] + map->tile_height);
    }
    const double rim = RIM * fmax(map->tile_width, map->tile_height);
    frame[0] = fmax(0, low[0] - rim);
    frame[1] = fmax(0, low[1] - rim);
    frame[2] = fmax(1, fmin(map->width, high[0] + rim) - frame[0]);
    frame[3] = fmax(1, fmin(map->height, high[1] + rim) - frame[1]);
}

typedef struct {
    LobImage image;
    double x, y, scale_x, scale_y;
} Ground;

static bool read_ground(LobStudio *studio, const LobMap *map, const double frame[4], Ground *ground,
                        GError **err) {
    LobSlideInfo info;
    if (!open_slide(studio, map, &info, err))
        return false;
    const double finest = fmax(map->width, map->height) / OVERVIEW;
    const double wanted = fmax(fmax(frame[2], frame[3]) / PICTURE, fmax(finest, 1));
    LobImage unknown = {0};
    const bool ok = lob_reader_overview(studio->reader, map->mpp * wanted, &ground->image, &unknown,
                                        &ground->scale_x, &ground->scale_y, err);
    lob_image_clear(&unknown);
    ground->x = (double)info.bounds_x;
    ground->y = (double)info.bounds_y;
    return ok;
}

/* The most attended tiles as the encoder saw them. */
static bool read_top(LobStudio *studio, const LobMap *map, LobMapPictures *p, GError **err) {
    const LobStudy *study = studio->cohort->study;
    const LobTileSpec spec = {.mpp = study->tiles.mpp,
                              .size = study->tiles.size,
                              .overlap = study->tiles.overlap,
                              .max_enlarge = study->tiles.max_enlarge};
    int32_t xy[LOB_MAP_TOP][2];
    const uint8_t *rgb, *status;
    for (size_t i = 0; i < MIN(map->n_top, LOB_MAP_TOP); i++) {
        xy[i][0] = (int32_t)map->x[map->top[i]];
        xy[i][1] = (int32_t)map->y[map->top[i]];
    }
    if (!lob_reader_request(studio->reader, &spec, (const int32_t(*)[2])xy, map->n_top, err) ||
        !lob_reader_collect(studio->reader, &rgb, &status, NULL, err))
        return false;
    const size_t bytes = 3 * (size_t)spec.size * (size_t)spec.size;
    p->size = spec.size;
    p->tiles = g_memdup2(rgb, bytes * map->n_top);
    for (size_t i = 0; i < MIN(map->n_top, LOB_MAP_TOP); i++)
        p->seen[i] = status[i] == LOB_TILE_OK;
    return true;
}

/* ---- drawing ---- */

static void draw_layer(LobPicture *picture, const LobMap *map, const double frame[4], const Ground *ground,
                       const double *value, double full) {
    lob_picture_init(picture, frame[0], frame[1], frame[2], frame[3], PICTURE);
    if (ground->image.data)
        lob_picture_paint(picture, &ground->image, ground->x, ground->y, ground->scale_x, ground->scale_y);
    for (size_t i = 0; i < map->n; i++)
        lob_picture_tile(picture, map->x[i], map->y[i], map->tile_width, map->tile_height, value[i] / full,
                         ground->image.data ? VEIL : 1);
}

void lob_map_draw(LobMapPictures *p, LobStudio *studio, const LobMap *map) {
    *p = (LobMapPictures){0};
    g_autoptr(GError) problem = NULL;
    Ground ground = {0};
    double frame[4];
    frame_of(map, frame);
    if (!read_ground(studio, map, frame, &ground, &problem) || !read_top(studio, map, p, &problem))
        p->no_thumbnail = g_strdup(problem->message);
    draw_layer(&p->attention, map, frame, &ground, map->percentile, 1);
    for (size_t i = 0; i < MIN(map->n_top, LOB_MAP_TOP); i++)
        lob_picture_frame(&p->attention, map->x[map->top[i]], map->y[map->top[i]], map->tile_width,
                          map->tile_height);
    if (map->density)
        draw_layer(&p->density, map, frame, &ground, map->density, LOB_MAP_DENSE);
    lob_image_clear(&ground.image);
}

void lob_map_pictures_clear(LobMapPictures *p) {
    lob_picture_clear(&p->attention);
    lob_picture_clear(&p->density);
    g_free(p->tiles);
    g_free(p->no_thumbnail);
    *p = (LobMapPictures){0};
}

/* ---- files ---- */

static bool save_geojson(const LobMap *map, const char *path, GError **err) {
    static const char *const names[] = {"attention", "percentile", "lymphocyte-like nuclei per mm2"};
    g_autoptr(LobGeojson) geojson = lob_geojson_new();
    for (size_t i = 0; i < map->n; i++) {
        const double scores[] = {map->attention[i], map->percentile[i], map->density ? map->density[i] : NAN};
        lob_geojson_add_tile(geojson, &(LobGeojsonTile){.x = map->x[i],
                                                        .y = map->y[i],
                                                        .width = map->tile_width,
                                                        .height = map->tile_height,
                                                        .score_names = names,
                                                        .scores = scores,
                                                        .n_scores = G_N_ELEMENTS(scores)});
    }
    return lob_geojson_save(geojson, path, err);
}

bool lob_map_save(const LobMap *map, const LobMapPictures *p, const LobPage *page, GError **err) {
    g_autofree char *name = g_strndup(map->file, strlen(map->file) - strlen(".csv"));
    g_autofree char *base = g_build_filename(page->out, "attention", name, NULL);
    g_autofree char *png = g_strdup_printf("%s.png", base), *geojson = g_strdup_printf("%s.geojson", base),
                    *density = g_strdup_printf("%s-lymphocytes.png", base);
    return lob_picture_save_png(&p->attention, png, err) && save_geojson(map, geojson, err) &&
           (!p->density.surface || lob_picture_save_png(&p->density, density, err));
}
