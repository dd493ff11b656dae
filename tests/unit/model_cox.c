/* Cox's partial likelihood as a loss: against R's coxph on tied, stratified data (tests/oracles/model_cox.R
 * made the numbers), against central differences, and where numbers are extreme. */
#include "model/cox_loss.h"

#include <criterion/criterion.h>
#include <math.h>

enum { N = 24 };

static const double stratified = -27.803843217987, unstratified = -46.101019050935;
static const double score_of[N] = {
    0.900084574027,  -0.497072198738, -1.550006528671, -0.054121356158, 0.755020786235,  0.767314371948,
    -0.781674961051, -1.660026627950, 0.921826135327,  0.487489984064,  0.817655652666,  -1.268310648672,
    -1.128523756155, 0.961887180344,  0.651819951556,  -0.228990430556, -0.176156961370, 0.022085678898,
    0.958746723508,  -0.552443705451, 0.528351009144,  -0.153010777679, 0.351135874264,  -0.073079969530};

typedef struct {
    double score[N], time[N];
    int8_t event[N];
    uint32_t stratum[N], one[N];
} Data;

static Data tied(void) {
    Data d = {.one = {0}};
    for (int i = 0; i < N; i++) {
        d.score[i] = 1.5 * sin(1.3 * i + 0.2);
        d.time[i] = 1 + (7 * i) % 5;
        d.event[i] = (3 * i) % 4 != 1;
        d.stratum[i] = (uint32_t)i % 3;
    }
    return d;
}

Test(model, cox_loss_is_that_of_r) {
    Data d = tied();
    double gradient[N];
    size_t events;
    double loss = lob_cox_loss(d.score, d.time, d.event, d.stratum, N, gradient, &events);
    cr_expect_eq(events, 18);
    cr_expect_float_eq(loss * (double)events, -stratified, 1e-10);
    for (int i = 0; i < N; i++)
        cr_expect_float_eq(gradient[i] * (double)events, -score_of[i], 1e-9, "patient %d", i);
    loss = lob_cox_loss(d.score, d.time, d.event, d.one, N, NULL, NULL);
    cr_expect_float_eq(loss * (double)events, -unstratified, 1e-10);
}

Test(model, cox_gradient_is_the_difference) {
    Data d = tied();
    double gradient[N];
    for (int both = 0; both < 2; both++) {
        const uint32_t *stratum = both ? d.one : d.stratum;
        lob_cox_loss(d.score, d.time, d.event, stratum, N, gradient, NULL);
        for (int i = 0; i < N; i++) {
            double kept = d.score[i], h = 1e-5;
            d.score[i] = kept + h;
            double up = lob_cox_loss(d.score, d.time, d.event, stratum, N, NULL, NULL);
            d.score[i] = kept - h;
            double down = lob_cox_loss(d.score, d.time, d.event, stratum, N, NULL, NULL);
            d.score[i] = kept;
            cr_expect_float_eq((up - down) / (2 * h), gradient[i], 1e-8, "patient %d", i);
        }
    }
}

/* A competing event is censoring, a shift of all scores changes nothing, and large scores do not overflow. */
Test(model, cox_loss_on_odd_data) {
    Data d = tied();
    double gradient[N], plain = lob_cox_loss(d.score, d.time, d.event, d.stratum, N, NULL, NULL);
    for (int i = 0; i < N; i++) {
        d.event[i] = d.event[i] ? 1 : 2;
        d.score[i] += 1e4;
    }
    cr_expect_float_eq(lob_cox_loss(d.score, d.time, d.event, d.stratum, N, NULL, NULL), plain, 1e-9);
    for (int i = 0; i < N; i++)
        d.score[i] = i % 2 ? 1e4 : -1e4;
    double loss = lob_cox_loss(d.score, d.time, d.event, d.stratum, N, gradient, NULL);
    cr_expect(isfinite(loss));
    for (int i = 0; i < N; i++)
        cr_expect(isfinite(gradient[i]), "patient %d", i);
}

Test(model, cox_loss_without_event_is_none) {
    Data d = tied();
    double gradient[N];
    size_t events = 9;
    for (int i = 0; i < N; i++)
        d.event[i] = i % 2 ? 0 : 2;
    cr_expect_eq(lob_cox_loss(d.score, d.time, d.event, d.stratum, N, gradient, &events), 0);
    cr_expect_eq(events, 0);
    for (int i = 0; i < N; i++)
        cr_expect_eq(gradient[i], 0);
    cr_expect_eq(lob_cox_loss(d.score, d.time, d.event, d.stratum, 0, gradient, NULL), 0);
}
