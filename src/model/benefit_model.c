/* The benefit model apart from its fold: checked, laid out for hashing. */
#include "model/benefit_internal.h"

#include <math.h>
#include <string.h>

static bool all_finite(const double *v, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(v[i]))
            return false;
    return true;
}

static bool none_negative(const double *v, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!(v[i] >= 0))
            return false;
    return true;
}

static bool tiles_are_sound(const LobBasis *basis) {
    for (size_t j = 0; basis->of_tiles && j < basis->dim; j++)
        if (!isfinite(basis->mean[j]) || !isfinite(basis->inverse[j]))
            return false;
    return true;
}

static bool basis_is_sound(const LobBasis *basis) {
    size_t k = basis->k;
    return tiles_are_sound(basis) && all_finite(basis->bases, k * basis->dim) &&
           all_finite(basis->center, k) && isfinite(basis->factor) && all_finite(basis->variance, k) &&
           none_negative(basis->variance, k) && all_finite(basis->blur, k) && none_negative(basis->blur, k) &&
           isfinite(basis->specific) && basis->specific >= 0;
}

/* Curves that never fall. */
static bool hazards_are_sound(const LobBenefitModel *model) {
    size_t side = LOB_BENEFIT_GRID + 1, n = model->n_draws * 2 * side;
    if (!all_finite(model->hazard, n) || !none_negative(model->hazard, n))
        return false;
    for (size_t i = 0; i < n; i++)
        if (i % side > 0 && model->hazard[i] < model->hazard[i - 1])
            return false;
    return true;
}

bool lob_benefit_model_check(const LobBenefitModel *model, GError **err) {
    size_t k = model->basis.k, draws = model->n_draws;
    bool sound =
        draws > 0 && model->n_arms > 0 && basis_is_sound(&model->basis) && hazards_are_sound(model) &&
        isfinite(model->tau) && model->tau >= 0 && all_finite(model->horizons, model->n_horizons) &&
        all_finite(model->main, draws * (model->n_covariates + k + 3)) && all_finite(model->shift, draws * k);
    sound = sound && isfinite(model->margin_days) && model->margin_days >= 0 &&
            isfinite(model->penalty_days) && model->penalty_days >= 0 &&
            (!model->adverse || all_finite(model->adverse, model->n_covariates + k + 3));
    for (int f = 0; sound && f < LOB_PARTS; f++)
        sound = all_finite(model->gamma[f], draws * k) && isfinite(model->sd[f]) && model->sd[f] >= 0 &&
                (!model->estimable[f] || all_finite(model->propensity_beta[f], model->n_covariates + 2));
    for (size_t a = 0; sound && a < model->n_arms; a++)
        for (int f = 0; f < LOB_PARTS; f++)
            sound = sound && model->arms[a].name && (unsigned)model->arms[a].code[f] <= 1;
    return sound || lob_fail(err, LOB_ERROR_INPUT, "the benefit stage holds numbers that make no sense");
}

static void append(GByteArray *bytes, const void *data, size_t size) {
    if (data && size)
        g_byte_array_append(bytes, data, (guint)size);
}

static void append_text(GByteArray *bytes, const char *text) {
    append(bytes, text ? text : "", (text ? strlen(text) : 0) + 1);
}

static void append_doubles(GByteArray *bytes, const double *v, size_t n) {
    append(bytes, v, n * sizeof *v);
}

void lob_benefit_model_append(const LobBenefitModel *model, GByteArray *bytes) {
    const LobBasis *basis = &model->basis;
    size_t k = basis->k, draws = model->n_draws;
    const uint64_t sizes[] = {model->n_covariates,
                              model->n_arms,
                              model->n_horizons,
                              draws,
                              k,
                              basis->dim,
                              basis->of_tiles,
                              basis->factors,
                              model->use_product,
                              model->seed,
                              model->earned};
    append_text(bytes, model->endpoint);
    append(bytes, sizes, sizeof sizes);
    for (size_t a = 0; a < model->n_arms; a++) {
        append_text(bytes, model->arms[a].name);
        for (int f = 0; f < LOB_PARTS; f++)
            append(bytes, &(uint8_t){(uint8_t)model->arms[a].code[f]}, 1);
    }
    append_doubles(bytes, model->horizons, model->n_horizons);
    append(bytes, basis->mean, basis->of_tiles ? basis->dim * sizeof(float) : 0);
    append(bytes, basis->inverse, basis->of_tiles ? basis->dim * sizeof(float) : 0);
    append_doubles(bytes, basis->bases, k * basis->dim);
    append_doubles(bytes, basis->center, k);
    append_doubles(bytes, basis->variance, k);
    append_doubles(bytes, basis->blur, k);
    append_doubles(
        bytes,
        (const double[]){basis->factor, basis->specific, model->tau, model->margin_days, model->penalty_days},
        5);
    append_doubles(bytes, model->adverse, model->n_covariates + k + 3);
    for (int f = 0; f < LOB_PARTS; f++) {
        append(bytes, &(uint8_t){model->estimable[f]}, 1);
        append_text(bytes, model->reason[f]);
        append_doubles(bytes, &model->sd[f], 1);
        append_doubles(bytes, model->propensity_beta[f], model->n_covariates + 2);
        append_doubles(bytes, model->gamma[f], draws * k);
    }
    append_doubles(bytes, model->main, draws * (model->n_covariates + k + 3));
    append_doubles(bytes, model->shift, draws * k);
    append_doubles(bytes, model->hazard, draws * 2 * (LOB_BENEFIT_GRID + 1));
}

void lob_benefit_model_clear(LobBenefitModel *model) {
    g_free(model->endpoint);
    for (size_t a = 0; a < model->n_arms; a++)
        g_free(model->arms[a].name);
    g_free(model->arms);
    g_free(model->horizons);
    lob_basis_clear(&model->basis);
    for (int f = 0; f < LOB_PARTS; f++) {
        g_free(model->reason[f]);
        g_free(model->propensity_beta[f]);
        g_free(model->gamma[f]);
    }
    g_free(model->main);
    g_free(model->shift);
    g_free(model->adverse);
    g_free(model->hazard);
    *model = (LobBenefitModel){0};
}
