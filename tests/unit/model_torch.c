/* Two training steps against PyTorch from the same weights: tests/oracles/model_torch.py made the numbers. */
#include "model/model_internal.h"

#include "model_torch_golden.h"

#include <criterion/criterion.h>

enum {
    DIM = 5,
    HIDDEN = 4,
    ATTENTION = 3,
    COVARIATES = 2,
    INTERVALS = 3,
    CLASSES = 3,
    CENTERS = 2,
    PATIENTS = 3,
    ROWS = 11
};

static const size_t tiles[PATIENTS] = {6, 1, 4};
static const LobNetInput outcome[PATIENTS] = {{.center = 0, .target = 1, .event = true},
                                              {.center = 1, .target = 2, .event = true},
                                              {.center = 1, .target = 3}};

/* Forward and backward of the three patients; the mean loss. */
static double batch(const LobNet *net, const float *params, LobNetWork *work, float *grad) {
    float x[ROWS * DIM];
    double loss = 0;
    size_t row = 0;
    for (size_t i = 0; i < G_N_ELEMENTS(x); i++)
        x[i] = (float)cos(0.9 * (double)i);
    memset(grad, 0, net->n_params * sizeof *grad);
    for (size_t p = 0; p < PATIENTS; p++) {
        const float covariates[COVARIATES] = {0.5f * (float)p - 0.4f, 1 - (float)p};
        LobNetInput input = outcome[p];
        input.x = x + row * DIM;
        input.n = tiles[p];
        input.covariates = covariates;
        input.target -= net->endpoint == LOB_ENDPOINT_MULTICLASS; /* classes from 0 */
        lob_net_forward(net, params, &input, 0, NULL, work);
        loss += (double)lob_net_backward(net, params, &input, 1.0f / PATIENTS, work, grad) / PATIENTS;
        row += tiles[p];
    }
    return loss;
}

/* The biases of a transformer's keys shift a whole row of weights before its softmax, which changes nothing:
 * their gradient is rounding, which AdamW's first steps blow up to any sign. */
static bool is_without_effect(const char *kind, size_t i) {
    const size_t first = DIM * HIDDEN + 2 * HIDDEN /* embedding, token */ + 2 * HIDDEN /* norm */ +
                         3 * HIDDEN * HIDDEN + HIDDEN /* biases of queries */;
    const size_t layer = 8 * HIDDEN * HIDDEN + 11 * HIDDEN;
    return strcmp(kind, "transformer") == 0 &&
           ((i >= first && i < first + HIDDEN) || (i >= first + layer && i < first + layer + HIDDEN));
}

static void check(const char *kind, LobEndpointKind endpoint, size_t attention, const double *losses,
                  const double *wanted, size_t n_wanted) {
    LobNet net;
    lob_net_init_shape(&net, lob_aggregator_find(kind), endpoint, DIM, HIDDEN, attention, COVARIATES, CLASSES,
                       INTERVALS, CENTERS);
    cr_assert_eq(net.n_params, n_wanted, "%s has %zu parameters, PyTorch %zu", kind, net.n_params, n_wanted);
    g_autofree float *params = g_new(float, n_wanted), *grad = g_new(float, n_wanted);
    for (size_t i = 0; i < net.n_params; i++)
        params[i] = (float)(0.6 * sin(1.7 * (double)i + 0.3));
    LobNetWork *work = lob_net_work_new(&net, ROWS);
    LobAdam adam;
    lob_adam_init(&adam, net.n_params);
    lob_net_decay_mask(&net, adam.decay);
    for (int step = 0; step < 2; step++) {
        cr_expect_float_eq(batch(&net, params, work, grad), losses[step], 1e-5, "%s: loss at step %d", kind,
                           step);
        lob_adam_step(&adam, 0.01, 0.5, grad, params);
    }
    for (size_t i = 0; i < net.n_params; i++)
        cr_expect_float_eq(is_without_effect(kind, i) ? wanted[i] : (double)params[i], wanted[i], 1e-5,
                           "%s: parameter %zu: %g, PyTorch %g", kind, i, (double)params[i], wanted[i]);
    lob_net_work_free(work);
    lob_adam_clear(&adam);
}

Test(model, abmil_steps_as_pytorch_does) {
    check("abmil", LOB_ENDPOINT_SURVIVAL, ATTENTION, abmil_losses, abmil_wanted, G_N_ELEMENTS(abmil_wanted));
}

Test(model, clam_steps_as_pytorch_does) {
    check("clam", LOB_ENDPOINT_MULTICLASS, ATTENTION, clam_losses, clam_wanted, G_N_ELEMENTS(clam_wanted));
}

Test(model, transformer_steps_as_pytorch_does) {
    check("transformer", LOB_ENDPOINT_SURVIVAL, 2, transformer_losses, transformer_wanted,
          G_N_ELEMENTS(transformer_wanted));
}
