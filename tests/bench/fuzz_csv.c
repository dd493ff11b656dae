/* libFuzzer over tables: the CSV reader, then the same bytes as a cohort's patients with its folds and views.
 *
 *   clang -g -O1 -D_GNU_SOURCE -fsanitize=fuzzer,address,undefined -Isrc tests/bench/fuzz_csv.c \
 *     src/base/[a-z]*.c src/cohort/[a-z]*.c $(pkg-config --cflags --libs glib-2.0 yaml-0.1 jansson libcrypto)
 * \ -lcsv -lm -o fuzz_csv
 *   ./fuzz_csv -max_total_time=120 CORPUS
 */
#include "base/base_internal.h"
#include "cohort/cohort_internal.h"

#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char study_text[] = "study: fuzz\n"
                                 "cohort: {patients: /dev/null}\n"
                                 "features: /dev/null\n"
                                 "endpoints:\n"
                                 "  - {name: os, time: t, event: e, competing: e, landmark: 10}\n"
                                 "  - {name: grade, kind: multiclass, label: g}\n"
                                 "eligible: [a >= 18]\n"
                                 "arms:\n"
                                 "  column: arm\n"
                                 "  levels: {n: [0,0], t: [1,0], s: [0,1], b: [1,1]}\n"
                                 "  start: {t: td, s: sd}\n"
                                 "covariates: [a, x]\n";

static void read_table(const uint8_t *data, size_t size) {
    g_autoptr(GError) error = NULL;
    g_autoptr(LobTable) table = lob_table_parse("fuzz.csv", (const char *)data, size, &error);
    if ((table == NULL) != (error != NULL))
        abort();
    for (size_t row = 0; table != NULL && row < lob_table_rows(table); row++)
        for (size_t column = 0; column < lob_table_columns(table); column++) {
            double value = 0;
            if (lob_table_number(table, row, (int)column, &value, NULL) && isinf(value))
                abort();
        }
}

static void make_views(const LobCohort *cohort) {
    g_autoptr(LobFolds) folds = lob_folds_make(cohort, NULL);
    for (size_t e = 0; folds != NULL && e < cohort->study->n_endpoints; e++)
        for (int fold = 0; fold < folds->folds; fold++) {
            g_autoptr(LobView) view = lob_view_new(cohort, folds, e, 0, fold, 1, NULL);
            for (size_t i = 0; view != NULL && i < cohort->n_patients * view->n_covariates; i++)
                if (!isfinite(view->covariates[i]))
                    abort();
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static LobStudy *study;
    if (study == NULL) {
        lob_log_setup((LobLogLevel)(LOB_LOG_ERROR + 1), 0);
        study = lob_study_parse("/dev/study.yaml", study_text, sizeof study_text - 1, NULL, NULL);
        if (study == NULL)
            abort();
    }
    read_table(data, size);
    int fd = memfd_create("patients", 0);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    g_free(study->patients);
    study->patients = g_strdup_printf("/proc/self/fd/%d", fd);
    g_autoptr(GError) error = NULL;
    g_autoptr(LobCohort) cohort = lob_cohort_read(study, &error);
    if ((cohort == NULL) != (error != NULL))
        abort();
    if (cohort != NULL) {
        g_autofree char *text = lob_cohort_summary(cohort);
        make_views(cohort);
    }
    close(fd);
    return 0;
}
