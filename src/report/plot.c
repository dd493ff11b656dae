#include "report/report_internal.h"

#include <math.h>

void lob_plot_begin(LobPlot *plot, GString *svg, double width, double height, const char *title,
                    const char *desc) {
    plot->svg = svg;
    plot->width = width;
    plot->height = height;
    /* What is wide becomes unreadable on a phone, so it scrolls there instead of shrinking. */
    lob_html_printf(svg, "<svg viewBox=\"0 0 %g %g\" role=\"img\"%s><title>", width, height,
                    width > 640 ? " class=\"wide\"" : "");
    lob_html_text(svg, title);
    g_string_append(svg, "</title><desc>");
    lob_html_text(svg, desc);
    g_string_append(svg, "</desc>\n");
}

double lob_plot_x(const LobPlot *plot, double x) {
    return plot->left + (x - plot->x0) / (plot->x1 - plot->x0) * (plot->width - plot->left - plot->right);
}

double lob_plot_y(const LobPlot *plot, double y) {
    return plot->height - plot->bottom -
           (y - plot->y0) / (plot->y1 - plot->y0) * (plot->height - plot->top - plot->bottom);
}

void lob_plot_text(LobPlot *plot, double px, double py, const char *anchor, const char *css_class,
                   const char *text) {
    lob_html_printf(plot->svg, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" class=\"%s\">", px, py, anchor,
                    css_class);
    lob_html_text(plot->svg, text);
    g_string_append(plot->svg, "</text>\n");
}

void lob_plot_line(LobPlot *plot, double xa, double ya, double xb, double yb, const char *css_class) {
    lob_html_printf(plot->svg, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n",
                    lob_plot_x(plot, xa), lob_plot_y(plot, ya), lob_plot_x(plot, xb), lob_plot_y(plot, yb),
                    css_class);
}

void lob_plot_x_axis(LobPlot *plot, const double *ticks, size_t n, double unit, const char *label) {
    lob_plot_line(plot, plot->x0, plot->y0, plot->x1, plot->y0, "axis");
    const double base = plot->height - plot->bottom;
    for (size_t i = 0; i < n; i++) {
        g_autofree char *text = g_strdup_printf("%g", ticks[i] / unit);
        const double x = lob_plot_x(plot, ticks[i]);
        lob_html_printf(plot->svg, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"axis\"/>\n",
                        x, base, x, base + 4);
        lob_plot_text(plot, x, base + 17, "middle", "soft", text);
    }
    lob_plot_text(plot, (plot->left + plot->width - plot->right) / 2, base + 34, "middle", "", label);
}

void lob_plot_y_axis(LobPlot *plot, const double *ticks, size_t n, int decimals, const char *label) {
    for (size_t i = 0; i < n; i++) {
        g_autofree char *text = g_strdup_printf("%.*f", decimals, ticks[i]);
        lob_plot_line(plot, plot->x0, ticks[i], plot->x1, ticks[i], "grid");
        lob_plot_text(plot, plot->left - 6, lob_plot_y(plot, ticks[i]) + 4, "end", "soft", text);
    }
    const double middle = (plot->top + plot->height - plot->bottom) / 2;
    lob_html_printf(plot->svg, "<text transform=\"translate(14 %.1f) rotate(-90)\" text-anchor=\"middle\">",
                    middle);
    lob_html_text(plot->svg, label);
    g_string_append(plot->svg, "</text>\n");
}

void lob_plot_path(LobPlot *plot, const double *x, const double *y, size_t n, bool steps,
                   const char *css_class) {
    bool open = false;
    for (size_t i = 0; i < n; i++) {
        const double low = fmin(plot->y0, plot->y1), high = fmax(plot->y0, plot->y1);
        if (!(x[i] >= plot->x0 && x[i] <= plot->x1 && y[i] >= low && y[i] <= high))
            continue;
        if (!open)
            lob_html_printf(plot->svg, "<path class=\"%s\" d=\"M%.1f %.1f", css_class, lob_plot_x(plot, x[i]),
                            lob_plot_y(plot, y[i]));
        else
            lob_html_printf(plot->svg, steps ? "H%.1fV%.1f" : "L%.1f %.1f", lob_plot_x(plot, x[i]),
                            lob_plot_y(plot, y[i]));
        open = true;
    }
    if (open)
        g_string_append(plot->svg, "\"/>\n");
}

void lob_plot_dot(LobPlot *plot, double x, double y, double radius, const char *css_class) {
    lob_html_printf(plot->svg, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" class=\"%s\"/>\n",
                    lob_plot_x(plot, x), lob_plot_y(plot, y), radius, css_class);
}

void lob_plot_key(LobPlot *plot, double px, double py, const char *css_class, const char *text) {
    lob_html_printf(plot->svg, "<path class=\"%s\" d=\"M%.1f %.1fh22\"/>\n", css_class, px, py - 4);
    lob_plot_text(plot, px + 28, py, "start", "", text);
}

/* Letters average 7 px at 13 px, those of East Asia take 13. */
char *lob_plot_fit(const char *text, double width) {
    double used = 0;
    for (const char *p = text; *p; p = g_utf8_next_char(p)) {
        used += g_unichar_iswide(g_utf8_get_char(p)) ? 13.5 : 7.2;
        if (used <= width || (used <= width + 10 && *g_utf8_next_char(p) == '\0'))
            continue;
        g_autofree char *begin = g_strndup(text, (gsize)(p - text));
        return g_strconcat(begin, "\xe2\x80\xa6", NULL);
    }
    return g_strdup(text);
}

void lob_plot_end(LobPlot *plot) {
    g_string_append(plot->svg, "</svg>\n");
}

size_t lob_plot_ticks(double low, double high, double *ticks, size_t most) {
    if (!(high > low) || most < 2)
        return 0;
    const double raw = (high - low) / (double)(most - 1), power = pow(10, floor(log10(raw)));
    const double steps[] = {1, 2, 2.5, 5, 10};
    double step = power * 10;
    for (size_t i = 0; i < G_N_ELEMENTS(steps); i++)
        if (power * steps[i] >= raw * (1 - 1e-9)) {
            step = power * steps[i];
            break;
        }
    size_t n = 0;
    for (double k = ceil(low / step - 1e-9); k * step <= high + step * 1e-9 && n < most; k++)
        ticks[n++] = k * step + 0.0; /* + 0 turns -0 into 0 */
    return n;
}
