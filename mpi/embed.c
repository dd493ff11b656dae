/* Embedding: every unfinished part, one after the other. */
#include "mpi/embed_internal.h"
#include "mpi/selfcheck.h"
#include "mpi/space.h"

#include <string.h>
#include <unistd.h>

#define SLOWEST_SHOWN 3

static void report_slowest(const LobEmbed *embed) {
    size_t shown[SLOWEST_SHOWN], n = 0;
    const LobSlideRecord *slides = embed->record->slides;
    for (size_t s = 0; s < embed->catalog_part->n_slides; s++) {
        size_t at = n;
        while (at > 0 && slides[shown[at - 1]].seconds < slides[s].seconds)
            at--;
        if (at >= SLOWEST_SHOWN)
            continue;
        n = MIN(n + 1, SLOWEST_SHOWN);
        memmove(&shown[at + 1 < SLOWEST_SHOWN ? at + 1 : at], &shown[at],
                (n - MIN(at + 1, n)) * sizeof *shown);
        shown[at] = s;
    }
    g_autoptr(GString) text = g_string_new("embed: most time went into");
    for (size_t k = 0; k < n; k++)
        g_string_append_printf(text, "%s %s (%.1f s)", k ? "," : "",
                               embed->catalog_part->slides[shown[k]].slide_id, slides[shown[k]].seconds);
    if (n > 0)
        lob_info("%s", text->str);
}

/* ---- one part ---- */

static bool deal_ranges(LobEmbed *embed, GError **err) {
    const LobWorld *world = embed->stage.world;
    g_autofree LobFarmStats *all = g_new0(LobFarmStats, (size_t)world->size);
    const LobFarmJob job = {.user = embed,
                            .room = 2,
                            .next = lob_embed_next,
                            .result = lob_embed_result,
                            .commit = lob_embed_commit,
                            .pulse = lob_embed_pulse,
                            .explain = lob_embed_explain,
                            .work = lob_embed_work,
                            .stats = &embed->stats};
    embed->stats = (LobFarmStats){0};
    const bool ok = lob_farm_run(world, &job, all, err);
    if (world->rank == 0) {
        lob_progress_update(embed->stage.progress, &embed->total, embed->centers);
        if (ok || lob_run_state() != LOB_RUN_ON)
            lob_stage_report_use(&embed->stage, all);
        if (ok && embed->total.tiles_done > embed->tiles_before)
            report_slowest(embed);
    }
    return ok;
}

/* The part is sparse: what is not written yet is not taken, and others may have used the room since. */
static bool has_room(const LobEmbed *embed, GError **err) {
    const LobStoreHeader *header = &embed->catalog_part->header;
    const uint64_t row = (uint64_t)header->dim * (header->float32 ? 4 : 2) + LOB_QUALITIES;
    const uint64_t left = embed->total.tiles - embed->tiles_before;
    if (lob_space_fits(embed->stage.cohort->study->output, left * row, 0, err))
        return true;
    g_prefix_error(err, "%" G_GUINT64_FORMAT " rows are left to write: ", left);
    return false;
}

static bool begin_part(LobEmbed *embed, const char *path, GError **err) {
    const LobWorld *world = embed->stage.world;
    GError *mine = NULL;
    if (world->rank == 0)
        (void)lob_embed_open_journal(embed, &mine);
    if (!lob_world_agree(world, mine, err) || !lob_embed_verify(embed, path, err))
        return false;
    mine = NULL;
    if (world->rank == 0)
        (void)(lob_embed_make_sched(embed, &mine) && has_room(embed, &mine));
    if (!lob_world_agree(world, mine, err))
        return false;
    embed->part = lob_part_open(path, lob_world_comm(world), err);
    return embed->part != NULL;
}

/* The journal's last word comes before the part's, so that a run that dies between them only finishes. */
static bool end_part(LobEmbed *embed, bool complete, GError **err) {
    const LobWorld *world = embed->stage.world;
    GError *mine = NULL;
    if (world->rank == 0)
        (void)(lob_embed_commit(embed, &mine) && (complete || lob_embed_void_late(embed, &mine)) &&
               lob_embed_write_end(embed, complete ? "done" : lob_run_reason(), &mine) &&
               (!complete || lob_embed_settle_slides(embed, &mine)));
    const bool agreed = lob_world_agree(world, mine, err);
    LobPart *part = g_steal_pointer(&embed->part);
    if (!agreed || !complete) {
        lob_part_close(part);
        return agreed;
    }
    const LobCatalogPart *described = embed->catalog_part;
    return lob_part_finish(part, described ? described->slides : NULL, described ? described->n_slides : 0,
                           err);
}

static void clear_part(LobEmbed *embed) {
    if (embed->part)
        lob_part_close(embed->part);
    if (embed->journal)
        lob_journal_close(embed->journal);
    lob_part_record_free(embed->record);
    if (embed->sched)
        lob_sched_free(embed->sched);
    if (embed->late)
        g_array_unref(embed->late);
    embed->part = NULL;
    embed->late = NULL;
    embed->journal = NULL;
    embed->record = NULL;
    embed->sched = NULL;
    embed->explained = false;
}

/* Collective, when all is done. *again: late writes spoiled some of it, which is to be dealt once more. */
static bool settle_late(LobEmbed *embed, const char *path, bool *again, GError **err) {
    const LobWorld *world = embed->stage.world;
    uint32_t n = embed->late ? embed->late->len : 0;
    GError *mine = NULL;
    *again = false;
    lob_world_bcast(world, &n, sizeof n);
    if (n == 0)
        return true;
    lob_part_close(g_steal_pointer(&embed->part));
    if (!lob_embed_verify_late(embed, path, again, err))
        return false;
    if (world->rank == 0 && *again) {
        lob_sched_free(g_steal_pointer(&embed->sched));
        (void)lob_embed_make_sched(embed, &mine);
    }
    if (!lob_world_agree(world, mine, err))
        return false;
    embed->part = lob_part_open(path, lob_world_comm(world), err);
    return embed->part != NULL;
}

/* False: not all is done (*stopped) or an error (err). */
static bool deal_all(LobEmbed *embed, const char *path, GError **stopped, GError **err) {
    for (bool again = true; again;)
        if (!deal_ranges(embed, stopped) || !settle_late(embed, path, &again, err))
            return false;
    return true;
}

static bool embed_part(LobEmbed *embed, int number, GError **err) {
    g_autofree char *path = lob_part_path(embed->stage.cohort->study, number, ".h5");
    if (embed->stage.world->rank == 0)
        embed->catalog_part = &embed->stage.catalog->parts[number - 1];
    g_autoptr(GError) stopped = NULL, problem = NULL;
    bool ok = begin_part(embed, path, err);
    if (ok) {
        const bool complete = deal_all(embed, path, &stopped, &problem);
        ok = !problem && end_part(embed, complete, err);
        if (problem)
            g_propagate_error(err, g_steal_pointer(&problem));
        if (ok && !complete) {
            g_propagate_error(err, g_steal_pointer(&stopped));
            ok = false;
        }
    }
    clear_part(embed);
    return ok;
}

/* ---- the job ---- */

/* Rank 0: parts to work on, in order. INPUT error where nothing was planned. */
static bool list_parts(const LobEmbed *embed, GArray *numbers, GError **err) {
    const LobCatalog *catalog = embed->stage.catalog;
    size_t unplanned = 0;
    for (size_t i = 0; i < embed->stage.cohort->n_slides; i++)
        unplanned += catalog->slides[i].part == 0 && catalog->slides[i].state == LOB_STATE_PENDING;
    for (size_t p = 0; p < catalog->n_parts; p++)
        if (!catalog->parts[p].finished)
            g_array_append_val(numbers, catalog->parts[p].number);
    if (unplanned > 0 && catalog->n_parts == 0)
        return lob_fail(err, LOB_ERROR_INPUT,
                        "nothing is planned in %s: run lobule plan (or lobule run) first",
                        embed->stage.cohort->study->output);
    if (unplanned > 0)
        lob_warning("%zu slides are not planned yet and stay out; run lobule plan for them", unplanned);
    return true;
}

/* Opening the encoder is collective over a node: what would stop one rank alone is looked for first. */
static bool open_embedder(LobEmbed *embed, GError **err) {
    const char *weights = embed->stage.cohort->study->encoder.weights;
    GError *mine = NULL;
    if (weights && access(weights, R_OK) != 0)
        lob_fail(&mine, LOB_ERROR_INPUT, "%s cannot be read", weights);
    if (!lob_world_agree(embed->stage.world, mine, err))
        return false;
    mine = NULL;
    (void)lob_embedder_new(embed, &embed->embedder, &mine);
    return lob_world_agree(embed->stage.world, mine, err);
}

/* One line of what makes rows: a test row kept for another encoder says nothing of this one. */
static char *identity_of(const LobStoreHeader *h) {
    g_autofree char *text = g_strdup_printf("%s %s %s %s %d px", h->encoder, h->weights_sha256, h->transform,
                                            h->precision, h->tile_size);
    return g_strdup(g_strdelimit(text, "\n", ' '));
}

/* Before a core-hour is spent: do all ranks compute, and compute the same. */
static bool check_encoder(LobEmbed *embed, GError **err) {
    const LobStage *stage = &embed->stage;
    const size_t dim = (size_t)stage->header.dim;
    g_autofree float *row = g_new0(float, dim);
    g_autofree char *identity = identity_of(&stage->header);
    g_autofree char *kept = lob_study_out(stage->cohort->study, "store/encoder-test");
    GError *mine = NULL;
    (void)(lob_selfcheck_sgemm(&mine) && lob_embedder_probe(embed->embedder, row, &mine));
    return lob_world_agree(stage->world, mine, err) &&
           lob_selfcheck_rows(stage->world, row, dim, identity, kept, err);
}

static bool embed_parts(LobEmbed *embed, GError **err) {
    const LobWorld *world = embed->stage.world;
    g_autoptr(GArray) numbers = g_array_new(FALSE, FALSE, sizeof(int));
    GError *mine = NULL;
    if (world->rank == 0)
        (void)list_parts(embed, numbers, &mine);
    if (!lob_world_agree(world, mine, err))
        return false;
    uint32_t n = numbers->len;
    lob_world_bcast(world, &n, sizeof n);
    g_array_set_size(numbers, n);
    lob_world_bcast(world, numbers->data, n * sizeof(int));
    if (n > 0 && !(lob_selfcheck_files(world, embed->stage.cohort->study, err) && open_embedder(embed, err) &&
                   check_encoder(embed, err)))
        return false;
    for (uint32_t k = 0; k < n; k++)
        if (!embed_part(embed, g_array_index(numbers, int, k), err))
            return false;
    return true;
}

bool lob_job_embed(const LobWorld *world, const LobCohort *cohort, int *exit_code, GError **err) {
    *exit_code = LOB_EXIT_DONE;
    if (cohort->study->features)
        return true;
    LobEmbed embed = {0};
    if (!lob_stage_begin(&embed.stage, "embed", world, cohort, err))
        return false;
    embed.centers = g_new0(LobProgressCounts, cohort->n_centers + 1);
    g_autoptr(GError) problem = NULL;
    GError *mine = NULL;
    bool ok = embed_parts(&embed, &problem);
    if (world->rank == 0 && lob_catalog_write_csv(embed.stage.catalog, &mine) && ok)
        *exit_code = lob_catalog_verdict(embed.stage.catalog);
    ok = lob_world_agree(world, mine, ok ? &problem : NULL) && ok;
    if (embed.stage.progress)
        lob_progress_end(embed.stage.progress, lob_stage_state_word(problem),
                         problem ? problem->message : "");
    lob_embedder_free(embed.embedder);
    g_free(embed.centers);
    lob_stage_end(&embed.stage);
    if (!ok)
        g_propagate_error(err, g_steal_pointer(&problem));
    return ok;
}
