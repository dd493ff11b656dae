/* What is going to be trained, and the lock that holds it fixed before a held-out center is opened. */
#include "mpi/validate_benefit.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOCK_VERSION 1
#define PROGRAM_FILE "/proc/self/exe"

static int compare_names(gconstpointer a, gconstpointer b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names in a folder, sorted; NULL where it cannot be read. */
static GPtrArray *sorted_names(const char *path) {
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    if (!dir)
        return NULL;
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    for (const char *name = g_dir_read_name(dir); name; name = g_dir_read_name(dir))
        g_ptr_array_add(names, g_strdup(name));
    g_ptr_array_sort(names, compare_names);
    return g_steal_pointer(&names);
}

static char **store_parts(const LobStudy *study) {
    g_autofree char *path = lob_study_out(study, "store");
    g_autoptr(GPtrArray) names = sorted_names(path);
    GPtrArray *parts = g_ptr_array_new();
    for (size_t i = 0; names && i < names->len; i++)
        if (g_str_has_prefix(names->pdata[i], "part-") && g_str_has_suffix(names->pdata[i], ".h5"))
            g_ptr_array_add(parts, g_build_filename(path, names->pdata[i], NULL));
    g_ptr_array_add(parts, NULL);
    return (char **)g_ptr_array_free(parts, FALSE);
}

static bool make_options(LobPlan *plan, GError **err) {
    const LobStudy *study = plan->cohort->study;
    plan->options = g_new0(LobModelOptions, study->n_endpoints * plan->n_models);
    for (size_t e = 0; e < study->n_endpoints; e++)
        for (size_t m = 0; m < plan->n_models; m++)
            if (!lob_model_options_from_study(&plan->options[e * plan->n_models + m], study, plan->models[m],
                                              study->endpoints[e].kind, study->validation.seed, err))
                return false;
    return true;
}

static void make_tasks(LobPlan *plan) {
    const LobStudy *study = plan->cohort->study;
    const LobFolds *folds = plan->folds;
    size_t n = study->n_endpoints * plan->n_models * (size_t)folds->repeats * (size_t)folds->folds *
               (size_t)study->validation.seeds;
    plan->tasks = g_new(LobTask, n);
    for (size_t e = 0; e < study->n_endpoints; e++)
        for (size_t m = 0; m < plan->n_models; m++)
            for (int r = 0; r < folds->repeats; r++)
                for (int f = 0; f < folds->folds; f++)
                    for (int s = 0; s < study->validation.seeds; s++)
                        plan->tasks[plan->n_tasks++] = (LobTask){e, m, r, f, s};
}

static bool no_source(const LobStudy *study, GError **err) {
    g_autofree char *slides = lob_study_out(study, "slides.csv");
    if (g_file_test(slides, G_FILE_TEST_EXISTS))
        return lob_fail(err, LOB_ERROR_INPUT,
                        "no slide could be read, or none has tiles; %s says why of each", slides);
    return lob_fail(
        err, LOB_ERROR_INPUT,
        "%s/store: no feature store; run lobule plan and lobule embed first, or give features: in "
        "the study file",
        study->output);
}

bool lob_plan_init(LobPlan *plan, const LobCohort *cohort, GError **err) {
    const LobStudy *study = cohort->study;
    *plan = (LobPlan){.cohort = cohort};
    if (study->n_endpoints == 0)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: no endpoint is given, so there is nothing to validate",
                        study->path);
    plan->models[plan->n_models++] = study->model.kind;
    if (study->n_covariates > 0 && strcmp(study->model.kind, "clinical") != 0)
        plan->models[plan->n_models++] = "clinical";
    plan->folds = lob_folds_make(cohort, err);
    if (!plan->folds || !make_options(plan, err))
        return false;
    plan->sources = study->features ? g_strdupv(study->features) : store_parts(study);
    if (lob_plan_needs_bags(plan) && !plan->sources[0])
        return no_source(study, err);
    if (study->n_arms == 0)
        lob_info("the study names no arms, so nothing is asked about benefit of treatment");
    make_tasks(plan);
    return true;
}

size_t lob_bundle_width(size_t n_tasks, size_t seeds, int trainers) {
    for (size_t width = seeds; width > 1; width--)
        if (seeds % width == 0 && 2 * n_tasks / width >= (size_t)trainers)
            return width;
    return 1;
}

LobTrainer lob_trainer(const LobWorld *world, const LobResident *resident, bool loaded) {
    if (!loaded)
        return (LobTrainer){{world->rank, 0, 1}, world->size, NULL};
    return (LobTrainer){resident->seat, resident->n_groups, resident->bags.group};
}

bool lob_trainer_goes_on(const LobTrainer *trainer, bool ok) {
    double stopped = !ok;
    if (trainer->table)
        trainer->table->allreduce_double(trainer->table, &stopped, 1);
    return stopped == 0;
}

bool lob_plan_needs_bags(const LobPlan *plan) {
    return strcmp(plan->models[0], "clinical") != 0;
}

void lob_plan_clear(LobPlan *plan) {
    lob_folds_free(plan->folds);
    g_strfreev(plan->sources);
    g_free(plan->options);
    g_free(plan->tasks);
    *plan = (LobPlan){0};
}

/* ---- identities ---- */

static char *hash_text(GString *text) {
    return lob_sha256_bytes(text->str, text->len);
}

/* A lobule store is known by its header and its slides' checksums, wherever it lies; any other feature file
 * by name, size and time of change. */
static bool describe_source(const char *path, GString *text, GError **err) {
    if (g_file_test(path, G_FILE_TEST_IS_DIR)) {
        g_autoptr(GPtrArray) names = sorted_names(path);
        if (!names)
            return lob_fail(err, LOB_ERROR_INPUT, "%s: cannot be read", path);
        for (size_t i = 0; i < names->len; i++) {
            g_autofree char *file = g_build_filename(path, names->pdata[i], NULL);
            GStatBuf status;
            if (g_stat(file, &status) == 0)
                g_string_append_printf(text, "%s %lld %lld\n", (char *)names->pdata[i],
                                       (long long)status.st_size, (long long)status.st_mtime);
        }
        return true;
    }
    g_autoptr(LobStore) store = lob_store_open(path, err);
    if (!store)
        return false;
    const LobStoreHeader *header = lob_store_header(store);
    g_string_append_printf(text, "%s %s %s %s %d\n", header->encoder, header->weights_sha256,
                           header->transform, header->precision, header->dim);
    size_t n;
    const LobStoreSlide *slides = lob_store_slides(store, &n);
    for (size_t i = 0; i < n; i++)
        g_string_append_printf(text, "%s %llu %d %08x\n", slides[i].slide_id,
                               (unsigned long long)slides[i].count, slides[i].state, slides[i].crc32c);
    return true;
}

static char *features_hash(const LobPlan *plan, GError **err) {
    g_autoptr(GString) text = g_string_new("");
    for (char **source = plan->sources; lob_plan_needs_bags(plan) && *source; source++)
        if (!describe_source(*source, text, err))
            return NULL;
    return hash_text(text);
}

static char *folds_hash(const LobPlan *plan) {
    const LobFolds *folds = plan->folds;
    g_autoptr(GString) text = g_string_new("");
    for (int r = 0; r < folds->repeats; r++)
        for (size_t p = 0; p < folds->n_patients; p++)
            g_string_append_printf(text, "%s %d %d\n", plan->cohort->patients[p].patient_id, r,
                                   folds->fold[(size_t)r * folds->n_patients + p]);
    return hash_text(text);
}

static char *models_text(const LobPlan *plan) {
    g_autoptr(GString) text = g_string_new("");
    const LobStudy *study = plan->cohort->study;
    for (size_t e = 0; e < study->n_endpoints; e++)
        for (size_t m = 0; m < plan->n_models; m++) {
            g_autofree char *line = lob_model_options_text(&plan->options[e * plan->n_models + m]);
            g_string_append_printf(text, "%s%s: %s", text->len ? "; " : "", study->endpoints[e].name, line);
        }
    g_string_append_printf(text, "; seeds %d from %llu", study->validation.seeds,
                           (unsigned long long)study->validation.seed);
    return g_string_free(g_steal_pointer(&text), FALSE);
}

/* ---- the lock ---- */

static bool add_hash(json_t *lock, const char *key, char *hash) {
    g_autofree char *owned = hash;
    return owned && json_object_set_new(lock, key, json_string(owned)) == 0;
}

static json_t *make_lock(const LobPlan *plan, GError **err) {
    const LobStudy *study = plan->cohort->study;
    json_t *lock = json_object();
    json_object_set_new(lock, "lobule_lock", json_integer(LOCK_VERSION));
    g_autofree char *program = g_strdup_printf("%s (%s)", LOB_VERSION, lob_version_commit());
    json_object_set_new(lock, "program", json_string(program));
    json_object_set_new(lock, "study_file", json_string(study->text_sha256));
    /* Results of two programs are not mixed: what was built from other code trains other models. */
    bool ok = add_hash(lock, "code", lob_sha256_file(PROGRAM_FILE, err)) &&
              add_hash(lock, "patients_table", lob_sha256_file(study->patients, err)) &&
              (!study->slides || add_hash(lock, "slides_table", lob_sha256_file(study->slides, err))) &&
              add_hash(lock, "features", features_hash(plan, err)) &&
              add_hash(lock, "folds", folds_hash(plan)) && add_hash(lock, "models", models_text(plan));
    json_object_set_new(lock, "primary",
                        json_pack("{s:s, s:s, s:s}", "endpoint", study->endpoints[0].name, "statistic",
                                  study->endpoints[0].kind == LOB_ENDPOINT_SURVIVAL
                                      ? "Harrell's C, pairs within held-out centers"
                                      : "AUC, pairs within held-out centers",
                                  "model", study->model.kind));
    if (lob_plan_asks_benefit(plan))
        json_object_set_new(lock, "benefit", lob_plan_benefit_lock(plan));
    if (ok)
        return lock;
    json_decref(lock);
    return NULL;
}

static void name_differences(json_t *there, json_t *now, GString *names) {
    const char *key;
    json_t *value;
    json_object_foreach(now, key, value) {
        if (!json_equal(json_object_get(there, key), value))
            g_string_append_printf(names, "%s%s", names->len ? ", " : "", key);
    }
}

static bool compare_lock(const char *path, json_t *now, GError **err) {
    json_error_t problem;
    json_t *there = json_load_file(path, 0, &problem);
    if (!there)
        return lob_fail(err, LOB_ERROR_INPUT, "%s:%d: not a lock file: %s", path, problem.line, problem.text);
    g_autoptr(GString) names = g_string_new("");
    name_differences(there, now, names);
    json_decref(there);
    if (names->len == 0)
        return true;
    return lob_fail(err, LOB_ERROR_INPUT,
                    "%s: this folder holds a validation locked with other inputs (changed: %s; code and "
                    "program are lobule itself); results of the two are not mixed. Use another output "
                    "folder, go on with the former inputs and program, or move lock.json and train/ away",
                    path, names->str);
}

/* Whether the ledger knows of held-out centers opened under the lock that is there. Where it cannot be told,
 * yes. */
static bool was_opened(const LobPlan *plan, const char *lock_path) {
    g_autofree char *ledger = lob_study_out(plan->cohort->study, "openings.jsonl");
    if (!g_file_test(ledger, G_FILE_TEST_EXISTS))
        return false;
    size_t lock_size, ledger_size;
    g_autofree char *lock = lob_file_read(lock_path, SIZE_MAX / 2, &lock_size, NULL);
    g_autofree char *openings = lob_file_read(ledger, SIZE_MAX / 2, &ledger_size, NULL);
    if (!lock || !openings)
        return true;
    g_autofree char *hash = lob_sha256_bytes(lock, lock_size);
    return strstr(openings, hash) != NULL;
}

/* A lock under which nothing was opened yet binds nobody: a slide that failed may get its scale, and go on.
 */
static bool keep_or_replace_lock(const LobPlan *plan, const char *path, json_t *now, const char *text,
                                 GError **err) {
    if (!g_file_test(path, G_FILE_TEST_EXISTS))
        return lob_file_replace(path, text, strlen(text), err);
    g_autoptr(GError) differs = NULL;
    if (compare_lock(path, now, &differs))
        return true;
    if (was_opened(plan, path)) {
        g_propagate_error(err, g_steal_pointer(&differs));
        return false;
    }
    lob_info("validation: inputs changed before a held-out center was opened; locked anew");
    return lob_file_replace(path, text, strlen(text), err);
}

bool lob_plan_lock(LobPlan *plan, GError **err) {
    json_t *lock = make_lock(plan, err);
    if (!lock)
        return false;
    char *text = json_dumps(lock, JSON_INDENT(1) | JSON_SORT_KEYS);
    g_autofree char *path = lob_study_out(plan->cohort->study, "lock.json");
    g_autofree char *hash = lob_sha256_bytes(text, strlen(text));
    g_strlcpy(plan->lock, hash, sizeof plan->lock);
    bool ok = keep_or_replace_lock(plan, path, lock, text, err);
    free(text);
    json_decref(lock);
    return ok;
}

/* ---- the ledger ---- */

bool lob_opening_record(const LobPlan *plan, GError **err) {
    g_autofree char *path = lob_study_out(plan->cohort->study, "openings.jsonl");
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *time = g_date_time_format_iso8601(now);
    json_t *line = json_pack("{s:s, s:s, s:s, s:I}", "time", time, "lock", plan->lock, "study",
                             plan->cohort->study->text_sha256, "models", (json_int_t)plan->n_tasks);
    char *text = json_dumps(line, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(line);
    FILE *file = g_fopen(path, "a");
    bool ok = file && fprintf(file, "%s\n", text) > 0 && fflush(file) == 0 && fsync(fileno(file)) == 0;
    int problem = errno;
    free(text);
    if (file && fclose(file) != 0)
        ok = false;
    return ok || lob_fail_errno(err, LOB_ERROR_IO, problem, "%s: cannot be appended to", path);
}
