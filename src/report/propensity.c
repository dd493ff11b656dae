/* Who got which arm, given what was measured; overlap weights make the arms alike in that. */
#include "report/report_internal.h"

#include <math.h>
#include <string.h>

/* Arms with events enough take part: a rare one would drag all weights to its few patients. */
static void compared_arms(LobPropensity *r, const LobPage *page, const LobSample *s, uint32_t *place) {
    const size_t arms = page->cohort->study->n_arms;
    r->arm_of = g_new0(uint32_t, arms + 1);
    for (uint32_t a = 0; a < arms; a++) {
        double events = 0;
        for (size_t i = 0; i < s->n; i++)
            events += s->arm[i] == a && s->event[i];
        place[a] = LOB_NO_INDEX;
        if (events >= LOB_LEAST_EVENTS) {
            place[a] = (uint32_t)r->n_arms;
            r->arm_of[r->n_arms++] = a;
        }
    }
}

/* One covariate of the rows, missing values as the median. */
static void fill_covariate(LobPropensity *r, const LobCohort *cohort, size_t v, double *out) {
    const LobSample *s = &r->sample;
    g_autofree double *known = g_new(double, s->n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        out[i] = s->patient[i] == LOB_NO_INDEX
                     ? NAN
                     : cohort->covariates[s->patient[i] * cohort->study->n_covariates + v];
        if (!isnan(out[i]))
            known[n++] = out[i];
    }
    const double median = n ? lob_quantile(known, n, 0.5) : 0;
    for (size_t i = 0; i < s->n; i++)
        out[i] = isnan(out[i]) ? median : out[i];
}

static size_t levels_of(const LobCohort *cohort, size_t v) {
    return cohort->levels[v] ? g_strv_length(cohort->levels[v]) : 0;
}

/* Numbers as they are, texts as one indicator a level but the first. */
static void covariates(LobPropensity *r, const LobCohort *cohort) {
    const LobStudy *study = cohort->study;
    const size_t n = r->sample.n;
    size_t most = 1;
    for (size_t v = 0; v < study->n_covariates; v++)
        most += MAX(levels_of(cohort, v), 1);
    r->covariate = g_new0(double, most *(n + 1));
    r->names = g_new0(char *, most + 1);
    g_autofree double *column = g_new(double, n + 1);
    for (size_t v = 0; v < study->n_covariates; v++) {
        fill_covariate(r, cohort, v, column);
        if (levels_of(cohort, v) == 0) {
            memcpy(r->covariate + r->n_covariates * n, column, n * sizeof *column);
            r->names[r->n_covariates++] = g_strdup(study->covariates[v]);
        }
        for (size_t l = 1; l < levels_of(cohort, v); l++) {
            for (size_t i = 0; i < n; i++)
                r->covariate[r->n_covariates * n + i] = column[i] == (double)l;
            r->names[r->n_covariates++] =
                g_strdup_printf("%s=%s", study->covariates[v], cohort->levels[v][l]);
        }
    }
}

/* [n][columns]: covariates and indicators of centers but the first, each scaled to SD 1 so that one ridge
 * fits them all. */
static double *design(const LobPropensity *r, size_t n_centers, size_t *columns) {
    const size_t n = r->sample.n, p = r->n_covariates + n_centers - 1;
    double *x = g_new0(double, (n + 1) * (p + 1));
    for (size_t k = 0; k < p; k++) {
        double sum = 0, square = 0;
        for (size_t i = 0; i < n; i++) {
            const double v = k < r->n_covariates
                                 ? r->covariate[k * n + i]
                                 : (double)(r->sample.center[i] == (uint32_t)(k - r->n_covariates + 1));
            x[i * p + k] = v;
            sum += v;
        }
        for (size_t i = 0; i < n; i++) {
            x[i * p + k] -= sum / (double)n;
            square += x[i * p + k] * x[i * p + k];
        }
        const double sd = sqrt(square / (double)n);
        for (size_t i = 0; sd > 0 && i < n; i++)
            x[i * p + k] /= sd;
    }
    *columns = p;
    return x;
}

static void weigh(LobPropensity *r) {
    const size_t n = r->sample.n;
    r->positivity = lob_positivity(r->probability, n, r->n_arms);
    if (r->positivity.refused) {
        r->reason = "some patient's chance of an arm is 0 or 1";
        return;
    }
    r->weight = g_new(double, n + 1);
    r->ess = g_new0(double, r->n_arms + 1);
    lob_propensity_weights(LOB_WEIGHTS_OVERLAP, r->probability, r->arm, n, r->n_arms, r->weight);
    g_autofree double *own = g_new(double, n + 1);
    for (uint32_t a = 0; a < r->n_arms; a++) {
        size_t k = 0;
        for (size_t i = 0; i < n; i++)
            if (r->arm[i] == a)
                own[k++] = r->weight[i];
        r->ess[a] = lob_effective_size(own, k);
    }
}

void lob_propensity(LobPropensity *r, const LobPage *page, const LobSample *s) {
    *r = (LobPropensity){0};
    g_autofree uint32_t *place = g_new(uint32_t, page->cohort->study->n_arms + 1);
    g_autofree uint8_t *keep = g_new0(uint8_t, s->n + 1);
    compared_arms(r, page, s, place);
    for (size_t i = 0; i < s->n; i++)
        keep[i] = s->arm[i] != LOB_NO_INDEX && place[s->arm[i]] != LOB_NO_INDEX;
    lob_sample_take(&r->sample, s, keep);
    if (r->n_arms < 2) {
        r->reason = "fewer than two arms have 30 events";
        return;
    }
    if (page->cohort->study->n_covariates == 0) {
        r->reason = "the study names no covariates";
        return;
    }
    const size_t n = r->sample.n;
    r->arm = g_new(uint32_t, n + 1);
    for (size_t i = 0; i < n; i++)
        r->arm[i] = place[r->sample.arm[i]];
    covariates(r, page->cohort);
    size_t columns = 0;
    g_autofree double *x = design(r, page->cohort->n_centers, &columns);
    g_auto(LobMultinomial) fit = {0};
    lob_multinomial_fit(&fit, x, n, columns, r->arm, r->n_arms, NULL, 1);
    if (fit.reason || !fit.converged) {
        r->reason = fit.reason ? fit.reason : "the propensity model did not converge";
        return;
    }
    r->probability = g_memdup2(fit.probability, n * r->n_arms * sizeof *fit.probability);
    weigh(r);
}

void lob_propensity_clear(LobPropensity *r) {
    lob_sample_clear(&r->sample);
    g_free(r->arm);
    g_free(r->arm_of);
    g_free(r->covariate);
    g_strfreev(r->names);
    g_free(r->probability);
    g_free(r->weight);
    g_free(r->ess);
    *r = (LobPropensity){0};
}
