/* The simulation against what can be worked out by hand. */
#include "mpi/simulate.h"

#include <criterion/criterion.h>
#include <math.h>

/* The last result may wait this long for rank 0 to look. */
#define NAP 0.021

/* No spread, no cost but computing. */
static LobSimulation bare(int ranks, const uint32_t *tiles, uint32_t n_slides) {
    LobSimulation o = lob_simulation_defaults;
    o.ranks = ranks;
    o.tiles = tiles;
    o.n_slides = n_slides;
    o.seconds_per_tile = 0.5;
    o.spread = o.open_seconds = o.write_seconds = o.latency = o.message_seconds = o.sync_seconds = 0;
    o.serve_seconds = 0;
    return o;
}

static LobSimulated run(const LobSimulation *o) {
    LobSimulated r;
    g_autoptr(GError) err = NULL;
    cr_assert(lob_simulate(o, &r, &err), "%s", err ? err->message : "");
    return r;
}

static void assert_near(double value, double expected, double tolerance) {
    cr_assert(fabs(value - expected) <= tolerance, "%.9g is not %.9g", value, expected);
}

Test(mpi_simulate, one_rank_takes_the_sum) {
    const uint32_t tiles[] = {1000, 37, 16, 1, 640};
    const LobSimulation o = bare(1, tiles, 5);
    const LobSimulated r = run(&o);
    assert_near(r.makespan, 1694 * 0.5, NAP);
    assert_near(r.efficiency, 1, NAP / 847);
    assert_near(r.work, 1694 * 0.5, 1e-6);
    cr_assert_eq(r.tiles, 1694);
    cr_assert_eq(r.lost, 0);
}

/* 8 slides of 10 batches on 4 ranks, ranges of one batch: nothing is left over. A rank 0 that only deals does
 * not compute. */
Test(mpi_simulate, equal_slides_fill_the_ranks) {
    const uint32_t tiles[] = {160, 160, 160, 160, 160, 160, 160, 160, 160, 160};
    LobSimulation o = bare(4, tiles, 8);
    o.sched.max_tiles = o.sched.batch;
    assert_near(run(&o).makespan, 8 * 160 * 0.5 / 4, NAP);
    o.n_slides = 10;
    o.ranks = 11;
    o.rank0_works_up_to = 10;
    const LobSimulated r = run(&o);
    cr_assert_eq(r.workers, 10);
    assert_near(r.makespan, 160 * 0.5, NAP);
    assert_near(r.efficiency, 10.0 / 11, NAP / 80);
}

Test(mpi_simulate, costs_of_a_slide_and_of_writing_add_up) {
    const uint32_t tiles[] = {64, 64, 64};
    LobSimulation o = bare(1, tiles, 3);
    o.sched.max_tiles = o.sched.batch; /* 4 ranges a slide */
    o.open_seconds = 2;
    o.write_seconds = 0.25;
    assert_near(run(&o).makespan, 3 * (64 * 0.5 + 2 + 4 * 0.25), NAP);
}

Test(mpi_simulate, a_narrow_file_system_is_the_limit) {
    const uint32_t tiles[] = {1600, 1600, 1600, 1600};
    LobSimulation o = bare(4, tiles, 4);
    o.sched.max_tiles = o.sched.batch;
    o.bytes_per_tile = 1e6;
    o.bandwidth = 4e6; /* 6400 tiles of 1 MB at 4 MB/s: twice as long as computing */
    assert_near(run(&o).makespan, 1600, 16);
}

/* Rounds keep their distance from each other, and a worker that holds a range ahead does not notice. */
Test(mpi_simulate, the_journal_is_paced) {
    g_autofree uint32_t *tiles = lob_simulate_tiles(100, 800, 0.5, 3);
    LobSimulation o = bare(100, tiles, 100);
    o.rank0_works_up_to = 1;
    o.spread = 0.3;
    o.seconds_per_tile = 0.02;
    o.sched.max_tiles = o.sched.batch; /* ranges of .3 s: 300 a second are asked for */
    const LobSimulated unpaced = run(&o);
    o.sync_seconds = 0.02;
    const LobSimulated paced = run(&o);
    cr_assert_leq(paced.journal_busy, 0.1 + 1e-9, "%g", paced.journal_busy);
    cr_assert_lt(paced.syncs, unpaced.syncs);
    cr_assert_lt(paced.makespan, 1.1 * unpaced.makespan, "%g, %g", paced.makespan, unpaced.makespan);
    cr_assert_leq(paced.answer_seconds, 0.25);
}

/* A rank 0 that computes answers at the end of a step: seldom enough to be felt only where ranges are short.
 */
Test(mpi_simulate, a_working_rank_0_answers_late) {
    const uint32_t tiles[] = {1600, 1600, 1600, 1600};
    LobSimulation o = bare(4, tiles, 4);
    o.sched.max_tiles = o.sched.batch; /* ranges of about 8 s, */
    o.spread = 0.3;                    /* which do not all end with rank 0's own */
    const double prompt = run(&o).makespan;
    o.serve_seconds = 2;
    const LobSimulated r = run(&o);
    assert_near(r.makespan, prompt, 2.1);
    o.serve_seconds = 8 * 3;
    cr_assert_gt(run(&o).makespan, 1.2 * prompt);
}

Test(mpi_simulate, static_shards_wait_for_the_largest) {
    const uint32_t tiles[] = {1000, 10, 10, 10};
    const LobSimulation o = bare(4, tiles, 4);
    LobSimulated r;
    cr_assert(lob_simulate_static(&o, &r, NULL));
    assert_near(r.makespan, 1000 * 0.5, 1e-6);
    assert_near(r.tail, 990 * 0.5, 1e-6);
    cr_assert_lt(run(&o).makespan, 0.5 * r.makespan);
}

static LobSimulation rough(uint32_t *tiles, uint32_t n, uint64_t seed) {
    LobSimulation o = lob_simulation_defaults;
    o.ranks = 64;
    o.tiles = tiles;
    o.n_slides = n;
    o.seed = seed;
    o.spread = 0.3;
    o.node_ranks = 8;
    o.straggler_share = 0.2;
    o.straggler_factor = 3;
    o.mtbf_seconds = 1500;
    o.walltime_seconds = 3600;
    o.restart_seconds = 60;
    return o;
}

/* The simulation itself reports a range that is journalled twice; it ends only when each tile is journalled.
 */
Test(mpi_simulate, every_tile_once_through_failures_and_stragglers) {
    g_autofree uint32_t *tiles = lob_simulate_tiles(200, 1000, 1.2, 5);
    uint64_t total = 0;
    for (uint32_t s = 0; s < 200; s++)
        total += tiles[s];
    const LobSimulation o = rough(tiles, 200, 5);
    const LobSimulated r = run(&o);
    cr_assert_eq(r.tiles, total);
    cr_assert_eq(r.twice, 0);
    cr_assert_gt(r.failures, 0);
    cr_assert_gt(r.lost, 0);
    assert_near(r.down, (r.slices - 1) * 60.0, 1e-6);
    cr_assert_leq(r.work + r.lost, (r.makespan - r.down) * r.workers * (1 + 1e-9));
}

/* What a cut slice loses can be counted. */
Test(mpi_simulate, a_cut_slice_loses_what_is_in_flight) {
    const uint32_t tiles[] = {160, 160};
    LobSimulation o = bare(2, tiles, 2);
    o.sched.max_tiles = o.sched.batch; /* ranges of 8 s */
    o.walltime_seconds = 50; /* stops at 45: five ranges done, 5 s of the sixth lost, on both ranks */
    o.restart_seconds = 7;
    const LobSimulated r = run(&o);
    cr_assert_eq(r.slices, 2);
    cr_assert_eq(r.failures, 0);
    assert_near(r.lost, 2 * 5, 1e-6);
    assert_near(r.makespan, 45 + 7 + 5 * 8, NAP);
}

Test(mpi_simulate, a_seed_decides_everything) {
    g_autofree uint32_t *tiles = lob_simulate_tiles(100, 800, 1, 9);
    const LobSimulation a = rough(tiles, 100, 9), b = rough(tiles, 100, 10);
    const LobSimulated first = run(&a), again = run(&a), other = run(&b);
    cr_assert_eq(first.makespan, again.makespan);
    cr_assert_eq(first.lost, again.lost);
    cr_assert_eq(first.ranges, again.ranges);
    cr_assert_neq(first.makespan, other.makespan);
}

Test(mpi_simulate, nonsense_is_refused) {
    const uint32_t tiles[] = {16000};
    LobSimulation o = bare(0, tiles, 1);
    LobSimulated r;
    g_autoptr(GError) err = NULL;
    cr_assert_not(lob_simulate(&o, &r, &err));
    cr_assert(g_error_matches(err, LOB_ERROR, LOB_ERROR_INPUT));
    g_clear_error(&err);
    o = bare(1, tiles, 1);
    o.walltime_seconds = 5; /* a range takes longer */
    cr_assert_not(lob_simulate(&o, &r, &err));
    cr_assert(g_error_matches(err, LOB_ERROR, LOB_ERROR_INPUT));
}
