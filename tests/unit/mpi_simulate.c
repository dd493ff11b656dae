/* The simulation against what can be worked out by hand. */
#include "mpi/simulate.h"
#include "mpi/simulate_share.h"

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
    o.serve_seconds = o.row_bytes = o.weight_bytes = 0;
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
    const double makespan = run(&o).makespan;
    cr_assert_geq(makespan, 1600 * (1 - 1e-9), "%g", makespan);
    assert_near(makespan, 1600, 1);
}

/* However many read at a time, no more goes through than the file system has. */
Test(mpi_simulate, no_more_is_moved_than_the_bandwidth) {
    g_autofree uint32_t *tiles = lob_simulate_tiles(60, 200, 1, 4);
    uint64_t total = 0;
    for (int s = 0; s < 60; s++)
        total += tiles[s];
    LobSimulation o = bare(16, tiles, 60);
    o.spread = 0.8;
    o.bytes_per_tile = 1e6;
    o.row_bytes = 2e5;
    for (double bandwidth = 4e6; bandwidth < 1e9; bandwidth *= 4) {
        o.bandwidth = bandwidth;
        const double least = (double)total * 1.2e6 / bandwidth, makespan = run(&o).makespan;
        cr_assert_geq(makespan, least * (1 - 1e-9), "%g GB/s: %g s, bytes alone take %g", bandwidth, makespan,
                      least);
    }
    o.bandwidth = 1e15;
    const double wide = run(&o).makespan;
    o.bandwidth = 0;
    assert_near(wide, run(&o).makespan, 0.05 * wide);
}

/* One after the other: 100 bytes for the first, then both at half, then the second alone. */
Test(mpi_simulate, transfers_share_alike) {
    LobShare *share = lob_share_new(100, 3);
    cr_assert(isinf(lob_share_next(share)));
    lob_share_begin(share, 2, 300, 10);
    assert_near(lob_share_next(share), 13, 1e-9);
    lob_share_begin(share, 0, 300, 11); /* 200 left of the other */
    assert_near(lob_share_next(share), 15, 1e-9);
    cr_assert_eq(lob_share_end(share), 2);
    assert_near(lob_share_next(share), 16, 1e-9);
    lob_share_begin(share, 1, 10, 15.5); /* 50 left of the first */
    assert_near(lob_share_next(share), 15.7, 1e-9);
    cr_assert_eq(lob_share_end(share), 1);
    assert_near(lob_share_next(share), 16.1, 1e-9);
    lob_share_clear(share, 16);
    cr_assert(isinf(lob_share_next(share)));
    lob_share_free(share);
}

/* Nothing is read: every node's weights first, then ranges of 16 tiles that are computed and written. */
Test(mpi_simulate, weights_and_rows_go_through_the_file_system_too) {
    const uint32_t tiles[] = {64};
    LobSimulation o = bare(1, tiles, 1);
    o.sched.max_tiles = o.sched.batch;
    o.bandwidth = 100;
    o.bytes_per_tile = 0;
    o.weight_bytes = 500;
    o.row_bytes = 10;
    LobSimulated r = run(&o);
    assert_near(r.loading, 5, 1e-9);
    assert_near(r.makespan, 5 + 64 * (0.5 + 0.1), NAP);
    o.ranks = 5;
    o.node_ranks = 2;
    r = run(&o);
    assert_near(r.loading, 15, 1e-9);
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

/* One of four ranges on two ranks of two nodes is in flight when a node dies, at a time that is drawn here
 * too; what was journalled by then is read again. */
Test(mpi_simulate, a_failure_can_be_counted) {
    const uint32_t tiles[] = {64, 64};
    LobSimulation o = bare(2, tiles, 2);
    LobRng rng;
    o.sched.max_tiles = o.sched.batch; /* ranges of 8 s */
    o.node_ranks = 1;
    o.node_mtbf_seconds = 50;
    o.restart_seconds = 7;
    o.bandwidth = 1000;
    o.bytes_per_tile = 0;
    o.row_bytes = 1e-6; /* nothing while writing */
    double death = 0;
    for (o.seed = 1; death < 17 || death > 23; o.seed++) {
        lob_rng_init(&rng, o.seed, "simulate");
        death = lob_rng_exponential(&rng) * 50 / 2;
        if (lob_rng_exponential(&rng) * 50 / 2 < 40)
            death = 0;
        if (death >= 17 && death <= 23)
            break;
    }
    LobSimulated r = run(&o);
    cr_assert_eq(r.failures, 1);
    cr_assert_eq(r.slices, 2);
    assert_near(r.lost, 2 * (death - 16), 0.1);
    assert_near(r.lost_to_failures, r.lost + 2 * 7, 1e-3);
    assert_near(r.makespan, death + 7 + 2 * 8, NAP);
    o.row_bytes = 100; /* 1.6 s a range while one writes, 3.2 s while both do */
    r = run(&o);
    cr_assert_gt(r.verifying, 0);
    assert_near(fmod(r.verifying, 1.6), 0, 1e-6);
    assert_near(r.lost_to_failures, r.lost + 2 * (7 + r.verifying), 1e-3);
}

/* Ten nodes die ten times as often as one. */
Test(mpi_simulate, failures_grow_with_the_nodes) {
    const uint32_t tiles[] = {1600};
    double rate[2] = {0};
    for (int large = 0; large < 2; large++) {
        LobSimulation o = bare(large ? 10 : 1, tiles, 1);
        double failures = 0, up = 0;
        o.node_ranks = 1;
        o.node_mtbf_seconds = 400;
        o.restart_seconds = 0;
        o.sched.max_tiles = o.sched.batch;
        for (o.seed = 1; o.seed <= 300; o.seed++) {
            const LobSimulated r = run(&o);
            failures += r.failures;
            up += r.makespan;
        }
        rate[large] = failures / up;
    }
    assert_near(rate[0] * 400, 1, 0.15);
    assert_near(rate[1] * 40, 1, 0.15);
}

/* A rank that holds a range ahead does not feel messages that travel for less than a range; beyond, two
 * ranges go round in two travels and a range. */
Test(mpi_simulate, latency_is_felt_only_where_it_is_longer_than_a_range) {
    const uint32_t tiles[] = {16 * 100};
    LobSimulation o = bare(1, tiles, 1);
    o.sched.max_tiles = o.sched.batch; /* 100 ranges of 8 s */
    o.latency = 3;
    assert_near(run(&o).makespan, 100 * 8 + 2 * 3, NAP + 0.1);
    o.latency = 20;
    assert_near(run(&o).makespan, 49 * (2 * 20 + 8) + 2 * 8 + 2 * 20, 50 * 2 * NAP);
}

/* Slow ranks get less: together they go as fast as the sum of their speeds. */
Test(mpi_simulate, stragglers_slow_only_themselves) {
    enum { RANKS = 12, SLIDES = 240 };
    uint32_t tiles[SLIDES];
    for (int s = 0; s < SLIDES; s++)
        tiles[s] = 160;
    LobSimulation o = bare(RANKS, tiles, SLIDES);
    o.sched.max_tiles = o.sched.batch;
    o.node_ranks = 1;
    o.straggler_factor = 4;
    const double work = SLIDES * 160 * 0.5;
    o.straggler_share = 1;
    assert_near(run(&o).makespan, 4 * work / RANKS, 4 * 8);
    o.straggler_share = 0.5;
    LobRng rng;
    double speed = 0;
    lob_rng_init(&rng, o.seed, "simulate/stragglers");
    for (int w = 0; w < RANKS; w++)
        speed += lob_rng_uniform(&rng) < 0.5 ? 0.25 : 1;
    cr_assert(speed > 3 && speed < RANKS, "some are slow, some are not");
    assert_near(run(&o).makespan, work / speed, 4 * 8 + NAP);
}

Test(mpi_simulate, a_fit_gives_back_what_sizes_were_drawn_from) {
    double median, sigma;
    g_autofree uint32_t *tiles = lob_simulate_tiles(20000, 3000, 0.7, 2);
    lob_simulate_fit(tiles, 20000, &median, &sigma);
    assert_near(median, 3000, 0.03 * 3000);
    assert_near(sigma, 0.7, 0.02);
    const uint32_t two[] = {100, 400};
    lob_simulate_fit(two, 2, &median, &sigma);
    assert_near(median, 200, 1e-9);
    assert_near(sigma, sqrt(2) * log(2), 1e-9);
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

static void assert_refused(const LobSimulation *o, double *value, double wrong) {
    const double right = *value;
    LobSimulated r;
    g_autoptr(GError) err = NULL;
    *value = wrong;
    cr_expect_not(lob_simulate(o, &r, &err), "%g", wrong);
    cr_expect(g_error_matches(err, LOB_ERROR, LOB_ERROR_INPUT));
    *value = right;
}

Test(mpi_simulate, every_amount_is_looked_at) {
    const uint32_t tiles[] = {1600};
    LobSimulation o = bare(2, tiles, 1);
    double *const amounts[] = {
        &o.seconds_per_tile,  &o.spread,           &o.open_seconds,    &o.write_seconds,
        &o.straggler_share,   &o.straggler_factor, &o.latency,         &o.message_seconds,
        &o.record_seconds,    &o.sync_seconds,     &o.serve_seconds,   &o.bandwidth,
        &o.bytes_per_tile,    &o.row_bytes,        &o.weight_bytes,    &o.mtbf_seconds,
        &o.node_mtbf_seconds, &o.walltime_seconds, &o.restart_seconds, &o.sched.range_seconds};
    for (size_t i = 0; i < G_N_ELEMENTS(amounts); i++) {
        assert_refused(&o, amounts[i], -1);
        assert_refused(&o, amounts[i], NAN);
        assert_refused(&o, amounts[i], INFINITY);
    }
    (void)run(&o);
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
