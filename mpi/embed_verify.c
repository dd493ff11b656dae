/* Ranges journalled by a run that did not end cleanly are read again before they are believed. */
#include "mpi/embed_internal.h"
#include "mpi/stop.h"

#include <string.h>

typedef LobRowCheck Check;

static bool wanted(const LobEmbed *embed, uint32_t slide, const LobDoneRange *range, bool late) {
    if (!late)
        return !range->verified;
    for (guint i = 0; i < embed->late->len; i++) {
        const LobLateWrite *write = &g_array_index(embed->late, LobLateWrite, i);
        if (write->slide == slide && write->first < (uint64_t)range->first + range->count &&
            range->first < (uint64_t)write->first + write->count)
            return true;
    }
    return false;
}

static GArray *list_checks(const LobEmbed *embed, bool late) {
    GArray *checks = g_array_new(FALSE, FALSE, sizeof(Check));
    for (uint32_t s = 0; s < embed->catalog_part->n_slides; s++) {
        const GArray *done = embed->record->slides[s].done;
        for (guint i = 0; i < done->len; i++) {
            const LobDoneRange *range = &g_array_index(done, LobDoneRange, i);
            if (!wanted(embed, s, range, late))
                continue;
            const Check check = {.row = embed->catalog_part->slides[s].first + range->first,
                                 .slide = s,
                                 .first = range->first,
                                 .count = range->count,
                                 .crc = range->crc,
                                 .quality_crc = range->quality_crc,
                                 .has_features = true,
                                 .has_quality = range->has_quality};
            g_array_append_val(checks, check);
        }
    }
    return checks;
}

/* What cannot be read (a bad disk block) is as bad as what differs: writing it anew may mend it. */
static bool is_intact(LobStore *store, const Check *check) {
    g_autoptr(GError) problem = NULL;
    const uint64_t row = check->row, n = check->count;
    uint32_t crc = check->crc, quality = check->quality_crc, tiles = check->tiles_crc;
    if ((!check->has_features || lob_store_crc_rows(store, row, n, &crc, &problem)) &&
        (!check->has_quality || lob_store_crc_quality(store, row, n, &quality, &problem)) &&
        (!check->has_tiles || lob_store_crc_tiles(store, row, n, &tiles, &problem)))
        return crc == check->crc && quality == check->quality_crc && tiles == check->tiles_crc;
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

static bool void_all(LobEmbed *embed, const Check *bad, size_t n, GError **err) {
    for (size_t i = 0; i < n; i++)
        if (!void_range(embed, &bad[i], err))
            return false;
    return lob_embed_commit(embed, err);
}

bool lob_embed_check_rows(const LobWorld *world, const char *path, GArray *checks, uint64_t *n,
                          GError **err) {
    *n = checks ? checks->len : 0;
    lob_world_bcast(world, n, sizeof *n);
    if (*n == 0)
        return true;
    g_autofree Check *all = g_new(Check, *n);
    if (checks)
        memcpy(all, checks->data, *n * sizeof *all);
    lob_world_bcast(world, all, *n * sizeof *all);
    g_autoptr(GArray) bad = g_array_new(FALSE, FALSE, sizeof(Check));
    GError *mine = NULL;
    (void)check_share(world, path, all, *n, bad, &mine);
    if (!lob_world_agree(world, mine, err))
        return false;
    g_autofree Check *gathered = NULL;
    g_autofree size_t *sizes = NULL;
    lob_world_gather(world, bad->data, bad->len * sizeof(Check), (void **)&gathered, &sizes);
    size_t found = 0;
    for (int r = 0; checks && r < world->size; r++)
        found += sizes[r] / sizeof(Check);
    if (checks) {
        g_array_set_size(checks, 0);
        g_array_append_vals(checks, gathered, (guint)found);
    }
    return true;
}

/* Collective: reads `checks` (rank 0's) again, voids what is not as it was written. Both counts reach all
 * ranks. */
static bool read_again(LobEmbed *embed, const char *path, GArray *checks, uint64_t *n, uint64_t *n_bad,
                       GError **err) {
    const LobWorld *world = embed->stage.world;
    *n_bad = 0;
    if (!lob_embed_check_rows(world, path, checks, n, err))
        return false;
    GError *mine = NULL;
    if (checks && *n > 0) {
        *n_bad = checks->len;
        (void)void_all(embed, (const Check *)(const void *)checks->data, checks->len, &mine);
    }
    lob_world_bcast(world, n_bad, sizeof *n_bad);
    return lob_world_agree(world, mine, err);
}

bool lob_embed_verify(LobEmbed *embed, const char *path, GError **err) {
    uint64_t n, n_bad;
    const bool lead = embed->stage.world->rank == 0;
    g_autoptr(GArray) checks = lead ? list_checks(embed, false) : NULL;
    if (!read_again(embed, path, checks, &n, &n_bad, err))
        return false;
    if (lead && n_bad > 0)
        lob_warning("embed: %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
                    " tile ranges of a run that died are not as they were written: they are done again",
                    n_bad, n);
    else if (lead && n > 0)
        lob_info("embed: the last run did not end cleanly; its %" G_GUINT64_FORMAT
                 " tile ranges were read again and are intact",
                 n);
    return true;
}

bool lob_embed_verify_late(LobEmbed *embed, const char *path, bool *again, GError **err) {
    uint64_t n, n_bad;
    const bool lead = embed->stage.world->rank == 0;
    g_autoptr(GArray) checks = lead ? list_checks(embed, true) : NULL;
    *again = false;
    if (!read_again(embed, path, checks, &n, &n_bad, err))
        return false;
    if (lead && n > 0)
        lob_warning("embed: ranks wrote after their leases had gone to others: of %" G_GUINT64_FORMAT
                    " tile ranges read again, %" G_GUINT64_FORMAT " are done again",
                    n, n_bad);
    if (lead)
        g_array_set_size(embed->late, 0);
    *again = n_bad > 0;
    return true;
}

bool lob_embed_void_late(LobEmbed *embed, GError **err) {
    g_autoptr(GArray) checks = list_checks(embed, true);
    g_array_set_size(embed->late, 0);
    return void_all(embed, (const Check *)(const void *)checks->data, checks->len, err);
}
