/* Competing events. The network models the cause-specific hazard of the event (who has a competing one leaves
 * the risk set, as if censored). For the probability of the event a competing hazard is needed as well: one a
 * interval, the same for all patients, counted on the training patients and kept behind the network's
 * parameters, where no gradient reaches it. Hazards are constant within an interval, so that of the all-cause
 * risk the cause's share is that of its hazard. */
#include "model/fit.h"

void lob_net_add_rivals(LobNet *net) {
    net->rival = net->n_params;
    net->n_params += net->intervals;
}

void lob_run_rivals(LobRun *run, const LobFit *fit, const uint32_t *patients, size_t n) {
    const LobView *view = fit->view;
    float *rival = run->params + run->net.rival;
    for (size_t b = 0; b < view->n_cuts; b++) {
        double start = b ? view->cuts[b - 1] : 0, hit = 0, tried = 0;
        for (size_t i = 0; i < n; i++) {
            double t = view->time[patients[i]];
            bool here = t > start && t <= view->cuts[b], competes = view->event[patients[i]] == 2;
            hit += here && competes;
            tried += t > view->cuts[b] || (here && (competes || view->event[patients[i]] == 1));
        }
        /* Half a patient at risk more: an interval in which all leave keeps its logarithm finite. */
        rival[b] = (float)log1p(-hit / (tried + 0.5));
    }
}

double lob_event_free_at(const LobView *view, const double *log_survival, const float *rival,
                         double horizon) {
    double sum = 0, start = 0, incidence = 0;
    for (size_t b = 0; b < view->n_cuts; b++) {
        double end = MIN(horizon, view->cuts[b]);
        double share = (end - start) / (view->cuts[b] - start);
        double own = log_survival[b] * share, all = own + (rival ? (double)rival[b] * share : 0);
        if (all < 0)
            incidence += exp(sum) * -expm1(all) * (own / all);
        sum += all;
        if (horizon <= view->cuts[b])
            return rival ? 1 - incidence : exp(sum);
        start = view->cuts[b];
    }
    return NAN;
}
