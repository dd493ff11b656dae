/* Patients: who is ill how, what was done, what came of it. The plans' numbers were chosen by simulation so
 * that the planted effects can be found, but not trivially; tests/oracles/demo_cox.R refits them. */
#include "demo/demo_internal.h"

#include <math.h>
#include <string.h>

#define HORIZON_YEARS 5.0
#define SIZE_MEAN_CM 5.0
#define SIZE_SD_CM 2.0
#define MVI_MEAN 0.4
#define AFP_MEAN 2.0
#define AFP_SD 0.9
#define VESSEL_SHARE 0.18
#define EARLY_YEARS 2.0

static const LobDemoPlan slide_plan = {.rate = 0.60,
                                       .shape = 1.0,
                                       .mvi_weight = 1.0,
                                       .afp_weight = 1.0,
                                       .size_grade = 0.3,
                                       .tace_share = 0.44,
                                       .censor_from = 1.8,
                                       .censor_to = 5.4,
                                       .two_slides = 0.25};
static const LobDemoPlan bag_plan = {.rate = 0.30,
                                     .shape = 0.9,
                                     .mvi_weight = 4.0 / 3.0,
                                     .afp_weight = 0.0,
                                     .size_grade = 0.3,
                                     .tace_share = 0.455,
                                     .censor_from = 2.0,
                                     .censor_to = 6.5,
                                     .two_slides = 0.0};

const LobDemoPlan *lob_demo_plan(const LobDemoOptions *options) {
    return options->bags ? &bag_plan : &slide_plan;
}

void lob_demo_defaults(LobDemoOptions *options, bool bags) {
    *options = (LobDemoOptions){.seed = 1,
                                .patients = bags ? 2000 : 160,
                                .centers = bags ? 6 : 4,
                                .tiles = bags ? 32 : 80,
                                .dim = 48,
                                .bags = bags,
                                .grade_effect = bags ? 0.7 : 1.2,
                                .tace_effect = bags ? -0.10 : -0.20,
                                .tace_immune_effect = bags ? -0.70 : -0.40,
                                .covariate_effect = bags ? 0.30 : 0.20,
                                .systemic_effect = -0.10,
                                .vessel_effect = bags ? -0.60 : 0.0,
                                .indication = 1.0,
                                .center_sd = 0.3,
                                .systemic_share = bags ? 0.20 : 0.06,
                                .endpoints = LOB_DEMO_RFS};
}

char *lob_demo_center_name(int center) {
    return g_strdup_printf("center-%02d", center + 1);
}

static double logistic(double x) {
    return 1.0 / (1.0 + exp(-x));
}

/* Patients of each center: equal for slides; for bags falling from the first center to the last by 2.4. */
static void center_sizes(const LobDemoOptions *o, int *size) {
    static const double six[] = {480, 420, 360, 300, 240, 200};
    double total = 0.0;
    g_autofree double *weight = g_new(double, (gsize)o->centers);
    for (int c = 0; c < o->centers; c++) {
        double fall = o->centers > 1 ? (double)c / (o->centers - 1) : 0.0;
        weight[c] = !o->bags ? 1.0 : o->centers == 6 ? six[c] : 2.4 - 1.4 * fall;
        total += weight[c];
    }
    double sum = 0.0;
    int given = 0;
    for (int c = 0; c < o->centers; c++) {
        sum += weight[c];
        size[c] = (int)lround(sum / total * o->patients) - given;
        given += size[c];
    }
}

static void draw_person(const LobDemoOptions *o, const LobDemoPlan *plan, LobRng *rng, LobDemoPatient *p) {
    double link = o->null ? 0.0 : plan->size_grade;
    p->grade = lob_rng_normal(rng);
    p->immune = lob_rng_normal(rng);
    p->vessel = lob_rng_uniform(rng) < VESSEL_SHARE ? 1.0 : 0.0;
    p->age = round(CLAMP(58.0 + 10.5 * lob_rng_normal(rng), 22.0, 85.0));
    p->sex = lob_rng_uniform(rng) < 0.82 ? 1 : 0;
    double size = link * p->grade + sqrt(1.0 - link * link) * lob_rng_normal(rng);
    /* As the tables will say it: what is hidden by rounding is nobody's to find. */
    p->tumor_size_cm = round(10.0 * MAX(0.8, SIZE_MEAN_CM + SIZE_SD_CM * size)) / 10.0;
    p->mvi = lob_rng_uniform(rng) < logistic(-0.42 + 0.5 * size) ? 1 : 0;
    p->afp_log10 = round(100.0 * MAX(0.0, AFP_MEAN + AFP_SD * lob_rng_normal(rng))) / 100.0;
}

static double effect(const LobDemoOptions *o, double value) {
    return o->null ? 0.0 : value;
}

/* Arms by indication: large tumours and microvascular invasion are treated more often. */
static void draw_treatment(const LobDemoOptions *o, const LobDemoPlan *plan, const double *leaning,
                           LobRng *rng, LobDemoPatient *p) {
    double size = (p->tumor_size_cm - SIZE_MEAN_CM) / SIZE_SD_CM, mvi = p->mvi - MVI_MEAN;
    double indication = o->indication * (0.7 * size + 0.8 * mvi) + o->hidden_indication * p->grade;
    double tace = log(plan->tace_share / (1.0 - plan->tace_share)) + leaning[0] + indication;
    double systemic = log(o->systemic_share / (1.0 - o->systemic_share)) + leaning[1] + 0.6 * indication;
    p->intended =
        (lob_rng_uniform(rng) < logistic(tace) ? 1 : 0) | (lob_rng_uniform(rng) < logistic(systemic) ? 2 : 0);
    double last = o->immortal ? 150.0 : 80.0;
    double tace_day = round(20.0 + (last - 20.0) * lob_rng_uniform(rng));
    double systemic_day = round(25.0 + (last - 25.0) * lob_rng_uniform(rng));
    p->tace_day = (p->intended & 1) != 0 ? tace_day : NAN;
    p->systemic_day = (p->intended & 2) != 0 ? systemic_day : NAN;
}

static void true_predictors(const LobDemoOptions *o, const LobDemoPlan *plan, LobDemoPatient *p) {
    double size = (p->tumor_size_cm - SIZE_MEAN_CM) / SIZE_SD_CM, mvi = p->mvi - MVI_MEAN;
    double afp = (p->afp_log10 - AFP_MEAN) / AFP_SD;
    p->lp_inputs = effect(o, o->grade_effect) * p->grade +
                   o->covariate_effect * (size + plan->mvi_weight * mvi + plan->afp_weight * afp);
    double tace = effect(o, o->tace_effect) + effect(o, o->tace_immune_effect) * p->immune + p->center_tace;
    double systemic = effect(o, o->systemic_effect) + effect(o, o->vessel_effect) * p->vessel;
    for (int arm = 0; arm < 4; arm++)
        p->lp_arm[arm] = p->lp_inputs + p->center_effect + ((arm & 1) != 0 ? tace : 0.0) +
                         ((arm & 2) != 0 ? systemic : 0.0);
}

/* Cumulative baseline hazard, t in years from time zero. */
static double cumulative(const LobDemoPlan *plan, double t) {
    return pow(plan->rate * t, plan->shape);
}

/* Simpson's rule over S(t) in the variable sqrt(t): smooth at 0 for shapes below 1. From `late_from` years on
 * the predictor is `late`. */
static double restricted_mean_days(const LobDemoPlan *plan, double lp, double late, double late_from) {
    enum { N = 400 };
    double top = sqrt(HORIZON_YEARS), sum = 0.0, hazard = exp(lp), later = exp(late);
    for (int i = 0; i <= N; i++) {
        double u = top * i / N, t = u * u;
        double spent = t <= late_from
                           ? cumulative(plan, t) * hazard
                           : cumulative(plan, late_from) * (hazard - later) + cumulative(plan, t) * later;
        double survival = exp(-spent);
        sum += (i == 0 || i == N ? 1.0 : i % 2 == 1 ? 4.0 : 2.0) * survival * 2.0 * u;
    }
    return sum * top / N / 3.0 * LOB_DEMO_YEAR_DAYS;
}

/* Recurrence time where treatment works in the first years only. */
static double draw_early(const LobDemoPlan *plan, double target, const LobDemoPatient *p) {
    double base = cumulative(plan, EARLY_YEARS), early = base * exp(p->lp_arm[p->arm]);
    double spent =
        target <= early ? target / exp(p->lp_arm[p->arm]) : base + (target - early) / exp(p->lp_arm[0]);
    return pow(spent, 1.0 / plan->shape) / plan->rate;
}

/* Recurrence time in years where treatment works from its start on; what is due later than the recurrence is
 * never given. Walks the (at most two) starts in time's order. */
static double draw_immortal(const LobDemoPlan *plan, double target, LobDemoPatient *p) {
    double from = 0.0, spent = 0.0;
    p->arm = 0;
    for (;;) {
        double hazard = exp(p->lp_arm[p->arm]), next = INFINITY;
        int starts = 0;
        const double days[2] = {p->tace_day, p->systemic_day};
        for (int k = 0; k < 2; k++) {
            double t = days[k] / LOB_DEMO_YEAR_DAYS;
            if ((p->intended & 1 << k) != 0 && (p->arm & 1 << k) == 0 && t < next) {
                next = t;
                starts = 1 << k;
            }
        }
        double until = starts != 0 ? hazard * (cumulative(plan, next) - cumulative(plan, from)) : INFINITY;
        if (spent + until >= target)
            return pow(cumulative(plan, from) + (target - spent) / hazard, 1.0 / plan->shape) / plan->rate;
        spent += until;
        from = next;
        p->arm |= starts;
    }
}

static void draw_outcome(const LobDemoOptions *o, const LobDemoPlan *plan, LobRng *rng, LobDemoPatient *p) {
    double target = lob_rng_exponential(rng), years;
    double censored = plan->censor_from + (plan->censor_to - plan->censor_from) * lob_rng_uniform(rng);
    int landmark = o->immortal ? 0 : LOB_DEMO_LANDMARK_DAYS;
    if (o->immortal) {
        years = draw_immortal(plan, target, p);
        if ((p->arm & 1) == 0)
            p->tace_day = NAN;
        if ((p->arm & 2) == 0)
            p->systemic_day = NAN;
    } else {
        p->arm = p->intended;
        years = o->early ? draw_early(plan, target, p)
                         : pow(target / exp(p->lp_arm[p->arm]), 1.0 / plan->shape) / plan->rate;
    }
    p->event = years <= censored ? 1 : 0;
    p->censor_days = landmark + MAX(1.0, ceil(censored * LOB_DEMO_YEAR_DAYS));
    p->time_days = landmark + MAX(1.0, ceil(MIN(years, censored) * LOB_DEMO_YEAR_DAYS));
}

static void name_patient(const LobDemoPlan *plan, size_t index, LobRng *rng, LobDemoPatient *p) {
    g_snprintf(p->patient_id, sizeof p->patient_id, "P%05zu", index + 1);
    p->n_slides = lob_rng_uniform(rng) < plan->two_slides ? 2 : 1;
    for (int s = 0; s < p->n_slides; s++)
        g_snprintf(p->slide_id[s], sizeof p->slide_id[s], "%s-S%d", p->patient_id, s + 1);
}

LobDemo *lob_demo_new(const LobDemoOptions *options) {
    const LobDemoPlan *plan = lob_demo_plan(options);
    LobDemo *demo = g_new0(LobDemo, 1);
    demo->options = *options;
    demo->n_patients = (size_t)options->patients;
    demo->patients = g_new0(LobDemoPatient, demo->n_patients);
    g_autofree int *sizes = g_new0(int, (gsize)options->centers);
    center_sizes(options, sizes);
    size_t index = 0;
    for (int c = 0; c < options->centers; c++) {
        g_autofree char *name = lob_demo_center_name(c);
        LobRng center;
        lob_rng_init(&center, options->seed, name);
        double effect_of_center = options->center_sd * lob_rng_normal(&center);
        double leaning[2] = {0.4 * lob_rng_normal(&center), 0.4 * lob_rng_normal(&center)};
        double tace_of_center = options->center_effect_sd * lob_rng_normal(&center);
        leaning[0] += c == 0 ? options->center_lean : -options->center_lean;
        for (int k = 0; k < sizes[c]; k++, index++) {
            LobDemoPatient *p = &demo->patients[index];
            g_autofree char *stream = g_strdup_printf("patient/%zu", index + 1);
            LobRng rng;
            lob_rng_init(&rng, options->seed, stream);
            p->center = c;
            p->center_effect = effect_of_center;
            p->center_tace = tace_of_center;
            name_patient(plan, index, &rng, p);
            draw_person(options, plan, &rng, p);
            draw_treatment(options, plan, leaning, &rng, p);
            true_predictors(options, plan, p);
            draw_outcome(options, plan, &rng, p);
            for (int arm = 0; arm < 4; arm++)
                p->rmst_arm[arm] = restricted_mean_days(plan, p->lp_arm[arm], p->lp_arm[0],
                                                        options->early ? EARLY_YEARS : INFINITY);
            lob_demo_labels(options, index, p);
            demo->n_slides += (size_t)p->n_slides;
        }
    }
    return demo;
}

void lob_demo_free(LobDemo *demo) {
    if (demo == NULL)
        return;
    g_free(demo->patients);
    g_free(demo);
}
