/* The final model: every endpoint, kind and seed trained on all usable patients, with the options and seeds
 * of the validation, and locked in one file. Each network is trained by one rank, as in the validation. */
#include "hdf5io/model_file.h"
#include "model/sweep.h"
#include "mpi/benefit_sums.h"
#include "mpi/stop.h"
#include "mpi/train_benefit.h"
#include "mpi/train_watch.h"
#include "mpi/validate_benefit.h"

#include <glib/gstdio.h>
#include <string.h>

typedef struct {
    const LobWorld *world;
    LobPlan plan;
    LobResident resident;
    bool resident_loaded;
    LobBagSums sums;  /* rank 0, for the benefit stage */
    size_t n_tasks;   /* endpoint x model x seed */
    uint8_t *done;    /* [n_tasks] on every rank */
    GByteArray *kept; /* rank 0: parcels of earlier runs under this lock */
    LobModelFile file;
} Job;

/* A trained network on its way to rank 0; its weights follow. */
typedef struct {
    uint64_t task, n_weights;
    double cut;
    int64_t epochs;
} Parcel;

static bool wants_stop(void *user) {
    (void)user;
    lob_train_watch_tick();
    return lob_run_state() != LOB_RUN_ON;
}

static size_t seeds_of(const Job *job) {
    return (size_t)job->plan.cohort->study->validation.seeds;
}

static LobView *view_of(const Job *job, size_t net, uint64_t seed, GError **err) {
    return lob_view_new(job->plan.cohort, job->plan.folds, net / job->plan.n_models, 0, LOB_FOLD_FINAL, seed,
                        err);
}

/* ---- parcels on disk: lock, parcel, CRC-32C ---- */

static char *parcel_path(const Job *job, size_t task) {
    g_autofree char *name = g_strdup_printf("train/final-%zu.bin", task);
    return lob_study_out(job->plan.cohort->study, name);
}

static char *part_path(const Job *job, size_t task) {
    g_autofree char *name = g_strdup_printf("train/final-%zu.part", task);
    return lob_study_out(job->plan.cohort->study, name);
}

static bool keep_parcel(const Job *job, size_t task, const guint8 *parcel, size_t size, GError **err) {
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    g_byte_array_append(bytes, (const guint8 *)job->plan.lock, sizeof job->plan.lock);
    g_byte_array_append(bytes, parcel, (guint)size);
    uint32_t crc = lob_crc32c(0, bytes->data, bytes->len);
    g_byte_array_append(bytes, (const guint8 *)&crc, sizeof crc);
    g_autofree char *path = parcel_path(job, task);
    return lob_file_replace(path, bytes->data, bytes->len, err);
}

/* Appends the parcel where the bytes are whole and of this lock and task. */
static bool take_kept(Job *job, size_t task, const char *bytes, size_t size) {
    const size_t head = sizeof job->plan.lock;
    Parcel parcel;
    uint32_t crc;
    if (size < head + sizeof parcel + sizeof crc || memcmp(bytes, job->plan.lock, head) != 0)
        return false;
    memcpy(&parcel, bytes + head, sizeof parcel);
    memcpy(&crc, bytes + size - sizeof crc, sizeof crc);
    size_t payload = size - head - sizeof crc;
    if (crc != lob_crc32c(0, bytes, size - sizeof crc) || parcel.task != task ||
        (payload - sizeof parcel) / sizeof(float) != parcel.n_weights)
        return false;
    g_byte_array_append(job->kept, (const guint8 *)bytes + head, (guint)payload);
    return true;
}

/* Rank 0: the lock, and which networks are trained already. */
static bool prepare(Job *job, GError **err) {
    g_autofree char *folder = lob_study_out(job->plan.cohort->study, "train");
    if (!lob_make_dirs(folder, err) || !lob_plan_lock(&job->plan, err))
        return false;
    for (size_t t = 0; t < job->n_tasks; t++) {
        g_autofree char *path = parcel_path(job, t);
        size_t size;
        g_autofree char *bytes =
            g_file_test(path, G_FILE_TEST_EXISTS) ? lob_file_read(path, SIZE_MAX / 2, &size, NULL) : NULL;
        job->done[t] = bytes && take_kept(job, t, bytes, size);
        if (bytes && !job->done[t])
            lob_warning("%s: damaged or made under another lock; that model is trained again", path);
        g_autofree char *part = part_path(job, t);
        if (job->done[t])
            (void)g_unlink(part); /* the job was killed between the two */
    }
    return true;
}

/* ---- training ---- */

/* A trained network into the outbox and onto disk. */
static bool hand_in(Job *job, size_t task, const LobModelResult *fit, GByteArray *outbox, GError **err) {
    Parcel parcel = {task, fit->n_weights, fit->cut, fit->best_epoch};
    size_t before = outbox->len;
    g_byte_array_append(outbox, (const guint8 *)&parcel, sizeof parcel);
    g_byte_array_append(outbox, (const guint8 *)fit->weights, (guint)(fit->n_weights * sizeof(float)));
    return keep_parcel(job, task, outbox->data + before, outbox->len - before, err);
}

/* Seeds of one network that are trained together, from task `first` on. */
static bool train_bundle(Job *job, size_t first, size_t n, bool hands_in, GByteArray *outbox, GError **err) {
    size_t net = first / seeds_of(job);
    g_autofree LobModelOptions *options = g_new0(LobModelOptions, n);
    g_autofree LobModelResult *fits = g_new0(LobModelResult, n);
    g_autofree LobView **views = g_new0(LobView *, n);
    g_autoptr(GError) problem = NULL;
    const double start = lob_clock();
    const LobBags *bags = job->resident_loaded ? &job->resident.bags : NULL;
    g_autofree char *part = part_path(job, first);
    g_autoptr(LobCheckpoint) checkpoint = lob_bundle_checkpoint(&job->plan, part, first, n, bags);
    bool ok = true;
    for (size_t k = 0; ok && k < n; k++) {
        options[k] = job->plan.options[net];
        options[k].seed += first % seeds_of(job) + k;
        options[k].checkpoint = checkpoint;
        views[k] = view_of(job, net, options[k].seed, err);
        ok = views[k] != NULL;
    }
    if (ok &&
        !lob_sweep_fit((const LobView *const *)views, bags, options, n, fits, wants_stop, NULL, &problem)) {
        ok = false;
        if (g_error_matches(problem, LOB_ERROR, LOB_ERROR_STOPPED))
            (void)lob_run_stop_error(err);
        else
            g_propagate_prefixed_error(err, g_steal_pointer(&problem), "final model %s: ", options->kind);
    }
    for (size_t k = 0; ok && k < n && hands_in; k++) {
        ok = hand_in(job, first + k, &fits[k], outbox, err);
        lob_info("trained final %s, seed %zu: %d epochs, %.1f s", options->kind,
                 (first + k) % seeds_of(job) + 1, fits[k].best_epoch, (lob_clock() - start) / (double)n);
    }
    if (ok && hands_in)
        lob_checkpoint_remove(checkpoint);
    for (size_t k = 0; k < n; k++) {
        lob_model_result_clear(&fits[k]);
        if (views[k])
            lob_view_free(views[k]);
    }
    return ok;
}

/* The networks left are dealt round, the seeds of one in one piece; a piece of which any is missing is
 * trained whole. */
static void train_mine(Job *job, GByteArray *outbox, GError **err) {
    const LobTrainer trainer = lob_trainer(job->world, &job->resident, job->resident_loaded);
    const size_t width = lob_bundle_width(job->n_tasks, seeds_of(job), trainer.n_groups);
    size_t left = 0;
    for (size_t t = 0; t < job->n_tasks; t += width) {
        bool missing = false;
        for (size_t k = 0; k < width; k++)
            missing = missing || !job->done[t + k];
        if (!missing || left++ % (size_t)trainer.n_groups != (size_t)trainer.seat.group)
            continue;
        if (!lob_trainer_goes_on(&trainer, train_bundle(job, t, width, trainer.seat.rank == 0, outbox, err)))
            return;
    }
}

/* ---- the file ---- */

static bool describe(Job *job, GError **err) {
    const LobStudy *study = job->plan.cohort->study;
    LobSavedModel *model = &job->file.model;
    *model = (LobSavedModel){.program = g_strdup(LOB_VERSION),
                             .study = g_strdup(study->name),
                             .study_sha256 = g_strdup(study->text_sha256),
                             .seed = study->validation.seed,
                             .seeds = study->validation.seeds,
                             .n_endpoints = study->n_endpoints,
                             .n_kinds = job->plan.n_models};
    model->nets = g_new0(LobSavedNet, model->n_endpoints * model->n_kinds);
    for (size_t i = 0; i < model->n_endpoints * model->n_kinds; i++) {
        const LobModelOptions *options = &job->plan.options[i];
        g_autoptr(LobView) view = view_of(job, i, options->seed, err);
        if (!view)
            return false;
        size_t dim = strcmp(options->kind, "clinical") == 0 ? 0 : job->resident.bags.dim;
        lob_saved_net_init(&model->nets[i], view, options, dim, model->seeds);
    }
    return !job->resident_loaded ||
           lob_features_identity(job->plan.cohort, (const char *const *)job->plan.sources,
                                 &job->file.features, err);
}

static bool take_parcels(Job *job, const char *at, size_t size, GError **err) {
    for (const char *end = at + size; at < end;) {
        Parcel parcel;
        memcpy(&parcel, at, sizeof parcel);
        at += sizeof parcel;
        g_autofree float *weights = g_memdup2(at, parcel.n_weights * sizeof(float));
        at += parcel.n_weights * sizeof(float);
        if (!lob_saved_net_add(&job->file.model.nets[parcel.task / seeds_of(job)],
                               (int)(parcel.task % seeds_of(job)), weights, parcel.n_weights, parcel.cut,
                               parcel.epochs, err))
            return false;
    }
    return true;
}

static bool lock_model(Job *job, const char *all, size_t size, GError **err) {
    g_autofree char *path = lob_study_out(job->plan.cohort->study, "model.h5");
    if (!describe(job, err) || !take_parcels(job, (const char *)job->kept->data, job->kept->len, err) ||
        !take_parcels(job, all, size, err) || !lob_saved_check(&job->file.model, err) ||
        !lob_train_benefit(&job->plan, job->resident_loaded ? &job->sums : NULL,
                           job->resident_loaded ? job->resident.set.columns : NULL, &job->file.benefit,
                           &job->file.registered, err))
        return false;
    lob_model_file_seal(&job->file);
    if (!lob_model_file_write(path, &job->file, err))
        return false;
    lob_info("%s holds the locked model, SHA-256 %s", path, job->file.sha256);
    return true;
}

static char *model_path(const void *user, size_t task) {
    return parcel_path(user, task);
}

static bool work(Job *job, GError **err) {
    GError *problem = NULL;
    if (job->world->rank == 0)
        (void)prepare(job, &problem);
    if (!lob_world_agree(job->world, problem, err))
        return false;
    lob_world_bcast(job->world, job->plan.lock, sizeof job->plan.lock);
    lob_world_bcast(job->world, job->done, job->n_tasks);
    lob_train_watch_begin(job->world, job->plan.cohort, "train", job->n_tasks, job->done, model_path, job);
    if (lob_plan_needs_bags(&job->plan)) {
        if (!lob_resident_load(&job->resident, job->world, &job->plan, err))
            return false;
        job->resident_loaded = true;
    }
    if (!lob_benefit_marker_check(job->world, &job->plan, job->resident.set.columns, err))
        return false;
    g_autoptr(GByteArray) outbox = g_byte_array_new();
    problem = NULL;
    train_mine(job, outbox, &problem);
    g_autofree void *all = NULL;
    size_t total = 0;
    if (!lob_world_collect(job->world, outbox, problem, &all, &total, err))
        return false;
    if (job->resident_loaded && lob_plan_asks_benefit(&job->plan) &&
        !lob_benefit_sums_gather(job->world, &job->resident, &job->sums, err))
        return false;
    lob_train_watch_follows("all models are trained; locking the final one");
    problem = NULL;
    if (job->world->rank == 0)
        (void)lock_model(job, all, total, &problem);
    return lob_world_agree(job->world, problem, err);
}

bool lob_job_train(const LobWorld *world, const LobCohort *cohort, int *exit_code, GError **err) {
    Job job = {.world = world};
    GError *problem = NULL;
    (void)lob_plan_init(&job.plan, cohort, &problem);
    job.plan.may_share = true;
    bool ok = lob_world_agree(world, g_steal_pointer(&problem), err);
    if (ok) {
        job.n_tasks = cohort->study->n_endpoints * job.plan.n_models * seeds_of(&job);
        job.done = g_new0(uint8_t, MAX(job.n_tasks, 1));
        job.kept = g_byte_array_new();
        ok = work(&job, &problem);
        lob_train_watch_end(problem);
        if (!ok)
            g_propagate_error(err, problem);
        g_free(job.done);
        g_byte_array_unref(job.kept);
    }
    lob_model_file_clear(&job.file);
    lob_bag_sums_clear(&job.sums);
    lob_resident_clear(&job.resident);
    lob_plan_clear(&job.plan);
    if (ok)
        *exit_code = LOB_EXIT_DONE;
    return ok;
}
