#ifndef LOB_STATS_INTERNAL_H
#define LOB_STATS_INTERNAL_H

#include "stats/stats.h"

#include <math.h>

/* Two-sided 95 %. */
#define LOB_Z95 1.959963984540054

typedef struct {
    double time, weight;
    uint32_t stratum, row;
    uint8_t event;
} LobRow;

/* Rows of positive weight by (stratum where asked for, time, events first, row); *n_rows of them. Caller
 * frees. */
LobRow *lob_rows_sorted(const LobFollowUp *data, bool by_stratum, size_t *n_rows);
/* One past the last row of the run that starts at `begin` and shares its stratum (or its time too). */
size_t lob_rows_stratum_end(const LobRow *rows, size_t n, size_t begin);
size_t lob_rows_time_end(const LobRow *rows, size_t n, size_t begin);

/* Order of x ascending, ties by index. Caller frees. */
uint32_t *lob_order_of(const double *x, size_t n);
/* Dense ranks from 1, equal values sharing one; returns how many. */
uint32_t lob_dense_ranks(const double *x, size_t n, uint32_t *rank);
/* Labels to 0 .. k-1 in ascending order of label; NULL labels give every row its own. Returns k. */
size_t lob_compact_labels(const uint32_t *label, size_t n, uint32_t *compact);

/* Sum over clusters of the squared sums of v; no clusters: sum of squares. */
double lob_clustered_square(const double *v, const uint32_t *cluster, size_t n);

/* Censoring distribution: G(t-) and G(t) by Kaplan-Meier of the censorings, deaths first at ties. */
typedef struct {
    size_t n;
    double *time, *value; /* ascending; value holds from its time on */
} LobCensoring;
void lob_censoring_fit(LobCensoring *g, const LobRow *rows, size_t n);
void lob_censoring_clear(LobCensoring *g);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LobCensoring, lob_censoring_clear)
double lob_censoring_at(const LobCensoring *g, double t);     /* G(t) */
double lob_censoring_before(const LobCensoring *g, double t); /* G(t-) */

LobEstimate lob_not_available(const char *reason);
LobEstimate lob_normal_estimate(double estimate, double se);
/* Bounds clipped to lowest .. highest. */
LobEstimate lob_clipped_estimate(double estimate, double se, double lowest, double highest);
/* Two statistics of the same rows by their influences a and b [n]. */
LobPairedDifference lob_paired_difference(double first, double second, const double *a, const double *b,
                                          const uint32_t *cluster, size_t n);
LobTest lob_chi2_test(double statistic, double df);

/* Symmetric positive semi-definite a [p][p] (lower triangle read), in place: inverse; aliased columns (pivot
 * below tolerance times the largest) get zeros and, where not NULL, aliased[j] = true. Returns the rank. */
size_t lob_invert_psd(double *a, size_t p, bool *aliased);
/* x' a x */
double lob_quadratic_form(const double *a, const double *x, size_t p);

#endif
