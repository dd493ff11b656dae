/* benefit.csv, benefit_metrics.csv, verdict.json. */
#include "mpi/validate_benefit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- benefit.csv: one row a held-out patient; the same advice in predictions.csv ---- */

bool lob_benefit_is_earned(const LobBenefitStudy *s) {
    if (s->locked)
        return s->n_folds > 0 && s->folds[0].fit.model.earned;
    for (int f = 0; f < LOB_PARTS; f++)
        if (s->contrast[f].registered && s->contrast[f].claimed)
            return true;
    return false;
}

static void fold_advice(const LobBenefitStudy *s, const LobBenefitFold *fold, bool earned,
                        LobAdvice *advice) {
    const LobCohort *cohort = s->plan->cohort;
    double *effects[LOB_PARTS];
    for (int part = 0; part < LOB_PARTS; part++) {
        effects[part] = g_new(double, fold->fit.n_held_out + 1);
        lob_benefit_score(&fold->fit, part, false, effects[part]);
    }
    for (size_t i = 0; i < fold->fit.n_held_out; i++) {
        uint32_t p = fold->fit.held_out[i];
        int arm = cohort->arm_at[s->endpoint][p];
        advice[i] = (LobAdvice){.patient_id = cohort->patients[p].patient_id,
                                .center = cohort->centers[cohort->patients[p].center],
                                .arm = arm >= 0 ? cohort->study->arms[arm].name : "",
                                .fold = fold->view->fold,
                                .earned = earned};
        for (int part = 0; part < LOB_PARTS; part++)
            advice[i].effect[part] = fold->fit.part[part].estimable ? effects[part][i] : NAN;
        lob_advice_take(&advice[i], &fold->prediction, i);
    }
    for (int part = 0; part < LOB_PARTS; part++)
        g_free(effects[part]);
}

LobAdviceFrame lob_benefit_frame(const LobBenefitStudy *s) {
    const LobStudy *study = s->plan->cohort->study;
    const LobEndpoint *endpoint = &study->endpoints[s->endpoint];
    const LobBenefitModel *model = s->locked && s->n_folds ? &s->folds[0].fit.model : NULL;
    return (LobAdviceFrame){.endpoint = endpoint->name,
                            .model = s->plan->models[0],
                            .arms = model ? model->arms : study->arms,
                            .n_arms = model ? model->n_arms : study->n_arms,
                            .horizons = endpoint->horizons,
                            .n_horizons = endpoint->n_horizons,
                            .margin_days = study->model.wish.margin_days,
                            .penalty_days = study->model.wish.penalty_days,
                            .part = {s->contrast[0].name, s->contrast[1].name}};
}

/* Recommendations use effect scores where they are proven, else risk and the average effect alone. */
static bool write_patients(const LobBenefitStudy *s, GError **err) {
    const LobStudy *study = s->plan->cohort->study;
    const LobAdviceFrame frame = lob_benefit_frame(s);
    size_t n = 0;
    for (size_t f = 0; f < s->n_folds; f++)
        n += s->folds[f].fit.n_held_out;
    g_autofree LobAdvice *advice = g_new0(LobAdvice, n + 1);
    n = 0;
    for (size_t f = 0; f < s->n_folds; f++) {
        fold_advice(s, &s->folds[f], lob_benefit_is_earned(s), advice + n);
        n += s->folds[f].fit.n_held_out;
    }
    g_autofree char *path = lob_study_out(study, "benefit.csv");
    g_autofree char *predictions = lob_study_out(study, "predictions.csv");
    return lob_advice_write(path, &frame, advice, n, err) &&
           (n == 0 || lob_advice_join(predictions, &frame, advice, n, err));
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

/* One center is no sample of centers. */
static LobEstimate over_centers(const LobBenefitContrast *c) {
    if (c->meta.k < 2)
        return plain(NAN, "fewer than two centers: no interval over centers");
    return (LobEstimate){c->meta.mu, c->meta.se, c->meta.lower, c->meta.upper, c->meta.reason};
}

static void contrast_rows(const LobBenefitSheet *sheet, const LobBenefitStudy *s) {
    const LobBenefitContrast *c = sheet->contrast;
    size_t n = c->n, events = c->events;
    const char *role =
        c->registered ? c->marker ? "registered biomarker" : "registered contrast" : "further contrast";
    lob_benefit_row(sheet, "pooled", "estimable", plain(c->estimable, c->estimable ? role : c->reason), n,
                    events);
    for (size_t f = 0; !s->locked && f < s->n_folds; f++) {
        const LobBenefitPart *part = &s->folds[f].fit.part[c->part];
        lob_benefit_row(sheet, s->plan->folds->names[s->folds[f].view->fold], "estimable_in_training",
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
    lob_benefit_row(sheet, "pooled", "interaction_per_sd_hartung_knapp", over_centers(c), n, events);
    lob_benefit_row(sheet, "pooled", "interaction_one_sided_p", plain(lob_normal_cdf(-c->z), "conditional"),
                    n, events);
    lob_benefit_row(sheet, "pooled", "interaction_permutation_p",
                    plain(c->p_permutation, c->marker   ? "biomarker exchanged within center and arm"
                                            : s->locked ? "effect score exchanged within center and arm; the "
                                                          "model stays as it was locked"
                                                        : "effect stage refitted in each draw"),
                    n, events);
    lob_benefit_row(sheet, "pooled", "interaction_permutation_p_holm", plain(c->p_holm, NULL), n, events);
    lob_benefit_row(sheet, "pooled", "average_log_hazard_ratio", c->average, n, events);
    lob_benefit_row(sheet, "pooled", "average_e_value",
                    plain(lob_e_value(exp(c->average.estimate), true), "common outcome"), n, events);
    lob_benefit_period_rows(sheet, s);
    if (c->marker)
        return;
    lob_benefit_explained_row(sheet, s);
    lob_benefit_policy_rows(sheet, s);
}

static bool write_metrics(const LobBenefitStudy *s, GError **err) {
    g_autoptr(LobCsv) csv = lob_csv_new((const char *[]){"contrast", "center", "metric", "estimate", "lower",
                                                         "upper", "n", "events", "note", NULL});
    g_autoptr(LobCsv) scores =
        lob_csv_new((const char *[]){"contrast", "center", "treated", "time", "event", "third", "weight",
                                     "predicted_gain", "doubly_robust_gain", "tau", NULL});
    for (int f = 0; f < LOB_CONTRASTS; f++) {
        LobBenefitSheet sheet = {csv, scores, &s->contrast[f]};
        if (s->contrast[f].name)
            contrast_rows(&sheet, s);
    }
    if (!s->locked && !lob_benefit_landmark_rows(&(LobBenefitSheet){csv, scores, NULL}, s, err))
        return false;
    g_autofree char *path = lob_study_out(s->plan->cohort->study, "benefit_metrics.csv");
    g_autofree char *scores_path = lob_study_out(s->plan->cohort->study, "benefit_scores.csv");
    return lob_csv_save(csv, path, err) && lob_csv_save(scores, scores_path, err);
}

/* The null as it was drawn: draw 0 is what was observed. */
static bool write_draws(const LobBenefitStudy *s, GError **err) {
    g_autoptr(LobCsv) csv = lob_csv_new((const char *[]){"contrast", "draw", "z", NULL});
    for (int f = 0; f < LOB_CONTRASTS; f++)
        for (int d = 0; s->contrast[f].name && s->contrast[f].estimable && d <= LOB_BENEFIT_PERMUTATIONS;
             d++) {
            lob_csv_text(csv, s->contrast[f].name);
            lob_csv_integer(csv, d);
            lob_csv_number(csv, d ? s->contrast[f].draw[d - 1] : s->contrast[f].z);
            lob_csv_end_row(csv);
        }
    g_autofree char *path = lob_study_out(s->plan->cohort->study, "benefit_draws.csv");
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
        json_object_set_new(o, "hartung_knapp_lower", number(over_centers(c).lower));
        json_object_set_new(o, "hartung_knapp_upper", number(over_centers(c).upper));
        json_object_set_new(o, "one_sided_p", number(lob_normal_cdf(-c->z)));
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
                        json_string(lob_benefit_is_earned(s) ? LOB_ADVICE_EARNED : LOB_ADVICE_RISK));
    if (s->locked) { /* here the plan's lock is the model */
        json_object_set_new(o, "model_sha256", json_string(s->plan->lock));
        json_object_set_new(o, "registered_lock", json_string(s->locked->lock));
        json_t *lock = json_loads(s->locked->text, 0, NULL);
        json_object_set(o, "registered", json_object_get(lock, "benefit"));
        json_decref(lock);
        json_object_set_new(o, "centers", json_integer((json_int_t)s->plan->cohort->n_centers));
    } else {
        json_object_set_new(o, "lock", json_string(s->plan->lock));
    }
    char *text = json_dumps(o, JSON_INDENT(1) | JSON_SORT_KEYS);
    json_decref(o);
    g_autofree char *path = lob_study_out(study, "verdict.json");
    bool ok = lob_file_replace(path, text, strlen(text), err);
    free(text);
    return ok;
}

bool lob_benefit_tables(const LobBenefitStudy *s, GError **err) {
    /* Of a locked model's patients the prediction has written the rows. */
    return (s->locked || write_patients(s, err)) && write_metrics(s, err) && write_draws(s, err) &&
           write_verdict(s, err);
}
