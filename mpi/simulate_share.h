/* A file system whose bandwidth all transfers under way share equally, whenever one begins or ends. Virtual
 * time; local. */
#ifndef LOB_SIMULATE_SHARE_H
#define LOB_SIMULATE_SHARE_H

#include "base/base.h"

typedef struct LobShare LobShare;

/* bandwidth: bytes a second, above 0; at most one transfer each of ids [0, n). */
LobShare *lob_share_new(double bandwidth, size_t n);
void lob_share_free(LobShare *share); /* NULL does nothing */

/* Times never go back from call to call. */
void lob_share_begin(LobShare *share, uint32_t id, double bytes, double now);
/* When the next transfer ends, if none begins before; INFINITY: none is under way. */
double lob_share_next(const LobShare *share);
/* Ends that transfer, at the time of lob_share_next; returns its id. */
uint32_t lob_share_end(LobShare *share);
void lob_share_clear(LobShare *share, double now); /* breaks all off */

#endif
