/* Where the models looked: each held-out patient's most and least attended tiles, with their place on the
 * slide where the features come from a lobule store. */
#include "mpi/atlas.h"
#include "mpi/validate.h"

#include <math.h>
#include <string.h>

/* Level-0 pixels of a bag's tile; absent where no store holds the slide. */
static bool tile_corner(LobAtlas *atlas, const char *slide_id, uint64_t tile, double xy[2], GError **err) {
    const LobAtlasSlide *at;
    xy[0] = xy[1] = NAN;
    if (!lob_atlas_slide(atlas, slide_id, &at, err))
        return false;
    if (at && tile < at->n) {
        xy[0] = at->xy[tile][0];
        xy[1] = at->xy[tile][1];
    }
    return true;
}

/* The cohort slide a row of the loaded bags belongs to, and the tile's place in it; slides lie in order of
 * their rows. */
static bool find_tile(const LobResident *resident, uint64_t row, uint32_t *slide, uint64_t *tile) {
    uint64_t from = resident->origin[row];
    for (size_t i = 0; i < resident->set.n_slides; i++) {
        uint64_t first = resident->set.slides[i].first;
        if (from < first || from >= first + resident->set.slides[i].count)
            continue;
        *slide = resident->set.slides[i].slide;
        *tile = from - first;
        return true;
    }
    return false;
}

static bool tile_rows(LobCsv *csv, const LobPlan *plan, size_t t, const LobTaskResult *r, bool least,
                      const LobResident *resident, LobAtlas *atlas, GError **err) {
    const LobCohort *cohort = plan->cohort;
    for (size_t i = 0; i < r->n_tiles; i++) {
        const LobTopTile *top = &r->tiles[i];
        uint32_t slide;
        uint64_t tile;
        double xy[2];
        if ((top->least != 0) != least)
            continue;
        if (!find_tile(resident, top->row, &slide, &tile))
            return lob_fail(err, LOB_ERROR_INTERNAL, "row %llu of the bags belongs to no slide",
                            (unsigned long long)top->row);
        const char *slide_id = cohort->slides[slide].slide_id;
        if (!tile_corner(atlas, slide_id, tile, xy, err))
            return false;
        lob_csv_text(csv, cohort->study->endpoints[plan->tasks[t].endpoint].name);
        lob_csv_integer(csv, plan->tasks[t].repeat);
        lob_csv_text(csv, cohort->patients[top->patient].patient_id);
        lob_csv_text(csv, slide_id);
        lob_csv_integer(csv, (int64_t)tile);
        lob_csv_number(csv, xy[0]);
        lob_csv_number(csv, xy[1]);
        lob_csv_number(csv, (double)top->attention);
        lob_csv_number(csv, (double)top->attention * (double)resident->bags.count[top->patient]);
        lob_csv_end_row(csv);
    }
    return true;
}

static bool write_table(const LobPlan *plan, const LobTaskResult *results, const LobResident *resident,
                        LobAtlas *atlas, bool least, const char *path, GError **err) {
    g_autoptr(LobCsv) csv =
        lob_csv_new((const char *[]){"endpoint", "repeat", "patient_id", "slide_id", "tile", "x", "y",
                                     "attention", "times_uniform", NULL});
    for (size_t t = 0; t < plan->n_tasks; t++)
        if (plan->tasks[t].seed == 0 && !tile_rows(csv, plan, t, &results[t], least, resident, atlas, err))
            return false;
    return lob_csv_save(csv, path, err);
}

/* Of the first seed's models: attention of several networks has no common scale. */
bool lob_top_tiles_write(const LobPlan *plan, const LobTaskResult *results, const LobResident *resident,
                         GError **err) {
    if (!resident->origin)
        return true;
    g_autoptr(LobAtlas) atlas = lob_atlas_new(plan->sources, err);
    g_autofree char *dir = lob_study_out(plan->cohort->study, "attention");
    g_autofree char *top = g_build_filename(dir, "top_tiles.csv", NULL);
    g_autofree char *bottom = g_build_filename(dir, "bottom_tiles.csv", NULL);
    return atlas && lob_make_dirs(dir, err) && write_table(plan, results, resident, atlas, false, top, err) &&
           write_table(plan, results, resident, atlas, true, bottom, err);
}
