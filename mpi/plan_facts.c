#include "mpi/plan_facts.h"

#include <string.h>

GVariant *lob_plan_facts_pack(const LobPlanFacts *f) {
    const LobSlideQuality *q = &f->quality;
    return g_variant_new(LOB_PLAN_FACTS_TYPE, f->width, f->height, f->mpp_x, f->mpp_y, f->mpp_source,
                         f->quickhash, f->file_size, f->file_mtime, f->tiles, f->grid_crc, q->tissue_mm2,
                         q->pen_fraction, q->fold_fraction, q->blur, q->od_mean[0], q->od_mean[1],
                         q->od_mean[2], f->seconds);
}

bool lob_plan_facts_unpack(GVariant *variant, LobPlanFacts *f) {
    const char *quickhash = NULL;
    LobSlideQuality *q = &f->quality;
    if (!g_variant_is_of_type(variant, G_VARIANT_TYPE(LOB_PLAN_FACTS_TYPE)))
        return false;
    memset(f, 0, sizeof *f);
    g_variant_get(variant, "(xxddi&sxxuudddddddd)", &f->width, &f->height, &f->mpp_x, &f->mpp_y,
                  &f->mpp_source, &quickhash, &f->file_size, &f->file_mtime, &f->tiles, &f->grid_crc,
                  &q->tissue_mm2, &q->pen_fraction, &q->fold_fraction, &q->blur, &q->od_mean[0],
                  &q->od_mean[1], &q->od_mean[2], &f->seconds);
    g_strlcpy(f->quickhash, quickhash, sizeof f->quickhash);
    return true;
}

char *lob_plan_facts_text(const LobPlanFacts *facts) {
    g_autoptr(GVariant) variant = g_variant_ref_sink(lob_plan_facts_pack(facts));
    return g_variant_print(variant, FALSE);
}

bool lob_plan_facts_parse(const char *text, LobPlanFacts *facts) {
    g_autoptr(GVariant) variant =
        g_variant_parse(G_VARIANT_TYPE(LOB_PLAN_FACTS_TYPE), text, NULL, NULL, NULL);
    return variant && lob_plan_facts_unpack(variant, facts);
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

/* The file: positions [n][2] int32, then tissue [n] uint8, little endian as the machine has them. */
bool lob_plan_grid_save(const char *path, const LobGrid *grid, uint32_t *crc, GError **err) {
    const size_t xy = grid->n * sizeof *grid->xy;
    g_autofree uint8_t *bytes = g_malloc(xy + grid->n + 1);
    if (grid->n > 0) {
        memcpy(bytes, grid->xy, xy);
        memcpy(bytes + xy, grid->tissue, grid->n);
    }
    *crc = lob_crc32c(0, bytes, xy + grid->n);
    return lob_file_replace(path, bytes, xy + grid->n, err);
}

bool lob_plan_grid_load(const char *path, uint32_t tiles, uint32_t crc, LobGrid *grid, GError **err) {
    g_autofree char *bytes = NULL;
    g_autoptr(GError) problem = NULL;
    gsize size = 0;
    const size_t xy = tiles * sizeof *grid->xy;
    if (!g_file_get_contents(path, &bytes, &size, &problem))
        return lob_fail(err, LOB_ERROR_IO, "%s", problem->message);
    if (size != xy + tiles || lob_crc32c(0, bytes, size) != crc)
        return lob_fail(err, LOB_ERROR_IO,
                        "%s is not the grid that was planned; remove the plan folder and the unfinished part "
                        "to plan anew",
                        path);
    lob_grid_clear(grid);
    grid->n = tiles;
    grid->xy = g_malloc(MAX(xy, 1));
    grid->tissue = g_malloc(MAX(tiles, 1));
    memcpy(grid->xy, bytes, xy);
    memcpy(grid->tissue, bytes + xy, tiles);
    return true;
}
