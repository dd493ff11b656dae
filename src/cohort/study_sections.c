/* The sections of study.yaml that describe data and endpoints: tables and handlers. */
#include "cohort/study_internal.h"

#include <string.h>

#define DAYS_MAX 1e5

static bool append_text(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    GPtrArray *list = user;
    char *text = NULL;
    if (!lob_yaml_text(yaml, value, key, &text, err))
        return false;
    for (guint i = 0; i < list->len; i++)
        if (strcmp(list->pdata[i], text) == 0) {
            lob_yaml_fail(yaml, value, err, "%s: '%s' stands in the list twice", key, text);
            g_free(text);
            return false;
        }
    g_ptr_array_add(list, text);
    return true;
}

static bool append_file(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    char *path = NULL;
    if (!lob_yaml_file(yaml, value, key, &path, err))
        return false;
    g_ptr_array_add(user, path);
    return true;
}

/* ---- cohort, tiles, tissue, encoder ---- */

static const LobYamlField cohort_fields[] = {
    {.key = "slides", .type = LOB_YAML_FILE, .offset = offsetof(LobStudy, slides), .nullable = true},
    {.key = "patients", .type = LOB_YAML_FILE, .offset = offsetof(LobStudy, patients), .required = true},
};

static const LobYamlField tiles_fields[] = {
    {.key = "mpp", .type = LOB_YAML_REAL, .offset = offsetof(LobStudy, tiles.mpp), .low = 0.05, .high = 50},
    {.key = "size",
     .type = LOB_YAML_INTEGER,
     .offset = offsetof(LobStudy, tiles.size),
     .low = 16,
     .high = 4096},
    {.key = "overlap",
     .type = LOB_YAML_INTEGER,
     .offset = offsetof(LobStudy, tiles.overlap),
     .low = 0,
     .high = 4095},
    {.key = "min_tissue",
     .type = LOB_YAML_REAL,
     .offset = offsetof(LobStudy, tiles.min_tissue),
     .low = 0,
     .high = 1},
    {.key = "max_enlarge",
     .type = LOB_YAML_REAL,
     .offset = offsetof(LobStudy, tiles.max_enlarge),
     .low = 1,
     .high = 16},
    {.key = "max_pen",
     .type = LOB_YAML_REAL,
     .offset = offsetof(LobStudy, tiles.max_pen),
     .low = 0,
     .high = 100},
    {.key = "max_fold",
     .type = LOB_YAML_REAL,
     .offset = offsetof(LobStudy, tiles.max_fold),
     .low = 0,
     .high = 100},
    {.key = "max_blur",
     .type = LOB_YAML_REAL,
     .offset = offsetof(LobStudy, tiles.max_blur),
     .low = 0,
     .high = 100},
    {.key = "max_overexposed",
     .type = LOB_YAML_REAL,
     .offset = offsetof(LobStudy, tiles.max_overexposed),
     .low = 0,
     .high = 100},
};

static const LobYamlField tissue_fields[] = {
    {.key = "method",
     .type = LOB_YAML_TEXT,
     .offset = offsetof(LobStudy, tissue.method),
     .choices = "otsu|hsv|masks"},
    {.key = "masks", .type = LOB_YAML_FILE, .offset = offsetof(LobStudy, tissue.masks), .nullable = true},
    {.key = "mpp", .type = LOB_YAML_REAL, .offset = offsetof(LobStudy, tissue.mpp), .low = 0.5, .high = 100},
    {.key = "keep_holes", .type = LOB_YAML_SWITCH, .offset = offsetof(LobStudy, tissue.keep_holes)},
};

static const LobYamlField stain_fields[] = {
    {.key = "normalise",
     .type = LOB_YAML_TEXT,
     .offset = offsetof(LobStudy, stain.normalise),
     .choices = "none|macenko|reinhard"},
};

static const LobYamlField encoder_fields[] = {
    {.key = "name", .type = LOB_YAML_TEXT, .offset = offsetof(LobStudy, encoder.name)},
    {.key = "weights",
     .type = LOB_YAML_FILE,
     .offset = offsetof(LobStudy, encoder.weights),
     .nullable = true},
    {.key = "config", .type = LOB_YAML_FILE, .offset = offsetof(LobStudy, encoder.config), .nullable = true},
    {.key = "precision",
     .type = LOB_YAML_TEXT,
     .offset = offsetof(LobStudy, encoder.precision),
     .choices = "fp32|bf16"},
    {.key = "batch",
     .type = LOB_YAML_INTEGER,
     .offset = offsetof(LobStudy, encoder.batch),
     .low = 1,
     .high = 4096},
};

bool lob_study_section_cohort(LobYaml *yaml, Node *value, const char *key, void *study, GError **err) {
    return lob_yaml_map(yaml, value, key, cohort_fields, G_N_ELEMENTS(cohort_fields), study, err);
}

bool lob_study_section_tissue(LobYaml *yaml, Node *value, const char *key, void *study, GError **err) {
    return lob_yaml_map(yaml, value, key, tissue_fields, G_N_ELEMENTS(tissue_fields), study, err);
}

bool lob_study_section_stain(LobYaml *yaml, Node *value, const char *key, void *study, GError **err) {
    return lob_yaml_map(yaml, value, key, stain_fields, G_N_ELEMENTS(stain_fields), study, err);
}

bool lob_study_section_encoder(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    LobStudy *study = user;
    g_autofree char *usual = g_steal_pointer(&study->encoder.name);
    const bool ok = lob_yaml_map(yaml, value, key, encoder_fields, G_N_ELEMENTS(encoder_fields), study, err);
    if (study->encoder.config)
        study->encoder.stored = lob_path_stem(study->encoder.config, ".yaml");
    if (!study->encoder.name)
        study->encoder.name =
            study->encoder.config ? g_strdup(study->encoder.stored) : g_steal_pointer(&usual);
    return ok;
}

bool lob_study_section_tiles(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    LobStudy *study = user;
    if (!lob_yaml_map(yaml, value, key, tiles_fields, G_N_ELEMENTS(tiles_fields), study, err))
        return false;
    if (study->tiles.overlap >= study->tiles.size)
        return lob_yaml_fail(yaml, value, err, "%s.overlap: %d pixels, expected less than the size (%d)", key,
                             study->tiles.overlap, study->tiles.size);
    return true;
}

bool lob_study_section_features(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    LobStudy *study = user;
    if (lob_yaml_is_null(value))
        return true;
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(g_free);
    if (value->type == YAML_SEQUENCE_NODE) {
        if (!lob_yaml_items(yaml, value, key, append_file, list, err))
            return false;
        if (list->len == 0)
            return lob_yaml_fail(yaml, value, err, "%s: an empty list; expected stores, a folder, or null",
                                 key);
    } else if (!append_file(yaml, value, key, list, err)) {
        return false;
    }
    g_ptr_array_add(list, NULL);
    study->features = (char **)g_ptr_array_steal(list, NULL);
    return true;
}

/* ---- endpoints ---- */

static bool append_horizon(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    GArray *list = user;
    double days = 0;
    if (!lob_yaml_real(yaml, value, key, 0, DAYS_MAX, &days, err))
        return false;
    if (days <= 0 || (list->len > 0 && days <= g_array_index(list, double, list->len - 1)))
        return lob_yaml_fail(yaml, value, err, "%s: %g; expected days above 0, ascending", key, days);
    g_array_append_val(list, days);
    return true;
}

static bool read_horizons(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    LobEndpoint *endpoint = user;
    g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(double));
    if (!lob_yaml_items(yaml, value, key, append_horizon, list, err))
        return false;
    g_free(endpoint->horizons);
    endpoint->n_horizons = list->len;
    /* Never NULL once the key was given: an empty list asks for no horizon, not for the default. */
    endpoint->horizons = g_new(double, list->len + 1);
    if (list->len > 0)
        memcpy(endpoint->horizons, list->data, list->len * sizeof(double));
    return true;
}

static bool read_kind(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    static const char *const names[] = {"survival", "binary", "multiclass"};
    LobEndpoint *endpoint = user;
    g_autofree char *text = NULL;
    if (!lob_yaml_text(yaml, value, key, &text, err))
        return false;
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        if (strcmp(names[i], text) == 0) {
            endpoint->kind = (LobEndpointKind)i;
            return true;
        }
    return lob_yaml_fail(yaml, value, err, "%s: expected one of survival|binary|multiclass, found '%s'", key,
                         text);
}

static const LobYamlField endpoint_fields[] = {
    {.key = "name", .type = LOB_YAML_TEXT, .offset = offsetof(LobEndpoint, name), .required = true},
    {.key = "kind", .type = LOB_YAML_CUSTOM, .handler = read_kind},
    {.key = "time", .type = LOB_YAML_TEXT, .offset = offsetof(LobEndpoint, time)},
    {.key = "event", .type = LOB_YAML_TEXT, .offset = offsetof(LobEndpoint, event)},
    {.key = "competing", .type = LOB_YAML_TEXT, .offset = offsetof(LobEndpoint, competing), .nullable = true},
    {.key = "label", .type = LOB_YAML_TEXT, .offset = offsetof(LobEndpoint, label)},
    {.key = "landmark",
     .type = LOB_YAML_REAL,
     .offset = offsetof(LobEndpoint, landmark),
     .low = 0,
     .high = DAYS_MAX},
    {.key = "horizons", .type = LOB_YAML_CUSTOM, .handler = read_horizons},
};

void lob_study_clear_endpoint(gpointer data) {
    LobEndpoint *endpoint = data;
    g_free(endpoint->name);
    g_free(endpoint->time);
    g_free(endpoint->event);
    g_free(endpoint->competing);
    g_free(endpoint->label);
    g_strfreev(endpoint->classes);
    g_free(endpoint->horizons);
}

static bool complete_endpoint(LobYaml *yaml, Node *value, const char *key, LobEndpoint *endpoint,
                              GError **err) {
    if (endpoint->kind != LOB_ENDPOINT_SURVIVAL) {
        if (endpoint->label == NULL)
            return lob_yaml_fail(yaml, value, err, "%s.label: this key is required for classes", key);
        if (endpoint->time != NULL || endpoint->event != NULL || endpoint->competing != NULL ||
            endpoint->landmark > 0 || endpoint->horizons != NULL)
            return lob_yaml_fail(
                yaml, value, err,
                "%s: time, event, competing, landmark and horizons are for kind: survival only", key);
        return true;
    }
    if (endpoint->label != NULL)
        return lob_yaml_fail(yaml, value, err, "%s.label: is for kind: binary or multiclass only", key);
    if (endpoint->time == NULL || endpoint->event == NULL)
        return lob_yaml_fail(yaml, value, err, "%s.%s: this key is required for survival", key,
                             endpoint->time == NULL ? "time" : "event");
    if (endpoint->horizons == NULL) {
        endpoint->n_horizons = 2;
        endpoint->horizons = g_new(double, 2);
        endpoint->horizons[0] = 730;
        endpoint->horizons[1] = 1825;
    }
    return true;
}

static bool append_endpoint(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    GArray *list = user;
    LobEndpoint endpoint = {.kind = LOB_ENDPOINT_SURVIVAL};
    bool ok =
        lob_yaml_map(yaml, value, key, endpoint_fields, G_N_ELEMENTS(endpoint_fields), &endpoint, err) &&
        complete_endpoint(yaml, value, key, &endpoint, err);
    for (guint i = 0; ok && i < list->len; i++)
        if (strcmp(g_array_index(list, LobEndpoint, i).name, endpoint.name) == 0)
            ok = lob_yaml_fail(yaml, value, err, "%s.name: '%s' names two endpoints", key, endpoint.name);
    if (!ok) {
        lob_study_clear_endpoint(&endpoint);
        return false;
    }
    g_array_append_val(list, endpoint);
    return true;
}

bool lob_study_section_endpoints(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    LobStudy *study = user;
    g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(LobEndpoint));
    g_array_set_clear_func(list, lob_study_clear_endpoint);
    if (!lob_yaml_items(yaml, value, key, append_endpoint, list, err))
        return false;
    study->n_endpoints = list->len;
    study->endpoints = (LobEndpoint *)(void *)g_array_steal(list, NULL);
    return true;
}

/* ---- eligible, covariates ---- */

bool lob_study_append_filter(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    g_autofree char *text = NULL;
    g_autoptr(GError) error = NULL;
    LobFilter filter = {0};
    if (!lob_yaml_text(yaml, value, key, &text, err))
        return false;
    if (!lob_filter_parse(text, &filter, &error))
        return lob_yaml_fail(yaml, value, err, "%s: %s", key, error->message);
    g_array_append_val((GArray *)user, filter);
    return true;
}

void lob_study_clear_filter(gpointer data) {
    LobFilter *filter = data;
    g_free(filter->column);
    g_free(filter->op);
    g_free(filter->value);
}

bool lob_study_section_eligible(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    LobStudy *study = user;
    g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(LobFilter));
    g_array_set_clear_func(list, lob_study_clear_filter);
    if (!lob_yaml_items(yaml, value, key, lob_study_append_filter, list, err))
        return false;
    study->n_eligible = list->len;
    study->eligible = (LobFilter *)(void *)g_array_steal(list, NULL);
    return true;
}

bool lob_study_section_covariates(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    LobStudy *study = user;
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(g_free);
    if (!lob_yaml_items(yaml, value, key, append_text, list, err))
        return false;
    study->n_covariates = list->len;
    study->covariates = (char **)g_ptr_array_steal(list, NULL);
    return true;
}

bool lob_study_section_imaging(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    LobStudy *study = user;
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(g_free);
    if (!lob_yaml_items(yaml, value, key, append_text, list, err))
        return false;
    study->n_imaging = list->len;
    study->imaging = (char **)g_ptr_array_steal(list, NULL);
    return true;
}

/* ---- report ---- */

static bool read_patients(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    char ***patients = user;
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(g_free);
    if (!lob_yaml_items(yaml, value, key, append_text, list, err))
        return false;
    g_ptr_array_add(list, NULL);
    *patients = (char **)g_ptr_array_steal(list, NULL);
    return true;
}

static bool read_attention(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    bool kept = false;
    if (!lob_yaml_switch(yaml, value, key, &kept, err))
        return false;
    *(int *)user = kept;
    return true;
}

static const LobYamlField report_fields[] = {
    {.key = "heatmaps",
     .type = LOB_YAML_INTEGER,
     .offset = offsetof(LobStudy, report.heatmaps),
     .high = 1000},
    {.key = "patients",
     .type = LOB_YAML_CUSTOM,
     .offset = offsetof(LobStudy, report.patients),
     .handler = read_patients},
    {.key = "regions", .type = LOB_YAML_FILE, .offset = offsetof(LobStudy, report.regions), .nullable = true},
    {.key = "attention",
     .type = LOB_YAML_CUSTOM,
     .offset = offsetof(LobStudy, report.attention),
     .handler = read_attention},
};

bool lob_study_section_report(LobYaml *yaml, Node *value, const char *key, void *study, GError **err) {
    return lob_yaml_map(yaml, value, key, report_fields, G_N_ELEMENTS(report_fields), study, err);
}

/* ---- arms ---- */

static bool append_code(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    double code = 0;
    if (!lob_yaml_real(yaml, value, key, 0, 1, &code, err))
        return false;
    if (code != 0 && code != 1)
        return lob_yaml_fail(yaml, value, err, "%s: expected 0 or 1, found %g", key, code);
    int whole = (int)code;
    g_array_append_val((GArray *)user, whole);
    return true;
}

static bool append_level(LobYaml *yaml, Node *value, const char *name, void *user, GError **err) {
    GArray *list = user;
    g_autoptr(GArray) code = g_array_new(FALSE, FALSE, sizeof(int));
    g_autofree char *key = g_strdup_printf("arms.levels.%s", name);
    if (!lob_yaml_items(yaml, value, key, append_code, code, err))
        return false;
    if (code->len != 2)
        return lob_yaml_fail(yaml, value, err, "%s: expected a code of two numbers, such as [1, 0]", key);
    LobArmLevel level = {.code = {g_array_index(code, int, 0), g_array_index(code, int, 1)}};
    for (guint i = 0; i < list->len; i++) {
        const LobArmLevel *other = &g_array_index(list, LobArmLevel, i);
        if (other->code[0] == level.code[0] && other->code[1] == level.code[1])
            return lob_yaml_fail(yaml, value, err, "%s: has the same code as '%s'", key, other->name);
    }
    level.name = g_strdup(name);
    g_array_append_val(list, level);
    return true;
}

void lob_study_clear_level(gpointer data) {
    LobArmLevel *level = data;
    g_free(level->name);
    g_free(level->start_column);
}

static bool read_levels(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    LobStudy *study = user;
    g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(LobArmLevel));
    g_array_set_clear_func(list, lob_study_clear_level);
    if (!lob_yaml_pairs(yaml, value, key, append_level, list, err))
        return false;
    if (list->len < 2)
        return lob_yaml_fail(yaml, value, err, "%s: expected at least two levels", key);
    study->n_arms = list->len;
    study->arms = (LobArmLevel *)(void *)g_array_steal(list, NULL);
    return true;
}

static bool set_start(LobYaml *yaml, Node *value, const char *name, void *user, GError **err) {
    LobStudy *study = user;
    g_autofree char *key = g_strdup_printf("arms.start.%s", name);
    for (size_t i = 0; i < study->n_arms; i++)
        if (strcmp(study->arms[i].name, name) == 0) {
            if (study->arms[i].code[0] == 0 && study->arms[i].code[1] == 0)
                return lob_yaml_fail(yaml, value, err, "%s: an arm with code [0, 0] has nothing to start",
                                     key);
            return lob_yaml_text(yaml, value, key, &study->arms[i].start_column, err);
        }
    return lob_yaml_fail(yaml, value, err, "%s: no such level in arms.levels", key);
}

/* Read after the levels, wherever it stands in the file. */
static bool keep_node(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    (void)yaml, (void)key, (void)err;
    *(Node **)user = value;
    return true;
}

bool lob_study_section_arms(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    LobStudy *study = user;
    struct {
        char *column;
        Node *levels, *start;
    } arms = {0};
    const LobYamlField fields[] = {
        {.key = "column", .type = LOB_YAML_TEXT, .offset = 0, .required = true},
        {.key = "levels",
         .type = LOB_YAML_CUSTOM,
         .offset = offsetof(__typeof__(arms), levels),
         .required = true,
         .handler = keep_node},
        {.key = "start",
         .type = LOB_YAML_CUSTOM,
         .offset = offsetof(__typeof__(arms), start),
         .nullable = true,
         .handler = keep_node},
    };
    if (lob_yaml_is_null(value))
        return true;
    bool ok = lob_yaml_map(yaml, value, key, fields, G_N_ELEMENTS(fields), &arms, err) &&
              read_levels(yaml, arms.levels, "arms.levels", study, err) &&
              (arms.start == NULL || lob_yaml_pairs(yaml, arms.start, "arms.start", set_start, study, err));
    study->arm_column = arms.column;
    return ok;
}
