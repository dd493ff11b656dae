/* Finding parts, and checking their rows against what the slide table or the journal says of them. */
#include "hdf5io/hdf5io_internal.h"
#include <inttypes.h>
#include <string.h>

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char **parts_in(const char *folder) {
    GPtrArray *parts = g_ptr_array_new();
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name = NULL;
    while (dir && (name = g_dir_read_name(dir)))
        if (g_str_has_prefix(name, "part-") && g_str_has_suffix(name, ".h5"))
            g_ptr_array_add(parts, g_build_filename(folder, name, NULL));
    g_ptr_array_sort(parts, by_name);
    g_ptr_array_add(parts, NULL);
    return (char **)g_ptr_array_free(parts, false);
}

char **lob_store_find(const char *path, GError **err) {
    if (!g_file_test(path, G_FILE_TEST_EXISTS)) {
        lob_fail(err, LOB_ERROR_INPUT, "%s: no such file or folder", path);
        return NULL;
    }
    if (!g_file_test(path, G_FILE_TEST_IS_DIR))
        return g_strdupv((char *[]){(char *)path, NULL});
    g_auto(GStrv) here = parts_in(path);
    if (here[0])
        return g_steal_pointer(&here);
    g_autofree char *below = g_build_filename(path, "store", NULL);
    g_auto(GStrv) parts = parts_in(below);
    return parts[0] ? g_steal_pointer(&parts) : NULL;
}

char **lob_store_find_all(char *const *paths, GError **err) {
    g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func(g_free);
    for (; *paths; paths++) {
        g_autoptr(GError) problem = NULL;
        g_auto(GStrv) parts = lob_store_find(*paths, &problem);
        if (problem) {
            g_propagate_error(err, g_steal_pointer(&problem));
            return NULL;
        }
        for (char **part = parts; part && *part; part++)
            g_ptr_array_add(all, g_strdup(*part));
    }
    g_ptr_array_add(all, NULL);
    return (char **)g_ptr_array_steal(all, NULL);
}

char *lob_journal_path(const char *part_path) {
    size_t length = strlen(part_path);
    if (g_str_has_suffix(part_path, ".h5"))
        length -= 3;
    return g_strdup_printf("%.*s.journal", (int)length, part_path);
}

/* ---- what the journal vouches for ---- */

typedef struct {
    uint64_t first, count; /* tiles within the slide */
    uint32_t crc, quality_crc;
    bool has_quality;
} Range;

/* A later range takes the place of the earlier ones it overlaps: their rows were written anew, or are void.
 */
static void remember_range(const LobJournalRecord *record, void *user) {
    GHashTable *slides = user;
    if (record->kind != LOB_J_RANGE || record->count == 0)
        return;
    GArray *ranges = g_hash_table_lookup(slides, record->slide_id);
    if (!ranges) {
        ranges = g_array_new(false, false, sizeof(Range));
        g_hash_table_insert(slides, g_strdup(record->slide_id), ranges);
    }
    Range added = {.first = record->first, .count = record->count, .crc = record->crc};
    added.has_quality = lob_journal_quality_parse(record->text, &added.quality_crc);
    for (guint i = ranges->len; i-- > 0;) {
        const Range *old = &g_array_index(ranges, Range, i);
        if (old->first < added.first + added.count && added.first < old->first + old->count)
            g_array_remove_index_fast(ranges, i);
    }
    if (g_strcmp0(record->text, LOB_J_VOID) != 0)
        g_array_append_val(ranges, added);
}

static void free_ranges(void *ranges) {
    g_array_unref(ranges);
}

/* slide_id -> GArray of Range; empty where there is no journal. NULL on error. A finished part needs none:
 * what can be read of a damaged one helps to say where damage is. */
static GHashTable *journalled_ranges(const char *part_path, bool finished, GError **err) {
    g_autofree char *journal = lob_journal_path(part_path);
    g_autoptr(GHashTable) slides = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_ranges);
    g_autoptr(GError) problem = NULL;
    if (!g_file_test(journal, G_FILE_TEST_EXISTS) ||
        lob_journal_read(journal, remember_range, slides, &problem))
        return g_steal_pointer(&slides);
    if (!finished) {
        g_propagate_error(err, g_steal_pointer(&problem));
        return NULL;
    }
    lob_warning("%s; its part is finished and does not need it", problem->message);
    return g_steal_pointer(&slides);
}

bool lob_store_rows_done(const char *path, const LobStore *store, uint64_t *done, GError **err) {
    size_t n = 0;
    const LobStoreSlide *slides = lob_store_slides(store, &n);
    g_autoptr(GHashTable) journalled = lob_store_finished(store) ? NULL : journalled_ranges(path, false, err);
    if (!lob_store_finished(store) && !journalled)
        return false;
    for (size_t i = 0; i < n; i++) {
        GArray *ranges = journalled ? g_hash_table_lookup(journalled, slides[i].slide_id) : NULL;
        done[i] = !journalled && slides[i].state == LOB_STATE_DONE ? slides[i].count : 0;
        for (guint r = 0; ranges && r < ranges->len; r++)
            done[i] += g_array_index(ranges, Range, r).count;
    }
    return true;
}

/* ---- verifying ---- */

typedef struct {
    LobStore *store;
    LobStoreReport *report;
    GArray *damage;
    size_t row_bytes;
} Verifier;

static void add_damage(Verifier *verifier, const LobStoreSlide *slide, uint64_t first, uint64_t count,
                       char *what) {
    LobStoreDamage damage = {g_strdup(slide->slide_id), what, first, count};
    g_array_append_val(verifier->damage, damage);
}

/* Rows that cannot be read are damage too: a bad disk block must not hide the rest of the report. */
static bool rows_match(Verifier *verifier, const LobStoreSlide *slide, uint64_t first, uint64_t count,
                       uint32_t wanted, bool report) {
    g_autoptr(GError) cause = NULL;
    uint32_t crc = 0;
    bool read = lob_store_crc_rows(verifier->store, first, count, &crc, &cause);
    verifier->report->rows_checked += count;
    verifier->report->bytes_checked += count * verifier->row_bytes;
    if (read && crc == wanted)
        return true;
    if (report)
        add_damage(verifier, slide, first, count,
                   read ? g_strdup_printf("checksum is %08x, should be %08x", crc, wanted)
                        : g_strdup(cause->message));
    return false;
}

/* As rows_match, of the columns of tile quality. */
static bool quality_matches(Verifier *verifier, const LobStoreSlide *slide, uint64_t first, uint64_t count,
                            uint32_t wanted) {
    g_autoptr(GError) cause = NULL;
    uint32_t crc = 0;
    bool read = lob_store_crc_quality(verifier->store, first, count, &crc, &cause);
    verifier->report->bytes_checked += count * LOB_QUALITIES;
    if (read && crc == wanted)
        return true;
    add_damage(verifier, slide, first, count,
               read ? g_strdup_printf("checksum of tile quality is %08x, should be %08x", crc, wanted)
                    : g_strdup(cause->message));
    return false;
}

/* As rows_match, of where the slide's tiles lie and how much tissue they hold. */
static void check_tiles(Verifier *verifier, const LobStoreSlide *slide) {
    g_autoptr(GError) cause = NULL;
    uint32_t crc = 0;
    if (!lob_store_header(verifier->store)->tile_sums)
        return;
    bool read = lob_store_crc_tiles(verifier->store, slide->first, slide->count, &crc, &cause);
    verifier->report->bytes_checked += slide->count * (sizeof(int32_t[2]) + 1);
    if (!read || crc != slide->tiles_crc32c)
        add_damage(verifier, slide, slide->first, slide->count,
                   read ? g_strdup_printf("checksum of coords and tissue is %08x, should be %08x", crc,
                                          slide->tiles_crc32c)
                        : g_strdup(cause->message));
}

/* Returns how many of the slide's ranges are damaged. */
static size_t verify_ranges(Verifier *verifier, const LobStoreSlide *slide, GArray *ranges) {
    size_t bad = 0;
    for (guint r = 0; ranges && r < ranges->len; r++) {
        const Range *range = &g_array_index(ranges, Range, r);
        if (range->first > slide->count || range->count > slide->count - range->first) {
            add_damage(verifier, slide, slide->first, slide->count,
                       g_strdup_printf("the journal has tiles %" PRIu64 "..%" PRIu64 " of %" PRIu64,
                                       range->first, range->first + range->count, slide->count));
            bad++;
        } else if (!rows_match(verifier, slide, slide->first + range->first, range->count, range->crc,
                               true)) {
            bad++;
        } else if (range->has_quality && !verifier->report->finished) {
            bad += !quality_matches(verifier, slide, slide->first + range->first, range->count,
                                    range->quality_crc);
        }
    }
    return bad;
}

static void verify_slide(Verifier *verifier, const LobStoreSlide *slide, GArray *ranges) {
    if (!verifier->report->finished) {
        check_tiles(verifier, slide);
        verifier->report->slides_checked += ranges != NULL;
        verify_ranges(verifier, slide, ranges);
        return;
    }
    if (slide->state != LOB_STATE_DONE)
        return;
    verifier->report->slides_checked++;
    check_tiles(verifier, slide);
    if (lob_store_header(verifier->store)->quality)
        quality_matches(verifier, slide, slide->first, slide->count, slide->quality_crc32c);
    /* The slide's sum says that it is damaged; the journal, where it is still there, says where. */
    if (!rows_match(verifier, slide, slide->first, slide->count, slide->crc32c, false) &&
        verify_ranges(verifier, slide, ranges) == 0)
        rows_match(verifier, slide, slide->first, slide->count, slide->crc32c, true);
}

static int by_row(const void *a, const void *b) {
    const LobStoreDamage *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

bool lob_store_verify(const char *path, LobStoreReport *report, GError **err) {
    return lob_store_verify_share(path, 0, 1, report, err);
}

bool lob_store_verify_share(const char *path, size_t share, size_t shares, LobStoreReport *report,
                            GError **err) {
    *report = (LobStoreReport){0};
    g_autoptr(LobStore) store = lob_store_open(path, err);
    g_autoptr(GHashTable) journalled = store ? journalled_ranges(path, lob_store_finished(store), err) : NULL;
    if (!journalled)
        return false;
    size_t n = 0;
    const LobStoreSlide *slides = lob_store_slides(store, &n);
    const LobStoreHeader *header = lob_store_header(store);
    report->finished = lob_store_finished(store);
    Verifier verifier = {store, report, g_array_new(false, false, sizeof(LobStoreDamage)),
                         (size_t)header->dim * (header->float32 ? 4 : 2)};
    for (size_t i = share; i < n; i += shares)
        verify_slide(&verifier, &slides[i], g_hash_table_lookup(journalled, slides[i].slide_id));
    g_array_sort(verifier.damage, by_row);
    report->n_damage = verifier.damage->len;
    report->damage = (LobStoreDamage *)g_array_free(verifier.damage, false);
    return true;
}

void lob_store_report_clear(LobStoreReport *report) {
    for (size_t i = 0; i < report->n_damage; i++) {
        g_free(report->damage[i].slide_id);
        g_free(report->damage[i].what);
    }
    g_free(report->damage);
    *report = (LobStoreReport){0};
}
