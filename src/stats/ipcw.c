/* Accuracy of predictions at a horizon under censoring: AUC(t), ROC(t), Brier score. The weights 1/G come
 * from the Kaplan-Meier curve of the censorings over all rows, just before an event and at t for survivors.
 */
#include "stats/stats_internal.h"

#include <string.h>

/* Rows that are known to be cases (event by t) or controls (beyond t), with their weights. */
typedef struct {
    double *case_weight, *control_weight; /* [n], by row; 0 = not one */
    double cases, controls;
    double g_at_t;
} Known;

static void known_prepare(Known *known, const LobFollowUp *data, double t) {
    size_t n;
    g_autofree LobRow *rows = lob_rows_sorted(data, false, &n);
    g_auto(LobCensoring) g = {0};
    lob_censoring_fit(&g, rows, n);
    *known = (Known){.case_weight = g_new0(double, data->n + 1),
                     .control_weight = g_new0(double, data->n + 1),
                     .g_at_t = lob_censoring_at(&g, t)};
    for (size_t i = 0; i < n; i++) {
        size_t row = rows[i].row;
        if (rows[i].time > t)
            known->controls += known->control_weight[row] = rows[i].weight;
        else if (rows[i].event)
            known->cases += known->case_weight[row] = rows[i].weight / lob_censoring_before(&g, rows[i].time);
    }
}

static void known_clear(Known *known) {
    g_free(known->case_weight);
    g_free(known->control_weight);
}

/* below[r], at[r]: weight of controls with a rank under r, equal to r. */
static double auc_of(const Known *known, const uint32_t *rank, uint32_t n_ranks, size_t n,
                     double *influence) {
    g_autofree double *control = g_new0(double, n_ranks + 2);
    g_autofree double *cases = g_new0(double, n_ranks + 2);
    for (size_t i = 0; i < n; i++) {
        control[rank[i]] += known->control_weight[i];
        cases[rank[i]] += known->case_weight[i];
    }
    g_autofree double *wins = g_new0(double, n_ranks + 2);   /* of a case at each rank */
    g_autofree double *losses = g_new0(double, n_ranks + 2); /* of a control */
    double below = 0, above = known->cases, sum = 0;
    for (uint32_t r = 1; r <= n_ranks; r++) {
        above -= cases[r];
        wins[r] = below + 0.5 * control[r];
        losses[r] = above + 0.5 * cases[r];
        sum += cases[r] * wins[r];
        below += control[r];
    }
    double pairs = known->cases * known->controls, auc = sum / pairs;
    for (size_t i = 0; i < n; i++)
        influence[i] = (known->case_weight[i] * (wins[rank[i]] - auc * known->controls) +
                        known->control_weight[i] * (losses[rank[i]] - auc * known->cases)) /
                       pairs;
    return auc;
}

LobEstimate lob_auc_at(const LobFollowUp *data, const double *score, double t) {
    Known known;
    known_prepare(&known, data, t);
    LobEstimate result;
    if (!(known.cases > 0))
        result = lob_not_available("no event by the horizon");
    else if (!(known.controls > 0))
        result = lob_not_available("nobody followed beyond the horizon");
    else {
        g_autofree uint32_t *rank = g_new(uint32_t, data->n + 1);
        g_autofree double *influence = g_new(double, data->n + 1);
        uint32_t n_ranks = lob_dense_ranks(score, data->n, rank);
        double auc = auc_of(&known, rank, n_ranks, data->n, influence);
        result =
            lob_clipped_estimate(auc, sqrt(lob_clustered_square(influence, data->cluster, data->n)), 0, 1);
    }
    known_clear(&known);
    return result;
}

double lob_auc_mean(const LobFollowUp *data, const double *score, const double *times, size_t n_times) {
    g_auto(LobKm) km = {0};
    lob_km_fit(&km, data);
    double before = 1, sum = 0;
    for (size_t k = 0; k < n_times; k++) {
        double s = lob_km_at(&km, times[k]).estimate;
        sum += lob_auc_at(data, score, times[k]).estimate * (before - s);
        before = s;
    }
    return before < 1 ? sum / (1 - before) : NAN;
}

bool lob_roc_at(LobRoc *roc, const LobFollowUp *data, const double *score, double t) {
    Known known;
    known_prepare(&known, data, t);
    *roc = (LobRoc){0};
    bool available = known.cases > 0 && known.controls > 0;
    if (available) {
        g_autofree uint32_t *order = lob_order_of(score, data->n);
        roc->threshold = g_new(double, data->n + 2);
        roc->sensitivity = g_new(double, data->n + 2);
        roc->specificity = g_new(double, data->n + 2);
        double cases = 0, controls = 0;
        roc->threshold[0] = INFINITY;
        roc->sensitivity[0] = 0;
        roc->specificity[0] = 1;
        roc->n = 1;
        for (size_t i = data->n; i-- > 0;) {
            cases += known.case_weight[order[i]];
            controls += known.control_weight[order[i]];
            if (i > 0 && score[order[i]] == score[order[i - 1]])
                continue;
            roc->threshold[roc->n] = i == 0 ? -INFINITY : score[order[i]];
            roc->sensitivity[roc->n] = cases / known.cases;
            roc->specificity[roc->n++] = 1 - controls / known.controls;
        }
    }
    known_clear(&known);
    return available;
}

void lob_roc_clear(LobRoc *roc) {
    g_free(roc->threshold);
    g_free(roc->sensitivity);
    g_free(roc->specificity);
    *roc = (LobRoc){0};
}

LobBrier lob_brier_at(const LobFollowUp *data, const double *survival, double t) {
    LobBrier result = {.brier = NAN, .null_brier = NAN, .ipa = NAN, .se = NAN, .mean_weight = NAN};
    g_auto(LobKm) km = {0};
    lob_km_fit(&km, data);
    LobEstimate marginal = lob_km_at(&km, t);
    if (marginal.reason) {
        result.reason = marginal.reason;
        return result;
    }
    Known known;
    known_prepare(&known, data, t);
    g_autofree double *term = g_new0(double, data->n + 1);
    double rows = 0, model = 0, null = 0, weights = 0, s0 = marginal.estimate;
    for (size_t i = 0; i < data->n; i++) {
        double c = known.case_weight[i];
        double s = known.control_weight[i] > 0 ? known.control_weight[i] / known.g_at_t : 0;
        rows += data->weight ? data->weight[i] : 1;
        term[i] = c * survival[i] * survival[i] + s * (1 - survival[i]) * (1 - survival[i]);
        model += term[i];
        null += c * s0 * s0 + s * (1 - s0) * (1 - s0);
        weights += c + s;
    }
    result.brier = model / rows;
    result.null_brier = null / rows;
    result.ipa = result.null_brier > 0 ? 1 - result.brier / result.null_brier : NAN;
    result.mean_weight = weights / rows;
    for (size_t i = 0; i < data->n; i++)
        term[i] = (term[i] - (data->weight ? data->weight[i] : 1) * result.brier) / rows;
    result.se = sqrt(lob_clustered_square(term, data->cluster, data->n));
    known_clear(&known);
    return result;
}

double lob_integrated_brier(const LobFollowUp *data, const double *survival, const double *times,
                            size_t n_times) {
    if (n_times < 2 || !(times[n_times - 1] > times[0]))
        return NAN;
    g_autofree double *at = g_new(double, data->n + 1);
    double sum = 0, last = NAN;
    for (size_t k = 0; k < n_times; k++) {
        for (size_t i = 0; i < data->n; i++)
            at[i] = survival[i * n_times + k];
        double brier = lob_brier_at(data, at, times[k]).brier;
        if (k > 0)
            sum += 0.5 * (brier + last) * (times[k] - times[k - 1]);
        last = brier;
    }
    return sum / (times[n_times - 1] - times[0]);
}
