/* A slide's stains from a sample of its tiles. */
#ifndef LOB_PLAN_STAIN_H
#define LOB_PLAN_STAIN_H

#include "slide/slide.h"
#include "tissue/tissue.h"

/* Reads at most 16 tiles, spread evenly over the grid's order, of the slide open in the reader, `batch` at a
 * time, and estimates stains from every fourth pixel of every fourth row. Unreadable tiles are passed over.
 * Where the reader gives the slide up the stains stay NaN: that error is the caller's to judge. */
bool lob_stain_sample(LobReader *reader, const LobTileSpec *spec, const LobGrid *grid, size_t batch,
                      LobStains *stains, GError **err);

#endif
