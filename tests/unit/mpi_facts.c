/* A plan's facts and grids survive their journey, and damage does not pass. */
#include "mpi/plan_facts.h"

#include <criterion/criterion.h>
#include <glib/gstdio.h>
#include <math.h>

static const LobPlanFacts example = {.width = 123456,
                                     .height = 98765,
                                     .mpp_x = 0.2521,
                                     .mpp_y = 0.1 + 0.2,
                                     .mpp_source = LOB_MPP_VENDOR,
                                     .quickhash = "abc'\"\\ def",
                                     .file_size = 1LL << 40,
                                     .file_mtime = 1700000000123456789LL,
                                     .tiles = 4000000000U,
                                     .grid_crc = 0xdeadbeef,
                                     .quality = {.tissue_mm2 = 1.0 / 3, .blur = 1e-30},
                                     .seconds = 2.5};

Test(mpi_facts, text_gives_back_every_bit) {
    LobPlanFacts facts;
    g_autofree char *text = lob_plan_facts_text(&example);
    cr_assert(lob_plan_facts_parse(text, &facts), "%s", text);
    cr_assert_eq(facts.width, example.width);
    cr_assert_eq(facts.file_mtime, example.file_mtime);
    cr_assert_eq(facts.tiles, example.tiles);
    cr_assert_eq(facts.grid_crc, example.grid_crc);
    cr_assert_str_eq(facts.quickhash, example.quickhash);
    cr_assert(facts.mpp_y == example.mpp_y && facts.mpp_x == example.mpp_x);
    cr_assert(facts.quality.tissue_mm2 == example.quality.tissue_mm2);
    cr_assert(facts.quality.blur == example.quality.blur);
}

Test(mpi_facts, values_without_meaning_survive_too) {
    LobPlanFacts strange = example, facts;
    strange.quality.blur = NAN;
    strange.quality.fold_fraction = INFINITY;
    g_autofree char *text = lob_plan_facts_text(&strange);
    cr_assert(lob_plan_facts_parse(text, &facts), "%s", text);
    cr_assert(isnan(facts.quality.blur));
    cr_assert(isinf(facts.quality.fold_fraction));
    cr_assert_not(lob_plan_facts_parse("(1, 2)", &facts));
    cr_assert_not(lob_plan_facts_parse("", &facts));
}

Test(mpi_facts, stains_survive_and_older_plans_lack_them) {
    LobPlanFacts stained = example, facts;
    stained.stains = (LobStains){.hema = {0.1, 0.2, 0.3}, .strength = {1.5, NAN}, .sd = {7, 8, 9}};
    stained.quality.unknown = 0.125;
    g_autofree char *text = lob_plan_facts_text(&stained);
    cr_assert(lob_plan_facts_parse(text, &facts), "%s", text);
    cr_assert(facts.stains.hema[2] == 0.3 && facts.stains.sd[2] == 9 && isnan(facts.stains.strength[1]));
    cr_assert(facts.quality.unknown == 0.125);
    double columns[LOB_STORE_STAINS];
    lob_plan_facts_stain(&facts, columns);
    cr_assert(columns[0] == 0.1 && columns[6] == 1.5);
    char *end = strrchr(text, '[');
    cr_assert_not_null(end);
    g_strlcpy(end - 2, ")", 2);
    cr_assert(lob_plan_facts_parse(text, &facts), "%s", text);
    cr_assert(facts.tiles == example.tiles && facts.seconds == 2.5);
    cr_assert(isnan(facts.stains.hema[0]) && facts.quality.unknown == 0);
}

Test(mpi_facts, a_changed_file_is_named) {
    LobSlideInfo info = {.file_size = example.file_size, .file_mtime = example.file_mtime};
    g_autoptr(GError) err = NULL;
    g_strlcpy(info.quickhash, example.quickhash, sizeof info.quickhash);
    cr_assert(lob_plan_facts_same_file(&example, &info, NULL));
    info.file_mtime++;
    cr_assert_not(lob_plan_facts_same_file(&example, &info, &err));
    cr_assert_eq(err->code, LOB_ERROR_SLIDE);
    cr_assert(strstr(err->message, "modification time"));
}

Test(mpi_facts, a_grid_comes_back_whole_or_not_at_all) {
    g_autofree char *dir = g_dir_make_tmp("lob-grid-XXXXXX", NULL), *path = g_build_filename(dir, "g", NULL);
    int32_t xy[3][2] = {{1, 2}, {300000, 4}, {5, 600000}};
    uint8_t tissue[3] = {25, 50, 100}, pen[3] = {0, 7, 255}, fold[3] = {1, 2, 3};
    const LobGrid grid = {.n = 3, .xy = xy, .tissue = tissue, .pen = pen, .fold = fold};
    g_auto(LobGrid) back = {0};
    g_autoptr(GError) err = NULL;
    uint32_t crc = 0;
    cr_assert(lob_plan_grid_save(path, &grid, &crc, &err));
    cr_assert(lob_plan_grid_load(path, 3, crc, &back, &err));
    cr_assert_eq(memcmp(back.xy, xy, sizeof xy), 0);
    cr_assert_eq(memcmp(back.tissue, tissue, sizeof tissue), 0);
    cr_assert(memcmp(back.pen, pen, sizeof pen) == 0 && memcmp(back.fold, fold, sizeof fold) == 0);
    cr_assert_not(lob_plan_grid_load(path, 2, crc, &back, NULL));
    cr_assert_not(lob_plan_grid_load(path, 3, crc ^ 1, &back, NULL));
    uint8_t old[3 * 8 + 3];
    memcpy(old, xy, sizeof xy);
    memcpy(old + sizeof xy, tissue, sizeof tissue);
    cr_assert(lob_file_replace(path, old, sizeof old, &err));
    cr_assert(lob_plan_grid_load(path, 3, lob_crc32c(0, old, sizeof old), &back, &err),
              "an earlier version's");
    cr_assert(back.pen == NULL && back.fold == NULL && back.tissue[2] == 100);
    g_unlink(path);
    cr_assert_not(lob_plan_grid_load(path, 3, crc, &back, &err));
    cr_assert_eq(err->code, LOB_ERROR_IO);
}
