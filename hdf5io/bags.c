/* Bags: all patients' rows in one block of binary16, from lobule stores or a folder of other tools' files. */
#include "hdf5io/feature_file.h"
#include <glib/gstdio.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#define SCRATCH_BYTES ((size_t)4 << 20) /* a piece of a store that is read, summed and sifted at once */

/* Where a cohort slide's rows come from; rows 0 = nowhere. */
typedef struct {
    LobStore *store;
    const char *store_path;
    const LobStoreSlide *slide;
    char *file;
    uint64_t rows; /* those that will be in the bag */
} Place;

typedef struct {
    const LobCohort *cohort;
    GPtrArray *stores, *store_paths, *folders;
    GPtrArray *files;   /* foreign_files; NULL: not looked for yet */
    GHashTable *slides; /* slide_id -> index + 1 into the cohort's slides */
    Place *places;      /* [cohort slides] */
    GString *trouble, *left_out;
    size_t n_trouble, n_left_out, n_foreign; /* foreign: slides of stores that the cohort does not know */
    int dim;
    char *first_file; /* of other tools' files: what it says, the others must */
    int tile_size;
    double tile_mpp;
    LobBagSet *set;
    uint16_t *scratch; /* [scratch_rows][dim] */
    size_t scratch_rows;
    bool (*choose)(void *user, const uint64_t *rows, size_t dim, uint8_t *wanted, GError **err);
    bool (*go_on)(GError **err);
    void *user;
    uint8_t *wanted; /* [patients] */
    char *filtered;  /* the study's filters of tiles in words; NULL: none */
    uint64_t n_dropped;
} Loader;

static void loader_clear(Loader *loader) {
    g_clear_pointer(&loader->stores, g_ptr_array_unref);
    g_clear_pointer(&loader->store_paths, g_ptr_array_unref);
    g_clear_pointer(&loader->folders, g_ptr_array_unref);
    g_clear_pointer(&loader->files, g_ptr_array_unref);
    g_clear_pointer(&loader->slides, g_hash_table_unref);
    for (size_t i = 0; loader->places && i < loader->cohort->n_slides; i++)
        g_free(loader->places[i].file);
    g_free(loader->places);
    g_free(loader->first_file);
    g_free(loader->scratch);
    g_free(loader->wanted);
    g_free(loader->filtered);
    g_string_free(loader->trouble, true);
    g_string_free(loader->left_out, true);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Loader, loader_clear)

static void list(GString *text, size_t *n, const char *format, ...) G_GNUC_PRINTF(3, 4);
static void list(GString *text, size_t *n, const char *format, ...) {
    va_list args;
    if ((*n)++ >= 20)
        return;
    g_string_append(text, text->len ? "; " : "");
    va_start(args, format);
    g_string_append_vprintf(text, format, args);
    va_end(args);
}

/* ---- sources ---- */

static bool add_store(Loader *loader, const char *path, GError **err) {
    LobStore *store = lob_store_open(path, err);
    if (!store)
        return false;
    g_ptr_array_add(loader->stores, store);
    g_ptr_array_add(loader->store_paths, g_strdup(path));
    if (!lob_store_finished(store))
        return lob_fail(err, LOB_ERROR_INPUT,
                        "%s: this store is not finished; run embed to its end before it is used", path);
    return loader->stores->len < 2 ||
           lob_store_header_agree(lob_store_header(loader->stores->pdata[0]), lob_store_header(store),
                                  loader->store_paths->pdata[0], path, err);
}

/* A store, a folder with parts, or a folder of <slide_id>.h5 or .pt. */
static bool add_source(Loader *loader, const char *source, GError **err) {
    g_autoptr(GError) cause = NULL;
    g_auto(GStrv) parts = lob_store_find(source, &cause);
    if (cause) {
        g_propagate_error(err, g_steal_pointer(&cause));
        return false;
    }
    if (parts && !lob_feature_files_probe((const char *const *)parts, g_strv_length(parts), NULL, err))
        return false;
    for (char **part = parts; part && *part; part++)
        if (!add_store(loader, *part, err))
            return false;
    if (parts)
        return true;
    g_autofree char *clam = g_build_filename(source, "h5_files", NULL);
    bool nested = g_file_test(clam, G_FILE_TEST_IS_DIR);
    g_ptr_array_add(loader->folders, nested ? g_steal_pointer(&clam) : g_strdup(source));
    return true;
}

static bool add_sources(Loader *loader, const char *const *sources, GError **err) {
    if (!sources || !sources[0])
        return lob_fail(err, LOB_ERROR_INPUT, "features: no store and no folder is given");
    for (const char *const *source = sources; *source; source++)
        if (!add_source(loader, *source, err))
            return false;
    return loader->stores->len == 0 || loader->folders->len == 0 ||
           lob_fail(err, LOB_ERROR_INPUT,
                    "features: %s is a lobule store and %s a folder of other tools' files; import the latter "
                    "with 'lobule store import' to use both",
                    (char *)loader->store_paths->pdata[0], (char *)loader->folders->pdata[0]);
}

/* ---- places ---- */

static void place_store_slide(Loader *loader, LobStore *store, const char *path, const LobStoreSlide *slide) {
    const LobCohort *cohort = loader->cohort;
    size_t index = GPOINTER_TO_SIZE(g_hash_table_lookup(loader->slides, slide->slide_id));
    if (index == 0) {
        loader->n_foreign++;
        return;
    }
    const LobCohortPatient *patient = &cohort->patients[cohort->slides[index - 1].patient];
    Place *place = &loader->places[index - 1];
    if (strcmp(slide->patient_id, patient->patient_id) != 0) {
        list(loader->trouble, &loader->n_trouble, "%s: slide %s belongs to patient %s, in the study to %s",
             path, slide->slide_id, slide->patient_id, patient->patient_id);
        return;
    }
    if (slide->state != LOB_STATE_DONE)
        return;
    if (place->store) {
        list(loader->trouble, &loader->n_trouble, "slide %s is in %s and in %s", slide->slide_id,
             place->store_path, path);
        return;
    }
    *place =
        (Place){.store = store, .store_path = path, .slide = slide, .rows = slide->count - slide->unreadable};
}

static void place_stores(Loader *loader) {
    for (guint s = 0; s < loader->stores->len; s++) {
        size_t n = 0;
        const LobStoreSlide *slides = lob_store_slides(loader->stores->pdata[s], &n);
        for (size_t i = 0; i < n; i++)
            place_store_slide(loader, loader->stores->pdata[s], loader->store_paths->pdata[s], &slides[i]);
    }
    if (loader->stores->len == 0)
        return;
    const LobStoreHeader *header = lob_store_header(loader->stores->pdata[0]);
    loader->dim = header->dim;
    loader->set->encoder = g_strdup(header->encoder);
    loader->set->columns = g_strdupv(header->columns);
}

/* What all files of a study must agree in; the first one sets it. Empty files say little. */
static bool same_kind(Loader *loader, const LobFeatureFile *file, GError **err) {
    const LobFeatureFacts *facts = &file->facts;
    if (file->dim == 0 && file->rows == 0)
        return true;
    if (!loader->first_file) {
        loader->dim = file->dim;
        loader->first_file = g_strdup(file->path);
        loader->set->encoder = g_strdup(facts->encoder);
        loader->tile_size = facts->tile_size;
        loader->tile_mpp = facts->tile_mpp;
    }
    if (file->dim != loader->dim)
        return lob_fail(err, LOB_ERROR_INPUT, "%s has %d features a tile, %s has %d", file->path, file->dim,
                        loader->first_file, loader->dim);
    if (g_strcmp0(facts->encoder, loader->set->encoder) != 0)
        return lob_fail(err, LOB_ERROR_INPUT, "%s was made by encoder %s, %s by %s", file->path,
                        facts->encoder ? facts->encoder : "unknown", loader->first_file,
                        loader->set->encoder ? loader->set->encoder : "unknown");
    if (facts->tile_size != loader->tile_size || fabs(facts->tile_mpp - loader->tile_mpp) > 1e-9)
        return lob_fail(err, LOB_ERROR_INPUT,
                        "%s has tiles of %d px at %g um/px, %s of %d px at %g um/px (0: it does not say)",
                        file->path, facts->tile_size, facts->tile_mpp, loader->first_file, loader->tile_size,
                        loader->tile_mpp);
    return true;
}

/* Of files that hold several encoders' features. */
static const char *wanted_encoder(const Loader *loader) {
    return loader->cohort->study ? loader->cohort->study->encoder.name : NULL;
}

static bool place_file(Loader *loader, size_t index, const char *folder, GError **err) {
    const char *slide_id = loader->cohort->slides[index].slide_id;
    g_autofree char *path = lob_feature_file_find(folder, slide_id);
    if (!path)
        return true;
    Place *place = &loader->places[index];
    if (place->file) {
        list(loader->trouble, &loader->n_trouble, "slide %s is in %s and in %s", slide_id, place->file, path);
        return true;
    }
    g_autoptr(LobFeatureFile) file = lob_feature_file_open_as(path, wanted_encoder(loader), err);
    if (!file || !same_kind(loader, file, err))
        return false;
    place->file = g_steal_pointer(&path);
    place->rows = file->rows;
    return true;
}

/* Of the study's slides, in other tools' folders. */
static const GPtrArray *foreign_files(Loader *loader) {
    if (loader->files)
        return loader->files;
    loader->files = g_ptr_array_new_with_free_func(g_free);
    for (size_t i = 0; i < loader->cohort->n_slides; i++)
        for (guint f = 0; f < loader->folders->len; f++) {
            char *path = lob_feature_file_find(loader->folders->pdata[f], loader->cohort->slides[i].slide_id);
            if (path)
                g_ptr_array_add(loader->files, path);
        }
    return loader->files;
}

/* Before any of them is read here. */
static bool probe_files(Loader *loader, GError **err) {
    const GPtrArray *paths = foreign_files(loader);
    return lob_feature_files_probe((const char *const *)paths->pdata, paths->len, wanted_encoder(loader),
                                   err);
}

static bool place_files(Loader *loader, GError **err) {
    if (!probe_files(loader, err))
        return false;
    for (size_t i = 0; i < loader->cohort->n_slides; i++)
        for (guint f = 0; f < loader->folders->len; f++)
            if (!place_file(loader, i, loader->folders->pdata[f], err))
                return false;
    return true;
}

static bool place_slides(Loader *loader, GError **err) {
    const LobCohort *cohort = loader->cohort;
    size_t found = 0;
    loader->slides = g_hash_table_new(g_str_hash, g_str_equal);
    loader->places = g_new0(Place, cohort->n_slides + 1);
    for (size_t i = 0; i < cohort->n_slides; i++)
        g_hash_table_insert(loader->slides, cohort->slides[i].slide_id, GSIZE_TO_POINTER(i + 1));
    place_stores(loader);
    if (!place_files(loader, err))
        return false;
    if (loader->n_trouble)
        return lob_fail(err, LOB_ERROR_INPUT, "features do not fit the study (%zu): %s", loader->n_trouble,
                        loader->trouble->str);
    for (size_t i = 0; i < cohort->n_slides; i++) {
        found += loader->places[i].store || loader->places[i].file;
        if (!loader->places[i].store && !loader->places[i].file)
            list(loader->left_out, &loader->n_left_out, "%s", cohort->slides[i].slide_id);
    }
    if (found == 0 || loader->dim == 0)
        return lob_fail(
            err, LOB_ERROR_INPUT, "features: none of the study's %zu slides has any (looked in %s)",
            cohort->n_slides,
            (char *)(loader->stores->len ? loader->store_paths->pdata[0] : loader->folders->pdata[0]));
    if (loader->n_left_out)
        lob_warning("%zu of %zu slides have no features and are left out: %s%s", loader->n_left_out,
                    cohort->n_slides, loader->left_out->str, loader->n_left_out > 20 ? " ..." : "");
    if (loader->n_foreign)
        lob_info("%zu slides of the stores are not in the study and are not used", loader->n_foreign);
    return true;
}

/* ---- rows ---- */

/* An unreadable tile's row is NaN throughout; any other NaN or infinity is damage or a faulty encoder. */
typedef enum { ROW_GOOD, ROW_UNREADABLE, ROW_BAD } RowKind;

/* Whether any of n halves is a NaN or an infinity (exponent all ones), four at a time: adding one to the
 * exponent carries into the sign bit exactly then, and never beyond it. */
static bool any_special(const uint16_t *halves, size_t n) {
    uint64_t seen = 0;
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        uint64_t four;
        memcpy(&four, halves + i, sizeof four);
        seen |= (four & 0x7c007c007c007c00u) + 0x0400040004000400u;
    }
    for (; i < n; i++)
        seen |= (uint64_t)(halves[i] & 0x7c00) + 0x0400;
    return (seen & 0x8000800080008000u) != 0;
}

static RowKind row_kind(const uint16_t *row, size_t dim) {
    if (!any_special(row, dim))
        return ROW_GOOD;
    for (size_t d = 0; d < dim; d++)
        if ((row[d] & 0x7fff) <= 0x7c00)
            return ROW_BAD;
    return ROW_UNREADABLE;
}

/* Rows of tiles that the study leaves out become NaN, like those of unreadable tiles; they stay in place, so
 * that the place of a row in a bag does not depend on the filters. */
static bool leave_out(Loader *loader, const Place *place, uint64_t first, size_t n,
                      uint8_t (*quality)[LOB_QUALITIES], bool *out, GError **err) {
    if (!lob_filters_ask_quality(loader->cohort->study))
        return true;
    if (!lob_store_read_quality(place->store, first, n, quality, err))
        return false;
    for (size_t i = 0; i < n; i++)
        out[i] = lob_filters_drop(loader->cohort->study, quality[i]);
    return true;
}

static void make_unreadable(uint16_t *row, size_t dim) {
    for (size_t d = 0; d < dim; d++)
        row[d] = 0x7e00; /* NaN */
}

/* Reads a store's slide, checks its sum, keeps its readable rows: exactly place->rows of them. */
static bool read_store_slide(Loader *loader, const Place *place, uint16_t *out, GError **err) {
    const LobStoreSlide *slide = place->slide;
    uint16_t *scratch = loader->scratch;
    size_t width = (size_t)loader->dim, step = loader->scratch_rows;
    uint32_t crc = 0;
    uint64_t kept = 0;
    g_autofree uint8_t(*quality)[LOB_QUALITIES] = g_malloc(step * sizeof *quality);
    g_autofree bool *dropped = g_new0(bool, step);
    for (uint64_t done = 0; done < slide->count; done += step) {
        size_t now = MIN(step, slide->count - done);
        uint32_t piece = 0;
        if (!lob_store_read_halves_crc(place->store, slide->first + done, now, scratch, &piece, err) ||
            !leave_out(loader, place, slide->first + done, now, quality, dropped, err))
            return false;
        crc = lob_crc32c_combine(crc, piece, now * width * (lob_store_header(place->store)->float32 ? 4 : 2));
        for (size_t r = 0; r < now; r++) {
            RowKind kind = row_kind(scratch + r * width, width);
            if (kind == ROW_BAD || (kind == ROW_GOOD && kept == place->rows))
                return lob_fail(err, LOB_ERROR_IO,
                                "%s: slide %s: row %" PRIu64 " holds %s; 'lobule store verify' tells more",
                                place->store_path, slide->slide_id, slide->first + done + r,
                                kind == ROW_BAD ? "a NaN or an infinity"
                                                : "values where the tile is unreadable");
            if (kind != ROW_GOOD)
                continue;
            memcpy(out + kept * width, scratch + r * width, width * sizeof *out);
            if (dropped[r]) {
                make_unreadable(out + kept * width, width);
                loader->n_dropped++;
            }
            kept++;
        }
    }
    if (crc != slide->crc32c || kept != place->rows)
        return lob_fail(err, LOB_ERROR_IO,
                        "%s: slide %s: rows %" PRIu64 "..%" PRIu64
                        " are damaged (checksum %08x, should be %08x); 'lobule store verify' tells more",
                        place->store_path, slide->slide_id, slide->first, slide->first + slide->count, crc,
                        slide->crc32c);
    return true;
}

/* Of the rows that are left, as many as the study takes of a slide: which, its id alone decides. */
static void cap_slide(Loader *loader, const Place *place, const char *slide_id, uint16_t *rows) {
    const LobStudy *study = loader->cohort->study;
    const size_t width = (size_t)loader->dim;
    if (!study || study->model.max_tiles_slide <= 0 || place->rows <= (uint64_t)study->model.max_tiles_slide)
        return;
    g_autofree uint32_t *left = g_new(uint32_t, place->rows);
    uint32_t n = 0;
    LobRng rng;
    for (uint32_t r = 0; r < place->rows; r++)
        if (row_kind(rows + r * width, width) == ROW_GOOD)
            left[n++] = r;
    g_autofree char *stream = g_strconcat("slide/", slide_id, NULL);
    lob_rng_init(&rng, 1, stream);
    for (; n > (uint32_t)study->model.max_tiles_slide; n--) {
        const uint32_t drawn = lob_rng_below(&rng, n);
        make_unreadable(rows + left[drawn] * width, width);
        loader->n_dropped++;
        left[drawn] = left[n - 1];
    }
}

static bool read_place(Loader *loader, const Place *place, uint16_t *out, GError **err) {
    if (place->store)
        return read_store_slide(loader, place, out, err);
    if (place->rows == 0)
        return true;
    g_autoptr(LobFeatureFile) file = lob_feature_file_open_as(place->file, wanted_encoder(loader), err);
    if (!file)
        return false;
    if (file->rows != place->rows || file->dim != loader->dim)
        return lob_fail(err, LOB_ERROR_IO, "%s: changed while it was being read", place->file);
    return lob_feature_file_read_halves(file, 0, place->rows, out, err);
}

static void count_rows(const Loader *loader, uint64_t *rows) {
    memset(rows, 0, loader->cohort->n_patients * sizeof *rows);
    for (size_t i = 0; i < loader->cohort->n_slides; i++)
        rows[loader->cohort->slides[i].patient] += loader->places[i].rows;
}

/* All are wanted, unless the caller chooses. */
static bool choose_patients(const Loader *loader, GError **err) {
    const LobCohort *cohort = loader->cohort;
    g_autofree uint64_t *rows = g_new0(uint64_t, MAX(cohort->n_patients, 1));
    memset(loader->wanted, 1, cohort->n_patients);
    count_rows(loader, rows);
    return !loader->choose || loader->choose(loader->user, rows, (size_t)loader->dim, loader->wanted, err);
}

static bool fill_set(Loader *loader, void *(*alloc)(void *, size_t), void *user, GError **err) {
    const LobCohort *cohort = loader->cohort;
    LobBagSet *set = loader->set;
    uint64_t rows = 0, at = 0;
    size_t width = (size_t)loader->dim;
    for (size_t i = 0; i < cohort->n_slides; i++)
        rows += loader->places[i].rows;
    loader->wanted = g_new0(uint8_t, MAX(cohort->n_patients, 1));
    if (!choose_patients(loader, err))
        return false;
    uint16_t *features = alloc(user, MAX(rows * width * sizeof *features, 1));
    if (!features)
        return lob_fail(err, LOB_ERROR_INTERNAL,
                        "%.1f GiB for the features of %" PRIu64 " tiles cannot be had on this node",
                        (double)(rows * width * 2) / (1 << 30), rows);
    loader->scratch_rows = MAX(SCRATCH_BYTES / (width * sizeof *features), 1);
    loader->scratch = g_new(uint16_t, loader->scratch_rows * width);
    set->first = g_new0(uint64_t, cohort->n_patients + 1);
    set->count = g_new0(uint64_t, cohort->n_patients + 1);
    set->slides = g_malloc0((cohort->n_slides + 1) * sizeof *set->slides);
    for (size_t p = 0; p < cohort->n_patients; p++) {
        const LobCohortPatient *patient = &cohort->patients[p];
        set->first[p] = at;
        for (size_t s = 0; s < patient->n_slides; s++) {
            const Place *place = &loader->places[patient->slides[s]];
            if (!place->store && !place->file)
                continue;
            if (loader->wanted[p] && ((loader->go_on && !loader->go_on(err)) ||
                                      !read_place(loader, place, features + at * width, err)))
                return false;
            if (loader->wanted[p])
                cap_slide(loader, place, cohort->slides[patient->slides[s]].slide_id, features + at * width);
            set->slides[set->n_slides].slide = patient->slides[s];
            set->slides[set->n_slides].first = at;
            set->slides[set->n_slides++].count = place->rows;
            at += place->rows;
        }
        set->count[p] = at - set->first[p];
    }
    if (loader->filtered)
        lob_info("%" PRIu64 " of %" PRIu64 " tiles are left out: %s", loader->n_dropped, rows,
                 loader->filtered);
    set->bags = (LobBags){.n_patients = cohort->n_patients,
                          .dim = width,
                          .first = set->first,
                          .count = set->count,
                          .features = features};
    if (!set->encoder)
        set->encoder = g_strdup("unknown");
    return true;
}

/* A tile whose quality was never measured is not taken for a good one. */
static bool filters_can_work(const Loader *loader, GError **err) {
    const bool asks = lob_filters_ask_quality(loader->cohort->study);
    const char *without = asks && loader->folders->len > 0 ? loader->folders->pdata[0] : NULL;
    for (guint s = 0; asks && s < loader->stores->len && !without; s++)
        if (!lob_store_header(loader->stores->pdata[s])->quality)
            without = loader->store_paths->pdata[s];
    return !without ||
           lob_fail(
               err, LOB_ERROR_INPUT,
               "the study leaves tiles out (%s), but %s has no columns of tile quality: embed its slides "
               "anew, or take the filters away",
               loader->filtered, without);
}

bool lob_bags_load(const LobCohort *cohort, const char *const *sources,
                   void *(*alloc)(void *user, size_t size), void *user, LobBagSet *set, GError **err) {
    return lob_bags_load_some(cohort, sources, NULL, NULL, alloc, user, set, err);
}

static Loader loader_of(const LobCohort *cohort, LobBagSet *set) {
    *set = (LobBagSet){0};
    return (Loader){.cohort = cohort,
                    .set = set,
                    .stores = g_ptr_array_new_with_free_func((GDestroyNotify)lob_store_close),
                    .store_paths = g_ptr_array_new_with_free_func(g_free),
                    .folders = g_ptr_array_new_with_free_func(g_free),
                    .trouble = g_string_new(NULL),
                    .left_out = g_string_new(NULL),
                    .filtered = lob_filters_text(cohort->study)};
}

bool lob_bags_load_some(const LobCohort *cohort, const char *const *sources,
                        bool (*choose)(void *user, const uint64_t *rows, size_t dim, uint8_t *wanted,
                                       GError **err),
                        bool (*go_on)(GError **err), void *(*alloc)(void *user, size_t size), void *user,
                        LobBagSet *set, GError **err) {
    g_auto(Loader) loader = loader_of(cohort, set);
    loader.choose = choose;
    loader.go_on = go_on;
    loader.user = user;
    if (add_sources(&loader, sources, err) && filters_can_work(&loader, err) && place_slides(&loader, err) &&
        fill_set(&loader, alloc, user, err))
        return true;
    lob_bag_set_clear(set);
    return false;
}

static double foreign_bytes(Loader *loader) {
    const GPtrArray *paths = foreign_files(loader);
    double bytes = 0;
    for (guint i = 0; i < paths->len; i++) {
        GStatBuf is;
        bytes += g_stat(paths->pdata[i], &is) == 0 ? (double)is.st_size : 0;
    }
    return bytes;
}

bool lob_bags_count(const LobCohort *cohort, const char *const *sources, double most_bytes, uint64_t *rows,
                    int *dim, double *bytes, GError **err) {
    LobBagSet set;
    g_auto(Loader) loader = loader_of(cohort, &set);
    *dim = 0;
    *bytes = 0;
    if (!add_sources(&loader, sources, err))
        return false;
    if (!rows || (*bytes = foreign_bytes(&loader)) > most_bytes)
        return true;
    const bool ok = filters_can_work(&loader, err) && place_slides(&loader, err);
    if (ok) {
        count_rows(&loader, rows);
        *dim = loader.dim;
    }
    lob_bag_set_clear(&set);
    return ok;
}

void lob_bag_set_clear(LobBagSet *set) {
    g_free(set->first);
    g_free(set->count);
    g_free(set->encoder);
    g_strfreev(set->columns);
    g_free(set->slides);
    *set = (LobBagSet){0};
}
