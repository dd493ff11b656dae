/* One model: trained on a fold's view, its scores kept in output/train/ until the tables are written. A file
 * counts only under the lock it was made under and with its CRC right. */
#include "model/sweep.h"
#include "mpi/stop.h"
#include "mpi/train_watch.h"
#include "mpi/validate.h"

#include <math.h>
#include <string.h>

#define MAGIC "LOBTASK6"

static char *path_of(const LobPlan *plan, size_t task, const char *suffix) {
    const LobTask *t = &plan->tasks[task];
    g_autofree char *name = g_strdup_printf("train/e%zu-%s-r%d-f%d-s%d.%s", t->endpoint,
                                            plan->models[t->model], t->repeat, t->fold, t->seed, suffix);
    return lob_study_out(plan->cohort->study, name);
}

char *lob_task_path(const LobPlan *plan, size_t task) {
    return path_of(plan, task, "bin");
}

char *lob_task_attention_path(const LobPlan *plan, size_t task) {
    return path_of(plan, task, "attention");
}

char *lob_task_part_path(const LobPlan *plan, size_t task) {
    return path_of(plan, task, "part");
}

/* How many train together is a part of what they become. */
LobCheckpoint *lob_bundle_checkpoint(const LobPlan *plan, const char *path, size_t first, size_t n,
                                     const LobBags *bags) {
    g_autofree char *identity = g_strdup_printf("lock %s, tasks %zu to %zu", plan->lock, first, first + n);
    return lob_checkpoint_open(path, identity, bags ? bags->group : NULL);
}

static bool wants_stop(void *user) {
    (void)user;
    lob_train_watch_tick();
    return lob_run_state() != LOB_RUN_ON;
}

/* ---- from a fit to what is kept ---- */

/* The most attended tiles of a patient, or the least. */
static void keep_tiles(const LobModelResult *fit, const LobBags *bags, uint32_t patient, bool least,
                       GArray *tiles) {
    LobTopTile kept[LOB_TOP_TILES];
    const float sign = least ? -1 : 1;
    size_t n = 0;
    uint64_t first = bags->first[patient], end = first + bags->count[patient];
    for (uint64_t row = first; row < end; row++) {
        float a = fit->attention[row];
        size_t at = n < LOB_TOP_TILES ? n++ : LOB_TOP_TILES;
        if (at == LOB_TOP_TILES && sign * a <= sign * kept[at - 1].attention)
            continue;
        at = MIN(at, LOB_TOP_TILES - 1);
        for (; at > 0 && sign * kept[at - 1].attention < sign * a; at--)
            kept[at] = kept[at - 1];
        kept[at] = (LobTopTile){patient, a, row, least};
    }
    g_array_append_vals(tiles, kept, (guint)n);
}

void lob_task_keep_scores(const LobModelResult *fit, const uint32_t *patients, size_t n_patients,
                          const LobBags *bags, LobTaskResult *result) {
    g_autoptr(GArray) tiles = g_array_new(FALSE, FALSE, sizeof(LobTopTile));
    size_t h = fit->n_horizons, e = fit->n_ends, k = fit->n_classes;
    result->patient = g_new(uint32_t, MAX(n_patients, 1));
    result->lp = g_new(float, MAX(n_patients, 1));
    result->survival = g_new(float, MAX(n_patients * h, 1));
    result->n_ends = e;
    result->ends = g_memdup2(fit->ends, e * sizeof *fit->ends);
    result->curve = g_new(float, MAX(n_patients * e, 1));
    result->probability = g_new(float, MAX(n_patients * k, 1));
    for (size_t i = 0; i < n_patients; i++) {
        uint32_t p = patients[i];
        if (isnan(fit->lp[p]))
            continue;
        size_t n = result->n++;
        result->patient[n] = p;
        result->lp[n] = fit->lp[p];
        if (h)
            memcpy(result->survival + n * h, fit->survival + p * h, h * sizeof(float));
        if (e)
            memcpy(result->curve + n * e, fit->curve + p * e, e * sizeof(float));
        if (k)
            memcpy(result->probability + n * k, fit->probability + p * k, k * sizeof(float));
        if (fit->attention)
            for (int least = 0; least < 2; least++)
                keep_tiles(fit, bags, p, least == 1, tiles);
    }
    result->n_tiles = tiles->len;
    result->tiles = (LobTopTile *)(void *)g_array_free(g_steal_pointer(&tiles), FALSE);
}

static bool keep(const LobPlan *plan, size_t task, const LobModelResult *fit, const LobView *view,
                 const LobBags *bags, LobTaskResult *result, GError **err) {
    result->n_horizons = fit->n_horizons;
    result->n_classes = fit->n_classes;
    result->best_epoch = fit->best_epoch;
    result->epochs_run = fit->epochs_run;
    result->inner_loss = fit->inner_loss;
    result->train_loss = fit->train_loss;
    result->n_learning = fit->n_learning;
    result->learning = g_memdup2(fit->learning, fit->n_learning * sizeof *fit->learning);
    result->cut = fit->cut;
    g_autofree char *digest = lob_sha256_bytes(fit->weights, fit->n_weights * sizeof(float));
    g_strlcpy(result->digest, digest, sizeof result->digest);
    lob_task_keep_scores(fit, view->held_out, view->n_held_out, bags, result);
    lob_task_keep_maps(plan, task, fit, bags, result);
    return lob_task_keep_attention(plan, task, fit, bags, result, err);
}

/* What lob_sweep_fit asks for, one a task. */
typedef struct {
    LobView **views;
    LobModelOptions *options;
    LobModelResult *fits;
    size_t n;
} Bundle;

static bool bundle_init(Bundle *b, const LobPlan *plan, size_t first, size_t n, GError **err) {
    *b = (Bundle){g_new0(LobView *, n), g_new0(LobModelOptions, n), g_new0(LobModelResult, n), n};
    for (size_t k = 0; k < n; k++) {
        const LobTask *t = &plan->tasks[first + k];
        b->options[k] = plan->options[t->endpoint * plan->n_models + t->model];
        b->options[k].seed += (uint64_t)t->seed;
        b->views[k] =
            lob_view_new(plan->cohort, plan->folds, t->endpoint, t->repeat, t->fold, b->options[k].seed, err);
        if (!b->views[k])
            return false;
    }
    return true;
}

static void bundle_clear(Bundle *b) {
    for (size_t k = 0; k < b->n; k++) {
        if (b->views[k])
            lob_view_free(b->views[k]);
        lob_model_result_clear(&b->fits[k]);
    }
    g_free(b->views);
    g_free(b->options);
    g_free(b->fits);
}

/* A fold too thin to train on is a result, too: its patients stay without a score, and the tables say why. */
static void keep_reason(const LobPlan *plan, size_t first, const GError *why, LobTaskResult *result) {
    *result = (LobTaskResult){.inner_loss = NAN, .train_loss = NAN, .cut = NAN};
    g_strlcpy(result->reason, why->message, sizeof result->reason);
    lob_warning("model %s on all but %s is not estimable: %s", plan->models[plan->tasks[first].model],
                plan->folds->names[plan->tasks[first].fold], why->message);
}

bool lob_tasks_run(const LobPlan *plan, size_t first, size_t n, const LobBags *bags,
                   LobCheckpoint *checkpoint, LobTaskResult *results, GError **err) {
    const LobTask *t = &plan->tasks[first];
    const double start = lob_clock();
    Bundle bundle;
    g_autoptr(GError) problem = NULL;
    memset(results, 0, n * sizeof *results);
    bool ok = bundle_init(&bundle, plan, first, n, &problem);
    for (size_t k = 0; k < n; k++)
        bundle.options[k].checkpoint = checkpoint;
    if (ok && !lob_sweep_fit((const LobView *const *)bundle.views, bags, bundle.options, n, bundle.fits,
                             wants_stop, NULL, &problem)) {
        ok = false;
    }
    if (problem && g_error_matches(problem, LOB_ERROR, LOB_ERROR_NOT_ESTIMABLE)) {
        for (size_t k = 0; k < n; k++)
            keep_reason(plan, first, problem, &results[k]);
        bundle_clear(&bundle);
        return true;
    }
    if (problem) {
        if (g_error_matches(problem, LOB_ERROR, LOB_ERROR_STOPPED))
            (void)lob_run_stop_error(err);
        else
            g_propagate_prefixed_error(err, g_steal_pointer(&problem),
                                       "fold %s, model %s: ", plan->folds->names[t->fold],
                                       plan->models[t->model]);
    }
    for (size_t k = 0; ok && k < n; k++) {
        ok = keep(plan, first + k, &bundle.fits[k], bundle.views[k], bags, &results[k], err);
        results[k].seconds = (lob_clock() - start) / (double)n;
    }
    bundle_clear(&bundle);
    return ok;
}

void lob_task_result_clear(LobTaskResult *result) {
    g_free(result->patient);
    g_free(result->lp);
    g_free(result->survival);
    g_free(result->ends);
    g_free(result->curve);
    g_free(result->probability);
    g_free(result->tiles);
    g_free(result->maps);
    g_free(result->map_values);
    g_free(result->learning);
    *result = (LobTaskResult){0};
}

/* ---- bytes: head, arrays, CRC-32C ---- */

typedef struct {
    char magic[8], lock[72];
    uint64_t task, n, n_horizons, n_ends, n_classes, n_tiles, n_maps, n_map_values, n_learning;
    int64_t best_epoch, epochs_run;
    double inner_loss, train_loss, cut, seconds;
    char digest[72], reason[256];
} Head;

GByteArray *lob_task_pack(const LobPlan *plan, size_t task, const LobTaskResult *r) {
    Head head = {.task = task,
                 .n = r->n,
                 .n_horizons = r->n_horizons,
                 .n_ends = r->n_ends,
                 .n_classes = r->n_classes,
                 .n_tiles = r->n_tiles,
                 .n_maps = r->n_maps,
                 .n_map_values = r->n_map_values,
                 .n_learning = r->n_learning,
                 .best_epoch = r->best_epoch,
                 .epochs_run = r->epochs_run,
                 .inner_loss = r->inner_loss,
                 .train_loss = r->train_loss,
                 .cut = r->cut,
                 .seconds = r->seconds};
    memcpy(head.magic, MAGIC, sizeof head.magic);
    memcpy(head.lock, plan->lock, sizeof plan->lock);
    memcpy(head.digest, r->digest, sizeof head.digest);
    memcpy(head.reason, r->reason, sizeof head.reason);
    GByteArray *bytes = g_byte_array_new();
    g_byte_array_append(bytes, (const guint8 *)&head, sizeof head);
    const struct {
        const void *data;
        size_t size;
    } arrays[] = {{r->patient, r->n * sizeof *r->patient},
                  {r->lp, r->n * sizeof *r->lp},
                  {r->survival, r->n * r->n_horizons * sizeof *r->survival},
                  {r->ends, r->n_ends * sizeof *r->ends},
                  {r->curve, r->n * r->n_ends * sizeof *r->curve},
                  {r->probability, r->n * r->n_classes * sizeof *r->probability},
                  {r->tiles, r->n_tiles * sizeof *r->tiles},
                  {r->maps, r->n_maps * sizeof *r->maps},
                  {r->map_values, r->n_map_values * sizeof *r->map_values},
                  {r->learning, r->n_learning * sizeof *r->learning}};
    for (size_t i = 0; i < G_N_ELEMENTS(arrays); i++)
        g_byte_array_append(bytes, arrays[i].data, (guint)arrays[i].size);
    uint32_t crc = lob_crc32c(0, bytes->data, bytes->len);
    g_byte_array_append(bytes, (const guint8 *)&crc, sizeof crc);
    return bytes;
}

static void *take(const char **at, size_t size) {
    void *copy = g_malloc(MAX(size, 1));
    memcpy(copy, *at, size);
    *at += size;
    return copy;
}

static bool head_is_ours(const LobPlan *plan, size_t task, const Head *head, size_t size) {
    size_t n = plan->cohort->n_patients;
    return memcmp(head->magic, MAGIC, sizeof head->magic) == 0 &&
           memcmp(head->lock, plan->lock, sizeof plan->lock) == 0 && head->task == task && head->n <= n &&
           head->n_horizons < 1000 && head->n_ends < 1000 && head->n_classes < 1000 &&
           head->n_tiles <= 2 * n * LOB_TOP_TILES && head->n_maps <= n &&
           head->n_map_values < size / sizeof(float) && head->n_learning < size / sizeof(LobLearning) &&
           size == sizeof *head + sizeof(uint32_t) +
                       head->n * (8 + 4 * (head->n_horizons + head->n_ends + head->n_classes)) +
                       head->n_ends * sizeof(double) + head->n_tiles * sizeof(LobTopTile) +
                       head->n_maps * sizeof(LobAttentionMap) + head->n_map_values * sizeof(float) +
                       head->n_learning * sizeof(LobLearning);
}

bool lob_task_unpack(const LobPlan *plan, size_t task, const void *data, size_t size, LobTaskResult *r) {
    Head head;
    uint32_t crc;
    if (size < sizeof head + sizeof crc)
        return false;
    memcpy(&head, data, sizeof head);
    memcpy(&crc, (const char *)data + size - sizeof crc, sizeof crc);
    if (!head_is_ours(plan, task, &head, size) || crc != lob_crc32c(0, data, size - sizeof crc))
        return false;
    *r = (LobTaskResult){.n = head.n,
                         .n_horizons = head.n_horizons,
                         .n_ends = head.n_ends,
                         .n_classes = head.n_classes,
                         .n_tiles = head.n_tiles,
                         .n_maps = head.n_maps,
                         .n_map_values = head.n_map_values,
                         .n_learning = head.n_learning,
                         .best_epoch = head.best_epoch,
                         .epochs_run = head.epochs_run,
                         .inner_loss = head.inner_loss,
                         .train_loss = head.train_loss,
                         .cut = head.cut,
                         .seconds = head.seconds};
    memcpy(r->digest, head.digest, sizeof r->digest);
    memcpy(r->reason, head.reason, sizeof r->reason);
    const char *at = (const char *)data + sizeof head;
    r->patient = take(&at, r->n * sizeof *r->patient);
    r->lp = take(&at, r->n * sizeof *r->lp);
    r->survival = take(&at, r->n * r->n_horizons * sizeof *r->survival);
    r->ends = take(&at, r->n_ends * sizeof *r->ends);
    r->curve = take(&at, r->n * r->n_ends * sizeof *r->curve);
    r->probability = take(&at, r->n * r->n_classes * sizeof *r->probability);
    r->tiles = take(&at, r->n_tiles * sizeof *r->tiles);
    r->maps = take(&at, r->n_maps * sizeof *r->maps);
    r->map_values = take(&at, r->n_map_values * sizeof *r->map_values);
    r->learning = take(&at, r->n_learning * sizeof *r->learning);
    return true;
}
