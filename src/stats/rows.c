/* Sorting, ranking and summing of rows; small dense algebra. */
#include "stats/stats_internal.h"

#include <stdlib.h>
#include <string.h>

bool lob_followup_check(const LobFollowUp *data, GError **err) {
    for (size_t i = 0; i < data->n; i++) {
        if (!isfinite(data->time[i]) || data->time[i] < 0)
            return lob_fail(err, LOB_ERROR_INPUT, "row %zu: time %g; a finite number >= 0 is needed", i + 1,
                            data->time[i]);
        if (data->weight && (!isfinite(data->weight[i]) || data->weight[i] < 0))
            return lob_fail(err, LOB_ERROR_INPUT, "row %zu: weight %g; a finite number >= 0 is needed", i + 1,
                            data->weight[i]);
    }
    return true;
}

static int compare_rows(const void *pa, const void *pb) {
    const LobRow *a = pa, *b = pb;
    if (a->stratum != b->stratum)
        return a->stratum < b->stratum ? -1 : 1;
    if (a->time != b->time)
        return a->time < b->time ? -1 : 1;
    bool a_event = a->event != 0, b_event = b->event != 0;
    if (a_event != b_event)
        return a_event ? -1 : 1;
    return (a->row > b->row) - (a->row < b->row);
}

LobRow *lob_rows_sorted(const LobFollowUp *data, bool by_stratum, size_t *n_rows) {
    g_assert(data->n < UINT32_MAX);
    LobRow *rows = g_new(LobRow, data->n + 1);
    size_t n = 0;
    for (size_t i = 0; i < data->n; i++) {
        double weight = data->weight ? data->weight[i] : 1;
        if (weight > 0)
            rows[n++] = (LobRow){.time = data->time[i],
                                 .weight = weight,
                                 .stratum = by_stratum && data->stratum ? data->stratum[i] : 0,
                                 .row = (uint32_t)i,
                                 .event = data->event[i]};
    }
    qsort(rows, n, sizeof *rows, compare_rows);
    *n_rows = n;
    return rows;
}

size_t lob_rows_stratum_end(const LobRow *rows, size_t n, size_t begin) {
    size_t end = begin;
    while (end < n && rows[end].stratum == rows[begin].stratum)
        end++;
    return end;
}

size_t lob_rows_time_end(const LobRow *rows, size_t n, size_t begin) {
    size_t end = begin;
    while (end < n && rows[end].stratum == rows[begin].stratum && rows[end].time == rows[begin].time)
        end++;
    return end;
}

typedef struct {
    double value;
    uint32_t index;
} Ranked;

static int compare_ranked(const void *pa, const void *pb) {
    const Ranked *a = pa, *b = pb;
    if (a->value != b->value)
        return a->value < b->value ? -1 : 1;
    return (a->index > b->index) - (a->index < b->index);
}

uint32_t *lob_order_of(const double *x, size_t n) {
    g_assert(n < UINT32_MAX);
    g_autofree Ranked *ranked = g_new(Ranked, n + 1);
    uint32_t *order = g_new(uint32_t, n + 1);
    for (size_t i = 0; i < n; i++)
        ranked[i] = (Ranked){x[i], (uint32_t)i};
    qsort(ranked, n, sizeof *ranked, compare_ranked);
    for (size_t i = 0; i < n; i++)
        order[i] = ranked[i].index;
    return order;
}

uint32_t lob_dense_ranks(const double *x, size_t n, uint32_t *rank) {
    g_autofree uint32_t *order = lob_order_of(x, n);
    uint32_t last = 0;
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || x[order[i]] != x[order[i - 1]])
            last++;
        rank[order[i]] = last;
    }
    return last;
}

size_t lob_compact_labels(const uint32_t *label, size_t n, uint32_t *compact) {
    if (!label) {
        for (size_t i = 0; i < n; i++)
            compact[i] = (uint32_t)i;
        return n;
    }
    g_autofree double *value = g_new(double, n + 1);
    for (size_t i = 0; i < n; i++)
        value[i] = label[i];
    size_t k = lob_dense_ranks(value, n, compact);
    for (size_t i = 0; i < n; i++)
        compact[i]--;
    return k;
}

double lob_clustered_square(const double *v, const uint32_t *cluster, size_t n) {
    double square = 0;
    if (!cluster) {
        for (size_t i = 0; i < n; i++)
            square += v[i] * v[i];
        return square;
    }
    g_autofree uint32_t *compact = g_new(uint32_t, n + 1);
    size_t k = lob_compact_labels(cluster, n, compact);
    g_autofree double *sum = g_new0(double, k + 1);
    for (size_t i = 0; i < n; i++)
        sum[compact[i]] += v[i];
    for (size_t c = 0; c < k; c++)
        square += sum[c] * sum[c];
    return square;
}

LobEstimate lob_not_available(const char *reason) {
    return (LobEstimate){NAN, NAN, NAN, NAN, reason};
}

LobEstimate lob_normal_estimate(double estimate, double se) {
    return (LobEstimate){estimate, se, estimate - LOB_Z95 * se, estimate + LOB_Z95 * se, NULL};
}

LobEstimate lob_clipped_estimate(double estimate, double se, double lowest, double highest) {
    LobEstimate e = lob_normal_estimate(estimate, se);
    if (e.lower < lowest)
        e.lower = lowest;
    if (e.upper > highest)
        e.upper = highest;
    return e;
}

LobPairedDifference lob_paired_difference(double first, double second, const double *a, const double *b,
                                          const uint32_t *cluster, size_t n) {
    if (!a || !b)
        return (LobPairedDifference){lob_not_available("one of the two is not available"), NAN, NAN};
    g_autofree double *difference = g_new(double, n + 1);
    for (size_t i = 0; i < n; i++)
        difference[i] = a[i] - b[i];
    double se = sqrt(lob_clustered_square(difference, cluster, n)), d = first - second;
    double z = se > 0 ? d / se : d == 0 ? 0 : copysign(INFINITY, d);
    return (LobPairedDifference){lob_normal_estimate(d, se), z, 2 * lob_normal_cdf(-fabs(z))};
}

LobTest lob_chi2_test(double statistic, double df) {
    return (LobTest){statistic, df, lob_chi2_upper(statistic, df), NULL};
}

/* LDL' without pivoting. A pivot below the tolerance (R's coxph: eps^0.75 of the largest) marks a column
 * that adds nothing to the earlier ones; it is left out of the factor. */
static size_t factor_ldl(double *a, size_t p, bool *dropped) {
    double largest = 0;
    for (size_t i = 0; i < p; i++)
        largest = fmax(largest, a[i * p + i]);
    const double tolerance = largest > 0 ? pow(0x1p-52, 0.75) * largest : 1;
    g_autofree double *factor = g_new(double, p + 1);
    size_t rank = 0;
    for (size_t i = 0; i < p; i++) {
        double pivot = a[i * p + i];
        dropped[i] = !(pivot > tolerance);
        if (dropped[i]) {
            for (size_t j = i; j < p; j++)
                a[j * p + i] = 0;
            continue;
        }
        rank++;
        for (size_t j = i + 1; j < p; j++)
            factor[j] = a[j * p + i] / pivot;
        for (size_t k = i + 1; k < p; k++) {
            double *row = a + k * p;
            const double own = row[i];
            for (size_t j = i + 1; j <= k; j++)
                row[j] -= factor[j] * own;
            row[i] = factor[k];
        }
    }
    return rank;
}

#define SIDE 8 /* right sides solved together: what is read of the factor then serves them all */

/* row less the products of from[begin .. end) with those rows of b [p][SIDE]. */
static void subtract_rows(double *row, const double *from, const double *b, size_t begin, size_t end) {
    double sum[SIDE];
    memcpy(sum, row, sizeof sum);
    for (size_t j = begin; j < end; j++)
        for (size_t r = 0; r < SIDE; r++)
            sum[r] -= from[j] * b[j * SIDE + r];
    memcpy(row, sum, sizeof sum);
}

/* Solves L D L' x = b in place, b [p][SIDE] being 0 before row `first`; dropped columns give 0. a holds L
 * below its diagonal, D on it, L' above. */
static void solve_ldl(const double *a, size_t p, const bool *dropped, size_t first, double *b) {
    for (size_t i = first; i < p; i++)
        subtract_rows(b + i * SIDE, a + i * p, b, first, i);
    for (size_t i = first; i < p; i++)
        for (size_t r = 0; r < SIDE; r++)
            b[i * SIDE + r] = dropped[i] ? 0 : b[i * SIDE + r] / a[i * p + i];
    for (size_t i = p; i-- > 0;)
        if (!dropped[i])
            subtract_rows(b + i * SIDE, a + i * p, b, i + 1, p);
}

size_t lob_invert_psd(double *a, size_t p, bool *aliased) {
    g_autofree double *factor = g_memdup2(a, p * p * sizeof *a);
    g_autofree bool *dropped = g_new0(bool, p + 1);
    g_autofree double *columns = g_new(double, SIDE *p + 1);
    size_t rank = factor_ldl(factor, p, dropped);
    for (size_t i = 0; i < p; i++)
        for (size_t j = i + 1; j < p; j++)
            factor[i * p + j] = factor[j * p + i];
    for (size_t first = 0; first < p; first += SIDE) {
        const size_t n = MIN(SIDE, p - first);
        memset(columns, 0, SIDE * p * sizeof *columns);
        for (size_t r = 0; r < n; r++)
            columns[(first + r) * SIDE + r] = dropped[first + r] ? 0 : 1;
        solve_ldl(factor, p, dropped, first, columns);
        for (size_t i = 0; i < p; i++)
            memcpy(a + i * p + first, columns + i * SIDE, n * sizeof *a);
    }
    if (aliased)
        memcpy(aliased, dropped, p * sizeof *dropped);
    return rank;
}

double lob_quadratic_form(const double *a, const double *x, size_t p) {
    double sum = 0;
    for (size_t i = 0; i < p; i++)
        for (size_t j = 0; j < p; j++)
            sum += x[i] * a[i * p + j] * x[j];
    return sum;
}
