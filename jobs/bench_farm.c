/* Rank 0's answers over real messages: workers that compute nothing ask as fast as they can, then as often as
 * 10,000 ranks with a ViT-L would. The scheduler is the real one, and so is the journal where there is one.
 */
#include "hdf5io/hdf5io.h"
#include "jobs/bench_internal.h"
#include "mpi/farm.h"
#include "mpi/world.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* 10,000 ranks, each with a batch of 16 tiles at 1.4 s: what they ask for in a second. */
#define DEMAND (10000 / (16 * 1.4))

typedef struct {
    const LobBench *bench;
    LobSched *sched;
    LobJournal *journal; /* or NULL */
    double doze;         /* seconds a worker spends on a range */
    double started, until;
    uint64_t answered;
    GArray *answers; /* of double: seconds from a range's end to the dealing of its worker's next, rank 0 */
    GQueue *ended;   /* [size] of double *: ends not answered yet */
    double syncing;
    uint64_t syncs;
    bool dirty;
} Asking;

typedef struct {
    LobLease lease;
    double ended; /* lob_clock(), which the processes of one host share */
} Answer;

static bool note(Asking *a, LobJournalKind kind, const LobLease *lease, GError **err) {
    const LobJournalRecord record = {.kind = kind,
                                     .slide_id = (char *)"slide",
                                     .first = lease->first,
                                     .count = lease->count,
                                     .text = (char *)""};
    a->dirty = true;
    return !a->journal || lob_journal_append(a->journal, &record, err);
}

static LobSchedAnswer deal(void *user, int worker, GByteArray *task) {
    Asking *a = user;
    LobLease lease;
    if (lob_clock() >= a->until)
        return LOB_SCHED_FINISHED;
    const LobSchedAnswer answer = lob_sched_next(a->sched, worker, lob_clock(), &lease);
    if (answer != LOB_SCHED_LEASE)
        return answer;
    g_autofree double *ended = g_queue_pop_head(&a->ended[worker]);
    if (ended) {
        const double waited = lob_clock() - *ended;
        g_array_append_val(a->answers, waited);
        a->answered++;
    }
    g_byte_array_append(task, (const guint8 *)&lease, sizeof lease);
    (void)note(a, LOB_J_LEASE, &lease, NULL);
    return answer;
}

static bool take(void *user, int worker, const void *data, size_t size, GError **err) {
    Asking *a = user;
    Answer answer;
    if (size != sizeof answer)
        return lob_fail(err, LOB_ERROR_INTERNAL, "a result of %zu bytes", size);
    memcpy(&answer, data, sizeof answer);
    /* As if it had taken what a ViT-L takes, so that ranges stay one batch. */
    (void)lob_sched_done(a->sched, worker, &answer.lease, lob_clock(), 1.4 * answer.lease.count);
    g_queue_push_tail(&a->ended[worker], g_memdup2(&answer.ended, sizeof answer.ended));
    return note(a, LOB_J_RANGE, &answer.lease, err);
}

static bool commit(void *user, GError **err) {
    Asking *a = user;
    if (!a->journal || !a->dirty)
        return true;
    const double start = lob_clock();
    a->dirty = false;
    const bool ok = lob_journal_sync(a->journal, err);
    a->syncing += lob_clock() - start;
    a->syncs++;
    return ok;
}

static bool no_pulse(void *user, GError **err) {
    (void)user;
    (void)err;
    return true;
}

static bool doze(void *user, LobFarm *farm, const void *task, size_t size, GByteArray *result, GError **err) {
    const Asking *a = user;
    Answer answer = {0};
    if (size != sizeof answer.lease)
        return lob_fail(err, LOB_ERROR_INTERNAL, "a task of %zu bytes", size);
    memcpy(&answer.lease, task, sizeof answer.lease);
    if (a->doze > 0)
        g_usleep((gulong)(1e6 * a->doze));
    if (!lob_farm_tick(farm))
        return lob_fail(err, LOB_ERROR_STOPPED, "stopped");
    answer.ended = lob_clock();
    g_byte_array_append(result, (const guint8 *)&answer, sizeof answer);
    return true;
}

static LobSched *endless(int workers) {
    LobSchedOptions options = lob_sched_defaults;
    options.workers = workers;
    LobSched *sched = lob_sched_new(&options);
    for (uint32_t s = 0; s < 2000; s++)
        lob_sched_add(sched, s, 1000000, s % 20, false);
    return sched;
}

/* Collective. */
static bool ask(Asking *a, GError **err) {
    const LobWorld *world = a->bench->world;
    LobFarmStats stats = {0};
    g_autofree LobFarmStats *all = g_new0(LobFarmStats, (size_t)world->size);
    const LobFarmJob job = {.user = a,
                            .room = 2,
                            .next = deal,
                            .result = take,
                            .commit = commit,
                            .pulse = no_pulse,
                            .work = doze,
                            .stats = &stats};
    a->sched = endless(lob_farm_workers(world));
    a->ended = g_new0(GQueue, world->size);
    a->answers = g_array_new(FALSE, FALSE, sizeof(double));
    lob_world_barrier(world);
    a->started = lob_clock();
    a->until = a->started + fmax(a->bench->seconds, 0.5);
    const bool ok = lob_farm_run(world, &job, all, err);
    lob_sched_free(a->sched);
    for (int w = 0; w < world->size; w++)
        g_queue_clear_full(&a->ended[w], g_free);
    g_free(a->ended);
    return ok;
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const Asking *a, double p) {
    return a->answers->len == 0 ? 0 : g_array_index(a->answers, double, (guint)(p * (a->answers->len - 1)));
}

static void report(Asking *a, const char *load) {
    const bool root = a->bench->world->rank == 0;
    const double seconds = a->until - a->started, rate = root ? (double)a->answered / seconds : 0;
    g_array_sort(a->answers, by_value);
    g_autofree char *what =
        g_strdup_printf("rank 0 and %d ranks, %s", lob_farm_workers(a->bench->world), load);
    const LobBenchResult r = {.bench = "schedule",
                              .what = what,
                              .unit = "requests/s",
                              .rate = {rate, rate, rate, 0, 1},
                              .ceiling_name = "what 10,000 ranks with a ViT-L ask",
                              .ceiling = root ? DEMAND : 0};
    lob_bench_report(a->bench, &r);
    if (root)
        fprintf(
            stderr,
            "%-9s   answers after %.3g ms (median), %.3g ms (99 %%), %.3g ms (longest); the journal's %lu "
            "syncs took %.1f %% of the time\n",
            "", 1e3 * quantile(a, 0.5), 1e3 * quantile(a, 0.99), 1e3 * quantile(a, 1),
            (unsigned long)a->syncs, 100 * a->syncing / seconds);
    g_array_unref(a->answers);
}

static void ignore_record(const LobJournalRecord *record, void *user) {
    (void)record;
    (void)user;
}

static bool ask_with_journal(const LobBench *bench, GError **err) {
    const LobWorld *world = bench->world;
    Asking a = {.bench = bench, .doze = (lob_farm_workers(world)) / DEMAND};
    g_autofree char *path = g_strdup_printf("%s/lobule-bench-%d.journal", bench->dir, (int)getpid());
    GError *mine = NULL;
    if (world->rank == 0)
        a.journal = lob_journal_open(path, ignore_record, NULL, &mine);
    if (!lob_world_agree(world, mine, err))
        return false;
    const bool ok = ask(&a, err);
    if (a.journal) {
        lob_journal_close(a.journal);
        (void)remove(path);
    }
    report(&a, "as often as those, with a journal");
    return ok;
}

bool lob_bench_farm(const LobBench *bench, GError **err) {
    Asking a = {.bench = bench};
    /* As in the large worlds this stands for. */
    g_setenv("LOB_TEST_RANK0", "deals", TRUE);
    bool ok = ask(&a, err);
    report(&a, "as fast as they can");
    ok = ok && ask_with_journal(bench, err);
    g_unsetenv("LOB_TEST_RANK0");
    return ok;
}
