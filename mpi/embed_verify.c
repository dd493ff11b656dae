/* Ranges journalled by a run that did not end cleanly are read again before they are believed. */
#include "mpi/embed_internal.h"
#include "mpi/stop.h"

#include <string.h>

typedef struct {
    uint64_t row;
    uint32_t slide, first, count, crc, quality_crc;
    bool has_quality;
} Check;

static GArray *list_checks(const LobEmbed *embed) {
    GArray *checks = g_array_new(FALSE, FALSE, sizeof(Check));
    for (uint32_t s = 0; s < embed->catalog_part->n_slides; s++) {
        const GArray *done = embed->record->slides[s].done;
        for (guint i = 0; i < done->len; i++) {
            const LobDoneRange *range = &g_array_index(done, LobDoneRange, i);
            if (range->verified)
                continue;
            const Check check = {embed->catalog_part->slides[s].first + range->first,
                                 s,
                                 range->first,
                                 range->count,
                                 range->crc,
                                 range->quality_crc,
                                 range->has_quality};
            g_array_append_val(checks, check);
        }
    }
    return checks;
}

/* What cannot be read (a bad disk block) is as bad as what differs: writing it anew may mend it. */
static bool is_intact(LobStore *store, const Check *check) {
    g_autoptr(GError) problem = NULL;
    uint32_t crc = 0, quality = check->quality_crc;
    if (lob_store_crc_rows(store, check->row, check->count, &crc, &problem) &&
        (!check->has_quality || lob_store_crc_quality(store, check->row, check->count, &quality, &problem)))
        return crc == check->crc && quality == check->quality_crc;
    lob_warning("rows %" G_GUINT64_FORMAT "..%" G_GUINT64_FORMAT " cannot be read again: %s", check->row,
                check->row + check->count, problem->message);
    return false;
}

/* Each rank reads every size-th range; what differs is appended to `bad`. */
static bool check_share(const LobWorld *world, const char *path, const Check *checks, size_t n, GArray *bad,
                        GError **err) {
    g_autoptr(LobStore) store = lob_store_open(path, err);
    if (!store)
        return false;
    for (size_t i = (size_t)world->rank; i < n; i += (size_t)world->size) {
        if (!lob_run_goes_on(err))
            return false;
        if (!is_intact(store, &checks[i]))
            g_array_append_val(bad, checks[i]);
    }
    return true;
}

static bool void_range(LobEmbed *embed, const Check *check, GError **err) {
    const LobJournalRecord record = {.kind = LOB_J_RANGE,
                                     .slide_id = embed->catalog_part->slides[check->slide].slide_id,
                                     .first = check->first,
                                     .count = check->count,
                                     .text = (char *)LOB_J_VOID};
    lob_slide_record_void(&embed->record->slides[check->slide], check->first, check->count);
    embed->dirty = true;
    return lob_journal_append(embed->journal, &record, err);
}

/* Rank 0. */
static bool take_answers(LobEmbed *embed, size_t n, const Check *bad, size_t n_bad, GError **err) {
    for (size_t i = 0; i < n_bad; i++)
        if (!void_range(embed, &bad[i], err))
            return false;
    if (n_bad > 0)
        lob_warning("embed: %zu of %zu tile ranges of a run that died are not as they were written: they are "
                    "done again",
                    n_bad, n);
    else
        lob_info(
            "embed: the last run did not end cleanly; its %zu tile ranges were read again and are intact", n);
    return lob_embed_commit(embed, err);
}

bool lob_embed_verify(LobEmbed *embed, const char *path, GError **err) {
    const LobWorld *world = embed->stage.world;
    g_autoptr(GArray) checks = world->rank == 0 ? list_checks(embed) : NULL;
    uint64_t n = checks ? checks->len : 0;
    lob_world_bcast(world, &n, sizeof n);
    if (n == 0)
        return true;
    g_autofree Check *all = g_new(Check, n);
    if (checks)
        memcpy(all, checks->data, n * sizeof *all);
    lob_world_bcast(world, all, n * sizeof *all);
    g_autoptr(GArray) bad = g_array_new(FALSE, FALSE, sizeof(Check));
    GError *mine = NULL;
    (void)check_share(world, path, all, n, bad, &mine);
    if (!lob_world_agree(world, mine, err))
        return false;
    g_autofree Check *gathered = NULL;
    g_autofree size_t *sizes = NULL;
    lob_world_gather(world, bad->data, bad->len * sizeof(Check), (void **)&gathered, &sizes);
    mine = NULL;
    if (world->rank == 0) {
        size_t bytes = 0;
        for (int r = 0; r < world->size; r++)
            bytes += sizes[r];
        (void)take_answers(embed, n, gathered, bytes / sizeof(Check), &mine);
    }
    return lob_world_agree(world, mine, err);
}
