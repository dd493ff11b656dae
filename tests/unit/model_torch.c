/* Two training steps against PyTorch from the same weights: tests/oracles/model_torch.py made the numbers. */
#include "model/model_internal.h"

#include <criterion/criterion.h>

enum {
    DIM = 5,
    HIDDEN = 4,
    ATTENTION = 3,
    COVARIATES = 2,
    INTERVALS = 3,
    CENTERS = 2,
    PATIENTS = 3,
    ROWS = 11
};

static const double losses[2] = {3.406345041657, 3.324559642344};
static const double wanted[68] = {
    0.1557567738,  0.5600369970,  -0.2948451657, -0.4391680461, 0.4130933453,  0.3274974397,  -0.5425046007,
    -0.2327454852, 0.5973391968,  0.0839594216,  -0.5745511562, 0.0696429060,  0.5515606335,  -0.2555225954,
    -0.4906847387, 0.3875488881,  0.4352982616,  -0.4546975408, -0.2731996137, 0.5302042809,  0.1328767285,
    -0.5750651745, -0.0189138369, 0.5749438217,  -0.1323751899, -0.5688964783, 0.2740798763,  0.4939336900,
    -0.3962087759, -0.3859327401, 0.4907574818,  0.2550987282,  -0.5911672404, -0.0689066950, 0.6138141905,
    -0.0850010816, -0.5629798687, 0.1959237313,  0.5074332847,  -0.3680772790, -0.4132455343, 0.4795944801,
    0.2944039257,  -0.5206364011, -0.1938409986, 0.5657247203,  0.0435946775,  -0.6104745049, 0.1479546225,
    0.5783287262,  -0.2527877288, -0.4730771676, 0.3827686669,  0.4093501316,  -0.5178133351, -0.2373839956,
    0.5840515071,  0.0919055279,  -0.6121352774, 0.0210472642,  0.5624483578,  -0.2109948350, -0.5132032922,
    0.3117473207,  0.4330396254,  -0.4684577829, -0.3174514252, 0.5154527191};

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
        lob_net_forward(net, params, &input, 0, NULL, work);
        loss += (double)lob_net_backward(net, params, &input, 1.0f / PATIENTS, work, grad) / PATIENTS;
        row += tiles[p];
    }
    return loss;
}

Test(model, two_steps_as_pytorch_takes_them) {
    LobNet net;
    lob_net_init_shape(&net, lob_aggregator_find("abmil"), LOB_ENDPOINT_SURVIVAL, DIM, HIDDEN, ATTENTION,
                       COVARIATES, 2, INTERVALS, CENTERS);
    cr_assert_eq(net.n_params, G_N_ELEMENTS(wanted));
    float params[G_N_ELEMENTS(wanted)], grad[G_N_ELEMENTS(wanted)];
    for (size_t i = 0; i < net.n_params; i++)
        params[i] = (float)(0.6 * sin(1.7 * (double)i + 0.3));
    LobNetWork *work = lob_net_work_new(&net, ROWS);
    LobAdam adam;
    lob_adam_init(&adam, net.n_params);
    lob_net_decay_mask(&net, adam.decay);
    for (int step = 0; step < 2; step++) {
        cr_expect_float_eq(batch(&net, params, work, grad), losses[step], 1e-5, "loss at step %d", step);
        lob_adam_step(&adam, 0.01, 0.5, grad, params);
    }
    for (size_t i = 0; i < net.n_params; i++)
        cr_expect_float_eq((double)params[i], wanted[i], 1e-5, "parameter %zu: %g, PyTorch %g", i,
                           (double)params[i], wanted[i]);
    lob_net_work_free(work);
    lob_adam_clear(&adam);
}
