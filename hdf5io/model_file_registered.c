/* What was registered before training, within the model file: group `registered`. */
#include "hdf5io/model_file_internal.h"

#include <string.h>

bool lob_model_put_registered(hid_t root, const LobRegistered *r, GError **err) {
    g_auto(LobHid) group = H5Gcreate2(root, "registered", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    if (!LOB_H5(err, LOB_ERROR_IO, group, "cannot make group registered"))
        return false;
    char *const text[] = {r->text};
    const uint8_t given[LOB_PARTS] = {r->has_thirds[0], r->has_thirds[1]};
    return lob_h5_write_text(group, "lock", r->lock, err) &&
           lob_h5_write_text(group, "biomarker", r->marker, err) &&
           lob_h5_write_number(group, "biomarker_mean", H5T_IEEE_F64LE, r->marker_mean, err) &&
           lob_h5_write_number(group, "biomarker_sd", H5T_IEEE_F64LE, r->marker_sd, err) &&
           lob_model_put_texts(group, "lock_file", text, 1, err) &&
           lob_model_put_rows(group, "thirds_given", H5T_STD_U8LE, H5T_NATIVE_UINT8, 1, LOB_PARTS, 1, given,
                              err) &&
           lob_model_put_rows(group, "thirds", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 2, LOB_PARTS, 2, r->third,
                              err);
}

/* Exactly rows x width values of the file's own class. */
static bool get_rows(hid_t group, const char *path, const char *name, H5T_class_t class, hid_t type, int rank,
                     hsize_t rows, hsize_t width, void *data, GError **err) {
    hsize_t dims[2] = {0, 1};
    g_auto(LobHid) dataset = lob_h5_open_dataset(group, name, path, rank, dims, err);
    if (dataset < 0)
        return false;
    g_auto(LobHid) stored = H5Dget_type(dataset);
    if (stored < 0 || H5Tget_class(stored) != class || dims[0] != rows || (rank > 1 && dims[1] != width))
        return lob_fail(err, LOB_ERROR_INPUT, "%s: registered/%s has not the type and shape it should", path,
                        name);
    return lob_h5_read_rows(dataset, type, 0, rows, data, name, err);
}

static bool get_text(hid_t group, const char *path, LobRegistered *r, GError **err) {
    hsize_t dims[2] = {0, 1};
    g_auto(LobHid) dataset = lob_h5_open_dataset(group, "lock_file", path, 1, dims, err);
    if (dataset < 0)
        return false;
    if (dims[0] != 1)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: registered/lock_file is not one text", path);
    g_auto(GStrv) texts = lob_h5_read_strings(dataset, 1, "lock_file", err);
    r->text = texts ? g_strdup(texts[0]) : NULL;
    return texts != NULL;
}

bool lob_model_read_registered(hid_t root, const char *path, LobRegistered **registered, GError **err) {
    g_autoptr(GError) cause = NULL;
    uint8_t given[LOB_PARTS];
    g_auto(LobHid) group = H5Gopen2(root, "registered", H5P_DEFAULT);
    if (group < 0)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: group registered is missing", path);
    LobRegistered *r = *registered = g_new0(LobRegistered, 1);
    if (!lob_h5_read_text(group, "lock", path, &r->lock, NULL, err) ||
        !lob_h5_read_text(group, "biomarker", path, &r->marker, NULL, err) ||
        !lob_h5_read_number(group, "biomarker_mean", path, &r->marker_mean, NULL, err) ||
        !lob_h5_read_number(group, "biomarker_sd", path, &r->marker_sd, NULL, err) ||
        !get_text(group, path, r, err) ||
        !get_rows(group, path, "thirds_given", H5T_INTEGER, H5T_NATIVE_UINT8, 1, LOB_PARTS, 1, given, err) ||
        !get_rows(group, path, "thirds", H5T_FLOAT, H5T_NATIVE_DOUBLE, 2, LOB_PARTS, 2, r->third, err))
        return false;
    for (int f = 0; f < LOB_PARTS; f++)
        r->has_thirds[f] = given[f] > 0;
    if (r->marker && *r->marker == '\0')
        g_clear_pointer(&r->marker, g_free);
    return lob_registered_check(r, &cause) || lob_fail(err, LOB_ERROR_INPUT, "%s: %s", path, cause->message);
}
