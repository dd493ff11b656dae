/* The stack of models that pass over bags together. Private to the sweep.
 *
 * All have the same shape up to the patient vector, and the same scaler. Their first layers lie under each
 * other: W [columns][dim], columns = runs x hidden, so that runs next to each other are one product. A bag is
 * gone through in blocks of rows that stay in the cache: forward keeps hidden vectors and gates of the whole
 * bag, backward goes over them once. The softmax runs along with the blocks (Milakov & Gimelshein 2018), and
 * since the pooled vector z is known, sum p dp = z.dz needs no pass of its own. */
#ifndef LOB_SWEEP_INTERNAL_H
#define LOB_SWEEP_INTERNAL_H

#include "model/fit.h"
#include "model/sweep.h"
#include "model/sweep_kernels.h"

#define LOB_SWEEP_BLOCK 512 /* rows */

/* One model of the stack in one training. */
typedef struct {
    LobFit *fit;    /* of its seed; borrowed */
    LobRun run;     /* its work holds no tiles */
    uint8_t *role;  /* [patients of the cohort] LEARN | JUDGE ... ; what a pass asks for */
    size_t n, at;   /* patients of the epoch, and how many of them are through */
    bool active;    /* takes part in passes */
    double loss;    /* mean over the epoch's patients so far; of own patients in a group */
    float top, sum; /* of the softmax so far */
} LobSweepRun;

typedef struct {
    const LobBags *bags;
    const LobScaler *scaler;
    const LobSweepKernels *kernels;
    LobSweepRun *runs; /* [n_runs] */
    size_t n_runs, dim, hidden, attention, columns;
    size_t capacity; /* rows of a bag that training can take */
    size_t x_rows;   /* rows that x holds: the whole bag, or a block */
    float *w, *gw;   /* [columns][dim] first layers and their gradients */
    float *vu, *gvu; /* [runs][2 attention][hidden] gates */
    float *bias;     /* [runs][2 attention] of the gates */
    float *gbias;    /* [runs][2 attention] */
    float *x;        /* [x_rows][dim] */
    float *h;        /* [capacity][columns] */
    float *ts;       /* [capacity][runs][2 attention] */
    float *dh;       /* [LOB_SWEEP_BLOCK][columns] */
    float *score;    /* [runs][score_rows] scores, then attention */
    size_t score_rows;
    float *z;      /* [runs][hidden] pooled */
    float *dscore; /* [LOB_SWEEP_BLOCK] */
    uint32_t *rows;
} LobSweepStack;

/* Bytes that a stack of n runs takes beside its runs' own parameters. */
size_t lob_sweep_bytes(const LobFit *fit, size_t runs);
/* Rows of the largest bag, as far as training uses it. */
size_t lob_sweep_capacity(const LobFit *fit);
/* runs [n_runs] are borrowed, begun (lob_run_init) and of the same fit but for its seed. */
void lob_sweep_stack_init(LobSweepStack *stack, const LobFit *fit, const LobScaler *scaler, LobSweepRun *runs,
                          size_t n_runs);
void lob_sweep_stack_clear(LobSweepStack *stack);
/* Copies the parameters of run r to where passes read them, after they changed. */
void lob_sweep_load(LobSweepStack *stack, size_t r);
/* Collects run r's gradient in run->grad, and clears what passes add to. */
void lob_sweep_take_gradient(LobSweepStack *stack, size_t r);

/* Forward over all tiles of a patient for the active runs that have the role; outputs in their work,
 * attention in lob_sweep_attention. */
void lob_sweep_forward(LobSweepStack *stack, uint32_t patient, uint8_t role);
const float *lob_sweep_attention(const LobSweepStack *stack, size_t r);
/* Forward and backward over an epoch's tiles for the active runs that have the role; adds to gradients, and
 * to each run's loss its patient's (not yet divided). scale [runs] multiplies the gradient. */
void lob_sweep_train(LobSweepStack *stack, uint32_t patient, uint8_t role, int epoch, const float *scale);

#endif
