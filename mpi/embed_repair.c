/* Finished parts are read again. One with damaged slides becomes unfinished: its journal then vouches for all
 * the others, so that embedding makes the damaged ones anew and ends with the file that it was. */
#include "mpi/embed_internal.h"

#include <string.h>
#include <unistd.h>

typedef struct {
    LobStage stage;
    const LobCatalogPart *part; /* under way (rank 0) */
} Repair;

/* Of a part that is not finished only what was laid down when it was made: embedding looks at the rest. */
static GArray *list_checks(const LobCatalogPart *part) {
    GArray *checks = g_array_new(FALSE, FALSE, sizeof(LobRowCheck));
    for (uint32_t s = 0; s < part->n_slides; s++) {
        const LobStoreSlide *slide = &part->slides[s];
        if (part->finished ? slide->state != LOB_STATE_DONE : !part->header.tile_sums)
            continue;
        const LobRowCheck check = {.row = slide->first,
                                   .slide = s,
                                   .count = (uint32_t)slide->count,
                                   .crc = slide->crc32c,
                                   .quality_crc = slide->quality_crc32c,
                                   .tiles_crc = slide->tiles_crc32c,
                                   .has_features = part->finished,
                                   .has_quality = part->finished && part->header.quality,
                                   .has_tiles = part->header.tile_sums};
        g_array_append_val(checks, check);
    }
    return checks;
}

/* ---- what the damaged slides are made from ---- */

/* Before anything is touched: a slide that cannot be made anew stays as it is, for a copy to replace. */
static bool load_tiles(const Repair *repair, const LobStoreSlide *stored, LobGrid *grid, GError **err) {
    const LobCatalog *catalog = repair->stage.catalog;
    const int64_t i = lob_catalog_find(catalog, stored->slide_id);
    const LobPlanFacts *facts = i < 0 ? NULL : &catalog->slides[i].facts;
    const char *why = i < 0                                                ? "is not in the slide table"
                      : !catalog->slides[i].planned                        ? "has lost its plan"
                      : facts->tiles != stored->count                      ? "has another plan by now"
                      : access(catalog->cohort->slides[i].path, R_OK) != 0 ? "cannot be read from its file"
                                                                           : NULL;
    if (why)
        return lob_fail(
            err, LOB_ERROR_INPUT,
            "slide %s is damaged in %s and cannot be made again, since it %s: restore the store's "
            "file from a copy",
            stored->slide_id, repair->part->path, why);
    g_autofree char *path = lob_plan_grid_path(catalog->cohort->study, stored->slide_id);
    return lob_plan_grid_load(path, facts->tiles, facts->grid_crc, grid, err);
}

static const uint8_t *known_or_not(uint8_t **column, size_t n) {
    if (!*column) {
        *column = g_malloc(MAX(n, 1));
        memset(*column, LOB_QUALITY_UNKNOWN, n);
    }
    return *column;
}

/* ---- the journal that takes the table's place ---- */

static void put_slide(const Repair *repair, const LobStoreSlide *stored, GArray *records) {
    const LobCatalog *catalog = repair->stage.catalog;
    const int64_t i = lob_catalog_find(catalog, stored->slide_id);
    const bool here = i >= 0 && catalog->slides[i].part == repair->part->number;
    const char *reason = here ? catalog->slides[i].reason : NULL;
    LobJournalRecord record = {.slide_id = stored->slide_id, .count = stored->count};
    if (stored->state == LOB_STATE_DONE) {
        record.kind = LOB_J_RANGE;
        record.crc = stored->crc32c;
        record.unreadable = stored->unreadable;
        record.seconds = here ? catalog->slides[i].seconds : 0;
        record.text =
            repair->part->header.quality ? lob_journal_quality_text(stored->quality_crc32c) : g_strdup("");
    } else {
        record.kind = stored->state == LOB_STATE_QUARANTINED ? LOB_J_QUARANTINE : LOB_J_FAILED;
        record.count = here && catalog->slides[i].lasting;
        record.text = g_strdup(reason ? reason : "reason unknown");
    }
    g_array_append_val(records, record);
}

static void clear_text(void *record) {
    g_free(((LobJournalRecord *)record)->text);
}

static bool replace_journal(const Repair *repair, const bool *damaged, GError **err) {
    const LobCatalogPart *part = repair->part;
    g_autoptr(GArray) records = g_array_new(FALSE, TRUE, sizeof(LobJournalRecord));
    g_array_set_clear_func(records, clear_text);
    const LobJournalRecord start = {
        .kind = LOB_J_START, .slide_id = (char *)"", .text = g_strdup("the finished part is repaired")};
    const LobJournalRecord end = {.kind = LOB_J_END, .slide_id = (char *)"", .text = g_strdup("repair")};
    g_array_append_val(records, start);
    for (size_t s = 0; s < part->n_slides; s++)
        if (!damaged[s])
            put_slide(repair, &part->slides[s], records);
    g_array_append_val(records, end);
    return lob_journal_replace(part->journal, (const LobJournalRecord *)(const void *)records->data,
                               records->len, err);
}

/* ---- one part ---- */

static void clear_grid(void *grid) {
    lob_grid_clear(grid);
}

static void tell(const LobCatalogPart *part, const LobRowCheck *check) {
    const char *slide = part->slides[check->slide].slide_id;
    if (part->finished)
        lob_warning("slide %s: rows %" G_GUINT64_FORMAT "..%" G_GUINT64_FORMAT
                    " of %s are not as they were written: it is made again",
                    slide, check->row, check->row + check->count, part->path);
    else
        lob_warning("slide %s: coords or tissue in %s are not as they were planned: they are laid down again",
                    slide, part->path);
}

static bool reopen(Repair *repair, const GArray *bad, GError **err) {
    const LobCatalogPart *part = repair->part;
    g_autofree bool *damaged = g_new0(bool, part->n_slides + 1);
    g_autoptr(GArray) grids = g_array_new(FALSE, TRUE, sizeof(LobGrid));
    g_autofree LobPartRedo *redo = g_new0(LobPartRedo, bad->len + 1);
    g_array_set_clear_func(grids, clear_grid);
    g_array_set_size(grids, bad->len);
    for (guint k = 0; k < bad->len; k++) {
        const LobRowCheck *check = &g_array_index(bad, LobRowCheck, k);
        LobGrid *grid = &g_array_index(grids, LobGrid, k);
        damaged[check->slide] = true;
        tell(part, check);
        if (!load_tiles(repair, &part->slides[check->slide], grid, err))
            return false;
        redo[k] = (LobPartRedo){.slide = check->slide,
                                .first = check->row,
                                .count = check->count,
                                .tiles = {.coords = (const int32_t(*)[2])grid->xy,
                                          .tissue = grid->tissue,
                                          .pen = known_or_not(&grid->pen, grid->n),
                                          .fold = known_or_not(&grid->fold, grid->n)}};
    }
    return lob_stage_owns(&repair->stage, err) &&
           (!part->finished || replace_journal(repair, damaged, err)) &&
           lob_part_reopen(part->path, redo, bad->len, err);
}

/* Collective. */
static bool verify_part(Repair *repair, int number, uint64_t *slides, GError **err) {
    const LobWorld *world = repair->stage.world;
    g_autofree char *path = lob_part_path(repair->stage.cohort->study, number, ".h5");
    g_autoptr(GArray) checks = NULL;
    uint64_t n = 0;
    if (world->rank == 0) {
        repair->part = &repair->stage.catalog->parts[number - 1];
        checks = list_checks(repair->part);
    }
    if (!lob_embed_check_rows(world, path, checks, &n, err))
        return false;
    *slides += n;
    GError *mine = NULL;
    if (world->rank == 0 && n > 0 && checks->len > 0)
        (void)reopen(repair, checks, &mine);
    return lob_world_agree(world, mine, err);
}

bool lob_job_verify(const LobWorld *world, const LobCohort *cohort, GError **err) {
    Repair repair = {0};
    if (cohort->study->features)
        return true;
    if (!lob_stage_begin(&repair.stage, "verify", world, cohort, err))
        return false;
    uint64_t n = world->rank == 0 ? repair.stage.catalog->n_parts : 0, slides = 0;
    lob_world_bcast(world, &n, sizeof n);
    g_autoptr(GError) problem = NULL;
    bool ok = true;
    for (uint64_t p = 1; ok && p <= n; p++)
        ok = verify_part(&repair, (int)p, &slides, &problem);
    if (ok && world->rank == 0)
        lob_info("verify: %" G_GUINT64_FORMAT " slides were read again", slides);
    if (repair.stage.progress)
        lob_progress_end(repair.stage.progress, lob_stage_state_word(problem),
                         problem ? problem->message : "");
    lob_stage_end(&repair.stage);
    if (!ok)
        g_propagate_error(err, g_steal_pointer(&problem));
    return ok;
}
