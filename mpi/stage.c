#include "mpi/stage.h"
#include "encoder/encoder.h"
#include "mpi/stop.h"

#include <openslide.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* A job that was just killed may still be dying when it is started again. */
#define LOCK_PATIENCE_SECONDS 5.0
#define HEADER_TYPE "(sssassibiiddssssb)"

LobTileSpec lob_stage_tile_spec(const LobStudy *study) {
    return (LobTileSpec){.mpp = study->tiles.mpp,
                         .size = study->tiles.size,
                         .overlap = study->tiles.overlap,
                         .max_enlarge = study->tiles.max_enlarge};
}

LobSlideSpec lob_stage_slide_spec(const LobCohortSlide *slide) {
    return (LobSlideSpec){.path = slide->path,
                          .mpp = slide->mpp,
                          .mpp_source = slide->mpp_from_center ? LOB_MPP_CENTER : LOB_MPP_MANIFEST};
}

LobReader *lob_stage_reader(const LobStudy *study, size_t max_tiles, GError **err) {
    LobReaderLimits limits = lob_reader_default_limits;
    limits.max_tiles = max_tiles;
    limits.tile_size = study->tiles.size;
    if (study->site.reader_seconds > 0)
        limits.tile_seconds = study->site.reader_seconds;
    if (study->site.reader_gib > 0)
        limits.memory_bytes = (size_t)(study->site.reader_gib * 1073741824.0);
    return lob_reader_new(&limits, err);
}

bool lob_stage_stain(const LobStudy *study, LobStainMethod *method, GError **err) {
    return lob_stain_method(study->stain.normalise, method) ||
           lob_fail(err, LOB_ERROR_INPUT, "stain.normalise: '%s' is unknown (none, macenko, reinhard)",
                    study->stain.normalise);
}

static char *tissue_text(const LobStudy *study) {
    return g_strdup_printf("%s at %g um/px, holes %s", study->tissue.method, study->tissue.mpp,
                           study->tissue.keep_holes ? "kept" : "filled");
}

char *lob_stage_plan_spec(const LobStudy *study) {
    g_autofree char *tissue = tissue_text(study);
    return g_strdup_printf(
        "tiles of %d px at %.17g um/px, overlap %d, tissue from %.17g, enlarged up to %.17g; "
        "%s",
        study->tiles.size, study->tiles.mpp, study->tiles.overlap, study->tiles.min_tissue,
        study->tiles.max_enlarge, tissue);
}

/* ---- one value to all ranks ---- */

GVariant *lob_world_bcast_variant(const LobWorld *world, GVariant *value, const GVariantType *type) {
    g_autoptr(GVariant) mine = value ? g_variant_ref_sink(value) : NULL;
    uint64_t size = mine ? g_variant_get_size(mine) : 0;
    lob_world_bcast(world, &size, sizeof size);
    void *data = g_malloc(MAX(size, 1));
    if (mine)
        memcpy(data, g_variant_get_data(mine), size);
    lob_world_bcast(world, data, size);
    return g_variant_ref_sink(g_variant_new_from_data(type, data, size, TRUE, g_free, data));
}

/* ---- the store's description ---- */

char *lob_cpu_type(void) {
    g_autofree char *text = NULL;
    if (!g_file_get_contents("/proc/cpuinfo", &text, NULL, NULL))
        return g_strdup("unknown");
    const char *name = strstr(text, "model name");
    const char *colon = name ? strchr(name, ':') : NULL;
    if (!colon)
        return g_strdup("unknown");
    const size_t length = strcspn(colon + 1, "\n");
    g_autofree char *value = g_strndup(colon + 1, length);
    return g_strdup(g_strstrip(value));
}

LobEncoderOptions lob_stage_encoder_options(const LobStudy *study) {
    return (LobEncoderOptions){.name = study->encoder.name,
                               .config = study->encoder.config,
                               .weights = study->encoder.weights,
                               .precision = study->encoder.precision,
                               .tile_size = study->tiles.size,
                               .mpp = study->tiles.mpp,
                               .batch = (size_t)study->encoder.batch};
}

LobEncoder *lob_stage_encoder(const LobStudy *study, const LobEncoderOptions *options, GError **err) {
    GError *problem = NULL;
    LobEncoder *encoder = lob_encoder_open(options, &problem);
    if (g_error_matches(problem, LOB_ERROR, LOB_ERROR_INPUT))
        g_prefix_error(&problem, "%s:%zu: ", study->path, study->encoder.line);
    if (problem)
        g_propagate_error(err, problem);
    return encoder;
}

static GVariant *describe(const LobStudy *study, GError **err) {
    LobEncoderOptions options = lob_stage_encoder_options(study);
    options.describe = true;
    g_autoptr(LobEncoder) encoder = lob_stage_encoder(study, &options, err);
    if (!encoder)
        return NULL;
    const LobEncoderInfo *info = lob_encoder_info(encoder);
    LobStainMethod stain = LOB_STAIN_NONE;
    if (!lob_stage_stain(study, &stain, err))
        return NULL;
    g_autofree char *tissue = tissue_text(study);
    g_autofree char *cpu = lob_cpu_type();
    GVariantBuilder columns;
    g_variant_builder_init(&columns, G_VARIANT_TYPE("as"));
    for (int d = 0; info->columns && d < info->dim; d++)
        g_variant_builder_add(&columns, "s", info->columns[d]);
    return g_variant_new(HEADER_TYPE, info->name, info->weights_sha256 ? info->weights_sha256 : "",
                         info->transform, &columns, info->precision, info->dim, FALSE, study->tiles.size,
                         study->tiles.overlap, study->tiles.mpp, study->tiles.min_tissue, tissue, cpu,
                         openslide_get_version(), lob_stain_identity(stain), TRUE);
}

static void unpack_header(GVariant *value, LobStoreHeader *header) {
    gboolean float32 = FALSE, quality = FALSE;
    g_variant_get(value, "(sss^assibiiddssssb)", &header->encoder, &header->weights_sha256,
                  &header->transform, &header->columns, &header->precision, &header->dim, &float32,
                  &header->tile_size, &header->overlap, &header->tile_mpp, &header->min_tissue,
                  &header->tissue, &header->cpu, &header->openslide, &header->stain, &quality);
    header->float32 = float32;
    header->quality = quality;
    if (header->columns && !header->columns[0])
        g_clear_pointer(&header->columns, g_strfreev);
}

/* ---- begin and end ---- */

static GVariant *begin_rank0(LobStage *stage, GError **err) {
    const LobStudy *study = stage->cohort->study;
    g_autofree char *store = lob_study_out(study, "store"), *plan = lob_study_out(study, "plan");
    if (!lob_make_dirs(store, err) || !lob_make_dirs(plan, err))
        return NULL;
    g_autofree char *lock = lob_study_out(study, "store/lock");
    stage->lock = lob_lock_wait(lock, LOCK_PATIENCE_SECONDS, lob_run_goes_on, err);
    if (!stage->lock)
        return NULL;
    lob_lock_keep(stage->lock);
    g_autofree char *spec = lob_stage_plan_spec(study);
    stage->catalog = lob_catalog_load(stage->cohort, spec, err);
    if (!stage->catalog)
        return NULL;
    stage->progress = lob_progress_new(stage->cohort, stage->name, stage->world->size);
    return describe(study, err);
}

static void apply_site(const LobWorld *world, const LobStudy *study) {
    lob_store_set_mpiio(study->site.mpiio, study->site.stripe_count);
#ifndef OPEN_MPI
    if (world->rank == 0 && study->site.mpiio)
        lob_warning(
            "site: mpiio chooses between Open MPI's modules; this program was built with another MPI");
#endif
    if (!world->has_mpi && (study->site.mpiio || study->site.stripe_count > 0))
        lob_warning(
            "site: mpiio and stripe_count are for several ranks; one process leaves both to the folder");
}

bool lob_stage_begin(LobStage *stage, const char *name, const LobWorld *world, const LobCohort *cohort,
                     GError **err) {
    apply_site(world, cohort->study);
    GVariant *header = NULL;
    GError *mine = NULL;
    *stage = (LobStage){.world = world, .cohort = cohort, .name = name};
    if (world->rank == 0)
        header = begin_rank0(stage, &mine);
    if (!lob_world_agree(world, mine, err)) {
        lob_stage_end(stage);
        return false;
    }
    g_autoptr(GVariant) shared = lob_world_bcast_variant(world, header, G_VARIANT_TYPE(HEADER_TYPE));
    unpack_header(shared, &stage->header);
    mine = NULL;
    if (world->rank == 0)
        (void)lob_catalog_agree(stage->catalog, &stage->header, &mine);
    if (lob_world_agree(world, mine, err))
        return true;
    lob_stage_end(stage);
    return false;
}

void lob_stage_end(LobStage *stage) {
    lob_store_header_clear(&stage->header);
    lob_progress_free(stage->progress);
    if (stage->catalog)
        lob_catalog_free(stage->catalog);
    lob_stage_unlock(stage);
    *stage = (LobStage){0};
}

void lob_stage_unlock(LobStage *stage) {
    if (stage->lock)
        lob_lock_release(stage->lock);
    stage->lock = NULL;
}

bool lob_stage_owns(LobStage *stage, GError **err) {
    return !stage->lock || lob_lock_check(stage->lock, err);
}

bool lob_stage_sync(LobStage *stage, LobJournal *journal, GError **err) {
    g_autoptr(GError) cause = NULL;
    if (!lob_stage_owns(stage, err))
        return false;
    if (lob_journal_sync(journal, &cause))
        return true;
    if (!stage->lock || !lob_lock_check(stage->lock, NULL) || !lob_journal_cut_foreign(journal, NULL)) {
        g_propagate_error(err, g_steal_pointer(&cause));
        return false;
    }
    lob_warning(
        "a job that was taken for dead has woken up: what it wrote behind this job's records is cut off");
    return lob_journal_sync(journal, err);
}

bool lob_stage_stop_is_plain(const LobStage *stage) {
    const char *why = lob_run_reason();
    return stage->world->size == 1 || (strcmp(why, "signal TERM") != 0 && strcmp(why, "signal INT") != 0);
}

const char *lob_stage_state_word(const GError *error) {
    switch (lob_error_exit_code(error)) {
    case LOB_EXIT_DONE:
        return "done";
    case LOB_EXIT_STOPPED:
        return "stopped";
    case LOB_EXIT_HALTED:
        return "halted";
    default:
        return "failed";
    }
}

void lob_stage_test_kill(const char *stage, const char *slide_id) {
    const char *hook = g_getenv("LOB_TEST_KILL"), *colon = hook ? strchr(hook, ':') : NULL;
    if (colon && strlen(stage) == (size_t)(colon - hook) && g_str_has_prefix(hook, stage) &&
        strstr(slide_id, colon + 1))
        (void)raise(SIGKILL);
}

/* ---- use of the ranks ---- */

enum { SLOWEST_NAMED = 3 };

/* Tiles (tasks, where none were cut) a busy second; 0: not known. */
static double speed_of(const LobFarmStats *s, bool by_tiles) {
    return s->busy > 0 ? (double)(by_tiles ? s->tiles : s->tasks) / s->busy : 0;
}

/* A slow node or a rank with a busy neighbour shows here: work is dealt, so all are busy, but not all get on.
 */
static void name_slowest(const LobStage *stage, const LobFarmStats *all, int first, bool by_tiles,
                         double mean) {
    const int size = stage->world->size;
    g_autofree bool *named = g_new0(bool, (size_t)size);
    g_autoptr(GString) text = g_string_new(NULL);
    for (int k = 0; k < MIN(SLOWEST_NAMED, size - first - 1); k++) {
        int slowest = -1;
        for (int r = first; r < size; r++)
            if (!named[r] && all[r].tasks > 0 &&
                (slowest < 0 || speed_of(&all[r], by_tiles) < speed_of(&all[slowest], by_tiles)))
                slowest = r;
        if (slowest < 0)
            break;
        named[slowest] = true;
        const double speed = speed_of(&all[slowest], by_tiles);
        g_string_append_printf(text, "%s%d (%.3g a busy second, %.0f %% of the mean, busy %.0f %%)",
                               k ? ", " : "", slowest, speed, 100 * speed / mean,
                               100 * all[slowest].busy / all[slowest].wall);
    }
    if (text->len)
        lob_info("%s: slowest ranks by %s: %s", stage->name, by_tiles ? "tiles" : "slides", text->str);
}

void lob_stage_report_use(const LobStage *stage, const LobFarmStats *all) {
    const int first = lob_farm_rank0_works(stage->world) ? 0 : 1, size = stage->world->size;
    LobFarmStats sum = {0};
    double least = 1, most = 0;
    int idlest = first;
    for (int r = first; r < size; r++) {
        const double use = all[r].wall > 0 ? all[r].busy / all[r].wall : 0;
        sum.busy += all[r].busy;
        sum.reading += all[r].reading;
        sum.compute += all[r].compute;
        sum.writing += all[r].writing;
        sum.wall += all[r].wall;
        sum.tasks += all[r].tasks;
        sum.tiles += all[r].tiles;
        if (use < least)
            idlest = r;
        least = MIN(least, use);
        most = MAX(most, use);
    }
    if (sum.busy <= 0 || sum.tasks == 0)
        return;
    lob_info("%s: %d ranks busy %.0f %% of %.1f s each (least %.0f %% on rank %d, most %.0f %%)", stage->name,
             size - first, 100 * sum.busy / sum.wall, sum.wall / (size - first), 100 * least, idlest,
             100 * most);
    if (sum.compute > 0)
        lob_info("%s: of the busy time, computing %.0f %%, waiting for slides %.0f %%, writing %.0f %%; %.1f "
                 "tiles a second and rank",
                 stage->name, 100 * sum.compute / sum.busy, 100 * sum.reading / sum.busy,
                 100 * sum.writing / sum.busy, (double)sum.tiles / sum.busy);
    name_slowest(stage, all, first, sum.tiles > 0, speed_of(&sum, sum.tiles > 0));
}
