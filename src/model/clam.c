/* clam: gated attention with CLAM's instance branch (Lu et al. 2021, single branch). The tiles attended most
 * and least are pseudo-labelled 1 and 0, and a small linear classifier on their hidden vectors must tell them
 * apart: one classifier a class, that of the patient's own class is trained; with more than two classes the
 * most attended tiles are also negatives for every other class. A survival endpoint has no class: one
 * classifier serves all patients. The branch shapes the hidden layer in training and is idle in prediction.
 *
 * CLAM's defaults: 8 tiles either way, here never more than half of the bag (CLAM fails on smaller bags);
 * the patient's loss counts 0.7, the tiles' cross-entropy 0.3. */
#include "model/model_internal.h"

#define MOST_EITHER_WAY (LOB_PICKED_MAX / 2)
#define TILE_SHARE 0.3

static size_t classifiers(const LobNet *net) {
    return net->endpoint == LOB_ENDPOINT_SURVIVAL ? 1 : MAX(net->outputs, 2);
}

/* Classifier c: w [2][hidden], b [2]. */
static size_t classifier_at(const LobNet *net, size_t c) {
    return lob_abmil_n_params(net) + c * 2 * (net->hidden + 1);
}

static size_t clam_z(const LobNet *net) {
    return net->hidden;
}

static size_t clam_n_params(const LobNet *net) {
    return classifier_at(net, classifiers(net));
}

static void clam_init(const LobNet *net, LobRng *rng, lob_real *params) {
    lob_abmil_init(net, rng, params);
    for (size_t c = 0; c < classifiers(net); c++) {
        lob_real *w = params + classifier_at(net, c);
        lob_linear_init(rng, net->hidden, 2, w, w + 2 * net->hidden);
    }
}

static void clam_decay(const LobNet *net, uint8_t *mask) {
    lob_abmil_decay(net, mask);
    for (size_t c = 0; c < classifiers(net); c++)
        memset(mask + classifier_at(net, c), 1, 2 * net->hidden);
}

/* Indices of the k largest (sign 1) or smallest (sign -1) weights; of equal ones the first. */
static void pick(const lob_real *weight, size_t n, size_t k, int sign, size_t *picked) {
    size_t have = 0;
    for (size_t i = 0; i < n; i++) {
        lob_real w = (lob_real)sign * weight[i];
        size_t at = have < k ? have++ : k;
        if (at == k && w <= (lob_real)sign * weight[picked[k - 1]])
            continue;
        at = MIN(at, k - 1);
        for (; at > 0 && (lob_real)sign * weight[picked[at - 1]] < w; at--)
            picked[at] = picked[at - 1];
        picked[at] = i;
    }
}

/* Cross-entropy of one classifier on picked tiles [from, to), of which the first `positive` are labelled 1;
 * their mean, times `share`. */
static lob_real classify(const LobNet *net, const lob_real *params, size_t c, size_t from, size_t to,
                         size_t positive, lob_real share, lob_real scale, LobNetWork *work, lob_real *grad) {
    const size_t h = net->hidden, at = classifier_at(net, c);
    const lob_real *w = params + at, *b = w + 2 * h, each = share / (lob_real)(to - from);
    lob_real loss = 0;
    for (size_t i = from; i < to; i++) {
        const lob_real *x = work->h + work->picked[i] * h;
        lob_real margin = b[1] - b[0];
        for (size_t j = 0; j < h; j++)
            margin += (w[h + j] - w[j]) * x[j];
        lob_real m = i - from < positive ? margin : -margin;
        loss += each * ((m < 0 ? -m : 0) + LOB_LOG1P(LOB_EXP(-LOB_FABS(m))));
        lob_real miss = m >= 0 ? LOB_EXP(-m) / (1 + LOB_EXP(-m)) : 1 / (1 + LOB_EXP(m));
        lob_real d = scale * each * (i - from < positive ? -miss : miss); /* with respect to margin */
        for (size_t j = 0; j < h; j++) {
            grad[at + h + j] += d * x[j];
            grad[at + j] -= d * x[j];
            work->dpicked[i * h + j] += d * (w[h + j] - w[j]);
        }
        grad[at + 2 * h + 1] += d;
        grad[at + 2 * h] -= d;
    }
    return loss;
}

static lob_real clam_tile_loss(const LobNet *net, const lob_real *params, const LobNetInput *input,
                               lob_real scale, LobNetWork *work, lob_real *grad) {
    const size_t k = MIN((size_t)MOST_EITHER_WAY, input->n / 2), n_classes = classifiers(net);
    if (k == 0)
        return 0;
    pick(work->weight, input->n, k, 1, work->picked);
    pick(work->weight, input->n, k, -1, work->picked + k);
    work->n_picked = 2 * k;
    memset(work->dpicked, 0, 2 * k * net->hidden * sizeof *work->dpicked);
    const size_t own = n_classes == 1 ? 0 : (size_t)input->target;
    const lob_real share = (lob_real)(n_classes > 2 ? TILE_SHARE / (double)n_classes : TILE_SHARE);
    lob_real loss = classify(net, params, own, 0, 2 * k, k, share, scale, work, grad);
    for (size_t c = 0; n_classes > 2 && c < n_classes; c++)
        if (c != own)
            loss += classify(net, params, c, 0, k, 0, share, scale, work, grad);
    return loss;
}

const LobAggregator lob_clam = {.kind = "clam",
                                .needs_bag = true,
                                .has_attention = true,
                                .z = clam_z,
                                .n_params = clam_n_params,
                                .init = clam_init,
                                .forward = lob_abmil_forward,
                                .backward = lob_abmil_backward,
                                .decay = clam_decay,
                                .tile_loss = clam_tile_loss,
                                .bag_share = 1 - TILE_SHARE};
