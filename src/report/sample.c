/* Held-out rows of predictions.csv as the statistics want them. */
#include "report/report_internal.h"

#include <math.h>
#include <string.h>

typedef struct {
    int endpoint, model, patient, center, repeat, arm, time, event, label, lp, group, own, own_event,
        positive;
} Columns;

static bool find_columns(const LobTable *table, Columns *c, GError **err) {
    const struct {
        int *column;
        const char *name;
    } wanted[] = {{&c->endpoint, "endpoint"},   {&c->model, "model"},     {&c->patient, "patient_id"},
                  {&c->center, "center"},       {&c->repeat, "repeat"},   {&c->arm, "arm"},
                  {&c->time, "time"},           {&c->event, "event"},     {&c->label, "label"},
                  {&c->lp, "linear_predictor"}, {&c->group, "risk_group"}};
    for (size_t i = 0; i < G_N_ELEMENTS(wanted); i++)
        if ((*wanted[i].column = lob_table_require(table, wanted[i].name, err)) < 0)
            return false;
    c->own = lob_table_find(table, "s_own");
    c->own_event = lob_table_find(table, "event_own");
    c->positive = lob_table_find(table, "p_class1");
    return true;
}

static uint32_t center_index(const LobCohort *cohort, const char *name) {
    for (uint32_t c = 0; c < cohort->n_centers; c++)
        if (strcmp(cohort->centers[c], name) == 0)
            return c;
    return LOB_NO_INDEX;
}

static uint32_t arm_index(const LobStudy *study, const char *name) {
    for (uint32_t a = 0; a < study->n_arms; a++)
        if (strcmp(study->arms[a].name, name) == 0)
            return a;
    return LOB_NO_INDEX;
}

static void sample_room(LobSample *s, size_t room) {
    s->time = g_new(double, room + 1);
    s->lp = g_new(double, room + 1);
    s->risk = g_new(double, (room + 1) * MAX(s->spec->n_horizons, 1));
    s->event = g_new(uint8_t, room + 1);
    s->high = g_new(uint8_t, room + 1);
    s->center = g_new(uint32_t, room + 1);
    s->arm = g_new(uint32_t, room + 1);
    s->patient = g_new(uint32_t, room + 1);
}

/* A binary endpoint is follow-up with cases at time 0 and controls at 1: C is then the AUC. */
static bool read_outcome(LobSample *s, const LobPage *page, const Columns *c, size_t r, bool *known,
                         GError **err) {
    const LobTable *t = page->predictions;
    if (s->spec->kind == LOB_ENDPOINT_SURVIVAL) {
        double event;
        if (!lob_table_number(t, r, c->time, &s->time[s->n], err) ||
            !lob_table_number(t, r, c->event, &event, err))
            return false;
        s->event[s->n] = event == 1;
        *known = !isnan(s->time[s->n]) && !isnan(event);
        return true;
    }
    const char *label = lob_table_cell(t, r, c->label);
    char **labels = page->cohort->labels[s->index];
    *known = *label != '\0';
    s->event[s->n] = labels && labels[0] && labels[1] && strcmp(label, labels[1]) == 0;
    s->time[s->n] = s->event[s->n] ? 0 : 1;
    return true;
}

static bool read_row(LobSample *s, const LobPage *page, const Columns *c, size_t r, const int *horizon,
                     size_t room, GError **err) {
    const LobTable *t = page->predictions;
    bool known;
    if (!read_outcome(s, page, c, r, &known, err) || !lob_table_number(t, r, c->lp, &s->lp[s->n], err))
        return false;
    for (size_t h = 0; h < s->spec->n_horizons; h++) {
        double survival = NAN;
        if (horizon[h] >= 0 && !lob_table_number(t, r, horizon[h], &survival, err))
            return false;
        s->risk[h * room + s->n] = 1 - survival;
    }
    double own_event = 0;
    if (s->own && (!lob_table_number(t, r, c->own, &s->own[s->n], err) ||
                   !lob_table_number(t, r, c->own_event, &own_event, err)))
        return false;
    if (s->own)
        s->own_event[s->n] = own_event == 1;
    if (s->probability && !lob_table_number(t, r, c->positive, &s->probability[s->n], err))
        return false;
    s->high[s->n] = strcmp(lob_table_cell(t, r, c->group), "high") == 0;
    s->center[s->n] = center_index(page->cohort, lob_table_cell(t, r, c->center));
    s->arm[s->n] = arm_index(page->cohort->study, lob_table_cell(t, r, c->arm));
    const gpointer at = g_hash_table_lookup(page->patients, lob_table_cell(t, r, c->patient));
    s->patient[s->n] = at ? GPOINTER_TO_UINT(at) - 1 : LOB_NO_INDEX;
    if (known && !isnan(s->lp[s->n]) && s->center[s->n] != LOB_NO_INDEX) {
        s->events += s->event[s->n];
        s->n++;
    }
    return true;
}

bool lob_sample_read(LobSample *s, const LobPage *page, size_t endpoint, const char *model, GError **err) {
    const LobTable *t = page->predictions;
    const size_t rows = lob_table_rows(t);
    Columns c;
    if (!find_columns(t, &c, err))
        return false;
    const LobEndpoint *spec = &page->cohort->study->endpoints[endpoint];
    *s = (LobSample){.endpoint = spec->name, .model = model, .spec = spec, .index = endpoint, .repeats = 1};
    sample_room(s, rows);
    const bool own = c.own >= 0 && c.own_event >= 0 && spec->kind == LOB_ENDPOINT_SURVIVAL;
    s->own = own ? g_new(double, rows + 1) : NULL;
    s->own_event = own ? g_new(uint8_t, rows + 1) : NULL;
    s->probability = c.positive >= 0 && spec->kind == LOB_ENDPOINT_BINARY ? g_new(double, rows + 1) : NULL;
    g_autofree int *horizon = g_new(int, spec->n_horizons + 1);
    for (size_t h = 0; h < spec->n_horizons; h++) {
        g_autofree char *name = g_strdup_printf("s_%g", spec->horizons[h]);
        horizon[h] = lob_table_find(t, name);
    }
    for (size_t r = 0; r < rows; r++) {
        double repeat;
        if (strcmp(lob_table_cell(t, r, c.endpoint), spec->name) != 0 ||
            strcmp(lob_table_cell(t, r, c.model), model) != 0)
            continue;
        if (!lob_table_number(t, r, c.repeat, &repeat, err))
            return false;
        if (repeat >= (double)s->repeats)
            s->repeats = (size_t)repeat + 1;
        if (repeat == 0 && !read_row(s, page, &c, r, horizon, rows, err))
            return false;
    }
    for (size_t h = 1; h < spec->n_horizons; h++)
        memmove(s->risk + h * s->n, s->risk + h * rows, s->n * sizeof *s->risk);
    return true;
}

void lob_sample_take(LobSample *out, const LobSample *from, const uint8_t *keep) {
    *out = *from;
    out->events = 0;
    sample_room(out, from->n);
    out->own = from->own ? g_new(double, from->n + 1) : NULL;
    out->own_event = from->own ? g_new(uint8_t, from->n + 1) : NULL;
    out->probability = from->probability ? g_new(double, from->n + 1) : NULL;
    out->n = 0;
    for (size_t i = 0; i < from->n; i++)
        out->n += keep[i] != 0;
    size_t k = 0;
    for (size_t i = 0; i < from->n; i++) {
        if (!keep[i])
            continue;
        out->time[k] = from->time[i];
        out->lp[k] = from->lp[i];
        out->event[k] = from->event[i];
        out->high[k] = from->high[i];
        out->center[k] = from->center[i];
        out->arm[k] = from->arm[i];
        out->patient[k] = from->patient[i];
        out->events += from->event[i];
        for (size_t h = 0; h < from->spec->n_horizons; h++)
            out->risk[h * out->n + k] = from->risk[h * from->n + i];
        if (out->own) {
            out->own[k] = from->own[i];
            out->own_event[k] = from->own_event[i];
        }
        if (out->probability)
            out->probability[k] = from->probability[i];
        k++;
    }
}

void lob_sample_of_center(LobSample *out, const LobSample *from, uint32_t center) {
    g_autofree uint8_t *keep = g_new0(uint8_t, from->n + 1);
    for (size_t i = 0; i < from->n; i++)
        keep[i] = from->center[i] == center;
    lob_sample_take(out, from, keep);
}

void lob_sample_clear(LobSample *s) {
    g_free(s->time);
    g_free(s->lp);
    g_free(s->risk);
    g_free(s->own);
    g_free(s->own_event);
    g_free(s->probability);
    g_free(s->event);
    g_free(s->high);
    g_free(s->center);
    g_free(s->arm);
    g_free(s->patient);
    *s = (LobSample){0};
}

LobFollowUp lob_sample_follow_up(const LobSample *s, bool stratified) {
    return (LobFollowUp){
        .n = s->n, .time = s->time, .event = s->event, .stratum = stratified ? s->center : NULL};
}

const double *lob_sample_risk(const LobSample *s, size_t h) {
    const double *risk = s->risk + h * s->n;
    for (size_t i = 0; i < s->n; i++)
        if (isnan(risk[i]))
            return NULL;
    return s->n ? risk : NULL;
}
