/* Rank 0's answers over real messages: workers that compute nothing ask as fast as they can, then as often as
 * 10,000 ranks that encode would. The scheduler is the real one, and so is the journal where there is one.
 */
#include "hdf5io/hdf5io.h"
#include "jobs/bench_internal.h"
#include "mpi/farm.h"
#include "mpi/world.h"
#include "stats/stats.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define RANKS 10000.0      /* that the workers here stand for */
#define LEAST_SECONDS 0.5  /* of a repetition */
#define SETTLE_SECONDS 0.3 /* until all workers that wait in between have asked */

typedef struct {
    const char *what, *asked;
    double seconds_a_tile; /* that workers claim to have worked */
    bool paced;            /* they wait in between as long as lets them ask as often as RANKS would */
    bool journal;
} Load;

#define VIT_L 1.4
#define TEXTURE 0.005

static const char vit_l_ranks[] = "what 10,000 ranks with a ViT-L ask";
static const Load loads[] = {
    {"as fast as they can", vit_l_ranks, VIT_L, false, false},
    {"as fast as they can, with a journal", vit_l_ranks, VIT_L, false, true},
    {"as often as 10,000 with a ViT-L, with a journal", vit_l_ranks, VIT_L, true, true},
    {"as often as 10,000 with texture, with a journal", "what 10,000 ranks with texture ask", TEXTURE, true,
     true},
};

/* All repetitions but the first, which warms up, add to the numbers. */
typedef struct {
    const LobBench *bench;
    const Load *load;
    LobSched *sched;
    LobJournal *journal; /* or NULL */
    double from, until;  /* answers in between count */
    uint64_t answered;   /* of this repetition */
    GArray *answers; /* of double: seconds from a range's end to the dealing of its worker's next, rank 0 */
    GQueue *ended;   /* [size] of double *: ends not answered yet */
    uint64_t ranges, tiles, syncs;
    double syncing, cpu, wall;
    bool dirty, warm;
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
    if (ended && lob_clock() >= a->from) {
        const double waited = lob_clock() - *ended;
        g_array_append_val(a->answers, waited);
        a->answered++;
    }
    a->ranges++;
    a->tiles += lease.count;
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
    /* As if it had taken that long, so that ranges are as long as an encoder's. */
    (void)lob_sched_done(a->sched, worker, &answer.lease, lob_clock(),
                         a->load->seconds_a_tile * answer.lease.count);
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
    if (a->load->paced)
        g_usleep((gulong)(1e6 * a->load->seconds_a_tile * answer.lease.count *
                          lob_farm_workers(a->bench->world) / RANKS));
    if (!lob_farm_tick(farm))
        return lob_fail(err, LOB_ERROR_STOPPED, "stopped");
    answer.ended = lob_clock();
    g_byte_array_append(result, (const guint8 *)&answer, sizeof answer);
    return true;
}

/* It has seen a range already, so that the first ones are no shorter or longer than the others. */
static LobSched *endless(int workers, double seconds_a_tile) {
    LobSchedOptions options = lob_sched_defaults;
    options.workers = workers;
    LobSched *sched = lob_sched_new(&options);
    for (uint32_t s = 0; s < 2000; s++)
        lob_sched_add(sched, s, 1000000, s % 20, false);
    LobLease lease;
    const double now = lob_clock();
    if (lob_sched_next(sched, 0, now, &lease) == LOB_SCHED_LEASE)
        (void)lob_sched_done(sched, 0, &lease, now, seconds_a_tile * lease.count);
    return sched;
}

static void forget(Asking *a) {
    g_array_set_size(a->answers, 0);
    a->ranges = a->tiles = a->syncs = 0;
    a->syncing = a->cpu = a->wall = 0;
}

/* Collective. A repetition: its rate counts on rank 0. */
static bool ask(void *user, double *values, GError **err) {
    Asking *a = user;
    const LobBench *bench = a->bench;
    const LobWorld *world = bench->world;
    const double seconds = fmax(bench->seconds / bench->repeats, LEAST_SECONDS);
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
    g_autoptr(LobSched) sched = endless(lob_farm_workers(world), a->load->seconds_a_tile);
    a->sched = sched;
    a->ended = g_new0(GQueue, world->size);
    a->answered = 0;
    lob_world_barrier(world);
    const double start = lob_clock(), cpu = lob_bench_cpu_seconds();
    a->from = start + (a->load->paced ? SETTLE_SECONDS : 0);
    a->until = a->from + seconds;
    const bool ok = lob_farm_run(world, &job, all, err);
    a->cpu += lob_bench_cpu_seconds() - cpu;
    a->wall += lob_clock() - start;
    for (int w = 0; w < world->size; w++)
        g_queue_clear_full(&a->ended[w], g_free);
    g_free(a->ended);
    values[0] = world->rank == 0 ? (double)a->answered / seconds : 0;
    return ok;
}

static bool first_forgotten(void *user, double *values, GError **err) {
    Asking *a = user;
    const bool ok = ask(a, values, err);
    if (!a->warm)
        forget(a);
    a->warm = true;
    return ok;
}

/* ---- telling ---- */

/* Milliseconds; clocks of several hosts are not compared. */
static double latency(const Asking *a, double p) {
    const LobWorld *world = a->bench->world;
    if (world->node_size < world->size || a->answers->len == 0)
        return NAN;
    return 1e3 * lob_quantile((const double *)(const void *)a->answers->data, a->answers->len, p);
}

static json_t *tell_more(const Asking *a) {
    static const struct {
        const char *name;
        double p;
    } quantiles[] = {{"latency_p50_ms", 0.5}, {"latency_p99_ms", 0.99}, {"latency_max_ms", 1}};
    json_t *more =
        json_pack("{s:i, s:f, s:f, s:I, s:f}", "workers", lob_farm_workers(a->bench->world),
                  "coordinator_cpu", a->cpu / a->wall, "journal_busy", a->syncing / a->wall, "journal_syncs",
                  (json_int_t)a->syncs, "tiles_a_range", (double)a->tiles / (double)MAX(a->ranges, 1));
    for (size_t i = 0; i < G_N_ELEMENTS(quantiles); i++) {
        const double ms = latency(a, quantiles[i].p);
        json_object_set_new(more, quantiles[i].name, isfinite(ms) ? json_real(ms) : json_null());
    }
    return more;
}

static void report(Asking *a, const LobBenchSeries *turns) {
    const LobWorld *world = a->bench->world;
    if (world->rank != 0)
        return;
    g_autofree char *what =
        g_strdup_printf("rank 0 and %d ranks, %s", lob_farm_workers(world), a->load->what);
    const double tiles = (double)a->tiles / (double)MAX(a->ranges, 1);
    json_t *more = tell_more(a);
    lob_bench_report(a->bench, &(LobBenchResult){.bench = "schedule",
                                                 .what = what,
                                                 .unit = "requests/s",
                                                 .rate = lob_bench_summary(turns->values[0], turns->n),
                                                 .kind = LOB_BENCH_REFERENCE,
                                                 .ceiling_name = a->load->asked,
                                                 .ceiling = RANKS / (tiles * a->load->seconds_a_tile),
                                                 .more = more});
    fprintf(stderr,
            "%-9s   answers after %.3g ms (median), %.3g ms (99 %%), %.3g ms (longest); the journal's %lu "
            "syncs took %.1f %% of the time, rank 0 %.1f %% of a core; %.0f tiles a range\n",
            "", latency(a, 0.5), latency(a, 0.99), latency(a, 1), (unsigned long)a->syncs,
            100 * a->syncing / a->wall, 100 * a->cpu / a->wall, tiles);
    json_decref(more);
}

/* ---- the bench ---- */

static bool bench_load(const LobBench *bench, const Load *load, GError **err) {
    const LobWorld *world = bench->world;
    LobBenchSeries turns;
    Asking a = {.bench = bench, .load = load};
    g_autofree char *path = g_strdup_printf("%s/lobule-bench-%d.journal", bench->dir, (int)getpid());
    GError *mine = NULL;
    if (world->rank == 0 && load->journal)
        a.journal = lob_journal_open(path, NULL, NULL, &mine);
    if (!lob_world_agree(world, mine, err))
        return false;
    a.answers = g_array_new(FALSE, FALSE, sizeof(double));
    const bool ok = lob_bench_repeat(bench, first_forgotten, &a, &turns, err);
    if (a.journal) {
        lob_journal_close(a.journal);
        (void)remove(path);
    }
    if (ok)
        report(&a, &turns);
    g_array_unref(a.answers);
    return ok;
}

bool lob_bench_farm(const LobBench *bench, GError **err) {
    bool ok = true;
    /* As in the large worlds this stands for. */
    g_setenv("LOB_TEST_RANK0", "deals", TRUE);
    for (size_t i = 0; ok && i < G_N_ELEMENTS(loads); i++)
        ok = bench_load(bench, &loads[i], err);
    g_unsetenv("LOB_TEST_RANK0");
    return ok;
}
