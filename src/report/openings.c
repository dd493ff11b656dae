/* The ledger: when outcomes were looked at in this folder, and under which lock or locked model. Who reads a
 * result should know whether it is the first. */
#include "report/report_internal.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

static const char *shown(const LobPage *page, const char *lock) {
    return page->locked.sha256 && lock && strcmp(lock, page->locked.sha256) == 0 ? "this one" : lock;
}

static void opening_row(const LobPage *page, LobSheet *sheet, const char *line) {
    json_error_t problem;
    json_t *entry = json_loads(line, 0, &problem);
    const char *time = json_string_value(json_object_get(entry, "time")),
               *lock = shown(page, json_string_value(json_object_get(entry, "lock")));
    lob_sheet_text(sheet, time ? time : "not readable");
    lob_sheet_text(sheet, lock ? lock : "");
    if (!page->locked.sha256)
        lob_sheet_number(sheet, entry ? (double)json_integer_value(json_object_get(entry, "models")) : NAN,
                         0);
    json_decref(entry);
}

bool lob_page_openings(LobPage *page, GError **err) {
    g_autofree char *path = g_build_filename(page->out, "openings.jsonl", NULL);
    const char *const trained[] = {"time", "lock", "#models", NULL}, *const locked[] = {"time", "model",
                                                                                        NULL};
    if (!g_file_test(path, G_FILE_TEST_EXISTS))
        return true;
    size_t size;
    g_autofree char *text = lob_file_read(path, 64 << 20, &size, err);
    if (!text)
        return false;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    LobSheet *sheet = lob_sheet_new(
        page,
        lob_page_either(
            page,
            "Openings: each time outcomes of held-out centers were looked at, under which lock "
            "(SHA-256 of lock.json), with how many trained models. One line is one look; more under "
            "other locks are more chances to find something.",
            "Every time that outcomes were looked at in this folder (openings.jsonl)"),
        page->locked.sha256 ? locked : trained, "openings");
    for (char **line = lines; *line; line++)
        if (**line)
            opening_row(page, sheet, *line);
    return lob_sheet_end(sheet, err);
}
