/* Published splits as other tools keep them: STAMP's splits.json, Patho-Bench's k=all.tsv, CLAM's folder. */
#include "cohort/cohort_internal.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define SPLIT_FILE_BYTES ((size_t)256 << 20)

enum { NOWHERE, TRAIN, TEST };

typedef struct {
    const LobCohort *cohort;
    const char *path;
    size_t n;                      /* splits */
    GByteArray *role;              /* [n][patient] */
    GHashTable *patients, *slides; /* id -> index + 1 */
    LobProblems problems;
} Splits;

static void splits_init(Splits *splits, const LobCohort *cohort) {
    *splits = (Splits){.cohort = cohort,
                       .path = cohort->study->validation.file,
                       .role = g_byte_array_new(),
                       .patients = g_hash_table_new(g_str_hash, g_str_equal),
                       .slides = g_hash_table_new(g_str_hash, g_str_equal)};
    for (size_t p = 0; p < cohort->n_patients; p++)
        g_hash_table_insert(splits->patients, cohort->patients[p].patient_id, GSIZE_TO_POINTER(p + 1));
    for (size_t s = 0; s < cohort->n_slides; s++)
        g_hash_table_insert(splits->slides, cohort->slides[s].slide_id, GSIZE_TO_POINTER(s + 1));
}

static void splits_clear(Splits *splits) {
    g_byte_array_unref(splits->role);
    g_hash_table_unref(splits->patients);
    g_hash_table_unref(splits->slides);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Splits, splits_clear)

static void add_splits(Splits *splits, size_t n) {
    const guint before = splits->role->len;
    splits->n += n;
    g_byte_array_set_size(splits->role, (guint)(splits->n * splits->cohort->n_patients));
    memset(splits->role->data + before, NOWHERE, splits->role->len - before);
}

static uint8_t *role_of(const Splits *splits, size_t split, size_t patient) {
    return &splits->role->data[split * splits->cohort->n_patients + patient];
}

/* where: file and place, for the message. */
static void assign(Splits *splits, size_t split, size_t patient, uint8_t role, const char *where) {
    uint8_t *at = role_of(splits, split, patient);
    if (*at != NOWHERE && *at != role)
        lob_problem(&splits->problems, "%s: patient '%s' is in training and held out at once", where,
                    splits->cohort->patients[patient].patient_id);
    *at = role;
}

static bool find_patient(Splits *splits, const char *id, const char *where, size_t *patient) {
    const size_t found = GPOINTER_TO_SIZE(g_hash_table_lookup(splits->patients, id));
    *patient = found - 1;
    if (found == 0)
        lob_problem(&splits->problems, "%s: patient '%s' is not in %s", where, id,
                    splits->cohort->study->patients);
    return found > 0;
}

/* The file's text, past a byte order mark; caller frees `whole`. */
static const char *read_text(const char *path, char **whole, GError **err) {
    size_t size = 0;
    *whole = lob_file_read(path, SPLIT_FILE_BYTES, &size, err);
    return !*whole ? NULL : g_str_has_prefix(*whole, "\xef\xbb\xbf") ? *whole + 3 : *whole;
}

/* ---- STAMP ---- */

static bool read_stamp_list(Splits *splits, const json_t *list, uint8_t role, const char *name) {
    if (!json_is_array(list))
        return false;
    g_autofree char *where = g_strdup_printf("%s: split %zu, %s", splits->path, splits->n - 1, name);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *id = json_string_value(json_array_get(list, i));
        size_t patient;
        if (!id)
            return false;
        if (find_patient(splits, id, where, &patient))
            assign(splits, splits->n - 1, patient, role, where);
    }
    return true;
}

static bool read_stamp_splits(Splits *splits, const json_t *list, GError **err) {
    static const char *const names[] = {"train_patients", "test_patients"};
    if (!json_is_array(list) || json_array_size(list) == 0 || json_array_size(list) > LOB_FOLDS_MAX)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: expected {\"splits\": [...]} with 1 to %d splits",
                        splits->path, LOB_FOLDS_MAX);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *split = json_array_get(list, i);
        add_splits(splits, 1);
        if (json_object_size(split) != 2 ||
            !read_stamp_list(splits, json_object_get(split, names[0]), TRAIN, names[0]) ||
            !read_stamp_list(splits, json_object_get(split, names[1]), TEST, names[1]))
            return lob_fail(err, LOB_ERROR_INPUT,
                            "%s: split %zu: expected the lists train_patients and test_patients of ids, and "
                            "nothing else",
                            splits->path, i);
    }
    return true;
}

static bool read_stamp(Splits *splits, GError **err) {
    json_error_t where;
    g_autofree char *whole = NULL;
    const char *text = read_text(splits->path, &whole, err);
    if (!text)
        return false;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &where);
    if (!root)
        return lob_fail(err, LOB_ERROR_INPUT, "%s:%d: not JSON: %s", splits->path, where.line, where.text);
    const bool ok = read_stamp_splits(splits, json_object_get(root, "splits"), err);
    json_decref(root);
    return ok;
}

/* ---- tables without quotes ---- */

/* All lines' cells; INPUT error where a line has another number of them than the first. A quote is refused:
 * the writers of these tables use none where ids are plain. */
static GPtrArray *read_cells(const char *path, const char *separator, GError **err) {
    g_autofree char *whole = NULL;
    const char *text = read_text(path, &whole, err);
    g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);
    if (!text)
        return NULL;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (size_t i = 0; lines[i]; i++) {
        g_strchomp(lines[i]);
        if (!*lines[i] && !lines[i + 1])
            break;
        if (strchr(lines[i], '"')) {
            lob_fail(err, LOB_ERROR_INPUT, "%s:%zu: quoted cells are not read here", path, i + 1);
            return NULL;
        }
        char **cells = g_strsplit(lines[i], separator, -1);
        g_ptr_array_add(rows, cells);
        if (g_strv_length(cells) != g_strv_length(rows->pdata[0])) {
            lob_fail(err, LOB_ERROR_INPUT, "%s:%zu: %u cells where the header has %u", path, i + 1,
                     g_strv_length(cells), g_strv_length(rows->pdata[0]));
            return NULL;
        }
    }
    if (rows->len < 2) {
        lob_fail(err, LOB_ERROR_INPUT, "%s: expected a header and rows", path);
        return NULL;
    }
    return g_steal_pointer(&rows);
}

static size_t column_of(char *const *header, const char *name) {
    size_t i = 0;
    while (header[i] && strcmp(header[i], name) != 0)
        i++;
    return i;
}

/* ---- Patho-Bench ---- */

/* A known slide must be its patient's. */
static void check_slide(Splits *splits, const char *slide_id, size_t patient, const char *where) {
    const size_t slide = GPOINTER_TO_SIZE(g_hash_table_lookup(splits->slides, slide_id));
    if (slide > 0 && splits->cohort->study->slides && splits->cohort->slides[slide - 1].patient != patient)
        lob_problem(&splits->problems, "%s: slide '%s' is of patient '%s' in the study", where, slide_id,
                    splits->cohort->patients[splits->cohort->slides[slide - 1].patient].patient_id);
}

static uint8_t role_word(Splits *splits, const char *word, const char *where) {
    static const struct {
        const char *word;
        uint8_t role;
    } words[] = {{"train", TRAIN}, {"val", TRAIN}, {"test", TEST}, {"-1", NOWHERE}, {"-1.0", NOWHERE}};
    for (size_t i = 0; i < G_N_ELEMENTS(words); i++)
        if (strcmp(word, words[i].word) == 0)
            return words[i].role;
    lob_problem(&splits->problems, "%s: '%s'; expected train, val, test or -1", where, word);
    return NOWHERE;
}

static void read_pathobench_row(Splits *splits, char *const *cells, const size_t column[3], bool first,
                                const char *where) {
    size_t patient;
    if (!find_patient(splits, cells[column[0]], where, &patient))
        return;
    check_slide(splits, cells[column[1]], patient, where);
    for (size_t i = 0; i < splits->n; i++) {
        const uint8_t role = role_word(splits, cells[column[2] + i], where),
                      *at = role_of(splits, i, patient);
        if (first)
            assign(splits, i, patient, role, where);
        else if (*at != role)
            lob_problem(&splits->problems, "%s: fold_%zu: the rows of patient '%s' do not agree", where, i,
                        cells[column[0]]);
    }
}

static bool read_pathobench(Splits *splits, GError **err) {
    g_autoptr(GPtrArray) rows = read_cells(splits->path, "\t", err);
    if (!rows)
        return false;
    char *const *header = rows->pdata[0];
    const size_t column[3] = {column_of(header, "case_id"), column_of(header, "slide_id"),
                              column_of(header, "fold_0")};
    size_t n = 0;
    for (; header[column[2]] && header[column[2] + n]; n++) {
        g_autofree char *name = g_strdup_printf("fold_%zu", n);
        if (strcmp(header[column[2] + n], name) != 0)
            break;
    }
    if (!header[column[0]] || !header[column[1]] || n == 0 || n > LOB_FOLDS_MAX)
        return lob_fail(err, LOB_ERROR_INPUT,
                        "%s: expected the columns case_id, slide_id and, side by side, fold_0, fold_1 ...",
                        splits->path);
    add_splits(splits, n);
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    for (guint r = 1; r < rows->len; r++) {
        char *const *cells = rows->pdata[r];
        g_autofree char *where = g_strdup_printf("%s:%u", splits->path, r + 1);
        read_pathobench_row(splits, cells, column, g_hash_table_add(seen, cells[column[0]]), where);
    }
    return true;
}

/* ---- CLAM ---- */

/* splits_<i>.csv: a row number and the ragged columns train, val, test of slides. */
static bool read_clam_file(Splits *splits, const char *path, GError **err) {
    static const char *const names[] = {"train", "val", "test"};
    g_autoptr(GPtrArray) rows = read_cells(path, ",", err);
    if (!rows)
        return false;
    add_splits(splits, 1);
    for (size_t c = 0; c < G_N_ELEMENTS(names); c++) {
        const size_t column = column_of(rows->pdata[0], names[c]);
        if (!((char *const *)rows->pdata[0])[column])
            return lob_fail(err, LOB_ERROR_INPUT, "%s: expected the columns train, val, test", path);
        for (guint r = 1; r < rows->len; r++) {
            const char *slide_id = ((char *const *)rows->pdata[r])[column];
            g_autofree char *where = g_strdup_printf("%s:%u", path, r + 1);
            const size_t slide = GPOINTER_TO_SIZE(g_hash_table_lookup(splits->slides, slide_id));
            if (*slide_id && slide == 0)
                lob_problem(&splits->problems, "%s: slide '%s' is not in the study", where, slide_id);
            else if (*slide_id)
                assign(splits, splits->n - 1, splits->cohort->slides[slide - 1].patient, c < 2 ? TRAIN : TEST,
                       where);
        }
    }
    return true;
}

static bool read_clam(Splits *splits, GError **err) {
    for (size_t i = 0; i < LOB_FOLDS_MAX; i++) {
        g_autofree char *name = g_strdup_printf("splits_%zu.csv", i);
        g_autofree char *path = g_build_filename(splits->path, name, NULL);
        if (!g_file_test(path, G_FILE_TEST_EXISTS))
            break;
        if (!read_clam_file(splits, path, err))
            return false;
    }
    return splits->n > 0 || lob_fail(err, LOB_ERROR_INPUT, "%s: a folder without splits_0.csv", splits->path);
}

/* ---- to folds ---- */

/* Splits from..to are the folds of one repeat: each patient in any of them is held out by exactly one and
 * trains in all others. */
static bool is_partition(const Splits *splits, size_t from, size_t to) {
    for (size_t p = 0; p < splits->cohort->n_patients; p++) {
        size_t count[3] = {0};
        for (size_t i = from; i < to; i++)
            count[*role_of(splits, i, p)]++;
        if (count[NOWHERE] != to - from && count[TEST] != 1)
            return false;
        if (count[NOWHERE] != to - from && count[TRAIN] != to - from - 1)
            return false;
    }
    return true;
}

/* How many splits in a row make a repeat; 1 where they do not. */
static size_t folds_a_repeat(const Splits *splits) {
    for (size_t k = 2; k <= splits->n; k++) {
        bool all = splits->n % k == 0;
        for (size_t from = 0; all && from < splits->n; from += k)
            all = is_partition(splits, from, from + k);
        if (all)
            return k;
    }
    return 1;
}

static void check_roles(Splits *splits) {
    for (size_t i = 0; i < splits->n; i++) {
        size_t count[3] = {0};
        for (size_t p = 0; p < splits->cohort->n_patients; p++)
            count[*role_of(splits, i, p)]++;
        if (count[TRAIN] == 0 || count[TEST] == 0)
            lob_problem(&splits->problems, "%s: split %zu has %zu patients to train on and %zu to test on",
                        splits->path, i, count[TRAIN], count[TEST]);
    }
}

static LobFolds *make_folds(const Splits *splits) {
    const size_t k = folds_a_repeat(splits), n = splits->cohort->n_patients;
    LobFolds *folds = lob_folds_new(splits->cohort, (int)(splits->n / k), (int)k);
    for (size_t f = 0; f < k; f++)
        folds->names[f] = k > 1 ? g_strdup_printf("fold %zu", f) : g_strdup("test");
    for (size_t i = 0; i < splits->n; i++)
        for (size_t p = 0; p < n; p++) {
            const uint8_t role = *role_of(splits, i, p);
            if (role == TEST)
                folds->fold[i / k * n + p] = (int16_t)(i % k);
            else if (role == TRAIN && k == 1)
                folds->fold[i * n + p] = (int16_t)k;
        }
    lob_folds_drop_ineligible(folds, splits->cohort);
    return folds;
}

bool lob_split_format_of(const char *path, LobSplitFormat *format, GError **err) {
    if (g_file_test(path, G_FILE_TEST_IS_DIR)) {
        *format = LOB_SPLIT_CLAM;
        return true;
    }
    g_autofree char *whole = NULL;
    const char *text = read_text(path, &whole, err);
    if (!text)
        return false;
    *format = text[strspn(text, " \t\r\n")] == '{'      ? LOB_SPLIT_STAMP
              : memchr(text, '\t', strcspn(text, "\n")) ? LOB_SPLIT_PATHOBENCH
                                                        : LOB_SPLIT_TABLE;
    return true;
}

LobFolds *lob_splits_read(const LobCohort *cohort, LobSplitFormat format, GError **err) {
    g_auto(Splits) splits = {0};
    splits_init(&splits, cohort);
    const bool ok = format == LOB_SPLIT_STAMP        ? read_stamp(&splits, err)
                    : format == LOB_SPLIT_PATHOBENCH ? read_pathobench(&splits, err)
                                                     : read_clam(&splits, err);
    if (ok)
        check_roles(&splits);
    GError *unfit = NULL;
    if (!lob_problems_check(&splits.problems, "the splits do not fit", ok ? err : &unfit) || !ok) {
        g_clear_error(&unfit);
        return NULL;
    }
    return make_folds(&splits);
}
