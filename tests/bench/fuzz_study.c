/* libFuzzer over the study file's reader.
 *
 *   clang -g -O1 -D_GNU_SOURCE -fsanitize=fuzzer,address,undefined -Isrc tests/bench/fuzz_study.c \
 *     src/base/[a-z]*.c src/cohort/[a-z]*.c $(pkg-config --cflags --libs glib-2.0 yaml-0.1 jansson libcrypto)
 * \ -lcsv -lm -o fuzz_study
 *   ./fuzz_study -max_total_time=120 -dict=tests/bench/fuzz_study.dict CORPUS configs
 */
#include "cohort/cohort_internal.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    g_autoptr(GError) error = NULL;
    g_autoptr(LobStudy) study = lob_study_parse("/dev/study.yaml", (const char *)data, size, NULL, &error);
    /* A reader either gives a study or says why not, never both or neither. */
    if ((study == NULL) != (error != NULL))
        abort();
    if (error != NULL && !g_error_matches(error, LOB_ERROR, LOB_ERROR_INPUT))
        abort();
    if (study != NULL && (study->name == NULL || study->patients == NULL || study->output == NULL))
        abort();
    return 0;
}
