/* Private to the report room: safe HTML, tables that are also CSV, plots as inline SVG, held-out rows,
 * evidence, the sections of the page. */
#ifndef LOB_REPORT_INTERNAL_H
#define LOB_REPORT_INTERNAL_H

#include "report/report.h"
#include "stats/stats.h"

/* ---- what a page is made from ---- */
typedef struct {
    const char *sha256, *lock, *study; /* study: the name of the one trained on; lock may be NULL */
} LobLockedModel;

typedef struct {
    const LobCohort *cohort;
    const char *out;                     /* folder */
    LobLockedModel locked;               /* sha256 NULL: a validation */
    LobTable *slides;                    /* slides.csv; NULL where features were given */
    LobTable *metrics;                   /* metrics.csv */
    LobTable *meta;                      /* meta.csv, or NULL */
    LobTable *predictions;               /* or NULL */
    LobTable *benefit, *benefit_metrics; /* benefit.csv and benefit_metrics.csv, or NULL */
    GPtrArray *models;                   /* names in predictions.csv; the study's own first */
    GHashTable *patients;                /* id -> index + 1 */
    uint8_t *predicted;                  /* [n_endpoints][n_patients], or NULL without predictions */
    GArray *evidence;                    /* LobEvidence */
    GPtrArray *caveats;                  /* sentences, made while the page is */
    GStringChunk *strings;               /* what evidence points to */
    GHashTable *saved;                   /* names of files in figures/ */
    GString *html;
} LobPage;

/* ---- external.c ---- */
/* Fills locked where the folder holds a locked model's predictions. */
bool lob_page_read_external(LobPage *page, GError **err);
/* What is to be said on the page of a validation, or of a locked model. */
const char *lob_page_either(const LobPage *page, const char *validation, const char *external);
/* Where the scored patients are, as the scheme of the validation has it. */
const char *lob_page_where(const LobPage *page);
void lob_page_external_heading(const LobPage *page, GString *out);

/* ---- analysed.c ---- */
/* Fills predicted. INPUT error where predictions.csv lacks a column. */
bool lob_page_read_predicted(LobPage *page, GError **err);
/* Whether a patient takes part in an endpoint and the study's own model predicts for them. */
bool lob_page_analysed(const LobPage *page, size_t endpoint, size_t patient);

/* ---- openings.c ---- */
bool lob_page_openings(LobPage *page, GError **err); /* the table, where there is a ledger */

/* ---- stale.c ---- */
/* Removes what an earlier report left in figures/. */
bool lob_page_remove_stale(const LobPage *page, GError **err);

/* ---- html.c: text from tables is never trusted ---- */
void lob_html_text(GString *out, const char *text); /* escapes <>&"' and drops control characters */
void lob_html_json(GString *out, const char *text); /* a JSON string with its quotes, safe inside <script> */
void lob_html_printf(GString *out, const char *format, ...)
    G_GNUC_PRINTF(2, 3); /* markup from the program alone */
/* A number inside a sentence: <data> carries all its digits, so that a reader can find its cell. */
void lob_html_number(GString *out, double value, int decimals);
/* <section> with <h2 id=...> and a paragraph that says what the section answers. */
void lob_html_section(GString *out, const char *id, const char *title, const char *lead);
void lob_html_section_end(GString *out);
void lob_html_heading(GString *out, const char *title); /* <h3> */

extern const char lob_html_style[];  /* CSS: light, dark, narrow, print */
extern const char lob_html_script[]; /* sorting and the patient look-up; no network */

/* ---- sheet.c: a sortable table and figures/<name>.csv with the same rows and columns, all digits ---- */
typedef struct LobSheet LobSheet;
/* columns: NULL-terminated; a name that begins with # is of numbers and right-aligned. Every row needs as
 * many cells as there are columns. */
LobSheet *lob_sheet_new(LobPage *page, const char *caption, const char *const *columns, const char *name, ...)
    G_GNUC_PRINTF(4, 5);
void lob_sheet_text(LobSheet *sheet, const char *text);
void lob_sheet_number(LobSheet *sheet, double value, int decimals); /* NAN: a dash; an empty cell */
void lob_sheet_p(LobSheet *sheet, double p);                        /* "< 0.0001" below that */
bool lob_sheet_end(LobSheet *sheet, GError **err);                  /* saves and frees */
/* A figure's data: saves figures/<name>.csv. */
bool lob_page_save_data(const LobPage *page, LobCsv *csv, const char *name, GError **err);
/* <figure> and its accessible name; the caption ends it. csv: the file with its data. */
void lob_figure_begin(LobPage *page);
void lob_figure_end(LobPage *page, const char *csv, const char *caption);

/* ---- plot.c: axes and marks in data units ---- */
typedef struct {
    GString *svg;
    double width, height;            /* px of the view box */
    double left, right, top, bottom; /* margins, px */
    double x0, x1, y0, y1;           /* data range of the axes */
} LobPlot;

/* title is read by screen readers; desc says what is to be seen in one sentence. */
void lob_plot_begin(LobPlot *plot, GString *svg, double width, double height, const char *title,
                    const char *desc);
double lob_plot_x(const LobPlot *plot, double x);
double lob_plot_y(const LobPlot *plot, double y);
void lob_plot_x_axis(LobPlot *plot, const double *ticks, size_t n, double unit,
                     const char *label); /* labels show tick / unit */
void lob_plot_y_axis(LobPlot *plot, const double *ticks, size_t n, int decimals, const char *label);
void lob_plot_line(LobPlot *plot, double xa, double ya, double xb, double yb,
                   const char *css_class); /* data units */
/* Points joined by straight lines, or by steps (right, then up or down). Rows with NAN, and what lies outside
 * the axes, are left out. */
void lob_plot_path(LobPlot *plot, const double *x, const double *y, size_t n, bool steps,
                   const char *css_class);
void lob_plot_dot(LobPlot *plot, double x, double y, double radius, const char *css_class);
void lob_plot_text(LobPlot *plot, double px, double py, const char *anchor, const char *css_class,
                   const char *text); /* px */
/* One entry of a legend at px: a sample of the line and its name. */
void lob_plot_key(LobPlot *plot, double px, double py, const char *css_class, const char *text);
void lob_plot_end(LobPlot *plot);
/* At most `most` round ticks that cover [low, high]; returns their number. */
size_t lob_plot_ticks(double low, double high, double *ticks, size_t most);
/* What fits into `width` px at the plots' font size: the text, or its beginning and an ellipsis. */
char *lob_plot_fit(const char *text, double width);

/* ---- sample.c: held-out rows of one endpoint and model ---- */
#define LOB_NO_INDEX UINT32_MAX
typedef struct {
    const char *endpoint, *model;
    const LobEndpoint *spec;
    size_t index, n, repeats; /* of the endpoint; rows; repeats in the table, of which the first is here */
    double *time, *lp;
    double *risk; /* [n_horizons][n] event probability, NAN where there is none */
    /* [n] S_i at T_i, or at the last day that training covers where that is earlier, and the event by then:
     * columns s_own and event_own; NULL without both. */
    double *own;
    uint8_t *own_event;
    double *probability; /* [n] of the second class of a binary endpoint; NULL else */
    uint8_t *event, *high;
    uint32_t *center, *arm, *patient; /* LOB_NO_INDEX: not known */
    double events;
} LobSample;

/* Rows with a known outcome. INPUT error where predictions.csv lacks a column. */
bool lob_sample_read(LobSample *sample, const LobPage *page, size_t endpoint, const char *model,
                     GError **err);
/* The rows with keep[i] != 0. */
void lob_sample_take(LobSample *out, const LobSample *from, const uint8_t *keep);
void lob_sample_of_center(LobSample *out, const LobSample *from, uint32_t center);
void lob_sample_clear(LobSample *sample);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LobSample, lob_sample_clear)
/* stratified: pairs and hazards within centers. */
LobFollowUp lob_sample_follow_up(const LobSample *sample, bool stratified);
/* The predictions at horizon h, or NULL where some row has none. */
const double *lob_sample_risk(const LobSample *sample, size_t h);

/* ---- curves.c: Kaplan-Meier curves of groups ---- */
typedef struct {
    const LobSample *sample;
    const uint32_t *group; /* [n] 0..n_groups-1; anything else: left out */
    const char *const *names;
    size_t n_groups;
    const double *weight; /* NULL: each row once, with bands and numbers at risk */
    const char *title, *desc;
} LobCurves;
/* Draws, and saves figures/<name>.csv. */
bool lob_curves(LobPage *page, const LobCurves *curves, const char *name, GError **err);

/* ---- evidence.c: every computed figure of the page, as it is in evidence.csv ---- */
#define LOB_ALL "all"        /* rows of all held-out centers together */
#define LOB_POOLED "pooled"  /* random effects over centers */
#define LOB_NEW "new center" /* prediction interval */
typedef struct {
    const char *endpoint, *model, *center, *metric, *note;
    double horizon; /* days; NAN: over all follow-up */
    double estimate, se, lower, upper, events;
    size_t n;
} LobEvidence;

void lob_evidence_add(LobPage *page, const LobSample *sample, const char *center, const char *metric,
                      double horizon, double events, LobEstimate value);
/* NULL where there is none. horizon NAN: over all follow-up. */
const LobEvidence *lob_evidence_find(const LobPage *page, const char *endpoint, const char *model,
                                     const char *center, const char *metric, double horizon);
bool lob_evidence_compute(LobPage *page, GError **err);
bool lob_evidence_save(const LobPage *page, GError **err);      /* evidence.csv */
bool lob_evidence_save_json(const LobPage *page, GError **err); /* evidence.json */
LobEstimate lob_estimate_bare(double value, const char *reason);

/* ---- pooled.c: a row of meta.csv ---- */
typedef struct {
    double centers, estimate, lower, upper, next_lower, next_upper; /* next: prediction interval */
} LobPooled;
/* centers = 0 and the rest NAN where there is no such row. */
bool lob_pooled_read(LobPooled *pooled, const LobPage *page, const char *endpoint, const char *model,
                     const char *metric, GError **err);

/* ---- page_discrimination.c: a line a center ---- */
typedef struct {
    const char *center;
    double estimate, lower, upper, n, events; /* n NAN: not said */
    bool pooled, prediction;
} LobForestRow;
typedef struct {
    const char *metric, *axis, *what;
    double low, high, chance; /* least range of the axis; the line of no effect */
    bool bounded;             /* to 0..1 */
    const char *file;         /* the metric in the names of files; NULL: as it is */
} LobForestKind;
void lob_forest(LobPage *page, const GArray *rows, const char *title, const LobForestKind *kind);

/* ---- contrasts.c: what the arms can show at all, known before any result ---- */
#define LOB_LEAST_EVENTS 30 /* an arm with fewer is not compared */
#define LOB_LEAST_ESS 50
typedef struct {
    size_t endpoint;
    uint32_t arm; /* against arm 0 */
    size_t n[2];  /* reference, arm */
    double events[2];
    double center_share; /* of the arm's patients, from its largest center */
    double detectable;   /* log hazard ratio per SD of an effect score; 80 % power, one-sided 2.5 % */
    const char *reason;  /* why the contrast is not estimable; NULL where it is */
} LobContrast;
/* Rows of every survival endpoint and arm other than the reference. Free with g_array_unref. */
GArray *lob_contrasts(const LobPage *page);

/* ---- propensity.c: chances of the arms given the covariates, and overlap weights ---- */
typedef struct {
    LobSample sample; /* rows of the compared arms */
    size_t n_arms, n_covariates;
    uint32_t *arm;       /* [n] 0.. among the compared */
    uint32_t *arm_of;    /* [n_arms] index into study.arms */
    double *covariate;   /* [n_covariates][n] imputed by the median */
    char **names;        /* [n_covariates] NULL-terminated */
    double *probability; /* [n][n_arms] */
    double *weight;      /* [n] overlap */
    double *ess;         /* [n_arms] */
    LobPositivity positivity;
    const char *reason; /* why there are no weights; NULL where there are */
} LobPropensity;
void lob_propensity(LobPropensity *result, const LobPage *page, const LobSample *sample);
void lob_propensity_clear(LobPropensity *result);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LobPropensity, lob_propensity_clear)

/* ---- sections; each leaves itself out, with a word, where its table is absent ---- */
bool lob_page_verdict(LobPage *page, GError **err);
bool lob_page_power(LobPage *page, GError **err);
bool lob_page_cohort(LobPage *page, GError **err);
bool lob_page_slides(LobPage *page, GError **err);
bool lob_page_discrimination(LobPage *page, GError **err);
/* Part of the discrimination section: AUC at the horizons, ROC curves, Uno's C. */
bool lob_page_time_dependent(LobPage *page, GError **err);
bool lob_page_risk_groups(LobPage *page, GError **err);
/* Part of the risk groups: cumulative incidence where the endpoint names a competing event. */
bool lob_page_competing(LobPage *page, const LobSample *sample, GError **err);
bool lob_page_calibration(LobPage *page, GError **err);
bool lob_page_utility(LobPage *page, GError **err);
bool lob_page_subgroups(LobPage *page, GError **err);
bool lob_page_arms(LobPage *page, GError **err);
bool lob_page_benefit(LobPage *page, GError **err);
/* Part of the benefit section: permutation null, targeting curve, arms by third, decision curve. */
bool lob_page_targeting(LobPage *page, GError **err);
bool lob_page_maps(LobPage *page, GError **err);
bool lob_page_immune(LobPage *page, GError **err);
bool lob_page_leakage(LobPage *page, GError **err);
bool lob_page_training(LobPage *page, GError **err);
bool lob_page_patients(LobPage *page, GError **err);
bool lob_page_checklist(LobPage *page, GError **err);
bool lob_page_provenance(LobPage *page, GError **err);
void lob_page_caveat(LobPage *page, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* The script beside the tables that recomputes the headline figures in R. */
bool lob_recompute_save(const LobPage *page, GError **err);

#endif
