/* What is trained by default, by kind and endpoint, and what a study file changes of it. */
#include "model/model_internal.h"
#include "model/sweep.h"

#define TUNE_ROUNDS 5

/* Survival: small and strongly decayed, tuned on synthetic cohorts of 160 patients, where low variance wins;
 * a higher rate with fewer epochs is as good there at half the cost. */
static const LobModelOptions defaults[] = {
    {.kind = "abmil",
     .hidden = 32,
     .attention = 16,
     .epochs = 40,
     .batch = 16,
     .max_tiles = 4096,
     .lr = 2e-3,
     .weight_decay = 1,
     .dropout = 0.25,
     .rounds = 5,
     .patience = 10,
     .use_covariates = true},
    {.kind = "clam",
     .hidden = 32,
     .attention = 16,
     .epochs = 40,
     .batch = 16,
     .max_tiles = 4096,
     .lr = 2e-3,
     .weight_decay = 1,
     .dropout = 0.25,
     .rounds = 5,
     .patience = 10,
     .use_covariates = true},
    /* Fewer tiles: time grows with their square. */
    {.kind = "transformer",
     .hidden = 32,
     .attention = 4,
     .epochs = 40,
     .batch = 16,
     .max_tiles = 1024,
     .lr = 1e-3,
     .weight_decay = 1,
     .dropout = 0.25,
     .rounds = 5,
     .patience = 10,
     .use_covariates = true},
    {.kind = "mean",
     .epochs = 60,
     .batch = 16,
     .lr = 2e-3,
     .weight_decay = 1,
     .dropout = 0.25,
     .rounds = 5,
     .patience = 20,
     .use_covariates = true},
    {.kind = "clinical",
     .epochs = 200,
     .batch = 32,
     .lr = 1e-2,
     .weight_decay = 0.01,
     .cosine = true,
     .use_covariates = true},
};

/* Labels: too few cases lie in a center left out to judge epochs by, so their number is fixed; a label is
 * known where a survival time is half censored, so the network may be larger. */
static void for_labels(LobModelOptions *options) {
    options->rounds = 0;
    if (options->hidden == 0)
        return;
    bool heads = strcmp(options->kind, "transformer") == 0;
    options->hidden = heads ? 64 : 128;
    options->attention = heads ? 4 : 64;
    options->epochs = 60;
    options->lr = 1e-3;
    options->weight_decay = 0.1;
}

/* A risk set must hold patients of the same center, so a batch is everyone, and steps are few. */
static void for_cox(LobModelOptions *options) {
    options->cox = true;
    options->batch = 1000000;
    options->epochs = 200;
    options->lr = 5e-3;
    options->patience = 30;
}

bool lob_model_defaults_of(const char *kind, LobEndpointKind endpoint, LobModelOptions *options,
                           GError **err) {
    for (size_t i = 0; i < G_N_ELEMENTS(defaults); i++) {
        if (g_strcmp0(defaults[i].kind, kind) != 0)
            continue;
        *options = defaults[i];
        if (endpoint != LOB_ENDPOINT_SURVIVAL)
            for_labels(options);
        return true;
    }
    g_autofree char *known = g_strjoinv(", ", (char **)lob_aggregator_names());
    return lob_fail(err, LOB_ERROR_INPUT, "model.kind: %s is not known (there are: %s)", kind, known);
}

/* A grid is judged by rounds, where a fixed number of epochs needs none. */
static void take_grid(LobModelOptions *options, const LobStudy *study) {
    options->tune_lr = study->model.tune_lr;
    options->n_tune_lr = study->model.n_tune_lr;
    options->tune_weight_decay = study->model.tune_weight_decay;
    options->n_tune_weight_decay = study->model.n_tune_weight_decay;
    if (options->n_tune_lr + options->n_tune_weight_decay > 0 && options->rounds == 0) {
        options->rounds = TUNE_ROUNDS;
        options->patience = options->epochs;
    }
}

/* What no training could honour, said before anything is read. */
static bool options_fit(const LobModelOptions *o, const LobStudy *study, GError **err) {
    const LobAggregator *aggregator = lob_aggregator_find(o->kind);
    if (study->report.attention == 1 && !aggregator->has_attention)
        return lob_fail(err, LOB_ERROR_INPUT,
                        "%s: report.attention: a model of kind %s has no attention to keep; take the line "
                        "away or choose abmil, clam or transformer",
                        study->path, o->kind);
    if (aggregator->takes && !aggregator->takes((size_t)o->hidden, (size_t)o->attention))
        return lob_fail(
            err, LOB_ERROR_INPUT,
            "model: hidden %d cannot be shared out over attention %d heads of a %s; give a multiple",
            o->hidden, o->attention, o->kind);
    return true;
}

static bool take_precision(LobModelOptions *options, const LobStudy *study, GError **err) {
    options->bf16 = g_strcmp0(study->model.precision, "bf16") == 0;
    if (!options->bf16 && g_strcmp0(study->model.precision, "fp32") != 0)
        return lob_fail(err, LOB_ERROR_INPUT, "model.precision: %s is not known (there are: fp32, bf16)",
                        study->model.precision);
    return !options->bf16 || lob_sweep_serves(options) ||
           lob_fail(
               err, LOB_ERROR_INPUT,
               "model.precision: bf16 is for abmil, with the hazard's loss and without a grid; use fp32");
}

bool lob_model_options_from_study(LobModelOptions *options, const LobStudy *study, const char *kind,
                                  LobEndpointKind endpoint, uint64_t seed, GError **err) {
    const bool own = g_strcmp0(kind, study->model.kind) == 0;
    if (!lob_model_defaults_of(kind, endpoint, options, err)) {
        if (own && study->path)
            g_prefix_error(err, "%s:%zu: ", study->path, study->model.kind_line);
        return false;
    }
    options->seed = seed;
    if (own && study->model.loss == LOB_LOSS_COX && endpoint == LOB_ENDPOINT_SURVIVAL)
        for_cox(options);
    options->order_seed = seed;
    /* The study's numbers are meant for its own kind, not for the comparator trained beside it. */
    if (!own)
        return true;
    if (study->model.hidden > 0)
        options->hidden = study->model.hidden;
    if (study->model.attention > 0)
        options->attention = study->model.attention;
    if (study->model.epochs > 0)
        options->epochs = study->model.epochs;
    if (study->model.batch > 0)
        options->batch = study->model.batch;
    if (study->model.max_tiles > 0)
        options->max_tiles = study->model.max_tiles;
    if (study->model.lr > 0)
        options->lr = study->model.lr;
    if (study->model.weight_decay >= 0)
        options->weight_decay = study->model.weight_decay;
    if (study->model.dropout >= 0)
        options->dropout = study->model.dropout;
    take_grid(options, study);
    return take_precision(options, study, err) && options_fit(options, study, err);
}

static void append_values(GString *text, const char *name, const double *values, size_t n) {
    for (size_t i = 0; i < n; i++)
        g_string_append_printf(text, "%s%.17g", i == 0 ? name : " ", values[i]);
}

char *lob_model_options_text(const LobModelOptions *o) {
    g_autoptr(GString) text = g_string_new(NULL);
    g_string_printf(
        text,
        "kind %s, hidden %d, attention %d, epochs %d, batch %d, max_tiles %d, lr %.17g, "
        "weight_decay %.17g, dropout %.17g, schedule %s, rounds %d, patience %d, covariates %s%s%s",
        o->kind, o->hidden, o->attention, o->epochs, o->batch, o->max_tiles, o->lr, o->weight_decay,
        o->dropout, o->cosine ? "cosine" : "constant", o->rounds, o->patience,
        o->use_covariates ? "yes" : "no", o->cox ? ", loss cox" : "", o->bf16 ? ", bf16" : "");
    append_values(text, ", tuned lr ", o->tune_lr, o->n_tune_lr);
    append_values(text, ", tuned weight_decay ", o->tune_weight_decay, o->n_tune_weight_decay);
    return g_string_free(g_steal_pointer(&text), FALSE);
}

bool lob_model_has_attention(const char *kind) {
    const LobAggregator *aggregator = lob_aggregator_find(kind);
    return aggregator && aggregator->has_attention;
}

const char *const *lob_model_kinds(void) {
    return lob_aggregator_names();
}
