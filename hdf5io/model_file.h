/* The locked model as a file; its layout is in MODEL.md. Local; no call is collective. */
#ifndef LOB_MODEL_FILE_H
#define LOB_MODEL_FILE_H

#include "hdf5io/hdf5io.h"
#include "model/benefit.h"
#include "model/registered.h"
#include "model/saved.h"

#define LOB_MODEL_VERSION 2

typedef struct {
    LobSavedModel model;
    LobStoreHeader features;   /* what made the features it was trained on; dim 0 where it uses none */
    LobBenefitModel *benefit;  /* owned; NULL: none was asked for */
    LobRegistered *registered; /* owned; every file that train makes has it */
    char sha256[65];           /* of all of the above: the model's name in other files */
} LobModelFile;

/* Computes sha256. */
void lob_model_file_seal(LobModelFile *file);
/* Writes path under a temporary name, then renames. Where path exists it is kept: true if it holds the same
 * model, else an INPUT error, since a locked model is never replaced. */
bool lob_model_file_write(const char *path, const LobModelFile *file, GError **err);
/* From the file's bytes; name is for messages. INPUT errors say what is wrong: a damaged byte anywhere, a
 * newer version, sizes that do not fit. On failure *file is empty. */
bool lob_model_file_parse(const char *name, const void *data, size_t size, LobModelFile *file, GError **err);
void lob_model_file_clear(LobModelFile *file);

/* What made the features behind sources (stores, or folders of other tools' files), as far as they say: the
 * first store's header, or the first file's facts. */
bool lob_features_identity(const LobCohort *cohort, const char *const *sources, LobStoreHeader *header,
                           GError **err);

#endif
