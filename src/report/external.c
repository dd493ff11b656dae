/* The page of a locked model on a cohort it was not made from. What the model was stands in external.json
 * beside its tables; the study file says what the new cohort is, and nothing about the model. */
#include "report/report_internal.h"

#include <jansson.h>
#include <string.h>

static json_t *load(const char *out, GError **err) {
    g_autofree char *path = g_build_filename(out, "external.json", NULL);
    json_error_t problem;
    if (!g_file_test(path, G_FILE_TEST_EXISTS))
        return NULL;
    json_t *json = json_load_file(path, 0, &problem);
    if (!json_string_value(json_object_get(json, "model_sha256")) ||
        !json_is_array(json_object_get(json, "endpoints"))) {
        lob_fail(err, LOB_ERROR_INPUT, "%s: not what lobule predict writes; run it again", path);
        json_decref(json);
        return NULL;
    }
    return json;
}

static void take_text(char **to, const json_t *value) {
    if (!json_string_value(value))
        return;
    g_free(*to);
    *to = g_strdup(json_string_value(value));
}

static const LobEndpoint *named(const LobEndpoint *endpoints, size_t n, const char *name) {
    for (size_t e = 0; e < n; e++)
        if (g_strcmp0(endpoints[e].name, name) == 0)
            return &endpoints[e];
    return NULL;
}

/* The model's endpoint; where its outcome stands is the new study's to say. */
static LobEndpoint endpoint_of(const json_t *json, const LobEndpoint *there) {
    const json_t *horizons = json_object_get(json, "horizons"), *classes = json_object_get(json, "classes");
    LobEndpoint e = {.name = g_strdup(json_string_value(json_object_get(json, "name"))),
                     .kind = (LobEndpointKind)json_integer_value(json_object_get(json, "kind")),
                     .landmark = json_number_value(json_object_get(json, "landmark")),
                     .n_horizons = json_array_size(horizons),
                     .horizons = g_new0(double, json_array_size(horizons) + 1)};
    for (size_t h = 0; h < e.n_horizons; h++)
        e.horizons[h] = json_number_value(json_array_get(horizons, h));
    if (json_array_size(classes) > 0)
        e.classes = g_new0(char *, json_array_size(classes) + 1);
    for (size_t k = 0; k < json_array_size(classes); k++)
        e.classes[k] = g_strdup(json_string_value(json_array_get(classes, k)));
    if (there) {
        e.time = g_strdup(there->time);
        e.event = g_strdup(there->event);
        e.competing = g_strdup(there->competing);
        e.label = g_strdup(there->label);
    }
    return e;
}

static void take_endpoints(LobStudy *study, const json_t *list) {
    const size_t n = json_array_size(list);
    LobEndpoint *endpoints = g_new0(LobEndpoint, n + 1);
    for (size_t e = 0; e < n; e++) {
        const json_t *one = json_array_get(list, e);
        const char *name = json_string_value(json_object_get(one, "name"));
        endpoints[e] = endpoint_of(one, named(study->endpoints, study->n_endpoints, name));
    }
    lob_study_set_endpoints(study, endpoints, n);
}

bool lob_external_study(LobStudy *study, GError **err) {
    GError *problem = NULL;
    json_t *json = load(study->output, &problem);
    if (problem) {
        g_propagate_error(err, problem);
        return false;
    }
    if (!json)
        return true;
    study->predicts = true;
    take_text(&study->model.kind, json_array_get(json_object_get(json, "models"), 0));
    study->validation.seeds = (int)json_integer_value(json_object_get(json, "seeds"));
    study->model.benefit = study->n_arms > 0 && json_is_true(json_object_get(json, "benefit"));
    take_endpoints(study, json_object_get(json, "endpoints"));
    json_decref(json);
    return true;
}

bool lob_page_read_external(LobPage *page, GError **err) {
    GError *problem = NULL;
    json_t *json = page->cohort->study->predicts ? load(page->out, &problem) : NULL;
    if (problem) {
        g_propagate_error(err, problem);
        return false;
    }
    const char *lock = json_string_value(json_object_get(json, "registered_lock"));
    const char *study = json_string_value(json_object_get(json, "trained_on"));
    if (json)
        page->locked =
            (LobLockedModel){.sha256 = g_string_chunk_insert(
                                 page->strings, json_string_value(json_object_get(json, "model_sha256"))),
                             .lock = lock ? g_string_chunk_insert(page->strings, lock) : NULL,
                             .study = g_string_chunk_insert(page->strings, study ? study : "")};
    json_decref(json);
    return true;
}

const char *lob_page_either(const LobPage *page, const char *validation, const char *external) {
    return page->locked.sha256 ? external : validation;
}

const char *lob_page_where(const LobPage *page) {
    const bool given = page->cohort->study->validation.scheme == LOB_SCHEME_FOLDS;
    return lob_page_either(page, given ? "held-out folds" : "held-out centers", "centers of this cohort");
}

void lob_page_external_heading(const LobPage *page, GString *out) {
    if (!page->locked.sha256)
        return;
    g_string_append(out, "<p class=\"lead\"><strong>External validation of locked model ");
    lob_html_text(out, page->locked.sha256);
    g_string_append(out, "</strong>, trained on study ");
    lob_html_text(out, page->locked.study);
    if (page->locked.lock) {
        g_string_append(out, " under lock ");
        lob_html_text(out, page->locked.lock);
    }
    g_string_append(out,
                    ". Nothing was fitted, cut or chosen on the patients of this page: networks, scales, "
                    "thresholds, risk groups, thirds and the registered contrast are the model "
                    "file's.</p>");
}
