/* Two sweeps a stratum: from the last time back the risk set grows, from the first time on the hazard that a
 * patient has been under adds up. Both carry the largest score of the risk set as scale: no score overflows.
 */
#include "model/cox_loss.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint32_t stratum;
    double time, score;
    bool event;
    size_t at; /* where it came from */
} Subject;

/* Within a stratum latest first; the place decides ties, so that sums have one order. */
static int later_first(const void *a, const void *b) {
    const Subject *x = a, *y = b;
    if (x->stratum != y->stratum)
        return x->stratum < y->stratum ? -1 : 1;
    if (x->time != y->time)
        return x->time < y->time ? 1 : -1;
    return (x->at > y->at) - (x->at < y->at);
}

/* One time of a stratum: subjects [begin, end), and the risk set from the latest time down to it. */
typedef struct {
    size_t begin, end, deaths;
    double top, risk; /* largest score at risk; sum of exp(score - top) over all at risk */
    double dying;     /* the same over who dies now */
} Moment;

static Moment moment_at(const Subject *s, size_t begin, size_t n, const Moment *later) {
    Moment m = {.begin = begin, .end = begin, .top = later ? later->top : s[begin].score};
    for (; m.end < n && s[m.end].time == s[begin].time; m.end++)
        m.top = MAX(m.top, s[m.end].score);
    m.risk = later ? later->risk * exp(later->top - m.top) : 0;
    for (size_t i = begin; i < m.end; i++) {
        double e = exp(s[i].score - m.top);
        m.risk += e;
        m.dying += s[i].event ? e : 0;
        m.deaths += s[i].event;
    }
    return m;
}

/* The moment's part of the loss. The hazards come in units of exp(-top): of anyone at risk, and what Efron's
 * steps take off it for who dies now. */
static double efron(const Subject *s, const Moment *m, double *hazard, double *less) {
    double loss = 0;
    *hazard = *less = 0;
    for (size_t l = 0; l < m->deaths; l++) {
        double share = (double)l / (double)m->deaths, sum = m->risk - share * m->dying;
        loss += log(sum) + m->top;
        *hazard += 1 / sum;
        *less += share / sum;
    }
    for (size_t i = m->begin; i < m->end; i++)
        loss -= s[i].event ? s[i].score : 0;
    return loss;
}

/* One stratum, s [n]. gradient goes with where the subjects came from. */
static double stratum_loss(const Subject *s, size_t n, double *gradient, size_t *events) {
    g_autofree Moment *moments = g_new(Moment, n);
    size_t k_n = 0;
    double loss = 0, hazard = 0, less, top = 0;
    for (size_t i = 0; i < n; i = moments[k_n - 1].end) {
        moments[k_n] = moment_at(s, i, n, k_n ? &moments[k_n - 1] : NULL);
        k_n++;
    }
    for (size_t k = k_n; k-- > 0;) {
        const Moment *m = &moments[k];
        double now;
        loss += efron(s, m, &now, &less);
        *events += m->deaths;
        hazard = (k + 1 < k_n ? hazard * exp(m->top - top) : 0) + now;
        top = m->top;
        for (size_t i = m->begin; gradient && i < m->end; i++)
            gradient[s[i].at] =
                exp(s[i].score - top) * (hazard - (s[i].event ? less : 0)) - (s[i].event ? 1 : 0);
    }
    return loss;
}

double lob_cox_loss(const double *score, const double *time, const int8_t *event, const uint32_t *stratum,
                    size_t n, double *gradient, size_t *events) {
    g_autofree Subject *s = g_new(Subject, MAX(n, 1));
    double loss = 0;
    size_t deaths = 0;
    for (size_t i = 0; i < n; i++)
        s[i] = (Subject){stratum[i], time[i], score[i], event[i] == 1, i};
    qsort(s, n, sizeof *s, later_first);
    for (size_t begin = 0, end; begin < n; begin = end) {
        for (end = begin; end < n && s[end].stratum == s[begin].stratum; end++)
            continue;
        loss += stratum_loss(s + begin, end - begin, gradient, &deaths);
    }
    for (size_t i = 0; gradient && i < n; i++)
        gradient[i] = deaths ? gradient[i] / (double)deaths : 0;
    if (events)
        *events = deaths;
    return deaths ? loss / (double)deaths : 0;
}
