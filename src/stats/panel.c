/* All figures of one table of predictions. */
#include "stats/stats_internal.h"

#include <string.h>

/* One set of rows the figures are computed on. */
typedef struct {
    LobPanel *panel;
    const LobPanelInput *input;
    const char *center;
    LobFollowUp data;
    double *score, *risk; /* risk [n_horizons][n] or NULL */
    uint32_t *arm;
    double events;
} Scope;

static void add(Scope *s, const char *metric, LobEstimate e) {
    LobPanel *panel = s->panel;
    if (panel->n_rows == panel->room) {
        panel->room = panel->room ? 2 * panel->room : 64;
        panel->row = g_renew(LobPanelRow, panel->row, panel->room);
    }
    panel->row[panel->n_rows++] = (LobPanelRow){.metric = g_strdup(metric),
                                                .center = s->center,
                                                .estimate = e.estimate,
                                                .lower = e.lower,
                                                .upper = e.upper,
                                                .n = s->data.n,
                                                .events = s->events,
                                                .note = g_strdup(e.reason)};
}

static void add_at(Scope *s, const char *metric, double horizon, LobEstimate e) {
    g_autofree char *name = g_strdup_printf("%s@%g", metric, horizon);
    add(s, name, e);
}

static LobEstimate bare(double value, const char *reason) {
    return (LobEstimate){value, NAN, NAN, NAN, reason};
}

static LobEstimate exponentiated(LobEstimate e) {
    return (LobEstimate){exp(e.estimate), e.se, exp(e.lower), exp(e.upper), e.reason};
}

/* ---- which rows ---- */
static void scope_take(Scope *s, const LobPanelInput *input, const char *center, int64_t index) {
    size_t n = 0, h = input->n_horizons, all = input->data.n;
    double *time = g_new(double, all + 1);
    uint8_t *event = g_new(uint8_t, all + 1);
    uint32_t *stratum = g_new(uint32_t, all + 1);
    s->input = input;
    s->center = center;
    s->score = g_new(double, all + 1);
    s->arm = input->arm ? g_new(uint32_t, all + 1) : NULL;
    s->risk = input->risk ? g_new(double, all *h + 1) : NULL;
    s->events = 0;
    for (size_t i = 0; i < all; i++) {
        if (index >= 0 && input->data.stratum[i] != (uint32_t)index)
            continue;
        time[n] = input->data.time[i];
        event[n] = input->data.event[i];
        stratum[n] = input->data.stratum ? input->data.stratum[i] : 0;
        s->score[n] = input->score[i];
        if (s->arm)
            s->arm[n] = input->arm[i];
        for (size_t k = 0; s->risk && k < h; k++)
            s->risk[k * all + n] = input->risk[i * h + k];
        s->events += event[n++];
    }
    s->data = (LobFollowUp){.n = n, .time = time, .event = event, .stratum = stratum};
}

static void scope_clear(Scope *s) {
    g_free((double *)s->data.time);
    g_free((uint8_t *)s->data.event);
    g_free((uint32_t *)s->data.stratum);
    g_free(s->score);
    g_free(s->arm);
    g_free(s->risk);
}

/* ---- curves and discrimination ---- */
static double longest_horizon(const LobPanelInput *input) {
    double most = 0;
    for (size_t k = 0; k < input->n_horizons; k++)
        most = fmax(most, input->horizons[k]);
    return most;
}

static void add_curves(Scope *s) {
    g_auto(LobKm) km = {0};
    lob_km_fit(&km, &s->data);
    add(s, "median_survival",
        (LobEstimate){km.median, NAN, km.median_lower, km.median_upper,
                      isnan(km.median) ? "the curve stays above one half" : NULL});
    add(s, "median_followup", lob_followup_median(&s->data));
    for (size_t k = 0; k < s->input->n_horizons; k++) {
        double t = s->input->horizons[k];
        add_at(s, "survival", t, lob_km_at(&km, t));
        add_at(s, "rmst", t, lob_rmst(&s->data, t));
    }
}

static LobConcordance add_discrimination(Scope *s) {
    LobConcordance c;
    lob_concordance(&c, &s->data, s->score, NULL);
    add(s, "c", (LobEstimate){c.c, c.se, c.lower, c.upper, c.reason});
    add(s, "uno_c", lob_uno_estimate(&s->data, s->score, longest_horizon(s->input)));
    return c;
}

static LobEstimate add_slope(Scope *s) {
    const LobCoxDesign design = {.p = 1, .x = s->score};
    g_auto(LobCox) fit = {0};
    lob_cox_fit(&fit, &s->data, &design);
    LobEstimate slope = isnan(fit.beta[0])
                            ? lob_not_available(fit.reason ? fit.reason : "all scores are equal")
                            : lob_normal_estimate(fit.beta[0], fit.se[0]);
    slope.reason = slope.reason ? slope.reason : fit.reason;
    add(s, "log_hr_of_score", slope);
    g_auto(LobProportionality) ph = {0};
    lob_cox_proportionality(&ph, &fit, &s->data, &design);
    add(s, "proportional_hazards_p", bare(ph.column[0].p, ph.column[0].reason));
    return slope;
}

/* ---- at the horizons ---- */
/* Returns O/E. */
static LobEstimate add_horizon(Scope *s, size_t k) {
    LobEstimate oe = lob_not_available("no prediction");
    const double t = s->input->horizons[k];
    const double *risk = s->risk ? s->risk + k * s->input->data.n : NULL;
    LobNamedEstimate rows[LOB_HORIZON_ROWS], benefit[LOB_NET_BENEFIT_ROWS];
    lob_horizon_rows(&s->data, s->score, risk, t, rows);
    for (size_t i = 0; i < LOB_HORIZON_ROWS; i++) {
        /* Pairs of rows from different centers count in AUC, unlike in C. */
        if (i == 0 && !rows[i].value.reason && s->input->data.stratum && s->center[0] == '(')
            rows[i].value.reason = "not stratified by center";
        if (i == 0 || risk)
            add_at(s, rows[i].name, t, rows[i].value);
        if (strcmp(rows[i].name, "observed_expected") == 0)
            oe = rows[i].value;
    }
    if (!risk)
        return oe;
    lob_net_benefit_rows(&s->data, risk, t, benefit);
    for (size_t i = 0; i < LOB_NET_BENEFIT_ROWS; i++)
        add_at(s, benefit[i].name, t, benefit[i].value);
    return oe;
}

/* ---- arms ---- */
static void add_arm_against_reference(Scope *s, uint32_t a) {
    const LobPanelInput *input = s->input;
    size_t n = 0;
    g_autofree double *weight = g_new0(double, s->data.n + 1);
    g_autofree uint8_t *in_arm = g_new0(uint8_t, s->data.n + 1);
    for (size_t i = 0; i < s->data.n; i++) {
        weight[i] = s->arm[i] == 0 || s->arm[i] == a;
        in_arm[i] = s->arm[i] == a;
        n += s->arm[i] == a;
    }
    LobFollowUp two = s->data;
    two.weight = weight;
    for (size_t k = 0; k < input->n_horizons; k++) {
        LobRmstDifference d = lob_rmst_difference(&two, in_arm, input->horizons[k]);
        g_autofree char *lowered =
            d.tau_lowered ? g_strdup_printf("to %g, where follow-up ends", d.tau) : NULL;
        LobEstimate e = d.difference;
        e.reason = e.reason ? e.reason : lowered;
        g_autofree char *name = g_strdup_printf("rmst_difference[%s - %s]", input->arms[a], input->arms[0]);
        add_at(s, name, input->horizons[k], e);
    }
}

static void add_arms(Scope *s) {
    const LobPanelInput *input = s->input;
    g_auto(LobLogRank) test = {0};
    lob_log_rank(&test, &s->data, s->arm, input->n_arms);
    add(s, "log_rank_p_of_arms", bare(test.test.p, test.test.reason));
    g_auto(LobInteraction) interaction = {0};
    lob_interaction(&interaction, &s->data, s->arm, input->n_arms, s->score, NULL, 0);
    size_t k = input->n_arms - 1;
    g_autofree double *x = g_new0(double, s->data.n *k + 1);
    for (size_t i = 0; i < s->data.n; i++)
        if (s->arm[i] > 0)
            x[i * k + s->arm[i] - 1] = 1;
    g_auto(LobCox) fit = {0};
    lob_cox_fit(&fit, &s->data, &(LobCoxDesign){.p = k, .x = x, .robust = true});
    for (uint32_t a = 1; a <= k; a++) {
        LobEstimate hr = lob_normal_estimate(fit.beta[a - 1], fit.robust_se ? fit.robust_se[a - 1] : NAN);
        hr.reason = fit.reason ? fit.reason : isnan(fit.beta[a - 1]) ? "arm without rows" : "not adjusted";
        g_autofree char *name = g_strdup_printf("hr[%s / %s]", input->arms[a], input->arms[0]);
        add(s, name, exponentiated(hr));
        g_autofree char *product = g_strdup_printf("interaction_log_hr[%s x score]", input->arms[a]);
        add(s, product, interaction.interaction[a - 1]);
        add_arm_against_reference(s, a);
    }
    add(s, "interaction_p", bare(interaction.robust_wald.p, interaction.robust_wald.reason));
}

/* ---- pooled over centers ---- */
static void add_pooled(Scope *s, const char *metric, LobMeta m, bool ratio) {
    g_autofree char *why = g_strdup_printf("REML, Hartung-Knapp, k = %zu%s%s", m.k, m.reason ? "; " : "",
                                           m.reason ? m.reason : "");
    LobEstimate pooled = {m.mu, m.se, m.lower, m.upper, why};
    LobEstimate next = {m.mu, NAN, m.prediction_lower, m.prediction_upper, "prediction interval, t(k-2)"};
    g_autofree char *prediction = g_strdup_printf("%s_in_a_new_center", metric);
    g_autofree char *tau2 = g_strdup_printf("%s_tau2", metric);
    g_autofree char *i2 = g_strdup_printf("%s_i2", metric);
    add(s, metric, ratio ? exponentiated(pooled) : pooled);
    if (m.k >= 3)
        add(s, prediction, ratio ? exponentiated(next) : next);
    add(s, tau2, bare(m.tau2, "on the scale of pooling"));
    add(s, i2, bare(m.i2, m.reason));
}

typedef struct {
    double *estimate, *se;
} Column;

static Column column_new(size_t k) {
    return (Column){g_new(double, k + 1), g_new(double, k + 1)};
}

static void column_set(Column *c, size_t i, double estimate, double se) {
    c->estimate[i] = estimate;
    c->se[i] = se;
}

static void column_clear(Column *c) {
    g_free(c->estimate);
    g_free(c->se);
}

static void add_centers(LobPanel *panel, const LobPanelInput *input, Scope *pooled) {
    size_t k = input->n_centers, h = input->risk ? input->n_horizons : 0;
    const LobMetaOptions options = {.tau2 = LOB_TAU2_REML, .hartung_knapp = true, .floor = true};
    Column of_c = column_new(k), of_slope = column_new(k);
    g_autofree Column *of_oe = g_new(Column, h + 1);
    for (size_t t = 0; t < h; t++)
        of_oe[t] = column_new(k);
    for (size_t i = 0; i < k; i++) {
        Scope s = {.panel = panel};
        scope_take(&s, input, input->centers[i], (int64_t)i);
        add_curves(&s);
        LobConcordance c = add_discrimination(&s);
        LobEstimate slope = add_slope(&s);
        column_set(&of_c, i, c.c, c.se);
        column_set(&of_slope, i, slope.reason ? NAN : slope.estimate, slope.se);
        for (size_t t = 0; t < input->n_horizons; t++) {
            const LobEstimate oe = add_horizon(&s, t);
            if (t < h)
                column_set(&of_oe[t], i, log(oe.estimate), oe.se);
        }
        lob_concordance_clear(&c);
        scope_clear(&s);
    }
    add_pooled(pooled, "c", lob_meta_of_c(of_c.estimate, of_c.se, k, &options), false);
    add_pooled(pooled, "log_hr_of_score", lob_meta(of_slope.estimate, of_slope.se, k, &options), false);
    for (size_t t = 0; t < h; t++) {
        g_autofree char *name = g_strdup_printf("observed_expected@%g", input->horizons[t]);
        add_pooled(pooled, name, lob_meta(of_oe[t].estimate, of_oe[t].se, k, &options), true);
        column_clear(&of_oe[t]);
    }
    column_clear(&of_c);
    column_clear(&of_slope);
}

static void c_of_counts(const double *count, size_t n, double *out, void *plan) {
    (void)n;
    *out = lob_concordance_plan_c(plan, count);
}

static void add_bootstrap(Scope *s) {
    const LobPanelInput *input = s->input;
    g_autoptr(LobConcordancePlan) plan = lob_concordance_plan_new(&s->data, s->score);
    g_auto(LobBootstrap) b = {0};
    lob_bootstrap(&b, s->data.stratum, s->data.n, input->n_bootstrap, 0, input->seed, 1, c_of_counts, plan);
    g_autofree char *note = g_strdup_printf("percentiles of %zu draws within centers, %zu degenerate",
                                            input->n_bootstrap, b.degenerate[0]);
    LobEstimate e = b.estimate[0];
    e.reason = e.reason ? e.reason : note;
    add(s, "c_bootstrap", e);
}

void lob_panel(LobPanel *panel, const LobPanelInput *input) {
    *panel = (LobPanel){0};
    Scope s = {.panel = panel};
    scope_take(&s, input, "(all)", -1);
    add_curves(&s);
    LobConcordance c = add_discrimination(&s);
    lob_concordance_clear(&c);
    add_slope(&s);
    for (size_t k = 0; k < input->n_horizons; k++)
        add_horizon(&s, k);
    if (s.arm && input->n_arms >= 2)
        add_arms(&s);
    if (input->n_bootstrap > 0)
        add_bootstrap(&s);
    if (input->data.stratum) {
        s.center = "(pooled)";
        add_centers(panel, input, &s);
    }
    scope_clear(&s);
}

void lob_panel_clear(LobPanel *panel) {
    for (size_t i = 0; i < panel->n_rows; i++) {
        g_free(panel->row[i].metric);
        g_free(panel->row[i].note);
    }
    g_free(panel->row);
    *panel = (LobPanel){0};
}
