/* Multinomial logit: generalised propensity scores of several arms. */
#include "stats/stats_internal.h"

#include <string.h>

#define MOST_ITERATIONS 60
#define MOST_HALVINGS 30
#define TOLERANCE 1e-13
#define SEPARATION 1e-5

/* Rows with a leading 1 and standardised columns. */
typedef struct {
    const uint32_t *class_of;
    const double *weight;
    double *x; /* [n][d], d = p + 1 */
    double *mean, *sd;
    size_t n, d, n_classes, n_parameters;
    double ridge;
} Problem;

static void problem_prepare(Problem *pr, const double *x, size_t p) {
    size_t n = pr->n;
    pr->x = g_new(double, n * pr->d + 1);
    pr->mean = g_new0(double, p + 1);
    pr->sd = g_new0(double, p + 1);
    for (size_t j = 0; j < p; j++) {
        double square = 0;
        for (size_t i = 0; i < n; i++)
            pr->mean[j] += x[i * p + j] / (double)n;
        for (size_t i = 0; i < n; i++)
            square += (x[i * p + j] - pr->mean[j]) * (x[i * p + j] - pr->mean[j]);
        double sd = sqrt(square / (double)n);
        pr->sd[j] = sd > 1e-12 * fabs(pr->mean[j]) ? sd : 0;
    }
    for (size_t i = 0; i < n; i++) {
        pr->x[i * pr->d] = 1;
        for (size_t j = 0; j < p; j++)
            pr->x[i * pr->d + 1 + j] = pr->sd[j] > 0 ? (x[i * p + j] - pr->mean[j]) / pr->sd[j] : 0;
    }
}

static void problem_clear(Problem *pr) {
    g_free(pr->x);
    g_free(pr->mean);
    g_free(pr->sd);
}

/* Probabilities of one row; log of their normaliser is taken around the largest logit. */
static double row_probabilities(const double *x, size_t d, const double *b, size_t n_classes, double *q) {
    double largest = 0, sum = 0;
    q[0] = 0;
    for (size_t c = 1; c < n_classes; c++) {
        q[c] = 0;
        for (size_t j = 0; j < d; j++)
            q[c] += b[(c - 1) * d + j] * x[j];
        largest = fmax(largest, q[c]);
    }
    for (size_t c = 0; c < n_classes; c++)
        sum += exp(q[c] - largest);
    double normaliser = largest + log(sum);
    for (size_t c = 0; c < n_classes; c++)
        q[c] = exp(q[c] - normaliser);
    return normaliser;
}

static double logit_of(const Problem *pr, const double *b, size_t i) {
    size_t c = pr->class_of[i];
    double logit = 0;
    for (size_t j = 0; c > 0 && j < pr->d; j++)
        logit += b[(c - 1) * pr->d + j] * pr->x[i * pr->d + j];
    return logit;
}

static double weight_of(const Problem *pr, size_t i) {
    return pr->weight ? pr->weight[i] : 1;
}

/* The block of two classes: all rows go into it before the next, because all blocks together do not fit a
 * cache. block [d][d] is room. */
static void add_block(const Problem *pr, const double *q, size_t c, size_t e, double *a, double *block) {
    const size_t d = pr->d, m = pr->n_parameters, n_classes = pr->n_classes;
    memset(block, 0, d * d * sizeof *block);
    for (size_t i = 0; i < pr->n; i++) {
        const double *x = pr->x + i * d, *own = q + i * n_classes;
        const double v = weight_of(pr, i) * own[c] * ((c == e) - own[e]);
        for (size_t j = 0; j < d; j++)
            for (size_t k = 0; k < d; k++)
                block[j * d + k] += v * x[j] * x[k];
    }
    for (size_t j = 0; j < d; j++)
        memcpy(a + ((c - 1) * d + j) * m + (e - 1) * d, block + j * d, d * sizeof *a);
}

/* Gradient and lower half of the information, of probabilities q [n][n_classes]. */
static void derivatives(const Problem *pr, const double *q, double *u, double *a) {
    const size_t d = pr->d, m = pr->n_parameters;
    g_autofree double *block = g_new(double, d *d);
    memset(u, 0, m * sizeof *u);
    memset(a, 0, m * m * sizeof *a);
    for (size_t c = 1; c < pr->n_classes; c++) {
        for (size_t i = 0; i < pr->n; i++) {
            const double r = weight_of(pr, i) * ((pr->class_of[i] == c) - q[i * pr->n_classes + c]);
            for (size_t j = 0; j < d; j++)
                u[(c - 1) * d + j] += r * pr->x[i * d + j];
        }
        for (size_t e = 1; e <= c; e++)
            add_block(pr, q, c, e, a, block);
    }
}

/* Log likelihood; *penalised is less by the ridge. u and a may be NULL. q [n][n_classes] is room. */
static double evaluate(const Problem *pr, const double *b, double *penalised, double *u, double *a,
                       double *q) {
    size_t m = pr->n_parameters;
    double loglik = 0, penalty = 0;
    for (size_t i = 0; i < pr->n; i++) {
        double normaliser =
            row_probabilities(pr->x + i * pr->d, pr->d, b, pr->n_classes, q + i * pr->n_classes);
        loglik += weight_of(pr, i) * (logit_of(pr, b, i) - normaliser);
    }
    if (u)
        derivatives(pr, q, u, a);
    for (size_t k = 0; k < m; k++) {
        if (k % pr->d == 0)
            continue;
        penalty += 0.5 * pr->ridge * b[k] * b[k];
        if (u) {
            u[k] -= pr->ridge * b[k];
            a[k * m + k] += pr->ridge;
        }
    }
    *penalised = loglik - penalty;
    return loglik;
}

static void newton(const Problem *pr, LobMultinomial *fit, double *b) {
    size_t m = pr->n_parameters;
    g_autofree double *u = g_new(double, m);
    g_autofree double *a = g_new(double, m *m);
    g_autofree double *step = g_new0(double, m);
    g_autofree double *from = g_new(double, m);
    g_autofree double *q = g_new(double, pr->n * pr->n_classes + 1);
    double now, before;
    bool infinite = false;
    for (fit->iterations = 0; fit->iterations < MOST_ITERATIONS && !fit->converged; fit->iterations++) {
        evaluate(pr, b, &before, u, a, q);
        size_t rank = lob_invert_psd(a, m, NULL);
        memcpy(from, b, m * sizeof *b);
        infinite = rank == 0;
        for (size_t k = 0; k < m; k++) {
            step[k] = 0;
            for (size_t l = 0; l < m; l++)
                step[k] += a[k * m + l] * u[l];
            infinite |= fabs(step[k]) > SEPARATION * (1 + fabs(b[k]));
        }
        double share = 1;
        for (int halving = 0; halving <= MOST_HALVINGS; halving++, share *= 0.5) {
            for (size_t k = 0; k < m; k++)
                b[k] = from[k] + share * step[k];
            fit->loglik = evaluate(pr, b, &now, NULL, NULL, q);
            if (isfinite(now) && now >= before - TOLERANCE * (1 + fabs(before)))
                break;
        }
        fit->converged = fabs(now - before) <= TOLERANCE * (1 + fabs(now));
    }
    if (infinite)
        fit->reason = "a probability tends to 0 or 1 (separation)";
    else if (!fit->converged)
        fit->reason = "did not converge";
}

static bool every_class_present(const Problem *pr) {
    g_autofree bool *seen = g_new0(bool, pr->n_classes);
    for (size_t i = 0; i < pr->n; i++)
        if (!pr->weight || pr->weight[i] > 0)
            seen[pr->class_of[i]] = true;
    for (size_t c = 0; c < pr->n_classes; c++)
        if (!seen[c])
            return false;
    return true;
}

/* Back to the columns' own units. */
static void unscale(LobMultinomial *fit, const Problem *pr, const double *b) {
    for (size_t c = 0; c + 1 < fit->n_classes; c++) {
        const double *from = b + c * pr->d;
        double *to = fit->coefficient + c * pr->d;
        to[0] = from[0];
        for (size_t j = 0; j < fit->p; j++) {
            to[1 + j] = pr->sd[j] > 0 ? from[1 + j] / pr->sd[j] : 0;
            to[0] -= to[1 + j] * pr->mean[j];
        }
    }
}

void lob_multinomial_fit(LobMultinomial *fit, const double *x, size_t n, size_t p, const uint32_t *class_of,
                         size_t n_classes, const double *weight, double ridge) {
    size_t d = p + 1, m = (n_classes - 1) * d;
    g_assert(n_classes >= 2);
    *fit = (LobMultinomial){.n_classes = n_classes,
                            .p = p,
                            .coefficient = g_new(double, m),
                            .probability = g_new(double, n *n_classes + 1),
                            .loglik = NAN};
    Problem pr = {.class_of = class_of,
                  .weight = weight,
                  .n = n,
                  .d = d,
                  .n_classes = n_classes,
                  .n_parameters = m,
                  .ridge = ridge};
    if (!every_class_present(&pr)) {
        fit->reason = "an arm without a row";
        for (size_t k = 0; k < m; k++)
            fit->coefficient[k] = NAN;
        for (size_t k = 0; k < n * n_classes; k++)
            fit->probability[k] = NAN;
        return;
    }
    problem_prepare(&pr, x, p);
    g_autofree double *b = g_new0(double, m);
    newton(&pr, fit, b);
    for (size_t i = 0; i < n; i++)
        row_probabilities(pr.x + i * d, d, b, n_classes, fit->probability + i * n_classes);
    unscale(fit, &pr, b);
    problem_clear(&pr);
}

void lob_multinomial_predict(const LobMultinomial *fit, const double *x, size_t n, double *probability) {
    size_t d = fit->p + 1;
    g_autofree double *row = g_new(double, d);
    row[0] = 1;
    for (size_t i = 0; i < n; i++) {
        if (fit->p > 0)
            memcpy(row + 1, x + i * fit->p, fit->p * sizeof *row);
        row_probabilities(row, d, fit->coefficient, fit->n_classes, probability + i * fit->n_classes);
    }
}

void lob_multinomial_clear(LobMultinomial *fit) {
    g_free(fit->coefficient);
    g_free(fit->probability);
    *fit = (LobMultinomial){0};
}
