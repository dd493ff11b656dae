/* One slide's plan, on a worker: decoding happens in its isolated reader. */
#include "mpi/look.h"
#include "mpi/plan_internal.h"
#include "mpi/plan_stain.h"

#include <string.h>

static void pulse(void *farm) {
    (void)lob_farm_tick(farm);
}

static void take_info(const LobSlideInfo *info, LobPlanFacts *facts) {
    facts->width = info->width;
    facts->height = info->height;
    facts->mpp_x = info->mpp_x;
    facts->mpp_y = info->mpp_y;
    facts->mpp_source = (int32_t)info->mpp_source;
    facts->file_size = info->file_size;
    facts->file_mtime = info->file_mtime;
    g_strlcpy(facts->quickhash, info->quickhash, sizeof facts->quickhash);
}

/* Whether an error is the slide's own: the job goes on. */
static bool is_slides(const GError *error) {
    return error->domain == LOB_ERROR && (error->code == LOB_ERROR_SLIDE || error->code == LOB_ERROR_INPUT);
}

/* What the slide's stains look like is for information, unless they are to be normalised. Not being able to
 * look, as when something killed the zygote, says nothing of the slide: "unknown" would stay in the store. */
static bool take_stains(const LobPlan *plan, LobFarm *farm, const LobLookSpec *spec, const LobLook *look,
                        LobPlanFacts *facts, GError **err) {
    const LobStudy *study = plan->stage.cohort->study;
    LobStainMethod method = LOB_STAIN_NONE;
    g_autoptr(GError) problem = NULL;
    if (!lob_stage_stain(study, &method, err))
        return false;
    const bool sampled = lob_stain_sample(plan->reader, &spec->tile, &look->grid,
                                          (size_t)study->encoder.batch, &facts->stains, &problem);
    (void)lob_farm_tick(farm);
    if (!sampled && !is_slides(problem)) {
        g_propagate_error(err, g_steal_pointer(&problem));
        return false;
    }
    if (method == LOB_STAIN_NONE || (sampled && lob_stains_known(&facts->stains)))
        return true;
    return lob_fail(err, LOB_ERROR_SLIDE, "its stains cannot be estimated, so not normalised either: %s",
                    problem ? problem->message : "too little stained tissue");
}

static bool look_at(LobPlan *plan, LobFarm *farm, uint32_t index, LobPlanFacts *facts, LobLook *look,
                    GError **err) {
    const LobCohort *cohort = plan->stage.cohort;
    LobLookSpec spec;
    if (!lob_look_spec(cohort->study, &cohort->slides[index], &spec, err))
        return false;
    spec.pulse = pulse;
    spec.user = farm;
    const bool seen = lob_look_at(plan->reader, &spec, look, err);
    take_info(&look->info, facts);
    if (!seen)
        return false;
    lob_slide_quality(&look->overview, &look->mask, look->info.mpp_x, look->info.mpp_y, &facts->quality);
    lob_grid_judge(&look->grid, &look->overview, &look->mask, look->tile_width, look->tile_height);
    return lob_look_has_tiles(&spec, look, err) && take_stains(plan, farm, &spec, look, facts, err);
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

bool lob_plan_work(void *user, LobFarm *farm, const void *task, size_t size, GByteArray *result,
                   GError **err) {
    LobPlan *plan = user;
    uint32_t index = 0;
    LobPlanFacts facts = {0};
    g_auto(LobLook) look = {0};
    g_autoptr(GError) problem = NULL;
    const double start = lob_clock();
    memcpy(&index, task, MIN(size, sizeof index));
    if (!plan->reader)
        plan->reader = lob_stage_reader(plan->stage.cohort->study,
                                        (size_t)plan->stage.cohort->study->encoder.batch, err);
    if (!plan->reader || stopped(farm, err))
        return false;
    lob_reader_set_tick(plan->reader, lob_farm_tick, farm);
    lob_stage_test_kill("plan", plan->stage.cohort->slides[index].slide_id);
    if (!look_at(plan, farm, index, &facts, &look, &problem)) {
        if (stopped(farm, err))
            return false;
        if (!is_slides(problem)) {
            g_propagate_error(err, g_steal_pointer(&problem));
            return false;
        }
    } else if (!save_grid(plan, index, &look.grid, &facts, err)) {
        return false;
    }
    facts.seconds = lob_clock() - start;
    g_autoptr(GVariant) answer = g_variant_ref_sink(
        g_variant_new("(ubs@" LOB_PLAN_FACTS_TYPE ")", index, problem && lob_reader_crashed(plan->reader),
                      problem ? problem->message : "", lob_plan_facts_pack(&facts)));
    g_byte_array_append(result, g_variant_get_data(answer), (guint)g_variant_get_size(answer));
    return true;
}
