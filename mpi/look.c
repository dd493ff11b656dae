/* What planning and the overlays see of a slide. */
#include "mpi/look.h"
#include "mpi/stage.h"

#include <string.h>

void lob_look_clear(LobLook *look) {
    lob_image_clear(&look->overview);
    lob_mask_clear(&look->mask);
    lob_grid_clear(&look->grid);
}

bool lob_look_method(const char *name, LobTissueMethod *method, GError **err) {
    static const char *const names[] = {"otsu", "hsv", "masks"};
    static const LobTissueMethod methods[] = {LOB_TISSUE_OTSU, LOB_TISSUE_HSV, LOB_TISSUE_MASKS};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        if (strcmp(names[i], name) == 0) {
            *method = methods[i];
            return true;
        }
    return lob_fail(err, LOB_ERROR_INPUT, "tissue method '%s' is unknown (otsu, hsv, masks)", name);
}

bool lob_look_spec(const LobStudy *study, const LobCohortSlide *slide, LobLookSpec *spec, GError **err) {
    *spec = (LobLookSpec){.slide = lob_stage_slide_spec(slide),
                          .tile = lob_stage_tile_spec(study),
                          .tissue = lob_tissue_defaults,
                          .min_tissue = study->tiles.min_tissue};
    spec->tissue.mpp = study->tissue.mpp;
    spec->tissue.keep_holes = study->tissue.keep_holes;
    spec->tissue.masks = study->tissue.masks;
    spec->tissue.slide_id = slide->slide_id;
    return lob_look_method(study->tissue.method, &spec->tissue.method, err);
}

static void pulse(const LobLookSpec *spec) {
    if (spec->pulse)
        spec->pulse(spec->user);
}

bool lob_look_at(LobReader *reader, const LobLookSpec *spec, LobLook *look, GError **err) {
    const LobSlideInfo *info = &look->info;
    LobTissueOptions options = spec->tissue;
    g_auto(LobImage) unknown = {0};
    double scale_x, scale_y, step_x, step_y;
    *look = (LobLook){0};
    if (!lob_reader_open(reader, &spec->slide, &look->info, err))
        return false;
    pulse(spec);
    if (!lob_tile_footprint(info, &spec->tile, &look->tile_width, &look->tile_height, &step_x, &step_y,
                            err) ||
        !lob_reader_overview(reader, spec->tissue.mpp, &look->overview, &unknown, &scale_x, &scale_y, err))
        return false;
    pulse(spec);
    options.origin_x = info->bounds_x;
    options.origin_y = info->bounds_y;
    options.unknown = &unknown;
    return lob_tissue_mask(&look->overview, scale_x, scale_y, info->mpp_x, info->mpp_y, &options, &look->mask,
                           err) &&
           lob_grid_make(&look->mask, info->bounds_x, info->bounds_y, info->bounds_width, info->bounds_height,
                         look->tile_width, look->tile_height, step_x, step_y, spec->min_tissue, &look->grid,
                         err);
}

bool lob_look_has_tiles(const LobLookSpec *spec, const LobLook *look, GError **err) {
    return look->grid.n > 0 ||
           lob_fail(err, LOB_ERROR_SLIDE, "no tile of %d px at %g um/px with at least %.0f %% tissue",
                    spec->tile.size, spec->tile.mpp, 100 * spec->min_tissue);
}
