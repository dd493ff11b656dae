/* The page of bench: for each bench a plot of ratios with their intervals against the line at 1, and the
 * numbers; then what has no bound. XHTML, no script, nothing from elsewhere. */
#include "jobs/bench_internal.h"

#include <math.h>
#include <string.h>

enum { LABELS = 450, PLOT = 420, ROW = 24, RIGHT = 50, AXIS = 26, MOST_LETTERS = 70 };
/* Ratios beyond this are on a logarithmic axis. */
#define MOST_LINEAR 4.0

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\"><head><meta "
    "charset=\"utf-8\"/>"
    "<title>lobule bench</title><style>\n"
    "body{font:14px sans-serif;margin:2em;max-width:1300px;color:#222}h2{margin:1.6em 0 .3em}\n"
    "table{border-collapse:collapse;margin:.6em 0}td,th{padding:3px 10px;border-bottom:1px solid "
    "#ddd;text-align:left;vertical-align:top}.n{text-align:right;white-space:nowrap}td:nth-child(2),td:nth-"
    "child(9){min-width:13em}\n"
    "svg text{font:12px "
    "sans-serif;fill:#222}.bound{fill:#1b6ca8}.reference{fill:#8aa5b8}.budget{fill:#c08a3e}"
    "\n</style></head><body>\n";

static const char *text_of(const json_t *object, const char *name) {
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

static double number_of(const json_t *line, const char *name) {
    const json_t *value = json_object_get(line, name);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static bool has_ratio(const json_t *line) {
    return isfinite(number_of(line, "ratio"));
}

static void add_text(GString *page, const char *before, const char *text, const char *after) {
    g_autofree char *escaped = g_markup_escape_text(text, -1);
    g_string_append_printf(page, "%s%s%s", before, escaped, after);
}

/* ---- a plot ---- */

typedef struct {
    double low, high; /* of the axis; logarithms where it is logarithmic */
    bool logarithmic;
} Axis;

static Axis axis_of(const GPtrArray *lines) {
    double least = 1, most = 1;
    for (guint i = 0; i < lines->len; i++) {
        const double ratio = number_of(lines->pdata[i], "ratio");
        const double lower = number_of(lines->pdata[i], "ratio_lower");
        const double upper = number_of(lines->pdata[i], "ratio_upper");
        least = fmin(least, fmin(ratio, lower)); /* fmin leaves NAN out */
        most = fmax(most, fmax(ratio, upper));
    }
    if (most <= MOST_LINEAR)
        return (Axis){0, fmax(1.05 * most, 1.1), false};
    return (Axis){floor(log10(fmax(least, 1e-6))), ceil(log10(most)), true};
}

static double place(const Axis *axis, double ratio) {
    const double at = axis->logarithmic ? log10(fmax(ratio, 1e-6)) : ratio;
    return LABELS + PLOT * CLAMP((at - axis->low) / (axis->high - axis->low), 0, 1);
}

static void add_ticks(GString *page, const Axis *axis, int bottom) {
    const double step = axis->logarithmic ? 1 : axis->high > 2 ? 0.5 : 0.25;
    for (double at = axis->low; at <= axis->high + 1e-9; at += step) {
        const double ratio = axis->logarithmic ? pow(10, at) : at, x = place(axis, ratio);
        g_string_append_printf(page,
                               "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"0\" y2=\"%d\" stroke=\"#e4e4e4\"/>"
                               "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n",
                               x, x, bottom, x, bottom + 16, ratio);
    }
}

/* A bar from nothing, or on a logarithmic axis from 1; a whisker where there is an interval. */
static void add_bar(GString *page, const Axis *axis, const json_t *line, int row) {
    const double ratio = number_of(line, "ratio"), lower = number_of(line, "ratio_lower");
    const double from = axis->logarithmic ? place(axis, 1) : LABELS, to = place(axis, ratio);
    const int top = row * ROW + 5, middle = row * ROW + ROW / 2;
    const char *part = strchr(text_of(line, "bench"), '-');
    g_autofree char *full =
        g_strdup_printf("%s%s%s", part ? part + 1 : "", part ? ": " : "", text_of(line, "case"));
    g_autofree char *label = g_utf8_substring(full, 0, MIN(g_utf8_strlen(full, -1), MOST_LETTERS));
    g_string_append_printf(page, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">", LABELS - 8, middle + 4);
    add_text(page, "", label, "</text>");
    g_string_append_printf(page, "<rect class=\"%s\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\"/>",
                           text_of(line, "ceiling_kind"), fmin(from, to), top, fabs(to - from), ROW - 10);
    double end = fmax(from, to);
    if (isfinite(lower)) {
        const double a = place(axis, lower), b = place(axis, number_of(line, "ratio_upper"));
        g_string_append_printf(page,
                               "<path class=\"whisker\" d=\"M%.1f %d H%.1f M%.1f %d V%d M%.1f %d V%d\" "
                               "stroke=\"#111\" fill=\"none\"/>",
                               a, middle, b, a, middle - 5, middle + 5, b, middle - 5, middle + 5);
        end = fmax(end, b);
    }
    g_string_append_printf(page, "<text x=\"%.1f\" y=\"%d\">%.3g</text>\n", end + 5, middle + 4, ratio);
}

static void add_plot(GString *page, const GPtrArray *lines) {
    const Axis axis = axis_of(lines);
    const int bottom = (int)lines->len * ROW, width = LABELS + PLOT + RIGHT;
    g_string_append_printf(page,
                           "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
                           "viewBox=\"0 0 %d %d\" role=\"img\">\n",
                           width, bottom + AXIS, width, bottom + AXIS);
    add_ticks(page, &axis, bottom);
    for (guint i = 0; i < lines->len; i++)
        add_bar(page, &axis, lines->pdata[i], (int)i);
    g_string_append_printf(page,
                           "<line class=\"one\" x1=\"%.1f\" x2=\"%.1f\" y1=\"0\" y2=\"%d\" "
                           "stroke=\"#b3202a\" stroke-width=\"2\"/>\n</svg>\n",
                           place(&axis, 1), place(&axis, 1), bottom);
}

/* ---- tables ---- */

static void add_numbers(GString *page, const json_t *line) {
    const double lower = number_of(line, "lower"), spread = number_of(line, "spread");
    const int n = (int)json_integer_value(json_object_get(line, "repeats"));
    g_string_append_printf(page, "<td class=\"n\">%.4g</td>", number_of(line, "rate"));
    add_text(page, "<td>", text_of(line, "unit"), "</td>");
    if (isfinite(lower))
        g_string_append_printf(page, "<td class=\"n\">%.4g &#8211; %.4g</td>", lower,
                               number_of(line, "upper"));
    else
        g_string_append_printf(page, "<td class=\"n\">none of n=%d</td>", n);
    g_string_append_printf(page, "<td class=\"n\">%d</td>", n);
    if (isfinite(spread))
        g_string_append_printf(page, "<td class=\"n\">%.1f %%</td>", 100 * spread);
    else
        g_string_append(page, "<td class=\"n\">&#8211;</td>");
}

static void add_ratio(GString *page, const json_t *line) {
    const double lower = number_of(line, "ratio_lower");
    g_string_append_printf(page, "<td class=\"n\">%.4g</td>", number_of(line, "ceiling"));
    add_text(page, "<td>", text_of(line, "ceiling_kind"), ": ");
    add_text(page, "", text_of(line, "ceiling_name"), "</td>");
    g_string_append_printf(page, "<td class=\"n\">%.3f", number_of(line, "ratio"));
    if (isfinite(lower))
        g_string_append_printf(page, " [%.3f, %.3f]", lower, number_of(line, "ratio_upper"));
    g_string_append_printf(page, "%s</td>",
                           json_is_true(json_object_get(line, "ratio_paired")) ? " paired" : "");
}

/* HH:MM:SS of an ISO time. Caller frees. */
static char *clock_of(const char *time) {
    const char *at = strchr(time, 'T');
    return g_strndup(at ? at + 1 : time, at ? strlen("HH:MM:SS") : strlen(time));
}

static void add_table(GString *page, const GPtrArray *lines, bool with_ratio) {
    g_string_append(page, "<table><tr><th>bench</th><th>case</th><th class=\"n\">rate</th><th>unit</th>"
                          "<th class=\"n\">95 % CI</th><th class=\"n\">n</th><th class=\"n\">spread</th>");
    g_string_append(page, with_ratio ? "<th class=\"n\">ceiling</th><th>which is</th>"
                                       "<th class=\"n\">rate over it</th>"
                                     : "");
    g_string_append(page, "<th>ranks</th><th>measured</th></tr>\n");
    for (guint i = 0; i < lines->len; i++) {
        const json_t *line = lines->pdata[i];
        add_text(page, "<tr><td>", text_of(line, "bench"), "</td>");
        add_text(page, "<td>", text_of(line, "case"), "</td>");
        add_numbers(page, line);
        if (with_ratio)
            add_ratio(page, line);
        g_string_append_printf(page, "<td>%d</td>", (int)json_integer_value(json_object_get(line, "ranks")));
        /* The day stands above, the fraction of a second in the JSON line. */
        g_autofree char *clock = clock_of(text_of(json_object_get(line, "provenance"), "time"));
        add_text(page, "<td class=\"n\">", clock, "</td></tr>\n");
    }
    g_string_append(page, "</table>\n");
}

/* ---- the page ---- */

/* "train-all" is shown with "train". */
static char *subject_of(const json_t *line) {
    const char *name = text_of(line, "bench");
    return g_strndup(name, strcspn(name, "-"));
}

static GPtrArray *lines_of(const json_t *lines, const char *subject, bool with_ratio) {
    GPtrArray *found = g_ptr_array_new();
    size_t i;
    json_t *line;
    json_array_foreach(lines, i, line) {
        g_autofree char *mine = subject_of(line);
        if ((!subject || strcmp(mine, subject) == 0) && has_ratio(line) == with_ratio)
            g_ptr_array_add(found, line);
    }
    return found;
}

/* The machine and the versions are the same for all lines of a run. */
static void add_machine(GString *page, const json_t *line) {
    const char *name;
    json_t *value;
    g_string_append(page, "<details><summary>Machine, versions, options</summary><table>\n");
    static const char *const parts[] = {"provenance", "options"};
    for (size_t p = 0; p < G_N_ELEMENTS(parts); p++) {
        json_object_foreach(json_object_get(line, parts[p]), name, value) {
            g_autofree char *text = json_is_string(value)
                                        ? g_strdup(json_string_value(value))
                                        : json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
            add_text(page, "<tr><th>", name, "</th>");
            add_text(page, "<td>", text, "</td></tr>\n");
        }
    }
    g_string_append(page, "</table></details>\n");
}

static void add_head(GString *page, const json_t *line) {
    const json_t *made = json_object_get(line, "provenance");
    g_string_append(page, head);
    g_string_append(page, "<h1>Speed against the machine's own</h1>\n");
    add_text(page, "<p>", text_of(made, "program"), ", commit ");
    add_text(page, "", text_of(made, "commit"), ", on ");
    add_text(page, "", text_of(made, "host"), ": ");
    add_text(page, "", text_of(made, "cpu"), ", OpenBLAS kernel ");
    add_text(page, "", text_of(made, "openblas_core"), ", ");
    add_text(page, "", text_of(made, "time"), ".</p>\n");
    g_string_append(
        page,
        "<p>Each rank is single-threaded. Ranks begin every repetition together and their rates are added "
        "up; "
        "shown are medians over n repetitions, with 95 % confidence intervals of the median where there are "
        "six or more, and the distance of the quartiles over the median as spread. A <i>bound</i> is what "
        "the "
        "machine itself does for the same work in the same run, a <i>reference</i> something known that may "
        "be "
        "passed, a <i>budget</i> what may be used up. Bars are rates over these, the red line is at 1. "
        "Paired: "
        "the median of ratios of neighbouring turns; elsewhere the interval is the rate's alone.</p>\n");
    add_machine(page, line);
}

bool lob_bench_page(const json_t *lines, const char *path, GError **err) {
    g_autoptr(GString) page = g_string_new(NULL);
    g_autoptr(GHashTable) shown = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    size_t i;
    json_t *line;
    add_head(page, json_array_get(lines, 0));
    json_array_foreach(lines, i, line) {
        g_autofree char *subject = subject_of(line);
        if (!has_ratio(line) || !g_hash_table_add(shown, g_strdup(subject)))
            continue;
        g_autoptr(GPtrArray) found = lines_of(lines, subject, true);
        add_text(page, "<h2>", subject, "</h2>\n");
        add_plot(page, found);
        add_table(page, found, true);
    }
    g_autoptr(GPtrArray) unbound = lines_of(lines, NULL, false);
    if (unbound->len > 0) {
        g_string_append(page, "<h2>No bound</h2>\n<p>Rates without anything to hold them against.</p>\n");
        add_table(page, unbound, false);
    }
    g_string_append(page, "</body></html>\n");
    return lob_file_replace(path, page->str, page->len, err);
}
