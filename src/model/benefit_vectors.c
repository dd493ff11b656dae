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
static double pool(const LobBasis *basis, const double *sums, uint64_t count, double *out, double *half) {
    const size_t d = basis->dim;
    const double even = (double)((count + 1) / 2), odd = (double)(count / 2);
    for (size_t j = 0; j < d; j++) {
        const double scale = (double)basis->inverse[j];
        out[j] = ((sums[j] + sums[d + j]) / (double)count - (double)basis->mean[j]) * scale;
        if (half)
            half[j] = odd > 0 ? (sums[j] / even - sums[d + j] / odd) / 2 * scale : 0;
    }
    return odd > 0 ? 4 / (1 / even + 1 / odd) : 0;
}

static void pool_covariates(const LobBasis *basis, const float *covariates, uint32_t p, double *out) {
    for (size_t j = 0; j < basis->dim; j++)
        out[j] = (double)covariates[p * basis->dim + j];
}

/* Pooled columns of patients [n][dim], or their covariates. */
static double *pooled_rows(const LobBasis *basis, const LobBagSums *sums, const float *covariates,
                           const uint32_t *patients, size_t n) {
    const size_t d = basis->dim;
    double *x = g_new(double, n *d + 1);
    for (size_t i = 0; i < n; i++)
        if (basis->of_tiles)
            (void)pool(basis, lob_bag_sums_at(sums, patients[i]), sums->count[patients[i]], x + i * d, NULL);
        else
            pool_covariates(basis, covariates, patients[i], x + i * d);
    return x;
}

static void project(const LobBasis *basis, const double *x, size_t n, double *z) {
    size_t d = basis->dim, k = basis->k;
    if (k > 0 && n > 0)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)k, (int)d, 1, x, (int)d,
                    basis->bases, (int)d, 0, z, (int)k);
}

/* Not by a product over all patients: its kernels, and with them the last bits, depend on how many those are.
 */
void lob_basis_apply(const LobBasis *basis, const double *pooled, double *z) {
    for (size_t j = 0; j < basis->k; j++) {
        const double *base = basis->bases + j * basis->dim;
        double sum = 0;
        for (size_t c = 0; c < basis->dim; c++)
            sum += pooled[c] * base[c];
        z[j] = (sum - basis->center[j]) * basis->factor;
    }
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
static double measure_blur(LobBenefit *benefit, const LobBagSums *sums) {
    LobBasis *basis = &benefit->basis;
    size_t d = basis->dim, k = basis->k;
    g_autofree double *mean = g_new(double, d), *half = g_new(double, d), *z = g_new(double, k + 1);
    double total = 0, n = 0;
    for (size_t i = 0; i < benefit->n_train; i++) {
        uint32_t p = benefit->train[i];
        double scale = pool(basis, lob_bag_sums_at(sums, p), sums->count[p], mean, half);
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
static void measure_noise(LobBenefit *benefit, const LobBagSums *sums, double total) {
    LobBasis *basis = &benefit->basis;
    double noise, tiles = measure_blur(benefit, sums), inverse = 0;
    basis->factors =
        lob_shared_factors(basis->variance, basis->k, basis->dim, total, benefit->n_train, &noise);
    for (size_t j = 0; j < basis->factors; j++)
        tiles -= basis->blur[j];
    for (size_t i = 0; i < benefit->n_train; i++)
        inverse += 1 / (double)sums->count[benefit->train[i]] / (double)benefit->n_train;
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

/* As lob_scaler_fit finds it: patients count alike, however many tiles they have. */
static void fit_scale(LobBasis *basis, const LobBagSums *sums, const uint32_t *patients, size_t n) {
    const size_t d = basis->dim;
    g_autofree double *moment = g_new0(double, 2 * d + 1);
    basis->mean = g_new0(float, d + 1);
    basis->inverse = g_new0(float, d + 1);
    for (size_t i = 0; i < n; i++) {
        const double *own = lob_bag_sums_at(sums, patients[i]);
        const double count = (double)sums->count[patients[i]];
        for (size_t j = 0; j < d; j++) {
            moment[j] += (own[j] + own[d + j]) / count / (double)n;
            moment[d + j] += own[2 * d + j] / count / (double)n;
        }
    }
    for (size_t j = 0; j < d; j++)
        lob_scaler_column(moment[j], moment[d + j], &basis->mean[j], &basis->inverse[j]);
}

static void start_basis(LobBenefit *benefit, const LobBagSums *sums) {
    size_t most = benefit->options.components, d = sums ? sums->dim : benefit->view->n_covariates;
    benefit->basis = (LobBasis){.dim = d,
                                .of_tiles = sums != NULL,
                                .bases = g_new0(double, most *d + 1),
                                .center = g_new0(double, most + 1),
                                .variance = g_new0(double, most + 1),
                                .blur = g_new0(double, most + 1)};
    if (sums)
        fit_scale(&benefit->basis, sums, benefit->train, benefit->n_train);
}

static void fit_basis(LobBenefit *benefit, const LobBagSums *sums) {
    LobBasis *basis = &benefit->basis;
    size_t n = benefit->n_train;
    start_basis(benefit, sums);
    size_t d = basis->dim;
    g_autofree double *x = pooled_rows(basis, sums, benefit->view->covariates, benefit->train, n);
    g_autofree double *centered = g_memdup2(x, (n * d + 1) * sizeof *x);
    subtract_center_means(benefit, centered, d);
    basis->k = lob_principal(centered, n, d, benefit->options.components, basis->bases);
    g_autofree double *z = g_new(double, n * basis->k + 1);
    project(basis, centered, n, z);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < basis->k; j++)
            basis->variance[j] += z[i * basis->k + j] * z[i * basis->k + j] / (double)n;
    if (sums && n > 0)
        measure_noise(benefit, sums, sum_of_squares(centered, n * d) / (double)n);
    project(basis, x, n, z);
    set_scale(basis, z, n);
    rescale_noise(basis);
}

/* ---- patients ---- */

static bool has_tiles(const LobBagSums *sums, uint32_t p) {
    return !sums || sums->count[p] > 0;
}

static void choose_patients(LobBenefit *benefit, const LobBagSums *sums) {
    const LobView *view = benefit->view;
    benefit->train = g_new(uint32_t, MAX(view->n_train, 1));
    benefit->held_out = g_new(uint32_t, MAX(view->n_held_out, 1));
    for (size_t i = 0; i < view->n_train; i++)
        if (has_tiles(sums, view->train[i]) && benefit->code[view->train[i] * LOB_PARTS] >= 0)
            benefit->train[benefit->n_train++] = view->train[i];
    for (size_t i = 0; i < view->n_held_out; i++)
        if (has_tiles(sums, view->held_out[i]))
            benefit->held_out[benefit->n_held_out++] = view->held_out[i];
}

static void place(LobBenefit *benefit, const LobBagSums *sums, const uint32_t *patients, size_t n) {
    const size_t d = benefit->basis.dim, k = benefit->k;
    g_autofree double *x = pooled_rows(&benefit->basis, sums, benefit->view->covariates, patients, n);
    for (size_t i = 0; i < n; i++)
        lob_basis_apply(&benefit->basis, x + i * d, benefit->z + patients[i] * k);
}

void lob_benefit_vectors(LobBenefit *benefit, const LobBagSums *sums) {
    choose_patients(benefit, sums);
    fit_basis(benefit, sums);
    benefit->k = benefit->basis.k;
    benefit->z = g_new0(double, benefit->n_patients * benefit->k + 1);
    benefit->tiles = g_new(uint64_t, benefit->n_patients + 1);
    for (size_t p = 0; p < benefit->n_patients; p++)
        benefit->tiles[p] = sums ? sums->count[p] : 1;
    place(benefit, sums, benefit->train, benefit->n_train);
    place(benefit, sums, benefit->held_out, benefit->n_held_out);
}

/* ---- cases of a saved model ---- */

void lob_benefit_cases(LobBenefitCases *cases, const LobBenefitModel *model, const LobCohort *cohort,
                       const LobBagSums *sums, const float *covariates, const uint32_t *patients, size_t n,
                       size_t *kept) {
    size_t c = model->n_covariates, k = model->basis.k;
    const bool of_tiles = model->basis.of_tiles;
    g_autofree double *pooled = g_new(double, model->basis.dim + 1);
    *cases = (LobBenefitCases){.id = g_new(const char *, n + 1),
                               .covariates = g_new(double, n *c + 1),
                               .z = g_new(double, n *k + 1),
                               .tiles = g_new(double, n + 1)};
    for (size_t i = 0; i < n; i++) {
        uint32_t p = patients[i];
        size_t at = cases->n;
        if (of_tiles && sums->count[p] == 0)
            continue;
        cases->id[at] = cohort->patients[p].patient_id;
        cases->tiles[at] = of_tiles ? (double)sums->count[p] : 1;
        for (size_t j = 0; j < c; j++)
            cases->covariates[at * c + j] = (double)covariates[p * c + j];
        if (of_tiles)
            (void)pool(&model->basis, lob_bag_sums_at(sums, p), sums->count[p], pooled, NULL);
        else
            pool_covariates(&model->basis, covariates, p, pooled);
        lob_basis_apply(&model->basis, pooled, cases->z + at * k);
        kept[cases->n++] = i;
    }
}

void lob_benefit_cases_clear(LobBenefitCases *cases) {
    g_free(cases->id);
    g_free(cases->covariates);
    g_free(cases->z);
    g_free(cases->tiles);
    *cases = (LobBenefitCases){0};
}
