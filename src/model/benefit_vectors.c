/* A patient's vector for the benefit stage: pooled tiles, reduced by what varies between patients of one
 * center; and how well that vector is known.
 *
 * What it lacks has two sources. Tiles are a sample: interleaved halves of a patient's tiles differ by it.
 * And a column has variance that no other column shares, which cannot be told from noise: the residual of
 * probabilistic PCA (Tipping & Bishop 1999), its number of factors chosen by BIC. */
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

/* Mean of a patient's scaled tiles; half [dim] (may be NULL): half the difference of the means of its even
 * and odd tiles. Returns what half's square is to be multiplied with to be the variance of one tile. */
static double pool(const LobBasis *basis, const LobBags *bags, uint32_t p, float *rows, double *out,
                   double *half) {
    size_t d = basis->dim;
    uint64_t count = bags->count[p], even = (count + 1) / 2, odd = count / 2;
    LobScaler scaler = {d, basis->mean, basis->inverse};
    memset(out, 0, d * sizeof *out);
    if (half)
        memset(half, 0, d * sizeof *half);
    lob_scaler_apply(&scaler, bags->features + bags->first[p] * d, count, rows);
    for (uint64_t r = 0; r < count; r++)
        for (size_t j = 0; j < d; j++)
            out[j] += (double)rows[r * d + j] / (double)count;
    for (uint64_t r = 0; half && odd > 0 && r < count; r++)
        for (size_t j = 0; j < d; j++)
            half[j] += (double)rows[r * d + j] / (r % 2 ? -2.0 * (double)odd : 2.0 * (double)even);
    return odd ? 4 / (1 / (double)even + 1 / (double)odd) : 0;
}

static uint64_t most_tiles(const LobBags *bags) {
    uint64_t most = 1;
    for (size_t p = 0; bags && p < bags->n_patients; p++)
        most = MAX(most, bags->count[p]);
    return most;
}

/* Pooled columns of patients [n][dim], or their covariates. */
static double *pooled_rows(const LobBasis *basis, const LobBags *bags, const float *covariates,
                           const uint32_t *patients, size_t n) {
    size_t d = basis->dim;
    double *x = g_new(double, n *d + 1);
    g_autofree float *rows = basis->of_tiles ? g_new(float, most_tiles(bags) * d) : NULL;
    for (size_t i = 0; i < n; i++)
        if (basis->of_tiles)
            (void)pool(basis, bags, patients[i], rows, x + i * d, NULL);
        else
            for (size_t j = 0; j < d; j++)
                x[i * d + j] = (double)covariates[patients[i] * d + j];
    return x;
}

static void project(const LobBasis *basis, const double *x, size_t n, double *z) {
    size_t d = basis->dim, k = basis->k;
    if (k > 0 && n > 0)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)k, (int)d, 1, x, (int)d,
                    basis->bases, (int)d, 0, z, (int)k);
}

void lob_basis_apply(const LobBasis *basis, const LobBags *bags, const float *covariates,
                     const uint32_t *patients, size_t n, double *z) {
    g_autofree double *x = pooled_rows(basis, bags, covariates, patients, n);
    project(basis, x, n, z);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < basis->k; j++)
            z[i * basis->k + j] = (z[i * basis->k + j] - basis->center[j]) * basis->factor;
}

void lob_basis_clear(LobBasis *basis) {
    g_free(basis->mean);
    g_free(basis->inverse);
    g_free(basis->bases);
    g_free(basis->center);
    g_free(basis->variance);
    g_free(basis->blur);
    *basis = (LobBasis){0};
}

/* ---- fitting the basis on the training patients ---- */

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

static double sum_of_squares(const double *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sum;
}

/* One common scale: the mean variance of a component is 1 in training. z [n_train][k] not yet scaled. */
static void set_scale(LobBasis *basis, const double *z, size_t n) {
    size_t k = basis->k;
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        cblas_daxpy((int)k, 1 / (double)n, z + i * k, 1, basis->center, 1);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < k; j++) {
            double deviation = z[i * k + j] - basis->center[j];
            sum += deviation * deviation / (double)n;
        }
    basis->factor = sum > 0 ? sqrt((double)k / sum) : 0;
}

/* Variance of one tile, by component (into blur, unscaled); returns it summed over all columns. */
static double measure_blur(LobBenefit *benefit, const LobBags *bags) {
    LobBasis *basis = &benefit->basis;
    size_t d = basis->dim, k = basis->k;
    g_autofree float *rows = g_new(float, most_tiles(bags) * d);
    g_autofree double *mean = g_new(double, d), *half = g_new(double, d), *z = g_new(double, k + 1);
    double total = 0, n = 0;
    for (size_t i = 0; i < benefit->n_train; i++) {
        double scale = pool(basis, bags, benefit->train[i], rows, mean, half);
        if (!(scale > 0))
            continue;
        n++;
        total += scale * sum_of_squares(half, d);
        project(basis, half, 1, z);
        for (size_t j = 0; j < k; j++)
            basis->blur[j] += scale * z[j] * z[j];
    }
    for (size_t j = 0; n > 0 && j < k; j++)
        basis->blur[j] /= n;
    return n > 0 ? total / n : 0;
}

/* How many components several columns share, by BIC of probabilistic PCA; *noise: variance left in each other
 * direction. variance [k] leading ones of d, their total over all d. */
size_t lob_shared_factors(const double *variance, size_t k, size_t d, double total, size_t n, double *noise) {
    double logs = 0, sum = 0, best = INFINITY;
    size_t chosen = 0;
    *noise = 0;
    for (size_t q = 0; q <= MIN(k, d - 1); q++) {
        double left = (total - sum) / (double)(d - q);
        if (!(left > 0) || (q > 0 && !(variance[q - 1] > 0)))
            break;
        double free = (double)(d * q) - (double)(q * (q - (q > 0))) / 2 + 1;
        double bic = (double)n * (logs + (double)(d - q) * log(left)) + free * log((double)n);
        if (bic < best) {
            best = bic;
            chosen = q;
            *noise = left;
        }
        if (q < k) {
            logs += variance[q] > 0 ? log(variance[q]) : 0;
            sum += variance[q];
        }
    }
    return chosen;
}

/* What of the noise is of tiles is counted as such alone. */
static void measure_noise(LobBenefit *benefit, const LobBags *bags, double total) {
    LobBasis *basis = &benefit->basis;
    double noise, tiles = measure_blur(benefit, bags), inverse = 0;
    basis->factors =
        lob_shared_factors(basis->variance, basis->k, basis->dim, total, benefit->n_train, &noise);
    for (size_t j = 0; j < basis->factors; j++)
        tiles -= basis->blur[j];
    for (size_t i = 0; i < benefit->n_train; i++)
        inverse += 1 / (double)bags->count[benefit->train[i]] / (double)benefit->n_train;
    if (basis->dim > basis->factors)
        basis->specific = fmax(0, noise - inverse * tiles / (double)(basis->dim - basis->factors));
}

/* From columns to z: variances by factor squared. */
static void rescale_noise(LobBasis *basis) {
    double square = basis->factor * basis->factor;
    basis->specific *= square;
    for (size_t j = 0; j < basis->k; j++) {
        basis->variance[j] *= square;
        basis->blur[j] *= square;
    }
}

static void start_basis(LobBenefit *benefit, const LobBags *bags) {
    size_t most = benefit->options.components, d = bags ? bags->dim : benefit->view->n_covariates;
    LobScaler scaler = {0};
    if (bags)
        lob_scaler_fit(&scaler, bags, benefit->train, benefit->n_train);
    benefit->basis = (LobBasis){.dim = d,
                                .of_tiles = bags != NULL,
                                .mean = scaler.mean,
                                .inverse = scaler.inverse,
                                .bases = g_new0(double, most *d + 1),
                                .center = g_new0(double, most + 1),
                                .variance = g_new0(double, most + 1),
                                .blur = g_new0(double, most + 1)};
}

static void fit_basis(LobBenefit *benefit, const LobBags *bags) {
    LobBasis *basis = &benefit->basis;
    size_t n = benefit->n_train;
    start_basis(benefit, bags);
    size_t d = basis->dim;
    g_autofree double *x = pooled_rows(basis, bags, benefit->view->covariates, benefit->train, n);
    g_autofree double *centered = g_memdup2(x, (n * d + 1) * sizeof *x);
    subtract_center_means(benefit, centered, d);
    basis->k = lob_principal(centered, n, d, benefit->options.components, basis->bases);
    g_autofree double *z = g_new(double, n * basis->k + 1);
    project(basis, centered, n, z);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < basis->k; j++)
            basis->variance[j] += z[i * basis->k + j] * z[i * basis->k + j] / (double)n;
    if (bags && n > 0)
        measure_noise(benefit, bags, sum_of_squares(centered, n * d) / (double)n);
    project(basis, x, n, z);
    set_scale(basis, z, n);
    rescale_noise(basis);
}

/* ---- patients ---- */

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

static void place(LobBenefit *benefit, const LobBags *bags, const uint32_t *patients, size_t n) {
    size_t k = benefit->k;
    g_autofree double *z = g_new(double, n *k + 1);
    lob_basis_apply(&benefit->basis, bags, benefit->view->covariates, patients, n, z);
    for (size_t i = 0; i < n; i++)
        memcpy(benefit->z + patients[i] * k, z + i * k, k * sizeof *z);
}

void lob_benefit_vectors(LobBenefit *benefit, const LobBags *bags) {
    choose_patients(benefit, bags);
    fit_basis(benefit, bags);
    benefit->k = benefit->basis.k;
    benefit->z = g_new0(double, benefit->n_patients * benefit->k + 1);
    benefit->tiles = g_new(uint64_t, benefit->n_patients + 1);
    for (size_t p = 0; p < benefit->n_patients; p++)
        benefit->tiles[p] = bags ? bags->count[p] : 1;
    place(benefit, bags, benefit->train, benefit->n_train);
    place(benefit, bags, benefit->held_out, benefit->n_held_out);
}

/* ---- cases of a saved model ---- */

void lob_benefit_cases(LobBenefitCases *cases, const LobBenefitModel *model, const LobCohort *cohort,
                       const LobBags *bags, const float *covariates, const uint32_t *patients, size_t n,
                       size_t *kept) {
    size_t c = model->n_covariates, k = model->basis.k;
    g_autofree uint32_t *with = g_new(uint32_t, n + 1);
    *cases = (LobBenefitCases){.id = g_new(const char *, n + 1),
                               .covariates = g_new(double, n *c + 1),
                               .z = g_new(double, n *k + 1),
                               .tiles = g_new(double, n + 1)};
    for (size_t i = 0; i < n; i++) {
        uint32_t p = patients[i];
        size_t at = cases->n;
        if (model->basis.of_tiles && !has_tiles(bags, p))
            continue;
        cases->id[at] = cohort->patients[p].patient_id;
        cases->tiles[at] = model->basis.of_tiles ? (double)bags->count[p] : 1;
        for (size_t j = 0; j < c; j++)
            cases->covariates[at * c + j] = (double)covariates[p * c + j];
        with[at] = p;
        kept[cases->n++] = i;
    }
    lob_basis_apply(&model->basis, bags, covariates, with, cases->n, cases->z);
}

void lob_benefit_cases_clear(LobBenefitCases *cases) {
    g_free(cases->id);
    g_free(cases->covariates);
    g_free(cases->z);
    g_free(cases->tiles);
    *cases = (LobBenefitCases){0};
}
