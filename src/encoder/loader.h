/* From a weights file to one block of prepared floats that the ranks of a node share. Only src/encoder
 * includes this.
 *
 * A network describes its tensors in one function, which runs twice: first without memory, to count floats
 * and to compare names and shapes with the file; then with memory, to set pointers and, in the one process
 * that fills, to convert and fold values. */
#ifndef LOB_ENCODER_LOADER_H
#define LOB_ENCODER_LOADER_H

#include "encoder/encoder.h"
#include "encoder/preset.h"
#include "encoder/weights.h"

typedef struct {
    const LobPreset *preset;
    LobWeights *weights; /* NULL: seeded values instead (for benches) */
    float *base;         /* NULL while counting */
    size_t used;         /* floats */
    bool fill;
    bool check_values; /* while counting: every value, as filling would */
    GHashTable *seen;  /* names asked for */
    GPtrArray *missing, *misshapen;
    LobRng rng;
    float *scratch; /* private, for weights that are prepared further */
    size_t scratch_used, scratch_size;
    GError *error; /* the first while filling or checking */
} LobLoader;

typedef void (*LobLoaderBuild)(LobLoader *loader, void *network);

typedef struct {
    void *block; /* shared or private; NULL before loading */
    bool owned;
    size_t size;
    char sha256[65];
} LobPrepared;

/* Memory for `count` floats, aligned to a cache line; NULL while counting. */
float *lob_loader_take(LobLoader *loader, size_t count);
/* The same, private to this process and gone with the next lob_loader_scratch_reset: for values that go
 * into the block in another form. `size` is what all uses between two resets may need. */
void lob_loader_scratch_reset(LobLoader *loader, size_t size);
float *lob_loader_scratch(LobLoader *loader, size_t count);
/* The tensor prefix + name of that shape (ndim lengths follow, each size_t) into `to`. */
void lob_loader_tensor(LobLoader *loader, float *to, const char *name, int ndim, ...);
/* take and tensor for the usual case. */
float *lob_loader_vector(LobLoader *loader, const char *name, size_t n);
/* As lob_loader_vector; a negative value is an error, as one that is not finite. */
float *lob_loader_variances(LobLoader *loader, const char *name, size_t n);
float *lob_loader_matrix(LobLoader *loader, const char *name, size_t rows, size_t columns);

/* Opens the file (or none, where random), checks it against the network and prepares it. INPUT errors name
 * all that is missing, misshapen or surplus. With options->describe values are checked, but no memory is
 * taken and nothing is collective. */
bool lob_prepare(LobPrepared *prepared, const LobEncoderOptions *options, const LobPreset *preset,
                 LobLoaderBuild build, void *network, GError **err);
/* For a process that fails before it came to lob_prepare's shared memory: takes part in what the node waits
 * for, and where it should have filled, tells the others why it did not. */
void lob_prepare_join(const LobEncoderMemory *memory, const GError *failure);
void lob_prepared_clear(LobPrepared *prepared);

#endif
