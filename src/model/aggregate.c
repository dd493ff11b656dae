/* The aggregators: how a bag of tiles becomes one vector. A new one is a file of its own (the simplest
 * are here) and a line in the table at the end. Backward passes are derived by hand; each is checked
 * against central differences. */
#include "model/model_internal.h"

/* ---- clinical: covariates only ---- */

static size_t zero_of(const LobNet *net) {
    (void)net;
    return 0;
}

static void init_nothing(const LobNet *net, LobRng *rng, lob_real *params) {
    (void)net, (void)rng, (void)params;
}

static void forward_nothing(const LobNet *net, const lob_real *params, const lob_real *x, size_t n,
                            LobNetWork *work, lob_real *z) {
    (void)net, (void)params, (void)x, (void)n, (void)work, (void)z;
}

static void backward_nothing(const LobNet *net, const lob_real *params, const lob_real *x, size_t n,
                             LobNetWork *work, const lob_real *dz, lob_real *grad) {
    (void)net, (void)params, (void)x, (void)n, (void)work, (void)dz, (void)grad;
}

static void decay_nothing(const LobNet *net, uint8_t *mask) {
    (void)net, (void)mask;
}

/* ---- mean: the average tile ---- */

static size_t mean_z(const LobNet *net) {
    return net->dim;
}

static void mean_forward(const LobNet *net, const lob_real *params, const lob_real *x, size_t n,
                         LobNetWork *work, lob_real *z) {
    (void)params, (void)work;
    for (size_t j = 0; j < net->dim; j++)
        z[j] = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < net->dim; j++)
            z[j] += x[i * net->dim + j];
    for (size_t j = 0; j < net->dim; j++)
        z[j] /= (lob_real)n;
}

/* ---- the table ---- */

static const LobAggregator mean_of_tiles = {.kind = "mean",
                                            .needs_bag = true,
                                            .z = mean_z,
                                            .n_params = zero_of,
                                            .init = init_nothing,
                                            .forward = mean_forward,
                                            .backward = backward_nothing,
                                            .decay = decay_nothing};

static const LobAggregator clinical_only = {.kind = "clinical",
                                            .z = zero_of,
                                            .n_params = zero_of,
                                            .init = init_nothing,
                                            .forward = forward_nothing,
                                            .backward = backward_nothing,
                                            .decay = decay_nothing};

static const LobAggregator *const aggregators[] = {&lob_abmil, &lob_clam, &lob_transformer, &mean_of_tiles,
                                                   &clinical_only};

const LobAggregator *lob_aggregator_find(const char *kind) {
    for (size_t i = 0; i < G_N_ELEMENTS(aggregators); i++)
        if (g_strcmp0(aggregators[i]->kind, kind) == 0)
            return aggregators[i];
    return NULL;
}

const char *const *lob_aggregator_names(void) {
    static const char *names[G_N_ELEMENTS(aggregators) + 1];
    for (size_t i = 0; i < G_N_ELEMENTS(aggregators); i++)
        names[i] = aggregators[i]->kind;
    return names;
}
