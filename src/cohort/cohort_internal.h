#ifndef LOB_COHORT_INTERNAL_H
#define LOB_COHORT_INTERNAL_H

#include "cohort/cohort.h"

/* The study from bytes, as if they stood in `path`: the seam for fuzzing. */
LobStudy *lob_study_parse(const char *path, const char *data, size_t size, const char *output, GError **err);

/* "age >= 18"; INPUT error where it is none. */
bool lob_filter_parse(const char *text, LobFilter *filter, GError **err);
/* A whole cell as a finite number. */
bool lob_text_number(const char *text, double *value);

/* Later than this after time zero is a date or another unit. */
#define LOB_TIME_DAYS_MAX 1e6

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

/* ---- folds ---- */
#define LOB_FOLDS_MAX 10000
/* Nobody is in any of them yet (-1), and they have no names. */
LobFolds *lob_folds_new(const LobCohort *cohort, int repeats, int n_folds);
/* validation.folds folds of whole centers. INPUT error where there are fewer centers. */
LobFolds *lob_folds_preserved(const LobCohort *cohort, GError **err);
/* Who is not eligible is in no fold; how many, and who of the eligible is in none, goes to the log. */
void lob_folds_drop_ineligible(LobFolds *folds, const LobCohort *cohort);

/* What a file of splits is, by its content. */
typedef enum {
    LOB_SPLIT_TABLE,      /* our own folds.csv */
    LOB_SPLIT_STAMP,      /* splits.json */
    LOB_SPLIT_PATHOBENCH, /* k=all.tsv */
    LOB_SPLIT_CLAM,       /* a folder with splits_0.csv ... */
} LobSplitFormat;
bool lob_split_format_of(const char *path, LobSplitFormat *format, GError **err);
/* study.validation.file, which is not our own table. */
LobFolds *lob_splits_read(const LobCohort *cohort, LobSplitFormat format, GError **err);

/* Outcomes (time, event, arm_at, labels) from the patient table. */
void lob_cohort_read_outcomes(LobCohort *cohort, LobProblems *problems);
/* Covariates and their levels. */
void lob_cohort_read_covariates(LobCohort *cohort, LobProblems *problems);
/* The per-patient vector. */
void lob_cohort_read_imaging(LobCohort *cohort, LobProblems *problems);
/* Whether a column is an outcome, a treatment or an identifier: as an input it would be leakage by name. */
bool lob_study_speaks_for(const LobStudy *study, const char *column);
/* Eligibility and its flow. */
void lob_cohort_apply_filters(LobCohort *cohort, LobProblems *problems);
/* Warnings about what is suspicious but not wrong. */
void lob_cohort_warn(const LobCohort *cohort);
/* A cell that someone may have meant as missing: "NA", "nan", "?" ... */
bool lob_is_missing_marker(const char *cell);

#endif
