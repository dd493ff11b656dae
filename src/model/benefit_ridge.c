/* Ridge Cox regression, stratified and weighted, and the choice of its ridge across strata. */
#include "model/benefit_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PENALTY_FLOOR 1e-3
#define STEPS 30

void lob_ridge_rows_init(LobRidgeRows *rows, size_t n, size_t p) {
    *rows = (LobRidgeRows){.n = n,
                           .p = p,
                           .x = g_new0(double, n *p + 1),
                           .time = g_new0(double, n + 1),
                           .weight = g_new0(double, n + 1),
                           .offset = g_new0(double, n + 1),
                           .event = g_new0(uint8_t, n + 1),
                           .stratum = g_new0(uint32_t, n + 1),
                           .order = g_new0(size_t, n + 1)};
}

void lob_ridge_rows_clear(LobRidgeRows *rows) {
    g_free(rows->x);
    g_free(rows->time);
    g_free(rows->weight);
    g_free(rows->offset);
    g_free(rows->event);
    g_free(rows->stratum);
    g_free(rows->order);
    *rows = (LobRidgeRows){0};
}

static int compare_rows(const void *a, const void *b, void *user) {
    const LobRidgeRows *rows = user;
    size_t i = *(const size_t *)a, j = *(const size_t *)b;
    if (rows->stratum[i] != rows->stratum[j])
        return rows->stratum[i] < rows->stratum[j] ? -1 : 1;
    if (rows->time[i] > rows->time[j] || rows->time[i] < rows->time[j])
        return rows->time[i] > rows->time[j] ? -1 : 1;
    return (i > j) - (i < j);
}

void lob_ridge_rows_sort(LobRidgeRows *rows) {
    rows->n_strata = 0;
    for (size_t i = 0; i < rows->n; i++) {
        rows->order[i] = i;
        rows->n_strata = MAX(rows->n_strata, (size_t)rows->stratum[i] + 1);
    }
    qsort_r(rows->order, rows->n, sizeof *rows->order, compare_rows, rows);
}

/* ---- the partial likelihood ---- */

/* Sums over those at risk, and what one stratum adds to log likelihood, gradient and information (lower
 * half).
 */
typedef struct {
    size_t p;
    double s0, *s1, *s2;                    /* [p], [p][p] */
    double loglik, *gradient, *information; /* of the stratum in hand */
} Sweep;

static void enter(Sweep *sweep, const double *x, double risk) {
    sweep->s0 += risk;
    for (size_t a = 0; a < sweep->p; a++) {
        double ra = risk * x[a];
        sweep->s1[a] += ra;
        for (size_t b = 0; b <= a; b++)
            sweep->s2[a * sweep->p + b] += ra * x[b];
    }
}

static void leave(Sweep *sweep, double deaths) {
    size_t p = sweep->p;
    sweep->loglik -= deaths * log(sweep->s0);
    for (size_t a = 0; a < p; a++) {
        double mean = sweep->s1[a] / sweep->s0;
        sweep->gradient[a] -= deaths * mean;
        for (size_t b = 0; b <= a; b++)
            sweep->information[a * p + b] +=
                deaths * (sweep->s2[a * p + b] / sweep->s0 - mean * sweep->s1[b] / sweep->s0);
    }
}

/* Rows order[at..end) are one stratum. */
static void sweep_stratum(Sweep *sweep, const LobRidgeRows *rows, const double *eta, size_t at, size_t end) {
    size_t p = rows->p;
    sweep->s0 = 0;
    memset(sweep->s1, 0, p * sizeof(double));
    memset(sweep->s2, 0, p * p * sizeof(double));
    while (at < end) {
        double time = rows->time[rows->order[at]], deaths = 0;
        for (; at < end && rows->time[rows->order[at]] >= time; at++) {
            size_t i = rows->order[at];
            const double *x = rows->x + i * p;
            if (rows->weight[i] <= 0)
                continue;
            enter(sweep, x, rows->weight[i] * exp(eta[i]));
            if (!rows->event[i])
                continue;
            deaths += rows->weight[i];
            sweep->loglik += rows->weight[i] * eta[i];
            for (size_t a = 0; a < p; a++)
                sweep->gradient[a] += rows->weight[i] * x[a];
        }
        if (deaths > 0)
            leave(sweep, deaths);
    }
}

/* Per stratum: loglik [s], gradient [s][p], information [s][p][p] (lower halves). */
typedef struct {
    double *loglik, *gradient, *information;
} Parts;

static void parts_init(Parts *parts, const LobRidgeRows *rows) {
    size_t s = rows->n_strata, p = rows->p;
    *parts = (Parts){g_new0(double, s + 1), g_new0(double, s *p + 1), g_new0(double, s *p *p + 1)};
}

static void parts_clear(Parts *parts) {
    g_free(parts->loglik);
    g_free(parts->gradient);
    g_free(parts->information);
}

static void evaluate(const LobRidgeRows *rows, const double *beta, Parts *parts) {
    size_t p = rows->p, n_strata = rows->n_strata;
    g_autofree double *eta = g_new(double, rows->n + 1);
    g_autofree double *s1 = g_new(double, p + 1), *s2 = g_new(double, p *p + 1);
    memset(parts->gradient, 0, n_strata * p * sizeof(double));
    memset(parts->information, 0, n_strata * p * p * sizeof(double));
    for (size_t i = 0; i < rows->n; i++) {
        eta[i] = rows->offset[i];
        for (size_t a = 0; a < p; a++)
            eta[i] += beta[a] * rows->x[i * p + a];
    }
    for (size_t at = 0, end = 0; at < rows->n; at = end) {
        uint32_t s = rows->stratum[rows->order[at]];
        while (end < rows->n && rows->stratum[rows->order[end]] == s)
            end++;
        Sweep sweep = {p, 0, s1, s2, 0, parts->gradient + s * p, parts->information + s * p * p};
        sweep_stratum(&sweep, rows, eta, at, end);
        parts->loglik[s] = sweep.loglik;
    }
}

/* ---- solving ---- */

/* Solves the symmetric positive definite A x = b by Cholesky; A's lower half is overwritten, b becomes x. */
static bool solve(double *a, size_t p, double *b) {
    for (size_t i = 0; i < p; i++) {
        for (size_t j = 0; j <= i; j++) {
            double sum = a[i * p + j];
            for (size_t k = 0; k < j; k++)
                sum -= a[i * p + k] * a[j * p + k];
            if (i == j && !(sum > 0))
                return false;
            a[i * p + j] = i == j ? sqrt(sum) : sum / a[j * p + j];
        }
        for (size_t k = 0; k < i; k++)
            b[i] -= a[i * p + k] * b[k];
        b[i] /= a[i * p + i];
    }
    for (size_t i = p; i-- > 0;) {
        for (size_t k = i + 1; k < p; k++)
            b[i] -= a[k * p + i] * b[k];
        b[i] /= a[i * p + i];
    }
    return true;
}

static double penalty_of(const bool *penalised, double ridge, size_t a) {
    return PENALTY_FLOOR + (penalised[a] ? ridge : 0);
}

/* Sums all strata but `without` (n_strata: none is left out) and solves for the penalised step from beta. */
static bool step_of(const LobRidgeRows *rows, const Parts *parts, size_t without, const bool *penalised,
                    double ridge, const double *beta, double *step) {
    size_t p = rows->p;
    g_autofree double *information = g_new0(double, p *p + 1);
    for (size_t a = 0; a < p; a++) {
        double penalty = penalty_of(penalised, ridge, a);
        information[a * p + a] = penalty;
        step[a] = -penalty * beta[a];
    }
    for (size_t s = 0; s < rows->n_strata; s++) {
        for (size_t a = 0; s != without && a < p; a++) {
            step[a] += parts->gradient[s * p + a];
            for (size_t b = 0; b <= a; b++)
                information[a * p + b] += parts->information[(s * p + a) * p + b];
        }
    }
    return solve(information, p, step);
}

static double objective(const LobRidgeRows *rows, const Parts *parts, const bool *penalised, double ridge,
                        const double *beta) {
    double sum = 0;
    for (size_t s = 0; s < rows->n_strata; s++)
        sum += parts->loglik[s];
    for (size_t a = 0; a < rows->p; a++)
        sum -= penalty_of(penalised, ridge, a) / 2 * beta[a] * beta[a];
    return sum;
}

void lob_ridge_fit(const LobRidgeRows *rows, const bool *penalised, double ridge, double *beta) {
    size_t p = rows->p;
    g_autofree double *step = g_new(double, p + 1), *trial = g_new(double, p + 1);
    Parts parts;
    parts_init(&parts, rows);
    evaluate(rows, beta, &parts);
    double best = objective(rows, &parts, penalised, ridge, beta);
    for (int i = 0; i < STEPS && step_of(rows, &parts, rows->n_strata, penalised, ridge, beta, step); i++) {
        double now = -INFINITY;
        for (double length = 1; length > 1e-4; length /= 2) {
            for (size_t a = 0; a < p; a++)
                trial[a] = beta[a] + length * step[a];
            evaluate(rows, trial, &parts);
            now = objective(rows, &parts, penalised, ridge, trial);
            if (now >= best)
                break;
        }
        if (!(now >= best))
            break;
        memcpy(beta, trial, p * sizeof *beta);
        bool done = now - best < 1e-7 * (1 + fabs(best));
        best = now;
        if (done)
            break;
    }
    parts_clear(&parts);
}

/* ---- which ridge ---- */

/* Gain of the left-out stratum's log likelihood, by the expansion at 0. */
static double gain(const LobRidgeRows *rows, const Parts *parts, size_t s, const double *beta) {
    size_t p = rows->p;
    double sum = 0;
    for (size_t a = 0; a < p; a++) {
        sum += parts->gradient[s * p + a] * beta[a];
        for (size_t b = 0; b <= a; b++)
            sum -= parts->information[(s * p + a) * p + b] * beta[a] * beta[b] * (a == b ? 0.5 : 1);
    }
    return sum;
}

double lob_ridge_choose(const LobRidgeRows *rows, const bool *penalised) {
    static const double grid[] = {10000, 3000, 1000, 300, 100, 30, 10, 3, 1};
    g_autofree double *zero = g_new0(double, rows->p + 1), *beta = g_new(double, rows->p + 1);
    double best = -INFINITY, chosen = grid[0];
    Parts parts;
    parts_init(&parts, rows);
    evaluate(rows, zero, &parts);
    for (size_t g = 0; g < G_N_ELEMENTS(grid); g++) {
        double sum = 0;
        for (size_t s = 0; s < rows->n_strata; s++)
            if (step_of(rows, &parts, s, penalised, grid[g], zero, beta))
                sum += gain(rows, &parts, s, beta);
        if (sum > best) {
            best = sum;
            chosen = grid[g];
        }
    }
    parts_clear(&parts);
    return chosen;
}
