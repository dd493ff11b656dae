/* The final model: every endpoint, kind and seed trained on all usable patients, with the options and seeds
 * of the validation, and locked in one file. Each network is trained by one rank, as in the validation. */
#include "hdf5io/model_file.h"
#include "mpi/stop.h"
#include "mpi/validate.h"

#include <string.h>

typedef struct {
    const LobWorld *world;
    LobPlan plan;
    LobResident resident;
    bool resident_loaded;
    size_t n_tasks; /* endpoint x model x seed */
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
    return lob_run_state() != LOB_RUN_ON;
}

static size_t seeds_of(const Job *job) {
    return (size_t)job->plan.cohort->study->validation.seeds;
}

static LobView *view_of(const Job *job, size_t net, uint64_t seed, GError **err) {
    return lob_view_new(job->plan.cohort, job->plan.folds, net / job->plan.n_models, 0, LOB_FOLD_FINAL, seed,
                        err);
}

static bool train_one(Job *job, size_t task, GByteArray *outbox, GError **err) {
    size_t net = task / seeds_of(job);
    LobModelOptions options = job->plan.options[net];
    options.seed += task % seeds_of(job);
    g_autoptr(LobView) view = view_of(job, net, options.seed, err);
    LobModelResult fit;
    g_autoptr(GError) problem = NULL;
    double start = lob_clock();
    if (!view)
        return false;
    if (!lob_model_fit(view, job->resident_loaded ? &job->resident.bags : NULL, &options, &fit, wants_stop,
                       NULL, &problem)) {
        if (wants_stop(NULL))
            return lob_run_stop_error(err);
        g_propagate_prefixed_error(err, g_steal_pointer(&problem), "final model %s: ", options.kind);
        return false;
    }
    Parcel parcel = {task, fit.n_weights, fit.cut, fit.best_epoch};
    g_byte_array_append(outbox, (const guint8 *)&parcel, sizeof parcel);
    g_byte_array_append(outbox, (const guint8 *)fit.weights, (guint)(fit.n_weights * sizeof(float)));
    lob_info("trained final %s, seed %zu: %d epochs, %.1f s", options.kind, task % seeds_of(job) + 1,
             fit.best_epoch, lob_clock() - start);
    lob_model_result_clear(&fit);
    return true;
}

static void train_mine(Job *job, GByteArray *outbox, GError **err) {
    for (size_t t = (size_t)job->world->rank; t < job->n_tasks; t += (size_t)job->world->size)
        if (!train_one(job, t, outbox, err))
            return;
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
    if (!describe(job, err) || !take_parcels(job, all, size, err) || !lob_saved_check(&job->file.model, err))
        return false;
    lob_model_file_seal(&job->file);
    if (!lob_model_file_write(path, &job->file, err))
        return false;
    lob_info("%s holds the locked model, SHA-256 %s", path, job->file.sha256);
    return true;
}

static bool work(Job *job, GError **err) {
    if (lob_plan_needs_bags(&job->plan)) {
        if (!lob_resident_load(&job->resident, job->world, &job->plan, err))
            return false;
        job->resident_loaded = true;
    }
    g_autoptr(GByteArray) outbox = g_byte_array_new();
    GError *problem = NULL;
    train_mine(job, outbox, &problem);
    if (!lob_world_agree(job->world, problem, err))
        return false;
    g_autofree void *all = NULL;
    g_autofree size_t *sizes = NULL;
    size_t total = 0;
    lob_world_gather(job->world, outbox->data, outbox->len, &all, &sizes);
    for (int r = 0; job->world->rank == 0 && r < job->world->size; r++)
        total += sizes[r];
    problem = NULL;
    if (job->world->rank == 0)
        (void)lock_model(job, all, total, &problem);
    return lob_world_agree(job->world, problem, err);
}

bool lob_job_train(const LobWorld *world, const LobCohort *cohort, int *exit_code, GError **err) {
    Job job = {.world = world};
    GError *problem = NULL;
    (void)lob_plan_init(&job.plan, cohort, &problem);
    bool ok = lob_world_agree(world, problem, err);
    if (ok) {
        job.n_tasks = cohort->study->n_endpoints * job.plan.n_models * seeds_of(&job);
        ok = work(&job, err);
    }
    lob_model_file_clear(&job.file);
    lob_resident_clear(&job.resident);
    lob_plan_clear(&job.plan);
    if (ok)
        *exit_code = LOB_EXIT_DONE;
    return ok;
}
