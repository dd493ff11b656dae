/* A store to other tools' per-slide files, and back. */
#include "hdf5io/feature_file.h"
#include <glib/gstdio.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- export ---- */

/* Drops rows of unreadable tiles (NaN throughout): no other tool has a word for them. Returns what is left.
 */
static size_t keep_readable(float *rows, int32_t (*coords)[2], size_t n, size_t dim) {
    size_t kept = 0;
    for (size_t r = 0; r < n; r++) {
        if (isnan(rows[r * dim]))
            continue;
        memmove(rows + kept * dim, rows + r * dim, dim * sizeof *rows);
        memmove(coords[kept++], coords[r], sizeof *coords);
    }
    return kept;
}

static bool export_slide(LobStore *store, const LobStoreSlide *slide, LobFeatureFormat format,
                         const char *path, const char *torch_path, uint64_t *left_out, GError **err) {
    const LobStoreHeader *header = lob_store_header(store);
    size_t n = slide->count, dim = (size_t)header->dim;
    g_autofree float *rows = g_try_new(float, n *dim + 1);
    g_autofree int32_t(*coords)[2] = g_try_malloc((n + 1) * sizeof *coords);
    uint32_t crc = 0;
    if (!rows || !coords)
        return lob_fail(err, LOB_ERROR_INTERNAL, "slide %s: %zu rows do not fit into memory", slide->slide_id,
                        n);
    uint32_t tiles = slide->tiles_crc32c;
    if (!lob_store_crc_rows(store, slide->first, n, &crc, err) ||
        (header->tile_sums && !lob_store_crc_tiles(store, slide->first, n, &tiles, err)))
        return false;
    if (crc != slide->crc32c || tiles != slide->tiles_crc32c)
        return lob_fail(err, LOB_ERROR_IO, "slide %s: its rows are damaged and are not exported",
                        slide->slide_id);
    if (!lob_store_read_floats(store, slide->first, n, rows, err) ||
        !lob_store_read_coords(store, slide->first, n, coords, err))
        return false;
    size_t kept = keep_readable(rows, coords, n, dim);
    *left_out += n - kept;
    LobFeatureSlide out = {.slide_id = slide->slide_id,
                           .encoder = header->encoder,
                           .tile_size = header->tile_size,
                           .overlap = header->overlap,
                           .dim = header->dim,
                           .tile_mpp = header->tile_mpp,
                           .mpp = (slide->mpp_x + slide->mpp_y) / 2,
                           .width = slide->width,
                           .height = slide->height,
                           .n = kept,
                           .features = rows,
                           .coords = (const int32_t(*)[2])coords};
    return lob_feature_slide_write(path, format, &out, err) &&
           (!torch_path || lob_feature_slide_write_torch(torch_path, &out, err));
}

/* An id becomes a file's name, so it must be one. */
static char *export_path(const char *folder, const char *slide_id, const char *ending, bool replace,
                         GError **err) {
    if (strchr(slide_id, '/') || *slide_id == '.') {
        lob_fail(err, LOB_ERROR_INPUT, "slide '%s': this id cannot be a file's name", slide_id);
        return NULL;
    }
    g_autofree char *name = g_strconcat(slide_id, ending, NULL);
    g_autofree char *path = g_build_filename(folder, name, NULL);
    if (!replace && g_file_test(path, G_FILE_TEST_EXISTS)) {
        lob_fail(err, LOB_ERROR_INPUT, "%s exists already (--replace replaces it)", path);
        return NULL;
    }
    return g_steal_pointer(&path);
}

bool lob_store_export(LobStore *store, LobFeatureFormat format, const char *folder, bool replace,
                      size_t *slides, uint64_t *left_out, GError **err) {
    size_t n = 0;
    const LobStoreSlide *slide = lob_store_slides(store, &n);
    bool clam = format == LOB_FORMAT_CLAM;
    g_autofree char *into = clam ? g_build_filename(folder, "h5_files", NULL) : g_strdup(folder);
    g_autofree char *torch = g_build_filename(folder, "pt_files", NULL);
    *slides = 0;
    *left_out = 0;
    if (!lob_store_finished(store))
        return lob_fail(err, LOB_ERROR_INPUT, "the store is not finished; run embed to its end first");
    if (!lob_make_dirs(into, err) || (clam && !lob_make_dirs(torch, err)))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (slide[i].state != LOB_STATE_DONE)
            continue;
        g_autofree char *path = export_path(into, slide[i].slide_id, ".h5", replace, err);
        g_autofree char *torch_path =
            path && clam ? export_path(torch, slide[i].slide_id, ".pt", replace, err) : NULL;
        if (!path || (clam && !torch_path) ||
            !export_slide(store, &slide[i], format, path, torch_path, left_out, err))
            return false;
        ++*slides;
    }
    return true;
}

/* ---- import ---- */

typedef struct {
    char *slide_id, *path;
} Input;

typedef struct {
    const LobImportOptions *options;
    GArray *inputs; /* of Input, sorted by slide_id */
    LobTable *table;
    GHashTable *table_rows; /* slide_id -> row + 1 */
    LobStoreHeader header;
    LobStoreSlide *slides; /* texts: ids borrowed from inputs and table, quickhash and source literals */
    int32_t (*coords)[2];
    uint64_t rows;
    char *first_path; /* the file that fixed what all must agree on */
} Importer;

static void input_clear(void *input) {
    g_free(((Input *)input)->slide_id);
    g_free(((Input *)input)->path);
}

static void importer_clear(Importer *importer) {
    g_array_unref(importer->inputs);
    g_clear_pointer(&importer->table, lob_table_free);
    g_clear_pointer(&importer->table_rows, g_hash_table_unref);
    lob_store_header_clear(&importer->header);
    g_free(importer->slides);
    g_free(importer->coords);
    g_free(importer->first_path);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Importer, importer_clear)

static void add_file(Importer *importer, const char *path) {
    Input input = {.slide_id = g_path_get_basename(path), .path = g_strdup(path)};
    if (g_str_has_suffix(input.slide_id, ".h5") || g_str_has_suffix(input.slide_id, ".pt"))
        input.slide_id[strlen(input.slide_id) - 3] = '\0';
    g_array_append_val(importer->inputs, input);
}

static bool add_ending(Importer *importer, const char *folder, const char *ending) {
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name = NULL;
    guint before = importer->inputs->len;
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *file = g_build_filename(folder, name, NULL);
        if (g_str_has_suffix(name, ending) && *name != '.')
            add_file(importer, file);
    }
    return importer->inputs->len > before;
}

/* Tensors only where there is nothing better: CLAM writes both, and its .h5 files know the places. */
static bool add_folder(Importer *importer, const char *path, GError **err) {
    g_autofree char *nested = g_build_filename(path, "h5_files", NULL);
    const char *folder = g_file_test(nested, G_FILE_TEST_IS_DIR) ? nested : path;
    return add_ending(importer, folder, ".h5") || add_ending(importer, folder, ".pt") ||
           lob_fail(err, LOB_ERROR_INPUT, "%s: no .h5 and no .pt files in this folder", path);
}

static int by_slide(const void *a, const void *b) {
    return strcmp(((const Input *)a)->slide_id, ((const Input *)b)->slide_id);
}

static bool find_inputs(Importer *importer, const char *const *files, GError **err) {
    for (const char *const *file = files; *file; file++) {
        if (!g_file_test(*file, G_FILE_TEST_EXISTS))
            return lob_fail(err, LOB_ERROR_INPUT, "%s: no such file or folder", *file);
        if (!g_file_test(*file, G_FILE_TEST_IS_DIR))
            add_file(importer, *file);
        else if (!add_folder(importer, *file, err))
            return false;
    }
    if (importer->inputs->len == 0)
        return lob_fail(err, LOB_ERROR_INPUT, "no feature files are given");
    g_array_sort(importer->inputs, by_slide);
    const Input *input = (const Input *)importer->inputs->data;
    for (guint i = 1; i < importer->inputs->len; i++)
        if (strcmp(input[i - 1].slide_id, input[i].slide_id) == 0)
            return lob_fail(err, LOB_ERROR_INPUT, "slide %s has two files: %s and %s", input[i].slide_id,
                            input[i - 1].path, input[i].path);
    return true;
}

static bool probe_inputs(const Importer *importer, GError **err) {
    g_autofree const char **paths = g_new(const char *, importer->inputs->len + 1);
    for (guint i = 0; i < importer->inputs->len; i++)
        paths[i] = g_array_index(importer->inputs, Input, i).path;
    return lob_feature_files_probe(paths, importer->inputs->len, importer->options->encoder, err);
}

static bool read_table(Importer *importer, GError **err) {
    importer->table = lob_table_read(importer->options->slides, err);
    if (!importer->table)
        return false;
    int id = lob_table_require(importer->table, "slide_id", err);
    if (id < 0 || lob_table_require(importer->table, "patient_id", err) < 0 ||
        lob_table_require(importer->table, "center", err) < 0)
        return false;
    importer->table_rows = g_hash_table_new(g_str_hash, g_str_equal);
    for (size_t r = 0; r < lob_table_rows(importer->table); r++) {
        const char *slide_id = lob_table_cell(importer->table, r, id);
        if (!g_hash_table_insert(importer->table_rows, (void *)slide_id, GSIZE_TO_POINTER(r + 1)))
            return lob_fail(err, LOB_ERROR_INPUT, "%s: line %zu: slide %s occurs twice",
                            importer->options->slides, lob_table_line(importer->table, r), slide_id);
    }
    return true;
}

/* The value of file and option together: one may be silent, both must not contradict each other. */
static bool settle(double *value, double said, double option, const char *what, const char *option_name,
                   const char *path, GError **err) {
    if (said > 0 && option > 0 && fabs(said - option) > 1e-6 * option)
        return lob_fail(err, LOB_ERROR_INPUT, "%s says %s %g, --%s %g", path, what, said, option_name,
                        option);
    *value = said > 0 ? said : option;
    return *value > 0 ||
           lob_fail(err, LOB_ERROR_INPUT, "%s does not say its %s: give --%s", path, what, option_name);
}

static bool header_of(const Importer *importer, const LobFeatureFile *file, LobStoreHeader *header,
                      GError **err) {
    const LobImportOptions *options = importer->options;
    const LobFeatureFacts *facts = &file->facts;
    double size = 0;
    if (facts->encoder && options->encoder && strcmp(facts->encoder, options->encoder) != 0)
        return lob_fail(err, LOB_ERROR_INPUT, "%s was made by encoder %s, --encoder says %s", file->path,
                        facts->encoder, options->encoder);
    if (!facts->encoder && !options->encoder)
        return lob_fail(err, LOB_ERROR_INPUT,
                        "%s does not say its encoder, and %d features do not tell it: give --encoder",
                        file->path, file->dim);
    if (!settle(&size, facts->tile_size, options->tile_size, "tile size", "tile-size", file->path, err) ||
        !settle(&header->tile_mpp, facts->tile_mpp, options->tile_mpp, "tile mpp", "tile-mpp", file->path,
                err))
        return false;
    header->encoder = g_strdup(facts->encoder ? facts->encoder : options->encoder);
    header->transform =
        g_strdup_printf("of %s files, not known%s%s", lob_feature_format_name(file->format),
                        facts->stain ? ", stain normalised: " : "", facts->stain ? facts->stain : "");
    header->precision = g_strdup("not known");
    header->tissue = g_strdup("not known");
    header->dim = file->dim;
    header->tile_size = (int)size;
    header->overlap = facts->overlap;
    header->float32 = !file->half && !options->float16;
    return true;
}

/* An empty file may not know its width; otherwise all files must be of one kind. */
static bool agree_header(Importer *importer, const LobFeatureFile *file, GError **err) {
    LobStoreHeader header = {0};
    bool ok = header_of(importer, file, &header, err);
    if (ok && !importer->first_path && file->dim > 0) {
        importer->first_path = g_strdup(file->path);
        importer->header = header;
        return true;
    }
    if (ok && file->dim > 0) {
        importer->header.float32 |= header.float32;
        ok = lob_store_header_agree(&importer->header, &header, importer->first_path, file->path, err);
    }
    lob_store_header_clear(&header);
    return ok;
}

static bool mpp_of(const Importer *importer, const LobFeatureFile *file, size_t row, LobStoreSlide *slide,
                   GError **err) {
    int column = lob_table_find(importer->table, "mpp");
    const LobFeatureFacts *facts = &file->facts;
    double mpp = NAN;
    if (column >= 0 && !lob_table_number(importer->table, row, column, &mpp, err))
        return false;
    slide->mpp_source = "manifest";
    if (!(mpp > 0)) {
        mpp = importer->options->mpp;
        slide->mpp_source = "option";
    }
    if (!(mpp > 0)) {
        mpp = facts->mpp;
        slide->mpp_source = "feature file";
    }
    if (!(mpp > 0) && facts->level0_tile > 0 && facts->tile_size > 0) {
        mpp = facts->tile_size * facts->tile_mpp / (double)facts->level0_tile;
        slide->mpp_source = "nominal magnification";
    }
    slide->mpp_x = slide->mpp_y = mpp;
    return mpp > 0 || lob_fail(err, LOB_ERROR_INPUT,
                               "%s does not say the slide's mpp: give a column mpp in %s, or --mpp",
                               file->path, importer->options->slides);
}

static int by_place(const void *a, const void *b) {
    const int32_t *p = a, *q = b;
    return p[1] != q[1] ? (p[1] > q[1]) - (p[1] < q[1]) : (p[0] > q[0]) - (p[0] < q[0]);
}

/* Overlapping outlines make some tools take a tile twice: no fault, but worth knowing. */
static void tell_repeats(const char *path, const int32_t (*coords)[2], uint64_t n) {
    g_autofree int32_t(*sorted)[2] = g_try_malloc((n + 1) * sizeof *sorted);
    uint64_t repeats = 0;
    if (!sorted || n == 0)
        return;
    memcpy(sorted, coords, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_place);
    for (uint64_t i = 1; i < n; i++)
        repeats += memcmp(sorted[i], sorted[i - 1], sizeof *sorted) == 0;
    if (repeats)
        lob_warning("%s: %" PRIu64 " tiles have the place of another", path, repeats);
}

static bool import_facts(Importer *importer, const Input *input, LobStoreSlide *slide, GError **err) {
    g_autoptr(LobFeatureFile) file = lob_feature_file_open_as(input->path, importer->options->encoder, err);
    if (!file || !agree_header(importer, file, err))
        return false;
    size_t row = GPOINTER_TO_SIZE(g_hash_table_lookup(importer->table_rows, input->slide_id));
    if (row == 0)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: slide %s is not in %s", input->path, input->slide_id,
                        importer->options->slides);
    *slide = (LobStoreSlide){
        .slide_id = input->slide_id,
        .patient_id =
            (char *)lob_table_cell(importer->table, row - 1, lob_table_find(importer->table, "patient_id")),
        .center = (char *)lob_table_cell(importer->table, row - 1, lob_table_find(importer->table, "center")),
        .first = importer->rows,
        .count = file->rows,
        .width = file->facts.width,
        .height = file->facts.height,
        .quickhash = "",
        .state = LOB_STATE_PENDING};
    if (!mpp_of(importer, file, row - 1, slide, err))
        return false;
    int32_t(*coords)[2] =
        g_try_realloc(importer->coords, (importer->rows + file->rows + 1) * sizeof *importer->coords);
    if (!coords)
        return lob_fail(err, LOB_ERROR_INTERNAL, "%s: its coordinates do not fit into memory", input->path);
    importer->coords = coords;
    if (file->rows > 0 &&
        !lob_feature_file_read_coords(file, slide->mpp_x, importer->coords + importer->rows, err))
        return false;
    tell_repeats(input->path, (const int32_t(*)[2])importer->coords + importer->rows, file->rows);
    importer->rows += file->rows;
    return true;
}

static bool import_rows(const Importer *importer, LobPart *part, const Input *input, LobStoreSlide *slide,
                        GError **err) {
    const int dim = importer->header.dim;
    slide->state = LOB_STATE_DONE;
    if (slide->count == 0)
        return true;
    g_autoptr(LobFeatureFile) file = lob_feature_file_open_as(input->path, importer->options->encoder, err);
    if (!file)
        return false;
    if (file->rows != slide->count || file->dim != dim)
        return lob_fail(err, LOB_ERROR_IO, "%s: changed while it was being read", input->path);
    g_autofree float *rows = g_try_new(float, slide->count *(size_t)dim);
    if (!rows)
        return lob_fail(err, LOB_ERROR_INTERNAL, "%s: its rows do not fit into memory", input->path);
    return lob_feature_file_read_floats(file, 0, slide->count, rows, err) &&
           lob_part_write_rows(part, slide->first, slide->count, rows, &slide->crc32c, err);
}

static bool import_all(Importer *importer, const char *path, GError **err) {
    const Input *inputs = (const Input *)importer->inputs->data;
    size_t n = importer->inputs->len;
    importer->slides = g_new0(LobStoreSlide, n + 1);
    for (size_t i = 0; i < n; i++)
        if (!import_facts(importer, &inputs[i], &importer->slides[i], err))
            return false;
    if (!importer->first_path)
        return lob_fail(err, LOB_ERROR_INPUT, "all files are empty: there is nothing to import");
    g_autofree uint8_t *tissue = g_malloc(importer->rows + 1);
    memset(tissue, 100, importer->rows + 1); /* the other tool kept these tiles; it does not say how full */
    LobPart *part = lob_part_create(path, MPI_COMM_NULL, &importer->header, importer->slides, n,
                                    (const int32_t(*)[2])importer->coords, tissue, err);
    if (!part)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!import_rows(importer, part, &inputs[i], &importer->slides[i], err)) {
            lob_part_close(part);
            return false;
        }
    return lob_part_finish(part, importer->slides, n, err);
}

bool lob_store_import(const char *const *files, const LobImportOptions *options, const char *path,
                      size_t *slides, uint64_t *rows, GError **err) {
    g_auto(Importer) importer = {.options = options, .inputs = g_array_new(false, false, sizeof(Input))};
    g_array_set_clear_func(importer.inputs, input_clear);
    bool existed = g_file_test(path, G_FILE_TEST_EXISTS);
    if (!options->slides)
        return lob_fail(err, LOB_ERROR_INPUT,
                        "the files do not say whose slides they are: give --slides CSV "
                        "with slide_id, patient_id, center");
    if (!find_inputs(&importer, files, err) || !read_table(&importer, err) || !probe_inputs(&importer, err) ||
        !import_all(&importer, path, err)) {
        if (!existed)
            g_unlink(path);
        return false;
    }
    *slides = importer.inputs->len;
    *rows = importer.rows;
    return true;
}
