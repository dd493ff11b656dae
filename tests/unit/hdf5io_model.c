/* The model file: what is written comes back, what is damaged or made up does not, a locked file stays. */
#include "hdf5io/model_file_internal.h"
#include "hdf5io_fixture.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { DIM = 3, CUTS = 2, SEEDS = 2, COLUMNS = 3, CENTERS = 2 };

/* "mean": head [dim + columns], intercepts of the intervals, then of the centers. */
enum { PARAMS = DIM + COLUMNS + CUTS + CENTERS };

static double *numbers(size_t n, const double *from) {
    return g_memdup2(from, n * sizeof *from);
}

static LobSavedNet make_net(void) {
    LobSavedNet net = {.kind = g_strdup("mean"),
                       .options = g_strdup("as in the test"),
                       .use_covariates = true,
                       .dim = DIM,
                       .n_columns = COLUMNS,
                       .n_cuts = CUTS,
                       .n_centers = CENTERS,
                       .n_params = PARAMS,
                       .seeds = SEEDS};
    net.endpoint = (LobEndpoint){.name = g_strdup("rfs"),
                                 .kind = LOB_ENDPOINT_SURVIVAL,
                                 .time = g_strdup("days"),
                                 .event = g_strdup("event"),
                                 .landmark = 90,
                                 .horizons = numbers(1, (double[]){730}),
                                 .n_horizons = 1};
    net.columns = g_new0(LobDesignColumn, COLUMNS);
    net.columns[0] = (LobDesignColumn){LOB_COLUMN_NUMBER, g_strdup("age"), NULL, NULL, 61.5, 60.25, 8.125};
    net.columns[1] = (LobDesignColumn){.kind = LOB_COLUMN_MISSING, .covariate = g_strdup("age")};
    net.columns[2] = (LobDesignColumn){.kind = LOB_COLUMN_LEVEL,
                                       .covariate = g_strdup("grade"),
                                       .level = g_strdup("h\xc3\xb6her"),
                                       .reference = g_strdup("low")};
    net.cuts = numbers(CUTS, (double[]){300.5, 1000});
    net.risk_cut = numbers(SEEDS, (double[]){0.25, -0.125});
    net.epochs = g_new0(int64_t, SEEDS);
    net.mean = g_new0(float, DIM);
    net.inverse = g_new0(float, DIM);
    net.params = g_new0(float, SEEDS *PARAMS);
    for (size_t i = 0; i < SEEDS * PARAMS; i++)
        net.params[i] = 0.5f - (float)i / 16;
    return net;
}

static LobModelFile make_file(void) {
    LobModelFile file = {
        .model = {.program = g_strdup("0.0.1"),
                  .study = g_strdup("test"),
                  .study_sha256 = g_strdup("00ff"),
                  .seed = UINT64_MAX - 5,
                  .seeds = SEEDS,
                  .n_endpoints = 1,
                  .n_kinds = 1,
                  .nets = g_new0(LobSavedNet, 1)},
        .features = {.encoder = g_strdup("texture"),
                     .weights_sha256 = g_strdup(""),
                     .transform = g_strdup("none"),
                     .precision = g_strdup("fp32"),
                     .columns = g_strsplit("a,b,c", ",", -1),
                     .dim = DIM,
                     .tile_size = 224,
                     .tile_mpp = 0.5,
                     .min_tissue = 0.25,
                     .tissue = g_strdup("otsu")},
    };
    file.model.nets[0] = make_net();
    file.registered = g_new(LobRegistered, 1);
    *file.registered = (LobRegistered){.text = g_strdup("{\"benefit\": {\"contrast\": \"tace\"}}\n"),
                                       .marker = g_strdup("lym"),
                                       .marker_mean = 0.25,
                                       .marker_sd = 2,
                                       .has_thirds = {true, false},
                                       .third = {{-3.5, 40}, {0, 0}}};
    file.registered->lock = lob_sha256_bytes(file.registered->text, strlen(file.registered->text));
    lob_model_file_seal(&file);
    return file;
}

static char *read_all(const char *path, size_t *size) {
    g_autoptr(GError) err = NULL;
    char *bytes = lob_file_read(path, SIZE_MAX / 2, size, &err);
    cr_assert(bytes, "%s", err ? err->message : "");
    return bytes;
}

static void seal_again(char *bytes, size_t size) {
    g_autofree char *seal = lob_model_seal_text(bytes, size);
    memset(bytes, 0, LOB_MODEL_SEAL);
    memcpy(bytes, seal, strlen(seal));
}

Test(model_file, comes_back_as_it_was) {
    g_autofree char *folder = fix_folder(), *path = g_build_filename(folder, "model.h5", NULL);
    LobModelFile file = make_file(), back;
    size_t size;
    FIX_OK(lob_model_file_write(path, &file, err));
    g_autofree char *bytes = read_all(path, &size);
    FIX_OK(lob_model_file_parse(path, bytes, size, &back, err));
    FIX_OK(lob_saved_check(&back.model, err));
    cr_assert_str_eq(back.sha256, file.sha256);
    const LobSavedNet *a = &file.model.nets[0], *b = &back.model.nets[0];
    cr_assert_eq(back.model.seed, file.model.seed);
    cr_assert_arr_eq(a->params, b->params, SEEDS * PARAMS * sizeof(float));
    cr_assert_eq(a->columns[0].median, b->columns[0].median);
    cr_assert_str_eq(a->columns[2].level, b->columns[2].level);
    cr_assert_str_eq(back.features.encoder, "texture");
    cr_assert_str_eq(back.features.columns[2], "c");
    cr_assert_eq(b->endpoint.landmark, 90);
    cr_assert_null(b->endpoint.competing);
    cr_assert_str_eq(back.registered->text, file.registered->text);
    cr_assert_str_eq(back.registered->marker, "lym");
    cr_assert(back.registered->has_thirds[0] && !back.registered->has_thirds[1]);
    cr_assert_arr_eq(back.registered->third, file.registered->third, sizeof file.registered->third);
    lob_model_file_clear(&file);
    lob_model_file_clear(&back);
}

/* Whatever is changed in the content changes the hash. */
Test(model_file, hash_is_of_everything) {
    LobModelFile file = make_file();
    g_autofree char *first = g_strdup(file.sha256);
    LobSavedNet *net = &file.model.nets[0];
    double *values[] = {&file.registered->third[0][1],
                        &file.registered->marker_sd,
                        &net->cuts[1],
                        &net->risk_cut[1],
                        &net->columns[0].sd,
                        &net->endpoint.landmark,
                        &file.features.tile_mpp,
                        &net->endpoint.horizons[0]};
    for (size_t i = 0; i < G_N_ELEMENTS(values); i++) {
        double before = *values[i];
        *values[i] += 1e-9;
        lob_model_file_seal(&file);
        cr_assert_str_neq(file.sha256, first, "%zu", i);
        *values[i] = before;
    }
    lob_model_file_seal(&file);
    cr_assert_str_eq(file.sha256, first);
    net->params[SEEDS * PARAMS - 1] += 1e-6f;
    lob_model_file_seal(&file);
    cr_assert_str_neq(file.sha256, first);
    lob_model_file_clear(&file);
}

Test(model_file, locked_one_is_kept) {
    g_autofree char *folder = fix_folder(), *path = g_build_filename(folder, "model.h5", NULL);
    LobModelFile file = make_file();
    size_t size, again;
    FIX_OK(lob_model_file_write(path, &file, err));
    g_autofree char *bytes = read_all(path, &size);
    FIX_OK(lob_model_file_write(path, &file, err));
    file.model.nets[0].params[0] += 1;
    lob_model_file_seal(&file);
    FIX_FAILS(lob_model_file_write(path, &file, err), LOB_ERROR_INPUT, "never replaced");
    g_autofree char *there = read_all(path, &again);
    cr_assert_eq(size, again);
    cr_assert_arr_eq(bytes, there, size);
    lob_model_file_clear(&file);
}

/* A turned bit fails at the seal; a forger who seals again fails at HDF5, the checks or the hash, unless the
 * byte carried nothing. */
Test(model_file, damage_is_found) {
    g_autofree char *folder = fix_folder(), *path = g_build_filename(folder, "model.h5", NULL);
    LobModelFile file = make_file(), back;
    size_t size, refused = 0;
    FIX_OK(lob_model_file_write(path, &file, err));
    g_autofree char *bytes = read_all(path, &size);
    for (size_t at = 0; at < size; at += 37) {
        g_autofree char *copy = g_memdup2(bytes, size);
        copy[at] ^= 4;
        FIX_FAILS(lob_model_file_parse(path, copy, size, &back, err), LOB_ERROR_INPUT, "model.h5");
        seal_again(copy, size);
        g_autoptr(GError) problem = NULL;
        if (!lob_model_file_parse(path, copy, size, &back, &problem)) {
            refused++;
            continue;
        }
        cr_assert_str_eq(back.sha256, file.sha256, "byte %zu", at);
        lob_model_file_clear(&back);
    }
    cr_assert_gt(refused, 20);
    for (size_t cut = 0; cut < size; cut += size / 9) {
        g_autofree char *copy = g_memdup2(bytes, size);
        if (cut > LOB_MODEL_SEAL)
            seal_again(copy, cut);
        FIX_FAILS(lob_model_file_parse(path, copy, cut, &back, err), LOB_ERROR_INPUT, "model.h5");
    }
    lob_model_file_clear(&file);
}

/* Whole, sealed and hashed, but not what training makes. */
Test(model_file, what_does_not_fit_is_refused) {
    g_autofree char *folder = fix_folder();
    for (int i = 0; i < 6; i++) {
        g_autofree char *name = g_strdup_printf("%d.h5", i), *path = g_build_filename(folder, name, NULL);
        LobModelFile file = make_file(), back;
        LobSavedNet *net = &file.model.nets[0];
        size_t size;
        if (i == 0)
            net->n_centers = 5;
        else if (i == 1)
            net->params[3] = NAN;
        else if (i == 2)
            net->cuts[1] = net->cuts[0];
        else if (i == 3)
            net->kind[0] = 'x';
        else if (i == 4)
            file.registered->text[2] = 'x'; /* another lock than its hash says */
        else
            file.registered->third[0][0] = 41;
        lob_model_file_seal(&file);
        FIX_OK(lob_model_file_write(path, &file, err));
        g_autofree char *bytes = read_all(path, &size);
        FIX_FAILS(lob_model_file_parse(path, bytes, size, &back, err), LOB_ERROR_INPUT, ".h5");
        lob_model_file_clear(&file);
    }
}

static const char h5py[] = "import h5py, sys\n"
                           "f = h5py.File(sys.argv[1], 'r')\n"
                           "print(f.userblock_size, f.attrs['lobule_model'], f['model-00/weights'].shape,\n"
                           "      f['model-00/column_level'][2].decode())\n";

Test(model_file, other_tools_read_it) {
    g_autofree char *folder = fix_folder(), *path = g_build_filename(folder, "model.h5", NULL), *out = NULL;
    LobModelFile file = make_file();
    FIX_OK(lob_model_file_write(path, &file, err));
    if (fix_python(h5py, path, &out) == 0)
        cr_assert_str_eq(out, "512 2 (2, 10) h\xc3\xb6her\n");
    else
        fprintf(stderr, "h5py is not there: reading by another tool is not shown\n");
    lob_model_file_clear(&file);
}
