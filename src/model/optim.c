/* AdamW, and the loss by which inner patients judge an epoch. */
#include "model/model_internal.h"

void lob_adam_init(LobAdam *adam, size_t n) {
    *adam = (LobAdam){n, g_new0(float, n), g_new0(float, n), g_new0(uint8_t, n), 0};
}

void lob_adam_clear(LobAdam *adam) {
    g_free(adam->m);
    g_free(adam->v);
    g_free(adam->decay);
    *adam = (LobAdam){0};
}

void lob_adam_step(LobAdam *adam, double lr, double weight_decay, const float *grad, float *params) {
    const float b1 = 0.9f, b2 = 0.999f, eps = 1e-8f;
    adam->step++;
    float c1 = (float)(1 - pow(0.9, (double)adam->step)), c2 = (float)(1 - pow(0.999, (double)adam->step));
    float rate = (float)lr, keep = (float)(1 - lr * weight_decay);
    for (size_t i = 0; i < adam->n; i++) {
        adam->m[i] = b1 * adam->m[i] + (1 - b1) * grad[i];
        adam->v[i] = b2 * adam->v[i] + (1 - b2) * grad[i] * grad[i];
        params[i] *= adam->decay[i] ? keep : 1;
        params[i] -= rate * (adam->m[i] / c1) / (sqrtf(adam->v[i] / c2) + eps);
    }
}

/* ---- partial likelihood ---- */

typedef struct {
    uint32_t stratum;
    double time, lp;
    bool event;
} Subject;

/* Within a stratum latest first, so that the risk set grows. */
static int later_first(const void *a, const void *b) {
    const Subject *x = a, *y = b;
    if (x->stratum != y->stratum)
        return x->stratum < y->stratum ? -1 : 1;
    return (x->time < y->time) - (x->time > y->time);
}

double lob_partial_loss(const float *lp, const double *time, const int8_t *event, const uint32_t *stratum,
                        const uint32_t *patients, size_t n) {
    g_autofree Subject *s = g_new(Subject, MAX(n, 1));
    for (size_t i = 0; i < n; i++) {
        uint32_t p = patients[i];
        s[i] = (Subject){stratum[i], time[p], lp[i], event[p] == 1};
    }
    qsort(s, n, sizeof *s, later_first);
    double loss = 0, top = 0, sum = 0; /* sum of exp(lp - top) over the risk set */
    size_t events = 0, at_risk = 0;
    for (size_t i = 0, j; i < n; i = j) {
        if (i == 0 || s[i].stratum != s[i - 1].stratum)
            top = s[i].lp, sum = 0, at_risk = 0;
        for (j = i; j < n && s[j].stratum == s[i].stratum && s[j].time == s[i].time; j++) {
            if (s[j].lp > top)
                sum *= exp(top - s[j].lp), top = s[j].lp;
            sum += exp(s[j].lp - top);
            at_risk++;
        }
        for (size_t k = i; k < j && at_risk > 1; k++) {
            if (!s[k].event)
                continue;
            loss += log(sum) + top - s[k].lp;
            events++;
        }
    }
    return events ? loss / (double)events : NAN;
}
