/* Writing the model file, and its seal. */
#include "hdf5io/feature_file.h"
#include "hdf5io/model_file_internal.h"
#include <string.h>
#include <unistd.h>

#define MOST_BYTES ((size_t)2 << 30)

/* ---- content hash and seal ---- */

static void append_header(const LobStoreHeader *header, GByteArray *bytes) {
    g_autofree char *columns = header->columns ? g_strjoinv(",", header->columns) : NULL;
    g_autofree char *text = g_strdup_printf(
        "%s\n%s\n%s\n%s\n%d %d %d %.17g %.17g\n%s\n%s\n", header->encoder ? header->encoder : "",
        header->weights_sha256 ? header->weights_sha256 : "", header->transform ? header->transform : "",
        header->precision ? header->precision : "", header->dim, header->tile_size, header->overlap,
        header->tile_mpp, header->min_tissue, header->tissue ? header->tissue : "", columns ? columns : "");
    g_byte_array_append(bytes, (const guint8 *)text, (guint)strlen(text));
    /* Models that say neither keep the hash they had before these were thought of. */
    const char *const late[] = {header->stain, header->filters};
    for (size_t i = 0; i < G_N_ELEMENTS(late); i++)
        if (late[i] && *late[i])
            g_byte_array_append(bytes, (const guint8 *)late[i], (guint)strlen(late[i]) + 1);
}

void lob_model_file_seal(LobModelFile *file) {
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    append_header(&file->features, bytes);
    lob_saved_append(&file->model, bytes);
    if (file->benefit)
        lob_benefit_model_append(file->benefit, bytes);
    if (file->registered)
        lob_registered_append(file->registered, bytes);
    g_autofree char *hash = lob_sha256_bytes(bytes->data, bytes->len);
    g_strlcpy(file->sha256, hash, sizeof file->sha256);
}

char *lob_model_seal_text(const void *data, size_t size) {
    g_autofree char *hash = lob_sha256_bytes((const char *)data + LOB_MODEL_SEAL, size - LOB_MODEL_SEAL);
    return g_strdup_printf("lobule model\nsha256 of what follows byte %d: %s\n", LOB_MODEL_SEAL, hash);
}

bool lob_model_group_name(char name[32], size_t net) {
    return g_snprintf(name, 32, "model-%02zu", net) < 32;
}

/* ---- pieces ---- */

bool lob_model_put_rows(hid_t group, const char *name, hid_t file_type, hid_t type, int rank, hsize_t n,
                        hsize_t width, const void *data, GError **err) {
    const hsize_t dims[2] = {n, width};
    g_auto(LobHid) space = H5Screate_simple(rank, dims, NULL);
    g_auto(LobHid) dcpl = H5Pcreate(H5P_DATASET_CREATE);
    if (space < 0 || dcpl < 0 || H5Pset_obj_track_times(dcpl, false) < 0)
        return lob_h5_fail(err, LOB_ERROR_INTERNAL, "cannot describe dataset %s", name);
    g_auto(LobHid) dataset = H5Dcreate2(group, name, file_type, space, H5P_DEFAULT, dcpl, H5P_DEFAULT);
    return LOB_H5(err, LOB_ERROR_IO, dataset, "cannot make dataset %s", name) &&
           lob_h5_write_rows(dataset, type, 0, width ? n : 0, data, name, err);
}

static bool put_doubles(hid_t group, const char *name, const double *v, size_t n, GError **err) {
    return lob_model_put_rows(group, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 1, n, 1, v, err);
}

bool lob_model_put_texts(hid_t group, const char *name, char *const *texts, size_t n, GError **err) {
    size_t longest = 1;
    for (size_t i = 0; i < n; i++)
        longest = MAX(longest, texts[i] ? strlen(texts[i]) : 0);
    g_autofree char *raw = g_malloc0(MAX(n * longest, 1));
    for (size_t i = 0; i < n; i++)
        if (texts[i])
            memcpy(raw + i * longest, texts[i], strlen(texts[i]));
    g_auto(LobHid) type = lob_h5_string_type(longest, err);
    return type >= 0 && lob_model_put_rows(group, name, type, type, 1, n, 1, raw, err);
}

static bool put_columns(hid_t group, const LobSavedNet *net, GError **err) {
    size_t n = net->n_columns;
    g_autofree char **names = g_new0(char *, n + 1), **levels = g_new0(char *, n + 1),
                    **references = g_new0(char *, n + 1);
    g_autofree uint8_t *kinds = g_new0(uint8_t, n + 1);
    g_autofree double *scale = g_new0(double, 3 * n + 1);
    for (size_t c = 0; c < n; c++) {
        const LobDesignColumn *column = &net->columns[c];
        kinds[c] = (uint8_t)column->kind;
        names[c] = column->covariate;
        levels[c] = column->level;
        references[c] = column->reference;
        scale[3 * c] = column->median;
        scale[3 * c + 1] = column->mean;
        scale[3 * c + 2] = column->sd;
    }
    return lob_model_put_rows(group, "column_kind", H5T_STD_U8LE, H5T_NATIVE_UINT8, 1, n, 1, kinds, err) &&
           lob_model_put_texts(group, "column_covariate", names, n, err) &&
           lob_model_put_texts(group, "column_level", levels, n, err) &&
           lob_model_put_texts(group, "column_reference", references, n, err) &&
           lob_model_put_rows(group, "column_median_mean_sd", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 2, n, 3,
                              scale, err);
}

static bool put_endpoint(hid_t group, const LobSavedNet *net, GError **err) {
    const LobEndpoint *e = &net->endpoint;
    return lob_h5_write_text(group, "endpoint", e->name, err) &&
           lob_h5_write_number(group, "endpoint_kind", H5T_STD_I64LE, e->kind, err) &&
           lob_h5_write_text(group, "time", e->time, err) &&
           lob_h5_write_text(group, "event", e->event, err) &&
           lob_h5_write_text(group, "competing", e->competing, err) &&
           lob_h5_write_text(group, "label", e->label, err) &&
           lob_h5_write_number(group, "landmark", H5T_IEEE_F64LE, e->landmark, err) &&
           put_doubles(group, "horizons", e->horizons, e->n_horizons, err) &&
           lob_model_put_texts(group, "classes", net->classes, net->classes ? g_strv_length(net->classes) : 0,
                               err);
}

static bool put_net(hid_t group, const LobSavedNet *net, GError **err) {
    const hid_t f32 = H5T_IEEE_F32LE, native = H5T_NATIVE_FLOAT;
    size_t seeds = (size_t)net->seeds;
    return put_endpoint(group, net, err) && lob_h5_write_text(group, "kind", net->kind, err) &&
           lob_h5_write_text(group, "options", net->options, err) &&
           lob_h5_write_number(group, "hidden", H5T_STD_I64LE, net->hidden, err) &&
           lob_h5_write_number(group, "attention", H5T_STD_I64LE, net->attention, err) &&
           lob_h5_write_number(group, "use_covariates", H5T_STD_I64LE, net->use_covariates, err) &&
           lob_h5_write_number(group, "centers", H5T_STD_I64LE, (double)net->n_centers, err) &&
           put_columns(group, net, err) && put_doubles(group, "cuts", net->cuts, net->n_cuts, err) &&
           put_doubles(group, "risk_cut", net->risk_cut, seeds, err) &&
           lob_model_put_rows(group, "epochs", H5T_STD_I64LE, H5T_NATIVE_INT64, 1, seeds, 1, net->epochs,
                              err) &&
           lob_model_put_rows(group, "tile_mean", f32, native, 1, net->dim, 1, net->mean, err) &&
           lob_model_put_rows(group, "tile_inverse_sd", f32, native, 1, net->dim, 1, net->inverse, err) &&
           lob_model_put_rows(group, "weights", f32, native, 2, seeds, net->n_params, net->params, err);
}

static bool put_features(hid_t root, const LobStoreHeader *header, GError **err) {
    g_auto(LobHid) group = H5Gcreate2(root, "features", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    return LOB_H5(err, LOB_ERROR_IO, group, "cannot make group features") &&
           lob_store_header_write(group, header, err) &&
           lob_h5_write_number(group, "dim", H5T_STD_I64LE, header->dim, err) &&
           (!header->columns ||
            lob_model_put_texts(group, "columns", header->columns, g_strv_length(header->columns), err));
}

static bool put_nets(hid_t root, const LobSavedModel *model, GError **err) {
    for (size_t i = 0; i < model->n_endpoints * model->n_kinds; i++) {
        char name[32];
        (void)lob_model_group_name(name, i);
        g_auto(LobHid) group = H5Gcreate2(root, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        if (!LOB_H5(err, LOB_ERROR_IO, group, "cannot make group %s", name) ||
            !put_net(group, &model->nets[i], err))
            return false;
    }
    return true;
}

static bool put_all(hid_t root, const LobModelFile *file, GError **err) {
    const LobSavedModel *model = &file->model;
    g_autofree char *seed = g_strdup_printf("%llu", (unsigned long long)model->seed);
    return lob_h5_write_number(root, "lobule_model", H5T_STD_I64LE, LOB_MODEL_VERSION, err) &&
           lob_h5_write_text(root, "lobule", model->program, err) &&
           lob_h5_write_text(root, "sha256", file->sha256, err) &&
           lob_h5_write_text(root, "study", model->study, err) &&
           lob_h5_write_text(root, "study_sha256", model->study_sha256, err) &&
           lob_h5_write_text(root, "seed", seed, err) &&
           lob_h5_write_number(root, "seeds", H5T_STD_I64LE, model->seeds, err) &&
           lob_h5_write_number(root, "endpoints", H5T_STD_I64LE, (double)model->n_endpoints, err) &&
           lob_h5_write_number(root, "kinds", H5T_STD_I64LE, (double)model->n_kinds, err) &&
           put_features(root, &file->features, err) && put_nets(root, model, err) &&
           (!file->benefit || lob_model_put_benefit(root, file->benefit, err)) &&
           (!file->registered || lob_model_put_registered(root, file->registered, err));
}

/* ---- files ---- */

static bool write_unsealed(const char *path, const LobModelFile *file, GError **err) {
    lob_h5_quiet();
    g_auto(LobHid) fcpl = H5Pcreate(H5P_FILE_CREATE);
    g_auto(LobHid) fapl = H5Pcreate(H5P_FILE_ACCESS);
    if (fcpl < 0 || fapl < 0 || H5Pset_userblock(fcpl, LOB_MODEL_SEAL) < 0 ||
        H5Pset_fclose_degree(fapl, H5F_CLOSE_STRONG) < 0)
        return lob_h5_fail(err, LOB_ERROR_INTERNAL, "%s: cannot set up the file", path);
    hid_t root = H5Fcreate(path, H5F_ACC_TRUNC, fcpl, fapl);
    if (!LOB_H5(err, LOB_ERROR_IO, root, "%s: cannot be created", path))
        return false;
    bool ok = put_all(root, file, err);
    herr_t closed = H5Fclose(root);
    return ok && LOB_H5(err, LOB_ERROR_IO, closed, "%s: cannot be written", path);
}

/* Compares with the model that is there. */
static bool is_the_same(const char *path, const LobModelFile *file, GError **err) {
    size_t size;
    LobModelFile there;
    g_autofree char *bytes = lob_file_read(path, MOST_BYTES, &size, err);
    if (!bytes || !lob_model_file_parse(path, bytes, size, &there, err))
        return false;
    bool same = strcmp(there.sha256, file->sha256) == 0;
    if (!same)
        lob_fail(err, LOB_ERROR_INPUT,
                 "%s: a locked model is never replaced, and this one (%.16s) is not what was trained now "
                 "(%.16s); use another output folder or move it away",
                 path, there.sha256, file->sha256);
    lob_model_file_clear(&there);
    return same;
}

bool lob_model_file_write(const char *path, const LobModelFile *file, GError **err) {
    if (g_file_test(path, G_FILE_TEST_EXISTS))
        return is_the_same(path, file, err);
    g_autofree char *draft = g_strconcat(path, ".draft", NULL);
    size_t size;
    bool ok = write_unsealed(draft, file, err);
    g_autofree char *bytes = ok ? lob_file_read(draft, MOST_BYTES, &size, err) : NULL;
    (void)unlink(draft);
    if (!bytes)
        return false;
    g_autofree char *seal = lob_model_seal_text(bytes, size);
    memset(bytes, 0, LOB_MODEL_SEAL);
    memcpy(bytes, seal, strlen(seal));
    return lob_file_replace(path, bytes, size, err);
}

void lob_model_file_clear(LobModelFile *file) {
    lob_saved_clear(&file->model);
    lob_store_header_clear(&file->features);
    if (file->benefit)
        lob_benefit_model_clear(file->benefit);
    g_free(file->benefit);
    if (file->registered)
        lob_registered_clear(file->registered);
    g_free(file->registered);
    *file = (LobModelFile){0};
}

/* ---- what made the features ---- */

static bool identity_of_store(const char *path, LobStoreHeader *to, GError **err) {
    g_autoptr(LobStore) store = lob_store_open(path, err);
    if (!store)
        return false;
    *to = *lob_store_header(store);
    to->encoder = g_strdup(to->encoder);
    to->weights_sha256 = g_strdup(to->weights_sha256);
    to->transform = g_strdup(to->transform);
    to->precision = g_strdup(to->precision);
    to->columns = g_strdupv(to->columns);
    to->tissue = g_strdup(to->tissue);
    to->stain = g_strdup(to->stain);
    to->filters = NULL;
    to->cpu = NULL;
    to->openslide = NULL;
    return true;
}

static bool identity_of_file(const char *path, const char *encoder, LobStoreHeader *to, GError **err) {
    g_autoptr(LobFeatureFile) file = lob_feature_file_open_as(path, encoder, err);
    if (!file)
        return false;
    *to = (LobStoreHeader){.encoder = g_strdup(file->facts.encoder ? file->facts.encoder : "unknown"),
                           .dim = file->dim,
                           .tile_size = file->facts.tile_size,
                           .overlap = file->facts.overlap,
                           .tile_mpp = file->facts.tile_mpp};
    return true;
}

/* The cohort's first slide that has a file. */
static bool identity_of_folder(const LobCohort *cohort, const char *folder, LobStoreHeader *to, bool *found,
                               GError **err) {
    g_autofree char *clam = g_build_filename(folder, "h5_files", NULL);
    const char *in = g_file_test(clam, G_FILE_TEST_IS_DIR) ? clam : folder;
    for (size_t s = 0; s < cohort->n_slides; s++) {
        g_autofree char *path = lob_feature_file_find(in, cohort->slides[s].slide_id);
        if (!path)
            continue;
        if (!identity_of_file(path, cohort->study ? cohort->study->encoder.name : NULL, to, err))
            return false;
        *found = to->dim > 0;
        if (*found)
            return true;
        lob_store_header_clear(to);
    }
    return true;
}

static bool find_identity(const LobCohort *cohort, const char *const *sources, LobStoreHeader *header,
                          GError **err) {
    *header = (LobStoreHeader){0};
    for (; sources && *sources; sources++) {
        g_autoptr(GError) cause = NULL;
        g_auto(GStrv) parts = lob_store_find(*sources, &cause);
        if (cause) {
            g_propagate_error(err, g_steal_pointer(&cause));
            return false;
        }
        if (parts && parts[0])
            return identity_of_store(parts[0], header, err);
        bool found = false;
        if (!identity_of_folder(cohort, *sources, header, &found, err))
            return false;
        if (found)
            return true;
    }
    return lob_fail(err, LOB_ERROR_INPUT, "features: none of the study's slides has any");
}

bool lob_features_identity(const LobCohort *cohort, const char *const *sources, LobStoreHeader *header,
                           GError **err) {
    if (!find_identity(cohort, sources, header, err))
        return false;
    header->filters = lob_filters_text(cohort->study);
    return true;
}
