#include "stats/cox_internal.h"

#include <string.h>

static void standardise(LobCoxWork *work) {
    size_t n = work->n, p = work->p;
    for (size_t j = 0; j < p; j++) {
        double weights = 0, sum = 0, square = 0;
        for (size_t i = 0; i < n; i++) {
            weights += work->rows[i].weight;
            sum += work->rows[i].weight * work->x[i * p + j];
        }
        double mean = n ? sum / weights : 0;
        for (size_t i = 0; i < n; i++) {
            double d = work->x[i * p + j] -= mean;
            square += work->rows[i].weight * d * d;
        }
        double sd = n ? sqrt(square / weights) : 0;
        /* What rounding leaves of a constant is no spread. */
        if (!(sd > 1e-12 * fabs(mean)))
            sd = 0;
        for (size_t i = 0; i < n; i++)
            work->x[i * p + j] = sd > 0 ? work->x[i * p + j] / sd : 0;
        work->mean[j] = mean;
        work->sd[j] = sd;
    }
}

LobCoxWork *lob_cox_work_new(const LobFollowUp *data, const LobCoxDesign *design) {
    LobCoxWork *work = g_new0(LobCoxWork, 1);
    size_t p = work->p = design->p;
    work->rows = lob_rows_sorted(data, true, &work->n);
    work->x = g_new(double, work->n *p + 1);
    work->offset = g_new(double, work->n + 1);
    work->mean = g_new0(double, p + 1);
    work->sd = g_new0(double, p + 1);
    for (size_t i = 0; i < work->n; i++) {
        size_t row = work->rows[i].row;
        work->offset[i] = design->offset ? design->offset[row] : 0;
        if (p > 0)
            memcpy(work->x + i * p, design->x + row * p, p * sizeof *work->x);
    }
    standardise(work);
    return work;
}

void lob_cox_work_free(LobCoxWork *work) {
    if (!work)
        return;
    g_free(work->rows);
    g_free(work->x);
    g_free(work->offset);
    g_free(work->mean);
    g_free(work->sd);
    g_free(work);
}

void lob_cox_eta(const LobCoxWork *work, const double *beta, double *eta) {
    for (size_t i = 0; i < work->n; i++) {
        eta[i] = work->offset[i];
        for (size_t j = 0; j < work->p; j++)
            eta[i] += beta[j] * work->x[i * work->p + j];
    }
}

double *lob_cox_standard_beta(const LobCoxWork *work, const LobCox *fit) {
    double *beta = g_new(double, work->p + 1);
    for (size_t j = 0; j < work->p; j++)
        beta[j] = isnan(fit->beta[j]) ? 0 : fit->beta[j] * work->sd[j];
    return beta;
}

/* Weighted sums of 1, x and xx' over a set of rows. */
typedef struct {
    double s0, *s1, *s2; /* s2: lower triangle */
} Moments;

static Moments moments_new(size_t p) {
    return (Moments){.s1 = g_new0(double, p + 1), .s2 = g_new0(double, p *p + 1)};
}

static void moments_free(Moments *m) {
    g_free(m->s1);
    g_free(m->s2);
}

static void moments_reset(Moments *m, size_t p) {
    m->s0 = 0;
    memset(m->s1, 0, p * sizeof *m->s1);
    memset(m->s2, 0, p * p * sizeof *m->s2);
}

static void moments_add(Moments *m, const double *x, size_t p, double risk) {
    m->s0 += risk;
    for (size_t j = 0; j < p; j++) {
        double rx = risk * x[j];
        m->s1[j] += rx;
        for (size_t k = 0; k <= j; k++)
            m->s2[j * p + k] += rx * x[k];
    }
}

/* One of the d steps of Efron's approximation: the risk set without the share of the dying. */
static void efron_step(LobCoxMoment *moment, const Moments *all, const Moments *dying, size_t p, double share,
                       double *xbar) {
    double s0 = all->s0 - share * dying->s0, h = moment->mean_weight / s0;
    moment->loglik -= moment->mean_weight * log(s0);
    moment->hazard += h;
    moment->hazard_dying += h * (1 - share);
    for (size_t j = 0; j < p; j++) {
        xbar[j] = (all->s1[j] - share * dying->s1[j]) / s0;
        moment->xbar[j] += xbar[j];
        moment->hazard_x[j] += h * xbar[j];
        moment->hazard_x_dying[j] += h * (1 - share) * xbar[j];
        for (size_t k = 0; k <= j; k++)
            moment->variance[j * p + k] +=
                moment->mean_weight *
                ((all->s2[j * p + k] - share * dying->s2[j * p + k]) / s0 - xbar[j] * xbar[k]);
    }
}

typedef struct {
    const LobCoxWork *work;
    const double *eta;
    double shift;
    Moments all, dying;
    LobCoxMoment moment;
    double *xbar;
    LobCoxVisitor visitor;
    void *user;
} Sweep;

static double risk_of(const Sweep *sweep, size_t i) {
    return sweep->work->rows[i].weight * exp(sweep->eta[i] - sweep->shift);
}

/* The deaths [begin, end) of one time; `all` does not hold them yet. */
static void visit_deaths(Sweep *sweep, size_t begin, size_t end) {
    const LobCoxWork *work = sweep->work;
    LobCoxMoment *m = &sweep->moment;
    size_t p = work->p;
    double weights = 0, deaths = (double)(end - begin);
    double *sums[] = {m->xbar, m->hazard_x, m->hazard_x_dying};
    for (size_t k = 0; k < G_N_ELEMENTS(sums); k++)
        memset(sums[k], 0, p * sizeof **sums);
    memset(m->variance, 0, p * p * sizeof *m->variance);
    m->begin = begin;
    m->end = end;
    m->loglik = m->hazard = m->hazard_dying = 0;
    moments_reset(&sweep->dying, p);
    for (size_t i = begin; i < end; i++) {
        double risk = risk_of(sweep, i);
        moments_add(&sweep->dying, work->x + i * p, p, risk);
        moments_add(&sweep->all, work->x + i * p, p, risk);
        weights += work->rows[i].weight;
        m->loglik += work->rows[i].weight * (sweep->eta[i] - sweep->shift);
    }
    m->mean_weight = weights / deaths;
    for (size_t l = 0; l < end - begin; l++)
        efron_step(m, &sweep->all, &sweep->dying, p, (double)l / deaths, sweep->xbar);
    sweep->visitor(m, sweep->user);
}

static void sweep_stratum(Sweep *sweep, size_t first, size_t last) {
    const LobRow *rows = sweep->work->rows;
    size_t p = sweep->work->p;
    moments_reset(&sweep->all, p);
    for (size_t end = last, begin; end > first; end = begin) {
        size_t deaths_end = end;
        for (begin = end; begin > first && rows[begin - 1].time == rows[end - 1].time; begin--)
            if (!rows[begin - 1].event) {
                moments_add(&sweep->all, sweep->work->x + (begin - 1) * p, p, risk_of(sweep, begin - 1));
                deaths_end = begin - 1;
            }
        if (deaths_end > begin)
            visit_deaths(sweep, begin, deaths_end);
    }
}

double lob_cox_sweep(const LobCoxWork *work, const double *beta, LobCoxVisitor visitor, void *user) {
    size_t p = work->p;
    g_autofree double *eta = g_new(double, work->n + 1);
    g_autofree double *buffer = g_new0(double, 4 * p + p * p + 1);
    lob_cox_eta(work, beta, eta);
    Sweep sweep = {.work = work,
                   .eta = eta,
                   .shift = work->n ? eta[0] : 0,
                   .all = moments_new(p),
                   .dying = moments_new(p),
                   .moment = {.xbar = buffer,
                              .hazard_x = buffer + p,
                              .hazard_x_dying = buffer + 2 * p,
                              .variance = buffer + 4 * p},
                   .xbar = buffer + 3 * p,
                   .visitor = visitor,
                   .user = user};
    for (size_t i = 1; i < work->n; i++)
        sweep.shift = fmax(sweep.shift, eta[i]);
    for (size_t begin = 0, end; begin < work->n; begin = end) {
        end = lob_rows_stratum_end(work->rows, work->n, begin);
        sweep_stratum(&sweep, begin, end);
    }
    moments_free(&sweep.all);
    moments_free(&sweep.dying);
    return sweep.shift;
}
