/* The partial likelihood, death time by death time: shared by fit, residuals, baseline and tests. */
#ifndef LOB_COX_INTERNAL_H
#define LOB_COX_INTERNAL_H

#include "stats/stats_internal.h"

/* Rows sorted, columns centered and scaled, so that neither exp nor the pivots depend on units. */
typedef struct {
    size_t n, p;
    LobRow *rows;
    double *x;         /* [n][p] standardised, in the order of rows */
    double *offset;    /* [n] */
    double *mean, *sd; /* [p]; sd 0: a constant column, its x is 0 */
} LobCoxWork;

LobCoxWork *lob_cox_work_new(const LobFollowUp *data, const LobCoxDesign *design);
void lob_cox_work_free(LobCoxWork *work);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LobCoxWork, lob_cox_work_free)

/* What Efron's approximation makes of one death time with d deaths; l runs over 0 .. d-1, S0_l and xbar_l
 * leave out l/d of the dying, h_l = mean weight of the dying / S0_l. */
typedef struct {
    size_t begin, end; /* the dying, as indices into rows */
    double mean_weight;
    double loglik;
    double hazard, hazard_dying;       /* sum h_l, sum h_l (1 - l/d) */
    double *xbar;                      /* [p] sum xbar_l */
    double *hazard_x, *hazard_x_dying; /* [p] sum h_l xbar_l, the same times (1 - l/d) */
    double *variance;                  /* [p][p] mean_weight * sum of the weighted covariances of x */
} LobCoxMoment;
typedef void (*LobCoxVisitor)(const LobCoxMoment *moment, void *user);

/* Calls the visitor once a death time, strata in order, within a stratum from the last time back. beta [p] on
 * the standardised scale. The hazards belong to exp(eta - shift); returns shift. */
double lob_cox_sweep(const LobCoxWork *work, const double *beta, LobCoxVisitor visitor, void *user);
/* eta [n] = x beta + offset. */
void lob_cox_eta(const LobCoxWork *work, const double *beta, double *eta);
/* The fit's coefficients on the standardised scale, aliased ones 0. Caller frees. */
double *lob_cox_standard_beta(const LobCoxWork *work, const LobCox *fit);

/* dfbeta [n rows of the data][p] = weight * score residual * variance, on the scale of the columns. */
void lob_cox_dfbeta(const LobCoxWork *work, const double *beta, const double *inverse, double *dfbeta);

#endif
