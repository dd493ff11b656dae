/* True scale: where um per pixel comes from, and the tile it makes. */
#include "slide/slide_internal.h"

#include <math.h>

const char *lob_mpp_source_name(LobMppSource source) {
    static const char *const names[] = {"unknown", "manifest", "center", "vendor", "tiff"};
    return (unsigned)source < G_N_ELEMENTS(names) ? names[source] : "unknown";
}

static bool plausible(double mpp) {
    return mpp >= LOB_MPP_MIN && mpp <= LOB_MPP_MAX;
}

/* A positive number that fills the whole text, else 0. */
static double number(const char *text) {
    if (text == NULL)
        return 0;
    char *end;
    double value = g_ascii_strtod(text, &end);
    return end != text && *end == '\0' && isfinite(value) && value > 0 ? value : 0;
}

/* um in the unit of a TIFF resolution; 0 where the file says none, as a bare ratio is no scale. */
static double unit_um(const char *unit) {
    if (g_strcmp0(unit, "centimeter") == 0)
        return 10000;
    if (g_strcmp0(unit, "inch") == 0)
        return 25400;
    return 0;
}

static bool take(LobSlideInfo *info, double x, double y, LobMppSource source) {
    if (!plausible(x) || !plausible(y))
        return false;
    info->mpp_x = x;
    info->mpp_y = y;
    info->mpp_source = source;
    return true;
}

void lob_mpp_from_texts(const LobMppTexts *texts, LobSlideInfo *info) {
    double x = number(texts->mpp_x), y = number(texts->mpp_y);
    info->mpp_x = info->mpp_y = 0;
    info->mpp_source = LOB_MPP_UNKNOWN;
    if (take(info, x > 0 ? x : y, y > 0 ? y : x, LOB_MPP_VENDOR))
        return;
    double aperio = number(texts->aperio_mpp);
    if (take(info, aperio, aperio, LOB_MPP_VENDOR))
        return;
    double per_x = number(texts->x_resolution), per_y = number(texts->y_resolution);
    double um = unit_um(texts->unit);
    if (per_x > 0 && per_y > 0 && um > 0)
        take(info, um / per_x, um / per_y, LOB_MPP_TIFF);
}

bool lob_tile_footprint(const LobSlideInfo *info, const LobTileSpec *spec, double *width, double *height,
                        double *step_x, double *step_y, GError **err) {
    if (!(spec->mpp > 0) || spec->size < 1 || spec->overlap < 0 || spec->overlap >= spec->size)
        return lob_fail(
            err, LOB_ERROR_INPUT,
            "tiles of %d px at %g um/px with an overlap of %d px cannot be cut: mpp > 0, size > 0 "
            "and 0 <= overlap < size are needed",
            spec->size, spec->mpp, spec->overlap);
    if (!(info->mpp_x > 0) || !(info->mpp_y > 0))
        return lob_fail(err, LOB_ERROR_SLIDE,
                        "um per pixel unknown: the file has neither a scanner's mpp nor a plausible TIFF "
                        "resolution; give it in column mpp of slides.csv, or for a whole center as "
                        "centers: {NAME: {mpp: ...}} in the study file");
    if (!plausible(info->mpp_x) || !plausible(info->mpp_y))
        return lob_fail(
            err, LOB_ERROR_SLIDE,
            "implausible scale of %g x %g um per pixel (%s), expected %g to %g; correct column mpp "
            "of slides.csv, or centers: {NAME: {mpp: ...}} in the study file",
            info->mpp_x, info->mpp_y, lob_mpp_source_name(info->mpp_source), LOB_MPP_MIN, LOB_MPP_MAX);
    double coarsest = MAX(info->mpp_x, info->mpp_y);
    if (coarsest > spec->mpp * MAX(spec->max_enlarge, 1.0) * (1 + 1e-9))
        return lob_fail(
            err, LOB_ERROR_SLIDE,
            "scanned at %g um per pixel (%s), too coarse for tiles at %g: its pixels would have to "
            "be enlarged %.2f times, more than the %.2f allowed",
            coarsest, lob_mpp_source_name(info->mpp_source), spec->mpp, coarsest / spec->mpp,
            MAX(spec->max_enlarge, 1.0));
    *width = spec->size * spec->mpp / info->mpp_x;
    *height = spec->size * spec->mpp / info->mpp_y;
    *step_x = (spec->size - spec->overlap) * spec->mpp / info->mpp_x;
    *step_y = (spec->size - spec->overlap) * spec->mpp / info->mpp_y;
    return true;
}

int lob_slide_level_for(const LobSlideInfo *info, double downsample) {
    int best = 0;
    for (int i = 1; i < info->levels; i++)
        if (info->level[i].downsample <= downsample * 1.02 &&
            info->level[i].downsample > info->level[best].downsample)
            best = i;
    return best;
}

int lob_slide_best_level(const LobSlideInfo *info, double mpp) {
    double coarsest = MAX(info->mpp_x, info->mpp_y);
    return coarsest > 0 && mpp > 0 ? lob_slide_level_for(info, mpp / coarsest) : 0;
}
