/* From validate's table of most attended tiles to a file a slide that QuPath shows. */
#include "jobs/top_tiles.h"
#include "hdf5io/hdf5io.h"
#include "tissue/tissue.h"

#include <math.h>
#include <string.h>

enum { ENDPOINT, REPEAT, PATIENT, SLIDE, X, Y, ATTENTION, TIMES_UNIFORM, N_COLUMNS };
static const char *const column_names[N_COLUMNS] = {"endpoint", "repeat", "patient_id", "slide_id",
                                                    "x",        "y",      "attention",  "times_uniform"};

typedef struct {
    double width, height; /* level-0 px */
} Footprint;

typedef struct {
    const char *const *slides, *const *patients;
    LobTable *table;
    int column[N_COLUMNS];
    GHashTable *footprints; /* slide_id -> Footprint */
    GHashTable *files;      /* slide_id -> LobGeojson */
    size_t placeless;       /* chosen rows without a place */
} Maker;

static void maker_clear(Maker *maker) {
    g_clear_pointer(&maker->table, lob_table_free);
    g_clear_pointer(&maker->footprints, g_hash_table_unref);
    g_clear_pointer(&maker->files, g_hash_table_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Maker, maker_clear)

static void free_geojson(gpointer geojson) {
    lob_geojson_free(geojson);
}

static bool add_footprints(Maker *maker, const char *path, GError **err) {
    g_autoptr(LobStore) store = lob_store_open(path, err);
    size_t n = 0;
    if (!store)
        return false;
    const LobStoreHeader *header = lob_store_header(store);
    const LobStoreSlide *slides = lob_store_slides(store, &n);
    const double um = header->tile_size * header->tile_mpp;
    for (size_t i = 0; i < n; i++) {
        if (!(slides[i].mpp_x > 0) || !(slides[i].mpp_y > 0))
            continue;
        Footprint *footprint = g_new(Footprint, 1);
        *footprint = (Footprint){um / slides[i].mpp_x, um / slides[i].mpp_y};
        g_hash_table_insert(maker->footprints, g_strdup(slides[i].slide_id), footprint);
    }
    return true;
}

/* Stores alone know places; a folder of other tools' files is passed over, as validate does. */
static bool find_footprints(Maker *maker, const LobStudy *study, GError **err) {
    char *const own[] = {study->output, NULL};
    maker->footprints = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_auto(GStrv) parts = lob_store_find_all(study->features ? study->features : own, err);
    for (char **part = parts; part && *part; part++)
        if (!add_footprints(maker, *part, err))
            return false;
    return parts != NULL;
}

static const char *cell(const Maker *maker, size_t row, int column) {
    return lob_table_cell(maker->table, row, maker->column[column]);
}

static LobGeojson *file_of(Maker *maker, const char *slide_id) {
    LobGeojson *geojson = g_hash_table_lookup(maker->files, slide_id);
    if (!geojson) {
        geojson = lob_geojson_new();
        g_hash_table_insert(maker->files, (gpointer)slide_id, geojson);
    }
    return geojson;
}

static bool add_row(Maker *maker, size_t row, GError **err) {
    static const char *const names[] = {"attention", "times uniform"};
    static const uint8_t orange[3] = {230, 110, 0};
    double number[N_COLUMNS];
    for (int c = X; c < N_COLUMNS; c++)
        if (!lob_table_number(maker->table, row, maker->column[c], &number[c], err))
            return false;
    const char *slide_id = cell(maker, row, SLIDE);
    const Footprint *footprint = g_hash_table_lookup(maker->footprints, slide_id);
    if (!footprint || !isfinite(number[X]) || !isfinite(number[Y])) {
        maker->placeless++;
        return true;
    }
    g_autofree char *class_name = g_strdup_printf("Attention: %s", cell(maker, row, ENDPOINT));
    g_autofree char *name = g_strdup_printf("%s, repeat %s: %.1f x uniform", cell(maker, row, ENDPOINT),
                                            cell(maker, row, REPEAT), number[TIMES_UNIFORM]);
    const LobGeojsonTile tile = {.x = number[X],
                                 .y = number[Y],
                                 .width = footprint->width,
                                 .height = footprint->height,
                                 .name = name,
                                 .class_name = class_name,
                                 .colour = orange,
                                 .annotation = true,
                                 .score_names = names,
                                 .scores = &number[ATTENTION],
                                 .n_scores = 2};
    lob_geojson_add_tile(file_of(maker, slide_id), &tile);
    return true;
}

static bool read_table(Maker *maker, const char *path, GError **err) {
    if (!g_file_test(path, G_FILE_TEST_EXISTS))
        return lob_fail(err, LOB_ERROR_INPUT,
                        "%s is not there: validate writes it, with a model that attends", path);
    maker->table = lob_table_read(path, err);
    if (!maker->table)
        return false;
    for (int c = 0; c < N_COLUMNS; c++)
        if ((maker->column[c] = lob_table_require(maker->table, column_names[c], err)) < 0)
            return false;
    maker->files = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_geojson);
    for (size_t row = 0; row < lob_table_rows(maker->table); row++) {
        if (maker->slides && !g_strv_contains(maker->slides, cell(maker, row, SLIDE)))
            continue;
        if (maker->patients && !g_strv_contains(maker->patients, cell(maker, row, PATIENT)))
            continue;
        if (!add_row(maker, row, err))
            return false;
    }
    return true;
}

static bool save_all(const Maker *maker, const char *folder, GError **err) {
    GHashTableIter iter;
    gpointer slide_id, geojson;
    g_hash_table_iter_init(&iter, maker->files);
    while (g_hash_table_iter_next(&iter, &slide_id, &geojson)) {
        g_autofree char *name = g_strconcat(slide_id, ".top_tiles.geojson", NULL);
        g_autofree char *path = g_build_filename(folder, name, NULL);
        if (strchr(slide_id, '/'))
            return lob_fail(err, LOB_ERROR_INPUT, "slide '%s': this id cannot be a file's name",
                            (const char *)slide_id);
        if (!lob_geojson_save(geojson, path, err))
            return false;
    }
    return true;
}

bool lob_top_tiles_geojson(const LobCohort *cohort, const char *const *slides, const char *const *patients,
                           size_t *n_files, GError **err) {
    g_auto(Maker) maker = {.slides = slides, .patients = patients};
    g_autofree char *folder = lob_study_out(cohort->study, "attention");
    g_autofree char *path = g_build_filename(folder, "top_tiles.csv", NULL);
    if (!find_footprints(&maker, cohort->study, err) || !read_table(&maker, path, err))
        return false;
    *n_files = g_hash_table_size(maker.files);
    if (*n_files == 0)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: %s", path,
                        maker.placeless ? "its tiles have no places (features of other tools' files)"
                                        : "nobody chosen is in it");
    if (maker.placeless)
        lob_warning("%zu tiles have no places and are left out", maker.placeless);
    return save_all(&maker, folder, err);
}
