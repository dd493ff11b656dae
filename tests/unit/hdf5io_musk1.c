/* Training on real bags as PyTorch trains: the same weights, order and steps give the same logits. The
 * numbers are by tests/oracles/musk1_torch.py; MUSK1 is read where the shared data are. */
#include "hdf5io/hdf5io.h"
#include "model/model_internal.h"

#include "hdf5io_musk1_golden.h"

#include <criterion/criterion.h>
#include <glib/gstdio.h>
#include <string.h>

enum { BAGS = 92, HIDDEN = 32, ATTENTION = 16, EPOCHS = 8, BATCH = 16, MOST_ROWS = 100 };

typedef struct {
    LobStudy *study;
    LobCohort *cohort;
    LobFolds *folds;
    LobBagSet set;
    void *memory;
} Musk;

static void *allocate(void *user, size_t size) {
    return *(void **)user = g_malloc(size);
}

static void load(Musk *m, const char *folder) {
    g_autofree char *text = g_strdup_printf(
        "study: m\ncohort: {slides: %s/slides.csv, patients: %s/patients.csv}\nfeatures: %s/features\n"
        "endpoints: [{name: musk, kind: binary, label: label}]\n"
        "validation: {scheme: folds, file: %s/folds.csv}\n",
        folder, folder, folder, folder);
    g_autoptr(GError) err = NULL;
    g_autofree char *dir = g_dir_make_tmp("lob-musk1-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "study.yaml", NULL);
    cr_assert(g_file_set_contents(path, text, -1, NULL));
    m->study = lob_study_read(path, NULL, &err);
    m->cohort = m->study ? lob_cohort_read(m->study, &err) : NULL;
    m->folds = m->cohort ? lob_folds_make(m->cohort, &err) : NULL;
    cr_assert(m->folds && lob_bags_load(m->cohort, (const char *const *)m->study->features, allocate,
                                        &m->memory, &m->set, &err),
              "%s", err ? err->message : "");
}

/* Logit of a bag; with grad also scale times the gradient of its loss, added. */
static double bag(const Musk *m, const LobNet *net, const LobScaler *scaler, const float *params, size_t p,
                  float *grad, float scale, LobNetWork *work) {
    static float x[MOST_ROWS * 166];
    LobNetInput input = {.x = x, .n = m->set.count[p], .target = m->cohort->event[0][p]};
    cr_assert_leq(input.n, MOST_ROWS);
    lob_scaler_apply(scaler, m->set.bags.features + m->set.first[p] * net->dim, input.n, x);
    lob_net_forward(net, params, &input, 0, NULL, work);
    const double logit = (double)work->out[0] + (double)params[net->base] + (double)params[net->center];
    if (grad)
        (void)lob_net_backward(net, params, &input, scale, work, grad);
    return logit;
}

Test(musk1, trains_as_pytorch_does) {
    const char *shared = g_getenv("LOB_SHARED") ? g_getenv("LOB_SHARED") : LOB_SOURCE_DIR "/../shared";
    g_autofree char *folder = g_canonicalize_filename("data/mil/musk1", shared);
    if (!g_file_test(folder, G_FILE_TEST_IS_DIR))
        cr_skip_test("MUSK1 is not here (set LOB_SHARED)");
    Musk m = {0};
    load(&m, folder);
    uint32_t train[BAGS];
    size_t n = 0;
    cr_assert_eq(m.cohort->n_patients, BAGS);
    cr_assert_eq(G_N_ELEMENTS(musk1_logits), BAGS);
    for (uint32_t p = 0; p < BAGS; p++)
        if (m.folds->fold[p] != 0)
            train[n++] = p;
    cr_assert(n > 70 && n < BAGS);
    LobNet net;
    LobAdam adam;
    LobScaler scaler;
    lob_scaler_fit(&scaler, &m.set.bags, train, n);
    lob_net_init_shape(&net, lob_aggregator_find("abmil"), LOB_ENDPOINT_BINARY, m.set.bags.dim, HIDDEN,
                       ATTENTION, 0, 2, 1, 1);
    g_autofree float *params = g_new(float, net.n_params), *grad = g_new(float, net.n_params);
    for (size_t i = 0; i < net.n_params; i++)
        params[i] = (float)(0.1 * sin(1.7 * (double)i + 0.3));
    LobNetWork *work = lob_net_work_new(&net, MOST_ROWS);
    lob_adam_init(&adam, net.n_params);
    lob_net_decay_mask(&net, adam.decay);
    for (int e = 0; e < EPOCHS; e++)
        for (size_t i = 0; i < n; i += BATCH) {
            const size_t end = MIN(i + BATCH, n);
            memset(grad, 0, net.n_params * sizeof *grad);
            for (size_t k = i; k < end; k++)
                (void)bag(&m, &net, &scaler, params, train[k], grad, 1 / (float)(end - i), work);
            lob_adam_step(&adam, 1e-3, 0.1, grad, params);
        }
    for (size_t p = 0; p < BAGS; p++) {
        const double logit = bag(&m, &net, &scaler, params, p, NULL, 0, work);
        cr_expect_float_eq(logit, musk1_logits[p], 1e-4, "bag %zu: %.7f, PyTorch %.7f", p, logit,
                           musk1_logits[p]);
    }
    lob_net_work_free(work);
    lob_adam_clear(&adam);
    lob_scaler_clear(&scaler);
    lob_bag_set_clear(&m.set);
    g_free(m.memory);
    lob_folds_free(m.folds);
    lob_cohort_free(m.cohort);
    lob_study_free(m.study);
}
