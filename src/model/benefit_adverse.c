/* How likely an adverse event is under each treatment: ridge logistic regression on covariates, z and the
 * arm, fitted on treated training patients alone, because the untreated cannot have one. */
#include "model/benefit_internal.h"
#include "stats/stats.h"

#include <math.h>

#define RIDGE 1.0
#define LEAST 10 /* treated training patients with, and without, the event */

/* Columns: covariates, z, the second part alone or with the first, both; the first part alone is where the
 * intercept stands. */
static void adverse_row(const double *covariates, size_t c, const double *z, size_t k, const int *code,
                        double *x) {
    for (size_t j = 0; j < c; j++)
        x[j] = covariates[j];
    for (size_t j = 0; j < k; j++)
        x[c + j] = z[j];
    x[c + k] = code[1];
    x[c + k + 1] = code[0] * code[1];
}

static char *fit_rows(LobBenefit *benefit, double *x, uint32_t *class_of, size_t n, size_t events) {
    const size_t p = benefit->view->n_covariates + benefit->k + 2;
    if (events < LEAST || n - events < LEAST)
        return g_strdup_printf(
            "%zu treated training patients with an adverse event and %zu without, at least "
            "%d of each are needed",
            events, n - events, LEAST);
    g_auto(LobMultinomial) fit = {0};
    lob_multinomial_fit(&fit, x, n, p, class_of, 2, NULL, RIDGE);
    if (fit.reason || !fit.converged)
        return g_strdup(fit.reason ? fit.reason : "the regression does not converge");
    benefit->adverse = g_memdup2(fit.coefficient, (p + 1) * sizeof(double));
    return NULL;
}

void lob_benefit_fit_adverse(LobBenefit *benefit) {
    const LobView *view = benefit->view, *events_view = benefit->options.adverse;
    const size_t c = view->n_covariates, k = benefit->k, p = c + k + 2;
    size_t n = 0, events = 0;
    if (!view->cohort->study->model.wish.adverse)
        return;
    if (!events_view) {
        benefit->adverse_reason = g_strdup("no adverse event can be learned from in training");
        return;
    }
    g_autofree double *x = g_new(double, benefit->n_train *p + 1), *covariates = g_new(double, c + 1);
    g_autofree uint32_t *class_of = g_new(uint32_t, benefit->n_train + 1);
    for (size_t i = 0; i < benefit->n_train; i++) {
        const uint32_t patient = benefit->train[i];
        const int code[LOB_PARTS] = {benefit->code[patient * LOB_PARTS],
                                     benefit->code[patient * LOB_PARTS + 1]};
        if (events_view->event[patient] < 0 || code[0] + code[1] == 0)
            continue;
        for (size_t j = 0; j < c; j++)
            covariates[j] = (double)view->covariates[patient * c + j];
        adverse_row(covariates, c, benefit->z + patient * k, k, code, x + n * p);
        class_of[n++] = events_view->event[patient] == 1;
        events += events_view->event[patient] == 1;
    }
    benefit->adverse_reason = fit_rows(benefit, x, class_of, n, events);
}

void lob_benefit_model_adverse(const LobBenefitModel *model, const LobBenefitCases *cases, double *out) {
    const size_t c = model->n_covariates, k = model->basis.k, p = c + k + 2;
    g_autofree double *x = g_new(double, p + 1);
    for (size_t i = 0; i < cases->n; i++)
        for (size_t a = 0; a < model->n_arms; a++) {
            const int *code = model->arms[a].code;
            const bool treated = code[0] + code[1] > 0;
            double eta = model->adverse ? model->adverse[0] : NAN;
            adverse_row(cases->covariates + i * c, c, cases->z + i * k, k, code, x);
            for (size_t j = 0; model->adverse && j < p; j++)
                eta += model->adverse[1 + j] * x[j];
            out[i * model->n_arms + a] = !treated || !(model->penalty_days > 0) ? 0 : 1 / (1 + exp(-eta));
        }
}
