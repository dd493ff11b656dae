/* Where the tokens of a batch stand, so that a row's place in its group never tells how many tiles there are.
 */
#include "encoder/vit_internal.h"

#include <criterion/criterion.h>

enum { GROUP = 12, MOST_TILES = 9 };

static size_t half_of(size_t row) {
    return row % GROUP / (GROUP / 2);
}

static void check_batch(const LobVitRows *rows, const LobVitRows *alone, size_t n) {
    const size_t all = lob_vit_rows_all(rows, n);
    g_autofree bool *taken = g_new0(bool, all);
    cr_assert_eq(all % GROUP, 0);
    cr_assert_leq(all, n * (rows->tokens + GROUP) + GROUP);
    for (size_t b = 0; b < n; b++)
        for (size_t t = 0; t < rows->tokens; t++) {
            const size_t row = lob_vit_rows_token(rows, n, b, t);
            cr_assert_lt(row, all);
            cr_assert_not(taken[row], "tile %zu token %zu of %zu: row %zu is another's", b, t, n, row);
            taken[row] = true;
            cr_assert_eq(half_of(row), half_of(lob_vit_rows_token(alone, 1, 0, t)), "tile %zu token %zu", b,
                         t);
        }
}

Test(vit_rows, a_token_has_the_same_half_of_a_group_in_every_batch) {
    for (size_t tokens = 2; tokens < 270; tokens++) {
        LobVitRows rows;
        lob_vit_rows_init(&rows, tokens, GROUP);
        for (size_t n = 1; n <= MOST_TILES; n++)
            check_batch(&rows, &rows, n);
    }
}

Test(vit_rows, tiles_stand_one_behind_another_where_products_have_no_groups) {
    LobVitRows rows;
    lob_vit_rows_init(&rows, 197, 0);
    cr_expect_eq(lob_vit_rows_memory(&rows, 3), 3 * 197);
    cr_expect_eq(lob_vit_rows_token(&rows, 3, 2, 5), 2 * 197 + 5);
}

Test(vit_rows, tails_of_two_tiles_of_a_vit_share_a_group) {
    LobVitRows rows;
    lob_vit_rows_init(&rows, 197, GROUP);
    cr_expect_eq(lob_vit_rows_all(&rows, 8), 8 * 192 + 4 * GROUP);
}

Test(vit_rows, a_tail_goes_to_its_place_and_comes_back) {
    enum { TOKENS = 29, TILES = 3, WIDTH = 2 };
    LobVitRows rows;
    lob_vit_rows_init(&rows, TOKENS, GROUP);
    g_autofree float *memory = g_new0(float, WIDTH *lob_vit_rows_memory(&rows, TILES));
    for (size_t b = 0; b < TILES; b++) {
        float *tile = memory + lob_vit_rows_tile(&rows, TILES, b) * WIDTH;
        for (size_t i = 0; i < TOKENS * WIDTH; i++)
            tile[i] = (float)(100 * b * WIDTH + i);
        lob_vit_rows_put_tail(&rows, TILES, b, memory, WIDTH);
    }
    for (size_t b = TILES; b-- > 0;) {
        const float *tile = memory + lob_vit_rows_tile(&rows, TILES, b) * WIDTH;
        lob_vit_rows_take_tail(&rows, TILES, b, memory, WIDTH);
        for (size_t i = 0; i < TOKENS * WIDTH; i++)
            cr_expect_eq(tile[i], (float)(100 * b * WIDTH + i), "tile %zu value %zu", b, i);
    }
}
