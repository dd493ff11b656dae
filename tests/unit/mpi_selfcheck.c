/* What is looked at before a job starts. */
#include "hdf5io/hdf5io.h"
#include "mpi/selfcheck.h"
#include "mpi/space.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

Test(mpi_selfcheck, several_hosts_are_refused_on_nfs) {
    g_autoptr(GError) err = NULL;
    setenv("LOB_TEST_FILESYSTEM", "NFS", 1);
    cr_assert_str_eq(lob_space_kind("/"), "NFS");
    cr_assert(lob_space_suits("/", 1, false, &err));
    cr_assert_not(lob_space_suits("/", 2, false, &err));
    cr_assert(g_error_matches(err, LOB_ERROR, LOB_ERROR_INPUT));
    cr_assert(strstr(err->message, "NFS") && strstr(err->message, "shared_writes"), "%s", err->message);
    cr_assert(lob_space_suits("/", 2, true, NULL));
    setenv("LOB_TEST_FILESYSTEM", "Lustre", 1);
    cr_assert(lob_space_suits("/", 2, false, NULL));
}

Test(mpi_selfcheck, what_does_not_fit_is_said) {
    g_autoptr(GError) err = NULL;
    cr_assert(lob_space_fits(".", 4096, 1, &err), "%s", err ? err->message : "");
    cr_assert_not(lob_space_fits(".", (uint64_t)1 << 60, 1, &err));
    cr_assert(g_error_matches(err, LOB_ERROR, LOB_ERROR_IO));
    cr_assert(strstr(err->message, "GiB are needed"), "%s", err->message);
    g_clear_error(&err);
    cr_assert_not(lob_space_fits("/nowhere", 1, 1, &err));
}

Test(mpi_selfcheck, rows_are_compared_by_their_norm) {
    const float a[] = {3, 4, NAN, 0}, b[] = {3, 4.5F, NAN, 0}, c[] = {3, 4, 1, 0},
                d[] = {3, INFINITY, NAN, 0};
    cr_assert_eq(lob_rows_differ(a, a, 4), 0);
    cr_assert_float_eq(lob_rows_differ(a, b, 4), 0.1, 1e-9);
    cr_assert(isinf(lob_rows_differ(a, c, 4)));
    cr_assert(isinf(lob_rows_differ(a, d, 4)));
}

Test(mpi_selfcheck, a_store_keeps_its_first_row) {
    const LobWorld world = {.size = 1, .node_size = 1};
    g_autofree char *dir = g_dir_make_tmp("lob-selfcheck-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "row", NULL);
    const float row[] = {1, 2, 3}, close[] = {1, 2, 3.001F}, far[] = {1, 2, 4};
    g_autoptr(GError) err = NULL;
    cr_assert(lob_selfcheck_sgemm(&err), "%s", err ? err->message : "");
    cr_assert(lob_selfcheck_rows(&world, row, 3, "one", path, &err));
    cr_assert(lob_selfcheck_rows(&world, close, 3, "one", path, &err));
    cr_assert_not(lob_selfcheck_rows(&world, far, 3, "one", path, &err));
    cr_assert(g_error_matches(err, LOB_ERROR, LOB_ERROR_INTERNAL));
    g_clear_error(&err);
    cr_assert(lob_selfcheck_rows(&world, far, 3, "another encoder", path, &err),
              "a new identity begins anew");
    cr_assert(lob_selfcheck_rows(&world, far, 3, "another encoder", path, &err));
    cr_assert(g_file_test(path, G_FILE_TEST_EXISTS));
}

/* As Lustre lays it out: magic, pattern, object (16 bytes), stripe size, stripe count. */
Test(mpi_selfcheck, stripes_are_read_from_what_lustre_tells) {
    uint8_t lov[56] = {0xD0, 0x0B, 0xD1, 0x0B, 1, 0, 0, 0};
    lov[26] = 0x40;
    lov[28] = 8;
    cr_assert_eq(lob_stripes_of(lov, sizeof lov), 8);
    lov[2] = 0xD3;
    cr_assert_eq(lob_stripes_of(lov, sizeof lov), 8);
    cr_assert_eq(lob_stripes_of(lov, 29), -1, "cut off");
    lov[2] = 0xD6;
    cr_assert_eq(lob_stripes_of(lov, sizeof lov), -1, "a composite layout has several");
    cr_assert_eq(lob_stripes_of(lov, 0), -1);
}

Test(mpi_selfcheck, each_module_is_told_in_its_own_words) {
    cr_assert_str_eq(lob_store_stripe_hint("romio321"), "striping_factor");
#ifdef OPEN_MPI
    cr_assert_str_eq(lob_store_stripe_hint(NULL), "stripe_width");
    cr_assert_str_eq(lob_store_stripe_hint("ompio"), "stripe_width");
#endif
}
