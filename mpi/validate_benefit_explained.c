/* How much of the learned effect score is what lymphocytes say: the squared multiple correlation, within
 * centers, of the score of held-out patients with the immune columns of the features, or else with the
 * biomarker. */
#include "mpi/validate_benefit.h"

#include <math.h>
#include <string.h>

#define REPLICATES 200

typedef struct {
    size_t n, p;
    double *score, *x; /* [n], [n][p] */
    uint32_t *group;   /* fold and center */
    size_t n_groups;
} Rows;

static void center_within(const Rows *rows, const double *count, const double *v, size_t stride,
                          double *out) {
    g_autofree double *sum = g_new0(double, rows->n_groups + 1), *n = g_new0(double, rows->n_groups + 1);
    for (size_t i = 0; i < rows->n; i++) {
        sum[rows->group[i]] += count[i] * v[i * stride];
        n[rows->group[i]] += count[i];
    }
    for (size_t i = 0; i < rows->n; i++)
        out[i] = n[rows->group[i]] > 0 ? v[i * stride] - sum[rows->group[i]] / n[rows->group[i]] : 0;
}

static double product(const double *count, const double *a, const double *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += count[i] * a[i] * b[i];
    return sum;
}

/* By Gram-Schmidt: a column that the others already say adds nothing. */
static void explained(const double *count, size_t n, double *out, void *user) {
    const Rows *rows = user;
    g_autofree double *y = g_new(double, n + 1), *q = g_new(double, rows->p *n + 1);
    double share = 0;
    center_within(rows, count, rows->score, 1, y);
    double total = product(count, y, y, n);
    for (size_t j = 0; j < rows->p; j++) {
        double *own = q + j * n;
        center_within(rows, count, rows->x + j, rows->p, own);
        double before = product(count, own, own, n);
        for (size_t twice = 0; twice < 2; twice++)
            for (size_t k = 0; k < j; k++) {
                double *other = q + k * n, along = product(count, own, other, n);
                for (size_t i = 0; i < n; i++)
                    own[i] -= along * other[i];
            }
        double left = product(count, own, own, n);
        double scale = left > 1e-10 * before && left > 0 ? 1 / sqrt(left) : 0;
        for (size_t i = 0; i < n; i++)
            own[i] *= scale;
        double along = product(count, own, y, n);
        share += along * along;
    }
    *out = total > 0 ? share / total : NAN;
}

/* Immune columns by their names. */
static size_t immune_columns(const LobBenefitStudy *s, size_t *column) {
    size_t n = 0;
    for (size_t j = 0; s->sums && s->columns && s->columns[j] && j < s->sums->dim; j++)
        if (g_str_has_prefix(s->columns[j], "lym_"))
            column[n++] = j;
    return n;
}

static void add_patient(Rows *rows, const LobBenefitStudy *s, const size_t *column, bool features,
                        uint32_t p) {
    double *x = rows->x + rows->n * rows->p;
    for (size_t j = 0; j < rows->p; j++)
        x[j] = features ? lob_bag_sums_mean(s->sums, p, column[j]) : s->marker[p];
}

static void gather(Rows *rows, const LobBenefitStudy *s, const size_t *column, bool features, int part) {
    const LobCohort *cohort = s->plan->cohort;
    rows->n_groups = s->n_folds * cohort->n_centers;
    for (size_t f = 0; f < s->n_folds; f++) {
        const LobBenefit *fit = &s->folds[f].fit;
        g_autofree double *score = g_new(double, fit->n_held_out + 1);
        if (!fit->part[part].estimable)
            continue;
        lob_benefit_score(fit, part, true, score);
        for (size_t i = 0; i < fit->n_held_out; i++) {
            uint32_t p = fit->held_out[i];
            if (!features && isnan(s->marker[p]))
                continue;
            add_patient(rows, s, column, features, p);
            rows->score[rows->n] = score[i];
            rows->group[rows->n++] = (uint32_t)(f * cohort->n_centers) + cohort->patients[p].center;
        }
    }
}

void lob_benefit_explained_row(const LobBenefitSheet *sheet, const LobBenefitStudy *s) {
    g_autofree size_t *column = g_new(size_t, s->sums ? s->sums->dim + 1 : 1);
    size_t n = s->plan->cohort->n_patients, immune = immune_columns(s, column);
    if (immune == 0 && !s->marker)
        return;
    Rows rows = {.p = MAX(immune, 1)};
    g_autofree double *score = g_new(double, n + 1), *x = g_new(double, n *rows.p + 1);
    g_autofree uint32_t *group = g_new(uint32_t, n + 1);
    rows.score = score;
    rows.x = x;
    rows.group = group;
    gather(&rows, s, column, immune > 0, sheet->contrast->part);
    g_auto(LobBootstrap) bootstrap = {0};
    lob_bootstrap(&bootstrap, rows.group, rows.n, REPLICATES, 0, s->plan->cohort->study->validation.seed, 1,
                  explained, &rows);
    LobEstimate e = bootstrap.estimate[0];
    g_autofree char *note =
        immune > 0 ? g_strdup_printf("share of the score's variance within centers, %zu lym_ columns", immune)
                   : g_strdup_printf("share of the score's variance within centers, %s", s->marker_name);
    if (!e.reason)
        e.reason = note;
    lob_benefit_row(sheet, "pooled", "score_explained_by_immune", e, rows.n, sheet->contrast->events);
}
