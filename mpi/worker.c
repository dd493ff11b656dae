/* A worker's side of the farm, and the farm's loop on every rank. */
#include "mpi/farm_internal.h"
#include "mpi/farm_rules.h"
#include "mpi/stop.h"

#include <stdlib.h>
#include <string.h>

/* Messages are looked at this often while working; rank 0 answers others, so it looks more often. */
#define LOOK_SECONDS 0.05
#define LOOK_SECONDS_RANK0 0.005

/* LOB_TEST_RANK0=deals: as in a large world. */
bool lob_farm_rank0_works(const LobWorld *world) {
    const char *hook = getenv("LOB_TEST_RANK0");
    if (hook && world->size > 1 && strcmp(hook, "deals") == 0)
        return false;
    return world->size <= LOB_RANK0_WORKS_UP_TO;
}

int lob_farm_workers(const LobWorld *world) {
    return lob_farm_rank0_works(world) ? world->size : world->size - 1;
}

/* ---- tasks ---- */

void lob_farm_push_task(LobFarm *farm, GBytes *data) {
    LobFarmTask *task = g_new(LobFarmTask, 1);
    *task = (LobFarmTask){data, lob_clock()};
    g_queue_push_tail(&farm->tasks, task);
}

static void free_task(gpointer data) {
    LobFarmTask *task = data;
    g_bytes_unref(task->data);
    g_free(task);
}

double lob_farm_came(const LobFarm *farm) {
    return farm->came;
}

const void *lob_farm_peek(const LobFarm *farm, size_t *size) {
    const LobFarmTask *next = g_queue_peek_head((GQueue *)(gpointer)&farm->tasks);
    return next ? g_bytes_get_data(next->data, size) : NULL;
}

/* ---- messages of a worker that is not rank 0 ---- */

static void send_up(LobFarm *farm, int tag, const void *data, size_t size) {
    MPI_Request request;
    MPI_Isend(data, (int)size, MPI_BYTE, 0, tag, farm->comm, &request);
    lob_mpi_wait(&request, MPI_STATUS_IGNORE);
}

static void take(LobFarm *farm, int tag, void *data, size_t size) {
    if (tag == TAG_TASK) {
        lob_farm_push_task(farm, g_bytes_new_take(data, size));
        return;
    }
    const LobFarmEnd *end = data;
    farm->ended = true;
    farm->verdict = (LobRunState)end->state;
    g_strlcpy(farm->reason, end->reason, sizeof farm->reason);
    lob_run_adopt(farm->verdict, farm->reason);
    g_free(data);
}

static void receive_all(LobFarm *farm) {
    for (;;) {
        int there = 0, size = 0;
        MPI_Status status;
        MPI_Iprobe(0, MPI_ANY_TAG, farm->comm, &there, &status);
        if (!there)
            return;
        MPI_Get_count(&status, MPI_BYTE, &size);
        void *data = g_malloc((size_t)MAX(size, 1));
        MPI_Recv(data, size, MPI_BYTE, 0, status.MPI_TAG, farm->comm, MPI_STATUS_IGNORE);
        take(farm, status.MPI_TAG, data, (size_t)size);
    }
}

/* A signal may have reached this rank alone: rank 0 has to know, and its END is waited for. */
static void ask_to_stop(LobFarm *farm) {
    if (farm->asked_to_stop || farm->ended || lob_run_state() == LOB_RUN_ON)
        return;
    LobFarmEnd word = {.state = lob_run_state()};
    g_strlcpy(word.reason, lob_run_reason(), sizeof word.reason);
    send_up(farm, TAG_STOPREQ, &word, sizeof word);
    farm->asked_to_stop = true;
}

/* Whether rank 0 heard from anybody. */
static bool look(LobFarm *farm) {
    farm->looked = lob_clock();
    if (farm->coordinator)
        return lob_coordinator_serve(farm->coordinator);
    receive_all(farm);
    ask_to_stop(farm);
    return false;
}

bool lob_farm_tick(void *user) {
    LobFarm *farm = user;
    const double often = farm->coordinator ? LOOK_SECONDS_RANK0 : LOOK_SECONDS;
    if (lob_clock() - farm->looked >= often)
        (void)look(farm);
    return lob_run_state() == LOB_RUN_ON;
}

/* Rank 0 writes the reason down before it ends the job; where it does not come to that, this rank ends it. */
#define FATAL_PATIENCE_SECONDS 5.0

static void fatal(LobFarm *farm, const GError *error) {
    if (farm->coordinator)
        lob_coordinator_fatal(farm->coordinator, error);
    LobFarmFatal word = {.code = error->domain == LOB_ERROR ? error->code : LOB_ERROR_INTERNAL};
    g_strlcpy(word.message, error->message, sizeof word.message);
    send_up(farm, TAG_FATAL, &word, sizeof word);
    for (double waited = 0; waited < FATAL_PATIENCE_SECONDS;)
        lob_nap(&waited);
    lob_world_abort(farm->world, error);
}

/* ---- the loop ---- */

static void do_task(LobFarm *farm, const LobFarmTask *task, GByteArray *result) {
    const LobFarmJob *job = farm->job;
    gsize size = 0;
    const void *data = g_bytes_get_data(task->data, &size);
    g_autoptr(GError) err = NULL;
    const double start = lob_clock();
    farm->came = task->came;
    g_byte_array_set_size(result, 0);
    const bool ok = job->work(job->user, farm, data, size, result, &err);
    job->stats->busy += lob_clock() - start;
    if (!ok && err->domain == LOB_ERROR && (err->code == LOB_ERROR_STOPPED || err->code == LOB_ERROR_HALTED))
        return;
    if (!ok)
        fatal(farm, err);
    job->stats->tasks++;
    if (farm->coordinator)
        lob_coordinator_result(farm->coordinator, result->data, result->len);
    else
        send_up(farm, TAG_RESULT, result->data, result->len);
}

static void say_bye(LobFarm *farm) {
    farm->job->stats->wall = lob_clock() - farm->started;
    if (farm->coordinator)
        lob_coordinator_bye(farm->coordinator, farm->job->stats);
    else
        send_up(farm, TAG_BYE, farm->job->stats, sizeof *farm->job->stats);
}

/* Rank 0 stays until every worker is gone, the others until END. */
static void loop(LobFarm *farm, bool works) {
    g_autoptr(GByteArray) result = g_byte_array_new();
    double waited = 0;
    bool said_bye = !works;
    for (;;) {
        /* Where one asks, others may: rank 0 looks again soon. */
        if (look(farm))
            waited = 0;
        if (farm->ended && !said_bye) {
            say_bye(farm);
            said_bye = true;
        }
        if (farm->ended && (!farm->coordinator || lob_coordinator_is_over(farm->coordinator)))
            return;
        LobFarmTask *task = works && lob_run_state() == LOB_RUN_ON ? g_queue_pop_head(&farm->tasks) : NULL;
        if (!task) {
            lob_nap(&waited);
            continue;
        }
        waited = 0;
        do_task(farm, task, result);
        free_task(task);
    }
}

bool lob_farm_run(const LobWorld *world, const LobFarmJob *job, LobFarmStats *all, GError **err) {
    LobFarm farm = {.world = world, .job = job, .comm = lob_world_farm_comm(world), .started = lob_clock()};
    const bool works = world->rank > 0 || lob_farm_rank0_works(world);
    g_queue_init(&farm.tasks);
    if (world->rank == 0) {
        farm.coordinator = lob_coordinator_new(&farm, all);
        if (works)
            lob_coordinator_want(farm.coordinator, job->room);
    } else {
        send_up(&farm, TAG_WANT, NULL, 0);
    }
    loop(&farm, works);
    if (farm.coordinator)
        lob_coordinator_free(farm.coordinator);
    g_queue_clear_full(&farm.tasks, free_task);
    return farm.verdict == LOB_RUN_ON || lob_run_stop_error(err);
}
