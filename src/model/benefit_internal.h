/* Pieces of the benefit stage. Private to src/model. */
#ifndef LOB_BENEFIT_INTERNAL_H
#define LOB_BENEFIT_INTERNAL_H

#include "model/benefit.h"

/* Rows for a weighted Cox partial likelihood (Breslow ties) that is a sum over strata. */
typedef struct {
    size_t n, p;
    double *x; /* [n][p] */
    double *time, *weight, *offset;
    uint8_t *event;
    uint32_t *stratum; /* 0 .. n_strata-1 */
    size_t n_strata;
    size_t *order; /* by stratum, then time descending */
} LobRidgeRows;

void lob_ridge_rows_init(LobRidgeRows *rows, size_t n, size_t p);
void lob_ridge_rows_sort(LobRidgeRows *rows); /* after stratum and time are filled */
void lob_ridge_rows_clear(LobRidgeRows *rows);

/* Minimises -loglik + ridge/2 * sum of penalised beta^2; `penalised` [p], the others get a floor that only
 * keeps constant columns at 0. beta [p] holds the start and the result. */
void lob_ridge_fit(const LobRidgeRows *rows, const bool *penalised, double ridge, double *beta);
/* The ridge whose fit without a stratum serves that stratum best, over strata; ties go to the larger. */
double lob_ridge_choose(const LobRidgeRows *rows, const bool *penalised);

/* The k leading directions of the spread of x [n][d] (already centered): bases [k][d] orthonormal.
 * Deterministic. Returns how many there are. */
size_t lob_principal(const double *x, size_t n, size_t d, size_t k, double *bases);

/* Fills k, z, tiles, basis and who has tiles (train, held_out). */
void lob_benefit_vectors(LobBenefit *benefit, const LobBagSums *sums);

size_t lob_shared_factors(const double *variance, size_t k, size_t d, double total, size_t n, double *noise);
/* z [k] of one patient's pooled columns [dim], the same whoever else is pooled. */
void lob_basis_apply(const LobBasis *basis, const double *pooled, double *z);
/* Fills code. */
void lob_benefit_codes(LobBenefit *benefit);
/* Fills adverse or adverse_reason, where the study asks. */
void lob_benefit_fit_adverse(LobBenefit *benefit);
/* STOPPED where the options' stop says so. */
bool lob_benefit_goes_on(const LobBenefit *benefit, GError **err);
void lob_basis_clear(LobBasis *basis);
/* Cumulative hazard at a share of tau, 0 to 1. */
double lob_benefit_hazard_at(const double *hazard, double share);

double lob_benefit_main_eta(const LobBenefit *benefit, const double *main, uint32_t p, const int *code);
/* counts [n_train] (a bootstrap draw) or NULL; prior [k]: towards it, instead of 0, the image's coefficients
 * are shrunk, or NULL; choose: also the ridge. main [n_main] start and result. */
void lob_benefit_fit_main(LobBenefit *benefit, const double *counts, const double *prior, bool choose,
                          double *main);
typedef struct {
    const double *main;
    const uint32_t *source; /* [n_patients] whose modifier a patient takes, or NULL: its own */
    const double *counts;   /* [n_train] or NULL */
    const double *prior;    /* [k] shrunk towards it, or NULL: 0 */
} LobBenefitRefit;
/* *ridge 0: it is chosen. gamma [k] start and result. */
void lob_benefit_fit_effect(const LobBenefit *benefit, int part, const LobBenefitRefit *refit, double *ridge,
                            double *gamma);
double lob_benefit_effect(const LobBenefit *benefit, const double *gamma, uint32_t z_of);

#endif
