/* The study file. */
#include "cohort/cohort_internal.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static LobStudy *parse(const char *text, GError **error) {
    return lob_study_parse("/dev/study.yaml", text, strlen(text), NULL, error);
}

#define BASE "study: s\ncohort: {slides: /dev/null, patients: /dev/null}\n"

static void assert_refused(const char *text, const char *line, const char *key, const char *part) {
    g_autoptr(GError) error = NULL;
    LobStudy *study = parse(text, &error);
    cr_assert_null(study, "accepted: %s", text);
    cr_assert(g_error_matches(error, LOB_ERROR, LOB_ERROR_INPUT));
    g_autofree char *place = g_strdup_printf("/dev/study.yaml:%s: %s", line, key);
    cr_assert(g_str_has_prefix(error->message, place), "'%s' does not begin with '%s'", error->message,
              place);
    cr_assert_not_null(strstr(error->message, part), "'%s' lacks '%s'", error->message, part);
}

Test(cohort_study, defaults) {
    g_autoptr(GError) error = NULL;
    g_autoptr(LobStudy) study = parse(BASE, &error);
    cr_assert_not_null(study, "%s", error != NULL ? error->message : "");
    cr_assert_float_eq(study->tiles.mpp, 0.5, 0);
    cr_assert_eq(study->tiles.size, 224);
    cr_assert_float_eq(study->tiles.min_tissue, 0.25, 0);
    cr_assert_float_eq(study->tiles.max_enlarge, 1.1, 0);
    cr_assert_str_eq(study->tissue.method, "otsu");
    cr_assert_float_eq(study->tissue.mpp, 8, 0);
    cr_assert(study->tissue.keep_holes);
    cr_assert_str_eq(study->encoder.name, "texture");
    cr_assert_str_eq(study->encoder.precision, "fp32");
    cr_assert_eq(study->encoder.batch, 16);
    cr_assert_null(study->features);
    cr_assert_str_eq(study->model.kind, "abmil");
    cr_assert_not(study->model.benefit); /* no arms, no benefit */
    cr_assert(study->model.dropout < 0 && study->model.weight_decay < 0);
    cr_assert(study->model.lr == 0 && study->model.epochs == 0);
    cr_assert_eq(study->validation.scheme, LOB_SCHEME_LOCO);
    cr_assert_eq(study->validation.seeds, 5);
    cr_assert_eq(study->validation.bootstrap, 1000);
    cr_assert_str_eq(study->output, "/dev/out");
    cr_assert_eq(study->n_endpoints, 0);
    g_autofree char *file = lob_study_out(study, "log.jsonl");
    cr_assert_str_eq(file, "/dev/out/log.jsonl");
    g_autofree char *sha = lob_sha256_bytes(BASE, strlen(BASE));
    cr_assert_str_eq(study->text_sha256, sha);
}

/* A preset of one's own has its file's name, unless one is given. */
Test(cohort_study, encoder_named_by_its_preset) {
    const struct {
        const char *text, *name, *stored;
    } cases[] = {
        {BASE "encoder: {config: /dev/null}\n", "null", "null"},
        {BASE "encoder: {config: /dev/null, name: vit}\n", "vit", "null"},
        {BASE "encoder: {config: null}\n", "texture", "texture"},
        {BASE "encoder: {name: phikon}\n", "phikon", "phikon"},
        {BASE, "texture", "texture"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(LobStudy) study = parse(cases[i].text, &error);
        cr_assert_not_null(study, "%s", error != NULL ? error->message : "");
        cr_assert_str_eq(study->encoder.name, cases[i].name);
        cr_assert_str_eq(study->encoder.stored, cases[i].stored);
    }
}

#define ARMED                                                                                                \
    BASE "endpoints:\n  - {name: rfs, time: t, event: e}\n  - {name: ae, kind: binary, label: a}\n"          \
         "arms: {column: arm, levels: {none: [0, 0], tace: [1, 0], both: [1, 1]}}\n"

Test(cohort_study, benefit_is_a_switch_or_says_what_is_asked) {
    g_autoptr(GError) error = NULL;
    g_autoptr(LobStudy) plain = parse(ARMED "model: {benefit: true}\n", &error);
    cr_assert_not_null(plain, "%s", error ? error->message : "");
    cr_assert(plain->model.benefit);
    cr_assert_float_eq(plain->model.wish.margin_days, 30, 0);
    cr_assert_null(plain->model.wish.contrast);
    g_autoptr(LobStudy) full =
        parse(ARMED "model: {biomarker: til, benefit: {contrast: tace_by_til, margin_days: 45, adverse: ae, "
                    "penalty_days: 60, periods: [365, 730], rule: [mvi == 1, size > 5]}}\n",
              &error);
    cr_assert_not_null(full, "%s", error ? error->message : "");
    const LobBenefitWish *wish = &full->model.wish;
    cr_assert(full->model.benefit);
    cr_assert_str_eq(wish->contrast, "tace_by_til");
    cr_assert_float_eq(wish->margin_days, 45, 0);
    cr_assert_str_eq(wish->adverse, "ae");
    cr_assert_float_eq(wish->penalty_days, 60, 0);
    cr_assert_eq(wish->n_periods, 2);
    cr_assert_float_eq(wish->periods[1], 730, 0);
    cr_assert_eq(wish->n_rule, 2);
    cr_assert_str_eq(wish->rule[1].column, "size");
    static const char *const wrong[][2] = {
        {"contrast: both", "an arm of one treatment"},
        {"contrast: tace_by_other", "model.biomarker"},
        {"adverse: ae", "give both"},
        {"penalty_days: 5", "give both"},
        {"adverse: rfs, penalty_days: 5", "kind: binary"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autofree char *text =
            g_strdup_printf(ARMED "model:\n  biomarker: til\n  benefit: {%s}\n", wrong[i][0]);
        assert_refused(text, "9", "model.benefit", wrong[i][1]);
    }
    assert_refused(ARMED "model: {benefit: {periods: [730, 365]}}\n", "7", "model.benefit.periods[2]",
                   "ascending");
    assert_refused(ARMED "model: {benefit: {rule: [mvi]}}\n", "7", "model.benefit.rule[1]", "COLUMN");
    assert_refused(BASE
                   "endpoints:\n  - {name: rfs, time: t, event: e}\nmodel: {benefit: {periods: [365]}}\n",
                   "5", "model.benefit", "needs arms");
    assert_refused(BASE
                   "endpoints:\n  - {name: rfs, time: t, event: e}\nmodel:\n  benefit: {margin_days: 20}\n",
                   "6", "model.benefit", "needs arms");
}

Test(cohort_study, immortal_time_is_told_by_the_study) {
    static const struct {
        const char *text;
        bool told;
    } cases[] = {{"arms: {column: arm, levels: {none: [0, 0], tace: [1, 0]}, start: {tace: d}}\n", true},
                 {"arms: {column: arm, levels: {none: [0, 0], tace: [1, 0]}}\n", false}};
    for (size_t i = 0; i < 4; i++) {
        const bool landmark = i % 2;
        g_autofree char *text =
            g_strdup_printf(BASE "endpoints:\n  - {name: rfs, time: t, event: e, landmark: %d}\n%s",
                            landmark ? 90 : 0, cases[i / 2].text);
        g_autoptr(GError) error = NULL;
        g_autoptr(LobStudy) study = parse(text, &error);
        cr_assert_not_null(study, "%s", error ? error->message : "");
        cr_assert_eq(lob_study_immortal_time(study, 0) != NULL, landmark != cases[i / 2].told, "%zu", i);
    }
}

Test(cohort_study, everything) {
    g_autoptr(GError) error = NULL;
    g_autoptr(LobStudy) study =
        parse(BASE "features: [/dev/null, /dev/zero]\n"
                   "endpoints:\n"
                   "  - {name: rfs, time: t, event: e, competing: e, landmark: 90, horizons: [365]}\n"
                   "  - {name: grade, kind: multiclass, label: g}\n"
                   "  - {name: os, time: t2, event: e2, horizons: []}\n"
                   "  - {name: pfs, time: t3, event: e3}\n"
                   "eligible: [age >= 18, 'stage != C', r0==1]\n"
                   "arms: {start: {tace: tace_day}, levels: {none: [0,0], tace: [1,0]}, column: arm}\n"
                   "covariates: [age, 'null']\n"
                   "centers: {A: {mpp: 0.25}, B: {path_root: /dev}}\n"
                   "model: {epochs: 7, lr: 2e-4, dropout: 0.5}\n"
                   "validation: {scheme: folds, file: /dev/null, seed: 18446744073709551615}\n"
                   "site: {reader_seconds: 5, stripe_count: 8}\n"
                   "output: /elsewhere\n",
              &error);
    cr_assert_not_null(study, "%s", error != NULL ? error->message : "");
    cr_assert_str_eq(study->features[1], "/dev/zero");
    cr_assert_null(study->features[2]);
    cr_assert_eq(study->endpoints[0].n_horizons, 1);
    cr_assert_float_eq(study->endpoints[0].landmark, 90, 0);
    cr_assert_eq(study->endpoints[1].kind, LOB_ENDPOINT_MULTICLASS);
    cr_assert_eq(study->endpoints[2].n_horizons, 0);
    cr_assert_eq(study->endpoints[3].n_horizons, 2);
    cr_assert_float_eq(study->endpoints[3].horizons[1], 1825, 0);
    cr_assert_str_eq(study->eligible[0].column, "age");
    cr_assert_str_eq(study->eligible[0].op, ">=");
    cr_assert_str_eq(study->eligible[1].value, "C");
    cr_assert_str_eq(study->eligible[2].op, "==");
    cr_assert_eq(study->arms[1].code[0], 1);
    cr_assert_str_eq(study->arms[1].start_column, "tace_day");
    cr_assert_str_eq(study->covariates[1], "null");
    cr_assert_str_eq(study->centers[1].path_root, "/dev");
    cr_assert_eq(study->model.epochs, 7);
    cr_assert(study->model.benefit);
    cr_assert_eq(study->validation.seed, UINT64_MAX);
    cr_assert_float_eq(study->site.reader_seconds, 5, 0);
    cr_assert_eq(study->site.stripe_count, 8);
    cr_assert_str_eq(study->output, "/elsewhere");
}

Test(cohort_study, unknown_keys_suggest_the_nearest) {
    assert_refused(BASE "tilez: {}\n", "3", "tilez", "did you mean 'tiles'?");
    assert_refused(BASE "tiles:\n  size: 224\n  min_tisue: 0.2\n", "5", "tiles.min_tisue",
                   "did you mean 'min_tissue'?");
    assert_refused(BASE "model:\n  zzz:\n    - 1\n", "4", "model.zzz", "known here: kind");
}

Test(cohort_study, wrong_types_and_values) {
    assert_refused(BASE "tiles: [1]\n", "3", "tiles", "expected a mapping");
    assert_refused(BASE "tiles: {size: big}\n", "3", "tiles.size",
                   "whole number from 16 to 4096, found 'big'");
    assert_refused(BASE "tiles: {size: 224.5}\n", "3", "tiles.size", "whole number");
    assert_refused(BASE "tiles: {mpp: nan}\n", "3", "tiles.mpp", "number from 0.05 to 50, found 'nan'");
    assert_refused(BASE "tiles: {mpp: 0}\n", "3", "tiles.mpp", "number from 0.05");
    assert_refused(BASE "tiles:\n  mpp: 0,5\n", "4", "tiles.mpp", "found '0,5'");
    assert_refused(BASE "tiles: {size: 64, overlap: 64}\n", "3", "tiles.overlap", "less than the size");
    assert_refused(BASE "tissue: {keep_holes: yes}\n", "3", "tissue.keep_holes", "true or false");
    assert_refused(BASE "tissue: {method: magic}\n", "3", "tissue.method", "otsu|hsv|masks");
    assert_refused(BASE "tissue: {masks: /dev}\n", "1", "tissue.masks", "method: masks only");
    assert_refused(BASE "tissue: {method: masks}\n", "1", "tissue.masks", "needs the folder");
    assert_refused(BASE "encoder: {name: null}\n", "3", "encoder.name", "found null");
    assert_refused(BASE "encoder: {weights: /nonexistent}\n", "3", "encoder.weights", "does not exist");
    assert_refused(BASE "encoder: {name: !!str texture}\nx: !foo y\n", "4", "x", "unknown key");
    assert_refused(BASE "output: !!int 5\n", "3", "output", "tags");
    assert_refused(BASE "output: \"a\\0b\"\n", "3", "output", "control characters");
    assert_refused(BASE "validation: {seed: -1}\n", "3", "validation.seed", "from 0 to 2^64-1");
    assert_refused(BASE "validation: {scheme: folds}\n", "3", "validation.file", "needs the file");
    assert_refused(BASE "validation: {file: /dev/null}\n", "3", "validation.file", "scheme: folds only");
}

Test(cohort_study, endpoints_are_checked) {
    assert_refused(BASE "endpoints: {name: x}\n", "3", "endpoints", "expected a list");
    assert_refused(BASE "endpoints:\n  - {name: x, event: e}\n", "4", "endpoints[1].time", "required");
    assert_refused(BASE "endpoints:\n  - {name: x, kind: binary}\n", "4", "endpoints[1].label", "required");
    assert_refused(BASE "endpoints:\n  - {name: x, kind: binary, label: l, landmark: 3}\n", "4",
                   "endpoints[1]", "for kind: survival only");
    assert_refused(BASE "endpoints:\n  - {name: x, kind: cox, time: t}\n", "4", "endpoints[1].kind",
                   "survival|binary|multiclass");
    assert_refused(BASE "endpoints:\n  - {name: x, time: t, event: e, horizons: [9, 9]}\n", "4",
                   "endpoints[1].horizons[2]", "ascending");
    assert_refused(BASE "endpoints:\n  - {name: x, time: t, event: e}\n  - {name: x, time: t, event: e}\n",
                   "5", "endpoints[2].name", "two endpoints");
}

Test(cohort_study, arms_filters_lists) {
    assert_refused(BASE "arms: {column: a}\n", "3", "arms.levels", "required");
    assert_refused(BASE "arms: {column: a, levels: {x: [0,0]}}\n", "3", "arms.levels", "at least two");
    assert_refused(BASE "arms: {column: a, levels: {x: [0,0], y: [0,2]}}\n", "3", "arms.levels.y[2]",
                   "0 to 1");
    assert_refused(BASE "arms: {column: a, levels: {x: [0,0], y: [0]}}\n", "3", "arms.levels.y",
                   "two numbers");
    assert_refused(BASE "arms: {column: a, levels: {x: [0,0], y: [0,0]}}\n", "3", "arms.levels.y",
                   "same code");
    assert_refused(BASE "arms: {column: a, levels: {x: [0,0], y: [0,1]}, start: {z: d}}\n", "3",
                   "arms.start.z", "no such level");
    assert_refused(BASE "arms: {column: a, levels: {x: [0,0], y: [0,1]}, start: {x: d}}\n", "3",
                   "arms.start.x", "nothing to start");
    assert_refused(BASE "eligible: [age]\n", "3", "eligible[1]", "COLUMN OPERATOR VALUE");
    assert_refused(BASE "eligible: [age > old]\n", "3", "eligible[1]", "'old' is none");
    assert_refused(BASE "eligible: [age >=]\n", "3", "eligible[1]", "COLUMN OPERATOR VALUE");
    assert_refused(BASE "covariates: [a, b, a]\n", "3", "covariates[3]", "twice");
    assert_refused(BASE "features: []\n", "3", "features", "empty list");
}

Test(cohort_study, structure) {
    assert_refused("", "1", "empty", "key: value");
    assert_refused("# only a comment\n", "1", "empty", "key: value");
    assert_refused("- a\n", "1", "the file", "expected a mapping");
    assert_refused("study: s\n", "1", "cohort", "required");
    assert_refused("study: s\ncohort: {patients: /dev/null}\n", "1", "cohort.slides", "unless features");
    assert_refused("study: s\ncohort: {patients: nowhere.csv}\n", "2", "cohort.patients", "does not exist");
    assert_refused(BASE "study: again\n", "3", "study", "twice");
    assert_refused(BASE "tiles: {size: 1\n", "4", "not YAML", "");
    assert_refused(BASE "tiles:\n\tsize: 1\n", "4", "not YAML", "");
    assert_refused(BASE "a: \xFF\n", "1", "not YAML", "");
    g_autoptr(GError) error = NULL;
    cr_assert_null(parse(BASE "---\nstudy: t\n", &error));
    cr_assert_not_null(strstr(error->message, "several YAML documents"));
}

/* Ten levels of nine references each: a reader that copied aliases would build 9^10 nodes. */
Test(cohort_study, alias_bombs_do_not_grow, .timeout = 10) {
    g_autoptr(GString) text = g_string_new(BASE "covariates:\n  - &a0 [x]\n");
    for (int level = 1; level < 10; level++) {
        g_string_append_printf(text, "  - &a%d [", level);
        for (int i = 0; i < 9; i++)
            g_string_append_printf(text, "*a%d%s", level - 1, i < 8 ? ", " : "]\n");
    }
    assert_refused(text->str, "4", "covariates[1]", "found a list");
    g_autoptr(GString) wide = g_string_new(BASE "covariates: [");
    for (int i = 0; i < 1001; i++)
        g_string_append_printf(wide, "c%d, ", i);
    g_string_append(wide, "]\n");
    assert_refused(wide->str, "3", "covariates", "over 1000 entries");
    g_autofree char *deep = g_strnfill(4000, '[');
    g_autofree char *nested = g_strconcat(BASE "covariates: ", deep, NULL);
    assert_refused(nested, "4", "not YAML", "");
    g_autofree char *deeper = g_strnfill(1000000, '{');
    g_autoptr(GError) error = NULL;
    cr_assert_null(parse(deeper, &error));
    cr_assert_not_null(strstr(error->message, "over 5000 opening brackets"));
}

Test(cohort_study, site_file_and_output_override) {
    g_autofree char *folder = g_dir_make_tmp("lob-study-XXXXXX", NULL);
    g_autofree char *site = g_build_filename(folder, "site.yaml", NULL);
    g_autofree char *path = g_build_filename(folder, "study.yaml", NULL);
    g_autoptr(GError) error = NULL;
    static const char text[] = BASE "site: site.yaml\n";
    cr_assert(lob_file_replace(site, "lease_seconds: 12\n", 18, NULL));
    cr_assert(lob_file_replace(path, text, sizeof text - 1, NULL));
    g_autoptr(LobStudy) study = lob_study_read(path, "else/where", &error);
    cr_assert_not_null(study, "%s", error != NULL ? error->message : "");
    cr_assert_float_eq(study->site.lease_seconds, 12, 0);
    cr_assert_str_eq(study->output, "else/where");
    cr_assert(lob_file_replace(site, "\nlease: 12\n", 11, NULL));
    cr_assert_not(lob_study_read_site(study, site, &error));
    cr_assert_not_null(strstr(error->message, "site.yaml:2: lease: unknown key; did you mean"), "%s",
                       error->message);
    g_clear_error(&error);
    cr_assert_null(lob_study_read("/nonexistent.yaml", NULL, &error));
    cr_assert_eq(lob_error_exit_code(error), LOB_EXIT_INPUT);
}

/* The commented example must be a valid study that says the defaults where it says it does. */
Test(cohort_study, example_is_valid) {
    g_autofree char *folder = g_dir_make_tmp("lob-study-XXXXXX", NULL);
    static const char *const files[] = {"slides.csv", "patients.csv", "scans_b"};
    size_t size = 0;
    g_autoptr(GError) error = NULL;
    g_autofree char *text = lob_file_read(LOB_SOURCE_DIR "/configs/study.yaml", 1 << 20, &size, &error);
    cr_assert_not_null(text);
    for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *file = g_build_filename(folder, files[i], NULL);
        cr_assert(lob_file_replace(file, "", 0, NULL));
    }
    g_autofree char *path = g_build_filename(folder, "study.yaml", NULL);
    g_autoptr(LobStudy) study = lob_study_parse(path, text, size, NULL, &error);
    cr_assert_not_null(study, "%s", error != NULL ? error->message : "");
    g_autoptr(LobStudy) defaults = parse(BASE, NULL);
    cr_assert(memcmp(&study->tiles, &defaults->tiles, sizeof study->tiles) == 0);
    cr_assert_float_eq(study->site.reader_gib, defaults->site.reader_gib, 0);
    cr_assert_float_eq(study->site.reader_seconds, defaults->site.reader_seconds, 0);
    cr_assert_float_eq(study->site.lease_seconds, defaults->site.lease_seconds, 0);
    cr_assert_eq(study->validation.seed, defaults->validation.seed);
    cr_assert_eq(study->n_arms, 4);
    cr_assert_eq(study->n_covariates, 5);
}
