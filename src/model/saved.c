/* Models apart from their cohort: taken from fits, checked, laid out for hashing. */
#include "model/saved.h"
#include "model/fit.h"

#include <string.h>

#define MOST_SIDE ((size_t)1 << 20) /* of anything that is a width or a number of columns */
#define MOST_WEIGHTS ((size_t)1 << 31)

/* ---- from fits ---- */

static void copy_endpoint(LobEndpoint *to, const LobEndpoint *from) {
    *to = *from;
    to->name = g_strdup(from->name);
    to->time = g_strdup(from->time);
    to->event = g_strdup(from->event);
    to->competing = g_strdup(from->competing);
    to->label = g_strdup(from->label);
    to->classes = NULL; /* the net has them */
    to->horizons = g_memdup2(from->horizons, from->n_horizons * sizeof *from->horizons);
}

static void copy_design(LobSavedNet *net, const LobView *view) {
    net->n_columns = lob_aggregator_find(net->kind)->needs_bag ? view->n_covariates : view->n_clinical;
    net->columns = g_new0(LobDesignColumn, MAX(net->n_columns, 1));
    for (size_t c = 0; c < net->n_columns; c++) {
        net->columns[c] = view->design[c];
        net->columns[c].covariate = g_strdup(view->design[c].covariate);
        net->columns[c].level = g_strdup(view->design[c].level);
        net->columns[c].reference = g_strdup(view->design[c].reference);
    }
}

static char **class_names(const LobView *view) {
    char **names = g_new0(char *, view->n_classes + 1);
    for (size_t k = 0; k < view->n_classes; k++)
        names[k] = g_strdup(view->cohort->labels[view->endpoint][view->classes[k]]);
    return names;
}

void lob_saved_net_init(LobSavedNet *net, const LobView *view, const LobModelOptions *options, size_t dim,
                        int seeds) {
    const LobCohort *cohort = view->cohort;
    *net = (LobSavedNet){.kind = g_strdup(options->kind),
                         .options = lob_model_options_text(options),
                         .hidden = options->hidden,
                         .attention = options->attention,
                         .use_covariates = options->use_covariates,
                         .dim = dim,
                         .n_cuts = view->n_cuts,
                         .seeds = seeds};
    copy_endpoint(&net->endpoint, &cohort->study->endpoints[view->endpoint]);
    if (net->endpoint.kind != LOB_ENDPOINT_SURVIVAL)
        net->classes = class_names(view);
    copy_design(net, view);
    net->cuts = g_new0(double, MAX(view->n_cuts, 1));
    if (view->n_cuts)
        memcpy(net->cuts, view->cuts, view->n_cuts * sizeof *view->cuts);
    net->mean = g_new0(float, MAX(dim, 1));
    net->inverse = g_new0(float, MAX(dim, 1));
    net->risk_cut = g_new0(double, (size_t)seeds);
    net->epochs = g_new0(int64_t, (size_t)seeds);
}

/* The network's shape for a number of centers. */
static void shape(const LobSavedNet *net, size_t centers, LobNet *out) {
    const LobAggregator *aggregator = lob_aggregator_find(net->kind);
    bool fuse = net->use_covariates || !aggregator->needs_bag;
    lob_net_init_shape(out, aggregator, net->endpoint.kind, net->dim, (size_t)net->hidden,
                       (size_t)net->attention, fuse ? net->n_columns : 0,
                       net->classes ? g_strv_length(net->classes) : 2, net->n_cuts, centers);
    if (net->endpoint.kind == LOB_ENDPOINT_SURVIVAL && net->endpoint.competing)
        lob_net_add_rivals(out);
}

bool lob_saved_net_add(LobSavedNet *net, int seed, const float *weights, size_t n_weights, double cut,
                       int64_t epochs, GError **err) {
    LobNet none;
    size_t d = net->dim;
    shape(net, 0, &none);
    size_t n = n_weights - 2 * d, centers = (n - none.n_params) / none.outputs;
    if (n_weights < 2 * d + none.n_params || (n - none.n_params) % none.outputs ||
        (net->params && n != net->n_params))
        return lob_fail(err, LOB_ERROR_INTERNAL, "a trained model has %zu weights, which fits no shape",
                        n_weights);
    if (!net->params) {
        net->n_params = n;
        net->n_centers = centers;
        net->params = g_new0(float, (size_t)net->seeds *n);
        if (d) {
            memcpy(net->mean, weights, d * sizeof(float));
            memcpy(net->inverse, weights + d, d * sizeof(float));
        }
    }
    if (d && (memcmp(net->mean, weights, d * sizeof(float)) != 0 ||
              memcmp(net->inverse, weights + d, d * sizeof(float)) != 0))
        return lob_fail(err, LOB_ERROR_INTERNAL, "seeds of one model scale the tiles differently");
    memcpy(net->params + (size_t)seed * n, weights + 2 * d, n * sizeof(float));
    net->risk_cut[seed] = cut;
    net->epochs[seed] = epochs;
    return true;
}

/* ---- check ---- */

static bool all_finite(const double *v, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(v[i]))
            return false;
    return true;
}

static bool all_finite_f(const float *v, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(v[i]))
            return false;
    return true;
}

static bool ascending(const double *v, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!(v[i] > (i ? v[i - 1] : 0)))
            return false;
    return true;
}

static bool sizes_fit(const LobSavedNet *net, GError **err) {
    bool survival = net->endpoint.kind == LOB_ENDPOINT_SURVIVAL;
    size_t classes = net->classes ? g_strv_length(net->classes) : 0;
    const LobAggregator *aggregator = lob_aggregator_find(net->kind);
    if (!aggregator)
        return lob_fail(err, LOB_ERROR_INPUT, "models of kind %s are not known to this lobule", net->kind);
    if (net->hidden < 0 || net->attention < 0 || (size_t)net->hidden > MOST_SIDE ||
        (size_t)net->attention > MOST_SIDE || net->dim > MOST_SIDE || net->n_columns > MOST_SIDE ||
        net->n_cuts > MOST_SIDE || net->n_centers > MOST_SIDE || aggregator->needs_bag != (net->dim > 0) ||
        (aggregator->has_attention && (net->hidden == 0 || net->attention == 0)) ||
        (aggregator->takes && !aggregator->takes((size_t)net->hidden, (size_t)net->attention)) ||
        survival != (net->n_cuts > 0) ||
        (survival ? classes != 0
                  : classes < 2 || classes > LOB_MAX_CLASSES ||
                        (net->endpoint.kind == LOB_ENDPOINT_BINARY && classes != 2)))
        return lob_fail(err, LOB_ERROR_INPUT, "endpoint %s, model %s: sizes that do not fit each other",
                        net->endpoint.name, net->kind);
    LobNet s;
    shape(net, net->n_centers, &s);
    return (s.n_params == net->n_params && net->n_params < MOST_WEIGHTS / (size_t)net->seeds) ||
           lob_fail(err, LOB_ERROR_INPUT, "endpoint %s, model %s: %zu weights where its shape has %zu",
                    net->endpoint.name, net->kind, net->n_params, s.n_params);
}

static bool columns_are_sound(const LobSavedNet *net) {
    for (size_t c = 0; c < net->n_columns; c++) {
        const LobDesignColumn *column = &net->columns[c];
        double numbers[] = {column->median, column->mean, column->sd};
        bool number = column->kind == LOB_COLUMN_NUMBER;
        if (!column->covariate || !*column->covariate || (number && !(column->sd > 0)) ||
            !all_finite(numbers, 3) ||
            (column->kind == LOB_COLUMN_LEVEL && (!column->level || !*column->level)))
            return false;
    }
    return true;
}

static bool net_check(const LobSavedNet *net, GError **err) {
    if (!sizes_fit(net, err))
        return false;
    return (columns_are_sound(net) && ascending(net->cuts, net->n_cuts) &&
            all_finite(net->cuts, net->n_cuts) && all_finite_f(net->mean, net->dim) &&
            all_finite_f(net->inverse, net->dim) && all_finite(net->risk_cut, (size_t)net->seeds) &&
            ascending(net->endpoint.horizons, net->endpoint.n_horizons) &&
            all_finite(net->endpoint.horizons, net->endpoint.n_horizons) &&
            all_finite_f(net->params, net->n_params * (size_t)net->seeds)) ||
           lob_fail(err, LOB_ERROR_INPUT, "endpoint %s, model %s: a value that no training gives",
                    net->endpoint.name, net->kind);
}

bool lob_saved_check(const LobSavedModel *model, GError **err) {
    for (size_t i = 0; i < model->n_endpoints * model->n_kinds; i++) {
        const LobSavedNet *net = &model->nets[i], *row = &model->nets[i - i % model->n_kinds];
        if (net->seeds != model->seeds || strcmp(net->kind, model->nets[i % model->n_kinds].kind) != 0 ||
            strcmp(net->endpoint.name, row->endpoint.name) != 0)
            return lob_fail(err, LOB_ERROR_INPUT, "its models are not one of each kind for each endpoint");
        if (!net_check(net, err))
            return false;
    }
    return true;
}

bool lob_saved_needs_bag(const LobSavedNet *net) {
    return net->dim > 0;
}

bool lob_saved_needs_bags(const LobSavedModel *model) {
    for (size_t i = 0; i < model->n_endpoints * model->n_kinds; i++)
        if (lob_saved_needs_bag(&model->nets[i]))
            return true;
    return false;
}

/* ---- bytes ---- */

static void put(GByteArray *bytes, const void *data, size_t size) {
    if (size)
        g_byte_array_append(bytes, data, (guint)size);
}

static void put_count(GByteArray *bytes, size_t n) {
    uint64_t v = GUINT64_TO_LE((uint64_t)n);
    put(bytes, &v, sizeof v);
}

static void put_text(GByteArray *bytes, const char *text) {
    size_t n = text ? strlen(text) : 0;
    put_count(bytes, n);
    put(bytes, text, n);
}

static void put_numbers(GByteArray *bytes, const double *v, size_t n) {
    put_count(bytes, n);
    put(bytes, v, n * sizeof *v);
}

static void append_endpoint(const LobSavedNet *net, GByteArray *bytes) {
    const LobEndpoint *e = &net->endpoint;
    const char *texts[] = {e->name, e->time, e->event, e->competing, e->label, net->kind, net->options};
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
        put_text(bytes, texts[i]);
    put_count(bytes, (size_t)e->kind);
    put_numbers(bytes, &e->landmark, 1);
    put_numbers(bytes, e->horizons, e->n_horizons);
    put_count(bytes, net->classes ? g_strv_length(net->classes) : 0);
    for (size_t k = 0; net->classes && net->classes[k]; k++)
        put_text(bytes, net->classes[k]);
}

static void append_net(const LobSavedNet *net, GByteArray *bytes) {
    append_endpoint(net, bytes);
    const size_t counts[] = {
        (size_t)net->hidden, (size_t)net->attention, net->use_covariates, net->dim, net->n_columns,
        net->n_cuts,         net->n_centers,         net->n_params};
    for (size_t i = 0; i < G_N_ELEMENTS(counts); i++)
        put_count(bytes, counts[i]);
    for (size_t c = 0; c < net->n_columns; c++) {
        const LobDesignColumn *column = &net->columns[c];
        put_count(bytes, (size_t)column->kind);
        put_text(bytes, column->covariate);
        put_text(bytes, column->level);
        put_text(bytes, column->reference);
        put_numbers(bytes, (double[]){column->median, column->mean, column->sd}, 3);
    }
    put_numbers(bytes, net->cuts, net->n_cuts);
    put_numbers(bytes, net->risk_cut, (size_t)net->seeds);
    put(bytes, net->epochs, (size_t)net->seeds * sizeof *net->epochs);
    put(bytes, net->mean, net->dim * sizeof *net->mean);
    put(bytes, net->inverse, net->dim * sizeof *net->inverse);
    put(bytes, net->params, (size_t)net->seeds * net->n_params * sizeof *net->params);
}

void lob_saved_append(const LobSavedModel *model, GByteArray *bytes) {
    put_text(bytes, model->program);
    put_text(bytes, model->study);
    put_text(bytes, model->study_sha256);
    put_count(bytes, model->seed);
    put_count(bytes, (size_t)model->seeds);
    put_count(bytes, model->n_endpoints);
    put_count(bytes, model->n_kinds);
    for (size_t i = 0; i < model->n_endpoints * model->n_kinds; i++)
        append_net(&model->nets[i], bytes);
}

/* ---- end ---- */

void lob_saved_net_clear(LobSavedNet *net) {
    void *owned[] = {net->endpoint.name,  net->endpoint.time,
                     net->endpoint.event, net->endpoint.competing,
                     net->endpoint.label, net->endpoint.horizons,
                     net->kind,           net->options,
                     net->cuts,           net->mean,
                     net->inverse,        net->params,
                     net->risk_cut,       net->epochs};
    for (size_t i = 0; i < G_N_ELEMENTS(owned); i++)
        g_free(owned[i]);
    g_strfreev(net->classes);
    lob_design_clear(net->columns, net->n_columns);
    *net = (LobSavedNet){0};
}

void lob_saved_clear(LobSavedModel *model) {
    for (size_t i = 0; model->nets && i < model->n_endpoints * model->n_kinds; i++)
        lob_saved_net_clear(&model->nets[i]);
    g_free(model->nets);
    g_free(model->program);
    g_free(model->study);
    g_free(model->study_sha256);
    *model = (LobSavedModel){0};
}
