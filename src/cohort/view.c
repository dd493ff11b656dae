/* The training view of a fold. Everything fitted here loops over view->train alone; that is the whole defence
 * against leakage, so nothing here may look at another patient except to apply what was fitted. */
#include "cohort/cohort_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define INTERVALS_DEFAULT 10
#define EVENTS_PER_INTERVAL 5
#define INNER_SHARE 0.2
/* With cells bounded by 1e12 this keeps every scaled value within a float. */
#define SPREAD_MIN 1e-18

/* ---- who ---- */

static void split_patients(LobView *view, const LobFolds *folds) {
    const LobCohort *cohort = view->cohort;
    const int16_t *fold = folds->fold + (size_t)view->repeat * folds->n_patients;
    view->train = g_new(uint32_t, cohort->n_patients);
    view->held_out = g_new(uint32_t, cohort->n_patients);
    view->time = g_new(double, cohort->n_patients);
    view->event = g_new(int8_t, cohort->n_patients);
    for (size_t p = 0; p < cohort->n_patients; p++) {
        view->time[p] = NAN;
        view->event[p] = -1;
        bool final = view->fold == LOB_FOLD_FINAL;
        if ((fold[p] < 0 && !final) || !lob_cohort_usable(cohort, view->endpoint, p))
            continue;
        if (fold[p] == view->fold && !final) {
            view->held_out[view->n_held_out++] = (uint32_t)p;
        } else {
            view->train[view->n_train++] = (uint32_t)p;
            view->time[p] = cohort->time[view->endpoint][p];
            view->event[p] = cohort->event[view->endpoint][p];
        }
    }
}

/* A label that the held-out fold alone has must not widen the model, nor renumber the others. */
static void number_classes(LobView *view) {
    int8_t place[INT8_MAX + 1];
    if (view->cohort->study->endpoints[view->endpoint].kind == LOB_ENDPOINT_SURVIVAL)
        return;
    memset(place, -1, sizeof place);
    for (size_t i = 0; i < view->n_train; i++)
        place[view->event[view->train[i]]] = 0;
    view->classes = g_new(size_t, G_N_ELEMENTS(place));
    for (size_t k = 0; k < G_N_ELEMENTS(place); k++) {
        if (place[k] < 0)
            continue;
        place[k] = (int8_t)view->n_classes;
        view->classes[view->n_classes++] = k;
    }
    for (size_t i = 0; i < view->n_train; i++)
        view->event[view->train[i]] = place[view->event[view->train[i]]];
}

typedef struct {
    uint32_t patient, center;
    int8_t event;
    uint64_t draw;
} Drawn;

static int compare_drawn(const void *a, const void *b) {
    const Drawn *x = a, *y = b;
    if (x->center != y->center)
        return x->center < y->center ? -1 : 1;
    if (x->event != y->event)
        return x->event < y->event ? -1 : 1;
    if (x->draw != y->draw)
        return x->draw < y->draw ? -1 : 1;
    return x->patient < y->patient ? -1 : 1;
}

static int compare_u32(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* A fifth of each center x outcome group, by each patient's own draw; what rounding leaves over is carried on
 * to the next group, so that small groups give their share too. */
static void draw_inner(LobView *view, uint64_t seed) {
    g_autofree Drawn *drawn = g_new(Drawn, view->n_train);
    for (size_t i = 0; i < view->n_train; i++) {
        const LobCohortPatient *patient = &view->cohort->patients[view->train[i]];
        g_autofree char *stream = g_strconcat("inner/", patient->patient_id, NULL);
        LobRng rng;
        lob_rng_init(&rng, seed, stream);
        drawn[i] = (Drawn){view->train[i], patient->center, view->event[view->train[i]], lob_rng_u64(&rng)};
    }
    qsort(drawn, view->n_train, sizeof *drawn, compare_drawn);
    view->inner = g_new(uint32_t, view->n_train);
    double owed = 0.5; /* half a patient ahead: the total is rounded, not cut off */
    for (size_t begin = 0, end; begin < view->n_train; begin = end) {
        for (end = begin; end < view->n_train && drawn[end].center == drawn[begin].center &&
                          drawn[end].event == drawn[begin].event;
             end++)
            continue;
        owed += INNER_SHARE * (double)(end - begin);
        size_t take = MIN((size_t)owed, end - begin);
        owed -= (double)take;
        for (size_t i = begin; i < begin + take; i++)
            view->inner[view->n_inner++] = drawn[i].patient;
    }
    qsort(view->inner, view->n_inner, sizeof *view->inner, compare_u32);
}

/* ---- time ---- */

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* R's type 7: linear between order statistics. sorted [n], n > 0. */
static double quantile(const double *sorted, size_t n, double share) {
    double position = share * (double)(n - 1);
    size_t below = (size_t)position;
    if (below + 1 >= n)
        return sorted[n - 1];
    return sorted[below] + (position - (double)below) * (sorted[below + 1] - sorted[below]);
}

/* Fewer intervals where events are few: a hazard fitted to less than a handful of events is noise. */
static void cut_time(LobView *view) {
    const int wanted = view->cohort->study->model.intervals;
    g_autofree double *times = g_new(double, view->n_train);
    size_t n = 0;
    for (size_t i = 0; i < view->n_train; i++)
        if (view->event[view->train[i]] == 1)
            times[n++] = view->time[view->train[i]];
    qsort(times, n, sizeof *times, compare_doubles);
    size_t intervals = wanted > 0 ? (size_t)wanted : INTERVALS_DEFAULT;
    intervals = MAX((size_t)1, MIN(intervals, n / EVENTS_PER_INTERVAL));
    view->cuts = g_new(double, intervals);
    for (size_t b = 0; b < intervals; b++) {
        double cut = quantile(times, n, (double)(b + 1) / (double)intervals);
        if (view->n_cuts == 0 || cut > view->cuts[view->n_cuts - 1])
            view->cuts[view->n_cuts++] = cut;
    }
}

/* ---- covariates ---- */

typedef struct {
    LobView *view;
    GPtrArray *names, *columns; /* columns: float * [patient] */
    GArray *made;               /* LobDesignColumn, one a column */
    /* The covariate in hand: NULL, or what its levels are as numbers [level]. A text in the held-out center
     * makes the table's column one of levels; where every training cell is a number it is a number here all
     * the same, or the held-out center would choose the model's design. NAN where a level is no number. */
    double *numbers;
} Design;

float lob_design_number(const LobDesignColumn *column, double value) {
    return (float)(((isnan(value) ? column->median : value) - column->mean) / column->sd);
}

void lob_design_clear(LobDesignColumn *columns, size_t n) {
    for (size_t i = 0; columns && i < n; i++) {
        g_free(columns[i].covariate);
        g_free(columns[i].level);
        g_free(columns[i].reference);
    }
    g_free(columns);
}

static float *add_column(Design *design, char *name, LobDesignColumn made) {
    float *column = g_new0(float, design->view->cohort->n_patients);
    g_ptr_array_add(design->names, name);
    g_array_append_val(design->made, made);
    g_ptr_array_add(design->columns, column);
    return column;
}

/* Columns of the vector count on after the covariates. */
static double cell(const LobView *view, size_t patient, size_t covariate) {
    const LobCohort *cohort = view->cohort;
    const size_t n = cohort->study->n_covariates;
    return covariate < n ? cohort->covariates[patient * n + covariate]
                         : cohort->imaging[patient * cohort->n_imaging + covariate - n];
}

static const char *name_of(const LobView *view, size_t covariate) {
    const size_t n = view->cohort->study->n_covariates;
    return covariate < n ? view->cohort->study->covariates[covariate]
                         : view->cohort->imaging_names[covariate - n];
}

/* NULL: numbers. */
static char **levels_of(const LobView *view, size_t covariate) {
    return covariate < view->cohort->study->n_covariates ? view->cohort->levels[covariate] : NULL;
}

/* Name of a training center in which no training patient has a value, or NULL. */
static const char *absent_in(const LobView *view, size_t covariate) {
    const LobCohort *cohort = view->cohort;
    g_autofree uint8_t *seen = g_new0(uint8_t, cohort->n_centers); /* 1 patients, 2 values */
    for (size_t i = 0; i < view->n_train; i++) {
        uint32_t p = view->train[i];
        seen[cohort->patients[p].center] |= isnan(cell(view, p, covariate)) ? 1 : 3;
    }
    for (size_t c = 0; c < cohort->n_centers; c++)
        if (seen[c] == 1)
            return cohort->centers[c];
    return NULL;
}

/* A cell as a number: its own, or that of its level. */
static double number_of(const Design *design, size_t patient, size_t covariate) {
    double value = cell(design->view, patient, covariate);
    return design->numbers != NULL && !isnan(value) ? design->numbers[(size_t)value] : value;
}

/* Levels as numbers where all of those that training has are numbers, else NULL. Free with g_free. */
static double *levels_as_numbers(const LobView *view, size_t covariate) {
    char **levels = levels_of(view, covariate);
    if (levels == NULL)
        return NULL;
    g_autofree double *numbers = g_new(double, g_strv_length(levels) + 1);
    for (size_t l = 0; levels[l] != NULL; l++)
        if (!lob_text_number(levels[l], &numbers[l]))
            numbers[l] = NAN;
    for (size_t i = 0; i < view->n_train; i++) {
        double value = cell(view, view->train[i], covariate);
        if (!isnan(value) && isnan(numbers[(size_t)value]))
            return NULL;
    }
    return g_steal_pointer(&numbers);
}

/* Median over training values for what is missing, then mean 0 and SD 1 over training patients. */
static void add_number(Design *design, size_t covariate, double *values, size_t n) {
    LobView *view = design->view;
    const size_t n_train = view->n_train;
    qsort(values, n, sizeof *values, compare_doubles);
    const double median = quantile(values, n, 0.5);
    double mean = 0, square = 0;
    for (size_t i = 0; i < n_train; i++) {
        double value = number_of(design, view->train[i], covariate);
        mean += (isnan(value) ? median : value) / (double)n_train;
    }
    for (size_t i = 0; i < n_train; i++) {
        double value = number_of(design, view->train[i], covariate);
        double distance = (isnan(value) ? median : value) - mean;
        square += distance * distance / (double)n_train;
    }
    const double sd = sqrt(square);
    const char *name = name_of(view, covariate);
    if (sd < SPREAD_MIN) {
        lob_warning("covariate '%s' is left out: its spread over training patients is below %g", name,
                    SPREAD_MIN);
        return;
    }
    LobDesignColumn made = {
        .kind = LOB_COLUMN_NUMBER, .covariate = g_strdup(name), .median = median, .mean = mean, .sd = sd};
    float *column = add_column(design, g_strdup(name), made);
    for (size_t p = 0; p < view->cohort->n_patients; p++)
        column[p] = lob_design_number(&made, number_of(design, p, covariate));
}

/* One 0/1 column a level seen in training but the most frequent one, which also stands for missing values and
 * for levels that training never saw. */
static void add_levels(Design *design, size_t covariate, const double *values, size_t n) {
    LobView *view = design->view;
    char **levels = levels_of(view, covariate);
    const size_t n_levels = g_strv_length(levels);
    g_autofree size_t *frequency = g_new0(size_t, n_levels);
    for (size_t i = 0; i < n; i++)
        frequency[(size_t)values[i]]++;
    size_t reference = 0;
    for (size_t l = 1; l < n_levels; l++)
        if (frequency[l] > frequency[reference])
            reference = l;
    for (size_t l = 0; l < n_levels; l++) {
        if (l == reference || frequency[l] == 0)
            continue;
        const char *name = name_of(view, covariate);
        LobDesignColumn made = {.kind = LOB_COLUMN_LEVEL,
                                .covariate = g_strdup(name),
                                .level = g_strdup(levels[l]),
                                .reference = g_strdup(levels[reference])};
        float *column = add_column(design, g_strdup_printf("%s=%s", name, levels[l]), made);
        for (size_t p = 0; p < view->cohort->n_patients; p++)
            column[p] = cell(view, p, covariate) == (double)l ? 1.0f : 0.0f;
    }
}

static bool all_equal(const double *values, size_t n) {
    for (size_t i = 1; i < n; i++)
        if (values[i] != values[0])
            return false;
    return true;
}

/* Said, not acted on: what the held-out center lacks must not choose the model. */
static void warn_of_held_out(const Design *design, size_t covariate, const char *fold_name) {
    const LobView *view = design->view;
    for (size_t i = 0; i < view->n_held_out; i++)
        if (!isnan(number_of(design, view->held_out[i], covariate)))
            return;
    if (view->n_held_out > 0)
        lob_warning(
            "fold '%s': no held-out patient has a usable value of covariate '%s'; the training median or "
            "reference stands for it",
            fold_name, name_of(view, covariate));
}

static void add_covariate(Design *design, size_t covariate, const char *fold_name) {
    LobView *view = design->view;
    const char *name = name_of(view, covariate);
    const char *absent = absent_in(view, covariate);
    if (absent != NULL) {
        lob_info("fold '%s': covariate '%s' is left out, center '%s' has no value of it", fold_name, name,
                 absent);
        return;
    }
    g_autofree double *numbers = design->numbers = levels_as_numbers(view, covariate);
    g_autofree double *values = g_new(double, view->n_train);
    size_t n = 0;
    for (size_t i = 0; i < view->n_train; i++) {
        double value = number_of(design, view->train[i], covariate);
        if (!isnan(value))
            values[n++] = value;
    }
    if (all_equal(values, n))
        lob_info("fold '%s': covariate '%s' is left out, it is constant in training", fold_name, name);
    else if (levels_of(view, covariate) != NULL && numbers == NULL)
        add_levels(design, covariate, values, n);
    else
        add_number(design, covariate, values, n);
    warn_of_held_out(design, covariate, fold_name);
    if (n == view->n_train)
        return;
    LobDesignColumn made = {.kind = LOB_COLUMN_MISSING, .covariate = g_strdup(name)};
    float *flag = add_column(design, g_strdup_printf("%s missing", name), made);
    for (size_t p = 0; p < view->cohort->n_patients; p++)
        flag[p] = isnan(number_of(design, p, covariate)) ? 1.0f : 0.0f;
}

static void fit_covariates(LobView *view, const char *fold_name) {
    g_autoptr(GPtrArray) columns = g_ptr_array_new_with_free_func(g_free);
    Design design = {view, g_ptr_array_new(), columns, g_array_new(FALSE, FALSE, sizeof(LobDesignColumn)),
                     NULL};
    for (size_t c = 0; c < view->cohort->study->n_covariates; c++)
        add_covariate(&design, c, fold_name);
    view->n_clinical = columns->len;
    for (size_t v = 0; v < view->cohort->n_imaging; v++)
        add_covariate(&design, view->cohort->study->n_covariates + v, fold_name);
    const size_t width = columns->len, n = view->cohort->n_patients;
    view->n_covariates = width;
    view->covariates = g_new(float, MAX((size_t)1, n * width));
    for (size_t p = 0; p < n; p++)
        for (size_t c = 0; c < width; c++)
            view->covariates[p * width + c] = ((const float *)columns->pdata[c])[p];
    g_ptr_array_add(design.names, NULL);
    view->names = (char **)g_ptr_array_free(design.names, FALSE);
    view->design = (LobDesignColumn *)(void *)g_array_free(design.made, FALSE);
}

/* ---- whole ---- */

static bool check_trainable(const LobView *view, const char *fold_name, GError **err) {
    const LobEndpoint *e = &view->cohort->study->endpoints[view->endpoint];
    size_t events = 0, first = 0;
    for (size_t i = 0; i < view->n_train; i++) {
        events += view->event[view->train[i]] == 1;
        first += view->event[view->train[i]] == view->event[view->train[0]];
    }
    if (e->kind == LOB_ENDPOINT_SURVIVAL && events == 0)
        return lob_fail(err, LOB_ERROR_NOT_ESTIMABLE,
                        "endpoint '%s', fold '%s' held out: no event among the %zu training patients",
                        e->name, fold_name, view->n_train);
    if (e->kind != LOB_ENDPOINT_SURVIVAL && first == view->n_train)
        return lob_fail(err, LOB_ERROR_NOT_ESTIMABLE,
                        "endpoint '%s', fold '%s' held out: fewer than two classes among the %zu training "
                        "patients",
                        e->name, fold_name, view->n_train);
    return true;
}

LobView *lob_view_new(const LobCohort *cohort, const LobFolds *folds, size_t endpoint, int repeat, int fold,
                      uint64_t seed, GError **err) {
    g_assert(endpoint < cohort->study->n_endpoints && folds->n_patients == cohort->n_patients);
    g_assert(repeat >= 0 && repeat < folds->repeats && fold >= LOB_FOLD_FINAL && fold < folds->folds);
    g_autoptr(LobView) view = g_new0(LobView, 1);
    view->cohort = cohort;
    view->endpoint = endpoint;
    view->repeat = repeat;
    view->fold = fold;
    const char *name = fold == LOB_FOLD_FINAL ? "none" : folds->names[fold];
    split_patients(view, folds);
    if (!check_trainable(view, name, err))
        return NULL;
    number_classes(view);
    draw_inner(view, seed);
    fit_covariates(view, name);
    if (cohort->study->endpoints[endpoint].kind == LOB_ENDPOINT_SURVIVAL)
        cut_time(view);
    return g_steal_pointer(&view);
}

void lob_view_free(LobView *view) {
    if (view == NULL)
        return;
    g_free(view->train);
    g_free(view->inner);
    g_free(view->held_out);
    g_free(view->time);
    g_free(view->event);
    g_free(view->classes);
    g_strfreev(view->names);
    lob_design_clear(view->design, view->n_covariates);
    g_free(view->covariates);
    g_free(view->cuts);
    g_free(view);
}
