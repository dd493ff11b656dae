/* Survival and validation statistics, each with the source of its method. Everything is local. The
 * order of the rows matters to the rounding of sums alone.
 *
 * Conventions that hold everywhere
 * - Not available is NAN, and `reason` (static text, NULL otherwise) says why. Nothing aborts on odd data.
 * - Times are in the caller's unit (days), >= 0 and finite; equal means equal to the bit, so give whole days.
 *   At a tied time deaths precede censorings. Rows with a missing value have to be dropped before.
 * - A score or linear predictor is higher for the worse patient.
 * - Intervals are 95 % and two-sided unless a level is asked for; p values are two-sided.
 * - NULL for an optional array means: weight 1, one stratum, every row its own cluster, offset 0.
 * - Arrays given in are borrowed; results own theirs and are released by the matching _clear function. */
#ifndef LOB_STATS_H
#define LOB_STATS_H

#include "base/base.h"

/* ---- what goes in and comes out ---- */
typedef struct {
    size_t n;
    const double *time;
    const uint8_t *event; /* 0 censored, 1 event; competing causes 2, 3, ... for lob_aalen_johansen alone */
    const double *weight; /* optional, >= 0, finite */
    const uint32_t *stratum; /* optional labels, any values (center) */
    const uint32_t *cluster; /* optional labels, any values (patient, center) */
} LobFollowUp;

/* The first row that breaks the conventions as an INPUT error. */
bool lob_followup_check(const LobFollowUp *data, GError **err);

typedef struct {
    double estimate, se, lower, upper;
    const char *reason;
} LobEstimate;

typedef struct {
    double statistic, df, p;
    const char *reason;
} LobTest;

/* ---- distributions ---- */
double lob_normal_cdf(double x);
double lob_normal_quantile(double p);
double lob_t_cdf(double x, double df);
double lob_t_quantile(double p, double df);
double lob_chi2_upper(double x, double df); /* P(X > x) */
double lob_f_upper(double x, double df1, double df2);

/* Linear interpolation between order statistics (R's type 7); p in 0..1. NAN for n = 0. Sorts a copy. */
double lob_quantile(const double *x, size_t n, double p);

/* ---- Kaplan-Meier ----
 * Kaplan & Meier 1958; variance Greenwood 1926; interval log(-log S) (Kalbfleisch & Prentice), median
 * interval by inverting it (Brookmeyer & Crowley 1982), as R's survfit(conf.type = "log-log").
 * No variance yet (S = 1) gives the interval [S, S]; S = 0 gives an interval of NAN. Weights count as
 * repetitions: with sampling weights S is right, its se is not (bootstrap it). */
typedef struct {
    size_t n;       /* rows */
    size_t n_times; /* distinct times, events and censorings */
    double *time;   /* [n_times] ascending, as all below; at_risk is just before time */
    double *at_risk, *events, *censored;
    double *survival, *se, *lower, *upper;
    double total_events;
    double median, median_lower, median_upper; /* NAN where the curve (or its bound) never crosses 0.5 */
} LobKm;

void lob_km_fit(LobKm *km, const LobFollowUp *data);
void lob_km_clear(LobKm *km);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LobKm, lob_km_clear)
/* S(t). Beyond the last time: 0 where the curve has reached 0, else not available. */
LobEstimate lob_km_at(const LobKm *km, double t);
double lob_km_at_risk(const LobKm *km, double t); /* weight of rows with time >= t */
double lob_km_events_by(const LobKm *km, double t);
/* Median follow-up: Kaplan-Meier with events and censorings exchanged (Schemper & Smith 1996). */
LobEstimate lob_followup_median(const LobFollowUp *data);

/* Restricted mean survival time to tau; se by Greenwood's plug-in (Klein & Moeschberger). Not available where
 * tau lies beyond a last time that is censored. */
LobEstimate lob_rmst(const LobFollowUp *data, double tau);
typedef struct {
    double tau; /* the one used: lowered to the smaller arm's last time where that is censored (survRM2) */
    bool tau_lowered;
    LobEstimate arm[2];
    LobEstimate difference; /* arm 1 - arm 0 */
    double p;
} LobRmstDifference;
/* arm [n]: 0 or 1. */
LobRmstDifference lob_rmst_difference(const LobFollowUp *data, const uint8_t *arm, double tau);

/* Jackknife pseudo-observations n*theta - (n-1)*theta_-i of RMST to tau (Andersen, Klein & Rosthoj 2003);
 * out [n]. O(n log n). false where RMST to tau is not available. Ignores weight, stratum, cluster. */
bool lob_pseudo_rmst(const LobFollowUp *data, double tau, double *out);
/* The same for the event probability 1 - S(t). */
bool lob_pseudo_risk(const LobFollowUp *data, double t, double *out);

/* ---- competing risks: Aalen & Johansen 1978 ----
 * Cumulative incidence of cause 1..n_causes; se = infinitesimal jackknife, which here equals the multinomial
 * Greenwood form. Ignores stratum and cluster. */
typedef struct {
    size_t n_times, n_causes;
    double *time, *at_risk; /* [n_times] */
    double *incidence, *se; /* [n_causes][n_times] */
    double *survival;       /* [n_times] free of any event */
} LobAalenJohansen;
void lob_aalen_johansen(LobAalenJohansen *aj, const LobFollowUp *data, size_t n_causes);
void lob_aalen_johansen_clear(LobAalenJohansen *aj);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LobAalenJohansen, lob_aalen_johansen_clear)
LobEstimate lob_aalen_johansen_at(const LobAalenJohansen *aj, size_t cause, double t); /* cause 1.. */

/* ---- log-rank: Mantel 1966, k samples, stratified by data->stratum ----
 * Groups with no expectation are dropped from the test. Weights are not defined here: they have to be NULL.
 */
typedef struct {
    size_t n_groups;
    double *n, *observed, *expected; /* [n_groups] */
    LobTest test;
} LobLogRank;
/* group [n]: 0 .. n_groups-1 */
void lob_log_rank(LobLogRank *result, const LobFollowUp *data, const uint32_t *group, size_t n_groups);
void lob_log_rank_clear(LobLogRank *result);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LobLogRank, lob_log_rank_clear)

/* ---- concordance ----
 * Harrell 1982; Uno et al. 2011 where uno is set (pairs weigh 1/G(t-)^2). Comparable: the earlier row has an
 * event and the other one a later time, or the same time and a censoring. Pairs are taken within strata and
 * their counts added. se: infinitesimal jackknife, summed within clusters, as R's concordance. O(n log n).
 * tau bounds the event times used (ymax of R). No comparable pair, or all of them tied in the score (where R
 * gives 0.5 with no width): NAN with a reason. */
typedef struct {
    double tau; /* 0 or INFINITY: no bound */
    bool uno;
    bool no_variance; /* saves most of the time where a bootstrap follows */
} LobConcordanceOptions;
typedef struct {
    double c, se, lower, upper; /* interval: c +- z se, clipped to 0..1 */
    double concordant, discordant, tied_score, tied_time, tied_both;
    size_t n, n_events;
    bool pooled_censoring; /* uno: G(tau) below 0.1 in some stratum, so one G for all */
    double *influence;     /* [n] of c, by row of the data; NULL with no_variance */
    const char *reason;
} LobConcordance;
/* score [n]; options may be NULL. */
void lob_concordance(LobConcordance *result, const LobFollowUp *data, const double *score,
                     const LobConcordanceOptions *options);
/* The definition, pair by pair, O(n^2): the oracle for tests. */
void lob_concordance_reference(LobConcordance *result, const LobFollowUp *data, const double *score,
                               const LobConcordanceOptions *options);
void lob_concordance_clear(LobConcordance *result);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LobConcordance, lob_concordance_clear)

typedef struct {
    LobEstimate difference; /* first - second */
    double z, p;
} LobPairedDifference;
/* Of two concordances on the same rows (both with variance); cluster as given to both. Differences that are
 * zero with no variance give z = 0, p = 1. */
LobPairedDifference lob_concordance_difference(const LobFollowUp *data, const LobConcordance *first,
                                               const LobConcordance *second);

/* Sorted once, so that many weightings of the same rows (a bootstrap) cost one pass each. */
typedef struct LobConcordancePlan LobConcordancePlan;
LobConcordancePlan *lob_concordance_plan_new(const LobFollowUp *data, const double *score);
double lob_concordance_plan_c(LobConcordancePlan *plan,
                              const double *weight); /* weight [n]; NAN: nothing to rank */
void lob_concordance_plan_free(LobConcordancePlan *plan);
/* Chance of a concordance as large where scores are dealt out anew within strata: (1 + draws that reach it) /
 * (1 + draws); statistic: C. Exact for one center that the scores know nothing of; over the folds of a
 * cross-validation, whose models share training data, conditional on the models. */
LobTest lob_concordance_permutation(const LobFollowUp *data, const double *score, size_t draws,
                                    uint64_t seed);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LobConcordancePlan, lob_concordance_plan_free)

/* ---- random-effects meta-analysis over centers ----
 * tau2: DerSimonian & Laird 1986, or REML by Fisher scoring (Viechtbauer 2005). Hartung & Knapp 2001 with the
 * factor floored at 1 on request (Roever 2015). Prediction intervals in both conventions: t with k-2 df and
 * the plain se (Higgins, Thompson & Spiegelhalter 2009), and metafor's for test = "knha" (t with k-1 df and
 * the se in use). Centers with a variance that is not finite and > 0 are left out and counted.
 * k = 0: all NAN. k = 1: that center's own normal interval, tau2 = 0. k < 3: no prediction interval. */
typedef enum { LOB_TAU2_DL, LOB_TAU2_REML } LobTau2Method;
typedef struct {
    LobTau2Method tau2;
    bool hartung_knapp; /* else normal */
    bool floor;         /* Hartung-Knapp never narrower than the plain interval's se */
} LobMetaOptions;
typedef struct {
    size_t k, dropped;
    double mu, se, lower, upper, p;                      /* by the options; p against 0 */
    double se_plain;                                     /* 1/sqrt(sum of weights) */
    double tau2, q, q_p, i2;                             /* i2 in 0..1 */
    double prediction_lower, prediction_upper;           /* t(k-2), se_plain */
    double prediction_knha_lower, prediction_knha_upper; /* t(k-1), se */
    bool converged;
    const char *reason;
} LobMeta;
LobMeta lob_meta(const double *estimate, const double *se, size_t k, const LobMetaOptions *options);

/* Scales on which to pool. C or AUC: logit with se/(C(1-C)); NAN at 0 and 1. */
double lob_logit(double p);
double lob_expit(double x);
LobMeta lob_meta_of_c(const double *c, const double *se, size_t k, const LobMetaOptions *options); /* back on
    the scale of C: mu, bounds and prediction bounds; se, tau2, q stay on the logit scale */

/* ---- Cox regression ----
 * Efron 1977 for ties; strata, weights, offset; robust variance sum over clusters of the weighted dfbeta
 * (Lin & Wei 1989), as R's coxph(ties = "efron"). A column that is constant or a combination of earlier ones
 * gets beta NAN (aliased). No event: everything NAN. `separated` is set where the likelihood is flat while a
 * coefficient still grows: that coefficient is infinite and its se means nothing. */
typedef struct {
    size_t p;
    const double *x;      /* [n][p] */
    const double *offset; /* [n], optional */
    bool robust;          /* also the cluster-robust variance */
} LobCoxDesign;
typedef struct {
    size_t n, n_events, p, rank;
    double *beta, *se;       /* [p] */
    double *variance;        /* [p][p] inverse information; 0 for aliased columns */
    double *robust_se;       /* [p], NULL unless asked for, as the next */
    double *robust_variance; /* [p][p] */
    double *dfbeta;          /* [n][p] weighted, with robust */
    double *mean;            /* [p] column means, on which the fit is centered */
    double loglik_null, loglik;
    LobTest wald, likelihood_ratio, score, robust_wald;
    int iterations;
    bool converged, separated;
    const char *reason;
} LobCox;
void lob_cox_fit(LobCox *fit, const LobFollowUp *data, const LobCoxDesign *design);
void lob_cox_clear(LobCox *fit);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LobCox, lob_cox_clear)
/* Joint Wald test of some coefficients; robust variance where asked for. */
LobTest lob_cox_wald(const LobCox *fit, const size_t *columns, size_t n_columns, bool robust);
/* Likelihood ratio of nested fits on the same rows. Not valid with sampling weights. */
LobTest lob_cox_compare(const LobCox *smaller, const LobCox *larger);

/* Cumulative baseline hazard (Efron increments) for x = 0 and offset 0, per stratum. */
typedef struct {
    size_t n_strata;
    uint32_t *stratum; /* [n_strata] labels, ascending */
    size_t *first;     /* [n_strata + 1] into time and hazard */
    double *time, *hazard;
} LobBaseline;
void lob_cox_baseline(LobBaseline *baseline, const LobCox *fit, const LobFollowUp *data,
                      const LobCoxDesign *design);
void lob_baseline_clear(LobBaseline *baseline);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LobBaseline, lob_baseline_clear)
double lob_baseline_at(const LobBaseline *baseline, uint32_t stratum,
                       double t); /* 0 before the first event */

/* Proportional hazards: score test for a coefficient moving with g(t) = 1 - KM(t-) (Grambsch & Therneau 1994,
 * as cox.zph of R's survival 3). */
typedef struct {
    size_t p;
    LobTest *column; /* [p] */
    LobTest global;
} LobProportionality;
void lob_cox_proportionality(LobProportionality *result, const LobCox *fit, const LobFollowUp *data,
                             const LobCoxDesign *design);
void lob_proportionality_clear(LobProportionality *result);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LobProportionality, lob_proportionality_clear)

/* Does the arm's effect change with a modifier? Cox of arm + modifier + arm x modifier, stratified by
 * data->stratum, with further columns where given. */
typedef struct {
    size_t n_contrasts;       /* n_arms - 1, against arm 0 */
    LobEstimate *interaction; /* [n_contrasts] log HR per unit of modifier; robust se */
    LobTest likelihood_ratio; /* not available with weights */
    LobTest robust_wald;      /* joint */
    const char *reason;
} LobInteraction;
/* arm [n] 0..n_arms-1, modifier [n], columns [n][n_columns] further covariates or NULL. */
void lob_interaction(LobInteraction *result, const LobFollowUp *data, const uint32_t *arm, size_t n_arms,
                     const double *modifier, const double *columns, size_t n_columns);
void lob_interaction_clear(LobInteraction *result);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LobInteraction, lob_interaction_clear)

/* Log hazard ratio per SD of the modifier that an interaction test of the given size and power would find:
 * (z_alpha + z_power) / sqrt(events share (1 - share)), after Schoenfeld 1983. share: of one arm of two. */
double lob_detectable_interaction(double events, double share, double one_sided_alpha, double power);
/* VanderWeele & Ding 2017, from a hazard ratio; common: outcome not rare (> 15 %). */
double lob_e_value(double hazard_ratio, bool common);

/* ---- prediction at a horizon ----
 * The censoring distribution G comes from all rows (stratum is ignored), with left limits at events. */
/* Cumulative/dynamic AUC(t), IPCW: cases time <= t with an event weigh 1/G(T-), controls time > t (Uno 2007,
 * Hung & Chiang 2010). NAN without case or control. se: infinitesimal jackknife with G held fixed
 * (that G is estimated is ignored; bootstrap for the full one). */
LobEstimate lob_auc_at(const LobFollowUp *data, const double *score, double t);
/* Over a grid, weighted by the drops of S (Uno/Hung): sum AUC(t_k)(S(t_k-1) - S(t_k)) / (1 - S(t_K)). */
double lob_auc_mean(const LobFollowUp *data, const double *score, const double *times, size_t n_times);
/* The curve at t: thresholds descending, ending at -inf. false where AUC is not available. */
typedef struct {
    size_t n;
    double *threshold, *sensitivity, *specificity;
} LobRoc;
bool lob_roc_at(LobRoc *roc, const LobFollowUp *data, const double *score, double t);
void lob_roc_clear(LobRoc *roc);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LobRoc, lob_roc_clear)

/* IPCW Brier score (Graf et al. 1999; G(T-) for events, G(t) for survivors). IPA = 1 - brier/null with the
 * Kaplan-Meier prediction as null (Kattan & Gerds 2018). */
typedef struct {
    double brier, null_brier, ipa;
    double se;          /* of brier, G held fixed */
    double mean_weight; /* close to 1: how far the weights are from n */
    const char *reason;
} LobBrier;
LobBrier lob_brier_at(const LobFollowUp *data, const double *survival, double t); /* survival [n] = S_i(t) */
/* Trapezoid over the grid divided by its length. survival [n][n_times]. ibs NAN where any point is. */
double lob_integrated_brier(const LobFollowUp *data, const double *survival, const double *times,
                            size_t n_times);

/* Calibration at t of predicted event probabilities. */
typedef struct {
    double observed, expected;  /* 1 - KM(t), mean prediction */
    LobEstimate oe;             /* ratio; interval on the log scale, se(log) = 1/sqrt(events by t) */
    LobEstimate slope;          /* Cox on log(-log(1-p)) */
    double ici, e50, e90, emax; /* |smooth observed - predicted| (Austin, Harrell & van Klaveren 2020); NAN
                                   with fewer than 20 events */
    double *smooth;             /* [n] observed probability at each row's prediction, or NULL */
    size_t n_events;            /* by t */
    const char *reason;         /* why the smooth part is missing */
} LobCalibration;
void lob_calibration_at(LobCalibration *result, const LobFollowUp *data, const double *risk, double t);
void lob_calibration_clear(LobCalibration *result);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LobCalibration, lob_calibration_clear)
/* In the large, over all follow-up: events / sum of H_i(T_i); se(log) = 1/sqrt(events). hazard [n]. */
LobEstimate lob_calibration_in_the_large(const LobFollowUp *data, const double *hazard);
/* Slope of a frozen linear predictor (ideal 1): Cox, stratified by data->stratum. */
LobEstimate lob_calibration_slope(const LobFollowUp *data, const double *linear_predictor);
/* D-calibration (Haider et al. 2020): own_survival [n] = S_i(T_i); bins [10] filled where not NULL. Under
 * censoring it is conservative: descriptive only. */
LobTest lob_d_calibration(const LobFollowUp *data, const double *own_survival, double *bins);
/* Groups of equal size by prediction: mean prediction and 1 - KM(t) with interval. Returns groups made. */
typedef struct {
    double predicted;
    LobEstimate observed;
    size_t n;
    double events;
} LobCalibrationGroup;
size_t lob_calibration_groups(const LobFollowUp *data, const double *risk, double t, size_t n_groups,
                              LobCalibrationGroup *groups);

/* Net benefit at threshold pt (Vickers & Elkin 2006; survival: Vickers et al. 2008). Nobody flagged: 0;
 * flagged but not followed to t: NAN. */
typedef struct {
    double threshold, model, treat_all;
    size_t flagged;
} LobNetBenefit;
LobNetBenefit lob_net_benefit(const LobFollowUp *data, const double *risk, double t, double threshold);

/* ---- all of a horizon by name: what lobule stats, metrics.csv and evidence.csv have in common ---- */
#define LOB_LEAST_CLASS 5       /* cases and controls for an AUC at a horizon */
#define LOB_LEAST_CALIBRATED 20 /* events for more than O/E */
#define LOB_HORIZON_ROWS 11
#define LOB_NET_BENEFIT_ROWS 18
typedef struct {
    const char *name;
    LobEstimate value;
} LobNamedEstimate;
/* auc, brier, brier_null, ipa, observed_risk, expected_risk, observed_expected, calibration_slope, ici, e50,
 * e90. Strata count for the slope alone. risk [n], or NULL: no prediction. */
void lob_horizon_rows(const LobFollowUp *data, const double *score, const double *risk, double t,
                      LobNamedEstimate rows[LOB_HORIZON_ROWS]);
/* net_benefit_at_0.1, net_benefit_of_all_at_0.1 ... to 0.9. */
void lob_net_benefit_rows(const LobFollowUp *data, const double *risk, double t,
                          LobNamedEstimate rows[LOB_NET_BENEFIT_ROWS]);
/* Uno's C to tau; reason tells how censoring was estimated, or why there is none. */
LobEstimate lob_uno_estimate(const LobFollowUp *data, const double *score, double tau);

/* ---- binary endpoints ---- */
/* DeLong, DeLong & Clarke-Pearson 1988, in O(n log n) by midranks (Sun & Xu 2014). */
typedef struct {
    LobEstimate auc;   /* clipped to 0..1 */
    double *influence; /* [n] */
    size_t n_cases, n_controls;
} LobAuc;
void lob_auc_binary(LobAuc *auc, const uint8_t *outcome, const double *score, size_t n);
void lob_auc_clear(LobAuc *auc);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LobAuc, lob_auc_clear)
LobPairedDifference lob_auc_difference(size_t n, const LobAuc *first, const LobAuc *second);
/* Logistic recalibration of probabilities: slope, and intercept with the slope held at 1 (Cox 1958). */
typedef struct {
    LobEstimate intercept, slope;
    double brier;
    const char *reason;
} LobBinaryCalibration;
LobBinaryCalibration lob_calibration_binary(const uint8_t *outcome, const double *probability, size_t n);

/* ---- arms: propensities, weights, value ---- */
/* Multinomial logit by Newton's method; class 0 is the base. An intercept is added. ridge penalises the
 * slopes (0: plain maximum likelihood). */
typedef struct {
    size_t n_classes, p;
    double *coefficient; /* [n_classes - 1][p + 1], intercept first */
    double *probability; /* [n][n_classes] fitted */
    double loglik;       /* without the penalty */
    int iterations;
    bool converged;
    const char *reason; /* a class without a row, separation */
} LobMultinomial;
void lob_multinomial_fit(LobMultinomial *fit, const double *x, size_t n, size_t p, const uint32_t *class_of,
                         size_t n_classes, const double *weight, double ridge);
void lob_multinomial_predict(const LobMultinomial *fit, const double *x, size_t n, double *probability);
void lob_multinomial_clear(LobMultinomial *fit);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LobMultinomial, lob_multinomial_clear)

/* Share of rows whose class a multinomial model (ridge 1, columns scaled) guesses that has not seen their
 * fold: how strong the signature of a class, such as a center, is. x [n][p], NAN = missing; fold [n]
 * 0..n_folds-1. */
typedef struct {
    double accuracy, largest; /* largest: share of the most frequent class, which needs no columns */
    size_t n;
    const char *reason; /* why accuracy is NAN */
} LobProbe;
LobProbe lob_class_probe(const double *x, size_t n, size_t p, const uint32_t *class_of, size_t n_classes,
                         const uint32_t *fold, size_t n_folds);

/* Overlap: Li & Li 2019. IPTW, or stabilised by the arm's share. A probability of 0 for the arm received
 * gives weight INFINITY: check with lob_positivity before. */
typedef enum { LOB_WEIGHTS_OVERLAP, LOB_WEIGHTS_INVERSE, LOB_WEIGHTS_STABILIZED } LobWeightKind;
void lob_propensity_weights(LobWeightKind kind, const double *probability, const uint32_t *arm, size_t n,
                            size_t n_arms, double *weight);
double lob_effective_size(const double *weight, size_t n); /* (sum w)^2 / sum w^2 */
/* Largest pairwise weighted standardised mean difference of one covariate over arms; the SD is the
 * unweighted one, pooled over arms. weight may be NULL. Arms without rows are left out. NAN where fewer than
 * two have any, or where arms differ in what varies in none of them. */
double lob_max_smd(const double *covariate, const uint32_t *arm, size_t n, size_t n_arms,
                   const double *weight);
typedef struct {
    double least;      /* smallest probability of any arm */
    double share_weak; /* rows with some probability < 0.05 */
    bool refused;      /* some probability is 0 or 1 */
} LobPositivity;
LobPositivity lob_positivity(const double *probability, size_t n, size_t n_arms);

/* Doubly robust scores (Robins, Rotnitzky & Zhao 1994): out [n][n_arms] = mu + 1[A = k](y - mu)/e. Nuisances
 * must not have been fitted on the rows they score. */
void lob_aipw_scores(const double *y, const uint32_t *arm, const double *mu, const double *propensity,
                     size_t n, size_t n_arms, double *out);
/* Mean score under a policy (policy [n] = arm given); se = sd/sqrt(n), summed within clusters where given. */
LobEstimate lob_policy_value(const double *scores, const uint32_t *policy, size_t n, size_t n_arms,
                             const uint32_t *cluster);

/* RATE (Yadlowsky et al. 2021): AUTOC or Qini of a priority rule over doubly robust contrasts. Tied
 * priorities share their group's mean. se by half-sample bootstrap. */
typedef enum { LOB_RATE_AUTOC, LOB_RATE_QINI } LobRateKind;
LobEstimate lob_rate(LobRateKind kind, const double *contrast, const double *priority, size_t n,
                     size_t n_bootstrap, uint64_t seed);
/* The curve itself: toc [n], after the top 1, 2, ... n. */
void lob_toc_curve(const double *contrast, const double *priority, size_t n, double *toc);

/* C-for-benefit (van Klaveren 2018), a secondary statistic: it depends on the matching and is no proper rule.
 * Pairs by rank of predicted benefit; the larger arm is thinned at random by seed. outcome: 1 bad. */
LobEstimate lob_c_for_benefit(const uint8_t *treated, const uint8_t *outcome, const double *risk_control,
                              const double *risk_treated, size_t n, size_t n_bootstrap, uint64_t seed);

/* ---- bootstrap ----
 * Patients are drawn with replacement within strata (centers); draws depend on (seed, replicate, stratum's
 * label) alone. A statistic sees how often each row was drawn. A replicate with a NAN is degenerate for that
 * statistic: left out and counted. */
typedef void (*LobStatistic)(const double *count, size_t n, double *out, void *user);
typedef struct {
    size_t n_replicates;
    LobEstimate *estimate; /* [n_statistics] on the full data (count 1); se = sd; percentile interval */
    size_t *degenerate;    /* [n_statistics] */
    double *replicate;     /* [n_statistics][n_replicates] */
} LobBootstrap;
/* first: number of the first replicate, so that ranks can share replicates out. */
void lob_bootstrap(LobBootstrap *result, const uint32_t *stratum, size_t n, size_t n_replicates, size_t first,
                   uint64_t seed, size_t n_statistics, LobStatistic statistic, void *user);
void lob_bootstrap_clear(LobBootstrap *result);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LobBootstrap, lob_bootstrap_clear)
void lob_bootstrap_counts(const uint32_t *stratum, size_t n, size_t replicate, uint64_t seed, double *count);

/* ---- everything at once ----
 * The whole set for one table: over all rows, by center, pooled over centers. What a figure needs and the
 * table lacks (arms, risks, horizons, centers) is left out; what cannot be estimated is a row with a note. */
typedef struct {
    LobFollowUp data; /* stratum: index into centers, or NULL */
    const double *score;
    const char *const *centers;
    size_t n_centers;
    const uint32_t *arm; /* [n] index into arms, or NULL; arms[0] is the reference */
    const char *const *arms;
    size_t n_arms;
    const double *horizons;
    size_t n_horizons;
    const double *risk; /* [n][n_horizons] predicted event probabilities, or NULL */
    size_t n_bootstrap; /* of C; 0 = none */
    uint64_t seed;
} LobPanelInput;
typedef struct {
    char *metric;
    const char *center; /* a center's name, "(all)" or "(pooled)" */
    double estimate, lower, upper;
    size_t n;
    double events;
    char *note; /* or NULL */
} LobPanelRow;
typedef struct {
    LobPanelRow *row;
    size_t n_rows, room;
} LobPanel;
void lob_panel(LobPanel *panel, const LobPanelInput *input);
void lob_panel_clear(LobPanel *panel);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LobPanel, lob_panel_clear)

#endif
