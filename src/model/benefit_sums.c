/* What the benefit stage needs of a patient's tiles: sums from which every fold's scale and pooled vectors
 * follow, because scaling is linear. The tiles themselves are then read once, wherever they are. */
#include "model/benefit.h"
#include "model/model_internal.h"

#include <string.h>

void lob_bag_sums_patient(const LobBags *bags, uint32_t patient, double *own) {
    const size_t d = bags->dim;
    const uint64_t first = bags->first[patient], count = bags->count[patient];
    g_autofree float *row = g_new(float, d + 1);
    memset(own, 0, LOB_BAG_SUMS * d * sizeof *own);
    for (uint64_t r = 0; r < count; r++) {
        double *half = own + (r % 2) * d, *square = own + 2 * d;
        lob_floats_from_halves(row, bags->features + (first + r) * d, d);
        for (size_t j = 0; j < d; j++) {
            half[j] += (double)row[j];
            square[j] += (double)row[j] * (double)row[j];
        }
    }
}

void lob_bag_sums_init(LobBagSums *sums, size_t n_patients, size_t dim) {
    *sums = (LobBagSums){.n_patients = n_patients,
                         .dim = dim,
                         .count = g_new0(uint64_t, n_patients + 1),
                         .sums = g_new0(double, n_patients *LOB_BAG_SUMS *dim + 1)};
}

double *lob_bag_sums_at(const LobBagSums *sums, uint32_t patient) {
    return sums->sums + (size_t)patient * LOB_BAG_SUMS * sums->dim;
}

void lob_bag_sums_of(LobBagSums *sums, const LobBags *bags) {
    lob_bag_sums_init(sums, bags->n_patients, bags->dim);
    for (uint32_t p = 0; p < bags->n_patients; p++) {
        sums->count[p] = bags->count[p];
        lob_bag_sums_patient(bags, p, lob_bag_sums_at(sums, p));
    }
}

double lob_bag_sums_mean(const LobBagSums *sums, uint32_t patient, size_t column) {
    const double *own = lob_bag_sums_at(sums, patient);
    return (own[column] + own[sums->dim + column]) / (double)sums->count[patient];
}

void lob_bag_sums_clear(LobBagSums *sums) {
    g_free(sums->count);
    g_free(sums->sums);
    *sums = (LobBagSums){0};
}
