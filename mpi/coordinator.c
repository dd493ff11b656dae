/* Rank 0's side of the farm. */
#include "mpi/farm_internal.h"
#include "mpi/farm_rules.h"
#include "mpi/stop.h"

#include <string.h>

#define PULSE_SECONDS 0.2
/* Weight of the newest in the running seconds of a sync. */
#define SYNC_MEMORY 0.2
/* After END a worker may finish a step of its encoder and close its slide. One that stays silent longer hangs
 * (a dead disk): the job is given up, what is journalled stays. */
#define DRAIN_SECONDS 15.0
#define DRAIN_SECONDS_AFTER_WORK 120.0

typedef struct {
    MPI_Request request;
    void *data;
} Outgoing;

struct LobCoordinator {
    LobFarm *farm;
    LobFarmStats *all; /* [size] */
    GQueue waiting;    /* workers that want a task, one entry a task */
    GArray *outgoing;  /* of Outgoing */
    GByteArray *task;
    bool ended;    /* END went to all */
    bool all_done; /* the last answer was FINISHED */
    int here;      /* workers that have not said BYE */
    bool *gone;    /* [size] */
    double ended_at, pulsed;
    double sync_seconds, next_round; /* what making tasks durable takes; before then none are dealt */
    bool serving;                    /* callbacks must not come back in here */
};

LobCoordinator *lob_coordinator_new(LobFarm *farm, LobFarmStats *all) {
    LobCoordinator *c = g_new0(LobCoordinator, 1);
    c->farm = farm;
    c->all = all;
    c->outgoing = g_array_new(FALSE, FALSE, sizeof(Outgoing));
    c->task = g_byte_array_new();
    c->here = lob_farm_workers(farm->world);
    c->gone = g_new0(bool, (size_t)farm->world->size);
    g_queue_init(&c->waiting);
    return c;
}

void lob_coordinator_free(LobCoordinator *c) {
    for (guint i = 0; i < c->outgoing->len; i++) {
        Outgoing *out = &g_array_index(c->outgoing, Outgoing, i);
        lob_mpi_wait(&out->request, MPI_STATUS_IGNORE);
        g_free(out->data);
    }
    g_array_unref(c->outgoing);
    g_byte_array_unref(c->task);
    g_queue_clear(&c->waiting);
    g_free(c->gone);
    g_free(c);
}

void lob_coordinator_fatal(LobCoordinator *c, const GError *error) {
    if (c->farm->job->explain)
        c->farm->job->explain(c->farm->job->user, error->message);
    lob_world_abort(c->farm->world, error);
}

/* err is looked at after the call that `ok` comes from, whatever order arguments are evaluated in. */
static void must(LobCoordinator *c, bool ok, GError **err) {
    if (!ok)
        lob_coordinator_fatal(c, *err);
}

static void take_fatal(LobCoordinator *c, int worker, const GByteArray *message) {
    const LobFarmFatal *fatal = (const LobFarmFatal *)(const void *)message->data;
    g_autoptr(GError) err = NULL;
    lob_fail(&err, (LobErrorCode)fatal->code, "rank %d: %s", worker, fatal->message);
    lob_coordinator_fatal(c, err);
}

/* ---- sending: buffers live until MPI is through with them ---- */

static void reap_outgoing(LobCoordinator *c) {
    for (guint i = 0; i < c->outgoing->len;) {
        Outgoing *out = &g_array_index(c->outgoing, Outgoing, i);
        int done = 0;
        MPI_Test(&out->request, &done, MPI_STATUS_IGNORE);
        if (!done) {
            i++;
            continue;
        }
        g_free(out->data);
        g_array_remove_index_fast(c->outgoing, i);
    }
}

static void send_to(LobCoordinator *c, int worker, int tag, const void *data, size_t size) {
    Outgoing out = {.data = g_memdup2(data, size)};
    MPI_Isend(out.data, (int)size, MPI_BYTE, worker, tag, c->farm->comm, &out.request);
    g_array_append_val(c->outgoing, out);
}

static void deliver(LobCoordinator *c, int worker, const GByteArray *task) {
    if (worker == 0)
        lob_farm_push_task(c->farm, g_bytes_new(task->data, task->len));
    else
        send_to(c, worker, TAG_TASK, task->data, task->len);
}

/* ---- dealing ---- */

static void say_end(LobCoordinator *c, LobRunState state) {
    LobFarmEnd end = {.state = state};
    g_strlcpy(end.reason, lob_run_reason(), sizeof end.reason);
    for (int w = 1; w < c->farm->world->size; w++)
        send_to(c, w, TAG_END, &end, sizeof end);
    c->farm->verdict = state;
    c->farm->ended = true;
    c->ended = true;
    c->ended_at = lob_clock();
}

static void sync_round(LobCoordinator *c) {
    const LobFarmJob *job = c->farm->job;
    GError *err = NULL;
    const double start = lob_clock();
    must(c, job->commit(job->user, &err), &err);
    const double now = lob_clock();
    c->sync_seconds += SYNC_MEMORY * (now - start - c->sync_seconds);
    c->next_round = now + lob_round_pace(c->sync_seconds);
}

/* Tasks are recorded before they leave: whoever reads the journal after a crash sees what was in flight. */
static void deal(LobCoordinator *c) {
    const LobFarmJob *job = c->farm->job;
    g_autoptr(GPtrArray) tasks = g_ptr_array_new_with_free_func((GDestroyNotify)g_byte_array_unref);
    g_autoptr(GArray) workers = g_array_new(FALSE, FALSE, sizeof(int));
    LobSchedAnswer answer = LOB_SCHED_LEASE;
    while (answer == LOB_SCHED_LEASE && !g_queue_is_empty(&c->waiting)) {
        const int worker = GPOINTER_TO_INT(g_queue_peek_head(&c->waiting));
        GByteArray *task = g_byte_array_new();
        answer = job->next(job->user, worker, task);
        if (answer != LOB_SCHED_LEASE) {
            g_byte_array_unref(task);
            break;
        }
        (void)g_queue_pop_head(&c->waiting);
        g_ptr_array_add(tasks, task);
        g_array_append_val(workers, worker);
    }
    if (tasks->len > 0)
        sync_round(c);
    for (guint i = 0; i < tasks->len; i++)
        deliver(c, g_array_index(workers, int, i), tasks->pdata[i]);
    c->all_done = answer == LOB_SCHED_FINISHED;
}

/* ---- messages ---- */

static void note_bye(LobCoordinator *c, int worker, const LobFarmStats *stats) {
    c->all[worker] = *stats;
    c->gone[worker] = true;
    c->here--;
}

void lob_coordinator_want(LobCoordinator *c, int tasks) {
    for (int i = 0; i < tasks; i++)
        g_queue_push_tail(&c->waiting, GINT_TO_POINTER(0));
}

void lob_coordinator_result(LobCoordinator *c, const void *data, size_t size) {
    GError *err = NULL;
    must(c, c->farm->job->result(c->farm->job->user, 0, data, size, &err), &err);
    lob_coordinator_want(c, 1);
}

void lob_coordinator_bye(LobCoordinator *c, const LobFarmStats *stats) {
    if (!c->gone[0])
        note_bye(c, 0, stats);
}

static void take(LobCoordinator *c, int worker, int tag, const GByteArray *message) {
    GError *err = NULL;
    if (tag == TAG_WANT) {
        for (int i = 0; i < c->farm->job->room; i++)
            g_queue_push_tail(&c->waiting, GINT_TO_POINTER(worker));
    } else if (tag == TAG_RESULT) {
        must(c, c->farm->job->result(c->farm->job->user, worker, message->data, message->len, &err), &err);
        g_queue_push_tail(&c->waiting, GINT_TO_POINTER(worker));
    } else if (tag == TAG_STOPREQ) {
        lob_run_adopt(LOB_RUN_STOP, ((const LobFarmEnd *)(const void *)message->data)->reason);
    } else if (tag == TAG_FATAL) {
        take_fatal(c, worker, message);
    } else if (tag == TAG_BYE) {
        note_bye(c, worker, (const LobFarmStats *)(const void *)message->data);
    }
}

/* Whether there were any. */
static bool receive_all(LobCoordinator *c) {
    for (bool any = false;; any = true) {
        int there = 0, size = 0;
        MPI_Status status;
        MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, c->farm->comm, &there, &status);
        if (!there)
            return any;
        MPI_Get_count(&status, MPI_BYTE, &size);
        g_byte_array_set_size(c->task, (guint)size);
        MPI_Recv(c->task->data, size, MPI_BYTE, status.MPI_SOURCE, status.MPI_TAG, c->farm->comm,
                 MPI_STATUS_IGNORE);
        take(c, status.MPI_SOURCE, status.MPI_TAG, c->task);
    }
}

static bool works(const LobCoordinator *c, int rank) {
    return rank > 0 || lob_farm_rank0_works(c->farm->world);
}

static void give_up_on_silent(LobCoordinator *c) {
    const bool stopping = c->farm->verdict != LOB_RUN_ON;
    const double patience = stopping ? DRAIN_SECONDS : DRAIN_SECONDS_AFTER_WORK;
    if (!c->ended || c->here == 0 || lob_clock() - c->ended_at < patience)
        return;
    g_autoptr(GError) err = NULL;
    int silent = 0;
    while (silent < c->farm->world->size - 1 && (c->gone[silent] || !works(c, silent)))
        silent++;
    lob_fail(&err, stopping ? LOB_ERROR_STOPPED : LOB_ERROR_INTERNAL,
             "rank %d has not answered for %.0f s (%d silent in all): it hangs and is given up", silent,
             patience, c->here);
    lob_coordinator_fatal(c, err);
}

bool lob_coordinator_serve(LobCoordinator *c) {
    if (c->serving)
        return false;
    c->serving = true;
    const LobFarmJob *job = c->farm->job;
    GError *err = NULL;
    bool heard = false;
    if (c->farm->world->has_mpi) {
        heard = receive_all(c);
        reap_outgoing(c);
    }
    const double now = lob_clock();
    if (now - c->pulsed >= PULSE_SECONDS) {
        c->pulsed = now;
        must(c, job->commit(job->user, &err), &err);
        must(c, job->pulse(job->user, &err), &err);
    }
    if (!c->ended && lob_run_state() != LOB_RUN_ON)
        say_end(c, lob_run_state());
    if (!c->ended && now >= c->next_round)
        deal(c);
    if (!c->ended && c->all_done)
        say_end(c, LOB_RUN_ON);
    give_up_on_silent(c);
    c->serving = false;
    return heard;
}

bool lob_coordinator_is_over(const LobCoordinator *c) {
    return c->ended && c->here == 0;
}
