/* The benefit stage of one fold: propensities, guards, main effects, effect scores. Reads the view alone. */
#include "model/benefit_internal.h"
#include "stats/stats.h"

#include <math.h>
#include <string.h>

#define PROPENSITY_RIDGE 1.0

LobBenefitOptions lob_benefit_defaults(uint64_t seed) {
    return (LobBenefitOptions){16, 50, 30, 50, 0.8, seed, NULL, NULL};
}

const char *lob_benefit_part_name(const LobStudy *study, int part) {
    for (size_t k = 0; k < study->n_arms; k++)
        if (study->arms[k].code[part] == 1 && study->arms[k].code[1 - part] == 0)
            return study->arms[k].name;
    return NULL;
}

void lob_benefit_codes(LobBenefit *benefit) {
    const LobCohort *cohort = benefit->view->cohort;
    benefit->code = g_new(int8_t, benefit->n_patients * LOB_PARTS + 1);
    for (size_t p = 0; p < benefit->n_patients; p++) {
        int arm = cohort->arm_at[benefit->view->endpoint][p];
        for (int f = 0; f < LOB_PARTS; f++)
            benefit->code[p * LOB_PARTS + (size_t)f] =
                arm < 0 ? (int8_t)-1 : (int8_t)cohort->study->arms[arm].code[f];
    }
}

static int8_t code_of(const LobBenefit *benefit, uint32_t p, int part) {
    return benefit->code[p * LOB_PARTS + (size_t)part];
}

static uint32_t center_of(const LobBenefit *benefit, uint32_t p) {
    return benefit->view->cohort->patients[p].center;
}

/* ---- propensities ---- */

/* Rows [n][covariates + 1]: covariates and the other part. */
static double *propensity_rows(const LobBenefit *benefit, const uint32_t *patients, size_t n, int part) {
    const LobView *view = benefit->view;
    size_t c = view->n_covariates;
    double *x = g_new(double, n *(c + 1) + 1);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < c; j++)
            x[i * (c + 1) + j] = (double)view->covariates[patients[i] * c + j];
        x[i * (c + 1) + c] = MAX(code_of(benefit, patients[i], 1 - part), 0);
    }
    return x;
}

/* Fits on training patients outside a center (UINT32_MAX: all) and fills the propensities of `apply`. */
static bool propensity_from(LobBenefit *benefit, int part, uint32_t without, const uint32_t *apply,
                            size_t n_apply) {
    size_t p = benefit->view->n_covariates + 1, n = 0;
    g_autofree uint32_t *learn = g_new(uint32_t, benefit->n_train + 1);
    g_autofree uint32_t *class_of = g_new(uint32_t, benefit->n_train + 1);
    for (size_t i = 0; i < benefit->n_train; i++) {
        if (center_of(benefit, benefit->train[i]) == without)
            continue;
        learn[n] = benefit->train[i];
        class_of[n++] = (uint32_t)code_of(benefit, benefit->train[i], part);
    }
    g_autofree double *x = propensity_rows(benefit, learn, n, part);
    g_autofree double *to = propensity_rows(benefit, apply, n_apply, part);
    g_autofree double *probability = g_new(double, 2 * n_apply + 1);
    g_auto(LobMultinomial) fit = {0};
    lob_multinomial_fit(&fit, x, n, p, class_of, 2, NULL, PROPENSITY_RIDGE);
    if (fit.reason || !fit.converged)
        return false;
    lob_multinomial_predict(&fit, to, n_apply, probability);
    if (without == UINT32_MAX)
        memcpy(benefit->part[part].propensity_beta, fit.coefficient, (p + 1) * sizeof(double));
    for (size_t i = 0; i < n_apply; i++) {
        int8_t a = code_of(benefit, apply[i], part);
        double e = probability[2 * i + 1];
        benefit->part[part].propensity[apply[i]] = a < 0 ? NAN : e;
        benefit->part[part].weight[apply[i]] = a < 0 ? NAN : a ? 1 - e : e;
    }
    return true;
}

static bool propensities(LobBenefit *benefit, int part) {
    const LobCohort *cohort = benefit->view->cohort;
    g_autofree uint32_t *own = g_new(uint32_t, benefit->n_train + 1);
    for (uint32_t c = 0; c < cohort->n_centers; c++) {
        size_t n = 0;
        for (size_t i = 0; i < benefit->n_train; i++)
            if (center_of(benefit, benefit->train[i]) == c)
                own[n++] = benefit->train[i];
        /* One training center alone has no other to be judged by. */
        if (n > 0 && !propensity_from(benefit, part, n == benefit->n_train ? UINT32_MAX : c, own, n))
            return false;
    }
    return propensity_from(benefit, part, UINT32_MAX, benefit->held_out, benefit->n_held_out);
}

/* ---- guards ---- */

static double largest_center_share(const LobBenefit *benefit, int part, int8_t code) {
    g_autofree size_t *of = g_new0(size_t, benefit->view->cohort->n_centers + 1);
    size_t total = 0, most = 0;
    for (size_t i = 0; i < benefit->n_train; i++) {
        if (code_of(benefit, benefit->train[i], part) != code)
            continue;
        total++;
        size_t n = ++of[center_of(benefit, benefit->train[i])];
        most = MAX(most, n);
    }
    return total ? (double)most / (double)total : 1;
}

static void count_side(LobBenefit *benefit, int part, int8_t code) {
    LobBenefitPart *f = &benefit->part[part];
    g_autofree double *weight = g_new(double, benefit->n_train + 1);
    size_t n = 0;
    for (size_t i = 0; i < benefit->n_train; i++) {
        uint32_t p = benefit->train[i];
        if (code_of(benefit, p, part) != code)
            continue;
        f->events[code] += benefit->view->event[p] == 1;
        weight[n++] = isnan(f->weight[p]) ? 0 : f->weight[p];
    }
    f->size[code] = n ? lob_effective_size(weight, n) : 0;
}

static char *guard(LobBenefit *benefit, int part) {
    LobBenefitPart *f = &benefit->part[part];
    const LobBenefitOptions *o = &benefit->options;
    const char *name = lob_benefit_part_name(benefit->view->cohort->study, part);
    bool fitted = propensities(benefit, part);
    for (int8_t side = 0; side < 2; side++) {
        count_side(benefit, part, side);
        const char *which = side ? "with" : "without";
        if ((double)f->events[side] < o->min_events)
            return g_strdup_printf("%zu events %s %s in training, at least %.0f are needed", f->events[side],
                                   which, name, o->min_events);
        if (!fitted)
            return g_strdup_printf("the propensity of %s cannot be fitted", name);
        if (!(f->size[side] >= o->min_size))
            return g_strdup_printf("effective size %.1f %s %s in training, at least %.0f are needed",
                                   f->size[side], which, name, o->min_size);
        double share = largest_center_share(benefit, part, side);
        if (share > o->max_share)
            return g_strdup_printf("%.0f %% of the training patients %s %s are of one center", 100 * share,
                                   which, name);
    }
    return NULL;
}

/* ---- main effects ---- */

/* Columns of main: covariates, z, part 1, part 2, both. */
static void main_row(const LobBenefit *benefit, uint32_t p, const int *code, double *x) {
    size_t c = benefit->view->n_covariates, k = benefit->k;
    for (size_t j = 0; j < c; j++)
        x[j] = (double)benefit->view->covariates[p * c + j];
    memcpy(x + c, benefit->z + p * k, k * sizeof *x);
    x[c + k] = code[0];
    x[c + k + 1] = code[1];
    x[c + k + 2] = benefit->use_product ? code[0] * code[1] : 0;
}

double lob_benefit_main_eta(const LobBenefit *benefit, const double *main, uint32_t p, const int *code) {
    g_autofree double *x = g_new(double, benefit->n_main);
    double sum = 0;
    main_row(benefit, p, code, x);
    for (size_t j = 0; j < benefit->n_main; j++)
        sum += main[j] * x[j];
    return sum;
}

/* Time, event, stratum of the training patients; counts [n_train] (bootstrap) or NULL. */
static void common_rows(const LobBenefit *benefit, LobRidgeRows *rows, size_t columns, const double *counts) {
    const LobView *view = benefit->view;
    lob_ridge_rows_init(rows, benefit->n_train, columns);
    for (size_t i = 0; i < benefit->n_train; i++) {
        uint32_t p = benefit->train[i];
        rows->time[i] = view->time[p];
        rows->event[i] = view->event[p] == 1;
        rows->stratum[i] = center_of(benefit, p);
        rows->weight[i] = counts ? counts[i] : 1;
    }
    lob_ridge_rows_sort(rows);
}

/* Adds the part of the predictor that is fixed; the fit then is of the rest. prior [p] */
static void fix(LobRidgeRows *rows, const double *prior) {
    for (size_t i = 0; i < rows->n; i++)
        for (size_t j = 0; j < rows->p; j++)
            rows->offset[i] += rows->x[i * rows->p + j] * prior[j];
}

static void add(double *to, const double *v, double times, size_t n) {
    for (size_t j = 0; j < n; j++)
        to[j] += times * v[j];
}

void lob_benefit_fit_main(LobBenefit *benefit, const double *counts, const double *prior, bool choose,
                          double *main) {
    size_t c = benefit->view->n_covariates, k = benefit->k;
    g_autofree bool *penalised = g_new0(bool, benefit->n_main);
    LobRidgeRows rows;
    common_rows(benefit, &rows, benefit->n_main, counts);
    for (size_t i = 0; i < benefit->n_train; i++) {
        uint32_t p = benefit->train[i];
        int code[LOB_PARTS] = {code_of(benefit, p, 0), code_of(benefit, p, 1)};
        main_row(benefit, p, code, rows.x + i * benefit->n_main);
    }
    for (size_t j = c; j < c + k; j++)
        penalised[j] = true;
    if (choose)
        benefit->main_ridge = lob_ridge_choose(&rows, penalised);
    g_autofree double *fixed = g_new0(double, benefit->n_main);
    if (prior)
        memcpy(fixed + c, prior, k * sizeof *fixed);
    fix(&rows, fixed);
    add(main, fixed, -1, benefit->n_main);
    lob_ridge_fit(&rows, penalised, benefit->main_ridge, main);
    add(main, fixed, 1, benefit->n_main);
    lob_ridge_rows_clear(&rows);
}

void lob_benefit_risk(const LobBenefit *benefit, double *risk) {
    for (size_t i = 0; i < benefit->n_held_out; i++)
        risk[i] =
            lob_benefit_main_eta(benefit, benefit->main, benefit->held_out[i], (const int[LOB_PARTS]){0});
}

/* ---- effects ---- */

void lob_benefit_fit_effect(const LobBenefit *benefit, int part, const LobBenefitRefit *refit, double *ridge,
                            double *gamma) {
    size_t k = benefit->k;
    g_autofree bool *penalised = g_new(bool, k + 1);
    LobRidgeRows rows;
    common_rows(benefit, &rows, k, refit->counts);
    for (size_t i = 0; i < benefit->n_train; i++) {
        uint32_t p = benefit->train[i];
        const double *z = benefit->z + (refit->source ? refit->source[p] : p) * k;
        int code[LOB_PARTS] = {code_of(benefit, p, 0), code_of(benefit, p, 1)};
        rows.weight[i] *= benefit->part[part].weight[p];
        rows.offset[i] = lob_benefit_main_eta(benefit, refit->main, p, code);
        for (size_t j = 0; j < k; j++)
            rows.x[i * k + j] = (code[part] - 0.5) * z[j];
    }
    for (size_t j = 0; j < k; j++)
        penalised[j] = true;
    if (!(*ridge > 0))
        *ridge = lob_ridge_choose(&rows, penalised);
    if (refit->prior) {
        fix(&rows, refit->prior);
        add(gamma, refit->prior, -1, k);
    }
    lob_ridge_fit(&rows, penalised, *ridge, gamma);
    if (refit->prior)
        add(gamma, refit->prior, 1, k);
    lob_ridge_rows_clear(&rows);
}

double lob_benefit_effect(const LobBenefit *benefit, const double *gamma, uint32_t z_of) {
    double sum = 0;
    for (size_t j = 0; j < benefit->k; j++)
        sum += gamma[j] * benefit->z[z_of * benefit->k + j];
    return sum;
}

static double training_sd(const LobBenefit *benefit, const double *gamma, const uint32_t *source) {
    double mean = 0, square = 0, n = (double)benefit->n_train;
    for (size_t i = 0; i < benefit->n_train; i++) {
        uint32_t p = source ? source[benefit->train[i]] : benefit->train[i];
        double g = lob_benefit_effect(benefit, gamma, p);
        mean += g / n;
        square += g * g / n;
    }
    return sqrt(fmax(square - mean * mean, 0));
}

static void score_with(const LobBenefit *benefit, const double *gamma, double sd, const uint32_t *source,
                       double *score) {
    for (size_t i = 0; i < benefit->n_held_out; i++) {
        uint32_t p = benefit->held_out[i];
        score[i] = sd > 0 ? lob_benefit_effect(benefit, gamma, source ? source[p] : p) / sd : 0;
    }
}

void lob_benefit_score(const LobBenefit *benefit, int part, bool scaled, double *score) {
    const LobBenefitPart *f = &benefit->part[part];
    score_with(benefit, f->gamma, scaled ? f->sd : 1, NULL, score);
}

void lob_benefit_score_exchanged(const LobBenefit *benefit, int part, const uint32_t *source, double *score) {
    const LobBenefitPart *f = &benefit->part[part];
    score_with(benefit, f->gamma, f->sd, source, score);
}

void lob_benefit_score_permuted(const LobBenefit *benefit, int part, const uint32_t *source, double *score) {
    g_autofree double *gamma = g_new0(double, benefit->k + 1);
    double ridge = 0;
    lob_benefit_fit_effect(benefit, part, &(LobBenefitRefit){.main = benefit->main, .source = source}, &ridge,
                           gamma);
    score_with(benefit, gamma, training_sd(benefit, gamma, source), source, score);
}

/* ---- the whole ---- */

static void fit_part(LobBenefit *benefit, int part) {
    LobBenefitPart *f = &benefit->part[part];
    if (!f->estimable)
        return;
    lob_benefit_fit_effect(benefit, part, &(LobBenefitRefit){.main = benefit->main}, &f->ridge, f->gamma);
    f->sd = training_sd(benefit, f->gamma, NULL);
}

static void check_part(LobBenefit *benefit, int part) {
    const LobStudy *study = benefit->view->cohort->study;
    LobBenefitPart *f = &benefit->part[part];
    f->propensity = g_new(double, benefit->n_patients + 1);
    f->weight = g_new(double, benefit->n_patients + 1);
    f->gamma = g_new0(double, benefit->k + 1);
    f->propensity_beta = g_new0(double, benefit->view->n_covariates + 2);
    for (size_t p = 0; p < benefit->n_patients; p++)
        f->propensity[p] = f->weight[p] = NAN;
    f->asked = lob_benefit_part_name(study, part) != NULL;
    f->reason = f->asked ? guard(benefit, part) : g_strdup("no arm consists of this part alone");
    f->estimable = f->asked && !f->reason;
}

static size_t events_of_both(const LobBenefit *benefit) {
    size_t n = 0;
    for (size_t i = 0; i < benefit->n_train; i++) {
        uint32_t p = benefit->train[i];
        n += code_of(benefit, p, 0) == 1 && code_of(benefit, p, 1) == 1 && benefit->view->event[p] == 1;
    }
    return n;
}

bool lob_benefit_can(const LobStudy *study, size_t endpoint, GError **err) {
    bool none = false, some = false;
    for (size_t k = 0; k < study->n_arms; k++) {
        none = none || (study->arms[k].code[0] == 0 && study->arms[k].code[1] == 0);
        some = some || lob_benefit_part_name(study, 0) || lob_benefit_part_name(study, 1);
    }
    if (study->endpoints[endpoint].kind != LOB_ENDPOINT_SURVIVAL)
        return lob_fail(err, LOB_ERROR_INPUT, "endpoint %s: benefit is defined for survival endpoints",
                        study->endpoints[endpoint].name);
    if (!study->arm_column || !none || !some)
        return lob_fail(err, LOB_ERROR_INPUT,
                        "benefit needs an arm without treatment (code [0, 0]) and one of a single treatment");
    return true;
}

bool lob_benefit_goes_on(const LobBenefit *benefit, GError **err) {
    return !benefit->options.stop || !benefit->options.stop() ||
           lob_fail(err, LOB_ERROR_STOPPED, "stopped in the benefit stage");
}

bool lob_benefit_fit(LobBenefit *benefit, const LobView *view, const LobBagSums *sums,
                     const LobBenefitOptions *options, GError **err) {
    const LobEndpoint *endpoint = &view->cohort->study->endpoints[view->endpoint];
    *benefit = (LobBenefit){.view = view, .options = *options, .n_patients = view->cohort->n_patients};
    if (!lob_benefit_can(view->cohort->study, view->endpoint, err))
        return false;
    if (!sums && view->n_covariates == 0)
        return lob_fail(err, LOB_ERROR_INPUT, "benefit needs features or covariates");
    lob_benefit_codes(benefit);
    lob_benefit_vectors(benefit, sums);
    if (!lob_benefit_goes_on(benefit, err))
        return false;
    benefit->use_product = (double)events_of_both(benefit) >= options->min_events;
    benefit->n_main = view->n_covariates + benefit->k + 3;
    benefit->main = g_new0(double, benefit->n_main);
    lob_benefit_fit_main(benefit, NULL, NULL, true, benefit->main);
    for (int f = 0; f < LOB_PARTS; f++) {
        if (!lob_benefit_goes_on(benefit, err))
            return false;
        check_part(benefit, f);
        fit_part(benefit, f);
    }
    lob_benefit_fit_adverse(benefit);
    benefit->tau = view->n_cuts ? view->cuts[view->n_cuts - 1] : 0;
    if (endpoint->n_horizons)
        benefit->tau = fmin(benefit->tau, endpoint->horizons[endpoint->n_horizons - 1]);
    return true;
}

void lob_benefit_clear(LobBenefit *benefit) {
    for (int f = 0; f < LOB_PARTS; f++) {
        g_free(benefit->part[f].reason);
        g_free(benefit->part[f].propensity);
        g_free(benefit->part[f].weight);
        g_free(benefit->part[f].gamma);
        g_free(benefit->part[f].propensity_beta);
    }
    g_free(benefit->z);
    lob_basis_clear(&benefit->basis);
    lob_benefit_model_clear(&benefit->model);
    g_free(benefit->tiles);
    g_free(benefit->code);
    g_free(benefit->train);
    g_free(benefit->held_out);
    g_free(benefit->main);
    g_free(benefit->adverse);
    g_free(benefit->adverse_reason);
    *benefit = (LobBenefit){0};
}
