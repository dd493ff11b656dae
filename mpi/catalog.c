#include "mpi/catalog.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MOST_PARTS 9999
#define MOST_LISTED 20

char *lob_part_path(const LobStudy *study, int number, const char *ending) {
    g_autofree char *name = g_strdup_printf("store/part-%04d%s", number, ending);
    return lob_study_out(study, name);
}

char *lob_plan_journal_path(const LobStudy *study) {
    return lob_study_out(study, "plan/plan.journal");
}

int64_t lob_catalog_find(const LobCatalog *catalog, const char *slide_id) {
    return (int64_t)GPOINTER_TO_SIZE(g_hash_table_lookup(catalog->index, slide_id)) - 1;
}

const char *lob_catalog_reason(const LobCohort *cohort, size_t i, const char *message) {
    const char *path = cohort->slides[i].path;
    if (path && g_str_has_prefix(message, path) && strncmp(message + strlen(path), ": ", 2) == 0)
        return message + strlen(path) + 2;
    return message;
}

void lob_catalog_set_failed(LobCatalogSlide *slide, LobSlideState state, const char *reason, bool lasting) {
    slide->state = state;
    slide->lasting = lasting;
    g_free(slide->reason);
    slide->reason = g_strdup(reason);
}

/* ---- runs ---- */

char *lob_session_text(const char *head, int ranks) {
    int64_t restart = 0;
    const char *job = lob_job_id(&restart);
    if (g_getenv("LOBULE_CHAIN")) {
        const char *explained = g_getenv("LOBULE_CHAIN_EXPLAINED");
        restart = explained ? g_ascii_strtoll(explained, NULL, 10) : 0;
    }
    return g_strdup_printf("%s\nhost %s pid %d job %s restart %" G_GINT64_FORMAT " ranks %d", head,
                           g_get_host_name(), (int)getpid(), *job ? job : "-", restart, ranks);
}

static bool parse_job(const char *text, char job[64], int64_t *restart) {
    const char *at = strstr(text, " job ");
    return at && sscanf(at, " job %63s restart %" G_GINT64_FORMAT, job, restart) == 2;
}

bool lob_session_was_restarted(const char *before, const char *after) {
    char jobs[2][64];
    int64_t restarts[2];
    return parse_job(before, jobs[0], &restarts[0]) && parse_job(after, jobs[1], &restarts[1]) &&
           strcmp(jobs[0], "-") != 0 && strcmp(jobs[0], jobs[1]) == 0 && restarts[1] > restarts[0];
}

/* ---- the plan's journal ---- */

static void end_session(LobCatalog *catalog, bool explained) {
    for (size_t i = 0; i < catalog->cohort->n_slides; i++) {
        LobPlanAttempts *attempts = &catalog->slides[i].attempts;
        if (catalog->open && !explained && attempts->dealt) {
            attempts->deaths++;
            attempts->lone_deaths += attempts->alone;
        }
        attempts->dealt = attempts->alone = false;
    }
    catalog->open = false;
}

static void start_session(LobCatalog *catalog, const char *text) {
    end_session(catalog, catalog->session && lob_session_was_restarted(catalog->session, text));
    const size_t length = strcspn(text, "\n");
    catalog->same_spec = strlen(catalog->spec) == length && strncmp(text, catalog->spec, length) == 0;
    catalog->open = true;
    g_free(catalog->session);
    catalog->session = g_strdup(text);
}

static void visit_slide(LobCatalog *catalog, LobCatalogSlide *slide, const LobJournalRecord *record) {
    if (record->kind == LOB_J_LEASE) {
        slide->attempts.dealt = true;
        slide->attempts.alone = strcmp(record->text, "alone") == 0;
        return;
    }
    slide->attempts = (LobPlanAttempts){0};
    if (record->kind == LOB_J_PLAN) {
        slide->planned = lob_plan_facts_parse(record->text, &slide->facts);
        slide->same_spec = catalog->same_spec;
        lob_catalog_set_failed(slide, LOB_STATE_PENDING, NULL, false);
        return;
    }
    const bool quarantined = record->kind == LOB_J_QUARANTINE;
    slide->planned = false;
    if (quarantined) {
        slide->facts.file_size = (int64_t)record->count;
        slide->facts.file_mtime = (int64_t)record->first;
    }
    lob_catalog_set_failed(slide, quarantined ? LOB_STATE_QUARANTINED : LOB_STATE_FAILED, record->text,
                           quarantined);
}

static void visit_plan(const LobJournalRecord *record, void *user) {
    LobCatalog *catalog = user;
    if (record->kind == LOB_J_START)
        start_session(catalog, record->text);
    if (record->kind == LOB_J_END)
        end_session(catalog, true);
    const int64_t i = lob_catalog_find(catalog, record->slide_id);
    if (i >= 0 && record->kind != LOB_J_RANGE)
        visit_slide(catalog, &catalog->slides[i], record);
}

static bool read_plan(LobCatalog *catalog, GError **err) {
    g_autofree char *path = lob_plan_journal_path(catalog->cohort->study);
    g_autofree char *now = lob_session_text("", 1);
    g_autoptr(GError) problem = NULL;
    if (g_file_test(path, G_FILE_TEST_EXISTS) && !lob_journal_read(path, visit_plan, catalog, &problem))
        return lob_fail(err, (LobErrorCode)problem->code,
                        "%s; restore it from a copy, or remove it: slides that are not done are then planned "
                        "again",
                        problem->message);
    end_session(catalog, catalog->session && lob_session_was_restarted(catalog->session, now));
    return true;
}

/* ---- parts ---- */

static LobStoreSlide copy_slide(const LobStoreSlide *from) {
    LobStoreSlide to = *from;
    to.slide_id = g_strdup(from->slide_id);
    to.patient_id = g_strdup(from->patient_id);
    to.center = g_strdup(from->center);
    to.mpp_source = g_strdup(from->mpp_source);
    to.quickhash = g_strdup(from->quickhash);
    return to;
}

static LobStoreHeader copy_header(const LobStoreHeader *from) {
    LobStoreHeader to = *from;
    to.encoder = g_strdup(from->encoder);
    to.weights_sha256 = g_strdup(from->weights_sha256);
    to.transform = g_strdup(from->transform);
    to.precision = g_strdup(from->precision);
    to.columns = g_strdupv(from->columns);
    to.tissue = g_strdup(from->tissue);
    to.stain = g_strdup(from->stain);
    to.filters = g_strdup(from->filters);
    to.cpu = g_strdup(from->cpu);
    to.openslide = g_strdup(from->openslide);
    return to;
}

typedef struct {
    const LobCatalog *catalog;
    int part;
    bool finished;
} PartVisit;

/* A finished part's table says what became of a slide, its journal why. An unfinished part's failures are
 * tried again, so only giving a slide up for good counts. */
static void visit_part(const LobJournalRecord *record, void *user) {
    const PartVisit *visit = user;
    const int64_t i = lob_catalog_find(visit->catalog, record->slide_id);
    if (i < 0 || visit->catalog->slides[i].part != visit->part)
        return;
    LobCatalogSlide *slide = &visit->catalog->slides[i];
    if (record->kind == LOB_J_RANGE && strcmp(record->text, LOB_J_VOID) != 0) {
        slide->seconds += record->seconds;
        if (!visit->finished)
            slide->unreadable += record->unreadable;
    } else if (record->kind == LOB_J_FAILED && slide->state != LOB_STATE_DONE) {
        lob_catalog_set_failed(slide, slide->state, record->text, record->count == 1);
    } else if (record->kind == LOB_J_QUARANTINE) {
        lob_catalog_set_failed(slide, LOB_STATE_QUARANTINED, record->text, true);
    }
}

static void enter_slides(LobCatalog *catalog, LobCatalogPart *part) {
    part->keep = !part->finished;
    for (size_t s = 0; s < part->n_slides; s++) {
        const LobStoreSlide *stored = &part->slides[s];
        part->keep |= stored->state == LOB_STATE_DONE || stored->state == LOB_STATE_QUARANTINED;
        const int64_t i = lob_catalog_find(catalog, stored->slide_id);
        if (i < 0 || catalog->slides[i].state == LOB_STATE_DONE)
            continue;
        LobCatalogSlide *slide = &catalog->slides[i];
        if (slide->state == LOB_STATE_QUARANTINED && slide->part == 0)
            continue; /* planned anew since, and given up then */
        slide->part = part->number;
        slide->unreadable = stored->unreadable;
        slide->seconds = 0;
        lob_catalog_set_failed(slide, part->finished ? (LobSlideState)stored->state : LOB_STATE_PENDING, NULL,
                               false);
    }
}

/* A finished part stands for itself: its journal only says why slides failed. */
static bool read_part_journal(const LobCatalog *catalog, const LobCatalogPart *part, GError **err) {
    PartVisit visit = {catalog, part->number, part->finished};
    g_autoptr(GError) problem = NULL;
    if (!g_file_test(part->journal, G_FILE_TEST_EXISTS) ||
        lob_journal_read(part->journal, visit_part, &visit, &problem))
        return true;
    if (part->finished) {
        lob_warning("%s; its part is finished and does not need it", problem->message);
        return true;
    }
    return lob_fail(
        err, (LobErrorCode)problem->code,
        "%s; restore it from a copy, or remove it together with %s, whose slides are then planned "
        "and embedded again",
        problem->message, part->path);
}

#define MAKE_AGAIN "with its journal and all parts with a higher number: the same command makes them again"

static bool cannot_open(const LobCatalogPart *part, const GError *problem, GError **err) {
    const bool damaged = problem->code == LOB_ERROR_INPUT && access(part->path, R_OK) == 0;
    return lob_fail(err, (LobErrorCode)problem->code, "%s%s", problem->message,
                    damaged ? "; restore it from a copy, or move it away " MAKE_AGAIN : "");
}

static bool read_part(LobCatalog *catalog, LobCatalogPart *part, GError **err) {
    g_autoptr(GError) problem = NULL;
    g_autoptr(LobStore) store = lob_store_open(part->path, &problem);
    if (!store)
        return cannot_open(part, problem, err);
    const LobStoreSlide *slides = lob_store_slides(store, &part->n_slides);
    part->finished = lob_store_finished(store);
    part->header = copy_header(lob_store_header(store));
    part->slides = g_new0(LobStoreSlide, part->n_slides + 1);
    for (size_t s = 0; s < part->n_slides; s++)
        part->slides[s] = copy_slide(&slides[s]);
    enter_slides(catalog, part);
    if (!read_part_journal(catalog, part, err))
        return false;
    for (size_t i = 0; i < catalog->cohort->n_slides; i++)
        part->keep |= catalog->slides[i].part == part->number && catalog->slides[i].lasting;
    return true;
}

/* A later part without this one: its slides would be made once more, for a store that has some twice. */
static bool is_last(const char *missing, GError **err) {
    g_autofree char *folder = g_path_get_dirname(missing);
    g_auto(GStrv) parts = lob_store_find(folder, NULL);
    const guint n = parts ? g_strv_length(parts) : 0;
    return n == 0 || strcmp(parts[n - 1], missing) < 0 ||
           lob_fail(err, LOB_ERROR_INPUT,
                    "%s is missing, but %s is there: put it back, or move that away too " MAKE_AGAIN, missing,
                    parts[n - 1]);
}

static bool read_parts(LobCatalog *catalog, GError **err) {
    const LobStudy *study = catalog->cohort->study;
    for (int number = 1; number <= MOST_PARTS; number++) {
        g_autofree char *path = lob_part_path(study, number, ".h5");
        if (!g_file_test(path, G_FILE_TEST_EXISTS))
            return is_last(path, err);
        catalog->parts = g_renew(LobCatalogPart, catalog->parts, catalog->n_parts + 1);
        LobCatalogPart *part = &catalog->parts[catalog->n_parts++];
        *part = (LobCatalogPart){.number = number, .path = g_steal_pointer(&path)};
        part->journal = lob_part_path(study, number, ".journal");
        if (!read_part(catalog, part, err))
            return false;
    }
    return lob_fail(err, LOB_ERROR_INPUT, "more than %d parts in %s", MOST_PARTS, study->output);
}

LobCatalog *lob_catalog_load(const LobCohort *cohort, const char *plan_spec, GError **err) {
    g_autoptr(LobCatalog) catalog = g_new0(LobCatalog, 1);
    catalog->cohort = cohort;
    catalog->spec = g_strdup(plan_spec);
    catalog->slides = g_new0(LobCatalogSlide, cohort->n_slides + 1);
    catalog->index = g_hash_table_new(g_str_hash, g_str_equal);
    for (size_t i = 0; i < cohort->n_slides; i++)
        g_hash_table_insert(catalog->index, cohort->slides[i].slide_id, GSIZE_TO_POINTER(i + 1));
    if (!read_plan(catalog, err) || !read_parts(catalog, err))
        return NULL;
    return g_steal_pointer(&catalog);
}

void lob_catalog_free(LobCatalog *catalog) {
    if (!catalog)
        return;
    for (size_t i = 0; i < catalog->cohort->n_slides; i++)
        g_free(catalog->slides[i].reason);
    for (size_t p = 0; p < catalog->n_parts; p++) {
        LobCatalogPart *part = &catalog->parts[p];
        for (size_t s = 0; s < part->n_slides; s++) {
            g_free(part->slides[s].slide_id);
            g_free(part->slides[s].patient_id);
            g_free(part->slides[s].center);
            g_free(part->slides[s].mpp_source);
            g_free(part->slides[s].quickhash);
        }
        lob_store_header_clear(&part->header);
        g_free(part->slides);
        g_free(part->path);
        g_free(part->journal);
    }
    g_free(catalog->parts);
    g_free(catalog->spec);
    g_free(catalog->session);
    g_free(catalog->slides);
    g_hash_table_unref(catalog->index);
    g_free(catalog);
}

bool lob_catalog_agree(const LobCatalog *catalog, const LobStoreHeader *wanted, GError **err) {
    for (size_t p = 0; p < catalog->n_parts; p++) {
        g_autofree char *name = g_path_get_basename(catalog->parts[p].path);
        if (!lob_store_header_agree(&catalog->parts[p].header, wanted, name, "study", err))
            return false;
    }
    return true;
}

/* ---- slides.csv ---- */

static void put_tiles(LobCsv *csv, const LobCatalogSlide *slide) {
    double stain[LOB_STORE_STAINS];
    lob_plan_facts_stain(&slide->facts, stain);
    for (int q = 0; q < LOB_QUALITIES; q++)
        lob_csv_number(csv, slide->judged ? (double)slide->flagged[q] : (double)NAN);
    lob_csv_number(csv, slide->judged ? (double)slide->left_out : (double)NAN);
    for (int k = 0; k < LOB_STORE_STAINS; k++)
        lob_csv_number(csv, slide->planned ? stain[k] : (double)NAN);
}

static void put_row(LobCsv *csv, const LobCohort *cohort, size_t i, const LobCatalogSlide *slide) {
    const LobCohortPatient *patient = &cohort->patients[cohort->slides[i].patient];
    const LobPlanFacts *f = &slide->facts;
    const LobSlideQuality *q = &f->quality;
    lob_csv_text(csv, cohort->slides[i].slide_id);
    lob_csv_text(csv, patient->patient_id);
    lob_csv_text(csv, cohort->centers[patient->center]);
    lob_csv_text(csv, lob_slide_state_name(slide->state));
    lob_csv_text(csv, slide->state == LOB_STATE_DONE || !slide->reason ? "" : slide->reason);
    const double numbers[] = {q->tissue_mm2, q->pen_fraction, q->fold_fraction, q->blur,
                              q->od_mean[0], q->od_mean[1],   q->od_mean[2],    q->unknown};
    lob_csv_number(csv, slide->planned && f->mpp_x > 0 ? f->mpp_x : (double)NAN);
    lob_csv_text(csv, slide->planned ? lob_mpp_source_name((LobMppSource)f->mpp_source) : "");
    lob_csv_integer(csv, slide->planned ? f->tiles : 0);
    lob_csv_integer(csv, slide->unreadable);
    lob_csv_number(csv, slide->seconds);
    for (size_t k = 0; k < G_N_ELEMENTS(numbers); k++)
        lob_csv_number(csv, slide->planned ? numbers[k] : (double)NAN);
    put_tiles(csv, slide);
    lob_csv_end_row(csv);
}

bool lob_catalog_write_csv(LobCatalog *catalog, GError **err) {
    static const char *const columns[] = {"slide_id",       "patient_id",
                                          "center",         "state",
                                          "reason",         "mpp",
                                          "mpp_source",     "tiles",
                                          "unreadable",     "seconds",
                                          "tissue_mm2",     "pen_fraction",
                                          "fold_fraction",  "blur",
                                          "od_red",         "od_green",
                                          "od_blue",        "overview_unreadable",
                                          "tiles_pen",      "tiles_fold",
                                          "tiles_blur",     "tiles_overexposed",
                                          "tiles_left_out", "hema_red",
                                          "hema_green",     "hema_blue",
                                          "eosin_red",      "eosin_green",
                                          "eosin_blue",     "hema_strength",
                                          "eosin_strength", NULL};
    if (!lob_catalog_judge(catalog, err))
        return false;
    const LobCohort *cohort = catalog->cohort;
    g_autoptr(LobCsv) csv = lob_csv_new(columns);
    g_autofree char *path = lob_study_out(cohort->study, "slides.csv");
    for (size_t i = 0; i < cohort->n_slides; i++)
        put_row(csv, cohort, i, &catalog->slides[i]);
    return lob_csv_save(csv, path, err);
}

/* `run` goes through several stages: what one has told is not told again by the next. */
static bool is_news(const char *slide_id, const char *reason) {
    static GHashTable *told;
    if (!told)
        told = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    return g_hash_table_add(told, g_strdup_printf("%s\t%s", slide_id, reason));
}

void lob_catalog_tell(const char *slide_id, LobSlideState state, const char *reason) {
    if (is_news(slide_id, reason))
        lob_warning("slide %s %s: %s", slide_id, lob_slide_state_name(state), reason);
}

int lob_catalog_verdict(const LobCatalog *catalog) {
    size_t failed = 0;
    for (size_t i = 0; i < catalog->cohort->n_slides; i++) {
        const LobCatalogSlide *slide = &catalog->slides[i];
        if (slide->state != LOB_STATE_FAILED && slide->state != LOB_STATE_QUARANTINED)
            continue;
        if (failed++ < MOST_LISTED)
            lob_catalog_tell(catalog->cohort->slides[i].slide_id, slide->state,
                             slide->reason ? slide->reason : "reason unknown");
    }
    if (failed > MOST_LISTED)
        lob_warning("and %zu more slides; slides.csv lists all", failed - MOST_LISTED);
    return failed > 0 ? LOB_EXIT_SLIDES_FAILED : LOB_EXIT_DONE;
}
