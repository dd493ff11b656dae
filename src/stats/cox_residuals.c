/* What a fitted Cox model implies: score residuals, baseline hazard, test of proportionality. */
#include "stats/cox_internal.h"

#include <string.h>

/* ---- score residuals ---- */
typedef struct {
    const LobCoxWork *work;
    double *kept; /* [death times][4 + 3p] begin, end, hazards, sums */
    size_t n_kept, width;
} Kept;

static void keep_moment(const LobCoxMoment *moment, void *user) {
    Kept *all = user;
    size_t p = all->work->p;
    double *k = all->kept + all->n_kept++ * all->width;
    k[0] = (double)moment->begin;
    k[1] = (double)moment->end;
    k[2] = moment->hazard;
    k[3] = moment->hazard_dying;
    memcpy(k + 4, moment->xbar, p * sizeof *k);
    memcpy(k + 4 + p, moment->hazard_x, p * sizeof *k);
    memcpy(k + 4 + 2 * p, moment->hazard_x_dying, p * sizeof *k);
}

/* Residual of row i: what it took in hazard since its stratum began (h and hx), and, if it died, its own
 * share of its death time (k). */
static void score_residual(const LobCoxWork *work, size_t i, double risk, double h, const double *hx,
                           const double *k, double *residual) {
    size_t p = work->p;
    const double *x = work->x + i * p;
    double deaths = k ? k[1] - k[0] : 0;
    for (size_t j = 0; j < p; j++) {
        residual[j] = -risk * (x[j] * h - hx[j]);
        if (k)
            residual[j] += x[j] - k[4 + j] / deaths - risk * (x[j] * k[3] - k[4 + 2 * p + j]);
    }
}

static void times_inverse(const LobCoxWork *work, const double *inverse, const double *residual,
                          double weight, double *out) {
    size_t p = work->p;
    for (size_t j = 0; j < p; j++) {
        double sum = 0;
        for (size_t k = 0; k < p; k++)
            sum += residual[k] * inverse[k * p + j];
        out[j] = work->sd[j] > 0 ? weight * sum / work->sd[j] : 0;
    }
}

void lob_cox_dfbeta(const LobCoxWork *work, const double *beta, const double *inverse, double *dfbeta) {
    size_t n = work->n, p = work->p;
    Kept all = {.work = work, .width = 4 + 3 * p};
    g_autofree double *kept = all.kept = g_new(double, n *all.width + 1);
    double shift = lob_cox_sweep(work, beta, keep_moment, &all);
    g_autofree double *eta = g_new(double, n + 1);
    lob_cox_eta(work, beta, eta);
    /* Death times come from the last back within a stratum: for each row that dies, its entry. */
    g_autofree uint32_t *entry = g_new0(uint32_t, n + 1);
    for (size_t t = 0; t < all.n_kept; t++)
        entry[(size_t)kept[t * all.width]] = (uint32_t)t + 1;
    g_autofree double *hx = g_new0(double, p + 1);
    g_autofree double *residual = g_new(double, p + 1);
    double h = 0;
    for (size_t i = 0; i < n;) {
        if (i == 0 || work->rows[i].stratum != work->rows[i - 1].stratum) {
            h = 0;
            memset(hx, 0, p * sizeof *hx);
        }
        const double *k = entry[i] ? kept + (entry[i] - 1) * all.width : NULL;
        size_t end = k ? (size_t)k[1] : i + 1;
        for (; i < end; i++) {
            score_residual(work, i, exp(eta[i] - shift), h, hx, k, residual);
            times_inverse(work, inverse, residual, work->rows[i].weight, dfbeta + work->rows[i].row * p);
        }
        for (size_t j = 0; k && j < p; j++)
            hx[j] += k[4 + p + j];
        h += k ? k[2] : 0;
    }
}

/* ---- baseline ---- */
typedef struct {
    const LobCoxWork *work;
    double *time, *hazard;
    uint32_t *stratum;
    size_t n;
} Steps;

static void keep_step(const LobCoxMoment *moment, void *user) {
    Steps *steps = user;
    steps->time[steps->n] = steps->work->rows[moment->begin].time;
    steps->stratum[steps->n] = steps->work->rows[moment->begin].stratum;
    steps->hazard[steps->n++] = moment->hazard;
}

/* Steps come by stratum, times descending: turn each stratum's around and sum it up. */
static void collect_strata(LobBaseline *baseline, const Steps *steps, double scale) {
    for (size_t begin = 0, end; begin < steps->n; begin = end) {
        for (end = begin; end < steps->n && steps->stratum[end] == steps->stratum[begin];)
            end++;
        double sum = 0;
        for (size_t i = begin; i < end; i++) {
            size_t from = end - 1 - (i - begin);
            baseline->time[i] = steps->time[from];
            baseline->hazard[i] = sum += scale * steps->hazard[from];
        }
        baseline->stratum[baseline->n_strata] = steps->stratum[begin];
        baseline->first[baseline->n_strata++] = begin;
    }
    baseline->first[baseline->n_strata] = steps->n;
}

void lob_cox_baseline(LobBaseline *baseline, const LobCox *fit, const LobFollowUp *data,
                      const LobCoxDesign *design) {
    g_autoptr(LobCoxWork) work = lob_cox_work_new(data, design);
    size_t n = work->n;
    *baseline = (LobBaseline){.stratum = g_new0(uint32_t, n + 1),
                              .first = g_new0(size_t, n + 2),
                              .time = g_new0(double, n + 1),
                              .hazard = g_new0(double, n + 1)};
    g_autofree double *time = g_new(double, n + 1);
    g_autofree double *hazard = g_new(double, n + 1);
    g_autofree uint32_t *stratum = g_new(uint32_t, n + 1);
    g_autofree double *beta = lob_cox_standard_beta(work, fit);
    Steps steps = {.work = work, .time = time, .hazard = hazard, .stratum = stratum};
    double shift = lob_cox_sweep(work, beta, keep_step, &steps);
    for (size_t j = 0; j < fit->p; j++)
        shift += isnan(fit->beta[j]) ? 0 : work->mean[j] * fit->beta[j];
    collect_strata(baseline, &steps, exp(-shift));
}

void lob_baseline_clear(LobBaseline *baseline) {
    g_free(baseline->stratum);
    g_free(baseline->first);
    g_free(baseline->time);
    g_free(baseline->hazard);
    *baseline = (LobBaseline){0};
}

double lob_baseline_at(const LobBaseline *baseline, uint32_t stratum, double t) {
    for (size_t s = 0; s < baseline->n_strata; s++) {
        if (baseline->stratum[s] != stratum)
            continue;
        double hazard = 0;
        for (size_t i = baseline->first[s]; i < baseline->first[s + 1] && baseline->time[i] <= t; i++)
            hazard = baseline->hazard[i];
        return hazard;
    }
    return 0;
}

/* ---- proportionality ---- */
typedef struct {
    const LobCoxWork *work;
    const LobKm *km;
    double mean_g;
    double *score;       /* [p] of the time-varying parts */
    double *information; /* [2p][2p] lower triangle */
} Moving;

static double km_before(const LobKm *km, double t) {
    double s = 1;
    for (size_t low = 0, high = km->n_times; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (km->time[middle] < t) {
            s = km->survival[middle];
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return s;
}

static void add_moving(const LobCoxMoment *moment, void *user) {
    Moving *m = user;
    size_t p = m->work->p;
    double g = 1 - km_before(m->km, m->work->rows[moment->begin].time) - m->mean_g;
    for (size_t j = 0; j < p; j++) {
        double schoenfeld = -moment->mean_weight * moment->xbar[j];
        for (size_t i = moment->begin; i < moment->end; i++)
            schoenfeld += m->work->rows[i].weight * m->work->x[i * p + j];
        m->score[j] += g * schoenfeld;
        for (size_t k = 0; k < p; k++) {
            double v = moment->variance[j >= k ? j * p + k : k * p + j];
            m->information[j * 2 * p + k] += v;
            m->information[(p + j) * 2 * p + k] += g * v;
            m->information[j * 2 * p + p + k] += g * v;
            m->information[(p + j) * 2 * p + p + k] += g * g * v;
        }
    }
}

/* Score test of the moving parts of columns from .. to-1. */
static LobTest test_moving(const Moving *m, size_t from, size_t to, double df) {
    size_t p = m->work->p, k = p + (to - from);
    g_autofree double *a = g_new0(double, k *k);
    g_autofree double *u = g_new0(double, k);
    for (size_t i = 0; i < k; i++) {
        size_t row = i < p ? i : i + from;
        u[i] = i < p ? 0 : m->score[i - p + from];
        for (size_t j = 0; j < k; j++)
            a[i * k + j] = m->information[row * 2 * p + (j < p ? j : j + from)];
    }
    lob_invert_psd(a, k, NULL);
    return lob_chi2_test(lob_quadratic_form(a, u, k), df);
}

void lob_cox_proportionality(LobProportionality *result, const LobCox *fit, const LobFollowUp *data,
                             const LobCoxDesign *design) {
    size_t p = fit->p;
    const LobTest missing = {NAN, NAN, NAN, "nothing was estimated"};
    *result = (LobProportionality){.p = p, .column = g_new(LobTest, p + 1), .global = missing};
    for (size_t j = 0; j < p; j++)
        result->column[j] = missing;
    if (fit->n_events == 0 || fit->rank == 0)
        return;
    g_autoptr(LobCoxWork) work = lob_cox_work_new(data, design);
    g_autofree double *beta = lob_cox_standard_beta(work, fit);
    g_autofree double *score = g_new0(double, p + 1);
    g_autofree double *information = g_new0(double, 4 * p * p + 1);
    LobFollowUp unweighted = *data;
    unweighted.weight = NULL;
    g_auto(LobKm) km = {0};
    lob_km_fit(&km, &unweighted);
    double sum = 0;
    for (size_t k = 0; k < km.n_times; k++)
        sum += km.events[k] * (1 - km_before(&km, km.time[k]));
    Moving moving = {
        .work = work, .km = &km, .mean_g = sum / km.total_events, .score = score, .information = information};
    lob_cox_sweep(work, beta, add_moving, &moving);
    for (size_t j = 0; j < p; j++)
        if (!isnan(fit->beta[j]))
            result->column[j] = test_moving(&moving, j, j + 1, 1);
    result->global = test_moving(&moving, 0, p, (double)fit->rank);
}

void lob_proportionality_clear(LobProportionality *result) {
    g_free(result->column);
    *result = (LobProportionality){0};
}
