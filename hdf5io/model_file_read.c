/* Reading the model file. It may come from anywhere: its seal is checked before HDF5 sees a byte, every size
 * against the file's own, and the whole against the content's hash. */
#include "hdf5io/model_file_internal.h"
#include <math.h>
#include <string.h>

/* The in-memory driver refuses a name that exists on disk; nothing can exist below a device. */
#define NO_FILE "/dev/null/model"
#define MOST_NETS 10000
#define MOST_ITEMS ((hsize_t)1 << 31)

typedef struct {
    hid_t group;
    const char *path;
    GError **err;
} Reader;

static bool get_text(const Reader *r, const char *name, char **text) {
    return lob_h5_read_text(r->group, name, r->path, text, NULL, r->err);
}

/* A text that is absent is kept as "". */
static bool get_optional(const Reader *r, const char *name, char **text) {
    if (!get_text(r, name, text))
        return false;
    if (**text == '\0')
        g_clear_pointer(text, g_free);
    return true;
}

static bool get_whole(const Reader *r, const char *name, double most, double *value) {
    if (!lob_h5_read_number(r->group, name, r->path, value, NULL, r->err))
        return false;
    return (*value >= 0 && *value <= most && *value == floor(*value)) ||
           lob_fail(r->err, LOB_ERROR_INPUT, "%s: attribute %s is out of range: %g", r->path, name, *value);
}

/* Whole dataset into new memory; class must be the file's own, so that a conversion never guesses. */
static void *get_rows(const Reader *r, const char *name, H5T_class_t class, hid_t type, int rank,
                      hsize_t dims[2]) {
    g_auto(LobHid) dataset = lob_h5_open_dataset(r->group, name, r->path, rank, dims, r->err);
    if (dataset < 0)
        return NULL;
    g_auto(LobHid) stored = H5Dget_type(dataset);
    size_t size = H5Tget_size(type);
    void *data = NULL;
    if (stored >= 0 && H5Tget_class(stored) == class && dims[0] <= MOST_ITEMS && dims[1] <= MOST_ITEMS &&
        dims[0] * dims[1] <= MOST_ITEMS)
        data = g_try_malloc0(MAX(dims[0] * dims[1] * size, 1));
    if (!data) {
        lob_fail(r->err, LOB_ERROR_INPUT, "%s: dataset %s is of another type or too large", r->path, name);
        return NULL;
    }
    if (!lob_h5_read_rows(dataset, type, 0, dims[1] ? dims[0] : 0, data, name, r->err))
        g_clear_pointer(&data, g_free);
    return data;
}

/* n: how many there must be. */
static void *get_exactly(const Reader *r, const char *name, H5T_class_t class, hid_t type, size_t n) {
    hsize_t dims[2];
    void *data = get_rows(r, name, class, type, 1, dims);
    if (data && dims[0] != n) {
        lob_fail(r->err, LOB_ERROR_INPUT, "%s: dataset %s has %llu values instead of %zu", r->path, name,
                 (unsigned long long)dims[0], n);
        g_clear_pointer(&data, g_free);
    }
    return data;
}

static char **get_texts(const Reader *r, const char *name, size_t *n) {
    hsize_t dims[2];
    g_auto(LobHid) dataset = lob_h5_open_dataset(r->group, name, r->path, 1, dims, r->err);
    if (dataset < 0)
        return NULL;
    *n = dims[0];
    return lob_h5_read_strings(dataset, dims[0], name, r->err);
}

/* ---- one net ---- */

static bool read_endpoint(const Reader *r, LobSavedNet *net) {
    LobEndpoint *e = &net->endpoint;
    double kind;
    hsize_t dims[2];
    size_t n_classes = 0;
    if (!get_text(r, "endpoint", &e->name) ||
        !get_whole(r, "endpoint_kind", LOB_ENDPOINT_MULTICLASS, &kind) ||
        !get_optional(r, "time", &e->time) || !get_optional(r, "event", &e->event) ||
        !get_optional(r, "competing", &e->competing) || !get_optional(r, "label", &e->label) ||
        !lob_h5_read_number(r->group, "landmark", r->path, &e->landmark, NULL, r->err))
        return false;
    e->kind = (LobEndpointKind)kind;
    e->horizons = get_rows(r, "horizons", H5T_FLOAT, H5T_NATIVE_DOUBLE, 1, dims);
    if (!e->horizons)
        return false;
    e->n_horizons = dims[0];
    net->classes = get_texts(r, "classes", &n_classes);
    if (net->classes && n_classes == 0)
        g_clear_pointer(&net->classes, g_strfreev);
    else if (!net->classes)
        return false;
    return true;
}

static void take_columns(LobSavedNet *net, size_t n, char **names, char **levels, char **references,
                         const uint8_t *kinds, const double *scale) {
    net->n_columns = n;
    net->columns = g_new0(LobDesignColumn, MAX(n, 1));
    for (size_t c = 0; c < n; c++) {
        bool level = kinds[c] == LOB_COLUMN_LEVEL;
        net->columns[c] = (LobDesignColumn){.kind = (LobColumnKind)kinds[c],
                                            .covariate = g_strdup(names[c]),
                                            .level = level ? g_strdup(levels[c]) : NULL,
                                            .reference = level ? g_strdup(references[c]) : NULL,
                                            .median = scale[3 * c],
                                            .mean = scale[3 * c + 1],
                                            .sd = scale[3 * c + 2]};
    }
}

static bool read_columns(const Reader *r, LobSavedNet *net) {
    hsize_t dims[2];
    size_t n = 0, m = 0, k = 0;
    g_auto(GStrv) names = get_texts(r, "column_covariate", &n);
    g_auto(GStrv) levels = names ? get_texts(r, "column_level", &m) : NULL;
    g_auto(GStrv) references = levels ? get_texts(r, "column_reference", &k) : NULL;
    g_autofree uint8_t *kinds =
        references ? get_exactly(r, "column_kind", H5T_INTEGER, H5T_NATIVE_UINT8, n) : NULL;
    g_autofree double *scale =
        kinds ? get_rows(r, "column_median_mean_sd", H5T_FLOAT, H5T_NATIVE_DOUBLE, 2, dims) : NULL;
    if (!scale)
        return false;
    bool fits = m == n && k == n && dims[0] == n && dims[1] == 3;
    for (size_t c = 0; fits && c < n; c++)
        fits = kinds[c] <= LOB_COLUMN_MISSING;
    if (!fits)
        return lob_fail(r->err, LOB_ERROR_INPUT, "%s: the covariates' columns do not fit each other",
                        r->path);
    take_columns(net, n, names, levels, references, kinds, scale);
    return true;
}

static bool read_weights(const Reader *r, LobSavedNet *net) {
    const hid_t real = H5T_NATIVE_DOUBLE, single = H5T_NATIVE_FLOAT;
    size_t seeds = (size_t)net->seeds;
    hsize_t cuts[2] = {0, 1}, dims[2] = {0, 0}, tiles[2] = {0, 1};
    net->cuts = get_rows(r, "cuts", H5T_FLOAT, real, 1, cuts);
    net->n_cuts = cuts[0];
    if (!net->cuts || !(net->risk_cut = get_exactly(r, "risk_cut", H5T_FLOAT, real, seeds)) ||
        !(net->epochs = get_exactly(r, "epochs", H5T_INTEGER, H5T_NATIVE_INT64, seeds)) ||
        !(net->mean = get_rows(r, "tile_mean", H5T_FLOAT, single, 1, tiles)))
        return false;
    net->dim = tiles[0];
    if (!(net->inverse = get_exactly(r, "tile_inverse_sd", H5T_FLOAT, single, net->dim)) ||
        !(net->params = get_rows(r, "weights", H5T_FLOAT, single, 2, dims)))
        return false;
    net->n_params = dims[1];
    return dims[0] == seeds || lob_fail(r->err, LOB_ERROR_INPUT, "%s: weights of %llu seeds instead of %zu",
                                        r->path, (unsigned long long)dims[0], seeds);
}

static bool read_net(const Reader *r, LobSavedNet *net) {
    double hidden, attention, fuse, centers;
    if (!read_endpoint(r, net) || !get_text(r, "kind", &net->kind) ||
        !get_text(r, "options", &net->options) || !get_whole(r, "hidden", 1 << 20, &hidden) ||
        !get_whole(r, "attention", 1 << 20, &attention) || !get_whole(r, "use_covariates", 1, &fuse) ||
        !get_whole(r, "centers", 1 << 20, &centers))
        return false;
    net->hidden = (int)hidden;
    net->attention = (int)attention;
    net->use_covariates = fuse > 0;
    net->n_centers = (size_t)centers;
    return read_columns(r, net) && read_weights(r, net);
}

static bool read_nets(hid_t root, const char *path, LobSavedModel *model, GError **err) {
    size_t n = model->n_endpoints * model->n_kinds;
    model->nets = g_new0(LobSavedNet, n);
    for (size_t i = 0; i < n; i++) {
        char name[32];
        (void)lob_model_group_name(name, i);
        g_auto(LobHid) group = lob_h5_has(root, name) ? H5Gopen2(root, name, H5P_DEFAULT) : LOB_NO_HID;
        if (group < 0)
            return lob_fail(err, LOB_ERROR_INPUT, "%s: group %s is missing", path, name);
        model->nets[i].seeds = model->seeds;
        if (!read_net(&(Reader){group, path, err}, &model->nets[i]))
            return false;
    }
    return true;
}

/* ---- the whole ---- */

static bool read_features(hid_t root, const char *path, LobStoreHeader *header, GError **err) {
    g_auto(LobHid) group =
        lob_h5_has(root, "features") ? H5Gopen2(root, "features", H5P_DEFAULT) : LOB_NO_HID;
    double dim;
    if (group < 0)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: group features is missing", path);
    if (!lob_store_header_read(group, path, header, err) ||
        !get_whole(&(Reader){group, path, err}, "dim", 1 << 20, &dim))
        return false;
    header->dim = (int)dim;
    return true;
}

bool lob_model_read(hid_t root, const char *path, LobModelFile *file, GError **err) {
    LobSavedModel *model = &file->model;
    const Reader r = {root, path, err};
    double version, seeds, endpoints, kinds;
    g_autofree char *seed = NULL, *sha256 = NULL;
    if (!get_whole(&r, "lobule_model", 1e6, &version))
        return false;
    if (version != LOB_MODEL_VERSION)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: model version %g, this lobule reads version %d", path,
                        version, LOB_MODEL_VERSION);
    if (!get_text(&r, "lobule", &model->program) || !get_text(&r, "sha256", &sha256) ||
        !get_text(&r, "study", &model->study) || !get_text(&r, "study_sha256", &model->study_sha256) ||
        !get_text(&r, "seed", &seed) || !get_whole(&r, "seeds", 10000, &seeds) ||
        !get_whole(&r, "endpoints", 100, &endpoints) || !get_whole(&r, "kinds", MOST_NETS / 100, &kinds) ||
        !read_features(root, path, &file->features, err))
        return false;
    if (seeds < 1 || endpoints < 1 || kinds < 1 ||
        !g_ascii_string_to_unsigned(seed, 10, 0, UINT64_MAX, &model->seed, NULL))
        return lob_fail(err, LOB_ERROR_INPUT, "%s: holds no model", path);
    model->seeds = (int)seeds;
    model->n_endpoints = (size_t)endpoints;
    model->n_kinds = (size_t)kinds;
    if (!read_nets(root, path, model, err) || !lob_model_read_benefit(root, path, &file->benefit, err) ||
        !lob_model_read_registered(root, path, &file->registered, err))
        return false;
    lob_model_file_seal(file);
    return strcmp(file->sha256, sha256) == 0 ||
           lob_fail(err, LOB_ERROR_INPUT,
                    "%s: its content is not what its hash says (%.16s, should be %.16s)", path, file->sha256,
                    sha256);
}

static bool seal_holds(const char *name, const void *data, size_t size, GError **err) {
    static const char magic[] = "lobule model\n";
    if (size <= LOB_MODEL_SEAL || memcmp(data, magic, strlen(magic)) != 0)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: not a model that lobule train made", name);
    g_autofree char *text = lob_model_seal_text(data, size);
    char wanted[LOB_MODEL_SEAL] = {0};
    memcpy(wanted, text, strlen(text));
    return memcmp(data, wanted, sizeof wanted) == 0 ||
           lob_fail(err, LOB_ERROR_INPUT, "%s: damaged: its bytes do not have the SHA-256 it was locked with",
                    name);
}

static bool parse(const char *name, const void *data, size_t size, LobModelFile *file, GError **err) {
    if (!seal_holds(name, data, size, err))
        return false;
    g_auto(LobHid) fapl = H5Pcreate(H5P_FILE_ACCESS);
    /* HDF5 wants to own the bytes, or a copy of its own making. */
    if (fapl < 0 || H5Pset_fapl_core(fapl, 1 << 16, false) < 0 ||
        H5Pset_fclose_degree(fapl, H5F_CLOSE_STRONG) < 0 ||
        H5Pset_file_image(fapl, (void *)(uintptr_t)data, size) < 0)
        return lob_h5_fail(err, LOB_ERROR_INTERNAL, "%s: cannot be opened in memory", name);
    g_auto(LobHid) root = H5Fopen(NO_FILE, H5F_ACC_RDONLY, fapl);
    g_autoptr(GError) cause = NULL;
    if (!LOB_H5(err, LOB_ERROR_INPUT, root, "%s: not a readable HDF5 file", name) ||
        !lob_model_read(root, name, file, err))
        return false;
    if (lob_saved_check(&file->model, &cause))
        return true;
    return lob_fail(err, LOB_ERROR_INPUT, "%s: %s", name, cause->message);
}

bool lob_model_file_parse(const char *name, const void *data, size_t size, LobModelFile *file, GError **err) {
    *file = (LobModelFile){0};
    lob_h5_quiet();
    if (parse(name, data, size, file, err))
        return true;
    lob_model_file_clear(file);
    return false;
}
