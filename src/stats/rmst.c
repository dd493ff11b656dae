/* Restricted mean survival time, its difference, and jackknife pseudo-observations. */
#include "stats/stats_internal.h"

LobEstimate lob_rmst(const LobFollowUp *data, double tau) {
    g_auto(LobKm) km = {0};
    lob_km_fit(&km, data);
    if (km.n_times == 0)
        return lob_not_available("no rows");
    size_t last = km.n_times - 1;
    if (tau > km.time[last] && km.survival[last] > 0)
        return lob_not_available("tau lies beyond a last time that is censored");
    /* From the end: area between the curve and [time_k, tau]. */
    double area = 0, variance = 0, end = tau;
    for (size_t k = km.n_times; k-- > 0;) {
        if (km.time[k] > tau)
            continue;
        area += km.survival[k] * (end - km.time[k]);
        end = km.time[k];
        double alive = km.at_risk[k] - km.events[k];
        if (alive > 0)
            variance += area * area * km.events[k] / (km.at_risk[k] * alive);
    }
    return lob_normal_estimate(area + end, sqrt(variance));
}

static LobFollowUp rows_of_arm(const LobFollowUp *data, const uint8_t *arm, uint8_t which, double *weight) {
    LobFollowUp part = *data;
    for (size_t i = 0; i < data->n; i++)
        weight[i] = arm[i] != which ? 0 : data->weight ? data->weight[i] : 1;
    part.weight = weight;
    return part;
}

LobRmstDifference lob_rmst_difference(const LobFollowUp *data, const uint8_t *arm, double tau) {
    LobRmstDifference result = {.tau = tau, .p = NAN};
    g_autofree double *weight = g_new(double, 2 * data->n + 1);
    LobFollowUp part[2];
    for (uint8_t a = 0; a < 2; a++) {
        part[a] = rows_of_arm(data, arm, a, weight + a * data->n);
        g_auto(LobKm) km = {0};
        lob_km_fit(&km, &part[a]);
        if (km.n_times == 0)
            continue;
        size_t last = km.n_times - 1;
        if (km.survival[last] > 0 && km.time[last] < result.tau) {
            result.tau = km.time[last];
            result.tau_lowered = true;
        }
    }
    for (size_t a = 0; a < 2; a++)
        result.arm[a] = lob_rmst(&part[a], result.tau);
    if (result.arm[0].reason || result.arm[1].reason) {
        result.difference = lob_not_available("an arm without rows");
        return result;
    }
    double d = result.arm[1].estimate - result.arm[0].estimate;
    result.difference = lob_normal_estimate(d, hypot(result.arm[0].se, result.arm[1].se));
    double z = result.difference.se > 0 ? d / result.difference.se : d == 0 ? 0 : INFINITY;
    result.p = 2 * lob_normal_cdf(-fabs(z));
    return result;
}

/* ---- pseudo-observations ----
 * Without row i of time t_q, risk sets before t_q lose one, those after keep theirs. So a prefix with n - 1
 * at risk and a suffix with n at risk give every leave-one-out curve, without dividing by S (it may be 0). */
typedef struct {
    size_t m; /* distinct times <= limit */
    double limit;
    const LobKm *km;
    double *prefix;      /* [m + 1] product over k < q of 1 - d/(n - 1) */
    double *prefix_area; /* [m + 1] area under it up to time q, the limit at m */
    double *suffix;      /* [m + 1] product over k >= q of 1 - d/n */
    double *suffix_area; /* [m] area under the curve conditional on time q, from there to the limit */
} LeaveOne;

static double factor(double at_risk, double events) {
    return at_risk > 0 ? 1 - events / at_risk : 1;
}

static void leave_one_prepare(LeaveOne *l, const LobKm *km, double limit) {
    *l = (LeaveOne){.limit = limit, .km = km};
    while (l->m < km->n_times && km->time[l->m] <= limit)
        l->m++;
    l->prefix = g_new(double, l->m + 1);
    l->prefix_area = g_new(double, l->m + 1);
    l->suffix = g_new(double, l->m + 1);
    l->suffix_area = g_new(double, l->m + 1);
    double c = 1, area = 0, from = 0;
    for (size_t k = 0; k <= l->m; k++) {
        double to = k < l->m ? km->time[k] : limit;
        area += c * (to - from);
        l->prefix[k] = c;
        l->prefix_area[k] = area;
        from = to;
        if (k < l->m)
            c *= factor(km->at_risk[k] - 1, km->events[k]);
    }
    double s = 1, rest = 0, end = limit;
    l->suffix[l->m] = 1;
    for (size_t k = l->m; k-- > 0;) {
        rest =
            (end - km->time[k]) + (k + 1 < l->m ? factor(km->at_risk[k + 1], km->events[k + 1]) * rest : 0);
        end = km->time[k];
        l->suffix_area[k] = rest;
        l->suffix[k] = s *= factor(km->at_risk[k], km->events[k]);
    }
}

static void leave_one_clear(LeaveOne *l) {
    g_free(l->prefix);
    g_free(l->prefix_area);
    g_free(l->suffix);
    g_free(l->suffix_area);
}

static void leave_one_values(const LeaveOne *l, double time, bool event, double *area, double *survival) {
    size_t q = 0;
    for (size_t high = l->m; q < high;) {
        size_t middle = q + (high - q) / 2;
        if (l->km->time[middle] < time)
            q = middle + 1;
        else
            high = middle;
    }
    if (time > l->limit || q == l->m) {
        *area = l->prefix_area[l->m];
        *survival = l->prefix[l->m];
        return;
    }
    double own = factor(l->km->at_risk[q] - 1, l->km->events[q] - event);
    *area = l->prefix_area[q] + l->prefix[q] * own * l->suffix_area[q];
    *survival = l->prefix[q] * own * l->suffix[q + 1];
}

static bool pseudo(const LobFollowUp *data, double limit, bool risk, double *out) {
    LobFollowUp plain = {.n = data->n, .time = data->time, .event = data->event};
    double n = (double)data->n, whole;
    g_auto(LobKm) km = {0};
    lob_km_fit(&km, &plain);
    LobEstimate all = risk ? lob_km_at(&km, limit) : lob_rmst(&plain, limit);
    if (all.reason || data->n < 2)
        return false;
    whole = risk ? 1 - all.estimate : all.estimate;
    LeaveOne l;
    leave_one_prepare(&l, &km, limit);
    for (size_t i = 0; i < data->n; i++) {
        double area, survival;
        leave_one_values(&l, data->time[i], data->event[i] != 0, &area, &survival);
        out[i] = n * whole - (n - 1) * (risk ? 1 - survival : area);
    }
    leave_one_clear(&l);
    return true;
}

bool lob_pseudo_rmst(const LobFollowUp *data, double tau, double *out) {
    return pseudo(data, tau, false, out);
}

bool lob_pseudo_risk(const LobFollowUp *data, double t, double *out) {
    return pseudo(data, t, true, out);
}
