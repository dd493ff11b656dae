/* Planning: every slide's tissue, grid and count; then the part that will hold the new slides. */
#include "mpi/plan_internal.h"
#include "mpi/selfcheck.h"
#include "mpi/space.h"

#include <string.h>
#include <sys/stat.h>

/* ---- which slides need it ---- */

static int64_t mtime_of(const struct stat *status) {
    return (int64_t)status->st_mtim.tv_sec * 1000000000 + status->st_mtim.tv_nsec;
}

static bool changed_on_disk(const LobPlanFacts *facts, const char *path) {
    struct stat now;
    return stat(path, &now) == 0 &&
           ((int64_t)now.st_size != facts->file_size || mtime_of(&now) != facts->file_mtime);
}

static bool same_file_on_disk(const LobPlanFacts *facts, const char *path) {
    struct stat now;
    return stat(path, &now) == 0 && (int64_t)now.st_size == facts->file_size &&
           mtime_of(&now) == facts->file_mtime;
}

static bool same_scale_given(const LobPlanFacts *facts, const LobCohortSlide *slide) {
    const bool was_given = facts->mpp_source == LOB_MPP_MANIFEST || facts->mpp_source == LOB_MPP_CENTER;
    return slide->mpp > 0 ? was_given && facts->mpp_x == slide->mpp : !was_given;
}

static bool in_unfinished_part(const LobCatalog *catalog, const LobCatalogSlide *slide) {
    return slide->part > 0 && !catalog->parts[slide->part - 1].finished;
}

bool lob_plan_settled(const LobCatalog *catalog, size_t i) {
    const LobCatalogSlide *slide = &catalog->slides[i];
    if (in_unfinished_part(catalog, slide))
        return slide->planned;
    if (slide->state == LOB_STATE_DONE)
        return true;
    if (slide->state == LOB_STATE_QUARANTINED)
        return !changed_on_disk(&slide->facts, catalog->cohort->slides[i].path);
    return slide->lasting && slide->planned &&
           same_file_on_disk(&slide->facts, catalog->cohort->slides[i].path) &&
           same_scale_given(&slide->facts, &catalog->cohort->slides[i]);
}

static bool needs_planning(const LobCatalog *catalog, size_t i) {
    const LobCatalogSlide *slide = &catalog->slides[i];
    if (lob_plan_settled(catalog, i))
        return false;
    return !(slide->planned && slide->same_spec && slide->part == 0 &&
             same_file_on_disk(&slide->facts, catalog->cohort->slides[i].path) &&
             same_scale_given(&slide->facts, &catalog->cohort->slides[i]));
}

/* ---- rank 0 ---- */

static bool is_suspect(const LobCatalogSlide *slide) {
    return slide->attempts.deaths >= LOB_DEATHS_TO_SUSPECT;
}

static bool append(LobPlan *plan, LobJournalKind kind, uint32_t i, const char *text, GError **err) {
    const LobCatalogSlide *slide = &plan->stage.catalog->slides[i];
    LobJournalRecord record = {
        .kind = kind, .slide_id = plan->stage.cohort->slides[i].slide_id, .text = (char *)text};
    if (kind == LOB_J_PLAN || kind == LOB_J_FAILED) {
        record.count = slide->facts.tiles;
        record.seconds = slide->facts.seconds;
    } else if (kind == LOB_J_QUARANTINE) {
        record.first = (uint64_t)slide->facts.file_mtime;
        record.count = (uint64_t)slide->facts.file_size;
    }
    plan->dirty = true;
    return lob_journal_append(plan->journal, &record, err);
}

/* Until its file changes. */
static bool quarantine(LobPlan *plan, uint32_t i, const char *reason, GError **err) {
    LobCatalogSlide *slide = &plan->stage.catalog->slides[i];
    struct stat file = {0};
    (void)stat(plan->stage.cohort->slides[i].path, &file);
    slide->planned = false;
    slide->part = 0;
    slide->facts.file_size = (int64_t)file.st_size;
    slide->facts.file_mtime = mtime_of(&file);
    lob_catalog_set_failed(slide, LOB_STATE_QUARANTINED, reason, true);
    return append(plan, LOB_J_QUARANTINE, i, reason, err);
}

/* A suspect is dealt when nothing else is under way, and nothing else while it is. */
static LobSchedAnswer next_slide(void *user, int worker, GByteArray *task) {
    LobPlan *plan = user;
    (void)worker;
    g_autoptr(GError) err = NULL;
    const bool alone = plan->dealt >= plan->n_unsuspect;
    if (plan->dealt == plan->todo->len)
        return plan->answered == plan->todo->len ? LOB_SCHED_FINISHED : LOB_SCHED_WAIT;
    if (alone && plan->answered < plan->dealt)
        return LOB_SCHED_WAIT;
    const uint32_t slide = g_array_index(plan->todo, uint32_t, plan->dealt++);
    g_byte_array_append(task, (const guint8 *)&slide, sizeof slide);
    if (!append(plan, LOB_J_LEASE, slide, alone ? "alone" : "", &err))
        lob_warning("%s", err->message); /* the commit that follows fails for the same reason */
    return LOB_SCHED_LEASE;
}

static bool take_facts(void *user, int worker, const void *data, size_t size, GError **err) {
    LobPlan *plan = user;
    (void)worker;
    g_autofree void *aligned = g_memdup2(data, size);
    g_autoptr(GVariant) value = g_variant_ref_sink(
        g_variant_new_from_data(G_VARIANT_TYPE(LOB_PLAN_RESULT), aligned, size, TRUE, NULL, NULL));
    uint32_t index = 0;
    gboolean crashed = FALSE;
    const char *reason = NULL;
    g_autoptr(GVariant) facts = NULL;
    g_variant_get(value, "(ub&s@" LOB_PLAN_FACTS_TYPE ")", &index, &crashed, &reason, &facts);
    LobCatalogSlide *slide = &plan->stage.catalog->slides[index];
    const bool failed = reason[0] != '\0';
    reason = lob_catalog_reason(plan->stage.cohort, index, reason);
    plan->answered++;
    plan->failed += failed;
    slide->planned = lob_plan_facts_unpack(facts, &slide->facts) && !failed;
    slide->same_spec = true;
    if (!in_unfinished_part(plan->stage.catalog, slide))
        slide->part = 0;
    if (crashed)
        return quarantine(plan, index, reason, err);
    lob_catalog_set_failed(slide, failed ? LOB_STATE_FAILED : LOB_STATE_PENDING, failed ? reason : NULL,
                           false);
    g_autofree char *text = failed ? g_strdup(reason) : lob_plan_facts_text(&slide->facts);
    return append(plan, failed ? LOB_J_FAILED : LOB_J_PLAN, index, text, err);
}

static bool commit(void *user, GError **err) {
    LobPlan *plan = user;
    if (!plan->dirty)
        return true;
    plan->dirty = false;
    return lob_stage_sync(&plan->stage, plan->journal, err);
}

static bool write_session(LobPlan *plan, LobJournalKind kind, const char *text, GError **err) {
    const LobJournalRecord record = {.kind = kind, .slide_id = (char *)"", .text = (char *)text};
    plan->explained = kind == LOB_J_END;
    return lob_journal_append(plan->journal, &record, err) &&
           lob_stage_sync(&plan->stage, plan->journal, err);
}

static bool pulse(void *user, GError **err) {
    LobPlan *plan = user;
    const LobProgressCounts counts = {.slides = plan->todo->len,
                                      .slides_done = plan->answered - plan->failed,
                                      .slides_failed = plan->failed};
    lob_progress_update(plan->stage.progress, &counts, NULL);
    if (!lob_stage_owns(&plan->stage, err))
        return false;
    return plan->explained || lob_run_state() == LOB_RUN_ON || !lob_stage_stop_is_plain(&plan->stage) ||
           write_session(plan, LOB_J_END, lob_run_reason(), err);
}

static void explain(void *user, const char *why) {
    LobPlan *plan = user;
    g_autoptr(GError) err = NULL;
    if (lob_stage_owns(&plan->stage, NULL) && !write_session(plan, LOB_J_END, why, &err))
        lob_warning("%s", err->message);
    lob_stage_unlock(&plan->stage);
}

static bool is_hopeless(const LobCatalogSlide *slide) {
    return slide->attempts.lone_deaths >= LOB_LONE_DEATHS_TO_QUARANTINE;
}

/* Suspects come last. Returns how many are to be given up instead. */
static uint32_t list_todo(LobPlan *plan) {
    const LobCatalog *catalog = plan->stage.catalog;
    uint32_t hopeless = 0;
    for (int suspects = 0; suspects < 2; suspects++) {
        plan->n_unsuspect = plan->todo->len;
        for (uint32_t i = 0; i < plan->stage.cohort->n_slides; i++) {
            if (!needs_planning(catalog, i) || is_suspect(&catalog->slides[i]) != (suspects == 1))
                continue;
            if (is_hopeless(&catalog->slides[i]))
                hopeless++;
            else
                g_array_append_val(plan->todo, i);
        }
    }
    return hopeless;
}

static bool give_up_hopeless(LobPlan *plan, GError **err) {
    for (uint32_t i = 0; i < plan->stage.cohort->n_slides; i++) {
        const LobCatalogSlide *slide = &plan->stage.catalog->slides[i];
        if (!needs_planning(plan->stage.catalog, i) || !is_hopeless(slide))
            continue;
        g_autofree char *reason =
            g_strdup_printf("its rank died %u times in a row while this slide alone was planned",
                            slide->attempts.lone_deaths);
        if (!quarantine(plan, i, reason, err))
            return false;
    }
    return commit(plan, err);
}

static bool open_plan(LobPlan *plan, GError **err) {
    g_autofree char *path = lob_plan_journal_path(plan->stage.cohort->study);
    g_autofree char *spec = lob_stage_plan_spec(plan->stage.cohort->study);
    g_autofree char *text = lob_session_text(spec, plan->stage.world->size);
    const uint32_t hopeless = list_todo(plan), suspects = plan->todo->len - plan->n_unsuspect;
    if (plan->todo->len + hopeless == 0)
        return true;
    lob_info("plan: %u of %zu slides to look at", plan->todo->len, plan->stage.cohort->n_slides);
    if (suspects > 0)
        lob_warning(
            "%u slides were under way at two unexplained ends: they are looked at last, one at a time",
            suspects);
    /* A grid a slide, and a few of the job's own. */
    if (!lob_space_fits(plan->stage.cohort->study->output, 0, (uint64_t)plan->todo->len + 16, err))
        return false;
    plan->journal = lob_journal_open(path, NULL, NULL, err);
    return plan->journal && write_session(plan, LOB_J_START, text, err) && give_up_hopeless(plan, err) &&
           (plan->todo->len > 0 || write_session(plan, LOB_J_END, "done", err));
}

/* ---- the job ---- */

static bool deal_slides(LobPlan *plan, GError **err) {
    const LobWorld *world = plan->stage.world;
    GError *mine = NULL;
    if (world->rank == 0)
        (void)open_plan(plan, &mine);
    if (!lob_world_agree(world, mine, err))
        return false;
    uint32_t todo = plan->todo->len;
    lob_world_bcast(world, &todo, sizeof todo);
    if (todo == 0)
        return true;
    if (!lob_selfcheck_files(world, plan->stage.cohort->study, err))
        return false;
    g_autofree LobFarmStats *all = g_new0(LobFarmStats, (size_t)world->size);
    LobFarmStats stats = {0};
    const LobFarmJob job = {.user = plan,
                            .room = 2,
                            .next = next_slide,
                            .result = take_facts,
                            .commit = commit,
                            .pulse = pulse,
                            .explain = explain,
                            .work = lob_plan_work,
                            .stats = &stats};
    const bool ok = lob_farm_run(world, &job, all, err);
    lob_reader_free(g_steal_pointer(&plan->reader));
    if (world->rank == 0) {
        mine = NULL;
        (void)(commit(plan, &mine) && write_session(plan, LOB_J_END, ok ? "done" : lob_run_reason(), &mine));
        if ((ok || lob_run_state() != LOB_RUN_ON) && !mine)
            lob_stage_report_use(&plan->stage, all);
    }
    return lob_world_agree(world, mine, ok ? err : NULL) && ok;
}

static bool run(LobPlan *plan, int *exit_code, GError **err) {
    if (!deal_slides(plan, err) || !lob_plan_make_part(plan, err))
        return false;
    GError *mine = NULL;
    if (plan->stage.world->rank == 0 && lob_catalog_write_csv(plan->stage.catalog, &mine))
        *exit_code = lob_catalog_verdict(plan->stage.catalog);
    return lob_world_agree(plan->stage.world, mine, err);
}

bool lob_job_plan(const LobWorld *world, const LobCohort *cohort, int *exit_code, GError **err) {
    *exit_code = LOB_EXIT_DONE;
    if (cohort->study->features)
        return true;
    LobPlan plan = {0};
    if (!lob_stage_begin(&plan.stage, "plan", world, cohort, err))
        return false;
    plan.todo = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    g_autoptr(GError) problem = NULL;
    const bool ok = run(&plan, exit_code, &problem);
    if (plan.stage.progress)
        lob_progress_end(plan.stage.progress, lob_stage_state_word(problem), problem ? problem->message : "");
    g_array_unref(plan.todo);
    if (plan.journal)
        lob_journal_close(plan.journal);
    lob_stage_end(&plan.stage);
    if (!ok)
        g_propagate_error(err, g_steal_pointer(&problem));
    return ok;
}
