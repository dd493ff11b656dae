/* The tiles the models looked at most, as GeoJSON. Local; no MPI. */
#ifndef LOB_JOBS_TOP_TILES_H
#define LOB_JOBS_TOP_TILES_H

#include "cohort/cohort.h"

/* From validate's attention/top_tiles.csv: attention/<slide_id>.top_tiles.geojson for each slide of the
 * chosen slides and patients (NULL = all). A tile's size is its store's. INPUT error where there is no such
 * table, nobody in it is chosen, or the features know no places. */
bool lob_top_tiles_geojson(const LobCohort *cohort, const char *const *slides, const char *const *patients,
                           size_t *n_files, GError **err);

#endif
