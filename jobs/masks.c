/* lobule masks, lobule grid: pictures and polygons of what planning sees of the slides. Never MPI: one
 * isolated reader, one slide after the other. */
#include "base/base.h"
#include "cohort/cohort.h"
#include "jobs/jobs.h"
#include "jobs/top_tiles.h"
#include "mpi/look.h"
#include "mpi/stage.h"

#include <stdio.h>
#include <string.h>

#define PICTURE_PIXELS 2000.0 /* longest side of a picture, where the slide has that many */

typedef struct {
    bool grid; /* `lobule grid`: with the tiles */
    gboolean geojson, top_tiles;
    char *output, *masks, *method;
    char **slides, **patients; /* chosen ids; NULL = all */
    double mpp;
    /* of the run */
    LobReader *reader;
    char *folder;
    size_t n_done, n_failed;
} Viewer;

static bool wanted(char **chosen, const char *id) {
    return !chosen || g_strv_contains((const char *const *)chosen, id);
}

static char *file_in(const Viewer *viewer, const char *slide_id, const char *ending) {
    g_autofree char *name = g_strdup_printf("%s%s%s", slide_id, viewer->grid ? ".grid" : "", ending);
    return g_build_filename(viewer->folder, name, NULL);
}

/* The picture is an overview of its own: the mask's is too coarse for people. */
static bool draw(Viewer *viewer, const LobLook *look, const char *path, GError **err) {
    const LobSlideInfo *info = &look->info;
    const double longest = (double)MAX(info->bounds_width, info->bounds_height);
    const double mpp = MAX(info->mpp_x, info->mpp_y) * MAX(longest / PICTURE_PIXELS, 1.0);
    g_auto(LobImage) picture = {0}, unknown = {0};
    double scale_x, scale_y;
    return lob_reader_overview(viewer->reader, mpp, &picture, &unknown, &scale_x, &scale_y, err) &&
           lob_overlay_png(path, &picture, &look->mask, viewer->grid ? &look->grid : NULL, look->tile_width,
                           look->tile_height, err);
}

static bool save_geojson(const Viewer *viewer, const LobLook *look, const char *path, GError **err) {
    static const char *const names[] = {"tissue %"};
    g_autoptr(LobGeojson) geojson = lob_geojson_new();
    if (!viewer->grid)
        lob_geojson_add_mask(geojson, &look->mask, "Tissue");
    for (size_t i = 0; viewer->grid && i < look->grid.n; i++) {
        const double percent = look->grid.tissue[i];
        const LobGeojsonTile tile = {.x = look->grid.xy[i][0],
                                     .y = look->grid.xy[i][1],
                                     .width = look->tile_width,
                                     .height = look->tile_height,
                                     .score_names = names,
                                     .scores = &percent,
                                     .n_scores = 1};
        lob_geojson_add_tile(geojson, &tile);
    }
    return lob_geojson_save(geojson, path, err);
}

static bool view(Viewer *viewer, const LobLookSpec *spec, GError **err) {
    const char *id = spec->tissue.slide_id;
    g_auto(LobLook) look = {0};
    g_autofree char *png = file_in(viewer, id, ".overlay.png"), *json = file_in(viewer, id, ".geojson");
    LobSlideQuality quality;
    if (strchr(id, '/'))
        return lob_fail(err, LOB_ERROR_SLIDE, "slide '%s': this id cannot be a file's name", id);
    if (!lob_look_at(viewer->reader, spec, &look, err) || !draw(viewer, &look, png, err) ||
        (viewer->geojson && !save_geojson(viewer, &look, json, err)))
        return false;
    lob_slide_quality(&look.overview, &look.mask, look.info.mpp_x, look.info.mpp_y, &quality);
    printf("%s\t%.3f\t%zu\n", id, quality.tissue_mm2, look.grid.n);
    return true;
}

/* A slide's own error is told and counted; anything else ends the command. */
static bool view_or_tell(Viewer *viewer, const LobLookSpec *spec, GError **err) {
    g_autoptr(GError) problem = NULL;
    if (view(viewer, spec, &problem)) {
        viewer->n_done++;
        return true;
    }
    if (!g_error_matches(problem, LOB_ERROR, LOB_ERROR_SLIDE)) {
        g_propagate_error(err, g_steal_pointer(&problem));
        return false;
    }
    viewer->n_failed++;
    lob_warning("%s: %s", spec->tissue.slide_id, problem->message);
    return true;
}

static bool make_folder(Viewer *viewer, const char *output, GError **err) {
    viewer->folder = g_build_filename(output, "masks", NULL);
    printf("slide_id\ttissue_mm2\ttiles\n");
    return lob_make_dirs(viewer->folder, err);
}

static bool view_study(Viewer *viewer, const LobStudy *study, const LobCohort *cohort, GError **err) {
    if (!study->slides)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: names no slides, only features", study->path);
    if (!make_folder(viewer, study->output, err) || !(viewer->reader = lob_stage_reader(study, 1, err)))
        return false;
    for (size_t i = 0; i < cohort->n_slides; i++) {
        const LobCohortSlide *slide = &cohort->slides[i];
        LobLookSpec spec;
        if (!wanted(viewer->slides, slide->slide_id) ||
            !wanted(viewer->patients, cohort->patients[slide->patient].patient_id))
            continue;
        if (!lob_look_spec(study, slide, &spec, err) || !view_or_tell(viewer, &spec, err))
            return false;
    }
    return viewer->n_done + viewer->n_failed > 0 ||
           lob_fail(err, LOB_ERROR_INPUT, "%s: none of its slides is chosen", study->path);
}

static bool run_study(Viewer *viewer, const char *path, GError **err) {
    g_autoptr(LobStudy) study = lob_study_read(path, viewer->output, err);
    if (!study)
        return false;
    study->validation.scheme = LOB_SCHEME_FOLDS; /* no fold is made: a single center will do */
    g_autoptr(LobCohort) cohort = lob_cohort_read(study, err);
    if (!cohort)
        return false;
    if (viewer->top_tiles)
        return lob_top_tiles_geojson(cohort, (const char *const *)viewer->slides,
                                     (const char *const *)viewer->patients, &viewer->n_done, err);
    return view_study(viewer, study, cohort, err);
}

/* Slides without a study: the defaults of tissue and tiles. */
static bool run_slides(Viewer *viewer, char **paths, GError **err) {
    LobLookSpec spec = {.tile = {.mpp = 0.5, .size = 224, .max_enlarge = 1.1},
                        .tissue = lob_tissue_defaults,
                        .min_tissue = 0.25};
    if (viewer->top_tiles || viewer->slides || viewer->patients)
        return lob_fail(err, LOB_ERROR_INPUT, "--top-tiles, --slide and --patient are for a study");
    spec.tissue.masks = viewer->masks;
    if (!lob_look_method(viewer->method  ? viewer->method
                         : viewer->masks ? "masks"
                                         : "otsu",
                         &spec.tissue.method, err) ||
        !make_folder(viewer, viewer->output ? viewer->output : ".", err) ||
        !(viewer->reader = lob_reader_new(&lob_reader_default_limits, err)))
        return false;
    if (spec.tissue.method == LOB_TISSUE_MASKS && !viewer->masks)
        return lob_fail(err, LOB_ERROR_INPUT, "--method masks needs --masks DIR");
    for (char **path = paths; *path; path++) {
        g_autofree char *name = g_path_get_basename(*path);
        char *dot = strrchr(name, '.');
        if (dot && dot != name)
            *dot = '\0';
        spec.slide = (LobSlideSpec){*path, viewer->mpp, LOB_MPP_MANIFEST};
        spec.tissue.slide_id = name;
        if (!view_or_tell(viewer, &spec, err))
            return false;
    }
    return true;
}

static bool run(Viewer *viewer, char **arguments, GError **err) {
    const bool study = g_str_has_suffix(arguments[0], ".yaml") || g_str_has_suffix(arguments[0], ".yml");
    if (!study)
        return run_slides(viewer, arguments, err);
    if (arguments[1])
        return lob_fail(err, LOB_ERROR_INPUT, "one study, or slides; see --help");
    if (viewer->mpp > 0 || viewer->method || viewer->masks)
        return lob_fail(
            err, LOB_ERROR_INPUT,
            "--mpp, --method and --masks are for slides without a study: a study says them itself");
    return run_study(viewer, arguments[0], err);
}

static bool parse(Viewer *viewer, int *argc, char ***argv, GError **err) {
    const GOptionEntry entries[] = {
        {"geojson", 0, 0, G_OPTION_ARG_NONE, &viewer->geojson,
         viewer->grid ? "Also the tiles as GeoJSON for QuPath" : "Also the tissue as GeoJSON for QuPath",
         NULL},
        {"output", 0, 0, G_OPTION_ARG_FILENAME, &viewer->output, "Where the folder masks/ is made", "DIR"},
        {"slide", 0, 0, G_OPTION_ARG_STRING_ARRAY, &viewer->slides, "Only this slide of a study (repeatable)",
         "ID"},
        {"patient", 0, 0, G_OPTION_ARG_STRING_ARRAY, &viewer->patients,
         "Only this patient's slides (repeatable)", "ID"},
        {"mpp", 0, 0, G_OPTION_ARG_DOUBLE, &viewer->mpp, "Scale of level 0, without a study", "UM"},
        {"method", 0, 0, G_OPTION_ARG_STRING, &viewer->method, "Tissue, without a study", "otsu|hsv|masks"},
        {"masks", 0, 0, G_OPTION_ARG_FILENAME, &viewer->masks,
         "Without a study: folder with <slide>.png or <slide>.geojson", "DIR"},
        {NULL, 0, 0, 0, NULL, NULL, NULL},
    };
    const GOptionEntry top[] = {
        {"top-tiles", 0, 0, G_OPTION_ARG_NONE, &viewer->top_tiles,
         "After validate, instead: attention/<slide>.top_tiles.geojson, the tiles the models looked at most",
         NULL},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};
    g_autoptr(GOptionContext) context = g_option_context_new("STUDY.yaml | SLIDE...");
    g_autoptr(GError) problem = NULL;
    g_option_context_add_main_entries(context, entries, NULL);
    if (viewer->grid)
        g_option_context_add_main_entries(context, top, NULL);
    g_option_context_set_summary(
        context, viewer->grid
                     ? "Draws the tiles that planning would take into masks/<slide>.grid.overlay.png. Prints "
                       "slide, mm2 of tissue, tiles. Starts no ranks."
                     : "Draws the outline of the tissue into masks/<slide>.overlay.png. Prints slide, mm2 of "
                       "tissue, tiles. Starts no ranks.\nWith --geojson, masks/ can be edited in QuPath and "
                       "given back as tissue: {method: masks, masks: DIR}.");
    if (!g_option_context_parse(context, argc, argv, &problem))
        return lob_fail(err, LOB_ERROR_INPUT, "%s", problem->message);
    return (*argc > 1 && viewer->mpp >= 0) ||
           lob_fail(err, LOB_ERROR_INPUT, "%s",
                    *argc > 1 ? "--mpp must be positive" : "expected a study or slides, see --help");
}

static int view_command(bool grid, int argc, char **argv) {
    Viewer viewer = {.grid = grid};
    g_autoptr(GError) err = NULL;
    lob_log_setup(LOB_LOG_INFO, 0);
    bool ok = parse(&viewer, &argc, &argv, &err) && lob_zygote_start(&err) && run(&viewer, argv + 1, &err);
    lob_reader_free(viewer.reader);
    lob_zygote_stop();
    if (!ok)
        lob_error_log("%s", err->message);
    else
        lob_info("%zu slides drawn, %zu failed", viewer.n_done, viewer.n_failed);
    g_free(viewer.folder);
    g_free(viewer.output);
    g_free(viewer.masks);
    g_free(viewer.method);
    g_strfreev(viewer.slides);
    g_strfreev(viewer.patients);
    return !ok ? lob_error_exit_code(err) : viewer.n_failed ? LOB_EXIT_SLIDES_FAILED : LOB_EXIT_DONE;
}

int lob_cmd_masks(int argc, char **argv) {
    return view_command(false, argc, argv);
}

int lob_cmd_grid(int argc, char **argv) {
    return view_command(true, argc, argv);
}
