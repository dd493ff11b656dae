/* What a part's journal says: which ranges are done, which were in flight when a run died. */
#include "mpi/embed_internal.h"

#include <string.h>

LobPartRecord *lob_part_record_new(const LobCatalogPart *part) {
    LobPartRecord *record = g_new0(LobPartRecord, 1);
    record->part = part;
    record->slides = g_new0(LobSlideRecord, part->n_slides + 1);
    record->index = g_hash_table_new(g_str_hash, g_str_equal);
    for (size_t s = 0; s < part->n_slides; s++) {
        record->slides[s].done = g_array_new(FALSE, FALSE, sizeof(LobDoneRange));
        record->slides[s].leases = g_array_new(FALSE, FALSE, sizeof(LobDoneRange));
        record->slides[s].suspects = g_array_new(FALSE, FALSE, sizeof(LobSuspect));
        g_hash_table_insert(record->index, part->slides[s].slide_id, GSIZE_TO_POINTER(s + 1));
    }
    return record;
}

void lob_part_record_free(LobPartRecord *record) {
    if (!record)
        return;
    for (size_t s = 0; s < record->part->n_slides; s++) {
        g_array_unref(record->slides[s].done);
        g_array_unref(record->slides[s].leases);
        g_array_unref(record->slides[s].suspects);
    }
    g_hash_table_unref(record->index);
    g_free(record->slides);
    g_free(record->session);
    g_free(record);
}

/* ---- ranges ---- */

static uint64_t end_of(const LobDoneRange *range) {
    return (uint64_t)range->first + range->count;
}

/* Index of the first range that ends after `first`. */
static guint find(const GArray *done, uint64_t first) {
    guint low = 0, high = done->len;
    while (low < high) {
        const guint middle = (low + high) / 2;
        if (end_of(&g_array_index(done, LobDoneRange, middle)) > first)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

void lob_slide_record_void(LobSlideRecord *slide, uint32_t first, uint32_t count) {
    const guint at = find(slide->done, first);
    while (at < slide->done->len) {
        const LobDoneRange *old = &g_array_index(slide->done, LobDoneRange, at);
        if (old->first >= (uint64_t)first + count)
            return;
        slide->unreadable -= old->unreadable;
        g_array_remove_index(slide->done, at);
    }
}

void lob_slide_record_add(LobSlideRecord *slide, const LobDoneRange *range) {
    lob_slide_record_void(slide, range->first, range->count);
    g_array_insert_vals(slide->done, find(slide->done, range->first), range, 1);
    slide->unreadable += range->unreadable;
}

uint64_t lob_slide_record_tiles(const LobSlideRecord *slide) {
    uint64_t tiles = 0;
    for (guint i = 0; i < slide->done->len; i++)
        tiles += g_array_index(slide->done, LobDoneRange, i).count;
    return tiles;
}

static bool is_done(const LobSlideRecord *slide, uint32_t first) {
    const guint at = find(slide->done, first);
    return at < slide->done->len && g_array_index(slide->done, LobDoneRange, at).first <= first;
}

uint32_t lob_slide_record_crc(const LobSlideRecord *slide, uint64_t row_bytes) {
    uint32_t crc = 0;
    for (guint i = 0; i < slide->done->len; i++) {
        const LobDoneRange *range = &g_array_index(slide->done, LobDoneRange, i);
        crc = i == 0 ? range->crc : lob_crc32c_combine(crc, range->crc, range->count * row_bytes);
    }
    return crc;
}

uint32_t lob_slide_record_quality_crc(const LobSlideRecord *slide) {
    uint32_t crc = 0;
    for (guint i = 0; i < slide->done->len; i++) {
        const LobDoneRange *range = &g_array_index(slide->done, LobDoneRange, i);
        crc = i == 0 ? range->quality_crc
                     : lob_crc32c_combine(crc, range->quality_crc, (uint64_t)range->count * LOB_QUALITIES);
    }
    return crc;
}

bool lob_slide_record_is_suspect(const LobSlideRecord *slide) {
    for (guint i = 0; i < slide->suspects->len; i++) {
        const LobSuspect *suspect = &g_array_index(slide->suspects, LobSuspect, i);
        if (suspect->deaths >= LOB_DEATHS_TO_SUSPECT && !is_done(slide, suspect->first))
            return true;
    }
    return false;
}

/* ---- sessions ---- */

static void blame(LobSlideRecord *slide, uint32_t first) {
    for (guint i = 0; i < slide->suspects->len; i++) {
        LobSuspect *suspect = &g_array_index(slide->suspects, LobSuspect, i);
        if (suspect->first == first) {
            suspect->deaths++;
            return;
        }
    }
    const LobSuspect fresh = {.first = first, .deaths = 1};
    g_array_append_val(slide->suspects, fresh);
}

/* Being in flight when a run dies proves nothing by itself: all ranks die with one. */
static void died(LobPartRecord *record) {
    for (size_t s = 0; s < record->part->n_slides; s++) {
        LobSlideRecord *slide = &record->slides[s];
        bool in_flight = false;
        for (guint i = 0; i < slide->leases->len; i++) {
            const uint32_t first = g_array_index(slide->leases, LobDoneRange, i).first;
            if (is_done(slide, first))
                continue;
            blame(slide, first);
            in_flight = true;
        }
        if (in_flight && slide->leased_alone)
            slide->lone_deaths++;
    }
}

typedef enum { UNEXPLAINED, RESTARTED, CLEAN } End;

/* Of a run whose node failed it is known why it ended, but not what of its last writes came through. */
static void end_session(LobPartRecord *record, End end) {
    if (record->open && end == UNEXPLAINED)
        died(record);
    for (size_t s = 0; s < record->part->n_slides; s++) {
        LobSlideRecord *slide = &record->slides[s];
        g_array_set_size(slide->leases, 0);
        slide->leased_alone = false;
        for (guint i = 0; end == CLEAN && i < slide->done->len; i++)
            g_array_index(slide->done, LobDoneRange, i).verified = true;
    }
    record->open = false;
}

static void visit_slide(LobSlideRecord *slide, const LobJournalRecord *line) {
    LobDoneRange range = {.first = (uint32_t)line->first,
                          .count = (uint32_t)line->count,
                          .crc = line->crc,
                          .unreadable = line->unreadable};
    range.has_quality = lob_journal_quality_parse(line->text, &range.quality_crc);
    if (line->kind == LOB_J_LEASE) {
        g_array_append_val(slide->leases, range);
        slide->leased_alone = strcmp(line->text, "alone") == 0;
    } else if (line->kind == LOB_J_RANGE && strcmp(line->text, LOB_J_VOID) == 0) {
        lob_slide_record_void(slide, range.first, range.count);
    } else if (line->kind == LOB_J_RANGE) {
        lob_slide_record_add(slide, &range);
        slide->seconds += line->seconds;
        slide->lone_deaths = 0;
    } else if (line->kind == LOB_J_FAILED) {
        g_array_set_size(slide->leases, 0);
    } else if (line->kind == LOB_J_QUARANTINE) {
        slide->quarantined = true;
    }
}

void lob_part_record_visit(const LobJournalRecord *line, void *part_record) {
    LobPartRecord *record = part_record;
    if (line->kind == LOB_J_START) {
        end_session(record, record->session && lob_session_was_restarted(record->session, line->text)
                                ? RESTARTED
                                : UNEXPLAINED);
        record->open = true;
        g_free(record->session);
        record->session = g_strdup(line->text);
        return;
    }
    if (line->kind == LOB_J_END) {
        end_session(record, CLEAN);
        return;
    }
    const size_t s = GPOINTER_TO_SIZE(g_hash_table_lookup(record->index, line->slide_id));
    if (s > 0 && line->first + line->count <= record->part->slides[s - 1].count)
        visit_slide(&record->slides[s - 1], line);
}

void lob_part_record_close(LobPartRecord *record, const char *next) {
    end_session(record, next && record->session && lob_session_was_restarted(record->session, next)
                            ? RESTARTED
                            : UNEXPLAINED);
}
