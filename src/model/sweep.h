/* Several models trained in lock-step: one pass over a bag serves all that use it. Local, or collective over
 * the bags' group. */
#ifndef LOB_SWEEP_H
#define LOB_SWEEP_H

#include "model/model.h"

/* Whether models of these options can share passes; where not, lob_sweep_fit trains them one at a time. */
bool lob_sweep_serves(const LobModelOptions *options);

/* Operations of a tile in one pass of gated attention, forward and back, two for each multiply-add: the first
 * layer hands no gradient on. dim values a tile; hidden and attention as in LobModelOptions. */
double lob_sweep_flops_a_tile(double dim, double hidden, double attention);

/* What lob_model_fit gives for each of n models, to rounding: the same view but for the seed that drew its
 * inner patients, the same options but for the seed. results [n]; on error all are empty. */
bool lob_sweep_fit(const LobView *const *views, const LobBags *bags, const LobModelOptions *options, size_t n,
                   LobModelResult *results, bool (*stop)(void *user), void *user, GError **err);

#endif
