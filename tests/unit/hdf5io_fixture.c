#include "hdf5io_fixture.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

char *fix_folder(void) {
    g_autoptr(GError) err = NULL;
    char *folder = g_dir_make_tmp("lob-hdf5io-XXXXXX", &err);
    cr_assert(folder != NULL);
    return folder;
}

static char *const column_names[] = {"nuclei", "size", "chromatin", "h", "e", NULL};

Fixture fix_make(void) {
    Fixture f = {.header = {.encoder = "texture",
                            .weights_sha256 = "",
                            .transform = "none",
                            .precision = "fp32",
                            .columns = (char **)column_names,
                            .dim = FIX_DIM,
                            .tile_size = 224,
                            .tile_mpp = 0.5,
                            .min_tissue = 0.25,
                            .tissue = "otsu",
                            .cpu = "test",
                            .openslide = "3.4.1"},
                 .n_slides = 4,
                 .rows = 45};
    const char *ids[] = {"a", "b-\xc3\xa9tude", "c", "d"};
    const char *patients[] = {"p1", "p1", "p2", "p3"};
    const char *centers[] = {"east", "east", "west", "west"};
    const uint64_t counts[] = {3, 0, 40, 2};
    for (uint64_t i = 0, first = 0; i < 4; first += counts[i], i++)
        f.slides[i] = (LobStoreSlide){.slide_id = (char *)ids[i],
                                      .patient_id = (char *)patients[i],
                                      .center = (char *)centers[i],
                                      .first = first,
                                      .count = counts[i],
                                      .mpp_x = 0.25,
                                      .mpp_y = 0.26,
                                      .width = 4000,
                                      .height = 3000,
                                      .mpp_source = "vendor",
                                      .quickhash = "abc",
                                      .file_size = 1234567,
                                      .file_mtime = 1700000000};
    f.coords = g_malloc(f.rows * sizeof *f.coords);
    f.tissue = g_malloc(f.rows);
    f.features = g_new(float, f.rows *FIX_DIM);
    LobRng rng;
    lob_rng_init(&rng, 7, "fixture");
    for (uint64_t r = 0; r < f.rows; r++) {
        f.coords[r][0] = (int32_t)(448 * (r % 7));
        f.coords[r][1] = (int32_t)(448 * (r / 7));
        f.tissue[r] = (uint8_t)(25 + r);
        for (uint64_t d = 0; d < FIX_DIM; d++)
            f.features[r * FIX_DIM + d] = (float)lob_rng_normal(&rng);
    }
    return f;
}

void fix_write(Fixture *f, const char *path, bool finish) {
    g_autoptr(GError) err = NULL;
    for (int d = 0; d < FIX_DIM; d++)
        f->features[4 * FIX_DIM + d] = NAN;
    LobPart *part = lob_part_create(path, MPI_COMM_NULL, &f->header, f->slides, f->n_slides,
                                    (const int32_t(*)[2])f->coords, f->tissue, &err);
    cr_assert(part != NULL, "%s", err ? err->message : "");
    for (size_t i = 0; i < f->n_slides; i++) {
        LobStoreSlide *slide = &f->slides[i];
        slide->state = i == 3 ? LOB_STATE_FAILED : LOB_STATE_DONE;
        slide->unreadable = i == 2;
        bool ok = lob_part_write_rows(part, slide->first, slide->count, f->features + slide->first * FIX_DIM,
                                      &slide->crc32c, &err);
        cr_assert(ok, "%s", err ? err->message : "");
    }
    if (!finish) {
        lob_part_close(part);
        return;
    }
    bool ok = lob_part_finish(part, f->slides, f->n_slides, &err);
    cr_assert(ok, "%s", err ? err->message : "");
}

void fix_clear(Fixture *f) {
    g_free(f->coords);
    g_free(f->tissue);
    g_free(f->features);
}

int fix_python(const char *script, const char *argument, char **out) {
    const char *python =
        g_file_test("/usr/bin/python3", G_FILE_TEST_IS_EXECUTABLE) ? "/usr/bin/python3" : "python3";
    const char *probe[] = {python, "-c", "import h5py", NULL};
    const char *argv[] = {python, "-c", script, argument, NULL};
    int status = 1;
    if (!g_spawn_sync(NULL, (char **)probe, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDERR_TO_DEV_NULL, NULL,
                      NULL, NULL, NULL, &status, NULL) ||
        status != 0)
        return -1;
    g_autofree char *errors = NULL;
    cr_assert(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, out, &errors, &status,
                           NULL));
    cr_assert(status == 0, "%s", errors);
    return 0;
}
