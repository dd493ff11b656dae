/* One fold's fit: what its parts share. Private to src/model. */
#ifndef LOB_MODEL_FIT_H
#define LOB_MODEL_FIT_H

#include "model/model_internal.h"

#define LOB_MAX_CLASSES 64

/* Everything that stays the same over the runs of one fit. */
typedef struct {
    const LobView *view;
    const LobBags *bags; /* NULL: no image */
    const LobModelOptions *options;
    const LobAggregator *aggregator;
    LobScaler scaler;
    uint32_t *train, *inner, *held_out; /* the view's, less patients without a tile */
    size_t n_train, n_inner, n_held_out;
    size_t classes, max_rows;
    float *x; /* [max_rows][dim] the bag in hand, scaled */
    bool (*stop)(void *user);
    void *user;
} LobFit;

/* One training from random weights on some of the training patients. */
typedef struct {
    LobNet net;
    uint32_t *centers; /* [net.centers] cohort's centers that have an intercept, ascending */
    LobNetWork *work;
    LobAdam adam;
    float *params, *grad;
} LobRun;

bool lob_fit_init(LobFit *fit, const LobView *view, const LobBags *bags, const LobModelOptions *options,
                  GError **err);
void lob_fit_clear(LobFit *fit);

void lob_run_init(LobRun *run, const LobFit *fit, const uint32_t *patients, size_t n);
void lob_run_clear(LobRun *run);
/* One pass over the patients in mini-batches; *loss is their mean loss on the way. STOPPED where asked. */
bool lob_run_epoch(LobRun *run, LobFit *fit, const uint32_t *patients, size_t n, int epoch, double *loss,
                   GError **err);
/* Forward pass of one patient without dropout on all tiles; outputs in run->work. */
void lob_run_forward(LobRun *run, LobFit *fit, uint32_t patient);
/* How well patients the run did not see are predicted; lower is better. */
double lob_run_judge(LobRun *run, LobFit *fit, const uint32_t *patients, size_t n);
/* What the endpoint asks of a patient: target and event of LobNetInput. */
void lob_fit_target(const LobFit *fit, uint32_t patient, LobNetInput *input);
/* Scores as of no patient; sizes from the fit's endpoint, classes and bags. */
void lob_fit_result_init(LobModelResult *result, const LobFit *fit);
/* Scores fit->held_out as patients of a center never seen. */
void lob_fit_score(LobRun *run, LobFit *fit, LobModelResult *result);

#endif
