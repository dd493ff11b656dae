/* Training by Cox's loss. Its gradient for one patient needs the scores of all in the batch, so a batch takes
 * two passes: scores of all, then each bag once more for its gradient; nothing of a bag is kept between them.
 * The loss knows no baseline; the intercepts of the hazard are fitted once the network stands. */
#include "model/cox_loss.h"
#include "model/fit.h"

bool lob_run_cox_batch(LobRun *run, LobFit *fit, const uint32_t *batch, size_t n, int epoch, double *loss,
                       bool *taught, GError **err) {
    const LobView *view = fit->view;
    g_autofree double *score = g_new0(double, n), *gradient = g_new0(double, n), *time = g_new(double, n);
    g_autofree uint32_t *center = g_new(uint32_t, n);
    g_autofree int8_t *event = g_new(int8_t, n);
    LobNetInput input;
    size_t events;
    for (size_t i = 0; i < n; i++) {
        time[i] = view->time[batch[i]];
        event[i] = view->event[batch[i]];
        center[i] = view->cohort->patients[batch[i]].center;
        if (!lob_fit_goes_on(fit, i, err))
            return false;
        if (!lob_fit_is_mine(fit, batch[i]))
            continue;
        lob_run_forward_in(run, fit, batch[i], epoch, &input);
        score[i] = (double)run->work->out[0];
    }
    if (fit->bags)
        lob_group_gather(fit->bags->group, fit->bags->owner, batch, n, 1, score);
    *loss = lob_cox_loss(score, time, event, center, n, gradient, &events);
    *taught = events > 0;
    for (size_t i = 0; *taught && i < n; i++) {
        if (!lob_fit_goes_on(fit, i, err))
            return false;
        if (!lob_fit_is_mine(fit, batch[i]))
            continue;
        const float d = (float)gradient[i];
        lob_run_forward_in(run, fit, batch[i], epoch, &input);
        (void)lob_net_backward_from(&run->net, run->params, &input, &d, 1 / (float)n, run->work, run->grad);
    }
    return true;
}

/* ---- the baseline ----
 * Intercepts a of the intervals and u of the centers maximise the likelihood of the discrete hazards
 * logit h = a_b + u_c + score, by Newton's steps of one at a time. Weak normal priors (of a around the
 * smoothed log odds, of u around 0) keep finite what too few events decide. */

#define BASELINE_SWEEPS 100
#define BASELINE_PRIOR 0.1

typedef struct {
    size_t interval, center;
    double score;
    bool dies;
} Risk;

static GArray *risks_of(const LobRun *run, const LobFit *fit, const double *score) {
    GArray *risks = g_array_new(FALSE, FALSE, sizeof(Risk));
    for (size_t i = 0; i < fit->n_train; i++) {
        LobNetInput input;
        lob_run_input(run, fit, fit->train[i], &input);
        lob_fit_target(fit, fit->train[i], &input);
        size_t last = (size_t)input.target + input.event;
        for (size_t b = 0; b < last; b++) {
            Risk risk = {b, (size_t)input.center, score[i], input.event && b + 1 == last};
            g_array_append_val(risks, risk);
        }
    }
    return risks;
}

/* One step of every intercept of one kind; the largest of them. */
static double newton(const GArray *risks, bool of_centers, const double *a, const double *u, double *of,
                     const double *prior, size_t n) {
    g_autofree double *slope = g_new(double, n), *bend = g_new(double, n);
    double most = 0;
    for (size_t k = 0; k < n; k++) {
        slope[k] = BASELINE_PRIOR * (of[k] - prior[k]);
        bend[k] = BASELINE_PRIOR;
    }
    for (guint i = 0; i < risks->len; i++) {
        const Risk *r = &g_array_index(risks, Risk, i);
        double h = 1 / (1 + exp(-(a[r->interval] + u[r->center] + r->score)));
        size_t k = of_centers ? r->center : r->interval;
        slope[k] += h - r->dies;
        bend[k] += h * (1 - h);
    }
    for (size_t k = 0; k < n; k++) {
        double step = CLAMP(slope[k] / bend[k], -1, 1);
        of[k] -= step;
        most = MAX(most, fabs(step));
    }
    return most;
}

bool lob_run_cox_baseline(LobRun *run, LobFit *fit, GError **err) {
    const LobNet *net = &run->net;
    g_autofree double *score = g_new0(double, fit->n_train);
    if (!lob_run_outputs(run, fit, fit->train, fit->n_train, score, err))
        return false;
    g_autoptr(GArray) risks = risks_of(run, fit, score);
    g_autofree double *a = g_new(double, net->intervals), *start = g_new(double, net->intervals);
    g_autofree double *u = g_new0(double, net->centers), *none = g_new0(double, net->centers);
    for (size_t b = 0; b < net->intervals; b++)
        a[b] = start[b] = (double)run->params[net->base + b];
    for (int s = 0; s < BASELINE_SWEEPS; s++) {
        double moved = newton(risks, false, a, u, a, start, net->intervals);
        if (MAX(moved, newton(risks, true, a, u, u, none, net->centers)) < 1e-9)
            break;
    }
    for (size_t b = 0; b < net->intervals; b++)
        run->params[net->base + b] = (float)a[b];
    for (size_t c = 0; c < net->centers; c++)
        run->params[net->center + c] = (float)u[c];
    return true;
}
