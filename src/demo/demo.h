/* Synthetic multi-center cohorts with known truth: who is ill how, what was done, what came of it, and slides
 * or bags that show it. What is planted and why: the numbers in demo_cohort.c's table. Local: a caller draws
 * slides in any order, on any rank; a slide's bytes depend on (seed, slide_id) alone. Writing feature files
 * for --bags is the caller's (hdf5io). */
#ifndef LOB_DEMO_H
#define LOB_DEMO_H

#include "base/base.h"

/* Endpoints of the cohort; the study file asks for those of LobDemoOptions.endpoints, in this order. */
enum {
    LOB_DEMO_RFS = 1,       /* recurrence-free survival */
    LOB_DEMO_OS = 2,        /* overall survival */
    LOB_DEMO_RELAPSE = 4,   /* time to recurrence, death before it competing */
    LOB_DEMO_CD8 = 8,       /* immune label: half of the patients, little noise */
    LOB_DEMO_PDL1 = 16,     /* immune label: 3 in 10, more noise */
    LOB_DEMO_RESPONSE = 32, /* objective response, treated patients only */
    LOB_DEMO_AE = 64        /* grade 3-4 adverse event, treated patients only */
};

/* Which cells of the covariates the tables leave empty. */
typedef enum {
    LOB_DEMO_COMPLETE,
    LOB_DEMO_MISSING_RANDOM, /* a fifth of size, MVI and AFP */
    LOB_DEMO_MISSING_VALUE,  /* size and AFP, the more often the larger */
    LOB_DEMO_MISSING_COLUMN  /* MVI in the whole last center */
} LobDemoMissing;

typedef struct {
    uint64_t seed;
    int patients, centers; /* patients in all */
    int tiles;     /* wanted tissue tiles a patient at 0.5 um/px, 224 px (slides); or rows a bag (bags) */
    int dim;       /* columns of a bag */
    bool bags;     /* the large benefit cohort's numbers instead of the slide cohort's */
    bool null;     /* sharp null: no path from any image latent to the outcome */
    bool immortal; /* at risk from surgery on, treatment works from its start day, some start after day 90: a
                      naive comparison is then biased by immortal time */
    double grade_effect, tace_effect, tace_immune_effect, covariate_effect, systemic_effect, vessel_effect;
    double indication; /* log odds of treatment by measured size and MVI, as a multiple of the default */
    double hidden_indication; /* log odds of treatment per SD of grade, which only the image shows */
    double center_lean;       /* log odds of TACE: plus in the first center, minus in the others */
    double center_sd;         /* SD between centers of the log baseline hazard */
    double center_effect_sd;  /* SD between centers of TACE's log hazard ratio */
    double systemic_share;    /* treated where indication is average */
    bool early;               /* treatment works in the first two years only (not with immortal) */
    LobDemoMissing missing;
    unsigned endpoints; /* of the study file */
} LobDemoOptions;

void lob_demo_defaults(LobDemoOptions *options, bool bags);

typedef struct {
    char patient_id[24];
    int center, n_slides;
    char slide_id[2][32];
    double grade, immune; /* latents, mean 0, SD 1 */
    double vessel;        /* vessel-encapsulating pattern: 0 or 1 */
    double center_effect; /* on the log-hazard, part of lp_arm */
    double age, tumor_size_cm, afp_log10;
    int sex, mvi;
    int arm;                       /* bit 0 TACE, bit 1 systemic; what was given */
    int intended;                  /* what was decided at surgery; differs only under `immortal` */
    double tace_day, systemic_day; /* NAN where not given */
    double time_days;
    int event;          /* recurrence-free survival */
    double center_tace; /* this center's own part of TACE's log hazard ratio */
    double censor_days; /* end of follow-up */
    double os_days;
    int os_event;
    int relapse;                   /* 0 censored, 1 recurrence, 2 death without it; at time_days */
    double cd8_score, pdl1_score;  /* immune and what staining adds: mean 0, SD 1 */
    double til_score;              /* immune as a pathologist scores it */
    int cd8_high, pdl1_high;       /* scores above 0 and above .5 */
    int response, ae34;            /* -1 where not treated */
    double p_response[4], p_ae[4]; /* by arm; NAN for none */
    double lp_inputs;   /* true linear predictor of what the model is given: no arm, no hidden covariate */
    double lp_arm[4];   /* true log-hazard ratio to the baseline under each arm, center_effect included */
    double rmst_arm[4]; /* true restricted mean, days, over the 5 years from the landmark */
} LobDemoPatient;

typedef struct {
    LobDemoOptions options;
    LobDemoPatient *patients;
    size_t n_patients;
    size_t n_slides;
} LobDemo;

LobDemo *lob_demo_new(const LobDemoOptions *options);
void lob_demo_free(LobDemo *demo);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LobDemo, lob_demo_free)

/* Everybody is recurrence-free at the landmark (the first imaging after surgery) unless options.immortal. */
#define LOB_DEMO_LANDMARK_DAYS 90

/* The name of a center as the tables give it. Caller frees. */
char *lob_demo_center_name(int center);

/* study.yaml, slides.csv, patients.csv, truth.csv in `dir`. Rows of slides.csv point at
 * slides/<slide_id>.svs, with bags at features/<slide_id>.h5. */
bool lob_demo_write_tables(const LobDemo *demo, const char *dir, GError **err);

/* Draws slide `slide` (0 or 1) of a patient to dir/slides/<slide_id>.svs (pyramidal tiled JPEG, Aperio
 * description) and its nuclei to dir/nuclei/<slide_id>.csv (x, y level-0 px, area_um2, kind). Written under a
 * temporary name and renamed. */
bool lob_demo_draw_slide(const LobDemo *demo, size_t patient, int slide, const char *dir, GError **err);

/* What drawing a slide costs, in no particular unit: its pixels. */
double lob_demo_slide_cost(const LobDemo *demo, size_t patient, int slide);

/* A patient's bag for --bags: out [tiles][dim]. */
void lob_demo_bag(const LobDemo *demo, size_t patient, float *out);

#endif
