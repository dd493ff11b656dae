/* The network as a whole: aggregator, covariates joined to the patient vector, linear head, loss. */
#include "model/model_internal.h"

void lob_net_init_shape(LobNet *net, const LobAggregator *aggregator, LobEndpointKind endpoint, size_t dim,
                        size_t hidden, size_t attention, size_t covariates, size_t classes, size_t intervals,
                        size_t centers) {
    *net = (LobNet){.aggregator = aggregator,
                    .endpoint = endpoint,
                    .dim = dim,
                    .hidden = hidden,
                    .attention = attention,
                    .covariates = covariates,
                    .intervals = endpoint == LOB_ENDPOINT_SURVIVAL ? intervals : 1,
                    .outputs = endpoint == LOB_ENDPOINT_MULTICLASS ? classes : 1,
                    .centers = centers};
    net->z = aggregator->z(net);
    net->head = aggregator->n_params(net);
    net->base = net->head + net->outputs * (net->z + covariates);
    net->center = net->base + (endpoint == LOB_ENDPOINT_SURVIVAL ? intervals : net->outputs);
    net->n_params = net->center + centers * net->outputs;
}

void lob_net_init_params(const LobNet *net, LobRng *rng, lob_real *params) {
    memset(params, 0, net->n_params * sizeof *params);
    net->aggregator->init(net, rng, params);
}

void lob_net_decay_mask(const LobNet *net, uint8_t *mask) {
    memset(mask, 0, net->n_params);
    net->aggregator->decay(net, mask);
    memset(mask + net->head, 1, net->base - net->head);
}

LobNetWork *lob_net_work_new(const LobNet *net, size_t max_tiles) {
    LobNetWork *work = g_new0(LobNetWork, 1);
    size_t n = MAX(max_tiles, 1), zc = net->z + net->covariates;
    work->capacity = n;
    if (net->aggregator->has_attention) {
        work->weight = g_new(lob_real, n);
        work->dweight = g_new(lob_real, n);
    }
    if (net->aggregator->has_attention && !net->aggregator->scratch) {
        work->h = g_new(lob_real, n * net->hidden);
        work->dh = g_new(lob_real, n * net->hidden);
        work->ta = g_new(lob_real, n * net->attention);
        work->sb = g_new(lob_real, n * net->attention);
        work->g = g_new(lob_real, n * net->attention);
    }
    if (net->aggregator->scratch)
        work->own = g_new(lob_real, net->aggregator->scratch(net, n));
    if (net->aggregator->tile_loss)
        work->dpicked = g_new(lob_real, LOB_PICKED_MAX * net->hidden);
    work->mask = g_new(lob_real, MAX(net->z, 1));
    work->zc = g_new(lob_real, MAX(zc, 1));
    work->dzc = g_new(lob_real, MAX(zc, 1));
    work->out = g_new(lob_real, net->outputs);
    work->dout = g_new(lob_real, net->outputs);
    return work;
}

void lob_net_work_free(LobNetWork *work) {
    if (!work)
        return;
    lob_real *all[] = {work->h,    work->dh, work->ta,  work->sb,  work->g,    work->weight, work->dweight,
                       work->mask, work->zc, work->dzc, work->out, work->dout, work->own,    work->dpicked};
    for (size_t i = 0; i < G_N_ELEMENTS(all); i++)
        g_free(all[i]);
    g_free(work);
}

void lob_net_forward(const LobNet *net, const lob_real *params, const LobNetInput *input, double dropout,
                     LobRng *rng, LobNetWork *work) {
    net->aggregator->forward(net, params, input->x, input->n, work, work->zc);
    lob_net_forward_head(net, params, input, dropout, rng, work);
}

void lob_net_forward_head(const LobNet *net, const lob_real *params, const LobNetInput *input, double dropout,
                          LobRng *rng, LobNetWork *work) {
    size_t width = net->z + net->covariates;
    for (size_t j = 0; j < net->z; j++) {
        bool drop = rng && lob_rng_uniform(rng) < dropout;
        work->mask[j] = drop ? 0 : rng ? (lob_real)(1 / (1 - dropout)) : 1;
        work->zc[j] *= work->mask[j];
    }
    for (size_t j = 0; j < net->covariates; j++)
        work->zc[net->z + j] = (lob_real)input->covariates[j];
    for (size_t k = 0; k < net->outputs; k++) {
        const lob_real *w = params + net->head + k * width;
        lob_real sum = 0;
        for (size_t j = 0; j < width; j++)
            sum += w[j] * work->zc[j];
        work->out[k] = sum;
    }
}

void lob_net_backward_head(const LobNet *net, const lob_real *params, LobNetWork *work, lob_real *grad) {
    size_t width = net->z + net->covariates;
    memset(work->dzc, 0, width * sizeof *work->dzc);
    for (size_t k = 0; k < net->outputs; k++) {
        const lob_real *w = params + net->head + k * width;
        lob_real *dw = grad + net->head + k * width;
        for (size_t j = 0; j < width; j++) {
            dw[j] += work->dout[k] * work->zc[j];
            work->dzc[j] += work->dout[k] * w[j];
        }
    }
    for (size_t j = 0; j < net->z; j++)
        work->dzc[j] *= work->mask[j];
}

/* From work->dout, the gradient with respect to the outputs, back to all parameters; returns the loss on
 * tiles. */
static lob_real backward_from_outputs(const LobNet *net, const lob_real *params, const LobNetInput *input,
                                      lob_real scale, LobNetWork *work, lob_real *grad) {
    lob_net_backward_head(net, params, work, grad);
    work->n_picked = 0;
    lob_real loss = 0;
    if (net->aggregator->tile_loss)
        loss = net->aggregator->tile_loss(net, params, input, scale, work, grad);
    net->aggregator->backward(net, params, input->x, input->n, work, work->dzc, grad);
    return loss;
}

static lob_real bag_share(const LobNet *net) {
    return net->aggregator->tile_loss ? (lob_real)net->aggregator->bag_share : 1;
}

lob_real lob_net_backward(const LobNet *net, const lob_real *params, const LobNetInput *input, lob_real scale,
                          LobNetWork *work, lob_real *grad) {
    lob_real share = bag_share(net);
    memset(work->dout, 0, net->outputs * sizeof *work->dout);
    lob_real loss = share * lob_loss_patient(net, params, input, work->out, work->dout, grad, scale * share);
    return loss + backward_from_outputs(net, params, input, scale, work, grad);
}

lob_real lob_net_backward_from(const LobNet *net, const lob_real *params, const LobNetInput *input,
                               const lob_real *dout, lob_real scale, LobNetWork *work, lob_real *grad) {
    for (size_t k = 0; k < net->outputs; k++)
        work->dout[k] = bag_share(net) * dout[k];
    return backward_from_outputs(net, params, input, scale, work, grad);
}
