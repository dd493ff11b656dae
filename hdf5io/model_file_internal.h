/* Private to the model file: one table of names for writing and reading. */
#ifndef LOB_MODEL_FILE_INTERNAL_H
#define LOB_MODEL_FILE_INTERNAL_H

#include "hdf5io/hdf5io_internal.h"
#include "hdf5io/model_file.h"

/* The file begins with this many bytes that HDF5 leaves to the user: the seal, a text with the SHA-256 of all
 * that follows, filled up with zeros. */
#define LOB_MODEL_SEAL 512

char *lob_model_seal_text(const void *data, size_t size); /* of a whole file; caller frees */
bool lob_model_group_name(char name[32], size_t net);     /* "model-00" ... */
bool lob_model_put_rows(hid_t group, const char *name, hid_t file_type, hid_t type, int rank, hsize_t n,
                        hsize_t width, const void *data, GError **err);
bool lob_model_put_texts(hid_t group, const char *name, char *const *texts, size_t n, GError **err);
bool lob_model_put_benefit(hid_t root, LobBenefitModel *benefit, GError **err);
/* *benefit stays NULL where the file has none. */
bool lob_model_read_benefit(hid_t root, const char *path, LobBenefitModel **benefit, GError **err);
bool lob_model_put_registered(hid_t root, const LobRegistered *registered, GError **err);
bool lob_model_read_registered(hid_t root, const char *path, LobRegistered **registered, GError **err);
bool lob_model_read(hid_t root, const char *path, LobModelFile *file, GError **err);

#endif
