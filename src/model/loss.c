/* The losses of one patient, from the head's outputs and the intercepts.
 *
 * Survival: discrete-time hazards, logit h_b = a_b + u_center + f. An event in interval y costs
 * sum_{b<y} -log(1-h_b) - log h_y, a patient who survived m whole intervals sum_{b<m} -log(1-h_b); written
 * with softplus, so no clamp is needed. Binary: logistic. Multiclass: softmax cross-entropy. All have the
 * center's own intercept in training, so that differences between centers are not learned as morphology. */
#include "model/model_internal.h"

static lob_real softplus(lob_real x) {
    return (x > 0 ? x : 0) + LOB_LOG1P(LOB_EXP(-LOB_FABS(x)));
}

static lob_real sigmoid(lob_real x) {
    if (x >= 0)
        return 1 / (1 + LOB_EXP(-x));
    lob_real e = LOB_EXP(x);
    return e / (1 + e);
}

/* The intercept of output k for a center; -1: the plain average over the training centers. */
static lob_real center_intercept(const LobNet *net, const lob_real *params, int center, size_t k) {
    const lob_real *u = params + net->center;
    if (center >= 0)
        return u[(size_t)center * net->outputs + k];
    lob_real sum = 0;
    for (size_t c = 0; c < net->centers; c++)
        sum += u[c * net->outputs + k];
    return net->centers ? sum / (lob_real)net->centers : 0;
}

/* Gradient with respect to output k's logit goes to the output, and to the intercepts that were added. */
static void add_center(const LobNet *net, int center, size_t k, lob_real d, lob_real *grad) {
    if (center >= 0)
        grad[net->center + (size_t)center * net->outputs + k] += d;
    else
        for (size_t c = 0; c < net->centers; c++)
            grad[net->center + c * net->outputs + k] += d / (lob_real)net->centers;
}

static lob_real survival_loss(const LobNet *net, const lob_real *params, const LobNetInput *input,
                              const lob_real *out, lob_real *dout, lob_real *grad, lob_real scale) {
    lob_real shift = out[0] + center_intercept(net, params, input->center, 0), loss = 0, total = 0;
    size_t last = (size_t)input->target + (input->event ? 1 : 0);
    for (size_t b = 0; b < last; b++) {
        lob_real x = params[net->base + b] + shift;
        bool dies = input->event && b + 1 == last;
        loss += softplus(dies ? -x : x);
        if (dout) {
            lob_real d = scale * (dies ? sigmoid(x) - 1 : sigmoid(x));
            grad[net->base + b] += d;
            total += d;
        }
    }
    if (dout) {
        dout[0] += total;
        add_center(net, input->center, 0, total, grad);
    }
    return loss;
}

static lob_real class_loss(const LobNet *net, const lob_real *params, const LobNetInput *input,
                           const lob_real *out, lob_real *dout, lob_real *grad, lob_real scale) {
    size_t k_n = net->outputs;
    lob_real top = 0, sum = 0, own = 0;
    for (size_t k = 0; k < k_n; k++) {
        lob_real x = out[k] + params[net->base + k] + center_intercept(net, params, input->center, k);
        top = k == 0 || x > top ? x : top;
        own = k == (size_t)input->target ? x : own;
    }
    for (size_t k = 0; k < k_n; k++)
        sum +=
            LOB_EXP(out[k] + params[net->base + k] + center_intercept(net, params, input->center, k) - top);
    for (size_t k = 0; dout && k < k_n; k++) {
        lob_real x = out[k] + params[net->base + k] + center_intercept(net, params, input->center, k);
        lob_real d = scale * (LOB_EXP(x - top) / sum - (k == (size_t)input->target ? 1 : 0));
        dout[k] += d;
        grad[net->base + k] += d;
        add_center(net, input->center, k, d, grad);
    }
    return (lob_real)log((double)sum) + top - own;
}

static lob_real binary_loss(const LobNet *net, const lob_real *params, const LobNetInput *input,
                            const lob_real *out, lob_real *dout, lob_real *grad, lob_real scale) {
    lob_real x = out[0] + params[net->base] + center_intercept(net, params, input->center, 0);
    if (dout) {
        lob_real d = scale * (sigmoid(x) - (input->target ? 1 : 0));
        dout[0] += d;
        grad[net->base] += d;
        add_center(net, input->center, 0, d, grad);
    }
    return softplus(input->target ? -x : x);
}

lob_real lob_loss_patient(const LobNet *net, const lob_real *params, const LobNetInput *input,
                          const lob_real *out, lob_real *dout, lob_real *grad, lob_real scale) {
    switch (net->endpoint) {
    case LOB_ENDPOINT_SURVIVAL:
        return survival_loss(net, params, input, out, dout, grad, scale);
    case LOB_ENDPOINT_BINARY:
        return binary_loss(net, params, input, out, dout, grad, scale);
    case LOB_ENDPOINT_MULTICLASS:
        break;
    }
    return class_loss(net, params, input, out, dout, grad, scale);
}
