#include "mpi/predict_setting.h"
#include "encoder/encoder.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

/* ---- outcomes ---- */

static const LobEndpoint *find_endpoint(const LobStudy *study, const char *name, size_t *at) {
    for (*at = 0; *at < study->n_endpoints; (*at)++)
        if (strcmp(study->endpoints[*at].name, name) == 0)
            return &study->endpoints[*at];
    return NULL;
}

static bool endpoints_agree(const LobEndpoint *model, const LobEndpoint *study, GError **err) {
    if (model->kind != study->kind)
        return lob_fail(err, LOB_ERROR_INPUT, "endpoint %s is of another kind in the model than in the study",
                        model->name);
    return model->landmark == study->landmark ||
           lob_fail(err, LOB_ERROR_INPUT, "endpoint %s: landmark %g days in the model, %g in the study",
                    model->name, model->landmark, study->landmark);
}

static void no_outcomes(LobSetting *setting, size_t e) {
    LobCohort *cohort = &setting->cohort;
    for (size_t p = 0; p < cohort->n_patients; p++) {
        cohort->time[e][p] = NAN;
        cohort->event[e][p] = -1;
        cohort->arm_at[e][p] = (int8_t)cohort->patients[p].arm;
    }
}

/* The class numbers are the model's. */
static int8_t model_class(char **classes, const char *label) {
    for (int8_t k = 0; classes[k]; k++)
        if (strcmp(classes[k], label) == 0)
            return k;
    return -1;
}

static void take_outcomes(LobSetting *setting, size_t e, const LobCohort *from, size_t at, char **classes) {
    LobCohort *cohort = &setting->cohort;
    for (size_t p = 0; p < cohort->n_patients; p++) {
        int8_t event = from->event[at][p];
        cohort->time[e][p] = from->time[at][p];
        cohort->arm_at[e][p] = from->arm_at[at][p];
        cohort->event[e][p] = classes && event >= 0 ? model_class(classes, from->labels[at][event]) : event;
    }
    for (char **label = classes ? from->labels[at] : NULL; label && *label; label++)
        if (model_class(classes, *label) < 0)
            lob_warning("endpoint %s: training never saw the class '%s'; its patients do not enter metrics",
                        setting->study.endpoints[e].name, *label);
}

static bool take_endpoints(LobSetting *setting, const LobCohort *from, const LobModelFile *file,
                           GError **err) {
    LobCohort *cohort = &setting->cohort;
    size_t n = file->model.n_endpoints, patients = MAX(from->n_patients, 1);
    setting->study.endpoints = g_new0(LobEndpoint, n);
    setting->study.n_endpoints = n;
    cohort->time = g_new0(double *, n);
    cohort->event = g_new0(int8_t *, n);
    cohort->arm_at = g_new0(int8_t *, n);
    cohort->labels = g_new0(char **, n);
    for (size_t e = 0; e < n; e++) {
        const LobSavedNet *net = &file->model.nets[e * file->model.n_kinds];
        size_t at;
        const LobEndpoint *there = find_endpoint(from->study, net->endpoint.name, &at);
        setting->study.endpoints[e] = net->endpoint;
        cohort->labels[e] = net->classes;
        cohort->time[e] = g_new(double, patients);
        cohort->event[e] = g_new(int8_t, patients);
        cohort->arm_at[e] = g_new(int8_t, patients);
        if (there && !endpoints_agree(&net->endpoint, there, err))
            return false;
        if (there)
            take_outcomes(setting, e, from, at, net->classes);
        else
            no_outcomes(setting, e);
    }
    return true;
}

/* ---- plan ---- */

static LobFolds *one_fold(const LobCohort *cohort) {
    LobFolds *folds = g_new0(LobFolds, 1);
    folds->repeats = folds->folds = 1;
    folds->n_patients = cohort->n_patients;
    folds->fold = g_new0(int16_t, MAX(cohort->n_patients, 1));
    folds->names = g_new0(char *, 2);
    folds->names[0] = g_strdup("new");
    return folds;
}

static bool make_plan(LobSetting *setting, const LobModelFile *file, GError **err) {
    const LobSavedModel *model = &file->model;
    LobPlan *plan = &setting->plan;
    if (model->n_kinds > G_N_ELEMENTS(plan->models))
        return lob_fail(err, LOB_ERROR_INPUT,
                        "the model file holds %zu kinds of models; at most %zu can be used", model->n_kinds,
                        G_N_ELEMENTS(plan->models));
    *plan = (LobPlan){.cohort = &setting->cohort,
                      .folds = one_fold(&setting->cohort),
                      .n_models = model->n_kinds,
                      .may_share = true,
                      .one_group = true};
    for (size_t m = 0; m < model->n_kinds; m++)
        plan->models[m] = model->nets[m].kind;
    g_strlcpy(plan->lock, file->sha256, sizeof plan->lock);
    plan->tasks = g_new(LobTask, model->n_endpoints * model->n_kinds * (size_t)model->seeds);
    for (size_t e = 0; e < model->n_endpoints; e++)
        for (size_t m = 0; m < model->n_kinds; m++)
            for (int s = 0; s < model->seeds; s++)
                plan->tasks[plan->n_tasks++] = (LobTask){e, m, 0, 0, s};
    if (setting->study.features)
        plan->sources = g_strdupv(setting->study.features);
    else if (!(plan->sources = lob_store_find(setting->study.output, err)))
        plan->sources = g_new0(char *, 1);
    return err == NULL || *err == NULL;
}

/* An arm of one name is one treatment on both sides. */
static bool arms_agree(const LobStudy *study, const LobBenefitModel *model, GError **err) {
    for (size_t a = 0; a < study->n_arms; a++)
        for (size_t b = 0; model && b < model->n_arms; b++) {
            const LobArmLevel *x = &study->arms[a], *y = &model->arms[b];
            if (strcmp(x->name, y->name) == 0 && (x->code[0] != y->code[0] || x->code[1] != y->code[1]))
                return lob_fail(err, LOB_ERROR_INPUT,
                                "arms.levels.%s is [%d, %d] in the study, [%d, %d] in the model", x->name,
                                x->code[0], x->code[1], y->code[0], y->code[1]);
        }
    return true;
}

bool lob_setting_init(LobSetting *setting, const LobCohort *cohort, const LobModelFile *file, GError **err) {
    *setting = (LobSetting){.study = *cohort->study, .cohort = *cohort};
    setting->cohort.study = &setting->study;
    setting->study.validation.seeds = file->model.seeds;
    /* Own ones come; those given are not for lob_setting_clear. */
    setting->study.endpoints = NULL;
    setting->study.n_endpoints = 0;
    setting->cohort.time = NULL;
    setting->cohort.event = setting->cohort.arm_at = NULL;
    setting->cohort.labels = NULL;
    GError *problem = NULL;
    if (arms_agree(cohort->study, file->benefit, &problem) &&
        take_endpoints(setting, cohort, file, &problem) && make_plan(setting, file, &problem))
        return true;
    g_propagate_error(err, problem);
    return false;
}

void lob_setting_clear(LobSetting *setting) {
    LobCohort *cohort = &setting->cohort;
    for (size_t e = 0; e < setting->study.n_endpoints && cohort->arm_at; e++) {
        g_free(cohort->time[e]);
        g_free(cohort->event[e]);
        g_free(cohort->arm_at[e]);
    }
    g_free(cohort->time);
    g_free(cohort->event);
    g_free(cohort->arm_at);
    g_free(cohort->labels);
    g_free(setting->study.endpoints);
    lob_plan_clear(&setting->plan);
    *setting = (LobSetting){0};
}

/* ---- what the page needs to know of the model ---- */

static json_t *endpoint_json(const LobSavedNet *net) {
    json_t *o = json_object(), *horizons = json_array(), *classes = json_array();
    for (size_t h = 0; h < net->endpoint.n_horizons; h++)
        json_array_append_new(horizons, json_real(net->endpoint.horizons[h]));
    for (char **name = net->classes; name && *name; name++)
        json_array_append_new(classes, json_string(*name));
    json_object_set_new(o, "name", json_string(net->endpoint.name));
    json_object_set_new(o, "kind", json_integer(net->endpoint.kind));
    json_object_set_new(o, "landmark", json_real(net->endpoint.landmark));
    json_object_set_new(o, "horizons", horizons);
    json_object_set_new(o, "classes", classes);
    return o;
}

bool lob_setting_record(const LobSetting *setting, const LobModelFile *file, GError **err) {
    const LobSavedModel *model = &file->model;
    json_t *o = json_object(), *models = json_array(), *endpoints = json_array();
    for (size_t m = 0; m < model->n_kinds; m++)
        json_array_append_new(models, json_string(model->nets[m].kind));
    for (size_t e = 0; e < model->n_endpoints; e++)
        json_array_append_new(endpoints, endpoint_json(&model->nets[e * model->n_kinds]));
    json_object_set_new(o, "model_sha256", json_string(file->sha256));
    json_object_set_new(o, "trained_by", json_string(model->program));
    json_object_set_new(o, "trained_on", json_string(model->study));
    json_object_set_new(o, "registered_lock",
                        file->registered ? json_string(file->registered->lock) : json_null());
    json_object_set_new(o, "seeds", json_integer(model->seeds));
    json_object_set_new(o, "benefit", json_boolean(file->benefit != NULL));
    json_object_set_new(o, "models", models);
    json_object_set_new(o, "endpoints", endpoints);
    char *text = json_dumps(o, JSON_INDENT(1) | JSON_SORT_KEYS);
    json_decref(o);
    if (!text)
        return lob_fail(err, LOB_ERROR_INTERNAL, "external.json: text that is not UTF-8");
    g_autofree char *path = lob_study_out(&setting->study, "external.json");
    const bool ok = lob_file_replace(path, text, strlen(text), err);
    free(text);
    return ok;
}

/* ---- features ---- */

static void differ(GString *list, const char *what, const char *model, const char *study) {
    if (g_strcmp0(model ? model : "", study ? study : "") != 0)
        g_string_append_printf(list, "%s%s: model '%s', study '%s'", list->len ? "; " : "", what,
                               model ? model : "", study ? study : "");
}

static void differ_number(GString *list, const char *what, double model, double study) {
    if (fabs(model - study) > 1e-9 * fmax(fabs(model), fabs(study)))
        g_string_append_printf(list, "%s%s: model %.10g, study %.10g", list->len ? "; " : "", what, model,
                               study);
}

/* Before days of embedding: what the study file alone says. */
bool lob_setting_check_encoder(const LobStudy *study, const LobModelFile *file, GError **err) {
    const LobStoreHeader *model = &file->features;
    g_autoptr(GString) list = g_string_new(NULL);
    differ(list, "encoder", model->encoder, study->encoder.stored);
    differ(list, "precision", model->precision, study->encoder.precision);
    differ_number(list, "tile size", model->tile_size, study->tiles.size);
    differ_number(list, "tile overlap", model->overlap, study->tiles.overlap);
    differ_number(list, "tile mpp", model->tile_mpp, study->tiles.mpp);
    differ_number(list, "minimum tissue", model->min_tissue, study->tiles.min_tissue);
    return list->len == 0 ||
           lob_fail(err, LOB_ERROR_INPUT, "model and study do not go together: %s", list->str);
}

bool lob_setting_check_features(const LobSetting *setting, const LobModelFile *file, GError **err) {
    LobStoreHeader there;
    if (!lob_features_identity(&setting->cohort, (const char *const *)setting->plan.sources, &there, err))
        return false;
    bool ok = lob_store_header_agree(&file->features, &there, "model", "study's features", err);
    lob_store_header_clear(&there);
    return ok;
}
