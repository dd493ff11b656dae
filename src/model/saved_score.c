/* A saved model applied to new patients: the same forward pass and the same design as in training, nothing
 * fitted. */
#include "model/fit.h"
#include "model/saved.h"

#include <string.h>

/* ---- covariates ---- */

static bool is_known_level(const LobSavedNet *net, const char *covariate, const char *cell) {
    for (size_t c = 0; c < net->n_columns; c++) {
        const LobDesignColumn *column = &net->columns[c];
        if (column->kind == LOB_COLUMN_LEVEL && strcmp(column->covariate, covariate) == 0 &&
            (strcmp(column->level, cell) == 0 || g_strcmp0(column->reference, cell) == 0))
            return true;
    }
    return false;
}

/* The first column of a covariate warns for all of them. */
static bool is_first_of(const LobSavedNet *net, size_t column) {
    return column == 0 || strcmp(net->columns[column - 1].covariate, net->columns[column].covariate) != 0;
}

static void warn_of_levels(const LobSavedNet *net, const LobCohort *cohort, size_t column, int at) {
    const char *covariate = net->columns[column].covariate;
    g_autoptr(GHashTable) odd = g_hash_table_new(g_str_hash, g_str_equal);
    for (size_t p = 0; p < cohort->n_patients; p++) {
        const char *cell = lob_table_cell(cohort->patient_table, cohort->patients[p].row, at);
        if (*cell && !is_known_level(net, covariate, cell) &&
            g_hash_table_add(odd, (gpointer)(uintptr_t)cell))
            lob_warning("covariate '%s': training never saw '%s'; it counts as '%s'", covariate, cell,
                        net->columns[column].reference);
    }
}

static bool column_value(const LobDesignColumn *column, const LobTable *table, size_t row, int at, float *out,
                         GError **err) {
    const char *cell = lob_table_cell(table, row, at);
    double value;
    switch (column->kind) {
    case LOB_COLUMN_LEVEL:
        *out = strcmp(cell, column->level) == 0 ? 1.0f : 0.0f;
        return true;
    case LOB_COLUMN_MISSING:
        *out = *cell ? 0.0f : 1.0f;
        return true;
    case LOB_COLUMN_NUMBER:
        break;
    }
    if (!lob_table_number(table, row, at, &value, err))
        return false;
    *out = lob_design_number(column, value);
    return isfinite(*out) ||
           lob_fail(err, LOB_ERROR_INPUT, "%s:%zu: covariate '%s': %s is out of range", lob_table_path(table),
                    lob_table_line(table, row), column->covariate, cell);
}

float *lob_saved_covariates(const LobSavedNet *net, const LobCohort *cohort, GError **err) {
    const LobTable *table = cohort->patient_table;
    g_autofree float *x = g_new(float, MAX(cohort->n_patients * net->n_columns, 1));
    for (size_t c = 0; c < net->n_columns; c++) {
        const LobDesignColumn *column = &net->columns[c];
        int at = lob_table_find(table, column->covariate);
        if (at < 0) {
            lob_fail(err, LOB_ERROR_INPUT,
                     "%s: the model needs the covariate '%s', and there is no such column (empty cells are "
                     "allowed)",
                     lob_table_path(table), column->covariate);
            return NULL;
        }
        if (column->kind == LOB_COLUMN_LEVEL && is_first_of(net, c))
            warn_of_levels(net, cohort, c, at);
        for (size_t p = 0; p < cohort->n_patients; p++)
            if (!column_value(column, table, cohort->patients[p].row, at, &x[p * net->n_columns + c], err))
                return NULL;
    }
    return g_steal_pointer(&x);
}

/* ---- scores ---- */

/* A run whose intercepts belong to nobody here: every patient is of a new center. */
static void run_init(LobRun *run, const LobFit *fit, const LobSavedNet *net, int seed) {
    bool fuse = net->use_covariates || !fit->aggregator->needs_bag;
    *run = (LobRun){0};
    lob_net_init_shape(&run->net, fit->aggregator, net->endpoint.kind, net->dim, (size_t)net->hidden,
                       (size_t)net->attention, fuse ? net->n_columns : 0, fit->classes, net->n_cuts,
                       net->n_centers);
    if (net->endpoint.kind == LOB_ENDPOINT_SURVIVAL && net->endpoint.competing)
        lob_net_add_rivals(&run->net);
    run->centers = g_new(uint32_t, MAX(net->n_centers, 1));
    for (size_t c = 0; c < net->n_centers; c++)
        run->centers[c] = UINT32_MAX;
    run->work = lob_net_work_new(&run->net, fit->max_rows);
    run->params = g_memdup2(net->params + (size_t)seed * net->n_params, net->n_params * sizeof *net->params);
}

static void fit_init(LobFit *fit, const LobSavedNet *net, const uint32_t *patients, size_t n) {
    fit->aggregator = lob_aggregator_find(net->kind);
    fit->classes = net->classes ? g_strv_length(net->classes) : 2;
    fit->held_out = g_new(uint32_t, MAX(n, 1));
    for (size_t i = 0; i < n; i++)
        if (!fit->bags || fit->bags->count[patients[i]] > 0)
            fit->held_out[fit->n_held_out++] = patients[i];
    if (!fit->aggregator->needs_bag)
        return;
    for (size_t p = 0; p < fit->bags->n_patients; p++)
        fit->max_rows = MAX(fit->max_rows, (size_t)fit->bags->count[p]);
    fit->x = g_new(float, MAX(fit->max_rows, 1) * net->dim);
    fit->scaler = (LobScaler){net->dim, g_memdup2(net->mean, net->dim * sizeof(float)),
                              g_memdup2(net->inverse, net->dim * sizeof(float))};
}

bool lob_saved_score(const LobSavedNet *net, int seed, const LobCohort *cohort, size_t endpoint,
                     const LobBags *bags, float *covariates, const uint32_t *patients, size_t n,
                     LobModelResult *result, GError **err) {
    *result = (LobModelResult){0};
    if (net->dim > 0 && (!bags || bags->dim != net->dim))
        return lob_fail(err, LOB_ERROR_INPUT, "the model reads %zu features a tile, there are %zu", net->dim,
                        bags ? bags->dim : 0);
    LobView view = {.cohort = cohort,
                    .endpoint = endpoint,
                    .n_covariates = net->n_columns,
                    .covariates = covariates,
                    .cuts = net->cuts,
                    .n_cuts = net->n_cuts};
    LobModelOptions options = {.kind = net->kind, .use_covariates = net->use_covariates};
    LobFit fit = {.view = &view, .bags = bags, .options = &options};
    LobRun run;
    fit_init(&fit, net, patients, n);
    run_init(&run, &fit, net, seed);
    lob_fit_result_init(result, &fit);
    const bool ok = lob_fit_score(&run, &fit, result, err);
    result->cut = net->risk_cut[seed];
    result->best_epoch = (int)net->epochs[seed];
    lob_run_clear(&run);
    lob_fit_clear(&fit);
    return ok;
}
