/* The page: one self-contained HTML file made from the tables of an output folder, and the figures on it.
 * Local. */
#ifndef LOB_REPORT_H
#define LOB_REPORT_H

#include "base/base.h"
#include "cohort/cohort.h"

/* Reads slides.csv, folds.csv, predictions.csv, metrics.csv, meta.csv and provenance.json of the study's
 * output and writes report.html there, with each figure's data as CSV beside it under figures/. Every number
 * shown stands in one of those tables. */
bool lob_report_write(const LobCohort *cohort, GError **err);

#endif
