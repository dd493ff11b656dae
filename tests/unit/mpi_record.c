/* What a part's journal is understood to say. */
#include "mpi/embed_internal.h"

#include <criterion/criterion.h>

static LobStoreSlide table[] = {{.slide_id = (char *)"a", .count = 100},
                                {.slide_id = (char *)"b", .count = 50}};
static const LobCatalogPart part = {.slides = table, .n_slides = 2};

static void say(LobPartRecord *record, LobJournalKind kind, const char *slide, uint64_t first, uint64_t count,
                const char *text) {
    const LobJournalRecord line = {.kind = kind,
                                   .slide_id = (char *)slide,
                                   .first = first,
                                   .count = count,
                                   .crc = (uint32_t)first,
                                   .unreadable = 1,
                                   .text = (char *)text};
    lob_part_record_visit(&line, record);
}

static void session(LobPartRecord *record, const char *slide, uint32_t first, const char *lease) {
    say(record, LOB_J_START, "", 0, 0, "");
    say(record, LOB_J_LEASE, slide, first, 16, lease);
}

Test(mpi_record, ranges_add_up_and_later_ones_win) {
    LobPartRecord *record = lob_part_record_new(&part);
    LobSlideRecord *a = &record->slides[0];
    say(record, LOB_J_START, "", 0, 0, "");
    say(record, LOB_J_RANGE, "a", 32, 16, "");
    say(record, LOB_J_RANGE, "a", 0, 32, "");
    say(record, LOB_J_RANGE, "b", 0, 64, "");
    cr_assert_eq(lob_slide_record_tiles(a), 48);
    cr_assert_eq(lob_slide_record_tiles(&record->slides[1]), 0, "a range beyond its slide is not believed");
    say(record, LOB_J_RANGE, "a", 16, 16, "");
    cr_assert_eq(lob_slide_record_tiles(a), 32, "what a later range overlaps is to be done again");
    cr_assert_eq(a->unreadable, 2);
    say(record, LOB_J_RANGE, "a", 32, 16, "void");
    cr_assert_eq(lob_slide_record_tiles(a), 16);
    cr_assert_eq(a->unreadable, 1);
    lob_part_record_free(record);
}

Test(mpi_record, ranges_are_believed_after_an_explained_end_only) {
    LobPartRecord *record = lob_part_record_new(&part);
    GArray *done = record->slides[0].done;
    say(record, LOB_J_START, "", 0, 0, "");
    say(record, LOB_J_RANGE, "a", 0, 16, "");
    say(record, LOB_J_END, "", 0, 0, "signal USR1");
    say(record, LOB_J_RANGE, "a", 16, 16, "");
    lob_part_record_close(record, NULL);
    cr_assert(g_array_index(done, LobDoneRange, 0).verified);
    cr_assert_not(g_array_index(done, LobDoneRange, 1).verified, "it came after the last word");
    lob_part_record_free(record);
}

Test(mpi_record, a_range_in_flight_at_two_deaths_is_suspect) {
    LobPartRecord *record = lob_part_record_new(&part);
    LobSlideRecord *a = &record->slides[0], *b = &record->slides[1];
    session(record, "a", 0, "");
    say(record, LOB_J_LEASE, "b", 0, 16, "");
    session(record, "a", 0, "");
    say(record, LOB_J_LEASE, "b", 0, 16, "");
    say(record, LOB_J_RANGE, "b", 0, 16, "");
    say(record, LOB_J_LEASE, "b", 16, 16, "");
    cr_assert_not(lob_slide_record_is_suspect(a), "one death proves nothing");
    lob_part_record_close(record, NULL);
    cr_assert(lob_slide_record_is_suspect(a));
    cr_assert_not(lob_slide_record_is_suspect(b), "it went on between the deaths");
    say(record, LOB_J_START, "", 0, 0, "");
    say(record, LOB_J_RANGE, "a", 0, 16, "");
    cr_assert_not(lob_slide_record_is_suspect(a), "what was suspected is done");
    lob_part_record_free(record);
}

Test(mpi_record, explained_ends_never_count) {
    LobPartRecord *record = lob_part_record_new(&part);
    for (int i = 0; i < 5; i++) {
        session(record, "a", 0, "alone");
        say(record, LOB_J_END, "", 0, 0, "walltime");
    }
    lob_part_record_close(record, NULL);
    cr_assert_not(lob_slide_record_is_suspect(&record->slides[0]));
    cr_assert_eq(record->slides[0].lone_deaths, 0);
    lob_part_record_free(record);
}

/* A node that fails takes down what runs on it; the scheduler starts the job again and counts that. */
Test(mpi_record, a_restart_by_the_scheduler_is_an_explanation) {
    static const char *const starts[] = {
        "cpu x\nhost a pid 1 job 77 restart 0 ranks 2", "cpu x\nhost b pid 1 job 77 restart 1 ranks 2",
        "cpu x\nhost b pid 2 job 77 restart 2 ranks 2", "cpu x\nhost b pid 2 job 78 restart 3 ranks 2"};
    LobPartRecord *record = lob_part_record_new(&part);
    LobSlideRecord *a = &record->slides[0];
    for (int i = 0; i < 3; i++) {
        say(record, LOB_J_START, "", 0, 0, starts[i]);
        say(record, LOB_J_RANGE, "a", 0, 16, "");
        say(record, LOB_J_LEASE, "a", 16, 16, "alone");
    }
    lob_part_record_close(record, starts[3]);
    cr_assert_eq(a->lone_deaths, 1, "the last one is another job's");
    cr_assert_not(lob_slide_record_is_suspect(a));
    cr_assert_not(g_array_index(a->done, LobDoneRange, 0).verified,
                  "what it wrote may not have come through");
    lob_part_record_free(record);
    cr_assert_not(lob_session_was_restarted(starts[0], starts[0]));
    cr_assert_not(lob_session_was_restarted("cpu\nhost a pid 1 job - restart 0 ranks 1",
                                            "cpu\nhost a pid 2 job - restart 1 ranks 1"));
    cr_assert_not(lob_session_was_restarted("host a pid 1 job 77 ranks 2", starts[1]), "an older version's");
}

static char *text_of_start(const char *restarts, const char *explained) {
    g_setenv("LOBULE_CHAIN", "77", true);
    g_setenv("LOBULE_CHAIN_RESTARTS", restarts, true);
    g_setenv("LOBULE_CHAIN_EXPLAINED", explained, true);
    return lob_session_text("cpu x", 2);
}

/* It comes back after crashes as well, and knows which of its starts followed one. */
Test(mpi_record, of_the_batch_scripts_restarts_those_after_crashes_explain_nothing) {
    g_autofree char *first = text_of_start("0", "0"), *preempted = text_of_start("1", "1"),
                    *crashed = text_of_start("2", "1");
    cr_assert(lob_session_was_restarted(first, preempted));
    cr_assert_not(lob_session_was_restarted(preempted, crashed));
}

Test(mpi_record, deaths_alone_count_in_a_row_only) {
    LobPartRecord *record = lob_part_record_new(&part);
    LobSlideRecord *a = &record->slides[0];
    session(record, "a", 0, "alone");
    session(record, "a", 0, "alone");
    session(record, "a", 0, "alone");
    cr_assert_eq(a->lone_deaths, 2);
    say(record, LOB_J_RANGE, "a", 0, 16, "");
    cr_assert_eq(a->lone_deaths, 0, "it made progress");
    say(record, LOB_J_LEASE, "a", 16, 16, "alone");
    lob_part_record_close(record, NULL);
    cr_assert_eq(a->lone_deaths, 1);
    say(record, LOB_J_QUARANTINE, "a", 0, 0, "why");
    cr_assert(a->quarantined);
    lob_part_record_free(record);
}

Test(mpi_record, crc_of_a_slide_is_that_of_its_bytes) {
    enum { ROW = 6 };
    uint8_t bytes[100 * ROW];
    LobPartRecord *record = lob_part_record_new(&part);
    const uint32_t cuts[] = {0, 16, 48, 64, 100};
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 37 + i / 7);
    for (size_t k = 4; k-- > 0;) {
        const uint32_t n = cuts[k + 1] - cuts[k];
        const LobDoneRange range = {
            .first = cuts[k], .count = n, .crc = lob_crc32c(0, bytes + cuts[k] * ROW, n * ROW)};
        lob_slide_record_add(&record->slides[0], &range);
    }
    cr_assert_eq(lob_slide_record_crc(&record->slides[0], ROW), lob_crc32c(0, bytes, sizeof bytes));
    lob_part_record_free(record);
}
