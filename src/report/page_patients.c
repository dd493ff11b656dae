/* Single patients: a look-up of the predictions, and the most attended tiles of a few. */
#include "report/report_internal.h"

#include <math.h>
#include <string.h>

#define MOST_ROWS 10000
#define TILE_PATIENTS 6

static void json_number(GString *out, const char *cell) {
    double value = *cell ? g_ascii_strtod(cell, NULL) : NAN;
    char text[G_ASCII_DTOSTR_BUF_SIZE];
    if (isfinite(value))
        g_string_append(out, g_ascii_formatd(text, sizeof text, "%.6g", value));
    else
        g_string_append(out, "null");
}

typedef struct {
    const char *name;
    bool number;
    int column;
} Shown;

static GArray *shown_columns(const LobPage *page) {
    GArray *columns = g_array_new(FALSE, FALSE, sizeof(Shown));
    static const Shown fixed[] = {
        {"patient_id", false, 0}, {"endpoint", false, 0},   {"center", false, 0},
        {"arm", false, 0},        {"time", true, 0},        {"event", true, 0},
        {"label", false, 0},      {"risk_group", false, 0}, {"linear_predictor", true, 0}};
    for (size_t i = 0; i < G_N_ELEMENTS(fixed); i++) {
        Shown c = fixed[i];
        if ((c.column = lob_table_find(page->predictions, c.name)) >= 0)
            g_array_append_val(columns, c);
    }
    for (size_t i = 0; i < lob_table_columns(page->predictions); i++) {
        const char *name = lob_table_column_name(page->predictions, i);
        const Shown c = {name, true, (int)i};
        if (g_str_has_prefix(name, "s_") || g_str_has_prefix(name, "p_class") ||
            g_str_has_prefix(name, "benefit"))
            g_array_append_val(columns, c);
    }
    return columns;
}

static void look_up_table(LobPage *page, const GArray *columns, size_t rows) {
    lob_html_printf(
        page->html,
        "<div class=\"screen\"><p><label for=\"patient\">Patient id, or a part of it</label>"
        "<input id=\"patient\" type=\"search\" autocomplete=\"off\"></p>"
        "<p id=\"patient-found\" class=\"note\" role=\"status\"></p>"
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"patients found\"><table>"
        "<caption>Held-out predictions of the study's model, %zu rows</caption><thead><tr>",
        rows);
    for (guint i = 0; i < columns->len; i++) {
        const Shown *c = &g_array_index(columns, Shown, i);
        lob_html_printf(page->html, "<th scope=\"col\"%s>", c->number ? " class=\"n\"" : "");
        lob_html_text(page->html, c->name);
        g_string_append(page->html, "</th>");
    }
    g_string_append(page->html, "</tr></thead><tbody id=\"patient-rows\"></tbody></table></div></div>\n");
}

static bool look_up(LobPage *page, GError **err) {
    const LobTable *t = page->predictions;
    const int c_model = lob_table_require(t, "model", err),
              c_patient = lob_table_require(t, "patient_id", err);
    if (c_model < 0 || c_patient < 0)
        return false;
    g_autoptr(GArray) columns = shown_columns(page);
    g_autoptr(GString) json = g_string_new("[");
    size_t rows = 0;
    for (size_t r = 0; r < lob_table_rows(t) && rows < MOST_ROWS; r++) {
        if (strcmp(lob_table_cell(t, r, c_model), page->cohort->study->model.kind) != 0)
            continue;
        g_string_append(json, rows++ ? ",\n[" : "\n[");
        for (guint i = 0; i < columns->len; i++) {
            const Shown *c = &g_array_index(columns, Shown, i);
            g_string_append(json, i ? "," : "");
            if (c->number)
                json_number(json, lob_table_cell(t, r, c->column));
            else
                lob_html_json(json, lob_table_cell(t, r, c->column));
        }
        g_string_append_c(json, ']');
    }
    look_up_table(page, columns, rows);
    lob_html_printf(page->html, "<script type=\"application/json\" id=\"patients-data\">%s]</script>\n",
                    json->str);
    g_string_append(page->html, "<p class=\"note\">All predictions: predictions.csv.");
    if (rows == MOST_ROWS)
        lob_html_printf(page->html, " The look-up holds the first %d rows.", MOST_ROWS);
    g_string_append(page->html, "</p>\n");
    return true;
}

/* One patient of each of the first centers. */
typedef struct {
    const LobTable *table;
    int endpoint, patient, slide, tile, x, y, attention, uniform;
    GHashTable *chosen; /* center + 1 -> patient + 1 */
} Tiles;

static bool tiles_find(Tiles *t, GError **err) {
    const struct {
        int *column;
        const char *name;
    } wanted[] = {{&t->endpoint, "endpoint"}, {&t->patient, "patient_id"},  {&t->slide, "slide_id"},
                  {&t->tile, "tile"},         {&t->attention, "attention"}, {&t->uniform, "times_uniform"}};
    for (size_t i = 0; i < G_N_ELEMENTS(wanted); i++)
        if ((*wanted[i].column = lob_table_require(t->table, wanted[i].name, err)) < 0)
            return false;
    t->x = lob_table_find(t->table, "x");
    t->y = lob_table_find(t->table, "y");
    return true;
}

static bool tile_row(LobPage *page, const Tiles *t, size_t r, LobSheet *sheet, GError **err) {
    const gpointer at = g_hash_table_lookup(page->patients, lob_table_cell(t->table, r, t->patient));
    double x = NAN, y = NAN, attention, uniform;
    if (!at)
        return true;
    const uint32_t center = page->cohort->patients[GPOINTER_TO_UINT(at) - 1].center;
    const gpointer key = GUINT_TO_POINTER(center + 1);
    if (!g_hash_table_lookup(t->chosen, key) && g_hash_table_size(t->chosen) < TILE_PATIENTS)
        g_hash_table_insert(t->chosen, key, at);
    if (g_hash_table_lookup(t->chosen, key) != at)
        return true;
    if ((t->x >= 0 && !lob_table_number(t->table, r, t->x, &x, err)) ||
        (t->y >= 0 && !lob_table_number(t->table, r, t->y, &y, err)) ||
        !lob_table_number(t->table, r, t->attention, &attention, err) ||
        !lob_table_number(t->table, r, t->uniform, &uniform, err))
        return false;
    lob_sheet_text(sheet, lob_table_cell(t->table, r, t->endpoint));
    lob_sheet_text(sheet, lob_table_cell(t->table, r, t->patient));
    lob_sheet_text(sheet, page->cohort->centers[center]);
    lob_sheet_text(sheet, lob_table_cell(t->table, r, t->slide));
    lob_sheet_text(sheet, lob_table_cell(t->table, r, t->tile));
    lob_sheet_number(sheet, x, 0);
    lob_sheet_number(sheet, y, 0);
    lob_sheet_number(sheet, attention, 4);
    lob_sheet_number(sheet, uniform, 2);
    return true;
}

static bool tiles(LobPage *page, GError **err) {
    g_autofree char *path = g_build_filename(page->out, "attention", "top_tiles.csv", NULL);
    if (!g_file_test(path, G_FILE_TEST_EXISTS))
        return true;
    g_autoptr(LobTable) table = lob_table_read(path, err);
    g_autoptr(GHashTable) chosen = g_hash_table_new(g_direct_hash, g_direct_equal);
    Tiles t = {.table = table, .chosen = chosen};
    if (!table || !tiles_find(&t, err))
        return false;
    LobSheet *sheet =
        lob_sheet_new(page, "Tiles the model attended to most: one patient a center, first seed",
                      (const char *[]){"endpoint", "patient", "center", "slide", "tile", "#x", "#y",
                                       "#attention", "#times uniform", NULL},
                      "top_tiles");
    bool ok = true;
    for (size_t r = 0; ok && r < lob_table_rows(table); r++)
        ok = tile_row(page, &t, r, sheet, err);
    if (!lob_sheet_end(sheet, ok ? err : NULL) || !ok)
        return false;
    g_string_append(page->html,
                    "<p class=\"note\">x, y: the tile's upper left corner in pixels of the full "
                    "slide. Times uniform: attention over that of a tile if all weighed the same. "
                    "Attention shows what was looked at, not why. All patients: "
                    "attention/top_tiles.csv.</p>\n");
    return true;
}

bool lob_page_patients(LobPage *page, GError **err) {
    if (!page->predictions)
        return true;
    lob_html_section(
        page->html, "patients", "Single patients",
        lob_page_either(page, "Each prediction was made by models that never saw the patient's center.",
                        "Each prediction was made by the locked model."));
    if (!look_up(page, err) || !tiles(page, err))
        return false;
    lob_html_section_end(page->html);
    return true;
}
