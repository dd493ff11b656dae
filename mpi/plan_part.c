/* Creating the part of the newly planned slides, at its final size, collectively. */
#include "mpi/plan_internal.h"
#include "mpi/space.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SLIDES_TYPE "a(sssttddxxssxxad)"

typedef struct {
    int number; /* 0: nothing to create */
    LobStoreSlide *slides;
    size_t n_slides;
    int32_t (*coords)[2]; /* [rows][2], rank 0 */
    uint8_t *tissue;      /* [rows], rank 0 */
    uint8_t *pen, *fold;  /* [rows], rank 0 */
    uint64_t rows;
} NewPart;

static bool belongs(const LobCatalog *catalog, size_t i) {
    return catalog->slides[i].planned && !lob_plan_settled(catalog, i) && catalog->slides[i].part == 0;
}

/* A finished part none of whose slides can be used is made again, so that slides that fail each time do not
 * pile up parts. */
static bool choose_number(NewPart *part, const LobCatalog *catalog, GError **err) {
    size_t n = catalog->n_parts;
    while (n > 0 && !catalog->parts[n - 1].keep)
        n--;
    /* From the last on: no part may be missing before others, however this ends. */
    for (size_t p = catalog->n_parts; p > n; p--)
        if (remove(catalog->parts[p - 1].path) != 0)
            return lob_fail(err, LOB_ERROR_IO, "%s cannot be removed", catalog->parts[p - 1].path);
    part->number = (int)n + 1;
    g_autofree char *journal = lob_part_path(catalog->cohort->study, part->number, ".journal");
    if (access(journal, F_OK) == 0 && remove(journal) != 0)
        return lob_fail(err, LOB_ERROR_IO, "%s cannot be removed", journal);
    return true;
}

/* The file is sparse: a full disk would show only hours later. */
static bool preflight(const LobStage *stage, uint64_t rows, GError **err) {
    const char *output = stage->cohort->study->output;
    const uint64_t row = (uint64_t)stage->header.dim * (stage->header.float32 ? 4 : 2) + 9 + LOB_QUALITIES;
    if (!lob_space_fits(output, rows * row, 2, err)) {
        g_prefix_error(err, "the store does not fit: ");
        return false;
    }
    lob_info("plan: %" G_GUINT64_FORMAT " tiles, %.3f GiB of features; room for them on %s (%s)", rows,
             (double)(rows * row) / 1073741824.0, output, lob_space_kind(output));
    return true;
}

/* A plan of an earlier version did not look. */
static void take_column(uint8_t *to, const uint8_t *from, size_t n) {
    if (from)
        memcpy(to, from, n);
    else
        memset(to, LOB_QUALITY_UNKNOWN, n);
}

static bool load_grids(NewPart *part, const LobCatalog *catalog, const uint32_t *members, GError **err) {
    part->coords = g_malloc(MAX(part->rows, 1) * sizeof *part->coords);
    part->tissue = g_malloc(MAX(part->rows, 1));
    part->pen = g_malloc(MAX(part->rows, 1));
    part->fold = g_malloc(MAX(part->rows, 1));
    for (size_t s = 0; s < part->n_slides; s++) {
        const LobPlanFacts *facts = &catalog->slides[members[s]].facts;
        g_autofree char *path = lob_plan_grid_path(catalog->cohort->study, part->slides[s].slide_id);
        g_auto(LobGrid) grid = {0};
        if (!lob_plan_grid_load(path, facts->tiles, facts->grid_crc, &grid, err))
            return false;
        memcpy(part->coords + part->slides[s].first, grid.xy, grid.n * sizeof *grid.xy);
        memcpy(part->tissue + part->slides[s].first, grid.tissue, grid.n);
        take_column(part->pen + part->slides[s].first, grid.pen, grid.n);
        take_column(part->fold + part->slides[s].first, grid.fold, grid.n);
    }
    return true;
}

/* Strings of the table are borrowed from cohort and catalog. */
static LobStoreSlide table_row(const LobCatalog *catalog, uint32_t i, uint64_t first) {
    const LobCohort *cohort = catalog->cohort;
    LobPlanFacts *facts = &catalog->slides[i].facts;
    const LobCohortPatient *patient = &cohort->patients[cohort->slides[i].patient];
    LobStoreSlide row = {.slide_id = cohort->slides[i].slide_id,
                         .patient_id = patient->patient_id,
                         .center = cohort->centers[patient->center],
                         .first = first,
                         .count = facts->tiles,
                         .mpp_x = facts->mpp_x,
                         .mpp_y = facts->mpp_y,
                         .width = facts->width,
                         .height = facts->height,
                         .mpp_source = (char *)lob_mpp_source_name((LobMppSource)facts->mpp_source),
                         .quickhash = facts->quickhash,
                         .file_size = facts->file_size,
                         .file_mtime = facts->file_mtime};
    lob_plan_facts_stain(facts, row.stain);
    return row;
}

static bool lay_out(NewPart *part, const LobStage *stage, GError **err) {
    const LobCatalog *catalog = stage->catalog;
    const size_t n = stage->cohort->n_slides;
    g_autofree uint32_t *members = g_new(uint32_t, n + 1);
    part->slides = g_new0(LobStoreSlide, n + 1);
    for (uint32_t i = 0; i < n; i++)
        if (belongs(catalog, i)) {
            members[part->n_slides] = i;
            part->slides[part->n_slides++] = table_row(catalog, i, part->rows);
            part->rows += catalog->slides[i].facts.tiles;
        }
    return part->n_slides == 0 ||
           (preflight(stage, part->rows, err) && load_grids(part, catalog, members, err) &&
            choose_number(part, catalog, err));
}

static GVariant *pack_slides(const NewPart *part) {
    GVariantBuilder builder;
    g_variant_builder_init(&builder, G_VARIANT_TYPE(SLIDES_TYPE));
    for (size_t s = 0; s < part->n_slides; s++) {
        const LobStoreSlide *t = &part->slides[s];
        g_variant_builder_add(
            &builder, "(sssttddxxssxx@ad)", t->slide_id, t->patient_id, t->center, t->first, t->count,
            t->mpp_x, t->mpp_y, t->width, t->height, t->mpp_source, t->quickhash, t->file_size, t->file_mtime,
            g_variant_new_fixed_array(G_VARIANT_TYPE_DOUBLE, t->stain, LOB_STORE_STAINS, sizeof *t->stain));
    }
    return g_variant_builder_end(&builder);
}

/* The same table on every rank; its strings are borrowed from `packed`. */
static void unpack_slides(GVariant *packed, NewPart *part) {
    part->n_slides = g_variant_n_children(packed);
    part->slides = g_new0(LobStoreSlide, part->n_slides + 1);
    for (size_t s = 0; s < part->n_slides; s++) {
        LobStoreSlide *t = &part->slides[s];
        g_autoptr(GVariant) stain = NULL;
        g_variant_get_child(packed, s, "(&s&s&sttddxx&s&sxx@ad)", &t->slide_id, &t->patient_id, &t->center,
                            &t->first, &t->count, &t->mpp_x, &t->mpp_y, &t->width, &t->height, &t->mpp_source,
                            &t->quickhash, &t->file_size, &t->file_mtime, &stain);
        gsize n = 0;
        const double *values = g_variant_get_fixed_array(stain, &n, sizeof *values);
        memcpy(t->stain, values, MIN(n, (gsize)LOB_STORE_STAINS) * sizeof *values);
    }
}

static bool create(const LobStage *stage, NewPart *part, GError **err) {
    g_autofree char *path = lob_part_path(stage->cohort->study, part->number, ".h5");
    const LobPartTiles tiles = {(const int32_t(*)[2])part->coords, part->tissue, part->pen, part->fold};
    LobPart *made = lob_part_create_tiles(path, lob_world_comm(stage->world), &stage->header, part->slides,
                                          part->n_slides, &tiles, err);
    if (!made)
        return false;
    lob_part_close(made);
    if (stage->world->rank == 0)
        lob_info("plan: part %d is laid out, slides in it: %zu", part->number, part->n_slides);
    return true;
}

bool lob_plan_make_part(LobPlan *plan, GError **err) {
    const LobWorld *world = plan->stage.world;
    NewPart part = {0};
    GError *mine = NULL;
    if (world->rank == 0)
        (void)(lob_stage_owns(&plan->stage, &mine) && lay_out(&part, &plan->stage, &mine));
    bool ok = lob_world_agree(world, mine, err);
    if (ok) {
        lob_world_bcast(world, &part.number, sizeof part.number);
        g_autoptr(GVariant) packed = lob_world_bcast_variant(
            world, world->rank == 0 ? pack_slides(&part) : NULL, G_VARIANT_TYPE(SLIDES_TYPE));
        if (world->rank != 0)
            unpack_slides(packed, &part);
        lob_world_barrier(world);
        ok = part.number == 0 || create(&plan->stage, &part, err);
    }
    g_free(part.slides);
    g_free(part.coords);
    g_free(part.tissue);
    g_free(part.pen);
    g_free(part.fold);
    return ok;
}
