/* Every derived gradient against central differences, in double: the same sources compiled with lob_real as
 * double. A wrong sign, a forgotten path or a forgotten mask shows as an error of order 1. */
#define LOB_MODEL_DOUBLE
#include "model/model_internal.h"

#include "model/abmil.c"
#include "model/aggregate.c"
#include "model/clam.c"
#include "model/layers.c"
#include "model/loss.c"
#include "model/net.c"
#include "model/transformer.c"

#include <criterion/criterion.h>

enum { DIM = 7, TILES = 9, COVARIATES = 3, CENTERS = 3 };

typedef struct {
    LobNet net;
    LobNetInput input;
    double dropout;
    uint64_t seed;
} Case;

/* Adds the gradient to grad. */
static double loss_at(const Case *c, const double *params, LobNetWork *work, double *grad) {
    LobRng rng;
    lob_rng_init(&rng, c->seed, "dropout");
    lob_net_forward(&c->net, params, &c->input, c->dropout, c->dropout > 0 ? &rng : NULL, work);
    return lob_net_backward(&c->net, params, &c->input, 1, work, grad);
}

/* Largest |analytic - numeric| over the largest gradient. */
static double worst_error(const Case *c) {
    size_t n = c->net.n_params;
    g_autofree double *params = g_new(double, n), *grad = g_new0(double, n);
    g_autofree double *unused = g_new0(double, n);
    LobRng rng;
    lob_rng_init(&rng, c->seed, "params");
    for (size_t i = 0; i < n; i++)
        params[i] = 0.5 * lob_rng_normal(&rng);
    LobNetWork *work = lob_net_work_new(&c->net, c->input.n);
    loss_at(c, params, work, grad);
    double worst = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        double kept = params[i], h = 1e-5;
        params[i] = kept + h;
        double up = loss_at(c, params, work, unused);
        params[i] = kept - h;
        double down = loss_at(c, params, work, unused);
        params[i] = kept;
        worst = MAX(worst, fabs((up - down) / (2 * h) - grad[i]));
        size = MAX(size, fabs(grad[i]));
    }
    lob_net_work_free(work);
    cr_assert_gt(size, 1e-3, "the gradient vanishes: the case tests nothing");
    return worst / size;
}

static void check(const char *kind, LobEndpointKind endpoint, int target, bool event, int center,
                  double dropout) {
    static double x[TILES * DIM];
    static const float covariates[COVARIATES] = {0.3f, -1.2f, 0.8f};
    LobRng rng;
    lob_rng_init(&rng, 5, kind);
    for (size_t i = 0; i < G_N_ELEMENTS(x); i++)
        x[i] = lob_rng_normal(&rng);
    Case c = {.dropout = dropout, .seed = 11};
    lob_net_init_shape(&c.net, lob_aggregator_find(kind), endpoint, DIM, 6, kind[0] == 't' ? 2 : 5,
                       COVARIATES, 4, 5, CENTERS);
    c.input = (LobNetInput){x, TILES, covariates, center, target, event};
    double error = worst_error(&c);
    cr_expect_lt(error, 1e-6, "%s, endpoint %d, target %d, event %d, center %d, dropout %g: error %g", kind,
                 (int)endpoint, target, event, center, dropout, error);
}

static void check_all(const char *kind) {
    for (int center = -1; center < CENTERS; center++) {
        for (int target = 0; target < 5; target++)
            check(kind, LOB_ENDPOINT_SURVIVAL, target, true, center, 0);
        check(kind, LOB_ENDPOINT_SURVIVAL, 5, false, center, 0);
        check(kind, LOB_ENDPOINT_SURVIVAL, 2, false, center, 0.4);
        check(kind, LOB_ENDPOINT_BINARY, 0, false, center, 0);
        check(kind, LOB_ENDPOINT_BINARY, 1, true, center, 0.4);
        for (int target = 0; target < 4; target++)
            check(kind, LOB_ENDPOINT_MULTICLASS, target, false, center, target ? 0.2 : 0);
    }
}

Test(model, gradient_of_abmil) {
    check_all("abmil");
}

Test(model, gradient_of_clam) {
    check_all("clam");
}

Test(model, gradient_of_transformer) {
    check_all("transformer");
}

/* More tokens than one block of query rows, and a bag of one tile. */
Test(model, gradient_of_transformer_in_blocks) {
    enum { MANY = 150 };
    static double x[MANY * 3];
    for (size_t i = 0; i < G_N_ELEMENTS(x); i++)
        x[i] = sin(1.7 * (double)i * (double)i);
    for (size_t n = 1; n <= MANY; n += MANY - 1) {
        Case c = {.seed = 3};
        lob_net_init_shape(&c.net, lob_aggregator_find("transformer"), LOB_ENDPOINT_BINARY, 3, 4, 2, 0, 2, 1,
                           1);
        c.input = (LobNetInput){x, n, NULL, 0, 1, true};
        double error = worst_error(&c);
        cr_expect_lt(error, 1e-6, "%zu tiles: error %g", n, error);
    }
}

Test(model, gradient_of_mean) {
    check_all("mean");
}

Test(model, gradient_of_clinical) {
    check_all("clinical");
}

/* The loss is the negative log likelihood it claims to be, computed from hazards the plain way. */
Test(model, hazard_loss_is_the_likelihood) {
    LobNet net;
    lob_net_init_shape(&net, lob_aggregator_find("clinical"), LOB_ENDPOINT_SURVIVAL, 0, 0, 0, 1, 2, 4, 2);
    double params[7] = {0, /* head */ -1, -0.5, 0.2, 0.4, /* centers */ 0.3, -0.7}, out = 0.6;
    cr_assert_eq(net.n_params, 7);
    double survived = 0;
    for (int y = 0; y < 4; y++) {
        double h = 1 / (1 + exp(-(params[1 + y] + params[6] + out)));
        LobNetInput dies = {.center = 1, .target = y, .event = true}, lives = {.center = 1, .target = y};
        cr_expect_float_eq(lob_loss_patient(&net, params, &dies, &out, NULL, NULL, 0), survived - log(h),
                           1e-12);
        cr_expect_float_eq(lob_loss_patient(&net, params, &lives, &out, NULL, NULL, 0), survived, 1e-12);
        survived -= log(1 - h);
    }
}

/* Extreme logits neither overflow nor vanish. */
Test(model, losses_stay_finite) {
    LobNet net;
    lob_net_init_shape(&net, lob_aggregator_find("clinical"), LOB_ENDPOINT_SURVIVAL, 0, 0, 0, 1, 2, 1, 1);
    double params[3] = {0}, grad[3] = {0}, dout = 0;
    for (double out = -2000; out <= 2000; out += 4000) {
        LobNetInput dies = {.target = 0, .event = true};
        cr_expect_float_eq(lob_loss_patient(&net, params, &dies, &out, &dout, grad, 1), out < 0 ? 2000 : 0,
                           1e-9);
        cr_expect(isfinite(dout) && isfinite(grad[1]));
    }
}

/* The goldens of the notes: two patients, three intervals, mean 1.62144472678 (Patho-Bench's loss, alpha 0,
 * with interval-wise logits and the censoring interval counted as survived). */
Test(model, hazard_loss_golden) {
    LobNet net;
    lob_net_init_shape(&net, lob_aggregator_find("clinical"), LOB_ENDPOINT_SURVIVAL, 0, 0, 0, 1, 2, 3, 1);
    double first[5] = {0, 0.2, -0.4, 0.1, 0}, second[5] = {0, -1, 0.5, 0.3, 0}, out = 0;
    LobNetInput dies = {.target = 2, .event = true}, lives = {.target = 2};
    double sum = lob_loss_patient(&net, first, &dies, &out, NULL, NULL, 0) +
                 lob_loss_patient(&net, second, &lives, &out, NULL, NULL, 0);
    cr_expect_float_eq(sum / 2, 1.62144472678, 1e-10);
}
