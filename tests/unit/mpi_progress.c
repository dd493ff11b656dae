/* Words about progress: status.json of slides and of training, and whether anything new was finished. */
#include "mpi/progress.h"
#include "mpi/train_watch.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <string.h>

typedef struct {
    LobStudy study;
    LobCohort cohort;
    char *center;
} Fixture;

static void setup(Fixture *f) {
    *f = (Fixture){.study = {.name = (char *)(uintptr_t) "s"}, .center = g_strdup("A")};
    f->study.output = g_dir_make_tmp("lob-progress-XXXXXX", NULL);
    f->cohort = (LobCohort){.study = &f->study, .centers = &f->center, .n_centers = 1};
}

static void teardown(Fixture *f) {
    g_free(f->study.output);
    g_free(f->center);
}

static json_t *status(const Fixture *f) {
    g_autofree char *path = lob_study_out(&f->study, "status.json");
    json_t *root = json_load_file(path, 0, NULL);
    cr_assert_not_null(root);
    return root;
}

static void assert_text(const json_t *root, const char *key, const char *wanted) {
    cr_assert_str_eq(json_string_value(json_object_get(root, key)), wanted, "%s", key);
}

static long long total(const json_t *root, const char *key) {
    return json_integer_value(json_object_get(json_object_get(root, "total"), key));
}

Test(mpi_progress, what_earlier_runs_did_is_nothing_new) {
    Fixture f;
    setup(&f);
    LobProgress *p = lob_progress_new(&f.cohort, "embed", 2);
    LobProgressCounts counts = {.slides = 2, .slides_done = 1, .tiles = 100, .tiles_done = 60};
    lob_progress_update(p, &counts, &counts);
    lob_progress_update(p, &counts, &counts);
    cr_assert_not(lob_progress_made());
    counts.tiles_done = 61;
    lob_progress_update(p, &counts, &counts);
    cr_assert(lob_progress_made());
    lob_progress_end(p, "stopped", "signal USR1");
    json_t *root = status(&f);
    assert_text(root, "stage", "embed");
    assert_text(root, "state", "stopped");
    cr_assert_eq(total(root, "tiles_done"), 61);
    cr_assert_null(json_object_get(root, "quiet"));
    json_decref(root);
    lob_progress_free(p);
    teardown(&f);
}

static char *model_path(const void *user, size_t model) {
    g_autofree char *name = g_strdup_printf("model-%zu", model);
    return lob_study_out(user, name);
}

static void train(const Fixture *f, size_t model) {
    g_autofree char *path = model_path(&f->study, model);
    cr_assert(lob_file_replace(path, "weights", 7, NULL));
}

/* Of four models the first is done, the second lies there damaged; whoever trains, the files tell. */
Test(mpi_progress, training_is_told_by_the_models_that_lie_there) {
    Fixture f;
    setup(&f);
    const LobWorld world = {.size = 3}, other = {.rank = 1, .size = 3};
    const uint8_t done[] = {1, 0, 0, 0};
    train(&f, 0);
    train(&f, 1);
    lob_train_watch_begin(&world, &f.cohort, "validate", 4, done, model_path, &f.study);
    json_t *root = status(&f);
    assert_text(root, "stage", "validate");
    assert_text(root, "state", "running");
    cr_assert_eq(total(root, "models"), 4);
    cr_assert_eq(total(root, "models_done"), 1, "a damaged model does not count");
    cr_assert_eq(json_number_value(json_object_get(root, "seconds_left")), -1);
    json_decref(root);
    cr_assert_not(lob_progress_made());

    train(&f, 1);
    train(&f, 3);
    g_usleep(300000);
    lob_train_watch_follows("writing the tables");
    root = status(&f);
    assert_text(root, "state", "running");
    assert_text(root, "reason", "writing the tables");
    cr_assert(json_is_true(json_object_get(root, "quiet")));
    cr_assert_eq(total(root, "models_done"), 3);
    json_decref(root);
    cr_assert(lob_progress_made());

    g_autoptr(GError) problem = NULL;
    lob_fail(&problem, LOB_ERROR_STOPPED, "stopped");
    lob_train_watch_end(problem);
    root = status(&f);
    assert_text(root, "state", "stopped");
    cr_assert_null(json_object_get(root, "quiet"));
    json_decref(root);

    /* Off rank 0, and after the end, there is nothing to do. */
    lob_train_watch_begin(&other, &f.cohort, "train", 4, done, model_path, &f.study);
    lob_train_watch_tick();
    lob_train_watch_end(NULL);
    root = status(&f);
    assert_text(root, "stage", "validate");
    json_decref(root);
    teardown(&f);
}

/* The time left: two of three models in the time since the beginning leave half of that for the third. */
Test(mpi_progress, the_time_left_of_training_is_that_of_the_mean_model) {
    Fixture f;
    setup(&f);
    LobProgress *p = lob_progress_new(&f.cohort, "train", 1);
    LobProgressCounts counts = {.models = 3};
    lob_progress_update(p, &counts, NULL);
    g_usleep(1200000);
    counts.models_done = 2;
    lob_progress_update(p, &counts, NULL);
    lob_progress_end(p, "stopped", "");
    json_t *root = status(&f);
    const double elapsed = json_number_value(json_object_get(root, "elapsed_seconds")),
                 left = json_number_value(json_object_get(root, "seconds_left"));
    cr_assert_float_eq(left, elapsed / 2, 0.1 * elapsed, "%g s left after %g s", left, elapsed);
    json_decref(root);
    lob_progress_free(p);
    teardown(&f);
}
