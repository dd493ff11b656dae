/* All figures of odd tables: nothing crashes, nothing is missing without a reason, intervals hold their
 * estimate. */
#include "stats_fixture.h"

#include <string.h>

enum { MOST = 80 };

typedef struct {
    size_t n;
    double time[MOST], score[MOST], risk[2 * MOST];
    uint8_t event[MOST];
    uint32_t center[MOST], arm[MOST];
} Table;

static void check_panel(const Table *t, size_t n_centers, size_t n_arms, const char *what) {
    static const char *const centers[] = {"a", "b", "c", "d", "e"}, *const arms[] = {"none", "tace", "both"};
    static const double horizons[] = {3, 8};
    const LobPanelInput input = {
        .data = {.n = t->n, .time = t->time, .event = t->event, .stratum = n_centers ? t->center : NULL},
        .score = t->score,
        .centers = centers,
        .n_centers = n_centers,
        .arm = n_arms ? t->arm : NULL,
        .arms = arms,
        .n_arms = n_arms,
        .horizons = horizons,
        .n_horizons = 2,
        .risk = t->risk,
        .n_bootstrap = 20,
        .seed = 1};
    g_auto(LobPanel) panel = {0};
    lob_panel(&panel, &input);
    cr_assert_gt(panel.n_rows, 20);
    for (size_t i = 0; i < panel.n_rows; i++) {
        const LobPanelRow *row = &panel.row[i];
        cr_expect(!isnan(row->estimate) || row->note, "%s: %s of %s is missing without a reason", what,
                  row->metric, row->center);
        bool infinite = row->note && strstr(row->note, "infinite");
        cr_expect(infinite || isnan(row->estimate) || isnan(row->lower) || row->lower <= row->estimate,
                  "%s: %s of %s: %g below %g", what, row->metric, row->center, row->estimate, row->lower);
        cr_expect(infinite || isnan(row->estimate) || isnan(row->upper) || row->estimate <= row->upper,
                  "%s: %s of %s: %g above %g", what, row->metric, row->center, row->estimate, row->upper);
    }
}

static Table random_table(uint64_t seed, size_t n) {
    Table t = {.n = n};
    LobRng rng;
    lob_rng_init(&rng, seed, "panel");
    for (size_t i = 0; i < n; i++) {
        t.time[i] = lob_rng_below(&rng, 12);
        t.event[i] = lob_rng_uniform(&rng) < .5;
        t.score[i] = lob_rng_below(&rng, 9);
        t.risk[2 * i] = lob_rng_uniform(&rng) / 2;
        t.risk[2 * i + 1] = t.risk[2 * i] + lob_rng_uniform(&rng) / 2;
        t.center[i] = lob_rng_below(&rng, 3);
        t.arm[i] = lob_rng_below(&rng, 3);
    }
    return t;
}

Test(stats_panel, random_tables) {
    for (uint64_t seed = 1; seed <= 60; seed++) {
        Table t = random_table(seed, 1 + seed % MOST);
        check_panel(&t, 3, 3, "random");
        check_panel(&t, 0, 0, "random, without centers and arms");
    }
}

Test(stats_panel, odd_tables) {
    Table none = random_table(1, 40), all = none, tied = none, at_zero = none, one_arm = none,
          same_time = none;
    Table extreme = none;
    for (size_t i = 0; i < 40; i++) {
        none.event[i] = 0;
        all.event[i] = 1;
        tied.score[i] = 7;
        at_zero.time[i] = 0;
        one_arm.arm[i] = 0;
        same_time.time[i] = 5;
        extreme.risk[2 * i] = i % 2 ? 1 : 0;
        extreme.risk[2 * i + 1] = i % 2 ? 1 : 0;
    }
    check_panel(&none, 3, 3, "no events");
    check_panel(&all, 3, 3, "all events");
    check_panel(&tied, 3, 3, "all scores tied");
    check_panel(&at_zero, 3, 3, "everything at time 0");
    check_panel(&one_arm, 3, 3, "an arm without rows");
    check_panel(&same_time, 3, 3, "deaths and censorings at one time");
    check_panel(&extreme, 3, 3, "risks of 0 and 1");
    check_panel(&all, 5, 3, "centers without rows");
    for (size_t i = 0; i < 40; i++)
        all.center[i] = i % 2;
    check_panel(&all, 2, 3, "two centers");
    none.n = all.n = 1;
    check_panel(&none, 3, 3, "one censored patient");
    check_panel(&all, 3, 3, "one patient who died");
    none.n = 0;
    check_panel(&none, 3, 3, "nobody");
}

Test(stats_followup, check_names_the_row) {
    static const double time[] = {1, -2}, weight[] = {NAN, 1}, fine[] = {1, 2};
    static const uint8_t event[] = {1, 0};
    g_autoptr(GError) negative = NULL;
    g_autoptr(GError) missing = NULL;
    cr_expect(!lob_followup_check(&(LobFollowUp){.n = 2, .time = time, .event = event}, &negative));
    cr_expect(g_error_matches(negative, LOB_ERROR, LOB_ERROR_INPUT) && strstr(negative->message, "row 2"));
    cr_expect(!lob_followup_check(&(LobFollowUp){.n = 2, .time = fine, .event = event, .weight = weight},
                                  &missing));
    cr_expect(strstr(missing->message, "row 1: weight"));
    cr_expect(lob_followup_check(&(LobFollowUp){.n = 2, .time = fine, .event = event}, NULL));
}
