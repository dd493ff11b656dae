/* Writing one part: metadata first and frozen, then raw rows from many ranks, the clean-end mark last. */
#include "hdf5io/hdf5io_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define CONVERT_BYTES ((size_t)16 << 20) /* rows are converted and written in pieces of this size */

struct LobPart {
    char *path, *what; /* what: "path: /features" for messages */
    MPI_Comm comm;     /* own copy, or MPI_COMM_NULL */
    int rank;
    hid_t file, features, type;
    hid_t measured[2]; /* blur and over-exposure; LOB_NO_HID: the part has no quality */
    int fd;            /* of the same file, for fdatasync */
    uint64_t rows;
    int dim;
    bool float32;
    char *temporary; /* the name while it is being created */
    size_t n_slides;
    uint32_t slides_crc; /* of the table this part was made with (rank 0) */
    void *buffer;        /* CONVERT_BYTES or one row */
    size_t buffer_rows;
    double preparing; /* seconds */
};

static LobPart *part_new(const char *path, MPI_Comm comm, GError **err) {
    LobPart *part = g_new0(LobPart, 1);
    part->path = g_strdup(path);
    part->what = g_strdup_printf("%s: /features", path);
    part->comm = MPI_COMM_NULL;
    part->file = part->features = part->type = part->measured[0] = part->measured[1] = LOB_NO_HID;
    part->fd = -1;
    lob_h5_quiet();
    if (comm == MPI_COMM_NULL)
        return part;
    if (MPI_Comm_dup(comm, &part->comm) != MPI_SUCCESS ||
        MPI_Comm_rank(part->comm, &part->rank) != MPI_SUCCESS) {
        lob_fail(err, LOB_ERROR_INTERNAL, "%s: cannot copy the communicator", path);
        lob_part_close(part);
        return NULL;
    }
    return part;
}

/* Collective: whether all ranks are well; where only others are not, says so. Sleeps while it waits: rank 0
 * may be writing the coordinates of 10^8 tiles. */
static bool all_well(const LobPart *part, bool well, GError **err) {
    if (part->comm == MPI_COMM_NULL)
        return well;
    int mine = well, all = 0, arrived = 0;
    MPI_Request request = MPI_REQUEST_NULL;
    bool ok = MPI_Iallreduce(&mine, &all, 1, MPI_INT, MPI_MIN, part->comm, &request) == MPI_SUCCESS;
    for (gulong pause_us = 50; ok && !arrived; pause_us = MIN(2 * pause_us, 20000)) {
        ok = MPI_Test(&request, &arrived, MPI_STATUS_IGNORE) == MPI_SUCCESS;
        if (ok && !arrived)
            g_usleep(pause_us);
    }
    if (!ok)
        return well && lob_fail(err, LOB_ERROR_INTERNAL, "%s: the ranks cannot agree", part->path);
    return all || (well && lob_fail(err, LOB_ERROR_IO, "%s: another rank failed", part->path));
}

static hid_t frozen_dcpl(GError **err) {
    g_auto(LobHid) dcpl = H5Pcreate(H5P_DATASET_CREATE);
    if (dcpl < 0 || H5Pset_layout(dcpl, H5D_CONTIGUOUS) < 0 ||
        H5Pset_alloc_time(dcpl, H5D_ALLOC_TIME_EARLY) < 0 ||
        H5Pset_fill_time(dcpl, H5D_FILL_TIME_NEVER) < 0 || H5Pset_obj_track_times(dcpl, false) < 0) {
        lob_h5_fail(err, LOB_ERROR_INTERNAL, "cannot describe the datasets");
        return LOB_NO_HID;
    }
    return lob_hid_steal(&dcpl);
}

static hid_t make_dataset(hid_t file, hid_t dcpl, const char *name, hid_t type, uint64_t rows, int width,
                          const char *path, GError **err) {
    hsize_t dims[2] = {rows, (hsize_t)width};
    g_auto(LobHid) space = H5Screate_simple(width ? 2 : 1, dims, NULL);
    hid_t dataset =
        space < 0 ? LOB_NO_HID : H5Dcreate2(file, name, type, space, H5P_DEFAULT, dcpl, H5P_DEFAULT);
    if (dataset < 0)
        lob_h5_fail(err, LOB_ERROR_IO, "%s: cannot make dataset %s of %" PRIu64 " rows", path, name, rows);
    return dataset;
}

/* Rank 0 fills what all ranks have made. A failure is kept for later: the other ranks are already in the next
 * collective call, so this one has to follow them there. */
static void fill(const LobPart *part, hid_t dataset, hid_t type, uint64_t n, const void *values,
                 const char *name, GError **kept) {
    if (part->rank == 0 && !*kept)
        lob_h5_write_rows(dataset, type, 0, n, values, name, kept);
}

static bool make_columns(const LobPart *part, hid_t dcpl, char **columns, GError **kept, GError **err) {
    if (!columns)
        return true;
    size_t longest = 1;
    for (int d = 0; d < part->dim; d++)
        longest = MAX(longest, strlen(columns[d]));
    g_auto(LobHid) type = lob_h5_string_type(longest, err);
    if (type < 0)
        return false;
    g_auto(LobHid) dataset =
        make_dataset(part->file, dcpl, "columns", type, (uint64_t)part->dim, 0, part->path, err);
    g_autofree char *names = g_malloc0(longest * (size_t)part->dim);
    for (int d = 0; d < part->dim; d++)
        memcpy(names + (size_t)d * longest, columns[d], strlen(columns[d]));
    if (dataset < 0)
        return false;
    fill(part, dataset, type, (uint64_t)part->dim, names, "/columns", kept);
    return true;
}

static bool make_tiles(const LobPart *part, hid_t dcpl, const int32_t (*coords)[2], const uint8_t *tissue,
                       GError **kept, GError **err) {
    g_auto(LobHid) xy =
        make_dataset(part->file, dcpl, "coords", H5T_STD_I32LE, part->rows, 2, part->path, err);
    g_auto(LobHid) percent =
        xy < 0 ? LOB_NO_HID
               : make_dataset(part->file, dcpl, "tissue", H5T_STD_U8LE, part->rows, 0, part->path, err);
    g_auto(LobHid) clean = percent < 0
                               ? LOB_NO_HID
                               : make_dataset(part->file, dcpl, "clean", H5T_STD_U8LE, 1, 0, part->path, err);
    if (clean < 0)
        return false;
    const uint8_t no = 0;
    fill(part, xy, H5T_STD_I32LE, part->rows, coords, "/coords", kept);
    fill(part, percent, H5T_STD_U8LE, part->rows, tissue, "/tissue", kept);
    fill(part, clean, H5T_STD_U8LE, 1, &no, "/clean", kept);
    return true;
}

/* /quality: pen and folds, known now, and room for what is measured on the tiles. */
static bool make_quality(LobPart *part, hid_t dcpl, const LobPartTiles *tiles, GError **kept, GError **err) {
    g_auto(LobHid) gcpl = H5Pcreate(H5P_GROUP_CREATE);
    if (!LOB_H5(err, LOB_ERROR_INTERNAL, H5Pset_obj_track_times(gcpl, false), "cannot switch times off"))
        return false;
    g_auto(LobHid) group = H5Gcreate2(part->file, "quality", H5P_DEFAULT, gcpl, H5P_DEFAULT);
    if (!LOB_H5(err, LOB_ERROR_IO, group, "cannot make group quality"))
        return false;
    const uint8_t *const known[] = {tiles->pen, tiles->fold};
    for (int q = 0; q < LOB_QUALITIES; q++) {
        g_auto(LobHid) column =
            make_dataset(group, dcpl, lob_quality_names[q], H5T_STD_U8LE, part->rows, 0, part->path, err);
        if (column < 0)
            return false;
        if (q < LOB_Q_BLUR)
            fill(part, column, H5T_STD_U8LE, part->rows, known[q], lob_quality_names[q], kept);
        else
            part->measured[q - LOB_Q_BLUR] = lob_hid_steal(&column);
    }
    return true;
}

/* What must hold before anything is made; the same answer on every rank. */
static bool check_description(const char *path, const LobStoreHeader *header, const LobStoreSlide *slides,
                              size_t n_slides, uint64_t *rows, GError **err) {
    if (header->dim <= 0)
        return lob_fail(err, LOB_ERROR_INTERNAL, "%s: %d features a tile", path, header->dim);
    if (header->columns && g_strv_length(header->columns) != (guint)header->dim)
        return lob_fail(err, LOB_ERROR_INTERNAL, "%s: %u column names for %d features", path,
                        g_strv_length(header->columns), header->dim);
    *rows = 0;
    for (size_t i = 0; i < n_slides; i++) {
        if (slides[i].first != *rows)
            return lob_fail(err, LOB_ERROR_INTERNAL, "%s: slide %s starts at row %" PRIu64 ", not %" PRIu64,
                            path, slides[i].slide_id, slides[i].first, *rows);
        *rows += slides[i].count;
    }
    return true;
}

/* Local check that a name is free; every rank passes on what rank 0 saw. */
static bool name_is_free(const LobPart *part, GError **err) {
    bool free_name = part->rank != 0 || !g_file_test(part->path, G_FILE_TEST_EXISTS) ||
                     lob_fail(err, LOB_ERROR_INPUT, "%s exists already", part->path);
    return all_well(part, free_name, err);
}

static void prepare_rows(LobPart *part, const LobStoreHeader *header, uint64_t rows) {
    part->rows = rows;
    part->dim = header->dim;
    part->float32 = header->float32;
    size_t row_bytes = (size_t)part->dim * (part->float32 ? 4 : 2);
    part->buffer_rows = MAX(CONVERT_BYTES / row_bytes, 1);
    part->buffer = g_malloc(part->buffer_rows * row_bytes);
    part->type = part->float32 ? H5Tcopy(H5T_IEEE_F32LE) : lob_h5_half_type(NULL);
}

/* The table as it goes into the file: with the sums of what rank 0 knows of the tiles. The texts stay the
 * caller's. */
static LobStoreSlide *with_sums(const LobPart *part, const LobStoreSlide *slides, size_t n,
                                const LobPartTiles *tiles) {
    LobStoreSlide *table = g_new0(LobStoreSlide, n + 1);
    if (n > 0)
        memcpy(table, slides, n * sizeof *table);
    for (size_t i = 0; part->rank == 0 && i < n; i++)
        table[i].tiles_crc32c =
            lob_tiles_crc(tiles->coords + table[i].first, tiles->tissue + table[i].first, table[i].count);
    return table;
}

static bool make_contents(LobPart *part, const LobStoreHeader *header, const LobStoreSlide *slides,
                          size_t n_slides, const LobPartTiles *tiles, GError **err) {
    g_autoptr(GError) kept = NULL;
    g_autofree LobStoreSlide *table = with_sums(part, slides, n_slides, tiles);
    g_auto(LobHid) dcpl = frozen_dcpl(err);
    if (dcpl < 0 || !lob_store_header_write(part->file, header, err) ||
        !make_columns(part, dcpl, header->columns, &kept, err) ||
        !lob_store_slides_create(part->file, dcpl, table, n_slides, part->rank == 0, &kept, err) ||
        !make_tiles(part, dcpl, tiles->coords, tiles->tissue, &kept, err) ||
        (header->quality && !make_quality(part, dcpl, tiles, &kept, err)))
        return false;
    part->features =
        make_dataset(part->file, dcpl, "features", part->type, part->rows, part->dim, part->path, err);
    bool failed = kept != NULL;
    if (part->features >= 0 && kept)
        g_propagate_error(err, g_steal_pointer(&kept));
    return part->features >= 0 && !failed;
}

static bool open_descriptor(LobPart *part, GError **err) {
    part->fd = open(part->path, O_RDWR | O_CLOEXEC);
    return part->fd >= 0 || lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot open", part->path);
}

static bool sync_part(const LobPart *part, GError **err) {
    return fdatasync(part->fd) == 0 ||
           lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot make rows durable", part->path);
}

/* Rank 0: the whole file gets its name only now, so a part that can be seen has all its metadata. */
static bool publish(const char *temporary, const char *path, GError **err) {
    if (!lob_sync_file(temporary) || rename(temporary, path) != 0)
        return lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot publish the new part", path);
    return lob_sync_folder(path, err);
}

static bool create_file(LobPart *part, GError **err) {
    g_auto(LobHid) fapl = lob_h5_access(part->comm, err);
    g_auto(LobHid) fcpl = fapl < 0 ? LOB_NO_HID : H5Pcreate(H5P_FILE_CREATE);
    if (fcpl < 0 || H5Pset_obj_track_times(fcpl, false) < 0)
        return fapl >= 0 && lob_h5_fail(err, LOB_ERROR_INTERNAL, "cannot describe the file");
    part->file = H5Fcreate(part->temporary, H5F_ACC_TRUNC, fcpl, fapl);
    return LOB_H5(err, LOB_ERROR_IO, part->file, "%s: cannot create", part->temporary);
}

static bool create_all(LobPart *part, const LobStoreHeader *header, const LobStoreSlide *slides,
                       size_t n_slides, const LobPartTiles *tiles, GError **err) {
    uint64_t rows = 0;
    bool well = check_description(part->path, header, slides, n_slides, &rows, err);
    if (!all_well(part, well, err) || !name_is_free(part, err))
        return false;
    prepare_rows(part, header, rows);
    part->temporary = g_strconcat(part->path, ".new", NULL);
    part->n_slides = n_slides;
    part->slides_crc = lob_store_slides_crc(slides, n_slides);
    well = create_file(part, err);
    if (!all_well(part, well, err))
        return false;
    well = make_contents(part, header, slides, n_slides, tiles, err);
    if (!all_well(part, well, err) ||
        !LOB_H5(err, LOB_ERROR_IO, H5Fflush(part->file, H5F_SCOPE_GLOBAL), "%s: cannot flush", part->path))
        return false;
    well = part->rank != 0 || publish(part->temporary, part->path, err);
    if (!all_well(part, well, err))
        return false;
    well = open_descriptor(part, err);
    return all_well(part, well, err);
}

LobPart *lob_part_create_tiles(const char *path, MPI_Comm comm, const LobStoreHeader *header,
                               const LobStoreSlide *slides, size_t n_slides, const LobPartTiles *tiles,
                               GError **err) {
    LobPart *part = part_new(path, comm, err);
    if (!part || create_all(part, header, slides, n_slides, tiles, err))
        return part;
    if (part->temporary && part->rank == 0)
        unlink(part->temporary);
    lob_part_close(part);
    return NULL;
}

LobPart *lob_part_create(const char *path, MPI_Comm comm, const LobStoreHeader *header,
                         const LobStoreSlide *slides, size_t n_slides, const int32_t (*coords)[2],
                         const uint8_t *tissue, GError **err) {
    LobStoreHeader plain = *header;
    plain.quality = false;
    return lob_part_create_tiles(path, comm, &plain, slides, n_slides,
                                 &(LobPartTiles){.coords = coords, .tissue = tissue}, err);
}

/* Rank 0 examines the file as any reader would; the others learn what it found. */
static bool examine(LobPart *part, LobStoreHeader *found, uint64_t *rows, GError **err) {
    bool well = true;
    uint64_t facts[5] = {0};
    if (part->rank == 0) {
        g_autoptr(LobStore) store = lob_store_open(part->path, err);
        well = store != NULL;
        if (store && lob_store_finished(store))
            well = lob_fail(err, LOB_ERROR_INPUT,
                            "%s is finished, and finished parts are never written again", part->path);
        if (well) {
            size_t n_slides = 0;
            const LobStoreSlide *slides = lob_store_slides(store, &n_slides);
            part->slides_crc = lob_store_slides_crc(slides, n_slides);
            facts[0] = lob_store_rows(store);
            facts[1] = (uint64_t)lob_store_header(store)->dim;
            facts[2] = lob_store_header(store)->float32;
            facts[3] = n_slides;
            facts[4] = lob_store_header(store)->quality;
        }
    }
    if (!all_well(part, well, err))
        return false;
    if (part->comm != MPI_COMM_NULL && MPI_Bcast(facts, 5, MPI_UINT64_T, 0, part->comm) != MPI_SUCCESS)
        return lob_fail(err, LOB_ERROR_INTERNAL, "%s: broadcast failed", part->path);
    *rows = facts[0];
    *found = (LobStoreHeader){.dim = (int)facts[1], .float32 = facts[2] != 0, .quality = facts[4] != 0};
    part->n_slides = facts[3];
    return true;
}

static bool open_datasets(LobPart *part, bool quality, GError **err) {
    part->features = H5Dopen2(part->file, "features", H5P_DEFAULT);
    bool well = LOB_H5(err, LOB_ERROR_IO, part->features, "%s: cannot open", part->what);
    for (int q = LOB_Q_BLUR; well && quality && q < LOB_QUALITIES; q++) {
        g_autofree char *name = g_strdup_printf("quality/%s", lob_quality_names[q]);
        part->measured[q - LOB_Q_BLUR] = H5Dopen2(part->file, name, H5P_DEFAULT);
        well =
            LOB_H5(err, LOB_ERROR_IO, part->measured[q - LOB_Q_BLUR], "%s: cannot open %s", part->path, name);
    }
    return well;
}

LobPart *lob_part_open(const char *path, MPI_Comm comm, GError **err) {
    LobPart *part = part_new(path, comm, err);
    if (!part)
        return NULL;
    LobStoreHeader found = {0};
    uint64_t rows = 0;
    bool well = examine(part, &found, &rows, err);
    if (!well)
        goto failed;
    prepare_rows(part, &found, rows);
    {
        g_auto(LobHid) fapl = lob_h5_access(part->comm, err);
        part->file = fapl < 0 ? LOB_NO_HID : H5Fopen(path, H5F_ACC_RDWR, fapl);
        well = fapl >= 0 && LOB_H5(err, LOB_ERROR_IO, part->file, "%s: cannot open for writing", path);
    }
    if (!all_well(part, well, err))
        goto failed;
    well = open_datasets(part, found.quality, err) && open_descriptor(part, err);
    if (all_well(part, well, err))
        return part;
failed:
    lob_part_close(part);
    return NULL;
}

/* The MPI-IO driver does not say why a write failed; the commonest reason can be seen. */
static bool explain_write(const LobPart *part, size_t bytes, GError **err) {
    struct statvfs space;
    if (fstatvfs(part->fd, &space) == 0 && space.f_bavail * (uint64_t)space.f_frsize < bytes)
        g_prefix_error(err, "the file system is full: ");
    return false;
}

bool lob_part_write_rows(LobPart *part, uint64_t first, size_t n, const float *rows, uint32_t *crc,
                         GError **err) {
    uint32_t sum = 0;
    size_t row_bytes = (size_t)part->dim * (part->float32 ? 4 : 2);
    for (size_t done = 0; done < n;) {
        size_t now = MIN(part->buffer_rows, n - done), values = now * (size_t)part->dim;
        const float *from = rows + done * (size_t)part->dim;
        const double start = lob_clock();
        if (part->float32)
            memcpy(part->buffer, from, values * sizeof *from);
        else
            lob_halves_from_floats(part->buffer, from, values);
        sum = lob_crc32c(sum, part->buffer, now * row_bytes);
        part->preparing += lob_clock() - start;
        if (!lob_h5_write_rows(part->features, part->type, first + done, now, part->buffer, part->what, err))
            return explain_write(part, now * row_bytes, err);
        done += now;
    }
    if (crc)
        *crc = sum;
    return sync_part(part, err);
}

double lob_part_preparing_seconds(const LobPart *part) {
    return part->preparing;
}

bool lob_part_has_quality(const LobPart *part) {
    return part->measured[0] >= 0;
}

bool lob_part_write_quality(LobPart *part, uint64_t first, size_t n, const uint8_t (*quality)[2],
                            GError **err) {
    if (!lob_part_has_quality(part))
        return lob_fail(err, LOB_ERROR_INTERNAL, "%s has no columns of tile quality", part->path);
    g_autofree uint8_t *column = g_malloc(MAX(n, 1));
    for (int q = 0; q < 2; q++) {
        for (size_t i = 0; i < n; i++)
            column[i] = quality[i][q];
        if (!lob_h5_write_rows(part->measured[q], H5T_STD_U8LE, first, n, column, part->path, err))
            return explain_write(part, n, err);
    }
    return true;
}

static bool check_end(const LobPart *part, const LobStoreSlide *slides, size_t n_slides, GError **err) {
    if (n_slides != part->n_slides || lob_store_slides_crc(slides, n_slides) != part->slides_crc)
        return lob_fail(err, LOB_ERROR_INTERNAL, "%s: the slide table is not the one it was made with",
                        part->path);
    for (size_t i = 0; i < n_slides; i++)
        if (slides[i].state == LOB_STATE_PENDING || slides[i].state > LOB_STATE_QUARANTINED)
            return lob_fail(err, LOB_ERROR_INTERNAL, "%s: slide %s is still %s", part->path,
                            slides[i].slide_id, lob_slide_state_name(slides[i].state));
    return true;
}

/* Collective: opens a dataset on all ranks, writes it from rank 0. */
static bool rewrite(const LobPart *part, const char *name, hid_t type, size_t n, const void *values,
                    GError **err) {
    g_auto(LobHid) dataset = H5Dopen2(part->file, name, H5P_DEFAULT);
    bool well = LOB_H5(err, LOB_ERROR_IO, dataset, "%s: cannot open %s", part->path, name) &&
                (part->rank != 0 || lob_h5_write_rows(dataset, type, 0, n, values, name, err));
    return all_well(part, well, err);
}

static bool flush_and_sync(const LobPart *part, GError **err) {
    bool well =
        LOB_H5(err, LOB_ERROR_IO, H5Fflush(part->file, H5F_SCOPE_GLOBAL), "%s: cannot flush", part->path) &&
        sync_part(part, err);
    return all_well(part, well, err);
}

static bool finish(LobPart *part, const LobStoreSlide *slides, size_t n_slides, GError **err) {
    bool well = part->rank != 0 || check_end(part, slides, n_slides, err);
    if (!all_well(part, well, err))
        return false;
    g_autofree uint8_t *state = g_new0(uint8_t, part->n_slides + 1);
    g_autofree uint32_t *crc = g_new0(uint32_t, part->n_slides + 1);
    g_autofree uint32_t *unreadable = g_new0(uint32_t, part->n_slides + 1);
    g_autofree uint32_t *quality = g_new0(uint32_t, part->n_slides + 1);
    for (size_t i = 0; part->rank == 0 && i < n_slides; i++) {
        state[i] = slides[i].state;
        crc[i] = slides[i].crc32c;
        unreadable[i] = slides[i].unreadable;
        quality[i] = slides[i].quality_crc32c;
    }
    const uint8_t yes = 1;
    /* The mark goes in only after everything it vouches for is durable. */
    return rewrite(part, "slides/crc32c", H5T_STD_U32LE, part->n_slides, crc, err) &&
           rewrite(part, "slides/unreadable", H5T_STD_U32LE, part->n_slides, unreadable, err) &&
           (!lob_part_has_quality(part) ||
            rewrite(part, "slides/quality_crc32c", H5T_STD_U32LE, part->n_slides, quality, err)) &&
           rewrite(part, "slides/state", H5T_STD_U8LE, part->n_slides, state, err) &&
           flush_and_sync(part, err) && rewrite(part, "clean", H5T_STD_U8LE, 1, &yes, err) &&
           flush_and_sync(part, err);
}

bool lob_part_finish(LobPart *part, const LobStoreSlide *slides, size_t n_slides, GError **err) {
    bool ok = finish(part, slides, n_slides, err);
    lob_part_close(part);
    return ok;
}

void lob_part_close(LobPart *part) {
    if (!part)
        return;
    lob_hid_close(part->features);
    lob_hid_close(part->measured[0]);
    lob_hid_close(part->measured[1]);
    lob_hid_close(part->type);
    lob_hid_close(part->file);
    if (part->fd >= 0)
        close(part->fd);
    if (part->comm != MPI_COMM_NULL)
        MPI_Comm_free(&part->comm);
    g_free(part->buffer);
    g_free(part->temporary);
    g_free(part->what);
    g_free(part->path);
    g_free(part);
}
