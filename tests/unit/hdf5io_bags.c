/* Bags from stores and from other tools' files, against numbers that h5py read. */
#include "hdf5io/feature_file.h"
#include "hdf5io_fixture.h"
#include <math.h>
#include <string.h>
#include <unistd.h>

static void *plain_alloc(void *user, size_t size) {
    void **block = user;
    g_free(*block); /* of the load before */
    return *block = g_malloc(size);
}

/* A cohort by hand: slides in order of id, each naming its patient. */
typedef struct {
    LobCohort cohort;
    LobCohortSlide slides[100];
    LobCohortPatient patients[100];
    uint32_t index[100];
} Hand;

static void hand_add(Hand *hand, const char *slide_id, const char *patient_id) {
    LobCohort *c = &hand->cohort;
    c->slides = hand->slides;
    c->patients = hand->patients;
    if (c->n_patients == 0 || strcmp(hand->patients[c->n_patients - 1].patient_id, patient_id) != 0)
        hand->patients[c->n_patients++] =
            (LobCohortPatient){.patient_id = g_strdup(patient_id), .slides = hand->index + c->n_slides};
    hand->patients[c->n_patients - 1].n_slides++;
    hand->index[c->n_slides] = (uint32_t)c->n_slides;
    hand->slides[c->n_slides++] =
        (LobCohortSlide){.slide_id = g_strdup(slide_id), .patient = (uint32_t)c->n_patients - 1};
}

static void hand_free(Hand *hand) {
    for (size_t i = 0; i < hand->cohort.n_slides; i++)
        g_free(hand->slides[i].slide_id);
    for (size_t i = 0; i < hand->cohort.n_patients; i++)
        g_free(hand->patients[i].patient_id);
    g_free(hand);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Hand, hand_free)

static void rename_text(char **text, const char *to) {
    g_free(*text);
    *text = g_strdup(to);
}

static Hand *fixture_hand(void) {
    Hand *hand = g_new0(Hand, 1);
    hand_add(hand, "a", "p1");
    hand_add(hand, "b-\xc3\xa9tude", "p1");
    hand_add(hand, "c", "p2");
    hand_add(hand, "d", "p3");
    hand_add(hand, "z", "p4");
    return hand;
}

static bool load(Hand *hand, const char *source, const char *second, LobBagSet *set, void **block,
                 GError **err) {
    const char *sources[] = {source, second, NULL};
    return lob_bags_load(&hand->cohort, sources, plain_alloc, block, set, err);
}

Test(hdf5io_bags, a_store_in_patient_order_without_unreadable_and_failed) {
    g_autofree char *folder = fix_folder();
    g_autofree char *path = g_build_filename(folder, "part-0001.h5", NULL);
    for (int float32 = 0; float32 < 2; float32++) {
        Fixture f = fix_make();
        f.header.float32 = float32;
        unlink(path);
        fix_write(&f, path, true);
        lob_log_setup(LOB_LOG_ERROR, 0);
        g_autoptr(Hand) hand = fixture_hand();
        g_autofree void *block = NULL;
        LobBagSet set;
        FIX_OK(load(hand, folder, NULL, &set, &block, err));
        cr_assert(set.bags.n_patients == 4 && set.bags.dim == FIX_DIM);
        const uint64_t counts[] = {3, 39, 0, 0};
        cr_expect(memcmp(set.count, counts, sizeof counts) == 0);
        cr_expect(set.first[1] == 3 && set.n_slides == 3);
        cr_expect(set.slides[1].slide == 1 && set.slides[1].count == 0);
        cr_expect(set.slides[2].slide == 2 && set.slides[2].first == 3 && set.slides[2].count == 39);
        cr_expect_str_eq(set.encoder, "texture");
        cr_expect_str_eq(set.columns[0], "nuclei");
        for (size_t r = 0, at = 0; r < 43; r++) {
            if (r == 4)
                continue; /* the unreadable tile */
            for (size_t d = 0; d < FIX_DIM; d++)
                cr_expect(set.bags.features[at * FIX_DIM + d] ==
                          lob_half_from_float(f.features[r * FIX_DIM + d]));
            at++;
        }
        lob_bag_set_clear(&set);
        fix_clear(&f);
    }
}

static bool once(GError **err) {
    static int asked;
    return asked++ < 1 || lob_fail(err, LOB_ERROR_STOPPED, "stopped");
}

Test(hdf5io_bags, loading_stops_between_two_slides) {
    g_autofree char *folder = fix_folder();
    g_autofree char *path = g_build_filename(folder, "part-0001.h5", NULL);
    g_autoptr(Hand) hand = fixture_hand();
    g_autofree void *block = NULL;
    Fixture f = fix_make();
    LobBagSet set;
    fix_write(&f, path, true);
    lob_log_setup(LOB_LOG_ERROR, 0);
    const char *const sources[] = {folder, NULL};
    FIX_FAILS(lob_bags_load_some(&hand->cohort, sources, NULL, once, plain_alloc, &block, &set, err),
              LOB_ERROR_STOPPED, "stopped");
    cr_expect_null(set.first);
    fix_clear(&f);
}

/* 65504 is the largest half; 1e6 becomes an infinity, which no model can be trained on. */
Test(hdf5io_bags, infinities_are_refused_and_large_values_kept) {
    g_autofree char *folder = fix_folder();
    g_autoptr(Hand) hand = fixture_hand();
    g_autofree void *block = NULL;
    LobBagSet set;
    lob_log_setup(LOB_LOG_ERROR, 0);
    for (size_t at = 0; at < FIX_DIM; at++) {
        g_autofree char *path = g_strdup_printf("%s/part-%zu.h5", folder, at);
        Fixture f = fix_make();
        f.features[10 * FIX_DIM + at] = 65504;
        fix_write(&f, path, true);
        FIX_OK(load(hand, path, NULL, &set, &block, err));
        lob_bag_set_clear(&set);
        unlink(path);
        f.features[10 * FIX_DIM + at] = -1e6f;
        fix_write(&f, path, true);
        FIX_FAILS(load(hand, path, NULL, &set, &block, err), LOB_ERROR_IO,
                  "row 10 holds a NaN or an infinity");
        fix_clear(&f);
    }
}

/* Two hospitals embed apart; together they give what one store of both gives. */
Test(hdf5io_bags, two_stores_equal_one) {
    g_autofree char *folder = fix_folder();
    g_autofree char *whole = g_build_filename(folder, "whole.h5", NULL);
    g_autofree char *east = g_build_filename(folder, "east.h5", NULL);
    g_autofree char *west = g_build_filename(folder, "west.h5", NULL);
    Fixture f = fix_make();
    fix_write(&f, whole, true);
    Fixture e = fix_make(), w = fix_make();
    e.n_slides = 2;
    e.rows = 3;
    fix_write(&e, east, true);
    for (int i = 0; i < 2; i++) {
        w.slides[i] = f.slides[i + 2];
        w.slides[i].first -= 3;
    }
    w.n_slides = 2;
    g_autoptr(GError) error = NULL;
    LobPart *part = lob_part_create(west, MPI_COMM_NULL, &w.header, w.slides, 2,
                                    (const int32_t(*)[2])f.coords + 3, f.tissue + 3, &error);
    cr_assert(part != NULL);
    cr_assert(lob_part_write_rows(part, 0, 42, f.features + 3 * FIX_DIM, NULL, &error));
    cr_assert(lob_part_finish(part, w.slides, 2, &error), "%s", error ? error->message : "");
    g_autoptr(Hand) hand = fixture_hand();
    g_autofree void *one = NULL, *two = NULL;
    LobBagSet a, b;
    FIX_OK(load(hand, whole, NULL, &a, &one, err));
    FIX_OK(load(hand, west, east, &b, &two, err));
    cr_expect(memcmp(a.count, b.count, 4 * sizeof *a.count) == 0);
    cr_expect(memcmp(a.bags.features, b.bags.features, 42 * FIX_DIM * 2) == 0);
    uint64_t counts[4];
    memcpy(counts, a.count, sizeof counts);
    lob_bag_set_clear(&a);
    lob_bag_set_clear(&b);
    FIX_FAILS(load(hand, whole, east, &a, &one, err), LOB_ERROR_INPUT, "slide a is in ");
    const char *const both[] = {west, east, NULL}, *const twice[] = {whole, east, NULL};
    uint64_t rows[4];
    int dim;
    double bytes;
    FIX_OK(lob_bags_count(&hand->cohort, both, 0, rows, &dim, &bytes, err));
    cr_expect(memcmp(rows, counts, sizeof rows) == 0 && dim == FIX_DIM && bytes == 0);
    FIX_FAILS(lob_bags_count(&hand->cohort, twice, 0, rows, &dim, &bytes, err), LOB_ERROR_INPUT,
              "slide a is in ");
    FIX_OK(lob_bags_count(&hand->cohort, twice, 0, NULL, &dim, &bytes, err));
    w.header.encoder = "uni";
    unlink(west);
    w.n_slides = 0;
    fix_write(&w, west, true);
    FIX_FAILS(load(hand, whole, west, &a, &one, err), LOB_ERROR_INPUT, "encoder: ");
    rename_text(&hand->patients[1].patient_id, "someone");
    FIX_FAILS(load(hand, whole, NULL, &a, &one, err), LOB_ERROR_INPUT,
              "slide c belongs to patient p2, in the study to someone");
    fix_clear(&f);
    fix_clear(&e);
    fix_clear(&w);
}

Test(hdf5io_bags, damage_and_unfinished_stores_are_refused) {
    g_autofree char *folder = fix_folder();
    g_autofree char *path = g_build_filename(folder, "part-0001.h5", NULL);
    Fixture f = fix_make();
    fix_write(&f, path, false);
    g_autoptr(Hand) hand = fixture_hand();
    g_autofree void *block = NULL;
    LobBagSet set;
    FIX_FAILS(load(hand, path, NULL, &set, &block, err), LOB_ERROR_INPUT, "not finished");
    const char *const sources[] = {path, NULL};
    int dim;
    double bytes;
    FIX_FAILS(lob_bags_count(&hand->cohort, sources, 0, NULL, &dim, &bytes, err), LOB_ERROR_INPUT,
              "not finished");
    LobPart *part = lob_part_open(path, MPI_COMM_NULL, NULL);
    FIX_OK(lob_part_finish(part, f.slides, 4, err));
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT), set_id = H5Dopen2(file, "features", H5P_DEFAULT);
    const float other[FIX_DIM] = {1, 2, 3, 4, 5};
    cr_assert(lob_h5_write_rows(set_id, H5T_NATIVE_FLOAT, 20, 1, other, "features", NULL));
    H5Dclose(set_id);
    H5Fclose(file);
    FIX_FAILS(load(hand, path, NULL, &set, &block, err), LOB_ERROR_IO, "slide c: rows 3..43 are damaged");
    fix_clear(&f);
}

/* ---- other tools' files, written by h5py as the tools write them ---- */

static const char foreign_script[] =
    "import h5py, sys, numpy as np\n"
    "d = sys.argv[1] + '/'\n"
    "rng = np.random.default_rng(1)\n"
    "x = rng.standard_normal((6, 4)).astype('float32')\n"
    "xy = np.array([[0,0],[512,0],[1024,0],[0,512],[512,512],[1024,512]])\n"
    "def trident(name, x, xy, kind='int64', enc='uni', chunk=True):\n"
    "    f = h5py.File(d + name + '.h5', 'w')\n"
    "    k = dict(chunks=(1, x.shape[1]), maxshape=(None, x.shape[1])) if chunk else {}\n"
    "    a = f.create_dataset('features', data=x, **k)\n"
    "    c = f.create_dataset('coords', data=xy.astype(kind))\n"
    "    if enc: a.attrs['encoder'] = enc\n"
    "    a.attrs['name'] = name; a.attrs['savetodir'] = '/data/x'\n"
    "    c.attrs['patch_size'] = 256; c.attrs['patch_size_level0'] = 512.0\n"
    "    c.attrs['level0_magnification'] = 40; c.attrs['target_magnification'] = 20.0\n"
    "    c.attrs['overlap'] = 0; c.attrs['level0_width'] = 4000; c.attrs['level0_height'] = 3000\n"
    "    f.close()\n"
    "def plain(name, **sets):\n"
    "    attrs = sets.pop('attrs', {})\n"
    "    f = h5py.File(d + name + '.h5', 'w')\n"
    "    for k, v in sets.items(): f.create_dataset(k, data=v)\n"
    "    for k, v in attrs.items(): f.attrs[k] = v\n"
    "    f.close()\n"
    "stamp = dict(stamp_version='2.4.0', extractor='uni2', unit='um', tile_size_um=256.0, tile_size_px=224,\n"
    "             code_hash='x', feat_type='tile')\n"
    "trident('trident', x, xy)\n"
    "trident('float16', x.astype('float16'), xy, 'float64')\n"
    "trident('float64', x.astype('float64'), xy, 'int32', chunk=False)\n"
    "trident('noencoder', x, xy, enc='None')\n"
    "trident('empty', np.zeros((0, 4), 'f4'), np.zeros((0, 2)), chunk=False)\n"
    "plain('flat', features=np.zeros((0,), 'f4'), coords=np.zeros((0, 2), 'i8'))\n"
    "plain('clam', features=x, coords=xy.astype('int32'))\n"
    "plain('stamp', feats=x.astype('float16'), coords=(xy * .25).astype('float32'), attrs=stamp)\n"
    "old = {k: stamp[k] for k in ('extractor', 'unit')}; old['tile_size'] = 256.0\n"
    "plain('stamp20', feats=x.astype('float16'), coords=(xy * .25).astype('float32'), attrs=old)\n"
    "plain('historic', feats=x.astype('float16'), coords=xy * 224 // 512)\n"
    "plain('kronos', patch_embeddings=x, attrs=dict(extractor='kronos'))\n"
    "plain('slidelevel', features=x[0])\n"
    "plain('patient', feats=x[:1].astype('float16'), attrs=dict(stamp, feat_type='patient'))\n"
    "plain('odd', feats=x.astype('float16'), coords=xy * 3)\n"
    "y = x.copy(); y[3, 2] = np.nan; plain('nan', features=y, coords=xy)\n"
    "y = x.copy(); y[2, 0] = 1e6; plain('large', features=y, coords=xy)\n"
    "plain('short', features=x, coords=xy[:5])\n"
    "plain('wide', features=np.c_[x, x], coords=xy)\n"
    "plain('integers', features=xy, coords=xy)\n"
    "plain('nothing', imgs=np.zeros((6, 8, 8, 3), 'u1'), coords=xy)\n"
    "print(x.astype('float16').tobytes().hex())\n";

static char *hex_of(const uint16_t *halves, size_t n) {
    GString *text = g_string_new(NULL);
    for (size_t i = 0; i < n; i++)
        g_string_append_printf(text, "%02x%02x", halves[i] & 255, halves[i] >> 8);
    g_string_append_c(text, '\n');
    return g_string_free(text, false);
}

#define WITH_FOREIGN                                                                                         \
    g_autofree char *folder = fix_folder();                                                                  \
    g_autofree char *wanted = NULL;                                                                          \
    if (fix_python(foreign_script, folder, &wanted) < 0)                                                     \
        cr_skip_test("python3-h5py is not installed");                                                       \
    lob_log_setup(LOB_LOG_ERROR, 0);

static LobFeatureFile *open_named(const char *folder, const char *name, GError **err) {
    g_autofree char *base = g_strconcat(name, ".h5", NULL);
    g_autofree char *path = g_build_filename(folder, base, NULL);
    return lob_feature_file_open(path, err);
}

Test(hdf5io_foreign, every_variant_gives_the_same_rows_and_pixels) {
    WITH_FOREIGN
    static const struct {
        const char *name;
        LobFeatureFormat format;
        const char *encoder;
        int tile_size;
        double tile_mpp;
    } cases[] = {
        {"trident", LOB_FORMAT_TRIDENT, "uni", 256, 0.5},
        {"float16", LOB_FORMAT_TRIDENT, "uni", 256, 0.5},
        {"float64", LOB_FORMAT_TRIDENT, "uni", 256, 0.5},
        {"noencoder", LOB_FORMAT_TRIDENT, NULL, 256, 0.5},
        {"clam", LOB_FORMAT_CLAM, NULL, 0, 0},
        {"stamp", LOB_FORMAT_STAMP, "uni2", 224, 256.0 / 224},
        {"stamp20", LOB_FORMAT_STAMP, "uni2", 0, 0},
        {"historic", LOB_FORMAT_STAMP, NULL, 224, 256.0 / 224},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(LobFeatureFile) file = open_named(folder, cases[i].name, &error);
        cr_assert(file != NULL, "%s", error ? error->message : "");
        cr_expect(file->format == cases[i].format, "%s is taken for %s", cases[i].name,
                  lob_feature_format_name(file->format));
        cr_expect(file->rows == 6 && file->dim == 4);
        cr_expect(g_strcmp0(file->facts.encoder, cases[i].encoder) == 0, "%s: %s", cases[i].name,
                  file->facts.encoder);
        cr_expect(file->facts.tile_size == cases[i].tile_size, "%s", cases[i].name);
        cr_expect(fabs(file->facts.tile_mpp - cases[i].tile_mpp) < 1e-9, "%s", cases[i].name);
        uint16_t halves[24];
        int32_t xy[6][2];
        FIX_OK(lob_feature_file_read_halves(file, 0, 6, halves, err));
        g_autofree char *hex = hex_of(halves, 24);
        cr_expect_str_eq(hex, wanted);
        /* historic: its 224-px tiles are 256 um, and the script's 512-px step at this mpp is one tile */
        double mpp = strcmp(cases[i].name, "historic") == 0 ? 0.5 : 0.25;
        FIX_OK(lob_feature_file_read_coords(file, mpp, xy, err));
        cr_expect(xy[1][0] == 512 && xy[5][0] == 1024 && xy[5][1] == 512, "%s: %d", cases[i].name, xy[1][0]);
    }
}

Test(hdf5io_foreign, faults_are_named_with_their_file) {
    WITH_FOREIGN
    static const struct {
        const char *name, *says;
    } cases[] = {
        {"slidelevel", "a slide's features"}, {"patient", "holds patient features"},
        {"odd", "scale is unknown"},          {"short", "6 rows of features but coords of 5 x 2"},
        {"integers", "floating-point"},       {"nothing", "holds no features"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        FIX_FAILS(open_named(folder, cases[i].name, err), LOB_ERROR_INPUT, cases[i].says);
        FIX_FAILS(open_named(folder, cases[i].name, err), LOB_ERROR_INPUT, cases[i].name);
    }
    uint16_t halves[24];
    int32_t xy[6][2];
    g_autoptr(LobFeatureFile) nan = open_named(folder, "nan", NULL),
                              large = open_named(folder, "large", NULL);
    g_autoptr(LobFeatureFile) stamp = open_named(folder, "stamp", NULL),
                              kronos = open_named(folder, "kronos", NULL);
    FIX_FAILS(lob_feature_file_read_halves(nan, 0, 6, halves, err), LOB_ERROR_INPUT,
              "row 3 of the features holds NaN");
    FIX_FAILS(lob_feature_file_read_halves(large, 0, 6, halves, err), LOB_ERROR_INPUT, "range of float16");
    FIX_FAILS(lob_feature_file_read_coords(stamp, 0, xy, err), LOB_ERROR_INPUT, "mpp is needed");
    FIX_FAILS(lob_feature_file_read_coords(kronos, 0, xy, err), LOB_ERROR_INPUT, "no coordinates");
}

Test(hdf5io_foreign, a_folder_becomes_bags_and_misfits_are_errors) {
    WITH_FOREIGN
    g_autoptr(Hand) hand = g_new0(Hand, 1);
    hand_add(hand, "empty", "p1");
    hand_add(hand, "flat", "p2");
    hand_add(hand, "float16", "p2");
    hand_add(hand, "missing", "p3");
    hand_add(hand, "trident", "p4");
    g_autofree void *block = NULL;
    LobBagSet set;
    FIX_OK(load(hand, folder, NULL, &set, &block, err));
    const uint64_t counts[] = {0, 6, 0, 6};
    cr_expect(memcmp(set.count, counts, sizeof counts) == 0);
    cr_expect_str_eq(set.encoder, "uni");
    g_autofree char *hex = hex_of(set.bags.features + 24, 24);
    cr_expect_str_eq(hex, wanted);
    lob_bag_set_clear(&set);
    const char *const sources[] = {folder, NULL};
    uint64_t rows[4];
    int dim;
    double bytes;
    FIX_OK(lob_bags_count(&hand->cohort, sources, INFINITY, rows, &dim, &bytes, err));
    cr_expect(memcmp(rows, counts, sizeof counts) == 0 && dim == 4 && bytes > 0);
    const double all = bytes;
    FIX_OK(lob_bags_count(&hand->cohort, sources, all - 1, rows, &dim, &bytes, err));
    cr_expect(dim == 0 && fabs(bytes - all) < 0.5);
    g_autoptr(Hand) two = g_new0(Hand, 1);
    hand_add(two, "stamp", "p1");
    hand_add(two, "trident", "p2");
    FIX_FAILS(load(two, folder, NULL, &set, &block, err), LOB_ERROR_INPUT,
              "trident.h5 was made by encoder uni, ");
    rename_text(&two->slides[0].slide_id, "clam");
    rename_text(&two->slides[1].slide_id, "wide");
    FIX_FAILS(load(two, folder, NULL, &set, &block, err), LOB_ERROR_INPUT, "wide.h5 has 8 features a tile");
    rename_text(&two->slides[1].slide_id, "nan");
    FIX_FAILS(load(two, folder, NULL, &set, &block, err), LOB_ERROR_INPUT, "nan.h5: row 3");
    rename_text(&two->slides[0].slide_id, "absent");
    rename_text(&two->slides[1].slide_id, "absent");
    FIX_FAILS(load(two, folder, NULL, &set, &block, err), LOB_ERROR_INPUT, "none of the study's 2 slides");
}

/* The written files as h5py sees them: names, types, attributes. */
Test(hdf5io_foreign, written_files_are_what_the_tools_write) {
    g_autofree char *folder = fix_folder();
    const float x[2][3] = {{1, 2, 3}, {4, 5, 6.5f}};
    const int32_t xy[2][2] = {{0, 448}, {896, 448}};
    LobFeatureSlide slide = {.slide_id = "s",
                             .encoder = "uni2",
                             .tile_size = 224,
                             .overlap = 0,
                             .dim = 3,
                             .tile_mpp = 0.5,
                             .mpp = 0.25,
                             .width = 4000,
                             .height = 3000,
                             .n = 2,
                             .features = x[0],
                             .coords = xy};
    for (int format = 0; format < 3; format++) {
        g_autofree char *path =
            g_strdup_printf("%s/%s.h5", folder, lob_feature_format_name((LobFeatureFormat)format));
        FIX_OK(lob_feature_slide_write(path, (LobFeatureFormat)format, &slide, err));
    }
    static const char script[] = "import h5py, sys\n"
                                 "def show(o): return ' '.join('%s=%r:%s' % (k, o.attrs[k].item() if "
                                 "hasattr(o.attrs[k], 'item') else\n"
                                 "    o.attrs[k], type(o.attrs[k]).__name__) for k in sorted(o.attrs))\n"
                                 "for n in ('trident', 'clam', 'stamp'):\n"
                                 "    f = h5py.File(sys.argv[1] + '/' + n + '.h5', 'r')\n"
                                 "    print(n, sorted(f), show(f))\n"
                                 "    for k in sorted(f): print(' ', k, f[k].dtype, f[k].shape, "
                                 "f[k][:].ravel().tolist(), show(f[k]))\n";
    g_autofree char *out = NULL;
    if (fix_python(script, folder, &out) < 0)
        cr_skip_test("python3-h5py is not installed");
    cr_expect_str_eq(
        out,
        "trident ['coords', 'features'] \n"
        "  coords int64 (2, 2) [0, 448, 896, 448] level0_height=3000:int64 level0_magnification=40:int64 "
        "level0_width=4000:int64 name='s':str overlap=0:int64 patch_size=224:int64 "
        "patch_size_level0=448:int64 "
        "savetodir='':str target_magnification=20:int64\n"
        "  features float32 (2, 3) [1.0, 2.0, 3.0, 4.0, 5.0, 6.5] encoder='uni2':str name='s':str "
        "savetodir='':str\n"
        "clam ['coords', 'features'] \n"
        "  coords int32 (2, 2) [0, 448, 896, 448] \n"
        "  features float32 (2, 3) [1.0, 2.0, 3.0, 4.0, 5.0, 6.5] \n"
        "stamp ['coords', 'feats'] code_hash='lobule-0.1.0':str extractor='uni2':str feat_type='tile':str "
        "stamp_version='2.4.0':str tile_size_px=224:int64 tile_size_um=112.0:float64 unit='um':str\n"
        "  coords float32 (2, 2) [0.0, 112.0, 224.0, 112.0] \n"
        "  feats float16 (2, 3) [1.0, 2.0, 3.0, 4.0, 5.0, 6.5] \n");
}

/* Python's own zip and pickle readers stand in for torch: archive, checksums, alignment, and the call that
 * rebuilds the tensor. */
Test(hdf5io_foreign, pt_files_are_what_torch_saves) {
    g_autofree char *folder = fix_folder();
    g_autofree char *path = g_build_filename(folder, "s.pt", NULL);
    g_autofree char *empty = g_build_filename(folder, "empty.pt", NULL);
    const float x[2][3] = {{1, 2, 3}, {4, 5, 6.5f}};
    FIX_OK(lob_torch_file_write(path, x[0], 2, 3, err));
    FIX_OK(lob_torch_file_write(empty, NULL, 0, 3, err));
    static const char script[] =
        "import io, pickle, struct, sys, zipfile, h5py\n"
        "class Load(pickle.Unpickler):\n"
        "    def find_class(self, module, name):\n"
        "        if module == 'collections': return super().find_class(module, name)\n"
        "        return lambda *a: (module, name) + a\n"
        "    def persistent_load(self, p): return (p[0], p[1]()) + p[2:]\n"
        "for n in ('s', 'empty'):\n"
        "    z = zipfile.ZipFile(sys.argv[1] + '/' + n + '.pt')\n"
        "    print(z.testzip(), z.namelist(), Load(io.BytesIO(z.read('archive/data.pkl'))).load())\n"
        "    i = z.getinfo('archive/data/0'); raw = open(z.filename, 'rb').read()\n"
        "    a, b = struct.unpack('<HH', raw[i.header_offset + 26:i.header_offset + 30])\n"
        "    at = i.header_offset + 30 + a + b\n"
        "    print(at % 64, struct.unpack('<%df' % (i.file_size // 4), z.read('archive/data/0')))\n";
    g_autofree char *out = NULL;
    if (fix_python(script, folder, &out) < 0)
        cr_skip_test("python3-h5py is not installed");
    cr_expect_str_eq(out,
                     "None ['archive/data.pkl', 'archive/byteorder', 'archive/data/0', 'archive/version'] "
                     "('torch._utils', '_rebuild_tensor_v2', ('storage', ('torch', 'FloatStorage'), '0', "
                     "'cpu', 6), 0, (2, 3), "
                     "(3, 1), False, OrderedDict())\n0 (1.0, 2.0, 3.0, 4.0, 5.0, 6.5)\n"
                     "None ['archive/data.pkl', 'archive/byteorder', 'archive/data/0', 'archive/version'] "
                     "('torch._utils', '_rebuild_tensor_v2', ('storage', ('torch', 'FloatStorage'), '0', "
                     "'cpu', 0), 0, (0, 3), "
                     "(3, 1), False, OrderedDict())\n0 ()\n");
}

/* The classic benchmark, present where the shared data are: 92 bags, 476 instances, 166 features. */
Test(hdf5io_foreign, musk1_loads) {
    const char *shared = g_getenv("LOB_SHARED") ? g_getenv("LOB_SHARED") : LOB_SOURCE_DIR "/../shared";
    g_autofree char *folder = g_build_filename(shared, "data", "mil", "musk1", NULL);
    g_autofree char *table_path = g_build_filename(folder, "slides.csv", NULL);
    g_autofree char *features = g_build_filename(folder, "features", NULL);
    if (!g_file_test(table_path, G_FILE_TEST_EXISTS))
        cr_skip_test("MUSK1 is not here (set LOB_SHARED)");
    g_autoptr(LobTable) table = lob_table_read(table_path, NULL);
    cr_assert(table != NULL);
    g_autoptr(Hand) hand = g_new0(Hand, 1);
    for (size_t r = 0; r < lob_table_rows(table); r++)
        hand_add(hand, lob_table_cell(table, r, lob_table_find(table, "slide_id")),
                 lob_table_cell(table, r, lob_table_find(table, "patient_id")));
    g_autofree void *block = NULL;
    LobBagSet set;
    FIX_OK(load(hand, features, NULL, &set, &block, err));
    uint64_t rows = 0;
    for (size_t p = 0; p < set.bags.n_patients; p++) {
        rows += set.count[p];
        cr_expect(set.count[p] > 0);
    }
    cr_expect(set.bags.n_patients == 92 && set.bags.dim == 166 && rows == 476);
    lob_bag_set_clear(&set);
}
