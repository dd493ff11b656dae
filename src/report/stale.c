/* What an earlier run left and this one did not make again would be taken for its result. */
#include "report/report_internal.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

bool lob_remove_stale(const char *path, GError **err) {
    if (g_remove(path) == 0 || errno == ENOENT)
        return true;
    return lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot be removed", path);
}

/* Removes the files of a folder that are not to be kept; a folder that is absent holds none. */
static bool sweep(const char *dir, bool (*keep)(const char *name, const void *user), const void *user,
                  GError **err) {
    g_autoptr(GDir) folder = g_dir_open(dir, 0, NULL);
    bool ok = true;
    for (const char *name; ok && folder && (name = g_dir_read_name(folder));) {
        g_autofree char *path = g_build_filename(dir, name, NULL);
        ok = keep(name, user) || lob_remove_stale(path, err);
    }
    return ok;
}

/* <four or more digits>-<anything>.csv|png|geojson are maps. */
static bool is_no_map(const char *name, const void *user) {
    (void)user;
    const size_t digits = strspn(name, "0123456789");
    return digits < 4 || name[digits] != '-' ||
           !(g_str_has_suffix(name, ".csv") || g_str_has_suffix(name, ".png") ||
             g_str_has_suffix(name, ".geojson"));
}

bool lob_maps_remove(const char *dir, GError **err) {
    return sweep(dir, is_no_map, NULL, err);
}

static bool is_of_page(const char *name, const void *user) {
    const LobPage *page = user;
    return !g_str_has_suffix(name, ".csv") || g_hash_table_contains(page->saved, name);
}

bool lob_page_remove_stale(const LobPage *page, GError **err) {
    g_autofree char *dir = g_build_filename(page->out, "figures", NULL);
    return sweep(dir, is_of_page, page, err);
}
