#include "model_fixture.h"
#include "stats/stats.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

bool is_changed(Change change, int p) {
    return p % CENTERS == change.center || p == change.patient;
}

static void write_tables(const World *w, Change change) {
    g_autoptr(GString) patients = g_string_new("patient_id,center,age,grade,days,event,label,class\n");
    g_autoptr(GString) slides = g_string_new("slide_id,patient_id,center,path\n");
    LobRng rng;
    lob_rng_init(&rng, 3, "outcomes");
    for (int p = 0; p < PATIENTS; p++) {
        double latent = sin(p * 2.4), t = ceil(400 * lob_rng_exponential(&rng) / exp(1.5 * latent));
        double limit = 200 + 600 * lob_rng_uniform(&rng);
        int event = t <= limit, label = latent + 0.4 * lob_rng_normal(&rng) > 0;
        double age = 60 + 8 * lob_rng_normal(&rng);
        const char *class = latent < -0.5 ? "poor" : latent < 0.5 ? "fair" : "good";
        const char *grade = lob_rng_uniform(&rng) < 0.5 ? "low" : "high";
        t = MIN(t, limit);
        if (is_changed(change, p)) {
            t = 7 * p + 3;
            event = !event;
            label = !label;
            class = p % 3 ? "alien" : "fair"; /* sorts before all that others have */
            age += 1000;
            grade = p % 8 < 4 ? "odd" : "";
        }
        g_string_append_printf(patients, "p%03d,c%d,%.3f,%s,%.0f,%d,%d,%s\n", p, p % CENTERS, age, grade,
                               MAX(t, 1), event, label, class);
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

World *world_new(Change change, const char *endpoint) {
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

void world_free(World *w) {
    lob_folds_free(w->folds);
    lob_cohort_free(w->cohort);
    lob_study_free(w->study);
    g_free(w->dir);
    g_free(w);
}

LobModelOptions options_for(const World *w, const char *kind) {
    LobModelOptions options;
    cr_assert(lob_model_defaults_of(kind, w->study->endpoints[0].kind, &options, NULL));
    options.seed = 7;
    options.epochs = MIN(options.epochs, 15);
    options.hidden = MIN(options.hidden, 8);
    options.attention = MIN(options.attention, 4);
    return options;
}

double held_out_c(const World *w, int fold, const LobModelResult *r) {
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
