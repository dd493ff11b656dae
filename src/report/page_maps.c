/* Where the model looked in some patients' slides, over the slides where they are at hand. */
#include "report/maps.h"

#include <math.h>
#include <string.h>

#define MOST_ON_PAGE 24
#define SHOWN 460 /* px, longer side of a picture on the page, drawn at half of it */

typedef struct {
    LobPage *page;
    LobStudio studio;
    LobCsv *tiles; /* the most attended ones */
    size_t shown, left_out;
} Gallery;

/* The page shows a smaller one than is saved. */
static bool append_small(GString *out, const LobPicture *p, GError **err) {
    g_auto(LobPicture) small = {0};
    lob_picture_init(&small, 0, 0, p->width, p->height, SHOWN);
    cairo_t *cairo = cairo_create(small.surface);
    cairo_scale(cairo, 1 / small.scale, 1 / small.scale);
    cairo_set_source_surface(cairo, p->surface, 0, 0);
    cairo_pattern_set_filter(cairo_get_source(cairo), CAIRO_FILTER_GOOD);
    cairo_paint(cairo);
    cairo_destroy(cairo);
    return lob_picture_append_uri(out, &small, err);
}

static bool put_picture(LobPlot *plot, const LobPicture *p, double x, const char *title, const char *low,
                        const char *high, GError **err) {
    lob_plot_text(plot, x, 16, "start", "", title);
    lob_html_printf(plot->svg, "<image x=\"%g\" y=\"24\" width=\"230\" height=\"230\" href=\"", x);
    if (!append_small(plot->svg, p, err))
        return false;
    g_string_append(plot->svg, "\"/>\n");
    lob_plot_text(plot, x, 276, "start", "soft", low);
    for (int i = 0; i < 20; i++) {
        double rgb[3];
        lob_picture_colour((i + 0.5) / 20, rgb);
        lob_html_printf(plot->svg,
                        "<rect x=\"%g\" y=\"266\" width=\"5\" height=\"10\" "
                        "style=\"fill:rgb(%.0f,%.0f,%.0f)\"/>",
                        x + 60 + 5 * i, 255 * rgb[0], 255 * rgb[1], 255 * rgb[2]);
    }
    lob_plot_text(plot, x + 168, 276, "start", "soft", high);
    return true;
}

static bool put_tiles(LobPlot *plot, const LobMap *map, const LobMapPictures *p, double x, GError **err) {
    lob_plot_text(plot, x, 16, "start", "", "most attended tiles");
    for (size_t i = 0; i < map->n_top; i++) {
        const double px = x + 118 * (double)(i % 2), py = 24 + 118 * (double)(i / 2);
        if (p->tiles && p->seen[i]) {
            lob_html_printf(plot->svg, "<image x=\"%g\" y=\"%g\" width=\"96\" height=\"96\" href=\"", px, py);
            if (!lob_image_append_uri(plot->svg, p->tiles + 3 * i * (size_t)p->size * (size_t)p->size,
                                      p->size, p->size, err))
                return false;
            g_string_append(plot->svg, "\"/>\n");
        } else {
            lob_html_printf(plot->svg,
                            "<rect x=\"%g\" y=\"%g\" width=\"96\" height=\"96\" class=\"empty\"/>\n", px, py);
            lob_plot_text(plot, px + 48, py + 52, "middle", "soft", "not read");
        }
        g_autofree char *label = g_strdup_printf("tile %zu", map->top[i]);
        lob_plot_text(plot, px, py + 111, "start", "soft", label);
    }
    return true;
}

static bool put_figure(Gallery *g, const LobMap *map, const LobMapPictures *p, GError **err) {
    LobPage *page = g->page;
    g_autofree char *title =
        g_strdup_printf("Slide %s of patient %s, %s, %s", map->slide, map->patient, map->center, map->why);
    const bool counted = p->density.surface != NULL;
    LobPlot plot;
    lob_html_heading(page->html, title);
    lob_figure_begin(page);
    lob_plot_begin(&plot, page->html, counted ? 735 : 490, 284, title,
                   "Tiles coloured by the attention of the model that had not seen this center, and the most "
                   "attended tiles by themselves.");
    if (!put_picture(&plot, &p->attention, 0, "attention, percentile", "lowest", "highest", err) ||
        (counted && !put_picture(&plot, &p->density, 245, "lymphocyte-like nuclei per mm\xc2\xb2", "none",
                                 "\xe2\x89\xa5 1000", err)) ||
        !put_tiles(&plot, map, p, counted ? 490 : 245, err))
        return false;
    lob_plot_end(&plot);
    g_autofree char *caption = g_strdup_printf(
        "n %zu tiles of %.0f \xc2\xb5m. %s%s%s Framed: the tiles at the right.", map->n,
        map->tile_width * map->mpp, p->no_thumbnail ? "No thumbnail (" : "Over the slide.",
        p->no_thumbnail ? p->no_thumbnail : "", p->no_thumbnail ? "): the grid of tiles alone." : "");
    lob_figure_end(page, "map_tiles", caption);
    g->shown++;
    return true;
}

static void save_top(Gallery *g, const LobMap *map) {
    double sum = 0, n = 0;
    for (size_t i = 0; i < map->n; i++)
        if (!isnan(map->attention[i])) {
            sum += map->attention[i];
            n++;
        }
    for (size_t i = 0; i < map->n_top; i++) {
        const size_t t = map->top[i];
        lob_csv_text(g->tiles, map->patient);
        lob_csv_text(g->tiles, map->slide);
        lob_csv_integer(g->tiles, (int64_t)t);
        lob_csv_number(g->tiles, map->x[t]);
        lob_csv_number(g->tiles, map->y[t]);
        lob_csv_number(g->tiles, map->attention[t]);
        lob_csv_number(g->tiles, map->attention[t] * n / sum);
        lob_csv_number(g->tiles, map->density ? map->density[t] : NAN);
        lob_csv_end_row(g->tiles);
    }
}

/* Draws and keeps one slide's map; *note says over what. */
static bool one_slide(Gallery *g, const LobMap *map, char **note, GError **err) {
    if (*map->file == '\0' || map->n == 0) {
        *note = g_strdup("features of another tool: no place on the slide is known");
        return true;
    }
    g_auto(LobMapPictures) pictures = {0};
    lob_map_draw(&pictures, &g->studio, map);
    *note = g_strdup(pictures.no_thumbnail ? pictures.no_thumbnail : "over the slide");
    save_top(g, map);
    if (!lob_map_save(map, &pictures, g->page, err))
        return false;
    if (g->shown < MOST_ON_PAGE)
        return put_figure(g, map, &pictures, err);
    g->left_out++;
    return true;
}

static void list_slide(LobSheet *sheet, const LobMap *map, const char *note) {
    lob_sheet_text(sheet, map->patient);
    lob_sheet_text(sheet, map->center);
    lob_sheet_text(sheet, map->slide);
    lob_sheet_text(sheet, map->why);
    lob_sheet_number(sheet, map->lp, 2);
    lob_sheet_number(sheet, (double)map->n, 0);
    lob_sheet_text(sheet, map->file);
    lob_sheet_text(sheet, note);
}

/* Figures first, then the table of all slides. */
static bool all_slides(Gallery *g, const LobTable *index, GError **err) {
    const size_t rows = lob_table_rows(index);
    g_autofree LobMap *maps = g_new0(LobMap, rows + 1);
    g_autoptr(GPtrArray) notes = g_ptr_array_new_with_free_func(g_free);
    bool ok = true;
    for (size_t r = 0; ok && r < rows; r++) {
        char *note = NULL;
        g_auto(LobMap) map = {0};
        ok = lob_map_read(&map, g->page, index, r, err) && one_slide(g, &map, &note, err);
        g_ptr_array_add(notes, note);
        maps[r] = (LobMap){.patient = map.patient,
                           .center = map.center,
                           .slide = map.slide,
                           .why = map.why,
                           .file = map.file,
                           .lp = map.lp,
                           .n = map.n};
    }
    if (!ok)
        return false;
    LobSheet *sheet =
        lob_sheet_new(g->page, "Slides with an attention map",
                      (const char *[]){"patient", "center", "slide", "chosen as", "#linear predictor",
                                       "#tiles", "file in attention/", "drawn", NULL},
                      "maps");
    for (size_t r = 0; r < rows; r++)
        list_slide(sheet, &maps[r], notes->pdata[r]);
    return lob_sheet_end(sheet, err);
}

static bool section(Gallery *g, const LobTable *index, GError **err) {
    lob_html_section(g->page->html, "maps", "Where the model looked",
                     "Attention of the first seed's model, which had not seen the center. It tells what was "
                     "weighed, not why, and not that it was right to.");
    if (!all_slides(g, index, err))
        return false;
    if (g->left_out)
        lob_html_printf(g->page->html, "<p class=\"note\">%zu more slides are drawn in attention/.</p>\n",
                        g->left_out);
    g_string_append(g->page->html,
                    "<p class=\"note\">attention/ holds a PNG and a GeoJSON for QuPath of every slide in the "
                    "table. Which patients: report.heatmaps and report.patients of the study file.</p>\n");
    lob_html_section_end(g->page->html);
    return true;
}

bool lob_page_maps(LobPage *page, GError **err) {
    g_autofree char *path = g_build_filename(page->out, "attention", "maps.csv", NULL);
    if (!g_file_test(path, G_FILE_TEST_EXISTS))
        return true;
    g_autoptr(LobTable) index = lob_table_read(path, err);
    if (!index)
        return false;
    if (lob_table_rows(index) == 0)
        return true;
    g_autoptr(LobCsv) tiles =
        lob_csv_new((const char *[]){"patient_id", "slide_id", "tile", "x", "y", "attention", "times_uniform",
                                     "lymphocytes_per_mm2", NULL});
    Gallery g = {.page = page, .studio = {.cohort = page->cohort}, .tiles = tiles};
    const bool ok = section(&g, index, err) && lob_page_save_data(page, tiles, "map_tiles", err);
    lob_reader_free(g.studio.reader);
    return ok;
}
