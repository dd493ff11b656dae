/* lobule bench read: tissue tiles of a slide, straight and through a reader process as a job reads them,
 * beside bare decoding of the same tiles. */
#include "jobs/bench_internal.h"
#include "mpi/look.h"
#include "mpi/world.h"
#include "slide/slide.h"

#include <glib/gstdio.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TILE = 256, TILES = 64, MOST_TILES = 4096, DRAWN_TILES = 1000 };
/* Twice what a slide's reader keeps of decoded tiles. */
#define CACHES_HOLD ((size_t)64 << 20)

typedef struct {
    const LobBench *bench;
    LobSlide *slide;
    LobReader *reader;
    LobTileSpec spec;
    int32_t (*xy)[2]; /* [n] tissue tiles around the middle, in the order of rows */
    size_t n, at;
    uint8_t *rgb;
    LobBenchJpegs *jpegs; /* the slide's own under these tiles, or one made of its pixels */
    bool own;
} Reading;

/* ---- a slide where none is given ---- */

static bool draw(const char *dir, GError **err) {
    LobDemoOptions options;
    lob_demo_defaults(&options, false);
    options.patients = options.centers = 1;
    options.tiles = DRAWN_TILES;
    g_autoptr(LobDemo) demo = lob_demo_new(&options);
    return lob_demo_draw_slide(demo, 0, 0, dir, err);
}

static char *find_drawn(const char *dir, GError **err) {
    g_autofree char *slides = g_build_filename(dir, "slides", NULL);
    g_autoptr(GDir) folder = g_dir_open(slides, 0, NULL);
    const char *name = folder ? g_dir_read_name(folder) : NULL;
    if (!name)
        lob_fail(err, LOB_ERROR_IO, "%s: the slide drawn there is gone", slides);
    return name ? g_build_filename(slides, name, NULL) : NULL;
}

static void remove_drawn(const char *dir) {
    static const char *const folders[] = {"slides", "nuclei"};
    for (size_t i = 0; i < G_N_ELEMENTS(folders); i++) {
        g_autofree char *path = g_build_filename(dir, folders[i], NULL);
        g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
        for (const char *name; folder && (name = g_dir_read_name(folder));) {
            g_autofree char *file = g_build_filename(path, name, NULL);
            (void)g_unlink(file);
        }
        (void)g_rmdir(path);
    }
    (void)g_rmdir(dir);
}

/* ---- which tiles ---- */

typedef struct {
    int32_t xy[2];
    double far; /* from the middle, squared */
} Place;

static int by_distance(const void *a, const void *b) {
    const Place *p = a, *q = b;
    return (p->far > q->far) - (p->far < q->far);
}

static int by_row(const void *a, const void *b) {
    const Place *p = a, *q = b;
    return p->xy[1] != q->xy[1] ? (p->xy[1] > q->xy[1]) - (p->xy[1] < q->xy[1])
                                : (p->xy[0] > q->xy[0]) - (p->xy[0] < q->xy[0]);
}

/* Ranks begin at different places of the same walk. */
static bool choose(Reading *r, const LobLook *look, GError **err) {
    const LobGrid *grid = &look->grid;
    g_autofree Place *places = g_new(Place, MAX(grid->n, 1));
    for (size_t i = 0; i < grid->n; i++) {
        const double dx = grid->xy[i][0] - (double)look->info.width / 2;
        const double dy = grid->xy[i][1] - (double)look->info.height / 2;
        places[i] = (Place){{grid->xy[i][0], grid->xy[i][1]}, dx * dx + dy * dy};
    }
    qsort(places, grid->n, sizeof *places, by_distance);
    r->n = MIN(grid->n, MOST_TILES);
    if (r->n == 0)
        return lob_fail(err, LOB_ERROR_INPUT, "no tissue was found on the slide");
    qsort(places, r->n, sizeof *places, by_row);
    r->xy = g_malloc(r->n * sizeof *r->xy);
    for (size_t i = 0; i < r->n; i++)
        memcpy(r->xy[i], places[i].xy, sizeof r->xy[i]);
    r->at = r->n * (size_t)r->bench->world->rank / (size_t)r->bench->world->size;
    return true;
}

static bool look(Reading *r, const char *path, GError **err) {
    const LobLookSpec spec = {
        .slide = {.path = path}, .tile = r->spec, .tissue = lob_tissue_defaults, .min_tissue = 0.5};
    g_auto(LobLook) look = {0};
    return lob_look_at(r->reader, &spec, &look, err) && choose(r, &look, err);
}

/* ---- reading them ---- */

static bool run_straight(void *user, double *units, GError **err) {
    Reading *r = user;
    for (int t = 0; t < TILES; t++, r->at++) {
        const int32_t *xy = r->xy[r->at % r->n];
        if (!lob_slide_tile(r->slide, &r->spec, xy[0], xy[1], r->rgb, err))
            return false;
    }
    *units = TILES;
    return true;
}

static bool request(Reading *r, GError **err) {
    int32_t xy[TILES][2];
    for (int t = 0; t < TILES; t++, r->at++)
        memcpy(xy[t], r->xy[r->at % r->n], sizeof xy[t]);
    return lob_reader_request(r->reader, &r->spec, (const int32_t(*)[2])xy, TILES, err);
}

/* As in a job, the next tiles are asked for before these are taken. */
static bool run_reader(void *user, double *units, GError **err) {
    Reading *r = user;
    const uint8_t *rgb, *status;
    g_autofree char *reason = NULL;
    if (!request(r, err) || !lob_reader_collect(r->reader, &rgb, &status, &reason, err))
        return false;
    for (int t = 0; t < TILES; t++)
        if (status[t] != LOB_TILE_OK)
            return lob_fail(err, LOB_ERROR_SLIDE, "a tile cannot be read: %s", reason ? reason : "unknown");
    *units = TILES;
    return true;
}

/* ---- the bench ---- */

static bool measure(Reading *r, GError **err) {
    const LobBench *bench = r->bench;
    LobBenchRate ceiling, straight, reader;
    if (!lob_bench_measure(bench, run_straight, r, &straight, err) ||
        !lob_bench_measure(bench, run_reader, r, &reader, err) ||
        !lob_bench_jpegs_measure(bench, r->jpegs, TILE, &ceiling, err))
        return false;
    g_autofree char *what =
        g_strdup_printf("256 px tissue tiles, level 0, %s", lob_slide_info(r->slide)->vendor);
    g_autofree char *through = g_strdup_printf("%s, by a reader process", what);
    const bool cached = r->n * (size_t)(TILE * TILE * 4) <= CACHES_HOLD;
    json_t *more = json_pack("{s:I, s:b, s:b}", "tiles", (json_int_t)r->n, "drawn", bench->slide == NULL,
                             "cached", cached);
    LobBenchResult result = {.bench = "read",
                             .what = what,
                             .unit = "tiles/s",
                             .rate = straight,
                             .kind = r->own && !cached ? LOB_BENCH_BOUND : LOB_BENCH_REFERENCE,
                             .ceiling_name = !r->own ? "bare decoding of one tile, compressed again as JPEG"
                                             : cached
                                                 ? "bare decoding of these JPEG tiles, which a cache holds"
                                                 : "bare decoding of these JPEG tiles",
                             .ceiling = ceiling.rate,
                             .more = more};
    lob_bench_report(bench, &result);
    result.what = through;
    result.rate = reader;
    /* On another core, so that it may pass what one rank's core decodes. */
    result.kind = LOB_BENCH_REFERENCE;
    lob_bench_report(bench, &result);
    json_decref(more);
    return true;
}

static bool take_jpegs(Reading *r, const char *path, GError **err) {
    const LobSlideInfo *info = lob_slide_info(r->slide);
    const int32_t *middle = r->xy[r->n / 2];
    r->jpegs = lob_bench_jpegs_of(path, info->width, info->height, TILE, (const int32_t(*)[2])r->xy, r->n);
    r->own = r->jpegs != NULL;
    if (!r->own && lob_slide_tile(r->slide, &r->spec, middle[0], middle[1], r->rgb, err))
        r->jpegs = lob_bench_jpegs_from(r->rgb, TILE, err);
    return r->jpegs != NULL;
}

static bool open_slide(Reading *r, const char *path, GError **err) {
    const LobSlideSpec file = {.path = path};
    LobReaderLimits limits = lob_reader_default_limits;
    limits.tile_size = TILE;
    r->slide = lob_slide_open(&file, err);
    if (!r->slide)
        return false;
    const LobSlideInfo *info = lob_slide_info(r->slide);
    if (!(info->mpp_x > 0))
        return lob_fail(err, LOB_ERROR_INPUT, "%s: its scale is unknown", path);
    r->spec = (LobTileSpec){.mpp = info->mpp_x, .size = TILE, .max_enlarge = 1.1};
    r->reader = lob_reader_new(&limits, err);
    return r->reader && look(r, path, err) && take_jpegs(r, path, err) && request(r, err);
}

static bool read_slide(const LobBench *bench, const char *path, GError **err) {
    g_autofree uint8_t *rgb = g_malloc((size_t)TILE * TILE * 3);
    Reading r = {.bench = bench, .rgb = rgb};
    GError *mine = NULL;
    if (!open_slide(&r, path, &mine) && mine->domain == LOB_ERROR && mine->code == LOB_ERROR_SLIDE)
        mine->code = LOB_ERROR_INPUT; /* there is no other slide to go on with */
    const bool ok = lob_world_agree(bench->world, mine, err) && measure(&r, err);
    lob_bench_jpegs_free(r.jpegs);
    if (r.reader)
        lob_reader_free(r.reader);
    if (r.slide)
        lob_slide_close(r.slide);
    g_free(r.xy);
    return ok;
}

bool lob_bench_read(const LobBench *bench, GError **err) {
    if (bench->slide)
        return read_slide(bench, bench->slide, err);
    g_autofree char *dir = NULL, *path = NULL;
    int id = g_random_int_range(0, G_MAXINT);
    GError *mine = NULL;
    lob_world_bcast(bench->world, &id, sizeof id);
    dir = g_strdup_printf("%s/lobule-bench-%d.slide", bench->dir, id);
    if (bench->world->rank == 0)
        (void)draw(dir, &mine);
    bool ok = lob_world_agree(bench->world, mine, err);
    if (ok) {
        mine = NULL;
        path = find_drawn(dir, &mine);
        ok = lob_world_agree(bench->world, mine, err) && read_slide(bench, path, err);
    }
    lob_world_barrier(bench->world);
    if (bench->world->rank == 0)
        remove_drawn(dir);
    return ok;
}
