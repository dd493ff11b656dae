/* The lung cancer table of tests/oracles/stats_lung.csv and a comparison by significant digits. */
#ifndef STATS_FIXTURE_H
#define STATS_FIXTURE_H

#include "stats/stats.h"

#include <criterion/criterion.h>
#include <math.h>

typedef struct {
    size_t n;
    double *time, *age, *sex, *ecog, *lp; /* lp = .01 age + .5 ecog - .5 sex */
    uint8_t *event;
    uint32_t *sex_label, *ecog_label, *age_mod_10;
    LobFollowUp followup;
} Lung;

void lung_read(Lung *lung);
void lung_clear(Lung *lung);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Lung, lung_clear)

/* A published figure is rounded at its last digit, so half a unit there is allowed, and no more. */
void expect_digits(double value, const char *golden, const char *what);
void expect_close(double value, double wanted, double tolerance, const char *what);

#endif
