#ifndef LOB_COHORT_INTERNAL_H
#define LOB_COHORT_INTERNAL_H

#include "cohort/cohort.h"

/* The study from bytes, as if they stood in `path`: the seam for fuzzing. */
LobStudy *lob_study_parse(const char *path, const char *data, size_t size, const char *output, GError **err);

/* "age >= 18"; INPUT error where it is none. */
bool lob_filter_parse(const char *text, LobFilter *filter, GError **err);
/* A whole cell as a finite number. */
bool lob_text_number(const char *text, double *value);

/* Inconsistencies, collected: all are counted, the first 20 are told. */
typedef struct {
    GString *text;
    size_t count;
} LobProblems;
void lob_problem(LobProblems *problems, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* Takes the error's message and frees it. */
void lob_problem_take(LobProblems *problems, GError *error);
/* false and an INPUT error where there are any; empties the collection. */
bool lob_problems_check(LobProblems *problems, const char *what, GError **err);

/* Outcomes (time, event, arm_at, labels) from the patient table. */
void lob_cohort_read_outcomes(LobCohort *cohort, LobProblems *problems);
/* Covariates and their levels. */
void lob_cohort_read_covariates(LobCohort *cohort, LobProblems *problems);
/* Eligibility and its flow. */
void lob_cohort_apply_filters(LobCohort *cohort, LobProblems *problems);
/* Warnings about what is suspicious but not wrong. */
void lob_cohort_warn(const LobCohort *cohort);
/* A cell that someone may have meant as missing: "NA", "nan", "?" ... */
bool lob_is_missing_marker(const char *cell);

#endif
