/* The file of unfinished training: magic, identity, records of name and bytes, CRC-32C. Written whole and put
 * in place by a rename, so that a kill leaves the former one. */
#include "model/checkpoint.h"
#include "model/fit.h"

#include <glib/gstdio.h>
#include <stdlib.h>

#define MAGIC "LOBPART1"
#define SECONDS 300 /* between two writes */

struct LobCheckpoint {
    char *path;
    char identity[208];
    double written, every; /* lob_clock */
    bool writes;           /* this rank does */
    GHashTable *records;   /* name -> GByteArray */
};

typedef struct {
    char magic[8], identity[208];
    uint64_t n;
} Head;

typedef struct {
    uint64_t name, size; /* bytes that follow */
} RecordHead;

static void free_record(gpointer record) {
    g_byte_array_unref(record);
}

/* Records between `at` and `end`; false where they do not fill it. */
static bool take_records(LobCheckpoint *c, const char *at, const char *end, uint64_t n) {
    for (uint64_t i = 0; i < n; i++) {
        RecordHead head;
        if ((size_t)(end - at) < sizeof head)
            return false;
        memcpy(&head, at, sizeof head);
        at += sizeof head;
        if (head.name > 200 || head.size > (size_t)(end - at) || head.name > (size_t)(end - at) - head.size)
            return false;
        GByteArray *bytes = g_byte_array_new();
        g_byte_array_append(bytes, (const guint8 *)at + head.name, (guint)head.size);
        g_hash_table_replace(c->records, g_strndup(at, head.name), bytes);
        at += head.name + head.size;
    }
    return at == end;
}

/* The checksum of what was read; 0 where there was nothing to go by. */
static uint32_t read_file(LobCheckpoint *c) {
    size_t size;
    Head head;
    uint32_t crc;
    g_autofree char *bytes =
        g_file_test(c->path, G_FILE_TEST_EXISTS) ? lob_file_read(c->path, SIZE_MAX / 2, &size, NULL) : NULL;
    if (!bytes || size < sizeof head + sizeof crc)
        return 0;
    memcpy(&head, bytes, sizeof head);
    memcpy(&crc, bytes + size - sizeof crc, sizeof crc);
    if (memcmp(head.magic, MAGIC, sizeof head.magic) == 0 &&
        memcmp(head.identity, c->identity, sizeof head.identity) == 0 &&
        crc == lob_crc32c(0, bytes, size - sizeof crc) &&
        take_records(c, bytes + sizeof head, bytes + size - sizeof crc, head.n))
        return crc;
    g_hash_table_remove_all(c->records);
    lob_info("%s: unfinished training that is damaged or of another job; begun anew", c->path);
    return 0;
}

/* A rank that saw another file than rank 0 would train another model. */
static bool all_read_the_same(const LobGroup *group, uint32_t crc) {
    const double mine = crc;
    g_autofree size_t *one = g_new(size_t, (size_t)group->size);
    g_autofree double *all = g_new(double, (size_t)group->size);
    for (int r = 0; r < group->size; r++)
        one[r] = 1;
    group->allgather(group, &mine, one, all);
    for (int r = 1; r < group->size; r++)
        if (memcmp(&all[r], &all[0], sizeof all[0]) != 0)
            return false;
    return true;
}

LobCheckpoint *lob_checkpoint_open(const char *path, const char *identity, const LobGroup *group) {
    LobCheckpoint *c = g_new0(LobCheckpoint, 1);
    const char *hook = g_getenv("LOB_TEST_CHECKPOINT"); /* seconds between two writes */
    c->path = g_strdup(path);
    g_strlcpy(c->identity, identity, sizeof c->identity);
    c->written = lob_clock();
    c->every = hook ? strtod(hook, NULL) : SECONDS;
    c->writes = !group || group->rank == 0;
    c->records = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_record);
    const uint32_t crc = read_file(c);
    if (group && !all_read_the_same(group, crc))
        g_hash_table_remove_all(c->records);
    else if (crc && c->writes)
        lob_info("%s: training goes on where it was left", c->path);
    return c;
}

void lob_checkpoint_flush(LobCheckpoint *c) {
    if (!c || !c->writes || g_hash_table_size(c->records) == 0)
        return;
    g_autoptr(GByteArray) file = g_byte_array_new();
    g_autoptr(GError) problem = NULL;
    Head head = {.n = g_hash_table_size(c->records)};
    GHashTableIter iter;
    gpointer name, record;
    memcpy(head.magic, MAGIC, sizeof head.magic);
    memcpy(head.identity, c->identity, sizeof head.identity);
    g_byte_array_append(file, (const guint8 *)&head, sizeof head);
    g_hash_table_iter_init(&iter, c->records);
    while (g_hash_table_iter_next(&iter, &name, &record)) {
        const GByteArray *bytes = record;
        const RecordHead each = {strlen(name), bytes->len};
        g_byte_array_append(file, (const guint8 *)&each, sizeof each);
        g_byte_array_append(file, name, (guint)each.name);
        g_byte_array_append(file, bytes->data, bytes->len);
    }
    const uint32_t crc = lob_crc32c(0, file->data, file->len);
    g_byte_array_append(file, (const guint8 *)&crc, sizeof crc);
    if (!lob_file_replace(c->path, file->data, file->len, &problem))
        lob_warning("unfinished training is not kept: %s", problem->message);
    c->written = lob_clock();
}

void lob_checkpoint_remove(LobCheckpoint *c) {
    if (c && c->writes)
        (void)g_unlink(c->path);
}

void lob_checkpoint_free(LobCheckpoint *c) {
    if (!c)
        return;
    g_hash_table_unref(c->records);
    g_free(c->path);
    g_free(c);
}

/* ---- segments ---- */

typedef struct {
    int64_t next;
    double seconds;
    uint64_t n_losses, n_runs;
} SegmentHead;

static size_t run_bytes(const LobRun *run) {
    return sizeof run->adam.step + 3 * run->net.n_params * sizeof(float);
}

bool lob_segment_resume(const LobCheckpoint *c, LobSegment *s) {
    const GByteArray *record = c ? g_hash_table_lookup(c->records, s->name) : NULL;
    SegmentHead head;
    if (!record || record->len < sizeof head)
        return false;
    memcpy(&head, record->data, sizeof head);
    size_t size = sizeof head + s->n_losses * sizeof *s->losses;
    for (size_t r = 0; r < head.n_runs && r < s->n_runs; r++)
        size += run_bytes(s->runs[r]);
    if (head.n_losses != s->n_losses || (head.n_runs != 0 && head.n_runs != s->n_runs) || record->len != size)
        return false;
    const guint8 *at = record->data + sizeof head;
    memcpy(s->losses, at, s->n_losses * sizeof *s->losses);
    at += s->n_losses * sizeof *s->losses;
    for (size_t r = 0; r < head.n_runs; r++) {
        LobRun *run = s->runs[r];
        const size_t bytes = run->net.n_params * sizeof(float);
        memcpy(&run->adam.step, at, sizeof run->adam.step);
        at += sizeof run->adam.step;
        memcpy(run->params, at, bytes);
        memcpy(run->adam.m, at + bytes, bytes);
        memcpy(run->adam.v, at + 2 * bytes, bytes);
        at += 3 * bytes;
    }
    s->next = (int)head.next;
    s->seconds = head.seconds;
    return true;
}

void lob_segment_keep(LobCheckpoint *c, const LobSegment *s) {
    if (!c)
        return;
    const SegmentHead head = {s->next, s->seconds, s->n_losses, s->n_runs};
    GByteArray *record = g_byte_array_new();
    g_byte_array_append(record, (const guint8 *)&head, sizeof head);
    g_byte_array_append(record, (const guint8 *)s->losses, (guint)(s->n_losses * sizeof *s->losses));
    for (size_t r = 0; r < s->n_runs; r++) {
        const LobRun *run = s->runs[r];
        const guint bytes = (guint)(run->net.n_params * sizeof(float));
        g_byte_array_append(record, (const guint8 *)&run->adam.step, sizeof run->adam.step);
        g_byte_array_append(record, (const guint8 *)run->params, bytes);
        g_byte_array_append(record, (const guint8 *)run->adam.m, bytes);
        g_byte_array_append(record, (const guint8 *)run->adam.v, bytes);
    }
    g_hash_table_replace(c->records, g_strdup(s->name), record);
    if (lob_clock() - c->written >= c->every)
        lob_checkpoint_flush(c);
}
