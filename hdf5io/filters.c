/* Which tiles a study leaves out: for their quality, or because their slide has so many. */
#include "hdf5io/hdf5io.h"

static void limits_of(const LobStudy *study, double limits[LOB_QUALITIES]) {
    limits[LOB_Q_PEN] = study->tiles.max_pen;
    limits[LOB_Q_FOLD] = study->tiles.max_fold;
    limits[LOB_Q_BLUR] = study->tiles.max_blur;
    limits[LOB_Q_OVEREXPOSED] = study->tiles.max_overexposed;
}

char *lob_filters_text(const LobStudy *study) {
    double limits[LOB_QUALITIES];
    if (!study)
        return NULL;
    g_autoptr(GString) text = g_string_new(NULL);
    limits_of(study, limits);
    for (int q = 0; q < LOB_QUALITIES; q++)
        if (limits[q] < 100)
            g_string_append_printf(text, "%s%s above %g %%", text->len ? ", " : "", lob_quality_names[q],
                                   limits[q]);
    if (study->model.max_tiles_slide > 0)
        g_string_append_printf(text, "%sall but %d of a slide, drawn by its id", text->len ? ", " : "",
                               study->model.max_tiles_slide);
    return text->len ? g_string_free(g_steal_pointer(&text), FALSE) : NULL;
}

bool lob_filters_ask_quality(const LobStudy *study) {
    double limits[LOB_QUALITIES];
    if (!study)
        return false;
    limits_of(study, limits);
    for (int q = 0; q < LOB_QUALITIES; q++)
        if (limits[q] < 100)
            return true;
    return false;
}

bool lob_filters_drop(const LobStudy *study, const uint8_t quality[LOB_QUALITIES]) {
    double limits[LOB_QUALITIES];
    limits_of(study, limits);
    for (int q = 0; q < LOB_QUALITIES; q++)
        if (quality[q] != LOB_QUALITY_UNKNOWN && quality[q] > limits[q])
            return true;
    return false;
}

unsigned lob_quality_flags(const LobStudy *study, const uint8_t quality[LOB_QUALITIES]) {
    static const double usual[LOB_QUALITIES] = {10, 30, 50, 50};
    double limits[LOB_QUALITIES];
    unsigned flags = 0;
    limits_of(study, limits);
    for (int q = 0; q < LOB_QUALITIES; q++)
        if (quality[q] != LOB_QUALITY_UNKNOWN && quality[q] > MIN(limits[q], usual[q]))
            flags |= 1u << q;
    return flags;
}
