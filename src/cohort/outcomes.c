/* What happened to whom: times, events, classes, arms, and what a landmark makes of them. */
#include "cohort/cohort_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CLASSES_MAX 100

static const LobTable *table_of(const LobCohort *cohort) {
    return cohort->patient_table;
}

/* "patients.csv:12" of a patient; caller frees. */
static char *place(const LobCohort *cohort, size_t patient) {
    return g_strdup_printf("%s:%zu", lob_table_path(table_of(cohort)),
                           lob_table_line(table_of(cohort), cohort->patients[patient].row));
}

static int require(const LobCohort *cohort, const char *column, LobProblems *problems) {
    GError *error = NULL;
    int found = lob_table_require(table_of(cohort), column, &error);
    if (found < 0)
        lob_problem_take(problems, error);
    return found;
}

static double number(const LobCohort *cohort, size_t patient, int column, LobProblems *problems) {
    GError *error = NULL;
    double value = NAN;
    if (!lob_table_number(table_of(cohort), cohort->patients[patient].row, column, &value, &error))
        lob_problem_take(problems, error);
    return value;
}

/* ---- survival ---- */

typedef struct {
    int time, event, competing; /* columns; competing -1 = none */
    bool code_two;              /* the event column's 2 is the competing event */
} SurvivalColumns;

static int8_t event_code(const LobCohort *cohort, size_t p, const LobEndpoint *e,
                         const SurvivalColumns *columns, LobProblems *problems) {
    double code = number(cohort, p, columns->event, problems);
    if (isnan(code))
        return -1;
    if (code != 0 && code != 1 && !(code == 2 && columns->code_two)) {
        g_autofree char *at = place(cohort, p);
        lob_problem(problems,
                    "%s: column '%s': event code %g; endpoint '%s' declares 0 (censored), 1 (event)%s", at,
                    e->event, code, e->name,
                    columns->code_two ? " and 2 (competing)"
                                      : "; a competing event needs the endpoint's 'competing'");
        return -1;
    }
    if (columns->competing >= 0) {
        double competing = number(cohort, p, columns->competing, problems);
        if (!isnan(competing) && competing != 0 && competing != 1) {
            g_autofree char *at = place(cohort, p);
            lob_problem(problems, "%s: column '%s': %g; expected 0 or 1", at, e->competing, competing);
        } else if (competing == 1 && code == 1) {
            g_autofree char *at = place(cohort, p);
            lob_problem(problems, "%s: '%s' and the competing '%s' are both 1", at, e->event, e->competing);
        } else if (competing == 1) {
            return 2;
        }
    }
    return (int8_t)code;
}

static void read_survival(LobCohort *cohort, size_t endpoint, LobProblems *problems) {
    const LobEndpoint *e = &cohort->study->endpoints[endpoint];
    if (cohort->study->predicts && e->time == NULL)
        return;
    SurvivalColumns columns = {.time = require(cohort, e->time, problems),
                               .event = require(cohort, e->event, problems),
                               .competing = -1};
    if (e->competing != NULL && strcmp(e->competing, e->event) == 0)
        columns.code_two = true;
    else if (e->competing != NULL && (columns.competing = require(cohort, e->competing, problems)) < 0)
        return;
    if (columns.time < 0 || columns.event < 0)
        return;
    for (size_t p = 0; p < cohort->n_patients; p++) {
        double time = number(cohort, p, columns.time, problems);
        if (time < 0) {
            g_autofree char *at = place(cohort, p);
            lob_problem(problems, "%s: column '%s': negative time %g; expected days from time zero", at,
                        e->time, time);
        } else if (time > LOB_TIME_DAYS_MAX) {
            g_autofree char *at = place(cohort, p);
            lob_problem(problems, "%s: column '%s': %.17g; expected days from time zero, at most %g", at,
                        e->time, time, LOB_TIME_DAYS_MAX);
        }
        cohort->time[endpoint][p] = time - e->landmark;
        cohort->event[endpoint][p] = event_code(cohort, p, e, &columns, problems);
    }
}

/* ---- classes ---- */

static int compare_labels(const void *a, const void *b) {
    const char *left = *(char *const *)a, *right = *(char *const *)b;
    double x = 0, y = 0;
    if (lob_text_number(left, &x) && lob_text_number(right, &y) && x != y)
        return x < y ? -1 : 1;
    return strcmp(left, right);
}

/* The texts of the column, each once. */
static GPtrArray *classes_there(const LobCohort *cohort, const LobEndpoint *e, int column,
                                LobProblems *problems) {
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    GPtrArray *names = g_ptr_array_new();
    for (size_t p = 0; p < cohort->n_patients; p++) {
        const char *cell = lob_table_cell(table_of(cohort), cohort->patients[p].row, column);
        if (cell[0] == '\0')
            continue;
        if (lob_is_missing_marker(cell) && strcmp(cell, "none") != 0) {
            g_autofree char *at = place(cohort, p);
            lob_problem(problems, "%s: column '%s': '%s'; a missing label is an empty cell", at, e->label,
                        cell);
        } else if (g_hash_table_add(seen, (gpointer)(uintptr_t)cell)) {
            g_ptr_array_add(names, (gpointer)(uintptr_t)cell);
        }
    }
    return names;
}

/* Labels that are none of the classes stay unknown. */
static void number_classes(LobCohort *cohort, size_t endpoint, int column, char *const *names, size_t n) {
    cohort->labels[endpoint] = g_new0(char *, n + 1);
    for (size_t i = 0; i < n; i++)
        cohort->labels[endpoint][i] = g_strdup(names[i]);
    for (size_t p = 0; column >= 0 && p < cohort->n_patients; p++) {
        const char *cell = lob_table_cell(table_of(cohort), cohort->patients[p].row, column);
        for (size_t i = 0; i < n; i++)
            if (strcmp(cell, names[i]) == 0)
                cohort->event[endpoint][p] = (int8_t)i;
    }
}

static void read_classes(LobCohort *cohort, size_t endpoint, LobProblems *problems) {
    const LobEndpoint *e = &cohort->study->endpoints[endpoint];
    const bool predicts = cohort->study->predicts;
    const size_t most = e->kind == LOB_ENDPOINT_BINARY && !predicts ? 2 : CLASSES_MAX;
    const size_t least = predicts ? 0 : 2;
    int column = predicts && e->label == NULL ? -1 : require(cohort, e->label, problems);
    if (e->classes != NULL) {
        number_classes(cohort, endpoint, column, e->classes, g_strv_length(e->classes));
        return;
    }
    if (column < 0)
        return;
    g_autoptr(GPtrArray) names = classes_there(cohort, e, column, problems);
    if (names->len < least || names->len > most) {
        lob_problem(problems, "%s: column '%s' has %u classes; endpoint '%s' needs %s",
                    cohort->study->patients, e->label, names->len, e->name,
                    predicts    ? "at most 100"
                    : most == 2 ? "exactly 2"
                                : "2 to 100");
        return;
    }
    qsort(names->pdata, names->len, sizeof *names->pdata, compare_labels);
    number_classes(cohort, endpoint, column, (char *const *)names->pdata, names->len);
}

/* ---- arms ---- */

static void read_arm_column(LobCohort *cohort, LobProblems *problems) {
    const LobStudy *study = cohort->study;
    int column = require(cohort, study->arm_column, problems);
    for (size_t p = 0; column >= 0 && p < cohort->n_patients; p++) {
        const char *cell = lob_table_cell(table_of(cohort), cohort->patients[p].row, column);
        for (size_t a = 0; a < study->n_arms; a++)
            if (strcmp(cell, study->arms[a].name) == 0)
                cohort->patients[p].arm = (int)a;
        if (cell[0] == '\0' || cohort->patients[p].arm >= 0)
            continue;
        g_autoptr(GString) names = g_string_new(NULL);
        for (size_t a = 0; a < study->n_arms; a++)
            g_string_append_printf(names, "%s%s", a > 0 ? ", " : "", study->arms[a].name);
        g_autofree char *at = place(cohort, p);
        lob_problem(problems, "%s: column '%s': unknown arm '%.60s'; arms.levels has %s", at,
                    study->arm_column, cell, names->str);
    }
}

/* The start columns of the two parts of the factorial code, -1 where a part has none. */
static void start_columns(const LobCohort *cohort, int columns[2], LobProblems *problems) {
    const LobStudy *study = cohort->study;
    columns[0] = columns[1] = -1;
    for (int pass = 0; pass < 2; pass++) /* the combined level first, so that a part's own overrides it */
        for (size_t a = 0; a < study->n_arms; a++) {
            const LobArmLevel *level = &study->arms[a];
            bool combined = level->code[0] == 1 && level->code[1] == 1;
            if (level->start_column == NULL || combined != (pass == 0))
                continue;
            int column = require(cohort, level->start_column, problems);
            for (int part = 0; part < 2; part++)
                if (level->code[part] == 1)
                    columns[part] = column;
        }
}

/* [patient][2] start days, NAN where not given; NULL where the study names no start column. */
static double (*read_starts(const LobCohort *cohort, const int columns[2], LobProblems *problems))[2] {
    if (columns[0] < 0 && columns[1] < 0)
        return NULL;
    double(*days)[2] = g_malloc0_n(cohort->n_patients, sizeof *days);
    for (size_t p = 0; p < cohort->n_patients; p++)
        for (int part = 0; part < 2; part++)
            days[p][part] = columns[part] < 0 ? NAN : number(cohort, p, columns[part], problems);
    return days;
}

static int arm_of_code(const LobStudy *study, const int code[2]) {
    for (size_t a = 0; a < study->n_arms; a++)
        if (study->arms[a].code[0] == code[0] && study->arms[a].code[1] == code[1])
            return (int)a;
    return -1;
}

static int arm_at_landmark(const LobStudy *study, int arm, const int columns[2], const double start[2],
                           double landmark) {
    int code[2];
    if (arm < 0)
        return -1;
    for (int part = 0; part < 2; part++) {
        code[part] = study->arms[arm].code[part];
        if (columns[part] < 0)
            continue;
        if (isnan(start[part]) && code[part] == 1)
            return -1;
        code[part] = start[part] <= landmark;
    }
    return arm_of_code(study, code);
}

const char *lob_study_immortal_time(const LobStudy *study, size_t endpoint) {
    const LobEndpoint *e = &study->endpoints[endpoint];
    bool given = false, started[2] = {false, false}, treated[2] = {false, false};
    for (size_t a = 0; a < study->n_arms; a++)
        for (int part = 0; part < 2; part++)
            if (study->arms[a].code[part] == 1) {
                treated[part] = true;
                started[part] = started[part] || study->arms[a].start_column;
                given = given || study->arms[a].start_column;
            }
    if (!study->arm_column || e->kind != LOB_ENDPOINT_SURVIVAL)
        return NULL;
    if (given && !(e->landmark > 0))
        return "arms.start is given and the endpoint has no landmark: who is treated later had to live until "
               "then, and counts as treated from the first day (immortal time)";
    if (e->landmark > 0 && ((treated[0] && !started[0]) || (treated[1] && !started[1])))
        return "the endpoint has a landmark and arms.start lacks the start days of a treatment: who begins "
               "it "
               "after the landmark counts as treated at it (immortal time)";
    return NULL;
}

static void read_arms(LobCohort *cohort, LobProblems *problems) {
    const LobStudy *study = cohort->study;
    int columns[2];
    if (study->arm_column == NULL)
        return;
    read_arm_column(cohort, problems);
    start_columns(cohort, columns, problems);
    g_autofree double(*starts)[2] = read_starts(cohort, columns, problems);
    for (size_t e = 0; e < study->n_endpoints; e++) {
        size_t changed = 0, unknown = 0;
        const char *immortal = lob_study_immortal_time(study, e);
        if (immortal)
            lob_warning("endpoint '%s': %s", study->endpoints[e].name, immortal);
        double landmark = study->endpoints[e].landmark;
        for (size_t p = 0; p < cohort->n_patients; p++) {
            int given = cohort->patients[p].arm, arm = given;
            if (landmark > 0 && starts != NULL)
                arm = arm_at_landmark(study, given, columns, starts[p], landmark);
            cohort->arm_at[e][p] = (int8_t)arm;
            changed += arm != given;
            unknown += arm < 0 && given >= 0;
        }
        if (changed > 0)
            lob_info("endpoint '%s': by day %g the arm of %zu patients differs from column '%s'; of these "
                     "%zu are unknown (no start day, or no level for what was started)",
                     study->endpoints[e].name, landmark, changed, study->arm_column, unknown);
    }
}

void lob_cohort_read_outcomes(LobCohort *cohort, LobProblems *problems) {
    const LobStudy *study = cohort->study;
    const size_t n = cohort->n_patients;
    cohort->time = g_new0(double *, study->n_endpoints);
    cohort->event = g_new0(int8_t *, study->n_endpoints);
    cohort->arm_at = g_new0(int8_t *, study->n_endpoints);
    cohort->labels = g_new0(char **, study->n_endpoints);
    for (size_t e = 0; e < study->n_endpoints; e++) {
        cohort->time[e] = g_new(double, n);
        cohort->event[e] = g_new(int8_t, n);
        cohort->arm_at[e] = g_new(int8_t, n);
        for (size_t p = 0; p < n; p++) {
            cohort->time[e][p] = NAN;
            cohort->event[e][p] = cohort->arm_at[e][p] = -1;
        }
        if (study->endpoints[e].kind == LOB_ENDPOINT_SURVIVAL)
            read_survival(cohort, e, problems);
        else
            read_classes(cohort, e, problems);
    }
    read_arms(cohort, problems);
}

bool lob_cohort_usable(const LobCohort *cohort, size_t endpoint, size_t patient) {
    const LobEndpoint *e = &cohort->study->endpoints[endpoint];
    if (!cohort->patients[patient].eligible || cohort->event[endpoint][patient] < 0)
        return false;
    if (e->kind != LOB_ENDPOINT_SURVIVAL)
        return true;
    double time = cohort->time[endpoint][patient];
    return e->landmark > 0 ? time > 0 : time >= 0;
}
