/* The verdict with its reasons, and the caveats the data call for. It is written last and stands first. */
#include "report/report_internal.h"

#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

void lob_page_caveat(LobPage *page, const char *format, ...) {
    va_list args;
    va_start(args, format);
    g_ptr_array_add(page->caveats, g_strdup_vprintf(format, args));
    va_end(args);
}

static void interval(GString *out, double low, double high) {
    g_string_append(out, "(");
    lob_html_number(out, low, 3);
    g_string_append(out, " to ");
    lob_html_number(out, high, 3);
    g_string_append(out, ")");
}

static void say_ranking(const LobPage *page, const LobEndpoint *endpoint, const LobPooled *c) {
    GString *out = page->html;
    g_string_append(out, "<li>Endpoint ");
    lob_html_text(out, endpoint->name);
    lob_html_printf(out, ": %s over %s%s ", endpoint->kind == LOB_ENDPOINT_SURVIVAL ? "concordance" : "AUC",
                    lob_page_either(page, "", "the "), lob_page_where(page));
    lob_html_number(out, c->estimate, 3);
    g_string_append(out, ", 95 % interval ");
    interval(out, c->lower, c->upper);
    if (!isnan(c->next_lower)) {
        g_string_append(out, ", in one more center ");
        interval(out, c->next_lower, c->next_upper);
    }
    g_string_append(out, " over ");
    lob_html_number(out, c->centers, 0);
    g_string_append(out, c->centers > 1 ? " centers.</li>\n" : " center.</li>\n");
    g_string_append(out,
                    lob_page_either(page,
                                    "<li>The interval is conditional on the trained models. A permutation "
                                    "test with refitting, which alone tests the ranking in all centers "
                                    "together against chance, is not part of these tables; Discrimination "
                                    "has the test of each center by itself.</li>\n",
                                    "<li>The model was locked before this cohort was seen: the permutation "
                                    "of its scores (Discrimination) is a test against chance.</li>\n"));
}

static void say_effect(LobPage *page) {
    const LobStudy *study = page->cohort->study;
    GString *out = page->html;
    if (!study->arm_column) {
        g_string_append(out, "<li>Effect of treatment: the study names no arms.</li>\n");
        return;
    }
    if (!study->model.benefit)
        g_string_append(
            out, "<li><b>Relative effect modification was not asked</b>: model.benefit is false in the "
                 "study file.</li>\n");
    else
        g_string_append(out, "<li><b>Relative effect modification: not estimable</b>. The study asks for it "
                             "(model.benefit), but there is no verdict.json of a benefit stage.</li>\n");
    g_autoptr(GArray) contrasts = lob_contrasts(page);
    for (guint i = 0; i < contrasts->len; i++) {
        const LobContrast *c = &g_array_index(contrasts, LobContrast, i);
        g_string_append(out, "<li>Contrast ");
        lob_html_text(out, study->arms[c->arm].name);
        g_string_append(out, " against ");
        lob_html_text(out, study->arms[0].name);
        if (c->reason) {
            lob_html_printf(out, ": not estimable, %s (events ", c->reason);
            lob_html_number(out, c->events[1], 0);
            g_string_append(out, " and ");
            lob_html_number(out, c->events[0], 0);
            g_string_append(out, ").</li>\n");
        } else {
            g_string_append(out, ": by counts, an interaction of at least ");
            lob_html_number(out, c->detectable, 2);
            g_string_append(out, " log hazard ratio per SD could have been found.</li>\n");
        }
    }
    g_string_append(out, "<li>Absolute benefit through risk only is not claimed: it needs a treatment effect "
                         "established beyond these arms, which were not randomised.</li>\n");
}

static void caveats(LobPage *page) {
    g_string_append(page->html,
                    "<section class=\"box caveats\" aria-labelledby=\"caveats\"><h2 id=\"caveats\">"
                    "Read with care</h2><ul>\n");
    for (guint i = 0; i < page->caveats->len; i++) {
        g_string_append(page->html, "<li>");
        lob_html_text(page->html, page->caveats->pdata[i]);
        g_string_append(page->html, "</li>\n");
    }
    g_string_append(page->html, "</ul></section>\n");
}

static void caveats_of_ranking(LobPage *page, const LobPooled *c) {
    if (page->locked.sha256 && c->centers < 2)
        lob_page_caveat(page, "One center: nothing here says how far the model's worth differs between "
                              "centers.");
    else if (c->centers < 3)
        lob_page_caveat(page, "Fewer than 3 centers: no prediction interval for a new one.");
    else if (c->next_upper - c->next_lower > 0.3)
        lob_page_caveat(page, "The prediction interval for a new center is wider than 0.3.");
    if (c->next_lower < 0.5)
        lob_page_caveat(page, "In a new center the ranking may be no better than chance.");
    if (page->cohort->study->arm_column)
        lob_page_caveat(page, "Treatment was not randomised: curves of arms are confounded by indication.");
    lob_page_caveat(page, "An encoder or option chosen after looking at this page makes these figures "
                          "optimistic.");
}

const char *const lob_verdict_names[LOB_VERDICTS] = {"relative effect modification",
                                                     "absolute benefit through risk only", "prognostic",
                                                     "nothing shown", "not estimable"};

static const char *const meanings[LOB_VERDICTS] = {
    "What the image shows says whom the treatment helps more, beyond telling who is at risk.",
    "The treatment helps all alike in relative terms, so that those at higher risk gain more; whom it helps "
    "more is not shown by the image.",
    "Held-out patients are ranked by risk. That treatment should be chosen by it is not shown.",
    "There were enough patients and events to ask, and neither a ranking by risk that is the image's own nor "
    "a "
    "treatment whose effect changes with the image was found. This does not prove that there is none: see "
    "the "
    "smallest interaction that could have been found.",
    "There were too few patients, events or centers to answer, or the question was not asked."};

/* Of the benefit stage; *json NULL where there is none. INPUT error where the file is not what it should be.
 */
static bool read_verdict(const LobPage *page, json_t **json, LobVerdict *verdict, GError **err) {
    g_autofree char *path = g_build_filename(page->out, "verdict.json", NULL);
    *json = NULL;
    /* One left by a run that asked says nothing of a run that does not. */
    if (!page->cohort->study->model.benefit || !g_file_test(path, G_FILE_TEST_EXISTS))
        return true;
    json_error_t problem;
    *json = json_load_file(path, 0, &problem);
    const char *text = *json ? json_string_value(json_object_get(*json, "verdict")) : NULL;
    for (int i = 0; text && i < LOB_VERDICTS; i++)
        if (strcmp(text, lob_verdict_names[i]) == 0) {
            *verdict = (LobVerdict)i;
            return true;
        }
    json_decref(*json);
    *json = NULL;
    return lob_fail(err, LOB_ERROR_INPUT, "%s: holds none of the verdicts this program knows", path);
}

/* The benefit stage's own reasons, as it wrote them. */
static void say_reasons(GString *out, const json_t *json) {
    size_t i;
    const json_t *reason;
    json_array_foreach(json_object_get(json, "reasons"), i, reason) {
        if (!json_is_string(reason))
            continue;
        g_string_append(out, "<li>");
        lob_html_text(out, json_string_value(reason));
        g_string_append(out, "</li>\n");
    }
    const char *from = json_string_value(json_object_get(json, "recommendations_from"));
    if (from) {
        g_string_append(out, "<li>Recommendations come from ");
        lob_html_text(out, from);
        g_string_append(out, ".</li>\n");
    }
}

bool lob_page_verdict(LobPage *page, GError **err) {
    const LobStudy *study = page->cohort->study;
    const LobEndpoint *endpoint = &study->endpoints[0];
    const char *metric = endpoint->kind == LOB_ENDPOINT_SURVIVAL ? "harrell_c" : "auc";
    LobPooled c;
    json_t *benefit;
    if (!lob_pooled_read(&c, page, endpoint->name, study->model.kind, metric, err))
        return false;
    const bool shown = c.centers >= (page->locked.sha256 ? 1 : 2) && c.lower > 0.5;
    LobVerdict verdict = shown ? LOB_VERDICT_PROGNOSTIC : LOB_VERDICT_NOT_ESTIMABLE;
    if (!read_verdict(page, &benefit, &verdict, err))
        return false;
    lob_html_printf(
        page->html,
        "<section class=\"box\" aria-labelledby=\"verdict\"><h2 id=\"verdict\">Verdict</h2>"
        "<p class=\"verdict\">%c%s</p><p>%s</p><p class=\"note\">One of five: relative effect modification, "
        "absolute benefit through risk only, prognostic, nothing shown, not estimable.</p><ul>\n",
        g_ascii_toupper(*lob_verdict_names[verdict]), lob_verdict_names[verdict] + 1, meanings[verdict]);
    if (c.centers > 0)
        say_ranking(page, endpoint, &c);
    if (!shown)
        g_string_append(page->html,
                        lob_page_either(page,
                                        "<li>The ranking of held-out patients is not shown to differ from "
                                        "chance in two or more centers.</li>\n",
                                        "<li>The ranking of these patients is not shown to differ from "
                                        "chance.</li>\n"));
    if (benefit)
        say_reasons(page->html, benefit);
    else
        say_effect(page);
    json_decref(benefit);
    g_string_append(page->html, "</ul></section>\n");
    caveats_of_ranking(page, &c);
    caveats(page);
    return true;
}
