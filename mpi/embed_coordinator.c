/* Rank 0's side of embedding: what is dealt, what came back, what becomes of each slide. */
#include "mpi/embed_internal.h"
#include "mpi/stop.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define EXPIRE_SECONDS 1.0
/* A slide fails where more than this share of its tiles cannot be read. */
#define MOST_UNREADABLE 0.5

/* NULL: the cohort has it no more, or another part has it by now. */
static LobCatalogSlide *catalog_slide(const LobEmbed *embed, uint32_t s, int64_t *cohort_slide) {
    *cohort_slide = lob_catalog_find(embed->stage.catalog, embed->catalog_part->slides[s].slide_id);
    LobCatalogSlide *slide = *cohort_slide < 0 ? NULL : &embed->stage.catalog->slides[*cohort_slide];
    return slide && slide->part == embed->catalog_part->number ? slide : NULL;
}

static LobProgressCounts *center_counts(const LobEmbed *embed, uint32_t s) {
    const int64_t i = lob_catalog_find(embed->stage.catalog, embed->catalog_part->slides[s].slide_id);
    const LobCohort *cohort = embed->stage.cohort;
    return i < 0 ? NULL : &embed->centers[cohort->patients[cohort->slides[i].patient].center];
}

/* ---- journal ---- */

static bool append(LobEmbed *embed, LobJournalKind kind, uint32_t s, const LobDoneRange *range,
                   double seconds, const char *text, GError **err) {
    const LobJournalRecord record = {.kind = kind,
                                     .slide_id = embed->catalog_part->slides[s].slide_id,
                                     .first = range->first,
                                     .count = range->count,
                                     .crc = range->crc,
                                     .unreadable = range->unreadable,
                                     .seconds = seconds,
                                     .text = (char *)text};
    embed->dirty = true;
    return lob_journal_append(embed->journal, &record, err);
}

static bool append_session(LobEmbed *embed, LobJournalKind kind, const char *text, GError **err) {
    const LobJournalRecord record = {.kind = kind, .slide_id = (char *)"", .text = (char *)text};
    return lob_journal_append(embed->journal, &record, err) &&
           lob_stage_sync(&embed->stage, embed->journal, err);
}

bool lob_embed_open_journal(LobEmbed *embed, GError **err) {
    embed->record = lob_part_record_new(embed->catalog_part);
    embed->late = g_array_new(FALSE, FALSE, sizeof(LobLateWrite));
    embed->journal =
        lob_journal_open(embed->catalog_part->journal, lob_part_record_visit, embed->record, err);
    if (!embed->journal)
        return false;
    g_autofree char *cpu = g_strdup_printf("cpu %s", embed->stage.header.cpu);
    g_autofree char *text = lob_session_text(cpu, embed->stage.world->size);
    lob_part_record_close(embed->record, text);
    return append_session(embed, LOB_J_START, text, err);
}

bool lob_embed_write_end(LobEmbed *embed, const char *why, GError **err) {
    embed->explained = true;
    return append_session(embed, LOB_J_END, why, err);
}

void lob_embed_explain(void *user, const char *why) {
    LobEmbed *embed = user;
    g_autoptr(GError) err = NULL;
    /* A store that another job has taken over is its own to write in. */
    if (embed->journal && lob_stage_owns(&embed->stage, NULL) && !lob_embed_write_end(embed, why, &err))
        lob_warning("%s", err->message);
    lob_stage_unlock(&embed->stage);
}

bool lob_embed_commit(void *user, GError **err) {
    LobEmbed *embed = user;
    if (!embed->dirty)
        return true;
    embed->dirty = false;
    return lob_stage_sync(&embed->stage, embed->journal, err);
}

/* ---- fate of slides ---- */

static bool fail_slide(LobEmbed *embed, uint32_t s, LobJournalKind kind, const char *reason, bool lasting,
                       GError **err) {
    LobSlideRecord *record = &embed->record->slides[s];
    int64_t cohort_slide;
    LobCatalogSlide *slide = catalog_slide(embed, s, &cohort_slide);
    if (slide)
        reason = lob_catalog_reason(embed->stage.cohort, (size_t)cohort_slide, reason);
    record->failed = true;
    record->lasting = lasting;
    record->quarantined = kind == LOB_J_QUARANTINE;
    lob_sched_fail_slide(embed->sched, s);
    embed->total.slides_failed++;
    if (center_counts(embed, s))
        center_counts(embed, s)->slides_failed++;
    if (slide)
        lob_catalog_set_failed(slide, record->quarantined ? LOB_STATE_QUARANTINED : LOB_STATE_FAILED, reason,
                               lasting);
    lob_catalog_tell(embed->catalog_part->slides[s].slide_id,
                     record->quarantined ? LOB_STATE_QUARANTINED : LOB_STATE_FAILED, reason);
    const LobDoneRange mark = {.count = lasting ? 1 : 0};
    return append(embed, kind, s, &mark, 0, reason, err);
}

/* Only a whole slide is judged, so that its rows do not depend on when it was given up. */
static bool judge_whole(LobEmbed *embed, uint32_t s, const char *example, GError **err) {
    const LobSlideRecord *record = &embed->record->slides[s];
    const uint64_t tiles = embed->catalog_part->slides[s].count;
    if ((double)record->unreadable > MOST_UNREADABLE * (double)tiles) {
        g_autofree char *reason = g_strdup_printf("%u of %" G_GUINT64_FORMAT " tiles cannot be read%s%s",
                                                  record->unreadable, tiles, example[0] ? ": " : "", example);
        return fail_slide(embed, s, LOB_J_FAILED, reason, true, err);
    }
    embed->total.slides_done++;
    if (center_counts(embed, s))
        center_counts(embed, s)->slides_done++;
    return true;
}

static void count_tiles(LobEmbed *embed, uint32_t s, uint64_t tiles) {
    embed->total.tiles_done += tiles;
    if (center_counts(embed, s))
        center_counts(embed, s)->tiles_done += tiles;
}

/* ---- what there is to do ---- */

static bool add_slide(LobEmbed *embed, uint32_t s, GError **err) {
    const LobStoreSlide *stored = &embed->catalog_part->slides[s];
    LobSlideRecord *record = &embed->record->slides[s];
    int64_t i;
    const LobCatalogSlide *slide = catalog_slide(embed, s, &i);
    const LobCohort *cohort = embed->stage.cohort;
    const uint32_t center = i < 0 ? 0 : cohort->patients[cohort->slides[i].patient].center;
    LobProgressCounts *counts = &embed->centers[center];
    const uint64_t done = lob_slide_record_tiles(record);
    lob_sched_add(embed->sched, s, (uint32_t)stored->count, center, lob_slide_record_is_suspect(record));
    for (guint k = 0; k < record->done->len; k++) {
        const LobDoneRange *range = &g_array_index(record->done, LobDoneRange, k);
        lob_sched_mark_done(embed->sched, s, range->first, range->count);
    }
    embed->total.slides++;
    embed->total.tiles += stored->count;
    counts->slides++;
    counts->tiles += stored->count;
    count_tiles(embed, s, done);
    embed->tiles_before += done;
    if (record->quarantined)
        return fail_slide(embed, s, LOB_J_QUARANTINE, slide ? slide->reason : "given up before", true, err);
    if (done == stored->count)
        return judge_whole(embed, s, "", err);
    if (!slide)
        return fail_slide(embed, s, LOB_J_FAILED,
                          i < 0 ? "no longer in the slide table" : "taken up anew elsewhere", false, err);
    if (!slide->planned)
        return fail_slide(embed, s, LOB_J_FAILED, "its plan is lost: run plan again", false, err);
    if (slide->facts.tiles != stored->count)
        return fail_slide(embed, s, LOB_J_FAILED, "its plan is another one than this part was made from",
                          false, err);
    if (record->lone_deaths < LOB_LONE_DEATHS_TO_QUARANTINE)
        return true;
    g_autofree char *reason = g_strdup_printf(
        "its rank died %u times in a row while this slide alone was worked on", record->lone_deaths);
    return fail_slide(embed, s, LOB_J_QUARANTINE, reason, true, err);
}

/* LOB_TEST_LEASE=SECONDS: the least patience with a lease. */
static void test_hook(LobSchedOptions *options) {
    const char *hook = g_getenv("LOB_TEST_LEASE");
    if (hook)
        options->min_lease_seconds = g_ascii_strtod(hook, NULL);
}

bool lob_embed_make_sched(LobEmbed *embed, GError **err) {
    LobSchedOptions options = lob_sched_defaults;
    options.batch = (uint32_t)embed->stage.cohort->study->encoder.batch;
    options.workers = lob_farm_workers(embed->stage.world);
    if (embed->stage.cohort->study->site.lease_seconds > 0)
        options.range_seconds = embed->stage.cohort->study->site.lease_seconds;
    test_hook(&options);
    embed->sched = lob_sched_new(&options);
    embed->total = (LobProgressCounts){0};
    embed->tiles_before = 0;
    memset(embed->centers, 0, (embed->stage.cohort->n_centers + 1) * sizeof *embed->centers);
    uint32_t suspects = 0;
    for (uint32_t s = 0; s < embed->catalog_part->n_slides; s++) {
        suspects += lob_slide_record_is_suspect(&embed->record->slides[s]);
        if (!add_slide(embed, s, err))
            return false;
    }
    if (suspects > 0)
        lob_warning("%u slides were in flight at two unexplained ends: they run last, one at a time",
                    suspects);
    lob_info("embed: %u slides, %" G_GUINT64_FORMAT " tiles, of which %" G_GUINT64_FORMAT " are done already",
             embed->total.slides, embed->total.tiles, embed->tiles_before);
    return lob_embed_commit(embed, err);
}

/* ---- the farm's callbacks ---- */

LobSchedAnswer lob_embed_next(void *user, int worker, GByteArray *data) {
    LobEmbed *embed = user;
    LobEmbedTask task = {0};
    const LobSchedAnswer answer = lob_sched_next(embed->sched, worker, lob_clock(), &task.lease);
    if (answer != LOB_SCHED_LEASE)
        return answer;
    const uint32_t s = task.lease.slide;
    int64_t i;
    const LobCatalogSlide *slide = catalog_slide(embed, s, &i);
    task.cohort_slide = (uint32_t)i;
    task.row = embed->catalog_part->slides[s].first + task.lease.first;
    task.facts = slide->facts;
    g_byte_array_append(data, (const guint8 *)&task, sizeof task);
    const LobDoneRange range = {.first = task.lease.first, .count = task.lease.count};
    const bool alone = lob_slide_record_is_suspect(&embed->record->slides[s]);
    g_autoptr(GError) err = NULL;
    if (!append(embed, LOB_J_LEASE, s, &range, 0, alone ? "alone" : "", &err))
        lob_warning("%s",
                    err->message); /* the commit that follows fails for the same reason and ends the job */
    return LOB_SCHED_LEASE;
}

static bool take_range(LobEmbed *embed, int worker, const LobEmbedResult *result, GError **err) {
    const uint32_t s = result->lease.slide;
    LobSlideRecord *record = &embed->record->slides[s];
    if (!lob_sched_done(embed->sched, worker, &result->lease, lob_clock(), result->seconds)) {
        const LobLateWrite late = {s, result->lease.first, result->lease.count};
        if (!record->failed)
            g_array_append_val(embed->late, late);
        return true;
    }
    const bool was_suspect = lob_slide_record_is_suspect(record);
    const LobDoneRange range = {.first = result->lease.first,
                                .count = result->lease.count,
                                .crc = result->crc,
                                .unreadable = result->unreadable,
                                .quality_crc = result->quality_crc,
                                .has_quality = result->has_quality};
    g_autofree char *text = range.has_quality ? lob_journal_quality_text(range.quality_crc) : g_strdup("");
    lob_slide_record_add(record, &range);
    record->seconds += result->seconds;
    count_tiles(embed, s, range.count);
    if (was_suspect && !lob_slide_record_is_suspect(record))
        lob_sched_clear_suspect(embed->sched, s);
    if (!append(embed, LOB_J_RANGE, s, &range, result->seconds, text, err))
        return false;
    return lob_slide_record_tiles(record) < embed->catalog_part->slides[s].count ||
           judge_whole(embed, s, result->reason, err);
}

bool lob_embed_result(void *user, int worker, const void *data, size_t size, GError **err) {
    LobEmbed *embed = user;
    LobEmbedResult result = {0};
    memcpy(&result, data, MIN(size, sizeof result));
    const uint32_t s = result.lease.slide;
    if (result.outcome == LOB_RANGE_WRITTEN)
        return take_range(embed, worker, &result, err);
    if (result.outcome == LOB_RANGE_SLIDE_FAILED && lob_sched_holds(embed->sched, worker, result.lease.lease))
        return fail_slide(embed, s, result.crashed ? LOB_J_QUARANTINE : LOB_J_FAILED, result.reason,
                          result.crashed, err);
    return true;
}

/* After the last word ranges are believed unread: it waits for those who may still write what is another's.
 */
static bool note_stop(LobEmbed *embed, GError **err) {
    if (embed->explained || lob_run_state() == LOB_RUN_ON)
        return true;
    if (embed->late->len > 0 || lob_sched_late(embed->sched) > 0 || !lob_stage_stop_is_plain(&embed->stage))
        return true;
    return lob_embed_write_end(embed, lob_run_reason(), err);
}

bool lob_embed_pulse(void *user, GError **err) {
    LobEmbed *embed = user;
    const double now = lob_clock();
    if (now - embed->expired_at >= EXPIRE_SECONDS) {
        const int late = lob_sched_expire(embed->sched, now);
        embed->expired_at = now;
        if (late > 0)
            lob_warning("%d tile ranges are late and go to other ranks", late);
    }
    lob_progress_update(embed->stage.progress, &embed->total, embed->centers);
    return lob_stage_owns(&embed->stage, err) && note_stop(embed, err);
}

/* ---- the end of a part ---- */

bool lob_embed_settle_slides(LobEmbed *embed, GError **err) {
    const LobCatalogPart *part = embed->catalog_part;
    const uint64_t row_bytes = (uint64_t)embed->stage.header.dim * (embed->stage.header.float32 ? 4 : 2);
    for (uint32_t s = 0; s < part->n_slides; s++) {
        const LobSlideRecord *record = &embed->record->slides[s];
        LobStoreSlide *stored = &part->slides[s];
        int64_t i;
        LobCatalogSlide *slide = catalog_slide(embed, s, &i);
        stored->state = record->quarantined ? LOB_STATE_QUARANTINED
                        : record->failed    ? LOB_STATE_FAILED
                                            : LOB_STATE_DONE;
        stored->unreadable = record->unreadable;
        stored->crc32c = stored->state == LOB_STATE_DONE ? lob_slide_record_crc(record, row_bytes) : 0;
        stored->quality_crc32c = stored->state == LOB_STATE_DONE ? lob_slide_record_quality_crc(record) : 0;
        if (stored->state == LOB_STATE_DONE && lob_slide_record_tiles(record) != stored->count)
            return lob_fail(err, LOB_ERROR_INTERNAL, "slide %s is not whole at the end of its part",
                            stored->slide_id);
        if (!slide)
            continue;
        if (stored->state == LOB_STATE_DONE)
            lob_catalog_set_failed(slide, LOB_STATE_DONE, NULL, false);
        slide->unreadable = record->unreadable;
        slide->seconds = record->seconds;
    }
    return true;
}
