/* Cox's partial likelihood as a loss on scores, exact over all patients given, with Efron's correction for
 * ties (Efron 1977), stratified. It couples patients, so it stands apart from the losses of one patient. */
#ifndef LOB_COX_LOSS_H
#define LOB_COX_LOSS_H

#include "base/base.h"
#include "model/group.h"

/* Negative log partial likelihood of n patients and, where gradient is not NULL, its derivative with respect
 * to each score, both divided by the number of events; *events (may be NULL) says how many there were.
 * Without an event all are 0. Event 1 counts; any other code is censoring, so a competing event is taken as
 * cause-specific hazards want it. Who is censored at the time of an event is still at risk then. Local. */
double lob_cox_loss(const double *score, const double *time, const int8_t *event, const uint32_t *stratum,
                    size_t n, double *gradient, size_t *events);

/* The same over a group of ranks, each of which knows the scores of its own patients alone. patients [n] are
 * the batch, the same on all ranks; time, event and center go by patient; owner [patient] is who has it
 * (NULL: all are here). score [n] goes with the batch: own ones are given, the others are filled in. Value
 * and gradient [n] are the same bits on every rank and for every number of ranks. Collective; group may be
 * NULL. */
double lob_cox_loss_of_batch(const LobGroup *group, const uint32_t *owner, const uint32_t *patients, size_t n,
                             const double *time, const int8_t *event, const uint32_t *center, double *score,
                             double *gradient, size_t *events);

#endif
