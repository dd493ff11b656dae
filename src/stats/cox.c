/* Cox regression by Newton's method. */
#include "stats/cox_internal.h"

#include <string.h>

#define MOST_ITERATIONS 40
#define MOST_HALVINGS 30
/* Relative change of the log likelihood that ends the iteration. */
#define TOLERANCE 1e-11
/* A last step larger than this share of its coefficient, with a flat likelihood, means it is infinite. */
#define SEPARATION 1e-5

typedef struct {
    const LobCoxWork *work;
    double loglik, *score, *information; /* [p], [p][p] */
} Derivatives;

static void add_moment(const LobCoxMoment *moment, void *user) {
    Derivatives *d = user;
    size_t p = d->work->p;
    d->loglik += moment->loglik;
    for (size_t j = 0; j < p; j++) {
        for (size_t i = moment->begin; i < moment->end; i++)
            d->score[j] += d->work->rows[i].weight * d->work->x[i * p + j];
        d->score[j] -= moment->mean_weight * moment->xbar[j];
        for (size_t k = 0; k <= j; k++)
            d->information[j * p + k] += moment->variance[j * p + k];
    }
}

static void differentiate(Derivatives *d, const double *beta) {
    size_t p = d->work->p;
    d->loglik = 0;
    memset(d->score, 0, p * sizeof *d->score);
    memset(d->information, 0, p * p * sizeof *d->information);
    lob_cox_sweep(d->work, beta, add_moment, d);
}

static void multiply(const double *a, const double *x, size_t p, double *out) {
    for (size_t i = 0; i < p; i++) {
        out[i] = 0;
        for (size_t j = 0; j < p; j++)
            out[i] += a[i * p + j] * x[j];
    }
}

/* Newton with halved steps where the likelihood falls. It ends after a second step that gains nothing: the
 * coefficients have as many digits as the likelihood only then. On return `inverse` belongs to beta. */
static void maximise(LobCox *fit, Derivatives *d, double *beta, double *inverse) {
    size_t p = fit->p;
    g_autofree double *step = g_new0(double, p + 1);
    g_autofree double *from = g_new0(double, p + 1);
    bool was_flat = false;
    for (fit->iterations = 0; fit->iterations < MOST_ITERATIONS && !fit->converged; fit->iterations++) {
        double before = d->loglik;
        multiply(inverse, d->score, p, step);
        memcpy(from, beta, p * sizeof *beta);
        double share = 1;
        for (int halving = 0; halving <= MOST_HALVINGS; halving++, share *= 0.5) {
            for (size_t j = 0; j < p; j++)
                beta[j] = from[j] + share * step[j];
            differentiate(d, beta);
            if (isfinite(d->loglik) && d->loglik >= before - TOLERANCE * (fabs(before) + 1))
                break;
        }
        bool flat = fabs(d->loglik - before) <= TOLERANCE * (fabs(d->loglik) + 1);
        fit->converged = flat && was_flat;
        was_flat = flat;
        memcpy(inverse, d->information, p * p * sizeof *inverse);
        size_t rank = lob_invert_psd(inverse, p, NULL);
        if (rank < fit->rank) {
            fit->separated = true;
            break;
        }
    }
    multiply(inverse, d->score, p, step);
    for (size_t j = 0; j < p; j++)
        if (fabs(step[j]) > SEPARATION * (fabs(beta[j]) + 1))
            fit->separated = true;
    if (fit->separated)
        fit->reason = "a coefficient is infinite (separation)";
    else if (!fit->converged)
        fit->reason = "did not converge";
}

static void unscale(LobCox *fit, const LobCoxWork *work, const double *beta, const double *inverse,
                    const bool *aliased) {
    size_t p = fit->p;
    for (size_t j = 0; j < p; j++) {
        fit->beta[j] = aliased[j] ? NAN : beta[j] / work->sd[j];
        for (size_t k = 0; k < p; k++)
            fit->variance[j * p + k] =
                aliased[j] || aliased[k] ? 0 : inverse[j * p + k] / (work->sd[j] * work->sd[k]);
        fit->se[j] = aliased[j] ? NAN : sqrt(fit->variance[j * p + j]);
    }
    memcpy(fit->mean, work->mean, p * sizeof *fit->mean);
}

static void add_robust(LobCox *fit, const LobFollowUp *data, const LobCoxWork *work, const double *beta,
                       const double *inverse) {
    size_t n = data->n, p = fit->p;
    fit->dfbeta = g_new0(double, n *p + 1);
    fit->robust_variance = g_new0(double, p *p + 1);
    fit->robust_se = g_new0(double, p + 1);
    lob_cox_dfbeta(work, beta, inverse, fit->dfbeta);
    g_autofree uint32_t *cluster = g_new(uint32_t, n + 1);
    size_t k = lob_compact_labels(data->cluster, n, cluster);
    g_autofree double *sum = g_new0(double, k *p + 1);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < p; j++)
            sum[cluster[i] * p + j] += fit->dfbeta[i * p + j];
    for (size_t c = 0; c < k; c++)
        for (size_t a = 0; a < p; a++)
            for (size_t b = 0; b < p; b++)
                fit->robust_variance[a * p + b] += sum[c * p + a] * sum[c * p + b];
    for (size_t j = 0; j < p; j++)
        fit->robust_se[j] = isnan(fit->beta[j]) ? NAN : sqrt(fit->robust_variance[j * p + j]);
}

static void add_tests(LobCox *fit, const double *score_null, const double *inverse_null) {
    size_t p = fit->p;
    g_autofree size_t *columns = g_new(size_t, p + 1);
    for (size_t j = 0; j < p; j++)
        columns[j] = j;
    double df = (double)fit->rank;
    if (fit->rank == 0) {
        fit->wald = fit->likelihood_ratio = fit->score = fit->robust_wald =
            (LobTest){NAN, 0, NAN, "no column that varies"};
        return;
    }
    fit->wald = lob_cox_wald(fit, columns, p, false);
    fit->robust_wald = lob_cox_wald(fit, columns, p, true);
    fit->likelihood_ratio = lob_chi2_test(fmax(0, 2 * (fit->loglik - fit->loglik_null)), df);
    fit->score = lob_chi2_test(lob_quadratic_form(inverse_null, score_null, p), df);
}

static void allocate(LobCox *fit, const LobFollowUp *data, size_t p) {
    *fit = (LobCox){.n = data->n,
                    .p = p,
                    .beta = g_new(double, p + 1),
                    .se = g_new(double, p + 1),
                    .variance = g_new0(double, p *p + 1),
                    .mean = g_new0(double, p + 1),
                    .loglik_null = NAN,
                    .loglik = NAN};
    for (size_t j = 0; j < p; j++)
        fit->beta[j] = fit->se[j] = NAN;
    for (size_t i = 0; i < data->n; i++)
        fit->n_events += data->event[i] != 0 && (!data->weight || data->weight[i] > 0);
}

void lob_cox_fit(LobCox *fit, const LobFollowUp *data, const LobCoxDesign *design) {
    size_t p = design->p;
    allocate(fit, data, p);
    if (fit->n_events == 0) {
        fit->reason = "no event";
        fit->wald = fit->likelihood_ratio = fit->score = fit->robust_wald =
            (LobTest){NAN, NAN, NAN, fit->reason};
        return;
    }
    g_autoptr(LobCoxWork) work = lob_cox_work_new(data, design);
    g_autofree double *beta = g_new0(double, p + 1);
    g_autofree double *score = g_new0(double, p + 1);
    g_autofree double *information = g_new0(double, p *p + 1);
    g_autofree bool *aliased = g_new0(bool, p + 1);
    Derivatives d = {.work = work, .score = score, .information = information};
    differentiate(&d, beta);
    fit->loglik_null = d.loglik;
    g_autofree double *inverse = g_memdup2(information, (p * p + 1) * sizeof *information);
    fit->rank = lob_invert_psd(inverse, p, aliased);
    g_autofree double *inverse_null = g_memdup2(inverse, (p * p + 1) * sizeof *inverse);
    g_autofree double *score_null = g_memdup2(score, (p + 1) * sizeof *score);
    if (fit->rank > 0)
        maximise(fit, &d, beta, inverse);
    else
        fit->converged = true;
    fit->loglik = d.loglik;
    unscale(fit, work, beta, inverse, aliased);
    if (design->robust)
        add_robust(fit, data, work, beta, inverse);
    add_tests(fit, score_null, inverse_null);
}

void lob_cox_clear(LobCox *fit) {
    double *owned[] = {fit->beta,   fit->se,  fit->variance, fit->robust_se, fit->robust_variance,
                       fit->dfbeta, fit->mean};
    for (size_t i = 0; i < G_N_ELEMENTS(owned); i++)
        g_free(owned[i]);
    *fit = (LobCox){0};
}

LobTest lob_cox_wald(const LobCox *fit, const size_t *columns, size_t n_columns, bool robust) {
    const double *variance = robust ? fit->robust_variance : fit->variance;
    if (!variance)
        return (LobTest){NAN, NAN, NAN, "the robust variance was not asked for"};
    size_t k = 0;
    g_autofree size_t *kept = g_new(size_t, n_columns + 1);
    for (size_t a = 0; a < n_columns; a++)
        if (!isnan(fit->beta[columns[a]]))
            kept[k++] = columns[a];
    if (k == 0)
        return (LobTest){NAN, 0, NAN, "no estimable coefficient"};
    g_autofree double *v = g_new(double, k *k);
    g_autofree double *b = g_new(double, k);
    for (size_t i = 0; i < k; i++) {
        b[i] = fit->beta[kept[i]];
        for (size_t j = 0; j < k; j++)
            v[i * k + j] = variance[kept[i] * fit->p + kept[j]];
    }
    size_t rank = lob_invert_psd(v, k, NULL);
    if (rank < k)
        return (LobTest){NAN, (double)k, NAN, "singular variance"};
    return lob_chi2_test(lob_quadratic_form(v, b, k), (double)k);
}

LobTest lob_cox_compare(const LobCox *smaller, const LobCox *larger) {
    if (larger->rank <= smaller->rank || isnan(smaller->loglik) || isnan(larger->loglik))
        return (LobTest){NAN, NAN, NAN, "the models do not differ by an estimable coefficient"};
    return lob_chi2_test(fmax(0, 2 * (larger->loglik - smaller->loglik)),
                         (double)(larger->rank - smaller->rank));
}
