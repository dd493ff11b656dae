/* Every tile's attention of held-out patients: kept by who trained the model, in a file beside its results,
 * and brought together patient by patient, so that nobody holds all of it and no feature is read again. */
#include "mpi/atlas.h"
#include "mpi/validate.h"
#include "report/report.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#define MAGIC "LOBATTN1"

/* ---- a model's own file: head, index [n], values of all patients, CRC-32C ---- */

typedef struct {
    char magic[8], lock[72];
    uint64_t task, n, n_values;
} Head;

typedef struct {
    uint64_t patient, count;
} Entry;

/* One model has one: the study's own for its first endpoint, in the first repeat. */
static bool keeps(const LobPlan *plan, size_t task) {
    const LobTask *t = &plan->tasks[task];
    return lob_plan_keeps_attention(plan) && t->endpoint == 0 && t->model == 0 && t->repeat == 0;
}

bool lob_plan_keeps_attention(const LobPlan *plan) {
    return plan->cohort->study->report.attention != 0 && lob_model_has_attention(plan->models[0]);
}

char *lob_attention_path(const LobPlan *plan) {
    return lob_study_out(plan->cohort->study, "attention/attention.h5");
}

static void put(FILE *file, uint32_t *crc, const void *data, size_t size) {
    *crc = lob_crc32c(*crc, data, size);
    (void)fwrite(data, 1, size, file); /* ferror tells at the end */
}

static void put_all(FILE *file, const LobPlan *plan, size_t task, const LobModelResult *fit,
                    const LobBags *bags, const LobTaskResult *r) {
    Head head = {.task = task, .n = r->n};
    uint32_t crc = 0;
    memcpy(head.magic, MAGIC, sizeof head.magic);
    memcpy(head.lock, plan->lock, sizeof plan->lock);
    for (size_t i = 0; i < r->n; i++)
        head.n_values += bags->count[r->patient[i]];
    put(file, &crc, &head, sizeof head);
    for (size_t i = 0; i < r->n; i++) {
        const Entry entry = {r->patient[i], bags->count[r->patient[i]]};
        put(file, &crc, &entry, sizeof entry);
    }
    for (size_t i = 0; i < r->n; i++)
        put(file, &crc, fit->attention + bags->first[r->patient[i]],
            bags->count[r->patient[i]] * sizeof(float));
    (void)fwrite(&crc, sizeof crc, 1, file);
}

/* The results of the model are written after it and sync the folder. */
bool lob_task_keep_attention(const LobPlan *plan, size_t task, const LobModelResult *fit, const LobBags *bags,
                             const LobTaskResult *r, GError **err) {
    if (!keeps(plan, task) || (bags->group && bags->group->rank != 0))
        return true;
    g_autofree char *path = lob_task_attention_path(plan, task);
    g_autofree char *temporary = g_strconcat(path, ".tmp", NULL);
    FILE *file = g_fopen(temporary, "wb");
    if (!file)
        return lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot create", temporary);
    put_all(file, plan, task, fit, bags, r);
    bool ok = fflush(file) == 0 && !ferror(file) && fsync(fileno(file)) == 0;
    int problem = errno;
    if (fclose(file) == 0 && ok && g_rename(temporary, path) == 0)
        return true;
    problem = ok ? errno : problem;
    (void)g_unlink(temporary);
    return lob_fail_errno(err, LOB_ERROR_IO, problem, "%s: cannot write", path);
}

typedef struct {
    FILE *file;
    char *path;
    Head head;
    Entry *index; /* [head.n] */
    uint32_t crc;
} Reader;

static void reader_clear(Reader *r) {
    if (r->file)
        fclose(r->file);
    g_free(r->path);
    g_free(r->index);
    *r = (Reader){0};
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Reader, reader_clear)

static bool get(Reader *r, void *data, size_t size) {
    const bool whole = fread(data, 1, size, r->file) == size;
    if (whole)
        r->crc = lob_crc32c(r->crc, data, size);
    return whole;
}

/* Of this lock, this model's patients and as long as it says; its sum is known when all is read. */
static bool reader_open(Reader *r, const LobPlan *plan, size_t task, const LobTaskResult *result) {
    GStatBuf status;
    r->path = lob_task_attention_path(plan, task);
    r->file = g_fopen(r->path, "rb");
    if (!r->file || g_stat(r->path, &status) != 0 || !get(r, &r->head, sizeof r->head) ||
        memcmp(r->head.magic, MAGIC, sizeof r->head.magic) != 0 ||
        memcmp(r->head.lock, plan->lock, sizeof plan->lock) != 0 || r->head.task != task ||
        r->head.n != result->n || r->head.n_values > (uint64_t)status.st_size / sizeof(float) ||
        (uint64_t)status.st_size !=
            sizeof r->head + r->head.n * sizeof(Entry) + r->head.n_values * sizeof(float) + sizeof r->crc)
        return false;
    r->index = g_new(Entry, r->head.n + 1);
    uint64_t n_values = 0;
    if (!get(r, r->index, r->head.n * sizeof(Entry)))
        return false;
    for (size_t i = 0; i < r->head.n; i++) {
        if (r->index[i].patient != result->patient[i])
            return false;
        n_values += r->index[i].count;
    }
    return n_values == r->head.n_values;
}

bool lob_task_attention_stands(const LobPlan *plan, size_t task, const LobTaskResult *result) {
    g_auto(Reader) reader = {0};
    return !keeps(plan, task) || result->reason[0] || reader_open(&reader, plan, task, result);
}

/* ---- the order of the store ---- */

typedef struct {
    const LobPlan *plan;
    const LobResident *resident;
    GPtrArray *stores; /* open, and their paths: slides borrow their texts */
    char **parts;
    GArray *slides; /* LobAttentionSlide */
    size_t *at;     /* [cohort slides] 1 + which of slides; 0: none */
    size_t *begin;  /* [patients] the first of their slides in resident->set */
    LobAtlas *atlas;
    LobAttentionFile *file;
} Gather;

static void close_store(gpointer store) {
    lob_store_close(store);
}

static void gather_clear(Gather *g) {
    lob_attention_close(g->file);
    lob_atlas_free(g->atlas);
    g_array_unref(g->slides);
    g_ptr_array_unref(g->stores);
    g_strfreev(g->parts);
    g_free(g->at);
    g_free(g->begin);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Gather, gather_clear)

/* All slides of all parts, whether the study knows them or not. */
static bool add_part(Gather *g, GHashTable *known, const char *path, uint64_t *rows, GError **err) {
    LobStore *store = lob_store_open(path, err);
    if (!store)
        return false;
    g_ptr_array_add(g->stores, store);
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t n;
    const LobStoreSlide *slides = lob_store_slides(store, &n);
    for (size_t i = 0; i < n; i++) {
        const size_t index = GPOINTER_TO_SIZE(g_hash_table_lookup(known, slides[i].slide_id));
        const LobAttentionSlide slide = {.slide_id = slides[i].slide_id,
                                         .patient_id = slides[i].patient_id,
                                         .fold = "",
                                         .part = name,
                                         .first = *rows + slides[i].first,
                                         .count = slides[i].count,
                                         .row = slides[i].first};
        g_array_append_val(g->slides, slide);
        if (index && slides[i].state == LOB_STATE_DONE)
            g->at[index - 1] = g->slides->len;
    }
    *rows += lob_store_rows(store);
    return true;
}

static bool add_parts(Gather *g, GError **err) {
    const LobCohort *cohort = g->plan->cohort;
    g_autoptr(GHashTable) known = g_hash_table_new(g_str_hash, g_str_equal);
    uint64_t rows = 0;
    for (size_t i = 0; i < cohort->n_slides; i++)
        g_hash_table_insert(known, cohort->slides[i].slide_id, GSIZE_TO_POINTER(i + 1));
    for (char **part = g->parts; *part; part++)
        if (!add_part(g, known, *part, &rows, err))
            return false;
    return true;
}

/* Other tools' files have no common order: the study's. */
static void add_files(Gather *g) {
    const LobCohort *cohort = g->plan->cohort;
    const LobBagSet *set = &g->resident->set;
    for (size_t i = 0; i < set->n_slides; i++) {
        const LobCohortSlide *from = &cohort->slides[set->slides[i].slide];
        const LobAttentionSlide slide = {.slide_id = from->slide_id,
                                         .patient_id = cohort->patients[from->patient].patient_id,
                                         .fold = "",
                                         .part = "",
                                         .first = set->slides[i].first,
                                         .count = set->slides[i].count};
        g_array_append_val(g->slides, slide);
        g->at[set->slides[i].slide] = g->slides->len;
    }
}

static void name_folds(Gather *g, const LobTaskResult *results) {
    const LobPlan *plan = g->plan;
    for (size_t t = 0; t < plan->n_tasks; t++)
        for (size_t i = 0; keeps(plan, t) && i < results[t].n; i++) {
            const LobCohortPatient *patient = &plan->cohort->patients[results[t].patient[i]];
            for (size_t s = 0; s < patient->n_slides; s++)
                if (g->at[patient->slides[s]])
                    g_array_index(g->slides, LobAttentionSlide, g->at[patient->slides[s]] - 1).fold =
                        plan->folds->names[plan->tasks[t].fold];
        }
}

static bool lay_out(Gather *g, const LobTaskResult *results, GError **err) {
    const LobCohort *cohort = g->plan->cohort;
    const LobBagSet *set = &g->resident->set;
    g->at = g_new0(size_t, cohort->n_slides + 1);
    g->begin = g_new0(size_t, cohort->n_patients + 1);
    for (size_t i = set->n_slides; i > 0; i--)
        g->begin[cohort->slides[set->slides[i - 1].slide].patient] = i - 1;
    if (!(g->parts = lob_store_find_all(g->plan->sources, err)))
        return false;
    if (!*g->parts)
        add_files(g);
    else if (!add_parts(g, err))
        return false;
    name_folds(g, results);
    g->atlas = lob_atlas_new(g->parts, err);
    return g->atlas != NULL;
}

/* ---- patient by patient ---- */

/* `tile` counts a slide's readable tiles; the store's row within the slide. */
static bool row_of(Gather *g, const LobAttentionSlide *slide, uint64_t readable, uint64_t tile, uint64_t *row,
                   GError **err) {
    const LobAtlasSlide *at;
    *row = tile;
    if (slide->count == readable)
        return true;
    if (!lob_atlas_slide(g->atlas, slide->slide_id, &at, err))
        return false;
    if (!at || at->n != readable)
        return lob_fail(err, LOB_ERROR_IO, "%s: slide %s changed while the models were trained", slide->part,
                        slide->slide_id);
    *row = at->row[tile] - slide->row;
    return true;
}

/* values: of the patient's bag; a slide's rows lie together in it and in the file. */
static bool write_patient(Gather *g, uint32_t p, const float *values, GError **err) {
    const LobResident *r = g->resident;
    uint64_t i = r->bags.first[p];
    const uint64_t end = i + r->bags.count[p];
    for (size_t s = g->begin[p]; i < end && s < r->set.n_slides; s++) {
        const uint64_t from = r->set.slides[s].first, n = r->set.slides[s].count;
        const size_t at = g->at[r->set.slides[s].slide];
        if (!at)
            return lob_fail(err, LOB_ERROR_INTERNAL, "a slide with features lies in no part");
        const LobAttentionSlide *slide = &g_array_index(g->slides, LobAttentionSlide, at - 1);
        g_autofree float *rows = g_new(float, slide->count + 1);
        for (uint64_t k = 0; k < slide->count; k++)
            rows[k] = NAN;
        for (; i < end && r->origin[i] < from + n; i++) {
            uint64_t row;
            if (!row_of(g, slide, n, r->origin[i] - from, &row, err))
                return false;
            rows[row] = values[i - r->bags.first[p]];
        }
        if (!lob_attention_write(g->file, slide->first, slide->count, rows, err))
            return false;
    }
    return true;
}

/* The next patient of every seed's file, averaged; shares of one. */
static bool average(Reader *readers, size_t n, const Entry *entry, float *mean) {
    g_autofree float *one = g_new(float, entry->count + 1);
    g_autofree double *sum = g_new0(double, entry->count + 1);
    double total = 0;
    for (size_t s = 0; s < n; s++) {
        if (!get(&readers[s], one, entry->count * sizeof *one))
            return false;
        for (uint64_t i = 0; i < entry->count; i++) {
            sum[i] += (double)one[i];
            total += (double)one[i];
        }
    }
    for (uint64_t i = 0; i < entry->count; i++)
        mean[i] = (float)(sum[i] / total);
    return true;
}

static bool sums_hold(Reader *readers, size_t n) {
    for (size_t s = 0; s < n; s++) {
        uint32_t crc;
        if (fread(&crc, sizeof crc, 1, readers[s].file) != 1 || crc != readers[s].crc)
            return false;
    }
    return true;
}

static bool merge(Gather *g, Reader *readers, size_t n, bool *whole, GError **err) {
    const LobBags *bags = &g->resident->bags;
    for (size_t s = 1; s < n && *whole; s++)
        *whole = readers[s].head.n == readers[0].head.n &&
                 memcmp(readers[s].index, readers[0].index, readers[0].head.n * sizeof(Entry)) == 0;
    for (size_t i = 0; n > 0 && *whole && i < readers[0].head.n; i++) {
        const Entry *entry = &readers[0].index[i];
        if (entry->count != bags->count[entry->patient]) {
            *whole = false;
            break;
        }
        g_autofree float *mean = g_new(float, entry->count + 1);
        *whole = average(readers, n, entry, mean);
        if (*whole && !write_patient(g, (uint32_t)entry->patient, mean, err))
            return false;
    }
    *whole = *whole && sums_hold(readers, n);
    return true;
}

/* Tasks [first, first + n): the seeds of a fold. */
static bool gather_fold(Gather *g, const LobTaskResult *results, size_t first, size_t n, GError **err) {
    g_autofree Reader *readers = g_new0(Reader, n);
    size_t open = 0;
    bool whole = true;
    for (size_t s = 0; s < n && whole; s++)
        if (!results[first + s].reason[0])
            whole = reader_open(&readers[open++], g->plan, first + s, &results[first + s]);
    bool ok = merge(g, readers, open, &whole, err);
    for (size_t s = 0; s < open; s++)
        reader_clear(&readers[s]);
    g_autofree char *path = lob_task_attention_path(g->plan, first);
    return ok && (whole || lob_fail(err, LOB_ERROR_IO,
                                    "%s, or that of another seed, is damaged; remove it and start again, "
                                    "which trains the fold anew",
                                    path));
}

bool lob_attention_gather(const LobPlan *plan, const LobTaskResult *results, const LobResident *resident,
                          GError **err) {
    const LobStudy *study = plan->cohort->study;
    g_autofree char *path = lob_attention_path(plan), *dir = g_path_get_dirname(path);
    if (!lob_plan_keeps_attention(plan))
        return lob_remove_stale(path, err);
    g_auto(Gather) g = {.plan = plan,
                        .resident = resident,
                        .stores = g_ptr_array_new_with_free_func(close_store),
                        .slides = g_array_new(FALSE, FALSE, sizeof(LobAttentionSlide))};
    const size_t seeds = (size_t)study->validation.seeds;
    const LobAttentionFacts facts = {study->name, study->endpoints[0].name, plan->models[0], plan->lock,
                                     study->validation.seeds};
    if (!lay_out(&g, results, err) || !lob_make_dirs(dir, err))
        return false;
    g.file =
        lob_attention_create(path, &facts, (LobAttentionSlide *)(void *)g.slides->data, g.slides->len, err);
    for (size_t t = 0; g.file && t < plan->n_tasks; t += seeds)
        if (keeps(plan, t) && !gather_fold(&g, results, t, seeds, err))
            return false;
    return g.file && lob_attention_finish(g_steal_pointer(&g.file), err);
}
