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

/* Products in bf16; NULL where they are in fp32. */
typedef struct LobSweepBf16 LobSweepBf16;

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
    /* Hidden vectors and gates of run r begin at r x step and have a stride: in fp32 a tile's runs lie side
     * by side, as one product makes them; in bf16 each run has its own matrix. */
    float *h, *ts; /* [capacity] rows */
    float *dh;     /* [block] rows, laid out as h */
    size_t h_step, h_stride, ts_step, ts_stride, dh_step;
    size_t block; /* rows gone through at a time */
    LobSweepBf16 *bf16;
    GError *error; /* the first of a product; passes do nothing more */
    float *score;  /* [runs][score_rows] scores, then attention */
    size_t score_rows;
    float *z;      /* [runs][hidden] pooled */
    float *dscore; /* [LOB_SWEEP_BLOCK] */
    uint32_t *rows;
} LobSweepStack;

/* About the bytes that a stack of n runs takes beside its runs' own parameters: the same on all ranks, and
 * whatever the held-out bags are. */
size_t lob_sweep_bytes(const LobFit *fit, size_t runs);
/* Rows of the largest bag, as far as training uses it. */
size_t lob_sweep_capacity(const LobFit *fit);
/* False where the precision asked for cannot be had. runs [n_runs] are borrowed, begun (lob_run_init) and of
 * the same fit but for its seed. */
bool lob_sweep_stack_init(LobSweepStack *stack, const LobFit *fit, const LobScaler *scaler, LobSweepRun *runs,
                          size_t n_runs, GError **err);
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

/* ---- bf16: first layers and gates by the encoder's products, sums in fp32; the gates' own gradient stays
 * fp32 ---- */
LobSweepBf16 *lob_sweep_bf16_new(const LobSweepStack *stack, GError **err);
void lob_sweep_bf16_free(LobSweepBf16 *b);
/* Rows that the stack must have room for, for bags of so many. */
size_t lob_sweep_bf16_rows(size_t rows);
/* Run r's weights have changed. */
bool lob_sweep_bf16_load(LobSweepStack *s, size_t r);
/* A block of scaled tiles x [n][dim] is the one that the following calls are about; with gradient also for
 * lob_sweep_bf16_gradient. */
bool lob_sweep_bf16_tiles(LobSweepStack *s, const float *x, size_t n, bool gradient);
bool lob_sweep_bf16_first(LobSweepStack *s, size_t r, float *h, size_t n);
bool lob_sweep_bf16_gates(LobSweepStack *s, size_t r, const float *h, float *ts, size_t n);
bool lob_sweep_bf16_back(LobSweepStack *s, size_t r, const float *ts, float *dh, size_t n);
/* Adds dh' x to run r's gradient of the first layer. */
bool lob_sweep_bf16_gradient(LobSweepStack *s, size_t r, const float *dh, size_t n);

#endif
