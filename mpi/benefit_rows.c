#include "mpi/benefit_rows.h"

#include <math.h>
#include <string.h>

static size_t reference_of(const LobAdviceFrame *frame) {
    for (size_t k = 0; k < frame->n_arms; k++)
        if (frame->arms[k].code[0] == 0 && frame->arms[k].code[1] == 0)
            return k;
    return 0;
}

void lob_advice_take(LobAdvice *advice, const LobBenefitPrediction *prediction, size_t i) {
    size_t at = i * prediction->n_arms;
    advice->rmst = prediction->rmst + at;
    advice->rmst_risk = prediction->rmst_risk + at;
    advice->sd = prediction->sd + at;
    advice->sd_risk = prediction->sd_risk + at;
    advice->survival = prediction->survival + at * prediction->n_horizons;
    advice->survival_risk = prediction->survival_risk + at * prediction->n_horizons;
    advice->adverse = prediction->adverse + at;
}

const char *lob_advice_recommend(const LobAdviceFrame *frame, const LobAdvice *advice) {
    const double *rmst = advice->earned ? advice->rmst : advice->rmst_risk;
    const double *sd = advice->earned ? advice->sd : advice->sd_risk;
    size_t reference = reference_of(frame), best = reference;
    double most = -INFINITY;
    bool none_helps = true, known = false;
    for (size_t k = 0; k < frame->n_arms; k++) {
        const double gain = rmst[k] - rmst[reference], adverse = advice->adverse[k];
        const double least = frame->penalty_days * (isnan(adverse) ? 0 : adverse);
        const double price = frame->penalty_days * (isnan(adverse) ? 1 : adverse);
        if (k == reference || isnan(gain))
            continue;
        known = true;
        none_helps = none_helps && gain - least + sd[k] < frame->margin_days;
        if (gain - price > most) {
            most = gain - price;
            best = k;
        }
    }
    if (!known)
        return "";
    if (most - frame->margin_days > sd[best])
        return frame->arms[best].name;
    return none_helps ? frame->arms[reference].name : "undecided";
}

/* Last columns of both tables. */
static void end_names(GPtrArray *names, const LobAdviceFrame *frame) {
    for (size_t k = 0; frame->penalty_days > 0 && k < frame->n_arms; k++)
        if (k != reference_of(frame))
            g_ptr_array_add(names, g_strdup_printf("adverse_%s", frame->arms[k].name));
    g_ptr_array_add(names, g_strdup("recommendation"));
    g_ptr_array_add(names, g_strdup("recommendation_from"));
    g_ptr_array_add(names, NULL);
}

/* a NULL: none for this row. */
static void end_row(LobCsv *csv, const LobAdviceFrame *frame, const LobAdvice *a) {
    for (size_t k = 0; frame->penalty_days > 0 && k < frame->n_arms; k++)
        if (k != reference_of(frame))
            lob_csv_number(csv, a ? a->adverse[k] : NAN);
    lob_csv_text(csv, a ? lob_advice_recommend(frame, a) : "");
    lob_csv_text(csv, !a ? "" : a->earned ? LOB_ADVICE_EARNED : LOB_ADVICE_RISK);
    lob_csv_end_row(csv);
}

/* ---- benefit.csv ---- */

static LobCsv *new_table(const LobAdviceFrame *frame) {
    size_t reference = reference_of(frame);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    static const char *const fixed[] = {"endpoint", "patient_id", "center", "fold", "arm"};
    for (size_t i = 0; i < G_N_ELEMENTS(fixed); i++)
        g_ptr_array_add(names, g_strdup(fixed[i]));
    for (int f = 0; f < LOB_PARTS; f++)
        if (frame->part[f])
            g_ptr_array_add(names, g_strdup_printf("effect_%s", frame->part[f]));
    for (size_t k = 0; k < frame->n_arms; k++) {
        g_ptr_array_add(names, g_strdup_printf("rmst_%s", frame->arms[k].name));
        for (size_t h = 0; h < frame->n_horizons; h++)
            g_ptr_array_add(names, g_strdup_printf("s_%s_%g", frame->arms[k].name, frame->horizons[h]));
    }
    for (size_t k = 0; k < frame->n_arms; k++) {
        if (k == reference)
            continue;
        g_ptr_array_add(names, g_strdup_printf("benefit_%s", frame->arms[k].name));
        g_ptr_array_add(names, g_strdup_printf("benefit_%s_sd", frame->arms[k].name));
        g_ptr_array_add(names, g_strdup_printf("benefit_%s_by_risk", frame->arms[k].name));
        g_ptr_array_add(names, g_strdup_printf("benefit_%s_by_risk_sd", frame->arms[k].name));
    }
    end_names(names, frame);
    return lob_csv_new((const char *const *)names->pdata);
}

/* What is unknown has no spread. */
static void gain_cells(LobCsv *csv, double gain, double sd) {
    lob_csv_number(csv, gain);
    lob_csv_number(csv, isnan(gain) ? NAN : sd);
}

static void table_row(LobCsv *csv, const LobAdviceFrame *frame, const LobAdvice *a) {
    size_t reference = reference_of(frame);
    lob_csv_text(csv, frame->endpoint);
    lob_csv_text(csv, a->patient_id);
    lob_csv_text(csv, a->center);
    lob_csv_integer(csv, a->fold);
    lob_csv_text(csv, a->arm);
    for (int f = 0; f < LOB_PARTS; f++)
        if (frame->part[f])
            lob_csv_number(csv, a->effect[f]);
    for (size_t k = 0; k < frame->n_arms; k++) {
        lob_csv_number(csv, a->rmst[k]);
        for (size_t h = 0; h < frame->n_horizons; h++)
            lob_csv_number(csv, a->survival[k * frame->n_horizons + h]);
    }
    for (size_t k = 0; k < frame->n_arms; k++) {
        if (k == reference)
            continue;
        gain_cells(csv, a->rmst[k] - a->rmst[reference], a->sd[k]);
        gain_cells(csv, a->rmst_risk[k] - a->rmst_risk[reference], a->sd_risk[k]);
    }
    end_row(csv, frame, a);
}

bool lob_advice_write(const char *path, const LobAdviceFrame *frame, const LobAdvice *advice, size_t n,
                      GError **err) {
    g_autoptr(LobCsv) csv = new_table(frame);
    for (size_t i = 0; i < n; i++)
        table_row(csv, frame, &advice[i]);
    return lob_csv_save(csv, path, err);
}

/* ---- predictions.csv ---- */

static LobCsv *joined_table(const LobTable *table, const LobAdviceFrame *frame) {
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    size_t reference = reference_of(frame);
    for (size_t c = 0; c < lob_table_columns(table); c++)
        g_ptr_array_add(names, g_strdup(lob_table_column_name(table, c)));
    for (size_t k = 0; k < frame->n_arms; k++)
        for (size_t h = 0; h < frame->n_horizons; h++)
            g_ptr_array_add(names, g_strdup_printf("risk_%s_%g", frame->arms[k].name, frame->horizons[h]));
    for (size_t k = 0; k < frame->n_arms; k++)
        if (k != reference) {
            g_ptr_array_add(names, g_strdup_printf("benefit_%s", frame->arms[k].name));
            g_ptr_array_add(names, g_strdup_printf("benefit_%s_sd", frame->arms[k].name));
        }
    end_names(names, frame);
    return lob_csv_new((const char *const *)names->pdata);
}

/* Of what the recommendation follows. a NULL: none for this row. */
static void joined_cells(LobCsv *csv, const LobAdviceFrame *frame, const LobAdvice *a) {
    size_t reference = reference_of(frame), h = frame->n_horizons;
    const double *rmst = !a ? NULL : a->earned ? a->rmst : a->rmst_risk;
    const double *sd = !a ? NULL : a->earned ? a->sd : a->sd_risk;
    const double *survival = !a ? NULL : a->earned ? a->survival : a->survival_risk;
    for (size_t i = 0; i < frame->n_arms * h; i++)
        lob_csv_number(csv, a ? 1 - survival[i] : NAN);
    for (size_t k = 0; k < frame->n_arms; k++)
        if (k != reference)
            gain_cells(csv, a ? rmst[k] - rmst[reference] : NAN, a ? sd[k] : NAN);
    end_row(csv, frame, a);
}

bool lob_advice_join(const char *path, const LobAdviceFrame *frame, const LobAdvice *advice, size_t n,
                     GError **err) {
    g_autoptr(LobTable) table = lob_table_read(path, err);
    if (!table)
        return false;
    int endpoint = lob_table_require(table, "endpoint", err);
    int model = endpoint < 0 ? -1 : lob_table_require(table, "model", err);
    int patient = model < 0 ? -1 : lob_table_require(table, "patient_id", err);
    int repeat = patient < 0 ? -1 : lob_table_require(table, "repeat", err);
    if (repeat < 0)
        return false;
    g_autoptr(GHashTable) of = g_hash_table_new(g_str_hash, g_str_equal);
    for (size_t i = 0; i < n; i++)
        g_hash_table_insert(of, (gpointer)advice[i].patient_id, (gpointer)&advice[i]);
    g_autoptr(LobCsv) csv = joined_table(table, frame);
    for (size_t r = 0; r < lob_table_rows(table); r++) {
        bool own = strcmp(lob_table_cell(table, r, endpoint), frame->endpoint) == 0 &&
                   strcmp(lob_table_cell(table, r, model), frame->model) == 0 &&
                   strcmp(lob_table_cell(table, r, repeat), "0") == 0;
        for (size_t c = 0; c < lob_table_columns(table); c++)
            lob_csv_text(csv, lob_table_cell(table, r, (int)c));
        joined_cells(csv, frame, own ? g_hash_table_lookup(of, lob_table_cell(table, r, patient)) : NULL);
    }
    return lob_csv_save(csv, path, err);
}
