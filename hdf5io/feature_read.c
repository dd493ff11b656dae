/* Reading TRIDENT's, CLAM's, STAMP's and AtlasPatch's per-slide files, in the variants that are found in the
 * field. */
#include "hdf5io/feature_file.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

#define MOST_ROWS ((uint64_t)1 << 32)
#define MOST_DIM ((uint64_t)1 << 20)

static const char *const format_names[] = {"trident", "clam", "stamp", "atlaspatch", "tensor"};
#define WRITTEN (LOB_FORMAT_STAMP + 1)

const char *lob_feature_format_name(LobFeatureFormat format) {
    return format_names[format];
}

bool lob_feature_format_parse(const char *name, LobFeatureFormat *format, GError **err) {
    for (size_t i = 0; i < WRITTEN; i++)
        if (strcmp(name, format_names[i]) == 0) {
            *format = (LobFeatureFormat)i;
            return true;
        }
    return lob_fail(err, LOB_ERROR_INPUT, "no such format: %s (there are trident, clam and stamp)", name);
}

void lob_feature_file_close(LobFeatureFile *file) {
    if (!file)
        return;
    lob_hid_close(file->features);
    lob_hid_close(file->coords);
    lob_hid_close(file->file);
    g_clear_pointer(&file->weights, lob_weights_free);
    g_free(file->places);
    g_free(file->facts.encoder);
    g_free(file->facts.stain);
    g_free(file->path);
    g_free(file);
}

static bool too_large(const LobFeatureFile *file, const char *what, GError **err) {
    return lob_fail(err, LOB_ERROR_INPUT, "%s: its %s do not fit into memory", file->path, what);
}

/* A number that need not be there; text that holds a number counts (some writers store "20"). */
static bool optional_number(hid_t object, const char *name, const char *path, double *value, GError **err) {
    g_autofree char *text = NULL;
    bool found = false;
    if (H5Aexists(object, name) <= 0)
        return true;
    if (!lob_h5_read_text(object, name, path, &text, &found, NULL))
        return lob_h5_read_number(object, name, path, value, &found, err);
    char *end = NULL;
    *value = g_ascii_strtod(text, &end);
    return (end != text && *end == '\0') ||
           lob_fail(err, LOB_ERROR_INPUT, "%s: attribute %s is not a number: '%s'", path, name, text);
}

static bool optional_count(hid_t object, const char *name, const char *path, double most, double *value,
                           GError **err) {
    if (!optional_number(object, name, path, value, err))
        return false;
    return (*value >= 0 && *value <= most) ||
           lob_fail(err, LOB_ERROR_INPUT, "%s: attribute %s is out of range: %g", path, name, *value);
}

static bool optional_text(hid_t object, const char *name, const char *path, char **text, GError **err) {
    bool found = false;
    return lob_h5_read_text(object, name, path, text, &found, err);
}

/* What TRIDENT keeps on /coords and AtlasPatch on the root. */
static bool read_patch_facts(LobFeatureFile *file, hid_t at, bool patch_size_counts, GError **err) {
    LobFeatureFacts *facts = &file->facts;
    double size = 0, level0 = 0, magnification = 0, overlap = 0, width = 0, height = 0;
    if (!optional_count(at, "patch_size", file->path, 1 << 20, &size, err) ||
        !optional_count(at, "patch_size_level0", file->path, 1 << 24, &level0, err) ||
        !optional_count(at, "target_magnification", file->path, 1000, &magnification, err) ||
        !optional_count(at, "overlap", file->path, 1 << 20, &overlap, err) ||
        !optional_count(at, "level0_width", file->path, 1e12, &width, err) ||
        !optional_count(at, "level0_height", file->path, 1e12, &height, err))
        return false;
    facts->tile_size = patch_size_counts ? (int)size : 0;
    facts->tile_mpp = magnification > 0 ? 10 / magnification : 0;
    facts->overlap = (int)overlap;
    facts->level0_tile = (int64_t)level0;
    facts->width = (int64_t)width;
    facts->height = (int64_t)height;
    return true;
}

/* TRIDENT keeps its facts on /coords, the encoder on /features ("None" = unknown). CLAM keeps none, or its
 * patch_size at a pyramid level, which says nothing of the encoder's scale. */
static bool read_trident_facts(LobFeatureFile *file, GError **err) {
    LobFeatureFacts *facts = &file->facts;
    if (!optional_text(file->features, "encoder", file->path, &facts->encoder, err))
        return false;
    if (facts->encoder && (strcmp(facts->encoder, "None") == 0 || !*facts->encoder))
        g_clear_pointer(&facts->encoder, g_free);
    if (file->coords < 0)
        return true;
    bool trident = facts->encoder || H5Aexists(file->coords, "target_magnification") > 0 ||
                   H5Aexists(file->coords, "level0_magnification") > 0;
    file->format = trident ? LOB_FORMAT_TRIDENT : LOB_FORMAT_CLAM;
    return read_patch_facts(file, file->coords, trident, err);
}

static bool read_atlas_facts(LobFeatureFile *file, GError **err) {
    file->format = LOB_FORMAT_ATLASPATCH;
    return read_patch_facts(file, file->file, true, err) &&
           optional_count(file->file, "mpp", file->path, 1000, &file->facts.mpp, err);
}

/* The smallest positive step between coordinates: what an old file without a unit is recognised by. */
static bool smallest_step(LobFeatureFile *file, double *step, GError **err) {
    g_autofree double *xy = g_try_new(double, 2 * file->rows + 1);
    *step = INFINITY;
    if (!xy)
        return too_large(file, "coords", err);
    if (!lob_h5_read_rows(file->coords, H5T_NATIVE_DOUBLE, 0, file->rows, xy, file->path, err))
        return false;
    for (size_t i = 2; i < 2 * file->rows; i++) {
        double apart = fabs(xy[i] - xy[i - 2]);
        if (apart > 0)
            *step = fmin(*step, apart);
    }
    return true;
}

/* STAMP: micrometres since 2.0; before, pixels of 224-px tiles of 256 um and no unit. */
static bool read_stamp_facts(LobFeatureFile *file, GError **err) {
    LobFeatureFacts *facts = &file->facts;
    g_autofree char *kind = NULL, *unit = NULL;
    double um = 0, px = 0, step = 0;
    file->format = LOB_FORMAT_STAMP;
    if (!optional_text(file->file, "feat_type", file->path, &kind, err) ||
        !optional_text(file->file, "extractor", file->path, &facts->encoder, err) ||
        !optional_text(file->file, "unit", file->path, &unit, err) ||
        !optional_count(file->file, "tile_size", file->path, 1e6, &um, err) ||
        !optional_count(file->file, "tile_size_um", file->path, 1e6, &um, err) ||
        !optional_count(file->file, "tile_size_px", file->path, 1 << 20, &px, err))
        return false;
    if (kind && strcmp(kind, "tile") != 0)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: holds %s features, not tiles'", file->path, kind);
    facts->micrometres = true;
    facts->coord_scale = 1;
    if (unit && strcmp(unit, "um") != 0)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: coordinates in '%s', which is not known here (um is)",
                        file->path, unit);
    if (!unit && file->coords >= 0 && file->rows > 1) {
        if (!smallest_step(file, &step, err))
            return false;
        if (fabs(step - 224) > 1)
            return lob_fail(err, LOB_ERROR_INPUT,
                            "%s: coordinates have no unit and a step of %g, so their scale is unknown",
                            file->path, step);
        facts->coord_scale = 256.0 / 224.0;
        um = 256;
        px = 224;
    }
    facts->tile_size = (int)px;
    facts->tile_mpp = um > 0 && px > 0 ? um / px : 0;
    return true;
}

/* [N][D]; an empty slide may be (0,) too. One row of features without tiles is a slide's, not tiles'. */
static bool open_features_in(LobFeatureFile *file, hid_t at, const char *name, GError **err) {
    hsize_t dims[2] = {0, 0};
    g_autoptr(GError) other = NULL;
    file->features = lob_h5_open_dataset(at, name, file->path, 2, dims, err ? &other : NULL);
    if (file->features < 0) {
        file->features = lob_h5_open_dataset(at, name, file->path, 1, dims, NULL);
        if (file->features < 0) {
            if (other)
                g_propagate_error(err, g_steal_pointer(&other));
            return false;
        }
        if (dims[0] > 0)
            return lob_fail(err, LOB_ERROR_INPUT, "%s: %s is one vector: a slide's features, not its tiles'",
                            file->path, name);
        dims[1] = 0;
    }
    if (dims[0] > MOST_ROWS || dims[1] > MOST_DIM || (dims[0] > 0 && dims[1] == 0))
        return lob_fail(err, LOB_ERROR_INPUT, "%s: %s has an impossible shape: %" PRIu64 " x %" PRIu64,
                        file->path, name, (uint64_t)dims[0], (uint64_t)dims[1]);
    g_auto(LobHid) type = H5Dget_type(file->features);
    size_t size = 0;
    if (type < 0 || H5Tget_class(type) != H5T_FLOAT || H5Tget_size(type) > 8)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: %s should hold floating-point numbers", file->path, name);
    file->half = lob_h5_is_float(file->features, &size) && size == 2;
    file->rows = dims[0];
    file->dim = (int)dims[1];
    return true;
}

static bool open_coords(LobFeatureFile *file, GError **err) {
    hsize_t dims[2];
    if (!lob_h5_has(file->file, "coords"))
        return true;
    file->coords = lob_h5_open_dataset(file->file, "coords", file->path, 2, dims, err);
    if (file->coords < 0)
        return false;
    file->coord_columns = file->format == LOB_FORMAT_ATLASPATCH ? 5 : 2;
    if (dims[0] != file->rows || dims[1] != (hsize_t)file->coord_columns)
        return lob_fail(err, LOB_ERROR_INPUT,
                        "%s: %" PRIu64 " rows of features but coords of %" PRIu64 " x %" PRIu64, file->path,
                        file->rows, (uint64_t)dims[0], (uint64_t)dims[1]);
    g_auto(LobHid) type = H5Dget_type(file->coords);
    H5T_class_t class = type < 0 ? H5T_NO_CLASS : H5Tget_class(type);
    return class == H5T_INTEGER || class == H5T_FLOAT ||
           lob_fail(err, LOB_ERROR_INPUT, "%s: coords should hold numbers", file->path);
}

/* ---- AtlasPatch: a group with a dataset an encoder, those under way called __tmp_... ---- */

typedef struct {
    GString *names;
    char *first;
    size_t n;
} Encoders;

static herr_t add_encoder(hid_t group, const char *name, const H5L_info_t *link, void *user) {
    Encoders *encoders = user;
    (void)group;
    (void)link;
    if (g_str_has_prefix(name, "__tmp_") || !g_utf8_validate(name, -1, NULL))
        return 0;
    if (encoders->n++ == 0)
        encoders->first = g_strdup(name);
    if (encoders->n <= 20)
        g_string_append_printf(encoders->names, "%s%s", encoders->names->len ? ", " : "", name);
    return 0;
}

/* The wanted one, or the only one. */
static bool choose_encoder(LobFeatureFile *file, hid_t group, const char *wanted, GError **err) {
    Encoders encoders = {.names = g_string_new(NULL)};
    g_autofree char *names = NULL;
    const bool listed = H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, NULL, add_encoder, &encoders) >= 0;
    names = g_string_free(encoders.names, false);
    g_autofree char *first = encoders.first;
    if (!listed)
        return lob_h5_fail(err, LOB_ERROR_INPUT, "%s: its group features is damaged", file->path);
    if (encoders.n == 0)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: its group features holds no finished features",
                        file->path);
    if (wanted && *wanted && !strchr(wanted, '/') && !g_str_has_prefix(wanted, "__tmp_") &&
        lob_h5_has(group, wanted))
        file->facts.encoder = g_strdup(wanted);
    else if (encoders.n == 1)
        file->facts.encoder = g_steal_pointer(&first);
    return file->facts.encoder || lob_fail(err, LOB_ERROR_INPUT,
                                           "%s: holds features of %zu encoders (%s): say which (encoder: "
                                           "{name: ...} in a study, --encoder "
                                           "for store import)",
                                           file->path, encoders.n, names);
}

static bool open_atlas(LobFeatureFile *file, const char *wanted, GError **err) {
    g_auto(LobHid) group = H5Gopen2(file->file, "features", H5P_DEFAULT);
    if (!LOB_H5(err, LOB_ERROR_INPUT, group, "%s: features is not readable", file->path) ||
        !choose_encoder(file, group, wanted, err))
        return false;
    file->format = LOB_FORMAT_ATLASPATCH;
    return open_features_in(file, group, file->facts.encoder, err) && open_coords(file, err) &&
           read_atlas_facts(file, err);
}

/* Whether /features is a group of this file itself. */
static bool has_group(hid_t file, const char *name) {
    H5L_info_t link;
    H5O_info_t object;
    return lob_h5_has(file, name) && H5Lget_info(file, name, &link, H5P_DEFAULT) >= 0 &&
           link.type == H5L_TYPE_HARD && H5Oget_info_by_name(file, name, &object, H5P_DEFAULT) >= 0 &&
           object.type == H5O_TYPE_GROUP;
}

static bool open_all(LobFeatureFile *file, const char *encoder, GError **err) {
    static const char *const names[] = {"features", "feats", "patch_embeddings"};
    size_t at = 0;
    g_auto(LobHid) fapl = lob_h5_access(MPI_COMM_NULL, err);
    if (fapl < 0)
        return false;
    file->file = H5Fopen(file->path, H5F_ACC_RDONLY, fapl);
    if (!LOB_H5(err, LOB_ERROR_INPUT, file->file, "%s: not a readable HDF5 file", file->path))
        return false;
    if (H5Aexists(file->file, "lobule_store") > 0)
        return lob_fail(err, LOB_ERROR_INPUT,
                        "%s: is a lobule store; name the store itself, not a folder of feature files",
                        file->path);
    if (has_group(file->file, "features"))
        return open_atlas(file, encoder, err);
    while (at < G_N_ELEMENTS(names) && !lob_h5_has(file->file, names[at]))
        at++;
    if (at == G_N_ELEMENTS(names))
        return lob_fail(
            err, LOB_ERROR_INPUT,
            "%s: holds no features (neither 'features' as TRIDENT, CLAM and AtlasPatch nor 'feats' as "
            "STAMP)",
            file->path);
    return open_features_in(file, file->file, names[at], err) && open_coords(file, err) &&
           (at == 0 ? read_trident_facts(file, err) : read_stamp_facts(file, err));
}

LobFeatureFile *lob_feature_file_open(const char *path, GError **err) {
    return lob_feature_file_open_as(path, NULL, err);
}

char *lob_feature_file_find(const char *folder, const char *slide_id) {
    static const char *const endings[] = {".h5", ".pt"};
    for (size_t i = 0; i < G_N_ELEMENTS(endings) && !strchr(slide_id, '/'); i++) {
        g_autofree char *name = g_strconcat(slide_id, endings[i], NULL);
        g_autofree char *path = g_build_filename(folder, name, NULL);
        if (g_file_test(path, G_FILE_TEST_EXISTS))
            return g_steal_pointer(&path);
    }
    return NULL;
}

LobFeatureFile *lob_feature_file_open_as(const char *path, const char *encoder, GError **err) {
    LobFeatureFile *file = g_new0(LobFeatureFile, 1);
    file->path = g_strdup(path);
    file->file = file->features = file->coords = LOB_NO_HID;
    file->format = LOB_FORMAT_CLAM;
    file->facts.coord_scale = 1;
    lob_h5_quiet();
    if (!(g_str_has_suffix(path, ".pt") ? lob_feature_tensor_open(file, err)
                                        : open_all(file, encoder, err))) {
        lob_feature_file_close(file);
        return NULL;
    }
    return file;
}

static bool bad_value(const LobFeatureFile *file, uint64_t row, const char *what, GError **err) {
    return lob_fail(err, LOB_ERROR_INPUT, "%s: row %" PRIu64 " of the features holds %s", file->path, row,
                    what);
}

bool lob_feature_file_read_floats(LobFeatureFile *file, uint64_t first, size_t n, float *out, GError **err) {
    size_t dim = (size_t)file->dim;
    if (file->tensor) {
        if (!lob_feature_tensor_floats(file, first, n, out, err))
            return false;
    } else if (file->half) {
        g_autofree uint16_t *halves = g_try_new(uint16_t, n * dim + 1);
        if (!halves)
            return too_large(file, "features", err);
        g_auto(LobHid) type = lob_h5_half_type(err);
        if (type < 0 || !lob_h5_read_rows(file->features, type, first, n, halves, file->path, err))
            return false;
        lob_floats_from_halves(out, halves, n * dim);
    } else if (!lob_h5_read_rows(file->features, H5T_NATIVE_FLOAT, first, n, out, file->path, err)) {
        return false;
    }
    for (size_t i = 0; i < n * dim; i++)
        if (!isfinite(out[i]))
            return bad_value(file, first + i / dim, isnan(out[i]) ? "NaN" : "an infinity", err);
    return true;
}

bool lob_feature_file_read_halves(LobFeatureFile *file, uint64_t first, size_t n, uint16_t *out,
                                  GError **err) {
    size_t dim = (size_t)file->dim, step = MAX(((size_t)4 << 20) / MAX(dim, 1), 1);
    g_autofree float *floats = g_new(float, MIN(step, n) * dim + 1);
    for (size_t done = 0; done < n; done += step) {
        size_t now = MIN(step, n - done);
        uint16_t *halves = out + done * dim;
        if (!lob_feature_file_read_floats(file, first + done, now, floats, err))
            return false;
        lob_halves_from_floats(halves, floats, now * dim);
        for (size_t i = 0; i < now * dim; i++)
            if ((halves[i] & 0x7c00) == 0x7c00)
                return bad_value(file, first + done + i / dim, "a value beyond the range of float16", err);
    }
    return true;
}

/* Two columns of the file's coordinates as they stand there; caller frees. */
static double *read_places(LobFeatureFile *file, GError **err) {
    const size_t columns = (size_t)file->coord_columns;
    if (file->places) {
        double *copy = g_new(double, 2 * file->rows + 1);
        memcpy(copy, file->places, 2 * file->rows * sizeof *copy);
        return copy;
    }
    g_autofree double *raw = g_try_new(double, columns * file->rows + 1);
    if (!raw)
        too_large(file, "coords", err);
    if (!raw || !lob_h5_read_rows(file->coords, H5T_NATIVE_DOUBLE, 0, file->rows, raw, file->path, err))
        return NULL;
    for (uint64_t i = 0; columns > 2 && i < file->rows; i++) {
        raw[2 * i] = raw[columns * i];
        raw[2 * i + 1] = raw[columns * i + 1];
    }
    return g_steal_pointer(&raw);
}

bool lob_feature_file_read_coords(LobFeatureFile *file, double mpp, int32_t (*xy)[2], GError **err) {
    const LobFeatureFacts *facts = &file->facts;
    const int64_t side[2] = {facts->width, facts->height};
    if (file->coords < 0 && !file->places)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: holds no coordinates", file->path);
    if ((facts->micrometres || facts->centre_um > 0) && !(mpp > 0))
        return lob_fail(err, LOB_ERROR_INPUT,
                        "%s: coordinates are %s; the slide's mpp is needed to make them %s", file->path,
                        facts->micrometres ? "in micrometres" : "centres of tiles",
                        facts->micrometres ? "pixels" : "corners");
    g_autofree double *raw = read_places(file, err);
    if (!raw)
        return false;
    for (uint64_t i = 0; i < 2 * file->rows; i++) {
        double px = raw[i] * facts->coord_scale / (facts->micrometres ? mpp : 1);
        if (!(fabs(px) <= INT32_MAX) || (!facts->micrometres && fabs(px - round(px)) > 1e-3))
            return lob_fail(err, LOB_ERROR_INPUT, "%s: row %" PRIu64 " of coords is no pixel: %g", file->path,
                            i / 2, raw[i]);
        if (side[i % 2] > 0 && px >= (double)side[i % 2])
            return lob_fail(err, LOB_ERROR_INPUT,
                            "%s: row %" PRIu64 " of coords is at %g, beyond the slide's %" PRId64 " px",
                            file->path, i / 2, px, side[i % 2]);
        if (facts->centre_um > 0)
            px -= facts->centre_um / mpp / 2;
        xy[i / 2][i % 2] = (int32_t)lround(px);
    }
    return true;
}
