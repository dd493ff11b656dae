/* The probability of an event beside a competing one, against the closed form and against counting. */
#include "model/fit.h"

#include <criterion/criterion.h>

enum { CUTS = 3 };
static double cuts[CUTS] = {100, 250, 600};

Test(model, incidence_is_its_integral) {
    const double own[CUTS] = {-0.1, -0.4, -0.3};
    const float rival[CUTS] = {-0.25f, 0, -0.75f};
    LobView view = {.cuts = cuts, .n_cuts = CUTS};
    for (double t = 10; t <= 600; t += 59) {
        /* Small steps of constant hazards. */
        double free_of_all = 1, incidence = 0, step = 1e-3;
        for (double s = 0; s < t - step / 2; s += step) {
            size_t b = s < 100 - step / 2 ? 0 : s < 250 - step / 2 ? 1 : 2;
            double width = cuts[b] - (b ? cuts[b - 1] : 0);
            double h = -own[b] / width, r = -(double)rival[b] / width;
            double middle = free_of_all * exp(-(h + r) * step / 2);
            incidence += middle * h * step;
            free_of_all *= exp(-(h + r) * step);
        }
        cr_expect_float_eq(lob_event_free_at(&view, own, rival, t), 1 - incidence, 1e-6, "day %g", t);
    }
    cr_expect_float_eq(lob_event_free_at(&view, own, NULL, 250), exp(-0.5), 1e-12);
    cr_expect(isnan(lob_event_free_at(&view, own, rival, 601)));
}

/* Interval 1: of 7 at risk 2 have a competing event (one censored in it does not count); interval 2: of 3,
 * none; interval 3: the last one. */
Test(model, rivals_are_counted_on_training_patients) {
    double time[9] = {50, 60, 70, 100, 200, 300, 600, 20, 30};
    int8_t event[9] = {2, 2, 0, 1, 1, 2, 1, 2, 2};
    const uint32_t train[7] = {0, 1, 2, 3, 4, 5, 6};
    LobView view = {.cuts = cuts, .n_cuts = CUTS, .time = time, .event = event};
    LobFit fit = {.view = &view};
    LobRun run = {.net = {.intervals = CUTS, .n_params = 2}};
    lob_net_add_rivals(&run.net);
    cr_assert(run.net.rival == 2 && run.net.n_params == 2 + CUTS);
    float params[2 + CUTS] = {9, 9, 9, 9, 9};
    run.params = params;
    lob_run_rivals(&run, &fit, train, 7);
    cr_expect_float_eq((double)params[2], log(1 - 2 / 6.5), 1e-6);
    cr_expect_float_eq((double)params[3], 0, 1e-9);
    cr_expect_float_eq((double)params[4], log(1 - 1 / 2.5), 1e-6);
    cr_expect(params[0] == 9 && params[1] == 9);
}
