/* Export and import back give the same bits; verify finds flipped ones and says where. */
#include "hdf5io/hdf5io_internal.h"
#include "hdf5io_fixture.h"
#include <math.h>
#include <string.h>
#include <unistd.h>

static const char table_text[] = "slide_id,patient_id,center,mpp\na,p1,east,0.255\n"
                                 "b-\xc3\xa9tude,p1,east,0.255\nc,p2,west,0.255\nd,p3,west,0.255\n";

typedef struct {
    char *folder, *store, *files, *table, *back;
    Fixture fixture;
} Work;

static Work work_new(void) {
    Work w = {.folder = fix_folder(), .fixture = fix_make()};
    w.store = g_build_filename(w.folder, "part-0001.h5", NULL);
    w.files = g_build_filename(w.folder, "files", NULL);
    w.table = g_build_filename(w.folder, "slides.csv", NULL);
    w.back = g_build_filename(w.folder, "back.h5", NULL);
    cr_assert(g_file_set_contents(w.table, table_text, -1, NULL));
    lob_log_setup(LOB_LOG_ERROR, 0);
    return w;
}

static void work_clear(Work *w) {
    fix_clear(&w->fixture);
    g_free(w->folder);
    g_free(w->store);
    g_free(w->files);
    g_free(w->table);
    g_free(w->back);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Work, work_clear)

static bool export_as(const Work *w, LobFeatureFormat format, bool replace, GError **err) {
    size_t slides = 0;
    uint64_t left_out = 0;
    g_autoptr(LobStore) store = lob_store_open(w->store, err);
    bool ok = store && lob_store_export(store, format, w->files, replace, &slides, &left_out, err);
    cr_expect(!ok || (slides == 3 && left_out == 1), "%zu slides, %" PRIu64 " tiles left out", slides,
              left_out);
    return ok;
}

static bool import_back(const Work *w, const LobImportOptions *options, GError **err) {
    const char *files[] = {w->files, NULL};
    size_t slides = 0;
    uint64_t rows = 0;
    bool ok = lob_store_import(files, options, w->back, &slides, &rows, err);
    cr_expect(!ok || (slides == 3 && rows == 42));
    return ok;
}

/* The readable rows of slides a and c, in the stored type, and their places. */
static void expect_same_rows(const Work *w, bool float32) {
    g_autoptr(LobStore) before = lob_store_open(w->store, NULL), after = lob_store_open(w->back, NULL);
    cr_assert(before && after);
    cr_expect(lob_store_header(after)->float32 == float32);
    float a[43][FIX_DIM], b[42][FIX_DIM];
    int32_t xy_a[43][2], xy_b[42][2];
    FIX_OK(lob_store_read_floats(before, 0, 43, a[0], err));
    FIX_OK(lob_store_read_floats(after, 0, 42, b[0], err));
    FIX_OK(lob_store_read_coords(before, 0, 43, xy_a, err));
    FIX_OK(lob_store_read_coords(after, 0, 42, xy_b, err));
    memmove(a[4], a[5], 38 * sizeof a[0]); /* row 4 is the unreadable tile */
    memmove(xy_a[4], xy_a[5], 38 * sizeof xy_a[0]);
    cr_expect(memcmp(a, b, sizeof b) == 0);
    cr_expect(memcmp(xy_a, xy_b, sizeof xy_b) == 0);
    size_t n = 0;
    const LobStoreSlide *slides = lob_store_slides(after, &n);
    cr_assert(n == 3);
    cr_expect_str_eq(slides[1].slide_id, "b-\xc3\xa9tude");
    cr_expect_str_eq(slides[2].center, "west");
    cr_expect(slides[2].first == 3 && slides[2].count == 39 && slides[2].mpp_x == 0.255);
    cr_expect_str_eq(lob_store_header(after)->encoder, "texture");
    cr_expect(lob_store_header(after)->tile_size == 224 && lob_store_header(after)->tile_mpp == 0.5);
}

Test(hdf5io_exchange, round_trips_give_identical_bits) {
    for (int format = 0; format < 3; format++) {
        for (int float32 = 0; float32 < 2; float32++) {
            g_auto(Work) w = work_new();
            w.fixture.header.float32 = float32 && format != LOB_FORMAT_STAMP;
            fix_write(&w.fixture, w.store, true);
            FIX_OK(export_as(&w, (LobFeatureFormat)format, false, err));
            LobImportOptions options = {.slides = w.table, .float16 = !float32};
            if (format == LOB_FORMAT_CLAM) { /* CLAM's files keep neither encoder nor scale */
                options.encoder = "texture";
                options.tile_size = 224;
                options.tile_mpp = 0.5;
            }
            FIX_OK(import_back(&w, &options, err));
            expect_same_rows(&w, float32 && format != LOB_FORMAT_STAMP);
        }
    }
}

Test(hdf5io_exchange, what_is_ambiguous_or_contradictory_is_refused) {
    g_auto(Work) w = work_new();
    fix_write(&w.fixture, w.store, true);
    FIX_OK(export_as(&w, LOB_FORMAT_CLAM, false, err));
    FIX_FAILS(export_as(&w, LOB_FORMAT_CLAM, false, err), LOB_ERROR_INPUT, "exists already");
    LobImportOptions o = {.slides = w.table};
    FIX_FAILS(import_back(&w, &o, err), LOB_ERROR_INPUT, "does not say its encoder");
    o.encoder = "texture";
    FIX_FAILS(import_back(&w, &o, err), LOB_ERROR_INPUT, "does not say its tile size: give --tile-size");
    o.tile_size = 224;
    FIX_FAILS(import_back(&w, &o, err), LOB_ERROR_INPUT, "does not say its tile mpp: give --tile-mpp");
    o.tile_mpp = 0.5;
    cr_assert(g_file_set_contents(w.table, "slide_id,patient_id,center\na,p1,east\n", -1, NULL));
    FIX_FAILS(import_back(&w, &o, err), LOB_ERROR_INPUT, "does not say the slide's mpp");
    o.mpp = 0.25;
    FIX_FAILS(import_back(&w, &o, err), LOB_ERROR_INPUT, "is not in ");
    cr_expect(!g_file_test(w.back, G_FILE_TEST_EXISTS), "nothing half-made is left");
    o.slides = NULL;
    FIX_FAILS(import_back(&w, &o, err), LOB_ERROR_INPUT, "give --slides");
}

Test(hdf5io_exchange, options_may_not_contradict_the_files) {
    g_auto(Work) w = work_new();
    fix_write(&w.fixture, w.store, true);
    FIX_OK(export_as(&w, LOB_FORMAT_TRIDENT, false, err));
    FIX_FAILS(import_back(&w, &(LobImportOptions){.slides = w.table, .encoder = "uni"}, err), LOB_ERROR_INPUT,
              "was made by encoder texture, --encoder says uni");
    FIX_FAILS(import_back(&w, &(LobImportOptions){.slides = w.table, .tile_size = 256}, err), LOB_ERROR_INPUT,
              "says tile size 224, --tile-size 256");
}

/* ---- verify ---- */

static void flip_row(const char *path, uint64_t row) {
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT), set = H5Dopen2(file, "features", H5P_DEFAULT);
    g_auto(LobHid) half = lob_h5_half_type(NULL);
    uint16_t values[FIX_DIM];
    cr_assert(lob_h5_read_rows(set, half, row, 1, values, "features", NULL));
    values[2] ^= 8;
    cr_assert(lob_h5_write_rows(set, half, row, 1, values, "features", NULL));
    H5Dclose(set);
    H5Fclose(file);
}

static void expect_damage(const char *path, const char *slide, uint64_t first, uint64_t count) {
    LobStoreReport report;
    FIX_OK(lob_store_verify(path, &report, err));
    cr_expect(report.n_damage == (slide != NULL), "%zu damaged", report.n_damage);
    if (slide && report.n_damage) {
        cr_expect_str_eq(report.damage[0].slide_id, slide);
        cr_expect(report.damage[0].first == first && report.damage[0].count == count,
                  "rows %" PRIu64 " + %" PRIu64, report.damage[0].first, report.damage[0].count);
        cr_expect(strstr(report.damage[0].what, "checksum") != NULL);
    }
    lob_store_report_clear(&report);
}

static void journal_ranges(const Work *w) {
    g_autofree char *path = lob_journal_path(w->store);
    LobJournal *journal = lob_journal_open(path, NULL, NULL, NULL);
    cr_assert(journal != NULL);
    for (uint64_t first = 0; first < 40; first += 16) {
        uint64_t n = MIN(16, 40 - first);
        g_autofree uint16_t *halves = g_new(uint16_t, n * FIX_DIM);
        lob_halves_from_floats(halves, w->fixture.features + (3 + first) * FIX_DIM, n * FIX_DIM);
        LobJournalRecord record = {.kind = LOB_J_RANGE,
                                   .slide_id = "c",
                                   .first = first,
                                   .count = n,
                                   .crc = lob_crc32c(0, halves, n * FIX_DIM * 2)};
        LobJournalRecord replaced = record; /* the range was first dealt whole, then again in parts */
        replaced.count = 40;
        replaced.crc = 1;
        if (first == 0)
            FIX_OK(lob_journal_append(journal, &replaced, err));
        FIX_OK(lob_journal_append(journal, &record, err));
    }
    FIX_OK(lob_journal_sync(journal, err));
    lob_journal_close(journal);
}

Test(hdf5io_verify, a_finished_store_says_which_slide) {
    g_auto(Work) w = work_new();
    fix_write(&w.fixture, w.store, true);
    expect_damage(w.store, NULL, 0, 0);
    flip_row(w.store, 44); /* of a failed slide: its rows are not to be used, so nothing is lost */
    expect_damage(w.store, NULL, 0, 0);
    flip_row(w.store, 20);
    expect_damage(w.store, "c", 3, 40);
    FIX_FAILS(export_as(&w, LOB_FORMAT_STAMP, false, err), LOB_ERROR_IO, "slide c: its rows are damaged");
    journal_ranges(&w);
    expect_damage(w.store, "c", 19, 16);
}

Test(hdf5io_verify, an_unfinished_store_goes_by_its_journal) {
    g_auto(Work) w = work_new();
    fix_write(&w.fixture, w.store, false);
    expect_damage(w.store, NULL, 0, 0);
    journal_ranges(&w);
    expect_damage(w.store, NULL, 0, 0);
    g_autoptr(LobStore) store = lob_store_open(w.store, NULL);
    uint64_t done[4] = {9, 9, 9, 9};
    FIX_OK(lob_store_rows_done(w.store, store, done, err));
    cr_expect(done[0] == 0 && done[2] == 40 && done[3] == 0);
    g_clear_pointer(&store, lob_store_close);
    flip_row(w.store, 41);
    expect_damage(w.store, "c", 35, 8);
    g_autofree char *path = lob_journal_path(w.store);
    LobJournal *journal = lob_journal_open(path, NULL, NULL, NULL);
    cr_assert(journal != NULL);
    FIX_OK(lob_journal_append(
        journal,
        &(LobJournalRecord){
            .kind = LOB_J_RANGE, .slide_id = "c", .first = 32, .count = 8, .text = LOB_J_VOID},
        err));
    FIX_OK(lob_journal_sync(journal, err));
    lob_journal_close(journal);
    expect_damage(w.store, NULL, 0, 0);
    store = lob_store_open(w.store, NULL);
    FIX_OK(lob_store_rows_done(w.store, store, done, err));
    cr_expect(done[2] == 32);
}

Test(hdf5io_verify, every_flipped_bit_of_a_slides_rows_is_found) {
    g_auto(Work) w = work_new();
    fix_write(&w.fixture, w.store, true);
    g_autofree char *data = NULL;
    size_t size = 0;
    cr_assert(g_file_get_contents(w.store, &data, &size, NULL));
    hid_t file = H5Fopen(w.store, H5F_ACC_RDONLY, H5P_DEFAULT), set = H5Dopen2(file, "features", H5P_DEFAULT);
    size_t offset = (size_t)H5Dget_offset(set);
    H5Dclose(set);
    H5Fclose(file);
    for (size_t byte = 0; byte < 3 * FIX_DIM * 2; byte++) {
        data[offset + byte] ^= (char)(1 << (byte % 8));
        cr_assert(g_file_set_contents(w.store, data, (gssize)size, NULL));
        data[offset + byte] ^= (char)(1 << (byte % 8));
        expect_damage(w.store, "a", 0, 3);
    }
}
