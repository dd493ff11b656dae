/* One slide's plan, on a worker: decoding happens in its isolated reader. */
#include "mpi/plan_internal.h"

#include <math.h>
#include <string.h>

static bool tissue_options(const LobStudy *study, LobTissueOptions *options, GError **err) {
    static const char *const names[] = {"otsu", "hsv", "masks"};
    static const LobTissueMethod methods[] = {LOB_TISSUE_OTSU, LOB_TISSUE_HSV, LOB_TISSUE_MASKS};
    *options = lob_tissue_defaults;
    options->mpp = study->tissue.mpp;
    options->keep_holes = study->tissue.keep_holes;
    options->masks = study->tissue.masks;
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        if (strcmp(names[i], study->tissue.method) == 0) {
            options->method = methods[i];
            return true;
        }
    return lob_fail(err, LOB_ERROR_INPUT, "tissue method '%s' is unknown (otsu, hsv, masks)",
                    study->tissue.method);
}

static bool make_grid(const LobStudy *study, const LobSlideInfo *info, const LobMask *mask, LobGrid *grid,
                      GError **err) {
    const LobTileSpec spec = lob_stage_tile_spec(study);
    double width, height, step_x, step_y;
    if (!lob_tile_footprint(info, &spec, &width, &height, &step_x, &step_y, err) ||
        !lob_grid_make(mask, info->bounds_x, info->bounds_y, info->bounds_width, info->bounds_height, width,
                       height, step_x, step_y, study->tiles.min_tissue, grid, err))
        return false;
    return grid->n > 0 ||
           lob_fail(err, LOB_ERROR_SLIDE, "no tile of %d px at %g um/px with at least %.0f %% tissue",
                    spec.size, spec.mpp, 100 * study->tiles.min_tissue);
}

/* As with opening, a reader that died gets a second try. */
static bool overview_of(LobReader *reader, const LobSlideSpec *slide, double mpp, LobImage *overview,
                        double *scale_x, double *scale_y, GError **err) {
    g_autoptr(GError) first = NULL;
    LobSlideInfo info;
    if (lob_reader_overview(reader, mpp, overview, scale_x, scale_y, &first))
        return true;
    lob_image_clear(overview);
    if (first->domain == LOB_ERROR && first->code == LOB_ERROR_SLIDE)
        return lob_reader_open(reader, slide, &info, err) &&
               lob_reader_overview(reader, mpp, overview, scale_x, scale_y, err);
    g_propagate_error(err, g_steal_pointer(&first));
    return false;
}

/* The scale is checked first: a slide without it is refused before anything is decoded. */
static bool look_at(LobPlan *plan, LobFarm *farm, uint32_t index, LobPlanFacts *facts, LobGrid *grid,
                    GError **err) {
    const LobStudy *study = plan->stage.cohort->study;
    const LobSlideSpec slide = lob_stage_slide_spec(&plan->stage.cohort->slides[index]);
    const LobTileSpec tile = lob_stage_tile_spec(study);
    LobSlideInfo info;
    LobTissueOptions options;
    g_auto(LobImage) overview = {0};
    g_auto(LobMask) mask = {0};
    double scale_x, scale_y, width, height, step_x, step_y;
    if (!tissue_options(study, &options, err) || !lob_stage_open_slide(plan->reader, &slide, &info, err))
        return false;
    facts->width = info.width;
    facts->height = info.height;
    facts->mpp_x = info.mpp_x;
    facts->mpp_y = info.mpp_y;
    facts->mpp_source = (int32_t)info.mpp_source;
    facts->file_size = info.file_size;
    facts->file_mtime = info.file_mtime;
    g_strlcpy(facts->quickhash, info.quickhash, sizeof facts->quickhash);
    (void)lob_farm_tick(farm);
    if (!lob_tile_footprint(&info, &tile, &width, &height, &step_x, &step_y, err) ||
        !overview_of(plan->reader, &slide, options.mpp, &overview, &scale_x, &scale_y, err))
        return false;
    (void)lob_farm_tick(farm);
    options.slide_id = plan->stage.cohort->slides[index].slide_id;
    options.origin_x = info.bounds_x;
    options.origin_y = info.bounds_y;
    if (!lob_tissue_mask(&overview, scale_x, scale_y, info.mpp_x, info.mpp_y, &options, &mask, err))
        return false;
    lob_slide_quality(&overview, &mask, info.mpp_x, info.mpp_y, &facts->quality);
    return make_grid(study, &info, &mask, grid, err);
}

static bool stopped(LobFarm *farm, GError **err) {
    return !lob_farm_tick(farm) && !lob_fail(err, LOB_ERROR_STOPPED, "stopped");
}

static bool save_grid(const LobPlan *plan, uint32_t index, const LobGrid *grid, LobPlanFacts *facts,
                      GError **err) {
    const LobCohort *cohort = plan->stage.cohort;
    g_autofree char *path = lob_plan_grid_path(cohort->study, cohort->slides[index].slide_id);
    facts->tiles = (uint32_t)grid->n;
    return lob_plan_grid_save(path, grid, &facts->grid_crc, err);
}

/* Whether an error is the slide's own: the job goes on. */
static bool is_slides(const GError *error) {
    return error->domain == LOB_ERROR && (error->code == LOB_ERROR_SLIDE || error->code == LOB_ERROR_INPUT);
}

bool lob_plan_work(void *user, LobFarm *farm, const void *task, size_t size, GByteArray *result,
                   GError **err) {
    LobPlan *plan = user;
    uint32_t index = 0;
    LobPlanFacts facts = {0};
    g_auto(LobGrid) grid = {0};
    g_autoptr(GError) problem = NULL;
    const double start = lob_clock();
    memcpy(&index, task, MIN(size, sizeof index));
    if (!plan->reader)
        plan->reader = lob_stage_reader(plan->stage.cohort->study,
                                        (size_t)plan->stage.cohort->study->encoder.batch, err);
    if (!plan->reader || stopped(farm, err))
        return false;
    if (!look_at(plan, farm, index, &facts, &grid, &problem)) {
        if (stopped(farm, err))
            return false;
        if (!is_slides(problem)) {
            g_propagate_error(err, g_steal_pointer(&problem));
            return false;
        }
    } else if (!save_grid(plan, index, &grid, &facts, err)) {
        return false;
    }
    facts.seconds = lob_clock() - start;
    g_autoptr(GVariant) answer = g_variant_ref_sink(g_variant_new(
        "(us@" LOB_PLAN_FACTS_TYPE ")", index, problem ? problem->message : "", lob_plan_facts_pack(&facts)));
    g_byte_array_append(result, g_variant_get_data(answer), (guint)g_variant_get_size(answer));
    return true;
}
