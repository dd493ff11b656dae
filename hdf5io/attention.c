/* Every tile's attention in the order of the store's rows, and which slide they belong to. */
#include "hdf5io/hdf5io_internal.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ATTENTION_VERSION 1

struct LobAttentionFile {
    hid_t file, values;
    char *path, *temporary;
};

static hid_t make_dataset(const LobAttentionFile *f, const char *name, hid_t type, uint64_t n, GError **err) {
    const hsize_t dims[1] = {n};
    const float unused = NAN;
    g_auto(LobHid) dcpl = H5Pcreate(H5P_DATASET_CREATE);
    g_auto(LobHid) space = H5Screate_simple(1, dims, NULL);
    if (dcpl < 0 || space < 0 || H5Pset_obj_track_times(dcpl, false) < 0 ||
        (H5Tget_class(type) == H5T_FLOAT && H5Pset_fill_value(dcpl, H5T_NATIVE_FLOAT, &unused) < 0)) {
        lob_h5_fail(err, LOB_ERROR_INTERNAL, "cannot describe dataset %s", name);
        return LOB_NO_HID;
    }
    const hid_t dataset = H5Dcreate2(f->file, name, type, space, H5P_DEFAULT, dcpl, H5P_DEFAULT);
    (void)LOB_H5(err, LOB_ERROR_IO, dataset, "%s: cannot make dataset %s", f->temporary, name);
    return dataset;
}

static bool write_column(const LobAttentionFile *f, const char *name, hid_t type, const void *values,
                         size_t n, GError **err) {
    g_auto(LobHid) dataset = make_dataset(f, name, type, n, err);
    return dataset >= 0 && lob_h5_write_rows(dataset, type, 0, n, values, name, err);
}

static bool write_texts(const LobAttentionFile *f, const char *name, const LobAttentionSlide *slides,
                        size_t n, size_t offset, GError **err) {
    g_autofree const char **texts = g_new(const char *, n + 1);
    size_t longest = 1;
    for (size_t i = 0; i < n; i++) {
        memcpy(&texts[i], (const char *)&slides[i] + offset, sizeof texts[i]);
        longest = MAX(longest, strlen(texts[i]));
    }
    g_autofree char *values = g_malloc0(n * longest + 1);
    for (size_t i = 0; i < n; i++)
        memcpy(values + i * longest, texts[i], strlen(texts[i]));
    g_auto(LobHid) type = lob_h5_string_type(longest, err);
    return type >= 0 && write_column(f, name, type, values, n, err);
}

static bool write_counts(const LobAttentionFile *f, const char *name, const LobAttentionSlide *slides,
                         size_t n, size_t offset, GError **err) {
    g_autofree uint64_t *values = g_new(uint64_t, n + 1);
    for (size_t i = 0; i < n; i++)
        memcpy(&values[i], (const char *)&slides[i] + offset, sizeof values[i]);
    return write_column(f, name, H5T_STD_U64LE, values, n, err);
}

static bool write_slides(const LobAttentionFile *f, const LobAttentionSlide *slides, size_t n, GError **err) {
    g_auto(LobHid) gcpl = H5Pcreate(H5P_GROUP_CREATE);
    if (!LOB_H5(err, LOB_ERROR_INTERNAL, H5Pset_obj_track_times(gcpl, false), "cannot switch times off"))
        return false;
    g_auto(LobHid) group = H5Gcreate2(f->file, "slides", H5P_DEFAULT, gcpl, H5P_DEFAULT);
#define COLUMN(kind, name) write_##kind(f, "slides/" #name, slides, n, offsetof(LobAttentionSlide, name), err)
    return LOB_H5(err, LOB_ERROR_IO, group, "%s: cannot make group slides", f->temporary) &&
           COLUMN(texts, slide_id) && COLUMN(texts, patient_id) && COLUMN(texts, fold) &&
           COLUMN(texts, part) && COLUMN(counts, first) && COLUMN(counts, count) && COLUMN(counts, row);
#undef COLUMN
}

static bool write_facts(const LobAttentionFile *f, const LobAttentionFacts *facts, GError **err) {
    return lob_h5_write_number(f->file, "lobule_attention", H5T_STD_I32LE, ATTENTION_VERSION, err) &&
           lob_h5_write_text(f->file, "study", facts->study, err) &&
           lob_h5_write_text(f->file, "endpoint", facts->endpoint, err) &&
           lob_h5_write_text(f->file, "model", facts->model, err) &&
           lob_h5_write_text(f->file, "lock", facts->lock, err) &&
           lob_h5_write_number(f->file, "seeds", H5T_STD_I32LE, facts->seeds, err);
}

LobAttentionFile *lob_attention_create(const char *path, const LobAttentionFacts *facts,
                                       const LobAttentionSlide *slides, size_t n, GError **err) {
    g_autoptr(LobAttentionFile) f = g_new0(LobAttentionFile, 1);
    f->file = f->values = LOB_NO_HID;
    f->path = g_strdup(path);
    f->temporary = g_strdup_printf("%s.%d.tmp", path, (int)getpid());
    lob_h5_quiet();
    g_auto(LobHid) fapl = lob_h5_access(MPI_COMM_NULL, err);
    if (fapl < 0)
        return NULL;
    f->file = H5Fcreate(f->temporary, H5F_ACC_TRUNC, H5P_DEFAULT, fapl);
    if (!LOB_H5(err, LOB_ERROR_IO, f->file, "%s: cannot create", f->temporary) ||
        !write_facts(f, facts, err) || !write_slides(f, slides, n, err))
        return NULL;
    const uint64_t rows = n ? slides[n - 1].first + slides[n - 1].count : 0;
    f->values = make_dataset(f, "attention", H5T_IEEE_F32LE, rows, err);
    return f->values < 0 ? NULL : g_steal_pointer(&f);
}

bool lob_attention_write(LobAttentionFile *f, uint64_t first, uint64_t n, const float *values, GError **err) {
    return lob_h5_write_rows(f->values, H5T_NATIVE_FLOAT, first, n, values, f->temporary, err);
}

bool lob_attention_finish(LobAttentionFile *file, GError **err) {
    g_autoptr(LobAttentionFile) f = file;
    lob_hid_release(&f->values);
    const hid_t handle = lob_hid_steal(&f->file);
    if (!LOB_H5(err, LOB_ERROR_IO, H5Fclose(handle), "%s: cannot close", f->temporary))
        return false;
    if (!lob_sync_file(f->temporary) || rename(f->temporary, f->path) != 0)
        return lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot write", f->path);
    return lob_sync_folder(f->path, err);
}

void lob_attention_close(LobAttentionFile *f) {
    if (!f)
        return;
    lob_hid_release(&f->values);
    lob_hid_release(&f->file);
    unlink(f->temporary); /* already renamed where it was finished */
    g_free(f->path);
    g_free(f->temporary);
    g_free(f);
}
