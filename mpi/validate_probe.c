/* How strongly the features carry the center: the center guessed from patients' mean embeddings. No outcome
 * is read. */
#include "mpi/validate.h"
#include "stats/stats.h"

#include <math.h>

#define FOLDS 5
#define MOST_PATIENTS 4000
#define MOST_TILES 256  /* of a patient, evenly spaced */
#define MOST_COLUMNS 64 /* wider embeddings are projected at random */

/* out [dim]: mean over a patient's tiles. */
static void mean_of(const LobBags *bags, uint32_t p, double *out) {
    const uint64_t step = bags->count[p] / MOST_TILES + 1;
    double n = 0;
    for (size_t k = 0; k < bags->dim; k++)
        out[k] = 0;
    for (uint64_t r = 0; r < bags->count[p]; r += step, n++)
        for (size_t k = 0; k < bags->dim; k++)
            out[k] += (double)lob_float_from_half(bags->features[(bags->first[p] + r) * bags->dim + k]);
    for (size_t k = 0; k < bags->dim; k++)
        out[k] /= n;
}

/* Signs of a random projection, [columns][dim]; NULL where none is needed. */
static double *projection(size_t dim, uint64_t seed) {
    if (dim <= MOST_COLUMNS)
        return NULL;
    LobRng rng;
    lob_rng_init(&rng, seed, "center probe");
    double *signs = g_new(double, MOST_COLUMNS *dim);
    for (size_t i = 0; i < MOST_COLUMNS * dim; i++)
        signs[i] = lob_rng_below(&rng, 2) ? 1 : -1;
    return signs;
}

static LobProbe probe(const LobCohort *cohort, const LobBags *bags) {
    const size_t n_patients = cohort->n_patients, step = n_patients / MOST_PATIENTS + 1;
    const size_t columns = MIN(bags->dim, MOST_COLUMNS);
    g_autofree double *signs = projection(bags->dim, cohort->study->validation.seed);
    g_autofree double *mean = g_new(double, bags->dim), *x = g_new(double, (n_patients + 1) * columns);
    g_autofree uint32_t *center = g_new(uint32_t, n_patients + 1), *fold = g_new(uint32_t, n_patients + 1);
    size_t n = 0;
    for (uint32_t p = 0; p < n_patients; p += (uint32_t)step) {
        if (bags->count[p] == 0)
            continue;
        mean_of(bags, p, mean);
        for (size_t c = 0; c < columns; c++) {
            double v = signs ? 0 : mean[c];
            for (size_t k = 0; signs && k < bags->dim; k++)
                v += signs[c * bags->dim + k] * mean[k];
            x[n * columns + c] = v;
        }
        center[n] = cohort->patients[p].center;
        fold[n] = (uint32_t)(n % FOLDS);
        n++;
    }
    return lob_class_probe(x, n, columns, center, cohort->n_centers, fold, FOLDS);
}

bool lob_probe_write(const LobPlan *plan, const LobResident *resident, GError **err) {
    const LobBags *bags = &resident->bags;
    if (!resident->origin)
        return true;
    LobProbe found = {NAN, NAN, 0, "patients are shared out over ranks: not computed"};
    if (bags->features && !bags->owner)
        found = probe(plan->cohort, bags);
    g_autoptr(LobCsv) csv =
        lob_csv_new((const char *[]){"accuracy", "largest_center", "patients", "note", NULL});
    lob_csv_number(csv, found.accuracy);
    lob_csv_number(csv, found.largest);
    lob_csv_integer(csv, (int64_t)found.n);
    lob_csv_text(csv, found.reason               ? found.reason
                      : bags->dim > MOST_COLUMNS ? "64 random projections of the mean over tiles"
                                                 : "mean over tiles");
    lob_csv_end_row(csv);
    g_autofree char *path = lob_study_out(plan->cohort->study, "center_probe.csv");
    return lob_csv_save(csv, path, err);
}
