/* The validation job: lock, train every fold and seed on training patients alone, then open the held-out
 * centers. Each model is trained by one rank, so that the number of ranks changes nothing; results are kept
 * as they come, so that a killed job goes on where it was. */
#include "mpi/benefit_sums.h"
#include "mpi/stop.h"
#include "mpi/train_watch.h"
#include "mpi/validate_benefit.h"

#include <glib/gstdio.h>
#include <string.h>

typedef struct {
    const LobWorld *world;
    LobPlan plan;
    LobResident resident;
    bool resident_loaded;
    uint8_t *done;          /* [n_tasks] on every rank */
    LobTaskResult *results; /* [n_tasks] rank 0: all; others: none */
    bool tables_stand;      /* rank 0 found tables made under this lock */
    LobBagSums sums;        /* rank 0, for the benefit stage */
} Job;

static char *done_mark(const Job *job) {
    return lob_study_out(job->plan.cohort->study, "train/tables");
}

/* Which models are trained already, and whether the tables were written from them. */
static void look_back(Job *job) {
    for (size_t t = 0; t < job->plan.n_tasks; t++) {
        g_autofree char *path = lob_task_path(&job->plan, t);
        size_t size;
        g_autofree char *bytes = NULL;
        if (!g_file_test(path, G_FILE_TEST_EXISTS) ||
            !(bytes = lob_file_read(path, SIZE_MAX / 2, &size, NULL)))
            continue;
        job->done[t] = lob_task_unpack(&job->plan, t, bytes, size, &job->results[t]) &&
                       lob_task_attention_stands(&job->plan, t, &job->results[t]);
        if (!job->done[t])
            lob_warning("%s: it or its attention is damaged or made under another lock; that model is "
                        "trained again",
                        path);
        g_autofree char *part = lob_task_part_path(&job->plan, t);
        if (job->done[t])
            (void)g_unlink(part); /* the job was killed between the two */
    }
    static const char *const tables[] = {"folds.csv", "predictions.csv", "metrics.csv", "meta.csv",
                                         "training.csv"};
    size_t size;
    g_autofree char *mark = done_mark(job);
    g_autofree char *text =
        g_file_test(mark, G_FILE_TEST_EXISTS) ? lob_file_read(mark, 1024, &size, NULL) : NULL;
    job->tables_stand = text && strcmp(text, job->plan.lock) == 0;
    for (size_t i = 0; i < G_N_ELEMENTS(tables); i++) {
        g_autofree char *path = lob_study_out(job->plan.cohort->study, tables[i]);
        job->tables_stand = job->tables_stand && g_file_test(path, G_FILE_TEST_EXISTS);
    }
    g_autofree char *verdict = lob_study_out(job->plan.cohort->study, "verdict.json");
    g_autofree char *attention = lob_attention_path(&job->plan);
    if (lob_plan_keeps_attention(&job->plan))
        job->tables_stand = job->tables_stand && g_file_test(attention, G_FILE_TEST_EXISTS);
    if (lob_plan_asks_benefit(&job->plan))
        job->tables_stand = job->tables_stand && g_file_test(verdict, G_FILE_TEST_EXISTS);
}

/* Rank 0: folds.csv and the lock, before anything of a held-out patient is read. */
static bool prepare(Job *job, GError **err) {
    const LobStudy *study = job->plan.cohort->study;
    g_autofree char *folds = lob_study_out(study, "folds.csv"), *train = lob_study_out(study, "train");
    if (!lob_make_dirs(train, err) || !lob_plan_lock(&job->plan, err) ||
        !lob_folds_save(job->plan.folds, job->plan.cohort, folds, err))
        return false;
    look_back(job);
    return true;
}

/* ---- training ---- */

static void record(GByteArray *outbox, uint64_t task, const GByteArray *bytes) {
    uint64_t head[2] = {task, bytes->len};
    g_byte_array_append(outbox, (const guint8 *)head, sizeof head);
    g_byte_array_append(outbox, bytes->data, bytes->len);
}

/* Tasks [first, first + n): the seeds of one fold, trained together. All are trained where any is missing:
 * what a model is must not depend on where an earlier run was killed. */
static bool train_bundle(Job *job, size_t first, size_t n, bool hands_in, GByteArray *outbox, GError **err) {
    const LobTask *t = &job->plan.tasks[first];
    const LobBags *bags = job->resident_loaded ? &job->resident.bags : NULL;
    g_autofree LobTaskResult *results = g_new0(LobTaskResult, n);
    g_autofree char *part = lob_task_part_path(&job->plan, first);
    g_autoptr(LobCheckpoint) checkpoint = lob_bundle_checkpoint(&job->plan, part, first, n, bags);
    bool ok = lob_tasks_run(&job->plan, first, n, bags, checkpoint, results, err);
    for (size_t k = 0; ok && k < n && hands_in; k++) {
        g_autoptr(GByteArray) bytes = lob_task_pack(&job->plan, first + k, &results[k]);
        g_autofree char *path = lob_task_path(&job->plan, first + k);
        ok = lob_file_replace(path, bytes->data, bytes->len, err);
        record(outbox, first + k, bytes);
        lob_info("trained %s on all but %s, seed %d: %lld epochs, %.1f s", job->plan.models[t->model],
                 job->plan.folds->names[t->fold], t->seed + (int)k + 1, (long long)results[k].best_epoch,
                 results[k].seconds);
    }
    if (ok && hands_in)
        lob_checkpoint_remove(checkpoint);
    for (size_t k = 0; k < n; k++)
        lob_task_result_clear(&results[k]);
    return ok;
}

static bool any_left(const Job *job, size_t first, size_t n) {
    for (size_t k = 0; k < n; k++)
        if (!job->done[first + k])
            return true;
    return false;
}

/* The bundles left are dealt round the groups; a group's own come in a fixed order. */
static void train_mine(Job *job, GByteArray *outbox, GError **err) {
    const LobTrainer trainer = lob_trainer(job->world, &job->resident, job->resident_loaded);
    const size_t seeds = (size_t)job->plan.cohort->study->validation.seeds;
    const size_t width = lob_bundle_width(job->plan.n_tasks, seeds, trainer.n_groups);
    size_t left = 0;
    for (size_t t = 0; t < job->plan.n_tasks; t += width) {
        if (!any_left(job, t, width) || left++ % (size_t)trainer.n_groups != (size_t)trainer.seat.group)
            continue;
        if (!lob_trainer_goes_on(&trainer, lob_run_state() == LOB_RUN_ON)) {
            lob_run_stop_error(err);
            return;
        }
        if (!lob_trainer_goes_on(&trainer, train_bundle(job, t, width, trainer.seat.rank == 0, outbox, err)))
            return;
    }
}

static bool unpack_all(Job *job, const char *at, size_t size, GError **err) {
    for (const char *end = size ? at + size : at; at < end;) {
        uint64_t head[2];
        memcpy(head, at, sizeof head);
        at += sizeof head;
        if (head[0] < job->plan.n_tasks)
            lob_task_result_clear(&job->results[head[0]]);
        if (head[0] >= job->plan.n_tasks ||
            !lob_task_unpack(&job->plan, head[0], at, head[1], &job->results[head[0]]))
            return lob_fail(err, LOB_ERROR_INTERNAL, "a model's results were damaged on their way to rank 0");
        at += head[1];
    }
    return true;
}

static bool train_all(Job *job, GError **err) {
    g_autoptr(GByteArray) outbox = g_byte_array_new();
    GError *problem = NULL;
    train_mine(job, outbox, &problem);
    g_autofree void *all = NULL;
    size_t total = 0;
    if (!lob_world_collect(job->world, outbox, problem, &all, &total, err))
        return false;
    problem = NULL;
    if (job->world->rank == 0)
        (void)unpack_all(job, all, total, &problem);
    return lob_world_agree(job->world, problem, err);
}

/* Where not one model could be trained there is nothing to write tables of. */
static bool check_any(const Job *job, GError **err) {
    for (size_t t = 0; t < job->plan.n_tasks; t++)
        if (!job->results[t].reason[0])
            return true;
    return lob_fail(err, LOB_ERROR_NOT_ESTIMABLE, "no fold can be trained: %s", job->results[0].reason);
}

/* ---- the job ---- */

static bool write_tables(Job *job, GError **err) {
    g_autofree char *mark = done_mark(job);
    return check_any(job, err) && lob_opening_record(&job->plan, err) &&
           lob_tables_write(&job->plan, job->results, &job->resident, err) &&
           (!lob_plan_asks_benefit(&job->plan) ||
            lob_benefit_evaluate(job->world, &job->plan, job->results,
                                 job->resident_loaded ? &job->sums : NULL,
                                 job->resident_loaded ? job->resident.set.columns : NULL, err)) &&
           lob_file_replace(mark, job->plan.lock, strlen(job->plan.lock), err);
}

/* Every rank knows the lock and what is left. */
static bool share_state(Job *job, size_t *left) {
    lob_world_bcast(job->world, job->plan.lock, sizeof job->plan.lock);
    lob_world_bcast(job->world, job->done, job->plan.n_tasks);
    lob_world_bcast(job->world, &job->tables_stand, sizeof job->tables_stand);
    *left = 0;
    for (size_t t = 0; t < job->plan.n_tasks; t++)
        *left += !job->done[t];
    return *left > 0 || !job->tables_stand;
}

static char *model_path(const void *user, size_t task) {
    return lob_task_path(user, task);
}

static bool work(Job *job, GError **err) {
    GError *problem = NULL;
    size_t left;
    if (job->world->rank == 0)
        (void)prepare(job, &problem);
    if (!lob_world_agree(job->world, problem, err))
        return false;
    lob_train_watch_begin(job->world, job->plan.cohort, "validate", job->plan.n_tasks, job->done, model_path,
                          &job->plan);
    if (!share_state(job, &left)) {
        lob_info("validation: all %zu models are trained and the tables stand; nothing to do",
                 job->plan.n_tasks);
        return true;
    }
    if (lob_plan_needs_bags(&job->plan)) {
        if (!lob_resident_load(&job->resident, job->world, &job->plan, err))
            return false;
        job->resident_loaded = true;
    }
    if (!lob_benefit_marker_check(job->world, &job->plan, job->resident.set.columns, err))
        return false;
    lob_info("validation: %zu of %zu models to train on %d ranks", left, job->plan.n_tasks, job->world->size);
    if (!train_all(job, err) || (job->resident_loaded && lob_plan_asks_benefit(&job->plan) &&
                                 !lob_benefit_sums_gather(job->world, &job->resident, &job->sums, err)))
        return false;
    lob_train_watch_follows("all models are trained; writing the tables");
    problem = NULL;
    if (job->world->rank == 0)
        (void)write_tables(job, &problem);
    if (lob_plan_asks_benefit(&job->plan)) {
        if (job->world->rank == 0)
            lob_benefit_dismiss(job->world);
        else
            lob_benefit_help(job->world, &job->plan);
    }
    if (job->world->rank == 0 && job->resident_loaded)
        lob_resident_log(&job->resident);
    return lob_world_agree(job->world, problem, err);
}

bool lob_job_validate(const LobWorld *world, const LobCohort *cohort, int *exit_code, GError **err) {
    Job job = {.world = world};
    GError *problem = NULL;
    (void)lob_plan_init(&job.plan, cohort, &problem);
    job.plan.may_share = true;
    bool ok = lob_world_agree(world, g_steal_pointer(&problem), err);
    if (ok) {
        job.done = g_new0(uint8_t, job.plan.n_tasks);
        job.results = g_new0(LobTaskResult, job.plan.n_tasks);
        ok = work(&job, &problem);
        lob_train_watch_end(problem);
        if (!ok)
            g_propagate_error(err, problem);
        for (size_t t = 0; t < job.plan.n_tasks; t++)
            lob_task_result_clear(&job.results[t]);
    }
    lob_bag_sums_clear(&job.sums);
    lob_resident_clear(&job.resident);
    lob_plan_clear(&job.plan);
    g_free(job.done);
    g_free(job.results);
    if (ok)
        *exit_code = LOB_EXIT_DONE;
    return ok;
}
