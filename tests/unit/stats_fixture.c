#include "stats_fixture.h"

#include <stdlib.h>
#include <string.h>

static double number_at(const LobTable *table, size_t row, const char *column) {
    g_autoptr(GError) err = NULL;
    int index = lob_table_require(table, column, &err);
    double value = NAN;
    cr_assert(index >= 0 && lob_table_number(table, row, index, &value, &err), "%s", err ? err->message : "");
    return value;
}

void lung_read(Lung *lung) {
    g_autoptr(GError) err = NULL;
    g_autoptr(LobTable) table = lob_table_read(LOB_SOURCE_DIR "/tests/oracles/stats_lung.csv", &err);
    cr_assert(table, "%s", err ? err->message : "");
    size_t n = lob_table_rows(table);
    cr_assert_eq(n, 227);
    *lung = (Lung){.n = n,
                   .time = g_new(double, n),
                   .age = g_new(double, n),
                   .sex = g_new(double, n),
                   .ecog = g_new(double, n),
                   .lp = g_new(double, n),
                   .event = g_new(uint8_t, n),
                   .sex_label = g_new(uint32_t, n),
                   .ecog_label = g_new(uint32_t, n),
                   .age_mod_10 = g_new(uint32_t, n)};
    for (size_t i = 0; i < n; i++) {
        lung->time[i] = number_at(table, i, "time");
        lung->event[i] = (uint8_t)number_at(table, i, "event");
        lung->age[i] = number_at(table, i, "age");
        lung->sex[i] = number_at(table, i, "sex");
        lung->ecog[i] = number_at(table, i, "ecog");
        lung->lp[i] = .01 * lung->age[i] + .5 * lung->ecog[i] - .5 * lung->sex[i];
        lung->sex_label[i] = (uint32_t)lung->sex[i];
        lung->ecog_label[i] = (uint32_t)lung->ecog[i];
        lung->age_mod_10[i] = (uint32_t)lung->age[i] % 10;
    }
    lung->followup = (LobFollowUp){.n = n, .time = lung->time, .event = lung->event};
}

void lung_clear(Lung *lung) {
    double *numbers[] = {lung->time, lung->age, lung->sex, lung->ecog, lung->lp};
    uint32_t *labels[] = {lung->sex_label, lung->ecog_label, lung->age_mod_10};
    for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++)
        g_free(numbers[i]);
    for (size_t i = 0; i < G_N_ELEMENTS(labels); i++)
        g_free(labels[i]);
    g_free(lung->event);
}

void expect_digits(double value, const char *golden, const char *what) {
    double wanted = strtod(golden, NULL);
    const char *point = strchr(golden, '.');
    int decimals = point ? (int)strlen(point + 1) : 0;
    double unit = pow(10, -decimals);
    cr_expect(fabs(value - wanted) <= 0.500001 * unit, "%s: %.15g, wanted %s", what, value, golden);
}

void expect_close(double value, double wanted, double tolerance, const char *what) {
    cr_expect(fabs(value - wanted) <= tolerance * fmax(1, fabs(wanted)), "%s: %.17g, wanted %.17g", what,
              value, wanted);
}
