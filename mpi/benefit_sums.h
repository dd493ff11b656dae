/* What the benefit stage keeps of the tiles. */
#ifndef LOB_BENEFIT_SUMS_H
#define LOB_BENEFIT_SUMS_H

#include "model/benefit.h"
#include "mpi/validate.h"

/* Collective over the world, whatever groups share the patients out. Rank 0 gets all of them, to be cleared
 * by it; others get none. false on all ranks: STOPPED. */
bool lob_benefit_sums_gather(const LobWorld *world, const LobResident *resident, LobBagSums *sums,
                             GError **err);

#endif
