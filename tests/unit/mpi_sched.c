/* The scheduler's promises, driven by virtual workers. */
#include "mpi/sched.h"

#include <criterion/criterion.h>

static LobSched *sched_with(int workers) {
    LobSchedOptions options = lob_sched_defaults;
    options.workers = workers;
    return lob_sched_new(&options);
}

static LobLease deal(LobSched *sched, int worker, double now) {
    LobLease lease;
    cr_assert_eq(lob_sched_next(sched, worker, now, &lease), LOB_SCHED_LEASE);
    return lease;
}

Test(mpi_sched, largest_slide_first_and_affinity) {
    g_autoptr(LobSched) sched = sched_with(2);
    lob_sched_add(sched, 0, 400, 0, false);
    lob_sched_add(sched, 1, 900, 0, false);
    lob_sched_add(sched, 2, 800, 0, false);
    const LobLease a = deal(sched, 0, 0), b = deal(sched, 1, 0), c = deal(sched, 0, 0), d = deal(sched, 1, 0);
    cr_assert_eq(a.slide, 1);
    cr_assert_eq(b.slide, 2);
    cr_assert_eq(c.slide, 1, "a worker keeps the slide it has open");
    cr_assert_eq(d.slide, 2);
    cr_assert_eq(a.first, 0);
    cr_assert_eq(c.first, a.count);
    cr_assert_eq(a.count % 16, 0);
}

Test(mpi_sched, the_center_that_is_behind_comes_next) {
    g_autoptr(LobSched) sched = sched_with(3);
    lob_sched_add(sched, 0, 320, 0, false);
    lob_sched_add(sched, 1, 300, 0, false);
    lob_sched_add(sched, 2, 100, 1, false);
    cr_assert_eq(deal(sched, 0, 0).slide, 0);
    cr_assert_eq(deal(sched, 1, 0).slide, 2);
    cr_assert_eq(deal(sched, 2, 0).slide, 1);
}

/* Drives everything to the end; each tile must be done exactly once. */
static uint64_t run_all(LobSched *sched, int workers, uint8_t *const *seen, double seconds_per_tile) {
    uint64_t leases = 0;
    double now = 0;
    for (bool finished = false; !finished;) {
        finished = true;
        for (int w = 0; w < workers; w++) {
            LobLease lease;
            const LobSchedAnswer answer = lob_sched_next(sched, w, now, &lease);
            finished &= answer == LOB_SCHED_FINISHED;
            if (answer != LOB_SCHED_LEASE)
                continue;
            for (uint32_t t = 0; t < lease.count; t++)
                seen[lease.slide][lease.first + t]++;
            now += 0.001;
            cr_assert(lob_sched_done(sched, w, &lease, now, lease.count * seconds_per_tile));
            leases++;
        }
    }
    return leases;
}

Test(mpi_sched, every_tile_once_with_resumption) {
    enum { SLIDES = 40 };
    g_autoptr(LobSched) sched = sched_with(7);
    uint8_t *seen[SLIDES];
    uint32_t tiles[SLIDES];
    for (uint32_t s = 0; s < SLIDES; s++) {
        tiles[s] = (s * 97) % 1500;
        seen[s] = g_malloc0(tiles[s] + 1);
        lob_sched_add(sched, s, tiles[s], s % 3, s == 17);
        if (tiles[s] > 200) {
            lob_sched_mark_done(sched, s, 64, 100);
            lob_sched_mark_done(sched, s, 32, 48);
            memset(seen[s] + 32, 1, 132);
        }
    }
    run_all(sched, 7, seen, 0.05);
    LobSchedProgress progress;
    lob_sched_progress(sched, &progress);
    cr_assert_eq(progress.tiles_done, progress.tiles_total);
    cr_assert_eq(progress.slides_done, SLIDES);
    cr_assert_eq(progress.tiles_in_flight, 0);
    for (uint32_t s = 0; s < SLIDES; s++) {
        for (uint32_t t = 0; t < tiles[s]; t++)
            cr_assert_eq(seen[s][t], 1, "slide %u tile %u done %d times", s, t, seen[s][t]);
        g_free(seen[s]);
    }
}

Test(mpi_sched, ranges_fit_the_measured_rate_and_shrink_at_the_end) {
    g_autoptr(LobSched) sched = sched_with(4);
    lob_sched_add(sched, 0, 4000, 0, false);
    const LobLease first = deal(sched, 0, 0);
    cr_assert_eq(first.count, 32, "before anything is measured a range is small");
    cr_assert(lob_sched_done(sched, 0, &first, 1, first.count * 0.1));
    const LobLease second = deal(sched, 0, 1);
    cr_assert_eq(second.count, 192, "20 s at 0.1 s a tile, cut on a batch: got %u", second.count);
    uint32_t last = UINT32_MAX;
    for (LobLease lease; lob_sched_next(sched, 1, 2, &lease) == LOB_SCHED_LEASE;) {
        cr_assert_leq(lease.count, last);
        last = lease.count;
    }
    cr_assert_leq(last, 16);
}

Test(mpi_sched, late_leases_are_dealt_again_and_the_first_result_wins) {
    g_autoptr(LobSched) sched = sched_with(2);
    lob_sched_add(sched, 0, 16, 0, false);
    const LobLease slow = deal(sched, 0, 0);
    LobLease none;
    cr_assert_eq(lob_sched_next(sched, 1, 1, &none), LOB_SCHED_WAIT);
    cr_assert_eq(lob_sched_expire(sched, 1199), 0);
    cr_assert_eq(lob_sched_expire(sched, 1201), 1);
    cr_assert_not(lob_sched_holds(sched, 0, slow.lease));
    const LobLease again = deal(sched, 1, 1201);
    cr_assert_eq(again.attempt, 1);
    cr_assert_neq(again.lease, slow.lease);
    cr_assert(lob_sched_holds(sched, 1, again.lease));
    cr_assert_not(lob_sched_done(sched, 0, &slow, 1210, 1210), "somebody else has the range by now");
    cr_assert(lob_sched_done(sched, 1, &again, 1211, 10));
    cr_assert_eq(lob_sched_next(sched, 1, 1212, &none), LOB_SCHED_FINISHED);
}

Test(mpi_sched, patience_follows_the_measured_rate) {
    g_autoptr(LobSched) sched = sched_with(1);
    lob_sched_add(sched, 0, 4000, 0, false);
    const LobLease first = deal(sched, 0, 0);
    cr_assert_eq(first.patience, 1200, "a first batch may take minutes");
    cr_assert(lob_sched_done(sched, 0, &first, 1, first.count * 0.1));
    const LobLease second = deal(sched, 0, 1);
    cr_assert_float_eq(second.patience, 120, 1e-9, "five times the 19.2 s expected is less than the least");
    const LobLease third = deal(sched, 0, 1);
    cr_assert_float_eq(third.patience, 120 + 19.2, 1e-9, "it starts when the one before is done");
}

Test(mpi_sched, a_late_result_counts_while_nobody_took_the_range) {
    g_autoptr(LobSched) sched = sched_with(2);
    lob_sched_add(sched, 0, 16, 0, false);
    const LobLease slow = deal(sched, 0, 0);
    cr_assert_eq(lob_sched_expire(sched, 1300), 1);
    cr_assert(lob_sched_done(sched, 0, &slow, 1301, 1301));
    LobLease none;
    cr_assert_eq(lob_sched_next(sched, 1, 1302, &none), LOB_SCHED_FINISHED);
}

Test(mpi_sched, suspects_run_last_and_alone) {
    g_autoptr(LobSched) sched = sched_with(2);
    LobLease none;
    lob_sched_add(sched, 0, 5000, 0, true);
    lob_sched_add(sched, 1, 16, 0, false);
    lob_sched_add(sched, 2, 3000, 0, true);
    const LobLease plain = deal(sched, 0, 0);
    cr_assert_eq(plain.slide, 1);
    cr_assert_eq(lob_sched_next(sched, 1, 0, &none), LOB_SCHED_WAIT, "a suspect runs with nothing else");
    cr_assert(lob_sched_done(sched, 0, &plain, 1, 1));
    const LobLease alone = deal(sched, 1, 1);
    cr_assert_neq(alone.slide, 1);
    cr_assert_eq(lob_sched_next(sched, 0, 1, &none), LOB_SCHED_WAIT);
    cr_assert_eq(lob_sched_next(sched, 1, 1, &none), LOB_SCHED_WAIT, "nor is a second range prefetched");
    cr_assert(lob_sched_done(sched, 1, &alone, 2, 1));
    cr_assert_eq(deal(sched, 0, 2).slide, alone.slide);
}

Test(mpi_sched, a_failed_slide_is_dealt_no_more) {
    g_autoptr(LobSched) sched = sched_with(1);
    lob_sched_add(sched, 0, 500, 0, false);
    lob_sched_add(sched, 1, 100, 0, false);
    const LobLease lease = deal(sched, 0, 0);
    cr_assert_eq(lease.slide, 0);
    lob_sched_fail_slide(sched, 0);
    cr_assert_not(lob_sched_done(sched, 0, &lease, 1, 1));
    LobSchedProgress progress;
    for (LobLease next; lob_sched_next(sched, 0, 1, &next) == LOB_SCHED_LEASE;) {
        cr_assert_eq(next.slide, 1);
        cr_assert(lob_sched_done(sched, 0, &next, 1, 1));
    }
    lob_sched_progress(sched, &progress);
    cr_assert_eq(progress.slides_failed, 1);
    cr_assert_eq(progress.slides_done, 1);
    cr_assert_eq(progress.tiles_done, 100);
    cr_assert_eq(progress.tiles_total, 100);
}

/* 30,000 slides of 10,000 tiles for 10,000 workers with two leases each: the answer has to come in
 * microseconds, far below what a coordinator can exchange over a network. */
Test(mpi_sched, answers_fast_at_full_scale, .timeout = 60) {
    enum { SLIDES = 30000, WORKERS = 10000 };
    g_autoptr(LobSched) sched = sched_with(WORKERS);
    for (uint32_t s = 0; s < SLIDES; s++)
        lob_sched_add(sched, s, 5000 + (s * 7919) % 10000, s % 20, false);
    g_autofree LobLease *held = g_new(LobLease, 2 * WORKERS);
    const double start = lob_clock();
    for (int i = 0; i < 2 * WORKERS; i++)
        held[i] = deal(sched, i % WORKERS, 0);
    uint64_t answers = 2 * WORKERS;
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 2 * WORKERS; i++, answers++) {
            cr_assert(lob_sched_done(sched, i % WORKERS, &held[i], round, held[i].count * 0.02));
            held[i] = deal(sched, i % WORKERS, round);
        }
    }
    const double each = (lob_clock() - start) / (double)answers;
    cr_assert_lt(each, 50e-6, "%.1f us an answer", 1e6 * each);
}
