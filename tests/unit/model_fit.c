/* Training as a whole: nothing of a held-out center gets into the model, what is planted is found, and odd
 * data do no harm. Cohorts are written as tables and read as a study's would be. */
#include "model/model.h"
#include "stats/stats.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PATIENTS = 80, CENTERS = 4, DIM = 6, TILES = 10 };

typedef struct {
    char *dir;
    LobStudy *study;
    LobCohort *cohort;
    LobFolds *folds;
    uint64_t first[PATIENTS], count[PATIENTS];
    uint16_t features[PATIENTS * TILES * DIM];
    LobBags bags;
} World;

/* What is changed against the plain cohort: of patients of a center, or of one patient. */
typedef struct {
    int center;  /* -1 none */
    int patient; /* -1 none */
} Change;
static const Change no_change = {-1, -1};

static bool is_changed(Change change, int p) {
    return p % CENTERS == change.center || p == change.patient;
}

static void write_tables(const World *w, Change change) {
    g_autoptr(GString) patients = g_string_new("patient_id,center,age,grade,days,event,label\n");
    g_autoptr(GString) slides = g_string_new("slide_id,patient_id,center,path\n");
    LobRng rng;
    lob_rng_init(&rng, 3, "outcomes");
    for (int p = 0; p < PATIENTS; p++) {
        double latent = sin(p * 2.4), t = ceil(400 * lob_rng_exponential(&rng) / exp(1.5 * latent));
        double limit = 200 + 600 * lob_rng_uniform(&rng);
        int event = t <= limit, label = latent + 0.4 * lob_rng_normal(&rng) > 0;
        double age = 60 + 8 * lob_rng_normal(&rng);
        const char *grade = lob_rng_uniform(&rng) < 0.5 ? "low" : "high";
        t = MIN(t, limit);
        if (is_changed(change, p)) {
            t = 7 * p + 3;
            event = !event;
            label = !label;
            age += 1000;
            grade = p % 8 < 4 ? "odd" : "";
        }
        g_string_append_printf(patients, "p%03d,c%d,%.3f,%s,%.0f,%d,%d\n", p, p % CENTERS, age, grade,
                               MAX(t, 1), event, label);
        g_string_append_printf(slides, "s%03d,p%03d,c%d,s%03d.h5\n", p, p, p % CENTERS, p);
    }
    g_autofree char *a = g_build_filename(w->dir, "patients.csv", NULL);
    g_autofree char *b = g_build_filename(w->dir, "slides.csv", NULL);
    cr_assert(g_file_set_contents(a, patients->str, -1, NULL) &&
              g_file_set_contents(b, slides->str, -1, NULL));
}

/* Column 0 carries the latent, the last one is constant; a changed patient gets other tiles and fewer. */
static void fill_bags(World *w, Change change) {
    LobRng rng;
    lob_rng_init(&rng, 4, "tiles");
    for (int p = 0; p < PATIENTS; p++) {
        w->first[p] = (uint64_t)p * TILES;
        w->count[p] = is_changed(change, p) ? TILES / 2 : TILES;
        for (int i = 0; i < TILES * DIM; i++) {
            double x = lob_rng_normal(&rng) + (i % DIM == 0 ? 1.5 * sin(p * 2.4) : 0);
            x = i % DIM == DIM - 1 ? 3 : is_changed(change, p) ? 50 - 9 * x : x;
            w->features[p * TILES * DIM + i] = lob_half_from_float((float)x);
        }
    }
    w->bags = (LobBags){PATIENTS, DIM, w->first, w->count, w->features, NULL, NULL};
}

static World *world_new(Change change, const char *endpoint) {
    World *w = g_new0(World, 1);
    g_autoptr(GError) err = NULL;
    w->dir = g_dir_make_tmp("lob-model-XXXXXX", &err);
    cr_assert(w->dir, "%s", err ? err->message : "");
    g_autofree char *path = g_build_filename(w->dir, "study.yaml", NULL);
    g_autofree char *features = g_build_filename(w->dir, "features", NULL);
    g_autofree char *text = g_strdup_printf("study: t\ncohort: {slides: slides.csv, patients: patients.csv}\n"
                                            "features: features\n"
                                            "endpoints:\n  - %s\ncovariates: [age, grade]\noutput: out\n",
                                            endpoint);
    cr_assert(lob_make_dirs(features, &err) && g_file_set_contents(path, text, -1, NULL));
    write_tables(w, change);
    w->study = lob_study_read(path, NULL, &err);
    cr_assert(w->study, "%s", err ? err->message : "");
    w->cohort = lob_cohort_read(w->study, &err);
    cr_assert(w->cohort, "%s", err ? err->message : "");
    w->folds = lob_folds_make(w->cohort, &err);
    cr_assert(w->folds, "%s", err ? err->message : "");
    fill_bags(w, change);
    return w;
}

static void world_free(World *w) {
    static const char *const names[] = {"study.yaml", "patients.csv", "slides.csv", "features", ""};
    lob_folds_free(w->folds);
    lob_cohort_free(w->cohort);
    lob_study_free(w->study);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(w->dir, names[i], NULL);
        (void)remove(path);
    }
    g_free(w->dir);
    g_free(w);
}

static const char survival[] =
    "{name: rfs, kind: survival, time: days, event: event, horizons: [100, 300, 90000]}";
static const char binary[] = "{name: lab, kind: binary, label: label}";

static LobModelResult fit_with(const World *w, int fold, const LobModelOptions *options) {
    g_autoptr(GError) err = NULL;
    g_autoptr(LobView) view = lob_view_new(w->cohort, w->folds, 0, 0, fold, options->seed, &err);
    cr_assert(view, "%s", err ? err->message : "");
    LobModelResult result;
    cr_assert(lob_model_fit(view, &w->bags, options, &result, NULL, NULL, &err), "%s",
              err ? err->message : "");
    return result;
}

static LobModelOptions options_for(const World *w, const char *kind) {
    LobModelOptions options;
    cr_assert(lob_model_defaults_of(kind, w->study->endpoints[0].kind, &options, NULL));
    options.seed = 7;
    options.epochs = MIN(options.epochs, 15);
    options.hidden = MIN(options.hidden, 8);
    options.attention = MIN(options.attention, 4);
    return options;
}

static LobModelResult fit(const World *w, int fold, const char *kind) {
    LobModelOptions options = options_for(w, kind);
    return fit_with(w, fold, &options);
}

static bool same_model(const LobModelResult *a, const LobModelResult *b) {
    return a->n_weights == b->n_weights && a->best_epoch == b->best_epoch &&
           memcmp(a->weights, b->weights, a->n_weights * sizeof(float)) == 0 && a->cut == b->cut;
}

/* Outcomes, covariates, a factor level of its own, missing cells, features and tile counts of the held-out
 * center are all replaced: not a bit of the model moves. */
static void check_leakage(const char *kind, const char *endpoint) {
    World *plain = world_new(no_change, endpoint), *changed = world_new((Change){2, -1}, endpoint);
    LobModelResult a = fit(plain, 2, kind), b = fit(changed, 2, kind);
    cr_expect(same_model(&a, &b), "%s: the held-out center moved the model", kind);
    LobModelResult c = fit(plain, 1, kind), d = fit(changed, 1, kind);
    cr_expect_not(same_model(&c, &d), "%s: a training center must move the model", kind);
    LobModelResult *all[] = {&a, &b, &c, &d};
    for (size_t i = 0; i < G_N_ELEMENTS(all); i++)
        lob_model_result_clear(all[i]);
    world_free(plain);
    world_free(changed);
}

Test(model, held_out_center_cannot_reach_the_model) {
    check_leakage("abmil", survival);
    check_leakage("mean", survival);
    check_leakage("clinical", survival);
    check_leakage("abmil", binary);
}

Test(model, one_training_patient_moves_the_model) {
    World *plain = world_new(no_change, survival), *changed = world_new((Change){-1, 3}, survival);
    LobModelResult a = fit(plain, 2, "abmil"), b = fit(changed, 2, "abmil");
    cr_expect_not(same_model(&a, &b));
    lob_model_result_clear(&a);
    lob_model_result_clear(&b);
    world_free(plain);
    world_free(changed);
}

/* Same seed, same bits; another seed, another model. */
Test(model, a_seed_is_a_model) {
    World *w = world_new(no_change, survival);
    LobModelResult a = fit(w, 0, "abmil"), b = fit(w, 0, "abmil");
    LobModelOptions options = options_for(w, "abmil");
    options.seed = 8;
    LobModelResult c = fit_with(w, 0, &options);
    cr_expect(same_model(&a, &b));
    cr_expect_not(same_model(&a, &c));
    lob_model_result_clear(&a);
    lob_model_result_clear(&b);
    lob_model_result_clear(&c);
    world_free(w);
}

/* Concordance within the held-out center of what was planted in column 0. */
static double held_out_c(const World *w, int fold, const LobModelResult *r) {
    double time[PATIENTS], lp[PATIENTS];
    uint8_t event[PATIENTS];
    size_t n = 0;
    for (int p = 0; p < PATIENTS; p++) {
        cr_expect_eq(isnan(r->lp[p]), p % CENTERS != fold, "patient %d", p);
        if (p % CENTERS != fold)
            continue;
        bool surv = w->study->endpoints[0].kind == LOB_ENDPOINT_SURVIVAL;
        event[n] = w->cohort->event[0][p] == 1;
        time[n] = surv ? w->cohort->time[0][p] : event[n] ? 0 : 1;
        lp[n++] = (double)r->lp[p];
    }
    LobFollowUp data = {.n = n, .time = time, .event = event};
    g_auto(LobConcordance) c;
    lob_concordance(&c, &data, lp, NULL);
    return c.c;
}

static void check_finds(const char *kind, const char *endpoint) {
    World *w = world_new(no_change, endpoint);
    LobModelOptions options = options_for(w, kind);
    options.epochs = 60;
    double sum = 0;
    for (int fold = 0; fold < CENTERS; fold++) {
        LobModelResult r = fit_with(w, fold, &options);
        sum += held_out_c(w, fold, &r) / CENTERS;
        lob_model_result_clear(&r);
    }
    cr_expect_gt(sum, 0.68, "%s: mean held-out C %.3f", kind, sum);
    world_free(w);
}

Test(model, finds_what_is_planted) {
    check_finds("abmil", survival);
    check_finds("mean", survival);
    check_finds("abmil", binary);
    check_finds("mean", binary);
}

/* S(t) falls with t and with risk, is absent beyond the last interval, and attention adds up to one. */
Test(model, predictions_are_probabilities) {
    World *w = world_new(no_change, survival);
    LobModelResult r = fit(w, 1, "abmil");
    cr_assert_eq(r.n_horizons, 3);
    for (int p = 1; p < PATIENTS; p += CENTERS) {
        const float *s = r.survival + p * 3;
        double sum = 0;
        cr_expect(s[0] > s[1] && s[0] < 1 && s[1] > 0 && isnan(s[2]));
        for (int q = 1; q < PATIENTS; q += CENTERS)
            cr_expect(!(r.lp[p] > r.lp[q]) || s[1] < r.survival[q * 3 + 1]);
        for (uint64_t i = w->first[p]; i < w->first[p] + w->count[p]; i++)
            sum += (double)r.attention[i];
        cr_expect_float_eq(sum, 1, 1e-5);
    }
    lob_model_result_clear(&r);
    world_free(w);
}

/* A patient without a tile is not scored and does no harm; one tile is enough; a column of one value counts
 * for nothing. */
Test(model, odd_bags_do_no_harm) {
    World *w = world_new(no_change, survival);
    w->count[0] = 0;
    w->count[1] = 1;
    w->count[4] = 0;
    for (int fold = 0; fold < 2; fold++) {
        LobModelResult r = fit(w, fold, "abmil");
        for (int p = fold; p < PATIENTS; p += CENTERS)
            cr_expect_eq(isnan(r.lp[p]), w->count[p] == 0, "patient %d", p);
        for (size_t i = 0; i < r.n_weights; i++)
            cr_assert(isfinite(r.weights[i]));
        lob_model_result_clear(&r);
    }
    world_free(w);
}

/* The same slide twice, and tiles that could not be read, change nothing at all. */
Test(model, repeated_and_unreadable_rows_do_not_count) {
    enum { WIDE = 2 * TILES + 1 };
    World *w = world_new(no_change, survival);
    g_autofree uint16_t *twice = g_new(uint16_t, PATIENTS * WIDE * DIM);
    uint64_t first[PATIENTS], count[PATIENTS];
    g_autofree uint64_t *origin = g_new0(uint64_t, PATIENTS * WIDE);
    for (int p = 0; p < PATIENTS; p++) {
        size_t bytes = TILES * DIM * sizeof(uint16_t);
        uint16_t *to = twice + (size_t)p * WIDE * DIM;
        first[p] = (uint64_t)p * WIDE;
        count[p] = WIDE;
        for (int j = 0; j < DIM; j++)
            to[j] = j == 2 ? 0x7e00 : 0x3c00;
        memcpy(to + DIM, w->features + p * TILES * DIM, bytes);
        memcpy(to + DIM + TILES * DIM, w->features + p * TILES * DIM, bytes);
    }
    cr_expect_eq(lob_bags_compact(twice, DIM, PATIENTS, first, count, origin), PATIENTS * (TILES + 1));
    cr_expect_eq(count[5], TILES);
    cr_expect_eq(origin[first[5]], first[5] + 1);
    LobModelResult a = fit(w, 0, "abmil");
    w->bags = (LobBags){PATIENTS, DIM, first, count, twice, NULL, NULL};
    LobModelResult b = fit(w, 0, "abmil");
    cr_expect(same_model(&a, &b));
    for (int p = 0; p < PATIENTS; p += CENTERS)
        cr_expect_eq(a.lp[p], b.lp[p]);
    lob_model_result_clear(&a);
    lob_model_result_clear(&b);
    world_free(w);
}

static bool stop_at_once(void *user) {
    (*(int *)user)++;
    return true;
}

Test(model, stops_where_asked) {
    World *w = world_new(no_change, survival);
    LobModelOptions options = options_for(w, "mean");
    g_autoptr(LobView) view = lob_view_new(w->cohort, w->folds, 0, 0, 0, 1, NULL);
    g_autoptr(GError) err = NULL;
    LobModelResult result;
    int asked = 0;
    cr_expect_not(lob_model_fit(view, &w->bags, &options, &result, stop_at_once, &asked, &err));
    cr_expect(g_error_matches(err, LOB_ERROR, LOB_ERROR_STOPPED));
    cr_expect_eq(asked, 1);
    world_free(w);
}

Test(model, unknown_kind_is_an_input_error) {
    LobModelOptions options;
    g_autoptr(GError) err = NULL;
    cr_expect_not(lob_model_defaults_of("magic", LOB_ENDPOINT_SURVIVAL, &options, &err));
    cr_expect(g_error_matches(err, LOB_ERROR, LOB_ERROR_INPUT));
    cr_expect(strstr(err->message, "abmil"));
}
