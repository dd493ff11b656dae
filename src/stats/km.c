/* Kaplan-Meier curves of survival and of censoring. */
#include "stats/stats_internal.h"

#include <string.h>

/* Half-width within which S counts as 0.5, as R's survfit. */
#define MEDIAN_TOLERANCE 1.5e-8

static void km_tables(LobKm *km, const LobRow *rows, size_t n) {
    size_t m = 0;
    for (size_t i = 0, end; i < n; i = end, m++) {
        end = lob_rows_time_end(rows, n, i);
        km->time[m] = rows[i].time;
        for (size_t j = i; j < end; j++)
            *(rows[j].event ? &km->events[m] : &km->censored[m]) += rows[j].weight;
        km->total_events += km->events[m];
    }
    km->n_times = m;
    double at_risk = 0;
    for (size_t k = m; k-- > 0;)
        km->at_risk[k] = at_risk += km->events[k] + km->censored[k];
}

/* log(-log S) +- z sqrt(V)/log S, back on the scale of S. */
static void log_log_interval(double s, double v, double *lower, double *upper) {
    if (s <= 0) {
        *lower = *upper = NAN;
    } else if (v <= 0) {
        *lower = *upper = s;
    } else {
        double width = LOB_Z95 * sqrt(v) / log(s);
        *lower = pow(s, exp(-width));
        *upper = pow(s, exp(width));
    }
}

/* First time the curve lies below one half; where it is one half exactly, the middle of that step. */
static double median_of(const double *time, const double *curve, size_t n) {
    for (size_t k = 0; k < n; k++) {
        if (isnan(curve[k]))
            return NAN;
        if (curve[k] < 0.5 - MEDIAN_TOLERANCE)
            return time[k];
        if (curve[k] <= 0.5 + MEDIAN_TOLERANCE) {
            for (size_t next = k + 1; next < n; next++)
                if (!(curve[next] >= curve[k] - MEDIAN_TOLERANCE))
                    return 0.5 * (time[k] + time[next]);
            return 0.5 * (time[k] + time[n - 1]);
        }
    }
    return NAN;
}

void lob_km_fit(LobKm *km, const LobFollowUp *data) {
    size_t n;
    g_autofree LobRow *rows = lob_rows_sorted(data, false, &n);
    *km = (LobKm){.n = n,
                  .time = g_new0(double, n + 1),
                  .at_risk = g_new0(double, n + 1),
                  .events = g_new0(double, n + 1),
                  .censored = g_new0(double, n + 1),
                  .survival = g_new0(double, n + 1),
                  .se = g_new0(double, n + 1),
                  .lower = g_new0(double, n + 1),
                  .upper = g_new0(double, n + 1)};
    km_tables(km, rows, n);
    double s = 1, v = 0;
    for (size_t k = 0; k < km->n_times; k++) {
        double alive = km->at_risk[k] - km->events[k];
        /* The last weights may not cancel to 0 exactly. */
        bool none_left = alive <= 1e-12 * km->at_risk[k];
        s = none_left ? 0 : s * (alive / km->at_risk[k]);
        v += none_left ? 0 : km->events[k] / (km->at_risk[k] * alive);
        km->survival[k] = s;
        km->se[k] = s > 0 ? s * sqrt(v) : NAN;
        log_log_interval(s, v, &km->lower[k], &km->upper[k]);
    }
    km->median = median_of(km->time, km->survival, km->n_times);
    km->median_lower = median_of(km->time, km->lower, km->n_times);
    km->median_upper = median_of(km->time, km->upper, km->n_times);
}

void lob_km_clear(LobKm *km) {
    double *owned[] = {km->time,     km->at_risk, km->events, km->censored,
                       km->survival, km->se,      km->lower,  km->upper};
    for (size_t i = 0; i < G_N_ELEMENTS(owned); i++)
        g_free(owned[i]);
    *km = (LobKm){0};
}

/* How many times are <= t. */
static size_t times_until(const double *time, size_t n, double t) {
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (time[middle] <= t)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

LobEstimate lob_km_at(const LobKm *km, double t) {
    if (km->n_times == 0)
        return lob_not_available("no rows");
    if (t > km->time[km->n_times - 1] && km->survival[km->n_times - 1] > 0)
        return lob_not_available("beyond the last follow-up");
    size_t k = times_until(km->time, km->n_times, t);
    if (k == 0)
        return (LobEstimate){1, 0, 1, 1, NULL};
    return (LobEstimate){km->survival[k - 1], km->se[k - 1], km->lower[k - 1], km->upper[k - 1], NULL};
}

double lob_km_at_risk(const LobKm *km, double t) {
    size_t k = times_until(km->time, km->n_times, t);
    if (k > 0 && km->time[k - 1] == t)
        k--;
    return k < km->n_times ? km->at_risk[k] : 0;
}

double lob_km_events_by(const LobKm *km, double t) {
    double sum = 0;
    for (size_t k = 0; k < km->n_times && km->time[k] <= t; k++)
        sum += km->events[k];
    return sum;
}

LobEstimate lob_followup_median(const LobFollowUp *data) {
    g_autofree uint8_t *censored = g_new(uint8_t, data->n + 1);
    for (size_t i = 0; i < data->n; i++)
        censored[i] = data->event[i] == 0;
    LobFollowUp reversed = *data;
    reversed.event = censored;
    g_auto(LobKm) km = {0};
    lob_km_fit(&km, &reversed);
    return (LobEstimate){km.median, NAN, km.median_lower, km.median_upper,
                         isnan(km.median) ? "fewer than half of the rows are censored by the last time"
                                          : NULL};
}

void lob_censoring_fit(LobCensoring *g, const LobRow *rows, size_t n) {
    *g = (LobCensoring){.time = g_new(double, n + 1), .value = g_new(double, n + 1)};
    double at_risk = 0, value = 1;
    /* Risk sets are summed from the end, so that integer weights stay exact. */
    g_autofree double *left = g_new(double, n + 1);
    left[n] = 0;
    for (size_t i = n; i-- > 0;)
        left[i] = at_risk += rows[i].weight;
    for (size_t i = 0, end; i < n; i = end) {
        size_t first_censored = i;
        for (end = i; end < n && rows[end].time == rows[i].time; end++)
            if (rows[end].event)
                first_censored = end + 1;
        if (first_censored == end)
            continue;
        value = end == n ? 0 : value * (left[end] / left[first_censored]);
        g->time[g->n] = rows[i].time;
        g->value[g->n++] = value;
    }
}

void lob_censoring_clear(LobCensoring *g) {
    g_free(g->time);
    g_free(g->value);
    *g = (LobCensoring){0};
}

double lob_censoring_at(const LobCensoring *g, double t) {
    size_t k = times_until(g->time, g->n, t);
    return k == 0 ? 1 : g->value[k - 1];
}

double lob_censoring_before(const LobCensoring *g, double t) {
    size_t k = times_until(g->time, g->n, t);
    if (k > 0 && g->time[k - 1] == t)
        k--;
    return k == 0 ? 1 : g->value[k - 1];
}
