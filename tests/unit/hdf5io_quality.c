/* Columns of tile quality and of stains in a store, and the filters that read them. */
#include "hdf5io_fixture.h"

#include <glib/gstdio.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* A finished store whose tile t has pen t, fold t + 1, blur t + 2, over-exposure t + 3 percent; `crc` of it.
 */
static void write_store(Fixture *f, const char *path, bool finish, uint32_t crc[4]) {
    g_autoptr(GError) err = NULL;
    uint8_t pen[45], fold[45], measured[45][2], all[45][LOB_QUALITIES];
    f->header.quality = true;
    for (size_t t = 0; t < f->rows; t++) {
        all[t][0] = pen[t] = (uint8_t)t;
        all[t][1] = fold[t] = (uint8_t)(t + 1);
        all[t][2] = measured[t][0] = (uint8_t)(t + 2);
        all[t][3] = measured[t][1] = (uint8_t)(t + 3);
    }
    for (size_t i = 0; i < f->n_slides; i++)
        for (size_t k = 0; k < LOB_STORE_STAINS; k++)
            f->slides[i].stain[k] = (double)(i * 10 + k);
    const LobPartTiles tiles = {(const int32_t(*)[2])f->coords, f->tissue, pen, fold};
    LobPart *part =
        lob_part_create_tiles(path, MPI_COMM_NULL, &f->header, f->slides, f->n_slides, &tiles, &err);
    cr_assert(part != NULL, "%s", err ? err->message : "");
    lob_part_close(part);
    part = lob_part_open(path, MPI_COMM_NULL, &err);
    cr_assert(part != NULL && lob_part_has_quality(part), "%s", err ? err->message : "");
    for (size_t i = 0; i < f->n_slides; i++) {
        LobStoreSlide *slide = &f->slides[i];
        slide->state = LOB_STATE_DONE;
        crc[i] = slide->quality_crc32c = lob_crc32c(0, all + slide->first, slide->count * LOB_QUALITIES);
        cr_assert(lob_part_write_quality(part, slide->first, slide->count,
                                         (const uint8_t(*)[2])measured + slide->first, &err));
        cr_assert(lob_part_write_rows(part, slide->first, slide->count, f->features + slide->first * FIX_DIM,
                                      &slide->crc32c, &err));
    }
    if (finish)
        cr_assert(lob_part_finish(part, f->slides, f->n_slides, &err), "%s", err ? err->message : "");
    else
        lob_part_close(part);
}

Test(hdf5io_quality, comes_back_with_stains_and_checksums) {
    g_autofree char *folder = fix_folder(), *path = g_build_filename(folder, "part-0001.h5", NULL);
    g_autoptr(GError) err = NULL;
    Fixture f = fix_make();
    f.header.stain = (char *)"macenko";
    uint32_t crc[4], read;
    uint8_t quality[45][LOB_QUALITIES];
    write_store(&f, path, true, crc);
    g_autoptr(LobStore) store = lob_store_open(path, &err);
    cr_assert(store != NULL, "%s", err ? err->message : "");
    cr_expect(lob_store_header(store)->quality);
    cr_expect_str_eq(lob_store_header(store)->stain, "macenko");
    size_t n;
    const LobStoreSlide *slides = lob_store_slides(store, &n);
    cr_assert(lob_store_read_quality(store, 0, 45, quality, &err));
    cr_expect(quality[7][0] == 7 && quality[7][1] == 8 && quality[7][2] == 9 && quality[7][3] == 10);
    for (size_t i = 0; i < n; i++) {
        cr_assert(lob_store_crc_quality(store, slides[i].first, slides[i].count, &read, &err));
        cr_expect(read == crc[i] && slides[i].quality_crc32c == crc[i]);
        cr_expect(slides[i].stain[0] == (double)(10 * i) && slides[i].stain[7] == (double)(10 * i + 7));
    }
    uint32_t first, second;
    cr_assert(lob_store_crc_quality(store, 3, 15, &first, &err) &&
              lob_store_crc_quality(store, 18, 25, &second, &err));
    cr_expect(lob_crc32c_combine(first, second, 25 * LOB_QUALITIES) == crc[2], "ranges combine");
    fix_clear(&f);
}

/* As stores were before: they read, but have no quality, and their stains are not known. */
Test(hdf5io_quality, older_stores_stay_readable) {
    g_autofree char *folder = fix_folder(), *path = g_build_filename(folder, "part-0001.h5", NULL),
                    *plain = g_build_filename(folder, "part-0002.h5", NULL);
    g_autoptr(GError) problem = NULL;
    Fixture f = fix_make();
    fix_write(&f, path, true);
    g_autofree char *out = NULL;
    const char *script =
        "import h5py,sys\n"
        "f=h5py.File(sys.argv[1],'r+')\n"
        "for k in list(f['slides']):\n"
        " if k.endswith('_crc32c') or k.split('_')[0] in ('hema','eosin'): del f['slides'][k]\n"
        "print(sorted(f['slides']), 'quality' in f, 'stain' in f.attrs)\n";
    int code = fix_python(script, path, &out);
    if (code < 0) {
        fprintf(stderr, "skipped: no python3 with h5py\n");
        return;
    }
    cr_assert_eq(code, 0);
    cr_expect(strstr(out, "hema") == NULL && strstr(out, "False False") != NULL, "%s", out);
    g_autoptr(LobStore) store = lob_store_open(path, &problem);
    cr_assert(store != NULL, "%s", problem ? problem->message : "");
    size_t n;
    const LobStoreSlide *slides = lob_store_slides(store, &n);
    uint8_t quality[1][LOB_QUALITIES];
    cr_expect(!lob_store_header(store)->quality && isnan(slides[0].stain[0]) &&
              slides[0].quality_crc32c == 0);
    cr_expect(lob_store_header_agree(lob_store_header(store), &f.header, "store", "study", NULL));
    FIX_FAILS(lob_store_read_quality(store, 0, 1, quality, err), LOB_ERROR_INPUT,
              "no columns of tile quality");
    LobStoreReport report;
    cr_assert(lob_store_verify(path, &report, &problem));
    cr_expect_eq(report.n_damage, 0);
    lob_store_report_clear(&report);
    fix_clear(&f);
}

/* One value of tile 10, which is slide c's. */
static void damage_is_found(const char *script, const char *told) {
    g_autofree char *folder = fix_folder(), *path = g_build_filename(folder, "part-0001.h5", NULL);
    g_autoptr(GError) err = NULL;
    Fixture f = fix_make();
    uint32_t crc[4];
    write_store(&f, path, true, crc);
    LobStoreReport report;
    cr_assert(lob_store_verify(path, &report, &err));
    cr_expect_eq(report.n_damage, 0);
    lob_store_report_clear(&report);
    g_autofree char *out = NULL;
    const int code = fix_python(script, path, &out);
    if (code < 0) {
        fprintf(stderr, "skipped: no python3 with h5py\n");
        return;
    }
    cr_assert(lob_store_verify(path, &report, &err));
    cr_assert_eq(report.n_damage, 1);
    cr_expect_str_eq(report.damage[0].slide_id, "c");
    cr_expect_not_null(strstr(report.damage[0].what, told), "%s", report.damage[0].what);
    lob_store_report_clear(&report);
    fix_clear(&f);
}

#define CHANGE(what) "import h5py,sys\nf=h5py.File(sys.argv[1],'r+')\nf" what "^=4\n"
Test(hdf5io_quality, damage_is_found) {
    damage_is_found(CHANGE("['quality/pen'][10]"), "tile quality");
    damage_is_found(CHANGE("['tissue'][10]"), "coords and tissue");
    damage_is_found(CHANGE("['coords'][10,1]"), "coords and tissue");
}

Test(hdf5io_quality, a_journal_vouches_for_unfinished_parts) {
    g_autofree char *folder = fix_folder(), *path = g_build_filename(folder, "part-0001.h5", NULL),
                    *journal_path = lob_journal_path(path);
    g_autoptr(GError) err = NULL;
    Fixture f = fix_make();
    uint32_t crc[4], parsed = 0;
    write_store(&f, path, false, crc);
    g_autofree char *text = lob_journal_quality_text(crc[2]), *wrong = lob_journal_quality_text(crc[2] ^ 1);
    cr_assert(lob_journal_quality_parse(text, &parsed) && parsed == crc[2]);
    cr_expect_not(lob_journal_quality_parse("", &parsed));
    cr_expect_not(lob_journal_quality_parse(LOB_J_VOID, &parsed));
    cr_expect_not(lob_journal_quality_parse("quality xyz", &parsed));
    for (int right = 0; right < 2; right++) {
        g_unlink(journal_path);
        LobJournal *journal = lob_journal_open(journal_path, NULL, NULL, &err);
        cr_assert(journal != NULL, "%s", err ? err->message : "");
        LobJournalRecord record = {.kind = LOB_J_RANGE,
                                   .slide_id = (char *)"c",
                                   .count = 40,
                                   .crc = f.slides[2].crc32c,
                                   .text = right ? text : wrong};
        cr_assert(lob_journal_append(journal, &record, &err) && lob_journal_sync(journal, &err));
        lob_journal_close(journal);
        LobStoreReport report;
        cr_assert(lob_store_verify(path, &report, &err), "%s", err ? err->message : "");
        cr_expect_eq(report.n_damage, right ? 0 : 1);
        lob_store_report_clear(&report);
    }
    fix_clear(&f);
}

static void *allocate(void *user, size_t size) {
    *(void **)user = g_malloc(size);
    return *(void **)user;
}

static size_t nan_rows(const LobBagSet *set) {
    size_t rows = 0;
    uint64_t all = 0;
    for (size_t p = 0; p < set->bags.n_patients; p++)
        all += set->count[p];
    for (uint64_t r = 0; r < all; r++)
        rows += (set->bags.features[r * set->bags.dim] & 0x7fff) > 0x7c00;
    return rows;
}

Test(hdf5io_quality, filters_leave_tiles_out_and_need_the_columns) {
    g_autofree char *folder = fix_folder(), *path = g_build_filename(folder, "part-0001.h5", NULL),
                    *plain = g_build_filename(folder, "part-0002.h5", NULL);
    g_autoptr(GError) problem = NULL;
    Fixture f = fix_make();
    uint32_t crc[4];
    write_store(&f, path, true, crc);
    LobStudy study = {.tiles = {.max_pen = 100, .max_fold = 100, .max_blur = 100, .max_overexposed = 100}};
    uint32_t mine[1] = {2};
    LobCohortPatient patient = {.patient_id = (char *)"p2", .slides = mine, .n_slides = 1};
    LobCohortSlide slides[3] = {
        {.slide_id = (char *)"x"}, {.slide_id = (char *)"y"}, {.slide_id = (char *)"c"}};
    LobCohort cohort = {
        .study = &study, .patients = &patient, .n_patients = 1, .slides = slides, .n_slides = 3};
    static const struct {
        double pen, fold, blur, overexposed;
        size_t dropped; /* of tiles 3 .. 42 */
    } cases[] = {
        {100, 100, 100, 100, 0}, {22, 100, 100, 100, 20}, {100, 100, 100, 10, 35}, {32, 100, 24, 100, 20}};
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        LobBagSet set;
        void *memory = NULL;
        study.tiles.max_pen = cases[i].pen;
        study.tiles.max_fold = cases[i].fold;
        study.tiles.max_blur = cases[i].blur;
        study.tiles.max_overexposed = cases[i].overexposed;
        cr_assert(
            lob_bags_load(&cohort, (const char *const[]){path, NULL}, allocate, &memory, &set, &problem),
            "%s", problem ? problem->message : "");
        cr_expect_eq(set.count[0], 40);
        cr_expect_eq(nan_rows(&set), cases[i].dropped, "case %zu: %zu", i, nan_rows(&set));
        g_autofree char *text = lob_filters_text(&study);
        cr_expect((text == NULL) == (i == 0), "%s", text);
        lob_bag_set_clear(&set);
        g_free(memory);
    }
    f.header.quality = false;
    fix_write(&f, plain, true);
    LobBagSet set;
    void *memory = NULL;
    FIX_FAILS(lob_bags_load(&cohort, (const char *const[]){plain, NULL}, allocate, &memory, &set, err),
              LOB_ERROR_INPUT, "no columns of tile quality");
    fix_clear(&f);
}

/* Tiles that are left of a slide, of those its quality leaves: which, follows from its id alone. */
Test(hdf5io_quality, a_slide_is_capped) {
    g_autofree char *folder = fix_folder(), *path = g_build_filename(folder, "part-0001.h5", NULL),
                    *plain = g_build_filename(folder, "part-0002.h5", NULL);
    g_autoptr(GError) problem = NULL;
    Fixture f = fix_make();
    uint32_t crc[4];
    write_store(&f, path, true, crc);
    LobStudy study = {.tiles = {.max_pen = 100, .max_fold = 100, .max_blur = 100, .max_overexposed = 100}};
    uint32_t mine[1] = {0};
    LobCohortPatient patient = {.patient_id = (char *)"p2", .slides = mine, .n_slides = 1};
    LobCohortSlide slides[1] = {{.slide_id = (char *)"c"}};
    LobCohort cohort = {
        .study = &study, .patients = &patient, .n_patients = 1, .slides = slides, .n_slides = 1};
    static const struct {
        double pen;
        int cap;
        size_t left; /* of 40; the limit of pen leaves 20 */
    } cases[] = {{100, 11, 11}, {100, 11, 11}, {22, 11, 11}, {22, 30, 20}, {100, 40, 40}, {100, 0, 40}};
    g_autofree uint16_t *first = NULL;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        LobBagSet set;
        void *memory = NULL;
        study.tiles.max_pen = cases[i].pen;
        study.model.max_tiles_slide = cases[i].cap;
        cr_assert(
            lob_bags_load(&cohort, (const char *const[]){path, NULL}, allocate, &memory, &set, &problem),
            "%s", problem ? problem->message : "");
        cr_expect_eq(40 - nan_rows(&set), cases[i].left, "case %zu: %zu", i, nan_rows(&set));
        const size_t bytes = 40 * set.bags.dim * sizeof *first;
        if (i == 0)
            first = g_memdup2(memory, bytes);
        cr_expect((memcmp(first, memory, bytes) == 0) == (i < 2), "case %zu", i);
        g_autofree char *text = lob_filters_text(&study);
        cr_expect((text != NULL) == (i < 5));
        lob_bag_set_clear(&set);
        g_free(memory);
    }
    fix_clear(&f);
}

Test(hdf5io_quality, flags_count_by_the_stricter_of_usual_and_wanted) {
    LobStudy study = {.tiles = {.max_pen = 100, .max_fold = 5, .max_blur = 90, .max_overexposed = 100}};
    const uint8_t quality[LOB_QUALITIES] = {11, 6, 60, LOB_QUALITY_UNKNOWN};
    cr_expect_eq(lob_quality_flags(&study, quality), 1u << LOB_Q_PEN | 1u << LOB_Q_FOLD | 1u << LOB_Q_BLUR);
    cr_expect(lob_filters_drop(&study, quality), "folds");
    study.tiles.max_fold = 100;
    cr_expect_not(lob_filters_drop(&study, quality), "what is not known leaves nothing out");
}
