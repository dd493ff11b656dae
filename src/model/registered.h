/* What a study registered before it opened a held-out center, and the cuts its training fixed: a cohort that
 * a locked model is applied to is judged by these and by nothing of its own. */
#ifndef LOB_REGISTERED_H
#define LOB_REGISTERED_H

#include "model/benefit.h"

typedef struct {
    char *lock;                    /* SHA-256 of `text` */
    char *text;                    /* the lock file, JSON: contrast, statistic, claim, level, margin ... */
    char *marker;                  /* the biomarker beside the effect score; NULL: none */
    double marker_mean, marker_sd; /* of it over training patients */
    bool has_thirds[LOB_PARTS];
    double third[LOB_PARTS][2]; /* days to the benefit stage's tau: where thirds of the predicted gain end
                                   among training patients */
} LobRegistered;

/* INPUT error where text and hash do not go together or a number is not finite. */
bool lob_registered_check(const LobRegistered *registered, GError **err);
void lob_registered_append(const LobRegistered *registered, GByteArray *bytes); /* for hashing */
void lob_registered_clear(LobRegistered *registered);

#endif
