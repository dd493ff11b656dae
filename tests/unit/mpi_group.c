/* Who sits where: ranks alone, in groups that a study asks for, across nodes that hold the cohort together;
 * what is said where nodes are too few; bags shared out evenly. */
#include "mpi/validate_group.h"

#include <criterion/criterion.h>
#include <string.h>

enum { RANKS = 8 };

/* `nodes` nodes of `each` ranks, ranks placed node after node. */
static LobLayout layout_of(int nodes, int each, double memory, int *node, int *local) {
    for (int r = 0; r < nodes * each; r++) {
        node[r] = r / each;
        local[r] = r % each;
    }
    return (LobLayout){nodes * each, nodes, node, local, memory};
}

Test(mpi, ranks_train_alone_where_a_node_holds_the_cohort) {
    int node[RANKS], local[RANKS], groups;
    LobSeat seats[RANKS];
    LobLayout layout = layout_of(2, 4, 100, node, local);
    cr_assert(lob_seats_assign(&layout, 0, 100, seats, &groups, NULL));
    cr_expect_eq(groups, 8);
    for (int r = 0; r < RANKS; r++)
        cr_expect(seats[r].group == r && seats[r].rank == 0 && seats[r].size == 1);
}

Test(mpi, groups_asked_for_are_neighbours) {
    int node[RANKS], local[RANKS], groups;
    LobSeat seats[RANKS];
    LobLayout layout = layout_of(1, 8, 100, node, local);
    cr_assert(lob_seats_assign(&layout, 3, 10, seats, &groups, NULL));
    const int sizes[] = {2, 3, 3};
    int at[3] = {0};
    for (int r = 0; r < RANKS; r++) {
        cr_expect_eq(seats[r].size, sizes[seats[r].group]);
        cr_expect_eq(seats[r].rank, at[seats[r].group]++);
    }
    g_autoptr(GError) err = NULL;
    cr_expect_not(lob_seats_assign(&layout, 9, 10, seats, &groups, &err));
    cr_expect(g_error_matches(err, LOB_ERROR, LOB_ERROR_INPUT));
}

/* Two nodes hold it; of each the ranks with the same place form a group. */
Test(mpi, groups_reach_over_the_nodes_that_hold_the_cohort) {
    int node[RANKS], local[RANKS], groups;
    LobSeat seats[RANKS];
    uint8_t wanted[4];
    const uint64_t rows[] = {10, 20, 30, 20};
    LobLayout layout = layout_of(4, 2, 110, node, local);
    cr_assert(lob_seats_assign(&layout, 0, 160, seats, &groups, NULL));
    cr_expect_eq(groups, 4);
    for (int r = 0; r < RANKS; r++) {
        cr_expect_eq(seats[r].size, 2);
        cr_expect_eq(seats[r].rank, node[r] % 2);
        cr_expect_eq(seats[r].group, node[r] / 2 * 2 + local[r]);
    }
    int held[4] = {0};
    for (int k = 0; k < 4; k++) {
        cr_assert(lob_seats_fit(&layout, seats, rows, 4, 1, false, k, wanted, NULL));
        for (int p = 0; p < 4; p++)
            held[p] += wanted[p];
    }
    for (int p = 0; p < 4; p++)
        cr_expect_eq(held[p], 2, "patient %d lies on one node of each set", p);
}

Test(mpi, too_few_nodes_are_told_how_many_would_do) {
    int node[RANKS], local[RANKS], groups;
    LobSeat seats[RANKS];
    g_autoptr(GError) err = NULL;
    LobLayout layout = layout_of(2, 4, 100, node, local);
    cr_expect_not(lob_seats_assign(&layout, 0, 450, seats, &groups, &err));
    cr_expect(g_error_matches(err, LOB_ERROR, LOB_ERROR_INPUT));
    cr_expect(strstr(err->message, "5 nodes would do, this job has 2"), "%s", err->message);
}

Test(mpi, bags_are_shared_out_by_their_tiles) {
    enum { PATIENTS = 50 };
    uint64_t rows[PATIENTS], load[3] = {0};
    uint32_t owner[PATIENTS];
    for (uint64_t p = 0; p < PATIENTS; p++)
        rows[p] = p * p % 97;
    lob_seats_share_out(rows, PATIENTS, 3, owner);
    for (int p = 0; p < PATIENTS; p++)
        load[owner[p]] += rows[p];
    for (int r = 1; r < 3; r++)
        cr_expect(load[r] + 10 > load[0] && load[0] + 10 > load[r]);
}
