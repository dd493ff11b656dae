/* benefit.csv, benefit_metrics.csv, verdict.json. */
#include "mpi/validate_benefit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- benefit.csv: one row a held-out patient ---- */

static LobCsv *new_patients(const LobBenefitStudy *s) {
    const LobStudy *study = s->plan->cohort->study;
    const LobEndpoint *endpoint = &study->endpoints[s->endpoint];
    size_t reference = lob_benefit_reference_arm(study);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    static const char *const fixed[] = {"endpoint", "patient_id", "center", "fold", "arm"};
    for (size_t i = 0; i < G_N_ELEMENTS(fixed); i++)
        g_ptr_array_add(names, g_strdup(fixed[i]));
    for (int f = 0; f < LOB_PARTS; f++)
        if (s->contrast[f].name)
            g_ptr_array_add(names, g_strdup_printf("effect_%s", s->contrast[f].name));
    for (size_t k = 0; k < study->n_arms; k++) {
        g_ptr_array_add(names, g_strdup_printf("rmst_%s", study->arms[k].name));
        for (size_t h = 0; h < endpoint->n_horizons; h++)
            g_ptr_array_add(names, g_strdup_printf("s_%s_%g", study->arms[k].name, endpoint->horizons[h]));
    }
    for (size_t k = 0; k < study->n_arms; k++) {
        if (k == reference)
            continue;
        g_ptr_array_add(names, g_strdup_printf("benefit_%s", study->arms[k].name));
        g_ptr_array_add(names, g_strdup_printf("benefit_%s_sd", study->arms[k].name));
        g_ptr_array_add(names, g_strdup_printf("benefit_%s_by_risk", study->arms[k].name));
        g_ptr_array_add(names, g_strdup_printf("benefit_%s_by_risk_sd", study->arms[k].name));
    }
    g_ptr_array_add(names, g_strdup("recommendation"));
    g_ptr_array_add(names, NULL);
    return lob_csv_new((const char *const *)names->pdata);
}

/* The arm that gains most, where it gains more than the margin by more than its spread; the arm without
 * treatment where every other one falls short by as much; else undecided. rmst, sd [n_arms]. */
static const char *recommend(const LobStudy *study, const double *rmst, const double *sd) {
    size_t reference = lob_benefit_reference_arm(study), best = reference;
    double most = -INFINITY;
    bool none_helps = true, known = false;
    for (size_t k = 0; k < study->n_arms; k++) {
        double gain = rmst[k] - rmst[reference];
        if (k == reference || isnan(gain))
            continue;
        known = true;
        none_helps = none_helps && gain + sd[k] < LOB_BENEFIT_MARGIN_DAYS;
        if (gain > most) {
            most = gain;
            best = k;
        }
    }
    if (!known)
        return "";
    if (most - LOB_BENEFIT_MARGIN_DAYS > sd[best])
        return study->arms[best].name;
    return none_helps ? study->arms[reference].name : "undecided";
}

/* What is unknown has no spread. */
static void gain_cells(LobCsv *csv, double gain, double sd) {
    lob_csv_number(csv, gain);
    lob_csv_number(csv, isnan(gain) ? NAN : sd);
}

static void patient_row(LobCsv *csv, const LobBenefitStudy *s, const LobBenefitFold *fold, size_t i,
                        double *const *effects, bool earned) {
    const LobCohort *cohort = s->plan->cohort;
    const LobStudy *study = cohort->study;
    const LobBenefitPrediction *out = &fold->prediction;
    uint32_t p = fold->fit.held_out[i];
    size_t arms = out->n_arms, at = i * arms, reference = lob_benefit_reference_arm(study);
    int arm = cohort->arm_at[s->endpoint][p];
    lob_csv_text(csv, study->endpoints[s->endpoint].name);
    lob_csv_text(csv, cohort->patients[p].patient_id);
    lob_csv_text(csv, cohort->centers[cohort->patients[p].center]);
    lob_csv_integer(csv, fold->view->fold);
    lob_csv_text(csv, arm >= 0 ? study->arms[arm].name : "");
    for (int f = 0; f < LOB_PARTS; f++)
        if (s->contrast[f].name)
            lob_csv_number(csv, fold->fit.part[f].estimable ? effects[f][i] : NAN);
    for (size_t k = 0; k < arms; k++) {
        lob_csv_number(csv, out->rmst[at + k]);
        for (size_t h = 0; h < out->n_horizons; h++)
            lob_csv_number(csv, out->survival[(at + k) * out->n_horizons + h]);
    }
    for (size_t k = 0; k < arms; k++) {
        if (k == reference)
            continue;
        gain_cells(csv, out->rmst[at + k] - out->rmst[at + reference], out->sd[at + k]);
        gain_cells(csv, out->rmst_risk[at + k] - out->rmst_risk[at + reference], out->sd_risk[at + k]);
    }
    lob_csv_text(csv, recommend(study, (earned ? out->rmst : out->rmst_risk) + at,
                                (earned ? out->sd : out->sd_risk) + at));
    lob_csv_end_row(csv);
}

/* The registered effect score itself: the biomarker's proof is none of the score. */
static bool effect_score_is_earned(const LobBenefitStudy *s) {
    for (int f = 0; f < LOB_PARTS; f++)
        if (s->contrast[f].registered && s->contrast[f].claimed)
            return true;
    return false;
}

/* Recommendations use effect scores where they are proven, else risk and the average effect alone. */
static bool write_patients(const LobBenefitStudy *s, GError **err) {
    bool earned = effect_score_is_earned(s);
    g_autoptr(LobCsv) csv = new_patients(s);
    for (size_t f = 0; f < s->n_folds; f++) {
        const LobBenefitFold *fold = &s->folds[f];
        double *effects[LOB_PARTS];
        for (int part = 0; part < LOB_PARTS; part++) {
            effects[part] = g_new(double, fold->fit.n_held_out + 1);
            lob_benefit_score(&fold->fit, part, false, effects[part]);
        }
        for (size_t i = 0; i < fold->fit.n_held_out; i++)
            patient_row(csv, s, fold, i, effects, earned);
        for (int part = 0; part < LOB_PARTS; part++)
            g_free(effects[part]);
    }
    g_autofree char *path = lob_study_out(s->plan->cohort->study, "benefit.csv");
    return lob_csv_save(csv, path, err);
}

/* ---- benefit_metrics.csv ---- */

void lob_benefit_row(const LobBenefitSheet *sheet, const char *center, const char *metric, LobEstimate e,
                     size_t n, size_t events) {
    lob_csv_text(sheet->csv, sheet->contrast->name);
    lob_csv_text(sheet->csv, center);
    lob_csv_text(sheet->csv, metric);
    lob_csv_number(sheet->csv, e.estimate);
    lob_csv_number(sheet->csv, e.lower);
    lob_csv_number(sheet->csv, e.upper);
    lob_csv_integer(sheet->csv, (int64_t)n);
    lob_csv_integer(sheet->csv, (int64_t)events);
    lob_csv_text(sheet->csv, e.reason ? e.reason : "");
    lob_csv_end_row(sheet->csv);
}

static LobEstimate plain(double value, const char *note) {
    return (LobEstimate){value, NAN, NAN, NAN, note};
}

static void contrast_rows(const LobBenefitSheet *sheet, const LobBenefitStudy *s) {
    const LobBenefitContrast *c = sheet->contrast;
    size_t n = c->n, events = c->events;
    const char *role =
        c->registered ? c->marker ? "registered biomarker" : "registered contrast" : "further contrast";
    lob_benefit_row(sheet, "pooled", "estimable", plain(c->estimable, c->estimable ? role : c->reason), n,
                    events);
    for (size_t f = 0; f < s->n_folds; f++) {
        const LobBenefitPart *part = &s->folds[f].fit.part[c->part];
        lob_benefit_row(sheet, s->plan->folds->names[f], "estimable_in_training",
                        plain(part->estimable, part->reason), s->folds[f].fit.n_train,
                        part->events[0] + part->events[1]);
    }
    if (!c->estimable)
        return;
    lob_benefit_row(sheet, "pooled", "detectable_interaction",
                    plain(c->detectable, "80 % power, one-sided 2.5 %"), n, events);
    lob_benefit_row(sheet, "pooled", "effective_size_without", plain(c->size[0], NULL), n, events);
    lob_benefit_row(sheet, "pooled", "effective_size_with", plain(c->size[1], NULL), n, events);
    for (size_t i = 0; i < s->plan->cohort->n_centers; i++)
        lob_benefit_row(sheet, s->plan->cohort->centers[i], "interaction_per_sd", c->center[i],
                        c->center_n[i], c->center_events[i]);
    LobEstimate pooled = c->pooled;
    pooled.reason = "propensities from the training centers; conditional on the trained models";
    lob_benefit_row(sheet, "pooled", "interaction_per_sd", pooled, n, events);
    lob_benefit_row(sheet, "pooled", "interaction_per_sd_hartung_knapp",
                    (LobEstimate){c->meta.mu, c->meta.se, c->meta.lower, c->meta.upper, c->meta.reason}, n,
                    events);
    lob_benefit_row(sheet, "pooled", "interaction_one_sided_p",
                    plain(1 - lob_normal_cdf(c->z), "conditional"), n, events);
    lob_benefit_row(sheet, "pooled", "interaction_permutation_p",
                    plain(c->p_permutation, c->marker ? "biomarker exchanged within center and arm"
                                                      : "effect stage refitted in each draw"),
                    n, events);
    lob_benefit_row(sheet, "pooled", "interaction_permutation_p_holm", plain(c->p_holm, NULL), n, events);
    lob_benefit_row(sheet, "pooled", "average_log_hazard_ratio", c->average, n, events);
    lob_benefit_row(sheet, "pooled", "average_e_value",
                    plain(lob_e_value(exp(c->average.estimate), true), "common outcome"), n, events);
    if (c->marker)
        return;
    lob_benefit_explained_row(sheet, s, s->bags);
    lob_benefit_policy_rows(sheet, s);
    lob_benefit_landmark_rows(sheet, s);
}

static bool write_metrics(const LobBenefitStudy *s, GError **err) {
    g_autoptr(LobCsv) csv = lob_csv_new((const char *[]){"contrast", "center", "metric", "estimate", "lower",
                                                         "upper", "n", "events", "note", NULL});
    for (int f = 0; f < LOB_CONTRASTS; f++) {
        LobBenefitSheet sheet = {csv, &s->contrast[f]};
        if (s->contrast[f].name)
            contrast_rows(&sheet, s);
    }
    g_autofree char *path = lob_study_out(s->plan->cohort->study, "benefit_metrics.csv");
    return lob_csv_save(csv, path, err);
}

/* ---- verdict.json ---- */

static json_t *number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *contrast_json(const LobBenefitContrast *c) {
    json_t *o = json_object();
    json_object_set_new(o, "contrast", json_string(c->name));
    json_object_set_new(o, "registered", json_boolean(c->registered));
    json_object_set_new(o, "biomarker", json_boolean(c->marker));
    json_object_set_new(o, "estimable", json_boolean(c->estimable));
    json_object_set_new(o, "claimed", json_boolean(c->claimed));
    if (!c->estimable)
        json_object_set_new(o, "reason", json_string(c->reason ? c->reason : ""));
    else {
        json_object_set_new(o, "interaction_per_sd", number(c->pooled.estimate));
        json_object_set_new(o, "lower", number(c->pooled.lower));
        json_object_set_new(o, "upper", number(c->pooled.upper));
        json_object_set_new(o, "hartung_knapp_lower", number(c->meta.lower));
        json_object_set_new(o, "hartung_knapp_upper", number(c->meta.upper));
        json_object_set_new(o, "permutation_p", number(c->p_permutation));
        json_object_set_new(o, "permutation_p_holm", number(c->p_holm));
        json_object_set_new(o, "average_log_hazard_ratio", number(c->average.estimate));
    }
    return o;
}

static bool write_verdict(const LobBenefitStudy *s, GError **err) {
    const LobStudy *study = s->plan->cohort->study;
    json_t *o = json_object(), *reasons = json_array(), *contrasts = json_array();
    for (guint i = 0; i < s->reasons->len; i++)
        json_array_append_new(reasons, json_string(s->reasons->pdata[i]));
    for (int f = 0; f < LOB_CONTRASTS; f++)
        if (s->contrast[f].name)
            json_array_append_new(contrasts, contrast_json(&s->contrast[f]));
    json_object_set_new(o, "verdict", json_string(s->verdict));
    json_object_set_new(o, "endpoint", json_string(study->endpoints[s->endpoint].name));
    json_object_set_new(o, "reasons", reasons);
    json_object_set_new(o, "contrasts", contrasts);
    json_object_set_new(o, "recommendations_from",
                        json_string(effect_score_is_earned(s) ? "effect scores" : "risk and average effect"));
    json_object_set_new(o, "lock", json_string(s->plan->lock));
    char *text = json_dumps(o, JSON_INDENT(1) | JSON_SORT_KEYS);
    json_decref(o);
    g_autofree char *path = lob_study_out(study, "verdict.json");
    bool ok = lob_file_replace(path, text, strlen(text), err);
    free(text);
    return ok;
}

bool lob_benefit_tables(const LobBenefitStudy *s, GError **err) {
    return write_patients(s, err) && write_metrics(s, err) && write_verdict(s, err);
}
