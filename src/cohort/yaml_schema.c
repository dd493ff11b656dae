#include "cohort/yaml_schema.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

#define DOCUMENT_BYTES_MAX ((size_t)1 << 20)
#define TEXT_BYTES_MAX 4096
#define ITEMS_MAX 1000
/* libyaml looks at every open bracket at every token, and at every anchor at every anchor: their number costs
 * its square. */
#define BRACKETS_MAX 5000

bool lob_yaml_fail(const LobYaml *yaml, Node *node, GError **err, const char *format, ...) {
    va_list args;
    va_start(args, format);
    g_autofree char *message = g_strdup_vprintf(format, args);
    va_end(args);
    return lob_fail(err, LOB_ERROR_INPUT, "%s:%zu: %s", yaml->path, node->start_mark.line + 1, message);
}

static bool load_document(LobYaml *yaml, yaml_parser_t *parser, GError **err) {
    yaml_document_t second;
    if (!yaml_parser_load(parser, &yaml->document))
        return lob_fail(err, LOB_ERROR_INPUT, "%s:%zu: not YAML: %s", yaml->path,
                        MAX(parser->problem_mark.line, parser->context_mark.line) + 1,
                        parser->problem != NULL ? parser->problem : "cannot be read");
    yaml->loaded = true;
    Node *root = lob_yaml_root(yaml);
    if (root == NULL)
        return lob_fail(err, LOB_ERROR_INPUT, "%s:1: empty; expected 'key: value' lines", yaml->path);
    if (!yaml_parser_load(parser, &second))
        return lob_fail(err, LOB_ERROR_INPUT, "%s:%zu: not YAML: %s", yaml->path,
                        parser->problem_mark.line + 1,
                        parser->problem != NULL ? parser->problem : "cannot be read");
    bool more = yaml_document_get_root_node(&second) != NULL;
    yaml_document_delete(&second);
    if (more)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: holds several YAML documents; expected one", yaml->path);
    return true;
}

bool lob_yaml_parse(LobYaml *yaml, const char *path, const char *data, size_t size, GError **err) {
    *yaml = (LobYaml){.path = g_strdup(path), .sha256 = lob_sha256_bytes(data, size)};
    size_t brackets = 0;
    for (size_t i = 0; i < size; i++)
        brackets += data[i] == '[' || data[i] == '{' || data[i] == '&';
    if (brackets > BRACKETS_MAX)
        return lob_fail(err, LOB_ERROR_INPUT,
                        "%s: over %d opening brackets and anchors; this is no study file", path,
                        BRACKETS_MAX);
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return lob_fail(err, LOB_ERROR_INTERNAL, "%s: libyaml cannot start", path);
    yaml_parser_set_input_string(&parser, (const unsigned char *)data, size);
    bool ok = load_document(yaml, &parser, err);
    yaml_parser_delete(&parser);
    return ok;
}

bool lob_yaml_load(LobYaml *yaml, const char *path, GError **err) {
    size_t size = 0;
    *yaml = (LobYaml){0};
    g_autofree char *data = lob_file_read(path, DOCUMENT_BYTES_MAX, &size, err);
    return data != NULL && lob_yaml_parse(yaml, path, data, size, err);
}

void lob_yaml_clear(LobYaml *yaml) {
    if (yaml->loaded)
        yaml_document_delete(&yaml->document);
    g_free(yaml->path);
    g_free(yaml->sha256);
    *yaml = (LobYaml){0};
}

Node *lob_yaml_root(LobYaml *yaml) {
    return yaml_document_get_root_node(&yaml->document);
}

static Node *node_at(LobYaml *yaml, int id) {
    return yaml_document_get_node(&yaml->document, id);
}

static Node *value_of(LobYaml *yaml, Node *mapping, const char *key) {
    const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
    for (; mapping->type == YAML_MAPPING_NODE && pair < mapping->data.mapping.pairs.top; pair++) {
        Node *name = node_at(yaml, pair->key);
        if (name->type == YAML_SCALAR_NODE && strcmp((const char *)name->data.scalar.value, key) == 0)
            return node_at(yaml, pair->value);
    }
    return NULL;
}

Node *lob_yaml_at(LobYaml *yaml, const char *key) {
    g_auto(GStrv) parts = g_strsplit(key, ".", -1);
    Node *node = lob_yaml_root(yaml);
    for (char **part = parts; *part; part++) {
        Node *value = value_of(yaml, node, *part);
        if (!value)
            break;
        node = value;
    }
    return node;
}

bool lob_yaml_is_null(Node *node) {
    if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    const char *text = (const char *)node->data.scalar.value;
    return strcmp(text, "") == 0 || strcmp(text, "~") == 0 || strcmp(text, "null") == 0 ||
           strcmp(text, "Null") == 0 || strcmp(text, "NULL") == 0;
}

static const char *kind_of(Node *node) {
    if (node->type == YAML_MAPPING_NODE)
        return "a mapping";
    if (node->type == YAML_SEQUENCE_NODE)
        return "a list";
    return lob_yaml_is_null(node) ? "null" : "a single value";
}

/* A scalar's text, borrowed: no zero or control character, no explicit tag, of bounded length. */
static const char *scalar(LobYaml *yaml, Node *node, const char *key, const char *expected, GError **err) {
    if (node->type != YAML_SCALAR_NODE || lob_yaml_is_null(node)) {
        lob_yaml_fail(yaml, node, err, "%s: expected %s, found %s", key, expected, kind_of(node));
        return NULL;
    }
    const char *text = (const char *)node->data.scalar.value;
    if (node->data.scalar.length > TEXT_BYTES_MAX) {
        lob_yaml_fail(yaml, node, err, "%s: longer than %d bytes", key, TEXT_BYTES_MAX);
        return NULL;
    }
    for (size_t i = 0; i < node->data.scalar.length; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7F) {
            lob_yaml_fail(yaml, node, err, "%s: expected one line of text without control characters", key);
            return NULL;
        }
    if (node->tag != NULL && strcmp((const char *)node->tag, YAML_STR_TAG) != 0) {
        lob_yaml_fail(yaml, node, err, "%s: YAML tags ('!...') have no meaning here", key);
        return NULL;
    }
    return text;
}

bool lob_yaml_text(LobYaml *yaml, Node *node, const char *key, char **text, GError **err) {
    const char *value = scalar(yaml, node, key, "a text", err);
    if (value == NULL)
        return false;
    if (value[0] == '\0')
        return lob_yaml_fail(yaml, node, err, "%s: expected a text, found an empty one", key);
    g_free(*text);
    *text = g_strdup(value);
    return true;
}

bool lob_yaml_real(LobYaml *yaml, Node *node, const char *key, double low, double high, double *value,
                   GError **err) {
    const char *text = scalar(yaml, node, key, "a number", err);
    if (text == NULL)
        return false;
    char *end = NULL;
    bool plain = text[strspn(text, "0123456789+-.eE")] == '\0';
    double number = plain ? g_ascii_strtod(text, &end) : NAN;
    if (!plain || end == text || *end != '\0' || !(number >= low && number <= high))
        return lob_yaml_fail(yaml, node, err, "%s: expected a number from %g to %g, found '%s'", key, low,
                             high, text);
    *value = number;
    return true;
}

bool lob_yaml_file(LobYaml *yaml, Node *node, const char *key, char **path, GError **err) {
    g_autofree char *name = NULL;
    if (!lob_yaml_text(yaml, node, key, &name, err))
        return false;
    g_autofree char *resolved = lob_path_beside(yaml->path, name);
    if (!g_file_test(resolved, G_FILE_TEST_EXISTS))
        return lob_yaml_fail(yaml, node, err,
                             "%s: %s does not exist (names are relative to the folder of this file)", key,
                             resolved);
    g_free(*path);
    *path = g_steal_pointer(&resolved);
    return true;
}

static bool read_integer(LobYaml *yaml, Node *node, const char *key, const LobYamlField *field, int *value,
                         GError **err) {
    const char *text = scalar(yaml, node, key, "a whole number", err);
    gint64 number = 0;
    if (text == NULL)
        return false;
    if (!g_ascii_string_to_signed(text, 10, (gint64)field->low, (gint64)field->high, &number, NULL))
        return lob_yaml_fail(yaml, node, err, "%s: expected a whole number from %.0f to %.0f, found '%s'",
                             key, field->low, field->high, text);
    *value = (int)number;
    return true;
}

static bool read_seed(LobYaml *yaml, Node *node, const char *key, uint64_t *value, GError **err) {
    const char *text = scalar(yaml, node, key, "a whole number", err);
    guint64 number = 0;
    if (text == NULL)
        return false;
    if (!g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT64, &number, NULL))
        return lob_yaml_fail(yaml, node, err, "%s: expected a whole number from 0 to 2^64-1, found '%s'", key,
                             text);
    *value = number;
    return true;
}

bool lob_yaml_switch(LobYaml *yaml, Node *node, const char *key, bool *value, GError **err) {
    const char *text = scalar(yaml, node, key, "true or false", err);
    if (text == NULL)
        return false;
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
        return lob_yaml_fail(yaml, node, err, "%s: expected true or false, found '%s'", key, text);
    *value = text[0] == 't';
    return true;
}

static bool read_choice(LobYaml *yaml, Node *node, const char *key, const char *choices, char **value,
                        GError **err) {
    if (!lob_yaml_text(yaml, node, key, value, err))
        return false;
    if (choices == NULL)
        return true;
    g_auto(GStrv) allowed = g_strsplit(choices, "|", -1);
    if (!g_strv_contains((const gchar *const *)allowed, *value))
        return lob_yaml_fail(yaml, node, err, "%s: expected one of %s, found '%s'", key, choices, *value);
    return true;
}

static bool read_path(LobYaml *yaml, Node *node, const char *key, char **value, GError **err) {
    g_autofree char *name = NULL;
    if (!lob_yaml_text(yaml, node, key, &name, err))
        return false;
    g_free(*value);
    *value = lob_path_beside(yaml->path, name);
    return true;
}

static bool read_field(LobYaml *yaml, Node *value, const char *key, const LobYamlField *field, void *target,
                       GError **err) {
    void *at = (char *)target + field->offset;
    if (field->nullable && lob_yaml_is_null(value))
        return true;
    switch (field->type) {
    case LOB_YAML_TEXT:
        return read_choice(yaml, value, key, field->choices, at, err);
    case LOB_YAML_FILE:
        return lob_yaml_file(yaml, value, key, at, err);
    case LOB_YAML_PATH:
        return read_path(yaml, value, key, at, err);
    case LOB_YAML_INTEGER:
        return read_integer(yaml, value, key, field, at, err);
    case LOB_YAML_SEED:
        return read_seed(yaml, value, key, at, err);
    case LOB_YAML_REAL:
        return lob_yaml_real(yaml, value, key, field->low, field->high, at, err);
    case LOB_YAML_SWITCH:
        return lob_yaml_switch(yaml, value, key, at, err);
    case LOB_YAML_CUSTOM:
        return field->handler(yaml, value, key, at, err);
    }
    g_assert_not_reached();
}

/* Edits (insert, delete, replace) between two words; words over 64 bytes are not compared. */
static size_t edit_distance(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b), row[65];
    if (n > 64 || m > 64)
        return SIZE_MAX;
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t above = row[j];
            size_t replace = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            row[j] = MIN(replace, MIN(above, row[j - 1]) + 1);
            diagonal = above;
        }
    }
    return row[m];
}

const char *lob_nearest(const char *word, const char *const *candidates) {
    const char *best = NULL;
    for (size_t i = 0; candidates[i] != NULL && strlen(word) >= 3; i++)
        if (g_str_has_prefix(candidates[i], word))
            return candidates[i];
    size_t best_distance = MAX((size_t)2, strlen(word) / 3) + 1;
    for (size_t i = 0; candidates[i] != NULL; i++) {
        size_t distance = edit_distance(word, candidates[i]);
        if (distance < best_distance && distance < strlen(candidates[i])) {
            best = candidates[i];
            best_distance = distance;
        }
    }
    return best;
}

static bool unknown_key(LobYaml *yaml, Node *key, const char *full, const char *name,
                        const LobYamlField *fields, size_t n_fields, GError **err) {
    g_autoptr(GPtrArray) known = g_ptr_array_new();
    for (size_t i = 0; i < n_fields; i++)
        g_ptr_array_add(known, (char *)(gpointer)fields[i].key);
    g_ptr_array_add(known, NULL);
    g_autofree char *list = g_strjoinv(", ", (char **)known->pdata);
    const char *near = lob_nearest(name, (const char *const *)known->pdata);
    if (near != NULL)
        return lob_yaml_fail(yaml, key, err, "%s: unknown key; did you mean '%s'? (known here: %s)", full,
                             near, list);
    return lob_yaml_fail(yaml, key, err, "%s: unknown key (known here: %s)", full, list);
}

typedef struct {
    const char *where;
    const LobYamlField *fields;
    size_t n_fields;
    void *target;
    bool *seen;
} MapReader;

static char *dotted(const char *where, const char *name) {
    return where[0] == '\0' ? g_strdup(name) : g_strdup_printf("%s.%s", where, name);
}

bool lob_yaml_pairs(LobYaml *yaml, Node *node, const char *where, LobYamlHandler visit, void *target,
                    GError **err) {
    if (node->type != YAML_MAPPING_NODE)
        return lob_yaml_fail(yaml, node, err, "%s: expected a mapping of keys to values, found %s",
                             where[0] != '\0' ? where : "the file", kind_of(node));
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    if (node->data.mapping.pairs.top - pair > ITEMS_MAX)
        return lob_yaml_fail(yaml, node, err, "%s: over %d keys", where, ITEMS_MAX);
    for (; pair < node->data.mapping.pairs.top; pair++) {
        Node *key = node_at(yaml, pair->key);
        g_autofree char *name = NULL;
        /* A key may read null or be a number: it is a name all the same. */
        if (key->type != YAML_SCALAR_NODE || key->data.scalar.length == 0)
            return lob_yaml_fail(yaml, key, err, "%s: expected a name as key, found %s", where, kind_of(key));
        if (!lob_yaml_is_null(key) && scalar(yaml, key, where, "a name as key", err) == NULL)
            return false;
        name = g_strdup((const char *)key->data.scalar.value);
        g_autofree char *full = dotted(where, name);
        if (!g_hash_table_add(seen, key->data.scalar.value))
            return lob_yaml_fail(yaml, key, err, "%s: this key stands here twice", full);
        yaml->key = key;
        if (!visit(yaml, node_at(yaml, pair->value), name, target, err))
            return false;
    }
    return true;
}

static bool visit_map_pair(LobYaml *yaml, Node *value, const char *name, void *user, GError **err) {
    MapReader *map = user;
    g_autofree char *full = dotted(map->where, name);
    for (size_t i = 0; i < map->n_fields; i++)
        if (strcmp(map->fields[i].key, name) == 0) {
            map->seen[i] = true;
            return read_field(yaml, value, full, &map->fields[i], map->target, err);
        }
    return unknown_key(yaml, yaml->key, full, name, map->fields, map->n_fields, err);
}

bool lob_yaml_map(LobYaml *yaml, Node *node, const char *where, const LobYamlField *fields, size_t n_fields,
                  void *target, GError **err) {
    g_autofree bool *seen = g_new0(bool, n_fields);
    MapReader map = {.where = where, .fields = fields, .n_fields = n_fields, .target = target, .seen = seen};
    if (!lob_yaml_pairs(yaml, node, where, visit_map_pair, &map, err))
        return false;
    for (size_t i = 0; i < n_fields; i++)
        if (fields[i].required && !seen[i]) {
            g_autofree char *full = dotted(where, fields[i].key);
            return lob_yaml_fail(yaml, node, err, "%s: this key is required", full);
        }
    return true;
}

bool lob_yaml_items(LobYaml *yaml, Node *node, const char *where, LobYamlHandler visit, void *target,
                    GError **err) {
    if (node->type != YAML_SEQUENCE_NODE)
        return lob_yaml_fail(yaml, node, err, "%s: expected a list, found %s", where, kind_of(node));
    const yaml_node_item_t *first = node->data.sequence.items.start;
    if (node->data.sequence.items.top - first > ITEMS_MAX)
        return lob_yaml_fail(yaml, node, err, "%s: over %d entries", where, ITEMS_MAX);
    for (const yaml_node_item_t *item = first; item < node->data.sequence.items.top; item++) {
        g_autofree char *key = g_strdup_printf("%s[%td]", where, item - first + 1);
        if (!visit(yaml, node_at(yaml, *item), key, target, err))
            return false;
    }
    return true;
}
