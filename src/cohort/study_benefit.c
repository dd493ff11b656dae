/* study.yaml, model.benefit: what is asked of treatment benefit. */
#include "cohort/study_internal.h"

#include <string.h>

static bool append_period(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    LobBenefitWish *wish = user;
    double day = 0;
    if (!lob_yaml_real(yaml, value, key, 1, 36500, &day, err))
        return false;
    if (wish->n_periods == LOB_PERIODS_MAX)
        return lob_yaml_fail(yaml, value, err, "%s: at most %d days", key, LOB_PERIODS_MAX);
    if (wish->n_periods > 0 && day <= wish->periods[wish->n_periods - 1])
        return lob_yaml_fail(yaml, value, err, "%s: expected days in ascending order", key);
    wish->periods[wish->n_periods++] = day;
    return true;
}

static bool read_periods(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    return lob_yaml_items(yaml, value, key, append_period, user, err);
}

static bool read_rule(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    LobBenefitWish *wish = user;
    g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(LobFilter));
    g_array_set_clear_func(list, lob_study_clear_filter);
    if (!lob_yaml_items(yaml, value, key, lob_study_append_filter, list, err))
        return false;
    wish->n_rule = list->len;
    wish->rule = (LobFilter *)(void *)g_array_steal(list, NULL);
    return true;
}

static const LobYamlField fields[] = {
    {.key = "contrast",
     .type = LOB_YAML_TEXT,
     .offset = offsetof(LobBenefitWish, contrast),
     .nullable = true},
    {.key = "margin_days",
     .type = LOB_YAML_REAL,
     .offset = offsetof(LobBenefitWish, margin_days),
     .high = 36500},
    {.key = "adverse", .type = LOB_YAML_TEXT, .offset = offsetof(LobBenefitWish, adverse), .nullable = true},
    {.key = "penalty_days",
     .type = LOB_YAML_REAL,
     .offset = offsetof(LobBenefitWish, penalty_days),
     .high = 36500},
    {.key = "periods", .type = LOB_YAML_CUSTOM, .handler = read_periods},
    {.key = "rule", .type = LOB_YAML_CUSTOM, .handler = read_rule},
};

bool lob_study_read_benefit(LobYaml *yaml, Node *value, const char *key, void *user, GError **err) {
    LobStudy *study = user;
    if (value->type != YAML_MAPPING_NODE)
        return lob_yaml_switch(yaml, value, key, &study->model.benefit, err);
    study->model.benefit = study->model.wish.given = true;
    return lob_yaml_map(yaml, value, key, fields, G_N_ELEMENTS(fields), &study->model.wish, err);
}

static bool is_treatment(const LobStudy *study, const char *name, size_t length) {
    for (size_t a = 0; a < study->n_arms; a++)
        if (strlen(study->arms[a].name) == length && strncmp(study->arms[a].name, name, length) == 0)
            return study->arms[a].code[0] + study->arms[a].code[1] == 1;
    return false;
}

static bool check_contrast(LobYaml *yaml, const LobStudy *study, GError **err) {
    const char *name = study->model.wish.contrast, *by = name ? strstr(name, "_by_") : NULL;
    const char *biomarker = study->model.biomarker ? study->model.biomarker : LOB_BENEFIT_MARKER;
    if (!name || is_treatment(study, name, strlen(name)))
        return true;
    if (by && is_treatment(study, name, (size_t)(by - name)) && strcmp(by + strlen("_by_"), biomarker) == 0)
        return true;
    return lob_yaml_fail(
        yaml, lob_yaml_at(yaml, "model.benefit.contrast"), err,
        "model.benefit.contrast: expected an arm of one treatment (its code has one 1), alone "
        "or followed by _by_ and model.biomarker (here %s), found '%s'",
        biomarker, name);
}

bool lob_study_check_benefit(LobYaml *yaml, const LobStudy *study, GError **err) {
    const LobBenefitWish *wish = &study->model.wish;
    Node *benefit = lob_yaml_at(yaml, "model.benefit");
    const LobEndpoint *adverse = NULL;
    if (study->n_endpoints == 0) /* a table to predict for asks nothing */
        return true;
    if (study->n_arms == 0 && wish->given)
        return lob_yaml_fail(yaml, benefit, err, "model.benefit: needs arms, and the study names none");
    if ((wish->adverse != NULL) != (wish->penalty_days > 0))
        return lob_yaml_fail(yaml, benefit, err,
                             "model.benefit: adverse names the events that penalty_days (above 0) are "
                             "subtracted for; give both or neither");
    for (size_t e = 0; wish->adverse && e < study->n_endpoints; e++)
        if (strcmp(study->endpoints[e].name, wish->adverse) == 0)
            adverse = &study->endpoints[e];
    if (wish->adverse && (!adverse || adverse->kind != LOB_ENDPOINT_BINARY))
        return lob_yaml_fail(yaml, lob_yaml_at(yaml, "model.benefit.adverse"), err,
                             "model.benefit.adverse: expected the name of an endpoint of kind: binary, found "
                             "'%s'",
                             wish->adverse);
    return check_contrast(yaml, study, err);
}

void lob_study_clear_wish(LobBenefitWish *wish) {
    for (size_t i = 0; i < wish->n_rule; i++)
        lob_study_clear_filter(&wish->rule[i]);
    g_free(wish->rule);
    g_free(wish->contrast);
    g_free(wish->adverse);
    *wish = (LobBenefitWish){0};
}
