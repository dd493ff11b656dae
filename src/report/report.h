/* The page: one self-contained HTML file made from the tables of an output folder, and the figures on it.
 * Local. */
#ifndef LOB_REPORT_H
#define LOB_REPORT_H

#include "base/base.h"
#include "cohort/cohort.h"

typedef enum {
    LOB_REPORT_CSV = 1,  /* evidence.csv, recompute.R */
    LOB_REPORT_HTML = 2, /* report.html, and figures/ with a CSV for each of its tables and figures */
    LOB_REPORT_JSON = 4, /* evidence.json */
} LobReportFormat;

/* Reads slides.csv, predictions.csv, metrics.csv, meta.csv, attention/top_tiles.csv and provenance.json of
 * the study's output and writes the formats asked for there (an OR of LobReportFormat). Every number on the
 * page stands in one of the folder's CSVs. */
bool lob_report_write_formats(const LobCohort *cohort, unsigned formats, GError **err);
/* Where the study's output holds predictions of a locked model (external.json), makes endpoints, classes,
 * kind and seeds those of the model, and lets a single center and absent outcomes pass: to be called between
 * reading study and cohort. Elsewhere it changes nothing. INPUT error where that file is not whole. */
bool lob_external_study(LobStudy *study, GError **err);
/* CSV and HTML. */
bool lob_report_write(const LobCohort *cohort, GError **err);

/* ---- verdicts on treatment benefit, as verdict.json has them ---- */
typedef enum {
    LOB_VERDICT_MODIFICATION, /* a treatment's relative effect differs with what the image shows */
    LOB_VERDICT_RISK,         /* the same relative effect for all, so that those at risk gain more */
    LOB_VERDICT_PROGNOSTIC,
    LOB_VERDICT_NOTHING, /* asked with enough patients, and neither was found */
    LOB_VERDICT_NOT_ESTIMABLE,
    LOB_VERDICTS
} LobVerdict;
extern const char *const lob_verdict_names[LOB_VERDICTS];

/* ---- immune map: lymphocyte-like nuclei, which is all that H&E shows; no cell type is claimed ---- */
/* Drawn regions: GeoJSON as QuPath writes it, polygons of class Tumor or Tumour, and where drawn Margin or
 * Invasive margin; other classes are passed over. INPUT errors: no JSON, no tumour polygon. */
typedef struct LobRegions LobRegions;
LobRegions *lob_regions_read(const char *path, double mpp_x, double mpp_y, GError **err);
void lob_regions_free(LobRegions *regions);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LobRegions, lob_regions_free)
/* um from the nearest border of a tumour region, below 0 inside one; x, y in um. */
double lob_regions_distance(const LobRegions *regions, double x, double y);

#define LOB_MARGIN_UM 500.0 /* on either side of the border is margin; deeper inside is core */
#define LOB_DENSE_PER_MM2                                                                                    \
    300.0                 /* lymphocyte-like nuclei: a convention of this program, validated by nobody */
#define LOB_LEAST_ZONE 10 /* tiles of core and of margin for a phenotype */
enum { LOB_ZONE_ALL, LOB_ZONE_CORE, LOB_ZONE_MARGIN, LOB_ZONE_OUTSIDE, LOB_ZONES };
typedef struct {
    size_t tiles[LOB_ZONES];
    double density[LOB_ZONES]; /* mean over tiles, per mm2; NAN without a tile */
    /* "inflamed": dense core; "excluded": dense margin about a core that is not; "desert": neither. NULL: not
     * given, see reason. */
    const char *phenotype, *reason;
} LobImmune;
/* um [n]: centers of the tiles; density [n] per mm2. regions may be NULL. */
LobImmune lob_immune_map(const LobRegions *regions, const double (*um)[2], const double *density, size_t n);

/* ---- files of an earlier run ---- */
bool lob_remove_stale(const char *path, GError **err); /* absent is well */
/* The maps (0001-<slide>.csv, .png, .geojson) of a folder. */
bool lob_maps_remove(const char *dir, GError **err);

#endif
