/* Private to the report room: safe HTML, plots as inline SVG, the sections of the page. */
#ifndef LOB_REPORT_INTERNAL_H
#define LOB_REPORT_INTERNAL_H

#include "report/report.h"

/* ---- html.c: text from tables is never trusted ---- */
void lob_html_text(GString *out, const char *text); /* escapes <>&"' and drops control characters */
void lob_html_printf(GString *out, const char *format, ...)
    G_GNUC_PRINTF(2, 3); /* markup from the program alone */
/* <h2 id=...> with a paragraph that says what the section answers. */
void lob_html_section(GString *out, const char *id, const char *title, const char *lead);

/* A sortable table. Cells that read as numbers are right-aligned and sort as numbers. */
void lob_html_table_begin(GString *out, const char *caption,
                          const char *const *columns); /* NULL-terminated */
void lob_html_row_begin(GString *out);
void lob_html_cell(GString *out, const char *text);
void lob_html_cell_number(GString *out, double value, int decimals); /* NAN as a dash */
void lob_html_row_end(GString *out);
void lob_html_table_end(GString *out);

extern const char lob_html_style[];  /* CSS: light, dark, narrow, print */
extern const char lob_html_script[]; /* sorting and the patient look-up; no network */

/* ---- plot.c: axes and marks in data units ---- */
typedef struct {
    GString *svg;
    double width, height;            /* px of the view box */
    double left, right, top, bottom; /* margins, px */
    double x0, x1, y0, y1;           /* data range of the axes */
} LobPlot;

/* title is read by screen readers; desc says what is to be seen in one sentence. */
void lob_plot_begin(LobPlot *plot, GString *svg, double width, double height, const char *title,
                    const char *desc);
double lob_plot_x(const LobPlot *plot, double x);
double lob_plot_y(const LobPlot *plot, double y);
void lob_plot_x_axis(LobPlot *plot, const double *ticks, size_t n, double unit,
                     const char *label); /* labels show tick / unit */
void lob_plot_y_axis(LobPlot *plot, const double *ticks, size_t n, int decimals, const char *label);
void lob_plot_line(LobPlot *plot, double xa, double ya, double xb, double yb,
                   const char *css_class); /* data units */
void lob_plot_text(LobPlot *plot, double px, double py, const char *anchor, const char *css_class,
                   const char *text); /* px */
void lob_plot_end(LobPlot *plot);
/* At most `most` round ticks that cover [low, high]; returns their number. */
size_t lob_plot_ticks(double low, double high, double *ticks, size_t most);

/* ---- sections; each reads its tables from the output folder and leaves a section out, with a word, where
 * its table is absent ---- */
typedef struct {
    const LobCohort *cohort;
    const char *out;   /* folder */
    LobTable *slides;  /* slides.csv; NULL where features were given */
    LobTable *metrics; /* metrics.csv */
    LobTable *meta;    /* meta.csv, or NULL */
    LobTable *predictions;
    GString *html;
} LobPage;

bool lob_page_cohort(LobPage *page, GError **err);
bool lob_page_slides(LobPage *page, GError **err);
bool lob_page_discrimination(LobPage *page, GError **err);
bool lob_page_survival(LobPage *page, GError **err);
bool lob_page_provenance(LobPage *page, GError **err);

/* Saves a figure's data as out/figures/<name>.csv. */
bool lob_page_save_data(const LobPage *page, LobCsv *csv, const char *name, GError **err);

#endif
