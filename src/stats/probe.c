/* Can a class (a center) be read off some columns? */
#include "stats/stats_internal.h"

#include <string.h>

/* Mean 0 and SD 1 over the rows learned from; missing: the mean. */
static void scale_columns(const double *x, size_t n, size_t p, const uint8_t *held, double *out) {
    for (size_t k = 0; k < p; k++) {
        double m = 0, sum = 0, square = 0;
        for (size_t i = 0; i < n; i++)
            if (!held[i] && !isnan(x[i * p + k])) {
                m++;
                sum += x[i * p + k];
                square += x[i * p + k] * x[i * p + k];
            }
        const double mean = m > 0 ? sum / m : 0, sd = m > 0 ? sqrt(fmax(0, square / m - mean * mean)) : 0;
        for (size_t i = 0; i < n; i++)
            out[i * p + k] = isnan(x[i * p + k]) || sd < 1e-12 ? 0 : (x[i * p + k] - mean) / sd;
    }
}

static bool probe_fold(const double *x, size_t n, size_t p, const uint32_t *class_of, size_t n_classes,
                       const uint8_t *held, size_t *right) {
    g_autofree double *scaled = g_new(double, n *p + 1), *learn = g_new(double, n *p + 1),
                      *ask = g_new(double, n *p + 1);
    g_autofree uint32_t *known = g_new(uint32_t, n + 1), *truth = g_new(uint32_t, n + 1);
    size_t m = 0, asked = 0;
    scale_columns(x, n, p, held, scaled);
    for (size_t i = 0; i < n; i++) {
        memcpy(held[i] ? ask + asked * p : learn + m * p, scaled + i * p, p * sizeof *scaled);
        if (held[i])
            truth[asked++] = class_of[i];
        else
            known[m++] = class_of[i];
    }
    g_auto(LobMultinomial) fit = {0};
    lob_multinomial_fit(&fit, learn, m, p, known, n_classes, NULL, 1);
    if (fit.reason || !fit.converged)
        return false;
    g_autofree double *chance = g_new(double, asked *n_classes + 1);
    lob_multinomial_predict(&fit, ask, asked, chance);
    for (size_t i = 0; i < asked; i++) {
        size_t best = 0;
        for (size_t c = 1; c < n_classes; c++)
            best = chance[i * n_classes + c] > chance[i * n_classes + best] ? c : best;
        *right += best == truth[i];
    }
    return true;
}

LobProbe lob_class_probe(const double *x, size_t n, size_t p, const uint32_t *class_of, size_t n_classes,
                         const uint32_t *fold, size_t n_folds) {
    LobProbe probe = {.accuracy = NAN, .largest = NAN, .n = n};
    g_autofree uint8_t *held = g_new(uint8_t, n + 1);
    size_t right = 0, largest = 0;
    if (n == 0 || n_classes < 2) {
        probe.reason = "no rows, or one class alone";
        return probe;
    }
    for (uint32_t c = 0; c < n_classes; c++) {
        size_t of_class = 0;
        for (size_t i = 0; i < n; i++)
            of_class += class_of[i] == c;
        largest = MAX(largest, of_class);
    }
    probe.largest = (double)largest / (double)n;
    for (uint32_t f = 0; f < n_folds && !probe.reason; f++) {
        for (size_t i = 0; i < n; i++)
            held[i] = fold[i] == f;
        if (!probe_fold(x, n, p, class_of, n_classes, held, &right))
            probe.reason = "a class has no row to learn from in some fold";
    }
    if (!probe.reason)
        probe.accuracy = (double)right / (double)n;
    return probe;
}
