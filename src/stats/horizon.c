/* The named figures of predictions at one horizon: the one place that says which they are and when they are
 * withheld. */
#include "stats/stats_internal.h"

static LobEstimate bare(double value, const char *reason) {
    return (LobEstimate){value, NAN, NAN, NAN, isnan(value) ? reason : NULL};
}

/* With one control AUC is 0 or 1 with an interval of no width. */
static LobEstimate auc(const LobFollowUp *data, const double *score, double t) {
    size_t cases = 0, controls = 0;
    for (size_t i = 0; i < data->n; i++) {
        cases += data->event[i] && data->time[i] <= t;
        controls += data->time[i] > t;
    }
    if (cases < LOB_LEAST_CLASS || controls < LOB_LEAST_CLASS)
        return lob_not_available("fewer than 5 patients with the event, or without it and followed longer");
    return lob_auc_at(data, score, t);
}

void lob_horizon_rows(const LobFollowUp *data, const double *score, const double *risk, double t,
                      LobNamedEstimate rows[LOB_HORIZON_ROWS]) {
    const LobEstimate none =
        lob_not_available("no prediction: the horizon lies beyond the last training event");
    LobBrier b = {.brier = NAN, .null_brier = NAN, .ipa = NAN, .reason = none.reason};
    g_auto(LobCalibration) c = {.oe = none,
                                .slope = none,
                                .ici = NAN,
                                .e50 = NAN,
                                .e90 = NAN,
                                .observed = NAN,
                                .expected = NAN,
                                .reason = none.reason};
    if (risk) {
        g_autofree double *survival = g_new(double, data->n + 1);
        for (size_t i = 0; i < data->n; i++)
            survival[i] = 1 - risk[i];
        b = lob_brier_at(data, survival, t);
        lob_calibration_at(&c, data, risk, t);
        if (c.n_events < LOB_LEAST_CALIBRATED)
            c.slope = lob_not_available("fewer than 20 events: O/E only");
    }
    const char *certain = "the outcome is certain without a model: its Brier score is 0";
    const LobNamedEstimate all[LOB_HORIZON_ROWS] = {
        {"auc", auc(data, score, t)},
        {"brier", b.reason ? lob_not_available(b.reason) : lob_normal_estimate(b.brier, b.se)},
        {"brier_null", bare(b.null_brier, b.reason)},
        {"ipa", bare(b.ipa, b.reason ? b.reason : certain)},
        {"observed_risk", bare(c.observed, c.oe.reason)},
        {"expected_risk", bare(c.expected, c.oe.reason)},
        {"observed_expected", c.oe},
        {"calibration_slope", c.slope},
        {"ici", bare(c.ici, c.reason)},
        {"e50", bare(c.e50, c.reason)},
        {"e90", bare(c.e90, c.reason)}};
    for (size_t i = 0; i < LOB_HORIZON_ROWS; i++)
        rows[i] = all[i];
}

void lob_net_benefit_rows(const LobFollowUp *data, const double *risk, double t,
                          LobNamedEstimate rows[LOB_NET_BENEFIT_ROWS]) {
    static const char *const names[LOB_NET_BENEFIT_ROWS] = {
        "net_benefit_at_0.1", "net_benefit_of_all_at_0.1", "net_benefit_at_0.2", "net_benefit_of_all_at_0.2",
        "net_benefit_at_0.3", "net_benefit_of_all_at_0.3", "net_benefit_at_0.4", "net_benefit_of_all_at_0.4",
        "net_benefit_at_0.5", "net_benefit_of_all_at_0.5", "net_benefit_at_0.6", "net_benefit_of_all_at_0.6",
        "net_benefit_at_0.7", "net_benefit_of_all_at_0.7", "net_benefit_at_0.8", "net_benefit_of_all_at_0.8",
        "net_benefit_at_0.9", "net_benefit_of_all_at_0.9"};
    for (size_t k = 0; k < LOB_NET_BENEFIT_ROWS; k += 2) {
        const LobNetBenefit nb = lob_net_benefit(data, risk, t, (double)(k / 2 + 1) / 10.0);
        rows[k] = (LobNamedEstimate){names[k], bare(nb.model, "flagged patients are not followed so long")};
        rows[k + 1] = (LobNamedEstimate){names[k + 1], bare(nb.treat_all, "not followed so long")};
    }
}

LobEstimate lob_uno_estimate(const LobFollowUp *data, const double *score, double tau) {
    g_auto(LobConcordance) uno = {0};
    lob_concordance(&uno, data, score, &(LobConcordanceOptions){.uno = true, .tau = tau});
    const char *note = uno.reason             ? uno.reason
                       : uno.pooled_censoring ? "one censoring curve for all centers: few are followed to tau"
                                              : "tau = the longest horizon; pairs within centers";
    return (LobEstimate){uno.c, uno.se, uno.lower, uno.upper, note};
}
