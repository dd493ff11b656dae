/* Preserved-site folds (Howard et al. 2021): a few folds, each of whole centers, so that no center is both
 * trained on and tested, with patients, outcomes and arms in balance. What Howard solves as a quadratic
 * programme is done here greedily, largest center first, and then by moves and swaps until none helps: with
 * the few centers this is for, the difference is nil. */
#include "cohort/cohort_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What is to be balanced: patients, then each endpoint's outcomes, then arms. */
typedef struct {
    size_t n_centers, n_counts, n_folds;
    double *share; /* [center][count] of the cohort's total */
    double *load;  /* [fold][count] */
    size_t *fold;  /* [center] */
} Balance;

static size_t outcomes_of(const LobCohort *cohort, size_t endpoint) {
    return cohort->study->endpoints[endpoint].kind == LOB_ENDPOINT_SURVIVAL
               ? 1
               : g_strv_length(cohort->labels[endpoint]);
}

static size_t count_counts(const LobCohort *cohort) {
    size_t n = 1 + cohort->study->n_arms;
    for (size_t e = 0; e < cohort->study->n_endpoints; e++)
        n += outcomes_of(cohort, e);
    return n;
}

static void count_patient(const LobCohort *cohort, size_t p, double *counts) {
    size_t at = 1;
    counts[0]++;
    for (size_t e = 0; e < cohort->study->n_endpoints; e++) {
        int8_t event = cohort->event[e][p];
        bool survival = cohort->study->endpoints[e].kind == LOB_ENDPOINT_SURVIVAL;
        if (survival ? event == 1 : event >= 0)
            counts[at + (survival ? 0 : (size_t)event)]++;
        at += outcomes_of(cohort, e);
    }
    if (cohort->patients[p].arm >= 0)
        counts[at + (size_t)cohort->patients[p].arm]++;
}

static void balance_init(Balance *b, const LobCohort *cohort, size_t n_folds) {
    *b = (Balance){cohort->n_centers, count_counts(cohort), n_folds, NULL, NULL, NULL};
    b->share = g_new0(double, b->n_centers * b->n_counts);
    b->load = g_new0(double, n_folds * b->n_counts);
    b->fold = g_new0(size_t, b->n_centers);
    for (size_t p = 0; p < cohort->n_patients; p++)
        if (cohort->patients[p].eligible)
            count_patient(cohort, p, b->share + cohort->patients[p].center * b->n_counts);
    for (size_t k = 0; k < b->n_counts; k++) {
        double total = 0;
        for (size_t c = 0; c < b->n_centers; c++)
            total += b->share[c * b->n_counts + k];
        for (size_t c = 0; c < b->n_centers; c++)
            b->share[c * b->n_counts + k] /= MAX(total, 1);
    }
}

static void balance_clear(Balance *b) {
    g_free(b->share);
    g_free(b->load);
    g_free(b->fold);
}

static void put(Balance *b, size_t center, size_t fold, double sign) {
    for (size_t k = 0; k < b->n_counts; k++)
        b->load[fold * b->n_counts + k] += sign * b->share[center * b->n_counts + k];
    b->fold[center] = fold;
}

/* Squared distances of the folds' shares from equal ones; patients count as much as all else together. */
static double imbalance(const Balance *b) {
    double sum = 0, equal = 1 / (double)b->n_folds;
    for (size_t f = 0; f < b->n_folds; f++)
        for (size_t k = 0; k < b->n_counts; k++) {
            double d = b->load[f * b->n_counts + k] - equal;
            sum += d * d * (k == 0 ? (double)b->n_counts : 1);
        }
    return sum;
}

static double after_move(Balance *b, size_t center, size_t fold) {
    size_t from = b->fold[center];
    put(b, center, from, -1);
    put(b, center, fold, 1);
    double value = imbalance(b);
    put(b, center, fold, -1);
    put(b, center, from, 1);
    return value;
}

static size_t in_fold(const Balance *b, size_t fold) {
    size_t n = 0;
    for (size_t c = 0; c < b->n_centers; c++)
        n += b->fold[c] == fold;
    return n;
}

static void move(Balance *b, size_t center, size_t fold) {
    put(b, center, b->fold[center], -1);
    put(b, center, fold, 1);
}

/* Makes the first move or swap that helps; whether there was one. A fold never loses its last center. */
static bool improve(Balance *b) {
    const double now = imbalance(b) - 1e-12;
    for (size_t c = 0; c < b->n_centers; c++)
        for (size_t f = 0; f < b->n_folds; f++)
            if (f != b->fold[c] && in_fold(b, b->fold[c]) > 1 && after_move(b, c, f) < now) {
                move(b, c, f);
                return true;
            }
    for (size_t c = 0; c < b->n_centers; c++)
        for (size_t d = c + 1; d < b->n_centers; d++) {
            size_t from = b->fold[c], to = b->fold[d];
            if (from == to)
                continue;
            move(b, c, to);
            move(b, d, from);
            if (imbalance(b) < now)
                return true;
            move(b, c, from);
            move(b, d, to);
        }
    return false;
}

/* Largest first, each into the emptiest fold; n_folds <= n_centers, so every fold gets one. */
static void deal(Balance *b) {
    g_autofree bool *dealt = g_new0(bool, b->n_centers);
    for (size_t round = 0; round < b->n_centers; round++) {
        size_t center = b->n_centers, fold = 0;
        for (size_t c = 0; c < b->n_centers; c++)
            if (!dealt[c] &&
                (center == b->n_centers || b->share[c * b->n_counts] > b->share[center * b->n_counts]))
                center = c;
        for (size_t f = 1; f < b->n_folds; f++)
            if (b->load[f * b->n_counts] < b->load[fold * b->n_counts])
                fold = f;
        dealt[center] = true;
        put(b, center, round < b->n_folds ? round : fold, 1);
    }
}

LobFolds *lob_folds_preserved(const LobCohort *cohort, GError **err) {
    const size_t n_folds = (size_t)cohort->study->validation.folds;
    if (n_folds > cohort->n_centers) {
        lob_fail(err, LOB_ERROR_INPUT,
                 "%s: validation.folds: %zu folds of whole centers, and there are %zu centers",
                 cohort->study->path, n_folds, cohort->n_centers);
        return NULL;
    }
    Balance b;
    balance_init(&b, cohort, n_folds);
    deal(&b);
    while (improve(&b))
        continue;
    LobFolds *folds = lob_folds_new(cohort, 1, (int)n_folds);
    for (size_t f = 0; f < n_folds; f++) {
        g_autoptr(GString) name = g_string_new(NULL);
        for (size_t c = 0; c < cohort->n_centers; c++)
            if (b.fold[c] == f)
                g_string_append_printf(name, "%s%s", name->len > 0 ? " + " : "", cohort->centers[c]);
        folds->names[f] = g_string_free(g_steal_pointer(&name), FALSE);
    }
    for (size_t p = 0; p < cohort->n_patients; p++)
        if (cohort->patients[p].eligible)
            folds->fold[p] = (int16_t)b.fold[cohort->patients[p].center];
    balance_clear(&b);
    return folds;
}
