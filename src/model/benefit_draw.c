/* From a fold's fit to a model that predicts for anybody, and its spread. A draw of the spread is a bootstrap
 * refit within centers whose coefficients are shrunk towards a draw of their own prior instead of 0: what
 * shrinkage hides then counts as unknown too (in the linear case the draws are the posterior's; Nychka 1988
 * on why such intervals cover on average over patients). It is seen from a center like one of the training
 * centers: its level of risk and its shift of the image's columns are theirs, drawn at random, since those of
 * a new center are not known. */
#include "model/benefit_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One draw, in the model's arrays. */
typedef struct {
    double *main, *gamma[LOB_PARTS], *shift;
    double *hazard[2]; /* with effects, from main alone */
} Draw;

/* Where the training centers lie. */
typedef struct {
    size_t n;      /* training centers */
    double *level; /* [n][2] log of observed over expected events: with effects, from main alone */
    double *shift; /* [n][k] mean z */
} Places;

static Draw draw_at(const LobBenefitModel *model, size_t index) {
    size_t k = model->basis.k;
    Draw draw = {.main = model->main + index * (model->n_covariates + k + 3),
                 .shift = model->shift + index * k};
    for (size_t f = 0; f < LOB_PARTS; f++)
        draw.gamma[f] = model->gamma[f] + index * k;
    for (size_t risk = 0; risk < 2; risk++)
        draw.hazard[risk] = model->hazard + (2 * index + risk) * (LOB_BENEFIT_GRID + 1);
    return draw;
}

static double eta_of(const LobBenefit *benefit, const Draw *draw, uint32_t p, const int *code, bool effects) {
    double eta = lob_benefit_main_eta(benefit, draw->main, p, code);
    for (int f = 0; effects && f < LOB_PARTS; f++)
        if (benefit->part[f].estimable)
            eta += (code[f] - 0.5) * lob_benefit_effect(benefit, draw->gamma[f], p);
    return eta;
}

/* ---- baseline of an average center (Breslow over all training patients) ---- */

static int compare_times(const void *a, const void *b, void *user) {
    const LobBenefit *benefit = user;
    size_t i = *(const size_t *)a, j = *(const size_t *)b;
    double x = benefit->view->time[benefit->train[i]], y = benefit->view->time[benefit->train[j]];
    return x < y ? 1 : x > y ? -1 : (i > j) - (i < j);
}

static void baseline(const LobBenefit *benefit, const Draw *draw, const double *counts, bool effects,
                     double *hazard) {
    const LobView *view = benefit->view;
    size_t n = benefit->n_train;
    g_autofree size_t *order = g_new(size_t, n + 1);
    double at_risk = 0;
    for (size_t i = 0; i < n; i++)
        order[i] = i;
    qsort_r(order, n, sizeof *order, compare_times, (void *)benefit);
    memset(hazard, 0, (LOB_BENEFIT_GRID + 1) * sizeof *hazard);
    for (size_t at = 0; at < n;) {
        double time = view->time[benefit->train[order[at]]], deaths = 0;
        for (; at < n && view->time[benefit->train[order[at]]] >= time; at++) {
            uint32_t p = benefit->train[order[at]];
            double weight = counts ? counts[order[at]] : 1;
            int code[LOB_PARTS] = {benefit->code[p * LOB_PARTS], benefit->code[p * LOB_PARTS + 1]};
            at_risk += weight * exp(eta_of(benefit, draw, p, code, effects));
            deaths += view->event[p] == 1 ? weight : 0;
        }
        double slot = benefit->tau > 0 ? ceil(time / benefit->tau * LOB_BENEFIT_GRID) : INFINITY;
        if (slot <= LOB_BENEFIT_GRID && at_risk > 0)
            hazard[(size_t)fmax(slot, 0)] += deaths / at_risk;
    }
    for (size_t i = 1; i <= LOB_BENEFIT_GRID; i++)
        hazard[i] += hazard[i - 1];
}

/* ---- how centers differ ---- */

static void place_center(const LobBenefit *benefit, const Draw *fitted, uint32_t center, Places *places) {
    const LobView *view = benefit->view;
    double observed = 0, expected[2] = {0, 0}, n = 0, *shift = places->shift + places->n * benefit->k;
    for (size_t i = 0; i < benefit->n_train; i++) {
        uint32_t p = benefit->train[i];
        int code[LOB_PARTS] = {benefit->code[p * LOB_PARTS], benefit->code[p * LOB_PARTS + 1]};
        double time = fmin(view->time[p], benefit->tau);
        if (view->cohort->patients[p].center != center)
            continue;
        n++;
        observed += view->event[p] == 1 && view->time[p] <= benefit->tau;
        for (int risk = 0; risk < 2; risk++)
            expected[risk] += lob_benefit_hazard_at(fitted->hazard[risk], time / benefit->tau) *
                              exp(eta_of(benefit, fitted, p, code, risk == 0));
        for (size_t j = 0; j < benefit->k; j++)
            shift[j] += benefit->z[p * benefit->k + j];
    }
    if (n < 1)
        return;
    for (size_t j = 0; j < benefit->k; j++)
        shift[j] /= n;
    /* Half an event each keeps a center without events finite. */
    for (int risk = 0; risk < 2; risk++)
        places->level[2 * places->n + (size_t)risk] = log((observed + 0.5) / (expected[risk] + 0.5));
    places->n++;
}

static void places_init(Places *places, const LobBenefit *benefit, const Draw *fitted) {
    size_t centers = benefit->view->cohort->n_centers;
    *places = (Places){0, g_new0(double, 2 * centers + 1), g_new0(double, centers * benefit->k + 1)};
    for (uint32_t c = 0; benefit->tau > 0 && c < centers; c++)
        place_center(benefit, fitted, c, places);
}

static void places_clear(Places *places) {
    g_free(places->level);
    g_free(places->shift);
}

/* The draw is seen from a center of the level of one training center and the shift of one, not the same. */
static void move_draw(const LobBenefit *benefit, const Places *places, size_t index, Draw *draw) {
    g_autofree char *stream = g_strdup_printf("benefit/place/%zu", index);
    LobRng rng;
    if (places->n == 0)
        return;
    lob_rng_init(&rng, benefit->options.seed, stream);
    size_t level = lob_rng_below(&rng, (uint32_t)places->n), shift = lob_rng_below(&rng, (uint32_t)places->n);
    for (size_t risk = 0; risk < 2; risk++)
        for (size_t i = 0; i <= LOB_BENEFIT_GRID; i++)
            draw->hazard[risk][i] *= exp(places->level[2 * level + risk]);
    memcpy(draw->shift, places->shift + shift * benefit->k, benefit->k * sizeof(double));
}

/* ---- bootstrap ---- */

/* How often each training patient is drawn, within centers. */
static void draw_counts(const LobBenefit *benefit, size_t member, double *counts) {
    const LobCohort *cohort = benefit->view->cohort;
    g_autofree char *stream = g_strdup_printf("benefit/member/%zu", member);
    g_autofree size_t *own = g_new(size_t, benefit->n_train + 1);
    LobRng rng;
    lob_rng_init(&rng, benefit->options.seed, stream);
    memset(counts, 0, benefit->n_train * sizeof *counts);
    for (uint32_t c = 0; c < cohort->n_centers; c++) {
        size_t n = 0;
        for (size_t i = 0; i < benefit->n_train; i++)
            if (cohort->patients[benefit->train[i]].center == c)
                own[n++] = i;
        for (size_t draw = 0; draw < n; draw++)
            counts[own[lob_rng_below(&rng, (uint32_t)n)]] += 1;
    }
}

/* Coefficients as the ridge's prior has them. */
static void draw_prior(double ridge, size_t k, LobRng *rng, double *prior) {
    for (size_t j = 0; j < k; j++)
        prior[j] = ridge > 0 ? lob_rng_normal(rng) / sqrt(ridge) : 0;
}

static void refit(LobBenefit *benefit, size_t index, const Draw *draw) {
    g_autofree double *counts = g_new(double, benefit->n_train + 1);
    g_autofree double *prior = g_new(double, benefit->k + 1);
    g_autofree char *stream = g_strdup_printf("benefit/prior/%zu", index);
    LobRng rng;
    lob_rng_init(&rng, benefit->options.seed, stream);
    draw_counts(benefit, index, counts);
    draw_prior(benefit->main_ridge, benefit->k, &rng, prior);
    lob_benefit_fit_main(benefit, counts, prior, false, draw->main);
    for (int f = 0; f < LOB_PARTS; f++) {
        double ridge = benefit->part[f].ridge;
        if (!benefit->part[f].estimable)
            continue;
        draw_prior(ridge, benefit->k, &rng, prior);
        lob_benefit_fit_effect(benefit, f,
                               &(LobBenefitRefit){.main = draw->main, .counts = counts, .prior = prior},
                               &ridge, draw->gamma[f]);
    }
    baseline(benefit, draw, counts, true, draw->hazard[0]);
    baseline(benefit, draw, counts, false, draw->hazard[1]);
}

/* ---- the model ---- */

static void copy_arms(LobBenefitModel *model, const LobStudy *study) {
    model->n_arms = study->n_arms;
    model->arms = g_new0(LobArmLevel, study->n_arms + 1);
    for (size_t k = 0; k < study->n_arms; k++) {
        model->arms[k] = study->arms[k];
        model->arms[k].name = g_strdup(study->arms[k].name);
        model->arms[k].start_column = NULL;
    }
}

static LobBasis copy_basis(const LobBasis *from) {
    LobBasis to = *from;
    size_t d = from->dim, k = from->k;
    to.mean = from->of_tiles ? g_memdup2(from->mean, d * sizeof(float)) : NULL;
    to.inverse = from->of_tiles ? g_memdup2(from->inverse, d * sizeof(float)) : NULL;
    to.bases = g_memdup2(from->bases, (k * d + 1) * sizeof(double));
    to.center = g_memdup2(from->center, (k + 1) * sizeof(double));
    to.variance = g_memdup2(from->variance, (k + 1) * sizeof(double));
    to.blur = g_memdup2(from->blur, (k + 1) * sizeof(double));
    return to;
}

static void copy_part(LobBenefitModel *model, const LobBenefit *benefit, int part) {
    const LobBenefitPart *f = &benefit->part[part];
    model->estimable[part] = f->estimable;
    model->reason[part] = g_strdup(f->reason);
    model->sd[part] = f->estimable ? f->sd : 0;
    model->propensity_beta[part] =
        f->estimable ? g_memdup2(f->propensity_beta, (model->n_covariates + 2) * sizeof(double)) : NULL;
    model->gamma[part] = g_new0(double, model->n_draws * model->basis.k + 1);
}

static void start_model(const LobBenefit *benefit, LobBenefitModel *model) {
    const LobStudy *study = benefit->view->cohort->study;
    const LobEndpoint *endpoint = &study->endpoints[benefit->view->endpoint];
    *model = (LobBenefitModel){.endpoint = g_strdup(endpoint->name),
                               .n_covariates = benefit->view->n_covariates,
                               .n_horizons = endpoint->n_horizons,
                               .n_draws = 1 + benefit->options.members,
                               .basis = copy_basis(&benefit->basis),
                               .use_product = benefit->use_product,
                               .tau = benefit->tau,
                               .seed = benefit->options.seed};
    model->horizons = g_memdup2(endpoint->horizons, endpoint->n_horizons * sizeof(double));
    model->margin_days = study->model.wish.margin_days;
    model->penalty_days = study->model.wish.penalty_days;
    if (benefit->adverse)
        model->adverse = g_memdup2(benefit->adverse, (model->n_covariates + benefit->k + 3) * sizeof(double));
    copy_arms(model, study);
    for (int f = 0; f < LOB_PARTS; f++)
        copy_part(model, benefit, f);
    model->main = g_new0(double, model->n_draws * benefit->n_main);
    model->shift = g_new0(double, model->n_draws * benefit->k + 1);
    model->hazard = g_new0(double, model->n_draws * 2 * (LOB_BENEFIT_GRID + 1));
}

static void start_draw(const LobBenefit *benefit, const Draw *draw) {
    memcpy(draw->main, benefit->main, benefit->n_main * sizeof(double));
    for (size_t f = 0; f < LOB_PARTS; f++)
        memcpy(draw->gamma[f], benefit->part[f].gamma, benefit->k * sizeof(double));
}

bool lob_benefit_draw(LobBenefit *benefit, GError **err) {
    LobBenefitModel *model = &benefit->model;
    Places places;
    bool on = true;
    start_model(benefit, model);
    Draw fitted = draw_at(model, 0);
    start_draw(benefit, &fitted);
    baseline(benefit, &fitted, NULL, true, fitted.hazard[0]);
    baseline(benefit, &fitted, NULL, false, fitted.hazard[1]);
    places_init(&places, benefit, &fitted);
    for (size_t m = 1; m < model->n_draws && (on = lob_benefit_goes_on(benefit, err)); m++) {
        Draw draw = draw_at(model, m);
        start_draw(benefit, &draw);
        refit(benefit, m - 1, &draw);
        move_draw(benefit, &places, m - 1, &draw);
    }
    places_clear(&places);
    return on;
}
