/* The report from tables that mean no good: hostile names, tables that are missing, arms without events. */
#include "report/report_internal.h"

#include <criterion/criterion.h>
#include <glib/gstdio.h>
#include <math.h>
#include <string.h>

/* ---- text ---- */

Test(report, text_is_escaped) {
    g_autoptr(GString) out = g_string_new(NULL);
    lob_html_text(out, "<script>alert('x')</script> \"a\" & b\x01\xe2\x80\xae \xe4\xb8\xad\xe5\xbf\x83");
    cr_assert_str_eq(out->str, "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &quot;a&quot; &amp; b "
                               "\xe4\xb8\xad\xe5\xbf\x83");
}

Test(report, json_cannot_leave_its_script) {
    g_autoptr(GString) out = g_string_new(NULL);
    lob_html_json(out, "</script><!-- \"\\ \n");
    cr_assert_null(strstr(out->str, "</"));
    cr_assert_null(strstr(out->str, "<!"));
    cr_assert_str_eq(out->str, "\"\\u003c/script\\u003e\\u003c!-- \\u0022\\u005c \\u000a\"");
}

Test(report, labels_are_cut_to_fit) {
    g_autofree char *whole = lob_plot_fit("center-01", 100),
                    *cut = lob_plot_fit("a very long name of a center", 100);
    cr_assert_str_eq(whole, "center-01");
    cr_assert(g_str_has_suffix(cut, "\xe2\x80\xa6") && strlen(cut) < 20);
    g_autofree char *wide =
        lob_plot_fit("\xe4\xb8\xad\xe5\xbf\x83\xe5\x8c\xbb\xe9\x99\xa2\xe7\xac\xac\xe4\xb8\x80", 60);
    cr_assert(g_utf8_validate(wide, -1, NULL) && g_str_has_suffix(wide, "\xe2\x80\xa6"));
}

Test(report, ticks_are_round_and_inside) {
    double ticks[12];
    const size_t n = lob_plot_ticks(-0.12, 0.37, ticks, 7);
    cr_assert(n >= 3 && n <= 7);
    for (size_t i = 0; i < n; i++)
        cr_assert(ticks[i] >= -0.12 - 1e-9 && ticks[i] <= 0.37 + 1e-9);
    cr_assert_eq(lob_plot_ticks(1, 1, ticks, 7), 0);
}

/* ---- whole pages ---- */

typedef struct {
    char *dir, *study_path;
    LobStudy *study;
    LobCohort *cohort;
} Fixture;

#define PATIENTS 120

static void put(const char *dir, const char *name, const char *text) {
    g_autofree char *path = g_build_filename(dir, name, NULL);
    cr_assert(g_file_set_contents(path, text, -1, NULL));
}

/* A CSV cell in quotes. */
static void quoted(GString *out, const char *text) {
    g_string_append_c(out, '"');
    for (const char *p = text; *p; p++) {
        if (*p == '"')
            g_string_append_c(out, '"');
        g_string_append_c(out, *p);
    }
    g_string_append_c(out, '"');
}

static double time_of(LobRng *rng, double lp) {
    return ceil(lob_rng_exponential(rng) * 900 * exp(-lp)) + 1;
}

/* centers: names, NULL-terminated. Arm tace for every second patient; own: with s_own and event_own. */
static Fixture fixture(const char *const *centers, bool own) {
    Fixture f = {.dir = g_dir_make_tmp("lobule-report-XXXXXX", NULL)};
    size_t n_centers = 0;
    while (centers[n_centers])
        n_centers++;
    put(f.dir, "study.yaml",
        "study: \"a <b>bold</b> study\"\ncohort: {slides: slides.csv, patients: patients.csv}\n"
        "endpoints:\n  - {name: rfs, kind: survival, time: t, event: e, horizons: [365]}\n"
        "arms: {column: arm, levels: {none: [0, 0], tace: [1, 0], both: [1, 1]}}\n"
        "covariates: [age]\nmodel: {kind: abmil, benefit: true}\noutput: out\n");
    g_autoptr(GString)
        patients = g_string_new("patient_id,center,t,e,arm,age\n"),
        slides = g_string_new("slide_id,patient_id,center,path\n"),
        predictions =
            g_string_new("endpoint,model,patient_id,center,repeat,fold,arm,time,event,label,linear_predictor,"
                         "risk_group,s_365");
    g_string_append(predictions, own ? ",s_own,event_own\n" : "\n");
    LobRng rng;
    lob_rng_init(&rng, 7, "report");
    for (int i = 0; i < PATIENTS; i++) {
        const char *center = centers[(size_t)i % n_centers], *arm = i / 2 % 2 ? "tace" : "none";
        const double lp = lob_rng_normal(&rng), t = time_of(&rng, lp), h = exp(lp) / 900;
        const int event = t < 2500;
        g_string_append_printf(patients, "P%03d,", i);
        quoted(patients, center);
        g_string_append_printf(patients, ",%g,%d,%s,%g\n", fmin(t, 2500), event, arm, floor(60 + 9 * lp));
        g_string_append_printf(slides, "S%03d,P%03d,", i, i);
        quoted(slides, center);
        g_string_append(slides, ",x.svs\n");
        g_string_append_printf(predictions, "rfs,abmil,P%03d,", i);
        quoted(predictions, center);
        g_string_append_printf(predictions, ",0,%zu,%s,%g,%d,,%.17g,%s,%.17g", (size_t)i % n_centers, arm,
                               fmin(t, 2500), event, lp, lp > 0 ? "high" : "low", exp(-365 * h));
        if (own)
            g_string_append_printf(predictions, ",%.17g,%d", exp(-fmin(t, 2500) * h), event);
        g_string_append_c(predictions, '\n');
    }
    put(f.dir, "patients.csv", patients->str);
    put(f.dir, "slides.csv", slides->str);
    f.study_path = g_build_filename(f.dir, "study.yaml", NULL);
    GError *err = NULL;
    f.study = lob_study_read(f.study_path, NULL, &err);
    cr_assert_not_null(f.study, "%s", err ? err->message : "");
    f.cohort = lob_cohort_read(f.study, &err);
    cr_assert_not_null(f.cohort, "%s", err ? err->message : "");
    cr_assert(lob_make_dirs(f.study->output, NULL));
    put(f.study->output, "predictions.csv", predictions->str);
    g_autoptr(GString) metrics = g_string_new("endpoint,model,center,metric,estimate,lower,upper,n,events\n");
    for (size_t c = 0; c < n_centers; c++) {
        g_string_append(metrics, "rfs,abmil,");
        quoted(metrics, centers[c]);
        g_string_append(metrics, ",harrell_c,0.7,0.6,0.8,40,31\n");
    }
    g_string_append(metrics, "rfs,abmil,pooled,harrell_c,0.71,0.66,0.76,120,100\n");
    put(f.study->output, "metrics.csv", metrics->str);
    put(f.study->output, "meta.csv",
        "endpoint,model,metric,centers,pooled,lower,upper,tau2,i2,prediction_lower,prediction_upper\n"
        "rfs,abmil,harrell_c,3,0.7,0.61,0.78,0,0,0.45,0.86\n");
    return f;
}

static void fixture_clear(Fixture *f) {
    lob_cohort_free(f->cohort);
    lob_study_free(f->study);
    g_free(f->study_path);
    g_free(f->dir);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Fixture, fixture_clear)

static char *page_of(const Fixture *f) {
    GError *err = NULL;
    cr_assert(lob_report_write(f->cohort, &err), "%s", err ? err->message : "");
    g_autofree char *path = g_build_filename(f->study->output, "report.html", NULL);
    char *text = NULL;
    cr_assert(g_file_get_contents(path, &text, NULL, NULL));
    cr_assert(g_utf8_validate(text, -1, NULL));
    return text;
}

static size_t count(const char *text, const char *what) {
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, what)); p += strlen(what))
        n++;
    return n;
}

Test(report, hostile_names_stay_text) {
    g_autofree char *endless = g_strnfill(200, 'w');
    const char *const centers[] = {"<script>alert(1)<!--", "a \"quoted\" 'center' & <b>",
                                   "\xe6\xb5\x99\xe6\xb1\x9f\xe5\xa4\xa7\xe5\xad\xa6", endless, NULL};
    g_auto(Fixture) f = fixture(centers, false);
    g_autofree char *page = page_of(&f);
    cr_assert_null(strstr(page, "<!--"));
    cr_assert_null(strstr(page, "<b>bold"));
    cr_assert_null(strstr(page, "& <b>"));
    cr_assert_not_null(strstr(page, "&lt;script&gt;alert(1)&lt;!--"));
    cr_assert_not_null(strstr(page, centers[2]));
    cr_assert_not_null(strstr(page, endless));
    /* The program's own two scripts: the look-up's data and the behaviour. A center's name may hold no slash.
     */
    cr_assert_eq(count(page, "<script"), 2);
    cr_assert_eq(count(page, "</script>"), 2);
    static const char *const never[] = {">nan", "\"nan", " nan", ",nan", "-nan", "Hnan", "Vnan"};
    for (size_t i = 0; i < G_N_ELEMENTS(never); i++)
        cr_assert_eq(count(page, never[i]), 0, "%s", never[i]);
}

Test(report, evidence_stands_in_its_table) {
    const char *const centers[] = {"a", "b", "c", NULL};
    g_auto(Fixture) f = fixture(centers, true);
    g_autofree char *page = page_of(&f), *path = g_build_filename(f.study->output, "evidence.csv", NULL);
    GError *err = NULL;
    g_autoptr(LobTable) t = lob_table_read(path, &err);
    cr_assert_not_null(t, "%s", err ? err->message : "");
    const int center = lob_table_find(t, "center"), metric = lob_table_find(t, "metric"),
              estimate = lob_table_find(t, "estimate"), horizon = lob_table_find(t, "horizon");
    size_t found = 0;
    for (size_t r = 0; r < lob_table_rows(t); r++) {
        double v;
        cr_assert(lob_table_number(t, r, estimate, &v, &err));
        const char *m = lob_table_cell(t, r, metric), *c = lob_table_cell(t, r, center);
        if (strcmp(c, LOB_ALL) != 0)
            continue;
        /* The predictions are the truth the outcomes were drawn from. */
        double low = -INFINITY, high = INFINITY;
        if (strcmp(m, "calibration_in_the_large") == 0) {
            low = 0.7; /* observed over expected */
            high = 1.35;
        } else if (strcmp(m, "observed_expected") == 0 || strcmp(m, "calibration_slope") == 0) {
            low = 0.75;
            high = 1.25;
        } else if (strcmp(m, "d_calibration_p") == 0) {
            low = 0.01;
            high = 1;
        } else if (strcmp(m, "ipa") == 0) {
            cr_assert_str_eq(lob_table_cell(t, r, horizon), "365");
            low = 0.05;
            high = 0.6;
        } else {
            continue;
        }
        cr_assert(v > low && v < high, "%s %g", m, v);
        found++;
    }
    cr_assert_eq(found, 6, "%zu", found);
}

Test(report, verdict_follows_the_tables) {
    const char *const centers[] = {"a", "b", "c", NULL};
    g_auto(Fixture) f = fixture(centers, false);
    g_autofree char *page = page_of(&f);
    cr_assert_not_null(strstr(page, "class=\"verdict\">Prognostic<"));
    cr_assert_not_null(strstr(page, "there is no verdict.json"));
    cr_assert_not_null(strstr(page, "Contrast both against none: not estimable, an arm is absent"));
    cr_assert_not_null(strstr(page, "no better than chance")); /* the prediction interval reaches below 0.5 */
    put(f.study->output, "meta.csv",
        "endpoint,model,metric,centers,pooled,lower,upper,tau2,i2,prediction_lower,prediction_upper\n"
        "rfs,abmil,harrell_c,3,0.55,0.48,0.62,0,0,0.4,0.7\n");
    g_autofree char *again = page_of(&f);
    cr_assert_not_null(strstr(again, "class=\"verdict\">Not estimable<"));
}

Test(report, verdict_of_the_benefit_stage) {
    const char *const centers[] = {"a", "b", "c", NULL};
    g_auto(Fixture) f = fixture(centers, false);
    put(f.study->output, "verdict.json",
        "{\"verdict\": \"absolute benefit through risk only\", \"reasons\": [\"because <i>so</i>\"]}");
    put(f.study->output, "benefit_metrics.csv",
        "contrast,center,metric,estimate,lower,upper,n,events,note\n"
        "tace,a,interaction_per_sd,-0.2,-0.5,0.1,40,30,\n"
        "tace,b,interaction_per_sd,,,,40,9,fewer than 10 events in an arm\n"
        "tace,pooled,interaction_per_sd,-0.2,-0.4,0,120,90,\n"
        "tace,pooled,interaction_per_sd_hartung_knapp,-0.2,-0.6,0.2,120,90,\n");
    put(f.study->output, "benefit.csv", "center,recommendation\na,tace\na,undecided\nb,\n");
    g_autofree char *page = page_of(&f);
    cr_assert_not_null(strstr(page, "class=\"verdict\">Absolute benefit through risk only<"));
    cr_assert_not_null(strstr(page, "because &lt;i&gt;so"));
    cr_assert_not_null(strstr(page, "Interaction of tace with the effect score"));
    cr_assert_not_null(strstr(page, "data-csv=\"figures/recommendations.csv\""));
    for (int v = 0; v < LOB_VERDICTS; v++) {
        g_autofree char *text = g_strdup_printf("{\"verdict\": \"%s\"}", lob_verdict_names[v]);
        put(f.study->output, "verdict.json", text);
        g_autofree char *other = page_of(&f);
        cr_assert_not_null(strstr(other, lob_verdict_names[v]));
        cr_assert_eq(v == LOB_VERDICT_NOTHING, strstr(other, "class=\"verdict\">Nothing shown<") != NULL);
    }
    put(f.study->output, "verdict.json", "{\"verdict\": \"a sure cure\"}");
    GError *err = NULL;
    cr_assert_not(lob_report_write(f.cohort, &err));
    cr_assert_eq(lob_error_exit_code(err), LOB_EXIT_INPUT);
    g_clear_error(&err);
}

Test(report, without_predictions_the_page_is_shorter) {
    const char *const centers[] = {"a", "b", NULL};
    g_auto(Fixture) f = fixture(centers, false);
    g_autofree char *path = g_build_filename(f.study->output, "predictions.csv", NULL);
    g_remove(path);
    g_autofree char *page = page_of(&f);
    cr_assert_null(strstr(page, "id=\"calibration\""));
    cr_assert_not_null(strstr(page, "id=\"discrimination\""));
    g_autofree char *metrics = g_build_filename(f.study->output, "metrics.csv", NULL);
    g_remove(metrics);
    GError *err = NULL;
    cr_assert_not(lob_report_write(f.cohort, &err));
    cr_assert_eq(lob_error_exit_code(err), LOB_EXIT_INPUT);
    g_clear_error(&err);
}

Test(report, who_has_no_prediction_is_not_counted) {
    const char *const centers[] = {"a", "b", NULL};
    g_auto(Fixture) f = fixture(centers, false);
    g_autofree char *path = g_build_filename(f.study->output, "predictions.csv", NULL);
    g_autofree char *text = NULL;
    cr_assert(g_file_get_contents(path, &text, NULL, NULL));
    *strstr(text, "rfs,abmil,P005,") = '\0';
    put(f.study->output, "predictions.csv", text);
    g_autofree char *page = page_of(&f);
    g_autofree char *step =
        g_strdup_printf("rfs, with usable tiles and a prediction: 5 left (%d without)", PATIENTS - 5);
    cr_assert_not_null(strstr(page, step));
    static const char *const sheets[][2] = {{"cohort_1.csv", "analysed"}, {"events.csv", "patients"}};
    for (size_t i = 0; i < G_N_ELEMENTS(sheets); i++) {
        g_autofree char *sheet = g_build_filename(f.study->output, "figures", sheets[i][0], NULL);
        g_autoptr(LobTable) t = lob_table_read(sheet, NULL);
        cr_assert_not_null(t);
        double n = 0;
        cr_assert(lob_table_number(t, 0, lob_table_find(t, sheets[i][1]), &n, NULL));
        cr_assert_eq(n, i == 0 ? 3 : 5, "%s: %g", sheets[i][0], n);
    }
}

Test(report, overlap_weights_balance_the_arms) {
    const char *const centers[] = {"a", "b", "c", NULL};
    g_auto(Fixture) f = fixture(centers, false);
    g_autofree char *page = page_of(&f);
    g_autofree char *path = g_build_filename(f.study->output, "figures", "balance_1.csv", NULL);
    g_autoptr(LobTable) t = lob_table_read(path, NULL);
    cr_assert_not_null(t);
    cr_assert_eq(lob_table_rows(t), 1);
    double before, after;
    cr_assert(lob_table_number(t, 0, lob_table_find(t, "before"), &before, NULL));
    cr_assert(lob_table_number(t, 0, lob_table_find(t, "after"), &after, NULL));
    cr_assert(before > 0 && after < before && after < 0.05, "%g %g", before, after);
}
