/* Cox's partial likelihood as a loss on scores, exact over all patients given, with Efron's correction for
 * ties (Efron 1977), stratified. It couples patients, so it stands apart from the losses of one patient. */
#ifndef LOB_COX_LOSS_H
#define LOB_COX_LOSS_H

#include "base/base.h"

/* Negative log partial likelihood of n patients and, where gradient is not NULL, its derivative with respect
 * to each score, both divided by the number of events; *events (may be NULL) says how many there were.
 * Without an event all are 0. Event 1 counts; any other code is censoring, so a competing event is taken as
 * cause-specific hazards want it. Who is censored at the time of an event is still at risk then. Sums have
 * one order: over ranks, each gathers all scores (lob_group_gather) and gets the same bits. */
double lob_cox_loss(const double *score, const double *time, const int8_t *event, const uint32_t *stratum,
                    size_t n, double *gradient, size_t *events);

#endif
