#include "mpi/predict_benefit.h"
#include "mpi/benefit_rows.h"

#include <math.h>
#include <string.h>

/* The net of the stage's endpoint: it knows the covariates' columns. */
static const LobSavedNet *find_net(const LobModelFile *file, size_t *endpoint, GError **err) {
    const LobSavedModel *model = &file->model;
    for (*endpoint = 0; *endpoint < model->n_endpoints; (*endpoint)++) {
        const LobSavedNet *net = &model->nets[*endpoint * model->n_kinds];
        if (strcmp(net->endpoint.name, file->benefit->endpoint) != 0)
            continue;
        if (net->n_columns == file->benefit->n_covariates)
            return net;
        break;
    }
    lob_fail(err, LOB_ERROR_INPUT, "the model's benefit stage goes with none of its endpoints");
    return NULL;
}

static const char *part_name(const LobBenefitModel *model, int part) {
    for (size_t a = 0; a < model->n_arms; a++)
        if (model->arms[a].code[part] == 1 && model->arms[a].code[1 - part] == 0)
            return model->arms[a].name;
    return NULL;
}

/* One advice a case; effects [LOB_PARTS][n]. */
static LobAdvice *advise(const LobPlan *plan, const LobBenefitModel *model, const LobPredictedBenefit *b,
                         const LobBenefitPrediction *prediction) {
    const LobCohort *cohort = plan->cohort;
    const LobBenefitCases *cases = &b->cases;
    LobAdvice *advice = g_new0(LobAdvice, cases->n + 1);
    g_autofree double *effects = g_new(double, LOB_PARTS * cases->n + 1);
    for (size_t f = 0; f < LOB_PARTS; f++)
        lob_benefit_model_score(model, cases, (int)f, effects + f * cases->n);
    for (size_t i = 0; i < cases->n; i++) {
        uint32_t p = b->patients[i];
        int arm = cohort->study->arm_column ? cohort->arm_at[b->endpoint][p] : -1;
        advice[i] = (LobAdvice){.patient_id = cohort->patients[p].patient_id,
                                .center = cohort->centers[cohort->patients[p].center],
                                .arm = arm >= 0 ? cohort->study->arms[arm].name : "",
                                .earned = model->earned};
        for (size_t f = 0; f < LOB_PARTS; f++)
            advice[i].effect[f] = model->estimable[f] ? effects[f * cases->n + i] : NAN;
        lob_advice_take(&advice[i], prediction, i);
    }
    return advice;
}

static bool write_advice(const LobPlan *plan, const LobBenefitModel *model, const LobAdvice *advice, size_t n,
                         GError **err) {
    LobAdviceFrame frame = {.endpoint = model->endpoint,
                            .model = plan->models[0],
                            .arms = model->arms,
                            .n_arms = model->n_arms,
                            .n_horizons = model->n_horizons,
                            .horizons = model->horizons,
                            .margin_days = model->margin_days,
                            .penalty_days = model->penalty_days,
                            .part = {part_name(model, 0), part_name(model, 1)}};
    g_autofree char *path = lob_study_out(plan->cohort->study, "benefit.csv");
    g_autofree char *predictions = lob_study_out(plan->cohort->study, "predictions.csv");
    return lob_advice_write(path, &frame, advice, n, err) &&
           lob_advice_join(predictions, &frame, advice, n, err);
}

static bool can_sum(const LobBenefitModel *model, const LobBagSums *sums, GError **err) {
    return !model->basis.of_tiles || (sums && sums->dim == model->basis.dim) ||
           lob_fail(err, LOB_ERROR_INPUT, "the model's benefit stage wants features of %zu columns",
                    model->basis.dim);
}

bool lob_predicted_benefit_make(LobPredictedBenefit *b, const LobPlan *plan, const LobModelFile *file,
                                const LobBagSums *sums, GError **err) {
    const LobCohort *cohort = plan->cohort;
    size_t n = 0;
    *b = (LobPredictedBenefit){0};
    if (!file->benefit)
        return true;
    const LobSavedNet *net = find_net(file, &b->endpoint, err);
    b->covariates = net ? lob_saved_covariates(net, cohort, err) : NULL;
    if (!b->covariates || !can_sum(file->benefit, sums, err))
        return false;
    g_autofree uint32_t *patients = g_new(uint32_t, cohort->n_patients + 1);
    g_autofree size_t *kept = g_new(size_t, cohort->n_patients + 1);
    for (size_t p = 0; p < cohort->n_patients; p++)
        if (cohort->patients[p].eligible)
            patients[n++] = (uint32_t)p;
    lob_benefit_cases(&b->cases, file->benefit, cohort, sums, b->covariates, patients, n, kept);
    b->patients = g_new(uint32_t, b->cases.n + 1);
    for (size_t i = 0; i < b->cases.n; i++)
        b->patients[i] = patients[kept[i]];
    return true;
}

bool lob_predicted_benefit_write(const LobPredictedBenefit *b, const LobPlan *plan, const LobModelFile *file,
                                 GError **err) {
    LobBenefitPrediction prediction;
    if (!file->benefit)
        return true;
    lob_benefit_model_predict(file->benefit, &b->cases, &prediction);
    g_autofree LobAdvice *advice = advise(plan, file->benefit, b, &prediction);
    bool ok = write_advice(plan, file->benefit, advice, b->cases.n, err);
    lob_benefit_prediction_clear(&prediction);
    return ok;
}

void lob_predicted_benefit_clear(LobPredictedBenefit *b) {
    g_free(b->covariates);
    g_free(b->patients);
    lob_benefit_cases_clear(&b->cases);
}
