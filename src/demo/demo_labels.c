/* Labels of tissue and course beside recurrence-free survival. Their random stream is their own, so that
 * asking for more of them moves nothing else. */
#include "demo/demo_internal.h"

#include <math.h>

#define CD8_NOISE 0.30 /* SD staining adds to immune, which has SD 1 */
#define PDL1_NOISE 0.60
#define TIL_NOISE 0.50
#define DEATH_SHARE 0.08 /* of first events */
#define DEATH_RATE 0.35  /* a year, after recurrence */

static double logistic(double x) {
    return 1.0 / (1.0 + exp(-x));
}

static double stained(double immune, double noise, LobRng *rng) {
    return (immune + noise * lob_rng_normal(rng)) / sqrt(1.0 + noise * noise);
}

/* Response follows what the treatment works through, adverse events age and systemic therapy. */
static void treated_risks(const LobDemoOptions *o, LobDemoPatient *p) {
    double path = o->null ? 0.0 : 1.0, age = (p->age - 58.0) / 10.5;
    for (int arm = 0; arm < 4; arm++) {
        int tace = arm & 1, systemic = arm >> 1;
        double response = -0.9 + tace * (0.5 + path * p->immune) + systemic * path * 1.2 * (p->vessel - 0.18);
        double ae = -2.0 + 0.4 * age + 0.3 * tace + 0.9 * systemic;
        p->p_response[arm] = arm != 0 ? logistic(response) : NAN;
        p->p_ae[arm] = arm != 0 ? logistic(ae) : NAN;
    }
}

static void after_recurrence(LobRng *rng, LobDemoPatient *p) {
    bool dead_first = lob_rng_uniform(rng) < DEATH_SHARE;
    double years = lob_rng_exponential(rng) / (DEATH_RATE * exp(0.5 * p->lp_arm[p->arm]));
    double death = p->time_days + (dead_first ? 0.0 : MAX(1.0, ceil(years * LOB_DEMO_YEAR_DAYS)));
    p->relapse = p->event == 0 ? 0 : dead_first ? 2 : 1;
    p->os_event = p->event == 1 && death <= p->censor_days ? 1 : 0;
    p->os_days = p->os_event == 1 ? death : p->event == 1 ? p->censor_days : p->time_days;
}

void lob_demo_labels(const LobDemoOptions *o, size_t index, LobDemoPatient *p) {
    g_autofree char *stream = g_strdup_printf("labels/%zu", index + 1);
    LobRng rng;
    lob_rng_init(&rng, o->seed, stream);
    p->cd8_score = stained(p->immune, CD8_NOISE, &rng);
    p->pdl1_score = stained(p->immune, PDL1_NOISE, &rng);
    p->cd8_high = p->cd8_score > 0.0;
    p->pdl1_high = p->pdl1_score > 0.5;
    treated_risks(o, p);
    double response = lob_rng_uniform(&rng), ae = lob_rng_uniform(&rng);
    p->response = p->arm != 0 ? response < p->p_response[p->arm] : -1;
    p->ae34 = p->arm != 0 ? ae < p->p_ae[p->arm] : -1;
    after_recurrence(&rng, p);
    p->til_score = round(100.0 * stained(p->immune, TIL_NOISE, &rng)) / 100.0;
}
