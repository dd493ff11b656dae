/* Draws the demo cohort: shares fixed by expected cost, no talk between ranks until the end. */
#include "hdf5io/hdf5io.h"
#include "mpi/stop.h"
#include "mpi/world.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TELL_SECONDS 10.0
#define BAG_TILE_PX 224

typedef struct {
    uint32_t patient;
    int slide;
    double cost;
    bool there; /* drawn by an earlier run */
} Piece;

/* Everything a piece's bytes depend on: a folder holds one cohort. Caller frees. */
static char *describe(const LobDemoOptions *o) {
    return g_strdup_printf(
        "{\"kind\": \"%s\", \"seed\": %" G_GUINT64_FORMAT
        ", \"patients\": %d, \"centers\": %d, \"tiles\": %d, \"dim\": %d, \"null\": %s, \"immortal\": %s, "
        "\"grade_effect\": %.17g, \"tace_effect\": %.17g, \"tace_immune_effect\": %.17g, "
        "\"covariate_effect\": %.17g, \"systemic_effect\": %.17g, \"vessel_effect\": %.17g, "
        "\"indication\": %.17g, \"hidden_indication\": %.17g, \"center_lean\": %.17g, "
        "\"center_sd\": %.17g, \"center_effect_sd\": %.17g, \"systemic_share\": %.17g, \"early\": %s, "
        "\"missing\": %d, "
        "\"endpoints\": %u}\n",
        o->bags ? "bags" : "slides", o->seed, o->patients, o->centers, o->tiles, o->dim,
        o->null ? "true" : "false", o->immortal ? "true" : "false", o->grade_effect, o->tace_effect,
        o->tace_immune_effect, o->covariate_effect, o->systemic_effect, o->vessel_effect, o->indication,
        o->hidden_indication, o->center_lean, o->center_sd, o->center_effect_sd, o->systemic_share,
        o->early ? "true" : "false", (int)o->missing, o->endpoints);
}

static char *piece_path(const LobDemo *demo, const Piece *piece, const char *dir) {
    const char *id = demo->patients[piece->patient].slide_id[piece->slide];
    return demo->options.bags ? g_strdup_printf("%s/features/%s.h5", dir, id)
                              : g_strdup_printf("%s/slides/%s.svs", dir, id);
}

/* Rank 0: refuses a folder of another cohort, writes the tables, finds what is drawn already. */
static bool prepare(const LobDemo *demo, const char *dir, Piece *pieces, size_t n, GError **err) {
    g_autofree char *wanted = describe(&demo->options), *path = g_build_filename(dir, "demo.json", NULL);
    g_autofree char *found = NULL;
    if (g_file_get_contents(path, &found, NULL, NULL) && strcmp(found, wanted) != 0)
        return lob_fail(err, LOB_ERROR_INPUT,
                        "%s: the folder holds a cohort made with other options; name another folder", path);
    g_autofree char *features = g_build_filename(dir, "features", NULL);
    if (!lob_make_dirs(demo->options.bags ? features : dir, err) ||
        !lob_file_replace(path, wanted, strlen(wanted), err) || !lob_demo_write_tables(demo, dir, err))
        return false;
    for (size_t i = 0; i < n; i++) {
        g_autofree char *file = piece_path(demo, &pieces[i], dir);
        pieces[i].there = g_file_test(file, G_FILE_TEST_IS_REGULAR);
    }
    return true;
}

static Piece *list_pieces(const LobDemo *demo) {
    Piece *pieces = g_new0(Piece, MAX(demo->n_slides, 1));
    size_t n = 0;
    for (size_t p = 0; p < demo->n_patients; p++) {
        for (int s = 0; s < demo->patients[p].n_slides; s++)
            pieces[n++] =
                (Piece){.patient = (uint32_t)p, .slide = s, .cost = lob_demo_slide_cost(demo, p, s)};
    }
    return pieces;
}

static int by_cost(const void *a, const void *b) {
    const Piece *p = a, *q = b;
    if (p->cost != q->cost)
        return p->cost > q->cost ? -1 : 1;
    return p->patient != q->patient ? (p->patient > q->patient ? 1 : -1) : p->slide - q->slide;
}

/* Costliest first to the rank with least so far; every rank computes the same. */
static void keep_own(const LobWorld *world, Piece *pieces, size_t *n) {
    g_autofree double *load = g_new0(double, (gsize)world->size);
    size_t kept = 0;
    qsort(pieces, *n, sizeof *pieces, by_cost);
    for (size_t i = 0; i < *n; i++) {
        int least = 0;
        for (int r = 1; !pieces[i].there && r < world->size; r++)
            least = load[r] < load[least] ? r : least;
        if (pieces[i].there)
            continue;
        load[least] += pieces[i].cost;
        if (least == world->rank)
            pieces[kept++] = pieces[i];
    }
    *n = kept;
}

static bool write_bag(const LobDemo *demo, const Piece *piece, const char *dir, GError **err) {
    const LobDemoOptions *o = &demo->options;
    g_autofree float *rows = g_new(float, (size_t)o->tiles *(size_t)o->dim);
    g_autofree int32_t *coords = g_new(int32_t, 2 * (size_t)o->tiles);
    g_autofree char *path = piece_path(demo, piece, dir);
    int columns = (int)ceil(sqrt(o->tiles));
    for (int i = 0; i < o->tiles; i++) {
        coords[2 * i] = i % columns * BAG_TILE_PX;
        coords[2 * i + 1] = i / columns * BAG_TILE_PX;
    }
    lob_demo_bag(demo, piece->patient, rows);
    return lob_feature_file_write(path, rows, (size_t)o->tiles, o->dim, (const int32_t(*)[2])(void *)coords,
                                  "lobule-demo", BAG_TILE_PX, err);
}

static bool draw_own(const LobWorld *world, const LobDemo *demo, const char *dir, const Piece *pieces,
                     size_t n, GError **err) {
    double told = lob_clock();
    for (size_t i = 0; i < n; i++) {
        if (lob_run_state() != LOB_RUN_ON)
            return lob_run_stop_error(err);
        if (demo->options.bags ? !write_bag(demo, &pieces[i], dir, err)
                               : !lob_demo_draw_slide(demo, pieces[i].patient, pieces[i].slide, dir, err))
            return false;
        if (world->rank == 0 && lob_clock() - told > TELL_SECONDS) {
            told = lob_clock();
            lob_info("demo: %zu of %zu drawn on rank 0 of %d", i + 1, n, world->size);
        }
    }
    return true;
}

bool lob_job_demo(const LobWorld *world, const LobDemoOptions *options, const char *dir, int *exit_code,
                  GError **err) {
    double start = lob_clock();
    g_autoptr(LobDemo) demo = lob_demo_new(options);
    g_autofree Piece *pieces = list_pieces(demo);
    size_t n = demo->n_slides, todo = 0;
    GError *mine = NULL;
    if (world->rank == 0)
        (void)prepare(demo, dir, pieces, n, &mine);
    if (!lob_world_agree(world, mine, err))
        return false;
    lob_world_bcast(world, pieces, n * sizeof *pieces);
    for (size_t i = 0; i < n; i++)
        todo += !pieces[i].there;
    if (world->rank == 0)
        lob_info("demo: %zu patients, %zu %s, %zu there already, drawing %zu on %d ranks", demo->n_patients,
                 n, options->bags ? "bags" : "slides", n - todo, todo, world->size);
    size_t own = n;
    keep_own(world, pieces, &own);
    mine = NULL;
    (void)draw_own(world, demo, dir, pieces, own, &mine);
    if (!lob_world_agree(world, mine, err))
        return false;
    if (world->rank == 0)
        lob_info("demo: %s is ready after %.1f s", dir, lob_clock() - start);
    *exit_code = LOB_EXIT_DONE;
    return true;
}
