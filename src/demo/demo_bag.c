/* Bags for --bags: rows of numbers that show the latents through a fixed random loading, with what real
 * embeddings have beside it: rows without tumour, spread inside a patient, patient noise, a center's shift.
 */
#include "demo/demo_internal.h"

#include <math.h>

enum { GRADE, IMMUNE, VESSEL, AGE_LIKE, BLOCK, STEATOSIS, FACTORS };

#define LOADING_SD 0.40
#define PATIENT_SD 0.50  /* noise all rows of a patient share */
#define ROW_SD 0.80      /* noise of a row */
#define LIVER_SHARE 0.22 /* rows without tumour */
#define CENTER_SD 0.60   /* shift by center in a quarter of the columns */

/* Loadings name the cohort's "encoder": the same for every seed, so that a model can be carried over. */
static void loadings(int dim, float *loading, float *liver) {
    LobRng rng;
    lob_rng_init(&rng, 20240917, "bag-loading");
    for (int d = 0; d < dim; d++) {
        for (int f = 0; f < FACTORS; f++)
            loading[d * FACTORS + f] = (float)(LOADING_SD * lob_rng_normal(&rng));
        liver[d] = (float)(0.5 * lob_rng_normal(&rng));
    }
}

static void center_shift(const LobDemo *demo, int center, int dim, float *shift) {
    g_autofree char *name = g_strdup_printf("bag-center/%d", center);
    LobRng rng;
    lob_rng_init(&rng, demo->options.seed, name);
    for (int d = 0; d < dim; d++) {
        double draw = lob_rng_normal(&rng);
        shift[d] = d % 4 == 0 ? (float)(CENTER_SD * draw) : 0.0F;
    }
}

void lob_demo_bag(const LobDemo *demo, size_t patient, float *out) {
    const LobDemoPatient *p = &demo->patients[patient];
    int dim = demo->options.dim, rows = demo->options.tiles;
    g_autofree float *loading = g_new(float, (gsize)dim *FACTORS);
    g_autofree float *liver = g_new(float, (gsize)dim);
    g_autofree float *base = g_new(float, (gsize)dim);
    loadings(dim, loading, liver);
    center_shift(demo, p->center, dim, base);
    g_autofree char *stream = g_strdup_printf("bag/%s", p->patient_id);
    LobRng rng;
    lob_rng_init(&rng, demo->options.seed, stream);
    for (int d = 0; d < dim; d++)
        base[d] += (float)(PATIENT_SD * lob_rng_normal(&rng));
    double nuisance[3] = {lob_rng_normal(&rng), lob_rng_normal(&rng), lob_rng_normal(&rng)};
    double vessel = (p->vessel - 0.18) / 0.384; /* standardised */
    for (int r = 0; r < rows; r++) {
        bool tumour = lob_rng_uniform(&rng) >= LIVER_SHARE;
        double factor[FACTORS] = {p->grade, p->immune, vessel, nuisance[0], nuisance[1], nuisance[2]};
        for (int f = GRADE; f <= VESSEL; f++)
            factor[f] = tumour ? factor[f] + 0.7 * lob_rng_normal(&rng) : 0.0;
        for (int d = 0; d < dim; d++) {
            double sum = (double)base[d] + ROW_SD * lob_rng_normal(&rng) + (tumour ? 0.0 : (double)liver[d]);
            for (int f = 0; f < FACTORS; f++)
                sum += (double)loading[d * FACTORS + f] * factor[f];
            out[(size_t)r * (size_t)dim + (size_t)d] = (float)sum;
        }
    }
}
