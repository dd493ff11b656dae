/* The study: its file, tables, folds, and the one way to a fold's training data. Local; no MPI. */
#ifndef LOB_COHORT_H
#define LOB_COHORT_H

#include "base/base.h"

/* The biomarker where the study names none: lymphocyte-like nuclei of the texture encoder. */
#define LOB_BENEFIT_MARKER "lym_density"

/* ---- study.yaml: every key has a default but study, cohort.patients, cohort.slides (needed unless features
 * are given) and what an endpoint needs; unknown keys are errors with file and line ---- */
typedef enum { LOB_ENDPOINT_SURVIVAL, LOB_ENDPOINT_BINARY, LOB_ENDPOINT_MULTICLASS } LobEndpointKind;

typedef struct {
    char *name;
    LobEndpointKind kind;
    char *time, *event; /* survival: column names; time in days, event 0/1 */
    /* Column of a competing event, or NULL. The event column itself: its code 2 is the competing event.
     * Another column: 0/1, and 1 where event is 0 is the competing event. */
    char *competing;
    char *label;      /* binary, multiclass: column */
    char **classes;   /* NULL-terminated, where a locked model names them; NULL: as the column has them */
    double landmark;  /* days; 0 = none */
    double *horizons; /* days on the clock of the cohort's `time` (from the landmark), ascending */
    size_t n_horizons;
} LobEndpoint;

typedef struct {
    char *name;         /* "none", "tace" ... */
    int code[2];        /* factorial code, e.g. {1, 0} */
    char *start_column; /* start day of the treatment, or NULL */
} LobArmLevel;

typedef struct {
    char *center;
    double mpp;      /* 0 = not given */
    char *path_root; /* NULL = folder of slides.csv */
} LobCenterOverride;

#define LOB_TUNE_MAX 8
typedef enum { LOB_LOSS_HAZARDS, LOB_LOSS_COX } LobSurvivalLoss;

/* PRESERVED: a few folds of whole centers, balanced in patients, outcomes and arms. */
typedef enum { LOB_SCHEME_LOCO, LOB_SCHEME_FOLDS, LOB_SCHEME_PRESERVED } LobScheme;

typedef struct {
    char *column; /* a patient column */
    char *op;     /* ">=", "<=", ">", "<", "==", "!=" */
    char *value;
} LobFilter;

#define LOB_PERIODS_MAX 4

/* What is asked of treatment benefit beyond yes or no. */
typedef struct {
    /* Registered: an arm of one treatment (its effect score, and the biomarker beside it), or that arm with
     * "_by_" and the biomarker's name (the biomarker alone); NULL: the treatment with the most power. */
    char *contrast;
    double margin_days;              /* a treatment is recommended for at least this much */
    char *adverse;                   /* binary endpoint: adverse events under treatment, or NULL */
    double penalty_days;             /* what an adverse event costs */
    double periods[LOB_PERIODS_MAX]; /* days, ascending, on the clock of horizons: where periods end */
    size_t n_periods;
    LobFilter *rule; /* the clinicians' rule to compare with: who meets any of these is treated */
    size_t n_rule;
    bool given; /* as a mapping */
} LobBenefitWish;

typedef struct {
    char *path; /* of study.yaml */
    char *name;
    /* Not of the file: a locked model is applied, so a single center will do, labels may be of one class or
     * absent, and an endpoint without columns has no known outcome. */
    bool predicts;
    char *slides, *patients; /* resolved paths; slides may be NULL when features are given */
    struct {
        double mpp;
        int size, overlap;
        double min_tissue, max_enlarge;
        /* percent; tiles above are left out of training and scoring (100: none is); not of the store */
        double max_pen, max_fold, max_blur, max_overexposed;
    } tiles;
    struct {
        char *method, *masks;
        double mpp;
        bool keep_holes;
    } tissue;
    struct {
        char *normalise; /* none | macenko | reinhard */
    } stain;
    struct {
        char *name, *weights, *config, *precision;
        char *stored; /* the name that a store records: of the preset `config`, else `name` */
        int batch;
        size_t line; /* of the file, for messages */
    } encoder;
    char **features; /* NULL-terminated list of stores or one folder; NULL = embed slides */
    LobEndpoint *endpoints;
    size_t n_endpoints;
    LobFilter *eligible;
    size_t n_eligible;
    char *arm_column; /* NULL = no arms */
    LobArmLevel *arms;
    size_t n_arms;
    char **covariates;
    size_t n_covariates;
    char **imaging; /* columns of a vector a patient; "ct_*" stands for all that begin so */
    size_t n_imaging;
    LobCenterOverride *centers;
    size_t n_centers;
    struct {
        char *kind;
        size_t kind_line;     /* of the file, for messages */
        char *precision;      /* of products of tiles: "fp32" or "bf16" */
        LobSurvivalLoss loss; /* of survival endpoints */
        bool benefit;         /* false where there are no arms */
        LobBenefitWish wish;
        char *biomarker; /* column of the features or of patients.csv, tested beside the effect score; NULL:
                            the encoder's own lymphocyte density where it has one */
        /* 0 (dropout, weight_decay: negative) = the model's own default */
        int epochs, hidden, attention, intervals, batch, max_tiles;
        int max_tiles_slide; /* 0: all */
        double lr, weight_decay, dropout;
        /* Tried in each fold by leaving out some of its training centers; 0 = none, the numbers above hold.
         */
        double tune_lr[LOB_TUNE_MAX], tune_weight_decay[LOB_TUNE_MAX];
        size_t n_tune_lr, n_tune_weight_decay;
    } model;
    struct {
        LobScheme scheme;
        char *file;
        int folds; /* PRESERVED: how many */
        int seeds, bootstrap;
        uint64_t seed;
    } validation;
    struct {
        int heatmaps; /* patients a center whose attention is kept: so many of highest and of lowest risk */
        char **patients; /* NULL-terminated ids, in any case; NULL = none */
        char *regions;   /* folder of <slide_id>.geojson with drawn tumour regions, or NULL */
        int attention;   /* whether every tile's is kept: 1, 0; -1: where the model has any */
    } report;
    struct {
        char *mpiio;           /* MPI-IO module ("ompio", "romio321" ...), or NULL */
        int stripe_count;      /* 0 = leave to the file system */
        double reader_seconds; /* a reader process may take this long over one tile */
        double reader_gib;     /* and this much memory */
        double lease_seconds;  /* work in one lease */
        int groups;            /* of ranks that train together; 0 = as memory asks */
        double memory_gib;     /* that features may take on a node; 0 = four fifths of what is free */
        char *stream;          /* a folder of the node's own disk that features stream from; NULL: memory */
        bool shared_writes;    /* several hosts may write one file also on NFS and the like */
    } site;
    char *output;      /* resolved directory */
    char *text_sha256; /* of the study file's bytes */
} LobStudy;

/* INPUT errors: file, line, key, what was expected; named files must exist. `output` (as seen from the
 * working folder) overrides the study's (as seen from study.yaml), may be NULL. */
LobStudy *lob_study_read(const char *path, const char *output, GError **err);
void lob_study_free(LobStudy *study);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LobStudy, lob_study_free)
/* Replaces the study's endpoints; takes over endpoints [n] and what they hold. */
void lob_study_set_endpoints(LobStudy *study, LobEndpoint *endpoints, size_t n);
/* Replaces the study's site by a site profile: a YAML file with the keys of `site`. */
bool lob_study_read_site(LobStudy *study, const char *path, GError **err);
char *lob_study_out(const LobStudy *study, const char *name); /* path under output; caller frees */

/* ---- cohort ---- */
typedef struct {
    char *slide_id, *path; /* path resolved; NULL where features are given */
    double mpp;            /* from the manifest or the center's override; 0 = from the file */
    bool mpp_from_center;
    uint32_t patient; /* index */
} LobCohortSlide;

typedef struct {
    char *patient_id;
    uint32_t center; /* index */
    uint32_t row;    /* of patient_table */
    int arm;         /* as the arm column says: index into study.arms, -1 = missing */
    bool eligible;
    uint32_t *slides;
    size_t n_slides; /* indices */
} LobCohortPatient;

typedef struct {
    const LobStudy *study; /* borrowed */
    LobCohortSlide *slides;
    size_t n_slides; /* in order of slide_id (strcmp): the order of everything that follows */
    LobCohortPatient *patients;
    size_t n_patients; /* in order of patient_id */
    char **centers;
    size_t n_centers; /* sorted */
    /* [endpoint][patient] days, NAN missing (survival). Counted from time zero; where the endpoint has a
     * landmark, from the landmark, so that values <= 0 belong to patients no longer at risk at it. */
    double **time;
    /* [endpoint][patient] 0 censored, 1 event, 2 competing; or the label's class; -1 missing */
    int8_t **event;
    /* [endpoint][patient] index into study.arms, -1 = missing. Without a landmark: the arm column. With one
     * and start columns: what was started by the landmark. A treatment started later, or never, counts as not
     * given, whatever the arm column says; where the arm column says given and the start day is missing, the
     * arm is missing. The start of a part of the factorial code is in the start column of the level that is
     * this part alone ([1,0] or [0,1]), else in that of [1,1]; a part without one is taken from the arm
     * column.
     */
    int8_t **arm_at;
    char ***labels;     /* [endpoint] NULL-terminated class names (binary, multiclass), or NULL */
    double *covariates; /* [patient][n_covariates] NAN missing; text columns are coded by `levels` */
    char ***levels;     /* [covariate] NULL-terminated sorted texts of a text column, or NULL for a number */
    double *imaging;    /* [patient][n_imaging] NAN missing */
    char **imaging_names; /* [n_imaging] columns, stems expanded */
    size_t n_imaging;
    LobTable *patient_table; /* owned: for subgroup columns */
    char *flow;              /* eligibility counts, one line each */
} LobCohort;

/* Reads and checks both tables. Where the study names no slides table (features alone), every patient has one
 * slide of the patient's own id. A covariate is a number where every cell is one, else text by levels. Errors
 * are INPUT; all inconsistencies are collected and reported together (up to 20), each with file and line:
 * duplicate ids, a patient in two centers, a slide without patient, an event code not declared, negative
 * time, unknown arm, fewer than 2 centers under loco ... Things that are suspicious but not wrong go to the
 * log as warnings (an arm present in one center only, a patient without slides). */
LobCohort *lob_cohort_read(const LobStudy *study, GError **err);
void lob_cohort_free(LobCohort *cohort);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LobCohort, lob_cohort_free)

/* Keeps part of `of` of the slides (1 <= part <= of; at least one slide), taken evenly over the centers and
 * over each center's slides; the same ones each time. Patients stay, with or without slides. */
void lob_cohort_keep_share(LobCohort *cohort, uint32_t part, uint32_t of);

/* Whether each patient meets any of the filters: 1, 0, or -1 where a cell is empty and no other filter is
 * met. meets [n_patients]. INPUT error: no such column, a cell that has to be a number and is none. */
bool lob_cohort_meets_any(const LobCohort *cohort, const LobFilter *filters, size_t n, int8_t *meets,
                          GError **err);
/* Whether a patient takes part in an endpoint: eligible, outcome known, and still at risk at the landmark
 * (event and censoring both after it). */
bool lob_cohort_usable(const LobCohort *cohort, size_t endpoint, size_t patient);

/* Why treated patients may count as treated before they were, or NULL: start days without a landmark, or a
 * landmark without the start days of every treatment. The study's own text, of a survival endpoint. */
const char *lob_study_immortal_time(const LobStudy *study, size_t endpoint);
/* Centers x arms x events as text for people. Caller frees. */
char *lob_cohort_summary(const LobCohort *cohort);

/* ---- folds ---- */
typedef struct {
    int repeats, folds;
    /* [repeat][patient] 0 .. folds - 1, the fold that holds the patient out; -1 = not in this repeat; folds =
     * trains in every fold of it and is never held out (published splits that are no partition) */
    int16_t *fold;
    char **names; /* [folds] the held-out center's name under loco */
    size_t n_patients;
} LobFolds;

/* By study.validation; under scheme folds the file's format is told by its content: patient_id,repeat,fold
 * (fold may be "train": always in training), STAMP's splits.json, Patho-Bench's k=all.tsv, or a folder of
 * CLAM's splits_0.csv ... Validation patients of others are training patients here: early stopping draws its
 * own inner patients. Splits whose test patients partition the training ones become the folds of a repeat;
 * otherwise each split is a repeat of one fold. INPUT errors. */
LobFolds *lob_folds_make(const LobCohort *cohort, GError **err);
bool lob_folds_save(const LobFolds *folds, const LobCohort *cohort, const char *path, GError **err);

/* Splits as other tools read them, one a repeat and fold: who is held out is "test", who else is in the
 * repeat "train". stamp: splits.json, {"splits": [{"train_patients": [], "test_patients": []}, ...]}.
 * pathobench: k=all.tsv, a row a slide: case_id, slide_id, the task named after the endpoint, fold_0 ...; of
 * patients with an outcome. Under survival the task is 0..7, quartile of the uncensored times + 4 where the
 * event was seen, and two columns <endpoint>_event, <endpoint>_days follow it; else it is the class's number.
 * endpoint: index; ignored by stamp. */
bool lob_splits_save_stamp(const LobFolds *folds, const LobCohort *cohort, const char *path, GError **err);
bool lob_splits_save_pathobench(const LobFolds *folds, const LobCohort *cohort, size_t endpoint,
                                const char *path, GError **err);
void lob_folds_free(LobFolds *folds);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LobFolds, lob_folds_free)

/* How one column of a view's covariates is made from the cells of a patient table: fitted on training
 * patients, applied to anyone. */
typedef enum { LOB_COLUMN_NUMBER, LOB_COLUMN_LEVEL, LOB_COLUMN_MISSING } LobColumnKind;
typedef struct {
    LobColumnKind kind;
    char *covariate;         /* the table's column */
    char *level, *reference; /* LEVEL: 1 where the cell is `level`; reference is the level without a column */
    double median, mean, sd; /* NUMBER: what stands for a missing cell; then the scale */
} LobDesignColumn;
float lob_design_number(const LobDesignColumn *column, double value); /* NUMBER; NAN = missing */
void lob_design_clear(LobDesignColumn *columns, size_t n);            /* frees what they hold, and them */

/* In place of a fold: none is held out, all usable patients train. */
#define LOB_FOLD_FINAL (-1)

/* ---- the training view: the only way to a fold's training data ----
 * Holds what was fitted on the training
 * patients (covariate imputation and scaling, time bins) and who they are. A view never exposes an outcome of
 * the held-out fold: `time` and `event` are NAN and -1 there. */
typedef struct {
    const LobCohort *cohort; /* borrowed */
    size_t endpoint;
    int repeat, fold;
    uint32_t *train;
    size_t n_train; /* usable patients of the other folds, ascending */
    uint32_t *inner;
    size_t n_inner; /* of train, ascending: a fifth, drawn within training centers and outcomes, for early
                       stopping */
    uint32_t *held_out;
    size_t n_held_out; /* usable patients of this fold: inputs may be scored, outcomes are not here */
    double *time;
    int8_t *event;       /* [patient]; blanked for the held-out. Of labels: place among the view's classes */
    size_t n_classes;    /* labels that training patients have: one seen in the held-out fold alone is none */
    size_t *classes;     /* [n_classes] as indices of the cohort's labels, ascending; NULL of survival */
    size_t n_covariates; /* after missingness flags and dropped columns; imaging comes last */
    size_t n_clinical;   /* of n_covariates, the first: those of the study's covariates */
    char **names;        /* [n_covariates] "age", "age missing", "sex=m" */
    LobDesignColumn *design; /* [n_covariates] */
    float *covariates;       /* [patient][n_covariates] imputed and scaled by training values; never NAN */
    double *cuts;
    /* Ends of the intervals (cuts[b-1], cuts[b]], days, ascending: quantiles of training event times, the
     * last one the largest. 0 unless survival. */
    size_t n_cuts;
} LobView;

/* `seed` chooses the inner patients; fold may be LOB_FOLD_FINAL. NOT_ESTIMABLE where nothing can be
 * trained (no event, or fewer than two classes in training). */
LobView *lob_view_new(const LobCohort *cohort, const LobFolds *folds, size_t endpoint, int repeat, int fold,
                      uint64_t seed, GError **err);
void lob_view_free(LobView *view);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LobView, lob_view_free)

#endif
