/* A part's frozen description as root attributes, and whether two parts may be used together. */
#include "hdf5io/hdf5io_internal.h"
#include <math.h>
#include <string.h>

#define MOST_COLUMNS 1000000

void lob_store_header_clear(LobStoreHeader *header) {
    g_free(header->encoder);
    g_free(header->weights_sha256);
    g_free(header->transform);
    g_free(header->precision);
    g_strfreev(header->columns);
    g_free(header->tissue);
    g_free(header->stain);
    g_free(header->filters);
    g_free(header->cpu);
    g_free(header->openslide);
    *header = (LobStoreHeader){0};
}

static void differ(GString *list, const char *what, const char *name_a, const char *a, const char *name_b,
                   const char *b) {
    if (g_strcmp0(a ? a : "", b ? b : "") != 0)
        g_string_append_printf(list, "%s%s: %s '%s', %s '%s'", list->len ? "; " : "", what, name_a,
                               a ? a : "", name_b, b ? b : "");
}

static void differ_number(GString *list, const char *what, const char *name_a, double a, const char *name_b,
                          double b) {
    if (fabs(a - b) > 1e-9 * fmax(fabs(a), fabs(b)))
        g_string_append_printf(list, "%s%s: %s %.10g, %s %.10g", list->len ? "; " : "", what, name_a, a,
                               name_b, b);
}

/* Where a transform says output and network (lob_preset_identity); those of earlier versions end there. */
static const char *identity_of(const char *transform) {
    return transform ? strstr(transform, ",output=") : NULL;
}

/* What one of the two does not say cannot be known to agree, even where all that it says does. */
static void differ_transform(GString *list, const char *name_a, const char *a, const char *name_b,
                             const char *b) {
    const char *of_a = identity_of(a), *of_b = identity_of(b);
    const char *known = of_a ? a : b, *of_known = of_a ? of_a : of_b, *unknown = of_a ? b : a;
    if ((!of_a != !of_b) && unknown && strlen(unknown) == (size_t)(of_known - known) &&
        g_str_has_prefix(known, unknown)) {
        g_string_append_printf(list,
                               "%s%s does not say which output of which network it holds, for an earlier "
                               "lobule wrote it; %s: %s (embed again, or use it among its like)",
                               list->len ? "; " : "", of_a ? name_b : name_a, of_a ? name_a : name_b,
                               of_known + 1);
        return;
    }
    differ(list, "transform", name_a, a, name_b, b);
}

bool lob_store_header_agree(const LobStoreHeader *a, const LobStoreHeader *b, const char *name_a,
                            const char *name_b, GError **err) {
    g_autoptr(GString) list = g_string_new(NULL);
    differ(list, "encoder", name_a, a->encoder, name_b, b->encoder);
    differ(list, "weights SHA-256", name_a, a->weights_sha256, name_b, b->weights_sha256);
    differ_transform(list, name_a, a->transform, name_b, b->transform);
    differ(list, "precision", name_a, a->precision, name_b, b->precision);
    differ_number(list, "features a tile", name_a, a->dim, name_b, b->dim);
    differ_number(list, "tile size", name_a, a->tile_size, name_b, b->tile_size);
    differ_number(list, "tile overlap", name_a, a->overlap, name_b, b->overlap);
    differ_number(list, "tile mpp", name_a, a->tile_mpp, name_b, b->tile_mpp);
    differ_number(list, "minimum tissue", name_a, a->min_tissue, name_b, b->min_tissue);
    differ(list, "tissue", name_a, a->tissue, name_b, b->tissue);
    differ(list, "stain normalisation", name_a, a->stain, name_b, b->stain);
    differ(list, "tiles left out", name_a, a->filters, name_b, b->filters);
    g_autofree char *columns_a = a->columns ? g_strjoinv(",", a->columns) : NULL;
    g_autofree char *columns_b = b->columns ? g_strjoinv(",", b->columns) : NULL;
    differ(list, "columns", name_a, columns_a, name_b, columns_b);
    return list->len == 0 ||
           lob_fail(err, LOB_ERROR_INPUT, "%s and %s do not go together: %s", name_a, name_b, list->str);
}

static bool write_versions(hid_t file, GError **err) {
    unsigned major = 0, minor = 0, release = 0;
    if (!LOB_H5(err, LOB_ERROR_INTERNAL, H5get_libversion(&major, &minor, &release), "no HDF5 version"))
        return false;
    g_autofree char *hdf5 = g_strdup_printf("%u.%u.%u", major, minor, release);
    return lob_h5_write_number(file, "lobule_store", H5T_STD_I64LE, LOB_STORE_VERSION, err) &&
           lob_h5_write_text(file, "lobule", LOB_VERSION, err) && lob_h5_write_text(file, "hdf5", hdf5, err);
}

/* An attribute that is only there where it says something. */
static bool write_optional(hid_t file, const char *name, const char *text, GError **err) {
    return !text || !*text || lob_h5_write_text(file, name, text, err);
}

static bool read_optional(hid_t file, const char *name, const char *path, char **text, GError **err) {
    bool found = false;
    return lob_h5_read_text(file, name, path, text, &found, err);
}

bool lob_store_header_write(hid_t file, const LobStoreHeader *header, GError **err) {
    return write_versions(file, err) && lob_h5_write_text(file, "openslide", header->openslide, err) &&
           lob_h5_write_text(file, "encoder", header->encoder, err) &&
           lob_h5_write_text(file, "weights_sha256", header->weights_sha256, err) &&
           lob_h5_write_text(file, "transform", header->transform, err) &&
           lob_h5_write_text(file, "precision", header->precision, err) &&
           lob_h5_write_text(file, "tissue", header->tissue, err) &&
           write_optional(file, "stain", header->stain, err) &&
           write_optional(file, "filters", header->filters, err) &&
           lob_h5_write_text(file, "cpu", header->cpu, err) &&
           lob_h5_write_number(file, "tile_size", H5T_STD_I64LE, header->tile_size, err) &&
           lob_h5_write_number(file, "tile_overlap", H5T_STD_I64LE, header->overlap, err) &&
           lob_h5_write_number(file, "tile_mpp", H5T_IEEE_F64LE, header->tile_mpp, err) &&
           lob_h5_write_number(file, "min_tissue", H5T_IEEE_F64LE, header->min_tissue, err);
}

static bool read_version(hid_t file, const char *path, GError **err) {
    bool found = false;
    double version = 0;
    if (!lob_h5_read_number(file, "lobule_store", path, &version, &found, err))
        return false;
    if (!found)
        return lob_fail(err, LOB_ERROR_INPUT,
                        "%s: not a lobule store (no attribute lobule_store); other tools' files come in with "
                        "'lobule store import'",
                        path);
    if (version > LOB_STORE_VERSION)
        return lob_fail(err, LOB_ERROR_INPUT,
                        "%s: store version %g is newer than this program, which reads up to %d; use a newer "
                        "lobule",
                        path, version, LOB_STORE_VERSION);
    return version == LOB_STORE_VERSION ||
           lob_fail(err, LOB_ERROR_INPUT, "%s: no such store version: %g", path, version);
}

static bool read_size(hid_t file, const char *name, const char *path, int *value, GError **err) {
    double number = 0;
    if (!lob_h5_read_number(file, name, path, &number, NULL, err))
        return false;
    if (!(number >= 0 && number <= 1 << 20))
        return lob_fail(err, LOB_ERROR_INPUT, "%s: attribute %s is out of range: %g", path, name, number);
    *value = (int)number;
    return true;
}

static bool read_positive(hid_t file, const char *name, const char *path, double *value, GError **err) {
    if (!lob_h5_read_number(file, name, path, value, NULL, err))
        return false;
    return (isfinite(*value) && *value >= 0) ||
           lob_fail(err, LOB_ERROR_INPUT, "%s: attribute %s is out of range: %g", path, name, *value);
}

static bool read_columns(hid_t file, const char *path, LobStoreHeader *header, GError **err) {
    if (!lob_h5_has(file, "columns"))
        return true;
    hsize_t dims[2];
    g_auto(LobHid) dataset = lob_h5_open_dataset(file, "columns", path, 1, dims, err);
    if (dataset < 0)
        return false;
    if (dims[0] > MOST_COLUMNS)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: too many columns", path);
    g_autofree char *what = g_strdup_printf("%s: /columns", path);
    header->columns = lob_h5_read_strings(dataset, dims[0], what, err);
    return header->columns != NULL;
}

bool lob_store_header_read(hid_t file, const char *path, LobStoreHeader *header, GError **err) {
    return read_version(file, path, err) &&
           lob_h5_read_text(file, "encoder", path, &header->encoder, NULL, err) &&
           lob_h5_read_text(file, "weights_sha256", path, &header->weights_sha256, NULL, err) &&
           lob_h5_read_text(file, "transform", path, &header->transform, NULL, err) &&
           lob_h5_read_text(file, "precision", path, &header->precision, NULL, err) &&
           lob_h5_read_text(file, "tissue", path, &header->tissue, NULL, err) &&
           read_optional(file, "stain", path, &header->stain, err) &&
           read_optional(file, "filters", path, &header->filters, err) &&
           lob_h5_read_text(file, "cpu", path, &header->cpu, NULL, err) &&
           lob_h5_read_text(file, "openslide", path, &header->openslide, NULL, err) &&
           read_size(file, "tile_size", path, &header->tile_size, err) &&
           read_size(file, "tile_overlap", path, &header->overlap, err) &&
           read_positive(file, "tile_mpp", path, &header->tile_mpp, err) &&
           read_positive(file, "min_tissue", path, &header->min_tissue, err) &&
           read_columns(file, path, header, err);
}
