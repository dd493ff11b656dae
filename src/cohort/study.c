/* study.yaml: how a study is analysed, the root, defaults. */
#include "cohort/study_internal.h"

#include <math.h>
#include <string.h>

#define STUDY_BYTES_MAX ((size_t)1 << 20)

/* ---- model, validation ---- */

static bool read_loss(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    LobSurvivalLoss *loss = user;
    g_autofree char *text = NULL;
    if (!lob_yaml_text(yaml, value, key, &text, err))
        return false;
    if (strcmp(text, "hazards") != 0 && strcmp(text, "cox") != 0)
        return lob_yaml_fail(yaml, value, err, "%s: expected one of hazards|cox, found '%s'", key, text);
    *loss = strcmp(text, "cox") == 0 ? LOB_LOSS_COX : LOB_LOSS_HAZARDS;
    return true;
}

static bool append_candidate(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    GArray *list = user;
    double number = 0;
    if (!lob_yaml_real(yaml, value, key, 0, 100, &number, err))
        return false;
    if (list->len == LOB_TUNE_MAX)
        return lob_yaml_fail(yaml, value, err, "%s: at most %d values are tried", key, LOB_TUNE_MAX);
    g_array_append_val(list, number);
    return true;
}

static bool read_candidates(LobYaml *yaml, Node *value, const char *key, double *values, size_t *n,
                            GError **err) {
    g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(double));
    if (!lob_yaml_items(yaml, value, key, append_candidate, list, err))
        return false;
    *n = list->len;
    if (list->len > 0)
        memcpy(values, list->data, list->len * sizeof *values);
    return true;
}

static bool read_tune_lr(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    LobStudy *study = user;
    if (!read_candidates(yaml, value, key, study->model.tune_lr, &study->model.n_tune_lr, err))
        return false;
    for (size_t i = 0; i < study->model.n_tune_lr; i++)
        if (!(study->model.tune_lr[i] > 0))
            return lob_yaml_fail(yaml, value, err, "%s: a learning rate is above 0", key);
    return true;
}

static bool read_tune_weight_decay(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    LobStudy *study = user;
    return read_candidates(yaml, value, key, study->model.tune_weight_decay,
                           &study->model.n_tune_weight_decay, err);
}

static const LobYamlField tune_fields[] = {
    {.key = "lr", .type = LOB_YAML_CUSTOM, .handler = read_tune_lr},
    {.key = "weight_decay", .type = LOB_YAML_CUSTOM, .handler = read_tune_weight_decay},
};

static bool read_tune(LobYaml *yaml, Node *value, const char *key, void *study, GError **err) {
    return lob_yaml_is_null(value) ||
           lob_yaml_map(yaml, value, key, tune_fields, G_N_ELEMENTS(tune_fields), study, err);
}

/* 0 = the model's own default, so ranges start there; dropout and weight decay may truly be 0. */
static const LobYamlField model_fields[] = {
    {.key = "kind", .type = LOB_YAML_TEXT, .offset = offsetof(LobStudy, model.kind)},
    {.key = "loss", .type = LOB_YAML_CUSTOM, .offset = offsetof(LobStudy, model.loss), .handler = read_loss},
    {.key = "tune", .type = LOB_YAML_CUSTOM, .handler = read_tune},
    {.key = "benefit", .type = LOB_YAML_CUSTOM, .handler = lob_study_read_benefit},
    {.key = "biomarker",
     .type = LOB_YAML_TEXT,
     .offset = offsetof(LobStudy, model.biomarker),
     .nullable = true},
    {.key = "epochs", .type = LOB_YAML_INTEGER, .offset = offsetof(LobStudy, model.epochs), .high = 100000},
    {.key = "hidden", .type = LOB_YAML_INTEGER, .offset = offsetof(LobStudy, model.hidden), .high = 65536},
    {.key = "attention",
     .type = LOB_YAML_INTEGER,
     .offset = offsetof(LobStudy, model.attention),
     .high = 65536},
    {.key = "intervals",
     .type = LOB_YAML_INTEGER,
     .offset = offsetof(LobStudy, model.intervals),
     .high = 1000},
    {.key = "batch", .type = LOB_YAML_INTEGER, .offset = offsetof(LobStudy, model.batch), .high = 1000000},
    {.key = "precision", .type = LOB_YAML_TEXT, .offset = offsetof(LobStudy, model.precision)},
    {.key = "max_tiles",
     .type = LOB_YAML_INTEGER,
     .offset = offsetof(LobStudy, model.max_tiles),
     .high = 100000000},
    {.key = "max_tiles_slide",
     .type = LOB_YAML_INTEGER,
     .offset = offsetof(LobStudy, model.max_tiles_slide),
     .high = 100000000},
    {.key = "lr", .type = LOB_YAML_REAL, .offset = offsetof(LobStudy, model.lr), .high = 10},
    {.key = "weight_decay",
     .type = LOB_YAML_REAL,
     .offset = offsetof(LobStudy, model.weight_decay),
     .high = 100},
    {.key = "dropout", .type = LOB_YAML_REAL, .offset = offsetof(LobStudy, model.dropout), .high = 0.95},
};

static bool read_model(LobYaml *yaml, Node *value, const char *key, void *study, GError **err) {
    return lob_yaml_map(yaml, value, key, model_fields, G_N_ELEMENTS(model_fields), study, err);
}

static bool read_scheme(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    LobScheme *scheme = user;
    g_autofree char *text = NULL;
    if (!lob_yaml_text(yaml, value, key, &text, err))
        return false;
    static const char *const names[] = {"loco", "folds", "preserved"};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        if (strcmp(text, names[i]) == 0) {
            *scheme = (LobScheme)i;
            return true;
        }
    return lob_yaml_fail(yaml, value, err, "%s: expected one of loco|folds|preserved, found '%s'", key, text);
}

static const LobYamlField validation_fields[] = {
    {.key = "scheme",
     .type = LOB_YAML_CUSTOM,
     .offset = offsetof(LobStudy, validation.scheme),
     .handler = read_scheme},
    {.key = "file", .type = LOB_YAML_FILE, .offset = offsetof(LobStudy, validation.file), .nullable = true},
    {.key = "folds", .type = LOB_YAML_INTEGER, .offset = offsetof(LobStudy, validation.folds), .high = 1000},
    {.key = "seeds",
     .type = LOB_YAML_INTEGER,
     .offset = offsetof(LobStudy, validation.seeds),
     .low = 1,
     .high = 1000},
    {.key = "bootstrap",
     .type = LOB_YAML_INTEGER,
     .offset = offsetof(LobStudy, validation.bootstrap),
     .high = 1000000},
    {.key = "seed", .type = LOB_YAML_SEED, .offset = offsetof(LobStudy, validation.seed)},
};

static bool read_validation(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    LobStudy *study = user;
    if (!lob_yaml_map(yaml, value, key, validation_fields, G_N_ELEMENTS(validation_fields), study, err))
        return false;
    if (study->validation.scheme == LOB_SCHEME_FOLDS && study->validation.file == NULL)
        return lob_yaml_fail(yaml, value, err, "%s.file: scheme: folds needs the file with the folds", key);
    if ((study->validation.scheme == LOB_SCHEME_PRESERVED) != (study->validation.folds > 0))
        return lob_yaml_fail(yaml, value, err, "%s.folds: belongs to scheme: preserved, which needs it", key);
    if (study->validation.folds == 1)
        return lob_yaml_fail(yaml, value, err, "%s.folds: at least 2", key);
    if (study->validation.scheme != LOB_SCHEME_FOLDS && study->validation.file != NULL)
        return lob_yaml_fail(yaml, value, err, "%s.file: is read under scheme: folds only", key);
    return true;
}

/* ---- centers, site ---- */

static const LobYamlField center_fields[] = {
    {.key = "mpp",
     .type = LOB_YAML_REAL,
     .offset = offsetof(LobCenterOverride, mpp),
     .low = 0.01,
     .high = 100},
    {.key = "path_root", .type = LOB_YAML_FILE, .offset = offsetof(LobCenterOverride, path_root)},
};

static void clear_center(gpointer data) {
    LobCenterOverride *center = data;
    g_free(center->center);
    g_free(center->path_root);
}

static bool append_center(LobYaml *yaml, Node *value, const char *name, void *user, GError **err) {
    LobCenterOverride center = {0};
    g_autofree char *key = g_strdup_printf("centers.%s", name);
    if (!lob_yaml_map(yaml, value, key, center_fields, G_N_ELEMENTS(center_fields), &center, err)) {
        clear_center(&center);
        return false;
    }
    center.center = g_strdup(name);
    g_array_append_val((GArray *)user, center);
    return true;
}

static bool read_centers(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    LobStudy *study = user;
    g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(LobCenterOverride));
    g_array_set_clear_func(list, clear_center);
    if (!lob_yaml_pairs(yaml, value, key, append_center, list, err))
        return false;
    study->n_centers = list->len;
    study->centers = (LobCenterOverride *)(void *)g_array_steal(list, NULL);
    return true;
}

static const LobYamlField site_fields[] = {
    {.key = "mpiio", .type = LOB_YAML_TEXT, .offset = offsetof(LobStudy, site.mpiio), .nullable = true},
    {.key = "stripe_count",
     .type = LOB_YAML_INTEGER,
     .offset = offsetof(LobStudy, site.stripe_count),
     .high = 10000},
    {.key = "reader_seconds",
     .type = LOB_YAML_REAL,
     .offset = offsetof(LobStudy, site.reader_seconds),
     .low = 0.1,
     .high = 86400},
    {.key = "reader_gib",
     .type = LOB_YAML_REAL,
     .offset = offsetof(LobStudy, site.reader_gib),
     .low = 0.25,
     .high = 1024},
    {.key = "lease_seconds",
     .type = LOB_YAML_REAL,
     .offset = offsetof(LobStudy, site.lease_seconds),
     .low = 0.1,
     .high = 3600},
    {.key = "groups", .type = LOB_YAML_INTEGER, .offset = offsetof(LobStudy, site.groups), .high = 1000000},
    {.key = "memory_gib", .type = LOB_YAML_REAL, .offset = offsetof(LobStudy, site.memory_gib), .high = 1e6},
    {.key = "stream", .type = LOB_YAML_TEXT, .offset = offsetof(LobStudy, site.stream), .nullable = true},
    {.key = "shared_writes", .type = LOB_YAML_SWITCH, .offset = offsetof(LobStudy, site.shared_writes)},
};

static void site_defaults(LobStudy *study) {
    g_clear_pointer(&study->site.mpiio, g_free);
    g_clear_pointer(&study->site.stream, g_free);
    study->site.groups = 0;
    study->site.memory_gib = 0;
    study->site.stripe_count = 0;
    study->site.reader_seconds = 60;
    study->site.reader_gib = 4;
    study->site.lease_seconds = 30;
    study->site.shared_writes = false;
}

bool lob_study_read_site(LobStudy *study, const char *path, GError **err) {
    g_auto(LobYaml) yaml = {0};
    if (!lob_yaml_load(&yaml, path, err))
        return false;
    site_defaults(study);
    return lob_yaml_map(&yaml, lob_yaml_root(&yaml), "", site_fields, G_N_ELEMENTS(site_fields), study, err);
}

static bool read_site(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    LobStudy *study = user;
    if (lob_yaml_is_null(value))
        return true;
    if (value->type == YAML_MAPPING_NODE)
        return lob_yaml_map(yaml, value, key, site_fields, G_N_ELEMENTS(site_fields), study, err);
    g_autofree char *path = NULL;
    return lob_yaml_file(yaml, value, key, &path, err) && lob_study_read_site(study, path, err);
}

/* ---- the root ---- */

static const LobYamlField root_fields[] = {
    {.key = "study", .type = LOB_YAML_TEXT, .offset = offsetof(LobStudy, name), .required = true},
    {.key = "cohort", .type = LOB_YAML_CUSTOM, .required = true, .handler = lob_study_section_cohort},
    {.key = "tiles", .type = LOB_YAML_CUSTOM, .handler = lob_study_section_tiles},
    {.key = "tissue", .type = LOB_YAML_CUSTOM, .handler = lob_study_section_tissue},
    {.key = "stain", .type = LOB_YAML_CUSTOM, .handler = lob_study_section_stain},
    {.key = "encoder", .type = LOB_YAML_CUSTOM, .handler = lob_study_section_encoder},
    {.key = "features", .type = LOB_YAML_CUSTOM, .handler = lob_study_section_features},
    {.key = "endpoints", .type = LOB_YAML_CUSTOM, .handler = lob_study_section_endpoints},
    {.key = "eligible", .type = LOB_YAML_CUSTOM, .handler = lob_study_section_eligible},
    {.key = "arms", .type = LOB_YAML_CUSTOM, .handler = lob_study_section_arms},
    {.key = "covariates", .type = LOB_YAML_CUSTOM, .handler = lob_study_section_covariates},
    {.key = "imaging", .type = LOB_YAML_CUSTOM, .handler = lob_study_section_imaging},
    {.key = "centers", .type = LOB_YAML_CUSTOM, .handler = read_centers},
    {.key = "model", .type = LOB_YAML_CUSTOM, .handler = read_model},
    {.key = "validation", .type = LOB_YAML_CUSTOM, .handler = read_validation},
    {.key = "report", .type = LOB_YAML_CUSTOM, .handler = lob_study_section_report},
    {.key = "site", .type = LOB_YAML_CUSTOM, .handler = read_site},
    {.key = "output", .type = LOB_YAML_PATH, .offset = offsetof(LobStudy, output)},
};

static LobStudy *study_with_defaults(const char *path) {
    LobStudy *study = g_new0(LobStudy, 1);
    study->path = g_strdup(path);
    study->tiles.mpp = 0.5;
    study->tiles.size = 224;
    study->tiles.min_tissue = 0.25;
    study->tiles.max_enlarge = 1.1;
    study->tiles.max_pen = study->tiles.max_fold = study->tiles.max_blur = study->tiles.max_overexposed = 100;
    study->stain.normalise = g_strdup("none");
    study->tissue.method = g_strdup("otsu");
    study->tissue.mpp = 8;
    study->tissue.keep_holes = true;
    study->encoder.name = g_strdup("texture");
    study->encoder.precision = g_strdup("fp32");
    study->encoder.batch = 16;
    study->model.kind = g_strdup("abmil");
    study->model.benefit = true;
    study->model.wish.margin_days = 30;
    study->model.weight_decay = -1;
    study->model.precision = g_strdup("fp32");
    study->model.dropout = -1;
    study->validation.scheme = LOB_SCHEME_LOCO;
    study->validation.seeds = 5;
    study->validation.bootstrap = 1000;
    study->validation.seed = 1;
    study->report.heatmaps = 1;
    study->report.attention = -1;
    study->output = lob_path_beside(path, "out");
    site_defaults(study);
    return study;
}

/* What no single key can say. */
static bool has_survival(const LobStudy *study) {
    for (size_t e = 0; e < study->n_endpoints; e++)
        if (study->endpoints[e].kind == LOB_ENDPOINT_SURVIVAL)
            return true;
    return study->n_endpoints == 0;
}

static bool check_whole(LobYaml *yaml, const LobStudy *study, GError **err) {
    Node *root = lob_yaml_root(yaml);
    bool masks = strcmp(study->tissue.method, "masks") == 0;
    if (study->slides == NULL && study->features == NULL)
        return lob_yaml_fail(yaml, root, err,
                             "cohort.slides: this key is required unless features are given");
    if (masks && study->tissue.masks == NULL)
        return lob_yaml_fail(yaml, root, err, "tissue.masks: method: masks needs the folder with the masks");
    if (!masks && study->tissue.masks != NULL)
        return lob_yaml_fail(yaml, root, err, "tissue.masks: is read under tissue.method: masks only");
    if (study->n_imaging > 0 && study->n_arms > 0 && study->model.benefit)
        return lob_yaml_fail(yaml, root, err,
                             "imaging: who benefits is asked of image and covariates alone; use it with "
                             "model.benefit: no");
    if (!lob_study_check_benefit(yaml, study, err))
        return false;
    if (study->model.loss == LOB_LOSS_COX && !has_survival(study))
        return lob_yaml_fail(yaml, lob_yaml_root(yaml), err,
                             "model.loss: cox is for endpoints of kind: survival, and there is none");
    return true;
}

static LobStudy *study_from(LobYaml *yaml, const char *path, const char *output, GError **err) {
    g_autoptr(LobStudy) study = study_with_defaults(path);
    if (!lob_yaml_map(yaml, lob_yaml_root(yaml), "", root_fields, G_N_ELEMENTS(root_fields), study, err) ||
        !check_whole(yaml, study, err))
        return NULL;
    if (output != NULL) {
        g_free(study->output);
        study->output = g_strdup(output);
    }
    study->model.benefit = study->model.benefit && study->n_arms > 0;
    study->text_sha256 = g_strdup(yaml->sha256);
    if (!study->encoder.stored)
        study->encoder.stored = g_strdup(study->encoder.name);
    study->model.kind_line = lob_yaml_at(yaml, "model.kind")->start_mark.line + 1;
    study->encoder.line = lob_yaml_at(yaml, "encoder.name")->start_mark.line + 1;
    return g_steal_pointer(&study);
}

LobStudy *lob_study_parse(const char *path, const char *data, size_t size, const char *output, GError **err) {
    g_auto(LobYaml) yaml = {0};
    return lob_yaml_parse(&yaml, path, data, size, err) ? study_from(&yaml, path, output, err) : NULL;
}

LobStudy *lob_study_read(const char *path, const char *output, GError **err) {
    size_t size = 0;
    g_autofree char *data = lob_file_read(path, STUDY_BYTES_MAX, &size, err);
    return data != NULL ? lob_study_parse(path, data, size, output, err) : NULL;
}

void lob_study_set_endpoints(LobStudy *study, LobEndpoint *endpoints, size_t n) {
    for (size_t i = 0; i < study->n_endpoints; i++)
        lob_study_clear_endpoint(&study->endpoints[i]);
    g_free(study->endpoints);
    study->endpoints = endpoints;
    study->n_endpoints = n;
}

static void free_parts(LobStudy *study) {
    lob_study_set_endpoints(study, NULL, 0);
    for (size_t i = 0; i < study->n_eligible; i++)
        lob_study_clear_filter(&study->eligible[i]);
    for (size_t i = 0; i < study->n_arms; i++)
        lob_study_clear_level(&study->arms[i]);
    for (size_t i = 0; i < study->n_covariates; i++)
        g_free(study->covariates[i]);
    for (size_t i = 0; i < study->n_imaging; i++)
        g_free(study->imaging[i]);
    for (size_t i = 0; i < study->n_centers; i++)
        clear_center(&study->centers[i]);
    lob_study_clear_wish(&study->model.wish);
    g_free(study->eligible);
    g_free(study->arms);
    g_free(study->covariates);
    g_free(study->imaging);
    g_free(study->centers);
    g_strfreev(study->features);
    g_strfreev(study->report.patients);
}

void lob_study_free(LobStudy *study) {
    if (study == NULL)
        return;
    free_parts(study);
    g_free(study->path);
    g_free(study->name);
    g_free(study->slides);
    g_free(study->patients);
    g_free(study->tissue.method);
    g_free(study->stain.normalise);
    g_free(study->tissue.masks);
    g_free(study->encoder.name);
    g_free(study->encoder.stored);
    g_free(study->encoder.weights);
    g_free(study->encoder.config);
    g_free(study->encoder.precision);
    g_free(study->model.precision);
    g_free(study->arm_column);
    g_free(study->model.kind);
    g_free(study->model.biomarker);
    g_free(study->validation.file);
    g_free(study->report.regions);
    g_free(study->site.mpiio);
    g_free(study->site.stream);
    g_free(study->output);
    g_free(study->text_sha256);
    g_free(study);
}

char *lob_study_out(const LobStudy *study, const char *name) {
    return g_build_filename(study->output, name, NULL);
}
