/* Encoders: a tile's pixels to a vector. A new one is a new file plus a line in the table of encoder.c.
 * Local; no MPI, no HDF5. */
#ifndef LOB_ENCODER_H
#define LOB_ENCODER_H

#include "base/base.h"

/* Called between the steps of a batch (layers, tiles); false asks the encoder to abandon the batch. */
typedef bool (*LobEncoderTick)(void *user);

/* How a node shares prepared weights: returns `size` bytes that all ranks of a node see. `fill` is true in
 * the one process that must fill them; after filling, every process calls `ready` (collective over the node,
 * if there is one). NULL = private memory. */
typedef struct {
    void *(*alloc)(void *user, size_t size, bool *fill, GError **err);
    void (*ready)(void *user);
    void *user;
} LobEncoderMemory;

typedef struct {
    const char *name; /* "texture", or a preset's name; with config that preset's or its network's, or NULL */
    const char *config;    /* own preset file, or NULL */
    const char *weights;   /* file, or NULL */
    const char *precision; /* "fp32" | "bf16" */
    int tile_size;         /* px a side of the tiles that will come */
    double mpp;            /* um/px of those tiles */
    size_t batch;          /* most tiles a call */
    bool random_weights;   /* bench only: true shapes, seeded values, no file */
    bool describe;         /* the weights are checked whole, but not loaded: for lob_encoder_info and _cost */
    const LobEncoderMemory *memory;
} LobEncoderOptions;

/* What a store records about the encoder; two stores agree only if all of it agrees. Strings are owned by the
 * encoder. */
typedef struct {
    const char *name;
    const char *weights_sha256; /* "" where there are no weights */
    const char *transform;      /* e.g. "none" or "resize=bilinear:256,crop=224,mean=...,sd=...,output=class,
                                   network=...", see lob_preset_identity */
    const char *precision;
    int dim;
    const char *const *columns; /* [dim] names, or NULL where columns have no meaning of their own */
} LobEncoderInfo;

typedef struct LobEncoder LobEncoder;

/* INPUT errors: unknown name (lists those there are), a name beside a config that says otherwise, weights
 * missing or of another architecture, a precision the CPU cannot do. */
LobEncoder *lob_encoder_open(const LobEncoderOptions *options, GError **err);
const LobEncoderInfo *lob_encoder_info(const LobEncoder *encoder);
/* Not for an encoder opened to describe. rgb [n][size][size][3], 1 <= n <= batch; out [n][dim]. A row depends
 * on its own tile alone, to the bit, wherever it stands in a batch. STOPPED where tick (may be NULL) asked
 * for it; out is then undefined. */
bool lob_encoder_encode(LobEncoder *encoder, const uint8_t *rgb, size_t n, float *out, LobEncoderTick tick,
                        void *user, GError **err);
/* A row [dim] that tells whether ranks and runs compute alike. Of a deep network it goes through the first
 * layers alone: every kind of step, but a fraction of the time, since a job's start waits for it. Not a
 * tile's embedding. Errors as above. */
bool lob_encoder_probe(LobEncoder *encoder, const uint8_t *rgb, float *out, GError **err);
void lob_encoder_free(LobEncoder *encoder);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LobEncoder, lob_encoder_free)

/* ---- what encoding costs, for benches ---- */

typedef struct {
    const char *name;
    double seconds; /* since the encoder was opened */
} LobEncoderStage;

/* The stages are the encoder's. Opened to describe: of what it would be. */
typedef struct {
    double flop;          /* of a tile's matrix products, two a multiply-add; 0 where they are not counted */
    size_t weight_bytes;  /* prepared, once a node where they are shared */
    size_t working_bytes; /* of this process, for a batch; 0: not counted */
    const LobEncoderStage *stages;
    size_t n_stages; /* 0: not told apart */
} LobEncoderCost;
LobEncoderCost lob_encoder_cost(const LobEncoder *encoder);

/* A bare product out[m][n] = in[m][k] weight[n][k]^T of seeded values with the library that a precision runs
 * on, its weight prepared: what the encoder's products could reach. INPUT error where the precision cannot be
 * had. */
typedef struct LobEncoderProduct LobEncoderProduct;
LobEncoderProduct *lob_encoder_product_new(const char *precision, size_t m, size_t n, size_t k, GError **err);
bool lob_encoder_product_run(LobEncoderProduct *product, GError **err);
void lob_encoder_product_free(LobEncoderProduct *product);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LobEncoderProduct, lob_encoder_product_free)

/* Names of all encoders, NULL-terminated, for messages and help. */
const char *const *lob_encoder_names(void);

/* ---- the texture encoder's nuclei, for tests and pictures ---- */
typedef struct {
    float x, y; /* centroid, px of the tile */
    float area_um2;
    float eccentricity;
    float darkness;  /* mean haematoxylin optical density */
    bool lymphocyte; /* small, round, dark */
} LobNucleus;

/* Nuclei of one tile at `mpp`; returns their number, at most `max` are written. */
size_t lob_texture_nuclei(const uint8_t *rgb, int size, double mpp, LobNucleus *nuclei, size_t max);

#endif
