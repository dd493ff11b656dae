/* Times concordance with its variance, and bootstraps of it. Usage: stats_bench concordance N FILE.csv
 * (writes the data and prints seconds, C, se), stats_bench bootstrap PATIENTS CENTERS REPLICATES [FIRST]. */
#include "stats/stats.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    size_t n;
    double *time, *score;
    uint8_t *event;
    uint32_t *center;
} Cohort;

static Cohort cohort_new(size_t n, uint32_t centers) {
    Cohort c = {n, g_new(double, n), g_new(double, n), g_new(uint8_t, n), g_new(uint32_t, n)};
    LobRng rng;
    lob_rng_init(&rng, 1, "stats bench");
    for (size_t i = 0; i < n; i++) {
        c.score[i] = lob_rng_normal(&rng);
        double death = 1500 * lob_rng_exponential(&rng) * exp(-.6 * c.score[i]);
        double end = 700 + 1700 * lob_rng_uniform(&rng);
        c.time[i] = floor(fmin(death, end));
        c.event[i] = death <= end;
        c.center[i] = lob_rng_below(&rng, centers);
    }
    return c;
}

static int concordance(size_t n, const char *path) {
    Cohort c = cohort_new(n, 20);
    FILE *f = fopen(path, "w");
    if (!f)
        return 1;
    fprintf(f, "time,event,score\n");
    for (size_t i = 0; i < n; i++)
        fprintf(f, "%.17g,%d,%.17g\n", c.time[i], c.event[i], c.score[i]);
    if (fclose(f) != 0)
        return 1;
    LobFollowUp data = {.n = n, .time = c.time, .event = c.event};
    double best = INFINITY;
    LobConcordance result = {0};
    for (int round = 0; round < 5; round++) {
        lob_concordance_clear(&result);
        double start = lob_clock();
        lob_concordance(&result, &data, c.score, NULL);
        best = fmin(best, lob_clock() - start);
    }
    printf("%.6f %.15g %.15g\n", best, result.c, result.se);
    return 0;
}

static void c_of_counts(const double *count, size_t n, double *out, void *plan) {
    (void)n;
    *out = lob_concordance_plan_c(plan, count);
}

static int bootstrap(size_t n, uint32_t centers, size_t replicates, size_t first) {
    Cohort c = cohort_new(n, centers);
    LobFollowUp data = {.n = n, .time = c.time, .event = c.event, .stratum = c.center};
    double start = lob_clock();
    LobConcordancePlan *plan = lob_concordance_plan_new(&data, c.score);
    LobBootstrap b;
    lob_bootstrap(&b, c.center, n, replicates, first, 1, 1, c_of_counts, plan);
    printf("%zu patients, %u centers, replicates %zu to %zu: %.2f s; C %.4f (%.4f to %.4f)\n", n, centers,
           first, first + replicates - 1, lob_clock() - start, b.estimate[0].estimate, b.estimate[0].lower,
           b.estimate[0].upper);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "concordance") == 0)
        return concordance(strtoul(argv[2], NULL, 10), argv[3]);
    if (argc >= 5 && strcmp(argv[1], "bootstrap") == 0)
        return bootstrap(strtoul(argv[2], NULL, 10), (uint32_t)strtoul(argv[3], NULL, 10),
                         strtoul(argv[4], NULL, 10), argc > 5 ? strtoul(argv[5], NULL, 10) : 0);
    fprintf(stderr,
            "usage: stats_bench concordance N FILE.csv | bootstrap PATIENTS CENTERS REPLICATES [FIRST]\n");
    return 2;
}
