/* Bags before training: rows that must not count are dropped, columns are put on one scale. */
#include "model/model_internal.h"

/* ---- rows that do not count ---- */

static bool row_is_finite(const uint16_t *row, size_t dim) {
    for (size_t j = 0; j < dim; j++)
        if ((row[j] & 0x7c00) == 0x7c00)
            return false;
    return true;
}

typedef struct {
    const uint16_t *row;
    size_t bytes;
} RowKey;

static guint row_hash(gconstpointer key) {
    const RowKey *k = key;
    return lob_crc32c(0, k->row, k->bytes);
}

static gboolean row_equal(gconstpointer a, gconstpointer b) {
    const RowKey *x = a, *y = b;
    return memcmp(x->row, y->row, x->bytes) == 0;
}

/* One patient; rows [count][dim]. Kept rows only move up, so a key's row is never overwritten by another. */
static uint64_t compact_patient(uint16_t *rows, size_t dim, uint64_t count, uint64_t base, uint64_t *origin) {
    g_autoptr(GHashTable) seen = g_hash_table_new(row_hash, row_equal);
    g_autofree RowKey *keys = g_new(RowKey, MAX(count, 1));
    uint64_t kept = 0;
    for (uint64_t r = 0; r < count; r++) {
        const uint16_t *row = rows + r * dim;
        RowKey probe = {row, dim * sizeof *row};
        if (!row_is_finite(row, dim) || g_hash_table_contains(seen, &probe))
            continue;
        if (kept != r)
            memmove(rows + kept * dim, row, dim * sizeof *row);
        keys[kept] = (RowKey){rows + kept * dim, dim * sizeof *row};
        g_hash_table_add(seen, &keys[kept]);
        if (origin)
            origin[kept] = base + r;
        kept++;
    }
    return kept;
}

uint64_t lob_bags_compact(uint16_t *features, size_t dim, size_t n_patients, const uint64_t *first,
                          uint64_t *count, uint64_t *origin) {
    uint64_t gone = 0;
    for (size_t p = 0; p < n_patients; p++) {
        if (count[p] == 0)
            continue;
        uint64_t kept = compact_patient(features + first[p] * dim, dim, count[p], first[p],
                                        origin ? origin + first[p] : NULL);
        gone += count[p] - kept;
        count[p] = kept;
    }
    return gone;
}

/* ---- scale ---- */

/* Adds the patient's means of values and of squares, over n patients. */
static void add_moments(const LobBags *bags, uint32_t patient, size_t n, float *row, double *own,
                        double *mean, double *square) {
    size_t d = bags->dim;
    uint64_t first = bags->first[patient], count = bags->count[patient];
    memset(own, 0, 2 * d * sizeof *own);
    for (uint64_t r = first; r < first + count; r++) {
        lob_floats_from_halves(row, bags->features + r * d, d);
        for (size_t j = 0; j < d; j++) {
            own[j] += row[j];
            own[d + j] += (double)row[j] * row[j];
        }
    }
    for (size_t j = 0; count && j < d; j++) {
        mean[j] += own[j] / (double)count / (double)n;
        square[j] += own[d + j] / (double)count / (double)n;
    }
}

void lob_scaler_column(double mean, double square, float *center, float *inverse) {
    double variance = square - mean * mean;
    /* Values are halves (11 bits): below this the column is constant but for rounding. */
    bool constant = variance <= 1e-9 * square || variance <= 0;
    *center = (float)mean;
    *inverse = constant ? 0 : (float)(1 / sqrt(variance));
}

void lob_scaler_fit(LobScaler *scaler, const LobBags *bags, const uint32_t *patients, size_t n) {
    size_t d = bags->dim;
    *scaler = (LobScaler){d, g_new0(float, d), g_new0(float, d)};
    g_autofree double *mean = g_new0(double, 2 * d);
    double *square = mean + d;
    g_autofree double *own = g_new(double, 2 * d);
    g_autofree float *row = g_new(float, d);
    for (size_t i = 0; i < n; i++)
        if (!bags->owner || bags->owner[patients[i]] == (uint32_t)bags->group->rank)
            add_moments(bags, patients[i], n, row, own, mean, square);
    if (bags->group)
        bags->group->allreduce_double(bags->group, mean, 2 * d);
    for (size_t j = 0; j < d; j++)
        lob_scaler_column(mean[j], square[j], &scaler->mean[j], &scaler->inverse[j]);
}

void lob_scaler_clear(LobScaler *scaler) {
    g_free(scaler->mean);
    g_free(scaler->inverse);
    *scaler = (LobScaler){0};
}

void lob_scaler_apply(const LobScaler *scaler, const uint16_t *rows, size_t n, float *out) {
    size_t d = scaler->dim;
    lob_floats_from_halves(out, rows, n * d);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < d; j++)
            out[i * d + j] = (out[i * d + j] - scaler->mean[j]) * scaler->inverse[j];
}
