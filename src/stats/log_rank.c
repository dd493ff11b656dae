/* k-sample log-rank test, stratified. */
#include "stats/stats_internal.h"

/* Adds one stratum's observed, expected and covariance. left [n_groups] starts as the stratum's counts. */
static void add_stratum(LobLogRank *result, double *variance, const LobRow *rows, size_t n,
                        const uint32_t *group, double *left) {
    size_t g = result->n_groups;
    for (size_t i = 0, end; i < n; i = end) {
        end = lob_rows_time_end(rows, n, i);
        double at_risk = (double)(n - i), dead = 0;
        for (size_t j = i; j < end; j++)
            if (rows[j].event) {
                dead++;
                result->observed[group[rows[j].row]]++;
            }
        for (size_t a = 0; dead > 0 && a < g; a++) {
            result->expected[a] += dead * left[a] / at_risk;
            double scale = at_risk > 1 ? dead * (at_risk - dead) / (at_risk - 1) * left[a] / at_risk : 0;
            for (size_t b = 0; b < g; b++)
                variance[a * g + b] += scale * ((a == b) - left[b] / at_risk);
        }
        for (size_t j = i; j < end; j++)
            left[group[rows[j].row]]--;
    }
}

/* Over the groups with an expectation, less one, whose difference the others determine. */
static LobTest test_of(const LobLogRank *result, const double *variance) {
    size_t g = result->n_groups, k = 0;
    g_autofree size_t *kept = g_new(size_t, g + 1);
    for (size_t a = 0; a < g; a++)
        if (result->expected[a] > 0)
            kept[k++] = a;
    if (k < 2)
        return (LobTest){NAN, NAN, NAN, "fewer than two groups with an expected event"};
    k--;
    g_autofree double *v = g_new(double, k *k);
    g_autofree double *u = g_new(double, k);
    for (size_t a = 0; a < k; a++) {
        u[a] = result->observed[kept[a]] - result->expected[kept[a]];
        for (size_t b = 0; b < k; b++)
            v[a * k + b] = variance[kept[a] * g + kept[b]];
    }
    size_t rank = lob_invert_psd(v, k, NULL);
    if (rank == 0)
        return (LobTest){NAN, NAN, NAN, "no variance: nobody is left at risk beside the events"};
    return lob_chi2_test(lob_quadratic_form(v, u, k), (double)k);
}

void lob_log_rank(LobLogRank *result, const LobFollowUp *data, const uint32_t *group, size_t n_groups) {
    *result = (LobLogRank){.n_groups = n_groups,
                           .n = g_new0(double, n_groups + 1),
                           .observed = g_new0(double, n_groups + 1),
                           .expected = g_new0(double, n_groups + 1)};
    if (data->weight) {
        result->test = (LobTest){NAN, NAN, NAN, "not defined with weights"};
        return;
    }
    size_t n;
    g_autofree LobRow *rows = lob_rows_sorted(data, true, &n);
    g_autofree double *variance = g_new0(double, n_groups *n_groups + 1);
    g_autofree double *left = g_new(double, n_groups + 1);
    for (size_t i = 0, end; i < n; i = end) {
        end = lob_rows_stratum_end(rows, n, i);
        for (size_t a = 0; a < n_groups; a++)
            left[a] = 0;
        for (size_t j = i; j < end; j++) {
            result->n[group[rows[j].row]]++;
            left[group[rows[j].row]]++;
        }
        add_stratum(result, variance, rows + i, end - i, group, left);
    }
    result->test = test_of(result, variance);
}

void lob_log_rank_clear(LobLogRank *result) {
    g_free(result->n);
    g_free(result->observed);
    g_free(result->expected);
    *result = (LobLogRank){0};
}
