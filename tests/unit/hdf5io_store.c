/* Writing and reading parts, h5py as the independent reader, and stores made to mislead. */
#include "hdf5io/hdf5io_internal.h"
#include "hdf5io_fixture.h"
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char *path_in(const char *folder, const char *name) {
    return g_build_filename(folder, name, NULL);
}

static void expect_rows(LobStore *store, const Fixture *f) {
    g_autoptr(GError) err = NULL;
    g_autofree uint16_t *halves = g_new(uint16_t, f->rows * FIX_DIM);
    g_autofree uint16_t *wanted = g_new(uint16_t, f->rows * FIX_DIM);
    lob_halves_from_floats(wanted, f->features, f->rows * FIX_DIM);
    cr_assert(lob_store_read_halves(store, 0, f->rows, halves, &err));
    cr_expect(memcmp(halves, wanted, f->rows * FIX_DIM * 2) == 0);
    int32_t xy[45][2];
    uint8_t tissue[45];
    cr_assert(lob_store_read_coords(store, 0, f->rows, xy, &err));
    cr_assert(lob_store_read_tissue(store, 0, f->rows, tissue, &err));
    cr_expect(memcmp(xy, f->coords, sizeof xy) == 0);
    cr_expect(memcmp(tissue, f->tissue, sizeof tissue) == 0);
}

static void round_trip(bool float32) {
    g_autofree char *folder = fix_folder();
    g_autofree char *path = path_in(folder, "part-0001.h5");
    Fixture f = fix_make();
    f.header.float32 = float32;
    fix_write(&f, path, true);
    g_autoptr(GError) err = NULL;
    g_autoptr(LobStore) store = lob_store_open(path, &err);
    cr_assert(store != NULL, "%s", err ? err->message : "");
    cr_expect(lob_store_finished(store));
    cr_expect(lob_store_rows(store) == 45);
    const LobStoreHeader *header = lob_store_header(store);
    cr_expect(header->float32 == float32);
    cr_expect(lob_store_header_agree(header, &f.header, "store", "study", NULL));
    cr_expect_str_eq(header->columns[2], "chromatin");
    cr_expect_str_eq(header->openslide, "3.4.1");
    expect_rows(store, &f);
    size_t n = 0;
    const LobStoreSlide *slides = lob_store_slides(store, &n);
    cr_assert(n == 4);
    cr_expect_str_eq(slides[1].slide_id, "b-\xc3\xa9tude");
    cr_expect_str_eq(slides[2].center, "west");
    cr_expect(slides[2].first == 3 && slides[2].count == 40 && slides[2].unreadable == 1);
    cr_expect(slides[3].state == LOB_STATE_FAILED && slides[0].state == LOB_STATE_DONE);
    cr_expect(slides[0].mpp_y == 0.26 && slides[0].file_size == 1234567);
    for (size_t i = 0; i < n; i++) {
        uint32_t crc = 1;
        cr_assert(lob_store_crc_rows(store, slides[i].first, slides[i].count, &crc, &err));
        cr_expect(crc == slides[i].crc32c);
    }
    cr_expect(lob_part_open(path, MPI_COMM_NULL, NULL) == NULL, "a finished part is not opened for writing");
    cr_expect(lob_part_create(path, MPI_COMM_NULL, &f.header, f.slides, 4, NULL, NULL, NULL) == NULL);
    int initialised = 1;
    MPI_Initialized(&initialised);
    cr_expect(!initialised, "a serial store needs no MPI_Init");
    fix_clear(&f);
}

Test(hdf5io_store, round_trip_of_float16) {
    round_trip(false);
}

Test(hdf5io_store, round_trip_of_float32) {
    round_trip(true);
}

Test(hdf5io_store, a_part_without_rows_or_slides) {
    g_autofree char *folder = fix_folder();
    g_autoptr(GError) err = NULL;
    Fixture f = fix_make();
    for (size_t n = 0; n <= 1; n++) {
        g_autofree char *path = g_strdup_printf("%s/part-%zu.h5", folder, n);
        LobPart *part = lob_part_create(path, MPI_COMM_NULL, &f.header, &(LobStoreSlide){.slide_id = "z"}, n,
                                        NULL, NULL, &err);
        cr_assert(part != NULL, "%s", err ? err->message : "");
        LobStoreSlide end = {.slide_id = "z", .state = LOB_STATE_DONE};
        cr_assert(lob_part_write_rows(part, 0, 0, NULL, NULL, &err));
        cr_assert(lob_part_finish(part, &end, n, &err), "%s", err ? err->message : "");
        g_autoptr(LobStore) store = lob_store_open(path, &err);
        cr_assert(store != NULL, "%s", err ? err->message : "");
        size_t slides = 9;
        lob_store_slides(store, &slides);
        cr_expect(slides == n && lob_store_rows(store) == 0 && lob_store_finished(store));
    }
    fix_clear(&f);
}

Test(hdf5io_store, an_unfinished_part_is_continued) {
    g_autofree char *folder = fix_folder();
    g_autofree char *path = path_in(folder, "part-0001.h5");
    g_autoptr(GError) err = NULL;
    Fixture f = fix_make();
    fix_write(&f, path, false);
    LobPart *part = lob_part_open(path, MPI_COMM_NULL, &err);
    cr_assert(part != NULL, "%s", err ? err->message : "");
    f.features[0] = 42;
    uint32_t crc = 0;
    cr_assert(lob_part_write_rows(part, 0, 3, f.features, &crc, &err));
    f.slides[0].crc32c = crc;
    cr_assert(lob_part_finish(part, f.slides, 4, &err), "%s", err ? err->message : "");
    g_autoptr(LobStore) store = lob_store_open(path, &err);
    cr_assert(store != NULL);
    cr_expect(lob_store_finished(store));
    expect_rows(store, &f);
    fix_clear(&f);
}

Test(hdf5io_store, finishing_is_refused_while_slides_are_pending_or_others) {
    g_autofree char *folder = fix_folder();
    g_autofree char *path = path_in(folder, "part-0001.h5");
    Fixture f = fix_make();
    fix_write(&f, path, false);
    f.slides[2].state = LOB_STATE_PENDING;
    LobPart *part = lob_part_open(path, MPI_COMM_NULL, NULL);
    FIX_FAILS(lob_part_finish(part, f.slides, 4, err), LOB_ERROR_INTERNAL, "slide c is still pending");
    f.slides[2].state = LOB_STATE_DONE;
    f.slides[2].slide_id = "other";
    part = lob_part_open(path, MPI_COMM_NULL, NULL);
    FIX_FAILS(lob_part_finish(part, f.slides, 4, err), LOB_ERROR_INTERNAL, "not the one it was made with");
    g_autoptr(LobStore) store = lob_store_open(path, NULL);
    cr_assert(store != NULL);
    cr_expect(!lob_store_finished(store));
    fix_clear(&f);
}

Test(hdf5io_store, rows_survive_sigkill_of_the_writer) {
    g_autofree char *folder = fix_folder();
    g_autofree char *path = path_in(folder, "part-0001.h5");
    Fixture f = fix_make();
    pid_t child = fork();
    if (child == 0) {
        LobPart *part = lob_part_create(path, MPI_COMM_NULL, &f.header, f.slides, 4,
                                        (const int32_t(*)[2])f.coords, f.tissue, NULL);
        if (part && lob_part_write_rows(part, 3, 20, f.features + 3 * FIX_DIM, NULL, NULL))
            kill(getpid(), SIGKILL);
        _exit(1);
    }
    int status = 0;
    cr_assert(waitpid(child, &status, 0) == child);
    cr_assert(WIFSIGNALED(status));
    g_autoptr(GError) err = NULL;
    g_autoptr(LobStore) store = lob_store_open(path, &err);
    cr_assert(store != NULL, "%s", err ? err->message : "");
    cr_expect(!lob_store_finished(store));
    uint16_t halves[20 * FIX_DIM], wanted[20 * FIX_DIM];
    lob_halves_from_floats(wanted, f.features + 3 * FIX_DIM, 20 * FIX_DIM);
    cr_assert(lob_store_read_halves(store, 3, 20, halves, &err));
    cr_expect(memcmp(halves, wanted, sizeof wanted) == 0);
    fix_clear(&f);
}

Test(hdf5io_store, h5py_reads_it_as_plain_numpy) {
    g_autofree char *folder = fix_folder();
    g_autofree char *path = path_in(folder, "part-0001.h5");
    Fixture f = fix_make();
    fix_write(&f, path, true);
    static const char script[] =
        "import h5py, sys, numpy as np\n"
        "f = h5py.File(sys.argv[1], 'r')\n"
        "x = f['features'][:]\n"
        "print(x.dtype, x.shape, f['coords'].dtype, f['coords'].shape, f['tissue'].dtype, f['clean'][0])\n"
        "print(f['features'].chunks, f['features'].compression, f.libver[0])\n"
        "print(','.join(v.decode() for v in f['slides/slide_id'][:]))\n"
        "print(f['slides/first'][:].tolist(), f['slides/count'][:].tolist(), f['slides/state'][:].tolist())\n"
        "print(f['slides/mpp'][:].tolist(), f['slides/crc32c'].dtype, f['columns'][4].decode())\n"
        "print(f.attrs['encoder'].decode(), f.attrs['lobule_store'], f.attrs['tile_mpp'])\n"
        "print(x[0].astype('float32').tobytes().hex(), np.isnan(x[4]).all(), int(np.isnan(x).sum()))\n";
    g_autofree char *out = NULL;
    if (fix_python(script, path, &out) < 0)
        cr_skip_test("python3-h5py is not installed");
    g_autoptr(GString) wanted = g_string_new(
        "float16 (45, 5) int32 (45, 2) uint8 1\nNone None earliest\na,b-\xc3\xa9tude,c,d\n"
        "[0, 3, 3, 43] [3, 0, 40, 2] [1, 1, 1, 2]\n[0.255, 0.255, 0.255, 0.255] uint32 e\ntexture 1 0.5\n");
    for (int d = 0; d < FIX_DIM; d++) {
        float rounded = lob_float_from_half(lob_half_from_float(f.features[d]));
        const uint8_t *byte = (const uint8_t *)&rounded;
        g_string_append_printf(wanted, "%02x%02x%02x%02x", byte[0], byte[1], byte[2], byte[3]);
    }
    g_string_append(wanted, " True 5\n");
    cr_expect_str_eq(out, wanted->str);
    fix_clear(&f);
}

Test(hdf5io_store, contents_hold_no_path_and_no_time) {
    g_autofree char *folder = fix_folder();
    char *data[2] = {NULL, NULL};
    size_t size[2];
    for (int i = 0; i < 2; i++) {
        g_autofree char *path = g_strdup_printf("%s/part-%d.h5", folder, i);
        Fixture f = fix_make();
        fix_write(&f, path, true);
        fix_clear(&f);
        cr_assert(g_file_get_contents(path, &data[i], &size[i], NULL));
        cr_expect(memmem(data[i], size[i], folder, strlen(folder)) == NULL);
    }
    cr_expect(size[0] == size[1] && memcmp(data[0], data[1], size[0]) == 0, "two writings are the same file");
    g_free(data[0]);
    g_free(data[1]);
}

/* ---- stores made to mislead ---- */

static void rewrite_number(const char *path, const char *dataset, hsize_t at, hid_t type, const void *value) {
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT), set = H5Dopen2(file, dataset, H5P_DEFAULT);
    cr_assert(lob_h5_write_rows(set, type, at, 1, value, dataset, NULL));
    H5Dclose(set);
    H5Fclose(file);
}

static void replace_dataset(const char *path, const char *name, hid_t type, int rank, const hsize_t *dims) {
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    cr_assert(H5Ldelete(file, name, H5P_DEFAULT) >= 0);
    if (rank > 0) {
        hid_t space = H5Screate_simple(rank, dims, NULL);
        hid_t set = H5Dcreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        cr_assert(set >= 0);
        H5Dclose(set);
        H5Sclose(space);
    }
    H5Fclose(file);
}

static void expect_refused(const char *path, const char *text) {
    FIX_FAILS(lob_store_open(path, err), LOB_ERROR_INPUT, text);
}

#define WITH_STORE(path)                                                                                     \
    g_autofree char *folder = fix_folder();                                                                  \
    g_autofree char *path = path_in(folder, "part-0001.h5");                                                 \
    Fixture fixture = fix_make();                                                                            \
    fix_write(&fixture, path, true);                                                                         \
    fix_clear(&fixture);

Test(hdf5io_store, missing_and_misshapen_datasets_are_named) {
    static const struct {
        const char *name;
        int rank;
        hsize_t dims[2];
        const char *says;
    } cases[] = {
        {"features", 0, {0}, "dataset features is missing"},
        {"coords", 0, {0}, "dataset coords is missing"},
        {"clean", 0, {0}, "dataset clean is missing"},
        {"slides", 0, {0}, "group slides is missing"},
        {"slides/state", 0, {0}, "dataset slides/state is missing"},
        {"features", 1, {45}, "features should have 2 dimensions"},
        {"features", 2, {45, 5}, "should be float16 or float32"},
        {"coords", 2, {44, 2}, "/coords should be int32 [45][2]"},
        {"tissue", 1, {44}, "/tissue should be uint8 [45]"},
        {"slides/first", 1, {4}, "slides/first has the wrong type"},
        {"slides/crc32c", 1, {3}, "has 3 entries where"},
        {"slides/center", 1, {4}, "should hold texts of fixed length"},
        {"columns", 1, {4}, "should hold texts of fixed length"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        WITH_STORE(path);
        replace_dataset(path, cases[i].name, H5T_STD_I32LE, cases[i].rank, cases[i].dims);
        expect_refused(path, cases[i].says);
    }
}

Test(hdf5io_store, impossible_slide_tables_are_named) {
    static const struct {
        const char *name;
        hsize_t at;
        uint64_t value;
        const char *says;
    } cases[] = {
        {"slides/first", 2, 2, "slides a and c claim the same rows"},
        {"slides/count", 3, 3, "slide d claims 3 rows"},
        {"slides/first", 3, UINT64_MAX, "outside the 45 there are"},
        {"slides/count", 2, UINT64_MAX - 2, "outside the 45 there are"},
        {"slides/state", 0, 4, "slide a has state 4"},
        {"slides/state", 0, 0, "slide a is pending in a finished store"},
        {"slides/unreadable", 0, 4, "4 unreadable tiles of 3"},
        {"clean", 0, 7, "/clean is 7"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        WITH_STORE(path);
        bool wide = strstr(cases[i].name, "first") || strstr(cases[i].name, "count");
        bool middle = strstr(cases[i].name, "unreadable") != NULL;
        rewrite_number(path, cases[i].name, cases[i].at,
                       wide     ? H5T_STD_U64LE
                       : middle ? H5T_STD_U32LE
                                : H5T_STD_U8LE,
                       &cases[i].value);
        expect_refused(path, cases[i].says);
    }
}

Test(hdf5io_store, newer_versions_and_other_files_are_refused) {
    WITH_STORE(path);
    g_autofree char *other = path_in(folder, "other.h5"), *text = path_in(folder, "text.h5");
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    cr_assert(H5Adelete(file, "lobule_store") >= 0);
    cr_assert(lob_h5_write_number(file, "lobule_store", H5T_STD_I64LE, 2, NULL));
    H5Fclose(file);
    expect_refused(path, "store version 2 is newer than this program");
    file = H5Fcreate(other, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    H5Fclose(file);
    expect_refused(other, "not a lobule store");
    cr_assert(g_file_set_contents(text, "hello", -1, NULL));
    expect_refused(text, "not a readable HDF5 file");
    expect_refused(folder, "not a file");
    g_autofree char *none = path_in(folder, "none.h5");
    expect_refused(none, "no such file");
}

Test(hdf5io_store, links_to_other_files_are_refused) {
    WITH_STORE(path);
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    cr_assert(H5Lmove(file, "features", file, "real", H5P_DEFAULT, H5P_DEFAULT) >= 0);
    cr_assert(H5Lcreate_external(path, "/real", file, "features", H5P_DEFAULT, H5P_DEFAULT) >= 0);
    H5Fclose(file);
    expect_refused(path, "points outside this file");
}

Test(hdf5io_store, every_truncation_is_refused_or_read) {
    WITH_STORE(path);
    g_autofree char *data = NULL;
    size_t size = 0;
    cr_assert(g_file_get_contents(path, &data, &size, NULL));
    for (size_t cut = 0; cut < size; cut += cut < 2048 ? 97 : 1009) {
        cr_assert(g_file_set_contents(path, data, (gssize)cut, NULL));
        g_autoptr(GError) err = NULL;
        g_autoptr(LobStore) store = lob_store_open(path, &err);
        cr_expect(store == NULL, "a store cut at %zu of %zu bytes opens", cut, size);
        cr_expect(store != NULL || err != NULL);
    }
}

Test(hdf5io_store, headers_that_differ_say_how) {
    Fixture f = fix_make();
    LobStoreHeader other = f.header;
    other.encoder = "uni";
    other.tile_mpp = 0.25;
    FIX_FAILS(lob_store_header_agree(&f.header, &other, "store", "study", err), LOB_ERROR_INPUT,
              "encoder: store 'texture', study 'uni'; tile mpp: store 0.5, study 0.25");
    other = f.header;
    other.weights_sha256 = NULL;
    other.cpu = "another";
    cr_expect(lob_store_header_agree(&f.header, &other, "store", "study", NULL));
    fix_clear(&f);
}

/* Two presets of one name on the same weights; a store from before this was recorded goes with its like
 * alone.
 */
Test(hdf5io_store, headers_tell_networks_apart) {
    Fixture f = fix_make();
    LobStoreHeader class = f.header, mean = f.header, other = f.header, old = f.header, older = f.header;
    class.transform = "crop=224,mean=0:0:0,sd=1:1:1,output=class,network=0123456789ab";
    mean.transform = "crop=224,mean=0:0:0,sd=1:1:1,output=mean,network=0123456789ab";
    other.transform = "crop=224,mean=0:0:0,sd=1:1:1,output=class,network=ba9876543210";
    old.transform = "crop=224,mean=0:0:0,sd=1:1:1";
    older.transform = "crop=224,mean=0:0:0,sd=1:1:2";
    FIX_FAILS(lob_store_header_agree(&class, &mean, "one", "two", err), LOB_ERROR_INPUT,
              "transform: one 'crop=224,mean=0:0:0,sd=1:1:1,output=class,network=0123456789ab', two "
              "'crop=224,mean=0:0:0,sd=1:1:1,output=mean");
    FIX_FAILS(lob_store_header_agree(&class, &other, "one", "two", err), LOB_ERROR_INPUT, "transform: one");
    cr_expect(lob_store_header_agree(&class, &class, "one", "two", NULL));
    cr_expect(lob_store_header_agree(&old, &old, "one", "two", NULL));
    FIX_FAILS(lob_store_header_agree(&class, &old, "one", "two", err), LOB_ERROR_INPUT,
              "do not go together: two does not say which output of which network it holds");
    FIX_FAILS(lob_store_header_agree(&old, &class, "one", "two", err), LOB_ERROR_INPUT,
              "do not go together: one does not say which output of which network it holds");
    FIX_FAILS(lob_store_header_agree(&older, &class, "one", "two", err), LOB_ERROR_INPUT, "transform: one");
    FIX_FAILS(lob_store_header_agree(&class, &older, "one", "two", err), LOB_ERROR_INPUT, "transform: one");
    fix_clear(&f);
}

Test(hdf5io_store, combined_checksums_equal_chained_ones) {
    uint8_t bytes[1000];
    LobRng rng;
    lob_rng_init(&rng, 3, "crc");
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)lob_rng_below(&rng, 256);
    const uint32_t whole = lob_crc32c_reference(0, bytes, sizeof bytes);
    for (size_t cut = 0; cut <= sizeof bytes; cut += 37) {
        uint32_t a = lob_crc32c_reference(0, bytes, cut);
        uint32_t b = lob_crc32c_reference(0, bytes + cut, sizeof bytes - cut);
        cr_expect(lob_crc32c_combine(a, b, sizeof bytes - cut) == whole);
    }
}
