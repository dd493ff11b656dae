/* The journal: append-only lines of tab-separated fields, the last of which is the CRC-32C of all before it.
 *
 *   lobule-journal 1 <crc>
 *   <kind> <slide> <first> <count> <crc of rows> <unreadable> <seconds> <text> <crc>
 *
 * Texts escape backslash, tab, newline and carriage return. A crash can only tear the end: whatever follows
 * the last good line and holds no good line is cut off. A bad line before a good one is damage.
 *
 * A job that was held up (a stopped machine, a dead network) may wake when another one has taken the store
 * over: the file is only ever appended to, and only where it ends as this process left it. One that was held
 * up between that look and its write leaves lines behind the next holder's, which that one cuts off. */
#include "hdf5io/hdf5io_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "lobule-journal\t1"
#define FIELDS 8
#define CRC_DIGITS 8

static const char *const kinds[] = {
    [LOB_J_START] = "start",           [LOB_J_END] = "end",       [LOB_J_PLAN] = "plan",
    [LOB_J_RANGE] = "range",           [LOB_J_FAILED] = "failed", [LOB_J_LEASE] = "lease",
    [LOB_J_QUARANTINE] = "quarantine",
};

struct LobJournal {
    char *path;
    int fd;
    off_t durable;    /* all before this offset is on disk, and all there is but for a torn tail of our own */
    off_t torn;       /* a write failed: up to so many bytes of it may lie there */
    GString *pending; /* appended, not yet synced */
    GString *last;    /* what the last sync wrote: ends at `durable` */
    bool overgrown;   /* something stands behind what is ours */
    bool broken;      /* a sync failed or the file is not ours any more: nothing more is promised */
};

static void put_text(GString *line, const char *text) {
    for (const char *c = text ? text : ""; *c; c++) {
        const char *escape = *c == '\\'   ? "\\\\"
                             : *c == '\t' ? "\\t"
                             : *c == '\n' ? "\\n"
                             : *c == '\r' ? "\\r"
                                          : NULL;
        if (escape)
            g_string_append(line, escape);
        else
            g_string_append_c(line, *c);
    }
}

static bool unescape(char *text) {
    char *out = text;
    for (const char *c = text; *c; c++) {
        if (*c != '\\') {
            *out++ = *c;
            continue;
        }
        switch (*++c) {
        case '\\':
            *out++ = '\\';
            break;
        case 't':
            *out++ = '\t';
            break;
        case 'n':
            *out++ = '\n';
            break;
        case 'r':
            *out++ = '\r';
            break;
        default:
            return false;
        }
    }
    *out = '\0';
    return true;
}

#define QUALITY_PREFIX "quality "

char *lob_journal_quality_text(uint32_t crc) {
    return g_strdup_printf(QUALITY_PREFIX "%08x", crc);
}

static void close_line(GString *journal, const GString *line) {
    g_string_append_len(journal, line->str, (gssize)line->len);
    g_string_append_printf(journal, "\t%08x\n", lob_crc32c(0, line->str, line->len));
}

static void put_record(GString *journal, const LobJournalRecord *record) {
    char seconds[G_ASCII_DTOSTR_BUF_SIZE];
    g_autoptr(GString) line = g_string_new(kinds[record->kind]);
    g_string_append_c(line, '\t');
    put_text(line, record->slide_id);
    g_string_append_printf(line, "\t%" PRIu64 "\t%" PRIu64 "\t%08x\t%u\t%s\t", record->first, record->count,
                           record->crc, record->unreadable,
                           g_ascii_formatd(seconds, sizeof seconds, "%.6g", record->seconds));
    put_text(line, record->text);
    close_line(journal, line);
}

/* A line without its newline: true and its content's length where its CRC is right. */
static bool whole_line(const char *line, size_t length, size_t *content) {
    if (length < CRC_DIGITS + 1 || line[length - CRC_DIGITS - 1] != '\t')
        return false;
    *content = length - CRC_DIGITS - 1;
    char digits[CRC_DIGITS + 1], expected[CRC_DIGITS + 1];
    memcpy(digits, line + *content + 1, CRC_DIGITS);
    digits[CRC_DIGITS] = '\0';
    g_snprintf(expected, sizeof expected, "%08x", lob_crc32c(0, line, *content));
    return strcmp(digits, expected) == 0;
}

static bool parse_unsigned(const char *text, int base, uint64_t most, uint64_t *value) {
    char *end = NULL;
    errno = 0;
    *value = g_ascii_strtoull(text, &end, (guint)base);
    return g_ascii_isxdigit(*text) && *end == '\0' && errno == 0 && *value <= most;
}

bool lob_journal_quality_parse(const char *text, uint32_t *crc) {
    uint64_t value = 0;
    if (!text || !g_str_has_prefix(text, QUALITY_PREFIX) ||
        !parse_unsigned(text + strlen(QUALITY_PREFIX), 16, UINT32_MAX, &value))
        return false;
    *crc = (uint32_t)value;
    return true;
}

static bool parse_record(const char *content, size_t length, LobJournalVisit visit, void *user) {
    g_autofree char *copy = g_strndup(content, length);
    g_auto(GStrv) field = g_strsplit(copy, "\t", -1);
    LobJournalRecord record = {0};
    uint64_t crc = 0, unreadable = 0;
    char *end = NULL;
    size_t kind = 0;
    if (g_strv_length(field) != FIELDS || strlen(copy) != length)
        return false;
    while (kind < G_N_ELEMENTS(kinds) && strcmp(kinds[kind], field[0]) != 0)
        kind++;
    if (kind == G_N_ELEMENTS(kinds) || !unescape(field[1]) || !unescape(field[7]) ||
        !parse_unsigned(field[2], 10, UINT64_MAX, &record.first) ||
        !parse_unsigned(field[3], 10, UINT64_MAX, &record.count) ||
        !parse_unsigned(field[4], 16, UINT32_MAX, &crc) ||
        !parse_unsigned(field[5], 10, UINT32_MAX, &unreadable))
        return false;
    record.seconds = g_ascii_strtod(field[6], &end);
    if (end == field[6] || *end)
        return false;
    record.kind = (LobJournalKind)kind;
    record.slide_id = field[1];
    record.text = field[7];
    record.crc = (uint32_t)crc;
    record.unreadable = (uint32_t)unreadable;
    if (visit)
        visit(&record, user);
    return true;
}

/* Whether any whole line starts at or after `at`. */
static bool good_line_follows(const char *data, size_t size, size_t at) {
    while (at < size) {
        const char *newline = memchr(data + at, '\n', size - at);
        size_t content = 0;
        if (!newline)
            return false;
        if (whole_line(data + at, (size_t)(newline - data) - at, &content))
            return true;
        at = (size_t)(newline - data) + 1;
    }
    return false;
}

/* The journal's first line: false where this is some other file. A torn one (a prefix) counts as empty. */
static bool check_magic(const char *data, size_t size) {
    g_autoptr(GString) first = g_string_new(NULL), magic = g_string_new(MAGIC);
    close_line(first, magic);
    return memcmp(data, first->str, MIN(size, first->len)) == 0;
}

/* Visits every good record; *good is where the good part ends. */
static bool scan(const char *path, const char *data, size_t size, LobJournalVisit visit, void *user,
                 size_t *good, GError **err) {
    *good = 0;
    if (!check_magic(data, size))
        return lob_fail(err, LOB_ERROR_INPUT, "%s: line 1: not a lobule journal of version 1", path);
    for (size_t line = 1; *good < size; line++) {
        const char *start = data + *good, *newline = memchr(start, '\n', size - *good);
        size_t content = 0;
        if (!newline)
            return true;
        size_t next = (size_t)(newline - data) + 1;
        if (!whole_line(start, (size_t)(newline - start), &content)) {
            if (good_line_follows(data, size, next))
                return lob_fail(err, LOB_ERROR_INPUT, "%s: line %zu is damaged although good lines follow it",
                                path, line);
            return true;
        }
        if (line > 1 && !parse_record(start, content, visit, user))
            return lob_fail(err, LOB_ERROR_INPUT, "%s: line %zu is not a record this program knows", path,
                            line);
        *good = next;
    }
    return true;
}

bool lob_journal_read(const char *path, LobJournalVisit visit, void *user, GError **err) {
    g_autofree char *data = NULL;
    g_autoptr(GError) cause = NULL;
    size_t size = 0, good = 0;
    if (!g_file_get_contents(path, &data, &size, &cause))
        return lob_fail(err, LOB_ERROR_INPUT, "cannot read the journal: %s", cause->message);
    return scan(path, data, size, visit, user, &good, err);
}

static bool write_all(int fd, const char *data, size_t size) {
    while (size > 0) {
        ssize_t now = write(fd, data, size);
        if (now < 0 && errno == EINTR)
            continue;
        if (now <= 0)
            return false;
        data += now;
        size -= (size_t)now;
    }
    return true;
}

/* Whether the file still ends where this process left it; the tail of its own failed write is cut off. */
static bool ends_as_left(LobJournal *journal, GError **err) {
    struct stat status;
    if (fstat(journal->fd, &status) != 0)
        return lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot look at the journal", journal->path);
    if (status.st_nlink == 0 || status.st_size < journal->durable ||
        status.st_size > journal->durable + journal->torn) {
        journal->broken = true;
        journal->overgrown = status.st_nlink > 0 && status.st_size > journal->durable;
        return lob_fail(err, LOB_ERROR_IO,
                        "%s: another process changed the journal: this one was taken for dead and its store "
                        "taken over; it ends without writing",
                        journal->path);
    }
    if (status.st_size > journal->durable && ftruncate(journal->fd, journal->durable) != 0)
        return lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot cut off a failed write", journal->path);
    journal->torn = 0;
    return true;
}

static bool start_journal(LobJournal *journal, size_t size, size_t good, GError **err) {
    if (size > good && (ftruncate(journal->fd, (off_t)good) != 0 || fsync(journal->fd) != 0))
        return lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot cut off its torn end", journal->path);
    if (size > good)
        lob_warning("%s: the last %zu bytes were torn by a crash and are cut off", journal->path,
                    size - good);
    journal->durable = (off_t)good;
    if (good > 0)
        return true;
    g_autoptr(GString) magic = g_string_new(MAGIC);
    close_line(journal->pending, magic);
    return lob_journal_sync(journal, err) && lob_sync_folder(journal->path, err);
}

LobJournal *lob_journal_open(const char *path, LobJournalVisit visit, void *user, GError **err) {
    g_autofree char *data = NULL;
    size_t size = 0, good = 0;
    LobJournal *journal = g_new0(LobJournal, 1);
    journal->path = g_strdup(path);
    journal->pending = g_string_new(NULL);
    journal->last = g_string_new(NULL);
    journal->fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (journal->fd < 0) {
        lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot open the journal for writing", path);
    } else {
        g_autoptr(GError) cause = NULL;
        if (!g_file_get_contents(path, &data, &size, &cause))
            lob_fail(err, LOB_ERROR_IO, "cannot read the journal: %s", cause->message);
        else if (scan(path, data, size, visit, user, &good, err) && start_journal(journal, size, good, err))
            return journal;
    }
    lob_journal_close(journal);
    return NULL;
}

bool lob_journal_append(LobJournal *journal, const LobJournalRecord *record, GError **err) {
    if ((unsigned)record->kind >= G_N_ELEMENTS(kinds))
        return lob_fail(err, LOB_ERROR_INTERNAL, "%s: no such kind of record: %d", journal->path,
                        (int)record->kind);
    put_record(journal->pending, record);
    return true;
}

bool lob_journal_sync(LobJournal *journal, GError **err) {
    if (journal->broken)
        return lob_fail(err, LOB_ERROR_IO, "%s: an earlier write failed; submit the job again",
                        journal->path);
    if (journal->pending->len == 0)
        return true;
    if (!ends_as_left(journal, err))
        return false;
    /* A failed write is tried again from the same offset at the next call: no torn line stays inside. */
    if (!write_all(journal->fd, journal->pending->str, journal->pending->len)) {
        journal->torn = (off_t)journal->pending->len;
        return lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot append to the journal", journal->path);
    }
    if (fdatasync(journal->fd) != 0) {
        journal->broken = true;
        return lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot make the journal durable", journal->path);
    }
    journal->durable += (off_t)journal->pending->len;
    g_string_assign(journal->last, journal->pending->str);
    g_string_truncate(journal->pending, 0);
    return true;
}

/* Our last lines still end where we left them: what is foreign stands behind them, not between. */
static bool own_end_is_there(const LobJournal *journal) {
    const size_t length = journal->last->len;
    g_autofree char *found = g_malloc(length + 1);
    return (off_t)length <= journal->durable &&
           pread(journal->fd, found, length, journal->durable - (off_t)length) == (ssize_t)length &&
           memcmp(found, journal->last->str, length) == 0;
}

bool lob_journal_cut_foreign(LobJournal *journal, GError **err) {
    if (!journal->overgrown || !own_end_is_there(journal))
        return lob_fail(err, LOB_ERROR_IO, "%s: what another process changed in the journal cannot be undone",
                        journal->path);
    if (ftruncate(journal->fd, journal->durable) != 0 || fsync(journal->fd) != 0)
        return lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot cut off another process' lines",
                              journal->path);
    journal->overgrown = journal->broken = false;
    return true;
}

/* Records that were not synced are dropped: nobody was told that they count. */
void lob_journal_close(LobJournal *journal) {
    if (!journal)
        return;
    if (journal->fd >= 0)
        close(journal->fd);
    g_string_free(journal->pending, true);
    g_string_free(journal->last, true);
    g_free(journal->path);
    g_free(journal);
}

static bool write_records(const char *path, const LobJournalRecord *records, size_t n, GError **err) {
    LobJournal *journal = lob_journal_open(path, NULL, NULL, err);
    bool ok = journal != NULL;
    for (size_t i = 0; ok && i < n; i++)
        ok = lob_journal_append(journal, &records[i], err);
    ok = ok && lob_journal_sync(journal, err);
    lob_journal_close(journal);
    return ok;
}

bool lob_journal_replace(const char *path, const LobJournalRecord *records, size_t n, GError **err) {
    g_autofree char *temporary = g_strconcat(path, ".new", NULL);
    if (unlink(temporary) != 0 && errno != ENOENT)
        return lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot be removed", temporary);
    return write_records(temporary, records, n, err) &&
           (rename(temporary, path) == 0 ||
            lob_fail_errno(err, LOB_ERROR_IO, errno, "%s: cannot be put in place", temporary)) &&
           lob_sync_folder(path, err);
}
