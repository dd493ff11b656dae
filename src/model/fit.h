/* One fold's fit: what its parts share. Private to src/model. */
#ifndef LOB_MODEL_FIT_H
#define LOB_MODEL_FIT_H

#include "model/model_internal.h"

#define LOB_MAX_CLASSES 64
#define LOB_MAX_INTERVALS 256

/* Everything that stays the same over the runs of one fit. */
typedef struct {
    const LobView *view;
    const LobBags *bags; /* NULL: no image */
    const LobModelOptions *options;
    LobModelOptions tuned; /* what `options` points at once a grid has chosen */
    const LobAggregator *aggregator;
    LobScaler scaler;
    uint32_t *train, *inner, *held_out; /* the view's, less patients without a tile */
    size_t n_train, n_inner, n_held_out;
    size_t classes;  /* that the network tells apart */
    size_t max_rows; /* of any bag */
    /* Of a bag to train on, whoever owns it: what decides how models are trained together must neither
     * follow a held-out bag nor differ between the ranks of a group. */
    size_t train_rows;
    size_t work_rows; /* tiles that a run's own scratch holds */
    float *x;         /* [max_rows][dim] the bag in hand, scaled */
    uint32_t *rows;   /* [max_rows] which of its rows an epoch uses, where it is not all */
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

/* Everything but the scaler and the scratch of a bag. */
bool lob_fit_init(LobFit *fit, const LobView *view, const LobBags *bags, const LobModelOptions *options,
                  GError **err);
void lob_fit_clear(LobFit *fit);

void lob_run_init(LobRun *run, const LobFit *fit, const uint32_t *patients, size_t n);
void lob_run_clear(LobRun *run);
/* Appends to the result's. */
void lob_fit_learned(LobModelResult *result, int round, int epoch, double trained, double judged);
/* ---- how long to train: rounds that each keep some training patients to judge by ---- */
typedef struct {
    uint32_t *learn, *judge; /* ascending */
    size_t n_learn, n_judge;
} LobRound;
/* Into rounds [options->rounds]; returns how many. */
size_t lob_fit_rounds(const LobFit *fit, LobRound *rounds);
void lob_round_clear(LobRound *round);
bool lob_round_can_judge(const LobFit *fit, const LobRound *round);
/* Events among those who judge; where there are several classes, all who judge. */
double lob_round_weight(const LobFit *fit, const LobRound *round);
/* From the rounds' losses after each epoch, [epochs + 1], times their weights; the sum of these: best_epoch
 * and inner_loss. */
void lob_fit_best_epoch(const double *curve, int epochs, double weight, LobModelResult *result);

/* ---- a stretch of epochs that can be taken up again ---- */
typedef struct {
    char name[64];  /* unlike any other's of the checkpoint */
    int next;       /* the epoch to go on with */
    double seconds; /* in passes so far */
    double *losses; /* [n_losses] of the epochs that are through */
    size_t n_losses;
    LobRun **runs; /* [n_runs] whose weights and optimiser go along; none of a segment that is through and
                      whose weights nobody needs */
    size_t n_runs;
} LobSegment;
/* Fills the segment from what was kept under its name, begun runs included; false where there is nothing that
 * fits: it stays as it was. Both take NULL. */
bool lob_segment_resume(const LobCheckpoint *checkpoint, LobSegment *segment);
/* After an epoch. */
void lob_segment_keep(LobCheckpoint *checkpoint, const LobSegment *segment);

/* One pass over the patients in mini-batches; *loss is their mean loss on the way. STOPPED where asked. */
bool lob_run_epoch(LobRun *run, LobFit *fit, const uint32_t *patients, size_t n, int epoch, double *loss,
                   GError **err);
/* Forward pass of one patient without dropout on all tiles; outputs in run->work. */
void lob_run_forward(LobRun *run, LobFit *fit, uint32_t patient);
/* The same as an epoch's training sees the patient, with its tiles and dropout; *input is what went in. */
void lob_run_forward_in(LobRun *run, LobFit *fit, uint32_t patient, int epoch, LobNetInput *input);
/* Loss of a batch by Cox, its gradient into run->grad; *taught becomes false where the batch has no event,
 * which is no step. STOPPED where asked. */
bool lob_run_cox_batch(LobRun *run, LobFit *fit, const uint32_t *batch, size_t n, int epoch, double *loss,
                       bool *taught, GError **err);
/* ---- competing events ---- */
void lob_net_add_rivals(LobNet *net); /* room for their hazards, after the shape is known */
void lob_run_rivals(LobRun *run, const LobFit *fit, const uint32_t *patients, size_t n);
/* The probability that the event has not come by a horizon, from log(1 - hazard) of the event and of its
 * rivals (NULL: none), each [view->n_cuts]; NAN beyond the last interval. */
double lob_event_free_at(const LobView *view, const double *log_survival, const float *rival, double horizon);
/* Intercepts of the hazard for the network as it stands, from all training patients. */
bool lob_run_cox_baseline(LobRun *run, LobFit *fit, GError **err);
/* The head's outputs of those patients into out [n][outputs], which is zero before; on every rank of the
 * bags' group. STOPPED where asked. */
bool lob_run_outputs(LobRun *run, LobFit *fit, const uint32_t *patients, size_t n, double *out, GError **err);
/* How well patients the run did not see are predicted; lower is better. STOPPED where asked. */
bool lob_run_judge(LobRun *run, LobFit *fit, const uint32_t *patients, size_t n, double *loss, GError **err);
/* The same from the head's outputs [n][outputs] of those patients. */
double lob_fit_judge(const LobRun *run, const LobFit *fit, const uint32_t *patients, size_t n,
                     const double *out);
/* Center and covariates of a patient; no tiles. */
void lob_run_input(const LobRun *run, const LobFit *fit, uint32_t patient, LobNetInput *input);
/* The tiles of a bag that an epoch uses (< 0: all), ascending, into rows [count]. */
size_t lob_fit_rows(const LobFit *fit, uint32_t patient, int epoch, uint32_t *rows);
/* Puts patients in the order of an epoch. A patient's place among others depends on no third one. */
void lob_fit_order(const LobFit *fit, int epoch, uint32_t *patients, size_t n);
/* The stream that drops parts of a patient's vector in an epoch. */
void lob_fit_dropout(const LobFit *fit, uint32_t patient, int epoch, LobRng *rng);
double lob_fit_rate(const LobFit *fit, int epoch); /* of learning */
bool lob_fit_is_mine(const LobFit *fit, uint32_t patient);
/* Whether the i-th patient of a list that all ranks go through may be taken up: STOPPED where any rank was
 * asked to stop. Collective over the bags' group, as all that trains or scores is; groups ask once a batch.
 */
bool lob_fit_goes_on(const LobFit *fit, size_t i, GError **err);
/* The scaler of the training patients. STOPPED where asked. */
bool lob_fit_scale(LobFit *fit, GError **err);
bool lob_fit_loss_is_sound(const LobFit *fit, int epoch, double loss, GError **err);
/* What the endpoint asks of a patient: target and event of LobNetInput. */
void lob_fit_target(const LobFit *fit, uint32_t patient, LobNetInput *input);
/* Scores as of no patient; sizes from the fit's endpoint, classes and bags. */
void lob_fit_result_init(LobModelResult *result, const LobFit *fit);
/* Scores fit->held_out as patients of a center never seen. STOPPED where asked. */
bool lob_fit_score(LobRun *run, LobFit *fit, LobModelResult *result, GError **err);
/* From the outputs in run->work: what is kept of a held-out patient (attention [count] may be NULL); the
 * linear predictor of any. */
void lob_fit_keep(const LobRun *run, const LobFit *fit, uint32_t patient, const float *attention,
                  LobModelResult *result);
double lob_fit_risk(const LobRun *run, const LobFit *fit);
/* Scores and attention of held-out patients from their owners to all ranks of a group. */
void lob_fit_share(const LobFit *fit, LobModelResult *result);
/* The median score of the training patients, the cut between low and high risk; risk [n_train] goes with
 * fit->train, known where it is owned, and is sorted. */
double lob_fit_cut(const LobFit *fit, double *risk);
void lob_fit_keep_weights(const LobRun *run, const LobFit *fit, LobModelResult *result);

#endif
