/* The loss that judges epochs, against the definition written out, and against R. */
#include "model/model_internal.h"

#include <criterion/criterion.h>

enum { N = 10 };

/* Breslow: every event against all of its stratum still at risk. */
static double by_definition(const float *lp, const double *time, const int8_t *event,
                            const uint32_t *stratum) {
    double loss = 0;
    int events = 0;
    for (int i = 0; i < N; i++) {
        double risk = 0;
        int company = 0;
        for (int j = 0; j < N; j++)
            if (stratum[j] == stratum[i] && time[j] >= time[i]) {
                risk += exp((double)lp[j]);
                company++;
            }
        if (event[i] != 1 || company < 2)
            continue;
        loss += log(risk) - (double)lp[i];
        events++;
    }
    return loss / events;
}

Test(model, partial_loss_is_its_definition) {
    const float lp[N] = {0.5f, -1, 2, 0, 0.3f, 0.3f, -2, 1, 80, -80};
    const double time[N] = {1, 2, 2, 2, 3, 4, 4, 4, 5, 2};
    const int8_t event[N] = {1, 0, 1, 0, 1, 0, 1, 1, 0, 1};
    const uint32_t one[N] = {0}, two[N] = {0, 1, 0, 1, 0, 1, 0, 1, 0, 1};
    const uint32_t patients[N] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    cr_expect_float_eq(lob_partial_loss(lp, time, event, one, patients, N),
                       by_definition(lp, time, event, one), 1e-10);
    cr_expect_float_eq(lob_partial_loss(lp, time, event, two, patients, N),
                       by_definition(lp, time, event, two), 1e-10);
}

/* lp and stratum go with the list, time and event with the cohort. */
Test(model, partial_loss_follows_the_list) {
    const float lp[3] = {1, 0, -1};
    const double time[6] = {9, 9, 3, 1, 2, 9};
    const int8_t event[6] = {-1, -1, 0, 1, 1, -1};
    const uint32_t stratum[3] = {4, 4, 4}, patients[3] = {3, 4, 2};
    double wanted = (log(exp(1) + 1 + exp(-1)) - 1 + log(1 + exp(-1))) / 2;
    cr_expect_float_eq(lob_partial_loss(lp, time, event, stratum, patients, 3), wanted, 1e-12);
}

Test(model, partial_loss_without_company_is_missing) {
    const float lp[2] = {1, 2};
    const double time[2] = {1, 2};
    const int8_t event[2] = {1, 1};
    const uint32_t apart[2] = {0, 1}, patients[2] = {0, 1};
    cr_expect(isnan(lob_partial_loss(lp, time, event, apart, patients, 2)));
}
