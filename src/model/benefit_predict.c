/* From a model to survival and restricted means of each arm, for any patient, with their spread. What the
 * image does not show of a patient is in it: z of a patient is moved by as much as its reliability leaves
 * open. Where a latent s has variance V and z = s + e with e of variance N, the effect of s given z varies by
 * as much as coefficients of z times a normal of variance W N / (W - N), W = V + N being the variance of z.
 */
#include "model/benefit_internal.h"

#include <math.h>
#include <string.h>

#define LEAST_RELIABILITY 0.5 /* below it the ratio would tell of noise alone */

double lob_benefit_hazard_at(const double *hazard, double share) {
    double at = share * LOB_BENEFIT_GRID;
    size_t i = MIN((size_t)at, LOB_BENEFIT_GRID - 1);
    return hazard[i] + (at - (double)i) * (hazard[i + 1] - hazard[i]);
}

/* An arm is predicted where all its parts are estimable. */
static bool arm_is_estimable(const LobBenefitModel *model, size_t arm) {
    for (int f = 0; f < LOB_PARTS; f++)
        if (model->arms[arm].code[f] && !model->estimable[f])
            return false;
    return true;
}

static size_t reference_arm(const LobArmLevel *arms, size_t n) {
    for (size_t k = 0; k < n; k++)
        if (arms[k].code[0] == 0 && arms[k].code[1] == 0)
            return k;
    return 0;
}

size_t lob_benefit_reference_arm(const LobStudy *study) {
    return reference_arm(study->arms, study->n_arms);
}

/* ---- log hazards of a patient under one draw ---- */

typedef struct {
    double common;            /* of main without treatment */
    double part[LOB_PARTS];   /* treatment's main effect */
    double effect[LOB_PARTS]; /* z'gamma */
    double product;
} Hazards;

/* z [k] already moved. */
static void hazards_of(const LobBenefitModel *model, size_t draw, const double *covariates, const double *z,
                       Hazards *out) {
    size_t c = model->n_covariates, k = model->basis.k;
    const double *main = model->main + draw * (c + k + 3);
    *out = (Hazards){.part = {main[c + k], main[c + k + 1]},
                     .product = model->use_product ? main[c + k + 2] : 0};
    for (size_t j = 0; j < c; j++)
        out->common += main[j] * covariates[j];
    for (size_t j = 0; j < k; j++) {
        out->common += main[c + j] * z[j];
        for (size_t f = 0; f < LOB_PARTS; f++)
            out->effect[f] += model->gamma[f][draw * k + j] * z[j];
    }
}

static double eta_of(const LobBenefitModel *model, const Hazards *h, const int *code, bool effects) {
    double eta = h->common + h->product * code[0] * code[1];
    for (int f = 0; f < LOB_PARTS; f++)
        eta += h->part[f] * code[f] + (effects && model->estimable[f] ? (code[f] - 0.5) * h->effect[f] : 0);
    return eta;
}

/* ---- what the image leaves open ---- */

/* SD of what z is moved by. */
static void open_sd(const LobBasis *basis, double tiles, double *sd) {
    for (size_t j = 0; j < basis->k; j++) {
        double noise = basis->specific + basis->blur[j] / fmax(tiles, 1), all = basis->variance[j];
        double reliability = all > 0 ? CLAMP(1 - noise / all, LEAST_RELIABILITY, 1) : 1;
        sd[j] = sqrt(all * (1 - reliability) / reliability);
    }
}

/* z of a patient as a draw sees it. The fit itself, draw 0, sees it as it is. */
static void moved_z(const LobBenefitModel *model, const LobBenefitCases *cases, size_t i, size_t draw,
                    const double *sd, double *z) {
    size_t k = model->basis.k;
    memcpy(z, cases->z + i * k, k * sizeof *z);
    if (draw == 0)
        return;
    g_autofree char *stream = g_strdup_printf("benefit/open/%zu/%s", draw, cases->id[i]);
    LobRng rng;
    lob_rng_init(&rng, model->seed, stream);
    for (size_t j = 0; j < k; j++)
        z[j] += model->shift[draw * k + j] + sd[j] * lob_rng_normal(&rng);
}

/* ---- predictions ---- */

/* To a share of the model's tau. */
static double restricted_mean(const LobBenefitModel *model, const double *hazard, double eta, double share) {
    double sum = 0, risk = exp(eta), before = 1, end = share * LOB_BENEFIT_GRID;
    for (size_t i = 1; (double)i <= end; i++) {
        double now = exp(-hazard[i] * risk);
        sum += (before + now) / 2;
        before = now;
    }
    double left = end - floor(end);
    if (left > 0)
        sum += left * (before + exp(-lob_benefit_hazard_at(hazard, share) * risk)) / 2;
    return sum * model->tau / LOB_BENEFIT_GRID;
}

/* Restricted means of the arms: rmst [2][n_arms], with effects and from main alone. */
static void means(const LobBenefitModel *model, size_t draw, const Hazards *h, double *rmst) {
    for (size_t risk = 0; risk < 2; risk++)
        for (size_t a = 0; a < model->n_arms; a++)
            rmst[risk * model->n_arms + a] =
                arm_is_estimable(model, a)
                    ? restricted_mean(model, model->hazard + (2 * draw + risk) * (LOB_BENEFIT_GRID + 1),
                                      eta_of(model, h, model->arms[a].code, risk == 0), 1)
                    : NAN;
}

static void survivals(const LobBenefitModel *model, const Hazards *h, bool effects, double *survival) {
    const double *hazard = model->hazard + (effects ? 0 : LOB_BENEFIT_GRID + 1);
    for (size_t a = 0; a < model->n_arms; a++)
        for (size_t t = 0; t < model->n_horizons; t++) {
            double share = model->tau > 0 ? model->horizons[t] / model->tau : INFINITY;
            survival[a * model->n_horizons + t] =
                share <= 1 && arm_is_estimable(model, a)
                    ? exp(-lob_benefit_hazard_at(hazard, share) *
                          exp(eta_of(model, h, model->arms[a].code, effects)))
                    : NAN;
        }
}

/* SD over the draws of the difference to the arm without treatment; rmst [2][n_arms] is room. */
static void spread(const LobBenefitModel *model, const LobBenefitCases *cases, size_t i, double *rmst,
                   double *const sd[2]) {
    size_t arms = model->n_arms, reference = reference_arm(model->arms, arms), k = model->basis.k;
    g_autofree double *sum = g_new0(double, 4 * arms + 1), *z = g_new(double, k + 1);
    g_autofree double *open = g_new(double, k + 1);
    double n = (double)model->n_draws - 1;
    open_sd(&model->basis, cases->tiles[i], open);
    for (size_t m = 1; m < model->n_draws; m++) {
        Hazards h;
        moved_z(model, cases, i, m, open, z);
        hazards_of(model, m, cases->covariates + i * model->n_covariates, z, &h);
        means(model, m, &h, rmst);
        for (size_t a = 0; a < 2 * arms; a++) {
            double gain = rmst[a] - rmst[a / arms * arms + reference];
            sum[a] += gain;
            sum[2 * arms + a] += gain * gain;
        }
    }
    for (size_t a = 0; a < 2 * arms; a++) {
        double mean = sum[a] / n, variance = sum[2 * arms + a] / n - mean * mean;
        sd[a / arms][i * arms + a % arms] = n > 1 ? sqrt(fmax(variance, 0) * n / (n - 1)) : NAN;
    }
}

void lob_benefit_model_predict(const LobBenefitModel *model, const LobBenefitCases *cases,
                               LobBenefitPrediction *out) {
    size_t arms = model->n_arms, n = cases->n * arms + 1, k = model->basis.k;
    *out = (LobBenefitPrediction){.n_arms = arms,
                                  .n_horizons = model->n_horizons,
                                  .rmst = g_new(double, n),
                                  .rmst_risk = g_new(double, n),
                                  .sd = g_new(double, n),
                                  .sd_risk = g_new(double, n),
                                  .survival = g_new(double, n *MAX(model->n_horizons, 1)),
                                  .survival_risk = g_new(double, n *MAX(model->n_horizons, 1)),
                                  .adverse = g_new(double, n)};
    lob_benefit_model_adverse(model, cases, out->adverse);
    g_autofree double *rmst = g_new(double, 2 * arms + 1);
    for (size_t i = 0; i < cases->n; i++) {
        Hazards h;
        hazards_of(model, 0, cases->covariates + i * model->n_covariates, cases->z + i * k, &h);
        means(model, 0, &h, rmst);
        memcpy(out->rmst + i * arms, rmst, arms * sizeof *rmst);
        memcpy(out->rmst_risk + i * arms, rmst + arms, arms * sizeof *rmst);
        survivals(model, &h, true, out->survival + i * arms * model->n_horizons);
        survivals(model, &h, false, out->survival_risk + i * arms * model->n_horizons);
        spread(model, cases, i, rmst, (double *const[2]){out->sd, out->sd_risk});
    }
}

void lob_benefit_model_score(const LobBenefitModel *model, const LobBenefitCases *cases, int part,
                             double *score) {
    size_t k = model->basis.k;
    for (size_t i = 0; i < cases->n; i++) {
        score[i] = 0;
        for (size_t j = 0; j < k; j++)
            score[i] += model->gamma[part][j] * cases->z[i * k + j];
    }
}

void lob_benefit_model_rmst(const LobBenefitModel *model, const LobBenefitCases *cases, double tau,
                            bool effects, double *rmst) {
    const double *hazard = model->hazard + (effects ? 0 : LOB_BENEFIT_GRID + 1);
    double share = model->tau > 0 ? fmin(tau / model->tau, 1) : 0;
    for (size_t i = 0; i < cases->n; i++) {
        Hazards h;
        hazards_of(model, 0, cases->covariates + i * model->n_covariates, cases->z + i * model->basis.k, &h);
        for (size_t a = 0; a < model->n_arms; a++)
            rmst[i * model->n_arms + a] =
                arm_is_estimable(model, a)
                    ? restricted_mean(model, hazard, eta_of(model, &h, model->arms[a].code, effects), share)
                    : NAN;
    }
}

/* ---- patients of the fold ---- */

void lob_benefit_own_cases(const LobBenefit *benefit, const uint32_t *patients, size_t n,
                           LobBenefitCases *cases) {
    const LobView *view = benefit->view;
    size_t c = view->n_covariates, k = benefit->k;
    *cases = (LobBenefitCases){.n = n,
                               .id = g_new(const char *, n + 1),
                               .covariates = g_new(double, n *c + 1),
                               .z = g_new(double, n *k + 1),
                               .tiles = g_new(double, n + 1)};
    for (size_t i = 0; i < n; i++) {
        uint32_t p = patients[i];
        cases->id[i] = view->cohort->patients[p].patient_id;
        cases->tiles[i] = (double)benefit->tiles[p];
        for (size_t j = 0; j < c; j++)
            cases->covariates[i * c + j] = (double)view->covariates[p * c + j];
        memcpy(cases->z + i * k, benefit->z + p * k, k * sizeof(double));
    }
}

bool lob_benefit_predict(LobBenefit *benefit, LobBenefitPrediction *out, GError **err) {
    LobBenefitCases cases;
    *out = (LobBenefitPrediction){0};
    if (!benefit->model.n_draws && !lob_benefit_draw(benefit, err))
        return false;
    lob_benefit_own_cases(benefit, benefit->held_out, benefit->n_held_out, &cases);
    lob_benefit_model_predict(&benefit->model, &cases, out);
    lob_benefit_cases_clear(&cases);
    return true;
}

void lob_benefit_prediction_clear(LobBenefitPrediction *prediction) {
    g_free(prediction->rmst);
    g_free(prediction->rmst_risk);
    g_free(prediction->sd);
    g_free(prediction->sd_risk);
    g_free(prediction->survival);
    g_free(prediction->survival_risk);
    g_free(prediction->adverse);
    *prediction = (LobBenefitPrediction){0};
}
