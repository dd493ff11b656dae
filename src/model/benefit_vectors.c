/* A patient's vector for the benefit stage: pooled tiles, reduced by what varies between patients of one
 * center.
 */
#include "model/benefit_internal.h"
#include "model/model_internal.h"

#include <math.h>
#include <string.h>

#define ROUNDS 60

/* ---- principal directions ---- */

/* Rows of v [k][d] made orthonormal in turn; what vanishes becomes 0. */
static void orthonormalise(double *v, size_t k, size_t d) {
    for (size_t i = 0; i < k; i++) {
        double *row = v + i * d;
        double before = cblas_dnrm2((int)d, row, 1);
        for (int twice = 0; twice < 2; twice++)
            for (size_t j = 0; j < i; j++)
                cblas_daxpy((int)d, -cblas_ddot((int)d, row, 1, v + j * d, 1), v + j * d, 1, row, 1);
        double norm = cblas_dnrm2((int)d, row, 1);
        cblas_dscal((int)d, norm > 1e-10 * before && norm > 0 ? 1 / norm : 0, row, 1);
    }
}

/* Orthogonal iteration. Rotations within the subspace do not matter: the ridges behind it are isotropic. */
size_t lob_principal(const double *x, size_t n, size_t d, size_t k, double *bases) {
    size_t kept = MIN(k, MIN(n, d));
    g_autofree double *scores = g_new(double, n *kept + 1);
    LobRng rng;
    lob_rng_init(&rng, 1, "benefit/principal");
    for (size_t i = 0; i < kept * d; i++)
        bases[i] = lob_rng_normal(&rng);
    for (int round = 0; kept > 0 && round < ROUNDS; round++) {
        orthonormalise(bases, kept, d);
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)kept, (int)d, 1, x, (int)d, bases,
                    (int)d, 0, scores, (int)kept);
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)kept, (int)d, (int)n, 1, scores, (int)kept,
                    x, (int)d, 0, bases, (int)d);
    }
    orthonormalise(bases, kept, d);
    return kept;
}

/* ---- pooling ---- */

/* Means of a patient's scaled tiles, or the covariates where there are no bags. */
static void raw_vector(const LobView *view, const LobBags *bags, const LobScaler *scaler, uint32_t p,
                       float *rows, double *out, size_t d) {
    memset(out, 0, d * sizeof *out);
    if (!bags) {
        for (size_t j = 0; j < d; j++)
            out[j] = (double)view->covariates[p * d + j];
        return;
    }
    uint64_t count = bags->count[p];
    lob_scaler_apply(scaler, bags->features + bags->first[p] * d, count, rows);
    for (uint64_t r = 0; r < count; r++)
        for (size_t j = 0; j < d; j++)
            out[j] += (double)rows[r * d + j] / (double)count;
}

/* x [n_train][d] less the mean of the patient's center. */
static void subtract_center_means(const LobBenefit *benefit, double *x, size_t d) {
    const LobCohort *cohort = benefit->view->cohort;
    g_autofree double *mean = g_new0(double, cohort->n_centers *d + 1);
    g_autofree double *n = g_new0(double, cohort->n_centers);
    for (size_t i = 0; i < benefit->n_train; i++)
        n[cohort->patients[benefit->train[i]].center] += 1;
    for (size_t i = 0; i < benefit->n_train; i++) {
        size_t c = cohort->patients[benefit->train[i]].center;
        cblas_daxpy((int)d, 1 / n[c], x + i * d, 1, mean + c * d, 1);
    }
    for (size_t i = 0; i < benefit->n_train; i++)
        cblas_daxpy((int)d, -1, mean + cohort->patients[benefit->train[i]].center * d, 1, x + i * d, 1);
}

static bool has_tiles(const LobBags *bags, uint32_t p) {
    return !bags || bags->count[p] > 0;
}

static void choose_patients(LobBenefit *benefit, const LobBags *bags) {
    const LobView *view = benefit->view;
    benefit->train = g_new(uint32_t, MAX(view->n_train, 1));
    benefit->held_out = g_new(uint32_t, MAX(view->n_held_out, 1));
    for (size_t i = 0; i < view->n_train; i++)
        if (has_tiles(bags, view->train[i]) && benefit->code[view->train[i] * LOB_PARTS] >= 0)
            benefit->train[benefit->n_train++] = view->train[i];
    for (size_t i = 0; i < view->n_held_out; i++)
        if (has_tiles(bags, view->held_out[i]))
            benefit->held_out[benefit->n_held_out++] = view->held_out[i];
}

/* z = bases (x - training mean), on one common scale: mean variance of a component is 1 in training. */
static void project(LobBenefit *benefit, const double *x, const uint32_t *patients, size_t n) {
    size_t d = benefit->dim, k = benefit->k;
    for (size_t i = 0; i < n; i++)
        cblas_dgemv(CblasRowMajor, CblasNoTrans, (int)k, (int)d, 1, benefit->bases, (int)d, x + i * d, 1, 0,
                    benefit->z + patients[i] * k, 1);
}

static void rescale(LobBenefit *benefit) {
    size_t k = benefit->k;
    double sum = 0;
    g_autofree double *mean = g_new0(double, k + 1);
    for (size_t i = 0; i < benefit->n_train; i++)
        cblas_daxpy((int)k, 1 / (double)benefit->n_train, benefit->z + benefit->train[i] * k, 1, mean, 1);
    for (size_t i = 0; i < benefit->n_train; i++)
        for (size_t j = 0; j < k; j++) {
            double deviation = benefit->z[benefit->train[i] * k + j] - mean[j];
            sum += deviation * deviation / (double)benefit->n_train;
        }
    double factor = sum > 0 ? sqrt((double)k / sum) : 0;
    uint32_t *const lists[] = {benefit->train, benefit->held_out};
    const size_t sizes[] = {benefit->n_train, benefit->n_held_out};
    for (int l = 0; l < 2; l++)
        for (size_t i = 0; i < sizes[l]; i++)
            for (size_t j = 0; j < k; j++)
                benefit->z[lists[l][i] * k + j] = (benefit->z[lists[l][i] * k + j] - mean[j]) * factor;
}

void lob_benefit_vectors(LobBenefit *benefit, const LobBags *bags) {
    const LobView *view = benefit->view;
    size_t d = bags ? bags->dim : view->n_covariates;
    uint64_t most = 1;
    LobScaler scaler = {0};
    choose_patients(benefit, bags);
    for (size_t p = 0; bags && p < bags->n_patients; p++)
        most = MAX(most, bags->count[p]);
    if (bags)
        lob_scaler_fit(&scaler, bags, benefit->train, benefit->n_train);
    g_autofree float *rows = g_new(float, most *d + 1);
    g_autofree double *train = g_new(double, benefit->n_train *d + 1);
    g_autofree double *held_out = g_new(double, benefit->n_held_out *d + 1);
    for (size_t i = 0; i < benefit->n_train; i++)
        raw_vector(view, bags, &scaler, benefit->train[i], rows, train + i * d, d);
    for (size_t i = 0; i < benefit->n_held_out; i++)
        raw_vector(view, bags, &scaler, benefit->held_out[i], rows, held_out + i * d, d);
    g_autofree double *centered = g_memdup2(train, (benefit->n_train * d + 1) * sizeof *train);
    subtract_center_means(benefit, centered, d);
    benefit->dim = d;
    benefit->bases = g_new0(double, benefit->options.components *d + 1);
    benefit->k = lob_principal(centered, benefit->n_train, d, benefit->options.components, benefit->bases);
    benefit->z = g_new0(double, benefit->n_patients * benefit->k + 1);
    project(benefit, train, benefit->train, benefit->n_train);
    project(benefit, held_out, benefit->held_out, benefit->n_held_out);
    rescale(benefit);
    lob_scaler_clear(&scaler);
}
