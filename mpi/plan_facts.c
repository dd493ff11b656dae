#include "mpi/plan_facts.h"

#include <math.h>
#include <string.h>

/* As plans were written before the last member was thought of. */
#define OLD_TYPE "(xxddisxxuudddddddd)"
enum { STAIN_VALUES = sizeof(LobStains) / sizeof(double), MORE_VALUES = 1 + STAIN_VALUES };

GVariant *lob_plan_facts_pack(const LobPlanFacts *f) {
    const LobSlideQuality *q = &f->quality;
    double more[MORE_VALUES] = {q->unknown};
    memcpy(more + 1, &f->stains, sizeof f->stains);
    return g_variant_new("(xxddisxxuudddddddd@ad)", f->width, f->height, f->mpp_x, f->mpp_y, f->mpp_source,
                         f->quickhash, f->file_size, f->file_mtime, f->tiles, f->grid_crc, q->tissue_mm2,
                         q->pen_fraction, q->fold_fraction, q->blur, q->od_mean[0], q->od_mean[1],
                         q->od_mean[2], f->seconds,
                         g_variant_new_fixed_array(G_VARIANT_TYPE_DOUBLE, more, MORE_VALUES, sizeof *more));
}

static void unpack_more(GVariant *array, LobPlanFacts *f) {
    gsize n = 0;
    const double *more = array ? g_variant_get_fixed_array(array, &n, sizeof *more) : NULL;
    double *stains = (double *)&f->stains;
    f->quality.unknown = n > 0 ? more[0] : 0;
    for (gsize i = 0; i < STAIN_VALUES; i++)
        stains[i] = i + 1 < n ? more[i + 1] : (double)NAN;
}

bool lob_plan_facts_unpack(GVariant *variant, LobPlanFacts *f) {
    const char *quickhash = NULL;
    LobSlideQuality *q = &f->quality;
    g_autoptr(GVariant) more = NULL;
    const bool old = g_variant_is_of_type(variant, G_VARIANT_TYPE(OLD_TYPE));
    if (!old && !g_variant_is_of_type(variant, G_VARIANT_TYPE(LOB_PLAN_FACTS_TYPE)))
        return false;
    memset(f, 0, sizeof *f);
    g_variant_get(variant, old ? "(xxddi&sxxuudddddddd)" : "(xxddi&sxxuudddddddd@ad)", &f->width, &f->height,
                  &f->mpp_x, &f->mpp_y, &f->mpp_source, &quickhash, &f->file_size, &f->file_mtime, &f->tiles,
                  &f->grid_crc, &q->tissue_mm2, &q->pen_fraction, &q->fold_fraction, &q->blur, &q->od_mean[0],
                  &q->od_mean[1], &q->od_mean[2], &f->seconds, &more);
    g_strlcpy(f->quickhash, quickhash, sizeof f->quickhash);
    unpack_more(more, f);
    return true;
}

char *lob_plan_facts_text(const LobPlanFacts *facts) {
    g_autoptr(GVariant) variant = g_variant_ref_sink(lob_plan_facts_pack(facts));
    return g_variant_print(variant, FALSE);
}

bool lob_plan_facts_parse(const char *text, LobPlanFacts *facts) {
    static const char *const types[] = {LOB_PLAN_FACTS_TYPE, OLD_TYPE};
    for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
        g_autoptr(GVariant) variant = g_variant_parse(G_VARIANT_TYPE(types[i]), text, NULL, NULL, NULL);
        if (variant)
            return lob_plan_facts_unpack(variant, facts);
    }
    return false;
}

void lob_plan_facts_stain(const LobPlanFacts *facts, double stain[LOB_STORE_STAINS]) {
    memcpy(stain, facts->stains.hema, 3 * sizeof *stain);
    memcpy(stain + 3, facts->stains.eosin, 3 * sizeof *stain);
    memcpy(stain + 6, facts->stains.strength, 2 * sizeof *stain);
}

bool lob_plan_facts_same_file(const LobPlanFacts *facts, const LobSlideInfo *info, GError **err) {
    const char *what = NULL;
    if (facts->file_size != info->file_size)
        what = "size";
    else if (strcmp(facts->quickhash, info->quickhash) != 0)
        what = "quickhash";
    else if (facts->file_mtime != info->file_mtime)
        what = "modification time";
    if (!what)
        return true;
    return lob_fail(
        err, LOB_ERROR_SLIDE,
        "the file's %s changed since it was planned: its tiles no longer fit; run plan again when "
        "this part is finished",
        what);
}

char *lob_plan_grid_path(const LobStudy *study, const char *slide_id) {
    g_autofree char *escaped = g_uri_escape_string(slide_id, " +@", TRUE);
    g_autofree char *name = g_strdup_printf("plan/%s.grid", escaped);
    return lob_study_out(study, name);
}

/* The file: positions [n][2] int32, then tissue [n], pen [n] and fold [n] uint8, little endian as the machine
 * has them. Plans of earlier versions end after tissue. */
bool lob_plan_grid_save(const char *path, const LobGrid *grid, uint32_t *crc, GError **err) {
    const uint8_t *const columns[] = {grid->tissue, grid->pen, grid->fold};
    const size_t xy = grid->n * sizeof *grid->xy, size = xy + grid->n * G_N_ELEMENTS(columns);
    g_autofree uint8_t *bytes = g_malloc(size + 1);
    if (grid->n > 0) {
        memcpy(bytes, grid->xy, xy);
        for (size_t c = 0; c < G_N_ELEMENTS(columns); c++)
            memcpy(bytes + xy + c * grid->n, columns[c], grid->n);
    }
    *crc = lob_crc32c(0, bytes, size);
    return lob_file_replace(path, bytes, size, err);
}

bool lob_plan_grid_load(const char *path, uint32_t tiles, uint32_t crc, LobGrid *grid, GError **err) {
    g_autofree char *bytes = NULL;
    g_autoptr(GError) problem = NULL;
    gsize size = 0;
    const size_t xy = tiles * sizeof *grid->xy;
    if (!g_file_get_contents(path, &bytes, &size, &problem))
        return lob_fail(err, LOB_ERROR_IO, "%s", problem->message);
    const bool judged = size == xy + 3 * (size_t)tiles;
    if ((!judged && size != xy + tiles) || lob_crc32c(0, bytes, size) != crc)
        return lob_fail(err, LOB_ERROR_IO,
                        "%s is not the grid that was planned; remove the plan folder: slides that are not "
                        "done are then planned again",
                        path);
    lob_grid_clear(grid);
    grid->n = tiles;
    grid->xy = g_memdup2(bytes, MAX(xy, 1));
    grid->tissue = g_memdup2(bytes + xy, MAX(tiles, 1));
    grid->pen = judged ? g_memdup2(bytes + xy + tiles, MAX(tiles, 1)) : NULL;
    grid->fold = judged ? g_memdup2(bytes + xy + 2 * (size_t)tiles, MAX(tiles, 1)) : NULL;
    return true;
}
