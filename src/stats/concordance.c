/* Harrell's and Uno's concordance with infinitesimal-jackknife variance. Pair weights are looked up by rank
 * of the score in Fenwick trees (Fenwick 1994), so that n log n steps do. */
#include "stats/stats_internal.h"

#include <string.h>

/* Smallest G(tau-) within a stratum for which its own censoring distribution is used. */
#define LEAST_CENSORING 0.1

/* What pairs with one row weigh, by how their scores compare. */
typedef struct {
    double concordant, discordant, tied;
} Pairs;

typedef struct {
    double *node; /* [size + 1], 1-based */
    uint32_t size;
    double total;
} Fenwick;

static void fenwick_reset(Fenwick *tree, uint32_t size) {
    tree->size = size;
    tree->total = 0;
    memset(tree->node, 0, (size + 1) * sizeof *tree->node);
}

static void fenwick_add(Fenwick *tree, uint32_t rank, double weight) {
    tree->total += weight;
    for (uint32_t k = rank; k <= tree->size; k += k & -k)
        tree->node[k] += weight;
}

static double fenwick_sum(const Fenwick *tree, uint32_t rank) {
    double sum = 0;
    for (uint32_t k = rank; k > 0; k &= k - 1)
        sum += tree->node[k];
    return sum;
}

typedef struct {
    const LobRow *rows; /* one stratum, sorted */
    size_t n;
    const uint32_t *rank;      /* [n] of the score within the stratum, from 1 */
    const double *pair_weight; /* [n] of pairs in which the row is the earlier one; 0 = no such pair */
    Fenwick *tree;
    double *own;  /* [ranks + 1] weight in the tree at each rank */
    Pairs *pairs; /* [n], or NULL: totals alone */
    Pairs total;
} Sweep;

static void sweep_reset(Sweep *sweep, uint32_t n_ranks) {
    fenwick_reset(sweep->tree, n_ranks);
    memset(sweep->own, 0, (n_ranks + 1) * sizeof *sweep->own);
}

static void sweep_add(Sweep *sweep, size_t i, double weight) {
    fenwick_add(sweep->tree, sweep->rank[i], weight);
    sweep->own[sweep->rank[i]] += weight;
}

/* From the last time back: each event meets the rows that outlive it. */
static void sweep_events(Sweep *sweep) {
    const LobRow *rows = sweep->rows;
    for (size_t end = sweep->n, begin; end > 0; end = begin) {
        for (begin = end; begin > 0 && rows[begin - 1].time == rows[end - 1].time; begin--)
            if (!rows[begin - 1].event)
                sweep_add(sweep, begin - 1, rows[begin - 1].weight);
        for (size_t i = begin; i < end && rows[i].event; i++) {
            if (sweep->pair_weight[i] == 0)
                continue;
            double below = fenwick_sum(sweep->tree, sweep->rank[i] - 1), tied = sweep->own[sweep->rank[i]];
            double scale = sweep->pair_weight[i];
            Pairs p = {scale * below, scale * (sweep->tree->total - below - tied), scale * tied};
            sweep->total.concordant += rows[i].weight * p.concordant;
            sweep->total.discordant += rows[i].weight * p.discordant;
            sweep->total.tied += rows[i].weight * p.tied;
            if (sweep->pairs)
                sweep->pairs[i] = p;
        }
        for (size_t i = begin; i < end && rows[i].event; i++)
            sweep_add(sweep, i, rows[i].weight);
    }
}

/* From the first time on: each row meets the events it outlived. */
static void sweep_survivors(Sweep *sweep) {
    const LobRow *rows = sweep->rows;
    for (size_t begin = 0, end; begin < sweep->n; begin = end) {
        size_t first_censored = begin;
        for (end = begin; end < sweep->n && rows[end].time == rows[begin].time; end++)
            if (rows[end].event)
                first_censored = end + 1;
        for (int censored = 0; censored < 2; censored++) {
            size_t from = censored ? first_censored : begin, to = censored ? end : first_censored;
            for (size_t i = from; i < to; i++) {
                double below = fenwick_sum(sweep->tree, sweep->rank[i] - 1);
                double tied = sweep->own[sweep->rank[i]];
                sweep->pairs[i].concordant += sweep->tree->total - below - tied;
                sweep->pairs[i].discordant += below;
                sweep->pairs[i].tied += tied;
            }
            for (size_t i = begin; censored == 0 && i < first_censored; i++)
                if (sweep->pair_weight[i] > 0)
                    sweep_add(sweep, i, rows[i].weight * sweep->pair_weight[i]);
        }
    }
}

/* Weight of the pairs both of whose rows die at one time (left out of C). */
static void count_tied_times(LobConcordance *result, const LobRow *rows, const uint32_t *rank,
                             const double *pair_weight, size_t n, double *own) {
    for (size_t begin = 0, end; begin < n; begin = end) {
        double sum = 0, squares = 0, same = 0;
        end = lob_rows_time_end(rows, n, begin);
        for (size_t i = begin; i < end && rows[i].event; i++) {
            sum += rows[i].weight;
            squares += rows[i].weight * rows[i].weight;
            same += rows[i].weight * own[rank[i]];
            own[rank[i]] += rows[i].weight;
        }
        for (size_t i = begin; i < end && rows[i].event; i++)
            own[rank[i]] = 0;
        double scale = pair_weight[begin];
        result->tied_time += scale * (0.5 * (sum * sum - squares) - same);
        result->tied_both += scale * same;
    }
}

static uint32_t ranks_of_rows(const LobRow *rows, size_t n, const double *score, uint32_t *rank) {
    g_autofree double *x = g_new(double, n + 1);
    for (size_t i = 0; i < n; i++)
        x[i] = score[rows[i].row];
    return lob_dense_ranks(x, n, rank);
}

static double last_event_time(const LobRow *rows, size_t n, double tau) {
    double last = NAN;
    for (size_t i = 0; i < n; i++)
        if (rows[i].event && rows[i].time <= tau)
            last = rows[i].time;
    return last;
}

/* Pair weight of each row as the earlier one. rows hold all strata. */
static void pair_weights(LobConcordance *result, const LobFollowUp *data, const LobRow *rows, size_t n,
                         const LobConcordanceOptions *options, double *weight) {
    double tau = options->tau > 0 ? options->tau : INFINITY;
    for (size_t i = 0; i < n; i++)
        weight[i] = rows[i].event && rows[i].time <= tau ? 1 : 0;
    if (!options->uno)
        return;
    g_auto(LobCensoring) pooled = {0};
    size_t n_pooled;
    g_autofree LobRow *all = lob_rows_sorted(data, false, &n_pooled);
    lob_censoring_fit(&pooled, all, n_pooled);
    for (size_t begin = 0, end; begin < n; begin = end) {
        end = lob_rows_stratum_end(rows, n, begin);
        g_auto(LobCensoring) own = {0};
        lob_censoring_fit(&own, rows + begin, end - begin);
        double last = last_event_time(rows + begin, end - begin, tau);
        if (!isnan(last) && lob_censoring_before(&own, last) < LEAST_CENSORING)
            result->pooled_censoring = data->stratum != NULL;
    }
    for (size_t begin = 0, end; begin < n; begin = end) {
        end = lob_rows_stratum_end(rows, n, begin);
        g_auto(LobCensoring) own = {0};
        lob_censoring_fit(&own, rows + begin, end - begin);
        for (size_t i = begin; i < end; i++) {
            double g = lob_censoring_before(result->pooled_censoring ? &pooled : &own, rows[i].time);
            if (weight[i] > 0)
                weight[i] = 1 / (g * g);
        }
    }
}

static void finish(LobConcordance *result, const LobFollowUp *data, const LobRow *rows, const Pairs *pairs,
                   size_t n) {
    double usable = result->concordant + result->discordant + result->tied_score;
    result->c = result->se = result->lower = result->upper = NAN;
    if (!(usable > 0)) {
        result->reason = result->n_events == 0 ? "no event" : "no comparable pair";
        return;
    }
    if (!(result->concordant + result->discordant > 0)) {
        result->reason = "all comparable pairs tie in the score: nothing is ranked";
        return;
    }
    result->c = (result->concordant + 0.5 * result->tied_score) / usable;
    if (!pairs)
        return;
    double somers = (result->concordant - result->discordant) / usable;
    result->influence = g_new0(double, data->n + 1);
    for (size_t i = 0; i < n; i++) {
        Pairs p = pairs[i];
        result->influence[rows[i].row] =
            rows[i].weight *
            ((p.concordant - p.discordant) - (p.concordant + p.discordant + p.tied) * somers) / (2 * usable);
    }
    result->se = sqrt(lob_clustered_square(result->influence, data->cluster, data->n));
    LobEstimate e = lob_clipped_estimate(result->c, result->se, 0, 1);
    result->lower = e.lower;
    result->upper = e.upper;
}

void lob_concordance(LobConcordance *result, const LobFollowUp *data, const double *score,
                     const LobConcordanceOptions *options) {
    const LobConcordanceOptions defaults = {0};
    options = options ? options : &defaults;
    size_t n;
    g_autofree LobRow *rows = lob_rows_sorted(data, true, &n);
    g_autofree double *weight = g_new(double, n + 1);
    g_autofree uint32_t *rank = g_new(uint32_t, n + 1);
    g_autofree double *own = g_new0(double, n + 2);
    g_autofree double *node = g_new(double, n + 2);
    g_autofree Pairs *pairs = options->no_variance ? NULL : g_new0(Pairs, n + 1);
    *result = (LobConcordance){.n = n};
    pair_weights(result, data, rows, n, options, weight);
    Fenwick tree = {.node = node};
    for (size_t begin = 0, end; begin < n; begin = end) {
        end = lob_rows_stratum_end(rows, n, begin);
        uint32_t n_ranks = ranks_of_rows(rows + begin, end - begin, score, rank + begin);
        Sweep sweep = {.rows = rows + begin,
                       .n = end - begin,
                       .rank = rank + begin,
                       .pair_weight = weight + begin,
                       .tree = &tree,
                       .own = own,
                       .pairs = pairs ? pairs + begin : NULL};
        sweep_reset(&sweep, n_ranks);
        sweep_events(&sweep);
        if (pairs) {
            sweep_reset(&sweep, n_ranks);
            sweep_survivors(&sweep);
        }
        memset(own, 0, (n_ranks + 1) * sizeof *own);
        count_tied_times(result, rows + begin, rank + begin, weight + begin, end - begin, own);
        result->concordant += sweep.total.concordant;
        result->discordant += sweep.total.discordant;
        result->tied_score += sweep.total.tied;
    }
    for (size_t i = 0; i < n; i++)
        result->n_events += rows[i].event != 0;
    finish(result, data, rows, pairs, n);
}

void lob_concordance_reference(LobConcordance *result, const LobFollowUp *data, const double *score,
                               const LobConcordanceOptions *options) {
    const LobConcordanceOptions defaults = {0};
    options = options ? options : &defaults;
    size_t n;
    g_autofree LobRow *rows = lob_rows_sorted(data, true, &n);
    g_autofree double *weight = g_new(double, n + 1);
    g_autofree Pairs *pairs = g_new0(Pairs, n + 1);
    *result = (LobConcordance){.n = n};
    pair_weights(result, data, rows, n, options, weight);
    for (size_t i = 0; i < n; i++) {
        result->n_events += rows[i].event != 0;
        for (size_t j = 0; j < n; j++) {
            double a = score[rows[i].row], b = score[rows[j].row], both = rows[i].weight * rows[j].weight;
            if (i == j || weight[i] == 0 || rows[i].stratum != rows[j].stratum || rows[j].time < rows[i].time)
                continue;
            if (rows[j].time == rows[i].time && rows[j].event) {
                if (i < j)
                    *(a == b ? &result->tied_both : &result->tied_time) += weight[i] * both;
                continue;
            }
            double scale = weight[i];
            double *counts[] = {&result->concordant, &result->discordant, &result->tied_score};
            int kind = a > b ? 0 : a < b ? 1 : 2;
            *counts[kind] += scale * both;
            double *of_i[] = {&pairs[i].concordant, &pairs[i].discordant, &pairs[i].tied};
            double *of_j[] = {&pairs[j].concordant, &pairs[j].discordant, &pairs[j].tied};
            *of_i[kind] += scale * rows[j].weight;
            *of_j[kind] += scale * rows[i].weight;
        }
    }
    finish(result, data, rows, pairs, n);
}

void lob_concordance_clear(LobConcordance *result) {
    g_free(result->influence);
    *result = (LobConcordance){0};
}

LobPairedDifference lob_concordance_difference(const LobFollowUp *data, const LobConcordance *first,
                                               const LobConcordance *second) {
    return lob_paired_difference(first->c, second->c, first->influence, second->influence, data->cluster,
                                 data->n);
}

struct LobConcordancePlan {
    LobRow *rows;
    uint32_t *rank;
    double *pair_weight, *own, *node;
    size_t n;
};

LobConcordancePlan *lob_concordance_plan_new(const LobFollowUp *data, const double *score) {
    LobConcordancePlan *plan = g_new0(LobConcordancePlan, 1);
    LobFollowUp unweighted = *data;
    unweighted.weight = NULL;
    plan->rows = lob_rows_sorted(&unweighted, true, &plan->n);
    plan->rank = g_new(uint32_t, plan->n + 1);
    plan->pair_weight = g_new(double, plan->n + 1);
    plan->own = g_new(double, plan->n + 2);
    plan->node = g_new(double, plan->n + 2);
    for (size_t i = 0; i < plan->n; i++)
        plan->pair_weight[i] = plan->rows[i].event ? 1 : 0;
    for (size_t begin = 0, end; begin < plan->n; begin = end) {
        end = lob_rows_stratum_end(plan->rows, plan->n, begin);
        ranks_of_rows(plan->rows + begin, end - begin, score, plan->rank + begin);
    }
    return plan;
}

double lob_concordance_plan_c(LobConcordancePlan *plan, const double *weight) {
    Fenwick tree = {.node = plan->node};
    double above = 0, ranked = 0, usable = 0;
    for (size_t begin = 0, end; begin < plan->n; begin = end) {
        end = lob_rows_stratum_end(plan->rows, plan->n, begin);
        uint32_t n_ranks = 0;
        for (size_t i = begin; i < end; i++) {
            plan->rows[i].weight = weight[plan->rows[i].row];
            n_ranks = MAX(n_ranks, plan->rank[i]);
        }
        Sweep sweep = {.rows = plan->rows + begin,
                       .n = end - begin,
                       .rank = plan->rank + begin,
                       .pair_weight = plan->pair_weight + begin,
                       .tree = &tree,
                       .own = plan->own};
        sweep_reset(&sweep, n_ranks);
        sweep_events(&sweep);
        above += sweep.total.concordant + 0.5 * sweep.total.tied;
        ranked += sweep.total.concordant + sweep.total.discordant;
        usable += sweep.total.concordant + sweep.total.discordant + sweep.total.tied;
    }
    return ranked > 0 ? above / usable : NAN;
}

void lob_concordance_plan_free(LobConcordancePlan *plan) {
    if (!plan)
        return;
    g_free(plan->rows);
    g_free(plan->rank);
    g_free(plan->pair_weight);
    g_free(plan->own);
    g_free(plan->node);
    g_free(plan);
}

LobTest lob_concordance_permutation(const LobFollowUp *data, const double *score, size_t draws,
                                    uint64_t seed) {
    g_autoptr(LobConcordancePlan) plan = lob_concordance_plan_new(data, score);
    g_autofree double *once = g_new(double, data->n + 1);
    for (size_t i = 0; i < data->n; i++)
        once[i] = 1;
    LobTest test = {.statistic = lob_concordance_plan_c(plan, once), .df = NAN, .p = NAN};
    if (isnan(test.statistic)) {
        test.reason = "no comparable pair, or none that the score tells apart";
        return test;
    }
    LobRng rng;
    lob_rng_init(&rng, seed, "permutation of scores");
    size_t reached = 0;
    for (size_t d = 0; d < draws; d++) {
        for (size_t begin = 0, end; begin < plan->n; begin = end) {
            end = lob_rows_stratum_end(plan->rows, plan->n, begin);
            lob_rng_shuffle(&rng, plan->rank + begin, end - begin);
        }
        reached += lob_concordance_plan_c(plan, once) >= test.statistic - 1e-12;
    }
    test.p = (1 + (double)reached) / (1 + (double)draws);
    return test;
}
