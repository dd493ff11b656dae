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
/* CSV and HTML. */
bool lob_report_write(const LobCohort *cohort, GError **err);

#endif
