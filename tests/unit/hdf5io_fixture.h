/* Shared by the store's tests: small stores with known contents in a temporary folder. */
#ifndef LOB_TEST_HDF5IO_FIXTURE_H
#define LOB_TEST_HDF5IO_FIXTURE_H

#include "hdf5io/hdf5io.h"
#include <criterion/criterion.h>

#define FIX_DIM 5

typedef struct {
    LobStoreHeader header; /* texts are literals: not to be cleared */
    LobStoreSlide slides[4];
    size_t n_slides;
    uint64_t rows;
    int32_t (*coords)[2];
    uint8_t *tissue;
    float *features; /* [rows][FIX_DIM] */
} Fixture;

char *fix_folder(void); /* a new empty folder; scratch.c removes it */
Fixture fix_make(void); /* slides a (3 rows), b (0), c (40), d (2, failed) */
/* Writes it; unreadable tile: row 1 of slide c becomes NaN. finish = false leaves the part unfinished. */
void fix_write(Fixture *fixture, const char *path, bool finish);
void fix_clear(Fixture *fixture);
/* Runs a Python script text with arguments; 0 and its standard output, or -1 where h5py is not there. */
int fix_python(const char *script, const char *argument, char **out);
#define FIX_OK(call)                                                                                         \
    do {                                                                                                     \
        g_autoptr(GError) fix_error_ = NULL;                                                                 \
        GError **err = &fix_error_;                                                                          \
        bool fix_ok_ = (call);                                                                               \
        cr_assert(fix_ok_, "%s", fix_error_ ? fix_error_->message : #call);                                  \
    } while (0)
/* The call fails with this code and a message that holds `text`. */
#define FIX_FAILS(call, wanted, text)                                                                        \
    do {                                                                                                     \
        g_autoptr(GError) fix_error_ = NULL;                                                                 \
        GError **err = &fix_error_;                                                                          \
        cr_assert(!(call), "%s should fail", #call);                                                         \
        cr_assert(fix_error_ != NULL);                                                                       \
        cr_expect(fix_error_->code == (wanted), "code %d: %s", fix_error_->code, fix_error_->message);       \
        cr_expect(strstr(fix_error_->message, (text)) != NULL, "'%s' does not say '%s'",                     \
                  fix_error_->message, (text));                                                              \
    } while (0)

#endif
