/* Treatment x modifier interaction in Cox models, and what size of it could be seen. */
#include "stats/stats_internal.h"

#include <string.h>

/* Columns: arms against arm 0, modifier, further columns, then the products. */
static double *design_of(const uint32_t *arm, size_t n_arms, const double *modifier, const double *columns,
                         size_t n_columns, size_t n) {
    size_t k = n_arms - 1, p = 2 * k + 1 + n_columns;
    double *x = g_new0(double, n *p + 1);
    for (size_t i = 0; i < n; i++) {
        double *row = x + i * p;
        if (arm[i] > 0) {
            row[arm[i] - 1] = 1;
            row[k + 1 + n_columns + arm[i] - 1] = modifier[i];
        }
        row[k] = modifier[i];
        for (size_t c = 0; c < n_columns; c++)
            row[k + 1 + c] = columns[i * n_columns + c];
    }
    return x;
}

static double *first_columns(const double *x, size_t n, size_t p, size_t kept) {
    double *out = g_new(double, n *kept + 1);
    for (size_t i = 0; i < n; i++)
        memcpy(out + i * kept, x + i * p, kept * sizeof *out);
    return out;
}

void lob_interaction(LobInteraction *result, const LobFollowUp *data, const uint32_t *arm, size_t n_arms,
                     const double *modifier, const double *columns, size_t n_columns) {
    g_assert(n_arms >= 2);
    size_t k = n_arms - 1, base = k + 1 + n_columns, p = base + k;
    *result = (LobInteraction){.n_contrasts = k, .interaction = g_new(LobEstimate, k)};
    g_autofree double *x = design_of(arm, n_arms, modifier, columns, n_columns, data->n);
    g_autofree double *without = first_columns(x, data->n, p, base);
    g_auto(LobCox) full = {0}, main_effects = {0};
    lob_cox_fit(&full, data, &(LobCoxDesign){.p = p, .x = x, .robust = true});
    lob_cox_fit(&main_effects, data, &(LobCoxDesign){.p = base, .x = without});
    g_autofree size_t *products = g_new(size_t, k);
    for (size_t a = 0; a < k; a++) {
        products[a] = base + a;
        double beta = full.beta[base + a];
        result->interaction[a] =
            isnan(beta) ? lob_not_available(full.reason ? full.reason : "arm or modifier is constant")
                        : lob_normal_estimate(beta, full.robust_se[base + a]);
        if (full.separated)
            result->interaction[a].reason = full.reason;
    }
    result->reason = full.reason;
    result->robust_wald = lob_cox_wald(&full, products, k, true);
    result->likelihood_ratio = data->weight ? (LobTest){NAN, NAN, NAN, "not valid with weights"}
                                            : lob_cox_compare(&main_effects, &full);
}

void lob_interaction_clear(LobInteraction *result) {
    g_free(result->interaction);
    *result = (LobInteraction){0};
}

double lob_detectable_interaction(double events, double share, double one_sided_alpha, double power) {
    double information = events * share * (1 - share);
    if (!(information > 0))
        return NAN;
    return (lob_normal_quantile(1 - one_sided_alpha) + lob_normal_quantile(power)) / sqrt(information);
}

double lob_e_value(double hazard_ratio, bool common) {
    if (!(hazard_ratio > 0))
        return NAN;
    double hr = fmax(hazard_ratio, 1 / hazard_ratio);
    double rr = common ? (1 - pow(0.5, sqrt(hr))) / (1 - pow(0.5, sqrt(1 / hr))) : hr;
    return rr + sqrt(rr * (rr - 1));
}
