/* Eligibility: "age >= 18". */
#include "cohort/cohort_internal.h"

#include <math.h>
#include <string.h>

static const char *const operators[] = {">=", "<=", "==", "!=", ">", "<"}; /* two-letter ones first */

bool lob_text_number(const char *text, double *value) {
    char *end = NULL;
    if (text[0] == '\0' || text[strspn(text, "0123456789+-.eE")] != '\0')
        return false;
    double number = g_ascii_strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(number))
        return false;
    *value = number;
    return true;
}

static const char *find_operator(const char *text, const char **op) {
    const char *first = NULL;
    for (size_t i = 0; i < G_N_ELEMENTS(operators); i++) {
        const char *at = strstr(text, operators[i]);
        if (at != NULL && (first == NULL || at < first)) {
            first = at;
            *op = operators[i];
        }
    }
    return first;
}

bool lob_filter_parse(const char *text, LobFilter *filter, GError **err) {
    const char *op = NULL, *at = find_operator(text, &op);
    double number = 0;
    if (at == NULL)
        return lob_fail(err, LOB_ERROR_INPUT,
                        "expected COLUMN OPERATOR VALUE with one of >= <= == != > <, such as 'age >= 18', "
                        "found '%s'",
                        text);
    g_autofree char *column = g_strstrip(g_strndup(text, (gsize)(at - text)));
    g_autofree char *value = g_strstrip(g_strdup(at + strlen(op)));
    if (column[0] == '\0' || value[0] == '\0' || strpbrk(value, "<>=!") != NULL ||
        strchr("<>=!", column[strlen(column) - 1]) != NULL)
        return lob_fail(
            err, LOB_ERROR_INPUT,
            "expected COLUMN OPERATOR VALUE with one of >= <= == != > <, such as 'age >= 18', found "
            "'%s'",
            text);
    if ((op[0] == '<' || op[0] == '>') && !lob_text_number(value, &number))
        return lob_fail(err, LOB_ERROR_INPUT, "'%s': %s compares numbers, and '%s' is none", text, op, value);
    *filter = (LobFilter){g_steal_pointer(&column), g_strdup(op), g_steal_pointer(&value)};
    return true;
}

/* Numbers are compared as numbers where both sides are; == and != else compare texts. */
static bool passes(const LobFilter *filter, const char *cell, bool *unreadable) {
    double left = 0, right = 0;
    bool numbers = lob_text_number(cell, &left) && lob_text_number(filter->value, &right);
    *unreadable = false;
    if (strcmp(filter->op, "==") == 0)
        return numbers ? left == right : strcmp(cell, filter->value) == 0;
    if (strcmp(filter->op, "!=") == 0)
        return numbers ? left != right : strcmp(cell, filter->value) != 0;
    *unreadable = !numbers;
    if (strcmp(filter->op, ">=") == 0)
        return left >= right;
    if (strcmp(filter->op, "<=") == 0)
        return left <= right;
    return filter->op[0] == '>' ? left > right : left < right;
}

static void apply_filter(LobCohort *cohort, const LobFilter *filter, int column, GString *flow,
                         LobProblems *problems) {
    const LobTable *table = cohort->patient_table;
    size_t left = 0, failed = 0, unknown = 0;
    for (size_t p = 0; p < cohort->n_patients; p++) {
        LobCohortPatient *patient = &cohort->patients[p];
        const char *cell = lob_table_cell(table, patient->row, column);
        bool unreadable = false, passed = cell[0] != '\0' && passes(filter, cell, &unreadable);
        if (cell[0] != '\0' && unreadable)
            lob_problem(problems,
                        "%s:%zu: column '%s': '%.80s' is not a number; eligible: %s %s %s needs one",
                        lob_table_path(table), lob_table_line(table, patient->row), filter->column, cell,
                        filter->column, filter->op, filter->value);
        if (patient->eligible && !passed) {
            if (cell[0] == '\0')
                unknown++;
            else
                failed++;
        }
        patient->eligible = patient->eligible && passed;
        left += patient->eligible;
    }
    g_string_append_printf(flow, "%s %s %s: %zu left (%zu not met, %zu unknown)\n", filter->column,
                           filter->op, filter->value, left, failed, unknown);
}

bool lob_cohort_meets_any(const LobCohort *cohort, const LobFilter *filters, size_t n, int8_t *meets,
                          GError **err) {
    const LobTable *table = cohort->patient_table;
    memset(meets, 0, cohort->n_patients);
    for (size_t i = 0; i < n; i++) {
        const int column = lob_table_require(table, filters[i].column, err);
        if (column < 0)
            return false;
        for (size_t p = 0; p < cohort->n_patients; p++) {
            const size_t row = cohort->patients[p].row;
            const char *cell = lob_table_cell(table, row, column);
            bool unreadable = false;
            if (cell[0] == '\0')
                meets[p] = meets[p] == 1 ? 1 : -1;
            else if (passes(&filters[i], cell, &unreadable))
                meets[p] = 1;
            if (unreadable)
                return lob_fail(err, LOB_ERROR_INPUT,
                                "%s:%zu: column '%s': '%.80s' is not a number; %s %s %s needs one",
                                lob_table_path(table), lob_table_line(table, row), filters[i].column, cell,
                                filters[i].column, filters[i].op, filters[i].value);
        }
    }
    return true;
}

static void append_endpoint_flow(const LobCohort *cohort, size_t endpoint, GString *flow) {
    const LobEndpoint *e = &cohort->study->endpoints[endpoint];
    size_t known = 0, usable = 0, eligible = 0;
    for (size_t p = 0; p < cohort->n_patients; p++) {
        if (!cohort->patients[p].eligible)
            continue;
        eligible++;
        known += cohort->event[endpoint][p] >= 0 &&
                 (e->kind != LOB_ENDPOINT_SURVIVAL || !isnan(cohort->time[endpoint][p]));
        usable += lob_cohort_usable(cohort, endpoint, p);
    }
    g_string_append_printf(flow, "%s, outcome known: %zu left (%zu unknown)\n", e->name, known,
                           eligible - known);
    if (e->landmark > 0)
        g_string_append_printf(flow, "%s, at risk at day %g: %zu left (%zu event or censoring before)\n",
                               e->name, e->landmark, usable, known - usable);
}

void lob_cohort_apply_filters(LobCohort *cohort, LobProblems *problems) {
    const LobStudy *study = cohort->study;
    g_autoptr(GString) flow = g_string_new(NULL);
    g_string_append_printf(flow, "patients in the table: %zu\n", cohort->n_patients);
    for (size_t p = 0; p < cohort->n_patients; p++)
        cohort->patients[p].eligible = true;
    for (size_t i = 0; i < study->n_eligible; i++) {
        GError *error = NULL;
        int column = lob_table_require(cohort->patient_table, study->eligible[i].column, &error);
        if (column < 0)
            lob_problem_take(problems, error);
        else
            apply_filter(cohort, &study->eligible[i], column, flow, problems);
    }
    if (study->model.benefit && study->model.wish.n_rule > 0) {
        GError *error = NULL;
        g_autofree int8_t *meets = g_new(int8_t, cohort->n_patients + 1);
        if (!lob_cohort_meets_any(cohort, study->model.wish.rule, study->model.wish.n_rule, meets, &error)) {
            g_prefix_error(&error, "model.benefit.rule: ");
            lob_problem_take(problems, error);
        }
    }
    for (size_t e = 0; e < study->n_endpoints; e++)
        append_endpoint_flow(cohort, e, flow);
    cohort->flow = g_string_free(g_steal_pointer(&flow), FALSE);
}
