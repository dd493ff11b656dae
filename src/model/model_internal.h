/* The network behind model.h: one flat parameter vector, an aggregator, a linear head, an endpoint's loss.
 *
 * The arithmetic is written once in lob_real: float in the program; a test that defines LOB_MODEL_DOUBLE and
 * includes the sources gets it in double, under other names, for central differences. */
#ifndef LOB_MODEL_INTERNAL_H
#define LOB_MODEL_INTERNAL_H

#include "model/model.h"
#include <cblas.h>
#include <math.h>

#ifdef LOB_MODEL_DOUBLE
typedef double lob_real;
#define LOB_GEMM cblas_dgemm
#define LOB_GEMV cblas_dgemv
#define LOB_EXP exp
#define LOB_TANH tanh
#define LOB_LOG1P log1p
#define LOB_FABS fabs
#define lob_aggregator_find lob_aggregator_find_double
#define lob_aggregator_names lob_aggregator_names_double
#define lob_loss_find lob_loss_find_double
#define lob_loss_patient lob_loss_patient_double
#define lob_net_init_shape lob_net_init_shape_double
#define lob_net_init_params lob_net_init_params_double
#define lob_net_work_new lob_net_work_new_double
#define lob_net_work_free lob_net_work_free_double
#define lob_net_forward lob_net_forward_double
#define lob_net_backward lob_net_backward_double
#define lob_net_decay_mask lob_net_decay_mask_double
#define lob_net_backward_from lob_net_backward_from_double
#define lob_net_forward_head lob_net_forward_head_double
#define lob_net_backward_head lob_net_backward_head_double
#define lob_abmil_blocks lob_abmil_blocks_double
#define lob_linear lob_linear_double
#define lob_linear_backward lob_linear_backward_double
#define lob_linear_init lob_linear_init_double
#define lob_softmax lob_softmax_double
#define lob_abmil lob_abmil_double
#define lob_abmil_n_params lob_abmil_n_params_double
#define lob_abmil_init lob_abmil_init_double
#define lob_abmil_forward lob_abmil_forward_double
#define lob_abmil_backward lob_abmil_backward_double
#define lob_abmil_decay lob_abmil_decay_double
#define lob_clam lob_clam_double
#define lob_transformer lob_transformer_double
#define LOB_SQRT sqrt
#define LOB_ERF erf
#define LOB_LOG log
#else
typedef float lob_real;
#define LOB_GEMM cblas_sgemm
#define LOB_GEMV cblas_sgemv
#define LOB_EXP expf
#define LOB_TANH tanhf
#define LOB_LOG1P log1pf
#define LOB_FABS fabsf
#define LOB_SQRT sqrtf
#define LOB_ERF erff
#define LOB_LOG logf
#endif

typedef struct LobAggregator LobAggregator;

/* Sizes, and where each block lies in the parameter vector. */
typedef struct {
    const LobAggregator *aggregator;
    LobEndpointKind endpoint;
    size_t dim, hidden, attention; /* columns of a tile; widths */
    size_t z, covariates;          /* of the patient vector; of the covariates joined to it */
    size_t outputs;                /* of the head: 1, or the number of classes */
    size_t intervals;              /* survival: intervals of the hazard; else 1 */
    size_t centers;                /* training centers: each has its own intercept */
    size_t head;                   /* offset of [outputs][z + covariates] */
    size_t base;                   /* offset of a[intervals] (survival) or a[outputs] */
    size_t center;                 /* offset of u[centers][outputs] */
    size_t rival;                  /* offset of log(1 - hazard) of competing events [intervals]; 0: none */
    size_t n_params;
} LobNet;

#define LOB_PICKED_MAX 16

/* One patient's scratch, grown to the largest bag. All arrays are [n] tiles x the width named. */
typedef struct {
    size_t capacity;
    lob_real *h, *dh; /* hidden */
    lob_real *ta, *sb,
        *g; /* attention: tanh and sigmoid branches, their (dropped) product; backward overwrites them */
    lob_real *weight, *dweight; /* [n] softmax weights and their gradient */
    lob_real *mask;             /* [z] inverted-dropout factors of the patient vector */
    lob_real *zc, *dzc;         /* [z + covariates] */
    lob_real *out, *dout;       /* [outputs] */
    lob_real *own;              /* the aggregator's own, as many as its `scratch` asks for */
    /* Tiles whose hidden vectors have a gradient besides the pooled one's: dpicked [n_picked][hidden]. */
    lob_real *dpicked;
    size_t picked[LOB_PICKED_MAX], n_picked;
} LobNetWork;

/* What one patient brings. */
typedef struct {
    const lob_real *x; /* [n][dim] scaled tiles */
    size_t n;
    const float *covariates; /* [covariates] */
    int center;              /* index of its training center; -1: the average of all is used */
    int target; /* survival: interval of the event, or intervals fully survived; else the class */
    bool event;
} LobNetInput;

/* The seam. params point at the aggregator's own block, which starts the vector. forward fills z [z]. */
struct LobAggregator {
    const char *kind;
    bool needs_bag, has_attention;
    bool (*takes)(size_t hidden, size_t attention); /* whether widths go together; NULL: any do */
    size_t (*z)(const LobNet *net);
    size_t (*n_params)(const LobNet *net);
    void (*init)(const LobNet *net, LobRng *rng, lob_real *params);
    void (*forward)(const LobNet *net, const lob_real *params, const lob_real *x, size_t n, LobNetWork *work,
                    lob_real *z);
    void (*backward)(const LobNet *net, const lob_real *params, const lob_real *x, size_t n, LobNetWork *work,
                     const lob_real *dz, lob_real *grad);
    /* Marks weights (1) as against biases (0). */
    void (*decay)(const LobNet *net, uint8_t *mask);
    /* Numbers of `own` scratch that a bag of n tiles needs; NULL: none. */
    size_t (*scratch)(const LobNet *net, size_t n);
    /* A loss on tiles beside the patient's, NULL: none. Called after forward and before backward: returns its
     * share, adds scale times its gradient to grad, and leaves what goes back to tiles in the work's dpicked.
     * The patient's own loss then counts only `bag_share`. */
    lob_real (*tile_loss)(const LobNet *net, const lob_real *params, const LobNetInput *input, lob_real scale,
                          LobNetWork *work, lob_real *grad);
    double bag_share;
};

/* ---- pieces that aggregators share ---- */

/* y [n][out] = x [n][in] w' + b, w [out][in] */
void lob_linear(const lob_real *x, size_t n, size_t in, const lob_real *w, const lob_real *b, size_t out,
                lob_real *y);
/* dw += dy' x; db += sum dy; where dx is wanted it is dx += dy w */
void lob_linear_backward(const lob_real *x, size_t n, size_t in, const lob_real *w, size_t out,
                         const lob_real *dy, lob_real *dw, lob_real *db, lob_real *dx);
/* Uniform on +-1/sqrt(in), as PyTorch's Linear starts. b may be NULL. */
void lob_linear_init(LobRng *rng, size_t in, size_t out, lob_real *w, lob_real *b);
void lob_softmax(lob_real *v, size_t n);

/* Gated attention, for aggregators that add to it: their parameters follow its own. backward also runs the
 * work's dpicked back. */
typedef struct {
    size_t w, b, v, bv, u, bu, c, end; /* offsets; c [attention] scores a tile (a bias would cancel) */
} LobAbmilBlocks;
LobAbmilBlocks lob_abmil_blocks(const LobNet *net);
size_t lob_abmil_n_params(const LobNet *net);
void lob_abmil_init(const LobNet *net, LobRng *rng, lob_real *params);
void lob_abmil_forward(const LobNet *net, const lob_real *params, const lob_real *x, size_t n,
                       LobNetWork *work, lob_real *z);
void lob_abmil_backward(const LobNet *net, const lob_real *params, const lob_real *x, size_t n,
                        LobNetWork *work, const lob_real *dz, lob_real *grad);
void lob_abmil_decay(const LobNet *net, uint8_t *mask);

extern const LobAggregator lob_abmil, lob_clam, lob_transformer;

const LobAggregator *lob_aggregator_find(const char *kind); /* NULL: no such kind */
const char *const *lob_aggregator_names(void);

void lob_net_init_shape(LobNet *net, const LobAggregator *aggregator, LobEndpointKind endpoint, size_t dim,
                        size_t hidden, size_t attention, size_t covariates, size_t classes, size_t intervals,
                        size_t centers);
/* Weights of the aggregator at random, head and intercepts zero. */
void lob_net_init_params(const LobNet *net, LobRng *rng, lob_real *params);
void lob_net_decay_mask(const LobNet *net, uint8_t *mask); /* [n_params] */

LobNetWork *lob_net_work_new(const LobNet *net, size_t max_tiles);
void lob_net_work_free(LobNetWork *work);
/* rng NULL: no dropout. work->out holds the head's outputs, work->zc the patient vector and covariates,
 * work->weight the attention. */
void lob_net_forward(const LobNet *net, const lob_real *params, const LobNetInput *input, double dropout,
                     LobRng *rng, LobNetWork *work);
/* Adds scale times the gradient of the patient's loss to grad and returns the loss; forward must have run. */
lob_real lob_net_backward(const LobNet *net, const lob_real *params, const LobNetInput *input, lob_real scale,
                          LobNetWork *work, lob_real *grad);
/* The same where the loss couples patients: dout [outputs] is its gradient (already scaled) with respect to
 * this patient's outputs; returns the loss on tiles, 0 where there is none. */
lob_real lob_net_backward_from(const LobNet *net, const lob_real *params, const LobNetInput *input,
                               const lob_real *dout, lob_real scale, LobNetWork *work, lob_real *grad);
/* Their last and first steps: from the patient vector in work->zc to the outputs; from work->dout to the
 * head's gradient (added) and work->dzc, the patient vector's. */
void lob_net_forward_head(const LobNet *net, const lob_real *params, const LobNetInput *input, double dropout,
                          LobRng *rng, LobNetWork *work);
void lob_net_backward_head(const LobNet *net, const lob_real *params, LobNetWork *work, lob_real *grad);
/* The patient's loss for outputs `out`; with dout, d_base and d_center also its gradients (added). */
lob_real lob_loss_patient(const LobNet *net, const lob_real *params, const LobNetInput *input,
                          const lob_real *out, lob_real *dout, lob_real *grad, lob_real scale);

#ifndef LOB_MODEL_DOUBLE
/* ---- float only: scaling, optimiser, fit ---- */

/* Column means and inverse SDs over training tiles, each patient with equal weight; a column that does not
 * vary has inverse 0. */
typedef struct {
    size_t dim;
    float *mean, *inverse;
} LobScaler;
void lob_scaler_fit(LobScaler *scaler, const LobBags *bags, const uint32_t *patients, size_t n);
/* One column's scale from the mean of its values and of their squares. */
void lob_scaler_column(double mean, double square, float *center, float *inverse);
void lob_scaler_clear(LobScaler *scaler);
void lob_scaler_apply(const LobScaler *scaler, const uint16_t *rows, size_t n, float *out);

/* AdamW (Loshchilov & Hutter 2019): decoupled decay of the weights marked. */
typedef struct {
    size_t n;
    float *m, *v;
    uint8_t *decay;
    uint64_t step;
} LobAdam;
void lob_adam_init(LobAdam *adam, size_t n);
void lob_adam_clear(LobAdam *adam);
void lob_adam_step(LobAdam *adam, double lr, double weight_decay, const float *grad, float *params);

/* Negative log partial likelihood (Breslow ties) per event, stratified; lp [n] and stratum [n] go with
 * patients [n], time and event with the cohort. No baseline enters, so that a center never seen can judge a
 * model. NAN where no stratum has an event with company. */
double lob_partial_loss(const float *lp, const double *time, const int8_t *event, const uint32_t *stratum,
                        const uint32_t *patients, size_t n);
#endif
#endif
