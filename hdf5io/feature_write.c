/* Writing per-slide files as TRIDENT, CLAM and STAMP write them: same names, types and attributes (texts of
 * variable length, as h5py makes them). Contiguous instead of one-row chunks: h5py does not care and reads it
 * faster. No path goes in: where a tool keeps its own folder (`savetodir`) the text is empty. */
#include "hdf5io/feature_file.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define STAMP_VERSION "2.4.0" /* a version newer than the reader's is an error there */

static bool write_text(hid_t object, const char *name, const char *text, GError **err) {
    const char *value = text ? text : "";
    g_auto(LobHid) type = H5Tcopy(H5T_C_S1);
    g_auto(LobHid) space = H5Screate(H5S_SCALAR);
    if (type < 0 || space < 0 || H5Tset_size(type, H5T_VARIABLE) < 0 || H5Tset_cset(type, H5T_CSET_UTF8) < 0)
        return lob_h5_fail(err, LOB_ERROR_INTERNAL, "cannot make a text type");
    g_auto(LobHid) attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    return LOB_H5(err, LOB_ERROR_IO, attribute, "cannot make attribute %s", name) &&
           LOB_H5(err, LOB_ERROR_IO, H5Awrite(attribute, type, &value), "cannot write attribute %s", name);
}

static bool write_integer(hid_t object, const char *name, double value, GError **err) {
    return lob_h5_write_number(object, name, H5T_STD_I64LE, round(value), err);
}

static hid_t write_dataset(hid_t file, const char *name, hid_t file_type, hid_t memory_type, size_t n,
                           size_t width, const void *data, GError **err) {
    hsize_t dims[2] = {n, width};
    g_auto(LobHid) dcpl = H5Pcreate(H5P_DATASET_CREATE);
    g_auto(LobHid) space = H5Screate_simple(2, dims, NULL);
    if (dcpl < 0 || space < 0 || H5Pset_obj_track_times(dcpl, false) < 0) {
        lob_h5_fail(err, LOB_ERROR_INTERNAL, "cannot describe dataset %s", name);
        return LOB_NO_HID;
    }
    g_auto(LobHid) dataset = H5Dcreate2(file, name, file_type, space, H5P_DEFAULT, dcpl, H5P_DEFAULT);
    if (!LOB_H5(err, LOB_ERROR_IO, dataset, "cannot make dataset %s", name) ||
        !lob_h5_write_rows(dataset, memory_type, 0, n, data, name, err))
        return LOB_NO_HID;
    return lob_hid_steal(&dataset);
}

/* TRIDENT's buckets: what it believes the objective to be from the microns per pixel. */
static int trident_magnification(double mpp) {
    static const struct {
        double below;
        int magnification;
    } buckets[] = {{0.16, 80}, {0.2, 60}, {0.3, 40}, {0.6, 20}, {1.2, 10}, {2.4, 5}};
    for (size_t i = 0; i < G_N_ELEMENTS(buckets); i++)
        if (mpp < buckets[i].below)
            return buckets[i].magnification;
    return 2;
}

static bool write_trident(hid_t file, const LobFeatureSlide *slide, GError **err) {
    double magnification = 10 / slide->tile_mpp;
    bool whole = fabs(magnification - round(magnification)) < 1e-6;
    g_auto(LobHid) features = write_dataset(file, "features", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, slide->n,
                                            (size_t)slide->dim, slide->features, err);
    if (features < 0 || !write_text(features, "name", slide->slide_id, err) ||
        !write_text(features, "savetodir", "", err) || !write_text(features, "encoder", slide->encoder, err))
        return false;
    g_auto(LobHid) coords =
        write_dataset(file, "coords", H5T_STD_I64LE, H5T_NATIVE_INT32, slide->n, 2, slide->coords, err);
    return coords >= 0 && write_integer(coords, "patch_size", slide->tile_size, err) &&
           write_integer(coords, "patch_size_level0", slide->tile_size * slide->tile_mpp / slide->mpp, err) &&
           write_integer(coords, "level0_magnification", trident_magnification(slide->mpp), err) &&
           lob_h5_write_number(coords, "target_magnification", whole ? H5T_STD_I64LE : H5T_IEEE_F64LE,
                               whole ? round(magnification) : magnification, err) &&
           write_integer(coords, "overlap", slide->overlap, err) &&
           write_text(coords, "name", slide->slide_id, err) && write_text(coords, "savetodir", "", err) &&
           write_integer(coords, "level0_width", (double)slide->width, err) &&
           write_integer(coords, "level0_height", (double)slide->height, err);
}

static bool write_clam(hid_t file, const LobFeatureSlide *slide, GError **err) {
    g_auto(LobHid) features = write_dataset(file, "features", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, slide->n,
                                            (size_t)slide->dim, slide->features, err);
    g_auto(LobHid) coords = features < 0 ? LOB_NO_HID
                                         : write_dataset(file, "coords", H5T_STD_I32LE, H5T_NATIVE_INT32,
                                                         slide->n, 2, slide->coords, err);
    return coords >= 0;
}

static bool write_stamp(hid_t file, const LobFeatureSlide *slide, GError **err) {
    size_t values = slide->n * (size_t)slide->dim;
    g_autofree uint16_t *halves = g_new(uint16_t, values + 1);
    g_autofree float *um = g_new(float, 2 * slide->n + 1);
    lob_halves_from_floats(halves, slide->features, values);
    for (size_t i = 0; i < values; i++)
        if ((halves[i] & 0x7fff) == 0x7c00 && isfinite(slide->features[i]))
            return lob_fail(err, LOB_ERROR_INPUT,
                            "slide %s: %g is beyond the range of float16, which STAMP's files have",
                            slide->slide_id, slide->features[i]);
    for (size_t i = 0; i < 2 * slide->n; i++)
        um[i] = (float)(slide->coords[i / 2][i % 2] * slide->mpp);
    g_auto(LobHid) half = lob_h5_half_type(err);
    g_auto(LobHid) coords =
        half < 0 ? LOB_NO_HID
                 : write_dataset(file, "coords", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, slide->n, 2, um, err);
    g_auto(LobHid) feats =
        coords < 0 ? LOB_NO_HID
                   : write_dataset(file, "feats", half, half, slide->n, (size_t)slide->dim, halves, err);
    return feats >= 0 && write_text(file, "stamp_version", STAMP_VERSION, err) &&
           write_text(file, "extractor", slide->encoder, err) && write_text(file, "unit", "um", err) &&
           lob_h5_write_number(file, "tile_size_um", H5T_IEEE_F64LE, slide->tile_size * slide->tile_mpp,
                               err) &&
           write_integer(file, "tile_size_px", slide->tile_size, err) &&
           write_text(file, "code_hash", "lobule-" LOB_VERSION, err) &&
           write_text(file, "feat_type", "tile", err);
}

static bool write_contents(const char *path, LobFeatureFormat format, const LobFeatureSlide *slide,
                           GError **err) {
    g_auto(LobHid) fapl = lob_h5_access(MPI_COMM_NULL, err);
    if (fapl < 0)
        return false;
    g_auto(LobHid) file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, fapl);
    if (!LOB_H5(err, LOB_ERROR_IO, file, "%s: cannot create", path))
        return false;
    bool ok = format == LOB_FORMAT_TRIDENT ? write_trident(file, slide, err)
              : format == LOB_FORMAT_CLAM  ? write_clam(file, slide, err)
                                           : write_stamp(file, slide, err);
    hid_t handle = lob_hid_steal(&file);
    return LOB_H5(ok ? err : NULL, LOB_ERROR_IO, H5Fclose(handle), "%s: cannot close", path) && ok;
}

static bool sync_and_rename(const char *temporary, const char *path, GError **err) {
    return (lob_sync_file(temporary) && rename(temporary, path) == 0) ||
           lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot write", path);
}

bool lob_feature_slide_write(const char *path, LobFeatureFormat format, const LobFeatureSlide *slide,
                             GError **err) {
    g_autofree char *temporary = g_strdup_printf("%s.%d.tmp", path, (int)getpid());
    lob_h5_quiet();
    if (!(slide->mpp > 0 && slide->tile_mpp > 0))
        return lob_fail(err, LOB_ERROR_INPUT, "slide %s: mpp is not known, which %s's files need",
                        slide->slide_id, lob_feature_format_name(format));
    if (write_contents(temporary, format, slide, err) && sync_and_rename(temporary, path, err))
        return true;
    unlink(temporary);
    return false;
}

bool lob_feature_slide_write_torch(const char *path, const LobFeatureSlide *slide, GError **err) {
    g_autofree char *temporary = g_strdup_printf("%s.%d.tmp", path, (int)getpid());
    if (lob_torch_file_write(temporary, slide->features, slide->n, (size_t)slide->dim, err) &&
        sync_and_rename(temporary, path, err))
        return true;
    unlink(temporary);
    return false;
}

bool lob_feature_file_write(const char *path, const float *features, size_t n, int dim,
                            const int32_t (*coords)[2], const char *encoder, int patch_size, GError **err) {
    g_autofree char *name = g_path_get_basename(path);
    if (g_str_has_suffix(name, ".h5"))
        name[strlen(name) - 3] = '\0';
    LobFeatureSlide slide = {.slide_id = name,
                             .encoder = encoder,
                             .tile_size = patch_size,
                             .dim = dim,
                             .tile_mpp = 0.5,
                             .mpp = 0.5,
                             .n = n,
                             .features = features,
                             .coords = coords};
    return lob_feature_slide_write(path, LOB_FORMAT_TRIDENT, &slide, err);
}
