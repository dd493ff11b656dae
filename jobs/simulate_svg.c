/* The plot of simulated speed-ups. */
#include "jobs/simulate_internal.h"

#include <math.h>

#define WIDTH 640.0
#define HEIGHT 480.0
#define LEFT 80.0
#define BOTTOM 60.0
#define TOP 30.0
#define RIGHT 60.0

typedef struct {
    double decades_x, decades_y;
} Axes;

static double at_x(const Axes *axes, double ranks) {
    return LEFT + (WIDTH - LEFT - RIGHT) * log10(ranks) / axes->decades_x;
}

static double at_y(const Axes *axes, double speedup) {
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * log10(fmax(speedup, 1)) / axes->decades_y;
}

static void ticks(GString *svg, const Axes *axes) {
    for (int d = 0; d <= (int)axes->decades_x; d++) {
        const double value = pow(10, d), x = at_x(axes, value), y = at_y(axes, value);
        g_string_append_printf(svg,
                               "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='#ddd'/>"
                               "<text x='%.1f' y='%.1f' text-anchor='middle'>%.0f</text>\n",
                               x, TOP, x, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM + 18, value);
        g_string_append_printf(svg,
                               "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='#ddd'/>"
                               "<text x='%.1f' y='%.1f' text-anchor='end'>%.0f</text>\n",
                               LEFT, y, WIDTH - RIGHT, y, LEFT - 8, y + 4, value);
    }
}

static void curve(GString *svg, const Axes *axes, const LobSimulatedPoint *points, size_t n, bool fixed,
                  const char *color) {
    g_autoptr(GString) line = g_string_new(NULL);
    for (size_t i = 0; i < n; i++) {
        const double efficiency = fixed ? points[i].fixed.efficiency : points[i].dynamic.efficiency;
        const double x = at_x(axes, points[i].ranks), y = at_y(axes, efficiency * points[i].ranks);
        g_string_append_printf(line, "%.1f,%.1f ", x, y);
        g_string_append_printf(svg, "<circle cx='%.1f' cy='%.1f' r='4' fill='%s'/>\n", x, y, color);
        if (!fixed)
            g_string_append_printf(svg, "<text x='%.1f' y='%.1f'>%.3f</text>\n", x + 8, y + 14, efficiency);
    }
    g_string_append_printf(svg, "<polyline points='%s' fill='none' stroke='%s' stroke-width='2'/>\n",
                           line->str, color);
}

bool lob_simulate_write_svg(const char *path, const LobSimulatedPoint *points, size_t n, GError **err) {
    double most = 10;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, points[i].ranks);
    const double decades = ceil(log10(most) - 1e-9);
    const Axes axes = {decades, decades};
    const double top = pow(10, decades);
    g_autoptr(GString) svg = g_string_new(NULL);
    g_string_append_printf(svg,
                           "<svg xmlns='http://www.w3.org/2000/svg' width='%.0f' height='%.0f' "
                           "font-family='sans-serif' font-size='12'>\n<rect width='100%%' height='100%%' "
                           "fill='white'/>\n",
                           WIDTH, HEIGHT);
    ticks(svg, &axes);
    g_string_append_printf(
        svg, "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='#888' stroke-dasharray='6 4'/>\n",
        at_x(&axes, 1), at_y(&axes, 1), at_x(&axes, top), at_y(&axes, top));
    if (n > 0 && points[0].has_fixed)
        curve(svg, &axes, points, n, true, "#d95f02");
    curve(svg, &axes, points, n, false, "#1b6ca8");
    g_string_append_printf(svg,
                           "<text x='%.1f' y='%.1f' text-anchor='middle'>ranks</text>\n"
                           "<text transform='translate(22 %.1f) rotate(-90)' text-anchor='middle'>speed-up "
                           "over one ideal rank</text>\n",
                           (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 18, (TOP + HEIGHT - BOTTOM) / 2);
    g_string_append_printf(
        svg,
        "<text x='%.1f' y='46' fill='#1b6ca8'>leases of tile ranges (efficiency "
        "beside)</text><text x='%.1f' y='62' fill='#d95f02'>slides dealt "
        "beforehand</text><text x='%.1f' y='78' fill='#666'>dashed: ideal</text>\n</svg>\n",
        LEFT + 12, LEFT + 12, LEFT + 12);
    return lob_file_replace(path, svg->str, svg->len, err);
}
