/* Cumulative incidence with competing causes. */
#include "stats/stats_internal.h"

/* Running sums over times s of g' Cov g with g_j(s) = [j = cause] S(s-) - (F(t) - F(s)) / (1 - h(s)), as a
 * polynomial in F(t), so that each t costs one step. */
typedef struct {
    double constant, linear, square;
} Polynomial;

static void add_time(Polynomial *v, double before, double f, double h_all, double h_cause, double at_risk) {
    double b = h_all < 1 ? 1 / (1 - h_all) : 0;
    /* g of the cause: a - F b, of the others: a_other - F b. */
    double a = before + f * b, other = f * b, h_other = h_all - h_cause;
    double mean_a = a * h_cause + other * h_other;
    v->constant += (a * a * h_cause + other * other * h_other - mean_a * mean_a) / at_risk;
    v->linear += -2 * b * (mean_a - mean_a * h_all) / at_risk;
    v->square += b * b * (h_all - h_all * h_all) / at_risk;
}

static void incidence_of(LobAalenJohansen *aj, size_t cause, const double *events, const double *events_all) {
    double f = 0, before = 1;
    Polynomial v = {0};
    for (size_t k = 0; k < aj->n_times; k++) {
        double at_risk = aj->at_risk[k], h = events[k] / at_risk, h_all = events_all[k] / at_risk;
        f += before * h;
        add_time(&v, before, f, h_all, h, at_risk);
        aj->incidence[(cause - 1) * aj->n_times + k] = f;
        aj->se[(cause - 1) * aj->n_times + k] = sqrt(fmax(0, v.constant + f * v.linear + f * f * v.square));
        before = aj->survival[k];
    }
}

void lob_aalen_johansen(LobAalenJohansen *aj, const LobFollowUp *data, size_t n_causes) {
    size_t n, m = 0;
    g_autofree LobRow *rows = lob_rows_sorted(data, false, &n);
    for (size_t i = 0; i < n; i = lob_rows_time_end(rows, n, i))
        m++;
    *aj = (LobAalenJohansen){.n_times = m,
                             .n_causes = n_causes,
                             .time = g_new0(double, m + 1),
                             .at_risk = g_new0(double, m + 1),
                             .incidence = g_new0(double, n_causes *m + 1),
                             .se = g_new0(double, n_causes *m + 1),
                             .survival = g_new0(double, m + 1)};
    g_autofree double *events = g_new0(double, (n_causes + 1) * m + 1); /* [0] any, then each cause */
    g_autofree double *gone = g_new0(double, m + 1);
    size_t k = 0;
    for (size_t i = 0, end; i < n; i = end, k++) {
        end = lob_rows_time_end(rows, n, i);
        aj->time[k] = rows[i].time;
        for (size_t j = i; j < end; j++) {
            gone[k] += rows[j].weight;
            g_assert(rows[j].event <= n_causes);
            if (rows[j].event) {
                events[k] += rows[j].weight;
                events[rows[j].event * m + k] += rows[j].weight;
            }
        }
    }
    double left = 0, s = 1;
    for (k = m; k-- > 0;)
        aj->at_risk[k] = left += gone[k];
    for (k = 0; k < m; k++)
        aj->survival[k] = s *= events[k] >= aj->at_risk[k] ? 0 : 1 - events[k] / aj->at_risk[k];
    for (size_t cause = 1; cause <= n_causes; cause++)
        incidence_of(aj, cause, events + cause * m, events);
}

void lob_aalen_johansen_clear(LobAalenJohansen *aj) {
    g_free(aj->time);
    g_free(aj->at_risk);
    g_free(aj->incidence);
    g_free(aj->se);
    g_free(aj->survival);
    *aj = (LobAalenJohansen){0};
}

LobEstimate lob_aalen_johansen_at(const LobAalenJohansen *aj, size_t cause, double t) {
    if (aj->n_times == 0 || cause < 1 || cause > aj->n_causes)
        return lob_not_available("no rows, or no such cause");
    if (t > aj->time[aj->n_times - 1] && aj->survival[aj->n_times - 1] > 0)
        return lob_not_available("beyond the last follow-up");
    size_t k = 0;
    while (k < aj->n_times && aj->time[k] <= t)
        k++;
    if (k == 0)
        return (LobEstimate){0, 0, 0, 0, NULL};
    size_t at = (cause - 1) * aj->n_times + k - 1;
    return lob_clipped_estimate(aj->incidence[at], aj->se[at], 0, 1);
}
