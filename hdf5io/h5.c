/* The few HDF5 calls everything else is made of, each checked. */
#include "hdf5io/hdf5io_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define LONGEST_TEXT ((size_t)1 << 20)

void lob_hid_close(hid_t id) {
    if (id < 0)
        return;
    switch (H5Iget_type(id)) {
    case H5I_FILE:
        H5Fclose(id);
        break;
    case H5I_GROUP:
        H5Gclose(id);
        break;
    case H5I_DATATYPE:
        H5Tclose(id);
        break;
    case H5I_DATASPACE:
        H5Sclose(id);
        break;
    case H5I_DATASET:
        H5Dclose(id);
        break;
    case H5I_ATTR:
        H5Aclose(id);
        break;
    case H5I_GENPROP_LST:
        H5Pclose(id);
        break;
    default:
        break;
    }
}

static herr_t innermost(unsigned depth, const H5E_error2_t *entry, void *user) {
    char **message = user;
    if (depth == 0 && entry->desc)
        *message = g_strdup(entry->desc);
    return 0;
}

/* The drivers' messages carry pages of numbers; what matters of those is errno's text. */
static char *essence(const char *message) {
    static const char mark[] = "error message = '";
    const char *from = strstr(message, mark);
    const char *to = from ? strchr(from + sizeof mark - 1, '\'') : NULL;
    char *text =
        to ? g_strndup(from + sizeof mark - 1, (size_t)(to - from) - (sizeof mark - 1)) : g_strdup(message);
    return g_strdelimit(text, "\n\r", ' ');
}

bool lob_h5_fail(GError **err, LobErrorCode code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    g_autofree char *ours = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *theirs = NULL;
    if (H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, innermost, &theirs) < 0 || !theirs)
        theirs = g_strdup("no reason given");
    H5Eclear2(H5E_DEFAULT);
    g_autofree char *reason = essence(theirs);
    return lob_fail(err, code, "%s (HDF5: %s)", ours, reason);
}

void lob_h5_quiet(void) {
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

/* Our own lock file guards a store, flock is missing on many cluster file systems, and the MPI-IO driver
 * takes none anyway: HDF5's locks are off. */
static bool without_file_locks(hid_t fapl, GError **err) {
#if H5_VERSION_GE(1, 12, 1) || (H5_VERSION_GE(1, 10, 7) && !H5_VERSION_GE(1, 12, 0))
    return LOB_H5(err, LOB_ERROR_INTERNAL, H5Pset_file_locking(fapl, false, true),
                  "cannot switch HDF5's file locks off");
#else
    (void)fapl;
    (void)err;
    g_setenv("HDF5_USE_FILE_LOCKING", "FALSE", true);
    return true;
#endif
}

static int stripes; /* of a file to be made; 0: as the folder has it */

void lob_store_set_mpiio(const char *module, int stripe_count) {
    stripes = stripe_count;
    /* Open MPI reads this when the first file is opened. */
    if (module)
        g_setenv("OMPI_MCA_io", module, TRUE);
}

/* Open MPI's own module takes the count of stripes as stripe_width in all its versions; the standard's
 * striping_factor means nothing to the older ones, and later ones have set the stripes' size by it. ROMIO
 * knows the standard's. */
const char *lob_store_stripe_hint(const char *module) {
#ifdef OPEN_MPI
    if (!module || !g_str_has_prefix(module, "romio"))
        return "stripe_width";
#else
    (void)module;
#endif
    return "striping_factor";
}

MPI_Info lob_store_mpiio_info(void) {
    MPI_Info info = MPI_INFO_NULL;
    g_autofree char *count = g_strdup_printf("%d", stripes);
    const char *hint = lob_store_stripe_hint(g_getenv("OMPI_MCA_io"));
    if (stripes > 0 && MPI_Info_create(&info) == MPI_SUCCESS)
        (void)MPI_Info_set(info, hint, count);
    return info;
}

static bool set_mpio(hid_t fapl, MPI_Comm comm, GError **err) {
    MPI_Info info = lob_store_mpiio_info();
    const bool ok = H5Pset_fapl_mpio(fapl, comm, info) >= 0;
    if (info != MPI_INFO_NULL)
        MPI_Info_free(&info);
    return ok || lob_h5_fail(err, LOB_ERROR_INTERNAL, "cannot use the MPI-IO driver");
}

hid_t lob_h5_access(MPI_Comm comm, GError **err) {
    g_auto(LobHid) fapl = H5Pcreate(H5P_FILE_ACCESS);
    /* No sieve buffer: a row has left this process when H5Dwrite returns, so that fdatasync reaches it. */
    if (!LOB_H5(err, LOB_ERROR_INTERNAL, fapl, "cannot make a property list") ||
        !LOB_H5(err, LOB_ERROR_INTERNAL, H5Pset_libver_bounds(fapl, H5F_LIBVER_EARLIEST, H5F_LIBVER_LATEST),
                "cannot set the file format") ||
        !LOB_H5(err, LOB_ERROR_INTERNAL, H5Pset_sieve_buf_size(fapl, 0), "cannot set the sieve buffer") ||
        !LOB_H5(err, LOB_ERROR_INTERNAL, H5Pset_fclose_degree(fapl, H5F_CLOSE_STRONG),
                "cannot set the close degree") ||
        !LOB_H5(err, LOB_ERROR_INTERNAL, H5Pset_alignment(fapl, (hsize_t)4 << 20, (hsize_t)1 << 20),
                "cannot set the alignment") ||
        !without_file_locks(fapl, err))
        return LOB_NO_HID;
    if (comm != MPI_COMM_NULL && (!set_mpio(fapl, comm, err) ||
                                  !LOB_H5(err, LOB_ERROR_INTERNAL, H5Pset_coll_metadata_write(fapl, true),
                                          "cannot make metadata writes collective") ||
                                  !LOB_H5(err, LOB_ERROR_INTERNAL, H5Pset_all_coll_metadata_ops(fapl, true),
                                          "cannot make metadata reads collective")))
        return LOB_NO_HID;
    return lob_hid_steal(&fapl);
}

hid_t lob_h5_half_type(GError **err) {
    g_auto(LobHid) type = H5Tcopy(H5T_IEEE_F32LE);
    if (type < 0 || H5Tset_fields(type, 15, 10, 5, 0, 10) < 0 || H5Tset_size(type, 2) < 0 ||
        H5Tset_ebias(type, 15) < 0) {
        lob_h5_fail(err, LOB_ERROR_INTERNAL, "cannot make the float16 type");
        return LOB_NO_HID;
    }
    return lob_hid_steal(&type);
}

hid_t lob_h5_string_type(size_t size, GError **err) {
    g_auto(LobHid) type = H5Tcopy(H5T_C_S1);
    if (type < 0 || H5Tset_size(type, MAX(size, 1)) < 0 || H5Tset_strpad(type, H5T_STR_NULLPAD) < 0 ||
        H5Tset_cset(type, H5T_CSET_UTF8) < 0) {
        lob_h5_fail(err, LOB_ERROR_INTERNAL, "cannot make a text type of %zu bytes", size);
        return LOB_NO_HID;
    }
    return lob_hid_steal(&type);
}

/* One call's worth of rows; out NULL = write. */
static bool move_block(hid_t dataset, hid_t space, hid_t type, int rank, hsize_t start[2], hsize_t count[2],
                       const void *in, void *out, const char *what, GError **err) {
    g_auto(LobHid) memory = H5Screate_simple(rank, count, NULL);
    if (!LOB_H5(err, LOB_ERROR_INTERNAL, memory, "%s: cannot describe rows", what) ||
        !LOB_H5(err, LOB_ERROR_INTERNAL, H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL),
                "%s: cannot select rows %" PRIu64 "..", what, (uint64_t)start[0]))
        return false;
    herr_t status = out ? H5Dread(dataset, type, memory, space, H5P_DEFAULT, out)
                        : H5Dwrite(dataset, type, memory, space, H5P_DEFAULT, in);
    return LOB_H5(err, LOB_ERROR_IO, status, "%s: cannot %s rows %" PRIu64 "..%" PRIu64, what,
                  out ? "read" : "write", (uint64_t)start[0], (uint64_t)(start[0] + count[0]));
}

static bool move_rows(hid_t dataset, hid_t type, uint64_t first, uint64_t n, const void *in, void *out,
                      const char *what, GError **err) {
    if (n == 0)
        return true;
    g_auto(LobHid) space = H5Dget_space(dataset);
    hsize_t dims[2] = {0, 1};
    int rank = space < 0 ? -1 : H5Sget_simple_extent_ndims(space);
    if (rank != 1 && rank != 2)
        return lob_h5_fail(err, LOB_ERROR_INTERNAL, "%s: not a table of rows", what);
    if (!LOB_H5(err, LOB_ERROR_INTERNAL, H5Sget_simple_extent_dims(space, dims, NULL), "%s: no size", what))
        return false;
    if (first > dims[0] || n > dims[0] - first)
        return lob_fail(err, LOB_ERROR_INTERNAL,
                        "%s: rows %" PRIu64 "..%" PRIu64 " lie outside its %" PRIu64 " rows", what, first,
                        first + n, (uint64_t)dims[0]);
    size_t row_bytes = H5Tget_size(type) * (size_t)dims[1];
    uint64_t step = MAX(LOB_IO_CALL_BYTES / MAX(row_bytes, 1), 1);
    for (uint64_t done = 0; done < n;) {
        uint64_t now = MIN(step, n - done);
        hsize_t start[2] = {first + done, 0}, count[2] = {now, dims[1]};
        if (!move_block(dataset, space, type, rank, start, count,
                        in ? (const char *)in + done * row_bytes : NULL,
                        out ? (char *)out + done * row_bytes : NULL, what, err))
            return false;
        done += now;
    }
    return true;
}

bool lob_h5_write_rows(hid_t dataset, hid_t type, uint64_t first, uint64_t n, const void *data,
                       const char *what, GError **err) {
    return move_rows(dataset, type, first, n, data, NULL, what, err);
}

bool lob_h5_read_rows(hid_t dataset, hid_t type, uint64_t first, uint64_t n, void *data, const char *what,
                      GError **err) {
    return move_rows(dataset, type, first, n, NULL, data, what, err);
}

bool lob_h5_write_text(hid_t object, const char *name, const char *text, GError **err) {
    const char *value = text ? text : "";
    g_auto(LobHid) type = lob_h5_string_type(strlen(value), err);
    if (type < 0)
        return false;
    g_auto(LobHid) space = H5Screate(H5S_SCALAR);
    g_auto(LobHid) attribute =
        space < 0 ? LOB_NO_HID : H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    return LOB_H5(err, LOB_ERROR_IO, attribute, "cannot make attribute %s", name) &&
           LOB_H5(err, LOB_ERROR_IO, H5Awrite(attribute, type, value), "cannot write attribute %s", name);
}

bool lob_h5_write_number(hid_t object, const char *name, hid_t file_type, double value, GError **err) {
    g_auto(LobHid) space = H5Screate(H5S_SCALAR);
    g_auto(LobHid) attribute =
        space < 0 ? LOB_NO_HID : H5Acreate2(object, name, file_type, space, H5P_DEFAULT, H5P_DEFAULT);
    return LOB_H5(err, LOB_ERROR_IO, attribute, "cannot make attribute %s", name) &&
           LOB_H5(err, LOB_ERROR_IO, H5Awrite(attribute, H5T_NATIVE_DOUBLE, &value),
                  "cannot write attribute %s", name);
}

/* Opens a scalar (or one-element) attribute; *id stays LOB_NO_HID where it is absent and `found` takes that.
 */
static bool open_attribute(hid_t object, const char *name, const char *path, hid_t *id, bool *found,
                           GError **err) {
    htri_t exists = H5Aexists(object, name);
    if (exists <= 0) {
        if (found) {
            *found = false;
            return true;
        }
        return lob_fail(err, LOB_ERROR_INPUT, "%s: attribute %s is missing", path, name);
    }
    if (found)
        *found = true;
    *id = H5Aopen(object, name, H5P_DEFAULT);
    if (!LOB_H5(err, LOB_ERROR_INPUT, *id, "%s: attribute %s cannot be opened", path, name))
        return false;
    g_auto(LobHid) space = H5Aget_space(*id);
    if (space < 0 || H5Sget_simple_extent_npoints(space) != 1)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: attribute %s is not a single value", path, name);
    return true;
}

static char *checked_text(const char *raw, size_t size) {
    size_t length = strnlen(raw, size);
    return g_utf8_validate(raw, (gssize)length, NULL) ? g_strndup(raw, length) : NULL;
}

static char *variable_text(hid_t attribute, hid_t type) {
    char *raw = NULL;
    if (H5Aread(attribute, type, &raw) < 0 || !raw)
        return NULL;
    char *text = checked_text(raw, LONGEST_TEXT);
    H5free_memory(raw);
    return text;
}

bool lob_h5_read_text(hid_t object, const char *name, const char *path, char **text, bool *found,
                      GError **err) {
    g_auto(LobHid) attribute = LOB_NO_HID;
    if (!open_attribute(object, name, path, &attribute, found, err))
        return false;
    if (attribute < 0)
        return true;
    g_auto(LobHid) type = H5Aget_type(attribute);
    size_t size = type < 0 || H5Tget_class(type) != H5T_STRING ? 0 : H5Tget_size(type);
    if (size == 0 || size > LONGEST_TEXT)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: attribute %s is not a text", path, name);
    if (H5Tis_variable_str(type) > 0) {
        *text = variable_text(attribute, type);
    } else {
        g_autofree char *raw = g_malloc0(size);
        *text = H5Aread(attribute, type, raw) < 0 ? NULL : checked_text(raw, size);
    }
    return *text || lob_fail(err, LOB_ERROR_INPUT, "%s: attribute %s is not readable UTF-8", path, name);
}

bool lob_h5_read_number(hid_t object, const char *name, const char *path, double *value, bool *found,
                        GError **err) {
    g_auto(LobHid) attribute = LOB_NO_HID;
    if (!open_attribute(object, name, path, &attribute, found, err))
        return false;
    if (attribute < 0)
        return true;
    g_auto(LobHid) type = H5Aget_type(attribute);
    H5T_class_t class = type < 0 ? H5T_NO_CLASS : H5Tget_class(type);
    if (class != H5T_INTEGER && class != H5T_FLOAT)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: attribute %s is not a number", path, name);
    return LOB_H5(err, LOB_ERROR_INPUT, H5Aread(attribute, H5T_NATIVE_DOUBLE, value),
                  "%s: attribute %s cannot be read", path, name);
}

bool lob_h5_has(hid_t file, const char *name) {
    return H5Lexists(file, name, H5P_DEFAULT) > 0;
}

static bool is_hard_link(hid_t file, const char *name) {
    H5L_info_t link;
    return H5Lget_info(file, name, &link, H5P_DEFAULT) >= 0 && link.type == H5L_TYPE_HARD;
}

static bool stored_in_this_file(hid_t dataset) {
    g_auto(LobHid) dcpl = H5Dget_create_plist(dataset);
    return dcpl >= 0 && H5Pget_layout(dcpl) != H5D_VIRTUAL && H5Pget_external_count(dcpl) == 0;
}

hid_t lob_h5_open_dataset(hid_t file, const char *name, const char *path, int rank, hsize_t dims[2],
                          GError **err) {
    if (!lob_h5_has(file, name)) {
        lob_fail(err, LOB_ERROR_INPUT, "%s: dataset %s is missing", path, name);
        return LOB_NO_HID;
    }
    bool inside = is_hard_link(file, name);
    g_auto(LobHid) dataset = inside ? H5Dopen2(file, name, H5P_DEFAULT) : LOB_NO_HID;
    if (inside && !LOB_H5(err, LOB_ERROR_INPUT, dataset, "%s: %s is not a readable dataset", path, name))
        return LOB_NO_HID;
    if (!inside || !stored_in_this_file(dataset)) {
        lob_fail(err, LOB_ERROR_INPUT, "%s: dataset %s points outside this file, which is refused", path,
                 name);
        return LOB_NO_HID;
    }
    g_auto(LobHid) space = H5Dget_space(dataset);
    dims[1] = 1;
    if (space < 0 || H5Sget_simple_extent_ndims(space) != rank ||
        H5Sget_simple_extent_dims(space, dims, NULL) != rank) {
        lob_fail(err, LOB_ERROR_INPUT, "%s: dataset %s should have %d dimension%s", path, name, rank,
                 rank == 1 ? "" : "s");
        return LOB_NO_HID;
    }
    return lob_hid_steal(&dataset);
}

bool lob_h5_is_float(hid_t dataset, size_t *size) {
    g_auto(LobHid) type = H5Dget_type(dataset);
    if (type < 0 || H5Tget_class(type) != H5T_FLOAT || H5Tget_order(type) != H5T_ORDER_LE)
        return false;
    *size = H5Tget_size(type);
    if (*size != 2)
        return (*size == 4 && H5Tequal(type, H5T_IEEE_F32LE) > 0) ||
               (*size == 8 && H5Tequal(type, H5T_IEEE_F64LE) > 0);
    g_auto(LobHid) half = lob_h5_half_type(NULL);
    return half >= 0 && H5Tequal(type, half) > 0;
}

char **lob_h5_read_strings(hid_t dataset, hsize_t n, const char *what, GError **err) {
    g_auto(LobHid) type = H5Dget_type(dataset);
    size_t size =
        type < 0 || H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) > 0 ? 0 : H5Tget_size(type);
    if (size == 0 || size > LONGEST_TEXT || n > ((size_t)1 << 40) / size) {
        lob_fail(err, LOB_ERROR_INPUT, "%s should hold texts of fixed length", what);
        return NULL;
    }
    g_autofree char *raw = g_try_malloc(MAX(n * size, 1));
    if (!raw) {
        lob_fail(err, LOB_ERROR_INPUT, "%s: %" PRIu64 " texts do not fit into memory", what, (uint64_t)n);
        return NULL;
    }
    if (!lob_h5_read_rows(dataset, type, 0, n, raw, what, err))
        return NULL;
    g_auto(GStrv) texts = g_new0(char *, n + 1);
    for (hsize_t i = 0; i < n; i++) {
        texts[i] = checked_text(raw + i * size, size);
        if (!texts[i]) {
            lob_fail(err, LOB_ERROR_INPUT, "%s: entry %" PRIu64 " is not UTF-8", what, (uint64_t)i);
            return NULL;
        }
    }
    return g_steal_pointer(&texts);
}

bool lob_sync_file(const char *path) {
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    const bool ok = fd >= 0 && fsync(fd) == 0;
    const int problem = errno;
    if (fd >= 0)
        close(fd);
    errno = problem;
    return ok;
}

bool lob_sync_folder(const char *path, GError **err) {
    g_autofree char *folder = g_path_get_dirname(path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot open the folder", folder);
    /* Some network file systems refuse to sync a folder: their rename is synchronous. */
    bool ok = fsync(fd) == 0 || errno == EINVAL || errno == ENOTSUP;
    int errnum = errno;
    close(fd);
    return ok || lob_fail_errno(err, LOB_ERROR_IO, errnum, "%s: cannot sync the folder", folder);
}
