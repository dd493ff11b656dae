#include "mpi/predict_scores.h"
#include "mpi/stop.h"

#include <stdlib.h>
#include <string.h>

/* ---- who scores whom ---- */

static bool is_mine(const LobScoring *s, uint32_t p) {
    if (s->resident && s->resident->owner)
        return s->resident->owner[p] == (uint32_t)s->resident->seat.rank;
    return p % (uint32_t)s->world->size == (uint32_t)s->world->rank;
}

static uint32_t *my_patients(const LobScoring *s, size_t *n) {
    const LobCohort *cohort = s->plan->cohort;
    uint32_t *patients = g_new(uint32_t, cohort->n_patients + 1);
    *n = 0;
    for (uint32_t p = 0; p < cohort->n_patients; p++)
        if (cohort->patients[p].eligible && is_mine(s, p))
            patients[(*n)++] = p;
    return patients;
}

/* A patient is one rank's work: no group is asked. */
static LobBags own_bags(const LobScoring *s) {
    LobBags bags = s->resident ? s->resident->bags : (LobBags){0};
    bags.group = NULL;
    bags.owner = NULL;
    return bags;
}

static bool score(const LobScoring *s, size_t task, const uint32_t *patients, size_t n, LobModelResult *fit,
                  GError **err) {
    const LobTask *t = &s->plan->tasks[task];
    const LobSavedNet *net = &s->model->nets[t->endpoint * s->plan->n_models + t->model];
    const LobBags bags = own_bags(s);
    g_autofree float *covariates = lob_saved_covariates(net, s->plan->cohort, err);
    return covariates && lob_saved_score(net, t->seed, s->plan->cohort, t->endpoint,
                                         s->resident ? &bags : NULL, covariates, patients, n, fit, err);
}

static void put(GByteArray *outbox, uint64_t key, const void *data, uint64_t size) {
    const uint64_t head[2] = {key, size};
    g_byte_array_append(outbox, (const guint8 *)head, sizeof head);
    g_byte_array_append(outbox, data, (guint)size);
}

static void score_mine(const LobScoring *s, GByteArray *outbox, GError **err) {
    size_t n;
    g_autofree uint32_t *patients = my_patients(s, &n);
    const LobBags bags = own_bags(s);
    for (size_t t = 0; t < s->plan->n_tasks; t++) {
        LobModelResult fit;
        const double start = lob_clock();
        if (lob_run_state() != LOB_RUN_ON) {
            lob_run_stop_error(err);
            return;
        }
        if (!score(s, t, patients, n, &fit, err))
            return;
        LobTaskResult result = {.n_horizons = fit.n_horizons,
                                .n_classes = fit.n_classes,
                                .best_epoch = fit.best_epoch,
                                .cut = fit.cut};
        lob_task_keep_scores(&fit, patients, n, s->resident ? &bags : NULL, &result);
        lob_model_result_clear(&fit);
        result.seconds = lob_clock() - start;
        g_autoptr(GByteArray) bytes = lob_task_pack(s->plan, t, &result);
        put(outbox, t, bytes->data, bytes->len);
        lob_task_result_clear(&result);
    }
}

/* ---- rank 0: the ranks' rows become one table ---- */

/* Appends size bytes of each of n rows. */
static void *append(void *to, size_t n_to, const void *from, size_t n_from, size_t size) {
    char *all = g_realloc(to, (n_to + n_from) * size + 1);
    if (n_from * size > 0)
        memcpy(all + n_to * size, from, n_from * size);
    return all;
}

static void join(LobTaskResult *to, LobTaskResult *from) {
    if (to->n_ends == 0 && to->ends == NULL) {
        *to = *from;
        *from = (LobTaskResult){0};
        return;
    }
    to->patient = append(to->patient, to->n, from->patient, from->n, sizeof *to->patient);
    to->lp = append(to->lp, to->n, from->lp, from->n, sizeof *to->lp);
    to->survival =
        append(to->survival, to->n, from->survival, from->n, to->n_horizons * sizeof *to->survival);
    to->curve = append(to->curve, to->n, from->curve, from->n, to->n_ends * sizeof *to->curve);
    to->probability =
        append(to->probability, to->n, from->probability, from->n, to->n_classes * sizeof *to->probability);
    to->tiles = append(to->tiles, to->n_tiles, from->tiles, from->n_tiles, sizeof *to->tiles);
    to->n += from->n;
    to->n_tiles += from->n_tiles;
    to->seconds += from->seconds;
    lob_task_result_clear(from);
}

typedef struct {
    uint32_t patient;
    size_t at;
} Place;

static int by_patient(const void *a, const void *b) {
    const Place *x = a, *y = b;
    if (x->patient != y->patient)
        return x->patient < y->patient ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

static void reorder(void **rows, const Place *order, size_t n, size_t size) {
    char *sorted = g_malloc(n * size + 1);
    for (size_t i = 0; i < n && size > 0; i++)
        memcpy(sorted + i * size, (const char *)*rows + order[i].at * size, size);
    g_free(*rows);
    *rows = sorted;
}

static void sort_rows(LobTaskResult *r) {
    g_autofree Place *order = g_new(Place, MAX(r->n, r->n_tiles) + 1);
    for (size_t i = 0; i < r->n_tiles; i++)
        order[i] = (Place){r->tiles[i].patient, i};
    qsort(order, r->n_tiles, sizeof *order, by_patient);
    reorder((void **)&r->tiles, order, r->n_tiles, sizeof *r->tiles);
    for (size_t i = 0; i < r->n; i++)
        order[i] = (Place){r->patient[i], i};
    qsort(order, r->n, sizeof *order, by_patient);
    reorder((void **)&r->patient, order, r->n, sizeof *r->patient);
    reorder((void **)&r->lp, order, r->n, sizeof *r->lp);
    reorder((void **)&r->survival, order, r->n, r->n_horizons * sizeof *r->survival);
    reorder((void **)&r->curve, order, r->n, r->n_ends * sizeof *r->curve);
    reorder((void **)&r->probability, order, r->n, r->n_classes * sizeof *r->probability);
}

static bool take_scores(const LobScoring *s, const char *at, size_t total, LobTaskResult *results,
                        GError **err) {
    for (const char *end = total ? at + total : at; at < end;) {
        uint64_t head[2];
        LobTaskResult one = {0};
        memcpy(head, at, sizeof head);
        at += sizeof head;
        if (head[0] >= s->plan->n_tasks || !lob_task_unpack(s->plan, head[0], at, head[1], &one))
            return lob_fail(err, LOB_ERROR_INTERNAL, "scores were damaged on their way to rank 0");
        join(&results[head[0]], &one);
        at += head[1];
    }
    for (size_t t = 0; t < s->plan->n_tasks; t++)
        sort_rows(&results[t]);
    return true;
}

/* ---- maps: who is drawn is known when all are scored ---- */

static void attend_mine(const LobScoring *s, const LobAttentionMap *maps, size_t n, GByteArray *outbox,
                        GError **err) {
    g_autofree uint32_t *patients = g_new(uint32_t, n + 1);
    size_t mine = 0;
    LobModelResult fit;
    for (size_t i = 0; i < n; i++)
        if (is_mine(s, maps[i].patient))
            patients[mine++] = maps[i].patient;
    if (mine == 0 || !score(s, 0, patients, mine, &fit, err))
        return;
    for (size_t i = 0; i < n; i++)
        if (is_mine(s, maps[i].patient))
            put(outbox, i, fit.attention + s->resident->bags.first[maps[i].patient],
                maps[i].n * sizeof *fit.attention);
    lob_model_result_clear(&fit);
}

static void take_maps(LobTaskResult *r, LobAttentionMap *maps, size_t n, const char *at, size_t total) {
    g_autofree size_t *start = g_new0(size_t, n + 1);
    for (size_t i = 0; i < n; i++)
        start[i + 1] = start[i] + maps[i].n;
    r->maps = maps;
    r->n_maps = n;
    r->n_map_values = start[n];
    r->map_values = g_new0(float, start[n] + 1);
    for (const char *end = total ? at + total : at; at < end;) {
        uint64_t head[2];
        memcpy(head, at, sizeof head);
        memcpy(r->map_values + start[head[0]], at + sizeof head, head[1]);
        at += sizeof head + head[1];
    }
}

static bool draw_maps(const LobScoring *s, LobTaskResult *results, GError **err) {
    g_autofree LobAttentionMap *maps = NULL;
    g_autoptr(GByteArray) outbox = g_byte_array_new();
    g_autofree void *all = NULL;
    uint64_t n = 0;
    size_t total = 0;
    GError *problem = NULL;
    /* Only a model with attention has tiles that it attends to most. */
    if (s->world->rank == 0 && results[0].n_tiles > 0)
        maps = lob_maps_choose(s->plan, 0, &results[0], &s->resident->bags, &n);
    lob_world_bcast(s->world, &n, sizeof n);
    if (n == 0)
        return true;
    if (!maps)
        maps = g_new0(LobAttentionMap, n);
    lob_world_bcast(s->world, maps, n * sizeof *maps);
    attend_mine(s, maps, n, outbox, &problem);
    if (!lob_world_collect(s->world, outbox, problem, &all, &total, err))
        return false;
    if (s->world->rank == 0)
        take_maps(&results[0], g_steal_pointer(&maps), n, all, total);
    return true;
}

bool lob_scoring_run(const LobScoring *s, LobTaskResult *results, GError **err) {
    g_autoptr(GByteArray) outbox = g_byte_array_new();
    g_autofree void *all = NULL;
    size_t total = 0;
    GError *problem = NULL;
    score_mine(s, outbox, &problem);
    if (!lob_world_collect(s->world, outbox, problem, &all, &total, err))
        return false;
    problem = NULL;
    if (s->world->rank == 0)
        (void)take_scores(s, all, total, results, &problem);
    return lob_world_agree(s->world, problem, err) && draw_maps(s, results, err);
}
