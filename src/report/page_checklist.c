/* Where each item of TRIPOD+AI (Collins et al. 2024) is answered, and what the study must still write. */
#include "report/report_internal.h"

#include <string.h>

typedef struct {
    const char *item, *topic, *place, *anchor, *missing;
} Item;

static const Item items[] = {
    {"1-2", "title, abstract", "-", NULL,
     "title naming development or evaluation, target, population, outcome; abstract"},
    {"3a-c", "context, use, inequalities", "-", NULL,
     "who would use the prediction, when, for which decision; known inequalities"},
    {"4", "objectives", "study.yaml", NULL, "objective in words; development, evaluation or both"},
    {"5a-b", "sources, dates", "Cohort", "cohort", "dates of accrual and follow-up of every center"},
    {"6a-c", "setting, eligibility, treatments", "Cohort: flow, arms", "cohort",
     "setting; doses and schedules of treatments"},
    {"7", "data preparation", "Slides; provenance.json", "slides", "staining and scanning protocols"},
    {"8a-c", "outcome", "study.yaml: endpoints", "cohort",
     "how recurrence was looked for, how often, blinded or not"},
    {"9a-c", "predictors", "Table 1; encoder in Provenance", "cohort",
     "when and how covariates were measured"},
    {"10", "sample size", "What these data could show", "power", "a priori calculation, if there was one"},
    {"11", "missing data", "Table 1: missing", "cohort",
     "why values are missing; imputation is by training-fold values with flags"},
    {"12a-g", "analysis, tuning, heterogeneity, updating", "lock.json; Discrimination, Calibration",
     "discrimination", "statistical analysis plan and deviations from it"},
    {"13", "class imbalance", "Cohort: events", "cohort", "-"},
    {"14", "fairness", "Subgroups", "subgroups", "groups that matter beyond the covariates named"},
    {"15", "output of the model", "Outcome by risk group; predictions.csv", "survival",
     "how a threshold would be used"},
    {"16", "training against evaluation data", "Table 1 by center; Leakage audit", "leakage",
     "known differences between centers"},
    {"17", "ethics", "-", NULL, "approval and consent of every center"},
    {"18a-f", "funding, conflicts, protocol, registration, data, code", "Provenance", "provenance",
     "registration number, protocol, funding, conflicts, availability of data and code"},
    {"19", "patient and public involvement", "-", NULL, "involvement, or that there was none"},
    {"20a-c", "participants", "Cohort: flow, Table 1", "cohort", "-"},
    {"21", "development of the model", "training.csv", "provenance", "-"},
    {"22", "full model", "weights' hashes in training.csv", "provenance",
     "the locked final model and how to get it"},
    {"23a", "performance with intervals", "Discrimination, Calibration, Clinical utility", "calibration",
     "-"},
    {"23b", "heterogeneity over centers", "Forest plots with prediction intervals", "discrimination", "-"},
    {"24", "updating", "Calibration: slope and O/E by center", "calibration",
     "whether and how the model was updated"},
    {"25", "interpretation", "Verdict", "verdict", "in the light of other studies"},
    {"26", "limitations", "Read with care", "caveats", "limits of design and data known to the study group"},
    {"27a-c", "usability", "-", NULL,
     "what is needed to use it; handling of poor or missing input; next steps"},
};

/* Sections leave themselves out where their table is absent; these three come later and always. */
static bool on_page(const LobPage *page, const char *anchor) {
    static const char *const always[] = {"verdict", "caveats", "provenance"};
    for (size_t i = 0; i < G_N_ELEMENTS(always); i++)
        if (strcmp(anchor, always[i]) == 0)
            return true;
    g_autofree char *id = g_strdup_printf("id=\"%s\"", anchor);
    return strstr(page->html->str, id) != NULL;
}

/* What differs where a locked model is evaluated. */
static Item of_locked(const Item *item) {
    static const Item locked[] = {
        {"10", "sample size", "What these data could show", "power", "a priori calculation for this cohort"},
        {"11", "missing data", "Table 1: missing", "cohort",
         "why values are missing; imputation is by the model's training values with flags"},
        {"12a-g", "analysis, tuning, heterogeneity, updating",
         "the model's lock; Discrimination, Calibration", "discrimination",
         "statistical analysis plan of this evaluation and deviations from it"},
        {"16", "training against evaluation data", "Table 1 by center", "cohort",
         "how this cohort differs from the one trained on"},
        {"21", "development of the model", "the page of its validation", NULL, "where that page can be had"},
        {"22", "full model", "model.h5, by its SHA-256", "provenance", "how to get it"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(locked); i++)
        if (strcmp(locked[i].item, item->item) == 0)
            return locked[i];
    return *item;
}

static void row(LobPage *page, const Item *given, LobCsv *csv) {
    const Item own = page->locked.sha256 ? of_locked(given) : *given, *item = &own;
    const char *cells[] = {item->item, item->topic, item->place, item->missing};
    g_string_append(page->html, "<tr>");
    for (size_t i = 0; i < G_N_ELEMENTS(cells); i++) {
        const bool link = i == 2 && item->anchor && on_page(page, item->anchor);
        g_string_append(page->html, "<td>");
        if (link)
            lob_html_printf(page->html, "<a href=\"#%s\">", item->anchor);
        lob_html_text(page->html, cells[i]);
        g_string_append(page->html, link ? "</a></td>" : "</td>");
        lob_csv_text(csv, cells[i]);
    }
    lob_csv_end_row(csv);
    g_string_append(page->html, "</tr>\n");
}

bool lob_page_checklist(LobPage *page, GError **err) {
    lob_html_section(page->html, "checklist", "TRIPOD+AI checklist",
                     "Where this page answers an item, and what the study must still fill in.");
    g_string_append(
        page->html,
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"checklist\"><table "
        "data-csv=\"figures/tripod_ai.csv\"><caption>Items</caption><thead><tr><th scope=\"col\">item</th>"
        "<th scope=\"col\">topic</th><th scope=\"col\">answered in</th><th scope=\"col\">the study still "
        "has to say</th></tr></thead><tbody>\n");
    g_autoptr(LobCsv) csv =
        lob_csv_new((const char *[]){"item", "topic", "answered_in", "still_to_say", NULL});
    for (size_t i = 0; i < G_N_ELEMENTS(items); i++)
        row(page, &items[i], csv);
    g_string_append(page->html, "</tbody></table></div>\n");
    lob_html_section_end(page->html);
    return lob_page_save_data(page, csv, "tripod_ai", err);
}
